//! Identifiers of peers, rooms and streams, and the rank that orders mandates.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error as _, Unexpected};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Peer id: the peer's Ed25519 public key (RFC 8032). In JSON 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(test, derive(ts_rs::TS), ts(type = "string"))]
pub struct PeerId(pub [u8; 32]);

impl PeerId {
    /// Returns the first 8 bytes, the form used in paths.
    pub fn short(&self) -> ShortId {
        let mut short = [0; 8];
        short.copy_from_slice(&self.0[..8]);
        ShortId(short)
    }

    /// Returns the peer's CSRC as a contributor to mixed audio (RFC 3550, 5.1): the first 4 bytes of its id,
    /// big endian.
    pub fn csrc(&self) -> u32 {
        let [first, second, third, fourth, ..] = self.0;
        u32::from_be_bytes([first, second, third, fourth])
    }
}

/// A text that is no whole id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an id has 64 hex digits")]
pub struct NoPeerId;

/// Reads 64 hex digits, in either case.
impl FromStr for PeerId {
    type Err = NoPeerId;

    fn from_str(text: &str) -> Result<PeerId, NoPeerId> {
        unhex(text).map(PeerId).ok_or(NoPeerId)
    }
}

/// Reads two hex digits for each byte, in either case.
fn unhex<const LEN: usize>(text: &str) -> Option<[u8; LEN]> {
    let mut bytes = [0; LEN];
    if text.len() != 2 * LEN || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

/// Serializes an id as its bytes, and as hex digits where people read it.
macro_rules! hex_in_text {
    ($($id:ident: $len:literal),+) => {$(
        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match serializer.is_human_readable() {
                    true => serializer.collect_str(self),
                    false => self.0.serialize(serializer),
                }
            }
        }

        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$id, D::Error> {
                if !deserializer.is_human_readable() {
                    return <[u8; $len]>::deserialize(deserializer).map($id);
                }
                let text = String::deserialize(deserializer)?;
                let wrong = || D::Error::invalid_value(Unexpected::Str(&text), &"the hex digits of an id");
                unhex(&text).map($id).ok_or_else(wrong)
            }
        }
    )+};
}

hex_in_text! { PeerId: 32, ShortId: 8 }

/// Short peer id: the first 8 bytes of a [`PeerId`], enough to distinguish the peers of one path. In JSON 16 hex
/// digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(test, derive(ts_rs::TS), ts(type = "string"))]
pub struct ShortId(pub [u8; 8]);

/// Room id: the first 16 bytes of BLAKE3 over the room's root public key. A peer that knows the id can
/// therefore verify a root key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RoomId(pub [u8; 16]);

impl RoomId {
    /// Returns the id of the room with the root public key `root`.
    pub fn of_root(root: &PeerId) -> RoomId {
        let mut hash = blake3::Hasher::new_derive_key("plenary 1 room id");
        hash.update(&root.0);
        let mut id = [0; 16];
        id.copy_from_slice(&hash.finalize().as_bytes()[..16]);
        RoomId(id)
    }
}

/// Stream id; a stream is the output of one encoder instance. See [`StreamSpec::id`].
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamId(pub [u8; 8]);

/// Purpose of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum StreamKind {
    /// A speaker's own video and audio.
    Speaker,
    /// The program, for the audience.
    Program,
    /// Mix-minus: the program's audio without one speaker's own, made for that speaker.
    MixMinus,
    /// A speaker's own stream with a shared screen or film as its source, and its audio.
    Share,
    /// A screen's or film's pictures, without audio, that a speaker sends beside its camera's: a second stream. Mixers
    /// alone get it.
    Beside,
}

impl StreamKind {
    /// Whether a speaker makes streams of this kind as its own stream, for the mixers or, in a mesh, for the other
    /// speakers. A speaker's second picture has another kind.
    pub fn is_speakers(self) -> bool {
        matches!(self, StreamKind::Speaker | StreamKind::Share)
    }
}

/// Precedence of a mandate: the higher term wins, within a term the higher failover count.
///
/// In term 0 the acting mixer of the roster mixes; failover count 0 stands for the election's outcome itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Rank {
    /// Number of the election.
    pub term: u32,
    /// Failover count: numbers the failovers within the term, which happen without a vote.
    pub failover_count: u16,
}

/// The inputs of a stream's id. Announced ahead of the stream, so that a receiver can check the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSpec {
    /// The peer that runs the encoder.
    pub maker: PeerId,
    /// Purpose of the stream.
    pub kind: StreamKind,
    /// Rank of the mandate under which the stream was begun; zero for a speaker's stream.
    pub rank: Rank,
    /// Simulcast rung: 0 for the full size, higher for smaller versions of the same program.
    pub rung: u8,
    /// Drawn for each encoder instance, so that two instances never share a stream id.
    pub start: [u8; 8],
}

impl StreamSpec {
    /// Returns the stream's id: the first 8 bytes of BLAKE3 over (room, maker, kind, term, failover count,
    /// rung, start), integers big endian.
    pub fn id(&self, room: &RoomId) -> StreamId {
        let mut hash = blake3::Hasher::new_derive_key("plenary 1 stream id");
        hash.update(&room.0);
        hash.update(&self.maker.0);
        hash.update(&[self.kind as u8]);
        hash.update(&self.rank.term.to_be_bytes());
        hash.update(&self.rank.failover_count.to_be_bytes());
        hash.update(&[self.rung]);
        hash.update(&self.start);
        let mut id = [0; 8];
        id.copy_from_slice(&hash.finalize().as_bytes()[..8]);
        StreamId(id)
    }

    /// Whether this program replaces `shown`, at a keyframe.
    ///
    /// - A program of a mixer in force replaces any other, however old it is: its maker may have continued to
    ///   mix on the other side of a network partition.
    /// - Between two mixers in force, the program from the parent wins (`fed`: this one comes from the
    ///   parent).
    /// - Otherwise the program of the higher or equal rank wins.
    pub fn supersedes(&self, shown: &StreamSpec, in_force: &InForce, fed: bool) -> bool {
        match (in_force.makes(self), in_force.makes(shown)) {
            (true, true) if self.maker != shown.maker => fed,
            (new, old) if new != old => new,
            _ => self.rank >= shown.rank,
        }
    }
}

/// The mixers in force by the mandate, which determine the program to show ([`StreamSpec::supersedes`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InForce {
    /// Rank of the mandate.
    pub rank: Rank,
    /// The mixers, the lead first.
    pub mixers: Vec<PeerId>,
}

impl InForce {
    /// Whether a mixer in force made the stream, under a rank that isn't above the mandate's: the mandate of
    /// a higher rank is void or not proven here.
    pub fn makes(&self, spec: &StreamSpec) -> bool {
        spec.rank <= self.rank && self.mixers.contains(&spec.maker)
    }
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.failover_count)
    }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

macro_rules! shown_in_hex {
    ($($name:ident: $display:expr, $debug:expr;)*) => { $(
        /// Lowercase hex, shortened where that suffices for display.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { hex(&self.0[..$display], f) }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { hex(&self.0[..$debug], f) }
        }
    )* };
}
shown_in_hex! {
    PeerId: 32, 4;
    ShortId: 8, 4;
    RoomId: 16, 4;
    StreamId: 8, 8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_s_id_is_read_as_it_is_shown_in_either_case_and_only_whole() {
        let id = PeerId(std::array::from_fn(|at| at as u8 * 7));
        let text = id.to_string();
        assert_eq!((text.parse(), text.to_uppercase().parse()), (Ok(id), Ok(id)));
        for wrong in [&text[1..], &format!("{text}0"), &format!("+{}", &text[1..]), "", &"é".repeat(32)] {
            assert_eq!(wrong.parse::<PeerId>(), Err(NoPeerId), "{wrong}");
        }
    }

    #[test]
    fn the_program_of_a_mixer_in_force_goes_before_any_other() {
        let rank = |term| Rank { term, failover_count: 0 };
        let program = |by, term| StreamSpec {
            maker: PeerId([by; 32]),
            kind: StreamKind::Program,
            rank: rank(term),
            rung: 0,
            start: [0; 8],
        };
        let in_force = InForce { rank: rank(4), mixers: vec![PeerId([1; 32]), PeerId([2; 32])] };
        // (offered program, shown program, whether it is replaced: [offered by the parent, offered by another
        // peer])
        let rows = [
            (program(1, 4), program(3, 3), [true, true]),
            // peer 1 continued to mix on a side of a partition that had not heard of peer 3
            (program(1, 1), program(3, 3), [true, true]),
            (program(3, 3), program(1, 1), [false, false]),
            (program(1, 1), program(2, 4), [true, false]),
            (program(1, 4), program(2, 1), [true, false]),
            (program(1, 4), program(1, 3), [true, true]),
            (program(1, 3), program(1, 4), [false, false]),
            // decided under a host that had been succeeded, so its rank is void
            (program(1, 4), program(1, 5), [true, true]),
            (program(1, 5), program(1, 4), [false, false]),
            (program(3, 3), program(4, 2), [true, true]),
            (program(3, 2), program(4, 3), [false, false]),
        ];
        for (offered, shown, taken) in rows {
            let wins = [true, false].map(|fed| offered.supersedes(&shown, &in_force, fed));
            assert_eq!(wins, taken, "{offered:?} for {shown:?}");
        }
    }
}
