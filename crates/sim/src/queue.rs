//! Event queue in the order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use plenary_proto::Time;

/// Future events. Events of the same time come out in the order in which they were pushed.
///
/// The heap holds 24 bytes for each event, however large the event is; the events are stored in slots, and
/// the slots of past events are reused.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<(Time, u64, u32)>>,
    things: Vec<Option<T>>,
    free: Vec<u32>,
    sequence: u64,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Queue<T> {
        Queue { heap: BinaryHeap::new(), things: Vec::new(), free: Vec::new(), sequence: 0 }
    }

    pub(crate) fn push(&mut self, at: Time, thing: T) {
        self.sequence += 1;
        let place = match self.free.pop() {
            Some(place) => {
                self.things[place as usize] = Some(thing);
                place
            }
            None => {
                self.things.push(Some(thing));
                self.things.len() as u32 - 1
            }
        };
        self.heap.push(Reverse((at, self.sequence, place)));
    }

    /// Removes the next event if it is due by `end`.
    pub(crate) fn pop_until(&mut self, end: Time) -> Option<(Time, T)> {
        let Reverse((at, ..)) = self.heap.peek()?;
        if *at > end {
            return None;
        }
        let Reverse((at, _, place)) = self.heap.pop()?;
        self.free.push(place);
        Some((at, self.things[place as usize].take()?))
    }

    /// Number of events ever pushed.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_come_in_the_order_of_time_and_then_of_being_put() {
        let mut queue = Queue::new();
        for round in 0..3 {
            for (at, thing) in [(5, 'c'), (1, 'a'), (5, 'd'), (3, 'b'), (9, 'e')] {
                queue.push(Time(10 * round + at), thing);
            }
            let until: String =
                std::iter::from_fn(|| queue.pop_until(Time(10 * round + 5))).map(|(_, t)| t).collect();
            assert_eq!(until, "abcd");
            assert_eq!(queue.pop_until(Time(10 * round + 9)), Some((Time(10 * round + 9), 'e')));
        }
        assert!(queue.things.len() == 5 && queue.pop_until(Time(1_000)).is_none());
    }
}
