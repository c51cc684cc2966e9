//! Scoring: ranks the candidates by their measured figures.
//!
//! Feasible candidates, with a codec and an uplink that suffice for the job, rank before all others. Among
//! them latency decides, because the audience feels it: the one-way delays to the speakers and to the stage,
//! the processing time of a picture, and the time that the uplink needs to send a frame to the first tier.
//! Points are a candidate's share of all candidates' total in quickness: the reciprocal of that latency, less
//! for stalls and for media that did not arrive. An uplink counts up to [`SATURATED`] times the need. Its
//! bandwidth is what trains show, or what its live media shows if that is more. The speed of a codec is known from its
//! owner's claim only: it decides whether the candidate is feasible, and overstating it gains little ([`QUICK`]).
//!
//! All arithmetic is in integers, in the order of ids, so that every peer that recomputes a ballot gets
//! exactly the same result.
//!
//! The simulator's oracle judged these rules in drawn rooms of fifty peers, by the share of rooms with a
//! choice within 5 % of the best:
//!
//! - shares of bandwidth and encoding speed alone, saturated at twice the need: 30 %;
//! - latency, by the delays known to three measurers of each candidate: 86 %;
//! - latency, by the round trips that all peers claim: 97 %.
//!
//! Where a fifth of the stage lied for each other, the choice was good in 52 of 60 rooms while a codec
//! counted up to four times the speed needed, and in 193 of 200 rooms since it counts up to twice that speed.

mod media;

use crate::ordered::OrderedMap;
use std::cmp::Reverse;

use serde::Serialize;

use crate::delays::Delays;
use crate::id::PeerId;
use crate::message::{CLAIM_PIXELS, Claim, CodecSource, Entry, LineId, MIXERS_MAX, Report, Roster};
use crate::score::media::LiveMedia;
use crate::seal::Signed;
use crate::view::signed_unix_s;

/// One whole point, in micro-points.
const MICRO: u128 = 1_000_000;
/// Bitrate of a mix-minus on the wire: 32 kbit/s of Opus and the same again for the headers of 50 packets a
/// second.
const MIX_MINUS_BPS: u64 = 64_000;
/// Bitrate of a forwarded speaker's stream, 640×360 at 30 fps. Measured with the media bench.
const SPEAKER_BPS: u64 = 700_000;

/// Bonus on a sitting mixer's points, in percent: changing mixers costs the audience a keyframe and the tree
/// a round of moves. A guess.
const SITTING_PERCENT: u64 = 20;

/// Maximum correction of a sitting mixer's measured bandwidth, in percent of it, because its trains share the
/// line with its program. A train at twice the first guess, beside a program of at most the bandwidth needed,
/// shows 4/7 of a line that is just wide enough, and more of any wider line. So at most three quarters of the
/// shown figure are missing.
const BESIDE_PERCENT: u64 = 75;

/// Multiple of the bandwidth needed above which an uplink gains nothing. Twice would be too low: a frame for
/// ten children takes 6 ms on a line of twice the need and 0.5 ms on a line of 1 Gbit/s, which is a twentieth
/// of the latency of many rooms.
const SATURATED: u64 = 32;

/// Multiple of the speed needed above which a codec gains nothing, because its speed is its owner's claim
/// alone. With 1 the best candidates of honest rooms lost to codecs 4 to 8 ms slower (233 of 250 rooms within
/// 5 % of the oracle's choice; with 2 or 4: 240 rooms).
const QUICK: u64 = 2;

/// Stalled answers per million from which the full penalty of [`PAUSED_PERCENT`] on quickness applies; fewer
/// reduce the penalty in proportion. A radio that stalls for 300 ms every 30 s reaches 7,000.
const PAUSED_PPM_MAX: u64 = 5_000;
const PAUSED_PERCENT: u64 = 30;

/// Where a candidate's figures come from, and how old they were at the vote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Sources {
    /// Whether live media showed the bandwidth. If not, packet trains showed as much or more.
    pub bandwidth_by_media: bool,
    /// Age of the oldest report on the candidate when the newest statement of the ballot was signed, seconds;
    /// `None` without reports. Reports hold bandwidth and bitrate.
    pub reports_age_s: Option<u32>,
    /// Source of the codec times; `None` without a claim, or if the claim is distrusted.
    pub codec: Option<CodecSource>,
    /// Age of the codec times at that time, seconds.
    pub codec_age_s: Option<u32>,
}

/// Figures of one candidate in an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[non_exhaustive]
pub struct Tally {
    /// The candidate.
    pub peer: PeerId,
    /// Points, in micro-points, without a sitting mixer's bonus.
    pub points: u64,
    /// Whether the candidate is feasible: its codec is real-time capable and its bandwidth suffices.
    pub feasible: bool,
    /// Whether its codec is real-time capable: one program picture costs at most half a frame interval.
    pub quick: bool,
    /// Measured bandwidth from the candidate to the other peers, in bits per second; 0 if no peer measured
    /// it.
    pub bandwidth_bps: u64,
    /// Bitrate of the media that arrived from it at its measurers, all together, in bits per second; `None` if
    /// none of them received any.
    pub bitrate_bps: Option<u64>,
    /// How much of the media requested of it arrived, in percent; `None` before it was requested any.
    pub delivered_percent: Option<u8>,
    /// Claimed processor time to encode one 1280×720 picture, in microseconds; `None` without a claim.
    pub encode_us: Option<u32>,
    /// Number of peers that measured its bandwidth.
    pub measurers: usize,
    /// Sources and ages of the figures.
    pub sources: Sources,
    /// Access line behind which more than half of its measurers see it.
    pub line: Option<LineId>,
    /// Latency from a speaker's camera to the middle of the first tier, as far as it depends on the
    /// candidate, in microseconds.
    pub latency_us: u64,
    /// Answers per million that met a stall at its end.
    pub paused_ppm: u32,
}

impl Tally {
    /// Whether the candidate delivers much less media than the room requests.
    pub(crate) fn sags(&self) -> bool {
        media::sags(self.delivered_percent)
    }
}

/// Sort key of the candidates; the greatest is elected.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ranking {
    feasible: bool,
    measured: bool,
    quick: bool,
    points: u64,
    listens: bool,
    lower_id: Reverse<PeerId>,
}

/// Returns the maximum bandwidth that trains beside media look for, in bits per second: twice the need.
pub(crate) fn bandwidth_bps_max(roster: &Roster) -> u64 {
    2 * Job::of(roster, asked_for(roster)).bandwidth_bps
}

/// Returns the number of children that one of `mixers` mixers can feed with `uplink_bps` beside its part of
/// the stage. At least 1, because a mixer without children has no audience.
pub(crate) fn first_tier_max(roster: &Roster, mixers: usize, uplink_bps: u64) -> usize {
    Job::of(roster, mixers).first_tier(uplink_bps).max(1)
}

/// Returns the number of mixers that the host requests; one if it leaves the number to need.
fn asked_for(roster: &Roster) -> usize {
    usize::from(roster.rules.mixers.max(1)).min(MIXERS_MAX)
}

/// Load on the uplink of a single mixer, in bits per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Alone {
    /// The stage and half of a first tier: below this the room is better off with two mixers.
    pub(crate) least_bps: u64,
    /// The stage and a whole first tier: if one of two mixers has this, the room goes back to one.
    pub(crate) whole_bps: u64,
}

impl Alone {
    /// Computes the load from the roster: its speakers, the speakers that also view, and k1.
    pub(crate) fn of(roster: &Roster) -> Alone {
        let job = Job::of(roster, 1);
        let half_tier = u64::from(roster.rules.k1).div_ceil(2) * u64::from(roster.rules.program.bitrate_bps);
        Alone { least_bps: job.stage_bps + half_tier, whole_bps: job.bandwidth_bps }
    }
}

/// Requirements of a mixer's job, from the roster.
struct Job {
    /// To the first tier and the stage.
    bandwidth_bps: u64,
    /// To the speakers at home with one mixer, the other mixers and the standby.
    stage_bps: u64,
    program_bps: u64,
    half_frame_us: u64,
    /// Bits of one frame for half of the first tier, which the middle child waits for.
    tier_bits: u64,
    /// Pictures decoded per program picture for all speakers, in thousandths of the claims' picture size.
    decode_milli: u64,
    pixels: u64,
}

impl Job {
    /// Computes the part of one mixer if `mixers` mixers share the job.
    fn of(roster: &Roster, mixers: usize) -> Job {
        let speaking = || roster.entries.iter().filter(|entry| entry.speaks && !entry.away);
        let at_home = |count: usize| count.div_ceil(mixers.max(1)) as u64;
        let speakers = at_home(speaking().count());
        let watching = at_home(speaking().filter(|entry| entry.views).count());
        let program = u64::from(roster.rules.program.bitrate_bps);
        let others = mixers.max(1) as u64; // the other mixers, and standby 1
        let pixels = u64::from(roster.rules.program.width) * u64::from(roster.rules.program.height);
        let stage_bps = watching * program + speakers * MIX_MINUS_BPS + speakers * others * SPEAKER_BPS;
        Job {
            bandwidth_bps: u64::from(roster.rules.k1) * program + stage_bps,
            stage_bps,
            program_bps: program,
            half_frame_us: 500_000 / u64::from(roster.rules.program.fps.max(1)),
            tier_bits: program / u64::from(roster.rules.program.fps.max(1))
                * (u64::from(roster.rules.k1) + 1)
                / 2,
            decode_milli: 1000 * pixels.max(1) / CLAIM_PIXELS, // the tiles together fill one canvas
            pixels,
        }
    }

    /// Returns the number of children that an uplink carries beside the stage, regardless of k1.
    fn first_tier(&self, uplink_bps: u64) -> usize {
        (uplink_bps.saturating_sub(self.stage_bps) / self.program_bps.max(1)) as usize
    }

    /// Returns the processor time per program picture by a candidate's claim, in microseconds.
    fn cost_us(&self, claim: &Claim) -> u64 {
        u64::from(claim.encode_us) * self.pixels / CLAIM_PIXELS
            + u64::from(claim.decode_us) * self.decode_milli / 1000
    }

    /// Returns the latency from a speaker's camera to the middle of the first tier, in microseconds.
    fn latency_us(&self, claim: Option<&Claim>, bandwidth_bps: u64, ways_us: u64) -> u64 {
        let picture_us = claim.map_or(MICRO as u64, |claim| self.cost_us(claim));
        let uplink_bps = bandwidth_bps.min(SATURATED * self.bandwidth_bps).max(1);
        let sending_us = self.tier_bits.saturating_mul(MICRO as u64) / uplink_bps;
        ways_us + picture_us.max(self.half_frame_us / QUICK) + sending_us.min(MICRO as u64)
    }
}

/// Returns the figure that stands for several measurers: the median of three or more (the lower one of an
/// even number), the lower of two, or a single figure capped at the need.
fn agreed(mut figures: Vec<u64>, needed: u64) -> u64 {
    figures.sort_unstable();
    match figures.len() {
        0 => 0,
        1 => figures[0].min(needed),
        2 => figures[0],
        len => figures[(len - 1) / 2],
    }
}

/// Returns the stall rate agreed on in the same way, with the higher rate as the lower figure.
fn agreed_paused_ppm(paused_ppm: impl Iterator<Item = u32>) -> u32 {
    let on_time: Vec<u64> = paused_ppm.map(|ppm| (MICRO as u64).saturating_sub(ppm.into())).collect();
    if on_time.is_empty() { 0 } else { (MICRO as u64 - agreed(on_time, MICRO as u64)) as u32 }
}

/// A sitting mixer, and the uplink known from its election in bits per second; 0 if unknown.
pub(crate) type Sitting = (PeerId, u64);

/// Returns the tallies of all consenting, present peers of the roster, best first; `sitting` mixers get a
/// bonus.
pub(crate) fn tally(
    roster: &Roster,
    reports: &[Signed<Report>],
    claims: &[Signed<Claim>],
    sitting: &[Sitting],
) -> Vec<Tally> {
    let job = Job::of(roster, asked_for(roster));
    let delays = Delays::of(roster, reports, claims);
    let present = || roster.entries.iter().filter(|entry| !entry.away);
    let mut candidates: Vec<&Entry> =
        roster.entries.iter().filter(|entry| roster.may_mix(entry) && !entry.away).collect();
    candidates.sort_by_key(|entry| entry.peer);
    let signed_s = reports.iter().map(signed_unix_s).chain(claims.iter().map(signed_unix_s));
    let newest_s = signed_s.max().unwrap_or(0);
    let age_s = |signed_s: u64| u32::try_from(newest_s.saturating_sub(signed_s)).unwrap_or(u32::MAX);
    let measurer = |report: &Signed<Report>| {
        report.sender != report.body.candidate
            && roster.entries.iter().any(|entry| entry.peer == report.sender)
    };
    let mut tallies: Vec<Tally> = candidates
        .iter()
        .map(|entry| {
            // one figure per measurer, the last in the ballot's order
            let of_candidate =
                reports.iter().filter(|report| report.body.candidate == entry.peer && measurer(report));
            let by_measurer: OrderedMap<_, _> =
                of_candidate.clone().map(|report| (report.sender, &report.body)).collect();
            let bandwidths: Vec<_> = by_measurer.values().map(|report| report.bandwidth_bps).collect();
            let signed_claim = claims.iter().find(|claim| claim.sender == entry.peer);
            let claim = signed_claim.map(|claim| &claim.body);
            let LiveMedia { bitrate_bps, uplink_bps, delivered_percent } =
                LiveMedia::of(by_measurer.values().copied(), claim);
            let by_trains_bps = agreed(bandwidths, job.bandwidth_bps);
            let mut bandwidth_bps = by_trains_bps.max(uplink_bps);
            let codec_age_s = |claim: &Signed<Claim>| {
                age_s(signed_unix_s(claim)).saturating_add(claim.body.codec_age_s.into())
            };
            let sources = Sources {
                bandwidth_by_media: uplink_bps > by_trains_bps,
                reports_age_s: of_candidate.map(signed_unix_s).min().map(age_s),
                codec: claim.map(|claim| claim.codec_source),
                codec_age_s: signed_claim.map(codec_age_s),
            };
            let sits = sitting.iter().find(|(peer, _)| *peer == entry.peer);
            if let Some((_, known_bps)) = sits.filter(|_| !media::sags(delivered_percent)) {
                bandwidth_bps = unladen_bps(bandwidth_bps, *known_bps);
            }
            if let Some(most) = claim.and_then(|claim| claim.uplink_bps_max) {
                bandwidth_bps = bandwidth_bps.min(most);
            }
            let speakers = || present().filter(|entry| entry.speaks).map(|entry| &entry.peer);
            let to_stage_us = delays.mean_us(&entry.peer, present().map(|entry| &entry.peer)).unwrap_or(0);
            let to_others_us = delays.mean_us(&entry.peer, speakers());
            // the candidate's own camera picture has no network delay
            let others = speakers().filter(|speaker| **speaker != entry.peer).count() as u64;
            let to_speakers_us = to_others_us.map(|us| us * others / speakers().count().max(1) as u64);
            let ways_us = to_stage_us + to_speakers_us.unwrap_or(to_stage_us);
            let quick = claim.is_some_and(|claim| job.cost_us(claim) <= job.half_frame_us);
            Tally {
                peer: entry.peer,
                points: 0,
                feasible: quick && bandwidth_bps >= job.bandwidth_bps,
                quick,
                bandwidth_bps,
                bitrate_bps,
                delivered_percent,
                encode_us: claim.map(|claim| claim.encode_us),
                measurers: by_measurer.len(),
                sources,
                line: line_of(&by_measurer),
                latency_us: job.latency_us(claim, bandwidth_bps, ways_us),
                paused_ppm: agreed_paused_ppm(by_measurer.values().map(|report| report.paused_ppm)),
            }
        })
        .collect();

    let usual = media::usual_percent(tallies.iter().filter_map(|tally| tally.delivered_percent));
    award(&mut tallies, |tally| quickness(tally) * u64::from(tally.delivered_percent.unwrap_or(usual)) / 100);

    let sits = |peer: &PeerId| sitting.iter().any(|(sits, _)| sits == peer);
    let edge = |tally: &Tally| if sits(&tally.peer) && !tally.sags() { SITTING_PERCENT } else { 0 };
    tallies.sort_by_key(|tally| {
        Reverse(Ranking {
            feasible: tally.feasible,
            measured: tally.measurers > 0,
            quick: tally.quick,
            points: tally.points * (100 + edge(tally)) / 100,
            listens: !roster.is_speaker(&tally.peer),
            lower_id: Reverse(tally.peer),
        })
    });
    tallies
}

/// Returns the line behind which more than half of the measurers see a candidate.
fn line_of(by_measurer: &OrderedMap<PeerId, &Report>) -> Option<LineId> {
    let seen = || by_measurer.values().filter_map(|report| report.line);
    seen().find(|line| 2 * seen().filter(|other| other == line).count() > by_measurer.len())
}

/// Returns the bandwidth of a sitting mixer's line, part of which its program used during the measurement:
/// the figure known from its election, but no more than the trains have shown plus [`BESIDE_PERCENT`] of
/// that.
fn unladen_bps(measured_bps: u64, known_bps: u64) -> u64 {
    let most = u128::from(measured_bps) * u128::from(100 + BESIDE_PERCENT) / 100;
    measured_bps.max(known_bps.min(most.min(u64::MAX.into()) as u64))
}

/// Returns the reciprocal of a candidate's latency, reduced by its stalls.
fn quickness(tally: &Tally) -> u64 {
    let lost = PAUSED_PERCENT * u64::from(tally.paused_ppm).min(PAUSED_PPM_MAX);
    (MICRO * MICRO) as u64 / tally.latency_us.max(1) * (100 * PAUSED_PPM_MAX - lost) / (100 * PAUSED_PPM_MAX)
}

/// Awards each candidate its share of the total of one metric.
fn award(tallies: &mut [Tally], metric: impl Fn(&Tally) -> u64) {
    let total: u128 = tallies.iter().map(|tally| u128::from(metric(tally))).sum();
    for tally in tallies {
        let share = MICRO * u128::from(metric(tally));
        tally.points += share.checked_div(total).unwrap_or(0) as u64;
    }
}

/// Elects the mixers and the standby from the tallies: the number of mixers that the roster requests or
/// needs, and the next candidate as standby. `sitting`: number of mixers in force. Unmeasured candidates are
/// skipped, unless no candidate was measured. As further mixers, candidates are also skipped that can't feed
/// their part of the stage and one child, or that are not real-time capable while the first mixer is: such a
/// mixer harms the room.
pub(crate) fn elect(roster: &Roster, tallies: &[Tally], sitting: usize) -> (Vec<PeerId>, Vec<PeerId>) {
    let any = tallies.iter().any(|tally| tally.measurers > 0);
    let ranked: Vec<&Tally> = tallies.iter().filter(|tally| tally.measurers > 0 || !any).collect();
    let wanted = if roster.rules.mixers > 0 { asked_for(roster) } else { needed(roster, &ranked, sitting) };
    let job = Job::of(roster, asked_for(roster));
    let need_bps = job.bandwidth_bps;
    // with several sitting, the child's share is the margin that keeps measurement noise from changing the
    // number
    let least_bps = job.stage_bps + if sitting > 1 { 0 } else { job.program_bps };
    let mut mixers = Vec::new();
    while mixers.len() < wanted.min(ranked.len()) {
        // a candidate behind a mixer's line has the bandwidth that this mixer leaves, and comes last if that
        // can't do the job
        let feeds = |tally: &Tally| left_bps(tallies, &mixers, tally, need_bps) >= least_bps;
        let rest = || {
            let others = ranked.iter().filter(|tally| !mixers.contains(&tally.peer));
            others.filter(|tally| {
                mixers.is_empty() || !any || (feeds(tally) && (tally.quick || !ranked[0].quick))
            })
        };
        let mut able = rest().filter(|tally| {
            let left_bps = left_bps(tallies, &mixers, tally, need_bps);
            left_bps == tally.bandwidth_bps || left_bps >= need_bps
        });
        let Some(next) = able.next().or_else(|| rest().next()).map(|tally| tally.peer) else { break };
        mixers.push(next);
    }
    let standby = ranked.iter().find(|tally| !mixers.contains(&tally.peer));
    (mixers, standby.map(|tally| tally.peer).into_iter().collect())
}

/// Returns a candidate's bandwidth less the need of each of these mixers that shares its line.
fn left_bps(tallies: &[Tally], mixers: &[PeerId], candidate: &Tally, need_bps: u64) -> u64 {
    let shares = |tally: &&Tally| mixers.contains(&tally.peer) && tally.line == candidate.line;
    let sharing = if candidate.line.is_some() { tallies.iter().filter(shares).count() as u64 } else { 0 };
    candidate.bandwidth_bps.saturating_sub(sharing.saturating_mul(need_bps))
}

/// Returns each mixer's uplink in bits per second, less the need of earlier mixers that share its line.
pub(crate) fn uplinks_bps(roster: &Roster, tallies: &[Tally], mixers: &[PeerId]) -> Vec<u64> {
    let need_bps = Job::of(roster, asked_for(roster)).bandwidth_bps;
    let left = |(at, mixer): (usize, &PeerId)| {
        let tally = tallies.iter().find(|tally| tally.peer == *mixer);
        tally.map_or(0, |tally| left_bps(tallies, &mixers[..at], tally, need_bps))
    };
    mixers.iter().enumerate().map(left).collect()
}

/// Returns the number of mixers needed: two if the best candidate's uplink is too narrow and the second
/// candidate's makes up for it, else one. More than two, or a second mixer because of a slow codec, would not
/// help: each mixer decodes all speakers and composes the whole canvas.
fn needed(roster: &Roster, ranked: &[&Tally], sitting: usize) -> usize {
    let Some(first) = ranked.first() else { return 1 };
    // a second mixer behind the same line would gain nothing
    let Some(second) = ranked[1..].iter().find(|tally| tally.line.is_none() || tally.line != first.line)
    else {
        return 1;
    };
    let alone = Alone::of(roster);
    let enough_bps = if sitting > 1 { alone.whole_bps } else { alone.least_bps };
    let unknown = first.measurers == 0 || second.measurers == 0;
    if first.bandwidth_bps >= enough_bps || unknown || !second.quick {
        return 1;
    }
    let half = Job::of(roster, 2);
    let both = half.first_tier(first.bandwidth_bps).saturating_add(half.first_tier(second.bandwidth_bps));
    if both > Job::of(roster, 1).first_tier(first.bandwidth_bps) { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RoomId;
    use crate::message::Entry;
    use crate::samples::{self, candidate, key};

    /// Six peers, of which `candidates` would mix and `speaking` speak.
    fn roster(candidates: &[u8], speaking: &[u8]) -> Roster {
        let entry = |seed: u8| Entry {
            speaks: speaking.contains(&seed),
            mixes: candidates.contains(&seed),
            ..candidate(seed)
        };
        samples::roster((1..=6).map(entry))
    }

    fn report(measurer: u8, candidate: u8, mbit: u64) -> Signed<Report> {
        let report = Report {
            term: 1,
            candidate: key(candidate).id(),
            bandwidth_bps: mbit * 1_000_000,
            rtt_us: 2_000,
            paused_ppm: 0,
            media: None,
            line: None,
        };
        Signed::new(&key(measurer), &RoomId([0; 16]), 1, 0, 0, report)
    }

    fn claim(candidate: u8, encode_us: u32) -> Signed<Claim> {
        let claim = Claim { encode_us, decode_us: encode_us / 3, ..samples::claim() };
        Signed::new(&key(candidate), &RoomId([0; 16]), 1, 0, 0, claim)
    }

    fn order(roster: &Roster, reports: &[Signed<Report>], claims: &[Signed<Claim>]) -> Vec<PeerId> {
        tally(roster, reports, claims, &[]).iter().map(|tally| tally.peer).collect()
    }

    #[test]
    fn lines_much_wider_than_needed_count_alike_and_the_lower_id_wins_a_tie() {
        let roster = roster(&[2, 3], &[]);
        let reports: Vec<_> = (4..=6).flat_map(|m| [report(m, 2, 9_000), report(m, 3, 5_000)]).collect();
        let claims = [claim(2, 3000), claim(3, 2000)];
        let tallies = tally(&roster, &reports, &claims, &[]);
        assert_eq!(tallies[0].points, tallies[1].points);
        assert!(tallies[0].peer < tallies[1].peer && tallies[0].feasible);
    }

    #[test]
    fn whoever_speaks_loses_a_tie() {
        let (low, high) = if key(2).id() < key(3).id() { (2, 3) } else { (3, 2) };
        let roster = roster(&[2, 3], &[low]);
        let reports: Vec<_> = (4..=6).flat_map(|m| [report(m, 2, 900), report(m, 3, 900)]).collect();
        assert_eq!(order(&roster, &reports, &[claim(2, 3000), claim(3, 3000)])[0], key(high).id());
    }

    #[test]
    fn whoever_is_nearer_to_the_stage_is_quicker() {
        let roster = roster(&[2, 3], &[4, 5]);
        for near in [2, 3] {
            let mut reports: Vec<_> = (4..=6).flat_map(|m| [report(m, 2, 900), report(m, 3, 900)]).collect();
            for report in &mut reports {
                report.body.rtt_us = if report.body.candidate == key(near).id() { 20_000 } else { 120_000 };
            }
            let claims = [claim(2, 3000), claim(3, 3000)];
            assert_eq!(order(&roster, &reports, &claims)[0], key(near).id());
        }
    }

    #[test]
    fn a_codec_counts_up_to_twice_the_speed_needed() {
        let roster = roster(&[2, 3], &[]);
        let reports: Vec<_> = (4..=6).flat_map(|m| [report(m, 2, 900), report(m, 3, 900)]).collect();
        // a picture costs 4/3 of the encoding time claimed, and may cost 16.7 ms
        for (encode_us, other_us, slower_us) in
            [(12_000, 9_000, 4_000), (9_000, 6_000, 3_667), (6_000, 3_000, 0), (3_000, 1, 0)]
        {
            let tallies = tally(&roster, &reports, &[claim(2, encode_us), claim(3, other_us)], &[]);
            let of = |seed: u8| tallies.iter().find(|tally| tally.peer == key(seed).id());
            let [one, other] = [2, 3].map(|seed| of(seed).expect("it is a candidate").latency_us);
            assert_eq!(one - other, slower_us, "{encode_us} {other_us}");
        }
    }

    #[test]
    fn whoever_pauses_is_less_quick_by_up_to_three_tenths() {
        let roster = roster(&[2, 3], &[]);
        let (low, high) = if key(2).id() < key(3).id() { (2, 3) } else { (3, 2) };
        let claims = [claim(2, 9_000), claim(3, 9_000)];
        for (paused_ppm, sits, first, what) in [
            (&[0, 0, 0][..], false, low, "of equals the lower id"),
            (&[800, 800, 800], false, high, "a little is enough among equals"),
            (&[1_000_000, 0, 0], false, low, "one says so"),
            (&[7_000, 7_000, 0], false, high, "two of three say so"),
            (&[7_000, 0], false, high, "of two the worse"),
            (&[0, 1_000_000, 0, 0], false, low, "one of four"),
            (&[800, 800, 800], true, low, "whoever sits stays for a little"),
            (&[7_000, 7_000, 7_000], true, high, "and not for a radio, when another is as near"),
        ] {
            let measurers = (1..).filter(|seed| ![2, 3].contains(seed)).zip(paused_ppm);
            let reports: Vec<_> = measurers
                .flat_map(|(measurer, paused_ppm)| {
                    let mut of_low = report(measurer, low, 900);
                    of_low.body.paused_ppm = *paused_ppm;
                    [of_low, report(measurer, high, 900)]
                })
                .collect();
            let sitting = sits.then_some((key(low).id(), 0));
            let tallies = tally(&roster, &reports, &claims, sitting.as_slice());
            assert_eq!(tallies[0].peer, key(first).id(), "{what}");
            let points =
                |of: u8| tallies.iter().find(|tally| tally.peer == key(of).id()).map(|tally| tally.points);
            assert!(points(low) > points(high).map(|points| points * 69 / 100), "{what}: {tallies:?}");
        }
    }

    #[test]
    fn the_picture_of_a_speaker_that_mixes_goes_no_way() {
        // all peers are 20 ms apart
        let measured = [2, 3].into_iter().flat_map(|of| (1..=6).map(move |by| report(by, of, 900)));
        let mut reports: Vec<_> = measured.filter(|report| report.sender != report.body.candidate).collect();
        reports.iter_mut().for_each(|report| report.body.rtt_us = 40_000);
        let claims = [claim(2, 3_000), claim(3, 3_000)];
        for (speaking, nearer_us, what) in [
            (&[4, 5][..], 0, "neither speaks"),
            (&[2, 4, 5], 6_667, "of three ways of 20 ms it has two"),
            (&[2], 0, "the only speaker is as far from itself as from the stage: it should rather not mix"),
        ] {
            let tallies = tally(&roster(&[2, 3], speaking), &reports, &claims, &[]);
            let of = |seed: u8| tallies.iter().find(|tally| tally.peer == key(seed).id());
            let [one, other] = [2, 3].map(|seed| of(seed).expect("it is a candidate").latency_us);
            assert_eq!(other - one, nearer_us, "{what}");
        }
    }

    #[test]
    fn whoever_cannot_do_the_job_stands_behind_whoever_can() {
        let roster = roster(&[2, 3, 4], &[5, 6]);
        let reports: Vec<_> = [1, 5, 6]
            .iter()
            .flat_map(|m| [report(*m, 2, 900), report(*m, 3, 5), report(*m, 4, 900)])
            .collect();
        let claims = [claim(2, 60_000), claim(3, 1000), claim(4, 9_000)];
        assert_eq!(order(&roster, &reports, &claims)[0], key(4).id());
    }

    #[test]
    fn a_slow_candidate_stands_behind_a_quick_one_where_no_line_suffices() {
        let mut roster = roster(&[2, 3], &[4, 5]);
        roster.rules.mixers = 2;
        for (slow, quick) in [(2, 3), (3, 2)] {
            let of = |m: u8| [report(m, slow, 100), report(m, quick, 5)];
            let reports: Vec<_> = [1, 4, 5].into_iter().flat_map(of).collect();
            let tallies = tally(&roster, &reports, &[claim(slow, 20_000), claim(quick, 9_000)], &[]);
            assert!(tallies.iter().all(|tally| !tally.feasible) && tallies[0].points < tallies[1].points);
            assert_eq!(elect(&roster, &tallies, 0), (vec![key(quick).id()], vec![key(slow).id()]));
            let slow_ones = [claim(slow, 20_000), claim(quick, 20_000)];
            assert_eq!(elect(&roster, &tally(&roster, &reports, &slow_ones, &[]), 0).0.len(), 2);
        }
    }

    #[test]
    fn three_measurers_give_the_median_and_two_the_lower() {
        for (figures, expected) in
            [(&[9, 1, 5][..], 5), (&[9, 1], 1), (&[9], 3), (&[2], 2), (&[], 0), (&[1, 2, 3, 4], 2)]
        {
            assert_eq!(agreed(figures.to_vec(), 3), expected, "{figures:?}");
        }
    }

    #[test]
    fn reports_on_oneself_and_from_strangers_do_not_count() {
        let roster = roster(&[2], &[]);
        let tallies = tally(&roster, &[report(2, 2, 900), report(99, 2, 900)], &[], &[]);
        assert_eq!((tallies[0].measurers, tallies[0].bandwidth_bps), (0, 0));
    }

    #[test]
    fn a_sitting_mixer_is_kept_unless_another_is_better_by_a_fifth() {
        let roster = roster(&[2, 3], &[]);
        let claims = [claim(2, 9_000), claim(3, 9_000)];
        for (mbit, keeps) in [(900, true), (5, false)] {
            let mut reports: Vec<_> = (4..=6).flat_map(|m| [report(m, 2, mbit), report(m, 3, 900)]).collect();
            let of_sitting = reports.iter_mut().filter(|report| report.body.candidate == key(2).id());
            of_sitting.for_each(|report| report.body.rtt_us += 1_000); // slightly farther away
            let sits = key(2).id();
            let first = tally(&roster, &reports, &claims, &[(sits, 0)])[0].peer;
            assert_eq!(first == sits, keeps, "{mbit}");
            assert_eq!(tally(&roster, &reports, &claims, &[])[0].peer, key(3).id());
        }
    }

    #[test]
    fn a_sitting_mixer_s_line_is_what_it_was_as_far_as_the_trains_allow() {
        let roster = roster(&[2, 3], &[]);
        let claims = [claim(2, 9_000), claim(3, 9_000)];
        for (known, shown, counts) in [(20, 12, 20), (20, 8, 14), (20, 25, 25), (0, 12, 12), (20, 0, 0)] {
            let reports: Vec<_> = (4..=6).map(|m| report(m, 2, shown)).collect();
            let sitting = [(key(2).id(), known * 1_000_000)];
            let of = |sitting: &[Sitting]| {
                let tallies = tally(&roster, &reports, &claims, sitting);
                let tally = tallies.iter().find(|tally| tally.peer == key(2).id());
                tally.expect("it is a candidate").bandwidth_bps / 1_000_000
            };
            assert_eq!((of(&sitting), of(&[])), (counts, shown), "{known}");
        }
    }

    #[test]
    fn two_mixers_behind_one_line_share_it() {
        let mut roster = roster(&[2, 3, 4], &[]);
        roster.rules.mixers = 2;
        let need = Job::of(&roster, 2).bandwidth_bps / 1_000_000 + 1;
        let line = |seen: u8| LineId::of(&RoomId([0; 16]), [192, 0, 2, seen].into());
        for (mbit, seen, elected, second, what) in [
            (need, [1, 1, 2], [2, 4], need, "the line carries one of them"),
            (2 * need, [1, 1, 2], [2, 3], need, "it carries both"),
            (need, [1, 2, 3], [2, 3], need, "each has one of its own"),
        ] {
            let measured = |measurer: u8| {
                // a lower number is nearer
                [2, 3, 4].map(|candidate| {
                    let mut report = report(measurer, candidate, mbit);
                    report.body.line = line(seen[usize::from(candidate) - 2]);
                    report.body.rtt_us += u32::from(candidate) * 1_000;
                    report
                })
            };
            let mut reports: Vec<_> = [1, 5, 6].into_iter().flat_map(measured).collect();
            let claims = [claim(2, 9_000), claim(3, 9_000), claim(4, 9_000)];
            // a single dissenting measurer is not believed
            reports[1].body.line = line(9);
            let tallies = tally(&roster, &reports, &claims, &[]);
            let (mixers, _) = elect(&roster, &tallies, 0);
            assert_eq!(mixers, elected.map(|seed| key(seed).id()), "{what}");
            let left_bps = uplinks_bps(&roster, &tallies, &mixers)[1];
            assert!(left_bps.abs_diff(second * 1_000_000) <= 1_000_000, "{what}: {left_bps}");
        }
    }

    #[test]
    fn whom_nobody_could_measure_is_neither_mixer_nor_standby() {
        let roster = roster(&[2, 3, 4], &[]);
        let reports: Vec<_> = [1, 5, 6].iter().flat_map(|m| [report(*m, 2, 1), report(*m, 3, 1)]).collect();
        let claims = [claim(2, 9_000), claim(3, 9_000), claim(4, 100)];
        let (mixers, standbys) = elect(&roster, &tally(&roster, &reports, &claims, &[]), 0);
        assert!(!mixers.contains(&key(4).id()) && !standbys.contains(&key(4).id()));
        assert_eq!((mixers.len(), standbys.len()), (1, 1));
    }

    #[test]
    fn the_next_in_rank_is_the_standby() {
        let roster = roster(&[2, 3, 4], &[]);
        let ranked = order(&roster, &[], &[]);
        assert_eq!(elect(&roster, &tally(&roster, &[], &[], &[]), 0), (vec![ranked[0]], vec![ranked[1]]));
    }
    #[test]
    fn a_second_mixer_comes_where_one_uplink_is_too_narrow() {
        // four speakers, k1 6: the stage takes 3.056 Mbit/s, half a first tier 4.5, a whole first tier 9
        for (mbit, encode_us, asked, sitting, expected) in [
            ([12, 12, 12], 9_000, 0, 0, 1),
            ([8, 8, 8], 9_000, 0, 1, 1),
            ([7, 7, 7], 9_000, 0, 1, 2),
            ([7, 7, 7], 60_000, 0, 1, 1),
            ([7, 1, 1], 9_000, 0, 1, 1),
            ([8, 8, 8], 9_000, 0, 2, 2),
            ([13, 13, 13], 9_000, 0, 2, 1),
            ([7, 7, 7], 9_000, 1, 0, 1),
            ([12, 12, 12], 9_000, 2, 0, 2),
            // a second mixer that can't feed its half of the stage and a child is useless, regardless of the
            // number requested
            ([12, 1, 1], 9_000, 2, 0, 1),
            ([1, 1, 1], 9_000, 2, 0, 1),
        ] {
            let mut roster = roster(&[2, 3, 4], &[1, 4, 5, 6]);
            roster.rules.mixers = asked;
            let candidates = || [2, 3, 4].into_iter().zip(mbit);
            let of = |measurer: u8| candidates().map(move |(of, mbit)| report(measurer, of, mbit));
            let reports: Vec<_> = [1, 5, 6].into_iter().flat_map(of).collect();
            let claims = [2, 3, 4].map(|of| claim(of, encode_us));
            let (mixers, standbys) = elect(&roster, &tally(&roster, &reports, &claims, &[]), sitting);
            assert_eq!(mixers.len(), expected, "{mbit:?} {encode_us} {asked} {sitting}");
            assert_eq!(standbys.len(), 1);
        }
    }
}
