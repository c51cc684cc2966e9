//! Distribution of the program at each level of detail: its cost, its delivery, and the agreement of the
//! levels.

use crate::support::{calm, plan, run, run_on, seeds};
use plenary_proto::Time;
use plenary_proto::time::SECOND;
use plenary_sim::units::Share;
use plenary_sim::{MediaModel, NetPlan, World, WorldPlan};

/// A room simulated at this level.
fn at_level(media: MediaModel, loss_ppm: u32) -> WorldPlan {
    let plan = plan(3, 3, 30);
    WorldPlan { net: NetPlan::drawn(5_000, 40_000, loss_ppm), media, ..plan }
}

fn within_1s(world: &World) -> f64 {
    world.delivery().frames_within_1s.unwrap()
}

#[test]
fn all_levels_agree_on_what_gets_through_and_how_late_it_is() {
    for seed in seeds(0..4) {
        let of = |media| {
            let world = run(at_level(media, 10_000), seed, 20);
            calm(&world);
            world.delivery()
        };
        let [packet, frame, fluid] = [MediaModel::Packet, MediaModel::Frame, MediaModel::Fluid].map(of);
        for delivery in [&packet, &frame, &fluid] {
            let within = delivery.frames_within_1s.unwrap();
            assert!(within > 0.985, "seed {seed}: {delivery:#?}");
        }
        let median = |delivery: &plenary_sim::Delivery| delivery.latency_ms.unwrap().p50;
        for other in [&frame, &fluid] {
            // a frame of six packets waits for the last one: one in seventeen is late by a round trip
            let apart = median(&packet) / median(other);
            assert!((0.7..1.7).contains(&apart), "seed {seed}: {packet:#?} {other:#?}");
        }
    }
}

#[test]
fn a_packet_that_is_lost_is_sent_again_and_not_the_frame() {
    for seed in seeds(0..4) {
        let sent = |media| {
            let mut world = run(at_level(media, 0), seed, 8);
            let before = world.received();
            world.lose_from(world.now(), Share(50_000));
            run_on(&mut world, 10);
            let after = world.received();
            (after.frames_sent - before.frames_sent) as f64 / (after.frames - before.frames) as f64
        };
        let [packet, frame] = [MediaModel::Packet, MediaModel::Frame].map(sent);
        for overhead in [packet, frame] {
            assert!((1.03..1.12).contains(&overhead), "seed {seed}: {packet} and {frame}");
        }
    }
}

#[test]
fn a_line_too_narrow_for_the_program_lets_as_much_through_as_it_can() {
    for seed in seeds(0..4) {
        let mut plan = at_level(MediaModel::Fluid, 0);
        plan.net.queue_us_max = SECOND / 4; // with a longer queue all frames would be late
        let narrow = plan.peers.len() - 1;
        plan.peers[narrow].access.down_bps = u64::from(plan.room.program_bps) * 2 / 3;
        plan.peers[narrow].relays = false;
        let whole = run(at_level(MediaModel::Fluid, 0), seed, 20);
        let world = run(plan, seed, 20);
        let lost = within_1s(&whole) - within_1s(&world);
        // one of thirty viewers loses a third of its frames
        assert!((lost * 90.0 - 1.0).abs() < 0.1, "seed {seed}: {lost}");
    }
}

#[test]
fn rooms_are_followed_as_closely_as_their_size_allows() {
    for (viewers, level) in
        [(0, "packet"), (1_000, "packet"), (1_001, "frame"), (10_000, "frame"), (10_001, "fluid")]
    {
        assert_eq!(MediaModel::for_viewers(viewers).name(), level, "{viewers}");
    }
}

#[test]
fn a_viewer_that_comes_in_the_middle_of_a_frame_gets_all_of_it() {
    for seed in seeds(0..4) {
        let [packet, frame] = [MediaModel::Packet, MediaModel::Frame].map(|media| {
            let mut plan = at_level(media, 0);
            for (at, peer) in plan.peers.iter_mut().enumerate().skip(6) {
                peer.joins_at = Time(8 * SECOND + at as u64 * 3_701);
            }
            within_1s(&run(plan, seed, 12))
        });
        // each frame lost at one of thirty viewers would show as 0.03 %
        assert!(packet > frame - 0.001, "seed {seed}: {packet} and {frame}");
    }
}

#[test]
fn a_mixer_that_takes_over_sends_nothing_of_an_earlier_reign() {
    for seed in seeds(0..10) {
        // the acting mixer before the first election becomes the standby
        let mut world =
            run(WorldPlan { net: NetPlan::drawn(5_000, 40_000, 5_000), ..plan(4, 3, 24) }, seed, 12);
        world.kill(world.mixers()[0]);
        run_on(&mut world, 15);
        let latency_ms = world.delivery().latency_ms.unwrap();
        assert!(latency_ms.max < 2_000.0, "seed {seed}: {latency_ms:?}");
    }
}
