//! Each checker detects the faults that it exists for: worlds in which a brain or a body violates one rule,
//! compared with the same worlds without a fault.

use plenary_proto::Mutation;
use plenary_proto::time::SECOND;
use plenary_sim::checkers::liveness;
use plenary_sim::faults::{Fault, Faulty};
use plenary_sim::storm::{Act, Storm, Whom, Wrong};
use plenary_sim::{MediaModel, NetPlan, PeerPlan, RoomPlan, World, WorldPlan};

/// A room with a tree of two branches, for storms in which the mixer and the relay with the most children
/// die.
fn storm(seed: u64, acts: &[(u64, Wrong)]) -> Storm {
    Storm {
        showed: String::new(),
        seed,
        speakers: 4,
        candidates: 3,
        viewers: 16,
        late: 3,
        k: 3,
        k1: 4,
        delay_ms_max: 40,
        loss_ppm: 5_000,
        bursts_ppm: 0,
        jitter_ms: 0,
        pauses_each_s: 0,
        devices: false,
        nats: false,
        clock_ppm: 0,
        mixers: 0,
        calm_ms: 20_000,
        acts: acts.iter().map(|(at_ms, wrong)| Act { at_ms: *at_ms, wrong: *wrong }).collect(),
    }
}

/// Seeds of the storms in which each mutant must be detected.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=6;

fn found(storm: &Storm, faulty: Option<Faulty>) -> Vec<&'static str> {
    println!("seed {}: {faulty:?}", storm.seed);
    let mut world = storm.world();
    faulty.into_iter().for_each(|faulty| world.break_rule(faulty));
    storm.run_in(&mut world);
    let mut checkers: Vec<_> = liveness(&world).iter().map(|violation| violation.checker).collect();
    checkers.sort_unstable();
    checkers.dedup();
    checkers
}

#[test]
fn each_checker_catches_its_mutant_and_nothing_where_there_is_none() {
    let deaths = [(10_000, Wrong::Kill(Whom::Mixer)), (14_000, Wrong::Kill(Whom::Relay))];
    let stall = [(12_000, Wrong::Stall(Whom::Relay, 2_500))];
    let deposed = [(12_000, Wrong::Stall(Whom::Mixer, 4_000))];
    type Acts<'a> = &'a [(u64, Wrong)];
    let rows: &[(&str, Faulty, Acts<'_>)] = &[
        ("capacity", Faulty::Brains(Mutation::TakesTooMany), &deaths),
        ("backup", Faulty::Brains(Mutation::BacksUpInItsBranch), &deaths),
        ("no-backup", Faulty::Brains(Mutation::PromisesNothing), &deaths),
        ("one-outcome", Faulty::Brain(2, Mutation::ConfusesOutcome), &deaths),
        ("right", Faulty::Brains(Mutation::LetsAnyoneFailOver), &deaths),
        ("monotone", Faulty::Brains(Mutation::RunsBack), &deaths),
        ("one-roster", Faulty::Brain(0, Mutation::ReusesEpochs), &deaths),
        ("counted", Faulty::Brains(Mutation::TellsOnce), &deaths),
        ("fed", Faulty::Bodies(Fault::IgnoresServe), &deaths),
        ("one-mixer-set", Faulty::Brain(9, Mutation::KeepsItsMixer), &deaths),
        ("one-parent", Faulty::Bodies(Fault::IgnoresUnserve), &stall),
        ("self-relay", Faulty::Bodies(Fault::FeedsItself), &deaths),
        ("no-cycle", Faulty::Bodies(Fault::FedByItsChild), &deaths),
        ("no-flapping", Faulty::Bodies(Fault::Restless), &stall),
        ("one-program", Faulty::Bodies(Fault::MixesOn), &deposed),
        ("restless", Faulty::Brain(2, Mutation::NeverSleeps), &[]),
        ("notes-end", Faulty::Brain(2, Mutation::NotifiesInCircles), &[]),
        ("both-ends-agree", Faulty::Bodies(Fault::ForgetsChildren), &[]),
    ];
    for (seed, acts) in SEEDS.flat_map(|seed| [&deaths[..], &stall, &deposed].map(|acts| (seed, acts))) {
        assert_eq!(found(&storm(seed, acts), None), [""; 0], "nobody breaks a rule");
    }
    let mut missed = Vec::new();
    for (checker, faulty, acts) in rows {
        // a mutant needn't show in every storm
        let mut caught = SEEDS.map(|seed| found(&storm(seed, acts), Some(*faulty)));
        if !caught.any(|caught| caught.contains(checker)) {
            missed.push((checker, faulty));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn a_room_in_which_nobody_gets_anywhere_is_found_to_be_dead() {
    let plan = WorldPlan {
        peers: PeerPlan::cast(2, 2, 3),
        net: NetPlan::drawn(3_600 * SECOND, 3_600 * SECOND, 0),
        room: RoomPlan::DEFAULT,
        media: MediaModel::Frame,
    };
    let mut world = World::new(plan, 1);
    world.run_for(60 * SECOND);
    let fed = liveness(&world).into_iter().filter(|violation| violation.checker == "fed");
    assert_eq!(fed.count(), 3, "all viewers");
}

#[test]
fn a_brain_that_grows_with_the_audience_is_caught_and_others_do_not() {
    let crowd = Storm { viewers: 150, ..storm(1, &[]) };
    assert_eq!(found(&crowd, None), [""; 0]);
    let faulty = Faulty::Brain(0, Mutation::RemembersTheAudience);
    assert_eq!(found(&crowd, Some(faulty)), ["bounded-memory"]);
}
