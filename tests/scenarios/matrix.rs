//! All pairs of nine places: which are linked directly, and which through another member.

use std::collections::{BTreeMap, BTreeSet};

use libtest_mimic::Failed;

use crate::nats::speak;
use crate::network::Network;

pub(crate) const HOST: &str = "open1";
pub(crate) const PLACES: [&str; 8] =
    ["open2", "full", "restricted", "port_restricted", "symmetric1", "symmetric2", "family1", "family2"];

type Pair = BTreeSet<&'static str>;

/// Rooms of a host and three speakers, in which each two places meet once at least.
fn rooms() -> Vec<[&'static str; 3]> {
    let pairs = |room: &[&'static str]| -> BTreeSet<Pair> {
        let of = |one: &'static str| room.iter().map(move |other| Pair::from([one, *other]));
        room.iter().copied().flat_map(of).filter(|pair| pair.len() == 2).collect()
    };
    let mut left = pairs(&PLACES);
    let mut rooms = Vec::new();
    while !left.is_empty() {
        // all sets of three places, in the order of the places
        let threes = PLACES.iter().enumerate().flat_map(|(one, first)| {
            let others = PLACES.iter().enumerate().skip(one + 1);
            others.flat_map(move |(other, second)| {
                PLACES.iter().skip(other + 1).map(move |third| [*first, *second, *third])
            })
        });
        let Some(best) = threes.max_by_key(|room| pairs(room).intersection(&left).count()) else { break };
        left = &left - &pairs(&best);
        rooms.push(best);
    }
    rooms
}

/// Of 36 pairs 29 are linked directly, seven through the host, and none not at all: two symmetric NATs, and a symmetric
/// one with a port-restricted one.
pub(crate) fn pairs() -> Result<(), Failed> {
    let Some(network) = Network::of("nat-matrix")? else { return Ok(()) };
    let mut ways: BTreeMap<Pair, String> = BTreeMap::new();
    for room in rooms() {
        let speakers = speak(&network, HOST, &[], &[], &room, 7)?;
        let place = |peer: &str| {
            let found = speakers.iter().position(|speaker| speaker.report["peer"] == peer);
            found.map_or(HOST, |at| room[at])
        };
        for (speaker, at) in speakers.iter().zip(room) {
            for link in speaker.report["links"].as_array().into_iter().flatten() {
                let other = place(link["peer"].as_str().unwrap_or_default());
                let way = link["way"].as_str().unwrap_or_default().to_owned();
                ways.entry(Pair::from([at, other])).or_insert(way);
            }
        }
    }
    let hard = |place: &str| place.starts_with("family") || place == "port_restricted";
    let mut wrong = Vec::new();
    for (pair, way) in &ways {
        let symmetric = pair.iter().filter(|place| place.starts_with("symmetric")).count();
        let is_parted = symmetric == 2 || (symmetric == 1 && pair.iter().any(|place| hard(place)));
        println!("| {pair:?} | {way} |");
        if (way == "carried") != is_parted {
            wrong.push(format!("{pair:?} {way}"));
        }
    }
    let of = |wanted: &str| ways.values().filter(|way| **way == wanted).count();
    println!("| nat-matrix | {} direct, {} carried, {} none |", of("direct"), of("carried"), 36 - ways.len());
    if wrong.is_empty() && ways.len() == 36 { Ok(()) } else { Err(format!("{wrong:?} of {ways:?}").into()) }
}
