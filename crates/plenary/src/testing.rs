//! Knobs and figures for tests, demos and measurements of this project. They may change in any version.

use std::sync::Arc;

use bytes::Bytes;
use plenary_body::{Body, FrameSeen, OnDesk};
use plenary_proto::PeerId;
use plenary_rtc::Shaper;

use crate::room::Room;

/// Knobs of one peer.
#[derive(Clone, Default)]
pub struct Testing {
    /// Processor time to encode and to decode one 1280×720 picture, microseconds. `None` makes a peer that
    /// consents to mix measure its codecs before it joins, for at most 300 ms.
    pub bench: Option<(u32, u32)>,
    /// Network emulation (delay, loss, rate) between this peer and the real network; none by default.
    pub shaper: Shaper,
    /// Seed of the protocol's random draws; a random seed by default.
    pub seed: Option<u64>,
    /// Keeps a log of every picture received or made, for reports. The log of received pictures stops at
    /// 65,536 entries (half an hour, 2 MB); the log of made pictures has no limit.
    pub keep_frame_log: bool,
    /// Changes each packet of media before it is sent, as a forging relay does.
    pub forge: Option<Forge>,
}

/// A change of a packet's payload.
pub type Forge = Arc<dyn Fn(Bytes) -> Bytes + Send + Sync>;

/// Figures of one peer, from [`Room::testing`].
#[derive(Clone, Copy, Debug)]
pub struct Figures<'a>(pub(crate) &'a Room);

impl Figures<'_> {
    /// At a mixer: returns since when the mix contains that speaker.
    pub fn on_desk(self, speaker: &PeerId) -> OnDesk {
        self.0.0.flow.read(|body| body.on_desk(speaker))
    }

    /// Returns the log of program pictures that this peer made; empty without [`Testing::keep_frame_log`].
    pub fn made(self) -> Vec<FrameSeen> {
        self.0.0.flow.read(|body| body.made().to_vec())
    }

    /// Returns the maximum number of peers that this speaker sent its picture to at a time, since the last
    /// election or failover.
    pub fn picture_targets_most(self) -> usize {
        self.0.0.flow.read(Body::targets_most)
    }
}
