//! Who speaks, as this peer hears it: by the levels that packets of sound carry (RFC 6464, RFC 6465), so that nobody
//! decodes anything for it.
//!
//! In the program and in a speaker's own mix those who are heard are named; in a mesh each speaker's stream has its own
//! level; a speaker knows its own from its encoder.

use std::collections::BTreeMap;

use plenary_media::SOUND_FRAME_US;
use plenary_media::level::LEVEL_SILENT;
use plenary_media::speaking::DominantSpeaker;
use plenary_proto::PeerId;
use plenary_rtc::Contributor;

/// Voices known at one time: more than a stage has.
const VOICES_MAX: usize = 64;
/// Whoever wasn't named for this long is silent: several packets lost in a row. A guess.
const NAMED_US_MAX: u64 = 200_000;
/// Steps of 20 ms that are caught up with: whoever looks later than that lost them.
const STEPS_MAX: u64 = 10;

/// Who speaks now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Speaking {
    /// The dominant speaker's CSRC, if anybody has spoken.
    pub(crate) dominant: Option<u32>,
    /// Those who speak, in order of CSRC.
    pub(crate) now: Vec<u32>,
}

/// The levels of those who are heard here.
#[derive(Default)]
pub(crate) struct Voices {
    /// By CSRC: the newest level, and when it came.
    levels: BTreeMap<u32, (u8, u64)>,
    dominant: DominantSpeaker,
    stepped_us: u64,
    told: Speaking,
}

impl Voices {
    /// A speaker's own sound is so loud.
    pub(crate) fn heard_alone(&mut self, speaker: &PeerId, level: Option<u8>, now_us: u64) {
        let voice = level.map(|level| Contributor { csrc: speaker.csrc(), level });
        self.heard(voice.as_slice(), now_us);
    }

    /// Sound has come with these voices in it.
    pub(crate) fn heard(&mut self, voices: &[Contributor], now_us: u64) {
        for voice in voices {
            self.levels.insert(voice.csrc, (voice.level.min(LEVEL_SILENT), now_us));
        }
        while self.levels.len() > VOICES_MAX {
            let oldest = self.levels.iter().min_by_key(|(_, (_, named_us))| *named_us);
            let Some(csrc) = oldest.map(|(csrc, _)| *csrc) else { return };
            self.levels.remove(&csrc);
        }
    }

    /// How loud each of these is at present, by RFC 6464.
    pub(crate) fn levels(&self, speakers: &[PeerId], now_us: u64) -> Vec<(PeerId, u8)> {
        speakers.iter().map(|peer| (*peer, self.level(peer.csrc(), now_us))).collect()
    }

    fn level(&self, csrc: u32, now_us: u64) -> u8 {
        let named = self.levels.get(&csrc);
        let named = named.filter(|(_, named_us)| now_us.saturating_sub(*named_us) <= NAMED_US_MAX);
        named.map_or(LEVEL_SILENT, |(level, _)| *level)
    }

    /// Follows who speaks up to now, among those on stage; tells when that has changed. To be called some 40 times a second.
    pub(crate) fn update(&mut self, speakers: &[PeerId], now_us: u64) -> Option<Speaking> {
        let present = |csrc: &u32| speakers.iter().any(|peer| peer.csrc() == *csrc);
        self.levels.retain(|csrc, _| present(csrc));
        let levels = speakers.iter().map(|peer| (u64::from(peer.csrc()), self.level(peer.csrc(), now_us)));
        let levels: Vec<(u64, u8)> = levels.collect();
        self.stepped_us = self.stepped_us.max(now_us.saturating_sub(STEPS_MAX * SOUND_FRAME_US));
        while self.stepped_us + SOUND_FRAME_US <= now_us {
            self.stepped_us += SOUND_FRAME_US;
            self.dominant.update(self.stepped_us, &levels);
        }
        let speaking = Speaking {
            dominant: self.dominant.spoke().first().map(|csrc| *csrc as u32),
            now: self.dominant.speaking(self.stepped_us).map(|csrc| csrc as u32).collect(),
        };
        (self.told != speaking).then(|| {
            self.told = speaking.clone();
            speaking
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAGE: [PeerId; 3] = [PeerId([1; 32]), PeerId([2; 32]), PeerId([3; 32])];

    /// A packet each 20 ms, a look each 25; gives what was told.
    fn run(voices: &mut Voices, now_us: &mut u64, ms: u64, named: &[(usize, u8)]) -> Vec<Speaking> {
        let voice = |&(at, level): &(usize, u8)| Contributor { csrc: STAGE[at].csrc(), level };
        let named: Vec<Contributor> = named.iter().map(voice).collect();
        let until_us = *now_us + ms * 1_000;
        let mut told = Vec::new();
        while *now_us < until_us {
            *now_us += 5_000;
            if now_us.is_multiple_of(20_000) {
                voices.heard(&named, *now_us);
            }
            if now_us.is_multiple_of(25_000) {
                told.extend(voices.update(&STAGE, *now_us));
            }
        }
        told
    }

    #[test]
    fn who_speaks_is_told_once_by_the_levels_that_sound_carries() {
        let (mut voices, mut now_us) = (Voices::default(), 1_000_000_000);
        let [first, second, _] = STAGE.map(|peer| peer.csrc());
        let told = run(&mut voices, &mut now_us, 3_000, &[(0, 25), (1, 90)]);
        assert_eq!(told, [Speaking { dominant: Some(first), now: vec![first] }]);
        assert_eq!(voices.levels(&STAGE, now_us), [(STAGE[0], 25), (STAGE[1], 90), (STAGE[2], 127)]);

        let told = run(&mut voices, &mut now_us, 3_000, &[(1, 25)]);
        assert_eq!(told.last(), Some(&Speaking { dominant: Some(second), now: vec![second] }));
        assert!(told.len() <= 3, "{told:?}");
        assert_eq!(voices.levels(&STAGE, now_us)[0].1, 127, "whoever isn't named any more is silent");
    }

    #[test]
    fn the_last_who_spoke_stays_dominant_through_silence() {
        let (mut voices, mut now_us) = (Voices::default(), 1_000_000_000);
        let third = STAGE[2].csrc();
        voices.heard_alone(&STAGE[2], None, now_us);
        let told = run(&mut voices, &mut now_us, 1_000, &[(2, 25)]);
        assert_eq!(told, [Speaking { dominant: Some(third), now: vec![third] }]);
        let told = run(&mut voices, &mut now_us, 2_000, &[]);
        assert_eq!(told, [Speaking { dominant: Some(third), now: vec![] }]);
    }

    #[test]
    fn invented_voices_take_no_room_and_nobody_elses_place() {
        let (mut voices, mut now_us) = (Voices::default(), 1_000_000_000);
        for csrc in 0..10_000 {
            voices.heard(&[Contributor { csrc, level: 0 }], now_us);
            assert!(voices.levels.len() <= VOICES_MAX);
        }
        assert_eq!(run(&mut voices, &mut now_us, 1_000, &[]), []);
    }
}
