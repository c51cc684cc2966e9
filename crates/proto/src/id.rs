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

    /// By which mixed sound names it as a contributor: its CSRC (RFC 3550, 5.1), the first 4 bytes, big endian.
    pub fn csrc(&self) -> u32 {
        let [first, second, third, fourth, ..] = self.0;
        u32::from_be_bytes([first, second, third, fourth])
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
    /// One speaker's own, too: a screen or a film, and its sound.
    Share,
}

impl StreamKind {
    /// Whether a speaker makes it, for the mixers or the others of a mesh.
    pub fn is_speakers(self) -> bool {
        matches!(self, StreamKind::Speaker | StreamKind::Share)
    }
}

/// A place in the order of mixers: a later term wins, within a term the later failover.
///
/// Term 0 is the acting mixer that the roster names; failover 0 is who was elected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Rank {
    /// The number of the election.
    pub term: u32,
    /// The number of unvoted failovers within the term.
    pub failover_count: u16,
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
    /// The stream's id: the first 8 bytes of BLAKE3 over (room, maker, kind, term, failover, rung, start),
    /// integers big endian.
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

    /// Whether this program takes the place of `shown`, at a key frame. One of a mixer in force goes before any other, however
    /// old it is: its maker may have mixed on in another part of a room that was cut in two. Between two mixers in force, whoever
    /// feeds us decides (`fed`: this one comes from there); otherwise the later rank.
    pub fn supersedes(&self, shown: &StreamSpec, in_force: &InForce, fed: bool) -> bool {
        match (in_force.makes(self), in_force.makes(shown)) {
            (true, true) if self.maker != shown.maker => fed,
            (new, old) if new != old => new,
            _ => self.rank >= shown.rank,
        }
    }
}

/// Who mixes, as the mandate has it: which program is shown follows from that ([`StreamSpec::supersedes`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InForce {
    /// The rank of the mandate.
    pub rank: Rank,
    /// The mixers, the lead first.
    pub mixers: Vec<PeerId>,
}

impl InForce {
    /// Whether a stream is by one of them, and not of a mandate that counts no more.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_of_a_mixer_in_force_goes_before_any_other_and_of_two_such_the_one_that_feeds() {
        let rank = |term| Rank { term, failover_count: 0 };
        let program = |by, term| StreamSpec {
            maker: PeerId([by; 32]),
            kind: StreamKind::Program,
            rank: rank(term),
            rung: 0,
            start: [0; 8],
        };
        let in_force = InForce { rank: rank(4), mixers: vec![PeerId([1; 32]), PeerId([2; 32])] };
        // what is offered, what is shown, and whether it is taken: from whoever feeds us, and from another
        let rows = [
            (program(1, 4), program(3, 3), [true, true]),
            (program(1, 1), program(3, 3), [true, true]), // it mixed on where nobody had heard of the third
            (program(3, 3), program(1, 1), [false, false]),
            (program(1, 1), program(2, 4), [true, false]),
            (program(1, 4), program(2, 1), [true, false]),
            (program(1, 4), program(1, 3), [true, true]),
            (program(1, 3), program(1, 4), [false, false]),
            // decided under a host that had been succeeded: it never was
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
