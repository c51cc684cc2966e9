//! Replays what the fuzz targets have found worth keeping.

#[path = "../fuzz/checks.rs"]
mod checks;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = format!("{}/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} is empty");
    for file in files {
        println!("{}", file.display());
        check(&std::fs::read(file).unwrap());
    }
}

#[test]
fn kept_messages_still_hold() {
    replay("message", checks::message);
}

#[test]
fn kept_frames_still_hold() {
    replay("identity", checks::identity);
}

#[test]
fn kept_invites_still_hold() {
    replay("invite", checks::invite);
}
