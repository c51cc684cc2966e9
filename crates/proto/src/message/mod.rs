//! Control messages: every message between peers, on control channels and in envelopes.
//!
//! The encoding is one version byte and the postcard of [`Message`]. New messages are only ever appended to their
//! machine's enum; an unknown one is [`MessageError::Unknown`] and is ignored. Every list and text has a bound
//! in its type.
//!
//! A link authenticates both of its ends, so messages on it are not signed. Statements that are forwarded to
//! third parties are signed, and [`Message::verify`] checks them before the brain processes the message.

mod access;
mod admission;
mod data;
mod election;
mod failover;
mod heartbeat;
mod link;
mod piece;
mod probe;
mod reign;
mod roster;
mod route;
mod stage;
mod tree;
mod tunnel;
mod voices;

pub use access::{AGENTS_MAX, Access, GenerationKey, Muted, REMOVED_MAX, Ticket};
pub use admission::{Admit, Digest, Join, MemberMessage};
pub use data::{DATA_LEN_MAX, Data, DataHeld, DataHeldAll, DataMessage, Delivery, LOOSE_LEN_MAX};
pub(crate) use election::MEASURERS_MAX;
pub use election::{
    BALLOT_REPORTS_MAX, Ballot, CLAIM_PIXELS, Claim, CodecSource, Confirmed, Decided, Doubt, ElectionMessage,
    ElectionReason, LineId, MIXERS_MAX, MediaSeen, Need, Opening, Outcome, ROUND_TRIPS_MAX, Report,
    RoundTrip,
};
pub use failover::{Alive, FAILOVERS_MAX, Failover, FailoverMessage, Resignation};
pub use heartbeat::{HEAD_LEN_MAX, Head, Heartbeat, loose_from_bytes, loose_to_bytes, path_hash};
pub use link::{
    Answer, BrowserMedia, CANDIDATES_MAX, Candidate, DTLS_HELLO_LEN_MAX, Description, FURTHER_CANDIDATES_MAX,
    Fingerprints, FurtherCandidates, IceRestart, LinkKind, LinkMessage, LinkProof, Offer, PEER_SLOTS,
    PICTURE_SLOTS, Paths, PayloadTypes, Retransmission, SctpInit, Setup,
};
pub use piece::{PIECE_LEN_MAX, Pieces, Reassembly, TooLong};
pub use probe::ProbeMessage;
pub(crate) use reign::REIGNS_AHEAD_MAX;
pub use reign::{
    Heir, HostMessage, ProvenRoster, REIGN_NUMBER_MAX, REIGNS_MAX, Reign, Reigns, SignedRefusal,
    SignedRoster, Successor, first_epoch, reign_of,
};
pub use roster::{
    Consent, Entry, HEIRS_MAX, LAYOUT_LEN_MAX, MixPolicy, NAME_LEN_MAX, ProgramFormat, ProgramLayout,
    ROSTER_MAX, Refusal, Roster, Rules, Sharing, TITLE_LEN_MAX, Vote, Weight,
};
pub use route::{RELAY_HOPS_MAX, Relay, RouteMessage};
pub use stage::{MediaMessage, PictureWanted, Resume, StreamUse, VideoRequest};
pub use tree::{
    Aggregate, Attach, DEPTHS_MAX, LANDMARKS_MAX, Move, PATH_LEN_MAX, PLACES_MAX, Path, PeerRates, Place,
    Purpose, Rates, Reach, Refused, RoundTrips, Sufferers, TreeMessage, Whereabouts,
};
pub use tunnel::TunnelMessage;
pub use voices::{VoiceClock, VoiceClocks};

use serde::{Deserialize, Serialize};
use strum::EnumCount as _;

use crate::id::{PeerId, RoomId};
use crate::seal::{Countersigned, SealError, Signed, Statement, Verified, Verifier};

/// Protocol version, the first byte of every message.
pub const MESSAGE_VERSION: u8 = 8;
/// Maximum bytes of a message on a control channel, after reassembly.
pub const MESSAGE_LEN_MAX: usize = 256 * 1024;

/// Defines [`Message`] by its machines, in the order of their numbers, with the budget of each machine's messages.
macro_rules! machines {
    ($($machine:ident($message:ident): $budget:ident,)*) => {
        /// A control message, by the machine that processes it. The encoding numbers the machines, and each machine's
        /// messages: new ones are appended at the end.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Message {
            $(#[doc = concat!("See [`", stringify!($message), "`].")] $machine($message),)*
        }

        /// Number of messages of each machine that this version knows, and their budget.
        const MACHINES: &[(usize, Budgeted)] = &[$(($message::COUNT, Budgeted::$budget),)*];

        $(impl From<$message> for Message {
            fn from(message: $message) -> Message {
                Message::$machine(message)
            }
        })*
    };
}

machines! {
    Member(MemberMessage): Control,
    Host(HostMessage): Control,
    Link(LinkMessage): Control,
    Route(RouteMessage): Carried,
    Media(MediaMessage): Control,
    Failover(FailoverMessage): Control,
    Probe(ProbeMessage): Control,
    Election(ElectionMessage): Control,
    Tree(TreeMessage): Control,
    Data(DataMessage): Data,
    Tunnel(TunnelMessage): Control,
}

/// Kind of a message as budgets tell them apart, before it is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budgeted {
    /// An envelope that the sender forwards for another peer.
    Carried,
    /// Application data, which has bounds of its own.
    Data,
    /// Other messages, and bytes that can't be decoded.
    Control,
}

/// Decoding error of a control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Another protocol version.
    #[error("version {0} of the protocol is not spoken here")]
    Version(u8),
    /// A message that a later version added, by the numbers of its machine and, if the machine is known, of the
    /// message; to be ignored.
    #[error("message {0}.{1:?} is not known here")]
    Unknown(u32, Option<u32>),
    /// Damaged, or beyond a bound.
    #[error("the message cannot be read")]
    Malformed,
    /// Longer than [`MESSAGE_LEN_MAX`].
    #[error("the message is too long")]
    TooLong,
}

/// What the signatures in a message are checked against.
struct Signatures<'a> {
    verifier: &'a mut Verifier,
    room: &'a RoomId,
    root: &'a PeerId,
    now_unix_s: u64,
}

impl Signatures<'_> {
    fn signed<T: Statement + Serialize>(&mut self, statement: &Signed<T>) -> Result<(), SealError> {
        statement.verify_with(self.verifier, self.room, self.now_unix_s)
    }

    fn all_signed<T: Statement + Serialize>(&mut self, statements: &[Signed<T>]) -> Result<(), SealError> {
        statements.iter().try_for_each(|statement| self.signed(statement))
    }

    fn countersigned<T: Statement + Serialize>(
        &mut self,
        statement: &Countersigned<T, ROSTER_MAX>,
    ) -> Result<(), SealError> {
        statement.verify_with(self.verifier, self.room)
    }

    fn failover(&mut self, failover: &Signed<Failover>) -> Result<(), SealError> {
        failover.verify_both(self.verifier, self.room, self.now_unix_s)
    }

    fn roster(&mut self, roster: &SignedRoster) -> Result<(), SealError> {
        roster.verify_with(self.verifier, self.room, self.root, self.now_unix_s)
    }

    fn refusal(&mut self, refusal: &SignedRefusal) -> Result<(), SealError> {
        refusal.verify_with(self.verifier, self.room, self.root, self.now_unix_s)
    }

    /// Checks a ticket that its holder shows beside something else: one that has expired admits nobody, but is no
    /// reason to drop the message.
    fn shown(&mut self, ticket: Option<&Signed<Ticket>>) -> Result<(), SealError> {
        match ticket.map_or(Ok(()), |ticket| self.signed(ticket)) {
            Err(SealError::Expired) => Ok(()),
            checked => checked,
        }
    }
}

impl Message {
    /// Encodes the message: one version byte, then postcard.
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![MESSAGE_VERSION]).expect("a message is plain data, and a vector grows")
    }

    /// Returns the budget that these bytes count for.
    pub fn budget_of(bytes: &[u8]) -> Budgeted {
        match bytes {
            &[MESSAGE_VERSION, machine, ..] => {
                MACHINES.get(usize::from(machine)).map_or(Budgeted::Control, |it| it.1)
            }
            _ => Budgeted::Control,
        }
    }

    /// Decodes a message; trailing bytes are an error.
    ///
    /// # Errors
    /// [`MessageError`]. An honest peer causes only [`MessageError::Unknown`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Message, MessageError> {
        if bytes.len() > MESSAGE_LEN_MAX {
            return Err(MessageError::TooLong);
        }
        let (&version, body) = bytes.split_first().ok_or(MessageError::Malformed)?;
        if version != MESSAGE_VERSION {
            return Err(MessageError::Version(version));
        }
        let (machine, rest) = postcard::take_from_bytes::<u32>(body).map_err(|_| MessageError::Malformed)?;
        let Some((known, _)) = usize::try_from(machine).ok().and_then(|machine| MACHINES.get(machine)) else {
            return Err(MessageError::Unknown(machine, None));
        };
        let (number, _) = postcard::take_from_bytes::<u32>(rest).map_err(|_| MessageError::Malformed)?;
        if usize::try_from(number).map_or(true, |number| number >= *known) {
            return Err(MessageError::Unknown(machine, Some(number)));
        }
        match postcard::take_from_bytes(body) {
            Ok((message, [])) => Ok(message),
            _ => Err(MessageError::Malformed),
        }
    }

    /// Checks every signature in the message. Rosters and refusals must be signed by the room's root key or
    /// by a host with a proven reign after it, all other statements by their stated sender. Costs about 50 µs
    /// of processor time per signature.
    ///
    /// # Errors
    /// The first [`SealError`] found.
    pub fn verify(
        self,
        room: &RoomId,
        root: &PeerId,
        now_unix_s: u64,
    ) -> Result<Verified<Message>, SealError> {
        self.verify_with(&mut Verifier::default(), room, root, now_unix_s)
    }

    /// Like [`verify`](Self::verify), but skips signatures that `verifier` remembers.
    ///
    /// # Errors
    /// The first [`SealError`] found.
    pub fn verify_with(
        self,
        verifier: &mut Verifier,
        room: &RoomId,
        root: &PeerId,
        now_unix_s: u64,
    ) -> Result<Verified<Message>, SealError> {
        let signatures = &mut Signatures { verifier, room, root, now_unix_s };
        match &self {
            Message::Member(message) => message.check(signatures),
            Message::Host(message) => message.check(signatures),
            Message::Link(message) => message.check(signatures),
            Message::Failover(message) => message.check(signatures),
            Message::Election(message) => message.check(signatures),
            Message::Tree(message) => message.check(signatures),
            Message::Data(message) => message.check(signatures),
            Message::Route(_) | Message::Media(_) | Message::Probe(_) | Message::Tunnel(_) => Ok(()),
        }?;
        Ok(Verified::new(self))
    }
}
