//! The peers of a demo, and their recordings and logs.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use plenary::media::source::Source;
use plenary::media::{Clock, Picture};
use plenary::{
    Consent, HostOptions, Invite, Mode, OnEvent, Options, PeerId, Recording, Room, RoomEvent, RoomSnapshot,
    Shaper, Tenure,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::heard::Heard;
use super::report::{EventReport, Report};
use crate::Failure;
use crate::args::DemoArgs;
use crate::tell::{NOBODY_CONSENTS, Teller, mode_word};

/// Maximum number of viewers that join at the same time: about the number that one machine can link at once.
const JOINING_AT_ONCE: usize = 8;

/// Role of a peer in the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// Speaker with its index; 0 is the host.
    Speaker(usize),
    Candidate(usize),
    Viewer(usize),
}

/// One peer of the demo.
pub(crate) struct Actor {
    pub(crate) part: Part,
    pub(crate) room: Room,
    pub(crate) shaper: Shaper,
    pub(crate) recording: Mutex<Option<(PathBuf, Recording)>>,
    pub(crate) heard: Option<Heard>,
    /// Time at which it was killed or left, by the demo's clock.
    pub(crate) gone_us: Mutex<Option<u64>>,
    pub(crate) left: Mutex<bool>,
    /// Bytes that it had sent to its children when it left.
    pub(crate) sent_bytes: Mutex<u64>,
    /// Its tenures as a mixer, up to the kill: a killed peer goes on without noticing.
    pub(crate) tenures: Mutex<Option<Vec<Tenure>>>,
}

/// Event reported by the host's room, with its time.
pub(crate) type TimedEvent = (u64, RoomEvent);

/// All peers of the demo.
pub(crate) struct Cast {
    args: DemoArgs,
    out: PathBuf,
    bench: (u32, u32),
    clock: Clock,
    invite: Invite,
    /// Creation of the room, from which times are counted.
    pub(crate) created: Instant,
    pub(crate) created_us: u64,
    actors: Mutex<Vec<Arc<Actor>>>,
    events: Arc<Mutex<Vec<TimedEvent>>>,
    pub(crate) happened: Mutex<Vec<EventReport>>,
    teller: Arc<Teller>,
    joining: Mutex<Vec<JoinHandle<()>>>,
    failed: Mutex<Vec<String>>,
    next: [AtomicUsize; 2],
    cpu_before_s: f64,
}

impl Cast {
    /// Opens the room as the host and lets all other peers join: speakers in their order, then candidates,
    /// then viewers.
    pub(crate) async fn assemble(
        args: DemoArgs,
        out: PathBuf,
        bench: (u32, u32),
    ) -> Result<Arc<Cast>, Failure> {
        let clock = Clock::start();
        let events: Arc<Mutex<Vec<TimedEvent>>> = Arc::default();
        let cpu_before_s = super::report::cpu_s();
        let teller = Teller::new();
        let mut options = options(&args, Part::Speaker(0), clock, bench);
        let log = events.clone();
        let trouble = on_trouble(&teller);
        options.on_event = Some(Arc::new(move |event| {
            log.lock().push((clock.now_us(), event.clone()));
            trouble(event);
        }));
        let shaper = options.shaper.clone();
        let host = HostOptions {
            listen: args.room.network.listen.or(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))),
            ..args.room.host_options()
        };
        let room = Room::host(options, host).await?;
        let (created, created_us) = (Instant::now(), clock.now_us());
        let invite = room.invite().clone();
        let (speakers, viewers) = (usize::from(args.speakers), usize::from(args.viewers));
        let candidates = usize::from(args.candidates);
        let cast = Arc::new(Cast {
            args,
            out,
            bench,
            clock,
            invite,
            created,
            created_us,
            actors: Mutex::default(),
            events,
            teller,
            happened: Mutex::default(),
            joining: Mutex::default(),
            failed: Mutex::default(),
            next: [AtomicUsize::new(speakers), AtomicUsize::new(viewers)],
            cpu_before_s,
        });
        cast.enter(Part::Speaker(0), room, shaper).await?;
        let joining = cast.clone();
        let everyone = tokio::spawn(async move {
            for index in 1..speakers {
                joining.join(Part::Speaker(index)).await;
            }
            for index in 0..candidates {
                joining.join(Part::Candidate(index)).await;
            }
            let mut at_once = tokio::task::JoinSet::new();
            for index in 0..viewers {
                if at_once.len() >= JOINING_AT_ONCE {
                    at_once.join_next().await;
                }
                let joining = joining.clone();
                at_once.spawn(async move { joining.join(Part::Viewer(index)).await });
            }
            while at_once.join_next().await.is_some() {}
        });
        cast.joining.lock().push(everyone);
        Ok(cast)
    }

    /// Adds a speaker or a viewer; returns `None` if it could not join.
    pub(crate) async fn add(&self, speaker: bool) -> Option<PeerId> {
        let index = self.next[usize::from(!speaker)].fetch_add(1, Ordering::Relaxed);
        let part = if speaker { Part::Speaker(index) } else { Part::Viewer(index) };
        self.join(part).await;
        self.actors().iter().find(|actor| actor.part == part).map(|actor| actor.room.me())
    }

    /// Returns the source of a further speaker.
    pub(crate) fn next_source(&self) -> Result<Box<dyn Source>, Failure> {
        self.args.room.source(self.next[0].fetch_add(1, Ordering::Relaxed))
    }

    async fn join(&self, part: Part) {
        let mut options = options(&self.args, part, self.clock, self.bench);
        options.on_event = Some(on_trouble(&self.teller));
        let shaper = options.shaper.clone();
        let joined = match Room::join(&self.invite, options).await {
            Ok(room) => self.enter(part, room, shaper).await,
            Err(error) => Err(error.into()),
        };
        if let Err(failure) = joined {
            let line = format!("{part:?} could not join: {failure}");
            tracing::error!("{line}");
            self.failed.lock().push(line);
        }
    }

    /// Registers a joined peer, and starts its publishing or recording.
    async fn enter(&self, part: Part, room: Room, shaper: Shaper) -> Result<(), Failure> {
        let mut heard = None;
        let mut recording = None;
        match part {
            Part::Speaker(index) => {
                room.publish(self.args.room.source(index)?).await?;
                let file = self.out.join(format!("speaker-{index}-heard.wav"));
                let tones = self.args.room.source.is_empty().then_some(index);
                heard = Some(Heard::start(room.sound()?, file, tones)?);
            }
            Part::Viewer(index) => {
                let file = self.out.join(format!("viewer-{index}.mp4"));
                recording = Some((file.clone(), room.record(&file)?));
            }
            Part::Candidate(_) => {}
        }
        let actor = Actor {
            part,
            room,
            shaper,
            recording: Mutex::new(recording),
            heard,
            gone_us: Mutex::default(),
            left: Mutex::default(),
            sent_bytes: Mutex::default(),
            tenures: Mutex::default(),
        };
        self.actors.lock().push(Arc::new(actor));
        Ok(())
    }

    pub(crate) fn args(&self) -> &DemoArgs {
        &self.args
    }

    pub(crate) fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    /// Converts a time to milliseconds since the creation of the room.
    pub(crate) fn ms(&self, at_us: u64) -> f64 {
        crate::json::round(at_us.saturating_sub(self.created_us) as f64 / 1000.0)
    }

    /// Returns all peers in the order of their roles.
    pub(crate) fn actors(&self) -> Vec<Arc<Actor>> {
        let mut actors = self.actors.lock().clone();
        actors.sort_by_key(|actor| actor.part);
        actors
    }

    /// Returns all peers that were not killed and have not left.
    pub(crate) fn present(&self) -> Vec<Arc<Actor>> {
        self.actors().into_iter().filter(|actor| actor.gone_us.lock().is_none()).collect()
    }

    pub(crate) fn events(&self) -> Vec<TimedEvent> {
        self.events.lock().clone()
    }

    pub(crate) fn cpu_s(&self) -> f64 {
        super::report::cpu_s() - self.cpu_before_s
    }

    /// Returns the host's snapshot of the room.
    pub(crate) fn host(&self) -> RoomSnapshot {
        self.actors().first().map(|host| host.room.snapshot()).unwrap_or_default()
    }

    /// Returns the peer with that id, if it is present.
    pub(crate) fn present_peer(&self, peer: &PeerId) -> Option<Arc<Actor>> {
        self.present().into_iter().find(|actor| actor.room.me() == *peer)
    }

    /// Decodes at the deepest viewer until a time; returns the newest picture.
    pub(crate) async fn decode_until(&self, until: Instant) -> Option<Arc<Picture>> {
        let viewers = self.present().into_iter().filter(|actor| matches!(actor.part, Part::Viewer(_)));
        let deepest = viewers.max_by_key(|actor| actor.room.snapshot().depth);
        let deepest = deepest.or_else(|| self.present().into_iter().nth(1))?;
        let mut pictures = deepest.room.pictures().ok()?;
        let mut newest = None;
        loop {
            tokio::select! {
                biased;
                decoded = pictures.next() => match decoded {
                    Some(decoded) => newest = Some(decoded.picture),
                    None => return newest,
                },
                () = sleep_until(until) => return newest,
            }
        }
    }

    /// Returns a line on the state of the room.
    pub(crate) fn progress(&self, elapsed: Duration) -> String {
        let host = self.host();
        let present = self.present();
        let viewers: Vec<_> = present.iter().filter(|actor| matches!(actor.part, Part::Viewer(_))).collect();
        let fed = viewers.iter().filter(|actor| actor.room.snapshot().parent.is_some()).count();
        let depth = viewers.iter().filter_map(|actor| actor.room.snapshot().depth).max().unwrap_or(0);
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
            viewers.len(),
        )
    }

    /// Collects all figures, ends the recordings, and closes all rooms.
    pub(crate) async fn finish(&self) -> Result<Report, Failure> {
        for task in std::mem::take(&mut *self.joining.lock()) {
            task.abort();
        }
        let report = Report::of(self).await?;
        let actors = std::mem::take(&mut *self.actors.lock());
        for actor in &actors {
            if let Some((_, recording)) = actor.recording.lock().take() {
                recording.finish()?;
            }
        }
        // the host is closed last, since its rendezvous closes with it
        let mut closing = tokio::task::JoinSet::new();
        let (mut hosts, mut ears) = (Vec::new(), Vec::new());
        for actor in actors {
            let Some(Actor { part, room, heard, .. }) = Arc::into_inner(actor) else { continue };
            ears.extend(heard);
            if part == Part::Speaker(0) {
                hosts.push(room);
            } else {
                closing.spawn(room.close());
            }
        }
        while closing.join_next().await.is_some() {}
        for host in hosts {
            host.close().await;
        }
        for heard in ears {
            heard.finish().await?;
        }
        match self.failed.lock().first() {
            Some(line) => Err(anyhow::anyhow!("{line}").into()),
            None => Ok(report),
        }
    }

    /// Keeps the recordings of a few viewers of different depth, unless all are requested; removes the rest.
    pub(crate) fn keep_recordings(&self, report: &Report, most: usize) -> anyhow::Result<()> {
        if self.args.record_all {
            return Ok(());
        }
        let mut by_depth: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
        for viewer in report.viewers() {
            by_depth.entry(viewer.depth).or_default().push(viewer.index);
        }
        let mut kept: Vec<usize> =
            by_depth.values().filter_map(|viewers| viewers.first().copied()).take(most).collect();
        let rest = by_depth.values().flatten().copied().filter(|index| !kept.contains(index));
        let rest: Vec<_> = rest.collect();
        kept.extend(rest.into_iter().take(most.saturating_sub(kept.len())));
        for index in 0..self.next[1].load(Ordering::Relaxed) {
            let file = self.out.join(format!("viewer-{index}.mp4"));
            if !kept.contains(&index) && file.exists() {
                std::fs::remove_file(file)?;
            }
        }
        Ok(())
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
        if matches!(event, RoomEvent::LinkTrouble(_))
            && let Some(line) = teller.line(event)
        {
            tracing::warn!("{line}");
            eprintln!("{line}");
        }
    })
}

fn options(args: &DemoArgs, part: Part, clock: Clock, bench: (u32, u32)) -> Options {
    let (name, speaks, views) = match part {
        Part::Speaker(index) => (format!("Speaker {index}"), true, true),
        Part::Candidate(index) => (format!("Candidate {index}"), false, false),
        Part::Viewer(index) => (format!("Viewer {index}"), false, true),
    };
    let own_name = args.room.name.clone().filter(|_| part == Part::Speaker(0));
    let mix = match part {
        Part::Candidate(_) => Consent::Always,
        Part::Speaker(_) if args.candidates == 0 => args.room.mix.map_or(Consent::Auto, Consent::from),
        _ => args.room.mix.filter(|_| speaks).map_or(Consent::Never, Consent::from),
    };
    // the second speaker's clock is fast, the third's is slow
    let drift_ppm = match part {
        Part::Speaker(1) => args.drift,
        Part::Speaker(2) => -args.drift,
        _ => 0,
    };
    // each peer has its own seed, derived from the demo's
    let number = match part {
        Part::Speaker(index) => index as u64,
        Part::Candidate(index) => 1_000 + index as u64,
        Part::Viewer(index) => 2_000 + index as u64,
    };
    let seed = args.room.seed.map(|seed| seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
    let shaper = Shaper::new(seed.unwrap_or(number));
    shaper.set(args.link.unwrap_or_default());
    Options {
        speaks,
        views,
        mix,
        relays: args.room.relay == crate::args::RelayWord::Auto,
        uplink_bps_max: args.room.max_uplink,
        picture_max: args.room.speaker_size,
        password: args.room.password.clone(),
        bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        udp_ports: args.room.network.udp_ports.clone(),
        bench: Some(bench),
        shaper,
        clock: clock.drifting(drift_ppm),
        seed,
        keep_frame_log: true,
        ..Options::viewer(&own_name.unwrap_or(name))
    }
}
