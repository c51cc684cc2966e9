//! What this peer sends: a source played by a capture, or frames that the application encodes.

use std::sync::Arc;

use bytes::Bytes;
use plenary_media::Clock;
use plenary_media::Encoded;
use plenary_media::codec::{Codecs, VideoFormat};
use plenary_media::source::Source;
use plenary_media::{Capture, CaptureFormat};
use plenary_proto::PeerId;
use plenary_proto::identity::MediaKind;
use plenary_proto::message::{ProgramFormat, VideoAsk};
use tokio::sync::watch;

use crate::flow::{Flow, Own};
use crate::{Error, random_bytes};

/// What a speaker sends until a mixer asks for something else: the size of a tile among four.
pub(crate) const PICTURE_UNASKED: VideoFormat =
    VideoFormat { width: 640, height: 360, fps: 30, bitrate_bps: 600_000 };
/// A speaker's sound, mono or stereo.
const SOUND_BPS: u32 = 32_000;

/// What is wanted of an application that encodes its own pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Somebody listens: otherwise nothing needs to be encoded.
    pub wanted: bool,
    /// The picture that is asked for.
    pub picture: VideoAsk,
    /// Counts key frames that were asked for; when it rises, the next picture should be one.
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

enum Kind {
    Playing(Capture),
    Track(watch::Sender<Wish>),
}

/// Whatever makes this peer's own stream.
pub(crate) struct Publisher {
    kind: Kind,
    picture_max: Option<ProgramFormat>,
}

impl Publisher {
    /// Plays a source, over and over, in real time.
    pub(crate) fn play(
        source: Box<dyn Source>,
        codecs: Arc<dyn Codecs>,
        clock: Clock,
        flow: &Arc<Flow>,
        picture_max: Option<ProgramFormat>,
    ) -> Result<Publisher, Error> {
        let sink = Arc::downgrade(flow);
        let publish = move |encoded: Encoded| {
            if let Some(flow) = sink.upgrade() {
                flow.publish(&encoded);
            }
        };
        let video = capped(PICTURE_UNASKED, picture_max);
        let format = CaptureFormat { video, sound_bitrate_bps: SOUND_BPS };
        let capture = Capture::start(source, codecs, clock, format, Box::new(publish))
            .map_err(|error| Error::Io { what: "no thread for the capture".to_owned(), error })?;
        capture.pause_video(true);
        capture.pause_sound(true);
        Ok(Publisher { kind: Kind::Playing(capture), picture_max })
    }

    /// Takes the application's frames.
    pub(crate) fn track(flow: &Arc<Flow>, picture_max: Option<ProgramFormat>) -> (Publisher, EncodedTrack) {
        let VideoFormat { width, height, fps, bitrate_bps } = capped(PICTURE_UNASKED, picture_max);
        let picture = VideoAsk { width, height, fps, bitrate_bps };
        let (wish, wishes) = watch::channel(Wish { wanted: false, picture, keys: 0 });
        let track = EncodedTrack { flow: flow.clone(), wishes };
        (Publisher { kind: Kind::Track(wish), picture_max }, track)
    }

    /// The stream that its frames make.
    pub(crate) fn own(&self, flow: &Flow, me: PeerId) -> Own {
        Own::new(&flow.room(), me, random_bytes())
    }

    /// Another picture is wanted.
    pub(crate) fn ask(&self, ask: VideoAsk) {
        let VideoAsk { width, height, fps, bitrate_bps } = ask;
        let video = capped(VideoFormat { width, height, fps, bitrate_bps }, self.picture_max);
        match &self.kind {
            Kind::Playing(capture) => capture.ask(video),
            Kind::Track(wish) => {
                let VideoFormat { width, height, fps, bitrate_bps } = video;
                wish.send_modify(|wish| wish.picture = VideoAsk { width, height, fps, bitrate_bps });
            }
        }
    }

    pub(crate) fn want_key(&self) {
        match &self.kind {
            Kind::Playing(capture) => capture.want_key(),
            Kind::Track(wish) => wish.send_modify(|wish| wish.keys += 1),
        }
    }

    /// Nobody listens, or somebody does again: the encoder stands still meanwhile.
    pub(crate) fn pause(&self, paused: bool) {
        match &self.kind {
            Kind::Playing(capture) => {
                capture.pause_video(paused);
                capture.pause_sound(paused);
            }
            Kind::Track(wish) => wish.send_modify(|wish| wish.wanted = !paused),
        }
    }
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
