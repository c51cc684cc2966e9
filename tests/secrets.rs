//! Invites, passwords and room keys as a user gives them: nothing of them stands in arguments, output or logs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::running::{Running, last_picture_s, wait_until};

const PASSWORD: &str = "correct-horse-battery-staple";
/// Small pictures, which are encoded quickly.
const SMALL: [&str; 4] = ["--speaker-size", "160x90@15", "--program", "320x180@15"];

/// Arguments of a process, as every user of this machine may read them.
fn arguments_of(process: &Running) -> String {
    let bytes = fs::read(format!("/proc/{}/cmdline", process.id())).unwrap();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

fn ends_politely(process: Running) -> String {
    process.signal(libc::SIGTERM);
    let ended = process.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended.stderr + &ended.stdout
}

#[test]
fn an_invite_and_a_password_stand_in_no_argument_and_no_output() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (password, invite_file) = (path("password"), path("invite"));
    fs::write(&password, format!("{PASSWORD}\n")).unwrap();
    let host = ["host", "--speak", "--mix", "always", "--listen", "127.0.0.1:0", "--log", "trace"];
    let at_password = format!("@{password}");
    let secret = ["--password", &at_password, "--invite-file", &invite_file];
    let host = Running::start(&[&host[..], &secret, &SMALL].concat());
    wait_until("the invite's file", || fs::metadata(&invite_file).is_ok_and(|file| file.len() > 0));
    assert_eq!(fs::metadata(&invite_file).unwrap().permissions().mode() & 0o777, 0o600);
    let invite = fs::read_to_string(&invite_file).unwrap().trim().to_owned();
    let secret = invite.split_once('#').unwrap().1.to_owned();

    let at_invite = format!("@{invite_file}");
    let lines = format!("{invite}\n{PASSWORD}\n");
    let trace = ["--log", "trace"];
    let mut all = vec![host];
    let mut start = |arguments: &[&str], lines: &str, variables: &[(&str, &str)]| {
        let process = Running::start_with(&[arguments, &trace].concat(), lines, variables);
        process.stderr.wait("its coming in", |line| line.starts_with("in the room").then_some(()));
        all.push(process);
    };
    start(&["join", "-", "--password", "-"], &lines, &[]);
    start(&["join", &at_invite, "--password", &at_password], "", &[]);
    start(&["join"], "", &[("PLENARY_INVITE", &invite), ("PLENARY_PASSWORD", PASSWORD)]);
    start(&["mixer", "-"], &lines, &[("PLENARY_PASSWORD", PASSWORD)]);
    let debug = [("RUST_LOG", "debug")];
    let all_logged = Running::start_with(&["join", &at_invite, "--password", &at_password], "", &debug);
    all_logged.stderr.wait("its coming in", |line| line.starts_with("in the room").then_some(()));
    all_logged.stderr.wait("a link's log", |line| line.contains("rtc_dtls").then_some(()));
    let said = ends_politely(all_logged);
    assert!(!said.contains("remotePwd"), "the stack logs a link's password");
    for process in &all {
        let shown = arguments_of(process);
        assert!(!shown.contains(&secret) && !shown.contains(PASSWORD), "{shown}");
    }
    for process in all.into_iter().rev() {
        let said = ends_politely(process);
        for hidden in [&secret[..], &secret[60..], PASSWORD] {
            assert!(!said.contains(hidden), "{hidden} in {said}");
        }
    }
}

#[test]
fn a_secret_that_cannot_be_used_is_not_quoted() {
    let long = format!("http://127.0.0.1:9/#{}", "Ab3_".repeat(60));
    let rows: [(&[&str], &str, i32); 5] = [
        (&["join", &long], "", 1),
        (&["join", "a", &long], "", 2), // the parser says what it can't use
        (&["join", "-"], &format!("{long}\n"), 1),
        (&["join", "@/nowhere/at"], "", 1),
        (&["join"], "", 2),
    ];
    for (arguments, lines, code) in rows {
        let ended = Running::start_with(arguments, lines, &[]).ended();
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains("Ab3_Ab3_") && ended.stdout.is_empty(), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
}

#[test]
fn an_empty_password_opens_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    fs::write(&file, "\n").unwrap();
    let at_file = format!("@{}", file.display());
    for typed in ["", &at_file, "-"] {
        let host = ["host", "--listen", "127.0.0.1:0", "--duration", "1s", "--password", typed];
        let ended = Running::start_with(&host, "\n", &[]).ended();
        assert_eq!((ended.code, &*ended.stderr), (Some(2), "plenary: the password is empty\n"));
        assert!(ended.stdout.is_empty(), "{}", ended.stdout);
    }
}

#[test]
fn a_host_that_comes_back_with_the_room_s_keys_goes_on_with_its_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let keys = path("keys");
    let listen = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().to_string()
    };
    let host = ["host", "--mix", "never", "--listen", &listen, "--room-keys", &keys, "--title", "Breakfast"];
    let open = || Running::start(&[&host[..], &SMALL].concat());
    let invite_of =
        |host: &Running| host.stdout.wait("invite", |line| line.contains('#').then(|| line.to_owned()));
    let first = open();
    let old_invite = invite_of(&first);
    assert_eq!(fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o600);
    let me = |process: &Running| {
        process.stderr.wait("id", |line| Some(line.strip_prefix("in the room as ")?.to_owned()))
    };
    let was = me(&first);

    // a speaker that mixes, and a viewer, both in the room before
    let speaker = ["join", &old_invite, "--speak", "--mix", "always"];
    let speaker = Running::start(&[&speaker[..], &SMALL[..2]].concat());
    me(&speaker);
    let (before, after) = (path("before.mp4"), path("after.mp4"));
    let viewer = Running::start(&["join", &old_invite, "--view", "--record", &before]);
    let shown = |file: &str| last_picture_s(Path::new(file)).unwrap_or(0.0);
    wait_until("pictures", || shown(&before) >= 1.0);

    first.kill();
    let second = open();
    let new_invite = invite_of(&second);
    assert_eq!(me(&second), was, "the same host");
    assert_ne!(new_invite, old_invite, "it expires later");

    // whoever comes by the old invite sees the speaker: the host knows that it is on stage
    let newcomer = Running::start(&["join", &old_invite, "--view", "--record", &after]);
    wait_until("pictures at a newcomer", || shown(&after) >= 1.0);
    let so_far = shown(&before);
    wait_until("pictures at the viewer from before", || shown(&before) >= so_far + 1.0);
    for process in [newcomer, viewer, speaker, second] {
        ends_politely(process);
    }
}
