//! The child's side: seeking a place, keeping a parent and a backup, changing between them.

use std::collections::BTreeSet;

use super::Tree;
use crate::id::PeerId;
use crate::io::{Event, Output, Verdict};
use crate::links::Want;
use crate::message::{Attach, LinkKind, Message, PATH_LEN_MAX, PLACES_MAX, Path, Place, Purpose, TakeOver};
use crate::mutation::Mutation;
use crate::outbox::{Note, View};
use crate::rng::Backoff;
use crate::seal::Signed;
use crate::time::{MS, SECOND, Time};

/// An attach that isn't answered within this is asked elsewhere.
const ANSWER_US_MAX: u64 = 1_500 * MS;
/// Whoever has agreed to feed us and doesn't within this, once it is linked, is given up: some round trips.
const FEED_US_MAX: u64 = SECOND;
/// Until it is linked, or while the old parent still feeds us, there is more time: an elected mixer may take a
/// while to begin.
const PATIENCE_US_MAX: u64 = 6 * SECOND;
/// A way down through more redirects than this is not a tree.
const HOPS_MAX: u32 = 2 * PATH_LEN_MAX as u32;
/// No backup was to be had: the tree may have grown a branch by then.
const BACKUP_RETRY: Backoff = Backoff::new(400 * MS, 3 * SECOND);
const PARENT_RETRY: Backoff = Backoff::new(200 * MS, 3 * SECOND);

/// A peer above us.
#[derive(Clone, Debug)]
pub(super) struct Up {
    pub(super) peer: PeerId,
    /// Its path, itself included.
    pub(super) path: Path,
    /// When it agreed, or was asked to feed us.
    since: Time,
    asked: bool,
}

/// A search for a place.
#[derive(Debug)]
pub(super) struct Seek {
    purpose: Purpose,
    /// Whom we have asked, and since when.
    at: Option<(PeerId, Time)>,
    /// Where we were sent, best first.
    places: Vec<Place>,
    tried: BTreeSet<PeerId>,
    hops: u32,
    retry_at: Time,
    backoff: Backoff,
}

impl Seek {
    fn new(purpose: Purpose, now: Time) -> Seek {
        let backoff = if purpose == Purpose::Parent { PARENT_RETRY } else { BACKUP_RETRY };
        let (places, tried) = (Vec::new(), BTreeSet::new());
        Seek { purpose, at: None, places, tried, hops: 0, retry_at: now, backoff }
    }

    /// A search for a parent that begins at these places.
    fn at_places(now: Time, places: &[Place]) -> Seek {
        let places = places.iter().take(PLACES_MAX).cloned().collect();
        Seek { places, ..Seek::new(Purpose::Parent, now) }
    }
}

impl Tree {
    /// What follows from the mandate for who feeds us.
    pub(super) fn follow_mandate(&mut self, view: &mut View<'_>) {
        if !self.is_viewer(view) {
            return;
        }
        let mixes = |up: &Up| view.mandate.mixers.contains(&up.peer);
        let first_tier = self.parent.as_ref().is_some_and(|parent| parent.path.len() == 1);
        let root_stays = self.parent.as_ref().is_some_and(mixes);
        let going = self.next.as_ref().is_some_and(mixes);
        if first_tier && !root_stays && !going {
            // make before break: the old mixer feeds us until the new one does
            match self.backup.take_if(|backup| view.mandate.mixers.contains(&backup.peer)) {
                Some(regent) => self.ask_feed(view, regent),
                None if self.seek_parent.is_none() => self.seek_parent_now(view),
                None => {}
            }
        } else if self.parent.is_none() && self.next.is_none() && self.seek_parent.is_none() {
            self.seek_parent_now(view);
        }
        self.want_backup(view);
    }

    fn seek_parent_now(&mut self, view: &View<'_>) {
        self.seek_parent = Some(Seek::new(Purpose::Parent, view.now));
    }

    /// Sees that the backup is a good one, or that one is sought.
    fn want_backup(&mut self, view: &mut View<'_>) {
        let Some(parent) = &self.parent else {
            self.seek_backup = None;
            return;
        };
        let first_tier = parent.path.len() == 1;
        let standby = view.mandate.standby().filter(|standby| *standby != parent.peer && *standby != view.me);
        let good = self.backup.as_ref().is_some_and(|backup| {
            let same_branch =
                backup.path.contains(&parent.peer.short()) || backup.path.contains(&view.me.short());
            let right = !first_tier || standby.is_none_or(|standby| standby == backup.peer);
            let apart = backup.peer != parent.peer && right && (first_tier || !same_branch);
            apart || view.mandate.mutated.is(Mutation::BacksUpInItsBranch)
        });
        if good {
            self.seek_backup = None;
            return;
        }
        if let Some(backup) = self.backup.take() {
            self.part_from(view, &backup);
            view.out.event(Event::Backup(None));
        }
        if first_tier && standby.is_none() {
            self.seek_backup = None;
        } else if self.seek_backup.is_none() {
            self.seek_backup = Some(Seek::new(Purpose::Backup, view.now));
        }
    }

    /// Where a search begins: at a mixer; for a backup of the first tier at standby 1.
    fn start_of(&self, view: &mut View<'_>, purpose: Purpose) -> Option<PeerId> {
        let first_tier = self.parent.as_ref().is_some_and(|parent| parent.path.len() == 1);
        if purpose == Purpose::Backup && first_tier {
            return view.mandate.standby();
        }
        let mixers: Vec<_> = view.mandate.mixers.iter().filter(|mixer| **mixer != view.me).collect();
        mixers.get(view.rng.below(mixers.len() as u64) as usize).map(|mixer| **mixer)
    }

    /// Takes the next step of a search.
    fn step(&mut self, view: &mut View<'_>, mut seek: Seek) -> Option<Seek> {
        if let Some((peer, since)) = seek.at {
            if view.now.since(since) < ANSWER_US_MAX {
                return Some(seek);
            }
            seek.tried.insert(peer);
            seek.at = None;
        }
        if view.now < seek.retry_at {
            return Some(seek);
        }
        let known = seek.places.iter().position(|place| !seek.tried.contains(&place.peer));
        let peer = match known {
            Some(at) if seek.hops < HOPS_MAX => Some(seek.places.remove(at).peer),
            _ => None,
        };
        let Some(peer) = peer.or_else(|| self.restart(view, &mut seek)) else { return Some(seek) };
        seek.at = Some((peer, view.now));
        let attach =
            Attach { purpose: seek.purpose, path: self.path.clone(), viewers_below: self.viewers_below() };
        view.out.send(peer, Message::Attach(attach));
        Some(seek)
    }

    /// Begins a search anew at its start: at once the first time, with back-off after that.
    fn restart(&self, view: &mut View<'_>, seek: &mut Seek) -> Option<PeerId> {
        let begun = seek.hops > 0 || !seek.tried.is_empty();
        seek.hops = 0;
        seek.tried.clear();
        seek.places.clear();
        let start = self.start_of(view, seek.purpose);
        if begun || start.is_none() {
            seek.retry_at = view.now + seek.backoff.next_us(view.rng);
            if seek.purpose == Purpose::Parent && self.parent.is_none() {
                view.out.note(Note::Lost); // perhaps the mixers we know are not the mixers any more
            }
            return None;
        }
        start
    }

    fn seek_mut(&mut self, purpose: Purpose, from: PeerId) -> Option<&mut Seek> {
        let seek = match purpose {
            Purpose::Parent => self.seek_parent.as_mut(),
            Purpose::Backup => self.seek_backup.as_mut(),
        };
        seek.filter(|seek| seek.at.is_some_and(|(at, _)| at == from))
    }

    /// A place is ours.
    pub(crate) fn accepted(&mut self, view: &mut View<'_>, from: PeerId, purpose: Purpose, path: Path) {
        let cycle = path.contains(&view.me.short()) || path.len() >= PATH_LEN_MAX;
        let Some(seek) = self.seek_mut(purpose, from) else {
            // an answer we no longer wait for: don't keep a place we don't use
            if !self.is_above(&from) && !self.children.contains_key(&from) {
                view.out.send(from, Message::Detach);
            }
            return;
        };
        if cycle {
            seek.tried.insert(from);
            seek.at = None;
            return;
        }
        let up = Up { peer: from, path, since: view.now, asked: false };
        match purpose {
            Purpose::Parent => {
                self.seek_parent = None;
                self.ask_feed(view, up);
            }
            Purpose::Backup => {
                self.seek_backup = None;
                view.out.event(Event::Backup(Some(from)));
                self.backup = Some(up);
                if self.at_fault {
                    self.repair(view);
                }
            }
        }
        self.settle(view);
    }

    /// Not there, but perhaps at one of these.
    pub(crate) fn redirected(
        &mut self,
        view: &mut View<'_>,
        from: PeerId,
        purpose: Purpose,
        places: &[Place],
    ) {
        let me = view.me;
        if let Some(seek) = self.seek_mut(purpose, from) {
            seek.at = None;
            seek.hops += 1;
            seek.tried.insert(from);
            let fresh = places.iter().filter(|place| place.peer != me && !place.path.contains(&me.short()));
            seek.places.splice(0..0, fresh.cloned());
            seek.places.truncate(2 * PLACES_MAX);
            seek.retry_at = view.now;
        }
        self.on_time_up(view);
    }

    /// The rendezvous can't reach a peer that we may have asked.
    pub(crate) fn undeliverable(&mut self, view: &mut View<'_>, peer: PeerId) {
        self.refused(view, peer, Purpose::Parent);
        self.refused(view, peer, Purpose::Backup);
    }

    /// Not there.
    pub(crate) fn refused(&mut self, view: &mut View<'_>, from: PeerId, purpose: Purpose) {
        if let Some(seek) = self.seek_mut(purpose, from) {
            seek.at = None;
            seek.tried.insert(from);
            seek.hops += 1;
        }
        self.on_time_up(view);
    }

    /// Wants to be fed by `up`, as soon as it is linked.
    fn ask_feed(&mut self, view: &mut View<'_>, up: Up) {
        if let Some(other) = self.next.take()
            && other.peer != up.peer
        {
            self.part_from(view, &other);
        }
        let linked = view.links.is_up(&up.peer);
        if linked {
            view.out.act(Output::AskFeed(up.peer));
        }
        self.next = Some(Up { since: view.now, asked: linked, ..up });
        self.keep_links(view);
    }

    /// The first packets have come from a peer that we asked.
    pub(crate) fn fed(&mut self, view: &mut View<'_>, peer: PeerId) {
        let Some(next) = self.next.take_if(|next| next.peer == peer) else { return };
        let old = self.parent.replace(next);
        self.at_fault = false;
        self.held = None;
        self.seek_parent = None;
        self.forget_told();
        if let Some(old) = old.filter(|old| old.peer != peer) {
            self.part_from(view, &old);
        }
        if self.backup.as_ref().is_some_and(|backup| backup.peer == peer) {
            self.backup = None;
        }
        view.out.event(Event::Parent(Some(peer)));
        let above = self.parent.as_ref().map(|parent| parent.path.clone()).unwrap_or_default();
        self.set_path(view, &above);
        self.want_backup(view);
        self.settle(view);
    }

    /// The watch on parent and backup, or on a child, speaks.
    pub(crate) fn verdict(&mut self, view: &mut View<'_>, peer: PeerId, verdict: Verdict) {
        if verdict == Verdict::Silent && self.children.contains_key(&peer) {
            // it is dead, and its slot is wanted; or it only stood still, and has to look for another place
            view.out.send(peer, Message::Detach);
            self.drop_child(view, peer);
        }
        if self.parent.as_ref().is_none_or(|parent| parent.peer != peer) {
            return;
        }
        self.at_fault = verdict != Verdict::Ok;
        if self.at_fault {
            if let Some(held) = self.held.take() {
                view.out.note(Note::TakeOver(held));
            }
            self.repair(view);
        } else {
            self.repaired(view);
        }
        self.settle(view);
    }

    /// The parent is gone or at fault: the backup feeds us, from the last packets we hold.
    fn repair(&mut self, view: &mut View<'_>) {
        if self.next.is_some() || !self.is_viewer(view) {
            return;
        }
        match self.backup.take_if(|backup| view.links.is_up(&backup.peer)) {
            Some(backup) => self.ask_feed(view, backup),
            None if self.seek_parent.is_none() => self.seek_parent_now(view),
            None => {}
        }
    }

    /// The parent feeds us again before the backup did: it stays.
    fn repaired(&mut self, view: &mut View<'_>) {
        if let Some(next) =
            self.next.take_if(|next| next.path.len() > 1 || !view.mandate.mixers.contains(&next.peer))
        {
            view.out.send(next.peer, Message::StopFeed);
            if self.backup.is_none() {
                self.backup = Some(next);
            } else {
                self.part_from(view, &next);
            }
        }
    }

    /// A take-over was sent to us by `from`: true to take it now. One by our own backup counts only when our
    /// feed has stalled; until then it is held.
    pub(crate) fn believes(&mut self, view: &View<'_>, from: PeerId, take_over: &Signed<TakeOver>) -> bool {
        let above = |up: &Option<Up>| up.as_ref().is_some_and(|up| up.peer == from);
        if take_over.body.polite || above(&self.parent) || self.at_fault || !self.is_viewer(view) {
            return true;
        }
        if self.parent.is_none() {
            return true;
        }
        if above(&self.backup) || above(&self.next) {
            self.held = Some(take_over.clone());
        }
        false
    }

    /// Our parent's place has changed.
    pub(crate) fn path_is(&mut self, view: &mut View<'_>, from: PeerId, path: Path) {
        let me = view.me.short();
        for up in [&mut self.parent, &mut self.backup, &mut self.next].into_iter().flatten() {
            if up.peer == from {
                up.path = path.clone();
            }
        }
        if let Some(next) = self.next.take_if(|next| next.peer == from && path.contains(&me)) {
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
        if self.next.take_if(|next| next.peer == from).is_some() {
            // it can't keep its promise; the places it names are near
            self.seek_parent = Some(Seek::at_places(view.now, places));
        } else if self.backup.as_ref().is_some_and(|backup| backup.peer == from) {
            self.drop_up(view, from);
            self.want_backup(view);
        } else if self.parent.as_ref().is_some_and(|parent| parent.peer == from) && self.next.is_none() {
            match self.backup.take_if(|backup| view.links.is_up(&backup.peer)) {
                Some(backup) => self.ask_feed(view, backup),
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
    pub(crate) fn dropped_by(&mut self, view: &mut View<'_>, from: PeerId) {
        if self.is_above(&from) {
            self.drop_up(view, from);
            self.settle(view);
        }
    }

    /// A peer above us is one no more: its word, or its link's.
    pub(crate) fn drop_up(&mut self, view: &mut View<'_>, peer: PeerId) {
        if self.backup.take_if(|backup| backup.peer == peer).is_some() {
            view.out.event(Event::Backup(None));
        }
        self.next.take_if(|next| next.peer == peer);
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

    /// Says goodbye to a peer above us, unless it is above us in another way.
    fn part_from(&mut self, view: &mut View<'_>, up: &Up) {
        if !self.is_above(&up.peer) {
            view.out.send(up.peer, Message::Detach);
        }
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
            next.asked = true;
            next.since = view.now;
            view.out.act(Output::AskFeed(peer));
        } else if self.at_fault && self.backup.as_ref().is_some_and(|backup| backup.peer == peer) {
            self.repair(view); // it comes just in time
        }
    }

    pub(super) fn on_time_up(&mut self, view: &mut View<'_>) {
        if let Some(late) =
            self.next.take_if(|next| next.since + patience_us(&self.parent, self.at_fault, next) <= view.now)
        {
            self.part_from(view, &late);
            if self.parent.is_none() || self.at_fault {
                self.seek_parent_now(view); // it may have nothing to give itself: ask where there is a program
            }
            self.follow_mandate(view);
        }
        if let Some(seek) = self.seek_parent.take() {
            self.seek_parent = self.step(view, seek);
        }
        if let Some(seek) = self.seek_backup.take() {
            self.seek_backup = self.step(view, seek);
        }
    }

    pub(super) fn next_timeout_up(&self) -> Option<Time> {
        let seek = |seek: &Option<Seek>| {
            seek.as_ref().map(|seek| seek.at.map_or(seek.retry_at, |(_, since)| since + ANSWER_US_MAX))
        };
        let next = self.next.as_ref().map(|next| next.since + patience_us(&self.parent, self.at_fault, next));
        [seek(&self.seek_parent), seek(&self.seek_backup), next].into_iter().flatten().min()
    }
}

/// How long we wait for a peer to feed us.
fn patience_us(parent: &Option<Up>, at_fault: bool, next: &Up) -> u64 {
    let fed = parent.is_some() && !at_fault;
    if next.asked && !fed { FEED_US_MAX } else { PATIENCE_US_MAX }
}
