//! Compares a speaker that uses DTX with the same speaker without it: libopus and speech.

#![cfg(feature = "files")]

use super::super::Input;
use super::super::feed::Feed;
use super::*;
use crate::codec::Codecs;
use crate::source::{Source, open_source};
use crate::{BuiltinCodecs, SOUND_FRAME_LEN, SoundEncoding};

const START_US: u64 = 1_763_627_600_000_000;
/// Number of steps between a frame's arrival and its playout.
const AHEAD: usize = 3;
const SOUND_BPS: u32 = 32_000;
/// Duration of each turn of speech or silence, in steps.
const TURN: usize = 150;

/// Returns a sample of room noise with this root mean square.
fn noise(seed: usize, rms: f32) -> f32 {
    let mut state = seed as u64 ^ 0x9e37_79b9_7f4a_7c15;
    for _ in 0..3 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state ^= state >> 29;
    }
    ((state >> 40) as f32 / (1 << 23) as f32 - 1.0) * rms * 3f32.sqrt()
}

fn codecs() -> Arc<dyn Codecs> {
    Arc::new(BuiltinCodecs::default())
}

/// Returns frames of speech, in which every second turn contains only noise.
fn speech(steps: usize, noise_rms: f32) -> Vec<Vec<f32>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/media/speech-1.wav");
    let mut source: Box<dyn Source> = open_source(path.as_ref(), &codecs()).unwrap();
    let frame = |step: usize| {
        let mut samples = vec![0.0; SOUND_FRAME_LEN];
        if step / TURN % 2 == 1 {
            source.next_sound(&mut samples).unwrap();
        }
        let noisy = samples.iter().enumerate();
        noisy.map(|(at, sample)| sample + noise(step * SOUND_FRAME_LEN + at, noise_rms)).collect()
    };
    (0..steps).map(frame).collect()
}

/// Sends the voices to a mixer. Returns its sound step by step, and how many frames and bytes were sent.
fn heard(voices: &[&[Vec<f32>]], dtx: bool) -> (Vec<Vec<f32>>, usize, usize) {
    let codecs = codecs();
    let inputs = (0..voices.len() as u64).map(|id| (Input::new(id), Arc::new(Feed::new(id)))).collect();
    let stage = Stage { inputs, ..Stage::default() };
    let mut program = SoundProgram::new(codecs.clone(), 48_000, 5).unwrap();
    let mut encodings: Vec<SoundEncoding> =
        voices.iter().map(|_| SoundEncoding::new(&*codecs, 1, SOUND_BPS).unwrap()).collect();
    encodings.iter_mut().for_each(|encoding| encoding.set_dtx(dtx));
    let (mut frames, mut bytes, mut numbers) = (0, 0, vec![0; voices.len()]);
    let mut sound = Vec::new();
    let time = |step: usize| START_US + step as u64 * SOUND_FRAME_US;
    let steps = voices[0].len();
    for step in 0..steps {
        for (at, (encoding, voice)) in encodings.iter_mut().zip(voices).enumerate() {
            let Some(encoded) = encoding.push(&voice[step], time(step)).unwrap() else { continue };
            numbers[at] += 1;
            frames += 1;
            bytes += encoded.data.len();
            let (_, feed) = &stage.inputs[at];
            let stream = plenary_proto::StreamId([at as u8; 8]);
            feed.push(encoded.identified(stream, numbers[at], numbers[at].into()).unwrap(), time(step));
        }
        if let Some(played) = step.checked_sub(AHEAD) {
            program.step(time(played), &stage, true, &Counts::default());
            sound.push(program.mix.shared().to_vec());
        }
    }
    (sound, frames, bytes)
}

fn energy(samples: &[f32]) -> f64 {
    samples.iter().map(|sample| f64::from(*sample).powi(2)).sum()
}

/// Returns how far the difference of two sounds is below the first, dB.
fn apart_db(one: &[Vec<f32>], other: &[Vec<f32>]) -> f64 {
    let error: f64 = one
        .iter()
        .zip(other)
        .flat_map(|(one, other)| one.iter().zip(other))
        .map(|(one, other)| f64::from(one - other).powi(2))
        .sum();
    10.0 * (one.iter().map(|frame| energy(frame)).sum::<f64>() / error).log10()
}

/// Returns how much louder one frame is than another, dB.
fn louder_db(one: &[f32], other: &[f32]) -> f64 {
    10.0 * (energy(one) / energy(other)).log10()
}

/// Returns the frames of every second turn.
fn turns(second: usize, len: usize) -> impl Iterator<Item = usize> {
    (0..len).filter(move |step| step / TURN % 2 == second)
}

#[test]
fn silence_is_hardly_sent_and_the_mix_is_the_same() {
    // frames sent of 600, with digital silence and with room noise, which counts as silence after louder
    // sound
    for (noise_rms, sent) in [(0.0, 346), (0.001, 483)] {
        let voice = speech(4 * TURN, noise_rms);
        let (all, all_frames, all_bytes) = heard(&[&voice], false);
        let (some, frames, bytes) = heard(&[&voice], true);
        assert_eq!((all_frames, frames), (4 * TURN, sent));
        assert!(bytes < all_bytes * 9 / 10, "{bytes} of {all_bytes}");
        let apart_db = apart_db(&all, &some);
        assert!(apart_db > 26.0, "only {apart_db} dB below the speech");
        // speech after a silence, from its first frame on
        for step in turns(1, all.len()) {
            let louder_db = louder_db(&some[step], &all[step]);
            let heard = energy(&all[step]) > 1e-3;
            assert!(!heard || louder_db.abs() < 4.0, "{louder_db} dB at {step}");
        }
        for step in turns(0, all.len()) {
            if noise_rms > 0.0 {
                let louder_db = louder_db(&some[step], &all[step]);
                assert!((-5.0..1.0).contains(&louder_db), "the room's noise: {louder_db} dB at {step}");
            } else if step % TURN > 20 {
                // the speech has died away, including the codec's delay
                assert!(energy(&some[step]) < 1e-6, "noise is made up at {step}");
            }
        }
    }
}

#[test]
fn beside_others_who_speak_a_silent_one_changes_nothing() {
    let loud = speech(2 * TURN, 0.0);
    let others: Vec<Vec<f32>> = (0..2 * TURN).map(|step| loud[(step + TURN) % (2 * TURN)].clone()).collect();
    let (all, ..) = heard(&[&loud, &others], false);
    let (some, ..) = heard(&[&loud, &others], true);
    let apart_db = apart_db(&all, &some);
    assert!(apart_db > 40.0, "only {apart_db} dB below");
}

#[test]
fn a_tone_behind_a_silence_begins_without_a_click() {
    let turn = 440.0 * std::f32::consts::TAU / crate::SAMPLE_RATE as f32;
    // swells, since a sudden beginning would click
    let swell = |at: usize| (at as f32 / SOUND_FRAME_LEN as f32).min(1.0);
    let sample = |at: usize| 0.1 * swell(at % (TURN * SOUND_FRAME_LEN)) * (at as f32 * turn).sin();
    let frame = |step: usize| -> Vec<f32> {
        let begin = step * SOUND_FRAME_LEN;
        let speaks = step / TURN != 1;
        (begin..begin + SOUND_FRAME_LEN).map(|at| if speaks { sample(at) } else { 0.0 }).collect()
    };
    let voice: Vec<Vec<f32>> = (0..3 * TURN).map(frame).collect();
    let (all, ..) = heard(&[&voice], false);
    let (some, frames, _) = heard(&[&voice], true);
    assert!(frames < 2 * TURN + 30, "{frames}");
    let begin = some[2 * TURN - 1..2 * TURN + 20].concat();
    let bend = begin.windows(3).map(|three| (three[2] - 2.0 * three[1] + three[0]).abs()).fold(0.0, f32::max);
    let pure = 0.1 * turn * turn;
    assert!(bend < 2.0 * pure, "bent {} times as sharply as the tone", bend / pure);
    for step in 2 * TURN..some.len() {
        let louder_db = louder_db(&some[step], &all[step]);
        assert!(louder_db.abs() < 3.0, "{louder_db} dB at {step}");
    }
}
