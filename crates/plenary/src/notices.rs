//! Queue of notices from the links' tasks to the driver, which gives them to the brain.
//!
//! A notice that equals a waiting one is not queued again, so the driver gets each notice in the order of its first
//! occurrence, not of its last. The queue is bounded: past [`NOTICES_MAX`] the oldest notice is lost, and the caller
//! logs it. Both kinds are rare: the brain requests the program from few peers, and each stream starts once.

use std::collections::VecDeque;

use parking_lot::Mutex;
use plenary_body::Notice;
use tokio::sync::Notify;

/// Maximum number of waiting notices; at the limit the oldest is dropped. A guess: far more than the peers
/// that are asked to feed this one at a time, and the streams that it starts.
const NOTICES_MAX: usize = 128;

/// Waiting notices, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    waiting: Mutex<VecDeque<Notice>>,
    pushed: Notify,
}

impl Notices {
    /// Adds a notice, unless an equal one waits. Returns false if the oldest notice was dropped for it.
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

    /// Waits for the oldest notice, and removes it. At most one task may wait at a time.
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

    use plenary_proto::PeerId;

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
