//! Peers without a rendezvous: unreachable, lost, or restarted.

use std::time::Duration;

use plenary_signal::{
    Address, Limits, Outage, Refusal, Rendezvous, RendezvousConfig, Signal, SignalError, SignalEvent,
    WebsocketConfig, WebsocketSignal,
};
use tokio::net::TcpListener;

use crate::support::{
    ANY_PORT, Switch, config, door, doors, envelope, key, next, peer, rendezvous, rendezvous_at, room, root,
    until_undeliverable, until_up, up, within,
};

#[tokio::test]
async fn an_unreachable_rendezvous_is_tried_again_and_then_given_up() {
    // a port that was free a moment ago, and a port that accepts connections and stays silent
    let refusing = TcpListener::bind(ANY_PORT).await.unwrap().local_addr().unwrap();
    let mute = TcpListener::bind(ANY_PORT).await.unwrap();
    for (address, tries_min) in [(refusing, 3), (mute.local_addr().unwrap(), 1)] {
        let url = format!("http://{address}");
        let mut config = WebsocketConfig::new(url.clone(), room(), key(2), door());
        config.patience = Duration::from_secs(2);
        let signal = WebsocketSignal::connect(config).unwrap();
        signal.send(Address::Host, "let me in".into()).unwrap();
        let mut retries = 0;
        let ending = async {
            loop {
                match next(&signal).await {
                    SignalEvent::Down { .. } => retries += 1,
                    SignalEvent::Ended(error) => return error,
                    other => panic!("{other:?}"),
                }
            }
        };
        let ended = within(ending).await;
        let SignalError::Unreachable { url: named, tries, last } = ended else { panic!("{ended:?}") };
        assert_eq!((named, tries), (url, retries + 1));
        assert!(tries >= tries_min, "{tries}");
        assert!(matches!(last, Outage::Connect(_) | Outage::Silent(_)), "{last:?}");
        assert_eq!(within(signal.next()).await, None);
    }
}

#[tokio::test]
async fn addresses_that_cannot_be_a_rendezvous_are_refused_at_once() {
    for url in [
        "",
        "host",
        "ftp://host",
        "ws://host",
        "http://",
        "http://host/?path",
        "http://host/?query",
        "http://user@host",
        "http://host:99999",
        "http:// host",
    ] {
        let refused = WebsocketSignal::connect(WebsocketConfig::new(url, room(), key(2), door()));
        let Err(SignalError::BadUrl { url: named, .. }) = refused else { panic!("{url} was taken") };
        assert_eq!(named, url);
    }
}

#[tokio::test]
async fn a_web_server_that_is_no_rendezvous_is_told_by_its_status() {
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let serving = tokio::spawn(axum::serve(listener, axum::Router::new()).into_future());
    let signal = WebsocketSignal::connect(WebsocketConfig::new(url, room(), key(2), door())).unwrap();
    assert!(matches!(next(&signal).await, SignalEvent::Down { why: Outage::Http(404), .. }));
    within(signal.close()).await;
    serving.abort();
}

#[tokio::test]
async fn after_a_restart_everyone_comes_back_and_mail_flows() {
    let first = rendezvous(Limits::default()).await;
    let address = first.local_addr();
    let host = up(config(&first, 1)).await;
    let guest = up(config(&first, 2)).await;
    within(first.close()).await;
    for signal in [&host, &guest] {
        assert!(matches!(
            next(signal).await,
            SignalEvent::Down { why: Outage::Refused(Refusal::Closing), .. }
        ));
    }
    guest.send(Address::Host, "sent while there was nobody".into()).unwrap();
    let _second = Rendezvous::bind(address, RendezvousConfig::default()).unwrap();
    until_up(&host).await;
    until_up(&guest).await;
    assert_eq!(next(&host).await, envelope(2, "sent while there was nobody"));
    host.send(peer(2), "welcome back".into()).unwrap();
    assert_eq!(next(&guest).await, envelope(1, "welcome back"));
}

#[tokio::test]
async fn a_guest_that_is_back_before_its_host_waits_for_it() {
    let first = rendezvous(Limits::default()).await;
    let address = first.local_addr();
    let host = up(config(&first, 1)).await;
    let guest = up(config(&first, 2)).await;
    within(host.close()).await;
    within(first.close()).await;
    let second = rendezvous_at(address, Limits { holds_newcomers: Duration::ZERO, ..Limits::default() });
    let unknown = Outage::Refused(Refusal::UnknownRoom);
    within(async { while !matches!(next(&guest).await, SignalEvent::Down { why, .. } if why == unknown) {} })
        .await;
    let _host = second.attach_host(room(), root().id(), doors()).unwrap();
    for event in until_up(&guest).await {
        assert!(matches!(event, SignalEvent::Down { why, .. } if why == unknown));
    }
}

#[tokio::test]
async fn what_is_sent_before_the_first_connection_is_up_arrives() {
    let address = TcpListener::bind(ANY_PORT).await.unwrap().local_addr().unwrap();
    let url = format!("http://{address}");
    let guest = WebsocketSignal::connect(WebsocketConfig::new(url, room(), key(2), door())).unwrap();
    guest.send(Address::Host, "let me in".into()).unwrap();
    assert!(matches!(next(&guest).await, SignalEvent::Down { .. }));
    let rendezvous = Rendezvous::bind(address, RendezvousConfig::default()).unwrap();
    let host = rendezvous.attach_host(room(), root().id(), doors()).unwrap();
    until_up(&guest).await;
    assert_eq!(next(&host).await, SignalEvent::Up);
    assert_eq!(next(&host).await, envelope(2, "let me in"));
}

#[tokio::test]
async fn a_cut_cable_is_noticed_and_the_connection_made_anew() {
    let limits = Limits { ping_interval: Duration::from_millis(300), ..Limits::default() };
    let rendezvous = rendezvous(limits).await;
    let host = rendezvous.attach_host(room(), key(1).id(), doors()).unwrap();
    assert_eq!(next(&host).await, SignalEvent::Up);
    let switch = Switch::default();
    let mut wrapped = config(&rendezvous, 2);
    wrapped.wrap = Some(switch.wrap());
    let guest = up(wrapped).await;
    host.send(peer(2), "hello".into()).unwrap();
    assert_eq!(next(&guest).await, envelope(1, "hello"));

    switch.cut();
    let SignalEvent::Down { why, .. } = next(&guest).await else { panic!("nothing noticed") };
    assert_eq!(why, Outage::Silent(Duration::from_millis(900)));
    until_undeliverable(&host, peer(2)).await;

    switch.mend();
    until_up(&guest).await;
    guest.send(Address::Host, "I am back".into()).unwrap();
    while next(&host).await != envelope(2, "I am back") {}
}

#[tokio::test]
async fn a_peer_that_is_quiet_for_long_stays_connected() {
    let limits = Limits { ping_interval: Duration::from_millis(500), ..Limits::default() };
    let rendezvous = rendezvous(limits).await;
    let host = up(config(&rendezvous, 1)).await;
    let guest = up(config(&rendezvous, 2)).await;
    // twice the silence timeout
    tokio::time::sleep(Duration::from_secs(3)).await;
    guest.send(Address::Host, "hello".into()).unwrap();
    assert_eq!(next(&host).await, envelope(2, "hello"));
}

#[tokio::test]
async fn closing_while_there_is_no_connection_is_quick_and_final() {
    let address = TcpListener::bind(ANY_PORT).await.unwrap().local_addr().unwrap();
    let mut config = WebsocketConfig::new(format!("http://{address}"), room(), key(2), door());
    config.patience = Duration::from_secs(3600);
    let signal = WebsocketSignal::connect(config).unwrap();
    for _ in 0..3 {
        assert!(matches!(next(&signal).await, SignalEvent::Down { .. }));
    }
    within(signal.close()).await;
    while let Some(event) = within(signal.next()).await {
        assert!(matches!(event, SignalEvent::Down { .. }));
    }
    assert_eq!(signal.send(Address::Host, "hello".into()), Err(SignalError::Ended));
}
