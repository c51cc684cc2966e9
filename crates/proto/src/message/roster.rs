//! Who is on the stage, and how one gets there.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::election::{Decided, FAILOVERS_MAX, Failover};
use super::reign::{HEIRS_MAX, ProvenRoster};
use crate::bounded::{List, Text};
use crate::id::PeerId;
use crate::seal::{Signed, Statement};

/// Most peers of a roster.
pub const ROSTER_MAX: usize = 64;
/// Most bytes of a name, in UTF-8.
pub const NAME_LEN_MAX: usize = 64;

/// Most bytes of a [`ProgramLayout`]: 64 tiles with names.
pub const LAYOUT_LEN_MAX: usize = 8 * 1024;

/// How the program is laid out, as mixers understand it; the brain hands it on. Empty: a grid.
pub type ProgramLayout = List<u8, LAYOUT_LEN_MAX>;

/// Whether a peer is willing to mix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Consent {
    /// Regardless of how strong it is.
    Always,
    /// When it is on mains and unmetered. Ballots put one whose bench doesn't meet half a frame time behind the others.
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
    /// The host hasn't heard it for 5 s: it neither speaks nor mixes nor measures.
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
    /// How the program is laid out.
    pub layout: ProgramLayout,
}

impl Roster {
    /// How many signatures count in it: of all, away or not. It may be the host that is cut off, and calls away those that it
    /// can't hear.
    pub fn voters(&self) -> usize {
        self.entries.len()
    }

    /// Whether these are more than half of the voters, or the half that is present, the host among them: no two such sets
    /// are without a common signer. Nobody counts twice.
    pub fn is_majority<'a>(&self, signers: impl Iterator<Item = &'a PeerId>) -> bool {
        let counts = |signer: &&PeerId| self.entries.iter().any(|entry| entry.peer == **signer);
        let signed: BTreeSet<_> = signers.take(ROSTER_MAX).filter(counts).collect();
        let others_away =
            || self.entries.iter().filter(|entry| !signed.contains(&entry.peer)).all(|entry| entry.away);
        match (2 * signed.len()).cmp(&self.voters()) {
            Ordering::Greater => true,
            Ordering::Equal => signed.contains(&self.host) && others_away(),
            Ordering::Less => false,
        }
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
    /// The failovers in that term, by rank.
    pub failovers: List<Signed<Failover>, FAILOVERS_MAX>,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(seed: usize) -> PeerId {
        PeerId([seed as u8; 32])
    }

    /// So many peers, the host first; those of the bits are away.
    fn roster(count: usize, away: usize) -> Roster {
        let entry = |at: usize| Entry {
            peer: peer(at),
            name: Text::default(),
            speaks: true,
            views: false,
            mixes: true,
            away: away >> at & 1 == 1,
            index: at as u8,
        };
        Roster { host: peer(0), ..crate::samples::roster((0..count).map(entry)) }
    }

    fn decides(roster: &Roster, signers: usize) -> bool {
        let signers: Vec<PeerId> = (0..ROSTER_MAX).filter(|at| signers >> at & 1 == 1).map(peer).collect();
        roster.is_majority(signers.iter())
    }

    #[test]
    fn whoever_is_called_away_by_whom_no_two_parts_of_a_stage_decide_apart() {
        for count in 1..=5 {
            let all = 1 << count;
            let rosters: Vec<Roster> = (0..all).map(|away| roster(count, away)).collect();
            for one in 0..all {
                let decided = |signers: usize| rosters.iter().any(|roster| decides(roster, signers));
                let apart = (0..all).find(|other| one & other == 0 && decided(one) && decided(*other));
                assert_eq!(apart, None, "{count} peers, and {one:b} decides");
            }
        }
    }

    #[test]
    fn half_of_a_stage_decides_if_it_is_all_that_is_present_with_the_host() {
        // of four the host and another, while the others are away, or one is
        assert!(decides(&roster(4, 0b1100), 0b0011));
        assert!(!decides(&roster(4, 0b0100), 0b0011));
        assert!(!decides(&roster(4, 0b0011), 0b1100), "the host isn't with them");
        assert!(decides(&roster(5, 0b11000), 0b00111));
        assert!(!decides(&roster(5, 0b11000), 0b00011), "two of five, though two of three present");
        assert!(decides(&roster(1, 0), 0b1));
    }
}
