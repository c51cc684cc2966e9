//! Control messages: all that peers say to each other, on control channels and in envelopes.
//!
//! A message is one version byte and the postcard of [`Message`]. The enum grows by new variants at its end
//! only; a variant that is not known here is [`MessageError::Unknown`], to be ignored. Every list and text
//! has a bound in its type. A link has proved who is at its other end, so a message on it is not signed; what
//! is forwarded to third parties is, and [`Message::verify`] checks it before the brain sees it.

mod data;
mod election;
mod heartbeat;
mod link;
mod piece;
mod reign;
mod roster;
mod stage;
mod tree;

pub use data::{DATA_LEN_MAX, Data, DataHeld, DataHeldAll, Delivery, LOOSE_LEN_MAX};
pub(crate) use election::MEASURERS_MAX;
pub use election::{
    Alive, BALLOT_REPORTS_MAX, Ballot, Claim, Decided, Digest, Doubt, ElectionReason, FAILOVERS_MAX,
    Failover, LineId, MIXERS_MAX, Measured, Need, Opening, Outcome, Report, RoundTrip,
};
pub use heartbeat::{HEAD_LEN_MAX, Head, Heartbeat, loose_from_bytes, loose_to_bytes, path_hash};
pub use link::{Answer, CANDIDATES_MAX, Candidate, Description, LinkKind, Offer, PayloadTypes, Setup};
pub use piece::{PIECE_LEN_MAX, Pieces, Reassembly, TooLong};
pub use reign::{
    HEIRS_MAX, Heir, ProvenRoster, REIGN_NUMBER_MAX, REIGNS_MAX, Reign, Reigns, SignedRefusal, first_epoch,
    reign_of,
};
pub use roster::{
    Admit, Consent, Entry, Join, LAYOUT_LEN_MAX, NAME_LEN_MAX, ProgramFormat, ProgramLayout, ROSTER_MAX,
    Refusal, Roster, SignedRoster,
};
pub use stage::{Resume, StreamUse, VideoRequest};
pub use tree::{
    Aggregate, Attach, DEPTHS_MAX, LANDMARKS_MAX, Move, PATH_LEN_MAX, PLACES_MAX, Path, Place, Purpose,
    RELAY_HOPS_MAX, Reach, Refused, Relay, RoundTrips, Sufferers, Whereabouts,
};

use serde::{Deserialize, Serialize};

use crate::bounded::List;
use crate::id::{PeerId, Rank, RoomId, StreamSpec};
use crate::identity::hashes::FrameHashes;
use crate::seal::{SealError, Signature, Signed, Verified, Verifier};

/// The first byte of every message.
pub const MESSAGE_VERSION: u8 = 1;
/// Most bytes of a message on a control channel, pieces joined.
pub const MESSAGE_LEN_MAX: usize = 256 * 1024;
/// How many variants this version knows.
const VARIANTS: u32 = 58;

/// One thing said from one peer to another. New variants go to the end, and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// To the host: let me in, or tell me anew where things stand.
    Join(Join),
    /// From the host: you are in, and this is the room.
    Admit(Box<Admit>),
    /// From the host: you are not.
    Refuse(Box<SignedRefusal>),
    /// The stage as it now is; forwarded by everyone to links and children.
    Roster(SignedRoster),
    /// I am going, and need nothing more from you.
    Leave,
    /// Lower id, please offer me a link of this kind.
    LinkWanted(LinkKind),
    /// A link is offered.
    Offer(Offer),
    /// The offer is taken.
    Answer(Answer),
    /// Pass this envelope on to the peer it is for.
    Relay(Relay),
    /// This stream now flows in that slot, from me to you.
    Stream(StreamUse),
    /// To a speaker: send your stream to me.
    Home {
        /// The mandate under which the mixer asks; a lower one than known is ignored.
        rank: Rank,
        /// The picture it wants.
        video: VideoRequest,
        /// The last packets it has of your present stream; `None` to start at the next key frame.
        resume: Option<Resume>,
    },
    /// To a peer on stage: for how long has nothing come from that mixer?
    HearWanted {
        /// Whom I don't hear.
        mixer: PeerId,
    },
    /// The answer to [`Message::HearWanted`].
    Heard {
        /// Whom it is about.
        mixer: PeerId,
        /// For so long nothing has come from it; `None` when we aren't linked.
        silent_us: Option<u32>,
    },
    /// The standby takes over; forwarded down the tree.
    Failover(Signed<Failover>),
    /// A mixer that was taken over lives on.
    Alive(Signed<Alive>),
    /// To the standby, from a mixer that leaves: take over now.
    FailoverWanted {
        /// The mandate that is given up.
        rank: Rank,
    },
    /// To a candidate: send me a train of packets to measure.
    ProbeWanted {
        /// The asker's number for it.
        train: u32,
        /// How much.
        bytes: u32,
        /// How fast; 0 for as fast as it goes.
        rate_bps: u64,
    },
    /// The train can't be sent now; ask again.
    ProbeBusy {
        /// The asker's number for it.
        train: u32,
    },
    /// What only its owner knows.
    Claim(Signed<Claim>),
    /// What was measured of a candidate.
    Report(Signed<Report>),
    /// A majority has opened an election; measure and report.
    Opening(Box<Opening>),
    /// Sign this, or send what it lacks.
    Ballot(Box<Signed<Ballot>>),
    /// A signature under a ballot's outcome.
    Vote {
        /// The election.
        term: u32,
        /// BLAKE3 of the ballot signed.
        ballot: [u8; 32],
        /// Under its [`Outcome`].
        signature: Signature,
    },
    /// The ballot lacks these; issue it once more.
    Lacking {
        /// The election.
        term: u32,
        /// Reports the signer holds and the ballot doesn't.
        reports: List<Signed<Report>, BALLOT_REPORTS_MAX>,
        /// Claims the signer holds and the ballot doesn't.
        claims: List<Signed<Claim>, ROSTER_MAX>,
    },
    /// A majority has signed; forwarded down the tree.
    Decided(Box<Decided>),
    /// From the lead to the host: so many viewers are in the tree.
    Audience {
        /// Viewers in the tree.
        viewers: u32,
    },
    /// Be my parent, or my backup parent.
    Attach(Attach),
    /// Agreed; link to me if we aren't linked, within 10 s.
    Accept {
        /// What was asked for.
        purpose: Purpose,
        /// Where I am in the tree, myself included.
        path: Path,
        /// And where in the network.
        whereabouts: Whereabouts,
    },
    /// Not I; try one of these.
    Redirect {
        /// What was asked for.
        purpose: Purpose,
        /// At most four places, best first.
        places: List<Place, PLACES_MAX>,
    },
    /// Not I, and I know nobody.
    Refused {
        /// What was asked for.
        purpose: Purpose,
        /// Why not.
        reason: Refused,
    },
    /// From a child: feed me from here on.
    Feed {
        /// The last packets I hold; `None` to start with the cached group of pictures.
        from: Option<Resume>,
    },
    /// From a child: feed me no more, but stay my backup.
    StopFeed,
    /// To whoever is above: you are no longer my parent or backup.
    Detach,
    /// From a parent: I am going, move to one of these, or look for another.
    Shed {
        /// At most four places, best first.
        places: List<Place, PLACES_MAX>,
    },
    /// From a child: what lies below me.
    Aggregate(Aggregate),
    /// From a parent: where I am in the tree, myself included.
    PathIs(Path),
    /// Hashes of the frames since the last ones, signed by the maker.
    FrameHashes(FrameHashes),
    /// To the stage: my program has begun, its first key frame is out.
    Started(StreamSpec),
    /// I close this link of that kind, and want it no more.
    Bye(LinkKind),
    /// I would open an election: do you see the need too?
    PreVoteWanted {
        /// The roster that I count the answers in.
        epoch: u32,
        /// What I see.
        need: Need,
    },
    /// I do.
    PreVote {
        /// The roster's number.
        epoch: u32,
        /// The election's number.
        term: u32,
        /// Under the [`Need`].
        signature: Signature,
    },
    /// From above: move to one of these places, or pass this on to whoever shall.
    Move {
        /// Who is to move.
        how: Move,
        /// Where to, best first.
        places: List<Place, PLACES_MAX>,
    },
    /// From above: I feed you no more, and promise you nothing.
    Dismiss,
    /// What an application told the room.
    Data(Signed<Data>),
    /// So far I have got in application data: send me what you have beyond.
    DataHeld(DataHeldAll),
    /// To whom I have just linked with: so far application data has got; begin there.
    DataStands(DataHeldAll),
    /// From the host: come and speak, if you will; or speak no more.
    Floor(bool),
    /// From an heir, to the stage: the host is gone, sign that I am host.
    ReignWanted {
        /// The last roster's number.
        epoch: u32,
        /// The number that the reign would have.
        number: u32,
    },
    /// The answer.
    ReignVote {
        /// The last roster's number.
        epoch: u32,
        /// The number of the reign.
        number: u32,
        /// Under the [`Heir`]; `None`: another heir has it under this number.
        signature: Option<Signature>,
    },
    /// To the stage: the mix has suffered here, so many times in the last 20 s; at most 3 count. Of a mixer in force: it can't
    /// make what is asked of it.
    Trouble {
        /// How often.
        count: u8,
    },
    /// To whoever feeds us: so many suffer of the viewers from here on down, this one included. A mixer tells the stage, of
    /// its audience.
    Suffering(Sufferers),
    /// To parent and children: where I am, and how late the program leaves me.
    Whereabouts(Whereabouts),
    /// The answer to [`Message::Feed`]: you are fed, or will be when there is a program here.
    Feeding {
        /// Where I am in the tree, myself included; empty while nothing flows here.
        path: Path,
        /// And where in the network.
        whereabouts: Whereabouts,
    },
    /// From a child: measure what I can send.
    UplinkWanted,
    /// From a parent, to whom it has measured.
    Uplink {
        /// Bits per second.
        bps: u64,
    },
    /// Among the stage: so far I have got; tell me what I lack.
    Digest(Digest),
    /// To a mixer: pass that speaker's own stream on to me, instead of another; or none any more.
    SoloWanted {
        /// Whose.
        speaker: Option<PeerId>,
    },
    /// The answer, and later the news that it ends.
    Solo {
        /// Whose stream.
        speaker: PeerId,
        /// Whether it comes.
        comes: bool,
    },
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Of another version of the protocol.
    #[error("version {0} of the protocol is not spoken here")]
    Version(u8),
    /// A variant that a later version added: to be ignored.
    #[error("message {0} is not known here")]
    Unknown(u32),
    /// Damaged, or past a bound.
    #[error("the message cannot be read")]
    Malformed,
    /// Longer than [`MESSAGE_LEN_MAX`].
    #[error("the message is too long")]
    TooLong,
}

impl Message {
    /// The bytes of the message: one version byte, then postcard.
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![MESSAGE_VERSION]).expect("a message is plain data, and a vector grows")
    }

    /// Reads a message; nothing may stand behind it.
    ///
    /// # Errors
    /// [`MessageError`]; only [`MessageError::Unknown`] is to be expected of an honest peer.
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

    /// Checks every signature in the message: rosters and refusals must come from the room's root key, or from a host
    /// that was proven to follow it, the rest from whom they say. Costs about 50 µs of processor time per signature.
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

    /// The same, but a signature that `verifier` remembers isn't checked again.
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
                if let Some(decided) = &admit.decided {
                    decided.verify_with(verifier, room)?;
                }
                admit
                    .failovers
                    .iter()
                    .try_for_each(|failover| failover.verify_with(verifier, room, now_unix_s))?;
            }
            Message::Roster(roster) => roster.verify_with(verifier, room, root, now_unix_s)?,
            Message::Refuse(refusal) => refusal.verify_with(verifier, room, root, now_unix_s)?,
            Message::Failover(failover) => failover.verify_with(verifier, room, now_unix_s)?,
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
            Message::Data(data) => data.verify_with(verifier, room, now_unix_s)?,
            // a vote's and a pre-vote's signature are over what only the brain has; frame hashes are the maker's,
            // whom only the stream's spec names
            _ => {}
        }
        Ok(Verified::new(self))
    }
}
