//! The peers of an exhibit: a stage on several continents, and an audience as the population of the regions.

use plenary_proto::Time;
use plenary_proto::time::{MS, SECOND};

use crate::dice::SmallDice;
use crate::people::{Arrival, Devices, Group, Shape, draw, geography};
use crate::plan::{Kind, MediaModel, NetPlan, PeerPlan, RoomPlan, WorldPlan};
use crate::units::{Share, Span};
use crate::world::World;

/// A continent.
#[derive(Clone, Copy, Debug)]
pub struct Continent {
    /// Its name.
    pub name: &'static str,
    /// Its regions, by name.
    regions: &'static [&'static str],
}

/// All continents with regions.
pub const CONTINENTS: [Continent; 5] = [
    Continent { name: "North America", regions: &["Virginia", "California"] },
    Continent { name: "South America", regions: &["São Paulo"] },
    Continent { name: "Europe", regions: &["Dublin", "Frankfurt"] },
    Continent { name: "Asia", regions: &["Tokyo", "Singapore"] },
    Continent { name: "Oceania", regions: &["Sydney"] },
];

/// Regions of the speakers, the host first, and of the candidates. The cutting off of any continent leaves a majority
/// of the stage together.
const SPEAKERS: [&str; 4] = ["Frankfurt", "Virginia", "Dublin", "Tokyo"];
const CANDIDATES: [&str; 6] = ["Virginia", "Frankfurt", "California", "Dublin", "Singapore", "São Paulo"];
/// Period within which the audience arrives, and its beginning: the stage comes first.
const ARRIVES_FROM_US: u64 = 500 * MS;
const ARRIVES_WITHIN_US: u64 = 6 * SECOND;
/// Bitrate of the program: one packet for nearly each picture. A browser simulates 200 bodies in real time so, packet
/// by packet, and at 1.5 Mbit/s it would need most of a core.
const PROGRAM_BPS: u32 = 250_000;
/// Independent loss on each path, per million packets.
const LOSS_PPM: u32 = 2_000;
/// Number of viewers that come at once later, and the period within which they do.
const NEWCOMERS: usize = 20;
const NEWCOMERS_WITHIN_US: u64 = SECOND;

/// The plan of a room with this number of peers.
pub(super) fn plan(seed: u64, count: usize) -> WorldPlan {
    let never = Time(u64::MAX / 2);
    let mut peers = Vec::new();
    for (at, region) in SPEAKERS.iter().enumerate() {
        peers.push(on_stage(Kind::Speaker, region, Time(at as u64 * 37 * MS)));
    }
    for (at, region) in CANDIDATES.iter().enumerate() {
        peers.push(on_stage(Kind::Candidate, region, Time((4 + at as u64) * 37 * MS)));
    }
    let within =
        Arrival { from: Span(ARRIVES_FROM_US), within: Span(ARRIVES_WITHIN_US), shape: Shape::Crowd };
    // the first person of a draw would be a host
    let audience = draw(&[audience(count - peers.len() + 1, within)], never, seed);
    peers.extend(audience.into_iter().skip(1));
    let net = NetPlan { delays: geography::delays(), jitter_us: 5 * MS, ..NetPlan::drawn(0, 0, LOSS_PPM) };
    let room = RoomPlan { program_bps: PROGRAM_BPS, ..RoomPlan::DEFAULT };
    WorldPlan { room, net, media: MediaModel::Packet, peers }
}

fn audience(count: usize, arrival: Arrival) -> Group {
    Group {
        kind: Kind::Viewer,
        count,
        sees: false,
        devices: Devices { phone: 2, laptop: 4, desktop: 3, server: 1 },
        nats: true,
        region: None,
        arrival,
        stay: None,
        polite: Share(0),
        refilled: false,
        stalls: None,
        machines: None,
        pages: None,
        attack: None,
        one_line: false,
        clock_ppm: 50,
    }
}

/// A peer on stage, with a public address.
fn on_stage(kind: Kind, region: &str, joins_at: Time) -> PeerPlan {
    let mut peer = PeerPlan { joins_at, ..PeerPlan::of(kind) };
    peer.place.region = geography::region(region).unwrap_or_default();
    peer.place.last_mile_us = (2 * MS) as u32;
    peer
}

/// Viewers that come within a second of `now`, and in front of them replacements of dead peers on stage.
pub(super) fn newcomers(
    speakers: usize,
    candidates: usize,
    now: Time,
    dice: &mut SmallDice,
) -> Vec<PeerPlan> {
    let mut peers = Vec::new();
    let missing = |all: &'static [&str], living: usize| all.iter().take(all.len().saturating_sub(living));
    for region in missing(&SPEAKERS, speakers) {
        peers.push(on_stage(Kind::Speaker, region, now));
    }
    for region in missing(&CANDIDATES, candidates) {
        peers.push(on_stage(Kind::Candidate, region, now));
    }
    let within = Arrival { from: Span(now.0), within: Span(NEWCOMERS_WITHIN_US), shape: Shape::Crowd };
    let viewers = draw(&[audience(NEWCOMERS + 1, within)], Time(u64::MAX / 2), dice.next());
    peers.extend(viewers.into_iter().skip(1));
    peers
}

/// Index of a region's continent.
pub(super) fn continent(region: u16) -> usize {
    let name = geography::REGIONS[usize::from(region)].name;
    CONTINENTS.iter().position(|continent| continent.regions.contains(&name)).unwrap_or_default()
}

/// Index of the continent of the peer at this index in the plan.
pub(super) fn continent_of(world: &World, planned: usize) -> usize {
    continent(world.plan().peers[planned].place.region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_region_lies_on_one_continent() {
        for region in geography::REGIONS {
            let on = CONTINENTS.iter().filter(|continent| continent.regions.contains(&region.name)).count();
            assert_eq!(on, 1, "{}", region.name);
        }
        let named = CONTINENTS.iter().flat_map(|continent| continent.regions);
        assert!(named.chain(&SPEAKERS).chain(&CANDIDATES).all(|name| geography::region(name).is_some()));
    }

    #[test]
    fn a_majority_of_the_stage_stays_together_when_any_continent_is_cut_off() {
        let plan = plan(1, 200);
        assert_eq!(plan.peers.len(), 200);
        let stage: Vec<usize> = plan.peers[..10].iter().map(|peer| continent(peer.place.region)).collect();
        for cut in 0..CONTINENTS.len() {
            assert!(2 * stage.iter().filter(|continent| **continent != cut).count() > stage.len(), "{cut}");
        }
    }
}
