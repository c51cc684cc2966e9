//! Rules that a world's brains and bodies break, so that the checkers can be shown to see it.

use std::collections::BTreeMap;

use plenary_proto::message::Message;
use plenary_proto::time::SECOND;
use plenary_proto::{Command, Event, Input, MixRole, Mutation, Output};

use crate::peer::Served;
use crate::world::{Happening, World};

/// A rule that a body breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It feeds nobody.
    IgnoresServe,
    /// It goes on feeding whom it is told to feed no more.
    IgnoresUnserve,
    /// Whenever it is told to feed somebody it feeds itself too.
    FeedsItself,
    /// It takes the program from a child of its own, which gives it.
    FedByItsChild,
    /// Once it mixes it does so for ever.
    MixesOn,
    /// It looks for another parent a second after it has found one.
    Restless,
    /// A second after it was told to feed a child its brain believes that the child has gone; it goes on feeding.
    ForgetsChildren,
}

/// Whoever breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faulty {
    /// Everyone's brain.
    Brains(Mutation),
    /// One peer's brain, by its place in the plan.
    Brain(usize, Mutation),
    /// Everyone's body.
    Bodies(Fault),
}

/// What is broken in a world.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    brains: Option<Mutation>,
    brain: BTreeMap<usize, Mutation>,
    bodies: Option<Fault>,
}

impl Faults {
    /// The rule that a brain breaks, by its place in the plan.
    pub(crate) fn of_brain(&self, planned: usize) -> Option<Mutation> {
        self.brain.get(&planned).copied().or(self.brains)
    }
}

impl World {
    /// Breaks a rule from now on; brains that are there already keep to it.
    pub fn break_rule(&mut self, faulty: Faulty) {
        match faulty {
            Faulty::Brains(mutation) => self.faults.brains = Some(mutation),
            Faulty::Brain(planned, mutation) => {
                self.faults.brain.insert(planned, mutation);
            }
            Faulty::Bodies(fault) => self.faults.bodies = Some(fault),
        }
    }

    /// What a body makes of what its brain says; `None`: nothing.
    pub(crate) fn misdo(&mut self, at: usize, output: Output) -> Option<Output> {
        match (self.faults.bodies, &output) {
            (Some(Fault::IgnoresServe), Output::Serve { .. }) => return None,
            (Some(Fault::IgnoresUnserve | Fault::ForgetsChildren), Output::Unserve(_)) => return None,
            (Some(Fault::ForgetsChildren), Output::Serve { peer, .. }) => {
                if let Some(from) = self.directory.find(peer) {
                    let gone = Happening::Control { to: at, from, message: Box::new(Message::Detach) };
                    self.push(self.now + SECOND, gone);
                }
            }
            (Some(Fault::MixesOn), Output::Role(role))
                if !matches!(role, MixRole::Mix { .. }) && self.peers[at].is_mixing() =>
            {
                return None;
            }
            (Some(Fault::FeedsItself), Output::Serve { .. }) => self.let_feed(at, at),
            (Some(Fault::FedByItsChild), Output::Watch { parent: Some(_), backup }) => {
                let backup = *backup;
                let served = &self.peers[at].served;
                let child = served.iter().find(|served| served.media).map(|served| served.child);
                if let Some(child) = child {
                    self.let_feed(child, at);
                    return Some(Output::Watch { parent: Some(self.peers[child].id), backup });
                }
            }
            (Some(Fault::Restless), Output::Event(Event::Parent(Some(_)))) => {
                let again = Input::Command(Command::ReconnectUpstream);
                self.push(self.now + SECOND, Happening::Input(at, Box::new(again)));
            }
            _ => {}
        }
        Some(output)
    }

    fn let_feed(&mut self, at: usize, child: usize) {
        let served = Served {
            child,
            media: true,
            in_tree: true,
            since: self.now,
            last_media: self.now,
            ..Served::default()
        };
        self.peers[at].serve(served);
    }
}
