//! Packet cache: the last seconds of one stream's packets, for new children, resumed feeds, and duplicate
//! detection.

use std::collections::BTreeMap;

use plenary_proto::packet::MediaPacket;

/// Minimum age of evicted packets. The newest GOP is kept as well, for new children to start from; only
/// [`PACKETS_MAX`] overrides both.
const KEEP_US: u64 = 2_500_000;
/// Maximum number of packets of one stream and kind: 2.5 s at 15 Mbit/s.
const PACKETS_MAX: usize = 4096;

struct Kept {
    packet: MediaPacket,
    arrived_us: u64,
    /// Time of the last arrival: a packet may be sent again.
    again_us: u64,
}

/// Cache of one stream's packets of one kind, by number.
#[derive(Default)]
pub(crate) struct PacketCache {
    packets: BTreeMap<u64, Kept>,
    /// Packets with lower numbers were evicted.
    floor: u64,
}

impl PacketCache {
    /// Adds a packet. Returns false for a duplicate, and for a packet older than all cached packets.
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

    /// Returns the highest cached number; 0 if the cache is empty.
    pub(crate) fn newest(&self) -> u64 {
        self.packets.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// Returns the number of the newest keyframe's first packet.
    pub(crate) fn group_start(&self) -> Option<u64> {
        self.packets.iter().rev().find(|(_, kept)| kept.packet.key_start).map(|(number, _)| *number)
    }

    /// Returns the time of a cached packet's first arrival.
    pub(crate) fn arrived_us(&self, number: u64) -> Option<u64> {
        self.packets.get(&number).map(|kept| kept.arrived_us)
    }

    /// Returns the number of the first packet that arrived at `arrived_us` or later.
    pub(crate) fn first_since(&self, arrived_us: u64) -> Option<u64> {
        self.packets.iter().find(|(_, kept)| kept.arrived_us >= arrived_us).map(|(number, _)| *number)
    }

    /// Returns the packets from `number` on that arrived, or arrived again, at `since_us` or later.
    pub(crate) fn come_since(&self, number: u64, since_us: u64) -> impl Iterator<Item = &MediaPacket> {
        let packets = self.packets.range(number..).filter(move |(_, kept)| kept.again_us >= since_us);
        packets.map(|(_, kept)| &kept.packet)
    }

    /// Returns the packets from `number` on, in order.
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
    fn a_packet_counts_once_even_after_it_was_evicted() {
        let mut cache = PacketCache::default();
        for number in 1..=10_000 {
            assert!(cache.insert(&packet(number, number == 1 || number == 9_000), number * 1_000));
            assert!(!cache.insert(&packet(number, false), number * 1_000));
        }
        assert!(!cache.insert(&packet(2, false), 10_000_000), "evicted long ago");
        assert!(cache.packets.len() <= PACKETS_MAX);
        assert_eq!((cache.newest(), cache.group_start()), (10_000, Some(9_000)));
    }

    #[test]
    fn the_newest_gop_is_kept_however_old_it_is() {
        let mut cache = PacketCache::default();
        cache.insert(&packet(1, true), 0);
        (2..100).for_each(|number| assert!(cache.insert(&packet(number, false), number * 100_000)));
        assert_eq!(cache.from(0).count(), 99);
        cache.insert(&packet(100, true), 10_000_000);
        assert!(cache.from(0).count() < 40);
    }

    #[test]
    fn a_packet_that_is_sent_again_counts_as_a_recent_arrival() {
        let mut cache = PacketCache::default();
        (1..=6).for_each(|number| assert!(cache.insert(&packet(number, false), number)));
        assert!(!cache.insert(&packet(3, false), 10));
        let since = cache.come_since(2, 6);
        assert_eq!(since.map(|packet| packet.identity.number).collect::<Vec<_>>(), [3, 6]);
        assert_eq!(cache.arrived_us(3), Some(3), "the time of the first arrival");
    }

    #[test]
    fn a_late_packet_is_sorted_in_by_its_number() {
        let mut cache = PacketCache::default();
        for number in [1, 2, 4, 5, 3] {
            assert!(cache.insert(&packet(number, false), 0));
        }
        assert_eq!(cache.from(2).map(|packet| packet.identity.number).collect::<Vec<_>>(), [2, 3, 4, 5]);
        assert_eq!((cache.first_since(0), cache.arrived_us(6)), (Some(1), None));
    }
}
