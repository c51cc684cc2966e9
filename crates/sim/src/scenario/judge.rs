//! What the oracle says of a scenario.

use plenary_proto::{Event, PeerId, Time};
use serde::Deserialize;

use super::file::Scenario;
use crate::media::latencies_in_still_tree;
use crate::rooms::{judge, truth_of};
use crate::world::World;

/// What the oracle is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Judged {
    /// How good the choice is of the opening election in the room of each seed that is drawn for that
    /// ([`rooms`](crate::rooms)): a room of its own beside the scenario's, in its weather and with as many liars.
    Election,
    /// How good the tree is below the mixers of the scenario's first election. It knows delays by region only.
    Tree,
}

/// What the oracle says of one run.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Judgement {
    /// The election's choice is within 5 % of the best; none was made: it isn't.
    pub(super) close: Option<bool>,
    /// Mean depth of the oracle's tree.
    pub(super) depth_mean: Option<f64>,
    /// From the mixer to the viewers in that tree, mean.
    pub(super) below_us_mean: Option<f64>,
    /// The same as the oracle reckons it for the tree that the room has at the end.
    pub(super) built_below_us_mean: Option<f64>,
    /// How late frames are in the oracle's tree in the network of the run, mean.
    pub(super) in_weather_us_mean: Option<f64>,
}

impl Scenario {
    /// Asks the oracle what the scenario wants to know of a world that has run.
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

    /// What its own tree below the same mixers is worth to the oracle, in fair weather and in that of the calm, and
    /// what the tree is that the room has at the end.
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

/// Whom the first election has chosen, by their places in the plan.
fn first_chosen(world: &World) -> Option<Vec<usize>> {
    let chosen: &[PeerId] = world.events(world.planned(0)).iter().find_map(|(_, event)| match event {
        Event::Decided { mixers, .. } => Some(&**mixers),
        _ => None,
    })?;
    chosen.iter().map(|mixer| world.planned_at(mixer)).collect()
}
