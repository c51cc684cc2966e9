//! The child's side: keeping a parent and a backup, changing between them.

use std::collections::BTreeSet;

use super::Tree;
use super::seek::Seek;
use crate::bounded::List;
use crate::id::PeerId;
use crate::io::{Event, Output, Verdict};
use crate::links::Want;
use crate::message::{Failover, LinkKind, Message, PATH_LEN_MAX, Path, Place, Purpose, Whereabouts};
use crate::mutation::Mutation;
use crate::outbox::{Note, View};
use crate::seal::Signed;
use crate::time::{MS, SECOND, Time};

/// Whoever was asked to feed us and doesn't even say where it is within this may be dead: another place is
/// sought beside it. Most round trips are shorter.
const DEAF_US: u64 = 200 * MS;
/// Whoever isn't linked within this may never be: some NATs let nobody through but who is reached from within. Another
/// place is sought beside it. Through a rendezvous between continents a link takes less than a second.
const UNLINKED_US: u64 = 1_500 * MS;
/// Whoever was asked to feed us and doesn't within this is given up: a request that was lost comes again after a
/// second (SCTP's least time-out, RFC 9260, 16), and some round trips.
const FEED_US_MAX: u64 = 1_500 * MS;
/// Until it is linked, or while the old parent still feeds us, there is more time: an elected mixer may take a
/// while to begin.
const PATIENCE_US_MAX: u64 = 6 * SECOND;
/// A peer above us.
#[derive(Clone, Debug)]
pub(super) struct Up {
    pub(super) peer: PeerId,
    /// Its path, itself included.
    pub(super) path: Path,
    /// Those of its path that we were sent there by.
    pub(super) above: List<PeerId, PATH_LEN_MAX>,
    /// Where it is, and how late the program leaves it, as it has said.
    pub(super) whereabouts: Option<Whereabouts>,
    /// When it agreed, or was asked to feed us.
    since: Time,
    /// It is linked, and we have asked it to feed us.
    pub(super) asked: bool,
    /// It has answered that, if only with its path: it has a program.
    answered: bool,
}

impl Up {
    /// Whoever has a place for us.
    pub(super) fn accepted(
        peer: PeerId,
        path: Path,
        above: List<PeerId, PATH_LEN_MAX>,
        whereabouts: Whereabouts,
        now: Time,
    ) -> Up {
        Up { peer, path, above, whereabouts: Some(whereabouts), since: now, asked: false, answered: false }
    }

    /// How long we wait for it to feed us, when nobody else does, or while somebody does.
    fn patience_us(&self, fed: bool) -> u64 {
        if fed || !self.asked { PATIENCE_US_MAX } else { FEED_US_MAX }
    }

    /// When another place is to be sought beside it.
    fn deaf_at(&self) -> Option<Time> {
        match (self.asked, self.answered) {
            (false, _) => Some(self.since + UNLINKED_US),
            (true, false) => Some(self.since + DEAF_US),
            (true, true) => None,
        }
    }
}

impl Tree {
    /// What follows from the mandate for who feeds us.
    pub(super) fn follow_mandate(&mut self, view: &mut View<'_>) {
        if !self.is_viewer(view) {
            return;
        }
        let mixes = |up: &Up| view.mandate.mixers.contains(&up.peer);
        // whoever was to feed us as a mixer, and is one no more, would soon shed us
        if let Some(deposed) = self.next.take_if(|next| next.path.len() == 1 && !mixes(next)) {
            self.part_from(view, &deposed);
        }
        let first_tier = self.parent.as_ref().is_some_and(|parent| parent.path.len() == 1);
        let root_stays = self.parent.as_ref().is_some_and(mixes);
        let going = self.next.as_ref().is_some_and(mixes);
        if first_tier && !root_stays && !going {
            // make before break: the old mixer feeds us until the new one does
            match self.backup.take_if(|backup| view.mandate.mixers.contains(&backup.peer)) {
                Some(successor) => self.request_feed(view, successor),
                None if self.seek_parent.is_none() => self.seek_parent_now(view),
                None => {}
            }
        } else if self.parent.is_none() && self.next.is_none() && self.seek_parent.is_none() {
            self.seek_parent_now(view);
        }
        self.want_backup(view);
    }

    /// Sees that the backup is a good one, or that one is sought.
    fn want_backup(&mut self, view: &mut View<'_>) {
        let Some(parent) = &self.parent else {
            self.seek_backup = None;
            return;
        };
        let first_tier = parent.path.len() == 1;
        let fallback = view.fallback(&parent.peer).filter(|fallback| *fallback != view.me);
        let good = self.backup.as_ref().is_some_and(|backup| {
            let same_branch =
                backup.path.contains(&parent.peer.short()) || backup.path.contains(&view.me.short());
            // one that mixes itself may have sent us further down
            let below = |fallback: &PeerId| {
                view.mandate.mixers.contains(fallback) && backup.path.first() == Some(&fallback.short())
            };
            let right =
                !first_tier || fallback.is_none_or(|fallback| fallback == backup.peer || below(&fallback));
            // mixers keep their slots for first tiers, and a standby has no program yet
            let apart = backup.path.len() > 1 && !same_branch;
            let apart = backup.peer != parent.peer && right && (first_tier || apart);
            apart || view.mandate.mutated.is(Mutation::BacksUpInItsBranch)
        });
        if good {
            self.seek_backup = None;
            return;
        }
        self.drop_backup(view);
        if first_tier && fallback.is_none() {
            self.seek_backup = None;
        } else if self.seek_backup.is_none() {
            self.seek_backup = Some(Seek::new(Purpose::Backup, view.now));
        }
    }

    /// That peer is our backup, and we need none: in the first tier of a mixer without a standby all hang on that one mixer.
    pub(super) fn yields_backup(&self, view: &View<'_>, peer: &PeerId) -> bool {
        let first_tier = self.parent.as_ref().filter(|parent| parent.path.len() == 1 && !self.at_fault);
        let needless = first_tier.is_some_and(|mixer| view.fallback(&mixer.peer).is_none());
        needless && self.is_backup_alone(peer)
    }

    /// Another backup is needed, or none.
    pub(super) fn drop_backup(&mut self, view: &mut View<'_>) {
        if let Some(backup) = self.backup.take() {
            self.part_from(view, &backup);
            view.out.event(Event::Backup(None));
        }
    }

    /// Whom we wanted to be fed by, if it is such, is given up; it may have been our backup.
    fn drop_next(&mut self, view: &mut View<'_>, is_such: impl Fn(&Up) -> bool) -> Option<Up> {
        let next = self.next.take_if(|next| is_such(next))?;
        if self.backup.is_none() && self.parent.is_some() {
            view.out.event(Event::Backup(None));
        }
        Some(next)
    }

    /// Wants to be fed by `up`, as soon as it is linked.
    pub(super) fn request_feed(&mut self, view: &mut View<'_>, up: Up) {
        if let Some(other) = self.next.take()
            && other.peer != up.peer
        {
            self.part_from(view, &other);
        }
        let linked = view.links.is_up(&up.peer);
        if linked {
            view.out.act(Output::RequestFeed(up.peer));
            view.out.note(Note::RequestsFeed(up.peer));
        }
        self.next = Some(Up { since: view.now, asked: linked, answered: false, ..up });
        self.keep_links(view);
    }

    /// The first packets have come from a peer that we asked.
    pub(crate) fn fed(&mut self, view: &mut View<'_>, peer: PeerId) {
        let Some(next) = self.next.take_if(|next| next.peer == peer) else { return };
        let old = self.parent.replace(next);
        self.has_changed = self.parent_since.is_some();
        self.parent_since = Some(view.now);
        let failed = std::mem::take(&mut self.at_fault);
        let before = old.as_ref().filter(|old| failed && old.peer != peer);
        let before = before.map(|old| Place { peer: old.peer, path: old.path.clone() });
        self.held = List::new();
        self.seek_parent = None;
        self.told_in_vain = List::new();
        self.forget_told();
        if let Some(old) = old.filter(|old| old.peer != peer) {
            self.part_from(view, &old);
        }
        if self.backup.as_ref().is_some_and(|backup| backup.peer == peer) {
            self.backup = None;
        }
        view.out.event(Event::Parent(Some(peer)));
        self.seek_backup = None; // it was for another place
        view.out.note(Note::Fed(peer));
        let above = self.parent.as_ref().map(|parent| parent.path.clone()).unwrap_or_default();
        self.set_path(view, &above);
        self.has_moved(view, before);
        self.want_backup(view);
        self.settle(view);
    }

    /// The watch on parent and backup, or on a child, speaks.
    pub(crate) fn verdict(&mut self, view: &mut View<'_>, peer: PeerId, verdict: Verdict) {
        if verdict == Verdict::Silent && self.children.contains_key(&peer) {
            // it is dead, and its slot is wanted; or its machine stood still, and it finds this when it wakes
            self.drop_child(view, peer);
            view.out.send(peer, Message::Dismiss);
        }
        if verdict == Verdict::Silent && self.backup.as_ref().is_some_and(|backup| backup.peer == peer) {
            self.drop_backup(view);
            self.want_backup(view);
            self.settle(view);
        }
        if self.parent.as_ref().is_none_or(|parent| parent.peer != peer) {
            return;
        }
        let failed = std::mem::replace(&mut self.at_fault, verdict != Verdict::Ok);
        if self.at_fault && !failed {
            self.take_back(view);
        }
        if verdict == Verdict::Behind {
            self.failed_feeders.fed_nothing(peer); // others have what it should bring
        }
        if self.at_fault {
            for held in std::mem::take(&mut self.held).into_vec() {
                view.out.note(Note::Failover(held));
            }
            self.repair(view);
            // our backup may have gone with it
            let root = self.parent.as_ref().is_some_and(|parent| parent.path.len() == 1);
            let asked = self.next.is_some() && self.seek_parent.is_none();
            if verdict == Verdict::Silent && asked && !root && self.is_viewer(view) {
                self.seek_parent_now(view);
                self.on_time_up(view);
            }
        } else {
            self.repaired(view);
        }
        self.settle(view);
    }

    /// The parent is gone or at fault: the backup feeds us, from the last packets we hold.
    pub(super) fn repair(&mut self, view: &mut View<'_>) {
        self.seek_parent.take_if(|seek| seek.is_move()); // it takes its time, and may be among the dead
        if self.next.as_ref().is_some_and(|next| next.asked) || !self.is_viewer(view) {
            return;
        }
        // rather the backup than one that we aren't linked with yet
        match self.backup.take_if(|backup| view.links.is_up(&backup.peer)) {
            Some(backup) => self.request_feed(view, backup),
            None if self.seek_parent.is_none() && self.next.is_none() => self.seek_parent_now(view),
            None => {}
        }
    }

    /// The parent feeds us again before the backup did: it stays.
    fn repaired(&mut self, view: &mut View<'_>) {
        self.seek_parent.take_if(|seek| !seek.is_move());
        self.forget_told(); // it may have let us go, and in again by what we said before
        // but for a new mixer, where ours is one no more
        let stays = self.is_fed_by_a_mixer(view);
        let goes = |next: &mut Up| next.path.len() == 1 && view.mandate.mixers.contains(&next.peer) && !stays;
        if let Some(next) = self.next.take_if(|next| !goes(next)) {
            if self.parent.as_ref().is_some_and(|parent| parent.peer == next.peer) {
                return; // the search began where we are, and was let in
            }
            view.out.send(next.peer, Message::StopFeed);
            if self.backup.is_none() {
                self.backup = Some(next);
            } else {
                self.part_from(view, &next);
            }
        }
    }

    /// A failover was sent to us by `from`: true to take it now. One by our own backup counts only when our
    /// feed has stalled; until then it is held.
    pub(crate) fn believes(&mut self, view: &View<'_>, from: PeerId, failover: &Signed<Failover>) -> bool {
        let above = |up: &Option<Up>| up.as_ref().is_some_and(|up| up.peer == from);
        if failover.body.polite || above(&self.parent) || self.at_fault || !self.is_viewer(view) {
            return true;
        }
        if self.parent.is_none() {
            return true;
        }
        if (above(&self.backup) || above(&self.next)) && !self.held.contains(failover) {
            // a term has no more than fit; those of earlier ones are over
            let held = std::mem::take(&mut self.held).into_vec().into_iter();
            let held = held.filter(|held| held.body.rank.term >= view.mandate.rank.term);
            self.held = List::truncated(held.chain([failover.clone()]));
        }
        false
    }

    /// A peer feeds us, as we have asked it to; or did ask: what a link held back may be long over.
    pub(crate) fn fed_by(&mut self, view: &mut View<'_>, from: PeerId, path: Path, whereabouts: Whereabouts) {
        self.whereabouts_of(view, from, whereabouts);
        self.path_is(view, from, path);
        let wanted = |up: &Option<Up>| up.as_ref().is_some_and(|up| up.peer == from && up.asked);
        if !wanted(&self.parent) && !wanted(&self.next) {
            self.decline(view, from);
        }
    }

    /// Our parent's place has changed.
    pub(crate) fn path_is(&mut self, view: &mut View<'_>, from: PeerId, path: Path) {
        let me = view.me.short();
        for up in [&mut self.parent, &mut self.backup, &mut self.next].into_iter().flatten() {
            if up.peer == from && !path.is_empty() {
                up.answered = up.asked;
                up.path = path.clone();
            }
        }
        if path.is_empty() {
            // it is there, and has no program yet, or none any more
            if let Some(next) = self.next.as_mut().filter(|next| next.peer == from) {
                next.answered = false;
            }
            let vain = self.next.as_ref().is_some_and(|next| next.peer == from && next.path.len() > 1);
            let fed = self.parent.is_some() && !self.at_fault;
            if vain && !fed && self.seek_parent.is_none() && self.is_viewer(view) {
                self.seek_parent_now(view);
                self.on_time_up(view);
            }
            return;
        }
        if self.backup.as_ref().is_some_and(|backup| backup.peer == from && path.contains(&me)) {
            self.drop_backup(view); // nor may it be asked to when our parent dies
        }
        if let Some(next) = self.drop_next(view, |next| next.peer == from && path.contains(&me)) {
            // by now it hangs on us: it can't feed us
            self.part_from(view, &next);
            if self.at_fault || self.parent.is_none() {
                self.seek_parent_now(view);
            }
        }
        if self.parent.as_ref().is_some_and(|parent| parent.peer == from) {
            if path.contains(&me) || path.len() >= PATH_LEN_MAX {
                // we would feed ourselves: another place is needed
                self.lose_parent(view);
                self.follow_mandate(view);
            } else {
                self.set_path(view, &path);
            }
        }
        self.want_backup(view);
        self.settle(view);
    }

    /// A peer above us is going; it names places to go to.
    pub(crate) fn shed_by(&mut self, view: &mut View<'_>, from: PeerId, places: &[Place]) {
        if self.drop_next(view, |next| next.peer == from).is_some() {
            // it can't keep its promise; the places it names are near
            self.seek_parent = Some(Seek::at_places(view.now, places));
        } else if self.backup.as_ref().is_some_and(|backup| backup.peer == from) {
            self.drop_up(view, from);
            self.want_backup(view);
        } else if self.parent.as_ref().is_some_and(|parent| parent.peer == from) && self.next.is_none() {
            match self.backup.take_if(|backup| view.links.is_up(&backup.peer)) {
                Some(backup) => self.request_feed(view, backup),
                None => self.seek_parent = Some(Seek::at_places(view.now, places)),
            }
        }
        self.on_time_up(view);
        self.settle(view);
    }

    /// The application wants another parent.
    pub(crate) fn reconnect(&mut self, view: &mut View<'_>) {
        if self.is_viewer(view) && self.next.is_none() {
            self.seek_parent_now(view);
            self.on_time_up(view);
        }
    }

    /// A peer above us says that it is one no more.
    pub(crate) fn dismissed_by(&mut self, view: &mut View<'_>, from: PeerId) {
        if self.is_above(&from) {
            let fed_us = self.parent.as_ref().is_some_and(|parent| parent.peer == from);
            self.drop_up(view, from);
            if fed_us && self.is_viewer(view) && self.seek_parent.is_none() {
                // the backup may be a standby that has nothing to give: whoever comes first feeds us
                self.seek_parent_now(view);
            }
            self.on_time_up(view);
            self.settle(view);
        }
    }

    /// A peer above us is one no more: its word, or its link's.
    pub(crate) fn drop_up(&mut self, view: &mut View<'_>, peer: PeerId) {
        if self.backup.take_if(|backup| backup.peer == peer).is_some() {
            if self.watched.1 != Some(peer) {
                self.failed_feeders.was_not_linked(peer);
            }
            view.out.event(Event::Backup(None));
        }
        if self.drop_next(view, |next| next.peer == peer).is_some_and(|next| !next.asked) {
            self.failed_feeders.was_not_linked(peer);
        }
        if self.parent.as_ref().is_some_and(|parent| parent.peer == peer) {
            self.lose_parent(view);
        }
        if self.parent.is_none() || self.at_fault {
            self.repair(view);
        }
        self.want_backup(view);
    }

    fn lose_parent(&mut self, view: &mut View<'_>) {
        if let Some(parent) = self.parent.take() {
            self.part_from(view, &parent);
            self.at_fault = false;
            self.path = Path::default();
            view.out.event(Event::Parent(None));
        }
    }

    /// Lets go of everyone above us.
    pub(super) fn let_go_upward(&mut self, view: &mut View<'_>) {
        (self.seek_parent, self.seek_backup) = (None, None);
        for up in [self.next.take(), self.backup.take()].into_iter().flatten() {
            self.part_from(view, &up);
        }
        self.lose_parent(view);
    }

    /// Says goodbye to a peer above us, unless it is above us in another way; a backup that was asked to feed us
    /// stays one, but must not feed us later on, when it can.
    fn part_from(&mut self, view: &mut View<'_>, up: &Up) {
        let feeds = [&self.parent, &self.next].into_iter().flatten().any(|other| other.peer == up.peer);
        if !self.is_above(&up.peer) {
            view.out.send(up.peer, Message::Detach);
        } else if up.asked && !feeds {
            view.out.send(up.peer, Message::StopFeed);
        }
    }

    /// It is our backup, and neither feeds us nor was asked to.
    pub(super) fn is_backup_alone(&self, peer: &PeerId) -> bool {
        let is = |up: &Option<Up>| up.as_ref().is_some_and(|up| up.peer == *peer);
        is(&self.backup) && !is(&self.parent) && !is(&self.next)
    }

    pub(super) fn is_above(&self, peer: &PeerId) -> bool {
        [&self.parent, &self.backup, &self.next].into_iter().flatten().any(|up| up.peer == *peer)
    }

    pub(super) fn keep_watch(&mut self, view: &mut View<'_>) {
        let linked = |up: &Option<Up>| up.as_ref().map(|up| up.peer).filter(|peer| view.links.is_up(peer));
        let watched = (linked(&self.parent), linked(&self.backup));
        if watched != self.watched {
            self.watched = watched;
            view.out.act(Output::Watch { parent: watched.0, backup: watched.1 });
        }
    }

    pub(super) fn keep_links(&mut self, view: &mut View<'_>) {
        let peers = |ups: [&Option<Up>; 2]| -> BTreeSet<_> {
            ups.into_iter().flatten().map(|up| (up.peer, LinkKind::Peer)).collect()
        };
        let parents = peers([&self.parent, &self.next]);
        let backups = peers([&self.backup, &None]);
        view.links.want_only(view.now, view.out, Want::Parent, &parents);
        view.links.want_only(view.now, view.out, Want::Backup, &backups);
    }

    pub(super) fn link_changed_up(&mut self, view: &mut View<'_>, peer: PeerId, up: bool) {
        if !up {
            self.drop_up(view, peer);
        } else if let Some(next) = self.next.as_mut().filter(|next| next.peer == peer && !next.asked) {
            (next.asked, next.answered, next.since) = (true, false, view.now);
            view.out.act(Output::RequestFeed(peer));
            view.out.note(Note::RequestsFeed(peer));
        } else if self.at_fault && self.backup.as_ref().is_some_and(|backup| backup.peer == peer) {
            self.repair(view); // it comes just in time
        }
    }

    pub(super) fn on_time_up(&mut self, view: &mut View<'_>) {
        let fed = self.parent.is_some() && !self.at_fault;
        let now = view.now;
        if let Some(late) = self.drop_next(view, |next| next.since + next.patience_us(fed) <= now) {
            self.part_from(view, &late);
            if late.asked {
                self.failed_feeders.fed_nothing(late.peer);
            } else {
                self.failed_feeders.was_not_linked(late.peer);
            }
            if !fed && self.seek_parent.is_none() && self.is_viewer(view) {
                self.seek_parent_now(view);
                self.begin_above(view, &late);
            }
            self.follow_mandate(view);
        }
        if self.deaf_at().is_some_and(|at| at <= view.now) {
            self.seek_parent_now(view);
            if let Some(unlinked) = self.next.clone().filter(|next| !next.asked) {
                self.failed_feeders.was_not_linked(unlinked.peer);
                self.begin_above(view, &unlinked);
            }
        }
        if let Some((peer, _)) = self.unlinked_backup().filter(|(_, at)| *at <= view.now) {
            self.drop_up(view, peer);
        }
        if let Some(seek) = self.seek_parent.take() {
            self.seek_parent = self.step(view, seek);
        }
        if let Some(seek) = self.seek_backup.take() {
            self.seek_backup = self.step(view, seek);
        }
    }

    /// Whoever was asked to feed us has said that it will.
    pub(super) fn next_answers(&self) -> bool {
        self.next.as_ref().is_some_and(|next| next.answered)
    }

    /// A backup that isn't linked yet, and when another is sought in its place.
    fn unlinked_backup(&self) -> Option<(PeerId, Time)> {
        let unlinked = self.backup.as_ref().filter(|backup| self.watched.1 != Some(backup.peer));
        unlinked.map(|backup| (backup.peer, backup.since + PATIENCE_US_MAX))
    }

    /// When a place beside that of a silent `next` is to be sought, while nobody feeds us.
    fn deaf_at(&self) -> Option<Time> {
        let fed = self.parent.is_some() && !self.at_fault;
        let seeks = fed || self.seek_parent.is_some();
        self.next.as_ref().filter(|_| !seeks).and_then(Up::deaf_at)
    }

    pub(super) fn next_timeout_up(&self) -> Option<Time> {
        let fed = self.parent.is_some() && !self.at_fault;
        let next = self.next.as_ref().map(|next| next.since + next.patience_us(fed));
        let next =
            next.into_iter().chain(self.deaf_at()).chain(self.unlinked_backup().map(|(_, at)| at)).min();
        let seeks = [&self.seek_parent, &self.seek_backup].map(|seek| seek.as_ref().map(Seek::due));
        seeks.into_iter().chain([next]).flatten().min()
    }
}
