//! How often the past is sent: whoever begins to be fed gets what went before, megabits for a message of a few bytes.

use std::collections::VecDeque;

use plenary_rtc::LinkId;

/// On one link it is sent so many times within [`WITHIN_US`] at most. A guess: a viewer that goes to and fro between parent
/// and backup changes no more often.
const TIMES_MAX: usize = 4;
const WITHIN_US: u64 = 4_000_000;

/// When it was sent lately, and where.
#[derive(Debug, Default)]
pub(super) struct Pasts(VecDeque<(LinkId, u64)>);

impl Pasts {
    /// Whether it may be sent on that link now, which it then is. Who doesn't get it begins in mid-stream, and asks for a
    /// key frame.
    pub(super) fn may_send(&mut self, link: LinkId, now_us: u64) -> bool {
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
    fn whoever_asks_again_and_again_gets_it_a_few_times() {
        let mut pasts = Pasts::default();
        let [greedy, other] = [LinkId(1), LinkId(2)];
        let sent = |pasts: &mut Pasts, from_us: u64, until_us: u64| {
            (from_us..until_us).step_by(1_000).filter(|now_us| pasts.may_send(greedy, *now_us)).count()
        };
        assert_eq!(sent(&mut pasts, 0, WITHIN_US), TIMES_MAX);
        assert!(pasts.may_send(other, WITHIN_US - 1));
        assert_eq!(sent(&mut pasts, WITHIN_US, 3 * WITHIN_US), 2 * TIMES_MAX);
        assert!(pasts.0.len() <= 2 * TIMES_MAX, "what is long past is forgotten");
    }
}
