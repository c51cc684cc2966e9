//! Filters the frames for the application while it requests one speaker's own stream (solo).

use plenary_proto::ordered::OrderedSet;

use plenary_media::Frame;
use plenary_proto::PeerId;
use plenary_proto::app::Solo;
use plenary_proto::identity::MediaKind;

use crate::received::Origin;

/// Slots of a solo stream on the link from a mixer to the peer that requests it: video, sound.
pub(crate) const SOLO_SLOTS: [u8; 2] = [4, 5];

/// The application's request for a solo stream.
#[derive(Debug, Default)]
pub(crate) struct SoloWish {
    wish: Option<Solo>,
    /// The speaker with a stream that comes, as the brain has told last.
    coming: Option<PeerId>,
    /// Speakers that must not be shown alone. Mixers receive their streams regardless.
    refusing: OrderedSet<PeerId>,
    /// Origins with pictures left out: their video resumes at a keyframe.
    pub(crate) broken: OrderedSet<Origin>,
}

impl SoloWish {
    /// Sets the request. Returns true if the program is handed over again, beginning with a keyframe. Unless the
    /// request is the same as before, the solo stream begins with a keyframe, too: a recording needs one when the
    /// stream replaces the program.
    pub(crate) fn set(&mut self, wish: Option<Solo>) -> bool {
        let was_without = self.is_without_program();
        if wish != self.wish {
            self.broken.retain(|origin| *origin == Origin::Program);
            self.broken.extend(wish.map(|solo| Origin::Speaker(solo.speaker)));
        }
        self.wish = wish;
        self.returns(was_without)
    }

    /// Sets the speakers that must not be shown alone. Returns true if the program is handed over again.
    pub(crate) fn set_refusing(&mut self, refusing: OrderedSet<PeerId>) -> bool {
        let was_without = self.is_without_program();
        let freed = self.refusing.difference(&refusing).map(|speaker| Origin::Speaker(*speaker));
        self.broken.extend(
            freed.filter(|freed| self.wish.is_some_and(|solo| Origin::Speaker(solo.speaker) == *freed)),
        );
        self.refusing = refusing;
        self.returns(was_without)
    }

    /// Returns the request, unless the speaker refuses it.
    fn granted(&self) -> Option<Solo> {
        self.wish.filter(|solo| !self.refusing.contains(&solo.speaker))
    }

    /// Sets whether the stream of a requested speaker comes.
    pub(crate) fn set_coming(&mut self, speaker: PeerId, comes: bool) {
        if comes {
            self.coming = Some(speaker);
        } else {
            self.coming.take_if(|coming| *coming == speaker);
        }
    }

    /// Returns the speaker with a stream that comes in place of the program.
    pub(crate) fn in_place_of_program(&self) -> Option<PeerId> {
        self.granted()
            .filter(|solo| solo.instead && self.coming == Some(solo.speaker))
            .map(|solo| solo.speaker)
    }

    fn is_without_program(&self) -> bool {
        self.granted().is_some_and(|solo| solo.instead)
    }

    /// After a change: returns true if the program is handed over again, which begins with a keyframe.
    fn returns(&mut self, was_without: bool) -> bool {
        let returns = was_without && !self.is_without_program();
        if returns {
            self.broken.insert(Origin::Program);
        }
        returns
    }

    /// Returns whether the application gets a frame of the program.
    pub(crate) fn takes_program(&mut self, frame: &Frame) -> bool {
        !self.is_without_program() && self.goes_on(Origin::Program, frame)
    }

    /// Returns the request if the application gets this frame of the speaker's own stream.
    pub(crate) fn takes(&mut self, speaker: &PeerId, frame: &Frame) -> Option<Solo> {
        let solo = self.granted().filter(|solo| solo.speaker == *speaker)?;
        self.goes_on(Origin::Speaker(*speaker), frame).then_some(solo)
    }

    /// Returns false for a picture that refers to pictures left out.
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
        let identity = FrameIdentity { key, ..FrameIdentity::single(stream, 1, 0) };
        Frame { kind, identity, data: Bytes::new(), level: None }
    }

    #[test]
    fn after_pictures_were_left_out_video_resumes_at_a_keyframe() {
        let (ada, ben) = (PeerId([1; 32]), PeerId([2; 32]));
        let [key, delta] = [true, false].map(|key| frame(MediaKind::Video, key));
        let sound = frame(MediaKind::Sound, false);
        let mut wish = SoloWish::default();
        assert!(wish.takes_program(&delta) && wish.takes(&ada, &key).is_none());
        assert!(!wish.set(Some(Solo { speaker: ada, instead: false })));
        assert!(wish.takes_program(&delta), "the program goes on beside the solo stream");
        assert!(wish.takes(&ada, &delta).is_none() && wish.takes(&ben, &key).is_none());
        assert!(wish.takes(&ada, &sound).is_some() && wish.takes(&ada, &key).is_some());
        assert!(wish.takes(&ada, &delta).is_some());
        assert!(!wish.set(Some(Solo { speaker: ben, instead: true })));
        assert!(!wish.takes_program(&key) && !wish.takes_program(&sound) && wish.takes(&ada, &key).is_none());
        assert!(wish.set(None));
        assert!(!wish.takes_program(&delta) && wish.takes_program(&sound));
        assert!(wish.takes_program(&key) && wish.takes_program(&delta));
    }

    #[test]
    fn of_a_speaker_that_refuses_the_application_gets_the_program_instead() {
        let ada = PeerId([1; 32]);
        let [key, delta] = [true, false].map(|key| frame(MediaKind::Video, key));
        let mut wish = SoloWish::default();
        wish.set(Some(Solo { speaker: ada, instead: true }));
        assert!(wish.takes(&ada, &key).is_some() && !wish.takes_program(&key));
        assert!(wish.set_refusing([ada].into()), "the program comes back");
        assert!(wish.takes(&ada, &key).is_none());
        assert!(!wish.takes_program(&delta) && wish.takes_program(&key) && wish.takes_program(&delta));
        assert!(!wish.set_refusing(OrderedSet::new()));
        assert!(wish.takes(&ada, &delta).is_none() && wish.takes(&ada, &key).is_some());
        assert!(!wish.takes_program(&key));
    }
}
