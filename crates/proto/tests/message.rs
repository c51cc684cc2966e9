//! Control messages: encoded bytes, bounds, and robustness against arbitrary bytes.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::samples::*;
use plenary_proto::bounded::{List, Text, plain};
use plenary_proto::message::*;
use plenary_proto::seal::{Countersigned, ENVELOPE_LEN_MAX, Invite, RoomSecret, SealError, Sealer, Signed};
use plenary_proto::{PeerId, RoomId, ShortId, StreamId, StreamKind, StreamSpec};
use proptest::prelude::*;

/// The name of a message in its machine's enum.
fn variant(message: &Message) -> String {
    let text = format!("{message:?}");
    let (_machine, own) = text.split_once('(').unwrap();
    own.chars().take_while(|c| c.is_alphanumeric()).collect()
}

#[test]
fn every_variant_keeps_its_golden_bytes() {
    let mut text = String::new();
    for message in samples() {
        writeln!(text, "{} {}", variant(&message), data_encoding::HEXLOWER.encode(&message.to_bytes()))
            .unwrap();
    }
    for (name, heartbeat) in heartbeats() {
        writeln!(text, "{name} {}", data_encoding::HEXLOWER.encode(&heartbeat.to_bytes())).unwrap();
    }
    let invite = Invite::create(
        &key(1),
        (0, RoomSecret([7; 16])),
        Some("tulip"),
        true,
        None,
        &["ws://a.example"],
        NOW,
    );
    writeln!(text, "invite {invite}").unwrap();
    let mut sealer = Sealer::new(key(2), invite.key(Some("tulip")).unwrap(), 99);
    let envelope = sealer
        .seal(Some(key(3).id()), &Message::Member(MemberMessage::Leave).to_bytes(), NOW, [8; 24])
        .unwrap();
    writeln!(text, "envelope {}", data_encoding::HEXLOWER.encode(&envelope)).unwrap();
    writeln!(text, "stream-id {}", samples_spec().id(&room())).unwrap();

    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/messages.txt");
    if std::env::var_os("PLENARY_BLESS").is_some() {
        std::fs::write(file, &text).unwrap();
    }
    let golden = std::fs::read_to_string(file).unwrap();
    for (line, (now, then)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(now, then, "line {} of {file}: formats are final, new variants go to the end", line + 1);
    }
    assert_eq!(text.lines().count(), golden.lines().count());
}

/// The seed corpus of the fuzzers matches the present formats.
#[test]
fn every_variant_is_in_the_corpus_of_fuzzers_as_it_is_now() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/message");
    for message in samples() {
        let file = format!("{folder}/{}", variant(&message));
        if std::env::var_os("PLENARY_BLESS").is_some() {
            std::fs::write(&file, message.to_bytes()).unwrap();
        }
        let kept = std::fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(kept == message.to_bytes(), "{file} holds other bytes: PLENARY_BLESS=1 writes them anew");
    }
}

fn samples_spec() -> StreamSpec {
    StreamSpec { maker: key(3).id(), kind: StreamKind::Program, rank: RANK, rung: 0, start: [1; 8] }
}

fn heartbeats() -> Vec<(&'static str, Heartbeat)> {
    let head = Head {
        rank: RANK,
        stream: StreamId([9; 8]),
        video_packet: 1234,
        sound_packet: 567,
        captured_us: 1_763_627_671_166_665,
        depth: 2,
        path_hash: path_hash(&path()),
    };
    vec![
        ("heartbeat-head", Heartbeat::Head(head)),
        ("heartbeat-head-wanted", Heartbeat::HeadWanted),
        ("heartbeat-ping", Heartbeat::Ping { sent_us: 1_000_000 }),
        ("heartbeat-pong", Heartbeat::Pong { sent_us: 1_000_000, received_us: 5, replied_us: 6 }),
    ]
}

#[test]
fn every_variant_is_in_the_samples_and_reads_back() {
    let names: BTreeSet<_> = samples().iter().map(variant).collect();
    assert_eq!(names.len(), samples().len());
    // of each machine all messages from 0 on, and no more are known
    let mut next = [0, 0];
    let mut unknown = Vec::new();
    for message in samples() {
        let bytes = message.to_bytes();
        if bytes[1] > next[0] {
            unknown.push(next);
            next = [next[0] + 1, 0];
        }
        assert_eq!((bytes[0], &bytes[1..3]), (MESSAGE_VERSION, &next[..]), "{message:?}");
        assert_eq!(Message::from_bytes(&bytes), Ok(message));
        next[1] += 1;
    }
    unknown.push(next);
    for [machine, number] in unknown {
        let error = MessageError::Unknown(machine.into(), Some(number.into()));
        assert_eq!(Message::from_bytes(&[MESSAGE_VERSION, machine, number]), Err(error));
    }
    let later = u32::from(next[0]) + 1;
    assert_eq!(Message::from_bytes(&[MESSAGE_VERSION, next[0] + 1]), Err(MessageError::Unknown(later, None)));
    assert_eq!(Message::from_bytes(&[9, 0, 0]), Err(MessageError::Version(9)));
}

#[test]
fn the_first_bytes_of_a_message_tell_its_budget() {
    for message in samples() {
        let expected = match message {
            Message::Route(_) => Budgeted::Carried,
            Message::Data(_) => Budgeted::Data,
            _ => Budgeted::Control,
        };
        assert_eq!(Message::budget_of(&message.to_bytes()), expected, "{}", variant(&message));
    }
    assert_eq!(Message::budget_of(b""), Budgeted::Control);
}

#[test]
fn heartbeats_fit_their_bound_and_read_back() {
    for (name, heartbeat) in heartbeats() {
        let mut bytes = heartbeat.to_bytes();
        assert!(bytes.len() <= HEAD_LEN_MAX, "{name}: {} bytes", bytes.len());
        assert_eq!(Heartbeat::from_bytes(&bytes), Some(heartbeat));
        assert_eq!(Heartbeat::from_bytes(&bytes[..bytes.len() - 1]), None);
        bytes.resize(HEAD_LEN_MAX + 1, 0);
        assert_eq!(Heartbeat::from_bytes(&bytes), None);
    }
}

#[test]
fn an_offer_stays_below_400_bytes_and_a_ticket_adds_160_at_most() {
    let widest = Description {
        ufrag: Text::truncated(&"u".repeat(99)),
        pwd: Text::truncated(&"p".repeat(99)),
        candidates: List::new(),
        payload_types: Some(PayloadTypes { h264: 102, opus: 111 }),
        ..description()
    };
    let offer = offer_of(widest, None).to_bytes();
    assert!(offer.len() <= 400, "{} bytes", offer.len());
    let mut sealer = Sealer::new(key(2), invite_key(), 0);
    let usual = Description { candidates: List::new(), ..description() };
    for (ticket, len_max) in [(None, 400), (Some(Box::new(ticket(2, 2))), 560)] {
        let usual = offer_of(usual.clone(), ticket).to_bytes();
        let sealed = sealer.seal(Some(key(3).id()), &usual, NOW, [1; 24]).unwrap();
        assert!(sealed.len() <= len_max, "{} bytes sealed", sealed.len());
    }
}

fn offer_of(description: Description, ticket: Option<Box<Signed<Ticket>>>) -> Message {
    Message::Link(LinkMessage::Offer(Offer { kind: LinkKind::Peer, description, ticket }))
}

fn invite_key() -> plenary_proto::seal::RoomKey {
    Invite::create(&key(1), (0, RoomSecret([7; 16])), None, true, None, &[], NOW).key(None).unwrap()
}

#[test]
fn a_full_ballot_and_a_full_roster_fit_an_envelope() {
    let reports = list((0..BALLOT_REPORTS_MAX).map(|_| report()).collect());
    let round_trips = list(vec![RoundTrip::new(&key(2).id(), u32::MAX); ROUND_TRIPS_MAX]);
    let full = Claim { round_trips, ..claim().body };
    let full = Signed::new(&key(2), &room(), 7, 13, NEVER, full);
    let claims = list((0..ROSTER_MAX).map(|_| full.clone()).collect());
    let seats = list(vec![key(2).id(); MIXERS_MAX]);
    let outcome = Outcome {
        mixers: seats.clone(),
        uplinks_bps: list(vec![u64::MAX; MIXERS_MAX]),
        standbys: seats.clone(),
        challenger: Some(key(2).id()),
        doubts: list(vec![Doubt { peer: key(2).id(), until_unix_s: u64::MAX }; MIXERS_MAX]),
        ..outcome()
    };
    let ballot = Ballot { reports, claims, sitting: seats, outcome };
    let ballot = Message::Election(ElectionMessage::Ballot(Box::new(Signed::new(
        &key(2),
        &room(),
        7,
        13,
        NEVER,
        ballot,
    ))));
    assert!(ballot.to_bytes().len() < ENVELOPE_LEN_MAX - 512, "{} bytes", ballot.to_bytes().len());
    let mut full = ProvenRoster::clone(&roster());
    let name = Text::truncated(&"n".repeat(NAME_LEN_MAX));
    full.signed.body.entries = list(vec![Entry { name, ..full.body.entries[0].clone() }; ROSTER_MAX]);
    assert!(Message::Member(MemberMessage::Roster(full.clone().into())).to_bytes().len() < 8 * 1024);
    // after three reigns, each chosen by the smallest possible majority
    let (_, mut chosen) = reign_of_heir();
    chosen.signatures = list(vec![chosen.signatures[0]; ROSTER_MAX / 2 + 1]);
    full.reigns = Reigns(list(vec![Reign::Chosen { under: full.signed.clone(), chosen }; REIGNS_MAX]));
    assert!(Message::Member(MemberMessage::Roster(full.into())).to_bytes().len() < 45 * 1024);
}

#[test]
fn a_length_past_its_bound_is_refused_before_it_is_read() {
    let mut bytes = Message::Tree(TreeMessage::PathIs(list(vec![ShortId([0; 8]); PATH_LEN_MAX]))).to_bytes();
    assert!(Message::from_bytes(&bytes).is_ok());
    let huge = [&bytes[..3], &[0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
    bytes[3] += 1;
    bytes.extend([0; 8]);
    assert_eq!(Message::from_bytes(&bytes), Err(MessageError::Malformed));
    assert_eq!(Message::from_bytes(&huge), Err(MessageError::Malformed));
    assert_eq!(Message::from_bytes(&vec![1; MESSAGE_LEN_MAX + 1]), Err(MessageError::TooLong));
    assert_eq!(Message::from_bytes(&[]), Err(MessageError::Malformed));
}

#[test]
fn bytes_behind_a_message_are_refused() {
    let mut bytes = Message::Member(MemberMessage::Leave).to_bytes();
    bytes.push(0);
    assert_eq!(Message::from_bytes(&bytes), Err(MessageError::Malformed));
}

#[test]
fn a_message_verifies_only_with_every_signature_intact() {
    for message in samples() {
        assert!(message.clone().verify(&room(), &key(1).id(), NOW).is_ok(), "{}", variant(&message));
    }
    let mut forged = ProvenRoster::clone(&roster());
    forged.signed.body.acting = None;
    assert!(matches!(
        Message::Member(MemberMessage::Roster(forged.into())).verify(&room(), &key(1).id(), NOW),
        Err(SealError::Signature(_))
    ));
    assert_eq!(
        Message::Member(MemberMessage::Roster(roster())).verify(&room(), &key(9).id(), NOW),
        Err(SealError::WrongSender)
    );
    let elsewhere = RoomId([0; 16]);
    for message in samples() {
        let signed = matches!(
            message,
            Message::Member(MemberMessage::Admit(_) | MemberMessage::Refuse(_))
                | Message::Member(MemberMessage::Roster(_))
                | Message::Failover(FailoverMessage::Failover(_) | FailoverMessage::Alive(_))
                | Message::Election(ElectionMessage::Claim(_) | ElectionMessage::Report(_))
                | Message::Election(ElectionMessage::Ballot(_) | ElectionMessage::Lacking { .. })
                | Message::Election(ElectionMessage::Opening(_) | ElectionMessage::Decided(_))
                | Message::Data(DataMessage::Data(_))
                | Message::Member(MemberMessage::Join(_))
                | Message::Tree(TreeMessage::Attach(_))
                | Message::Member(MemberMessage::Position { .. })
                | Message::Link(LinkMessage::LinkWanted { .. } | LinkMessage::Offer(_))
                | Message::Member(MemberMessage::Ticket(_))
                | Message::Election(ElectionMessage::Confirmed(_))
                | Message::Host(HostMessage::HandOver(_))
        );
        assert_eq!(
            message.clone().verify(&elsewhere, &key(1).id(), NOW).is_err(),
            signed,
            "{}",
            variant(&message)
        );
    }
    let mut ballot = Ballot {
        reports: list(vec![report()]),
        claims: list(vec![]),
        sitting: list(vec![]),
        outcome: outcome(),
    };
    ballot.reports = list(vec![Signed { sender: key(5).id(), ..report() }]);
    let ballot = Message::Election(ElectionMessage::Ballot(Box::new(Signed::new(
        &key(2),
        &room(),
        7,
        13,
        NEVER,
        ballot,
    ))));
    assert!(ballot.verify(&room(), &key(1).id(), NOW).is_err(), "a report put under another's name");
}

fn reign_of_heir() -> (Signed<Roster>, Countersigned<Heir, ROSTER_MAX>) {
    match roster_of_heir().reigns.0[0].clone() {
        Reign::Chosen { under, chosen } => (under, chosen),
        Reign::Named { .. } => panic!("the sampled heir was chosen"),
    }
}

#[test]
fn an_heir_signs_rosters_by_the_word_of_a_majority_only() {
    let verify = |roster: ProvenRoster| {
        Message::Member(MemberMessage::Roster(roster.into())).verify(&room(), &key(1).id(), NOW).map(|_| ())
    };
    let good = ProvenRoster::clone(&roster_of_heir());
    assert_eq!(verify(good.clone()), Ok(()));
    let changed = |change: fn(&mut ProvenRoster)| {
        let mut roster = good.clone();
        change(&mut roster);
        verify(roster)
    };
    assert_eq!(changed(|roster| roster.reigns = Reigns::default()), Err(SealError::WrongSender));
    let (under, chosen) = reign_of_heir();
    let one_vote = Countersigned { signatures: list(vec![chosen.signatures[0]]), ..chosen.clone() };
    let twice = Countersigned { signatures: list(vec![chosen.signatures[0]; 2]), ..chosen.clone() };
    for chosen in [one_vote, twice] {
        let reigns = Reigns(list(vec![Reign::Chosen { under: under.clone(), chosen }]));
        assert_eq!(verify(ProvenRoster { reigns, ..good.clone() }), Err(SealError::WrongSender));
    }
    // an epoch of reign 0, a signer other than the heir, and a reign number that no majority chose
    let sign = |by: u8, epoch| Signed::new(&key(by), &room(), epoch, 1, NEVER, good.body.clone());
    for signed in [sign(3, 8), sign(2, first_epoch(1)), sign(3, first_epoch(2))] {
        assert_eq!(verify(ProvenRoster { signed, ..good.clone() }), Err(SealError::WrongSender));
    }
}

#[test]
fn statements_end_when_they_say() {
    let alive =
        Signed::new(&key(3), &room(), 7, 12, NOW, Alive { rank: RANK, denied: RANK, successor: key(4).id() });
    assert!(alive.verify(&room(), NOW).is_ok());
    assert_eq!(alive.verify(&room(), NOW + 1), Err(SealError::Expired));
}

#[test]
fn long_messages_travel_in_pieces_and_damaged_ones_are_dropped() {
    for len in [1, PIECE_LEN_MAX - 1, PIECE_LEN_MAX, 5 * PIECE_LEN_MAX + 7, MESSAGE_LEN_MAX] {
        let message: Vec<u8> = (0..len).map(|at| at as u8).collect();
        let mut reassembly = Reassembly::default();
        let mut whole = None;
        for piece in Pieces::of(&message) {
            assert!(whole.is_none() && piece.len() <= PIECE_LEN_MAX);
            whole = reassembly.push(&piece).unwrap();
        }
        assert_eq!(whole, Some(message), "{len} bytes");
    }
    let mut reassembly = Reassembly::default();
    for bad in [&[][..], &[0], &[1], &[2, 1], &[0; PIECE_LEN_MAX + 1]] {
        assert_eq!(reassembly.push(bad), Err(TooLong));
    }
    let endless = [&[1][..], &[0; 16_000]].concat();
    assert!((0..100).any(|_| reassembly.push(&endless) == Err(TooLong)));
    assert_eq!(reassembly.push(&[0, 7]), Ok(Some(vec![7])));
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), which in (0..11u8, 0..16u8)) {
        let _ = Message::from_bytes(&bytes);
        let _ = Message::from_bytes(&[&[MESSAGE_VERSION, which.0, which.1][..], &bytes].concat());
        let _ = Heartbeat::from_bytes(&bytes);
        let _ = Reassembly::default().push(&bytes);
    }

    #[test]
    fn a_damaged_message_is_refused_or_reads_as_something_that_writes_back(
        which: prop::sample::Index, at: prop::sample::Index, byte: u8,
    ) {
        let mut bytes = which.get(&samples()).to_bytes();
        *at.get_mut(&mut bytes[..]) = byte;
        if let Ok(message) = Message::from_bytes(&bytes) {
            prop_assert_eq!(Message::from_bytes(&message.to_bytes()), Ok(message.clone()));
            let _ = message.verify(&room(), &key(1).id(), NOW);
        }
    }

    #[test]
    fn names_are_cut_between_characters(name in "\\PC{0,80}") {
        let text: Text<NAME_LEN_MAX> = Text::truncated(&name);
        prop_assert!(text.len() <= NAME_LEN_MAX && plain(&name).starts_with(&*text));
    }
}

#[test]
fn a_peer_id_prints_whole_and_debugs_short() {
    let id = PeerId([0xab; 32]);
    assert_eq!(id.to_string(), "ab".repeat(32));
    assert_eq!(format!("{id:?}"), "abababab");
}
