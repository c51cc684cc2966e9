//! Codecs that die in all ways, on the ladder.

use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::codec::EncodedPicture;
use crate::{Picture, PictureView, SOUND_FRAME_LEN};
use bytes::Bytes;

/// An access unit that says that it is a keyframe, and one that says that it isn't.
const KEY: &[u8] = b"\0\0\x01\x65any";
const DELTA: &[u8] = b"\0\0\x01\x41any";
const FORMAT: VideoFormat = VideoFormat { width: 64, height: 48, fps: 30, bitrate_bps: 100_000 };

/// What an instance does when it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Work,
    Refuse,
    Fail,
    Panic,
    Hang,
    /// Refuses to be made.
    NoSession,
}

/// Codecs whose n-th instance does what the n-th entry says; later ones what the last says.
struct Script(Vec<Does>, AtomicUsize, Arc<Mutex<Vec<(usize, u32)>>>);

struct Instance {
    does: Does,
    number: usize,
    /// Bitrates set, with the number of the instance.
    bitrates: Arc<Mutex<Vec<(usize, u32)>>>,
    picture: Picture,
}

impl Script {
    fn of(does: &[Does]) -> Script {
        Script(does.to_vec(), AtomicUsize::new(0), Arc::default())
    }

    fn instance(&self) -> Result<Instance, CodecError> {
        let number = self.1.fetch_add(1, Ordering::Relaxed);
        let does = self.0[number.min(self.0.len() - 1)];
        if does == Does::NoSession {
            return Err(failed("no session left"));
        }
        Ok(Instance { does, number, bitrates: self.2.clone(), picture: Picture::black(64, 48) })
    }
}

fn failed(code: &str) -> CodecError {
    CodecError::Failed { codec: "script", code: code.to_owned() }
}

impl Instance {
    fn act(&self) -> Result<(), CodecError> {
        match self.does {
            Does::Work | Does::NoSession => Ok(()),
            Does::Refuse => Err(CodecError::Decode { codec: "script", code: "refused".to_owned() }),
            Does::Fail => Err(failed("session lost")),
            Does::Panic => panic!("a codec that fails as badly as it can"),
            Does::Hang => loop {
                std::thread::park();
            },
        }
    }
}

impl VideoEncoder for Instance {
    fn encode(&mut self, _: &PictureView<'_>, key: bool) -> Result<Option<EncodedPicture>, CodecError> {
        self.act()?;
        Ok(Some(EncodedPicture { data: Bytes::from_static(b"own"), key, temporal: 0 }))
    }
    fn set_bitrate(&mut self, bitrate_bps: u32) {
        self.bitrates.lock().unwrap().push((self.number, bitrate_bps));
    }
}

impl VideoDecoder for Instance {
    fn decode(&mut self, _: &[u8]) -> Result<Option<PictureView<'_>>, CodecError> {
        self.act()?;
        Ok(Some(self.picture.view()))
    }
}

impl SoundEncoder for Instance {
    fn encode(&mut self, _: &[f32]) -> Result<Bytes, CodecError> {
        self.act().map(|()| Bytes::from_static(b"own"))
    }
}

impl SoundDecoder for Instance {
    fn decode(&mut self, _: &[u8], samples: &mut [f32]) -> Result<(), CodecError> {
        samples.fill(0.5);
        self.act()
    }
    fn conceal(&mut self, _: Option<&[u8]>, samples: &mut [f32]) {
        samples.fill(0.5);
        let _ = self.act();
    }
}

impl Codecs for Script {
    fn video_encoder(&self, _: &VideoFormat) -> Result<Box<dyn VideoEncoder>, CodecError> {
        Ok(Box::new(self.instance()?))
    }
    fn video_decoder(&self) -> Result<Box<dyn VideoDecoder>, CodecError> {
        Ok(Box::new(self.instance()?))
    }
    fn sound_encoder(&self, _: u8, _: u32) -> Result<Box<dyn SoundEncoder>, CodecError> {
        Ok(Box::new(self.instance()?))
    }
    fn sound_decoder(&self, _: u8) -> Result<Box<dyn SoundDecoder>, CodecError> {
        Ok(Box::new(self.instance()?))
    }
}

type Reports = Arc<Mutex<Vec<CodecFailure>>>;

fn guarded(does: &[Does]) -> (GuardedCodecs, Reports) {
    let reports = Reports::default();
    let told = reports.clone();
    (
        GuardedCodecs::new(Arc::new(Script::of(does)), true, move |failure| {
            told.lock().unwrap().push(failure)
        }),
        reports,
    )
}

fn remedies(reports: &Reports) -> Vec<CodecRemedy> {
    reports.lock().unwrap().iter().map(|failure| failure.remedy).collect()
}

use CodecRemedy::{GaveUp, ReplacedByBuiltin, Restarted};

#[test]
fn a_dead_encoder_is_replaced_and_the_next_one_encodes_its_picture() {
    let picture = Picture::black(64, 48);
    let both =
        if cfg!(feature = "codecs") { vec![Restarted, ReplacedByBuiltin] } else { vec![Restarted, GaveUp] };
    for dies in [Does::Fail, Does::Panic, Does::Hang, Does::NoSession] {
        let (codecs, reports) = guarded(&[dies, Does::Work]);
        let mut encoder = codecs.program_encoder(&FORMAT).unwrap();
        encoder.set_bitrate(50_000);
        let encoded = encoder.encode(&picture.view(), true).unwrap().unwrap();
        assert_eq!(&encoded.data[..], b"own", "{dies:?}");
        assert_eq!(remedies(&reports), [Restarted], "{dies:?}");

        let (codecs, reports) = guarded(&[dies, dies]);
        let made =
            codecs.program_encoder(&FORMAT).and_then(|mut encoder| encoder.encode(&picture.view(), true));
        assert_eq!(made.is_ok(), cfg!(feature = "codecs"), "{dies:?}");
        assert_eq!(remedies(&reports), both, "{dies:?}");
        assert_eq!(reports.lock().unwrap()[0].part, CodecPart::ProgramEncoder);
        let sound =
            codecs.sound_encoder(1, 32_000).and_then(|mut encoder| encoder.encode(&[0.0; SOUND_FRAME_LEN]));
        assert_eq!(sound.is_ok(), cfg!(feature = "codecs"), "{dies:?}");
    }
}

#[test]
fn a_new_instance_gets_the_settings_of_the_one_before() {
    let script = Script::of(&[Does::Work, Does::Work]);
    let bitrates = script.2.clone();
    let codecs = GuardedCodecs::new(Arc::new(script), true, |_| ());
    let mut guarded = codecs.guard(CodecPart::ProgramEncoder, |codecs| codecs.video_encoder(&FORMAT));
    guarded.running().unwrap();
    let mut encoder = Views::new(guarded).unwrap();
    let picture = Picture::black(64, 48);
    encoder.set_bitrate(50_000);
    encoder.encode(&picture.view(), false).unwrap();
    encoder.encode(&picture.view(), false).unwrap();
    encoder.kill();
    encoder.encode(&picture.view(), false).unwrap();
    assert_eq!(*bitrates.lock().unwrap(), [(0, 50_000), (1, 50_000)], "once for each instance");
}

#[cfg(feature = "codecs")]
#[test]
fn a_dead_decoder_is_replaced_and_garbage_counts_for_its_stream_alone() {
    for dies in [Does::Refuse, Does::Fail, Does::Panic, Does::Hang] {
        let (codecs, reports) = guarded(&[dies]);
        let mut decoder = codecs.video_decoder().unwrap();
        if dies == Does::Refuse {
            // after a loss
            assert!((0..100).all(|_| decoder.decode(DELTA).is_err()) && remedies(&reports).is_empty());
        }
        let tries = (0..20).take_while(|_| remedies(&reports).last() != Some(&ReplacedByBuiltin));
        let errors = tries.filter(|_| decoder.decode(KEY).is_err()).count();
        assert!((3..20).contains(&errors), "{dies:?}: {errors}");
        assert_eq!(remedies(&reports), [Restarted, ReplacedByBuiltin], "{dies:?}");
        // the next stream's decoder
        let rung = codecs.shared.rungs[CodecPart::VideoDecoder as usize].load(Ordering::Relaxed);
        assert_eq!(rung, if dies == Does::Refuse { 0 } else { SPARE_RUNG }, "{dies:?}");
    }
}

#[cfg(feature = "codecs")]
#[test]
fn the_builtin_decoder_gives_up_on_garbage_and_decodes_the_next_keyframe() {
    let told = Reports::default();
    let report = told.clone();
    let codecs = GuardedCodecs::new(Arc::new(crate::BuiltinCodecs::default()), true, move |failure| {
        report.lock().unwrap().push(failure);
    });
    let mut decoder = codecs.video_decoder().unwrap();
    assert!((0..50).all(|_| decoder.decode(KEY).is_err()));
    assert_eq!(remedies(&told), [Restarted, GaveUp], "once each");
    let mut encoder = codecs.video_encoder(&FORMAT).unwrap();
    let key = encoder.encode(&Picture::black(64, 48).view(), true).unwrap().unwrap();
    assert!((0..3).any(|_| decoder.decode(&key.data).is_ok_and(|picture| picture.is_some())));
}

#[cfg(feature = "codecs")]
#[test]
fn sound_that_kills_its_decoder_is_silence_and_the_next_is_heard() {
    for dies in [Does::Fail, Does::Panic, Does::Hang] {
        let (codecs, reports) = guarded(&[dies, Does::Work]);
        let mut decoder = codecs.sound_decoder(1).unwrap();
        let mut samples = [1.0; SOUND_FRAME_LEN];
        assert!(decoder.decode(b"any", &mut samples).is_err(), "{dies:?}");
        assert!(dies == Does::Fail || samples.iter().all(|sample| *sample == 0.0), "{dies:?}");
        decoder.decode(b"any", &mut samples).unwrap();
        assert_eq!((samples[0], remedies(&reports)), (0.5, vec![Restarted]), "{dies:?}");
    }
}

#[test]
fn no_more_than_so_many_hung_instances_are_left_behind() {
    let (codecs, reports) = guarded(&[Does::Hang]);
    codecs.shared.hung.store(HUNG_MAX, Ordering::Relaxed);
    let made = codecs.video_encoder(&FORMAT);
    assert_eq!(made.is_ok(), cfg!(feature = "codecs"));
    assert!(reports.lock().unwrap()[0].text.contains("hang already"));
}
