//! What the fuzzer of bodies has kept, replayed on stable. The other targets are replayed in `crates/proto/tests` and
//! `crates/rtc/src/targets.rs`.

#[path = "../../proto/fuzz/checks/body.rs"]
mod body;
#[path = "../../proto/fuzz/checks/draw.rs"]
#[allow(dead_code, reason = "each target uses a part")]
mod draw;
#[path = "../../proto/fuzz/checks/kept.rs"]
mod kept;
#[path = "../../proto/fuzz/checks/sign.rs"]
#[allow(dead_code, reason = "each target uses a part")]
mod sign;

#[test]
fn kept_bodies_still_hold() {
    kept::replay("body", body::body);
}
