//! Small rooms on loopback, and waiting with timeouts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
#[cfg(feature = "codecs")]
use plenary::media::PictureView;
use plenary::media::codec::{Codecs, VideoEncoder, VideoFormat};
use plenary::media::source::TestSource;
use plenary::media::{Clock, Picture};
use plenary::testing::Testing;
use plenary::{
    EncodedTrack, Error, Events, Frames, HostOptions, Options, ProgramFormat, ReceivedFrame, Room, RoomEvent,
    RoomSnapshot,
};
use plenary_testkit::fake::FakeCodecs;
#[cfg(feature = "codecs")]
use plenary_testkit::judge::TimeCode;

/// Limit on hanging, also on a machine that is busy with other work. On an idle one no wait takes a tenth of it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
const PICTURE: ProgramFormat = ProgramFormat { width: 320, height: 180, fps: 30, bitrate_bps: 300_000 };

/// Returns the options with loopback addresses and codecs that take no time.
pub(crate) fn quick(options: Options) -> Options {
    local(options).codecs(Some(Arc::new(FakeCodecs::default())))
}

/// Returns the options with loopback addresses, small pictures, and a given codec bench.
pub(crate) fn local(options: Options) -> Options {
    options
        .bind(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])
        .picture_max(Some(PICTURE))
        .testing(Testing { bench: Some((4_000, 1_000)), ..Testing::default() })
}

/// Returns the options with a network between the peer and the others.
#[cfg(feature = "codecs")]
pub(crate) fn shaped(mut options: Options, shaper: &plenary::Shaper) -> Options {
    options.testing.shaper = shaper.clone();
    options
}

/// Returns options for a rendezvous on loopback and a small program.
pub(crate) fn small() -> HostOptions {
    HostOptions::default().listen(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))).program(PICTURE)
}

pub(crate) async fn host(options: Options) -> Room {
    Room::host(options, small()).await.unwrap()
}

pub(crate) async fn join(host: &Room, options: Options) -> Room {
    within("joining", Room::join(host.invite().unwrap(), options)).await.unwrap()
}

/// Returns a test source with small pictures and a tone.
pub(crate) fn source(index: u8) -> Box<TestSource> {
    Box::new(TestSource::new(index, PICTURE.width, PICTURE.height, PICTURE.fps))
}

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(PATIENCE, future).await;
    ended.unwrap_or_else(|_| panic!("{what} takes longer than {PATIENCE:?}"))
}

/// Waits until a peer's snapshot is as wanted.
pub(crate) async fn until(
    room: &Room,
    what: &str,
    wanted: impl FnMut(&RoomSnapshot) -> bool,
) -> RoomSnapshot {
    within(what, room.watch().wait_for(wanted)).await.unwrap().clone()
}

/// Returns the next event that `wanted` accepts.
pub(crate) async fn event<T>(
    events: &mut Events,
    what: &str,
    mut wanted: impl FnMut(RoomEvent) -> Option<T>,
) -> T {
    within(what, async {
        loop {
            let event = events.next().await.unwrap_or_else(|| panic!("the room closed before {what}"));
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    })
    .await
}

/// Returns the next frame that `wanted` accepts.
pub(crate) async fn frame(
    frames: &mut Frames,
    what: &str,
    mut wanted: impl FnMut(&ReceivedFrame) -> bool,
) -> ReceivedFrame {
    within(what, async {
        loop {
            let frame = frames.next().await.unwrap_or_else(|| panic!("the room closed before {what}"));
            if wanted(&frame) {
                return frame;
            }
        }
    })
    .await
}

/// Application that encodes its own frames, which tests can recognize.
pub(crate) struct Application {
    track: EncodedTrack,
    clock: Clock,
    encoder: Box<dyn VideoEncoder>,
    keys: u64,
    picture: Picture,
    /// Everything pushed: access units, and Opus packets.
    pub(crate) pushed: [Vec<Bytes>; 2],
}

impl Application {
    pub(crate) fn new(track: EncodedTrack, clock: Clock) -> Application {
        let ProgramFormat { width, height, fps, bitrate_bps } = PICTURE;
        let format = VideoFormat { width, height, fps, bitrate_bps };
        let encoder = FakeCodecs { key_len_min: 3000, delta_len_min: 500 }.video_encoder(&format).unwrap();
        let picture = Picture::black(width.into(), height.into());
        Application { track, clock, encoder, keys: 0, picture, pushed: Default::default() }
    }

    /// Pushes one picture, a keyframe on request or if `key` is set, and one packet of sound.
    pub(crate) fn push(&mut self, key: bool) {
        let keys = self.track.wishes().borrow().keys;
        let key = key || std::mem::replace(&mut self.keys, keys) != keys;
        let encoded = self.encoder.encode(&self.picture.view(), key).unwrap().unwrap();
        let captured_us = self.clock.now_us();
        let [pictures, packets] = &mut self.pushed;
        // code 0: one frame, whose payload is its number
        let packet = Bytes::from([&[31 << 3][..], &(packets.len() as u64).to_be_bytes()].concat());
        pictures.push(encoded.data.clone());
        packets.push(packet.clone());
        let picture = self.track.push_picture(encoded.data, encoded.key, captured_us);
        let sound = self.track.push_sound(packet, 30, captured_us);
        for pushed in [picture, sound] {
            assert!(matches!(pushed, Ok(()) | Err(Error::Closed)), "{pushed:?}"); // a test closes the room meanwhile
        }
    }

    /// Pushes 50 pictures a second until the future completes.
    pub(crate) async fn push_during<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut beat = tokio::time::interval(Duration::from_millis(20));
        let mut future = std::pin::pin!(future);
        loop {
            tokio::select! {
                done = &mut future => return done,
                _ = beat.tick() => self.push(false),
            }
        }
    }
}

/// Decodes the time code from the row of 32 cells at the top of a tile that shows the test source (layout:
/// `crates/media/src/source/pattern.rs`). `None` if a cell is neither black nor white, if all cells are
/// black, or if the parity is odd.
#[cfg(feature = "codecs")]
pub(crate) fn time_code(
    view: &PictureView<'_>,
    left: usize,
    top: usize,
    width: usize,
    height: usize,
) -> Option<TimeCode> {
    let luma = view.planes[0];
    let middle = top + height / 30;
    let mut bits = 0u32;
    for cell in 0..32 {
        let x = left + (2 * cell + 1) * width / 64;
        let sample = luma.samples[middle * luma.stride + x];
        bits = bits << 1
            | match sample {
                0..=96 => 0,
                160..=255 => 1,
                _ => return None,
            };
    }
    let even = bits != 0 && bits.count_ones().is_multiple_of(2);
    even.then_some(TimeCode { index: (bits >> 28) as u8, number: bits >> 1 & 0x07ff_ffff })
}
