//! Pages that a host and a rendezvous let in, as whole processes.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::running::Running;

/// Requests a connection by requests as a page of that origin does; returns the status.
fn opens(address: &str, origin: &str) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(
        stream,
        "POST /signal/fetch HTTP/1.1\r\nHost: {address}\r\nOrigin: {origin}\r\nContent-Length: 0\r\n\r\n"
    )
    .unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    String::from_utf8_lossy(&status[9..]).parse().unwrap()
}

/// Waits for the address at which a process listens.
fn listens(running: &Running) -> String {
    let after = |line: &str| {
        let address = line.split_once("http://")?.1;
        Some(address.split(['/', '#']).next()?.to_owned())
    };
    running.stderr.wait("address", after)
}

#[test]
fn a_host_and_a_rendezvous_let_in_the_pages_that_they_are_told_of() {
    let listen =
        ["--listen", "127.0.0.1:0", "--embed", "https://app.example", "--embed", "tauri://localhost"];
    let page_at = ["--mix", "never", "--page-at", "https://static.example/room/"];
    let host = Running::start(&[&["host"][..], &listen, &page_at].concat());
    let rendezvous = Running::start(&[&["rendezvous"][..], &listen].concat());
    for (running, static_page) in [(&host, 201), (&rendezvous, 403)] {
        let address = listens(running);
        for (origin, status) in [
            ("https://app.example", 201),
            ("tauri://localhost", 201),
            (&format!("http://{address}"), 201),
            ("https://static.example", static_page),
            ("https://evil.example", 403),
        ] {
            assert_eq!(opens(&address, origin), status, "{origin}");
        }
        running.stderr.wait("a line on the refusal", |line| {
            (line.contains("evil.example") || line.contains("static.example"))
                .then(|| assert!(line.contains("--embed"), "{line}"))
        });
    }
}

#[test]
fn a_rendezvous_that_is_told_its_name_lets_no_page_in_under_another_one() {
    let listen = ["rendezvous", "--listen", "127.0.0.1:0", "--advertise", "rooms.example:443"];
    let rendezvous = Running::start(&listen);
    let address = rendezvous.stderr.wait("address", |line| {
        let address = line.split_once("address=")?.1;
        Some(address.split_whitespace().next()?.to_owned())
    });
    assert_eq!(opens(&address, "https://rooms.example"), 201);
    assert_eq!(opens(&address, "https://evil.example"), 403);
}
