//! The course of the room in a demo's report, by the events of its host: modes, elections, failovers.

use std::collections::BTreeMap;

use plenary::{ElectionReason, Mode, PeerId, RoomEvent, Sources, Tally};
use serde::Serialize;

use super::cast::Cast;
use super::figures::short;
use crate::figure_sources::{Ages, Origins, codec_word};
use crate::tell::mode_word;

/// Event reported by the host's room, with its time.
pub(crate) type TimedEvent = (u64, RoomEvent);

/// Whether an event belongs to the report.
pub(crate) fn is_reported(event: &RoomEvent) -> bool {
    matches!(
        event,
        RoomEvent::Mode { .. }
            | RoomEvent::ElectionOpened { .. }
            | RoomEvent::Elected { .. }
            | RoomEvent::Failover { .. }
            | RoomEvent::Withdrawn { .. }
    )
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
    /// Percentage of the requested media that arrived.
    delivered_percent: Option<u8>,
    encode_us: Option<u32>,
    measurers: usize,
    age_ms: Ages,
    source: Origins,
}

impl ScoreReport {
    fn of(tally: &Tally) -> ScoreReport {
        let Sources { bandwidth_by_media, reports_age_s, codec, codec_age_s } = tally.sources;
        let ms = |seconds: u32| u64::from(seconds) * 1000;
        let has_media = tally.bitrate_bps.is_some();
        ScoreReport {
            points: tally.points,
            bandwidth_bps: tally.bandwidth_bps,
            bitrate_bps: tally.bitrate_bps,
            delivered_percent: tally.delivered_percent,
            encode_us: tally.encode_us,
            measurers: tally.measurers,
            age_ms: Ages {
                bandwidth: reports_age_s.map(ms),
                bitrate: reports_age_s.filter(|_| has_media).map(ms),
                encode: codec_age_s.map(ms),
            },
            source: Origins {
                bandwidth: reports_age_s.map(|_| if bandwidth_by_media { "media" } else { "train" }),
                bitrate: Some(if has_media { "media" } else { "mean" }),
                encode: codec.map(codec_word),
            },
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct ElectionReport {
    term: u32,
    reason: &'static str,
    opened_ms: Option<f64>,
    decided_ms: f64,
    signatures: usize,
    /// `None` where the roster isn't known.
    roster: Option<usize>,
    mixers: Vec<String>,
    standbys: Vec<String>,
    scores: BTreeMap<String, ScoreReport>,
}

impl ElectionReport {
    /// Returns a line on the election and its outcome.
    pub(crate) fn line(&self) -> String {
        let opened_ms = self.opened_ms.unwrap_or(self.decided_ms);
        let of = self.roster.map(|roster| format!(" of {roster}")).unwrap_or_default();
        format!(
            "term {} ({}): {}{of} signed after {:.1} s: mixer {}, standby {}",
            self.term,
            self.reason,
            self.signatures,
            (self.decided_ms - opened_ms) / 1000.0,
            self.mixers.join(" "),
            self.standbys.first().map_or("none", |standby| standby),
        )
    }
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct FailoverReport {
    at_ms: f64,
    term: u32,
    failover: u16,
    peer: String,
    withdrawn: bool,
}

fn shorts(peers: &[PeerId]) -> Vec<String> {
    peers.iter().map(short).collect()
}

fn reason_word(reason: ElectionReason) -> &'static str {
    match reason {
        ElectionReason::Opening => "opening",
        ElectionReason::Count => "count",
        ElectionReason::MixerGone => "mixer-gone",
        ElectionReason::Leave => "leave",
        ElectionReason::Trouble => "trouble",
        ElectionReason::Audience => "audience",
        _ => "other",
    }
}

pub(crate) fn modes(events: &[TimedEvent], cast: &Cast) -> Vec<ModeReport> {
    let changes = events.iter().filter_map(|(at_us, event)| match event {
        RoomEvent::Mode { mode } => Some(ModeReport { at_ms: cast.ms(*at_us), mode: mode_word(*mode) }),
        _ => None,
    });
    [ModeReport { at_ms: 0.0, mode: mode_word(Mode::Mesh) }].into_iter().chain(changes).collect()
}

pub(crate) fn elections(events: &[TimedEvent], cast: &Cast) -> Vec<ElectionReport> {
    let mut opened: BTreeMap<u32, u64> = BTreeMap::new();
    let mut elections = Vec::new();
    for (at_us, event) in events {
        match event {
            RoomEvent::ElectionOpened { term, .. } => {
                opened.insert(*term, *at_us);
            }
            RoomEvent::Elected { term, reason, signatures, roster, mixers, standbys, tallies } => {
                let scores = tallies.iter().map(|tally| (short(&tally.peer), ScoreReport::of(tally)));
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

pub(crate) fn failovers(events: &[TimedEvent], cast: &Cast) -> Vec<FailoverReport> {
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
