//! A mixer whose links no longer carry the program, or whose machine is too slow for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use plenary::media::codec::Codecs;
use plenary::{Consent, Effort, ElectionReason, Options, Room, RoomEvent, RoomSnapshot, Shape};
use plenary_testkit::fake::{FakeCodecs, SlowCodecs};

use crate::support::*;

/// Timeout for a vote: a mixer is in force for 100 s before a degradation leads to an election, and the
/// election takes some seconds.
const TENURE_MAX: Duration = Duration::from_secs(150);

/// Codecs that yield 300 kbit/s at 30 pictures a second.
const SIZED: FakeCodecs = FakeCodecs { key_len_min: 3000, delta_len_min: 1250 };

/// Three speakers that never mix, two mixers, and viewers.
struct Cast {
    speakers: Vec<Room>,
    mixers: Vec<Room>,
    viewers: Vec<Room>,
}

impl Cast {
    /// Opens a room with these mixers, with speakers that view the program or don't, and with viewers of
    /// these names.
    async fn of(mixers: [Options; 2], views: bool, audience: &[&str]) -> Cast {
        let speaker = |name| quick(Options::speaker(name)).mix(Consent::Never).views(views);
        let ada = Room::host(speaker("Ada"), small().mixers(1)).await.unwrap();
        let mut speakers = vec![ada];
        for name in ["Bea", "Cai"] {
            let room = join(&speakers[0], speaker(name)).await;
            speakers.push(room);
        }
        for (index, room) in speakers.iter().enumerate() {
            room.publish(source(index as u8)).await.unwrap().detach();
        }
        let mut rooms = Vec::new();
        for options in mixers {
            rooms.push(join(&speakers[0], options).await);
        }
        let mut viewers = Vec::new();
        for name in audience {
            viewers.push(join(&speakers[0], quick(Options::viewer(name))).await);
        }
        Cast { speakers, mixers: rooms, viewers }
    }

    /// Returns the index of the mixer that is elected first.
    async fn elected(&self) -> usize {
        let elected = until(&self.speakers[0], "an election", |room| room.rank.term > 0).await;
        self.mixers.iter().position(|room| elected.mixers == [room.me()]).unwrap()
    }

    /// Waits for an election, and returns its reason.
    async fn calls_a_vote(&self) -> ElectionReason {
        let mut events = self.speakers[0].events();
        let opened = tokio::time::timeout(TENURE_MAX, async {
            while let Some(event) = events.next().await {
                if let RoomEvent::ElectionOpened { reason, .. } = event {
                    return Some(reason);
                }
            }
            None
        });
        opened.await.expect("an election within 150 s").expect("the room goes on")
    }

    /// Waits until each of these peers has seen the program degraded three times, which is what one report to the
    /// stage counts at most. What follows from the reports is simulated (`crates/sim/tests/election.rs`).
    async fn is_degraded(rooms: &[Room]) {
        let all = || rooms.iter().all(|room| room.reception().degradations >= 3);
        within("three degradations at each", async {
            while !all() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
        .await;
    }

    /// Waits until the speakers' degradation reports lead to an election, and another mixer is elected.
    async fn votes_out(self, first: usize) {
        assert_eq!(self.calls_a_vote().await, ElectionReason::Trouble);
        let first = self.mixers[first].me();
        let another = |room: &RoomSnapshot| !room.mixers.is_empty() && room.mixers != [first];
        until(&self.viewers[0], "another mixer", another).await;
        self.close().await;
    }

    async fn close(self) {
        for room in self.speakers.into_iter().chain(self.mixers).chain(self.viewers) {
            room.close().await;
        }
    }
}

fn mixer(name: &str, codecs: impl Codecs + 'static) -> Options {
    quick(Options::mixer(name)).codecs(Some(Arc::new(codecs)))
}

/// A room whose mixer's links no longer carry the program, which the speakers view; and which mixer that is.
async fn suffering_speakers() -> (Cast, usize) {
    let mixers = ["Mia", "Max"].map(|name| mixer(name, SIZED));
    let shapers = mixers.each_ref().map(|options| options.testing.shaper.clone());
    let cast = Cast::of(mixers, true, &["Zoë"]).await;
    let first = cast.elected().await;
    shapers[first].set(Shape { rate_bps: 250_000, ..Shape::default() });
    (cast, first)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speakers_report_that_a_thin_line_degrades_the_program() {
    let (cast, _) = suffering_speakers().await;
    Cast::is_degraded(&cast.speakers).await;
    cast.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "100 s of real time: ./run nightly rooms"]
async fn speakers_that_suffer_vote_their_mixer_out() {
    let (cast, first) = suffering_speakers().await;
    cast.votes_out(first).await;
}

/// A room whose mixer encodes ten pictures a second, with gaps below 300 ms; and which mixer that is.
async fn third_of_the_pictures() -> (Cast, usize) {
    let codecs = [SlowCodecs::default(), SlowCodecs::default()];
    let mixers = [mixer("Mia", codecs[0].clone()), mixer("Max", codecs[1].clone())];
    let cast = Cast::of(mixers, true, &["Zoë"]).await;
    let first = cast.elected().await;
    codecs[first].encode_us.store(100_000, Ordering::Relaxed);
    (cast, first)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speakers_report_that_they_see_a_third_of_the_pictures() {
    let (cast, _) = third_of_the_pictures().await;
    Cast::is_degraded(&cast.speakers).await;
    cast.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "100 s of real time: ./run nightly rooms"]
async fn speakers_that_see_a_third_of_the_pictures_vote_their_mixer_out() {
    let (cast, first) = third_of_the_pictures().await;
    cast.votes_out(first).await;
}

/// A room whose mixer's links no longer carry the program, which no peer on stage views.
async fn suffering_audience() -> Cast {
    let mixers = ["Mia", "Max"].map(|name| mixer(name, SIZED));
    let shapers = mixers.each_ref().map(|options| options.testing.shaper.clone());
    let cast = Cast::of(mixers, false, &["Zoë", "Yan", "Xia"]).await;
    let first = cast.elected().await;
    shapers[first].set(Shape { rate_bps: 250_000, ..Shape::default() }); // of the link to each viewer
    cast
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_report_that_the_program_is_degraded() {
    let cast = suffering_audience().await;
    Cast::is_degraded(&cast.viewers).await;
    cast.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "100 s of real time: ./run nightly rooms"]
async fn viewers_that_suffer_call_a_vote_though_no_speaker_sees_the_program() {
    let cast = suffering_audience().await;
    assert_eq!(cast.calls_a_vote().await, ElectionReason::Audience);
    cast.close().await;
}

/// Encoding time: a picture takes more than the 33 ms of 30 pictures a second, but less than the 67 ms of
/// half of them.
const SLOW_US: u32 = 45_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mixer_that_is_too_slow_makes_fewer_pictures_and_is_voted_out() {
    let codecs = [SlowCodecs::default(), SlowCodecs::default()];
    let mixers = [mixer("Mia", codecs[0].clone()), mixer("Max", codecs[1].clone())];
    let cast = Cast::of(mixers, false, &["Zoë"]).await; // nobody on stage sees the program
    let first = cast.elected().await;
    let mut events = cast.mixers[first].events();
    codecs[first].encode_us.store(SLOW_US, Ordering::Relaxed);
    let mut efforts = Vec::new();
    while efforts.last() != Some(&Effort::HalfRate) {
        let effort = event(&mut events, "less effort", |event| match event {
            RoomEvent::MixerEffort { effort, .. } => Some(effort),
            _ => None,
        });
        efforts.push(effort.await);
    }
    assert_eq!(efforts[efforts.len() - 2..], [Effort::PlainEncoder, Effort::HalfRate]);
    let tenures = cast.mixers[first].tenures();
    assert!(tenures.last().unwrap().least_effort >= Effort::HalfRate, "{tenures:?}");
    cast.votes_out(first).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speakers_are_asked_for_as_many_pictures_as_a_slow_mixer_makes() {
    let codecs = SlowCodecs::default();
    let ada = quick(Options::speaker("Ada")).codecs(Some(Arc::new(codecs.clone())));
    let ada = Room::host(ada, small()).await.unwrap();
    let ben = join(&ada, quick(Options::speaker("Ben")).mix(Consent::Never)).await;
    ada.publish(source(0)).await.unwrap().detach();
    let track = ben.publish_encoded().await.unwrap();
    let zoe = join(&ada, quick(Options::viewer("Zoë"))).await;
    until(&ada, "a mixer", |ada| ada.mixing).await;
    let mut wishes = track.wishes();
    within("a wish for all", wishes.wait_for(|wish| wish.picture.fps == 30)).await.unwrap();
    codecs.encode_us.store(SLOW_US, Ordering::Relaxed);
    within("a wish for half", wishes.wait_for(|wish| wish.picture.fps == 15)).await.unwrap();
    tokio::join!(zoe.close(), ben.close(), ada.close());
}
