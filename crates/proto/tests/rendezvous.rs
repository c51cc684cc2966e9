//! The wire format, as in docs/RENDEZVOUS.md, and bytes that are not frames.

use std::net::IpAddr;

use plenary_proto::bounded::Text;
use plenary_proto::rendezvous::{
    Address, Batch, Doors, FRAME_LEN_MAX, FrameError, FromPeer, FromRendezvous, Hello, HostProof,
    MalformedBatch, NotBatched, Refusal, TUNNEL_BATCH_LEN_MAX, TUNNEL_DATAGRAM_LEN_MAX, TurnAccess,
    WIRE_VERSION, datagrams, is_batch,
};
use plenary_proto::seal::{ENVELOPE_LEN_MAX, Keypair, Signature};
use plenary_proto::{PeerId, RoomId};
use proptest::prelude::*;

const PEER: PeerId = PeerId([0xaa; 32]);

fn key(number: u8) -> Keypair {
    Keypair::from_seed(&[number; 32])
}

fn root() -> Keypair {
    key(0)
}

fn room() -> RoomId {
    RoomId::of_root(&root().id())
}

/// The key that the holders of the room's invite have.
fn door() -> Keypair {
    key(50)
}

fn doors() -> Doors {
    Doors::truncated([door().id()])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hello(host: Option<HostProof>) -> FromPeer<'static> {
    let (proof, invited) = (Signature([0x55; 64]), Signature([0x77; 64]));
    let (room, door) = (RoomId([0x11; 16]), PeerId([0xcc; 32]));
    FromPeer::Hello(Box::new(Hello { room, peer: PEER, proof, door, invited, host }))
}

#[test]
fn every_frame_of_a_peer_has_its_bytes() {
    let doors = Doors::truncated([PeerId([0xcc; 32]), PeerId([0xdd; 32])]);
    let host = HostProof { root: PeerId([0xbb; 32]), proof: Signature([0x66; 64]), doors };
    let (room, peer, proof) = ("11".repeat(16), "aa".repeat(32), "55".repeat(64));
    let invited = format!("{}{}", "cc".repeat(32), "77".repeat(64));
    let named = format!("02{}{}", "cc".repeat(32), "dd".repeat(32));
    let plain = format!("0100{room}{peer}{proof}{invited}00");
    let host_proof = format!("{}{}{named}", "bb".repeat(32), "66".repeat(64));
    let hosting = format!("0100{room}{peer}{proof}{invited}01{host_proof}");
    for (frame, expected) in [
        (hello(None), plain),
        (hello(Some(host.clone())), hosting),
        (FromPeer::Send { to: Address::Host, envelope: b"abc" }, "01010003616263".to_owned()),
        (FromPeer::Send { to: Address::Peer(PEER), envelope: b"" }, format!("010101{peer}00")),
        (FromPeer::Pong, "0102".to_owned()),
        (FromPeer::Claim(Box::new(host)), format!("0103{host_proof}")),
        (FromPeer::Tunnel { to: PEER, batch: b"\0\x02ab\0\x01c" }, format!("0104{peer}0700026162000163")),
    ] {
        let bytes = frame.to_bytes();
        assert_eq!(hex(&bytes), expected);
        assert_eq!(FromPeer::from_bytes(&bytes), Ok(frame));
    }
}

fn turn(ip: Option<IpAddr>) -> TurnAccess {
    let (username, password) = (Text::truncated("1:ada"), Text::truncated("pz"));
    TurnAccess { ip, port: 14_860, has_tls: true, username, password }
}

#[test]
fn a_turn_server_without_an_address_is_at_the_rendezvous_host() {
    let at_host = turn(None);
    assert_eq!(
        at_host.urls("[2001:db8::1]"),
        ["turn:[2001:db8::1]:14860?transport=udp", "turns:[2001:db8::1]:14860?transport=tcp"]
    );
    let elsewhere = TurnAccess { has_tls: false, ..turn(Some([192, 0, 2, 1].into())) };
    assert_eq!(
        elsewhere.urls("example.org"),
        ["turn:192.0.2.1:14860?transport=udp", "turn:192.0.2.1:14860?transport=tcp"]
    );
}

#[test]
fn every_frame_of_a_rendezvous_has_its_bytes() {
    let peer = "aa".repeat(32);
    for (frame, expected) in [
        (FromRendezvous::Challenge { nonce: [9; 32] }, format!("0100{}", "09".repeat(32))),
        (FromRendezvous::Welcome { ping_interval_ms: 5000 }, "01018827".to_owned()),
        (FromRendezvous::Refused(Refusal::Version), "010201".to_owned()),
        (FromRendezvous::Refused(Refusal::Closing), "01020b".to_owned()),
        (FromRendezvous::Refused(Refusal::OtherOrigin), "01020c".to_owned()),
        (FromRendezvous::Refused(Refusal::NotYet), "01020d".to_owned()),
        (FromRendezvous::Refused(Refusal::HostPresent), "01020e".to_owned()),
        (FromRendezvous::Refused(Refusal::Other(200)), "0102c8".to_owned()),
        (FromRendezvous::Deliver { from: PEER, envelope: b"abc" }, format!("0103{peer}03616263")),
        (FromRendezvous::Undeliverable { to: Address::Host }, "010400".to_owned()),
        (FromRendezvous::Undeliverable { to: Address::Peer(PEER) }, format!("010401{peer}")),
        (FromRendezvous::Ping, "0105".to_owned()),
        (FromRendezvous::Clock { unix_s: 1_800_000_000 }, "010680a4a7da06".to_owned()),
        (FromRendezvous::Turn(turn(None)), "0107008c740105313a61646102707a".to_owned()),
        (
            FromRendezvous::Turn(turn(Some([192, 0, 2, 1].into()))),
            "01070100c00002018c740105313a61646102707a".to_owned(),
        ),
        (FromRendezvous::Tunnel { from: PEER, batch: b"\0\x02ab" }, format!("0108{peer}0400026162")),
        (FromRendezvous::Carries, "0109".to_owned()),
    ] {
        let bytes = frame.to_bytes();
        assert_eq!(hex(&bytes), expected);
        assert_eq!(FromRendezvous::from_bytes(&bytes), Ok(frame));
    }
}

#[test]
fn every_number_is_a_refusal_and_keeps_its_number() {
    for number in 0..=u8::MAX {
        assert_eq!(u8::from(Refusal::from(number)), number);
        assert_eq!(matches!(Refusal::from(number), Refusal::Other(_)), !(1..=14).contains(&number));
    }
}

#[test]
fn what_is_no_frame_is_said_to_be_none() {
    let oversized = vec![0; ENVELOPE_LEN_MAX + 1];
    let oversized = FromPeer::Send { to: Address::Host, envelope: &oversized }.to_bytes();
    let endless = vec![WIRE_VERSION; FRAME_LEN_MAX + 1];
    let behind = [&FromPeer::Pong.to_bytes()[..], &[0]].concat();
    let cases: [(&[u8], FrameError); 8] = [
        (&[], FrameError::Malformed),
        (&[9, 2], FrameError::Version(9)),
        (&[WIRE_VERSION], FrameError::Malformed),
        (&[WIRE_VERSION, 5], FrameError::Unknown(5)),
        (&[WIRE_VERSION, 1, 0, 200], FrameError::Malformed),
        (&behind, FrameError::Malformed),
        (&oversized, FrameError::TooLong),
        (&endless, FrameError::TooLong),
    ];
    for (bytes, expected) in cases {
        assert_eq!(FromPeer::from_bytes(bytes), Err(expected));
    }
    assert_eq!(FromRendezvous::from_bytes(&[WIRE_VERSION, 10]), Err(FrameError::Unknown(10)));
}

/// Returns why a batch is no part of a frame; both ways alike.
fn refused(batch: &[u8]) -> FrameError {
    let sent = FromPeer::Tunnel { to: PEER, batch }.to_bytes();
    let arrived = FromRendezvous::Tunnel { from: PEER, batch }.to_bytes();
    let error = FromPeer::from_bytes(&sent).unwrap_err();
    assert_eq!(FromRendezvous::from_bytes(&arrived), Err(error));
    error
}

#[test]
fn a_batch_has_whole_datagrams_of_sizes_that_networks_carry() {
    let mut batch = Batch::new();
    for len in [0, TUNNEL_DATAGRAM_LEN_MAX + 1, 70_000] {
        assert_eq!(batch.push(&vec![7; len]), Err(NotBatched::Len(len)));
    }
    assert!(batch.is_empty() && !is_batch(&[]));
    while batch.push(&[7; TUNNEL_DATAGRAM_LEN_MAX]).is_ok() {}
    assert_eq!(batch.push(&[7; TUNNEL_DATAGRAM_LEN_MAX]), Err(NotBatched::Full));
    assert_eq!(batch.push(&vec![7; TUNNEL_BATCH_LEN_MAX - batch.len() - 2]), Ok(()));
    assert_eq!((batch.len(), batch.push(&[7])), (TUNNEL_BATCH_LEN_MAX, Err(NotBatched::Full)));
    let full = batch.take();
    assert!(is_batch(&full) && batch.is_empty());
    let sent = FromPeer::Tunnel { to: PEER, batch: &full };
    assert_eq!(FromPeer::from_bytes(&sent.to_bytes()), Ok(sent));
    assert_eq!(refused(&[&full[..], &[0, 1, 7]].concat()), FrameError::TooLong);
    let behind_one = |bytes: &[u8]| [&[0, 1, 7], bytes].concat();
    let long = behind_one(&[&[0x05, 0xdd][..], &[7; 1501]].concat());
    for torn in [&[][..], &[0], &[0, 0], &behind_one(&[0]), &behind_one(&[0, 2, 7]), &long] {
        assert_eq!(refused(torn), FrameError::Malformed, "{torn:?}");
    }
    let read: Vec<_> = datagrams(&[0, 1, 7, 0, 2, 8]).collect();
    assert_eq!(read, [Ok(&[7][..]), Err(MalformedBatch)]);
}

#[test]
fn the_longest_envelope_fits_a_frame() {
    let envelope = vec![0; ENVELOPE_LEN_MAX];
    let sent = FromPeer::Send { to: Address::Peer(PEER), envelope: &envelope }.to_bytes();
    let delivered = FromRendezvous::Deliver { from: PEER, envelope: &envelope }.to_bytes();
    assert!(sent.len() <= FRAME_LEN_MAX && delivered.len() <= FRAME_LEN_MAX);
    assert!(FromPeer::from_bytes(&sent).is_ok() && FromRendezvous::from_bytes(&delivered).is_ok());
}

#[test]
fn a_proof_holds_for_one_nonce_one_room_and_one_peer() {
    let nonce = [1; 32];
    let (root, doors) = (root(), doors());
    let by = |root: &Keypair| Some(HostProof::new(room(), &nonce, key(1).id(), root, &doors));
    let host = Hello::new(room(), &nonce, &key(1), &door(), by(&root));
    let guest = Hello::new(room(), &nonce, &key(2), &door(), None);
    assert_eq!((host.check(&nonce), guest.check(&nonce)), (Ok(()), Ok(())));

    let elsewhere = RoomId([9; 16]);
    let swapped = |hello: &Hello| HostProof { proof: hello.proof, ..hello.host.clone().unwrap() };
    let foreign_root = Hello::new(room(), &nonce, &key(1), &door(), by(&key(3)));
    let more = Doors::truncated([door().id(), key(9).id()]);
    let widened = HostProof { doors: more, ..host.host.clone().unwrap() };
    for (what, hello) in [
        ("another room", Hello { room: elsewhere, ..guest.clone() }),
        ("another peer", Hello { peer: key(3).id(), ..guest.clone() }),
        ("no key at all", Hello { peer: PeerId([0; 32]), ..guest.clone() }),
        ("the host's proof on a guest", Hello { host: host.host.clone(), ..guest.clone() }),
        ("the peer's proof as the root's", Hello { host: Some(swapped(&host)), ..host.clone() }),
        ("a root of another room", foreign_root),
        ("a door that the host didn't name", Hello { host: Some(widened), ..host.clone() }),
        ("another's door key", Hello { door: key(9).id(), ..guest.clone() }),
        ("no door key at all", Hello { invited: guest.proof, ..guest.clone() }),
        // a guest has the door's key, and says that it is the host
        ("another's id by a good door", Hello { peer: key(1).id(), invited: host.invited, ..guest.clone() }),
    ] {
        assert_eq!(hello.check(&nonce), Err(Refusal::BadProof), "{what}");
    }
    assert_eq!(host.check(&[2; 32]), Err(Refusal::BadProof));
}

fn address() -> impl Strategy<Value = Address> {
    prop_oneof![Just(Address::Host), any::<[u8; 32]>().prop_map(|id| Address::Peer(PeerId(id)))]
}

proptest! {
    #[test]
    fn frames_read_back_as_they_were_written(
        to in address(),
        from in any::<[u8; 32]>(),
        envelope in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let sent = FromPeer::Send { to, envelope: &envelope };
        prop_assert!(FromPeer::from_bytes(&sent.to_bytes()) == Ok(sent.clone()));
        let delivered = FromRendezvous::Deliver { from: PeerId(from), envelope: &envelope };
        prop_assert!(FromRendezvous::from_bytes(&delivered.to_bytes()) == Ok(delivered.clone()));
    }

    #[test]
    fn what_is_put_into_a_batch_comes_out_of_it(
        all in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 0..20),
    ) {
        let mut batch = Batch::new();
        let put: Vec<_> = all.iter().filter(|datagram| batch.push(datagram).is_ok()).collect();
        let len = batch.len();
        let bytes = batch.take();
        prop_assert_eq!(bytes.len(), len);
        prop_assert_eq!(is_batch(&bytes), !put.is_empty());
        let read: Result<Vec<_>, _> = datagrams(&bytes).collect();
        prop_assert_eq!(read, Ok(put.into_iter().map(Vec::as_slice).collect()));
    }

    #[test]
    fn any_bytes_are_a_batch_or_an_error(bytes in prop::collection::vec(0..4u8, 0..40)) {
        let read: Vec<_> = datagrams(&bytes).collect();
        let errors = read.iter().filter(|datagram| datagram.is_err()).count();
        prop_assert!(errors <= 1 && read.iter().rev().skip(1).all(Result::is_ok));
        prop_assert_eq!(is_batch(&bytes), errors == 0 && !bytes.is_empty());
        // whatever could be read goes into a batch of the same bytes
        let mut batch = Batch::new();
        read.into_iter().flatten().for_each(|datagram| batch.push(datagram).unwrap());
        prop_assert!(bytes.starts_with(&batch.take()));
    }

    #[test]
    fn any_bytes_are_a_frame_or_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = FromPeer::from_bytes(&bytes);
        let _ = FromRendezvous::from_bytes(&bytes);
        // sets a valid version and mostly a valid variant
        let variant = bytes.first().copied().unwrap_or(0) % 11;
        bytes.splice(0..bytes.len().min(2), [WIRE_VERSION, variant]);
        if let Ok(frame) = FromPeer::from_bytes(&bytes) {
            prop_assert!(FromPeer::from_bytes(&frame.to_bytes()) == Ok(frame.clone()));
        }
        if let Ok(frame) = FromRendezvous::from_bytes(&bytes) {
            prop_assert!(FromRendezvous::from_bytes(&frame.to_bytes()) == Ok(frame.clone()));
        }
    }
}
