//! Pauses of radios as a pure function of time: they need no state and can be queried in any order.
//!
//! Time is divided into windows as long as the mean gap. Each window of each end has one pause at a drawn
//! position: the number of pauses is as configured, a little more evenly spread than random.

use plenary_proto::Time;

use crate::dice::SmallDice;
use crate::plan::Pauses;

/// Seed component that separates these draws from all others of the seed.
const PAUSES: u64 = 0x7061_7573_6573;

/// When a packet that reaches an end at `at` passes its radio: at once, or at the end of the pause.
pub(crate) fn end(pauses: &Pauses, seed: u64, end: usize, at: Time) -> Time {
    let length = pauses.mean_gap_us.max(1);
    let window = at.0 / length;
    // the previous window's pause may reach into this window
    for window in window.saturating_sub(1)..=window {
        let mut dice = SmallDice::of(&[seed, PAUSES, end as u64, window]);
        let begins = Time(window * length + dice.between(0, length - 1));
        let ends = begins + dice.between(pauses.least_us, pauses.most_us);
        if begins <= at && at < ends {
            return ends;
        }
    }
    at
}
