//! Model of one body with three hostile links: packets, control messages, heartbeats, ticks and link events in
//! any order. After each step it asserts the guarantees of a body:
//!
//! - it never panics;
//! - one input leads to a bounded number of outputs;
//! - it comes to rest: no timeout of the past is left;
//! - its tables, and the brain's, stay within their bounds.
//!
//! The body belongs to a viewer, a speaker or a candidate of a room with a decided election. The links are those
//! with its mixer, with a speaker and with another viewer, all of which send whatever the bytes say.

use plenary_body::{Body, BodyConfig, Heard, In, MixFigures, Notice, Out, Outs, Picture, Solo};
use plenary_media::Encoded;
use plenary_media::payload::packetize;
use plenary_proto::bounded::{List, Text};
use plenary_proto::identity::{MediaKind, PacketIdentity};
use plenary_proto::link_layout::Channel;
use plenary_proto::message::{
    Access, CodecSource, Consent, Decided, Description, ElectionMessage, ElectionReason, Entry, Head,
    Heartbeat, LinkKind, LinkMessage, MediaMessage, MemberMessage, Message, MixPolicy, Muted, Offer, Outcome,
    Pieces, ProgramFormat, Purpose, Roster, Rules, Setup, Sharing, StreamUse, Ticket, TreeMessage, Vote,
    Whereabouts,
};
use plenary_proto::packet::{Contributor, Contributors, LinkId, LinkStats, MediaPacket};
use plenary_proto::seal::Signed;
use plenary_proto::{Command, Input, PeerId, Rank, RoomConfig, RoomState, StreamKind, StreamSpec, Time, Via};

use super::draw::Draw;
use super::sign::{self, NOW, cast, key, room, root};

/// The clock of the peer at the begin, in microseconds since 1970.
const ZERO_US: u64 = NOW * 1_000_000;
const RANK: Rank = Rank { term: 1, failover_count: 0 };
/// Places in the cast: the host, a speaker, the mixer, the standby, this peer, and another viewer.
const HOST: usize = 0;
const SPEAKER: usize = 1;
const MIXER: usize = 2;
const STANDBY: usize = 3;
const ME: usize = 4;
const VIEWER: usize = 5;
/// The other ends of the hostile links.
const HOSTILE: [usize; 3] = [MIXER, SPEAKER, VIEWER];
/// Maximum outputs to links that one input may cause: a stream's stored packets, sent to a few new children.
const SENDS_MAX: usize = 20_000;
/// Maximum inputs that follow from one step, such as those of a link that comes up.
const FOLLOWS_MAX: usize = 2_000;
const STEPS_MAX: usize = 400;
/// Maximum wait of one step, microseconds.
const WAIT_US_MAX: u64 = 5_000_000;
/// Largest packet number: 48 bits.
const NUMBER_MAX: u64 = (1 << 48) - 1;

/// The bytes of an input, read from the front; zeros after the last one.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    /// Draws a number: small, near `usual`, or at an edge of its range.
    fn number(&mut self, usual: u64) -> u64 {
        const EDGES: [u64; 6] = [0, 1, NUMBER_MAX, 1 << 63, u64::MAX, i64::MAX as u64];
        match self.byte() % 8 {
            0..=3 => usual.saturating_add(u64::from(self.byte() % 4)),
            4 => usual.saturating_sub(u64::from(self.byte())),
            5 => usual.saturating_add(u64::from(self.byte()) << 4),
            6 => EDGES[self.below(EDGES.len())],
            _ => (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte())),
        }
    }

    /// Takes the next few bytes.
    fn some(&mut self) -> Vec<u8> {
        let len = usize::from(self.byte()).min(self.0.len());
        let (some, rest) = self.0.split_at(len);
        self.0 = rest;
        some.to_vec()
    }
}

fn roster(speaks: bool, mixes: bool) -> Roster {
    let entry = |at: usize, speaks: bool, mixes: bool| Entry {
        peer: cast()[at],
        name: Text::truncated("peer"),
        speaks,
        views: !speaks,
        mixes,
        away: false,
        index: at as u8,
        votes: Vote::Named,
        muted: Muted::default(),
        shares: Sharing::No,
        no_solo: false,
        session: 0,
        records: false,
    };
    let mut entries = vec![
        entry(HOST, true, false),
        entry(SPEAKER, true, false),
        entry(MIXER, false, true),
        entry(STANDBY, false, true),
    ];
    if speaks || mixes {
        entries.push(entry(ME, speaks, mixes));
    }
    Roster {
        host: cast()[HOST],
        entries: List::truncated(entries),
        acting: None,
        audience: true,
        heirs: List::default(),
        recorders: 0,
        rules: Rules {
            program: ProgramFormat { width: 640, height: 360, fps: 30, bitrate_bps: 600_000 },
            k: 4,
            k1: 4,
            mixers: 0,
            stage_open: true,
            mixing: MixPolicy::Anyone,
            expires_unix_s: None,
            layout: List::new(),
            title: Text::default(),
            access: Access::default(),
        },
    }
}

/// Returns the outcome that makes this peer of the cast the mixer.
fn decided(mixer: usize) -> Decided {
    let body = Outcome {
        term: 1,
        reason: ElectionReason::Opening,
        mixers: List::truncated([cast()[mixer]]),
        uplinks_bps: List::truncated([50_000_000]),
        standbys: List::truncated([cast()[STANDBY]]),
        challenger: None,
        doubts: List::new(),
        evidence: [1; 32],
    };
    let sign = |at: usize| (cast()[at], Decided::countersign(key(at), &room(), 1, &body));
    Decided { epoch: 1, signatures: List::truncated((HOST..=STANDBY).map(sign)), body: body.clone() }
}

fn description(number: u8) -> Description {
    Description {
        ufrag: Text::truncated(&format!("fuzz{number:03}")),
        pwd: Text::truncated("0123456789abcdefghijklmn"),
        fingerprint: [number; 32],
        setup: Setup::ActPass,
        payload_types: None,
        browser: None,
        candidates: List::default(),
        sctp: None,
        hello: None,
    }
}

/// Streams that hostile peers send: the mixer's program and another one in its name, speakers' streams, a
/// mix-minus, and this peer's own ones.
fn specs() -> Vec<StreamSpec> {
    let spec = |maker: usize, kind: StreamKind, start: u8| StreamSpec {
        maker: cast()[maker],
        kind,
        rank: if kind.is_speakers() { Rank::default() } else { RANK },
        rung: 0,
        start: [start; 8],
    };
    vec![
        spec(MIXER, StreamKind::Program, 0),
        spec(MIXER, StreamKind::Program, 1),
        spec(SPEAKER, StreamKind::Speaker, 0),
        spec(HOST, StreamKind::Share, 0),
        spec(MIXER, StreamKind::MixMinus, 0),
        spec(ME, StreamKind::Program, 0),
        spec(VIEWER, StreamKind::Program, 2),
    ]
}

/// A picture of one slice, or a packet of sound.
fn frame(kind: MediaKind, key: bool, captured_us: u64, len: usize) -> Encoded {
    let mut data = match kind {
        MediaKind::Sound => vec![31 << 3],
        MediaKind::Video if key => {
            let sets = [
                &[0, 0, 0, 1, 0x67, 66, 0xc0, 31, 0xda, 1, 0x40, 0x16][..],
                &[0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80],
            ];
            [&sets.concat()[..], &[0, 0, 0, 1, 0x65, 0x88]].concat()
        }
        MediaKind::Video => vec![0, 0, 0, 1, 0x61, 0x88],
    };
    data.resize(data.len() + len, 0x55);
    let level = (kind == MediaKind::Sound).then_some(20);
    Encoded { kind, data: data.into(), captured_us, key, temporal: u8::from(len % 2 == 1), level }
}

struct Trial {
    body: Body,
    now_us: u64,
    outs: Outs,
    specs: Vec<StreamSpec>,
    /// The last frame and packet number of each stream and kind.
    numbers: Vec<[(u32, u64); 2]>,
    /// Links so far, and whether each is up.
    links: Vec<LinkId>,
}

impl Trial {
    /// Returns a body in a room that is decided, with its links.
    fn new(part: u8) -> Trial {
        let (speaks, mixes) = (part % 4 == 1, part % 4 >= 2);
        let config = RoomConfig {
            room: room(),
            root: root().id(),
            host: None,
            name: Text::truncated("body"),
            speaks,
            views: !mixes,
            no_solo: false,
            consent: if mixes { Consent::Always } else { Consent::Never },
            relays: true,
            children_max: 8,
            uplink_bps_max: None,
            carries: true,
            sends_trains: true,
            key: None,
            unix_us_at_zero: NOW * 1_000_000,
        };
        let brain = RoomState::new(key(ME).clone(), config, 7, Time(0));
        let config = BodyConfig {
            me: cast()[ME],
            room: room(),
            zero_us: ZERO_US,
            keeps_log: false,
            views: !mixes,
            speaks,
            is_page: false,
            seed: 7,
            seals: part % 2 == 1,
        };
        let specs = specs();
        let mut trial = Trial {
            body: Body::new(brain, config, ZERO_US),
            now_us: ZERO_US,
            outs: Outs::default(),
            numbers: vec![[(0, 0); 2]; specs.len()],
            specs,
            links: Vec::new(),
        };
        trial.give(In::Bench { encode_us: 4_000, decode_us: 1_500 });
        trial.give(In::SignalUp(true));
        let signed = Signed::addressed(root(), &room(), None, 1, 1, u64::MAX, roster(speaks, mixes));
        trial.say(HOST, Via::Signal, Message::Member(MemberMessage::Roster(signed.into())));
        let mixer = if part % 4 == 3 { ME } else { MIXER };
        trial.say(HOST, Via::Signal, Message::Election(ElectionMessage::Decided(Box::new(decided(mixer)))));
        if speaks {
            trial.give(In::Publish { shares: false });
        }
        for other in HOSTILE {
            trial.offer(other, LinkKind::Peer);
        }
        // the mixer accepts this peer as a child, and announces its program
        let (purpose, path) = (Purpose::Parent, List::truncated([cast()[MIXER].short()]));
        let accept =
            Message::Tree(TreeMessage::Accept { purpose, path, whereabouts: Whereabouts::default() });
        trial.say(MIXER, Via::Link, accept);
        let spec = trial.specs[0];
        trial.say(MIXER, Via::Link, Message::Media(MediaMessage::Stream(StreamUse { slot: 0, spec })));
        assert!(
            trial.body.brain().rank() == RANK && trial.body.links_up() > 0,
            "the room is not in operation"
        );
        trial
    }

    /// A peer offers a link, which comes up.
    fn offer(&mut self, other: usize, kind: LinkKind) {
        let description = description(self.links.len() as u8);
        let shown = Ticket { peer: cast()[other] };
        let ticket = Some(Box::new(Signed::new(key(HOST), &room(), 1, 1, u64::MAX, shown)));
        let offer = Offer { kind, description, ticket: ticket.clone() };
        self.say(other, Via::Signal, Message::Link(LinkMessage::Offer(offer)));
        // of two peers, the same one always offers; the other end asks for it
        self.say(other, Via::Signal, Message::Link(LinkMessage::LinkWanted { kind, ticket }));
    }

    fn say(&mut self, from: usize, via: Via, message: Message) {
        let message = message.verify(&room(), &root().id(), NOW).expect("a message of the room");
        self.give(In::Message { from: cast()[from], via, message });
    }

    fn give(&mut self, input: In) {
        self.body.handle(self.now_us, input, &mut self.outs);
        self.follow();
    }

    /// Carries out what the outputs ask for, and what follows from that.
    fn follow(&mut self) {
        for count in 0.. {
            let outs = std::mem::take(&mut self.outs);
            if outs.sends.is_empty() && outs.notices.is_empty() && !outs.figures_wanted {
                return;
            }
            assert!(count < FOLLOWS_MAX, "a body never comes to rest");
            assert!(outs.sends.len() <= SENDS_MAX, "{} outputs of one input", outs.sends.len());
            for out in outs.sends {
                self.carry_out(out);
            }
            for notice in outs.notices {
                self.body.handle(self.now_us, In::Notice(notice), &mut self.outs);
            }
            if outs.figures_wanted {
                self.body.set_figures(MixFigures::default(), &mut self.outs);
            }
        }
    }

    fn carry_out(&mut self, out: Out) {
        match out {
            Out::Offer { link, .. } | Out::Answer { link, .. } => {
                self.links.push(link);
                let description = description(self.links.len() as u8);
                self.body.handle(self.now_us, In::Described { link, description }, &mut self.outs);
                self.body.handle(self.now_us, In::LinkUp(link), &mut self.outs);
            }
            Out::Close { link } => self.body.handle(self.now_us, In::LinkDown(link), &mut self.outs),
            Out::Forward { to, .. } => assert!(!to.is_empty(), "a packet for nobody"),
            _ => {}
        }
    }

    fn link(&self, choices: &mut Choices<'_>) -> LinkId {
        let at = choices.below(self.links.len().clamp(1, 250) + 1);
        self.links.get(at).copied().unwrap_or(LinkId(u64::from(choices.byte())))
    }

    /// Returns the next packets of a stream, with numbers and times as the bytes say.
    fn packets(&mut self, stream: usize, kind: MediaKind, choices: &mut Choices<'_>) -> Vec<MediaPacket> {
        let lane = usize::from(kind == MediaKind::Sound);
        let (frames, packets) = &mut self.numbers[stream][lane];
        let key = choices.byte().is_multiple_of(3);
        let captured_us = choices.number(self.now_us);
        let encoded = frame(kind, key, captured_us, choices.below(40) * 60);
        let number = choices.number(u64::from(*frames) + 1) as u32;
        let id = self.specs[stream].id(&room());
        let mut next = choices.number(*packets + 1).min(NUMBER_MAX);
        let first_packet = if choices.byte().is_multiple_of(16) { choices.number(next) } else { next };
        let Some(frame) = encoded.identified(id, number, first_packet) else { return Vec::new() };
        let Ok(payloads) = packetize(&frame) else { return Vec::new() };
        let contributors: Contributors =
            (0..choices.byte() % 4).map(|csrc| Contributor { csrc: csrc.into(), level: csrc }).collect();
        let cut = payloads.into_iter().map(|payload| {
            let identity = PacketIdentity { stream: id, number: next };
            next = (next + 1).min(NUMBER_MAX);
            MediaPacket {
                identity,
                timestamp: payload.timestamp,
                marker: payload.marker,
                key_start: payload.key_start,
                audio_level: encoded.level,
                contributors: contributors.clone(),
                payload: payload.bytes,
            }
        });
        let made = cut.collect();
        // a plausible stream goes on from where it was, whatever leapt
        (*frames, *packets) = (frames.saturating_add(1), packets.saturating_add(3));
        made
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        let now_us = self.now_us;
        match choices.byte() % 16 {
            0..=4 => {
                let (link, stream) = (self.link(choices), choices.below(self.specs.len()));
                let slot = if choices.byte().is_multiple_of(8) { choices.byte() } else { choices.byte() % 6 };
                let kind = if slot % 2 == 0 { MediaKind::Video } else { MediaKind::Sound };
                for packet in self.packets(stream, kind, choices) {
                    self.body.packet(now_us, link, slot, packet, &mut self.outs);
                }
            }
            5 => {
                let (from, stream) = (HOSTILE[choices.below(3)], choices.below(self.specs.len()));
                let slot =
                    if choices.byte().is_multiple_of(4) { choices.byte() } else { 2 * (choices.byte() % 3) };
                let spec = self.specs[stream];
                self.say(from, Via::Link, Message::Media(MediaMessage::Stream(StreamUse { slot, spec })));
            }
            6 | 7 => {
                let link = self.link(choices);
                let Some((peer, _)) = self.body.link_of(link) else { return };
                let drawn = choices.some();
                let Some(message) = Draw::new(&drawn, cast()).value::<Message>() else { return };
                let bytes = sign::sign_again(message).to_bytes();
                for piece in Pieces::of(&bytes) {
                    let whole = self.body.received(now_us, link, Channel::Control, &piece, &mut self.outs);
                    if let Some(Heard { from, message }) = whole
                        && let Ok(message) = Message::from_bytes(&message)
                        && let Ok(message) = message.verify(&room(), &root().id(), NOW)
                    {
                        assert_eq!(from, peer);
                        self.give(In::Message { from, via: Via::Link, message });
                    }
                }
            }
            8 => {
                let link = self.link(choices);
                let heartbeat = match choices.byte() % 4 {
                    0 => Heartbeat::Head(Head {
                        rank: RANK,
                        stream: self.specs[choices.below(self.specs.len())].id(&room()),
                        video_packet: choices.number(100),
                        sound_packet: choices.number(100),
                        captured_us: choices.number(now_us),
                        ..Head::default()
                    }),
                    1 => Heartbeat::HeadWanted,
                    2 => Heartbeat::Ping { sent_us: choices.number(now_us) },
                    _ => Heartbeat::Pong {
                        sent_us: choices.number(now_us),
                        received_us: choices.number(now_us),
                        replied_us: choices.number(now_us),
                    },
                };
                let bytes = heartbeat.to_bytes();
                self.body.received(now_us, link, Channel::Heartbeat, &bytes, &mut self.outs);
            }
            9 => {
                let stats = LinkStats {
                    packets_sent: choices.number(now_us / 1_000),
                    rtt_us: Some(choices.number(30_000)),
                    ..LinkStats::default()
                };
                self.body.set_figures(MixFigures::default(), &mut self.outs);
                self.body.tick(now_us, |_| Some(stats), &mut self.outs);
            }
            10 => self.now_us += choices.number(20_000) % WAIT_US_MAX,
            11 => {
                let (link, bytes) = (self.link(choices), choices.some());
                let channel = Channel::ALL[usize::from(choices.byte() % 3)];
                self.body.received(now_us, link, channel, &bytes, &mut self.outs);
            }
            12 => {
                let (link, slot) = (self.link(choices), choices.byte());
                self.body.keyframe_wanted(now_us, link, slot, &mut self.outs);
            }
            13 => match choices.byte() % 4 {
                0 => {
                    let link = self.link(choices);
                    self.give(In::LinkDown(link));
                }
                1 => {
                    let trunk = LinkKind::Trunk(choices.byte() % 4);
                    self.offer(HOSTILE[choices.below(3)], trunk);
                }
                _ => self.offer(HOSTILE[choices.below(3)], LinkKind::Peer),
            },
            14 => {
                let kind = if choices.byte().is_multiple_of(2) { MediaKind::Video } else { MediaKind::Sound };
                let own = frame(kind, choices.byte().is_multiple_of(4), now_us, choices.below(40) * 60);
                let picture = if choices.byte().is_multiple_of(4) { Picture::Share } else { Picture::Camera };
                self.body.publish(now_us, &own, picture, &mut self.outs);
            }
            _ => {
                let peer: PeerId = cast()[choices.below(cast().len())];
                match choices.byte() % 8 {
                    0 => self.give(In::Command(Command::ReconnectUpstream)),
                    1 => self.give(In::Command(Command::Solo(Some(Solo { speaker: peer, instead: true })))),
                    2 => self.give(In::Command(Command::Solo(None))),
                    3 => self.give(In::SignalUp(peer == cast()[HOST])),
                    4 => self.give(In::Notice(Notice::Fed(peer))),
                    5 => self.give(In::Undeliverable(Some(peer))),
                    6 => self.give(In::Brain(Box::new(Input::CodecTimes {
                        encode_us: 4_000,
                        decode_us: 1_500,
                        source: CodecSource::Bench,
                    }))),
                    _ => self.body.hand_over_due(now_us, &mut self.outs),
                }
            }
        }
    }

    /// Checks what holds after each step.
    fn settle(&mut self) {
        self.follow();
        if self.body.next_timeout().is_some_and(|due_us| due_us <= self.now_us) {
            self.give(In::Timeout);
            let next_us = self.body.next_timeout();
            assert!(next_us.is_none_or(|next_us| next_us > self.now_us), "a timeout is left behind");
        }
        self.body.hand_over_due(self.now_us, &mut self.outs);
        assert!(self.body.next_due_us().is_none_or(|due_us| due_us > self.now_us), "a frame is left behind");
        self.follow();
        for bound in self.body.bounds() {
            assert!(bound.len <= bound.max, "{} of at most {} {}", bound.len, bound.max, bound.of);
        }
    }
}

/// A body under the steps that these bytes say.
pub(crate) fn body(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let mut trial = Trial::new(choices.byte());
    for _ in 0..STEPS_MAX {
        if choices.0.is_empty() {
            break;
        }
        trial.step(&mut choices);
        trial.settle();
    }
}
