//! The program packet by packet: made by mixers, forwarded by parents, reassembled by viewers.
//!
//! A packet waits at uplinks and downlinks and is lost independently of others. Its loss is noticed by the
//! packets that follow it, requested (NACK) and retransmitted, a few times. A relay forwards each packet as
//! it arrives, and shows a frame when its last packet has arrived. At frame level a frame is one packet,
//! however long.

use std::collections::VecDeque;

use plenary_proto::message::Resume;
use plenary_proto::time::MS;
use plenary_proto::{StreamId, StreamSpec, Time};

use super::{FRAME_US, Frame, Packet};
use crate::deviation::Forwarding;
use crate::net::Network;
use crate::peer::{CACHE_FRAMES, Peer};
use crate::plan::MediaModel;
use crate::shell::lock;
use crate::world::{Happening, World};

/// Keyframe intervals in frames: at most 2 s, and at least 1 s when one is requested (docs/PROTOCOL.md, 1.5).
const KEY_EACH: u64 = 60;
const KEY_EACH_MIN: u64 = 30;
/// Minimum interval of keyframe requests to the parent, as in real bodies.
const KEY_ASK_US: u64 = 1_000 * MS;
/// Maximum number of retransmissions of a lost packet: as long as a receiver's jitter buffer would wait for
/// it.
pub(super) const TRIES_MAX: u32 = 5;
/// Time from a gap to its NACK: `REORDER_MAX` of crates/rtc, and as long again until the next check.
const NACK_US: u64 = 10 * MS;
/// Minimum time until an unanswered NACK is repeated (`RETRY_MIN`); otherwise a round trip and a half.
const RETRY_US_MIN: u64 = 20 * MS;
/// Size of a NACK or a head on the wire in bytes, with all headers.
const HEARTBEAT_BYTES: usize = 120;

/// A frame that is still missing packets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Assembly {
    frame: Frame,
    /// Bit mask of the packets that have arrived.
    have: u64,
}

/// Time from the loss of a packet to the arrival of its NACK at the sender: a later packet must have arrived
/// first. At packet level the loss of a frame's last packet is only noticed when the next frame arrives, and
/// NACKs may be lost.
pub(super) fn asked_after_us(
    net: &mut Network,
    media: MediaModel,
    now: Time,
    (at, to): (usize, usize),
    last: bool,
) -> u64 {
    let round_us = 2 * net.one_way_us(at, to);
    let asked_us = round_us + NACK_US;
    if media != MediaModel::Packet {
        return asked_us;
    }
    let unseen_us = if last { FRAME_US } else { 0 };
    let in_vain = net.send(now, to, at, HEARTBEAT_BYTES).is_none();
    asked_us + unseen_us + if in_vain { (round_us * 3 / 2).max(RETRY_US_MIN) } else { 0 }
}

impl Peer {
    /// Newest frame of the program that is shown, complete or not.
    fn newest(&self) -> Option<Frame> {
        let begun = self.assembly.iter().map(|begun| begun.frame);
        self.cache.back().copied().into_iter().chain(begun).reduce(|newest, frame| {
            if frame.stream != newest.stream || frame.number > newest.number { frame } else { newest }
        })
    }

    fn holds(&self, frame: &Frame) -> bool {
        self.cache.iter().any(|held| held.stream == frame.stream && held.number == frame.number)
    }

    /// Whether a frame may be shown of which no packet has arrived before.
    fn takes(&self, from: usize, frame: &Frame) -> bool {
        let before = |held: &Frame| held.stream == frame.stream && held.number < frame.number;
        !self.is_mixing()
            && match self.newest() {
                None => frame.key,
                Some(newest) if newest.stream == frame.stream => {
                    // it is the next frame, or one that was lost and is retransmitted
                    let begun = || self.assembly.iter().any(|begun| before(&begun.frame));
                    frame.number > newest.number
                        || ((self.cache.iter().any(before) || begun()) && !self.holds(frame))
                }
                // another program starts at a keyframe
                Some(newest) => {
                    frame.key
                        && frame.spec.supersedes(
                            &newest.spec,
                            &self.in_force,
                            self.is_fed_by(from, frame.spec.maker),
                        )
                        && !self.holds(frame)
                }
            }
    }

    /// Whether a frame is rejected only because its keyframe hasn't arrived.
    fn lacks_key(&self, frame: &Frame) -> bool {
        let another = |newest: Frame| {
            newest.stream != frame.stream && frame.spec.supersedes(&newest.spec, &self.in_force, true)
        };
        !frame.key && !self.is_mixing() && self.newest().is_none_or(another)
    }
}

impl World {
    /// Makes the next frame of a program.
    pub(super) fn make_frame(&mut self, at: usize, spec: StreamSpec) {
        let now = self.now;
        let peer = &mut self.peers[at];
        let number = peer.own_frames;
        let since_key = number - peer.own_key.min(number);
        let key = number == 1 || since_key >= KEY_EACH || (peer.key_wanted && since_key >= KEY_EACH_MIN);
        if key {
            (peer.own_key, peer.key_wanted) = (number, false);
        }
        let stream = spec.id(&self.room);
        let frame = Frame { spec, stream, number, captured: now, key, forged: false };
        self.push(now + self.picture_us(at), Happening::Produce(at));
        self.keep(at, frame);
        for part in 0..self.parts().0 {
            self.forward_to_children(at, Packet { frame, part });
        }
        for warm in self.peers[at].forwarding_to.clone() {
            self.datagram(at, warm, Happening::Arrival { to: warm, from: at, media: true });
        }
    }

    /// Caches and shows a complete frame.
    fn keep(&mut self, at: usize, frame: Frame) {
        let now = self.now;
        let peer = &mut self.peers[at];
        peer.arrivals.frame(now, frame.captured, frame.forged);
        if peer.cache.back().is_none_or(|before| before.stream != frame.stream) {
            peer.suffering.another_program();
        }
        peer.suffering.picture(now);
        if let Some(feed) = &mut peer.feed {
            feed.progressed(now, frame.captured.0);
        }
        // a retransmitted frame is inserted at its position
        let after =
            peer.cache.iter().rposition(|held| held.stream != frame.stream || held.number < frame.number);
        peer.cache.insert(after.map_or(0, |after| after + 1), frame);
        if peer.cache.len() > CACHE_FRAMES {
            peer.cache.pop_front();
        }
    }

    fn forward_to_children(&mut self, at: usize, packet: Packet) {
        for place in 0..self.peers[at].served.len() {
            if let Some(served) = self.peers[at].served.get(place).filter(|served| served.media) {
                self.forward_to(at, served.child, packet);
            }
        }
    }

    /// Sends a packet to a child, and announces its stream first if that is new.
    fn forward_to(&mut self, at: usize, child: usize, mut packet: Packet) {
        let now = self.now;
        let stream = packet.frame.stream;
        let Some(served) = self.peers[at].served_mut(child) else { return };
        if served.announced != Some(stream)
            && let Some(spec) = self.spec_of(at, stream)
        {
            self.announce(at, child, spec, stream);
        }
        let id = self.peers[child].id;
        let forwarding = self.deviations.get(&at).map(|deviation| lock(deviation).forwards(now, id));
        let forwarding = forwarding.unwrap_or(Forwarding::AsItIs);
        // a peer that drops packets sends heads in place of the program, as if there were none
        if let Some(served) = self.peers[at].served_mut(child).filter(|_| forwarding != Forwarding::Never) {
            served.last_media = now;
        }
        match forwarding {
            Forwarding::Never => {}
            Forwarding::AsItIs => self.send_again(at, child, packet, 0),
            Forwarding::Forged => {
                packet.frame.forged = true;
                self.send_again(at, child, packet, 0);
            }
            Forwarding::Later(us) => {
                let again = Happening::Again { to: child, from: at, packet: Box::new(packet), tries: 0 };
                self.push(now + us, again);
            }
        }
    }

    /// Transmits a packet, for the first time or again.
    pub(super) fn send_again(&mut self, at: usize, to: usize, packet: Packet, tries: u32) {
        if !self.link_is_up(at, to) || !self.peers[at].is_there() {
            return;
        }
        self.packets_sent += 1;
        let (parts, bytes) = self.parts();
        let last = packet.part + 1 == parts;
        let packet = Box::new(packet);
        match self.net.send(self.now, at, to, bytes) {
            Some(arrives) => self.push(arrives, Happening::Packet { to, from: at, packet }),
            None if tries < TRIES_MAX => {
                let asked = asked_after_us(&mut self.net, self.plan.media, self.now, (at, to), last);
                let asked = self.now + asked;
                self.push(asked, Happening::Again { to, from: at, packet, tries: tries + 1 });
            }
            None => {}
        }
    }

    /// Sends a heartbeat, or the mere fact that something arrives, without retransmission.
    pub(crate) fn datagram(&mut self, at: usize, to: usize, happening: Happening) {
        if self.link_is_up(at, to)
            && let Some(arrives) = self.net.send(self.now, at, to, HEARTBEAT_BYTES)
        {
            self.push(arrives, happening);
        }
    }

    /// Handles a packet that arrived over a link.
    pub(super) fn packet_arrived(&mut self, to: usize, from: usize, packet: Packet) {
        let parts = self.parts().0;
        self.heard(to, from, true);
        let peer = &mut self.peers[to];
        if !peer.followed.iter().any(|known| known.id == packet.frame.stream) {
            peer.early.push_back((from, packet));
            if peer.early.len() > CACHE_FRAMES * usize::from(parts) {
                peer.early.pop_front();
            }
            return;
        }
        self.is_fed(to, from);
        let peer = &mut self.peers[to];
        let frame = packet.frame;
        let is_its =
            |begun: &Assembly| begun.frame.stream == frame.stream && begun.frame.number == frame.number;
        match peer.assembly.iter().position(is_its) {
            Some(place) => self.put_in(to, place, packet),
            None if peer.takes(from, &frame) => {
                peer.assembly.retain(|begun| begun.frame.stream == frame.stream);
                if peer.assembly.len() >= CACHE_FRAMES {
                    peer.assembly.pop_front();
                }
                peer.assembly.push_back(Assembly { frame, have: 0 });
                let place = peer.assembly.len() - 1;
                self.put_in(to, place, packet);
            }
            None if peer.lacks_key(&frame) => self.ask_key(to, from),
            None => {}
        }
    }

    /// Adds a packet to its frame, forwards it, and shows the frame if that is now complete.
    fn put_in(&mut self, at: usize, place: usize, packet: Packet) {
        let all = u64::MAX >> (u64::BITS - u32::from(self.parts().0));
        let begun = &mut self.peers[at].assembly[place];
        let bit = 1 << packet.part;
        if begun.have & bit != 0 {
            return;
        }
        begun.have |= bit;
        begun.frame.forged |= packet.frame.forged;
        let (frame, whole) = (begun.frame, begun.have == all);
        if whole {
            self.peers[at].assembly.remove(place);
            self.keep(at, frame);
        }
        self.forward_to_children(at, packet);
    }

    /// Requests a keyframe from a peer: a mixer makes one, a relay forwards the request to its parent.
    fn ask_key(&mut self, at: usize, of: usize) {
        let now = self.now;
        let peer = &mut self.peers[at];
        if peer.key_asked_at.is_none_or(|asked| now.since(asked) >= KEY_ASK_US) {
            peer.key_asked_at = Some(now);
            self.datagram(at, of, Happening::KeyWanted { to: of, from: at });
        }
    }

    pub(super) fn key_wanted(&mut self, at: usize) {
        let peer = &mut self.peers[at];
        if peer.is_mixing() {
            peer.key_wanted = true;
        } else if let Some(parent) = peer.parent {
            self.ask_key(at, parent);
        }
    }

    /// Handles the packets that arrived before the announcement of their stream, which may now be taken.
    pub(super) fn take_early(&mut self, at: usize, id: StreamId) {
        let early = std::mem::take(&mut self.peers[at].early);
        let (known, unknown): (VecDeque<_>, VecDeque<_>) =
            early.into_iter().partition(|(_, packet)| packet.frame.stream == id);
        self.peers[at].early = unknown;
        for (from, packet) in known {
            self.packet_arrived(at, from, packet);
        }
    }

    /// Sends a child what it lacks of the cached frames, or everything from the last keyframe on; also the
    /// packets present of incomplete frames.
    pub(super) fn serve_cached(&mut self, at: usize, child: usize, from: Option<Resume>) {
        let parts = self.parts().0;
        let peer = &self.peers[at];
        let newest = peer.newest().map(|frame| frame.stream);
        let from = from.filter(|resume| Some(resume.stream) == newest);
        let first = match from {
            Some(resume) => peer
                .cache
                .iter()
                .position(|frame| frame.stream == resume.stream && frame.number > resume.video_packet),
            None => peer.cache.iter().rposition(|frame| frame.key),
        };
        let whole = first.into_iter().flat_map(|first| peer.cache.iter().skip(first));
        let whole = whole.flat_map(|frame| (0..parts).map(|part| Packet { frame: *frame, part }));
        let begun = peer.assembly.iter().filter(|begun| Some(begun.frame.stream) == newest);
        let begun = begun.flat_map(|begun| {
            let here = (0..parts).filter(|part| begun.have & (1 << part) != 0);
            here.map(|part| Packet { frame: begun.frame, part })
        });
        let packets: Vec<Packet> = whole.chain(begun).collect();
        for packet in packets {
            self.forward_to(at, child, packet);
        }
    }
}
