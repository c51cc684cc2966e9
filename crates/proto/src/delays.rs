//! Delay estimation: one-way delays between the peers of a stage, from the round trips in a ballot's claims
//! and reports.
//!
//! Candidates are linked with each other and with some of the speakers, and claim the round trips of all
//! these links; measurers report their round trips to the candidates. Where both ends of a link state a round
//! trip, the longer one counts, so that no peer can make itself look near alone. A peer that states too
//! little compared with more than half of the other peers isn't believed at all.
//!
//! Third peers with known delays to both ends of a link bound its delay, about as well as the triangle
//! inequality holds in the internet:
//!
//! - Upper bound: no delay exceeds the sum of the two delays of a detour over a third peer. A quarter of the
//!   detours may be shorter than the one that counts, so that a wormhole between two liars doesn't make one
//!   of them look near to every peer.
//! - Lower bound: no delay is less than the difference of the two delays to a third peer. The difference is
//!   taken from the shorter statement on the longer delay and the longer statement on the shorter delay, so
//!   that no third peer can make an honest pair look far apart. So nearly the greatest difference counts, and
//!   two peers that lie for each other look as far apart as the honest peers near either of them state.
//!
//! A pair without a statement gets the midpoint of its bounds. All arithmetic is in integers, in the order of
//! the roster, so that every peer that recomputes a ballot gets the same result.

use crate::id::PeerId;
use crate::message::{Claim, Report, Roster, RoundTrip};
use crate::seal::Signed;

/// Assumed delay of a pair without statement or bounds: 100 ms, about the delay across an ocean. A guess.
const UNKNOWN_US: u64 = 100_000;
/// One in `BELOW` of a pair's detours may be shorter than the detour that counts, so that a group of a fifth
/// of the stage (the liars in the simulator) can't shorten any delay.
const BELOW: usize = 4;
/// One in `BEYOND` of a pair's differences may be greater than the difference that counts, because the
/// triangle inequality doesn't always hold.
const BEYOND: usize = 12;
/// Marker for an unknown delay: longer than any real delay, and the sum of two doesn't overflow.
const NONE_US: u64 = u64::MAX / 4;

/// One-way delays between all peers of a roster, in microseconds.
#[derive(Debug)]
pub(crate) struct Delays {
    peers: Vec<PeerId>,
    us: Vec<u64>,
}

impl Delays {
    /// Estimates the delays from the round trips that peers of the roster claim and report of each other; a
    /// round trip of 0 is unknown.
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

    /// Returns the mean delay from a peer to the given other peers; `None` if there are none.
    pub(crate) fn mean_us<'a>(&self, from: &PeerId, to: impl Iterator<Item = &'a PeerId>) -> Option<u64> {
        let place = |peer: &PeerId| self.peers.iter().position(|known| known == peer);
        let from = place(from)?;
        let others = to.filter_map(place).filter(|other| *other != from);
        let delays = others.map(|other| self.us[from * self.peers.len() + other]);
        let (sum, count) = delays.fold((0, 0), |(sum, count), us| (sum + us, count + 1));
        u64::checked_div(sum, count)
    }
}

/// Discards the statements of peers that state less than three quarters of the other end's figure towards
/// more than half of the other peers.
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

/// Returns all delays: stated values clamped to the bounds from third peers, or estimates from the bounds
/// alone.
fn completed(said: &[u64], n: usize) -> Vec<u64> {
    // the shorter and the longer statement of the two ends
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
    use crate::samples::{candidate, claim, key, roster};

    /// Delays between `peers` peers by these words: the stating peer, the other peer, the round trip in
    /// milliseconds.
    fn delays(peers: u8, words: &[(u8, u8, u32)]) -> Delays {
        let claims = (1..=peers).map(|by| {
            let own = words.iter().filter(|(of, ..)| *of == by);
            let round_trips = own.map(|(_, to, ms)| RoundTrip::new(&key(*to).id(), ms * 1_000));
            let claim = Claim { round_trips: List::truncated(round_trips), ..claim() };
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
        // two towns, 10 ms across and 100 ms apart
        let true_ms = |one: u8, other: u8| if (one <= 6) == (other <= 6) { 10 } else { 100 };
        let pairs = || (1..=12).flat_map(|one| (1..=12).map(move |other| (one, other)));
        // the liars state short round trips to every peer, or a long one to peer 3
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
        let round_trips = List::truncated([RoundTrip::new(&key(2).id(), 40_000)]);
        let claim = Claim { round_trips, ..claim() };
        let claim = Signed::new(&key(1), &RoomId([0; 16]), 1, 0, 0, claim);
        let delays = Delays::of(&roster, &[], &[claim]);
        assert_eq!(delays.mean_us(&key(1).id(), [key(2).id()].iter()), Some(UNKNOWN_US));
    }
}
