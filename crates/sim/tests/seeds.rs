//! Storms and runs of scenarios that once failed, and some freshly drawn storms.

use std::collections::BTreeSet;
use std::path::Path;

use plenary_sim::kept::Kept;
use plenary_sim::storm::Storm;

use crate::support::{seeds, side_by_side};

/// The cases in a folder, with the names of their files.
fn kept(folder: &str) -> Vec<(String, Kept)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let kept = Kept::read(&std::fs::read_to_string(&path).unwrap());
            all.push((path.display().to_string(), kept.unwrap_or_else(|error| panic!("{path:?}: {error}"))));
        }
    }
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    all
}

#[test]
fn what_once_broke_a_room_breaks_it_no_more() {
    let all = kept("seeds");
    assert!(!all.is_empty());
    side_by_side(all, |(name, kept)| {
        let violations = kept.run(false);
        assert!(violations.is_empty(), "{name}, which showed \"{}\": {violations:#?}", kept.showed());
    });
}

#[test]
fn drawn_storms_break_nothing_but_what_is_known_to_be_open() {
    let storm = |(_, kept): (String, Kept)| match kept {
        Kept::Storm(storm) => Some(storm.seed),
        Kept::Scenario(..) | Kept::Room(_) => None,
    };
    let open: BTreeSet<u64> = kept("seeds/open").into_iter().filter_map(storm).collect();
    for seed in seeds(0..12).filter(|seed| !open.contains(seed)) {
        let violations = Storm::drawn(seed).run();
        assert!(violations.is_empty(), "seed {seed}: {violations:#?}");
    }
}

#[test]
fn a_storm_in_a_file_is_the_storm_that_was_drawn() {
    for seed in 0..200 {
        let storm = Storm::drawn(seed);
        assert_eq!(toml::from_str::<Storm>(&toml::to_string(&storm).unwrap()).unwrap(), storm, "seed {seed}");
    }
}
