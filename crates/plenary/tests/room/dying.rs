//! Codecs that die in a room: at the elected mixer, and at a speaker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use plenary::media::PictureView;
use plenary::media::codec::{CodecError, Codecs, EncodedPicture, VideoEncoder, VideoFormat};
use plenary::media::source::{Source, SourceError, SourcePictures, TestSource};
use plenary::{
    CLOSE_MAX, CodecOutcome, CodecUse, Consent, Events, Frames, MediaKind, Mode, Options, Origin, Room,
    RoomEvent,
};
use plenary_testkit::fake::{FakeCodecs, SlowCodecs, WithEncoders};

use crate::support::*;

/// How the encoders of [`dying`] codecs die, once told to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dies {
    Fails = 1,
    Panics,
    Hangs,
}

const ALL: [Dies; 3] = [Dies::Fails, Dies::Panics, Dies::Hangs];

/// Tells codecs to die.
type Fate = Arc<AtomicU8>;

struct DyingEncoder(Fate, Box<dyn VideoEncoder>);

impl VideoEncoder for DyingEncoder {
    fn encode(&mut self, picture: &PictureView<'_>, key: bool) -> Result<Option<EncodedPicture>, CodecError> {
        match self.0.load(Ordering::Relaxed) {
            1 => Err(CodecError::Failed { codec: "hw", code: "session lost".to_owned() }),
            2 => panic!("an encoder that fails as badly as it can"),
            3 => loop {
                std::thread::park();
            },
            _ => self.1.encode(picture, key),
        }
    }

    fn set_bitrate(&mut self, bitrate_bps: u32) {
        self.1.set_bitrate(bitrate_bps);
    }

    fn set_frame_rate(&mut self, fps: u8) {
        self.1.set_frame_rate(fps);
    }
}

/// Returns options with codecs whose encoders die when told to.
fn dying(options: Options) -> (Options, Fate) {
    let fate = Fate::default();
    let told = fate.clone();
    let codecs = WithEncoders::new(move |format: &VideoFormat| {
        let encoder = FakeCodecs::default().video_encoder(format)?;
        Ok(Box::new(DyingEncoder(told.clone(), encoder)) as Box<dyn VideoEncoder>)
    });
    (quick(options).codecs(Some(Arc::new(codecs))), fate)
}

/// Two speakers that never mix, two mixers with codecs that die, one of them elected, and a viewer.
struct Cast {
    ada: Room,
    ben: Room,
    mixers: Vec<(Room, Fate)>,
    zoe: Room,
}

impl Cast {
    async fn of(falls_back: bool) -> Cast {
        let never = |name| quick(Options::speaker(name)).mix(Consent::Never);
        let ada = Room::host(never("Ada"), small().mixers(1)).await.unwrap();
        let ben = join(&ada, never("Ben")).await;
        ada.publish(source(0)).await.unwrap().detach();
        ben.publish(source(1)).await.unwrap().detach();
        let mut mixers = Vec::new();
        for name in ["Mia", "Max"] {
            let (options, fate) = dying(Options::mixer(name));
            mixers.push((join(&ada, options.falls_back(falls_back)).await, fate));
        }
        let zoe = join(&ada, quick(Options::viewer("Zoë"))).await;
        Cast { ada, ben, mixers, zoe }
    }

    /// Lets the program's encoder die at a mixer after 90 pictures, and checks what follows there, and how long the
    /// viewer has no picture.
    async fn outlives(&self, mixer: usize, dies: Dies, follow: [CodecOutcome; 2]) {
        let mut frames = self.zoe.frames();
        let mut before_us = 0;
        for _ in 0..90 {
            before_us = picture_us(&mut frames).await;
        }
        let (mixer, fate) = &self.mixers[mixer];
        let mut events = mixer.events();
        fate.store(dies as u8, Ordering::Relaxed);
        let gap_ms = longest_gap_ms(&mut frames, before_us, async {
            for expected in follow {
                assert_eq!(failure(&mut events, CodecUse::Program).await, expected, "{dies:?}");
            }
        });
        let gap_ms = gap_ms.await;
        eprintln!("{dies:?}: the picture was away for {gap_ms} ms");
        assert!(gap_ms < BACK_MS, "{dies:?}: {gap_ms} ms");
    }

    /// Waits until a mixer is elected with the other as its standby, and returns which.
    async fn elected(&self) -> usize {
        let both = |room: &plenary::RoomSnapshot| {
            room.mode == Mode::Mixer && room.rank.term > 0 && !room.standbys.is_empty()
        };
        let elected = until(&self.ada, "a mixer and a standby", both).await;
        self.mixers.iter().position(|(room, _)| elected.mixers == [room.me()]).unwrap()
    }

    async fn close(self) {
        for room in self.mixers.into_iter().map(|(room, _)| room).chain([self.zoe, self.ben, self.ada]) {
            room.close().await;
        }
    }
}

/// Returns when the next picture of the program arrives.
async fn picture_us(frames: &mut Frames) -> u64 {
    let is_picture = |received: &plenary::ReceivedFrame| {
        received.origin == Origin::Program && received.frame.kind == MediaKind::Video
    };
    frame(frames, "a picture of the program", is_picture).await.arrived_us
}

/// Returns the longest gap between pictures, in milliseconds, from the one at `before_us` until `happens` has happened
/// and 30 more pictures have come.
async fn longest_gap_ms(frames: &mut Frames, mut before_us: u64, happens: impl Future<Output = ()>) -> u64 {
    let mut happens = std::pin::pin!(happens);
    let (mut longest_us, mut left) = (0, None);
    while left != Some(0) {
        let at_us = tokio::select! {
            () = &mut happens, if left.is_none() => {
                left = Some(30);
                continue;
            }
            at_us = picture_us(frames) => at_us,
        };
        longest_us = longest_us.max(at_us.saturating_sub(before_us));
        before_us = at_us;
        left = left.map(|left| left - 1);
    }
    longest_us / 1_000
}

/// Waits for the next failure of such a codec, and returns what followed.
async fn failure(events: &mut Events, of: CodecUse) -> CodecOutcome {
    let outcome = event(events, "a failed codec", |event| match event {
        RoomEvent::CodecFailed { codec, then, .. } if codec == of => Some(then),
        _ => None,
    });
    outcome.await
}

/// Loose: the machine may be busy. Within a second where it isn't.
const BACK_MS: u64 = 5_000;

#[cfg(feature = "codecs")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mixer_whose_encoder_dies_goes_on_with_the_builtin_one() {
    for dies in ALL {
        let cast = Cast::of(true).await;
        let first = cast.elected().await;
        cast.outlives(first, dies, [CodecOutcome::Restarted, CodecOutcome::ReplacedByBuiltin]).await;
        let mixer = cast.mixers[first].0.me();
        assert_eq!(cast.ada.snapshot().mixers, [mixer], "{dies:?}: it mixes on");
        cast.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mixer_with_no_codec_left_resigns_and_its_standby_takes_over() {
    for dies in ALL {
        let cast = Cast::of(false).await;
        let first = cast.elected().await;
        cast.outlives(first, dies, [CodecOutcome::Restarted, CodecOutcome::Withdrawn]).await;
        let (mixer, other) = (&cast.mixers[first].0, cast.mixers[1 - first].0.me());
        let withdrawn = |room: &plenary::RoomSnapshot| {
            room.mixers == [other]
                && room.stage.iter().all(|member| member.peer != mixer.me() || !member.mixes)
        };
        until(&cast.ada, "the other mixer", withdrawn).await;
        let began = Instant::now();
        mixer.close().await;
        assert!(began.elapsed() < Duration::from_secs(6), "{dies:?}: closed after {:?}", began.elapsed());
        cast.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_speaker_whose_encoder_dies_is_seen_muted_and_heard_on() {
    for dies in ALL {
        let (options, fate) = dying(Options::speaker("Ada"));
        let ada = Room::host(options.mix(Consent::Never).falls_back(false), small()).await.unwrap();
        let mia = join(&ada, quick(Options::mixer("Mia"))).await;
        let ben = join(&ada, quick(Options::speaker("Ben")).mix(Consent::Never)).await;
        ada.publish(source(0)).await.unwrap().detach();
        ben.publish(source(1)).await.unwrap().detach();
        let zoe = join(&ada, quick(Options::viewer("Zoë"))).await;
        let mut frames = zoe.frames();
        for _ in 0..30 {
            picture_us(&mut frames).await;
        }
        until(&ada, "a mixer", |room| room.mode == Mode::Mixer && room.mixers == [mia.me()]).await;
        let mut events = ada.events();
        fate.store(dies as u8, Ordering::Relaxed);
        for expected in [CodecOutcome::Restarted, CodecOutcome::Withdrawn] {
            assert_eq!(failure(&mut events, CodecUse::OwnPicture).await, expected, "{dies:?}");
        }
        let muted = |room: &plenary::RoomSnapshot| {
            let ada = room.stage.iter().find(|member| member.name == "Ada");
            ada.is_some_and(|ada| ada.muted.picture && !ada.muted.sound)
        };
        until(&ben, "her picture muted", muted).await;
        picture_us(&mut frames).await; // the program goes on
        let began = Instant::now();
        ada.close().await;
        assert!(began.elapsed() < Duration::from_secs(6), "{dies:?}: closed after {:?}", began.elapsed());
        for room in [zoe, ben, mia] {
            room.close().await;
        }
    }
}

#[cfg(feature = "codecs")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_speaker_whose_encoder_dies_goes_on_with_the_builtin_one() {
    let (options, fate) = dying(Options::speaker("Ada"));
    let ada = Room::host(options.mix(Consent::Never), small()).await.unwrap();
    ada.publish(source(0)).await.unwrap().detach();
    let ben = join(&ada, quick(Options::speaker("Ben")).mix(Consent::Never)).await;
    let mut frames = ben.frames();
    let of_ada = |received: &plenary::ReceivedFrame| received.frame.kind == MediaKind::Video;
    frame(&mut frames, "her picture", of_ada).await;
    let mut events = ada.events();
    fate.store(Dies::Panics as u8, Ordering::Relaxed);
    for expected in [CodecOutcome::Restarted, CodecOutcome::ReplacedByBuiltin] {
        assert_eq!(failure(&mut events, CodecUse::OwnPicture).await, expected);
    }
    for _ in 0..30 {
        frame(&mut frames, "more pictures", of_ada).await;
    }
    for room in [ben, ada] {
        room.close().await;
    }
}

/// Codecs whose device has no session left.
fn no_session() -> Arc<dyn Codecs> {
    Arc::new(WithEncoders::new(|_: &VideoFormat| {
        Err(CodecError::Failed { codec: "hw", code: "no session left".to_owned() })
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_session_left_joins_and_is_no_candidate() {
    let ada = host(quick(Options::speaker("Ada")).mix(Consent::Never)).await;
    for (panics, codecs) in
        [(false, no_session()), (true, Arc::new(WithEncoders::new(|_: &VideoFormat| panic!("hw"))))]
    {
        let (told, mut tells) = tokio::sync::mpsc::unbounded_channel();
        let mut options = quick(Options::speaker("Ben")).mix(Consent::Always).codecs(Some(codecs));
        options.testing.bench = None;
        let options =
            options.on_event(Some(Arc::new(move |event: &RoomEvent| drop(told.send(event.clone())))));
        let ben = join(&ada, options).await;
        let failed = async {
            while let Some(event) = tells.recv().await {
                if let RoomEvent::CodecFailed { codec: CodecUse::Bench, then, text } = event {
                    return (then, text);
                }
            }
            panic!("no word of it");
        };
        let (then, text) = within("the bench", failed).await;
        assert_eq!(then, CodecOutcome::Withdrawn);
        assert!(!text.is_empty() && panics != text.contains("no session left"), "{text}");
        let no_candidate = |room: &plenary::RoomSnapshot| {
            room.stage.iter().any(|member| member.name == "Ben" && member.speaks && !member.mixes)
        };
        until(&ada, "a speaker that doesn't mix", no_candidate).await;
        ben.leave().await;
        ben.close().await;
        until(&ada, "his leave", |room| room.stage.len() == 1).await;
    }
    ada.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joining_does_not_wait_for_the_bench_and_the_claim_comes_after() {
    let ada = host(quick(Options::speaker("Ada")).mix(Consent::Never)).await;
    let mut options = quick(Options::speaker("Ben")).mix(Consent::Always);
    let slow = SlowCodecs { encode_us: Arc::new(150_000.into()), ..SlowCodecs::default() };
    options = options.codecs(Some(Arc::new(slow)));
    options.testing.bench = None;
    let began = Instant::now();
    let ben = join(&ada, options).await;
    let joined = began.elapsed();
    eprintln!("joined after {joined:?}");
    // five pictures of the bench take 750 ms
    assert!(joined < Duration::from_millis(700), "{joined:?}");
    let mut events = ada.events();
    let claim = within("a claim", async {
        loop {
            ada.measure(ben.me()).await.unwrap();
            let measured = event(&mut events, "a measurement", |event| match event {
                RoomEvent::Measured { codec, .. } => Some(codec),
                _ => None,
            });
            if let Some(codec) = measured.await {
                return codec;
            }
        }
    })
    .await;
    assert!(claim.encode_us >= 150_000, "wall time also the first time: {claim:?}");
    for room in [ben, ada] {
        room.close().await;
    }
}

/// A source whose first picture panics, or never comes.
struct DeadSource {
    panics: bool,
    alive: Box<TestSource>,
}

impl Source for DeadSource {
    fn pictures(&self) -> Option<SourcePictures> {
        self.alive.pictures()
    }

    fn channels(&self) -> Option<u8> {
        self.alive.channels()
    }

    fn next_picture(&mut self) -> Result<Option<u64>, SourceError> {
        if self.panics {
            panic!("a source that fails as badly as it can");
        }
        loop {
            std::thread::park();
        }
    }

    fn picture(&mut self) -> PictureView<'_> {
        self.alive.picture()
    }

    fn next_sound(&mut self, samples: &mut [f32]) -> Result<(), SourceError> {
        self.alive.next_sound(samples)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_hangs_holds_up_no_close_and_one_that_panics_is_withdrawn() {
    let ada = host(quick(Options::speaker("Ada")).mix(Consent::Never)).await;
    let mut events = ada.events();
    let panics = ada.publish(Box::new(DeadSource { panics: true, alive: source(0) })).await.unwrap();
    for what in [CodecUse::OwnPicture, CodecUse::OwnSound] {
        assert_eq!(failure(&mut events, what).await, CodecOutcome::Withdrawn);
    }
    let muted =
        |room: &plenary::RoomSnapshot| room.stage.iter().all(|ada| ada.muted.picture && ada.muted.sound);
    until(&ada, "picture and sound muted", muted).await;
    panics.unpublish().await;
    ada.publish(Box::new(DeadSource { panics: false, alive: source(0) })).await.unwrap().detach();
    let began = Instant::now();
    within("closing", ada.close()).await;
    eprintln!("closed after {:?}", began.elapsed());
    assert!(began.elapsed() < CLOSE_MAX + Duration::from_secs(5), "{:?}", began.elapsed());
}
