//! Churn of a demo: at times drawn from the seed, a viewer leaves or is killed, and a new viewer joins.

use std::sync::Arc;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until};

use super::aftermath::{Aftermath, Resumed, affected};
use super::cast::Cast;
use crate::json::round;

/// Time after which a killed viewer's room is closed, to free its memory and sockets: twice the silence after which
/// the other ends of its links give up.
const CLOSED_AFTER: Duration = Duration::from_secs(10);
/// Makes the seed of these draws differ from the demo's, from which the peers' seeds are derived.
const CHURN_SEED: u64 = 0x6368_7572_6e00_0000;

/// Departure of a viewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Departure {
    /// Time since the start of the churn.
    at: Duration,
    /// Leaves gracefully, instead of being killed.
    polite: bool,
    /// Draw that chooses the viewer.
    draw: u64,
}

/// Returns the departures within a duration: one at a random time of each interval of equal length, and of each two
/// consecutive ones one polite.
pub(crate) fn schedule(seed: u64, share_per_min: f64, viewers: usize, duration: Duration) -> Vec<Departure> {
    let per_s = share_per_min * viewers as f64 / 60.0;
    if per_s <= 0.0 {
        return Vec::new();
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ CHURN_SEED);
    let mut departures = Vec::new();
    let mut polite = false;
    for number in 0_u32.. {
        let place = random.next_u64() as f64 / 2.0_f64.powi(64);
        polite = if number % 2 == 0 { random.next_u64() % 2 == 0 } else { !polite };
        let draw = random.next_u64();
        if f64::from(number) / per_s >= duration.as_secs_f64() {
            break;
        }
        let at = Duration::from_secs_f64((f64::from(number) + place) / per_s);
        departures.extend((at < duration).then_some(Departure { at, polite, draw }));
    }
    departures
}

/// Departures and joins so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Churned {
    left: usize,
    killed: usize,
    joined: usize,
    /// Effect of each departure on viewers, in chronological order.
    pub(crate) aftermaths: Vec<Aftermath>,
}

/// Churn in a demo's report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ChurnReport {
    percent_per_min: f64,
    left: usize,
    killed: usize,
    joined: usize,
    /// Number of viewers below the departed ones in the tree, summed over all departures.
    viewers_affected: usize,
    /// Number of affected viewers that got no further picture until the end.
    viewers_not_resumed: usize,
    resumed_ms: Option<Resumed>,
}

impl Churned {
    pub(crate) fn report(&self, share_per_min: f64) -> ChurnReport {
        let Churned { left, killed, joined, ref aftermaths } = *self;
        let waits_us: Vec<u64> = aftermaths.iter().flat_map(Aftermath::waits_us).collect();
        ChurnReport {
            percent_per_min: round(100.0 * share_per_min),
            left,
            killed,
            joined,
            viewers_affected: aftermaths.iter().map(|one| one.viewers.len()).sum(),
            viewers_not_resumed: aftermaths.iter().map(Aftermath::not_resumed).sum(),
            resumed_ms: Resumed::of_us(waits_us),
        }
    }
}

impl ChurnReport {
    /// Returns the outcome in words.
    pub(crate) fn outcome(&self) -> String {
        let ChurnReport { percent_per_min, left, killed, joined, viewers_affected, .. } = self;
        let mut text =
            format!("churn {percent_per_min} %/min: {left} left, {killed} killed, {joined} joined");
        if let Some(Resumed { p50, p95, max }) = self.resumed_ms {
            text += &format!(
                "; {viewers_affected} affected, program resumed after {p50:.0} ms (p50), {p95:.0} ms (p95), \
                 {max:.0} ms (worst)"
            );
        }
        if self.viewers_not_resumed > 0 {
            text += &format!("; not resumed at {}", self.viewers_not_resumed);
        }
        text
    }
}

/// Replaces viewers from now until the end of the demo.
pub(crate) async fn run(cast: &Arc<Cast>, share_per_min: f64) {
    let (begun, args) = (Instant::now(), cast.args());
    let left = (cast.created + args.duration).saturating_duration_since(begun);
    let seed = args.room.seed.unwrap_or_default();
    for departure in schedule(seed, share_per_min, usize::from(args.viewers), left) {
        sleep_until(begun + departure.at).await;
        replace(cast, departure);
    }
}

/// Starts the departure of a viewer, and the joining of another.
fn replace(cast: &Arc<Cast>, departure: Departure) {
    let viewers = cast.replaceable();
    let at = (u128::from(departure.draw) * viewers.len() as u128) >> 64;
    let Some(chosen) = viewers.get(at as usize).cloned() else { return };
    let viewers = affected(cast, &chosen, false);
    if !chosen.goes(cast.now_us()) {
        return; // an event of the script was faster
    }
    let departing = cast.clone();
    cast.spawn(async move {
        let cast = departing;
        let speakers = cast.speakers();
        let done = if departure.polite {
            chosen.leave(&speakers).await
        } else {
            chosen.kill(&speakers, || cast.now_us()).await.map(|_| ())
        };
        if let Err(error) = done {
            cast.fail(format!("churn: {error:#}"));
        }
        if !departure.polite && chosen.local().is_some() {
            sleep(CLOSED_AFTER).await;
        }
        cast.retire(chosen).await;
    });
    {
        let mut churned = cast.churned.lock();
        churned.aftermaths.push(Aftermath::new(cast.now_us(), viewers));
        let count = if departure.polite { &mut churned.left } else { &mut churned.killed };
        *count += 1;
    }
    let joining = cast.clone();
    cast.spawn(async move {
        if joining.add(false).await.is_some() {
            joining.churned.lock().joined += 1;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn departures_are_drawn_from_the_seed_alone() {
        let once = schedule(7, 0.5, 40, MINUTE);
        assert_eq!(once, schedule(7, 0.5, 40, MINUTE));
        assert_ne!(once, schedule(8, 0.5, 40, MINUTE));
        // a longer demo begins in the same way
        assert!(schedule(7, 0.5, 40, 2 * MINUTE).starts_with(&once));
    }

    #[test]
    fn the_rate_is_constant_over_the_run() {
        for (share_per_min, viewers, minutes) in [(0.1, 1000, 3), (1.0, 24, 10), (6.0, 7, 5), (0.1, 10, 60)] {
            let departures = schedule(1, share_per_min, viewers, minutes * MINUTE);
            let per_min = share_per_min * viewers as f64;
            for minute in 0..minutes {
                let within = MINUTE * minute..MINUTE * (minute + 1);
                let count = departures.iter().filter(|one| within.contains(&one.at)).count();
                assert!((count as f64 - per_min).abs() <= 1.0, "{count} in minute {minute}, not {per_min}");
            }
            assert!(departures.is_sorted_by_key(|one| one.at));
        }
    }

    #[test]
    fn every_second_departure_is_polite_in_an_order_that_is_drawn() {
        let departures = schedule(3, 1.0, 100, MINUTE);
        let pairs: Vec<[bool; 2]> =
            departures.chunks_exact(2).map(|pair| [pair[0].polite, pair[1].polite]).collect();
        assert!(pairs.iter().all(|[one, other]| one != other), "{pairs:?}");
        let politely_first = pairs.iter().filter(|pair| pair[0]).count();
        assert!((10..40).contains(&politely_first), "{politely_first} of {}", pairs.len());
    }

    #[test]
    fn times_and_choices_are_spread_evenly() {
        let departures = schedule(5, 1.0, 1000, MINUTE);
        let early = departures.iter().filter(|one| one.at.as_secs_f64() * 1000.0 / 60.0 % 1.0 < 0.5).count();
        let low = departures.iter().filter(|one| one.draw < u64::MAX / 2).count();
        assert!((440..560).contains(&early) && (440..560).contains(&low), "{early}, {low}");
    }

    #[test]
    fn without_viewers_or_time_there_is_no_departure() {
        assert_eq!(schedule(1, 0.1, 0, MINUTE), []);
        assert_eq!(schedule(1, 6.0, 1000, Duration::ZERO), []);
    }
}
