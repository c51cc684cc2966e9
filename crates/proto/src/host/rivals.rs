//! Other hosts of the room, which the stage chose while this host was cut off or restarted: the holder of the root key
//! takes the room back from them.

use super::{CONFIRM_AGAIN_US, CUT_OFF_US, Host, RECLAIM_EACH_US, Rules, successor};
use crate::bounded::List;
use crate::id::PeerId;
use crate::io::Event;
use crate::message::{
    Access, ProvenRoster, REIGN_NUMBER_MAX, REMOVED_MAX, ROSTER_MAX, Reign, Reigns, Roster, reign_of,
};
use crate::seal::Signed;
use crate::time::Time;
use crate::view::View;

impl Host {
    /// Whether a roster shows that somebody else became host, without this one's word. A roster that this host signed
    /// before it restarted doesn't: it goes on from that ([`resume`](Self::resume)).
    pub(crate) fn is_rivalled(&self, view: &View<'_>, roster: &ProvenRoster) -> bool {
        let newer = self.signed.as_ref().is_none_or(|signed| roster.epoch > signed.epoch);
        let handed_on = roster.reigns.host_by(&view.config.root).is_some_and(|host| host != view.me);
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
        self.deposed.as_ref() == Some(host)
    }

    /// Whether a roster was signed by the host from which this one took the room back, after it had been cut off.
    pub(crate) fn was_replaced_by(&self, roster: &ProvenRoster) -> bool {
        self.rival == Some((roster.sender, reign_of(roster.epoch)))
    }

    /// Takes the room back from a host that a majority chose: signs the next roster under a reign that the root key
    /// begins. A host that has begun anew takes over the peers of the last roster that it signed itself.
    pub(crate) fn reclaim(&mut self, view: &mut View<'_>, rival: &ProvenRoster) {
        let number = (reign_of(rival.epoch).max(self.reigns.number()) + 1).max(self.reign_min);
        let soon = self.reclaimed_at.is_some_and(|at| view.now.since(at) < RECLAIM_EACH_US);
        let root = view.config.host.as_ref().map(|config| config.root.id());
        let Some(root) = root.filter(|_| !soon && number <= REIGN_NUMBER_MAX) else { return };
        self.judge_removals(view, rival);
        let known = self.signed.as_ref().map_or(0, |signed| signed.epoch);
        let before = newest_by(rival, [root, view.me]).filter(|roster| roster.epoch > known).cloned();
        self.take_over(view.now, before.as_ref());
        self.reclaimed_at = Some(view.now);
        self.deposed = Some(rival.body.host);
        self.rival = self.was_cut_off(view.now).then_some((rival.sender, reign_of(rival.epoch)));
        self.begin_reign(view, number);
    }

    /// Keeps a roster that arrives while the room opens again, if it is the newest so far by this host or the root key.
    /// Returns false if the room is open.
    pub(crate) fn keep_while_opening(&mut self, view: &View<'_>, roster: &ProvenRoster) -> bool {
        let root = view.config.root;
        if let Some(newest) = newest_by(roster, [root, view.me]).filter(|_| self.reopens_at.is_some())
            && self.before.as_ref().is_none_or(|before| before.epoch < newest.epoch)
        {
            self.before = Some(newest.clone());
        }
        self.reopens_at.is_some()
    }

    /// Opens the room again, under a new reign, with the stage of the newest roster of members that have stayed.
    pub(super) fn reopen(&mut self, view: &mut View<'_>) {
        if let Some(before) = self.before.take() {
            self.keep_out(&before.body.access);
            let Roster { audience, program, k, k1, mixers, stage_open, layout, .. } = before.body.clone();
            let Rules { mixing, expires_unix_s, title, access, .. } = self.rules.clone();
            self.rules = Rules { stage_open, mixing, expires_unix_s, program, k, k1, layout, title, access };
            (self.mixers, self.audience, self.audience_seen) = (mixers, audience, view.now);
            self.take_over(view.now, Some(&before));
        }
        self.begin_reign(view, self.reign_min);
    }

    /// Takes the peers of an earlier roster over, less removed ones.
    fn take_over(&mut self, now: Time, before: Option<&Signed<Roster>>) {
        for entry in before.into_iter().flat_map(|before| before.body.entries.iter()) {
            let is_new = self.entries.iter().all(|known| known.peer != entry.peer);
            let is_removed = self.rules.access.removed.contains(&entry.peer);
            if is_new && !is_removed && self.entries.len() < ROSTER_MAX {
                self.entries.push(entry.clone());
                self.heard.insert(entry.peer, now);
                self.since.insert(entry.peer, now);
                let index = if entry.speaks { entry.index.saturating_add(1) } else { 0 };
                self.speakers_seen = self.speakers_seen.max(index);
            }
        }
    }

    /// Signs the next roster under a reign that the root key begins.
    fn begin_reign(&mut self, view: &mut View<'_>, number: u32) {
        self.reopens_at = None;
        let Some(root) = view.config.host.as_ref().map(|config| config.root.clone()) else { return };
        let known = self.signed.as_ref().map_or(0, |signed| signed.epoch);
        let named = successor(view, &root, known, number, view.me);
        self.reigns = Reigns(List::truncated([Reign::Named { named }]));
        self.key = view.keys.clone();
        self.confirm_at = Some(view.now + CONFIRM_AGAIN_US);
        self.flush(view);
        self.confirm(view);
    }

    /// Takes over a rival's rules of admission. Removals by a chosen rival, perhaps after a moment of silence, are the
    /// application's to judge: each is reported. Lock and lobby stay.
    fn judge_removals(&mut self, view: &mut View<'_>, rival: &ProvenRoster) {
        if !rival.reigns.0.iter().any(Reign::is_chosen) {
            return self.keep_out(&rival.body.access);
        }
        let Access { removed, locked, lobby, .. } = &rival.body.access;
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
fn newest_by(roster: &ProvenRoster, signers: [PeerId; 2]) -> Option<&Signed<Roster>> {
    let all = roster.reigns.superseded().chain([&roster.signed]);
    all.filter(|roster| signers.contains(&roster.sender)).max_by_key(|roster| roster.epoch)
}
