//! Seals: signatures of a stream's maker inside its frames, by which a receiver notices that a relay has changed,
//! exchanged or left out frames.
//!
//! A seal is the tail of a frame's identity. It signs that frame, and has the hashes of earlier frames without a seal.
//! Each reference picture carries a seal, since decoders carry changes in it on to later pictures. Other pictures, and
//! most packets of sound, are played at once, and the next seal proves them. `docs/PROTOCOL.md` (1.3) has the byte
//! table. The levels and voices of sound packets stand in RTP headers, and aren't sealed.

use std::collections::VecDeque;

use super::{FrameIdentity, MediaKind, h264, opus};
use crate::id::{PeerId, RoomId};
use crate::seal::{Keypair, Signature, verify};

/// Bytes of a frame's hash in later seals: a prefix of BLAKE3. 80 bits can't be met by another frame in the lifetime of
/// a recording (guess).
pub const HASH_LEN: usize = 10;
/// Maximum number of hashes in a seal: an Opus extension has up to 255 bytes.
pub const HASHES_MAX: usize = 15;
/// Packets of sound from one seal to the next: 80 ms, so that a false packet is noticed within 100 ms.
pub const SOUND_STEP: u32 = 4;
/// Maximum number of frames that wait for a seal. A guess: 300 ms at 60 pictures a second, and some more.
pub const UNPROVEN_MAX: usize = 24;

const VERSION: u8 = 1;
const SIGNATURE_LEN: usize = 64;
/// Version, distance of the last seal, number of hashes.
const HEAD_LEN: usize = 3;
/// Proven frames that are remembered, so that none is verified twice. A guess.
const PROVEN_MAX: usize = 8;

/// BLAKE3 of a frame and its identity.
type FullHash = [u8; 32];
/// Its first bytes.
type ShortHash = [u8; HASH_LEN];

/// Hashes a picture: length (u32, big endian) and bytes of each NAL unit but the identity's, then the identity without
/// its tail. Start codes are left out, since transport doesn't keep their lengths.
fn picture_hash(access_unit: &[u8], identity: &FrameIdentity) -> FullHash {
    let mut hash = blake3::Hasher::new();
    for nal in h264::nals(access_unit).filter(|nal| !h264::is_identity(nal.bytes)) {
        hash.update(&(nal.bytes.len() as u32).to_be_bytes());
        hash.update(nal.bytes);
    }
    hash.update(&identity.to_bytes());
    *hash.finalize().as_bytes()
}

/// Hashes an Opus packet without its padding, then the identity. `None` for a packet that carries no identity.
fn sound_hash(packet: &[u8], identity: &FrameIdentity) -> Option<FullHash> {
    let mut hash = blake3::Hasher::new();
    opus::without_padding(packet)?.iter().for_each(|part| _ = hash.update(part));
    hash.update(&identity.to_bytes());
    Some(*hash.finalize().as_bytes())
}

fn frame_hash(kind: MediaKind, data: &[u8], identity: &FrameIdentity) -> Option<FullHash> {
    match kind {
        MediaKind::Video => Some(picture_hash(data, identity)),
        MediaKind::Sound => sound_hash(data, identity),
    }
}

fn short(hash: &FullHash) -> ShortHash {
    let mut bytes = [0; HASH_LEN];
    bytes.copy_from_slice(&hash[..HASH_LEN]);
    bytes
}

fn signed_bytes(room: &RoomId, kind: MediaKind, hash: &FullHash, tail: &[u8]) -> Vec<u8> {
    [b"plenary 1 seal", &room.0[..], &[kind as u8], hash, tail].concat()
}

fn tail(kind: MediaKind, data: &[u8]) -> Option<Vec<u8>> {
    match kind {
        MediaKind::Video => h264::tail(data),
        MediaKind::Sound => opus::tail(data),
    }
}

/// Returns whether a frame carries a seal of its own, valid or not.
pub fn has_seal(kind: MediaKind, data: &[u8]) -> bool {
    tail(kind, data).is_some_and(|tail| !tail.is_empty())
}

/// Seals the frames of one kind of a stream, at its maker.
#[derive(Clone, Debug)]
pub struct Sealer {
    keys: Keypair,
    room: RoomId,
    kind: MediaKind,
    /// Numbers of the last seal and the one before; 0 for none.
    seals: [u32; 2],
    /// Numbers and hashes of the last frames without a seal, the newest last.
    unsealed: VecDeque<(u32, ShortHash)>,
}

impl Sealer {
    /// Creates the sealer of a new stream.
    pub fn new(keys: Keypair, room: RoomId, kind: MediaKind) -> Sealer {
        Sealer { keys, room, kind, seals: [0; 2], unsealed: VecDeque::new() }
    }

    /// Takes the next frame, still without an identity, and returns the tail of its identity: empty or a seal.
    pub fn seal(&mut self, data: &[u8], identity: &FrameIdentity) -> Vec<u8> {
        let number = identity.number;
        let [last, before] = self.seals;
        let Some(hash) = frame_hash(self.kind, data, identity) else { return Vec::new() };
        let is_due = match self.kind {
            MediaKind::Video => !h264::is_spare(data),
            MediaKind::Sound => last == 0 || number.saturating_sub(last) >= SOUND_STEP,
        };
        if !is_due {
            if self.unsealed.len() >= HASHES_MAX {
                self.unsealed.pop_front();
            }
            self.unsealed.push_back((number, short(&hash)));
            return Vec::new();
        }
        let last_back =
            number.checked_sub(last).filter(|_| last > 0).and_then(|back| u8::try_from(back).ok());
        // since the seal before the last one; a frame without a hash, as a silent packet, ends them
        let earlier =
            (before.saturating_add(1)..number).rev().filter(|at| *at != last && last_back.is_some());
        let hash_of = |at| self.unsealed.iter().find(|(known, _)| *known == at).map(|(_, hash)| hash);
        let hashes: Vec<_> = earlier.map_while(hash_of).take(HASHES_MAX).collect();
        let mut tail = vec![VERSION, last_back.unwrap_or(0), hashes.len() as u8];
        tail.extend(hashes.into_iter().flatten());
        let signature = self.keys.sign(&signed_bytes(&self.room, self.kind, &hash, &tail));
        tail.extend_from_slice(&signature.0);
        self.seals = [number, last];
        self.unsealed.retain(|(known, _)| *known > last);
        tail
    }
}

/// A parsed seal.
struct Seal<'a> {
    /// Frames since the last seal; 0 without one within 255 frames.
    last_back: u8,
    /// Of the frames before this one, the newest first, without the last seal's.
    hashes: Vec<ShortHash>,
    /// What is signed of the tail.
    signed: &'a [u8],
    signature: Signature,
}

impl Seal<'_> {
    fn parse(tail: &[u8]) -> Option<Seal<'_>> {
        let (signed, signature) = tail.split_last_chunk::<SIGNATURE_LEN>()?;
        let (&[version, last_back, count], hashes) = signed.split_first_chunk::<HEAD_LEN>()?;
        let is_right = version == VERSION
            && usize::from(count) <= HASHES_MAX
            && hashes.len() == usize::from(count) * HASH_LEN;
        let hashes = hashes.chunks_exact(HASH_LEN).filter_map(|hash| hash.try_into().ok());
        let signature = Signature(*signature);
        is_right.then(|| Seal { last_back, hashes: hashes.collect(), signed, signature })
    }

    /// Returns the numbers of the frames that the hashes are of.
    fn numbers(&self, number: u32) -> impl Iterator<Item = u32> {
        let last_back = u32::from(self.last_back);
        (1..number).filter(move |back| *back != last_back).map(move |back| number - back)
    }
}

/// Failure of a frame's check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forged {
    /// Number of the first unproven packet. It and all later packets may be forged.
    pub from_packet: u64,
}

/// A frame that waits for a seal.
#[derive(Clone, Copy, Debug)]
struct Unproven {
    number: u32,
    hash: ShortHash,
    first_packet: u64,
}

/// Checks the frames of one kind of a stream, at a receiver.
#[derive(Clone, Debug)]
pub struct SealCheck {
    maker: PeerId,
    room: RoomId,
    kind: MediaKind,
    /// Number of the newest frame with a valid seal; 0 for none.
    sealed: u32,
    unproven: VecDeque<Unproven>,
    /// Frames with the last verified seals.
    proven: VecDeque<FullHash>,
    /// Number of frames that a seal has proven so far.
    proven_count: u64,
}

impl SealCheck {
    /// Creates the check of a stream of that maker.
    pub fn new(maker: PeerId, room: RoomId, kind: MediaKind) -> SealCheck {
        let (unproven, proven) = (VecDeque::new(), VecDeque::new());
        SealCheck { maker, room, kind, sealed: 0, unproven, proven, proven_count: 0 }
    }

    /// Returns the number of frames proven so far, either by their own seal or by their hash in a later seal.
    pub fn proven_count(&self) -> u64 {
        self.proven_count
    }

    /// Returns whether a frame may be decoded by what stands in it: a picture that others refer to has a valid seal,
    /// and another one has a valid seal or none. For whole frames that come out of their order, in a browser.
    pub fn may_be_decoded(&mut self, data: &[u8], identity: &FrameIdentity) -> bool {
        let Some(hash) = frame_hash(self.kind, data, identity) else { return true };
        match tail(self.kind, data).as_deref() {
            None | Some([]) => !self.needs_seal(data),
            Some(tail) => Seal::parse(tail).is_some_and(|seal| self.is_signed(&hash, &seal)),
        }
    }

    /// Takes the next frame, in the order of the numbers; frames may be missing.
    ///
    /// # Errors
    /// [`Forged`] if this frame, or one that was taken before, isn't the maker's, or if a frame with a seal was left
    /// out.
    pub fn take(&mut self, data: &[u8], identity: &FrameIdentity) -> Result<(), Forged> {
        // a silent packet says nothing, and has no room for a seal
        let Some(hash) = frame_hash(self.kind, data, identity) else { return Ok(()) };
        let tail = tail(self.kind, data).unwrap_or_default();
        if tail.is_empty() {
            if self.needs_seal(data) || self.unproven.len() >= UNPROVEN_MAX {
                return Err(self.forged(identity.first_packet));
            }
            let (number, first_packet) = (identity.number, identity.first_packet);
            self.unproven.push_back(Unproven { number, hash: short(&hash), first_packet });
            return Ok(());
        }
        let Some(seal) = Seal::parse(&tail).filter(|seal| self.is_signed(&hash, seal)) else {
            return Err(self.forged(identity.first_packet));
        };
        let left_out = self.kind == MediaKind::Video
            && !identity.key
            && self.sealed > 0
            && seal.last_back > 0
            && identity.number.saturating_sub(seal.last_back.into()) > self.sealed;
        // by the seal; `None` where it says nothing of the frame
        let is_proven = |frame: &Unproven| {
            let mut told = seal.numbers(identity.number).zip(&seal.hashes);
            told.find(|(number, _)| *number == frame.number).map(|(_, hash)| *hash == frame.hash)
        };
        let comes_later = self.unproven.iter().any(|frame| frame.number >= identity.number);
        if left_out || comes_later || self.unproven.iter().any(|frame| is_proven(frame) == Some(false)) {
            return Err(self.forged(identity.first_packet));
        }
        self.proven_count +=
            1 + self.unproven.iter().filter(|frame| is_proven(frame) == Some(true)).count() as u64;
        self.sealed = identity.number;
        self.unproven.clear();
        Ok(())
    }

    /// Returns the first packet of the frames that wait for a seal; `None` if none waits.
    pub fn unproven_from(&self) -> Option<u64> {
        self.unproven.front().map(|frame| frame.first_packet)
    }

    /// Forgets the frames that wait for a seal: the stream begins anew, or goes back.
    pub fn begin_anew(&mut self) {
        self.unproven.clear();
    }

    fn needs_seal(&self, data: &[u8]) -> bool {
        self.kind == MediaKind::Video && !h264::is_spare(data)
    }

    fn is_signed(&mut self, hash: &FullHash, seal: &Seal<'_>) -> bool {
        if self.proven.contains(hash) {
            return true;
        }
        let is_signed =
            verify(&self.maker, &signed_bytes(&self.room, self.kind, hash, seal.signed), &seal.signature)
                .is_ok();
        if is_signed {
            if self.proven.len() >= PROVEN_MAX {
                self.proven.pop_front();
            }
            self.proven.push_back(*hash);
        }
        is_signed
    }

    /// Forgets the frames that wait for a seal: the next frame, which begins with this packet, is forged. Returns the
    /// first unproven packet.
    pub fn forged(&mut self, first_packet: u64) -> Forged {
        let unproven = self.unproven_from();
        self.unproven.clear();
        Forged { from_packet: unproven.map_or(first_packet, |from| from.min(first_packet)) }
    }
}
