//! For plenary's tests: codecs that cost nothing ([`fake`]), and judges that don't trust our own code
//! ([`judge`]): what they say of a recording comes from `ffmpeg` and `ffprobe`, which must be installed.

#![warn(clippy::unwrap_used)]

pub mod fake;
pub mod judge;
