//! What the sound of many speakers costs a mixer, in processor time: all its sound, with libopus, under a clock that
//! jumps from step to step. Speakers take turns: so many speak at a time, the others' rooms are quiet but not silent.
//!
//! `cargo run --release -p plenary-media --example sound_cost -- [SPEAKERS [HEARD [SECONDS [WAV...]]]]`

use std::error::Error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use plenary_media::codec::{Codecs, VideoFormat};
use plenary_media::compose::Layout;
use plenary_media::mixer::{Input, Mixer, MixerConfig, MixerOutput};
use plenary_media::source::{Source, TestSource, open_source};
use plenary_media::{BuiltinCodecs, Frame, SOUND_FRAME_LEN, SOUND_FRAME_US, SoundEncoding};
use plenary_proto::StreamId;

/// Hardly any picture: only sound is looked at.
const PROGRAM: VideoFormat = VideoFormat { width: 64, height: 36, fps: 1, bitrate_bps: 20_000 };
const SOUND_BPS: u32 = 32_000;
/// How long the same ones speak: 4 s.
const TURN_STEPS: u64 = 200;
/// The noise of a room, peak: −60 dBov of the root mean square.
const NOISE: f32 = 0.0017;
/// Steps before those that count.
const WARM_UP: u64 = 100;
const TRANSIT_US: u64 = 30_000;
const START_US: u64 = 1_800_000_000_000_000;
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| arguments.next().map_or(Ok(default), |text| text.parse::<u64>());
    let (speakers, heard, seconds) = (number(50)?.max(1), number(3)?.max(1), number(20)?.clamp(1, 3600));
    let files: Vec<PathBuf> = arguments.map(PathBuf::from).collect();

    let codecs: Arc<dyn Codecs> = Arc::new(BuiltinCodecs::default());
    let now_us = Arc::new(AtomicU64::new(START_US));
    let clock = Arc::clone(&now_us);
    let (outputs, given) = mpsc::channel();
    let config = MixerConfig {
        program: PROGRAM,
        layout: Layout::Grid,
        sound_bitrate_bps: SOUND_BPS,
        heard_max: heard as usize,
        codecs: Arc::clone(&codecs),
    };
    let mixer =
        Mixer::start(config, move || clock.load(Ordering::SeqCst), move |output| drop(outputs.send(output)))?;
    let input = |id| Input { id, name: String::new(), muted: false, shares: false, hears: true };
    mixer.set_inputs((0..speakers).map(input).collect())?;
    mixer.speak(0);

    let mut rooms: Vec<Room> =
        (0..speakers).map(|id| Room::new(id, &codecs, &files)).collect::<Result<_, _>>()?;
    let (mut before_us, mut encoded_apart, mut begun_to_be_heard) = (0, 0_u64, 0_usize);
    let (mut heard_before, mut shared) = (Vec::new(), None);
    let steps = seconds * 50;
    for step in 0..WARM_UP + steps {
        let captured_us = START_US + step * SOUND_FRAME_US;
        let turn = step / TURN_STEPS;
        let mut frames = Vec::new();
        for room in &mut rooms {
            let speaks = (room.id + speakers - turn * heard % speakers) % speakers < heard;
            frames.push((room.id, room.frame(captured_us, speaks)?));
        }
        now_us.store(captured_us + TRANSIT_US, Ordering::SeqCst);
        for (id, frame) in frames {
            mixer.push(id, frame, captured_us + TRANSIT_US);
        }
        if step == WARM_UP {
            before_us = sound_us(&mixer);
        }
        mixer.clock_jumped();
        // the delay moves, so in some steps there are two and in some none
        let wait = if step == 0 { PATIENCE } else { Duration::from_millis(3) };
        let mut came = false;
        while let Ok(output) = given.recv_timeout(if came { Duration::ZERO } else { wait }) {
            came = true;
            match output {
                MixerOutput::Sound { packet, contributors, .. } => {
                    let contributors: Vec<u64> = contributors.iter().map(|(id, _)| *id).collect();
                    if step >= WARM_UP {
                        begun_to_be_heard +=
                            contributors.iter().filter(|&id| !heard_before.contains(id)).count();
                    }
                    (shared, heard_before) = (Some(packet), contributors);
                }
                MixerOutput::MixMinus { packet, .. } if shared.as_ref() != Some(&packet) => {
                    encoded_apart += u64::from(step >= WARM_UP);
                }
                _ => {}
            }
        }
    }
    let spent_us = sound_us(&mixer) - before_us;
    let percent = spent_us as f64 / (steps * SOUND_FRAME_US) as f64 * 100.0;
    println!(
        "{{\"speakers\": {speakers}, \"heard\": {heard}, \"seconds\": {seconds}, \"core_percent\": {percent:.2}, \
         \"us_per_step\": {:.0}, \"encoded_apart_per_step\": {:.2}, \"begun_to_be_heard_per_second\": {:.2}}}",
        spent_us as f64 / steps as f64,
        encoded_apart as f64 / steps as f64,
        begun_to_be_heard as f64 / seconds as f64,
    );
    Ok(())
}

fn sound_us(mixer: &Mixer) -> u64 {
    mixer.stats().cpu.unwrap_or_default().sound_us
}

/// One speaker's microphone and encoder.
struct Room {
    id: u64,
    source: Box<dyn Source>,
    encoding: SoundEncoding,
    random: u32,
    number: u32,
}

impl Room {
    fn new(id: u64, codecs: &Arc<dyn Codecs>, files: &[PathBuf]) -> Result<Room, Box<dyn Error>> {
        let source: Box<dyn Source> = match files.get(id as usize % files.len().max(1)) {
            Some(file) => open_source(file, codecs)?,
            None => Box::new(TestSource::new(id as u8, 64, 36, 1)),
        };
        let encoding = SoundEncoding::new(&**codecs, 1, SOUND_BPS)?;
        Ok(Room { id, source, encoding, random: id as u32 + 1, number: 0 })
    }

    fn frame(&mut self, captured_us: u64, speaks: bool) -> Result<Frame, Box<dyn Error>> {
        let channels = usize::from(self.source.channels().ok_or("it has no sound")?);
        let mut read = vec![0.0; SOUND_FRAME_LEN * channels];
        self.source.next_sound(&mut read)?;
        let samples: Vec<f32> =
            read.iter().step_by(channels).map(|sample| if speaks { *sample } else { 0.0 }).collect();
        let samples: Vec<f32> = samples.into_iter().map(|sample| sample + self.noise()).collect();
        let encoded = self.encoding.push(&samples, captured_us)?.ok_or("nothing is left out")?;
        self.number += 1;
        Ok(encoded.identified(StreamId(self.id.to_be_bytes()), self.number).ok_or("sound has an identity")?)
    }

    fn noise(&mut self) -> f32 {
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((self.random >> 8) as f32 / (1 << 23) as f32 - 1.0) * NOISE
    }
}
