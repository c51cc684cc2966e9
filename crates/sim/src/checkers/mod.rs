//! Judges of a world, apart from what they judge.
//!
//! They look at what bodies did: who sends media to whom, whom each watches as its parent, what was decided,
//! who died. A brain's own word is asked for only where nothing outside shows it (its mandate, its roster's
//! number, how much it holds). `Checkers` sees every change at the moment it happens; what two ends of a link
//! can't change at once is allowed for a bounded time, and each bound stands beside its checker.
//!
//! Safety holds at every step of any storm; [`liveness`] holds once nothing has gone wrong for a while.

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

/// Violations kept of one world; further ones are only counted: the first are what matters.
pub const VIOLATIONS_MAX: usize = 64;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When it was found, milliseconds of the world's time.
    pub at_ms: u64,
    /// Which checker found it.
    pub checker: &'static str,
    /// What it found.
    pub what: String,
}

/// Violations as they are found.
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

/// The safety checkers of one world, and what they have seen so far.
#[derive(Debug, Default)]
pub(crate) struct Checkers {
    feeding: Feeding,
    mandates: Mandates,
    programs: Programs,
    found: Found,
}

impl Checkers {
    /// Looks at the peers that have changed, and at what has lasted too long.
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

    /// When who feeds a peer changed last.
    pub(crate) fn fed_anew_at(&self, at: usize) -> Option<Time> {
        self.feeding.fed_anew_at(at)
    }

    pub(crate) fn found(&self) -> &[Violation] {
        &self.found.kept
    }
}

/// All that has been found so far of what must hold at every moment.
pub fn safety(world: &World) -> Vec<Violation> {
    world.violations().to_vec()
}
