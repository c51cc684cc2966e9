//! The program at a peer with links to two mixers.

use plenary_media::assembly::{Assembled, Assembler};
use plenary_media::codec::{Codecs as _, VideoFormat};
use plenary_media::{Encoded, Picture};
use plenary_proto::packet::Contributors;
use plenary_proto::{Rank, RoomId, StreamKind};
use plenary_testkit::fake::FakeCodecs;

use super::*;
use crate::maker::{Maker, piece};
use crate::outs::Out;

const RANK: Rank = Rank { term: 1, failover_count: 0 };
const FORMAT: VideoFormat = VideoFormat { width: 320, height: 180, fps: 30, bitrate_bps: 300_000 };
const FRAME_US: u64 = 33_333;
/// A group of pictures.
const GROUP: usize = 30;
const START_CODE_LEN: usize = 4;
const NAL_REF_IDC: u8 = 0x60;

/// A peer with links to two mixers in force; the first one feeds it.
struct Both {
    program: Program,
    outs: Outs,
    makers: [Maker; 2],
    now_us: u64,
}

const LINKS: [LinkId; 2] = [LinkId(1), LinkId(2)];

impl Both {
    fn new() -> Both {
        let makers = [1, 2].map(|mixer| {
            let (room, mixer) = (RoomId([0; 16]), PeerId([mixer; 32]));
            Maker::new(&room, mixer, StreamKind::Program, RANK, [0; 8])
        });
        let mut program = Program::new(false, None);
        program.set_in_force(InForce {
            rank: RANK,
            mixers: makers.iter().map(|maker| maker.spec.maker).collect(),
        });
        program.set_feeder(Some(LINKS[0]));
        let mut both = Both { program, outs: Outs::default(), makers, now_us: 1_000_000 };
        both.follow(0);
        let group = both.group(0);
        both.come(0, &group);
        assert_eq!(both.program.current, Some(both.makers[0].id));
        both
    }

    fn follow(&mut self, mixer: usize) {
        let Maker { id, spec, .. } = self.makers[mixer];
        self.program.follow(id, spec, self.now_us);
    }

    /// Returns the next group of pictures of a mixer.
    fn group(&mut self, mixer: usize) -> Vec<MediaPacket> {
        let mut encoder = FakeCodecs::default().video_encoder(&FORMAT).unwrap();
        let picture = Picture::black(FORMAT.width.into(), FORMAT.height.into());
        let packets = (0..GROUP).flat_map(|at| {
            let made = encoder.encode(&picture.view(), at == 0).unwrap().unwrap();
            let mut data = made.data.to_vec();
            let temporal = u8::from(at % 2 == 1);
            if temporal == 1 {
                data[START_CODE_LEN] &= !NAL_REF_IDC; // no other picture refers to it
            }
            let encoded = Encoded {
                kind: MediaKind::Video,
                data: data.into(),
                captured_us: self.now_us + at as u64 * FRAME_US,
                key: made.key,
                temporal,
                level: None,
            };
            self.makers[mixer].make(&encoded, &Contributors::new()).unwrap().1
        });
        packets.collect()
    }

    /// Packets arrive from a mixer, one each millisecond. Returns the number of pictures for the application.
    fn come(&mut self, mixer: usize, packets: &[MediaPacket]) -> usize {
        let came = packets.iter().map(|packet| {
            self.now_us += 1_000;
            let (via, now_us) = (((LINKS[mixer], PROGRAM_SLOTS[0]), true), self.now_us);
            self.program.packet(MediaKind::Video, packet, via, now_us, &mut self.outs).frames.len()
        });
        came.sum()
    }

    /// Time passes. Returns the number of pictures for the application, and whether a keyframe is requested.
    fn pass(&mut self, us: u64) -> (usize, bool) {
        self.now_us += us;
        let arrived = self.program.on_time(self.now_us, &mut self.outs);
        (arrived.frames.len(), arrived.key_wanted)
    }

    /// The second mixer becomes the feeder.
    fn change(&mut self) {
        self.program.set_feeder(Some(LINKS[1]));
    }
}

#[test]
fn a_known_program_that_overtakes_its_announcement_begins_at_a_keyframe() {
    let mut both = Both::new();
    both.follow(1);
    let before = both.group(1);
    assert_eq!(both.come(1, &before), 0, "the first mixer is the feeder");
    both.pass(5_000_000);
    // the rest of that group arrives again with the next one, before the announcement and the change of feeders
    let group = both.group(1);
    assert_eq!(both.come(1, &[&before[GROUP / 2..], &group[..]].concat()), 0);
    both.change();
    both.follow(1);
    assert_eq!(both.pass(25_000), (GROUP, false));
    assert_eq!(both.program.current, Some(both.makers[1].id));
}

#[test]
fn a_thinned_child_gets_every_number_and_only_pictures_referred_to() {
    let mut both = Both::new();
    let [wide, thin] = [LinkId(8), LinkId(9)];
    for (peer, link) in [(8, wide), (9, thin)] {
        both.program.serve(PeerId([peer; 32]), (link, false), true, None, both.now_us, &mut both.outs);
    }
    both.program.set_thin([thin].into());
    both.outs.sends.clear();
    let group = both.group(0);
    both.come(0, &group);
    let sent = std::mem::take(&mut both.outs.sends);
    let to = |link: LinkId| {
        let to_it = sent.iter().filter_map(|command| match command {
            Out::Forward { to, packet } if to.contains(&(link, PROGRAM_SLOTS[0])) => Some(packet),
            _ => None,
        });
        to_it.cloned().collect::<Vec<_>>()
    };
    assert_eq!(to(wide), group);
    let mut reader = Assembler::new(both.makers[0].id, MediaKind::Video, 0);
    let mut given = Vec::new();
    for packet in to(thin) {
        reader.push(0, piece(&packet));
        given.extend(std::iter::from_fn(|| reader.poll(0)));
    }
    assert_eq!(given.len(), GROUP);
    for (at, assembled) in given.iter().enumerate() {
        assert_eq!(*assembled == Assembled::LeftOut, at % 2 == 1, "picture {at}: {assembled:?}");
    }
    both.program.set_thin(OrderedSet::new());
    let next = both.group(0);
    both.outs.sends.clear();
    both.come(0, &next[..4]);
    assert!(both.outs.sends.iter().all(|command| match command {
        Out::Forward { to, packet } => to.len() == 2 && packet.payload != LEFT_OUT,
        _ => true,
    }));
}

#[test]
fn a_child_that_asks_again_and_again_gets_the_past_a_few_times() {
    let mut both = Both::new();
    let link = LinkId(8);
    let serve = |both: &mut Both| {
        both.program.serve(PeerId([8; 32]), (link, false), true, None, both.now_us, &mut both.outs);
        let forwarded = |command: &Out| matches!(command, Out::Forward { .. });
        let sent = std::mem::take(&mut both.outs.sends);
        (sent.iter().filter(|command| forwarded(command)).count(), sent.len())
    };
    let asked: Vec<_> = (0..50).map(|_| serve(&mut both)).collect();
    assert_eq!(asked.iter().filter(|(pictures, _)| *pictures >= GROUP).count(), 4);
    assert!(asked[4..].iter().all(|(packets, told)| (*packets, *told) == (0, 1)), "{asked:?}");
    let next = both.group(0);
    both.come(0, &next);
    assert_eq!(both.outs.sends.len(), next.len());
    both.pass(4_000_000);
    assert!(serve(&mut both).0 > GROUP);
}

#[test]
fn pictures_left_out_are_no_losses_but_count_as_too_few() {
    for thin in [false, true] {
        let mut both = Both::new();
        for group in [both.group(0), both.group(0), both.group(0), both.group(0), both.group(0)] {
            for mut packet in group {
                both.pass(FRAME_US);
                if thin && is_spare(&packet.payload) {
                    packet.payload = Bytes::from_static(LEFT_OUT);
                }
                both.come(0, std::slice::from_ref(&packet));
            }
        }
        assert_eq!(both.pass(PROGRAM_HOLE_US), (0, false), "nothing is waited for");
        assert_eq!(both.program.take_suffered(both.now_us, Some(30)), u16::from(thin));
    }
}

#[test]
fn packets_older_than_a_second_do_not_begin_a_program_anew() {
    let mut both = Both::new();
    both.follow(1);
    let before = both.group(1);
    both.come(1, &before);
    both.change();
    both.pass(EARLY_US);
    both.follow(1);
    assert_eq!(both.pass(25_000), (0, false));
    assert_eq!(both.program.current, Some(both.makers[0].id));
}

#[test]
fn a_new_feeder_that_sends_no_keyframe_is_asked_for_one() {
    let mut both = Both::new();
    both.change();
    both.follow(1);
    let group = both.group(1);
    assert_eq!(both.come(1, &group[1..]), 0);
    assert_eq!(both.pass(HOLE_US_MIN / 2), (0, false));
    assert_eq!(both.pass(HOLE_US_MIN), (0, true));
    assert_eq!(both.program.take_suffered(both.now_us, None), 0, "the program that is shown doesn't suffer");
    let next = both.group(1);
    assert_eq!(both.come(1, &next), GROUP);
}

#[test]
fn a_keyframe_request_is_repeated_when_the_keyframe_is_lost() {
    let mut both = Both::new();
    let [first, second] = [both.group(0), both.group(0)];
    both.come(0, &first[2..10]);
    assert_eq!(both.pass(PROGRAM_HOLE_US), (0, true), "two packets are missing");
    assert_eq!(both.come(0, &second[1..5]), 0, "the requested keyframe is missing as well");
    assert_eq!(both.pass(2 * PROGRAM_HOLE_US), (0, true));
    assert_eq!(both.program.take_suffered(both.now_us, None), 1, "both are one loss");
    assert_eq!(both.pass(25_000), (0, false));
    let group = both.group(0);
    assert_eq!(both.come(0, &group), GROUP);
    assert_eq!(both.pass(1_000_000), (0, false));
}

#[test]
fn a_missing_packet_is_waited_for_while_retransmissions_may_arrive() {
    let mut both = Both::new();
    let [first, group] = [both.group(0), both.group(0)];
    assert_eq!(both.come(0, &first), GROUP);
    both.come(0, &group[1..]);
    assert_eq!(both.pass(PROGRAM_HOLE_US - 100_000), (0, false));
    assert_eq!(both.come(0, &group[..1]), GROUP);
}
