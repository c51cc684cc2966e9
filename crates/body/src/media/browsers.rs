//! Media of browsers: their packets at native peers, and whole frames at a page.

use bytes::Bytes;
use plenary_proto::identity::MediaKind;
use plenary_proto::link_layout::is_video;
use plenary_proto::message::{LinkKind, PEER_SLOTS};
use plenary_proto::packet::{
    BrowserPacket, CONTRIBUTORS_MAX, Contributor, Contributors, LinkId, MediaPacket,
};

use super::Media;
use crate::outs::Outs;
use crate::rebuild::{identified, originals};

impl Media {
    /// Handles a packet of a browser in a slot of a link.
    pub(crate) fn browser_packet(
        &mut self,
        link: LinkId,
        slot: u8,
        packet: BrowserPacket,
        now_us: u64,
        outs: &mut Outs,
    ) {
        if self.feeds_here(link, slot, now_us) {
            for packet in self.rebuild.packet(link, slot, packet, now_us) {
                self.packet(link, slot, packet, now_us, outs);
            }
        }
    }

    /// Handles a whole frame that arrived in a slot of a link, at a page, which gets frames from its browser. The frame is
    /// packetized anew: caches and children get the originator's packets.
    pub(crate) fn frame(
        &mut self,
        (link, slot): (LinkId, u8),
        (data, level, csrcs): (Bytes, Option<u8>, &[u32]),
        now_us: u64,
        outs: &mut Outs,
    ) {
        if !self.feeds_here(link, slot, now_us) {
            return;
        }
        let kind = if is_video(slot) { MediaKind::Video } else { MediaKind::Sound };
        let Some(frame) = identified(kind, data, level) else { return };
        // a page learns the contributors, not their levels
        let contributor = |csrc: &u32| Contributor { csrc: *csrc, level: 127 };
        let contributors: Contributors = csrcs.iter().take(CONTRIBUTORS_MAX).map(contributor).collect();
        for packet in originals(&frame) {
            let packet = MediaPacket { contributors: contributors.clone(), ..packet };
            self.packet(link, slot, packet, now_us, outs);
        }
    }

    /// Records that media arrived. Returns whether the slot is one of an ordinary link.
    fn feeds_here(&mut self, link: LinkId, slot: u8, now_us: u64) -> bool {
        let peer = self.links.of(link).filter(|_| usize::from(slot) < PEER_SLOTS);
        let Some((peer, LinkKind::Peer)) = peer else { return false };
        self.watches.fed(peer, self.watch_time(now_us));
        true
    }
}
