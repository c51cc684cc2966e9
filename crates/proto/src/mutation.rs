//! Fault injection: protocol rules that a brain can be made to break, to show that the simulator's checkers
//! detect it.
//!
//! A mutation can be set only in builds with debug assertions, through the hidden `RoomState::mutate`, which the
//! simulator's tests alone call. From release builds the compiler removes this code.

/// A protocol rule that a brain breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(debug_assertions), expect(unreachable_pub, reason = "exported with debug assertions"))]
pub enum Mutation {
    /// A parent accepts two children above its maximum.
    TakesTooMany,
    /// The peer accepts a backup in its own branch, and reserves a slot for any peer that requests one.
    BacksUpInItsBranch,
    /// The peer reserves no slot for any backup, although its aggregates report reservations as free.
    PromisesNothing,
    /// The mixers and standbys of an outcome are swapped.
    ConfusesOutcome,
    /// Any candidate may fail over, and any peer accepts its failover.
    LetsAnyoneFailOver,
    /// An outcome of the term in force is applied again.
    RunsBack,
    /// The host signs a changed roster under the epoch of the last one.
    ReusesEpochs,
    /// The peer sends its aggregate once, and no changes of it.
    TellsOnce,
    /// The peer ignores every outcome after its first one.
    KeepsItsMixer,
    /// The host keeps the time at which each viewer joined.
    RemembersTheAudience,
    /// The peer goes on with peers that the host has removed as with members.
    KeepsTheRemoved,
    /// The peer takes each failover as one that the replaced mixer has asked for.
    BelievesAllWishes,
    /// The peer keeps the links over which it is flooded.
    EnduresFloods,
    /// The peer forwards envelopes along routes that name peers twice, and as many as come.
    ForwardsInCircles,
    /// The peer requests a timeout every millisecond without need.
    NeverSleeps,
    /// Machines notify each other in a cycle.
    NotifiesInCircles,
}

/// The rule that a brain breaks, if any.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mutated(Option<Mutation>);

impl Mutated {
    /// Whether this brain breaks that rule. Always false without debug assertions.
    pub(crate) fn is(self, mutation: Mutation) -> bool {
        cfg!(debug_assertions) && self.0 == Some(mutation)
    }

    #[cfg(debug_assertions)]
    pub(crate) fn by(mutation: Mutation) -> Mutated {
        Mutated(Some(mutation))
    }

    pub(crate) fn at_all(self) -> bool {
        cfg!(debug_assertions) && self.0.is_some()
    }
}
