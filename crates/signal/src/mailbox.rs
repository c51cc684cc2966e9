//! The mailbox of one peer: a queue bounded by count and by bytes, with a shared bound on the bytes of all
//! mailboxes.
//!
//! The sender never waits: at a bound `put` returns an error. When its [`MailSlot`] is dropped, the mailbox
//! ends after the remaining mail was taken out.

use std::sync::Arc;

use bytes::Bytes;
use plenary_proto::PeerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::limits::Limits;
use crate::wire::Address;

/// Bytes accounted per piece of mail beside the envelope: the overhead of the queue, rounded up.
const MAIL_COST: usize = 128;

/// A piece of mail for a peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mail {
    /// An envelope.
    Envelope { from: PeerId, bytes: Bytes },
    /// An envelope from this peer could not be delivered.
    Undeliverable { to: Address },
}

/// The sending end of a mailbox.
#[derive(Debug)]
pub(crate) struct MailSlot {
    sender: mpsc::Sender<HeldMail>,
    own: Arc<Semaphore>,
    shared: Arc<Semaphore>,
}

/// The receiving end of a mailbox.
#[derive(Debug)]
pub(crate) struct Mailbox(mpsc::Receiver<HeldMail>);

/// Queued mail with its share of the byte budgets, which is released when the mail is taken out.
#[derive(Debug)]
struct HeldMail {
    mail: Mail,
    _own: OwnedSemaphorePermit,
    _shared: OwnedSemaphorePermit,
}

/// The mailbox is full, or its receiving end is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotTaken;

/// Creates a mailbox; `shared` has one permit for each byte that all mailboxes together may hold.
pub(crate) fn mailbox(limits: &Limits, shared: &Arc<Semaphore>) -> (MailSlot, Mailbox) {
    let (sender, receiver) = mpsc::channel(limits.queue_len_max.max(1));
    let own = Arc::new(Semaphore::new(limits.queue_bytes_max.min(Semaphore::MAX_PERMITS)));
    (MailSlot { sender, own, shared: shared.clone() }, Mailbox(receiver))
}

impl MailSlot {
    pub(crate) fn put(&self, mail: Mail) -> Result<(), NotTaken> {
        let len = match &mail {
            Mail::Envelope { bytes, .. } => bytes.len(),
            Mail::Undeliverable { .. } => 0,
        };
        let cost = u32::try_from(len + MAIL_COST).map_err(|_| NotTaken)?;
        let hold = |bytes: &Arc<Semaphore>| bytes.clone().try_acquire_many_owned(cost).map_err(|_| NotTaken);
        let held = HeldMail { mail, _own: hold(&self.own)?, _shared: hold(&self.shared)? };
        self.sender.try_send(held).map_err(|_| NotTaken)
    }
}

impl Mailbox {
    /// Waits for the next piece of mail; `None` when the slot was dropped. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Mail> {
        self.0.recv().await.map(|held| held.mail)
    }

    /// Returns the next piece of mail if one is queued.
    pub(crate) fn try_next(&mut self) -> Option<Mail> {
        self.0.try_recv().ok().map(|held| held.mail)
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
}
