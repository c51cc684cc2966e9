//! Whole rooms: bodies with their brains, linked in virtual time.

use plenary_proto::app::Reason;
use plenary_proto::message::Delivery;
use plenary_proto::{Command, Event, Mode};

use super::world::{Part, World};
use super::*;
use crate::body::In;
use crate::mix::MixCommand;
use plenary_proto::app::Solo;

const SPEAKER: Part = Part::Speaker;
const CANDIDATE: Part = Part::Candidate;
const VIEWER: Part = Part::Viewer;

impl World {
    /// Forgets frames and events so far, and runs for some seconds. Returns the pictures that a peer got from an
    /// origin meanwhile.
    fn pictures(&mut self, seconds: u64, peer: usize, origin: Origin) -> usize {
        self.peers.iter_mut().for_each(|peer| peer.frames.clear());
        self.run(seconds * 1_000);
        self.of(peer, origin, MediaKind::Video)
    }

    /// Returns the number of frames that a peer got from an origin.
    fn of(&self, peer: usize, origin: Origin, kind: MediaKind) -> usize {
        let is_its = |given: &&crate::ReceivedFrame| given.origin == origin && given.frame.kind == kind;
        self.peers[peer].frames.iter().filter(is_its).count()
    }

    fn mixer(&self) -> usize {
        self.peers.iter().position(|peer| peer.alive && peer.body.brain().snapshot().mixing).expect("a mixer")
    }

    fn modes(&self, peer: usize) -> Vec<Mode> {
        self.told(peer, |event| match event {
            Event::Mode { mode } => Some(*mode),
            _ => None,
        })
    }
}

/// A speaker that hosts, two candidates and a viewer, once the viewer is fed.
fn with_an_audience() -> World {
    let mut world = World::new(&[SPEAKER, CANDIDATE, CANDIDATE, VIEWER]);
    world.run(20_000);
    world
}

#[test]
fn two_speakers_send_to_each_other_and_no_peer_mixes() {
    let mut world = World::new(&[SPEAKER, SPEAKER]);
    world.run(5_000);
    for (peer, other) in [(0, 1), (1, 0)] {
        let origin = Origin::Speaker(world.peers[other].id);
        assert_eq!(world.pictures(2, peer, origin), 50);
        assert_eq!(world.of(peer, origin, MediaKind::Sound), 100);
        assert_eq!(world.of(peer, Origin::Program, MediaKind::Video), 0);
        let body = &world.peers[peer].body;
        assert_eq!(
            (body.brain().snapshot().mode, body.home(), body.targets_most()),
            (Mode::Mesh, Some(world.peers[other].id), 1)
        );
        assert_eq!(body.stage().len(), 2);
        assert!(world.peers[peer].mix.is_empty());
        assert!(
            body.silent_us(&world.peers[other].id, world.now_us).is_some_and(|silent_us| silent_us < 30_000)
        );
        assert_eq!(body.levels(&[world.peers[other].id], world.now_us)[0].1, LEVEL);
    }
}

#[test]
fn speakers_in_a_mesh_are_told_that_both_speak() {
    let mut world = World::new(&[SPEAKER, SPEAKER]);
    world.run(5_000);
    let both: Vec<_> = world.peers.iter().map(|peer| peer.id).collect();
    let last = world.told(0, |event| match event {
        Event::Speaking { dominant, speaking } => Some((*dominant, speaking.clone())),
        _ => None,
    });
    let (dominant, speaking) = last.last().unwrap();
    assert!(speaking.len() == 2 && both.iter().all(|peer| speaking.contains(peer)), "{last:?}");
    assert!(dominant.is_some_and(|dominant| both.contains(&dominant)));
}

#[test]
fn an_elected_mixer_passes_the_only_speaker_s_frames_through() {
    let mut world = with_an_audience();
    assert_eq!(world.pictures(4, 3, Origin::Program), 100);
    assert_eq!(world.of(3, Origin::Program, MediaKind::Sound), 200);
    let mixer = world.mixer();
    assert!([1, 2].contains(&mixer), "only candidates mix");
    assert_eq!(world.modes(3).last(), Some(&Mode::PassThrough));
    assert!(world.peers.iter().all(|peer| peer.mix.is_empty()), "nothing is decoded");
    let [viewer, speaker] = [&world.peers[3], &world.peers[0]];
    assert!(
        viewer
            .frames
            .iter()
            .all(|given| given.frame.identity.stream == viewer.frames[0].frame.identity.stream)
    );
    assert_eq!(speaker.body.home(), Some(world.peers[mixer].id));
    assert_eq!(viewer.body.brain().snapshot().parent, Some(world.peers[mixer].id));
    let tenures = world.peers[mixer].body.tenures();
    assert!(tenures.len() == 1 && tenures[0].pass_through && tenures[0].frames > 100);
    let stats = viewer.body.reception(world.now_us);
    assert_eq!((stats.frames_received, stats.degradations), (stats.frames_expected, 0));
}

#[test]
fn the_standby_continues_the_program_when_the_mixer_dies() {
    let mut world = with_an_audience();
    let mixer = world.mixer();
    let before = world.peers[3].frames.last().unwrap().frame.identity.stream;
    world.peers[mixer].alive = false;
    let shown = world.pictures(3, 3, Origin::Program);
    assert!((60..=75).contains(&shown), "less than 600 ms are missing: {shown} of 75");
    assert_ne!(world.mixer(), mixer);
    let frames = &world.peers[3].frames;
    assert_ne!(frames.last().unwrap().frame.identity.stream, before);
    let failovers = world.told(3, |event| match event {
        Event::Failover { peer, polite, .. } => Some((*peer, *polite)),
        _ => None,
    });
    assert_eq!(failovers, [(world.peers[world.mixer()].id, false)]);
    let parent = world.peers[3].body.brain().snapshot().parent;
    assert_eq!(parent, Some(world.peers[world.mixer()].id));
    assert!(world.peers[3].body.reparented() > 0);
}

#[test]
fn a_mixer_that_leaves_hands_the_program_over() {
    let mut world = with_an_audience();
    let mixer = world.mixer();
    world.input(mixer, In::Command(Command::Leave));
    assert!(world.pictures(4, 3, Origin::Program) >= 97);
    let left = |event: &Event| matches!(event, Event::HandedOver).then_some(());
    assert_eq!((world.told(mixer, left).len(), world.told(3, left).len()), (1, 0));
    let tenures = world.peers[mixer].body.tenures();
    assert!(tenures.iter().all(|tenure| tenure.until_us.is_some()));
}

#[test]
fn a_second_speaker_makes_the_mixer_compose() {
    let mut world = World::new(&[SPEAKER, CANDIDATE, VIEWER, SPEAKER]);
    world.run(20_000);
    assert_eq!(world.modes(0).last(), Some(&Mode::Mixer));
    assert_eq!(world.mixer(), 1);
    let mix = &world.peers[1].mix;
    let kept = mix.iter().position(|command| matches!(command, MixCommand::Keep { .. })).unwrap();
    let MixCommand::Inputs(inputs) = &mix[kept + 1] else { panic!("{:?}", mix[kept + 1]) };
    assert_eq!(inputs.iter().map(|input| &*input.name).collect::<Vec<_>>(), ["peer 0", "peer 3"]);
    let last = mix.iter().rev().find_map(|command| match command {
        MixCommand::Inputs(inputs) => Some(inputs.iter().map(|input| input.hears).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(last, Some(vec![true, true]), "this mixer is the home of both");
    let handed = |id: u64| {
        mix.iter().filter(|command| matches!(command, MixCommand::Frame { id: of, .. } if *of == id)).count()
    };
    assert!(inputs.iter().all(|input| handed(input.id) > 100));
    assert!(mix.iter().any(|command| matches!(command, MixCommand::Begin { .. })));
    for speaker in [0, 3] {
        assert_eq!(world.peers[speaker].body.home(), Some(world.peers[1].id));
        assert!(world.peers[1].body.on_desk(&world.peers[speaker].id).picture_us.is_some());
    }
    world.call(1, |body, now_us, outs| body.close_mixer(now_us, outs));
    assert_eq!(world.peers[1].mix.last(), Some(&MixCommand::End));
}

#[test]
fn a_viewer_gets_one_speaker_s_own_stream_from_the_mixer_on_request() {
    let mut world = with_an_audience();
    let speaker = world.peers[0].id;
    world.input(3, In::Command(Command::Solo(Some(Solo { speaker, instead: false }))));
    world.run(2_000);
    assert_eq!(world.pictures(2, 3, Origin::Speaker(speaker)), 50);
    assert_eq!(world.of(3, Origin::Program, MediaKind::Video), 50);
    assert!(world.peers[3].frames.iter().all(|given| given.beside == (given.origin != Origin::Program)));
    let comes = world.told(3, |event| match event {
        Event::Solo { comes, .. } => Some(*comes),
        _ => None,
    });
    assert_eq!(comes, [true]);
    world.input(3, In::Command(Command::Solo(None)));
    world.run(500);
    assert_eq!(world.pictures(2, 3, Origin::Speaker(speaker)), 0);
    assert_eq!(world.of(3, Origin::Program, MediaKind::Video), 50);
}

#[test]
fn application_data_of_the_stage_reach_the_viewer() {
    let mut world = with_an_audience();
    let bytes = |text: &str| text.as_bytes().to_vec();
    for (delivery, text) in [(Delivery::Reliable, "slide 1"), (Delivery::Loose, "pointer")] {
        let tell = Command::Tell(delivery, bytes(text));
        let sent = world.call(0, |body, now_us, outs| body.obey(now_us, tell, outs));
        assert_eq!(sent, Ok(()));
    }
    let tell = Command::Tell(Delivery::Loose, bytes("x"));
    let refused = world.call(3, |body, now_us, outs| body.obey(now_us, tell, outs));
    assert_eq!(refused, Err(Reason::NotOnStage));
    world.run(1_000);
    let mut heard = world.told(3, |event| match event {
        Event::Data { from, bytes, .. } => Some((*from, String::from_utf8(bytes.to_vec()).unwrap())),
        _ => None,
    });
    heard.sort();
    let from = world.peers[0].id;
    assert_eq!(heard, [(from, "pointer".to_owned()), (from, "slide 1".to_owned())]);
}

#[test]
fn envelopes_that_are_delivered_again_or_to_others_are_read_by_nobody() {
    let mut world = with_an_audience();
    for _ in 0..3 {
        world.run(5_000);
        for peer in 0..world.peers.len() {
            let [all, read] = world.replay(peer, (peer + 1) % world.peers.len());
            assert!(all > 10 && read == 0, "peer {peer} reads {read} of {all} envelopes");
        }
    }
}

#[test]
fn garbage_on_a_link_counts_against_its_peer_and_ends_the_link() {
    let mut world = with_an_audience();
    let mixer = world.mixer();
    let viewer = world.peers[3].id;
    let link = world.peers[mixer]
        .body
        .links()
        .find(|link| world.peers[mixer].body.link_of(*link) == Some((viewer, LinkKind::Peer)));
    let link = link.unwrap();
    for _ in 0..8 {
        world.call(mixer, |body, now_us, outs| body.received(now_us, link, Channel::Bulk, &[7], outs));
    }
    let counts = world.told(mixer, |event| match event {
        Event::PeerMisbehaved { peer, count, dropped } if *peer == viewer => Some((*count, *dropped)),
        _ => None,
    });
    assert_eq!(counts, (1..=8).map(|count| (count, count == 8)).collect::<Vec<_>>());
    assert_eq!(world.peers[mixer].body.link_of(link), None);
    assert!(world.peers[mixer].body.brain().snapshot().children.is_empty());
}
