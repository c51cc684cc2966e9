//! Host, mixer and rendezvous as services: nobody at a terminal, and months of running.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use plenary::Certificate;
use serde_json::Value;

use crate::running::{Running, last_picture_s, picture_times_s, run, wait_until};

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

/// A TCP address that nobody listens on.
fn free_address() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().to_string()
}

/// Seconds of pictures in a recording so far.
fn shown(recording: &Path) -> f64 {
    last_picture_s(recording).unwrap_or(0.0)
}

/// Decodes a recording; returns what ffmpeg complains of.
fn ffmpeg_errors(recording: &Path) -> String {
    let mut command = std::process::Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-i"]).arg(recording).args(["-f", "null", "-"]);
    String::from_utf8(command.output().expect("ffmpeg is installed").stderr).unwrap()
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
fn on_sighup_a_host_service_reads_certificate_and_members_again() {
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
fn on_sighup_a_service_reads_its_log_filter_again_and_ignores_a_bad_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("filter");
    let file = path.to_str().unwrap();
    fs::write(&path, "# of this service\ninfo\n").unwrap();
    let open = ["host", "--mix", "never", "--listen", "127.0.0.1:0", "--log-filter", file];
    let host = Running::start(&open);
    let invite = invite_of(&host);
    is_in(&host);
    let renewed = |filter: &str, says: &str, count: usize| {
        fs::write(&path, filter).unwrap();
        host.signal(libc::SIGHUP);
        wait_until("a word on the filter", || {
            host.stderr.so_far().iter().filter(|line| line.contains(says)).count() == count
        });
    };
    let debugs = || host.stderr.so_far().iter().filter(|line| line.contains(" DEBUG ")).count();
    assert_eq!(debugs(), 0);
    renewed("debug", "the log filter is in force", 1);
    let viewer = Running::start(&["join", &invite]);
    is_in(&viewer);
    ends_politely(viewer);
    wait_until("debug lines", || debugs() > 0);
    for (at, bad) in ["verbose", "plenary=loud", "", &"info,".repeat(2000)].into_iter().enumerate() {
        renewed(bad, "the log filter stays as it is: ", at + 1);
    }
    let before = debugs();
    wait_until("more debug lines", || {
        let viewer = Running::start(&["join", &invite]);
        is_in(&viewer);
        ends_politely(viewer);
        debugs() > before
    });
    renewed("error", "the log filter is in force", 2);
    let before = debugs();
    let viewer = Running::start(&["join", &invite]);
    is_in(&viewer);
    ends_politely(viewer);
    assert_eq!(debugs(), before);
    ends_politely(host);
    let ended = run(&["host", "--listen", "127.0.0.1:0", "--log-filter", "/nowhere/filter"]);
    assert!(ended.code == Some(2) && ended.stderr.contains("/nowhere/filter: "), "{}", ended.stderr);
    fs::write(&path, "loud").unwrap();
    let ended = run(&["rendezvous", "--listen", "127.0.0.1:0", "--log-filter", file]);
    assert!(ended.code == Some(2) && ended.stderr.contains("neither a level"), "{}", ended.stderr);
}

#[test]
fn a_host_leaves_when_its_terminal_hangs_up_and_ends_by_a_second_signal() {
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
fn members_come_in_by_an_old_expired_invite_also_after_a_host_s_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (keys, members, identity) = (path("keys"), path("members"), path("identity"));
    fs::write(&members, run(&["identity", &identity]).stdout).unwrap();
    let listen = free_address();
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

#[test]
fn a_second_host_with_the_same_keys_is_refused_at_any_address() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let open = ["host", "--mix", "never", "--listen", "127.0.0.1:0", "--room-keys", keys.to_str().unwrap()];
    let host = Running::start(&open);
    is_in(&host);
    let second = run(&open);
    let why =
        format!("plenary: {}: another process with the keys of this room is its host\n", keys.display());
    assert_eq!((second.code, &*second.stderr), (Some(1), &*why));
    host.kill();
    let third = Running::start(&open);
    is_in(&third);
    ends_politely(third);
}

#[test]
fn a_mixer_service_waits_for_rendezvous_and_room_and_says_each_once() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    let listen = free_address();
    let open = ["host", "--mix", "never", "--listen", &listen, "--room-keys", keys.to_str().unwrap()];
    let host = Running::start(&open);
    let invite = invite_of(&host);
    is_in(&host);
    host.kill();

    let at_once = run(&["mixer", &invite, "--no-wait"]);
    assert_eq!(at_once.code, Some(1), "{}", at_once.stderr);
    let mixer = Running::start(&["mixer", &invite]);
    let waits_for = |what: &str| {
        let line = format!("waiting for {what}, and trying again");
        mixer.stderr.wait(&line, |said| said.contains(&line).then_some(()));
    };
    waits_for("the rendezvous");
    let stopped = Running::start(&["mixer", &invite]);
    stopped.stderr.wait("its waiting", |line| line.contains("waiting for the rendezvous").then_some(()));
    ends_politely(stopped);
    let rendezvous = Running::start(&["rendezvous", "--listen", &listen]);
    waits_for("the room to open");
    rendezvous.kill();
    let host = Running::start(&open);
    is_in(&mixer);
    let said = ends_politely(mixer);
    assert!(said.matches("waiting for").count() <= 4, "{said}");
    ends_politely(host);
}

#[test]
fn without_a_terminal_each_event_is_one_log_line_or_one_in_json() {
    let open = ["host", "--speak", "--mix", "always", "--listen", "127.0.0.1:0", "--mixers", "1"];
    let host = Running::start(&[&open[..], &["--log", "info", "--log-format", "json"], &SMALL].concat());
    let invite = invite_of(&host);
    is_in(&host);
    let viewer = Running::start(&["join", &invite, "--log", "info"]);
    let fed = viewer.stderr.wait("its parent", |line| line.contains("fed by ").then(|| line.to_owned()));
    assert!(fed.contains(" INFO ") && fed.starts_with("20"), "{fed}");
    let said = ends_politely(viewer);
    assert_eq!(said.matches("fed by ").count(), 1, "{said}");
    assert_eq!(said.lines().filter(|line| line.contains("mode: pass-through")).count(), 1, "{said}");
    assert!(!said.contains("mode: PassThrough"), "the library's line has the same event: {said}");
    let said = ends_politely(host);
    for line in said.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["message"].is_string() && line["level"].is_string(), "{line}");
    }
    assert_eq!(said.matches("mode: pass-through").count(), 1, "{said}");
    let failed = run(&["join", &invite, "--log-format", "json"]);
    let line: Value = serde_json::from_str(failed.stderr.lines().last().unwrap()).unwrap();
    assert_eq!((failed.code, line["level"].as_str()), (Some(1), Some("ERROR")), "{line}");
    assert_eq!(line["reason"].as_str(), Some("unreachable"), "{line}");
    let failed = run(&["join", &invite[..invite.len() - 9], "--log-format", "json"]);
    let line: Value = serde_json::from_str(failed.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(line["reason"].as_str(), Some("invite-damaged"), "{line}");
}

/// Returns the answer to a request.
fn get(address: &str, path: &str) -> String {
    let mut tcp = std::net::TcpStream::connect(address).unwrap();
    write!(tcp, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    answer
}

/// Returns a figure in the answer of `/metrics`, whose lines are all well-formed.
fn figure(address: &str, name: &str) -> Option<f64> {
    let answer = get(address, "/metrics");
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/plain; version=0.0.4"), "{head}");
    let mut found = None;
    for line in text.lines().filter(|line| !line.starts_with("# HELP ") && !line.starts_with("# TYPE ")) {
        let (named, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{text}"));
        let value: f64 = value.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(text.contains(&format!("# TYPE {} ", named.split('{').next().unwrap())), "{line}");
        found = found.or((named == name).then_some(value));
    }
    assert!(!text.contains('#') || text.lines().all(|line| line.len() < 160), "{text}");
    found
}

#[test]
fn rendezvous_host_and_mixer_serve_their_health_and_figures_and_no_secret() {
    let apart = free_address();
    let rendezvous = Running::start(&["rendezvous", "--listen", "127.0.0.1:0", "--metrics", &apart]);
    let url = rendezvous.stderr.wait("address", |line| Some(line.split_once("listening on ")?.1.to_owned()));
    let at = url.strip_prefix("http://").unwrap();
    wait_until("the other server", || std::net::TcpStream::connect(&apart).is_ok());
    assert!(get(&apart, "/healthz").ends_with("ok\n"));
    assert_eq!(figure(&apart, "plenary_rendezvous_rooms"), Some(0.0));
    assert!(get(at, "/healthz").ends_with("ok\n"));
    assert_eq!(figure(at, "plenary_rendezvous_rooms"), Some(0.0));
    let opened = Running::start(&["host", "--mix", "never", "--rendezvous", &url]);
    is_in(&opened);
    assert_eq!(figure(at, "plenary_rendezvous_rooms"), Some(1.0));
    assert_eq!(figure(at, "plenary_rendezvous_peers"), Some(1.0));
    ends_politely(opened);

    let open = ["host", "--speak", "--mix", "never", "--listen", "127.0.0.1:0", "--mixers", "1"];
    let host = Running::start(&[&open[..], &SMALL].concat());
    let invite = invite_of(&host);
    is_in(&host);
    let (origin, secret) = invite.split_once("/#").unwrap();
    let at_host = origin.strip_prefix("http://").unwrap();
    let metrics = free_address();
    let mixer = Running::start(&["mixer", &invite, "--metrics", &metrics]);
    is_in(&mixer);
    let viewer = Running::start(&["join", &invite]);
    is_in(&viewer);
    wait_until("mixed pictures", || figure(&metrics, "plenary_pictures_mixed_total") > Some(30.0));
    assert_eq!(figure(&metrics, "plenary_mixing"), Some(1.0));
    let idle: Vec<_> = (0..40).map(|_| std::net::TcpStream::connect(&metrics).unwrap()).collect();
    assert!(get(&metrics, "/healthz").ends_with("ok\n"), "beside connections that say nothing");
    drop(idle);
    wait_until("the viewer", || figure(at_host, "plenary_viewers") == Some(1.0));
    assert_eq!(figure(at_host, "plenary_is_host"), Some(1.0));
    assert!(figure(at_host, "plenary_rendezvous_envelopes_total") > Some(3.0));
    assert!(figure(at_host, "plenary_pictures_sent_total") > Some(30.0));
    let text = get(at_host, "/metrics");
    assert!(!text.contains(&secret[..20]) && !text.contains(&secret[secret.len() - 20..]), "{text}");
    for process in [viewer, mixer, host, rendezvous] {
        ends_politely(process);
    }
}

#[test]
fn a_service_manager_is_told_of_readiness_of_work_and_of_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    let next = || {
        let mut told = [0; 256];
        let len = manager.recv(&mut told).expect("a word in time");
        String::from_utf8(told[..len].to_vec()).unwrap()
    };
    let variables = [("NOTIFY_SOCKET", socket.to_str().unwrap()), ("WATCHDOG_USEC", "400000")];
    let listen = free_address();
    for arguments in [&["rendezvous", "--listen", &listen][..], &["host", "--listen", "127.0.0.1:0"]] {
        let service = Running::start_with(arguments, "", &variables);
        let told: Vec<_> = (0..4).map(|_| next().trim_end().to_owned()).collect();
        assert!(told.iter().any(|word| word == "READY=1"), "{told:?}");
        assert!(told.iter().filter(|word| *word == "WATCHDOG=1").count() >= 2, "{told:?}");
        ends_politely(service);
        assert!((0..100).map(|_| next()).any(|word| word.trim_end() == "STOPPING=1"));
        manager.set_nonblocking(true).unwrap();
        while manager.recv(&mut [0; 256]).is_ok() {}
        manager.set_nonblocking(false).unwrap();
    }
}

#[test]
fn a_restart_overwrites_no_recording_and_bad_outputs_end_it_early() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let open = ["host", "--speak", "--mix", "always", "--listen", "127.0.0.1:0"];
    let host = Running::start(&[&open[..], &SMALL].concat());
    let invite = invite_of(&host);
    let (first, second, third) = (path("room.mp4"), path("room-2.mp4"), path("room-3.mp4"));
    let record = ["join", &invite, "--view", "--record", &first];
    let viewer = Running::start(&record);
    wait_until("a recording", || shown(Path::new(&first)) >= 1.0);
    viewer.kill();
    let before = fs::read(&first).unwrap();
    let killed = path("killed.mp4");
    fs::write(&killed, &before).unwrap();
    let viewer = Running::start(&[&record[..], &["--record-max", "2s"]].concat());
    viewer
        .stderr
        .wait("its name", |line| line.contains("recording to ").then(|| assert!(line.contains(&second))));
    wait_until("a further part", || shown(Path::new(&third)) >= 1.0);
    assert!(shown(Path::new(&second)) >= 1.5, "the first part has its length");
    ends_politely(viewer);
    // the start has repaired what the kill left behind, as the command does
    let repaired = run(&["repair", &killed, &second]);
    assert_eq!(repaired.code, Some(0), "{}", repaired.stderr);
    assert!(repaired.stderr.contains("killed.mp4: repaired, "), "{}", repaired.stderr);
    assert!(repaired.stderr.contains("room-2.mp4: is whole, "), "{}", repaired.stderr);
    assert!(fs::read(&first).unwrap() == fs::read(&killed).unwrap());
    assert!(picture_times_s(Path::new(&first)).len() > 15);
    let said = ffmpeg_errors(Path::new(&first));
    assert_eq!(said, "", "it decodes without errors");
    let refused = run(&["repair", &first, "/proc/version", &path("nowhere")]);
    assert_eq!(refused.code, Some(1));
    for says in ["room.mp4: is whole", "/proc/version: ", "nowhere: No such file", "2 of 3 files are not"] {
        assert!(refused.stderr.contains(says), "{says}: {}", refused.stderr);
    }

    let fifo = path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for (flag, file) in
        [("--record", &*fifo), ("--json", &*fifo), ("--json", "/proc/x.json"), ("--record", "/proc/x")]
    {
        let ended = run(&["join", &invite, flag, file]);
        assert_eq!(ended.code, Some(1), "{flag} {file}: {}", ended.stderr);
        assert!(!ended.stderr.contains("in the room") && ended.stderr.contains(file), "{}", ended.stderr);
    }
    ends_politely(host);
}

#[test]
fn whoever_records_is_named_to_all_and_viewers_that_do_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let open = ["host", "--speak", "--mix", "always", "--listen", "127.0.0.1:0", "--name", "Ada"];
    let mut host = Running::start_listening(&[&open[..], &SMALL].concat());
    let invite = invite_of(&host);
    is_in(&host);
    let (first, second) = (path("ben.mp4"), path("viewer.mp4"));
    let speaks = ["join", &invite, "--speak", "--name", "Ben", "--record", &first];
    let ben = Running::start(&[&speaks[..], &SMALL[..2]].concat());
    let names = |line: &str| (line.contains("\"Ben\" (") && line.ends_with(") records")).then_some(());
    host.stderr.wait("word that Ben records", names);
    let recording = Running::start(&["join", &invite, "--view", "--record", &second]);
    host.stderr.wait("word that a viewer records", |line| line.contains("1 viewer records").then_some(()));
    let viewer = Running::start(&["join", &invite, "--view"]);
    viewer.stderr.wait("word that Ben records", names);
    viewer.stderr.wait("word that a viewer records", |line| line.contains("1 viewer records").then_some(()));
    host.say("/who");
    host.stderr
        .wait("the list", |line| (line.contains("\"Ben\"") && line.contains(", records")).then_some(()));
    ends_politely(recording);
    host.stderr.wait("the end of it", |line| line.contains("no viewer records any more").then_some(()));
    for process in [viewer, ben, host] {
        ends_politely(process);
    }
}

#[test]
fn a_recording_on_a_full_disk_says_so_at_once_and_goes_on_later() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let at = disk.to_str().unwrap();
    let mounted =
        std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=3m", "none", at]).status();
    if !mounted.is_ok_and(|status| status.success()) {
        return; // only root mounts
    }
    struct Unmounts<'a>(&'a str);
    impl Drop for Unmounts<'_> {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount").args(["-l", self.0]).status();
        }
    }
    let _unmounts = Unmounts(at);
    let open = ["host", "--speak", "--mix", "always", "--listen", "127.0.0.1:0"];
    let host = Running::start(&[&open[..], &SMALL].concat());
    let invite = invite_of(&host);
    let room = disk.join("room.mp4");
    let viewer = Running::start(&["join", &invite, "--view", "--record", room.to_str().unwrap()]);
    wait_until("a recording", || shown(&room) >= 1.0);
    let filler = disk.join("filler");
    let _ = fs::write(&filler, vec![1; 3 << 20]); // as much as there is space
    viewer.stderr.wait("the full disk", |line| line.contains("nothing is recorded for now").then_some(()));
    fs::remove_file(&filler).unwrap();
    let next = disk.join("room-2.mp4");
    wait_until("a further recording", || shown(&next) >= 1.0);
    ends_politely(viewer);
    ends_politely(host);
    assert!(shown(&room) >= 1.0, "what was recorded before plays");
}

#[test]
fn with_ipv6_alone_an_invite_names_an_address_that_others_reach() {
    let folder = tempfile::tempdir().unwrap();
    let invite = folder.path().join("invite");
    let script = format!(
        "ip link set lo up && ip link add v0 type veth peer name v1 && \
         ip addr add 2001:db8:1::1/64 dev v0 nodad && ip link set v0 up && ip link set v1 up || exit 77
         {plenary} host --speak --mix always --speaker-size 160x90@15 --program 320x180@15 \
             --invite-file {invite} </dev/null &
         host=$!
         for _ in $(seq 100); do [ -s {invite} ] && break; sleep 0.1; done
         {plenary} join @{invite} --view --duration 4s --json -
         kill $host; wait $host",
        plenary = env!("CARGO_BIN_EXE_plenary"),
        invite = invite.display(),
    );
    let ran = std::process::Command::new("unshare").args(["-n", "sh", "-c", &script]).output().unwrap();
    if ran.status.code() == Some(77)
        || !invite.exists() && String::from_utf8_lossy(&ran.stderr).contains("unshare")
    {
        return; // only root makes namespaces
    }
    let said = String::from_utf8_lossy(&ran.stderr);
    let invite = fs::read_to_string(invite).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert!(invite.starts_with("http://[2001:db8:1::1]:"), "{invite}");
    let report: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert!(report["frames_received"].as_u64() > Some(10), "{report} {said}");
}

#[test]
fn a_host_behind_a_proxy_names_it_and_logs_no_address_of_its_tree() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    let open = ["host", "--listen", "127.0.0.1:0", "--advertise", "https://rooms.example.org/a/b"];
    let host = Running::start(&[&open[..], &["--tree-file", tree.to_str().unwrap()]].concat());
    assert!(invite_of(&host).starts_with("https://rooms.example.org/a/b/#"));
    is_in(&host);
    let address = fs::read_to_string(&tree).unwrap();
    assert!(address.starts_with("https://rooms.example.org/a/b/room?token="), "{address}");
    assert_eq!(fs::metadata(&tree).unwrap().permissions().mode() & 0o777, 0o600);
    let said = ends_politely(host);
    assert!(!said.contains("token="), "{said}");
    let host = Running::start(&["host", "--listen", "127.0.0.1:0", "--log-format", "json"]);
    is_in(&host);
    assert!(!ends_politely(host).contains("token="));
}
