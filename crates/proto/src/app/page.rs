//! What a page sees beside the events and the snapshot that natives see: names as they are shown, what a host sees of
//! its audience, and how the program arrives.

use serde::{Serialize, Serializer};

use crate::id::PeerId;
use crate::lobby::Newcomer;

/// What stands beside an event.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Aside {
    /// Names of the event's peers as they are shown, told apart from names that look alike.
    #[cfg_attr(test, ts(type = "Record<PeerId, string>"))]
    #[serde(serialize_with = "map")]
    pub labels: Vec<(PeerId, String)>,
    /// Number of events of this kind that came before this one since the last that was told: newcomers and raised hands
    /// are told at most once a second.
    pub others: usize,
}

/// A peer that waits for a decision of the host, or is in its directory.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Named {
    /// Id of the peer.
    pub peer: PeerId,
    /// Name of the peer.
    pub name: String,
}

/// A peer in the host's directory.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Listed {
    /// Id of the peer.
    pub peer: PeerId,
    /// Name of the peer.
    pub name: String,
    /// The peer that feeds it; null for none, and on stage.
    pub parent: Option<PeerId>,
    /// Hops from the mixer.
    pub depth: u8,
}

/// Quantiles of a time, in milliseconds.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Quantiles {
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
}

/// Kinds of media that this peer sends of its own.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Sends {
    /// A picture.
    pub picture: bool,
    /// Sound.
    pub sound: bool,
}

/// What a page sees beside the snapshot of its room.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct PageSnapshot {
    /// Names of all peers that this one knows of, as they are shown: told apart from names that look alike by the first
    /// digits of the id.
    #[cfg_attr(test, ts(type = "Record<PeerId, string>"))]
    #[serde(serialize_with = "map")]
    pub labels: Vec<(PeerId, String)>,
    /// At a page that has opened the room, otherwise null.
    pub invite: Option<String>,
    /// At the host: newcomers in the lobby.
    pub waiting: Vec<Newcomer>,
    /// At the host: peers that want to speak.
    pub wanting: Vec<Named>,
    /// At the host: its directory.
    pub directory: Vec<Listed>,
    /// The mixers as text, to be shown beside the program; null while nobody mixes.
    pub mixed_by: Option<String>,
    /// What this peer sends of its own.
    pub sends: Sends,
    /// Time from joining to the first picture.
    pub first_frame_ms: Option<f64>,
    /// Pictures that arrived.
    pub frames_received: u64,
    /// Pictures that were made since the first one that arrived.
    pub frames_expected: u64,
    /// Pictures that a relay left out, since a link didn't carry them all.
    pub frames_left_out: u64,
    /// Pictures that came more than a second after their capture.
    pub frames_late: u64,
    /// Null before any picture.
    pub longest_video_gap_ms: Option<f64>,
    /// Null before any sound.
    pub longest_audio_gap_ms: Option<f64>,
    /// From capture to arrival, of pictures.
    pub latency_ms: Option<Quantiles>,
    /// From capture to arrival, of sound.
    pub sound_latency_ms: Option<Quantiles>,
    /// How much later than its picture a moment's sound arrives.
    pub av_skew_ms: Option<Quantiles>,
}

fn map<S: Serializer>(labels: &[(PeerId, String)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(labels.iter().map(|(peer, label)| (peer, label)))
}
