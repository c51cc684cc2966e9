//! Hysteresis: a sitting mixer keeps its seat until the same better candidate beats it in two elections.
//!
//! A change of mixers costs the audience a keyframe and the tree a round of moves, and measurements are
//! noisy. So a candidate that beats a sitting mixer by a fifth ([`crate::score`]) is at first only named the
//! challenger in the outcome; a sitting mixer that couldn't be measured, or that sags, loses its seat at
//! once. [`crate::prevote`] calls a second election; if that elects the same candidate, the challenger takes
//! the seat. The second outcome names no further challenger, so an election for another reason leads to one more
//! election and one change at most. In an election for trouble the elected candidates take their seats at
//! once.

use crate::id::PeerId;
use crate::message::ElectionReason;
use crate::score::Tally;

/// Seats of an outcome: mixers, standbys and the challenger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seats {
    pub(crate) mixers: Vec<PeerId>,
    pub(crate) standbys: Vec<PeerId>,
    /// Candidate that a second election is to confirm.
    pub(crate) challenger: Option<PeerId>,
}

/// Assigns the seats after an election, and keeps sitting mixers where hysteresis applies. `challenged`: the
/// challenger that the outcome in force names.
pub(crate) fn seats(
    (mut mixers, mut standbys): (Vec<PeerId>, Vec<PeerId>),
    tallies: &[Tally],
    sitting: &[PeerId],
    challenged: Option<PeerId>,
    reason: ElectionReason,
) -> Seats {
    let mut challenger = None;
    if reason != ElectionReason::Trouble {
        let serves = |peer: &PeerId| {
            tallies.iter().any(|tally| tally.peer == *peer && tally.measurers > 0 && !tally.sags())
        };
        let ousted: Vec<_> =
            sitting.iter().filter(|peer| serves(peer) && !mixers.contains(peer)).copied().collect();
        let risen: Vec<_> = (0..mixers.len()).filter(|at| !sitting.contains(&mixers[*at])).collect();
        for (sits, at) in ousted.into_iter().zip(risen) {
            let rises = mixers[at];
            if challenged == Some(rises) {
                continue;
            }
            mixers[at] = sits;
            standbys.retain(|standby| *standby != sits);
            standbys.insert(0, rises);
            standbys.truncate(1);
            if challenged.is_none() {
                challenger.get_or_insert(rises);
            }
        }
    }
    Seats { mixers, standbys, challenger }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::Sources;

    fn peer(id: u8) -> PeerId {
        PeerId([id; 32])
    }

    fn tally(id: u8, measurers: usize) -> Tally {
        Tally {
            peer: peer(id),
            points: 0,
            feasible: true,
            quick: true,
            bandwidth_bps: 0,
            bitrate_bps: None,
            delivered_percent: None,
            line: None,
            encode_us: None,
            measurers,
            sources: Sources::default(),
            latency_us: 0,
            paused_ppm: 0,
        }
    }

    #[test]
    fn a_challenger_replaces_a_sitting_mixer_in_two_rounds_or_in_trouble() {
        use ElectionReason::{Count, Trouble};
        // elected and standby; sitting; measurers of 1; challenger before; reason; → mixer, standby,
        // challenger
        for (elected, sits, measurers, challenged, reason, seated, challenger) in [
            ([1, 2], 1, 3, None, Count, [1, 2], None),
            ([2, 1], 1, 3, None, Count, [1, 2], Some(2)),
            ([2, 3], 1, 3, None, Count, [1, 2], Some(2)),
            ([2, 1], 1, 3, Some(2), Count, [2, 1], None),
            ([3, 1], 1, 3, Some(2), Count, [1, 3], None),
            ([2, 3], 1, 0, None, Count, [2, 3], None),
            ([2, 3], 4, 3, None, Count, [2, 3], None),
            ([2, 1], 1, 3, None, Trouble, [2, 1], None),
        ] {
            let tallies = [tally(1, measurers), tally(2, 3), tally(3, 3)];
            let [first, second] = elected.map(|id| vec![peer(id)]);
            let found = seats((first, second), &tallies, &[peer(sits)], challenged.map(peer), reason);
            let [mixers, standbys] = seated.map(|id| vec![peer(id)]);
            let expected = Seats { mixers, standbys, challenger: challenger.map(peer) };
            assert_eq!(found, expected, "{elected:?} {sits} {challenged:?} {reason:?}");
        }
    }

    #[test]
    fn of_two_sitting_mixers_only_the_weaker_is_challenged() {
        let tallies = [tally(1, 3), tally(2, 3), tally(3, 3)];
        let elected = (vec![peer(3), peer(1)], vec![peer(2)]);
        let found = seats(elected, &tallies, &[peer(1), peer(2)], None, ElectionReason::Count);
        assert_eq!(found.mixers, [peer(2), peer(1)]);
        assert_eq!((found.standbys, found.challenger), (vec![peer(3)], Some(peer(3))));
    }
}
