//! Pictures that a browser's leg leaves out: a parent thins a narrow link, and sends a newcomer no picture that others
//! don't refer to. A relay between natives puts packets in their place (PROTOCOL 10.6); in whole frames there is no
//! such thing.
//!
//! A leg's frames come in order, so what is missing between two of them doesn't come any more on it. It is no loss if
//! no other picture refers to it, or a keyframe follows: then packets in its place keep everything behind from waiting
//! for it.

use bytes::Bytes;
use plenary_media::Frame;
use plenary_media::payload::LEFT_OUT;
use plenary_media::references::References;
use plenary_proto::StreamId;
use plenary_proto::identity::PacketIdentity;
use plenary_proto::packet::MediaPacket;

/// Maximum number of packets that are put in place of missing ones before one picture. A guess: two seconds of pictures
/// at
/// 1.5 Mbit/s are 330 packets.
const LEFT_OUT_MAX: u64 = 512;
/// Time for which a page waits for pictures that are missing before a keyframe, in microseconds. Chromium hands a
/// keyframe on before pictures that still lack a packet, and these up to the decoding of the keyframe, which waits in
/// its jitter buffer: 57 ms at 1 % loss.
const LATE_US_MAX: u64 = 60_000;

/// Watches the pictures of one leg.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    references: References,
    /// The newest picture: its stream, its number, and the number of the packet behind it.
    newest: Option<(StreamId, u32, u64)>,
    /// Whether pictures were left out on purpose since the last keyframe.
    leaves_out: bool,
    /// Packets in place of pictures that are missing before a keyframe, and the time up to which these may still come.
    awaited: Option<(u64, Vec<MediaPacket>)>,
}

impl LeftOut {
    /// Takes the next picture of a page's leg, as [`before`](LeftOut::before). Pictures missing before a keyframe may
    /// still come, unless the leg leaves pictures out: the packets in their place then come with [`due`](LeftOut::due).
    pub(crate) fn before_at_page(
        &mut self,
        picture: &Frame,
        packets: &[MediaPacket],
        now_us: u64,
    ) -> Vec<MediaPacket> {
        let leaves_out = self.leaves_out;
        let in_place = self.before(picture, packets);
        if in_place.is_empty() || !picture.identity.key || leaves_out {
            return in_place;
        }
        let before = self.awaited.replace((now_us.saturating_add(LATE_US_MAX), in_place));
        before.map(|(_, in_place)| in_place).unwrap_or_default()
    }

    /// Returns packets in place of pictures that were awaited for long enough.
    pub(crate) fn due(&mut self, now_us: u64) -> Vec<MediaPacket> {
        let due = self.awaited.take_if(|(due_us, _)| *due_us <= now_us);
        due.map(|(_, in_place)| in_place).unwrap_or_default()
    }

    /// Takes the next picture of the leg, with its packets. Returns packets in place of the pictures left out before
    /// it.
    pub(crate) fn before(&mut self, picture: &Frame, packets: &[MediaPacket]) -> Vec<MediaPacket> {
        let (identity, Some(first)) = (&picture.identity, packets.first()) else { return Vec::new() };
        let same = |(stream, ..): &(StreamId, u32, u64)| *stream == identity.stream;
        let newest = self.newest.filter(same);
        if newest.is_some_and(|(_, number, _)| identity.number <= number) {
            return Vec::new(); // it comes late, behind the keyframe that it was left out for
        }
        let follows = self.references.follows(&picture.data);
        let next = first.identity.number;
        self.leaves_out &= !identity.key;
        self.newest = Some((identity.stream, identity.number, next.saturating_add(packets.len() as u64)));
        let Some((_, _, from)) = newest.filter(|(_, _, from)| follows && next > *from) else {
            return Vec::new();
        };
        if next - from > LEFT_OUT_MAX {
            return Vec::new();
        }
        self.leaves_out |= !identity.key;
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
