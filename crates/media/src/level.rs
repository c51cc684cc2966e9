//! Audio levels, and selection of the loudest speakers, with hysteresis against flicker.

use plenary_proto::ordered::OrderedMap;

/// Level of digital silence, the quietest one.
pub const LEVEL_SILENT: u8 = 127;
/// Weight of a louder frame in the smoothed level: most of a rise is taken within 3 frames. A guess.
const RISE: f32 = 0.5;
/// Weight of a quieter frame: a gap between words, some 200 ms, leaves half. A guess.
const FALL: f32 = 0.06;
/// Hysteresis in favour of speakers already heard, dB, so that equally loud speakers don't alternate. A
/// guess.
const HEARD_BONUS_DB: f32 = 6.0;
/// Level below which a speaker isn't heard even if there is room, −dBov: below the noise of 16-bit samples.
const INAUDIBLE_DB: f32 = 100.0;

/// Returns the audio level of a frame as defined by RFC 6464: −dBov of the root mean square, 0 (a full-scale
/// square wave) to 127 (silence). Samples range from −1 to 1.
pub fn level(samples: &[f32]) -> u8 {
    let energy: f32 = samples.iter().map(|sample| sample * sample).sum();
    let mean = energy / samples.len().max(1) as f32;
    if mean > 0.0 {
        (-10.0 * mean.log10()).round().clamp(0.0, f32::from(LEVEL_SILENT)) as u8
    } else {
        LEVEL_SILENT
    }
}

/// Selects the loudest of several speakers, frame by frame.
#[derive(Debug)]
pub struct Loudest {
    heard_max: usize,
    speakers: OrderedMap<u64, Loudness>,
}

#[derive(Clone, Copy, Debug)]
struct Loudness {
    /// Smoothed level, −dBov.
    smooth_db: f32,
    heard: bool,
}

impl Loudness {
    fn rank_db(&self) -> f32 {
        self.smooth_db - if self.heard { HEARD_BONUS_DB } else { 0.0 }
    }
}

impl Loudest {
    /// A selector of at most `heard_max` speakers at a time.
    pub fn new(heard_max: usize) -> Loudest {
        Loudest { heard_max, speakers: OrderedMap::new() }
    }

    /// Takes the level of each speaker's next frame. Speakers missing in `levels` are forgotten.
    pub fn update(&mut self, levels: &[(u64, u8)]) {
        let mut speakers = OrderedMap::new();
        for &(id, level) in levels {
            let silent = Loudness { smooth_db: f32::from(LEVEL_SILENT), heard: false };
            let mut speaker = self.speakers.get(&id).copied().unwrap_or(silent);
            let step = f32::from(level) - speaker.smooth_db;
            speaker.smooth_db += step * if step < 0.0 { RISE } else { FALL };
            speakers.insert(id, speaker);
        }
        let mut ranked: Vec<&mut Loudness> = speakers.values_mut().collect();
        ranked.sort_by(|one, other| one.rank_db().total_cmp(&other.rank_db()));
        for (rank, speaker) in ranked.into_iter().enumerate() {
            speaker.heard = rank < self.heard_max && speaker.smooth_db < INAUDIBLE_DB;
        }
        self.speakers = speakers;
    }

    /// Returns a rank to compare speakers by: the speaker's level now, or the level that its next frames
    /// state if that is louder. −dBov, reduced for speakers already heard.
    pub fn prospect_db(&self, id: u64, said: u8) -> f32 {
        let speaker = self.speakers.get(&id);
        speaker.map_or(f32::from(said), |speaker| speaker.rank_db().min(f32::from(said)))
    }

    /// Returns whether this speaker is among those heard.
    pub fn hears(&self, id: u64) -> bool {
        self.speakers.get(&id).is_some_and(|speaker| speaker.heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_rfc_6464() {
        let square =
            |amplitude: f32| (0..960).map(move |at| if at % 2 == 0 { amplitude } else { -amplitude });
        let sine = |amplitude: f32| (0..960).map(move |at| amplitude * (at as f32 * 0.1309).sin());
        let rows: [(Vec<f32>, u8); 9] = [
            (square(1.0).collect(), 0),
            (sine(1.0).collect(), 3),
            (sine(0.1).collect(), 23),
            (square(0.001).collect(), 60),
            (square(1e-7).collect(), 127),
            (vec![0.0; 960], 127),
            (vec![], 127),
            (square(9.0).collect(), 0),
            (vec![f32::NAN; 960], 127),
        ];
        for (samples, expected) in rows {
            assert_eq!(level(&samples), expected);
        }
    }

    #[test]
    fn the_loudest_are_heard_within_a_few_frames() {
        let mut loudest = Loudest::new(2);
        let levels = [(1, 60), (2, 20), (3, 30), (4, 40), (5, 127)];
        for _ in 0..4 {
            loudest.update(&levels);
        }
        assert_eq!(heard(&loudest), [2, 3]);
    }

    #[test]
    fn a_click_gives_nobody_the_floor() {
        let mut loudest = Loudest::new(1);
        steady(&mut loudest, &[(1, 30), (2, 60)]);
        loudest.update(&[(1, 30), (2, 28)]);
        assert_eq!(heard(&loudest), [1]);
    }

    #[test]
    fn equals_do_not_take_turns() {
        let mut loudest = Loudest::new(1);
        steady(&mut loudest, &[(1, 30), (2, 60)]);
        for turn in 0..200 {
            let (one, other) = if turn % 2 == 0 { (33, 27) } else { (27, 33) };
            loudest.update(&[(1, one), (2, other)]);
            assert_eq!(heard(&loudest), [1], "in turn {turn}");
        }
    }

    #[test]
    fn the_gaps_of_speech_do_not_cost_the_floor() {
        let mut loudest = Loudest::new(1);
        steady(&mut loudest, &[(1, 25), (2, 50)]);
        for _ in 0..8 {
            loudest.update(&[(1, 70), (2, 50)]);
            assert_eq!(heard(&loudest), [1]);
        }
        steady(&mut loudest, &[(1, 70), (2, 50)]);
        assert_eq!(heard(&loudest), [2], "but who has finished yields");
    }

    #[test]
    fn silence_is_not_heard_even_if_there_is_room() {
        let mut loudest = Loudest::new(5);
        steady(&mut loudest, &[(1, 127), (2, 50), (3, 126)]);
        assert_eq!(heard(&loudest), [2]);
        loudest.update(&[]);
        assert_eq!(heard(&loudest), []);
    }

    fn steady(loudest: &mut Loudest, levels: &[(u64, u8)]) {
        for _ in 0..100 {
            loudest.update(levels);
        }
    }

    fn heard(loudest: &Loudest) -> Vec<u64> {
        (0..10).filter(|&id| loudest.hears(id)).collect()
    }
}
