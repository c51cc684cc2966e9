//! What the oracle says of a scenario.

use plenary_proto::{Event, PeerId};
use serde::Deserialize;

use super::file::Scenario;
use crate::rooms::{judge_among_liars, truth_of};
use crate::world::World;

/// What the oracle is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Judged {
    /// How good the choice is of the opening election in the room of each seed that is drawn for that
    /// ([`rooms`](crate::rooms)): a room of its own beside the scenario's, with as many liars.
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
}

impl Scenario {
    /// Asks the oracle what the scenario wants to know of a world that has run.
    pub(super) fn judge(&self, world: &World) -> Judgement {
        match self.judged {
            None => Judgement::default(),
            Some(Judged::Election) => {
                let judged = judge_among_liars(world.seed(), self.liars);
                Judgement { close: Some(judged.is_close()), ..Judgement::default() }
            }
            Some(Judged::Tree) => {
                let tree = truth_of(world.plan()).zip(first_chosen(world));
                let tree = tree.map(|(truth, chosen)| truth.greedy_tree(&chosen));
                Judgement {
                    close: None,
                    depth_mean: tree.as_ref().and_then(|tree| tree.mean_depth()),
                    below_us_mean: tree.as_ref().and_then(|tree| tree.mean_below_us()),
                }
            }
        }
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
