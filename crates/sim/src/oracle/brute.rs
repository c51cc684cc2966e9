//! Exhaustive search for the best tree, the reference for the greedy tree in rooms that are small enough.

use super::tree::{Built, Growth};
use super::{Truth, Value};

/// Maximum number of viewers; each further viewer multiplies the work by the square of their number.
const VIEWERS_MAX: usize = 6;

/// The best tree below these mixers, and its value.
///
/// # Panics
/// If there are more than six viewers to place.
pub fn best_tree(truth: &Truth, mixers: &[usize]) -> (Value, Built) {
    let waiting = truth.waiting(mixers);
    assert!(waiting.len() <= VIEWERS_MAX, "{} viewers are too many to try all trees", waiting.len());
    let begun = Growth::new(truth, mixers);
    let mut best = (truth.value(mixers, &begun.built), begun.built.clone());
    grow(truth, mixers, &begun, &waiting, &mut best);
    best
}

/// Tries every viewer at every open place, in every order: the order in which children are served is part of
/// a tree.
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
