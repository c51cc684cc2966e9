//! Host, mixer and rendezvous as services: nobody at a terminal, and months of running.

use std::fs;
use std::path::Path;

use plenary::Certificate;

use crate::running::{Running, last_picture_s, run, wait_until};

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

#[test]
fn a_host_without_a_terminal_reads_certificate_and_members_again_on_sighup() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (pem, key, members, identity) = (path("pem"), path("key"), path("members"), path("identity"));
    let listen = ([127, 0, 0, 1], 0).into();
    let made = |name: &str| {
        let certificate = Certificate::self_signed(folder.path().join(name), listen, None).unwrap();
        (certificate.file().to_owned(), certificate.file().with_file_name("rendezvous-key.pem"))
    };
    let [old, new] = ["old", "new"].map(made);
    let install = |(certificate, private): &(std::path::PathBuf, std::path::PathBuf)| {
        fs::copy(certificate, &pem).unwrap();
        fs::copy(private, &key).unwrap();
    };
    install(&old);
    fs::write(&members, "# nobody yet\n").unwrap();
    let member = run(&["identity", &identity]).stdout;
    let open = ["host", "--listen", "127.0.0.1:0", "--lobby", "--members", &members];
    let host = Running::start(&[&open[..], &["--tls-cert", &pem, "--tls-key", &key]].concat());
    let invite = invite_of(&host);
    is_in(&host);
    let join = |trusted: &Path| {
        ["join", &invite, "--identity", &identity, "--tls-trust"]
            .map(str::to_owned)
            .into_iter()
            .chain([trusted.to_str().unwrap().to_owned()])
            .collect::<Vec<_>>()
    };
    let start = |trusted: &Path| {
        let arguments = join(trusted);
        Running::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let waits = start(&old.0);
    waits.stderr.wait("its waiting", |line| line.contains("waiting in the lobby").then_some(()));
    waits.kill();

    install(&new);
    fs::write(&members, member).unwrap();
    host.signal(libc::SIGHUP);
    host.stderr.wait("new members", |line| line.contains(": 1 members").then_some(()));
    let refused = start(&old.0).ended();
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    let member = start(&new.0);
    is_in(&member);
    ends_politely(member);

    fs::write(&members, "no key\n").unwrap();
    host.signal(libc::SIGHUP);
    host.stderr.wait("no change", |line| line.contains("the members stay as they are").then_some(()));
    let member = start(&new.0);
    is_in(&member);
    ends_politely(member);
    ends_politely(host);
}

#[test]
fn on_a_terminal_that_hangs_up_a_host_leaves_and_a_second_signal_ends_it_at_once() {
    let open = ["host", "--speak", "--mix", "always", "--listen", "127.0.0.1:0", "--mixers", "1"];
    let (host, _other_end) = Running::start_on_terminal(&[&open[..], &SMALL].concat());
    let invite = invite_of(&host);
    is_in(&host);
    host.signal(libc::SIGHUP);
    let ended = host.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!invite.is_empty());

    let (host, _other_end) = Running::start_on_terminal(&[&open[..], &SMALL].concat());
    let invite = invite_of(&host);
    let viewer = Running::start(&["join", &invite, "--view"]);
    viewer.stderr.wait("its parent", |line| line.contains("fed by ").then_some(()));
    viewer.signal(libc::SIGSTOP); // the host waits until it has found another parent
    host.signal(libc::SIGTERM);
    #[expect(clippy::disallowed_methods, reason = "a test's own thread")]
    std::thread::sleep(std::time::Duration::from_millis(300));
    host.signal(libc::SIGINT);
    let ended = host.ended();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("ended by a second signal"), "{}", ended.stderr);
    viewer.kill();
}

#[test]
fn members_come_in_by_a_replaced_invite_that_has_expired_also_after_a_restart_of_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (keys, members, identity) = (path("keys"), path("members"), path("identity"));
    fs::write(&members, run(&["identity", &identity]).stdout).unwrap();
    let listen = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().to_string()
    };
    let open = ["host", "--mix", "never", "--listen", &listen, "--room-keys", &keys, "--members", &members];
    let open = [&open[..], &["--invite-life", "1s"]].concat();
    let mut host = Running::start_listening(&open);
    let invite = invite_of(&host);
    let zoe = Running::start(&["join", &invite, "--name", "Zoe"]);
    is_in(&zoe);
    host.say("/ban Zoe");
    host.stderr.wait("the ban", |line| line.contains("the old invite admits nobody").then_some(()));
    assert_eq!(zoe.ended().code, Some(1));
    #[expect(clippy::disallowed_methods, reason = "a test's own thread")]
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    let comes = || {
        let member = Running::start(&["mixer", &invite, "--identity", &identity]);
        is_in(&member);
        ends_politely(member);
        let stranger = run(&["join", &invite]);
        assert_eq!(stranger.code, Some(1), "{}", stranger.stderr);
        assert!(stranger.stderr.contains("replaced"), "{}", stranger.stderr);
    };
    comes();
    host.kill();
    let host = Running::start(&open);
    is_in(&host);
    comes();
    ends_politely(host);
}
