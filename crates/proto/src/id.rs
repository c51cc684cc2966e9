//! The names of things: peers, rooms, streams, and the order of terms.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A peer: its Ed25519 public key (RFC 8032).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeerId(pub [u8; 32]);

impl PeerId {
    /// The first 8 bytes, as they stand in paths.
    pub fn short(&self) -> ShortId {
        let mut short = [0; 8];
        short.copy_from_slice(&self.0[..8]);
        ShortId(short)
    }
}

/// The first 8 bytes of a [`PeerId`]: enough to tell apart the peers of one path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShortId(pub [u8; 8]);

/// A room: the first 16 bytes of BLAKE3 over its root public key, so that whoever knows the id can tell
/// whether a key is the root's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RoomId(pub [u8; 16]);

impl RoomId {
    /// The id of the room whose root public key is `root`.
    pub fn of_root(root: &PeerId) -> RoomId {
        let mut hash = blake3::Hasher::new_derive_key("plenary 1 room id");
        hash.update(&root.0);
        let mut id = [0; 16];
        id.copy_from_slice(&hash.finalize().as_bytes()[..16]);
        RoomId(id)
    }
}

/// A stream: what one encoder instance makes. See [`StreamSpec::id`].
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamId(pub [u8; 8]);

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum StreamKind {
    /// One speaker's own picture and sound.
    Speaker,
    /// What the audience gets.
    Program,
    /// The program's sound without one speaker's own, made for that speaker.
    MixMinus,
}

/// A place in the order of mixers: a later term wins, within a term the later regency.
///
/// Term 0 is the acting mixer that the roster names; regency 0 is who was elected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Rank {
    /// The number of the election.
    pub term: u32,
    /// The number of unvoted take-overs within the term.
    pub regency: u16,
}

/// All that a stream's id is made of; sent ahead of the stream, so that a receiver can check the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSpec {
    /// Who runs the encoder.
    pub maker: PeerId,
    /// What it is for.
    pub kind: StreamKind,
    /// Under which mandate; zero for a speaker's stream.
    pub rank: Rank,
    /// 0 for the full size; higher for smaller versions of the same program.
    pub rung: u8,
    /// Drawn anew for each encoder, so that two of them never share an id.
    pub start: [u8; 8],
}

impl StreamSpec {
    /// The stream's id: the first 8 bytes of BLAKE3 over (room, maker, kind, term, regency, rung, start),
    /// integers big endian.
    pub fn id(&self, room: &RoomId) -> StreamId {
        let mut hash = blake3::Hasher::new_derive_key("plenary 1 stream id");
        hash.update(&room.0);
        hash.update(&self.maker.0);
        hash.update(&[self.kind as u8]);
        hash.update(&self.rank.term.to_be_bytes());
        hash.update(&self.rank.regency.to_be_bytes());
        hash.update(&[self.rung]);
        hash.update(&self.start);
        let mut id = [0; 8];
        id.copy_from_slice(&hash.finalize().as_bytes()[..8]);
        StreamId(id)
    }

    /// Whether this program takes the place of `shown`, at a key frame, where these mixers are in force, each without
    /// a break since that rank. A program that one of them began in that time goes before any other, and one that it
    /// began before goes before those of peers that are not in force: it may have mixed on in another part of a room
    /// that was cut in two. Between two such mixers, whoever feeds us decides (`fed`: this one comes from there);
    /// otherwise the later rank.
    pub fn supersedes(&self, shown: &StreamSpec, mixers: &[(PeerId, Rank)], fed: bool) -> bool {
        let in_force = |spec: &StreamSpec| mixers.iter().find(|(mixer, _)| *mixer == spec.maker);
        // in force since before the stream began, in force, or neither
        let standing = |spec: &StreamSpec| in_force(spec).map(|(_, since)| *since <= spec.rank);
        match (standing(self), standing(shown)) {
            (Some(true), Some(true)) if self.maker != shown.maker => fed,
            (new, old) if new != old => new > old,
            _ => self.rank >= shown.rank,
        }
    }
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.regency)
    }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

macro_rules! shown_in_hex {
    ($($name:ident: $display:expr, $debug:expr;)*) => { $(
        /// Lower-case hex, shortened where that is enough for a person.
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
