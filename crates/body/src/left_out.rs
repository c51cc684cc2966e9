//! Pictures left out on a leg of a browser. A browser's packets show no hole where a parent has left a picture out, so the
//! next picture that it sends has a filler in front for each (PROTOCOL 4.6). Here fillers become the packets that other peers
//! get in place of a picture left out: without them the numbers of the originator's packets would show a loss.

use std::collections::BTreeMap;

use bytes::Bytes;
use plenary_media::Frame;
use plenary_media::payload::LEFT_OUT;
use plenary_proto::StreamId;
use plenary_proto::identity::PacketIdentity;
use plenary_proto::packet::{Contributors, MediaPacket};

/// Pictures in a row that fillers stand for, at most. A guess: half of the pictures are spare, and every second one is.
pub(crate) const FILLERS_MAX: u32 = 8;
/// Packets of pictures in a row that were left out, at most: twice what the longest picture has.
const PACKETS_MAX: u64 = 2_048;
/// Pictures of a leg that are kept, of each kind: pictures overtake each other by repairs. A guess: two seconds.
const KEPT_MAX: usize = 64;

/// A picture with fillers in front.
#[derive(Clone, Copy, Debug)]
struct Behind {
    first_packet: u64,
    timestamp: u32,
    fillers: u32,
}

/// What is left out on one leg.
#[derive(Debug, Default)]
pub(crate) struct LeftOutOnLeg {
    stream: Option<StreamId>,
    /// Number of the packet after each of the last pictures, by number of the picture.
    ends: BTreeMap<u32, u64>,
    /// Pictures that came before the one that precedes what is left out, by number of that one.
    waiting: BTreeMap<u32, Behind>,
}

impl LeftOutOnLeg {
    /// Takes a picture that had fillers in front, and its packets. Returns the packets in place of the pictures left out before
    /// it, and before a picture that has overtaken it.
    pub(crate) fn picture(
        &mut self,
        frame: &Frame,
        packets: &[MediaPacket],
        fillers: u32,
    ) -> Vec<MediaPacket> {
        let id = &frame.identity;
        if self.stream.replace(id.stream) != Some(id.stream) {
            (self.ends, self.waiting) = Default::default();
        }
        let end = id.first_packet.saturating_add(packets.len() as u64);
        self.ends.insert(id.number, end);
        let mut made = Vec::new();
        if (1..=FILLERS_MAX).contains(&fillers)
            && let Some(before) = id.number.checked_sub(fillers + 1)
        {
            let timestamp = packets.first().map_or(0, |packet| packet.timestamp);
            let behind = Behind { first_packet: id.first_packet, timestamp, fillers };
            match self.ends.get(&before) {
                Some(end) => made.extend(in_place(id.stream, *end, behind)),
                None => _ = self.waiting.insert(before, behind),
            }
        }
        if let Some(behind) = self.waiting.remove(&id.number) {
            made.extend(in_place(id.stream, end, behind));
        }
        while self.ends.len() > KEPT_MAX {
            self.ends.pop_first();
        }
        while self.waiting.len() > KEPT_MAX {
            self.waiting.pop_first();
        }
        made
    }
}

/// Returns packets in place of those from this number on up to the picture behind them: as many pictures as fillers say.
fn in_place(stream: StreamId, from: u64, behind: Behind) -> impl Iterator<Item = MediaPacket> {
    let len = behind.first_packet.saturating_sub(from);
    let is_possible = (u64::from(behind.fillers)..=PACKETS_MAX).contains(&len);
    let numbers = if is_possible { from..behind.first_packet } else { 0..0 };
    numbers.map(move |number| MediaPacket {
        identity: PacketIdentity { stream, number },
        // of no picture that is sent
        timestamp: behind.timestamp.wrapping_sub(1),
        marker: number + 1 == behind.first_packet || number - from + 1 < u64::from(behind.fillers),
        key_start: false,
        audio_level: None,
        contributors: Contributors::new(),
        payload: Bytes::from_static(LEFT_OUT),
    })
}
