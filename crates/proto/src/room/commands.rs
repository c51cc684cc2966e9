//! Commands of the application, handed to the machines that carry them out.

use super::RoomState;
use crate::host::successor;
use crate::io::Command;
use crate::message::{Consent, Message, REIGN_NUMBER_MAX, Reign};
use crate::outbox::Note;
use crate::time::SECOND;

/// Maximum time that a leaving mixer waits until its successor has begun.
const LEAVE_US_MAX: u64 = 2 * SECOND;
/// Maximum time that a leaving mixer without a standby waits until one is elected, if there is a candidate. Measured:
/// 2 to 4 s after a candidate has come back; without the wait viewers missed 1.8 to 8.3 s.
const ELECT_US_MAX: u64 = 5 * SECOND;
/// Maximum time that a leaving host waits until its heir has signed a roster. A guess: some round trips.
const HEIR_US_MAX: u64 = SECOND;

impl RoomState {
    /// Executes a command of the application.
    pub(super) fn command(&mut self, command: Command) {
        match command {
            Command::Leave if self.leaving.is_none() => {
                let view = &mut self.shared.view();
                let has_heir = self.membership.host().is_some_and(|host| host.hand_over_to_heir(view));
                self.heir_until = has_heir.then_some(self.shared.now + HEIR_US_MAX);
                let has_standby = self.succession.leave(&mut self.shared.view());
                let waits_us = match self.mixing.is_mixing() {
                    true if has_standby => LEAVE_US_MAX,
                    true if self.shared.stage.candidates().iter().any(|peer| *peer != self.shared.me) => {
                        ELECT_US_MAX
                    }
                    _ => 0,
                };
                self.leaving = Some(self.shared.now + waits_us);
                if waits_us == 0 {
                    self.tree.leave(&mut self.shared.view());
                }
            }
            Command::Leave => {}
            Command::ReconnectUpstream => self.tree.reconnect(&mut self.shared.view()),
            Command::Measure(peer) => self.probe.measure(&mut self.shared.view(), peer),
            Command::Publish(delivery, bytes) => {
                let (children, _) = self.tree.below();
                self.broadcast.publish(&mut self.shared.view(), &children, delivery, bytes);
            }
            Command::Solo(speaker) => {
                self.solo.set_wish(&mut self.shared.view(), speaker, self.tree.path());
            }
            Command::Voices(wanted) => {
                self.voices.set_wanted(&mut self.shared.view(), wanted, self.tree.path());
            }
            Command::Speak(speaks) => {
                self.set_speaks(speaks);
                self.membership.wish(&mut self.shared.view());
            }
            Command::Sends { muted, shares } => {
                self.membership.sends(&mut self.shared.view(), muted, shares);
            }
            Command::Records(records) => {
                if std::mem::replace(&mut self.shared.records, records) != records {
                    self.membership.records_changed(&mut self.shared.view());
                    self.tree.records_changed(&mut self.shared.view());
                }
            }
            Command::AskRates => {
                let above = self.peer_above();
                self.rates.ask(&mut self.shared.view(), above);
            }
            Command::SetChildrenMax(children_max) => {
                if std::mem::replace(&mut self.shared.config.children_max, children_max) != children_max {
                    self.tree.limits_changed(&mut self.shared.view());
                }
            }
            Command::AllowSolo(allowed) => {
                if std::mem::replace(&mut self.shared.config.no_solo, !allowed) == allowed {
                    self.membership.solo_allowed(&mut self.shared.view());
                    self.update_solo();
                }
            }
            Command::SetMixers(_)
            | Command::Remove(_)
            | Command::Lock(_)
            | Command::Lobby(_)
            | Command::Admit(_)
            | Command::Deny(_)
            | Command::SetMembers(_)
            | Command::SetAgent(..)
            | Command::AskToMute(..)
            | Command::Renew(_)
            | Command::End
            | Command::SetLayout(_)
            | Command::OpenStage(_)
            | Command::SetMixing(_)
            | Command::RemoveUnnamed
            | Command::Promote(_)
            | Command::Demote(_)
            | Command::HandOver(_) => self.command_host(command),
        }
    }

    /// Executes the commands that only the host may give.
    fn command_host(&mut self, command: Command) {
        let view = &mut self.shared.view();
        let Some(host) = self.membership.host() else {
            if command == Command::HandOver(view.me) {
                self.take_room_back();
            }
            return;
        };
        match command {
            Command::HandOver(peer) if peer == view.me => host.ask_again(view.now),
            Command::SetMixers(mixers) => host.set_mixers(view.now, mixers),
            Command::SetLayout(layout) => host.set_layout(view.now, layout),
            Command::OpenStage(open) => host.open_stage(view.now, open),
            Command::SetMixing(mixing) => host.set_mixing(view.now, mixing),
            Command::Remove(_) | Command::RemoveUnnamed | Command::Renew(_) | Command::End
                if host.is_bound(view.now) => {}
            Command::RemoveUnnamed => host.remove_unnamed(view),
            Command::Promote(peer) => host.promote(view, peer),
            Command::Demote(peer) => host.demote(view, peer),
            Command::Remove(peer) => host.remove_from_room(view, peer),
            Command::Lock(locked) => host.set_access(view.now, |access| access.locked = locked),
            Command::Lobby(lobby) => host.set_access(view.now, |access| access.lobby = lobby),
            Command::Admit(peer) => host.let_in(view, peer),
            Command::Deny(peer) => host.deny(view, peer),
            Command::SetMembers(members) => host.set_members(members),
            Command::SetAgent(peer, is_agent) => host.set_agent(view.now, peer, is_agent),
            Command::AskToMute(peer, muted) => view.out.send(peer, Message::MuteWanted(muted)),
            Command::Renew(key) => self.renew(key),
            Command::End => host.end(view),
            Command::HandOver(peer) => host.hand_over(view, peer),
            _ => {}
        }
    }

    /// Makes this peer host again by the root key, if it holds that.
    fn take_room_back(&mut self) {
        let view = &mut self.shared.view();
        let (epoch, number) = (view.stage.epoch(), view.stage.reign() + 1);
        let Some(root) = view.config.host.as_ref().map(|config| config.root.clone()) else { return };
        if view.on_stage() && number <= REIGN_NUMBER_MAX {
            let named = successor(view, &root, epoch, number, view.me);
            view.out.note(Note::Chosen(Box::new(Reign::Named { named })));
        }
    }

    /// Withdraws this peer's consent to mix: its codecs fail. The host hears of it by a `Join`, the standby of a mixer
    /// directly.
    pub(super) fn resign(&mut self) {
        let config = &mut self.shared.config;
        if std::mem::replace(&mut config.consent, Consent::Never) == Consent::Never {
            return;
        }
        config.views |= !config.speaks;
        self.succession.resign(&mut self.shared.view());
        self.membership.consent_withdrawn(&mut self.shared.view());
    }

    /// Sets whether this peer wants to speak. A peer that neither speaks nor consents to mix views.
    pub(super) fn set_speaks(&mut self, speaks: bool) {
        let config = &mut self.shared.config;
        config.speaks = speaks;
        config.views |= !speaks && config.consent == Consent::Never;
    }
}
