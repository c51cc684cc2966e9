//! Links: set-up, loss, partitions, and packet trains that probe a link's bandwidth.

use plenary_proto::bounded::{List, Text};
use plenary_proto::message::{BrowserMedia, Description, LinkKind, Setup};
use plenary_proto::packet::LinkId;
use plenary_proto::time::{MS, SECOND};
use plenary_proto::{Input, PeerId, Time};

use super::tunnels::PATH_WAIT_US;
use super::{Happening, World};
use crate::peer::LinkEnd;

/// Time without a sign of life after which the stack closes a link; also the time for which ICE searches for
/// a path when there is none.
pub(crate) const LINK_DEAD_US: u64 = 5 * SECOND;
/// Length of the slices in which a paced train is sent: other packets that are sent between two slices wait
/// no longer than this behind the train.
const SLICE_US: u64 = 10 * MS;
/// Payload of one packet of a train, in bytes.
const TRAIN_PACKET: u32 = 1_200;
/// Number of pings of which the shortest round trip counts: two seconds of pings at the rate of real bodies.
const PINGS: usize = 4;
/// Maximum error of a measured bandwidth, in thousandths. Measured on shaped loopback: 1 %.
const NOISE_MILLI: u64 = 15;

/// A message on a link that waits for a partition to heal.
#[derive(Debug)]
pub(crate) struct Unsaid {
    at: Time,
    /// Whether the message was in flight when the partition began.
    in_flight: bool,
    from: usize,
    to: usize,
    happening: Happening,
}

/// Maximum number of messages kept for links across a partition until these links are closed; further
/// messages are lost, as on a channel with a full buffer.
const UNSAID_MAX: usize = 1 << 16;

/// A packet train (bandwidth probe) that is being sent.
#[derive(Debug)]
pub(crate) struct Train {
    pub(super) from: usize,
    to: usize,
    number: u32,
    rate_bps: u64,
    packets: u32,
    sent: u32,
    arrived: u32,
    /// Packets that had arrived before the first one of the second half, and when that one arrived.
    middle: Option<(u32, Time)>,
    /// Arrival of the last packet so far.
    last: Time,
}

impl World {
    /// The generation of the link of this kind between two peers.
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
            browser: self.is_page(at).then(|| BrowserMedia {
                ssrcs: std::array::from_fn(|slot| 1 + slot as u32),
                transport_wide_id: 4,
                retransmission: None,
                audio_level_id: 1,
            }),
            candidates: List::new(),
            sctp: None,
            hello: None,
        };
        let input = Input::Described { peer, kind, description };
        self.push(self.now + MS, Happening::Input(at, Box::new(input)));
    }

    /// Handles the answer at the offering peer. ICE and DTLS take three one-way delays and 5 ms, if the NATs
    /// and partitions allow a path at all; otherwise both ends report the link down after [`LINK_DEAD_US`].
    pub(super) fn accept(&mut self, at: usize, peer: &PeerId, kind: LinkKind) {
        let Some(other) = self.directory.find(peer) else { return };
        let attempt = self.attempt(at, other, kind);
        if self.net.can_connect(at, other) {
            let takes = 3 * self.net.one_way_us(at, other) + 5 * MS;
            self.push(self.now + takes, Happening::LinkUp { a: at, b: other, kind, attempt });
        } else {
            for (at, other) in [(at, other), (other, at)] {
                self.push(self.now + LINK_DEAD_US, Happening::LinkDown { at, other, kind, attempt });
                if self.plan.net.tunnels && !self.is_page(at) && !self.is_page(other) {
                    let wanted = Happening::PathWanted { at, other, kind, attempt };
                    self.push(self.now + PATH_WAIT_US, wanted);
                }
            }
        }
    }

    pub(super) fn link_up(&mut self, a: usize, b: usize, kind: LinkKind, attempt: u32) {
        let gone = self.unheard_since(a, b).is_some() || self.unheard_since(b, a).is_some();
        if self.attempt(a, b, kind) != attempt || gone {
            return;
        }
        // events of an older link become void: an end that hadn't noticed its loss now has a new link
        *self.attempts.entry(pair(a, b, kind)).or_default() += 1;
        for (at, other) in [(a, b), (b, a)] {
            let peer = &mut self.peers[at];
            if !peer.is_up(other, kind) {
                peer.links.push(LinkEnd { other, kind, id: None, heard_at: self.now, since: self.now });
            }
        }
        for (at, other) in [(a, b), (b, a)] {
            let id = self.peers[other].id;
            if !self.has_bodies() {
                self.input(at, Input::LinkUp(id, kind));
            } else if let Some(link) = self.newest_link(at, other, kind) {
                if let Some(end) = self.peers[at].end_mut(other, kind) {
                    end.id = Some(link);
                }
                self.tell_link(at, link, true);
            }
        }
        self.flow_on_link(a, b);
    }

    pub(super) fn link_down(&mut self, at: usize, other: usize, kind: LinkKind) {
        // a link that never came up has no end yet
        let link = self.peers[at].link_id(other, kind).or_else(|| self.newest_link(at, other, kind));
        self.lose_link(at, other, kind);
        if self.has_bodies() {
            link.into_iter().for_each(|link| self.tell_link(at, link, false));
        } else {
            let id = self.peers[other].id;
            self.input(at, Input::LinkDown(id, kind));
        }
    }

    /// The newest link of a body with a peer, up or not.
    pub(super) fn newest_link(&self, at: usize, other: usize, kind: LinkKind) -> Option<LinkId> {
        self.peers[at].shell()?.body.link_with(&self.peers[other].id, kind)
    }

    /// Removes one end of a link.
    fn lose_link(&mut self, at: usize, other: usize, kind: LinkKind) {
        self.peers[at].links.retain(|link| (link.other, link.kind) != (other, kind));
        self.forget_tunnels(at, other, kind);
        if kind == LinkKind::Peer {
            self.carries_no_more(at);
            self.carries_no_more(other);
        }
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

    /// Schedules the loss of all links of a peer that has fallen silent: the other ends close them after
    /// [`LINK_DEAD_US`], the peer itself notices at `noticed`, if ever.
    pub(super) fn links_die(&mut self, at: usize, noticed: Option<Time>) {
        self.carries_no_more(at);
        for link in self.peers[at].links.clone() {
            let attempt = self.attempt(at, link.other, link.kind);
            let down = |at, other| Happening::LinkDown { at, other, kind: link.kind, attempt };
            self.push(self.now + LINK_DEAD_US, down(link.other, at));
            if let Some(noticed) = noticed {
                self.push(noticed, down(at, link.other));
            }
        }
    }

    /// Schedules the loss of all links across a partition that has begun, unless the partition heals first.
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

    /// Sends a message on a reliable channel. A partition delays the message. When the channel fails, its
    /// link fails with it.
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

    /// Keeps a message that was in flight when a partition began, to be sent again.
    pub(super) fn say_again(&mut self, from: usize, to: usize, happening: Happening) {
        self.keep_unsaid(Unsaid { at: self.now, in_flight: true, from, to, happening });
    }

    fn keep_unsaid(&mut self, unsaid: Unsaid) {
        if self.unsaid.len() < UNSAID_MAX {
            self.unsaid.push(unsaid);
        }
    }

    /// Called when a partition has healed or was replaced by another: links that have outlived it deliver the
    /// kept messages in order, messages in flight first.
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

    /// Sends a packet train. The receiving end reports the bandwidth that the train's second half showed.
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

    /// Sends the next slice of a train; the whole train if it isn't paced.
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

    /// Round-trip times to all linked peers: for each the shortest of [`PINGS`] pings, with jitter in both
    /// directions.
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
            media: None, // a body adds it
            address: Some(self.net.address(train.from)),
        };
        self.push(train.last, Happening::Input(train.to, Box::new(input)));
    }
}

fn pair(a: usize, b: usize, kind: LinkKind) -> (u32, u32, LinkKind) {
    (a.min(b) as u32, a.max(b) as u32, kind)
}
