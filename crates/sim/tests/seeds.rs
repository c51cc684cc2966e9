//! Storms that once broke a room, and some that are just drawn.

use std::collections::BTreeSet;
use std::path::Path;

use plenary_sim::storm::Storm;

/// The storms that are kept in a folder, by the name of their file.
fn kept(folder: &str) -> Vec<(String, Storm)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut storms = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let storm = toml::from_str(&std::fs::read_to_string(&path).unwrap());
            storms.push((
                path.display().to_string(),
                storm.unwrap_or_else(|error| panic!("{path:?}: {error}")),
            ));
        }
    }
    storms.sort_by(|(one, _), (other, _)| one.cmp(other));
    storms
}

#[test]
fn storms_that_once_broke_a_room_break_it_no_more() {
    let storms = kept("seeds");
    assert!(!storms.is_empty());
    for (name, storm) in storms {
        let violations = storm.run();
        assert!(violations.is_empty(), "{name}, which showed \"{}\": {violations:#?}", storm.showed);
    }
}

#[test]
fn drawn_storms_break_nothing_but_what_is_known_to_be_open() {
    let open: BTreeSet<u64> = kept("seeds/open").iter().map(|(_, storm)| storm.seed).collect();
    for seed in (0..12).filter(|seed| !open.contains(seed)) {
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
