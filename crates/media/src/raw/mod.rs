//! What an application hands over unencoded: checked, and brought into the form that encoders take.
//!
//! Whatever is wrong with it is refused with a [`RawError`] that says so, before anything is kept or sent.

mod cutter;
mod picture;
mod sound;

pub(crate) use cutter::Cutter;
pub use picture::RawPicture;
pub use sound::RawSound;

use crate::SAMPLE_RATE;
#[cfg(feature = "codecs")]
use crate::resample::RATES;

/// A capture time this far from the clock is a mistake: another unit, another epoch. A guess.
pub const CAPTURE_OFF_US_MAX: u64 = 10_000_000;
/// The resampler's block must not be longer than a frame of 20 ms: rate and 48 kHz have at least this in common.
#[cfg(feature = "codecs")]
const RATE_IN_COMMON_HZ_MIN: u32 = 50;

/// What an application will hand over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawFormat {
    /// Pictures per second, 1 to 60: what rate control reckons with. More than that are left out, evenly.
    pub fps: u8,
    /// Channels of the sound, 1 or 2.
    pub channels: u8,
    /// Samples per second and channel: 48 000, and with the feature `codecs` the usual rates from 8 000 to 96 000.
    pub sample_rate: u32,
}

impl Default for RawFormat {
    /// 30 pictures a second, mono sound at 48 kHz.
    fn default() -> RawFormat {
        RawFormat { fps: 30, channels: 1, sample_rate: SAMPLE_RATE }
    }
}

impl RawFormat {
    /// # Errors
    /// [`RawError::Format`].
    pub(crate) fn check(&self) -> Result<(), RawError> {
        let RawFormat { fps, channels, sample_rate } = *self;
        if !(1..=60).contains(&fps) {
            return Err(RawError::Format(format!("{fps} pictures per second are not in 1 to 60")));
        }
        if !(1..=2).contains(&channels) {
            return Err(RawError::Format(format!("{channels} channels are not 1 or 2")));
        }
        if sample_rate != SAMPLE_RATE && !is_resampled(sample_rate) {
            return Err(RawError::Format(format!("sound at {sample_rate} Hz is not taken; 48000 Hz is")));
        }
        Ok(())
    }
}

#[cfg(feature = "codecs")]
fn is_resampled(rate: u32) -> bool {
    let in_common = |mut a: u32, mut b: u32| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    RATES.contains(&rate) && in_common(rate, SAMPLE_RATE) >= RATE_IN_COMMON_HZ_MIN
}

#[cfg(not(feature = "codecs"))]
fn is_resampled(_rate: u32) -> bool {
    false
}

/// Why something was refused; nothing of it was kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RawError {
    /// What an application says that it will hand over.
    #[error("{0}")]
    Format(String),
    /// A picture that is too small or too large.
    #[error("a picture of {width}x{height}: 16x16 to 3840x2160, or upright, are taken")]
    Size {
        /// Pixels.
        width: usize,
        /// Pixels.
        height: usize,
    },
    /// Rows that overlap.
    #[error("{plane}: a stride of {stride} is shorter than a row of {row} bytes")]
    Stride {
        /// Which plane.
        plane: &'static str,
        /// Bytes from one row to the next.
        stride: usize,
        /// Bytes of one row.
        row: usize,
    },
    /// A plane that ends early.
    #[error("{plane}: {len} bytes instead of {wanted}")]
    Plane {
        /// Which plane.
        plane: &'static str,
        /// Bytes that it has.
        len: usize,
        /// Bytes that size and stride call for, without padding behind the last row.
        wanted: usize,
    },
    /// Sound of no length, or of a part of a sample.
    #[error("{len} values of sound are not one or more for each of {channels} channels")]
    Length {
        /// Values, of all channels.
        len: usize,
        /// Channels.
        channels: usize,
    },
    /// A sample that is no number, or infinite.
    #[error("sound: value {at} is {value}")]
    NotFinite {
        /// Its index among all channels'.
        at: usize,
        /// As it prints.
        value: String,
    },
    /// Captured no later than what came before.
    #[error("{what} captured at {captured_us} µs, after one of {before_us} µs: capture times must rise")]
    NotRising {
        /// Picture or sound.
        what: &'static str,
        /// Microseconds since 1970.
        captured_us: u64,
        /// The same of what came before.
        before_us: u64,
    },
    /// Captured while the sound before still lasted.
    #[error("sound captured {by_us} µs before the end of what came before")]
    Overlap {
        /// Microseconds.
        by_us: u64,
    },
    /// Captured, or ending, at another time than about now.
    #[error("{what} of {captured_us} µs: more than 10 s from {now_us} µs, which it is by the room's clock")]
    Off {
        /// Picture or sound.
        what: &'static str,
        /// Microseconds since 1970.
        captured_us: u64,
        /// The same of the clock.
        now_us: u64,
    },
    /// The resampler.
    #[error("resampling: {0}")]
    Resampling(String),
    /// The operating system has no thread for the capture.
    #[error("no thread for the capture: {0}")]
    Io(std::io::ErrorKind),
    /// Nobody encodes any more.
    #[error("the capture has ended")]
    Closed,
}

/// Whether a picture or sound may be of that time.
pub(crate) fn check_time(
    what: &'static str,
    captured_us: u64,
    before_us: Option<u64>,
    now_us: u64,
) -> Result<(), RawError> {
    if captured_us.abs_diff(now_us) > CAPTURE_OFF_US_MAX {
        return Err(RawError::Off { what, captured_us, now_us });
    }
    match before_us.filter(|before_us| *before_us >= captured_us) {
        Some(before_us) => Err(RawError::NotRising { what, captured_us, before_us }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
