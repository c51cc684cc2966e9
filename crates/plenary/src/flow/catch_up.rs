//! What was seen and heard before, when another mixer's stream goes on with the program.
//!
//! A viewer that changes mixers is sent the new one's current group of pictures, with the sound since: up to two seconds
//! that it has had from the old one. Later pictures need those pictures, so they are given to the application, marked;
//! that sound it gets no second time.

use plenary_media::Frame;
use plenary_proto::StreamId;

use super::maker::lane;

/// So long after a change frames may be from before it: a group of pictures comes over all but the narrowest lines by
/// then, and mixers whose clocks differ cost no more than this. A guess.
const CATCH_UP_US_MAX: u64 = 500_000;

/// Where the streams of the program ended that this peer has had.
#[derive(Debug, Default)]
pub(super) struct CatchUp {
    stream: Option<StreamId>,
    /// Capture time of the newest frame, by kind.
    newest_us: [u64; 2],
    /// The same of the stream before this one, and until when it counts.
    before: Option<([u64; 2], u64)>,
}

impl CatchUp {
    /// Whether a frame of the program is from before the last change of streams, and was given to the application as another's
    /// already.
    pub(super) fn is_past(&mut self, frame: &Frame, now_us: u64) -> bool {
        let (identity, lane) = (&frame.identity, lane(frame.kind));
        if self.stream.replace(identity.stream).is_some_and(|known| known != identity.stream) {
            self.before = Some((self.newest_us, now_us + CATCH_UP_US_MAX));
        }
        let past = |(ended_us, until_us): ([u64; 2], u64)| {
            now_us < until_us && identity.captured_us <= ended_us[lane]
        };
        let is_past = self.before.is_some_and(past);
        if !is_past {
            self.newest_us[lane] = identity.captured_us;
        }
        is_past
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use plenary_proto::identity::{FrameIdentity, MediaKind};

    use super::*;

    fn is_past(catch_up: &mut CatchUp, stream: u8, kind: MediaKind, captured_us: u64, now_us: u64) -> bool {
        let stream = StreamId([stream; 8]);
        let identity = FrameIdentity { stream, number: 1, captured_us, temporal: 0, key: false, epoch: 0 };
        catch_up.is_past(&Frame { kind, identity, data: Bytes::new(), level: None }, now_us)
    }

    #[test]
    fn another_mixers_pictures_are_past_until_they_are_newer_than_the_last_one_shown() {
        for kind in [MediaKind::Video, MediaKind::Sound] {
            let mut catch_up = CatchUp::default();
            assert!(!is_past(&mut catch_up, 1, kind, 5_000_000, 5_050_000));
            let mut past = |captured_us| is_past(&mut catch_up, 2, kind, captured_us, 5_060_000);
            assert!(past(4_000_000) && past(5_000_000) && !past(5_033_000));
        }
    }

    #[test]
    fn a_stream_that_goes_on_is_never_past_and_a_clock_that_differs_is_believed_soon() {
        let mut catch_up = CatchUp::default();
        let mut past = |stream, captured_us, now_us| {
            is_past(&mut catch_up, stream, MediaKind::Video, captured_us, now_us)
        };
        assert!(!past(1, 9_000_000, 0) && !past(1, 8_000_000, 0));
        assert!(!past(1, 9_000_000, 0) && past(2, 3_000_000, 1_000_000));
        assert!(!past(2, 3_500_000, 1_000_000 + CATCH_UP_US_MAX) && !past(2, 3_533_000, 1_550_000));
    }
}
