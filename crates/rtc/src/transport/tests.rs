//! Tests of the transport: two ends in virtual time.

use std::sync::Arc;

use plenary_proto::bounded::List;
use proptest::prelude::*;

use super::*;
use crate::checks::CheckBudget;
use crate::ends::{End, pair, run};

#[test]
fn two_ends_open_their_channels_and_read_what_came_before_the_close() {
    let mut now = Instant::now();
    let (mut a, mut b) = pair(now);
    run(&mut a, &mut b, &mut now, 100, |_| {});
    assert_eq!(
        (&a.events[..], &b.events[..]),
        (&[TransportEvent::Opened][..], &[TransportEvent::Opened][..])
    );
    for number in 0..20_u8 {
        a.transport.send(now, Channel::Control, &Bytes::from(vec![number; 100])).unwrap();
    }
    a.transport.close(now, &mut a.outgoing).unwrap();
    run(&mut a, &mut b, &mut now, 10, |_| {});
    assert_eq!(b.events.last(), Some(&TransportEvent::Closed));
    let read: Vec<u8> = std::iter::from_fn(|| b.transport.read()).map(|(_, message)| message[0]).collect();
    assert_eq!(read, (0..20).collect::<Vec<u8>>());
}

/// Connects two ends that are this far apart, one way: the answering end has the offer at first, the offering end its
/// answer when it arrives. Each end sends a message as soon as its channels are open. Returns when the offering and
/// the answering end have the other's.
fn meet_apart(delay: Duration) -> [Duration; 2] {
    let begun = Instant::now();
    let mut ends = [
        End::new(begun, Role::Offer, "aaaa", "bbbb", 5_001),
        End::new(begun, Role::Answer, "bbbb", "aaaa", 5_002),
    ];
    let mut descriptions = ends.each_ref().map(|end| end.description.clone());
    ends[1].transport.start(begun, &descriptions[0]).unwrap();
    descriptions[1].hello = ends[1].transport.hello(begun).unwrap();
    let mut flying: VecDeque<(Instant, usize, TaggedBytesMut)> = VecDeque::new();
    let mut arrived = [None; 2];
    let step = Duration::from_millis(1);
    for ms in 0..2_000 {
        let now = begun + ms * step;
        if now == begun + delay {
            ends[0].transport.start(now, &descriptions[1]).unwrap();
        }
        for end in &mut ends {
            let _ = end.transport.handle_timeout(now);
            while let Some(event) = end.transport.poll_event() {
                end.events.push(event);
            }
        }
        while let Some((_, to, datagram)) = flying.pop_front_if(|(at, ..)| *at <= now) {
            let _ = ends[to].take(now, datagram.transport.local_addr, &datagram.message);
        }
        for (at, end) in ends.iter_mut().enumerate() {
            if std::mem::take(&mut end.events).contains(&TransportEvent::Opened) {
                end.transport.send(now, Channel::Control, &Bytes::from_static(b"first")).unwrap();
            }
            if end.transport.read().is_some() {
                arrived[at] = Some(now - begun);
            }
            end.transport.collect(now, true, &mut end.outgoing);
            flying.extend(end.outgoing.drain(..).map(|datagram| (now + delay, 1 - at, datagram)));
        }
        if let [Some(offering), Some(answering)] = arrived {
            return [offering, answering];
        }
    }
    panic!("{arrived:?}");
}

#[test]
fn messages_pass_as_soon_as_the_handshake_of_dtls_is_over() {
    let delay = Duration::from_millis(50);
    let [offering, answering] = meet_apart(delay).map(|time| time.div_duration_f64(2 * delay));
    // a check and the cookie, then two round trips of DTLS; timers of the stack add a little
    assert!(answering < 3.2 && offering < 3.7, "{answering} and {offering} round trips after the offer");
}

#[test]
fn an_end_with_a_hidden_address_is_met_as_soon_as_it_is_heard() {
    for offering_is_hidden in [true, false] {
        let mut now = Instant::now();
        let mut a = End::new(now, Role::Offer, "aaaa", "bbbb", 5_001);
        let mut b = End::new(now, Role::Answer, "bbbb", "aaaa", 5_002);
        let hidden = if offering_is_hidden { &mut a } else { &mut b };
        hidden.description.candidates = List::truncated([]);
        a.transport.start(now, &b.description).unwrap();
        b.transport.start(now, &a.description).unwrap();
        run(&mut a, &mut b, &mut now, 150, |_| {});
        assert_eq!(a.events, [TransportEvent::Opened], "the offering end is hidden: {offering_is_hidden}");
        assert_eq!(b.events, [TransportEvent::Opened]);
    }
}

#[test]
fn two_hidden_ends_meet_by_further_candidates_of_the_description() {
    let mut now = Instant::now();
    let mut a = End::new(now, Role::Offer, "aaaa", "bbbb", 5_001);
    let mut b = End::new(now, Role::Answer, "bbbb", "aaaa", 5_002);
    for end in [&mut a, &mut b] {
        end.description.candidates = List::truncated([]);
    }
    a.transport.start(now, &b.description).unwrap();
    b.transport.start(now, &a.description).unwrap();
    let of_b = [Candidate::Reflexive(b.address)];
    a.transport.add_paths("cccc", &of_b).unwrap();
    run(&mut a, &mut b, &mut now, 300, |_| {});
    assert_eq!((a.events.len(), b.events.len()), (0, 0), "they belong to another description");
    a.transport.add_paths("bbbb", &of_b).unwrap();
    run(&mut a, &mut b, &mut now, 300, |_| {});
    let opened = [TransportEvent::Opened];
    assert_eq!((&a.events[..], &b.events[..]), (&opened[..], &opened[..]));
}

#[test]
fn further_candidates_that_overtake_the_answer_are_checked_after_it() {
    let mut now = Instant::now();
    let mut a = End::new(now, Role::Offer, "aaaa", "bbbb", 5_001);
    let mut b = End::new(now, Role::Answer, "bbbb", "aaaa", 5_002);
    b.transport.start(now, &Description { candidates: List::new(), ..a.description.clone() }).unwrap();
    a.transport.add_paths("bbbb", &[Candidate::Reflexive(b.address)]).unwrap();
    a.transport.start(now, &Description { candidates: List::new(), ..b.description.clone() }).unwrap();
    run(&mut a, &mut b, &mut now, 300, |_| {});
    assert_eq!((a.events, b.events), (vec![TransportEvent::Opened], vec![TransportEvent::Opened]));
}

#[test]
fn messages_that_are_not_read_make_the_other_end_wait() {
    let mut now = Instant::now();
    let (mut a, mut b) = pair(now);
    run(&mut a, &mut b, &mut now, 100, |_| {});
    let message = Bytes::from(vec![1; 60_000]);
    for _ in 0..60 {
        a.transport.send(now, Channel::Bulk, &message).unwrap();
    }
    run(&mut a, &mut b, &mut now, 2_000, |_| {});
    let waits = a.transport.outstanding_bytes(Channel::Bulk);
    assert!(waits > 2_000_000, "of 3.6 MB, {waits} bytes wait for the reader");
    let mut read = 0;
    for _ in 0..100 {
        read += std::iter::from_fn(|| b.transport.read()).count();
        run(&mut a, &mut b, &mut now, 200, |_| {});
    }
    assert_eq!((read, a.transport.outstanding_bytes(Channel::Bulk)), (60, 0));
}

#[test]
fn a_stranger_s_offer_causes_few_checks_and_none_in_a_foreign_network() {
    let mut now = Instant::now();
    let mut end = End::new(now, Role::Answer, "bbbb", "aaaa", 5_002);
    end.transport.checks = Checks::new(Arc::new(CheckBudget::new()), true);
    let mut offer = End::new(now, Role::Offer, "aaaa", "bbbb", 5_001).description;
    let host = |ip: [u8; 4], port: u16| Candidate::Host(SocketAddr::from((ip, port)));
    let victims = (7..17).map(|port| host([203, 0, 113, 9], port));
    offer.candidates = List::truncated([host([10, 0, 0, 1], 80)].into_iter().chain(victims));
    end.transport.start(now, &offer).unwrap();
    let mut sent = Vec::new();
    for _ in 0..1_000 {
        end.transport.collect(now, true, &mut end.outgoing);
        sent.extend(end.outgoing.drain(..).map(|datagram| datagram.transport.peer_addr));
        now += Duration::from_millis(5);
        let _ = end.transport.handle_timeout(now);
    }
    assert!((50..=300).contains(&sent.len()), "{} checks in five seconds", sent.len());
    assert!(sent.iter().all(|to| to.ip() == SocketAddr::from(([203, 0, 113, 9], 7)).ip()), "{sent:?}");
}

#[test]
fn a_lite_end_sends_nothing_before_it_is_checked_and_meets_any_other() {
    for (a_is_lite, b_is_lite) in [(true, false), (false, true), (true, true)] {
        let mut now = Instant::now();
        let mut a = End::of((Role::Offer, a_is_lite), now, "aaaa", "bbbb", 5_001);
        let mut b = End::of((Role::Answer, b_is_lite), now, "bbbb", "aaaa", 5_002);
        let (lite, other) = if b_is_lite { (&mut b, &a) } else { (&mut a, &b) };
        lite.transport.start(now, &other.description).unwrap();
        if !(a_is_lite && b_is_lite) {
            for _ in 0..100 {
                now += Duration::from_millis(5);
                lite.transport.handle_timeout(now).unwrap();
                lite.transport.collect(now, true, &mut lite.outgoing);
                assert!(lite.outgoing.is_empty(), "the other end has not begun");
            }
        }
        let (late, other) = if b_is_lite { (&mut a, &b) } else { (&mut b, &a) };
        late.transport.start(now, &other.description).unwrap();
        run(&mut a, &mut b, &mut now, 300, |_| {});
        let opened = [TransportEvent::Opened];
        assert_eq!((&a.events[..], &b.events[..]), (&opened[..], &opened[..]), "{a_is_lite}, {b_is_lite}");
    }
}

#[test]
fn an_end_with_another_certificate_is_refused() {
    let mut now = Instant::now();
    let mut a = End::new(now, Role::Offer, "aaaa", "bbbb", 5_001);
    let mut b = End::new(now, Role::Answer, "bbbb", "aaaa", 5_002);
    let forged = Description { fingerprint: [7; 32], ..b.description.clone() };
    a.transport.start(now, &forged).unwrap();
    b.transport.start(now, &a.description).unwrap();
    run(&mut a, &mut b, &mut now, 3_000, |_| {});
    assert!(a.transport.srtp.is_none() && !a.events.contains(&TransportEvent::Opened));
}

#[test]
fn an_end_that_falls_silent_is_lost_after_five_seconds() {
    let mut now = Instant::now();
    let (mut a, mut b) = pair(now);
    run(&mut a, &mut b, &mut now, 100, |_| {});
    let begun = now;
    while !a.events.contains(&TransportEvent::Lost) {
        now += Duration::from_millis(20);
        a.transport.handle_timeout(now).unwrap();
        a.events.extend(a.transport.poll_event());
        assert!(now - begun < Duration::from_secs(8));
    }
    assert!(now - begun > Duration::from_secs(4), "{:?}", now - begun);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Datagrams with changed bytes, at any stage of a link, and datagrams of any bytes, cause no panic. If the
    /// link is open by then (a changed handshake rightly fails), messages still arrive.
    #[test]
    fn no_datagram_causes_a_panic(
        genuine_ms in prop_oneof![Just(0_u64), Just(20), Just(30), Just(100)],
        changes in proptest::collection::vec((any::<u8>(), any::<u16>(), any::<u8>()), 1..40),
        any_bytes in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..40),
    ) {
        let mut now = Instant::now();
        let (mut a, mut b) = pair(now);
        run(&mut a, &mut b, &mut now, genuine_ms, |_| {});
        let mut count = 0_usize;
        run(&mut a, &mut b, &mut now, 300, |datagram| {
            let (one_in, place, mask) = changes[count % changes.len()];
            count += 1;
            if one_in < 64 && !datagram.is_empty() {
                let place = usize::from(place) % datagram.len();
                datagram[place] ^= mask;
            }
        });
        for bytes in &any_bytes {
            let _ = b.take(now, a.address, bytes);
        }
        run(&mut a, &mut b, &mut now, 8_000, |_| {});
        let is_open = |end: &End| end.events == [TransportEvent::Opened];
        if is_open(&a) && is_open(&b) {
            a.transport.send(now, Channel::Control, &Bytes::from_static(b"still here")).unwrap();
            run(&mut a, &mut b, &mut now, 2_000, |_| {});
            prop_assert_eq!(b.transport.read(), Some((Channel::Control, Bytes::from_static(b"still here"))));
        }
    }
}
