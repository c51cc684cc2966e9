//! Runner for scenarios: each seed is a world of its own; they run in parallel on the available cores, and
//! are pooled into one report. The result doesn't depend on the number of cores.

use std::num::NonZero;
use std::thread;

use plenary_proto::time::{MS, SECOND};
use plenary_proto::{Command, PeerId, Time};

use super::act::{self, Action, Whom};
use super::file::Scenario;
use super::judge::Judgement;
use super::published::Published;
use super::stage::Stage;
use crate::arrivals::Latencies;
use crate::attackers;
use crate::checkers::{Violation, keep_lasting, liveness};
use crate::dice::SmallDice;
use crate::memory::allocated_bytes;
use crate::plan::PeerPlan;
use crate::report::{
    Delivery, Depth, Elections, Found, PagesSeen, Percentiles, Received, Report, rounded, share,
};
use crate::world::World;

/// Interval at which the stage is observed.
const LOOK_US: u64 = 500 * MS;
/// Interval at which the stage is observed while a partition heals.
const LOOK_CLOSELY_US: u64 = 50 * MS;
/// Time after a fault at which its effect on viewers is read, unless another fault comes first.
const REPAIR_US: u64 = 10 * SECOND;
/// Time before a fault within which a gap may have begun to be attributed to it: frames are 33 ms apart, and
/// have latency.
const BEFORE_US: u64 = SECOND;

/// Outcome of one seed.
#[derive(Default)]
struct Run {
    seed: u64,
    stage: Stage,
    received: Received,
    repairs_us: Vec<u64>,
    joins_us: Vec<u64>,
    pages: PagesSeen,
    depths: Vec<usize>,
    judgement: Judgement,
    /// Latencies from capture to arrival in the calm.
    calm: Latencies,
    published: Published,
    data_reached: (u64, u64),
    bytes: Option<u64>,
    inputs: u64,
    room_time_us: u64,
    stranded: usize,
    busiest_machine: Option<f64>,
    violations: Vec<Violation>,
    hash: String,
}

/// Single times of all runs of a scenario, from which its report computes medians and tails.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// Times from a fault to the next frame, for the viewers that it affected, microseconds.
    pub repairs_us: Vec<u64>,
    /// Times from joining to the first frame, microseconds.
    pub joins_us: Vec<u64>,
}

/// Viewers affected by a fault, until its effect on them is read.
struct Hit {
    at: Time,
    viewers: Vec<PeerId>,
}

impl Scenario {
    /// Runs the scenario with `runs` seeds, beginning with `seed`.
    pub fn run(&self, seed: u64, runs: u64) -> Report {
        self.measure(seed, runs).0
    }

    /// Runs the scenario like [`run`](Scenario::run), and also returns the single times behind the report.
    pub fn measure(&self, seed: u64, runs: u64) -> (Report, Samples) {
        let runs = runs.max(1);
        let cores = thread::available_parallelism().map_or(1, NonZero::get) as u64;
        let workers = cores.min(runs);
        let works = |worker: u64| {
            let seeds = (worker..runs).step_by(workers as usize);
            seeds.map(|nth| self.run_once(seed.wrapping_add(nth), false)).collect::<Vec<_>>()
        };
        let mut outcomes: Vec<Run> = thread::scope(|scope| {
            let works = &works;
            let workers: Vec<_> = (0..workers).map(|worker| scope.spawn(move || works(worker))).collect();
            let joined = workers.into_iter().map(|worker| worker.join());
            joined.flat_map(|runs| runs.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        outcomes.sort_by_key(|run| run.seed.wrapping_sub(seed));
        let all = |of: fn(&Run) -> &Vec<u64>| outcomes.iter().flat_map(of).copied().collect();
        let samples = Samples { repairs_us: all(|run| &run.repairs_us), joins_us: all(|run| &run.joins_us) };
        (self.report(seed, &outcomes, &samples), samples)
    }

    /// Runs the scenario with one seed; returns the violations that the checkers find. If `narrates` is set,
    /// all outputs of the brains are printed to stderr.
    pub(crate) fn violations(&self, seed: u64, narrates: bool) -> Vec<Violation> {
        self.run_once(seed, narrates).violations
    }

    fn report(&self, seed: u64, outcomes: &[Run], samples: &Samples) -> Report {
        let mut received = Received::default();
        outcomes.iter().for_each(|run| received.add(&run.received));
        let inputs: u64 = outcomes.iter().map(|run| run.inputs).sum();
        let room_time_s = outcomes.iter().map(|run| run.room_time_us).sum::<u64>() as f64 / SECOND as f64;
        let mut pages = PagesSeen::default();
        outcomes.iter().for_each(|run| pages.add(&run.pages));
        let depths: Vec<u64> =
            outcomes.iter().flat_map(|run| &run.depths).map(|depth| *depth as u64).collect();
        let mut hash = blake3::Hasher::new();
        outcomes.iter().for_each(|run| {
            hash.update(run.hash.as_bytes());
        });
        let judged = outcomes.iter().map(|run| run.judgement);
        let mut elections = Elections::pooled(outcomes.iter().map(|run| &run.stage));
        let close = judged.clone().filter_map(|judged| judged.close);
        elections.within_5pct_of_oracle =
            share(close.clone().filter(|close| *close).count() as u64, close.count() as u64);
        let mut delivery = Delivery::from(&received);
        let mut calm = Latencies::default();
        outcomes.iter().for_each(|run| calm.add_all(&run.calm));
        let below_us = mean(judged.clone().filter_map(|judged| judged.below_us_mean));
        let in_weather_us = mean(judged.clone().filter_map(|judged| judged.in_weather_us_mean));
        let built_us = mean(judged.clone().filter_map(|judged| judged.built_below_us_mean));
        let over = |us: f64, oracles: Option<f64>| oracles.map(|oracles| rounded(us / oracles));
        let calm_us = calm.mean_us() as f64;
        delivery.latency_over_oracle = over(calm_us, below_us);
        delivery.latency_over_oracle_in_weather = over(calm_us, in_weather_us);
        delivery.ways_over_oracle = built_us.and_then(|us| over(us, below_us));
        let told = outcomes.iter().map(|run| run.data_reached);
        delivery.data_reached = share(told.clone().map(|told| told.0).sum(), told.map(|told| told.1).sum());
        // with several worlds in the process, memory can't be attributed to one of them
        let bytes_per_peer = match outcomes {
            [alone] => alone.bytes.map(|bytes| bytes / self.people().max(1) as u64),
            _ => None,
        };
        let mut report = Report {
            scenario: self.name.clone(),
            title: self.title.clone(),
            seed,
            runs: outcomes.len() as u64,
            peers: self.people(),
            media_model: self.media_model().name(),
            room_time_s,
            inputs,
            inputs_per_peer_s: rounded(inputs as f64 / room_time_s / self.people() as f64),
            trace_hash: hash.finalize().to_hex().as_str()[..16].to_owned(),
            elections,
            delivery,
            repair_ms: Percentiles::of_us(samples.repairs_us.clone()),
            join_ms: Percentiles::of_us(samples.joins_us.clone()),
            depth: Depth {
                max: depths.iter().copied().max(),
                mean: share(depths.iter().sum(), depths.len() as u64),
                oracle_mean: mean(judged.clone().filter_map(|judged| judged.depth_mean)),
            },
            pages: pages.figures(outcomes.len() as u64),
            bytes_per_peer,
            targets: Vec::new(),
            busiest_machine: outcomes
                .iter()
                .filter_map(|run| run.busiest_machine)
                .reduce(f64::max)
                .map(rounded),
            stranded: outcomes.iter().map(|run| run.stranded).sum(),
            violations: outcomes.iter().flat_map(Run::found).collect(),
        };
        report.aim(&self.targets);
        report
    }

    fn run_once(&self, seed: u64, narrates: bool) -> Run {
        let plan = self.plan(seed);
        let cast = plan.peers.clone();
        let mut liars = attackers::group(&plan, seed, self.liars);
        liars.extend(attackers::planned(&plan));
        let before = allocated_bytes();
        let mut world = World::new(plan, seed);
        world.narrate(narrates);
        attackers::set_on(&mut world, &liars);
        let mut run = Run { seed, ..Run::default() };
        let mut script = self.script();
        for (at, act) in script.iter().rev() {
            if let Action::Loss(share) = self.acts[*act].action {
                world.lose_from(*at, share);
            }
        }
        let mut hit = None;
        let storm_end = Time(self.storm.0);
        let mut stormy = None;
        let end = Time(self.storm.0 + self.calm.0);
        while world.now() < end {
            let next_act = script.last().map_or(end, |(at, _)| *at);
            let look_us = if run.stage.is_healing() { LOOK_CLOSELY_US } else { LOOK_US };
            let mut until = end.min(next_act).min(world.now() + look_us);
            if stormy.is_none() && self.judged.is_some() {
                until = until.min(storm_end);
            }
            world.run_until(until);
            run.stage.observe(&world);
            if until == storm_end && self.judged.is_some() {
                stormy = Some(world.received().latencies);
            }
            hit = hit.and_then(|hit| run.read_off(&world, hit, until == next_act));
            while let Some((at, act)) = script.last().copied().filter(|(at, _)| *at <= until) {
                script.pop();
                let mut dice = SmallDice::of(&[seed, at.0, act as u64]);
                if let Some(now_hit) = self.acts[act].action.happen(&mut world, &cast, &mut dice, &mut run) {
                    hit = hit.and_then(|hit| run.read_off(&world, hit, true)).or(Some(now_hit));
                }
            }
        }
        if let Some(hit) = hit {
            run.read_off(&world, hit, true);
        }
        run.violations = liveness(&world);
        run.stranded = world.stranded().len();
        run.busiest_machine = world.busiest_machine();
        world.narrate_the_living();
        run.stage.close(world.now());
        run.bytes = allocated_bytes().zip(before).map(|(now, before)| now.saturating_sub(before) as u64);
        run.judgement = self.judge(&world);
        run.data_reached = run.published.reached(&world);
        run.joins_us = world.join_us();
        run.received = world.received();
        run.calm = run.received.latencies.since(&stormy.unwrap_or_default());
        run.depths = world.depths();
        run.pages = world.pages_seen();
        run.inputs = world.inputs();
        run.room_time_us = world.now().0;
        run.hash = world.trace_hash();
        keep_lasting(&mut world, &mut run.violations);
        run
    }

    /// The script's acts with their times, in reverse order of time.
    pub(super) fn script(&self) -> Vec<(Time, usize)> {
        let mut script = Vec::new();
        for (number, act) in self.acts.iter().enumerate() {
            let mut at = act.at.0;
            while at <= self.storm.0 {
                script.push((Time(at), number));
                let Some(each) = act.each else { break };
                at += each.0.max(1);
            }
        }
        script.sort_by_key(|what| std::cmp::Reverse(*what));
        script
    }
}

impl Run {
    /// The violations of the run, with its seed.
    fn found(&self) -> impl Iterator<Item = Found> {
        self.violations.iter().map(|Violation { at_ms, checker, what }| Found {
            seed: self.seed,
            at_ms: *at_ms,
            checker: (*checker).to_owned(),
            what: what.clone(),
        })
    }

    /// Reads the effect of a fault on viewers if it is time; otherwise returns the fault.
    fn read_off(&mut self, world: &World, hit: Hit, now: bool) -> Option<Hit> {
        if !now && world.now().since(hit.at) < REPAIR_US {
            return Some(hit);
        }
        let from = Time(hit.at.0.saturating_sub(BEFORE_US));
        let living: std::collections::BTreeSet<PeerId> = world.viewers().into_iter().collect();
        let hit = hit.viewers.iter().filter(|viewer| living.contains(viewer));
        self.repairs_us.extend(hit.map(|viewer| world.longest_gap_us(*viewer, from)));
        None
    }
}

impl Action {
    /// Carries out the action; returns the viewers below the affected peers.
    fn happen(
        &self,
        world: &mut World,
        cast: &[PeerPlan],
        dice: &mut SmallDice,
        run: &mut Run,
    ) -> Option<Hit> {
        let whom = match self {
            Action::KillRendezvous => {
                world.kill_rendezvous();
                return None;
            }
            Action::Heal => {
                world.heal();
                run.stage.heals(world);
                return None;
            }
            Action::Partition(share) => {
                let side = act::side(world, cast, *share, dice);
                cast.iter().enumerate().for_each(|(at, _)| run.stage.excuse(world.planned(at)));
                world.partition(&side);
                return None;
            }
            Action::Loss(_) => return None, // planned ahead
            Action::Promote(whom) | Action::Demote(whom) => {
                let up = matches!(self, Action::Promote(_));
                for peer in whom.choose(world, cast, dice) {
                    let command = if up { Command::Promote(peer) } else { Command::Demote(peer) };
                    world.command(world.planned(0), command);
                }
                return None;
            }
            Action::Tell(whom) => {
                let sources = whom.choose(world, cast, dice);
                sources.into_iter().for_each(|source| run.published.publish(world, source));
                return None;
            }
            Action::Stress(whom, last) => {
                // peers under stress are judged as usual
                let chosen = whom.choose(world, cast, dice);
                chosen.into_iter().for_each(|peer| world.stress(peer, last.0));
                return None;
            }
            Action::Kill(whom) | Action::Leave(whom) | Action::Stall(whom, _) | Action::Sleep(whom, _) => {
                whom
            }
        };
        let chosen = whom.choose(world, cast, dice);
        let viewers = below(world, &chosen, matches!(whom, Whom::Mixers));
        for peer in &chosen {
            run.stage.excuse(*peer);
            match self {
                Action::Leave(_) => world.leave(*peer),
                Action::Stall(_, last) => world.stall(*peer, last.0),
                Action::Sleep(_, last) => world.sleep(*peer, last.0),
                _ => world.kill(*peer),
            }
        }
        Some(Hit { at: world.now(), viewers })
    }
}

fn mean(values: impl Iterator<Item = f64> + Clone) -> Option<f64> {
    let count = values.clone().count();
    (count > 0).then(|| rounded(values.sum::<f64>() / count as f64))
}

/// Viewers that receive the program through these peers; all viewers if `all` is set, for mixers.
fn below(world: &World, above: &[PeerId], all: bool) -> Vec<PeerId> {
    let shorts: Vec<_> = above.iter().map(|peer| peer.short()).collect();
    let hit = |viewer: &PeerId| {
        let path = world.snapshot(*viewer).path;
        !above.contains(viewer) && (all || shorts.iter().any(|short| path.contains(short)))
    };
    world.viewers().into_iter().filter(hit).collect()
}

#[cfg(test)]
mod tests {
    use crate::scenario::Scenario;

    const SMALL: &str = "
        title = 'a mixer dies, then a relay each second'
        storm = '14s'
        calm = '6s'
        [[peers]]
        kind = 'speaker'
        count = 2
        [[peers]]
        kind = 'candidate'
        count = 3
        [[peers]]
        kind = 'viewer'
        count = 14
        arrival = { from = '500ms', within = '1s', shape = 'crowd' }
        [[acts]]
        at = '10s'
        kill = 'mixer'
        [[acts]]
        at = '12s'
        each = '1s'
        kill = 'parent'
        [[targets]]
        figure = 'repair_ms.max'
        at-most = 0.001
        [[targets]]
        figure = 'join_ms.p50'
        at-most = 60000.0
        [[targets]]
        figure = 'elections.within_5pct_of_oracle'
        at-least = 0.9
    ";

    #[test]
    fn a_run_is_the_same_alone_and_among_others_and_misses_are_shown() {
        let scenario = Scenario::read("small", SMALL).unwrap();
        let four = scenario.run(3, 4);
        assert_eq!((four.runs, four.peers, four.room_time_s), (4, 19, 80.0));
        assert!(four.violations.is_empty(), "seeds 3 to 6: {:?}", four.violations);
        let met: Vec<_> = four.targets.iter().map(|aim| aim.met).collect();
        assert_eq!(met, [Some(false), Some(true), None], "{:?}", four.targets);
        assert_eq!(four.elections.count, 8, "each an opening, and another after the mixer's death");
        assert_eq!(four.elections.false_declarations_per_24h, Some(0.0), "the mixers were dead");
        assert_eq!(scenario.run(3, 4).trace_hash, four.trace_hash);
        assert_ne!(scenario.run(4, 4).trace_hash, four.trace_hash);
        // 11 viewers are still alive at the end of each run
        assert_eq!(four.delivery.viewers_without_gap_500ms.map(|share| share <= 1.0), Some(true));
    }
}
