//! User errors: each yields one line on stderr that says why, prints nothing on stdout, and leaves no files.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::running::{Ended, Running, run};
use plenary_proto::seal::{Invite, Keypair, RoomSecret};

/// Exit code for wrong usage.
const TYPED_WRONGLY: i32 = 2;
/// Exit code for a failure.
const FAILED: i32 = 1;

/// Checks that the command ends with this code and with one line that contains these words.
fn ends_with_a_line(args: &[&str], code: i32, words: &str) {
    let ended = run(args);
    clear(args, &ended, code, words);
    assert_eq!(ended.stderr.lines().count(), 1, "{args:?}: {}", ended.stderr);
}

/// Checks for an empty stdout, no panic or backtrace, and a last line that says why.
fn clear(args: &[&str], ended: &Ended, code: i32, words: &str) {
    let Ended { stdout, stderr, .. } = ended;
    assert_eq!((ended.code, &**stdout), (Some(code), ""), "{args:?}: {stderr}");
    let why = stderr.lines().last().unwrap_or_default();
    assert!(why.starts_with("plenary: ") && why.contains(words), "{args:?}: not {words:?} in {stderr}");
    for noise in ["panicked", "backtrace", "RUST_BACKTRACE", "stack"] {
        assert!(!stderr.contains(noise), "{args:?}: {stderr}");
    }
}

/// Returns a valid invite to a room that is not open.
fn invite_to_nowhere(rendezvous: &str) -> String {
    let root = Keypair::from_seed(&[7; 32]);
    let secret = RoomSecret([8; 16]);
    Invite::create(&root, (0, secret), None, true, Some(rendezvous.to_owned()), &[], 4_000_000_000)
        .to_string()
}

/// Starts a host, and returns the invite that it printed.
fn host(more: &[&str]) -> (Running, String) {
    let host = Running::start(&[&["host", "--listen", "127.0.0.1:0", "--mix", "never"], more].concat());
    let invite = host.stdout.wait("invite", |line| line.contains('#').then(|| line.to_owned()));
    (host, invite)
}

/// Returns the names of the files in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn what_is_typed_wrongly_is_said_in_one_line() {
    let nowhere = invite_to_nowhere("http://127.0.0.1:9");
    for (args, words) in [
        ("demo --mixers 9", "9 mixers: from 1 to 8"),
        ("demo --mixers 4 --candidates 3", "there are only 3 candidates"),
        ("demo --duration 20", "a duration needs a unit: 20s"),
        ("demo --duration 0s", "must be longer than zero"),
        ("host --bitrate 1bit", "at least 50kbit"),
        ("host --duration 3parsecs", "a duration looks like"),
        ("demo --program 1281x720@30", "must be even"),
        ("host --speaker-size 640x360", "a size looks like 1280x720@30"),
        ("host --bitrate 1500", "a rate looks like"),
        (
            "host --layout round",
            "a layout is grid, active, share, side-by-side, or a file that ends in .toml",
        ),
        ("demo --layout nowhere.toml", "cannot read nowhere.toml"),
        ("demo --layout Cargo.toml", "unknown field `"),
        ("host --listen here", "an address looks like"),
        ("host --udp-ports 9000", "--udp-ports"),
        ("demo --at 10s", "an event looks like 10s:kill=mixer"),
        ("demo --at 10s:kill=host", "unknown event kill=host, known are kill=mixer"),
        ("demo --at 3s:halve=relay", "unknown event halve=relay, known are kill=mixer"),
        ("demo --at 30s:kill=mixer", "after the end"),
        ("demo --at 30s:halve=mixer", "after the end"),
        ("demo --speakers 1 --at 3s:kill=speaker", "the host is never killed"),
        ("demo --link delay=30", "a duration needs a unit"),
        ("demo --speakers 0", "--speakers"),
        ("demo --viewers many", "--viewers"),
        ("demo --viewers 1001", "--viewers"),
        ("demo --joining 0", "--joining"),
        ("demo --churn 10", "a churn looks like 10%/min"),
        ("demo --churn 0%/min", "above 0, and at most 600%/min"),
        ("demo --churn 10%/min --viewers 0", "there is no viewer to replace"),
        ("demo --udp-port 7000", "need a port each"),
        ("host --udp-port 7000 --udp-ports 7000-7010", "cannot be used with"),
        ("host --nat-1to1 127.0.0.1", "no address at which others reach this machine"),
        ("join INVITE --stun stuns:example.org", "a STUN server looks like"),
        ("demo --processes --viewers 44", "51 peers, and at most 50"),
        ("demo --processes --at 3s:promote=viewer", "not with --processes"),
        ("demo-peer", "`plenary demo --processes`"),
        ("join", "no invite"),
        ("host --advertise http://example.org", "an address for others looks like example.org"),
        ("host --advertise 2001:db8::1", "[2001:db8::1]:7420"),
        ("host --tls-cert cert.pem", "--tls-key"),
        ("host --tls self --tls-cert cert.pem --tls-key key.pem", "cannot be used with"),
        ("host --tls self --rendezvous http://example.org", "cannot be used with"),
        ("host --embed example.org", "the origin of a page looks like https://example.org"),
        ("rendezvous --embed https://example.org/room", "the origin of a page looks like"),
        ("host --embed https://example.org --rendezvous http://example.org", "cannot be used with"),
        ("rendezvous --tls acme", "[possible values: self]"),
        ("join INVITE --frobnicate", "'--frobnicate'"),
        ("sim no-such-scenario", "`plenary sim list` names them"),
        ("sim calm-room mixer-lost", "one scenario at a time"),
        ("bench relay --server janus", "NAME=COMMAND"),
        ("sim compare", "compare takes two reports"),
        ("sim compare one.json", "compare takes two reports"),
        ("sim calm-room --peers 200001", "at most 200000"),
        ("sim calm-room --runs 0", "--runs"),
        ("sim calm-room --seed -1", "unexpected argument '-1' found"),
        ("bench mix --inputs 65", "--inputs"),
        ("bench mix --in 640x360", "a size looks like 1280x720@30"),
        ("bench mix --inputs 2 --frozen 3", "there are only 2 speakers"),
        ("bench mix --frozen 1 --keep kept", "--keep"),
        ("sim list --seed 3", "list runs no scenario"),
        ("sim compare one.json other.json --runs 2", "compare runs no scenario"),
        ("sim compare one.json other.json --json -", "compare prints lines"),
        ("dance", "'dance'"),
    ] {
        let args = args.replace("INVITE", &nowhere);
        ends_with_a_line(&args.split(' ').collect::<Vec<_>>(), TYPED_WRONGLY, words);
    }
}

#[test]
fn a_scenario_or_report_that_cannot_be_read_is_named_with_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let broken = file("broken.toml", "title = 'x'\nstorm = '1s'\ncalm = '1s'\nweather = 'bad'\npeers = []\n");
    let empty = file("empty.toml", "");
    let other = file("other.json", "{\"version\": \"1\"}");
    let text = file("text.json", "no report");
    for (args, words) in [
        (vec!["sim", &broken], "line 4: unknown field `weather`"),
        (vec!["sim", &empty], "missing field"),
        (vec!["sim", "nowhere/mine.toml"], "cannot read nowhere/mine.toml"),
        (vec!["sim", "compare", &other, &other], "is no report of plenary sim"),
        (vec!["sim", "compare", &text, &other], "is no report"),
        (vec!["sim", "compare", "nowhere.json", &other], "cannot read nowhere.json"),
        (vec!["sim", "calm-room", "--json", "nowhere/report.json"], "there is no such directory"),
        (vec!["sim", "calm-room", "--keep", "nowhere"], "cannot keep anything in nowhere"),
        (vec!["sim", "list", "--json", "nowhere/list.json"], "cannot write nowhere/list.json"),
    ] {
        ends_with_a_line(&args, FAILED, words);
    }
}

#[test]
fn a_reader_that_is_gone_or_full_is_no_panic() {
    for args in [&["sim", "list"][..], &["sim", "list", "--json", "-"], &["probe"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ended = Command::new(env!("CARGO_BIN_EXE_plenary")).args(args).stdout(full).output().unwrap();
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(FAILED), "{args:?}: {stderr}");
        assert!(stderr.starts_with("plenary: cannot write to standard output"), "{args:?}: {stderr}");
        let mut child = Command::new(env!("CARGO_BIN_EXE_plenary"))
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        assert!(ended.status.success() && ended.stderr.is_empty(), "{args:?}: {ended:?}");
    }
}

#[test]
fn an_invite_that_leads_nowhere_says_why() {
    let (host, locked) = host(&["--password", "sesame"]);
    // a rendezvous of its own would wait for the host of an unknown room at first
    let url = locked.split('#').next().unwrap().trim_end_matches('/').to_owned();
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("room.mp4");
    let mut damaged = locked.clone();
    let at = damaged.len() - 9;
    let other = if damaged[at..].starts_with('_') { "A" } else { "_" };
    damaged.replace_range(at..=at, other);
    let unknown = invite_to_nowhere(&url);
    for (invite, password, words, code) in [
        ("not-an-invite", None, "an invite looks like", "not-an-invite"),
        ("http://127.0.0.1:9/#!!!", None, "invite", "invite-damaged"),
        (&*damaged, None, "invite", "invite-damaged"),
        (&*locked, None, "this room needs a password", "password-needed"),
        (&*locked, Some("wrong"), "wrong password", "wrong-password"),
        (&*unknown, None, "the room is not open", "not-open"),
    ] {
        for begin in
            [&["join", invite, "--record", recording.to_str().unwrap()][..], &["mixer", "--no-wait", invite]]
        {
            let password = password.iter().flat_map(|password| ["--password", *password]);
            let args: Vec<&str> = begin.iter().copied().chain(password).collect();
            ends_with_a_line(&args, FAILED, words);
            let reported = run(&[&args, &["--json", "-"][..]].concat());
            let report: serde_json::Value = serde_json::from_str(&reported.stdout).unwrap();
            assert_eq!(
                (reported.code, report),
                (Some(FAILED), serde_json::json!({ "end": code })),
                "{args:?}"
            );
        }
    }
    assert_eq!(names(folder.path()), [""; 0]);
    host.signal(libc::SIGTERM);
    assert_eq!(host.ended().code, Some(0));
}

#[test]
fn an_expired_invite_is_refused_by_the_host() {
    let (_host, invite) = host(&["--invite-life", "1s"]);
    #[expect(clippy::disallowed_methods, reason = "a test's own thread: the invite is to expire")]
    std::thread::sleep(Duration::from_millis(2_100));
    let args = ["join", &invite];
    clear(&args, &run(&args), FAILED, "expired");
}

#[test]
fn a_rendezvous_out_of_reach_is_tried_again_and_then_given_up() {
    // nothing listens on this port any more
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let nowhere = invite_to_nowhere(&url);
    let trying = [&["join", &*nowhere][..], &["host", "--mix", "never", "--rendezvous", &url]];
    let running = trying.map(|args| (args, Running::start(args)));
    for (args, running) in running {
        let ended = running.ended();
        clear(args, &ended, FAILED, &format!("{url} could not be reached"));
        let retries = ended.stderr.lines().filter(|line| line.contains("trying again")).count();
        assert_eq!(retries, 1, "a retry that fails alike is nothing new: {}", ended.stderr);
    }
    ends_with_a_line(
        &["host", "--rendezvous", "ftp://example.org"],
        FAILED,
        "not the address of a rendezvous",
    );
}

#[test]
fn what_cannot_be_opened_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let film =
        std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/media/bbb-720p25-5s.mp4")).unwrap();
    // pseudo-random bytes, the same in each run
    let noise: Vec<u8> = (0..5_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    std::fs::write(file("noise.mp4"), noise).unwrap();
    std::fs::write(file("torn.mp4"), &film[..film.len() / 3]).unwrap();
    std::fs::write(file("empty.mp4"), []).unwrap();
    std::fs::write(file("text.wav"), "RIFF but not really").unwrap();
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-f", "lavfi", "-i", "sine", "-t", "1", "-c:a", "aac", &file("tone.mp4")]);
    assert!(ffmpeg.status().expect("ffmpeg is installed").success());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let before = names(folder.path());
    for (args, words) in [
        (vec!["host", "--speak", "--source", &file("none.mp4")], "none.mp4: No such file"),
        (vec!["host", "--source", &file("none.mp4")], "none.mp4: No such file"),
        (
            vec!["demo", "--out", &file("out"), "--source", &file("noise.mp4")],
            "neither MP4, nor Y4M, nor WAV",
        ),
        (vec!["host", "--speak", "--source", &file("torn.mp4")], "torn.mp4: damaged MP4"),
        (vec!["host", "--speak", "--source", &file("empty.mp4")], "the file is empty"),
        (vec!["host", "--speak", "--source", &file("text.wav")], "text.wav"),
        (vec!["host", "--speak", "--source", &file("tone.mp4")], "tone.mp4: no video track"),
        (vec!["host", "--listen", &address], "is in use"),
        (vec!["rendezvous", "--listen", &address], "is in use"),
        (vec!["host", "--record", &file("nowhere/room.mp4")], "there is no such directory"),
        (vec!["host", "--snapshot", &file("nowhere/room.png")], "there is no such directory"),
        (vec!["host", "--json", &file("nowhere/room.json")], "there is no such directory"),
        (
            vec!["demo", "--out", &file("out"), "--json", &file("nowhere/x.json")],
            "there is no such directory",
        ),
        (vec!["host", "--record", &file("")], "it is a directory"),
        (vec!["host", "--snapshot", &file("")], "it is a directory"),
        (vec!["host", "--json", &file("")], "it is a directory"),
        (vec!["demo", "--out", &file("out"), "--json", &file("")], "it is a directory"),
        (vec!["demo", "--out", &file("empty.mp4/out")], "cannot make"),
        (vec!["demo", "--out", &file("empty.mp4")], "cannot make"),
    ] {
        ends_with_a_line(&args, FAILED, words);
    }
    assert_eq!(names(folder.path()), before);
}

#[test]
fn what_is_played_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let film = folder.path().join("viewer-0.mp4");
    let media = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/media/bbb-720p25-5s.mp4");
    let len = std::fs::copy(media, &film).unwrap();
    let (file, out) = (film.to_str().unwrap(), folder.path().to_str().unwrap());
    let again = format!("{out}/./viewer-0.mp4");
    for args in [
        ["host", "--speak", "--source", file, "--record", &*again],
        ["host", "--speak", "--source", file, "--json", &*again],
        ["demo", "--speakers=1", "--source", file, "--out", out],
    ] {
        ends_with_a_line(&args, TYPED_WRONGLY, "is a source: it can't be written to");
    }
    assert_eq!(std::fs::metadata(&film).unwrap().len(), len);
    assert_eq!(names(folder.path()), ["viewer-0.mp4"]);
}

#[test]
fn a_room_without_a_program_leaves_files_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(file("yesterday.mp4"), "a film").unwrap();
    let open = ["host", "--listen", "127.0.0.1:0", "--mix", "never", "--duration", "200ms"];
    for recording in ["new.mp4", "yesterday.mp4"] {
        let ended = run(&[&open[..], &["--record", &file(recording)]].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stderr.contains("nothing was received"), "{}", ended.stderr);
    }
    assert_eq!(names(folder.path()), ["yesterday.mp4"]);
    assert_eq!(std::fs::read(file("yesterday.mp4")).unwrap(), b"a film");

    // a missing picture doesn't prevent the report
    let ended = run(&[&open[..], &["--snapshot", &file("new.png"), "--json", &file("new.json")]].concat());
    assert_eq!(ended.code, Some(FAILED), "{}", ended.stderr);
    assert!(
        ended.stderr.ends_with("plenary: no picture was received: no snapshot was written\n"),
        "{}",
        ended.stderr
    );
    assert_eq!(names(folder.path()), ["new.json", "yesterday.mp4"]);
}

#[test]
fn what_has_no_effect_is_said() {
    let (_host, invite) = host(&["--out", "elsewhere"]);
    let unused = ["--program", "--bitrate", "--mixers", "--k1", "--listen"];
    let values = ["640x360@30", "500kbit", "1", "3", "127.0.0.1"];
    let flags: Vec<&str> = unused.iter().zip(&values).flat_map(|(flag, value)| [*flag, *value]).collect();
    let ended = run(&[&["join", &invite, "--view", "--duration", "200ms"], &flags[..]].concat());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for flag in unused {
        assert!(
            ended.stderr.contains(&format!("{flag} has no effect here: only the host sets it\n")),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn the_examples_in_each_help_can_be_typed() {
    let nowhere = invite_to_nowhere("http://127.0.0.1:9");
    // plus a flag whose value fails once all others are parsed
    for (command, more) in [
        ("demo", "--json /nowhere/report.json"),
        ("host", "--json /nowhere/report.json"),
        ("join", "--json /nowhere/report.json"),
        ("mixer", "--json /nowhere/report.json"),
        ("rendezvous", "--tls-cert /nowhere.pem --tls-key /nowhere.pem"),
    ] {
        for typed in examples(command, &nowhere) {
            let args: Vec<&str> = typed.iter().map(String::as_str).chain(more.split_whitespace()).collect();
            ends_with_a_line(&args, FAILED, "");
        }
    }
    for command in ["probe", "sim", "bench"] {
        for typed in examples(command, &nowhere) {
            let ended = run(&typed.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(ended.code, Some(0), "{typed:?}: {}", ended.stderr);
            serde_json::from_str::<serde_json::Value>(&ended.stdout).unwrap();
        }
    }
}

/// Returns the arguments of each example in a command's help, without the program's name.
fn examples(command: &str, invite: &str) -> Vec<Vec<String>> {
    let help = run(&[command, "--help"]);
    assert_eq!((help.code, &*help.stderr), (Some(0), ""));
    let (_, examples) = help.stdout.split_once("Example:\n").expect("an example");
    let arguments = |line: &str| {
        let words = line.replace("\"$INVITE\"", invite);
        let mut words = words.split_whitespace().map(str::to_owned);
        assert_eq!(words.next().as_deref(), Some("plenary"), "{line}");
        words.collect()
    };
    examples.lines().map(arguments).collect()
}
