//! Which frames are for the application while it wishes for one speaker's own stream.

use std::collections::BTreeSet;

use plenary_media::Frame;
use plenary_proto::PeerId;
use plenary_proto::identity::MediaKind;

use super::outlets::Origin;

/// The slots of a single speaker's stream on a link, from a mixer to whoever wishes for it: video, sound.
pub(crate) const SOLO_SLOTS: [u8; 2] = [4, 5];

/// One speaker's own stream, as its mixer gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solo {
    /// Whose.
    pub speaker: PeerId,
    /// The program isn't handed over meanwhile. It still comes, for whoever is fed here; and a speaker hears all others as
    /// before.
    pub instead: bool,
}

/// What the application wishes for.
#[derive(Debug, Default)]
pub(crate) struct SoloWish {
    wish: Option<Solo>,
    /// Pictures of these were left out: they go on with a key frame.
    broken: BTreeSet<Origin>,
}

impl SoloWish {
    /// Wishes for another; true when the program is handed over again and has to begin with a key frame.
    pub(crate) fn set(&mut self, wish: Option<Solo>) -> bool {
        let without_program = |wish: Option<Solo>| wish.is_some_and(|solo| solo.instead);
        let returns = without_program(self.wish) && !without_program(wish);
        self.broken.clear();
        if returns {
            self.broken.insert(Origin::Program);
        }
        self.broken.extend(wish.map(|solo| Origin::Speaker(solo.speaker)));
        self.wish = wish;
        returns
    }

    /// Whether a frame of the program is for the application.
    pub(crate) fn takes_program(&mut self, frame: &Frame) -> bool {
        self.wish.is_none_or(|solo| !solo.instead) && self.goes_on(Origin::Program, frame)
    }

    /// The wish that a frame of that speaker's own stream fulfils, if it does.
    pub(crate) fn takes(&mut self, speaker: &PeerId, frame: &Frame) -> Option<Solo> {
        let solo = self.wish.filter(|solo| solo.speaker == *speaker)?;
        self.goes_on(Origin::Speaker(*speaker), frame).then_some(solo)
    }

    /// False for a picture that lacks those before it.
    fn goes_on(&mut self, origin: Origin, frame: &Frame) -> bool {
        if frame.kind == MediaKind::Video && frame.identity.key {
            self.broken.remove(&origin);
        }
        frame.kind != MediaKind::Video || !self.broken.contains(&origin)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use plenary_proto::StreamId;
    use plenary_proto::identity::FrameIdentity;

    use super::*;

    fn frame(kind: MediaKind, key: bool) -> Frame {
        let stream = StreamId([1; 8]);
        let identity = FrameIdentity { stream, number: 1, captured_us: 0, temporal: 0, key, epoch: 0 };
        Frame { kind, identity, data: Bytes::new(), level: None }
    }

    #[test]
    fn pictures_that_were_left_out_are_gone_on_with_at_a_key_frame() {
        let (ada, ben) = (PeerId([1; 32]), PeerId([2; 32]));
        let [key, delta] = [true, false].map(|key| frame(MediaKind::Video, key));
        let sound = frame(MediaKind::Sound, false);
        let mut wish = SoloWish::default();
        assert!(wish.takes_program(&delta) && wish.takes(&ada, &key).is_none());
        assert!(!wish.set(Some(Solo { speaker: ada, instead: false })));
        assert!(wish.takes_program(&delta), "it goes on beside the speaker");
        assert!(wish.takes(&ada, &delta).is_none() && wish.takes(&ben, &key).is_none());
        assert!(wish.takes(&ada, &sound).is_some() && wish.takes(&ada, &key).is_some());
        assert!(wish.takes(&ada, &delta).is_some());
        assert!(!wish.set(Some(Solo { speaker: ben, instead: true })));
        assert!(!wish.takes_program(&key) && !wish.takes_program(&sound) && wish.takes(&ada, &key).is_none());
        assert!(wish.set(None));
        assert!(!wish.takes_program(&delta) && wish.takes_program(&sound));
        assert!(wish.takes_program(&key) && wish.takes_program(&delta));
    }
}
