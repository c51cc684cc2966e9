//! This peer's own picture and sound, on the way to whoever the brain names: its home mixer, or the others of a
//! mesh.

use std::collections::BTreeMap;

use plenary_media::Encoded;
use plenary_proto::identity::MediaKind;
use plenary_proto::message::{LinkKind, Message, Resume, StreamUse};
use plenary_proto::{PeerId, RoomId, StreamKind};
use plenary_rtc::{Contributors, Destinations, LinkId, MediaPacket};

use super::cache::PacketCache;
use super::maker::{Maker, lane};
use super::sending::Sending;

/// The slots of a peer's own stream on a link: video, sound. Towards a speaker, its mix-minus.
pub(crate) const OWN_SLOTS: [u8; 2] = [2, 3];

/// This peer as a speaker.
pub(crate) struct Own {
    me: PeerId,
    maker: Maker,
    caches: [PacketCache; 2],
    /// To whom, and whether each was told what comes.
    targets: BTreeMap<PeerId, bool>,
    /// Most peers that a picture was ever sent to at one time.
    pub(crate) targets_most: usize,
}

impl Own {
    /// `shares`: it is a screen or a film.
    pub(crate) fn new(room: &RoomId, me: PeerId, shares: bool, start: [u8; 8]) -> Own {
        let kind = if shares { StreamKind::Share } else { StreamKind::Speaker };
        let maker = Maker::new(room, me, kind, Default::default(), start);
        Own { me, maker, caches: Default::default(), targets: BTreeMap::new(), targets_most: 0 }
    }

    pub(crate) fn maker(&self) -> &Maker {
        &self.maker
    }

    /// Sends a frame to its targets; gives the packets that are for this peer itself, when it is one.
    pub(crate) fn publish(
        &mut self,
        encoded: &Encoded,
        now_us: u64,
        links: &BTreeMap<(PeerId, LinkKind), LinkId>,
        sending: &Sending,
    ) -> Vec<MediaPacket> {
        let Some((_, packets)) = self.maker.make(encoded, &Contributors::new()) else { return Vec::new() };
        let slot = OWN_SLOTS[lane(encoded.kind)];
        let to: Destinations = self
            .targets
            .iter()
            .filter(|(_, told)| **told)
            .filter_map(|(peer, _)| links.get(&(*peer, LinkKind::Peer)))
            .map(|link| (*link, slot))
            .collect();
        for packet in &packets {
            self.caches[lane(encoded.kind)].insert(packet, now_us);
            sending.forward(to.clone(), packet.clone());
        }
        if self.targets.contains_key(&self.me) { packets } else { Vec::new() }
    }

    /// Sends to these from now on: to each from where it is, if it said so, else from the newest key frame; gives
    /// what is for this peer itself. True when one of them needs a key frame to begin with.
    pub(crate) fn send_to(
        &mut self,
        targets: Vec<(PeerId, Option<Resume>)>,
        links: &BTreeMap<(PeerId, LinkKind), LinkId>,
        sending: &Sending,
    ) -> (bool, Vec<(MediaKind, MediaPacket)>) {
        let (mut key_wanted, mut local) = (false, Vec::new());
        self.targets.retain(|peer, _| targets.iter().any(|(target, _)| target == peer));
        for (peer, resume) in targets {
            let known = self.targets.insert(peer, false).is_some();
            let resumed = resume.filter(|resume| resume.stream == self.maker.id);
            let from = match resumed {
                Some(resume) => Some([resume.video_packet + 1, resume.sound_packet + 1]),
                // no need to wait for the next key frame when there was one lately
                None if !known => self.caches[0].group_start().map(|key| [key, self.caches[1].newest() + 1]),
                None => None,
            };
            if let Some(link) = links.get(&(peer, LinkKind::Peer)) {
                self.tell(peer, *link, sending);
                for (kind, packet) in from.into_iter().flat_map(|from| self.since(from)) {
                    sending.forward([(*link, OWN_SLOTS[lane(kind)])].into_iter().collect(), packet.clone());
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

    /// The packets that are still here, from these numbers on: video, sound.
    fn since(&self, from: [u64; 2]) -> impl Iterator<Item = (MediaKind, &MediaPacket)> {
        let of = |kind| self.caches[lane(kind)].from(from[lane(kind)]).map(move |packet| (kind, packet));
        of(MediaKind::Sound).chain(of(MediaKind::Video))
    }

    /// Forgets how many there were at most.
    pub(crate) fn reset_targets_most(&mut self) {
        self.targets_most = self.targets.len();
    }

    fn tell(&mut self, peer: PeerId, link: LinkId, sending: &Sending) {
        self.targets.insert(peer, true);
        sending.control(link, &Message::Stream(StreamUse { slot: OWN_SLOTS[0], spec: self.maker.spec }));
    }

    /// A link has come up or gone; true when a target behind it needs a key frame.
    pub(crate) fn link_changed(&mut self, peer: PeerId, link: Option<LinkId>, sending: &Sending) -> bool {
        match (self.targets.contains_key(&peer), link) {
            (true, Some(link)) => {
                self.tell(peer, link, sending);
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
