//! Handle to one peer of a demo: its room runs in this process, or in a child process.

use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use parking_lot::Mutex;
use plenary::{PeerId, Shape};
use tokio::time::Instant;

use super::child::Child;
use super::figures::{Figures, Glance};
use super::peer::{Part, Peer};
use super::wire::{Answer, Request};

/// Time that a graceful departure may take, by [`Room::leave`](plenary::Room::leave).
const LEAVE_MAX: Duration = Duration::from_secs(8);

/// What runs the peer: this process, or a child process.
pub(crate) enum Runner {
    Here(Box<Peer>),
    Process(Box<Child>),
}

/// One peer of the demo.
pub(crate) struct Actor {
    pub(crate) part: Part,
    pub(crate) peer: PeerId,
    runner: Runner,
    /// Time at which it was killed or left, by the demo's clock.
    gone_us: Mutex<Option<u64>>,
    /// Its last figures, once its process has ended.
    last: Mutex<Option<Figures>>,
}

impl Actor {
    pub(crate) fn here(peer: Peer) -> Actor {
        Actor::new(peer.part, peer.room.me(), Runner::Here(Box::new(peer)))
    }

    pub(crate) fn process(part: Part, child: Child) -> Actor {
        Actor::new(part, child.peer, Runner::Process(Box::new(child)))
    }

    fn new(part: Part, peer: PeerId, runner: Runner) -> Actor {
        Actor { part, peer, runner, gone_us: Mutex::default(), last: Mutex::default() }
    }

    /// Returns the peer if it runs in this process.
    pub(crate) fn local(&self) -> Option<&Peer> {
        match &self.runner {
            Runner::Here(peer) => Some(peer),
            Runner::Process(_) => None,
        }
    }

    pub(crate) fn into_runner(self) -> Runner {
        self.runner
    }

    pub(crate) fn gone_us(&self) -> Option<u64> {
        *self.gone_us.lock()
    }

    /// Marks the peer as gone, unless it is already. Returns whether it was present.
    pub(crate) fn goes(&self, at_us: u64) -> bool {
        let mut gone_us = self.gone_us.lock();
        let present = gone_us.is_none();
        gone_us.get_or_insert(at_us);
        present
    }

    pub(crate) fn glance(&self) -> Glance {
        match &self.runner {
            Runner::Here(peer) => peer.glance(),
            Runner::Process(child) => child.glance(),
        }
    }

    /// Returns its figures; `speakers` are the indexes of all speakers of the room.
    ///
    /// # Errors
    /// If its process has ended without the demo's doing.
    pub(crate) async fn figures(&self, speakers: &[usize]) -> anyhow::Result<Figures> {
        if let Some(last) = self.last.lock().clone() {
            return Ok(last);
        }
        match &self.runner {
            Runner::Here(peer) => Ok(peer.figures(speakers).await),
            Runner::Process(child) => {
                match child.ask(Request::Figures(speakers.to_vec()), Duration::ZERO).await? {
                    Answer::Figures(figures) => Ok(*figures),
                    other => bail!("a peer's process answered with {other:?}"),
                }
            }
        }
    }

    /// Kills the peer: its shaper drops all traffic from now on, or its process gets SIGKILL. Its figures are read
    /// just before. Returns the time of the kill.
    pub(crate) async fn kill(&self, speakers: &[usize], now_us: impl Fn() -> u64) -> anyhow::Result<u64> {
        let killed_us = match &self.runner {
            Runner::Here(peer) => {
                peer.prepare_to_be_killed().await;
                let killed_us = now_us();
                peer.kill();
                killed_us
            }
            Runner::Process(child) => {
                let last = self.figures(speakers).await?;
                let killed_us = now_us();
                child.kill().await?;
                *self.last.lock() = Some(last);
                killed_us
            }
        };
        *self.gone_us.lock() = Some(killed_us);
        Ok(killed_us)
    }

    /// Leaves the room gracefully; a process then ends.
    pub(crate) async fn leave(&self, speakers: &[usize]) -> anyhow::Result<()> {
        match &self.runner {
            Runner::Here(peer) => peer.leave().await,
            Runner::Process(child) => {
                child.ask(Request::Leave, LEAVE_MAX).await?;
                let last = self.figures(speakers).await?;
                *self.last.lock() = Some(last);
                child.end().await?;
            }
        }
        Ok(())
    }

    /// Records from now on, if it is a viewer.
    pub(crate) async fn record(&self, out: &Path) -> anyhow::Result<()> {
        match &self.runner {
            Runner::Here(peer) => peer.record(out),
            Runner::Process(child) => {
                match child.ask(Request::Record(out.to_owned()), Duration::ZERO).await? {
                    Answer::Record(begun) => begun.map_err(anyhow::Error::msg),
                    other => bail!("a peer's process answered with {other:?}"),
                }
            }
        }
    }

    /// Sets the network of its links from now on.
    pub(crate) async fn reshape(&self, shape: Shape) -> anyhow::Result<()> {
        match &self.runner {
            Runner::Here(peer) => peer.reshape(shape),
            Runner::Process(child) => {
                child.ask(Request::reshape(shape), Duration::ZERO).await?;
            }
        }
        Ok(())
    }

    /// Decodes until a time, and writes the newest picture to a file. Returns false if there was no picture.
    pub(crate) async fn picture(&self, until: Instant, file: &Path) -> anyhow::Result<bool> {
        match &self.runner {
            Runner::Here(peer) => peer.picture(until, file).await,
            Runner::Process(child) => {
                let takes = until.saturating_duration_since(Instant::now());
                let request = Request::Picture(takes.as_millis() as u64, file.to_owned());
                match child.ask(request, takes).await? {
                    Answer::Picture(written) => written.map_err(anyhow::Error::msg),
                    other => bail!("a peer's process answered with {other:?}"),
                }
            }
        }
    }
}
