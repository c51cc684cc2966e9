//! Raw pictures and sound that the application pushes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use plenary::media::{Picture, PlaneView, RawError, RawFormat, RawPicture};
use plenary::{Error, Options, RawTrack};

use crate::support::*;

/// Calls `push` every 10 ms with a number and a capture time, until it is stopped. On a machine that stalls,
/// the calls are late, but the capture times are unchanged.
fn play(
    track: Arc<RawTrack>,
    mut push: impl FnMut(&RawTrack, u64, u64) + Send + 'static,
) -> (u64, impl AsyncFnOnce()) {
    let (begin_us, stop) = (track.now_us(), Arc::new(AtomicBool::new(false)));
    let stopped = stop.clone();
    let playing = tokio::spawn(async move {
        let mut beat = tokio::time::interval(Duration::from_millis(10));
        for number in 0u64.. {
            beat.tick().await;
            if stopped.load(Ordering::Relaxed) {
                return;
            }
            push(&track, number, begin_us + number * 10_000);
        }
    });
    let end = async move || {
        stop.store(true, Ordering::Relaxed);
        within("the end of what is handed over", playing).await.unwrap();
    };
    (begin_us, end)
}

/// Picture with padding behind its rows, as I420 and as NV12.
#[cfg(feature = "codecs")]
struct Padded {
    width: usize,
    height: usize,
    stride: usize,
    luma: Vec<u8>,
    /// Cb, Cr, and both interleaved.
    chroma: [Vec<u8>; 3],
}

#[cfg(feature = "codecs")]
impl Padded {
    fn of(picture: &Picture) -> Padded {
        let (width, height) = (picture.width(), picture.height());
        let (stride, view) = (width + 32, picture.view());
        let rows = |plane: PlaneView<'_>, width: usize, stride: usize| -> Vec<u8> {
            let padded = |row: &[u8]| [row, &vec![255; stride - width]].concat();
            plane.samples.chunks(plane.stride).flat_map(padded).collect()
        };
        let [luma, cb, cr] = view.planes;
        let pairs: Vec<u8> = cb.samples.iter().zip(cr.samples).flat_map(|(cb, cr)| [*cb, *cr]).collect();
        let both = PlaneView { samples: &pairs, stride: width };
        Padded {
            width,
            height,
            stride,
            luma: rows(luma, width, stride),
            chroma: [
                rows(cb, width / 2, stride / 2),
                rows(cr, width / 2, stride / 2),
                rows(both, width, stride),
            ],
        }
    }

    fn i420(&self) -> RawPicture<'_> {
        let chroma = |at: usize| PlaneView { samples: &self.chroma[at], stride: self.stride / 2 };
        let luma = PlaneView { samples: &self.luma, stride: self.stride };
        RawPicture::I420 { width: self.width, height: self.height, planes: [luma, chroma(0), chroma(1)] }
    }

    fn nv12(&self) -> RawPicture<'_> {
        let [luma, chroma] =
            [&self.luma, &self.chroma[2]].map(|samples| PlaneView { samples, stride: self.stride });
        RawPicture::Nv12 { width: self.width, height: self.height, luma, chroma }
    }
}

/// Luma, Cb and Cr of a picture's quarters: red, green, blue, and light grey.
#[cfg(feature = "codecs")]
const QUARTERS: [[u8; 3]; 4] = [[63, 102, 240], [173, 42, 26], [32, 240, 118], [180, 128, 128]];

#[cfg(feature = "codecs")]
fn quarters(width: usize, height: usize) -> Picture {
    let mut picture = Picture::black(width, height);
    for (plane, (samples, shrink)) in picture.planes_mut().into_iter().zip([1, 2, 2]).enumerate() {
        let (width, height) = (width / shrink, height / shrink);
        for (at, sample) in samples.iter_mut().enumerate() {
            let (right, low) = (at % width >= width / 2, at / width >= height / 2);
            *sample = QUARTERS[usize::from(right) + 2 * usize::from(low)][plane];
        }
    }
    picture
}

#[cfg(feature = "codecs")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_s_own_picture_and_tone_reach_a_viewer_with_their_times() {
    use std::f64::consts::TAU;

    use plenary_testkit::judge::Sound;

    let ada = host(local(Options::speaker("Ada"))).await;
    let track = ada.publish_raw(RawFormat { fps: 25, channels: 2, sample_rate: 44_100 }).await.unwrap();
    let track = Arc::new(track);
    let padded = Padded::of(&quarters(320, 180));
    let (begin_us, end) = play(track.clone(), move |track, number, captured_us| {
        // 10 ms of a 440 Hz tone at half of full scale, on both channels
        let tone = |at: u64| ((440.0 / 44_100.0 * at as f64).fract() * TAU).sin() * 16_384.0;
        let samples: Vec<i16> =
            (number * 441..(number + 1) * 441).flat_map(|at| [tone(at) as i16; 2]).collect();
        track.push_sound(&samples[..], captured_us).unwrap();
        // I420 and NV12 alternate
        match number % 8 {
            0 => track.push_picture(&padded.i420(), captured_us).unwrap(),
            4 => track.push_picture(&padded.nv12(), captured_us).unwrap(),
            _ => {}
        }
    });
    let mut wishes = track.wishes();
    assert!(!wishes.borrow().wanted, "nobody is there yet");

    let zoe = join(&ada, local(Options::viewer("Zoë"))).await;
    let (mut pictures, mut sound) = (zoe.pictures().unwrap(), zoe.sound().unwrap());
    within("being wanted", wishes.wait_for(|wish| wish.wanted)).await.unwrap();
    let mut seen = [0, 0];
    while seen[0] < 10 || seen[1] < 10 {
        let decoded = within("a picture", pictures.next()).await.unwrap();
        let since_us = decoded.captured_us - begin_us;
        assert_eq!(since_us % 40_000, 0, "a capture time that no picture had");
        seen[(since_us / 40_000 % 2) as usize] += 1;
        let view = decoded.picture.view();
        for (quarter, colour) in QUARTERS.into_iter().enumerate() {
            let (x, y) = (80 + quarter % 2 * 160, 45 + quarter / 2 * 90);
            for (plane, shrink) in [1, 2, 2].into_iter().enumerate() {
                let got = view.planes[plane].samples[y / shrink * view.planes[plane].stride + x / shrink];
                assert!(
                    got.abs_diff(colour[plane]) <= 4,
                    "quarter {quarter}, plane {plane}: {got}, {colour:?}"
                );
            }
        }
    }

    let mut samples = Vec::new();
    while samples.len() < 3 * 48_000 {
        let heard = within("sound", sound.next()).await.unwrap();
        if !samples.is_empty() || heard.samples.iter().any(|sample| sample.abs() > 0.01) {
            samples.extend(heard.mono());
        }
    }
    let (hz, db) = Sound { samples }.peaks(1.0..3.0, 1)[0];
    assert!((hz - 440.0).abs() < 2.0 && (db + 6.0).abs() < 2.0, "{hz} Hz at {db} dB");
    assert_eq!(track.trouble(), None);

    zoe.close().await;
    within("being wanted no more", wishes.wait_for(|wish| !wish.wanted)).await.unwrap();
    end().await;
    ada.close().await;
    let late = track.push_sound(&[0i16; 2][..], track.now_us());
    assert!(matches!(late, Err(Error::Closed)), "{late:?}");
}

#[cfg(feature = "codecs")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lips_and_voice_stay_together_whatever_the_chunks_are() {
    use plenary::media::source::{Source, TestSource};
    use plenary_testkit::judge::{Layout, recording};

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("raw.mp4");
    let ada = host(local(Options::speaker("Ada"))).await;
    let track = Arc::new(ada.publish_raw(RawFormat { fps: 25, ..RawFormat::default() }).await.unwrap());
    let mut source = TestSource::new(0, 320, 180, 25);
    // sound is pushed in chunks of 23 ms, each when its last sample exists; its capture times jitter
    let (mut ahead, mut said) = (Vec::new(), 0u64);
    let (begin_us, end) = play(track.clone(), move |track, number, captured_us| {
        if number.is_multiple_of(2) {
            let mut frame = [0.0; 960];
            source.next_sound(&mut frame).unwrap();
            ahead.extend(frame);
        }
        while ahead.len() >= 1_104 {
            let begun_us = captured_us - number * 10_000 + said * 1_000_000 / 48_000;
            let chunk: Vec<f32> = ahead.drain(..1_104).collect();
            track.push_sound(&chunk[..], begun_us + said % 5 * 1_000).unwrap();
            said += 1_104;
        }
        if number.is_multiple_of(4) {
            source.next_picture().unwrap();
            track.push_picture(&source.picture().into(), captured_us).unwrap();
        }
    });
    let zoe = join(&ada, local(Options::viewer("Zoë"))).await;
    let taking = zoe.record(&file).unwrap();
    let mut frames = zoe.frames();
    frame(&mut frames, "six seconds", |got| got.frame.identity.captured_us > begin_us + 6_000_000).await;
    end().await;
    taking.finish().unwrap();
    let seen =
        tokio::task::spawn_blocking(move || recording(&file, &Layout::grid(1))).await.unwrap().unwrap();
    let mut skews_ms = seen.skews_ms(0);
    skews_ms.sort_by(f64::total_cmp);
    // a busy machine may drop the first picture of a flash, but not of most flashes
    let middle = skews_ms.get(skews_ms.len() / 2);
    assert!(skews_ms.len() >= 2 && middle.is_some_and(|skew| skew.abs() < 12.0), "{skews_ms:?}");
    tokio::join!(zoe.close(), ada.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_said_and_the_rest_goes_on() {
    let ada = host(quick(Options::speaker("Ada"))).await;
    let zoe = join(&ada, quick(Options::viewer("Zoë")).codecs(None)).await;
    let format = RawFormat::default();
    assert!(matches!(zoe.publish_raw(format).await, Err(Error::NoCodecs)));
    let refused = ada.publish_raw(RawFormat { channels: 3, ..format }).await.map(|_| ());
    assert!(matches!(refused, Err(Error::Raw(RawError::Format(_)))), "{refused:?}");
    let track = Arc::new(ada.publish_raw(format).await.unwrap()); // the refused call did not count
    assert!(matches!(ada.publish_raw(format).await, Err(Error::Publish(_))));

    let picture = Picture::black(320, 180);
    let short = PlaneView { samples: &picture.samples()[..319], stride: 320 };
    let wrong = RawPicture::Nv12 { width: 320, height: 180, luma: short, chroma: short };
    let refused = track.push_picture(&wrong, track.now_us());
    let Err(Error::Raw(RawError::Plane { plane: "luma", len: 319, wanted: 57_600 })) = refused else {
        panic!("{refused:?}")
    };
    let refused = track.push_sound(&[f32::NAN][..], track.now_us());
    assert!(matches!(refused, Err(Error::Raw(RawError::NotFinite { at: 0, .. }))), "{refused:?}");

    let (begin_us, end) = play(track, move |track, _, captured_us| {
        track.push_picture(&picture.view().into(), captured_us).unwrap();
        assert!(track.push_picture(&picture.view().into(), captured_us).is_err(), "the same time twice");
        assert!(track.push_picture(&wrong_of(&picture), captured_us + 1).is_err());
    });
    let mut frames = zoe.frames();
    for _ in 0..20 {
        let got = frame(&mut frames, "pictures", |_| true).await.frame.identity.captured_us;
        assert_eq!((got - begin_us) % 10_000, 0);
    }
    end().await;
    tokio::join!(zoe.close(), ada.close());
}

/// Returns a picture without chroma.
fn wrong_of(picture: &Picture) -> RawPicture<'_> {
    let luma = picture.view().planes[0];
    let none = PlaneView { samples: &[], stride: 160 };
    RawPicture::I420 { width: 320, height: 180, planes: [luma, none, none] }
}
