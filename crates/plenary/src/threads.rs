//! Threads that decode and record for an application. Each has a name and logs inside the room's span;
//! closing the room waits for all of them, but no longer than half of [`CLOSE_MAX`].

use std::convert::Infallible;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tracing::Span;

use crate::Error;

/// Maximum time for which closing a room waits for threads that run codecs, sources or recordings: half of it for those
/// that make media, half for those that decode for the application. Codecs that hang are given up after less; a source
/// of the application, or a disk, may hang for ever. A guess.
pub const CLOSE_MAX: Duration = Duration::from_secs(5);

/// All threads of one room.
#[derive(Debug)]
pub(crate) struct Threads {
    span: Span,
    /// Each thread holds a clone until it ends; `None` once their end is waited for.
    alive: parking_lot::Mutex<Option<mpsc::Sender<Infallible>>>,
    all_ended: tokio::sync::Mutex<mpsc::Receiver<Infallible>>,
}

impl Threads {
    pub(crate) fn new(span: Span) -> Threads {
        let (alive, all_ended) = mpsc::channel(1);
        Threads { span, alive: Some(alive).into(), all_ended: all_ended.into() }
    }

    /// Runs a closure on a new thread.
    ///
    /// # Errors
    /// [`Error::Closed`] once [`ended`](Threads::ended) was called, [`Error::Io`] if there is no thread.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        name: &str,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, Error> {
        let alive = self.alive.lock().clone().ok_or(Error::Closed)?;
        let span = self.span.clone();
        let run = move || {
            let result = span.in_scope(run);
            drop(alive);
            result
        };
        let spawned = Builder::new().name(name.to_owned()).spawn(run);
        spawned.map_err(|error| Error::Io { what: format!("cannot start the {name} thread"), error })
    }

    /// Waits until all threads have ended. Later calls of `spawn` fail.
    pub(crate) async fn ended(&self) {
        *self.alive.lock() = None;
        let _: Option<Infallible> = self.all_ended.lock().await.recv().await;
    }
}

/// Runs a call on a separate thread, so that a hanging one blocks no shutdown: a runtime waits for its own threads.
/// Resolves to the result, or to an error if it panicked or there is no thread.
pub(crate) fn aside<T: Send + 'static>(
    name: &str,
    run: impl FnOnce() -> T + Send + 'static,
) -> oneshot::Receiver<T> {
    let (tell, told) = oneshot::channel();
    let span = Span::current();
    let run = move || drop(tell.send(span.in_scope(run)));
    if let Err(error) = Builder::new().name(name.to_owned()).spawn(run) {
        tracing::warn!("cannot start the {name} thread: {error}");
    }
    told
}

/// Waits for what [`aside`] ends until the deadline.
pub(crate) async fn ended_by<T>(what: &'static str, ended: oneshot::Receiver<T>, by: Instant) {
    if tokio::time::timeout_at(by.into(), ended).await.is_err() {
        tracing::warn!("{what} hangs: its thread is left behind");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_thread_is_waited_for() {
        let threads = Threads::new(Span::none());
        let (release, held) = std::sync::mpsc::channel::<()>();
        let thread = threads.spawn("held", move || held.recv().is_err()).unwrap();
        let mut ended = Box::pin(threads.ended());
        assert!(futures::poll!(&mut ended).is_pending());
        drop(release);
        ended.await;
        assert!(thread.join().unwrap());
    }

    #[tokio::test]
    async fn a_thread_that_hangs_is_left_behind() {
        let (_held, holds) = std::sync::mpsc::channel::<()>();
        let ends = aside("hangs", move || holds.recv().is_err());
        ended_by("what hangs", ends, Instant::now() + Duration::from_millis(50)).await;
    }
}
