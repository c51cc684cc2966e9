//! Peers whose clocks are wrong: real processes under libfaketime, which changes what they read of the wall clock. And
//! peers whose machines sleep: processes that are stopped, and find that the clocks of wall and boot have gone further.

use std::fs::{File, write};
use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::running::{Running, invite_of, last_picture_s, picture_times_s, wait_until};

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

/// What a machine's sleep does to its clocks, which libfaketime can't: the clock of the boot goes on with the wall
/// clock, and
/// `CLOCK_MONOTONIC` stands still.
const SLEPT_C: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

int clock_gettime(clockid_t id, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    static volatile long long *slept_s;
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(id, now);
    if (!slept_s) slept_s = mmap(0, 8, PROT_READ, MAP_SHARED, open(getenv("SLEPT"), O_RDONLY), 0);
    if (!failed && (id == CLOCK_REALTIME || id == CLOCK_BOOTTIME)) now->tv_sec += *slept_s;
    return failed;
}
"#;
/// Time for which the process stands still. Others give it up after 5 s, and hear within 10 s that the night is over.
const STANDS_STILL: Duration = Duration::from_secs(13);
/// Time after the wake in which pictures go on. Three seconds are aimed at, one of which the pictures themselves take.
const BACK_IN: Duration = Duration::from_secs(6);

#[test]
#[expect(clippy::disallowed_methods, reason = "a test's own thread")]
fn a_viewer_whose_machine_slept_is_back_within_seconds() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (source, library, slept, recording) =
        (file("slept.c"), file("slept.so"), file("slept"), folder.path().join("viewer.mp4"));
    write(&source, SLEPT_C).unwrap();
    write(&slept, 0_i64.to_ne_bytes()).unwrap();
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-o", &library, &source, "-ldl"]).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let sleeps = [("LD_PRELOAD", &*library), ("SLEPT", &*slept)];
    // the time that passes in the world meanwhile: the rendezvous tells it to the host
    let rendezvous = Running::start_with(&["rendezvous", "--listen", "127.0.0.1:0"], "", &sleeps);
    let url = rendezvous.stderr.wait("address", |line| Some(line.strip_prefix("listening on ")?.to_owned()));
    let host = Running::start(&[&["host", "--speak", "--rendezvous", &url], &HOST[4..]].concat());
    let invite = invite_of(&host);
    let join = ["join", &invite, "--view", "--record", recording.to_str().unwrap()];
    let viewer = Running::start_with(&join, "", &sleeps);
    let pictures = || picture_times_s(&recording).len();
    wait_until("pictures", || pictures() >= 30);
    let clock = File::options().write(true).open(&slept).unwrap();
    let mut slept_s = 0_i64;
    for night_s in [13, 360, 7200] {
        viewer.signal(libc::SIGSTOP);
        slept_s += night_s - 13;
        clock.write_all_at(&slept_s.to_ne_bytes(), 0).unwrap();
        sleep(STANDS_STILL);
        let before = pictures();
        viewer.signal(libc::SIGCONT);
        let begun = Instant::now();
        wait_until(&format!("pictures after {night_s} s"), || pictures() >= before + 15);
        println!("after {night_s} s of sleep a second of pictures took {:?}", begun.elapsed());
        assert!(begun.elapsed() < BACK_IN, "{night_s}: {:?}", begun.elapsed());
    }
}
