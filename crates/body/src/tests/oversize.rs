//! Pictures far larger than the program: what a decoder would make room for.

use plenary_proto::{MixRole, Verdict};
use plenary_testkit::hostile::keyframe;

use super::mix_roles::{Booth, PROGRAM};
use super::*;

/// Sizes in macroblocks.
const HUGE: (u32, u32) = (256, 144);
const FULL_HD: (u32, u32) = (120, 68);
const LESS_THAN_TWICE: (u32, u32) = (110, 62);
const AS_ASKED: (u32, u32) = (80, 45);

/// A picture that states its size.
fn stating(source: &mut Source, size: (u32, u32), key: bool, captured_us: u64) -> (Frame, Vec<MediaPacket>) {
    let data = keyframe(size, 500);
    let made = Encoded { kind: MediaKind::Video, data, captured_us, key, temporal: 0, level: None };
    source.maker.make(&made, &Contributors::new()).unwrap()
}

fn verdicts(stand: &mut Stand) -> Vec<(PeerId, Verdict)> {
    let now = stand.media.watch_time(stand.now_us);
    stand.media.watches.verdicts(now, 0)
}

#[test]
fn a_huge_picture_of_the_program_is_not_shown_and_the_parent_is_at_fault() {
    for says_key in [true, false] {
        let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
        program.camera.picture(true, 0); // an encoder begins with a keyframe
        let mut at_us = BEGIN_US;
        let mut shown = |stand: &mut Stand, size: Option<(u32, u32)>, key: bool| {
            at_us += FRAME_US;
            stand.now_us = at_us;
            let made = match size {
                Some(size) => stating(&mut program, size, key, at_us),
                None => program.picture(false, at_us),
            };
            stand.come(ada, 0, made);
            let outs = stand.take();
            (outs.frames.len(), keys_wanted(&outs))
        };
        assert_eq!(shown(&mut stand, Some(LESS_THAN_TWICE), true), (1, vec![]));
        assert_eq!(verdicts(&mut stand), []);
        assert_eq!(shown(&mut stand, Some(HUGE), says_key), (0, vec![(ada, 0)]));
        assert_eq!(verdicts(&mut stand), [(ADA, Verdict::Behind)]);
        assert_eq!(shown(&mut stand, None, false).0, 0, "it refers to the one before");
        assert_eq!(shown(&mut stand, Some(FULL_HD), true).0, 0, "more than twice the program");
        assert_eq!(shown(&mut stand, None, false).0, 0);
        assert_eq!(shown(&mut stand, Some(AS_ASKED), true), (1, vec![]));
        assert_eq!(verdicts(&mut stand), [(ADA, Verdict::Ok)]);
        assert_eq!(shown(&mut stand, None, false).0, 1);
    }
}

#[test]
fn a_page_s_browser_gets_no_picture_that_is_huge_or_says_not_what_it_is() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    let mut speaker = Source::new(ADA, StreamKind::Speaker);
    stand.follow(ADA, 2, &speaker);
    stand.media.program.is_page = true;
    let decodes = |stand: &mut Stand, slot: u8, data: Bytes| {
        stand.media.frame((ada, slot), (data, None, &[]), stand.now_us, &mut stand.outs)
    };
    stand.media.pixels_max = PixelsMax::default();
    let unknown = stating(&mut program, AS_ASKED, true, BEGIN_US).0.data;
    assert!(!decodes(&mut stand, 0, unknown), "before the program's size is known");
    stand.media.pixels_max = PixelsMax::of(PROGRAM);
    let mut picture = |size, key, of_speaker: bool| {
        let source = if of_speaker { &mut speaker } else { &mut program };
        stating(source, size, key, BEGIN_US).0.data
    };
    for (slot, size, key, expected) in [
        (0, AS_ASKED, true, true),
        (0, HUGE, false, false),
        (0, AS_ASKED, false, false),
        (0, FULL_HD, true, false),
        (0, LESS_THAN_TWICE, true, true),
        (2, FULL_HD, true, true),
        (2, HUGE, true, false),
        (2, AS_ASKED, true, true),
    ] {
        let data = picture(size, key, slot == 2);
        assert_eq!(decodes(&mut stand, slot, data), expected, "slot {slot}, {size:?}");
    }
    assert!(!decodes(&mut stand, 0, keyframe(AS_ASKED, 500)), "without an identity");
    assert!(!decodes(&mut stand, 200, picture(AS_ASKED, true, false)), "a slot that no link has");
    assert!(decodes(&mut stand, 1, Bytes::from_static(&[0xf8])), "silent sound");
}

#[test]
fn a_huge_picture_of_a_speaker_in_a_mesh_is_not_shown() {
    let mut stand = Stand::new(true);
    let (ben, mut speaker) = (stand.link(BEN, LinkKind::Peer), Source::new(BEN, StreamKind::Speaker));
    stand.follow(BEN, 2, &speaker);
    stand.take();
    for (size, shown) in [(FULL_HD, 1), (HUGE, 0), (AS_ASKED, 1), (HUGE, 0)] {
        stand.come(ben, 2, stating(&mut speaker, size, true, stand.now_us));
        assert_eq!(stand.take().frames.len(), shown, "{size:?}");
        let keys = keys_wanted(&stand.pass(400_000));
        assert_eq!(keys.contains(&(ben, 2)), shown == 0, "{size:?}: {keys:?}");
    }
    stand.media.show_speakers(stand.now_us, &mut stand.outs);
    assert_eq!(stand.take().frames.len(), 0, "nor when the stage becomes a mesh again");
    stand.come(ben, 2, stating(&mut speaker, AS_ASKED, true, stand.now_us));
    stand.take();
    stand.media.show_speakers(stand.now_us, &mut stand.outs);
    assert_eq!(stand.take().frames.len(), 1);
}

#[test]
fn a_mixer_passes_no_picture_through_that_viewers_would_not_show() {
    let mut booth = Booth::new(&[ADA]);
    booth.role(MixRole::Mix { rank: RANK, pass_through: true });
    let mut source = Source::new(ADA, StreamKind::Speaker);
    let mut passes = |booth: &mut Booth, size| {
        let (frame, _) = stating(&mut source, size, true, BEGIN_US);
        booth.arrives(frame, 0).is_some()
    };
    // the encoder may not know of its request yet
    assert!(!passes(&mut booth, FULL_HD) && !booth.mix.passes_through());
    assert!(passes(&mut booth, AS_ASKED) && booth.mix.passes_through());
    assert!(!passes(&mut booth, FULL_HD) && passes(&mut booth, LESS_THAN_TWICE));
}
