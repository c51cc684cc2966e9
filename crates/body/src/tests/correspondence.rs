//! Links whose other end has yet to prove who it is, notices of other versions, and whether a peer is in its room.

use std::time::Duration;

use plenary_proto::app::ConnectionState;
use plenary_proto::message::{Fingerprints, Join, MESSAGE_VERSION, MemberMessage};
use plenary_proto::rendezvous::{Address, Outage};
use plenary_proto::seal::Keypair;
use plenary_proto::{Event, RoomId};
use plenary_testkit::first_messages::{FirstMessage, Then, first_messages};

use super::letters::{key, letters, room_key};
use super::*;
use crate::body::In;
use crate::correspondence::{Correspondence, Gate, HOST_ANSWER_US_MAX, Step, Told};
use crate::outs::Envelope;

const NOW_US: u64 = 1_700_000_000_000_000;
const PATIENCE: Duration = Duration::from_secs(5);
const LINK: LinkId = LinkId(7);
/// The certificates as Ada sees them, and as Ben does.
const AT_ADA: Fingerprints = Fingerprints { own: [1; 32], other: [2; 32] };
const AT_BEN: Fingerprints = Fingerprints { own: [2; 32], other: [1; 32] };

/// Ada, who joins now.
fn ada() -> Correspondence {
    Correspondence::new(letters(2), [4; 32], NOW_US, PATIENCE)
}

fn ben() -> Keypair {
    key(3)
}

/// What Ben may say first.
fn firsts() -> Vec<FirstMessage> {
    let room: RoomId = room_key().room();
    first_messages(&ben(), &room, &key(2).id(), &AT_BEN)
}

/// What becomes of a link with Ben by these bytes.
fn then(ada: &mut Correspondence, channel: Channel, bytes: &[u8]) -> Then {
    match ada.judge(LINK, &ben().id(), channel, bytes) {
        Gate::Open => panic!("the body gets them"),
        Gate::Shut(steps) => match &steps[..] {
            [] => Then::Waits,
            [Step::Input(In::LinkUp(LINK))] => Then::Up,
            [Step::Tell(Told::Unproven(peer)), Step::Out(Out::Close { link: LINK })]
                if *peer == ben().id() =>
            {
                Then::Closed
            }
            steps => panic!("{steps:?}"),
        },
    }
}

#[test]
fn a_link_counts_once_its_other_end_has_proved_who_it_is() {
    let proof = firsts()[0].bytes.clone();
    for FirstMessage { name, channel, bytes, then: expected } in firsts() {
        let mut ada = ada();
        assert_eq!(then(&mut ada, channel, &bytes), Then::Waits, "before it is connected: {name}");
        let own = ada.connected(LINK, &ben().id(), AT_ADA);
        assert!(matches!(own[..], [Step::Out(Out::Control { link: LINK, .. })]), "{own:?}");
        assert!(ada.connected(LINK, &ben().id(), AT_ADA).is_empty(), "once");
        assert_eq!(then(&mut ada, channel, &bytes), expected, "{name}");
        assert_eq!(ada.is_proven(LINK), expected == Then::Up, "{name}");
        let later = match expected {
            Then::Up => {
                assert!(matches!(ada.judge(LINK, &ben().id(), Channel::Bulk, &[7]), Gate::Open));
                continue;
            }
            Then::Closed => Then::Waits, // nothing counts any more
            Then::Waits => Then::Up,
        };
        assert_eq!(then(&mut ada, Channel::Control, &proof), later, "the proof after {name}");
        ada.ended(LINK);
        assert!(!ada.is_proven(LINK));
    }
}

#[test]
fn an_empty_heartbeat_is_the_links_own_affair() {
    let mut ada = ada();
    ada.connected(LINK, &ben().id(), AT_ADA);
    assert_eq!(then(&mut ada, Channel::Control, &firsts()[0].bytes), Then::Up);
    assert_eq!(then(&mut ada, Channel::Heartbeat, &[]), Then::Waits);
}

/// What is told among steps.
fn told(steps: impl IntoIterator<Item = Step>) -> Vec<Told> {
    let tell = |step| if let Step::Tell(told) = step { Some(told) } else { None };
    steps.into_iter().filter_map(tell).collect()
}

/// Ben's notice that he speaks another version.
fn notice(ada: &mut Correspondence, at_us: u64) -> Vec<Told> {
    let sealed = letters(3).seal_notice(key(2).id(), at_us, [1; 24]).unwrap();
    told(ada.open(ben().id(), &sealed, at_us, |_, _, _| true))
}

#[test]
fn a_host_that_answers_in_time_may_take_its_time_to_decide() {
    let by_us = NOW_US + 5_000_000 + HOST_ANSWER_US_MAX;
    let no_answer = |other_version| vec![Told::NoAnswer { other_version }];
    let mut silent = ada();
    assert_eq!(told(silent.on_time(by_us - 1)), []);
    assert_eq!(told(silent.on_time(by_us)), no_answer(None));
    assert_eq!(told(silent.on_time(by_us + 1)), [], "once");

    let mut noticed = ada();
    let (peer, version) = (ben().id(), MESSAGE_VERSION);
    assert_eq!(notice(&mut noticed, NOW_US), [Told::Event(Event::OtherVersion { peer, version })]);
    assert_eq!(told(noticed.on_time(by_us)), no_answer(Some(MESSAGE_VERSION)));

    for answer in [Event::InLobby, Event::Admitted] {
        let mut answered = ada();
        notice(&mut answered, NOW_US);
        answered.note(&answer);
        notice(&mut answered, NOW_US + 2_000_000);
        assert_eq!(told(answered.on_time(by_us + 3_600_000_000)), []);
    }
    let mut closed = ada();
    closed.close();
    assert_eq!(told(closed.on_time(by_us)), [], "it has ended by another reason");
}

fn up() -> Told {
    Told::Rendezvous(Ok(()))
}

#[test]
fn a_peer_is_in_once_it_is_admitted_and_the_rendezvous_was_reached() {
    let mut by_admission = ada();
    assert_eq!(told(by_admission.signal_changed(Ok(()))), [up()]);
    assert_eq!(told(by_admission.note(&Event::Admitted)), [Told::In]);
    assert_eq!(told(by_admission.note(&Event::Admitted)), [], "once");

    // a host admits itself
    let mut host = ada();
    assert_eq!(told(host.note(&Event::Admitted)), []);
    assert!(host.is_admitted() && !host.is_in());
    assert_eq!(told(host.signal_changed(Ok(()))), [up(), Told::In]);
}

#[test]
fn an_outage_of_the_rendezvous_is_told_once() {
    let (mut ada, refused) = (ada(), || Err(Outage::Connect("refused".to_owned())));
    let many: Vec<_> = [refused(), refused(), Ok(()), Ok(()), refused()]
        .into_iter()
        .flat_map(|now| told(ada.signal_changed(now)))
        .collect();
    assert_eq!(many, [refused(), Ok(()), refused()].map(Told::Rendezvous));
    assert!(!ada.is_signal_up());
}

#[test]
fn the_first_envelope_of_a_later_session_tells_of_the_restart_first() {
    let mut host = ada();
    let seal = |session: u64, host: &mut Correspondence| {
        let room = room_key();
        let sealer = plenary_proto::seal::Sealer::new(ben(), room.clone(), session << 40);
        let opener = plenary_proto::seal::Opener::new(ben().id(), room.clone());
        let letters = crate::letters::Letters::new(room.room(), key(1).id(), ben().id(), sealer, opener);
        let mut of_ben = Correspondence::new(letters, [session as u8; 32], NOW_US, PATIENCE);
        let message = Box::new(Message::Member(MemberMessage::Join(Join::viewer("Ben"))));
        let sealed = of_ben.seal(Envelope::Signal { to: plenary_proto::Address::Host, message }, NOW_US);
        let Some(Step::Post(Address::Host, sealed)) = sealed else { panic!("{sealed:?}") };
        host.open(ben().id(), &sealed, NOW_US, |_, _, _| true)
    };
    assert!(matches!(&seal(1, &mut host)[..], [Step::Input(In::Message { .. })]));
    let again = seal(2, &mut host);
    assert!(
        matches!(&again[..], [Step::Input(In::Restarted(peer)), Step::Input(In::Message { .. })] if *peer == ben().id()),
        "{again:?}"
    );
}

#[test]
fn a_closed_connection_stays_closed() {
    let mut world = super::world::World::new(&[super::world::Part::Speaker]);
    world.run(100);
    let mut ada = ada();
    let body = &world.peers[0].body;
    assert_eq!(ada.connection(body, NOW_US), ConnectionState::Joining, "no rendezvous yet");
    ada.signal_changed(Ok(()));
    assert_eq!(ada.connection(body, NOW_US), ConnectionState::Connected);
    ada.close();
    assert_eq!(ada.connection(body, NOW_US), ConnectionState::Closed);
}
