//! Pauses of radios, as a function of time: nothing is kept of them, and they may be asked for in any order.
//!
//! Time is cut into windows as long as the mean gap. Each window of each end has one pause, somewhere in it:
//! so many in all as asked for, a little more evenly spread than by pure chance.

use plenary_proto::Time;

use crate::dice::SmallDice;
use crate::plan::Pauses;

/// Sets these draws apart from all others of the seed.
const PAUSES: u64 = 0x7061_7573_6573;

/// When what comes to an end at `at` gets through: then, or when the pause is over.
pub(crate) fn end(pauses: &Pauses, seed: u64, end: usize, at: Time) -> Time {
    let length = pauses.mean_gap_us.max(1);
    let window = at.0 / length;
    // the one of the window before may reach into this one
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
