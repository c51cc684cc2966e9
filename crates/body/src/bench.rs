//! A relay and a source of packets for benchmarks, without a room around them.

use bytes::{BufMut as _, Bytes, BytesMut};
use plenary_media::Encoded;
use plenary_proto::identity::MediaKind;
use plenary_proto::message::{LinkKind, StreamUse};
use plenary_proto::packet::{Contributors, LinkId, MediaPacket};
use plenary_proto::{InForce, PeerId, Rank, RoomId, Senders, StreamKind, StreamSpec};

use crate::maker::Maker;
use crate::media::{Media, MediaConfig};
use crate::outs::Outs;

const ROOM: RoomId = RoomId([0; 16]);
const MIXER: PeerId = PeerId([1; 32]);
const RANK: Rank = Rank { term: 1, failover_count: 0 };
/// Frames from one keyframe to the next.
const GROUP: u64 = 25;

fn maker() -> Maker {
    Maker::new(&ROOM, MIXER, StreamKind::Program, RANK, [0; 8])
}

/// Makes a program of pictures of equal size.
pub struct Source {
    maker: Maker,
    frame_len: usize,
    frames: u64,
}

impl Source {
    /// Returns a source of pictures of that many bytes.
    pub fn new(frame_len: usize) -> Source {
        Source { maker: maker(), frame_len, frames: 0 }
    }

    /// Returns the packets of the next picture, captured at that time.
    pub fn frame(&mut self, captured_us: u64) -> Vec<MediaPacket> {
        let key = self.frames.is_multiple_of(GROUP);
        self.frames += 1;
        let encoded = Encoded {
            kind: MediaKind::Video,
            data: access_unit(key, self.frame_len),
            captured_us,
            key,
            temporal: 0,
            level: None,
        };
        self.maker.make(&encoded, &Contributors::new()).map(|(_, packets)| packets).unwrap_or_default()
    }
}

/// Returns an H.264 access unit whose slice data are zero-free filler; only its headers are valid.
fn access_unit(key: bool, len: usize) -> Bytes {
    const START_CODE: [u8; 4] = [0, 0, 0, 1];
    let mut unit = BytesMut::new();
    if key {
        for parameter_set in [&[0x67, 0x42, 0xc0, 0x1f, 0xda][..], &[0x68, 0xce, 0x38, 0x80]] {
            unit.put_slice(&START_CODE);
            unit.put_slice(parameter_set);
        }
    }
    unit.put_slice(&START_CODE);
    unit.put_u8(if key { 0x65 } else { 0x61 });
    unit.put_bytes(0x41, len);
    unit.freeze()
}

/// The body of a relay that is fed and feeds children.
pub struct Relay {
    media: Media,
    /// Link with the parent.
    pub upstream: LinkId,
    /// Links with the children.
    pub downstream: Vec<LinkId>,
}

impl Relay {
    /// Returns a relay of the program of [`Source`], with links that are up. Links are numbered from 1, the parent's
    /// first.
    pub fn new(children: usize, now_us: u64) -> Relay {
        let me = PeerId([2; 32]);
        let config = MediaConfig {
            me,
            room: ROOM,
            zero_us: 0,
            keeps_log: false,
            views: false,
            speaks: false,
            is_page: false,
            seed: 0,
            keys: None,
        };
        let (mut media, mut outs) = (Media::new(config, now_us), Outs::default());
        let mut link = |media: &mut Media, peer| {
            let link = media.links.open(peer, LinkKind::Peer);
            media.link_up(link, &mut outs);
            link
        };
        let upstream = link(&mut media, MIXER);
        let children: Vec<_> = (0..children).map(child).collect();
        let downstream = children.iter().map(|child| link(&mut media, *child)).collect();
        let Maker { id, spec, .. } = maker();
        let spec: StreamSpec = spec;
        media.program.set_in_force(InForce { rank: RANK, mixers: vec![MIXER] });
        media.set_sources(Senders { program: vec![MIXER], ..Senders::default() });
        media.watch(Some(MIXER), None, now_us);
        media.follow(MIXER, StreamUse { slot: 0, spec }, id, now_us, &mut outs);
        for child in children {
            media.serve(child, None, true, now_us, &mut outs);
        }
        Relay { media, upstream, downstream }
    }

    /// Handles a packet, as [`Body::packet`](crate::Body::packet) does.
    pub fn packet(&mut self, now_us: u64, link: LinkId, slot: u8, packet: MediaPacket, outs: &mut Outs) {
        self.media.packet(link, slot, packet, now_us, outs);
    }
}

/// Returns the id of a child.
fn child(number: usize) -> PeerId {
    let mut id = [3; 32];
    id[..8].copy_from_slice(&(number as u64).to_be_bytes());
    PeerId(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outs::Out;

    #[test]
    fn the_relay_forwards_the_source_s_packets_to_all_its_children() {
        let (mut source, mut relay) = (Source::new(6_000), Relay::new(3, 0));
        let mut forwarded = 0;
        for frame in 0..50 {
            let now_us = 40_000 * frame;
            let packets = source.frame(now_us);
            assert!(packets.len() >= 5);
            for packet in packets {
                let mut outs = Outs::default();
                relay.packet(now_us, relay.upstream, 0, packet, &mut outs);
                forwarded += outs
                    .sends
                    .iter()
                    .map(|out| if let Out::Forward { to, .. } = out { to.len() } else { 0 })
                    .sum::<usize>();
            }
        }
        assert!(forwarded >= 3 * 50 * 5, "{forwarded}");
    }
}
