//! What becomes of a mixer whose line no longer carries the program.

use std::sync::Arc;
use std::time::Duration;

use plenary::{Consent, ElectionReason, HostOptions, Options, Room, RoomEvent, Shape};
use plenary_testkit::fake::FakeCodecs;

use crate::support::*;

/// A mixer is given 100 s before trouble calls a vote on it; the vote takes some seconds.
const TENURE_MAX: Duration = Duration::from_secs(150);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speakers_that_suffer_vote_their_mixer_out() {
    let speaker = |name| Options { mix: Consent::Never, ..quick(Options::speaker(name)) };
    let ada = Room::host(speaker("Ada"), HostOptions { mixers: 1, ..small() }).await.unwrap();
    let mut speakers = vec![ada];
    for name in ["Bea", "Cai"] {
        let room = join(&speakers[0], speaker(name)).await;
        speakers.push(room);
    }
    for (index, room) in speakers.iter().enumerate() {
        room.publish(source(index as u8)).await.unwrap();
    }
    let mut mixers = Vec::new();
    for name in ["Mia", "Max"] {
        let codecs = FakeCodecs { key_len_min: 3000, delta_len_min: 1250 }; // 300 kbit/s at 30 pictures a second
        let options = Options { codecs: Some(Arc::new(codecs)), ..quick(Options::mixer(name)) };
        let shaper = options.shaper.clone();
        mixers.push((join(&speakers[0], options).await, shaper));
    }
    let viewer = join(&speakers[0], quick(Options::viewer("Zoë"))).await;
    let elected = until(&speakers[0], "an election", |room| room.rank.term > 0).await;
    let (first, shaper) = mixers.iter().find(|(room, _)| elected.mixers == [room.me()]).unwrap();
    let first = first.me();
    let mut events = speakers[0].events();
    shaper.set(Shape { rate_bps: 250_000, ..Shape::default() });
    let opened = tokio::time::timeout(TENURE_MAX, async {
        while let Some(event) = events.next().await {
            if let RoomEvent::ElectionOpened { reason, .. } = event {
                return Some(reason);
            }
        }
        None
    });
    let reason = opened.await.expect("an election within 150 s");
    assert_eq!(reason, Some(ElectionReason::Trouble));
    until(&viewer, "another mixer", |room| !room.mixers.is_empty() && room.mixers != [first]).await;
    for room in speakers.into_iter().chain(mixers.into_iter().map(|(room, _)| room)).chain([viewer]) {
        room.close().await;
    }
}
