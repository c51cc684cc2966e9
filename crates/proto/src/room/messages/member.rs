//! Messages of membership.

use super::Sender;
use crate::id::PeerId;
use crate::io::{Address, Output};
use crate::message::{
    Admit, Digest, Failover, FailoverMessage, Join, MemberMessage, Message, SignedRefusal, SignedRoster,
};
use crate::mutation::Mutation;
use crate::outbox::Note;
use crate::room::RoomState;
use crate::seal::Signed;
use crate::tickets::is_own;

impl RoomState {
    pub(super) fn accepts_member(&self, sender: Sender<'_>, message: &MemberMessage) -> bool {
        match message {
            MemberMessage::Admit(_) | MemberMessage::Refuse(_) | MemberMessage::InLobby => {
                self.membership.has_asked(self.shared.now)
            }
            MemberMessage::Roster(roster) => {
                let is_signer = roster.signed.sender == *sender.peer || roster.body.host == *sender.peer;
                let awaits_it = self.membership.awaits_rosters(self.shared.now);
                sender.is_linked_or_on_stage() || is_signer || awaits_it
            }
            MemberMessage::Ticket(_) | MemberMessage::Key(_) => sender.is_linked,
            // the sender of a digest may be on a newer roster
            MemberMessage::Digest(_)
            | MemberMessage::Join(_)
            | MemberMessage::Position { .. }
            | MemberMessage::Leave => true,
        }
    }

    pub(super) fn on_member(&mut self, from: PeerId, message: MemberMessage) {
        match message {
            MemberMessage::Join(join) => self.on_join(from, &join),
            MemberMessage::Admit(admit) => self.on_admit(from, *admit),
            MemberMessage::Refuse(refusal) => self.on_refuse(from, &refusal),
            MemberMessage::InLobby => self.membership.in_lobby(&mut self.shared.view()),
            MemberMessage::Roster(roster) => {
                self.remind_host(from, &roster);
                self.take_roster(from, roster);
            }
            MemberMessage::Digest(theirs) => self.on_digest(from, theirs),
            MemberMessage::Ticket(ticket) => self.ticket_shown(from, &ticket),
            MemberMessage::Key(key) => {
                if self.is_member(&from) {
                    self.key_told(Some(from), key);
                }
            }
            MemberMessage::Position { name, parent, depth, fed_nothing, ticket } => {
                if (is_own(&self.shared.view(), &from, ticket.as_deref()) || self.is_member(&from))
                    && let Some(host) = self.membership.host()
                {
                    host.position(&mut self.shared.view(), from, &name, (parent, depth), fed_nothing);
                }
            }
            MemberMessage::Leave => {
                self.shared.out.note(Note::Gone(from));
                self.tree.drop_child(&mut self.shared.view(), from);
            }
        }
    }

    fn on_join(&mut self, from: PeerId, join: &Join) {
        if let Some(host) = self.membership.host() {
            host.join(&mut self.shared.view(), from, join);
            if self.shared.mandate.mutated.is(Mutation::RemembersTheAudience) {
                host.remember(self.shared.now, from);
            }
        } else if let Some(answer) = self.membership.vouch(&mut self.shared.view(), from, join) {
            self.shared.out.send(from, answer);
        }
    }

    fn on_admit(&mut self, from: PeerId, admit: Admit) {
        if self.membership.is_refused() {
            return;
        }
        self.remind_host(from, &admit.roster);
        let is_newest = admit.roster.epoch >= self.shared.stage.epoch();
        let by_host = is_newest && admit.roster.body.host == from;
        if let Some(ticket) = &admit.ticket {
            self.shared.links.set_ticket(ticket.clone()); // for the links that this peer wants by the roster
        }
        self.take_roster(from, admit.roster);
        admit.under.into_iter().for_each(|under| self.take_roster(from, under));
        self.membership.admitted(&mut self.shared.view(), by_host);
        self.tell_what_admission_lacks(from, &admit.failovers);
        admit.confirmed.into_iter().for_each(|word| self.shared.out.note(Note::Confirmed(word)));
        if let Some(decided) = admit.decided {
            self.shared.out.note(Note::Decided(Box::new(decided), self.believes_host_gone(&from)));
        }
        for failover in admit.failovers.iter() {
            self.shared.out.note(Note::Failover(failover.clone()));
        }
        self.hand_round();
        if let Some(ticket) = &admit.ticket {
            self.take_ticket(ticket);
        }
        if let Some(key) = admit.key {
            self.key_told(None, key);
        }
        self.tree.update(&mut self.shared.view());
    }

    fn on_refuse(&mut self, from: PeerId, refusal: &SignedRefusal) {
        self.remind_under(from, refusal.signed.epoch, |known| known.body.host == from);
        self.membership.refused(&mut self.shared.view(), &refusal.signed);
    }

    fn on_digest(&mut self, from: PeerId, theirs: Digest) {
        let is_kin = self.tree.is_below(&from) || self.is_rival(&from);
        if self.anti_entropy.received(&mut self.shared.view(), from, is_kin, theirs) {
            self.send_state(from);
        }
    }

    /// Sends the admitting peer the failovers of this peer that the admission lacks. The successor and all
    /// peers that it reached may be gone; or the mixer has denied the failover, and the answer is its denial.
    fn tell_what_admission_lacks(&mut self, from: PeerId, known: &[Signed<Failover>]) {
        for failover in self.shared.mandate.failovers.iter().filter(|ours| !known.contains(ours)) {
            self.shared.out.send(from, FailoverMessage::Failover(failover.clone()));
        }
    }

    /// Sends the newest roster to a host that speaks under an older one: this peer's host, or one that the root key has
    /// named. It has restarted with the room's keys, and goes on from that roster.
    fn remind_host(&mut self, from: PeerId, roster: &SignedRoster) {
        let root = self.shared.config.root;
        let is_by_root = roster.sender == root || roster.reigns.host_by(&root) == Some(from);
        let is_host =
            |known: &SignedRoster| known.body.host == from || (is_by_root && roster.body.host == from);
        self.remind_under(from, roster.epoch, is_host);
    }

    fn remind_under(&mut self, from: PeerId, epoch: u32, is_host: impl Fn(&SignedRoster) -> bool) {
        let known = self.shared.stage.signed().filter(|known| epoch < known.epoch && is_host(known)).cloned();
        let Some(known) = known.map(MemberMessage::Roster).map(Message::from) else { return };
        if self.shared.links.is_up(&from) {
            // perhaps the link of a process that is gone
            self.shared.out.act(Output::Signal(Address::Peer(from), known.clone()));
        }
        self.shared.out.send(from, known);
    }

    /// Whether a peer may still act as host beside this host: this host has replaced that peer by a vote of the stage,
    /// or has taken the room back from that peer.
    pub(in crate::room) fn is_rival(&mut self, peer: &PeerId) -> bool {
        let is_deposed = self.membership.host().is_some_and(|host| host.has_deposed(peer));
        is_deposed || self.shared.stage.replaced_hosts(&self.shared.me).contains(peer)
    }

    fn take_roster(&mut self, from: PeerId, roster: SignedRoster) {
        self.shared.out.note(Note::Proven(roster, self.believes_host_gone(&from)));
    }
}
