//! Report of a run in figures, as printed by `plenary sim`, pooled over seeds. Figures that weren't measured
//! are `None`.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use plenary_proto::time::SECOND;
use serde::Serialize;

use crate::arrivals::Latencies;
use crate::media::FRAME_US;
use crate::peer::Peer;
use crate::plan::MediaModel;
use crate::scenario::Target;
use crate::world::World;

/// Median and tail of a distribution of times, milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// Maximum.
    pub max: f64,
}

impl Percentiles {
    /// Percentiles of times in microseconds; `None` if there are none.
    pub fn of_us(values: Vec<u64>) -> Option<Percentiles> {
        let mut counted = BTreeMap::new();
        values.into_iter().for_each(|us| *counted.entry(us).or_default() += 1);
        Percentiles::of_counted(&counted)
    }

    /// Percentiles of times in microseconds, given with the number of their occurrences.
    pub fn of_counted(counted: &BTreeMap<u64, u64>) -> Option<Percentiles> {
        let all: u64 = counted.values().sum();
        let at = |share: f64| {
            let mut left = (all.checked_sub(1)? as f64 * share).round() as u64;
            let found = counted.iter().find(|(_, count)| {
                let here = left < **count;
                left = left.saturating_sub(**count);
                here
            });
            found.map(|(us, _)| *us as f64 / 1000.0)
        };
        Some(Percentiles { p50: at(0.5)?, p95: at(0.95)?, max: at(1.0)? })
    }
}

/// What the viewers of some runs received, as counts that can be summed.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Viewers that received any frame, or waited for one longer than joining takes.
    pub viewers: u64,
    /// Viewers that never waited longer than half a second.
    pub viewers_calm: u64,
    /// Frames made while the viewers were present, summed over the viewers.
    pub frames: u64,
    /// Frames that arrived within one second of their capture.
    pub frames_within_1s: u64,
    /// Frames that arrived within 600 ms of their capture.
    pub frames_within_600ms: u64,
    /// Frames that were shown but had been forged by a relay.
    pub frames_forged: u64,
    /// Frames that were sent towards viewers.
    pub frames_sent: u64,
    /// Changes of parents, each viewer's first one not counted.
    pub parent_changes: u64,
    /// Latencies from capture to arrival.
    pub(crate) latencies: Latencies,
}

impl Received {
    /// Adds the counts of another run.
    pub fn add(&mut self, other: &Received) {
        self.viewers += other.viewers;
        self.viewers_calm += other.viewers_calm;
        self.frames += other.frames;
        self.frames_within_1s += other.frames_within_1s;
        self.frames_within_600ms += other.frames_within_600ms;
        self.frames_forged += other.frames_forged;
        self.frames_sent += other.frames_sent;
        self.parent_changes += other.parent_changes;
        self.latencies.add_all(&other.latencies);
    }
}

/// How well the program reached the viewers.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Delivery {
    /// Share of the frames made while a viewer was present that it received within one second.
    pub frames_within_1s: Option<f64>,
    /// Share of the frames made while a viewer was present that it received within 600 ms.
    pub frames_within_600ms: Option<f64>,
    /// Share of the wanted frames for which a viewer was shown a relay's forgery.
    pub frames_forged: Option<f64>,
    /// Share of the viewers that never waited longer than half a second.
    pub viewers_without_gap_500ms: Option<f64>,
    /// Frames sent, divided by frames wanted.
    pub bytes_over_ideal: Option<f64>,
    /// Number of times that a viewer changed its parent, by its own choice or not.
    pub parent_changes_per_viewer: Option<f64>,
    /// Latency from capture to arrival.
    pub latency_ms: Option<Percentiles>,
    /// Mean latency in the calm, divided by the mean in the oracle's tree without losses and queues.
    pub latency_over_oracle: Option<f64>,
    /// Mean latency in the calm, divided by the mean in the oracle's tree with the losses, jitter and pauses
    /// of the same network, packet by packet but without brains: that tree exists from the beginning and
    /// doesn't change.
    pub latency_over_oracle_in_weather: Option<f64>,
    /// The oracle's latency for the room's tree at the end of the run, divided by its latency for its own
    /// tree: one-way delays and uplinks only.
    pub ways_over_oracle: Option<f64>,
    /// Share of the pieces of application data due at viewers that arrived exactly once.
    pub data_reached: Option<f64>,
}

impl From<&Received> for Delivery {
    fn from(received: &Received) -> Delivery {
        Delivery {
            // frames at both ends of a stay are not counted twice
            frames_within_1s: share(received.frames_within_1s.min(received.frames), received.frames),
            frames_within_600ms: share(received.frames_within_600ms.min(received.frames), received.frames),
            frames_forged: share(received.frames_forged, received.frames),
            viewers_without_gap_500ms: share(received.viewers_calm, received.viewers),
            bytes_over_ideal: share(received.frames_sent, received.frames),
            parent_changes_per_viewer: share(received.parent_changes, received.viewers),
            latency_ms: received.latencies.percentiles(),
            latency_over_oracle: None,
            latency_over_oracle_in_weather: None,
            ways_over_oracle: None,
            data_reached: None,
        }
    }
}

/// How the stage elected and lost its mixers.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Elections {
    /// Number of decided ballots.
    pub count: u64,
    /// Time from the opening of an election to a binding ballot.
    pub decided_ms: Option<Percentiles>,
    /// Share of opening elections with a choice within 5 % of the best possible one. Judged in separate
    /// rooms, drawn by the same seeds ([`crate::rooms`]): fifty peers on stage, an audience that joins later,
    /// the scenario's weather and liars.
    pub within_5pct_of_oracle: Option<f64>,
    /// Time from the end of a partition until all peers followed the same mixers, checked each 50 ms.
    pub agreed_ms: Option<Percentiles>,
    /// Partitions after which other mixers were in force than those that the majority of the stage had
    /// followed.
    pub deposed_by_a_minority: Option<u64>,
    /// Changes of mixers per 10 minutes of mixing.
    pub changes_per_10min: Option<f64>,
    /// Failovers from a living mixer that at least one viewer followed, per 1,000 hours of mixing.
    pub false_failovers_per_1000h: Option<f64>,
    /// Failovers from a living mixer that were declared at all, per 24 hours of mixing.
    pub false_declarations_per_24h: Option<f64>,
    /// Hours of mixing, the base of the rates above.
    pub mixer_hours: f64,
}

/// Depth of the viewers at the end of the run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Depth {
    /// Maximum depth; a mixer's depth is 0.
    pub max: Option<u64>,
    /// Mean depth.
    pub mean: Option<f64>,
    /// Mean depth in the oracle's tree.
    pub oracle_mean: Option<f64>,
}

/// Pictures shown at one kind of place, in a room with pages.
#[derive(Clone, Debug, Serialize)]
pub struct PagePlace {
    /// Whether the viewers there are pages, or native peers.
    pub is_page: bool,
    /// Depth; a mixer's is 0.
    pub depth: u8,
    /// Number of pages above.
    pub pages_above: u8,
    /// Share of all pictures shown.
    pub share: f64,
    /// Latency from capture to the picture shown.
    pub latency_ms: Option<Percentiles>,
}

/// How pages and native relays fared, in a room with pages; at the end of the runs unless it says otherwise.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PagesFigures {
    /// Number of native viewers, of one run.
    pub natives: f64,
    /// Number of pages, of one run.
    pub pages: f64,
    /// Share of the pages that may feed others.
    pub may_relay: Option<f64>,
    /// Share of the pages that feed others.
    pub relay: Option<f64>,
    /// Pages that have a place, for each native viewer.
    pub fed_per_native: Option<f64>,
    /// Share of the viewers without a place.
    pub without_place: Option<f64>,
    /// Share of those that were told so, or came or lost their place less than 10 s before.
    pub told: Option<f64>,
    /// Share of the pictures due at viewers while they had a place that were shown within a second, in the whole runs.
    pub frames_within_1s: Option<f64>,
    /// Latencies by place, in the whole runs.
    pub places: Vec<PagePlace>,
}

/// Counts behind [`PagesFigures`], which can be summed.
#[derive(Clone, Debug, Default)]
pub struct PagesSeen {
    natives: u64,
    pages: u64,
    may_relay: u64,
    relay: u64,
    pages_fed: u64,
    without_place: u64,
    told: u64,
    due: u64,
    in_time: u64,
    by_place: BTreeMap<(bool, (u8, u8)), Latencies>,
}

impl PagesSeen {
    /// Adds the counts of another run.
    pub fn add(&mut self, other: &PagesSeen) {
        self.natives += other.natives;
        self.pages += other.pages;
        self.may_relay += other.may_relay;
        self.relay += other.relay;
        self.pages_fed += other.pages_fed;
        self.without_place += other.without_place;
        self.told += other.told;
        self.due += other.due;
        self.in_time += other.in_time;
        for (place, latencies) in &other.by_place {
            self.by_place.entry(*place).or_default().add_all(latencies);
        }
    }

    /// Figures of that many runs; `None` if there were no pages.
    pub fn figures(&self, runs: u64) -> Option<PagesFigures> {
        let of_one = |count: u64| rounded(count as f64 / runs.max(1) as f64);
        let shown: u64 = self.by_place.values().map(Latencies::count).sum();
        let place = |(&(is_page, (depth, pages_above)), latencies): (&_, &Latencies)| PagePlace {
            is_page,
            depth,
            pages_above,
            share: share(latencies.count(), shown).unwrap_or_default(),
            latency_ms: latencies.percentiles(),
        };
        (self.pages > 0).then(|| PagesFigures {
            natives: of_one(self.natives),
            pages: of_one(self.pages),
            may_relay: share(self.may_relay, self.pages),
            relay: share(self.relay, self.pages),
            fed_per_native: share(self.pages_fed, self.natives),
            without_place: share(self.without_place, self.natives + self.pages),
            told: share(self.told, self.without_place),
            frames_within_1s: share(self.in_time.min(self.due), self.due),
            places: self.by_place.iter().map(place).collect(),
        })
    }
}

/// A violated invariant, with run and time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Seed of the run.
    pub seed: u64,
    /// Time of the violation, milliseconds.
    pub at_ms: u64,
    /// Name of the checker that found it.
    pub checker: String,
    /// Description of the violation.
    pub what: String,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found { seed, at_ms, checker, what } = self;
        write!(f, "seed {seed} at {:.1} s: {checker}: {what}", *at_ms as f64 / 1000.0)
    }
}

/// A target of the scenario, and the measured figure.
#[derive(Clone, Debug, Serialize)]
pub struct Aim {
    /// Path of the figure in this report, such as `repair_ms.p95`.
    pub figure: String,
    /// Upper bound of the figure.
    pub at_most: Option<f64>,
    /// Lower bound of the figure.
    pub at_least: Option<f64>,
    /// Measured value.
    pub measured: Option<f64>,
    /// Whether the target is met; `None` if the figure wasn't measured.
    pub met: Option<bool>,
}

/// Result of a scenario.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Name of the scenario.
    pub scenario: String,
    /// Title of the scenario.
    pub title: String,
    /// First seed.
    pub seed: u64,
    /// Number of seeds.
    pub runs: u64,
    /// Number of peers at the beginning of one run; replacements of departed peers aren't counted.
    pub peers: usize,
    /// Level of detail of the program's distribution.
    pub media_model: &'static str,
    /// Simulated seconds, summed over all runs.
    pub room_time_s: f64,
    /// Number of inputs of all brains.
    pub inputs: u64,
    /// Number of inputs per peer and second.
    pub inputs_per_peer_s: f64,
    /// Hash of all brains' outputs: equal for equal seeds.
    pub trace_hash: String,
    /// How the stage elected and lost its mixers.
    pub elections: Elections,
    /// How well the program reached the viewers.
    pub delivery: Delivery,
    /// Time from a fault to the next frame, for the viewers that it affected.
    pub repair_ms: Option<Percentiles>,
    /// Time from joining to the first frame.
    pub join_ms: Option<Percentiles>,
    /// Depth of the viewers at the end of the run.
    pub depth: Depth,
    /// How pages fared; `None` in a room without pages.
    pub pages: Option<PagesFigures>,
    /// Share of the processor time of the busiest machine that its peers used, the largest of all runs; `None` if no
    /// machine's time is limited.
    pub busiest_machine: Option<f64>,
    /// Memory of the world per peer, in bytes; measured only when a single run is alone in the process.
    pub bytes_per_peer: Option<u64>,
    /// The scenario's targets, with the measured figures.
    pub targets: Vec<Aim>,
    /// Peers that lost all links while there was no rendezvous, and so dropped out of the room: they can't be
    /// reached, so the liveness checkers don't count them.
    pub stranded: usize,
    /// Violations that the checkers found, the first ones of each run.
    pub violations: Vec<Found>,
}

/// Quotient of part and whole; `None` if the whole is 0.
pub(crate) fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| rounded(part as f64 / whole as f64))
}

/// Rounds to six decimals: further digits are noise, and people read reports too.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

impl Report {
    /// Fills in the measured values of the scenario's targets.
    pub(crate) fn aim(&mut self, targets: &[Target]) {
        let all = serde_json::to_value(&*self).unwrap_or_default();
        let aims = targets.iter().map(|target| {
            let measured = figure(&all, &target.figure);
            let met = measured.map(|value| {
                target.at_most.is_none_or(|most| value <= most)
                    && target.at_least.is_none_or(|least| value >= least)
            });
            Aim {
                figure: target.figure.clone(),
                at_most: target.at_most,
                at_least: target.at_least,
                measured,
                met,
            }
        });
        self.targets = aims.collect();
    }

    /// Summary for a reader in some lines, without the time that the run took.
    pub fn summary(&self) -> String {
        let mut text = format!("{}: {}\n", self.scenario, self.title);
        let mut row = |name: &str, value: String| {
            let _ = writeln!(text, "  {name:<26} {value}");
        };
        row(
            "runs",
            format!(
                "{} from seed {}: {} peers, {:.0} s of room time, {} level",
                self.runs, self.seed, self.peers, self.room_time_s, self.media_model
            ),
        );
        let elections = &self.elections;
        row("elections", elections.count.to_string());
        let mut times = |name, times: &Option<Percentiles>| {
            if let Some(Percentiles { p50, p95, max }) = times {
                row(name, format!("{p50:.0} ms median, {p95:.0} ms p95, {max:.0} ms at most"));
            }
        };
        times("opening to ballot", &elections.decided_ms);
        times("healed to agreed", &elections.agreed_ms);
        times("first picture", &self.join_ms);
        times("picture after a failure", &self.repair_ms);
        times("capture to arrival", &self.delivery.latency_ms);
        let mut number = |name, value: Option<f64>, scale: f64, unit: &str| {
            if let Some(value) = value {
                row(name, format!("{:.2}{unit}", value * scale));
            }
        };
        number("pictures within 1 s", self.delivery.frames_within_1s, 100.0, " %");
        number("pictures within 600 ms", self.delivery.frames_within_600ms, 100.0, " %");
        number("pictures forged", self.delivery.frames_forged.filter(|share| *share > 0.0), 100.0, " %");
        number("viewers never waiting", self.delivery.viewers_without_gap_500ms, 100.0, " %");
        number("sent over wanted", self.delivery.bytes_over_ideal, 1.0, "");
        number("changes per 10 min", elections.changes_per_10min, 1.0, "");
        number("within 5 % of the oracle", elections.within_5pct_of_oracle, 100.0, " %");
        number("data that came", self.delivery.data_reached, 100.0, " %");
        number("depth", self.depth.mean, 1.0, " on average");
        number("the oracle's", self.depth.oracle_mean, 1.0, " on average");
        number("latency over the oracle's", self.delivery.latency_over_oracle, 1.0, "");
        number("in the same weather", self.delivery.latency_over_oracle_in_weather, 1.0, "");
        number("ways alone", self.delivery.ways_over_oracle, 1.0, "");
        if let Some(pages) = &self.pages {
            number("pages that may relay", pages.may_relay, 100.0, " %");
            number("pages that relay", pages.relay, 100.0, " %");
            number("pages fed by a native", pages.fed_per_native, 1.0, "");
            number("viewers without a place", pages.without_place, 100.0, " %");
            number("of them told", pages.told, 100.0, " %");
            number("in time with a place", pages.frames_within_1s, 100.0, " %");
        }
        number("parents changed", self.delivery.parent_changes_per_viewer, 1.0, " times by a viewer");
        number("busiest machine", self.busiest_machine, 100.0, " % of its processor time");
        number("memory of a peer", self.bytes_per_peer.map(|bytes| bytes as f64), 1e-3, " kB");
        for place in self.pages.iter().flat_map(|pages| &pages.places) {
            let Some(Percentiles { p50, p95, .. }) = place.latency_ms else { continue };
            let kind = if place.is_page { "page" } else { "native" };
            let name = format!("{kind}, depth {}", place.depth);
            let share = 100.0 * place.share;
            let above = place.pages_above;
            row(
                &name,
                format!("{above} pages above: {p50:.0} ms median, {p95:.0} ms p95, {share:.1} % of pictures"),
            );
        }
        for aim in &self.targets {
            let bound = match (aim.at_least, aim.at_most) {
                (Some(least), _) => format!("at least {least}"),
                (None, Some(most)) => format!("at most {most}"),
                (None, None) => "to be seen".to_owned(),
            };
            let measured = aim.measured.map_or("not measured".to_owned(), |value| value.to_string());
            let mark = if aim.met == Some(false) { ": MISSED" } else { "" };
            row("aim", format!("{} {bound}: {measured}{mark}", aim.figure));
        }
        if self.stranded > 0 {
            row("stranded", format!("{} of {}", self.stranded, self.peers as u64 * self.runs));
        }
        row("violations", self.violations.len().to_string());
        text
    }
}

impl Report {
    /// A report with every figure measured: each path that may hold a number holds one.
    fn full() -> Report {
        let (value, times) = (Some(0.0), Some(Percentiles { p50: 0.0, p95: 0.0, max: 0.0 }));
        Report {
            scenario: String::new(),
            title: String::new(),
            seed: 0,
            runs: 0,
            peers: 0,
            media_model: "",
            room_time_s: 0.0,
            inputs: 0,
            inputs_per_peer_s: 0.0,
            trace_hash: String::new(),
            elections: Elections {
                count: 0,
                decided_ms: times,
                within_5pct_of_oracle: value,
                agreed_ms: times,
                deposed_by_a_minority: Some(0),
                changes_per_10min: value,
                false_failovers_per_1000h: value,
                false_declarations_per_24h: value,
                mixer_hours: 0.0,
            },
            delivery: Delivery {
                frames_within_1s: value,
                frames_within_600ms: value,
                frames_forged: value,
                viewers_without_gap_500ms: value,
                bytes_over_ideal: value,
                parent_changes_per_viewer: value,
                latency_ms: times,
                latency_over_oracle: value,
                latency_over_oracle_in_weather: value,
                ways_over_oracle: value,
                data_reached: value,
            },
            repair_ms: times,
            join_ms: times,
            depth: Depth { max: Some(0), mean: value, oracle_mean: value },
            pages: Some(PagesFigures {
                natives: 0.0,
                pages: 0.0,
                may_relay: value,
                relay: value,
                fed_per_native: value,
                without_place: value,
                told: value,
                frames_within_1s: value,
                places: Vec::new(),
            }),
            busiest_machine: value,
            bytes_per_peer: Some(0),
            targets: Vec::new(),
            stranded: 0,
            violations: Vec::new(),
        }
    }
}

/// Checks that reports have a number at this path; otherwise the error names the known paths nearby.
pub(crate) fn is_figure(place: &str) -> Result<(), String> {
    let full = serde_json::to_value(Report::full()).unwrap_or_default();
    if figure(&full, place).is_some() {
        return Ok(());
    }
    let mut known = Vec::new();
    places(&full, "", &mut known);
    let group = |place: &str| place.split('.').next().unwrap_or(place).to_owned();
    let near: Vec<&str> =
        known.iter().filter(|known| group(known) == group(place)).map(String::as_str).collect();
    let named = if near.is_empty() { known.join(", ") } else { near.join(", ") };
    Err(format!("{place} is no figure of a report: {named}"))
}

/// Collects the paths of all numbers below a value.
fn places(value: &serde_json::Value, place: &str, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                places(value, &place, found);
            }
        }
        serde_json::Value::Number(_) => found.push(place.to_owned()),
        _ => {}
    }
}

/// The number at a path such as `repair_ms.p95`.
fn figure(report: &serde_json::Value, place: &str) -> Option<f64> {
    place.split('.').try_fold(report, |value, name| value.get(name))?.as_f64()
}

/// Time after which a viewer without a frame counts as waiting rather than joining, microseconds.
const JOINING_US: u64 = SECOND;
/// Time within which a viewer without a place is told so, with some time for the refusals, microseconds.
const TOLD_US: u64 = 13 * SECOND;
/// Length of a gap that a viewer notices, microseconds.
const GAP_US: u64 = SECOND / 2;

impl World {
    /// Times from joining to the first frame, microseconds. A viewer that has had no frame counts with the
    /// time that it waited, if that is longer than joining takes.
    pub fn join_us(&self) -> Vec<u64> {
        let viewers = self.peers.iter().filter(|peer| peer.views);
        let waited = |peer: &Peer| {
            let until = peer.gone_since().unwrap_or(self.now);
            Some(until.since(peer.joined_at)).filter(|us| *us > JOINING_US)
        };
        let joined = |peer: &Peer| Some(peer.arrivals.first()?.since(peer.joined_at));
        viewers.filter_map(|peer| joined(peer).or_else(|| waited(peer))).collect()
    }

    /// Depth of every living viewer; a mixer's depth is 0.
    pub fn depths(&self) -> Vec<usize> {
        let viewers = self.viewers();
        viewers.iter().map(|viewer| self.snapshot(*viewer).path.len().saturating_sub(1)).collect()
    }

    /// What all viewers have received so far while they were present.
    pub fn received(&self) -> Received {
        let frames_sent = match self.plan().media {
            MediaModel::Fluid => self.frames_flowed(),
            _ => self.packets_sent,
        };
        let mut received = Received { frames_sent, ..Received::default() };
        for (at, peer) in self.peers.iter().enumerate().filter(|(_, peer)| peer.views) {
            received.parent_changes += peer.parents.saturating_sub(1);
            let until = peer.gone_since().unwrap_or(self.now);
            let arrivals = self.arrivals(at);
            let Some(first) = arrivals.first() else {
                if until.since(peer.joined_at) > JOINING_US {
                    received.viewers += 1;
                    received.frames += until.since(peer.joined_at) / FRAME_US;
                }
                continue;
            };
            let on_the_way_us = arrivals.latencies.as_ref().map_or(0, |latencies| latencies.mean_us());
            // by the time of capture: two mixers that run in parallel make one program
            let frames = until.since(first).saturating_sub(on_the_way_us).div_ceil(FRAME_US);
            received.frames += frames;
            // surplus frames at one viewer don't compensate for another's missing ones
            received.frames_within_1s += arrivals.within_1s.min(frames);
            received.frames_within_600ms += arrivals.within_600ms.min(frames);
            received.frames_forged += arrivals.forged;
            received.viewers += 1;
            let waits_us = arrivals.last().map_or(0, |last| until.since(last));
            received.viewers_calm += u64::from(arrivals.longest_gap_us.max(waits_us) <= GAP_US);
            if let Some(latencies) = &arrivals.latencies {
                received.latencies.add_all(latencies);
            }
        }
        received
    }

    /// How pages and native relays have fared so far.
    pub fn pages_seen(&self) -> PagesSeen {
        let mut seen = PagesSeen { by_place: self.shown_by_place.clone(), ..PagesSeen::default() };
        for (at, peer) in self.peers.iter().enumerate().filter(|(_, peer)| peer.views) {
            let due = self.due_while_placed(at);
            seen.due += due;
            seen.in_time += peer.place.in_time.min(due);
            if !peer.is_there() {
                continue;
            }
            let snapshot = peer.brain().snapshot();
            if let Some(state) = peer.shell().and_then(|shell| shell.page.as_ref()) {
                seen.pages += 1;
                seen.may_relay += u64::from(state.children_max > 0);
                seen.relay += u64::from(!snapshot.children.is_empty());
                seen.pages_fed += u64::from(snapshot.parent.is_some());
            } else {
                seen.natives += 1;
            }
            if snapshot.parent.is_none() {
                seen.without_place += 1;
                let lately = self.now().since(peer.joined_at) < TOLD_US
                    || peer.arrivals.last().is_some_and(|last| self.now().since(last) < TOLD_US);
                seen.told += u64::from(peer.place.is_told || lately);
            }
        }
        seen
    }

    /// How well the program has reached the viewers so far.
    pub fn delivery(&self) -> Delivery {
        Delivery::from(&self.received())
    }
}
