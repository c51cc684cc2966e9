//! The body under inputs in any order: it never panics, comes to rest, and stays within bounds.

use plenary_media::CodecRemedy;
use plenary_media::codec::EncodedPicture;
use plenary_media::compose::Layout;
use plenary_media::mixer::{MixerOutput, MixerPart};
use plenary_proto::message::{
    Head, Heartbeat, LinkMessage, ProbeMessage, ProgramFormat, TreeMessage, VideoRequest,
};
use plenary_proto::packet::LinkStats;
use plenary_proto::{Command, MixRole};
use proptest::prelude::*;

use super::letters::letters;
use super::mix_roles::{id, tile};
use super::*;
use crate::body::{Body, In};
use crate::letters::Letter;
use crate::mix::MixFigures;
use crate::outs::{Notice, Picture};
use plenary_proto::app::Solo;

const PEERS: [PeerId; 4] = [ADA, BEN, CAT, ME];
/// Most outputs for the links that one input may cause: the past of a stream, for each of a few children.
const SENDS_MAX: usize = 6_000;

#[derive(Clone, Debug)]
enum Step {
    Wait(u32),
    Tick,
    Timeout,
    Link { peer: usize, trunk: bool },
    Down(u64),
    Announce { peer: usize, slot: u8, source: usize },
    Packet { link: u64, slot: u8, source: usize, key: bool, number: Option<u64>, captured_us: u64 },
    Message { peer: usize, message: usize, number: u64 },
    Bytes { link: u64, channel: u8, bytes: Vec<u8> },
    Heartbeat { link: u64, heartbeat: u8, time_us: u64 },
    KeyWanted { link: u64, slot: u8 },
    Serve { peer: usize, position: Option<u64>, sound: bool },
    Watch { parent: Option<usize>, backup: Option<usize> },
    Role(u8),
    Mixed { what: u8, peer: usize },
    Publish(bool),
    Own(bool),
    Application(u8, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let peer = || 0..PEERS.len();
    let link = || prop_oneof![5 => 1..5u64, 1 => 0..14u64];
    let source = || 0..4usize;
    let slot = || prop_oneof![8 => 0..6u8, 1 => any::<u8>()];
    let number = || {
        let edge = prop::sample::select(&[0, 1, 4_000, (1 << 48) - 1, u64::MAX][..]);
        prop_oneof![4 => 0..40u64, 1 => edge]
    };
    let time = || {
        let edge = prop::sample::select(&[0, 1 << 63, u64::MAX][..]);
        prop_oneof![12 => BEGIN_US..2 * BEGIN_US, 1 => any::<u64>(), 1 => edge]
    };
    let step = prop_oneof![
        3 => (0..400_000u32).prop_map(Step::Wait),
        3 => Just(Step::Tick),
        1 => Just(Step::Timeout),
        4 => (peer(), any::<bool>()).prop_map(|(peer, trunk)| Step::Link { peer, trunk }),
        1 => link().prop_map(Step::Down),
        4 => (peer(), slot(), source()).prop_map(|(peer, slot, source)| Step::Announce { peer, slot, source }),
        9 => (link(), slot(), source(), any::<bool>(), prop::option::of(number()), time()).prop_map(
            |(link, slot, source, key, number, captured_us)| {
                Step::Packet { link, slot, source, key, number, captured_us }
            }
        ),
        3 => (peer(), 0..6usize, number()).prop_map(|(peer, message, number)| {
            Step::Message { peer, message, number }
        }),
        1 => (link(), 0..3u8, prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(link, channel, bytes)| {
            Step::Bytes { link, channel, bytes }
        }),
        2 => (link(), 0..4u8, time()).prop_map(|(link, heartbeat, time_us)| {
            Step::Heartbeat { link, heartbeat, time_us }
        }),
        2 => (link(), slot()).prop_map(|(link, slot)| Step::KeyWanted { link, slot }),
        3 => (peer(), prop::option::of(number()), any::<bool>()).prop_map(|(peer, position, sound)| {
            Step::Serve { peer, position, sound }
        }),
        2 => (prop::option::of(peer()), prop::option::of(peer())).prop_map(|(parent, backup)| {
            Step::Watch { parent, backup }
        }),
        2 => (0..6u8).prop_map(Step::Role),
        2 => (0..6u8, peer()).prop_map(|(what, peer)| Step::Mixed { what, peer }),
        1 => any::<bool>().prop_map(Step::Publish),
        2 => any::<bool>().prop_map(Step::Own),
        2 => (0..8u8, peer()).prop_map(|(what, peer)| Step::Application(what, peer)),
    ];
    prop::collection::vec(step, 1..150)
}

/// A body, and what its steps need.
struct Trial {
    body: Body,
    now_us: u64,
    outs: Outs,
    sources: Vec<Source>,
    camera: Camera,
}

impl Trial {
    fn new() -> Trial {
        let kinds = [
            (ADA, StreamKind::Program),
            (BEN, StreamKind::Program),
            (BEN, StreamKind::Speaker),
            (ADA, StreamKind::MixMinus),
        ];
        let mut body = super::tick::body();
        body.media.set_sources(trusting());
        body.media.program.set_in_force(InForce { rank: RANK, mixers: vec![ADA, BEN] });
        let sources = kinds.map(|(peer, kind)| Source::new(peer, kind)).into();
        let mut trial =
            Trial { body, now_us: BEGIN_US, outs: Outs::default(), sources, camera: Camera::new() };
        // links 1 to 4, with streams, and the program that the first one carries
        for at in 0..PEERS.len() {
            trial.step(&Step::Link { peer: at, trunk: at == 3 });
        }
        for (peer, slot, source) in [(0, 0, 0), (1, 0, 1), (1, 2, 2), (0, 2, 3)] {
            trial.step(&Step::Announce { peer, slot, source });
        }
        trial.step(&Step::Watch { parent: Some(0), backup: None });
        let first =
            Step::Packet { link: 1, slot: 0, source: 0, key: true, number: None, captured_us: BEGIN_US };
        trial.step(&first);
        assert!(trial.body.media.program.have(BEGIN_US).is_some());
        trial
    }

    fn step(&mut self, step: &Step) {
        let Trial { body, now_us, outs, sources, camera } = self;
        let now_us = *now_us;
        let media = &mut body.media;
        match step {
            Step::Wait(us) => self.now_us += u64::from(*us),
            Step::Tick => {
                body.set_figures(MixFigures::default(), outs);
                let stats = LinkStats {
                    packets_sent: now_us / 1_000,
                    rtt_us: Some(now_us % 300_000),
                    ..LinkStats::default()
                };
                body.tick(now_us, |_| Some(stats), outs);
            }
            Step::Timeout => body.handle(now_us, In::Timeout, outs),
            Step::Link { peer, trunk } => {
                let link =
                    media.links.open(PEERS[*peer], if *trunk { LinkKind::Trunk(0) } else { LinkKind::Peer });
                body.handle(now_us, In::LinkUp(link), outs);
            }
            Step::Down(link) => body.handle(now_us, In::LinkDown(LinkId(*link)), outs),
            Step::Announce { peer, slot, source } => {
                let Maker { id, spec, .. } = sources[*source].maker;
                media.follow(PEERS[*peer], StreamUse { slot: *slot, spec }, id, now_us, outs);
            }
            Step::Packet { link, slot, source, key, number, captured_us } => {
                let source = &mut sources[*source];
                let video = slot.is_multiple_of(2);
                let made =
                    if video { source.picture(*key, *captured_us) } else { source.sound(*captured_us) };
                for mut packet in made.1 {
                    packet.identity.number =
                        number.map_or(packet.identity.number, |number| number.min((1 << 48) - 1));
                    body.packet(now_us, LinkId(*link), *slot, packet, outs);
                }
            }
            Step::Message { peer, message, number } => {
                let Maker { id, spec, .. } = sources[0].maker;
                let at = Some(Resume { stream: id, video_packet: *number, sound_packet: *number });
                let video = VideoRequest { width: 320, height: 180, fps: 30, bitrate_bps: 300_000 };
                let message = match message {
                    0 => Message::Tree(TreeMessage::Feed { from: at }),
                    1 => Message::Media(MediaMessage::Stream(StreamUse { slot: *number as u8, spec })),
                    2 => Message::Media(MediaMessage::Home { rank: RANK, video, resume: at, beside: None }),
                    3 => Message::Probe(ProbeMessage::ProbeBusy { train: *number as u32 }),
                    4 => Message::Link(LinkMessage::Bye(LinkKind::Peer)),
                    _ => Message::Media(MediaMessage::SoloWanted { speaker: Some(BEN) }),
                };
                let letter = letters(2).read(PEERS[*peer], &message.to_bytes(), now_us, |_, _, _| true);
                if let Letter::Message { from, via, message } = letter {
                    body.handle(now_us, In::Message { from, via, message }, outs);
                }
            }
            Step::Bytes { link, channel, bytes } => {
                let channel = Channel::of_id(*channel).unwrap_or(Channel::Bulk);
                body.received(now_us, LinkId(*link), channel, bytes, outs);
            }
            Step::Heartbeat { link, heartbeat, time_us } => {
                let heartbeat = match heartbeat {
                    0 => Heartbeat::Head(Head { captured_us: *time_us, ..Head::default() }),
                    1 => Heartbeat::HeadWanted,
                    2 => Heartbeat::Ping { sent_us: *time_us },
                    _ => Heartbeat::Pong { sent_us: *time_us, received_us: *time_us, replied_us: now_us },
                };
                body.received(now_us, LinkId(*link), Channel::Heartbeat, &heartbeat.to_bytes(), outs);
            }
            Step::KeyWanted { link, slot } => body.keyframe_wanted(now_us, LinkId(*link), *slot, outs),
            Step::Serve { peer, position, sound } => {
                let stream = sources[0].maker.id;
                let at = |number: u64| Resume { stream, video_packet: number, sound_packet: number };
                media.serve(PEERS[*peer], position.map(at), *sound, now_us, outs);
            }
            Step::Watch { parent, backup } => {
                let peer = |at: Option<usize>| at.map(|at| PEERS[at]);
                media.watch(peer(*parent), peer(*backup), now_us);
                backup.iter().for_each(|at| media.request_feed(PEERS[*at], now_us, outs));
            }
            Step::Role(role) => {
                let pass_through = role.is_multiple_of(2);
                let role = match role / 2 {
                    0 => MixRole::Rest,
                    1 => MixRole::Warm { pass_through },
                    _ => MixRole::Mix { rank: RANK, pass_through },
                };
                media.set_role(role, now_us, outs);
                let format = ProgramFormat { width: 320, height: 180, fps: 30, bitrate_bps: 300_000 };
                let tiles = [BEN, CAT, ME].map(tile).into();
                media.set_tiles(tiles, format, Layout::Grid, outs);
                media.set_mesh(false);
                media.inflow.set_speakers(vec![BEN, CAT]);
                media.inflow.set_forwarding_to(&[CAT]);
                media.inflow.set_solos(&[(ADA, BEN)]);
            }
            Step::Mixed { what, peer } => {
                let id = id(PEERS[*peer]);
                let Encoded { data, key, .. } = camera.picture(false, now_us);
                let (captured_us, packet) = (now_us, camera.sound(now_us).data);
                let (level, contributors) = (LEVEL, vec![(id, LEVEL)]);
                let picture = EncodedPicture::new(data, key);
                let output = match what {
                    0 => MixerOutput::Video { picture, captured_us },
                    1 => MixerOutput::Sound { packet, captured_us, level, contributors },
                    2 => MixerOutput::MixMinus { id, packet, captured_us, level, contributors },
                    3 => MixerOutput::TilesMoved,
                    4 => MixerOutput::CodecFailed {
                        what: MixerPart::Decoder(id),
                        text: String::new(),
                        remedy: CodecRemedy::GaveUp,
                    },
                    _ => MixerOutput::KeyWanted { id },
                };
                body.mixed(now_us, output, outs);
            }
            Step::Publish(shares) => body.handle(now_us, In::Publish { shares: *shares }, outs),
            Step::Own(video) => {
                let own = if *video { camera.picture(false, now_us) } else { camera.sound(now_us) };
                body.publish(now_us, &own, Picture::Camera, outs);
            }
            Step::Application(what, peer) => match what {
                0 => body.handle(now_us, In::Command(Command::ReconnectUpstream), outs),
                1 => body.handle(now_us, In::Command(Command::Speak(false)), outs),
                2 => body.handle(now_us, In::SignalUp(*peer == 0), outs),
                3 => body.set_solo(Some(Solo { speaker: PEERS[*peer], instead: *peer == 1 }), outs),
                4 => body.set_solo(None, outs),
                5 => body.mute(MediaKind::Video, *peer == 0),
                6 => body.hand_over_due(now_us, outs),
                _ => body.handle(now_us, In::Notice(Notice::Fed(PEERS[*peer])), outs),
            },
        }
    }

    /// Checks what holds after each step, and carries out what is due.
    fn settle(&mut self, step: &Step) {
        let sends = std::mem::take(&mut self.outs).sends;
        assert!(sends.len() <= SENDS_MAX, "{step:?} sends {}", sends.len());
        assert!(sends.iter().all(|out| !matches!(out, Out::Forward { to, .. } if to.is_empty())));
        if self.body.next_timeout().is_some_and(|due_us| due_us <= self.now_us) {
            self.body.handle(self.now_us, In::Timeout, &mut self.outs);
            let next_us = self.body.next_timeout();
            assert!(next_us.is_none_or(|next_us| next_us > self.now_us), "{step:?} leaves a timeout behind");
        }
        self.body.hand_over_due(self.now_us, &mut self.outs);
        assert!(self.body.next_due_us().is_none_or(|due_us| due_us > self.now_us));
        let media = &self.body.media;
        assert!(media.early.len() <= 1_024 && media.program.streams.len() <= 4);
        assert!(media.inflow.streams.len() <= 128);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_order_of_inputs_makes_a_body_panic_or_spin_or_grow(steps in steps()) {
        let mut trial = Trial::new();
        for step in &steps {
            trial.step(step);
            trial.settle(step);
        }
    }
}

#[test]
fn each_timeout_that_is_handled_at_its_time_is_followed_by_a_later_one() {
    let mut trial = Trial::new();
    trial.body.handle(BEGIN_US, In::SignalUp(true), &mut trial.outs);
    let mut times = vec![BEGIN_US];
    for _ in 0..100 {
        let due_us = trial.body.next_timeout().unwrap();
        assert!(due_us > *times.last().unwrap(), "{times:?}");
        trial.body.handle(due_us, In::Timeout, &mut trial.outs);
        times.push(due_us);
    }
    let joins = trial.outs.envelopes.len();
    assert_eq!(joins, times.len(), "each time the host is asked for admission");
}
