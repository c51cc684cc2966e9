//! Rooms in an application without a tokio runtime of its own.

use futures::executor::block_on;
use plenary::{End, Error, Options, Room};

use crate::support::*;

#[test]
fn without_a_runtime_nothing_panics_and_with_one_every_call_comes_from_outside_it() {
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
    drop(tokio::time::timeout(std::time::Duration::from_millis(1), joining).await);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    until(&ada, "nobody else", |ada| ada.stage.len() == 1).await;
    ada.close().await;
}
