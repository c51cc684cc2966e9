//! Each speaker's sound apart, for agents: where a mixer forwards it, and the clock that it comes with.
//!
//! All speakers' packets share slot 5 of the link with the agent: a packet names its stream. Capture times are by the
//! clock of each speaker. The mixer tells the agent how these clocks differ from its own, and the agent knows how the
//! mixer's differs from its own.

use plenary_media::Frame;
use plenary_proto::message::{VoiceClock, VoiceClocks};
use plenary_proto::ordered::{OrderedMap, OrderedSet};
use plenary_proto::{PeerId, ShortId, StreamId, VoiceRoutes};

/// Interval at which a mixer tells its agents the speakers' clocks. A guess: clocks drift by 0.1 ms meanwhile.
const CLOCKS_US: u64 = 1_000_000;

/// A frame of one speaker's sound, for the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoiceFrame {
    /// The speaker.
    pub speaker: PeerId,
    /// The Opus packet, with its identity.
    pub frame: Frame,
    /// Capture time, microseconds since 1970 by this peer's clock; the time of arrival while the speaker's clock is
    /// unknown.
    pub captured_us: u64,
}

/// Speakers' sound apart from the mix.
#[derive(Debug, Default)]
pub(crate) struct Apart {
    here: bool,
    of: OrderedSet<PeerId>,
    /// Agents that get it, and the streams announced to each.
    to: OrderedMap<PeerId, OrderedSet<StreamId>>,
    /// Added to the clock of a linked peer to get this peer's, microseconds.
    offsets_us: OrderedMap<PeerId, i64>,
    /// The mixer that told the speakers' clocks last, and their offsets to its own.
    told: Option<(PeerId, OrderedMap<ShortId, i64>)>,
    /// When the agents are told the clocks next, microseconds.
    tell_us: u64,
}

impl Apart {
    /// Sets where sound goes.
    pub(crate) fn set_routes(&mut self, routes: VoiceRoutes) {
        let VoiceRoutes { of, to, here } = routes;
        let mut before = std::mem::take(&mut self.to);
        // a newcomer is told the clocks at once
        if to.iter().any(|peer| !before.contains_key(peer)) {
            self.tell_us = 0;
        }
        self.to.extend(to.into_iter().map(|peer| (peer, before.remove(&peer).unwrap_or_default())));
        (self.here, self.of) = (here, of.into_iter().collect());
    }

    /// Returns the agents that get a speaker's sound, and the streams announced to each.
    pub(crate) fn receivers<'a>(
        &'a mut self,
        speaker: &'a PeerId,
    ) -> impl Iterator<Item = (&'a PeerId, &'a mut OrderedSet<StreamId>)> {
        let is_apart = self.of.contains(speaker);
        self.to.iter_mut().filter(move |(peer, _)| is_apart && *peer != speaker)
    }

    /// Returns the agents that a stream was announced to.
    pub(crate) fn receivers_of(&self, stream: &StreamId) -> impl Iterator<Item = PeerId> {
        self.to.iter().filter(|(_, announced)| announced.contains(stream)).map(|(peer, _)| *peer)
    }

    /// Forgets the announcements to a peer: a link with it is new or gone.
    pub(crate) fn link_changed(&mut self, peer: &PeerId) {
        self.to.get_mut(peer).into_iter().for_each(OrderedSet::clear);
        self.offsets_us.remove(peer);
    }

    /// Sets the offset of a linked peer's clock.
    pub(crate) fn set_clock(&mut self, peer: PeerId, offset_us: i64) {
        self.offsets_us.insert(peer, offset_us);
    }

    /// Takes what a mixer tells of the speakers' clocks.
    pub(crate) fn clocks_told(&mut self, by: PeerId, clocks: &VoiceClocks) {
        let clocks = clocks.iter().map(|clock| (clock.speaker, clock.offset_us)).collect();
        self.told = Some((by, clocks));
    }

    /// Returns the agents that are to be told the speakers' clocks now, and the clocks.
    pub(crate) fn take_clocks(&mut self, me: PeerId, now_us: u64) -> Option<(Vec<PeerId>, VoiceClocks)> {
        if self.to.is_empty() || now_us < self.tell_us {
            return None;
        }
        self.tell_us = now_us + CLOCKS_US;
        let offset_us =
            |peer: &PeerId| if *peer == me { Some(0) } else { self.offsets_us.get(peer).copied() };
        let clock = |peer: &PeerId| Some(VoiceClock { speaker: peer.short(), offset_us: offset_us(peer)? });
        Some((self.to.keys().copied().collect(), VoiceClocks::truncated(self.of.iter().filter_map(clock))))
    }

    /// Returns a speaker's frame for the application, if it gets this speaker's sound.
    pub(crate) fn take(&self, speaker: PeerId, frame: &Frame, arrived_us: u64) -> Option<VoiceFrame> {
        if !self.here || !self.of.contains(&speaker) {
            return None;
        }
        let captured_us = match self.offset_us(&speaker) {
            Some(offset_us) => frame.identity.captured_us.saturating_add_signed(offset_us),
            None => arrived_us,
        };
        Some(VoiceFrame { speaker, frame: frame.clone(), captured_us })
    }

    /// Returns the offset of a speaker's clock: of a linked one as measured here, else by way of the mixer.
    fn offset_us(&self, speaker: &PeerId) -> Option<i64> {
        let by_mixer = || {
            let (mixer, clocks) = self.told.as_ref()?;
            Some(clocks.get(&speaker.short())?.saturating_add(*self.offsets_us.get(mixer)?))
        };
        self.offsets_us.get(speaker).copied().or_else(by_mixer)
    }
}
