//! Batches of datagrams that wait to be sent over a peer's connection to the rendezvous.

use std::collections::VecDeque;

use bytes::Bytes;

use super::batch::is_batch;
use crate::PeerId;

/// Maximum number of batches that wait to be sent. At the limit new ones are not taken. A guess.
const TUNNELS_WAITING_MAX: usize = 64;
/// Maximum number of bytes in them, with the same effect: half a second of 4 Mbit/s, the rate that a rendezvous
/// carries. A guess: later a datagram of media is of no use.
const TUNNELS_WAITING_BYTES_MAX: usize = 256 * 1024;

/// The batches, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Tunnels {
    batches: VecDeque<(PeerId, Bytes)>,
    bytes: usize,
}

impl Tunnels {
    /// Takes a batch, unless it is malformed or too many wait.
    pub(super) fn push(&mut self, to: PeerId, batch: Bytes) -> bool {
        let bytes = self.bytes + batch.len();
        if self.batches.len() >= TUNNELS_WAITING_MAX || bytes > TUNNELS_WAITING_BYTES_MAX || !is_batch(&batch)
        {
            return false;
        }
        self.bytes = bytes;
        self.batches.push_back((to, batch));
        true
    }

    pub(super) fn pop(&mut self) -> Option<(PeerId, Bytes)> {
        let first = self.batches.pop_front()?;
        self.bytes -= first.1.len();
        Some(first)
    }

    pub(super) fn clear(&mut self) {
        *self = Tunnels::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rendezvous::Batch;

    fn batch(datagrams: usize) -> Bytes {
        let mut batch = Batch::new();
        (0..datagrams).for_each(|_| batch.push(&[7; 1000]).unwrap());
        batch.take()
    }

    #[test]
    fn both_bounds_hold_and_what_is_sent_makes_room() {
        let to = PeerId([1; 32]);
        for (datagrams, fit) in [(1, TUNNELS_WAITING_MAX), (16, 16)] {
            let mut tunnels = Tunnels::default();
            assert_eq!((0..100).filter(|_| tunnels.push(to, batch(datagrams))).count(), fit);
            assert_eq!(tunnels.pop(), Some((to, batch(datagrams))));
            assert!(tunnels.push(to, batch(datagrams)) && !tunnels.push(to, batch(datagrams)));
            tunnels.clear();
            assert_eq!((tunnels.pop(), tunnels.bytes), (None, 0));
        }
        assert!(!Tunnels::default().push(to, Bytes::from_static(&[0, 0])), "an empty datagram");
    }
}
