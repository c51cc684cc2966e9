//! Codec benchmarks: the first one once this peer is in the room, or a result that was kept of it; then short ones on
//! an idle machine. All rooms of a process with the same codecs share results, and measure one at a time.

mod kept;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use plenary_media::codec::Codecs;
use plenary_media::{CodecBench, codec_bench, codec_bench_again};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tracing::{Instrument as _, Span};

use crate::threads::aside;
use kept::Kept;

/// Maximum duration of the first benchmark. A guess.
const FIRST: Duration = Duration::from_millis(300);
/// Duration of each part of a later one.
const BUDGET: Duration = Duration::from_millis(50);
/// Number of parts: with three, the median ignores one during which another program took the processor.
const PARTS: usize = 3;
/// Pause between two parts. A guess: longer than most such programs need.
const PAUSE: Duration = Duration::from_secs(1);
/// Time for which other rooms of the process get the last result.
const SHARED: Duration = Duration::from_secs(55);
/// Time after which codecs that are measured count as hung. A guess: five pictures at a second each.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Results of one kind of codecs, and their turn to be measured.
type Results = Arc<Mutex<Option<(Instant, CodecBench)>>>;

/// What tells codecs apart: their name, or else the object.
enum Key {
    Name(String),
    Object(Weak<dyn Codecs>),
}

/// Results by codecs; those of dropped codecs go.
static RESULTS: parking_lot::Mutex<Vec<(Key, Results)>> = parking_lot::Mutex::new(Vec::new());

/// Returns the results of codecs.
fn results_of(codecs: &Arc<dyn Codecs>) -> Results {
    let name = codecs.name();
    let mut all = RESULTS.lock();
    all.retain(|(key, _)| !matches!(key, Key::Object(codecs) if codecs.strong_count() == 0));
    let known = all.iter().find(|(key, _)| match key {
        Key::Name(known) => name.as_ref() == Some(known),
        Key::Object(known) => name.is_none() && std::ptr::addr_eq(known.as_ptr(), Arc::as_ptr(codecs)),
    });
    if let Some((_, results)) = known {
        return results.clone();
    }
    let results = Results::default();
    let key = name.map_or_else(|| Key::Object(Arc::downgrade(codecs)), Key::Name);
    all.push((key, results.clone()));
    results
}

/// Benchmarks of one room.
pub(crate) struct Benches {
    /// `None` if this peer doesn't mix, or if the application has stated its codec times.
    codecs: Option<Arc<dyn Codecs>>,
    kept: Option<Kept>,
    /// Whether there is a result already.
    is_first: bool,
    running: Option<JoinHandle<Result<CodecBench, String>>>,
}

/// What a benchmark found.
pub(crate) enum Found {
    Bench(CodecBench),
    /// The codecs can't mix: what happened.
    Failed(String),
}

impl Benches {
    /// Returns benchmarks of these codecs. The first result is kept in a folder of the application.
    pub(crate) fn new(codecs: Option<Arc<dyn Codecs>>, folder: Option<&std::path::Path>) -> Benches {
        let name = codecs.as_ref().and_then(|codecs| codecs.name());
        let kept = folder.zip(name).map(|(folder, name)| Kept::new(folder, &name));
        Benches { codecs, kept, is_first: true, running: None }
    }

    /// Starts the first benchmark, unless a result was kept.
    pub(crate) fn start_first(&mut self) {
        let Some(codecs) = self.codecs.clone().filter(|_| self.is_first && self.running.is_none()) else {
            return;
        };
        let kept = self.kept.clone();
        let measured = async move {
            let (results, read) = (results_of(&codecs), kept.clone());
            let mut last = results.lock().await;
            if let Some((_, bench)) = last.filter(|(at, _)| at.elapsed() < SHARED) {
                return Ok(bench);
            }
            let known = tokio::task::spawn_blocking(move || read.and_then(|kept| kept.read())).await;
            if let Some(bench) = known.ok().flatten() {
                *last = Some((Instant::now(), bench));
                return Ok(bench);
            }
            let bench = measured(move || codec_bench(&*codecs, FIRST)).await?;
            *last = Some((Instant::now(), bench));
            // a folder that can't be written costs the next start a benchmark
            let _ = tokio::task::spawn_blocking(move || kept.map(|kept| kept.write(bench))).await;
            Ok(bench)
        };
        self.running = Some(tokio::spawn(measured.instrument(Span::current())));
    }

    /// Starts a benchmark, unless one is running.
    pub(crate) fn start(&mut self) {
        if let Some(codecs) = self.codecs.clone().filter(|_| self.running.is_none()) {
            self.running = Some(tokio::spawn(measure_again(codecs).instrument(Span::current())));
        }
    }

    /// Returns the result of a benchmark that has ended.
    pub(crate) async fn take(&mut self) -> Option<Found> {
        let ended = self.running.take_if(|running| running.is_finished())?;
        match ended.await.ok()? {
            Ok(bench) => {
                self.is_first = false;
                Some(Found::Bench(bench))
            }
            Err(text) => {
                tracing::warn!("the codecs can't be measured: {text}");
                self.codecs = None;
                Some(Found::Failed(text)).filter(|_| self.is_first)
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

/// Measures on a thread of its own, which stays behind when the codecs hang.
async fn measured(
    bench: impl FnOnce() -> Result<CodecBench, plenary_media::codec::CodecError> + Send + 'static,
) -> Result<CodecBench, String> {
    match tokio::time::timeout(ANSWER_MAX, aside("bench", bench)).await {
        Ok(Ok(result)) => result.map_err(|error| error.to_string()),
        Ok(Err(_)) => Err("they panicked".to_owned()),
        Err(_) => Err(format!("they did not answer within {} s", ANSWER_MAX.as_secs())),
    }
}

/// Runs a benchmark, or returns the result of another room's. A room that finds one running waits for it.
async fn measure_again(codecs: Arc<dyn Codecs>) -> Result<CodecBench, String> {
    let results = results_of(&codecs);
    let mut last = results.lock().await;
    if let Some((_, bench)) = last.filter(|(at, _)| at.elapsed() < SHARED) {
        return Ok(bench);
    }
    let mut parts = Vec::with_capacity(PARTS);
    for part in 0..PARTS {
        if part > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        let codecs = codecs.clone();
        parts.push(measured(move || codec_bench_again(&*codecs, BUDGET)).await?);
    }
    parts.sort_unstable_by_key(|bench| bench.encode_us);
    let bench = parts[PARTS / 2];
    tracing::debug!(bench.encode_us, bench.decode_us, "codecs measured again");
    *last = Some((Instant::now(), bench));
    Ok(bench)
}

#[cfg(test)]
mod tests {
    use plenary_testkit::fake::{FakeCodecs, SlowCodecs};

    use super::*;

    #[tokio::test]
    async fn each_object_of_codecs_has_its_own_results_and_dropped_ones_go() {
        let [slow, fast]: [Arc<dyn Codecs>; 2] = [
            Arc::new(SlowCodecs { encode_us: Arc::new(20_000.into()), ..SlowCodecs::default() }),
            Arc::new(FakeCodecs::default()),
        ];
        for _ in 0..2 {
            let mut found = Vec::new();
            for codecs in [&slow, &fast] {
                let mut benches = Benches::new(Some(codecs.clone()), None);
                benches.start_first();
                let bench = loop {
                    match benches.take().await {
                        Some(Found::Bench(bench)) => break bench,
                        Some(Found::Failed(text)) => panic!("{text}"),
                        None => tokio::time::sleep(Duration::from_millis(5)).await,
                    }
                };
                found.push(bench.encode_us);
            }
            assert!(found[0] >= 20_000 && found[1] < found[0], "wall time of each: {found:?}");
        }
        let results = Arc::downgrade(&results_of(&slow));
        drop(slow);
        results_of(&fast);
        assert!(results.upgrade().is_none());
    }
}
