//! Everything that is done with pictures and sound, and nothing about rooms.
//!
//! Pictures are I420 ([`Picture`]), sound is f32 at 48 kHz. Codecs stand behind the traits of [`codec`], so that
//! an application can bring its own; the feature `codecs` has openh264 and libopus. What an encoder made
//! travels as a [`Frame`].
#![warn(clippy::unwrap_used)]

pub mod assembly;
mod bench;
#[cfg(feature = "codecs")]
mod builtin;
mod capture;
mod clock;
pub mod codec;
pub mod compose;
mod encode;
mod frame;
pub mod jitter;
mod keys;
pub mod level;
pub mod mix;
pub mod mixer;
#[cfg(feature = "codecs")]
mod openh264;
#[cfg(feature = "codecs")]
mod opus;
pub mod payload;
mod picture;
mod png;
mod raw;
mod record;
#[cfg(feature = "codecs")]
mod resample;
pub mod scale;
pub mod source;
pub mod speaking;

pub use bench::{CODEC_BENCH_BUDGET_MAX, CodecBench, codec_bench};
#[cfg(feature = "codecs")]
pub use builtin::BuiltinCodecs;
pub use capture::{
    Capture, CaptureCounts, CaptureFormat, HALT_US_MAX, LATE_US_MAX, RawInput, SOUND_FRAMES_WAITING_MAX,
};
pub use clock::Clock;
pub use encode::{Encoded, SoundEncoding, VideoEncoding};
pub use frame::Frame;
pub use keys::{KEY_INTERVAL_US_MAX, KEY_INTERVAL_US_MIN};
#[cfg(feature = "codecs")]
pub use openh264::TEMPORAL_LAYERS_MAX;
pub use picture::{PICTURE_SIDE_MIN, PICTURE_SIDES_MAX, Picture, PictureView, PlaneView};
pub use png::write_png;
pub use raw::{CAPTURE_OFF_US_MAX, RawError, RawFormat, RawPicture, RawSound};
pub use record::{FRAGMENT_BYTES_MAX, FRAGMENT_US, PICTURE_WAIT_US_MAX, RecordError, Recorder};

/// Samples per second of all sound in this crate.
pub const SAMPLE_RATE: u32 = 48_000;
/// Samples per channel of one sound frame: 20 ms.
pub const SOUND_FRAME_LEN: usize = 960;
/// Duration of one sound frame, microseconds.
pub const SOUND_FRAME_US: u64 = 20_000;
