//! Which outcomes, failovers and denials a peer takes, and in which order they may arrive.

use crate::ordered::OrderedMap;

use proptest::prelude::*;

use super::*;
use crate::bounded::List;
use crate::id::RoomId;
use crate::message::{ElectionReason, Entry, Roster};
use crate::outbox::Item;
use crate::samples::{self, candidate, key};
use crate::seal::Signature;

const ROOM: RoomId = RoomId([0; 16]);
const JUDGE: Judge = Judge { now: Time(0), hosts: false, absent: false };
/// Peers on stage, by the seeds of their keys.
const STAGE: std::ops::RangeInclusive<u8> = 1..=5;

fn roster() -> SignedRoster {
    let entries = STAGE.map(|seed| Entry { speaks: true, ..candidate(seed) });
    let roster = Roster { acting: Some(key(1).id()), ..samples::roster(entries) };
    Signed::new(&key(1), &ROOM, 1, 1, u64::MAX, roster).into()
}

/// A statement that a peer may receive.
#[derive(Clone, Debug)]
enum Said {
    Roster,
    Decided(Decided),
    Failover(Signed<Failover>),
    Alive(Signed<Alive>),
}

fn decided(term: u32, mixers: &[u8], standby: u8) -> Said {
    let ids = |seeds: &[u8]| List::truncated(seeds.iter().map(|seed| key(*seed).id()));
    let body = Outcome {
        term,
        reason: ElectionReason::Count,
        mixers: ids(mixers),
        uplinks_bps: List::truncated(mixers.iter().map(|_| 0)),
        standbys: ids(&[standby]),
        challenger: None,
        doubts: List::new(),
        evidence: [standby; 32],
    };
    let signatures =
        STAGE.take(3).map(|seed| (key(seed).id(), Decided::countersign(&key(seed), &ROOM, 1, &body)));
    Said::Decided(Decided { epoch: 1, signatures: List::truncated(signatures), body })
}

fn failover(by: u8, of: Failover) -> Said {
    Said::Failover(Signed::new(&key(by), &ROOM, 1, 0, u64::MAX, of))
}

/// The wish of a polite failover; the mandate doesn't verify signatures.
fn wish(polite: bool) -> Option<Box<Signature>> {
    polite.then(|| Box::new(Signature([0; 64])))
}

fn said() -> impl Strategy<Value = Said> {
    let rank = || (1..=2u32, 0..8u16).prop_map(|(term, failover_count)| Rank { term, failover_count });
    prop_oneof![
        (STAGE, rank(), 1..8u16, STAGE, any::<bool>()).prop_map(|(by, rank, before, over, polite)| {
            let after = Rank { failover_count: rank.failover_count.saturating_sub(before), ..rank };
            failover(by, Failover { rank, after, over: key(over).id(), wish: wish(polite) })
        }),
        (STAGE, rank(), 1..4u16, STAGE).prop_map(|(by, rank, later, successor)| {
            let denied = Rank { failover_count: rank.failover_count + later, ..rank };
            let successor = key(successor).id();
            Said::Alive(Signed::new(&key(by), &ROOM, 1, 0, u64::MAX, Alive { rank, denied, successor }))
        }),
    ]
}

/// One peer's view of the mandate.
#[derive(Default)]
struct Peer {
    out: Outbox,
    stage: Stage,
    mandate: Mandate,
}

impl Peer {
    fn hears(&mut self, said: &Said) {
        match said.clone() {
            Said::Roster => {
                self.stage.adopt(Time(0), roster());
                self.mandate.roster_changed(&mut self.out, &self.stage);
                while let Some(note) = self.out.notes.pop_front() {
                    if let Note::Decided(early, _) = note {
                        self.mandate.decide(&mut self.out, &self.stage, JUDGE, *early, Vec::new());
                    }
                }
            }
            Said::Decided(decided) => {
                self.mandate.decide(&mut self.out, &self.stage, JUDGE, decided, Vec::new());
            }
            Said::Failover(failover) => {
                self.mandate.failover(&mut self.out, failover);
            }
            Said::Alive(alive) => {
                self.mandate.alive(&mut self.out, alive);
            }
        }
    }

    /// Returns what the peer sends on a new link, in order.
    fn tells(&self) -> Vec<Said> {
        let decided = self.mandate.decided.iter().cloned().map(Said::Decided);
        let failovers = self.mandate.failovers.iter().cloned().map(Said::Failover);
        let alives = self.mandate.alives.iter().cloned().map(Said::Alive);
        [Said::Roster].into_iter().chain(decided).chain(failovers).chain(alives).collect()
    }

    fn holds(&self) -> (Rank, &[PeerId], &[PeerId]) {
        (self.mandate.rank, &self.mandate.mixers, &self.mandate.standbys)
    }
}

#[test]
fn an_outcome_by_the_host_s_word_alone_is_told_without_a_roster_size() {
    for knows_roster in [true, false] {
        let mut peer = Peer::default();
        if knows_roster {
            peer.hears(&Said::Roster);
        }
        let Said::Decided(outcome) = decided(1, &[1], 3) else { unreachable!() };
        let word = Confirmed::of(&outcome.body);
        peer.mandate.confirmed = Some(Signed::new(&key(1), &ROOM, 1, 1, u64::MAX, word));
        assert!(peer.mandate.decide(&mut peer.out, &peer.stage, JUDGE, outcome, Vec::new()));
        let size = peer.out.items.iter().find_map(|item| match item {
            Item::Do(crate::io::Output::Event(Event::Elected { roster, .. })) => Some(*roster),
            _ => None,
        });
        assert_eq!(size, Some(knows_roster.then_some(5)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn equal_statements_give_equal_mixers_in_any_order_and_number(
        said in prop::collection::vec(said(), 0..8),
        orders in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..24), 3),
    ) {
        let outcomes = [Said::Roster, decided(1, &[1, 2], 3), decided(2, &[2], 4), decided(2, &[4], 5)];
        let said: Vec<_> = outcomes.into_iter().chain(said).collect();
        let mut peers: Vec<Peer> = (0..3).map(|_| Peer::default()).collect();
        for (peer, order) in peers.iter_mut().zip(&orders) {
            order.iter().for_each(|at| peer.hears(at.get(&said)));
        }
        // Then links come up one after the other, until all peers know the same.
        for _ in 0..4 {
            for (from, to) in [(0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)] {
                let told = peers[from].tells();
                told.iter().for_each(|said| peers[to].hears(said));
            }
        }
        prop_assert_eq!(peers[0].holds(), peers[1].holds());
        prop_assert_eq!(peers[1].holds(), peers[2].holds());
    }

    #[test]
    fn everyone_at_one_rank_has_the_same_mixers_whoever_has_heard_what(
        mut said in prop::collection::vec(said(), 0..24),
        orders in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..40), 4),
    ) {
        // No peer signs a rank twice.
        let mut signed = crate::ordered::OrderedSet::new();
        said.retain(|said| match said {
            Said::Failover(of) => signed.insert((of.sender, of.body.rank)),
            _ => true,
        });
        let outcomes = [Said::Roster, decided(1, &[1, 2], 3), decided(2, &[2, 1], 4)];
        let said: Vec<_> = outcomes.iter().cloned().chain(said).collect();
        let mut at_rank = OrderedMap::new();
        for order in &orders {
            let mut peer = Peer::default();
            outcomes[..2].iter().for_each(|said| peer.hears(said));
            for at in order {
                peer.hears(at.get(&said));
                let (rank, mixers, standbys) = peer.holds();
                let held = (mixers.to_vec(), standbys.to_vec());
                let first = at_rank.entry(rank).or_insert_with(|| held.clone());
                prop_assert_eq!(&*first, &held, "{}", rank);
            }
        }
    }
}

#[test]
fn two_that_may_fail_over_never_declare_the_same_failover_count() {
    let mut peer = Peer::default();
    [Said::Roster, decided(1, &[1, 2], 3)].iter().for_each(|said| peer.hears(said));
    let next =
        |of: &Peer, seed: u8| of.mandate.next_failover(&key(seed).id()).map(|rank| rank.failover_count);
    assert_eq!([3, 1, 2, 4].map(|seed| next(&peer, seed)), [Some(1), Some(2), Some(3), None]);
    let (rank, after) = (Rank { term: 1, failover_count: 2 }, Rank { term: 1, failover_count: 0 });
    peer.hears(&failover(1, Failover { rank, after, over: key(2).id(), wish: None }));
    assert_eq!([3, 1, 2].map(|seed| next(&peer, seed)), [Some(4), Some(5), Some(3)]);
    assert_eq!(peer.mandate.mixers, [key(1).id()]);
    assert_eq!(peer.mandate.failover_count_after(&key(3).id(), u16::MAX), None);
}

#[test]
fn nobody_denies_a_failover_by_one_who_may_fail_over_from_none() {
    let mut peer = Peer::default();
    [Said::Roster, decided(1, &[1, 2], 3)].iter().for_each(|said| peer.hears(said));
    for (successor, counts) in [(5, false), (9, false), (3, true), (2, true)] {
        let rank = |failover_count| Rank { term: 1, failover_count };
        let alive = Alive { rank: rank(0), denied: rank(1), successor: key(successor).id() };
        let alive = Signed::new(&key(1), &ROOM, 1, 0, u64::MAX, alive);
        assert_eq!(peer.mandate.alive(&mut peer.out, alive), counts, "{successor}");
    }
    assert_eq!(peer.mandate.alives.len(), 2);
}

#[test]
fn what_followed_a_denied_failover_is_withdrawn_with_it_and_told() {
    let rank = |failover_count| Rank { term: 1, failover_count };
    let over = |by, failover_count, after, over: u8| {
        let (rank, after) = (rank(failover_count), rank(after));
        failover(by, Failover { rank, after, over: key(over).id(), wish: None })
    };
    let alive = Alive { rank: rank(0), denied: rank(1), successor: key(3).id() };
    let alive = Said::Alive(Signed::new(&key(1), &ROOM, 1, 0, u64::MAX, alive));
    let mut peer = Peer::default();
    // The standby fails over from both mixers. The second mixer's own failover over the first was never
    // in force here.
    [Said::Roster, decided(1, &[1, 2], 3), over(3, 1, 0, 1), over(3, 4, 1, 2), over(2, 3, 0, 1)]
        .iter()
        .for_each(|said| peer.hears(said));
    assert_eq!(peer.holds(), (rank(4), &[key(3).id()][..], &[][..]));
    peer.out.items.clear();
    peer.hears(&alive);
    assert_eq!(peer.holds().0, rank(3));
    let told = peer.out.items.iter().filter_map(|item| match item {
        Item::Do(Output::Event(event @ (Event::Withdrawn { .. } | Event::Failover { .. }))) => {
            Some(event.clone())
        }
        _ => None,
    });
    let withdrawn = |failover_count| Event::Withdrawn { rank: rank(failover_count), peer: key(3).id() };
    let anew = Event::Failover { rank: rank(3), peer: key(2).id(), polite: false };
    assert_eq!(told.collect::<Vec<_>>(), [withdrawn(4), withdrawn(1), anew]);
}

#[test]
fn a_denied_standby_takes_over_in_that_term_by_the_mixers_wish_alone() {
    let rank = |term, failover_count| Rank { term, failover_count };
    let failover = |rank: Rank, polite| {
        let after = Rank { failover_count: 0, ..rank };
        failover(3, Failover { rank, after, over: key(1).id(), wish: wish(polite) })
    };
    let alive = Alive { rank: rank(1, 0), denied: rank(1, 1), successor: key(3).id() };
    let alive = Said::Alive(Signed::new(&key(1), &ROOM, 1, 0, u64::MAX, alive));
    for (then, taken) in [
        (vec![], false),
        (vec![failover(rank(1, 3), false)], false),
        (vec![failover(rank(1, 3), true)], true),
        (vec![decided(2, &[1], 3), failover(rank(2, 1), false)], true),
    ] {
        let mut peer = Peer::default();
        let before = [Said::Roster, decided(1, &[1], 3), failover(rank(1, 1), false), alive.clone()];
        before.iter().chain(&then).for_each(|said| peer.hears(said));
        let mixer = if taken { 3 } else { 1 };
        assert_eq!(peer.mandate.mixers, [key(mixer).id()], "{then:?}");
    }
}
