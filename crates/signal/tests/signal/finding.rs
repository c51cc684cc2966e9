//! Peers that find each other, all following the protocol.

use std::collections::BTreeSet;

use bytes::Bytes;
use plenary_proto::seal::ENVELOPE_LEN_MAX;
use plenary_signal::{
    Address, Limits, Refusal, Rendezvous, Signal, SignalError, SignalEvent, WebsocketSignal,
};

use crate::support::{
    config, doors, envelope, key, next, peer, rendezvous, room, root, until_undeliverable, up, within,
};

/// The host, once connected by a websocket, once in the rendezvous's own process.
async fn hosts(rendezvous: &Rendezvous) -> [Box<dyn Signal>; 2] {
    let remote = up(config(rendezvous, 1)).await;
    let local = rendezvous.attach_host(room(), key(1001).id(), doors()).unwrap();
    assert_eq!(next(&local).await, SignalEvent::Up);
    [Box::new(remote), Box::new(local)]
}

#[tokio::test]
async fn two_peers_find_each_other_through_the_host() {
    let rendezvous = rendezvous(Limits::default()).await;
    let [remote, local] = hosts(&rendezvous).await;
    let guest = up(config(&rendezvous, 2)).await;
    // the local peer entered last, so it is the host until it leaves
    for (number, host) in [(1001, local), (1, remote)] {
        guest.send(Address::Host, "let me in".into()).unwrap();
        assert_eq!(next(&*host).await, envelope(2, "let me in"));
        host.send(peer(2), "welcome".into()).unwrap();
        assert_eq!(next(&guest).await, envelope(number, "welcome"));
        host.close().await;
        until_undeliverable(&guest, peer(number)).await;
    }
}

#[tokio::test]
async fn an_envelope_for_nobody_comes_back_as_undeliverable() {
    let rendezvous = rendezvous(Limits::default()).await;
    let host = up(config(&rendezvous, 1)).await;
    host.send(peer(9), "anyone?".into()).unwrap();
    assert_eq!(next(&host).await, SignalEvent::Undeliverable { to: peer(9) });
    let guest = up(config(&rendezvous, 2)).await;
    host.close().await;
    until_undeliverable(&guest, Address::Host).await;
}

#[tokio::test]
async fn refusals_that_cannot_change_are_final() {
    let rendezvous = rendezvous(Limits { members_max: 1, ..Limits::default() }).await;
    let guest = config(&rendezvous, 2);
    let mut false_host = config(&rendezvous, 2);
    false_host.root = Some(key(3));
    let refused = async |config| {
        let signal = WebsocketSignal::connect(config).unwrap();
        let event = next(&signal).await;
        assert_eq!(within(signal.next()).await, None);
        assert_eq!(signal.send(Address::Host, "hello".into()), Err(SignalError::Ended));
        event
    };
    let ended = |refusal| SignalEvent::Ended(SignalError::Refused(refusal));
    assert_eq!(refused(guest.clone()).await, ended(Refusal::UnknownRoom));
    assert_eq!(refused(false_host.clone()).await, ended(Refusal::BadProof));
    let _host = up(config(&rendezvous, 1)).await;
    assert_eq!(refused(false_host).await, ended(Refusal::BadProof));
    assert_eq!(refused(guest).await, ended(Refusal::RoomFull));
}

#[tokio::test]
async fn the_same_peer_connecting_again_replaces_the_older_connection() {
    let rendezvous = rendezvous(Limits::default()).await;
    let host = up(config(&rendezvous, 1)).await;
    let older = up(config(&rendezvous, 2)).await;
    let newer = up(config(&rendezvous, 2)).await;
    assert_eq!(next(&older).await, SignalEvent::Ended(SignalError::Refused(Refusal::Replaced)));
    assert_eq!(within(older.next()).await, None);
    host.send(peer(2), "hello".into()).unwrap();
    assert_eq!(next(&newer).await, envelope(1, "hello"));
}

#[tokio::test]
async fn the_longest_envelope_passes_and_a_longer_one_is_not_taken() {
    let rendezvous = rendezvous(Limits::default()).await;
    let host = up(config(&rendezvous, 1)).await;
    let guest = up(config(&rendezvous, 2)).await;
    let longest = Bytes::from(vec![7; ENVELOPE_LEN_MAX]);
    guest.send(Address::Host, longest.clone()).unwrap();
    assert_eq!(next(&host).await, envelope(2, longest));
    let len = ENVELOPE_LEN_MAX + 1;
    assert_eq!(guest.send(Address::Host, vec![7; len].into()), Err(SignalError::TooLong { len }));
}

#[tokio::test]
async fn envelopes_arrive_once_and_in_order() {
    let rendezvous = rendezvous(Limits::default()).await;
    let host = up(config(&rendezvous, 1)).await;
    let guest = up(config(&rendezvous, 2)).await;
    for batch in 0..4_u32 {
        for number in batch * 200..(batch + 1) * 200 {
            guest.send(Address::Host, number.to_string().into()).unwrap();
        }
        for number in batch * 200..(batch + 1) * 200 {
            assert_eq!(next(&host).await, envelope(2, number.to_string()));
        }
    }
}

#[tokio::test]
async fn what_was_sent_before_closing_still_arrives() {
    let rendezvous = rendezvous(Limits::default()).await;
    let host = up(config(&rendezvous, 1)).await;
    let guest = up(config(&rendezvous, 2)).await;
    for number in 0..200 {
        guest.send(Address::Host, number.to_string().into()).unwrap();
    }
    within(guest.close()).await;
    assert_eq!(guest.send(Address::Host, "too late".into()), Err(SignalError::Ended));
    assert_eq!(within(guest.next()).await, None);
    within(guest.close()).await;
    for number in 0..200 {
        assert_eq!(next(&host).await, envelope(2, number.to_string()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_peers_come_at_once_and_all_reach_the_host() {
    allow_open_files(2048);
    let rendezvous = rendezvous(Limits::default()).await;
    let host = rendezvous.attach_host(room(), root().id(), doors()).unwrap();
    assert_eq!(next(&host).await, SignalEvent::Up);
    let guests: Vec<_> = (0..500)
        .map(|number| {
            let guest = WebsocketSignal::connect(config(&rendezvous, 10 + number)).unwrap();
            guest.send(Address::Host, "let me in".into()).unwrap();
            guest
        })
        .collect();
    let mut heard = BTreeSet::new();
    while heard.len() < guests.len() {
        let SignalEvent::Envelope { from, .. } = next(&host).await else { panic!("no envelope") };
        assert!(heard.insert(from), "{from} came twice");
        host.send(Address::Peer(from), "welcome".into()).unwrap();
    }
    for guest in &guests {
        assert_eq!(next(guest).await, SignalEvent::Up);
        let SignalEvent::Envelope { bytes, .. } = next(guest).await else { panic!("no envelope") };
        assert_eq!(bytes, "welcome");
    }
}

/// Raises the limit on open files. Each connection takes two files here, and shells often allow 1024.
fn allow_open_files(count: libc::rlim_t) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a pointer to a live `rlimit` of this frame, and keep none.
    let set = unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        limit.rlim_cur = limit.rlim_cur.max(count).min(limit.rlim_max);
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit)
    };
    assert_eq!(set, 0);
}
