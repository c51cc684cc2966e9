//! One simulated peer: a brain in its body, or a bare brain and the state of what stands for a body.

use std::collections::VecDeque;

use plenary_proto::message::LinkKind;
use plenary_proto::packet::LinkId;
use plenary_proto::pauses::Pauses;
use plenary_proto::suffering::Suffering;
use plenary_proto::time::SECOND;
use plenary_proto::watchdog::{FeedWatch, SilenceWatch};
use plenary_proto::{
    Event, InForce, MixRole, PeerId, RoomState, Senders, StreamId, StreamSpec, Time, Verdict, VoiceRoutes,
};

use crate::arrivals::Arrivals;
use crate::media::{Flow, Frame};
use crate::plan::{Kind, PeerPlan};
use crate::shell::Shell;
use crate::world::PlaceNoted;

/// Maximum number of events kept per peer; at the limit the older half is dropped. A guess: more than a peer emits in
/// some minutes.
const EVENTS_KEPT: usize = 4_096;
/// Maximum number of moves kept per peer: more than the checker of flapping allows within 5 s.
const MOVES_KEPT: usize = 8;
/// Maximum number of program frames cached for newcomers and resumed feeds: one GOP, 2 s at 30 fps.
pub(crate) const CACHE_FRAMES: usize = 60;

/// One end of an open link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkEnd {
    pub(crate) other: usize,
    pub(crate) kind: LinkKind,
    /// The body's number of the link; none for a bare brain.
    pub(crate) id: Option<LinkId>,
    /// Time of the last arrival, media or not.
    pub(crate) heard_at: Time,
    /// Time at which the link opened.
    pub(crate) since: Time,
}

/// Announced stream that is accepted from a peer in a slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Followed {
    pub(crate) from: usize,
    pub(crate) slot: u8,
    pub(crate) id: StreamId,
    pub(crate) spec: StreamSpec,
}

/// Peer that this peer feeds: a child, a promised backup, or a speaker that views the program.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Served {
    pub(crate) child: usize,
    /// Whether it is sent the program; otherwise heads only.
    pub(crate) media: bool,
    /// True for a child in the tree; false for a viewing speaker that its home mixer feeds.
    pub(crate) in_tree: bool,
    /// The stream announced to it last.
    pub(crate) announced: Option<StreamId>,
    pub(crate) since: Time,
    /// Whether the verdict "silent" on it has been reported to the brain.
    pub(crate) silent: bool,
    /// Start of a suspicion: the child must send something, or it counts as silent.
    pub(crate) suspected: Option<Time>,
    // frame model only
    pub(crate) next_head: Time,
    pub(crate) last_media: Time,
    // fluid model only
    /// The program sent to it, and its share in millionths.
    pub(crate) flows: Option<(StreamId, u32)>,
}

/// Mixer that this peer watches as its successor.
#[derive(Debug)]
pub(crate) struct MixerWatch {
    pub(crate) mixer: usize,
    pub(crate) since: Time,
    /// The watchdog; `None` in the fluid model, which computes the verdict.
    pub(crate) watch: Option<Box<SilenceWatch>>,
    pub(crate) verdict: Verdict,
}

/// Number of timer wake-ups of a brain in the current second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wakes {
    since: Time,
    pub(crate) count: u32,
}

impl Wakes {
    /// Counts a wake-up; returns the number so far in this second.
    pub(crate) fn count(&mut self, now: Time) -> u32 {
        if now.since(self.since) >= SECOND {
            *self = Wakes { since: now, count: 0 };
        }
        self.count += 1;
        self.count
    }
}

/// What decides for a peer.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "all peers of a world have the same kind")]
pub(crate) enum Mind {
    /// A brain alone: the world takes the place of its body.
    Bare(RoomState),
    /// A brain in its body.
    Shell(Box<Shell>),
}

/// A peer of a world.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    /// Index of its plan in the world's plan.
    pub(crate) planned: usize,
    mind: Mind,
    clock_ppm: i32,
    pub(crate) wake_at: Option<Time>,
    pub(crate) wakes: Wakes,
    pub(crate) alive: bool,
    pub(crate) left: bool,
    /// Start and end of its machine's latest stall.
    pub(crate) stalled_from: Time,
    pub(crate) stalled_until: Time,
    /// Start of its machine's present sleep, which ends at `stalled_until`.
    pub(crate) asleep_since: Option<Time>,
    /// Sum of its machine's completed sleeps, which its clock doesn't count.
    pub(crate) slept_us: u64,
    /// Start of its present silence: it died, left, stalled or sleeps.
    pub(crate) quiet_since: Option<Time>,
    pub(crate) joined_at: Time,
    /// Whether it views the program, also after it has left the stage.
    pub(crate) views: bool,
    /// Whether it speaks. A speaker that views gets the program from its home mixer, not from the tree.
    pub(crate) speaks: bool,
    pub(crate) links: Vec<LinkEnd>,
    /// Stalls of the other peers on stage, as its pings show them.
    pub(crate) pauses: Pauses,
    // program
    pub(crate) role: Option<MixRole>,
    /// Mixers in force and their rank: their programs are accepted.
    pub(crate) in_force: InForce,
    pub(crate) sources: Senders,
    /// The program that it makes, and the number of frames made.
    pub(crate) own: Option<StreamSpec>,
    pub(crate) own_frames: u64,
    /// Number of the latest keyframe made, and whether a newer one is requested.
    pub(crate) own_key: u64,
    pub(crate) key_wanted: bool,
    /// At a mixer: peers to which it forwards the speakers' streams.
    pub(crate) forwarding_to: Vec<usize>,
    /// At a mixer: pairs of (receiver, speaker) of the solo streams that it sends.
    pub(crate) solos: Vec<(PeerId, PeerId)>,
    /// Where each speaker's sound goes apart.
    pub(crate) voices: VoiceRoutes,
    /// Destinations of its own stream: its home mixer, or the other speakers.
    pub(crate) sending_to: Vec<PeerId>,
    pub(crate) followed: Vec<Followed>,
    pub(crate) served: Vec<Served>,
    /// Peers asked to feed this one that have sent no packet of the program yet.
    pub(crate) asked: Vec<usize>,
    pub(crate) cache: VecDeque<Frame>,
    /// Time of the last keyframe request to the parent.
    pub(crate) key_asked_at: Option<Time>,
    /// Frames that overtook the announcement of their stream, each with its sender.
    pub(crate) early: VecDeque<(usize, Frame)>,
    pub(crate) flow: Flow,
    /// Degradations of the program at this peer; frame model only.
    pub(crate) suffering: Suffering,
    /// Its place in a room with pages.
    pub(crate) place: PlaceNoted,
    // watchdogs
    pub(crate) parent: Option<usize>,
    pub(crate) watched_at: Time,
    pub(crate) parent_verdict: Verdict,
    pub(crate) backup: Option<usize>,
    pub(crate) backup_since: Time,
    pub(crate) backup_verdict: Verdict,
    pub(crate) feed: Option<Box<FeedWatch>>,
    pub(crate) mixers: Vec<MixerWatch>,
    /// Time of the next scheduled check.
    pub(crate) looks_at: Option<Time>,
    pub(crate) next_ping: Time,
    /// Time of the next heads to the peers in `forwarding_to`.
    pub(crate) next_passed: Time,
    // read by checkers and reports
    events: Vec<(Time, Event)>,
    /// Number of older events that were dropped.
    events_forgotten: usize,
    /// Times of its latest changes of parent without a fault of the old parent.
    pub(crate) moves: VecDeque<Time>,
    /// Number of successive parents so far.
    pub(crate) parents: u64,
    pub(crate) arrivals: Arrivals,
    pub(crate) inputs: u64,
}

impl Peer {
    pub(crate) fn new(mind: Mind, id: PeerId, now: Time, planned: usize, plan: &PeerPlan) -> Peer {
        Peer {
            id,
            planned,
            mind,
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
            sources: Senders::default(),
            own: None,
            own_frames: 0,
            own_key: 0,
            key_wanted: false,
            forwarding_to: Vec::new(),
            solos: Vec::new(),
            voices: VoiceRoutes::default(),
            sending_to: Vec::new(),
            followed: Vec::new(),
            served: Vec::new(),
            asked: Vec::new(),
            cache: VecDeque::new(),
            key_asked_at: None,
            early: VecDeque::new(),
            flow: Flow::default(),
            suffering: Suffering::default(),
            parent: None,
            watched_at: now,
            place: PlaceNoted::default(),
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
            parents: 0,
            arrivals: Arrivals::default(),
            inputs: 0,
        }
    }

    pub(crate) fn brain(&self) -> &RoomState {
        match &self.mind {
            Mind::Bare(brain) => brain,
            Mind::Shell(shell) => shell.body.brain(),
        }
    }

    /// The brain alone, if no body contains it.
    pub(crate) fn bare(&mut self) -> Option<&mut RoomState> {
        match &mut self.mind {
            Mind::Bare(brain) => Some(brain),
            Mind::Shell(_) => None,
        }
    }

    /// The body with its simulated surroundings; `None` for a bare brain.
    pub(crate) fn shell(&self) -> Option<&Shell> {
        match &self.mind {
            Mind::Bare(_) => None,
            Mind::Shell(shell) => Some(shell),
        }
    }

    pub(crate) fn shell_mut(&mut self) -> Option<&mut Shell> {
        match &mut self.mind {
            Mind::Bare(_) => None,
            Mind::Shell(shell) => Some(shell),
        }
    }

    pub(crate) fn remember(&mut self, now: Time, event: Event) {
        if self.events.len() >= EVENTS_KEPT {
            self.events.drain(..EVENTS_KEPT / 2);
            self.events_forgotten += EVENTS_KEPT / 2;
        }
        self.parents += u64::from(matches!(event, Event::Parent { peer: Some(_) }));
        // the body is told of the new parent later: `parent` is still the old one
        if matches!(event, Event::Parent { peer: Some(_) })
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

    /// Returns the kept events after the first `told` events, and the number of events so far.
    pub(crate) fn events_since(&self, told: usize) -> (&[(Time, Event)], usize) {
        let from = told.saturating_sub(self.events_forgotten).min(self.events.len());
        (&self.events[from..], self.events_forgotten + self.events.len())
    }

    /// Applies a grant or withdrawal of the floor by the host.
    pub(crate) fn takes_the_floor(&mut self, now: Time, speaks: bool) {
        let views = self.brain().views();
        if views && !self.views {
            self.joined_at = now; // reports count this as joining the audience
        }
        (self.views, self.speaks) = (views, speaks);
    }

    pub(crate) fn is_there(&self) -> bool {
        self.alive && !self.left
    }

    /// Time of its death or departure; `None` for a present peer.
    pub(crate) fn gone_since(&self) -> Option<Time> {
        self.quiet_since.filter(|_| !self.is_there())
    }

    /// Whether `at` is entitled to feed this peer with a program of `maker`: as its parent in the tree, or as its home
    /// mixer, which feeds its viewing speakers itself.
    pub(crate) fn is_fed_by(&self, at: usize, maker: PeerId) -> bool {
        self.parent == Some(at) || (self.speaks && self.sending_to == [maker])
    }

    pub(crate) fn is_mixing(&self) -> bool {
        matches!(self.role, Some(MixRole::Mix { .. }))
    }

    /// The peer's own clock at a time of the world. It stops while the machine sleeps.
    pub(crate) fn clock(&self, now: Time) -> Time {
        drifted(now - self.slept_us, self.clock_ppm)
    }

    /// Earliest time of the world at which the peer's own clock shows `local` or later.
    pub(crate) fn clock_shows(&self, local: Time) -> Time {
        let mut at = drifted(local, -self.clock_ppm) + self.slept_us;
        // corrects rounding errors of some microseconds; a slow clock never reaches the maximum time
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

    /// The body's number of a link that is up.
    pub(crate) fn link_id(&self, other: usize, kind: LinkKind) -> Option<LinkId> {
        self.links.iter().find(|link| (link.other, link.kind) == (other, kind))?.id
    }

    /// Returns this peer's end of an established link.
    pub(crate) fn end_mut(&mut self, other: usize, kind: LinkKind) -> Option<&mut LinkEnd> {
        self.links.iter_mut().find(|link| (link.other, link.kind) == (other, kind))
    }

    pub(crate) fn is_up(&self, other: usize, kind: LinkKind) -> bool {
        self.links.iter().any(|link| (link.other, link.kind) == (other, kind))
    }

    pub(crate) fn served_mut(&mut self, child: usize) -> Option<&mut Served> {
        self.served.iter_mut().find(|served| served.child == child)
    }

    /// Sets the state of a served child.
    pub(crate) fn serve(&mut self, served: Served) {
        match self.served_mut(served.child) {
            Some(known) => *known = served,
            None => self.served.push(served),
        }
    }
}

/// Reading of a clock with a frequency error of `ppm` at time `now`.
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
