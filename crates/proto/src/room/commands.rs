//! Commands of the application, handed to the machines that carry them out.

use super::{RoomState, Shared};
use crate::app::{Command, Reason, check_mixers};
use crate::bounded::List;
use crate::host::successor;
use crate::id::PeerId;
use crate::message::{AGENTS_MAX, Consent, HostMessage, REIGN_NUMBER_MAX, Reign};
use crate::outbox::Note;
use crate::time::{SECOND, Time};

/// Maximum time that a leaving mixer waits until its successor has begun.
const LEAVE_US_MAX: u64 = 2 * SECOND;
/// Maximum time that a leaving mixer without a standby waits until one is elected, if there is a candidate. Measured:
/// 2 to 4 s after a candidate has come back; without the wait viewers missed 1.8 to 8.3 s.
const ELECT_US_MAX: u64 = 5 * SECOND;
/// Maximum time that a leaving host waits until its heir has signed a roster. A guess: some round trips.
const HEIR_US_MAX: u64 = SECOND;

impl RoomState {
    /// Checks whether this peer may give a command now, as far as it knows. A brain that gets the command in spite of a
    /// refusal may carry it out in part, or not at all.
    ///
    /// # Errors
    /// The reason against it.
    pub fn check(&self, now: Time, command: &Command) -> Result<(), Reason> {
        let Shared { stage, me, config, .. } = &self.shared;
        let ensure = |holds: bool, reason: Reason| if holds { Ok(()) } else { Err(reason) };
        match command {
            Command::Tell(delivery, bytes) => {
                self.may_publish(now, *delivery, bytes.len())?;
            }
            Command::TakeBack => {
                ensure(config.host.is_some(), Reason::NotHost)?;
                ensure(stage.contains(me), Reason::OffStage)?;
            }
            _ => {}
        }
        if !command.is_hosts() {
            return Ok(());
        }
        ensure(stage.roster().is_some_and(|roster| roster.host == *me), Reason::NotHost)?;
        ensure(command.other().is_none_or(|peer| peer != *me), Reason::Itself)?;
        match command {
            Command::AskToMute(peer, _) | Command::HandOver(peer) => {
                ensure(stage.contains(peer), Reason::OffStage)?;
            }
            Command::SetAgent(peer, true) => {
                let agents = stage.roster().map_or(&[][..], |roster| &roster.rules.access.agents);
                ensure(agents.contains(peer) || agents.len() < AGENTS_MAX, Reason::TooManyAgents)?;
            }
            Command::SetMixers(mixers) => {
                check_mixers(*mixers)?;
            }
            _ => {}
        }
        if command.needs_settled() { self.check_settled() } else { Ok(()) }
    }

    /// Returns whether a peer may be in the room, as far as this host knows: not all of a large audience, nor of a room
    /// that it has just taken over.
    pub fn knows(&self, peer: &PeerId) -> bool {
        let stage = &self.shared.stage;
        let listed = || self.directory().into_iter().flatten();
        let off_stage = listed().filter(|(listed, _)| !stage.contains(listed)).count();
        let viewers = self.membership.viewers(self.shared.now).unwrap_or_default();
        stage.contains(peer)
            || listed().any(|(listed, _)| listed == peer)
            || self.lobby().into_iter().flatten().any(|newcomer| newcomer.peer == *peer)
            || self.hands().into_iter().any(|(asking, _)| asking == *peer)
            || stage.roster().is_some_and(|roster| roster.rules.access.removed.contains(peer))
            || off_stage < viewers as usize
    }

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
            Command::Tell(delivery, bytes) => {
                let Ok(bytes) = List::try_from(bytes) else { return };
                let (children, _) = self.tree.below();
                self.broadcast.publish(&mut self.shared.view(), &children, delivery, bytes);
            }
            Command::Solo(speaker) => {
                let speaker = speaker.map(|solo| solo.speaker);
                self.solo.set_wish(&mut self.shared.view(), speaker, self.tree.path());
            }
            Command::Voices(wanted) => {
                self.voices.set_wanted(&mut self.shared.view(), wanted, self.tree.path());
            }
            Command::Speak(speaks) => {
                self.set_speaks(speaks);
                self.membership.wish(&mut self.shared.view());
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
            Command::TakeBack => match self.membership.host() {
                Some(host) => host.ask_again(self.shared.now),
                None => self.take_room_back(),
            },
            Command::MutePicture(_) | Command::MuteSound(_) => {} // the body's
            command => self.command_host(command),
        }
    }

    /// Executes the commands that only the host may give.
    fn command_host(&mut self, command: Command) {
        let view = &mut self.shared.view();
        let Some(host) = self.membership.host() else { return };
        match command {
            Command::SetMixers(mixers) => host.set_mixers(view.now, mixers),
            Command::SetLayout(layout) => host.set_layout(view.now, layout.to_roster()),
            Command::OpenStage(open) => host.open_stage(view.now, open),
            Command::SetMixing(mixing) => host.set_mixing(view.now, mixing),
            _ if command.needs_settled() && host.is_bound(view.now) => {}
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
            Command::AskToMute(peer, muted) => view.out.send(peer, HostMessage::MuteWanted(muted)),
            Command::MuteAll(muted) => {
                let speakers: Vec<_> = view.stage.speakers().iter().map(|entry| entry.peer).collect();
                for peer in speakers.into_iter().filter(|peer| *peer != view.me) {
                    view.out.send(peer, HostMessage::MuteWanted(muted));
                }
            }
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
