//! Size of an H.264 picture and length of its number, as its sequence parameter set states them (H.264, 7.3.2.1.1).
//!
//! Bytes of other peers are read: every value is checked, and none is believed beyond `MACROBLOCKS_MAX`.

use plenary_proto::identity::h264::nals;

/// NAL unit types of a sequence parameter set, and of one for further layers, which begins alike.
const SPS: [u8; 2] = [7, 15];
/// Profiles with chroma format, bit depths and scaling lists (H.264, 7.3.2.1.1).
const HIGH_PROFILES: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
/// Maximum of log2_max_frame_num_minus4 (H.264, 7.4.2.1.1).
const FRAME_NUM_BITS_MORE_MAX: u32 = 12;
/// Number of values that a reference frame cycle may have (H.264, 7.4.2.1.1).
const CYCLE_LEN_MAX: u32 = 255;
/// Maximum macroblocks in a row or column: 65,536 pixels, more than any level allows.
const MACROBLOCKS_MAX: u32 = 4_096;
/// Length of a macroblock's side in pixels.
const MACROBLOCK: u64 = 16;

/// Returns the number of coded pixels that an access unit states, the largest if it states several sizes, and
/// `u64::MAX` if it states one that can't be read: a decoder might. `None` if it states none.
pub fn coded_pixels(access_unit: &[u8]) -> Option<u64> {
    let sets = nals(access_unit).filter(|nal| SPS.contains(&nal.kind()));
    sets.map(|nal| Bits::of(nal.bytes).pixels().unwrap_or(u64::MAX)).max()
}

/// Returns the number of bits of frame_num that the first sequence parameter set of an access unit states, if one
/// states it.
pub(crate) fn frame_num_bits(access_unit: &[u8]) -> Option<u32> {
    let set = nals(access_unit).find(|nal| nal.kind() == SPS[0])?;
    Bits::of(set.bytes).read_frame_num_bits()
}

/// Reader of a NAL unit's bits, without emulation prevention.
pub(crate) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    zeros: u8,
    current: u8,
    left: u32,
}

impl Bits<'_> {
    pub(crate) fn of(bytes: &[u8]) -> Bits<'_> {
        Bits { bytes, at: 0, zeros: 0, current: 0, left: 0 }
    }

    fn byte(&mut self) -> Option<u8> {
        let mut byte = *self.bytes.get(self.at)?;
        self.at += 1;
        if self.zeros >= 2 && byte == 3 {
            byte = *self.bytes.get(self.at)?;
            (self.at, self.zeros) = (self.at + 1, 0);
        }
        self.zeros = if byte == 0 { self.zeros.saturating_add(1) } else { 0 };
        Some(byte)
    }

    fn bit(&mut self) -> Option<bool> {
        if self.left == 0 {
            (self.current, self.left) = (self.byte()?, 8);
        }
        self.left -= 1;
        Some(self.current >> self.left & 1 == 1)
    }

    fn bits(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0u32, |number, _| Some(number << 1 | u32::from(self.bit()?)))
    }

    /// Reads an Exp-Golomb number of at most 31 bits.
    fn number(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 30 {
                return None;
            }
        }
        Some((1u32 << zeros) - 1 + self.bits(zeros)?)
    }

    fn skip_numbers(&mut self, count: u32) -> Option<()> {
        (0..count).try_for_each(|_| self.number().map(|_| ()))
    }

    /// Skips a scaling list of this length.
    fn skip_scaling_list(&mut self, len: u32) -> Option<()> {
        let (mut last, mut next) = (8i64, 8i64);
        for _ in 0..len {
            if next != 0 {
                let code = i64::from(self.number()?);
                let delta = if code % 2 == 0 { -(code / 2) } else { code / 2 + 1 };
                next = (last + delta).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
        Some(())
    }

    /// Reads a slice's header up to frame_num, which has that many bits. Pictures of separate colour planes have
    /// another header, and a wrong number.
    pub(crate) fn frame_num(mut self, bits: u32) -> Option<u32> {
        self.bits(8)?; // NAL unit header
        self.skip_numbers(3)?; // first macroblock, type, picture parameter set
        self.bits(bits)
    }

    /// Reads the beginning of a slice's header: its first macroblock, and slice_type.
    pub(crate) fn slice(mut self) -> Option<(u32, u32)> {
        self.bits(8)?; // NAL unit header
        Some((self.number()?, self.number()?))
    }

    /// Reads a sequence parameter set up to the number of bits of frame_num: 4 to 16.
    fn read_frame_num_bits(&mut self) -> Option<u32> {
        self.bits(8)?; // header
        let profile = self.bits(8)? as u8;
        self.bits(16)?; // constraints, level
        self.number()?; // id
        if HIGH_PROFILES.contains(&profile) {
            let chroma_format = self.number()?;
            if chroma_format == 3 {
                self.bit()?;
            }
            self.skip_numbers(2)?; // bit depths
            self.bit()?;
            if self.bit()? {
                for list in 0..if chroma_format == 3 { 12 } else { 8 } {
                    if self.bit()? {
                        self.skip_scaling_list(if list < 6 { 16 } else { 64 })?;
                    }
                }
            }
        }
        self.number().filter(|more| *more <= FRAME_NUM_BITS_MORE_MAX).map(|more| 4 + more)
    }

    /// Reads a sequence parameter set up to the size.
    fn pixels(mut self) -> Option<u64> {
        self.read_frame_num_bits()?;
        match self.number()? {
            0 => self.skip_numbers(1)?,
            1 => {
                self.bit()?;
                self.skip_numbers(2)?;
                let cycle = self.number().filter(|len| *len <= CYCLE_LEN_MAX)?;
                self.skip_numbers(cycle)?;
            }
            _ => {}
        }
        self.number()?; // reference frames
        self.bit()?;
        let side = |number: u32| (number < MACROBLOCKS_MAX).then(|| (u64::from(number) + 1) * MACROBLOCK);
        let width = side(self.number()?)?;
        let rows = side(self.number()?)?;
        let height = if self.bit()? { rows } else { 2 * rows };
        Some(width * height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(sps: &[u8]) -> Vec<u8> {
        [&[0, 0, 0, 1], sps, &[0, 0, 0, 1, 0x65, 0x88, 0x80]].concat()
    }

    #[test]
    fn the_size_is_that_of_the_parameter_set() {
        // baseline 1280×720 by openh264; high 1920×1088 by x264
        let baseline = [0x67, 0x42, 0xc0, 0x1f, 0x8c, 0x8d, 0x40, 0x28, 0x02, 0xdc, 0x80];
        assert_eq!(coded_pixels(&unit(&baseline)), Some(1280 * 720));
        let high = [0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0x84];
        assert_eq!(coded_pixels(&unit(&high)), Some(1920 * 1088));
        assert_eq!(coded_pixels(&[0, 0, 0, 1, 0x61, 0x88]), None);
    }

    #[test]
    fn the_largest_stated_size_counts_and_an_unreadable_one_exceeds_all() {
        let small = [0x67, 0x42, 0xc0, 0x1f, 0x8c, 0x8d, 0x40, 0x28, 0x02, 0xdc, 0x80];
        let unread = [0x67, 0x42, 0xc0, 0x1f, 0x80, 0, 0, 0, 1];
        let layer = [0x6f, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0x84];
        for (other, pixels) in [(&unread[..], u64::MAX), (&layer, 1920 * 1088)] {
            for sets in [[other, &small], [&small, other]] {
                let unit = sets.map(|set| [&[0, 0, 0, 1], set].concat()).concat();
                assert_eq!(coded_pixels(&unit), Some(pixels));
            }
        }
    }

    #[test]
    fn no_bytes_break_the_reader() {
        for seed in 0..20_000u32 {
            let bytes: Vec<u8> = (0..seed % 40)
                .map(|at| (seed.wrapping_mul(2_654_435_761).rotate_left(at * 7) ^ at) as u8)
                .collect();
            let sps = [&[0x67][..], &bytes].concat();
            let pixels = coded_pixels(&unit(&sps));
            assert!(pixels.is_some_and(|pixels| pixels <= 1 << 33 || pixels == u64::MAX));
        }
        for cut in [[0u8; 40], [0xff; 40], [3; 40]] {
            let _ = coded_pixels(&unit(&[&[0x67, 100][..], &cut].concat()));
        }
    }
}
