//! What all links of a kind have in common, so that no SDP is exchanged: a fixed number of slots, payload types,
//! header extension ids, and SSRCs that follow from the user fragment. Also checks the descriptions of other peers.

use std::net::SocketAddr;

use crate::bounded::Text;
use crate::message::{
    BrowserMedia, Candidate, Description, LinkKind, PEER_SLOTS, PIECE_LEN_MAX, PayloadTypes, Retransmission,
    Setup,
};

/// Maximum number of slots of a link.
pub const SLOTS_MAX: usize = 16;
/// Slots of a link between peers in which each end sends its own stream: picture, sound. From a mixer to a speaker, the
/// slots of its mix-minus.
pub const OWN_SLOTS: [u8; 2] = [2, 3];
/// Slot number from which the SSRC of packet trains is derived. Trains have no negotiated slot.
const TRAIN_SLOT: u8 = 255;
/// Header extension id (RFC 8285) of the packet identity.
pub const PACKET_EXTENSION_ID: u8 = 1;
/// Header extension id of transport-wide sequence numbers.
pub const TWCC_EXTENSION_ID: u8 = 2;
/// Header extension id of the audio level (RFC 6464).
pub const AUDIO_LEVEL_EXTENSION_ID: u8 = 3;
/// Header extension id of the levels of contributing speakers (RFC 6465).
pub const CONTRIBUTORS_EXTENSION_ID: u8 = 4;
/// Largest header extension id of the one-byte form.
pub(crate) const EXTENSION_ID_MAX: u8 = 14;
/// Payload type that says that a browser has no H.264.
pub const NO_H264: u8 = 0;
/// Default payload types, for descriptions that name none.
pub const PAYLOAD_TYPES: PayloadTypes = PayloadTypes { h264: 102, opus: 111 };

/// The three data channels of a link (docs/PROTOCOL.md, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// Reliable and ordered.
    Control,
    /// Unordered, without retransmission; a message is dropped when it would have to wait long. By empty messages the
    /// ends of a link probe each other.
    Heartbeat,
    /// Reliable and ordered, for bulk data.
    Bulk,
}

impl Channel {
    /// All three channels, in the order of their stream ids.
    pub const ALL: [Channel; 3] = [Channel::Control, Channel::Heartbeat, Channel::Bulk];

    /// Returns the channel of a stream id.
    pub fn of_id(id: u8) -> Option<Channel> {
        Channel::ALL.get(usize::from(id)).copied()
    }

    /// Returns the stream id of the channel.
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// Maximum length of one message: 16 KiB on control, one datagram (1 KiB) on heartbeat, 64 KiB on bulk.
    pub const fn message_len_max(self) -> usize {
        match self {
            Channel::Control => PIECE_LEN_MAX,
            Channel::Heartbeat => 1_024,
            Channel::Bulk => 65_536,
        }
    }
}

/// Reason that a description is unusable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescriptionError {
    /// The user fragment is not 4 to 32 ICE characters (RFC 8839).
    #[error("the user fragment is malformed")]
    Ufrag,
    /// The password is not 22 to 64 ICE characters (RFC 8839).
    #[error("the password is malformed")]
    Pwd,
    /// The DTLS role does not fit: an offer must leave it open, an answer must choose one.
    #[error("the DTLS role {0:?} does not fit")]
    Setup(Setup),
    /// The payload types are equal, outside the dynamic ranges of RFC 5761, or differ from those of the
    /// offer.
    #[error("the payload types {0:?} cannot be used")]
    PayloadTypes(PayloadTypes),
    /// The description lists no candidate address.
    #[error("there are no candidates")]
    NoCandidates,
    /// A candidate address is unreachable: port 0, unspecified or multicast.
    #[error("{0} is no address of a peer")]
    Candidate(SocketAddr),
    /// A candidate's name is not one of multicast DNS.
    #[error("{0:?} is no name of multicast DNS")]
    Name(Text<64>),
    /// The RTP parameters of a browser are unusable: SSRCs that are 0 or equal, extension ids that are no ids or
    /// equal, or a link between mixers.
    #[error("the browser's RTP parameters cannot be used")]
    Browser,
    /// The initiate tag of the SCTP association is 0 (RFC 9260, 3.3.2).
    #[error("the SCTP association has no tag")]
    Sctp,
    /// Two slots have the same SSRC, so another user fragment is needed. Probability: one link in 30 million
    /// (16 slots at each end).
    #[error("two slots share an SSRC")]
    SsrcClash,
}

/// Role of a description in the negotiation: offer or answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sent first; leaves the DTLS role open.
    Offer,
    /// Answers an offer; chooses the DTLS role.
    Answer,
}

/// Number of slots of a link of that kind: even slots for video, odd slots for sound.
pub const fn slot_count(kind: LinkKind) -> u8 {
    match kind {
        LinkKind::Peer => PEER_SLOTS as u8,
        LinkKind::Trunk(_) => SLOTS_MAX as u8,
    }
}

/// Whether a slot carries video: even slots do.
pub const fn is_video(slot: u8) -> bool {
    slot.is_multiple_of(2)
}

/// SSRCs of one end of a link: of its slots, in order, and of its packet trains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssrcs {
    slots: [u32; SLOTS_MAX],
    slot_count: u8,
    /// SSRC of packet trains.
    pub train: u32,
}

impl Ssrcs {
    /// SSRCs of the end that a description describes.
    pub fn described(kind: LinkKind, description: &Description) -> Ssrcs {
        let mut ssrcs = Ssrcs::of(kind, &description.ufrag);
        if let Some(browser) = &description.browser {
            ssrcs.slots[..PEER_SLOTS].copy_from_slice(&browser.ssrcs);
        }
        ssrcs
    }

    /// SSRCs of an end with that user fragment, unless it is a browser.
    pub fn of(kind: LinkKind, ufrag: &str) -> Ssrcs {
        Ssrcs {
            slots: std::array::from_fn(|slot| ssrc(ufrag, slot as u8)),
            slot_count: slot_count(kind),
            train: ssrc(ufrag, TRAIN_SLOT),
        }
    }

    /// SSRCs of the slots, in order.
    pub fn slots(&self) -> &[u32] {
        self.slots.get(..usize::from(self.slot_count)).unwrap_or_default()
    }

    /// SSRC of a slot; `None` for a slot that the link lacks.
    pub fn of_slot(&self, slot: u8) -> Option<u32> {
        self.slots().get(usize::from(slot)).copied()
    }

    /// Slot with that SSRC.
    pub fn slot_of(&self, ssrc: u32) -> Option<u8> {
        self.slots().iter().position(|&of_slot| of_slot == ssrc).map(|slot| slot as u8)
    }

    /// Whether any two SSRCs of both ends together are equal.
    pub fn clash(&self, other: &Ssrcs) -> bool {
        has_twins([self.slots(), other.slots(), &[self.train, other.train]].concat())
    }

    /// Whether any two SSRCs of this end are equal.
    pub fn clash_among_themselves(&self) -> bool {
        has_twins([self.slots(), &[self.train]].concat())
    }
}

fn has_twins(mut ssrcs: Vec<u32>) -> bool {
    ssrcs.sort_unstable();
    ssrcs.windows(2).any(|pair| pair.first() == pair.last())
}

/// SSRC of a slot (docs/PROTOCOL.md, section 4): FNV-1a over fragment and slot, folded to 32 bits, lowest bit
/// set.
fn ssrc(ufrag: &str, slot: u8) -> u32 {
    let hash = ufrag.bytes().chain([slot]).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    ((hash >> 32) ^ hash) as u32 | 1
}

/// Checks every field of a description that could confuse the transport, and returns its payload types.
///
/// # Errors
/// [`DescriptionError`].
pub fn check(
    kind: LinkKind,
    description: &Description,
    role: Role,
) -> Result<PayloadTypes, DescriptionError> {
    if !is_ice_text(&description.ufrag, 4..=32) {
        return Err(DescriptionError::Ufrag);
    }
    if !is_ice_text(&description.pwd, 22..=64) {
        return Err(DescriptionError::Pwd);
    }
    if description.setup.is_offer() != (role == Role::Offer) {
        return Err(DescriptionError::Setup(description.setup));
    }
    if description.candidates.is_empty() {
        return Err(DescriptionError::NoCandidates);
    }
    description.candidates.iter().try_for_each(check_candidate)?;
    if description.sctp.is_some_and(|init| init.tag == 0) {
        return Err(DescriptionError::Sctp);
    }
    let types = description.payload_types.unwrap_or(PAYLOAD_TYPES);
    let of_browser = description.browser.as_ref();
    if of_browser.is_some_and(|browser| kind != LinkKind::Peer || !is_usable(browser, types)) {
        return Err(DescriptionError::Browser);
    }
    // a browser may lack H.264; an answer repeats what the offer says
    let has_picture = types.h264 != NO_H264 || description.browser.is_none() && role == Role::Offer;
    if types.h264 == types.opus || has_picture && !is_dynamic(types.h264) || !is_dynamic(types.opus) {
        return Err(DescriptionError::PayloadTypes(types));
    }
    Ok(types)
}

/// Checks a candidate.
///
/// # Errors
/// [`DescriptionError::Name`], [`DescriptionError::Candidate`].
pub(crate) fn check_candidate(candidate: &Candidate) -> Result<(), DescriptionError> {
    if let Candidate::Named(name, port) = candidate
        && (*port == 0 || !is_local_name(name))
    {
        return Err(DescriptionError::Name(name.clone()));
    }
    let is_useless = |address: &SocketAddr| {
        let ip = address.ip().to_canonical();
        address.port() == 0 || ip.is_unspecified() || ip.is_multicast()
    };
    candidate.address().filter(is_useless).map_or(Ok(()), |address| Err(DescriptionError::Candidate(address)))
}

fn is_usable(browser: &BrowserMedia, types: PayloadTypes) -> bool {
    let BrowserMedia { ssrcs, transport_wide_id, audio_level_id, retransmission } = browser;
    let again = retransmission.as_ref();
    let is_own_type = again.is_none_or(|Retransmission { payload_type, .. }| {
        is_dynamic(*payload_type) && ![types.h264, types.opus].contains(payload_type)
    });
    let ssrcs = [&ssrcs[..], again.map_or(&[], |again| &again.ssrcs)].concat();
    let are_distinct = transport_wide_id != audio_level_id || *audio_level_id == 0;
    let are_ids = *transport_wide_id.max(audio_level_id) <= EXTENSION_ID_MAX;
    are_ids && are_distinct && is_own_type && !ssrcs.contains(&0) && !has_twins(ssrcs)
}

/// Whether a name is one of multicast DNS with no character that could end a line or a field of SDP.
pub(crate) fn is_local_name(name: &str) -> bool {
    let label = name.strip_suffix(".local").unwrap_or_default();
    !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// ALPHA / DIGIT / "+" / "/" (RFC 8839, 5.4): no character that could end a line of SDP.
fn is_ice_text(text: &str, lengths: std::ops::RangeInclusive<usize>) -> bool {
    lengths.contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

/// Whether RTCP leaves the payload type free when RTP and RTCP share a port (RFC 5761, section 4).
fn is_dynamic(payload_type: u8) -> bool {
    (96..=127).contains(&payload_type) || (35..=63).contains(&payload_type)
}

/// Priority of a candidate (RFC 8445, 5.1.2): host before reflexive before relayed, then in listed order.
pub fn priority(candidate: &Candidate, index: u32) -> u32 {
    let preference: u32 = match candidate {
        Candidate::Host(_) | Candidate::Named(..) => 126,
        Candidate::Reflexive(_) => 100,
        Candidate::Relayed(_) => 0,
    };
    (preference << 24) | ((65_535 - index) << 8) | 255
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN_SSRCS: [u32; 6] =
        [0xc09d_1893, 0xc09d_1b41, 0xc09d_1e0d, 0xc09d_1efb, 0xc09d_0ddf, 0xc09d_0e8d];

    #[test]
    fn ssrcs_are_derived_as_the_protocol_says() {
        // expected: FNV-1a over "ab+/" and the slot, computed independently of this code
        let ssrcs = Ssrcs::of(LinkKind::Peer, "ab+/");
        assert_eq!(ssrcs.slots(), GOLDEN_SSRCS);
        assert_eq!(ssrcs.of_slot(6), None);
        for (slot, ssrc) in (0..).zip(GOLDEN_SSRCS) {
            assert_eq!((ssrcs.of_slot(slot), ssrcs.slot_of(ssrc)), (Some(ssrc), Some(slot)));
        }
        assert_eq!(ssrcs.slot_of(ssrcs.train), None, "trains are in no slot");
        assert!(ssrcs.clash(&ssrcs) && !ssrcs.clash_among_themselves());
        assert!(!ssrcs.clash(&Ssrcs::of(LinkKind::Peer, "abcd")));
    }
}
