//! Calls and asks have the bytes of the golden vectors, which the page's own test compares too.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use plenary_web::{Ask, Call, Counts, Entered, Hosting, Opening, OwnCandidate, OwnMedia, Shown};

static GOLDEN: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../web/golden/wire.json");
    if std::env::var_os("PLENARY_BLESS").is_some() {
        let calls = calls().into_iter().map(|(name, call)| (name, postcard::to_extend(&call, Vec::new())));
        let asks = asks().into_iter().map(|(name, ask)| (name, postcard::to_extend(&ask, Vec::new())));
        let vectors: BTreeMap<_, _> =
            calls.chain(asks).map(|(name, bytes)| (name, hex(&bytes.unwrap()))).collect();
        std::fs::write(path, serde_json::to_string_pretty(&vectors).unwrap() + "\n").unwrap();
    }
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
});

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap())
        .collect()
}

/// A capture time of 51 bits.
const CAPTURED_US: u64 = 1_763_627_671_166_665;

fn own(media: OwnMedia, data: Bytes) -> Call {
    Call::OwnFrame { link: 3, captured_us: CAPTURED_US, media, data }
}

fn calls() -> Vec<(&'static str, Call)> {
    let opening = Opening {
        room: Entered::Invited("plenary:#abc".to_owned()),
        password: Some("pässwort".to_owned()),
        name: "Ada".to_owned(),
        speaks: false,
        views: true,
        children_max: 3,
        identity: [1; 32],
        entropy: [2; 32],
    };
    let hosting = Hosting {
        rendezvous: "https://example.org".to_owned(),
        page: Some("https://static.example/room/".to_owned()),
        keys: vec![5, 6],
        title: "Talk".to_owned(),
        lobby: true,
        stage_open: false,
        mix_by_named: Some(true),
    };
    let hosts = Opening {
        room: Entered::Opened(hosting),
        password: None,
        speaks: true,
        children_max: 0,
        ..opening.clone()
    };
    let data = Bytes::from_static(&[0, 0, 0, 1, 0x65]);
    let counts = Counts {
        bytes_sent: 1,
        bytes_received: 200,
        packets_sent: 3,
        repairs_sent: 4,
        packets_received: 5,
        rtt_us: Some(60_000),
        queue_us: 7,
        is_relayed: true,
        own_candidate: OwnCandidate::PeerReflexive,
    };
    vec![
        ("open", Call::Open(Box::new(opening))),
        ("open-as-host", Call::Open(Box::new(hosts))),
        ("tick", Call::Tick),
        ("socket-opened", Call::SocketOpened),
        ("socket-frame", Call::SocketFrame((0..200).collect())),
        ("socket-closed", Call::SocketClosed),
        ("described", Call::Described { link: 300, sdp: "v=0\r\n".to_owned() }),
        ("link-up", Call::LinkUp(1)),
        ("link-down", Call::LinkDown(1 << 40)),
        ("received", Call::Received { link: 2, channel: 1, bytes: vec![7, 8] }),
        (
            "frame",
            Call::Frame {
                link: 2,
                slot: 1,
                level: Some(30),
                csrcs: vec![5, 0xffff_fffe],
                data: data.clone(),
            },
        ),
        (
            "frame-unlevelled",
            Call::Frame { link: 2, slot: 0, level: None, csrcs: vec![], data: data.clone() },
        ),
        ("command", Call::Command("\"leave\"".to_owned())),
        ("line", Call::Line("/mute Grüße".to_owned())),
        ("snapshot", Call::Snapshot),
        ("child-wants-keyframe", Call::KeyframeWanted { link: 9, slot: 0 }),
        ("stats", Call::Stats { link: 9, counts }),
        ("own-picture", own(OwnMedia::Picture { key: true }, data)),
        ("own-sound", own(OwnMedia::Sound { level: Some(30) }, Bytes::from_static(&[4, 5]))),
        ("sources", Call::Sources { picture: true, sound: true, shares: false }),
        (
            "found",
            Call::Found { link: 3, candidates: vec!["candidate:6 1 udp 7 192.0.2.1 9 typ relay".to_owned()] },
        ),
        ("network-changed", Call::NetworkChanged),
    ]
}

fn asks() -> Vec<(&'static str, Ask)> {
    let bytes = Bytes::from_static(&[9, 9]);
    vec![
        ("dial", Ask::Dial("ws://127.0.0.1:80/signal".to_owned())),
        ("hang-up", Ask::HangUp),
        ("transmit", Ask::Transmit(bytes.clone())),
        ("offer", Ask::Offer(3)),
        ("answer", Ask::Answer { link: 3, sdp: "v=0\r\n".to_owned() }),
        ("accept", Ask::Accept { link: 3, sdp: "v=0\r\n".to_owned() }),
        ("close", Ask::Close(3)),
        ("send", Ask::Send { link: 3, channel: 0, bytes: bytes.clone() }),
        ("keyframe-wanted", Ask::KeyframeWanted { link: 3, slot: 2 }),
        ("show", Ask::Show(vec![Shown { speaker: None, picture: (200, 0), sound: (200, 1) }])),
        ("show-mesh", Ask::Show(vec![Shown { speaker: Some([5; 32]), picture: (3, 2), sound: (3, 3) }])),
        ("show-nothing", Ask::Show(vec![])),
        ("own-frame", Ask::OwnFrame(Bytes::from_static(&[4, 5]))),
        ("send-own", Ask::SendOwn(vec![3, 200])),
        ("picture", Ask::Picture { width: 640, height: 360, fps: 30, bitrate_bps: 600_000 }),
        ("own-keyframe", Ask::OwnKeyframe),
        ("keys", Ask::Keys(bytes.clone())),
        ("farewell", Ask::Farewell(bytes.clone())),
        ("decode", Ask::Decode),
        (
            "paths",
            Ask::Paths { link: 3, candidates: vec!["candidate:6 1 udp 7 192.0.2.1 9 typ srflx".to_owned()] },
        ),
        (
            "turn",
            Ask::Turn {
                urls: vec!["turn:example.org:7420?transport=udp".to_owned()],
                username: "1:ada".to_owned(),
                password: "pz".to_owned(),
            },
        ),
        ("restart", Ask::Restart { link: 3, offer: None }),
        ("restart-answered", Ask::Restart { link: 3, offer: Some("v=0\r\n".to_owned()) }),
        (
            "event",
            Ask::Event { event: r#"{"what":"removed"}"#.to_owned(), aside: r#"{"labels":{}}"#.to_owned() },
        ),
        ("snapshot-taken", Ask::Snapshot { room: "{}".to_owned(), page: "[]".to_owned() }),
        (
            "send-frame",
            Ask::Frame { link: 3, slot: 1, at_us: CAPTURED_US, data: Bytes::from_static(&[4, 5]) },
        ),
    ]
}

#[test]
fn calls_are_read_from_their_golden_bytes() {
    for (name, call) in calls() {
        let bytes = postcard::to_extend(&call, Vec::new()).unwrap();
        assert_eq!(Some(&hex(&bytes)), GOLDEN.get(name), "{name}");
        assert_eq!(postcard::from_bytes::<Call>(&bytes).unwrap(), call, "{name}");
    }
}

#[test]
fn asks_have_their_golden_bytes() {
    for (name, ask) in asks() {
        assert_eq!(Some(&hex(&postcard::to_extend(&ask, Vec::new()).unwrap())), GOLDEN.get(name), "{name}");
        assert_eq!(postcard::from_bytes::<Ask>(&unhex(&GOLDEN[name])).unwrap(), ask, "{name}");
    }
    assert_eq!(GOLDEN.len(), calls().len() + asks().len(), "each vector has its test");
}
