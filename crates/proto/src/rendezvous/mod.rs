//! Wire format between a peer and a rendezvous. Each frame is one binary websocket message: one version byte,
//! then [`FromPeer`] or [`FromRendezvous`] encoded by postcard.
//!
//! The rendezvous begins with `Challenge`. The peer answers with `Hello`, and the rendezvous with `Clock` and
//! `Welcome`, or with `Refused`. From then on the peer sends `Send`, and the rendezvous sends `Deliver` and
//! `Undeliverable`.
//!
//! Two peers between which no UDP path exists send the datagrams of their link as [batches](Batch) in `Tunnel`, if the
//! rendezvous has announced `Carries`. The datagrams are sealed by the link.
//!
//! The rendezvous sends a `Ping` at fixed intervals, which the peer answers with `Pong`. A side that receives
//! nothing for [`SILENT_PINGS`] intervals treats the connection as dead. Pings are frames of this protocol,
//! because a web page cannot see websocket pings.
//!
//! New variants are appended to the enums. An unknown variant is [`FrameError::Unknown`] and is ignored. The
//! byte layout is in docs/RENDEZVOUS.md.

use std::net::IpAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};

use crate::app::Reason;
use crate::bounded::{List, Text};
use crate::seal::{ENVELOPE_LEN_MAX, Keypair, Signature, verify};
use crate::{PeerId, RoomId};

mod batch;
mod connection;
mod outage;
mod tunnels;

pub use batch::{
    Batch, Datagrams, MalformedBatch, NotBatched, TUNNEL_BATCH_LEN_MAX, TUNNEL_DATAGRAM_LEN_MAX, datagrams,
    is_batch,
};
pub use connection::{Connection, Entrance, Happening, HostEntrance, PATIENCE_US, Step};
pub use outage::{Ended, NotSent, Outage};

/// Maximum length of an envelope that follows a hello without waiting for the answer, in bytes. The rendezvous keeps
/// it for a peer that it hasn't admitted. A newcomer's request to the host has at most 1,600 bytes or so, with a ticket
/// and the longest name.
pub const EARLY_LEN_MAX: usize = 2_048;

/// The first byte of every frame.
pub const WIRE_VERSION: u8 = 1;
/// Maximum length of a frame, in bytes: an envelope and its header (at most 38 bytes now).
pub const FRAME_LEN_MAX: usize = ENVELOPE_LEN_MAX + 64;
/// Maximum number of doors of a room: generations of its invite that are good at a time.
pub const DOORS_MAX: usize = 4;
/// Number of unanswered pings after which the other side counts as gone.
pub const SILENT_PINGS: u32 = 3;
/// Path of the websocket.
pub const SIGNAL_PATH: &str = "/signal";
/// Number of attempts that meet the room's host before a second process with its keys gives up: some three seconds. A
/// guess.
const HOST_PRESENT_TRIES_MAX: u32 = 5;
/// Bounds of the ping interval that a rendezvous may announce, in ms; a value outside is clamped.
const PING_INTERVAL_MS: [u32; 2] = [100, 60_000];
/// Number of variants of [`FromPeer`] in this version.
const FROM_PEER_VARIANTS: u32 = 5;
/// Number of variants of [`FromRendezvous`] in this version.
const FROM_RENDEZVOUS_VARIANTS: u32 = 10;

/// Address of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Address {
    /// The peer that proved possession of the room's root key; of several peers, the latest. While no such
    /// peer is connected: the members that have been in the room for longest, at most three.
    Host,
    /// The peer with this id.
    Peer(PeerId),
}

/// Frames from a peer to the rendezvous.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromPeer<'a> {
    /// Identifies the peer and names its room; sent once, as the first frame.
    Hello(Box<Hello>),
    /// Sends an envelope to another member of the room.
    Send {
        /// Recipient.
        to: Address,
        /// The envelope.
        #[serde(serialize_with = "as_bytes")]
        envelope: &'a [u8],
    },
    /// Answer to a ping.
    Pong,
    /// The peer is the host of its room from now on, and these are the room's doors: a proof over the nonce of this
    /// connection. Sent again when the doors change.
    Claim(Box<HostProof>),
    /// Sends datagrams of a link to another member of the room, which may be lost; only to a rendezvous that
    /// [carries](FromRendezvous::Carries) them.
    Tunnel {
        /// Recipient.
        to: PeerId,
        /// The datagrams: a [`Batch`].
        #[serde(serialize_with = "as_bytes")]
        batch: &'a [u8],
    },
}

/// Public keys that open a room to a peer, a key per generation of the room's invite.
pub type Doors = List<PeerId, DOORS_MAX>;

/// Frames from the rendezvous to a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromRendezvous<'a> {
    /// Challenge that the peer has to sign; sent once, as the first frame.
    Challenge {
        /// Random, for this connection only.
        nonce: [u8; 32],
    },
    /// The peer is in its room.
    Welcome {
        /// Interval of the pings, in ms.
        ping_interval_ms: u32,
    },
    /// Refuses the peer, at entry or later; the connection closes.
    Refused(Refusal),
    /// Delivers an envelope from another member of the room.
    Deliver {
        /// The sender.
        from: PeerId,
        /// The envelope.
        #[serde(serialize_with = "as_bytes")]
        envelope: &'a [u8],
    },
    /// An envelope from this peer could not be delivered.
    Undeliverable {
        /// The address of the envelope.
        to: Address,
    },
    /// Liveness check, to be answered with `Pong`.
    Ping,
    /// The wall clock of the rendezvous, read when the frame is made; sent before `Welcome` and before each `Ping`.
    Clock {
        /// Seconds since 1970.
        unix_s: u64,
    },
    /// A TURN server that the peer may use; sent before `Welcome`, and again before the credentials expire.
    Turn(TurnAccess),
    /// Datagrams of a link from another member of the room.
    Tunnel {
        /// The sender.
        from: PeerId,
        /// The datagrams: a [`Batch`].
        #[serde(serialize_with = "as_bytes")]
        batch: &'a [u8],
    },
    /// The rendezvous carries tunnels; sent before `Welcome`.
    Carries,
}

/// Address of a TURN server (RFC 8656), and credentials for it. The server takes clients over UDP and TCP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnAccess {
    /// Its address; `None` for the host at which the peer has reached the rendezvous.
    pub ip: Option<IpAddr>,
    /// Its port, of UDP and TCP.
    pub port: u16,
    /// Whether it takes clients over TLS too, at the same port.
    pub has_tls: bool,
    /// Username, in ASCII.
    pub username: Text<64>,
    /// Password, in ASCII.
    pub password: Text<64>,
}

/// Reason for which a rendezvous refuses a peer. Encoded as one byte, so that an older peer can read a newer
/// reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
#[serde(from = "u8", into = "u8")]
#[error("{}", self.reason())]
pub enum Refusal {
    /// 1: the rendezvous speaks another version of this protocol.
    Version,
    /// 2: a signature is invalid, or the root key does not belong to this room.
    BadProof,
    /// 3: no host has opened that room, or not for this door: a stranger that guesses doesn't learn which.
    UnknownRoom,
    /// 4: the room has reached its maximum number of peers.
    RoomFull,
    /// 5: the rendezvous, or the address that opens the room, has reached its maximum number of rooms.
    TooManyRooms,
    /// 6: the same peer connected again, which ends the older connection.
    Replaced,
    /// 7: no `Hello` arrived in time.
    Late,
    /// 8: bytes that are no frame, a text message, or a frame out of turn.
    Malformed,
    /// 9: a frame longer than [`FRAME_LEN_MAX`].
    TooLong,
    /// 10: the peer did not read its frames in time.
    Slow,
    /// 11: the rendezvous shuts down.
    Closing,
    /// 12: the peer runs in a page of an origin that the rendezvous doesn't let in. Comes in the answer to a request
    /// (HTTP status 403), since no websocket opens.
    OtherOrigin,
    /// 13: the rendezvous doesn't know the room, but has started so lately that the host may not be back yet.
    NotYet,
    /// 14: this peer is in the room already, as its host, and its new connection doesn't prove the root key.
    HostPresent,
    /// A reason added by a later version.
    #[error("reason {0}")]
    Other(u8),
}

/// Returns the silence after which the other side counts as gone, in ms, at this announced ping interval.
pub fn silence_ms_max(ping_interval_ms: u32) -> u32 {
    let [least, most] = PING_INTERVAL_MS;
    ping_interval_ms.clamp(least, most) * SILENT_PINGS
}

impl Refusal {
    /// Returns what the refusal says.
    pub fn reason(self) -> Reason {
        match self {
            Refusal::Version => Reason::OtherVersion,
            Refusal::BadProof => Reason::BadProof,
            Refusal::UnknownRoom => Reason::NotOpen,
            Refusal::RoomFull => Reason::RoomFull,
            Refusal::TooManyRooms => Reason::TooManyRooms,
            Refusal::Replaced => Reason::Replaced,
            Refusal::Late => Reason::Late,
            Refusal::Malformed => Reason::Malformed,
            Refusal::TooLong => Reason::LongFrame,
            Refusal::Slow => Reason::Slow,
            Refusal::Closing => Reason::Closing,
            Refusal::OtherOrigin => Reason::OtherOrigin,
            Refusal::NotYet => Reason::NotYet,
            Refusal::HostPresent => Reason::HostPresent,
            Refusal::Other(_) => Reason::Unknown,
        }
    }

    /// Whether a further attempt would meet the same refusal, after this number of failed ones. A room that the peer
    /// was in may open again, and the connection of a host that was killed takes a moment to close.
    pub fn is_final(self, been_up: bool, tries: u32) -> bool {
        match self {
            Refusal::Version | Refusal::BadProof | Refusal::Replaced => true,
            Refusal::HostPresent => tries >= HOST_PRESENT_TRIES_MAX,
            Refusal::UnknownRoom | Refusal::RoomFull | Refusal::TooManyRooms | Refusal::OtherOrigin => {
                !been_up
            }
            _ => false,
        }
    }
}

/// The reasons in the order of their numbers, from 1.
const REFUSALS: [Refusal; 14] = [
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
    Refusal::OtherOrigin,
    Refusal::NotYet,
    Refusal::HostPresent,
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

/// Identity of a peer and its room, with proofs over the connection's nonce.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The room to enter.
    pub room: RoomId,
    /// The peer.
    pub peer: PeerId,
    /// The peer's signature over `plenary 1 rendezvous peer` ‖ 0 ‖ room ‖ peer ‖ nonce.
    pub proof: Signature,
    /// Public key of the door by which the peer enters: derived from the secret of an invite.
    pub door: PeerId,
    /// The door key's signature over `plenary 1 rendezvous door` ‖ 0 ‖ room ‖ peer ‖ nonce.
    pub invited: Signature,
    /// Proof of the host, which opens the room; `None` for other peers.
    pub host: Option<HostProof>,
}

/// Proof that the holder of the room's root key accepts this peer as the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostProof {
    /// The root public key; the room's id is derived from it.
    pub root: PeerId,
    /// The root key's signature over `plenary 1 rendezvous host` ‖ 0 ‖ room ‖ peer ‖ nonce ‖ doors, one after the
    /// other.
    pub proof: Signature,
    /// The room's doors.
    pub doors: Doors,
}

impl TurnAccess {
    /// Returns the server's URLs (RFC 7065) for a peer that has reached the rendezvous at `host`, an IPv6 address in
    /// brackets: over UDP, and over TLS or else TCP, which more firewalls let through.
    pub fn urls(&self, host: &str) -> [String; 2] {
        let ip = self.ip.map(|ip| match ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        });
        let (host, port) = (ip.as_deref().unwrap_or(host), self.port);
        let over_stream = if self.has_tls { "turns" } else { "turn" };
        [("turn", "udp"), (over_stream, "tcp")]
            .map(|(scheme, transport)| format!("{scheme}:{host}:{port}?transport={transport}"))
    }
}

impl HostProof {
    /// Answers the challenge of a connection with the root key of the room, and names all doors of the room.
    pub fn new(room: RoomId, nonce: &[u8; 32], peer: PeerId, root: &Keypair, doors: &Doors) -> HostProof {
        HostProof {
            root: root.id(),
            proof: root.sign(&covered_by_host(&room, &peer, nonce, doors)),
            doors: doors.clone(),
        }
    }

    /// Checks the proof of a peer of that room. Takes about 50 µs of processor time.
    ///
    /// # Errors
    /// [`Refusal::BadProof`].
    pub fn check(&self, room: &RoomId, nonce: &[u8; 32], peer: &PeerId) -> Result<(), Refusal> {
        if RoomId::of_root(&self.root) != *room {
            return Err(Refusal::BadProof);
        }
        let bytes = covered_by_host(room, peer, nonce, &self.doors);
        verify(&self.root, &bytes, &self.proof).map_err(|_| Refusal::BadProof)
    }
}

impl Hello {
    /// Answers a challenge by the key of a door. A host adds its proof.
    pub fn new(
        room: RoomId,
        nonce: &[u8; 32],
        me: &Keypair,
        door: &Keypair,
        host: Option<HostProof>,
    ) -> Hello {
        let peer = me.id();
        Hello {
            room,
            peer,
            proof: me.sign(&covered("peer", &room, &peer, nonce)),
            door: door.id(),
            invited: door.sign(&covered("door", &room, &peer, nonce)),
            host,
        }
    }

    /// Checks the proofs. Each takes about 50 µs of processor time. Whether the room has that door is for the room to
    /// say.
    ///
    /// # Errors
    /// [`Refusal::BadProof`].
    pub fn check(&self, nonce: &[u8; 32]) -> Result<(), Refusal> {
        let check = |signer: &PeerId, what: &str, proof: &Signature| {
            verify(signer, &covered(what, &self.room, &self.peer, nonce), proof)
                .map_err(|_| Refusal::BadProof)
        };
        check(&self.peer, "peer", &self.proof)?;
        check(&self.door, "door", &self.invited)?;
        self.host.as_ref().map_or(Ok(()), |host| host.check(&self.room, nonce, &self.peer))
    }
}

/// Returns the bytes that a proof signs.
fn covered(what: &str, room: &RoomId, peer: &PeerId, nonce: &[u8; 32]) -> Vec<u8> {
    [b"plenary 1 rendezvous ", what.as_bytes(), &[0], &room.0, &peer.0, nonce].concat()
}

fn covered_by_host(room: &RoomId, peer: &PeerId, nonce: &[u8; 32], doors: &Doors) -> Vec<u8> {
    let mut bytes = covered("host", room, peer, nonce);
    doors.iter().for_each(|door| bytes.extend(door.0));
    bytes
}

/// Reason that bytes are not a valid frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The frame has another protocol version.
    #[error("version {0} of the rendezvous protocol is not spoken here")]
    Version(u8),
    /// A variant added by a later version; to be ignored.
    #[error("frame {0} is not known here")]
    Unknown(u32),
    /// The frame is damaged, its batch is none, or bytes follow its end.
    #[error("the frame cannot be read")]
    Malformed,
    /// The frame is longer than [`FRAME_LEN_MAX`], its envelope longer than [`ENVELOPE_LEN_MAX`], or its batch longer
    /// than [`TUNNEL_BATCH_LEN_MAX`].
    #[error("the frame is too long")]
    TooLong,
}

impl<'a> FromPeer<'a> {
    /// Encodes the frame.
    pub fn to_bytes(&self) -> Bytes {
        encode(self)
    }

    /// Decodes a frame without copying the envelope or batch.
    ///
    /// # Errors
    /// [`FrameError`]; frames of an honest peer yield [`FrameError::Version`] and [`FrameError::Unknown`]
    /// only.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<FromPeer<'a>, FrameError> {
        let frame = decode(bytes, FROM_PEER_VARIANTS)?;
        match frame {
            FromPeer::Send { envelope, .. } if envelope.len() > ENVELOPE_LEN_MAX => Err(FrameError::TooLong),
            FromPeer::Tunnel { batch, .. } => check(batch).map(|()| frame),
            _ => Ok(frame),
        }
    }
}

impl<'a> FromRendezvous<'a> {
    /// Encodes the frame.
    pub fn to_bytes(&self) -> Bytes {
        encode(self)
    }

    /// Decodes a frame without copying the envelope or batch.
    ///
    /// # Errors
    /// [`FrameError`]; frames of an honest rendezvous yield [`FrameError::Version`] and
    /// [`FrameError::Unknown`] only.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<FromRendezvous<'a>, FrameError> {
        let frame = decode(bytes, FROM_RENDEZVOUS_VARIANTS)?;
        match frame {
            FromRendezvous::Deliver { envelope, .. } if envelope.len() > ENVELOPE_LEN_MAX => {
                Err(FrameError::TooLong)
            }
            FromRendezvous::Tunnel { batch, .. } => check(batch).map(|()| frame),
            _ => Ok(frame),
        }
    }
}

/// Checks the batch in a frame.
fn check(batch: &[u8]) -> Result<(), FrameError> {
    match batch.len() {
        len if len > TUNNEL_BATCH_LEN_MAX => Err(FrameError::TooLong),
        _ if is_batch(batch) => Ok(()),
        _ => Err(FrameError::Malformed),
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

/// Serializes the slice at once. By default serde writes a slice byte by byte, which gives the same bytes in
/// postcard.
fn as_bytes<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bytes(bytes)
}
