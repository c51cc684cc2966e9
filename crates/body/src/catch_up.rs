//! Detects frames of a new mixer's stream that the application already has from the previous mixer.
//!
//! A viewer that changes mixers is sent the new mixer's current GOP, with the sound since: up to two seconds
//! that it had from the old mixer. Later pictures refer to these pictures, so the application gets them,
//! marked, but not the sound.

use plenary_media::Frame;
use plenary_proto::StreamId;

use crate::maker::lane;

/// Time after a change of streams in which frames may be repetitions: by then a GOP has arrived over all but
/// the narrowest links. If the mixers' clocks differ, no more than this time is lost. A guess.
const CATCH_UP_US_MAX: u64 = 500_000;

/// Tracks how far this peer has got in the program across streams.
#[derive(Debug, Default)]
pub(crate) struct CatchUp {
    stream: Option<StreamId>,
    /// Capture time of the last frame that was no repetition, by kind.
    newest_us: [u64; 2],
    /// `newest_us` at the last change of streams, and the time until which it is compared.
    before: Option<([u64; 2], u64)>,
}

impl CatchUp {
    /// Returns whether a frame of the program repeats, by capture time, what the application had from the
    /// previous stream.
    pub(crate) fn is_past(&mut self, frame: &Frame, now_us: u64) -> bool {
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
        let identity = FrameIdentity::single(stream, 1, captured_us);
        catch_up.is_past(&Frame { kind, identity, data: Bytes::new(), level: None }, now_us)
    }

    #[test]
    fn frames_of_another_mixer_are_past_up_to_the_last_frame_shown() {
        for kind in [MediaKind::Video, MediaKind::Sound] {
            let mut catch_up = CatchUp::default();
            assert!(!is_past(&mut catch_up, 1, kind, 5_000_000, 5_050_000));
            let mut past = |captured_us| is_past(&mut catch_up, 2, kind, captured_us, 5_060_000);
            assert!(past(4_000_000) && past(5_000_000) && !past(5_033_000));
        }
    }

    #[test]
    fn frames_of_the_same_stream_are_never_past() {
        let mut catch_up = CatchUp::default();
        let mut past = |stream, captured_us, now_us| {
            is_past(&mut catch_up, stream, MediaKind::Video, captured_us, now_us)
        };
        assert!(!past(1, 9_000_000, 0) && !past(1, 8_000_000, 0));
        assert!(!past(1, 9_000_000, 0) && past(2, 3_000_000, 1_000_000));
        assert!(!past(2, 3_500_000, 1_000_000 + CATCH_UP_US_MAX) && !past(2, 3_533_000, 1_550_000));
    }
}
