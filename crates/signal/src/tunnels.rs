//! Batches of datagrams that wait for one peer: a queue bounded by count and by bytes, with a shared bound on the bytes
//! of all such queues.
//!
//! A full queue drops the oldest batch of the sender with most bytes in it: of datagrams the newest are of most use,
//! and nobody keeps others out by filling the queue.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use plenary_proto::PeerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::Limits;
use crate::mailbox::{MAIL_COST, NotTaken};

/// The batches, the oldest first.
#[derive(Debug)]
pub(crate) struct Tunnels {
    batches: VecDeque<Held>,
    bytes: usize,
    len_max: usize,
    bytes_max: usize,
    shared: Arc<Semaphore>,
}

/// A queued batch with its share of the bytes of all queues, which is released when the batch is taken out.
#[derive(Debug)]
struct Held {
    from: PeerId,
    batch: Bytes,
    cost: usize,
    _shared: OwnedSemaphorePermit,
}

impl Tunnels {
    /// Creates a queue; `shared` has one permit for each byte that all queues together may hold.
    pub(crate) fn new(limits: &Limits, shared: &Arc<Semaphore>) -> Tunnels {
        Tunnels {
            batches: VecDeque::new(),
            bytes: 0,
            len_max: limits.tunnels_len_max.max(1),
            bytes_max: limits.tunnels_bytes_max,
            shared: shared.clone(),
        }
    }

    /// Queues a batch; returns the number of bytes that others lost for it.
    ///
    /// # Errors
    /// [`NotTaken`] if the batch alone is the largest, or at the bound of all queues.
    pub(crate) fn put(&mut self, from: PeerId, batch: Bytes) -> Result<usize, NotTaken> {
        let cost = batch.len() + MAIL_COST;
        let mut dropped = 0;
        while self.batches.len() >= self.len_max || self.bytes + cost > self.bytes_max {
            dropped += self.drop_of_largest(from, cost)?;
        }
        let permits = u32::try_from(cost).map_err(|_| NotTaken)?;
        let shared = self.shared.clone().try_acquire_many_owned(permits).map_err(|_| NotTaken)?;
        self.bytes += cost;
        self.batches.push_back(Held { from, batch, cost, _shared: shared });
        Ok(dropped)
    }

    /// Drops the oldest batch of the sender with most bytes, where a further batch counts too; returns its length.
    fn drop_of_largest(&mut self, from: PeerId, cost: usize) -> Result<usize, NotTaken> {
        let mut of = HashMap::from([(from, cost)]);
        for held in &self.batches {
            *of.entry(held.from).or_default() += held.cost;
        }
        // the id makes the choice the same each time
        let (largest, _) = of.into_iter().max_by_key(|(sender, bytes)| (*bytes, sender.0)).ok_or(NotTaken)?;
        let oldest = self.batches.iter().position(|held| held.from == largest);
        let gone = oldest.and_then(|at| self.batches.remove(at)).ok_or(NotTaken)?;
        self.bytes -= gone.cost;
        Ok(gone.batch.len())
    }

    /// Takes the oldest batch out, with its sender.
    pub(crate) fn take(&mut self) -> Option<(PeerId, Bytes)> {
        let first = self.batches.pop_front()?;
        self.bytes -= first.cost;
        Some((first.from, first.batch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 1000;
    const COST: usize = LEN + MAIL_COST;

    fn batch(number: u8) -> Bytes {
        vec![number; LEN].into()
    }

    fn peer(number: u8) -> PeerId {
        PeerId([number; 32])
    }

    fn tunnels(tunnels_len_max: usize, tunnels_bytes_max: usize) -> Tunnels {
        let limits = Limits { tunnels_len_max, tunnels_bytes_max, ..Limits::default() };
        Tunnels::new(&limits, &Arc::new(Semaphore::new(100 * COST)))
    }

    #[test]
    fn each_bound_holds_and_the_newest_batches_stay() {
        for (what, mut tunnels) in [("count", tunnels(3, 100 * COST)), ("bytes", tunnels(100, 4 * COST - 1))]
        {
            let lost: usize = (0..10).map(|number| tunnels.put(peer(1), batch(number)).unwrap()).sum();
            assert_eq!(lost, 7 * LEN, "{what}");
            let left: Vec<_> = std::iter::from_fn(|| tunnels.take()).map(|(_, batch)| batch[0]).collect();
            assert_eq!((left, tunnels.bytes), (vec![7, 8, 9], 0), "{what}");
        }
        assert_eq!(tunnels(3, LEN).put(peer(1), batch(0)), Err(NotTaken), "longer than all may be");
    }

    #[test]
    fn whoever_fills_the_queue_makes_room_for_others() {
        let mut tunnels = tunnels(8, 100 * COST);
        for sender in [1, 2] {
            assert!((0..100).all(|number| tunnels.put(peer(sender), batch(number)).is_ok()));
        }
        assert_eq!(tunnels.put(peer(3), batch(0)), Ok(LEN));
        let mut count = HashMap::new();
        while let Some((from, _)) = tunnels.take() {
            *count.entry(from.0[0]).or_insert(0) += 1;
        }
        assert_eq!(count[&3], 1);
        assert!(count[&1] >= 3 && count[&2] >= 3, "{count:?}");
    }

    #[test]
    fn all_queues_together_hold_no_more_than_their_bound() {
        let shared = Arc::new(Semaphore::new(3 * COST));
        let mut queues = [1, 2].map(|_| Tunnels::new(&Limits::default(), &shared));
        let taken = (0..10).filter(|at| queues[at % 2].put(peer(1), batch(0)).is_ok()).count();
        assert_eq!(taken, 3);
        drop(queues);
        assert_eq!(shared.available_permits(), 3 * COST);
    }
}
