//! The switchboard: the rooms of one rendezvous, shared by its connections and by peers in the same process.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use plenary_proto::{PeerId, RoomId};
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::figures::Counts;
use crate::limits::Limits;
use crate::mailbox::{Mailbox, mailbox};
use crate::rooms::{Rooms, StayOver, Ticket, Tunneled, Way};
use crate::tunnels::Tunnels;
use plenary_proto::rendezvous::{Address, Doors, HostProof, Refusal};

/// Carries envelopes between the peers of rooms. Cheap to clone; all clones are the same switchboard.
///
/// Alone it is a network in memory; a [`Rendezvous`](crate::Rendezvous) adds peers of other processes.
#[derive(Clone, Debug)]
pub struct Switchboard(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    limits: Arc<Limits>,
    rooms: Mutex<Rooms>,
    /// One permit per byte that all mailboxes together may hold.
    queues_bytes: Arc<Semaphore>,
    /// One permit per byte that waits in tunnels.
    tunnels_bytes: Arc<Semaphore>,
    closing: CancellationToken,
    started: Instant,
    /// Woken when a room opens.
    opened: Notify,
    counts: Counts,
}

impl Default for Switchboard {
    fn default() -> Switchboard {
        Switchboard::new(Limits::default())
    }
}

impl Switchboard {
    /// Creates a switchboard without rooms.
    pub fn new(limits: Limits) -> Switchboard {
        let limits = Arc::new(limits);
        Switchboard(Arc::new(Inside {
            rooms: Mutex::new(Rooms::new(limits.clone())),
            queues_bytes: Arc::new(Semaphore::new(limits.queues_bytes_max.min(Semaphore::MAX_PERMITS))),
            tunnels_bytes: Arc::new(Semaphore::new(limits.all_tunnels_bytes_max.min(Semaphore::MAX_PERMITS))),
            closing: CancellationToken::new(),
            started: Instant::now(),
            opened: Notify::new(),
            counts: Counts::default(),
            limits,
        }))
    }

    /// Closes every room, and refuses all peers from now on. A rendezvous over this switchboard stops
    /// listening.
    pub fn close(&self) {
        self.0.closing.cancel();
        self.rooms().clear();
    }

    pub(crate) fn limits(&self) -> &Arc<Limits> {
        &self.0.limits
    }

    /// Cancelled by [`close`](Self::close).
    pub(crate) fn closing(&self) -> &CancellationToken {
        &self.0.closing
    }

    pub(crate) fn enter(
        &self,
        room: RoomId,
        peer: PeerId,
        way: Way,
    ) -> Result<(Membership, Mailbox), Refusal> {
        let (slot, mailbox) = mailbox(&self.0.limits, &self.0.queues_bytes);
        let mut rooms = self.rooms();
        // under the lock, so that no peer enters after `close` has cleared the rooms
        if self.0.closing.is_cancelled() {
            return Err(Refusal::Closing);
        }
        let opens = way.host.is_some();
        let ticket = rooms.enter(room, peer, way, slot, Instant::now())?;
        drop(rooms);
        if opens {
            self.0.opened.notify_waiters();
        }
        Ok((Membership { switchboard: self.clone(), ticket }, mailbox))
    }

    /// Checks that a room has that door. Just after the start of the rendezvous it waits for a while for the host to
    /// open the room: the host of each room that was open before comes back by itself.
    ///
    /// # Errors
    /// [`Refusal::UnknownRoom`]; [`Refusal::NotYet`] just after the start.
    pub(crate) async fn find_door(&self, room: &RoomId, door: &PeerId) -> Result<(), Refusal> {
        let has_door = || self.rooms().has_door(room, door);
        let Limits { holds_newcomers, hold_max, .. } = **self.limits();
        let left = holds_newcomers.saturating_sub(self.0.started.elapsed());
        if left.is_zero() {
            return if has_door() { Ok(()) } else { Err(Refusal::UnknownRoom) };
        }
        let opens = async {
            loop {
                let opened = self.0.opened.notified();
                tokio::pin!(opened);
                opened.as_mut().enable();
                if has_door() {
                    return;
                }
                opened.await;
            }
        };
        timeout(hold_max.min(left), opens).await.map_err(|_| Refusal::NotYet)
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// Returns the number of open rooms, and of the peers in them.
    pub(crate) fn rooms_and_peers(&self) -> (usize, usize) {
        self.rooms().count()
    }

    /// Returns the bytes that wait in all mailboxes.
    pub(crate) fn queued_bytes(&self) -> usize {
        let all = self.0.limits.queues_bytes_max.min(Semaphore::MAX_PERMITS);
        all.saturating_sub(self.0.queues_bytes.available_permits())
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        self.0.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A peer's stay in a room; ends when dropped.
#[derive(Debug)]
pub(crate) struct Membership {
    switchboard: Switchboard,
    ticket: Ticket,
}

impl Membership {
    pub(crate) fn carry(&self, to: Address, bytes: Bytes) -> Result<(), StayOver> {
        let counts = self.switchboard.counts();
        counts.envelopes.fetch_add(1, Relaxed);
        counts.envelope_bytes.fetch_add(bytes.len() as u64, Relaxed);
        self.switchboard.rooms().carry(&self.ticket, to, bytes)
    }

    /// Lets datagrams of tunnels into the mailbox. Returns false if this rendezvous carries no tunnels.
    pub(crate) fn take_tunnels(&self, mailbox: &Mailbox) -> bool {
        let Switchboard(inside) = &self.switchboard;
        if inside.limits.carries {
            mailbox.take_tunnels(Tunnels::new(&inside.limits, &inside.tunnels_bytes));
        }
        inside.limits.carries
    }

    /// Sends a batch of datagrams to a member of the room, and returns whether it waits there.
    pub(crate) fn tunnel(&self, to: PeerId, batch: Bytes) -> Result<bool, StayOver> {
        let Tunneled { is_queued, dropped_len } = self.switchboard.rooms().tunnel(&self.ticket, to, batch)?;
        self.count_dropped(dropped_len);
        Ok(is_queued)
    }

    /// Counts bytes of tunnels that reach nobody.
    pub(crate) fn count_dropped(&self, len: usize) {
        self.switchboard.counts().tunnel_dropped_bytes.fetch_add(len as u64, Relaxed);
    }

    /// Counts bytes of tunnels that were handed to this peer.
    pub(crate) fn count_tunneled(&self, len: usize) {
        self.switchboard.counts().tunneled_bytes.fetch_add(len as u64, Relaxed);
    }

    pub(crate) fn limits(&self) -> &Limits {
        self.switchboard.limits()
    }

    /// The peer.
    pub(crate) fn peer(&self) -> &PeerId {
        &self.ticket.peer
    }

    /// Whether the room was opened by a peer of another process.
    pub(crate) fn is_of_others(&self) -> bool {
        self.ticket.is_of_others
    }

    /// Makes this peer the room's host after its proof was checked, and replaces the doors of the room.
    pub(crate) fn claim(&self, doors: Doors) -> Result<(), StayOver> {
        self.switchboard.rooms().claim(&self.ticket, doors)
    }

    /// Replaces the doors of the room, if this peer is its host.
    pub(crate) fn set_doors(&self, doors: Doors) -> Result<(), StayOver> {
        self.switchboard.rooms().set_doors(&self.ticket, doors)
    }

    /// Checks a peer's proof that it is the host of its room, over the nonce of its connection.
    pub(crate) fn check(&self, proof: &HostProof, nonce: &[u8; 32]) -> Result<(), Refusal> {
        proof.check(&self.ticket.room, nonce, &self.ticket.peer)
    }

    /// Ends the stay; a second call has no effect.
    pub(crate) fn leave(&self) {
        self.switchboard.rooms().leave(&self.ticket, Instant::now());
    }

    /// Reason for the end of this membership's mailbox.
    pub(crate) fn end(&self) -> Refusal {
        if self.switchboard.closing().is_cancelled() { Refusal::Closing } else { Refusal::Replaced }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.leave();
    }
}
