//! Replay of what a fuzzer has kept, for tests on stable.

/// Checks each kept input of a target. The test's output names the file that is checked.
pub(super) fn replay(target: &str, check: fn(&[u8])) {
    let folder = format!("{}/../proto/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} is empty");
    for file in files {
        println!("{}", file.display());
        check(&std::fs::read(file).unwrap());
    }
}
