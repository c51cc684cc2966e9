//! Who may come in by name, and whether a recording is what a room's mixers made.

use std::path::Path;

use plenary_proto::identity::h264::SEI_UUID;

use crate::running::{Ended, Running, run};

/// A host that speaks and mixes, with these further arguments. Returns it with its invite and its room's key.
fn host(more: &[&str]) -> (Running, String, String) {
    let small = ["--speaker-size", "160x90@15", "--program", "320x180@15"];
    let speaks = ["host", "--speak", "--mix", "always", "--listen", "127.0.0.1:0", "--name", "Ada"];
    let host = Running::start_listening(&[&speaks[..], &small, more].concat());
    let invite = host.stdout.wait("invite", |line| line.contains('#').then(|| line.to_owned()));
    let key = host.stderr.wait("key", |line| Some(line.strip_prefix("the room's key: ")?.to_owned()));
    (host, invite, key)
}

fn ends(running: Running) {
    running.signal(libc::SIGTERM);
    assert_eq!(running.ended().code, Some(0));
}

#[test]
fn a_listed_key_comes_in_under_its_signed_name_and_another_one_waits() {
    let folder = tempfile::tempdir().unwrap();
    let [key, members] = ["zoe.key", "members.txt"].map(|file| folder.path().join(file));
    let [key, members] = [&key, &members].map(|file| file.to_str().unwrap());
    let Ended { code, stdout: line, .. } = run(&["identity", key, "--name", "Zoe"]);
    assert_eq!(code, Some(0));
    assert!(line.len() > 64 + 1 + 128 && line.ends_with(" Zoe\n"), "{line}");
    assert_eq!(run(&["identity", key]).stdout, line, "the name is kept");
    let bare = folder.path().join("bare.key");
    assert_eq!(run(&["identity", bare.to_str().unwrap()]).stdout.trim_end().len(), 64);

    std::fs::write(members, line.replace(" Zoe", " Zoë")).unwrap();
    let Ended { code, stderr, .. } =
        run(&["host", "--speak", "--listen", "127.0.0.1:0", "--only-members", members]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("line 1") && stderr.contains("isn't signed"), "{stderr}");

    std::fs::write(members, "#".repeat(2 << 20)).unwrap();
    let Ended { code, stderr, .. } = run(&["host", "--only-members", members]);
    assert!(code == Some(2) && stderr.contains("at most"), "{stderr}");
    let Ended { code, stderr, .. } = run(&["identity", folder.path().to_str().unwrap()]);
    assert!(code == Some(1) && stderr.contains("directory"), "{stderr}");

    std::fs::write(members, format!("# the crew\n{line}")).unwrap();
    let (host, invite, _) = host(&["--only-members", members]);
    let other = Running::start(&["join", &invite, "--view", "--name", "Zoe"]);
    other.stderr.wait("word on the lobby", |line| line.contains("lobby").then_some(()));
    let zoe = Running::start(&["join", &invite, "--view", "--identity", key]);
    zoe.stderr.wait("place in the room", |line| line.starts_with("in the room as ").then_some(()));
    host.stderr.wait("the other one's knock", |line| line.contains("waits in the lobby").then_some(()));
    assert!(!other.stderr.so_far().iter().any(|line| line.starts_with("in the room as ")));
    other.kill();
    [zoe, host].into_iter().for_each(ends);
}

/// Flips a bit of a picture in the middle of a recording.
fn damage(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    // a picture ends in front of the next one's length, and the first three bytes of its identity
    let identities: Vec<_> = bytes
        .windows(SEI_UUID.len())
        .enumerate()
        .filter(|(_, at)| *at == SEI_UUID)
        .map(|(at, _)| at)
        .collect();
    let is_in_one_fragment = |pair: &&[usize]| pair[1] - pair[0] < 400;
    let ends: Vec<_> = identities.windows(2).filter(is_in_one_fragment).map(|pair| pair[1] - 8).collect();
    bytes[ends[ends.len() / 2]] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

/// Returns kind, begin and end of each box at the top level of an MP4 file.
fn boxes(bytes: &[u8]) -> Vec<(&[u8], usize, usize)> {
    let (mut boxes, mut at) = (Vec::new(), 0);
    while let Some([a, b, c, d]) = bytes.get(at..at + 4) {
        let end = at + u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        boxes.push((&bytes[at + 4..at + 8], at, end));
        at = end;
    }
    boxes
}

#[test]
fn a_recording_is_genuine_until_a_bit_of_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let recording = folder.path().join("room.mp4");
    let file = recording.to_str().unwrap();
    let (host, invite, key) = host(&[]);
    let viewer = Running::start(&["join", &invite, "--view", "--record", file, "--duration", "6s"]);
    assert_eq!(viewer.ended().code, Some(0));
    let verify = |room: &str| run(&["verify", file, "--room", room]);
    for room in [&key, &invite] {
        let Ended { code, stdout, stderr } = verify(room);
        assert_eq!(code, Some(0), "{stderr}");
        assert!(stdout.contains("frames of \"Ada\"") && stderr.contains("genuine"), "{stdout}{stderr}");
    }
    let other = verify(&"0".repeat(64));
    assert!(
        other.code == Some(1) && other.stderr.contains("isn't signed by this room's host"),
        "{}",
        other.stderr
    );
    let wrong = verify("tulip");
    assert!(wrong.code == Some(2) && wrong.stderr.contains("64 hex digits"), "{}", wrong.stderr);
    let whole = std::fs::read(&recording).unwrap();
    let fragments: Vec<_> = boxes(&whole).into_iter().filter(|(kind, ..)| *kind == b"moof").collect();
    let (begin, middle, end) =
        (fragments[1].1, fragments[fragments.len() / 2].1, fragments[fragments.len() - 1].1);
    let unreadable = [&[0, 0, 0, 24][..], b"moof", &[0xff; 16]].concat();
    let cases = [
        ("cut off", whole[..end + 20].to_vec(), 0, "genuine"),
        ("a fragment again", [&whole[..], &whole[begin..middle]].concat(), 1, "forged"),
        (
            "a part that isn't read",
            [&whole[..middle], &unreadable, &whole[middle..]].concat(),
            1,
            "holds more",
        ),
        (
            "many boxes",
            [&whole[..middle], &b"\0\0\0\x08free".repeat(1_000_000), &whole[middle..]].concat(),
            1,
            "holds more",
        ),
    ];
    for (case, bytes, expected, says) in cases {
        std::fs::write(&recording, bytes).unwrap();
        let Ended { code, stderr, .. } = verify(&key);
        assert!(code == Some(expected) && stderr.contains(says), "{case}: {code:?} {stderr}");
    }
    std::fs::write(&recording, &whole[..end + 20]).unwrap();
    let Ended { code, stderr, .. } = run(&["repair", file]);
    assert!(code == Some(0) && stderr.contains("cut off 20 bytes of a torn end"), "{stderr}");
    let Ended { code, stderr, .. } = verify(&key);
    assert!(code == Some(0) && stderr.contains("genuine"), "a repaired recording: {stderr}");
    std::fs::write(&recording, whole).unwrap();
    damage(&recording);
    let Ended { code, stderr, .. } = verify(&key);
    assert!(code == Some(1) && stderr.contains("forged: 1 frame"), "{stderr}");
    ends(host);
}
