//! Envelopes and messages: sealed, opened and verified.

use plenary_proto::Via;
use plenary_proto::bounded::List;
use plenary_proto::message::{
    Failover, FailoverMessage, Join, MESSAGE_VERSION, MemberMessage, Relay, RouteMessage, Ticket,
};
use plenary_proto::seal::{
    Invite, Keypair, NONCE_LEN, Opener, RoomKey, RoomSecret, Sealer, Signed, counter_at,
};

use super::*;
use crate::letters::{Letter, Letters};

const NOW_US: u64 = 1_700_000_000_000_000;
/// An hour: longer than any envelope is valid.
const LONG_US: u64 = 3_600_000_000;

pub(super) fn key(seed: u8) -> Keypair {
    Keypair::from_seed(&[seed; 32])
}

pub(super) fn room_key() -> RoomKey {
    let secret = RoomSecret([8; 16]);
    Invite::create(&key(1), (0, secret), None, true, None, &[], u64::MAX).key(None).unwrap()
}

pub(super) fn letters(me: u8) -> Letters {
    let (me, room) = (key(me), room_key());
    let opener = Opener::new(me.id(), room.clone());
    let counter = u64::from(me.id().0[0]) << 20;
    Letters::new(room.room(), key(1).id(), me.id(), Sealer::new(me, room, counter), opener)
}

fn nonce(number: u8) -> [u8; NONCE_LEN] {
    [number; NONCE_LEN]
}

fn join() -> Message {
    Message::Member(MemberMessage::Join(Join {
        speaks: true,
        views: false,
        mixes: true,
        ..Join::viewer("Ada")
    }))
}

/// Opens an envelope that comes in Ada's name.
fn open(letters: &mut Letters, sealed: &[u8], now_us: u64) -> Letter {
    letters.open(key(2).id(), sealed, now_us, |_, _, _| true)
}

fn author(letter: Letter) -> Option<(PeerId, Message)> {
    match letter {
        Letter::Message { from, message, .. } => Some((from, (*message).clone())),
        Letter::Nothing | Letter::OtherClock | Letter::OldInvite { .. } | Letter::OtherVersion { .. } => None,
        Letter::Bad(from) => panic!("{from:?} is blamed"),
    }
}

#[test]
fn an_envelope_is_opened_once_by_its_recipient_and_names_its_author() {
    let (mut ada, mut ben, mut cat) = (letters(2), letters(3), letters(4));
    let sealed = ada.seal(Some(key(3).id()), &join(), NOW_US, nonce(1)).unwrap();
    assert_eq!(author(open(&mut cat, &sealed, NOW_US)), None, "it is not for cat");
    assert_eq!(author(open(&mut ben, &sealed, NOW_US)), Some((key(2).id(), join())));
    assert_eq!(author(open(&mut ben, &sealed, NOW_US)), None, "a replay");
}

#[test]
fn an_envelope_for_the_host_may_be_opened_by_any_member() {
    let mut ada = letters(2);
    let sealed = ada.seal(None, &join(), NOW_US, nonce(2)).unwrap();
    for member in [3, 4] {
        assert_eq!(author(open(&mut letters(member), &sealed, NOW_US)), Some((key(2).id(), join())));
    }
}

#[test]
fn a_useless_envelope_is_no_peer_s_violation() {
    let (mut ada, mut ben) = (letters(2), letters(3));
    let sealed = ada.seal(Some(key(3).id()), &join(), NOW_US, nonce(3)).unwrap();
    let mut bent = sealed.clone();
    *bent.last_mut().unwrap() ^= 1;
    for envelope in [&bent[..], &sealed[..20], b"", &[0xff; 4_000]] {
        assert_eq!(author(open(&mut ben, envelope, NOW_US)), None);
    }
    assert_eq!(author(open(&mut ben, &sealed, NOW_US + LONG_US)), None, "it has expired");
    assert!(author(open(&mut ben, &sealed, NOW_US)).is_some());
}

#[test]
fn bytes_that_are_no_message_are_their_author_s_violation() {
    let mut ada = letters(2);
    let from = key(3).id();
    for bytes in [&b""[..], &[0x01], &join().to_bytes()[..4]] {
        assert!(
            matches!(ada.read(from, bytes, NOW_US, |_, _, _| true), Letter::Bad(blamed) if blamed == from),
            "{bytes:?}"
        );
    }
    let unknown = [join().to_bytes()[0], 0xff, 0xff, 0x03];
    assert!(matches!(ada.read(from, &unknown, NOW_US, |_, _, _| true), Letter::Nothing));
    assert_eq!(author(ada.read(from, &join().to_bytes(), NOW_US, |_, _, _| true)), Some((from, join())));
}

#[test]
fn a_forged_statement_is_the_violation_of_its_sender() {
    let (mut ada, from) = (letters(2), key(3).id());
    let failover = |number| Failover {
        rank: Rank { term: 1, failover_count: number },
        after: RANK,
        over: key(5).id(),
        wish: None,
    };
    let signed = |expires_unix_s, number| {
        Signed::new(&key(4), &room_key().room(), 1, 1, expires_unix_s, failover(number))
    };
    let mut read = |signed| {
        ada.read(from, &Message::Failover(FailoverMessage::Failover(signed)).to_bytes(), NOW_US, |_, _, _| {
            true
        })
    };
    let now_s = NOW_US / 1_000_000;
    let valid = signed(now_s + 10, 1);
    assert_eq!(
        author(read(valid.clone())),
        Some((from, Message::Failover(FailoverMessage::Failover(valid.clone()))))
    );
    assert!(matches!(read(signed(now_s - 1, 1)), Letter::Nothing));
    let forged = Signed { body: failover(2), ..valid };
    assert!(matches!(read(forged), Letter::Bad(blamed) if blamed == from));
}

/// Returns the bytes of a control message by which peer `by` hands an envelope of peer 2 for peer 3 over.
fn carried(sealed: Vec<u8>, by: u8) -> Vec<u8> {
    carried_of(2, sealed, by)
}

/// Returns the bytes of a control message by which peer `by` hands an envelope of `author` for peer 3 over.
fn carried_of(author: u8, sealed: Vec<u8>, by: u8) -> Vec<u8> {
    let route = List::truncated([key(by).id().short()]);
    let (from, to) = (key(author).id(), key(3).id());
    Message::Route(RouteMessage::Relay(Relay {
        from,
        to,
        route,
        passed: 1,
        sealed: List::try_from(sealed).unwrap(),
    }))
    .to_bytes()
}

#[test]
fn an_envelope_in_an_envelope_is_a_violation_of_its_author_alone() {
    let (mut mallory, mut ben) = (letters(2), letters(3));
    let route = List::truncated([key(5).id().short()]);
    let within = Message::Route(RouteMessage::Relay(Relay {
        from: key(2).id(),
        to: key(3).id(),
        route,
        passed: 1,
        sealed: List::truncated([0; 40]),
    }));
    let forged = Message::Failover(FailoverMessage::Failover(Signed {
        body: Failover { rank: RANK, after: RANK, over: key(6).id(), wish: None },
        ..Signed::new(
            &key(2),
            &room_key().room(),
            1,
            1,
            u64::MAX,
            Failover { rank: RANK, after: RANK, over: key(5).id(), wish: None },
        )
    }));
    for (number, bad) in (10..).zip([within, forged]) {
        let sealed = mallory.seal(Some(key(3).id()), &bad, NOW_US, nonce(number)).unwrap();
        let letter = ben.read(key(5).id(), &carried(sealed, 5), NOW_US, |_, _, _| true);
        assert!(matches!(letter, Letter::Bad(blamed) if blamed == key(2).id()), "{letter:?}");
    }
}

#[test]
fn a_carried_envelope_names_its_author_and_its_way() {
    let (mut ada, mut ben) = (letters(2), letters(3));
    let sealed = ada.seal(Some(key(3).id()), &join(), NOW_US, nonce(20)).unwrap();
    let elsewhere = ben.read(key(6).id(), &carried(sealed.clone(), 5), NOW_US, |_, _, _| true);
    assert!(matches!(elsewhere, Letter::Nothing), "peer 6 isn't the last of its way");
    match ben.read(key(5).id(), &carried(sealed, 5), NOW_US, |_, _, _| true) {
        Letter::Message { from, via: Via::Mesh(route), .. } => {
            assert_eq!((from, &route[..]), (key(2).id(), &[key(5).id().short()][..]));
        }
        letter => panic!("{letter:?}"),
    }
}

#[test]
fn a_message_that_its_author_may_not_say_is_dropped_unverified() {
    let mut ada = letters(2);
    let valid = Signed::new(
        &key(4),
        &room_key().room(),
        1,
        1,
        u64::MAX,
        Failover { rank: RANK, after: RANK, over: key(5).id(), wish: None },
    );
    let forged = Message::Failover(FailoverMessage::Failover(Signed { counter: 2, ..valid })).to_bytes();
    assert!(matches!(ada.read(key(3).id(), &forged, NOW_US, |_, _, _| false), Letter::Nothing));
    assert!(matches!(ada.read(key(3).id(), &forged, NOW_US, |_, _, _| true), Letter::Bad(_)));
}

#[test]
fn what_was_verified_once_costs_little_the_next_time() {
    let (room, failover) =
        (room_key().room(), Failover { rank: RANK, after: RANK, over: key(5).id(), wish: None });
    let statements: Vec<_> = (0..64)
        .map(|counter| {
            Message::Failover(FailoverMessage::Failover(Signed::new(
                &key(4),
                &room,
                1,
                counter,
                u64::MAX,
                failover.clone(),
            )))
        })
        .map(|message| message.to_bytes())
        .collect();
    let read_all = |letters: &mut Letters| {
        let begun = std::time::Instant::now();
        for bytes in &statements {
            assert!(author(letters.read(key(3).id(), bytes, NOW_US, |_, _, _| true)).is_some());
        }
        begun.elapsed()
    };
    // the quickest of five, since other tests run beside
    let first = (0..5).map(|_| read_all(&mut letters(2))).min().unwrap();
    let mut ada = letters(2);
    read_all(&mut ada);
    let again = (0..5).map(|_| read_all(&mut ada)).min().unwrap();
    assert!(again < first / 2, "{first:?}, then {again:?}");
}

#[test]
fn envelopes_beyond_their_author_s_budget_are_not_opened_and_others_are() {
    let (mut mallory, mut ben, mut cat) = (letters(2), letters(3), letters(4));
    let mut opened = 0;
    for number in 0..2_000u64 {
        let mut nonce = nonce(0);
        nonce[..8].copy_from_slice(&number.to_be_bytes());
        let sealed = mallory.seal(Some(key(3).id()), &join(), NOW_US, nonce).unwrap();
        opened += usize::from(author(open(&mut ben, &sealed, NOW_US)).is_some());
    }
    assert!((300..400).contains(&opened), "256 KiB of {opened} envelopes");
    let sealed = cat.seal(Some(key(3).id()), &join(), NOW_US, nonce(1)).unwrap();
    assert!(author(ben.open(key(4).id(), &sealed, NOW_US, |_, _, _| true)).is_some());
}

/// Returns a number that is used once.
fn nonce_of(number: u64) -> [u8; NONCE_LEN] {
    let mut nonce = nonce(0);
    nonce[..8].copy_from_slice(&number.to_be_bytes());
    nonce
}

#[test]
fn an_envelope_delivered_in_another_s_name_is_nothing() {
    let (mut mallory, mut ben) = (letters(2), letters(3));
    let sealed =
        mallory.seal(Some(key(3).id()), &Message::Member(MemberMessage::Leave), NOW_US, nonce(1)).unwrap();
    let letter = ben.open(key(5).id(), &sealed, NOW_US, |_, _, _| true);
    assert!(matches!(letter, Letter::Nothing), "{letter:?}");
    let sealed =
        mallory.seal(Some(key(3).id()), &Message::Member(MemberMessage::Leave), NOW_US, nonce(2)).unwrap();
    let Ok(Message::Route(RouteMessage::Relay(relay))) = Message::from_bytes(&carried(sealed, 2)) else {
        unreachable!()
    };
    let from_cat = Relay { from: key(4).id(), route: List::truncated([key(5).id().short()]), ..relay };
    let bytes = Message::Route(RouteMessage::Relay(from_cat)).to_bytes();
    let letter = ben.read(key(5).id(), &bytes, NOW_US, |_, _, _| true);
    assert!(matches!(letter, Letter::Nothing), "{letter:?}");
}

#[test]
fn envelopes_that_a_link_hands_over_beyond_its_budget_are_not_opened() {
    let (mut ben, mut opened) = (letters(3), 0);
    for seed in 10..110 {
        let mut mallory = letters(seed);
        for number in 0..20 {
            let sealed = mallory.seal(Some(key(3).id()), &join(), NOW_US, nonce_of(number)).unwrap();
            let bytes = carried_of(seed, sealed, 5);
            let letter = ben.read(key(5).id(), &bytes, NOW_US, |_, _, _| true);
            opened += usize::from(author(letter).is_some());
        }
    }
    assert!((300..400).contains(&opened), "256 KiB of {opened} envelopes");
    // another link's are
    let sealed = letters(4).seal(Some(key(3).id()), &join(), NOW_US, nonce(9)).unwrap();
    let letter = ben.read(key(6).id(), &carried_of(4, sealed, 6), NOW_US, |_, _, _| true);
    assert!(author(letter).is_some());
}

#[test]
fn fifty_made_up_ids_do_not_make_a_peer_open_more_than_its_budget() {
    let (mut ben, mut opened) = (letters(3), 0);
    for seed in 10..60 {
        let mut mallory = letters(seed);
        for number in 0..130 {
            let sealed = mallory.seal(Some(key(3).id()), &join(), NOW_US, nonce_of(number)).unwrap();
            let letter = ben.open(key(seed).id(), &sealed, NOW_US, |_, _, _| true);
            opened += usize::from(author(letter).is_some());
        }
    }
    assert!((5_000..6_500).contains(&opened), "4 MiB of {opened} envelopes");
}

/// The keys of two generations of an invite.
fn two_generations() -> [RoomKey; 2] {
    let invite = Invite::create(&key(1), (0, RoomSecret([7; 16])), None, true, None, &[], u64::MAX);
    let first = invite.key(None).unwrap();
    let (_, newer) = invite.renewed((1, RoomSecret([8; 16])), &first);
    [first, newer]
}

/// Letters of a peer whose first key is this one.
fn letters_with(me: u8, room: &RoomKey) -> Letters {
    let opener = Opener::new(key(me).id(), room.clone());
    Letters::new(room.room(), key(1).id(), key(me).id(), Sealer::new(key(me), room.clone(), 1), opener)
}

const SECOND: u64 = 1_000_000;

#[test]
fn a_replaced_key_counts_for_ten_seconds() {
    let [first, second] = two_generations();
    let (mut host, mut late) = (letters_with(3, &first), letters_with(2, &first));
    host.set_key(&second.for_member(), NOW_US);
    let to_host = Some(key(3).id());
    let sealed = late.seal(to_host, &Message::Member(MemberMessage::Leave), NOW_US, nonce(1)).unwrap();
    assert_eq!(
        author(open(&mut host, &sealed, NOW_US)),
        Some((key(2).id(), Message::Member(MemberMessage::Leave)))
    );
    let ticket =
        Signed::new(&key(2), &first.room(), 1, 1, NOW_US / SECOND + 600, Ticket { peer: key(2).id() });
    let shown = match join() {
        Message::Member(MemberMessage::Join(asked)) => {
            Message::Member(MemberMessage::Join(Join { ticket: Some(ticket), ..asked }))
        }
        other => other,
    };
    let later_us = NOW_US + 11 * SECOND;
    for (number, (message, at_us)) in (2..).zip([(join(), NOW_US), (join(), later_us), (shown, later_us)]) {
        let sealed = late.seal(to_host, &message, at_us, nonce(number)).unwrap();
        let letter = open(&mut host, &sealed, at_us);
        let Letter::OldInvite { from, message: asked, .. } = letter else { panic!("{letter:?}") };
        assert_eq!((from, asked.into_inner()), (key(2).id(), message));
    }
    let sealed = late.seal(to_host, &Message::Member(MemberMessage::Leave), later_us, nonce(5)).unwrap();
    assert!(matches!(open(&mut host, &sealed, later_us), Letter::Nothing));

    // the answer can be read by a peer that has the old key only
    let answer =
        host.seal(Some(key(2).id()), &Message::Member(MemberMessage::Leave), later_us, nonce(8)).unwrap();
    let letter = late.open(key(3).id(), &answer, later_us, |_, _, _| true);
    assert_eq!(author(letter), Some((key(3).id(), Message::Member(MemberMessage::Leave))));
    // and once it has the new one, it gets that
    late.set_key(&second.for_member(), later_us);
    let sealed = late.seal(to_host, &Message::Member(MemberMessage::Leave), later_us, nonce(6)).unwrap();
    assert_eq!(
        author(open(&mut host, &sealed, later_us)),
        Some((key(2).id(), Message::Member(MemberMessage::Leave)))
    );
    let mut newcomer = letters_with(5, &second);
    let answer =
        host.seal(Some(key(5).id()), &Message::Member(MemberMessage::Leave), later_us, nonce(7)).unwrap();
    let letter = newcomer.open(key(3).id(), &answer, later_us, |_, _, _| true);
    assert_eq!(author(letter), Some((key(3).id(), Message::Member(MemberMessage::Leave))));
}

#[test]
fn a_peer_of_another_version_is_told_so_once_a_second_and_understands_it() {
    let (mut ada, mut ben) = (letters(2), letters(3));
    let mut other = Message::Member(MemberMessage::Leave).to_bytes();
    other[0] = MESSAGE_VERSION + 1;
    let mut sealer = Sealer::new(key(3), room_key(), 1);
    let sealed = sealer.seal(Some(key(2).id()), &other, NOW_US / SECOND, nonce(9)).unwrap();
    let said = ada.open(key(3).id(), &sealed, NOW_US, |_, _, _| true);
    assert!(
        matches!(said, Letter::OtherVersion { version, is_notice: false, .. } if version == MESSAGE_VERSION + 1)
    );
    let notice = ada.seal_notice(key(3).id(), NOW_US, nonce(1)).unwrap();
    assert!(ada.seal_notice(key(3).id(), NOW_US + SECOND / 2, nonce(2)).is_none());
    assert!(ada.seal_notice(key(3).id(), NOW_US + SECOND, nonce(3)).is_some());
    let told = open(&mut ben, &notice, NOW_US);
    assert!(
        matches!(told, Letter::OtherVersion { version: MESSAGE_VERSION, is_notice: true, .. }),
        "{told:?}"
    );
}

#[test]
fn an_envelope_of_a_clock_five_minutes_off_is_told_apart() {
    let (mut ada, mut ben) = (letters(2), letters(3));
    let sealed = ada.seal(Some(key(3).id()), &join(), NOW_US, nonce(1)).unwrap();
    assert!(matches!(open(&mut ben, &sealed, NOW_US + 301 * SECOND), Letter::OtherClock));
    let sealed = ada.seal(Some(key(3).id()), &join(), NOW_US + 301 * SECOND, nonce(2)).unwrap();
    assert!(matches!(open(&mut ben, &sealed, NOW_US), Letter::Nothing), "it was told 301 s later");
    assert!(matches!(open(&mut letters(3), &sealed, NOW_US), Letter::OtherClock));
}

#[test]
fn peers_with_other_clocks_read_each_other_once_told_the_time() {
    let (mut ada, mut ben) = (letters(2), letters(3));
    let (ahead_us, to_ben) = (NOW_US + LONG_US, Some(key(3).id()));
    assert_eq!(ada.told_time(ahead_us, NOW_US / SECOND), Some((-3600, -3600)));
    let sealed = ada.seal(to_ben, &join(), ahead_us, nonce(1)).unwrap();
    assert_eq!(author(open(&mut ben, &sealed, NOW_US)), Some((key(2).id(), join())));
    let sealed = ben.seal(Some(key(2).id()), &join(), NOW_US, nonce(2)).unwrap();
    let opened = ada.open(key(3).id(), &sealed, ahead_us, |_, _, _| true);
    assert_eq!(author(opened), Some((key(3).id(), join())));
}

#[test]
fn an_opened_letter_is_refused_also_when_the_time_is_set_back() {
    let (mut ada, mut ben) = (letters(2), letters(3));
    let sealed = ada.seal(Some(key(3).id()), &join(), NOW_US, nonce(1)).unwrap();
    assert!(author(open(&mut ben, &sealed, NOW_US)).is_some());
    let later_us = NOW_US + LONG_US;
    assert_eq!(ben.told_time(later_us, NOW_US / SECOND), Some((-3600, -3600)));
    assert_eq!(author(open(&mut ben, &sealed, later_us)), None);
}

#[test]
fn a_peer_that_starts_again_with_another_clock_is_heard_again() {
    let (mut ben, me, room) = (letters(3), key(2), room_key());
    for (number, wrong_s) in [3600, 0, -3600].into_iter().enumerate() {
        // some seconds later each time
        let right_us = NOW_US + 5 * number as u64 * SECOND;
        let clock_us = right_us.saturating_add_signed(wrong_s * 1_000_000);
        let sealer = Sealer::new(me.clone(), room.clone(), counter_at(clock_us));
        let opener = Opener::new(me.id(), room.clone());
        let mut ada = Letters::new(room.room(), key(1).id(), me.id(), sealer, opener);
        ada.told_time(clock_us, right_us / SECOND);
        let sealed = ada.seal(Some(key(3).id()), &join(), clock_us, nonce(1)).unwrap();
        assert_eq!(author(open(&mut ben, &sealed, right_us)), Some((key(2).id(), join())), "{wrong_s}");
    }
}

#[test]
fn a_peer_that_starts_again_within_the_same_second_is_heard_at_once() {
    let (mut ben, me, room) = (letters(3), key(2), room_key());
    for session in 0..20 {
        let at_us = NOW_US + session * 5_000;
        let sealer = Sealer::new(me.clone(), room.clone(), counter_at(at_us));
        let opener = Opener::new(me.id(), room.clone());
        let mut ada = Letters::new(room.room(), key(1).id(), me.id(), sealer, opener);
        for number in 0..5 {
            let sealed = ada.seal(Some(key(3).id()), &join(), at_us, nonce(number)).unwrap();
            assert_eq!(author(open(&mut ben, &sealed, at_us)), Some((key(2).id(), join())), "{session}");
        }
        assert_eq!(ben.take_restart(&key(2).id()), session > 0);
    }
}

#[test]
fn other_versions_and_clocks_are_told_once_a_second() {
    let mut ada = letters(2);
    let mut other = Message::Member(MemberMessage::Leave).to_bytes();
    other[0] = MESSAGE_VERSION + 1;
    let mut told = [0; 3];
    for number in 0..200u64 {
        let now_us = NOW_US + number * SECOND / 100;
        let (from, unix_s) = (key(10 + number as u8 % 100), now_us / SECOND);
        let mut sealer = Sealer::new(from.clone(), room_key(), number << 20);
        for (bytes, unix_s) in [(&other[..], unix_s), (&[0, 77], unix_s), (&other, unix_s - 400)] {
            let sealed = sealer.seal(Some(key(2).id()), bytes, unix_s, nonce(number as u8)).unwrap();
            match ada.open(from.id(), &sealed, now_us, |_, _, _| true) {
                Letter::OtherVersion { is_notice, .. } => told[usize::from(is_notice)] += 1,
                Letter::OtherClock => told[2] += 1,
                Letter::Nothing => {}
                letter => panic!("{letter:?}"),
            }
        }
    }
    assert_eq!(told, [2; 3], "in two seconds");
}
