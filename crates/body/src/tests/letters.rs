//! Envelopes and messages: sealed, opened and verified.

use plenary_proto::bounded::Text;
use plenary_proto::message::{Failover, Join, Muted};
use plenary_proto::seal::{Invite, Keypair, NONCE_LEN, Opener, RoomKey, RoomSecret, Sealer, Signed};

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
    Letters::new(room.room(), key(1).id(), Sealer::new(me, room, counter), opener)
}

fn nonce(number: u8) -> [u8; NONCE_LEN] {
    [number; NONCE_LEN]
}

fn join() -> Message {
    Message::Join(Join {
        name: Text::truncated("Ada"),
        speaks: true,
        views: false,
        mixes: true,
        muted: Muted::default(),
        ticket: None,
        shares: false,
    })
}

fn author(letter: Letter) -> Option<(PeerId, Message)> {
    match letter {
        Letter::Message(from, message) => Some((from, (*message).clone())),
        Letter::Nothing => None,
        Letter::Bad(from) => panic!("{from:?} is blamed"),
    }
}

#[test]
fn an_envelope_is_opened_once_by_its_recipient_and_names_its_author() {
    let (mut ada, mut ben, mut cat) = (letters(2), letters(3), letters(4));
    let sealed = ada.seal(Some(key(3).id()), &join(), NOW_US, nonce(1)).unwrap();
    assert_eq!(author(cat.open(&sealed, NOW_US)), None, "it is not for cat");
    assert_eq!(author(ben.open(&sealed, NOW_US)), Some((key(2).id(), join())));
    assert_eq!(author(ben.open(&sealed, NOW_US)), None, "a replay");
}

#[test]
fn an_envelope_for_the_host_may_be_opened_by_any_member() {
    let mut ada = letters(2);
    let sealed = ada.seal(None, &join(), NOW_US, nonce(2)).unwrap();
    for member in [3, 4] {
        assert_eq!(author(letters(member).open(&sealed, NOW_US)), Some((key(2).id(), join())));
    }
}

#[test]
fn a_useless_envelope_is_no_peer_s_violation() {
    let (mut ada, mut ben) = (letters(2), letters(3));
    let sealed = ada.seal(Some(key(3).id()), &join(), NOW_US, nonce(3)).unwrap();
    let mut bent = sealed.clone();
    *bent.last_mut().unwrap() ^= 1;
    for envelope in [&bent[..], &sealed[..20], b"", &[0xff; 4_000]] {
        assert_eq!(author(ben.open(envelope, NOW_US)), None);
    }
    assert_eq!(author(ben.open(&sealed, NOW_US + LONG_US)), None, "it has expired");
    assert!(author(ben.open(&sealed, NOW_US)).is_some());
}

#[test]
fn bytes_that_are_no_message_are_their_author_s_violation_and_an_unknown_variant_is_none() {
    let ada = letters(2);
    let from = key(3).id();
    for bytes in [&b""[..], &[0x01], &join().to_bytes()[..4]] {
        assert!(matches!(ada.read(from, bytes, NOW_US), Letter::Bad(blamed) if blamed == from), "{bytes:?}");
    }
    let unknown = [join().to_bytes()[0], 0xff, 0xff, 0x03];
    assert!(matches!(ada.read(from, &unknown, NOW_US), Letter::Nothing));
    assert_eq!(author(ada.read(from, &join().to_bytes(), NOW_US)), Some((from, join())));
}

#[test]
fn an_expired_statement_is_nothing_and_a_forged_one_is_the_violation_of_its_sender() {
    let (ada, from) = (letters(2), key(3).id());
    let failover = |number| Failover {
        rank: Rank { term: 1, failover_count: number },
        after: RANK,
        over: key(5).id(),
        wish: None,
    };
    let signed = |expires_unix_s, number| {
        Signed::new(&key(4), &room_key().room(), 1, 1, expires_unix_s, failover(number))
    };
    let read = |signed| ada.read(from, &Message::Failover(signed).to_bytes(), NOW_US);
    let now_s = NOW_US / 1_000_000;
    let valid = signed(now_s + 10, 1);
    assert_eq!(author(read(valid.clone())), Some((from, Message::Failover(valid.clone()))));
    assert!(matches!(read(signed(now_s - 1, 1)), Letter::Nothing));
    let forged = Signed { body: failover(2), ..valid };
    assert!(matches!(read(forged), Letter::Bad(blamed) if blamed == from));
}
