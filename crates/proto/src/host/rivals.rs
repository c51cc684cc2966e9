//! Other hosts of the room, which the stage chose while this host was cut off or restarted: the holder of the root key
//! takes the room back from them.

use super::{CONFIRM_AGAIN_US, CUT_OFF_US, Host, RECLAIM_EACH_US, successor};
use crate::app::Event;
use crate::bounded::List;
use crate::id::PeerId;
use crate::message::{
    Access, Entry, ProvenRoster, REIGN_NUMBER_MAX, REMOVED_MAX, ROSTER_MAX, Reign, Reigns, Roster, Vote,
    reign_of,
};
use crate::seal::Signed;
use crate::time::Time;
use crate::view::View;

/// How this host took the room back last.
#[derive(Debug)]
pub(super) struct Reclaimed {
    at: Time,
    /// The deposed host, which may not have received the next roster.
    from: PeerId,
    /// The signer of that host's rosters and the number of its reign, if the stage chose it while this host was cut
    /// off: outcomes under its rosters may count.
    rival: Option<(PeerId, u32)>,
}

impl Host {
    /// Whether a roster shows that somebody else became host, without this one's word. A roster that this host signed
    /// before it restarted doesn't: it goes on from that ([`resume`](Self::resume)).
    pub(crate) fn is_rivalled(&self, view: &View<'_>, roster: &ProvenRoster) -> bool {
        let newer = self.signed.as_ref().is_none_or(|signed| roster.epoch > signed.epoch);
        // a reign below this host's own was handed on in an earlier session
        let by_root = roster.reigns.0.iter().rev().find(|reign| reign.is_by(&view.config.root));
        let handed_on =
            by_root.is_some_and(|reign| reign.host() != view.me && reign.number() > self.reigns.number());
        let resumes = roster.body.host == view.me && roster.reigns == self.reigns;
        newer && !handed_on && !resumes && view.config.host.is_some()
    }

    /// Whether most of the stage was away just now, so that the others may have decided without this host.
    pub(crate) fn was_cut_off(&self, now: Time) -> bool {
        self.cut_off_at.is_some_and(|at| now.since(at) < CUT_OFF_US)
    }

    pub(crate) fn is_forsaken(&self) -> bool {
        self.is_forsaken
    }

    /// Whether this host took the room back from that one last.
    pub(crate) fn has_deposed(&self, host: &PeerId) -> bool {
        self.reclaimed.as_ref().is_some_and(|reclaimed| reclaimed.from == *host)
    }

    /// Whether a roster was signed by the host from which this one took the room back, after it had been cut off.
    pub(crate) fn was_replaced_by(&self, roster: &ProvenRoster) -> bool {
        let rival = self.reclaimed.as_ref().and_then(|reclaimed| reclaimed.rival);
        rival == Some((roster.sender, reign_of(roster.epoch)))
    }

    /// Takes the room back from a host that a majority chose: signs the next roster under a reign that the root key
    /// begins. A host that has begun anew takes over the peers of the last roster that it signed itself.
    pub(crate) fn reclaim(&mut self, view: &mut View<'_>, rival: &ProvenRoster) {
        let number = (reign_of(rival.epoch).max(self.reigns.number()) + 1).max(self.reopening.reign_min);
        let soon = self.reclaimed.as_ref().is_some_and(|last| view.now.since(last.at) < RECLAIM_EACH_US);
        let root = view.config.host.as_ref().map(|config| config.root.id());
        let Some(root) = root.filter(|_| !soon && number <= REIGN_NUMBER_MAX) else { return };
        let mut before_epoch = 0;
        if self.is_unanswered() {
            before_epoch = self.epoch_of(view, rival);
            self.go_on_from(view, rival);
        } else {
            self.judge_removals(view, rival);
            let known = self.signed.as_ref().map_or(0, |signed| signed.epoch);
            let before = newest_by(rival, [root, view.me]).filter(|roster| roster.epoch > known).cloned();
            self.take_over(view.now, before.as_ref(), true);
        }
        let rival_reign = self.was_cut_off(view.now).then_some((rival.sender, reign_of(rival.epoch)));
        self.reclaimed = Some(Reclaimed { at: view.now, from: rival.body.host, rival: rival_reign });
        self.begin_reign(view, number, before_epoch);
    }

    /// Takes the peers of an earlier roster over, less removed ones; with their votes, if that roster's host may give
    /// votes in this one's name.
    pub(super) fn take_over(&mut self, now: Time, before: Option<&Signed<Roster>>, with_votes: bool) {
        for entry in before.into_iter().flat_map(|before| before.body.entries.iter()) {
            let is_new = self.entries.iter().all(|known| known.peer != entry.peer);
            let is_removed = self.rules.access.removed.contains(&entry.peer);
            if is_new && !is_removed && self.entries.len() < ROSTER_MAX {
                let votes = if with_votes { entry.votes } else { Vote::No };
                self.entries.push(Entry { votes, ..entry.clone() });
                self.heard.insert(entry.peer, now);
                self.since.insert(entry.peer, now);
                let index = if entry.speaks { entry.index.saturating_add(1) } else { 0 };
                self.speakers_seen = self.speakers_seen.max(index);
            }
        }
    }

    /// Signs the next roster under a reign that the root key begins. The rosters until `before` count, of the room that
    /// it goes on from: what was decided under them stays in force.
    pub(super) fn begin_reign(&mut self, view: &mut View<'_>, number: u32, before: u32) {
        let Some(root) = view.config.host.as_ref().map(|config| config.root.clone()) else { return };
        let known = self.signed.as_ref().map_or(0, |signed| signed.epoch).max(before);
        let named = successor(view, &root, known, number, view.me);
        self.reigns = Reigns(List::truncated([Reign::Named { named }]));
        self.key = view.keys.clone();
        self.confirm_at = Some(view.now + CONFIRM_AGAIN_US);
        self.flush(view);
        self.confirm(view);
    }

    /// Takes over a rival's rules of admission. Removals by a chosen rival, perhaps after a moment of silence, are the
    /// application's to judge: each is reported. Lock and lobby stay.
    pub(super) fn judge_removals(&mut self, view: &mut View<'_>, rival: &ProvenRoster) {
        if !rival.reigns.0.iter().any(Reign::is_chosen) {
            return self.keep_out(&rival.body.rules.access);
        }
        let Access { removed, locked, lobby, .. } = &rival.body.rules.access;
        for peer in removed.iter().filter(|peer| !self.rules.access.removed.contains(peer)) {
            let known =
                rival.reigns.superseded().flat_map(|before| &before.body.entries).chain(&self.entries);
            let name =
                known.into_iter().find(|entry| entry.peer == *peer).map(|entry| entry.name.to_string());
            let name = name.or_else(|| self.directory.get(peer).map(|entry| entry.name.to_string()));
            let (peer, by) = (*peer, rival.body.host);
            view.out.event(Event::RemovedByAnother { peer, name: name.unwrap_or_default(), by });
        }
        self.rules.access.locked |= locked;
        self.rules.access.lobby |= lobby;
    }

    /// Removes the peers that another roster of this room has removed, and stays as closed to newcomers as that one.
    pub(super) fn keep_out(&mut self, other: &Access) {
        let access = &mut self.rules.access;
        for peer in &other.removed {
            if !access.removed.contains(peer) && access.removed.len() < REMOVED_MAX {
                let _ = access.removed.push(*peer);
            }
        }
        access.locked |= other.locked;
        access.lobby |= other.lobby;
        let removed = access.removed.clone();
        self.entries.retain(|entry| !removed.contains(&entry.peer));
    }
}

/// Returns the newest of the rosters in a proof, the proven one included, that one of these keys has signed.
pub(super) fn newest_by(roster: &ProvenRoster, signers: [PeerId; 2]) -> Option<&Signed<Roster>> {
    let all = roster.reigns.superseded().chain([&roster.signed]);
    all.filter(|roster| signers.contains(&roster.sender)).max_by_key(|roster| roster.epoch)
}
