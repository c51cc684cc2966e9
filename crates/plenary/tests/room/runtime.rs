//! Rooms in an application without a tokio runtime of its own.

use std::time::{Duration, Instant};

use futures::executor::block_on;
use plenary::{End, Error, MediaKind, Mode, Options, Room};

use crate::support::*;

#[test]
fn without_a_runtime_nothing_panics_and_a_given_one_serves_every_call() {
    let refused = block_on(Room::host(quick(Options::speaker("Ada")), small()));
    assert!(matches!(refused, Err(Error::NoRuntime)), "{refused:?}");

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let on = |options: Options| quick(options).runtime(Some(runtime.handle().clone()));
    let ada = block_on(Room::host(on(Options::speaker("Ada")), small())).unwrap();
    let ben = block_on(Room::join(ada.invite().unwrap(), on(Options::speaker("Ben")))).unwrap();
    let track = block_on(ada.publish(source(0))).unwrap();
    let mut frames = ben.frames();
    assert!(block_on(frames.next()).is_some());
    block_on(ada.as_host().unwrap().set_mixers(1)).unwrap();
    assert!(block_on(ada.traffic()).is_ok());
    block_on(track.unpublish());
    drop(block_on(ada.publish(source(0))).unwrap());
    block_on(ben.leave());
    assert_eq!(block_on(ben.closed()), End::Left);
    block_on(ben.close());
    block_on(ada.close());
}

#[test]
fn a_runtime_without_io_or_without_time_is_refused() {
    let builder = || tokio::runtime::Builder::new_multi_thread();
    for runtime in [builder().build(), builder().enable_io().build(), builder().enable_time().build()] {
        let runtime = runtime.unwrap();
        let around = runtime.block_on(Room::host(quick(Options::viewer("Ada")), small()));
        assert!(matches!(around, Err(Error::NoRuntime)), "{around:?}");
        let named = quick(Options::viewer("Ada")).runtime(Some(runtime.handle().clone()));
        let named = block_on(Room::host(named, small()));
        assert!(matches!(named, Err(Error::NoRuntime)), "{named:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_to_join_that_is_dropped_leaves_no_peer_behind() {
    let runtime = tokio::runtime::Handle::current();
    let ada = host(quick(Options::speaker("Ada"))).await;
    let joining = Room::join(ada.invite().unwrap(), quick(Options::speaker("Ben")).runtime(Some(runtime)));
    drop(tokio::time::timeout(Duration::from_millis(1), joining).await);
    tokio::time::sleep(Duration::from_secs(1)).await;
    until(&ada, "nobody else", |ada| ada.stage.len() == 1).await;
    ada.close().await;
}

#[test]
#[ignore = "real time: ./run nightly rooms"]
fn pictures_are_fresh_5_s_after_the_only_thread_of_a_room_was_blocked() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let ada = host(quick(Options::speaker("Ada"))).await;
        let ben = join(&ada, quick(Options::speaker("Ben"))).await;
        let max = join(&ada, quick(Options::mixer("Max"))).await;
        for (room, index) in [(&ada, 0), (&ben, 1)] {
            room.publish(source(index)).await.unwrap().detach();
        }
        let zoe = join(&ada, quick(Options::viewer("Zoë"))).await;
        until(&zoe, "a mix of two", |zoe| zoe.mode == Mode::Mixer).await;
        let mut frames = zoe.frames();
        let begun = Instant::now();
        // by the mixer's clock, from any origin: only their change counts
        let mut ages: Vec<Vec<i64>> = Vec::new();
        let mut has_blocked = false;
        while begun.elapsed() < Duration::from_secs(30) {
            let frame = frames.next().await.unwrap();
            if frame.frame.kind != MediaKind::Video {
                continue;
            }
            let second = begun.elapsed().as_secs() as usize;
            ages.resize(ages.len().max(second + 1), Vec::new());
            ages[second].push(begun.elapsed().as_micros() as i64 - frame.frame.identity.captured_us as i64);
            if second >= 9 && !has_blocked {
                has_blocked = true;
                let block = Instant::now();
                while block.elapsed() < Duration::from_millis(300) {} // as an application that computes
            }
        }
        let median = |ages: &Vec<i64>| {
            let mut ages = ages.clone();
            ages.sort_unstable();
            ages[ages.len() / 2] / 1_000
        };
        let medians: Vec<i64> = ages.iter().filter(|ages| !ages.is_empty()).map(median).collect();
        let later: Vec<i64> = medians.iter().map(|age| age - medians[8]).collect();
        println!("ms older than before: {later:?}");
        assert!(later[15..].iter().all(|later| *later < 50), "{later:?}");
        for room in [zoe, max, ben, ada] {
            room.close().await;
        }
    });
}
