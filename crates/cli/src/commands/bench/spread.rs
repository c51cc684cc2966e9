//! Minimum, median and maximum of a figure over the stretches of one run.

use serde::Serialize;

use crate::json::round;

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Spread {
    min: f64,
    pub(super) median: f64,
    max: f64,
}

impl Spread {
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.collect();
        values.sort_unstable_by(f64::total_cmp);
        let at = |index: usize| round(values.get(index).copied().unwrap_or_default());
        Spread { min: at(0), median: at(values.len() / 2), max: at(values.len().saturating_sub(1)) }
    }
}
