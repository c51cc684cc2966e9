//! Threads that decode and record for an application. Each has a name and logs inside the room's span;
//! closing the room waits for all of them.

use std::convert::Infallible;
use std::thread::{Builder, JoinHandle};

use tokio::sync::mpsc;
use tracing::Span;

use crate::Error;

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
}
