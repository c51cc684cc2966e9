//! Queue of notices from the links' tasks to the driver, which gives them to the brain.
//!
//! A notice that equals a waiting one is not queued again, so the driver gets each notice in the order of its first
//! occurrence, not of its last. The queue is bounded: past [`NOTICES_MAX`] the oldest notice goes back to the caller,
//! which has the body give it again later. Both kinds are rare: the brain requests the program from few peers, and each
//! stream starts once.

use std::collections::VecDeque;

use parking_lot::Mutex;
use plenary_body::Notice;
use tokio::sync::Notify;

/// Maximum number of waiting notices; at the limit the oldest makes way. A guess: far more than the peers
/// that are asked to feed this one at a time, and the streams that it starts.
const NOTICES_MAX: usize = 128;

/// Waiting notices, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    waiting: Mutex<VecDeque<Notice>>,
    pushed: Notify,
}

impl Notices {
    /// Adds a notice, unless an equal one waits. Returns the oldest notice if it made way.
    pub(crate) fn push(&self, notice: Notice) -> Option<Notice> {
        let mut waiting = self.waiting.lock();
        if waiting.contains(&notice) {
            return None;
        }
        let displaced = if waiting.len() >= NOTICES_MAX { waiting.pop_front() } else { None };
        waiting.push_back(notice);
        drop(waiting);
        self.pushed.notify_one();
        displaced
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
                assert_eq!(notices.push(fed(id)), None, "round {round}");
            }
        }
        for id in 0..NOTICES_MAX as u8 {
            assert_eq!(notices.next().now_or_never(), Some(fed(id)));
        }
        assert_eq!(notices.next().now_or_never(), None);
    }

    #[test]
    fn past_the_limit_the_oldest_goes_back_to_the_caller() {
        let notices = Notices::default();
        assert!((0..NOTICES_MAX as u8).all(|id| notices.push(fed(id)).is_none()));
        assert_eq!(notices.push(fed(200)), Some(fed(0)));
        assert_eq!(notices.next().now_or_never(), Some(fed(1)));
    }
}
