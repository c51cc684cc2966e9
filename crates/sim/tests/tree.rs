//! The tree: its depth, the time until newcomers see the program, and repair when peers above die.

use crate::support::seeds;
use plenary_proto::time::{MS, SECOND};
use plenary_proto::{PeerId, Time};
use plenary_sim::checkers::{liveness, safety};
use plenary_sim::plan::Kind;
use plenary_sim::scenario::Scenario;
use plenary_sim::{MediaModel, NetPlan, PeerPlan, RoomPlan, World, WorldPlan};

/// Time at which the audience joins: the stage has settled by then.
const AUDIENCE_AT: u64 = 8 * SECOND;

#[test]
fn three_hundred_that_come_at_once_see_within_two_seconds_in_a_flat_tree() {
    for seed in seeds(0..12) {
        let mut world = World::new(plan(300, 300 * MS, NetPlan::HOME), seed);
        run(&mut world, 18);
        let mut joins = world.join_us();
        joins.sort_unstable();
        assert_eq!(joins.len(), 300, "seed {seed}");
        assert!(joins[285] < SECOND && joins[299] < 2 * SECOND, "seed {seed}: {:?}", &joins[285..]);
        // 10 + 40 + 160 + 90 viewers need 4 levels; some go deeper, to places where the program arrives
        // sooner
        let below = world.depths().into_iter().filter(|depth| *depth > 4).count();
        assert!(below <= 9, "seed {seed}: {below} of 300 below the flattest tree");
        // log_4 300, rounded up, plus one
        assert!(world.depths().into_iter().max() <= Some(6), "seed {seed}");
        calm(&world);
    }
}

#[test]
fn peers_alike_in_calm_hang_at_most_a_level_deeper_than_they_need() {
    // each of these seeds but the last had 1 or 2 levels more when relays moved deeper for a nearer parent
    let rows = [(2, 60, 7, 9), (2, 60, 7, 12), (4, 150, 5, 5), (4, 150, 5, 9), (4, 250, 5, 12)];
    for (k, viewers, depth_max, seed) in rows {
        let text = format!(
            "title = 'alike'\nstorm = '20s'\ncalm = '60s'\n[room]\nk = {k}\nk1 = {k}\n\
             [[peers]]\nkind = 'candidate'\ncount = 3\n[[peers]]\nkind = 'speaker'\ncount = 2\n\
             [[peers]]\nkind = 'viewer'\ncount = {viewers}\n\
             arrival = {{ from = '1s', within = '10s', shape = 'crowd' }}\n"
        );
        let report = Scenario::read("alike", &text).unwrap().run(seed, 1);
        assert!(report.depth.max <= Some(depth_max), "seed {seed}: {k} {viewers}: {:?}", report.depth);
    }
}

#[test]
fn a_peer_that_can_feed_others_gets_a_place_though_all_are_taken() {
    for seed in seeds(0..4) {
        let mut plan = plan(24, 4 * SECOND, NetPlan::HOME);
        let viewers = plan.peers.iter_mut().filter(|peer| peer.kind == Kind::Viewer);
        viewers.take(14).for_each(|peer| peer.relays = false);
        let mut world = World::new(plan, seed);
        run(&mut world, 22);
        let waiting = world.viewers().into_iter().filter(|viewer| world.snapshot(*viewer).parent.is_none());
        assert_eq!(waiting.count(), 0, "seed {seed}");
        calm(&world);
    }
}

#[test]
fn a_late_relay_gets_a_place_and_feeds_the_orphans_of_a_dead_one() {
    for seed in seeds(0..4) {
        let mut plan = plan(18, 4 * SECOND, NetPlan::HOME);
        let late = plan.peers.len();
        let mut viewers = plan.peers.iter_mut().filter(|peer| peer.kind == Kind::Viewer);
        viewers.by_ref().take(14).for_each(|peer| peer.relays = false);
        viewers.skip(1).for_each(|peer| peer.joins_at = peer.joins_at + 30 * SECOND);
        let relay = late - 4;
        let mut world = World::new(plan, seed);
        run(&mut world, 20);
        world.kill(world.planned(relay));
        run(&mut world, 15);
        let waiting = |world: &World| {
            let viewers = world.viewers().into_iter();
            viewers.filter(|viewer| world.snapshot(*viewer).parent.is_none()).count()
        };
        assert!(waiting(&world) > 0, "seed {seed}: there is room for all");
        run(&mut world, 25);
        assert_eq!(waiting(&world), 0, "seed {seed}");
        calm(&world);
    }
}

#[test]
fn a_killed_parents_children_are_fed_again_within_300_ms_over_30_ms_links() {
    let net = NetPlan::drawn(30 * MS, 30 * MS, 5_000);
    let mut gaps = Vec::new();
    for seed in seeds(0..12) {
        let mut world = World::new(plan(40, SECOND, net.clone()), seed);
        run(&mut world, 20);
        for _ in 0..3 {
            let relay = busiest(&world);
            let below = world
                .viewers()
                .into_iter()
                .filter(|viewer| *viewer != relay && world.snapshot(*viewer).path.contains(&relay.short()));
            let below: Vec<_> = below.collect();
            let killed = world.now();
            world.kill(relay);
            run(&mut world, 4);
            gaps.extend(below.iter().map(|viewer| world.longest_gap_us(*viewer, killed - SECOND / 2)));
        }
        run(&mut world, 15); // the tree flattens again
        calm(&world);
    }
    gaps.sort_unstable();
    assert!(gaps.len() > 100, "{gaps:?}");
    assert!(gaps[gaps.len() * 95 / 100] < 300 * MS, "{gaps:?}");
}

#[test]
fn all_are_fed_in_three_seconds_after_half_of_the_top_has_died() {
    for seed in seeds(1..4) {
        let mut world = World::new(plan(100, SECOND, NetPlan::HOME), seed);
        run(&mut world, 20);
        let tiers = 2..=3;
        let top =
            world.viewers().into_iter().filter(|viewer| tiers.contains(&world.snapshot(*viewer).path.len()));
        let top: Vec<_> = top.collect();
        let killed = world.now();
        top.iter().step_by(2).for_each(|peer| world.kill(*peer));
        run(&mut world, 10);
        for viewer in world.viewers() {
            let gap = world.longest_gap_us(viewer, killed - SECOND / 2);
            assert!(gap < 3 * SECOND, "seed {seed}: {viewer:?} waited {gap} us");
        }
        run(&mut world, 30);
        let before = world.now();
        // three levels suffice: 10 + 40 + 25
        assert_eq!(world.depths().into_iter().max(), Some(3), "seed {seed}: {:?}", world.depths());
        assert!(world.depths().iter().filter(|depth| **depth == 3).count() < 30, "seed {seed}");
        run(&mut world, 5);
        for viewer in world.viewers() {
            let gap = world.longest_gap_us(viewer, before);
            assert!(gap < 250 * MS, "seed {seed}: {viewer:?} waited {gap} us in calm");
        }
        calm(&world);
    }
}

#[test]
fn a_peer_that_slept_sees_the_program_within_two_seconds_of_waking() {
    for seed in seeds(0..4) {
        let mut world = World::new(plan(60, SECOND, NetPlan::HOME), seed);
        run(&mut world, 20);
        let (relay, mixer) = (busiest(&world), world.mixers()[0]);
        for (sleeper, gap_us_max) in [(relay, 2 * SECOND), (mixer, u64::MAX)] {
            world.stall(sleeper, 30 * SECOND);
            run(&mut world, 30);
            let woke = world.now();
            run(&mut world, 6);
            let gap = world.longest_gap_us(sleeper, woke);
            assert!(sleeper == mixer || gap < gap_us_max, "seed {seed}: {gap} us after waking");
            calm(&world);
        }
        assert!(!world.snapshot(mixer).mixing, "seed {seed}: it mixes what is over");
        assert!(world.snapshot(mixer).children.is_empty(), "seed {seed}");
    }
}

#[test]
fn whoever_relays_learns_what_its_line_carries_and_feeds_no_more() {
    let lines_bps = [2_000_000, 4_000_000, 7_000_000, 12_000_000, 40_000_000];
    for seed in seeds(0..4) {
        let mut plan = plan(60, 4 * SECOND, NetPlan::HOME);
        let viewers = plan.peers.iter_mut().filter(|peer| peer.kind == Kind::Viewer);
        viewers.zip(lines_bps.iter().cycle()).for_each(|(peer, bps)| peer.access.up_bps = *bps);
        let lines_bps: Vec<_> = plan.peers.iter().map(|peer| peer.access.up_bps).collect();
        let mut world = World::new(plan, seed);
        run(&mut world, 20);
        for viewer in world.viewers() {
            let line_bps = lines_bps[(0..lines_bps.len()).find(|at| world.planned(*at) == viewer).unwrap()];
            let known_bps = world.snapshot(viewer).uplink_bps;
            let is_known = known_bps.is_some_and(|bps| bps >= line_bps / 2 && bps <= line_bps * 3 / 2);
            assert!(is_known, "seed {seed}: {known_bps:?} of {line_bps}");
        }
        calm(&world);
    }
}

#[test]
fn a_calm_tree_is_quiet_at_any_size() {
    let inputs_per_peer_s = |viewers: usize| {
        let mut world = World::new(plan(viewers, 2 * SECOND, NetPlan::HOME), 1);
        run(&mut world, 25);
        let (inputs, joined) = (world.inputs(), world.living().count() as u64);
        run(&mut world, 10);
        // the stage is 7 peers in every room
        (world.inputs() - inputs) * 100 / (10 * joined)
    };
    for viewers in [30, 300] {
        let inputs = inputs_per_peer_s(viewers);
        assert!(inputs <= 200, "{viewers} viewers: {inputs} inputs per 100 peer-seconds");
    }
}

/// Four speakers, three candidates, and viewers that join within a period.
fn plan(viewers: usize, within_us: u64, net: NetPlan) -> WorldPlan {
    let stage = [PeerPlan::SPEAKER; 4].into_iter().chain([PeerPlan::CANDIDATE; 3]).enumerate();
    let stage = stage.map(|(at, peer)| PeerPlan { joins_at: Time(at as u64 * 20 * MS), ..peer });
    let audience = (0..viewers as u64).map(|at| {
        let joins_at = Time(AUDIENCE_AT + at * within_us / viewers as u64);
        PeerPlan { joins_at, ..PeerPlan::VIEWER }
    });
    let peers = stage.chain(audience).collect();
    WorldPlan { room: RoomPlan::DEFAULT, net, media: MediaModel::Frame, peers }
}

fn busiest(world: &World) -> PeerId {
    let viewers = world.viewers().into_iter();
    viewers.max_by_key(|viewer| world.snapshot(*viewer).children.len()).unwrap()
}

fn run(world: &mut World, seconds: u64) {
    for _ in 0..seconds {
        world.run_for(SECOND);
        let violations = safety(world);
        assert!(violations.is_empty(), "seed {} at {}: {violations:?}", world.seed(), world.now());
    }
}

fn calm(world: &World) {
    let violations = liveness(world);
    assert!(violations.is_empty(), "seed {} at {}: {violations:#?}", world.seed(), world.now());
}
