//! One peer of the world: its brain, and what its body would remember.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use plenary_proto::message::LinkKind;
use plenary_proto::watchdog::{FeedWatch, SilenceWatch};
use plenary_proto::{Event, MixRole, PeerId, RoomState, StreamId, StreamSpec, Time, Verdict};

use crate::media::Frame;
use crate::plan::{Kind, PeerPlan, Place};

/// Frames kept for newcomers and resumed feeds: two seconds.
pub(crate) const CACHE_FRAMES: usize = 60;

/// Whom a peer feeds, and how far that one has been told what comes.
#[derive(Debug, Default)]
pub(crate) struct Served {
    pub(crate) announced: Option<StreamId>,
    pub(crate) media: bool,
    pub(crate) since: Time,
    pub(crate) silent: bool,
    pub(crate) next_head: Time,
    pub(crate) last_media: Time,
}

/// A brain and its simulated body.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    /// Its place in the world's plan.
    pub(crate) planned: usize,
    pub(crate) brain: RoomState,
    pub(crate) wake_at: Option<Time>,
    pub(crate) alive: bool,
    /// Its machine stands still until then.
    pub(crate) stalled_until: Time,
    pub(crate) joined_at: Time,
    pub(crate) left: bool,
    pub(crate) uplink_bps: u64,
    pub(crate) place: Place,
    pub(crate) views: bool,
    pub(crate) up: BTreeSet<(usize, LinkKind)>,
    pub(crate) last_from: BTreeMap<usize, Time>,
    // the program
    pub(crate) role: Option<MixRole>,
    pub(crate) own: Option<StreamSpec>,
    pub(crate) own_frames: u64,
    pub(crate) passing: Vec<PeerId>,
    pub(crate) speaking_to: Vec<PeerId>,
    pub(crate) followed: BTreeMap<(PeerId, u8), (StreamId, StreamSpec)>,
    pub(crate) cache: VecDeque<Frame>,
    /// Frames that overtook the announcement of their stream, and from whom.
    pub(crate) early: VecDeque<(usize, Frame)>,
    pub(crate) served: BTreeMap<PeerId, Served>,
    pub(crate) asked: BTreeSet<PeerId>,
    // watches
    pub(crate) parent: Option<PeerId>,
    pub(crate) backup: Option<PeerId>,
    pub(crate) feed: Option<FeedWatch>,
    pub(crate) feed_verdict: Verdict,
    pub(crate) next_ping: Time,
    pub(crate) next_watched: Time,
    pub(crate) mixer_watch: Option<(PeerId, SilenceWatch)>,
    pub(crate) mixer_verdict: Verdict,
    // what the checkers read
    pub(crate) events: Vec<(Time, Event)>,
    pub(crate) arrivals: Vec<(Time, Frame)>,
    pub(crate) inputs: u64,
}

impl Peer {
    pub(crate) fn new(brain: RoomState, id: PeerId, now: Time, planned: usize, plan: &PeerPlan) -> Peer {
        Peer {
            id,
            planned,
            brain,
            wake_at: None,
            alive: true,
            stalled_until: Time(0),
            joined_at: now,
            left: false,
            uplink_bps: plan.access.up_bps,
            place: plan.place,
            views: plan.kind == Kind::Viewer,
            up: BTreeSet::new(),
            last_from: BTreeMap::new(),
            role: None,
            own: None,
            own_frames: 0,
            passing: Vec::new(),
            speaking_to: Vec::new(),
            followed: BTreeMap::new(),
            cache: VecDeque::new(),
            early: VecDeque::new(),
            served: BTreeMap::new(),
            asked: BTreeSet::new(),
            parent: None,
            backup: None,
            feed: None,
            feed_verdict: Verdict::Ok,
            next_ping: now,
            next_watched: now,
            mixer_watch: None,
            mixer_verdict: Verdict::Ok,
            events: Vec::new(),
            arrivals: Vec::new(),
            inputs: 0,
        }
    }

    pub(crate) fn is_mixing(&self) -> bool {
        matches!(self.role, Some(MixRole::Mix { .. }))
    }
}
