//! Detects the current speakers from audio levels in RTP headers (RFC 6464, RFC 6465), without decoding.
//!
//! Packets of the program and of a mix-minus name the mixed voices and their levels. In a mesh each speaker's
//! stream carries that speaker's level. A speaker gets its own level from its encoder.

use plenary_proto::ordered::OrderedMap;

use plenary_media::SOUND_FRAME_US;
use plenary_media::level::LEVEL_SILENT;
use plenary_media::speaking::DominantSpeaker;
use plenary_proto::PeerId;
use plenary_proto::packet::Contributor;

/// Maximum number of voices known at a time: a full roster.
const VOICES_MAX: usize = 64;
/// Time without a level after which a voice counts as silent: several packets lost in a row. A guess.
const NAMED_US_MAX: u64 = 200_000;
/// Maximum number of 20 ms steps that one update catches up on; older steps are skipped.
const STEPS_MAX: u64 = 10;

/// The current speakers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Speaking {
    /// CSRC of the dominant speaker; `None` if no present speaker has spoken.
    pub(crate) dominant: Option<u32>,
    /// CSRCs of all current speakers, ascending.
    pub(crate) now: Vec<u32>,
}

/// Levels of the voices that arrive here.
#[derive(Default)]
pub(crate) struct Voices {
    /// Newest level and its arrival time, by CSRC.
    levels: OrderedMap<u32, (u8, u64)>,
    dominant: DominantSpeaker,
    stepped_us: u64,
    told: Speaking,
}

impl Voices {
    /// Records the level of a packet with one speaker's sound only.
    pub(crate) fn heard_alone(&mut self, speaker: &PeerId, level: Option<u8>, now_us: u64) {
        let voice = level.map(|level| Contributor { csrc: speaker.csrc(), level });
        self.heard(voice.as_slice(), now_us);
    }

    /// Records the levels of the voices in a packet of sound.
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

    /// Returns the present level of each speaker (RFC 6464), in the order given.
    pub(crate) fn levels(&self, speakers: &[PeerId], now_us: u64) -> Vec<(PeerId, u8)> {
        let meant: Vec<_> = meant(speakers).collect();
        let level = |peer: &PeerId| match meant.contains(peer) {
            true => self.level(peer.csrc(), now_us),
            false => LEVEL_SILENT,
        };
        speakers.iter().map(|peer| (*peer, level(peer))).collect()
    }

    fn level(&self, csrc: u32, now_us: u64) -> u8 {
        let named = self.levels.get(&csrc);
        let named = named.filter(|(_, named_us)| now_us.saturating_sub(*named_us) <= NAMED_US_MAX);
        named.map_or(LEVEL_SILENT, |(level, _)| *level)
    }

    /// Detects the current speakers among those on stage; returns them if they have changed. To be called
    /// about 40 times a second.
    pub(crate) fn update(&mut self, speakers: &[PeerId], now_us: u64) -> Option<Speaking> {
        let present = |csrc: &u32| speakers.iter().any(|peer| peer.csrc() == *csrc);
        self.levels.retain(|csrc, _| present(csrc));
        let levels = meant(speakers).map(|peer| (u64::from(peer.csrc()), self.level(peer.csrc(), now_us)));
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

/// Returns the speakers that CSRCs mean, in roster order: of several with the same CSRC the first, since a
/// peer can make up ids until one has another's.
pub(crate) fn meant(speakers: &[PeerId]) -> impl Iterator<Item = PeerId> {
    let is_first = |at: &usize| !speakers[..*at].iter().any(|peer| peer.csrc() == speakers[*at].csrc());
    (0..speakers.len()).filter(is_first).map(|at| speakers[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_made_up_to_begin_like_a_speakers_takes_no_voice_from_it() {
        let twin = PeerId(std::array::from_fn(|at| if at < 4 { 1 } else { 9 }));
        let mut voices = Voices::default();
        voices.heard(&[Contributor { csrc: twin.csrc(), level: 20 }], 1_000_000);
        assert_eq!(voices.levels(&[STAGE[0], twin], 1_000_000), [(STAGE[0], 20), (twin, LEVEL_SILENT)]);
        assert_eq!(meant(&[STAGE[0], twin, STAGE[1]]).collect::<Vec<_>>(), STAGE[..2]);
    }

    const STAGE: [PeerId; 3] = [PeerId([1; 32]), PeerId([2; 32]), PeerId([3; 32])];

    /// Feeds a packet each 20 ms, updates each 25 ms, and returns the changes.
    fn run(voices: &mut Voices, now_us: &mut u64, ms: u64, named: &[(usize, u8)]) -> Vec<Speaking> {
        let voice = |&(at, level): &(usize, u8)| Contributor { csrc: STAGE[at].csrc(), level };
        let named: Vec<Contributor> = named.iter().map(voice).collect();
        let until_us = *now_us + ms * 1_000;
        let mut changes = Vec::new();
        while *now_us < until_us {
            *now_us += 5_000;
            if now_us.is_multiple_of(20_000) {
                voices.heard(&named, *now_us);
            }
            if now_us.is_multiple_of(25_000) {
                changes.extend(voices.update(&STAGE, *now_us));
            }
        }
        changes
    }

    #[test]
    fn speakers_are_detected_from_the_levels_in_packets_of_sound() {
        let (mut voices, mut now_us) = (Voices::default(), 1_000_000_000);
        let [first, second, _] = STAGE.map(|peer| peer.csrc());
        let changes = run(&mut voices, &mut now_us, 3_000, &[(0, 25), (1, 90)]);
        assert_eq!(changes, [Speaking { dominant: Some(first), now: vec![first] }]);
        assert_eq!(voices.levels(&STAGE, now_us), [(STAGE[0], 25), (STAGE[1], 90), (STAGE[2], 127)]);

        let changes = run(&mut voices, &mut now_us, 3_000, &[(1, 25)]);
        assert_eq!(changes.last(), Some(&Speaking { dominant: Some(second), now: vec![second] }));
        assert!(changes.len() <= 3, "{changes:?}");
        assert_eq!(voices.levels(&STAGE, now_us)[0].1, 127, "a voice that is no longer named is silent");
    }

    #[test]
    fn the_last_speaker_stays_dominant_through_silence() {
        let (mut voices, mut now_us) = (Voices::default(), 1_000_000_000);
        let third = STAGE[2].csrc();
        voices.heard_alone(&STAGE[2], None, now_us);
        let changes = run(&mut voices, &mut now_us, 1_000, &[(2, 25)]);
        assert_eq!(changes, [Speaking { dominant: Some(third), now: vec![third] }]);
        let changes = run(&mut voices, &mut now_us, 2_000, &[]);
        assert_eq!(changes, [Speaking { dominant: Some(third), now: vec![] }]);
    }

    #[test]
    fn invented_voices_are_bounded_and_never_reported() {
        let (mut voices, mut now_us) = (Voices::default(), 1_000_000_000);
        for csrc in 0..10_000 {
            voices.heard(&[Contributor { csrc, level: 0 }], now_us);
            assert!(voices.levels.len() <= VOICES_MAX);
        }
        assert_eq!(run(&mut voices, &mut now_us, 1_000, &[]), []);
    }
}
