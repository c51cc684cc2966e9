//! Towards the links: packets, control messages in pieces, heartbeats.

use std::sync::Arc;

use bytes::Bytes;
use plenary_proto::message::{Heartbeat, Message, Pieces};
use plenary_rtc::{Channel, Command, Destinations, LinkDriver, LinkId, MediaPacket};

/// A handle to the links that whatever makes packets can keep.
#[derive(Clone)]
pub(crate) struct Sending(Arc<dyn LinkDriver>);

impl Sending {
    pub(crate) fn new(driver: Arc<dyn LinkDriver>) -> Sending {
        Sending(driver)
    }

    /// Sends one packet on several links.
    pub(crate) fn forward(&self, to: Destinations, packet: MediaPacket) {
        if !to.is_empty() {
            self.0.submit(Command::Forward { to, packet });
        }
    }

    /// Sends a control message, in pieces where it is long.
    pub(crate) fn control(&self, link: LinkId, message: &Message) {
        for piece in Pieces::of(&message.to_bytes()) {
            self.0.submit(Command::Send { link, channel: Channel::Control, bytes: Bytes::from(piece) });
        }
    }

    pub(crate) fn heartbeat(&self, link: LinkId, heartbeat: &Heartbeat) {
        self.0.submit(Command::Send {
            link,
            channel: Channel::Heartbeat,
            bytes: Bytes::from(heartbeat.to_bytes()),
        });
    }

    /// Asks the other end for a key frame in what it sends in that slot.
    pub(crate) fn want_key(&self, link: LinkId, slot: u8) {
        self.0.submit(Command::KeyframeWanted { link, slot });
    }

    pub(crate) fn submit(&self, command: Command) {
        self.0.submit(command);
    }
}
