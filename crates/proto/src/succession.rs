//! Failover without a vote.
//!
//! Standby 1 watches the mixers. Without a present standby, each mixer is watched by the next mixer in rank
//! ([`View::standby_of`]); a peer that the mixer has denied in this term is passed over.
//!
//! - Half-way to the watchdog's limit, the watching peer asks all linked peers on stage how long ago they
//!   heard the mixer (`HearWanted`).
//! - At the limit, if the others have had time to answer and most of those that did haven't heard the mixer for
//!   350 ms, the watching peer signs the next failover. A standby begins in the mixer's place; another mixer goes
//!   on with one mixer fewer. Where a voter has answered, only voters' answers count: ids cost nothing.
//! - A mixer that leaves, or that can't make its program any more, requests a failover itself (`FailoverWanted`). Its
//!   signature is in the failover.
//! - A mixer that the host has removed is succeeded at once, and may not deny it.
//! - A mixer that receives a failover over itself while it lives signs `Alive`, and the successor withdraws.

use crate::ordered::OrderedMap;

use crate::id::{PeerId, Rank};
use crate::io::{Output, Verdict};
use crate::message::{Alive, Failover, FailoverMessage, Message, Resignation, Vote};
use crate::mutation::Mutation;
use crate::outbox::Note;
use crate::seal::{Signature, Signed};
use crate::stage::Mode;
use crate::time::{MS, Time};
use crate::view::View;

/// If at least half of the answering peers have heard the mixer within this time, no failover is declared: equal to
/// [`MIXER_SILENT_US`](crate::watchdog::MIXER_SILENT_US).
const HEARD_US: u64 = 350 * MS;
/// Interval at which the question is repeated while the mixer is suspected.
const ASK_AGAIN_US: u64 = 100 * MS;
/// Minimum time to wait for answers. A machine that stalled itself wakes to a silence past every limit, with
/// the packets that arrived meanwhile not yet read. Less than half of the watchdog's limit, so that it delays
/// no other failover.
const ANSWER_US: u64 = 150 * MS;
/// Lateness above which this machine must have stalled itself. Longer than any turn of a body's event loop. A
/// guess.
const LATE_US: u64 = 50 * MS;

/// State of a watched mixer.
#[derive(Debug, Default)]
struct Watched {
    silent: bool,
    /// When each answering peer has last heard the mixer, and whether that peer votes.
    heard: OrderedMap<PeerId, (Time, bool)>,
    asking: Option<Asking>,
}

/// A query under way: the stage is asked whether it hears a mixer.
#[derive(Debug)]
struct Asking {
    since: Time,
    again_at: Time,
}

impl Watched {
    /// Returns when no answer stands against a failover any more; `None` before the stage was asked.
    fn unheard_at(&self) -> Option<Time> {
        let answered_at = self.asking.as_ref()?.since + ANSWER_US;
        Some(self.heard_at().map_or(answered_at, |at| answered_at.max(at + HEARD_US)))
    }

    /// Returns the time since which at least half of the answering peers have heard the mixer. One peer that lies, or
    /// that alone still hears it, decides nothing among three.
    fn heard_at(&self) -> Option<Time> {
        let any_votes = self.heard.values().any(|(_, votes)| *votes);
        let counted = self.heard.values().filter(|(_, votes)| *votes || !any_votes);
        let mut times: Vec<Time> = counted.map(|(at, _)| *at).collect();
        times.sort_unstable_by(|a, b| b.cmp(a));
        times.get(times.len().saturating_sub(1) / 2).copied()
    }

    /// Returns whether the stage is to be asked now. If that is overdue, this machine has stalled and all
    /// answers are outdated, so the questions start again.
    fn asks(&mut self, now: Time) -> bool {
        let again_at = now + ASK_AGAIN_US;
        match &mut self.asking {
            Some(asking) if now < asking.again_at => return false,
            Some(asking) if now.since(asking.again_at) < LATE_US => asking.again_at = again_at,
            _ => self.asking = Some(Asking { since: now, again_at }),
        }
        true
    }
}

/// State of the failover watch at this peer.
#[derive(Debug, Default)]
pub(crate) struct Succession {
    watched: OrderedMap<PeerId, Watched>,
    leaving: bool,
    /// Whether this peer's codecs have failed, so that it mixes no more.
    resigned: bool,
    /// Rank under which it has asked its standby to succeed it for that.
    asked_under: Option<Rank>,
    /// Rank under which this peer has declared a removed mixer gone.
    removed_under: Option<Rank>,
}

impl Succession {
    /// Re-evaluates which mixers this peer watches, after a change of roster or mandate.
    pub(crate) fn update(&mut self, view: &mut View<'_>) {
        let anyone = view.mandate.mutated.is(Mutation::LetsAnyoneFailOver) && view.on_stage();
        let inherits = |mixer: &PeerId| view.successor(mixer) == Some(view.me) || anyone;
        let mixers = view.mandate.mixers.iter().filter(|_| view.stage.mode() != Mode::Mesh);
        let mut watched: Vec<PeerId> =
            mixers.filter(|mixer| **mixer != view.me && inherits(mixer) && !self.resigned).copied().collect();
        watched.sort_unstable();
        if !watched.iter().eq(self.watched.keys()) {
            self.watched.retain(|mixer, _| watched.contains(mixer));
            for mixer in &watched {
                self.watched.entry(*mixer).or_default();
            }
            view.out.act(Output::WatchMixers(watched));
        }
        if (self.resigned || self.leaving) && view.mixes() && self.asked_under != Some(view.rank()) {
            self.asked_under = self.ask_standby(view).then(|| view.rank());
        }
        let removed = self.watched.keys().find(|mixer| view.stage.has_removed(mixer)).copied();
        if let Some(mixer) = removed.filter(|_| self.removed_under != Some(view.rank())) {
            self.removed_under = Some(view.rank());
            self.declare(view, mixer, None);
        }
    }

    /// Handles a watchdog verdict on a mixer; [`Verdict::Behind`] means half of the limit.
    pub(crate) fn verdict(&mut self, view: &mut View<'_>, peer: PeerId, verdict: Verdict) {
        let Some(watched) = self.watched.get_mut(&peer) else { return };
        watched.silent = verdict == Verdict::Silent;
        if verdict == Verdict::Ok {
            *watched = Watched::default();
            return;
        }
        if watched.asks(view.now) {
            ask_round(view, peer);
        }
        self.declare_if_gone(view);
    }

    /// Handles an answer of a peer on stage: how long the mixer has been silent there.
    pub(crate) fn heard(&mut self, view: &View<'_>, from: PeerId, mixer: PeerId, silent_us: Option<u32>) {
        let watched = self.watched.get_mut(&mixer).filter(|watched| watched.asking.is_some());
        if let (Some(watched), Some(entry)) = (watched, view.stage.entry(&from)) {
            // a peer that has never heard the mixer answers without a time
            let at = Time(silent_us.map_or(0, |silent_us| view.now.0.saturating_sub(silent_us.into())));
            let has_vote = entry.votes != Vote::No;
            let (known, votes) = watched.heard.entry(from).or_insert((at, has_vote));
            (*known, *votes) = ((*known).max(at), has_vote);
        }
    }

    /// A peer's process has restarted: as a mixer it would have to begin anew, and its standby is warm.
    pub(crate) fn restarted(&mut self, view: &mut View<'_>, peer: PeerId) {
        if self.watched.contains_key(&peer) {
            self.declare(view, peer, None);
        }
    }

    fn declare_if_gone(&mut self, view: &mut View<'_>) {
        let due = |watched: &Watched| watched.unheard_at().is_some_and(|at| at <= view.now);
        let gone = |watched: &Watched| watched.silent && due(watched);
        let mixer = self.watched.iter().find(|(_, watched)| gone(watched)).map(|(mixer, _)| *mixer);
        if let Some(mixer) = mixer {
            self.declare(view, mixer, None);
        }
    }

    fn declare(&mut self, view: &mut View<'_>, over: PeerId, wish: Option<Box<Signature>>) {
        let Some(rank) = view.mandate.next_failover(&view.me) else { return };
        let failover = view.sign_for_ever(Failover { rank, after: view.rank(), over, wish });
        view.send_stage(&Message::Failover(FailoverMessage::Failover(failover.clone())));
        view.out.note(Note::Failover(failover));
        self.watched.insert(over, Watched::default());
    }

    /// Handles `FailoverWanted`: the mixer leaves, and requests this peer to succeed it.
    pub(crate) fn wanted(&mut self, view: &mut View<'_>, from: PeerId, rank: Rank, wish: Signature) {
        // Two mixers that leave at once are each other's standbys.
        let mixes = view.mandate.mixers.contains(&from);
        let its = Resignation { rank, successor: view.me }.is_by(&from, &view.config.room, &wish);
        if mixes
            && its
            && !self.leaving
            && !self.resigned
            && view.standby_of(&from) == Some(view.me)
            && rank == view.rank()
        {
            self.declare(view, from, Some(Box::new(wish)));
        }
    }

    /// This peer leaves, and succeeds no mixer at its wish any more. A mixer requests its standby to succeed it, now or
    /// under the next rank that names it. Returns whether it has one.
    pub(crate) fn leave(&mut self, view: &mut View<'_>) -> bool {
        self.leaving = true;
        self.update(view);
        self.asked_under == Some(view.rank())
    }

    /// This peer can't mix any more: a mixer asks its standby to succeed it, now or under the next rank that names it;
    /// other peers succeed nobody any more.
    pub(crate) fn resign(&mut self, view: &mut View<'_>) {
        self.resigned = true;
        self.update(view);
    }

    /// Asks the standby of this mixer to succeed it; returns false without a linked one.
    fn ask_standby(&self, view: &mut View<'_>) -> bool {
        let standby = view.standby_of(&view.me).filter(|standby| view.links.is_up(standby));
        if let Some(standby) = standby {
            let rank = view.rank();
            let wish = Resignation { rank, successor: standby }.sign(view.keys, &view.config.room);
            view.out.send(standby, FailoverMessage::FailoverWanted { rank, wish });
        }
        standby.is_some()
    }

    /// Returns whether a failover may be taken. A failover over this peer itself, while it mixes, is denied
    /// with a signed `Alive`.
    pub(crate) fn may_take(
        &mut self,
        view: &mut View<'_>,
        failover: &Signed<Failover>,
        mixing: bool,
    ) -> bool {
        let Failover { over, rank: denied, .. } = failover.body;
        let successor = failover.sender;
        if over != view.me
            || view.mandate.is_polite(&failover.body)
            || self.leaving
            || self.resigned
            || !mixing
            || !view.mandate.may_fail_over(failover)
        {
            return true;
        }
        let rank = view.rank();
        let alive = view.sign_for_ever(Alive { rank, denied, successor });
        view.send_stage(&Message::Failover(FailoverMessage::Alive(alive.clone())));
        view.out.note(Note::Alive(alive));
        false
    }

    pub(crate) fn on_time(&mut self, view: &mut View<'_>) {
        for (mixer, watched) in &mut self.watched {
            if watched.asking.is_some() && watched.asks(view.now) {
                ask_round(view, *mixer);
            }
        }
        self.declare_if_gone(view);
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let due = |watched: &Watched| {
            let unheard_at = watched.unheard_at().filter(|_| watched.silent);
            watched.asking.as_ref().map(|asking| asking.again_at).into_iter().chain(unheard_at).min()
        };
        self.watched.values().filter_map(due).min()
    }
}

/// Asks all linked peers on stage how long the mixer has been silent.
fn ask_round(view: &mut View<'_>, mixer: PeerId) {
    for entry in view.stage.present() {
        if entry.peer != view.me && entry.peer != mixer && view.links.is_up(&entry.peer) {
            view.out.send(entry.peer, FailoverMessage::HearWanted { mixer });
        }
    }
}
