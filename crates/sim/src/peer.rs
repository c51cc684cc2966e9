//! One peer of the world: its brain, and what its body would remember.

use std::collections::VecDeque;

use plenary_proto::message::LinkKind;
use plenary_proto::pauses::Pauses;
use plenary_proto::suffering::Suffering;
use plenary_proto::time::SECOND;
use plenary_proto::watchdog::{FeedWatch, SilenceWatch};
use plenary_proto::{Event, InForce, MixRole, PeerId, RoomState, StreamId, StreamSpec, Time, Verdict};

use crate::arrivals::Arrivals;
use crate::media::{Assembly, Flow, Frame, Packet};
use crate::plan::{Kind, PeerPlan};

/// Events kept of each peer, more than any run of minutes makes; past it the older half is forgotten.
const EVENTS_KEPT: usize = 4_096;
/// Moves kept of each peer, more than any rule allows within seconds.
const MOVES_KEPT: usize = 8;
/// The program's frames kept for newcomers and resumed feeds: two seconds.
pub(crate) const CACHE_FRAMES: usize = 60;

/// One end of a link that is up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkEnd {
    pub(crate) other: usize,
    pub(crate) kind: LinkKind,
    /// When something came over it last.
    pub(crate) heard_at: Time,
    /// Since when it is up.
    pub(crate) since: Time,
}

/// A stream that may be taken from a peer in a slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Followed {
    pub(crate) from: usize,
    pub(crate) slot: u8,
    pub(crate) id: StreamId,
    pub(crate) spec: StreamSpec,
}

/// Whom a peer feeds, and how far that one has been told what comes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Served {
    pub(crate) child: usize,
    /// With the program; otherwise with heads only.
    pub(crate) media: bool,
    /// As a child in the tree; otherwise beside it, as a speaker of the mixer's that watches.
    pub(crate) in_tree: bool,
    pub(crate) announced: Option<StreamId>,
    pub(crate) since: Time,
    /// The child was called silent.
    pub(crate) silent: bool,
    /// The child has to show since then that it lives.
    pub(crate) suspected: Option<Time>,
    // where frames are followed
    pub(crate) next_head: Time,
    pub(crate) last_media: Time,
    // where only flows are
    /// The program that flows to it, and how much of it, of a million.
    pub(crate) flows: Option<(StreamId, u32)>,
}

/// A mixer that a peer would take over from.
#[derive(Debug)]
pub(crate) struct MixerWatch {
    pub(crate) mixer: usize,
    pub(crate) since: Time,
    /// Where the program is followed frame by frame.
    pub(crate) watch: Option<Box<SilenceWatch>>,
    pub(crate) verdict: Verdict,
}

/// How often a brain's clock has woken it within a second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wakes {
    since: Time,
    pub(crate) count: u32,
}

impl Wakes {
    /// One more; gives how many there are by now.
    pub(crate) fn count(&mut self, now: Time) -> u32 {
        if now.since(self.since) >= SECOND {
            *self = Wakes { since: now, count: 0 };
        }
        self.count += 1;
        self.count
    }
}

/// A brain and its simulated body.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    /// Its place in the world's plan.
    pub(crate) planned: usize,
    pub(crate) brain: RoomState,
    clock_ppm: i32,
    pub(crate) wake_at: Option<Time>,
    pub(crate) wakes: Wakes,
    pub(crate) alive: bool,
    pub(crate) left: bool,
    /// Its machine stands still, or stood still last, from then on until then.
    pub(crate) stalled_from: Time,
    pub(crate) stalled_until: Time,
    /// Its machine sleeps since then, and will until `stalled_until`.
    pub(crate) asleep_since: Option<Time>,
    /// How long it has slept in all: its clock doesn't know.
    pub(crate) slept_us: u64,
    /// Nothing comes from it since then: it is dead, or stands still.
    pub(crate) quiet_since: Option<Time>,
    pub(crate) joined_at: Time,
    /// It watches; whoever was sent back to the audience does, too.
    pub(crate) views: bool,
    /// It speaks, and gets the program from its mixer beside the tree if it watches.
    pub(crate) speaks: bool,
    pub(crate) links: Vec<LinkEnd>,
    /// What its pings have shown, if it is planned to be on stage.
    pub(crate) pauses: Pauses,
    // the program
    pub(crate) role: Option<MixRole>,
    /// Whose programs count.
    pub(crate) in_force: InForce,
    pub(crate) own: Option<StreamSpec>,
    pub(crate) own_frames: u64,
    /// The last key frame among them, and whether somebody wants another.
    pub(crate) own_key: u64,
    pub(crate) key_wanted: bool,
    pub(crate) forwarding_to: Vec<usize>,
    /// At a mixer: who gets which speaker's own stream.
    pub(crate) solos: Vec<(PeerId, PeerId)>,
    pub(crate) sending_to: Vec<PeerId>,
    pub(crate) followed: Vec<Followed>,
    pub(crate) served: Vec<Served>,
    pub(crate) asked: Vec<usize>,
    pub(crate) cache: VecDeque<Frame>,
    /// Frames of which packets are missing, as they were begun.
    pub(crate) assembly: VecDeque<Assembly>,
    /// When a key frame was asked for upstream.
    pub(crate) key_asked_at: Option<Time>,
    /// Packets that overtook the announcement of their stream, and from whom.
    pub(crate) early: VecDeque<(usize, Packet)>,
    pub(crate) flow: Flow,
    /// What goes wrong with the program here, where it is followed frame by frame.
    pub(crate) suffering: Suffering,
    // watches
    pub(crate) parent: Option<usize>,
    pub(crate) watched_at: Time,
    pub(crate) parent_verdict: Verdict,
    pub(crate) backup: Option<usize>,
    pub(crate) backup_since: Time,
    pub(crate) backup_verdict: Verdict,
    pub(crate) feed: Option<Box<FeedWatch>>,
    pub(crate) mixers: Vec<MixerWatch>,
    pub(crate) looks_at: Option<Time>,
    pub(crate) next_ping: Time,
    pub(crate) next_passed: Time,
    // what checkers and reports read
    events: Vec<(Time, Event)>,
    /// So many came before those.
    events_forgotten: usize,
    /// When it left a parent that fed it well: the last times.
    pub(crate) moves: VecDeque<Time>,
    pub(crate) arrivals: Arrivals,
    pub(crate) inputs: u64,
}

impl Peer {
    pub(crate) fn new(brain: RoomState, id: PeerId, now: Time, planned: usize, plan: &PeerPlan) -> Peer {
        Peer {
            id,
            planned,
            brain,
            clock_ppm: plan.clock_ppm,
            wake_at: None,
            wakes: Wakes::default(),
            alive: true,
            left: false,
            stalled_from: Time(0),
            stalled_until: Time(0),
            asleep_since: None,
            slept_us: 0,
            quiet_since: None,
            joined_at: now,
            views: plan.watches(),
            speaks: plan.kind == Kind::Speaker,
            links: Vec::new(),
            pauses: Pauses::default(),
            role: None,
            in_force: InForce::default(),
            own: None,
            own_frames: 0,
            own_key: 0,
            key_wanted: false,
            forwarding_to: Vec::new(),
            solos: Vec::new(),
            sending_to: Vec::new(),
            followed: Vec::new(),
            served: Vec::new(),
            asked: Vec::new(),
            cache: VecDeque::new(),
            assembly: VecDeque::new(),
            key_asked_at: None,
            early: VecDeque::new(),
            flow: Flow::default(),
            suffering: Suffering::default(),
            parent: None,
            watched_at: now,
            parent_verdict: Verdict::Ok,
            backup: None,
            backup_since: now,
            backup_verdict: Verdict::Ok,
            feed: None,
            mixers: Vec::new(),
            looks_at: None,
            next_ping: now,
            next_passed: now,
            events: Vec::new(),
            events_forgotten: 0,
            moves: VecDeque::new(),
            arrivals: Arrivals::default(),
            inputs: 0,
        }
    }

    pub(crate) fn remember(&mut self, now: Time, event: Event) {
        if self.events.len() >= EVENTS_KEPT {
            self.events.drain(..EVENTS_KEPT / 2);
            self.events_forgotten += EVENTS_KEPT / 2;
        }
        // the body still watches the parent that it had
        if matches!(event, Event::Parent(Some(_)))
            && self.parent.is_some()
            && self.parent_verdict == Verdict::Ok
        {
            self.moves.push_back(now);
            if self.moves.len() > MOVES_KEPT {
                self.moves.pop_front();
            }
        }
        self.events.push((now, event));
    }

    /// What it has told since it had told so much, as far as it is remembered; and how much that is by now.
    pub(crate) fn events_since(&self, told: usize) -> (&[(Time, Event)], usize) {
        let from = told.saturating_sub(self.events_forgotten).min(self.events.len());
        (&self.events[from..], self.events_forgotten + self.events.len())
    }

    /// The host has given it the floor, or taken it.
    pub(crate) fn takes_the_floor(&mut self, now: Time, speaks: bool) {
        let views = self.brain.snapshot().views;
        if views && !self.views {
            self.joined_at = now; // as a viewer
        }
        (self.views, self.speaks) = (views, speaks);
    }

    pub(crate) fn is_there(&self) -> bool {
        self.alive && !self.left
    }

    /// When it went, if it isn't there any more.
    pub(crate) fn gone_since(&self) -> Option<Time> {
        self.quiet_since.filter(|_| !self.is_there())
    }

    /// A program that comes from there is for this peer: from its parent in the tree, or, by its maker, from its home on stage.
    pub(crate) fn is_fed_by(&self, at: usize, maker: PeerId) -> bool {
        self.parent == Some(at) || (self.speaks && self.sending_to == [maker])
    }

    pub(crate) fn is_mixing(&self) -> bool {
        matches!(self.role, Some(MixRole::Mix { .. }))
    }

    /// The peer's own clock at a time of the world; it stood still whenever the machine slept.
    pub(crate) fn clock(&self, now: Time) -> Time {
        drifted(now - self.slept_us, self.clock_ppm)
    }

    /// When the peer's own clock shows that time, or just after.
    pub(crate) fn clock_shows(&self, local: Time) -> Time {
        let mut at = drifted(local, -self.clock_ppm) + self.slept_us;
        // the two roundings may be a few microseconds apart; a clock that lags never shows the end of time
        while self.clock(at) < local && at < Time(u64::MAX) {
            at = at + (local.0 - self.clock(at).0);
        }
        at
    }

    pub(crate) fn link(&self, other: usize) -> Option<&LinkEnd> {
        self.links.iter().find(|link| link.other == other && link.kind == LinkKind::Peer)
    }

    pub(crate) fn link_mut(&mut self, other: usize) -> Option<&mut LinkEnd> {
        self.links.iter_mut().find(|link| link.other == other && link.kind == LinkKind::Peer)
    }

    pub(crate) fn is_up(&self, other: usize, kind: LinkKind) -> bool {
        self.links.iter().any(|link| (link.other, link.kind) == (other, kind))
    }

    pub(crate) fn served_mut(&mut self, child: usize) -> Option<&mut Served> {
        self.served.iter_mut().find(|served| served.child == child)
    }

    /// Serves a child like this from now on.
    pub(crate) fn serve(&mut self, served: Served) {
        match self.served_mut(served.child) {
            Some(known) => *known = served,
            None => self.served.push(served),
        }
    }
}

/// A clock that goes wrong by so many millionths.
fn drifted(now: Time, ppm: i32) -> Time {
    let off = i128::from(now.0) * i128::from(ppm) / 1_000_000;
    Time((i128::from(now.0) + off).clamp(0, i128::from(u64::MAX)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drifting_clock_shows_a_time_when_it_is_said_to() {
        for ppm in [-500, -1, 0, 3, 500] {
            let peer = |at: u64| drifted(Time(at), ppm);
            for local in [0, 1, 999_999, 7_200_000_123] {
                let at = drifted(Time(local), -ppm);
                assert!(peer(at.0).0.abs_diff(local) <= local / 1_000_000 + 1, "{ppm} {local}");
            }
        }
    }
}
