//! Reception statistics of the program, measured at the hand-over to the application.

use std::collections::VecDeque;

use plenary_media::Frame;
use plenary_proto::StreamId;
use plenary_proto::identity::{FrameIdentity, MediaKind};

/// Number of samples kept of each distribution: 2.3 minutes of pictures at 30 a second.
const SAMPLES_MAX: usize = 4096;
/// Maximum number of frames in the log: half an hour.
const LOG_MAX: usize = 65_536;
/// Minimum length of a gap.
const GAP_US_MIN: u64 = 100_000;
const GAPS_MAX: usize = 1024;
/// Latency above which a picture counts as late.
const LATE_US: u64 = 1_000_000;
/// Latency above which two clocks differ: no frame waits that long. The room's time allows for as much (`AGREES_S`).
const LATENCY_US_MAX: u64 = 30_000_000;
/// Maximum age of the sound that a picture is compared with.
const SKEW_AGE_US_MAX: u64 = 200_000;

/// Median and 95th percentile of the last few thousand samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Spread {
    /// Median, milliseconds.
    pub p50_ms: f64,
    /// 95th percentile, milliseconds.
    pub p95_ms: f64,
}

impl Spread {
    /// Computes both from samples in microseconds; `None` without samples.
    pub fn of_us(samples: impl IntoIterator<Item = i64>) -> Option<Spread> {
        let mut samples: Vec<i64> = samples.into_iter().collect();
        samples.sort_unstable();
        let last = samples.len().checked_sub(1)?;
        let at = |percent: usize| samples[last * percent / 100] as f64 / 1000.0;
        Some(Spread { p50_ms: at(50), p95_ms: at(95) })
    }
}

/// Wait for the next picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Gap {
    /// Time of the picture before the gap, microseconds since 1970.
    pub from_us: u64,
    /// Time of the picture after the gap, microseconds since 1970.
    pub to_us: u64,
}

/// Log entry of one picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameSeen {
    /// Stream of the picture.
    pub stream: StreamId,
    /// Frame number in the stream.
    pub number: u32,
    /// Capture time by the originator's clock, microseconds since 1970.
    pub captured_us: u64,
    /// Time of the hand-over to the application, by this peer's clock; at the originator, of making the
    /// picture.
    pub at_us: u64,
}

impl FrameSeen {
    pub(crate) fn new(identity: &FrameIdentity, at_us: u64) -> FrameSeen {
        let FrameIdentity { stream, number, captured_us, .. } = *identity;
        FrameSeen { stream, number, captured_us, at_us }
    }
}

/// Reception statistics of the program, or in a mesh of the other speakers' streams.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ReceptionStats {
    /// Time from the call to join to the first decodable picture, milliseconds.
    pub first_frame_ms: Option<f64>,
    /// Number of pictures handed to the application, or withheld from it for a [`Solo`](crate::Solo).
    pub frames_received: u64,
    /// Number of pictures expected by frame numbers, from the first picture on.
    pub frames_expected: u64,
    /// Number of pictures that peers upstream left out, because a link didn't carry all pictures.
    pub frames_left_out: u64,
    /// Number of pictures handed over more than a second after capture.
    pub frames_late: u64,
    /// Degradations of the program, as reported to the stage for elections: keyframes that had to be
    /// requested, freezes of 300 ms and more, and stretches of 4 s with less than 75 % of the pictures.
    pub degradations: u64,
    /// Longest wait between pictures, including an ongoing one, milliseconds.
    pub longest_video_gap_ms: f64,
    /// Longest wait between packets of sound, including an ongoing one, milliseconds; `None` before any.
    pub longest_audio_gap_ms: Option<f64>,
    /// Latency of pictures from capture to hand-over; correct if the clocks of originator and viewer agree.
    pub latency: Option<Spread>,
    /// Latency of sound from capture to hand-over: the program's at a viewer, the mix-minus at a speaker. A player's
    /// jitter buffer comes on top.
    pub sound_latency: Option<Spread>,
    /// Absolute difference between the latencies of a picture and of the newest sound.
    pub av_skew: Option<Spread>,
    /// Bytes of the program's packets from the tree (RTP header, extensions, payload), each once. Excludes
    /// the picture that a speaker gets from its mixer.
    pub program_bytes: u64,
    /// Last 1024 waits of at least 100 ms between pictures.
    pub gaps: Vec<Gap>,
    /// Log of the first 65,536 pictures, if the peer keeps one.
    pub log: Vec<FrameSeen>,
}

/// Collects the reception statistics.
#[derive(Debug)]
pub(crate) struct Reception {
    joined_us: u64,
    keeps_log: bool,
    stats: ReceptionStats,
    latencies_us: VecDeque<i64>,
    sound_latencies_us: VecDeque<i64>,
    skews_us: VecDeque<i64>,
    video: Option<(StreamId, u32, u64)>,
    sound_at_us: Option<u64>,
    sound_latency_us: Option<(u64, i64)>,
}

fn keep<T>(samples: &mut VecDeque<T>, sample: T, most: usize) {
    if samples.len() >= most {
        samples.pop_front();
    }
    samples.push_back(sample);
}

/// Returns the time since the capture of a frame, by two clocks; an originator may state any capture time.
fn latency_us(frame: &Frame, now_us: u64) -> i64 {
    now_us.wrapping_sub(frame.identity.captured_us).cast_signed()
}

/// Returns whether the difference of two clocks is a latency, or says only that a clock is wrong.
fn is_known(latency_us: i64) -> bool {
    latency_us.unsigned_abs() <= LATENCY_US_MAX
}

impl Reception {
    pub(crate) fn new(joined_us: u64, keeps_log: bool) -> Reception {
        Reception {
            joined_us,
            keeps_log,
            stats: ReceptionStats::default(),
            latencies_us: VecDeque::new(),
            sound_latencies_us: VecDeque::new(),
            skews_us: VecDeque::new(),
            video: None,
            sound_at_us: None,
            sound_latency_us: None,
        }
    }

    /// Records the hand-over of a frame to the application.
    pub(crate) fn frame(&mut self, frame: &Frame, now_us: u64) {
        match frame.kind {
            MediaKind::Video => self.picture(frame, now_us),
            MediaKind::Sound => self.sound(frame, now_us),
        }
    }

    /// Counts pictures that were left out upstream.
    pub(crate) fn left_out(&mut self, count: u64) {
        self.stats.frames_left_out += count;
    }

    /// Counts degradations of the program.
    pub(crate) fn degraded(&mut self, count: u16) {
        self.stats.degradations += u64::from(count);
    }

    fn picture(&mut self, frame: &Frame, now_us: u64) {
        let identity = &frame.identity;
        let latency_us = latency_us(frame, now_us);
        let expected = match self.video {
            Some((stream, number, _)) if stream == identity.stream => identity.number.saturating_sub(number),
            _ => 1,
        };
        if let Some((_, _, at_us)) = self.video {
            let gap_us = now_us.saturating_sub(at_us);
            let longest_us = self.stats.longest_video_gap_ms.max(gap_us as f64 / 1000.0);
            self.stats.longest_video_gap_ms = longest_us;
            if gap_us >= GAP_US_MIN {
                if self.stats.gaps.len() >= GAPS_MAX {
                    self.stats.gaps.remove(0);
                }
                self.stats.gaps.push(Gap { from_us: at_us, to_us: now_us });
            }
        } else {
            self.stats.first_frame_ms = Some(now_us.saturating_sub(self.joined_us) as f64 / 1000.0);
        }
        self.video = Some((identity.stream, identity.number, now_us));
        self.stats.frames_received += 1;
        self.stats.frames_expected += u64::from(expected);
        if is_known(latency_us) {
            self.stats.frames_late += u64::from(latency_us > LATE_US as i64);
            keep(&mut self.latencies_us, latency_us, SAMPLES_MAX);
        }
        if let Some((at_us, sound_us)) = self.sound_latency_us
            && now_us.saturating_sub(at_us) <= SKEW_AGE_US_MAX
        {
            keep(&mut self.skews_us, latency_us.saturating_sub(sound_us).saturating_abs(), SAMPLES_MAX);
        }
        if self.keeps_log && self.stats.log.len() < LOG_MAX {
            let &FrameIdentity { stream, number, captured_us, .. } = identity;
            self.stats.log.push(FrameSeen { stream, number, captured_us, at_us: now_us });
        }
    }

    fn sound(&mut self, frame: &Frame, now_us: u64) {
        self.stats.longest_audio_gap_ms = self.longest_audio_gap_ms(now_us);
        self.sound_at_us = Some(now_us);
        let latency_us = latency_us(frame, now_us);
        self.sound_latency_us = Some((now_us, latency_us));
        if is_known(latency_us) {
            keep(&mut self.sound_latencies_us, latency_us, SAMPLES_MAX);
        }
    }

    fn longest_audio_gap_ms(&self, now_us: u64) -> Option<f64> {
        let gap_ms = now_us.saturating_sub(self.sound_at_us?) as f64 / 1000.0;
        Some(self.stats.longest_audio_gap_ms.unwrap_or(0.0).max(gap_ms))
    }

    /// Returns the statistics so far; an ongoing wait counts up to `now_us`.
    pub(crate) fn stats(&self, now_us: u64) -> ReceptionStats {
        let mut stats = self.stats.clone();
        stats.latency = Spread::of_us(self.latencies_us.iter().copied());
        stats.sound_latency = Spread::of_us(self.sound_latencies_us.iter().copied());
        stats.av_skew = Spread::of_us(self.skews_us.iter().copied());
        if let Some((_, _, at_us)) = self.video {
            let waiting_ms = now_us.saturating_sub(at_us) as f64 / 1000.0;
            stats.longest_video_gap_ms = stats.longest_video_gap_ms.max(waiting_ms);
        }
        stats.longest_audio_gap_ms = self.longest_audio_gap_ms(now_us);
        stats
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn the_difference_of_wrong_clocks_is_no_latency() {
        for ahead_us in [3_600_000_000i64, -3_600_000_000] {
            let mut reception = Reception::new(0, false);
            for number in 1..=10 {
                let captured_us = 10_000_000_000 + u64::from(number) * 33_000;
                let identity = FrameIdentity::single(StreamId([1; 8]), number, captured_us);
                let (kind, data) = (MediaKind::Video, Bytes::from_static(&[0xfc]));
                let now_us = captured_us.saturating_add_signed(ahead_us);
                reception.frame(&Frame { kind, identity, data, level: None }, now_us);
            }
            let stats = reception.stats(10_000_000_000);
            assert_eq!((stats.frames_received, stats.frames_late, stats.latency), (10, 0, None));
        }
    }

    #[test]
    fn latencies_of_pictures_and_sound_are_counted_apart() {
        let mut reception = Reception::new(0, false);
        for number in 1..=100 {
            let captured_us = u64::from(number) * 20_000;
            let identity =
                FrameIdentity { key: true, ..FrameIdentity::single(StreamId([1; 8]), number, captured_us) };
            let mut arrives = |kind, after_us| {
                let frame = Frame { kind, identity, data: Bytes::from_static(&[0xfc]), level: None };
                reception.frame(&frame, captured_us + after_us);
            };
            arrives(MediaKind::Video, 80_000);
            arrives(MediaKind::Sound, if number > 90 { 60_000 } else { 40_000 });
        }
        let stats = reception.stats(3_000_000);
        assert_eq!(stats.latency, Some(Spread { p50_ms: 80.0, p95_ms: 80.0 }));
        assert_eq!(stats.sound_latency, Some(Spread { p50_ms: 40.0, p95_ms: 60.0 }));
    }

    #[test]
    fn an_ongoing_gap_is_counted_and_sound_that_never_arrived_has_no_gap() {
        let mut reception = Reception::new(0, false);
        assert_eq!(reception.stats(5_000_000).longest_audio_gap_ms, None);
        for (number, at_us) in [(1, 1_000_000), (2, 1_020_000), (3, 1_100_000)] {
            let stream = StreamId([1; 8]);
            let identity = FrameIdentity { key: true, ..FrameIdentity::single(stream, number, at_us) };
            for kind in [MediaKind::Video, MediaKind::Sound] {
                reception
                    .frame(&Frame { kind, identity, data: Bytes::from_static(&[0xfc]), level: None }, at_us);
            }
        }
        for (now_us, longest_ms) in [(1_110_000, 80.0), (3_100_000, 2000.0)] {
            let stats = reception.stats(now_us);
            assert_eq!(stats.longest_audio_gap_ms, Some(longest_ms));
            assert_eq!(stats.longest_video_gap_ms, longest_ms);
        }
    }
}
