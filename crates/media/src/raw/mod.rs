//! Raw media from the application: validates it and converts it to the form that encoders take.
//!
//! Invalid media is rejected with a specific [`RawError`] before any of it is stored or sent.

mod cutter;
mod picture;
mod sound;

pub(crate) use cutter::Cutter;
pub use picture::RawPicture;
pub use sound::RawSound;

use crate::SAMPLE_RATE;
#[cfg(feature = "codecs")]
use crate::resample::RATES;

/// Largest difference between a capture time and the clock, in microseconds. A larger one is a mistake, such
/// as another unit or epoch. A guess.
pub const CAPTURE_OFF_US_MAX: u64 = 10_000_000;
/// Smallest accepted greatest common divisor of a sample rate and 48 kHz, in Hz: it keeps the resampler's
/// block within a frame of 20 ms.
#[cfg(feature = "codecs")]
const RATE_IN_COMMON_HZ_MIN: u32 = 50;

/// Format of the media that an application will push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawFormat {
    /// Pictures per second, 1 to 60, as the rate control assumes them. Pictures above that rate are dropped
    /// evenly.
    pub fps: u8,
    /// Channels of the sound, 1 or 2.
    pub channels: u8,
    /// Samples per second and channel: 48 000, and with the feature `codecs` the usual rates from 8 000 to 96
    /// 000.
    pub sample_rate: u32,
}

impl Default for RawFormat {
    /// 30 pictures per second, mono sound at 48 kHz.
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

/// Reason for which raw media was rejected; none of the rejected media was stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RawError {
    /// The declared format isn't supported.
    #[error("{0}")]
    Format(String),
    /// The picture is too small or too large.
    #[error("a picture of {width}x{height}: 16x16 to 3840x2160, or upright, are taken")]
    Size {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
    },
    /// The stride is shorter than a row, so rows would overlap.
    #[error("{plane}: a stride of {stride} is shorter than a row of {row} bytes")]
    Stride {
        /// Name of the plane.
        plane: &'static str,
        /// Bytes from the start of one row to the start of the next.
        stride: usize,
        /// Bytes of one row.
        row: usize,
    },
    /// The plane has too few bytes.
    #[error("{plane}: {len} bytes instead of {wanted}")]
    Plane {
        /// Name of the plane.
        plane: &'static str,
        /// Length of the plane in bytes.
        len: usize,
        /// Bytes that size and stride require, without padding after the last row.
        wanted: usize,
    },
    /// The chunk of sound is empty, or doesn't hold one value for each channel of each sample.
    #[error("{len} values of sound are not one or more for each of {channels} channels")]
    Length {
        /// Number of values, of all channels together.
        len: usize,
        /// Number of channels.
        channels: usize,
    },
    /// The sample is NaN or infinite.
    #[error("sound: value {at} is {value}")]
    NotFinite {
        /// Index of the value among the values of all channels.
        at: usize,
        /// The value as text.
        value: String,
    },
    /// The capture time is wrong.
    #[error(transparent)]
    Time(#[from] TimeError),
    /// The chunk of sound begins before the previous chunk ends.
    #[error("sound captured {by_us} µs before the end of what came before")]
    Overlap {
        /// Length of the overlap in microseconds.
        by_us: u64,
    },
    /// The resampler failed.
    #[error("resampling: {0}")]
    Resampling(String),
    /// The operating system can't start the capture's thread.
    #[error("no thread for the capture: {0}")]
    Io(std::io::ErrorKind),
    /// The capture has stopped, so pushed media would never be encoded.
    #[error("the capture has ended")]
    Closed,
}

/// Reason for which a capture time was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimeError {
    /// The capture time is not later than the previous one.
    #[error("{what} captured at {captured_us} µs, after one of {before_us} µs: capture times must rise")]
    NotRising {
        /// Picture or sound.
        what: &'static str,
        /// Capture time, microseconds since 1970.
        captured_us: u64,
        /// Previous capture time, microseconds since 1970.
        before_us: u64,
    },
    /// The chunk's or picture's time, at its start or end, is too far from the current time.
    #[error("{what} of {captured_us} µs: more than 10 s from {now_us} µs, which it is by the room's clock")]
    Off {
        /// Picture or sound.
        what: &'static str,
        /// Capture time, microseconds since 1970.
        captured_us: u64,
        /// Clock time, microseconds since 1970.
        now_us: u64,
    },
}

/// Checks a capture time: near the clock, and later than the previous capture time.
pub(crate) fn check_time(
    what: &'static str,
    captured_us: u64,
    before_us: Option<u64>,
    now_us: u64,
) -> Result<(), TimeError> {
    if captured_us.abs_diff(now_us) > CAPTURE_OFF_US_MAX {
        return Err(TimeError::Off { what, captured_us, now_us });
    }
    match before_us.filter(|before_us| *before_us >= captured_us) {
        Some(before_us) => Err(TimeError::NotRising { what, captured_us, before_us }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
