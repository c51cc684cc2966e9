//! Who is on the stage, and how one gets there.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::election::{Decided, TAKE_OVERS_MAX, TakeOver};
use super::reign::{HEIRS_MAX, ProvenRoster};
use crate::bounded::{List, Text};
use crate::id::PeerId;
use crate::seal::{Signed, Statement};

/// Most peers of a roster.
pub const ROSTER_MAX: usize = 64;
/// Most bytes of a name, in UTF-8.
pub const NAME_LEN_MAX: usize = 64;

/// Whether a peer is willing to mix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Consent {
    /// Regardless of how strong it is.
    Always,
    /// When it is on mains, unmetered, and its bench meets half a frame time.
    Auto,
    /// Not at all.
    #[default]
    Never,
}

/// One peer on stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Who.
    pub peer: PeerId,
    /// As shown under its picture.
    pub name: Text<NAME_LEN_MAX>,
    /// It sends picture and sound.
    pub speaks: bool,
    /// It wants the program too.
    pub views: bool,
    /// It consented to mix, and its bench bore that out.
    pub mixes: bool,
    /// The host hasn't reached it for 5 s: it doesn't count in a majority.
    pub away: bool,
    /// Its place among the speakers, from 0, in the order of joining; kept while it is on stage.
    pub index: u8,
}

/// The picture the audience gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramFormat {
    /// Pixels, even.
    pub width: u16,
    /// Pixels, even.
    pub height: u16,
    /// Frames per second.
    pub fps: u8,
    /// Video, in bits per second.
    pub bitrate_bps: u32,
}

/// The stage, as the room's host signed it: with the root key, or with its own when it is a later one. Its number is the epoch of the signed statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    /// The host.
    pub host: PeerId,
    /// Everyone on stage, the host first, then in the order of joining.
    pub entries: List<Entry, ROSTER_MAX>,
    /// The acting mixer of term 0.
    pub acting: Option<PeerId>,
    /// Someone watches besides the stage.
    pub audience: bool,
    /// The picture the audience gets.
    pub program: ProgramFormat,
    /// Most children of a peer that is no mixer.
    pub k: u8,
    /// Most viewers one mixer feeds.
    pub k1: u8,
    /// How many mixers the host wants; 0 leaves it to need.
    pub mixers: u8,
    /// Who may be host after it, in this order.
    pub heirs: List<PeerId, HEIRS_MAX>,
    /// Whoever asks may speak.
    pub stage_open: bool,
    /// When the invite ends, in seconds since 1970; `None` for never.
    pub expires_unix_s: Option<u64>,
}

impl Roster {
    /// At least half are present. Otherwise the away count too: it may be the host that is cut off, and a minority must
    /// not outvote those it can't hear.
    fn away_are_fewer(&self) -> bool {
        2 * self.entries.iter().filter(|entry| entry.away).count() <= self.entries.len()
    }

    fn votes(&self) -> impl Iterator<Item = &Entry> {
        let absent_count = !self.away_are_fewer();
        self.entries.iter().filter(move |entry| absent_count || !entry.away)
    }

    /// How many signatures count in it: of those present, unless more than half are away; then of all.
    pub fn voters(&self) -> usize {
        self.votes().count()
    }

    /// Whether these are more than half of the voters; nobody counts twice.
    pub fn is_majority<'a>(&self, signers: impl Iterator<Item = &'a PeerId>) -> bool {
        let counts = |signer: &&PeerId| self.votes().any(|entry| entry.peer == **signer);
        let signed: BTreeSet<_> = signers.take(ROSTER_MAX).filter(counts).collect();
        2 * signed.len() > self.voters()
    }
}

impl Statement for Roster {
    const CONTEXT: &'static str = "roster";
}

/// A roster with the host's signature, and the proof that it is the host. Shared, never changed: it is kept for many
/// epochs, and sent to everybody.
pub type SignedRoster = Arc<ProvenRoster>;

/// What a peer wants of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// As shown under its picture.
    pub name: Text<NAME_LEN_MAX>,
    /// It wants to speak.
    pub speaks: bool,
    /// It wants the program.
    pub views: bool,
    /// It would mix.
    pub mixes: bool,
}

/// Everything a newcomer needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admit {
    /// The stage.
    pub roster: SignedRoster,
    /// The older one that the election's signatures count in, if it was under another.
    pub under: Option<SignedRoster>,
    /// The last election, if there was one.
    pub decided: Option<Decided>,
    /// The take-overs in that term, by rank.
    pub take_overs: List<Signed<TakeOver>, TAKE_OVERS_MAX>,
}

/// Why the host lets someone not in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// By the host's clock.
    #[error("the invite has expired")]
    Expired,
    /// The roster has no place left.
    #[error("the stage is full")]
    StageFull,
    /// Speakers are admitted one by one, and this one was not.
    #[error("the host admits speakers one by one")]
    StageClosed,
    /// The room is over.
    #[error("the room is closed")]
    Closed,
}

impl Statement for Refusal {
    const CONTEXT: &'static str = "refusal";
}
