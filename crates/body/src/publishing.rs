//! What this peer publishes, and what its encoders are told: this body's part in [`crate::published`].

use plenary_proto::message::{Resume, VideoRequest};
use plenary_proto::{Input, PeerId};

use crate::body::{Body, Sources};
use crate::mix::TILE_BPS_MIN;
use crate::outs::{CaptureCommand, Outs, Picture};

impl Body {
    /// Starts this peer's own stream: the encoder learns the requests that came before it.
    pub(crate) fn publish_anew(&mut self, shares: bool, now_us: u64, outs: &mut Outs) {
        self.media.publish_anew(shares);
        self.begin_sources(now_us, outs);
    }

    /// Changes the sources of this peer's own stream. A stream of another kind begins anew.
    pub(crate) fn set_sources(&mut self, sources: Sources, now_us: u64, outs: &mut Outs) {
        self.media.set_own_sources(sources);
        if sources.picture || sources.sound {
            self.begin_sources(now_us, outs);
        }
        self.tell_sends(now_us, outs);
    }

    /// Tells the encoders the requests that came before them, and sends the streams to those that get them.
    fn begin_sources(&mut self, now_us: u64, outs: &mut Outs) {
        self.tell_requests(outs);
        outs.capture.extend(self.own_loss.percent().map(CaptureCommand::Loss));
        self.leave_silence_out(now_us, outs);
        let to = std::mem::take(&mut self.sending_to);
        self.send_own(to, now_us, outs);
        if let Some(home) = self.beside_to {
            self.media.send_beside((home, None), now_us, outs);
        }
    }

    /// Sends this peer's own stream to these peers from now on.
    pub(crate) fn send_own(&mut self, to: Vec<(PeerId, Option<Resume>)>, now_us: u64, outs: &mut Outs) {
        self.sending_to = to.iter().map(|(peer, _)| (*peer, None)).collect();
        if self.media.publishes() {
            outs.capture.push(CaptureCommand::Pause(self.media.paused(!to.is_empty())));
            self.media.send_own(to, now_us, outs);
        }
    }

    /// Sends the picture beside this peer's own to that home from now on. With a first home, or without one any more,
    /// the streams begin anew, if there are two pictures.
    pub(crate) fn send_beside(&mut self, to: Option<(PeerId, Option<Resume>)>, now_us: u64, outs: &mut Outs) {
        self.beside_to = to.map(|(home, _)| home);
        if self.media.set_has_home(to.is_some()) {
            self.begin_sources(now_us, outs);
        } else if let Some(to) = to {
            self.media.send_beside(to, now_us, outs);
        }
    }

    /// Tells the encoders of the pictures what is requested of them.
    pub(crate) fn tell_requests(&mut self, outs: &mut Outs) {
        let requests @ [own, beside] = self.requests();
        self.told_requests = requests;
        outs.capture.extend(own.map(|video| CaptureCommand::Video(self.media.own_picture(), video)));
        outs.capture.extend(beside.map(|video| CaptureCommand::Video(Picture::Share, video)));
    }

    /// Tells them again where the uplink has turned out to carry more or less of two pictures.
    pub(crate) fn renew_requests(&mut self, outs: &mut Outs) {
        if self.media.has_beside() && self.told_requests != self.requests() {
            self.tell_requests(outs);
        }
    }

    /// Returns what is requested of this peer's own picture, and of the one beside it. On an uplink that is known and
    /// doesn't carry both, the camera's gives way.
    fn requests(&self) -> [Option<VideoRequest>; 2] {
        let beside = self.requested_beside.filter(|_| self.media.has_beside());
        let is_far = self.beside_to.is_some_and(|home| home != self.me);
        let uplink_bps = self.brain.uplink_bps().filter(|_| is_far);
        let own = self.requested.map(|own| match (beside, uplink_bps) {
            (Some(beside), Some(uplink_bps)) => beside_a_share(own, beside, uplink_bps),
            _ => own,
        });
        [own, beside]
    }

    /// Tells the brain what this peer sends, when that has changed.
    pub(crate) fn tell_sends(&mut self, now_us: u64, outs: &mut Outs) {
        let (muted, shares) = self.media.sends(now_us);
        if std::mem::replace(&mut self.told_sends, (muted, shares)) != (muted, shares) {
            self.input(now_us, Input::Sends { muted, shares }, outs);
        }
    }

    /// Sends a command to this peer's encoders, once it publishes.
    pub(crate) fn capture(&self, command: CaptureCommand, outs: &mut Outs) {
        if self.media.publishes() {
            outs.capture.push(command);
        }
    }
}

/// Returns what is left to the camera beside a screen: the screen's picture has its whole rate, the camera's what the
/// uplink carries beside that, and the least rate of a tile in any case.
fn beside_a_share(own: VideoRequest, share: VideoRequest, uplink_bps: u64) -> VideoRequest {
    let left_bps = uplink_bps.saturating_sub(share.bitrate_bps.into()).max(TILE_BPS_MIN);
    VideoRequest { bitrate_bps: left_bps.min(own.bitrate_bps.into()) as u32, ..own }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_thin_uplink_the_camera_gives_way_to_the_screen_beside_it() {
        let video = |bitrate_bps| VideoRequest { width: 640, height: 360, fps: 30, bitrate_bps };
        let left = |uplink_bps| beside_a_share(video(600_000), video(900_000), uplink_bps).bitrate_bps;
        assert_eq!(left(10_000_000), 600_000, "both fit");
        assert_eq!(left(1_500_000), 600_000);
        assert_eq!(left(1_200_000), 300_000);
        assert_eq!(left(500_000), 100_000, "the least rate of a tile");
    }
}
