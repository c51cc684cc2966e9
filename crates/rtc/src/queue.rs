//! The send queue of a data channel: bounded in bytes, emptied by the link's task.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;

use crate::seam::CARRIED_BYTES_MAX;
use crate::sync::lock;

/// Bytes accounted per message beside its length, so that empty messages are bounded too.
const MESSAGE_OVERHEAD_BYTES: usize = 64;

#[derive(Debug)]
pub(crate) struct SendQueue {
    waiting: Mutex<Waiting>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Bytes>,
    bytes: usize,
    was_half_full: bool,
    is_finished: bool,
}

/// A message taken from the queue.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) bytes: Bytes,
    /// Whether at least half of the queue is free again after it was more than half full.
    pub(crate) drained: bool,
}

/// The queue has no room for the message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl SendQueue {
    pub(crate) fn new(bytes_max: usize) -> SendQueue {
        SendQueue { waiting: Mutex::default(), bytes_max }
    }

    /// Appends a message. Once the queue is [`finish`](Self::finish)ed, the message is dropped without an
    /// error.
    pub(crate) fn push(&self, bytes: Bytes) -> Result<(), Full> {
        let mut waiting = lock(&self.waiting);
        let after = waiting.bytes + bytes.len() + MESSAGE_OVERHEAD_BYTES;
        if after > self.bytes_max {
            return Err(Full);
        }
        if !waiting.is_finished {
            waiting.bytes = after;
            waiting.was_half_full |= after > self.bytes_max / 2;
            waiting.messages.push_back(bytes);
        }
        Ok(())
    }

    /// Takes the oldest message.
    pub(crate) fn take(&self) -> Option<Taken> {
        let mut waiting = lock(&self.waiting);
        let bytes = waiting.messages.pop_front()?;
        waiting.bytes -= bytes.len() + MESSAGE_OVERHEAD_BYTES;
        let drained = waiting.was_half_full && waiting.bytes <= self.bytes_max / 2;
        waiting.was_half_full &= !drained;
        Some(Taken { bytes, drained })
    }

    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.waiting).messages.is_empty()
    }

    /// Accepts no further messages.
    pub(crate) fn finish(&self) {
        lock(&self.waiting).is_finished = true;
    }

    /// Maximum length of a message that fits now, in bytes.
    pub(crate) fn room(&self) -> usize {
        (self.bytes_max - lock(&self.waiting).bytes).saturating_sub(MESSAGE_OVERHEAD_BYTES)
    }
}

/// Messages of other peers that wait to be forwarded, each with all its pieces; beyond [`CARRIED_BYTES_MAX`] further
/// ones are dropped.
#[derive(Debug, Default)]
pub(crate) struct CarriedQueue(Mutex<(VecDeque<Vec<Bytes>>, usize)>);

impl CarriedQueue {
    /// Appends a message. Returns whether there was room.
    pub(crate) fn push(&self, pieces: Vec<Bytes>) -> bool {
        let mut waiting = lock(&self.0);
        let (messages, bytes) = &mut *waiting;
        let after = *bytes + bytes_of(&pieces);
        let has_room = after <= CARRIED_BYTES_MAX;
        if has_room {
            *bytes = after;
            messages.push_back(pieces);
        }
        has_room
    }

    /// Takes the oldest message.
    pub(crate) fn take(&self) -> Option<Vec<Bytes>> {
        let mut waiting = lock(&self.0);
        let pieces = waiting.0.pop_front()?;
        waiting.1 -= bytes_of(&pieces);
        Some(pieces)
    }
}

fn bytes_of(pieces: &[Bytes]) -> usize {
    pieces.iter().map(|piece| piece.len() + MESSAGE_OVERHEAD_BYTES).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_counts_bytes_and_messages() {
        let queue = SendQueue::new(1_000);
        assert_eq!(queue.room(), 936);
        queue.push(Bytes::from(vec![0; 900])).unwrap();
        assert_eq!(queue.room(), 0);
        assert_eq!(queue.push(Bytes::new()), Err(Full));
        queue.take().unwrap();
        for _ in 0..15 {
            queue.push(Bytes::new()).unwrap();
        }
        assert_eq!(queue.push(Bytes::new()), Err(Full), "empty messages are not free");
    }

    #[test]
    fn draining_is_told_once_when_half_is_free_again() {
        let queue = SendQueue::new(1_000);
        for _ in 0..9 {
            queue.push(Bytes::from_static(&[7; 36])).unwrap();
        }
        let mut drained = Vec::new();
        for _ in 0..9 {
            drained.push(queue.take().unwrap().drained);
        }
        assert_eq!(drained.iter().filter(|&&drained| drained).count(), 1);
        assert!(drained[3], "500 of 1000 bytes are free: {drained:?}");
    }

    #[test]
    fn what_is_forwarded_waits_up_to_its_bound_and_the_rest_is_dropped() {
        let queue = CarriedQueue::default();
        let letter = || vec![Bytes::from(vec![0; 16_000]); 2];
        assert_eq!((0..100).filter(|_| queue.push(letter())).count(), 8);
        assert_eq!(queue.take(), Some(letter()));
        assert!(queue.push(letter()) && !queue.push(letter()));
    }

    #[test]
    fn a_finished_queue_gives_what_it_has_then_ends() {
        let queue = SendQueue::new(1_000);
        queue.push(Bytes::from_static(b"last")).unwrap();
        queue.finish();
        queue.push(Bytes::from_static(b"too late")).unwrap();
        assert_eq!(queue.take().unwrap().bytes, "last");
        assert_eq!(queue.take(), None);
    }
}
