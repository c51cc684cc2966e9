//! What media tells the brain: a queue from the links' tasks to the driver in which nothing is lost.
//!
//! Equal notices that the driver hasn't taken yet are one: the brain asks one peer at a time to feed it, and a stream
//! starts once, so the queue stays short however slow the driver is.

use std::collections::VecDeque;

use parking_lot::Mutex;
use plenary_proto::{Input, PeerId, StreamSpec};
use tokio::sync::Notify;

/// Maximum notices that wait; at the limit the oldest is dropped and logged. A guess: a mixer's children, and its streams.
const NOTICES_MAX: usize = 128;

/// Something that the brain must hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// First packet of the program from the peer that this one asked to feed it.
    Fed(PeerId),
    /// First keyframe of the program that this peer makes.
    Started(StreamSpec),
}

impl From<Notice> for Input {
    fn from(notice: Notice) -> Input {
        match notice {
            Notice::Fed(peer) => Input::Fed(peer),
            Notice::Started(spec) => Input::Started(spec),
        }
    }
}

/// Notices that the driver hasn't taken yet.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    waiting: Mutex<VecDeque<Notice>>,
    pushed: Notify,
}

impl Notices {
    /// Adds a notice, unless an equal one waits. False when an older one had to be dropped for it.
    pub(crate) fn push(&self, notice: Notice) -> bool {
        let mut waiting = self.waiting.lock();
        if waiting.contains(&notice) {
            return true;
        }
        let dropped = if waiting.len() >= NOTICES_MAX { waiting.pop_front() } else { None };
        waiting.push_back(notice);
        drop(waiting);
        self.pushed.notify_one();
        dropped.is_none()
    }

    /// Waits for the next notice, the oldest first. One task at a time may wait.
    pub(crate) async fn next(&self) -> Notice {
        loop {
            if let Some(notice) = self.waiting.lock().pop_front() {
                return notice;
            }
            self.pushed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn fed(id: u8) -> Notice {
        Notice::Fed(PeerId([id; 32]))
    }

    #[test]
    fn a_driver_that_comes_late_gets_each_notice_once_and_in_order() {
        let notices = Notices::default();
        for round in 0..3 {
            for id in 0..NOTICES_MAX as u8 {
                assert!(notices.push(fed(id)), "round {round}");
            }
        }
        for id in 0..NOTICES_MAX as u8 {
            assert_eq!(notices.next().now_or_never(), Some(fed(id)));
        }
        assert_eq!(notices.next().now_or_never(), None);
    }

    #[test]
    fn past_the_limit_the_oldest_is_dropped_and_the_caller_hears_of_it() {
        let notices = Notices::default();
        assert!((0..NOTICES_MAX as u8).all(|id| notices.push(fed(id))));
        assert!(!notices.push(fed(200)));
        assert_eq!(notices.next().now_or_never(), Some(fed(1)));
    }
}
