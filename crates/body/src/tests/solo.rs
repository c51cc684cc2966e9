//! Solos: one speaker's own stream, beside the program or instead of it.

use plenary_proto::MixRole;

use super::*;
use crate::received::ReceivedFrame;
use crate::solo::{SOLO_SLOTS, SoloWish};
use plenary_proto::app::Solo;

const BESIDE: Option<Solo> = Some(Solo { speaker: BEN, instead: false });
const INSTEAD: Option<Solo> = Some(Solo { speaker: BEN, instead: true });

/// A peer that [`ADA`] feeds, and that gets [`BEN`]'s stream from it as well.
struct Audience {
    stand: Stand,
    ada: LinkId,
    program: Source,
    ben: Source,
    at: u64,
}

impl Audience {
    fn new(speaks: bool) -> Audience {
        let (mut stand, ada, program) = Stand::fed_by_ada(speaks);
        let ben = Source::new(BEN, StreamKind::Speaker);
        stand.follow(ADA, SOLO_SLOTS[0], &ben);
        Audience { stand, ada, program, ben, at: 0 }
    }

    /// A picture and sound arrive of the program, and of the solo stream. Returns those handed over.
    fn step(&mut self, program_key: bool, solo_key: bool) -> Vec<(Origin, MediaKind)> {
        self.at += 1;
        let captured_us = BEGIN_US + self.at * FRAME_US;
        self.stand.now_us = captured_us;
        let [video, sound] = SOLO_SLOTS;
        self.stand.come(self.ada, 0, self.program.picture(program_key, captured_us));
        self.stand.come(self.ada, 1, self.program.sound(captured_us));
        self.stand.come(self.ada, video, self.ben.picture(solo_key, captured_us));
        self.stand.come(self.ada, sound, self.ben.sound(captured_us));
        self.frames().iter().map(|given| (given.origin, given.frame.kind)).collect()
    }

    fn frames(&mut self) -> Vec<ReceivedFrame> {
        self.stand.take().frames
    }

    fn wish(&mut self, wish: Option<Solo>) -> Vec<(LinkId, u8)> {
        self.stand.media.set_solo(wish, &mut self.stand.outs);
        keys_wanted(&self.stand.take())
    }
}

const PROGRAM: [(Origin, MediaKind); 2] =
    [(Origin::Program, MediaKind::Video), (Origin::Program, MediaKind::Sound)];
const SOLO: [(Origin, MediaKind); 2] =
    [(Origin::Speaker(BEN), MediaKind::Video), (Origin::Speaker(BEN), MediaKind::Sound)];

#[test]
fn a_solo_stream_is_handed_over_only_while_it_is_requested() {
    let mut audience = Audience::new(false);
    assert_eq!(audience.step(true, true), PROGRAM);
    audience.wish(BESIDE);
    assert_eq!(
        audience.step(false, false),
        [&PROGRAM[..], &SOLO[1..]].concat(),
        "no picture before a keyframe"
    );
    assert_eq!(audience.step(false, true), [PROGRAM, SOLO].concat());
    audience.wish(Some(Solo { speaker: CAT, instead: false }));
    assert_eq!(audience.step(false, true), PROGRAM, "another speaker is requested");
    audience.wish(None);
    assert_eq!(audience.step(false, true), PROGRAM);
}

#[test]
fn a_replaced_program_s_pictures_return_with_a_keyframe_after_the_solo() {
    let mut audience = Audience::new(false);
    audience.step(true, true);
    assert_eq!(audience.wish(INSTEAD), []);
    assert_eq!(audience.step(true, true), SOLO);
    assert_eq!(audience.step(false, false), SOLO);
    assert_eq!(audience.wish(None), [(audience.ada, 0)], "the program returns with a keyframe");
    assert_eq!(audience.step(false, false), PROGRAM[1..]);
    assert_eq!(audience.step(true, false), PROGRAM);
}

#[test]
fn a_keyframe_of_the_solo_stream_is_requested_until_it_arrives() {
    let mut audience = Audience::new(false);
    audience.step(true, true);
    audience.wish(BESIDE);
    let wanted = keys_wanted(&audience.stand.pass(725_000));
    assert_eq!(wanted, [(audience.ada, SOLO_SLOTS[0]); 3], "each 300 ms");
    audience.step(false, true);
    assert_eq!(keys_wanted(&audience.stand.pass(725_000)), []);
}

#[test]
fn the_same_request_again_does_not_interrupt_the_speaker_s_pictures() {
    let mut audience = Audience::new(false);
    audience.step(true, true);
    audience.wish(INSTEAD);
    audience.step(false, true);
    audience.wish(INSTEAD);
    assert_eq!(audience.step(false, false), SOLO);
}

#[test]
fn a_solo_stream_that_replaces_the_program_begins_with_a_keyframe() {
    let mut audience = Audience::new(false);
    audience.step(true, true);
    audience.wish(BESIDE);
    audience.step(false, true);
    audience.wish(INSTEAD);
    assert_eq!(audience.step(false, false), SOLO[1..], "a recording has no picture of it yet");
    assert_eq!(audience.step(false, true), SOLO);
}

#[test]
fn pictures_stay_withheld_through_further_requests_until_a_keyframe() {
    let mut audience = Audience::new(false);
    audience.step(true, true);
    audience.wish(INSTEAD);
    audience.step(false, true);
    for wish in [BESIDE, None, Some(Solo { speaker: CAT, instead: false }), None] {
        audience.wish(wish);
        let given = audience.step(false, false);
        assert!(!given.contains(&PROGRAM[0]), "{wish:?}: its reference was withheld");
        assert!(given.contains(&PROGRAM[1]), "sound refers to nothing");
    }
    assert!(audience.step(true, false).contains(&PROGRAM[0]));
}

#[test]
fn a_wish_remembers_interruptions_of_the_speaker_and_the_program_only() {
    let mut wish = SoloWish::default();
    assert!(!wish.set(INSTEAD) && wish.set(BESIDE));
    for speaker in 0..100 {
        wish.set(Some(Solo { speaker: PeerId([speaker; 32]), instead: speaker % 2 == 0 }));
        assert!(wish.broken.len() <= 2);
    }
}

#[test]
fn pictures_that_a_solo_withholds_count_as_received() {
    let mut audience = Audience::new(false);
    audience.step(true, true);
    audience.wish(INSTEAD);
    for _ in 0..9 {
        assert_eq!(audience.step(false, true), SOLO);
    }
    let stats = audience.stand.media.reception(audience.stand.now_us);
    assert_eq!((stats.frames_received, stats.frames_expected), (10, 10));
    assert_eq!((stats.gaps.len(), audience.stand.media.take_suffered(audience.stand.now_us, None)), (0, 0));
}

#[test]
fn frames_beside_the_program_are_marked() {
    for (speaks, wish, beside) in [
        (false, BESIDE, [true, true]),
        (false, INSTEAD, [false, false]),
        // a speaker hears that voice in its mix-minus as well
        (true, INSTEAD, [false, true]),
    ] {
        let mut audience = Audience::new(speaks);
        audience.wish(wish);
        audience.at += 1;
        let [video, sound] = SOLO_SLOTS;
        audience.stand.come(audience.ada, video, audience.ben.picture(true, BEGIN_US));
        audience.stand.come(audience.ada, sound, audience.ben.sound(BEGIN_US));
        let marks: Vec<_> = audience.frames().iter().map(|given| given.beside).collect();
        assert_eq!(marks, beside, "speaks: {speaks}, {wish:?}");
    }
}

#[test]
fn at_a_mixer_the_program_returns_with_a_keyframe_of_its_own_encoder() {
    let mut stand = Stand::new(false);
    stand.media.set_mesh(false);
    let role = MixRole::Mix { rank: RANK, pass_through: false };
    stand.media.set_role(role, stand.now_us, &mut stand.outs);
    stand.media.set_solo(INSTEAD, &mut stand.outs);
    stand.take();
    stand.media.set_solo(None, &mut stand.outs);
    let outs = stand.take();
    assert_eq!((outs.mix, outs.sends.len()), (vec![crate::mix::MixCommand::Key], 0));
}
