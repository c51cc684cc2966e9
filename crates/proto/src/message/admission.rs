//! Admission: what a joiner requests, and the state of the room that it is sent.

use serde::{Deserialize, Serialize};
use strum::EnumCount;

use super::Signatures;
use super::access::{GenerationKey, Muted, Ticket};
use super::election::{Confirmed, Decided};
use super::failover::{FAILOVERS_MAX, Failover};
use super::reign::{SignedRefusal, SignedRoster};
use super::roster::{NAME_LEN_MAX, Sharing};
use crate::bounded::{List, Text};
use crate::id::{PeerId, Rank};
use crate::seal::{SealError, Signed};

/// Membership: admission, rosters, tickets, and the newest invite's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, EnumCount)]
pub enum MemberMessage {
    /// Request to the host: to be admitted, to change what the peer does in the room, or to be sent the
    /// current state.
    Join(Join),
    /// The host admits the peer, and sends the current state of the room.
    Admit(Box<Admit>),
    /// The host refuses the peer.
    Refuse(Box<SignedRefusal>),
    /// The joiner waits in the lobby until the host decides.
    InLobby,
    /// The current roster; every peer forwards a newer one to its links and children.
    Roster(SignedRoster),
    /// Anti-entropy digest between peers on stage.
    Digest(Digest),
    /// The sender's membership ticket, shown on a new link and when it was renewed.
    Ticket(Signed<Ticket>),
    /// Key of the newest invite's envelopes, from a linked member.
    Key(GenerationKey),
    /// A member reports its position in the tree to the host.
    Position {
        /// Name of the member.
        name: Text<NAME_LEN_MAX>,
        /// The peer that feeds the member; `None` for none.
        parent: Option<PeerId>,
        /// Hops from the mixer; 0 for a peer that isn't fed.
        depth: u8,
        /// The last peer that promised, within a minute, to feed the member, and sent it nothing or forged media.
        fed_nothing: Option<PeerId>,
        /// The member's ticket, since the host need not be linked with it.
        ticket: Option<Box<Signed<Ticket>>>,
    },
    /// The sender leaves the room, and needs nothing more from the receiver.
    Leave,
}

impl MemberMessage {
    /// Checks the signatures in the message.
    pub(super) fn check(&self, signatures: &mut Signatures<'_>) -> Result<(), SealError> {
        match self {
            MemberMessage::Admit(admit) => admit.check(signatures),
            MemberMessage::Roster(roster) => signatures.roster(roster),
            MemberMessage::Refuse(refusal) => signatures.refusal(refusal),
            MemberMessage::Ticket(ticket) => signatures.signed(ticket),
            MemberMessage::Join(join) => signatures.shown(join.ticket.as_ref()),
            MemberMessage::Position { ticket, .. } => signatures.shown(ticket.as_deref()),
            _ => Ok(()),
        }
    }
}

/// A joiner's request: the roles that it wants in the room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// Name shown under the joiner's picture.
    pub name: Text<NAME_LEN_MAX>,
    /// The joiner wants to speak.
    pub speaks: bool,
    /// The joiner wants the program.
    pub views: bool,
    /// The joiner consents to mix.
    pub mixes: bool,
    /// What the joiner doesn't send at present, if it speaks.
    pub muted: Muted,
    /// Whether the joiner sends a screen or a film.
    pub shares: Sharing,
    /// The joiner doesn't allow that its own stream is shown alone.
    pub no_solo: bool,
    /// The joiner records what it receives.
    pub records: bool,
    /// The joiner's ticket, if it is a member already.
    pub ticket: Option<Signed<Ticket>>,
    /// A newcomer wants a place in the tree with its admission, and would feed that many children.
    pub place: Option<u8>,
}

impl Join {
    /// Returns the request of a newcomer that only wants the program, without a ticket.
    pub fn viewer(name: &str) -> Join {
        Join {
            name: Text::truncated(name),
            speaks: false,
            views: true,
            mixes: false,
            muted: Muted::default(),
            shares: Sharing::No,
            no_solo: false,
            records: false,
            ticket: None,
            place: None,
        }
    }
}

/// Admission: all state that a newcomer needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admit {
    /// The newest roster.
    pub roster: SignedRoster,
    /// The older roster that the election's signatures count in; `None` when they count in the newest roster.
    pub under: Option<SignedRoster>,
    /// The last decided election, if any.
    pub decided: Option<Decided>,
    /// The host's word on that election, as far as the sender knows it.
    pub confirmed: Option<Signed<Confirmed>>,
    /// The failovers of that term, by rank.
    pub failovers: List<Signed<Failover>, FAILOVERS_MAX>,
    /// The newcomer's ticket.
    pub ticket: Option<Signed<Ticket>>,
    /// Key of the newest invite, for a member with an older key.
    pub key: Option<GenerationKey>,
}

impl Admit {
    fn check(&self, signatures: &mut Signatures<'_>) -> Result<(), SealError> {
        [Some(&self.roster), self.under.as_ref()]
            .into_iter()
            .flatten()
            .try_for_each(|roster| signatures.roster(roster))?;
        self.ticket.iter().try_for_each(|ticket| signatures.signed(ticket))?;
        self.decided.iter().try_for_each(|decided| signatures.countersigned(decided))?;
        self.confirmed.iter().try_for_each(|confirmed| signatures.signed(confirmed))?;
        self.failovers.iter().try_for_each(|failover| signatures.failover(failover))
    }
}

/// Anti-entropy digest: the newest state a peer on stage has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Epoch of the newest roster it has.
    pub epoch: u32,
    /// Rank of the mandate in force for it.
    pub rank: Rank,
    /// [`Outcome::evidence`](super::Outcome::evidence) of the outcome in force; zero without one.
    pub evidence: [u8; 32],
    /// Whether the sender requests what it lacks; false in an answer, which ends the exchange.
    pub asks: bool,
}
