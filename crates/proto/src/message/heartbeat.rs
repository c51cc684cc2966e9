//! Messages of the heartbeat channel: small, unordered, sent once. Fixed layouts, integers big endian.

use super::Message;
use crate::id::{Rank, ShortId, StreamId};

/// Most bytes of any heartbeat.
pub const HEAD_LEN_MAX: usize = 48;
const HEAD: u8 = 1;
const HEAD_WANTED: u8 = 2;
const PING: u8 = 3;
const PONG: u8 = 4;
/// Before the bytes of a control message that may be lost.
const LOOSE: u8 = 5;

/// How far the sender has got in the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The mandate of the program it follows.
    pub rank: Rank,
    /// The stream it is at; zero when it has none.
    pub stream: StreamId,
    /// Newest video packet it holds.
    pub video_packet: u64,
    /// Newest sound packet it holds.
    pub sound_packet: u64,
    /// Capture time of the newest frame it holds, microseconds of the maker's clock.
    pub captured_us: u64,
    /// Its depth: 0 for a mixer.
    pub depth: u8,
    /// [`path_hash`] of its path.
    pub path_hash: u32,
}

/// One message of the heartbeat channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// How far I am.
    Head(Head),
    /// How far are you?
    HeadWanted,
    /// A time of the sender's clock, to be sent back.
    Ping {
        /// When it was sent, microseconds of the sender's clock.
        sent_us: u64,
    },
    /// The answer to a ping (the four times of RFC 5905, the last one being the arrival of this).
    Pong {
        /// As it stood in the ping.
        sent_us: u64,
        /// When the ping came, microseconds of the answerer's clock.
        received_us: u64,
        /// When this left, by the same clock.
        replied_us: u64,
    },
}

impl Heartbeat {
    /// The bytes; at most [`HEAD_LEN_MAX`].
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

    /// Reads a heartbeat; bytes behind the known ones are skipped, a later version may have put them there.
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

/// A control message as it goes over the heartbeat channel, where it may be lost.
pub fn loose_to_bytes(message: &Message) -> Vec<u8> {
    let mut bytes = vec![LOOSE];
    bytes.extend(message.to_bytes());
    bytes
}

/// The control message in what came over the heartbeat channel; `None` when it is a heartbeat.
pub fn loose_from_bytes(bytes: &[u8]) -> Option<&[u8]> {
    bytes.strip_prefix(&[LOOSE])
}

/// Four bytes by which a path is known again: FNV-1a (32 bits) over its ids.
pub fn path_hash(path: &[ShortId]) -> u32 {
    path.iter()
        .flat_map(|id| id.0)
        .fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
