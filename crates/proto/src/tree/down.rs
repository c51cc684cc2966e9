//! The parent's side of the tree: accepting children, redirecting newcomers, and sending aggregates to the
//! parent.
//!
//! A *promise* is a slot reserved for a peer that keeps this peer as its backup. A promised child receives
//! heads only, until it activates the backup with `Feed`.

use std::cmp::Reverse;

use super::child::{Child, SENT_US_MAX, Suspicion};
use super::{AGGREGATE_US, ATTACH_US_MAX, CHILDREN_AND_PROMISES_MAX, PROMISES_MAX, RESERVE, Tree};
use crate::bounded::List;
use crate::config::CHILDREN_MAX;
use crate::id::{PeerId, ShortId};
use crate::io::Output;
use crate::message::{
    Aggregate, Attach, DEPTHS_MAX, Message, PATH_LEN_MAX, PLACES_MAX, Path, Place, Purpose, Reach, Refused,
    Resume, Roster, TreeMessage,
};
use crate::mutation::Mutation;
use crate::outbox::Note;
use crate::score::first_tier_max;
use crate::time::{SECOND, Time};
use crate::view::{UplinkEstimate, View};

/// Time within which a newly served child may have received nothing but cached packets.
const JUST_FED_US: u64 = SECOND / 2;
/// Time in which a child that the uplink can't carry finds another place: a search, a link set-up and the
/// first packets. A guess.
const OVER_US: u64 = 3 * SECOND;
/// Longest interval at which a mixer reports its number of viewers to the host, while it has any; also the
/// interval of the aggregates that mixers send each other.
pub(super) const VIEWERS_US: u64 = 2 * SECOND;

/// Returns the parent of the peer at the end of `path`.
fn parent_in(path: &Path) -> Option<ShortId> {
    path.len().checked_sub(2).and_then(|at| path.get(at)).copied()
}

/// Returns whether the asker is in the first tier of a mixer that this peer would succeed.
fn inherits(view: &View<'_>, attach: &Attach) -> bool {
    let parent = parent_in(&attach.path);
    let mixers = view.mandate.mixers.iter().filter(|mixer| Some(mixer.short()) == parent);
    attach.path.len() == 2 && mixers.into_iter().any(|mixer| view.fallback(mixer) == Some(view.me))
}

impl Tree {
    /// Returns whether this peer serves any child.
    pub(crate) fn feeds(&self) -> bool {
        self.served().next().is_some()
    }

    /// Returns the children that receive the program.
    pub(super) fn served(&self) -> impl Iterator<Item = (&PeerId, &Child)> {
        self.children.iter().filter(|(_, child)| child.served)
    }

    /// Returns the accepted children, served or not yet served; all others are promised only.
    fn taken(&self) -> impl Iterator<Item = (&PeerId, &Child)> {
        self.children.iter().filter(|(_, child)| child.fed)
    }

    pub(super) fn fed_count(&self) -> usize {
        self.taken().count()
    }

    fn promised_count(&self) -> usize {
        self.children.len() - self.fed_count()
    }

    /// Returns whether this peer is the fallback of a mixer's first tier: standby 1, or an elected mixer that
    /// doesn't mix yet.
    pub(super) fn stands_by(&self, view: &View<'_>) -> bool {
        view.mandate.standby() == Some(view.me) || (view.mixes() && !self.mixing)
    }

    /// Returns the number of children that this peer may feed, without the reserve. It is 0 while the peer
    /// leaves, has no roster, isn't fed, or is at the depth limit.
    pub(super) fn capacity(&self, view: &View<'_>) -> usize {
        let config = view.config;
        if self.leaving.is_some() || self.stepping_out.is_some() {
            return 0;
        }
        let Some(roster) = view.stage.roster() else { return 0 };
        if self.mixing || self.stands_by(view) {
            // A peer that consents to mix feeds at least one child, whatever its own cap says.
            let most = roster.rules.k1.min(config.children_max.max(1)).min(CHILDREN_MAX);
            return usize::from(most).min(uplink_as_mixer(view, roster));
        }
        let depth = self.place(view).len();
        if depth == 0 || depth >= PATH_LEN_MAX {
            return 0;
        }
        self.capacity_as_relay(view, roster)
    }

    /// Returns whether a mixer's uplink carries `more` streams beside those of its children, each taken to be
    /// as large as the program.
    pub(crate) fn uplink_spares(&self, view: &View<'_>, more: usize) -> bool {
        view.stage.roster().is_some_and(|roster| uplink_as_mixer(view, roster) >= self.fed_count() + more)
    }

    /// Returns the number of children that this peer would feed once it is fed itself: at most `k`, its own
    /// cap, and what its uplink carries less the reserve.
    pub(super) fn capacity_as_relay(&self, view: &View<'_>, roster: &Roster) -> usize {
        let config = view.config;
        if !config.relays || self.leaving.is_some() {
            return 0;
        }
        let program = u64::from(roster.rules.program.bitrate_bps.max(1));
        let uplink = view.uplink_bps().map_or(usize::MAX, |bps| (bps / program) as usize);
        let uplink = uplink.min(view.uplink.children_max.map_or(usize::MAX, usize::from));
        usize::from(roster.rules.k.min(config.children_max).min(CHILDREN_MAX))
            .min(uplink.saturating_sub(RESERVE))
    }

    /// Returns the number of reserve slots; 0 for a peer that may feed no children.
    fn reserve(&self, view: &View<'_>) -> usize {
        let relays = || view.stage.roster().is_some_and(|roster| self.capacity_as_relay(view, roster) > 0);
        if self.mixing || self.stands_by(view) || relays() { RESERVE } else { 0 }
    }

    /// Returns the number of free slots without the reserve; 0 while this machine is short of processor time.
    pub(super) fn free_slots(&self, view: &View<'_>) -> usize {
        if self.is_busy { 0 } else { self.capacity(view).saturating_sub(self.fed_count()) }
    }

    /// Returns the maximum number of children, reserve included.
    pub(super) fn most(&self, view: &View<'_>) -> usize {
        self.capacity(view) + self.reserve(view)
    }

    /// Returns the number of children that this peer could take in addition to its present ones, at any place
    /// in the tree.
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
                // Leaves room for this peer's own children, the reserve, and one child taken in place of
                // another.
                let most_beside = CHILDREN_AND_PROMISES_MAX - (most + RESERVE + 1);
                (mixers.max(1) * most + RESERVE).min(most_beside)
            }
            // When a parent dies, all its children activate their backups at once, so no more is promised
            // than the free slots can hold.
            most if self.mixing => (most + RESERVE).saturating_sub(self.fed_count()),
            most => (most + RESERVE).saturating_sub(self.fed_count()).min(PROMISES_MAX),
        }
    }

    /// Handles a request for a place, as a child or as a backup: answers `Accept`, `Redirect` or `Refused`.
    pub(crate) fn attach(&mut self, view: &mut View<'_>, from: PeerId, attach: &Attach) {
        let purpose = attach.purpose;
        view.links.wanted_again(view.now, &from);
        self.suspect_parent_of(view, from, attach);
        let replaced = (purpose == Purpose::Parent).then(|| self.gives_way(view, from, attach)).flatten();
        match self.judge(view, from, attach, replaced.is_some()) {
            Ok(()) => {
                let fed = purpose == Purpose::Parent;
                if self.is_above(&from) {
                    self.drop_backup(view); // the asker has no other backup, and this peer can do without one
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
                    // On a link that was up before, earlier news may have bypassed this child.
                    view.out.note(Note::Below(from));
                }
                let path = self.place(view);
                let path = if path.is_empty() { Path::truncated([view.me.short()]) } else { path };
                let whereabouts = self.whereabouts(view);
                view.out.send(from, TreeMessage::Accept { purpose, path, whereabouts });
                // one that only looks for a better place may decline
                if fed && !linked && !attach.fed {
                    view.links.offer(view.now, view.out, from);
                }
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
                    Message::Tree(TreeMessage::Refused { purpose, reason })
                } else {
                    Message::Tree(TreeMessage::Redirect { purpose, places })
                };
                view.out.send(from, message);
            }
        }
    }

    /// Gives a newcomer that the host has admitted a place here, if this peer alone mixes and has a free slot. The
    /// newcomer's own request comes a round trip or two later, and is answered in the same way.
    pub(crate) fn welcome(&mut self, view: &mut View<'_>, newcomer: PeerId, children: u8) {
        let room = view.stage.roster().map_or(0, |roster| roster.rules.k.min(children));
        let attach = Attach { room, ..Attach::newcomer() };
        let is_here = self.children.contains_key(&newcomer) || view.mandate.mixers != [view.me];
        if !is_here && self.judge(view, newcomer, &attach, false).is_ok() {
            self.attach(view, newcomer, &attach);
        }
    }

    /// Returns children that feed others, in random order. When all slots are taken, an asker that could feed
    /// others may displace a peer deeper down that can't.
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

    /// Returns the places of the given children.
    fn places_of(&self, view: &View<'_>, children: impl Iterator<Item = PeerId>) -> List<Place, PLACES_MAX> {
        let mine = self.place(view);
        let path_of = |peer: &PeerId| Path::truncated(mine.iter().copied().chain([peer.short()]));
        List::truncated(children.map(|peer| Place { peer, path: path_of(&peer) }))
    }

    /// Raises the suspicion against a child when one of its own children asks this peer for a place because it isn't
    /// fed, or was fed forged media: the child may be dead, or a forger.
    fn suspect_parent_of(&mut self, view: &mut View<'_>, from: PeerId, attach: &Attach) {
        if attach.fed {
            return;
        }
        let parent = parent_in(&attach.path);
        let served = |(peer, child): &(&PeerId, &mut Child)| child.served && Some(peer.short()) == parent;
        if let Some((peer, child)) = self.children.iter_mut().find(served) {
            child.suspicion.raise(view.now, from);
            view.out.act(Output::Suspect(*peer));
        }
    }

    /// Decides whether the asker may have the place here, as a child or as a backup.
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
                // Orphans may use the reserve. An asker that names a child of this peer as its parent comes
                // because that child is dead or feeds it nothing. An asker that names this peer as its parent
                // couldn't be linked with the places it was redirected to.
                let ours = |id: &ShortId| *id == me || self.children.keys().any(|peer| peer.short() == *id);
                let orphan = parent.as_ref().is_some_and(ours) || attach.reach == Reach::OnlyHere;
                let orphan = orphan && !attach.fed;
                let reserved = child.is_some() || self.is_invited(&from) || orphan;
                let down = || self.taken().any(|(_, child)| child.nearest_slot().is_some());
                // A busy machine only takes back known peers. A busy mixer takes newcomers while it can name no
                // other place.
                let closed = self.is_busy && !reserved && (!self.mixing || down());
                let reserved = if reserved { self.reserve(view) } else { 0 };
                let over = if view.mandate.mutated.is(Mutation::TakesTooMany) { 2 } else { 0 };
                // An asker that feeds no other peer is sent down while there is a slot below: the slots here
                // are worth more to relays.
                let idle = attach.room == 0 && attach.viewers_below == 0;
                let idle = idle && (attach.fed || attach.path.is_empty()) && attach.reach != Reach::OnlyHere;
                let room =
                    self.fed_count() < self.capacity(view) + reserved + over && !closed && !(idle && down());
                let taken = child.is_some_and(|child| child.fed);
                // The displaced child has left, at the latest, when the asker is to be fed.
                if taken || gives_way || room { Ok(()) } else { Err(Refused::Full) }
            }
            Purpose::Backup if view.mandate.mutated.is(Mutation::PromisesNothing) => Err(Refused::Full),
            Purpose::Backup => {
                // A backup above the asker, or below the asker's parent, would fail together with that
                // parent.
                let blind = view.mandate.mutated.is(Mutation::BacksUpInItsBranch);
                let together =
                    attach.path.contains(&me) || parent.is_some_and(|parent| place.contains(&parent));
                // A mixer keeps its promises for first tiers, and a standby has no program before it mixes.
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

    /// Returns the children below which there may be room: shortest detour first, then the nearest slot, then
    /// the most free slots; ties are drawn. Suspected children are left out.
    fn places(&mut self, view: &mut View<'_>, from: PeerId, attach: &Attach) -> List<Place, PLACES_MAX> {
        let backup = attach.purpose == Purpose::Backup;
        let blind = view.mandate.mutated.is(Mutation::BacksUpInItsBranch);
        self.forget_sent(view.now);
        // A peer above the asker can't be its backup, but another branch below that peer may hold one.
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
                    return None; // the last slot is for the child that gives way
                }
                let detour_us = self.detour_us(child, &attach.round_trips, depth);
                Some((is_suspected(child), above(peer), detour_us, depth, free, *peer))
            })
            .collect();
        // A peer with a stalled radio is suspected too. If only suspected branches have room, an unfed asker
        // is sent to these.
        let any = !backup && !attach.fed && places.iter().all(|(suspected, ..)| *suspected);
        places.retain(|(suspected, ..)| any || !suspected);
        view.rng.shuffle(&mut places);
        places.sort_by_key(|(_, above, detour_us, depth, free, _)| {
            (*above, *detour_us, *depth, Reverse(*free))
        });
        if let Some((_, _, _, depth, _, first)) = places.first()
            && let Some(child) = self.children.get_mut(first)
        {
            // Until the first child's next aggregate, the newcomer is expected to take a slot there and to
            // bring its own.
            child.sent_at = Some(view.now);
            child.below = child.below.less_one(attach.purpose, *depth);
            if !backup {
                child.below = child.below.with_room(depth + 1, attach.room);
            }
        }
        self.places_of(view, places.into_iter().map(|(.., peer)| peer))
    }

    /// Restores slots counted for redirected peers that didn't take them.
    pub(super) fn forget_sent(&mut self, now: Time) {
        self.children.values_mut().for_each(|child| child.forget_sent(now));
    }

    /// Handles a child's request for the program (`Feed`). A peer that was never accepted gets `Dismiss`; a
    /// promised child for which there is no slot gets `Shed` with other places, then `Dismiss`.
    pub(crate) fn feed(&mut self, view: &mut View<'_>, from: PeerId, resume: Option<Resume>) {
        let (fed, most) = (self.fed_count(), self.most(view));
        view.links.wanted_again(view.now, &from);
        let Some(child) = self.children.get_mut(&from) else {
            view.out.send(from, TreeMessage::Dismiss);
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
        // An empty path says that this peer waits for the program itself.
        let path = if self.at_fault { Path::default() } else { self.path.clone() };
        let whereabouts = self.whereabouts(view);
        view.out.send(from, TreeMessage::Feeding { path, whereabouts });
        let waits = self.path.is_empty() || self.is_unsure(view);
        let Some(child) = self.children.get_mut(&from) else { return };
        if waits {
            child.waits = Some(resume); // the cache holds only old packets
        } else {
            child.served = true;
            view.out.act(Output::Serve { peer: from, from: resume, sound: true });
        }
        self.settle(view);
    }

    /// The parent has failed. Notifies the children that requested the program within the last `JUST_FED_US`
    /// that this peer has none, since a child that was promised the program declines other parents.
    pub(super) fn take_back(&self, view: &mut View<'_>) {
        let just = |child: &Child| child.asked_feed_at.is_some_and(|at| view.now.since(at) < JUST_FED_US);
        let just_fed: Vec<_> =
            self.served().filter(|(_, child)| just(child)).map(|(peer, _)| *peer).collect();
        for peer in just_fed {
            let whereabouts = self.whereabouts(view);
            view.out.send(peer, TreeMessage::Feeding { path: Path::default(), whereabouts });
        }
    }

    /// Removes a child when no slot is left for it, and redirects it to other places.
    fn send_on(&mut self, view: &mut View<'_>, from: PeerId) {
        let Some(child) = self.children.remove(&from) else { return };
        view.out.act(Output::Unserve(from));
        view.out.note(Note::TreeUnserves(from));
        let places = self.places(view, from, &Attach { round_trips: child.trips, ..Attach::newcomer() });
        view.out.send(from, TreeMessage::Shed { places });
        view.out.send(from, TreeMessage::Dismiss);
    }

    /// Sheds children when a measurement shows that the uplink carries fewer than are served, or this peer's user wants
    /// fewer: those with the smallest branches are asked to leave, stay served meanwhile, and are sent away after
    /// `OVER_US`.
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

    /// Returns the served children beyond what the uplink carries and the user allows, smallest branches first.
    fn over(&self, view: &View<'_>) -> Vec<PeerId> {
        // Then all children have been asked to go.
        let goes = self.leaving.is_some() || self.stepping_out.is_some();
        let Some(roster) = view.stage.roster().filter(|roster| is_limited(view, roster)) else {
            return Vec::new();
        };
        if goes || self.mixing || self.stands_by(view) {
            return Vec::new();
        }
        // The limit doesn't depend on the place: a peer that has just lost its parent keeps its children.
        let most = self.capacity_as_relay(view, roster) + self.reserve(view);
        let mut served: Vec<_> = self.served().map(|(peer, child)| (child.told.viewers, *peer)).collect();
        served.sort_unstable();
        served.truncate(served.len().saturating_sub(most));
        served.into_iter().map(|(_, peer)| peer).collect()
    }

    /// Returns whether the uplink is still being measured, so that it may turn out to carry less than was
    /// promised.
    fn is_unsure(&self, view: &View<'_>) -> bool {
        view.uplink.is_awaited && !self.mixing && !self.stands_by(view)
    }

    /// Withdraws promises beyond what this peer can keep; the highest ids lose theirs first.
    pub(super) fn keep_promises(&mut self, view: &mut View<'_>) {
        // A viewer that waits for the program itself may get it in time. A former standby that doesn't view
        // won't.
        let fed = self.mixing || !self.is_viewer(view) || (self.parent.is_some() && !self.at_fault);
        // An accepted child may still search elsewhere and not come, which would free its slot.
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
            view.out.note(Note::TreeUnserves(peer)); // by now the peer may be a speaker that views
            view.out.send(peer, TreeMessage::Dismiss);
        }
    }

    /// Serves the children that have waited, when this peer has a program. Once the uplink is known, accepted
    /// children beyond its capacity are sent elsewhere first.
    pub(super) fn serve_waiting(&mut self, view: &mut View<'_>) {
        if self.is_unsure(view) {
            return;
        }
        let most = self.most(view);
        let over = self.fed_count().saturating_sub(most + usize::from(self.is_awaited_in_place()));
        let comes = self.children.iter().rev().filter(|(_, child)| child.fed && !child.served);
        let over: Vec<_> = comes.map(|(peer, _)| *peer).take(over).collect();
        if view.stage.roster().is_some_and(|roster| is_limited(view, roster)) {
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

    /// A child is fed by another parent again; it stays as a promised child and receives heads.
    pub(crate) fn stop_feed(&mut self, view: &mut View<'_>, from: PeerId) {
        if let Some(child) = self.children.get_mut(&from) {
            (child.fed, child.served, child.waits) = (false, false, None);
            view.out.act(Output::Unserve(from));
            view.out.act(Output::ServeHeads(from));
            self.settle(view);
        }
    }

    /// Removes a child that has left, was lost, or is to be dropped.
    pub(crate) fn drop_child(&mut self, view: &mut View<'_>, peer: PeerId) {
        if self.children.remove(&peer).is_some() {
            view.out.act(Output::Unserve(peer));
            view.out.note(Note::TreeUnserves(peer));
            self.settle(view);
        }
    }

    /// Takes the aggregate of a child, or of another mixer.
    pub(crate) fn aggregate(&mut self, view: &mut View<'_>, from: PeerId, below: Aggregate) {
        if let Some(child) = self.children.get_mut(&from) {
            let fewer = below.viewers < child.told.viewers || below.deepest < child.told.deepest;
            child.asked_at.take_if(|_| fewer); // a viewer has moved away, as requested
            (child.told, child.below, child.sent_at) = (below, below, None);
            self.settle(view);
        } else {
            self.co_mixer(view, from, below);
        }
    }

    /// Sends all children to other places; each stays served until another parent feeds it.
    pub(super) fn shed(&mut self, view: &mut View<'_>) {
        let places = self.shed_places(view);
        for child in self.children.keys() {
            view.out.send(*child, TreeMessage::Shed { places: places.clone() });
        }
    }

    /// Sends one child to other places, as `shed` does.
    pub(super) fn shed_one(&self, view: &mut View<'_>, child: PeerId) {
        let places = self.shed_places(view);
        view.out.send(child, TreeMessage::Shed { places });
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

    /// Sends a message to all linked children except `but`.
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
                // This peer may have moved since it promised, and the news got lost.
                view.out.send(peer, TreeMessage::PathIs(place));
            }
        } else {
            self.drop_child(view, peer);
        }
    }

    /// Returns the number of viewers below this peer, by its children's aggregates.
    pub(crate) fn viewers_below(&self) -> u32 {
        self.served().fold(0, |sum, (_, child)| sum.saturating_add(child.below.viewers))
    }

    /// Returns the maximum number of children by which the parent compares this peer with others. A page states 1 at
    /// most: its uplink is unknown, and it sends whole frames, so that a native relay belongs above it.
    fn told_room(&self, view: &View<'_>) -> u8 {
        let most = if view.config.sends_trains { CHILDREN_MAX } else { 1 };
        self.capacity(view).min(most.into()) as u8
    }

    /// Returns this peer's own aggregate: viewers, free slots and free promises of its whole branch.
    pub(super) fn summed(&self, view: &View<'_>) -> Aggregate {
        let own = u32::from(view.config.views && !self.mixing);
        let strongest = self.served().map(|(peer, child)| (child.room(), *peer)).max();
        let deepest = self.served().map(|(_, child)| child.told.deepest).max().unwrap_or(0);
        let records = u32::from(view.records && !view.on_stage());
        let recorders = self.served().map(|(_, child)| child.below.recorders.min(child.below.viewers));
        let mut sum = Aggregate {
            viewers: own.saturating_add(self.viewers_below()),
            recorders: recorders.fold(records, u32::saturating_add),
            room: self.told_room(view),
            sending_us: self.sending_to_all_us(view),
            deepest: deepest.saturating_add(1),
            strongest: strongest.map(|(room, peer)| (peer, room)),
            ..Aggregate::default()
        };
        sum.free[0] = self.free_slots(view) as u16;
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

    /// Sends the aggregate to the parent when it has changed, at most once per `AGGREGATE_US`. A mixer
    /// reports its number of viewers to the host instead.
    pub(super) fn tell_upward(&mut self, view: &mut View<'_>) {
        let sum = self.summed(view);
        if self.mixing {
            let Aggregate { viewers, recorders, .. } = sum;
            let due = self.viewers_told.is_none_or(|(told, told_recorders, at)| {
                (told, told_recorders) != (viewers, recorders)
                    || (viewers > 0 && view.now.since(at) >= VIEWERS_US)
            });
            if due {
                self.viewers_told = Some((viewers, recorders, view.now));
                view.out.note(Note::Viewers(viewers, recorders));
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
            view.out.send(parent.peer, TreeMessage::Aggregate(sum));
            self.aggregate_sent = Some(sum);
            self.aggregate_at = Some(view.now + AGGREGATE_US);
        }
    }

    /// Forgets what was sent to the parent: a new parent knows nothing of this peer yet.
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
            .filter(|(viewers, ..)| self.mixing && *viewers > 0)
            .map(|(.., at)| at + VIEWERS_US);
        // A changed aggregate that waits for the minimum interval.
        let news = self.aggregate_at.filter(|_| self.parent.is_some() && !self.mixing);
        let sent = self.children.values().filter_map(|child| child.sent_at).min().map(|at| at + SENT_US_MAX);
        let suspected = self.children.values().filter_map(|child| child.suspicion.until).min();
        let over = self.children.values().filter_map(|child| child.sheds_at).min();
        [absent, told, news, sent, suspected, over].into_iter().flatten().min()
    }
}
/// Returns whether this peer may feed fewer children than the room's limit says.
fn is_limited(view: &View<'_>, roster: &Roster) -> bool {
    let UplinkEstimate { bps, children_max, .. } = view.uplink;
    bps.is_some() || children_max.is_some() || view.config.children_max < roster.rules.k
}

/// Returns the number of programs that a mixer's uplink carries beside its share of the stage.
fn uplink_as_mixer(view: &View<'_>, roster: &Roster) -> usize {
    let measured = view.mandate.uplinks_bps().find(|(mixer, bps)| **mixer == view.me && *bps > 0);
    let uplink_bps = view.config.uplink_bps_max.into_iter().chain(measured.map(|(_, bps)| bps)).min();
    let mixers = view.mandate.mixers.len();
    uplink_bps.map_or(usize::MAX, |bps| first_tier_max(roster, mixers, bps))
}
