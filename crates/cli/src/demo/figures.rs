//! Raw figures of one peer, in a form that also crosses process boundaries.

use plenary::{FrameSeen, Nat, PeerId, Rank, ReceptionStats, Room, Spread, Tenure, Way};
use serde::{Deserialize, Serialize};

use super::process::ProcessReport;
use super::program::Ticks;
use crate::json::round;

/// Returns a peer's name in reports: the first eight bytes of its id, in hex.
pub(crate) fn short(peer: &PeerId) -> String {
    peer.to_string()[..16].to_owned()
}

/// Median and 95th percentile, milliseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct P50P95 {
    p50: f64,
    p95: f64,
}

impl From<Spread> for P50P95 {
    fn from(spread: Spread) -> P50P95 {
        P50P95 { p50: round(spread.p50_ms), p95: round(spread.p95_ms) }
    }
}

/// Figures of a peer that watches.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ViewerReport {
    #[serde(skip)]
    pub(crate) index: usize,
    pub(crate) peer: String,
    pub(crate) depth: Option<usize>,
    pub(crate) parent: Option<String>,
    backup: Option<String>,
    first_frame_ms: Option<f64>,
    pub(crate) frames_expected: u64,
    pub(crate) frames_received: u64,
    /// Pictures that a relay left out, since a link didn't carry them all.
    frames_left_out: u64,
    frames_late: u64,
    longest_video_gap_ms: Option<f64>,
    longest_audio_gap_ms: Option<f64>,
    latency_ms: Option<P50P95>,
    sound_latency_ms: Option<P50P95>,
    av_skew_ms: Option<P50P95>,
    reparented: u32,
    /// By which way the link with the parent goes.
    way: Option<Way>,
    links: Vec<LinkReport>,
    nat: Nat,
}

/// A connected link of a peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct LinkReport {
    peer: String,
    way: Way,
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
            sound_latency_ms: reception.sound_latency.map(P50P95::from),
            av_skew_ms: reception.av_skew.map(P50P95::from),
            reparented: snapshot.reparented,
            way: snapshot.way,
            nat: snapshot.nat,
            links: snapshot
                .links
                .iter()
                .map(|link| LinkReport { peer: short(&link.peer), way: link.way })
                .collect(),
        }
    }
}

/// Times of one picture, microseconds since 1970.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct PictureTimes {
    pub(crate) captured_us: u64,
    /// Time of the hand-over to the application; at a mixer, of making the picture.
    pub(crate) at_us: u64,
}

impl From<&FrameSeen> for PictureTimes {
    fn from(seen: &FrameSeen) -> PictureTimes {
        PictureTimes { captured_us: seen.captured_us, at_us: seen.at_us }
    }
}

/// A peer's tenure as a mixer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MixerTenure {
    pub(crate) rank: Rank,
    pub(crate) pass_through: bool,
    pub(crate) since_us: u64,
    /// `None` while it lasts.
    pub(crate) until_us: Option<u64>,
    pub(crate) decoded_frames: u64,
    pub(crate) encoded_frames: u64,
    pub(crate) frames: u64,
    pub(crate) compose_encode_ms: Option<P50P95>,
    pub(crate) added_latency_ms: Option<P50P95>,
    pub(crate) cpu_us: u64,
    pub(crate) least_effort: String,
}

impl From<&Tenure> for MixerTenure {
    fn from(tenure: &Tenure) -> MixerTenure {
        MixerTenure {
            rank: tenure.rank,
            pass_through: tenure.pass_through,
            since_us: tenure.since_us,
            until_us: tenure.until_us,
            decoded_frames: tenure.decoded_frames,
            encoded_frames: tenure.encoded_frames,
            frames: tenure.frames,
            compose_encode_ms: tenure.compose_encode.map(P50P95::from),
            added_latency_ms: tenure.added_latency.map(P50P95::from),
            cpu_us: tenure.cpu_us,
            least_effort: tenure.least_effort.to_string(),
        }
    }
}

/// Figures of a peer as a speaker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Speech {
    pub(crate) home_mixer: Option<String>,
    pub(crate) sent_frames: u64,
    pub(crate) video_streams_sent: usize,
    pub(crate) heard_self_db: Option<f64>,
}

/// All figures of one peer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) peer: PeerId,
    pub(crate) viewer: ViewerReport,
    pub(crate) speech: Speech,
    /// Pictures that it received.
    pub(crate) received: Vec<PictureTimes>,
    /// Pictures of the program that it made.
    pub(crate) made: Vec<PictureTimes>,
    pub(crate) tenures: Vec<MixerTenure>,
    /// Bytes of received program packets, duplicates not counted.
    pub(crate) program_bytes: u64,
    pub(crate) to_children_bytes: u64,
    pub(crate) links: usize,
    /// Resources used by its process; `None` in the demo's own process.
    pub(crate) process: Option<ProcessReport>,
}

impl Figures {
    /// Returns the report with pictures counted by the mixers' ticks. In a mesh there are none, and the
    /// peer's own counts stay.
    pub(crate) fn counted(&self, ticks: &Ticks, all: bool) -> ViewerReport {
        let captured_us = self.received.iter().map(|picture| picture.captured_us);
        let counted = if ticks.is_empty() { None } else { ticks.count(captured_us, all) };
        let mut viewer = self.viewer.clone();
        if let Some((expected, received)) = counted {
            (viewer.frames_expected, viewer.frames_received) = (expected, received);
        }
        viewer
    }
}

/// A peer's place in the tree, read while the demo runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Glance {
    pub(crate) parent: Option<PeerId>,
    pub(crate) depth: Option<usize>,
    pub(crate) children: usize,
    pub(crate) speaks: bool,
}

impl Glance {
    pub(crate) fn of(room: &Room) -> Glance {
        let watched = room.watch();
        let snapshot = watched.borrow(); // a clone would copy the whole stage
        Glance {
            parent: snapshot.parent,
            depth: snapshot.depth,
            children: snapshot.children.len(),
            speaks: snapshot.speaks,
        }
    }
}
