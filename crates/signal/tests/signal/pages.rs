//! Pages that connect: served pages and listed origins do, other origins don't.

use plenary_proto::rendezvous::FromRendezvous;
use plenary_signal::{Authority, Limits, Refusal, Rendezvous, RendezvousConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{ANY_PORT, rendezvous, within};

/// Sends a request with these lines; returns the answer's head, with its names in lower case, and its body.
async fn ask(rendezvous: &Rendezvous, request: &str, lines: &[String]) -> (String, Vec<u8>) {
    let mut tcp = TcpStream::connect(rendezvous.local_addr()).await.unwrap();
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    tcp.write_all(format!("{request} HTTP/1.1\r\nContent-Length: 0\r\n{lines}\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = Vec::new();
    let end = loop {
        if let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end;
        }
        assert_ne!(within(tcp.read_buf(&mut answer)).await.unwrap(), 0, "{answer:?}");
    };
    let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase();
    (head, answer[end + 4..].to_vec())
}

fn websocket() -> Vec<String> {
    let key = "Sec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4eA==";
    ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", key]
        .map(str::to_owned)
        .to_vec()
}

/// Asks for a websocket and for a connection by requests; returns whether a page with that origin gets both or none.
async fn admits(rendezvous: &Rendezvous, host: &str, origins: &[&str]) -> bool {
    let mut named = vec![format!("Host: {host}")];
    named.extend(origins.iter().map(|origin| format!("Origin: {origin}")));
    let (upgraded, _) = ask(rendezvous, "GET /signal", &[named.clone(), websocket()].concat()).await;
    let (opened, _) = ask(rendezvous, "POST /signal/fetch", &named).await;
    let statuses = [&upgraded, &opened].map(|head| head.split(' ').nth(1).unwrap().to_owned());
    match statuses.each_ref().map(|status| &**status) {
        ["101", "201"] => true,
        ["403", "403"] => false,
        _ => panic!("{host} {origins:?}: {statuses:?}"),
    }
}

fn bind(embed: &[&str], advertised: Option<&str>) -> Rendezvous {
    let config = RendezvousConfig {
        embed: embed.iter().map(|origin| origin.parse().unwrap()).collect(),
        advertised: advertised.map(|name| name.parse::<Authority>().unwrap()),
        ..RendezvousConfig::default()
    };
    Rendezvous::bind(ANY_PORT, config).unwrap()
}

#[tokio::test]
async fn a_page_connects_to_the_server_it_came_from_and_another_one_does_not() {
    let rendezvous = bind(&[], None);
    for (host, origins, expected) in [
        ("example.org:7420", &["http://example.org:7420"][..], true),
        ("Example.org:7420", &["http://example.org:7420"], true),
        // as behind a proxy that speaks https, and passes the host
        ("example.org", &["https://example.org"], true),
        ("example.org:443", &["https://example.org"], true),
        ("[2001:db8::1]:7420", &["http://[2001:db8::1]:7420"], true),
        // natives
        ("attacker.example", &[], true),
        ("example.org:7420", &["https://evil.example"], false),
        ("example.org:7420", &["http://example.org"], false),
        ("example.org:7420", &["http://example.org:7421"], false),
        ("example.org", &["http://example.org.evil.example"], false),
        ("example.org", &["null"], false),
        ("example.org", &[""], false),
        ("example.org", &["*"], false),
        ("example.org", &["http://example.org/", "http://evil.example"], false),
        ("", &["http://example.org"], false),
    ] {
        assert_eq!(admits(&rendezvous, host, origins).await, expected, "{host} {origins:?}");
    }
    // two hosts leave open which one was meant
    let hosts = ["Host: example.org", "Host: evil.example", "Origin: http://evil.example"].map(str::to_owned);
    let (head, _) = ask(&rendezvous, "POST /signal/fetch", &hosts).await;
    assert!(head.starts_with("http/1.1 4"), "{head}");
}

#[tokio::test]
async fn pages_that_the_operator_lists_connect_from_elsewhere() {
    let rendezvous = bind(&["https://app.example", "tauri://localhost"], None);
    for (origin, expected) in [
        ("https://app.example", true),
        ("https://app.example:443", true),
        ("tauri://localhost", true),
        ("http://app.example", false),
        ("https://sub.app.example", false),
        ("http://localhost", false),
    ] {
        assert_eq!(admits(&rendezvous, "192.0.2.1:7420", &[origin]).await, expected, "{origin}");
    }
    let open = bind(&["*"], None);
    assert!(admits(&open, "192.0.2.1:7420", &["https://evil.example"]).await);
    assert!(!admits(&open, "192.0.2.1:7420", &["null"]).await, "pages without an origin");
}

#[tokio::test]
async fn a_server_that_knows_its_name_lets_no_page_in_under_another_one() {
    let rendezvous = bind(&[], Some("rooms.example"));
    let port = rendezvous.local_addr().port();
    let own = format!("http://rooms.example:{port}");
    let by_address = format!("127.0.0.1:{port}");
    for (host, origin, expected) in [
        (&*format!("rooms.example:{port}"), &*own, true),
        // a proxy passes its own name for the server
        (&by_address, &own, true),
        (&by_address, &format!("http://{by_address}"), true),
        ("localhost:80", "http://localhost", true),
        // DNS rebinding: the name of another leads here
        ("evil.example:7420", "http://evil.example:7420", false),
        ("rooms.example:9", "http://rooms.example:9", true),
        (&by_address, "http://rooms.example:9", false),
    ] {
        assert_eq!(admits(&rendezvous, host, &[origin]).await, expected, "{host} {origin}");
    }
    let behind = bind(&[], Some("rooms.example:443"));
    assert!(admits(&behind, "127.0.0.1:7420", &["https://rooms.example"]).await);
}

#[tokio::test]
async fn a_page_that_may_not_connect_can_read_why() {
    let rendezvous = rendezvous(Limits::default()).await;
    let lines = ["Host: 192.0.2.1", "Origin: https://app.example"].map(str::to_owned);
    let (head, body) = ask(&rendezvous, "GET /signal", &lines).await;
    assert!(head.starts_with("http/1.1 403") && head.contains("access-control-allow-origin: *"), "{head}");
    assert_eq!(FromRendezvous::from_bytes(&body), Ok(FromRendezvous::Refused(Refusal::OtherOrigin)));
    // the page itself is for all
    let (head, _) = ask(&rendezvous, "GET /", &lines).await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
}
