//! Test support for plenary: fake codecs ([`fake`]), what hostile peers send ([`hostile`]), first messages on a link
//! ([`first_messages`]), and a judge of recordings ([`judge`]). The judge is independent of plenary's own code: its
//! results come from `ffmpeg` and `ffprobe`, which must be installed.

#![warn(clippy::unwrap_used)]

pub mod fake;
pub mod first_messages;
pub mod hostile;
pub mod judge;
