//! Messages of the heartbeat channel: small, unordered, never retransmitted. Fixed layouts, big-endian
//! integers.

use super::Message;
use crate::id::{Rank, ShortId, StreamId};

/// Maximum bytes of a heartbeat: 40 of a head, and 8 for later fields. Loose control messages may be longer.
pub const HEAD_LEN_MAX: usize = 48;
const HEAD: u8 = 1;
const HEAD_WANTED: u8 = 2;
const PING: u8 = 3;
const PONG: u8 = 4;
/// First byte of a loose control message, which may be lost.
const LOOSE: u8 = 5;

/// A head: how far the sender has got in the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Rank of the mandate under which the sender's program was begun.
    pub rank: Rank,
    /// Program stream the sender is receiving or making; zero when it has none.
    pub stream: StreamId,
    /// Newest video packet it holds.
    pub video_packet: u64,
    /// Newest audio packet it holds.
    pub sound_packet: u64,
    /// Capture time of the newest frame it holds, microseconds of the maker's clock.
    pub captured_us: u64,
    /// Depth of the sender in the tree: 0 for a mixer.
    pub depth: u8,
    /// [`path_hash`] of the sender's path.
    pub path_hash: u32,
}

/// A message of the heartbeat channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// The sender's head.
    Head(Head),
    /// Request for the receiver's head.
    HeadWanted,
    /// RTT and clock probe: a time of the sender's clock that the receiver returns.
    Ping {
        /// Departure of the ping, microseconds of the sender's clock.
        sent_us: u64,
    },
    /// Answer to a ping. With its own arrival it gives the four timestamps of RFC 5905.
    Pong {
        /// `sent_us` of the ping, copied.
        sent_us: u64,
        /// Arrival of the ping, microseconds of the answerer's clock.
        received_us: u64,
        /// Departure of the pong, by the same clock.
        replied_us: u64,
    },
}

impl Heartbeat {
    /// Returns the encoded heartbeat, at most [`HEAD_LEN_MAX`] bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_LEN_MAX);
        match self {
            Heartbeat::Head(head) => {
                bytes.push(HEAD);
                bytes.extend_from_slice(&head.rank.term.to_be_bytes());
                bytes.extend_from_slice(&head.rank.failover_count.to_be_bytes());
                bytes.extend_from_slice(&head.stream.0);
                bytes.extend_from_slice(&head.video_packet.to_be_bytes()[2..]);
                bytes.extend_from_slice(&head.sound_packet.to_be_bytes()[2..]);
                bytes.extend_from_slice(&head.captured_us.to_be_bytes());
                bytes.push(head.depth);
                bytes.extend_from_slice(&head.path_hash.to_be_bytes());
            }
            Heartbeat::HeadWanted => bytes.push(HEAD_WANTED),
            Heartbeat::Ping { sent_us } => {
                bytes.push(PING);
                bytes.extend_from_slice(&sent_us.to_be_bytes());
            }
            Heartbeat::Pong { sent_us, received_us, replied_us } => {
                bytes.push(PONG);
                for time in [sent_us, received_us, replied_us] {
                    bytes.extend_from_slice(&time.to_be_bytes());
                }
            }
        }
        bytes
    }

    /// Decodes a heartbeat; `None` when it is malformed, too long or of an unknown kind. Trailing bytes are
    /// skipped: a later version may append fields.
    pub fn from_bytes(bytes: &[u8]) -> Option<Heartbeat> {
        if bytes.len() > HEAD_LEN_MAX {
            return None;
        }
        let (&kind, mut rest) = bytes.split_first()?;
        let mut take = |len: usize| -> Option<u64> {
            let (field, tail) = rest.split_at_checked(len)?;
            rest = tail;
            Some(field.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
        };
        Some(match kind {
            HEAD => Heartbeat::Head(Head {
                rank: Rank { term: take(4)? as u32, failover_count: take(2)? as u16 },
                stream: StreamId(take(8)?.to_be_bytes()),
                video_packet: take(6)?,
                sound_packet: take(6)?,
                captured_us: take(8)?,
                depth: take(1)? as u8,
                path_hash: take(4)? as u32,
            }),
            HEAD_WANTED => Heartbeat::HeadWanted,
            PING => Heartbeat::Ping { sent_us: take(8)? },
            PONG => Heartbeat::Pong { sent_us: take(8)?, received_us: take(8)?, replied_us: take(8)? },
            _ => return None,
        })
    }
}

/// Encodes a control message for the heartbeat channel, where it may be lost.
pub fn loose_to_bytes(message: &Message) -> Vec<u8> {
    let mut bytes = vec![LOOSE];
    bytes.extend(message.to_bytes());
    bytes
}

/// Returns the control message inside a datagram of the heartbeat channel; `None` when the datagram is a
/// heartbeat.
pub fn loose_from_bytes(bytes: &[u8]) -> Option<&[u8]> {
    bytes.strip_prefix(&[LOOSE])
}

/// Fingerprint of a path: FNV-1a (32 bits) over its ids.
pub fn path_hash(path: &[ShortId]) -> u32 {
    path.iter()
        .flat_map(|id| id.0)
        .fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
