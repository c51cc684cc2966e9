//! When a stream gets its key frames: the first frame, one each 2 s, and one when it is wanted, but not more than
//! one in a second for that.

/// Longest time between key frames: the longest that a newcomer without help waits for a picture.
pub const KEY_INTERVAL_US_MAX: u64 = 2_000_000;
/// Shortest time between a key frame and a wanted one.
pub const KEY_INTERVAL_US_MIN: u64 = 1_000_000;

/// One stream's key frames. Times are capture times.
#[derive(Debug, Default)]
pub(crate) struct KeyFrames {
    wanted: bool,
    last_us: Option<u64>,
}

impl KeyFrames {
    /// Several wishes are one.
    pub(crate) fn want(&mut self) {
        self.wanted = true;
    }

    /// The next frame is a first one again.
    pub(crate) fn begin_anew(&mut self) {
        self.last_us = None;
    }

    /// Whether the frame captured at that time must be a key frame.
    pub(crate) fn is_due(&self, captured_us: u64) -> bool {
        self.last_us.is_none_or(|last_us| {
            let age_us = captured_us.saturating_sub(last_us);
            age_us >= KEY_INTERVAL_US_MAX || (self.wanted && age_us >= KEY_INTERVAL_US_MIN)
        })
    }

    /// The frame captured at that time was one.
    pub(crate) fn made(&mut self, captured_us: u64) {
        *self = KeyFrames { wanted: false, last_us: Some(captured_us) };
    }
}
