//! The tree that the program goes down.
//!
//! A viewer asks a mixer for a place (`Attach`). Whoever is asked takes it (`Accept`), or knows from its
//! children's aggregates where there is room below and sends it there (`Redirect`), or can't help (`Refused`).
//! The accepted child links to its parent and asks to be fed (`Feed`). It keeps a backup parent in another
//! branch, linked, that sends heads only; in the first tier that is standby 1. When its feed is at fault it
//! asks the backup to feed it from the last packets it holds, and the old parent is let go when the first
//! packets have come: every change of parent is make-before-break.
//!
//! [`up`] is the child's side, [`seek`] its searches, [`down`] the parent's side, [`balance`]
//! who is asked to move, [`near`] who is near whom and looks for a better place, [`co_mixers`] what several mixers do about each
//! other's trees. All know their path: the peers from a mixer down to
//! here. Whoever has the asker in its path refuses it, so there is no cycle.

mod balance;
mod child;
mod co_mixers;
mod down;
mod failed_feeders;
mod near;
mod seek;
mod up;

use std::collections::BTreeMap;

use crate::bounded::{Bound, List};
use crate::id::PeerId;
use crate::io::Output;
use crate::message::{Aggregate, FAILOVERS_MAX, Failover, Message, PATH_LEN_MAX, Path};
use crate::outbox::{Note, View};
use crate::seal::Signed;
use crate::stage::Mode;
use crate::time::{SECOND, Time};

use balance::Balance;
use child::Child;
use co_mixers::CoMixers;
pub(crate) use down::{CHILDREN_AND_PROMISES_MAX, RESERVE};
use failed_feeders::FailedFeeders;
use near::Near;
use seek::Seek;
use up::Up;

/// A child that was accepted and hasn't come within this time is forgotten (DESIGN §8).
const ATTACH_US_MAX: u64 = 10 * SECOND;
/// Aggregates go up no more often than this.
const AGGREGATE_US: u64 = SECOND;

/// Whoever comes on stage keeps its place so long, while its children go elsewhere and its mixer begins to serve it:
/// several link set-ups. A guess.
const STEP_OUT_US: u64 = 2 * SECOND;

/// A viewer that can't be fed reminds the host this often that there is an audience.
const REMIND_US: u64 = 2 * SECOND;

/// This peer's place in the tree, and who hangs on it.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    parent: Option<Up>,
    backup: Option<Up>,
    /// Asked to feed us; becomes the parent with its first packets.
    next: Option<Up>,
    /// When the parent fed us first.
    parent_since: Option<Time>,
    /// It isn't the first one that did.
    has_changed: bool,
    seek_parent: Option<Seek>,
    seek_backup: Option<Seek>,
    /// What the watch says of the parent.
    at_fault: bool,
    /// Failovers by our backup, to be followed if our feed stalls.
    held: List<Signed<Failover>, FAILOVERS_MAX>,
    children: BTreeMap<PeerId, Child>,
    path: Path,
    mixing: bool,
    leaving: Option<Time>,
    /// We have come on stage, and give up our place then.
    stepping_out: Option<Time>,
    aggregate_at: Option<Time>,
    aggregate_sent: Option<Aggregate>,
    viewers_told: Option<(u32, Time)>,
    balance: Balance,
    co_mixers: CoMixers,
    near: Near,
    watched: (Option<PeerId>, Option<PeerId>),
    failed_feeders: FailedFeeders,
    /// Who has heard, since we were fed last, that whoever it sent us to fed us nothing.
    told_in_vain: List<PeerId, PATH_LEN_MAX>,
    /// A viewer of a room without a tree reminds the host of itself then.
    waits_at: Option<Time>,
}

impl Tree {
    /// Our place: the peers from a mixer down to us, ourselves included; empty when nobody feeds us.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The place that we have, or will have once whoever accepted us feeds us: newcomers needn't wait for that.
    fn place(&self, view: &View<'_>) -> Path {
        match &self.next {
            Some(next) if self.path.is_empty() && !self.mixing && !next.path.contains(&view.me.short()) => {
                Path::truncated(next.path.iter().copied().chain([view.me.short()]))
            }
            _ => self.path.clone(),
        }
    }

    /// Whether this peer takes its program from the tree: it wants to see, and neither mixes nor gets the
    /// program from its mixer as a speaker.
    fn is_viewer(&self, view: &View<'_>) -> bool {
        let speaks = view.stage.entry(&view.me).is_some_and(|entry| entry.speaks);
        view.config.views && !speaks && !self.mixing && self.leaving.is_none()
    }

    /// Roster or mandate have changed.
    pub(crate) fn update(&mut self, view: &mut View<'_>) {
        self.waits_at = None;
        self.step_out_or_stay(view);
        if view.stage.mode() == Mode::Mesh && view.stage.roster().is_some() && !self.mixing {
            // nobody mixes, so there is no tree; the host may have forgotten that we are there
            self.let_go_upward(view);
            self.waits_at = self.is_viewer(view).then_some(view.now + REMIND_US);
        } else {
            self.follow_mandate(view);
        }
        self.settle(view);
    }

    /// We have begun to mix, or stopped.
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

    /// A viewer that has come on stage is served by its mixer from then on, without children: those it has are
    /// handed over like those of a leaver.
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

    /// The mix serves that peer no more: if it is our child by now, we go on as its parent.
    pub(crate) fn mix_unserves(&mut self, view: &mut View<'_>, peer: PeerId) {
        if self.children.get(&peer).is_some_and(|child| child.served) {
            view.out.act(Output::Serve { peer, from: None, sound: true });
        }
    }

    /// Our path is that of our parent and ourselves; tells the children when it has changed.
    fn set_path(&mut self, view: &mut View<'_>, above: &[crate::id::ShortId]) {
        let path = Path::truncated(above.iter().copied().chain([view.me.short()]));
        if path == self.path || above.len() >= PATH_LEN_MAX {
            return;
        }
        self.path = path;
        for child in self.children.keys() {
            view.out.send(*child, Message::PathIs(self.path.clone()));
        }
        self.serve_waiting(view);
    }

    /// Does what follows from any change: the watch, the links, the news for the parent.
    fn settle(&mut self, view: &mut View<'_>) {
        self.keep_promises(view);
        self.keep_watch(view);
        self.keep_links(view);
        self.keep_near(view);
        self.keep_balance(view);
        self.tell_upward(view);
        self.tell_co_mixers(view);
    }

    /// Everything on a link that has come up or gone.
    pub(crate) fn link_changed(&mut self, view: &mut View<'_>, peer: PeerId, up: bool) {
        self.link_changed_up(view, peer, up);
        self.link_changed_down(view, peer, up);
        self.settle(view);
    }

    /// We know what our uplink carries: there may be room for other children than before, and they get the program sooner
    /// or later.
    pub(crate) fn uplink_known(&mut self, view: &mut View<'_>) {
        self.serve_waiting(view);
        self.shed_over(view);
        self.tell_late(view);
        self.settle(view);
    }

    /// Leaves politely: children are sent to our parent's other places, then we go.
    pub(crate) fn leave(&mut self, view: &mut View<'_>) {
        self.leaving = Some(view.now + SECOND);
        self.shed(view);
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// Who feeds us, and who would.
    pub(crate) fn above(&self) -> (Option<PeerId>, Option<PeerId>) {
        (self.parent.as_ref().map(|up| up.peer), self.backup.as_ref().map(|up| up.peer))
    }

    /// Whom we feed, and whom we would.
    pub(crate) fn below(&self) -> (Vec<PeerId>, Vec<PeerId>) {
        let served = |wanted| {
            let children = self.children.iter().filter(move |(_, child)| child.served == wanted);
            children.map(|(peer, _)| *peer).collect()
        };
        (served(true), served(false))
    }

    /// Whether we feed that peer, will, or would.
    pub(crate) fn is_below(&self, peer: &PeerId) -> bool {
        self.children.contains_key(peer)
    }

    /// Lets go of everyone, above and below.
    pub(crate) fn let_go(&mut self, view: &mut View<'_>) {
        self.let_go_upward(view);
        for child in std::mem::take(&mut self.children).into_keys() {
            view.out.act(Output::Unserve(child));
            view.out.note(Note::TreeUnserves(child));
            view.out.send(child, Message::Dismiss);
        }
    }

    /// Whether leaving is done: nobody is fed by us any more, or time is up. To be asked now and then; we wake nobody for it.
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
        self.on_time_up(view);
        self.on_time_down(view);
        self.on_time_near(view);
        self.settle(view);
    }

    pub(crate) fn bounds(&self) -> impl Iterator<Item = Bound> {
        let children = Bound::new("children and promises", self.children.len(), CHILDREN_AND_PROMISES_MAX);
        let seeks = [&self.seek_parent, &self.seek_backup].into_iter().flatten();
        [children, self.failed_feeders.bound(), self.near.bounds()]
            .into_iter()
            .chain(self.co_mixers.bounds())
            .chain(seeks.flat_map(Seek::bounds))
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let own = [self.waits_at, self.stepping_out, self.next_move()];
        let parts = [
            self.next_timeout_up(),
            self.next_timeout_down(),
            self.co_mixers.next_timeout(),
            self.near.next_timeout(),
        ];
        own.into_iter().chain(parts).flatten().min()
    }
}

/// Whether it may be a peer's path: it ends with that peer, and nobody is in it twice. Empty while the peer isn't
/// fed.
pub(crate) fn is_path_of(path: &Path, peer: &PeerId) -> bool {
    let once = path.iter().enumerate().all(|(at, id)| !path[..at].contains(id));
    once && path.last().is_none_or(|last| *last == peer.short())
}
