//! Control messages: every message between peers, on control channels and in envelopes.
//!
//! The encoding is one version byte and the postcard of [`Message`]. New variants are only ever appended to
//! the enum; an unknown variant is [`MessageError::Unknown`] and is ignored. Every list and text has a bound
//! in its type.
//!
//! A link authenticates both of its ends, so messages on it are not signed. Statements that are forwarded to
//! third parties are signed, and [`Message::verify`] checks them before the brain processes the message.

mod access;
mod admission;
mod data;
mod election;
mod heartbeat;
mod link;
mod piece;
mod reign;
mod roster;
mod stage;
mod tree;
mod voices;

pub use access::{AGENTS_MAX, Access, GenerationKey, Muted, REMOVED_MAX, Ticket};
pub use admission::{Admit, Join};
pub use data::{DATA_LEN_MAX, Data, DataHeld, DataHeldAll, Delivery, LOOSE_LEN_MAX};
pub(crate) use election::MEASURERS_MAX;
pub use election::{
    Alive, BALLOT_REPORTS_MAX, Ballot, CLAIM_PIXELS, Claim, CodecSource, Confirmed, Decided, Digest, Doubt,
    ElectionReason, FAILOVERS_MAX, Failover, LineId, MIXERS_MAX, Measured, MediaSeen, Need, Opening, Outcome,
    ROUND_TRIPS_MAX, Report, Resignation, RoundTrip,
};
pub use heartbeat::{HEAD_LEN_MAX, Head, Heartbeat, loose_from_bytes, loose_to_bytes, path_hash};
pub use link::{
    Answer, BrowserMedia, CANDIDATES_MAX, Candidate, Description, Fingerprints, LinkKind, LinkProof, Offer,
    PEER_SLOTS, PICTURE_SLOTS, PayloadTypes, Retransmission, Setup,
};
pub use piece::{PIECE_LEN_MAX, Pieces, Reassembly, TooLong};
pub(crate) use reign::REIGNS_AHEAD_MAX;
pub use reign::{
    Heir, ProvenRoster, REIGN_NUMBER_MAX, REIGNS_MAX, Reign, Reigns, SignedRefusal, SignedRoster, Successor,
    first_epoch, reign_of,
};
pub use roster::{
    Consent, Entry, HEIRS_MAX, LAYOUT_LEN_MAX, MixPolicy, NAME_LEN_MAX, ProgramFormat, ProgramLayout,
    ROSTER_MAX, Refusal, Roster, Rules, Sharing, TITLE_LEN_MAX, Vote, Weight,
};
pub use stage::{PictureWanted, Resume, StreamUse, VideoRequest};
pub use tree::{
    Aggregate, Attach, DEPTHS_MAX, LANDMARKS_MAX, Move, PATH_LEN_MAX, PLACES_MAX, Path, PeerRates, Place,
    Purpose, RELAY_HOPS_MAX, Rates, Reach, Refused, Relay, RoundTrips, Sufferers, Whereabouts,
};
pub use voices::{VoiceClock, VoiceClocks};

use serde::{Deserialize, Serialize};

use crate::bounded::{List, Text};
use crate::id::{PeerId, Rank, RoomId, StreamId, StreamSpec};
use crate::seal::{SealError, Signature, Signed, Verified, Verifier};

/// Protocol version, the first byte of every message.
pub const MESSAGE_VERSION: u8 = 7;
/// Maximum bytes of a message on a control channel, after reassembly.
pub const MESSAGE_LEN_MAX: usize = 256 * 1024;
/// Number of variants that this version knows.
const VARIANTS: u32 = 71;

/// Numbers of the variants that have budgets of their own.
const RELAY_VARIANT: u8 = 8;
const DATA_VARIANT: u8 = 43;

/// A control message. New variants are appended at the end, since the encoding numbers them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Request to the host: to be admitted, to change what the peer does in the room, or to be sent the
    /// current state.
    Join(Join),
    /// The host admits the peer, and sends the current state of the room.
    Admit(Box<Admit>),
    /// The host refuses the peer.
    Refuse(Box<SignedRefusal>),
    /// The current roster; every peer forwards a newer one to its links and children.
    Roster(SignedRoster),
    /// The sender leaves the room, and needs nothing more from the receiver.
    Leave,
    /// Request that the receiver, which has the lower id, offers a link.
    LinkWanted {
        /// Kind of the link.
        kind: LinkKind,
        /// The sender's ticket, since the receiver may not know it as a member.
        ticket: Option<Box<Signed<Ticket>>>,
    },
    /// Offer of a link.
    Offer(Offer),
    /// Answer to an offer.
    Answer(Answer),
    /// An envelope to be forwarded to its recipient.
    Relay(Relay),
    /// Announces which stream the sender sends in a slot of the link.
    Stream(StreamUse),
    /// A mixer requests a speaker's stream: the mixer is the speaker's home.
    Home {
        /// Rank of the mandate under which the mixer requests it; one below the rank in force is ignored.
        rank: Rank,
        /// Requested video format.
        video: VideoRequest,
        /// The last packets that the mixer has of the speaker's present stream; `None` to start at the next
        /// keyframe.
        resume: Option<Resume>,
        /// The same of the picture beside that stream, if the roster says that the speaker sends two.
        beside: Option<PictureWanted>,
    },
    /// A mixer's standby asks a peer on stage for how long the mixer has been silent.
    HearWanted {
        /// The mixer that the standby no longer hears.
        mixer: PeerId,
    },
    /// Answer to [`Message::HearWanted`].
    Heard {
        /// The mixer asked about.
        mixer: PeerId,
        /// Time since the answering peer last received anything from the mixer, microseconds; `None` when the
        /// two aren't linked.
        silent_us: Option<u32>,
    },
    /// Declaration of a failover; forwarded down the tree.
    Failover(Signed<Failover>),
    /// Denial of a failover by the living mixer; forwarded down the tree.
    Alive(Signed<Alive>),
    /// A leaving mixer requests that its standby takes over now.
    FailoverWanted {
        /// Rank of the mandate that the mixer gives up.
        rank: Rank,
        /// Signature of the mixer under its [`Resignation`] in favour of the receiver.
        wish: Signature,
    },
    /// A measurer requests a packet train from a candidate.
    ProbeWanted {
        /// The requester's number for the train.
        train: u32,
        /// Size of the train, bytes.
        bytes: u32,
        /// Rate of the train, bits per second; 0 for as fast as possible.
        rate_bps: u64,
    },
    /// Refusal to send a train now; the requester may retry.
    ProbeBusy {
        /// The requester's number for the train.
        train: u32,
    },
    /// A candidate's claim about itself.
    Claim(Signed<Claim>),
    /// A measurer's report of a candidate.
    Report(Signed<Report>),
    /// Proof that a majority opened an election: candidates claim, measurers measure and report.
    Opening(Box<Opening>),
    /// The opener's ballot: the receiver signs its outcome, or answers with what it lacks.
    Ballot(Box<Signed<Ballot>>),
    /// Vote for a ballot.
    Vote {
        /// Term of the election.
        term: u32,
        /// BLAKE3 of the ballot's body.
        ballot: [u8; 32],
        /// Signature under the ballot's [`Outcome`].
        signature: Signature,
    },
    /// Refusal to vote for an incomplete ballot, with the missing statements; the opener issues the ballot
    /// again.
    Lacking {
        /// Term of the election.
        term: u32,
        /// Reports that the voter holds and the ballot lacks.
        reports: List<Signed<Report>, BALLOT_REPORTS_MAX>,
        /// Claims that the voter holds and the ballot lacks.
        claims: List<Signed<Claim>, ROSTER_MAX>,
    },
    /// A decided election: an outcome with a majority's signatures; forwarded down the tree.
    Decided(Box<Decided>),
    /// A mixer in force reports the number of viewers in its tree to the host.
    Audience {
        /// Number of viewers in the sender's tree.
        viewers: u32,
        /// Number of those off stage that record what they receive.
        recorders: u32,
    },
    /// Request for a place in the tree, as a child or with the receiver as backup.
    Attach(Attach),
    /// Acceptance of an attach. The requester must be linked within 10 s.
    Accept {
        /// Purpose of the attach.
        purpose: Purpose,
        /// Path of the accepting peer, itself included.
        path: Path,
        /// Network position and program delay of the accepting peer.
        whereabouts: Whereabouts,
    },
    /// Answer to an attach by a peer without room: other places to request.
    Redirect {
        /// Purpose of the attach.
        purpose: Purpose,
        /// At most four places, best first.
        places: List<Place, PLACES_MAX>,
    },
    /// Refusal of an attach, without another place to name.
    Refused {
        /// Purpose of the attach.
        purpose: Purpose,
        /// Reason for the refusal.
        reason: Refused,
    },
    /// A child requests the program from the parent that accepted it, or activates its backup.
    Feed {
        /// The last packets that the child holds; `None` to start with the cached GOP.
        from: Option<Resume>,
    },
    /// A child ends its feed but keeps the receiver as backup.
    StopFeed,
    /// A child gives up the receiver as parent or backup.
    Detach,
    /// A parent sends its child away, because it leaves or lacks capacity: the child moves to one of these
    /// places or searches another.
    Shed {
        /// At most four places, best first.
        places: List<Place, PLACES_MAX>,
    },
    /// A child reports the subtree below it.
    Aggregate(Aggregate),
    /// A parent announces its path, itself included.
    PathIs(Path),
    /// What the sender has forwarded of a stream since its last proven frame isn't its maker's (1.3): it was deceived.
    Recalled(StreamId),
    /// A mixer announces to the stage that its program has begun: the first keyframe is out.
    Started(StreamSpec),
    /// The sender no longer wants the link of that kind; it is closed when both ends have said so.
    Bye(LinkKind),
    /// A prospective opener asks the stage for pre-votes.
    PreVoteWanted {
        /// Epoch of the roster in which the pre-votes are counted.
        epoch: u32,
        /// The need that the opener sees.
        need: Need,
    },
    /// Pre-vote: the sender sees the same need.
    PreVote {
        /// Epoch of the roster in which the pre-votes are counted.
        epoch: u32,
        /// Term of the election.
        term: u32,
        /// Signature under the [`Need`].
        signature: Signature,
    },
    /// A parent or grandparent requests a move within the tree; the receiver moves, or forwards the request
    /// to the peer meant.
    Move {
        /// Which peer is to move, and in which direction.
        how: Move,
        /// Destinations, best first.
        places: List<Place, PLACES_MAX>,
    },
    /// A parent or backup ends its relation with the receiver: neither a feed nor a reserved slot remains.
    Dismiss,
    /// A piece of application data; forwarded.
    Data(Signed<Data>),
    /// The sender's positions in reliable application data: a request for later pieces.
    DataHeld(DataHeldAll),
    /// The sender's positions in reliable application data, sent when a link comes up. A newcomer starts
    /// there.
    DataStands(DataHeldAll),
    /// The host offers the receiver the floor (true), or takes or denies it (false).
    Floor(bool),
    /// An heir asks the stage to make it host, since the host is silent.
    ReignWanted {
        /// Epoch of the last roster.
        epoch: u32,
        /// Number of the proposed reign.
        number: u32,
    },
    /// Answer to [`Message::ReignWanted`].
    ReignVote {
        /// Epoch of the last roster.
        epoch: u32,
        /// Number of the proposed reign.
        number: u32,
        /// Signature under the [`Heir`]; `None` when the voter has signed for another heir under this number.
        signature: Option<Signature>,
    },
    /// A speaker's degradation report to the stage. From a mixer in force it means instead that the mixer
    /// cannot produce what is asked of it.
    Trouble {
        /// Number of degradations in the last 20 s; at most 3 count. 4: the program is heard and not seen.
        count: u8,
    },
    /// A viewer's degradation report to its parent: the degraded viewers of its subtree, itself included. A
    /// mixer sends the sum over its audience to the stage.
    Suffering(Sufferers),
    /// A peer reports its network position and its program delay to its parent and children.
    Whereabouts(Whereabouts),
    /// Answer to [`Message::Feed`]: the child is fed from now on, or as soon as the program arrives here.
    Feeding {
        /// Path of the parent, itself included; empty while it receives no program.
        path: Path,
        /// Network position and program delay of the parent.
        whereabouts: Whereabouts,
    },
    /// A child requests that its parent measures the child's uplink.
    UplinkWanted,
    /// A parent reports the measured uplink to its child.
    Uplink {
        /// Measured uplink, bits per second.
        bps: u64,
    },
    /// Anti-entropy digest between peers on stage.
    Digest(Digest),
    /// Request that a mixer forwards a speaker's own stream; it replaces an earlier request.
    SoloWanted {
        /// The speaker; `None` for none any more.
        speaker: Option<PeerId>,
    },
    /// Answer to [`Message::SoloWanted`]; sent again when the forwarding ends.
    Solo {
        /// The speaker.
        speaker: PeerId,
        /// Whether the mixer forwards the speaker's stream.
        comes: bool,
    },
    /// The sender's membership ticket, shown on a new link and when it was renewed.
    Ticket(Signed<Ticket>),
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
    /// Key of the newest invite's envelopes, from a linked member.
    Key(GenerationKey),
    /// The host asks a speaker to send no picture or no sound.
    MuteWanted(Muted),
    /// The joiner waits in the lobby until the host decides.
    InLobby,
    /// The host's word on which outcome is in force; forwarded down the tree.
    Confirmed(Signed<Confirmed>),
    /// The host hands the room over to the receiver, which signs the next roster.
    HandOver(Signed<Successor>),
    /// The sender is the peer at its end of the link: the first message in each direction of a link.
    LinkProof(LinkProof),
    /// A child, or a peer on stage, requests the bit rates of the receiver and of the peers above it.
    RatesWanted,
    /// Answer to [`Message::RatesWanted`]: the sender's rates last, before them those of the peers above as far as they
    /// are known.
    Rates(Rates),
    /// An agent requests that a mixer forwards each speaker's sound (true), or no more (false).
    VoicesWanted(bool),
    /// Answer to [`Message::VoicesWanted`]: whether the mixer forwards them; sent again when the forwarding ends.
    Voices(bool),
    /// The speakers' clocks as the mixer measures them, for an agent that it forwards their sound to.
    VoiceClocks(VoiceClocks),
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
    /// A variant that a later version added; to be ignored.
    #[error("message {0} is not known here")]
    Unknown(u32),
    /// Damaged, or beyond a bound.
    #[error("the message cannot be read")]
    Malformed,
    /// Longer than [`MESSAGE_LEN_MAX`].
    #[error("the message is too long")]
    TooLong,
}

/// Verifies a ticket that its holder shows beside something else: one that has expired admits nobody, but is no reason
/// to drop the message.
fn verify_shown(
    ticket: &Signed<Ticket>,
    verifier: &mut Verifier,
    room: &RoomId,
    now_unix_s: u64,
) -> Result<(), SealError> {
    match ticket.verify_with(verifier, room, now_unix_s) {
        Ok(()) | Err(SealError::Expired) => Ok(()),
        Err(error) => Err(error),
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
            [MESSAGE_VERSION, RELAY_VARIANT, ..] => Budgeted::Carried,
            [MESSAGE_VERSION, DATA_VARIANT, ..] => Budgeted::Data,
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
        let (variant, _) = postcard::take_from_bytes::<u32>(body).map_err(|_| MessageError::Malformed)?;
        if variant >= VARIANTS {
            return Err(MessageError::Unknown(variant));
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
        match &self {
            Message::Admit(admit) => {
                admit.roster.verify_with(verifier, room, root, now_unix_s)?;
                if let Some(under) = &admit.under {
                    under.verify_with(verifier, room, root, now_unix_s)?;
                };
                if let Some(ticket) = &admit.ticket {
                    ticket.verify_with(verifier, room, now_unix_s)?;
                }
                if let Some(decided) = &admit.decided {
                    decided.verify_with(verifier, room)?;
                }
                if let Some(confirmed) = &admit.confirmed {
                    confirmed.verify_with(verifier, room, now_unix_s)?;
                }
                admit
                    .failovers
                    .iter()
                    .try_for_each(|failover| failover.verify_both(verifier, room, now_unix_s))?;
            }
            Message::Roster(roster) => roster.verify_with(verifier, room, root, now_unix_s)?,
            Message::Refuse(refusal) => refusal.verify_with(verifier, room, root, now_unix_s)?,
            Message::Failover(failover) => failover.verify_both(verifier, room, now_unix_s)?,
            Message::Alive(alive) => alive.verify_with(verifier, room, now_unix_s)?,
            Message::Claim(claim) => claim.verify_with(verifier, room, now_unix_s)?,
            Message::Report(report) => report.verify_with(verifier, room, now_unix_s)?,
            Message::Ballot(ballot) => {
                ballot.verify_with(verifier, room, now_unix_s)?;
                ballot
                    .body
                    .reports
                    .iter()
                    .try_for_each(|report| report.verify_with(verifier, room, now_unix_s))?;
                ballot
                    .body
                    .claims
                    .iter()
                    .try_for_each(|claim| claim.verify_with(verifier, room, now_unix_s))?;
            }
            Message::Lacking { reports, claims, .. } => {
                reports.iter().try_for_each(|report| report.verify_with(verifier, room, now_unix_s))?;
                claims.iter().try_for_each(|claim| claim.verify_with(verifier, room, now_unix_s))?;
            }
            Message::Opening(opening) => opening.verify_with(verifier, room)?,
            Message::Decided(decided) => decided.verify_with(verifier, room)?,
            Message::Confirmed(confirmed) => confirmed.verify_with(verifier, room, now_unix_s)?,
            Message::HandOver(named) => named.verify_with(verifier, room, now_unix_s)?,
            Message::Data(data) => data.verify_with(verifier, room, now_unix_s)?,
            Message::Ticket(ticket) => ticket.verify_with(verifier, room, now_unix_s)?,
            Message::Join(Join { ticket: Some(ticket), .. })
            | Message::Attach(Attach { ticket: Some(ticket), .. }) => {
                verify_shown(ticket, verifier, room, now_unix_s)?
            }
            Message::Position { ticket: Some(ticket), .. }
            | Message::LinkWanted { ticket: Some(ticket), .. }
            | Message::Offer(Offer { ticket: Some(ticket), .. }) => {
                verify_shown(ticket, verifier, room, now_unix_s)?
            }
            // votes and pre-votes sign what only the brain has; the maker of frame hashes is known only from
            // the stream's spec
            _ => {}
        }
        Ok(Verified::new(self))
    }
}
