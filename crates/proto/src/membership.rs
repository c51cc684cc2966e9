//! Who is in the room.
//!
//! A joiner asks the host until it answers, and a member that wants to speak, or not to speak any more, does the
//! same. The host's own part is in [`crate::host`]. Everyone hands a newer roster on: the host to the stage,
//! parents to their children.

use crate::bounded::Bound;
use crate::host::Host;
use crate::id::PeerId;
use crate::io::Event;
use crate::message::{Consent, Join, Message, Refusal, Reign};
use crate::outbox::View;
use crate::rng::Backoff;
use crate::roster::Mode;
use crate::seal::Signed;
use crate::time::{MS, SECOND, Time};

const ASK_AGAIN: Backoff = Backoff::new(500 * MS, 5 * SECOND);

/// This peer's part in who is in the room.
#[derive(Debug)]
pub(crate) struct Membership {
    host: Option<Host>,
    admitted: bool,
    refused: bool,
    ask_at: Option<Time>,
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
            refused: false,
            ask_at: None,
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

    /// Asks the host anew where things stand, soon.
    pub(crate) fn ask(&mut self, now: Time) {
        if self.host.is_none() && !self.refused {
            self.ask_at = Some(self.ask_at.map_or(now, |at| at.min(now)));
        }
    }

    /// The rendezvous is there, or back.
    pub(crate) fn signal_up(&mut self, now: Time) {
        if !self.admitted {
            self.ask(now);
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
            None => self.ask(view.now),
        }
    }

    /// The host wants us to speak, if we want to.
    pub(crate) fn floor_offered(&mut self, view: &mut View<'_>) {
        if view.config.speaks {
            self.ask(view.now);
        } else {
            view.out.event(Event::FloorOffered);
        }
    }

    /// The host wants us to speak no more; the configuration follows it already, and perhaps we watch from now on.
    pub(crate) fn floor_taken(&mut self, view: &mut View<'_>, watches: bool) {
        self.ask_at = None;
        if watches && !self.speaks {
            view.out.event(Event::Floor(false)); // the roster came first, and nobody knew then that we would
        }
        if std::mem::take(&mut self.asked_floor) {
            view.out.event(Event::FloorDenied);
        }
    }

    /// The host has let us in. The roster is taken by the dispatcher.
    pub(crate) fn admitted(&mut self, view: &mut View<'_>) {
        self.ask_at = None;
        self.asked = 0;
        self.backoff.reset();
        if !self.admitted {
            self.admitted = true;
            view.out.event(Event::Admitted);
        }
    }

    /// The host has not.
    pub(crate) fn refused(&mut self, view: &mut View<'_>, refusal: &Signed<Refusal>) {
        if !self.admitted && refusal.recipient == Some(view.me) {
            self.refused = true;
            self.ask_at = None;
            view.out.event(Event::Refused(refusal.body));
        }
    }

    /// A newer roster is in force: the host hands it to the stage, and everyone tells its application.
    pub(crate) fn roster_changed(&mut self, view: &mut View<'_>) {
        view.out.event(Event::Roster { epoch: view.stage.epoch() });
        let host = view.stage.host();
        if host != self.host_known {
            self.host_known = host;
            view.out.event(Event::Host(host));
        }
        if host != Some(view.me) {
            self.host = None; // a later host reigns: we are a member like others
        }
        if self.host.is_some()
            && let Some(roster) = view.stage.signed()
        {
            view.send_stage(&Message::Roster(roster.clone()));
        } else if !self.admitted
            || view.config.speaks != view.speaks()
            || (!view.on_stage() && view.config.consent != Consent::Never)
        {
            self.ask(view.now); // we were forgotten while we were away, or have changed our mind since
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
        if self.ask_at.is_some_and(|at| at <= view.now) {
            view.out.send_host(Message::Join(join_of(view)));
            self.asked += 1;
            if self.asked > 1 && !self.admitted {
                view.out.event(Event::Waiting { tries: self.asked - 1 });
            }
            self.ask_at = Some(view.now + self.backoff.next_us(view.rng));
        }
        if let Some(host) = &mut self.host {
            host.on_time(view);
        }
    }

    pub(crate) fn bounds(&self) -> impl Iterator<Item = Bound> {
        self.host.iter().flat_map(Host::bounds)
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let host = self.host.as_ref().and_then(Host::next_timeout);
        [self.ask_at, host].into_iter().flatten().min()
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
