//! Link signaling: offers and answers with the ICE and DTLS parameters of both ends, as structs instead of
//! SDP.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::bounded::{List, Text};

/// Maximum ICE candidates of a description.
pub const CANDIDATES_MAX: usize = 16;

/// Kind of a link. Two peers have at most one link of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LinkKind {
    /// The ordinary link: six slots, video and audio each of the program, the sender's own stream, and one
    /// speaker's raw stream.
    Peer,
    /// A trunk between mixers: eight video and eight audio slots for raw speakers' streams. The number tells
    /// several trunks of two peers apart.
    Trunk(u8),
}

/// DTLS setup role (RFC 8842).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Setup {
    /// Either role; sent in an offer.
    ActPass,
    /// The sender opens the handshake.
    Active,
    /// The sender waits for the other end's handshake.
    Passive,
}

/// RTP payload types, where they differ from the usual 102 and 111.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadTypes {
    /// H.264, packetization-mode 1.
    pub h264: u8,
    /// Opus.
    pub opus: u8,
}

/// An ICE candidate: an address at which a peer may be reached (RFC 8445).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Candidate {
    /// Address of a local interface.
    Host(SocketAddr),
    /// Server-reflexive address, as a STUN server saw it.
    Reflexive(SocketAddr),
    /// Relayed address at a TURN server.
    Relayed(SocketAddr),
}

/// Transport parameters of one end of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// ICE user fragment, 4 to 32 characters of RFC 8839.
    pub ufrag: Text<32>,
    /// ICE password, 22 to 64 characters.
    pub pwd: Text<64>,
    /// SHA-256 of the DTLS certificate.
    pub fingerprint: [u8; 32],
    /// DTLS setup role.
    pub setup: Setup,
    /// Payload types; `None` for the usual ones.
    pub payload_types: Option<PayloadTypes>,
    /// ICE candidates of this end.
    pub candidates: List<Candidate, CANDIDATES_MAX>,
}

/// Offer of a link; always sent by the peer with the lower id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Kind of the link, which fixes its slots.
    pub kind: LinkKind,
    /// Parameters of the offering end.
    pub description: Description,
}

/// Answer to an offer; always sent by the peer with the higher id. The envelope's signature covers both ends'
/// fragments and fingerprints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Kind of the accepted offer.
    pub kind: LinkKind,
    /// User fragment of the accepted offer.
    pub offered_ufrag: Text<32>,
    /// Certificate fingerprint of the accepted offer.
    pub offered_fingerprint: [u8; 32],
    /// Parameters of the answering end.
    pub description: Description,
}
