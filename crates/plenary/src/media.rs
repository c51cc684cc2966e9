//! Pictures, sound and codecs as an application handles them.
//!
//! [`codec`] has the traits for an application's own encoders and decoders, [`source`] those for its own sources,
//! [`compose`] the layouts of a program.

#[cfg(feature = "codecs")]
pub use plenary_media::BuiltinCodecs;
pub use plenary_media::{
    CaptureCounts, Clock, CodecBench, EncodedError, Frame, Picture, PictureView, PlaneView, RawError,
    RawFormat, RawPicture, RawSound, RecordError, SAMPLE_RATE, SOUND_FRAME_LEN, SOUND_FRAME_US, TimeError,
    codec_bench, write_png,
};

pub mod codec {
    //! Traits of encoders and decoders.
    pub use plenary_media::codec::*;
}

pub mod compose {
    //! Layouts of a program, and the compositor behind them.
    pub use plenary_media::compose::*;
}

pub mod source {
    //! Sources of picture and sound that a room plays.
    pub use plenary_media::source::*;
}
