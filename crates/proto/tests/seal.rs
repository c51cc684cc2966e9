//! Invites and envelopes: access control, and robustness against forgery.

use std::mem::{MaybeUninit, needs_drop};

use plenary_proto::message::GenerationKey;
use plenary_proto::seal::{
    DoorSeed, ENVELOPE_LEN_MAX, Invite, InviteError, Keypair, Opener, RoomKey, RoomKeys, RoomSecret,
    SealError, Sealer,
};
use plenary_proto::{PeerId, RoomId};
use proptest::prelude::*;

const NOW: u64 = 1_800_000_000;

fn key(seed: u8) -> Keypair {
    Keypair::from_seed(&[seed; 32])
}

fn invite(password: Option<&str>) -> Invite {
    let url = Some("http://127.0.0.1:7000".to_owned());
    Invite::create(&key(1), (0, RoomSecret([7; 16])), password, true, url, &["ws://a.example"], NOW)
}

fn room_key() -> RoomKey {
    invite(None).key(None).unwrap()
}

fn pair(recipient: u8) -> (Sealer, Opener) {
    (Sealer::new(key(2), room_key(), 0), Opener::new(key(recipient).id(), room_key()))
}

#[test]
fn an_invite_reads_back_as_it_was_written() {
    let text = invite(None).to_string();
    let read: Invite = text.parse().unwrap();
    assert_eq!(read, invite(None));
    assert_eq!(read.room(), RoomId::of_root(&key(1).id()));
    assert_eq!(read.hints().collect::<Vec<_>>(), ["ws://a.example"]);
    assert!(text.len() < 300, "{} characters", text.len());
}

/// An invite to a room at `rendezvous` that leads to a page elsewhere, as its link brings it.
fn leading_to(page: &str, rendezvous: &str) -> Invite {
    let (place, hint) = Invite::places(rendezvous, Some(page)).unwrap();
    let hints = hint.as_deref();
    let secret = (0, RoomSecret([7; 16]));
    let invite = Invite::create(&key(1), secret, None, true, Some(place), hints.as_slice(), NOW);
    let read = invite.to_string().parse().unwrap();
    assert_eq!(invite, read);
    read
}

#[test]
fn an_invite_leads_to_a_page_elsewhere_and_names_the_rendezvous_by_a_hint() {
    for (page, before) in [
        ("https://static.example", "https://static.example/#"),
        ("https://static.example/", "https://static.example/#"),
        ("https://ada.example/room/", "https://ada.example/room/#"),
        ("https://ada.example:8443/a%20b/call.html", "https://ada.example:8443/a%20b/call.html#"),
    ] {
        let invite = leading_to(page, "https://rendezvous.example:7420");
        assert!(invite.to_string().starts_with(before), "{invite}");
        assert_eq!(invite.hints().collect::<Vec<_>>(), ["wss://rendezvous.example:7420"]);
        assert_eq!(invite.rendezvous().unwrap(), "https://rendezvous.example:7420");
        let (renewed, _) = invite.renewed((1, RoomSecret([8; 16])), &invite.key(None).unwrap());
        assert_eq!(renewed.rendezvous(), invite.rendezvous());
    }
    assert_eq!(leading_to("http://a/b", "http://127.0.0.1:9").rendezvous().unwrap(), "http://127.0.0.1:9");
}

#[test]
fn without_a_hint_the_rendezvous_is_where_the_link_leads() {
    let create = |place: Option<&str>, hints: &[&str]| {
        let secret = (0, RoomSecret([7; 16]));
        Invite::create(&key(1), secret, None, true, place.map(str::to_owned), hints, NOW).rendezvous()
    };
    assert_eq!(create(Some("https://example.org"), &[]).unwrap(), "https://example.org");
    assert_eq!(create(Some("https://example.org/room/"), &[]).unwrap(), "https://example.org");
    assert_eq!(create(None, &[]), None);
    // hints of other forms are for readers to come
    let others = ["wss://a.example/a b", "ws://", "wss://user@a.example", "dht:abc", "ftp://a.example", "ws"];
    assert_eq!(create(Some("https://example.org"), &others[..4]).unwrap(), "https://example.org");
    assert_eq!(create(None, &others[2..]), None);
    assert_eq!(create(None, &["dht:abc", "http://a.example", "ws://b.example"]).unwrap(), "http://a.example");
}

#[test]
fn what_does_not_fit_into_an_invite_is_refused() {
    let rendezvous = "https://rendezvous.example";
    let long = format!("https://a.example/{}", "x".repeat(257));
    for page in
        ["", "static.example", "ftp://a.example", "https://", "https://a.example/?b", "https://a b/", &long]
    {
        assert_eq!(Invite::places(rendezvous, Some(page)), Err(InviteError::NotAPage), "{page}");
    }
    let far = format!("https://{}.example", "x".repeat(120));
    assert_eq!(Invite::places(&far, Some("https://a.example")), Err(InviteError::LongRendezvous));
    assert_eq!(Invite::places(&far, None), Ok((far.clone(), None)));
    // nor is a link of such a form read
    let body = invite(None).to_string().split_once('#').unwrap().1.to_owned();
    assert_eq!(format!("{long}#{body}").parse::<Invite>(), Err(InviteError::NotAnInvite));
}

#[test]
fn without_an_address_the_invite_begins_with_plenary() {
    let bare = Invite::create(&key(1), (0, RoomSecret([7; 16])), None, true, None, &[], NOW);
    assert!(bare.to_string().starts_with("plenary:#"));
    assert_eq!(bare.to_string().parse(), Ok(bare));
}

#[test]
fn an_invite_is_found_in_what_people_paste() {
    let text = invite(None).to_string();
    let by_hand = Invite::create(&key(1), (0, RoomSecret([7; 16])), None, true, None, &[], NOW).to_string();
    for text in [text, by_hand, leading_to("https://ada.example/room/", "http://a.example").to_string()] {
        let expected: Invite = text.parse().unwrap();
        for pasted in [
            format!("{text}."),
            format!("\"{text}\""),
            format!("„{text}“"),
            format!("<{text}>"),
            format!("({text}),"),
            format!("[room]({text})"),
            format!("Join here: {text}\n"),
            format!("See http://example.org/#top, then join: {text}!"),
            format!("<a href='{text}'>room</a>"),
        ] {
            assert_eq!(pasted.parse::<Invite>().as_ref(), Ok(&expected), "{pasted}");
        }
    }
    let cut = invite(None).to_string();
    let cut = format!("Join here: {}", &cut[..cut.len() - 20]);
    assert_eq!(cut.parse::<Invite>(), Err(InviteError::Malformed("it ends too early")));
    assert_eq!("http://a/ #".repeat(10_000).parse::<Invite>(), Err(InviteError::NotAnInvite));
}

#[test]
fn a_password_is_the_same_however_its_letters_are_composed() {
    let with = invite(Some("caf\u{e9} au lait"));
    for typed in ["cafe\u{301} au lait", "caf\u{e9}\u{a0}au\u{3000}lait"] {
        assert_eq!(with.key(Some(typed)).unwrap().hash(), with.key(Some("café au lait")).unwrap().hash());
    }
    assert_eq!(with.key(Some("cafe au lait")).unwrap_err(), InviteError::WrongPassword);
}

#[test]
fn a_rendezvous_below_a_path_is_named_with_it() {
    let (place, hint) = Invite::places("https://rooms.example/a/b", None).unwrap();
    let hints = hint.as_deref();
    let secret = (0, RoomSecret([7; 16]));
    let invite = Invite::create(&key(1), secret, None, true, Some(place), hints.as_slice(), NOW);
    let read: Invite = invite.to_string().parse().unwrap();
    assert!(invite.to_string().starts_with("https://rooms.example/a/b/#"), "{invite}");
    assert_eq!(read.rendezvous().as_deref(), Some("https://rooms.example/a/b"));
    let long = format!("https://rooms.example/{}", "a".repeat(200));
    assert_eq!(Invite::places(&long, None), Err(InviteError::LongRendezvous));
}

#[test]
fn a_damaged_invite_says_what_is_wrong() {
    let text = invite(None).to_string();
    let at = text.find('#').unwrap() + 1;
    let mut flipped = text.clone();
    flipped.replace_range(at + 40..at + 41, if &text[at + 40..at + 41] == "A" { "B" } else { "A" });
    for (damaged, expected) in [
        ("", InviteError::NotAnInvite),
        ("hello", InviteError::NotAnInvite),
        ("ftp://host/#AAAA", InviteError::NotAnInvite),
        ("http://host/#", InviteError::Malformed("nothing stands behind the #")),
        ("http://host/#A*B", InviteError::Malformed("a character is wrong or missing")),
        ("http://host/#abc", InviteError::Malformed("it ends too early")),
        (&format!("http://host/#CQ{}", "A".repeat(200)), InviteError::Version(9)),
        (&text[..at + 100], InviteError::Malformed("it ends too early")),
        (&format!("{text}AAAA"), InviteError::Malformed("something stands behind its end")),
        (&flipped, InviteError::Malformed("a character is wrong")),
        (&format!("{}{}", &text[..at], "A".repeat(5000)), InviteError::Malformed("it is too long")),
    ] {
        assert_eq!(damaged.parse::<Invite>(), Err(expected), "{damaged}");
    }
}

#[test]
fn a_wrong_password_is_told_before_anything_is_sent() {
    let with = invite(Some("tulip"));
    assert!(with.flags().password);
    assert_eq!(with.key(None).unwrap_err(), InviteError::PasswordNeeded);
    assert_eq!(with.key(Some("rose")).unwrap_err(), InviteError::WrongPassword);
    assert!(with.key(Some("tulip")).is_ok());
    assert_eq!(invite(None).key(Some("tulip")).unwrap_err(), InviteError::WrongPassword);
}

#[test]
fn a_host_renews_its_invite_without_the_password_and_guests_still_need_it() {
    let first = invite(Some("tulip"));
    let mut before = (first.clone(), first.key(Some("tulip")).unwrap());
    for generation in 1..4 {
        let (renewed, key) = before.0.renewed((generation, RoomSecret([generation as u8; 16])), &before.1);
        assert_eq!(renewed.key(None).unwrap_err(), InviteError::PasswordNeeded);
        assert_eq!(renewed.key(Some("rose")).unwrap_err(), InviteError::WrongPassword);
        let derived = renewed.key(Some("tulip")).unwrap();
        assert_eq!((derived.hash(), derived.generation()), (key.hash(), generation));
        assert_eq!(derived.door().id(), first.key(Some("tulip")).unwrap().door().id());
        assert_ne!(key.hash(), before.1.hash());
        before = (renewed, key);
    }
}

#[test]
fn a_room_opens_again_with_the_password_of_its_keys_only() {
    let mut keys = RoomKeys::new(key(1), key(2), RoomSecret([7; 16]));
    let open = |keys: &mut RoomKeys, password: Option<&str>| {
        keys.open(password, true, (Some("http://a.example".to_owned()), None), NOW)
    };
    let (first, room) = open(&mut keys, Some("tulip")).unwrap();
    assert_eq!(first.key(Some("tulip")).unwrap().hash(), room.hash());
    let (later, renewed) = first.renewed((1, RoomSecret([8; 16])), &room);
    keys.follow(&later, &renewed);
    let kept = RoomKeys::from_bytes(&keys.to_bytes()).unwrap();
    let refused = |password| open(&mut kept.clone(), password).unwrap_err();
    assert_eq!(refused(None), InviteError::PasswordNeeded);
    assert_eq!(refused(Some("rose")), InviteError::WrongPassword);
    let (again, room) = open(&mut kept.clone(), Some("tulip")).unwrap();
    assert_eq!((again.generation(), room.hash()), (1, renewed.hash()));
    assert_eq!(room.door().id(), renewed.door().id());
    let earlier: Vec<_> = kept.earlier_keys(&room).iter().map(|key| (key.generation(), key.hash())).collect();
    assert_eq!(
        earlier,
        [(0, first.key(Some("tulip")).unwrap().hash())],
        "members come by the first invite too"
    );
    let mut newest = (later, renewed);
    for generation in 2..7 {
        newest = newest.0.renewed((generation, RoomSecret([9; 16])), &newest.1);
        keys.follow(&newest.0, &newest.1);
    }
    let kept = RoomKeys::from_bytes(&keys.to_bytes()).unwrap();
    assert_eq!(kept.earlier.iter().map(|(generation, _)| *generation).collect::<Vec<_>>(), [3, 4, 5]);

    let mut without = RoomKeys::new(key(1), key(2), RoomSecret([7; 16]));
    open(&mut without, None).unwrap();
    let error = open(&mut without, Some("tulip")).unwrap_err();
    assert_eq!(error, InviteError::WrongPassword, "a room without a password keeps none");
}

#[test]
fn an_envelope_opens_once_for_its_recipient() {
    let (mut sealer, mut opener) = pair(3);
    let envelope = sealer.seal(Some(key(3).id()), b"hello", NOW, [9; 24]).unwrap();
    let opened = opener.open(&envelope, NOW).unwrap();
    assert_eq!((opened.sender, &opened.message[..]), (key(2).id(), &b"hello"[..]));
    assert_eq!(opener.open(&envelope, NOW), Err(SealError::Replayed));
    let mut other = Opener::new(key(4).id(), room_key());
    assert_eq!(other.open(&envelope, NOW), Err(SealError::WrongRecipient));
    let to_all = sealer.seal(None, b"all", NOW, [10; 24]).unwrap();
    assert!(other.open(&to_all, NOW).is_ok());
}

#[test]
fn whoever_reads_a_log_finds_no_secret_in_what_is_printed_there() {
    let secret = RoomSecret([0xab; 16]);
    let invite = Invite::create(&key(1), (0, secret.clone()), Some("tulip"), true, None, &[], NOW);
    let first = invite.key(Some("tulip")).unwrap();
    let (renewed, room) = invite.renewed((1, RoomSecret([0xab; 16])), &first);
    let (member, keys) = (GenerationKey { generation: 1, key: [0xab; 32] }, Keypair::from_seed(&[0xab; 32]));
    let sealer = Sealer::new(keys.clone(), room.clone(), 0);
    let opener = Opener::new(key(3).id(), room.clone());
    let (door, derived) = (DoorSeed([0xab; 32]), room.door_seed());
    let shown = format!(
        "{invite:?} {renewed:?} {secret:?} {member:?} {keys:?} {room:?} {sealer:?} {opener:?} {door:?}"
    );
    for hidden in ["171, 171", "abab", "tulip"] {
        assert!(!shown.contains(hidden), "{hidden} in {shown}");
    }
    for secret in [room.for_member().key, *derived] {
        let hidden = format!("{:?}", &secret[..4]);
        assert!(!shown.contains(hidden.trim_matches(['[', ']'])), "{hidden} in {shown}");
    }
}

/// Returns the bytes that a value leaves where it was.
fn left_by<T, const LEN: usize>(value: T) -> [u8; LEN] {
    assert_eq!(size_of::<T>(), LEN);
    let mut place = MaybeUninit::new(value);
    // SAFETY: the value is there and is dropped once; its bytes stay initialized, since its type has no padding and
    // owns no memory elsewhere
    unsafe {
        place.assume_init_drop();
        place.as_ptr().cast::<[u8; LEN]>().read()
    }
}

#[test]
fn dropped_secrets_do_not_stay_in_memory() {
    assert_eq!(left_by::<_, 16>(RoomSecret([0xab; 16])), [0; 16]);
    assert_eq!(left_by::<_, 32>(DoorSeed([0xab; 32])), [0; 32]);
    assert!(!left_by::<_, 34>(GenerationKey { generation: 1, key: [0xab; 32] }).contains(&0xab));
    assert!(needs_drop::<Keypair>() && needs_drop::<RoomKey>() && needs_drop::<Invite>());
}

#[test]
fn an_envelope_of_another_room_or_an_hour_ago_does_not_open() {
    let (mut sealer, mut opener) = pair(3);
    let envelope = sealer.seal(None, b"hello", NOW, [9; 24]).unwrap();
    assert_eq!(opener.open(&envelope, NOW + 3600), Err(SealError::Expired));
    assert_eq!(opener.open(&envelope, NOW - 3600), Err(SealError::Expired));
    let elsewhere =
        Invite::create(&key(5), (0, RoomSecret([7; 16])), None, true, None, &[], NOW).key(None).unwrap();
    assert_eq!(Opener::new(key(3).id(), elsewhere).open(&envelope, NOW), Err(SealError::WrongKey));
    assert!(opener.open(&envelope, NOW).is_ok(), "a refused one must not count as seen");
}

#[test]
fn envelopes_may_overtake_each_other_by_64_and_no_more() {
    let (mut sealer, mut opener) = pair(3);
    let mut envelopes: Vec<_> = (0..70).map(|_| sealer.seal(None, b"x", NOW, [9; 24]).unwrap()).collect();
    assert!(opener.open(&envelopes.pop().unwrap(), NOW).is_ok());
    for (at, envelope) in envelopes.iter().enumerate() {
        assert_eq!(opener.open(envelope, NOW).is_ok(), at >= 5, "{at}");
        assert_eq!(opener.open(envelope, NOW), Err(SealError::Replayed));
    }
}

#[test]
fn an_envelope_has_a_size() {
    let (mut sealer, _) = pair(3);
    assert!(sealer.seal(None, &[0; 60_000], NOW, [9; 24]).unwrap().len() < ENVELOPE_LEN_MAX);
    assert_eq!(sealer.seal(None, &[0; ENVELOPE_LEN_MAX], NOW, [9; 24]), Err(SealError::Malformed));
}

proptest! {
    #[test]
    fn a_changed_envelope_never_opens(at: prop::sample::Index, bit in 0..8u8) {
        let (mut sealer, mut opener) = pair(3);
        let mut envelope = sealer.seal(None, b"hello", NOW, [9; 24]).unwrap();
        *at.get_mut(&mut envelope[..]) ^= 1u8 << bit;
        prop_assert!(opener.open(&envelope, NOW).is_err());
    }

    #[test]
    fn no_text_makes_the_invite_reader_panic(text in "(http://h/|plenary:)?#[A-Za-z0-9_-]{0,400}") {
        let _ = text.parse::<Invite>();
    }

    #[test]
    fn no_bytes_make_the_opener_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Opener::new(PeerId([0; 32]), room_key()).open(&bytes, NOW).is_err());
    }
}
