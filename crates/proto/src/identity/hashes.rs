//! Frame hashes, signed by the stream's maker, so that receivers can detect a program forged by a relay.

use serde::{Deserialize, Serialize};

use super::MediaKind;
use super::h264::nals;
use crate::bounded::List;
use crate::id::{RoomId, StreamId};
use crate::seal::{Keypair, Signature, SignatureError, verify};

/// Bytes of a frame hash: a prefix of BLAKE3.
pub const FRAME_HASH_LEN: usize = 16;
/// Maximum frames per message: more than 100 ms of video at 60 fps or of audio in 2.5 ms frames.
pub const FRAME_HASHES_MAX: usize = 64;

/// Hashes of consecutive frames of a stream. The maker sends them at least every 100 ms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameHashes {
    /// The stream.
    pub stream: StreamId,
    /// Which of the stream's two frame sequences, video or audio.
    pub kind: MediaKind,
    /// Number of the frame with the first hash; the others follow without a gap.
    pub first_number: u32,
    /// [`video_hash`] or [`sound_hash`] of each frame.
    pub hashes: List<[u8; FRAME_HASH_LEN], FRAME_HASHES_MAX>,
    /// The maker's signature over the fields above and the room id.
    pub signature: Signature,
}

impl FrameHashes {
    /// Signs `hashes` as the maker of `stream`.
    pub fn sign(
        maker: &Keypair,
        room: &RoomId,
        stream: StreamId,
        kind: MediaKind,
        first_number: u32,
        hashes: List<[u8; FRAME_HASH_LEN], FRAME_HASHES_MAX>,
    ) -> FrameHashes {
        let signature = maker.sign(&signed_bytes(room, stream, kind, first_number, &hashes));
        FrameHashes { stream, kind, first_number, hashes, signature }
    }

    /// Verifies the signature of `maker`.
    ///
    /// # Errors
    /// [`SignatureError`] when `maker` did not sign, or when a covered field was changed.
    pub fn verify(&self, maker: &crate::id::PeerId, room: &RoomId) -> Result<(), SignatureError> {
        let bytes = signed_bytes(room, self.stream, self.kind, self.first_number, &self.hashes);
        verify(maker, &bytes, &self.signature)
    }
}

fn signed_bytes(
    room: &RoomId,
    stream: StreamId,
    kind: MediaKind,
    first_number: u32,
    hashes: &[[u8; FRAME_HASH_LEN]],
) -> Vec<u8> {
    let mut bytes = b"plenary 1 frame hashes".to_vec();
    bytes.extend_from_slice(&room.0);
    bytes.extend_from_slice(&stream.0);
    bytes.push(kind as u8);
    bytes.extend_from_slice(&first_number.to_be_bytes());
    bytes.extend(hashes.iter().flatten());
    bytes
}

/// Hashes an access unit: each NAL unit's length (u32, big endian) and bytes. Start codes are left out, since
/// transport does not preserve their length.
pub fn video_hash(access_unit: &[u8]) -> [u8; FRAME_HASH_LEN] {
    let mut hash = blake3::Hasher::new();
    for nal in nals(access_unit) {
        hash.update(&(nal.bytes.len() as u32).to_be_bytes());
        hash.update(nal.bytes);
    }
    shortened(hash)
}

/// Hashes an Opus packet, padding included.
pub fn sound_hash(packet: &[u8]) -> [u8; FRAME_HASH_LEN] {
    let mut hash = blake3::Hasher::new();
    hash.update(packet);
    shortened(hash)
}

fn shortened(hash: blake3::Hasher) -> [u8; FRAME_HASH_LEN] {
    let mut short = [0; FRAME_HASH_LEN];
    short.copy_from_slice(&hash.finalize().as_bytes()[..FRAME_HASH_LEN]);
    short
}
