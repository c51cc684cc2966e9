//! Keyframe requests (PLI), repeated until a keyframe arrives, since request or keyframe may be lost.

/// Minimum interval between requests. An encoder makes at most one keyframe a second, however often it is
/// asked: the interval only bounds the traffic, and lets a relay merge its children's requests.
const KEY_ASK_US: u64 = 300_000;

/// Keyframe requests to the source of one stream.
#[derive(Debug, Default)]
pub(crate) struct KeyWish {
    wished: bool,
    asked_us: Option<u64>,
}

impl KeyWish {
    /// Records that no picture can be decoded before a keyframe. Returns false if it was already recorded.
    pub(crate) fn wish(&mut self) -> bool {
        !std::mem::replace(&mut self.wished, true)
    }

    /// Records the arrival of a keyframe.
    pub(crate) fn met(&mut self) {
        self.wished = false;
    }

    /// Returns whether to request a keyframe now, and if so counts the request.
    pub(crate) fn take_due(&mut self, now_us: u64) -> bool {
        self.wished && self.may_ask(now_us)
    }

    /// Returns whether to pass on a child's request now, and if so counts it. The child repeats it if
    /// necessary.
    pub(crate) fn may_ask(&mut self, now_us: u64) -> bool {
        let may = self.asked_us.is_none_or(|asked_us| now_us >= asked_us.saturating_add(KEY_ASK_US));
        if may {
            self.asked_us = Some(now_us);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyframe_request_is_repeated_at_intervals_until_a_keyframe_arrives() {
        let mut wish = KeyWish::default();
        assert!(!wish.take_due(0), "no keyframe is needed");
        assert!(wish.wish() && !wish.wish());
        let asked = |wish: &mut KeyWish, until_us: u64| {
            (0..until_us).step_by(10_000).filter(|now_us| wish.take_due(*now_us)).count()
        };
        assert_eq!(asked(&mut wish, 4 * KEY_ASK_US), 4);
        wish.met();
        assert!(!wish.take_due(10 * KEY_ASK_US));
        assert!(wish.may_ask(10 * KEY_ASK_US) && !wish.may_ask(11 * KEY_ASK_US - 1), "on behalf of a child");
    }
}
