//! Checkers of a world, independent of the code that they check.
//!
//! They judge by what bodies did: which peer sends media to which, which peer each watches as its parent,
//! what was decided, which peers died. A brain's own state is used only where nothing outside shows it (its
//! mandate, its roster's epoch, the size of its memory). `Checkers` sees every change at the moment it
//! happens. What the two ends of a link can't change simultaneously is tolerated for a bounded time; each
//! bound is stated with its checker.
//!
//! Safety holds at every step of any storm; [`liveness`] holds once there have been no faults for a while.

mod clocks;
mod feeding;
mod liveness;
mod mandates;
mod memory;
mod programs;
mod reach;

use plenary_proto::Time;

use crate::world::World;
use feeding::Feeding;
use mandates::Mandates;
use programs::Programs;

pub(crate) use liveness::STEADY_US;
pub use liveness::{CALM_US, liveness};
pub(crate) use liveness::{found_at_last, keep_lasting};

/// Maximum number of violations kept per world. Further ones are only counted, since the first matter most.
pub const VIOLATIONS_MAX: usize = 64;

/// A violated invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Time at which it was found, milliseconds of the world's time.
    pub at_ms: u64,
    /// Name of the checker that found it.
    pub checker: &'static str,
    /// Description of the violation.
    pub what: String,
}

/// Collected violations.
#[derive(Debug, Default)]
struct Found {
    kept: Vec<Violation>,
    count: u64,
}

impl Found {
    fn say(&mut self, now: Time, checker: &'static str, what: String) {
        self.count += 1;
        if self.kept.len() < VIOLATIONS_MAX {
            self.kept.push(Violation { at_ms: now.0 / 1000, checker, what });
        }
    }
}

/// The safety checkers of one world, and their state.
#[derive(Debug, Default)]
pub(crate) struct Checkers {
    feeding: Feeding,
    mandates: Mandates,
    programs: Programs,
    found: Found,
}

impl Checkers {
    /// Checks the peers that have changed, and conditions that have lasted too long.
    pub(crate) fn check(&mut self, world: &World, changed: &[usize]) {
        for at in changed {
            self.feeding.changed(world, *at, &mut self.found);
            self.mandates.changed(world, *at, &mut self.found);
            self.programs.changed(world, *at);
            memory::changed(world, *at, &mut self.found);
            clocks::changed(world, *at, &mut self.found);
        }
        self.feeding.time_passed(world, &mut self.found);
        self.programs.time_passed(world, &mut self.found);
    }

    /// When the set of peers that feed this peer last changed.
    pub(crate) fn fed_anew_at(&self, at: usize) -> Option<Time> {
        self.feeding.fed_anew_at(at)
    }

    pub(crate) fn found(&self) -> &[Violation] {
        &self.found.kept
    }
}

/// All safety violations found so far.
pub fn safety(world: &World) -> Vec<Violation> {
    world.violations().to_vec()
}
