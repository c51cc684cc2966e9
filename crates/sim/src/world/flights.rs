//! Media packets between bodies: queued, lost, requested and sent again, one by one.

use plenary_proto::message::{Heartbeat, LinkKind};
use plenary_proto::packet::{LinkId, MediaPacket};
use plenary_proto::time::MS;
use plenary_proto::{StreamId, Time};

use super::{Happening, World};
use crate::deviation::Forwarding;
use crate::media::FRAME_US;
use crate::media::repair::{REPAIRS_MAX, again_after_us, copies};
use crate::shell::pictures::{SOUND_US, forged};
use crate::shell::{brain_time, clock_us, lock};

/// Length of all headers of a media packet: IPv4, UDP, RTP with extensions, and the SRTP tag.
const HEADERS_LEN: usize = 20 + 8 + 12 + 28 + 16;
/// Interval of the heads that a peer sends to children from which it withholds the program, as if there were none.
const HEAD_US: u64 = 100 * MS;

/// A packet on its way between two bodies.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(super) to: usize,
    pub(super) from: usize,
    pub(super) kind: LinkKind,
    slot: u8,
    /// Number of times that it was lost.
    losses: u32,
    packet: MediaPacket,
}

impl World {
    /// Whether a packet belongs to a program.
    fn is_program(&self, stream: &StreamId) -> bool {
        self.makers.contains_key(stream)
    }

    /// Sends a packet in a slot of a body's link, unless the peer deviates.
    pub(super) fn forward(&mut self, at: usize, link: LinkId, slot: u8, packet: &MediaPacket) {
        let Some(leg) = self.peers[at].shell_mut().and_then(|shell| shell.legs.get_mut(&link)) else {
            return;
        };
        leg.stats.packets_sent += 1;
        let (to, kind) = (leg.other, leg.kind);
        let mut flight = Flight { to, from: at, kind, slot, losses: 0, packet: packet.clone() };
        if self.is_program(&packet.identity.stream)
            && let Some(deviation) = self.deviations.get(&at)
        {
            let forwarding = lock(deviation).forwards(self.now, self.peers[to].id);
            match forwarding {
                Forwarding::Never => return,
                Forwarding::AsItIs => {}
                Forwarding::Forged => {
                    self.forges = true;
                    flight.packet.payload = forged(&flight.packet.payload);
                }
                Forwarding::Later(us) => {
                    self.push(self.now + us, Happening::Flies(Box::new(flight)));
                    return;
                }
            }
        }
        self.flies(Box::new(flight));
    }

    /// Transmits a packet, for the first time or again.
    pub(super) fn flies(&mut self, mut flight: Box<Flight>) {
        let Flight { to, from, kind, losses, .. } = *flight;
        if !self.peers[from].is_up(to, kind) || !self.peers[from].is_there() {
            return;
        }
        let packet = &flight.packet;
        let bytes = packet.payload.len() + HEADERS_LEN;
        // each frame has one packet with a marker
        let is_counted = packet.marker && self.is_program(&packet.identity.stream);
        let mut arrives: Option<Time> = None;
        for _ in 0..copies(losses) {
            self.packets_sent += u64::from(is_counted);
            // of two copies that arrive the body drops the later one
            arrives = arrives.or(self.net.send(self.now, from, to, bytes));
        }
        match arrives {
            Some(arrives) => self.push(arrives, Happening::Lands(flight)),
            None if losses < REPAIRS_MAX => {
                let unseen_us = match (packet.audio_level, packet.marker) {
                    (Some(_), _) => SOUND_US,
                    (None, true) => FRAME_US,
                    (None, false) => 0,
                };
                flight.losses += 1;
                let again_us = again_after_us(&mut self.net, self.now, (from, to), flight.losses, unseen_us);
                self.push(self.now + again_us, Happening::FliesAgain(flight));
            }
            None => {}
        }
    }

    /// Transmits a packet that was requested again.
    pub(super) fn flies_again(&mut self, flight: Box<Flight>) {
        for (at, other, sent) in [(flight.from, flight.to, true), (flight.to, flight.from, false)] {
            let peer = &mut self.peers[at];
            let Some(link) = peer.link_id(other, flight.kind) else { continue };
            let Some(leg) = peer.shell_mut().and_then(|shell| shell.legs.get_mut(&link)) else { continue };
            leg.stats.repairs_sent += u64::from(sent);
            leg.stats.repairs_requested += u64::from(!sent);
        }
        self.flies(flight);
    }

    /// Delivers a packet.
    pub(super) fn lands(&mut self, flight: Flight) {
        let Flight { to, from, kind, slot, packet, .. } = flight;
        let Some(link) = self.peers[to].link_id(from, kind) else { return };
        if let Some(leg) = self.peers[to].shell_mut().and_then(|shell| shell.legs.get_mut(&link)) {
            leg.stats.packets_received += 1;
        }
        self.with_body(to, |body, now_us, outs| body.packet(now_us, link, slot, packet, outs));
    }

    /// A peer that withholds the program sends its children heads in its place.
    pub(super) fn beat_instead_of_forwarding(&mut self, at: usize) {
        let Some(deviation) = self.deviations.get(&at).cloned() else { return };
        let now_us = clock_us(self.peers[at].clock(self.now));
        let due = self.peers[at].shell().is_some_and(|shell| shell.beat_at <= brain_time(now_us));
        if !due {
            return;
        }
        let served: Vec<_> =
            self.peers[at].served.iter().filter(|served| served.media).map(|served| served.child).collect();
        for child in served {
            let withholds = lock(&deviation).forwards(self.now, self.peers[child].id) == Forwarding::Never;
            if let Some(link) = self.peers[at].link_id(child, LinkKind::Peer).filter(|_| withholds) {
                self.with_body(at, |body, now_us, outs| {
                    body.heartbeat(now_us, link, Heartbeat::HeadWanted, outs);
                });
            }
        }
        if let Some(shell) = self.peers[at].shell_mut() {
            shell.beat_at = brain_time(now_us) + HEAD_US;
        }
    }
}
