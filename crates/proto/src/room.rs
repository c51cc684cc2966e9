//! One peer's part in one room: takes inputs, hands them to the machines, collects what they want done.

use std::collections::BTreeMap;

use crate::bounded::Bound;
use crate::broadcast::{Broadcast, DataRefusal};
use crate::config::RoomConfig;
use crate::election::Election;
use crate::heirs::Heirs;
use crate::id::{PeerId, Rank};
use crate::io::{Address, Command, Event, Input, Output, Verdict, Via};
use crate::links::LinkTable;
use crate::mandate::Mandate;
use crate::membership::Membership;
use crate::message::{Consent, Delivery, LinkKind, Message, Offer, Path, Relay};
use crate::mixing::Mixing;
use crate::outbox::{Item, Note, Outbox, View};
use crate::probe::Probe;
use crate::rng::Rng;
use crate::roster::{Mode, Stage};
use crate::route::Router;
use crate::seal::Keypair;
use crate::streams::Streams;
use crate::succession::Succession;
use crate::time::{MS, SECOND, Time};
use crate::tree::{Tree, is_path_of};

/// A peer that breaks the protocol this often is dropped.
const MISDEEDS_MAX: u32 = 8;
/// How many peers' misdeeds are remembered.
const MISDEEDS_KEPT: usize = 256;
/// Most turns of notes for one input; past it something runs in a circle.
const TURNS_MAX: usize = 1024;
/// A mixer that leaves waits so long for its standby to have begun.
const LEAVE_US_MAX: u64 = 2 * SECOND;

/// The brain: see the crate's documentation for the loop that drives it.
#[derive(Debug)]
pub struct RoomState {
    shared: Shared,
    router: Router,
    membership: Membership,
    probe: Probe,
    heirs: Heirs,
    election: Election,
    mixing: Mixing,
    succession: Succession,
    streams: Streams,
    tree: Tree,
    broadcast: Broadcast,
    offers: BTreeMap<(PeerId, LinkKind), Offer>,
    misdeeds: BTreeMap<PeerId, u32>,
    leaving: Option<Time>,
    left: bool,
    /// When a machine is due next: asked of all of them once for each input, not by whoever wants to know.
    due: Option<Time>,
}

/// What every machine sees, and its parts that have no machine of their own.
#[derive(Debug)]
struct Shared {
    me: PeerId,
    keys: Keypair,
    config: RoomConfig,
    now: Time,
    rng: Rng,
    counter: u64,
    out: Outbox,
    stage: Stage,
    mandate: Mandate,
    links: LinkTable,
}

impl Shared {
    fn view(&mut self) -> View<'_> {
        View {
            now: self.now,
            me: self.me,
            keys: &self.keys,
            config: &self.config,
            stage: &self.stage,
            mandate: &self.mandate,
            links: &mut self.links,
            out: &mut self.out,
            rng: &mut self.rng,
            counter: &mut self.counter,
        }
    }
}

/// What the brain knows at one moment, for people and tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrainSnapshot {
    /// The roster's number; 0 before there is one.
    pub epoch: u32,
    /// How the stage is served.
    pub mode: Mode,
    /// The mandate in force.
    pub rank: Rank,
    /// Who mixes.
    pub mixers: Vec<PeerId>,
    /// Who is kept warm.
    pub standbys: Vec<PeerId>,
    /// Who feeds us.
    pub parent: Option<PeerId>,
    /// Who would at once.
    pub backup: Option<PeerId>,
    /// Whom we feed.
    pub children: Vec<PeerId>,
    /// Whom we promised to feed.
    pub promised: Vec<PeerId>,
    /// From a mixer down to us, both included.
    pub path: Path,
    /// Links that are up, wanted, or being made.
    pub links: usize,
    /// Whether we make the program.
    pub mixing: bool,
    /// Viewers below us, by what our children say.
    pub viewers_below: u32,
    /// The host, as the roster names it.
    pub host: Option<PeerId>,
    /// Whether we are on stage as a speaker.
    pub speaks: bool,
    /// Whether we want the program.
    pub views: bool,
}

impl RoomState {
    /// A peer that has just begun. The host opens the room; everyone else asks to be let in as soon as the
    /// rendezvous is up.
    ///
    /// `seed` decides every draw: two brains with the same keys, config, seed and inputs do the same.
    pub fn new(keys: Keypair, config: RoomConfig, seed: u64, now: Time) -> RoomState {
        let me = keys.id();
        // statements of a peer that comes back must count on from those it made before
        let counter = (config.unix_s_at_zero + now.0 / SECOND) << 20;
        let shared = Shared {
            me,
            keys,
            config,
            now,
            rng: Rng::new(seed),
            counter,
            out: Outbox::default(),
            stage: Stage::default(),
            mandate: Mandate::default(),
            links: LinkTable::new(me),
        };
        let mut room = RoomState {
            shared,
            router: Router::new(me),
            membership: Membership::new(),
            probe: Probe::default(),
            heirs: Heirs::default(),
            election: Election::default(),
            mixing: Mixing::new(),
            succession: Succession::default(),
            streams: Streams::default(),
            tree: Tree::default(),
            broadcast: Broadcast::default(),
            offers: BTreeMap::new(),
            misdeeds: BTreeMap::new(),
            leaving: None,
            left: false,
            due: None,
        };
        room.membership.start(&mut room.shared.view());
        room.settle();
        room
    }

    /// Takes one input. Never fails: whatever a peer sends leads to outputs, at worst to
    /// [`Event::PeerMisbehaved`]. Call [`poll_output`](Self::poll_output) until it gives `None` after it.
    pub fn handle(&mut self, now: Time, input: Input) {
        self.shared.now = self.shared.now.max(now);
        match input {
            Input::Timeout => {}
            Input::SignalUp(up) => {
                self.router.set_signal_up(up);
                if up {
                    self.membership.signal_up(self.shared.now);
                }
            }
            Input::Message { from, via, message } => {
                if self.misdeeds.get(&from).is_none_or(|count| *count < MISDEEDS_MAX) {
                    if let Via::Mesh(route) = &via {
                        self.router.came_by(self.shared.now, from, route);
                    }
                    self.heard(from);
                    self.message(from, message.into_inner());
                }
            }
            Input::Undeliverable(Some(peer)) => {
                self.router.absent(self.shared.now, peer);
                self.tree.undeliverable(&mut self.shared.view(), peer);
            }
            Input::Undeliverable(None) => {}
            Input::Described { peer, kind, description } => {
                let offered = self.offers.remove(&(peer, kind));
                let offered =
                    offered.map(|offer| (offer.description.ufrag.to_string(), offer.description.fingerprint));
                self.shared.links.described(&mut self.shared.out, peer, kind, description, offered);
            }
            Input::LinkUp(peer, kind) => {
                self.heard(peer);
                self.shared.links.link_up(self.shared.now, &mut self.shared.out, peer, kind);
            }
            Input::LinkDown(peer, kind) => {
                self.shared.links.link_down(
                    self.shared.now,
                    &mut self.shared.out,
                    &mut self.shared.rng,
                    peer,
                    kind,
                );
            }
            Input::Verdict { peer, verdict } => {
                if verdict == Verdict::Ok {
                    self.heard(peer);
                }
                self.succession.verdict(&mut self.shared.view(), peer, verdict);
                self.tree.verdict(&mut self.shared.view(), peer, verdict);
            }
            Input::Heard(peer) => self.heard(peer),
            Input::Fed(peer) => self.tree.fed(&mut self.shared.view(), peer),
            Input::Measured { peer, train, bandwidth_bps, rtt_us } => {
                let report = self.probe.measured(&mut self.shared.view(), peer, train, bandwidth_bps, rtt_us);
                if let Some(report) = report {
                    self.election.report(&self.shared.view(), report);
                }
            }
            Input::Bench { encode_us, decode_us } => {
                self.probe.bench(&mut self.shared.view(), encode_us, decode_us);
                self.take_own_claim();
            }
            Input::Warm => self.mixing.warm(&mut self.shared.view()),
            Input::Started(spec) => self.mixing.started(&mut self.shared.view(), &spec),
            Input::Misbehaved(peer) => self.misbehaved(peer),
            Input::Command(command) => self.command(command),
        }
        self.settle();
    }

    /// What is to be done next; `None` when there is nothing more for now.
    pub fn poll_output(&mut self) -> Option<Output> {
        while let Some(item) = self.shared.out.items.pop_front() {
            let output = match item {
                Item::Do(output) => Some(output),
                Item::Send(to, message) => self.resolve(to, message),
                Item::SendHost(message) => match self.shared.stage.host() {
                    // the rendezvous knows the first host only
                    Some(host)
                        if self.shared.links.is_up(&host)
                            || !self.router.signal_up()
                            || self.shared.stage.reign() > 0 =>
                    {
                        self.resolve(host, message)
                    }
                    _ => Some(Output::Signal(Address::Host, message)),
                },
            };
            if output.is_some() {
                return output;
            }
        }
        None
    }

    /// When [`Input::Timeout`] is wanted, if nothing else comes before; later than the last input's time.
    pub fn next_timeout(&self) -> Option<Time> {
        self.due.map(|due| due.max(self.shared.now + 1))
    }

    /// What is known now.
    pub fn snapshot(&self) -> BrainSnapshot {
        let (parent, backup) = self.tree.above();
        let (children, promised) = self.tree.below();
        BrainSnapshot {
            epoch: self.shared.stage.epoch(),
            mode: self.shared.stage.mode(),
            rank: self.shared.mandate.rank,
            mixers: self.shared.mandate.mixers.clone(),
            standbys: self.shared.mandate.standbys.clone(),
            parent,
            backup,
            children,
            promised,
            path: self.tree.path().clone(),
            links: self.shared.links.len(),
            mixing: self.mixing.is_mixing(),
            viewers_below: self.tree.viewers_below(),
            host: self.shared.stage.host(),
            speaks: self.shared.stage.entry(&self.shared.me).is_some_and(|entry| entry.speaks),
            views: self.shared.config.views,
        }
    }

    /// Makes this brain break a rule from now on.
    #[cfg(feature = "mutants")]
    pub fn mutate(&mut self, mutation: crate::Mutation) {
        self.shared.mandate.mutated = crate::mutation::Mutated::by(mutation);
    }

    /// Whether this peer may tell the room so much now; what [`Command::Publish`] checks too.
    ///
    /// # Errors
    /// Why it may not.
    pub fn may_publish(&self, now: Time, delivery: Delivery, len: usize) -> Result<(), DataRefusal> {
        let on_stage = self.shared.stage.contains(&self.shared.me);
        self.broadcast.may_publish(self.shared.now.max(now), on_stage, delivery, len)
    }

    /// The mandate in force: [`snapshot`](Self::snapshot) tells it too, but that is made anew for each caller.
    pub fn rank(&self) -> Rank {
        self.shared.mandate.rank
    }

    /// Who mixes by that mandate, the lead first.
    pub fn mixers(&self) -> &[PeerId] {
        &self.shared.mandate.mixers
    }

    /// Who is kept warm by it.
    pub fn standbys(&self) -> &[PeerId] {
        &self.shared.mandate.standbys
    }

    /// The number of the roster in force; 0 before there is one.
    pub fn epoch(&self) -> u32 {
        self.shared.stage.epoch()
    }

    /// The stage as it is signed now.
    pub fn roster(&self) -> Option<&crate::message::Roster> {
        self.shared.stage.roster()
    }

    fn resolve(&self, to: PeerId, message: Message) -> Option<Output> {
        self.router.resolve(
            self.shared.now,
            &self.shared.links,
            &self.shared.stage,
            self.tree.path(),
            to,
            message,
        )
    }

    fn earliest(&self) -> Option<Time> {
        let times = [
            self.shared.links.next_timeout(),
            self.membership.next_timeout(),
            self.heirs.next_timeout(),
            self.probe.next_timeout(),
            self.election.next_timeout(),
            self.mixing.next_timeout(),
            self.succession.next_timeout(),
            self.tree.next_timeout(),
            self.broadcast.next_timeout(),
            self.leaving,
        ];
        if self.left { None } else { times.into_iter().flatten().min() }
    }

    /// Hands notes round and lets time pass until nothing more follows.
    fn settle(&mut self) {
        self.hand_round();
        self.due = self.earliest();
        if self.due.is_some_and(|due| due <= self.shared.now) {
            self.on_time();
            self.hand_round();
            self.due = self.earliest();
        }
        #[cfg(debug_assertions)]
        self.check_invariants();
    }

    fn on_time(&mut self) {
        self.shared.links.on_time(self.shared.now, &mut self.shared.out, &mut self.shared.rng);
        self.membership.on_time(&mut self.shared.view());
        self.heirs.on_time(&mut self.shared.view());
        if let Some(report) = self.probe.on_time(&mut self.shared.view()) {
            self.election.report(&self.shared.view(), report);
        }
        self.succession.on_time(&mut self.shared.view());
        self.mixing.look(&mut self.shared.view());
        self.tree.on_time(&mut self.shared.view());
        let (parent, _) = self.tree.above();
        self.broadcast.on_time(&mut self.shared.view(), parent);
        if self.leaving.is_some() {
            self.leave_when_done();
        }
    }

    fn hand_round(&mut self) {
        for turn in 0.. {
            let Some(note) = self.shared.out.notes.pop_front() else { break };
            debug_assert!(turn < TURNS_MAX, "notes run in a circle: {note:?}");
            if turn >= TURNS_MAX {
                self.shared.out.notes.clear();
                break;
            }
            self.note(note);
        }
        self.mixing.set_feeds(self.tree.feeds());
        self.election.look(&mut self.shared.view());
        if !self.shared.out.notes.is_empty() {
            self.hand_round();
        }
    }

    fn note(&mut self, note: Note) {
        match note {
            Note::Signed(roster) => {
                let message = Message::Roster(roster.clone());
                if self.shared.stage.adopt(roster) {
                    self.tree.pass_down(&mut self.shared.view(), &message, None);
                    self.shared.out.note(Note::Roster);
                }
            }
            Note::Roster => {
                self.election.roster_changed(self.shared.now);
                self.shared.mandate.roster_changed(&mut self.shared.out, &self.shared.stage);
                self.membership.roster_changed(&mut self.shared.view());
                self.heirs.roster_changed(&self.shared.view());
                self.probe.spread_claim(&mut self.shared.view());
                self.probe.take_on(&mut self.shared.view());
                self.take_own_claim();
                self.look();
            }
            Note::Mandate => {
                self.election.mandate_changed(self.shared.mandate.rank, &self.shared.stage);
                if self.election.is_over() {
                    self.probe.closed(&mut self.shared.view());
                }
                self.look();
            }
            Note::Decided(decided) => {
                let tallies = self.election.take_tallies();
                let message = Message::Decided(decided.clone());
                // whoever wasn't there when it was decided may be the first of many who weren't
                let missed = self.shared.mandate.decided.is_some()
                    && !self.election.has_opened(decided.body.term)
                    && self.shared.view().on_stage();
                if self.shared.mandate.decide(&mut self.shared.out, &self.shared.stage, *decided, tallies) {
                    let under = self.shared.mandate.under_before(self.shared.stage.epoch()).cloned();
                    for message in under.map(Message::Roster).into_iter().chain([message]) {
                        self.tree.pass_down(&mut self.shared.view(), &message, None);
                        if missed {
                            self.shared.view().send_stage(&message);
                        }
                    }
                }
            }
            Note::TakeOver(take_over) => {
                let message = Message::TakeOver(take_over.clone());
                if self.shared.mandate.take_over(&mut self.shared.out, take_over) {
                    self.tree.pass_down(&mut self.shared.view(), &message, None);
                }
            }
            Note::Alive(alive) => {
                let message = Message::Alive(alive.clone());
                if self.shared.mandate.alive(&mut self.shared.out, alive) {
                    self.tree.pass_down(&mut self.shared.view(), &message, None);
                }
            }
            Note::LinkUp(peer, LinkKind::Peer) => {
                self.tell_where_things_stand(peer);
                self.mixing.link_changed(&mut self.shared.view(), peer, true);
                self.tree.link_changed(&mut self.shared.view(), peer, true);
            }
            Note::LinkDown(peer, LinkKind::Peer) => {
                self.streams.forget(&peer);
                self.mixing.link_changed(&mut self.shared.view(), peer, false);
                self.tree.link_changed(&mut self.shared.view(), peer, false);
            }
            Note::LinkUp(..) | Note::LinkDown(..) => {}
            Note::Below(peer) => self.tell_where_things_stand(peer),
            Note::Opened(term, _) => {
                self.probe.opened(&mut self.shared.view(), term);
                self.take_own_claim();
            }
            Note::Mixing(mixing) => {
                self.tree.mixing(&mut self.shared.view(), mixing);
            }
            Note::Chosen(reign) => self.membership.succeed(&mut self.shared.view(), *reign),
            Note::Viewers(viewers) => {
                if self.shared.mandate.lead() == Some(self.shared.me) {
                    match self.shared.stage.host() {
                        Some(host) if host == self.shared.me => {
                            if let Some(host) = self.membership.host() {
                                host.audience(self.shared.now, viewers);
                            }
                        }
                        Some(host) => self.shared.out.send(host, Message::Audience { viewers }),
                        None => {}
                    }
                }
            }
            Note::Fed(parent) => self.broadcast.parent_changed(&mut self.shared.view(), parent),
            Note::Gone(peer) => {
                if let Some(host) = self.membership.host() {
                    host.gone(self.shared.now, peer);
                }
            }
            Note::TreeUnserves(peer) => self.mixing.tree_unserves(&mut self.shared.view(), peer),
            Note::MixUnserves(peer) => self.tree.mix_unserves(&mut self.shared.view(), peer),
            Note::Lost => self.membership.ask(self.shared.now),
        }
    }

    /// Roster or mandate have changed.
    fn look(&mut self) {
        self.streams.look(
            &mut self.shared.out,
            &self.shared.config.room,
            &self.shared.stage,
            &self.shared.mandate,
        );
        self.succession.look(&mut self.shared.view());
        self.mixing.look(&mut self.shared.view());
        self.tree.look(&mut self.shared.view());
        self.broadcast.mandate_changed(&mut self.shared.view());
    }

    /// A peer that we have just linked with may have missed something.
    fn tell_where_things_stand(&mut self, peer: PeerId) {
        let view = self.shared.view();
        if let Some(stands) = self.broadcast.stands(&view) {
            view.out.send(peer, stands);
        }
        if view.on_stage() {
            self.broadcast.begin(view.now);
        }
        if let Some(roster) = self.shared.stage.signed() {
            self.shared.out.send(peer, Message::Roster(roster.clone()));
        }
        if let Some(under) = self.shared.mandate.under_before(self.shared.stage.epoch()) {
            self.shared.out.send(peer, Message::Roster(under.clone()));
        }
        if let Some(decided) = &self.shared.mandate.decided {
            self.shared.out.send(peer, Message::Decided(Box::new(decided.clone())));
        }
        for take_over in &self.shared.mandate.take_overs {
            self.shared.out.send(peer, Message::TakeOver(take_over.clone()));
        }
        for alive in &self.shared.mandate.alives {
            self.shared.out.send(peer, Message::Alive(alive.clone()));
        }
    }

    fn take_own_claim(&mut self) {
        if let Some(claim) = self.probe.own_claim().cloned() {
            self.election.claim(&self.shared.view(), claim);
        }
    }

    fn message(&mut self, from: PeerId, message: Message) {
        match message {
            Message::Join(join) => {
                if let Some(host) = self.membership.host() {
                    host.join(&mut self.shared.view(), from, &join);
                } else if let Some(roster) =
                    self.shared.stage.signed().filter(|_| self.shared.stage.reign() > 0)
                {
                    // the rendezvous knows the first host only: here is who the host is now
                    self.shared.out.send(from, Message::Roster(roster.clone()));
                }
            }
            Message::Admit(admit) => {
                self.take_roster(admit.roster);
                admit.under.into_iter().for_each(|under| self.take_roster(under));
                self.membership.admitted(&mut self.shared.view());
                if let Some(decided) = admit.decided {
                    self.shared.out.note(Note::Decided(Box::new(decided)));
                }
                for take_over in admit.take_overs.iter() {
                    self.shared.out.note(Note::TakeOver(take_over.clone()));
                }
                self.hand_round();
                self.tree.look(&mut self.shared.view());
            }
            Message::Refuse(refusal) => {
                self.membership.refused(&mut self.shared.view(), &refusal.signed);
            }
            Message::ReignWanted { epoch, number } => {
                self.heirs.wanted(&mut self.shared.view(), from, epoch, number);
            }
            Message::ReignVote { epoch, number, signature } => {
                self.heirs.vote(&mut self.shared.view(), from, (epoch, number), signature);
            }
            Message::Roster(roster) => self.take_roster(roster),
            Message::Leave => {
                self.shared.out.note(Note::Gone(from));
                self.tree.drop_child(&mut self.shared.view(), from);
            }
            Message::LinkWanted(kind) => {
                self.shared.links.link_wanted(self.shared.now, &mut self.shared.out, from, kind)
            }
            Message::Offer(offer) => {
                self.offers.insert((from, offer.kind), offer.clone());
                if self.offers.len() > crate::links::LINKS_MAX {
                    self.offers.pop_first();
                }
                self.shared.links.offered(self.shared.now, &mut self.shared.out, from, offer);
            }
            Message::Answer(answer) => self.shared.links.answered(&mut self.shared.out, from, answer),
            Message::Bye(kind) => self.shared.links.bye(self.shared.now, &mut self.shared.out, from, kind),
            Message::Relay(relay) => self.pass_on(from, relay),
            Message::Stream(stream) => {
                let room = &self.shared.config.room;
                self.streams.announced(
                    &mut self.shared.out,
                    room,
                    &self.shared.stage,
                    &self.shared.mandate,
                    from,
                    stream,
                );
            }
            Message::Home { rank, ask, resume } => {
                self.mixing.home(&mut self.shared.view(), from, rank, ask, resume);
            }
            Message::Started(spec) if spec.maker == from => {
                self.mixing.started(&mut self.shared.view(), &spec)
            }
            Message::Started(_) => {}
            Message::HearWanted { mixer } if self.shared.stage.contains(&from) => {
                self.shared.out.act(Output::AnswerHeard { to: from, mixer });
            }
            Message::HearWanted { .. } => {}
            Message::Heard { mixer, silent_us } => {
                self.succession.heard(&self.shared.view(), from, mixer, silent_us);
            }
            Message::TakeOver(take_over) => {
                let mixing = self.mixing.is_mixing();
                let mine = self.succession.may_take(&mut self.shared.view(), &take_over, mixing);
                let on_stage = self.shared.stage.contains(&self.shared.me);
                if mine && (on_stage || self.tree.believes(&self.shared.view(), from, &take_over)) {
                    self.shared.out.note(Note::TakeOver(take_over));
                }
            }
            Message::Alive(alive) => self.shared.out.note(Note::Alive(alive)),
            Message::TakeOverWanted { rank } => self.succession.wanted(&mut self.shared.view(), from, rank),
            Message::ProbeWanted { train, bytes, rate_bps } => {
                self.probe.wanted(&mut self.shared.view(), from, train, bytes, rate_bps);
            }
            Message::ProbeBusy { train } => self.probe.busy(&mut self.shared.view(), from, train),
            Message::Claim(claim) => self.election.claim(&self.shared.view(), claim),
            Message::Report(report) => self.election.report(&self.shared.view(), report),
            Message::PreVoteWanted { epoch, need } => {
                self.election.pre_vote_wanted(&mut self.shared.view(), from, epoch, need);
            }
            Message::PreVote { epoch, term, signature } => {
                self.election.pre_vote(&self.shared.view(), from, epoch, term, signature);
            }
            Message::Opening(opening) => self.election.opening(&mut self.shared.view(), *opening),
            Message::Ballot(ballot) => self.election.ballot(&mut self.shared.view(), *ballot),
            Message::Vote { term, ballot, signature } => {
                self.election.vote(&mut self.shared.view(), from, term, ballot, signature);
            }
            Message::Lacking { term, reports, claims } => {
                self.election.lacking(&mut self.shared.view(), from, term, &reports, &claims);
            }
            Message::Decided(decided) => self.shared.out.note(Note::Decided(decided)),
            Message::Audience { viewers } if self.shared.mandate.has_mixed(&from) => {
                if let Some(host) = self.membership.host() {
                    host.audience(self.shared.now, viewers);
                }
            }
            Message::Audience { .. } => {}
            Message::Floor(speaks) if self.shared.stage.host() == Some(from) => self.floor(speaks),
            Message::Floor(_) => {} // only the host gives it and takes it
            Message::Attach(attach) => self.tree.attach(&mut self.shared.view(), from, &attach),
            Message::Accept { path, .. } | Message::PathIs(path) if !is_path_of(&path, &from) => {
                self.misbehaved(from);
            }
            Message::Accept { purpose, path } => {
                self.tree.accepted(&mut self.shared.view(), from, purpose, path)
            }
            Message::Redirect { purpose, places } => {
                self.router.places(self.shared.now, &self.shared.links, self.tree.path(), &places);
                self.tree.redirected(&mut self.shared.view(), from, purpose, &places);
            }
            Message::Refused { purpose, .. } => self.tree.refused(&mut self.shared.view(), from, purpose),
            Message::Feed { from: resume } => self.tree.feed(&mut self.shared.view(), from, resume),
            Message::StopFeed => self.tree.stop_feed(&mut self.shared.view(), from),
            Message::Detach => self.tree.drop_child(&mut self.shared.view(), from),
            Message::Dismiss => self.tree.dismissed_by(&mut self.shared.view(), from),
            Message::Shed { places } => {
                self.router.places(self.shared.now, &self.shared.links, self.tree.path(), &places);
                self.tree.shed_by(&mut self.shared.view(), from, &places);
            }
            Message::Aggregate(below) => self.tree.aggregate(&mut self.shared.view(), from, below),
            Message::Move { how, places } => {
                self.router.places(self.shared.now, &self.shared.links, self.tree.path(), &places);
                self.tree.asked_to_move(&mut self.shared.view(), from, how, &places);
            }
            Message::PathIs(path) => self.tree.path_is(&mut self.shared.view(), from, path),
            Message::Data(data) => {
                let (children, _) = self.tree.below();
                self.broadcast.data(&mut self.shared.view(), &children, from, data);
            }
            Message::DataStands(stands) => self.broadcast.stood(&mut self.shared.view(), &stands),
            Message::DataHeld(held) => {
                let is_child = self.tree.below().0.contains(&from);
                self.broadcast.held_by(&mut self.shared.view(), from, &held, is_child);
            }
            Message::FrameHashes(_) => {} // not switched on yet: docs/PROTOCOL.md
        }
    }

    fn take_roster(&mut self, roster: crate::message::SignedRoster) {
        self.shared.out.note(Note::Signed(roster));
    }

    /// An envelope for somebody else.
    fn pass_on(&mut self, from: PeerId, relay: Relay) {
        if relay.to == self.shared.me {
            self.misbehaved(from); // what is for us is opened by the body, and never comes here
        } else if let Some(output) = self.router.pass_on(&self.shared.links, relay) {
            self.shared.out.act(output);
        }
    }

    fn misbehaved(&mut self, peer: PeerId) {
        if self.misdeeds.len() >= MISDEEDS_KEPT && !self.misdeeds.contains_key(&peer) {
            // whoever did least is forgotten: nobody gets off by sending others ahead
            let least = self.misdeeds.iter().min_by_key(|(_, count)| **count).map(|(peer, _)| *peer);
            least.and_then(|least| self.misdeeds.remove(&least));
        }
        let count = self.misdeeds.entry(peer).or_default();
        *count = count.saturating_add(1);
        let count = *count;
        let dropped = count == MISDEEDS_MAX;
        if count <= MISDEEDS_MAX {
            self.shared.out.event(Event::PeerMisbehaved { peer, count, dropped });
        }
        if dropped {
            self.shared.links.drop_peer(self.shared.now, &mut self.shared.out, peer);
            self.shared.out.note(Note::Gone(peer));
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Leave if self.leaving.is_none() => {
                let waits = self.mixing.is_mixing() && self.succession.leave(&mut self.shared.view());
                self.leaving = Some(self.shared.now + if waits { LEAVE_US_MAX } else { 0 });
                if !waits {
                    self.tree.leave(&mut self.shared.view());
                }
            }
            Command::Leave => {}
            Command::ReconnectUpstream => self.tree.reconnect(&mut self.shared.view()),
            Command::Measure(peer) => self.probe.measure(&mut self.shared.view(), peer),
            Command::Publish(delivery, bytes) => {
                let (children, _) = self.tree.below();
                self.broadcast.publish(&mut self.shared.view(), &children, delivery, bytes);
            }
            Command::Speak(speaks) => {
                self.set_speaks(speaks);
                self.membership.wish(&mut self.shared.view());
            }
            Command::SetMixers(_) | Command::OpenStage(_) | Command::Promote(_) | Command::Demote(_) => {
                self.command_host(command);
            }
        }
    }

    /// What only the host may do.
    fn command_host(&mut self, command: Command) {
        let Some(host) = self.membership.host() else { return };
        let view = &mut self.shared.view();
        match command {
            Command::SetMixers(mixers) => host.set_mixers(view.now, mixers),
            Command::OpenStage(open) => host.open_stage(open),
            Command::Promote(peer) => host.promote(view, peer),
            Command::Demote(peer) => host.demote(view, peer),
            _ => {}
        }
    }

    /// Whoever has nothing else to do here watches.
    fn set_speaks(&mut self, speaks: bool) {
        let config = &mut self.shared.config;
        config.speaks = speaks;
        config.views |= !speaks && config.consent == Consent::Never;
    }

    /// The host offers us the floor, or takes it.
    fn floor(&mut self, speaks: bool) {
        if speaks {
            self.membership.floor_offered(&mut self.shared.view());
        } else if self.shared.config.speaks {
            self.set_speaks(false);
            self.membership.floor_taken(&mut self.shared.view());
            self.look();
        }
    }

    /// Something came from a peer.
    fn heard(&mut self, peer: PeerId) {
        if let Some(host) = self.membership.host() {
            host.heard(self.shared.now, peer);
        }
        self.heirs.heard(&self.shared.view(), peer);
    }

    /// Leaving goes on: first the standby takes over, then children find other parents, then we go.
    fn leave_when_done(&mut self) {
        let still_needed = self.mixing.is_mixing() && self.leaving.is_some_and(|at| at > self.shared.now);
        if still_needed || self.left {
            return;
        }
        if !self.tree.is_leaving() {
            self.tree.leave(&mut self.shared.view());
        }
        if !self.tree.left(self.shared.now) {
            self.leaving = Some(self.shared.now + 50 * MS);
            return;
        }
        self.left = true;
        self.tree.let_go(&mut self.shared.view());
        match self.shared.stage.host() {
            Some(host) if host != self.shared.me => self.shared.out.send(host, Message::Leave),
            _ => {}
        }
        self.shared.out.event(Event::Left);
    }

    /// How full each list and map is. None grows with the audience, with time, or by what peers send.
    pub fn bounds(&self) -> impl Iterator<Item = Bound> {
        let own = [
            Bound::new("offers", self.offers.len(), crate::links::LINKS_MAX),
            Bound::new("peers' misdeeds", self.misdeeds.len(), MISDEEDS_KEPT),
        ];
        let bounds = own.into_iter().chain(self.shared.links.bounds()).chain(self.router.bounds());
        let bounds = bounds.chain(self.shared.stage.bounds()).chain(self.shared.mandate.bounds());
        let bounds = bounds.chain(self.membership.bounds()).chain(self.probe.bounds());
        let bounds = bounds.chain(self.election.bounds()).chain(self.mixing.bounds());
        bounds.chain(self.streams.bounds()).chain(self.tree.bounds())
    }

    /// What must be true after every input. Debug builds and the simulator look.
    #[cfg(debug_assertions)]
    fn check_invariants(&self) {
        if self.shared.mandate.mutated.at_all() {
            return; // those who judge it look from outside
        }
        let path = self.tree.path();
        let mut ids: Vec<_> = path.iter().collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), path.len(), "a path has a cycle: {path:?}");
        assert!(path.last().is_none_or(|last| *last == self.shared.me.short()), "our path ends elsewhere");
        for Bound { of, len, max } in self.bounds() {
            assert!(len <= max, "{len} {of}, of at most {max}");
        }
        assert!(!self.tree.below().0.contains(&self.shared.me), "we feed ourselves");
        assert!(!self.shared.mandate.mixers.iter().any(|mixer| self.shared.mandate.standbys.contains(mixer)));
    }
}
