//! What this peer publishes: its own stream, and the picture beside it.
//!
//! The own stream has the sound, and the only picture. Of a camera and a screen, it has the camera's picture; the
//! screen's goes beside it, in a stream of its own, to the home mixer alone. Peers of a mesh show one picture of each
//! speaker: there the screen takes the camera's place in the own stream, and the camera rests.

use plenary_media::Encoded;
use plenary_proto::StreamKind;
use plenary_proto::identity::MediaKind;
use plenary_proto::message::{Muted, Sharing};

use crate::body::Sources;
use crate::maker::lane;
use crate::outs::{Paused, Picture};
use crate::own::Own;

/// This peer's own stream, and the one beside it.
#[derive(Default)]
pub(crate) struct Published {
    own: Option<Own>,
    beside: Option<Own>,
    sources: Sources,
    /// Whether there is a home mixer, which takes two pictures.
    has_home: bool,
    /// Whether pictures and sound are muted.
    muted: [bool; 2],
    /// Whether a picture or sound source was ever set.
    had_source: bool,
    /// Number of pictures of earlier own streams.
    pictures_before: u64,
}

impl Published {
    /// Returns the own stream, if it was begun.
    pub(crate) fn own(&self) -> Option<&Own> {
        self.own.as_ref()
    }

    /// Returns the own stream, or the one beside it, if it was begun.
    pub(crate) fn stream_mut(&mut self, beside: bool) -> Option<&mut Own> {
        if beside { self.beside.as_mut() } else { self.own.as_mut() }
    }

    /// Returns both streams, as far as they were begun.
    pub(crate) fn streams_mut(&mut self) -> impl Iterator<Item = &mut Own> {
        [&mut self.own, &mut self.beside].into_iter().flatten()
    }

    /// Whether a second picture is sent in a stream beside the own one.
    pub(crate) fn has_beside(&self) -> bool {
        self.beside.is_some()
    }

    /// Starts the own stream anew, with picture and sound.
    pub(crate) fn publish_anew(&mut self, shares: bool, begin: impl FnOnce(StreamKind) -> Own) {
        self.sources = Sources { picture: true, sound: true, shares, beside: false };
        self.had_source = true;
        self.begin_own(begin(kind_of(shares)));
    }

    /// Sets the sources. A stream of another kind begins anew. Pictures of a new source begin with a keyframe.
    pub(crate) fn set_sources(&mut self, sources: Sources, begin: impl FnMut(StreamKind) -> Own) {
        let before = std::mem::replace(&mut self.sources, sources);
        self.had_source |= sources.picture || sources.sound;
        self.begin_streams(begin);
        if let Some(own) = &mut self.own {
            own.key_wanted |= sources.picture;
            own.key_due |= sources.picture && !before.picture;
            for (kind, has) in [(MediaKind::Video, sources.picture), (MediaKind::Sound, sources.sound)] {
                if !has {
                    own.forget(kind);
                }
            }
        }
    }

    /// Sets whether there is a home mixer. Returns true if streams have begun anew.
    pub(crate) fn set_home(&mut self, has_home: bool, begin: impl FnMut(StreamKind) -> Own) -> bool {
        self.has_home = has_home;
        self.begin_streams(begin)
    }

    /// Begins the streams that the sources make up, as far as they differ from the present ones. Returns whether one
    /// did.
    fn begin_streams(&mut self, mut begin: impl FnMut(StreamKind) -> Own) -> bool {
        let Sources { picture, sound, shares, beside } = self.sources;
        let has_two = beside && self.has_home;
        let kind = kind_of(if beside { !has_two } else { shares });
        let mut begun = false;
        if (picture || sound) && self.own.as_ref().is_none_or(|own| own.kind() != kind) {
            let own = begin(kind);
            self.begin_own(if picture { own.with_key() } else { own });
            begun = true;
        }
        if has_two != self.beside.is_some() {
            self.beside = has_two.then(|| begin(StreamKind::Beside)).map(Own::with_key);
            begun = true;
        }
        begun
    }

    fn begin_own(&mut self, own: Own) {
        self.pictures_before = self.pictures_sent();
        self.own = Some(own);
    }

    /// Returns the stream that takes a frame; `picture`: what a picture shows. `None` for a frame that isn't sent.
    pub(crate) fn taking(&mut self, encoded: &Encoded, picture: Picture) -> Option<&mut Own> {
        if !self.is_sent(encoded.kind) {
            return None;
        }
        let is_sound = encoded.kind == MediaKind::Sound;
        let own = self.streams_mut().find(|own| is_sound || own.picture() == picture)?;
        own.goes_on(encoded).then_some(own)
    }

    /// Returns the pictures that need a keyframe; resets the answer.
    pub(crate) fn take_keys_wanted(&mut self) -> Vec<Picture> {
        let wanted =
            self.streams_mut().filter_map(|own| std::mem::take(&mut own.key_wanted).then(|| own.picture()));
        wanted.collect()
    }

    /// Returns what the own stream's picture shows; a camera without one.
    pub(crate) fn own_picture(&self) -> Picture {
        self.own.as_ref().map_or(Picture::Camera, Own::picture)
    }

    /// Returns the sources that no peer receives. `is_received`: whether any receives the own stream.
    pub(crate) fn paused(&self, is_received: bool) -> Paused {
        let is_own = |picture| is_received && self.own_picture() == picture;
        Paused {
            camera: !is_own(Picture::Camera),
            share: !is_own(Picture::Share) && !self.has_beside(),
            sound: !is_received,
        }
    }

    /// Mutes pictures or sound. Unmuted pictures begin with a keyframe.
    pub(crate) fn mute(&mut self, kind: MediaKind, muted: bool) {
        let before = std::mem::replace(&mut self.muted[lane(kind)], muted);
        let goes_on = kind == MediaKind::Video && before && !muted;
        for own in self.streams_mut() {
            own.key_wanted |= goes_on;
            own.key_due |= goes_on;
            if muted {
                own.forget(kind);
            }
        }
    }

    /// Whether pictures or sound are muted.
    pub(crate) fn is_muted(&self, kind: MediaKind) -> bool {
        self.muted[lane(kind)]
    }

    fn has_source(&self, kind: MediaKind) -> bool {
        match kind {
            MediaKind::Video => self.sources.picture,
            MediaKind::Sound => self.sources.sound,
        }
    }

    /// Whether pictures or sound have a source, and aren't muted.
    pub(crate) fn is_sent(&self, kind: MediaKind) -> bool {
        !self.is_muted(kind) && self.has_source(kind)
    }

    /// Returns what this peer doesn't send at present, muted or without a source, and whether it sends a screen or a
    /// film. `is_late`: a source that this peer has yet to get doesn't count as one that is about to come.
    pub(crate) fn sends(&self, is_late: bool) -> (Muted, Sharing) {
        let is_late = self.had_source || is_late;
        let is_muted = |kind| self.is_muted(kind) || (is_late && !self.has_source(kind));
        let muted = Muted { picture: is_muted(MediaKind::Video), sound: is_muted(MediaKind::Sound) };
        let Sources { picture, sound, shares, beside } = self.sources;
        let sharing = match (picture || sound, beside) {
            (true, true) => Sharing::Beside,
            (true, false) if shares => Sharing::Alone,
            _ => Sharing::No,
        };
        (muted, sharing)
    }

    /// Returns the number of pictures of the own stream so far.
    pub(crate) fn pictures_sent(&self) -> u64 {
        let now = self.own.as_ref().map_or(0, |own| u64::from(own.frames(MediaKind::Video)));
        self.pictures_before + now
    }
}

fn kind_of(shares: bool) -> StreamKind {
    if shares { StreamKind::Share } else { StreamKind::Speaker }
}
