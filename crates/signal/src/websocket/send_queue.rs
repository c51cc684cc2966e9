//! Send queue of a websocket client: holds envelopes while the rendezvous is unreachable or reads slowly.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::signal::SignalError;
use plenary_proto::rendezvous::Address;

/// Maximum number of queued envelopes. At the limit new ones are rejected.
pub(super) const SEND_QUEUE_LEN_MAX: usize = 256;
/// Age at which a queued envelope is dropped: its sender has retried by then, and an answer would come too
/// late to be useful. A guess.
pub(super) const SEND_QUEUE_AGE_MAX: Duration = Duration::from_secs(10);

/// A queue of envelopes: bounded in number and in age, filled from any thread, emptied by one task.
#[derive(Debug, Default)]
pub(super) struct SendQueue {
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    envelopes: VecDeque<(Instant, Address, Bytes)>,
    ended: bool,
}

impl SendQueue {
    /// # Errors
    /// [`SignalError::QueueFull`] or, after [`end`](Self::end), [`SignalError::Ended`].
    pub(super) fn push(&self, to: Address, envelope: Bytes, now: Instant) -> Result<(), SignalError> {
        let mut waiting = self.waiting();
        if waiting.ended {
            return Err(SignalError::Ended);
        }
        waiting.drop_old(now);
        if waiting.envelopes.len() >= SEND_QUEUE_LEN_MAX {
            return Err(SignalError::QueueFull);
        }
        waiting.envelopes.push_back((now, to, envelope));
        self.filled.notify_one();
        Ok(())
    }

    /// Takes the oldest envelope that is not expired.
    pub(super) fn pop(&self, now: Instant) -> Option<(Address, Bytes)> {
        let mut waiting = self.waiting();
        waiting.drop_old(now);
        waiting.envelopes.pop_front().map(|(_, to, envelope)| (to, envelope))
    }

    /// Waits until an envelope may have been queued; for one waiter at a time. Cancel safe.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Rejects all further envelopes.
    pub(super) fn end(&self) {
        self.waiting().ended = true;
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn drop_old(&mut self, now: Instant) {
        while let Some((since, ..)) = self.envelopes.front() {
            if now.saturating_duration_since(*since) < SEND_QUEUE_AGE_MAX {
                return;
            }
            self.envelopes.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(number: usize) -> Bytes {
        number.to_string().into()
    }

    #[test]
    fn a_full_outbox_refuses_until_age_or_sending_makes_room() {
        let send_queue = SendQueue::default();
        let start = Instant::now();
        for number in 0..SEND_QUEUE_LEN_MAX {
            send_queue.push(Address::Host, envelope(number), start).unwrap();
        }
        let push = |at| send_queue.push(Address::Host, envelope(999), at);
        assert_eq!(push(start), Err(SignalError::QueueFull));
        assert_eq!(send_queue.pop(start), Some((Address::Host, envelope(0))));
        assert_eq!(push(start), Ok(()));
        assert_eq!(push(start), Err(SignalError::QueueFull));
        let later = start + SEND_QUEUE_AGE_MAX;
        assert_eq!(push(later), Ok(()));
        assert_eq!(send_queue.pop(later), Some((Address::Host, envelope(999))));
        assert_eq!(send_queue.pop(later), None);
    }

    #[test]
    fn an_ended_outbox_still_gives_what_it_holds() {
        let send_queue = SendQueue::default();
        let now = Instant::now();
        send_queue.push(Address::Host, envelope(1), now).unwrap();
        send_queue.end();
        assert_eq!(send_queue.push(Address::Host, envelope(2), now), Err(SignalError::Ended));
        assert_eq!(send_queue.pop(now), Some((Address::Host, envelope(1))));
    }
}
