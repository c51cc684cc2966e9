//! A shared film stays stereo, and everything else stays mono; with libopus from end to end.

#![cfg(feature = "codecs")]

use super::super::Input;
use super::super::feed::Feed;
use super::*;
use crate::codec::{SoundDecoder, VideoDecoder, VideoEncoder, VideoFormat};
use crate::{BuiltinCodecs, SAMPLE_RATE, SOUND_FRAME_LEN, SoundEncoding};

const START_US: u64 = 1_763_627_600_000_000;
/// Number of steps between a frame's arrival and its playout.
const AHEAD: u64 = 3;
/// Stereo bit of an Opus packet's first byte (RFC 6716, 3.1).
const TOC_STEREO: u8 = 4;
/// The film's left and right side, and the voice: tones with whole periods in 400 ms.
const LEFT_HZ: f32 = 440.0;
const RIGHT_HZ: f32 = 660.0;
const VOICE_HZ: f32 = 1_000.0;
/// Inputs: the shared film, and a speaker.
const FILM: u64 = 0;
const VOICE: u64 = 1;

/// A mixer with a film and a voice.
struct Cinema {
    program: SoundProgram,
    stage: Stage,
    encodings: [SoundEncoding; 2],
    step: u64,
    /// Stereo decoders of a viewer and of the voice's speaker.
    decoders: [Box<dyn SoundDecoder>; 2],
    heard: [Vec<f32>; 2],
    /// Stereo flag of each program packet.
    stereo: Vec<bool>,
    counts: Counts,
}

impl Cinema {
    fn new(codecs: Arc<dyn Codecs>) -> Cinema {
        let builtin = BuiltinCodecs::default();
        let input = |id| Input { shares: id == FILM, hears: id == VOICE, ..Input::new(id) };
        let inputs = [FILM, VOICE].map(|id| (input(id), Arc::new(Feed::new(id))));
        Cinema {
            program: SoundProgram::new(codecs, 48_000, 5).unwrap(),
            stage: Stage { inputs: inputs.to_vec(), ..Stage::default() },
            encodings: [(2, 64_000), (1, 32_000)]
                .map(|(channels, bps)| SoundEncoding::new(&builtin, channels, bps).unwrap()),
            step: 0,
            decoders: [(); 2].map(|()| builtin.sound_decoder(2).unwrap()),
            heard: Default::default(),
            stereo: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// Runs for some steps, with the film at this amplitude.
    fn run(&mut self, steps: u64, film: f32) {
        for _ in 0..steps {
            let time_us = START_US + self.step * SOUND_FRAME_US;
            let begin = self.step * SOUND_FRAME_LEN as u64;
            let tone = |hz: f32, at: u64| {
                (((begin + at) as f64 * f64::from(hz) / f64::from(SAMPLE_RATE)).fract() as f32
                    * std::f32::consts::TAU)
                    .sin()
            };
            let moments = 0..SOUND_FRAME_LEN as u64;
            let sides = moments.clone().flat_map(|at| [tone(LEFT_HZ, at), tone(RIGHT_HZ, at)]);
            let said = [
                sides.map(|sample| film * sample).collect::<Vec<f32>>(),
                moments.map(|at| 0.1 * tone(VOICE_HZ, at)).collect(),
            ];
            for ((encoding, samples), (input, feed)) in
                self.encodings.iter_mut().zip(said).zip(&self.stage.inputs)
            {
                let encoded = encoding.push(&samples, time_us).unwrap().unwrap();
                let stream = plenary_proto::StreamId(input.id.to_be_bytes());
                let number = self.step as u32 + 1;
                feed.push(encoded.identified(stream, number, number.into()).unwrap(), time_us);
            }
            if let Some(played) = self.step.checked_sub(AHEAD) {
                self.play(START_US + played * SOUND_FRAME_US);
            }
            self.step += 1;
        }
    }

    fn play(&mut self, captured_us: u64) {
        for output in self.program.step(captured_us, &self.stage, true, &self.counts) {
            let (listener, packet) = match output {
                MixerOutput::Sound { packet, .. } => {
                    self.stereo.push(packet[0] & TOC_STEREO != 0);
                    (0, packet)
                }
                MixerOutput::MixMinus { packet, .. } => (1, packet),
                _ => continue,
            };
            let mut samples = [0.0; 2 * SOUND_FRAME_LEN];
            self.decoders[listener].decode(&packet, &mut samples).unwrap();
            self.heard[listener].extend(samples);
        }
    }

    fn share(&mut self, shares: bool) {
        self.stage.inputs[FILM as usize].0.shares = shares;
    }

    /// Returns the level of a tone on each side in the last 400 ms, dB.
    fn sides_db(&self, listener: usize, hz: f32) -> [f64; 2] {
        let last = &self.heard[listener][self.heard[listener].len() - 2 * 20 * SOUND_FRAME_LEN..];
        [0, 1].map(|side| {
            let (mut sine, mut cosine) = (0.0, 0.0);
            for (at, sample) in last.iter().skip(side).step_by(2).enumerate() {
                let phase = at as f64 * f64::from(hz) * std::f64::consts::TAU / f64::from(SAMPLE_RATE);
                sine += f64::from(*sample) * phase.sin();
                cosine += f64::from(*sample) * phase.cos();
            }
            20.0 * (2.0 * sine.hypot(cosine) / (20 * SOUND_FRAME_LEN) as f64).max(1e-9).log10()
        })
    }
}

#[test]
fn each_side_of_what_is_shared_stays_on_its_side_and_a_voice_is_on_both() {
    let mut cinema = Cinema::new(Arc::new(BuiltinCodecs::default()));
    cinema.run(150, 0.2);
    for listener in 0..2 {
        let [left, right] = [LEFT_HZ, RIGHT_HZ].map(|hz| cinema.sides_db(listener, hz));
        assert!((left[0] + 14.0).abs() < 1.0 && left[0] - left[1] > 30.0, "{left:?}");
        assert!((right[1] + 14.0).abs() < 1.0 && right[1] - right[0] > 30.0, "{right:?}");
    }
    let [program, own] = [0, 1].map(|listener| cinema.sides_db(listener, VOICE_HZ));
    assert!((program[0] + 20.0).abs() < 1.0 && (program[0] - program[1]).abs() < 0.5, "{program:?}");
    assert!(own.iter().all(|db| *db < -50.0), "nobody hears itself: {own:?}");
    assert!(cinema.stereo[10..].iter().all(|stereo| *stereo));
}

#[test]
fn where_nobody_shares_all_is_mono_also_what_came_in_stereo() {
    let mut cinema = Cinema::new(Arc::new(BuiltinCodecs::default()));
    cinema.share(false);
    cinema.run(150, 0.2);
    assert!(!cinema.stereo.contains(&true));
    let [left, right] = [LEFT_HZ, RIGHT_HZ].map(|hz| cinema.sides_db(0, hz));
    for sides in [left, right] {
        assert!((sides[0] + 20.0).abs() < 1.0 && sides[0] == sides[1], "the mean of both sides: {sides:?}");
    }
}

#[test]
fn the_sound_of_a_speaker_with_a_screen_beside_its_camera_stays_in_stereo() {
    let mut cinema = Cinema::new(Arc::new(BuiltinCodecs::default()));
    cinema.share(false);
    let beside = Input { id: 7, shares: true, beside: Some(FILM), ..cinema.stage.inputs[0].0.clone() };
    cinema.stage.inputs.push((beside, Arc::new(Feed::new(7))));
    cinema.run(150, 0.2);
    assert!(cinema.stereo[10..].iter().all(|stereo| *stereo));
    let [left, right] = [LEFT_HZ, RIGHT_HZ].map(|hz| cinema.sides_db(0, hz));
    assert!(left[0] - left[1] > 30.0 && right[1] - right[0] > 30.0, "{left:?} {right:?}");
    assert!(!cinema.program.speakers.contains_key(&7), "the screen has no sound");
}

#[test]
fn a_voice_goes_on_without_a_click_when_a_film_begins_and_ends() {
    let mut cinema = Cinema::new(Arc::new(BuiltinCodecs::default()));
    let bend_of = |samples: &[f32]| {
        let sides = samples.windows(5).map(|five| (five[4] - 2.0 * five[2] + five[0]).abs());
        sides.fold(0.0, f32::max)
    };
    let turn = VOICE_HZ * std::f32::consts::TAU / SAMPLE_RATE as f32;
    cinema.run(100, 0.0);
    let begin = [0, 1].map(|listener| cinema.heard[listener].len());
    cinema.run(100, 1e-4); // hardly audible
    cinema.share(false);
    cinema.run(100, 0.0);
    let changes = cinema.stereo.windows(2).filter(|two| two[0] != two[1]).count();
    assert_eq!(changes, 2, "{:?}", cinema.stereo);
    let bend = bend_of(&cinema.heard[0][begin[0] - 2_000..]);
    assert!(bend < 2.0 * 0.1 * turn * turn, "{} times as sharply as the tone", bend / (0.1 * turn * turn));
}

/// Codecs of an application that supports only mono.
struct MonoCodecs(BuiltinCodecs);

impl Codecs for MonoCodecs {
    fn video_encoder(&self, format: &VideoFormat) -> Result<Box<dyn VideoEncoder>, CodecError> {
        self.0.video_encoder(format)
    }

    fn video_decoder(&self) -> Result<Box<dyn VideoDecoder>, CodecError> {
        self.0.video_decoder()
    }

    fn sound_encoder(&self, channels: u8, bitrate_bps: u32) -> Result<Box<dyn SoundEncoder>, CodecError> {
        let mono = if channels == 1 { 1 } else { u8::MAX };
        self.0.sound_encoder(mono, bitrate_bps)
    }

    fn sound_decoder(&self, channels: u8) -> Result<Box<dyn SoundDecoder>, CodecError> {
        self.0.sound_decoder(channels)
    }
}

#[test]
fn what_is_shared_is_heard_in_mono_where_no_encoder_does_stereo() {
    let mut cinema = Cinema::new(Arc::new(MonoCodecs(BuiltinCodecs::default())));
    cinema.run(150, 0.2);
    assert!(cinema.stereo.len() > 140 && !cinema.stereo.contains(&true));
    for hz in [LEFT_HZ, RIGHT_HZ, VOICE_HZ] {
        assert!(cinema.sides_db(0, hz).iter().all(|db| (db + 20.0).abs() < 1.0), "{hz}");
    }
    let errors = cinema.counts.codec_errors.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(errors, 1, "it is tried once");
}
