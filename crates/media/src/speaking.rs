//! Dominant speaker detection.

use plenary_proto::ordered::OrderedMap;

use crate::level::LEVEL_SILENT;

/// Minimum time for which a speaker stays dominant, microseconds.
pub const DOMINANT_US_MIN: u64 = 2_000_000;
/// Time for which a challenger must be the loudest before it becomes dominant: longer than a cough or a yes.
/// A guess.
const LOUDEST_US: u64 = 600_000;
/// Weight of a new 20 ms frame in the smoothed level: most of a change is taken within half a second. A
/// guess.
const SMOOTHING: f32 = 0.06;
/// Amount by which a challenger must be louder than the dominant speaker, dB, so that two speakers at a time
/// don't alternate. A guess.
const LOUDER_DB: f32 = 6.0;
/// Maximum pause between words; after a longer silence a speaker counts as quiet. A guess.
const PAUSE_US: u64 = 500_000;
/// Speech threshold, −dBov: the level of quiet rooms; quieter sound isn't speech. A guess.
const SPEECH_DB: f32 = 55.0;

/// Detects the dominant speaker, frame by frame.
#[derive(Debug, Default)]
pub struct DominantSpeaker {
    /// Smoothed level of each speaker, −dBov.
    levels: OrderedMap<u64, f32>,
    /// Time at which each speaker was last louder than [`SPEECH_DB`].
    loud_us: OrderedMap<u64, u64>,
    /// Speakers that have been dominant, the latest first.
    spoke: Vec<u64>,
    since_us: u64,
    /// Candidate to replace the dominant speaker, and the time since which it has been the loudest.
    challenger: Option<(u64, u64)>,
}

impl DominantSpeaker {
    /// A detector before any speech.
    pub fn new() -> DominantSpeaker {
        DominantSpeaker::default()
    }

    /// Takes the level (RFC 6464) of each speaker's 20 ms frame; speakers missing in `levels` are forgotten.
    /// Returns whether [`spoke`](DominantSpeaker::spoke) has changed.
    pub fn update(&mut self, now_us: u64, levels: &[(u64, u8)]) -> bool {
        let smooth = levels.iter().map(|&(id, level)| {
            let before = self.levels.get(&id).copied().unwrap_or(f32::from(LEVEL_SILENT));
            (id, before + SMOOTHING * (f32::from(level) - before))
        });
        self.levels = smooth.collect();
        self.loud_us.retain(|id, _| self.levels.contains_key(id));
        let loud = self.levels.iter().filter(|(_, db)| **db < SPEECH_DB);
        self.loud_us.extend(loud.map(|(id, _)| (*id, now_us)));
        let known = self.spoke.len();
        self.spoke.retain(|id| self.levels.contains_key(id));
        let changed = self.spoke.len() != known;
        self.challenge(now_us) || changed
    }

    fn challenge(&mut self, now_us: u64) -> bool {
        let dominant = self.spoke.first().copied();
        let limit_db = dominant
            .and_then(|id| self.levels.get(&id))
            .map_or(SPEECH_DB, |db| SPEECH_DB.min(db - LOUDER_DB));
        let loudest = self.levels.iter().min_by(|(_, one), (_, other)| one.total_cmp(other));
        let Some((&id, _)) = loudest.filter(|(id, db)| Some(**id) != dominant && **db < limit_db) else {
            self.challenger = None;
            return false;
        };
        let since_us = match self.challenger {
            Some((known, since_us)) if known == id => since_us,
            _ => now_us,
        };
        self.challenger = Some((id, since_us));
        let stays = dominant.is_some() && now_us < self.since_us + DOMINANT_US_MIN;
        // the first speaker becomes dominant without a wait
        let soon = dominant.is_some() && now_us < since_us + LOUDEST_US;
        if stays || soon {
            return false;
        }
        self.spoke.retain(|other| *other != id);
        self.spoke.insert(0, id);
        (self.since_us, self.challenger) = (now_us, None);
        true
    }

    /// Returns the speakers that speak at this time, by increasing identifier; pauses between words count as
    /// speech.
    pub fn speaking(&self, now_us: u64) -> impl Iterator<Item = u64> {
        let speaks = move |loud_us: u64| now_us.saturating_sub(loud_us) < PAUSE_US;
        self.loud_us.iter().filter(move |(_, loud_us)| speaks(**loud_us)).map(|(id, _)| *id)
    }

    /// Returns the present speakers that have been dominant, the latest first. The first is the dominant
    /// speaker; empty if no speaker has spoken.
    pub fn spoke(&self) -> &[u64] {
        &self.spoke
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes frames of 20 ms for some time. Returns the speakers that became dominant, and after how many
    /// milliseconds.
    fn run(
        speaking: &mut DominantSpeaker,
        now_ms: &mut u64,
        for_ms: u64,
        levels: &[(u64, u8)],
    ) -> Vec<(u64, u64)> {
        let (begin_ms, mut changes) = (*now_ms, Vec::new());
        while *now_ms < begin_ms + for_ms {
            *now_ms += 20;
            if speaking.update(*now_ms * 1000, levels) {
                changes.push((speaking.spoke().first().copied().unwrap_or(u64::MAX), *now_ms - begin_ms));
            }
        }
        changes
    }

    #[test]
    fn the_first_who_speaks_is_dominant_soon_and_stays_through_silence() {
        let (mut speaking, mut now_ms) = (DominantSpeaker::new(), 1_000);
        assert_eq!(run(&mut speaking, &mut now_ms, 2_000, &[(1, 127), (2, 70)]), []);
        let changes = run(&mut speaking, &mut now_ms, 1_000, &[(1, 127), (2, 25)]);
        assert!(matches!(changes[..], [(2, ..=500)]), "{changes:?}");
        assert_eq!(run(&mut speaking, &mut now_ms, 60_000, &[(1, 127), (2, 127)]), []);
        assert_eq!(speaking.spoke(), [2]);
    }

    #[test]
    fn a_change_takes_more_than_a_cough_and_none_comes_within_two_seconds() {
        let (mut speaking, mut now_ms) = (DominantSpeaker::new(), 1_000);
        run(&mut speaking, &mut now_ms, 10_000, &[(1, 25), (2, 90)]);
        assert_eq!(run(&mut speaking, &mut now_ms, 300, &[(1, 60), (2, 20)]), [], "a cough");
        run(&mut speaking, &mut now_ms, 3_000, &[(1, 25), (2, 90)]);
        let changes = run(&mut speaking, &mut now_ms, 5_000, &[(1, 90), (2, 25)]);
        assert!(matches!(changes[..], [(2, 600..=1_800)]), "{changes:?}");
        run(&mut speaking, &mut now_ms, 10_000, &[(1, 90), (2, 25)]);

        run(&mut speaking, &mut now_ms, 3_000, &[(1, 20), (2, 90)]);
        let mut changed_ms = Vec::new();
        for turn in 0..80 {
            let (one, other) = if turn % 2 == 0 { (20, 90) } else { (90, 20) };
            let begin_ms = now_ms;
            let changes = run(&mut speaking, &mut now_ms, 1_500, &[(1, one), (2, other)]);
            changed_ms.extend(changes.into_iter().map(|(_, after_ms)| begin_ms + after_ms));
        }
        assert!(changed_ms.len() > 10, "{changed_ms:?}");
        assert!(changed_ms.windows(2).all(|two| two[1] - two[0] >= 2_000), "{changed_ms:?}");
    }

    #[test]
    fn two_who_speak_at_a_time_do_not_take_turns() {
        let (mut speaking, mut now_ms) = (DominantSpeaker::new(), 1_000);
        run(&mut speaking, &mut now_ms, 1_000, &[(1, 25), (2, 90)]);
        for turn in 0..30 {
            let (one, other) = if turn % 2 == 0 { (22, 27) } else { (27, 22) };
            assert_eq!(run(&mut speaking, &mut now_ms, 1_500, &[(1, one), (2, other)]), [], "turn {turn}");
        }
    }

    #[test]
    fn pauses_between_words_do_not_end_speech() {
        let (mut speaking, mut now_ms) = (DominantSpeaker::new(), 1_000);
        for _ in 0..20 {
            run(&mut speaking, &mut now_ms, 400, &[(1, 25), (2, 80)]);
            assert_eq!(speaking.speaking(now_ms * 1000).collect::<Vec<_>>(), [1]);
            run(&mut speaking, &mut now_ms, 300, &[(1, 100), (2, 80)]);
            assert_eq!(speaking.speaking(now_ms * 1000).collect::<Vec<_>>(), [1]);
        }
        run(&mut speaking, &mut now_ms, 1_000, &[(1, 100), (2, 80)]);
        assert_eq!(speaking.speaking(now_ms * 1000).count(), 0);
    }

    #[test]
    fn whoever_leaves_is_forgotten_and_the_one_before_counts_again() {
        let (mut speaking, mut now_ms) = (DominantSpeaker::new(), 1_000);
        run(&mut speaking, &mut now_ms, 4_000, &[(1, 25), (2, 90)]);
        run(&mut speaking, &mut now_ms, 4_000, &[(1, 90), (2, 25)]);
        assert_eq!(speaking.spoke(), [2, 1]);
        assert!(speaking.update(now_ms * 1000, &[(1, 90)]));
        assert_eq!(speaking.spoke(), [1]);
        assert!(speaking.update(now_ms * 1000, &[]));
        assert_eq!(speaking.spoke(), []);
    }
}
