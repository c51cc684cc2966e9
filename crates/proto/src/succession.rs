//! Taking over without a vote.
//!
//! Standby 1 watches the mixer. Half-way to the watch's limit it asks everyone else on stage that it is linked
//! to how long ago they heard the mixer. When the limit is reached and nobody has heard it for 350 ms, it
//! declares the next regency and takes over. A mixer that leaves asks for the same. A mixer that hears it was taken over while it lives says
//! so under its signature, and the regent withdraws.

use crate::id::{PeerId, Rank};
use crate::io::{Output, Verdict};
use crate::message::{Alive, Message, TakeOver};
use crate::mutation::Mutation;
use crate::outbox::{Note, View};
use crate::roster::Mode;
use crate::seal::Signed;
use crate::time::{MS, Time};

/// Whoever heard the mixer within this time speaks against a take-over (DESIGN §6).
const HEARD_US: u64 = 350 * MS;
/// While somebody hears it, it is asked for again so often.
const ASK_AGAIN_US: u64 = 100 * MS;

/// This peer's part in who succeeds whom.
#[derive(Debug, Default)]
pub(crate) struct Succession {
    watched: Option<PeerId>,
    silent: bool,
    /// When anybody who answered has heard it last.
    heard_at: Option<Time>,
    ask_at: Option<Time>,
    leaving: bool,
}

impl Succession {
    /// Roster or mandate have changed: who is to be watched?
    pub(crate) fn look(&mut self, view: &mut View<'_>) {
        let anyone = view.mandate.mutated.is(Mutation::LetsAnyoneTakeOver) && view.on_stage();
        let next = view.mandate.standby() == Some(view.me) || anyone;
        let standby = next && view.stage.mode() != Mode::Mesh;
        let watched = view.mandate.lead().filter(|lead| standby && *lead != view.me);
        if watched != self.watched {
            *self = Succession { watched, leaving: self.leaving, ..Succession::default() };
            view.out.act(Output::WatchMixer(watched));
        }
    }

    /// The watch on the mixer speaks; [`Verdict::Behind`] is half of its limit.
    pub(crate) fn verdict(&mut self, view: &mut View<'_>, peer: PeerId, verdict: Verdict) {
        if self.watched != Some(peer) {
            return;
        }
        self.silent = verdict == Verdict::Silent;
        if verdict == Verdict::Ok {
            (self.heard_at, self.ask_at) = (None, None);
            return;
        }
        if self.ask_at.is_none() {
            self.ask_round(view, peer);
        }
        self.declare_if_gone(view);
    }

    fn ask_round(&mut self, view: &mut View<'_>, mixer: PeerId) {
        self.ask_at = Some(view.now + ASK_AGAIN_US);
        for entry in view.stage.present() {
            if entry.peer != view.me && entry.peer != mixer && view.links.is_up(&entry.peer) {
                view.out.send(entry.peer, Message::HearWanted { mixer });
            }
        }
    }

    /// Somebody answers.
    pub(crate) fn heard(&mut self, view: &View<'_>, from: PeerId, mixer: PeerId, silent_us: Option<u32>) {
        if let Some(silent_us) = silent_us
            && self.watched == Some(mixer)
            && self.ask_at.is_some()
            && view.stage.contains(&from)
        {
            let heard_at = Time(view.now.0.saturating_sub(silent_us.into()));
            self.heard_at = self.heard_at.max(Some(heard_at));
        }
    }

    /// From when on nobody's word stands against a take-over.
    fn unheard_at(&self) -> Time {
        self.heard_at.map_or(Time(0), |at| at + HEARD_US)
    }

    fn declare_if_gone(&mut self, view: &mut View<'_>) {
        if let Some(mixer) = self.watched
            && self.silent
            && view.now >= self.unheard_at()
        {
            self.declare(view, mixer, false);
        }
    }

    fn declare(&mut self, view: &mut View<'_>, over: PeerId, polite: bool) {
        let take_over = view.sign_for_ever(TakeOver { rank: view.mandate.next_regency(), over, polite });
        view.send_stage(&Message::TakeOver(take_over.clone()));
        view.out.note(Note::TakeOver(take_over));
        (self.silent, self.ask_at) = (false, None);
    }

    /// The mixer leaves, and wants us to go on.
    pub(crate) fn wanted(&mut self, view: &mut View<'_>, from: PeerId, rank: Rank) {
        let proper = view.mandate.standby() == Some(view.me)
            && view.mandate.mixers.contains(&from)
            && rank == view.rank();
        if proper {
            self.declare(view, from, true);
        }
    }

    /// We leave, and want our standby to go on; false when there is none.
    pub(crate) fn leave(&mut self, view: &mut View<'_>) -> bool {
        self.leaving = true;
        let standby = view.mandate.standby().filter(|standby| view.links.is_up(standby));
        if let Some(standby) = standby {
            view.out.send(standby, Message::TakeOverWanted { rank: view.rank() });
        }
        standby.is_some()
    }

    /// A take-over has come; true when it may be taken: not when it is we who were declared gone, for we live.
    pub(crate) fn may_take(
        &mut self,
        view: &mut View<'_>,
        take_over: &Signed<TakeOver>,
        mixing: bool,
    ) -> bool {
        let TakeOver { over, polite, rank: denied } = take_over.body;
        if over != view.me || polite || self.leaving || !mixing || !view.mandate.may_take_over(take_over) {
            return true;
        }
        let rank = view.rank();
        let alive = view.sign_for_ever(Alive { rank, denied });
        view.send_stage(&Message::Alive(alive.clone()));
        view.out.note(Note::Alive(alive));
        false
    }

    pub(crate) fn on_time(&mut self, view: &mut View<'_>) {
        if let (Some(at), Some(mixer)) = (self.ask_at, self.watched)
            && at <= view.now
        {
            self.ask_round(view, mixer);
        }
        self.declare_if_gone(view);
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let unheard_at = self.silent.then(|| self.unheard_at());
        self.ask_at.map(|at| unheard_at.map_or(at, |unheard_at| at.min(unheard_at)))
    }
}
