//! Messages of failovers.

use super::Sender;
use crate::id::PeerId;
use crate::io::Output;
use crate::message::{Failover, FailoverMessage};
use crate::outbox::Note;
use crate::room::RoomState;
use crate::seal::Signed;

impl RoomState {
    pub(super) fn accepts_failover(&self, sender: Sender<'_>, message: &FailoverMessage) -> bool {
        match message {
            // a joiner that follows a denied failover shows it to the peer on stage that admits it
            FailoverMessage::Failover(_) => {
                sender.is_linked_or_on_stage() || self.shared.stage.contains(&self.shared.me)
            }
            FailoverMessage::Alive(_) => sender.is_linked_or_on_stage(),
            FailoverMessage::HearWanted { .. }
            | FailoverMessage::Heard { .. }
            | FailoverMessage::FailoverWanted { .. } => sender.is_on_stage,
        }
    }

    pub(super) fn on_failover(&mut self, from: PeerId, message: FailoverMessage) {
        match message {
            FailoverMessage::HearWanted { mixer } => {
                if self.shared.stage.contains(&from) {
                    self.shared.out.act(Output::AnswerHeard { to: from, mixer });
                }
            }
            FailoverMessage::Heard { mixer, silent_us } => {
                self.succession.heard(&self.shared.view(), from, mixer, silent_us);
            }
            FailoverMessage::Failover(failover) => self.on_declared(from, failover),
            FailoverMessage::Alive(alive) => {
                // a removed peer mixes no more, alive or not
                if !self.is_removed(&alive.sender) {
                    self.shared.out.note(Note::Alive(alive));
                }
            }
            FailoverMessage::FailoverWanted { rank, wish } => {
                self.succession.wanted(&mut self.shared.view(), from, rank, wish);
            }
        }
    }

    fn on_declared(&mut self, from: PeerId, failover: Signed<Failover>) {
        if let Some(alive) = self.shared.mandate.denial(&failover).cloned() {
            // the sender follows or forwards a failover that its mixer has denied
            self.shared.out.send(from, FailoverMessage::Alive(alive));
            return;
        }
        let mixing = self.mixing.has_program();
        let mine = self.succession.may_take(&mut self.shared.view(), &failover, mixing);
        let on_stage = self.shared.stage.contains(&self.shared.me);
        if mine && (on_stage || self.tree.believes(&self.shared.view(), from, &failover)) {
            self.shared.out.note(Note::Failover(failover));
        }
    }
}
