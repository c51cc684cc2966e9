//! A host that governs its room by lines on standard input.

use crate::running::{Ended, Running, wait_until};

/// Starts a viewer of this name.
fn viewer(invite: &str, name: &str) -> Running {
    Running::start(&["join", invite, "--view", "--mix", "never", "--name", name])
}

fn is_in(viewer: &Running) {
    viewer.stderr.wait("place in the room", |line| line.starts_with("in the room as ").then_some(()));
}

/// Waits for a line with this part.
fn answers(peer: &Running, part: &str) {
    peer.stderr.wait(part, |line| line.contains(part).then_some(()));
}

/// Checks that these ended because the host ended the room.
fn ended_by_the_host<const N: usize>(peers: [Running; N]) {
    for peer in peers {
        let Ended { code, stderr, .. } = peer.ended();
        assert_eq!(code, Some(0), "{stderr}");
        assert!(stderr.contains("the host ended the room"), "{stderr}");
    }
}

#[test]
fn a_host_lets_in_turns_away_removes_and_ends_its_room_by_lines() {
    let small = ["--speaker-size", "160x90@15", "--program", "320x180@15"];
    let speaks =
        ["host", "--speak", "--mix", "always", "--listen", "127.0.0.1:0", "--lobby", "--name", "Ada"];
    let mut host = Running::start_listening(&[&speaks[..], &small].concat());
    let invite = host.stdout.wait("invite", |line| line.contains('#').then(|| line.to_owned()));

    let zoe = viewer(&invite, "Zoe");
    answers(&host, "\"Zoe\" (");
    zoe.stderr.wait("word on the lobby", |line| line.contains("lobby").then_some(()));
    host.say("/admit Zoe");
    answers(&host, "Zoe is let in");
    is_in(&zoe);

    let yan = viewer(&invite, "Yan");
    answers(&host, "\"Yan\" (");
    host.say("/deny Yan");
    let Ended { code, stderr, .. } = yan.ended();
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("the host has not let you in"), "{stderr}");

    host.say("/who");
    answers(&host, "\"Zoe\"  watches for");
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
    // a viewer without links can't read the new key before it asks again, and the room ends sooner
    answers(&xia, "fed by ");
    host.say("/invite");
    let newer = host
        .stdout
        .wait("new invite", |line| (line.contains('#') && line != invite).then(|| line.to_owned()));
    let tess = viewer(&newer, "Tess");
    answers(&tess, "fed by ");
    host.say("/end");
    ended_by_the_host([host, tess, xia]);
}

#[test]
fn a_promoted_viewer_speaks_by_its_own_word_and_a_new_host_governs() {
    let small = ["--speaker-size", "160x90@15", "--program", "320x180@15"];
    let host = ["host", "--speak", "--mix", "always", "--listen", "127.0.0.1:0", "--name", "Ada"];
    let mut ada = Running::start_listening(&[&host[..], &small].concat());
    let invite = ada.stdout.wait("invite", |line| line.contains('#').then(|| line.to_owned()));
    let joins = |name: &'static str| ["join", &invite, "--mix", "never", "--name", name];
    let mut bob = Running::start_listening(&[&joins("Bob")[..], &["--view"], &small[..2]].concat());
    let zoe = Running::start(&[&joins("Zoe")[..], &["--view"]].concat());
    is_in(&bob);
    is_in(&zoe);
    bob.say("/remove Zoe");
    answers(&bob, "only the host");

    ada.say("/hand-over Bob");
    answers(&ada, "only a peer on stage");
    ada.say("/promote Bob");
    answers(&ada, "Bob is offered the floor, and has to accept");
    answers(&bob, "/speak takes it");
    bob.say("/speak");
    answers(&bob, "on stage: picture and sound are sent");
    answers(&ada, "Bob speaks");
    ada.say("/hand-over Bob");
    answers(&ada, "Bob is the host now");
    answers(&zoe, "\"Bob\"");
    answers(&zoe, "is the host now");
    answers(&bob, "you are the host now");
    ada.say("/remove Zoe");
    answers(&ada, "only the host");
    wait_until("the viewer's report to its new host", || {
        bob.say("/who");
        bob.stderr.so_far().iter().any(|line| line.contains("\"Zoe\"  watches for"))
    });
    bob.say("/remove Zoe");
    answers(&bob, "Zoe is removed");
    assert_eq!(zoe.ended().code, Some(1));

    ada.say("/hand-over Ada");
    answers(&ada, "you are the host again");
    ada.say("/end");
    ended_by_the_host([bob, ada]);
}

#[test]
fn a_peer_that_was_started_to_speak_takes_an_offered_floor_by_itself() {
    let small = ["--speaker-size", "160x90@15", "--program", "320x180@15"];
    let host = ["host", "--speak", "--mix", "always", "--listen", "127.0.0.1:0", "--name", "Ada"];
    let mut ada = Running::start_listening(&[&host[..], &small].concat());
    let invite = ada.stdout.wait("invite", |line| line.contains('#').then(|| line.to_owned()));
    let joins = ["join", &invite, "--speak", "--view", "--mix", "never", "--name", "Cai"];
    let cai = Running::start(&[&joins[..], &small[..2]].concat());
    is_in(&cai);
    ada.say("/demote Cai");
    answers(&ada, "Cai watches");
    wait_until("the viewer's report to the host", || {
        ada.say("/who");
        ada.stderr.so_far().iter().any(|line| line.contains("\"Cai\"  watches for"))
    });
    ada.say("/promote Cai");
    answers(&ada, "Cai speaks");
    ada.say("/end");
    for peer in [ada, cai] {
        let Ended { code, stderr, .. } = peer.ended();
        assert_eq!(code, Some(0), "{stderr}");
    }
}

#[test]
fn a_host_is_told_that_a_list_of_members_is_longer_than_what_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("members");
    let keys: String = (0..1001).map(|number| format!("{number:064x}\n")).collect();
    std::fs::write(&file, keys).unwrap();
    let members = ["--members", file.to_str().unwrap()];
    let host = ["host", "--listen", "127.0.0.1:0", "--mix", "never", "--duration", "1s"];
    let Ended { code, stderr, .. } = Running::start(&[&host[..], &members].concat()).ended();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("has 1001 keys: only the first 1000 come in without waiting"), "{stderr}");
}
