//! A host that opens its room again, and newcomers at a rendezvous that has just started.

use std::time::{Duration, Instant};

use plenary_signal::{
    Address, Limits, Outage, Refusal, Signal as _, SignalError, SignalEvent, WebsocketConfig, WebsocketSignal,
};

use crate::support::{
    ANY_PORT, config, envelope, key, next, peer, rendezvous, rendezvous_at, until_undeliverable, up, within,
};

fn returning(config: WebsocketConfig) -> WebsocketConfig {
    WebsocketConfig { returns: true, ..config }
}

#[tokio::test]
async fn a_host_that_returns_reaches_the_members_until_it_claims_the_room() {
    let rendezvous = rendezvous(Limits::default()).await;
    let first = up(config(&rendezvous, 1)).await;
    let guest = up(config(&rendezvous, 2)).await;
    within(first.close()).await;
    until_undeliverable(&guest, peer(1)).await; // the first one is out
    let again = up(returning(config(&rendezvous, 1))).await;
    again.send(Address::Host, "who is here?".into()).unwrap();
    assert_eq!(next(&guest).await, envelope(1, "who is here?"));
    let newcomer = up(config(&rendezvous, 3)).await;
    newcomer.send(Address::Host, "let me in".into()).unwrap();
    assert_eq!(next(&guest).await, envelope(3, "let me in"), "to those who have stayed");

    again.claim();
    again.claim();
    let asks = async {
        loop {
            newcomer.send(Address::Host, "and now?".into()).unwrap();
            if let Ok(SignalEvent::Envelope { from, .. }) =
                tokio::time::timeout(Duration::from_millis(50), next(&again)).await
                && from == key(3).id()
            {
                return;
            }
        }
    };
    within(asks).await;
    // what the host itself asks still reaches the others
    again.send(Address::Host, "is anybody else here?".into()).unwrap();
    let told = async { while next(&newcomer).await != envelope(1, "is anybody else here?") {} };
    within(told).await;
}

#[tokio::test]
async fn a_host_that_returns_to_a_room_that_is_closed_opens_it() {
    let rendezvous = rendezvous(Limits::default()).await;
    let host = up(returning(config(&rendezvous, 1))).await;
    let guest = up(config(&rendezvous, 2)).await;
    guest.send(Address::Host, "hello".into()).unwrap();
    assert_eq!(next(&host).await, envelope(2, "hello"));
}

#[tokio::test]
async fn a_second_host_by_the_same_keys_is_refused_and_the_first_one_stays() {
    let rendezvous = rendezvous(Limits::default()).await;
    let host = up(config(&rendezvous, 1)).await;
    let second = WebsocketSignal::connect(returning(config(&rendezvous, 1))).unwrap();
    let refused = async {
        loop {
            if let SignalEvent::Ended(error) = next(&second).await {
                return error;
            }
        }
    };
    assert_eq!(within(refused).await, SignalError::Refused(Refusal::HostPresent));
    let guest = up(config(&rendezvous, 2)).await;
    guest.send(Address::Host, "hello".into()).unwrap();
    assert_eq!(next(&host).await, envelope(2, "hello"));
}

#[tokio::test]
async fn a_rendezvous_just_started_holds_newcomers_until_the_host_is_back() {
    let rendezvous = rendezvous_at(ANY_PORT, Limits::default());
    let guest = WebsocketSignal::connect(config(&rendezvous, 2)).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let _host = up(config(&rendezvous, 1)).await;
    assert_eq!(next(&guest).await, SignalEvent::Up, "at the first attempt");
}

#[tokio::test]
async fn a_newcomer_hears_not_yet_and_later_that_there_is_no_room() {
    let limits = Limits {
        holds_newcomers: Duration::from_millis(600),
        hold_max: Duration::from_millis(200),
        ..Limits::default()
    };
    let started = Instant::now();
    let rendezvous = rendezvous_at(ANY_PORT, limits);
    let guest = WebsocketSignal::connect(config(&rendezvous, 2)).unwrap();
    let not_yet = Outage::Refused(Refusal::NotYet);
    assert!(matches!(next(&guest).await, SignalEvent::Down { why, .. } if why == not_yet));
    let ended = async {
        loop {
            if let SignalEvent::Ended(error) = next(&guest).await {
                return error;
            }
        }
    };
    assert_eq!(within(ended).await, SignalError::Refused(Refusal::UnknownRoom));
    assert!(started.elapsed() >= Duration::from_millis(600));
}
