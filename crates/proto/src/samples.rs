//! Fixtures of the brain's unit tests: numbered keys, and rosters.

use crate::bounded::{List, Text};
use crate::id::PeerId;
use crate::message::{
    Access, Claim, CodecSource, Entry, MixPolicy, Muted, ProgramFormat, Roster, Rules, Sharing, Vote,
};
use crate::seal::Keypair;

/// Returns the key with this number, always the same.
pub(crate) fn key(seed: u8) -> Keypair {
    Keypair::from_seed(&[seed; 32])
}

/// Returns the peer with this number, without a key.
pub(crate) fn peer(number: u16) -> PeerId {
    let mut id = [0; 32];
    id[..2].copy_from_slice(&number.to_be_bytes());
    PeerId(id)
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
        votes: Vote::Named,
        muted: Muted::default(),
        shares: Sharing::No,
        no_solo: false,
        session: 0,
        records: false,
    }
}

/// Returns the claim of a candidate with an ideal codec and no links.
pub(crate) fn claim() -> Claim {
    Claim {
        term: 1,
        encode_us: 1,
        decode_us: 1,
        codec_source: CodecSource::Bench,
        codec_age_s: 0,
        uplink_bps_max: None,
        rate_percent: 100,
        round_trips: List::new(),
    }
}

/// Returns an open stage of these entries, with an audience. Key 1 is the host; there is no acting mixer.
pub(crate) fn roster(entries: impl IntoIterator<Item = Entry>) -> Roster {
    Roster {
        host: key(1).id(),
        entries: List::truncated(entries),
        acting: None,
        audience: true,
        rules: Rules {
            program: ProgramFormat { width: 1280, height: 720, fps: 30, bitrate_bps: 1_500_000 },
            k: 4,
            k1: 6,
            mixers: 0,
            stage_open: true,
            mixing: MixPolicy::Anyone,
            expires_unix_s: None,
            layout: List::new(),
            title: Text::default(),
            access: Access::default(),
        },
        heirs: List::new(),
        recorders: 0,
    }
}
