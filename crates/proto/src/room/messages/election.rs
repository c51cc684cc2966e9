//! Messages of the election.

use super::Sender;
use crate::id::PeerId;
use crate::message::ElectionMessage;
use crate::outbox::Note;
use crate::room::RoomState;

impl RoomState {
    pub(super) fn accepts_election(&self, sender: Sender<'_>, message: &ElectionMessage) -> bool {
        match message {
            ElectionMessage::Decided(_) | ElectionMessage::Confirmed(_) => sender.is_linked_or_on_stage(),
            ElectionMessage::Ballot(ballot) => {
                sender.is_on_stage && ballot.sender == *sender.peer && self.election.awaits_ballot(ballot)
            }
            ElectionMessage::Lacking { term, .. } => sender.is_on_stage && self.election.is_opener_of(*term),
            // from any peer of the sender's subtree
            ElectionMessage::Suffering(_) => true,
            ElectionMessage::Opening(_)
            | ElectionMessage::Claim(_)
            | ElectionMessage::Report(_)
            | ElectionMessage::PreVoteWanted { .. }
            | ElectionMessage::PreVote { .. }
            | ElectionMessage::Vote { .. }
            | ElectionMessage::Trouble { .. } => sender.is_on_stage,
        }
    }

    pub(super) fn on_election(&mut self, from: PeerId, message: ElectionMessage) {
        match message {
            ElectionMessage::Claim(claim) => {
                self.probe.claimed(&claim);
                self.election.claim(&self.shared.view(), claim);
            }
            ElectionMessage::Report(report) => self.election.report(&self.shared.view(), report),
            ElectionMessage::PreVoteWanted { epoch, need } => {
                self.election.pre_vote_wanted(&mut self.shared.view(), from, epoch, need);
            }
            ElectionMessage::PreVote { epoch, term, signature } => {
                self.election.pre_vote(&self.shared.view(), from, epoch, term, signature);
            }
            ElectionMessage::Opening(opening) => self.election.opening(&mut self.shared.view(), *opening),
            ElectionMessage::Ballot(ballot) => self.election.ballot(&mut self.shared.view(), *ballot),
            ElectionMessage::Vote { term, ballot, signature } => {
                self.election.vote(&mut self.shared.view(), from, term, ballot, signature);
            }
            ElectionMessage::Lacking { term, reports, claims } => {
                self.election.lacking(&mut self.shared.view(), from, term, &reports, &claims);
            }
            ElectionMessage::Decided(decided) => {
                self.shared.out.note(Note::Decided(decided, self.believes_host_gone(&from)));
            }
            ElectionMessage::Confirmed(word) => self.shared.out.note(Note::Confirmed(word)),
            ElectionMessage::Trouble { count } => self.election.trouble(&self.shared.view(), from, count),
            ElectionMessage::Suffering(sufferers) => {
                let place = self.place();
                self.election.suffering(&mut self.shared.view(), &place, from, sufferers);
            }
        }
    }
}
