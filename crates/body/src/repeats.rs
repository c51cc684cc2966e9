//! Frames that come more than once in one slot of a link, at a page. Its browser decodes each frame as it comes, so a
//! relay could show an old picture again, or put other sound in place of what it has sent already.

use std::collections::{BTreeSet, VecDeque};

use plenary_proto::StreamId;

/// Number of frames that may come late, as those which were lost and sent again; the window of RFC 4303.
const WINDOW: u32 = 64;
/// Streams whose numbers are kept: a mixer's, and that of the mixer before.
const STREAMS_MAX: usize = 2;

/// The frames that came in one slot of a link lately.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    /// The newest stream last.
    streams: VecDeque<(StreamId, Numbers)>,
}

/// The frames of one stream.
#[derive(Debug, Default)]
struct Numbers {
    /// The highest number with a seal, which nobody but the maker can raise; 0 for none.
    sealed: u32,
    /// Numbers that came, at most a window before the sealed one and a window after it.
    came: BTreeSet<u32>,
}

impl Repeats {
    /// Returns whether a frame is the first with its number, and neither older than the window nor, without a seal,
    /// newer.
    pub(crate) fn is_first(&mut self, stream: StreamId, number: u32, is_sealed: bool) -> bool {
        let known = self.streams.iter().position(|(known, _)| *known == stream);
        if known.is_none() && self.streams.len() >= STREAMS_MAX {
            self.streams.pop_front();
        }
        if known.is_none() {
            self.streams.push_back((stream, Numbers::default()));
        }
        let at = known.unwrap_or(self.streams.len() - 1);
        self.streams[at].1.is_first(number, is_sealed)
    }
}

impl Numbers {
    fn is_first(&mut self, number: u32, is_sealed: bool) -> bool {
        let range = |sealed: u32| sealed.saturating_sub(WINDOW)..=sealed.saturating_add(WINDOW);
        let is_new = is_sealed && number > self.sealed;
        let is_near = match self.sealed {
            0 => self.came.len() < WINDOW as usize,
            sealed => range(sealed).contains(&number),
        };
        if !is_new && (!is_near || self.came.contains(&number)) {
            return false;
        }
        self.came.insert(number);
        if is_new {
            self.sealed = number;
            self.came.retain(|came| range(number).contains(came));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: StreamId = StreamId([1; 8]);

    #[test]
    fn each_frame_counts_once_and_late_ones_within_the_window_too() {
        let mut repeats = Repeats::default();
        let mut is_first = |number, is_sealed| repeats.is_first(STREAM, number, is_sealed);
        assert!(is_first(1, true) && is_first(2, false) && is_first(5, true) && is_first(4, false));
        assert!(is_first(3, true) && !is_first(3, true), "it was lost, and sent again once");
        assert!(!is_first(5, true) && !is_first(4, false) && !is_first(1, true));
        assert!(is_first(100, true) && is_first(36, true) && !is_first(35, true) && !is_first(5, true));
    }

    #[test]
    fn numbers_without_a_seal_keep_out_no_frame_that_the_maker_has_made() {
        let mut repeats = Repeats::default();
        let mut is_first = |number, is_sealed| repeats.is_first(STREAM, number, is_sealed);
        assert!((1_000..1_064).all(|number| is_first(number, false)) && !is_first(1, false));
        assert!(is_first(7, true) && is_first(8, false) && !is_first(1_000, false));
        assert!(is_first(71, false) && !is_first(72, false));
        assert!(is_first(71, true), "a number without a seal was anybody's");
        assert!(!is_first(71, true));
    }

    #[test]
    fn two_streams_are_told_apart_and_a_third_takes_the_place_of_the_first() {
        let mut repeats = Repeats::default();
        for (stream, is_first) in [(1, true), (2, true), (1, false), (3, true), (2, false), (1, true)] {
            assert_eq!(repeats.is_first(StreamId([stream; 8]), 9, true), is_first, "stream {stream}");
        }
    }
}
