//! Peers whose machines sleep: processes that are stopped, and find that the clocks of wall and boot have gone further.

use std::fs::{File, write};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use plenary::{Frames, MediaKind, Options, Origin, PeerId, Room, Solo};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::running::{Running, invite_of, picture_times_s, wait_until};

/// What a machine's sleep does to its clocks, which libfaketime can't: the clock of the boot goes on with the wall
/// clock, and `CLOCK_MONOTONIC` stands still.
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
/// Durations of the nights, in seconds: shorter than a network address translator forgets, than a room does, and
/// longer.
const NIGHTS_S: [u64; 3] = [13, 360, 7200];
/// Time for which the process stands still. Others give it up after 5 s, and hear within 10 s that the night is over.
const STANDS_STILL_S: u64 = 13;
/// Time after the wake in which pictures go on. Three seconds are aimed at, one of which the pictures themselves take.
const BACK_IN: Duration = Duration::from_secs(6);
/// Limit on hanging.
const PATIENCE: Duration = Duration::from_secs(60);
const SMALL: [&str; 2] = ["--speaker-size=320x180@15", "--mix=never"];

/// Clocks of the machines that sleep, and a rendezvous that goes by them: time passes in the world meanwhile, and the
/// rendezvous tells it to the others.
struct Nights {
    folder: tempfile::TempDir,
    clock: File,
    slept_s: i64,
    rendezvous: Option<Running>,
}

impl Nights {
    fn new() -> Nights {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        write(file("slept.c"), SLEPT_C).unwrap();
        write(file("slept"), 0_i64.to_ne_bytes()).unwrap();
        let (library, source) = (file("slept.so"), file("slept.c"));
        let compile = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .output();
        let built = compile.unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let clock = File::options().write(true).open(file("slept")).unwrap();
        let mut nights = Nights { folder, clock, slept_s: 0, rendezvous: None };
        nights.rendezvous = Some(nights.start(&["rendezvous", "--listen", "127.0.0.1:0"]));
        nights
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Starts a process on a machine that sleeps.
    fn start(&self, args: &[&str]) -> Running {
        let (library, slept) = (self.path("slept.so"), self.path("slept"));
        Running::start_with(args, "", &[("LD_PRELOAD", &library), ("SLEPT", &slept)])
    }

    /// Returns the address of the rendezvous.
    fn url(&self) -> String {
        let said = &self.rendezvous.as_ref().unwrap().stderr;
        said.wait("address", |line| Some(line.strip_prefix("listening on ")?.to_owned()))
    }

    /// Lets a machine sleep, for that long by its clocks; returns when it wakes up.
    #[expect(clippy::disallowed_methods, reason = "a test's own thread")]
    fn pass(&mut self, sleeper: &Running, night_s: u64) -> Instant {
        sleeper.signal(libc::SIGSTOP);
        self.slept_s += i64::try_from(night_s - STANDS_STILL_S).unwrap();
        self.clock.write_all_at(&self.slept_s.to_ne_bytes(), 0).unwrap();
        sleep(Duration::from_secs(STANDS_STILL_S));
        sleeper.signal(libc::SIGCONT);
        Instant::now()
    }
}

#[test]
fn a_viewer_whose_machine_slept_is_back_within_seconds() {
    let mut nights = Nights::new();
    let host =
        Running::start(&["host", "--speak", "--rendezvous", &nights.url(), SMALL[0], "--program=320x180@15"]);
    let recording = nights.folder.path().join("viewer.mp4");
    let viewer =
        nights.start(&["join", &invite_of(&host), "--view", "--record", recording.to_str().unwrap()]);
    let pictures = || picture_times_s(&recording).len();
    wait_until("pictures", || pictures() >= 30);
    for night_s in NIGHTS_S {
        let before = pictures();
        let woke = nights.pass(&viewer, night_s);
        wait_until(&format!("pictures after {night_s} s"), || pictures() >= before + 15);
        println!("after {night_s} s of sleep a second of pictures took {:?}", woke.elapsed());
        assert!(woke.elapsed() < BACK_IN, "{night_s}: {:?}", woke.elapsed());
    }
}

/// Returns the speaker of that name, once it is on stage.
async fn speaker(room: &Room, name: &str) -> PeerId {
    let mut watch = room.watch();
    let is_there = |stage: &[plenary::Member]| {
        stage.iter().find(|one| one.name == name && one.speaks).map(|one| one.peer)
    };
    loop {
        if let Some(peer) = is_there(&watch.borrow_and_update().stage) {
            return peer;
        }
        watch.changed().await.unwrap();
    }
}

/// Waits for a second of a speaker's own pictures that were made since now.
async fn sees(frames: &mut Frames, speaker: PeerId, since_us: u64) {
    let mut seen = 0;
    while seen < 15 {
        let frame = frames.next().await.expect("the room goes on");
        let is_picture = frame.frame.kind == MediaKind::Video && frame.origin == Origin::Speaker(speaker);
        seen += usize::from(is_picture && frame.arrived_us > since_us);
    }
}

/// Lets the machine of the host or of a speaker sleep while another speaker is mixed, and measures when its own
/// pictures are seen again.
fn sleeps_on_stage(name: &str) {
    let mut nights = Nights::new();
    let url = nights.url();
    let host_args =
        ["host", "--speak", "--name=Hal", "--rendezvous", &url, "--program=320x180@15", SMALL[0], SMALL[1]];
    let start = |args: &[&str], sleeps: bool| if sleeps { nights.start(args) } else { Running::start(args) };
    let host = start(&host_args, name == "Hal");
    let invite = invite_of(&host);
    let join = |named: &'static str| ["join", &invite, "--speak", named, SMALL[0], SMALL[1]];
    let ada = start(&join("--name=Ada"), name == "Ada");
    let _ben = Running::start(&join("--name=Ben"));
    let _mixer = Running::start(&["mixer", &invite]);
    let runtime = Runtime::new().unwrap();
    let _entered = runtime.enter();
    let options = Options::viewer("Vera").bind(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    let room = runtime.block_on(Room::join(invite.parse::<plenary::Invite>().unwrap(), options)).unwrap();
    let mut frames = room.frames();
    let sleeper = runtime.block_on(timeout(PATIENCE, speaker(&room, name))).expect("it is on stage");
    runtime.block_on(room.set_solo(Some(Solo { speaker: sleeper, instead: false }))).unwrap();
    runtime.block_on(timeout(PATIENCE, sees(&mut frames, sleeper, 0))).expect("its pictures");
    for night_s in NIGHTS_S {
        let woke = nights.pass(if name == "Hal" { &host } else { &ada }, night_s);
        let since_us = room.clock().now_us();
        let seen = runtime.block_on(timeout(PATIENCE, sees(&mut frames, sleeper, since_us)));
        println!("{name} after {night_s} s: a second of pictures took {:?}", woke.elapsed());
        seen.unwrap_or_else(|_| panic!("{night_s}: {:?}; {}", room.snapshot(), room.clock().now_us()));
        assert!(woke.elapsed() < BACK_IN, "{night_s}: {:?}", woke.elapsed());
        wait_until("the room's own host", || (room.snapshot().host == Some(sleeper)) == (name == "Hal"));
    }
    runtime.block_on(room.close());
}

#[test]
fn a_speaker_whose_machine_slept_is_seen_again_within_seconds() {
    sleeps_on_stage("Ada");
}

#[test]
fn a_host_whose_machine_slept_is_seen_again_and_governs() {
    sleeps_on_stage("Hal");
}
