//! Decoders for received frames, for applications that want pictures and sound rather than encoded frames.
//!
//! Each listener has its own thread. Pictures are handed over as soon as they are decoded. Sound is an even
//! stream of 20 ms frames: a jitter buffer delays it, and lost frames are concealed.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use futures::Stream;
use plenary_body::{Origin, ReceivedFrame, Shedding};
use plenary_media::codec::{Codecs, SoundDecoder, VideoDecoder};
use plenary_media::jitter::{JitterBuffer, Pulled};
use plenary_media::{Clock, Picture, SOUND_FRAME_LEN, SOUND_FRAME_US};
use plenary_proto::StreamId;
use plenary_proto::identity::{FrameIdentity, MediaKind};
use tokio::sync::mpsc;

use crate::Error;
use crate::threads::Threads;

/// Maximum number of decoded pictures queued for the application. Few, so that the application sees recent
/// pictures.
const PICTURES_MAX: usize = 4;
/// Maximum number of decoded 20 ms sound frames queued for the application: half a second.
const SOUND_MAX: usize = 25;
/// Number of channels of decoded sound. Mono is decoded to two channels too, so that a player needn't change
/// its output when the sound becomes stereo.
const CHANNELS: u8 = 2;
/// Samples of 20 ms, all channels.
const FRAME_LEN: usize = SOUND_FRAME_LEN * CHANNELS as usize;
/// Maximum delay of sound to keep it in step with pictures, microseconds, on top of the shortest transit
/// time. It bounds the hold whatever the maker's clock says, and leaves room for the longest hold plus
/// changes of the transit time. A guess.
const IN_STEP_US_MAX: u64 = 1_000_000;
/// Maximum number of speakers in a mesh that are decoded at a time.
const VOICES_MAX: usize = 4;

/// A decoded picture.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DecodedPicture {
    /// Stream that the picture belongs to: the program, or one speaker's own stream.
    pub origin: Origin,
    /// Width, height and I420 samples; [`Picture::view`] returns the planes with their strides.
    pub picture: Arc<Picture>,
    /// Capture time, microseconds since 1970 by the clock of the peer that made the picture.
    pub captured_us: u64,
}

/// A frame of 20 ms of sound.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DecodedSound {
    /// 960 samples per channel at 48 kHz, interleaved, from −1 to 1.
    pub samples: Vec<f32>,
    /// Number of channels: always 2. Mono sound is on both channels.
    pub channels: u8,
    /// Playout time, microseconds since 1970 by this peer's clock.
    pub played_us: u64,
    /// Whether a packet was lost and concealed.
    pub concealed: bool,
}

impl DecodedSound {
    /// Returns the mean of the channels: 960 samples.
    pub fn mono(&self) -> impl Iterator<Item = f32> + '_ {
        let channels = usize::from(self.channels.max(1));
        self.samples.chunks_exact(channels).map(move |moment| moment.iter().sum::<f32>() / channels as f32)
    }
}

/// [`Stream`] of decoded pictures. At most four are queued; while the queue is full, later pictures are
/// dropped.
#[derive(Debug)]
pub struct Pictures(mpsc::Receiver<DecodedPicture>);

/// Even [`Stream`] of 20 ms sound frames, with silence while no sound is received. At most half a second is
/// queued; while the queue is full, later sound is dropped.
#[derive(Debug)]
pub struct Sound(mpsc::Receiver<DecodedSound>);

macro_rules! stream_of {
    ($name:ident: $item:ty) => {
        impl $name {
            /// Returns the next item; `None` when the room is closed.
            pub async fn next(&mut self) -> Option<$item> {
                self.0.recv().await
            }
        }

        impl Stream for $name {
            type Item = $item;
            fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<$item>> {
                self.0.poll_recv(cx)
            }
        }
    };
}
stream_of!(Pictures: DecodedPicture);
stream_of!(Sound: DecodedSound);

/// Decodes the pictures among `frames`, apart from those that `shedding` says to leave out. Calls `key_wanted` when a
/// picture cannot be decoded.
pub(crate) fn pictures(
    mut frames: mpsc::Receiver<ReceivedFrame>,
    codecs: Arc<dyn Codecs>,
    shedding: impl Fn() -> Shedding + Send + 'static,
    key_wanted: impl Fn(Origin) + Send + 'static,
    threads: &Threads,
) -> Result<Pictures, Error> {
    let (decoded, pictures) = mpsc::channel(PICTURES_MAX);
    threads.spawn("pictures", move || {
        let mut decoders: BTreeMap<Origin, (StreamId, Box<dyn VideoDecoder>)> = BTreeMap::new();
        let mut left_out = LeftOut::default();
        while let Some(received) = frames.blocking_recv() {
            let ReceivedFrame { origin, frame, catches_up, .. } = received;
            if frame.kind != MediaKind::Video {
                continue;
            }
            if left_out.leaves_out(origin, &frame.identity, shedding()) {
                continue;
            }
            let stream = frame.identity.stream;
            if decoders.get(&origin).is_none_or(|(known, _)| *known != stream) {
                match codecs.video_decoder() {
                    Ok(decoder) => decoders.insert(origin, (stream, decoder)),
                    Err(error) => {
                        tracing::debug!("no decoder: {error}");
                        continue;
                    }
                };
            }
            let Some((_, decoder)) = decoders.get_mut(&origin) else { continue };
            match decoder.decode(&frame.data) {
                Ok(Some(_)) if catches_up => {}
                Ok(Some(view)) => {
                    let picture = Arc::new(Picture::copy_of(&view));
                    let captured_us = frame.identity.captured_us;
                    let picture = DecodedPicture { origin, picture, captured_us };
                    if let Err(mpsc::error::TrySendError::Closed(_)) = decoded.try_send(picture) {
                        return;
                    }
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!("{error}");
                    key_wanted(origin);
                }
            }
        }
    })?;
    Ok(Pictures(pictures))
}

/// Origins with pictures that were left out, which later pictures may refer to.
#[derive(Debug, Default)]
struct LeftOut(BTreeSet<Origin>);

impl LeftOut {
    /// Returns whether this picture is not to be decoded. After [`Shedding::Decoding`], pictures are decoded from the
    /// next keyframe on, since the decoder lacks what the others refer to.
    fn leaves_out(&mut self, origin: Origin, identity: &FrameIdentity, shedding: Shedding) -> bool {
        if shedding == Shedding::Decoding {
            self.0.insert(origin);
        } else if identity.key {
            self.0.remove(&origin);
        }
        self.0.contains(&origin) || shedding == Shedding::HalfThePictures && identity.temporal > 0
    }
}

/// Playout state of one origin's sound.
struct Voice {
    buffer: JitterBuffer,
    decoder: Box<dyn SoundDecoder>,
    /// Offset from the maker's clock to this peer's clock: the shortest transit time of a frame so far. A
    /// frame that took that long is played at once.
    offset_us: i64,
    /// Additional delay after the shortest transit time, microseconds, to keep sound in step with pictures; 0
    /// while frames are not held. The hold is kept apart from the link's jitter: to the jitter estimate, a
    /// hold that begins would look like frames that are all late from then on.
    in_step_us: u64,
    used_us: u64,
}

impl Voice {
    /// Playout delay after the shortest transit time, microseconds.
    fn delay_us(&self) -> u64 {
        self.buffer.delay_us().max(self.in_step_us)
    }
}

/// Decodes the sound among `frames`, and mixes it if it has several origins. Sound received beside the
/// program is skipped, since the program contains it.
pub(crate) fn sound(
    mut frames: mpsc::Receiver<ReceivedFrame>,
    codecs: Arc<dyn Codecs>,
    clock: Clock,
    threads: &Threads,
) -> Result<Sound, Error> {
    let (decoded, sound) = mpsc::channel(SOUND_MAX);
    threads.spawn("sound", move || {
        let mut voices: BTreeMap<(Origin, StreamId), Voice> = BTreeMap::new();
        let mut due_us = clock.now_us().next_multiple_of(SOUND_FRAME_US);
        loop {
            #[expect(clippy::disallowed_methods, reason = "a thread of its own")]
            thread::sleep(clock.until(due_us).min(Duration::from_millis(20)));
            loop {
                match frames.try_recv() {
                    Ok(received) => take(&mut voices, received, &*codecs),
                    Err(mpsc::error::TryRecvError::Empty) => break,
                    Err(mpsc::error::TryRecvError::Disconnected) => return,
                }
            }
            let now_us = clock.now_us();
            if now_us < due_us {
                continue;
            }
            voices.retain(|_, voice| now_us.saturating_sub(voice.used_us) < 5_000_000);
            let frame = play(&mut voices, due_us);
            due_us += SOUND_FRAME_US;
            if let Err(mpsc::error::TrySendError::Closed(_)) = decoded.try_send(frame) {
                return;
            }
        }
    })?;
    Ok(Sound(sound))
}

fn take(voices: &mut BTreeMap<(Origin, StreamId), Voice>, received: ReceivedFrame, codecs: &dyn Codecs) {
    let ReceivedFrame { origin, frame, arrived_us, beside, came_us, plan_us, .. } = received;
    if frame.kind != MediaKind::Sound || beside {
        return;
    }
    let identity = frame.identity;
    let took_us = came_us.wrapping_sub(identity.captured_us).cast_signed();
    let key = (origin, identity.stream);
    if !voices.contains_key(&key) {
        if voices.len() >= VOICES_MAX
            && let Some(oldest) = voices.iter().min_by_key(|(_, voice)| voice.used_us).map(|(key, _)| *key)
        {
            voices.remove(&oldest);
        }
        match codecs.sound_decoder(CHANNELS) {
            Ok(decoder) => {
                let buffer = JitterBuffer::new();
                let (offset_us, in_step_us, used_us) = (took_us, 0, arrived_us);
                voices.insert(key, Voice { buffer, decoder, offset_us, in_step_us, used_us });
            }
            Err(error) => {
                tracing::error!("no decoder: {error}");
                return;
            }
        }
    }
    let Some(voice) = voices.get_mut(&key) else { return };
    voice.used_us = arrived_us;
    voice.offset_us = voice.offset_us.min(took_us);
    // one step more, since a frame handed over right now is played at the next step
    voice.in_step_us = plan_us.map_or(0, |plan_us| {
        let held_us = plan_us.saturating_sub(voice.offset_us).max(0).unsigned_abs();
        (held_us + SOUND_FRAME_US).min(IN_STEP_US_MAX)
    });
    let captured_us = identity.captured_us.saturating_add_signed(voice.offset_us);
    voice.buffer.push(identity.number, captured_us, frame.data, came_us);
}

/// Returns the next 20 ms of all voices, mixed.
fn play(voices: &mut BTreeMap<(Origin, StreamId), Voice>, due_us: u64) -> DecodedSound {
    let mut samples = vec![0.0; FRAME_LEN];
    let mut one = vec![0.0; FRAME_LEN];
    let mut concealed = false;
    for voice in voices.values_mut() {
        let captured_us = due_us.saturating_sub(voice.delay_us());
        match voice.buffer.pull(captured_us, false) {
            Pulled::Packet(packet) => {
                if let Err(error) = voice.decoder.decode(&packet, &mut one) {
                    tracing::debug!("{error}");
                    continue;
                }
            }
            Pulled::Lost { next } => {
                voice.decoder.conceal(next.as_deref(), &mut one);
                concealed = true;
            }
            Pulled::Pause => voice.decoder.conceal(None, &mut one),
            Pulled::Silence => continue,
        }
        samples.iter_mut().zip(&one).for_each(|(sum, sample)| *sum = (*sum + sample).clamp(-1.0, 1.0));
    }
    DecodedSound { samples, channels: CHANNELS, played_us: due_us, concealed }
}

#[cfg(test)]
mod tests {
    use plenary_media::Frame;
    use plenary_testkit::fake::FakeCodecs;

    use super::*;

    const WAY_US: u64 = 60_000;

    /// Plays ten seconds of frames. Each arrives at once and is handed over after `hold_us` of its second.
    /// Returns the number of silent steps in each second.
    fn silent_steps(hold_us: impl Fn(u64) -> u64) -> Vec<usize> {
        let codecs = FakeCodecs::default();
        let mut encoder = codecs.sound_encoder(1, 32_000).unwrap();
        let mut voices = BTreeMap::new();
        let mut handed: BTreeMap<u64, ReceivedFrame> = BTreeMap::new();
        let mut silent = vec![0; 10];
        for step in 0..500_u32 {
            let now_us = 1_000_000_000 + u64::from(step) * SOUND_FRAME_US;
            let (second, captured_us) = (step / 50, now_us - WAY_US);
            let data = encoder.encode(&[0.5; SOUND_FRAME_LEN]).unwrap();
            let (stream, number) = (StreamId([1; 8]), step + 1);
            let identity = FrameIdentity { key: true, ..FrameIdentity::single(stream, number, captured_us) };
            let frame = Frame { kind: MediaKind::Sound, identity, data, level: None };
            let hold_us = hold_us(second.into());
            let mut received = ReceivedFrame::new(Origin::Program, frame, now_us + hold_us);
            received.came_us = now_us;
            received.plan_us = (hold_us > 0).then_some((WAY_US + hold_us) as i64);
            handed.insert(now_us + hold_us + u64::from(step) % 2, received);
            let later = handed.split_off(&(now_us + 2));
            let due = std::mem::replace(&mut handed, later);
            due.into_values().for_each(|received| take(&mut voices, received, &codecs));
            let heard = play(&mut voices, now_us + 1);
            silent[second as usize] += usize::from(heard.samples.iter().all(|sample| *sample == 0.0));
        }
        silent
    }

    /// Numbers of the pictures that are decoded of ten, with a keyframe first and sixth, while load is shed as
    /// `shedding` says at each of them.
    fn decoded(shedding: impl Fn(u32) -> Shedding) -> Vec<u32> {
        let mut left_out = LeftOut::default();
        let is_decoded = |number: &u32| {
            let (number, key, temporal) = (*number, number.is_multiple_of(5), (number % 5 % 2) as u8);
            let stream = StreamId([1; 8]);
            let identity = FrameIdentity { temporal, key, ..FrameIdentity::single(stream, number, 0) };
            !left_out.leaves_out(Origin::Program, &identity, shedding(number))
        };
        (0..10).filter(is_decoded).collect()
    }

    #[test]
    fn a_machine_short_of_processor_time_decodes_fewer_pictures_or_none() {
        assert_eq!(decoded(|_| Shedding::Children).len(), 10);
        assert_eq!(decoded(|_| Shedding::HalfThePictures), [0, 2, 4, 5, 7, 9]);
        assert_eq!(decoded(|_| Shedding::Decoding), [0_u32; 0]);
        let for_a_while = |number| if number == 2 { Shedding::Decoding } else { Shedding::Nothing };
        assert_eq!(decoded(for_a_while), [0, 1, 5, 6, 7, 8, 9], "from the next keyframe on");
    }

    #[test]
    fn sound_that_is_held_for_pictures_pauses_no_longer_than_the_hold() {
        assert_eq!(silent_steps(|_| 0)[1..], [0; 9]);
        let silent = silent_steps(|second| if second < 3 { 0 } else { 430_000 });
        assert!(silent[1..].iter().all(|steps| *steps <= 25), "{silent:?}");
        assert_eq!(silent[4..], [0; 6], "{silent:?}");
    }
}
