//! Roles of a mixer, and the commands that each role causes.

use plenary_media::CodecRemedy;
use plenary_media::codec::EncodedPicture;
use plenary_media::compose::{Border, Fit, Layout, Placement};
use plenary_media::mixer::{Effort, EffortChange, EffortWhy, Input, MixerOutput, MixerPart, Percentiles};
use plenary_media::scale::Rect;
use plenary_proto::MixRole;
use plenary_proto::message::{ProgramFormat, VideoRequest};

use super::*;
use crate::inflow::Inbound;
use crate::mix::{Made, Mix, MixCommand, MixFigures, Mixed, RoleChange, Tile};
use crate::seat::Seat;
use crate::stats::Spread;

pub(super) const PROGRAM: ProgramFormat =
    ProgramFormat { width: 1280, height: 720, fps: 30, bitrate_bps: 1_500_000 };
const WARM: MixRole = MixRole::Warm { pass_through: false };
/// The mixer's output begins three quarters of a frame after the last frame that was passed through.
const MARGIN_US: u64 = 1_000_000 / 30 * 3 / 4;
/// A mixer waits this long for a speaker's first picture.
const WARM_US_MAX: u64 = 1_200_000;

pub(super) fn tile(peer: PeerId) -> Tile {
    Tile { seat: Seat::from(&peer), name: format!("peer {}", peer.0[0]) }
}

fn mixes(term: u32, pass_through: bool) -> MixRole {
    MixRole::Mix { rank: Rank { term, failover_count: 0 }, pass_through }
}

pub(super) fn id(peer: PeerId) -> u64 {
    u64::from_be_bytes(peer.short().0)
}

/// A peer that mixes.
pub(super) struct Booth {
    pub(super) mix: Mix,
    pub(super) now_us: u64,
    commands: Vec<MixCommand>,
    sources: Vec<Source>,
    camera: Camera,
}

impl Booth {
    /// Returns a peer at rest, and a roster of these speakers.
    pub(super) fn new(speakers: &[PeerId]) -> Booth {
        let source = |peer: &PeerId| {
            let mut source = Source::new(*peer, StreamKind::Speaker);
            source.picture(true, 0); // an encoder begins with a keyframe
            source
        };
        let mut booth = Booth {
            mix: Mix::new(ME, ROOM, None),
            now_us: BEGIN_US,
            commands: Vec::new(),
            sources: speakers.iter().map(source).collect(),
            camera: Camera::new(),
        };
        assert!(!booth.tiles(speakers));
        assert_eq!(booth.take(), [], "without a mixer no command is needed");
        booth
    }

    pub(super) fn tiles(&mut self, speakers: &[PeerId]) -> bool {
        let tiles = speakers.iter().copied().map(tile).collect();
        self.mix.set_tiles(tiles, PROGRAM, Layout::Grid, &mut self.commands)
    }

    pub(super) fn role(&mut self, role: MixRole) -> (RoleChange, Vec<MixCommand>) {
        let change = self.mix.set_role(role, self.now_us, [0; 8], &mut self.commands);
        (change, self.take())
    }

    pub(super) fn take(&mut self) -> Vec<MixCommand> {
        std::mem::take(&mut self.commands)
    }

    pub(super) fn pictured(&mut self, speakers: &[PeerId]) {
        let pictured = speakers.iter().copied().map(id).collect();
        self.mix.set_figures(MixFigures { pictured, ..MixFigures::default() });
    }

    pub(super) fn update(&mut self, us: u64) -> (bool, Vec<MixCommand>) {
        self.now_us += us;
        (self.mix.update(self.now_us, &mut self.commands), self.take())
    }

    pub(super) fn arrives(&mut self, frame: Frame, speaker: usize) -> Option<Made> {
        let StreamSpec { maker, kind, .. } = self.sources[speaker].maker.spec;
        self.mix.take(Inbound { maker, kind, frame, arrived_us: self.now_us }, &mut self.commands)
    }

    pub(super) fn picture(&mut self, speaker: usize, key: bool, captured_us: u64) -> Option<Made> {
        let (frame, _) = self.sources[speaker].picture(key, captured_us);
        self.arrives(frame, speaker)
    }

    pub(super) fn sound(&mut self, speaker: usize, captured_us: u64) -> Option<Made> {
        let (frame, _) = self.sources[speaker].sound(captured_us);
        self.arrives(frame, speaker)
    }

    /// The mixer puts out a picture. Returns the frame of the program.
    fn composes(&mut self, key: bool, captured_us: u64) -> Option<Made> {
        let Encoded { data, key, temporal, .. } = self.camera.picture(key, captured_us);
        let picture = EncodedPicture::new(data, key).in_layer(temporal);
        match self.mix.mixed(MixerOutput::Video { picture, captured_us }, [0; 8]) {
            Mixed::Program(made) => Some(made),
            _ => None,
        }
    }
}

pub(super) fn inputs(speakers: &[(PeerId, bool)]) -> MixCommand {
    let input = |(peer, hears): &(PeerId, bool)| Input {
        id: id(*peer),
        name: tile(*peer).name,
        muted: false,
        shares: false,
        beside: None,
        hears: *hears,
    };
    MixCommand::Inputs(speakers.iter().map(input).collect())
}

fn keep(bitrate_bps: u32, loss_percent: Option<u8>) -> MixCommand {
    let ProgramFormat { width, height, fps, .. } = PROGRAM;
    MixCommand::Keep {
        format: VideoFormat { width, height, fps, bitrate_bps },
        layout: Layout::Grid,
        loss_percent,
    }
}

#[test]
fn a_standby_keeps_a_stopped_mixer_that_begins_with_the_mandate() {
    let mut booth = Booth::new(&[ADA, BEN]);
    let speakers = inputs(&[(ADA, false), (BEN, false)]);
    let (change, commands) = booth.role(WARM);
    assert_eq!(commands, [keep(PROGRAM.bitrate_bps, None), speakers, MixCommand::Stop]);
    assert!(change.begins.is_none() && !change.keys_wanted && !booth.mix.is_mixing());
    let (change, commands) = booth.role(mixes(1, false));
    assert_eq!(commands, [MixCommand::Key, MixCommand::Begin { from_us: MARGIN_US }]);
    let (stream, spec) = change.begins.unwrap();
    assert_eq!((spec.maker, spec.kind, spec.rank), (ME, StreamKind::Program, RANK));
    assert!(booth.mix.is_mixing());
    let (change, commands) = booth.role(WARM);
    assert_eq!((change.ended, commands), (Some(stream), vec![MixCommand::Stop]));
    let (change, commands) = booth.role(MixRole::Rest);
    assert_eq!((change.ended, commands), (None, vec![MixCommand::End]));
}

#[test]
fn a_role_taken_again_before_it_ended_keeps_mixer_stream_and_tenure() {
    let mut booth = Booth::new(&[ADA, BEN]);
    booth.role(mixes(1, false));
    let before = booth.composes(true, BEGIN_US).unwrap();
    booth.now_us += 1_000_000;
    let (change, commands) = booth.role(mixes(1, false));
    assert!(change.begins.is_none() && change.ended.is_none());
    let from_us = BEGIN_US + MARGIN_US;
    assert_eq!(commands, [MixCommand::Begin { from_us }]);
    let after = booth.composes(false, BEGIN_US + FRAME_US).unwrap();
    assert_eq!(after.frame.identity.stream, before.frame.identity.stream);
    assert_eq!(after.frame.identity.number, 2);
    let tenures = booth.mix.tenures();
    assert_eq!(tenures.iter().map(|tenure| tenure.since_us).collect::<Vec<_>>(), [BEGIN_US]);
}

#[test]
fn a_later_term_continues_the_stream_and_an_earlier_one_begins_it_anew() {
    let mut booth = Booth::new(&[ADA, BEN]);
    let (first, _) = booth.role(mixes(2, false));
    let (later, commands) = booth.role(mixes(3, false));
    assert!(later.begins.is_none() && commands == [MixCommand::Begin { from_us: MARGIN_US }]);
    let (earlier, commands) = booth.role(mixes(1, false));
    assert_ne!(earlier.begins.unwrap().0, first.begins.unwrap().0);
    assert_eq!(commands, [MixCommand::Key, MixCommand::Begin { from_us: MARGIN_US }]);
    let ranks: Vec<_> = booth.mix.tenures().iter().map(|tenure| tenure.rank.term).collect();
    assert_eq!(ranks, [2, 3, 1]);
}

#[test]
fn a_standby_is_warm_once_every_speaker_has_a_picture_or_after_1200_ms() {
    for late in [false, true] {
        let mut booth = Booth::new(&[ADA, BEN]);
        booth.role(WARM);
        booth.pictured(&[ADA]);
        assert!(!booth.update(WARM_US_MAX - 1).0, "ben has no picture");
        if late {
            booth.now_us += 1;
        } else {
            booth.pictured(&[ADA, BEN]);
        }
        assert!(booth.update(0).0);
        assert!(!booth.update(0).0, "a standby becomes warm once");
    }
}

#[test]
fn a_standby_of_a_single_speaker_is_warm_once_it_has_a_keyframe() {
    let mut booth = Booth::new(&[ADA]);
    let (change, commands) = booth.role(MixRole::Warm { pass_through: true });
    assert!(change.keys_wanted && commands.is_empty());
    booth.sound(0, BEGIN_US);
    assert!(!booth.update(1).0);
    assert!(booth.picture(0, true, BEGIN_US).is_none(), "a standby makes no program");
    assert_eq!(booth.update(1), (true, vec![]));
}

#[test]
fn the_first_composed_keyframe_begins_the_program_and_sound_waits_for_it() {
    let mut booth = Booth::new(&[ADA, BEN]);
    let (change, _) = booth.role(mixes(1, false));
    let sound = |captured_us| {
        let packet = Camera::new().sound(captured_us).data;
        let contributors = vec![(id(BEN), 30), (id(CAT), 40)];
        MixerOutput::Sound { packet, captured_us, level: 25, contributors }
    };
    assert!(matches!(booth.mix.mixed(sound(BEGIN_US), [0; 8]), Mixed::Nothing));
    let made = booth.composes(true, BEGIN_US).unwrap();
    assert_eq!(made.begins, change.begins.map(|(_, spec)| spec));
    assert!(booth.composes(true, BEGIN_US + FRAME_US).unwrap().begins.is_none());
    let Mixed::Program(heard) = booth.mix.mixed(sound(BEGIN_US), [0; 8]) else { panic!("no sound") };
    assert_eq!(heard.packets[0].audio_level, Some(25));
    let named = vec![Contributor { csrc: BEN.csrc(), level: 30 }];
    assert_eq!(heard.packets[0].contributors.to_vec(), named, "cat is no speaker");
}

#[test]
fn settings_reach_the_mixer_while_it_runs_and_the_next_one_from_its_start() {
    let mut booth = Booth::new(&[ADA, BEN]);
    let set_all = |booth: &mut Booth| {
        let Booth { mix, commands, .. } = booth;
        mix.set_rate(900_000, commands);
        mix.set_loss(7, commands);
        mix.set_clock(&ADA, -5, 40, commands);
        mix.want_key(commands);
        booth.take()
    };
    assert_eq!(set_all(&mut booth), []);
    let (_, commands) = booth.role(mixes(1, false));
    assert_eq!(commands[0], keep(900_000, Some(7)));
    let clock = MixCommand::Clock { id: id(ADA), offset_us: -5, rtt_us: 40 };
    assert_eq!(
        set_all(&mut booth),
        [MixCommand::Bitrate(900_000), MixCommand::Loss(7), clock, MixCommand::Key]
    );
    let tiles = vec![tile(ADA), tile(BEN)];
    booth.mix.set_tiles(tiles, PROGRAM, Layout::Active, &mut booth.commands);
    let speakers = inputs(&[(ADA, false), (BEN, false)]);
    assert_eq!(booth.take(), [MixCommand::Layout(Layout::Active), speakers]);
    booth.mix.set_homes(vec![BEN], &mut booth.commands);
    assert_eq!(booth.take(), [inputs(&[(ADA, false), (BEN, true)])]);
    assert_eq!(booth.mix.rates_bps(), (PROGRAM.bitrate_bps, 900_000));
    booth.role(MixRole::Rest);
    assert_eq!(booth.mix.rates_bps().1, PROGRAM.bitrate_bps, "the links of the next tenure are not known");
}

#[test]
fn a_speaker_that_shares_a_screen_is_an_input_that_shares() {
    let mut booth = Booth::new(&[ADA, BEN]);
    booth.role(mixes(1, false));
    let shares = |booth: &mut Booth, kind: StreamKind| {
        booth.sources[0] = Source::new(ADA, kind);
        assert!(booth.picture(0, true, BEGIN_US).is_none());
        let commands = booth.take();
        assert!(matches!(commands.last(), Some(MixCommand::Frame { id: of, .. }) if *of == id(ADA)));
        commands.iter().find_map(|command| match command {
            MixCommand::Inputs(inputs) => Some(inputs.iter().map(|input| input.shares).collect::<Vec<_>>()),
            _ => None,
        })
    };
    assert_eq!(shares(&mut booth, StreamKind::Speaker), None);
    assert_eq!(shares(&mut booth, StreamKind::Share), Some(vec![true, false]));
    assert_eq!(shares(&mut booth, StreamKind::Share), None);
    assert_eq!(shares(&mut booth, StreamKind::Speaker), Some(vec![false, false]));
}

#[test]
fn frames_of_a_peer_that_is_no_speaker_are_ignored() {
    let mut booth = Booth::new(&[ADA, BEN]);
    booth.role(mixes(1, false));
    booth.mix.set_clock(&ADA, 500, 0, &mut booth.commands);
    booth.tiles(&[ADA]);
    booth.take();
    booth.picture(1, true, BEGIN_US);
    assert_eq!((booth.take(), booth.mix.on_desk(&BEN).picture_us), (vec![], None));
    booth.picture(0, false, BEGIN_US);
    assert_eq!(booth.mix.on_desk(&ADA).picture_us, None, "nothing is decoded before a keyframe");
    for at in 1..3 {
        booth.picture(0, true, BEGIN_US + at * FRAME_US);
        booth.sound(0, BEGIN_US + at * SOUND_US);
    }
    let on_desk = booth.mix.on_desk(&ADA);
    assert_eq!(on_desk.picture_us, Some(BEGIN_US + FRAME_US + 500), "by the mixer's clock");
    assert_eq!(on_desk.sound_us, Some(BEGIN_US + SOUND_US + 500));
    booth.tiles(&[BEN]);
    assert_eq!(booth.mix.on_desk(&ADA).picture_us, None);
}

#[test]
fn a_speaker_is_requested_at_the_size_of_its_tile() {
    let mut booth = Booth::new(&[ADA, BEN]);
    booth.role(mixes(1, false));
    let request = |width, height, fps, bitrate_bps| VideoRequest { width, height, fps, bitrate_bps };
    assert_eq!(booth.mix.request_of(&ADA), request(1280, 720, 30, 1_500_000), "its tile is not known");
    let place = |width, height| Placement {
        rect: Rect { x: 0, y: 0, width, height },
        fit: Fit::Letterbox,
        border: Border::default(),
    };
    let places = vec![(id(ADA), place(640, 360)), (id(BEN), place(64, 36))];
    booth.mix.set_figures(MixFigures { places, ..MixFigures::default() });
    assert_eq!(booth.mix.request_of(&ADA), request(640, 360, 30, 601_344));
    assert_eq!(booth.mix.request_of(&BEN), request(64, 36, 30, 100_000), "the least bitrate");
    let figures = MixFigures {
        effort: Effort::HalfRate,
        places: vec![(id(ADA), place(640, 360))],
        ..MixFigures::default()
    };
    booth.mix.set_figures(figures);
    assert_eq!(booth.mix.request_of(&ADA), request(640, 360, 15, 300_672));
    booth.mix.set_rate(700_000, &mut booth.commands);
    booth.role(mixes(1, true));
    assert_eq!(booth.mix.request_of(&ADA), request(1280, 720, 30, 700_000));
}

#[test]
fn pictures_in_a_mesh_are_smaller_for_a_narrow_uplink_or_many_receivers() {
    let booth = Booth::new(&[ADA, BEN]);
    let request = |width, height, bitrate_bps| VideoRequest { width, height, fps: 30, bitrate_bps };
    let sent = |others, uplink_bps| booth.mix.mesh_request(others, uplink_bps);
    assert_eq!(sent(1, None), request(1280, 720, 1_500_000));
    assert_eq!(sent(3, None), request(640, 360, 601_344));
    assert_eq!(sent(1, Some(1_000_000)), request(640, 360, 601_344));
    assert_eq!(sent(3, Some(1_000_000)), request(426, 240, 266_846));
    assert_eq!(sent(3, Some(200_000)), request(320, 180, 66_666), "no smaller picture");
}

#[test]
fn a_tenure_counts_what_was_made_in_it_and_lasts_until_the_role_changes() {
    let mut booth = Booth::new(&[ADA, BEN]);
    let figures = |decoded, encoded, cpu_us| MixFigures {
        decoded,
        encoded,
        cpu_us,
        compose_encode_us: Some(Percentiles { p50: 4_000, p95: 9_000 }),
        ..MixFigures::default()
    };
    booth.mix.set_figures(figures(100, 50, 7_000));
    booth.role(mixes(1, false));
    booth.composes(true, BEGIN_US);
    booth.composes(false, BEGIN_US + FRAME_US);
    let effort = EffortChange { effort: Effort::HalfRate, why: EffortWhy::Busy(99) };
    booth.mix.mixed(MixerOutput::Effort(effort), [0; 8]);
    booth.mix.set_figures(figures(160, 80, 9_000));
    let present = booth.mix.tenures();
    assert!(present.len() == 1 && present[0].until_us.is_none());
    booth.now_us += 3_000_000;
    booth.role(MixRole::Rest);
    let [tenure] = &booth.mix.tenures()[..] else { panic!("one tenure") };
    assert_eq!((tenure.since_us, tenure.until_us), (BEGIN_US, Some(BEGIN_US + 3_000_000)));
    assert_eq!((tenure.decoded_frames, tenure.encoded_frames, tenure.cpu_us), (60, 30, 2_000));
    assert_eq!((tenure.frames, tenure.pass_through), (2, false));
    assert_eq!(tenure.compose_encode, Some(Spread { p50_ms: 4.0, p95_ms: 9.0 }));
    assert_eq!((tenure.least_effort, tenure.rate_bps), (Effort::HalfRate, PROGRAM.bitrate_bps));
    assert_eq!(booth.mix.take_efforts(), [effort]);
}

#[test]
fn past_tenures_and_unreported_effort_changes_are_bounded() {
    let mut booth = Booth::new(&[ADA, BEN]);
    for term in 1..=100 {
        booth.role(mixes(term, false));
        let why = EffortWhy::Skipped(term as u8);
        booth.mix.mixed(MixerOutput::Effort(EffortChange { effort: Effort::HalfSize, why }), [0; 8]);
    }
    booth.mix.close(booth.now_us, &mut booth.commands);
    assert_eq!(booth.take(), [MixCommand::End]);
    let terms: Vec<_> = booth.mix.tenures().iter().map(|tenure| tenure.rank.term).collect();
    assert_eq!(terms, (37..=100).collect::<Vec<_>>(), "the last 64");
    let efforts = booth.mix.take_efforts();
    assert_eq!((efforts.len(), efforts[0].why), (16, EffortWhy::Skipped(85)));
}

#[test]
fn a_failed_mixer_is_told_once_and_a_speakers_decoder_is_no_reason() {
    let mut booth = Booth::new(&[ADA, BEN]);
    booth.role(mixes(1, false));
    let failed = |what, remedy| MixerOutput::CodecFailed { what, text: "session lost".to_owned(), remedy };
    let figures = |failed| MixFigures { failed, ..MixFigures::default() };
    booth.mix.mixed(failed(MixerPart::Decoder(id(BEN)), CodecRemedy::GaveUp), [0; 8]);
    booth.mix.set_figures(figures(false));
    assert!(!booth.mix.takes_failure());
    let told = booth.mix.take_failures();
    assert_eq!((told.len(), told[0].speaker), (1, Some(BEN)));

    // the thread stands still: no part has said why
    booth.mix.set_figures(figures(true));
    assert!(booth.mix.takes_failure() && !booth.mix.takes_failure(), "once");
    let told = booth.mix.take_failures();
    assert_eq!((told.len(), told[0].part, told[0].remedy), (1, MixerPart::Compositor, CodecRemedy::GaveUp));

    let mut booth = Booth::new(&[ADA, BEN]);
    booth.role(mixes(1, false));
    booth.mix.mixed(failed(MixerPart::Encoder, CodecRemedy::GaveUp), [0; 8]);
    booth.mix.set_figures(figures(true));
    assert!(booth.mix.takes_failure());
    let told = booth.mix.take_failures();
    assert_eq!((told.len(), told[0].part), (1, MixerPart::Encoder), "not twice");
    for _ in 0..100 {
        booth.mix.mixed(failed(MixerPart::Encoder, CodecRemedy::Restarted), [0; 8]);
    }
    assert_eq!(booth.mix.take_failures().len(), 16, "bounded");
}

#[test]
fn a_screen_beside_a_camera_is_an_input_of_its_own_without_sound() {
    let mut booth = Booth::new(&[ADA, BEN]);
    booth.role(mixes(1, false));
    booth.commands.clear();
    let beside = Seat::beside(&ADA);
    let come = |booth: &mut Booth, kind: MediaKind| {
        let mut camera = Camera::new();
        let encoded =
            if kind == MediaKind::Video { camera.picture(true, BEGIN_US) } else { camera.sound(BEGIN_US) };
        let mut maker = Maker::new(&ROOM, ADA, StreamKind::Beside, Rank::default(), [3; 8]);
        let (frame, _) = maker.make(&encoded, &Contributors::new()).unwrap();
        let inbound = Inbound { maker: ADA, kind: StreamKind::Beside, frame, arrived_us: BEGIN_US };
        assert!(booth.mix.take(inbound, &mut booth.commands).is_none());
        let inputs = booth.commands.drain(..).filter_map(|command| match command {
            MixCommand::Frame { id, .. } => Some(id),
            _ => None,
        });
        inputs.collect::<Vec<_>>()
    };
    assert!(come(&mut booth, MediaKind::Video).is_empty(), "the roster says nothing of it");
    assert_eq!(booth.mix.requests_of(&ADA).beside, None);
    let tiles = vec![tile(ADA), tile(BEN), Tile { seat: beside, ..tile(ADA) }];
    booth.mix.set_tiles(tiles, PROGRAM, Layout::Grid, &mut booth.commands);
    let Some(MixCommand::Inputs(inputs)) = booth.commands.pop() else { panic!("{:?}", booth.commands) };
    let of = |input: &Input| (input.id, input.shares, input.beside, input.name.clone());
    let (ada, ben) = (id(ADA), id(BEN));
    let name = |peer| tile(peer).name;
    let expected = [
        (ada, false, None, name(ADA)),
        (ben, false, None, name(BEN)),
        (beside.input_id(), true, Some(ada), name(ADA)),
    ];
    assert_eq!(inputs.iter().map(of).collect::<Vec<_>>(), expected);
    assert_eq!(
        (come(&mut booth, MediaKind::Video), come(&mut booth, MediaKind::Sound)),
        (vec![beside.input_id()], vec![])
    );
    assert!(booth.mix.requests_of(&ADA).beside.is_some());
}
