//! Properties of the fuzz targets, checked on stable: for the kept corpus, and for some thousands of inputs
//! drawn here.

#[path = "../fuzz/checks/mod.rs"]
mod checks;
#[path = "../fuzz/checks/kept.rs"]
mod kept;

use checks::{Op, ops, play};
use kept::replay;
use proptest::collection::vec;
use proptest::prelude::*;

/// Sets the number of drawn inputs; `PLENARY_DRAWS=100` draws a hundred times as many.
fn draws(usual: u32) -> ProptestConfig {
    let times = std::env::var("PLENARY_DRAWS").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    ProptestConfig::with_cases(usual * times)
}

macro_rules! targets {
    ($($target:ident: $kept:ident, $drawn:ident, $cases:expr, $len:expr;)*) => { $(
        #[test]
        fn $kept() {
            replay(stringify!($target), checks::$target);
        }

        proptest! {
            #![proptest_config(draws($cases))]
            #[test]
            fn $drawn(bytes in vec(any::<u8>(), 0..$len)) {
                checks::$target(&bytes);
            }
        }
    )* };
}

targets! {
    message: kept_messages_still_hold, any_message_holds, 3_000, 400;
    heartbeat: kept_heartbeats_still_hold, any_heartbeat_holds, 3_000, 60;
    pieces: kept_pieces_still_hold, any_pieces_hold, 500, 200;
    envelope: kept_envelopes_still_hold, any_envelope_holds, 500, 300;
    identity: kept_frames_still_hold, any_frame_holds, 3_000, 400;
    invite: kept_invites_still_hold, any_invite_holds, 1_000, 400;
}

#[test]
fn kept_rooms_still_hold() {
    replay("room", checks::room);
}

/// Draws ops from a few bytes each. Each op shrinks by itself, and is dropped as a whole.
fn drawn_ops() -> impl Strategy<Value = Vec<Op>> {
    let op = vec(any::<u8>(), 2..80).prop_map(|bytes| ops(&bytes).into_iter().next());
    vec(op, 0..200).prop_map(|ops| ops.into_iter().flatten().collect())
}

proptest! {
    #![proptest_config(draws(300))]

    #[test]
    fn whatever_happens_to_a_room_its_brains_keep_their_promises(ops in drawn_ops()) {
        play(ops);
    }
}

proptest! {
    #![proptest_config(draws(20))]

    #[test]
    fn the_same_happenings_make_every_brain_say_the_same(ops in drawn_ops()) {
        prop_assert_eq!(play(ops.clone()), play(ops));
    }
}
