//! Codec benchmarks while a room lives: short ones, on an idle machine, at most one a minute for all rooms of a process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use plenary_media::codec::Codecs;
use plenary_media::{CodecBench, codec_bench_again};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tracing::{Instrument as _, Span};

use crate::Error;
use crate::open::blocking;

/// Duration of each part of a benchmark.
const BUDGET: Duration = Duration::from_millis(50);
/// Number of parts: with three, the median ignores one during which another program took the processor.
const PARTS: usize = 3;
/// Pause between two parts. A guess: longer than most such programs need.
const PAUSE: Duration = Duration::from_secs(1);
/// Time for which other rooms of the process get the last result.
const SHARED: Duration = Duration::from_secs(55);

/// The last result.
static LAST: Mutex<Option<(Instant, CodecBench)>> = Mutex::const_new(None);

/// Benchmarks of one room.
pub(crate) struct Benches {
    /// `None` if this peer doesn't mix, or if the application has stated its codec times.
    codecs: Option<Arc<dyn Codecs>>,
    running: Option<JoinHandle<Result<CodecBench, Error>>>,
}

impl Benches {
    pub(crate) fn new(codecs: Option<Arc<dyn Codecs>>) -> Benches {
        Benches { codecs, running: None }
    }

    /// Starts a benchmark, unless one is running.
    pub(crate) fn start(&mut self) {
        if let Some(codecs) = self.codecs.clone().filter(|_| self.running.is_none()) {
            self.running = Some(tokio::spawn(measure(codecs).instrument(Span::current())));
        }
    }

    /// Returns the result of a benchmark that has ended.
    pub(crate) async fn take(&mut self) -> Option<CodecBench> {
        let ended = self.running.take_if(|running| running.is_finished())?;
        match ended.await.ok()? {
            Ok(bench) => Some(bench),
            Err(error) => {
                tracing::warn!("the codecs can't be measured: {error}");
                self.codecs = None;
                None
            }
        }
    }
}

impl Drop for Benches {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.abort();
        }
    }
}

/// Runs a benchmark, or returns the result of another room's. A room that finds one running waits for it.
async fn measure(codecs: Arc<dyn Codecs>) -> Result<CodecBench, Error> {
    let mut last = LAST.lock().await;
    if let Some((_, bench)) = last.filter(|(at, _)| at.elapsed() < SHARED) {
        return Ok(bench);
    }
    let mut parts = Vec::with_capacity(PARTS);
    for part in 0..PARTS {
        if part > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        let codecs = codecs.clone();
        parts.push(blocking(move || codec_bench_again(&*codecs, BUDGET)).await??);
    }
    parts.sort_unstable_by_key(|bench| bench.encode_us);
    let bench = parts[PARTS / 2];
    tracing::debug!(bench.encode_us, bench.decode_us, "codecs measured again");
    *last = Some((Instant::now(), bench));
    Ok(bench)
}
