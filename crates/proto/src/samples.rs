//! What unit tests of the brain begin with: keys by number, and a roster of them.

use crate::bounded::{List, Text};
use crate::message::{Entry, ProgramFormat, Roster};
use crate::seal::Keypair;

/// The same key for the same number.
pub(crate) fn key(seed: u8) -> Keypair {
    Keypair::from_seed(&[seed; 32])
}

/// A peer that would mix, and neither speaks nor views.
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

/// An open stage of these with an audience; key 1 is the host, nobody the acting mixer.
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
