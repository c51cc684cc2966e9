//! Speakers that send far more than their mixer asks for.

use plenary_media::compose::Layout;
use plenary_proto::MixRole;
use plenary_proto::message::ProgramFormat;
use plenary_testkit::hostile::keyframe;

use super::mix_roles::{id, tile};
use super::*;
use crate::mix::MixCommand;

const MIX: MixRole = MixRole::Mix { rank: RANK, pass_through: false };

/// A mixer of [`BEN`], with pictures beyond the request, and of [`CAT`].
struct Studio {
    stand: Stand,
    speakers: [(LinkId, Source); 2],
    /// Pictures and bytes handed to the mixer, by speaker.
    handed: [(usize, usize); 2],
    names: Vec<String>,
}

impl Studio {
    fn new() -> Studio {
        let mut stand = Stand::new(false);
        stand.media.set_mesh(false);
        stand.media.set_role(MIX, stand.now_us, &mut stand.outs);
        let format = ProgramFormat { width: 1280, height: 720, fps: 30, bitrate_bps: 1_500_000 };
        let tiles = [BEN, CAT].map(tile).into();
        stand.media.set_tiles(tiles, format, Layout::Grid, &mut stand.outs);
        let speakers = [BEN, CAT].map(|peer| {
            let (link, source) = (stand.link(peer, LinkKind::Peer), Source::new(peer, StreamKind::Speaker));
            stand.follow(peer, 2, &source);
            (link, source)
        });
        Studio { stand, speakers, handed: [(0, 0); 2], names: Vec::new() }
    }

    /// A speaker sends a keyframe.
    fn sends(&mut self, speaker: usize, size: (u32, u32), len: usize) {
        self.sends_as(speaker, true, size, len);
    }

    /// A speaker sends a keyframe, and says whether it is one.
    fn sends_as(&mut self, speaker: usize, key: bool, size: (u32, u32), len: usize) {
        let (link, source) = &mut self.speakers[speaker];
        let encoded = Encoded {
            kind: MediaKind::Video,
            data: keyframe(size, len),
            captured_us: self.stand.now_us,
            key,
            temporal: 0,
            level: None,
        };
        let made = source.maker.make(&encoded, &Contributors::new()).unwrap();
        self.stand.come(*link, 2, made);
        self.take();
    }

    fn take(&mut self) {
        for command in self.stand.take().mix {
            match command {
                MixCommand::Frame { id: of, frame, .. } => {
                    let handed = &mut self.handed[usize::from(of == id(CAT))];
                    *handed = (handed.0 + 1, handed.1 + frame.data.len());
                }
                MixCommand::Inputs(inputs) => {
                    self.names = inputs.into_iter().map(|input| input.name).collect();
                }
                _ => {}
            }
        }
    }

    /// Both speakers send for some seconds: the second one pictures as requested.
    fn runs(&mut self, seconds: u64, fps: u64, size: (u32, u32), len: usize) {
        self.handed = [(0, 0); 2];
        let mut due_us = [self.stand.now_us; 2];
        let end_us = self.stand.now_us + seconds * 1_000_000;
        while self.stand.now_us < end_us {
            for (speaker, fps, size, len) in [(0, fps, size, len), (1, 30, (80, 45), 6_000)] {
                while due_us[speaker] <= self.stand.now_us {
                    due_us[speaker] += 1_000_000 / fps;
                    self.sends(speaker, size, len);
                }
            }
            self.stand.now_us += 5_000;
            let Stand { media, now_us, outs } = &mut self.stand;
            media.mix.update(*now_us, &mut outs.mix);
            self.take();
        }
    }
}

#[test]
fn pictures_of_four_times_the_asked_size_are_not_decoded() {
    let mut studio = Studio::new();
    studio.runs(5, 30, (240, 135), 6_000);
    assert_eq!(studio.handed[0].0, 0, "nine times 720p");
    assert!(studio.handed[1].0 >= 149, "the others go on: {:?}", studio.handed);
    assert!(studio.names[0].ends_with("(picture too large)"), "{:?}", studio.names);
    assert!(!studio.names[1].ends_with("(picture too large)"), "{:?}", studio.names);
    // 1080p is allowed for the time that an encoder has to follow
    let mut studio = Studio::new();
    studio.runs(9, 30, (120, 68), 6_000);
    assert!(studio.handed[0].0 >= 269, "{:?}", studio.handed);
    studio.runs(5, 30, (120, 68), 6_000);
    assert!(studio.handed[0].0 <= 35, "{:?}", studio.handed);
    // a speaker that comes back to the asked size is seen again
    studio.runs(6, 30, (80, 45), 6_000);
    assert!(studio.handed[0].0 >= 170, "{:?}", studio.handed);
    assert!(!studio.names[0].ends_with("(picture too large)"), "{:?}", studio.names);
}

#[test]
fn pictures_that_exceed_the_asked_rate_by_far_are_not_all_decoded() {
    let mut often = Studio::new();
    often.runs(20, 240, (80, 45), 500);
    let most = 20 * 45 + 90;
    assert!((300..=most).contains(&often.handed[0].0), "{:?}", often.handed);
    let mut large = Studio::new();
    large.runs(20, 30, (80, 45), 100_000);
    let most = 3 * 1_500_000 / 8 * (20 + 4) + 100_000;
    assert!((500_000..=most).contains(&large.handed[0].1), "{:?}", large.handed);
    assert!(large.names[0].ends_with("(picture too large)"));
}

#[test]
fn what_a_speaker_is_asked_for_is_never_left_out_even_after_an_outage() {
    let mut studio = Studio::new();
    studio.runs(15, 30, (80, 45), 6_000);
    assert!(studio.handed[0].0 >= 449, "{:?}", studio.handed);
    studio.handed = [(0, 0); 2];
    studio.stand.now_us += 1_500_000;
    for _ in 0..45 {
        studio.sends(0, (80, 45), 6_000);
    }
    assert_eq!(studio.handed[0].0, 45);
}

#[test]
fn a_huge_picture_of_a_speaker_that_calls_it_no_keyframe_is_not_decoded() {
    let mut studio = Studio::new();
    studio.sends(0, (80, 45), 6_000);
    assert_eq!(studio.handed[0].0, 1);
    for _ in 0..10 {
        studio.stand.now_us += 33_000;
        studio.sends_as(0, false, (240, 135), 6_000);
    }
    assert_eq!(studio.handed[0].0, 1, "nine times 720p");
}
