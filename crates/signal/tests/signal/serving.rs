//! The rendezvous as a web server: its port, its pages, its shutdown.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use plenary_signal::{
    Limits, Refusal, Rendezvous, RendezvousConfig, RendezvousError, Signal, SignalError, SignalEvent,
    WebsocketConfig,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{
    ANY_PORT, RawPeer, Received, config, door, doors, key, next, rendezvous, room, root, up, within,
};

#[tokio::test]
async fn a_port_in_use_is_named() {
    let first = rendezvous(Limits::default()).await;
    let address = first.local_addr();
    let second = Rendezvous::bind(address, RendezvousConfig::default());
    let error = second.map(|_| ()).unwrap_err();
    assert!(matches!(error, RendezvousError::AddressInUse { address: named } if named == address));
    assert_eq!(error.to_string(), format!("{address} is in use: another program listens there"));
    first.close().await;
    Rendezvous::bind(address, RendezvousConfig::default()).unwrap();
}

#[tokio::test]
async fn an_address_of_another_machine_cannot_be_listened_on() {
    // TEST-NET-1, RFC 5737
    let elsewhere = "192.0.2.1:0".parse().unwrap();
    let error = Rendezvous::bind(elsewhere, RendezvousConfig::default()).map(|_| ()).unwrap_err();
    assert!(matches!(error, RendezvousError::Bind { .. }), "{error}");
}

async fn ask(rendezvous: &Rendezvous, request: &str) -> String {
    let mut tcp = TcpStream::connect(rendezvous.local_addr()).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within(tcp.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn plain_requests_get_plain_answers() {
    let plain = rendezvous(Limits::default()).await;
    let page = Router::new().route("/", get("a page")).route("/app.js", get("a script"));
    let config = RendezvousConfig { page: Some(page), ..RendezvousConfig::default() };
    let paged = Rendezvous::bind(ANY_PORT, config).unwrap();
    for (rendezvous, request, status, body) in [
        (&plain, "GET /", "200", "plenary rendezvous"),
        (&plain, "GET /nothing", "404", ""),
        (&plain, "GET /signal", "426", "websocket"),
        (&plain, "POST /signal", "405", ""),
        (&plain, "nonsense", "400", ""),
        (&paged, "GET /", "200", "a page"),
        (&paged, "GET /app.js", "200", "a script"),
        (&paged, "GET /signal", "426", "websocket"),
    ] {
        let answer = ask(rendezvous, request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request}: {answer}");
        assert!(answer.to_lowercase().contains(body), "{request}: {answer}");
    }
}

#[tokio::test]
async fn another_web_server_can_serve_the_same_rooms() {
    let rendezvous = rendezvous(Limits::default()).await;
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let elsewhere = format!("http://{}", listener.local_addr().unwrap());
    let routes = rendezvous.router().nest("/below/a/path", rendezvous.router());
    let serving = tokio::spawn(axum::serve(listener, routes).into_future());
    let host = rendezvous.attach_host(room(), root().id(), doors()).unwrap();
    assert_eq!(next(&host).await, SignalEvent::Up);
    for (number, path) in [(2, ""), (3, "/"), (4, "/below/a/path"), (5, "/below/a/path/")] {
        let url = format!("{elsewhere}{path}");
        let guest = up(WebsocketConfig::new(url, room(), key(number), door())).await;
        guest.send(plenary_signal::Address::Host, "hello".into()).unwrap();
        assert!(matches!(next(&host).await, SignalEvent::Envelope { .. }));
    }
    serving.abort();
}

#[tokio::test]
async fn closing_leaves_no_task_and_no_connection_behind() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let rendezvous = rendezvous(Limits::default()).await;
    let address = rendezvous.local_addr();
    let host = rendezvous.attach_host(room(), root().id(), doors()).unwrap();
    assert_eq!(next(&host).await, SignalEvent::Up);
    let guests = [up(config(&rendezvous, 2)).await, up(config(&rendezvous, 3)).await];
    let mut raw = RawPeer::enter(&rendezvous, 4).await;
    let mut undecided = RawPeer::open(&rendezvous).await;
    undecided.challenge().await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    // this request is answered, so the earlier connections have been accepted
    assert!(ask(&rendezvous, "GET /").await.starts_with("HTTP/1.1 200"));

    let (closed, last_words) = tokio::join!(within(rendezvous.close()), raw.received());
    assert_eq!((closed, last_words), ((), Received::Refused(Refusal::Closing)));
    assert_eq!(next(&host).await, SignalEvent::Ended(SignalError::Refused(Refusal::Closing)));
    assert_eq!(undecided.received().await, Received::Refused(Refusal::Closing));
    let mut nothing = Vec::new();
    let _ = within(silent.read_to_end(&mut nothing)).await;
    assert!(nothing.is_empty());
    assert!(TcpStream::connect(address).await.is_err());
    for guest in guests {
        within(guest.close()).await;
    }
    assert_eq!(tasks(), before);
}

#[tokio::test]
async fn a_dropped_rendezvous_and_dropped_peers_leave_nothing_behind_either() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let rendezvous = rendezvous(Limits::default()).await;
    let host = up(config(&rendezvous, 1)).await;
    let guest = up(config(&rendezvous, 2)).await;
    drop((rendezvous, host, guest));
    within(async {
        while tasks() > before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
