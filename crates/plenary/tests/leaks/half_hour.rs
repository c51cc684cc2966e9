//! A room that goes on for half an hour: what it holds and how late it is stays flat.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plenary::media::Clock;
use plenary::media::compose::grid;
use plenary::{Consent, Options, Pictures, ProgramFormat, Room, Sound as DecodedStream};
use plenary_testkit::judge::{Sound, TimeCode};
use tokio::time::{Instant, sleep_until};

use crate::held;
use crate::support::*;

/// How fast the speakers' clocks are; the host, which doesn't mix, has the right time.
const DRIFTS_PPM: [i32; 3] = [0, 200, -200];
const PROGRAM: ProgramFormat = ProgramFormat { width: 640, height: 360, fps: 30, bitrate_bps: 800_000 };
/// Caches and queues are full by then.
const WARM_UP: Duration = Duration::from_secs(300);
const SAMPLE_EVERY: Duration = Duration::from_secs(15);
/// Sound that is looked at for each sample.
const HEARD_S: usize = 4;
/// Bound on the growth of the resident memory, in bytes, between the first third after the warm-up and the last third,
/// 1000 s later: threads touch some pages late. A leak of 2 kB/s exceeds it.
const GROWTH_BYTES_MAX: f64 = 2_000_000.0;
/// How late pictures and sound are may change by so much: one step of a mixer's jitter buffer. Clocks that are 200 ppm
/// off are apart by 300 ms in the end.
const LATER_US_MAX: f64 = 25_000.0;

/// What is looked at again and again.
#[derive(Debug)]
struct Sample {
    at_s: f64,
    resident_bytes: f64,
    sockets: usize,
    tasks: usize,
    /// Of each speaker: how long its picture was under way, and its sound, plus a constant, microseconds.
    picture_us: [f64; 3],
    sound_us: [f64; 3],
}

/// Returns the resident memory without what the allocator keeps free: a pause of the machine fills queues once, and in
/// one run 11 MB stayed with the allocator after that.
fn resident_bytes() -> f64 {
    // SAFETY: it returns the allocator's free pages, and touches no memory in use
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::malloc_trim(0);
    }
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    4096.0 * statm.split(' ').nth(1).unwrap().parse::<f64>().unwrap()
}

/// What the viewer's screen and loudspeaker got last.
#[derive(Default)]
struct Shown {
    /// When a speaker's picture of that number was shown, by the viewer's clock.
    codes: [Option<(u64, u32)>; 3],
    /// The last seconds of sound, and when the end of it is heard.
    samples: VecDeque<f32>,
    end_us: u64,
}

async fn watch(mut pictures: Pictures, clock: Clock, shown: Arc<Mutex<Shown>>) {
    while let Some(decoded) = pictures.next().await {
        let now_us = clock.now_us();
        let view = decoded.picture.view();
        // a mixer whose machine is late makes a smaller picture
        for tile in grid(3, view.width, view.height).into_iter().map(|cell| cell.fit(16, 9)) {
            let read = time_code(&view, tile.x, tile.y, tile.width, tile.height);
            if let Some(TimeCode { index, number }) = read {
                shown.lock().unwrap().codes[usize::from(index)] = Some((now_us, number));
            }
        }
    }
}

async fn listen(mut sound: DecodedStream, shown: Arc<Mutex<Shown>>) {
    while let Some(decoded) = sound.next().await {
        let mut shown = shown.lock().unwrap();
        shown.samples.extend(decoded.mono());
        let over = shown.samples.len().saturating_sub(HEARD_S * 48_000);
        shown.samples.drain(..over);
        shown.end_us = decoded.played_us + 20_000;
    }
}

impl Shown {
    /// How late each speaker's picture is, but for a constant: a source's own time is the number of its picture.
    fn picture_us(&self) -> [f64; 3] {
        std::array::from_fn(|index| {
            let (at_us, number) = self.codes[index].expect("a picture of each");
            at_us as f64 - true_us(index, f64::from(number) * 1e6 / f64::from(PROGRAM.fps))
        })
    }

    /// How late each speaker's sound is, up to whole seconds of its own: it beeps at the beginning of each.
    fn sound_us(&self, first: Option<&[f64; 3]>) -> [f64; 3] {
        let heard = Sound { samples: self.samples.iter().copied().collect() };
        let begin_us = self.end_us as f64 - heard.samples.len() as f64 / 0.048;
        std::array::from_fn(|index| {
            let beep_s =
                *heard.beeps_s(index as u8).first().unwrap_or_else(|| panic!("speaker {index} is not heard"));
            let second_us = true_us(index, 1e6);
            let phase_us = (begin_us + beep_s * 1e6).rem_euclid(second_us);
            let wraps = first.map_or(0.0, |first| ((first[index] - phase_us) / second_us).round());
            phase_us + wraps * second_us
        })
    }
}

/// How long a speaker's clock takes for that time of its own.
fn true_us(index: usize, own_us: f64) -> f64 {
    own_us / (1.0 + f64::from(DRIFTS_PPM[index]) / 1e6)
}

fn mean(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    samples.iter().map(of).sum::<f64>() / samples.len() as f64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes half an hour: ./run nightly half-hour"]
async fn memory_descriptors_and_delay_stay_flat_while_clocks_drift() {
    let minutes = std::env::var("PLENARY_MINUTES").map_or(30, |minutes| minutes.parse().unwrap());
    let clock = Clock::start();
    let peer = |options: Options, drift_ppm| local(options).clock(clock.drifting(drift_ppm));
    let speaker = |index: usize| {
        let never = Options::speaker(["Ada", "Ben", "Cleo"][index]).mix(Consent::Never);
        peer(never, DRIFTS_PPM[index])
    };
    let ada = Room::host(speaker(0), small().program(PROGRAM)).await.unwrap();
    let (ben, cleo) = (join(&ada, speaker(1)).await, join(&ada, speaker(2)).await);
    let (max, mia) =
        (join(&ada, peer(Options::mixer("Max"), 0)).await, join(&ada, peer(Options::mixer("Mia"), 0)).await);
    for (index, room) in [&ada, &ben, &cleo].into_iter().enumerate() {
        room.publish(source(index as u8)).await.unwrap().detach();
    }
    let (zoe, yan) = (
        join(&ada, peer(Options::viewer("Zoë"), 0)).await,
        join(&ada, peer(Options::viewer("Yan"), 0)).await,
    );
    let shown: Arc<Mutex<Shown>> = Arc::default();
    let watching = tokio::spawn(watch(zoe.pictures().unwrap(), clock, shown.clone()));
    let listening = tokio::spawn(listen(zoe.sound().unwrap(), shown.clone()));

    let elected = until(&ada, "an election", |ada| ada.rank.term > 0).await;
    let begun = Instant::now();
    let end = begun + Duration::from_secs(60 * minutes);
    let mut samples: Vec<Sample> = Vec::new();
    let mut next = begun + WARM_UP;
    while next <= end {
        sleep_until(next).await;
        next += SAMPLE_EVERY;
        let (_, sockets, tasks) = held();
        let shown = shown.lock().unwrap();
        let sample = Sample {
            at_s: begun.elapsed().as_secs_f64(),
            resident_bytes: resident_bytes(),
            sockets,
            tasks,
            picture_us: shown.picture_us(),
            sound_us: shown.sound_us(samples.first().map(|first| &first.sound_us)),
        };
        println!("{sample:?}");
        samples.push(sample);
    }
    let reception = zoe.reception();
    println!("{reception:?}");
    assert_eq!(ada.snapshot().rank, elected.rank, "an election, or a failover");

    let third = samples.len() / 3;
    let (early, late) = (&samples[..third], &samples[samples.len() - third..]);
    let growth_bytes =
        mean(late, |sample| sample.resident_bytes) - mean(early, |sample| sample.resident_bytes);
    println!("memory grew by {growth_bytes} bytes");
    assert!(growth_bytes <= GROWTH_BYTES_MAX, "memory grew by {growth_bytes} bytes");
    for sample in &samples {
        assert_eq!(
            (sample.sockets, sample.tasks),
            (samples[0].sockets, samples[0].tasks),
            "at {} s",
            sample.at_s
        );
    }
    for index in 0..3 {
        for (what, of) in [
            (
                "picture",
                (|index| Box::new(move |sample: &Sample| sample.picture_us[index]))
                    as fn(usize) -> Box<dyn Fn(&Sample) -> f64>,
            ),
            ("sound", |index| Box::new(move |sample: &Sample| sample.sound_us[index])),
        ] {
            let later_us = mean(late, of(index)) - mean(early, of(index));
            println!("{what} of speaker {index}: {later_us} µs later");
            assert!(later_us.abs() <= LATER_US_MAX, "{what} of speaker {index}: {later_us} µs later");
        }
    }
    tokio::join!(yan.close(), zoe.close(), mia.close(), max.close(), cleo.close(), ben.close(), ada.close());
    let (_, _) = tokio::join!(watching, listening);
}
