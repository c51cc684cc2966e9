//! Media packets between bodies: queued, lost, requested and sent again, one by one.

use plenary_proto::link_layout::Channel;
use plenary_proto::message::{Heartbeat, LinkKind, MediaMessage, Message};
use plenary_proto::packet::{LinkId, MediaPacket};
use plenary_proto::time::MS;
use plenary_proto::{StreamId, Time};

use super::{Happening, World};
use crate::deviation::{Forwarding, Saying, Stray};
use crate::media::FRAME_US;
use crate::media::repair::{REQUESTS_MAX, requested_after_us};
use crate::shell::pictures::{SOUND_US, forged};
use crate::shell::{Leg, brain_time, clock_us, lock};

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
    /// Number of times that it was requested, and that it was sent again.
    requests: u32,
    repairs: u32,
    /// Number in the slot, where a browser is at either end.
    number: u64,
    packet: MediaPacket,
}

impl World {
    /// Whether a packet belongs to a program.
    fn is_program(&self, stream: &StreamId) -> bool {
        self.makers.contains_key(stream)
    }

    /// Sends a packet in a slot of a body's link, unless the peer deviates.
    pub(super) fn forward(&mut self, at: usize, link: LinkId, slot: u8, packet: &MediaPacket) {
        self.forward_after(at, link, slot, packet, 0);
    }

    /// Sends a packet as [`forward`](World::forward) does, after this time.
    pub(super) fn forward_after(
        &mut self,
        at: usize,
        link: LinkId,
        slot: u8,
        packet: &MediaPacket,
        after_us: u64,
    ) {
        let Some(leg) = self.peers[at].shell_mut().and_then(|shell| shell.legs.get_mut(&link)) else {
            return;
        };
        leg.stats.packets_sent += 1;
        leg.budgets.entry(slot).or_default().earn();
        let number = leg.numbers.entry(slot).or_default();
        *number += 1;
        let (to, kind, number) = (leg.other, leg.kind, *number);
        let mut flight =
            Flight { to, from: at, kind, slot, requests: 0, repairs: 0, number, packet: packet.clone() };
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
        if after_us > 0 {
            self.push(self.now + after_us, Happening::Flies(Box::new(flight)));
        } else {
            self.flies(Box::new(flight));
        }
    }

    /// Transmits a packet for the first time.
    pub(super) fn flies(&mut self, flight: Box<Flight>) {
        self.transmit(flight, 1);
    }

    /// Transmits a packet that was requested, as often as the budget of its slot allows.
    pub(super) fn flies_again(&mut self, mut flight: Box<Flight>) {
        let Flight { to, from, kind, slot, repairs, .. } = *flight;
        let mut copies = 0;
        if let Some(leg) = self.leg_mut(from, to, kind) {
            copies = leg.budgets.entry(slot).or_default().spend(repairs);
            leg.stats.repairs_sent += u64::from(copies > 0);
        }
        if let Some(leg) = self.leg_mut(to, from, kind) {
            leg.stats.repairs_requested += 1;
        }
        flight.repairs += u32::from(copies > 0);
        self.transmit(flight, copies);
    }

    fn leg_mut(&mut self, at: usize, other: usize, kind: LinkKind) -> Option<&mut Leg> {
        let peer = &mut self.peers[at];
        let link = peer.link_id(other, kind)?;
        peer.shell_mut()?.legs.get_mut(&link)
    }

    /// Transmits a number of copies of a packet. If none arrives, the packet will be requested.
    fn transmit(&mut self, mut flight: Box<Flight>, copies: u32) {
        let Flight { to, from, kind, requests, .. } = *flight;
        if !self.peers[from].is_up(to, kind) || !self.peers[from].is_there() {
            return;
        }
        let packet = &flight.packet;
        let bytes = packet.payload.len() + HEADERS_LEN;
        // each frame has one packet with a marker
        let is_counted = packet.marker && self.is_program(&packet.identity.stream);
        let mut arrives: Option<Time> = None;
        for _ in 0..copies {
            self.spend_on_packet(from);
            self.packets_sent += u64::from(is_counted);
            // of two copies that arrive the body drops the later one
            arrives = arrives.or(self.net.send(self.now, from, to, bytes));
        }
        match arrives {
            Some(arrives) => self.push(arrives, Happening::Lands(flight)),
            None if requests < REQUESTS_MAX => {
                let unseen_us = match (packet.audio_level, packet.marker) {
                    (Some(_), _) => SOUND_US,
                    (None, true) => FRAME_US,
                    (None, false) => 0,
                };
                let ends = (from, to);
                let (after_us, requests) =
                    requested_after_us(&mut self.net, self.now, ends, requests, unseen_us);
                flight.requests = requests;
                self.push(self.now + after_us, Happening::FliesAgain(flight));
            }
            None => {}
        }
    }

    /// Delivers a packet.
    pub(super) fn lands(&mut self, flight: Flight) {
        let Flight { to, from, kind, slot, number, packet, .. } = flight;
        let Some(link) = self.peers[to].link_id(from, kind) else { return };
        if let Some(leg) = self.peers[to].shell_mut().and_then(|shell| shell.legs.get_mut(&link)) {
            leg.stats.packets_received += 1;
        }
        let strays = match self.deviations.get(&to) {
            Some(deviation) if self.is_program(&packet.identity.stream) => {
                lock(deviation).strays(self.now, &self.room, &packet)
            }
            _ => None,
        };
        if self.is_page(to) {
            self.packet_at_page(to, (link, slot), number, packet);
        } else if self.is_page(from) {
            self.packet_of_page(to, (link, slot), number, packet);
        } else {
            self.with_body(to, |body, now_us, outs| body.packet(now_us, link, slot, packet, outs));
        }
        if let Some(stray) = strays {
            self.stray(to, &stray);
        }
    }

    /// Sends what a peer sends of its own accord.
    fn stray(&mut self, at: usize, stray: &Stray) {
        self.forges = true;
        if let Some(announced) = &stray.announces {
            self.makers.insert(announced.spec.id(&self.room), at);
        }
        let Some(shell) = self.peers[at].shell() else { return };
        let linked = shell.legs.values().filter(|leg| leg.kind == LinkKind::Peer).map(|leg| leg.other);
        let served = self.peers[at].served.iter().filter(|served| served.media).map(|served| served.child);
        let to: Vec<_> = if stray.to_all { linked.collect() } else { served.collect() };
        for to in to {
            if let Some(announced) = stray.announces {
                self.control_to(at, to, Message::Media(MediaMessage::Stream(announced)));
            }
            for packet in &stray.packets {
                let packet = packet.clone();
                let kind = LinkKind::Peer;
                let (requests, repairs, number) = (0, 0, 0);
                self.flies(Box::new(Flight {
                    to,
                    from: at,
                    kind,
                    slot: 0,
                    requests,
                    repairs,
                    number,
                    packet,
                }));
            }
        }
    }

    /// Sends what a deviating peer says beside its brain.
    pub(super) fn say_of_its_own(&mut self, at: usize) {
        let Some(deviation) = self.deviations.get(&at).cloned() else { return };
        let peers = self.peers[at].links.iter().filter(|link| link.kind == LinkKind::Peer);
        let linked: Vec<_> = peers.map(|link| self.peers[link.other].id).collect();
        let says = lock(&deviation).says(self.now, &linked);
        for saying in says {
            match saying {
                Saying::Control(to, message) => self.control(at, &to, message),
                Saying::Signal(to, message) => self.signal(at, to, message),
                Saying::Beat(to, heartbeat) => {
                    if let Some(to) = self.directory.find(&to).filter(|to| self.link_is_up(at, *to)) {
                        self.datagram(at, to, Happening::Heartbeat { to, from: at, heartbeat });
                    }
                }
            }
        }
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
                    body.received(now_us, link, Channel::Heartbeat, &Heartbeat::HeadWanted.to_bytes(), outs);
                });
            }
        }
        if let Some(shell) = self.peers[at].shell_mut() {
            shell.beat_at = brain_time(now_us) + HEAD_US;
        }
    }
}
