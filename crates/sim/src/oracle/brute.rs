//! The best tree there is, by trying all: what greed is measured against, in rooms that are small enough.

use super::tree::{Built, Growth};
use super::{Truth, Value};

/// More viewers than this would take too long: each more multiplies the work by its square.
const VIEWERS_MAX: usize = 6;

/// The best tree below these mixers, and what it is worth.
///
/// # Panics
/// When more than six viewers are to be placed.
pub fn best_tree(truth: &Truth, mixers: &[usize]) -> (Value, Built) {
    let waiting = truth.waiting(mixers);
    assert!(waiting.len() <= VIEWERS_MAX, "{} viewers are too many to try all trees", waiting.len());
    let begun = Growth::new(truth, mixers);
    let mut best = (truth.value(mixers, &begun.built), begun.built.clone());
    grow(truth, mixers, &begun, &waiting, &mut best);
    best
}

/// Tries every viewer at every place, one after the other: who is served first is part of a tree.
fn grow(truth: &Truth, mixers: &[usize], grown: &Growth, waiting: &[usize], best: &mut (Value, Built)) {
    if waiting.is_empty() || grown.open() == 0 {
        let value = truth.value(mixers, &grown.built);
        if value.beats(&best.0) {
            *best = (value, grown.built.clone());
        }
        return;
    }
    for (index, viewer) in waiting.iter().enumerate() {
        let others: Vec<_> = [&waiting[..index], &waiting[index + 1..]].concat();
        for at in 0..grown.open() {
            let mut more = grown.clone();
            more.hang(truth, *viewer, at);
            grow(truth, mixers, &more, &others, best);
        }
    }
}
