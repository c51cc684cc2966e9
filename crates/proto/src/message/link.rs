//! Link signaling: offers and answers with the ICE and DTLS parameters of both ends, as structs instead of
//! SDP.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use strum::EnumCount;

use super::Signatures;
use super::access::Ticket;
use crate::bounded::{List, Text};
use crate::id::{PeerId, RoomId};
use crate::seal::{Keypair, SealError, Signature, SignatureError, Signed, verify};

/// Setup and end of links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, EnumCount)]
pub enum LinkMessage {
    /// The sender is the peer at its end of the link: the first message in each direction of a link.
    LinkProof(LinkProof),
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
    /// The sender no longer wants the link of that kind; it is closed when both ends have said so.
    Bye(LinkKind),
    /// Further candidates of the sender's end of a link that is being made, or of an ICE restart.
    Paths(Paths),
    /// The sender's end of an ICE restart of a link that is up.
    IceRestart(Box<IceRestart>),
}

impl LinkMessage {
    /// Checks the signatures in the message.
    pub(super) fn check(&self, signatures: &mut Signatures<'_>) -> Result<(), SealError> {
        match self {
            LinkMessage::LinkWanted { ticket, .. } | LinkMessage::Offer(Offer { ticket, .. }) => {
                signatures.shown(ticket.as_deref())
            }
            _ => Ok(()),
        }
    }
}

/// Maximum ICE candidates of a description: three addresses, each as it is and as a NAT shows it.
pub const CANDIDATES_MAX: usize = 6;

/// Maximum ICE candidates of one [`Paths`]: the next eight ports of a NAT that counts up, and two addresses that STUN
/// servers have seen.
pub const FURTHER_CANDIDATES_MAX: usize = 10;

/// Candidates that an end tells after its description.
pub type FurtherCandidates = List<Candidate, FURTHER_CANDIDATES_MAX>;

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

/// DTLS setup role (RFC 8842), and whether the sender is an ICE-lite end (RFC 8445, 2.5): it checks only addresses from
/// which it was checked, and the other end nominates the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Setup {
    /// Either role; sent in an offer.
    ActPass,
    /// The sender opens the handshake.
    Active,
    /// The sender waits for the other end's handshake.
    Passive,
    /// As `ActPass`, of an ICE-lite end.
    ActPassLite,
    /// As `Active`, of an ICE-lite end.
    ActiveLite,
}

impl Setup {
    /// Returns the role of an end that offers, or of one that answers.
    pub fn of(offers: bool, is_lite: bool) -> Setup {
        match (offers, is_lite) {
            (true, false) => Setup::ActPass,
            (true, true) => Setup::ActPassLite,
            (false, false) => Setup::Active,
            (false, true) => Setup::ActiveLite,
        }
    }

    /// Whether an offer has it.
    pub fn is_offer(self) -> bool {
        matches!(self, Setup::ActPass | Setup::ActPassLite)
    }

    /// Whether the sender is an ICE-lite end.
    pub fn is_lite(self) -> bool {
        matches!(self, Setup::ActPassLite | Setup::ActiveLite)
    }
}

/// RTP payload types, where they differ from the usual 102 and 111.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadTypes {
    /// H.264, packetization-mode 1.
    pub h264: u8,
    /// Opus.
    pub opus: u8,
}

/// Number of slots of an ordinary link.
pub const PEER_SLOTS: usize = 6;

/// Number of slots of an ordinary link that carry pictures.
pub const PICTURE_SLOTS: usize = PEER_SLOTS / 2;

/// Streams in which a browser sends lost packets of pictures again (RFC 4588). Two browsers use them if both
/// descriptions have them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retransmission {
    /// Payload type.
    pub payload_type: u8,
    /// SSRC for each slot of pictures, in order.
    pub ssrcs: [u32; PICTURE_SLOTS],
}

/// RTP parameters that a browser has chosen for its end of an ordinary link. Other ends derive them from the user
/// fragment, or use fixed ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrowserMedia {
    /// SSRC of each slot, in order.
    pub ssrcs: [u32; PEER_SLOTS],
    /// Header extension id of transport-wide sequence numbers, 1 to 14; 0 without them.
    pub transport_wide_id: u8,
    /// Header extension id of the audio level, 1 to 14; 0 without it.
    pub audio_level_id: u8,
    /// Streams for retransmissions, if the browser has them.
    pub retransmission: Option<Retransmission>,
}

/// An ICE candidate: an address at which a peer may be reached (RFC 8445).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Candidate {
    /// Address of a local interface.
    Host(SocketAddr),
    /// Server-reflexive address, as a STUN server saw it.
    Reflexive(SocketAddr),
    /// Relayed address at a TURN server.
    Relayed(SocketAddr),
    /// Name of a local interface that only multicast DNS resolves, `<uuid>.local`, and a port: a browser hides its
    /// addresses so (draft-ietf-mmusic-mdns-ice-candidates). Other browsers resolve it.
    Named(Text<64>, u16),
}

impl Candidate {
    /// The address; `None` for a name.
    pub fn address(&self) -> Option<SocketAddr> {
        match *self {
            Candidate::Host(address) | Candidate::Reflexive(address) | Candidate::Relayed(address) => {
                Some(address)
            }
            Candidate::Named(..) => None,
        }
    }
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
    /// RTP parameters, if a browser has chosen them.
    pub browser: Option<BrowserMedia>,
    /// ICE candidates of this end.
    pub candidates: List<Candidate, CANDIDATES_MAX>,
    /// How this end's SCTP association begins without a handshake, if the other end's does too; `None` of a browser.
    pub sctp: Option<SctpInit>,
    /// First datagram of the DTLS client, in an answer of a native end to a native end: the cookie exchange (RFC 6347,
    /// 4.2.1) takes place while the ends look for a path.
    pub hello: Option<List<u8, DTLS_HELLO_LEN_MAX>>,
}

/// Maximum length of [`Description::hello`], in bytes. The stack's has 166.
pub const DTLS_HELLO_LEN_MAX: usize = 400;

/// What an end's INIT would say of its SCTP association (RFC 9260, 3.3.2). All natives have a receive window of
/// 1,048,576 bytes, 65,535 streams each way, and partial reliability (RFC 3758).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SctpInit {
    /// Initiate tag; not 0.
    pub tag: u32,
    /// Initial TSN.
    pub tsn: u32,
}

/// Offer of a link; sent by the peer with the lower id, or by a parent that accepts a child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Kind of the link, which fixes its slots.
    pub kind: LinkKind,
    /// Parameters of the offering end.
    pub description: Description,
    /// The sender's ticket, since the receiver may not know it as a member.
    pub ticket: Option<Box<Signed<Ticket>>>,
}

/// Answer to an offer. The envelope's signature covers both ends' fragments and fingerprints.
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

/// Candidates that an end has found after it has sent its description: a STUN server's answer takes a round trip, for
/// which no description waits. The other end checks these, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paths {
    /// Kind of the link.
    pub kind: LinkKind,
    /// User fragment of the sender's description, to which the candidates belong.
    pub ufrag: Text<32>,
    /// The candidates.
    pub candidates: FurtherCandidates,
}

/// Credentials and candidates of one end for an ICE restart (RFC 8445, 2.4): the ends of a link that is up look for
/// another path, while the link goes on by the present one. The network of an end has changed, or the link takes a
/// detour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceRestart {
    /// Kind of the link.
    pub kind: LinkKind,
    /// User fragment of the receiver's description, by which it knows the link.
    pub link_ufrag: Text<32>,
    /// User fragment of the receiver's restart that this one answers; `None` for a request.
    pub answers: Option<Text<32>>,
    /// ICE user fragment of the sender, for this restart.
    pub ufrag: Text<32>,
    /// ICE password of the sender, for this restart.
    pub pwd: Text<64>,
    /// Candidates of the sender.
    pub candidates: List<Candidate, CANDIDATES_MAX>,
}

/// First control message on a link: its sender's signature over both ids and the DTLS fingerprints of both ends.
///
/// A description alone doesn't bind an id to a certificate: a third peer that offers another's fingerprint as its own
/// would make two peers take each other for it (unknown key share, RFC 8844).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkProof(pub Signature);

/// The DTLS fingerprints of a link's ends, as one of them sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprints {
    /// SHA-256 of this end's certificate.
    pub own: [u8; 32],
    /// SHA-256 of the other end's certificate.
    pub other: [u8; 32],
}

impl LinkProof {
    /// Signs that `me` is at this end of a link with `other`.
    pub fn sign(me: &Keypair, room: &RoomId, other: &PeerId, fingerprints: &Fingerprints) -> LinkProof {
        LinkProof(me.sign(&covered(room, (&me.id(), &fingerprints.own), (other, &fingerprints.other))))
    }

    /// Verifies, at `me`, that `other` is at the other end of a link.
    ///
    /// # Errors
    /// [`SignatureError`] when the other end isn't `other`, or is linked with another peer.
    pub fn verify(
        &self,
        me: &PeerId,
        room: &RoomId,
        other: &PeerId,
        fingerprints: &Fingerprints,
    ) -> Result<(), SignatureError> {
        verify(other, &covered(room, (other, &fingerprints.other), (me, &fingerprints.own)), &self.0)
    }
}

/// Returns the bytes that a proof signs: first the signing end.
fn covered(room: &RoomId, signer: (&PeerId, &[u8; 32]), other: (&PeerId, &[u8; 32])) -> Vec<u8> {
    [b"plenary 1 link\0", &room.0[..], &signer.0.0, signer.1, &other.0.0, other.1].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_passes_another_s_fingerprint_off_as_its_own_proves_nothing() {
        let [ada, ben, mallory] = [1, 2, 3].map(|seed| Keypair::from_seed(&[seed; 32]));
        let room = RoomId([7; 16]);
        // Mallory told each of the two the other's fingerprint, and each believes that it is linked with Mallory
        let at_ada = Fingerprints { own: [1; 32], other: [2; 32] };
        let at_ben = Fingerprints { own: [2; 32], other: [1; 32] };
        let of_ben = LinkProof::sign(&ben, &room, &mallory.id(), &at_ben);
        assert!(of_ben.verify(&ada.id(), &room, &mallory.id(), &at_ada).is_err(), "Ben signed, not Mallory");
        assert!(
            of_ben.verify(&ada.id(), &room, &ben.id(), &at_ada).is_err(),
            "Ben isn't linked with Ada, it says"
        );
        let honest = LinkProof::sign(&ben, &room, &ada.id(), &at_ben);
        assert!(honest.verify(&ada.id(), &room, &ben.id(), &at_ada).is_ok());
        assert!(honest.verify(&ben.id(), &room, &ada.id(), &at_ben).is_err(), "reflected");
        assert!(honest.verify(&ada.id(), &RoomId([8; 16]), &ben.id(), &at_ada).is_err());
        let renewed = Fingerprints { own: [9; 32], ..at_ada };
        assert!(honest.verify(&ada.id(), &room, &ben.id(), &renewed).is_err(), "of another link");
    }
}
