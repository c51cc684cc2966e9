//! A host that is restarted comes back into its room: with its stage, its floors and its mixers.

use std::time::{Duration, Instant};

use plenary::{Consent, End, Error, HostOptions, Identity, Options, Reason, Room, RoomKeys};
use plenary_signal::{Rendezvous, RendezvousConfig};

use crate::support::*;

/// How a host stops.
#[derive(Clone, Copy, Debug)]
enum Stop {
    /// It leaves, so that an heir reigns at once.
    Politely,
    /// It is gone, as after a crash.
    Dead,
}

/// Rooms at a rendezvous of their own.
struct World {
    rendezvous: Rendezvous,
}

impl World {
    fn new() -> World {
        let rendezvous = Rendezvous::bind(([127, 0, 0, 1], 0).into(), RendezvousConfig::default()).unwrap();
        World { rendezvous }
    }

    fn at(&self) -> HostOptions {
        let url = format!("http://{}", self.rendezvous.local_addr());
        small().rendezvous(Some(url)).stage_open(false).members(vec![max().peer()])
    }

    async fn ada(&self, keys: Option<RoomKeys>) -> Room {
        let options = quick(Options::speaker("Ada").mix(Consent::Never));
        let ada = within("opening", Room::host(options, self.at().keys(keys))).await.unwrap();
        ada.publish(source(0)).await.unwrap().detach();
        ada
    }
}

fn max() -> Identity {
    Identity::from_seed([77; 32])
}

/// Watches a peer's pictures, and returns the longest time without one, in milliseconds.
fn longest_gap_ms(room: &Room) -> impl FnOnce() -> u64 + use<> {
    let mut frames = room.frames();
    let longest = std::sync::Arc::new(std::sync::Mutex::new((Instant::now(), 0_u64)));
    let seen = longest.clone();
    tokio::spawn(async move {
        while let Some(frame) = frames.next().await {
            if frame.frame.kind == plenary::MediaKind::Video {
                let mut seen = seen.lock().unwrap();
                seen.1 = seen.1.max(seen.0.elapsed().as_millis() as u64);
                seen.0 = Instant::now();
            }
        }
    });
    move || {
        let (last, longest_ms) = *longest.lock().unwrap();
        longest_ms.max(last.elapsed().as_millis() as u64)
    }
}

async fn a_host_comes_back(stop: Stop, away: Duration) {
    let world = World::new();
    let ada = world.ada(None).await;
    let mixer = join(&ada, quick(Options::mixer("Max")).identity(Some(max()))).await;
    let ben = join(&ada, quick(Options::speaker("Ben").mix(Consent::Never).views(true))).await;
    within("Ben's floor", ada.as_host().unwrap().promote(ben.me())).await.unwrap();
    ben.publish(source(1)).await.unwrap().detach();
    let zoe = join(&ada, quick(Options::viewer("Zoë"))).await;
    until(&zoe, "the mixer", |room| room.mixers == [mixer.me()]).await;
    frame(&mut zoe.frames(), "a frame", |_| true).await;

    let (me, keys) = (ada.me(), ada.room_keys().unwrap());
    let gap = longest_gap_ms(&zoe);
    if matches!(stop, Stop::Politely) {
        within("leaving", ada.leave()).await;
    }
    ada.close().await;
    tokio::time::sleep(away).await;
    let returned = Instant::now();
    let ada = world.ada(Some(keys)).await;
    assert_eq!(ada.me(), me);
    let yan = join(&ada, quick(Options::viewer("Yan"))).await;
    frame(&mut yan.frames(), "a newcomer's frame", |_| true).await;
    println!("{stop:?}, {away:?}: a newcomer is fed after {:?}", returned.elapsed());

    within("the room", ada.take_back()).await.unwrap();
    for room in [&ada, &ben, &zoe, &yan, &mixer] {
        let is_whole = |room: &plenary::RoomSnapshot| {
            let on_stage = |peer| room.stage.iter().any(|entry| entry.peer == peer);
            room.host == Some(me) && on_stage(ben.me()) && on_stage(me) && on_stage(mixer.me())
        };
        until(room, "the whole room", is_whole).await;
    }
    let speaks =
        |room: &Room| room.snapshot().stage.iter().any(|entry| entry.peer == ben.me() && entry.speaks);
    assert!(speaks(&ada) && speaks(&zoe) && ben.snapshot().speaks, "Ben has the floor, as before");
    let gap_ms = gap();
    println!("{stop:?}, {away:?}: the longest wait for a picture was {gap_ms} ms");
    assert!(gap_ms < 5_000);
    tokio::join!(ada.close(), ben.close(), mixer.close(), zoe.close(), yan.close());
    world.rendezvous.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_left_comes_back_into_its_room() {
    a_host_comes_back(Stop::Politely, Duration::from_secs(1)).await;
    a_host_comes_back(Stop::Politely, Duration::from_secs(11)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_died_comes_back_before_and_after_its_heir_reigns() {
    a_host_comes_back(Stop::Dead, Duration::from_secs(1)).await;
    a_host_comes_back(Stop::Dead, Duration::from_secs(18)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_session_of_an_identity_ends_the_earlier_and_is_in_at_once() {
    let ada = host(quick(Options::speaker("Ada"))).await;
    ada.publish(source(0)).await.unwrap().detach();
    let identity = Identity::generate();
    for role in [Options::viewer, Options::speaker] {
        let with = || quick(role("Zoë")).identity(Some(identity.clone())).mix(Consent::Never);
        let earlier = join(&ada, with().views(true)).await;
        frame(&mut earlier.frames(), "a frame", |_| true).await;
        tokio::time::sleep(Duration::from_secs(1)).await; // sessions are told apart by their second
        let began = Instant::now();
        let later = join(&ada, with().views(true)).await;
        frame(&mut later.frames(), "a frame of the later session", |_| true).await;
        println!("fed after {:?}", began.elapsed());
        assert_eq!(within("the end of the earlier one", earlier.closed()).await, End::Replaced);
        // it took nothing of the later one along
        tokio::time::sleep(Duration::from_secs(1)).await;
        frame(&mut later.frames(), "a further frame", |_| true).await;
        tokio::join!(earlier.close(), later.close());
    }
    ada.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_with_the_keys_of_a_room_is_refused() {
    let world = World::new();
    let first = world.ada(None).await;
    let keys = first.room_keys().unwrap();
    let options = quick(Options::speaker("Ada"));
    let second = within("an answer", Room::host(options, world.at().keys(Some(keys)))).await;
    let told = second.map(drop).unwrap_err().to_string();
    assert!(told.contains("another process with the keys of this room is its host"), "{told}");
    let zoe = join(&first, quick(Options::viewer("Zoë"))).await;
    until(&zoe, "the first one's room", |room| room.host == Some(first.me())).await;
    tokio::join!(first.close(), zoe.close());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_whose_members_are_all_gone_is_told_that_nobody_answers() {
    let world = World::new();
    let ada = world.ada(None).await;
    let keys = ada.room_keys().unwrap();
    ada.close().await;
    let ada = world.ada(Some(keys)).await;
    let taken = within("an answer", ada.take_back()).await;
    assert!(matches!(taken, Err(Error::Command(Reason::NobodyAnswers))), "{taken:?}");
    let zoe = join(&ada, quick(Options::viewer("Zoë"))).await;
    tokio::join!(ada.close(), zoe.close());
}
