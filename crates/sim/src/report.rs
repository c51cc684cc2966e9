//! What a run says in figures.

use serde::Serialize;

use crate::world::World;

/// Median and tails of some times.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Percentiles {
    /// Half are below.
    pub p50: f64,
    /// 95 of 100 are below.
    pub p95: f64,
    /// The worst.
    pub max: f64,
}

impl Percentiles {
    /// Of microseconds, in milliseconds; `None` of nothing.
    pub fn of_us(mut values: Vec<u64>) -> Option<Percentiles> {
        values.sort_unstable();
        let at = |share: f64| {
            let index = ((values.len() - 1) as f64 * share).round() as usize;
            values[index] as f64 / 1000.0
        };
        (!values.is_empty()).then(|| Percentiles { p50: at(0.5), p95: at(0.95), max: at(1.0) })
    }
}

/// How well the program reached the viewers.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Delivery {
    /// Of the frames made while a viewer was there, those that it had within a second.
    pub frames_within_1s: f64,
    /// Viewers that never waited for over half a second.
    pub viewers_without_gap_500ms: f64,
    /// Frames sent over frames wanted.
    pub bytes_over_ideal: f64,
    /// From capture to arrival.
    pub latency_ms: Option<Percentiles>,
}

/// The result of a scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Its name.
    pub scenario: String,
    /// The first seed.
    pub seed: u64,
    /// How many seeds.
    pub runs: u64,
    /// Peers of one run.
    pub peers: usize,
    /// What the program is modelled as.
    pub media_model: &'static str,
    /// Simulated seconds of all runs.
    pub room_time_s: f64,
    /// Inputs of all brains.
    pub inputs: u64,
    /// Per peer and second.
    pub inputs_per_peer_s: f64,
    /// Equal seeds, equal hashes.
    pub trace_hash: String,
    /// How well the program reached the viewers.
    pub delivery: Delivery,
    /// From a failure to the next frame, for those it hit.
    pub repair_ms: Option<Percentiles>,
    /// From joining to the first frame.
    pub join_ms: Option<Percentiles>,
    /// From opening to a binding ballot.
    pub decided_ms: Option<Percentiles>,
    /// Deepest viewer.
    pub depth_max: usize,
    /// What the checkers found.
    pub violations: Vec<String>,
}

impl World {
    /// Times from joining to the first frame, microseconds.
    pub fn join_us(&self) -> Vec<u64> {
        let viewers = self.peers.iter().filter(|peer| peer.views);
        viewers.filter_map(|peer| peer.arrivals.first().map(|(at, _)| at.since(peer.joined_at))).collect()
    }

    /// The depth of every living viewer; a mixer's is 0.
    pub fn depths(&self) -> Vec<usize> {
        let viewers = self.viewers();
        viewers.iter().map(|viewer| self.snapshot(*viewer).path.len().saturating_sub(1)).collect()
    }

    /// How well the program reached the viewers.
    pub fn delivery(&self) -> Delivery {
        let (mut wanted, mut in_time, mut calm, mut viewers) = (0, 0, 0, 0);
        let mut latencies = Vec::new();
        for peer in self.peers.iter().filter(|peer| peer.views && peer.alive) {
            let Some((first, _)) = peer.arrivals.first() else { continue };
            viewers += 1;
            let mut last = *first;
            let mut longest = 0;
            for (at, frame) in &peer.arrivals {
                longest = longest.max(at.since(last));
                last = *at;
                latencies.push(at.since(frame.captured));
                in_time += u64::from(at.since(frame.captured) <= 1_000_000 && frame.captured >= *first);
            }
            // by the time of capture: side by side, two mixers make one program
            wanted += self.now.since(*first).saturating_sub(1_000_000) / crate::media::FRAME_US;
            calm += u64::from(longest <= 500_000);
        }
        let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
        Delivery {
            frames_within_1s: share(in_time, wanted).min(1.0),
            viewers_without_gap_500ms: share(calm, viewers),
            bytes_over_ideal: share(self.frames_sent, wanted),
            latency_ms: Percentiles::of_us(latencies),
        }
    }
}
