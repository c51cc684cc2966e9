//! Tests of the network model against its configured figures.

use plenary_proto::time::{MS, SECOND};

use super::*;
use crate::plan::Bursts;

const BYTES: usize = 1_200;

fn network(plan: NetPlan, ends: &[Access]) -> Network {
    let mut network = Network::new(&plan, 7);
    for access in ends {
        network.add(*access, Location::default());
    }
    network
}

fn wires(plan: NetPlan, count: usize) -> Network {
    network(plan, &vec![Access::WIRE; count])
}

/// Sends one packet each millisecond; returns their arrivals.
fn stream(network: &mut Network, packets: u64) -> Vec<Option<Time>> {
    (0..packets).map(|at| network.send(Time(at * MS), 0, 1, BYTES)).collect()
}

#[test]
fn independent_loss_is_as_asked() {
    for loss_ppm in [0, 5_000, 20_000, 50_000] {
        let arrivals = stream(&mut wires(NetPlan::drawn(MS, MS, loss_ppm), 2), 200_000);
        let lost = arrivals.iter().filter(|at| at.is_none()).count() as u32 * 5;
        assert!(lost.abs_diff(loss_ppm) <= loss_ppm / 20, "{lost} of {loss_ppm} ppm");
    }
}

#[test]
fn bursts_lose_what_was_asked_in_150_ms_at_a_time() {
    // here a burst loses everything, so that its length can be measured
    let bursts = Bursts { loss_ppm: 1_000_000, ..Bursts::losing(10_000) };
    let plan = NetPlan { bursts: Some(bursts), ..NetPlan::drawn(MS, MS, 0) };
    let arrivals = stream(&mut wires(plan, 2), 4_000_000);
    let lost = arrivals.iter().filter(|at| at.is_none()).count();
    let begun = arrivals.windows(2).filter(|two| two[0].is_some() && two[1].is_none()).count();
    let mean_ms = lost as f64 / begun as f64;
    assert!((140.0..160.0).contains(&mean_ms), "a burst lasts {mean_ms} ms");
    let share = lost as f64 / arrivals.len() as f64;
    assert!((0.018..0.022).contains(&share), "in a burst {share} of the time");
    // with a loss of half in bursts, the overall loss is as configured
    let plan = NetPlan { bursts: Some(Bursts::losing(10_000)), ..NetPlan::drawn(MS, MS, 0) };
    let arrivals = stream(&mut wires(plan, 2), 4_000_000);
    let share = arrivals.iter().filter(|at| at.is_none()).count() as f64 / arrivals.len() as f64;
    assert!((0.009..0.011).contains(&share), "{share} is lost");
}

#[test]
fn a_way_looked_at_seldom_is_as_bad_on_average_as_one_looked_at_often() {
    let plan = NetPlan { bursts: Some(Bursts::losing(50_000)), ..NetPlan::drawn(MS, MS, 0) };
    for each in [100 * MS, 10 * SECOND, 600 * SECOND] {
        let mut network = wires(plan.clone(), 2);
        let lost = (0..100_000).filter(|at| network.send(Time(at * each), 0, 1, 100).is_none()).count();
        assert!((4_500..5_500).contains(&lost), "{lost} of 100000 each {each} us");
    }
}

#[test]
fn a_line_carries_its_rate_and_drops_what_would_wait_too_long() {
    for (up_bps, down_bps) in [(2_000_000, 100_000_000), (100_000_000, 2_000_000)] {
        let slow = Access { up_bps, down_bps, ..Access::WIRE };
        let plan = NetPlan { queue_us_max: 250 * MS, ..NetPlan::drawn(10 * MS, 10 * MS, 0) };
        // the offered load is 9.6 Mbit/s
        let arrivals = stream(&mut network(plan, &[slow, slow]), 10_000);
        let bits = arrivals.iter().flatten().count() * BYTES * 8;
        assert!((1_950_000..2_060_000).contains(&(bits / 10)), "{} bit/s", bits / 10);
        let waits =
            arrivals.iter().enumerate().flat_map(|(at, there)| Some(there.as_ref()?.0 - at as u64 * MS));
        let longest = waits.max().unwrap();
        assert!((250 * MS..270 * MS).contains(&longest), "{longest} us under way");
    }
}

#[test]
fn peers_behind_one_line_share_it() {
    let shared = Access { up_bps: 4_000_000, line: Some(3), ..Access::WIRE };
    let mut network = network(NetPlan::drawn(MS, MS, 0), &[shared, shared, Access::WIRE]);
    let first = network.send(Time(0), 0, 2, 5_000).unwrap();
    let second = network.send(Time(0), 1, 2, 5_000).unwrap();
    assert!(second.since(first) >= 9 * MS, "{first} and {second}");
}

#[test]
fn packets_and_messages_keep_their_order() {
    let plan = NetPlan {
        jitter_us: 20 * MS,
        bursts: Some(Bursts::losing(20_000)),
        pauses: Some(Pauses { mean_gap_us: SECOND, ..Pauses::WIFI }),
        ..NetPlan::drawn(5 * MS, 40 * MS, 20_000)
    };
    let radio = Access { wireless: true, ..Access::WIRE };
    let mut network = network(plan, &[radio, radio]);
    let mut last = [Time(0); 2];
    let mut late = 0;
    for at in (0..20_000).map(|at| Time(at * 3 * MS)) {
        let arrivals = [network.send(at, 0, 1, BYTES), network.send_reliable(at, 0, 1, 200).ok()];
        assert!(arrivals[1].is_some(), "a reliable message is lost at {at}");
        for (last, there) in last.iter_mut().zip(arrivals) {
            let Some(there) = there else { continue };
            assert!(there >= *last && there >= at + 5 * MS, "{there} after {last}, sent at {at}");
            *last = there;
        }
        late += u32::from(arrivals[1].is_some_and(|there| there.since(at) > 3 * PROBE_US + 3 * 40 * MS));
    }
    assert!(late > 100, "only {late} messages had to be sent again");
}

#[test]
fn a_message_outlives_a_blackout_that_ends() {
    let mut network = wires(NetPlan::drawn(10 * MS, 10 * MS, 0), 2);
    network.plan_loss_ppm(Time(SECOND), 1_000_000);
    network.plan_loss_ppm(Time(2 * SECOND), 0);
    network.plan_loss_ppm(Time(10 * SECOND), 1_000_000);
    let through = network.send_reliable(Time(1_500 * MS), 0, 1, 200);
    assert_eq!(through, Ok(Time(2_510 * MS)), "the first repetition is there, a second later");
    let fails = network.send_reliable(Time(10 * SECOND), 0, 1, 200).unwrap_err();
    // 1 + 2 + 4 + 8 + 16 + 32 s, then a minute each
    assert_eq!(fails, Time((10 + 63 + 4 * 60) * SECOND));
    network.plan_loss_ppm(Time(20 * SECOND), 0);
    assert_eq!(network.send_reliable(Time(20 * SECOND), 0, 1, 200), Ok(fails), "nothing overtakes it");
}

#[test]
fn a_radio_pauses_as_often_and_as_long_as_asked() {
    let pauses = Pauses { mean_gap_us: 10 * SECOND, ..Pauses::WIFI };
    let plan = NetPlan { pauses: Some(pauses), ..NetPlan::drawn(MS, MS, 0) };
    let radio = Access { wireless: true, ..Access::WIRE };
    for (ends, pauses_most) in [([radio, Access::WIRE], 110), ([Access::WIRE, Access::WIRE], 0)] {
        let mut network = network(plan.clone(), &ends);
        let arrivals: Vec<_> = stream(&mut network, 1_000_000).into_iter().flatten().collect();
        assert_eq!(arrivals.len(), 1_000_000, "a pause loses nothing");
        let gaps = arrivals.windows(2).map(|two| two[1].since(two[0])).filter(|gap| *gap > 50 * MS);
        let gaps: Vec<_> = gaps.collect();
        assert!(gaps.len() <= pauses_most && gaps.len() + 20 >= pauses_most, "{} pauses", gaps.len());
        assert!(gaps.iter().all(|gap| (95 * MS..=505 * MS).contains(gap)), "{gaps:?}");
    }
}

#[test]
fn a_partition_parts_its_groups_until_it_heals() {
    let mut network = wires(NetPlan::drawn(MS, MS, 0), 5);
    network.partition(&[vec![0, 1], vec![2]]);
    for (a, b, reaches) in [(0, 1, true), (0, 2, false), (1, 3, false), (3, 4, true), (2, 4, false)] {
        assert_eq!(network.can_connect(a, b), reaches, "{a} to {b}");
        assert_eq!(network.send(Time(0), a, b, 10).is_some(), reaches, "{a} to {b}");
        assert_eq!(network.send(Time(0), b, a, 10).is_some(), reaches, "{b} to {a}");
    }
    network.heal();
    assert!(network.send(Time(0), 0, 2, 10).is_some());
}

#[test]
fn what_happens_on_one_way_does_not_depend_on_others() {
    let plan = NetPlan {
        bursts: Some(Bursts::losing(20_000)),
        jitter_us: 5 * MS,
        ..NetPlan::drawn(5 * MS, 40 * MS, 20_000)
    };
    let mut alone = wires(plan.clone(), 4);
    let mut busy = wires(plan, 4);
    let expected = stream(&mut alone, 5_000);
    let found: Vec<_> = (0..5_000)
        .map(|at| {
            // traffic between other ends
            busy.send(Time(at * MS), 2, 3, BYTES);
            busy.send(Time(at * MS), 3, 2, BYTES);
            busy.send(Time(at * MS), 0, 1, BYTES)
        })
        .collect();
    assert_eq!(expected, found);
}

#[test]
fn nothing_is_kept_of_a_way_that_is_forgotten() {
    let mut network = wires(NetPlan::HOME, 1_000);
    for to in 1..1_000 {
        network.send(Time(0), 0, to, 10);
        network.send_reliable(Time(0), to, 0, 10).unwrap();
        network.forget(to, 0);
    }
    assert!(network.ends.iter().all(|end| end.ways.is_empty()));
}

#[test]
fn holes_are_punched_but_between_the_worst_kinds_of_nat() {
    use Nat::{Cone, Open, PortRestricted, Symmetric};
    let kinds = [Open, Cone, PortRestricted, Symmetric];
    let fail = [(PortRestricted, Symmetric), (Symmetric, PortRestricted), (Symmetric, Symmetric)];
    for one in kinds {
        for other in kinds {
            assert_eq!(traverses(one, other), !fail.contains(&(one, other)), "{one:?} to {other:?}");
        }
    }
}

#[test]
fn distances_between_regions_are_those_of_the_table() {
    let plan = NetPlan {
        delays: Delays::Regions(vec![vec![500, 40_000], vec![40_000, 700]]),
        ..NetPlan::drawn(0, 0, 0)
    };
    let mut network = Network::new(&plan, 1);
    for (region, last_mile_us) in [(0, 3_000), (1, 4_000), (1, 5_000)] {
        network.add(Access::WIRE, Location { region, last_mile_us });
    }
    for (a, b, us) in [(0, 1, 47_000), (1, 0, 47_000), (1, 2, 9_700)] {
        assert_eq!(network.one_way_us(a, b), us);
    }
}
