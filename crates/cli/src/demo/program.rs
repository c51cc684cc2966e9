//! The program in a demo's report: which pictures were due, and how long viewers waited for the next picture.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::json::round;

/// Pictures made in this time before the end don't count, since they may still be on their way.
pub(super) const END_US: u64 = 500_000;
/// Time after an event during which waits are attributed to it.
const AFTERMATH_US: u64 = 10_000_000;
/// Time after an event by which frames sent before it have arrived. A guess.
const ON_THE_WAY_US: u64 = 1_000_000;
/// Time without a new picture after which there is no program; a failover takes less.
const NO_PROGRAM_US: u64 = 1_000_000;
/// Maximum wait at the end of a viewer that isn't cut off: the time of eight pictures.
const CUT_OFF_US: u64 = 250_000;

/// Timeline of the program in ticks of the frame rate: every picture that a living mixer made.
pub(super) struct Ticks {
    made: BTreeSet<u64>,
    /// All of `made`, plus the ticks at which no mixer made a picture while there was no program.
    due: BTreeSet<u64>,
    fps: u64,
    /// Total seconds in which no mixer made a picture (gaps above `NO_PROGRAM_US`), after the room's first picture.
    without_s: f64,
}

impl Ticks {
    /// Creates the timeline from the capture times of all pictures made until `END_US` before the end.
    pub(super) fn of(captured_us: impl Iterator<Item = u64>, fps: u64, end_us: u64) -> Ticks {
        let made: BTreeSet<u64> = captured_us.map(|captured_us| tick(captured_us, fps)).collect();
        let mut due = made.clone();
        let mut without = 0;
        let end = tick(end_us.saturating_sub(END_US), fps);
        let next = made.iter().skip(1).copied().chain([end]);
        for (before, next) in made.iter().copied().zip(next) {
            if next.saturating_sub(before) > tick(NO_PROGRAM_US, fps) {
                due.extend(before + 1..next);
                without += next - before + if next == end { tick(END_US, fps) } else { 0 };
            }
        }
        Ticks { made, due, fps, without_s: round(without as f64 / fps as f64) }
    }

    /// Whether no mixer ever made a picture.
    pub(super) fn is_empty(&self) -> bool {
        self.made.is_empty()
    }

    /// Returns the time without a program, after it had begun.
    pub(super) fn without_s(&self) -> f64 {
        self.without_s
    }

    /// Returns the number of pictures due since a peer's first one, and how many of them arrived, from the
    /// capture times of all arrived pictures. `None` without any. `all` counts ticks without a picture as
    /// due, too.
    pub(super) fn count(&self, mut captured_us: impl Iterator<Item = u64>, all: bool) -> Option<(u64, u64)> {
        let first = tick(captured_us.next()?, self.fps);
        let seen: BTreeSet<u64> =
            captured_us.map(|captured_us| tick(captured_us, self.fps)).chain([first]).collect();
        let due = if all { &self.due } else { &self.made };
        let received = due.range(first..).filter(|tick| seen.contains(tick)).count();
        Some((due.range(first..).count() as u64, received as u64))
    }
}

/// Returns the tick of a capture time; all mixers of one machine have the same ticks.
fn tick(captured_us: u64, fps: u64) -> u64 {
    (captured_us * fps + 500_000) / 1_000_000
}

/// Waiting times of the viewers that got the program again, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Resumed {
    pub(super) p50: f64,
    pub(super) p95: f64,
    pub(super) max: f64,
}

impl Resumed {
    pub(super) fn of_us(mut waits: Vec<u64>) -> Option<Resumed> {
        waits.sort_unstable();
        let last = waits.len().checked_sub(1)?;
        let at = |percent: usize| round(waits[last * percent / 100] as f64 / 1000.0);
        Some(Resumed { p50: at(50), p95: at(95), max: at(100) })
    }
}

/// Returns the longest wait of a viewer for its next picture after an event, and before the next event.
/// `None` if no picture arrived any more.
pub(super) fn wait_us(
    arrivals: impl Iterator<Item = u64>,
    at_us: u64,
    next_at_us: Option<u64>,
    end_us: u64,
) -> Option<u64> {
    // the log continues while the figures are collected
    let mut arrivals: Vec<u64> = arrivals.filter(|arrived_us| *arrived_us < end_us).collect();
    arrivals.sort_unstable();
    let last_us = *arrivals.last()?;
    let until_us = next_at_us.unwrap_or(u64::MAX).clamp(at_us + ON_THE_WAY_US, at_us + AFTERMATH_US);
    let waits = arrivals.windows(2).filter(|pair| pair[1] > at_us && pair[0] < until_us);
    let longest_us = waits.map(|pair| pair[1] - pair[0]).max();
    let waiting_us = end_us - last_us;
    let cut_off = last_us < until_us && waiting_us > CUT_OFF_US.max(longest_us.unwrap_or(0));
    longest_us.filter(|_| !cut_off)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    /// Returns 30 capture times a second between two times.
    fn pictures(from_us: u64, to_us: u64) -> impl Iterator<Item = u64> {
        (0..).map(move |number| from_us + number * S / 30).take_while(move |at_us| *at_us < to_us)
    }

    #[test]
    fn a_wait_ends_with_the_next_picture_or_never() {
        let end = 20 * S;
        for (what, arrivals, at, next_at, waited_us) in [
            ("again", pictures(S, 5 * S).chain(pictures(6 * S, end)).collect(), 5 * S, None, Some(1_033_000)),
            ("never", pictures(S, 5 * S).collect(), 5 * S, None, None),
            ("not cut off", pictures(S, end).collect(), 5 * S, None, Some(33_333)),
            ("lost by what came next", pictures(S, 8 * S).collect(), 5 * S, Some(7_900_000), Some(33_333)),
            (
                "after a long time",
                pictures(S, 5 * S).chain(pictures(17 * S, end)).collect(),
                5 * S,
                None,
                Some(12_033_000),
            ),
            ("two things at once", pictures(S, 5 * S + S / 5).collect(), 5 * S, Some(5 * S + 1_000), None),
            ("never any", Vec::new(), 5 * S, None, None),
        ] {
            let waited: Option<u64> = wait_us(Vec::into_iter(arrivals), at, next_at, end);
            let near = |one: u64, other: u64| one.abs_diff(other) < 1_000;
            let right = waited.zip(waited_us).map_or(waited == waited_us, |(one, other)| near(one, other));
            assert!(right, "{what}: {waited:?}");
        }
    }

    #[test]
    fn times_are_of_those_who_got_it_again() {
        assert_eq!(Resumed::of_us(Vec::new()), None);
        let resumed = Resumed::of_us(vec![900_000, 100_000, 200_000]);
        assert_eq!(resumed, Some(Resumed { p50: 200.0, p95: 200.0, max: 900.0 }));
    }

    #[test]
    fn pictures_are_due_while_there_is_no_program() {
        for (what, made, without_s, due) in [
            ("always", pictures(S, 10 * S).collect(), 0.0, 270),
            ("a failover", pictures(S, 5 * S).chain(pictures(5 * S + S / 2, 10 * S)).collect(), 0.0, 255),
            ("a stretch", pictures(S, 4 * S).chain(pictures(8 * S, 10 * S)).collect(), 4.0, 270),
            ("the end", pictures(S, 4 * S).collect(), 6.5, 270),
        ] {
            let made: Vec<u64> = made;
            let ticks = Ticks::of(made.iter().copied(), 30, 10 * S + END_US);
            assert!((ticks.without_s() - without_s).abs() < 0.1, "{what}: {}", ticks.without_s());
            let counted = ticks.count(made.iter().copied(), true);
            assert_eq!(counted, Some((due, made.len() as u64)), "{what}");
            assert_eq!(
                ticks.count(made.iter().copied(), false),
                Some((made.len() as u64, made.len() as u64))
            );
        }
        let never = Ticks::of([].into_iter(), 30, 10 * S);
        assert!(never.is_empty() && never.count([].into_iter(), true).is_none());
    }
}
