//! Many speakers that state their levels, of which only a few are decoded.

use std::sync::atomic::Ordering;

use super::super::Input;
use super::super::fake::{FakeCodecs, sound_frame, sound_time, tone_in};
use super::super::feed::Feed;
use super::*;

const START_US: u64 = 1_763_627_600_000_000;
const SPEAKERS: u64 = 20;
const HEARD_MAX: usize = 2;
/// Number of steps between a frame's arrival and its playout.
const AHEAD: u32 = 2;
/// Amplitudes in thousandths.
const LOUD: u32 = 100;
const NOISE: u32 = 1;

#[test]
fn only_those_who_are_heard_and_may_be_next_are_decoded() {
    let mut hall = Hall::new();
    let noisy = |id| if id < 2 { LOUD } else { NOISE };
    hall.run(1..100, noisy);
    let before = hall.decoded();
    let contributors = hall.run(100..300, noisy);
    assert_eq!(contributors, [0, 1]);
    let per_step = (hall.decoded() - before) / 200;
    assert_eq!(per_step, HEARD_MAX + NEXT_MAX, "of {SPEAKERS}");
}

#[test]
fn whoever_begins_to_speak_is_decoded_and_right_before_it_is_heard() {
    let mut hall = Hall::new();
    hall.run(1..100, |id| if id < 2 { LOUD } else { NOISE });
    let mut heard_for = 0;
    for step in 100..200 {
        let contributors = hall.run(step..step + 1, |id| {
            if id == 15 {
                3 * LOUD
            } else if id < 2 {
                LOUD
            } else {
                NOISE
            }
        });
        heard_for += u32::from(contributors.contains(&15));
        let tone = tone_in(&hall.shared, hz(15));
        match heard_for {
            0 | 1 => assert!(step < 110, "it waits for too long"), // still fading in
            _ => assert!((0.28..0.32).contains(&tone), "{tone} in step {step}"),
        }
    }
    assert!(heard_for > 90);
}

#[test]
fn who_says_it_is_loud_and_is_not_is_not_heard() {
    let mut hall = Hall::new();
    hall.said = |id, amplitude| if id > 10 { 0 } else { said(amplitude) };
    hall.run(1..100, |_| NOISE);
    let contributors = hall.run(100..200, |id| if id < 2 { LOUD } else { 0 });
    assert_eq!(contributors, [0, 1]);
}

#[test]
fn the_muted_are_not_decoded_and_are_heard_when_they_are_no_more() {
    let mut hall = Hall::new();
    let one = |id| if id == 7 { LOUD } else { NOISE };
    hall.run(1..100, one);
    hall.mute(true);
    assert!(hall.run(100..200, one).is_empty());
    let before = hall.decoded();
    hall.run(200..300, one);
    assert_eq!(hall.decoded(), before);
    hall.mute(false);
    assert!(hall.run(300..400, one).contains(&7));
    assert!((0.09..0.11).contains(&tone_in(&hall.shared, hz(7))));
}

#[test]
fn each_encoder_in_use_is_told_the_loss_once() {
    let mut hall = Hall::new();
    hall.run(1..100, |id| if id < 2 { LOUD } else { NOISE });
    let told = |hall: &Hall| hall.codecs.0.losses_told.swap(0, Ordering::Relaxed);
    for (percent, sum) in [(None, 0), (Some(7), 3 * 7), (Some(7), 0), (None, 0), (Some(2), 3 * 2)] {
        hall.program.set_loss(percent);
        assert_eq!(told(&hall), sum, "{percent:?}");
    }
    // encoders of speakers heard later get the loss too
    hall.run(100..200, |id| if (5..7).contains(&id) { LOUD } else { 0 });
    assert_eq!(told(&hall), 2 * 2);
}

/// Compares, with libopus and speech, the first frames of a decoder that resumes with those of one that never
/// paused, pooled over 30 places.
#[cfg(feature = "files")]
#[test]
fn a_decoder_that_caught_up_hardly_differs_from_one_that_never_paused() {
    const STEPS: u32 = 330;
    let codecs: Arc<dyn Codecs> = Arc::new(crate::BuiltinCodecs::default());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/media/speech-2.wav");
    let mut speech = crate::source::open_source(path.as_ref(), &codecs).unwrap();
    let mut encoder = codecs.sound_encoder(1, 32_000).unwrap();
    let mut samples = vec![0.0; crate::SOUND_FRAME_LEN];
    let speaker = || Speaker::new(Arc::new(Feed::new(0)));
    let (mut always, mut paused) = (speaker(), speaker());
    always.set_decoded(true);
    let (mut speech_energy, mut error_energy) = (0.0, 0.0);
    for step in 1..STEPS {
        speech.next_sound(&mut samples).unwrap();
        let mut frame = sound_frame(0, step, sound_time(START_US, step), 0, 0);
        frame.data = encoder.encode(&samples).unwrap();
        for speaker in [&always, &paused] {
            speaker.feed.push(frame.clone(), frame.identity.captured_us);
        }
        // pauses for 9 steps, and then decodes 2
        paused.set_decoded(step % 11 >= 9);
        always.play(sound_time(START_US, step), &*codecs).unwrap();
        paused.play(sound_time(START_US, step), &*codecs).unwrap();
        if step % 11 == 9 {
            let square = |sum: f32, value: f32| sum + value * value;
            speech_energy += always.samples.iter().copied().fold(0.0, square);
            let errors = always.samples.iter().zip(&paused.samples).map(|(one, other)| one - other);
            error_energy += errors.fold(0.0, square);
        }
    }
    let apart_db = 10.0 * (speech_energy / error_energy).log10();
    assert!(apart_db > 26.0, "only {apart_db} dB below the speech");
}

/// Speakers without pictures, and the program's sound.
struct Hall {
    codecs: FakeCodecs,
    stage: Stage,
    program: SoundProgram,
    counts: Counts,
    /// The level that a speaker states for a frame of this amplitude.
    said: fn(u64, u32) -> u8,
    /// The newest packet of the program's sound.
    shared: Bytes,
}

impl Hall {
    fn new() -> Hall {
        let codecs = FakeCodecs::default();
        let program = SoundProgram::new(Arc::new(codecs.clone()), 32_000, HEARD_MAX).unwrap();
        let input = |id| Input { hears: true, ..Input::new(id) };
        let inputs = (0..SPEAKERS).map(|id| (input(id), Arc::new(Feed::new(id)))).collect();
        Hall {
            codecs,
            stage: Stage { inputs, ..Stage::default() },
            program,
            counts: Counts::default(),
            said: |_, amplitude| said(amplitude),
            shared: Bytes::new(),
        }
    }

    fn mute(&mut self, muted: bool) {
        self.stage.inputs.iter_mut().for_each(|(input, _)| input.muted = muted);
    }

    fn decoded(&self) -> usize {
        self.codecs.0.sounds_decoded.load(Ordering::Relaxed)
    }

    /// Plays these steps; returns the contributors of the last.
    fn run(&mut self, steps: std::ops::Range<u32>, amplitude: impl Fn(u64) -> u32) -> Vec<u64> {
        let mut heard = Vec::new();
        for step in steps {
            for (input, feed) in &self.stage.inputs {
                let number = step + AHEAD;
                let amplitude = amplitude(input.id);
                let mut frame =
                    sound_frame(input.id, number, sound_time(START_US, number), hz(input.id), amplitude);
                frame.level = Some((self.said)(input.id, amplitude));
                feed.push(frame, sound_time(START_US, number));
            }
            for output in self.program.step(sound_time(START_US, step), &self.stage, true, &self.counts) {
                if let MixerOutput::Sound { packet, contributors, .. } = output {
                    (self.shared, heard) = (packet, contributors.iter().map(|(id, _)| *id).collect());
                }
            }
        }
        heard
    }
}

/// Returns the level of a tone of this amplitude.
fn said(amplitude: u32) -> u8 {
    level(&[amplitude as f32 / 1_000.0 / std::f32::consts::SQRT_2])
}

/// Returns the frequency of a speaker's tone: whole periods in 20 ms.
fn hz(id: u64) -> u32 {
    400 + 150 * id as u32
}
