//! Peers of one process on a switchboard, without a rendezvous.

use plenary_proto::seal::ENVELOPE_LEN_MAX;
use plenary_signal::{Address, Limits, LocalSignal, Refusal, Signal, SignalError, SignalEvent, Switchboard};

use crate::support::{doors, envelope, key, next, peer, room, within};

async fn host_and_guest(switchboard: &Switchboard) -> [LocalSignal; 2] {
    let host = switchboard.attach_host(room(), key(1).id(), doors()).unwrap();
    let guest = switchboard.attach(room(), key(2).id()).unwrap();
    assert_eq!(next(&host).await, SignalEvent::Up);
    assert_eq!(next(&guest).await, SignalEvent::Up);
    [host, guest]
}

#[tokio::test]
async fn a_switchboard_is_a_network_in_memory() {
    let switchboard = Switchboard::default();
    assert_eq!(switchboard.attach(room(), key(2).id()).err(), Some(Refusal::UnknownRoom));
    let [host, guest] = host_and_guest(&switchboard).await;
    let talking = tokio::spawn(async move {
        guest.send(Address::Host, "let me in".into()).unwrap();
        assert_eq!(next(&guest).await, envelope(1, "welcome"));
        guest
    });
    assert_eq!(next(&host).await, envelope(2, "let me in"));
    host.send(peer(2), "welcome".into()).unwrap();
    let guest = within(talking).await.unwrap();
    drop(guest);
    host.send(peer(2), "hello?".into()).unwrap();
    assert_eq!(next(&host).await, SignalEvent::Undeliverable { to: peer(2) });
}

#[tokio::test]
async fn a_peer_that_fetches_nothing_loses_what_does_not_fit() {
    let switchboard = Switchboard::new(Limits { queue_len_max: 3, ..Limits::default() });
    let [host, guest] = host_and_guest(&switchboard).await;
    for number in 0..5 {
        host.send(peer(2), number.to_string().into()).unwrap();
    }
    for _ in 3..5 {
        assert_eq!(next(&host).await, SignalEvent::Undeliverable { to: peer(2) });
    }
    for number in 0..3 {
        assert_eq!(next(&guest).await, envelope(1, number.to_string()));
    }
    host.send(peer(2), "again".into()).unwrap();
    assert_eq!(next(&guest).await, envelope(1, "again"));
}

#[tokio::test]
async fn each_way_of_ending_is_told_once() {
    let switchboard = Switchboard::default();
    let [host, guest] = host_and_guest(&switchboard).await;
    let again = switchboard.attach(room(), key(2).id()).unwrap();
    let ended = |refusal| SignalEvent::Ended(SignalError::Refused(refusal));
    assert_eq!(guest.send(Address::Host, "ghost".into()), Err(SignalError::Ended));
    assert_eq!(next(&guest).await, ended(Refusal::Replaced));
    assert_eq!(within(guest.next()).await, None);

    assert_eq!(next(&again).await, SignalEvent::Up);
    within(again.close()).await;
    assert_eq!(within(again.next()).await, None);
    assert_eq!(again.send(Address::Host, "ghost".into()), Err(SignalError::Ended));

    switchboard.close();
    assert_eq!(next(&host).await, ended(Refusal::Closing));
    assert_eq!(within(host.next()).await, None);
    assert_eq!(switchboard.attach_host(room(), key(1).id(), doors()).err(), Some(Refusal::Closing));
}

#[tokio::test]
async fn an_envelope_that_is_too_long_is_not_taken() {
    let switchboard = Switchboard::default();
    let [host, _guest] = host_and_guest(&switchboard).await;
    let len = ENVELOPE_LEN_MAX + 1;
    assert_eq!(host.send(peer(2), vec![0; len].into()), Err(SignalError::TooLong { len }));
}
