//! The loop that moves bytes and time: inputs to the brain, its outputs to links, rendezvous and media.
//!
//! One task per room. It never waits for anything but the next input; what may take long runs elsewhere. After
//! each input the brain's outputs are carried out to the last one.

mod carry;
pub(crate) mod heartbeats;
pub(crate) mod letters;
pub(crate) mod peers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plenary_media::Clock;
use plenary_media::mixer::EffortChange;
use plenary_proto::bounded::List;
use plenary_proto::message::{DATA_LEN_MAX, Delivery, Entry, LinkKind, Message};
use plenary_proto::{Command, DataRefusal, Event, Input, Mode, PeerId, RoomState, Time};
use plenary_rtc::{Command as LinkCommand, Events as LinkEvents, LinkId, LinkStats, Links};
use plenary_signal::{Signal, SignalEvent};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::desk::{Desk, Tile};
use crate::event::{OnEvent, RoomEvent};
use crate::flow::{Flow, Notice};
use crate::layout;
use crate::loss::SoundLoss;
use crate::publish::Publisher;
use crate::rate::ProgramRate;
use crate::snapshot::{ConnectionState, RoomSnapshot};
use crate::thin::Thinning;
use heartbeats::Heartbeats;
use letters::Letters;
use peers::Peers;

/// Watches are looked at, and holes given up, this often.
const TICK: Duration = Duration::from_millis(25);
/// The application's snapshot is renewed this often at most.
const SNAPSHOT_US: u64 = 200_000;
/// The brain is told so often how the program suffers here: what it requests for. As often what the lines carry is looked at.
const TROUBLE_US: u64 = 1_000_000;
/// So long after a stage is to be mixed no mixer passes a speaker's frames through any more: a little more than it waits
/// for pictures.
const COMPOSED_US: u64 = 2_000_000;
/// Somebody on stage whom the others haven't reached for this long is cut off; as long again passes while they are
/// silent on a link that stands. A guess: shorter than ICE takes to give a link up.
const UNHEARD_US_MAX: u32 = 2_500_000;
/// Somebody who left politely is given this long for what it said to get out.
const FAREWELL: Duration = Duration::from_millis(100);

/// What the application requests of the driver.
pub(crate) enum Request {
    Command(Command),
    /// Publish from now on.
    Publish(Publisher),
    /// UDP payload sent towards each child so far, and by all links.
    Traffic(oneshot::Sender<Traffic>),
    /// Tell the room something, if it may be told.
    Tell(Delivery, List<u8, DATA_LEN_MAX>, oneshot::Sender<Result<(), DataRefusal>>),
    Leave(oneshot::Sender<()>),
}

/// UDP payload this peer sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// On links to viewers while they were fed by us, all of it: media, repairs, heads, checks.
    pub to_children_bytes: u64,
    /// On all links.
    pub bytes: u64,
}

/// Everything the loop owns.
pub(crate) struct Driver {
    pub(crate) brain: RoomState,
    pub(crate) me: PeerId,
    pub(crate) clock: Clock,
    pub(crate) flow: Arc<Flow>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) links: Arc<Links>,
    pub(crate) link_events: LinkEvents,
    pub(crate) signal: Option<Arc<dyn Signal>>,
    pub(crate) letters: Letters,
    pub(crate) peers: Peers,
    pub(crate) heartbeats: Heartbeats,
    pub(crate) publisher: Option<Publisher>,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) events: broadcast::Sender<RoomEvent>,
    pub(crate) on_event: Option<OnEvent>,
    pub(crate) snapshot: watch::Sender<RoomSnapshot>,
    pub(crate) joined: Option<oneshot::Sender<Result<(), crate::Error>>>,
    /// The host has let us in; a host lets itself in.
    pub(crate) admitted: bool,
    /// The rendezvous was reached at least once.
    pub(crate) reached: bool,
    pub(crate) snapshot_due_us: u64,
    pub(crate) trouble_due_us: u64,
    pub(crate) connection: ConnectionState,
    /// When somebody on stage was last known to be connected with others.
    pub(crate) linked_at: Option<Time>,
    pub(crate) left: bool,
    pub(crate) farewell: Vec<oneshot::Sender<()>>,
    pub(crate) traffic: BTreeMap<LinkId, (LinkStats, Traffic)>,
    pub(crate) past: Traffic,
    /// How many parents have fed us, one after the other.
    pub(crate) parents_had: u32,
    pub(crate) rate: ProgramRate,
    pub(crate) thinning: Thinning,
    pub(crate) requested_video: Option<plenary_proto::message::VideoRequest>,
    /// How the stage is served.
    pub(crate) mode: Mode,
    pub(crate) mode_since_us: u64,
    /// On the way of our own stream.
    pub(crate) own_loss: SoundLoss,
    /// On the ways of our program.
    pub(crate) program_loss: SoundLoss,
    /// The brain has asked for the links' round trips: it is told when all else is carried out.
    pub(crate) round_trips_wanted: bool,
}

enum Happened {
    Request(Option<Request>),
    Link(plenary_rtc::Event),
    Signal(Option<SignalEvent>),
    Notice(Notice),
    /// A frame that was held for the application is due.
    Due,
    Tick,
    Timeout,
}

impl Driver {
    /// Runs until the room is left or every handle to it is gone.
    pub(crate) async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        self.carry_out_all();
        while !self.left {
            let wake = self.brain.next_timeout();
            let happened = self.next(&mut tick, wake).await;
            match happened {
                Happened::Request(Some(request)) => self.request(request),
                // nobody holds the room any more
                Happened::Request(None) => break,
                Happened::Link(event) => self.link_event(event),
                Happened::Signal(Some(event)) => self.signal_event(event),
                Happened::Signal(None) => self.signal = None,
                Happened::Notice(notice) => self.input(notice.into()),
                Happened::Due => self.flow.hand_over_due(),
                Happened::Tick => self.tick(),
                Happened::Timeout => self.input(Input::Timeout),
            }
        }
        Box::pin(self.end()).await;
    }

    async fn next(&mut self, tick: &mut tokio::time::Interval, wake: Option<Time>) -> Happened {
        let now = self.now();
        let wait = wake.map_or(Duration::from_secs(3600), |wake| Duration::from_micros(wake.since(now)));
        let signal = self.signal.clone();
        tokio::select! {
            biased;
            notice = self.flow.next_notice() => Happened::Notice(notice),
            Some(event) = self.link_events.next() => Happened::Link(event),
            event = async { match &signal {
                Some(signal) => signal.next().await,
                None => std::future::pending().await,
            } } => Happened::Signal(event),
            request = self.requests.recv() => Happened::Request(request),
            () = self.flow.until_due() => Happened::Due,
            _ = tick.tick() => Happened::Tick,
            () = tokio::time::sleep(wait) => Happened::Timeout,
        }
    }

    fn now(&self) -> Time {
        self.flow.time(self.clock.now_us())
    }

    /// One input, and everything that follows.
    pub(crate) fn input(&mut self, input: Input) {
        self.brain.handle(self.now(), input);
        self.carry_out_all();
    }

    fn carry_out_all(&mut self) {
        while let Some(output) = self.brain.poll_output() {
            self.carry_out(output);
        }
        if std::mem::take(&mut self.round_trips_wanted) {
            let rtts_us = self.heartbeats.rtts_us();
            self.input(Input::RoundTrips(rtts_us));
        }
    }

    fn request(&mut self, request: Request) {
        match request {
            Request::Command(command) => self.input(Input::Command(command)),
            Request::Tell(delivery, bytes, reply) => {
                let may = self.brain.may_publish(self.now(), delivery, bytes.len());
                if may.is_ok() {
                    self.input(Input::Command(Command::Publish(delivery, bytes)));
                }
                let _ = reply.send(may);
            }
            Request::Publish(publisher) => {
                let own = publisher.own(&self.flow, self.me);
                self.flow.state().own = Some(own);
                if let Some(picture) = self.requested_video {
                    publisher.set_video(picture);
                }
                if let Some(percent) = self.own_loss.percent() {
                    publisher.set_loss(percent);
                }
                self.publisher = Some(publisher);
                self.leave_silence_out();
                // whom we speak to was said before there was anything to say
                let to = std::mem::take(&mut self.peers.sending_to);
                self.send_own(to);
            }
            Request::Traffic(reply) => {
                let _ = reply.send(self.traffic());
            }
            Request::Leave(reply) => {
                self.farewell.push(reply);
                self.input(Input::Command(Command::Leave));
            }
        }
    }

    /// Tells the brain what the watches say now.
    pub(crate) fn say_verdicts(&mut self) {
        let now = self.now();
        let verdicts = self.flow.state().watches.verdicts(now);
        for (peer, verdict) in verdicts {
            self.input(Input::Verdict { peer, verdict });
        }
    }

    fn tick(&mut self) {
        let requests = self.flow.on_time();
        requests.iter().for_each(|peer| self.heartbeats.ask_head(&self.flow, peer));
        self.say_verdicts();
        self.heartbeats.on_time(&self.flow, &self.peers, &self.brain);
        if self.flow.take_own_key_wanted()
            && let Some(publisher) = &self.publisher
        {
            publisher.want_key();
        }
        if self.desk.tiles_moved() {
            self.call_home_again();
        }
        for EffortChange { effort, why } in self.desk.take_efforts() {
            self.emit(RoomEvent::MixerEffort { effort, why });
        }
        if self.desk.update() {
            self.input(Input::Warm);
        }
        for peer in self.peers.take_heard(&self.flow) {
            self.input(Input::Heard(peer));
        }
        self.say_who_speaks();
        self.count_traffic();
        let now_us = self.clock.now_us();
        if now_us >= self.snapshot_due_us {
            self.renew_snapshot();
        }
        if now_us >= self.trouble_due_us {
            self.trouble_due_us = now_us + TROUBLE_US;
            let suffered = self.flow.take_suffered(self.brain.fps_wanted());
            if suffered > 0 {
                self.input(Input::Trouble(suffered));
            }
            self.follow_rate();
            self.thin_out();
            let links = self.peers.all_links().into_iter();
            let rtts_us = links.filter_map(|link| Some((link, self.links.stats(link)?.rtt_us?)));
            self.flow.set_rtts_us(&rtts_us.collect());
            self.follow_loss();
            self.leave_silence_out();
            if self.desk.falls_short() {
                self.input(Input::Overloaded);
            }
        }
    }

    /// At a mixer: the program's picture costs what viewers' lines carry.
    fn follow_rate(&mut self) {
        if !self.desk.is_mixing() {
            self.rate = ProgramRate::default();
            return;
        }
        let links = self.served();
        let (wanted_bps, sent_bps) = self.desk.rates_bps();
        let rate_bps = self.rate.observe(wanted_bps, sent_bps, &links, &self.thinning.thin());
        if rate_bps != sent_bps {
            tracing::debug!(
                rate_bps,
                wanted_bps,
                "the program's rate follows what its first viewers' lines carry"
            );
            self.desk.set_rate(rate_bps);
            self.call_home_again();
        }
    }

    /// Children whose lines don't carry all pictures get fewer; at a mixer those for whom the program isn't made smaller.
    fn thin_out(&mut self) {
        let links: Vec<LinkId> = self.flow.state().program().links().collect();
        let links = self.counted(links);
        let rate = self.desk.is_mixing().then(|| self.desk.rates_bps().1);
        let may = |link| rate.is_none_or(|sent_bps| self.rate.leaves_behind(link, sent_bps));
        let thin = self.thinning.observe(&links, may);
        self.flow.state().program().set_thin(&thin);
    }

    /// The first viewers' links, and what they have counted.
    fn served(&self) -> Vec<(LinkId, LinkStats)> {
        let served = self.flow.state().program().viewer_links().collect();
        self.counted(served)
    }

    fn counted(&self, links: Vec<LinkId>) -> Vec<(LinkId, LinkStats)> {
        links.into_iter().filter_map(|link| Some((link, self.links.stats(link)?))).collect()
    }

    /// Speakers leave silence out where they are mixed, but not where their own frames are the program: that has no gaps.
    pub(super) fn leave_silence_out(&self) {
        let composed = self.clock.now_us().saturating_sub(self.mode_since_us) >= COMPOSED_US;
        if let Some(publisher) = &self.publisher {
            publisher.set_dtx(self.mode == Mode::Mixer && composed);
        }
    }

    /// Sound bears as much of what may get lost a second time as its ways have it.
    fn follow_loss(&mut self) {
        let link = |peer: &PeerId| self.peers.link(peer, LinkKind::Peer);
        let own = self.peers.sending_to.iter().filter_map(|(peer, _)| link(peer));
        let own = own.filter_map(|link| Some((link, self.links.stats(link)?)));
        if let (Some(percent), Some(publisher)) =
            (self.own_loss.observe(&own.collect::<Vec<_>>()), &self.publisher)
        {
            publisher.set_loss(percent);
        }
        let served = if self.desk.is_mixing() { self.served() } else { Vec::new() };
        if let Some(percent) = self.program_loss.observe(&served) {
            self.desk.set_loss(percent);
        }
    }

    fn say_who_speaks(&mut self) {
        let speakers = self.speakers();
        let Some(said) = self.flow.take_speaking(&speakers) else { return };
        let dominant = speakers.iter().find(|peer| said.dominant == Some(peer.csrc())).copied();
        let speaking = speakers.into_iter().filter(|peer| said.now.contains(&peer.csrc())).collect();
        self.emit(RoomEvent::Speaking { dominant, speaking });
    }

    fn speakers(&self) -> Vec<PeerId> {
        let entries = self.brain.roster().map_or(&[][..], |roster| &roster.entries);
        entries.iter().filter(|entry| entry.speaks).map(|entry| entry.peer).collect()
    }

    pub(crate) fn renew_snapshot(&mut self) {
        let linked = self.is_linked();
        self.renew_snapshot_as(self.connection.next(linked));
    }

    fn renew_snapshot_as(&mut self, connection: ConnectionState) {
        self.snapshot_due_us = self.clock.now_us() + SNAPSHOT_US;
        let entries: Vec<Entry> =
            self.brain.roster().map(|roster| roster.entries.to_vec()).unwrap_or_default();
        let snapshot = RoomSnapshot::new(
            &self.brain.snapshot(),
            &entries,
            self.brain.roster(),
            self.peers.home(),
            self.parents_had.saturating_sub(1),
            connection,
        );
        self.snapshot.send_if_modified(|known| {
            let changed = *known != snapshot;
            *known = snapshot;
            changed
        });
        if std::mem::replace(&mut self.connection, connection) != connection {
            self.emit(RoomEvent::Connection(connection));
        }
    }

    /// Whether a viewer is fed, and whoever is on stage hears of somebody else there.
    fn is_linked(&mut self) -> bool {
        let entries = self.brain.roster().map_or(&[][..], |roster| &roster.entries);
        if !entries.iter().any(|entry| entry.peer == self.me) {
            let brain = self.brain.snapshot();
            return brain.parent.is_some() || brain.mixing;
        }
        let mut others = entries.iter().filter(|entry| entry.peer != self.me && !entry.away).peekable();
        let hears = |peer| self.silent_us(peer).is_some_and(|silent_us| silent_us < UNHEARD_US_MAX);
        let now = self.now();
        if others.peek().is_none() || others.any(|entry| hears(&entry.peer)) {
            self.linked_at = Some(now);
        }
        // whoever has just come to one that was alone has yet to be linked
        self.linked_at.is_some_and(|at| now.since(at) < u64::from(UNHEARD_US_MAX))
    }

    /// Names and format for the mixing desk.
    pub(crate) fn renew_tiles(&mut self, speakers: &[(PeerId, u8)]) {
        let Some(roster) = self.brain.roster() else { return };
        let name = |peer: &PeerId| {
            let entry = roster.entries.iter().find(|entry| entry.peer == *peer);
            entry.map(|entry| entry.name.to_string()).unwrap_or_default()
        };
        let tiles = speakers.iter().map(|(peer, _)| Tile { peer: *peer, name: name(peer) }).collect();
        self.desk.set_tiles(tiles, roster.program, layout::from_roster(&roster.layout));
    }

    pub(crate) fn emit(&mut self, event: RoomEvent) {
        if let Some(on_event) = &self.on_event {
            on_event(&event);
        }
        // nobody listening is fine
        let _ = self.events.send(event);
    }

    /// The first answer to a joiner, if it is still waiting for one.
    pub(crate) fn answer_join(&mut self, result: Result<(), crate::Error>) {
        if let Some(joined) = self.joined.take() {
            let _ = joined.send(result);
        }
    }

    /// Nobody can come to a host whose rendezvous was never reached: it has no room yet.
    pub(crate) fn answer_once_in(&mut self) {
        if self.admitted && self.reached {
            self.answer_join(Ok(()));
        }
    }

    pub(crate) fn count_traffic(&mut self) {
        let served: Vec<LinkId> = self.flow.state().program().viewer_links().collect();
        for link in self.peers.all_links() {
            let Some(stats) = self.links.stats(link) else { continue };
            let (known, counted) = self.traffic.entry(link).or_default();
            let sent = stats.udp_bytes_sent.saturating_sub(known.udp_bytes_sent);
            counted.bytes += sent;
            if served.contains(&link) {
                counted.to_children_bytes += sent;
            }
            *known = stats;
        }
    }

    /// A link is gone: what it sent stays counted.
    pub(crate) fn settle_traffic(&mut self, link: LinkId) {
        if let Some((_, counted)) = self.traffic.remove(&link) {
            self.past.bytes += counted.bytes;
            self.past.to_children_bytes += counted.to_children_bytes;
        }
    }

    fn traffic(&mut self) -> Traffic {
        self.count_traffic();
        self.traffic.values().fold(self.past, |sum, (_, counted)| Traffic {
            to_children_bytes: sum.to_children_bytes + counted.to_children_bytes,
            bytes: sum.bytes + counted.bytes,
        })
    }

    /// Leaves nothing behind: links closed, threads ended, the rendezvous told.
    async fn end(mut self) {
        self.requests.close(); // whoever requests from now on is told that the room is closed
        if self.left {
            tokio::time::sleep(FAREWELL).await;
        }
        self.publisher = None;
        let desk = self.flow.set_desk(None).unwrap_or_else(|| self.desk.clone());
        let span = self.flow.span().clone();
        let ended = tokio::task::spawn_blocking(move || span.in_scope(|| desk.close())).await;
        if let Err(error) = ended {
            tracing::warn!("the mixing desk did not close: {error}");
        }
        self.links.close().await;
        self.flow.close();
        if let Some(signal) = &self.signal {
            signal.close().await;
        }
        self.renew_snapshot_as(ConnectionState::Closed);
        self.emit(RoomEvent::Closed);
        self.answer_join(Err(crate::Error::Closed));
        for farewell in std::mem::take(&mut self.farewell) {
            let _ = farewell.send(());
        }
    }

    /// A control message straight to a linked peer.
    pub(crate) fn control(&self, to: &PeerId, message: &Message) {
        if let (Some(link), Some(sending)) = (self.peers.link(to, LinkKind::Peer), self.flow.sending()) {
            sending.control(link, message);
        }
    }

    pub(crate) fn submit(&self, command: LinkCommand) {
        if let Some(sending) = self.flow.sending() {
            sending.submit(command);
        }
    }

    /// For how long nothing has come from a peer that was ever heard.
    pub(crate) fn silent_us(&self, peer: &PeerId) -> Option<u32> {
        let last = self.flow.state().watches.last(peer)?;
        Some(u32::try_from(self.now().since(last)).unwrap_or(u32::MAX))
    }
}

/// Whether an admission or refusal settles the joiner's wait.
pub(crate) fn settles(event: &Event) -> Option<Result<(), crate::Error>> {
    match event {
        Event::Admitted => Some(Ok(())),
        Event::Refused(refusal) => Some(Err((*refusal).into())),
        _ => None,
    }
}
