//! Pictures that a browser's leg leaves out: a parent thins a narrow link, and sends a newcomer no picture that others don't
//! refer to. A relay between natives puts packets in their place (PROTOCOL 10.6); in whole frames there is no such thing.
//!
//! A leg's frames come in order, so what is missing between two of them doesn't come any more on it. It is no loss if no other
//! picture refers to it, or a keyframe follows: then packets in its place keep everything behind from waiting for it.

use bytes::Bytes;
use plenary_media::Frame;
use plenary_media::payload::LEFT_OUT;
use plenary_media::references::References;
use plenary_proto::StreamId;
use plenary_proto::identity::PacketIdentity;
use plenary_proto::packet::MediaPacket;

/// Maximum number of packets that are put in place of missing ones before one picture. A guess: two seconds of pictures at
/// 1.5 Mbit/s are 330 packets.
const LEFT_OUT_MAX: u64 = 512;

/// Watches the pictures of one leg.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    references: References,
    /// The newest picture: its stream, its number, and the number of the packet behind it.
    newest: Option<(StreamId, u32, u64)>,
}

impl LeftOut {
    /// Takes the next picture of the leg, with its packets. Returns packets in place of the pictures left out before it.
    pub(crate) fn before(&mut self, picture: &Frame, packets: &[MediaPacket]) -> Vec<MediaPacket> {
        let (identity, Some(first)) = (&picture.identity, packets.first()) else { return Vec::new() };
        let same = |(stream, ..): &(StreamId, u32, u64)| *stream == identity.stream;
        let newest = self.newest.filter(same);
        if newest.is_some_and(|(_, number, _)| identity.number <= number) {
            return Vec::new(); // it comes late, behind the keyframe that it was left out for
        }
        let follows = self.references.follows(&picture.data);
        let next = first.identity.number;
        self.newest = Some((identity.stream, identity.number, next.saturating_add(packets.len() as u64)));
        let Some((_, _, from)) = newest.filter(|(_, _, from)| follows && next > *from) else {
            return Vec::new();
        };
        if next - from > LEFT_OUT_MAX {
            return Vec::new();
        }
        let in_place = (from..next).map(|number| MediaPacket {
            identity: PacketIdentity { stream: identity.stream, number },
            // one picture before this one, as far as an assembler sees
            timestamp: first.timestamp.wrapping_sub(1),
            marker: number + 1 == next,
            key_start: false,
            payload: Bytes::from_static(LEFT_OUT),
            ..first.clone()
        });
        in_place.collect()
    }
}
