//! The program in a demo's report: which pictures were due, and how many of them a peer got.

use std::collections::BTreeSet;

use crate::json::round;

/// Pictures made in this time before the end don't count, since they may still be on their way.
pub(crate) const END_US: u64 = 500_000;
/// Time without a new picture after which there is no program; a failover takes less.
const NO_PROGRAM_US: u64 = 1_000_000;

/// Timeline of the program in ticks of the frame rate: every picture that a living mixer made.
pub(crate) struct Ticks {
    /// In ascending order.
    made: Vec<u64>,
    /// All of `made`, plus the ticks at which no mixer made a picture while there was no program; in ascending order.
    due: Vec<u64>,
    fps: u64,
    /// Total seconds in which no mixer made a picture (gaps above `NO_PROGRAM_US`), after the room's first picture.
    without_s: f64,
}

impl Ticks {
    /// Creates the timeline from the capture times of all pictures made until `END_US` before the end.
    pub(crate) fn of(captured_us: impl Iterator<Item = u64>, fps: u64, end_us: u64) -> Ticks {
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
        let (made, due) = (made.into_iter().collect(), due.into_iter().collect());
        Ticks { made, due, fps, without_s: round(without as f64 / fps as f64) }
    }

    /// Whether no mixer ever made a picture.
    pub(crate) fn is_empty(&self) -> bool {
        self.made.is_empty()
    }

    /// Returns the time without a program, after it had begun.
    pub(crate) fn without_s(&self) -> f64 {
        self.without_s
    }

    /// Returns the number of pictures due since a peer's first one, and how many of them arrived, from the
    /// capture times of all arrived pictures. `None` without any. `all` counts ticks without a picture as
    /// due, too.
    pub(crate) fn count(&self, captured_us: impl Iterator<Item = u64>, all: bool) -> Option<(u64, u64)> {
        let seen: Vec<u64> = captured_us.map(|captured_us| tick(captured_us, self.fps)).collect();
        let first = *seen.first()?;
        let due = if all { &self.due } else { &self.made };
        let due = &due[due.partition_point(|tick| *tick < first)..];
        let mut arrived = vec![false; due.len()];
        for tick in seen {
            if let Ok(at) = due.binary_search(&tick) {
                arrived[at] = true;
            }
        }
        let received = arrived.iter().filter(|arrived| **arrived).count();
        Some((due.len() as u64, received as u64))
    }
}

/// Returns the tick of a capture time; all mixers of one machine have the same ticks.
fn tick(captured_us: u64, fps: u64) -> u64 {
    (captured_us * fps + 500_000) / 1_000_000
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
