//! The program frame by frame: made by mixers, forwarded by parents, cached and shown by viewers.
//!
//! A frame is one datagram, however long: it waits at uplinks and downlinks and is lost independently of others. Its
//! loss is noticed by the frames that follow it, requested (NACK) and retransmitted, a few times. A relay forwards
//! and shows a frame as it arrives.

use std::collections::VecDeque;

use plenary_proto::message::Resume;
use plenary_proto::time::MS;
use plenary_proto::{StreamId, StreamKind, StreamSpec};

use super::{Frame, frame_bytes};
use crate::deviation::Forwarding;
use crate::net::Network;
use crate::peer::{CACHE_FRAMES, Peer};
use crate::shell::lock;
use crate::world::{Happening, World};

/// Keyframe intervals in frames: at most 2 s, and at least 1 s when one is requested (docs/PROTOCOL.md, 1.4).
const KEY_EACH: u64 = 60;
const KEY_EACH_MIN: u64 = 30;
/// Minimum interval of keyframe requests to the parent, as in real bodies.
const KEY_ASK_US: u64 = 1_000 * MS;
/// Maximum number of retransmissions of a lost frame: as long as a receiver's jitter buffer would wait for it.
pub(super) const TRIES_MAX: u32 = 5;
/// Time from a gap to its NACK: `REORDER_MAX` of crates/rtc, and as long again until the next check.
const NACK_US: u64 = 10 * MS;
/// Size of a NACK or a head on the wire in bytes, with all headers.
const HEARTBEAT_BYTES: usize = 120;

/// Time from the loss of a frame to the arrival of its NACK at the sender: a later frame must have arrived first.
pub(super) fn asked_after_us(net: &Network, at: usize, to: usize) -> u64 {
    2 * net.one_way_us(at, to) + NACK_US
}

impl Peer {
    fn holds(&self, frame: &Frame) -> bool {
        self.cache.iter().any(|held| held.stream == frame.stream && held.number == frame.number)
    }

    /// Whether a frame may be shown that arrives from a peer.
    fn takes(&self, from: usize, frame: &Frame) -> bool {
        let before = |held: &Frame| held.stream == frame.stream && held.number < frame.number;
        !self.is_mixing()
            && match self.cache.back() {
                None => frame.key,
                Some(newest) if newest.stream == frame.stream => {
                    // it is the next frame, or one that was lost and is retransmitted
                    frame.number > newest.number || (self.cache.iter().any(before) && !self.holds(frame))
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
        let another = |newest: &Frame| {
            newest.stream != frame.stream && frame.spec.supersedes(&newest.spec, &self.in_force, true)
        };
        !frame.key && !self.is_mixing() && self.cache.back().is_none_or(another)
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
        self.forward_to_children(at, frame);
        for warm in self.peers[at].forwarding_to.clone() {
            self.datagram(at, warm, Happening::Arrival { to: warm, from: at, media: true });
        }
    }

    /// Caches and shows a frame.
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

    fn forward_to_children(&mut self, at: usize, frame: Frame) {
        for place in 0..self.peers[at].served.len() {
            if let Some(served) = self.peers[at].served.get(place).filter(|served| served.media) {
                self.forward_to(at, served.child, frame);
            }
        }
    }

    /// Sends a frame to a child, and announces its stream first if that is new.
    fn forward_to(&mut self, at: usize, child: usize, mut frame: Frame) {
        let now = self.now;
        let stream = frame.stream;
        let Some(served) = self.peers[at].served_mut(child) else { return };
        if served.announced != Some(stream)
            && let Some(spec) = self.spec_of(at, stream)
        {
            self.announce(at, child, spec, stream);
        }
        let id = self.peers[child].id;
        let forwarding = self.deviations.get(&at).map(|deviation| lock(deviation).forwards(now, id));
        let forwarding = forwarding.unwrap_or(Forwarding::AsItIs);
        // a peer that drops frames sends heads in place of the program, as if there were none
        if let Some(served) = self.peers[at].served_mut(child).filter(|_| forwarding != Forwarding::Never) {
            served.last_media = now;
        }
        match forwarding {
            Forwarding::Never => {}
            Forwarding::AsItIs => self.send_again(at, child, frame, 0),
            Forwarding::Forged => {
                frame.forged = true;
                self.send_again(at, child, frame, 0);
            }
            Forwarding::Later(us) => {
                let again = Happening::Again { to: child, from: at, frame: Box::new(frame), tries: 0 };
                self.push(now + us, again);
            }
        }
    }

    /// Transmits a frame, for the first time or again.
    pub(super) fn send_again(&mut self, at: usize, to: usize, frame: Frame, tries: u32) {
        if !self.link_is_up(at, to) || !self.peers[at].is_there() {
            return;
        }
        self.packets_sent += 1;
        let frame = Box::new(frame);
        match self.net.send(self.now, at, to, frame_bytes(&self.plan)) {
            Some(arrives) => self.push(arrives, Happening::Frame { to, from: at, frame }),
            None if tries < TRIES_MAX => {
                let asked = self.now + asked_after_us(&self.net, at, to);
                self.push(asked, Happening::Again { to, from: at, frame, tries: tries + 1 });
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

    /// Handles a frame that arrived over a link: forwards and shows it.
    pub(super) fn frame_arrived(&mut self, to: usize, from: usize, frame: Frame) {
        self.heard(to, from, true);
        let from_id = self.peers[from].id;
        let peer = &mut self.peers[to];
        if !peer.followed.iter().any(|known| known.id == frame.stream) {
            peer.early.push_back((from, frame));
            if peer.early.len() > CACHE_FRAMES {
                peer.early.pop_front();
            }
            return;
        }
        let maker = frame.spec.maker;
        if !peer.sources.take(&from_id, StreamKind::Program, maker == from_id) {
            return;
        }
        self.is_fed(to, from);
        let peer = &self.peers[to];
        if peer.takes(from, &frame) {
            self.keep(to, frame);
            self.forward_to_children(to, frame);
        } else if peer.lacks_key(&frame) {
            self.ask_key(to, from);
        }
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

    /// Handles the frames that arrived before the announcement of their stream, which may now be taken.
    pub(super) fn take_early(&mut self, at: usize, id: StreamId) {
        let early = std::mem::take(&mut self.peers[at].early);
        let (known, unknown): (VecDeque<_>, VecDeque<_>) =
            early.into_iter().partition(|(_, frame)| frame.stream == id);
        self.peers[at].early = unknown;
        for (from, frame) in known {
            self.frame_arrived(at, from, frame);
        }
    }

    /// Sends a child what it lacks of the cached frames, or everything from the last keyframe on.
    pub(super) fn serve_cached(&mut self, at: usize, child: usize, from: Option<Resume>) {
        let peer = &self.peers[at];
        let newest = peer.cache.back().map(|frame| frame.stream);
        let from = from.filter(|resume| Some(resume.stream) == newest);
        let first = match from {
            Some(resume) => peer
                .cache
                .iter()
                .position(|frame| frame.stream == resume.stream && frame.number > resume.video_packet),
            None => peer.cache.iter().rposition(|frame| frame.key),
        };
        let frames: Vec<Frame> =
            first.into_iter().flat_map(|first| peer.cache.iter().skip(first)).copied().collect();
        for frame in frames {
            self.forward_to(at, child, frame);
        }
    }
}
