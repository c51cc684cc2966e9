//! How far the peers of a stage are from each other, by what a ballot's claims and reports say of round trips.
//!
//! Candidates are linked with each other and with some of the speakers, and claim the round trips of all these links;
//! measurers report those to the candidates. Where both ends of a link say something the longer counts, so nobody can
//! talk itself near alone; and whose words fall short of more than half of the others' isn't believed at all. All others who know
//! the delays to both ends know bounds, about as well as triangles hold in
//! the internet: a way is no longer than any detour, and no shorter than the difference of two that begin at one peer. Of
//! detours that one counts which only a quarter of these others go below: no wormhole between two liars makes one of
//! them everybody's neighbour. For a difference the shorter word of the longer way counts, and the longer word of the other: no third
//! peer can talk an honest pair apart, so nearly the greatest counts, and two that lie for each other are as far as
//! the honest ones near either see them. Pairs of which neither end says anything are in the middle between their bounds.
//! Integers, in the order of the roster: everyone who recomputes a ballot gets the same.

use crate::id::PeerId;
use crate::message::{Claim, Report, Roster, RoundTrip};
use crate::seal::Signed;

/// A way of which nothing is known: as long as one across an ocean.
const UNKNOWN_US: u64 = 100_000;
/// Of those who know a detour for a way one in so many goes below the one that counts: a group of a fifth of the
/// stage (the simulator's liars) moves none.
const BELOW: usize = 4;
/// Of those who know a difference for a way one in so many goes beyond the one that counts: triangles don't always hold.
const BEYOND: usize = 12;
/// No way is that long; a sum of two doesn't overflow.
const NONE_US: u64 = u64::MAX / 4;

/// One-way delays between all peers of a roster, microseconds.
#[derive(Debug)]
pub(crate) struct Delays {
    peers: Vec<PeerId>,
    us: Vec<u64>,
}

impl Delays {
    /// From the round trips that peers of the roster claim and report of each other; those of 0 aren't known.
    pub(crate) fn of(roster: &Roster, reports: &[Signed<Report>], claims: &[Signed<Claim>]) -> Delays {
        let peers: Vec<PeerId> = roster.entries.iter().map(|entry| entry.peer).collect();
        let n = peers.len();
        let place = |peer: &PeerId| peers.iter().position(|known| known == peer);
        let mut said = vec![NONE_US; n * n];
        let begins = |trip: &RoundTrip| {
            let mut alike = (0..n).filter(|at| trip.is_to(&peers[*at]));
            alike.next().filter(|_| alike.next().is_none())
        };
        let reported = reports
            .iter()
            .map(|report| (place(&report.sender), place(&report.body.candidate), report.body.rtt_us));
        let claimed = claims.iter().flat_map(|claim| {
            let one = place(&claim.sender);
            claim.body.round_trips.iter().map(move |trip| (one, begins(trip), trip.rtt_us()))
        });
        for (one, other, rtt_us) in reported.chain(claimed) {
            let (Some(one), Some(other)) = (one, other) else { continue };
            if one != other && rtt_us > 0 {
                let delay_us = u64::from(rtt_us / 2);
                let known = &mut said[one * n + other];
                *known = if *known == NONE_US { delay_us } else { delay_us.max(*known) };
            }
        }
        disbelieve(&mut said, n);
        Delays { us: completed(&said, n), peers }
    }

    /// Mean of the delays from a peer to those others; `None` when there are none.
    pub(crate) fn mean_us<'a>(&self, from: &PeerId, to: impl Iterator<Item = &'a PeerId>) -> Option<u64> {
        let place = |peer: &PeerId| self.peers.iter().position(|known| known == peer);
        let from = place(from)?;
        let others = to.filter_map(place).filter(|other| *other != from);
        let delays = others.map(|other| self.us[from * self.peers.len() + other]);
        let (sum, count) = delays.fold((0, 0), |(sum, count), us| (sum + us, count + 1));
        u64::checked_div(sum, count)
    }
}

/// Takes back the words of those that fall short of what more than half of the others say, by more than a quarter.
fn disbelieve(said: &mut [u64], n: usize) {
    let falls_short = |one: &usize| {
        let both = (0..n).map(|other| (said[one * n + other], said[other * n + one]));
        let short = both.filter(|(own, theirs)| *theirs != NONE_US && 4 * own < 3 * theirs);
        2 * short.count() >= n
    };
    let liars: Vec<usize> = (0..n).filter(falls_short).collect();
    for liar in liars {
        said[liar * n..(liar + 1) * n].fill(NONE_US);
    }
}

/// All delays, from what is said of some, held to the bounds that others know for them.
fn completed(said: &[u64], n: usize) -> Vec<u64> {
    // the shorter and the longer word of a way
    let words_of = |at: usize| match (said[at], said[at % n * n + at / n]) {
        (NONE_US, NONE_US) => None,
        (NONE_US, word) | (word, NONE_US) => Some((word, word)),
        (word, back) => Some((word.min(back), word.max(back))),
    };
    let words: Vec<_> = (0..n * n).map(words_of).collect();
    let mut delays = vec![0; n * n];
    let (mut detours, mut differences) = (Vec::with_capacity(n), Vec::with_capacity(n));
    for from in 0..n {
        for to in 0..from {
            detours.clear();
            differences.clear();
            for over in (0..n).filter(|over| *over != from && *over != to) {
                if let (Some(one), Some(other)) = (words[from * n + over], words[to * n + over]) {
                    detours.push(one.1 + other.1);
                    differences.push(one.0.saturating_sub(other.1).max(other.0.saturating_sub(one.1)));
                }
            }
            detours.sort_unstable();
            differences.sort_unstable_by(|a, b| b.cmp(a));
            let least = differences.get(differences.len() / BEYOND);
            let bounds = least.zip(detours.get(detours.len() / BELOW));
            let way = match (words[from * n + to], bounds) {
                (None, None) => UNKNOWN_US,
                (None, Some((least, most))) => (least + most) / 2,
                (Some((_, said)), None) => said,
                (Some((_, said)), Some((least, most))) => said.max(*least).min(*most),
            };
            (delays[from * n + to], delays[to * n + from]) = (way, way);
        }
    }
    delays
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounded::List;
    use crate::id::RoomId;
    use crate::samples::{candidate, key, roster};

    /// One-way delays between so many peers by these words: who says it, of whom, milliseconds of round trip.
    fn delays(peers: u8, words: &[(u8, u8, u32)]) -> Delays {
        let claims = (1..=peers).map(|by| {
            let own = words.iter().filter(|(of, ..)| *of == by);
            let round_trips = own.map(|(_, to, ms)| RoundTrip::new(&key(*to).id(), ms * 1_000));
            let claim = Claim {
                term: 1,
                encode_us: 1,
                decode_us: 1,
                uplink_bps_max: None,
                round_trips: List::truncated(round_trips),
            };
            Signed::new(&key(by), &RoomId([0; 16]), 1, 0, 0, claim)
        });
        Delays::of(&roster((1..=peers).map(candidate)), &[], &claims.collect::<Vec<_>>())
    }

    fn delay_ms(delays: &Delays, one: u8, other: u8) -> u64 {
        delays.mean_us(&key(one).id(), [key(other).id()].iter()).unwrap() / 1_000
    }

    #[test]
    fn what_two_ends_and_their_neighbours_say_of_a_way_gives_its_length() {
        for (words, expected, what) in [
            (&[(1, 2, 40)][..], 20, "one end's word is taken"),
            (&[(1, 2, 4), (2, 1, 40)], 20, "nobody talks itself near alone"),
            (&[(1, 2, 900), (2, 1, 40), (1, 3, 30), (2, 3, 30)], 30, "no way is longer than a detour"),
            (
                &[(1, 2, 4), (2, 1, 4), (1, 3, 10), (2, 3, 90)],
                40,
                "two that lie for each other come no nearer",
            ),
            (&[(1, 3, 30), (2, 3, 50)], 25, "between the detour and the difference"),
            (&[], 100, "of nothing nothing follows"),
            (&[(3, 4, 10)], 100, "nor of what others say of others"),
            (&[(1, 2, 0), (2, 1, 40)], 20, "no round trip takes no time"),
            (&[(2, 1, 60_000)], 819, "none is longer than a claim can say"),
        ] {
            assert_eq!(delay_ms(&delays(4, words), 1, 2), expected, "{what}");
        }
    }

    #[test]
    fn two_liars_of_twelve_dig_no_wormhole_and_talk_nobody_away() {
        let is_liar = |peer: u8| peer == 1 || peer == 12;
        // two towns, 10 ms across, 100 ms apart
        let true_ms = |one: u8, other: u8| if (one <= 6) == (other <= 6) { 10 } else { 100 };
        let pairs = || (1..=12).flat_map(|one| (1..=12).map(move |other| (one, other)));
        // they call everyone near; or one of their own town far
        for lies in [|_| Some(2), |other| (other == 3).then_some(1_000)] as [fn(u8) -> Option<u32>; 2] {
            let said = |(one, other)| {
                let lie = lies(other).filter(|_| is_liar(one));
                (one, other, lie.unwrap_or(true_ms(one, other)))
            };
            let delays =
                delays(12, &pairs().filter(|(one, other)| one != other).map(said).collect::<Vec<_>>());
            for (one, other) in pairs().filter(|(one, other)| one < other) {
                let (found, truth) = (delay_ms(&delays, one, other), u64::from(true_ms(one, other)) / 2);
                assert!(found.abs_diff(truth) <= 5, "{one} to {other}: {found} ms, not {truth}");
            }
        }
    }

    #[test]
    fn a_word_that_may_mean_two_peers_means_neither() {
        let mut roster = roster((1..=4).map(candidate));
        let mut twin = roster.entries[1].clone();
        twin.peer.0[31] ^= 1;
        roster.entries = List::truncated(roster.entries.iter().cloned().chain([twin]));
        let claim = Claim {
            term: 1,
            encode_us: 1,
            decode_us: 1,
            uplink_bps_max: None,
            round_trips: List::truncated([RoundTrip::new(&key(2).id(), 40_000)]),
        };
        let claim = Signed::new(&key(1), &RoomId([0; 16]), 1, 0, 0, claim);
        let delays = Delays::of(&roster, &[], &[claim]);
        assert_eq!(delays.mean_us(&key(1).id(), [key(2).id()].iter()), Some(UNKNOWN_US));
    }
}
