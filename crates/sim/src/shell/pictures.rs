//! Frames without content, of the length that a codec would make: access units that real packetizers cut, and
//! sound packets.

use bytes::Bytes;
use plenary_media::Encoded;
use plenary_media::codec::EncodedPicture;
use plenary_proto::identity::MediaKind;

/// Length of a sound frame, in microseconds.
pub(crate) const SOUND_US: u64 = 20_000;
/// Keyframe intervals in frames: at most 2 s, and at least 1 s when one is requested (docs/PROTOCOL.md, 1.4).
const KEY_EACH: u64 = 60;
const KEY_EACH_MIN: u64 = 30;
/// What fills a frame, and what a forger puts in its place.
const FILLER: u8 = 0x55;
const FORGED: u8 = 0xaa;
/// Number of such bytes in a row: an identity may have one by chance.
const FORGED_LEN: usize = 4;
const START_CODE: [u8; 4] = [0, 0, 0, 1];
/// Sequence parameter set of a picture of one macroblock, constrained baseline: a mixer reads the size.
const SPS: [u8; 6] = [0x67, 66, 0xc0, 31, 0xda, 0x79];
/// Picture parameter set, a slice of a keyframe, one that later pictures refer to, and one that none refers to.
const PPS: [u8; 4] = [0x68, 0xce, 0x3c, 0x80];
const SLICE_KEY: u8 = 0x65;
const SLICE: u8 = 0x61;
const SLICE_SPARE: u8 = 0x01;
/// First byte of a slice: first_mb_in_slice = 0 and a slice type.
const SLICE_BEGIN: u8 = 0x88;
/// Second byte of a slice: picture parameter set 0, then four bits of frame_num.
const SLICE_NUMBER: u8 = 0x84;
/// First byte of an Opus packet: fullband CELT, 20 ms, one frame.
const OPUS: u8 = 31 << 3;
/// Audio level of a voice, RFC 6464.
pub(crate) const LEVEL: u8 = 30;

/// Encoder of one stream of pictures: it decides which are keyframes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Encoder {
    pictures: u64,
    /// Number of the latest keyframe.
    key: u64,
    key_wanted: bool,
    /// Whether each second picture is in an upper temporal layer.
    layered: bool,
}

impl Encoder {
    /// Encoder of a program: each second picture is in an upper temporal layer.
    pub(crate) fn layered() -> Encoder {
        Encoder { layered: true, ..Encoder::default() }
    }

    /// Makes a keyframe soon.
    pub(crate) fn want_key(&mut self) {
        self.key_wanted = true;
    }

    /// Makes the next picture of a stream with that bitrate, in bits per second.
    pub(crate) fn picture(&mut self, bps: u32, every_us: u64) -> EncodedPicture {
        self.pictures += 1;
        let since_key = self.pictures - self.key;
        let key = self.key == 0 || since_key >= KEY_EACH || (self.key_wanted && since_key >= KEY_EACH_MIN);
        if key {
            (self.key, self.key_wanted) = (self.pictures, false);
        }
        let spare = self.layered && !key && (self.pictures - self.key) % 2 == 1;
        let references = (self.pictures - self.key).div_ceil(if self.layered { 2 } else { 1 });
        let len = (u64::from(bps) * every_us / 8_000_000) as usize;
        EncodedPicture::new(access_unit(len, key, spare, references), key).in_layer(u8::from(spare))
    }
}

/// An access unit after so many reference pictures since the keyframe.
fn access_unit(len: usize, key: bool, spare: bool, references: u64) -> Bytes {
    let mut data = Vec::with_capacity(len + 32);
    if key {
        for set in [&SPS[..], &PPS[..]] {
            data.extend_from_slice(&START_CODE);
            data.extend_from_slice(set);
        }
    }
    data.extend_from_slice(&START_CODE);
    data.extend_from_slice(&[
        if key {
            SLICE_KEY
        } else if spare {
            SLICE_SPARE
        } else {
            SLICE
        },
        SLICE_BEGIN,
        SLICE_NUMBER | (references as u8 & 0xf) << 3,
    ]);
    data.resize(len.max(data.len() + 1), FILLER);
    data.into()
}

/// A sound packet at that bitrate, in bits per second.
pub(crate) fn sound(bps: u32) -> Bytes {
    let mut packet = vec![FILLER; (u64::from(bps) * SOUND_US / 8_000_000) as usize];
    packet[0] = OPUS;
    packet.into()
}

/// A frame of a speaker's own stream.
pub(crate) fn spoken(picture: EncodedPicture, captured_us: u64) -> Encoded {
    let EncodedPicture { data, key, temporal, .. } = picture;
    Encoded { kind: MediaKind::Video, data, captured_us, key, temporal, level: None }
}

/// A frame of a speaker's own sound.
pub(crate) fn voice(bps: u32, captured_us: u64) -> Encoded {
    let data = sound(bps);
    Encoded { kind: MediaKind::Sound, data, captured_us, key: false, temporal: 0, level: Some(LEVEL) }
}

/// A payload as a forger sends it: parameter sets and identities stay, or nobody would take the frame.
pub(crate) fn forged(payload: &Bytes) -> Bytes {
    let middle = payload.len() / 2;
    if payload.get(middle) != Some(&FILLER) {
        return payload.clone();
    }
    let mut bytes = payload.to_vec();
    let end = bytes.len().min(middle + FORGED_LEN);
    bytes[middle..end].fill(FORGED);
    bytes.into()
}

/// A keyframe that a forger makes.
pub(crate) fn forged_picture() -> Bytes {
    let made = access_unit(2_000, true, false, 0);
    let mut bytes = made.to_vec();
    bytes.extend([FORGED; FORGED_LEN]);
    bytes.into()
}

/// Whether a forger has changed a picture on its way.
pub(crate) fn is_forged(data: &[u8]) -> bool {
    data.windows(FORGED_LEN).any(|bytes| bytes == [FORGED; FORGED_LEN])
}
