//! A wish for a key frame, made again until one comes: the asking may be lost, and so may the key frame.

/// So soon it is asked for again. Whoever makes key frames makes one a second at most, however often it is asked: this
/// only bounds what is said, and by it a relay makes one asking of its children's.
const KEY_ASK_US: u64 = 300_000;

/// Where one stream's pictures come from, a key frame may be wished for.
#[derive(Debug, Default)]
pub(super) struct KeyWish {
    wished: bool,
    asked_us: Option<u64>,
}

impl KeyWish {
    /// Nothing can be decoded before a key frame; false when that was so already.
    pub(super) fn wish(&mut self) -> bool {
        !std::mem::replace(&mut self.wished, true)
    }

    /// One has come.
    pub(super) fn met(&mut self) {
        self.wished = false;
    }

    /// Whether it is to be asked for now.
    pub(super) fn take_due(&mut self, now_us: u64) -> bool {
        self.wished && self.may_ask(now_us)
    }

    /// Whether to ask on somebody else's behalf now, who repeats it if need be.
    pub(super) fn may_ask(&mut self, now_us: u64) -> bool {
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
    fn a_wish_is_repeated_until_it_is_met_and_not_too_often() {
        let mut wish = KeyWish::default();
        assert!(!wish.take_due(0), "nobody wishes for anything");
        assert!(wish.wish() && !wish.wish());
        let asked = |wish: &mut KeyWish, until_us: u64| {
            (0..until_us).step_by(10_000).filter(|now_us| wish.take_due(*now_us)).count()
        };
        assert_eq!(asked(&mut wish, 4 * KEY_ASK_US), 4);
        wish.met();
        assert!(!wish.take_due(10 * KEY_ASK_US));
        assert!(wish.may_ask(10 * KEY_ASK_US) && !wish.may_ask(11 * KEY_ASK_US - 1), "for a child");
    }
}
