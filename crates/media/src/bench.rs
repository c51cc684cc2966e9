//! Codec benchmark: measures this machine's encoding and decoding time, which a candidate claims of itself
//! before the leader election.

use std::time::{Duration, Instant};

use cpu_time::ThreadTime;

use crate::codec::{CodecError, Codecs, VideoFormat};
use crate::guard::is_builtin;
use crate::source::{Source, TestSource};

/// Longest processor time of a benchmark, also when the caller requests a larger budget.
pub const CODEC_BENCH_BUDGET_MAX: Duration = Duration::from_millis(300);
/// Usual format of a program.
const FORMAT: VideoFormat = VideoFormat { width: 1280, height: 720, fps: 30, bitrate_bps: 1_500_000 };
/// Pictures encoded before measuring starts: the keyframe, and pictures with cold caches.
const WARM_UP: usize = 2;
/// Fewest pictures measured, even when the budget is spent: with three, the median ignores one slow outlier.
const PICTURES_MIN: usize = 3;

/// Median time per moving picture of 1280×720, on one thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodecBench {
    /// Encoding time at 1.5 Mbit/s, in microseconds.
    pub encode_us: u32,
    /// Decoding time of the encoded picture, in microseconds.
    pub decode_us: u32,
}

/// Encodes and decodes the test source's pictures for `budget` of time, at most
/// [`CODEC_BENCH_BUDGET_MAX`], but at least five pictures.
///
/// Of the built-in codecs it measures processor time, not wall time: when many peers of a room start together on one
/// machine, they slow each other down for a moment. [`codec_bench_again`] shows the load that lasts. Other codecs may
/// work elsewhere, in hardware or on threads of their own: of those it measures wall time.
///
/// # Errors
/// [`CodecError`] when the codecs refuse the format or their own frames.
pub fn codec_bench(codecs: &dyn Codecs, budget: Duration) -> Result<CodecBench, CodecError> {
    if !is_builtin(codecs) {
        return codec_bench_again(codecs, budget);
    }
    let began = ThreadTime::now();
    bench(codecs, budget, || began.elapsed())
}

/// Does the same by wall time, which includes waits for the processor: what a picture would take now, beside
/// the other programs of the machine.
///
/// # Errors
/// As [`codec_bench`].
pub fn codec_bench_again(codecs: &dyn Codecs, budget: Duration) -> Result<CodecBench, CodecError> {
    let began = Instant::now();
    bench(codecs, budget, || began.elapsed())
}

/// `now` returns the time since the begin.
fn bench(
    codecs: &dyn Codecs,
    budget: Duration,
    now: impl Fn() -> Duration,
) -> Result<CodecBench, CodecError> {
    let mut source = TestSource::new(1, FORMAT.width, FORMAT.height, FORMAT.fps);
    let mut encoder = codecs.program_encoder(&FORMAT)?;
    let mut decoder = codecs.video_decoder()?;
    let (mut encode_us, mut decode_us) = (Vec::new(), Vec::new());
    let mut pictures = 0;
    while pictures < WARM_UP + PICTURES_MIN || now() < budget.min(CODEC_BENCH_BUDGET_MAX) {
        let Ok(Some(_)) = source.next_picture() else { break };
        let picture = source.picture();
        let encoding = now();
        let encoded = encoder.encode(&picture, false)?;
        let encoded_in = now() - encoding;
        pictures += 1;
        let Some(encoded) = encoded else { continue };
        let decoding = now();
        decoder.decode(&encoded.data)?;
        let decoded_in = now() - decoding;
        if pictures > WARM_UP {
            encode_us.push(encoded_in);
            decode_us.push(decoded_in);
        }
    }
    Ok(CodecBench { encode_us: median_us(encode_us), decode_us: median_us(decode_us) })
}

/// Median in microseconds, at least 1, so that callers can divide by it.
fn median_us(mut times: Vec<Duration>) -> u32 {
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    u32::try_from(median.as_micros()).unwrap_or(u32::MAX).max(1)
}
