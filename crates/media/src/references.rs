//! Whether pictures that are missing in a stream of H.264 were referenced by any other: frame_num tells (H.264, 7.4.3).
//! It counts the reference pictures since the last keyframe, so a missing one leaves a gap in it, and another picture
//! doesn't.
//!
//! Bytes of other peers are read: what can't be read counts as a gap.

use plenary_proto::identity::h264::nals;

use crate::sps::Bits;

/// NAL unit types of slices that begin a picture: of a picture, its first data partition, of a keyframe.
const SLICES: [u8; 3] = [1, 2, 5];
const SLICE_KEY: u8 = 5;
/// nal_ref_idc in a NAL unit's header; 0: no other picture references the unit.
const IMPORTANCE_MASK: u8 = 0x60;

/// Follows frame_num through the pictures of one stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct References {
    /// Number of bits of frame_num, by the last sequence parameter set that could be read.
    bits: Option<u32>,
    /// frame_num of the last reference picture.
    last: Option<u32>,
}

impl References {
    /// Takes the next picture. Returns whether no picture that others reference is missing before it, or it is a
    /// keyframe.
    pub fn follows(&mut self, access_unit: &[u8]) -> bool {
        if let Some(bits) = crate::sps::frame_num_bits(access_unit) {
            self.bits = Some(bits);
        }
        let slice = nals(access_unit).find(|nal| SLICES.contains(&nal.kind()));
        let is_key = slice.is_some_and(|slice| slice.kind() == SLICE_KEY);
        let Some((bits, slice)) = self.bits.zip(slice) else {
            self.last = None;
            return is_key;
        };
        let is_reference = slice.bytes.first().is_some_and(|header| header & IMPORTANCE_MASK != 0);
        let number = Bits::of(slice.bytes).frame_num(bits);
        let next = self.last.map(|last| (last + 1) % (1 << bits));
        let follows = is_key || (number.is_some() && number == next);
        // another picture has the number of the reference picture that comes next
        let modulus = 1 << bits;
        self.last = if is_reference { number } else { number.map(|number| (number + modulus - 1) % modulus) };
        follows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Codecs as _, VideoFormat};
    use crate::{BuiltinCodecs, Picture};

    /// Forty pictures of OpenH264, of which each second one is in an upper temporal layer.
    fn pictures() -> Vec<(bool, Vec<u8>)> {
        let format = VideoFormat { width: 160, height: 96, fps: 30, bitrate_bps: 200_000 };
        let mut encoder = BuiltinCodecs::default().program_encoder(&format).unwrap();
        let made = (0..40u8).filter_map(|at| {
            let mut picture = Picture::black(160, 96);
            picture.planes_mut()[0].fill(at * 6);
            let encoded = encoder.encode(&picture.view(), at == 24).unwrap()?;
            Some((encoded.temporal > 0, encoded.data.to_vec()))
        });
        made.collect()
    }

    #[test]
    fn only_a_missing_picture_that_others_reference_is_a_gap() {
        let pictures = pictures();
        assert!(pictures.iter().filter(|(spare, _)| *spare).count() > 10, "the encoder makes layers");
        let mut all = References::default();
        assert!(pictures.iter().all(|(_, data)| all.follows(data)));
        let mut thinned = References::default();
        assert!(pictures.iter().filter(|(spare, _)| !spare).all(|(_, data)| thinned.follows(data)));
        // without the third reference picture
        let third = pictures.iter().enumerate().filter(|(_, (spare, _))| !spare).nth(2).unwrap().0;
        let mut torn = References::default();
        let follows: Vec<bool> = pictures
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != third)
            .map(|(_, (_, data))| torn.follows(data))
            .collect();
        assert_eq!(follows.iter().filter(|follows| !**follows).count(), 1, "{follows:?}");
        assert!(!follows[third]);
    }

    #[test]
    fn bytes_that_are_no_picture_are_a_gap_and_break_nothing() {
        for seed in 0..5_000u32 {
            let bytes: Vec<u8> = (0..seed % 60)
                .map(|at| (seed.wrapping_mul(2_654_435_761).rotate_left(at * 7) ^ at) as u8)
                .collect();
            let mut references = References::default();
            assert!(!references.follows(&bytes));
            let unit = [&[0, 0, 0, 1, 0x67][..], &bytes, &[0, 0, 0, 1, 0x65], &bytes].concat();
            let _ = references.follows(&unit);
        }
    }
}
