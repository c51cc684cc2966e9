//! What an application asks of its room.

use serde::{Deserialize, Serialize};

use super::{Layout, Reason};
use crate::id::PeerId;
use crate::message::{Delivery, Entry, MIXERS_MAX, MixPolicy, Muted, Roster, Vote};

/// Command of an application to its room. As JSON: `"leave"`, `{"admit":"<64 hex digits>"}`,
/// `{"set-agent":["…",true]}`.
///
/// The body checks a command before it obeys ([`RoomState::check`](crate::RoomState::check)). Those of the host's take
/// effect when the roster shows them ([`Command::settled`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Command {
    // ── of each peer ─────────────────────────────────────────────────────────────────────────────────────────
    /// Leaves politely: children and the program are handed over first.
    Leave,
    /// Searches another parent.
    ReconnectUpstream,
    /// Requests the floor (true), or gives it up to watch only (false). On an open stage the host grants the
    /// floor, otherwise its application decides.
    Speak(bool),
    /// Mutes this peer's own pictures, or unmutes them.
    MutePicture(bool),
    /// Mutes this peer's own sound, or unmutes it.
    MuteSound(bool),
    /// Sends data to every peer in the room, at most 8 KiB; from the stage only.
    Tell(Delivery, Vec<u8>),
    /// Requests a speaker's own stream, as the mixer receives it; null ends it. The event of the same name reports the
    /// result.
    Solo(Option<Solo>),
    /// Allows that this peer's own stream is forwarded to peers that request it alone, or refuses it.
    AllowSolo(bool),
    /// Requests each speaker's sound apart, at an agent; the event of the same name reports the result.
    Voices(bool),
    /// Tells the room whether this peer records what it receives.
    Records(bool),
    /// Measures the bandwidth from a peer on stage to this peer, for display; the event "measured" has the result.
    Measure(PeerId),
    /// Requests the bit rates of the peers on the program's way to this one. The answer is in the snapshot for 10 s; a
    /// request each two seconds or so keeps it fresh, and completes it peer by peer.
    AskRates,
    /// Sets the maximum number of children as a relay; 0 for none. The relay feeds surplus children until they have
    /// found another parent, for 3 s at most.
    SetChildrenMax(u8),
    /// Makes the peer that opened the room its host again.
    TakeBack,

    // ── of the host ──────────────────────────────────────────────────────────────────────────────────────────
    /// Lets a peer in from the lobby; one that has not come yet is let in when it comes.
    Admit(PeerId),
    /// Turns a peer in the lobby away.
    Deny(PeerId),
    /// Newcomers wait in the lobby (true), or come in at once.
    Lobby(bool),
    /// Admits no newcomer (true), or admits newcomers again.
    Lock(bool),
    /// Opens the stage, so that every peer that asks may speak, or closes it, so that the application decides. Present
    /// speakers stay.
    OpenStage(bool),
    /// Sets which of the peers that consent may mix.
    SetMixing(MixPolicy),
    /// Removes the peers that are on stage only because they consent to mix, and that the host didn't name.
    RemoveUnnamed,
    /// Lets a peer speak. One that hasn't asked for the floor is offered it.
    Promote(PeerId),
    /// Takes the floor from a peer, or denies it.
    Demote(PeerId),
    /// Removes a peer from the room for good.
    Remove(PeerId),
    /// Removes a peer, and replaces the invite, which it knows.
    Ban(PeerId),
    /// Replaces the peers that need neither wait nor hold the newest invite; at most 1000 count.
    SetMembers(Vec<PeerId>),
    /// Marks a peer as an agent, which may hear each speaker apart, or takes the mark back. A room has at most
    /// [`AGENTS_MAX`](crate::message::AGENTS_MAX).
    SetAgent(PeerId, bool),
    /// Asks a speaker to send no picture or no sound.
    AskToMute(PeerId, Muted),
    /// Asks all speakers but the host to send no picture or no sound.
    MuteAll(Muted),
    /// Sets the layout of the program.
    SetLayout(Layout),
    /// Sets the number of mixers; 0 adapts it to the need.
    SetMixers(u8),
    /// Hands the room over to a peer on stage.
    HandOver(PeerId),
    /// Replaces the invite: the old one admits nobody any more. The invite is made and kept outside the body, so that
    /// [`Input::Renew`](crate::Input::Renew) is what the brain gets.
    RenewInvite,
    /// Ends the room.
    End,
}

/// Request for one speaker's own stream, as its mixer receives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Solo {
    /// The speaker.
    pub speaker: PeerId,
    /// Whether the stream replaces the program at the application. The program still arrives, for this peer's
    /// children, and a speaker still hears its mix-minus.
    pub instead: bool,
}

impl Command {
    /// Whether only the host may give this command.
    pub fn is_hosts(&self) -> bool {
        !matches!(
            self,
            Command::Leave
                | Command::ReconnectUpstream
                | Command::Speak(_)
                | Command::MutePicture(_)
                | Command::MuteSound(_)
                | Command::Tell(..)
                | Command::Solo(_)
                | Command::AllowSolo(_)
                | Command::Voices(_)
                | Command::Records(_)
                | Command::Measure(_)
                | Command::AskRates
                | Command::SetChildrenMax(_)
                | Command::TakeBack
        )
    }

    /// Returns the peer that a command of the host's names, if it can't be the host itself.
    pub(crate) fn other(&self) -> Option<PeerId> {
        match self {
            Command::Admit(peer)
            | Command::Deny(peer)
            | Command::Promote(peer)
            | Command::Demote(peer)
            | Command::Remove(peer)
            | Command::Ban(peer)
            | Command::AskToMute(peer, _)
            | Command::HandOver(peer) => Some(*peer),
            _ => None,
        }
    }

    /// Whether a host that the stage chose a moment ago has to wait with this command: its predecessor may only have
    /// lost its connection.
    pub(crate) fn needs_settled(&self) -> bool {
        matches!(
            self,
            Command::Remove(_)
                | Command::RemoveUnnamed
                | Command::Ban(_)
                | Command::RenewInvite
                | Command::End
        )
    }

    /// Whether the command, given by peer `me`, is settled by this roster: `None` while the roster doesn't show its
    /// effect, `Some(false)` if another peer is the host, so that it won't. Commands of which a roster shows nothing
    /// are settled when they are given.
    pub fn settled(&self, me: &PeerId, roster: &Roster) -> Option<bool> {
        let access = &roster.rules.access;
        let shows = match self {
            Command::TakeBack => return (roster.host == *me).then_some(true),
            Command::HandOver(peer) if roster.host == *peer => return Some(true),
            Command::HandOver(_) => false,
            Command::Lobby(on) => access.lobby == *on,
            Command::Lock(on) => access.locked == *on,
            Command::OpenStage(open) => roster.rules.stage_open == *open,
            Command::SetMixing(mixing) => roster.rules.mixing == *mixing,
            Command::Promote(peer) => roster.is_speaker(peer),
            Command::Demote(peer) => !roster.is_speaker(peer),
            Command::Remove(peer) => access.removed.contains(peer),
            Command::SetAgent(peer, is_agent) => access.agents.contains(peer) == *is_agent,
            Command::SetLayout(layout) => roster.rules.layout == layout.to_roster(),
            Command::SetMixers(mixers) => roster.rules.mixers == *mixers,
            Command::End => access.ended,
            _ => true,
        };
        match self.is_hosts() && roster.host != *me {
            true => Some(false),
            false => shows.then_some(true),
        }
    }
}

/// Refuses a number of mixers that no room has.
///
/// # Errors
/// [`Reason::TooManyMixers`].
pub fn check_mixers(mixers: u8) -> Result<(), Reason> {
    if usize::from(mixers) <= MIXERS_MAX { Ok(()) } else { Err(Reason::TooManyMixers) }
}

/// Returns the peers that are on stage only because they consent to mix, and that the host didn't name.
pub fn unnamed(roster: &Roster) -> impl Iterator<Item = PeerId> {
    let is_unnamed = |entry: &&Entry| entry.mixes && !entry.speaks && entry.votes != Vote::Named;
    roster.entries.iter().filter(is_unnamed).map(|entry| entry.peer)
}
