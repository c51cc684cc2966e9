//! Runs a mixer in real time. Speakers are encoded by openh264 and libopus, cut into packets, sent over a
//! link with delay and loss, reassembled, and mixed. Prints the cost.
//!
//! `cargo run --release -p plenary-media --example mixer_live -- [SPEAKERS [SECONDS [LOSS_PERCENT [PROGRAM.h264]]]]`

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use plenary_media::assembly::{Assembled, Assembler, Packet};
use plenary_media::codec::{Codecs, EncodedPicture, VideoFormat};
use plenary_media::compose::Layout;
use plenary_media::mixer::{Input, Mixer, MixerConfig, MixerOutput};
use plenary_media::payload::packetize;
use plenary_media::source::{Source, TestSource};
use plenary_media::{BuiltinCodecs, Frame, SOUND_FRAME_LEN, SOUND_FRAME_US};
use plenary_proto::StreamId;
use plenary_proto::identity::{FrameIdentity, MediaKind, h264, opus};

const INPUT: VideoFormat = VideoFormat { width: 640, height: 360, fps: 30, bitrate_bps: 600_000 };
const PROGRAM: VideoFormat = VideoFormat { width: 1280, height: 720, fps: 30, bitrate_bps: 1_500_000 };
/// Frames of a source's loop, which begins with a keyframe.
const LOOP_LEN: usize = 60;
const PATH_US: u64 = 30_000;
const JITTER_US: u64 = 10_000;
const HOLE_US: u64 = 60_000;
const START_US: u64 = 1_763_627_600_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| arguments.next().map_or(Ok(default), |text| text.parse::<u64>());
    let (speakers, seconds, loss_percent) = (number(4)?, number(10)?, number(0)?);
    let mut program_file = arguments.next().map(std::fs::File::create).transpose()?;

    let codecs: Arc<dyn Codecs> = Arc::new(BuiltinCodecs::default());
    let loops: Vec<Loop> = (0..4).map(|index| Loop::new(&*codecs, index)).collect::<Result<_, _>>()?;
    let started = Instant::now();
    let clock = move || START_US + started.elapsed().as_micros() as u64;
    let (outputs, given) = mpsc::channel();
    let config = MixerConfig {
        program: PROGRAM,
        layout: Layout::Grid,
        sound_bitrate_bps: 32_000,
        heard_max: 5,
        codecs,
        falls_back: true,
    };
    let mixer = Mixer::start(config, clock, move |output| drop(outputs.send(output)))?;
    let input = |id| Input { name: format!("Speaker {id}"), hears: true, ..Input::new(id) };
    mixer.set_inputs((0..speakers).map(input).collect())?;
    mixer.begin(0);

    let mut links: Vec<Link> = (0..speakers).map(|id| Link::new(id, loss_percent)).collect();
    let (mut pictures, mut bytes, mut sounds, mut keys_wanted) = (0_u64, 0, 0_u64, 0_u64);
    while clock() < START_US + seconds * 1_000_000 {
        for link in &mut links {
            link.send(&loops[link.id as usize % loops.len()], clock());
            link.receive(&mixer, clock());
        }
        while let Ok(output) = given.recv_timeout(Duration::from_millis(1)) {
            match output {
                MixerOutput::Video { picture, .. } => {
                    pictures += 1;
                    bytes += picture.data.len();
                    if let Some(file) = &mut program_file {
                        std::io::Write::write_all(file, &picture.data)?;
                    }
                }
                MixerOutput::Sound { .. } => sounds += 1,
                MixerOutput::KeyWanted { id } => {
                    keys_wanted += 1;
                    links[id as usize].key_wanted = true;
                }
                MixerOutput::Effort(change) => println!("effort: {}, {}", change.effort, change.why),
                MixerOutput::CodecFailed { text, remedy, .. } => println!("a codec failed, {remedy}: {text}"),
                MixerOutput::MixMinus { .. } | MixerOutput::TilesMoved => {}
            }
        }
    }
    let stats = mixer.stats();
    drop(mixer);
    println!(
        "{pictures} pictures, {} kbit/s, {sounds} sounds, {keys_wanted} key frames wanted",
        bytes as u64 * 8 / seconds / 1_000
    );
    println!("{:.3} cores", stats.cpu.unwrap_or_default().total_us as f64 / seconds as f64 / 1e6);
    println!("{stats:#?}");
    Ok(())
}

/// Encoded pictures and sound of a test source, sent in a loop.
struct Loop {
    pictures: Vec<EncodedPicture>,
    sounds: Vec<Bytes>,
}

impl Loop {
    fn new(codecs: &dyn Codecs, index: u8) -> Result<Loop, Box<dyn Error>> {
        let mut source = TestSource::new(index, INPUT.width, INPUT.height, INPUT.fps);
        let mut encoder = codecs.video_encoder(&INPUT)?;
        let mut sound_encoder = codecs.sound_encoder(1, 32_000)?;
        let (mut pictures, mut sounds) = (Vec::new(), Vec::new());
        for number in 0..LOOP_LEN {
            source.next_picture()?;
            pictures.extend(encoder.encode(&source.picture(), number == 0)?);
            let mut samples = [0.0; SOUND_FRAME_LEN];
            source.next_sound(&mut samples)?;
            sounds.push(sound_encoder.encode(&samples)?);
        }
        Ok(Loop { pictures, sounds })
    }
}

/// The link from one speaker to the mixer.
struct Link {
    id: u64,
    loss_percent: u64,
    begun_us: u64,
    frames: [u32; 2],
    packets: [u64; 2],
    /// Position in the source's loop.
    picture: usize,
    key_wanted: bool,
    random: u64,
    under_way: [VecDeque<(u64, Packet)>; 2],
    readers: BTreeMap<MediaKind, Assembler>,
}

impl Link {
    fn new(id: u64, loss_percent: u64) -> Link {
        let reader = |kind| (kind, Assembler::new(stream(id), kind, HOLE_US));
        Link {
            id,
            loss_percent,
            // speakers begin at different instants
            begun_us: START_US + id * 7_919,
            frames: [0; 2],
            packets: [0; 2],
            picture: 0,
            key_wanted: false,
            random: id + 1,
            under_way: Default::default(),
            readers: [reader(MediaKind::Video), reader(MediaKind::Sound)].into(),
        }
    }

    /// Sends the frames captured until now.
    fn send(&mut self, source: &Loop, now_us: u64) {
        for (index, kind) in [MediaKind::Video, MediaKind::Sound].into_iter().enumerate() {
            let step = |number: u32| match kind {
                MediaKind::Video => u64::from(number) * 1_000_000 / u64::from(INPUT.fps),
                MediaKind::Sound => u64::from(number) * SOUND_FRAME_US,
            };
            while self.begun_us + step(self.frames[index]) <= now_us {
                let captured_us = self.begun_us + step(self.frames[index]);
                self.frames[index] += 1;
                let number = self.frames[index];
                let mut identity = FrameIdentity {
                    first_packet: self.packets[index] + 1,
                    ..FrameIdentity::single(stream(self.id), number, captured_us)
                };
                let data = match kind {
                    MediaKind::Video => {
                        if std::mem::take(&mut self.key_wanted) {
                            self.picture = 0;
                        }
                        let picture = &source.pictures[self.picture];
                        self.picture = (self.picture + 1) % source.pictures.len();
                        identity.key = picture.key;
                        h264::mark(&picture.data, &identity)
                    }
                    MediaKind::Sound => {
                        opus::mark(&source.sounds[number as usize % source.sounds.len()], &identity)
                    }
                };
                let Some(data) = data else { continue };
                self.put_on_the_way(
                    index,
                    &Frame { kind, identity, data: data.into(), level: None },
                    captured_us,
                );
            }
        }
    }

    fn put_on_the_way(&mut self, index: usize, frame: &Frame, captured_us: u64) {
        for payload in packetize(frame).unwrap_or_default() {
            self.packets[index] += 1;
            self.random =
                self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let random = self.random >> 33;
            if random % 100 >= self.loss_percent {
                let arrives_us = captured_us + PATH_US + (random >> 7) % JITTER_US;
                let packet = Packet {
                    number: self.packets[index],
                    timestamp: payload.timestamp,
                    marker: payload.marker,
                    payload: payload.bytes,
                    level: frame.level,
                };
                self.under_way[index].push_back((arrives_us, packet));
            }
        }
    }

    /// Passes the frames that have arrived to the mixer.
    fn receive(&mut self, mixer: &Mixer, now_us: u64) {
        for (under_way, reader) in self.under_way.iter_mut().zip(self.readers.values_mut()) {
            while let Some((_, packet)) = under_way.pop_front_if(|(arrives_us, _)| *arrives_us <= now_us) {
                reader.push(now_us, packet);
            }
            while let Some(assembled) = reader.poll(now_us) {
                match assembled {
                    Assembled::Frame(frame) => mixer.push(self.id, frame, now_us),
                    Assembled::KeyWanted => self.key_wanted = true,
                    Assembled::LeftOut | Assembled::Unreadable { .. } => {}
                }
            }
        }
    }
}

fn stream(id: u64) -> StreamId {
    StreamId(id.to_be_bytes())
}
