//! Membership: how a peer is admitted to the room and to the stage.
//!
//! A joiner sends `Join` to the host until the host answers; a member that wants to speak, or to stop
//! speaking, does the same. While the host is silent, a member also sends `Join` to other members on stage;
//! in the host's stead, such a member admits viewers. The host's own part is in [`crate::host`]. Every peer
//! forwards a newer roster: the host to the stage, parents to their children.

use crate::ordered::OrderedMap;

use crate::app::Event;
use crate::bounded::Bound;
use crate::config::CHILDREN_MAX;
use crate::host::{Host, Reopening};
use crate::id::PeerId;
use crate::io::{Address, Output};
use crate::message::{Consent, Join, MemberMessage, Message, Muted, Refusal, Reign, Sharing};
use crate::rng::Backoff;
use crate::seal::Signed;
use crate::stage::Mode;
use crate::tickets::has_ticket;
use crate::time::{MS, SECOND, Time};
use crate::tree::Tree;
use crate::view::View;

const ASK_AGAIN: Backoff = Backoff::new(500 * MS, 5 * SECOND);
/// Maximum number of joiners that a member answers in the host's stead within [`LET_IN_EACH_US`], each once:
/// an answer has some kilobytes, and any peer may ask. A guess.
const LET_IN_MAX: usize = 32;
const LET_IN_EACH_US: u64 = SECOND;
/// Time after a `Join` within which an answer counts: two of the longest waits before the next `Join`.
const ANSWER_US_MAX: u64 = 10 * SECOND;
/// Window in which the peers that other members admitted contact a new host, each at a random time, so that
/// they don't all come at once. A guess.
const ASK_ANEW_US: u64 = 5 * SECOND;

/// Time after a change of parent at which a peer reports its position, so that a search is one report. A guess.
const POSITION_US: u64 = 2 * SECOND;
/// Window in which the peers report their positions to a new host, each at a random time.
const POSITIONS_ANEW_US: u64 = 10 * SECOND;
/// Window in which the peers on stage contact a host that may have restarted, each at a random time. A guess:
/// well below the silence after which they choose another host.
const ASK_BACK_US: u64 = SECOND;

/// State of this peer's membership.
#[derive(Debug)]
pub(crate) struct Membership {
    host: Option<Host>,
    admitted: bool,
    /// Another member admitted this peer in the host's stead, so the host doesn't know it.
    vouched: bool,
    /// Joiners answered in the host's stead within the last second, and when.
    let_in: OrderedMap<PeerId, Time>,
    refused: bool,
    join_at: Option<Time>,
    /// When this peer last sent `Join`.
    asked_at: Option<Time>,
    asked: u32,
    backoff: Backoff,
    mode: Mode,
    mixer_missed: bool,
    host_known: Option<PeerId>,
    speaks: bool,
    /// This peer has requested the floor and has no answer yet.
    asked_floor: bool,
    /// When this peer reports its position in the tree to the host.
    position_at: Option<Time>,
    in_lobby: bool,
    /// The application knows that the host has removed this peer, or has ended the room.
    is_over: bool,
    /// What this peer doesn't send at present, and whether it sends a screen or a film.
    sends: (Muted, Sharing),
}

impl Membership {
    pub(crate) fn new() -> Membership {
        Membership {
            host: None,
            admitted: false,
            vouched: false,
            let_in: OrderedMap::new(),
            refused: false,
            join_at: None,
            asked_at: None,
            asked: 0,
            backoff: ASK_AGAIN,
            mode: Mode::Mesh,
            mixer_missed: false,
            host_known: None,
            speaks: false,
            asked_floor: false,
            position_at: None,
            in_lobby: false,
            is_over: false,
            sends: Default::default(),
        }
    }

    /// Opens the room at the host, with the host itself on stage. Any other peer joins later, when the
    /// rendezvous is up.
    pub(crate) fn start(&mut self, view: &mut View<'_>) {
        let Some(config) = view.config.host.clone() else { return };
        let join = self.join_of(view);
        self.host = Some(Host::open(view, config, &join));
        self.admitted = true;
        view.out.event(Event::Admitted);
    }

    /// Makes this peer the host, after the stage has chosen it.
    pub(crate) fn succeed(&mut self, view: &mut View<'_>, reign: Reign) {
        self.host = Host::succeed(view, reign);
    }

    /// Returns whether this peer is the host, and most of its stage was away just now.
    pub(crate) fn was_cut_off(&self, now: Time) -> bool {
        self.host.as_ref().is_some_and(|host| host.was_cut_off(now))
    }

    /// Returns whether this peer is the host, and alone on stage since the others have been silent for too long.
    pub(crate) fn is_forsaken(&self) -> bool {
        self.host.as_ref().is_some_and(Host::is_forsaken)
    }

    /// Returns the host's state, if this peer is the host.
    pub(crate) fn host(&mut self) -> Option<&mut Host> {
        self.host.as_mut()
    }

    pub(crate) fn host_ref(&self) -> Option<&Host> {
        self.host.as_ref()
    }

    /// Schedules a `Join`, which also requests the current state: at that time or earlier.
    pub(crate) fn join_at(&mut self, at: Time) {
        if self.host.is_none() && !self.refused {
            self.join_at = Some(self.join_at.map_or(at, |due| due.min(at)));
        }
    }

    /// The rendezvous takes an envelope for the host already: a newcomer asks it a round trip earlier.
    pub(crate) fn signal_opens(&mut self, view: &mut View<'_>) {
        if self.host.is_none() && !self.admitted && !self.refused {
            self.asked = 0;
            let join = self.ask(view);
            view.out.act(Output::Signal(Address::Host, join));
        }
    }

    /// Returns a request to join, which is repeated if it isn't answered.
    fn ask(&mut self, view: &mut View<'_>) -> Message {
        self.asked += 1;
        self.asked_at = Some(view.now);
        self.join_at = Some(view.now + self.backoff.next_us(view.rng));
        Message::Member(MemberMessage::Join(self.join_of(view)))
    }

    /// Handles the rendezvous being up, for the first time or again. `lost`: the host has been silent for a
    /// while. A host that restarts opens its rendezvous again, and a `Join` shows it that there are members.
    pub(crate) fn signal_up(&mut self, view: &mut View<'_>, lost: bool) {
        if let Some(host) = &mut self.host {
            host.signal_up(view.now);
            if view.config.host.is_none()
                && let Some(roster) = view.stage.signed()
            {
                // the holder of the root key may have restarted meanwhile
                view.out.act(Output::Signal(
                    Address::Host,
                    Message::Member(MemberMessage::Roster(roster.clone())),
                ));
            }
        } else if !self.admitted {
            // a request that this connection has carried already is repeated in time
            if self.asked_at.is_none_or(|at| view.now.since(at) > SECOND) {
                self.join_at(view.now);
            }
        } else if lost && view.on_stage() {
            self.join_at(view.now + view.rng.below(ASK_BACK_US));
        }
    }

    /// Handles a move of the room's time. The end of the invite is a time after the opening, so at the peer that opened
    /// the room it moves along. Another member asks for a ticket by the new time, since its own may have expired by it.
    pub(crate) fn time_moved(&mut self, view: &mut View<'_>, later_s: i64, has_opened: bool) {
        match &mut self.host {
            Some(host) if has_opened => host.move_invite_end(view.now, later_s),
            Some(_) => {}
            None if self.admitted => self.join_at(view.now + view.rng.below(ASK_ANEW_US)),
            None => {}
        }
    }

    /// Requests to speak or to stop speaking, as the configuration already says.
    pub(crate) fn wish(&mut self, view: &mut View<'_>) {
        self.asked_floor = view.config.speaks;
        self.tell(view);
    }

    /// Tells the host that this peer doesn't mix any more, as the configuration says.
    pub(crate) fn consent_withdrawn(&mut self, view: &mut View<'_>) {
        if self.admitted {
            self.tell(view);
        }
    }

    /// Tells the host what this peer doesn't send at present, and whether it sends a screen or a film.
    pub(crate) fn sends(&mut self, view: &mut View<'_>, muted: Muted, shares: Sharing) {
        let changes = std::mem::replace(&mut self.sends, (muted, shares)) != (muted, shares);
        // the roster may lag behind what was said last, so it is not asked whether it differs
        if changes && view.config.speaks && self.admitted {
            self.tell(view);
        }
    }

    /// Tells the host whether this peer may be shown alone, as the configuration says now.
    pub(crate) fn solo_allowed(&mut self, view: &mut View<'_>) {
        if view.config.speaks && self.admitted {
            self.tell(view);
        }
    }

    /// Tells the host whether this peer records, if it is on stage: those of the audience are counted by the tree.
    pub(crate) fn records_changed(&mut self, view: &mut View<'_>) {
        if self.admitted && view.on_stage() {
            self.tell(view);
        }
    }

    /// Whether the roster says something else of what this peer sends and allows, if it speaks, or records.
    fn says_more(&self, view: &View<'_>) -> bool {
        view.stage.entry(&view.me).is_some_and(|entry| {
            let speaks = entry.speaks && view.config.speaks;
            entry.records != view.records
                || speaks
                    && ((entry.muted, entry.shares) != self.sends || entry.no_solo != view.config.no_solo)
        })
    }

    fn tell(&mut self, view: &mut View<'_>) {
        let join = self.join_of(view);
        match &mut self.host {
            Some(host) => {
                host.enter(view, view.me, &join);
            }
            None => self.join_at(view.now),
        }
    }

    /// Handles the host's offer of the floor: accepts it if this peer wants to speak, else tells the
    /// application.
    pub(crate) fn floor_offered(&mut self, view: &mut View<'_>) {
        if view.config.speaks {
            self.join_at(view.now);
        } else {
            view.out.event(Event::FloorOffered);
        }
    }

    /// Handles the host's withdrawal of the floor, which the configuration already follows. `watches`: this
    /// peer views from now on.
    pub(crate) fn floor_taken(&mut self, view: &mut View<'_>, watches: bool) {
        self.join_at = None;
        if watches && !self.speaks {
            view.out.event(Event::Floor { speaks: false }); // the roster came first, before this peer was set to view
        }
        if std::mem::take(&mut self.asked_floor) {
            view.out.event(Event::FloorDenied);
        }
    }

    /// Handles an admission by the host, or by a member in its stead. The dispatcher takes the roster.
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

    /// Returns whether the roster lacks a role that this peer wants, or what this peer says of its media; only
    /// the host can change that.
    fn wants_more(&self, view: &View<'_>) -> bool {
        let mixes = view.config.consent != Consent::Never;
        let lacks_role = view.config.speaks != view.speaks() || (!view.on_stage() && mixes);
        !self.admitted || lacks_role || self.says_more(view)
    }

    /// Returns this member's answer to a joiner in the host's stead: the admission if no decision is needed;
    /// else, in a later reign, the roster, because the rendezvous can't know the present host.
    pub(crate) fn vouch(&mut self, view: &mut View<'_>, from: PeerId, join: &Join) -> Option<Message> {
        let roster = view.stage.signed()?.clone();
        self.let_in.retain(|_, at| view.now.since(*at) < LET_IN_EACH_US);
        if self.let_in.len() >= LET_IN_MAX || self.let_in.contains_key(&from) {
            return None; // the joiner repeats its request
        }
        let expired = roster.body.rules.expires_unix_s.is_some_and(|expires| expires <= view.unix_s());
        let only_watches = !join.speaks && !join.mixes;
        let access = &roster.body.rules.access;
        if access.ended || view.stage.has_removed(&from) {
            return None;
        }
        let is_member = view.stage.contains(&from) || has_ticket(view, &from, join);
        let is_in = is_member || (only_watches && !expired && !access.locked && !access.lobby);
        if !is_in && view.stage.reign() == 0 {
            return None;
        }
        self.let_in.insert(from, view.now);
        Some(if is_in {
            Message::Member(MemberMessage::Admit(Box::new(view.admission(from, &roster, is_member))))
        } else {
            Message::Member(MemberMessage::Roster(roster))
        })
    }

    /// Returns whether this peer has sent `Join` lately, so that an answer may arrive.
    pub(crate) fn has_asked(&self, now: Time) -> bool {
        self.asked_at.is_some_and(|at| now.since(at) < ANSWER_US_MAX)
    }

    /// Returns whether a roster may come from anybody: as an answer to a `Join`, or to the question of a host that
    /// opens its room again.
    pub(crate) fn awaits_rosters(&self, now: Time) -> bool {
        self.has_asked(now) || self.host.as_ref().is_some_and(|host| host.reopening() != Reopening::Done)
    }

    /// Returns whether the host has refused this peer.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused
    }

    /// Handles the host's refusal of this peer.
    pub(crate) fn refused(&mut self, view: &mut View<'_>, refusal: &Signed<Refusal>) {
        if refusal.recipient != Some(view.me) {
            return;
        }
        self.join_at = None;
        if self.admitted {
            self.vouched = false; // an admitted peer stays, and needs no further answer
            let is_removed = refusal.body == Refusal::Removed; // while it was away, by a roster that it missed
            if is_removed && !std::mem::replace(&mut self.is_over, true) {
                view.out.event(Event::Removed);
            }
        } else {
            self.refused = true;
            view.out.event(Event::Refused(refusal.body.reason().into()));
        }
    }

    /// Handles a newer roster: the host sends it to the stage, and every peer informs its application.
    pub(crate) fn roster_changed(&mut self, view: &mut View<'_>) {
        view.out.event(Event::Stage { epoch: view.stage.epoch() });
        let host = view.stage.host();
        let another_reigns = host != self.host_known && self.host_known.is_some();
        if host != self.host_known {
            self.host_known = host;
            self.asked = 0;
            self.position_at = Some(view.now + POSITION_US + view.rng.below(POSITIONS_ANEW_US));
            view.out.event(Event::Host { peer: host });
        }
        if host != Some(view.me) {
            self.host = None; // a later host reigns: this peer is an ordinary member
        } else if let Some(own) = &mut self.host {
            own.resume(view);
        }
        if self.host.is_some()
            && let Some(roster) = view.stage.signed()
        {
            view.send_stage(&Message::Member(MemberMessage::Roster(roster.clone())));
        }
        let is_removed = view.stage.has_removed(&view.me);
        if is_removed || view.stage.roster().is_some_and(|roster| roster.rules.access.ended) {
            self.join_at = None;
            if !std::mem::replace(&mut self.is_over, true) {
                view.out.event(if is_removed { Event::Removed } else { Event::Ended });
            }
            return;
        }
        if self.host.is_none() && self.wants_more(view) {
            // the host removed this peer while it was away, or this peer's wishes have changed since
            self.join_at(view.now);
        } else if self.host.is_none() && self.vouched && another_reigns {
            self.join_at(view.now + view.rng.below(ASK_ANEW_US)); // the new host doesn't know this peer
        }
        let speaks = view.speaks();
        if speaks != self.speaks {
            self.speaks = speaks;
            self.asked_floor = false;
            view.out.event(Event::Floor { speaks });
        }
        let mode = view.stage.mode();
        if mode != self.mode {
            self.mode = mode;
            view.out.event(Event::Mode { mode });
        }
        let missing = view.stage.misses_mixer();
        if missing && !self.mixer_missed {
            view.out.event(Event::NoMixer);
        }
        self.mixer_missed = missing;
    }

    /// Handles the host's word that this peer waits in the lobby.
    pub(crate) fn in_lobby(&mut self, view: &mut View<'_>) {
        if !self.admitted && !std::mem::replace(&mut self.in_lobby, true) {
            view.out.event(Event::InLobby);
        }
    }

    /// Another peer feeds this one: the host will hear of it.
    pub(crate) fn parent_changed(&mut self, now: Time) {
        self.position_at.get_or_insert(now + POSITION_US);
    }

    pub(crate) fn on_time(&mut self, view: &mut View<'_>, tree: &Tree) {
        if self.position_at.take_if(|at| *at <= view.now).is_some() && !view.on_stage() && self.admitted {
            let depth = tree.path().len().saturating_sub(1) as u8;
            let (name, parent, fed_nothing) =
                (view.config.name.clone(), tree.above().0, tree.fed_nothing_by(view.now));
            let ticket = view.ticket.cloned().map(Box::new);
            view.out.send_host(MemberMessage::Position { name, parent, depth, fed_nothing, ticket });
        }
        if self.join_at.is_some_and(|at| at <= view.now) {
            let instead = self.asks_in_its_stead(view);
            let join = self.ask(view);
            match instead {
                Some(member) => view.out.send(member, join),
                None => view.out.send_host(join),
            }
            if self.asked > 1 && !self.admitted {
                view.out.event(Event::Waiting { tries: self.asked - 1 });
            }
        }
        if let Some(host) = &mut self.host {
            host.on_time(view);
        }
    }

    /// Returns a random member to ask instead of the host, every second time: the host, and all heirs known
    /// here, may be dead.
    fn asks_in_its_stead(&self, view: &mut View<'_>) -> Option<PeerId> {
        if self.asked.is_multiple_of(2) {
            return None;
        }
        let (me, host) = (view.me, view.stage.host());
        let members = view.stage.entries().iter().map(|entry| entry.peer);
        let others: Vec<_> = members.filter(|peer| *peer != me && Some(*peer) != host).collect();
        others.get(view.rng.below(others.len() as u64) as usize).copied()
    }

    /// Returns this peer's wishes for the room. Its body judges whether an `auto` candidate is strong enough,
    /// and sets the consent accordingly before it starts the brain.
    fn join_of(&self, view: &View<'_>) -> Join {
        let (muted, shares) = self.sends;
        let wants_place = !self.admitted && view.config.views && !view.config.speaks;
        let children = if view.config.relays { view.config.children_max.min(CHILDREN_MAX) } else { 0 };
        Join {
            name: view.config.name.clone(),
            speaks: view.config.speaks,
            views: view.config.views,
            mixes: view.config.consent != Consent::Never,
            muted,
            shares,
            no_solo: view.config.no_solo,
            records: view.records,
            ticket: view.ticket.cloned(),
            place: wants_place.then_some(children),
        }
    }

    /// Returns the number of viewers that the mixers count; `None` unless this peer is the host.
    pub(crate) fn viewers(&self, now: Time) -> Option<u32> {
        Some(self.host.as_ref()?.viewers(now))
    }

    pub(crate) fn bounds(&self) -> impl Iterator<Item = Bound> {
        let own = Bound::new("peers admitted in place of the host", self.let_in.len(), LET_IN_MAX);
        std::iter::once(own).chain(self.host.iter().flat_map(Host::bounds))
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let host = self.host.as_ref().and_then(Host::next_timeout);
        [self.join_at, self.position_at, host].into_iter().flatten().min()
    }
}
