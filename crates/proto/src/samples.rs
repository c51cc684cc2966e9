//! Fixtures of the brain's unit tests: numbered keys, and rosters.

use crate::bounded::{List, Text};
use crate::message::{Entry, ProgramFormat, Roster};
use crate::seal::Keypair;

/// Returns the key with this number, always the same.
pub(crate) fn key(seed: u8) -> Keypair {
    Keypair::from_seed(&[seed; 32])
}

/// Returns a candidate that neither speaks nor views.
pub(crate) fn candidate(seed: u8) -> Entry {
    Entry {
        peer: key(seed).id(),
        name: Text::truncated(""),
        speaks: false,
        views: false,
        mixes: true,
        away: false,
        index: seed,
    }
}

/// Returns an open stage of these entries, with an audience. Key 1 is the host; there is no acting mixer.
pub(crate) fn roster(entries: impl IntoIterator<Item = Entry>) -> Roster {
    Roster {
        host: key(1).id(),
        entries: List::truncated(entries),
        acting: None,
        audience: true,
        program: ProgramFormat { width: 1280, height: 720, fps: 30, bitrate_bps: 1_500_000 },
        k: 4,
        k1: 6,
        mixers: 0,
        heirs: List::new(),
        stage_open: true,
        expires_unix_s: None,
        layout: List::new(),
    }
}
