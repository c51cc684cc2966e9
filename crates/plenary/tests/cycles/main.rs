//! A hundred tracks, one after the other, leave no thread, no socket, no task and no memory behind. This test counts
//! those of its process, so it runs in a process of its own.

#[path = "../room/support.rs"]
#[expect(dead_code, reason = "the tests of rooms use the rest")]
mod support;

use plenary::media::RawFormat;
use plenary::{MediaKind, Options, Room, TrackKind};
use support::*;
use tokio::runtime::Handle;

/// Cycles before the first count: allocators and caches fill up.
const WARM_UP: usize = 10;
const CYCLES: usize = 100;
/// Memory that a process may gain meanwhile. Above what an allocator keeps back; a leaked encoder, or a leaked queue of
/// pictures, would take that much in each cycle.
const GAIN_MAX_KIB: u64 = 4 * 1024;

/// Threads of the library, sockets, tasks, and resident memory in KiB.
fn held() -> (usize, usize, usize, u64) {
    let mut threads = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let name = std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default();
        threads += usize::from(!name.starts_with("tokio-"));
    }
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let links = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let sockets = links.filter(|target| target.to_string_lossy().starts_with("socket:")).count();
    let memory = std::fs::read_to_string("/proc/self/status").unwrap();
    let resident = memory.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib = resident.split_whitespace().next().unwrap().parse().unwrap();
    (threads, sockets, Handle::current().metrics().num_alive_tasks(), kib)
}

/// Publishes what the cycle's number says, until another speaker has it, and unpublishes it.
async fn cycle(ada: &Room, frames: &mut plenary::Frames, number: usize) {
    let kinds = [TrackKind::Speaker, TrackKind::Screen, TrackKind::Camera, TrackKind::Share];
    let kind = kinds[number % kinds.len()];
    let since_us = ada.clock().now_us();
    let mut fresh = async |what: &str| {
        frame(frames, what, |received| {
            received.frame.kind == MediaKind::Video && received.frame.identity.captured_us > since_us
        })
        .await;
    };
    if number.is_multiple_of(3) {
        let raw = ada.publish_raw_as(kind, RawFormat::default()).await.unwrap();
        let picture = plenary::media::Picture::black(320, 180);
        let picture = plenary::media::RawPicture::from(picture.view());
        let pushing = async {
            loop {
                raw.push_picture(&picture, raw.now_us()).unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = fresh("a pushed picture") => {}
            () = pushing => {}
        }
        raw.unpublish().await;
    } else {
        let track = ada.publish_as(kind, source(0)).await.unwrap();
        fresh("a picture").await;
        if number.is_multiple_of(2) {
            track.unpublish().await;
        } // else: dropped
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_tracks_one_after_the_other_leave_nothing_behind() {
    let ada = host(quick(Options::speaker("Ada"))).await;
    let ben = join(&ada, quick(Options::speaker("Ben"))).await;
    let mut frames = ben.frames();
    for number in 0..WARM_UP {
        cycle(&ada, &mut frames, number).await;
    }
    let before = held();
    for number in 0..CYCLES {
        cycle(&ada, &mut frames, number).await;
    }
    within("the end of all that was published", async {
        loop {
            let now = held();
            // The last cycle's track may still have been ending at the first count.
            if now.0 <= before.0 && now.1 <= before.1 && now.2 <= before.2 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let now = held();
    println!("{before:?} before, {now:?} after {CYCLES} cycles");
    assert!(now.3 < before.3 + GAIN_MAX_KIB, "{before:?} before, {now:?} now");
    tokio::join!(ada.close(), ben.close());
}
