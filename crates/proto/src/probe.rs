//! Bandwidth measurement of the candidates by packet trains.
//!
//! When an election opens, each candidate is measured by three peers of the roster, or five on a large stage.
//! They are drawn by a hash of the ids and the outcome in force, so that every peer knows the measurers and a
//! failed election doesn't change them.
//!
//! The measurer requests a packet train from the candidate and derives the bandwidth from the train's
//! dispersion. The first train, 26 kB as fast as the link goes, gives a guess. The following trains carry
//! what the guessed rate sends in 30 ms, at twice that rate, until the 95 % interval of the mean is within
//! ±10 % or [`TRAINS_MAX`] trains have arrived. Neither end takes part in two trains at once: a busy
//! candidate answers that it is busy, and the measurer requests the train again. The measurer signs the
//! result and sends it to the whole stage, with the stalls of the candidate observed since the two were
//! linked ([`crate::pauses`]).
//!
//! Each candidate also claims what only it knows: the speed of its codec, and the round trips of all its
//! links on stage, which its body measures anyway.

use crate::ordered::{OrderedMap, OrderedSet};
use std::collections::VecDeque;
use std::net::IpAddr;

use crate::app::Event;
use crate::bounded::{Bound, List};
use crate::bucket::{Buckets, Rate};
use crate::hashed_draw::{DrawKey, drawn};
use crate::id::PeerId;
use crate::io::{CodecClaim, Output};
use crate::links::Want;
use crate::message::{
    Claim, CodecSource, Consent, ElectionMessage, LineId, MEASURERS_MAX, MediaSeen, Message, ProbeMessage,
    ROSTER_MAX, ROUND_TRIPS_MAX, Report, Roster, RoundTrip,
};
use crate::score::bandwidth_bps_max;
use crate::seal::Signed;
use crate::time::{MS, SECOND, Time};
use crate::view::View;

/// Number of measurers per candidate: the smallest number with a median, which one liar can't move far. A large stage
/// has [`MEASURERS_MAX`]: where a fifth of the stage lies, liars are the majority of three measurers in one draw
/// of ten, but of five in one draw of seventeen.
const MEASURERS: usize = 3;
/// Maximum number of trains received per measurement. A guess: six of the longest trains take 7.2 s, less than
/// [`MEASURE_US_MAX`].
const TRAINS_MAX: usize = 6;
/// Size of the first train, which gives a guess. The dispersion is taken from half of its 24 packets: enough
/// for a guess, and no more disturbance of media than necessary.
pub(crate) const FIRST_TRAIN_BYTES: u32 = 24 * 1_100;
/// Maximum size of a train. Measured: trains of 200 kB found 100 Mbit/s within 0.3 %.
const TRAIN_BYTES: u32 = 200_000;
/// Time that a train may occupy the guessed line: slower lines get smaller trains, because media behind a
/// train waits for it. Measured: on a line of 8 Mbit/s that carried 6 Mbit/s of media, trains of 200 kB
/// caused gaps of 2 s.
const TRAIN_LINE_US: u64 = 30 * MS;
/// Maximum duration of a train on the wire, and so the longest time a candidate is busy with a train. A
/// guess.
const TRAIN_US_MAX: u64 = 1_200 * MS;
/// Timeout for a requested train, after which it counts as failed. After three failed trains the measurement
/// ends.
const ANSWER_US_MAX: u64 = TRAIN_US_MAX + 800 * MS;
pub(crate) const BUSY_RETRY_US: u64 = 60 * MS;
/// Trains to one measurer of an open election: a measurement at once, and one a second for failed trains and the next
/// election.
const TRAINS: Rate = Rate { per_s: 1, burst: TRAINS_MAX as u64 };
/// Minimum interval between trains to peers that are not measurers of an open election, all of them together. A guess.
const STRANGER_US: u64 = 500 * MS;
/// Maximum bandwidth that counts: 10 Tbit/s, above any real line. Sums and squares of such figures don't
/// overflow 128 bits.
pub(crate) const BANDWIDTH_BPS_MAX: u64 = 10_000_000_000_000;
/// Maximum number of measurements waiting: two full rosters.
const MEASUREMENTS_MAX: usize = 128;
/// Maximum number of reports kept per election: every peer of a full roster on every peer.
const REPORTS_MAX: usize = ROSTER_MAX * ROSTER_MAX;
/// Number of candidates above which a stage is large, and elections take more time and measurers.
pub(crate) const LARGE_STAGE: usize = 8;
/// Time after an opening at which each peer asks its body for the round trips of its links. Earlier, many
/// links are still being set up, and a new link needs a ping or two. Guesses, bounded by the time for
/// reports; the second applies to large stages.
const ROUND_TRIPS_US: u64 = SECOND;
const ROUND_TRIPS_US_LARGE: u64 = 3 * SECOND;
/// Maximum duration of a measurement, after which the samples so far are reported. A guess.
const MEASURE_US_MAX: u64 = 8 * SECOND;

/// Student's t, two-sided 95 %, times 1000, for 1 to 5 degrees of freedom. A test compares it with statrs.
pub(crate) const T_95_MILLI: [u64; TRAINS_MAX - 1] = [12_706, 4_303, 3_182, 2_776, 2_571];

/// Measurement of one candidate by this peer.
#[derive(Debug)]
struct Measurement {
    candidate: PeerId,
    since: Option<Time>,
    samples: Vec<u64>,
    rtt_us: u32,
    paused_ppm: u32,
    media: Option<MediaSeen>,
    line: Option<LineId>,
    failures: u32,
    /// Codec times claimed by the candidate.
    codec: Option<CodecClaim>,
    /// Measured for this peer's own user: the result isn't sent to other peers.
    private: bool,
}

impl Measurement {
    fn new(candidate: PeerId, private: bool) -> Measurement {
        Measurement {
            candidate,
            since: None,
            samples: Vec::new(),
            rtt_us: 0,
            paused_ppm: 0,
            media: None,
            line: None,
            failures: 0,
            codec: None,
            private,
        }
    }
}

/// Train that this peer has requested.
#[derive(Debug)]
struct Awaited {
    train: u32,
    candidate: PeerId,
    give_up_at: Time,
}

/// Result of a train that has ended.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Measured bandwidth; `None` if the train failed.
    pub(crate) bandwidth_bps: Option<u64>,
    pub(crate) rtt_us: u32,
    pub(crate) paused_ppm: u32,
    pub(crate) media: Option<MediaSeen>,
    /// Address of the candidate's end of the link, if the link knows it.
    pub(crate) address: Option<IpAddr>,
}

/// Processor time for one 1280×720 picture, in microseconds.
#[derive(Clone, Copy, Debug)]
struct CodecTimes {
    encode_us: u32,
    decode_us: u32,
    source: CodecSource,
    at: Time,
}

/// Trains sent to measurers, per peer.
#[derive(Debug)]
struct Granted(Buckets<ROSTER_MAX>);

impl Default for Granted {
    fn default() -> Granted {
        Granted(Buckets::new(TRAINS))
    }
}

/// State of this peer as a measurer and as a measured candidate.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    term: u32,
    queue: VecDeque<Measurement>,
    awaited: Option<Awaited>,
    next_at: Option<Time>,
    trains: u32,
    /// This peer is busy sending a train until then.
    busy_until: Time,
    /// Trains to measurers.
    granted: Granted,
    /// Earliest time of the next train to a peer that is no measurer.
    stranger_at: Time,
    /// Earliest time of the next claim for a peer that isn't on stage.
    claim_at: Time,
    /// Whether an election is open. `taken_on`: candidates that this peer measures in it.
    open: bool,
    taken_on: OrderedSet<PeerId>,
    /// Processor time of this machine's codecs; `None` until measured.
    codec: Option<CodecTimes>,
    /// Bitrate that this mixer's links carry, in percent of the request; `None` unless it mixed.
    rate_percent: Option<u8>,
    /// When to request the round trips of this peer's links from its body.
    ask_at: Option<Time>,
    round_trips: List<RoundTrip, ROUND_TRIPS_MAX>,
    claimed_to: OrderedSet<PeerId>,
    claim: Option<Signed<Claim>>,
}

/// Returns the measurers of a candidate: three of the present peers, or five on a large stage, drawn by the
/// hash of (draw, candidate, measurer).
pub(crate) fn measurers(roster: &Roster, draw: &DrawKey, candidate: &PeerId) -> Vec<PeerId> {
    let present = || roster.entries.iter().filter(|entry| !entry.away);
    let candidates = present().filter(|entry| roster.may_mix(entry)).count();
    let count = if candidates > LARGE_STAGE { MEASURERS_MAX } else { MEASURERS };
    let others = present().map(|entry| &entry.peer).filter(|peer| *peer != candidate);
    drawn("plenary 1 measurers", &[draw, &candidate.0], others, count)
}

impl Probe {
    /// Takes the processor time of this machine's codecs, and claims it.
    pub(crate) fn codec_times(
        &mut self,
        view: &mut View<'_>,
        encode_us: u32,
        decode_us: u32,
        source: CodecSource,
    ) {
        let times = CodecTimes { encode_us, decode_us, source, at: view.now };
        let before = self.codec.replace(times);
        let is_new = |before: CodecTimes| (before.encode_us, before.decode_us) != (encode_us, decode_us);
        if before.is_none_or(is_new) {
            self.claim_anew(view);
        }
    }

    /// Takes the bitrate that this mixer's links carry, in percent of what the room requests, for its next claim.
    pub(crate) fn rate_percent(&mut self, percent: u8) {
        self.rate_percent = Some(percent.min(100));
    }

    /// Takes the round trips of this peer's links from the body, and claims those to peers on stage.
    pub(crate) fn round_trips(&mut self, view: &mut View<'_>, rtts_us: &[(PeerId, u32)]) {
        let on_stage = rtts_us.iter().filter(|(peer, rtt_us)| *rtt_us > 0 && view.stage.contains(peer));
        self.round_trips = List::truncated(on_stage.map(|(peer, rtt_us)| RoundTrip::new(peer, *rtt_us)));
        self.claim_anew(view);
    }

    fn claim_anew(&mut self, view: &mut View<'_>) {
        self.claim = None;
        self.claimed_to.clear();
        self.spread_claim(view);
    }

    /// Sends this peer's claim to the peers on stage that haven't got it.
    pub(crate) fn spread_claim(&mut self, view: &mut View<'_>) {
        if view.config.consent == Consent::Never || !view.on_stage() {
            return;
        }
        let Some(claim) = self.claim.take().or_else(|| self.sign_claim(view)) else { return };
        self.claim = Some(claim.clone());
        self.claimed_to.retain(|peer| view.stage.contains(peer));
        for entry in view.stage.entries() {
            if entry.peer != view.me && self.claimed_to.insert(entry.peer) {
                view.out.send(entry.peer, ElectionMessage::Claim(claim.clone()));
            }
        }
    }

    /// Signs a claim; `None` for a peer without codec times.
    fn sign_claim(&self, view: &mut View<'_>) -> Option<Signed<Claim>> {
        let CodecTimes { encode_us, decode_us, source, at } = self.codec?;
        Some(view.sign(Claim {
            term: self.term,
            encode_us,
            decode_us,
            codec_source: source,
            codec_age_s: u16::try_from(view.now.since(at) / SECOND).unwrap_or(u16::MAX),
            uplink_bps_max: view.config.uplink_bps_max,
            rate_percent: self.rate_percent.unwrap_or(100),
            round_trips: self.round_trips.clone(),
        }))
    }

    /// Notes the codec times that a candidate claims, for a measurement for this peer's own user.
    pub(crate) fn claimed(&mut self, claim: &Signed<Claim>) {
        let Claim { encode_us, decode_us, codec_source: source, codec_age_s: age_s, .. } = claim.body;
        for measurement in self.queue.iter_mut().filter(|measurement| measurement.candidate == claim.sender) {
            measurement.codec = Some(CodecClaim { encode_us, decode_us, source, age_s });
        }
    }

    /// Returns this peer's own claim, for its own ballot.
    pub(crate) fn own_claim(&self) -> Option<&Signed<Claim>> {
        self.claim.as_ref()
    }

    /// Starts measuring for an election that has opened.
    pub(crate) fn opened(&mut self, view: &mut View<'_>, term: u32) {
        self.closed(view);
        (self.term, self.open) = (term, true);
        // claims expire after ten minutes: each election gets a fresh claim, once the links to be measured
        // are up
        let settles_us = match view.stage.candidates().len() {
            0..=1 => 0, // a single candidate needs no comparison
            2..=LARGE_STAGE => ROUND_TRIPS_US,
            _ => ROUND_TRIPS_US_LARGE,
        };
        self.ask_at = Some(view.now + settles_us);
        self.take_on(view);
    }

    /// Takes on the candidates that this peer has to measure and hasn't taken on yet. When a measurer leaves,
    /// the next in the draw replaces it.
    pub(crate) fn take_on(&mut self, view: &mut View<'_>) {
        let Some(roster) = view.stage.roster().filter(|_| self.open) else { return };
        let draw = view.draw();
        let mut mine = view.stage.candidates().to_vec();
        mine.retain(|candidate| {
            self.queue.len() + self.taken_on.len() < MEASUREMENTS_MAX
                && measurers(roster, &draw, candidate).contains(&view.me)
                && !view.mandate.has_lost(candidate)
                && self.taken_on.insert(*candidate)
        });
        view.rng.shuffle(&mut mine);
        for candidate in mine {
            view.links.want(view.now, view.out, Want::Probe, candidate);
            self.queue.push_back(Measurement::new(candidate, false));
            self.next_at.get_or_insert(view.now);
        }
    }

    /// Measures the path from a candidate to this peer for this peer's own user.
    pub(crate) fn measure(&mut self, view: &mut View<'_>, candidate: PeerId) {
        if self.queue.len() < MEASUREMENTS_MAX && view.stage.contains(&candidate) && candidate != view.me {
            view.links.want(view.now, view.out, Want::Probe, candidate);
            self.queue.push_back(Measurement::new(candidate, true));
            self.next_at.get_or_insert(view.now);
        }
    }

    /// Ends measuring for the election, and drops its unfinished measurements.
    pub(crate) fn closed(&mut self, view: &mut View<'_>) {
        self.open = false;
        self.taken_on.clear();
        self.queue.retain(|measurement| {
            if !measurement.private {
                view.links.unwant(view.now, Want::Probe, measurement.candidate);
            }
            measurement.private
        });
        let measured = |awaited: &Awaited| self.queue.iter().any(|m| m.candidate == awaited.candidate);
        self.awaited = self.awaited.take().filter(measured);
        if self.awaited.is_none() {
            self.next_at = (!self.queue.is_empty()).then_some(view.now);
        }
    }

    /// Handles a peer's request for a train. `asked`: this peer wants that measurement ([`crate::uplink`]).
    /// Returns whether the train is sent.
    pub(crate) fn wanted(
        &mut self,
        view: &mut View<'_>,
        peer: PeerId,
        (train, bytes, rate_bps): (u32, u32, u64),
        asked: bool,
    ) -> bool {
        if view.config.consent == Consent::Never && !asked {
            return false;
        }
        let now = view.now;
        // a peer on stage has the claim
        if !asked && !view.stage.contains(&peer) && now >= self.claim_at {
            self.claim_at = now + STRANGER_US;
            if let Some(claim) = self.sign_claim(view) {
                view.out.send(peer, ElectionMessage::Claim(claim));
            }
        }
        if now < self.busy_until || bytes > TRAIN_BYTES || !(asked || self.grants(view, peer)) {
            view.out.send(peer, ProbeMessage::ProbeBusy { train });
            return false;
        }
        let rate_bps = if asked { rate_bps } else { paced(view, rate_bps) };
        let paced_us = (u64::from(bytes) * 8 * SECOND).checked_div(rate_bps).unwrap_or(0);
        self.busy_until = now + paced_us.clamp(50 * MS, TRAIN_US_MAX);
        view.out.act(Output::Train { peer, train, bytes, rate_bps });
        true
    }

    /// Returns whether a peer is granted a train now, and if so counts it. A measurer drawn for an open election has a
    /// measurement's trains. All others have few together, since ids are free to create, and from a mixer in force
    /// none.
    fn grants(&mut self, view: &View<'_>, peer: PeerId) -> bool {
        let roster = view.stage.roster().filter(|_| self.open);
        if roster.is_some_and(|roster| measurers(roster, &view.draw(), &view.me).contains(&peer)) {
            return self.granted.0.take(view.now, peer, 1);
        }
        let grants = !view.mixes() && view.now >= self.stranger_at;
        if grants {
            self.stranger_at = view.now + STRANGER_US;
        }
        grants
    }

    /// Returns whether this peer waits for a candidate's train.
    pub(crate) fn is_at_work(&self) -> bool {
        self.awaited.is_some()
    }

    /// Handles the answer of a candidate that is busy with another train.
    pub(crate) fn busy(&mut self, view: &mut View<'_>, peer: PeerId, train: u32) {
        if self.awaited.as_ref().is_some_and(|awaited| awaited.train == train && awaited.candidate == peer) {
            self.awaited = None;
            let is_private = self.queue.front().is_some_and(|front| front.private);
            if is_private {
                self.report_if_done(view); // a mixer is always busy
            }
            self.queue.rotate_left(usize::from(!self.queue.is_empty()));
            self.next_at = Some(view.now + view.rng.jitter(BUSY_RETRY_US));
        }
    }

    /// Takes the result of a train that has ended, and returns the report if the measurement is done.
    pub(crate) fn measured(
        &mut self,
        view: &mut View<'_>,
        peer: PeerId,
        train: u32,
        shown: Shown,
    ) -> Option<Signed<Report>> {
        if !self.awaited.as_ref().is_some_and(|awaited| awaited.train == train && awaited.candidate == peer) {
            return None;
        }
        self.awaited = None;
        self.next_at = Some(view.now);
        let measurement = self.queue.front_mut().filter(|measurement| measurement.candidate == peer)?;
        (measurement.rtt_us, measurement.paused_ppm, measurement.media) =
            (shown.rtt_us, shown.paused_ppm, shown.media);
        measurement.line = shown.address.and_then(|address| LineId::of(&view.config.room, address));
        match shown.bandwidth_bps {
            Some(bandwidth_bps) => measurement.samples.push(bandwidth_bps.min(BANDWIDTH_BPS_MAX)),
            None => measurement.failures += 1,
        }
        self.report_if_done(view)
    }

    /// Signs and sends the report of the measurement at the front of the queue, if that measurement is done.
    fn report_if_done(&mut self, view: &mut View<'_>) -> Option<Signed<Report>> {
        let front = self.queue.front()?;
        let tired = front.since.is_some_and(|since| view.now.since(since) >= MEASURE_US_MAX);
        // trains of a sitting mixer share its line with its program, so the best sample counts
        let sits = view.mandate.sitting().contains(&front.candidate);
        let best = front.samples.iter().max().copied().unwrap_or(0);
        let enough = !sits || 2 * best >= view.stage.roster().map_or(0, bandwidth_bps_max);
        let settled = front.samples.len() > 2 && narrow(&front.samples[1..]) && enough;
        let done = settled || front.samples.len() >= TRAINS_MAX || front.failures >= 3 || tired;
        if !done {
            return None;
        }
        let front = self.queue.pop_front()?;
        view.links.unwant(view.now, Want::Probe, front.candidate);
        // the first sample is only a guess, but better than no sample
        let kept = if front.samples.len() > 1 { &front.samples[1..] } else { &front.samples[..] };
        if front.private {
            let (peer, rtt_us) = (front.candidate, front.rtt_us);
            let (media, codec) = (front.media, front.codec);
            view.out.event(Event::Measured { peer, samples_bps: kept.to_vec(), rtt_us, media, codec });
            return None;
        }
        if kept.is_empty() {
            return None;
        }
        let sum: u128 = kept.iter().map(|sample| u128::from(*sample)).sum();
        let mean = (sum / kept.len() as u128) as u64;
        let bandwidth_bps = if sits { best } else { mean };
        let report = view.sign(Report {
            term: self.term,
            candidate: front.candidate,
            bandwidth_bps,
            rtt_us: front.rtt_us,
            paused_ppm: front.paused_ppm,
            media: front.media,
            line: front.line,
        });
        view.send_stage(&Message::Election(ElectionMessage::Report(report.clone())));
        Some(report)
    }

    /// Requests the next train when it is due. Returns a report if a timeout has ended a measurement.
    pub(crate) fn on_time(&mut self, view: &mut View<'_>) -> Option<Signed<Report>> {
        if self.ask_at.take_if(|at| *at <= view.now).is_some() {
            view.out.act(Output::TellRoundTrips);
        }
        if let Some(awaited) = &self.awaited
            && awaited.give_up_at <= view.now
        {
            self.awaited = None;
            if let Some(front) = self.queue.front_mut() {
                front.failures += 1;
            }
            let report = self.report_if_done(view);
            self.queue.rotate_left(usize::from(!self.queue.is_empty()));
            self.next_at = Some(view.now);
            if report.is_some() {
                return report;
            }
        }
        if self.awaited.is_some() || self.next_at.is_none_or(|at| at > view.now) {
            return None;
        }
        self.next_at = None;
        // the first candidate in the queue with a link; the others get their turn later
        let ready = self.queue.iter().position(|measurement| view.links.is_up(&measurement.candidate));
        let Some(ready) = ready else {
            if !self.queue.is_empty() {
                self.next_at = Some(view.now + BUSY_RETRY_US);
                if let Some(front) = self.queue.front_mut() {
                    front.since.get_or_insert(view.now);
                }
                return self.report_if_done(view);
            }
            return None;
        };
        self.queue.rotate_left(ready);
        if view.now < self.busy_until {
            self.next_at = Some(self.busy_until);
            return None;
        }
        let front = self.queue.front_mut()?;
        front.since.get_or_insert(view.now);
        let guess = if view.mandate.sitting().contains(&front.candidate) {
            front.samples.iter().max() // a program picture may have delayed the first train
        } else {
            front.samples.first()
        };
        let (bytes, rate_bps) = match guess {
            None => (FIRST_TRAIN_BYTES, 0),
            Some(guess) => (train_bytes(*guess, TRAIN_LINE_US), 2 * guess),
        };
        let rate_bps = paced(view, rate_bps);
        self.trains += 1;
        let (train, candidate) = (self.trains, front.candidate);
        self.awaited = Some(Awaited { train, candidate, give_up_at: view.now + ANSWER_US_MAX });
        view.out.send(candidate, ProbeMessage::ProbeWanted { train, bytes, rate_bps });
        None
    }

    pub(crate) fn bounds(&self) -> [Bound; 4] {
        [
            Bound::new("measurers that were sent trains", self.granted.0.len(), ROSTER_MAX),
            Bound::new("queued measurements", self.queue.len(), MEASUREMENTS_MAX),
            Bound::new("candidates to be measured in an election", self.taken_on.len(), MEASUREMENTS_MAX),
            Bound::new("peers that have this peer's claim", self.claimed_to.len(), ROSTER_MAX),
        ]
    }

    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let train_at = match &self.awaited {
            Some(awaited) => Some(awaited.give_up_at),
            None => self.next_at,
        };
        self.ask_at.into_iter().chain(train_at).min()
    }
}

/// Returns the rate of a train for a requested one. Once media flows, no train is faster than the bandwidth that
/// counts, or it would delay the media.
fn paced(view: &View<'_>, rate_bps: u64) -> u64 {
    let most = (view.mandate.rank.term > 0).then(|| view.stage.roster().map_or(0, bandwidth_bps_max));
    match most {
        Some(most) if rate_bps == 0 || rate_bps > most => most,
        _ => rate_bps,
    }
}

/// Returns the size of a train that occupies a line of the guessed rate for `line_us`, from
/// [`FIRST_TRAIN_BYTES`] to [`TRAIN_BYTES`].
pub(crate) fn train_bytes(guess_bps: u64, line_us: u64) -> u32 {
    let carried = u128::from(guess_bps) * u128::from(line_us) / u128::from(8 * SECOND);
    carried.clamp(FIRST_TRAIN_BYTES.into(), TRAIN_BYTES.into()) as u32
}

/// Returns whether the 95 % interval of the mean lies within ±10 % of the mean. Uses integers, so that every
/// machine gets the same result.
fn narrow(samples: &[u64]) -> bool {
    let n = samples.len() as u128;
    let Some(t_milli) = T_95_MILLI.get(samples.len().wrapping_sub(2)) else { return false };
    let mean = samples.iter().map(|sample| u128::from(*sample)).sum::<u128>() / n;
    let squares: u128 = samples.iter().map(|sample| u128::from(*sample).abs_diff(mean).pow(2)).sum();
    // t · s / √n ≤ mean / 10, squared: t² · Σ(x − mean)² · 100 ≤ mean² · n · (n − 1)
    let t = u128::from(*t_milli);
    t * t * squares / 1_000_000 * 100 <= mean * mean * n * (n - 1)
}

/// Reports of one election, one per measurer and candidate.
#[derive(Debug, Default)]
pub(crate) struct Reports(OrderedMap<(PeerId, PeerId), (Time, Signed<Report>)>);

impl Reports {
    /// Keeps a report; a measurer's first report on a candidate counts.
    pub(crate) fn add(&mut self, now: Time, report: Signed<Report>) {
        if self.0.len() < REPORTS_MAX {
            self.0.entry((report.body.candidate, report.sender)).or_insert((now, report));
        }
    }

    pub(crate) fn bounds(&self) -> [Bound; 1] {
        [Bound::new("reports of an election", self.0.len(), REPORTS_MAX)]
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns all reports with their arrival times, sorted by candidate and measurer.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Time, Signed<Report>)> {
        self.0.values()
    }

    pub(crate) fn has(&self, candidate: &PeerId, measurer: &PeerId) -> bool {
        self.0.contains_key(&(*candidate, *measurer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_that_agree_are_narrow_and_others_are_not() {
        assert!(narrow(&[100, 101, 99]));
        assert!(!narrow(&[100, 150]));
        assert!(!narrow(&[100, 120, 80]));
        assert!(!narrow(&[100]) && !narrow(&[]));
        assert!(narrow(&[0, 0]));
    }

    #[test]
    fn the_table_of_t_is_the_one_of_statistics() {
        use statrs::distribution::{ContinuousCDF, StudentsT};
        for (index, milli) in T_95_MILLI.iter().enumerate() {
            let t = StudentsT::new(0.0, 1.0, (index + 1) as f64).unwrap().inverse_cdf(0.975);
            assert_eq!((t * 1000.0).round() as u64, *milli);
        }
    }
}
