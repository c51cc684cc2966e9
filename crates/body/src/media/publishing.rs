//! This peer as the originator of its own stream, and of the picture beside it.

use super::Media;
use crate::body::Sources;
use crate::outs::{Outs, Paused, Picture};
use crate::own::Own;
use crate::published::Published;
use plenary_media::Encoded;
use plenary_proto::identity::MediaKind;
use plenary_proto::message::{Muted, Resume, Sharing};
use plenary_proto::packet::MediaPacket;
use plenary_proto::{PeerId, StreamKind};
use rand_chacha::rand_core::Rng as _;

/// Time for which a peer that has yet to publish doesn't count as muted: most publish right after they have come in,
/// and each change is a roster. A guess.
const SOURCE_SOON_US: u64 = 1_000_000;

/// Targets of a stream, with their positions in it.
type Targets = Vec<(PeerId, Option<Resume>)>;

impl Media {
    /// Sends this peer's own stream to these peers from now on, from these positions.
    pub(crate) fn send_own(&mut self, to: Targets, now_us: u64, outs: &mut Outs) {
        self.home = if let [(home, _)] = &to[..] { Some(*home) } else { None };
        self.program.set_feeder(self.feeder_link());
        self.send_stream(false, to, now_us, outs);
    }

    /// Sends the stream beside this peer's own, if there is one, to its home from now on, from that position.
    pub(crate) fn send_beside(&mut self, to: (PeerId, Option<Resume>), now_us: u64, outs: &mut Outs) {
        self.send_stream(true, vec![to], now_us, outs);
    }

    fn send_stream(&mut self, beside: bool, to: Targets, now_us: u64, outs: &mut Outs) {
        let Some(own) = self.published.stream_mut(beside) else { return };
        if to.iter().any(|(peer, _)| *peer == self.me) {
            self.inflow.follow(own.maker().id, own.maker().spec, now_us);
        }
        let (key_wanted, packets) = own.send_to(to, &self.links, outs);
        own.key_wanted |= key_wanted;
        self.take_own(packets, now_us, outs);
    }

    /// Starts this peer's own stream anew, with picture and sound; `shares` marks a screen or a film.
    pub(crate) fn publish_anew(&mut self, shares: bool) {
        self.with_beginner(|published, begin| published.publish_anew(shares, begin));
    }

    /// Sets the sources of this peer's own stream and of the one beside it.
    pub(crate) fn set_own_sources(&mut self, sources: Sources) {
        self.with_beginner(|published, begin| published.set_sources(sources, begin));
    }

    /// Sets whether this peer has a home mixer. Returns true if streams have begun anew.
    pub(crate) fn set_has_home(&mut self, has_home: bool) -> bool {
        self.with_beginner(|published, begin| published.set_home(has_home, begin))
    }

    /// Calls `act` with what begins a stream of a kind.
    fn with_beginner<T>(
        &mut self,
        act: impl FnOnce(&mut Published, &mut dyn FnMut(StreamKind) -> Own) -> T,
    ) -> T {
        let (room, me, keys, is_page) = (&self.room, self.me, self.keys.as_ref(), self.program.is_page);
        let rng = &mut self.rng;
        let mut begin = |kind| {
            let mut start = [0; 8];
            rng.fill_bytes(&mut start);
            let own = Own::new(room, me, kind, start, keys);
            if is_page { own.of_page() } else { own }
        };
        act(&mut self.published, &mut begin)
    }

    /// Whether this peer sends a second picture in a stream beside its own.
    pub(crate) fn has_beside(&self) -> bool {
        self.published.has_beside()
    }

    /// Returns what the picture of this peer's own stream shows.
    pub(crate) fn own_picture(&self) -> Picture {
        self.published.own_picture()
    }

    /// Returns the sources that no peer receives. `is_received`: whether any receives the own stream.
    pub(crate) fn paused(&self, is_received: bool) -> Paused {
        self.published.paused(is_received)
    }

    /// Returns the kinds of media that this peer doesn't send at present, muted or without a source; and whether it
    /// sends a screen or a film. A source that this peer has yet to get counts as one that is about to come, for a
    /// second.
    pub(crate) fn sends(&self, now_us: u64) -> (Muted, Sharing) {
        self.published.sends(now_us.saturating_sub(self.zero_us) >= SOURCE_SOON_US)
    }

    /// Whether there is a source of this peer's own stream.
    pub(crate) fn publishes(&self) -> bool {
        self.published.own().is_some()
    }

    /// Returns the number of pictures of this peer's own stream so far.
    pub(crate) fn pictures_sent(&self) -> u64 {
        self.published.pictures_sent()
    }

    /// Returns the maximum number of peers that got this peer's own stream at a time, since the last reset.
    pub(crate) fn targets_most(&self) -> usize {
        self.published.own().map_or(0, |own| own.targets_most)
    }

    /// Resets that maximum to the present number.
    pub(crate) fn reset_targets_most(&mut self) {
        self.published.streams_mut().for_each(Own::reset_targets_most);
    }

    /// Sends a frame that this peer publishes; `picture`: what a picture shows.
    pub(crate) fn publish(&mut self, encoded: &Encoded, picture: Picture, now_us: u64, outs: &mut Outs) {
        let Some(own) = self.published.taking(encoded, picture) else { return };
        let packets = own.publish(encoded, now_us, &self.links, outs);
        self.voices.heard_alone(&self.me, encoded.level, now_us);
        let packets = packets.into_iter().map(|packet| (encoded.kind, packet));
        self.take_own(packets, now_us, outs);
    }

    /// Mutes this peer's own pictures or sound. Unmuted pictures begin with a keyframe.
    pub(crate) fn mute(&mut self, kind: MediaKind, muted: bool) {
        self.published.mute(kind, muted);
    }

    /// Whether this peer's own pictures or sound have a source, and aren't muted.
    pub(crate) fn is_sent(&self, kind: MediaKind) -> bool {
        self.published.is_sent(kind)
    }

    /// Whether this peer's own pictures or sound are muted.
    pub(crate) fn is_muted(&self, kind: MediaKind) -> bool {
        self.published.is_muted(kind)
    }

    /// Handles packets of this peer's own streams, if this peer is one of their targets.
    fn take_own(
        &mut self,
        packets: impl IntoIterator<Item = (MediaKind, MediaPacket)>,
        now_us: u64,
        outs: &mut Outs,
    ) {
        let mut inbound = Vec::new();
        for (kind, packet) in packets {
            if self.inflow.packet(kind, &packet, None, now_us, &mut inbound).is_fresh() {
                self.inflow.forward(kind, &packet, false, now_us, &self.links, outs);
            }
        }
        self.use_inbound(inbound, now_us, outs);
    }
}
