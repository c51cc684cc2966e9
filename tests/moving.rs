//! Peers whose addresses change while they are in a room, or come after their start: real processes in two network
//! namespaces, which a pair of devices connects.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::running::{Running, invite_of, picture_times_s, wait_until};

/// Time in which pictures come again. The other end drops the old link within 5 s by itself, and needn't.
const AGAIN_IN: Duration = Duration::from_secs(10);
/// Pictures that count as going on: a second of them.
const GO_ON: usize = 15;

fn ip(args: &str) {
    let done = Command::new("ip").args(args.split_whitespace()).output().unwrap();
    assert!(done.status.success(), "ip {args}: {}", String::from_utf8_lossy(&done.stderr));
}

/// Two namespaces with a cable between them.
struct Cable([String; 2]);

impl Cable {
    /// Returns `None` without the rights to make one.
    fn new(what: &str) -> Option<Cable> {
        // SAFETY: the call has no conditions
        if unsafe { libc::geteuid() } != 0 {
            eprintln!("skipped: network namespaces need root");
            return None;
        }
        let [a, b] = ["a", "b"].map(|end| format!("plenary-{what}-{}-{end}", std::process::id()));
        let cable = Cable([a.clone(), b.clone()]);
        for name in &cable.0 {
            ip(&format!("netns add {name}"));
            ip(&format!("-n {name} link set lo up"));
        }
        ip(&format!("-n {a} link add eth0 type veth peer name eth0 netns {b}"));
        ip(&format!("-n {a} addr add 10.9.0.1/24 dev eth0"));
        ip(&format!("-n {a} link set eth0 up"));
        ip(&format!("-n {b} link set eth0 up"));
        Some(cable)
    }

    fn host(&self) -> Running {
        let sizes = ["--program", "320x180@15", "--speaker-size=320x180@15"];
        Running::start_in(
            &self.0[0],
            &[&["host", "--speak", "--listen", "10.9.0.1:7420"][..], &sizes].concat(),
        )
    }

    /// Gives the second namespace an address, or takes it.
    fn address(&self, verb: &str, address: &str) {
        ip(&format!("-n {} addr {verb} {address}/24 dev eth0", self.0[1]));
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = Command::new("ip").args(["netns", "delete", name]).output();
        }
    }
}

#[test]
fn a_viewer_whose_address_changes_sees_pictures_again_within_seconds() {
    let Some(cable) = Cable::new("moves") else { return };
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("viewer.mp4");
    cable.address("add", "10.9.0.2");
    let host = cable.host();
    let invite = invite_of(&host);
    let viewer =
        Running::start_in(&cable.0[1], &["join", &invite, "--view", "--record", recording.to_str().unwrap()]);
    let pictures = || picture_times_s(&recording).len();
    wait_until("pictures", || pictures() >= 2 * GO_ON);
    for (from, to) in [("10.9.0.2", "10.9.0.3"), ("10.9.0.3", "10.9.0.2")] {
        // in this order: without its first address an interface loses the others of the network as well
        cable.address("del", from);
        cable.address("add", to);
        let (begun, before) = (Instant::now(), pictures());
        wait_until(&format!("pictures at {to}"), || pictures() >= before + GO_ON);
        println!("at {to} again after {:?}", begun.elapsed());
        assert!(begun.elapsed() < AGAIN_IN, "{to}: {:?}", begun.elapsed());
    }
    let said = viewer.stderr.so_far();
    assert!(!said.iter().any(|line| line.contains("port") || line.contains("full of viewers")), "{said:#?}");
}

#[test]
fn a_viewer_whose_network_comes_after_its_start_sees_pictures() {
    let Some(cable) = Cable::new("late") else { return };
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("viewer.mp4");
    let host = cable.host();
    let invite = invite_of(&host);
    let join = ["join", &invite, "--view", "--record", recording.to_str().unwrap()];
    let viewer = Running::start_in(&cable.0[1], &join);
    viewer.stderr.wait("an attempt", |line| line.contains("rendezvous: ").then_some(()));
    cable.address("add", "10.9.0.2");
    let begun = Instant::now();
    wait_until("pictures", || picture_times_s(&recording).len() >= GO_ON);
    println!("pictures after {:?}", begun.elapsed());
    assert!(begun.elapsed() < AGAIN_IN, "{:?}", begun.elapsed());
}
