//! Peers whose clocks are wrong: real processes under libfaketime, which changes what they read of the wall clock.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::running::{Running, invite_of, last_picture_s, wait_until};

/// Time from the start to two seconds of pictures. A busy machine takes some of it to start the process.
const PICTURES_IN: Duration = Duration::from_secs(20);

/// Returns the variables under which a process reads another wall clock: `+1h` is an hour ahead, `-600` ten minutes
/// behind.
fn wrong_by(offset: &str) -> [(&'static str, String); 3] {
    let shown = Command::new("faketime").args(["-m", "-f", "+0", "printenv", "LD_PRELOAD"]).output();
    let library = String::from_utf8(shown.expect("faketime is installed").stdout).unwrap();
    let (kept, offset) = ("FAKETIME_DONT_FAKE_MONOTONIC", offset.to_owned());
    [("LD_PRELOAD", library.trim().to_owned()), ("FAKETIME", offset), (kept, "1".to_owned())]
}

fn start_wrong(args: &[&str], offset: &str) -> Running {
    let variables = wrong_by(offset);
    Running::start_with(args, "", &variables.each_ref().map(|(name, value)| (*name, value.as_str())))
}

const HOST: [&str; 7] =
    ["host", "--speak", "--listen", "127.0.0.1:0", "--program", "320x180@15", "--speaker-size=320x180@15"];

/// Joins a room by a wrong clock, and waits for pictures.
fn sees_pictures(invite: &str, offset: &str, says: Option<&str>) {
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("viewer.mp4");
    let begun = Instant::now();
    let join = ["join", invite, "--view", "--record", recording.to_str().unwrap()];
    let viewer = start_wrong(&join, offset);
    wait_until(&format!("pictures at {offset}"), || last_picture_s(&recording).is_some_and(|s| s >= 2.0));
    assert!(begun.elapsed() < PICTURES_IN, "{offset}: {:?}", begun.elapsed());
    let told: Vec<_> =
        viewer.stderr.so_far().into_iter().filter(|line| line.contains("this machine's clock")).collect();
    match says {
        Some(says) => assert!(matches!(&told[..], [line] if line.contains(says)), "{told:?}"),
        None => assert_eq!(told, [""; 0]),
    }
}

#[test]
fn viewers_whose_clocks_are_wrong_see_pictures_and_are_told_by_how_much() {
    let host = Running::start(&HOST);
    let invite = invite_of(&host);
    for (offset, says) in [
        ("+3600", Some("ahead of that of the rendezvous")),
        ("-3600", Some("behind that of the rendezvous")),
        ("+600", Some("10m")),
        ("-600", Some("behind that of the rendezvous")),
        ("+15", None),
    ] {
        sees_pictures(&invite, offset, says);
    }
}

#[test]
fn a_host_whose_clock_is_wrong_keeps_its_room_and_its_invite_alive() {
    for offset in ["-3600", "+3600"] {
        let rendezvous = Running::start(&["rendezvous", "--listen", "127.0.0.1:0"]);
        let url =
            rendezvous.stderr.wait("address", |line| Some(line.strip_prefix("listening on ")?.to_owned()));
        let elsewhere = ["host", "--speak", "--rendezvous", &url, "--invite-life", "10m"];
        let host = start_wrong(&[&elsewhere[..], &HOST[4..]].concat(), offset);
        sees_pictures(&invite_of(&host), "+0", None);
    }
}

#[test]
fn a_room_of_a_wrong_clock_goes_by_it_where_the_host_is_the_rendezvous() {
    let host = start_wrong(&HOST, "-3600");
    sees_pictures(&invite_of(&host), "+0", Some("ahead of that of the rendezvous"));
}
