//! The signal of a peer in the rendezvous's own process: no TCP, no signatures, no rate limits.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use plenary_proto::{PeerId, RoomId};
use tokio::sync::Mutex;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::mailbox::{Mail, Mailbox};
use crate::rooms::{StayOver, Way};
use crate::signal::{Signal, SignalError, SignalEvent, check_len};
use crate::switchboard::{Membership, Switchboard};
use crate::wall::wall_unix_s;
use plenary_proto::rendezvous::{Address, Doors, Refusal, is_batch};

/// A [`Signal`] within one process; see [`Switchboard::attach`](crate::Switchboard::attach).
///
/// After a first `Clock`, and `Carries`, it is `Up` from the start and never `Down`. When `send` returns, the envelope
/// is in the recipient's queue, or an `Undeliverable` is queued here. Events wait in the same bounded queue as those of
/// a remote peer; an envelope that finds the queue full is undeliverable.
#[derive(Debug)]
pub struct LocalSignal {
    membership: Membership,
    /// Whether tunnels are carried here.
    carries: bool,
    inbox: Mutex<Inbox>,
    /// Set when the signal was closed here, or `Ended` was emitted.
    over: AtomicBool,
}

#[derive(Debug)]
struct Inbox {
    mailbox: Mailbox,
    said_carries: bool,
    said_up: bool,
    /// When the time is told: at once, and as often as others are pinged. Begins with the first event.
    clock: Option<Interval>,
}

impl LocalSignal {
    pub(crate) fn new((membership, mailbox): (Membership, Mailbox)) -> LocalSignal {
        let carries = membership.take_tunnels(&mailbox);
        LocalSignal {
            membership,
            carries,
            inbox: Mutex::new(Inbox { mailbox, said_carries: !carries, said_up: false, clock: None }),
            over: AtomicBool::new(false),
        }
    }

    /// Replaces the doors of the room, by which remote peers enter; by its host only. Peers that are in the room stay.
    ///
    /// # Errors
    /// [`SignalError::Ended`] when this stay has ended, or isn't the host's.
    pub fn set_doors(&self, doors: Doors) -> Result<(), SignalError> {
        self.membership.set_doors(doors).map_err(|StayOver| SignalError::Ended)
    }
}

/// Clients of this process.
impl Switchboard {
    /// Lets a peer of this process into an open room. The peer is trusted: it signs nothing, and no rate
    /// limit applies to it.
    ///
    /// # Errors
    /// [`Refusal::UnknownRoom`], [`Refusal::RoomFull`] or [`Refusal::Closing`].
    pub fn attach(&self, room: RoomId, me: PeerId) -> Result<LocalSignal, Refusal> {
        let way = Way { door: None, host: None, address: None };
        Ok(LocalSignal::new(self.enter(room, me, way)?))
    }

    /// Lets the host of a room in, and opens the room if it is closed. Remote peers enter by one of the `doors`
    /// ([`RoomKey::door`](plenary_proto::seal::RoomKey::door)).
    ///
    /// # Errors
    /// [`Refusal::TooManyRooms`] or [`Refusal::Closing`].
    pub fn attach_host(&self, room: RoomId, me: PeerId, doors: Doors) -> Result<LocalSignal, Refusal> {
        let way = Way { door: None, host: Some(doors), address: None };
        Ok(LocalSignal::new(self.enter(room, me, way)?))
    }
}

#[async_trait]
impl Signal for LocalSignal {
    fn send(&self, to: Address, envelope: Bytes) -> Result<(), SignalError> {
        check_len(&envelope)?;
        self.membership.carry(to, envelope).map_err(|StayOver| SignalError::Ended)
    }

    fn tunnel(&self, to: PeerId, batch: Bytes) -> bool {
        self.carries && is_batch(&batch) && self.membership.tunnel(to, batch).unwrap_or(false)
    }

    async fn next(&self) -> Option<SignalEvent> {
        let mut inbox = self.inbox.lock().await;
        let Inbox { mailbox, said_carries, said_up, clock } = &mut *inbox;
        let Some(clock) = clock else {
            let each = self.membership.limits().ping_interval;
            let mut ticks = interval(each);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks.reset();
            *clock = Some(ticks);
            return Some(SignalEvent::Clock { unix_s: wall_unix_s() });
        };
        if !std::mem::replace(said_carries, true) {
            return Some(SignalEvent::Carries);
        }
        if !std::mem::replace(said_up, true) {
            return Some(SignalEvent::Up);
        }
        let mail = tokio::select! {
            biased;
            mail = mailbox.next() => mail,
            _ = clock.tick() => return Some(SignalEvent::Clock { unix_s: wall_unix_s() }),
        };
        match mail {
            Some(Mail::Envelope { from, bytes }) => Some(SignalEvent::Envelope { from, bytes }),
            Some(Mail::Undeliverable { to }) => Some(SignalEvent::Undeliverable { to }),
            Some(Mail::Tunnel { from, batch }) => {
                self.membership.count_tunneled(batch.len());
                Some(SignalEvent::Tunnel { from, batch })
            }
            None if self.over.swap(true, Ordering::Relaxed) => None,
            None => Some(SignalEvent::Ended(SignalError::Refused(self.membership.end()))),
        }
    }

    async fn close(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.membership.leave();
    }
}
