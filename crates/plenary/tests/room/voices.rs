//! Detection of the active speaker, by viewers, speakers and mixers, in every mode.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use plenary::media::source::{Source, SourceError, SourcePictures, TestSource};
use plenary::media::{Picture, PictureView};
use plenary::{Events, MediaKind, Mode, Options, PeerId, Room, RoomEvent};

use crate::support::*;

/// Test source that is silent until it is told to speak.
struct Talker {
    source: Box<TestSource>,
    talks: Arc<AtomicBool>,
}

impl Source for Talker {
    fn pictures(&self) -> Option<SourcePictures> {
        self.source.pictures()
    }

    fn channels(&self) -> Option<u8> {
        self.source.channels()
    }

    fn next_picture(&mut self) -> Result<Option<u64>, SourceError> {
        self.source.next_picture()
    }

    fn picture(&mut self) -> PictureView<'_> {
        self.source.picture()
    }

    fn next_sound(&mut self, samples: &mut [f32]) -> Result<(), SourceError> {
        self.source.next_sound(samples)?;
        if !self.talks.load(Ordering::Relaxed) {
            samples.fill(0.0);
        }
        Ok(())
    }
}

async fn publish(room: &Room, index: u8) -> Arc<AtomicBool> {
    let talks = Arc::new(AtomicBool::new(false));
    let talker = Talker { source: source(index), talks: talks.clone() };
    room.publish(Box::new(talker)).await.unwrap().detach();
    talks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_mutes_sound_and_picture_sends_neither_until_it_unmutes() {
    let ada = host(local(Options::speaker("Ada"))).await;
    let ben = join(&ada, local(Options::speaker("Ben"))).await;
    for (room, index) in [(&ada, 0), (&ben, 1)] {
        publish(room, index).await.store(true, Ordering::Relaxed);
    }
    let zoe = join(&ada, local(Options::viewer("Zoë"))).await;
    let (mut events, mut pictures) = (zoe.events(), zoe.pictures().unwrap());
    until(&zoe, "a mix of two", |zoe| zoe.mode == Mode::Mixer).await;
    let ben_is_shown =
        |picture: &Picture| time_code(&picture.view(), 160, 45, 160, 90).is_some_and(|code| code.index == 1);
    for (muted, speaking) in
        [(false, vec![ada.me(), ben.me()]), (true, vec![ada.me()]), (false, vec![ada.me(), ben.me()])]
    {
        ben.mute(MediaKind::Sound, muted);
        ben.mute(MediaKind::Video, muted);
        let heard = |event| match event {
            RoomEvent::Speaking { speaking: now, .. } => (now == speaking).then_some(()),
            _ => None,
        };
        event(&mut events, "those who aren't mute", heard).await;
        while ben_is_shown(&within("a picture", pictures.next()).await.unwrap().picture) == muted {}
    }
    tokio::join!(zoe.close(), ben.close(), ada.close());
}

/// Waits for the event that this peer is dominant and the only active speaker.
async fn speaks_alone(events: &mut Events, what: &str, who: &PeerId) {
    let wanted = |event| match event {
        RoomEvent::Speaking { dominant, speaking } => {
            (dominant == Some(*who) && speaking == [*who]).then_some(())
        }
        _ => None,
    };
    event(events, what, wanted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_told_who_speaks_in_every_mode() {
    let ada = host(local(Options::speaker("Ada"))).await;
    let ada_talks = publish(&ada, 0).await;
    let zoe = join(&ada, local(Options::viewer("Zoë"))).await;
    let (mut of_ada, mut of_zoe) = (ada.events(), zoe.events());
    until(&zoe, "one speaker's frames passed through", |zoe| zoe.mode == Mode::PassThrough).await;
    ada_talks.store(true, Ordering::Relaxed);
    speaks_alone(&mut of_zoe, "Ada, passed through", &ada.me()).await;
    speaks_alone(&mut of_ada, "Ada, by her own encoder", &ada.me()).await;

    let ben = join(&ada, local(Options::speaker("Ben"))).await;
    let mut of_ben = ben.events();
    let ben_talks = publish(&ben, 1).await;
    until(&zoe, "a mix of two", |zoe| zoe.mode == Mode::Mixer).await;
    ada_talks.store(false, Ordering::Relaxed);
    ben_talks.store(true, Ordering::Relaxed);
    for (events, what) in [
        (&mut of_zoe, "Ben, in the program"),
        (&mut of_ada, "Ben, in her mix"),
        (&mut of_ben, "Ben, of himself"),
    ] {
        speaks_alone(events, what, &ben.me()).await;
    }
    for (room, name) in [(&zoe, "Zoë"), (&ada, "Ada"), (&ben, "Ben")] {
        let levels = room.levels();
        assert!(matches!(levels[..], [(_, 60..), (_, ..=30)]), "{name} hears {levels:?}");
    }

    zoe.close().await;
    until(&ben, "a mesh", |ben| ben.mode == Mode::Mesh).await;
    ben_talks.store(false, Ordering::Relaxed);
    ada_talks.store(true, Ordering::Relaxed);
    speaks_alone(&mut of_ben, "Ada, in a mesh", &ada.me()).await;
    speaks_alone(&mut of_ada, "Ada, of herself", &ada.me()).await;
    tokio::join!(ben.close(), ada.close());
}
