//! Report of a demo. Documentation and checks use its field names.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use plenary::{ElectionReason, FrameSeen, Mode, PeerId, ReceptionStats, Room, RoomEvent, Spread, Tenure};
use serde::Serialize;

use super::cast::{Actor, Cast, Part, TimedEvent, nobody_consents};
use super::floor::Noticed;
use super::program::{self, END_US, Resumed, Ticks};
use super::svg;
use crate::json::{self, round};
use crate::tell::{NOBODY_CONSENTS, mode_word};
use crate::units::What;

/// Length of the picture logs: half an hour, by
/// [`Options::keep_frame_log`](plenary::Options::keep_frame_log).
const LOGGED_US: u64 = 1_800_000_000;

/// Returns a peer's name in reports: the first eight bytes of its id, in hex.
pub(crate) fn short(peer: &PeerId) -> String {
    peer.to_string()[..16].to_owned()
}

fn shorts(peers: &[PeerId]) -> Vec<String> {
    peers.iter().map(short).collect()
}

/// Median and 95th percentile, milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct P50P95 {
    p50: f64,
    p95: f64,
}

impl From<Spread> for P50P95 {
    fn from(spread: Spread) -> P50P95 {
        P50P95 { p50: round(spread.p50_ms), p95: round(spread.p95_ms) }
    }
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct ModeReport {
    at_ms: f64,
    mode: &'static str,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct ScoreReport {
    points: u64,
    bandwidth_bps: u64,
    bitrate_bps: Option<u64>,
    encode_us: Option<u32>,
    measurers: usize,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct ElectionReport {
    term: u32,
    reason: &'static str,
    opened_ms: Option<f64>,
    decided_ms: f64,
    signatures: usize,
    roster: usize,
    mixers: Vec<String>,
    standbys: Vec<String>,
    scores: BTreeMap<String, ScoreReport>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct FailoverReport {
    at_ms: f64,
    term: u32,
    failover: u16,
    peer: String,
    withdrawn: bool,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct MixerReport {
    peer: String,
    term: u32,
    failover: u16,
    mode: &'static str,
    decoded_frames: u64,
    encoded_frames: u64,
    fps: Option<f64>,
    compose_encode_ms: Option<P50P95>,
    added_latency_ms: Option<P50P95>,
    cpu_cores: Option<f64>,
    least_effort: String,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct CandidateReport {
    peer: String,
    encoded_frames_after_term1: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct SpeakerReport {
    peer: String,
    index: usize,
    home_mixer: Option<String>,
    sent_frames: u64,
    video_streams_sent: usize,
    heard_self_db: Option<f64>,
    received: ViewerReport,
}

/// Figures of a peer that watches.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ViewerReport {
    #[serde(skip)]
    pub(crate) index: usize,
    peer: String,
    pub(crate) depth: Option<usize>,
    pub(crate) parent: Option<String>,
    backup: Option<String>,
    first_frame_ms: Option<f64>,
    frames_expected: u64,
    frames_received: u64,
    /// Pictures that a relay left out, since a link didn't carry them all.
    frames_left_out: u64,
    frames_late: u64,
    longest_video_gap_ms: Option<f64>,
    longest_audio_gap_ms: Option<f64>,
    latency_ms: Option<P50P95>,
    av_skew_ms: Option<P50P95>,
    reparented: u32,
}

impl ViewerReport {
    /// Creates the report from the peer's own statistics.
    pub(crate) fn of(room: &Room, reception: &ReceptionStats) -> ViewerReport {
        let snapshot = room.snapshot();
        let came = reception.frames_received > 0;
        ViewerReport {
            index: 0,
            peer: short(&room.me()),
            depth: snapshot.depth,
            parent: snapshot.parent.as_ref().map(short),
            backup: snapshot.backup.as_ref().map(short),
            first_frame_ms: reception.first_frame_ms.map(round),
            frames_expected: reception.frames_expected,
            frames_received: reception.frames_received,
            frames_left_out: reception.frames_left_out,
            frames_late: reception.frames_late,
            longest_video_gap_ms: came.then(|| round(reception.longest_video_gap_ms)),
            longest_audio_gap_ms: reception.longest_audio_gap_ms.map(round),
            latency_ms: reception.latency.map(P50P95::from),
            av_skew_ms: reception.av_skew.map(P50P95::from),
            reparented: snapshot.reparented,
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct TreeReport {
    depth: usize,
    children_max: usize,
    bytes_sent: u64,
    bytes_ideal: u64,
}

/// Event of the script, with its effect.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct EventReport {
    at_ms: f64,
    what: &'static str,
    peer: Option<String>,
    viewers_affected: usize,
    /// Number of affected viewers without the program, of those present at the end.
    viewers_not_resumed: usize,
    resumed_ms: Option<Resumed>,
    /// Time until all other peers have seen the new speaker in the mixer's picture.
    seen_ms: Option<f64>,
    /// Time until all other peers have heard the new speaker; speakers hear it in their mix-minus.
    heard_ms: Option<f64>,
    #[serde(skip)]
    kind: What,
    #[serde(skip)]
    at_us: u64,
    #[serde(skip)]
    affected: Vec<usize>,
}

impl EventReport {
    /// Creates the report of an event: its kind, its time by the clock, the peer it concerns, and the
    /// affected viewers.
    pub(crate) fn new(kind: What, at_us: u64, peer: Option<PeerId>, affected: Vec<usize>) -> EventReport {
        EventReport {
            at_ms: 0.0,
            what: kind.text(),
            peer: peer.as_ref().map(short),
            viewers_affected: affected.len(),
            viewers_not_resumed: 0,
            resumed_ms: None,
            seen_ms: None,
            heard_ms: None,
            kind,
            at_us,
            affected,
        }
    }

    /// Sets the added peer, once it has joined.
    pub(crate) fn came(&mut self, peer: Option<PeerId>) {
        self.peer = peer.as_ref().map(short);
    }

    /// Sets the times until all other peers saw and heard the new speaker.
    pub(crate) fn noticed(&mut self, noticed: Noticed) {
        let ms = |us: u64| round(us as f64 / 1000.0);
        (self.seen_ms, self.heard_ms) = (noticed.seen_us.map(ms), noticed.heard_us.map(ms));
    }

    /// Computes how long the affected viewers waited for their next picture.
    fn judge(&mut self, figures: &[Figures], next_at_us: Option<u64>, end_us: u64) {
        let mut waits_us = Vec::new();
        for one in figures.iter().filter(|one| one.gone_us.is_none()) {
            if viewer_index(one.part).is_some_and(|index| self.affected.contains(&index)) {
                let arrivals = one.reception.log.iter().map(|frame| frame.at_us);
                waits_us.push(program::wait_us(arrivals, self.at_us, next_at_us, end_us));
            }
        }
        self.viewers_not_resumed = waits_us.iter().filter(|wait_us| wait_us.is_none()).count();
        self.resumed_ms = Resumed::of_us(waits_us.into_iter().flatten().collect());
    }

    /// Returns the outcome in words.
    fn outcome(&self) -> String {
        let again = self.resumed_ms.map(|Resumed { p50, p95, max }| {
            format!("program resumed after {p50:.0} ms (p50), {p95:.0} ms (p95), {max:.0} ms (worst)")
        });
        let (lost, affected) = (self.viewers_not_resumed, self.viewers_affected);
        let never = (lost > 0).then(|| format!("not resumed at {lost} of {affected} viewers"));
        let by_all =
            |at: Option<f64>| at.map_or("not by all".to_owned(), |ms| format!("by all after {ms:.0} ms"));
        match (self.kind, &self.peer) {
            (What::PromoteViewer, Some(peer)) => {
                format!("{peer} is seen {}, heard {}", by_all(self.seen_ms), by_all(self.heard_ms))
            }
            (What::DemoteViewer, Some(peer)) => format!("{peer} watches again"),
            (What::HalveMixer, Some(_)) if affected > 0 => self.resumed_ms.map_or_else(
                || "no further pictures".to_owned(),
                |Resumed { p50, max, .. }| format!("pictures {p50:.0} ms (p50), {max:.0} ms (worst) apart"),
            ),
            (What::AddSpeaker | What::AddViewer, Some(peer)) => format!("{peer} joined"),
            (What::AddSpeaker | What::AddViewer, None) => "the peer could not join".to_owned(),
            (_, None) => "there was no such peer".to_owned(),
            _ if affected == 0 => "no viewer affected".to_owned(),
            _ if again.is_none() && never.is_none() => format!("all {affected} affected viewers are gone"),
            _ => again.into_iter().chain(never).collect::<Vec<_>>().join("; "),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct ProcessReport {
    cpu_s: f64,
    rss_mib: f64,
}

/// Complete report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    version: &'static str,
    seed: Option<u64>,
    duration_s: f64,
    modes: Vec<ModeReport>,
    elections: Vec<ElectionReport>,
    failovers: Vec<FailoverReport>,
    mixers: Vec<MixerReport>,
    candidates: Vec<CandidateReport>,
    speakers: Vec<SpeakerReport>,
    viewers: Vec<ViewerReport>,
    tree: TreeReport,
    events: Vec<EventReport>,
    process: ProcessReport,
    /// Message if the program was missing for some or all of the time.
    #[serde(skip)]
    no_program: Option<String>,
}

/// Raw figures of one peer. The figures of all peers are collected at the same time.
struct Figures {
    part: Part,
    peer: PeerId,
    reception: ReceptionStats,
    tenures: Vec<Tenure>,
    made: Vec<FrameSeen>,
    to_children_bytes: u64,
    gone_us: Option<u64>,
    viewer: ViewerReport,
}

impl Figures {
    async fn of(actor: &Actor) -> Figures {
        let reception = actor.room.reception();
        let viewer = ViewerReport::of(&actor.room, &reception);
        let until_killed = actor.tenures.lock().clone();
        Figures {
            part: actor.part,
            peer: actor.room.me(),
            tenures: until_killed.unwrap_or_else(|| actor.room.tenures()),
            made: actor.room.made(),
            to_children_bytes: match actor.room.traffic().await {
                Ok(traffic) => traffic.to_children_bytes,
                Err(_) => *actor.sent_bytes.lock(),
            },
            gone_us: *actor.gone_us.lock(),
            reception,
            viewer,
        }
    }
}

impl Figures {
    /// Returns the report with pictures counted by the mixers' ticks. In a mesh there are none, and the
    /// peer's own counts stay.
    fn counted(&self, ticks: &Ticks, all: bool) -> ViewerReport {
        let captured_us = self.reception.log.iter().map(|frame| frame.captured_us);
        let counted = if ticks.is_empty() { None } else { ticks.count(captured_us, all) };
        let mut viewer = self.viewer.clone();
        if let Some((expected, received)) = counted {
            (viewer.frames_expected, viewer.frames_received) = (expected, received);
        }
        viewer
    }
}

impl Report {
    /// Collects the figures of all peers.
    pub(crate) async fn of(cast: &Cast) -> anyhow::Result<Report> {
        let end_us = cast.now_us();
        let (cpu_s, timed) = (cast.cpu_s(), cast.events());
        let actors = cast.actors();
        let mut figures = Vec::new();
        for actor in &actors {
            figures.push(Figures::of(actor).await);
        }
        let ticks = ticks(&figures, u64::from(cast.args().room.program().fps), cast.created_us, end_us);
        let mut viewers = Vec::new();
        for one in figures.iter().filter(|one| one.gone_us.is_none()) {
            if let Part::Viewer(index) = one.part {
                viewers.push(ViewerReport { index, ..one.counted(&ticks, true) });
            }
        }
        let indexes: Vec<usize> = figures.iter().filter_map(|one| speaker_index(one.part)).collect();
        let mut speakers = Vec::new();
        for (actor, one) in actors.iter().zip(&figures) {
            let Some(index) = speaker_index(one.part) else { continue };
            let heard_self_db = actor.heard.as_ref().and_then(|heard| heard.self_db(&indexes));
            speakers.push(SpeakerReport {
                peer: short(&one.peer),
                index,
                home_mixer: actor.room.snapshot().home_mixer.as_ref().map(short),
                sent_frames: actor.room.pictures_sent(),
                video_streams_sent: actor.room.picture_targets_most(),
                heard_self_db,
                received: one.counted(&ticks, false),
            });
        }
        let mut events = cast.happened.lock().clone();
        let next_at_us: Vec<_> = events.iter().skip(1).map(|next| Some(next.at_us)).chain([None]).collect();
        for (event, next_at_us) in events.iter_mut().zip(next_at_us) {
            event.at_ms = cast.ms(event.at_us);
            event.judge(&figures, next_at_us, end_us);
        }
        let children = |one: &Figures| {
            figures.iter().filter(|child| child.viewer.parent == Some(short(&one.peer))).count()
        };
        let no_program = match ticks.without_s() {
            _ if ticks.is_empty() && nobody_consents(&cast.host()) => Some(NOBODY_CONSENTS.to_owned()),
            _ if viewers.is_empty() => None,
            _ if ticks.is_empty() => Some("there was no program".to_owned()),
            without_s => (without_s > 0.0).then(|| format!("there was no program for {without_s:.1} s")),
        };
        Ok(Report {
            version: env!("CARGO_PKG_VERSION"),
            seed: cast.args().room.seed,
            // a signal may have ended the demo early
            duration_s: cast.args().duration.as_secs_f64().min(cast.ms(end_us) / 1000.0),
            modes: modes(&timed, cast),
            elections: elections(&timed, cast),
            failovers: failovers(&timed, cast),
            mixers: {
                let mut all: Vec<_> = figures.iter().flat_map(|one| mixers(one, end_us)).collect();
                all.sort_by_key(|mixer| (mixer.term, mixer.failover));
                all
            },
            candidates: figures.iter().filter_map(candidate).collect(),
            speakers,
            tree: TreeReport {
                depth: viewers.iter().filter_map(|viewer| viewer.depth).max().unwrap_or(0),
                children_max: figures.iter().map(children).max().unwrap_or(0),
                bytes_sent: figures.iter().map(|one| one.to_children_bytes).sum(),
                bytes_ideal: figures
                    .iter()
                    .filter(|one| matches!(one.part, Part::Viewer(_)))
                    .map(|one| one.reception.program_bytes)
                    .sum(),
            },
            viewers,
            events,
            process: ProcessReport { cpu_s: round(cpu_s), rss_mib: round(rss_mib()) },
            no_program,
        })
    }

    pub(crate) fn viewers(&self) -> &[ViewerReport] {
        &self.viewers
    }

    /// Writes the report and the drawing of the tree.
    pub(crate) fn write(&self, out: &Path) -> anyhow::Result<()> {
        json::write(&out.join("report.json"), self)?;
        let edges = self.viewers.iter().map(|viewer| (viewer.peer.clone(), viewer.parent.clone()));
        std::fs::write(out.join("tree.svg"), svg::tree(&edges.collect::<Vec<_>>()))?;
        Ok(())
    }

    /// Returns a summary of a few lines.
    pub(crate) fn summary(&self) -> String {
        let mut text = String::from("\n");
        for election in &self.elections {
            let opened = election.opened_ms.unwrap_or(election.decided_ms);
            let _ = writeln!(
                text,
                "term {} ({}): {} of {} signed after {:.1} s: mixer {}, standby {}",
                election.term,
                election.reason,
                election.signatures,
                election.roster,
                (election.decided_ms - opened) / 1000.0,
                election.mixers.join(" "),
                election.standbys.first().map_or("none", |standby| standby),
            );
        }
        for event in &self.events {
            let _ = writeln!(text, "{:.1} s {}: {}", event.at_ms / 1000.0, event.what, event.outcome());
        }
        if let Some(line) = &self.no_program {
            let _ = writeln!(text, "{line}");
        }
        let share =
            |viewer: &ViewerReport| viewer.frames_received as f64 / viewer.frames_expected.max(1) as f64;
        let worst = self.viewers.iter().map(share).fold(f64::INFINITY, f64::min);
        if worst.is_finite() {
            let _ = writeln!(
                text,
                "{} viewers, depth {}: the worst got {:.2} % of the pictures; bytes {:.2} x ideal",
                self.viewers.len(),
                self.tree.depth,
                100.0 * worst,
                self.tree.bytes_sent as f64 / self.tree.bytes_ideal.max(1) as f64,
            );
        }
        let cores = self.process.cpu_s / self.duration_s;
        let _ = write!(text, "{cores:.2} cores, {:.0} MiB", self.process.rss_mib);
        let _ = writeln!(text, "{}", self.seed.map(|seed| format!(", seed {seed}")).unwrap_or_default());
        text
    }
}

/// Returns the timeline of pictures that mixers made before they were killed or left.
fn ticks(figures: &[Figures], fps: u64, created_us: u64, end_us: u64) -> Ticks {
    let end_us = end_us.min(created_us + LOGGED_US);
    let made = figures.iter().flat_map(|one| {
        let until_us = one.gone_us.unwrap_or(u64::MAX).min(end_us.saturating_sub(END_US));
        one.made.iter().filter(move |frame| frame.at_us < until_us)
    });
    Ticks::of(made.map(|frame| frame.captured_us), fps, end_us)
}

fn viewer_index(part: Part) -> Option<usize> {
    match part {
        Part::Viewer(index) => Some(index),
        _ => None,
    }
}

fn speaker_index(part: Part) -> Option<usize> {
    match part {
        Part::Speaker(index) => Some(index),
        _ => None,
    }
}

fn reason_word(reason: ElectionReason) -> &'static str {
    match reason {
        ElectionReason::Opening => "opening",
        ElectionReason::Count => "count",
        ElectionReason::MixerGone => "mixer-gone",
        ElectionReason::Leave => "leave",
        ElectionReason::Trouble => "trouble",
        ElectionReason::Audience => "audience",
    }
}

fn modes(events: &[TimedEvent], cast: &Cast) -> Vec<ModeReport> {
    let changes = events.iter().filter_map(|(at_us, event)| match event {
        RoomEvent::Mode(mode) => Some(ModeReport { at_ms: cast.ms(*at_us), mode: mode_word(*mode) }),
        _ => None,
    });
    [ModeReport { at_ms: 0.0, mode: mode_word(Mode::Mesh) }].into_iter().chain(changes).collect()
}

fn elections(events: &[TimedEvent], cast: &Cast) -> Vec<ElectionReport> {
    let mut opened: BTreeMap<u32, u64> = BTreeMap::new();
    let mut elections = Vec::new();
    for (at_us, event) in events {
        match event {
            RoomEvent::ElectionOpened { term, .. } => {
                opened.insert(*term, *at_us);
            }
            RoomEvent::Elected { term, reason, signatures, roster, mixers, standbys, tallies } => {
                let scores = tallies.iter().map(|tally| {
                    let score = ScoreReport {
                        points: tally.points,
                        bandwidth_bps: tally.bandwidth_bps,
                        bitrate_bps: tally.bitrate_bps,
                        encode_us: tally.encode_us,
                        measurers: tally.measurers,
                    };
                    (short(&tally.peer), score)
                });
                elections.push(ElectionReport {
                    term: *term,
                    reason: reason_word(*reason),
                    opened_ms: opened.get(term).map(|at_us| cast.ms(*at_us)),
                    decided_ms: cast.ms(*at_us),
                    signatures: *signatures,
                    roster: *roster,
                    mixers: shorts(mixers),
                    standbys: shorts(standbys),
                    scores: scores.collect(),
                });
            }
            _ => {}
        }
    }
    elections
}

fn failovers(events: &[TimedEvent], cast: &Cast) -> Vec<FailoverReport> {
    let mut failovers: Vec<FailoverReport> = Vec::new();
    for (at_us, event) in events {
        match event {
            RoomEvent::Failover { rank, peer, .. } => failovers.push(FailoverReport {
                at_ms: cast.ms(*at_us),
                term: rank.term,
                failover: rank.failover_count,
                peer: short(peer),
                withdrawn: false,
            }),
            RoomEvent::Withdrawn { rank, peer } => {
                let withdrawn = |known: &&mut FailoverReport| {
                    (known.term, known.failover) == (rank.term, rank.failover_count)
                        && known.peer == short(peer)
                };
                failovers.iter_mut().filter(withdrawn).for_each(|known| known.withdrawn = true);
            }
            _ => {}
        }
    }
    failovers
}

fn mixers(one: &Figures, end_us: u64) -> Vec<MixerReport> {
    let report = |tenure: &Tenure| {
        let until_us = tenure.until_us.unwrap_or(end_us).min(one.gone_us.unwrap_or(u64::MAX));
        let seconds = until_us.saturating_sub(tenure.since_us) as f64 / 1e6;
        let per_second = |count: f64| (seconds > 0.0).then(|| round(count / seconds));
        // pictures made after a kill reached no peer
        let made = one.made.iter().filter(|frame| (tenure.since_us..until_us).contains(&frame.at_us)).count();
        MixerReport {
            peer: short(&one.peer),
            term: tenure.rank.term,
            failover: tenure.rank.failover_count,
            mode: if tenure.pass_through { "pass-through" } else { "mixer" },
            decoded_frames: tenure.decoded_frames,
            encoded_frames: tenure.encoded_frames,
            fps: per_second(made as f64),
            compose_encode_ms: tenure.compose_encode.map(P50P95::from),
            added_latency_ms: tenure.added_latency.map(P50P95::from),
            cpu_cores: per_second(tenure.cpu_us as f64 / 1e6),
            least_effort: tenure.least_effort.to_string(),
        }
    };
    one.tenures.iter().filter(|tenure| tenure.frames > 0).map(report).collect()
}

fn candidate(one: &Figures) -> Option<CandidateReport> {
    let Part::Candidate(_) = one.part else { return None };
    let after = one.tenures.iter().filter(|tenure| tenure.rank.term >= 1);
    Some(CandidateReport {
        peer: short(&one.peer),
        encoded_frames_after_term1: after.map(|tenure| tenure.encoded_frames).sum(),
    })
}

fn usage() -> libc::rusage {
    // SAFETY: an all-zero rusage is valid, and getrusage only writes to it
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    }
}

/// Returns the processor time of this process so far, seconds.
pub(crate) fn cpu_s() -> f64 {
    let usage = usage();
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Returns the peak memory of this process, MiB.
pub(crate) fn rss_mib() -> f64 {
    usage().ru_maxrss as f64 / 1024.0
}
