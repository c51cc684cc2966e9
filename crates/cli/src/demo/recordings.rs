//! Choice of the viewers that record, and of the recordings that are kept.
//!
//! Which viewers end up at which depth is not known when they join. So a few more viewers record than recordings are
//! kept, early and late ones: a viewer that joins later is usually deeper. A depth without a recording gets one later.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Maximum number of viewers that record at a time, unless all do.
const RECORDING_MAX: usize = 12;
/// Maximum number of viewers that begin to record later, for a depth at which none does.
const LATER_MAX: usize = 6;
/// Number of recordings that are kept, unless all are.
const KEPT_MAX: usize = 3;

/// Viewers that record, by index.
#[derive(Debug)]
pub(crate) struct Recorded {
    all: bool,
    /// Running recordings, and those of chosen viewers that have yet to join.
    now: BTreeSet<usize>,
    /// All recordings, in the order of their starts.
    ever: Vec<usize>,
    /// Number of recordings that started some time after the viewer had joined.
    later: usize,
}

impl Recorded {
    /// Chooses among the viewers of the start.
    pub(crate) fn choose(viewers: usize, all: bool) -> Recorded {
        Recorded { all, now: spread(viewers), ever: Vec::new(), later: 0 }
    }

    /// Whether this viewer, which joins now, records.
    pub(crate) fn starts(&mut self, viewer: usize) -> bool {
        let records = self.all || self.now.len() < RECORDING_MAX || self.now.contains(&viewer);
        if records {
            self.now.insert(viewer);
            self.ever.push(viewer);
        }
        records
    }

    /// Chooses a viewer of each depth at which none records, to begin now. `viewers` are index and depth of all present
    /// viewers.
    pub(crate) fn choose_later(&mut self, viewers: &[(usize, Option<usize>)]) -> Vec<usize> {
        let mut found: BTreeMap<usize, Option<usize>> = BTreeMap::new();
        for (viewer, depth) in viewers {
            let Some(depth) = depth else { continue };
            let first = found.entry(*depth).or_insert(Some(*viewer));
            if self.now.contains(viewer) {
                *first = None;
            }
        }
        let chosen: Vec<usize> = found.into_values().flatten().take(LATER_MAX - self.later).collect();
        self.later += chosen.len();
        self.now.extend(&chosen);
        self.ever.extend(&chosen);
        chosen
    }

    /// Makes room for another recording: this viewer has departed.
    pub(crate) fn ends(&mut self, viewer: usize) {
        self.now.remove(&viewer);
    }

    /// Removes all recordings but a few of viewers of different depth, unless all are requested. `viewers` are index
    /// and depth of all viewers present at the end.
    pub(crate) fn keep_few(
        &self,
        out: &Path,
        viewers: impl Iterator<Item = (usize, Option<usize>)>,
    ) -> anyhow::Result<()> {
        if self.all {
            return Ok(());
        }
        let depths: BTreeMap<usize, Option<usize>> = viewers.collect();
        let recorded = self.ever.iter().filter_map(|viewer| Some((*viewer, *depths.get(viewer)?)));
        let kept = few(recorded);
        for viewer in self.ever.iter().filter(|viewer| !kept.contains(viewer)) {
            let file = file(out, *viewer);
            if file.exists() {
                std::fs::remove_file(file)?;
            }
        }
        Ok(())
    }
}

/// Returns the file of a viewer's recording.
pub(crate) fn file(out: &Path, viewer: usize) -> std::path::PathBuf {
    out.join(format!("viewer-{viewer}.mp4"))
}

/// Returns up to [`RECORDING_MAX`] of the first `viewers` indexes, the first and the last among them. They lie closer
/// at the beginning, since a level of the tree has several times as many viewers as the level above.
fn spread(viewers: usize) -> BTreeSet<usize> {
    let most = RECORDING_MAX.min(viewers);
    let last = most.saturating_sub(1).max(1);
    let power = |number: usize| (viewers as f64).powf(number as f64 / last as f64) as usize;
    (0..most).map(|number| number.max(power(number) - 1)).collect()
}

/// Returns up to [`KEPT_MAX`] of the viewers, of as many depths as possible; the earliest ones of each depth.
fn few(viewers: impl Iterator<Item = (usize, Option<usize>)>) -> BTreeSet<usize> {
    let mut by_depth: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (viewer, depth) in viewers {
        by_depth.entry(depth.unwrap_or(usize::MAX)).or_default().push(viewer); // viewers without a parent come last
    }
    let first = by_depth.values().filter_map(|viewers| viewers.first().copied());
    let rest = by_depth.values().flat_map(|viewers| viewers.iter().skip(1).copied());
    first.chain(rest).take(KEPT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_viewer_record_and_no_more_than_the_maximum() {
        for viewers in [0, 1, 2, 3, 11, 12, 13, 24, 60, 300, 1000] {
            let chosen = spread(viewers);
            assert_eq!(chosen.len(), viewers.min(RECORDING_MAX), "{viewers}: {chosen:?}");
            assert_eq!(chosen.first().copied(), (viewers > 0).then_some(0), "{viewers}");
            assert_eq!(chosen.last().copied(), viewers.checked_sub(1), "{viewers}");
        }
        let levels = [0..10, 10..50, 50..210, 210..1000].map(|level| spread(1000).range(level).count());
        assert!(levels.iter().all(|count| *count >= 2), "{levels:?}");
    }

    #[test]
    fn a_later_viewer_records_in_the_place_of_a_departed_one() {
        let mut recorded = Recorded::choose(60, false);
        let start: Vec<usize> = (0..60).filter(|viewer| recorded.starts(*viewer)).collect();
        assert_eq!(start.len(), RECORDING_MAX);
        assert!(!recorded.starts(60));
        recorded.ends(start[5]);
        assert!(recorded.starts(61) && !recorded.starts(62));
        let mut all = Recorded::choose(60, true);
        assert!((0..70).all(|viewer| all.starts(viewer)));
        let mut none_at_first = Recorded::choose(0, false);
        assert!(none_at_first.starts(0));
    }

    #[test]
    fn a_depth_without_a_recording_gets_one() {
        let mut recorded = Recorded::choose(60, false);
        let start: Vec<usize> = (0..60).filter(|viewer| recorded.starts(*viewer)).collect();
        let depth = |viewer: usize| match viewer {
            51 => None,
            50.. if !start.contains(&viewer) => Some(3),
            _ => Some(1 + viewer % 2),
        };
        let viewers: Vec<_> = (0..60).map(|viewer| (viewer, depth(viewer))).collect();
        assert_eq!(recorded.choose_later(&viewers), [50]);
        assert_eq!(recorded.choose_later(&viewers), [0; 0]);
        let chain: Vec<_> = (100..120).map(|viewer| (viewer, Some(viewer))).collect();
        assert_eq!(recorded.choose_later(&chain).len(), LATER_MAX - 1);
        assert_eq!(recorded.choose_later(&chain), [0; 0]);
    }

    #[test]
    fn recordings_of_different_depth_are_kept() {
        let depths = [(0, Some(1)), (1, Some(1)), (2, Some(2)), (3, None), (4, Some(2)), (5, Some(3))];
        assert_eq!(few(depths.into_iter()), BTreeSet::from([0, 2, 5]));
        assert_eq!(few(depths.into_iter().take(4)), BTreeSet::from([0, 2, 3]));
        assert_eq!(few([(7, Some(1)), (8, Some(1))].into_iter()), BTreeSet::from([7, 8]));
    }

    #[test]
    fn all_other_recordings_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let mut recorded = Recorded::choose(5, false);
        for viewer in 0..5 {
            assert!(recorded.starts(viewer));
            std::fs::write(file(folder.path(), viewer), "film").unwrap();
        }
        let viewers = [(0, Some(1)), (1, Some(1)), (2, Some(2)), (4, Some(2))]; // one departed
        recorded.keep_few(folder.path(), viewers.into_iter()).unwrap();
        let left = (0..5).filter(|viewer| file(folder.path(), *viewer).exists());
        assert_eq!(left.collect::<Vec<_>>(), [0, 1, 2]);
    }
}
