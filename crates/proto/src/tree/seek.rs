//! Searches for a place in the tree: which peers to ask, and how to use their answers.
//!
//! A search asks one peer after another, best place first. A peer that doesn't answer soon may be dead, so
//! the next one is asked as well. The first acceptance is taken, and the slots of the other peers are given
//! back.

use crate::ordered::OrderedSet;

use super::above::{Feed, Up};
use super::failed_feeders::FailedFeeders;
use super::{NO_PLACE_US, Placeless, Tree};
use crate::app::Event;
use crate::bounded::{Bound, List};
use crate::id::{PeerId, ShortId};
use crate::message::{
    Attach, Message, PATH_LEN_MAX, PLACES_MAX, Path, Place, Purpose, Reach, Refused, TreeMessage, Whereabouts,
};
use crate::outbox::{Note, Outbox};
use crate::rng::Backoff;
use crate::time::{MS, SECOND, Time};
use crate::view::View;

/// Timeout after which the next place is asked as well: a round trip through a rendezvous between continents.
const ASK_NEXT_US: u64 = 300 * MS;
/// Timeout without any answer after which the search starts again, when there is no other place to ask.
const ANSWER_US_MAX: u64 = 1_500 * MS;
/// Maximum number of unanswered requests at a time.
const ASKED_MAX: usize = 4;
/// Maximum number of answers that send one search on: twice the longest path. More redirects than that don't
/// descend a tree.
const HOPS_MAX: u32 = 2 * PATH_LEN_MAX as u32;
/// Maximum number of peers asked before a search starts again: for each hop the redirecting peer and the
/// places it named.
const TRIED_MAX: usize = HOPS_MAX as usize * (1 + PLACES_MAX);
/// Number of places found no better after which a search for a better place ends. One isn't enough: branches
/// are chosen by the location of their top peer, and the free slots further down may be far from it.
const WORSE_MAX: u32 = 3;
/// Backoff of backup searches. By the next try, the tree may have grown another branch.
const BACKUP_RETRY: Backoff = Backoff::new(400 * MS, 3 * SECOND);
const PARENT_RETRY: Backoff = Backoff::new(200 * MS, 2 * SECOND);

/// How much better than the present place a place must be to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Better {
    /// Another peer requested the move: go unless the place is known to be worse, also when its quality is
    /// unknown.
    NotWorse,
    /// The search is this peer's own: go only where the place is known to be clearly better.
    ByFar,
}

/// A search for a place, as a child or as a backup.
#[derive(Debug)]
pub(super) struct Seek {
    pub(super) purpose: Purpose,
    /// Peers that haven't answered yet.
    asked: OrderedSet<PeerId>,
    /// When the last request was sent, while answers are outstanding.
    asked_at: Time,
    /// Places named in redirects and not asked yet, best first.
    places: Vec<Place>,
    tried: OrderedSet<PeerId>,
    /// A peer that this one couldn't be linked with was asked for places below it only
    /// ([`Reach::OnlyBelow`]).
    passes: bool,
    /// The round before found no place: the start of the search is asked with [`Reach::OnlyHere`], and the
    /// peers that couldn't be linked are asked for places of their own as well.
    pleads: bool,
    /// Peers that hadn't answered at the last timeout. Their late answers still count, since messages
    /// forwarded through linked peers take long.
    late: OrderedSet<PeerId>,
    hops: u32,
    /// Number of places found that were no better than the present one.
    worse: u32,
    retry_at: Time,
    backoff: Backoff,
    /// This peer has lost its feed: all places of a redirect are asked at once.
    urgent: bool,
    /// This peer is fed and would move only below a peer with at most this path length. The search ends when
    /// no such place is found.
    moves: Option<usize>,
    /// Required gain of a new place; `None` if any place will do.
    better: Option<Better>,
    /// Set when a peer accepted this peer and fed it nothing: the peer that had named it, the path that
    /// `Attach` states to that peer, and the known ids of the failed peer's path.
    vain: Option<(PeerId, Path, List<PeerId, PATH_LEN_MAX>)>,
}

impl Seek {
    pub(super) fn new(purpose: Purpose, now: Time) -> Seek {
        let backoff = if purpose == Purpose::Parent { PARENT_RETRY } else { BACKUP_RETRY };
        Seek {
            purpose,
            asked: OrderedSet::new(),
            asked_at: now,
            places: Vec::new(),
            tried: OrderedSet::new(),
            passes: false,
            pleads: false,
            late: OrderedSet::new(),
            hops: 0,
            worse: 0,
            retry_at: now,
            backoff,
            urgent: false,
            moves: None,
            better: None,
            vain: None,
        }
    }

    pub(super) fn bounds(&self) -> [Bound; 4] {
        [
            Bound::new("peers asked in a search", self.asked.len(), ASKED_MAX),
            Bound::new("peers that answer a search late", self.late.len(), ASKED_MAX),
            Bound::new("places of a search", self.places.len(), 2 * PLACES_MAX),
            Bound::new("peers tried in a search", self.tried.len(), TRIED_MAX),
        ]
    }

    /// Creates a search for a parent that starts at the given places. The searcher itself and peers below it
    /// are left out.
    pub(super) fn at_places(view: &View<'_>, places: &[Place]) -> Seek {
        let places = places.iter().filter(|place| place.is_apart_from(&view.me));
        let places = places.take(PLACES_MAX).cloned().collect();
        Seek { places, ..Seek::new(Purpose::Parent, view.now) }
    }

    /// Creates a search for a better place. The present parent counts as tried, since this peer is below it
    /// already.
    pub(super) fn to_move(view: &View<'_>, places: &[Place], path_len_max: usize, parent: PeerId) -> Seek {
        Seek { moves: Some(path_len_max), tried: [parent].into(), ..Seek::at_places(view, places) }
    }

    /// Makes the search reject places that aren't better enough.
    pub(super) fn if_better(self, enough: Better) -> Seek {
        Seek { better: Some(enough), ..self }
    }

    /// Starts the search at the peer that had named a failed feeder, and reports the failure to it by the
    /// path in `Attach`. A peer that has had such a report already would name another failed feeder, so the
    /// peer above it gets the report instead. Returns the peer to which the report goes.
    fn begin_above(&mut self, me: PeerId, failed: &Up, told: &[PeerId]) -> Option<PeerId> {
        let place = |path: &[ShortId]| Path::truncated(path.iter().copied());
        // A feeder that only couldn't be linked with this peer may be a good parent of others.
        let (mut path, mut is_blamed) = (&failed.path[..], failed.is_asked());
        let (sender, above) = loop {
            let (_, above) = path.split_last()?;
            let sender = above.last()?;
            let sender = *failed.above.iter().find(|peer| peer.short() == *sender)?;
            if !told.contains(&sender) {
                break (sender, above);
            }
            (path, is_blamed) = (above, true);
        };
        if path.len() >= PATH_LEN_MAX {
            return None;
        }
        self.places.insert(0, Place { peer: sender, path: place(above) });
        let ours = if is_blamed { path } else { above };
        let ours = Path::truncated(ours.iter().copied().chain([me.short()]));
        self.vain = Some((sender, ours, failed.above.clone()));
        Some(sender)
    }

    /// Returns the ids of those peers in a path that this search has asked, or knew from the failed feeder's
    /// path.
    fn known_of(&self, path: &Path) -> List<PeerId, PATH_LEN_MAX> {
        let before = self.vain.iter().flat_map(|(.., above)| above.iter());
        let before = before.filter(|peer| !self.tried.contains(*peer));
        let known = self.tried.iter().chain(before).filter(|peer| path.contains(&peer.short()));
        List::truncated(known.copied())
    }

    /// Returns whether this peer is fed and the search is for a better place only.
    pub(super) fn is_move(&self) -> bool {
        self.moves.is_some()
    }

    /// Takes the next place that wasn't asked yet, failed feeders excluded; none past the hop limit.
    fn next_good(&mut self, failed_feeders: &FailedFeeders) -> Option<PeerId> {
        let good = |place: &Place| !self.tried.contains(&place.peer) && !failed_feeders.contains(&place.peer);
        let at = self.places.iter().position(good).filter(|_| self.hops < HOPS_MAX)?;
        Some(self.places.remove(at).peer)
    }

    /// Takes the next place that wasn't asked yet; failed feeders come last.
    fn next_place(&mut self, failed_feeders: &FailedFeeders) -> Option<PeerId> {
        self.next_good(failed_feeders).or_else(|| self.next_good(&FailedFeeders::default()))
    }

    /// Returns the kind of place for which to ask a peer.
    fn reach(&mut self, failed_feeders: &FailedFeeders, peer: &PeerId) -> Reach {
        if self.pleads {
            return if self.tried.is_empty() { Reach::OnlyHere } else { Reach::Anywhere };
        }
        let is_way = failed_feeders.is_unlinked(peer);
        self.passes |= is_way;
        if is_way { Reach::OnlyBelow } else { Reach::Anywhere }
    }

    fn knows_more(&self) -> bool {
        self.hops < HOPS_MAX && self.places.iter().any(|place| !self.tried.contains(&place.peer))
    }

    /// Returns when the next step is due if no answer arrives.
    pub(super) fn due(&self) -> Time {
        if self.asked.is_empty() {
            self.retry_at
        } else if self.knows_more() && self.asked.len() < ASKED_MAX {
            self.asked_at + ASK_NEXT_US
        } else {
            self.asked_at + self.patience_us()
        }
    }

    /// Returns how long to wait for answers when there is no other peer to ask.
    fn patience_us(&self) -> u64 {
        if self.urgent { ASK_NEXT_US } else { ANSWER_US_MAX }
    }

    /// Counts a place that was no better than the present one; returns whether the search goes on.
    fn looks_on(&mut self, from: PeerId, now: Time) -> bool {
        self.worse += 1;
        let goes_on = self.better == Some(Better::ByFar) && self.worse < WORSE_MAX;
        if goes_on {
            self.answered(from, now);
        }
        goes_on
    }

    /// Handles an answer that gives this peer no place.
    fn answered(&mut self, from: PeerId, now: Time) {
        self.asked.remove(&from);
        self.hops += 1;
        if self.asked.is_empty() || self.knows_more() {
            self.asked.clear();
            self.retry_at = self.retry_at.min(now);
        }
    }
}

impl Tree {
    pub(super) fn seek_parent_now(&mut self, view: &mut View<'_>) {
        let urgent = self.at_fault || (self.parent.is_none() && self.parent_since.is_some());
        let seek = Seek { urgent, ..Seek::new(Purpose::Parent, view.now) };
        self.seek_parent = Some(self.beginning_above_a_forger(view, seek));
    }

    /// Makes a new search start with a complaint above a feeder that forged since the last search. The sender of its
    /// redirect may be an accomplice: a second complaint within a minute goes to the peer above. An unfed viewer asks a
    /// mixer at the same time.
    pub(super) fn beginning_above_a_forger(&mut self, view: &mut View<'_>, mut seek: Seek) -> Seek {
        let forges = |up: &Up| self.failed_feeders.forgers(view.now).any(|forger| forger == up.peer);
        let Some(forger) = self.forger.take().filter(forges) else { return seek };
        let told = self.failed_feeders.told(view.now);
        let Some(sender) = seek.begin_above(view.me, &forger, &told) else { return seek };
        self.failed_feeders.tells(view.now, sender);
        if seek.urgent
            && let Some(mixer) = self.start_of(view, seek.purpose).filter(|mixer| *mixer != sender)
        {
            seek.places.push(Place { peer: mixer, path: Path::truncated([mixer.short()]) });
        }
        seek
    }

    /// Returns the peer where a search starts: a mixer, or for a backup in the first tier the mixer's
    /// fallback, usually standby 1.
    fn start_of(&self, view: &mut View<'_>, purpose: Purpose) -> Option<PeerId> {
        let first_tier = self.parent.as_ref().filter(|parent| parent.path.len() == 1);
        if let Some(mixer) = first_tier.filter(|_| purpose == Purpose::Backup) {
            return view.fallback(&mixer.peer);
        }
        let mixers: Vec<_> = view.mandate.mixers.iter().filter(|mixer| **mixer != view.me).collect();
        // The mixer of this peer's own branch has a free slot if the parent that died was its child.
        let ours = |mixer: &&&PeerId| self.path.first() == Some(&mixer.short());
        if let Some(root) = mixers.iter().find(ours).filter(|_| purpose == Purpose::Parent) {
            return Some(**root);
        }
        mixers.get(view.rng.below(mixers.len() as u64) as usize).map(|mixer| **mixer)
    }

    /// Takes the next step of a search when it is due; `None` ends the search.
    pub(super) fn step(&mut self, view: &mut View<'_>, mut seek: Seek) -> Option<Seek> {
        if view.now < seek.due() {
            return Some(seek);
        }
        if view.now.since(seek.asked_at) >= seek.patience_us() && !seek.asked.is_empty() {
            seek.late = std::mem::take(&mut seek.asked);
        }
        let place = seek.next_place(&self.failed_feeders);
        if place.is_none() && seek.moves.take().is_some() && self.parent.is_some() && !self.at_fault {
            return None;
        }
        let Some(peer) = place.or_else(|| self.restart(view, &mut seek)) else { return Some(seek) };
        self.send_attach(view, &mut seek, peer);
        while seek.urgent && seek.asked.len() < ASKED_MAX {
            // Failed feeders are left out here, since a failed feeder may be the first to accept.
            let Some(peer) = seek.next_good(&self.failed_feeders) else { break };
            self.send_attach(view, &mut seek, peer);
        }
        Some(seek)
    }

    /// Makes the new search start above a peer that accepted this peer and then failed it.
    pub(super) fn begin_above(&mut self, view: &View<'_>, failed: &Up) {
        let Some(seek) = &mut self.seek_parent else { return };
        let sender = seek.begin_above(view.me, failed, &self.told_in_vain);
        if sender.is_none_or(|sender| self.told_in_vain.push(sender).is_err()) {
            self.told_in_vain = List::new(); // each peer above was told: reports start over
        }
    }

    fn send_attach(&self, view: &mut View<'_>, seek: &mut Seek, peer: PeerId) {
        let reach = seek.reach(&self.failed_feeders, &peer);
        seek.tried.insert(peer);
        seek.asked.insert(peer);
        seek.asked_at = view.now;
        let vain = seek.vain.as_ref().filter(|(above, ..)| *above == peer).map(|(_, path, _)| path.clone());
        if seek.purpose == Purpose::Backup && vain.is_some() {
            seek.vain = None; // from now on the search is for a backup of the present place
        }
        let attach = Attach {
            purpose: seek.purpose,
            viewers_below: self.viewers_below(),
            room: self.room(view),
            sending_us: self.sending_to_all_us(view),
            fed: vain.is_none()
                && (seek.purpose == Purpose::Backup || self.parent.is_some() && !self.at_fault),
            path: vain.unwrap_or_else(|| self.path.clone()),
            round_trips: self.near.trips().clone(),
            reach,
            ticket: view.ticket.cloned(),
        };
        // the process at the other end of the link may have restarted
        let is_deaf = seek.late.contains(&peer);
        let send = if is_deaf { Outbox::send_beside } else { Outbox::send };
        send(view.out, peer, Message::Tree(TreeMessage::Attach(attach)));
    }

    /// Starts a search again: returns its starting point at once the first time, afterwards schedules a retry
    /// with backoff.
    fn restart(&self, view: &mut View<'_>, seek: &mut Seek) -> Option<PeerId> {
        let begun = seek.hops > 0 || !seek.tried.is_empty();
        if begun {
            (seek.pleads, seek.passes) = (seek.passes, false);
        }
        seek.hops = 0;
        seek.asked.clear();
        seek.tried.clear();
        seek.places.clear();
        let start = self.start_of(view, seek.purpose);
        if begun || start.is_none() {
            seek.retry_at = view.now + seek.backoff.next_us(view.rng);
            if seek.purpose == Purpose::Parent && self.parent.is_none() {
                view.out.note(Note::Lost); // the known mixers may be out of date
            }
            return None;
        }
        start
    }

    /// Returns the search in which `from` was asked, if there is one.
    fn seek_mut(&mut self, purpose: Purpose, from: PeerId) -> Option<&mut Seek> {
        let seek = match purpose {
            Purpose::Parent => self.seek_parent.as_mut(),
            Purpose::Backup => self.seek_backup.as_mut(),
        };
        seek.filter(|seek| seek.tried.contains(&from) || seek.late.contains(&from))
    }

    /// Handles `Accept`: takes the place, unless it is no longer needed, forms a cycle, or is no better than
    /// the present one.
    pub(crate) fn accepted(
        &mut self,
        view: &mut View<'_>,
        from: PeerId,
        purpose: Purpose,
        path: Path,
        whereabouts: Whereabouts,
    ) {
        let mut cycle = path.contains(&view.me.short()) || path.len() >= PATH_LEN_MAX;
        if purpose == Purpose::Backup {
            cycle |= [&self.parent, &self.next].into_iter().flatten().any(|up| up.peer == from);
        }
        let now = view.now;
        let in_force = view.mandate.mixers.iter().any(|mixer| path.first() == Some(&mixer.short()));
        let Some(seek) = self.seek_mut(purpose, from) else {
            // The search is over: give back the slot.
            self.decline(view, from);
            return;
        };
        if cycle {
            seek.answered(from, now);
            return;
        }
        let above = seek.known_of(&path);
        let (moves, better) = (seek.moves, seek.better.filter(|_| seek.moves.is_some()));
        // A fed peer takes no place outside the trees of the mixers in force; if it only moves, not even
        // while its own path doesn't name the new mixer yet.
        let deposed = !in_force && (moves.is_some() || self.is_fed_by_a_mixer(view));
        let is_better =
            |enough| self.is_better_below(&path, &whereabouts, enough).unwrap_or(enough == Better::NotWorse);
        let worse = better.is_some_and(|enough| !is_better(enough));
        if moves.is_some_and(|most| path.len() > most) || worse || purpose == Purpose::Parent && deposed {
            // The place is no better than the present one, or is below no mixer in force.
            self.seek_parent =
                self.seek_parent.take().and_then(|mut seek| seek.looks_on(from, now).then_some(seek));
            self.decline(view, from);
            self.on_time_up(view);
            return;
        }
        let up = Up::accepted(from, path, above, whereabouts, view.now);
        match purpose {
            Purpose::Parent => {
                self.seek_parent = None;
                if self.parent.is_none() || self.at_fault {
                    view.links.await_offer(view.now, from);
                }
                match &self.next {
                    Some(next) if next.feed == Feed::Answered => self.decline(view, from),
                    Some(next) if next.may_answer() && next.peer != from => self.hold_beside(view, up),
                    _ => self.request_feed(view, up),
                }
            }
            Purpose::Backup => {
                self.seek_backup = None;
                view.out.event(Event::Backup { peer: Some(from) });
                self.backup = Some(up);
                if self.at_fault {
                    self.repair(view);
                }
            }
        }
        self.settle(view);
    }

    /// Gives back a place that was offered to this peer.
    pub(super) fn decline(&self, view: &mut View<'_>, from: PeerId) {
        if self.is_backup_alone(&from) {
            // It accepted its backup child as a child: the promise is enough.
            view.out.send(from, TreeMessage::StopFeed);
        } else if !self.is_above(&from) && !self.children.contains_key(&from) {
            view.out.send(from, TreeMessage::Detach);
        }
    }

    /// Returns whether the parent delivers and is in the tree of a mixer in force.
    pub(super) fn is_fed_by_a_mixer(&self, view: &View<'_>) -> bool {
        let root = self.parent.as_ref().filter(|_| !self.at_fault).and_then(|parent| parent.path.first());
        root.is_some_and(|root| view.mandate.mixers.iter().any(|mixer| mixer.short() == *root))
    }

    /// Handles `Redirect`: the asked peer has no room, but names places that may.
    pub(crate) fn redirected(
        &mut self,
        view: &mut View<'_>,
        from: PeerId,
        purpose: Purpose,
        places: &[Place],
    ) {
        let (me, now) = (view.me, view.now);
        let shunned: Vec<_> = self.failed_feeders.forgers(now).chain([me]).collect();
        if let Some(seek) = self.seek_mut(purpose, from) {
            let is_fit = |place: &&Place| shunned.iter().all(|peer| place.is_apart_from(peer));
            let fresh = places.iter().filter(is_fit);
            seek.places.splice(0..0, fresh.cloned());
            seek.places.truncate(2 * PLACES_MAX);
            seek.answered(from, now);
        }
        self.on_time_up(view);
    }

    /// The rendezvous can't reach a peer, which this peer may have asked for a place.
    pub(crate) fn undeliverable(&mut self, view: &mut View<'_>, peer: PeerId) {
        self.has_no_place(view, peer, Purpose::Parent);
        self.has_no_place(view, peer, Purpose::Backup);
    }

    /// Handles `Refused`: no place at the asked peer, for this reason.
    pub(crate) fn refused(&mut self, view: &mut View<'_>, from: PeerId, purpose: Purpose, reason: Refused) {
        let is_full = purpose == Purpose::Parent && reason == Refused::Full;
        if let Some(placeless) = self.placeless.as_mut().filter(|_| is_full) {
            placeless.is_full = true;
        }
        self.has_no_place(view, from, purpose);
        self.keep_placeless(view);
    }

    /// Keeps the time for which a viewer has had no parent, and tells its application when the room has no place for
    /// it.
    pub(super) fn keep_placeless(&mut self, view: &mut View<'_>) {
        if self.parent.is_some()
            || !self.is_viewer(view)
            || (self.seek_parent.is_none() && self.next.is_none())
        {
            self.placeless = None;
            return;
        }
        let fresh = Placeless { since: view.now, is_full: false, is_told: false };
        self.placeless.get_or_insert(fresh);
        if self.placeless_due().is_some_and(|due| due <= view.now) {
            self.placeless = self.placeless.map(|placeless| Placeless { is_told: true, ..placeless });
            view.out.event(Event::NoPlace);
        }
    }

    /// Returns when the application is to be told that the room has no place for this viewer.
    pub(super) fn placeless_due(&self) -> Option<Time> {
        let placeless = self.placeless.filter(|placeless| placeless.is_full && !placeless.is_told);
        placeless.filter(|_| self.next.is_none()).map(|placeless| placeless.since + NO_PLACE_US)
    }

    /// The asked peer has no place.
    fn has_no_place(&mut self, view: &mut View<'_>, from: PeerId, purpose: Purpose) {
        let now = view.now;
        if let Some(seek) = self.seek_mut(purpose, from).filter(|seek| seek.asked.contains(&from)) {
            seek.answered(from, now);
        }
        self.on_time_up(view);
    }
}
