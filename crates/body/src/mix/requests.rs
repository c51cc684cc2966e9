//! The pictures that a mixer requests of speakers, and those that speakers of a mesh send each other.

use plenary_proto::MixRole;
use plenary_proto::PeerId;
use plenary_proto::message::{ProgramFormat, VideoRequest};

use super::Mix;
use crate::seat::Seat;

/// Bitrate per pixel of a speaker's picture, in millibits: 640×360 at 30 fps in 600 kbit/s (our measurement of
/// quality, media bench).
const MILLIBITS_PER_PIXEL: u64 = 87;
/// Minimum bitrate of a speaker's picture, however small its tile is.
pub(crate) const TILE_BPS_MIN: u64 = 100_000;

/// What a mixer requests of a speaker's pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Requested {
    /// Format of its own stream's picture.
    pub(crate) own: VideoRequest,
    /// Format of the second picture, if the speaker sends two.
    pub(crate) beside: Option<VideoRequest>,
}

impl Mix {
    /// Returns the pictures to request of a speaker.
    pub(crate) fn requests_of(&self, speaker: &PeerId) -> Requested {
        let beside = Seat::beside(speaker);
        let has_two = self.tiles.iter().any(|tile| tile.seat == beside);
        Requested { own: self.request_of(speaker), beside: has_two.then(|| self.request_of(beside)) }
    }

    /// Returns the picture to request of a speaker: at the size of its tile and the frame rate of the mixer, or at
    /// those of the program if its frames are passed through.
    pub(crate) fn request_of(&self, of: impl Into<Seat>) -> VideoRequest {
        let ProgramFormat { width, height, fps, bitrate_bps } = self.format;
        if matches!(self.role, MixRole::Mix { pass_through: true, .. }) {
            return VideoRequest { width, height, fps, bitrate_bps: self.rate_bps };
        }
        let id = of.into().input_id();
        let place = self.figures.places.iter().find(|(known, _)| *known == id);
        let (tile_width, tile_height) =
            place.map_or((width, height), |(_, place)| place.picture_size((width, height)));
        let fps = fps.div_ceil(self.figures.effort.steps_per_picture());
        let bps = bps_of(tile_width, tile_height, fps);
        VideoRequest {
            width: tile_width,
            height: tile_height,
            fps,
            bitrate_bps: bps.min(u64::from(bitrate_bps)) as u32,
        }
    }

    /// Returns the picture that this peer sends to each of `others` in a mesh: the program's area for one
    /// peer, a quarter of it for several, and down to a sixteenth on a thin uplink (`uplink_bps`, if known).
    pub(crate) fn mesh_request(&self, others: usize, uplink_bps: Option<u64>) -> VideoRequest {
        let ProgramFormat { width, height, fps, bitrate_bps } = self.format;
        let spare_bps = uplink_bps.map_or(u64::MAX, |bps| bps / others.max(1) as u64);
        let divided = |by: u16| {
            let (width, height) = ((width / by).max(2) & !1, (height / by).max(2) & !1);
            let bps = bps_of(width, height, fps);
            let bps = if by == 1 { u64::from(bitrate_bps) } else { bps.min(bitrate_bps.into()) };
            VideoRequest { width, height, fps, bitrate_bps: bps.min(spare_bps) as u32 }
        };
        let sizes = if others > 1 { 2..=4 } else { 1..=4 };
        let carried = |picture: &VideoRequest| u64::from(picture.bitrate_bps) < spare_bps;
        sizes.map(divided).find(carried).unwrap_or_else(|| divided(4))
    }
}

/// Returns the bitrate of a speaker's picture of this size.
fn bps_of(width: u16, height: u16, fps: u8) -> u64 {
    let pixels = u64::from(width) * u64::from(height);
    (pixels * u64::from(fps) * MILLIBITS_PER_PIXEL / 1000).max(TILE_BPS_MIN)
}
