//! The frames between a peer and a rendezvous: one binary websocket message each, one version byte and the
//! postcard of [`FromPeer`] or [`FromRendezvous`].
//!
//! The rendezvous speaks first: `Challenge`, answered by `Hello`, answered by `Welcome` or `Refused`. Then
//! the peer sends `Send`, the rendezvous `Deliver` and `Undeliverable`, and a `Ping` at fixed intervals,
//! which is answered by `Pong`; a side that hears nothing for [`SILENT_PINGS`] intervals takes the connection
//! for dead. Pings are frames of this protocol rather than of the websocket's, because a page sees only
//! these. The enums grow at their ends; a variant that is not known here is [`FrameError::Unknown`], to be
//! ignored. docs/RENDEZVOUS.md has the bytes.

use bytes::Bytes;
use plenary_proto::seal::{ENVELOPE_LEN_MAX, Keypair, Signature, verify};
use plenary_proto::{PeerId, RoomId};
use serde::{Deserialize, Serialize, Serializer};

/// The first byte of every frame.
pub const WIRE_VERSION: u8 = 1;
/// Most bytes of a frame: an envelope, and what stands before it (at most 38 bytes now).
pub const FRAME_LEN_MAX: usize = ENVELOPE_LEN_MAX + 64;
/// So many unanswered pings mean that nobody is there any more.
pub const SILENT_PINGS: u32 = 3;
/// How many variants of [`FromPeer`] and [`FromRendezvous`] this version knows.
const FROM_PEER_VARIANTS: u32 = 3;
const FROM_RENDEZVOUS_VARIANTS: u32 = 6;

/// To whom an envelope goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Address {
    /// Whoever proved to hold the room's root key; of several, who came last.
    Host,
    /// This peer.
    Peer(PeerId),
}

/// What a peer says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromPeer<'a> {
    /// Who I am, and into which room I want; once, first.
    Hello(Box<Hello>),
    /// Carry this to somebody in my room.
    Send {
        /// To whom.
        to: Address,
        /// The envelope.
        #[serde(serialize_with = "as_bytes")]
        envelope: &'a [u8],
    },
    /// I am still here: the answer to a ping.
    Pong,
}

/// What a rendezvous says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromRendezvous<'a> {
    /// Prove who you are by signing this; once, first.
    Challenge {
        /// Random, for this connection only.
        nonce: [u8; 32],
    },
    /// You are in.
    Welcome {
        /// How often a ping will come, in ms.
        ping_interval_ms: u32,
    },
    /// You are not, or no longer; the connection closes.
    Refused(Refusal),
    /// Somebody in your room sent you this.
    Deliver {
        /// Who did.
        from: PeerId,
        /// The envelope.
        #[serde(serialize_with = "as_bytes")]
        envelope: &'a [u8],
    },
    /// An envelope of yours could not be delivered.
    Undeliverable {
        /// As it was addressed.
        to: Address,
    },
    /// Are you still there?
    Ping,
}

/// Why a rendezvous turns a peer away. One byte on the wire, so that an older peer can read a newer reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(from = "u8", into = "u8")]
pub enum Refusal {
    /// 1: the rendezvous speaks another version of this protocol.
    #[error("it speaks another version of the protocol")]
    Version,
    /// 2: a signature does not hold, or the root key is not this room's.
    #[error("a proof of identity does not hold")]
    BadProof,
    /// 3: no host has opened that room.
    #[error("the room is not open")]
    UnknownRoom,
    /// 4: as many peers as allowed are in the room.
    #[error("the room is full")]
    RoomFull,
    /// 5: as many rooms as allowed are open.
    #[error("too many rooms are open")]
    TooManyRooms,
    /// 6: the same peer connected anew, which ends the older connection.
    #[error("the same peer connected again elsewhere")]
    Replaced,
    /// 7: no `Hello` came in time.
    #[error("it took too long to say hello")]
    Late,
    /// 8: bytes that are no frame, a text, or a frame out of turn.
    #[error("something came that is no frame of the protocol")]
    Malformed,
    /// 9: a frame longer than [`FRAME_LEN_MAX`].
    #[error("a frame was too long: at most {FRAME_LEN_MAX} bytes")]
    TooLong,
    /// 10: what was sent to the peer was not taken in time.
    #[error("it took too long to read")]
    Slow,
    /// 11: the rendezvous shuts down.
    #[error("the rendezvous is closing")]
    Closing,
    /// A reason that a later version added.
    #[error("reason {0}")]
    Other(u8),
}

/// The reasons in the order of their numbers, from 1.
const REFUSALS: [Refusal; 11] = [
    Refusal::Version,
    Refusal::BadProof,
    Refusal::UnknownRoom,
    Refusal::RoomFull,
    Refusal::TooManyRooms,
    Refusal::Replaced,
    Refusal::Late,
    Refusal::Malformed,
    Refusal::TooLong,
    Refusal::Slow,
    Refusal::Closing,
];

impl From<u8> for Refusal {
    fn from(number: u8) -> Refusal {
        let known = usize::from(number).checked_sub(1).and_then(|at| REFUSALS.get(at));
        known.copied().unwrap_or(Refusal::Other(number))
    }
}

impl From<Refusal> for u8 {
    fn from(refusal: Refusal) -> u8 {
        match refusal {
            Refusal::Other(number) => number,
            known => (1..).zip(REFUSALS).find(|(_, other)| *other == known).map_or(0, |(number, _)| number),
        }
    }
}

/// Who a peer is and which room it wants into, with proofs over the connection's nonce.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The room.
    pub room: RoomId,
    /// The peer.
    pub peer: PeerId,
    /// The peer's signature over `plenary 1 rendezvous peer` ‖ 0 ‖ room ‖ peer ‖ nonce.
    pub proof: Signature,
    /// Of the host only: it opens the room.
    pub host: Option<HostProof>,
}

/// That the holder of a room's root key wants this peer to be its host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostProof {
    /// The root public key, from which the room's id follows.
    pub root: PeerId,
    /// The root's signature over `plenary 1 rendezvous host` ‖ 0 ‖ room ‖ peer ‖ nonce.
    pub proof: Signature,
}

impl Hello {
    /// Answers a challenge; with the room's `root` key, as its host.
    pub fn new(room: RoomId, nonce: &[u8; 32], me: &Keypair, root: Option<&Keypair>) -> Hello {
        let peer = me.id();
        let host = root.map(|root| HostProof {
            root: root.id(),
            proof: root.sign(&covered("host", &room, &peer, nonce)),
        });
        Hello { room, peer, proof: me.sign(&covered("peer", &room, &peer, nonce)), host }
    }

    /// Checks the proofs. Costs about 50 µs of processor time for each.
    ///
    /// # Errors
    /// [`Refusal::BadProof`].
    pub fn check(&self, nonce: &[u8; 32]) -> Result<(), Refusal> {
        let check = |signer: &PeerId, what: &str, proof: &Signature| {
            verify(signer, &covered(what, &self.room, &self.peer, nonce), proof)
                .map_err(|_| Refusal::BadProof)
        };
        check(&self.peer, "peer", &self.proof)?;
        if let Some(host) = &self.host {
            if RoomId::of_root(&host.root) != self.room {
                return Err(Refusal::BadProof);
            }
            check(&host.root, "host", &host.proof)?;
        }
        Ok(())
    }
}

/// The bytes that a proof signs.
fn covered(what: &str, room: &RoomId, peer: &PeerId, nonce: &[u8; 32]) -> Vec<u8> {
    [b"plenary 1 rendezvous ", what.as_bytes(), &[0], &room.0, &peer.0, nonce].concat()
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Of another version of the protocol.
    #[error("version {0} of the rendezvous protocol is not spoken here")]
    Version(u8),
    /// A variant that a later version added: to be ignored.
    #[error("frame {0} is not known here")]
    Unknown(u32),
    /// Damaged, or something stands behind its end.
    #[error("the frame cannot be read")]
    Malformed,
    /// Longer than [`FRAME_LEN_MAX`], or its envelope than [`ENVELOPE_LEN_MAX`].
    #[error("the frame is too long")]
    TooLong,
}

impl<'a> FromPeer<'a> {
    /// The bytes of the frame.
    pub fn to_bytes(&self) -> Bytes {
        encode(self)
    }

    /// Reads a frame; its envelope stays where it is.
    ///
    /// # Errors
    /// [`FrameError`]; of an honest peer, [`FrameError::Version`] and [`FrameError::Unknown`] only.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<FromPeer<'a>, FrameError> {
        match decode(bytes, FROM_PEER_VARIANTS)? {
            FromPeer::Send { envelope, .. } if envelope.len() > ENVELOPE_LEN_MAX => Err(FrameError::TooLong),
            frame => Ok(frame),
        }
    }
}

impl<'a> FromRendezvous<'a> {
    /// The bytes of the frame.
    pub fn to_bytes(&self) -> Bytes {
        encode(self)
    }

    /// Reads a frame; its envelope stays where it is.
    ///
    /// # Errors
    /// [`FrameError`]; of an honest rendezvous, [`FrameError::Version`] and [`FrameError::Unknown`] only.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<FromRendezvous<'a>, FrameError> {
        match decode(bytes, FROM_RENDEZVOUS_VARIANTS)? {
            FromRendezvous::Deliver { envelope, .. } if envelope.len() > ENVELOPE_LEN_MAX => {
                Err(FrameError::TooLong)
            }
            frame => Ok(frame),
        }
    }
}

fn encode(frame: &impl Serialize) -> Bytes {
    postcard::to_extend(frame, vec![WIRE_VERSION]).expect("a frame is plain data, and a vector grows").into()
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8], variants: u32) -> Result<T, FrameError> {
    if bytes.len() > FRAME_LEN_MAX {
        return Err(FrameError::TooLong);
    }
    let (&version, body) = bytes.split_first().ok_or(FrameError::Malformed)?;
    if version != WIRE_VERSION {
        return Err(FrameError::Version(version));
    }
    let (variant, _) = postcard::take_from_bytes::<u32>(body).map_err(|_| FrameError::Malformed)?;
    if variant >= variants {
        return Err(FrameError::Unknown(variant));
    }
    match postcard::take_from_bytes(body) {
        Ok((frame, [])) => Ok(frame),
        _ => Err(FrameError::Malformed),
    }
}

/// All at once; serde on its own would write a slice byte by byte (the same bytes in postcard).
fn as_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}
