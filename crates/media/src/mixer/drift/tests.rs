//! Speakers with drifting clocks, for minutes of fake time.

use std::sync::Arc;

use bytes::Bytes;

use super::super::fake::{FakeCodecs, sound_frame, sound_time};
use super::super::feed::Feed;
use super::super::speaker::Speaker;
use super::*;
use crate::codec::Codecs;
use crate::jitter::JitterCounts;

const START_US: u64 = 1_763_627_600_000_000;
const MINUTE_STEPS: u32 = 3_000;
const HZ: u32 = 440;
/// Amplitude in thousandths.
const AMPLITUDE: u32 = 100;

#[test]
fn a_tone_by_a_drifting_clock_is_played_without_gaps_or_a_growing_delay() {
    for (ppm, measured) in [(200, true), (-200, true), (200, false), (-200, false)] {
        let mut heard = Heard::default();
        let mut far = Far::new(ppm, measured);
        for step in 1..=10 * MINUTE_STEPS {
            far.send_until(step);
            far.play(step);
            heard.listen(far.samples());
            if step % 50 == 0 && step > 100 {
                // delay relative to the beginning, from the tone's phase; samples were up to half a frame
                // early or late there
                let turns = heard.seconds() * f64::from(HZ) * (1.0 + ppm as f64 / 1e6);
                let later_ms = (turns - heard.turns()) / f64::from(HZ) * 1_000.0;
                assert!(later_ms.abs() < 25.0, "{ppm} ppm: {later_ms} ms later after {step} steps");
            }
            if step == 5 * MINUTE_STEPS {
                heard.mark();
            }
        }
        assert_eq!(far.counts(), JitterCounts::default(), "{ppm} ppm");
        let hz = heard.hz_since_mark();
        let expected = f64::from(HZ) * (1.0 + ppm as f64 / 1e6);
        assert!((hz - expected).abs() < 0.02, "{ppm} ppm: {hz} Hz instead of {expected}");
        let bend = heard.sharpest_bend / pure_bend();
        assert!(bend < 1.2, "{ppm} ppm: bent {bend} times as sharply as the tone");
        let off_us = far.speaker.drift().early_us.unwrap();
        assert!(off_us.abs() < 1_500.0, "{ppm} ppm: {off_us} µs off at the end");
    }
}

#[test]
fn without_drift_samples_are_those_that_were_decoded() {
    let mut far = Far::new(0, false);
    let mut decoder = FakeCodecs::default().sound_decoder(1).unwrap();
    let (mut number, mut expected) = (0, vec![0.0; SOUND_FRAME_LEN]);
    for step in 1..=MINUTE_STEPS {
        far.send_until(step);
        far.play(step);
        if number == 0 && far.samples().iter().all(|&sample| sample == 0.0) {
            continue; // not started yet
        }
        number = if number == 0 { first_number(far.samples()) } else { number + 1 };
        decoder.decode(&packet(number), &mut expected).unwrap();
        assert!(far.samples() == expected, "step {step}");
    }
    assert!(number > MINUTE_STEPS - 10);
}

/// Checks a speaker with a drifting clock for five minutes; `talks` returns its packets by frame number.
fn keeps_the_clock(talks: fn(u32) -> Option<Bytes>) {
    for ppm in [200, -200] {
        let mut far = Far { talks, ..Far::new(ppm, false) };
        for step in 1..=5 * MINUTE_STEPS {
            far.send_until(step);
            far.play(step);
            let drift = far.speaker.drift();
            assert!(drift.early_us.unwrap_or(0.0).abs() < LEAST_US + 3_000.0, "{drift:?} at {step}");
            assert!(drift.fast_ppm.abs() < 1.7 * 200.0, "{drift:?} at {step}");
        }
        assert_eq!(far.counts(), JitterCounts::default(), "{ppm} ppm");
    }
}

#[test]
fn pauses_of_speech_do_not_upset_the_clock() {
    // speaks for 1.5 s, announces silence, and sends nothing for half a second
    keeps_the_clock(|number| match number % 100 {
        0..75 => Some(packet(number)),
        75 => Some(Bytes::from_static(&[0x78])),
        _ => None,
    });
}

#[test]
fn long_silences_that_are_left_out_do_not_upset_the_clock() {
    // speaks for 3 s, and is silent for 9 s
    keeps_the_clock(|number| match number % 600 {
        0..150 => Some(packet(number)),
        silent if silent % 21 == 3 => Some(Bytes::from_static(&[0x78])),
        silent if silent % 21 == 2 => Some(packet(number)),
        _ => None,
    });
}

#[test]
fn a_small_jump_of_the_clock_is_made_good_unheard() {
    for jump_us in [17_000, -17_000] {
        let (mut far, mut heard) = (Far::new(0, true), Heard::default());
        for step in 1..=10 * MINUTE_STEPS {
            if step == 500 {
                far.offset_us += jump_us;
            }
            far.send_until(step);
            far.play(step);
            heard.listen(far.samples());
            if step == 600 {
                assert!(far.speaker.drift().corrects, "{jump_us}");
            }
        }
        assert_eq!(far.counts(), JitterCounts::default(), "{jump_us}");
        assert!(heard.sharpest_bend < 1.2 * pure_bend(), "{jump_us}");
        let drift = far.speaker.drift();
        assert!(!drift.corrects && drift.early_us.unwrap().abs() < LEAST_US, "{drift:?}");
        assert_eq!(drift.ppm(), 0.0);
    }
}

#[test]
fn both_sides_of_stereo_sound_are_retimed_alike_and_as_mono_is() {
    let sample = |at: usize| (at as f32 * 0.05).sin();
    let (mut mono, mut stereo) = (Retimed::default(), Retimed::default());
    stereo.set_stereo(true);
    let (mut played, mut both) = (vec![0.0; SOUND_FRAME_LEN], vec![0.0; 2 * SOUND_FRAME_LEN]);
    let (mut decoded, mut decoded_both) = (0, 0);
    for step in 0..200 {
        if step == 50 {
            mono.set_ppm(-900.0);
            stereo.set_ppm(-900.0);
        }
        mono.play(&mut played, |_, frame| {
            frame.iter_mut().zip(decoded..).for_each(|(to, at)| *to = sample(at));
            decoded += frame.len();
        });
        stereo.play(&mut both, |_, frame| {
            for (sides, at) in frame.chunks_exact_mut(2).zip(decoded_both..) {
                sides.copy_from_slice(&[sample(at), -0.5 * sample(at)]);
            }
            decoded_both += frame.len() / 2;
        });
        let alike = both.chunks_exact(2).zip(&played);
        assert!(alike.clone().all(|(sides, sample)| sides == [*sample, -0.5 * sample]), "step {step}");
        assert_eq!(stereo.held_us(), mono.held_us());
    }
    assert!(stereo.held_us() > 2_000, "some were added: {} µs are held", stereo.held_us());
    stereo.set_stereo(false);
    assert_eq!(stereo.held_us(), mono.held_us(), "what is still to be played stays");
}

#[test]
fn a_large_jump_costs_whole_frames_once() {
    for jump_us in [100_000, -100_000] {
        let mut far = Far::new(100, true);
        (far.transit_us, far.delay_us) = (140_000, 200_000);
        far.offset_us += if jump_us < 0 { -jump_us } else { 0 };
        let mut since = JitterCounts::default();
        for step in 1..=12 * MINUTE_STEPS {
            if step == 2 * MINUTE_STEPS {
                far.offset_us += jump_us;
            }
            far.send_until(step);
            far.play(step);
            if step == 2 * MINUTE_STEPS + 100 {
                since = far.counts();
                let frames = if jump_us > 0 { since.inserted + since.concealed } else { since.skipped };
                assert!((4..=6).contains(&frames), "{since:?}");
            }
        }
        assert_eq!(far.counts(), since, "{jump_us}");
        let drift = far.speaker.drift();
        assert!(
            drift.early_us.unwrap().abs() < 2_000.0 && (drift.fast_ppm - 100.0).abs() < 10.0,
            "{drift:?}"
        );
    }
}

#[test]
fn the_speed_stays_within_what_is_unheard() {
    let mut drift = Drift::default();
    for round in 0..100_000_i64 {
        drift.observe([i64::MAX, i64::MIN, 22_000, -22_000][(round / 10_000 % 4) as usize]);
        assert!(drift.ppm().abs() <= PPM_MAX && drift.fast_ppm.abs() <= DRIFT_PPM_MAX, "{drift:?}");
    }
}

/// A remote speaker with a fast clock, and its playout here.
struct Far {
    speaker: Speaker,
    codecs: FakeCodecs,
    ppm: i64,
    measured: bool,
    /// Offset from its clock to the local one at the beginning.
    offset_us: i64,
    /// Time from capture to arrival.
    transit_us: u64,
    /// Time from capture to playout.
    delay_us: u64,
    talks: fn(u32) -> Option<Bytes>,
    number: u32,
    sent: u32,
}

impl Far {
    fn new(ppm: i64, measured: bool) -> Far {
        let mut speaker = Speaker::new(Arc::new(Feed::new(7)));
        speaker.set_decoded(true);
        Far {
            speaker,
            codecs: FakeCodecs::default(),
            ppm,
            measured,
            offset_us: 5_000_000_000,
            transit_us: 30_000,
            delay_us: 90_000,
            talks: |number| Some(packet(number)),
            number: 1,
            sent: 1,
        }
    }

    fn feed(&self) -> &Feed {
        &self.speaker.feed
    }

    fn samples(&self) -> &[f32] {
        &self.speaker.samples
    }

    fn counts(&self) -> JitterCounts {
        self.feed().sound_counts()
    }

    /// Returns the local time at which the frame `number` is captured.
    fn captured_here_us(&self, number: u32) -> u64 {
        START_US + (f64::from(number) * SOUND_FRAME_US as f64 / (1.0 + self.ppm as f64 / 1e6)) as u64
    }

    /// Sends the frames that arrive before the step is played.
    fn send_until(&mut self, step: u32) {
        let now_us = sound_time(START_US, step) + self.delay_us;
        loop {
            let number = self.number;
            let here_us = self.captured_here_us(number);
            let arrived_us = here_us + self.transit_us;
            if arrived_us > now_us {
                return;
            }
            let captured_us = sound_time(START_US, number) - 5_000_000_000;
            if self.measured && number % 50 == 1 {
                let drifted_us = here_us.wrapping_sub(sound_time(START_US, number)).cast_signed();
                self.feed().set_clock_offset_us(Some(self.offset_us + drifted_us));
            }
            if let Some(data) = (self.talks)(number) {
                let mut frame = sound_frame(7, self.sent, captured_us, HZ, AMPLITUDE);
                frame.data = data;
                self.feed().push(frame, arrived_us);
                self.sent += 1;
            }
            self.number += 1;
        }
    }

    fn play(&mut self, step: u32) {
        self.speaker.play(sound_time(START_US, step), &self.codecs).unwrap();
    }
}

/// Measurements of a tone as it is played.
#[derive(Default)]
struct Heard {
    last: [f32; 2],
    samples: u64,
    /// Zero crossings since the tone began.
    crossings: u64,
    first_crossing: Option<f64>,
    last_crossing: f64,
    marked: (u64, f64),
    /// Largest second difference since the tone began.
    sharpest_bend: f32,
}

impl Heard {
    fn listen(&mut self, samples: &[f32]) {
        for &sample in samples {
            let [before, last] = self.last;
            if last < 0.0 && sample >= 0.0 {
                let part = f64::from(last / (last - sample));
                self.last_crossing = self.samples as f64 - 1.0 + part;
                match self.first_crossing {
                    None => self.first_crossing = Some(self.last_crossing),
                    Some(_) => self.crossings += 1,
                }
            }
            if self.first_crossing.is_some() {
                self.sharpest_bend = self.sharpest_bend.max((sample - 2.0 * last + before).abs());
            }
            self.last = [last, sample];
            self.samples += 1;
        }
    }

    /// Returns the time from the tone's first crossing to the last.
    fn seconds(&self) -> f64 {
        (self.last_crossing - self.first_crossing.unwrap()) / f64::from(SAMPLE_RATE)
    }

    fn turns(&self) -> f64 {
        self.crossings as f64
    }

    fn mark(&mut self) {
        self.marked = (self.crossings, self.last_crossing);
    }

    fn hz_since_mark(&self) -> f64 {
        let (crossings, at) = self.marked;
        (self.crossings - crossings) as f64 * f64::from(SAMPLE_RATE) / (self.last_crossing - at)
    }
}

/// Returns the largest second difference of the tone itself.
fn pure_bend() -> f32 {
    let turn = HZ as f32 * std::f32::consts::TAU / SAMPLE_RATE as f32;
    AMPLITUDE as f32 / 1_000.0 * turn * turn
}

fn packet(number: u32) -> Bytes {
    format!("{number} {HZ} {AMPLITUDE}").into_bytes().into()
}

/// Returns the number of the first frame, given its samples.
fn first_number(samples: &[f32]) -> u32 {
    let mut frame = vec![0.0; SOUND_FRAME_LEN];
    let mut is = |number| {
        let mut decoder = FakeCodecs::default().sound_decoder(1).unwrap();
        decoder.decode(&packet(number), &mut frame).unwrap();
        frame == samples
    };
    (1..20).find(|&number| is(number)).unwrap()
}
