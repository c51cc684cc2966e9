//! Top level of the brain: takes inputs, dispatches them to the machines, and collects their outputs.

mod access;
mod commands;
mod messages;
mod notes;
mod outputs;
mod snapshot;
mod time;
mod violations;

use crate::ordered::OrderedMap;

use self::access::EarlyRequest;
use self::violations::{VIOLATIONS_KEPT, Violations};
use crate::anti_entropy::AntiEntropy;
use crate::app::{Event, Reason};
use crate::audience::TreePosition;
use crate::bounded::Bound;
use crate::broadcast::Broadcast;
use crate::config::RoomConfig;
use crate::directory::DirectoryEntry;
use crate::election::Election;
use crate::evidence::Evidence;
use crate::heirs::Heirs;
use crate::host::Reopening;
use crate::id::{PeerId, Rank, StreamKind, StreamSpec};
use crate::io::{Input, Verdict, Via};
use crate::links::LinkTable;
use crate::mandate::Mandate;
use crate::membership::Membership;
use crate::message::{Delivery, GenerationKey, MemberMessage, Message, StreamUse, Ticket};
use crate::mixing::Mixing;
use crate::mutation::Mutation;
use crate::outbox::{Note, Outbox};
use crate::probe::{Probe, Shown};
use crate::rates::PathRates;
use crate::rng::Rng;
use crate::route::Router;
use crate::seal::{Keypair, Signed, Verified};
use crate::solo::Solo;
use crate::stage::{Mode, Stage};
use crate::streams::{Relations, Streams};
use crate::succession::Succession;
use crate::tickets::{Tickets, has_ticket_of_host};
use crate::time::{MS, Time};
use crate::tree::Tree;
use crate::tunnels::Tunnels;
use crate::uplink::Uplink;
use crate::view::UplinkEstimate;
use crate::view::View;
use crate::voices::Voices;

/// Maximum number of broken invariants that are reported. A guess: a single one calls for a repair.
const REPORTED_MAX: usize = 8;

/// The brain of one peer in one room. The crate's documentation describes the loop that drives it.
#[derive(Debug)]
pub struct RoomState {
    shared: Shared,
    router: Router,
    membership: Membership,
    probe: Probe,
    heirs: Heirs,
    anti_entropy: AntiEntropy,
    election: Election,
    mixing: Mixing,
    succession: Succession,
    streams: Streams,
    tree: Tree,
    broadcast: Broadcast,
    solo: Solo,
    voices: Voices,
    uplink: Uplink,
    rates: PathRates,
    tunnels: Tunnels,
    violations: OrderedMap<PeerId, Violations>,
    tickets: Tickets,
    /// Keys of later invites that no roster names yet, with the peers that sent them.
    early_keys: Vec<(PeerId, GenerationKey)>,
    /// Requests for links that came before the first roster.
    early_requests: Vec<EarlyRequest>,
    leaving: Option<Time>,
    /// Until when a leaving host waits for its heir.
    heir_until: Option<Time>,
    left: bool,
    /// Whether broken invariants are reported rather than asserted, and those that were.
    reports: bool,
    reported: Vec<String>,
    /// Earliest timeout of all machines. Computed once per input, since callers read it more often.
    due: Option<Time>,
}

/// State visible to every machine.
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
    uplink: UplinkEstimate,
    ticket: Option<Signed<Ticket>>,
    key: Option<GenerationKey>,
    /// Whether this peer records what it receives.
    records: bool,
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
            uplink: self.uplink,
            ticket: self.ticket.as_ref(),
            key: self.key.as_ref(),
            records: self.records,
        }
    }
}

impl RoomState {
    /// Returns what shows that the maker of a stream has a mandate for it; `None` before there is a roster.
    pub fn evidence(&self, spec: StreamSpec) -> Option<Evidence> {
        let mandate = &self.shared.mandate;
        let makes_program = matches!(spec.kind, StreamKind::Program | StreamKind::MixMinus);
        let decided = mandate.decided.clone().filter(|_| makes_program);
        let under = decided.as_ref().and_then(|_| mandate.under());
        Some(Evidence::new(spec, under.or(self.shared.stage.signed())?.clone(), decided))
    }

    /// Returns the keys of this peer.
    pub fn keys(&self) -> &Keypair {
        &self.shared.keys
    }

    /// Creates the brain of a peer that has just started. The host opens the room; all other peers request
    /// admission as soon as the rendezvous is up.
    ///
    /// All random draws depend on `seed`: two brains with the same keys, config, seed and inputs behave the
    /// same.
    pub fn new(keys: Keypair, config: RoomConfig, seed: u64, now: Time) -> RoomState {
        let me = keys.id();
        let counter = time::first_counter(&config, now);
        let key = config.key.clone();
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
            uplink: UplinkEstimate::default(),
            ticket: None,
            key,
            records: false,
        };
        let mut room = RoomState {
            shared,
            router: Router::new(me),
            membership: Membership::new(),
            probe: Probe::default(),
            heirs: Heirs::default(),
            anti_entropy: AntiEntropy::default(),
            election: Election::default(),
            mixing: Mixing::new(),
            succession: Succession::default(),
            streams: Streams::default(),
            tree: Tree::default(),
            broadcast: Broadcast::default(),
            solo: Solo::default(),
            voices: Voices::default(),
            uplink: Uplink::default(),
            rates: PathRates::default(),
            tunnels: Tunnels::default(),
            violations: OrderedMap::new(),
            tickets: Tickets::default(),
            early_keys: Vec::new(),
            early_requests: Vec::new(),
            leaving: None,
            heir_until: None,
            left: false,
            reports: false,
            reported: Vec::new(),
            due: None,
        };
        room.membership.start(&mut room.shared.view());
        room.settle();
        room
    }

    /// Handles a message with verified signatures, if its author may say such a thing.
    fn arrived(&mut self, from: PeerId, via: &Via, message: Verified<Message>) {
        if self.may_say(&from, via, &message) {
            match via {
                Via::Mesh(route) => self.router.came_by(self.shared.now, from, route),
                Via::Signal => self.router.is_at_rendezvous(&from),
                Via::Link => {}
            }
            self.heard(from);
            self.message(from, message.into_inner());
        }
    }

    /// Processes one input. Infallible: the worst that a peer's message can cause is
    /// [`Event::PeerMisbehaved`]. After it, call [`poll_output`](Self::poll_output) until it returns `None`.
    pub fn handle(&mut self, now: Time, input: Input) {
        self.shared.now = self.shared.now.max(now);
        match input {
            Input::Timeout => {}
            Input::SignalUp(up) => {
                self.router.set_signal_up(up);
                self.shared.links.set_signal_up(up);
                if up {
                    let view = &mut self.shared.view();
                    let lost = self.heirs.misses_host(view);
                    self.membership.signal_up(view, lost);
                }
            }
            Input::SignalOpens => self.membership.signal_opens(&mut self.shared.view()),
            Input::RoomTime { later_s } => self.move_time(later_s),
            Input::Message { from, via, message } => self.arrived(from, &via, message),
            Input::OldInvite { from, via, message } => {
                let view = &mut self.shared.view();
                let is_listed = self.membership.host().is_some_and(|host| host.is_listed(&from));
                let is_member =
                    |join| is_listed || view.stage.contains(&from) || has_ticket_of_host(view, &from, join);
                if matches!(&*message, Message::Member(MemberMessage::Join(join)) if is_member(join)) {
                    self.arrived(from, &via, message);
                } else if let Some(host) = self.membership.host() {
                    host.refuse_old_invite(view, from);
                }
            }
            Input::Undeliverable(Some(peer)) => {
                self.router.absent(self.shared.now, peer);
                self.tree.undeliverable(&mut self.shared.view(), peer);
            }
            Input::Undeliverable(None) => {}
            Input::Described { peer, kind, description } => {
                self.shared.links.described(&mut self.shared.out, peer, kind, description);
            }
            Input::PathsFound { peer, kind, candidates } => {
                self.shared.links.paths_found(&mut self.shared.out, peer, kind, candidates);
            }
            Input::PathWanted(peer, kind) => self.tunnels.path_wanted(&mut self.shared.view(), peer, kind),
            Input::RendezvousCarries(carries) => self.tunnels.rendezvous_carries(carries),
            Input::LinkCarried(peer, kind, is_carried) => {
                self.shared.links.set_carried(&peer, kind, is_carried);
                self.tunnels.link_changed(&mut self.shared.view(), peer, kind, true);
            }
            Input::IceRestart(peer, restart) => {
                self.shared.links.restart_begun(&mut self.shared.out, peer, restart);
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
            Input::Measured { peer, train, bandwidth_bps, rtt_us, paused_ppm, media, address } => {
                if self.uplink.measured(&mut self.shared.view(), peer, train, bandwidth_bps) {
                    self.settle();
                    return;
                }
                let shown = Shown { bandwidth_bps, rtt_us, paused_ppm, media, address };
                let report = self.probe.measured(&mut self.shared.view(), peer, train, shown);
                if let Some(report) = report {
                    self.election.report(&self.shared.view(), report);
                }
            }
            Input::CodecTimes { encode_us, decode_us, source } => {
                self.probe.codec_times(&mut self.shared.view(), encode_us, decode_us, source);
                self.take_own_claim();
            }
            Input::RatePercent(percent) => self.probe.rate_percent(percent),
            Input::RoundTrips(rtts_us) => {
                self.probe.round_trips(&mut self.shared.view(), &rtts_us);
                self.tree.round_trips(&mut self.shared.view(), &rtts_us);
                self.take_own_claim();
            }
            Input::Trouble(count) => {
                let place = self.place();
                self.election.suffered(&mut self.shared.view(), &place, count);
            }
            Input::Overloaded => self.election.overloaded(&mut self.shared.view()),
            Input::Pictureless => self.election.pictureless(&mut self.shared.view()),
            Input::CannotMix => self.resign(),
            Input::Busy(is_busy) => self.tree.busy(&mut self.shared.view(), is_busy),
            Input::UplinkCarries(children) => {
                self.uplink.carries(children);
                self.update_uplink();
            }
            Input::Warm => self.mixing.warm(&mut self.shared.view()),
            Input::Started(spec) => self.mixing.started(&mut self.shared.view(), &spec),
            Input::Misbehaved(peer) => self.misbehaved(peer),
            Input::Restarted(peer) => {
                let Shared { links, out, rng, now, .. } = &mut self.shared;
                links.restarted(*now, out, rng, peer);
                if let Some(host) = self.membership.host() {
                    host.restarted(peer);
                }
                self.succession.restarted(&mut self.shared.view(), peer);
            }
            Input::LinkAbused(peer) => self.abused(peer),
            Input::Forged(peer) => {
                self.tree.deceived(self.shared.now, peer);
                self.abused(peer);
            }
            Input::Command(command) => self.command(command),
            Input::Sends { muted, shares } => self.membership.sends(&mut self.shared.view(), muted, shares),
            Input::Renew(key) => self.renew(key),
        }
        self.settle();
    }

    /// Returns the time at which [`Input::Timeout`] is due unless another input comes first; later than the
    /// last input's time.
    pub fn next_timeout(&self) -> Option<Time> {
        if self.shared.mandate.mutated.is(Mutation::NeverSleeps) {
            return Some(self.shared.now + MS);
        }
        self.due.map(|due| due.max(self.shared.now + 1))
    }

    /// Returns the peer from which the program comes: the parent, or on stage the lead mixer.
    fn peer_above(&self) -> Option<PeerId> {
        let (me, mixers) = (&self.shared.me, &self.shared.mandate.mixers);
        let lead = || mixers.first().copied().filter(|_| self.shared.stage.contains(me));
        self.tree.above().0.or_else(lead).filter(|_| !mixers.contains(me))
    }

    /// Makes this brain break a protocol rule from now on.
    #[cfg(debug_assertions)]
    #[doc(hidden)]
    pub fn mutate(&mut self, mutation: crate::Mutation) {
        self.shared.mandate.mutated = crate::mutation::Mutated::by(mutation);
        self.router.mutated = self.shared.mandate.mutated;
    }

    /// Checks whether this peer may publish a piece of this length now. [`Command::Tell`](crate::Command::Tell)
    /// checks the same.
    ///
    /// # Errors
    /// The reason against it: not on stage, not named by the host, too long, or too fast.
    pub fn may_publish(&self, now: Time, delivery: Delivery, len: usize) -> Result<(), Reason> {
        let Shared { stage, me, now: known, .. } = &self.shared;
        self.broadcast.may_publish((now.max(*known), stage, me), delivery, len)
    }

    /// Returns the rank of the mandate in force, without the cost of a [`snapshot`](Self::snapshot).
    pub fn rank(&self) -> Rank {
        self.shared.mandate.rank
    }

    /// Returns the frame rate requested of mixers, frames per second; `None` in modes without composition.
    pub fn fps_wanted(&self) -> Option<u8> {
        let mixed = self.shared.stage.mode() == Mode::Mixer;
        self.shared.stage.roster().filter(|_| mixed).map(|roster| roster.rules.program.fps)
    }

    /// Returns the number of speakers that this peer sends its own stream to in a mesh; 0 outside one.
    pub fn meshed(&self) -> usize {
        let stage = &self.shared.stage;
        let is_in = stage.mode() == Mode::Mesh && stage.meshed().any(|peer| peer == self.shared.me);
        if is_in { stage.meshed().count() - 1 } else { 0 }
    }

    /// Returns this peer's uplink as far as it is known, bits per second: at most the user's cap.
    pub fn uplink_bps(&self) -> Option<u64> {
        self.shared.config.uplink_bps_max.into_iter().chain(self.uplink.measured_bps()).min()
    }

    /// Returns whether this peer's commands to end the room, to remove peers and to replace the invite have an effect,
    /// if it is the host.
    ///
    /// # Errors
    /// The stage chose it too lately.
    pub fn check_settled(&self) -> Result<(), Reason> {
        let is_bound = self.membership.host_ref().is_some_and(|host| host.is_bound(self.shared.now));
        if is_bound { Err(Reason::TooSoon) } else { Ok(()) }
    }

    /// Returns the present peers that may be elected, in the order of their ids.
    pub fn candidates(&self) -> &[PeerId] {
        self.shared.stage.candidates()
    }

    /// Returns the mixers in force, the lead first.
    pub fn mixers(&self) -> &[PeerId] {
        &self.shared.mandate.mixers
    }

    /// Returns the standbys, which are kept warm.
    pub fn standbys(&self) -> &[PeerId] {
        &self.shared.mandate.standbys
    }

    /// Returns the epoch of the roster in force; 0 before there is one.
    pub fn epoch(&self) -> u32 {
        self.shared.stage.epoch()
    }

    /// Returns the roster in force.
    pub fn roster(&self) -> Option<&crate::message::Roster> {
        self.shared.stage.roster()
    }

    /// Returns whether this peer is on stage, by the roster in force.
    pub fn is_on_stage(&self) -> bool {
        self.shared.stage.contains(&self.shared.me)
    }

    /// Returns how far this peer is with opening its room again, if it is the host of an earlier session; else
    /// [`Reopening::Done`].
    pub fn reopening(&self) -> Reopening {
        self.membership.host_ref().map_or(Reopening::Done, |host| host.reopening())
    }

    /// Returns the directory, if this peer is the host: the peers in the room, or an even sample of a larger one.
    pub fn directory(&self) -> Option<impl Iterator<Item = (&PeerId, &DirectoryEntry)>> {
        self.membership.host_ref().map(|host| host.directory())
    }

    /// Returns the peers in the lobby, if this peer is the host.
    pub fn lobby(&self) -> Option<impl Iterator<Item = crate::lobby::Newcomer>> {
        self.membership.host_ref().map(|host| host.lobby(self.shared.now))
    }

    /// At the host: returns the peers that wait for the floor with their names, the oldest request first. Empty at
    /// other peers.
    pub fn hands(&self) -> Vec<(PeerId, &str)> {
        self.membership.host_ref().map(|host| host.hands()).unwrap_or_default()
    }

    /// Returns this peer's position in the tree.
    fn place(&self) -> TreePosition {
        let ((parent, _), (children, _)) = (self.tree.above(), self.tree.below());
        TreePosition { parent, children, viewers_below: self.tree.viewers_below() }
    }

    fn earliest(&self) -> Option<Time> {
        let times = [
            self.shared.links.next_timeout(),
            self.membership.next_timeout(),
            self.heirs.next_timeout(),
            self.anti_entropy.next_timeout(),
            self.probe.next_timeout(),
            self.election.next_timeout(),
            self.mixing.next_timeout(),
            self.streams.next_timeout(),
            self.succession.next_timeout(),
            self.tree.next_timeout(),
            self.broadcast.next_timeout(),
            self.solo.next_timeout(|peer| self.shared.links.is_up(peer)),
            self.voices.next_timeout(|peer| self.shared.links.is_up(peer)),
            self.uplink.next_timeout(),
            self.tunnels.next_timeout(),
            self.tickets.next_timeout(),
            self.leaving,
            self.decides_at(),
            self.shared.stage.waits_until(),
        ];
        if self.left { None } else { times.into_iter().flatten().min() }
    }

    /// Delivers notes, and runs due timers once, until nothing more follows from the input.
    fn settle(&mut self) {
        self.hand_round();
        self.due = self.earliest();
        if self.due.is_some_and(|due| due <= self.shared.now) {
            self.on_time();
            self.hand_round();
        }
        self.renew_sources();
        self.due = self.earliest();
        self.check_invariants();
    }

    fn on_time(&mut self) {
        self.shared.links.on_time(self.shared.now, &mut self.shared.out, &mut self.shared.rng);
        self.membership.on_time(&mut self.shared.view(), &self.tree);
        self.tickets_on_time();
        self.heirs.on_time(&mut self.shared.view());
        if self.decides_at().is_some_and(|at| at <= self.shared.now) {
            self.shared.mandate.host_missed(&mut self.shared.out);
        }
        if let Some(roster) = self.shared.stage.take_waiting(self.shared.now) {
            self.shared.out.note(Note::Proven(roster, true));
        }
        self.anti_entropy.on_time(&mut self.shared.view());
        if let Some(report) = self.probe.on_time(&mut self.shared.view()) {
            self.election.report(&self.shared.view(), report);
        }
        self.tunnels.on_time(&mut self.shared.view());
        self.succession.on_time(&mut self.shared.view());
        self.mixing.update(&mut self.shared.view());
        self.tree.on_time(&mut self.shared.view());
        let (parent, _) = self.tree.above();
        self.broadcast.on_time(&mut self.shared.view(), parent);
        self.update_solo();
        self.uplink.on_time(&mut self.shared.view(), &self.tree, self.probe.is_at_work());
        self.update_uplink();
        if self.leaving.is_some() {
            self.leave_when_done();
        }
    }

    /// Returns when an outcome that waits for the host's word counts without it, since a peer on stage misses the host.
    fn decides_at(&self) -> Option<Time> {
        let Shared { me, stage, mandate, .. } = &self.shared;
        let waits = mandate.waits_for_host() && stage.contains(me);
        stage.misses_host_at(*me).filter(|_| waits)
    }

    /// Updates the peers with streams that count.
    fn renew_sources(&mut self) {
        let now = self.shared.now;
        let relations = Relations {
            makes_program: self.mixing.is_mixing(),
            on_stage: self.shared.stage.contains(&self.shared.me),
            feeders: self.tree.feeders(now),
            mixers: self.mixing.handing_over(),
            forwarding: self.solo.asked().chain(self.voices.asked()).collect(),
        };
        self.streams.renew(&mut self.shared.out, now, &self.shared.mandate, relations);
    }

    /// Handles a peer's announcement of a stream.
    fn announced(&mut self, from: PeerId, stream: StreamUse) {
        self.renew_sources();
        let Shared { config, stage, mandate, out, .. } = &mut self.shared;
        self.streams.announced(out, &config.room, stage, mandate, from, stream);
    }

    /// Checks the announcements without proof again, after a change of roster or mandate.
    fn update_streams(&mut self) {
        self.renew_sources();
        let Shared { config, stage, mandate, out, .. } = &mut self.shared;
        self.streams.update(out, &config.room, stage, mandate);
    }

    /// Propagates a changed estimate of this peer's uplink.
    fn update_uplink(&mut self) {
        let known = self.uplink.known();
        if std::mem::replace(&mut self.shared.uplink, known) != known {
            self.tree.limits_changed(&mut self.shared.view());
        }
    }

    /// Records a sign of life of a peer.
    fn heard(&mut self, peer: PeerId) {
        self.shared.stage.heard(self.shared.now, peer);
        if let Some(host) = self.membership.host() {
            host.heard(self.shared.now, peer);
        }
        self.heirs.heard(&self.shared.view(), peer);
    }

    /// Continues a polite leave: first the standby takes over, then the children find other parents, then
    /// this peer leaves.
    fn leave_when_done(&mut self) {
        let still_needed = self.mixing.is_mixing() && self.leaving.is_some_and(|at| at > self.shared.now);
        if still_needed || self.left {
            return;
        }
        if self.heir_until.is_some_and(|until| until > self.shared.now) && self.membership.host().is_some() {
            self.leaving = Some(self.shared.now + 50 * MS);
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
            Some(host) if host != self.shared.me => self.shared.out.send(host, MemberMessage::Leave),
            _ => {}
        }
        self.shared.out.event(Event::HandedOver);
    }

    /// Returns the fill levels of all lists and maps. None grows with the audience, with time, or by what
    /// peers send.
    pub fn bounds(&self) -> impl Iterator<Item = Bound> {
        let own = [Bound::new("peers' violations", self.violations.len(), VIOLATIONS_KEPT)];
        let early = Bound::new("keys without a roster", self.early_keys.len(), access::EARLY_KEYS_MAX);
        let requests = Bound::new(
            "requests for links before a roster",
            self.early_requests.len(),
            access::EARLY_REQUESTS_MAX,
        );
        let own = own.into_iter().chain(self.tickets.bounds()).chain([early, requests]);
        let bounds = own.into_iter().chain(self.shared.links.bounds()).chain(self.router.bounds());
        let bounds = bounds.chain(self.shared.stage.bounds()).chain(self.shared.mandate.bounds());
        let bounds = bounds.chain(self.membership.bounds()).chain(self.probe.bounds());
        let bounds = bounds.chain(self.election.bounds()).chain(self.mixing.bounds());
        let bounds = bounds
            .chain(self.heirs.bounds())
            .chain(self.anti_entropy.bounds())
            .chain(self.broadcast.bounds());
        let bounds = bounds.chain(self.streams.bounds()).chain(self.tree.bounds());
        bounds
            .chain(self.uplink.bounds())
            .chain(self.solo.bounds())
            .chain(self.voices.bounds())
            .chain(self.rates.bounds())
            .chain(self.tunnels.bounds())
    }

    /// Reports broken invariants from now on as [`Event::InvariantBroken`], each once, in every build. A brain
    /// that isn't told so panics in builds with debug assertions, as tests and simulators want it. A room of
    /// users goes on: whatever an attacker has found, it must not be a way to end rooms.
    pub fn report_broken_invariants(&mut self) {
        self.reports = true;
    }

    /// Checks the invariants that hold after every input.
    fn check_invariants(&mut self) {
        let checks = self.reports || cfg!(debug_assertions);
        // a mutated brain is judged from outside, by the checkers
        if !checks || self.shared.mandate.mutated.at_all() {
            return;
        }
        let Some(broken) = self.broken_invariant() else { return };
        assert!(self.reports, "{broken}");
        if self.reported.len() < REPORTED_MAX && !self.reported.contains(&broken) {
            self.shared.out.event(Event::InvariantBroken { text: broken.clone() });
            self.reported.push(broken);
        }
    }

    /// Returns an invariant that doesn't hold, in words.
    fn broken_invariant(&self) -> Option<String> {
        let path = self.tree.path();
        if path.iter().enumerate().any(|(at, id)| path[..at].contains(id)) {
            return Some("a path has a cycle".to_owned());
        }
        if path.last().is_some_and(|last| *last != self.shared.me.short()) {
            return Some("the path ends elsewhere".to_owned());
        }
        if let Some(Bound { of, max, .. }) = self.bounds().find(|bound| bound.len > bound.max) {
            return Some(format!("more than {max} {of}"));
        }
        if self.tree.is_served(&self.shared.me) {
            return Some("the peer feeds itself".to_owned());
        }
        let standbys = &self.shared.mandate.standbys;
        let doubled = self.shared.mandate.mixers.iter().any(|mixer| standbys.contains(mixer));
        doubled.then(|| "a mixer is a standby".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounded::Text;
    use crate::id::RoomId;
    use crate::io::Output;
    use crate::message::Consent;

    /// A brain with a list past its bound.
    fn beyond() -> RoomState {
        let keys = Keypair::from_seed(&[2; 32]);
        let config = RoomConfig {
            room: RoomId([1; 16]),
            root: keys.id(),
            host: None,
            name: Text::truncated("Ada"),
            speaks: false,
            views: true,
            no_solo: false,
            consent: Consent::Never,
            relays: true,
            children_max: 8,
            uplink_bps_max: None,
            carries: true,
            sends_trains: true,
            key: None,
            unix_us_at_zero: 1_700_000_000_000_000,
        };
        let mut room = RoomState::new(keys, config, 7, Time(0));
        room.violations.extend((0..=VIOLATIONS_KEPT).map(|at| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&at.to_be_bytes());
            (PeerId(id), violations::Violations::one())
        }));
        room
    }

    #[test]
    fn a_broken_invariant_is_told_once_where_users_are_and_ends_no_room() {
        let mut room = beyond();
        room.report_broken_invariants();
        (1..10).for_each(|ms| room.handle(Time(ms * MS), Input::Timeout));
        let told: Vec<_> = std::iter::from_fn(|| room.poll_output())
            .filter_map(|output| match output {
                Output::Event(Event::InvariantBroken { text: what }) => Some(what),
                _ => None,
            })
            .collect();
        assert_eq!(told, ["more than 256 peers' violations"]);
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "more than 256 peers' violations")]
    fn a_broken_invariant_ends_a_test() {
        beyond().handle(Time(MS), Input::Timeout);
    }
}
