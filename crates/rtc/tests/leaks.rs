//! Closed links leave no task and no socket behind. The test runs alone in its process, since it counts the
//! sockets of the process.

#[path = "links/support.rs"]
mod support;

use std::time::Duration;

use plenary_proto::message::LinkKind;
use plenary_rtc::*;
use support::*;
use tokio::runtime::Handle;
use tokio::time::sleep;

const LINKS: u64 = 50;

/// Open sockets of this process.
fn sockets() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| target.to_string_lossy().starts_with("socket:"))
        .count()
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

#[tokio::test]
async fn closed_links_leave_no_task_and_no_socket() {
    let before = (tasks(), sockets());
    let (mut a, mut b) = (Peer::new(), Peer::new());
    for link in (1..=LINKS).map(LinkId) {
        connect(&mut a, &mut b, link).await;
    }
    // some links are closed in the middle of a transfer
    a.forward(LinkId(1), 0, packet(1));
    a.links.submit(Command::Train { link: LinkId(2), train: 1, bytes: 1_000_000, rate_bps: 8_000_000 });
    assert!(sockets() >= before.1 + 2 * LINKS as usize);
    for link in (LINKS + 1..LINKS + 20).map(LinkId) {
        a.links.submit(Command::Offer { link, kind: LinkKind::Peer, is_stranger: false });
        // each link gets a little further before all links are closed
        tokio::task::yield_now().await;
    }
    // one end is closed, the other end is only dropped
    a.links.close().await;
    assert_eq!(a.links.stats(LinkId(1)), None);
    drop(b);
    let until = tokio::time::Instant::now() + PATIENCE;
    while (tasks(), sockets()) != before {
        assert!(tokio::time::Instant::now() < until, "{:?} before, {:?} now", before, (tasks(), sockets()));
        sleep(Duration::from_millis(5)).await;
    }
}
