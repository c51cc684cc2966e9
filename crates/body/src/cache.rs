//! Packet cache: the last seconds of one stream's packets, for new children, resumed feeds, and duplicate
//! detection.

use std::collections::VecDeque;

use plenary_proto::packet::MediaPacket;

/// Minimum age of evicted packets. The newest GOP is kept as well, for new children to start from; only
/// [`PACKETS_MAX`] overrides both.
const KEEP_US: u64 = 2_500_000;
/// Maximum number of packets of one stream and kind: 2.5 s at 15 Mbit/s. A packet number further than this from all
/// cached ones starts the cache anew.
const PACKETS_MAX: usize = 4096;
/// Maximum payload bytes of one stream and kind: as many full packets.
const BYTES_MAX: usize = 5 << 20;
/// Time without packets after which the newest GOP isn't kept any more: nobody begins with it. A guess.
const GROUP_US_MAX: u64 = 10_000_000;

struct Kept {
    packet: MediaPacket,
    arrived_us: u64,
    /// Time of the last arrival: a packet may be sent again.
    again_us: u64,
}

/// Cache of one stream's packets of one kind: a ring indexed by number, so that a packet costs no allocation.
#[derive(Default)]
pub(crate) struct PacketCache {
    /// Packets from number `first` on; missing ones are `None`. The last one is there.
    slots: VecDeque<Option<Kept>>,
    first: u64,
    /// Packets with lower numbers were evicted.
    floor: u64,
    /// Number of the newest keyframe's first packet.
    group: Option<u64>,
    /// Payload bytes of the cached packets.
    bytes: usize,
    /// Maximum of these; `None` for [`BYTES_MAX`].
    bytes_max: Option<usize>,
    /// Time of the newest packet's arrival.
    newest_us: u64,
}

impl PacketCache {
    /// Returns a cache of at most so many payload bytes.
    pub(crate) fn of_bytes(bytes_max: usize) -> PacketCache {
        PacketCache { bytes_max: Some(bytes_max), ..PacketCache::default() }
    }

    /// Adds a packet. Returns false for a duplicate, and for a packet older than all cached packets.
    pub(crate) fn insert(&mut self, packet: &MediaPacket, arrived_us: u64) -> bool {
        let number = packet.identity.number;
        if number < self.floor {
            return false;
        }
        let Some(slot) = self.slot(number) else { return false };
        if let Some(known) = slot {
            known.again_us = arrived_us;
            return false;
        }
        *slot = Some(Kept { packet: packet.clone(), arrived_us, again_us: arrived_us });
        self.bytes += packet.payload.len();
        self.newest_us = self.newest_us.max(arrived_us);
        if packet.key_start {
            self.group = self.group.max(Some(number));
        }
        self.trim(arrived_us);
        true
    }

    /// Returns the slot of a number, and makes room for it. `None` for a number far below all cached ones.
    fn slot(&mut self, number: u64) -> Option<&mut Option<Kept>> {
        if self.slots.is_empty() {
            self.first = number;
        }
        let below = self.first.saturating_sub(number);
        let above = number.saturating_sub(self.first + self.slots.len() as u64);
        if below >= PACKETS_MAX as u64 {
            return None;
        }
        if above >= PACKETS_MAX as u64 {
            self.slots.clear();
            (self.first, self.floor, self.group, self.bytes) = (number, number, None, 0);
        }
        for _ in 0..below {
            self.slots.push_front(None);
        }
        self.first -= below;
        let at = (number - self.first) as usize;
        if at >= self.slots.len() {
            self.slots.resize_with(at + 1, || None);
        }
        self.slots.get_mut(at)
    }

    /// Evicts packets that are too old, or too many. To be called for each packet, and from time to time.
    pub(crate) fn trim(&mut self, now_us: u64) {
        let stands = now_us.saturating_sub(self.newest_us) >= GROUP_US_MAX;
        let group = self.group.filter(|_| !stands).unwrap_or(u64::MAX);
        let bytes_max = self.bytes_max.unwrap_or(BYTES_MAX);
        while let Some((at, arrived_us)) = self.oldest() {
            let number = self.first + at as u64;
            let old = arrived_us.saturating_add(KEEP_US) < now_us && number < group;
            if !old && self.slots.len() <= PACKETS_MAX && self.bytes <= bytes_max {
                break;
            }
            let evicted = self.slots.drain(..=at).flatten();
            self.bytes -= evicted.map(|kept| kept.packet.payload.len()).sum::<usize>();
            self.first = number + 1;
            self.floor = self.first;
            self.group = self.group.filter(|group| *group >= self.floor);
        }
    }

    /// Returns place and arrival of the lowest cached number.
    fn oldest(&self) -> Option<(usize, u64)> {
        let mut slots = self.slots.iter().enumerate();
        slots.find_map(|(at, slot)| slot.as_ref().map(|kept| (at, kept.arrived_us)))
    }

    /// Returns the payload bytes of the cached packets.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns whether no packet is cached.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Forgets the packets with this number and higher ones. It and all higher numbers count as new again.
    pub(crate) fn forget_from(&mut self, number: u64) {
        let kept = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let forgotten = self.slots.drain(kept.min(self.slots.len())..).flatten();
        self.bytes -= forgotten.map(|kept| kept.packet.payload.len()).sum::<usize>();
        while self.slots.pop_back_if(|slot| slot.is_none()).is_some() {}
        self.floor = self.floor.min(number);
        let mut numbered = (self.first..).zip(&self.slots);
        let key = |(number, slot): (u64, &Option<Kept>)| {
            slot.as_ref().filter(|kept| kept.packet.key_start).map(|_| number)
        };
        self.group =
            self.group.filter(|group| *group < number).or_else(|| numbered.by_ref().filter_map(key).last());
    }

    /// Returns the highest cached number; 0 if the cache is empty.
    pub(crate) fn newest(&self) -> u64 {
        (self.first + self.slots.len() as u64).saturating_sub(1)
    }

    /// Returns the number before the first packet that is missing among those since `since_us`; the highest cached
    /// number if none is.
    pub(crate) fn whole_up_to(&self, since_us: u64) -> u64 {
        let newest_first = self.slots.iter().enumerate().rev();
        let recent =
            newest_first.take_while(|(_, slot)| slot.as_ref().is_none_or(|kept| kept.arrived_us >= since_us));
        let missing = recent.filter(|(_, slot)| slot.is_none()).last();
        missing.map_or(self.newest(), |(at, _)| (self.first + at as u64).saturating_sub(1))
    }

    /// Returns the number of the newest keyframe's first packet.
    pub(crate) fn group_start(&self) -> Option<u64> {
        self.group
    }

    /// Returns the time of a cached packet's first arrival.
    pub(crate) fn arrived_us(&self, number: u64) -> Option<u64> {
        self.kept_from(number).next().filter(|(first, _)| *first == number).map(|(_, kept)| kept.arrived_us)
    }

    /// Returns the number of the first packet that arrived at `arrived_us` or later.
    pub(crate) fn first_since(&self, arrived_us: u64) -> Option<u64> {
        self.kept_from(0).find(|(_, kept)| kept.arrived_us >= arrived_us).map(|(number, _)| number)
    }

    /// Returns the cached packets from `number` on that arrived, the first or another time, at `since_us` or later.
    pub(crate) fn come_since(&self, number: u64, since_us: u64) -> impl Iterator<Item = &MediaPacket> {
        let packets = self.kept_from(number).filter(move |(_, kept)| kept.again_us >= since_us);
        packets.map(|(_, kept)| &kept.packet)
    }

    /// Returns the cached packets from `number` on, in order.
    pub(crate) fn from(&self, number: u64) -> impl Iterator<Item = &MediaPacket> {
        self.kept_from(number).map(|(_, kept)| &kept.packet)
    }

    fn kept_from(&self, number: u64) -> impl Iterator<Item = (u64, &Kept)> {
        let skipped = number.saturating_sub(self.first);
        let at = usize::try_from(skipped).unwrap_or(usize::MAX).min(self.slots.len());
        let numbered = (self.first + at as u64..).zip(self.slots.range(at..));
        numbered.filter_map(|(number, slot)| Some((number, slot.as_ref()?)))
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
        assert!(cache.slots.len() <= PACKETS_MAX);
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
    fn the_cache_is_whole_up_to_the_first_recent_hole() {
        let mut cache = PacketCache::default();
        assert_eq!(cache.whole_up_to(0), 0);
        [1, 2, 4, 5, 7]
            .into_iter()
            .for_each(|number| assert!(cache.insert(&packet(number, false), number * 10)));
        assert_eq!([0, 40, 45, 60].map(|since_us| cache.whole_up_to(since_us)), [2, 2, 5, 5]);
        cache.insert(&packet(6, false), 80);
        assert_eq!([0, 45].map(|since_us| cache.whole_up_to(since_us)), [2, 7]);
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

    #[test]
    fn packets_before_the_first_one_are_taken_until_it_is_evicted() {
        let mut cache = PacketCache::default();
        assert!(cache.insert(&packet(10_000, true), 0) && cache.insert(&packet(9_998, false), 0));
        assert!(!cache.insert(&packet(1, false), 0), "too far below");
        assert_eq!(cache.from(0).map(|packet| packet.identity.number).collect::<Vec<_>>(), [9_998, 10_000]);
        assert!(cache.insert(&packet(9_999, false), 0));
    }

    #[test]
    fn a_leap_in_numbers_takes_no_memory_and_starts_anew() {
        let mut cache = PacketCache::default();
        for number in [1, 2, 1 << 40, (1 << 40) + 1, (1 << 48) - 1] {
            assert!(cache.insert(&packet(number, number == 1), 0), "{number}");
            assert!(cache.slots.len() <= 2);
        }
        assert_eq!((cache.from(0).count(), cache.newest(), cache.group_start()), (1, (1 << 48) - 1, None));
        assert!(!cache.insert(&packet(3, false), 0), "long gone");
    }

    #[test]
    fn a_hole_is_filled_as_long_as_an_older_packet_is_cached() {
        let mut cache = PacketCache::default();
        cache.insert(&packet(1, false), 0);
        cache.insert(&packet(3, true), 1_000_000);
        assert!(cache.insert(&packet(2, false), 1_500_000));
        cache.insert(&packet(5, false), 3_000_000);
        assert_eq!(cache.arrived_us(1), None, "evicted");
        assert_eq!((cache.arrived_us(2), cache.arrived_us(4)), (Some(1_500_000), None));
    }
}
