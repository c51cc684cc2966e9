//! The shell of one simulated peer: the real body, and what stands around it on a real machine.
//!
//! Links are ends in the simulated network, the mixer and the camera make frames without content, and the
//! world's clock, as this peer's clock shows it, is the time of each call.

mod browser;
mod camera;
mod desk;
mod hand;
pub(crate) mod pictures;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use plenary_body::{Body, BodyConfig, Correspondence, Letters};
use plenary_proto::message::LinkKind;
use plenary_proto::packet::{LinkId, LinkStats};
use plenary_proto::{PeerId, RoomId, RoomState, Time};

use crate::media::repair::Budget;
use crate::world::UNIX_S_AT_ZERO;
pub(crate) use browser::{PageState, Receiver, packets_of};
use camera::Camera;
use desk::Desk;
pub(crate) use hand::{Passed, SharedDeviation, SharedHand, lock};

/// The clock of every machine at the world's time 0, in microseconds since 1970.
const ZERO_US: u64 = UNIX_S_AT_ZERO * 1_000_000;

/// One end of a link, from its opening until its last event.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) other: usize,
    pub(crate) kind: LinkKind,
    pub(crate) stats: LinkStats,
    /// Budgets for retransmissions, by slot.
    pub(crate) budgets: BTreeMap<u8, Budget>,
    /// Numbers of the newest packets sent, by slot, where a browser is at either end.
    pub(crate) numbers: BTreeMap<u8, u64>,
    /// What a page's browser has received, by slot.
    pub(crate) received: BTreeMap<u8, Receiver>,
}

/// A body and its surroundings.
pub(crate) struct Shell {
    pub(crate) body: Body,
    pub(crate) correspondence: Correspondence,
    pub(crate) hand: SharedHand,
    pub(crate) legs: BTreeMap<LinkId, Leg>,
    pub(crate) desk: Desk,
    /// Whether the mixer's next picture and the next sound are on their way.
    pub(crate) mixes: [bool; 2],
    pub(crate) camera: Camera,
    /// Whether its own stream was ever started.
    pub(crate) publishes: bool,
    /// When a peer that withholds the program from its children sent them heads last.
    pub(crate) beat_at: Time,
    /// Time of the next tick.
    pub(crate) tick_at: Time,
    /// Time at which held frames are handed over next, as scheduled.
    pub(crate) due_at: Option<Time>,
    /// Number of inputs after which the brain's timer was set last.
    pub(crate) inputs: u64,
    /// State of a page; `None` at a native peer.
    pub(crate) page: Option<PageState>,
}

impl Shell {
    /// A body with that brain, at a time of the peer's clock.
    pub(crate) fn new(
        brain: RoomState,
        (room, root): (RoomId, PeerId),
        role: Role,
        now: Time,
        seed: u64,
    ) -> Shell {
        let Role { views, speaks, is_page, seals } = role;
        let (me, now_us) = (brain.keys().id(), clock_us(now));
        let letters = Letters::in_clear(room, root, brain.keys().clone());
        let config =
            BodyConfig { me, room, zero_us: ZERO_US, keeps_log: false, views, speaks, is_page, seed, seals };
        let mut body = Body::new(brain, config, now_us);
        let hand = SharedHand::default();
        body.set_between(Box::new(hand.clone()));
        Shell {
            body,
            correspondence: Correspondence::new(letters, [0; 32], now_us, Duration::MAX),
            hand,
            legs: BTreeMap::new(),
            desk: Desk::default(),
            mixes: [false; 2],
            camera: Camera::default(),
            publishes: false,
            beat_at: Time(0),
            tick_at: Time(0),
            due_at: None,
            inputs: 0,
            page: is_page.then(PageState::default),
        }
    }
}

/// Part of a peer in the room, as its application asks for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Role {
    pub(crate) views: bool,
    pub(crate) speaks: bool,
    pub(crate) is_page: bool,
    /// Whether the room's streams are sealed: it takes time, and only forgers notice it.
    pub(crate) seals: bool,
}

/// The clock of a machine, in microseconds since 1970, when the brain's clock shows that time.
pub(crate) fn clock_us(time: Time) -> u64 {
    time.0 + ZERO_US
}

/// The time of the brain's clock, given that of the machine's clock.
pub(crate) fn brain_time(clock_us: u64) -> Time {
    Time(clock_us.saturating_sub(ZERO_US))
}

impl fmt::Debug for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shell")
            .field("legs", &self.legs.len())
            .field("desk", &self.desk)
            .finish_non_exhaustive()
    }
}
