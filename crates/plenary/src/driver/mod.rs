//! The event loop of a room: it moves bytes and time between links, rendezvous, application and body.
//!
//! One task per room. It waits only for the next event; slow work runs elsewhere. Everything that follows from an event
//! is carried out before the next one.

mod application;
mod events;
mod wire;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use plenary_body::{Body, Correspondence, In, Notice, Outs, Shell as _, TICK, Traffic};
use plenary_media::{Clock, CodecBench};
use plenary_proto::app::{CodecOutcome, CodecUse, Command, ConnectionState, End, Reason, Snapshot};
use plenary_proto::identity::MediaKind;
use plenary_proto::message::GenerationKey;
use plenary_proto::{Event, PeerId};
use plenary_rtc::{Event as LinkEvent, Events as LinkEvents, Links};
use plenary_signal::{Rendezvous, Signal, SignalEvent};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::benches::{Benches, Found};
use crate::event::OnEvent;
use crate::flow::Flow;
use crate::port_map::PortMap;
use crate::publish::Publisher;
use crate::room::LEAVE_MAX;
use crate::stun::StunServers;
use crate::threads::{CLOSE_MAX, aside, ended_by};
use crate::turn::TurnServers;

/// Time for which a host that has ended its room stays, so that it can tell newcomers with unfinished links. A guess:
/// a link through a rendezvous.
const ENDING_US: u64 = 1_000_000;
/// Time that the last messages of a peer that leaves have to get out.
const FAREWELL: Duration = Duration::from_millis(100);

/// Pause of this loop after which the other ends have given all links up: the silence after which a link is lost
/// ([`DownReason::Lost`]).
const STOOD_STILL_US: u64 = 5_000_000;

/// Interval at which the machine's addresses are looked at: most of the time without pictures after a change of network
/// was until it was noticed. Reading them takes 31 µs (measured, two interfaces).
const LOOK_US: u64 = 100_000;

/// Request of the application to the driver.
pub(crate) enum Request {
    /// A command of the application; answered when the body has it.
    Command(Command, oneshot::Sender<Result<(), Reason>>),
    /// The invite is replaced: its key.
    Renew(GenerationKey),
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
    /// STUN servers that links ask.
    pub(crate) stun: StunServers,
    /// TURN servers at which links get relays.
    pub(crate) turn: TurnServers,
    pub(crate) correspondence: Correspondence,
    /// What this peer publishes, with the ids of the tracks: at most three, a camera, a screen and a voice.
    pub(crate) publishers: Vec<(u64, Publisher)>,
    /// Publishers that end.
    pub(crate) ending: JoinSet<()>,
    /// Number of streams of voices that the application holds.
    pub(crate) voices: usize,
    /// Number of recordings that the application makes.
    pub(crate) recordings: Arc<AtomicUsize>,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) on_event: Option<OnEvent>,
    pub(crate) snapshot: watch::Sender<Snapshot>,
    pub(crate) joined: Option<oneshot::Sender<Result<(), crate::Error>>>,
    /// Time that rendezvous and host have to answer a peer that joins.
    pub(crate) answer_within: Duration,
    pub(crate) snapshot_due_us: u64,
    /// When the machine's addresses are looked at again.
    pub(crate) look_due_us: u64,
    /// Time of the last tick.
    pub(crate) ticked_us: u64,
    pub(crate) connection: ConnectionState,
    pub(crate) benches: Benches,
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
    /// Ports that the router of this network maps; they end with the room.
    pub(crate) port_maps: Vec<PortMap>,
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
                Happened::Request(None) if !self.correspondence.is_admitted() => break, // nobody knows this peer yet
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
                self.correspondence.set_key(&key, self.clock.now_us());
            }
            for envelope in std::mem::take(&mut outs.envelopes) {
                self.post_sealed(envelope);
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
        for (track, (codec, text, then)) in failures {
            let kind = match codec {
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
            self.emit(Event::CodecFailed { codec, text, then });
        }
        if withdrawn {
            self.sources_changed();
        }
    }

    async fn tick(&mut self) {
        self.take_failures();
        let now_us = self.clock.now_us();
        let steps = self.correspondence.on_time(now_us);
        self.take_steps(steps);
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
                let (codec, then) = (CodecUse::Bench, CodecOutcome::Withdrawn);
                self.emit(Event::CodecFailed { codec, text, then });
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
        self.emit(Event::StoodStill { pause_ms: time.as_millis() as u64 });
        if let Some(signal) = &self.signal {
            signal.renew();
        }
        self.links.lose_all();
    }

    /// Connects with the rendezvous anew if this machine's network has changed: the connection may go by an address
    /// that is gone, or a network has come that it waits for. The links see to themselves.
    fn look_at_addresses(&mut self) {
        let change = self.links.look_at_addresses();
        if change.gone || (change.come && !self.correspondence.is_signal_up()) {
            tracing::info!(change.gone, change.come, "the addresses of this machine have changed");
            self.emit(Event::NetworkChanged);
            if let Some(signal) = &self.signal {
                signal.renew();
            }
        }
    }

    fn event(&mut self, event: Event) {
        let steps = self.correspondence.note(&event);
        self.end = event.end().unwrap_or(self.end);
        match &event {
            Event::Admitted => self.benches.start_first(),
            Event::Refused(why) => self.answer_join(Err(crate::Error::Refused(why.reason))),
            Event::Removed | Event::HandedOver => self.left = true,
            Event::Ended => {
                let hosts = self.flow.read(|body| body.roster().is_some_and(|roster| roster.host == self.me));
                if hosts {
                    // peers that are being linked hear of it too
                    self.over_at_us = Some(self.clock.now_us() + ENDING_US);
                } else {
                    self.left = true;
                }
            }
            Event::Stage { .. } => {
                let on_stage = self.flow.read(|body| body.brain().is_on_stage());
                self.signal.iter().for_each(|signal| signal.set_on_stage(on_stage));
            }
            _ => {}
        }
        self.take_steps(steps);
        events::log(&event);
        // the stage's events come one for each peer, after the one that renews the snapshot for all
        let renews = !matches!(event, Event::Joined(_) | Event::Left { .. } | Event::Changed { .. });
        self.emit(event);
        if renews {
            self.renew_snapshot();
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
        self.correspondence.close();
        self.renew_snapshot();
        self.emit(Event::Closed { end: self.end });
        self.ended.send_replace(Some(self.end));
        self.answer_join(Err(crate::Error::Closed));
        for farewell in std::mem::take(&mut self.farewell) {
            let _ = farewell.send(());
        }
        futures::future::join_all(self.port_maps.drain(..).map(PortMap::close)).await;
        if let Some(rendezvous) = self.rendezvous.take() {
            rendezvous.close().await;
        }
    }
}
