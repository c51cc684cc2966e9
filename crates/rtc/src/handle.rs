//! The part of a link through which commands reach it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use plenary_proto::app::Way;
use plenary_proto::bounded::Text;
use plenary_proto::message::{Description, FurtherCandidates, IceRestart};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;

use crate::queue::{CarriedQueue, SendQueue};
use crate::seam::{Channel, DownReason};
use crate::wire::Wire;

/// User fragment and further candidates of the other end.
pub(crate) type Told = (Text<32>, FurtherCandidates);

/// The part of a link that commands act on.
#[derive(Debug)]
pub(crate) struct Handle {
    pub(crate) wire: Arc<Wire>,
    /// In the order of [`Channel::ALL`].
    pub(crate) queues: [SendQueue; 3],
    /// Messages that this peer forwards for others.
    pub(crate) carried: CarriedQueue,
    /// Until when no message is read.
    pub(crate) paused: watch::Sender<Option<Instant>>,
    pub(crate) answers: mpsc::Sender<Description>,
    pub(crate) paths: mpsc::Sender<Told>,
    pub(crate) restarts: mpsc::Sender<Box<IceRestart>>,
    /// Notified when the link is to look for another path.
    pub(crate) moves: Notify,
    /// Notified when an unanswered request for an ICE restart is to be repeated.
    pub(crate) asks_again: Notify,
    pub(crate) refused_trains: mpsc::Sender<u32>,
    pub(crate) end: watch::Sender<Option<DownReason>>,
    /// What an attacker sends.
    #[cfg(feature = "raw")]
    pub(crate) raw: std::sync::Mutex<Vec<crate::raw::Raw>>,
}

impl Handle {
    pub(crate) fn queue(&self, channel: Channel) -> &SendQueue {
        let [control, heartbeat, bulk] = &self.queues;
        match channel {
            Channel::Control => control,
            Channel::Heartbeat => heartbeat,
            Channel::Bulk => bulk,
        }
    }

    /// Hands the answer to the link's task. The first answer counts; a link that is itself the answering end
    /// ignores it.
    pub(crate) fn accept(&self, answer: Description) {
        if self.answers.try_send(answer).is_err() {
            tracing::debug!("an answer came for a link that wants none");
        }
    }

    /// Hands further candidates of the other end to the link's task.
    pub(crate) fn paths_told(&self, ufrag: Text<32>, candidates: FurtherCandidates) {
        if self.paths.try_send((ufrag, candidates)).is_err() {
            tracing::debug!("too many further candidates came at a time");
        }
    }

    /// Hands the other end's part of an ICE restart to the link's task.
    pub(crate) fn restart_told(&self, restart: Box<IceRestart>) {
        if self.restarts.try_send(restart).is_err() {
            tracing::debug!("too many ICE restarts came at a time");
        }
    }

    /// This machine's addresses have changed. A link on vanished addresses restarts ICE, or ends if it isn't connected
    /// yet; a carried or relayed link tries the direct way.
    pub(crate) fn addresses_changed(&self, addresses: &[IpAddr]) {
        let is_unbound = self.wire.is_unbound(addresses);
        if self.wire.can_restart() && (is_unbound || self.wire.stats().way != Way::Direct) {
            self.moves.notify_one();
        } else if is_unbound {
            self.end(DownReason::AddressGone);
        }
    }

    /// Queues a message. A message that is too long or overflows the queue ends the link; such a heartbeat is
    /// dropped. Empty heartbeats are ignored: the link itself uses them as greetings and probes.
    pub(crate) fn send(&self, channel: Channel, bytes: Bytes) {
        if channel == Channel::Heartbeat && bytes.is_empty() {
            return;
        }
        let reason = if bytes.len() > channel.message_len_max() {
            DownReason::MessageTooLong(channel)
        } else if self.queue(channel).push(bytes).is_err() {
            DownReason::Overflow(channel)
        } else {
            return self.wire.messages_wait();
        };
        if channel != Channel::Heartbeat {
            self.end(reason);
        }
    }

    /// Queues the pieces of a message that this peer forwards; without room it is dropped.
    pub(crate) fn carry(&self, pieces: Vec<Bytes>) {
        if pieces.iter().any(|piece| piece.len() > Channel::Control.message_len_max()) {
            return tracing::debug!("an envelope is too long to be forwarded");
        }
        if self.carried.push(pieces) {
            self.wire.messages_wait();
        } else {
            tracing::debug!("an envelope was dropped: too many wait to be forwarded");
        }
    }

    /// Lets the link read no message for a while.
    pub(crate) fn pause(&self, duration: Duration) {
        let until = Instant::now() + duration;
        self.paused.send_if_modified(|paused| {
            let is_longer = paused.is_none_or(|before| before < until);
            if is_longer {
                *paused = Some(until);
            }
            is_longer
        });
    }

    /// Starts a packet train, or reports that it was refused.
    pub(crate) fn send_train(&self, train: u32, bytes: u32, rate_bps: u64) {
        // a browser would take its SSRC for another stream
        let is_sent = self.wire.browser.get().is_none() && self.wire.send_train(train, bytes, rate_bps);
        if !is_sent && self.refused_trains.try_send(train).is_err() {
            tracing::debug!(train, "too many probe trains requested: the refusal is not reported either");
        }
    }

    /// Ends the link; the first reason counts.
    pub(crate) fn end(&self, reason: DownReason) {
        self.end.send_if_modified(|end| {
            let is_first = end.is_none();
            if is_first {
                *end = Some(reason);
            }
            is_first
        });
    }
}
