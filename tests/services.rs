//! Host, mixer and rendezvous as services: nobody at a terminal, and months of running.

use std::path::Path;

use crate::running::{Running, last_picture_s, wait_until};

/// Small pictures, which are encoded quickly.
const SMALL: [&str; 4] = ["--speaker-size", "160x90@15", "--program", "320x180@15"];

fn invite_of(host: &Running) -> String {
    host.stdout.wait("invite", |line| line.contains('#').then(|| line.to_owned()))
}

fn is_in(process: &Running) -> String {
    process.stderr.wait("its coming in", |line| Some(line.split_once("in the room as ")?.1.to_owned()))
}

fn ends_politely(process: Running) -> String {
    process.signal(libc::SIGTERM);
    let ended = process.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.stderr
}

/// Seconds of pictures in a recording so far.
fn shown(recording: &Path) -> f64 {
    last_picture_s(recording).unwrap_or(0.0)
}

#[test]
fn a_host_whose_stderr_is_read_no_more_goes_on_with_its_room() {
    let folder = tempfile::tempdir().unwrap();
    let open = ["host", "--speak", "--mix", "always", "--listen", "127.0.0.1:0", "--log", "debug"];
    let mut host = Running::start_unread(&[&open[..], &SMALL].concat());
    let invite = invite_of(&host);
    is_in(&host);
    let recording = folder.path().join("viewer.mp4");
    let viewer = Running::start(&["join", &invite, "--view", "--record", recording.to_str().unwrap()]);
    wait_until("pictures", || shown(&recording) >= 2.0);
    assert!(host.is_running(), "it had much to say meanwhile, which nobody reads");
    ends_politely(viewer);
    ends_politely(host);
}
