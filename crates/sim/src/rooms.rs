//! Drawn rooms in which the oracle judges an election.
//!
//! A room has a stage of fifty peers that all consent to mix, four of them speakers, and an audience, with
//! the devices, lines and regions of [`people`](crate::people). The stage holds its opening election in a
//! simulated world, based on its own measurements; the oracle, which knows the true values, says what the
//! choice is worth. The audience counts for the oracle but joins after the election, so the stage can't know
//! it.

use plenary_proto::message::Consent;
use plenary_proto::time::SECOND;
use plenary_proto::{Event, PeerId, Time};

use crate::attackers;
use crate::dice::SmallDice;
use crate::oracle::{TruePeer, Truth, Value};
use crate::people::{Arrival, Devices, Group, draw, geography};
use crate::plan::{Delays, Kind, MediaModel, NetPlan, PeerPlan, RoomPlan, WorldPlan};
use crate::units::{Share, Span};
use crate::world::World;

/// Number of speakers in a drawn room.
const SPEAKERS: usize = 4;
/// Number of candidates that don't speak.
const OTHERS: usize = 46;
/// Number of viewers.
const AUDIENCE: usize = 60;
/// Time limit for the decision; an election that isn't decided by then has failed.
const DECIDED_US_MAX: u64 = 30 * SECOND;
/// Rates of one speaker's forwarded stream and of one mix-minus, bits per second; measured with the media
/// crate.
const SPEAKER_BPS: u64 = 700_000;
const MIX_MINUS_BPS: u64 = 64_000;
/// Frame interval of the program, microseconds.
const FRAME_US: u64 = SECOND / 30;
/// Possible percentages of a room's peers that are in the room's own region; the others are anywhere. A
/// guess: rooms of one city, of one continent, of the whole world.
const LOCALS: [u64; 4] = [100, 80, 50, 0];

/// An election's choice, and its value by the oracle.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Seed of the room.
    pub seed: u64,
    /// Elected mixers, by index in the plan; empty if the election failed.
    pub chosen: Vec<usize>,
    /// Lying peers, by index in the plan.
    pub liars: Vec<usize>,
    /// Value of the choice.
    pub value: Value,
    /// The best choice and its value: one mixer, or two where one doesn't suffice.
    pub best: (Vec<usize>, Value),
    /// Time from the opening to the decision, microseconds.
    pub decided_us: Option<u64>,
}

impl Judged {
    /// Whether the choice's value is within 5 % of the best choice's.
    pub fn is_close(&self) -> bool {
        self.value.is_within(5, &self.best.1)
    }
}

/// Draws the room of a seed, with the losses, jitter and pauses of `weather`.
pub fn drawn(seed: u64, weather: &NetPlan) -> WorldPlan {
    let mut dice = SmallDice::of(&[seed]);
    let home = dice.between(0, geography::REGIONS.len() as u64 - 1) as usize;
    let locals = LOCALS[dice.between(0, LOCALS.len() as u64 - 1) as usize];
    let group = |kind, count, within| Group {
        kind,
        count,
        sees: false,
        devices: Devices { phone: 3, laptop: 4, desktop: 2, server: 1 },
        nats: false,
        region: None,
        arrival: Arrival { within: Span(within), ..Arrival::default() },
        stay: None,
        polite: Share(0),
        refilled: false,
        stalls: None,
        machines: None,
        attack: None,
        one_line: false,
        clock_ppm: 0,
        pages: None,
    };
    let groups = [
        group(Kind::Speaker, SPEAKERS, SECOND / 2),
        group(Kind::Candidate, OTHERS, SECOND / 2),
        group(Kind::Viewer, AUDIENCE, 0),
    ];
    let mut peers = draw(&groups, Time(u64::MAX), seed);
    for peer in &mut peers {
        if dice.between(1, 100) <= locals {
            peer.place.region = home as u16;
        }
        match peer.kind {
            // one viewer joins, so that the stage expects an audience
            Kind::Viewer => peer.joins_at = Time(u64::MAX),
            _ => peer.consent = Consent::Always,
        }
    }
    peers[SPEAKERS + OTHERS].joins_at = Time(SECOND / 2);
    let net = NetPlan { delays: geography::delays(), ..weather.clone() };
    let room = RoomPlan { names: true, ..RoomPlan::DEFAULT };
    WorldPlan { room, net, media: MediaModel::default(), peers }
}

/// The true values of a plan with delays by region; `None` for other plans, since a world draws their delays.
pub fn truth_of(plan: &WorldPlan) -> Option<Truth> {
    let Delays::Regions(table) = &plan.net.delays else { return None };
    let way_us = |a: &PeerPlan, b: &PeerPlan| {
        let between = table.get(usize::from(a.place.region))?.get(usize::from(b.place.region))?;
        Some(u64::from(*between) + u64::from(a.place.last_mile_us) + u64::from(b.place.last_mile_us))
    };
    let ways = plan.peers.iter().flat_map(|a| plan.peers.iter().map(move |b| way_us(a, b)));
    Some(truth_with(plan, ways.collect::<Option<_>>()?))
}

/// The true values of a plan, given the delays of all pairs.
pub(crate) fn truth_with(plan: &WorldPlan, delays_us: Vec<u64>) -> Truth {
    let peer = |peer: &PeerPlan| TruePeer {
        up_bps: peer.access.up_bps,
        down_bps: peer.access.down_bps,
        encode_us: peer.encode_us.into(),
        decode_us: peer.decode_us.into(),
        consents: peer.consent != Consent::Never,
        speaks: peer.kind == Kind::Speaker,
        views: peer.kind == Kind::Viewer,
        children_max: if peer.relays { peer.children_max.into() } else { 0 },
    };
    Truth {
        peers: plan.peers.iter().map(peer).collect(),
        delays_us,
        k: plan.room.k.into(),
        k1: plan.room.k1.into(),
        program_bps: plan.room.program_bps.into(),
        speaker_bps: SPEAKER_BPS,
        mix_minus_bps: MIX_MINUS_BPS,
        frame_us: FRAME_US,
    }
}

/// Runs the opening election of a seed's room, and has the oracle judge it. `liars` is the share of the stage
/// that lies, as one group ([`attackers`]).
///
/// # Panics
/// Never: drawn rooms have delays by region, and a stage that consents.
pub fn judge(seed: u64, weather: &NetPlan, liars: Share) -> Judged {
    let plan = drawn(seed, weather);
    let truth = truth_of(&plan).expect("drawn rooms have delays by region");
    let liars = attackers::group(&plan, seed, liars);
    let mut world = World::new(plan, seed);
    attackers::set_on(&mut world, &liars);
    let (chosen, decided_us) = elected(&mut world);
    let chosen: Vec<usize> = chosen.iter().filter_map(|peer| world.planned_at(peer)).collect();
    let value = if chosen.is_empty() { Value::default() } else { truth.value_of(&chosen) };
    let best = truth.best().expect("everyone on a drawn stage consents");
    Judged { seed, chosen, liars, value, best, decided_us }
}

/// Runs a world until its host knows the outcome of the first election; returns the mixers and the time from
/// opening to decision.
fn elected(world: &mut World) -> (Vec<PeerId>, Option<u64>) {
    let host = world.planned(0);
    while world.now() < Time(DECIDED_US_MAX) {
        world.run_for(SECOND / 4);
        let mut opened = None;
        for (at, event) in world.events(host) {
            match event {
                Event::ElectionOpened { term: 1, .. } => opened = Some(*at),
                Event::Elected { mixers, .. } => {
                    return (mixers.clone(), opened.map(|opened| at.since(opened)));
                }
                _ => {}
            }
        }
    }
    (Vec::new(), None)
}
