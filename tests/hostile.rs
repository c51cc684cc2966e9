//! Hostile peers in a live room of processes: a peer that sends what the protocol forbids is dropped, and the
//! other peers don't notice.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::hostile_peer::{Flood, HostilePeer};
use crate::running::{Running, last_picture_s, picture_times_s, wait_until};
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use plenary_proto::bounded::List;
use plenary_proto::message::{
    ElectionMessage, Heartbeat, MESSAGE_LEN_MAX, Message as Control, PIECE_LEN_MAX, TreeMessage,
};
use plenary_proto::seal::Invite;
use plenary_proto::{PeerId, ShortId};
use plenary_signal::SIGNAL_PATH;
use plenary_testkit::first_messages::Then;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;

/// Number of violations after which a peer is dropped (docs/PROTOCOL.md).
const VIOLATIONS_MAX: usize = 8;

/// Room with a speaker that mixes and a viewer, each in its own process.
struct Room {
    rendezvous: Running,
    host: Running,
    viewer: Running,
    invite: String,
    folder: TempDir,
}

impl Room {
    fn open() -> Room {
        let folder = tempfile::tempdir().unwrap();
        let rendezvous = Running::start(&["rendezvous", "--listen", "127.0.0.1:0"]);
        let url =
            rendezvous.stderr.wait("address", |line| Some(line.strip_prefix("listening on ")?.to_owned()));
        let small = ["--speaker-size", "160x90@15", "--program", "320x180@15"];
        let speaks = ["host", "--speak", "--mix", "always", "--rendezvous", &url];
        let host = Running::start(&[&speaks[..], &small].concat());
        let invite = host.stdout.wait("invite", |line| line.contains('#').then(|| line.to_owned()));
        let recording = folder.path().join("room.mp4");
        let viewer = Running::start(&["join", &invite, "--view", "--record", recording.to_str().unwrap()]);
        let room = Room { rendezvous, host, viewer, invite, folder };
        room.goes_on("before anything happens");
        room
    }

    /// Returns the process of a peer.
    fn process_of(&self, peer: PeerId) -> &Running {
        let line = format!("in the room as {peer:?}");
        let processes = [&self.host, &self.viewer];
        let found = processes.into_iter().find(|process| process.stderr.so_far().contains(&line));
        found.unwrap_or_else(|| panic!("nobody is {peer:?}"))
    }

    fn recording(&self) -> std::path::PathBuf {
        self.folder.path().join("room.mp4")
    }

    /// Waits for more pictures in the viewer's recording.
    fn goes_on(&self, when: &str) {
        let shown = |file: &Path| last_picture_s(file).unwrap_or(0.0);
        let before_s = shown(&self.recording());
        wait_until(&format!("pictures {when}"), || shown(&self.recording()) >= before_s + 1.0);
    }

    /// Checks that no peer was harmed: all processes are running, and exit with 0.
    fn ends_well(mut self) {
        assert!(self.rendezvous.is_running() && self.host.is_running() && self.viewer.is_running());
        for process in [self.viewer, self.host, self.rendezvous] {
            process.signal(libc::SIGTERM);
            let ended = process.ended();
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
            assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        }
    }
}

#[test]
fn a_peer_that_writes_garbage_is_dropped_and_the_room_goes_on() {
    let room = Room::open();
    let invite: Invite = room.invite.parse().unwrap();
    let runtime = Runtime::new().unwrap();
    // the first byte of a piece: 0 ends a message, 1 says that more pieces follow
    let piece_to_go_on = [&[1][..], &[7; PIECE_LEN_MAX - 1]].concat();
    let too_long = vec![piece_to_go_on; MESSAGE_LEN_MAX / (PIECE_LEN_MAX - 1) + 2];
    let random = [0u8].into_iter().chain((0..300u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8));
    for (what, violation) in [
        ("empty pieces", vec![Vec::new()]),
        ("messages of no bytes", vec![vec![0]]),
        ("messages without an end", too_long),
        ("random bytes", vec![random.collect()]),
        ("pieces of no known kind", vec![vec![9, 9, 9]]),
    ] {
        runtime.block_on(async {
            let mut peer = HostilePeer::join(&invite).await;
            let link = peer.link();
            for _ in 0..VIOLATIONS_MAX {
                peer.write_all(link, &violation).await;
            }
            peer.until_dropped(link).await;
            let line = format!("{:?} violated the protocol: dropped", peer.id());
            let other_end = room.process_of(peer.other_end(link));
            other_end.stderr.wait(&format!("end of {what}"), |said| said.ends_with(&line).then_some(()));
        });
        room.goes_on(&format!("after {what}"));
    }
    room.ends_well();
}

#[test]
fn a_peer_that_does_not_prove_who_it_is_gets_no_link() {
    let room = Room::open();
    let invite: Invite = room.invite.parse().unwrap();
    let runtime = Runtime::new().unwrap();
    let mut rows = 0;
    while let Some((first, became, other_end)) = runtime.block_on(HostilePeer::first_message(&invite, rows)) {
        let later = if first.then == Then::Waits { Then::Up } else { first.then };
        assert_eq!(became, [first.then, later], "{}", first.name);
        if first.then == Then::Closed {
            let said = "its other end doesn't prove who it is";
            room.process_of(other_end).stderr.wait("closed link", |line| line.contains(said).then_some(()));
        }
        rows += 1;
    }
    assert!(rows > 10, "{rows}");
    room.goes_on("after links without a proof");
    room.ends_well();
}

/// Memory of a process that is in use, in KiB.
fn resident_kib(process: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

/// Ten seconds of floods: each guest is dropped, and the next one comes. Run with `--nocapture` for the figures.
#[test]
#[ignore = "measures for ten seconds; nightly"]
fn guests_that_flood_for_ten_seconds_are_dropped_in_two_and_delay_nobody() {
    const FLOOD: Duration = Duration::from_secs(10);
    const FPS: f64 = 15.0;
    let room = Room::open();
    let invite: Invite = room.invite.parse().unwrap();
    let full = Control::Election(ElectionMessage::Lacking {
        term: 1,
        reports: List::default(),
        claims: List::default(),
    })
    .to_bytes();
    let long = Control::Tree(TreeMessage::PathIs(List::truncated([ShortId([7; 8]); 16]))).to_bytes();
    let unknown = [&full[..1], &[99, 0], &[7; 90_000]].concat();
    let ping = Flood::Heartbeats(Heartbeat::Ping { sent_us: 1 }.to_bytes());
    let floods = [ping, Flood::Control(full), Flood::Control(long), Flood::Control(unknown)];
    room.goes_on("with a calm beginning");
    let pictures_before = picture_times_s(&room.recording()).len();
    let (resident, most) = (resident_kib(&room.host), AtomicU64::new(0));
    let is_over = AtomicBool::new(false);
    let (dropped, pings) = std::thread::scope(|scope| {
        scope.spawn(|| {
            let begun = Instant::now();
            while !is_over.load(Ordering::Relaxed) && begun.elapsed() < 6 * FLOOD {
                most.fetch_max(resident_kib(&room.host), Ordering::Relaxed);
                std::thread::park_timeout(Duration::from_millis(50));
            }
        });
        let both = Runtime::new().unwrap().block_on(async {
            let mut observer = HostilePeer::join(&invite).await;
            let flooding = async {
                let begun = Instant::now();
                let (mut dropped, mut kinds) = (Vec::new(), floods.iter().cycle());
                while begun.elapsed() < FLOOD {
                    let mut peer = HostilePeer::join(&invite).await;
                    let link = peer.link();
                    dropped.push(peer.flood(link, kinds.next().unwrap()).await);
                }
                dropped
            };
            tokio::join!(flooding, observer.pings_for(FLOOD))
        });
        is_over.store(true, Ordering::Relaxed);
        both
    });
    room.goes_on("after the floods");
    let times = picture_times_s(&room.recording());
    let during = &times[pictures_before..];
    let expected = (during[during.len() - 1] - during[0]) * FPS + 1.0;
    let arrived_percent = 100.0 * during.len() as f64 / expected;
    let p99 = pings[pings.len() * 99 / 100];
    let slowest = dropped.iter().map(|(_, time)| *time).max().unwrap();
    let bytes: usize = dropped.iter().map(|(bytes, _)| bytes).sum();
    let grown_kib = most.into_inner().saturating_sub(resident);
    println!(
        "{} guests, {bytes} bytes taken, each dropped within {slowest:.2?}; {arrived_percent:.2} % of {expected:.0} \
         pictures; {} pings, p99 {p99:.1?}, longest {:.1?}; memory +{grown_kib} KiB",
        dropped.len(),
        pings.len(),
        pings[pings.len() - 1],
    );
    assert!(slowest <= Duration::from_secs(2), "{slowest:?}");
    assert!(arrived_percent >= 99.9, "{arrived_percent}");
    assert!(p99 <= Duration::from_millis(50), "{p99:?}");
    assert!(pings.len() >= 190, "{} of 200 pings were answered", pings.len());
    assert!(grown_kib <= 32 << 10, "{grown_kib} KiB");
    room.ends_well();
}

#[test]
fn ten_megabytes_in_one_message_end_only_their_own_connection() {
    let room = Room::open();
    let invite: Invite = room.invite.parse().unwrap();
    let rendezvous = invite.rendezvous().unwrap();
    let address = rendezvous.strip_prefix("http://").unwrap();
    Runtime::new().unwrap().block_on(async {
        let tcp = TcpStream::connect(address).await.unwrap();
        let (mut socket, _) = client_async(format!("ws://{address}{SIGNAL_PATH}"), tcp).await.unwrap();
        // the rendezvous may close the connection before all bytes are sent
        let _ = socket.send(Message::Binary(Bytes::from(vec![1; 10 << 20]))).await;
        while let Some(Ok(message)) = socket.next().await {
            assert!(message.len() < 1_000, "a challenge, a reason, a close: nothing longer");
        }
    });
    room.goes_on("after ten megabytes");
    let newcomer = room.folder.path().join("newcomer.mp4");
    let late = Running::start(&["join", &room.invite, "--record", newcomer.to_str().unwrap()]);
    wait_until("pictures at a newcomer", || last_picture_s(&newcomer).is_some());
    late.signal(libc::SIGTERM);
    assert_eq!(late.ended().code, Some(0));
    room.ends_well();
}
