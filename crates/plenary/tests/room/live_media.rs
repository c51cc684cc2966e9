//! What elections learn from live media.

use std::sync::Arc;
use std::time::Duration;

use plenary::{Consent, Options, Room, RoomSnapshot, Shape, Tally};
use plenary_testkit::fake::FakeCodecs;

use crate::support::*;

/// Rate of each link of a candidate, which is all that a train can show. Media on several links shows more.
const LINK_BPS: u64 = 5_000_000;
/// Codecs that yield 3 Mbit/s at 30 pictures a second.
const SIZED: FakeCodecs = FakeCodecs { key_len_min: 20_000, delta_len_min: 12_500 };
/// Reports state the media of the last 20 whole seconds.
const MEDIA_S: u64 = 23;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "half a minute of real time: ./run nightly rooms"]
async fn a_sitting_mixer_counts_with_what_media_showed_if_trains_show_less() {
    let speaker = |name| quick(Options::speaker(name)).mix(Consent::Never);
    let ada = Room::host(speaker("Ada"), small().mixers(1)).await.unwrap();
    let mut rooms = Vec::new();
    for name in ["Bea", "Cai"] {
        rooms.push(join(&ada, speaker(name)).await);
    }
    for (index, room) in [&ada].into_iter().chain(&rooms).enumerate() {
        room.publish(source(index as u8)).await.unwrap().detach();
    }
    for name in ["Mia", "Max"] {
        let options = quick(Options::mixer(name)).codecs(Some(Arc::new(SIZED)));
        options.testing.shaper.set(Shape { rate_bps: LINK_BPS, ..Shape::default() });
        rooms.push(join(&ada, options).await);
    }
    let elected = until(&ada, "an election", |room| room.mixers.len() == 1 && room.scores.len() == 2).await;
    let (mixer, opening) = (elected.mixers[0], elected.scores);
    tokio::time::sleep(Duration::from_secs(MEDIA_S)).await;

    ada.as_host().unwrap().set_mixers(2).await.unwrap();
    let voted = |room: &RoomSnapshot| room.mixers.len() == 2 && room.scores.len() == 2;
    let voted = until(&ada, "a vote", voted).await.scores;
    let of_mixer = |scores: &[Tally], sits: bool| {
        *scores.iter().find(|tally| (tally.peer == mixer) == sits).expect("a figure of each candidate")
    };
    let (before, now, rival) = (of_mixer(&opening, true), of_mixer(&voted, true), of_mixer(&voted, false));
    assert!(!before.sources.bandwidth_by_media && before.bandwidth_bps <= LINK_BPS * 11 / 10, "{before:?}");
    assert!(now.sources.bandwidth_by_media && now.bandwidth_bps > LINK_BPS * 11 / 10, "{now:?}");
    assert!(!rival.sources.bandwidth_by_media && rival.bandwidth_bps <= LINK_BPS * 11 / 10, "{rival:?}");
    for room in rooms {
        room.close().await;
    }
    ada.close().await;
}
