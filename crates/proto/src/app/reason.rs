//! Reasons of refusals, of ends and of errors that users meet.
//!
//! Each one has its sentence here, for terminals and logs (`Display`), and its code, by which applications, reports and
//! the page tell it from others ([`Reason::code`]; serialized, too). Errors and refusals that carry more than a reason
//! name theirs by a method `reason`; where its sentence
//! alone would leave questions, they have one of their own.

use serde::{Serialize, Serializer};
use strum::{IntoStaticStr, VariantArray};

use crate::message::{AGENTS_MAX, DATA_LEN_MAX, LOOSE_LEN_MAX, MIXERS_MAX};
use crate::rendezvous::FRAME_LEN_MAX;
use crate::seal::{HINT_LEN_MAX, InviteError};

/// Reason of a refusal, of an end or of an error that users meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray, thiserror::Error)]
#[strum(serialize_all = "kebab-case")]
#[cfg_attr(test, derive(ts_rs::TS), ts(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum Reason {
    // ── the invite ───────────────────────────────────────────────────────────────────────────────────────────
    /// The text does not begin like an invite.
    #[error("an invite looks like http://HOST/#… or plenary:#…")]
    NotAnInvite,
    /// The part of the invite after `#` is damaged.
    #[error("the invite is damaged: ask for it anew")]
    InviteDamaged,
    /// The invite is of another version than this program reads.
    #[error("the invite is of another version")]
    InviteVersion,
    /// The invite has expired.
    #[error("the invite has expired")]
    InviteExpired,
    /// The invite was replaced by a newer one.
    #[error("the invite has been replaced: ask for the new one")]
    InviteReplaced,
    /// The room has a password, and none was given.
    #[error("this room needs a password")]
    PasswordNeeded,
    /// The given password is not the room's.
    #[error("wrong password")]
    WrongPassword,
    /// The address for the page can't stand in an invite.
    #[error("a page's address looks like https://example.org/room/")]
    NotAPage,
    /// The address of the rendezvous is too long for an invite that leads to a page elsewhere.
    #[error("for a page elsewhere, the address of the rendezvous may have {HINT_LEN_MAX} characters")]
    LongRendezvous,
    /// The invite names no rendezvous that this program can reach.
    #[error("the invite names no rendezvous")]
    NoRendezvous,

    // ── the host's answer ────────────────────────────────────────────────────────────────────────────────────
    /// The stage is full.
    #[error("the stage is full")]
    StageFull,
    /// The stage is closed, and the host has not admitted this speaker.
    #[error("the host admits speakers one by one")]
    StageClosed,
    /// The room is locked: nobody new is admitted.
    #[error("the room is locked")]
    Locked,
    /// The host has not let this peer in from the lobby.
    #[error("the host has not let you in")]
    NotLetIn,
    /// The host did not answer in time.
    #[error("the host doesn't answer: the room may be over")]
    NoAnswer,
    /// The host did not answer, and a peer of the room says that it speaks another version of the protocol.
    #[error("the room speaks another version of the protocol: update the older program, or reload the page")]
    RoomVersion,

    // ── the rendezvous ───────────────────────────────────────────────────────────────────────────────────────
    /// The rendezvous speaks another version of its protocol.
    #[error("it speaks another version of the protocol")]
    OtherVersion,
    /// A signature is invalid, or the root key does not belong to this room.
    #[error("a proof of identity does not hold")]
    BadProof,
    /// No host has opened that room.
    #[error("the room is not open")]
    NotOpen,
    /// The rendezvous doesn't know the room, but has started so lately that the host may not be back yet.
    #[error("it has just started, and the room isn't open there yet")]
    NotYet,
    /// The room has reached its maximum number of peers.
    #[error("the room is full")]
    RoomFull,
    /// The rendezvous, or the address that opens the room, has reached its maximum number of rooms.
    #[error("too many rooms are open")]
    TooManyRooms,
    /// The rendezvous lets pages of listed origins in only.
    #[error("the rendezvous lets no pages of this origin in")]
    OtherOrigin,
    /// Another process is in the room as its host.
    #[error("another process with the keys of this room is its host")]
    HostPresent,
    /// The peer said nothing for too long after it had connected.
    #[error("it took too long to say hello")]
    Late,
    /// Bytes that are no frame of the rendezvous' protocol, or a frame out of turn.
    #[error("something came that is no frame of the protocol")]
    Malformed,
    /// A frame was longer than the protocol allows.
    #[error("a frame was too long: at most {FRAME_LEN_MAX} bytes")]
    LongFrame,
    /// The peer did not read its frames in time.
    #[error("it took too long to read")]
    Slow,
    /// The rendezvous shuts down.
    #[error("the rendezvous is closing")]
    Closing,
    /// A later version's reason of a rendezvous.
    #[error("a reason that this version doesn't know")]
    Unknown,
    /// The rendezvous can't be reached, or has closed the connection.
    #[error("the rendezvous can't be reached")]
    Unreachable,
    /// The certificate of the rendezvous is signed by no authority that this machine trusts, or is another host's.
    #[error("the rendezvous' certificate is not trusted")]
    Untrusted,
    /// Nothing arrives from the rendezvous.
    #[error("the rendezvous is silent")]
    Silent,
    /// This machine has stood still.
    #[error("this machine has slept")]
    Slept,
    /// The rendezvous doesn't keep to the protocol.
    #[error("the rendezvous doesn't keep to the protocol")]
    NoProtocol,

    // ── the clock ────────────────────────────────────────────────────────────────────────────────────────────
    /// This machine's clock differs from that of the rendezvous.
    #[error("this machine's clock is wrong: the room goes by that of the rendezvous")]
    WrongClock,
    /// The clocks of the room and of another peer differ.
    #[error("the clocks of the room and of another peer differ by more than five minutes")]
    OtherClock,

    // ── ends ─────────────────────────────────────────────────────────────────────────────────────────────────
    /// The host has removed this peer.
    #[error("removed by the host")]
    Removed,
    /// The host has ended the room for everybody.
    #[error("the host ended the room")]
    Ended,
    /// Another process goes on with this peer's identity.
    #[error("the same peer connected again elsewhere")]
    Replaced,
    /// This peer has left.
    #[error("this peer has left")]
    Left,
    /// The room's task failed, or its runtime was shut down.
    #[error("the room's task has ended")]
    Lost,

    // ── commands ────────────────────────────────────────────────────────────────────────────────────────────
    /// The command is the host's, and this peer is not the host.
    #[error("only the host of the room may do this")]
    NotHost,
    /// The command names the host itself, which mutes itself, takes and gives up the floor, and goes as any other peer
    /// does.
    #[error("the host can't do this to itself")]
    Itself,
    /// The command needs a peer on stage: a speaker, or a peer that consents to mix.
    #[error("only a peer on stage can do this, and this one watches or is not here")]
    OffStage,
    /// The host knows of no such peer in its room, and has waited three seconds for it: it isn't on stage, isn't listed
    /// as a viewer, and neither waits in the lobby nor for the floor. In rooms of more than a thousand viewers, and
    /// while a new host doesn't know them yet, no peer is refused so.
    #[error("the host knows of no such peer in the room")]
    Stranger,
    /// The stage chose this host a moment ago, since it missed its predecessor, which may only have lost its
    /// connection: for some seconds it removes nobody, replaces no invite, and doesn't end the room.
    #[error("the host before may come back: try again in ten seconds")]
    TooSoon,
    /// The room was opened again with its keys, and no member of its earlier session has answered since.
    #[error("no member of the room has answered since it was opened again")]
    NobodyAnswers,
    /// The room has its maximum of agents.
    #[error("a room has at most {AGENTS_MAX} agents")]
    TooManyAgents,
    /// The number of mixers is too large.
    #[error("a room has at most {MIXERS_MAX} mixers")]
    TooManyMixers,
    /// A line is no command.
    #[error("there is no such command")]
    NoSuchCommand,
    /// The argument of a command is missing, or doesn't fit.
    #[error("the command lacks an argument, or has a wrong one")]
    WrongArgument,
    /// No peer has that name or id.
    #[error("nobody here is called so")]
    NoSuchPeer,
    /// Several peers have that name, or ids that begin with those digits.
    #[error("several peers are called so: an id tells them apart")]
    SeveralPeers,
    /// Bytes are no room keys or no identity, or of another identity than the given one.
    #[error("these are no keys of this kind, or they are damaged")]
    BadKeys,
    /// A page opens rooms at a rendezvous with an address of http or https.
    #[error("a page opens a room at a rendezvous with an address of http or https")]
    BadRendezvous,

    // ── publishing ───────────────────────────────────────────────────────────────────────────────────────────
    /// Only a speaker on stage publishes.
    #[error("only a speaker on stage publishes")]
    NoSpeaker,
    /// This speaker publishes a camera already.
    #[error("this speaker publishes a camera already")]
    SecondCamera,
    /// This speaker publishes a screen or film already.
    #[error("this speaker publishes a screen or film already")]
    SecondShare,
    /// This speaker publishes sound already.
    #[error("this speaker publishes sound already")]
    SecondSound,

    // ── data of applications ─────────────────────────────────────────────────────────────────────────────────
    /// Only peers on stage may send data.
    #[error("only peers on stage can send data to the room")]
    NotOnStage,
    /// The data is longer than [`DATA_LEN_MAX`], or than [`LOOSE_LEN_MAX`] if it may be lost.
    #[error("the data is too long: {DATA_LEN_MAX} bytes at most, {LOOSE_LEN_MAX} when it may be lost")]
    LongData,
    /// The stage is closed, and this peer is there to mix: neither a speaker, nor named by the host.
    #[error("on a closed stage only speakers, and peers that the host named, can send data")]
    NotNamed,
    /// The source exceeds its share of the 96 KiB a second that all sources have together, and half of that at once.
    /// Stages of more than 16 peers share a lower rate. A peer that only mixes and isn't named by the host has 4 KiB a
    /// second.
    #[error("data is sent faster than the room would carry it")]
    TooFast,
}

impl Reason {
    /// All reasons, in the order of their declaration.
    pub const ALL: &'static [Reason] = <Reason as VariantArray>::VARIANTS;

    /// Returns the code: the variant's name in lower case, with hyphens. It never changes its meaning.
    pub fn code(self) -> &'static str {
        self.into()
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// A reason with its sentence, for applications that have no text of their own for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[non_exhaustive]
pub struct Why {
    /// The reason.
    pub reason: Reason,
    /// What it says.
    pub why: String,
}

impl From<Reason> for Why {
    fn from(reason: Reason) -> Why {
        Why { reason, why: reason.to_string() }
    }
}

impl From<InviteError> for Why {
    fn from(error: InviteError) -> Why {
        Why { reason: error.reason(), why: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_reason_has_a_code_and_a_sentence_of_its_own() {
        let codes: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        let sentences: BTreeSet<_> = Reason::ALL.iter().map(Reason::to_string).collect();
        assert_eq!((codes.len(), sentences.len()), (Reason::ALL.len(), Reason::ALL.len()));
        assert_eq!((Reason::InviteExpired.code(), Reason::NotOpen.code()), ("invite-expired", "not-open"));
    }
}
