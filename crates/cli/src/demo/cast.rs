//! The peers of a demo: how they join, and how the demo ends.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use plenary::media::source::Source;
use plenary::{Invite, Mode, OnEvent, PeerId, Room, RoomEvent, RoomSnapshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::actor::{Actor, Runner};
use super::child::Child;
use super::churn::{self, Churned};
use super::event::EventReport;
use super::peer::{Part, Setting};
use super::process::{Gauge, ProcessReport};
use super::recordings::Recorded;
use super::report::Report;
use super::timeline::{TimedEvent, is_reported};
use super::wire::Brief;
use crate::Failure;
use crate::args::DemoArgs;
use crate::commands::topology::Topology;
use crate::tell::{NOBODY_CONSENTS, Teller, mode_word};

/// Traffic of departed viewers with closed rooms, bytes.
#[derive(Clone, Copy, Default)]
struct Past {
    sent_bytes: u64,
    ideal_bytes: u64,
}

/// All peers of the demo.
pub(crate) struct Cast {
    setting: Setting,
    invite: Invite,
    /// Log file, for the peers' processes.
    log: File,
    /// Creation of the room, from which times are counted.
    pub(crate) created: Instant,
    pub(crate) created_us: u64,
    actors: Mutex<BTreeMap<Part, Arc<Actor>>>,
    past: Mutex<Past>,
    recorded: Mutex<Recorded>,
    events: Arc<Mutex<Vec<TimedEvent>>>,
    pub(crate) happened: Mutex<Vec<EventReport>>,
    pub(crate) churned: Mutex<Churned>,
    teller: Arc<Teller>,
    tasks: Mutex<JoinSet<()>>,
    failed: Mutex<Vec<String>>,
    next: [AtomicUsize; 2],
    /// Time at which the last initial peer had joined.
    pub(crate) all_joined_us: OnceLock<u64>,
    /// Viewer that decodes `program.png`; churn spares it.
    pictured: Mutex<Option<PeerId>>,
    gauge: Mutex<Gauge>,
}

impl Cast {
    /// Opens the room as the host and lets all other peers join: speakers in their order, then candidates,
    /// then viewers.
    pub(crate) async fn assemble(setting: Setting, log: File) -> Result<Arc<Cast>, Failure> {
        let (args, clock) = (&setting.args, setting.clock);
        let events: Arc<Mutex<Vec<TimedEvent>>> = Arc::default();
        let gauge = Gauge::start();
        let teller = Teller::new();
        let mut options = setting.options(Part::HOST);
        let (timed, trouble) = (events.clone(), on_trouble(&teller));
        options.on_event = Some(Arc::new(move |event| {
            if is_reported(event) {
                timed.lock().push((clock.now_us(), event.clone()));
            }
            trouble(event);
        }));
        let shaper = options.testing.shaper.clone();
        let (page, topology) = (plenary_page::routes(false, &[]), Topology::new()?);
        let has_page = page.is_some();
        let host = args
            .room
            .host_options()
            .listen(args.room.network.listen.or(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))))
            .page(Some(topology.add_to(page)));
        let room = Room::host(options, host).await?;
        let (created, created_us) = (Instant::now(), clock.now_us());
        let invite = room.invite().ok_or_else(|| anyhow::anyhow!("the room has no invite"))?;
        if has_page {
            say!("join it in a browser: {invite}");
        }
        say!("its tree, live: {}", topology.address(&invite.rendezvous().unwrap_or_default()));
        let drawn = room.clone();
        let (speakers, viewers) = (usize::from(args.speakers), usize::from(args.viewers));
        let recorded = Recorded::choose(viewers, args.record_all);
        let host = setting.enter(Part::HOST, room, shaper, false).await?;
        let cast = Arc::new(Cast {
            setting,
            invite,
            log,
            created,
            created_us,
            actors: Mutex::new(BTreeMap::from([(Part::HOST, Arc::new(Actor::here(host)))])),
            past: Mutex::default(),
            recorded: Mutex::new(recorded),
            events,
            happened: Mutex::default(),
            churned: Mutex::default(),
            teller,
            tasks: Mutex::default(),
            failed: Mutex::default(),
            next: [AtomicUsize::new(speakers), AtomicUsize::new(viewers)],
            all_joined_us: OnceLock::new(),
            pictured: Mutex::default(),
            gauge: Mutex::new(gauge),
        });
        cast.spawn(topology.serve(drawn));
        let joining = cast.clone();
        cast.spawn(async move { joining.start().await });
        Ok(cast)
    }

    /// Lets the other initial peers join, and then begins the churn.
    async fn start(self: &Arc<Cast>) {
        let args = self.args();
        for index in 1..usize::from(args.speakers) {
            self.join(Part::Speaker(index)).await;
        }
        for index in 0..usize::from(args.candidates) {
            self.join(Part::Candidate(index)).await;
        }
        let mut at_once = JoinSet::new();
        for index in 0..usize::from(args.viewers) {
            if at_once.len() >= usize::from(args.joining) {
                at_once.join_next().await;
            }
            let joining = self.clone();
            at_once.spawn(async move { joining.join(Part::Viewer(index)).await });
        }
        while at_once.join_next().await.is_some() {}
        let all_joined_us = *self.all_joined_us.get_or_init(|| self.now_us());
        tracing::info!("all peers have joined after {:.0} ms", self.ms(all_joined_us));
        if let Some(churn) = args.churn {
            churn::run(self, churn.share_per_min).await;
        }
    }

    /// Runs a task until the end of the demo.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Adds a speaker or a viewer; returns `None` if it could not join.
    pub(crate) async fn add(&self, speaker: bool) -> Option<PeerId> {
        let index = self.next[usize::from(!speaker)].fetch_add(1, Ordering::Relaxed);
        self.join(if speaker { Part::Speaker(index) } else { Part::Viewer(index) }).await
    }

    /// Returns the source of a further speaker.
    pub(crate) fn next_source(&self) -> Result<Box<dyn Source>, Failure> {
        self.args().room.source(self.next[0].fetch_add(1, Ordering::Relaxed))
    }

    async fn join(&self, part: Part) -> Option<PeerId> {
        let records = part.viewer_index().is_some_and(|index| self.recorded.lock().starts(index));
        let joined = if self.args().processes {
            self.start_process(part, records).await.map(|child| Actor::process(part, child))
        } else {
            let joining = self.setting.join(part, &self.invite, records, on_trouble(&self.teller));
            joining.await.map(Actor::here)
        };
        match joined {
            Ok(actor) => {
                let peer = actor.peer;
                self.actors.lock().insert(part, Arc::new(actor));
                Some(peer)
            }
            Err(failure) => {
                part.viewer_index().into_iter().for_each(|index| self.recorded.lock().ends(index));
                self.fail(format!("{part:?} could not join: {failure}"));
                None
            }
        }
    }

    async fn start_process(&self, part: Part, records: bool) -> Result<Child, Failure> {
        let Setting { args, out, bench, .. } = &self.setting;
        let brief = Brief {
            part,
            invite: self.invite.to_string(),
            password: args.room.password.clone(),
            seed: args.room.seed,
            bench: *bench,
            out: out.clone(),
            records,
        };
        let trouble = on_trouble(&self.teller);
        Ok(Child::start(&brief, &self.log, move |why| trouble(&RoomEvent::LinkTrouble { text: why })).await?)
    }

    /// Notes a failure; the first one becomes the outcome of the demo.
    pub(crate) fn fail(&self, line: String) {
        tracing::error!("{line}");
        self.failed.lock().push(line);
    }

    /// Returns an error if anything has failed.
    pub(crate) fn outcome(&self) -> anyhow::Result<()> {
        match self.failed.lock().as_slice() {
            [] => Ok(()),
            [line] => anyhow::bail!("{line}"),
            [line, more @ ..] => anyhow::bail!("{line}; and {} more in log.txt", more.len()),
        }
    }

    pub(crate) fn args(&self) -> &DemoArgs {
        &self.setting.args
    }

    pub(crate) fn now_us(&self) -> u64 {
        self.setting.clock.now_us()
    }

    /// Converts a time to milliseconds since the creation of the room.
    pub(crate) fn ms(&self, at_us: u64) -> f64 {
        crate::json::round(at_us.saturating_sub(self.created_us) as f64 / 1000.0)
    }

    /// Returns all peers in the order of their roles.
    pub(crate) fn actors(&self) -> Vec<Arc<Actor>> {
        self.actors.lock().values().cloned().collect()
    }

    /// Returns all peers that were not killed and have not left.
    pub(crate) fn present(&self) -> Vec<Arc<Actor>> {
        self.actors().into_iter().filter(|actor| actor.gone_us().is_none()).collect()
    }

    /// Returns the indexes of all speakers that have ever joined.
    pub(crate) fn speakers(&self) -> Vec<usize> {
        self.actors.lock().keys().filter_map(|part| part.speaker_index()).collect()
    }

    pub(crate) fn events(&self) -> Vec<TimedEvent> {
        self.events.lock().clone()
    }

    pub(crate) fn host_actor(&self) -> Option<Arc<Actor>> {
        self.actors.lock().get(&Part::HOST).cloned()
    }

    /// Returns the host's snapshot of the room.
    pub(crate) fn host(&self) -> RoomSnapshot {
        let host = self.host_actor();
        host.and_then(|host| Some(host.local()?.room.snapshot())).unwrap_or_default()
    }

    /// Returns the peer with that id, if it is present.
    pub(crate) fn present_peer(&self, peer: &PeerId) -> Option<Arc<Actor>> {
        self.present().into_iter().find(|actor| actor.peer == *peer)
    }

    /// Returns the viewers that churn may replace. A viewer on stage and the viewer that decodes `program.png` stay.
    pub(crate) fn replaceable(&self) -> Vec<Arc<Actor>> {
        let pictured = *self.pictured.lock();
        let watches =
            |actor: &Arc<Actor>| actor.part.viewer_index().is_some() && Some(actor.peer) != pictured;
        self.present().into_iter().filter(|actor| watches(actor) && !actor.glance().speaks).collect()
    }

    /// Removes a departed viewer, and frees its links, memory and files.
    pub(crate) async fn retire(&self, actor: Arc<Actor>) {
        // whatever made its process fail has been reported
        let figures = actor.figures(&self.speakers()).await;
        let (sent_bytes, ideal_bytes) =
            figures.map_or((0, 0), |figures| (figures.to_children_bytes, figures.program_bytes));
        if self.actors.lock().remove(&actor.part).is_some() {
            let mut past = self.past.lock();
            past.sent_bytes += sent_bytes;
            past.ideal_bytes += ideal_bytes;
        }
        actor.part.viewer_index().into_iter().for_each(|index| self.recorded.lock().ends(index));
        // if another task still uses it, its room is closed when that task drops it
        if let Some(Runner::Here(peer)) = Arc::into_inner(actor).map(Actor::into_runner)
            && let Err(error) = peer.close().await
        {
            self.fail(format!("{error:#}"));
        }
    }

    /// Returns the bytes that retired viewers sent to their children, and those of the program that they received.
    pub(crate) fn past_bytes(&self) -> (u64, u64) {
        let Past { sent_bytes, ideal_bytes } = *self.past.lock();
        (sent_bytes, ideal_bytes)
    }

    /// Starts a recording at each depth of the tree without one, once all initial peers have joined.
    pub(crate) async fn record_all_depths(&self) {
        if self.all_joined_us.get().is_none() {
            return;
        }
        let viewer = |actor: Arc<Actor>| Some((actor.part.viewer_index()?, actor));
        let viewers: BTreeMap<usize, Arc<Actor>> = self.present().into_iter().filter_map(viewer).collect();
        let depths: Vec<_> = viewers.iter().map(|(index, actor)| (*index, actor.glance().depth)).collect();
        let chosen = self.recorded.lock().choose_later(&depths);
        for actor in chosen.iter().filter_map(|index| viewers.get(index)) {
            if let Err(error) = actor.record(&self.setting.out).await {
                self.fail(format!("{:?} could not record: {error:#}", actor.part));
            }
        }
    }

    /// Reads the resources that this process uses.
    pub(crate) fn read_gauge(&self) -> ProcessReport {
        let links = |actor: &Arc<Actor>| actor.local().map_or(0, |peer| peer.room.links());
        let links = self.present().iter().map(links).sum();
        self.gauge.lock().read(links)
    }

    /// Decodes at the deepest viewer until a time, and writes the newest picture to `program.png`. Returns false if
    /// there was no picture.
    pub(crate) async fn picture(&self, until: Instant) -> anyhow::Result<bool> {
        let present = self.present();
        let viewers = present.iter().filter(|actor| actor.part.viewer_index().is_some());
        let deepest = viewers.max_by_key(|actor| actor.glance().depth);
        let Some(deepest) = deepest.or_else(|| present.get(1)) else { return Ok(false) };
        *self.pictured.lock() = Some(deepest.peer);
        deepest.picture(until, &self.setting.out.join("program.png")).await
    }

    /// Returns a line on the state of the room.
    pub(crate) fn progress(&self, elapsed: Duration) -> String {
        let host = self.host();
        let present = self.present();
        let viewers = present.iter().filter(|actor| actor.part.viewer_index().is_some());
        let glances: Vec<_> = viewers.map(|actor| actor.glance()).collect();
        let fed = glances.iter().filter(|glance| glance.parent.is_some()).count();
        let depth = glances.iter().filter_map(|glance| glance.depth).max().unwrap_or(0);
        let mixer = match host.mode {
            Mode::Mesh => "mixer none".to_owned(),
            _ if nobody_consents(&host) => NOBODY_CONSENTS.to_owned(),
            _ => host.mixers.iter().fold("mixer".to_owned(), |line, peer| format!("{line} {peer:?}")),
        };
        format!(
            "{:3} s  {:12}  term {}  {mixer}  {} peers  viewers fed {fed}/{}  depth {depth}",
            elapsed.as_secs(),
            mode_word(host.mode),
            host.rank,
            present.len(),
            glances.len(),
        )
    }

    /// Collects all figures, ends the recordings, and closes all rooms and processes.
    pub(crate) async fn finish(&self) -> Report {
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.shutdown().await;
        tracing::info!("the demo ends: all figures are collected, and then all rooms closed");
        let report = Report::of(self).await;
        tracing::info!("all figures are collected");
        // the host is closed last, since its rendezvous closes with it
        let mut actors = std::mem::take(&mut *self.actors.lock());
        let host = actors.remove(&Part::HOST);
        let mut closing = JoinSet::new();
        for actor in actors.into_values() {
            closing.spawn(close(actor));
        }
        while let Some(closed) = closing.join_next().await {
            self.note(closed.unwrap_or_else(|error| Err(error.into())));
        }
        if let Some(host) = host {
            self.note(close(host).await);
        }
        tracing::info!("all rooms are closed");
        report
    }

    fn note(&self, closed: anyhow::Result<()>) {
        if let Err(error) = closed {
            self.fail(format!("{error:#}"));
        }
    }

    /// Removes the recordings that aren't kept.
    pub(crate) fn keep_recordings(&self, report: &Report) -> anyhow::Result<()> {
        let viewers = report.viewers().iter().map(|viewer| (viewer.index, viewer.depth));
        self.recorded.lock().keep_few(&self.setting.out, viewers)
    }
}

/// Closes a peer's room, or ends its process if that has not ended yet.
async fn close(actor: Arc<Actor>) -> anyhow::Result<()> {
    let gone = actor.gone_us().is_some();
    match Arc::into_inner(actor).map(Actor::into_runner) {
        Some(Runner::Here(peer)) => peer.close().await,
        Some(Runner::Process(child)) => {
            let ended = child.end().await;
            // a departed peer's process was killed, has ended, or ends now
            if gone { Ok(()) } else { ended }
        }
        None => Ok(()),
    }
}

/// Whether the room needs a mixer, and no peer on stage consents to mix.
pub(crate) fn nobody_consents(room: &RoomSnapshot) -> bool {
    room.mode != Mode::Mesh && room.stage.iter().all(|member| !member.mixes)
}

/// Returns a callback that reports the first link trouble of any peer, and no further one.
fn on_trouble(teller: &Arc<Teller>) -> OnEvent {
    let teller = teller.clone();
    Arc::new(move |event| {
        if matches!(event, RoomEvent::LinkTrouble { .. })
            && let Some(line) = teller.line(event)
        {
            tracing::warn!("{line}");
            say!("{line}");
        }
    })
}
