//! Pages in browsers as relays beside native peers: what they forward and how late, how many children they take, and
//! what a viewer without a place is told.

use crate::support::{plan, run, run_on, seeds};
use plenary_proto::time::SECOND;
use plenary_proto::{Event, PeerId, Time};
use plenary_sim::plan::{Browser, PagePlan, Turns};
use plenary_sim::scenario::named;
use plenary_sim::{MediaModel, PeerPlan, World, WorldPlan};

/// A room with a mixer that feeds six, so many native relays, and pages behind them.
fn room(natives: usize, pages: usize, page: PagePlan) -> WorldPlan {
    let mut plan = plan(2, 2, natives + pages);
    let first = plan.peers.len() - pages;
    for (at, peer) in plan.peers.iter_mut().enumerate().skip(first) {
        peer.page = Some(page);
        peer.joins_at = Time(SECOND + at as u64 * SECOND / 10);
    }
    WorldPlan { media: MediaModel::Packet, ..plan }
}

fn pages(world: &World, plan: &WorldPlan) -> Vec<PeerId> {
    let of_pages = plan.peers.iter().enumerate().filter(|(_, peer): &(usize, &PeerPlan)| peer.page.is_some());
    of_pages.map(|(at, _)| world.planned(at)).collect()
}

#[test]
fn pages_relay_whole_frames_to_pages_and_native_peers() {
    for seed in seeds(0..3) {
        let plan = room(2, 24, PagePlan::RELAY);
        let world = run(plan.clone(), seed, 20);
        let relays =
            pages(&world, &plan).into_iter().filter(|page| !world.snapshot(*page).children.is_empty());
        assert!(relays.count() >= 3, "seed {seed}: the mixer and the natives have 12 places");
        let within = world.delivery().frames_within_1s.unwrap();
        assert!(within > 0.97, "seed {seed}: {within}");
    }
}

#[test]
fn pages_that_do_not_want_children_get_none() {
    for seed in seeds(0..3) {
        // the mixer feeds six, and one in the slot in reserve
        let plan = room(0, 12, PagePlan { browser: Browser::Firefox, ..PagePlan::RELAY });
        let world = run(plan.clone(), seed, 20);
        let pages = pages(&world, &plan);
        assert!(pages.iter().all(|page| world.snapshot(*page).children.is_empty()), "seed {seed}");
        let fed = |page: &&PeerId| world.snapshot(**page).parent.is_some();
        let told = |page: &&PeerId| {
            let times = world.events(**page).iter().filter(|(_, event)| *event == Event::NoPlace);
            times.count() == 1
        };
        let (fed, waiting): (Vec<_>, Vec<_>) = pages.iter().partition(fed);
        assert!((6..=7).contains(&fed.len()), "seed {seed}: {}", fed.len());
        assert!(waiting.iter().all(told) && !fed.iter().any(told), "seed {seed}");
    }
}

#[test]
fn pages_on_lines_too_narrow_for_a_child_soon_feed_none() {
    for seed in seeds(0..3) {
        let mut plan = room(2, 24, PagePlan::RELAY);
        let first = plan.peers.len() - 24;
        let narrow: Vec<usize> = (first..plan.peers.len()).step_by(3).collect();
        narrow.iter().for_each(|at| plan.peers[*at].access.up_bps = 900_000);
        let mut world = run(plan.clone(), seed, 30);
        let feed = |world: &World, narrow_ones: bool| {
            let of = pages(world, &plan).into_iter().zip(first..);
            let of = of.filter(|(_, at)| narrow.contains(at) == narrow_ones);
            of.map(|(page, _)| world.snapshot(page).children.len()).sum::<usize>()
        };
        assert!(feed(&world, true) <= 1, "seed {seed}: one may just be tried");
        assert!(feed(&world, false) >= 6, "seed {seed}: the mixer and the natives have 12 places");
        let before = world.delivery();
        run_on(&mut world, 20);
        assert!(before.frames_within_1s > Some(0.9), "seed {seed}: {before:?}");
        let viewers = world.viewers().into_iter();
        let waits = viewers.map(|viewer| world.longest_gap_us(viewer, Time(30 * SECOND)));
        assert!(waits.max() < Some(2 * SECOND), "seed {seed}");
    }
}

#[test]
fn a_page_whose_tab_is_hidden_hands_its_children_over_without_a_gap() {
    for seed in seeds(0..3) {
        let turns = Turns { shown_us: 4 * SECOND, hidden_us: 8 * SECOND, until: Time(25 * SECOND) };
        let plan = room(4, 16, PagePlan { turns: Some(turns), ..PagePlan::RELAY });
        let mut world = run(plan.clone(), seed, 25);
        run_on(&mut world, 15);
        let seen = world.pages_seen().figures(1).unwrap();
        assert!(seen.may_relay < Some(1.0), "seed {seed}: {seen:?}");
        for page in pages(&world, &plan) {
            let snapshot = world.snapshot(page);
            assert!(snapshot.parent.is_some(), "seed {seed}: {snapshot:?}");
        }
        assert!(seen.frames_within_1s > Some(0.97), "seed {seed}: {seen:?}");
    }
}

#[test]
fn a_room_of_pages_is_fed_while_a_tenth_of_it_comes_and_goes() {
    for seed in seeds(0..1) {
        println!("seed {seed}");
        let mut scenario = named("pages-500").unwrap().unwrap().with_audience(60).unwrap();
        (scenario.storm.0, scenario.calm.0) = (25 * SECOND, 10 * SECOND);
        let report = scenario.run(seed, 1);
        let pages = report.pages.unwrap();
        assert!(pages.without_place < Some(0.04) && pages.told.is_none_or(|told| told == 1.0), "{pages:?}");
        assert!(pages.frames_within_1s > Some(0.96), "seed {seed}: {pages:?}");
        assert!(report.violations.is_empty(), "seed {seed}: {:?}", report.violations);
    }
}
