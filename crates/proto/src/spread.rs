//! Assignment of speakers to home mixers: every peer computes the same result without any messages.
//!
//! The algorithm is consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam, 2018), with
//! rendezvous hashing (Thaler, Ravishankar, 1998) for the preferences. Each speaker is assigned to the mixer
//! that its hash prefers among those with room, and the room is an even share of the speakers. A mixer that
//! speaks is its own home. When a speaker or a mixer comes or goes, few of the others move.

use crate::ordered::OrderedMap;

use crate::hashed_draw::{DrawKey, draw_key};
use crate::id::PeerId;

/// Cached homes, recomputed only when mixers or speakers change.
#[derive(Debug, Default)]
pub(crate) struct Spread {
    mixers: Vec<PeerId>,
    speakers: Vec<PeerId>,
    homes: OrderedMap<PeerId, PeerId>,
}

impl Spread {
    /// Returns the home of each speaker; empty without mixers.
    pub(crate) fn homes(
        &mut self,
        mixers: Vec<PeerId>,
        speakers: Vec<PeerId>,
    ) -> &OrderedMap<PeerId, PeerId> {
        if (&self.mixers, &self.speakers) != (&mixers, &speakers) {
            self.homes = homes(&mixers, &speakers);
            (self.mixers, self.speakers) = (mixers, speakers);
        }
        &self.homes
    }
}

/// Computes the home of each speaker. The mixers' shares differ by one at most.
fn homes(mixers: &[PeerId], speakers: &[PeerId]) -> OrderedMap<PeerId, PeerId> {
    let mut homes = OrderedMap::new();
    if mixers.is_empty() {
        return homes;
    }
    let share = speakers.len() / mixers.len();
    let mut over = speakers.len() % mixers.len(); // this many mixers get one speaker more
    let mut room: OrderedMap<PeerId, usize> = mixers.iter().map(|mixer| (*mixer, share)).collect();
    // Pairs with the smallest hash are assigned first, so the roster's order has no influence.
    let pairs = speakers.iter().flat_map(|speaker| mixers.iter().map(move |mixer| (speaker, mixer)));
    let mut wishes: Vec<_> =
        pairs.map(|(speaker, mixer)| (distance(speaker, mixer), *speaker, *mixer)).collect();
    wishes.sort_unstable();
    for (_, speaker, mixer) in wishes {
        if homes.contains_key(&speaker) {
            continue;
        }
        match room.get(&mixer) {
            Some(free) if *free > 0 => room.insert(mixer, free - 1),
            Some(_) if over > 0 => {
                over -= 1;
                room.remove(&mixer)
            }
            _ => continue,
        };
        homes.insert(speaker, mixer);
    }
    homes
}

/// Returns the hash distance of a speaker and a mixer; a speaking mixer has distance zero to itself.
fn distance(speaker: &PeerId, mixer: &PeerId) -> DrawKey {
    if speaker == mixer { [0; 32] } else { draw_key("plenary 1 homes", &[&speaker.0, &mixer.0]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peers(range: std::ops::Range<u8>) -> Vec<PeerId> {
        range.map(|seed| PeerId([seed; 32])).collect()
    }

    fn load(homes: &OrderedMap<PeerId, PeerId>, mixer: &PeerId) -> usize {
        homes.values().filter(|home| *home == mixer).count()
    }

    #[test]
    fn everyone_has_a_home_and_the_mixers_shares_are_even() {
        for speakers in 0..=20 {
            for mixers in 1..=8 {
                let (mixers, speakers) = (peers(100..100 + mixers), peers(0..speakers));
                let homes = homes(&mixers, &speakers);
                assert_eq!(homes.len(), speakers.len());
                let least = speakers.len() / mixers.len();
                let even = |mixer| (least..=least + 1).contains(&load(&homes, mixer));
                assert!(mixers.iter().all(even), "{homes:?}");
            }
        }
        assert!(homes(&[], &peers(0..4)).is_empty());
    }

    #[test]
    fn the_order_in_which_they_are_named_changes_nothing() {
        let (mixers, speakers) = (peers(100..103), peers(0..12));
        let (mut backwards, mut others) = (mixers.clone(), speakers.clone());
        backwards.reverse();
        others.rotate_left(5);
        assert_eq!(homes(&mixers, &speakers), homes(&backwards, &others));
    }

    #[test]
    fn one_more_speaker_or_mixer_moves_few_of_the_others() {
        let moved = |before: &OrderedMap<PeerId, PeerId>, after: &OrderedMap<PeerId, PeerId>| {
            before.iter().filter(|(speaker, home)| after.get(speaker) != Some(home)).count()
        };
        let mixers = peers(100..103);
        let (mut most, mut all) = (0, 0);
        for count in 3..40 {
            let before = homes(&mixers, &peers(0..count));
            let moves = moved(&before, &homes(&mixers, &peers(0..count + 1)));
            (most, all) = (most.max(moves), all + moves);
        }
        assert!(most <= 4 && all <= 37, "{most} at worst, {all} in 37 steps");
        let before = homes(&mixers, &peers(0..30));
        let after = homes(&peers(100..104), &peers(0..30));
        assert!(moved(&before, &after) <= 15, "{}", moved(&before, &after)); // 7 moves are the minimum
    }
}
