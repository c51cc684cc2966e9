//! Packet identity: a one-byte-form RTP header extension (RFC 8285) on every native leg.

use crate::id::StreamId;

/// URI of the extension in the link's negotiation.
pub const PACKET_EXTENSION_URI: &str = "urn:plenary:packet";
/// Encoded length of a packet number, bytes.
pub(super) const NUMBER_LEN: usize = 6;
/// Maximum packet number: 48 bits.
const NUMBER_MAX: u64 = (1 << 48) - 1;

/// Encodes a packet number, big endian. Its upper 16 bits are dropped.
pub(super) fn number_to_bytes(number: u64) -> [u8; NUMBER_LEN] {
    let [_, _, bytes @ ..] = (number & NUMBER_MAX).to_be_bytes();
    bytes
}

pub(super) fn number_from_bytes(bytes: [u8; NUMBER_LEN]) -> u64 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// Identity of a media packet: stream and number; relays don't change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketIdentity {
    /// The stream.
    pub stream: StreamId,
    /// Number of the packet, 48 bits, counted from 1 per stream and media kind.
    pub number: u64,
}

impl PacketIdentity {
    /// Encoded length of the extension, bytes.
    pub const LEN: usize = 14;

    /// Encodes stream (8) and number (6), big endian. The number's upper 16 bits are dropped.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.stream.0);
        bytes[8..].copy_from_slice(&number_to_bytes(self.number));
        bytes
    }

    /// Decodes the extension; `None` unless it has exactly 14 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<PacketIdentity> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().ok()?;
        let (stream, number) = bytes.split_first_chunk::<8>()?;
        Some(PacketIdentity { stream: StreamId(*stream), number: number_from_bytes(number.try_into().ok()?) })
    }
}
