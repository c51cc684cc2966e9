//! The mailbox of one peer: a queue bounded by count and by bytes, with a shared bound on the bytes of all
//! mailboxes.
//!
//! The sender never waits: at a bound `put` returns an error. A full mailbox makes room at the expense of the sender
//! with most bytes in it, so that nobody keeps others out by filling it. When its [`MailSlot`] is dropped, the mailbox
//! ends after the remaining mail was taken out.
//!
//! Datagrams of tunnels wait in a queue of their own, behind all other mail.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use plenary_proto::PeerId;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::limits::Limits;
use crate::tunnels::Tunnels;
use plenary_proto::rendezvous::Address;

/// Bytes accounted per piece of mail beside the envelope: the overhead of the queue, rounded up.
pub(crate) const MAIL_COST: usize = 128;

/// A piece of mail for a peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mail {
    /// An envelope.
    Envelope { from: PeerId, bytes: Bytes },
    /// An envelope from this peer could not be delivered.
    Undeliverable { to: Address },
    /// A batch of datagrams.
    Tunnel { from: PeerId, batch: Bytes },
}

/// The sending end of a mailbox.
#[derive(Debug)]
pub(crate) struct MailSlot {
    queue: Arc<Queue>,
    shared: Arc<Semaphore>,
}

/// The receiving end of a mailbox.
#[derive(Debug)]
pub(crate) struct Mailbox(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    held: Mutex<Held>,
    /// An envelope was added, or the mailbox was closed.
    changed: Notify,
    len_max: usize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Held {
    mail: VecDeque<HeldMail>,
    bytes: usize,
    /// Bytes of each sender.
    of: HashMap<PeerId, usize>,
    /// Datagrams of tunnels; `None` if the peer takes none.
    tunnels: Option<Tunnels>,
    /// One of the ends is gone.
    is_over: bool,
}

/// Queued mail with its share of the bytes of all mailboxes, which is released when the mail is taken out.
#[derive(Debug)]
struct HeldMail {
    mail: Mail,
    cost: usize,
    _shared: OwnedSemaphorePermit,
}

/// The mailbox is full, or its receiving end is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotTaken;

/// Creates a mailbox; `shared` has one permit for each byte that all mailboxes together may hold.
pub(crate) fn mailbox(limits: &Limits, shared: &Arc<Semaphore>) -> (MailSlot, Mailbox) {
    let queue = Arc::new(Queue {
        held: Mutex::default(),
        changed: Notify::new(),
        len_max: limits.queue_len_max.max(1),
        bytes_max: limits.queue_bytes_max,
    });
    (MailSlot { queue: queue.clone(), shared: shared.clone() }, Mailbox(queue))
}

impl Mail {
    fn sender(&self) -> Option<PeerId> {
        match self {
            Mail::Envelope { from, .. } => Some(*from),
            Mail::Undeliverable { .. } | Mail::Tunnel { .. } => None,
        }
    }
}

impl Queue {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn note_gone(&mut self, gone: &HeldMail) {
        self.bytes -= gone.cost;
        if let Some(sender) = gone.mail.sender()
            && let Some(bytes) = self.of.get_mut(&sender)
        {
            *bytes -= gone.cost;
            if *bytes == 0 {
                self.of.remove(&sender);
            }
        }
    }

    /// Drops the newest envelope of the sender with most bytes, if these are more than `than`. Returns whether it did.
    fn drop_of_largest(&mut self, than: usize) -> bool {
        // the id makes the choice the same each time
        let largest = self.of.iter().max_by_key(|(sender, bytes)| (**bytes, sender.0));
        let Some(sender) = largest.filter(|(_, bytes)| **bytes > than).map(|(sender, _)| *sender) else {
            return false;
        };
        let newest = self.mail.iter().rposition(|held| held.mail.sender() == Some(sender));
        let Some(gone) = newest.and_then(|at| self.mail.remove(at)) else { return false };
        self.note_gone(&gone);
        true
    }
}

impl MailSlot {
    /// Queues a batch of datagrams; returns the number of bytes that others lost for it.
    pub(crate) fn put_tunnel(&self, from: PeerId, batch: Bytes) -> Result<usize, NotTaken> {
        let dropped = self.queue.held().tunnels.as_mut().ok_or(NotTaken)?.put(from, batch)?;
        self.queue.changed.notify_one();
        Ok(dropped)
    }

    pub(crate) fn put(&self, mail: Mail) -> Result<(), NotTaken> {
        let len = match &mail {
            Mail::Envelope { bytes, .. } => bytes.len(),
            Mail::Undeliverable { .. } => 0,
            Mail::Tunnel { .. } => return Err(NotTaken),
        };
        let cost = len + MAIL_COST;
        let mut held = self.queue.held();
        if held.is_over || cost > self.queue.bytes_max {
            return Err(NotTaken);
        }
        let own = mail.sender().and_then(|sender| held.of.get(&sender)).copied().unwrap_or(0);
        while held.mail.len() >= self.queue.len_max || held.bytes + cost > self.queue.bytes_max {
            if !held.drop_of_largest(own + cost) {
                return Err(NotTaken);
            }
        }
        let permits = u32::try_from(cost).map_err(|_| NotTaken)?;
        let shared = self.shared.clone().try_acquire_many_owned(permits).map_err(|_| NotTaken)?;
        held.bytes += cost;
        if let Some(sender) = mail.sender() {
            *held.of.entry(sender).or_default() += cost;
        }
        held.mail.push_back(HeldMail { mail, cost, _shared: shared });
        drop(held);
        self.queue.changed.notify_one();
        Ok(())
    }
}

impl Drop for MailSlot {
    fn drop(&mut self) {
        self.queue.held().is_over = true;
        self.queue.changed.notify_one();
    }
}

impl Mailbox {
    /// Takes datagrams of tunnels too, from now on.
    pub(crate) fn take_tunnels(&self, tunnels: Tunnels) {
        self.0.held().tunnels = Some(tunnels);
    }

    /// Waits for the next piece of mail, datagrams of tunnels last; `None` when the slot was dropped. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Mail> {
        loop {
            if let Some(mail) = self.try_next() {
                return Some(mail);
            }
            if let Some((from, batch)) = self.0.held().tunnels.as_mut().and_then(Tunnels::take) {
                return Some(Mail::Tunnel { from, batch });
            }
            if self.0.held().is_over {
                return None;
            }
            self.0.changed.notified().await;
        }
    }

    /// Returns the next piece of mail if one is queued, other than datagrams of tunnels.
    pub(crate) fn try_next(&mut self) -> Option<Mail> {
        let mut held = self.0.held();
        let first = held.mail.pop_front()?;
        held.note_gone(&first);
        Some(first.mail)
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        let mut held = self.0.held();
        *held = Held { is_over: true, ..Held::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(len: usize) -> Mail {
        Mail::Envelope { from: PeerId([1; 32]), bytes: vec![0; len].into() }
    }

    #[test]
    fn each_bound_holds_and_what_is_taken_out_makes_room() {
        let limits =
            |queue_len_max, queue_bytes_max| Limits { queue_len_max, queue_bytes_max, ..Limits::default() };
        let piece = 100 + MAIL_COST;
        // the bound under test, limits of this mailbox, bytes of all mailboxes
        for (what, limits, shared) in [
            ("count", limits(3, 100 * piece), 100 * piece),
            ("own bytes", limits(100, 3 * piece + 1), 100 * piece),
            ("bytes of all", limits(100, 100 * piece), 4 * piece - 1),
        ] {
            let (slot, mut mailbox) = mailbox(&limits, &Arc::new(Semaphore::new(shared)));
            let taken = (0..10).filter(|_| slot.put(envelope(100)).is_ok()).count();
            assert_eq!(taken, 3, "{what}");
            assert_eq!(mailbox.try_next(), Some(envelope(100)));
            assert_eq!(slot.put(envelope(100)), Ok(()), "{what}");
            assert_eq!(slot.put(envelope(100)), Err(NotTaken), "{what}");
        }
    }

    #[test]
    fn a_mailbox_that_nobody_empties_gives_its_bytes_back() {
        let shared = Arc::new(Semaphore::new(10_000));
        let (slot, mailbox) = mailbox(&Limits::default(), &shared);
        slot.put(envelope(5000)).unwrap();
        assert!(shared.available_permits() < 5000);
        drop(mailbox);
        assert_eq!(slot.put(envelope(1)), Err(NotTaken));
        assert_eq!(shared.available_permits(), 10_000);
    }

    #[test]
    fn whoever_fills_a_mailbox_makes_room_for_others_and_not_for_itself() {
        let limits = Limits { queue_bytes_max: 20 * (100 + MAIL_COST), ..Limits::default() };
        let (slot, mut mailbox) = mailbox(&limits, &Arc::new(Semaphore::new(1 << 20)));
        let of = |sender: u8| Mail::Envelope { from: PeerId([sender; 32]), bytes: vec![0; 100].into() };
        assert_eq!((0..1_000).filter(|_| slot.put(of(1)).is_ok()).count(), 20);
        let taken = (0..1_000).filter(|_| slot.put(of(2)).is_ok()).count();
        assert!((9..=10).contains(&taken), "half of it: {taken}");
        assert_eq!(slot.put(of(3)), Ok(()));
        let mut count = HashMap::new();
        while let Some(mail) = mailbox.try_next() {
            *count.entry(mail.sender().map(|sender| sender.0[0])).or_insert(0) += 1;
        }
        assert_eq!(count[&Some(3)], 1);
        assert!(count[&Some(1)] >= 9 && count[&Some(2)] >= 9, "{count:?}");
        assert_eq!(slot.put(of(1)), Ok(()), "and nothing of it lasts");
    }
}
