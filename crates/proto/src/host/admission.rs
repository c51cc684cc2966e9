//! The host's part in membership: admission, the lobby, removal, and the room's end.

use super::{
    EARLY_JOINS_MAX, Host, MEMBERS_MAX, REFUSAL_LIFE_S, UNNAMED_CANDIDATES_MAX, is_unnamed_candidate,
};
use crate::app::Event;
use crate::bounded::List;
use crate::floor::Answer;
use crate::id::PeerId;
use crate::lobby::{self, only_mixes};
use crate::message::{
    Access, HostMessage, Join, MemberMessage, MixPolicy, REMOVED_MAX, ROSTER_MAX, Refusal, SignedRefusal,
    Vote,
};
use crate::outbox::Note;
use crate::seal::Signed;
use crate::tickets::{has_ticket, has_ticket_of_host};
use crate::time::Time;
use crate::view::View;

impl Host {
    /// Handles a `Join` from a new peer, or from a peer with other wishes than before. A request beyond the
    /// limits gets no answer, and the joiner repeats it.
    pub(crate) fn join(&mut self, view: &mut View<'_>, from: PeerId, join: &Join) {
        let is_on_stage = self.entries.iter().any(|entry| entry.peer == from);
        let is_in_time = if is_on_stage {
            self.joins_on_stage.take(view.now, from, 1)
        } else {
            // made-up ids use up the answers to newcomers, not those to members
            let all = if has_ticket(view, &from, join) { &mut self.renewals } else { &mut self.joins };
            self.joins_each.take(view.now, from, 1) && all.take(view.now, 1)
        };
        if !is_in_time {
            return;
        }
        if self.is_reopening() && from != view.me {
            // a member that has stayed answers an older roster with its own
            if let Some(roster) = self.signed.clone() {
                view.out.send(from, MemberMessage::Roster(roster));
            }
            if self.early_joins.len() < EARLY_JOINS_MAX || self.early_joins.contains_key(&from) {
                self.early_joins.insert(from, join.clone());
            }
            return;
        }
        let is_member = self.is_member(view, &from, join);
        let admitted = self
            .may_enter(view, from, join, is_member)
            .and_then(|may| if may { self.admit(view, from, join) } else { Ok(false) });
        match admitted {
            Ok(true) => self.directory.joined(view.now, from, &join.name),
            Ok(false) => return,
            Err(refusal) => return self.refuse(view, from, refusal),
        }
        if self.flush_at.is_some() {
            // so that the roster sent to the newcomer already contains it, or the audience flag
            self.flush(view);
        }
        if let Some(roster) = &self.signed {
            let admission = view.admission(from, roster, is_member);
            view.out.send(from, MemberMessage::Admit(Box::new(admission)));
            if let Some(children) = join.place.filter(|_| !is_on_stage) {
                view.out.note(Note::Admitted(from, children));
            }
        }
    }

    /// Refuses a joiner that came by a replaced invite. A peer that the host has removed is told that: it may have been
    /// admitted before by a member in the host's stead, and goes on waiting after any other refusal.
    pub(crate) fn refuse_old_invite(&mut self, view: &mut View<'_>, from: PeerId) {
        let is_removed = self.rules.access.removed.contains(&from);
        self.refuse(view, from, if is_removed { Refusal::Removed } else { Refusal::OldInvite });
    }

    /// Replaces the peers that the application names as members, on its command.
    pub(crate) fn set_members(&mut self, members: Vec<PeerId>) {
        self.members = members.into_iter().take(MEMBERS_MAX).collect();
    }

    /// Whether the application names a peer as a member: it comes in by an old invite too.
    pub(crate) fn is_listed(&self, peer: &PeerId) -> bool {
        self.members.contains(peer)
    }

    /// Refuses a joiner.
    fn refuse(&mut self, view: &mut View<'_>, from: PeerId, refusal: Refusal) {
        let expires = view.unix_s() + REFUSAL_LIFE_S;
        let (room, epoch) = (&view.config.room, view.stage.epoch());
        *view.counter += 1;
        let signed = Signed::addressed(&self.key, room, Some(from), epoch, *view.counter, expires, refusal);
        let refusal = SignedRefusal { signed, reigns: self.reigns.clone() };
        view.out.send(from, MemberMessage::Refuse(Box::new(refusal)));
    }

    /// Returns whether a joiner is in the room already: on stage, in the directory, or with a valid ticket of a host.
    fn is_member(&self, view: &View<'_>, from: &PeerId, join: &Join) -> bool {
        *from == view.me
            || self.entries.iter().any(|entry| entry.peer == *from)
            || self.directory.get(from).is_some()
            || has_ticket_of_host(view, from, join)
    }

    /// Returns whether a joiner may come in; false while it waits in the lobby.
    fn may_enter(
        &mut self,
        view: &mut View<'_>,
        from: PeerId,
        join: &Join,
        is_member: bool,
    ) -> Result<bool, Refusal> {
        let access = &self.rules.access;
        if access.removed.contains(&from) {
            return Err(Refusal::Removed);
        }
        if access.ended {
            return Err(Refusal::Closed);
        }
        if is_member || self.members.contains(&from) {
            return Ok(true);
        }
        if self.rules.expires_unix_s.is_some_and(|expires| expires <= view.unix_s()) {
            return Err(Refusal::Expired);
        }
        if access.locked {
            return Err(Refusal::Locked);
        }
        if !access.lobby {
            return Ok(true);
        }
        Ok(self.knocks(view, from, join))
    }

    /// Lets a joiner wait until the application lets it in; returns whether it was.
    fn knocks(&mut self, view: &mut View<'_>, from: PeerId, join: &Join) -> bool {
        match self.lobby.knock(view.now, from, join) {
            lobby::Answer::LetIn => return true,
            lobby::Answer::Waits { first } => {
                if first {
                    let (name, mixes) = (join.name.to_string(), only_mixes(join));
                    view.out.event(Event::Knock { peer: from, name, mixes });
                }
                view.out.send(from, MemberMessage::InLobby);
            }
            lobby::Answer::Full => {} // it asks again
        }
        false
    }

    /// Changes the rules of admission.
    pub(crate) fn set_access(&mut self, now: Time, change: impl FnOnce(&mut Access)) {
        let before = self.rules.access.clone();
        change(&mut self.rules.access);
        if self.rules.access != before {
            self.change(now);
        }
    }

    /// Names the key of a new invite, in a roster that goes out at once.
    pub(crate) fn renew(&mut self, view: &mut View<'_>, generation: u16, key_hash: [u8; 16]) {
        (self.rules.access.generation, self.rules.access.key_hash) = (generation, key_hash);
        self.flush(view);
    }

    /// Lets a peer in from the lobby, on the application's command.
    pub(crate) fn let_in(&mut self, view: &mut View<'_>, peer: PeerId) {
        if let Some(join) = self.lobby.admit(peer) {
            if only_mixes(&join) {
                self.name(view.now, peer); // that is what the application lets it in for
            }
            self.join(view, peer, &join);
        }
    }

    /// Turns a peer in the lobby away, on the application's command.
    pub(crate) fn deny(&mut self, view: &mut View<'_>, peer: PeerId) {
        if self.lobby.deny(&peer) {
            self.refuse(view, peer, Refusal::Denied);
        }
    }

    /// Removes a peer from the room, on the application's command. The roster that says so goes out at once: to the
    /// stage and down the tree, and to the peer and its parent directly.
    pub(crate) fn remove_from_room(&mut self, view: &mut View<'_>, peer: PeerId) {
        if self.put_out(view, peer) {
            self.flush(view);
        }
    }

    /// Removes the peers that are on stage only because they consent to mix, and that the host didn't name.
    pub(crate) fn remove_unnamed(&mut self, view: &mut View<'_>) {
        let unnamed = self.entries.iter().filter(|entry| is_unnamed_candidate(entry));
        let unnamed: Vec<PeerId> = unnamed.map(|entry| entry.peer).collect();
        let removed = unnamed.into_iter().filter(|peer| self.put_out(view, *peer)).count();
        if removed > 0 {
            self.flush(view);
        }
    }

    /// Marks a peer as an agent, on the application's command, or takes the mark back. Past [`AGENTS_MAX`] none is
    /// added.
    pub(crate) fn set_agent(&mut self, now: Time, peer: PeerId, is_agent: bool) {
        self.set_access(now, |access| {
            if !is_agent || access.removed.contains(&peer) {
                access.unmark(&peer);
            } else if !access.agents.contains(&peer) {
                let _ = access.agents.push(peer);
            }
        });
    }

    /// Removes a peer from the room, in the next roster. Returns false for the host itself, and for a removed peer.
    fn put_out(&mut self, view: &View<'_>, peer: PeerId) -> bool {
        if peer == view.me || self.rules.access.removed.contains(&peer) {
            return false;
        }
        let removed = &mut self.rules.access.removed;
        if removed.len() == REMOVED_MAX {
            *removed = List::truncated(removed.iter().skip(1).copied());
        }
        let _ = removed.push(peer);
        self.rules.access.unmark(&peer);
        let parent = self.directory.left(&peer).and_then(|entry| entry.parent);
        self.lobby.deny(&peer);
        self.members.remove(&peer);
        self.gone(view.now, peer);
        self.stepped_down.extend(parent.filter(|parent| !view.links.is_up(parent)));
        self.stepped_down.insert(peer);
        true
    }

    /// Ends the room, on the application's command. Peers that the last roster doesn't reach by links are told
    /// directly: those in the lobby, and viewers without a parent.
    pub(crate) fn end(&mut self, view: &mut View<'_>) {
        self.rules.access.ended = true;
        let is_on_stage = |peer: &PeerId| self.entries.iter().any(|entry| entry.peer == *peer);
        let unfed =
            self.directory.iter().filter(|(peer, entry)| entry.parent.is_none() && !is_on_stage(peer));
        let free = ROSTER_MAX.saturating_sub(self.stepped_down.len());
        let unfed: Vec<PeerId> = unfed.map(|(peer, _)| *peer).take(free).collect();
        self.stepped_down.extend(unfed);
        self.flush(view);
        for peer in self.lobby.end() {
            self.refuse(view, peer, Refusal::Closed);
        }
    }

    /// Grants a joiner the roles it may have among those it wants. Returns false while it waits for the application's
    /// decision.
    fn admit(&mut self, view: &mut View<'_>, from: PeerId, join: &Join) -> Result<bool, Refusal> {
        let now = view.now;
        if only_mixes(join) && self.asks_to_mix(&from) {
            if !self.knocks(view, from, join) {
                return Ok(false);
            }
            self.name(now, from);
        }
        let known = self.entries.iter().find(|entry| entry.peer == from);
        let spoke = known.is_some_and(|entry| entry.speaks);
        let mut join = join.clone();
        join.mixes &= from == view.me || self.takes_candidate(&from);
        if join.speaks && !spoke && from != view.me {
            join.speaks = self.may_speak(view, from, &join)?;
        } else if !join.speaks && (spoke || self.floor.is_pending(&from)) {
            self.floor.leave(&from);
        }
        if !join.speaks && !join.mixes && !join.views && from != view.me {
            return Err(Refusal::StageFull);
        }
        if join.speaks || join.mixes || from == view.me {
            if !self.enter(view, from, &join) {
                return Err(Refusal::StageFull);
            }
        } else {
            self.step_down(now, from);
            if join.views {
                self.audience_seen = now;
                if !self.audience {
                    self.audience = true;
                    self.change(now);
                }
            }
        }
        Ok(true)
    }

    /// Whether a peer that wants to mix needs the application's leave, as speakers do on a closed stage.
    fn asks_to_mix(&self, from: &PeerId) -> bool {
        let is_candidate = self.entries.iter().any(|entry| entry.peer == *from && entry.mixes);
        let is_closed = !self.rules.stage_open || self.rules.mixing == MixPolicy::Named;
        is_closed && !is_candidate && !self.is_named(from)
    }

    /// Whether a peer that consents to mix becomes a candidate.
    fn takes_candidate(&self, from: &PeerId) -> bool {
        let is_candidate = self.entries.iter().any(|entry| entry.peer == *from && entry.mixes);
        let unnamed = self.entries.iter().filter(|entry| entry.mixes && entry.votes != Vote::Named).count();
        self.is_named(from) || is_candidate || (!self.asks_to_mix(from) && unnamed < UNNAMED_CANDIDATES_MAX)
    }

    /// Returns whether a peer that wants to speak may do so at once. Otherwise a peer that also views or
    /// mixes waits for the application's decision, and any other peer is refused.
    fn may_speak(&mut self, view: &mut View<'_>, from: PeerId, join: &Join) -> Result<bool, Refusal> {
        let stays = join.views || join.mixes;
        if !stays && !self.rules.stage_open && !self.floor.knows(&from) {
            return Err(Refusal::StageClosed);
        }
        match self.floor.judge(view.now, from, self.rules.stage_open) {
            Answer::Granted => return Ok(true),
            Answer::Taken if stays => view.out.send(from, HostMessage::Floor(false)),
            Answer::Pending { first: true } => {
                view.out.event(Event::FloorWanted { peer: from, name: join.name.to_string() });
            }
            Answer::Taken | Answer::Pending { first: false } => {}
        }
        if stays {
            return Ok(false);
        }
        // it spoke before, and hasn't heard that it lost the floor: from now on it views
        view.out.send(from, HostMessage::Floor(false));
        Err(Refusal::StageClosed)
    }
}
