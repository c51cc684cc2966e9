//! Each speaker's sound apart, decoded for an agent: a transcriber, or a bot.
//!
//! Frames are decoded in the order of their numbers as soon as they are complete: there is no playout and no jitter
//! buffer, since a recognizer wants all sound rather than even sound.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures::Stream;
use plenary_body::VoiceFrame;
use plenary_media::codec::{Codecs, SoundDecoder};
use plenary_media::{DOWNSAMPLED_RATES, Downsampled, SOUND_FRAME_LEN, SOUND_FRAME_US};
use plenary_proto::identity::opus::UNMARKED_LEN_MAX;
use plenary_proto::message::ROSTER_MAX;
use plenary_proto::{PeerId, StreamId};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::Error;
use crate::driver::Request;
use crate::threads::Threads;

/// Maximum number of encoded frames that wait for the decoders: two seconds of five speakers. A guess.
const FRAMES_MAX: usize = 512;
/// Maximum number of decoded chunks that wait for the application: five seconds of one speaker. A guess.
const CHUNKS_MAX: usize = 256;
/// Maximum consecutive lost frames that are concealed: libopus fades its concealment out within 100 ms.
const CONCEALED_MAX: u32 = 5;
/// Deviation of a capture time from that of continuous sound, beyond which the sound isn't continuous, microseconds.
const GAP_US: u64 = SOUND_FRAME_US;

/// Which speakers' sound an agent wants, and in which form: see [`Room::voices`](crate::Room::voices).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voices {
    /// Sample rate in Hz: 8000, 12000, 16000, 24000 or 48000.
    pub rate: u32,
    /// Channels, 1 or 2, interleaved. Mono sound is on both of two channels; of stereo sound one channel has the mean.
    pub channels: u8,
    /// The speakers.
    pub of: VoicesOf,
}

/// Speakers among those in the room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VoicesOf {
    /// Every speaker.
    #[default]
    All,
    /// These ones. The others' sound arrives too, and is dropped here.
    Only(BTreeSet<PeerId>),
}

impl Default for Voices {
    /// Every speaker, 16 kHz, mono: what most recognizers take.
    fn default() -> Voices {
        Voices { rate: 16_000, channels: 1, of: VoicesOf::All }
    }
}

/// Form of sound that [`Room::voices`](crate::Room::voices) doesn't make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VoicesError {
    /// This sample rate, in Hz.
    #[error("voices have {DOWNSAMPLED_RATES:?} Hz, not {0}")]
    Rate(u32),
    /// This number of channels.
    #[error("voices have 1 or 2 channels, not {0}")]
    Channels(u8),
}

/// 20 ms of one speaker's sound.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Voice {
    /// The speaker.
    pub speaker: PeerId,
    /// Capture time of the first sample, microseconds since 1970 by this peer's clock, whichever speaker it is: as
    /// precise as round trips tell, some milliseconds. Successive chunks are 20 ms apart; a longer step is silence,
    /// which speakers don't send, or a loss too long to be concealed.
    pub captured_us: u64,
    /// A fiftieth of the rate for each channel, interleaved, from −1 to 1.
    pub samples: Vec<f32>,
    /// Whether the packet was lost and these samples are libopus' guess, or its copy in the next packet.
    pub concealed: bool,
    /// Chunks that a slow reader lost before this one, of any speaker.
    pub missed: u64,
}

/// [`Stream`] of each speaker's sound, from [`Room::voices`](crate::Room::voices). While five seconds of one speaker
/// are queued (of two speakers half of that), later sound is dropped; [`Voice::missed`] counts it.
#[derive(Debug)]
pub struct VoiceStream {
    chunks: mpsc::Receiver<Voice>,
    _wish: Wish,
}

impl VoiceStream {
    /// Returns the next chunk; `None` when the room is closed.
    pub async fn next(&mut self) -> Option<Voice> {
        self.chunks.recv().await
    }
}

impl Stream for VoiceStream {
    type Item = Voice;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Voice>> {
        self.chunks.poll_recv(cx)
    }
}

/// What the driver has been told of this peer, for example a request for voices, and is told to be over on a drop.
#[derive(Debug)]
pub(crate) struct Wish {
    requests: mpsc::WeakSender<Request>,
    runtime: Handle,
    over: fn() -> Request,
}

impl Wish {
    /// Returns a wish that the driver has been told of.
    pub(crate) fn new(requests: mpsc::WeakSender<Request>, runtime: Handle, over: fn() -> Request) -> Wish {
        Wish { requests, runtime, over }
    }
}

impl Drop for Wish {
    fn drop(&mut self) {
        let Some(requests) = self.requests.upgrade() else { return };
        send_soon(requests, &self.runtime, (self.over)());
    }
}

/// Sends a request without waiting for the driver.
pub(crate) fn send_soon(requests: mpsc::Sender<Request>, runtime: &Handle, request: Request) {
    if let Err(mpsc::error::TrySendError::Full(request)) = requests.try_send(request) {
        runtime.spawn(async move { requests.send(request).await });
    }
}

/// Queue of encoded frames for one stream.
#[derive(Debug)]
struct Outlet {
    queue: mpsc::Sender<VoiceFrame>,
    missed: Arc<AtomicU64>,
    of: VoicesOf,
}

/// Queues of encoded frames for all streams.
#[derive(Debug, Default)]
pub(crate) struct VoiceOutlets {
    listening: Vec<Outlet>,
    closed: bool,
}

/// The end of a queue of encoded frames, and the number of frames that it had no room for.
pub(crate) type Inlet = (mpsc::Receiver<VoiceFrame>, Arc<AtomicU64>);

impl VoiceOutlets {
    /// Adds a listener, and returns its queue, which is ended after [`close`](VoiceOutlets::close).
    pub(crate) fn listen(&mut self, of: VoicesOf) -> Inlet {
        let (queue, frames) = mpsc::channel(FRAMES_MAX);
        let missed = Arc::<AtomicU64>::default();
        if !self.closed {
            self.listening.push(Outlet { queue, missed: missed.clone(), of });
        }
        (frames, missed)
    }

    /// Ends all queues.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.listening.clear();
    }

    /// Delivers a frame to each listener that wants it.
    pub(crate) fn give(&mut self, frame: &VoiceFrame) {
        self.listening.retain(|outlet| {
            if matches!(&outlet.of, VoicesOf::Only(only) if !only.contains(&frame.speaker)) {
                return !outlet.queue.is_closed();
            }
            match outlet.queue.try_send(frame.clone()) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    outlet.missed.fetch_add(1, Ordering::Relaxed);
                    true
                }
                Err(mpsc::error::TrySendError::Closed(_)) => false,
            }
        });
    }
}

/// Checks the form of the sound.
pub(crate) fn check(voices: &Voices) -> Result<(), VoicesError> {
    if !DOWNSAMPLED_RATES.contains(&voices.rate) {
        return Err(VoicesError::Rate(voices.rate));
    }
    if !(1..=2).contains(&voices.channels) { Err(VoicesError::Channels(voices.channels)) } else { Ok(()) }
}

/// Decodes frames on a thread of their own.
pub(crate) fn decode(
    (mut frames, missed): Inlet,
    (rate, channels): (u32, u8),
    codecs: Arc<dyn Codecs>,
    wish: Wish,
    threads: &Threads,
) -> Result<VoiceStream, Error> {
    let (queue, chunks) = mpsc::channel(CHUNKS_MAX);
    threads.spawn("voices", move || {
        let mut speakers = Speakers { rate, channels, codecs, speakers: BTreeMap::new(), uses: 0 };
        let mut dropped = 0;
        while let Some(frame) = frames.blocking_recv() {
            for chunk in speakers.take(&frame) {
                dropped += missed.swap(0, Ordering::Relaxed);
                match queue.try_send(Voice { missed: dropped, ..chunk }) {
                    Ok(()) => dropped = 0,
                    Err(mpsc::error::TrySendError::Full(_)) => dropped += 1,
                    Err(mpsc::error::TrySendError::Closed(_)) => return,
                }
            }
        }
    })?;
    Ok(VoiceStream { chunks, _wish: wish })
}

/// State of one speaker's decoder.
struct Speaker {
    stream: StreamId,
    decoder: Box<dyn SoundDecoder>,
    downsampled: Downsampled,
    /// Number of the newest frame, and its capture time.
    newest: (u32, u64),
    used: u64,
}

/// Decoders of all speakers.
struct Speakers {
    rate: u32,
    channels: u8,
    codecs: Arc<dyn Codecs>,
    speakers: BTreeMap<PeerId, Speaker>,
    uses: u64,
}

impl Speakers {
    /// Decodes a frame; returns the chunks before it that were lost and can be concealed, and its own.
    fn take(&mut self, frame: &VoiceFrame) -> Vec<Voice> {
        let VoiceFrame { speaker: peer, frame, captured_us } = frame;
        let identity = &frame.identity;
        let known = self.speakers.get(peer);
        if known.is_none_or(|known| known.stream != identity.stream || identity.number <= known.newest.0) {
            let Some(speaker) = self.begin(identity.stream, (identity.number.saturating_sub(1), 0)) else {
                return Vec::new();
            };
            self.speakers.insert(*peer, speaker);
            self.forget_oldest();
        }
        let Some(speaker) = self.speakers.get_mut(peer) else { return Vec::new() };
        self.uses += 1;
        speaker.used = self.uses;
        let mut samples = vec![0.0; SOUND_FRAME_LEN * usize::from(self.channels)];
        let mut chunks = Vec::new();
        let (number, at_us) = speaker.newest;
        let lost = identity.number - number - 1;
        let mut follows_us = at_us + SOUND_FRAME_US;
        if lost > 0 && lost <= CONCEALED_MAX && at_us > 0 {
            for left in (0..lost).rev() {
                let next = Some(&frame.data[..]).filter(|_| left == 0);
                speaker.decoder.conceal(next, &mut samples);
                chunks.extend(speaker.chunk(*peer, follows_us, &samples, true));
                follows_us += SOUND_FRAME_US;
            }
        }
        if captured_us.abs_diff(follows_us) > GAP_US {
            speaker.downsampled.reset();
        }
        speaker.newest = (identity.number, *captured_us);
        match speaker.decoder.decode(&frame.data, &mut samples) {
            // a mark that silence begins has no sound
            Ok(()) if frame.data.len() > UNMARKED_LEN_MAX => {
                chunks.extend(speaker.chunk(*peer, *captured_us, &samples, false));
            }
            Ok(()) => {}
            Err(error) => tracing::debug!("{error}"),
        }
        chunks
    }

    fn begin(&self, stream: StreamId, newest: (u32, u64)) -> Option<Speaker> {
        let downsampled = Downsampled::new(self.rate, self.channels)?;
        match self.codecs.sound_decoder(self.channels) {
            Ok(decoder) => Some(Speaker { stream, decoder, downsampled, newest, used: 0 }),
            Err(error) => {
                tracing::error!("no decoder: {error}");
                None
            }
        }
    }

    /// Keeps no more decoders than a stage has speakers.
    fn forget_oldest(&mut self) {
        if self.speakers.len() > ROSTER_MAX
            && let Some(oldest) =
                self.speakers.iter().min_by_key(|(_, known)| known.used).map(|(peer, _)| *peer)
        {
            self.speakers.remove(&oldest);
        }
    }
}

impl Speaker {
    fn chunk(&mut self, speaker: PeerId, at_us: u64, samples: &[f32], concealed: bool) -> Option<Voice> {
        let samples = self.downsampled.frame(samples)?;
        let captured_us = at_us.saturating_sub(self.downsampled.delay_us());
        Some(Voice { speaker, captured_us, samples, concealed, missed: 0 })
    }
}

#[cfg(test)]
mod tests;
