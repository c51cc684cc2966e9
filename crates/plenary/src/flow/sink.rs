//! What comes from links: packets, each to whoever it is for, and wishes for key frames.

use plenary_proto::StreamKind;
use plenary_proto::identity::MediaKind;
use plenary_proto::message::LinkKind;
use plenary_rtc::{LinkId, MediaPacket, PacketSink};

use super::inflow::slot_code;
use super::notices::Notice;
use super::own::OWN_SLOTS;
use super::program::PROGRAM_SLOTS;
use super::solo::SOLO_SLOTS;
use super::{EARLY_MAX, Early, Flow};

/// RTP's header of 12 bytes, and that of its extensions.
const RTP_HEADER_BYTES: usize = 12 + 4;
/// Our extensions: the packet's identity, and the transport-wide number.
const EXTENSIONS_BYTES: usize = 15 + 3;

impl PacketSink for Flow {
    fn packet(&self, link: LinkId, slot: u8, packet: MediaPacket, _arrived_us: u64) {
        let Some(sending) = self.sending() else { return };
        let now_us = self.now_us();
        let mut guard = self.state();
        let state = &mut *guard;
        let Some((peer, link_kind)) = state.by_id.get(&link).copied() else { return };
        state.watches.fed(peer, self.time(now_us));
        let code = slot_code(link_kind, slot);
        let id = packet.identity.stream;
        let streams = state.followed.get(&(peer, code & !1));
        let Some((_, stream_kind)) =
            streams.and_then(|streams| streams.iter().find(|(known, _)| *known == id))
        else {
            if state.early.len() >= EARLY_MAX {
                state.early.pop_front();
            }
            state.early.push_back(Early { peer, code, link, slot, packet, arrived_us: now_us });
            return;
        };
        let kind = if slot.is_multiple_of(2) { MediaKind::Video } else { MediaKind::Sound };
        if *stream_kind == StreamKind::Program {
            let fed = state.asked.take_if(|asked| *asked == peer).is_some();
            if fed {
                state.program.set_feeder(Some(link));
            }
            let arrived = state.program.packet(kind, &packet, link, now_us, sending);
            // a speaker's picture, or that of one who has just been one, comes from its mixer beside the tree
            if arrived.fresh && !state.speaks && state.program.is_fed_by(link) {
                state.tree_bytes += rtp_bytes(&packet);
            }
            if arrived.fresh && kind == MediaKind::Sound && !state.own_mix {
                state.voices.heard(&packet.contributors, now_us);
            }
            let ask = arrived.key_wanted.then(|| state.feeder_link()).flatten();
            state.reception.left_out(arrived.left_out);
            state.hand_over(arrived.frames, now_us, self.time(now_us));
            drop(guard);
            if fed {
                self.notify(Notice::Fed(peer));
            }
            if let Some(link) = ask {
                sending.want_key(link, PROGRAM_SLOTS[0]);
            }
            return;
        }
        let mut inbound = Vec::new();
        let fresh = state.inflow.packet(kind, &packet, Some((link, slot & !1)), now_us, &mut inbound);
        match stream_kind {
            _ if !fresh || kind == MediaKind::Video => {}
            StreamKind::MixMinus => state.voices.heard(&packet.contributors, now_us),
            _ if state.mesh => state.voices.heard_alone(&peer, packet.audio_level, now_us),
            _ => {}
        }
        if fresh {
            let by_trunk = link_kind != LinkKind::Peer;
            state.inflow.forward(kind, &packet, by_trunk, now_us, &state.links, sending);
        }
        let desk = state.desk.clone();
        drop(guard);
        self.use_inbound(desk, inbound);
    }

    fn keyframe_wanted(&self, link: LinkId, slot: u8) {
        let mut state = self.state();
        let Some((peer, kind)) = state.by_id.get(&link).copied() else { return };
        match (kind, slot) {
            (LinkKind::Peer, slot) if slot == PROGRAM_SLOTS[0] => {
                drop(state);
                match self.mixing_desk() {
                    Some(desk) => desk.want_key(),
                    None => self.want_key_for_child(),
                }
            }
            (LinkKind::Peer, slot) if slot == OWN_SLOTS[0] => state.own_key_wanted = true,
            // whoever a speaker is forwarded to lost its picture: the speaker is to be asked, where its stream comes from
            (kind, slot) => {
                let speaker = match kind {
                    LinkKind::Trunk(trunk) => state.inflow.speaker_at(trunk, slot),
                    LinkKind::Peer if slot == SOLO_SLOTS[0] => state.inflow.solo_of(&peer),
                    LinkKind::Peer => None,
                };
                drop(state);
                if let Some(speaker) = speaker {
                    self.want_key_of(&speaker);
                }
            }
        }
    }
}

/// RTP header, extensions and payload.
fn rtp_bytes(packet: &MediaPacket) -> u64 {
    let level = if packet.audio_level.is_some() { 2 } else { 0 };
    let (csrcs, levels) = match packet.contributors.len() {
        0 => (0, 0),
        count => (4 * count, 1 + count),
    };
    let extensions = (EXTENSIONS_BYTES + level + levels).next_multiple_of(4);
    (RTP_HEADER_BYTES + csrcs + extensions + packet.payload.len()) as u64
}
