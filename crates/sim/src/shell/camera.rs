//! Camera and microphone of a simulated speaker.

use plenary_body::CaptureCommand;
use plenary_media::Encoded;
use plenary_proto::identity::MediaKind;
use plenary_proto::message::VideoRequest;
use plenary_proto::time::SECOND;

use super::pictures::{Encoder, SOUND_US, spoken, voice};

/// Bitrate of a speaker's sound, bits per second: that of `crates/plenary`.
const SOUND_BPS: u32 = 32_000;
/// Picture format of a speaker before any request.
const UNASKED: VideoRequest = VideoRequest { width: 640, height: 360, fps: 30, bitrate_bps: 600_000 };

/// Source of a speaker's own stream.
#[derive(Debug)]
pub(crate) struct Camera {
    request: VideoRequest,
    encoder: Encoder,
    paused: bool,
    /// Whether the next picture and the next sound are on their way.
    pub(crate) runs: [bool; 2],
}

impl Default for Camera {
    fn default() -> Camera {
        Camera { request: UNASKED, encoder: Encoder::default(), paused: true, runs: [false; 2] }
    }
}

impl Camera {
    /// Carries out a command of the body.
    pub(crate) fn command(&mut self, command: CaptureCommand) {
        match command {
            CaptureCommand::Video(_, request) => self.request = request,
            CaptureCommand::Key(_) => self.encoder.want_key(),
            CaptureCommand::Pause(paused) => self.paused = paused.camera,
            CaptureCommand::Loss(_) | CaptureCommand::Dtx(_) => {}
        }
    }

    /// Whether frames are made.
    pub(crate) fn is_on(&self) -> bool {
        !self.paused
    }

    /// Time between two frames of a kind, in microseconds.
    pub(crate) fn every_us(&self, kind: MediaKind) -> u64 {
        match kind {
            MediaKind::Video => SECOND / u64::from(self.request.fps.max(1)),
            MediaKind::Sound => SOUND_US,
        }
    }

    /// The next frame of a kind.
    pub(crate) fn frame(&mut self, kind: MediaKind, now_us: u64) -> Encoded {
        match kind {
            MediaKind::Video => {
                let every_us = self.every_us(kind);
                spoken(self.encoder.picture(self.request.bitrate_bps, every_us), now_us)
            }
            MediaKind::Sound => voice(SOUND_BPS, now_us),
        }
    }
}
