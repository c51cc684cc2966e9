//! A codec on a thread of its own, so that its caller goes on when it hangs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::Builder;
use std::time::Duration;

use super::{CALL_MAX, Death, calm, words_of};
use crate::codec::CodecError;
use crate::mixer::thread_cpu;

/// Part of a wait after which the caller looks again. On a machine that stalls, each counts at most this much, so that
/// a stall isn't taken for a hung codec.
const SLICE: Duration = Duration::from_millis(50);

/// A call into the codec; returns whether the codec is still usable.
type Call<C> = Box<dyn FnOnce(&mut C) -> bool + Send>;

/// A codec that lives on its own thread. The thread ends with this handle, or stays behind if the codec hangs.
pub(super) struct Hosted<C: ?Sized> {
    /// `None` once the thread is told to end.
    calls: Option<SyncSender<Call<C>>>,
    /// Disconnected when the thread has ended.
    alive: Receiver<()>,
    hung: bool,
}

impl<C: ?Sized + 'static> Hosted<C> {
    /// Starts a thread, and makes the codec on it within `limit`. The thread adds its CPU time to `cpu_ns`.
    pub(super) fn start(
        name: &str,
        make: impl FnOnce() -> Result<Box<C>, CodecError> + Send + 'static,
        cpu_ns: Arc<AtomicU64>,
        limit: Duration,
    ) -> Result<Hosted<C>, Death> {
        let (calls, called) = sync_channel::<Call<C>>(1);
        let (made, makes) = sync_channel(1);
        let (lives, alive) = sync_channel::<()>(1);
        let span = tracing::Span::current();
        let run = move || {
            let _inside = span.enter();
            let codec = calm(make);
            let (answer, mut codec) = match codec {
                Ok(Ok(codec)) => (Ok(()), Some(codec)),
                Ok(Err(error)) => (Err(Death::Failed(error.to_string())), None),
                Err(death) => (Err(death), None),
            };
            let _ = made.send(answer);
            let mut before = thread_cpu();
            while let Some(codec) = &mut codec
                && let Ok(call) = called.recv()
            {
                let goes_on = call(&mut **codec);
                let now = thread_cpu();
                let spent =
                    now.zip(before).map_or(Duration::ZERO, |(now, before)| now.saturating_sub(before));
                cpu_ns.fetch_add(spent.as_nanos() as u64, Ordering::Relaxed);
                before = now;
                if !goes_on {
                    break;
                }
            }
            // a codec that can't even be dropped harms nobody here
            let _ = catch_unwind(AssertUnwindSafe(move || drop(codec)));
            drop(lives);
        };
        let spawned = Builder::new().name(name.chars().take(15).collect()).spawn(run);
        spawned.map_err(|error| Death::Failed(format!("no thread for it: {error}")))?;
        let mut hosted = Hosted { calls: Some(calls), alive, hung: false };
        hosted.answer(&makes, limit)??;
        Ok(hosted)
    }

    /// Calls into the codec, and waits for the result.
    pub(super) fn call<R: Send + 'static>(
        &mut self,
        call: impl FnOnce(&mut C) -> R + Send + 'static,
    ) -> Result<R, Death> {
        let (answer, answers) = sync_channel(1);
        let call: Call<C> = Box::new(move |codec| {
            let result = catch_unwind(AssertUnwindSafe(|| call(codec)));
            let result = result.map_err(|panic| Death::Panicked(words_of(&*panic)));
            let goes_on = result.is_ok();
            let _ = answer.send(result);
            goes_on
        });
        let sent = self.calls.as_ref().is_some_and(|calls| calls.send(call).is_ok());
        if !sent {
            return Err(Death::Failed("its thread has ended".to_owned()));
        }
        self.answer(&answers, CALL_MAX)?
    }

    fn answer<T>(&mut self, answers: &Receiver<T>, limit: Duration) -> Result<T, Death> {
        let slices = limit.as_millis().div_ceil(SLICE.as_millis());
        for _ in 0..slices {
            match answers.recv_timeout(SLICE) {
                Ok(answer) => return Ok(answer),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Death::Failed("its thread has ended".to_owned()));
                }
            }
        }
        self.hung = true;
        Err(Death::Hung(limit))
    }
}

impl<C: ?Sized> Drop for Hosted<C> {
    fn drop(&mut self) {
        self.calls = None;
        let ends = !self.hung && self.alive.recv_timeout(CALL_MAX) == Err(RecvTimeoutError::Disconnected);
        if !ends {
            tracing::warn!("a codec hangs: its thread is left behind");
        }
    }
}
