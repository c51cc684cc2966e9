//! Searches for a place: whom to ask, what to make of the answers.
//!
//! A search asks one peer after another, best place first. Whoever doesn't answer soon may be dead, so the next
//! one is asked as well, and the first to accept is taken; the others' slots are given back.

use std::collections::BTreeSet;

use super::Tree;
use super::failed_feeders::FailedFeeders;
use super::up::Up;
use crate::bounded::{Bound, List};
use crate::id::{PeerId, ShortId};
use crate::io::Event;
use crate::message::{Attach, Message, PATH_LEN_MAX, PLACES_MAX, Path, Place, Purpose, Reach, Whereabouts};
use crate::outbox::{Note, View};
use crate::rng::Backoff;
use crate::time::{MS, SECOND, Time};

/// After this long without an answer the next place is asked as well: a round trip through a rendezvous
/// between continents.
const ASK_NEXT_US: u64 = 300 * MS;
/// After this long without any answer, and with no place left to ask, the search begins anew.
const ANSWER_US_MAX: u64 = 1_500 * MS;
/// Peers asked at one time, at most.
const ASKED_MAX: usize = 4;
/// A way down through more redirects than this is not a tree.
const HOPS_MAX: u32 = 2 * PATH_LEN_MAX as u32;
/// Peers tried before a search begins anew: whoever sent us on, and the places it named.
const TRIED_MAX: usize = HOPS_MAX as usize * (1 + PLACES_MAX);
/// Who looks for a better place goes on until so many have been no better: branches are chosen by where their
/// heads are, and the slots below may be far from these.
const WORSE_MAX: u32 = 3;
/// No backup was to be had: the tree may have grown a branch by then.
const BACKUP_RETRY: Backoff = Backoff::new(400 * MS, 3 * SECOND);
const PARENT_RETRY: Backoff = Backoff::new(200 * MS, 2 * SECOND);

/// How much better than ours a place must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Better {
    /// We were asked to go there, and where nobody knows how good it is, we do.
    NotWorse,
    /// We look for it ourselves, and stay where nobody knows.
    ByFar,
}

/// A search for a place.
#[derive(Debug)]
pub(super) struct Seek {
    pub(super) purpose: Purpose,
    /// Who hasn't answered yet.
    asked: BTreeSet<PeerId>,
    /// When we asked last, while anybody hasn't answered.
    asked_at: Time,
    /// Where we were sent, best first.
    places: Vec<Place>,
    tried: BTreeSet<PeerId>,
    /// Somebody that we couldn't be linked with was asked only for places below it.
    passes: bool,
    /// Nothing else was found: we say so where the search begins, and ask those for places of their own, too.
    pleads: bool,
    /// Who hadn't answered when we gave up waiting last: what they say late counts all the same, for letters through linked
    /// peers take long.
    late: BTreeSet<PeerId>,
    hops: u32,
    /// Places that were no better than ours.
    worse: u32,
    retry_at: Time,
    backoff: Backoff,
    /// Nobody feeds us any more: all places of a redirect are asked at once.
    urgent: bool,
    /// We are fed where we are, and would go only below a path of at most this length; given up if that fails.
    moves: Option<usize>,
    /// Only to a place that is better.
    better: Option<Better>,
    /// Who sent us to a peer that took us and fed us nothing, our path below that one, and whom of it we know.
    vain: Option<(PeerId, Path, List<PeerId, PATH_LEN_MAX>)>,
}

impl Seek {
    pub(super) fn new(purpose: Purpose, now: Time) -> Seek {
        let backoff = if purpose == Purpose::Parent { PARENT_RETRY } else { BACKUP_RETRY };
        Seek {
            purpose,
            asked: BTreeSet::new(),
            asked_at: now,
            places: Vec::new(),
            tried: BTreeSet::new(),
            passes: false,
            pleads: false,
            late: BTreeSet::new(),
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
            Bound::new("peers that are late to answer in a search", self.late.len(), ASKED_MAX),
            Bound::new("places of a search", self.places.len(), 2 * PLACES_MAX),
            Bound::new("peers tried in a search", self.tried.len(), TRIED_MAX),
        ]
    }

    /// A search for a parent that begins at these places.
    pub(super) fn at_places(now: Time, places: &[Place]) -> Seek {
        let places = places.iter().take(PLACES_MAX).cloned().collect();
        Seek { places, ..Seek::new(Purpose::Parent, now) }
    }

    /// A search for a better place than the one we have: below our parent we are already.
    pub(super) fn to_move(now: Time, places: &[Place], path_len_max: usize, parent: PeerId) -> Seek {
        Seek { moves: Some(path_len_max), tried: [parent].into(), ..Seek::at_places(now, places) }
    }

    /// The same, given up if the place isn't better enough.
    pub(super) fn if_better(self, enough: Better) -> Seek {
        Seek { better: Some(enough), ..self }
    }

    /// Begins with whoever sent us to a peer that fed us nothing, and tells it so; gives whom. Who was told already would name
    /// another of the same kind: whoever sent us there is told of it instead.
    fn begin_above(&mut self, me: PeerId, failed: &Up, told: &[PeerId]) -> Option<PeerId> {
        let place = |path: &[ShortId]| Path::truncated(path.iter().copied());
        // one that couldn't be linked with us may be a good parent of others
        let (mut path, mut is_blamed) = (&failed.path[..], failed.asked);
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

    /// Those of a path that we were sent by.
    fn known_of(&self, path: &Path) -> List<PeerId, PATH_LEN_MAX> {
        let before = self.vain.iter().flat_map(|(.., above)| above.iter());
        let before = before.filter(|peer| !self.tried.contains(*peer));
        let known = self.tried.iter().chain(before).filter(|peer| path.contains(&peer.short()));
        List::truncated(known.copied())
    }

    /// Whether we are fed where we are, and it is for a better place.
    pub(super) fn is_move(&self) -> bool {
        self.moves.is_some()
    }

    /// The next place nobody was asked for yet, but for those that failed.
    fn next_good(&mut self, failed_feeders: &FailedFeeders) -> Option<PeerId> {
        let good = |place: &Place| !self.tried.contains(&place.peer) && !failed_feeders.contains(&place.peer);
        let at = self.places.iter().position(good).filter(|_| self.hops < HOPS_MAX)?;
        Some(self.places.remove(at).peer)
    }

    /// The next place nobody was asked for yet; those that failed come last.
    fn next_place(&mut self, failed_feeders: &FailedFeeders) -> Option<PeerId> {
        self.next_good(failed_feeders).or_else(|| self.next_good(&FailedFeeders::default()))
    }

    /// What kind of place a peer is asked for.
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

    /// When something is to be done if no answer comes.
    pub(super) fn due(&self) -> Time {
        if self.asked.is_empty() {
            self.retry_at
        } else if self.knows_more() && self.asked.len() < ASKED_MAX {
            self.asked_at + ASK_NEXT_US
        } else {
            self.asked_at + self.patience_us()
        }
    }

    /// How long answers are waited for when there is nobody else to ask.
    fn patience_us(&self) -> u64 {
        if self.urgent { ASK_NEXT_US } else { ANSWER_US_MAX }
    }

    /// A place was no better than ours; gives whether others are looked at.
    fn looks_on(&mut self, from: PeerId, now: Time) -> bool {
        self.worse += 1;
        let goes_on = self.better == Some(Better::ByFar) && self.worse < WORSE_MAX;
        if goes_on {
            self.answered(from, now);
        }
        goes_on
    }

    /// Somebody answered, but not that the place is ours.
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
    pub(super) fn seek_parent_now(&mut self, view: &View<'_>) {
        let urgent = self.at_fault || (self.parent.is_none() && self.parent_since.is_some());
        self.seek_parent = Some(Seek { urgent, ..Seek::new(Purpose::Parent, view.now) });
    }

    /// Where a search begins: at a mixer; for a backup of the first tier at standby 1.
    fn start_of(&self, view: &mut View<'_>, purpose: Purpose) -> Option<PeerId> {
        let first_tier = self.parent.as_ref().filter(|parent| parent.path.len() == 1);
        if let Some(mixer) = first_tier.filter(|_| purpose == Purpose::Backup) {
            return view.fallback(&mixer.peer);
        }
        let mixers: Vec<_> = view.mandate.mixers.iter().filter(|mixer| **mixer != view.me).collect();
        // ours has lost a child when our parent has died
        let ours = |mixer: &&&PeerId| self.path.first() == Some(&mixer.short());
        if let Some(root) = mixers.iter().find(ours).filter(|_| purpose == Purpose::Parent) {
            return Some(**root);
        }
        mixers.get(view.rng.below(mixers.len() as u64) as usize).map(|mixer| **mixer)
    }

    /// Takes the next step of a search.
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
            // whoever fed us nothing may be the first to accept
            let Some(peer) = seek.next_good(&self.failed_feeders) else { break };
            self.send_attach(view, &mut seek, peer);
        }
        Some(seek)
    }

    /// Nobody is fed by a peer that took us: the search that begins asks whoever sent us there first.
    pub(super) fn begin_above(&mut self, view: &View<'_>, failed: &Up) {
        let Some(seek) = &mut self.seek_parent else { return };
        let sender = seek.begin_above(view.me, failed, &self.told_in_vain);
        if sender.is_none_or(|sender| self.told_in_vain.push(sender).is_err()) {
            self.told_in_vain = List::new(); // all have heard it: from the mixer down once more
        }
    }

    fn send_attach(&self, view: &mut View<'_>, seek: &mut Seek, peer: PeerId) {
        let reach = seek.reach(&self.failed_feeders, &peer);
        seek.tried.insert(peer);
        seek.asked.insert(peer);
        seek.asked_at = view.now;
        let vain = seek.vain.as_ref().filter(|(above, ..)| *above == peer).map(|(_, path, _)| path.clone());
        let attach = Attach {
            purpose: seek.purpose,
            path: vain.unwrap_or_else(|| self.path.clone()),
            viewers_below: self.viewers_below(),
            room: self.room(view),
            sending_us: self.sending_to_all_us(view),
            fed: self.parent.is_some() && !self.at_fault,
            round_trips: self.near.trips().clone(),
            reach,
        };
        view.out.send(peer, Message::Attach(attach));
    }

    /// Begins a search anew at its start: at once the first time, with back-off after that.
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
                view.out.note(Note::Lost); // perhaps the mixers we know are not the mixers any more
            }
            return None;
        }
        start
    }

    /// The search that waits for a word of `from`.
    fn seek_mut(&mut self, purpose: Purpose, from: PeerId) -> Option<&mut Seek> {
        let seek = match purpose {
            Purpose::Parent => self.seek_parent.as_mut(),
            Purpose::Backup => self.seek_backup.as_mut(),
        };
        seek.filter(|seek| seek.tried.contains(&from) || seek.late.contains(&from))
    }

    /// A place is ours.
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
            // an answer we no longer wait for: don't keep a place we don't use
            self.decline(view, from);
            return;
        };
        if cycle {
            seek.answered(from, now);
            return;
        }
        let above = seek.known_of(&path);
        let (moves, better) = (seek.moves, seek.better.filter(|_| seek.moves.is_some()));
        // whoever is fed, and only moves, stays, though its own path may not name the new mixer yet
        let deposed = !in_force && (moves.is_some() || self.is_fed_by_a_mixer(view));
        let is_better =
            |enough| self.is_better_below(&path, &whereabouts, enough).unwrap_or(enough == Better::NotWorse);
        let worse = better.is_some_and(|enough| !is_better(enough));
        if moves.is_some_and(|most| path.len() > most) || worse || purpose == Purpose::Parent && deposed {
            // no better than where we are, or below no mixer any more
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
                if self.next_answers() {
                    self.decline(view, from);
                } else {
                    self.request_feed(view, up);
                }
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

    /// We don't take a place that was ours.
    pub(super) fn decline(&self, view: &mut View<'_>, from: PeerId) {
        if self.is_backup_alone(&from) {
            view.out.send(from, Message::StopFeed); // it took us as a child: its promise is enough
        } else if !self.is_above(&from) && !self.children.contains_key(&from) {
            view.out.send(from, Message::Detach);
        }
    }

    /// The program comes from whoever mixes by the mandate, and flows.
    pub(super) fn is_fed_by_a_mixer(&self, view: &View<'_>) -> bool {
        let root = self.parent.as_ref().filter(|_| !self.at_fault).and_then(|parent| parent.path.first());
        root.is_some_and(|root| view.mandate.mixers.iter().any(|mixer| mixer.short() == *root))
    }

    /// Not there, but perhaps at one of these.
    pub(crate) fn redirected(
        &mut self,
        view: &mut View<'_>,
        from: PeerId,
        purpose: Purpose,
        places: &[Place],
    ) {
        let (me, now) = (view.me, view.now);
        if let Some(seek) = self.seek_mut(purpose, from) {
            let fresh = places.iter().filter(|place| place.peer != me && !place.path.contains(&me.short()));
            seek.places.splice(0..0, fresh.cloned());
            seek.places.truncate(2 * PLACES_MAX);
            seek.answered(from, now);
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
        let now = view.now;
        if let Some(seek) = self.seek_mut(purpose, from).filter(|seek| seek.asked.contains(&from)) {
            seek.answered(from, now);
        }
        self.on_time_up(view);
    }
}
