//! Faults that a brain can be given, so that the simulator's checkers can be shown to see them.
//!
//! Each is a rule of the protocol that a brain no longer keeps. There is a way to set one only with the feature
//! `mutants`, which nothing but the simulator's tests turns on; without it the compiler drops all of this.

/// A rule that a brain breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(feature = "mutants"), expect(unreachable_pub, reason = "exported with the feature"))]
pub enum Mutation {
    /// A parent takes two children more than it may.
    TakesTooMany,
    /// Whoever is in our own branch will do as a backup, and whoever asks for one is promised.
    BacksUpInItsBranch,
    /// Nobody is promised anything, whatever is told upward.
    PromisesNothing,
    /// An outcome's mixers and standbys are confused.
    ConfusesOutcome,
    /// Any candidate takes over, and is believed.
    LetsAnyoneFailOver,
    /// An outcome that is known already is taken once more.
    RunsBack,
    /// The host signs changes of the stage under a number that is taken.
    ReusesEpochs,
    /// What is below is never told upward again once it was told.
    TellsOnce,
    /// Whoever follows a vote's outcome follows no later one.
    KeepsItsMixer,
    /// The host remembers when each viewer joined.
    RemembersTheAudience,
    /// It wants to be woken each millisecond, for nothing.
    NeverSleeps,
}

/// The rule that one brain breaks, if it does.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mutated(Option<Mutation>);

impl Mutated {
    /// Whether this brain breaks that rule: never in a build without the feature.
    pub(crate) fn is(self, mutation: Mutation) -> bool {
        cfg!(feature = "mutants") && self.0 == Some(mutation)
    }

    #[cfg(feature = "mutants")]
    pub(crate) fn by(mutation: Mutation) -> Mutated {
        Mutated(Some(mutation))
    }

    #[cfg(debug_assertions)]
    pub(crate) fn at_all(self) -> bool {
        cfg!(feature = "mutants") && self.0.is_some()
    }
}
