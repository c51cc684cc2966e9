//! Sources and ages of a candidate's figures, as reports state them.

use plenary::CodecSource;
use serde::Serialize;

/// Ages in milliseconds; null for figures that are unknown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Ages {
    pub(crate) bandwidth: Option<u64>,
    pub(crate) bitrate: Option<u64>,
    pub(crate) encode: Option<u64>,
}

/// Sources; null for figures that are unknown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Origins {
    /// "train" or "media".
    pub(crate) bandwidth: Option<&'static str>,
    /// "media", or in an election "mean" for a candidate without media: it counts as the middle of the others.
    pub(crate) bitrate: Option<&'static str>,
    /// "bench" or "frames".
    pub(crate) encode: Option<&'static str>,
}

/// Returns the name of a source of codec times in reports and messages.
pub(crate) fn codec_word(source: CodecSource) -> &'static str {
    match source {
        CodecSource::Bench => "bench",
        CodecSource::Frames => "frames",
        _ => "other",
    }
}
