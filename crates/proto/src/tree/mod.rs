//! Distribution tree: the mixer is the root, viewers relay the program to their children.
//!
//! Joining: a viewer sends `Attach` to a mixer. The mixer accepts it as a child (`Accept`), redirects it to
//! places further down where its children's aggregates show free slots (`Redirect`), or refuses it
//! (`Refused`). The accepted child links to its parent and requests the program (`Feed`).
//!
//! Failover: each viewer keeps a linked backup parent in another branch, which sends it heads only. In the
//! first tier the backup is standby 1. When the parent is at fault, the child requests the program from the
//! backup, starting at the last packets it holds, and releases the old parent after the first packets from
//! the backup have arrived. Every change of parent is make-before-break.
//!
//! Parts of the state machine:
//!
//! - [`up`]: the child's side, parent and backup.
//! - [`seek`]: searches for a place.
//! - [`down`]: the parent's side.
//! - [`balance`]: moves peers to keep the tree flat.
//! - [`near`]: estimates network distance and looks for a better place.
//! - [`co_mixers`]: balances the audience between the trees of several mixers.
//!
//! Every peer knows its path, the list of peers from a mixer down to itself. A peer refuses an asker that is
//! in its own path, so the tree has no cycles.

mod above;
mod balance;
mod child;
mod co_mixers;
mod down;
mod failed_feeders;
mod near;
mod seek;
mod up;

use crate::ordered::OrderedMap;

use crate::bounded::{Bound, List};
use crate::config::CHILDREN_MAX;
use crate::id::PeerId;
use crate::io::Output;
use crate::message::{Aggregate, FAILOVERS_MAX, Failover, PATH_LEN_MAX, Path, TreeMessage};
use crate::outbox::Note;
use crate::seal::Signed;
use crate::stage::Mode;
use crate::time::{SECOND, Time};
use crate::view::View;

use above::Up;
use balance::Balance;
use child::Child;
use co_mixers::CoMixers;
use failed_feeders::FailedFeeders;
use near::Near;
use seek::Seek;

/// Timeout after which an accepted child that hasn't linked is forgotten. A guess: longer than the child
/// itself waits for the link, 6 s at most (`PATIENCE_US_MAX`).
const ATTACH_US_MAX: u64 = 10 * SECOND;
/// Maximum number of backups that a relay promises to feed. A guess: the default number of children of a
/// relay. A standby promises as many as the mixers that it succeeds may feed.
const PROMISES_MAX: usize = 4;
/// Slots kept free for backups that are activated: with one, a relay without free slots can still promise a
/// place to one backup.
pub(crate) const RESERVE: usize = 1;
/// Maximum number of children, promised ones included: `CHILDREN_MAX` children, as many promised backups, and
/// the reserve for each of the two.
pub(crate) const CHILDREN_AND_PROMISES_MAX: usize = 2 * (CHILDREN_MAX as usize + RESERVE);
/// Minimum interval between two aggregates to the parent.
const AGGREGATE_US: u64 = SECOND;

/// How long packets of the parent before count, unless it was at fault: they were under way when the new
/// parent began, or are being repaired. A guess.
const FORMER_US: u64 = SECOND;

/// How long a viewer that comes on stage keeps its parent: 2 s. Meanwhile its children move elsewhere and its
/// mixer begins to serve it, which takes several link set-ups. A guess.
const STEP_OUT_US: u64 = 2 * SECOND;

/// Time without a parent after which a viewer tells its application that the room has no place for it. A guess: five
/// rounds of a search, in which the tree of a room that has places has named one.
const NO_PLACE_US: u64 = 10 * SECOND;

/// Interval at which a viewer reminds the host that there is an audience while no peer mixes.
const REMIND_US: u64 = 2 * SECOND;

/// This peer's place in the tree: its parents, its children, and the searches under way.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    parent: Option<Up>,
    backup: Option<Up>,
    /// The peer to feed this one next, requested or still linking; becomes the parent with its first packets.
    next: Option<Up>,
    /// A place found while `next`, linked and requested, hasn't answered; taken if it doesn't.
    beside: Option<Up>,
    /// The former parent, unless it was at fault, and the time until which its packets count.
    former: Option<(PeerId, Time)>,
    /// When the current parent first fed this peer.
    parent_since: Option<Time>,
    /// The current parent is not the first one.
    has_changed: bool,
    seek_parent: Option<Seek>,
    seek_backup: Option<Seek>,
    /// The watchdog's latest verdict on the parent: at fault (silent, behind or stalled).
    at_fault: bool,
    /// Non-polite failovers sent by the backup or `next`, held until this peer's own feed is at fault.
    held: List<Signed<Failover>, FAILOVERS_MAX>,
    children: OrderedMap<PeerId, Child>,
    path: Path,
    mixing: bool,
    /// This machine is short of processor time.
    is_busy: bool,
    leaving: Option<Time>,
    /// This peer has come on stage, and gives up its place in the tree at this time.
    stepping_out: Option<Time>,
    aggregate_at: Option<Time>,
    aggregate_sent: Option<Aggregate>,
    viewers_told: Option<(u32, u32, Time)>,
    balance: Balance,
    co_mixers: CoMixers,
    near: Near,
    watched: (Option<PeerId>, Option<PeerId>),
    failed_feeders: FailedFeeders,
    /// The last forging feeder, until the complaint about it is sent.
    forger: Option<Up>,
    /// Peers that have been told, since this peer was last fed, that a place they named fed it nothing.
    told_in_vain: List<PeerId, PATH_LEN_MAX>,
    /// The present search for a first parent, or for another one after the last was lost.
    placeless: Option<Placeless>,
    /// When a viewer in a room without a mixer reminds the host of itself next.
    waits_at: Option<Time>,
}

/// Search state of a viewer without a parent.
#[derive(Clone, Copy, Debug)]
struct Placeless {
    since: Time,
    /// A peer that was asked had no place.
    is_full: bool,
    /// The application was told.
    is_told: bool,
}

impl Tree {
    /// Returns this peer's path: the peers from a mixer down to this peer, both included; empty while it has
    /// no parent.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the current path, or while this peer is unfed the path it will have once `next` feeds it.
    /// Newcomers needn't wait for the first packets.
    fn place(&self, view: &View<'_>) -> Path {
        match &self.next {
            Some(next) if self.path.is_empty() && !self.mixing && !next.path.contains(&view.me.short()) => {
                Path::truncated(next.path.iter().copied().chain([view.me.short()]))
            }
            _ => self.path.clone(),
        }
    }

    /// Returns whether this peer takes its program from the tree: it wants to view, neither mixes nor leaves,
    /// and is no speaker, which gets the program from its mixer.
    fn is_viewer(&self, view: &View<'_>) -> bool {
        let speaks = view.stage.entry(&view.me).is_some_and(|entry| entry.speaks);
        view.config.views && !speaks && !self.mixing && self.leaving.is_none()
    }

    /// Re-evaluates parent, backup and children after a change of roster or mandate.
    pub(crate) fn update(&mut self, view: &mut View<'_>) {
        self.waits_at = None;
        self.step_out_or_stay(view);
        if view.stage.mode() == Mode::Mesh && view.stage.roster().is_some() && !self.mixing {
            // In a mesh no peer mixes, so there is no tree. The host may no longer know that there is an
            // audience.
            self.let_go_upward(view);
            self.waits_at = self.is_viewer(view).then_some(view.now + REMIND_US);
        } else {
            self.follow_mandate(view);
        }
        self.settle(view);
    }

    /// This peer has begun or stopped mixing.
    pub(crate) fn mixing(&mut self, view: &mut View<'_>, mixing: bool) {
        self.mixing = mixing;
        if mixing {
            self.let_go_upward(view);
            self.set_path(view, &[]);
            self.begins_here(view);
        } else {
            self.shed(view);
            self.path = Path::default();
            self.follow_mandate(view);
        }
        self.settle(view);
    }

    /// Gives up the place in the tree when this peer has come on stage. Its mixer serves it from then on, and
    /// it takes no children: those it has are handed over like the children of a leaving peer.
    fn step_out_or_stay(&mut self, view: &mut View<'_>) {
        let mixes = self.mixing || view.mixes() || self.stands_by(view);
        let on_stage = view.speaks() && !mixes && self.leaving.is_none();
        let above = self.parent.is_some() || self.next.is_some() || self.seek_parent.is_some();
        if !on_stage {
            self.stepping_out = None;
        } else if self.stepping_out.is_none() && (above || !self.children.is_empty()) {
            self.stepping_out = Some(view.now + STEP_OUT_US);
            (self.seek_parent, self.seek_backup) = (None, None);
            self.shed(view);
        }
    }

    /// The mix has stopped serving a peer. If that peer is a served child by now, this peer continues to
    /// serve it as its parent.
    pub(crate) fn mix_unserves(&mut self, view: &mut View<'_>, peer: PeerId) {
        if self.children.get(&peer).is_some_and(|child| child.served) {
            view.out.act(Output::Serve { peer, from: None, sound: true });
        }
    }

    /// Sets the path to the parent's path plus this peer, and sends it to the children when it has changed.
    /// Ignored when the parent's path is full ([`PATH_LEN_MAX`]).
    fn set_path(&mut self, view: &mut View<'_>, above: &[crate::id::ShortId]) {
        let path = Path::truncated(above.iter().copied().chain([view.me.short()]));
        if path == self.path || above.len() >= PATH_LEN_MAX {
            return;
        }
        self.path = path;
        for child in self.children.keys() {
            view.out.send(*child, TreeMessage::PathIs(self.path.clone()));
        }
        self.serve_waiting(view);
    }

    /// Runs the follow-up of any change: promises, watchdog, links, balance, and the aggregates for the
    /// parent and the other mixers.
    fn settle(&mut self, view: &mut View<'_>) {
        self.keep_beside(view);
        self.keep_placeless(view);
        self.keep_promises(view);
        self.keep_watch(view);
        self.keep_links(view);
        self.keep_near(view);
        self.keep_balance(view);
        self.tell_upward(view);
        self.tell_co_mixers(view);
    }

    /// Handles a link that has come up or gone down.
    pub(crate) fn link_changed(&mut self, view: &mut View<'_>, peer: PeerId, up: bool) {
        self.link_changed_up(view, peer, up);
        self.link_changed_down(view, peer, up);
        self.settle(view);
    }

    /// A new estimate of this peer's uplink has arrived, or its user has set another limit: there may be room for more
    /// or fewer children, and a frame reaches them sooner or later than before.
    pub(crate) fn limits_changed(&mut self, view: &mut View<'_>) {
        self.serve_waiting(view);
        self.shed_over(view);
        self.tell_late(view);
        self.settle(view);
    }

    /// This peer has begun to record, or has ended it.
    pub(crate) fn records_changed(&mut self, view: &mut View<'_>) {
        self.settle(view);
    }

    /// This machine has become short of processor time, or no longer is: its parent hears of the slots that are
    /// closed or open now.
    pub(crate) fn busy(&mut self, view: &mut View<'_>, is_busy: bool) {
        self.is_busy = is_busy;
        self.settle(view);
    }

    /// Leaves politely: sends the children to other places (the parent, then the mixers); leaving is over
    /// after 1 s at the latest.
    pub(crate) fn leave(&mut self, view: &mut View<'_>) {
        self.leaving = Some(view.now + SECOND);
        self.shed(view);
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// Returns the parent and the backup.
    pub(crate) fn above(&self) -> (Option<PeerId>, Option<PeerId>) {
        (self.parent.as_ref().map(|up| up.peer), self.backup.as_ref().map(|up| up.peer))
    }

    /// Records that a peer sent forged media. The next search sends a complaint to the sender of its redirect.
    pub(crate) fn deceived(&mut self, now: Time, by: PeerId) {
        let feeder = [&self.parent, &self.next].into_iter().flatten().find(|up| up.peer == by);
        self.forger = feeder.cloned().or(self.forger.take());
        self.failed_feeders.forged(now, by);
    }

    /// Returns the peer that said within a minute that it feeds this one, and sent nothing or forged media; the last of
    /// several.
    pub(crate) fn fed_nothing_by(&self, now: Time) -> Option<PeerId> {
        self.failed_feeders.word_broken_by(now)
    }

    /// Returns the peers that were asked for the program: the parent, the peer that is to feed this one next,
    /// and for [`FORMER_US`] the parent before, with packets under way.
    pub(crate) fn feeders(&self, now: Time) -> Vec<PeerId> {
        let next = self.next.as_ref().filter(|next| next.is_asked());
        let former = self.former.filter(|(_, until)| *until > now).map(|(peer, _)| peer);
        self.parent.iter().chain(next).map(|up| up.peer).chain(former).collect()
    }

    /// Returns the children that are served, and those that are accepted or promised but not served.
    pub(crate) fn below(&self) -> (Vec<PeerId>, Vec<PeerId>) {
        let served = |wanted| {
            let children = self.children.iter().filter(move |(_, child)| child.served == wanted);
            children.map(|(peer, _)| *peer).collect()
        };
        (served(true), served(false))
    }

    /// Returns whether a peer is a child that is served.
    pub(crate) fn is_served(&self, peer: &PeerId) -> bool {
        self.children.get(peer).is_some_and(|child| child.served)
    }

    /// Returns whether a peer is a child of this peer: served, accepted, or promised.
    pub(crate) fn is_below(&self, peer: &PeerId) -> bool {
        self.children.contains_key(peer)
    }

    /// Releases all parents and dismisses all children.
    pub(crate) fn let_go(&mut self, view: &mut View<'_>) {
        self.let_go_upward(view);
        for child in std::mem::take(&mut self.children).into_keys() {
            view.out.act(Output::Unserve(child));
            view.out.note(Note::TreeUnserves(child));
            view.out.send(child, TreeMessage::Dismiss);
        }
    }

    /// Returns whether leaving is done: no child is served any more, or the deadline has passed. The caller
    /// polls this; no timeout is scheduled for it.
    pub(crate) fn left(&self, now: Time) -> bool {
        self.leaving.is_some_and(|at| at <= now || !self.feeds())
    }

    pub(crate) fn on_time(&mut self, view: &mut View<'_>) {
        if self.waits_at.is_some_and(|at| at <= view.now) {
            self.waits_at = Some(view.now + REMIND_US);
            view.out.note(Note::Lost);
        }
        if self.stepping_out.take_if(|at| *at <= view.now).is_some() {
            self.let_go(view);
        }
        self.former.take_if(|(_, until)| *until <= view.now);
        self.on_time_up(view);
        self.on_time_down(view);
        self.on_time_near(view);
        self.settle(view);
    }

    pub(crate) fn bounds(&self) -> impl Iterator<Item = Bound> {
        let children = Bound::new("children and promises", self.children.len(), CHILDREN_AND_PROMISES_MAX);
        let seeks = [&self.seek_parent, &self.seek_backup].into_iter().flatten();
        [children, self.near.bounds()]
            .into_iter()
            .chain(self.failed_feeders.bounds())
            .chain(self.co_mixers.bounds())
            .chain(seeks.flat_map(Seek::bounds))
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let former = self.former.map(|(_, until)| until);
        let own = [self.waits_at, self.stepping_out, self.next_move(), former];
        let parts = [
            self.next_timeout_up(),
            self.next_timeout_down(),
            self.placeless_due(),
            self.co_mixers.next_timeout(),
            self.near.next_timeout(),
        ];
        own.into_iter().chain(parts).flatten().min()
    }
}

/// Returns whether `path` can be the path of `peer`: it ends with that peer and names no peer twice. An empty
/// path is valid, it means that the peer isn't fed.
pub(crate) fn is_path_of(path: &Path, peer: &PeerId) -> bool {
    let once = path.iter().enumerate().all(|(at, id)| !path[..at].contains(id));
    once && path.last().is_none_or(|last| *last == peer.short())
}
