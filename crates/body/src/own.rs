//! Sends a stream of this peer's own pictures and sound to the peers that the brain names: its home mixer, or the other
//! speakers of a mesh. A speaker's second picture has a sender of its own.
//!
//! A page's browser encodes for each of these peers by itself. So each of them gets a stream of its own from a page,
//! and the browser sends its frames once they have their identities.

use plenary_proto::ordered::{OrderedMap, OrderedSet};

use bytes::Bytes;
use plenary_media::Encoded;
use plenary_proto::identity::MediaKind;
pub(crate) use plenary_proto::link_layout::OWN_SLOTS;
use plenary_proto::message::{LinkKind, MediaMessage, Message, Resume, StreamUse};
use plenary_proto::packet::{Contributors, Destinations, LinkId, MediaPacket};
use plenary_proto::seal::Keypair;
use plenary_proto::{PeerId, RoomId, StreamKind, StreamSpec};

use crate::cache::PacketCache;
use crate::link_table::LinkTable;
use crate::maker::{Maker, lane};
use crate::outs::{Outs, Picture};
use crate::solo::SOLO_SLOTS;

/// Slots of the second picture on the link to the home mixer, which sends solo streams in them.
pub(crate) const BESIDE_SLOTS: [u8; 2] = SOLO_SLOTS;

/// Sender of this peer's own stream, or of the one beside it.
pub(crate) struct Own {
    me: PeerId,
    /// Slots on the links of the targets.
    slots: [u8; 2],
    /// Whether a receiver needs a keyframe.
    pub(crate) key_wanted: bool,
    /// Whether pictures are dropped until a keyframe, since the pictures they refer to were dropped.
    pub(crate) key_due: bool,
    maker: Maker,
    caches: [PacketCache; 2],
    /// Target peers, and whether the stream was announced to each.
    targets: OrderedMap<PeerId, bool>,
    /// Maximum number of targets at a time, since [`reset_targets_most`](Own::reset_targets_most).
    pub(crate) targets_most: usize,
    /// At a page, the streams of the targets.
    each: Option<Each>,
}

/// Streams of a page's targets.
#[derive(Default)]
struct Each {
    makers: OrderedMap<PeerId, Maker>,
    /// Targets that get no picture before a keyframe.
    key_due: OrderedSet<PeerId>,
    /// Number of streams so far.
    begun: u64,
}

impl Own {
    /// Starts a stream of one of a speaker's kinds. The keys, if given, seal its frames.
    pub(crate) fn new(
        room: &RoomId,
        me: PeerId,
        kind: StreamKind,
        start: [u8; 8],
        keys: Option<&Keypair>,
    ) -> Own {
        let maker = Maker::new(room, me, kind, Default::default(), start).sealed_by(keys);
        Own {
            me,
            slots: if kind == StreamKind::Beside { BESIDE_SLOTS } else { OWN_SLOTS },
            key_wanted: false,
            key_due: false,
            maker,
            caches: Default::default(),
            targets: OrderedMap::new(),
            targets_most: 0,
            each: None,
        }
    }

    /// Begins with a keyframe.
    pub(crate) fn with_key(self) -> Own {
        Own { key_wanted: true, key_due: true, ..self }
    }

    /// Returns the kind of the stream.
    pub(crate) fn kind(&self) -> StreamKind {
        self.maker.spec.kind
    }

    /// Returns what the stream's pictures show.
    pub(crate) fn picture(&self) -> Picture {
        if self.kind() == StreamKind::Speaker { Picture::Camera } else { Picture::Share }
    }

    /// Returns false for a picture that is dropped, since a keyframe is due.
    pub(crate) fn goes_on(&mut self, encoded: &Encoded) -> bool {
        let is_picture = encoded.kind == MediaKind::Video;
        if is_picture && self.key_due && !encoded.key {
            return false;
        }
        self.key_due &= !is_picture;
        true
    }

    /// Gives each target a stream of its own: this peer is a page.
    pub(crate) fn of_page(self) -> Own {
        Own { each: Some(Each::default()), ..self }
    }

    /// Returns the number of frames of a kind so far. A page returns that of its longest stream.
    pub(crate) fn frames(&self, kind: MediaKind) -> u32 {
        let makers = self.each.iter().flat_map(|each| each.makers.values()).chain([&self.maker]);
        makers.map(|maker| maker.frames(kind)).max().unwrap_or_default()
    }

    pub(crate) fn maker(&self) -> &Maker {
        &self.maker
    }

    /// Sends a frame to the targets. Returns its packets if this peer itself is a target.
    pub(crate) fn publish(
        &mut self,
        encoded: &Encoded,
        now_us: u64,
        links: &LinkTable,
        outs: &mut Outs,
    ) -> Vec<MediaPacket> {
        let Some((_, packets)) = self.maker.make(encoded, &Contributors::new()) else { return Vec::new() };
        let slot = self.slots[lane(encoded.kind)];
        let to: Destinations = self
            .targets
            .iter()
            .filter(|(_, told)| **told)
            .filter_map(|(peer, _)| Some((links.up(peer, LinkKind::Peer)?, slot)))
            .collect();
        for packet in &packets {
            self.caches[lane(encoded.kind)].insert(packet, now_us);
            outs.forward(to.clone(), packet.clone());
        }
        if self.targets.contains_key(&self.me) { packets } else { Vec::new() }
    }

    /// Returns the bytes of a frame that a page's browser has encoded for one target, with its identity; `None` for a
    /// frame that isn't to be sent, which includes pictures before a keyframe.
    pub(crate) fn frame(&mut self, peer: &PeerId, encoded: &Encoded) -> Option<Bytes> {
        if std::mem::take(&mut self.key_due) {
            self.hold_until_key();
        }
        let each = self.each.as_mut().filter(|_| self.targets.get(peer) == Some(&true))?;
        if encoded.kind == MediaKind::Video {
            if !encoded.key && each.key_due.contains(peer) {
                return None;
            }
            each.key_due.remove(peer);
        }
        let (frame, _) = each.makers.get_mut(peer)?.make(encoded, &Contributors::new())?;
        Some(frame.data)
    }

    /// Lets no picture of a page pass before a keyframe.
    fn hold_until_key(&mut self) {
        if let Some(each) = &mut self.each {
            each.key_due.extend(self.targets.keys());
        }
    }

    /// Returns the links of the targets.
    pub(crate) fn links(&self, links: &LinkTable) -> impl Iterator<Item = LinkId> {
        let told = self.targets.iter().filter(|(_, told)| **told);
        told.filter_map(|(peer, _)| links.up(peer, LinkKind::Peer))
    }

    /// Sets the targets. A target with a position in this stream resumes there, any other new target starts
    /// at the newest keyframe. Returns whether a new target needs a keyframe, and the packets for this peer
    /// itself.
    pub(crate) fn send_to(
        &mut self,
        targets: Vec<(PeerId, Option<Resume>)>,
        links: &LinkTable,
        outs: &mut Outs,
    ) -> (bool, Vec<(MediaKind, MediaPacket)>) {
        let (mut key_wanted, mut local) = (false, Vec::new());
        self.targets.retain(|peer, _| targets.iter().any(|(target, _)| target == peer));
        if let Some(each) = &mut self.each {
            each.makers.retain(|peer, _| self.targets.contains_key(peer));
            each.key_due.retain(|peer| self.targets.contains_key(peer));
        }
        for (peer, resume) in targets {
            let known = self.targets.insert(peer, false).is_some();
            let resumed = resume.filter(|resume| resume.stream == self.maker.id);
            let from = match resumed {
                Some(resume) => {
                    Some([resume.video_packet.saturating_add(1), resume.sound_packet.saturating_add(1)])
                }
                // a cached keyframe saves a new target the wait for the next keyframe
                None if !known => self.caches[0].group_start().map(|key| [key, self.caches[1].newest() + 1]),
                None => None,
            };
            if let Some(link) = links.up(&peer, LinkKind::Peer) {
                self.tell(peer, link, outs);
                for (kind, packet) in from.into_iter().flat_map(|from| self.since(from)) {
                    outs.send(link, self.slots[lane(kind)], packet.clone());
                }
            } else if peer == self.me {
                self.targets.insert(peer, true);
                let since = from.into_iter().flat_map(|from| self.since(from));
                local.extend(since.map(|(kind, packet)| (kind, packet.clone())));
            }
            key_wanted |= from.is_none() && !known;
        }
        self.targets_most = self.targets_most.max(self.targets.len());
        (key_wanted, local)
    }

    /// Returns the cached packets from these numbers (video, sound) on.
    fn since(&self, from: [u64; 2]) -> impl Iterator<Item = (MediaKind, &MediaPacket)> {
        let of = |kind| self.caches[lane(kind)].from(from[lane(kind)]).map(move |packet| (kind, packet));
        of(MediaKind::Sound).chain(of(MediaKind::Video))
    }

    /// Drops the cached packets of a kind, so that no new target gets them.
    pub(crate) fn forget(&mut self, kind: MediaKind) {
        self.caches[lane(kind)] = PacketCache::default();
    }

    /// Resets the maximum number of targets to the present number.
    pub(crate) fn reset_targets_most(&mut self) {
        self.targets_most = self.targets.len();
    }

    fn tell(&mut self, peer: PeerId, link: LinkId, outs: &mut Outs) {
        self.targets.insert(peer, true);
        let spec = self.each.as_mut().map_or(self.maker.spec, |each| each.spec(&self.maker, peer));
        outs.control(link, Message::Media(MediaMessage::Stream(StreamUse { slot: self.slots[0], spec })));
    }

    /// Records that a link to a peer is up or gone. Returns true if the peer is a target that now needs a
    /// keyframe.
    pub(crate) fn link_changed(&mut self, peer: PeerId, link: Option<LinkId>, outs: &mut Outs) -> bool {
        match (self.targets.contains_key(&peer), link) {
            (true, Some(link)) => {
                self.tell(peer, link, outs);
                true
            }
            (true, None) => {
                self.targets.insert(peer, false);
                false
            }
            _ => false,
        }
    }
}

impl Each {
    /// Returns the stream of a target, which begins with its first link. Pictures on each new link begin with a
    /// keyframe.
    fn spec(&mut self, model: &Maker, peer: PeerId) -> StreamSpec {
        self.key_due.insert(peer);
        let maker = self.makers.entry(peer).or_insert_with(|| {
            self.begun += 1;
            let start = u64::from_be_bytes(model.spec.start).wrapping_add(self.begun);
            model.anew(start.to_be_bytes())
        });
        maker.spec
    }
}
