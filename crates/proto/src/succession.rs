//! Taking over without a vote.
//!
//! Standby 1 watches the mixers; without one, each mixer is watched by the next in rank ([`View::standby_of`]). Half-way to
//! the watch's limit it asks everyone else on stage that it is linked to how long ago they heard the mixer. When the
//! limit is reached, and nobody of those who were given time to answer has heard it for 350 ms, it declares the next failover and takes over: a standby in
//! the mixer's place, another mixer beside its own. A mixer that leaves asks for the same. A mixer that hears it was
//! taken over while it lives says so under its signature, and the successor withdraws.

use std::collections::BTreeMap;

use crate::id::{PeerId, Rank};
use crate::io::{Output, Verdict};
use crate::message::{Alive, Failover, Message};
use crate::mutation::Mutation;
use crate::outbox::{Note, View};
use crate::seal::Signed;
use crate::stage::Mode;
use crate::time::{MS, Time};

/// Whoever heard the mixer within this time speaks against a failover (DESIGN §6).
const HEARD_US: u64 = 350 * MS;
/// While somebody hears it, it is asked for again so often.
const ASK_AGAIN_US: u64 = 100 * MS;
/// Answers are waited for so long at least: a machine that stood still itself wakes to a silence past every limit,
/// with what came meanwhile not yet read. Less than half of the watch's limit, so that it delays no other.
const ANSWER_US: u64 = 150 * MS;
/// What was due so long ago was not done because this machine stood still. Longer than any turn of a body's.
const LATE_US: u64 = 50 * MS;

/// A mixer that we would take over from.
#[derive(Debug, Default)]
struct Watched {
    silent: bool,
    /// When anybody who answered has heard it last.
    heard_at: Option<Time>,
    asking: Option<Asking>,
}

/// The others are asked whether they hear a mixer.
#[derive(Debug)]
struct Asking {
    since: Time,
    again_at: Time,
}

impl Watched {
    /// From when on nobody's word stands against a failover, once the others have been asked.
    fn unheard_at(&self) -> Option<Time> {
        let answered_at = self.asking.as_ref()?.since + ANSWER_US;
        Some(self.heard_at.map_or(answered_at, |at| answered_at.max(at + HEARD_US)))
    }

    /// Whether the others are to be asked now. If that should have been long ago it was we who stood still, and all answers are
    /// as old: asking begins anew.
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

/// This peer's part in who succeeds whom.
#[derive(Debug, Default)]
pub(crate) struct Succession {
    watched: BTreeMap<PeerId, Watched>,
    leaving: bool,
}

impl Succession {
    /// Roster or mandate have changed: who is to be watched?
    pub(crate) fn update(&mut self, view: &mut View<'_>) {
        let anyone = view.mandate.mutated.is(Mutation::LetsAnyoneFailOver) && view.on_stage();
        let inherits = |mixer: &PeerId| view.successor(mixer) == Some(view.me) || anyone;
        let mixers = view.mandate.mixers.iter().filter(|_| view.stage.mode() != Mode::Mesh);
        let mut watched: Vec<PeerId> =
            mixers.filter(|mixer| **mixer != view.me && inherits(mixer)).copied().collect();
        watched.sort_unstable();
        if !watched.iter().eq(self.watched.keys()) {
            self.watched.retain(|mixer, _| watched.contains(mixer));
            for mixer in &watched {
                self.watched.entry(*mixer).or_default();
            }
            view.out.act(Output::WatchMixers(watched));
        }
    }

    /// The watch on a mixer speaks; [`Verdict::Behind`] is half of its limit.
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

    /// Somebody answers.
    pub(crate) fn heard(&mut self, view: &View<'_>, from: PeerId, mixer: PeerId, silent_us: Option<u32>) {
        let watched = self.watched.get_mut(&mixer).filter(|watched| watched.asking.is_some());
        if let (Some(silent_us), Some(watched)) = (silent_us, watched)
            && view.stage.contains(&from)
        {
            let heard_at = Time(view.now.0.saturating_sub(silent_us.into()));
            watched.heard_at = watched.heard_at.max(Some(heard_at));
        }
    }

    fn declare_if_gone(&mut self, view: &mut View<'_>) {
        let due = |watched: &Watched| watched.unheard_at().is_some_and(|at| at <= view.now);
        let gone = |watched: &Watched| watched.silent && due(watched);
        let mixer = self.watched.iter().find(|(_, watched)| gone(watched)).map(|(mixer, _)| *mixer);
        if let Some(mixer) = mixer {
            self.declare(view, mixer, false);
        }
    }

    fn declare(&mut self, view: &mut View<'_>, over: PeerId, polite: bool) {
        let Some(rank) = view.mandate.next_failover(&view.me) else { return };
        let failover = view.sign_for_ever(Failover { rank, after: view.rank(), over, polite });
        view.send_stage(&Message::Failover(failover.clone()));
        view.out.note(Note::Failover(failover));
        self.watched.insert(over, Watched::default());
    }

    /// The mixer leaves, and wants us to go on.
    pub(crate) fn wanted(&mut self, view: &mut View<'_>, from: PeerId, rank: Rank) {
        // two that leave at once are each other's standbys
        if !self.leaving && view.standby_of(&from) == Some(view.me) && rank == view.rank() {
            self.declare(view, from, true);
        }
    }

    /// We leave, and want our standby to go on; false when there is none.
    pub(crate) fn leave(&mut self, view: &mut View<'_>) -> bool {
        self.leaving = true;
        let standby = view.standby_of(&view.me).filter(|standby| view.links.is_up(standby));
        if let Some(standby) = standby {
            view.out.send(standby, Message::FailoverWanted { rank: view.rank() });
        }
        standby.is_some()
    }

    /// A failover has come; true when it may be taken: not when it is we who were declared gone, for we live.
    pub(crate) fn may_take(
        &mut self,
        view: &mut View<'_>,
        failover: &Signed<Failover>,
        mixing: bool,
    ) -> bool {
        let Failover { over, polite, rank: denied, .. } = failover.body;
        let successor = failover.sender;
        if over != view.me || polite || self.leaving || !mixing || !view.mandate.may_fail_over(failover) {
            return true;
        }
        let rank = view.rank();
        let alive = view.sign_for_ever(Alive { rank, denied, successor });
        view.send_stage(&Message::Alive(alive.clone()));
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

/// Asks the stage for how long it hasn't heard a mixer.
fn ask_round(view: &mut View<'_>, mixer: PeerId) {
    for entry in view.stage.present() {
        if entry.peer != view.me && entry.peer != mixer && view.links.is_up(&entry.peer) {
            view.out.send(entry.peer, Message::HearWanted { mixer });
        }
    }
}
