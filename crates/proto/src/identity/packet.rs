//! The identity of a packet, in a one-byte RTP header extension (RFC 8285) of every native leg.

use crate::id::StreamId;

/// The extension's name in the link's negotiation.
pub const PACKET_EXTENSION_URI: &str = "urn:plenary:packet";
/// The largest packet number: 48 bits.
const NUMBER_MAX: u64 = (1 << 48) - 1;

/// Which packet of which stream this is; unchanged by relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketIdentity {
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Counts the stream's packets of this kind from 1; 48 bits.
    pub number: u64,
}

impl PacketIdentity {
    /// Bytes of the extension.
    pub const LEN: usize = 14;

    /// Stream (8), number (6), big endian. The number's upper 16 bits are dropped.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.stream.0);
        bytes[8..].copy_from_slice(&(self.number & NUMBER_MAX).to_be_bytes()[2..]);
        bytes
    }

    /// `None` unless there are exactly 14 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<PacketIdentity> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().ok()?;
        let (stream, number) = bytes.split_first_chunk::<8>()?;
        let number = number.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
        Some(PacketIdentity { stream: StreamId(*stream), number })
    }
}
