//! What this peer sends: a source played by a capture, what the application hands over to be encoded, or frames that
//! it encodes itself.

use std::sync::Arc;

use bytes::Bytes;
use plenary_media::Clock;
use plenary_media::Encoded;
use plenary_media::codec::{Codecs, VideoFormat};
use plenary_media::source::Source;
use plenary_media::{Capture, CaptureCounts, CaptureFormat, RawFormat, RawInput, RawPicture, RawSound};
use plenary_proto::PeerId;
use plenary_proto::identity::MediaKind;
use plenary_proto::message::{ProgramFormat, VideoRequest};
use tokio::sync::watch;

use crate::flow::{Flow, Own};
use crate::{Error, random_bytes};

/// What a speaker sends until a mixer asks for something else: the size of a tile among four.
pub(crate) const PICTURE_UNASKED: VideoFormat =
    VideoFormat { width: 640, height: 360, fps: 30, bitrate_bps: 600_000 };
/// A speaker's sound, mono or stereo.
const SOUND_BPS: u32 = 32_000;
/// The stereo sound of a screen or a film.
const SHARED_SOUND_BPS: u32 = 64_000;

/// What is wanted of an application that makes its own pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Somebody listens: otherwise nothing needs to be made.
    pub wanted: bool,
    /// The picture that is asked for.
    pub picture: VideoRequest,
    /// Counts key frames that were asked for; when it rises, the next picture should be one. A [`RawTrack`] sees to
    /// that by itself.
    pub keys: u64,
}

/// This peer's own stream, from frames that the application encodes.
///
/// Pictures are H.264 access units in Annex B form, constrained baseline, one slice each, parameter sets before
/// each key frame, and a key frame at least each two seconds. Sound is Opus, 20 ms a packet.
pub struct EncodedTrack {
    flow: Arc<Flow>,
    wishes: watch::Receiver<Wish>,
}

impl EncodedTrack {
    /// Sends a picture. `captured_us` counts from 1970 by the room's clock and must rise.
    pub fn push_picture(&self, access_unit: Bytes, key: bool, captured_us: u64) {
        let (kind, data) = (MediaKind::Video, access_unit);
        self.flow.publish(&Encoded { kind, captured_us, data, key, temporal: 0, level: None });
    }

    /// Sends one Opus packet of 20 ms. `level` is its loudness by RFC 6464: 0 loudest, 127 silent.
    pub fn push_sound(&self, packet: Bytes, level: u8, captured_us: u64) {
        let (kind, data) = (MediaKind::Sound, packet);
        self.flow.publish(&Encoded {
            kind,
            captured_us,
            data,
            key: false,
            temporal: 0,
            level: Some(level.min(127)),
        });
    }

    /// What is wanted now, and from now on.
    pub fn wishes(&self) -> watch::Receiver<Wish> {
        self.wishes.clone()
    }
}

/// This peer's own stream, from pictures and sound that the application hands over as they are.
///
/// They are encoded on a thread of their own, in the size and at the rate that the mixer asks for, and only while
/// somebody listens; whoever hands over never waits for that. Of pictures the newest waits for the encoder, of sound
/// half a second; what finds no room is counted ([`counts`](RawTrack::counts)).
///
/// Capture times are microseconds since 1970 by the room's clock ([`now_us`](RawTrack::now_us)), of pictures and sound
/// alike: by them the two are brought together again. They must rise, and be within 10 s of now.
///
/// ```no_run
/// # async fn example(room: plenary::Room) -> Result<(), plenary::Error> {
/// use plenary::media::{PlaneView, RawFormat, RawPicture};
///
/// let track = room.publish_raw(RawFormat { fps: 25, channels: 1, sample_rate: 48_000 }).await?;
/// let (width, height) = (640, 360);
/// let (grey, chroma) = (vec![128; width * height], vec![128; width * height / 2]);
/// let captured_us = track.now_us();
/// let luma = PlaneView { samples: &grey, stride: width };
/// let chroma = PlaneView { samples: &chroma, stride: width };
/// track.push_picture(&RawPicture::Nv12 { width, height, luma, chroma }, captured_us)?;
/// track.push_sound(&[0i16; 480][..], captured_us)?; // 10 ms
/// # Ok(()) }
/// ```
pub struct RawTrack {
    input: RawInput,
    clock: Clock,
    wishes: watch::Receiver<Wish>,
}

impl RawTrack {
    /// Hands a picture over: I420 or NV12, with strides, of another size each time if need be.
    ///
    /// # Errors
    /// [`Error::Raw`] says what is wrong with picture or time, and nothing of it is sent; [`Error::Closed`].
    pub fn push_picture(&self, picture: &RawPicture<'_>, captured_us: u64) -> Result<(), Error> {
        Ok(self.input.push_picture(picture, captured_us)?)
    }

    /// Hands sound over, `f32` or `i16`, channels interleaved, of any length; it is cut into frames of 20 ms.
    /// `captured_us` is when its first sample was captured. A chunk that begins within 20 ms of where the one before
    /// ended goes on there; after a longer gap there is silence in between.
    ///
    /// # Errors
    /// [`Error::Raw`] says what is wrong with sound or time, and nothing of it is sent; [`Error::Closed`].
    pub fn push_sound<'a>(&self, sound: impl Into<RawSound<'a>>, captured_us: u64) -> Result<(), Error> {
        Ok(self.input.push_sound(sound, captured_us)?)
    }

    /// Now, by the clock that capture times count by.
    pub fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    /// What is wanted now, and from now on: a camera may rest while nobody listens.
    pub fn wishes(&self) -> watch::Receiver<Wish> {
        self.wishes.clone()
    }

    /// What was encoded, and what was dropped because the encoder was behind.
    pub fn counts(&self) -> CaptureCounts {
        self.input.counts()
    }

    /// The last thing that went wrong in encoding, in one line.
    pub fn trouble(&self) -> Option<String> {
        self.input.trouble()
    }
}

/// Whatever makes this peer's own stream: a capture of ours, or an application that is told what is wanted, or both.
pub(crate) struct Publisher {
    capture: Option<Capture>,
    wish: Option<watch::Sender<Wish>>,
    picture_max: Option<ProgramFormat>,
    /// It is a screen or a film.
    shares: bool,
}

impl Publisher {
    /// Plays a source, over and over, in real time.
    pub(crate) fn play(
        source: Box<dyn Source>,
        codecs: Arc<dyn Codecs>,
        clock: Clock,
        flow: &Arc<Flow>,
        picture_max: Option<ProgramFormat>,
        shares: bool,
    ) -> Result<Publisher, Error> {
        let format = format(picture_max, shares && source.channels() == Some(2));
        let capture = Capture::start(source, codecs, clock, format, sink(flow))
            .map_err(|error| Error::Io { what: "no thread for the capture".to_owned(), error })?;
        Ok(Publisher::silent(Some(capture), None, picture_max, shares))
    }

    /// Encodes what the application hands over.
    pub(crate) fn raw(
        raw: RawFormat,
        codecs: Arc<dyn Codecs>,
        clock: Clock,
        flow: &Arc<Flow>,
        picture_max: Option<ProgramFormat>,
        shares: bool,
    ) -> Result<(Publisher, RawTrack), Error> {
        let format = format(picture_max, shares && raw.channels == 2);
        let (capture, input) = Capture::start_raw(raw, codecs, clock, format, sink(flow))?;
        let (wish, wishes) = wish(picture_max);
        let track = RawTrack { input, clock, wishes };
        Ok((Publisher::silent(Some(capture), Some(wish), picture_max, shares), track))
    }

    /// Takes the application's frames.
    pub(crate) fn track(
        flow: &Arc<Flow>,
        picture_max: Option<ProgramFormat>,
        shares: bool,
    ) -> (Publisher, EncodedTrack) {
        let (wish, wishes) = wish(picture_max);
        let track = EncodedTrack { flow: flow.clone(), wishes };
        (Publisher::silent(None, Some(wish), picture_max, shares), track)
    }

    /// Nobody listens at first.
    fn silent(
        capture: Option<Capture>,
        wish: Option<watch::Sender<Wish>>,
        picture_max: Option<ProgramFormat>,
        shares: bool,
    ) -> Publisher {
        let publisher = Publisher { capture, wish, picture_max, shares };
        publisher.pause(true);
        publisher
    }

    /// The stream that its frames make.
    pub(crate) fn own(&self, flow: &Flow, me: PeerId) -> Own {
        Own::new(&flow.room(), me, self.shares, random_bytes())
    }

    /// Another picture is wanted.
    pub(crate) fn set_video(&self, video: VideoRequest) {
        let VideoRequest { width, height, fps, bitrate_bps } = video;
        let video = capped(VideoFormat { width, height, fps, bitrate_bps }, self.picture_max);
        if let Some(capture) = &self.capture {
            capture.set_video(video);
        }
        if let Some(wish) = &self.wish {
            wish.send_modify(|wish| wish.picture = requested(video));
        }
    }

    pub(crate) fn want_key(&self) {
        if let Some(capture) = &self.capture {
            capture.want_key();
        }
        if let Some(wish) = &self.wish {
            wish.send_modify(|wish| wish.keys += 1);
        }
    }

    /// Whoever gets the sound decodes it, or forwards it as it is: only in front of a decoder silence is left out, and
    /// that of a voice: what is quiet in a film is no silence.
    pub(crate) fn set_dtx(&self, on: bool) {
        if let Some(capture) = &self.capture {
            capture.set_dtx(on && !self.shares);
        }
    }

    /// So many of 100 packets get lost on the way.
    pub(crate) fn set_loss(&self, percent: u8) {
        if let Some(capture) = &self.capture {
            capture.set_loss(percent);
        }
    }

    /// Nobody listens, or somebody does again: the encoder stands still meanwhile.
    pub(crate) fn pause(&self, paused: bool) {
        if let Some(capture) = &self.capture {
            capture.pause_video(paused);
            capture.pause_sound(paused);
        }
        if let Some(wish) = &self.wish {
            wish.send_modify(|wish| wish.wanted = !paused);
        }
    }
}

/// Sends what a capture makes, for as long as there is a room.
fn sink(flow: &Arc<Flow>) -> Box<dyn FnMut(Encoded) + Send> {
    let flow = Arc::downgrade(flow);
    Box::new(move |encoded| {
        if let Some(flow) = flow.upgrade() {
            flow.publish(&encoded);
        }
    })
}

/// What a capture makes until a mixer asks for something else.
fn format(picture_max: Option<ProgramFormat>, shares_stereo: bool) -> CaptureFormat {
    let sound_bitrate_bps = if shares_stereo { SHARED_SOUND_BPS } else { SOUND_BPS };
    CaptureFormat { video: capped(PICTURE_UNASKED, picture_max), sound_bitrate_bps }
}

/// What an application is told until a mixer asks for something else.
fn wish(picture_max: Option<ProgramFormat>) -> (watch::Sender<Wish>, watch::Receiver<Wish>) {
    let picture = requested(capped(PICTURE_UNASKED, picture_max));
    watch::channel(Wish { wanted: false, picture, keys: 0 })
}

fn requested(VideoFormat { width, height, fps, bitrate_bps }: VideoFormat) -> VideoRequest {
    VideoRequest { width, height, fps, bitrate_bps }
}

/// What is asked for, but no larger, faster or dearer than `most`.
fn capped(asked: VideoFormat, most: Option<ProgramFormat>) -> VideoFormat {
    let Some(most) = most else { return asked };
    let small =
        u32::from(most.width) * u32::from(most.height) < u32::from(asked.width) * u32::from(asked.height);
    let (width, height) = if small { (most.width, most.height) } else { (asked.width, asked.height) };
    let (fps, bitrate_bps) = (asked.fps.min(most.fps), asked.bitrate_bps.min(most.bitrate_bps));
    VideoFormat { width, height, fps, bitrate_bps }
}
