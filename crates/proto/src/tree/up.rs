//! The child's side of the tree: keeping a parent and a linked backup, and changing between them without a
//! gap.

use crate::ordered::OrderedSet;

use super::above::{Feed, PATIENCE_US_MAX, Up};
use super::seek::Seek;
use super::{FORMER_US, Tree};
use crate::app::Event;
use crate::bounded::List;
use crate::id::PeerId;
use crate::io::{Output, Verdict};
use crate::links::Want;
use crate::message::{Failover, LinkKind, PATH_LEN_MAX, Path, Place, Purpose, TreeMessage, Whereabouts};
use crate::mutation::Mutation;
use crate::outbox::Note;
use crate::seal::Signed;
use crate::time::Time;
use crate::view::View;

impl Tree {
    /// Re-evaluates parent, `next` and backup after a change of mandate.
    pub(super) fn follow_mandate(&mut self, view: &mut View<'_>) {
        if !self.is_viewer(view) {
            return;
        }
        let mixes = |up: &Up| view.mandate.mixers.contains(&up.peer);
        // A mixer that was to feed this peer and is no longer in force would soon shed it.
        if let Some(deposed) = self.next.take_if(|next| next.path.len() == 1 && !mixes(next)) {
            self.part_from(view, &deposed);
        }
        let first_tier = self.parent.as_ref().is_some_and(|parent| parent.path.len() == 1);
        let root_stays = self.parent.as_ref().is_some_and(mixes);
        let going = self.next.as_ref().is_some_and(mixes);
        if first_tier && !root_stays && !going {
            // Make before break: the old mixer feeds this peer until the new one does.
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

    /// Keeps the backup if it is a suitable one, else starts a search for another.
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
            // A fallback that mixes itself may have redirected this peer further down its own tree.
            let below = |fallback: &PeerId| {
                view.mandate.mixers.contains(fallback) && backup.path.first() == Some(&fallback.short())
            };
            let right =
                !first_tier || fallback.is_none_or(|fallback| fallback == backup.peer || below(&fallback));
            // Below the first tier the backup is a viewer in another branch: mixers keep their promises for
            // first tiers, and a standby has no program yet.
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
            let seek = Seek::new(Purpose::Backup, view.now);
            self.seek_backup = Some(self.beginning_above_a_forger(view, seek));
        }
    }

    /// Returns whether `peer` is only this peer's backup, and can be given up: in the first tier of a mixer
    /// without a standby, a backup is of no use, since all viewers depend on that one mixer.
    pub(super) fn yields_backup(&self, view: &View<'_>, peer: &PeerId) -> bool {
        let first_tier = self.parent.as_ref().filter(|parent| parent.path.len() == 1 && !self.at_fault);
        let needless = first_tier.is_some_and(|mixer| view.fallback(&mixer.peer).is_none());
        needless && self.is_backup_alone(peer)
    }

    /// Releases the backup, because it is unsuitable or no longer needed.
    pub(super) fn drop_backup(&mut self, view: &mut View<'_>) {
        if let Some(backup) = self.backup.take() {
            self.part_from(view, &backup);
            view.out.event(Event::Backup { peer: None });
        }
    }

    /// Gives up `next` if it matches the predicate, and returns it. If that peer had been the backup, the
    /// application learns that it has no backup.
    fn drop_next(&mut self, view: &mut View<'_>, is_such: impl Fn(&Up) -> bool) -> Option<Up> {
        let next = self.next.take_if(|next| is_such(next))?;
        if self.backup.is_none() && self.parent.is_some() {
            view.out.event(Event::Backup { peer: None });
        }
        Some(next)
    }

    /// Makes `up` the peer to be fed by next; the request (`Feed`) is sent now, or as soon as the link is up.
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
        let feed = if linked { Feed::Requested } else { Feed::Accepted };
        self.next = Some(Up { since: view.now, feed, ..up });
        self.keep_links(view);
    }

    /// Keeps a place that has accepted this peer, in case the linked peer that was requested to feed doesn't answer:
    /// that peer needs no link set-up, so it delivers sooner. The link with the other is set up meanwhile.
    pub(super) fn hold_beside(&mut self, view: &mut View<'_>, up: Up) {
        if self.beside.is_some() {
            self.decline(view, up.peer);
        } else {
            self.beside = Some(up);
        }
    }

    /// Takes the place held beside `next` if `next` is gone or has no program, or gives it back once it is not needed.
    pub(super) fn keep_beside(&mut self, view: &mut View<'_>) {
        if self.next.as_ref().is_some_and(Up::may_answer) {
            return;
        }
        let Some(beside) = self.beside.take() else { return };
        let fed = self.parent.is_some() && !self.at_fault
            || self.next.as_ref().is_some_and(|next| next.feed == Feed::Answered);
        if fed || !self.is_viewer(view) || beside.path.contains(&view.me.short()) {
            self.decline(view, beside.peer);
        } else {
            self.request_feed(view, beside);
        }
    }

    /// Makes `peer` the parent: the first packets have arrived from a peer that was requested to feed.
    /// Releases the old parent.
    pub(crate) fn fed(&mut self, view: &mut View<'_>, peer: PeerId) {
        let Some(next) = self.next.take_if(|next| next.peer == peer) else { return };
        let old = self.parent.replace(next);
        self.has_changed = self.parent_since.is_some();
        self.parent_since = Some(view.now);
        let failed = std::mem::take(&mut self.at_fault);
        let before = old.as_ref().filter(|old| failed && old.peer != peer);
        let before = before.filter(|old| self.failed_feeders.paused(view.now, old.peer));
        let before = before.map(|old| Place { peer: old.peer, path: old.path.clone() });
        self.held = List::new();
        self.seek_parent = None;
        self.told_in_vain = List::new();
        self.forget_told();
        self.former = None;
        if let Some(old) = old.filter(|old| old.peer != peer) {
            self.former = (!failed).then_some((old.peer, view.now + FORMER_US));
            self.part_from(view, &old);
        }
        if self.backup.as_ref().is_some_and(|backup| backup.peer == peer) {
            self.backup = None;
        }
        view.out.event(Event::Parent { peer: Some(peer) });
        self.failed_feeders.feeds(&peer);
        self.seek_backup = None; // that search was for another place
        view.out.note(Note::Fed(peer));
        let above = self.parent.as_ref().map(|parent| parent.path.clone()).unwrap_or_default();
        self.set_path(view, &above);
        self.has_moved(view, before);
        self.want_backup(view);
        self.settle(view);
    }

    /// Handles a verdict of the watchdog on the parent, the backup, or a child.
    pub(crate) fn verdict(&mut self, view: &mut View<'_>, peer: PeerId, verdict: Verdict) {
        if verdict == Verdict::Silent && self.children.contains_key(&peer) {
            // The child is dead, and its slot is needed; or its machine stalled, and it learns of the loss
            // when it wakes.
            self.drop_child(view, peer);
            view.out.send(peer, TreeMessage::Dismiss);
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
            self.failed_feeders.fed_nothing(peer); // others have the frames that it should bring
        }
        if self.at_fault {
            for held in std::mem::take(&mut self.held).into_vec() {
                view.out.note(Note::Failover(held));
            }
            self.repair(view);
            // The backup may have died together with the parent.
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

    /// Requests the program from the backup, starting at the last packets held, because the parent is lost or
    /// at fault. Without a linked backup a search begins.
    pub(super) fn repair(&mut self, view: &mut View<'_>) {
        // A search for a better place is slow and may be waiting for dead peers.
        self.seek_parent.take_if(|seek| seek.is_move());
        if self.next.as_ref().is_some_and(Up::is_asked) || !self.is_viewer(view) {
            return;
        }
        // A linked backup is preferred to a `next` that isn't linked yet.
        match self.backup.take_if(|backup| view.links.is_up(&backup.peer)) {
            Some(backup) => self.request_feed(view, backup),
            None if self.seek_parent.is_none() && self.next.is_none() => self.seek_parent_now(view),
            None => {}
        }
    }

    /// The parent delivers again before the backup has begun: it stays the parent, and the backup is stopped.
    fn repaired(&mut self, view: &mut View<'_>) {
        self.seek_parent.take_if(|seek| !seek.is_move());
        self.forget_told(); // the parent may have dropped this peer and accepted it again with old figures
        // A switch to a new mixer continues if the tree's present root is no longer a mixer in force.
        let stays = self.is_fed_by_a_mixer(view);
        let goes = |next: &mut Up| next.path.len() == 1 && view.mandate.mixers.contains(&next.peer) && !stays;
        if let Some(next) = self.next.take_if(|next| !goes(next)) {
            if self.parent.as_ref().is_some_and(|parent| parent.peer == next.peer) {
                return; // the search began at the parent, which accepted
            }
            view.out.send(next.peer, TreeMessage::StopFeed);
            if self.backup.is_none() {
                self.backup = Some(next);
            } else {
                self.part_from(view, &next);
            }
        }
    }

    /// Returns whether a viewer believes this peer that the host is gone: its parent; while its feed is at fault, also
    /// its backup and the peers that it has asked to feed it, whose program may need the proof.
    pub(crate) fn trusts(&self, from: &PeerId) -> bool {
        let is = |up: &Option<Up>| up.as_ref().is_some_and(|up| up.peer == *from);
        is(&self.parent) || (self.at_fault && (is(&self.backup) || is(&self.next) || is(&self.beside)))
    }

    /// Returns whether a failover sent by `from` may be followed now. A non-polite failover by this peer's
    /// own backup counts only when its feed has stalled; until then it is held. Other peers' failovers are
    /// dropped meanwhile, except the parent's.
    pub(crate) fn believes(&mut self, view: &View<'_>, from: PeerId, failover: &Signed<Failover>) -> bool {
        let above = |up: &Option<Up>| up.as_ref().is_some_and(|up| up.peer == from);
        let is_polite = view.mandate.is_polite(&failover.body);
        if is_polite || above(&self.parent) || self.at_fault || !self.is_viewer(view) {
            return true;
        }
        if self.parent.is_none() {
            return true;
        }
        if (above(&self.backup) || above(&self.next)) && !self.held.contains(failover) {
            // All failovers of one term fit; those of earlier terms are obsolete.
            let held = std::mem::take(&mut self.held).into_vec().into_iter();
            let held = held.filter(|held| held.body.rank.term >= view.mandate.rank.term);
            self.held = List::truncated(held.chain([failover.clone()]));
        }
        false
    }

    /// Handles `Feeding`: a peer feeds this peer as requested. It is declined if the request is outdated,
    /// since a link may have held it back for long.
    pub(crate) fn fed_by(&mut self, view: &mut View<'_>, from: PeerId, path: Path, whereabouts: Whereabouts) {
        self.whereabouts_of(view, from, whereabouts);
        self.path_is(view, from, path);
        let wanted = |up: &Option<Up>| up.as_ref().is_some_and(|up| up.peer == from && up.is_asked());
        if !wanted(&self.parent) && !wanted(&self.next) {
            self.decline(view, from);
        }
    }

    /// Handles a new path of the parent, the backup or `next`.
    pub(crate) fn path_is(&mut self, view: &mut View<'_>, from: PeerId, path: Path) {
        let me = view.me.short();
        let ups = [&mut self.parent, &mut self.backup, &mut self.next, &mut self.beside];
        for up in ups.into_iter().flatten() {
            if up.peer == from && !path.is_empty() {
                up.answers(true);
                up.path = path.clone();
            }
        }
        if path.is_empty() {
            // The sender lives, but has no program yet, or has lost it.
            if let Some(next) = self.next.as_mut().filter(|next| next.peer == from) {
                next.answers(false);
            }
            let vain = self.next.as_ref().is_some_and(|next| next.peer == from && next.path.len() > 1);
            let fed = self.parent.is_some() && !self.at_fault;
            if vain && !fed && self.seek_parent.is_none() && self.is_viewer(view) {
                self.seek_parent_now(view);
                self.on_time_up(view);
            }
            self.settle(view);
            return;
        }
        if self.backup.as_ref().is_some_and(|backup| backup.peer == from && path.contains(&me)) {
            self.drop_backup(view); // nor may it be requested to feed when the parent dies
        }
        if let Some(next) = self.drop_next(view, |next| next.peer == from && path.contains(&me)) {
            // By now `next` is below this peer, so it can't feed this peer.
            self.part_from(view, &next);
            if self.at_fault || self.parent.is_none() {
                self.seek_parent_now(view);
            }
        }
        if self.parent.as_ref().is_some_and(|parent| parent.peer == from) {
            if path.contains(&me) || path.len() >= PATH_LEN_MAX {
                // The parent is below this peer or at the depth limit: another place is needed.
                self.lose_parent(view);
                self.follow_mandate(view);
            } else {
                self.set_path(view, &path);
            }
        }
        self.want_backup(view);
        self.settle(view);
    }

    /// Handles `Shed`: a peer above this one leaves, and names places to go to.
    pub(crate) fn shed_by(&mut self, view: &mut View<'_>, from: PeerId, places: &[Place]) {
        if self.drop_next(view, |next| next.peer == from).is_some() {
            // It can't feed this peer; the places that it names are near.
            self.seek_parent = Some(Seek::at_places(view, places));
        } else if self.backup.as_ref().is_some_and(|backup| backup.peer == from) {
            self.drop_up(view, from);
            self.want_backup(view);
        } else if self.parent.as_ref().is_some_and(|parent| parent.peer == from) && self.next.is_none() {
            match self.backup.take_if(|backup| view.links.is_up(&backup.peer)) {
                Some(backup) => self.request_feed(view, backup),
                None => self.seek_parent = Some(Seek::at_places(view, places)),
            }
        }
        self.on_time_up(view);
        self.settle(view);
    }

    /// The application requests another parent.
    pub(crate) fn reconnect(&mut self, view: &mut View<'_>) {
        if self.is_viewer(view) && self.next.is_none() {
            self.seek_parent_now(view);
            self.on_time_up(view);
        }
    }

    /// Handles `Dismiss`: a peer above this one has ended the relation.
    pub(crate) fn dismissed_by(&mut self, view: &mut View<'_>, from: PeerId) {
        self.beside.take_if(|beside| beside.peer == from);
        if self.is_above(&from) {
            let fed_us = self.parent.as_ref().is_some_and(|parent| parent.peer == from);
            self.drop_up(view, from);
            if fed_us && self.is_viewer(view) && self.seek_parent.is_none() {
                // The backup may be a standby without a program. The first peer to deliver becomes the
                // parent.
                self.seek_parent_now(view);
            }
            self.on_time_up(view);
            self.settle(view);
        }
    }

    /// Removes a peer that is no longer parent, backup or `next`, since it dismissed this peer or its link is
    /// lost.
    pub(crate) fn drop_up(&mut self, view: &mut View<'_>, peer: PeerId) {
        self.beside.take_if(|beside| beside.peer == peer);
        if self.backup.take_if(|backup| backup.peer == peer).is_some() {
            if self.watched.1 != Some(peer) {
                self.failed_feeders.was_not_linked(peer);
            }
            view.out.event(Event::Backup { peer: None });
        }
        if self.drop_next(view, |next| next.peer == peer).is_some_and(|next| !next.is_asked()) {
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
            view.out.event(Event::Parent { peer: None });
        }
    }

    /// Releases the parent, the backup and `next`.
    pub(super) fn let_go_upward(&mut self, view: &mut View<'_>) {
        (self.seek_parent, self.seek_backup) = (None, None);
        for up in [self.next.take(), self.backup.take(), self.beside.take()].into_iter().flatten() {
            self.part_from(view, &up);
        }
        self.lose_parent(view);
    }

    /// Sends `Detach` to a former parent, backup or `next`, unless the peer still has another of these roles.
    /// A backup that was requested to feed and stays the backup gets `StopFeed`, or it would begin to feed
    /// later.
    fn part_from(&mut self, view: &mut View<'_>, up: &Up) {
        let feeds = [&self.parent, &self.next].into_iter().flatten().any(|other| other.peer == up.peer);
        if !self.is_above(&up.peer) {
            view.out.send(up.peer, TreeMessage::Detach);
        } else if up.is_asked() && !feeds {
            view.out.send(up.peer, TreeMessage::StopFeed);
        }
    }

    /// Returns whether a peer is the backup, and neither the parent nor requested to feed.
    pub(super) fn is_backup_alone(&self, peer: &PeerId) -> bool {
        let is = |up: &Option<Up>| up.as_ref().is_some_and(|up| up.peer == *peer);
        is(&self.backup) && !is(&self.parent) && !is(&self.next)
    }

    pub(crate) fn is_above(&self, peer: &PeerId) -> bool {
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
        let peers = |ups: &[&Option<Up>]| -> OrderedSet<_> {
            ups.iter().copied().flatten().map(|up| (up.peer, LinkKind::Peer)).collect()
        };
        let parents = peers(&[&self.parent, &self.next, &self.beside]);
        let backups = peers(&[&self.backup]);
        view.links.want_only(view.now, view.out, Want::Parent, &parents);
        view.links.want_only(view.now, view.out, Want::Backup, &backups);
    }

    pub(super) fn link_changed_up(&mut self, view: &mut View<'_>, peer: PeerId, up: bool) {
        if !up {
            self.drop_up(view, peer);
        } else if let Some(next) = self.next.as_mut().filter(|next| next.peer == peer && !next.is_asked()) {
            (next.feed, next.since) = (Feed::Requested, view.now);
            view.out.act(Output::RequestFeed(peer));
            view.out.note(Note::RequestsFeed(peer));
        } else if self.at_fault && self.backup.as_ref().is_some_and(|backup| backup.peer == peer) {
            self.repair(view); // the link comes just in time
        }
    }

    pub(super) fn on_time_up(&mut self, view: &mut View<'_>) {
        let fed = self.parent.is_some() && !self.at_fault;
        let now = view.now;
        if let Some(late) = self.drop_next(view, |next| next.since + next.patience_us(fed) <= now) {
            self.part_from(view, &late);
            if late.is_asked() {
                self.failed_feeders.fed_nothing(late.peer);
                if late.feed == Feed::Answered {
                    self.failed_feeders.broke_its_word(now, late.peer);
                }
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
            if let Some(beside) = self.beside.take() {
                self.request_feed(view, beside);
            } else {
                self.seek_parent_now(view);
                if let Some(unlinked) = self.next.clone().filter(|next| !next.is_asked()) {
                    self.failed_feeders.was_not_linked(unlinked.peer);
                    self.begin_above(view, &unlinked);
                }
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

    /// Returns the backup if it isn't linked yet, and when another is to be sought instead.
    fn unlinked_backup(&self) -> Option<(PeerId, Time)> {
        let unlinked = self.backup.as_ref().filter(|backup| self.watched.1 != Some(backup.peer));
        unlinked.map(|backup| (backup.peer, backup.since + PATIENCE_US_MAX))
    }

    /// Returns when a place beside that of a silent `next` is to be sought; `None` while this peer is fed or
    /// searches already.
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
