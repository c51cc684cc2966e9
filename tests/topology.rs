//! The live drawing of a room's tree, as its host serves it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::running::{Running, wait_until};

/// Requests a path of an origin; returns the whole response.
fn get(origin: &str, path: &str) -> String {
    let host = origin.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

/// Waits for the address of the drawing.
fn drawn_at(running: &Running) -> String {
    running.stderr.wait("address of the drawing", |line| {
        Some(line[line.find("http://").filter(|_| line.contains("/room?token="))?..].to_owned())
    })
}

#[test]
fn a_host_draws_its_tree_only_for_those_who_have_the_token() {
    let args = [
        "host",
        "--speak",
        "--mix",
        "always",
        "--listen",
        "127.0.0.1:0",
        "--name",
        "Ada",
        "--title",
        "A & B",
    ];
    let small = ["--speaker-size", "160x90@15", "--program", "320x180@15"];
    let host = Running::start(&[&args[..], &small].concat());
    let address = drawn_at(&host);
    let invite = host.stdout.wait("invite", |line| line.contains('#').then(|| line.to_owned()));
    let zoe = Running::start(&["join", &invite, "--mix", "never", "--name", "<i>Zoe"]);
    zoe.stderr.wait("its parent", |line| line.contains("fed by ").then_some(()));

    let (origin, token) = address.split_once("/room?token=").unwrap();
    assert!(get(origin, &format!("/room?token={token}")).contains("/room/live.js"));
    assert!(get(origin, "/room/live.js").contains("/room/drawing"));
    let drawing = || get(origin, &format!("/room/drawing?token={token}"));
    wait_until("the viewer below its parent", || drawing().contains("<path"));
    let drawn = drawing();
    assert!(
        drawn.contains("&lt;i&gt;Zoe") && drawn.contains("A &amp; B: 1 on stage") && !drawn.contains("<i>"),
        "{drawn}"
    );
    assert!(
        drawn.contains("<svg") && drawn.contains("&quot;Ada&quot;") && drawn.contains(": mixes</title>"),
        "{drawn}"
    );
    assert_eq!(drawn.matches("<path").count(), 1, "{drawn}");
    for wrong in ["", "?token=", &format!("?token={}", "A".repeat(token.len()))] {
        for path in ["/room", "/room/drawing"] {
            let refused = get(origin, &format!("{path}{wrong}"));
            assert!(refused.starts_with("HTTP/1.1 403") && !refused.contains("Ada"), "{refused}");
        }
    }
}

#[test]
fn a_demo_draws_its_tree_and_lets_browsers_in_if_the_build_has_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let args =
        ["demo", "--speakers", "1", "--candidates", "0", "--viewers", "1", "--duration", "60s", "--out"];
    let small = ["--speaker-size", "160x90@15", "--program", "320x180@15"];
    let demo = Running::start(&[&args[..], &[folder.path().to_str().unwrap()], &small].concat());
    let address = drawn_at(&demo);
    let (origin, token) = address.split_once("/room?token=").unwrap();
    let drawing = || get(origin, &format!("/room/drawing?token={token}"));
    wait_until("the viewer below its parent", || drawing().contains("<path"));
    let has_page = get(origin, "/").contains("<script type=\"module\" src=\"page.js\"");
    demo.signal(libc::SIGINT);
    let ended = demo.ended();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(
        ended.stderr.contains("join it in a browser: http://127.0.0.1:"),
        has_page,
        "{}",
        ended.stderr
    );
}
