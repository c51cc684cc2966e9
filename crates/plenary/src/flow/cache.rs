//! The last seconds of one stream's packets: for newcomers, for feeds that are resumed, and to tell a packet
//! that came twice.

use std::collections::BTreeMap;

use plenary_rtc::MediaPacket;

/// Packets are kept this long at least, and a group of pictures in any case: what a newcomer starts from.
const KEEP_US: u64 = 2_500_000;
/// Most packets of one stream and kind: 2.5 s of 15 Mbit/s.
const PACKETS_MAX: usize = 4096;

struct Kept {
    packet: MediaPacket,
    arrived_us: u64,
    /// When it came last: it may be sent anew.
    again_us: u64,
}

/// One stream's packets of one kind, by number.
#[derive(Default)]
pub(crate) struct PacketCache {
    packets: BTreeMap<u64, Kept>,
    /// Numbers below this were let go.
    floor: u64,
}

impl PacketCache {
    /// Keeps a packet; false when it was here before, or is older than all that are kept.
    pub(crate) fn insert(&mut self, packet: &MediaPacket, arrived_us: u64) -> bool {
        let number = packet.identity.number;
        if let Some(known) = self.packets.get_mut(&number) {
            known.again_us = arrived_us;
            return false;
        }
        if number < self.floor {
            return false;
        }
        self.packets.insert(number, Kept { packet: packet.clone(), arrived_us, again_us: arrived_us });
        self.trim(arrived_us);
        true
    }

    fn trim(&mut self, now_us: u64) {
        let group = self.group_start().unwrap_or(u64::MAX);
        while let Some(first) = self.packets.first_entry() {
            let old = first.get().arrived_us + KEEP_US < now_us && *first.key() < group;
            if !old && self.packets.len() <= PACKETS_MAX {
                break;
            }
            if let Some((number, _)) = self.packets.pop_first() {
                self.floor = number + 1;
            }
        }
    }

    /// The highest number here; 0 for none.
    pub(crate) fn newest(&self) -> u64 {
        self.packets.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// The number of the newest key frame's first packet.
    pub(crate) fn group_start(&self) -> Option<u64> {
        self.packets.iter().rev().find(|(_, kept)| kept.packet.key_start).map(|(number, _)| *number)
    }

    /// When a packet came, if it is here.
    pub(crate) fn arrived_us(&self, number: u64) -> Option<u64> {
        self.packets.get(&number).map(|kept| kept.arrived_us)
    }

    /// The first packet that came at that time or later.
    pub(crate) fn first_since(&self, arrived_us: u64) -> Option<u64> {
        self.packets.iter().find(|(_, kept)| kept.arrived_us >= arrived_us).map(|(number, _)| *number)
    }

    /// The packets from `number` on that came at that time or later, be it once more.
    pub(crate) fn come_since(&self, number: u64, since_us: u64) -> impl Iterator<Item = &MediaPacket> {
        let packets = self.packets.range(number..).filter(move |(_, kept)| kept.again_us >= since_us);
        packets.map(|(_, kept)| &kept.packet)
    }

    /// The packets from `number` on, in order.
    pub(crate) fn from(&self, number: u64) -> impl Iterator<Item = &MediaPacket> {
        self.packets.range(number..).map(|(_, kept)| &kept.packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use plenary_proto::StreamId;
    use plenary_proto::identity::PacketIdentity;

    fn packet(number: u64, key_start: bool) -> MediaPacket {
        MediaPacket {
            identity: PacketIdentity { stream: StreamId([1; 8]), number },
            timestamp: 0,
            marker: false,
            key_start,
            audio_level: None,
            contributors: Default::default(),
            payload: Bytes::from_static(b"x"),
        }
    }

    #[test]
    fn a_packet_counts_once_also_after_it_was_let_go() {
        let mut cache = PacketCache::default();
        for number in 1..=10_000 {
            assert!(cache.insert(&packet(number, number == 1 || number == 9_000), number * 1_000));
            assert!(!cache.insert(&packet(number, false), number * 1_000));
        }
        assert!(!cache.insert(&packet(2, false), 10_000_000), "long gone");
        assert!(cache.packets.len() <= PACKETS_MAX);
        assert_eq!((cache.newest(), cache.group_start()), (10_000, Some(9_000)));
    }

    #[test]
    fn the_newest_group_of_pictures_stays_however_old_it_is() {
        let mut cache = PacketCache::default();
        cache.insert(&packet(1, true), 0);
        (2..100).for_each(|number| assert!(cache.insert(&packet(number, false), number * 100_000)));
        assert_eq!(cache.from(0).count(), 99);
        cache.insert(&packet(100, true), 10_000_000);
        assert!(cache.from(0).count() < 40);
    }

    #[test]
    fn what_is_sent_anew_has_come_since() {
        let mut cache = PacketCache::default();
        (1..=6).for_each(|number| assert!(cache.insert(&packet(number, false), number)));
        assert!(!cache.insert(&packet(3, false), 10));
        let since = cache.come_since(2, 6);
        assert_eq!(since.map(|packet| packet.identity.number).collect::<Vec<_>>(), [3, 6]);
        assert_eq!(cache.arrived_us(3), Some(3), "when it came first");
    }

    #[test]
    fn a_late_packet_takes_its_place() {
        let mut cache = PacketCache::default();
        for number in [1, 2, 4, 5, 3] {
            assert!(cache.insert(&packet(number, false), 0));
        }
        assert_eq!(cache.from(2).map(|packet| packet.identity.number).collect::<Vec<_>>(), [2, 3, 4, 5]);
        assert_eq!((cache.first_since(0), cache.arrived_us(6)), (Some(1), None));
    }
}
