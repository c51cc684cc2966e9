//! What the fuzzer of bodies has kept, replayed on stable. The other targets are replayed in `crates/proto/tests` and
//! `crates/rtc/src/targets.rs`.

#[path = "../../proto/fuzz/checks/body.rs"]
mod body;
#[path = "../../proto/fuzz/checks/draw.rs"]
#[allow(dead_code, reason = "each target uses a part")]
mod draw;
#[path = "../../proto/fuzz/checks/sign.rs"]
#[allow(dead_code, reason = "each target uses a part")]
mod sign;

#[test]
fn kept_bodies_still_hold() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto/fuzz/corpus/body");
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty(), "{folder} is empty");
    for file in files {
        println!("{}", file.display());
        body::body(&std::fs::read(file).unwrap());
    }
}
