//! Bounds on a speaker's pictures: what goes far beyond the mixer's request is dropped before it is decoded.
//!
//! A mixer pays for what its speakers send. One speaker with huge pictures could overload it, and it would be
//! voted out for that. So pictures count only up to a multiple of the request in size, rate and bitrate. The
//! speaker's tile says that its picture is left out; the program goes on.

use plenary_media::Frame;
use plenary_media::sps::coded_pixels;
use plenary_proto::identity::MediaKind;
use plenary_proto::message::VideoRequest;

/// Multiple of the requested pixels from which pictures are dropped. An encoder rounds up to macroblocks.
pub(crate) const PIXELS_MAX: u64 = 2;
/// Pixels that are always allowed: a tile may be smaller than any picture that a camera makes. 320×192.
pub(crate) const PIXELS_MIN: u64 = 320 * 192;
/// Multiple of the requested pictures per second, in halves.
const RATE_HALVES_MAX: u64 = 3;
/// Multiple of the requested bitrate: a third of a picture's bits is a wide margin for keyframes.
const BITS_MAX: u64 = 3;
/// Time by which pictures may come early: pictures behind a repaired one arrive at once (`HOLE_US_MAX`), and a
/// connection may have stood still. A guess.
const EARLY_US: u64 = 2_000_000;
/// Time by which bits may be ahead of the bitrate: two keyframes. A guess.
const BITS_EARLY_US: u64 = 4_000_000;
/// Time that a speaker has to follow a smaller request. So long after its first picture, twice the program's
/// size is the requested one. A guess: the request, an encoder's restart, and what is under way and cached.
const ADAPT_US: u64 = 10_000_000;
/// Time without dropped pictures after which the tile says nothing any more. A guess.
const TOLD_US: u64 = 5_000_000;

/// Bounds on pictures, as multiples of the requests.
#[derive(Clone, Copy, Debug)]
struct Limit {
    pixels: u64,
    /// Interval of pictures, in microseconds.
    every_us: u64,
    bps: u64,
}

impl Limit {
    fn of(asked: VideoRequest) -> Limit {
        let pixels = u64::from(asked.width) * u64::from(asked.height);
        Limit {
            pixels: (pixels * PIXELS_MAX).max(PIXELS_MIN),
            every_us: 2_000_000 / (u64::from(asked.fps.max(1)) * RATE_HALVES_MAX),
            bps: (u64::from(asked.bitrate_bps) * BITS_MAX).max(1),
        }
    }

    /// Returns the more generous of two limits in each respect.
    fn widest(self, other: Limit) -> Limit {
        Limit {
            pixels: self.pixels.max(other.pixels),
            every_us: self.every_us.min(other.every_us),
            bps: self.bps.max(other.bps),
        }
    }
}

/// Pictures of one speaker.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Excess {
    /// Widest limit by the requests of the last [`ADAPT_US`], the present request, and its time.
    limit: Option<(Limit, VideoRequest, u64)>,
    /// Coded pixels of the newest picture that stated its size.
    pixels: u64,
    /// Times up to which the pictures, and the bits, so far are worth.
    pictures_us: u64,
    bits_us: u64,
    /// A picture was dropped: pictures up to the next keyframe reference it.
    broken: bool,
    dropped_us: Option<u64>,
}

impl Excess {
    /// Returns whether a frame is within the bounds of what is asked of its speaker now.
    /// `program` is the format of the program, which a speaker may not have left yet.
    pub(crate) fn admits(
        &mut self,
        frame: &Frame,
        asked: VideoRequest,
        program: VideoRequest,
        now_us: u64,
    ) -> bool {
        if frame.kind != MediaKind::Video {
            return true;
        }
        let limit = self.limit(asked, program, now_us);
        // whether it is a keyframe is the speaker's word
        self.pixels = coded_pixels(&frame.data).unwrap_or(self.pixels);
        // a dropped picture costs nothing
        let pictures_us = self.pictures_us.max(now_us).saturating_add(limit.every_us);
        let cost_us = (frame.data.len() as u64).saturating_mul(8_000_000).div_ceil(limit.bps);
        let bits_us = self.bits_us.max(now_us).saturating_add(cost_us);
        let early_us = |us: u64| us.saturating_sub(now_us);
        let is_within = self.pixels <= limit.pixels
            && early_us(pictures_us) <= EARLY_US
            && early_us(bits_us) <= BITS_EARLY_US;
        if !is_within {
            (self.broken, self.dropped_us) = (true, Some(now_us));
            return false;
        }
        (self.pictures_us, self.bits_us) = (pictures_us, bits_us);
        self.broken &= !frame.identity.key;
        !self.broken
    }

    fn limit(&mut self, asked: VideoRequest, program: VideoRequest, now_us: u64) -> Limit {
        let present = Limit::of(asked);
        let (limit, asked, since_us) = match self.limit {
            Some((limit, known, since_us)) if known == asked => {
                let settled = now_us.saturating_sub(since_us) >= ADAPT_US;
                (if settled { present } else { limit }, asked, since_us)
            }
            Some((limit, ..)) => (limit.widest(present), asked, now_us),
            None => {
                let whole = Limit::of(program);
                (present.widest(Limit { pixels: PIXELS_MAX * whole.pixels, ..whole }), asked, now_us)
            }
        };
        self.limit = Some((limit, asked, since_us));
        limit
    }

    /// Returns the coded pixels of the newest picture that stated its size.
    pub(crate) fn pixels(&self) -> u64 {
        self.pixels
    }

    /// Returns whether pictures were dropped lately.
    pub(crate) fn is_told(&self, now_us: u64) -> bool {
        self.dropped_us.is_some_and(|dropped_us| now_us.saturating_sub(dropped_us) < TOLD_US)
    }
}
