//! Who is in the room.
//!
//! A joiner asks the host until it answers, and a member that wants to speak, or not to speak any more, does the
//! same. While the host is silent a member asks others on stage, too, and whoever is asked in its stead lets viewers in.
//! The host's own part is in [`crate::host`]. Everyone hands a newer roster on: the host to the stage, parents to
//! their children.

use std::collections::BTreeMap;

use crate::bounded::{Bound, List};
use crate::host::Host;
use crate::id::PeerId;
use crate::io::Event;
use crate::message::{Admit, Consent, Join, Message, Refusal, Reign, SignedRoster};
use crate::outbox::View;
use crate::rng::Backoff;
use crate::seal::Signed;
use crate::stage::Mode;
use crate::time::{MS, SECOND, Time};

const ASK_AGAIN: Backoff = Backoff::new(500 * MS, 5 * SECOND);
/// In the host's stead so many are answered within a second, each once: an answer has some kilobytes, and anybody may ask. A guess.
const LET_IN_MAX: usize = 32;
const LET_IN_EACH_US: u64 = SECOND;
/// A new host hears of those whom others let in within this time, not of all at once.
const ASK_ANEW_US: u64 = 5 * SECOND;

/// This peer's part in who is in the room.
#[derive(Debug)]
pub(crate) struct Membership {
    host: Option<Host>,
    admitted: bool,
    /// It wasn't the host who let us in: it doesn't know of us.
    vouched: bool,
    /// Whom we have let in, in the host's stead, and when: within the last second.
    let_in: BTreeMap<PeerId, Time>,
    refused: bool,
    join_at: Option<Time>,
    asked: u32,
    backoff: Backoff,
    mode: Mode,
    mixer_missed: bool,
    host_known: Option<PeerId>,
    speaks: bool,
    /// We have asked for the floor, and have no answer yet.
    asked_floor: bool,
}

impl Membership {
    pub(crate) fn new() -> Membership {
        Membership {
            host: None,
            admitted: false,
            vouched: false,
            let_in: BTreeMap::new(),
            refused: false,
            join_at: None,
            asked: 0,
            backoff: ASK_AGAIN,
            mode: Mode::Mesh,
            mixer_missed: false,
            host_known: None,
            speaks: false,
            asked_floor: false,
        }
    }

    /// The host opens the room with itself on stage; everyone else asks as soon as there is a way to it.
    pub(crate) fn start(&mut self, view: &mut View<'_>) {
        let Some(config) = view.config.host.clone() else { return };
        let join = join_of(view);
        self.host = Some(Host::open(view, config, &join));
        self.admitted = true;
        view.out.event(Event::Admitted);
    }

    /// The stage has made us host.
    pub(crate) fn succeed(&mut self, view: &mut View<'_>, reign: Reign) {
        self.host = Host::succeed(view, reign);
    }

    /// The host's part, at the host.
    pub(crate) fn host(&mut self) -> Option<&mut Host> {
        self.host.as_mut()
    }

    /// Asks the host anew where things stand, then or sooner.
    pub(crate) fn join_at(&mut self, at: Time) {
        if self.host.is_none() && !self.refused {
            self.join_at = Some(self.join_at.map_or(at, |due| due.min(at)));
        }
    }

    /// The rendezvous is there, or back.
    pub(crate) fn signal_up(&mut self, now: Time) {
        if !self.admitted {
            self.join_at(now);
        }
    }

    /// This peer wants to speak from now on, or not to: the configuration says it already.
    pub(crate) fn wish(&mut self, view: &mut View<'_>) {
        let join = join_of(view);
        self.asked_floor = join.speaks;
        match &mut self.host {
            Some(host) => {
                host.enter(view.now, view.me, &join);
            }
            None => self.join_at(view.now),
        }
    }

    /// The host wants us to speak, if we want to.
    pub(crate) fn floor_offered(&mut self, view: &mut View<'_>) {
        if view.config.speaks {
            self.join_at(view.now);
        } else {
            view.out.event(Event::FloorOffered);
        }
    }

    /// The host wants us to speak no more; the configuration follows it already, and perhaps we watch from now on.
    pub(crate) fn floor_taken(&mut self, view: &mut View<'_>, watches: bool) {
        self.join_at = None;
        if watches && !self.speaks {
            view.out.event(Event::Floor(false)); // the roster came first, and nobody knew then that we would
        }
        if std::mem::take(&mut self.asked_floor) {
            view.out.event(Event::FloorDenied);
        }
    }

    /// The host has let us in, or somebody in its stead. The roster is taken by the dispatcher.
    pub(crate) fn admitted(&mut self, view: &mut View<'_>, by_host: bool) {
        self.vouched = !by_host && (self.vouched || !self.admitted);
        if !self.admitted {
            self.admitted = true;
            view.out.event(Event::Admitted);
        }
        if by_host || !self.wants_more(view) {
            self.join_at = None;
            self.asked = 0;
            self.backoff.reset();
        }
    }

    /// Whether the roster doesn't have us as we would be: only its host can change that.
    fn wants_more(&self, view: &View<'_>) -> bool {
        let mixes = view.config.consent != Consent::Never;
        !self.admitted || view.config.speaks != view.speaks() || (!view.on_stage() && mixes)
    }

    /// What a member that isn't host answers to whoever wants in: all that a host would say where there is nothing to be decided, else
    /// the roster, if the rendezvous can't know who is host now.
    pub(crate) fn vouch(&mut self, view: &View<'_>, from: PeerId, join: &Join) -> Option<Message> {
        let roster = view.stage.signed()?;
        self.let_in.retain(|_, at| view.now.since(*at) < LET_IN_EACH_US);
        if self.let_in.len() >= LET_IN_MAX || self.let_in.contains_key(&from) {
            return None; // it asks again by itself
        }
        let expired = roster.body.expires_unix_s.is_some_and(|expires| expires <= view.unix_s());
        let only_watches = !join.speaks && !join.mixes;
        let is_in = view.stage.contains(&from) || (only_watches && !expired);
        if !is_in && view.stage.reign() == 0 {
            return None;
        }
        self.let_in.insert(from, view.now);
        let admits = || Message::Admit(Box::new(admission(view, roster)));
        Some(if is_in { admits() } else { Message::Roster(roster.clone()) })
    }

    /// The host wants us not to be here.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused
    }

    /// The host has not let us in.
    pub(crate) fn refused(&mut self, view: &mut View<'_>, refusal: &Signed<Refusal>) {
        if refusal.recipient != Some(view.me) {
            return;
        }
        self.join_at = None;
        if self.admitted {
            self.vouched = false; // whoever is in stays, and need not ask again
        } else {
            self.refused = true;
            view.out.event(Event::Refused(refusal.body));
        }
    }

    /// A newer roster is in force: the host hands it to the stage, and everyone tells its application.
    pub(crate) fn roster_changed(&mut self, view: &mut View<'_>) {
        view.out.event(Event::Roster { epoch: view.stage.epoch() });
        let host = view.stage.host();
        let another_reigns = host != self.host_known && self.host_known.is_some();
        if host != self.host_known {
            self.host_known = host;
            self.asked = 0;
            view.out.event(Event::Host(host));
        }
        if host != Some(view.me) {
            self.host = None; // a later host reigns: we are a member like others
        }
        if self.host.is_some()
            && let Some(roster) = view.stage.signed()
        {
            view.send_stage(&Message::Roster(roster.clone()));
        } else if self.wants_more(view) {
            self.join_at(view.now); // we were forgotten while we were away, or have changed our mind since
        } else if self.vouched && another_reigns {
            self.join_at(view.now + view.rng.below(ASK_ANEW_US)); // it doesn't know of us
        }
        let speaks = view.speaks();
        if speaks != self.speaks {
            self.speaks = speaks;
            self.asked_floor = false;
            view.out.event(Event::Floor(speaks));
        }
        let mode = view.stage.mode();
        if mode != self.mode {
            self.mode = mode;
            view.out.event(Event::Mode(mode));
        }
        let missing = mode != Mode::Mesh && view.stage.candidates().is_empty();
        if missing && !self.mixer_missed {
            view.out.event(Event::NoMixer);
        }
        self.mixer_missed = missing;
    }

    pub(crate) fn on_time(&mut self, view: &mut View<'_>) {
        if self.join_at.is_some_and(|at| at <= view.now) {
            let join = Message::Join(join_of(view));
            match self.asks_in_its_stead(view) {
                Some(member) => view.out.send(member, join),
                None => view.out.send_host(join),
            }
            self.asked += 1;
            if self.asked > 1 && !self.admitted {
                view.out.event(Event::Waiting { tries: self.asked - 1 });
            }
            self.join_at = Some(view.now + self.backoff.next_us(view.rng));
        }
        if let Some(host) = &mut self.host {
            host.on_time(view);
        }
    }

    /// Whom to ask this time if not the host: it may be dead, and all that we know to be its heirs.
    fn asks_in_its_stead(&self, view: &mut View<'_>) -> Option<PeerId> {
        if self.asked.is_multiple_of(2) {
            return None;
        }
        let (me, host) = (view.me, view.stage.host());
        let members = view.stage.entries().iter().map(|entry| entry.peer);
        let others: Vec<_> = members.filter(|peer| *peer != me && Some(*peer) != host).collect();
        others.get(view.rng.below(others.len() as u64) as usize).copied()
    }

    pub(crate) fn bounds(&self) -> impl Iterator<Item = Bound> {
        let own = Bound::new("peers let in in the host's stead", self.let_in.len(), LET_IN_MAX);
        std::iter::once(own).chain(self.host.iter().flat_map(Host::bounds))
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let host = self.host.as_ref().and_then(Host::next_timeout);
        [self.join_at, host].into_iter().flatten().min()
    }
}

/// All that a peer is told that is let in.
pub(crate) fn admission(view: &View<'_>, roster: &SignedRoster) -> Admit {
    Admit {
        roster: roster.clone(),
        under: view.mandate.under_before(roster.epoch).cloned(),
        decided: view.mandate.decided.clone(),
        failovers: List::truncated(view.mandate.failovers.iter().cloned()),
    }
}

/// What this peer wants of the room. Whether an `auto` candidate is strong enough is for its body to know: it
/// sets the consent accordingly before it starts the brain.
fn join_of(view: &View<'_>) -> Join {
    Join {
        name: view.config.name.clone(),
        speaks: view.config.speaks,
        views: view.config.views,
        mixes: view.config.consent != Consent::Never,
    }
}
