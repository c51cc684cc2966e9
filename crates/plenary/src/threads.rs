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
    /// Each thread holds a clone until it ends.
    alive: mpsc::Sender<Infallible>,
    all_ended: mpsc::Receiver<Infallible>,
}

impl Threads {
    pub(crate) fn new(span: Span) -> Threads {
        let (alive, all_ended) = mpsc::channel(1);
        Threads { span, alive, all_ended }
    }

    /// Runs a closure on a new thread.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        name: &str,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>, Error> {
        let (span, alive) = (self.span.clone(), self.alive.clone());
        let run = move || {
            let result = span.in_scope(run);
            drop(alive);
            result
        };
        let spawned = Builder::new().name(name.to_owned()).spawn(run);
        spawned.map_err(|error| Error::Io { what: format!("cannot start the {name} thread"), error })
    }

    /// Waits until all threads have ended.
    pub(crate) async fn ended(self) {
        let Threads { alive, mut all_ended, .. } = self;
        drop(alive);
        let _: Option<Infallible> = all_ended.recv().await;
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
