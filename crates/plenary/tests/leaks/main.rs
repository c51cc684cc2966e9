//! A closed or dropped room leaves no thread, socket or task. This test counts those of its process, so it
//! runs in a process of its own.

#[cfg(feature = "codecs")]
mod half_hour;
#[path = "../room/support.rs"]
#[expect(dead_code, reason = "the tests of rooms use the rest")]
mod support;

use std::collections::BTreeMap;

use plenary::{MediaKind, Options, Room};
use support::*;
use tokio::runtime::Handle;
use tokio::time::{Duration, Instant, sleep};

/// Counts threads by name, sockets, and tasks. The runtime's own threads are not counted, since they idle for
/// a while before they end.
pub(crate) fn held() -> (BTreeMap<String, usize>, usize, usize) {
    let mut threads = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let name = std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default();
        if !name.starts_with("tokio-") {
            *threads.entry(name).or_default() += 1;
        }
    }
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let sockets = open
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count();
    (threads, sockets, Handle::current().metrics().num_alive_tasks())
}

/// Opens a busy room: a speaker that mixes, publishes and listens, and a viewer that decodes and records.
async fn in_full_swing(folder: &std::path::Path) -> [Room; 2] {
    let ada = host(quick(Options::speaker("Ada"))).await;
    let ben = join(&ada, quick(Options::speaker("Ben"))).await;
    ada.publish(source(0)).await.unwrap().detach();
    ben.publish(source(1)).await.unwrap().detach();
    let zoe = join(&ada, quick(Options::viewer("Zoë"))).await;
    let (mut pictures, mut sound) = (zoe.pictures().unwrap(), ada.sound().unwrap());
    let recording = zoe.record(folder.join("program.mp4")).unwrap();
    let video = |received: &plenary::ReceivedFrame| received.frame.kind == MediaKind::Video;
    frame(&mut zoe.frames(), "the program", video).await;
    within("a picture", pictures.next()).await.unwrap();
    within("sound", sound.next()).await.unwrap();
    drop(ben); // while everything is running
    // the application keeps these streams
    tokio::spawn(async move { while pictures.next().await.is_some() {} });
    tokio::spawn(async move { while sound.next().await.is_some() {} });
    std::mem::drop(recording);
    [ada, zoe]
}

async fn nothing_is_left(before: &(BTreeMap<String, usize>, usize, usize)) {
    let until = Instant::now() + PATIENCE;
    // a new thread of the runtime may not have been named yet at the first count
    let more = |now: &BTreeMap<String, usize>| {
        now.iter().any(|(name, count)| before.0.get(name).is_none_or(|known| count > known))
    };
    loop {
        let (threads, sockets, tasks) = held();
        if !more(&threads) && (sockets, tasks) == (before.1, before.2) {
            return;
        }
        assert!(Instant::now() < until, "{before:?} before, {:?} now", held());
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_and_dropped_rooms_leave_no_thread_no_task_and_no_socket() {
    let folder = tempfile::tempdir().unwrap();
    let before = held();
    let rooms = in_full_swing(folder.path()).await;
    let now = held();
    assert!(now.0.len() > before.0.len() && now.1 >= before.1 + 4 && now.2 > before.2, "{now:?}");
    drop(rooms);
    nothing_is_left(&before).await;

    for room in in_full_swing(folder.path()).await {
        room.close().await;
    }
    nothing_is_left(&before).await;
}
