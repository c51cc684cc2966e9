//! Media packets as every peer handles them between its links, and the counters of a link.
//!
//! A packet keeps the identity that its maker gave it. The RTP sequence number, SSRC and payload type belong to
//! one leg, so they are not here: the link sets them.

use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::app::Way;
use crate::identity::PacketIdentity;

/// Identifier of a link, chosen by the owner of the links and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {}", self.0)
    }
}

/// Destinations of a packet: links, and the slot on each.
pub type Destinations = SmallVec<[(LinkId, u8); 8]>;

/// One media packet, without the sequence number, SSRC and payload type, which each leg sets anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaPacket {
    /// Stream of the packet, and its number in the stream.
    pub identity: PacketIdentity,
    /// RTP timestamp: 90 kHz for video, 48 kHz for sound.
    pub timestamp: u32,
    /// RTP marker: the last packet of a video frame.
    pub marker: bool,
    /// Whether the packet begins a keyframe (its parameter sets). A leg that dropped packets resumes at such
    /// a packet. Not used for sound.
    pub key_start: bool,
    /// RFC 6464 level of sound, 0 (loudest) to 127 dB below full scale. Ignored on video.
    pub audio_level: Option<u8>,
    /// Contributing speakers of mixed sound. Ignored on video; entries past [`CONTRIBUTORS_MAX`] are not
    /// sent.
    pub contributors: Contributors,
    /// RTP payload; a packet with more than [`PAYLOAD_LEN_MAX`] bytes is dropped.
    pub payload: Bytes,
}

/// One media packet of a browser, which packetizes and numbers anew what it sends. Frames say which stream they are of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrowserPacket {
    /// RTP sequence number of the leg, extended above 16 bits by the number of wraps.
    pub sequence_number: u64,
    /// RTP timestamp, with the browser's own offset.
    pub timestamp: u32,
    /// RTP marker: the last packet of a video frame.
    pub marker: bool,
    /// RFC 6464 level of sound.
    pub audio_level: Option<u8>,
    /// RTP payload.
    pub payload: Bytes,
}

/// A speaker in mixed sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contributor {
    /// The speaker's CSRC (RFC 3550, 5.1).
    pub csrc: u32,
    /// RFC 6465 level, 0 (loudest) to 127 dB below full scale; 127 also when the packet carries no level.
    pub level: u8,
}

/// The contributing speakers of one packet.
pub type Contributors = SmallVec<[Contributor; 5]>;

/// Maximum number of contributors of one packet (RFC 3550, 5.1).
pub const CONTRIBUTORS_MAX: usize = 15;

/// Maximum length of an RTP payload, in bytes. With RTP, the header extensions, SRTP, UDP and IPv6 the packet
/// stays below the 1500 bytes of an Ethernet frame; browsers send at most 1200.
pub const PAYLOAD_LEN_MAX: usize = 1380;

/// Counters of one link since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// UDP payload bytes sent: media, repairs, channels, connectivity checks and trains.
    pub udp_bytes_sent: u64,
    /// UDP payload bytes received.
    pub udp_bytes_received: u64,
    /// Media packets sent, without repairs.
    pub packets_sent: u64,
    /// Media packets received, including repaired packets.
    pub packets_received: u64,
    /// Media packets missing at this end and requested by NACK; a repeated request counts again.
    pub repairs_requested: u64,
    /// Media packets retransmitted on request of the other end; two copies count once.
    pub repairs_sent: u64,
    /// Media packets dropped at this end because the queue was full or the link not connected.
    pub packets_dropped: u64,
    /// Round-trip time of the newest connectivity check, in microseconds; a check is sent each second.
    pub rtt_us: Option<u64>,
    /// Mean wait of the last second's packets in this end's own queue, in microseconds; 0 where this end drops packets
    /// in place of queueing them.
    pub queue_us: u64,
    /// Address that answered the newest connectivity check.
    pub remote: Option<IpAddr>,
    /// By which way the link goes.
    pub way: Way,
}
