//! Offers and answers: what two peers must know of each other to link, without SDP.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::bounded::{List, Text};

/// Most candidates of one description.
pub const CANDIDATES_MAX: usize = 16;

/// What a link is for. Two peers have at most one link of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum LinkKind {
    /// Six slots: program, own stream, raw; each video and sound.
    Peer,
    /// Between mixers: eight video and eight sound slots for raw speakers; several are told apart by number.
    Trunk(u8),
}

/// Who opens the DTLS handshake (RFC 8842).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Setup {
    /// Either; an offer says so.
    ActPass,
    /// The one who says so.
    Active,
    /// The other one.
    Passive,
}

/// RTP payload types, where they are not the usual 102 and 111.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadTypes {
    /// H.264, packetization-mode 1.
    pub h264: u8,
    /// Opus.
    pub opus: u8,
}

/// An address at which a peer may be reached (RFC 8445).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Candidate {
    /// One of its own.
    Host(SocketAddr),
    /// Its address as a STUN server saw it.
    Reflexive(SocketAddr),
    /// At a TURN server.
    Relayed(SocketAddr),
}

/// One end of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// ICE user fragment, 4 to 32 characters of RFC 8839.
    pub ufrag: Text<32>,
    /// ICE password, 22 to 64 characters.
    pub pwd: Text<64>,
    /// SHA-256 of the DTLS certificate.
    pub fingerprint: [u8; 32],
    /// DTLS role.
    pub setup: Setup,
    /// Payload types, where not the usual ones.
    pub payload_types: Option<PayloadTypes>,
    /// Where it can be reached.
    pub candidates: List<Candidate, CANDIDATES_MAX>,
}

/// From the peer of the lower id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// What the link is for; it fixes the slots.
    pub kind: LinkKind,
    /// The offering end.
    pub description: Description,
}

/// From the peer of the higher id. The envelope's signature covers both ends' fragments and fingerprints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The kind of the offer taken.
    pub kind: LinkKind,
    /// The user fragment of the offer taken.
    pub offered_ufrag: Text<32>,
    /// The fingerprint of the offer taken.
    pub offered_fingerprint: [u8; 32],
    /// The answering end.
    pub description: Description,
}
