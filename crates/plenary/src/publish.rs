//! Publishers of this peer's own stream: a source played by a capture, raw media that the application hands
//! over to be encoded, or frames that the application encodes itself.

use std::sync::Arc;

use bytes::Bytes;
use plenary_body::{CaptureCommand, Paused, Picture, Sources};
use plenary_media::Clock;
use plenary_media::Encoded;
use plenary_media::codec::{Codecs, VideoFormat};
use plenary_media::source::Source;
use plenary_media::{
    Capture, CaptureCounts, CaptureFormat, EncodedChecks, EncodedError, RawFormat, RawInput, RawPicture,
    RawSound,
};
use plenary_proto::identity::MediaKind;
use plenary_proto::message::{ProgramFormat, VideoRequest};
use tokio::sync::watch;

use crate::Error;
use crate::flow::{Failure, Flow};
use crate::track::{Hold, TrackKind};
use plenary_proto::app::{CodecOutcome, CodecUse};

/// Picture format that a speaker sends until a mixer requests another: the size of a tile among four.
pub(crate) const PICTURE_UNASKED: VideoFormat =
    VideoFormat { width: 640, height: 360, fps: 30, bitrate_bps: 600_000 };
/// Bit rate of a speaker's sound, mono or stereo.
const SOUND_BPS: u32 = 32_000;
/// Bit rate of the stereo sound of a screen or a film.
const SHARED_SOUND_BPS: u32 = 64_000;

/// Request to an application that makes its own pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wish {
    /// Whether any peer receives what the track has; if not, nothing needs to be captured or encoded. Of a camera and a
    /// screen the camera isn't received where nobody mixes.
    pub wanted: bool,
    /// Requested picture format.
    pub picture: VideoRequest,
    /// Counter of keyframe requests. When it rises, the next picture should be a keyframe. A [`RawTrack`]
    /// handles this itself.
    pub keys: u64,
}

/// Track for this peer's own stream, from frames that the application encodes.
///
/// Pictures are H.264 access units in Annex B format, without B pictures, in any number of slices. A keyframe is an
/// IDR picture with its parameter sets, and there is one at least every two seconds. Constrained baseline is what every
/// browser decodes. Sound is Opus, 20 ms per packet. Capture times are microseconds since 1970 by the room's clock
/// ([`Room::clock`](crate::Room::clock)): they must rise, for pictures and for sound, and be within 10 s of now.
/// Each call checks that. Dropping the track unpublishes it.
pub struct EncodedTrack {
    flow: Arc<Flow>,
    checks: EncodedChecks,
    wishes: watch::Receiver<Wish>,
    hold: Hold,
}

impl EncodedTrack {
    /// Returns what the track has.
    pub fn kind(&self) -> TrackKind {
        self.hold.kind
    }

    /// Unpublishes.
    pub async fn unpublish(self) {
        self.hold.end().await;
    }

    /// Sends a picture. `key`: whether it is a keyframe. Nothing is sent while no peer receives the stream, or the
    /// picture is muted, which is no error.
    ///
    /// # Errors
    /// [`Error::Encoded`] if the picture or its capture time is refused; then nothing is sent. [`Error::Closed`] if the
    /// room is closed.
    pub fn push_picture(&self, access_unit: Bytes, key: bool, captured_us: u64) -> Result<(), Error> {
        self.check_open(self.hold.kind.has_picture(), "picture")?;
        let encoded =
            Encoded { kind: MediaKind::Video, captured_us, data: access_unit, key, temporal: 0, level: None };
        let send = || self.flow.publish(&encoded, self.hold.kind.picture());
        Ok(self.checks.picture(&encoded.data, key, captured_us, send)?)
    }

    /// Sends one Opus packet of 20 ms. `level` is its audio level (RFC 6464), from 0 for the loudest to 127 for
    /// silence, and 127 for more.
    ///
    /// # Errors
    /// As [`push_picture`](Self::push_picture).
    pub fn push_sound(&self, packet: Bytes, level: u8, captured_us: u64) -> Result<(), Error> {
        self.check_open(self.hold.kind.has_sound(), "sound")?;
        let encoded = Encoded {
            kind: MediaKind::Sound,
            captured_us,
            data: packet,
            key: false,
            temporal: 0,
            level: Some(level.min(127)),
        };
        let send = || self.flow.publish(&encoded, self.hold.kind.picture());
        Ok(self.checks.sound(&encoded.data, captured_us, send)?)
    }

    fn check_open(&self, is_of_track: bool, what: &'static str) -> Result<(), Error> {
        if self.hold.requests.upgrade().is_none_or(|requests| requests.is_closed()) {
            return Err(Error::Closed);
        }
        if is_of_track { Ok(()) } else { Err(EncodedError::NotOfTrack { what }.into()) }
    }

    /// Returns a watch channel with the current request.
    pub fn wishes(&self) -> watch::Receiver<Wish> {
        self.wishes.clone()
    }
}

/// Track for this peer's own stream, from raw pictures and sound that the application hands over.
///
/// A separate thread encodes them in the size and at the rate that the mixer requests, and only while a peer
/// receives the stream. Pushing never waits for the encoder. One picture, the newest, and half a second of
/// sound are queued for it; [`counts`](RawTrack::counts) reports what was dropped.
///
/// Capture times are microseconds since 1970 by the room's clock ([`now_us`](RawTrack::now_us)), for pictures
/// and sound alike: receivers use them to synchronize the two. They must rise, and be within 10 s of now.
/// Dropping the track unpublishes it.
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
    hold: Hold,
}

impl RawTrack {
    /// Returns what the track has. What is pushed of another kind is checked, and not sent.
    pub fn kind(&self) -> TrackKind {
        self.hold.kind
    }

    /// Unpublishes, and waits until the encoder has ended.
    pub async fn unpublish(self) {
        self.hold.end().await;
    }

    /// Pushes a picture: I420 or NV12, with strides. The size may change from picture to picture.
    ///
    /// # Errors
    /// [`Error::Raw`] if the picture or its capture time is invalid; then nothing is sent. [`Error::Closed`]
    /// if the room is closed.
    pub fn push_picture(&self, picture: &RawPicture<'_>, captured_us: u64) -> Result<(), Error> {
        Ok(self.input.push_picture(picture, captured_us)?)
    }

    /// Pushes sound of any length: `f32` or `i16`, channels interleaved. It is cut into frames of 20 ms.
    /// `captured_us` is the capture time of the first sample. A chunk that begins within 20 ms of the end of
    /// the last one continues it without a gap; a longer gap is filled with silence.
    ///
    /// # Errors
    /// [`Error::Raw`] if the sound or its capture time is invalid; then nothing is sent. [`Error::Closed`] if
    /// the room is closed.
    pub fn push_sound<'a>(&self, sound: impl Into<RawSound<'a>>, captured_us: u64) -> Result<(), Error> {
        Ok(self.input.push_sound(sound, captured_us)?)
    }

    /// Returns the current time of the clock that capture times use.
    pub fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    /// Returns a watch channel with the current request: a camera may rest while no peer receives the stream.
    pub fn wishes(&self) -> watch::Receiver<Wish> {
        self.wishes.clone()
    }

    /// Returns how many frames were encoded, and how many were dropped because the encoder was behind.
    pub fn counts(&self) -> CaptureCounts {
        self.input.counts()
    }

    /// Returns the last encoding error, as one line.
    pub fn trouble(&self) -> Option<String> {
        self.input.trouble()
    }
}

/// Source of this peer's own stream: a capture that this library runs, an application that is told the
/// requests, or both.
pub(crate) struct Publisher {
    capture: Option<Capture>,
    wish: Option<watch::Sender<Wish>>,
    picture_max: Option<ProgramFormat>,
    kind: TrackKind,
    /// Whether picture and sound are withdrawn after their encoders failed for good.
    withdrawn: [bool; 2],
}

impl Publisher {
    /// Plays a source in real time, in a loop.
    pub(crate) fn play(
        source: Box<dyn Source>,
        codecs: Arc<dyn Codecs>,
        clock: Clock,
        flow: &Arc<Flow>,
        picture_max: Option<ProgramFormat>,
        kind: TrackKind,
    ) -> Result<Publisher, Error> {
        let format = format(picture_max, kind.shares() && source.channels() == Some(2));
        let capture = Capture::start(source, codecs, clock, format, sink(flow, kind))
            .map_err(|error| Error::Io { what: "cannot start the capture thread".to_owned(), error })?;
        Ok(Publisher::silent(Some(capture), None, picture_max, kind))
    }

    /// Encodes raw media that the application pushes.
    pub(crate) fn raw(
        raw: RawFormat,
        codecs: Arc<dyn Codecs>,
        clock: Clock,
        flow: &Arc<Flow>,
        picture_max: Option<ProgramFormat>,
        hold: Hold,
    ) -> Result<(Publisher, RawTrack), Error> {
        let kind = hold.kind;
        let format = format(picture_max, kind.shares() && raw.channels == 2);
        let (capture, input) = Capture::start_raw(raw, codecs, clock, format, sink(flow, kind))?;
        let (wish, wishes) = wish(picture_max);
        let track = RawTrack { input, clock, wishes, hold };
        Ok((Publisher::silent(Some(capture), Some(wish), picture_max, kind), track))
    }

    /// Sends frames that the application encodes.
    pub(crate) fn track(
        flow: &Arc<Flow>,
        clock: Clock,
        picture_max: Option<ProgramFormat>,
        hold: Hold,
    ) -> (Publisher, EncodedTrack) {
        let kind = hold.kind;
        let (wish, wishes) = wish(picture_max);
        let track = EncodedTrack { flow: flow.clone(), checks: EncodedChecks::new(clock), wishes, hold };
        (Publisher::silent(None, Some(wish), picture_max, kind), track)
    }

    /// Creates the publisher paused: no peer receives the stream at first.
    fn silent(
        capture: Option<Capture>,
        wish: Option<watch::Sender<Wish>>,
        picture_max: Option<ProgramFormat>,
        kind: TrackKind,
    ) -> Publisher {
        let publisher = Publisher { capture, wish, picture_max, kind, withdrawn: [false; 2] };
        publisher.pause(Paused { camera: true, share: true, sound: true });
        publisher
    }

    /// Returns the sources that a peer's publishers make up, as far as they are sent still.
    pub(crate) fn sources<'a>(publishers: impl Iterator<Item = &'a Publisher> + Clone) -> Sources {
        let pictures = publishers.clone().filter(|it| it.kind.has_picture() && !it.withdrawn[0]);
        let has = |picture| pictures.clone().any(|publisher| publisher.kind.picture() == picture);
        let (camera, share) = (has(Picture::Camera), has(Picture::Share));
        let mut sounds = publishers.clone().filter(|it| it.kind.has_sound() && !it.withdrawn[1]);
        Sources {
            picture: camera || share,
            sound: sounds.next().is_some(),
            shares: !camera && publishers.clone().any(|publisher| publisher.kind.shares()),
            beside: camera && share,
        }
    }

    /// Sends no more pictures, or sound.
    pub(crate) fn withdraw(&mut self, kind: MediaKind) {
        self.withdrawn[kind as usize] = true;
        match (&self.capture, kind) {
            (Some(capture), MediaKind::Video) => capture.pause_video(true),
            (Some(capture), MediaKind::Sound) => capture.pause_sound(true),
            (None, _) => {}
        }
    }

    /// Returns the failures of a capture that has ended by a panic, once.
    pub(crate) fn take_panic(&self) -> Option<Vec<Failure>> {
        let capture = self.capture.as_ref().filter(|capture| capture.has_panicked())?;
        let text = capture.trouble().unwrap_or_default();
        let has = [self.kind.has_picture(), self.kind.has_sound()];
        let uses =
            [CodecUse::OwnPicture, CodecUse::OwnSound].into_iter().zip(has.into_iter().zip(self.withdrawn));
        let uses = uses.filter(|(_, (has, withdrawn))| *has && !withdrawn).map(|(what, _)| what);
        Some(uses.map(|what| (what, text.clone(), CodecOutcome::Withdrawn)).collect())
    }

    /// Carries out a command of the body. Commands to the other picture's encoder are ignored.
    pub(crate) fn command(&self, command: CaptureCommand) {
        let is_own = |picture| self.kind.picture() == picture;
        match command {
            CaptureCommand::Video(picture, video) if is_own(picture) => self.set_video(video),
            CaptureCommand::Key(picture) if is_own(picture) => self.want_key(),
            CaptureCommand::Video(..) | CaptureCommand::Key(_) => {}
            CaptureCommand::Loss(percent) => self.set_loss(percent),
            CaptureCommand::Dtx(on) => self.set_dtx(on),
            CaptureCommand::Pause(paused) => self.pause(paused),
        }
    }

    /// Changes the requested picture format.
    fn set_video(&self, video: VideoRequest) {
        let VideoRequest { width, height, fps, bitrate_bps } = video;
        let video = capped(VideoFormat { width, height, fps, bitrate_bps }, self.picture_max);
        if let Some(capture) = &self.capture {
            capture.set_video(video);
        }
        if let Some(wish) = &self.wish {
            wish.send_modify(|wish| wish.picture = requested(video));
        }
    }

    fn want_key(&self) {
        if let Some(capture) = &self.capture {
            capture.want_key();
        }
        if let Some(wish) = &self.wish {
            wish.send_modify(|wish| wish.keys += 1);
        }
    }

    /// Switches DTX. A caller turns it on only if the mixer decodes the sound, not if the mixer passes the
    /// frames through. The sound of a screen or a film never uses DTX, since its quiet passages are not
    /// silence.
    fn set_dtx(&self, on: bool) {
        if let Some(capture) = &self.capture {
            capture.set_dtx(on && !self.kind.shares());
        }
    }

    /// Sets the measured packet loss of the links, in percent.
    fn set_loss(&self, percent: u8) {
        if let Some(capture) = &self.capture {
            capture.set_loss(percent);
        }
    }

    /// Pauses the encoders of what no peer receives, and resumes the others.
    fn pause(&self, paused: Paused) {
        let is_sent = [
            self.kind.has_picture() && !paused.has(self.kind.picture()),
            self.kind.has_sound() && !paused.sound,
        ];
        if let Some(capture) = &self.capture {
            let [picture, sound] = [0, 1].map(|lane| !is_sent[lane] || self.withdrawn[lane]);
            capture.pause_video(picture);
            capture.pause_sound(sound);
        }
        if let Some(wish) = &self.wish {
            wish.send_modify(|wish| wish.wanted = is_sent.contains(&true));
        }
    }
}

/// Returns a sink that publishes a capture's frames as long as the room exists.
fn sink(flow: &Arc<Flow>, kind: TrackKind) -> Box<dyn FnMut(Encoded) + Send> {
    let flow = Arc::downgrade(flow);
    Box::new(move |encoded| {
        if let Some(flow) = flow.upgrade() {
            flow.publish(&encoded, kind.picture());
        }
    })
}

/// Returns the format of a capture until a mixer requests another.
fn format(picture_max: Option<ProgramFormat>, shares_stereo: bool) -> CaptureFormat {
    let sound_bitrate_bps = if shares_stereo { SHARED_SOUND_BPS } else { SOUND_BPS };
    CaptureFormat { video: capped(PICTURE_UNASKED, picture_max), sound_bitrate_bps }
}

/// Returns the watch channel of requests, with the picture format that applies until a mixer requests
/// another.
fn wish(picture_max: Option<ProgramFormat>) -> (watch::Sender<Wish>, watch::Receiver<Wish>) {
    let picture = requested(capped(PICTURE_UNASKED, picture_max));
    watch::channel(Wish { wanted: false, picture, keys: 0 })
}

fn requested(VideoFormat { width, height, fps, bitrate_bps }: VideoFormat) -> VideoRequest {
    VideoRequest { width, height, fps, bitrate_bps }
}

/// Limits a request to the size, frame rate and bit rate of `most`.
fn capped(asked: VideoFormat, most: Option<ProgramFormat>) -> VideoFormat {
    let Some(most) = most else { return asked };
    let small =
        u32::from(most.width) * u32::from(most.height) < u32::from(asked.width) * u32::from(asked.height);
    let (width, height) = if small { (most.width, most.height) } else { (asked.width, asked.height) };
    let (fps, bitrate_bps) = (asked.fps.min(most.fps), asked.bitrate_bps.min(most.bitrate_bps));
    VideoFormat { width, height, fps, bitrate_bps }
}
