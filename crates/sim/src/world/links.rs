//! Links: how they are made and lost, and trains that measure one.

use plenary_proto::bounded::{List, Text};
use plenary_proto::message::{Description, LinkKind, Setup};
use plenary_proto::time::{MS, SECOND};
use plenary_proto::{Input, PeerId, Time};

use super::{Happening, World};
use crate::peer::LinkEnd;

/// The time after which a link without a sign of life is given up by the stack underneath; so long, too, ICE
/// looks for a way where there is none.
pub(crate) const LINK_DEAD_US: u64 = 5 * SECOND;
/// A train leaves in slices: what leaves between two of them is in its way no longer than this.
const SLICE_US: u64 = 10 * MS;
/// Payload of a packet of a train.
const TRAIN_PACKET: u32 = 1_200;
/// Of so many pings the shortest counts: two seconds of them, as bodies send them.
const PINGS: usize = 4;
/// A measured bandwidth is off by up to so many thousandths (our measurement on shaped loopback: 1 %).
const NOISE_MILLI: u64 = 15;

/// Something that was said on a link, and waits for a partition to heal.
#[derive(Debug)]
pub(crate) struct Unsaid {
    at: Time,
    /// It was on its way when the partition came.
    in_flight: bool,
    from: usize,
    to: usize,
    happening: Happening,
}

/// So much is kept of what links across a partition say until they are given up; more is lost, as by a channel
/// whose buffer is full.
const UNSAID_MAX: usize = 1 << 16;

/// A probe train that is leaving.
#[derive(Debug)]
pub(crate) struct Train {
    pub(super) from: usize,
    to: usize,
    number: u32,
    rate_bps: u64,
    packets: u32,
    sent: u32,
    arrived: u32,
    /// When the middle packet arrived, and the last so far.
    middle: Option<(u32, Time)>,
    last: Time,
}

impl World {
    /// The number of the present try to link two peers.
    pub(super) fn attempt(&self, a: usize, b: usize, kind: LinkKind) -> u32 {
        self.attempts.get(&pair(a, b, kind)).copied().unwrap_or(0)
    }

    pub(crate) fn link_is_up(&self, at: usize, to: usize) -> bool {
        self.peers[at].is_up(to, LinkKind::Peer)
    }

    pub(super) fn describe(&mut self, at: usize, peer: PeerId, kind: LinkKind) {
        let description = Description {
            ufrag: Text::truncated(&format!("{:08x}", self.queue.sequence())),
            pwd: Text::truncated("simulated-password-0123"),
            fingerprint: [at as u8; 32],
            setup: Setup::ActPass,
            payload_types: None,
            candidates: List::new(),
        };
        let input = Input::Described { peer, kind, description };
        self.push(self.now + MS, Happening::Input(at, Box::new(input)));
    }

    /// The offerer has its answer: ICE and DTLS take three ways and a little, if there is a way at all.
    pub(super) fn accept(&mut self, at: usize, peer: &PeerId, kind: LinkKind) {
        let Some(other) = self.directory.find(peer) else { return };
        let attempt = self.attempt(at, other, kind);
        if self.net.can_connect(at, other) {
            let takes = 3 * self.net.one_way_us(at, other) + 5 * MS;
            self.push(self.now + takes, Happening::LinkUp { a: at, b: other, kind, attempt });
        } else {
            for (at, other) in [(at, other), (other, at)] {
                self.push(self.now + LINK_DEAD_US, Happening::LinkDown { at, other, kind, attempt });
            }
        }
    }

    pub(super) fn link_up(&mut self, a: usize, b: usize, kind: LinkKind, attempt: u32) {
        let gone = self.unheard_since(a, b).is_some() || self.unheard_since(b, a).is_some();
        if self.attempt(a, b, kind) != attempt || gone {
            return;
        }
        // what was to befall an older link is void: an end that hadn't noticed that it was gone has another now
        *self.attempts.entry(pair(a, b, kind)).or_default() += 1;
        for (at, other) in [(a, b), (b, a)] {
            let peer = &mut self.peers[at];
            if !peer.is_up(other, kind) {
                peer.links.push(LinkEnd { other, kind, heard_at: self.now, since: self.now });
            }
        }
        for (at, other) in [(a, b), (b, a)] {
            let id = self.peers[other].id;
            self.input(at, Input::LinkUp(id, kind));
        }
        self.flow_on_link(a, b);
    }

    pub(super) fn link_down(&mut self, at: usize, other: usize, kind: LinkKind) {
        self.lose_link(at, other, kind);
        let id = self.peers[other].id;
        self.input(at, Input::LinkDown(id, kind));
    }

    /// One end of a link is no more.
    fn lose_link(&mut self, at: usize, other: usize, kind: LinkKind) {
        self.peers[at].links.retain(|link| (link.other, link.kind) != (other, kind));
        if kind == LinkKind::Peer {
            self.peers[at].followed.retain(|followed| followed.from != other);
            let id = self.peers[other].id;
            self.peers[at].pauses.forget(&id);
            self.stop_flow(at, other);
            self.ceased(at, other);
            if !self.link_is_up(other, at) {
                self.net.forget(at, other);
            }
        }
    }

    pub(super) fn close(&mut self, at: usize, peer: &PeerId, kind: LinkKind) {
        let Some(other) = self.directory.find(peer) else { return };
        let attempt = self.attempts.entry(pair(at, other, kind)).or_default();
        *attempt += 1;
        let attempt = *attempt;
        self.lose_link(at, other, kind);
        if self.peers[other].is_up(at, kind) {
            let delay =
                if self.net.are_parted(at, other) { LINK_DEAD_US } else { self.net.one_way_us(at, other) };
            self.push(self.now + delay, Happening::LinkDown { at: other, other: at, kind, attempt });
        }
    }

    /// Nothing comes from a peer any more: after a while the others give up their links with it; it notices then,
    /// if ever.
    pub(super) fn links_die(&mut self, at: usize, noticed: Option<Time>) {
        for link in self.peers[at].links.clone() {
            let attempt = self.attempt(at, link.other, link.kind);
            let down = |at, other| Happening::LinkDown { at, other, kind: link.kind, attempt };
            self.push(self.now + LINK_DEAD_US, down(link.other, at));
            if let Some(noticed) = noticed {
                self.push(noticed, down(at, link.other));
            }
        }
    }

    /// A partition has begun: links across it die, unless it heals before.
    pub(super) fn links_part(&mut self) {
        for a in 0..self.peers.len() {
            for link in self.peers[a].links.clone() {
                let (b, kind) = (link.other, link.kind);
                if a < b && self.net.are_parted(a, b) {
                    let attempt = self.attempt(a, b, kind);
                    self.push(self.now + LINK_DEAD_US, Happening::Parted { a, b, kind, attempt });
                }
            }
        }
    }

    pub(super) fn parted(&mut self, a: usize, b: usize, kind: LinkKind, attempt: u32) {
        if self.attempt(a, b, kind) == attempt && self.net.are_parted(a, b) {
            self.link_down(a, b, kind);
            self.link_down(b, a, kind);
        }
    }

    /// Says something on a reliable channel; a partition delays it. When the channel fails the link goes with it.
    pub(super) fn say_reliably(&mut self, from: usize, to: usize, bytes: usize, happening: Happening) {
        if self.net.are_parted(from, to) {
            return self.say_later(from, to, happening);
        }
        match self.net.send_reliable(self.now, from, to, bytes) {
            Ok(arrives) => self.push(arrives, happening),
            Err(fails) => {
                let kind = LinkKind::Peer;
                let attempt = self.attempt(from, to, kind);
                self.push(fails, Happening::LinkDown { at: from, other: to, kind, attempt });
                self.push(fails, Happening::LinkDown { at: to, other: from, kind, attempt });
            }
        }
    }

    fn say_later(&mut self, from: usize, to: usize, happening: Happening) {
        self.keep_unsaid(Unsaid { at: self.now, in_flight: false, from, to, happening });
    }

    /// What was on its way when a partition came is said again.
    pub(super) fn say_again(&mut self, from: usize, to: usize, happening: Happening) {
        self.keep_unsaid(Unsaid { at: self.now, in_flight: true, from, to, happening });
    }

    fn keep_unsaid(&mut self, unsaid: Unsaid) {
        if self.unsaid.len() < UNSAID_MAX {
            self.unsaid.push(unsaid);
        }
    }

    /// A partition has healed, or another has come instead: links that have outlived it bring what was said, in its
    /// order.
    pub(super) fn say_the_unsaid(&mut self) {
        let mut unsaid = std::mem::take(&mut self.unsaid);
        unsaid.sort_by_key(|unsaid| !unsaid.in_flight);
        for unsaid in unsaid {
            let Unsaid { at, from, to, .. } = unsaid;
            if self.net.are_parted(from, to) {
                self.unsaid.push(unsaid);
            } else if self.link_is_up(from, to) && self.link_is_up(to, from) {
                let arrives = self.net.send_late(self.now, at, from, to);
                self.push(arrives, unsaid.happening);
            }
        }
    }

    /// Sends a train of packets; what its second half measured is told at the other end.
    pub(super) fn train(&mut self, at: usize, peer: &PeerId, number: u32, bytes: u32, rate_bps: u64) {
        let Some(to) = self.directory.find(peer).filter(|to| self.link_is_up(at, *to)) else { return };
        let packets = bytes.div_ceil(TRAIN_PACKET).max(2);
        let train = Train {
            from: at,
            to,
            number,
            rate_bps,
            packets,
            sent: 0,
            arrived: 0,
            middle: None,
            last: self.now,
        };
        self.train_goes_on(train);
    }

    /// The next slice of a train leaves: all of it when it goes as fast as it can.
    pub(super) fn train_goes_on(&mut self, mut train: Train) {
        let slice = match train.rate_bps {
            0 => train.packets,
            bps => (bps * SLICE_US / SECOND / 8 / u64::from(TRAIN_PACKET)).max(1) as u32,
        };
        if !self.peers[train.from].is_there() {
            return;
        }
        for _ in 0..slice.min(train.packets - train.sent) {
            train.sent += 1;
            let Some(arrives) = self.net.send(self.now, train.from, train.to, TRAIN_PACKET as usize) else {
                continue;
            };
            if train.sent > train.packets / 2 && train.middle.is_none() {
                train.middle = Some((train.arrived, arrives));
            }
            train.arrived += 1;
            train.last = train.last.max(arrives);
        }
        if train.sent < train.packets {
            let slice_us = u64::from(slice) * u64::from(TRAIN_PACKET) * 8 * SECOND / train.rate_bps.max(1);
            self.push(self.now + slice_us, Happening::Train(Box::new(train)));
        } else {
            self.train_ends(&train);
        }
    }

    /// To all that a peer is linked with: the shortest of some pings, each with jitter on both ways.
    pub(super) fn round_trips_us(&mut self, at: usize) -> Vec<(PeerId, u32)> {
        let links = self.peers[at].links.iter().filter(|link| link.kind == LinkKind::Peer);
        let others: Vec<_> = links.map(|link| link.other).collect();
        let jitter_us = self.plan.net.jitter_us;
        let mut rtts_us = Vec::with_capacity(others.len());
        for other in others {
            let late_us =
                (0..PINGS).map(|_| self.dice.between(0, jitter_us) + self.dice.between(0, jitter_us));
            let late_us = late_us.min().unwrap_or(0);
            let rtt_us = 2 * self.net.one_way_us(at, other) + late_us;
            rtts_us.push((self.peers[other].id, rtt_us.min(u32::MAX.into()) as u32));
        }
        rtts_us
    }

    fn train_ends(&mut self, train: &Train) {
        let measured = train.middle.and_then(|(before, at)| {
            let bits = u64::from(train.arrived.saturating_sub(before + 1)) * u64::from(TRAIN_PACKET) * 8;
            let took = train.last.since(at);
            (bits > 0 && took > 0).then(|| bits * SECOND / took)
        });
        let noise = self.dice.between(1_000 - NOISE_MILLI, 1_000 + NOISE_MILLI);
        let input = Input::Measured {
            peer: self.peers[train.from].id,
            train: train.number,
            bandwidth_bps: measured.map(|bps| bps * noise / 1_000),
            rtt_us: 2 * self.net.one_way_us(train.from, train.to) as u32,
            paused_ppm: self.peers[train.to].pauses.paused_ppm(&self.peers[train.from].id),
            address: Some(self.net.address(train.from)),
        };
        self.push(train.last, Happening::Input(train.to, Box::new(input)));
    }
}

fn pair(a: usize, b: usize, kind: LinkKind) -> (u32, u32, LinkKind) {
    (a.min(b) as u32, a.max(b) as u32, kind)
}
