//! Report of a demo. Documentation and checks use its field names.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use futures::{StreamExt as _, stream};
use serde::Serialize;

use super::actor::Actor;
use super::aftermath::Aftermath;
use super::cast::{Cast, nobody_consents};
use super::churn::ChurnReport;
use super::event::EventReport;
use super::figures::{Figures, MixerTenure, P50P95, ViewerReport, short};
use super::peer::Part;
use super::process::ProcessReport;
use super::program::{END_US, Ticks};
use super::timeline::{self, ElectionReport, FailoverReport, ModeReport};
use crate::drawing::{self, TreePeer};
use crate::json::{self, round};
use crate::tell::NOBODY_CONSENTS;

/// Length of the picture logs: half an hour, by
/// [`Testing::keep_frame_log`](plenary::testing::Testing::keep_frame_log).
const LOGGED_US: u64 = 1_800_000_000;
/// Number of viewers that are asked for their figures at the same time. On a busy machine an answer takes a second;
/// more at a time would hold more picture logs in memory.
const ASKED_AT_ONCE: usize = 128;

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

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct TreeReport {
    depth: usize,
    children_max: usize,
    bytes_sent: u64,
    bytes_ideal: u64,
    /// Number of links between any two peers at the end, divided by the number of viewers.
    links_per_viewer: Option<f64>,
}

/// Resources used by one peer's process.
#[derive(Clone, Debug, Serialize)]
struct PeerProcess {
    peer: String,
    #[serde(flatten)]
    process: ProcessReport,
}

/// Complete report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    version: &'static str,
    seed: Option<u64>,
    duration_s: f64,
    /// Time at which the last initial peer had joined; `None` if the demo ended earlier.
    all_joined_ms: Option<f64>,
    modes: Vec<ModeReport>,
    elections: Vec<ElectionReport>,
    failovers: Vec<FailoverReport>,
    mixers: Vec<MixerReport>,
    candidates: Vec<CandidateReport>,
    speakers: Vec<SpeakerReport>,
    viewers: Vec<ViewerReport>,
    tree: TreeReport,
    events: Vec<EventReport>,
    churn: Option<ChurnReport>,
    process: ProcessReport,
    /// Resources used by the peers' processes; only with `--processes`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    processes: Vec<PeerProcess>,
    /// Message if the program was missing for some or all of the time.
    #[serde(skip)]
    no_program: Option<String>,
}

/// Sums and maxima over all peers.
#[derive(Default)]
struct Sums {
    tree: TreeReport,
    /// Number of children of each parent.
    children: BTreeMap<String, usize>,
    /// Number of ends of links: each link has two.
    link_ends: usize,
    processes: Vec<PeerProcess>,
}

impl Sums {
    fn add(&mut self, actor: &Actor, figures: &Figures) {
        self.tree.bytes_sent += figures.to_children_bytes;
        let viewer = actor.part.viewer_index().is_some();
        self.tree.bytes_ideal += if viewer { figures.program_bytes } else { 0 };
        let peer = short(&figures.peer);
        self.processes.extend(figures.process.map(|process| PeerProcess { peer, process }));
        if actor.gone_us().is_some() {
            return;
        }
        if let Some(parent) = &figures.viewer.parent {
            *self.children.entry(parent.clone()).or_default() += 1;
        }
        self.link_ends += figures.links;
    }

    fn tree(&self, viewers: &[ViewerReport]) -> TreeReport {
        let per_viewer = self.link_ends as f64 / 2.0 / viewers.len() as f64;
        TreeReport {
            depth: viewers.iter().filter_map(|viewer| viewer.depth).max().unwrap_or(0),
            children_max: self.children.values().copied().max().unwrap_or(0),
            links_per_viewer: (!viewers.is_empty()).then(|| round(per_viewer)),
            ..self.tree
        }
    }
}

impl Report {
    /// Collects the figures of all peers.
    pub(crate) async fn of(cast: &Cast) -> Report {
        let end_us = cast.now_us();
        let process = cast.read_gauge();
        let (timed, actors, indexes) = (cast.events(), cast.actors(), cast.speakers());
        let (audience, on_stage): (Vec<_>, Vec<_>) =
            actors.into_iter().partition(|actor| actor.part.viewer_index().is_some());
        let (sent_bytes, ideal_bytes) = cast.past_bytes();
        let tree = TreeReport { bytes_sent: sent_bytes, bytes_ideal: ideal_bytes, ..TreeReport::default() };
        let mut sums = Sums { tree, ..Sums::default() };
        let mut stage = Vec::new();
        for actor in on_stage {
            if let Some(figures) = figures(cast, &actor, &indexes).await {
                sums.add(&actor, &figures);
                stage.push((actor, figures));
            }
        }
        let ticks = ticks(&stage, u64::from(cast.args().room.program().fps), cast.created_us, end_us);
        let mut speakers = Vec::new();
        for (actor, one) in &stage {
            let Some(index) = actor.part.speaker_index() else { continue };
            speakers.push(SpeakerReport {
                peer: short(&one.peer),
                index,
                home_mixer: one.speech.home_mixer.clone(),
                sent_frames: one.speech.sent_frames,
                video_streams_sent: one.speech.video_streams_sent,
                heard_self_db: one.speech.heard_self_db,
                received: one.counted(&ticks, false),
            });
        }
        let mut events = cast.happened.lock().clone();
        let mut churned = cast.churned.lock().clone();
        let next_events_us = next_us(events.iter().map(EventReport::at_us));
        let next_departures_us = next_us(churned.aftermaths.iter().map(|aftermath| aftermath.at_us));
        let mut viewers = Vec::new();
        let all = stream::iter(audience).map(|actor| async {
            let figures = figures(cast, &actor, &indexes).await;
            figures.map(|figures| (actor, figures))
        });
        let mut all = std::pin::pin!(all.buffered(ASKED_AT_ONCE));
        while let Some(asked) = all.next().await {
            let Some((actor, one)) = asked else { continue };
            sums.add(&actor, &one);
            let Some(index) = actor.part.viewer_index().filter(|_| actor.gone_us().is_none()) else {
                continue;
            };
            let mut viewer = one.counted(&ticks, true);
            viewer.index = index;
            viewers.push(viewer);
            // the log continues while the figures are collected
            let arrivals_us = one.received.iter().map(|picture| picture.at_us);
            let mut arrivals_us: Vec<u64> = arrivals_us.filter(|arrived_us| *arrived_us < end_us).collect();
            arrivals_us.sort_unstable();
            for (event, next_at_us) in events.iter_mut().zip(&next_events_us) {
                event.judge(index, &arrivals_us, *next_at_us, end_us);
            }
            for (aftermath, next_at_us) in churned.aftermaths.iter_mut().zip(&next_departures_us) {
                Aftermath::judge(aftermath, index, &arrivals_us, *next_at_us, end_us);
            }
        }
        events.iter_mut().for_each(|event| event.complete(cast.ms(event.at_us())));
        let no_program = match ticks.without_s() {
            _ if ticks.is_empty() && nobody_consents(&cast.host()) => Some(NOBODY_CONSENTS.to_owned()),
            _ if viewers.is_empty() => None,
            _ if ticks.is_empty() => Some("there was no program".to_owned()),
            without_s => (without_s > 0.0).then(|| format!("there was no program for {without_s:.1} s")),
        };
        Report {
            version: env!("CARGO_PKG_VERSION"),
            seed: cast.args().room.seed,
            // a signal may have ended the demo early
            duration_s: cast.args().duration.as_secs_f64().min(cast.ms(end_us) / 1000.0),
            all_joined_ms: cast.all_joined_us.get().map(|at_us| cast.ms(*at_us)),
            modes: timeline::modes(&timed, cast),
            elections: timeline::elections(&timed, cast),
            failovers: timeline::failovers(&timed, cast),
            mixers: {
                let mut all: Vec<_> = stage.iter().flat_map(|one| mixers(one, end_us)).collect();
                all.sort_by_key(|mixer| (mixer.term, mixer.failover));
                all
            },
            candidates: stage.iter().filter_map(candidate).collect(),
            speakers,
            tree: sums.tree(&viewers),
            viewers,
            events,
            churn: cast.args().churn.map(|churn| churned.report(churn.share_per_min)),
            process,
            processes: sums.processes,
            no_program,
        }
    }

    pub(crate) fn viewers(&self) -> &[ViewerReport] {
        &self.viewers
    }

    /// Writes the report and the drawing of the tree.
    pub(crate) fn write(&self, out: &Path) -> anyhow::Result<()> {
        json::write(&out.join("report.json"), self)?;
        let nodes = self.viewers.iter().map(|viewer| TreePeer {
            id: viewer.peer.clone(),
            parent: viewer.parent.clone(),
            label: viewer.peer.clone(),
            about: String::new(),
        });
        std::fs::write(out.join("tree.svg"), drawing::tree(&nodes.collect::<Vec<_>>()))?;
        Ok(())
    }

    /// Returns a summary of a few lines.
    pub(crate) fn summary(&self) -> String {
        let mut text = String::from("\n");
        self.elections.iter().for_each(|election| text += &format!("{}\n", election.line()));
        self.events.iter().for_each(|event| text += &format!("{}\n", event.line()));
        self.churn.iter().for_each(|churn| text += &format!("{}\n", churn.outcome()));
        self.no_program.iter().for_each(|line| text += &format!("{line}\n"));
        if !self.viewers.is_empty() {
            let share = |viewer: &ViewerReport| {
                let expected = viewer.frames_expected as f64;
                (expected > 0.0).then(|| viewer.frames_received as f64 / expected)
            };
            let worst = self.viewers.iter().filter_map(share).reduce(f64::min);
            let without = self.viewers.iter().filter(|viewer| share(viewer).is_none()).count();
            let _ = write!(text, "{} viewers, depth {}", self.viewers.len(), self.tree.depth);
            if let Some(worst) = worst {
                let _ = write!(text, ": the worst got {:.2} % of the pictures", 100.0 * worst);
            }
            if without > 0 {
                let _ = write!(text, "; {without} got no picture");
            }
            let bytes = self.tree.bytes_sent as f64 / self.tree.bytes_ideal.max(1) as f64;
            let _ = writeln!(text, "; bytes {bytes:.2} x ideal");
        }
        text += &self.resources();
        text
    }

    /// Returns a line on the resources used by all processes.
    fn resources(&self) -> String {
        let all = || [&self.process].into_iter().chain(self.processes.iter().map(|one| &one.process));
        let mut parts =
            vec![format!("{:.2} cores", all().map(|one| one.cpu_s).sum::<f64>() / self.duration_s)];
        // missing on systems without /proc
        if let Some(mib) = all().map(|one| one.rss_mib).sum::<Option<f64>>() {
            parts.push(format!("{mib:.0} MiB"));
        }
        parts.extend(self.tree.links_per_viewer.map(|links| format!("{links:.1} links per viewer")));
        if let Some(descriptors) = all().map(|one| one.descriptors).sum::<Option<usize>>() {
            parts.push(format!("{descriptors} descriptors"));
        }
        if let Some(threads) = all().map(|one| one.threads).sum::<Option<usize>>() {
            parts.push(format!("{threads} threads"));
        }
        if !self.processes.is_empty() {
            parts.push(format!("{} processes", 1 + self.processes.len()));
        }
        parts.extend(self.seed.map(|seed| format!("seed {seed}")));
        format!("{}\n", parts.join(", "))
    }
}

/// Returns the figures of a peer; a failure makes the demo fail in the end.
async fn figures(cast: &Cast, actor: &Actor, speakers: &[usize]) -> Option<Figures> {
    match actor.figures(speakers).await {
        Ok(figures) => Some(figures),
        Err(error) => {
            cast.fail(format!("no figures of {:?}: {error:#}", actor.part));
            None
        }
    }
}

/// Returns the successor of each time; `None` for the last time.
fn next_us(times_us: impl Iterator<Item = u64>) -> Vec<Option<u64>> {
    times_us.skip(1).map(Some).chain([None]).collect()
}

/// Returns the timeline of pictures that mixers made before they were killed or left.
fn ticks(stage: &[(Arc<Actor>, Figures)], fps: u64, created_us: u64, end_us: u64) -> Ticks {
    let end_us = end_us.min(created_us + LOGGED_US);
    let made = stage.iter().flat_map(|(actor, one)| {
        let until_us = actor.gone_us().unwrap_or(u64::MAX).min(end_us.saturating_sub(END_US));
        one.made.iter().filter(move |picture| picture.at_us < until_us)
    });
    Ticks::of(made.map(|picture| picture.captured_us), fps, end_us)
}

fn mixers((actor, one): &(Arc<Actor>, Figures), end_us: u64) -> Vec<MixerReport> {
    let report = |tenure: &MixerTenure| {
        let until_us = tenure.until_us.unwrap_or(end_us).min(actor.gone_us().unwrap_or(u64::MAX));
        let seconds = until_us.saturating_sub(tenure.since_us) as f64 / 1e6;
        let per_second = |count: f64| (seconds > 0.0).then(|| round(count / seconds));
        // pictures made after a kill reached no peer
        let within = tenure.since_us..until_us;
        let made = one.made.iter().filter(|picture| within.contains(&picture.at_us)).count();
        MixerReport {
            peer: short(&one.peer),
            term: tenure.rank.term,
            failover: tenure.rank.failover_count,
            mode: if tenure.pass_through { "pass-through" } else { "mixer" },
            decoded_frames: tenure.decoded_frames,
            encoded_frames: tenure.encoded_frames,
            fps: per_second(made as f64),
            compose_encode_ms: tenure.compose_encode_ms,
            added_latency_ms: tenure.added_latency_ms,
            cpu_cores: per_second(tenure.cpu_us as f64 / 1e6),
            least_effort: tenure.least_effort.clone(),
        }
    };
    one.tenures.iter().filter(|tenure| tenure.frames > 0).map(report).collect()
}

fn candidate((actor, one): &(Arc<Actor>, Figures)) -> Option<CandidateReport> {
    let Part::Candidate(_) = actor.part else { return None };
    let after = one.tenures.iter().filter(|tenure| tenure.rank.term >= 1);
    Some(CandidateReport {
        peer: short(&one.peer),
        encoded_frames_after_term1: after.map(|tenure| tenure.encoded_frames).sum(),
    })
}
