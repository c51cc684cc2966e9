//! Checks the dependencies between the crates and those of the brain, as drawn in docs/ARCHITECTURE.md, and
//! rules for all source files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Crates that each crate may depend on: lower ones only, and beside it only proto.
const ARROWS: &[(&str, &[&str])] = &[
    ("plenary-proto", &[]),
    ("plenary-media", &["plenary-proto"]),
    ("plenary-body", &["plenary-proto", "plenary-media"]),
    ("plenary-rtc", &["plenary-proto"]),
    ("plenary-signal", &["plenary-proto"]),
    ("plenary-sim", &["plenary-proto", "plenary-media", "plenary-body"]),
    ("plenary", &["plenary-proto", "plenary-media", "plenary-body", "plenary-rtc", "plenary-signal"]),
    (
        "plenary-cli",
        &[
            "plenary",
            "plenary-proto",
            "plenary-media",
            "plenary-body",
            "plenary-rtc",
            "plenary-signal",
            "plenary-sim",
            "plenary-page",
        ],
    ),
    ("plenary-page", &[]),
    ("plenary-web", &["plenary-proto", "plenary-media", "plenary-body"]),
    ("plenary-testkit", &["plenary-proto", "plenary-media"]),
    ("netlab", &[]),
];

/// All dependencies allowed for the brain: nothing that needs an operating system, a clock or a thread.
const PROTO_DEPENDENCIES: &[&str] = &[
    "argon2",
    "base64ct",
    "blake3",
    "bytes",
    "chacha20poly1305",
    "ed25519-dalek",
    "hkdf",
    "postcard",
    "rand_chacha",
    "serde",
    "sha2",
    "smallvec",
    "strum",
    "thiserror",
    "unicode-normalization",
    "zeroize",
];

const BODY_DEPENDENCIES: &[&str] =
    &["bytes", "plenary-media", "plenary-proto", "postcard", "rand_chacha", "smallvec", "tracing"];

/// Type names that say nothing.
const BANNED_NOUNS: &[&str] = &[
    "Manager", "Handler", "Helper", "Util", "Utils", "Common", "Base", "Impl", "Info", "Node", "Client",
    "Session",
];

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn manifests() -> BTreeMap<String, toml::Table> {
    let mut manifests = BTreeMap::new();
    let crates = std::fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path());
    for folder in crates.chain([root().join("tests/netlab")]) {
        let file = folder.join("Cargo.toml");
        let manifest: toml::Table = std::fs::read_to_string(&file).unwrap().parse().unwrap();
        manifests.insert(manifest["package"]["name"].as_str().unwrap().to_owned(), manifest);
    }
    manifests
}

/// Returns the dependencies of all tables of this name, including target-specific ones.
fn dependencies(manifest: &toml::Table, table: &str) -> BTreeSet<String> {
    let mut tables = vec![manifest.get(table)];
    if let Some(targets) = manifest.get("target").and_then(toml::Value::as_table) {
        tables.extend(targets.values().map(|target| target.get(table)));
    }
    tables.into_iter().flatten().flat_map(|table| table.as_table().unwrap().keys().cloned()).collect()
}

#[test]
fn dependencies_between_crates_point_down_only() {
    let arrows: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let manifests = manifests();
    for (name, manifest) in &manifests {
        let allowed = arrows.get(&**name).unwrap_or_else(|| panic!("{name} has no place in the picture"));
        for dependency in dependencies(manifest, "dependencies") {
            if manifests.contains_key(&dependency) {
                assert!(allowed.contains(&&*dependency), "{name} -> {dependency} points up or sideways");
            }
        }
    }
    assert_eq!(manifests.len(), ARROWS.len());
}

#[test]
fn the_testkit_is_for_tests_only() {
    for (name, manifest) in manifests() {
        for table in ["dependencies", "build-dependencies"] {
            assert!(!dependencies(&manifest, table).contains("plenary-testkit"), "{name} ships the testkit");
        }
    }
}

#[test]
fn brain_and_body_depend_on_nothing_that_needs_an_operating_system() {
    for (name, allowed) in [("plenary-proto", PROTO_DEPENDENCIES), ("plenary-body", BODY_DEPENDENCIES)] {
        let manifest = &manifests()[name];
        let allowed: BTreeSet<_> = allowed.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(dependencies(manifest, "dependencies"), allowed);
        assert!(dependencies(manifest, "build-dependencies").is_empty());
    }
}

#[test]
fn webrtc_stays_behind_its_seam() {
    for (name, manifest) in manifests() {
        let found = dependencies(&manifest, "dependencies");
        for stack in ["webrtc", "rtc"] {
            assert!(name == "plenary-rtc" || !found.contains(stack), "{name} depends on {stack}");
        }
    }
}

/// Returns every file with this extension below these folders of the project, sorted.
pub(crate) fn files(folders: &[&str], extension: &str) -> Vec<PathBuf> {
    let mut folders: Vec<_> = folders.iter().map(|name| root().join(name)).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|_| panic!("{} is missing", folder.display()))
        {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                files.push(path);
            }
        }
    }
    files.sort();
    assert!(!files.is_empty());
    files
}

/// Returns every Rust file of the project, with its text.
pub(crate) fn sources() -> Vec<(PathBuf, String)> {
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path, text)
    };
    files(&["crates", "tests", "examples"], "rs").into_iter().map(read).collect()
}

/// Returns the name that a line defines by `struct`, `enum`, `trait`, `mod` or `type`.
fn defined(line: &str) -> Option<&str> {
    let line = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(crate) ");
    let (keyword, rest) = line.split_once(' ')?;
    ["struct", "enum", "trait", "mod", "type"].contains(&keyword).then_some(())?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

fn banned(name: &str) -> bool {
    BANNED_NOUNS.iter().any(|noun| name.ends_with(noun) || name == noun.to_lowercase())
}

#[test]
fn every_type_is_named_for_what_it_is() {
    assert!(banned("RoomManager") && banned("util") && !banned("Roster"));
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            if let Some(name) = defined(line) {
                assert!(!banned(name), "{}:{}: {name} names nothing", path.display(), number + 1);
            }
        }
    }
}

#[test]
fn no_file_outgrows_its_reader() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= 1000, "{} has {lines} lines: look for the seam", path.display());
    }
}

#[test]
fn every_module_begins_by_saying_what_it_is_for() {
    for (path, text) in sources() {
        let first = text.lines().find(|line| !line.starts_with("#![")).unwrap_or_default();
        assert!(first.is_empty() || first.starts_with("//!"), "{} has no opening comment", path.display());
    }
}

#[test]
fn nothing_is_left_for_later() {
    let marks = ["TODO", "FIXME", "XXX"];
    for (path, text) in sources().into_iter().filter(|(path, _)| !path.ends_with("tests/architecture.rs")) {
        for (number, line) in text.lines().enumerate() {
            assert!(
                !marks.iter().any(|mark| line.contains(mark)),
                "{}:{}: {line}",
                path.display(),
                number + 1
            );
        }
    }
}

/// Returns the brain's constant that a line defines, if it is a time, a rate or a bound.
fn figure(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = line
        .strip_prefix("pub ")
        .or_else(|| {
            line.split_once(") ").filter(|(start, _)| start.starts_with("pub(")).map(|(_, rest)| rest)
        })
        .unwrap_or(line);
    let (name, _) = line.strip_prefix("const ")?.split_once(':')?;
    ["_US", "_MAX", "_MIN", "_BPS", "_KEPT", "_PERCENT", "_BYTES"]
        .iter()
        .any(|unit| name.ends_with(unit))
        .then_some(name)
}

#[test]
fn each_figure_of_the_brain_stands_in_the_protocol_with_its_source() {
    assert_eq!(figure("pub(super) const ASK_US: u64 = 1;"), Some("ASK_US"));
    assert_eq!(figure("    const VERSION: u8 = 1;"), None);
    let read = |name: &str| std::fs::read_to_string(root().join("docs").join(name)).unwrap();
    let text = read("CONSTANTS.md") + &read("RENDEZVOUS.md");
    let brain = root().join("crates/proto/src");
    let sources = sources().into_iter().filter(|(path, _)| path.starts_with(&brain));
    let mut missing = Vec::new();
    for (path, source) in sources {
        let names = source.lines().filter_map(figure).filter(|name| !text.contains(&format!("`{name}`")));
        missing.extend(names.map(|name| format!("{}: {name}", path.display())));
    }
    assert!(missing.is_empty(), "missing in docs/CONSTANTS.md or RENDEZVOUS.md: {missing:#?}");
}

#[test]
fn every_binary_of_tests_is_run_by_the_script() {
    let script = std::fs::read_to_string(root().join("run")).unwrap();
    let listed = |list: &str| -> BTreeSet<String> {
        let names = script.lines().find_map(|line| line.strip_prefix(list)?.strip_suffix(')')).unwrap();
        names.split(' ').map(str::to_owned).collect()
    };
    let mut there = BTreeSet::new();
    for (name, manifest) in manifests() {
        let folder =
            root().join("crates").join(name.strip_prefix("plenary-").unwrap_or("plenary")).join("tests");
        for test in manifest.get("test").and_then(toml::Value::as_array).into_iter().flatten() {
            there.insert(test["name"].as_str().unwrap().to_owned());
        }
        if manifest["package"].get("autotests").is_some() || !folder.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") || path.join("main.rs").is_file() {
                there.insert(path.file_stem().unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let scripted: BTreeSet<String> =
        ["simulated=(", "virtual_time=(", "real_time=(", "demos=("].into_iter().flat_map(listed).collect();
    assert_eq!(scripted, there);
}
