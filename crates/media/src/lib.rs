//! Media for plenary: codecs, capture, jitter buffers, mixing, RTP payloads and recording. It knows nothing
//! of rooms or networks.
//!
//! Pictures are I420 ([`Picture`]), sound is f32 at 48 kHz. Codecs are reached through the traits of
//! [`codec`], so an application can supply its own; the feature `codecs` adds openh264 and libopus. An
//! encoded picture or sound packet travels as a [`Frame`].
#![warn(clippy::unwrap_used)]

pub mod assembly;
#[cfg(not(target_family = "wasm"))]
mod bench;
#[cfg(feature = "codecs")]
mod builtin;
mod capture;
mod clock;
pub mod codec;
pub mod compose;
#[cfg(not(target_family = "wasm"))]
mod downsample;
mod encode;
mod encoded;
mod frame;
mod guard;
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
pub mod references;
#[cfg(feature = "codecs")]
mod resample;
pub mod scale;
pub mod source;
pub mod speaking;
pub mod sps;

#[cfg(not(target_family = "wasm"))]
pub use bench::{CODEC_BENCH_BUDGET_MAX, CodecBench, codec_bench, codec_bench_again};
#[cfg(feature = "codecs")]
pub use builtin::BuiltinCodecs;
pub use capture::{
    Capture, CaptureCounts, CaptureFormat, HALT_US_MAX, LATE_US_MAX, RawInput, SOUND_FRAMES_WAITING_MAX,
};
pub use clock::Clock;
#[cfg(not(target_family = "wasm"))]
pub use downsample::{DOWNSAMPLED_RATES, Downsampled};
pub use encode::{Encoded, SoundEncoding, VideoEncoding};
pub use encoded::{EncodedChecks, EncodedError};
pub use frame::Frame;
pub use guard::{
    CALL_MAX, CodecFailure, CodecPart, CodecRemedy, GuardedCodecs, HUNG_MAX, MAKE_MAX, RECOVERED, is_builtin,
};
pub use keys::{KEY_INTERVAL_US_MAX, KEY_INTERVAL_US_MIN};
#[cfg(feature = "codecs")]
pub use openh264::TEMPORAL_LAYERS_MAX;
pub use picture::{PICTURE_SIDE_MIN, PICTURE_SIDES_MAX, Picture, PictureView, PlaneView};
pub use png::write_png;
pub use raw::{CAPTURE_OFF_US_MAX, RawError, RawFormat, RawPicture, RawSound, TimeError};
pub use record::{
    FRAGMENT_BYTES_MAX, FRAGMENT_US, PICTURE_WAIT_US_MAX, RecordError, Recorder, RepairError, Repaired,
    is_finished_recording, repair_recording,
};

/// Sample rate of all sound in this crate, in samples per second.
pub const SAMPLE_RATE: u32 = 48_000;
/// Samples per channel of one sound frame: 20 ms.
pub const SOUND_FRAME_LEN: usize = 960;
/// Duration of one sound frame, in microseconds.
pub const SOUND_FRAME_US: u64 = 20_000;
