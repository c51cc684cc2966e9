//! What signals tell a running command.

use std::io::{self, IsTerminal as _};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::logging;

/// Listener for signals.
///
/// SIGINT and SIGTERM tell the command to end, and so does SIGHUP from a terminal that is closed; of these a second one
/// ends the process at once. At a service, which has no terminal, SIGHUP means to read its files again.
pub(crate) struct Signals {
    told_to_end: watch::Receiver<bool>,
}

/// Requests to read files again.
pub(crate) struct Renewals(mpsc::Receiver<()>);

impl Renewals {
    /// Waits for the next request.
    pub(crate) async fn next(&mut self) -> Option<()> {
        self.0.recv().await
    }
}

impl Signals {
    /// Listens from now on, in a task of the current runtime.
    pub(crate) fn listen() -> io::Result<(Signals, Renewals)> {
        let (tell, told_to_end) = watch::channel(false);
        let (renew, renewals) = mpsc::channel(1);
        let mut interrupts = signal(SignalKind::interrupt())?;
        let mut terminations = signal(SignalKind::terminate())?;
        let mut hang_ups = signal(SignalKind::hangup())?;
        let on_terminal = io::stdin().is_terminal() || io::stderr().is_terminal();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupts.recv() => {}
                    _ = terminations.recv() => {}
                    _ = hang_ups.recv() => if !on_terminal {
                        let has_filter = logging::renew();
                        let is_closed = matches!(renew.try_send(()), Err(mpsc::error::TrySendError::Closed(())));
                        if is_closed && !has_filter {
                            say!("SIGHUP: there is nothing here to read again");
                        }
                        continue;
                    }
                }
                if tell.send_replace(true) {
                    say!("plenary: ended by a second signal, without leaving");
                    std::process::exit(1);
                }
            }
        });
        Ok((Signals { told_to_end }, Renewals(renewals)))
    }

    /// Waits until a signal tells the command to end.
    pub(crate) async fn come(&self) {
        // the task behind it outlives everything else in this runtime
        let _ = self.told_to_end.clone().wait_for(|told| *told).await;
    }

    /// Carries out what may take long; `None` if a signal tells the command to end before.
    pub(crate) async fn unless_ended<T>(&self, doing: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = doing => Some(done),
            () = self.come() => None,
        }
    }
}
