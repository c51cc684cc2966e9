//! Who speaks: heard by viewers, speakers and mixers alike, however the stage is served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use plenary::media::PictureView;
use plenary::media::source::{Source, SourceError, SourcePictures, TestSource};
use plenary::{Events, Mode, Options, PeerId, Room, RoomEvent};

use crate::support::*;

/// The test source, which says something only when it is told to.
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
    room.publish(Box::new(talker)).await.unwrap();
    talks
}

/// Until it is said that this one is dominant, and speaks alone.
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
