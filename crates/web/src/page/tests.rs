//! What a page does with what others send, without a network.

use plenary_body::{Envelope, HOST_ANSWER_US_MAX};
use plenary_proto::bounded::List;
use plenary_proto::link_layout::Channel;
use plenary_proto::message::{
    BrowserMedia, Candidate, Description, Fingerprints, Join, LinkKind, LinkMessage, Offer, PayloadTypes,
    Reassembly, Setup, Ticket,
};
use plenary_proto::rendezvous::{FromRendezvous, Step};
use plenary_proto::sdp::sdp;
use plenary_proto::seal::{NONCE_LEN, RoomKeys, RoomSecret, Signed};
use plenary_proto::{Address, Via};

use plenary_proto::Command;
use plenary_proto::message::Delivery;
use plenary_testkit::first_messages::{FirstMessage, Then, first_messages};

use crate::hosting::mix_policy;
use crate::wire::Hosting;

use super::*;

const NOW_US: u64 = 1_700_000_000_000_000;
/// Time that rendezvous and host have together.
const ANSWER_BY_US: u64 = PATIENCE_US + HOST_ANSWER_US_MAX;
const CONTROL: u8 = Channel::Control.id();

/// A page that waits for the host's answer.
fn page() -> Page {
    let mut page = dialling();
    page.handle(NOW_US, Call::Tick);
    let welcome = FromRendezvous::Welcome { ping_interval_ms: 60_000 };
    for frame in [FromRendezvous::Challenge { nonce: [5; 32] }, welcome] {
        page.handle(NOW_US, Call::SocketFrame(frame.to_bytes().to_vec()));
    }
    assert!(page.0.as_ref().unwrap().correspondence.is_signal_up());
    page
}

fn invite() -> Invite {
    let root = Keypair::from_seed(&[1; 32]);
    let rendezvous = Some("http://127.0.0.1:9".to_owned());
    Invite::create(&root, (0, RoomSecret([8; 16])), None, true, rendezvous, &[], u64::MAX)
}

/// A page that waits for its rendezvous.
fn dialling() -> Page {
    joining(&invite()).0
}

/// What a page is told to enter as a viewer that relays nothing.
fn opening(room: Entered) -> Opening {
    Opening {
        room,
        password: None,
        name: "Zoe".to_owned(),
        speaks: false,
        views: true,
        children_max: 0,
        identity: [3; 32],
        entropy: [4; 32],
    }
}

/// A page that has just been told to join, and what it asks for.
fn joining(invite: &Invite) -> (Page, Vec<Ask>) {
    let password = invite.flags().password.then(|| "tulip".to_owned());
    let opening = Opening { password, ..opening(Entered::Invited(invite.to_string())) };
    let mut page = Page::default();
    let asks = page.handle(NOW_US, Call::Open(Box::new(opening)));
    (page, asks)
}

#[test]
fn a_page_keeps_a_last_piece_by_which_every_link_reads_that_it_leaves() {
    let (_, asks) = joining(&invite());
    let farewells = asks.iter().filter_map(|ask| match ask {
        Ask::Farewell(piece) => Some(piece),
        _ => None,
    });
    let mut read = Reassembly::default();
    let messages: Vec<_> = farewells.filter_map(|piece| read.push(piece).unwrap()).collect();
    assert_eq!(messages.len(), 1);
    assert_eq!(Message::from_bytes(&messages[0]).unwrap(), Message::Member(MemberMessage::Leave));
}

/// A notice by any guest.
fn notice(page: &mut Page, at_us: u64) {
    let joined = page.0.as_mut().unwrap();
    let (guest, (invite, key)) = (Keypair::from_seed(&[7; 32]), &joined.invite);
    let (from, sealer) = (guest.id(), Sealer::new(guest, key.clone(), at_us));
    let opener = Opener::new(from, key.clone());
    let mut letters = Letters::new(invite.room(), invite.root(), from, sealer, opener);
    let bytes = letters.seal_notice(joined.me, at_us, [1; NONCE_LEN]).unwrap().into();
    joined.called_us = at_us;
    joined.take_step(Step::Envelope { from, bytes });
}

/// Returns whether the page is refused within that time, for that reason.
fn is_refused_by(page: &mut Page, within_us: u64, reason: Reason) -> bool {
    let refused = json(&Event::Refused(reason.into()));
    let refuses = |ask: &Ask| matches!(ask, Ask::Event { event, .. } if *event == refused);
    (0..=within_us).step_by(25_000).any(|us| page.handle(NOW_US + us, Call::Tick).iter().any(refuses))
}

fn is_refused(page: &mut Page, within_us: u64) -> bool {
    is_refused_by(page, within_us, Reason::RoomVersion)
}

#[test]
fn a_page_gives_up_when_nobody_answers_and_says_who_did_not() {
    assert!(!is_refused_by(&mut dialling(), PATIENCE_US / 2, Reason::Unreachable));
    assert!(is_refused_by(&mut dialling(), PATIENCE_US, Reason::Unreachable));
    assert!(is_refused_by(&mut page(), ANSWER_BY_US, Reason::NoAnswer));
}

#[test]
fn a_page_that_has_slept_dials_anew_without_waiting_for_its_next_attempt() {
    let mut page = dialling();
    page.handle(NOW_US + 1_000, Call::SocketClosed);
    let asks = page.handle(NOW_US + 2_000 + SLEPT_US, Call::Tick);
    assert!(asks.iter().any(|ask| matches!(ask, Ask::Dial(_))), "{asks:?}");
    let asks = page.handle(NOW_US + 3_000 + 2 * SLEPT_US, Call::Tick);
    let is = |ask: &Ask| matches!(ask, Ask::HangUp | Ask::Dial(_));
    assert_eq!(asks.iter().filter(|ask| is(ask)).count(), 2, "{asks:?}");
}

#[test]
fn a_page_whose_network_changes_says_so_and_dials_anew_at_once() {
    let mut page = dialling();
    let asks = page.handle(NOW_US + 30_000, Call::NetworkChanged);
    assert!(asks.contains(&Ask::HangUp) && asks.iter().any(|ask| matches!(ask, Ask::Dial(_))), "{asks:?}");
    assert!(events(&asks).iter().any(|event| event["what"] == "network-changed"));
}

#[test]
fn a_page_with_a_wrong_clock_says_so_and_seals_by_the_rendezvous_time() {
    let mut page = page();
    let joined = page.0.as_mut().unwrap();
    joined.take_step(Step::Clock { unix_s: NOW_US / 1_000_000 + 3_600 });
    let asks = page.handle(NOW_US + 1, Call::Tick);
    let told = events(&asks);
    let says = told.iter().any(|event| event["what"] == "own-clock" && event["ahead_s"] == -3_600);
    assert!(says, "{told:?}");
    let joined = page.0.as_mut().unwrap();
    let envelope =
        Envelope::Signal { to: Address::Host, message: Box::new(Message::Member(MemberMessage::Leave)) };
    let Some(plenary_body::Step::Post(_, sealed)) = joined.correspondence.seal(envelope, NOW_US) else {
        panic!()
    };
    let mut host = Opener::new(PeerId([9; 32]), joined.invite.1.clone());
    assert!(host.open(&sealed, NOW_US / 1_000_000 + 3_600).is_ok());
}

/// A page that opens a room with these keys, what it asks for at once, and what a change of the roster brings.
fn hosting(keys: Vec<u8>) -> (Page, Vec<Ask>) {
    hosting_for(None, keys)
}

/// The same, with the address of a page elsewhere.
fn hosting_for(page: Option<&str>, keys: Vec<u8>) -> (Page, Vec<Ask>) {
    let hosting = Hosting {
        rendezvous: "https://example.org/".to_owned(),
        page: page.map(str::to_owned),
        keys,
        title: "Talk".to_owned(),
        lobby: false,
        stage_open: true,
        mix_by_named: None,
    };
    let (name, password) = ("Ada".to_owned(), Some("tulip".to_owned()));
    let opening = Opening { name, password, speaks: true, ..opening(Entered::Opened(hosting)) };
    let mut page = Page::default();
    let asks = page.handle(NOW_US, Call::Open(Box::new(opening)));
    (page, asks)
}

/// Returns the last keys and the last invite among asks.
fn kept(asks: &[Ask]) -> (Vec<u8>, Invite) {
    let keys = asks.iter().rev().find_map(|ask| match ask {
        Ask::Keys(keys) => Some(keys.to_vec()),
        _ => None,
    });
    let invite = asks.iter().rev().find_map(|ask| match ask {
        Ask::Event { event, .. } => {
            Some(event.strip_prefix(r#"{"what":"invite","invite":""#)?.strip_suffix(r#""}"#)?.to_owned())
        }
        _ => None,
    });
    (keys.unwrap(), invite.unwrap().parse().unwrap())
}

#[test]
fn a_page_goes_on_with_its_room_by_its_keys_and_the_newest_invite() {
    let (mut page, asks) = hosting(Vec::new());
    let (first, invite) = kept(&asks);
    assert!(asks.contains(&Ask::Dial("wss://example.org/signal".to_owned())), "{asks:?}");
    assert!(invite.to_string().starts_with("https://example.org/#") && invite.key(Some("tulip")).is_ok());

    let asks = page.handle(NOW_US + 1, command(&Command::RenewInvite));
    let (keys, renewed) = kept(&asks);
    assert_eq!((renewed.room(), renewed.generation()), (invite.room(), 1));
    assert_ne!(keys, first);

    let (mut again, asks) = hosting(keys.clone());
    let (_, same) = kept(&asks);
    assert_eq!((same.room(), same.generation()), (invite.room(), 1));
    assert_eq!(same.key(Some("tulip")).unwrap().hash(), renewed.key(Some("tulip")).unwrap().hash());
    assert_eq!(again.0.as_ref().unwrap().me, page.0.as_ref().unwrap().me);

    let refused = |asks: &[Ask]| {
        asks.iter().any(|ask| matches!(ask, Ask::Event { event, .. } if event.contains("refused")))
    };
    assert!(refused(&hosting(keys[1..].to_vec()).1), "no keys");
    let mut other = RoomKeys::from_bytes(&keys).unwrap();
    other.key_hash = Some([7; 16]);
    assert!(refused(&hosting(other.to_bytes().to_vec()).1), "keys of a room with another password");
    assert!(
        again
            .handle(NOW_US + 1, command(&Command::Tell(Delivery::Reliable, vec![b'x'; 1 << 16])))
            .iter()
            .any(
                |ask| matches!(ask, Ask::Event { event, .. } if event.contains("trouble") && event.contains("too long"))
            )
    );
}

#[test]
fn a_link_to_a_page_elsewhere_is_joined_at_its_hint_s_rendezvous() {
    let dial = Ask::Dial("wss://example.org/signal".to_owned());
    let (_, asks) = hosting_for(Some("https://static.example/room/"), Vec::new());
    let (_, invite) = kept(&asks);
    assert!(asks.contains(&dial) && joining(&invite).1.contains(&dial), "{asks:?}");
    assert!(invite.to_string().starts_with("https://static.example/room/#"), "{invite}");

    let (_, asks) = hosting_for(Some("static.example"), Vec::new());
    let says = |ask: &Ask| matches!(ask, Ask::Event { event, .. } if event.contains("refused") && event.contains("page's address"));
    assert!(asks.iter().any(says), "{asks:?}");
}

#[test]
fn a_notice_of_another_version_refuses_a_page_if_the_host_is_silent() {
    let mut silent = page();
    notice(&mut silent, NOW_US);
    assert!(!is_refused(&mut silent, ANSWER_BY_US - 1));
    assert!(is_refused(&mut silent, ANSWER_BY_US));

    for answer in [Event::InLobby, Event::Admitted] {
        let mut answered = page();
        notice(&mut answered, NOW_US);
        answered.0.as_mut().unwrap().event(NOW_US, answer.clone());
        notice(&mut answered, NOW_US + 2_000_000);
        assert!(!is_refused(&mut answered, 2 * ANSWER_BY_US));
    }
}

/// A page with a link that has both descriptions, and the keys of its other end.
struct Linked {
    page: Page,
    link: u64,
    other: Keypair,
    /// The certificates as the other end sees them.
    fingerprints: Fingerprints,
}

fn linked() -> Linked {
    let (mut page, asks) = hosting(Vec::new());
    let (keys, invite) = kept(&asks);
    let host = RoomKeys::from_bytes(&keys).unwrap().host;
    let (me, room) = (page.0.as_ref().unwrap().me, invite.room());
    let other = (5..).map(|seed| Keypair::from_seed(&[seed; 32])).find(|other| other.id() < me).unwrap();
    let ticket = Signed::new(&host, &room, 1, 1, NOW_US / 1_000_000 + 600, Ticket { peer: other.id() });
    let description = |byte: u8, setup| Description {
        ufrag: Text::truncated("abcd"),
        pwd: Text::truncated("abcdefghijklmnopqrstuv"),
        fingerprint: [byte; 32],
        setup,
        payload_types: Some(PayloadTypes { h264: 102, opus: 111 }),
        browser: Some(BrowserMedia {
            ssrcs: [1, 2, 3, 4, 5, 6],
            transport_wide_id: 4,
            audio_level_id: 1,
            retransmission: None,
        }),
        candidates: List::truncated([Candidate::Host("127.0.0.1:7".parse().unwrap())]),
        sctp: None,
        hello: None,
    };
    let (kind, ticket) = (LinkKind::Peer, Some(Box::new(ticket)));
    let offer = Offer { kind, description: description(1, Setup::ActPass), ticket };
    let joined = page.0.as_mut().unwrap();
    let message = Message::Link(LinkMessage::Offer(offer)).verify(&room, &invite.root(), 0).unwrap();
    joined.input(NOW_US, In::Message { from: other.id(), via: Via::Signal, message });
    let asks = joined.take_asks(NOW_US);
    let link = asks.iter().find_map(|ask| match ask {
        Ask::Answer { link, .. } => Some(*link),
        _ => None,
    });
    let link = link.unwrap_or_else(|| panic!("the offer is answered: {asks:?}"));
    let sdp = sdp(LinkKind::Peer, &description(2, Setup::Active), None).unwrap();
    page.handle(NOW_US, Call::Described { link, sdp });
    Linked { page, link, other, fingerprints: Fingerprints { own: [1; 32], other: [2; 32] } }
}

impl Linked {
    /// What the other end may say first.
    fn firsts(&self) -> Vec<FirstMessage> {
        let joined = self.page.0.as_ref().unwrap();
        first_messages(&self.other, &joined.invite.0.room(), &joined.me, &self.fingerprints)
    }

    /// Hands bytes to the page. Returns what becomes of the link, and the messages that the page sends on it.
    fn receives(&mut self, channel: Channel, bytes: Vec<u8>) -> (Then, Vec<Message>) {
        let Linked { page, link, .. } = self;
        let asks = page.handle(NOW_US, Call::Received { link: *link, channel: channel.id(), bytes });
        let is_up = page.0.as_ref().unwrap().correspondence.is_proven(LinkId(*link));
        let then = match asks.contains(&Ask::Close(*link)) {
            true => Then::Closed,
            false if is_up => Then::Up,
            false => Then::Waits,
        };
        (then, sent(&asks))
    }
}

/// Returns the messages that are sent on control channels.
fn sent(asks: &[Ask]) -> Vec<Message> {
    let control = asks.iter().filter_map(|ask| match ask {
        Ask::Send { channel: CONTROL, bytes, .. } => Message::from_bytes(&bytes[1..]).ok(),
        _ => None,
    });
    control.collect()
}

#[test]
fn a_page_takes_first_messages_on_a_link_as_natives_do() {
    for at in 0..linked().firsts().len() {
        let mut linked = linked();
        let FirstMessage { name, channel, bytes, then } = linked.firsts().swap_remove(at);
        assert_eq!(linked.receives(channel, bytes).0, then, "{name}");
        let proof = linked.firsts().swap_remove(0).bytes;
        let after = linked.receives(Channel::Control, proof).0;
        let expected = if then == Then::Closed { Then::Waits } else { Then::Up };
        assert_eq!(after, expected, "the proof after {name}");
    }
}

#[test]
fn this_ends_proof_goes_first_also_if_the_other_ends_proof_comes_early() {
    let mut linked = linked();
    let proof = linked.firsts().swap_remove(0).bytes;
    let (then, said) = linked.receives(Channel::Control, proof);
    assert_eq!(then, Then::Up);
    assert!(matches!(said.first(), Some(Message::Link(LinkMessage::LinkProof(_)))), "{said:?}");
    let up = linked.page.handle(NOW_US, Call::LinkUp(linked.link));
    assert!(
        !sent(&up).iter().any(|message| matches!(message, Message::Link(LinkMessage::LinkProof(_)))),
        "once: {up:?}"
    );
}

#[test]
fn empty_messages_on_a_paused_link_are_bounded_too() {
    let mut linked = linked();
    let proof = linked.firsts().swap_remove(0).bytes;
    linked.receives(Channel::Control, proof);
    let joined = linked.page.0.as_mut().unwrap();
    joined.links.get_mut(LinkId(linked.link)).unwrap().pause(NOW_US + 1_000_000);
    let closed = (0..100_000).position(|_| linked.receives(Channel::Control, Vec::new()).0 == Then::Closed);
    assert_eq!(closed, Some(256 * 1024 / 64));
}

/// A host's page, with its name "Ada".
fn host() -> Page {
    let (mut page, _) = hosting(Vec::new());
    page.0.as_mut().unwrap().take_step(Step::Up);
    page
}

/// A guest asks to come in. Returns its id, and the events that the page tells.
fn comes(page: &mut Page, seed: u8, at_us: u64, join: Join) -> (PeerId, Vec<serde_json::Value>) {
    let joined = page.0.as_mut().unwrap();
    let (from, room, root) =
        (Keypair::from_seed(&[seed; 32]).id(), joined.invite.0.room(), joined.invite.0.root());
    let message = Message::Member(MemberMessage::Join(join)).verify(&room, &root, 0).unwrap();
    joined.input(at_us, In::Message { from, via: Via::Signal, message });
    (from, events(&joined.take_asks(at_us)))
}

fn events(asks: &[Ask]) -> Vec<serde_json::Value> {
    let event = |ask: &Ask| match ask {
        Ask::Event { event, aside } => {
            let mut event: serde_json::Value = serde_json::from_str(event).ok()?;
            let aside: serde_json::Map<_, _> = serde_json::from_str(aside).ok()?;
            event.as_object_mut()?.extend(aside);
            Some(event)
        }
        _ => None,
    };
    asks.iter().filter_map(event).collect()
}

fn snapshot(page: &mut Page, at_us: u64) -> serde_json::Value {
    let asks = page.handle(at_us, Call::Snapshot);
    let seen = asks.iter().find_map(|ask| match ask {
        Ask::Snapshot { room, page } => {
            let mut seen: serde_json::Value = serde_json::from_str(room).ok()?;
            let page: serde_json::Map<_, _> = serde_json::from_str(page).ok()?;
            seen.as_object_mut()?.extend(page);
            Some(seen)
        }
        _ => None,
    });
    seen.unwrap()
}

fn command(command: &Command) -> Call {
    Call::Command(serde_json::to_string(command).unwrap())
}

fn mixer(name: &str) -> Join {
    Join { views: false, mixes: true, ..Join::viewer(name) }
}

#[test]
fn a_guest_with_the_hosts_name_is_told_apart_and_its_offer_to_mix_is_said() {
    let mut page = host();
    page.handle(NOW_US + 1, command(&Command::Lobby(true)));
    let (guest, told) = comes(&mut page, 9, NOW_US + 2, mixer("ada"));
    let digits = &guest.to_string()[..8];
    let label = format!("ada ({digits})");
    let knock = told.iter().find(|event| event["what"] == "knock").unwrap();
    assert_eq!(
        (knock["labels"][guest.to_string()].as_str(), knock["mixes"].as_bool()),
        (Some(&*label), Some(true))
    );
    let now = snapshot(&mut page, NOW_US + 3);
    let (waiting, me) = (&now["waiting"][0], &now["stage"][0]);
    assert_eq!(
        (now["labels"][guest.to_string()].as_str(), waiting["mixes"].as_bool()),
        (Some(&*label), Some(true))
    );
    let me_digits = &page.0.as_ref().unwrap().me.to_string()[..8];
    assert_eq!(now["labels"][me["peer"].as_str().unwrap()], format!("Ada ({me_digits})"));
    assert_eq!((&me["named"], &now["mix_policy"]), (&true.into(), &"anyone".into()));
}

#[test]
fn a_flood_of_newcomers_is_told_once_a_second_and_its_last_later() {
    let mut page = host();
    page.handle(NOW_US + 1, command(&Command::Lobby(true)));
    let knocks = |events: &[serde_json::Value]| -> Vec<u64> {
        let knocks = events.iter().filter(|event| event["what"] == "knock");
        knocks.map(|knock| knock["others"].as_u64().unwrap()).collect()
    };
    let flood: Vec<_> =
        (10..50).flat_map(|seed| comes(&mut page, seed, NOW_US + 2, Join::viewer("x")).1).collect();
    assert_eq!(knocks(&flood), [0]);
    assert_eq!(snapshot(&mut page, NOW_US + 3)["waiting"].as_array().unwrap().len(), 40);
    let later = |page: &mut Page, us: u64| knocks(&events(&page.handle(NOW_US + us, Call::Tick)));
    assert!(later(&mut page, 900_000).is_empty());
    assert_eq!(later(&mut page, 1_100_000), [38]);
    assert!(later(&mut page, 2_500_000).is_empty());
}

#[test]
fn who_may_mix_is_the_hosts_wish_and_is_kept_when_the_page_is_loaded_anew() {
    let mut page = host();
    for (by_named, policy) in [(true, "named"), (false, "anyone")] {
        page.handle(NOW_US + 1, command(&Command::SetMixing(mix_policy(by_named))));
        // the roster follows within a second
        for us in (0..2_000_000).step_by(25_000) {
            page.handle(NOW_US + us, Call::Tick);
        }
        assert_eq!(snapshot(&mut page, NOW_US + 2_000_000)["mix_policy"], policy);
    }
    let hosting = |mix_by_named, stage_open| Hosting {
        rendezvous: "https://example.org/".to_owned(),
        page: None,
        keys: Vec::new(),
        title: String::new(),
        lobby: false,
        stage_open,
        mix_by_named,
    };
    for (mix_by_named, stage_open, policy) in
        [(Some(true), true, "named"), (Some(false), false, "anyone"), (None, false, "named")]
    {
        let room = Entered::Opened(hosting(mix_by_named, stage_open));
        let opening = Opening { name: "Ada".to_owned(), speaks: true, ..opening(room) };
        let mut page = Page::default();
        page.handle(NOW_US, Call::Open(Box::new(opening)));
        assert_eq!(snapshot(&mut page, NOW_US + 1)["mix_policy"], policy);
    }
}

#[test]
fn unnamed_candidates_are_removed_at_the_hosts_wish() {
    let mut page = host();
    let (guest, _) = comes(&mut page, 9, NOW_US + 2, mixer("ada"));
    let mut told = Vec::new();
    for us in (0..1_000_000).step_by(25_000) {
        told.extend(events(&page.handle(NOW_US + us, Call::Tick)));
    }
    let digits = &guest.to_string()[..8];
    let mixed_by = told.iter().rfind(|event| event["what"] == "mixed-by");
    let text = format!("ada ({digits}), a guest");
    assert_eq!(mixed_by.map(|event| event["text"].clone()), Some(text.clone().into()), "{told:?}");
    let at_us = NOW_US + 1_000_000;
    let now = snapshot(&mut page, at_us);
    assert_eq!((&now["mixed_by"], &now["stage"][1]["named"]), (&text.into(), &false.into()));
    page.handle(at_us, command(&Command::RemoveUnnamed));
    assert_eq!(snapshot(&mut page, at_us + 1)["stage"].as_array().unwrap().len(), 1);
}

/// Returns the reason of a refused command; `None` without a refusal.
fn reason(told: &[serde_json::Value]) -> Option<&str> {
    told.iter().find(|event| event["what"] == "trouble").and_then(|event| event["reason"].as_str())
}

#[test]
fn a_line_of_the_chat_is_the_command_that_its_button_gives() {
    let mut page = host();
    page.handle(NOW_US + 1, command(&Command::Lobby(true)));
    let (guest, _) = comes(&mut page, 9, NOW_US + 2, Join::viewer("Ben"));
    let mut at_us = NOW_US + 2;
    let mut say = |page: &mut Page, line: &str| {
        at_us += 25_000;
        events(&page.handle(at_us, Call::Line(line.to_owned())))
    };
    for (line, why) in [
        ("/dance", "no-such-command"),
        ("/lobby", "wrong-argument"),
        ("/admit Cai", "no-such-peer"),
        ("/promote Ada", "itself"),
        ("/mixers 9", "wrong-argument"),
    ] {
        assert_eq!(reason(&say(&mut page, line)), Some(why), "{line}");
    }
    assert_eq!(say(&mut page, "  "), Vec::<serde_json::Value>::new());
    let lists = |told: Vec<serde_json::Value>| {
        told.iter().find(|event| event["what"] == "lists").unwrap()["list"].as_str().unwrap().to_owned()
    };
    assert_eq!(lists(say(&mut page, "/who")), "people");
    assert_eq!(lists(say(&mut page, "/help")), "commands");
    assert_eq!(reason(&say(&mut page, "/admit Ben")), None);
    assert_eq!(
        snapshot(&mut page, NOW_US + 1_000_000)["waiting"].as_array().unwrap().len(),
        0,
        "{guest} is in"
    );
}

#[test]
fn a_command_that_is_none_and_one_of_the_hosts_elsewhere_are_refused() {
    let mut page = host();
    for json in ["", "{}", "\"dance\"", "{\"admit\":\"ab\"}", "{\"set-mixers\":300}", "[[[[["] {
        let told = events(&page.handle(NOW_US + 1, Call::Command(json.to_owned())));
        assert_eq!(reason(&told), Some("wrong-argument"), "{json}");
    }
    let told = events(&page.handle(NOW_US + 1, command(&Command::SetMixers(200))));
    assert_eq!(reason(&told), Some("too-many-mixers"));
}
