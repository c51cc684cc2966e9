//! Faults that are injected into a world's brains and bodies, to prove that the checkers detect them.

use std::collections::BTreeMap;

use plenary_proto::message::{Message, TreeMessage};
use plenary_proto::time::SECOND;
use plenary_proto::{Command, Event, Input, MixRole, Mutation, Output};

use crate::peer::Served;
use crate::world::{Happening, World};

/// A rule that a body violates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It feeds no child.
    IgnoresServe,
    /// It goes on feeding children that its brain has stopped serving.
    IgnoresUnserve,
    /// Whenever its brain serves a child it also feeds itself.
    FeedsItself,
    /// It takes the program from one of its own children, which feeds it.
    FedByItsChild,
    /// Once it mixes, it never stops.
    MixesOn,
    /// It searches for another parent a second after it has found one.
    Restless,
    /// A second after its brain has started to serve a child, the brain is made to believe that the child has
    /// left; the body goes on feeding it.
    ForgetsChildren,
}

/// Where a fault is injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faulty {
    /// Into all brains.
    Brains(Mutation),
    /// Into one peer's brain, by index in the plan.
    Brain(usize, Mutation),
    /// Into all bodies.
    Bodies(Fault),
}

/// The faults injected into a world.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    brains: Option<Mutation>,
    brain: BTreeMap<usize, Mutation>,
    bodies: Option<Fault>,
}

impl Faults {
    /// The fault of a brain, by index in the plan.
    pub(crate) fn of_brain(&self, planned: usize) -> Option<Mutation> {
        self.brain.get(&planned).copied().or(self.brains)
    }
}

impl World {
    /// Injects a fault. For brains it affects only peers that join later.
    ///
    /// # Panics
    /// If the fault is one of bodies and the world drives real ones.
    pub fn break_rule(&mut self, faulty: Faulty) {
        match faulty {
            Faulty::Brains(mutation) => self.faults.brains = Some(mutation),
            Faulty::Brain(planned, mutation) => {
                self.faults.brain.insert(planned, mutation);
            }
            Faulty::Bodies(fault) => {
                assert!(!self.has_bodies(), "real bodies have no such faults");
                self.faults.bodies = Some(fault);
            }
        }
    }

    /// Distorts an output of a brain according to the body's fault; `None` suppresses it.
    pub(crate) fn misdo(&mut self, at: usize, output: Output) -> Option<Output> {
        match (self.faults.bodies, &output) {
            (Some(Fault::IgnoresServe), Output::Serve { .. }) => return None,
            (Some(Fault::IgnoresUnserve | Fault::ForgetsChildren), Output::Unserve(_)) => return None,
            (Some(Fault::ForgetsChildren), Output::Serve { peer, .. }) => {
                if let Some(from) = self.directory.find(peer) {
                    let gone = Happening::Control {
                        to: at,
                        from,
                        message: Box::new(Message::Tree(TreeMessage::Detach)),
                    };
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
            (Some(Fault::Restless), Output::Event(Event::Parent { peer: Some(_) })) => {
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
