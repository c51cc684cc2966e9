//! Who is in the room.
//!
//! A joiner asks the host until it answers. The host keeps the roster: it admits, notes who has gone silent for
//! [`AWAY_US`] (`away`: doesn't count in a majority), forgets who stays away, and signs each change with the
//! root key under the next epoch. Changes within [`FLUSH_US`] make one epoch. Everyone hands a newer roster on:
//! the host to the stage, parents to their children. Of the audience nothing is kept but whether there is one.

use std::collections::BTreeMap;

use crate::bounded::List;
use crate::config::HostConfig;
use crate::id::PeerId;
use crate::io::Event;
use crate::message::{Admit, Consent, Entry, Join, Message, ROSTER_MAX, Refusal, Roster, SignedRoster};
use crate::mutation::Mutation;
use crate::outbox::{Note, View};
use crate::rng::Backoff;
use crate::roster::Mode;
use crate::seal::Signed;
use crate::time::{MS, SECOND, Time};

/// A roster peer not heard of for this long doesn't count in a majority (DESIGN §6).
pub(crate) const AWAY_US: u64 = 5 * SECOND;
/// An away peer is forgotten after this long. A guess: longer than a phone's change of network takes.
const FORGET_US: u64 = 60 * SECOND;
/// Changes within this time make one roster.
const FLUSH_US: u64 = 30 * MS;
/// The audience is over when the lead has reported none, and nobody has joined, for this long.
const AUDIENCE_GONE_US: u64 = 5 * SECOND;
const ASK_AGAIN: Backoff = Backoff::new(500 * MS, 5 * SECOND);
/// The host looks at who is away this often.
const LOOK_US: u64 = SECOND;

/// The host's part: the roster as it will be signed next.
#[derive(Debug)]
struct Host {
    config: HostConfig,
    entries: Vec<Entry>,
    audience: bool,
    mixers: u8,
    signed: Option<SignedRoster>,
    /// When the changes so far are signed; `None` when there are none.
    flush_at: Option<Time>,
    heard: BTreeMap<PeerId, Time>,
    speakers_seen: u8,
    audience_seen: Time,
    look_at: Time,
}

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
        }
    }

    /// The host opens the room with itself on stage; everyone else asks as soon as there is a way to it.
    pub(crate) fn start(&mut self, view: &mut View<'_>) {
        let Some(config) = view.config.host.clone() else { return };
        let mut host = Host {
            mixers: config.mixers,
            config,
            entries: Vec::new(),
            audience: false,
            signed: None,
            flush_at: None,
            heard: BTreeMap::new(),
            speakers_seen: 0,
            audience_seen: view.now,
            look_at: view.now + LOOK_US,
        };
        host.enter(view.now, view.me, &join_of(view));
        host.flush(view);
        self.host = Some(host);
        self.admitted = true;
        view.out.event(Event::Admitted);
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

    /// Something came from a peer: it isn't away.
    pub(crate) fn heard(&mut self, now: Time, peer: PeerId) {
        let Some(host) = &mut self.host else { return };
        if let Some(entry) = host.entries.iter_mut().find(|entry| entry.peer == peer) {
            host.heard.insert(peer, now);
            if entry.away {
                entry.away = false;
                host.change(now);
            }
        }
    }

    /// Somebody wants in.
    pub(crate) fn join(&mut self, view: &mut View<'_>, from: PeerId, join: &Join) {
        let Some(host) = &mut self.host else { return };
        let expired = host.config.invite_expires_us.is_some_and(|expires| expires < view.now.0);
        let known = host.entries.iter().any(|entry| entry.peer == from);
        let refusal = match () {
            () if known => None,
            () if expired => Some(Refusal::Expired),
            () if join.speaks && !host.config.stage_open => Some(Refusal::StageClosed),
            () => None,
        };
        if let Some(refusal) = refusal {
            view.out.send(from, Message::Refuse(refusal));
            return;
        }
        if join.speaks || join.mixes {
            if !host.enter(view.now, from, join) {
                view.out.send(from, Message::Refuse(Refusal::StageFull));
                return;
            }
        } else if join.views {
            host.audience_seen = view.now;
            if !host.audience {
                host.audience = true;
                host.change(view.now);
            }
        }
        if host.flush_at.is_some() {
            host.flush(view); // so that the newcomer finds itself, or its kind, on the roster it gets
        }
        if let Some(roster) = host.signed.clone() {
            let under = view.mandate.under_before(roster.epoch).cloned();
            let (decided, take_over) = (view.mandate.decided.clone(), view.mandate.take_over.clone());
            view.out.send(from, Message::Admit(Box::new(Admit { roster, under, decided, take_over })));
        }
    }

    /// A peer is gone for good.
    pub(crate) fn gone(&mut self, now: Time, peer: PeerId) {
        if let Some(host) = &mut self.host
            && host.entries.iter().any(|entry| entry.peer == peer)
        {
            host.entries.retain(|entry| entry.peer != peer);
            host.heard.remove(&peer);
            host.change(now);
        }
    }

    /// The lead counts its tree.
    pub(crate) fn audience(&mut self, now: Time, viewers: u32) {
        if let Some(host) = &mut self.host
            && viewers > 0
        {
            host.audience_seen = now;
        }
    }

    /// The host wants so many mixers.
    pub(crate) fn set_mixers(&mut self, now: Time, mixers: u8) {
        if let Some(host) = &mut self.host {
            host.mixers = mixers;
            host.change(now);
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
    pub(crate) fn refused(&mut self, view: &mut View<'_>, refusal: Refusal) {
        if !self.admitted {
            self.refused = true;
            self.ask_at = None;
            view.out.event(Event::Refused(refusal));
        }
    }

    /// A newer roster is in force: the host hands it to the stage, and everyone tells its application.
    pub(crate) fn roster_changed(&mut self, view: &mut View<'_>) {
        view.out.event(Event::Roster { epoch: view.stage.epoch() });
        if self.host.is_some()
            && let Some(roster) = view.stage.signed()
        {
            view.send_stage(&Message::Roster(roster.clone()));
        } else if !view.on_stage() && (view.config.speaks || view.config.consent != Consent::Never) {
            self.ask(view.now); // we were forgotten while we were away
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
            if host.look_at <= view.now {
                host.look(view);
            }
            if host.flush_at.is_some_and(|at| at <= view.now) {
                host.flush(view);
            }
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let host = self.host.as_ref();
        let times = [self.ask_at, host.and_then(|host| host.flush_at), host.map(|host| host.look_at)];
        times.into_iter().flatten().min()
    }
}

impl Host {
    /// Puts a peer on the stage, or brings its entry up to date; false when the stage is full.
    fn enter(&mut self, now: Time, peer: PeerId, join: &Join) -> bool {
        self.heard.insert(peer, now);
        let entry = Entry {
            peer,
            name: join.name.clone(),
            speaks: join.speaks,
            views: join.views,
            mixes: join.mixes,
            away: false,
            index: 0,
        };
        let known = self.entries.iter().position(|known| known.peer == peer);
        let (speaks_anew, index) = match known.map(|at| &self.entries[at]) {
            Some(known) if known.speaks || !join.speaks => (false, known.index),
            _ if join.speaks => (true, self.speakers_seen),
            _ => (false, 0),
        };
        let entry = Entry { index, ..entry };
        match known {
            Some(at) if self.entries[at] == entry => return true,
            Some(at) => self.entries[at] = entry,
            None if self.entries.len() >= ROSTER_MAX => return false,
            None => self.entries.push(entry),
        }
        self.speakers_seen = self.speakers_seen.saturating_add(u8::from(speaks_anew));
        self.change(now);
        true
    }

    fn change(&mut self, now: Time) {
        self.flush_at.get_or_insert(now + FLUSH_US);
    }

    /// Marks who is away, forgets who stays away, and sees whether there is an audience.
    fn look(&mut self, view: &View<'_>) {
        let now = view.now;
        self.look_at = now + LOOK_US;
        self.heard.insert(view.me, now);
        let heard = |peer: &PeerId| self.heard.get(peer).map_or(u64::MAX, |at| now.since(*at));
        let mut changed = false;
        for entry in &mut self.entries {
            let away = heard(&entry.peer) >= AWAY_US;
            changed |= away != entry.away;
            entry.away = away;
        }
        let before = self.entries.len();
        self.entries.retain(|entry| heard(&entry.peer) < FORGET_US);
        changed |= self.entries.len() != before;
        let audience = self.audience && now.since(self.audience_seen) < AUDIENCE_GONE_US;
        changed |= audience != self.audience;
        self.audience = audience;
        if changed {
            self.change(now);
        }
    }

    /// Signs the roster under the next epoch.
    fn flush(&mut self, view: &mut View<'_>) {
        self.flush_at = None;
        let next = u32::from(!view.mandate.mutated.is(Mutation::ReusesEpochs));
        let epoch = self.signed.as_ref().map_or(1, |signed| signed.epoch + next);
        let roster = Roster {
            host: view.me,
            entries: List::truncated(self.entries.iter().cloned()),
            acting: self.acting(),
            audience: self.audience,
            program: self.config.program,
            k: self.config.k,
            k1: self.config.k1,
            mixers: self.mixers,
        };
        let signed =
            Signed::new(&self.config.root, &view.config.room, epoch, u64::from(epoch), u64::MAX, roster);
        self.signed = Some(signed.clone());
        view.out.note(Note::Signed(Box::new(signed)));
    }

    /// The acting mixer of term 0: the one it is, while it is there and consents; otherwise the host, or if it
    /// never mixes the present, consenting peer of the lowest id.
    fn acting(&self) -> Option<PeerId> {
        let willing = |entry: &&Entry| entry.mixes && !entry.away;
        let before = self.signed.as_ref().and_then(|signed| signed.body.acting);
        let stays =
            before.filter(|peer| self.entries.iter().filter(willing).any(|entry| entry.peer == *peer));
        let mut candidates = self.entries.iter().filter(willing);
        let host = self.entries.first().filter(willing).map(|entry| entry.peer);
        stays.or(host).or_else(|| candidates.by_ref().map(|entry| entry.peer).min())
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
