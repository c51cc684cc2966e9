//! A shared screen or film: large in its layout, and with stereo sound.

use plenary::media::PictureView;
use plenary::media::compose::Layout;
use plenary::media::source::{Source, SourceError, SourcePictures, TestSource};
use plenary::{Options, ProgramFormat, Room};
use plenary_testkit::judge::Sound;

use crate::support::*;

/// Source with the test source's picture, and a different tone on each channel.
struct Film {
    left: Box<TestSource>,
    right: Box<TestSource>,
}

impl Source for Film {
    fn pictures(&self) -> Option<SourcePictures> {
        self.left.pictures()
    }

    fn channels(&self) -> Option<u8> {
        Some(2)
    }

    fn next_picture(&mut self) -> Result<Option<u64>, SourceError> {
        self.left.next_picture()
    }

    fn picture(&mut self) -> PictureView<'_> {
        self.left.picture()
    }

    fn next_sound(&mut self, samples: &mut [f32]) -> Result<(), SourceError> {
        let [mut left, mut right] = [vec![0.0; samples.len() / 2], vec![0.0; samples.len() / 2]];
        self.left.next_sound(&mut left)?;
        self.right.next_sound(&mut right)?;
        for (both, (left, right)) in samples.chunks_exact_mut(2).zip(left.iter().zip(&right)) {
            both.copy_from_slice(&[*left, *right]);
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_speaker_shares_is_shown_large_and_stays_in_stereo() {
    let program = ProgramFormat { width: 640, height: 360, fps: 30, bitrate_bps: 600_000 };
    let options = small().program(program).layout(Layout::Share);
    let ada = Room::host(local(Options::speaker("Ada")), options).await.unwrap();
    let ben = join(&ada, local(Options::speaker("Ben").shares(true))).await;
    ada.publish(source(0)).await.unwrap().detach();
    ben.publish(Box::new(Film { left: source(1), right: source(2) })).await.unwrap().detach();
    let zoe = join(&ada, local(Options::viewer("Zoë"))).await;
    let (mut pictures, mut sound) = (zoe.pictures().unwrap(), zoe.sound().unwrap());
    // Ada joined first, and would be large if no peer shared
    let mut seen = 0;
    while seen < 10 {
        let decoded = within("the film large", pictures.next()).await.unwrap();
        let code = time_code(&decoded.picture.view(), 0, 36, 512, 288);
        seen += usize::from(code.is_some_and(|code| code.index == 1));
    }
    let mut sides = [Vec::new(), Vec::new()];
    while sides[0].len() < 3 * 48_000 {
        let decoded = within("sound", sound.next()).await.unwrap();
        assert_eq!(decoded.channels, 2);
        for (side, samples) in sides.iter_mut().enumerate() {
            samples.extend(decoded.samples.iter().skip(side).step_by(2));
        }
    }
    let [left, right] = sides.map(|samples| Sound { samples });
    let db = |side: &Sound, index| side.tone_db(index, 1.5..3.0);
    for (side, own, other) in [(&left, 1, 2), (&right, 2, 1)] {
        let (own_db, other_db, ada_db) = (db(side, own), db(side, other), db(side, 0));
        assert!(own_db > -24.0 && ada_db > -26.0, "{own_db} {ada_db}");
        assert!(other_db < own_db - 25.0, "one side is heard on the other: {own_db} and {other_db}");
    }
    tokio::join!(zoe.close(), ben.close(), ada.close());
}
