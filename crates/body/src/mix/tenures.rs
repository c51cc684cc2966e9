//! Tenures: what this peer made as a mixer under each rank, for reports.

use plenary_media::mixer::{Effort, Percentiles};
use plenary_proto::identity::MediaKind;
use plenary_proto::{MixRole, Rank};

use super::{Mix, MixFigures};
use crate::stats::Spread;

/// Maximum number of past tenures that are kept.
const TENURES_MAX: usize = 64;

/// One tenure of this peer as a mixer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Tenure {
    /// Rank of the mandate.
    pub rank: Rank,
    /// Whether frames were passed through at its end, not composed.
    pub pass_through: bool,
    /// Begin, microseconds since 1970.
    pub since_us: u64,
    /// End; `None` while it lasts.
    pub until_us: Option<u64>,
    /// Number of speakers' pictures decoded.
    pub decoded_frames: u64,
    /// Number of program pictures encoded.
    pub encoded_frames: u64,
    /// Number of program pictures made, encoded or passed through.
    pub frames: u64,
    /// Time to compose and encode one picture; `None` when passed through.
    pub compose_encode: Option<Spread>,
    /// Latency that the mixer adds, from a picture's due time to its output; `None` when passed through.
    pub added_latency: Option<Spread>,
    /// Bitrate of the program's picture: what the room requests, or less, as much as the viewers' links carry.
    pub rate_bps: u32,
    /// CPU time of the mixer's threads, in microseconds.
    pub cpu_us: u64,
    /// Least work that the mixer spent on pictures: below [`Effort::Full`] only for lack of CPU time.
    pub least_effort: Effort,
}

/// Counters at the begin of a tenure.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    decoded: u64,
    encoded: u64,
    made: u64,
    cpu_us: u64,
}

impl Mix {
    pub(super) fn mark(&self) -> Mark {
        let made = self.program.as_ref().map_or(0, |program| program.frames(MediaKind::Video));
        let MixFigures { decoded, encoded, cpu_us, .. } = self.figures;
        Mark { decoded, encoded, made: u64::from(made), cpu_us }
    }

    pub(super) fn end_tenure(&mut self, rank: Rank, now_us: u64) {
        let tenure = Tenure { until_us: Some(now_us), ..self.tenure(rank) };
        self.tenures.push(tenure);
        if self.tenures.len() > TENURES_MAX {
            self.tenures.remove(0);
        }
    }

    fn tenure(&self, rank: Rank) -> Tenure {
        let mark = self.mark();
        let composes = self.passing_through.is_none();
        let spread = |of: Option<Percentiles>| {
            of.filter(|_| composes)
                .map(|of| Spread { p50_ms: of.p50 as f64 / 1000.0, p95_ms: of.p95 as f64 / 1000.0 })
        };
        Tenure {
            rank,
            pass_through: !composes,
            since_us: self.since_us,
            until_us: None,
            decoded_frames: mark.decoded.saturating_sub(self.mark.decoded),
            encoded_frames: mark.encoded.saturating_sub(self.mark.encoded),
            frames: mark.made.saturating_sub(self.mark.made),
            compose_encode: spread(self.figures.compose_encode_us),
            added_latency: spread(self.figures.added_latency_us),
            rate_bps: self.rate_bps,
            cpu_us: mark.cpu_us.saturating_sub(self.mark.cpu_us),
            least_effort: self.least_effort,
        }
    }

    /// Returns this peer's tenures as a mixer, the present one last.
    pub(crate) fn tenures(&self) -> Vec<Tenure> {
        let present = match self.role {
            MixRole::Mix { rank, .. } => Some(self.tenure(rank)),
            MixRole::Rest | MixRole::Warm { .. } => None,
        };
        self.tenures.iter().cloned().chain(present).collect()
    }
}
