//! What a machine gives up when it is short of processor time, and when its codecs fail.

use std::fmt;

use serde::Serialize;

use crate::id::PeerId;

/// Load that a peer sheds while its machine is short of processor time. Each step includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Shedding {
    /// Sheds nothing.
    #[default]
    Nothing,
    /// Takes no new children.
    Children,
    /// Forwards only the pictures that other pictures refer to, which are half of them, and decodes no others.
    HalfThePictures,
    /// Decodes no pictures.
    Decoding,
}

/// How much work a mixer spends on its pictures, in decreasing order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
pub enum Effort {
    /// The configured format at usual encoder settings.
    #[default]
    Full,
    /// The configured format with the encoder's cheapest settings.
    PlainEncoder,
    /// Cheapest settings and only every second picture.
    HalfRate,
    /// Cheapest settings, half the rate, and half the width and height.
    HalfSize,
}

impl Effort {
    /// Returns whether the program's rate or size is reduced, not only its quality.
    pub fn is_short(self) -> bool {
        self >= Effort::HalfRate
    }

    /// Returns the stride: one of every n steps of the program is made.
    pub fn steps_per_picture(self) -> u8 {
        if self.is_short() { 2 } else { 1 }
    }
}

impl fmt::Display for Effort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Effort::Full => "full",
            Effort::PlainEncoder => "plain encoder",
            Effort::HalfRate => "half rate",
            Effort::HalfSize => "half size",
        })
    }
}

/// Reason of a change of the effort.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum EffortWhy {
    /// Percentage of pictures skipped lately, because those before took too long.
    Skipped(u8),
    /// Percentage of time for which the thread that composes and encodes was busy.
    Busy(u8),
    /// A decoder fell so far behind that queued pictures were dropped.
    DecoderBehind,
    /// There was spare time: that thread was busy for only this percentage of the time.
    Room(u8),
}

impl fmt::Display for EffortWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EffortWhy::Skipped(percent) => write!(f, "{percent} % of the pictures were left out"),
            EffortWhy::Busy(percent) => write!(f, "composing and encoding took {percent} % of the time"),
            EffortWhy::DecoderBehind => f.write_str("a decoder could not keep up"),
            EffortWhy::Room(percent) => write!(f, "composing and encoding took {percent} % of the time only"),
        }
    }
}

/// Purpose of a failed codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CodecUse {
    /// At a mixer: encodes the program's pictures.
    Program,
    /// At a mixer: composes the program's pictures.
    Compositor,
    /// At a mixer: mixes and encodes the program's sound.
    ProgramSound,
    /// At a mixer: decodes this speaker's pictures.
    Speaker(PeerId),
    /// At a mixer: decodes a speaker's sound.
    SpeakersSound,
    /// Encodes this peer's own pictures.
    OwnPicture,
    /// Encodes this peer's own sound.
    OwnSound,
    /// Decodes pictures for the application.
    Shown,
    /// Decodes sound for the application.
    Heard,
    /// Measures this machine, before it may mix.
    Bench,
}

/// What followed the failure of a codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum CodecOutcome {
    /// A new instance of the same codec goes on.
    Restarted,
    /// The built-in codec goes on.
    ReplacedByBuiltin,
    /// Nothing is left to try: this peer doesn't mix any more, or sends no more of that kind.
    Withdrawn,
    /// Nothing is left to try at present: a decoder begins anew with each keyframe.
    Missing,
}
