//! A host that governs its room by lines on standard input.

use crate::running::{Ended, Running};

/// Starts a viewer of this name.
fn viewer(invite: &str, name: &str) -> Running {
    Running::start(&["join", invite, "--view", "--mix", "never", "--name", name])
}

fn is_in(viewer: &Running) {
    viewer.stderr.wait("place in the room", |line| line.starts_with("in the room as ").then_some(()));
}

#[test]
fn a_host_lets_in_turns_away_removes_and_ends_its_room_by_lines() {
    let small = ["--speaker-size", "160x90@15", "--program", "320x180@15"];
    let speaks =
        ["host", "--speak", "--mix", "always", "--listen", "127.0.0.1:0", "--lobby", "--name", "Ada"];
    let mut host = Running::start_listening(&[&speaks[..], &small].concat());
    let invite = host.stdout.wait("invite", |line| line.contains('#').then(|| line.to_owned()));
    let answers = |host: &Running, part: &str| {
        host.stderr.wait(part, |line| line.contains(part).then(|| line.to_owned()));
    };

    let zoe = viewer(&invite, "Zoe");
    answers(&host, "Zoe (");
    zoe.stderr.wait("word on the lobby", |line| line.contains("lobby").then_some(()));
    host.say("/admit Zoe");
    answers(&host, "Zoe is let in");
    is_in(&zoe);

    let yan = viewer(&invite, "Yan");
    answers(&host, "Yan (");
    host.say("/deny Yan");
    let Ended { code, stderr, .. } = yan.ended();
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("the host has not let you in"), "{stderr}");

    host.say("/who");
    answers(&host, "Zoe  watches for");
    host.say("/remove Nobody");
    answers(&host, "nobody here is called Nobody");
    host.say("nonsense");
    answers(&host, "no such command");
    host.say("/remove Zoe");
    let Ended { code, stderr, .. } = zoe.ended();
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.trim_end().ends_with("removed by the host"), "{stderr}");

    host.say("/lobby off");
    answers(&host, "newcomers come in at once");
    let xia = viewer(&invite, "Xia");
    is_in(&xia);
    host.say("/invite");
    let newer = host
        .stdout
        .wait("new invite", |line| (line.contains('#') && line != invite).then(|| line.to_owned()));
    let tess = viewer(&newer, "Tess");
    is_in(&tess);
    host.say("/end");
    for peer in [xia, tess, host] {
        let Ended { code, stderr, .. } = peer.ended();
        assert_eq!(code, Some(0), "{stderr}");
        assert!(stderr.contains("the host ended the room"), "{stderr}");
    }
}
