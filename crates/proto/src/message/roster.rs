//! The roster: the membership of the stage as the host signs it.

use crate::ordered::OrderedSet;
use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::access::{Access, Muted};
use crate::app::Reason;
use crate::bounded::{List, Text};
use crate::id::PeerId;
use crate::seal::Statement;

/// Maximum heirs that a roster names.
pub const HEIRS_MAX: usize = 4;
/// Maximum bytes of a room's title, in UTF-8: 64 characters.
pub const TITLE_LEN_MAX: usize = 256;
/// Maximum peers of a roster.
pub const ROSTER_MAX: usize = 64;
/// Maximum bytes of a name, in UTF-8.
pub const NAME_LEN_MAX: usize = 64;

/// Maximum bytes of a [`ProgramLayout`]: 64 tiles with names.
pub const LAYOUT_LEN_MAX: usize = 8 * 1024;

/// Layout of the program, opaque to the brain and interpreted by mixers. Empty: a grid.
pub type ProgramLayout = List<u8, LAYOUT_LEN_MAX>;

/// Consent of a peer to mix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Consent {
    /// Consents regardless of its codec speed.
    Always,
    /// Consents when on mains power and on an unmetered network. Ballots rank a candidate that needs more
    /// than half a frame interval per picture behind the others.
    Auto,
    /// Does not consent.
    #[default]
    Never,
}

/// A peer on stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The peer's id.
    pub peer: PeerId,
    /// Name shown under the peer's picture.
    pub name: Text<NAME_LEN_MAX>,
    /// The peer sends video and audio.
    pub speaks: bool,
    /// The peer wants the program too.
    pub views: bool,
    /// The peer consents to mix: it is a candidate.
    pub mixes: bool,
    /// The host has received nothing from the peer for 5 s. An away peer neither speaks nor mixes nor
    /// measures.
    pub away: bool,
    /// Index among the speakers, from 0, in the order of joining; kept while the peer is on stage.
    pub index: u8,
    /// Whether the peer counts as a voter, and why.
    pub votes: Vote,
    /// What the peer doesn't send at present, by its own word.
    pub muted: Muted,
    /// Whether the peer sends a screen or a film, by its own word.
    pub shares: Sharing,
    /// The peer doesn't allow that its own stream is shown alone, by its own word.
    pub no_solo: bool,
    /// The peer records what it receives, by its own word.
    pub records: bool,
    /// Low byte of the epoch at which the peer's present process came on stage.
    pub session: u8,
}

/// Whether a speaker sends a screen or a film.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Sharing {
    /// It sends none.
    #[default]
    No,
    /// It sends one as its only picture, or as its picture and sound.
    Alone,
    /// It sends one beside its camera's picture: two pictures.
    Beside,
}

/// Why a peer on stage counts as a voter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Vote {
    /// It has no vote: it is new, and the host didn't name it.
    #[default]
    No,
    /// It has been on stage for long. Its vote counts only if the host is gone, and no peer with a better vote is
    /// there.
    ByTime,
    /// It is the host, or the host named it.
    Named,
}

/// Which of the peers that consent to mix may be elected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum MixPolicy {
    /// All of them.
    #[default]
    Anyone,
    /// The host, and peers that it named.
    Named,
}

/// Video format of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramFormat {
    /// Width in pixels, even.
    pub width: u16,
    /// Height in pixels, even.
    pub height: u16,
    /// Frames per second.
    pub fps: u8,
    /// Video bitrate, bits per second.
    pub bitrate_bps: u32,
}

/// Settings of a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Video format of the program.
    pub program: ProgramFormat,
    /// Maximum children of a peer that is no mixer.
    pub k: u8,
    /// Maximum viewers that one mixer feeds.
    pub k1: u8,
    /// Number of mixers that the host wants, however few peers watch; 0 adapts it to the need.
    pub mixers: u8,
    /// Whether every peer that asks may speak.
    pub stage_open: bool,
    /// Which of the peers that consent may mix.
    pub mixing: MixPolicy,
    /// Expiry of the invite, seconds since 1970; `None` for never.
    pub expires_unix_s: Option<u64>,
    /// Layout of the program.
    pub layout: ProgramLayout,
    /// Title of the room; empty for none.
    pub title: Text<TITLE_LEN_MAX>,
    /// Rules of admission.
    pub access: Access,
}

/// Membership and settings of the stage. The host signs them, with the root key or, in a later reign, with
/// its own key. The roster's number is the epoch of the signed statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    /// The host.
    pub host: PeerId,
    /// All peers on stage, the host first, then in the order of joining.
    pub entries: List<Entry, ROSTER_MAX>,
    /// The acting mixer of term 0, before the first election.
    pub acting: Option<PeerId>,
    /// Whether the room has viewers besides the stage.
    pub audience: bool,
    /// Settings of the room.
    pub rules: Rules,
    /// Peers that may succeed the host, in this order.
    pub heirs: List<PeerId, HEIRS_MAX>,
    /// Number of viewers off stage that record what they receive, by their own word and that of the peers above them.
    pub recorders: u32,
}

/// What a set of signers weighs in a roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// No majority.
    Few,
    /// A majority of the peers that decide without the host, in a roster where the host's silence leaves no majority of
    /// named voters: it counts only for a peer that has not heard the host for long.
    WithoutHost,
    /// A majority of the named voters.
    Majority,
}

/// Maximum named voters of a roster that may still decide without the host. Three named voters have a majority of two
/// without counting the host.
const VOTERS_WITHOUT_HOST_MAX: usize = 2;
/// Minimum voters by time that decide without the host: one alone may be a stranger that waited. A guess.
const BY_TIME_MIN: usize = 2;

impl Roster {
    /// Returns the number of named voters, away ones included. If only present peers counted, a host that is itself
    /// cut off could shrink the electorate to its own side of a partition. Peers that the host didn't name have no vote
    /// while it lives: ids cost nothing, and neither does waiting.
    pub fn voters(&self) -> usize {
        self.entries.iter().filter(|entry| entry.votes == Vote::Named).count()
    }

    /// Returns whether a peer is on stage as a speaker.
    pub fn is_speaker(&self, peer: &PeerId) -> bool {
        self.entries.iter().any(|entry| entry.peer == *peer && entry.speaks)
    }

    /// Returns whether a peer may be elected: it consents, and the host allows it.
    pub fn may_mix(&self, entry: &Entry) -> bool {
        entry.mixes && (self.rules.mixing == MixPolicy::Anyone || entry.votes == Vote::Named)
    }

    /// Returns the present peers that may be elected, in roster order.
    pub fn candidates(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| !entry.away && self.may_mix(entry))
    }

    /// Whether every majority of named voters contains the host, because there are hardly any.
    pub fn needs_host(&self) -> bool {
        self.voters() <= VOTERS_WITHOUT_HOST_MAX
    }

    /// Returns what the signers weigh. Each signer counts once.
    pub fn weigh<'a>(&self, signers: impl Iterator<Item = &'a PeerId>) -> Weight {
        let signed: OrderedSet<_> = signers.take(ROSTER_MAX).collect();
        if self.are_most_of(&signed, |entry| entry.votes == Vote::Named) {
            Weight::Majority
        } else if self.needs_host() && self.decide_without_host(&signed) {
            Weight::WithoutHost
        } else {
            Weight::Few
        }
    }

    /// Whether the signers decide if the host is gone: a majority of the other named voters if one of them is present,
    /// else of those that have been on stage for long, else of all peers.
    fn decide_without_host(&self, signed: &OrderedSet<&PeerId>) -> bool {
        let others = || self.entries.iter().filter(|entry| entry.peer != self.host);
        let is_named = |entry: &Entry| entry.votes == Vote::Named && entry.peer != self.host;
        let votes = |entry: &Entry| entry.votes != Vote::No && entry.peer != self.host;
        if others().any(|entry| is_named(entry) && !entry.away) {
            self.are_most_of(signed, is_named)
        } else if others().filter(|entry| votes(entry)).count() >= BY_TIME_MIN {
            self.are_most_of(signed, votes)
        } else {
            self.are_most_of(signed, |_| true)
        }
    }

    /// Whether the signers are a majority: more than half of the named voters, or exactly half of them, if
    /// the host signed and all others are away. Any two such sets share a signer.
    pub fn is_majority<'a>(&self, signers: impl Iterator<Item = &'a PeerId>) -> bool {
        self.weigh(signers) == Weight::Majority
    }

    /// Whether the signers are a majority of all peers, voters or not, by the same rule.
    pub fn is_majority_of_all<'a>(&self, signers: impl Iterator<Item = &'a PeerId>) -> bool {
        self.are_most_of(&signers.take(ROSTER_MAX).collect(), |_| true)
    }

    /// Whether most peers are present, so that the host isn't cut off from most of its stage.
    pub fn is_mostly_present(&self) -> bool {
        let present = self.entries.iter().filter(|entry| !entry.away);
        self.are_most_of(&present.map(|entry| &entry.peer).collect(), |_| true)
    }

    fn are_most_of(&self, signed: &OrderedSet<&PeerId>, counts: impl Fn(&Entry) -> bool) -> bool {
        let all = || self.entries.iter().filter(|entry| counts(entry));
        let (for_it, others): (Vec<_>, Vec<_>) = all().partition(|entry| signed.contains(&entry.peer));
        match for_it.len().cmp(&others.len()) {
            Ordering::Greater => true,
            Ordering::Equal => signed.contains(&self.host) && others.iter().all(|entry| entry.away),
            Ordering::Less => false,
        }
    }
}

impl Statement for Roster {
    const CONTEXT: &'static str = "roster";
}

/// Reason why the host refuses a joiner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}", self.reason())]
#[non_exhaustive]
pub enum Refusal {
    /// The invite has expired, by the host's clock.
    Expired,
    /// The roster is full.
    StageFull,
    /// The stage is closed, and the host has not admitted this speaker.
    StageClosed,
    /// The room is over.
    Closed,
    /// The host has removed this peer.
    Removed,
    /// The room is locked: nobody new is admitted.
    Locked,
    /// The invite was replaced by a newer one.
    OldInvite,
    /// The host has not let this peer in from the lobby.
    Denied,
}

impl Refusal {
    /// Returns what the refusal says.
    pub fn reason(self) -> Reason {
        match self {
            Refusal::Expired => Reason::InviteExpired,
            Refusal::StageFull => Reason::StageFull,
            Refusal::StageClosed => Reason::StageClosed,
            Refusal::Closed => Reason::Ended,
            Refusal::Removed => Reason::Removed,
            Refusal::Locked => Reason::Locked,
            Refusal::OldInvite => Reason::InviteReplaced,
            Refusal::Denied => Reason::NotLetIn,
        }
    }
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

    /// A roster of `count` peers, the host first; the bits of `away` mark the peers that are away.
    fn roster(count: usize, away: usize) -> Roster {
        let entry = |at: usize| Entry {
            peer: peer(at),
            name: Text::default(),
            speaks: true,
            views: false,
            mixes: true,
            away: away >> at & 1 == 1,
            index: at as u8,
            votes: Vote::Named,
            muted: Muted::default(),
            shares: Sharing::No,
            no_solo: false,
            session: 0,
            records: false,
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
        // of four, the host and one other: enough while the other two are away, not while only one is
        assert!(decides(&roster(4, 0b1100), 0b0011));
        assert!(!decides(&roster(4, 0b0100), 0b0011));
        assert!(!decides(&roster(4, 0b0011), 0b1100), "the host isn't with them");
        assert!(decides(&roster(5, 0b11000), 0b00111));
        assert!(!decides(&roster(5, 0b11000), 0b00011), "two of five, though two of three present");
        assert!(decides(&roster(1, 0), 0b1));
    }
}
