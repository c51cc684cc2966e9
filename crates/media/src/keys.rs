//! Keyframe schedule of a stream: the first frame, one each 2 s, and one on request, but at most one
//! requested keyframe per second.

/// Longest interval between keyframes. A peer that joins without a cached GOP or a keyframe request waits
/// this long at most for its first picture.
pub const KEY_INTERVAL_US_MAX: u64 = 2_000_000;
/// Shortest interval between a keyframe and a requested one.
pub const KEY_INTERVAL_US_MIN: u64 = 1_000_000;

/// Keyframe state of one stream. All times are capture times.
#[derive(Debug, Default)]
pub(crate) struct KeyFrames {
    wanted: bool,
    last_us: Option<u64>,
}

impl KeyFrames {
    /// Requests a keyframe. Repeated requests count as one until the next keyframe.
    pub(crate) fn want(&mut self) {
        self.wanted = true;
    }

    /// Makes the next frame a keyframe, as after a change of encoder.
    pub(crate) fn begin_anew(&mut self) {
        self.last_us = None;
    }

    /// Whether the frame captured at `captured_us` must be a keyframe.
    pub(crate) fn is_due(&self, captured_us: u64) -> bool {
        self.last_us.is_none_or(|last_us| {
            let age_us = captured_us.saturating_sub(last_us);
            age_us >= KEY_INTERVAL_US_MAX || (self.wanted && age_us >= KEY_INTERVAL_US_MIN)
        })
    }

    /// Records a keyframe captured at `captured_us`, and clears the request.
    pub(crate) fn made(&mut self, captured_us: u64) {
        *self = KeyFrames { wanted: false, last_us: Some(captured_us) };
    }
}
