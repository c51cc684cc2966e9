//! Tests of the oracle: rooms with an obvious best choice, and small rooms in which all trees are tried.

use std::path::Path;

use plenary_sim::oracle::{TruePeer, Truth, best_tree};
use plenary_sim::plan::{Bursts, NetPlan};
use plenary_sim::rooms::judge;
use plenary_sim::units::Share;

const MBIT: u64 = 1_000_000;
const MS: u64 = 1_000;

/// A viewer at home.
const VIEWER: TruePeer = TruePeer {
    up_bps: 10 * MBIT,
    down_bps: 100 * MBIT,
    encode_us: 10 * MS,
    decode_us: 3 * MS,
    consents: false,
    speaks: false,
    views: true,
    children_max: 4,
};
const SPEAKER: TruePeer = TruePeer { speaks: true, views: false, ..VIEWER };
const CANDIDATE: TruePeer =
    TruePeer { up_bps: 100 * MBIT, encode_us: 4 * MS, consents: true, views: false, ..VIEWER };

/// A room with the same delay between all pairs of peers.
fn truth(peers: Vec<TruePeer>, delay_us: u64) -> Truth {
    let delays_us = vec![delay_us; peers.len() * peers.len()];
    Truth {
        peers,
        delays_us,
        k: 4,
        k1: 10,
        program_bps: 3 * MBIT / 2,
        speaker_bps: 700_000,
        mix_minus_bps: 64_000,
        frame_us: 33_333,
    }
}

fn set_delay(truth: &mut Truth, a: usize, b: usize, us: u64) {
    let len = truth.peers.len();
    (truth.delays_us[a * len + b], truth.delays_us[b * len + a]) = (us, us);
}

/// Random numbers from a seed (SplitMix64; Steele, Lea and Flood, 2014).
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// One mixer, one speaker, and viewers with various uplinks and delays; the mixer has room for two.
fn drawn(viewers: usize, seed: u64) -> Truth {
    let mut draw = Draw(seed);
    let mixer = TruePeer { up_bps: 4 * MBIT, ..CANDIDATE };
    let mut peers = vec![mixer, SPEAKER];
    peers.extend((0..viewers).map(|_| TruePeer { up_bps: MBIT + draw.below(12 * MBIT), ..VIEWER }));
    let mut truth = truth(peers, 0);
    for a in 0..truth.peers.len() {
        for b in 0..a {
            set_delay(&mut truth, a, b, 5 * MS + draw.below(115 * MS));
        }
    }
    truth
}

#[test]
fn the_oracle_knows_nothing_of_the_brain() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/oracle");
    let mut read = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for word in ["plenary_proto", "crate::", "score", "tally"] {
            assert!(!text.contains(word), "{} says {word}", path.display());
        }
        read += 1;
    }
    assert!(read >= 3, "{read} files");
}

#[test]
fn the_best_mixer_is_the_one_that_anyone_would_choose() {
    let near = |truth: &mut Truth, at: usize| {
        (0..truth.peers.len())
            .filter(|other| *other != at)
            .for_each(|other| set_delay(truth, at, other, 5 * MS));
    };
    type Change = fn(&mut TruePeer);
    let rows: [(&str, Change, bool); 5] = [
        ("nearer to everyone", |_| {}, true),
        ("near, but its uplink feeds nobody", |peer| peer.up_bps = MBIT, false),
        ("near, but it makes every third picture", |peer| peer.encode_us = 100 * MS, false),
        ("near, but it doesn't want to", |peer| peer.consents = false, false),
        ("near, but its uplink feeds one and no more", |peer| peer.up_bps = 5 * MBIT, false),
    ];
    for (what, change, wins) in rows {
        let mut peers = vec![SPEAKER, SPEAKER, CANDIDATE, CANDIDATE, CANDIDATE];
        peers.extend([TruePeer { up_bps: MBIT, ..VIEWER }; 9]);
        change(&mut peers[3]);
        let mut truth = truth(peers, 40 * MS);
        near(&mut truth, 3);
        let (best, value) = truth.best_one().unwrap();
        assert_eq!(best == [3], wins, "{what}: {best:?}, {value:?}");
    }
}

#[test]
fn a_second_mixer_pays_where_one_uplink_is_too_small() {
    let mut peers = vec![SPEAKER];
    peers.extend([TruePeer { up_bps: 7 * MBIT, ..CANDIDATE }; 3]);
    peers.extend([TruePeer { children_max: 0, ..VIEWER }; 6]);
    let mut truth = truth(peers, 20 * MS);
    assert_eq!(truth.best().unwrap().0.len(), 2);
    truth.peers[2].up_bps = 100 * MBIT;
    assert_eq!(truth.best().unwrap().0, [2]);
}

#[test]
fn what_is_within_five_percent_is_told_from_what_is_not() {
    let mut peers = vec![SPEAKER, CANDIDATE, CANDIDATE, CANDIDATE];
    peers.extend([VIEWER; 8]);
    let truth_with = |to_second_us: u64| {
        let mut truth = truth(peers.clone(), 40 * MS);
        (4..12).for_each(|viewer| set_delay(&mut truth, 2, viewer, to_second_us));
        truth.value_of(&[2])
    };
    let best = truth_with(40 * MS);
    for (to_second_us, within) in [(40 * MS, true), (43 * MS, true), (47 * MS, false), (400 * MS, false)] {
        let value = truth_with(to_second_us);
        assert_eq!(value.is_within(5, &best), within, "{to_second_us} us: {value:?}, the best {best:?}");
    }
}

#[test]
fn a_tree_of_equal_peers_is_as_flat_as_it_can_be() {
    for (viewers, k1) in [(4, 4), (10, 10), (50, 10), (84, 4), (210, 10), (800, 4), (1_000, 10)] {
        let mut peers = vec![SPEAKER, CANDIDATE];
        peers.extend(std::iter::repeat_n(VIEWER, viewers));
        let mut truth = truth(peers, 20 * MS);
        truth.k1 = k1;
        let tree = truth.greedy_tree(&[1]);
        assert_eq!(tree.places.iter().flatten().count(), viewers);
        let bound = (1..).find(|depth| 4_usize.pow(*depth) >= viewers).unwrap() as usize + 1;
        assert!(tree.depth_max() <= bound, "{viewers}: {} of {bound}", tree.depth_max());
        println!("{viewers} viewers, k1 {k1}: depth {}, mean {:?}", tree.depth_max(), tree.mean_depth());
    }
}

#[test]
fn a_tree_is_told_by_who_feeds_whom_and_is_worth_as_much_then() {
    for seed in 0..20 {
        let truth = drawn(12, seed);
        let tree = truth.greedy_tree(&truth.candidates()[..1]);
        let edges = truth.edges(&tree);
        assert_eq!(truth.tree_of(&truth.candidates()[..1], &edges), tree, "seed {seed}");
        // a peer without a parent, or in a circle of parents, isn't part of the tree
        let (first, last) = (edges[0].1, edges[edges.len() - 1].1);
        let lost = truth.tree_of(&truth.candidates()[..1], &[(first, last), (last, first)]);
        assert_eq!(lost.places.iter().flatten().count(), 0, "seed {seed}");
    }
}

#[test]
fn greed_comes_close_to_the_best_of_all_trees() {
    let mut gaps = Vec::new();
    for seed in 0..60 {
        let truth = drawn(5, seed);
        let greedy = truth.value_of(&[0]);
        let (best, _) = best_tree(&truth, &[0]);
        assert!(!greedy.beats(&best), "seed {seed}: {greedy:?} beats all trees, {best:?}");
        assert_eq!(greedy.in_time_ppm, best.in_time_ppm, "seed {seed}");
        gaps.push(greedy.latency_us_mean as f64 / best.latency_us_mean.max(1) as f64 - 1.0);
    }
    gaps.sort_by(f64::total_cmp);
    let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
    println!("greed over the best tree: mean +{:.1} %, worst +{:.1} %", 100.0 * mean, 100.0 * gaps[59]);
    assert!(mean < 0.05, "{mean}");
}

#[test]
fn drawn_rooms_elect_in_time_and_nearly_as_well_as_the_oracle() {
    const ROOMS: u64 = 5;
    let fair = NetPlan::drawn(0, 0, 5_000);
    // the limits must hold with 2 % packet loss: half of it is independent, half comes in bursts
    let foul =
        NetPlan { bursts: Some(Bursts::losing(10_000)), jitter_us: 10 * MS, ..NetPlan::drawn(0, 0, 10_000) };
    for weather in [fair, foul] {
        let judged: Vec<_> = (0..ROOMS).map(|seed| judge(seed, &weather, Share(0))).collect();
        for room in &judged {
            assert_eq!(room.chosen.len(), 1, "seed {}: {room:?}", room.seed);
            assert!(room.decided_us.unwrap() <= 12_000_000, "seed {}: {room:?}", room.seed);
            assert!(!room.value.beats(&room.best.1), "seed {}: better than the best: {room:?}", room.seed);
        }
        let close = judged.iter().filter(|room| room.is_close()).count();
        println!("{close} of {ROOMS} elections are within 5 % of the oracle's choice");
        assert!(close as u64 >= ROOMS - 1, "{close} of {ROOMS}: {judged:#?}");
    }
}
