//! Rate limit for sending the past, the cached packets that a newly fed peer gets: megabits for a request of
//! a few bytes.

use std::collections::VecDeque;

use plenary_proto::packet::LinkId;

/// Maximum number of times within [`WITHIN_US`] that the past is sent on one link. A guess: a viewer that
/// alternates between parent and backup changes no more often.
const TIMES_MAX: usize = 4;
const WITHIN_US: u64 = 4_000_000;

/// Links on which the past was sent recently, with the times.
#[derive(Debug, Default)]
pub(crate) struct Pasts(VecDeque<(LinkId, u64)>);

impl Pasts {
    /// Returns whether to send the past on a link now, and if so counts it. A peer that doesn't get it starts
    /// in mid-stream and requests a keyframe.
    pub(crate) fn may_send(&mut self, link: LinkId, now_us: u64) -> bool {
        while self.0.pop_front_if(|(_, at_us)| now_us.saturating_sub(*at_us) >= WITHIN_US).is_some() {}
        let times = self.0.iter().filter(|(to, _)| *to == link).count();
        let may = times < TIMES_MAX;
        if may {
            self.0.push_back((link, now_us));
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_request_sends_the_past_only_a_few_times() {
        let mut pasts = Pasts::default();
        let [greedy, other] = [LinkId(1), LinkId(2)];
        let sent = |pasts: &mut Pasts, from_us: u64, until_us: u64| {
            (from_us..until_us).step_by(1_000).filter(|now_us| pasts.may_send(greedy, *now_us)).count()
        };
        assert_eq!(sent(&mut pasts, 0, WITHIN_US), TIMES_MAX);
        assert!(pasts.may_send(other, WITHIN_US - 1));
        assert_eq!(sent(&mut pasts, WITHIN_US, 3 * WITHIN_US), 2 * TIMES_MAX);
        assert!(pasts.0.len() <= 2 * TIMES_MAX, "old entries are forgotten");
    }
}
