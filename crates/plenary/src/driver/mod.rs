//! The event loop of a room: it moves bytes and time between links, rendezvous, application and body.
//!
//! One task per room. It waits only for the next event; slow work runs elsewhere. Everything that follows from an event
//! is carried out before the next one.

mod events;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use plenary_body::{
    Body, BodyEvent, Contact, Envelope, In, Letter, Letters, Notice, Out, Outs, TICK, Traffic,
};
use plenary_media::{Clock, CodecBench};
use plenary_proto::bounded::List;
use plenary_proto::identity::MediaKind;
use plenary_proto::message::{DATA_LEN_MAX, Delivery, Fingerprints, Heartbeat, Message, loose_from_bytes};
use plenary_proto::{Address, Command, DataRefusal, Event, Input, PeerId, Tally, Via};
use plenary_rtc::{Channel, DownReason, Event as LinkEvent, Events as LinkEvents, LinkId, Links};
use plenary_signal::{Address as SignalAddress, Refusal, Rendezvous, Signal, SignalError, SignalEvent};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::benches::{Benches, Found};
use crate::event::{CodecOutcome, CodecUse, End, OnEvent, RoomEvent};
use crate::flow::Flow;
use crate::line_share::outflow_bytes_per_s;
use crate::publish::Publisher;
use crate::random_bytes;
use crate::room::LEAVE_MAX;
use crate::snapshot::{ConnectionState, Member, RoomSnapshot};
use crate::threads::{CLOSE_MAX, aside, ended_by};

/// Minimum interval of the application's snapshots.
const SNAPSHOT_US: u64 = 200_000;
/// Time for which a host that has ended its room stays, so that it can tell newcomers with unfinished links. A guess:
/// a link through a rendezvous.
const ENDING_US: u64 = 1_000_000;
/// Time that the last messages of a peer that leaves have to get out.
const FAREWELL: Duration = Duration::from_millis(100);

/// Pause of this loop after which the other ends have given all links up: the silence after which a link is lost
/// ([`DownReason::Lost`]).
const STOOD_STILL_US: u64 = 5_000_000;

/// Interval at which the machine's addresses are looked at. A guess.
const LOOK_US: u64 = 1_000_000;

/// Request of the application to the driver.
pub(crate) enum Request {
    Command(Command),
    /// A command of the host's application; answered when the brain has it.
    HostCommand(Command, oneshot::Sender<()>),
    /// Publishes from now on, under that id.
    Publish(u64, Publisher),
    /// Ends that publisher; answered when its threads have ended.
    Unpublish(u64, Option<oneshot::Sender<()>>),
    /// The application holds a further stream of voices, or one less.
    Voices(bool),
    /// The application makes a further recording, or one less: their number has changed.
    Records,
    /// Asks for the traffic so far.
    Traffic(oneshot::Sender<Traffic>),
    /// Publishes application data, if this peer may.
    Tell(Delivery, List<u8, DATA_LEN_MAX>, oneshot::Sender<Result<(), DataRefusal>>),
    Leave(oneshot::Sender<()>),
    /// Closes the room at once.
    Close,
}

/// State of the event loop.
pub(crate) struct Driver {
    pub(crate) me: PeerId,
    pub(crate) clock: Clock,
    pub(crate) flow: Arc<Flow>,
    pub(crate) links: Arc<Links>,
    pub(crate) link_events: LinkEvents,
    pub(crate) signal: Option<Arc<dyn Signal>>,
    pub(crate) letters: Letters,
    /// Fingerprints of open links without the other end's proof of identity; `None` until the end of a link with a
    /// false proof.
    pub(crate) unproven: BTreeMap<LinkId, Option<Fingerprints>>,
    /// What this peer publishes, with the ids of the tracks: at most three, a camera, a screen and a voice.
    pub(crate) publishers: Vec<(u64, Publisher)>,
    /// Publishers that end.
    pub(crate) ending: JoinSet<()>,
    /// Number of streams of voices that the application holds.
    pub(crate) voices: usize,
    /// Number of recordings that the application makes.
    pub(crate) recordings: Arc<AtomicUsize>,
    /// Number of viewers that record, as the application was told.
    pub(crate) recorders: u32,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) events: broadcast::Sender<RoomEvent>,
    pub(crate) on_event: Option<OnEvent>,
    pub(crate) snapshot: watch::Sender<RoomSnapshot>,
    pub(crate) joined: Option<oneshot::Sender<Result<(), crate::Error>>>,
    /// Version that a notice named while the host had not answered; 0 for none.
    pub(crate) noticed: Arc<AtomicU8>,
    /// Whether the host has answered that this peer waits in the lobby.
    pub(crate) in_lobby: Arc<AtomicBool>,
    /// Whether the host has admitted this peer; a host admits itself.
    pub(crate) admitted: bool,
    /// Whether the rendezvous was reached at least once.
    pub(crate) reached: bool,
    pub(crate) snapshot_due_us: u64,
    /// When the machine's addresses are looked at again.
    pub(crate) look_due_us: u64,
    /// Whether the rendezvous is connected.
    pub(crate) is_up: bool,
    /// What the application was told last of the rendezvous.
    pub(crate) told_up: Option<bool>,
    /// Generation of the newest invite that the application knows of.
    pub(crate) generation: u16,
    /// Time of the last tick.
    pub(crate) ticked_us: u64,
    pub(crate) connection: ConnectionState,
    pub(crate) contact: Contact,
    pub(crate) benches: Benches,
    /// Figures of the last election.
    pub(crate) scores: Arc<[Tally]>,
    /// The stage by the last roster.
    pub(crate) members: Vec<Member>,
    /// The peers that speak at present.
    pub(crate) speaking: Vec<PeerId>,
    pub(crate) left: bool,
    /// When a host that has ended its room leaves.
    pub(crate) over_at_us: Option<u64>,
    pub(crate) farewell: Vec<oneshot::Sender<()>>,
    /// When the event loop ends at the latest, once no handle is left or the room is to be closed.
    pub(crate) ends_at: Option<Instant>,
    /// How the room ends, unless something else ends it before.
    pub(crate) end: End,
    pub(crate) ended: watch::Sender<Option<End>>,
    /// Rendezvous that the host itself serves; it ends with the room.
    pub(crate) rendezvous: Option<Rendezvous>,
    /// Uplink bandwidth that this peer may use, bits per second.
    pub(crate) uplink_bps_max: Option<u64>,
}

enum Happened {
    Request(Option<Request>),
    Link(LinkEvent),
    Signal(Option<SignalEvent>),
    Notice(Notice),
    /// A frame that was held for the application is due.
    Due,
    Tick,
    Timeout,
}

impl Driver {
    /// Runs until the room is left or closed; when its last handle is dropped, it leaves. `bench`: this machine's
    /// codec times, if the application stated them.
    pub(crate) async fn run(mut self, bench: Option<CodecBench>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        if let Some(CodecBench { encode_us, decode_us }) = bench {
            self.input(In::Bench { encode_us, decode_us });
        }
        self.input(In::Timeout); // the brain has outputs from the start
        while !self.left && self.ends_at.is_none_or(|at| Instant::now() < at) {
            match self.next(&mut tick).await {
                Happened::Request(Some(request)) => self.request(request),
                Happened::Request(None) if !self.admitted => break, // nobody knows this peer yet
                Happened::Request(None) => {
                    self.ends_at = Some(Instant::now() + LEAVE_MAX);
                    self.input(In::Command(Command::Leave));
                }
                Happened::Link(event) => self.link_event(event),
                Happened::Signal(Some(event)) => self.signal_event(event),
                Happened::Signal(None) => self.signal = None,
                Happened::Notice(notice) => self.input(In::Notice(notice)),
                Happened::Due => self.step(|body, now_us, outs| body.hand_over_due(now_us, outs)),
                Happened::Tick => self.tick().await,
                Happened::Timeout => self.input(In::Timeout),
            }
        }
        Box::pin(self.close()).await;
    }

    async fn next(&mut self, tick: &mut tokio::time::Interval) -> Happened {
        let wake_us = self.flow.read(Body::next_timeout);
        let (clock, signal) = (self.clock, self.signal.clone());
        // links, rendezvous and application frames take turns: which of them is asked first is drawn each time
        let (link_events, flow) = (&mut self.link_events, &self.flow);
        let in_turn = async {
            tokio::select! {
                Some(event) = link_events.next() => Happened::Link(event),
                event = async { match &signal {
                    Some(signal) => signal.next().await,
                    None => std::future::pending().await,
                } } => Happened::Signal(event),
                () = flow.until_due() => Happened::Due,
            }
        };
        tokio::select! {
            // timers and the application first: they come seldom, and would starve behind the links of a busy machine
            biased;
            _ = tick.tick() => Happened::Tick,
            () = async { match wake_us {
                Some(wake_us) => tokio::time::sleep(clock.until(wake_us)).await,
                None => std::future::pending().await,
            } } => Happened::Timeout,
            request = self.requests.recv(), if self.ends_at.is_none() => Happened::Request(request),
            notice = self.flow.notices.next() => Happened::Notice(notice),
            happened = in_turn => happened,
        }
    }

    // ── the body ─────────────────────────────────────────────────────────────────────────────────────────────

    fn input(&mut self, input: In) {
        self.step(|body, now_us, outs| body.handle(now_us, input, outs));
    }

    /// Calls the body, and carries out everything that it asks for.
    fn step<T>(&mut self, act: impl FnOnce(&mut Body, u64, &mut Outs) -> T) -> T {
        let (result, mut outs) = self.flow.step(act);
        loop {
            for key in std::mem::take(&mut outs.keys) {
                self.letters.set_key(&key, self.clock.now_us());
            }
            for envelope in std::mem::take(&mut outs.envelopes) {
                self.send_envelope(envelope);
            }
            if let Some(signal) = self.signal.as_ref().filter(|_| outs.claims) {
                signal.claim();
            }
            for (_, publisher) in &self.publishers {
                outs.capture.iter().for_each(|command| publisher.command(*command));
            }
            for event in std::mem::take(&mut outs.events) {
                self.event(event);
            }
            if outs.bench_wanted {
                self.benches.start();
            }
            if !outs.figures_wanted {
                return result;
            }
            let figures = self.flow.desk.figures();
            ((), outs) = self.flow.step(|body, _, outs| body.set_figures(figures, outs));
        }
    }

    /// Takes the failures of this peer's own codecs and of those that decode for the application. After a
    /// final failure of its encoder or source a track counts as muted.
    fn take_failures(&mut self) {
        let mut failures = self.flow.take_failures();
        for (id, publisher) in &mut self.publishers {
            failures.extend(publisher.take_panic().into_iter().flatten().map(|failure| (Some(*id), failure)));
        }
        let mut withdrawn = false;
        for (track, (what, text, then)) in failures {
            let kind = match what {
                CodecUse::OwnPicture => Some(MediaKind::Video),
                CodecUse::OwnSound => Some(MediaKind::Sound),
                _ => None,
            };
            let publisher = self.publishers.iter_mut().find(|(id, _)| Some(*id) == track);
            if let Some((kind, (_, publisher))) =
                kind.zip(publisher).filter(|_| then == CodecOutcome::Withdrawn)
            {
                publisher.withdraw(kind);
                withdrawn = true;
            }
            self.emit(RoomEvent::CodecFailed { what, text, then });
        }
        if withdrawn {
            self.sources_changed();
        }
    }

    async fn tick(&mut self) {
        self.take_failures();
        let now_us = self.clock.now_us();
        let since_us = now_us.saturating_sub(std::mem::replace(&mut self.ticked_us, now_us));
        if since_us >= STOOD_STILL_US {
            self.stood_still(Duration::from_micros(since_us));
        }
        if now_us >= self.look_due_us {
            self.look_due_us = now_us + LOOK_US;
            self.look_at_addresses();
        }
        match self.benches.take().await {
            Some(Found::Bench(CodecBench { encode_us, decode_us })) => {
                self.input(In::Bench { encode_us, decode_us });
            }
            Some(Found::Failed(text)) => {
                let (what, then) = (CodecUse::Bench, CodecOutcome::Withdrawn);
                self.emit(RoomEvent::CodecFailed { what, text, then });
                self.input(In::CannotMix);
            }
            None => {}
        }
        let (figures, links) = (self.flow.desk.figures(), self.links.clone());
        self.step(|body, now_us, outs| {
            body.set_figures(figures, outs);
            body.tick(now_us, |link| links.stats(link), outs);
        });
        self.left |= self.over_at_us.is_some_and(|at_us| self.clock.now_us() >= at_us);
        if self.clock.now_us() >= self.snapshot_due_us {
            self.renew_snapshot();
        }
    }

    /// Connects anew after the machine has slept, or the process was stopped: links and rendezvous look alive from
    /// here.
    fn stood_still(&mut self, time: Duration) {
        tracing::info!(?time, "this machine has stood still: connecting anew");
        self.emit(RoomEvent::StoodStill(time));
        if let Some(signal) = &self.signal {
            signal.renew();
        }
        self.links.lose_all();
    }

    /// Connects with the rendezvous anew if this machine's network has changed: the connection may go by an address
    /// that is gone, or a network has come that it waits for. The links see to themselves.
    fn look_at_addresses(&mut self) {
        let change = self.links.look_at_addresses();
        if change.gone || (change.come && !self.is_up) {
            tracing::info!(change.gone, change.come, "the addresses of this machine have changed");
            if let Some(signal) = &self.signal {
                signal.renew();
            }
        }
    }

    fn event(&mut self, event: BodyEvent) {
        if let BodyEvent::Brain(event) = &event {
            match events::settles(event) {
                Some(Ok(())) => {
                    self.admitted = true;
                    self.benches.start_first();
                    self.renew_snapshot(); // an admitted peer sees the stage at once
                    self.answer_once_in();
                }
                Some(refused) => self.answer_join(refused),
                None => {}
            }
            match event {
                Event::InLobby => {
                    self.in_lobby.store(true, Ordering::Relaxed);
                    self.noticed.store(0, Ordering::Relaxed);
                }
                Event::Removed => (self.left, self.end) = (true, End::Removed),
                Event::Ended => {
                    self.end = End::HostEnded;
                    let hosts =
                        self.flow.read(|body| body.roster().is_some_and(|roster| roster.host == self.me));
                    if hosts {
                        // peers that are being linked hear of it too
                        self.over_at_us = Some(self.clock.now_us() + ENDING_US);
                    } else {
                        self.left = true;
                    }
                }
                Event::Left => self.left = true,
                _ => {}
            }
            events::log(event);
        }
        if let BodyEvent::Brain(Event::Decided { tallies, .. }) = &event {
            self.scores = tallies.as_slice().into();
        }
        if let BodyEvent::Speaking { speaking, .. } = &event {
            self.speaking = speaking.clone();
        }
        let is_brains = matches!(event, BodyEvent::Brain(_));
        let is_roster = matches!(event, BodyEvent::Brain(Event::Roster { .. }));
        if let Some(event) = events::public(event) {
            self.emit(event);
            if is_brains {
                self.renew_snapshot();
            }
        }
        if is_roster {
            self.report_members();
            self.report_invite();
            let on_stage = self.flow.read(|body| body.brain().is_on_stage());
            self.signal.iter().for_each(|signal| signal.set_on_stage(on_stage));
        }
    }

    // ── the application ──────────────────────────────────────────────────────────────────────────────────────

    fn request(&mut self, request: Request) {
        match request {
            Request::Command(command) => self.input(In::Command(command)),
            Request::HostCommand(command, reply) => {
                self.input(In::Command(command));
                let _ = reply.send(());
            }
            Request::Voices(more) => {
                let before = self.voices > 0;
                self.voices = if more { self.voices + 1 } else { self.voices.saturating_sub(1) };
                if before != (self.voices > 0) {
                    self.input(In::Command(Command::Voices(!before)));
                }
            }
            Request::Records => {
                let records = self.recordings.load(Ordering::Relaxed) > 0;
                self.input(In::Command(Command::Records(records)));
            }
            Request::Tell(delivery, bytes, reply) => {
                let told = self.step(|body, now_us, outs| body.publish_data(delivery, bytes, now_us, outs));
                let _ = reply.send(told);
            }
            Request::Publish(id, publisher) => {
                self.publishers.push((id, publisher));
                self.sources_changed();
            }
            Request::Unpublish(id, reply) => {
                let ends = self.publishers.extract_if(.., |(known, _)| *known == id).next();
                self.sources_changed();
                while self.ending.try_join_next().is_some() {}
                // an encoder may take a picture's time to end, and a source for ever
                let ended = aside("end", move || drop(ends));
                self.ending.spawn(async move {
                    ended_by("a track", ended, Instant::now() + CLOSE_MAX / 2).await;
                    let _ = reply.map(|reply| reply.send(()));
                });
            }
            Request::Traffic(reply) => {
                let links = self.links.clone();
                let traffic = self.step(|body, _, _| body.count_traffic(|link| links.stats(link)));
                let _ = reply.send(traffic);
            }
            Request::Leave(reply) => {
                self.farewell.push(reply);
                self.input(In::Command(Command::Leave));
            }
            Request::Close => self.ends_at = Some(Instant::now()),
        }
    }

    /// Reports what the roster has changed on stage since the last one.
    fn report_members(&mut self) {
        let (members, removed, recorders) = self.flow.read(|body| {
            let members = body.stage().iter().map(|entry| Member::new(entry, &self.speaking, body.agents()));
            let removed = body.roster().map(|roster| roster.access.removed.to_vec()).unwrap_or_default();
            let recorders = body.roster().map_or(0, |roster| roster.recorders);
            (members.collect::<Vec<_>>(), removed, recorders)
        });
        if std::mem::replace(&mut self.recorders, recorders) != recorders {
            self.emit(RoomEvent::ViewersRecord(recorders));
        }
        let before = std::mem::replace(&mut self.members, members);
        for event in events::of_members(&before, &self.members, &removed) {
            self.emit(event);
        }
    }

    /// Reports that the invite was replaced.
    fn report_invite(&mut self) {
        let generation = self.flow.read(|body| body.roster().map(|roster| roster.access.generation));
        if let Some(generation) = generation.filter(|generation| *generation > self.generation) {
            self.generation = generation;
            self.emit(RoomEvent::InviteReplaced);
        }
    }

    fn sources_changed(&mut self) {
        let publishers = self.publishers.iter().map(|(_, publisher)| publisher);
        self.input(In::Sources(Publisher::sources(publishers)));
    }

    fn emit(&mut self, event: RoomEvent) {
        if let Some(on_event) = &self.on_event {
            on_event(&event);
        }
        // an error means that the application doesn't listen
        let _ = self.events.send(event);
    }

    /// Answers a peer that waits to join, once.
    fn answer_join(&mut self, result: Result<(), crate::Error>) {
        if let Some(joined) = self.joined.take() {
            let _ = joined.send(result);
        }
    }

    /// A host's room is open once its rendezvous was reached: no peer can join before.
    fn answer_once_in(&mut self) {
        if self.admitted && self.reached {
            self.answer_join(Ok(()));
        }
    }

    fn renew_snapshot(&mut self) {
        let (now_us, contact) = (self.clock.now_us(), &mut self.contact);
        let linked = self.flow.read(|body| contact.is_linked(body, now_us));
        self.renew_snapshot_as(self.connection.next(linked));
    }

    fn renew_snapshot_as(&mut self, connection: ConnectionState) {
        self.snapshot_due_us = self.clock.now_us() + SNAPSHOT_US;
        let scores = self.scores.clone();
        let snapshot = self.flow.read(|body| RoomSnapshot::new(body, connection, scores, &self.speaking));
        self.share_line(&snapshot);
        self.snapshot.send_if_modified(|known| {
            let changed = *known != snapshot;
            *known = snapshot;
            changed
        });
        if std::mem::replace(&mut self.connection, connection) != connection {
            self.emit(RoomEvent::Connection(connection));
        }
    }

    /// Leaves strangers at this host's rendezvous their part of the uplink, as far as it is known: from this peer's
    /// user, its parents, or the last election.
    fn share_line(&self, snapshot: &RoomSnapshot) {
        let Some(rendezvous) = &self.rendezvous else { return };
        let as_candidate = self.scores.iter().find(|tally| tally.peer == self.me);
        let as_candidate = as_candidate.map(|tally| tally.bandwidth_bps).filter(|bps| *bps > 0);
        let known = [self.uplink_bps_max, snapshot.uplink_bps, as_candidate];
        rendezvous.set_outflow(outflow_bytes_per_s(known.into_iter().flatten().min()));
    }

    // ── links ────────────────────────────────────────────────────────────────────────────────────────────────

    fn link_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Described { link, description } => self.input(In::Described { link, description }),
            LinkEvent::Connected { link, fingerprints } => self.prove(link, fingerprints),
            LinkEvent::Received { link, channel, bytes } => self.received(link, channel, &bytes),
            LinkEvent::Measured { link, train, arrivals } => {
                let bandwidth_bps = arrivals.bandwidth_bps();
                let address = self.links.stats(link).and_then(|stats| stats.remote);
                self.input(In::Measured { link, train, bandwidth_bps, address });
            }
            LinkEvent::TrainRefused { link, train } => self.input(In::TrainRefused { link, train }),
            LinkEvent::Dropped { link, slot, packets } => {
                let of = self.flow.read(|body| body.link_of(link));
                tracing::debug!(?of, slot, packets, "a link is behind: packets were dropped");
            }
            LinkEvent::Down { link, reason } => {
                self.unproven.remove(&link);
                let of = self.flow.read(|body| body.link_of(link));
                tracing::debug!(?of, "link down: {reason}");
                if of.is_some()
                    && matches!(reason, DownReason::NoPort | DownReason::NoSocket(_) | DownReason::TooMany)
                {
                    self.emit(RoomEvent::LinkTrouble(reason.to_string()));
                }
                self.input(In::LinkDown(link));
                let is_abused = matches!(reason, DownReason::Hostile(_) | DownReason::Panicked);
                if let Some((peer, _)) = of.filter(|_| is_abused) {
                    self.input(In::LinkAbused(peer));
                }
            }
            LinkEvent::BulkDrained { .. } => {}
        }
    }

    /// Sends the proof that this peer is at its end of a new link.
    fn prove(&mut self, link: LinkId, fingerprints: Fingerprints) {
        let Some((peer, _)) = self.flow.read(|body| body.link_of(link)) else { return };
        let message = self.letters.prove_link(&peer, &fingerprints);
        self.flow.send(Out::Control { link, message: Box::new(message) });
        self.unproven.insert(link, Some(fingerprints));
    }

    /// Handles the first control message on a link: without the other end's proof the link is closed.
    fn proven(&mut self, link: LinkId, fingerprints: &Fingerprints, bytes: &[u8]) {
        let Some((peer, _)) = self.flow.read(|body| body.link_of(link)) else { return };
        // one piece, the last of its message
        let is_proven = bytes.split_first().is_some_and(|(more, message)| {
            *more == 0 && self.letters.is_link_proven(&peer, fingerprints, message)
        });
        if is_proven {
            self.unproven.remove(&link);
            self.input(In::LinkUp(link));
        } else {
            self.unproven.insert(link, None);
            tracing::warn!(?peer, "a link was closed: its other end doesn't prove who it is");
            self.flow.send(Out::Close { link });
        }
    }

    fn received(&mut self, link: LinkId, channel: Channel, bytes: &Bytes) {
        if let Some(fingerprints) = self.unproven.get(&link).copied() {
            // heartbeats may overtake the proof, and are lost then; what follows a failed proof counts for nothing
            if let Some(fingerprints) = fingerprints.filter(|_| channel == Channel::Control) {
                self.proven(link, &fingerprints, bytes);
            }
            return;
        }
        match channel {
            Channel::Control => {
                let message = self.step(|body, now_us, outs| body.control_piece(now_us, link, bytes, outs));
                if let Some((peer, message)) = message {
                    self.read(peer, &message);
                }
            }
            Channel::Heartbeat => {
                let from = self.step(|body, now_us, outs| body.heartbeat_arrived(now_us, link, bytes, outs));
                let Some(peer) = from else { return };
                if let Some(message) = loose_from_bytes(bytes) {
                    self.read(peer, message);
                } else if let Some(heartbeat) = Heartbeat::from_bytes(bytes) {
                    self.step(|body, now_us, outs| body.heartbeat(now_us, link, heartbeat, outs));
                } else {
                    self.input(In::Misbehaved(peer));
                }
            }
            Channel::Bulk => self.step(|body, now_us, outs| body.bulk_arrived(now_us, link, outs)),
        }
    }

    // ── envelopes ────────────────────────────────────────────────────────────────────────────────────────────

    /// Decodes and verifies a message that came on the link with `from`, and hands it in.
    fn read(&mut self, from: PeerId, bytes: &[u8]) {
        let (flow, now_us) = (&self.flow, self.clock.now_us());
        let letter =
            self.letters.read(from, bytes, now_us, |from, via, message| flow.may_say(from, via, message));
        self.take_letter(letter);
    }

    fn take_letter(&mut self, letter: Letter) {
        match letter {
            Letter::Message { from, via, message } => {
                self.look_for_restart(from, &via);
                self.input(In::Message { from, via, message });
            }
            Letter::OldInvite { from, via, message } => {
                self.look_for_restart(from, &via);
                self.input(In::OldInvite { from, via, message });
            }
            Letter::OtherVersion { from, version, is_notice } => self.other_version(from, version, is_notice),
            Letter::OtherClock => self.emit(RoomEvent::OtherClock),
            Letter::Bad(from) => self.input(In::Misbehaved(from)),
            Letter::Nothing => {}
        }
    }

    /// Reports a restarted peer to the body.
    fn look_for_restart(&mut self, from: PeerId, via: &Via) {
        if *via != Via::Link && self.letters.take_restart(&from) {
            self.input(In::Restarted(from));
        }
    }

    /// Handles a message of another version: the application is told, and the peer, unless it knows. A notice doesn't
    /// answer a peer that waits to join, since any guest can send one: it is the reason if the host answers nothing.
    fn other_version(&mut self, peer: PeerId, version: u8, is_notice: bool) {
        tracing::warn!(?peer, version, "the peer speaks another version of the protocol");
        self.emit(RoomEvent::OtherVersion { peer, version });
        let nonce = random_bytes();
        if is_notice {
            if !self.in_lobby.load(Ordering::Relaxed) {
                self.noticed.store(version, Ordering::Relaxed);
            }
        } else if let Some(sealed) = self.letters.seal_notice(peer, self.clock.now_us(), nonce)
            && let Some(signal) = &self.signal
        {
            // the rendezvous may be gone meanwhile; the peer asks again
            let _ = signal.send(SignalAddress::Peer(peer), Bytes::from(sealed));
        }
    }

    fn send_envelope(&mut self, envelope: Envelope) {
        let now_us = self.clock.now_us();
        match envelope {
            Envelope::Signal { to, message } => {
                let (recipient, address) = match to {
                    Address::Host => (None, SignalAddress::Host),
                    Address::Peer(peer) => (Some(peer), SignalAddress::Peer(peer)),
                };
                let Some(signal) = &self.signal else { return };
                if let Some(sealed) = self.letters.seal(recipient, &message, now_us, random_bytes())
                    && let Err(error) = signal.send(address, Bytes::from(sealed))
                {
                    tracing::debug!("an envelope was not taken: {error}");
                }
            }
            Envelope::Relay { route, message } => {
                let sealed = self.letters.seal(Some(route.to), &message, now_us, random_bytes());
                if let Some(out) = sealed.and_then(|sealed| route.carry(sealed)) {
                    self.flow.send(out);
                }
            }
        }
    }

    /// Goes by the clock of the rendezvous from now on, if this machine's differs.
    fn told_time(&mut self, unix_s: u64) {
        let Some((later_s, rendezvous_later_s)) = self.letters.told_time(self.clock.now_us(), unix_s) else {
            return;
        };
        tracing::info!(rendezvous_later_s, "the rendezvous tells another time");
        self.emit(RoomEvent::OwnClock { ahead_s: rendezvous_later_s.saturating_neg() });
        self.input(In::Brain(Box::new(Input::RoomTime { later_s })));
    }

    /// Tells the application whether the rendezvous is reachable, once for each outage.
    fn tell_rendezvous(&mut self, up: bool, why: Option<String>) {
        if self.told_up.replace(up) != Some(up) {
            self.emit(RoomEvent::Rendezvous { up, why });
        }
    }

    fn signal_event(&mut self, event: SignalEvent) {
        match event {
            SignalEvent::Clock { unix_s } => self.told_time(unix_s),
            SignalEvent::Up => {
                self.tell_rendezvous(true, None);
                self.is_up = true;
                self.input(In::SignalUp(true));
                self.reached = true;
                self.answer_once_in();
            }
            SignalEvent::Down { why, .. } => {
                tracing::debug!("the rendezvous: {why}; trying again");
                self.tell_rendezvous(false, Some(format!("{why}; trying again")));
                self.is_up = false;
                self.input(In::SignalUp(false));
            }
            SignalEvent::Envelope { from, bytes } => {
                let (flow, now_us) = (&self.flow, self.clock.now_us());
                let may_say = |from: &PeerId, via: &Via, message: &Message| flow.may_say(from, via, message);
                let letter = self.letters.open(from, &bytes, now_us, may_say);
                self.take_letter(letter);
            }
            SignalEvent::Undeliverable { to } => {
                let peer = match to {
                    SignalAddress::Peer(peer) => Some(peer),
                    SignalAddress::Host => None,
                };
                self.input(In::Undeliverable(peer));
            }
            SignalEvent::Ended(SignalError::Refused(Refusal::Replaced)) if self.joined.is_none() => {
                // no good-bye: the later session goes on under the same identity
                (self.left, self.end) = (true, End::Replaced);
            }
            SignalEvent::Ended(error) => {
                // a peer that waits to join gets the error as its answer
                if self.joined.is_none() {
                    self.emit(RoomEvent::Rendezvous { up: false, why: Some(error.to_string()) });
                }
                self.input(In::SignalUp(false));
                self.answer_join(Err(error.into()));
            }
        }
    }

    // ── the end ──────────────────────────────────────────────────────────────────────────────────────────────

    /// Closes links, threads and rendezvous.
    async fn close(mut self) {
        self.requests.close(); // later requests are answered: the room is closed
        if self.left {
            tokio::time::sleep(FAREWELL).await;
        }
        let by = Instant::now() + CLOSE_MAX / 2;
        let (flow, publishers) = (self.flow.clone(), std::mem::take(&mut self.publishers));
        let tracks = aside("end", move || drop(publishers));
        let mixer = aside("end", move || flow.close_mixer());
        ended_by("a track", tracks, by).await;
        ended_by("a mixer", mixer, by).await;
        let ending = async { while self.ending.join_next().await.is_some() {} };
        let _ = tokio::time::timeout_at(by.into(), ending).await;
        self.ending.abort_all();
        self.links.close().await;
        self.flow.close();
        if let Some(signal) = &self.signal {
            signal.close().await;
        }
        self.renew_snapshot_as(ConnectionState::Closed);
        self.emit(RoomEvent::Closed { end: self.end });
        self.ended.send_replace(Some(self.end));
        self.answer_join(Err(crate::Error::Closed));
        for farewell in std::mem::take(&mut self.farewell) {
            let _ = farewell.send(());
        }
        if let Some(rendezvous) = self.rendezvous.take() {
            rendezvous.close().await;
        }
    }
}
