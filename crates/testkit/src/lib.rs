//! Test support for plenary: fake codecs ([`fake`]), what hostile peers send ([`hostile`]), and a judge of
//! recordings ([`judge`]). The judge is independent of plenary's own code: its results come from `ffmpeg` and
//! `ffprobe`, which must be installed.

#![warn(clippy::unwrap_used)]

pub mod fake;
pub mod hostile;
pub mod judge;
