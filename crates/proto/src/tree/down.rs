//! The parent's side: taking children, sending newcomers on, telling upward what lies below.

use std::cmp::Reverse;

use super::child::{Child, SENT_US_MAX, Suspicion};
use super::{AGGREGATE_US, ATTACH_US_MAX, Tree};
use crate::bounded::List;
use crate::config::CHILDREN_MAX;
use crate::id::{PeerId, ShortId};
use crate::io::Output;
use crate::message::{
    Aggregate, Attach, DEPTHS_MAX, Message, PATH_LEN_MAX, PLACES_MAX, Path, Place, Purpose, Reach, Refused,
    Resume, Roster,
};
use crate::mutation::Mutation;
use crate::outbox::{Note, View};
use crate::score::first_tier_max;
use crate::time::{SECOND, Time};

/// Backups that one relay promises to feed (DESIGN §8); a standby promises as many as a mixer may feed.
pub(super) const PROMISES_MAX: usize = 4;
/// Slots kept for promises that are called in.
pub(crate) const RESERVE: usize = 1;
/// Until then what a child that we feed gets may all have been in the cache.
const JUST_FED_US: u64 = SECOND / 2;
/// Peers below us: as many children as anybody has, as many promises, and what is kept for both.
pub(crate) const CHILDREN_AND_PROMISES_MAX: usize = 2 * (CHILDREN_MAX as usize + RESERVE);
/// Whom our uplink doesn't carry has found another place by then: a search, a link, and the first packets. A guess.
const OVER_US: u64 = 3 * SECOND;
/// The lead tells the host how many watch at least so often, while somebody does.
pub(super) const VIEWERS_US: u64 = 2 * SECOND;

/// Who feeds the peer whose path that is.
fn parent_in(path: &Path) -> Option<ShortId> {
    path.len().checked_sub(2).and_then(|at| path.get(at)).copied()
}

/// Whether the asker hangs on a mixer that we would take over from.
fn inherits(view: &View<'_>, attach: &Attach) -> bool {
    let parent = parent_in(&attach.path);
    let mixers = view.mandate.mixers.iter().filter(|mixer| Some(mixer.short()) == parent);
    attach.path.len() == 2 && mixers.into_iter().any(|mixer| view.fallback(mixer) == Some(view.me))
}

impl Tree {
    /// Whether anybody is fed by us.
    pub(crate) fn feeds(&self) -> bool {
        self.served().next().is_some()
    }

    /// Children that are fed.
    pub(super) fn served(&self) -> impl Iterator<Item = (&PeerId, &Child)> {
        self.children.iter().filter(|(_, child)| child.served)
    }

    /// Children that are fed or will be; all others are promised that.
    fn taken(&self) -> impl Iterator<Item = (&PeerId, &Child)> {
        self.children.iter().filter(|(_, child)| child.fed)
    }

    pub(super) fn fed_count(&self) -> usize {
        self.taken().count()
    }

    fn promised_count(&self) -> usize {
        self.children.len() - self.fed_count()
    }

    /// Whether this peer is what a mixer's first tier falls back on.
    pub(super) fn stands_by(&self, view: &View<'_>) -> bool {
        view.mandate.standby() == Some(view.me) || (view.mixes() && !self.mixing)
    }

    /// How many children this peer may feed.
    pub(super) fn capacity(&self, view: &View<'_>) -> usize {
        let config = view.config;
        if self.leaving.is_some() || self.stepping_out.is_some() {
            return 0;
        }
        let Some(roster) = view.stage.roster() else { return 0 };
        if self.mixing || self.stands_by(view) {
            // whoever consents to mix feeds one at least
            let most = roster.k1.min(config.children_max.max(1)).min(CHILDREN_MAX);
            return usize::from(most).min(uplink_as_mixer(view, roster));
        }
        let depth = self.place(view).len();
        if depth == 0 || depth >= PATH_LEN_MAX {
            return 0;
        }
        self.capacity_as_relay(view, roster)
    }

    /// At a mixer: whether its uplink carries so many streams more than its children have, each at most as much as the program.
    pub(crate) fn uplink_spares(&self, view: &View<'_>, more: usize) -> bool {
        view.stage.roster().is_some_and(|roster| uplink_as_mixer(view, roster) >= self.fed_count() + more)
    }

    /// How many children this peer would feed once it is fed itself.
    pub(super) fn capacity_as_relay(&self, view: &View<'_>, roster: &Roster) -> usize {
        let config = view.config;
        if !config.relays || self.leaving.is_some() {
            return 0;
        }
        let program = u64::from(roster.program.bitrate_bps.max(1));
        let uplink = view.uplink_bps().map_or(usize::MAX, |bps| (bps / program) as usize);
        usize::from(roster.k.min(config.children_max).min(CHILDREN_MAX)).min(uplink.saturating_sub(RESERVE))
    }

    /// The slot in reserve; who may feed nobody has none.
    fn reserve(&self, view: &View<'_>) -> usize {
        let relays = || view.stage.roster().is_some_and(|roster| self.capacity_as_relay(view, roster) > 0);
        if self.mixing || self.stands_by(view) || relays() { RESERVE } else { 0 }
    }

    /// How many children this peer feeds at most, the one in reserve included.
    pub(super) fn most(&self, view: &View<'_>) -> usize {
        self.capacity(view) + self.reserve(view)
    }

    /// Children that we could take on top of those we have, wherever we go.
    pub(super) fn room(&self, view: &View<'_>) -> u8 {
        let most = view.stage.roster().map_or(0, |roster| self.capacity_as_relay(view, roster));
        most.saturating_sub(self.fed_count()).min(CHILDREN_MAX.into()) as u8
    }

    fn promises(&self, view: &View<'_>) -> usize {
        let inherits = |mixer: &&PeerId| view.fallback(mixer) == Some(view.me);
        let mixers = view.mandate.mixers.iter().filter(inherits).count();
        match self.capacity(view) {
            0 => 0,
            most if self.stands_by(view) => {
                // beside children of its own, one of which may come in place of another
                let most_beside = CHILDREN_AND_PROMISES_MAX - (most + RESERVE + 1);
                (mixers.max(1) * most + RESERVE).min(most_beside)
            }
            // whoever dies takes all its children's parent at once: no more is promised than can be kept
            most if self.mixing => (most + RESERVE).saturating_sub(self.fed_count()),
            most => (most + RESERVE).saturating_sub(self.fed_count()).min(PROMISES_MAX),
        }
    }

    /// Somebody wants a place.
    pub(crate) fn attach(&mut self, view: &mut View<'_>, from: PeerId, attach: &Attach) {
        let purpose = attach.purpose;
        view.links.wanted_again(view.now, &from);
        self.suspect_parent_of(view, from, attach);
        let replaced = (purpose == Purpose::Parent).then(|| self.gives_way(view, from, attach)).flatten();
        match self.judge(view, from, attach, replaced.is_some()) {
            Ok(()) => {
                let fed = purpose == Purpose::Parent;
                if self.is_above(&from) {
                    self.drop_backup(view); // it has none itself, and we do without
                }
                let linked = view.links.is_up(&from);
                let viewers = attach.viewers_below.saturating_add(1);
                let below = Aggregate {
                    viewers,
                    room: attach.room,
                    sending_us: attach.sending_us,
                    deepest: 1,
                    ..Aggregate::default()
                };
                let below = below.with_room(0, attach.room);
                let child = Child {
                    fed,
                    served: false,
                    waits: None,
                    asked_feed_at: None,
                    linked,
                    since: view.now,
                    told: below,
                    below,
                    sent_at: None,
                    suspicion: Suspicion::default(),
                    trips: attach.round_trips.clone(),
                    has_just_joined: attach.path.is_empty(),
                    is_only_here: fed && attach.reach == Reach::OnlyHere,
                    asked_at: None,
                    sheds_at: None,
                };
                let known = self.children.contains_key(&from);
                let child = self.children.entry(from).or_insert(child);
                child.fed |= fed;
                if let Some(weak) = replaced {
                    self.take_in_place_of(view.now, from, weak);
                }
                let Some(child) = self.children.get(&from) else { return };
                if linked && !child.served {
                    view.out.act(Output::ServeHeads(from));
                }
                if linked && !known {
                    view.out.note(Note::Below(from)); // on an old link, past which news may have gone
                }
                let path = self.place(view);
                let path = if path.is_empty() { Path::truncated([view.me.short()]) } else { path };
                let whereabouts = self.whereabouts(view);
                view.out.send(from, Message::Accept { purpose, path, whereabouts });
                self.settle(view);
            }
            Err(reason) => {
                let mut places = self.places(view, from, attach);
                if places.is_empty() {
                    places = self.co_mixers.places(purpose);
                }
                if places.is_empty() && reason == Refused::Full {
                    places = self.full_branches(view, from, attach);
                }
                let message = if places.is_empty() {
                    Message::Refused { purpose, reason }
                } else {
                    Message::Redirect { purpose, places }
                };
                view.out.send(from, message);
            }
        }
    }

    /// Where all is full, whoever could feed others may find a place deeper below, of somebody who can't and gives way.
    fn full_branches(&self, view: &mut View<'_>, from: PeerId, attach: &Attach) -> List<Place, PLACES_MAX> {
        if attach.purpose != Purpose::Parent || attach.fed || attach.room == 0 {
            return List::new();
        }
        let feeds = |child: &Child| child.below.viewers > 1 && !child.is_suspected(view.now, attach.purpose);
        let branches = self.taken().filter(|(peer, child)| **peer != from && feeds(child));
        let mut branches: Vec<PeerId> = branches.map(|(peer, _)| *peer).collect();
        view.rng.shuffle(&mut branches);
        self.places_of(view, branches.into_iter())
    }

    /// Where these children of ours are in the tree.
    fn places_of(&self, view: &View<'_>, children: impl Iterator<Item = PeerId>) -> List<Place, PLACES_MAX> {
        let mine = self.place(view);
        let path_of = |peer: &PeerId| Path::truncated(mine.iter().copied().chain([peer.short()]));
        List::truncated(children.map(|peer| Place { peer, path: path_of(&peer) }))
    }

    /// A child of one of our children asks us for a place, and isn't fed: its parent may be dead.
    fn suspect_parent_of(&mut self, view: &mut View<'_>, from: PeerId, attach: &Attach) {
        if attach.purpose != Purpose::Parent || attach.fed {
            return;
        }
        let parent = parent_in(&attach.path);
        let served = |(peer, child): &(&PeerId, &mut Child)| child.served && Some(peer.short()) == parent;
        if let Some((peer, child)) = self.children.iter_mut().find(served) {
            child.suspicion.raise(view.now, from);
            view.out.act(Output::Suspect(*peer));
        }
    }

    /// Whether a peer may have the place it asks for, here.
    fn judge(&self, view: &View<'_>, from: PeerId, attach: &Attach, gives_way: bool) -> Result<(), Refused> {
        let (me, asker) = (view.me.short(), from.short());
        if self.leaving.is_some() || self.stepping_out.is_some() || from == view.me {
            return Err(Refused::Closed);
        }
        if attach.reach == Reach::OnlyBelow {
            return Err(Refused::Full);
        }
        let place = self.place(view);
        let yields = attach.purpose == Purpose::Backup && self.yields_backup(view, &from);
        if place.contains(&asker) || (self.is_above(&from) && !yields) {
            return Err(Refused::Cycle);
        }
        let stands_by = self.stands_by(view);
        if place.is_empty() && !self.mixing && !stands_by {
            return Err(Refused::NotFed);
        }
        let child = self.children.get(&from);
        let parent = parent_in(&attach.path);
        match attach.purpose {
            Purpose::Parent => {
                // a child whose parent is our child comes because that one is dead, or feeds it nothing; who names us comes
                // because those that we sent it to can't be linked with it
                let ours = |id: &ShortId| *id == me || self.children.keys().any(|peer| peer.short() == *id);
                let orphan = parent.as_ref().is_some_and(ours) || attach.reach == Reach::OnlyHere;
                let orphan = orphan && !attach.fed;
                let reserved = child.is_some() || self.is_invited(&from) || orphan;
                let reserved = if reserved { self.reserve(view) } else { 0 };
                let over = if view.mandate.mutated.is(Mutation::TakesTooMany) { 2 } else { 0 };
                // who feeds nobody is sent down, while the slots here are of use to others
                let idle = attach.room == 0 && attach.viewers_below == 0;
                let idle = idle && (attach.fed || attach.path.is_empty()) && attach.reach != Reach::OnlyHere;
                let down = || self.taken().any(|(_, child)| child.nearest_slot().is_some());
                let room = self.fed_count() < self.capacity(view) + reserved + over && !(idle && down());
                let taken = child.is_some_and(|child| child.fed);
                // a child that gives way has gone at the latest when the asker is to be fed
                if taken || gives_way || room { Ok(()) } else { Err(Refused::Full) }
            }
            Purpose::Backup if view.mandate.mutated.is(Mutation::PromisesNothing) => Err(Refused::Full),
            Purpose::Backup => {
                // whoever is above the asker, or below its parent, would fail together with its parent
                let blind = view.mandate.mutated.is(Mutation::BacksUpInItsBranch);
                let together =
                    attach.path.contains(&me) || parent.is_some_and(|parent| place.contains(&parent));
                // a mixer keeps its slots for first tiers, and a standby has a program when it mixes
                let root = self.mixing || stands_by;
                if let Some(child) = child {
                    if child.fed { Err(Refused::SameBranch) } else { Ok(()) }
                } else if together && !stands_by && !blind {
                    Err(Refused::SameBranch)
                } else if root && !inherits(view, attach) || self.promised_count() >= self.promises(view) {
                    Err(Refused::Full)
                } else {
                    Ok(())
                }
            }
        }
    }

    /// Where there may be room: the children below whom it is nearest, the roomiest first.
    fn places(&mut self, view: &mut View<'_>, from: PeerId, attach: &Attach) -> List<Place, PLACES_MAX> {
        let backup = attach.purpose == Purpose::Backup;
        let blind = view.mandate.mutated.is(Mutation::BacksUpInItsBranch);
        self.forget_sent(view.now);
        // whoever is above the asker can't be its backup, but perhaps another branch below can
        let above = |peer: &PeerId| backup && attach.path.contains(&peer.short());
        let parent = parent_in(&attach.path);
        let is_suspected = |child: &Child| child.is_suspected(view.now, attach.purpose);
        let mut places: Vec<(bool, bool, u64, usize, u16, PeerId)> = self
            .taken()
            .filter(|(peer, _)| **peer != from)
            .filter(|(peer, _)| !backup || blind || Some(peer.short()) != parent)
            .filter_map(|(peer, child)| {
                let (depth, free) = child.below.nearest_free(attach.purpose)?;
                if !backup && free == 1 && self.is_taken_in_place(peer) {
                    return None; // that slot is for whoever gives way
                }
                let detour_us = self.detour_us(child, &attach.round_trips, depth);
                Some((is_suspected(child), above(peer), detour_us, depth, free, *peer))
            })
            .collect();
        // radios pause, and their children complain: where nobody else has room, who has no place may find one below these
        let any = !backup && !attach.fed && places.iter().all(|(suspected, ..)| *suspected);
        places.retain(|(suspected, ..)| any || !suspected);
        view.rng.shuffle(&mut places);
        places.sort_by_key(|(_, above, detour_us, depth, free, _)| {
            (*above, *detour_us, *depth, Reverse(*free))
        });
        if let Some((_, _, _, depth, _, first)) = places.first()
            && let Some(child) = self.children.get_mut(first)
        {
            // until its next aggregate, count on the newcomer going there, and on what it brings
            child.sent_at = Some(view.now);
            child.below = child.below.less_one(attach.purpose, *depth);
            if !backup {
                child.below = child.below.with_room(depth + 1, attach.room);
            }
        }
        self.places_of(view, places.into_iter().map(|(.., peer)| peer))
    }

    /// Free slots that nobody has taken after all are free again.
    pub(super) fn forget_sent(&mut self, now: Time) {
        self.children.values_mut().for_each(|child| child.forget_sent(now));
    }

    /// A child wants to be fed.
    pub(crate) fn feed(&mut self, view: &mut View<'_>, from: PeerId, resume: Option<Resume>) {
        let (fed, most) = (self.fed_count(), self.most(view));
        view.links.wanted_again(view.now, &from);
        let Some(child) = self.children.get_mut(&from) else {
            view.out.send(from, Message::Dismiss);
            return;
        };
        if !child.fed && fed >= most {
            self.send_on(view, from);
            return;
        }
        if fed > most
            && let Some(weak) = self.gives_way_now(&from)
        {
            self.send_on(view, weak);
        }
        let Some(child) = self.children.get_mut(&from) else { return };
        child.fed = true;
        child.asked_feed_at = Some(view.now);
        // whoever waits for a program itself says so
        let path = if self.at_fault { Path::default() } else { self.path.clone() };
        let whereabouts = self.whereabouts(view);
        view.out.send(from, Message::Feeding { path, whereabouts });
        let waits = self.path.is_empty() || self.is_unsure(view);
        let Some(child) = self.children.get_mut(&from) else { return };
        if waits {
            child.waits = Some(resume); // all we could give is what is over
        } else {
            child.served = true;
            view.out.act(Output::Serve { peer: from, from: resume, sound: true });
        }
        self.settle(view);
    }

    /// Our parent fails: who has just been told that we feed it is told that there is nothing to feed it with, since it declines
    /// others that would.
    pub(super) fn take_back(&self, view: &mut View<'_>) {
        let just = |child: &Child| child.asked_feed_at.is_some_and(|at| view.now.since(at) < JUST_FED_US);
        let just_fed: Vec<_> =
            self.served().filter(|(_, child)| just(child)).map(|(peer, _)| *peer).collect();
        for peer in just_fed {
            let whereabouts = self.whereabouts(view);
            view.out.send(peer, Message::Feeding { path: Path::default(), whereabouts });
        }
    }

    /// A peer below us, for which there is no room after all, goes elsewhere.
    fn send_on(&mut self, view: &mut View<'_>, from: PeerId) {
        let Some(child) = self.children.remove(&from) else { return };
        view.out.act(Output::Unserve(from));
        view.out.note(Note::TreeUnserves(from));
        let places = self.places(view, from, &Attach { round_trips: child.trips, ..Attach::newcomer() });
        view.out.send(from, Message::Shed { places });
        view.out.send(from, Message::Dismiss);
    }

    /// Our uplink carries fewer than we feed, as it shows by now: those with the smallest branches go elsewhere, and keep what
    /// they get until they have.
    pub(super) fn shed_over(&mut self, view: &mut View<'_>) {
        let over = self.over(view);
        for (peer, child) in &mut self.children {
            child.sheds_at.take_if(|_| !over.contains(peer));
        }
        for peer in over {
            match self.children.get(&peer).and_then(|child| child.sheds_at) {
                Some(at) if at <= view.now => self.send_on(view, peer),
                Some(_) => {}
                None => {
                    let sheds_at = Some(view.now + OVER_US);
                    self.children.entry(peer).and_modify(|child| child.sheds_at = sheds_at);
                    self.shed_one(view, peer);
                }
            }
        }
    }

    /// Those that we feed and our uplink doesn't carry.
    fn over(&self, view: &View<'_>) -> Vec<PeerId> {
        let goes = self.leaving.is_some() || self.stepping_out.is_some(); // all have been told to
        let Some(roster) = view.stage.roster().filter(|_| view.uplink.bps.is_some()) else {
            return Vec::new();
        };
        if goes || self.mixing || self.stands_by(view) {
            return Vec::new();
        }
        // not what our place allows: who has just lost its parent keeps its children
        let most = self.capacity_as_relay(view, roster) + self.reserve(view);
        let mut served: Vec<_> = self.served().map(|(peer, child)| (child.told.viewers, *peer)).collect();
        served.sort_unstable();
        served.truncate(served.len().saturating_sub(most));
        served.into_iter().map(|(_, peer)| peer).collect()
    }

    /// Our uplink may carry less than we have promised, and that will show in a moment.
    fn is_unsure(&self, view: &View<'_>) -> bool {
        view.uplink.is_awaited && !self.mixing && !self.stands_by(view)
    }

    /// Whoever was promised more than can be kept any more is told so, the last by id first.
    pub(super) fn keep_promises(&mut self, view: &mut View<'_>) {
        // who waits for the program itself may yet have it in time; who stood by, and doesn't watch, won't
        let fed = self.mixing || !self.is_viewer(view) || (self.parent.is_some() && !self.at_fault);
        // whoever was taken may look further, and not come
        let comes = self.children.values().any(|child| child.fed && !child.served && child.waits.is_none());
        if !fed || self.leaving.is_some() || self.stepping_out.is_some() || comes {
            return;
        }
        let over = self.promised_count().saturating_sub(self.promises(view));
        let promised = self.children.iter().rev().filter(|(_, child)| !child.fed);
        let over: Vec<_> = promised.map(|(peer, _)| *peer).take(over).collect();
        for peer in over {
            self.children.remove(&peer);
            view.out.act(Output::Unserve(peer));
            view.out.note(Note::TreeUnserves(peer)); // by now it may be a speaker that watches
            view.out.send(peer, Message::Dismiss);
        }
    }

    /// There is a program here, and room: whoever has waited for it gets it. Those for whom there is none, now that our uplink
    /// is known, go on.
    pub(super) fn serve_waiting(&mut self, view: &mut View<'_>) {
        if self.is_unsure(view) {
            return;
        }
        let most = self.most(view);
        let over = self.fed_count().saturating_sub(most + usize::from(self.is_awaited_in_place()));
        let comes = self.children.iter().rev().filter(|(_, child)| child.fed && !child.served);
        let over: Vec<_> = comes.map(|(peer, _)| *peer).take(over).collect();
        if view.uplink.bps.is_some() {
            over.into_iter().for_each(|peer| self.send_on(view, peer));
        }
        if self.path.is_empty() {
            return;
        }
        for (peer, child) in &mut self.children {
            if let Some(resume) = child.waits.take() {
                child.served = true;
                view.out.act(Output::Serve { peer: *peer, from: resume, sound: true });
            }
        }
    }

    /// A child is fed by another again, but keeps our promise.
    pub(crate) fn stop_feed(&mut self, view: &mut View<'_>, from: PeerId) {
        if let Some(child) = self.children.get_mut(&from) {
            (child.fed, child.served, child.waits) = (false, false, None);
            view.out.act(Output::Unserve(from));
            view.out.act(Output::ServeHeads(from));
            self.settle(view);
        }
    }

    /// A child goes.
    pub(crate) fn drop_child(&mut self, view: &mut View<'_>, peer: PeerId) {
        if self.children.remove(&peer).is_some() {
            view.out.act(Output::Unserve(peer));
            view.out.note(Note::TreeUnserves(peer));
            self.settle(view);
        }
    }

    /// A child, or another mixer, tells what lies below it.
    pub(crate) fn aggregate(&mut self, view: &mut View<'_>, from: PeerId, below: Aggregate) {
        if let Some(child) = self.children.get_mut(&from) {
            let fewer = below.viewers < child.told.viewers || below.deepest < child.told.deepest;
            child.asked_at.take_if(|_| fewer); // somebody has gone
            (child.told, child.below, child.sent_at) = (below, below, None);
            self.settle(view);
        } else {
            self.co_mixer(view, from, below);
        }
    }

    /// Sends our fed children to other places; they go when the others feed them.
    pub(super) fn shed(&mut self, view: &mut View<'_>) {
        let places = self.shed_places(view);
        for child in self.children.keys() {
            view.out.send(*child, Message::Shed { places: places.clone() });
        }
    }

    /// Sends one of them there.
    pub(super) fn shed_one(&self, view: &mut View<'_>, child: PeerId) {
        let places = self.shed_places(view);
        view.out.send(child, Message::Shed { places });
    }

    fn shed_places(&self, view: &View<'_>) -> List<Place, PLACES_MAX> {
        let mut places: List<_, PLACES_MAX> = List::new();
        if let Some(parent) = &self.parent {
            let _ = places.push(Place { peer: parent.peer, path: parent.path.clone() });
        }
        for mixer in view.mandate.mixers.iter().filter(|mixer| **mixer != view.me) {
            let _ = places.push(Place { peer: *mixer, path: Path::truncated([mixer.short()]) });
        }
        places
    }

    /// A message for everyone below us.
    pub(crate) fn forward_down(&self, view: &mut View<'_>, message: &Message, but: Option<PeerId>) {
        for (child, _) in self.children.iter().filter(|(peer, child)| child.linked && Some(**peer) != but) {
            view.out.send(*child, message.clone());
        }
    }

    pub(super) fn link_changed_down(&mut self, view: &mut View<'_>, peer: PeerId, up: bool) {
        let place = self.place(view);
        let Some(child) = self.children.get_mut(&peer) else { return };
        if up {
            child.linked = true;
            if !child.served {
                view.out.act(Output::ServeHeads(peer));
            }
            if !child.fed && !place.is_empty() {
                view.out.send(peer, Message::PathIs(place)); // we may have moved since we promised, and the word got lost
            }
        } else {
            self.drop_child(view, peer);
        }
    }

    /// Viewers below us, by what our children say.
    pub(crate) fn viewers_below(&self) -> u32 {
        self.served().fold(0, |sum, (_, child)| sum.saturating_add(child.below.viewers))
    }

    /// What lies below us, ourselves included.
    pub(super) fn summed(&self, view: &View<'_>) -> Aggregate {
        let own = u32::from(view.config.views && !self.mixing);
        let strongest = self.served().map(|(peer, child)| (child.room(), *peer)).max();
        let deepest = self.served().map(|(_, child)| child.told.deepest).max().unwrap_or(0);
        let mut sum = Aggregate {
            viewers: own.saturating_add(self.viewers_below()),
            room: self.capacity(view).min(CHILDREN_MAX.into()) as u8,
            sending_us: self.sending_to_all_us(view),
            deepest: deepest.saturating_add(1),
            strongest: strongest.map(|(room, peer)| (peer, room)),
            ..Aggregate::default()
        };
        sum.free[0] = self.capacity(view).saturating_sub(self.fed_count()) as u16;
        sum.promises[0] = self.promises(view).saturating_sub(self.promised_count()) as u16;
        for (_, child) in self.taken() {
            let counts = u16::from(!child.suspicion.is_grave());
            for depth in 0..DEPTHS_MAX {
                let below = (depth + 1).min(DEPTHS_MAX - 1);
                sum.free[below] = sum.free[below].saturating_add(counts * child.below.free[depth]);
                sum.promises[below] = sum.promises[below].saturating_add(child.below.promises[depth]);
            }
        }
        sum
    }

    /// Tells the parent, or as the lead the host, what lies below us, if that has changed.
    pub(super) fn tell_upward(&mut self, view: &mut View<'_>) {
        let sum = self.summed(view);
        if self.mixing {
            let due = self.viewers_told.is_none_or(|(viewers, at)| {
                viewers != sum.viewers || (viewers > 0 && view.now.since(at) >= VIEWERS_US)
            });
            if due {
                self.viewers_told = Some((sum.viewers, view.now));
                view.out.note(Note::Viewers(sum.viewers));
            }
            return;
        }
        let Some(parent) = &self.parent else { return };
        if self.aggregate_at.is_some_and(|at| at > view.now) {
            return;
        }
        self.aggregate_at = None;
        let told = self.aggregate_sent.is_some() && view.mandate.mutated.is(Mutation::TellsOnce);
        if self.aggregate_sent != Some(sum) && !told {
            view.out.send(parent.peer, Message::Aggregate(sum));
            self.aggregate_sent = Some(sum);
            self.aggregate_at = Some(view.now + AGGREGATE_US);
        }
    }

    /// Another parent knows nothing of us yet.
    pub(super) fn forget_told(&mut self) {
        (self.aggregate_sent, self.aggregate_at) = (None, None);
    }

    pub(super) fn on_time_down(&mut self, view: &mut View<'_>) {
        let absent = |child: &Child| !child.linked && view.now.since(child.since) >= ATTACH_US_MAX;
        let late: Vec<_> =
            self.children.iter().filter(|(_, child)| absent(child)).map(|(peer, _)| *peer).collect();
        for peer in late {
            self.drop_child(view, peer);
        }
        self.shed_over(view);
    }

    pub(super) fn next_timeout_down(&self) -> Option<Time> {
        let absent = self
            .children
            .values()
            .filter(|child| !child.linked)
            .map(|child| child.since + ATTACH_US_MAX)
            .min();
        let told = self
            .viewers_told
            .filter(|(viewers, _)| self.mixing && *viewers > 0)
            .map(|(_, at)| at + VIEWERS_US);
        // a change that came too soon after the last news
        let news = self.aggregate_at.filter(|_| self.parent.is_some() && !self.mixing);
        let sent = self.children.values().filter_map(|child| child.sent_at).min().map(|at| at + SENT_US_MAX);
        let suspected = self.children.values().filter_map(|child| child.suspicion.until).min();
        let over = self.children.values().filter_map(|child| child.sheds_at).min();
        [absent, told, news, sent, suspected, over].into_iter().flatten().min()
    }
}
/// How many programs a mixer's uplink carries beside its part of the stage.
fn uplink_as_mixer(view: &View<'_>, roster: &Roster) -> usize {
    let measured = view.mandate.uplinks_bps().find(|(mixer, bps)| **mixer == view.me && *bps > 0);
    let uplink_bps = view.config.uplink_bps_max.into_iter().chain(measured.map(|(_, bps)| bps)).min();
    let mixers = view.mandate.mixers.len();
    uplink_bps.map_or(usize::MAX, |bps| first_tier_max(roster, mixers, bps))
}
