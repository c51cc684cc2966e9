//! The oracle's judgement of a scenario.

use plenary_proto::{Event, PeerId, Time};
use serde::Deserialize;

use super::file::Scenario;
use crate::media::latencies_in_still_tree;
use crate::rooms::{judge, truth_of};
use crate::world::World;

/// Question for the oracle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Judged {
    /// Quality of the choice in an opening election. It is judged in a separate room, drawn by the seed of
    /// each run ([`rooms`](crate::rooms)), with the scenario's network impairments and share of liars.
    Election,
    /// Quality of the tree below the mixers of the scenario's first election. Requires delays by region.
    Tree,
}

/// The oracle's judgement of one run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Judgement {
    /// Whether the election's choice is within 5 % of the best; false if the election failed.
    pub(super) close: Option<bool>,
    /// Mean depth of the oracle's tree.
    pub(super) depth_mean: Option<f64>,
    /// Mean latency from the mixer to the viewers in the oracle's tree.
    pub(super) below_us_mean: Option<f64>,
    /// Mean latency by the oracle's model for the room's tree at the end of the run.
    pub(super) built_below_us_mean: Option<f64>,
    /// Mean latency of frames in the oracle's tree over the run's network.
    pub(super) in_weather_us_mean: Option<f64>,
}

impl Scenario {
    /// Has the oracle judge a world after its run, as the scenario requires.
    pub(super) fn judge(&self, world: &World) -> Judgement {
        match self.judged {
            None => Judgement::default(),
            Some(Judged::Election) => {
                let judged = judge(world.seed(), &world.plan().net, self.liars);
                Judgement { close: Some(judged.is_close()), ..Judgement::default() }
            }
            Some(Judged::Tree) => self.judge_tree(world).unwrap_or_default(),
        }
    }

    /// Judges the tree that the room has at the end, against the oracle's own tree below the same mixers,
    /// both without impairments; and sends the program down the oracle's tree with the impairments of the
    /// calm.
    fn judge_tree(&self, world: &World) -> Option<Judgement> {
        let (truth, chosen) = truth_of(world.plan()).zip(first_chosen(world))?;
        let best = truth.greedy_tree(&chosen);
        let mixing: Vec<usize> = world.mixers().iter().filter_map(|mixer| world.planned_at(mixer)).collect();
        let built = truth.tree_of(&mixing, &world.edges());
        let calm = (Time(self.storm.0), Time(self.storm.0 + self.calm.0));
        let in_weather = latencies_in_still_tree(world.plan(), world.seed(), &truth.edges(&best), calm);
        Some(Judgement {
            close: None,
            depth_mean: best.mean_depth(),
            below_us_mean: best.mean_below_us(),
            built_below_us_mean: built.mean_below_us(),
            in_weather_us_mean: Some(in_weather.mean_us() as f64),
        })
    }
}

/// Mixers chosen by the first election, by index in the plan.
fn first_chosen(world: &World) -> Option<Vec<usize>> {
    let chosen: &[PeerId] = world.events(world.planned(0)).iter().find_map(|(_, event)| match event {
        Event::Elected { mixers, .. } => Some(&**mixers),
        _ => None,
    })?;
    chosen.iter().map(|mixer| world.planned_at(mixer)).collect()
}
