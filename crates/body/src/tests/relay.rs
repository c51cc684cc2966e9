//! A relay: its feeder, its children, and the positions at which they begin.

use plenary_media::payload::LEFT_OUT;
use plenary_proto::message::TreeMessage;

use super::*;
use crate::outs::Notice;
use crate::program::PROGRAM_HOLE_US;

/// Returns the packets of a keyframe, two other pictures, and the sound of that time.
fn group(program: &mut Source) -> Vec<(u8, MediaPacket)> {
    let mut packets = Vec::new();
    for at in 0..3 {
        let captured_us = BEGIN_US + at * FRAME_US;
        packets.extend(program.picture(at == 0, captured_us).1.into_iter().map(|packet| (0, packet)));
        packets.extend(program.sound(captured_us).1.into_iter().map(|packet| (1, packet)));
    }
    packets
}

/// A viewer that got a group of pictures from [`ADA`].
fn fed() -> (Stand, LinkId, Source) {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    for (slot, packet) in group(&mut program) {
        stand.media.packet(ada, slot, packet, stand.now_us, &mut stand.outs);
    }
    stand.take();
    (stand, ada, program)
}

/// Returns slot and number of the packets that a child gets.
fn got(outs: &Outs, child: LinkId) -> Vec<(u8, u64)> {
    sent_on(outs, child).iter().map(|(slot, packet)| (*slot, packet.identity.number)).collect()
}

#[test]
fn a_newcomer_gets_the_cached_group_of_pictures_with_its_sound() {
    let (mut stand, ada, mut program) = fed();
    let child = stand.serve(BEN, None, true);
    let outs = stand.take();
    assert_eq!(announced(&outs), [(child, 0, program.maker.id)]);
    assert_eq!(got(&outs, child), [(1, 1), (1, 2), (1, 3), (0, 1), (0, 2), (0, 3)]);
    stand.come(ada, 0, program.picture(false, BEGIN_US + 3 * FRAME_US));
    stand.come(ada, 1, program.sound(BEGIN_US + 3 * FRAME_US));
    let outs = stand.take();
    assert_eq!((got(&outs, child), announced(&outs)), (vec![(0, 4), (1, 4)], vec![]));
}

#[test]
fn a_speaker_that_watches_gets_pictures_without_sound() {
    let (mut stand, ada, mut program) = fed();
    let child = stand.serve(BEN, None, false);
    assert_eq!(got(&stand.take(), child), [(0, 1), (0, 2), (0, 3)]);
    stand.come(ada, 1, program.sound(BEGIN_US + 3 * FRAME_US));
    stand.come(ada, 0, program.picture(false, BEGIN_US + 3 * FRAME_US));
    assert_eq!(got(&stand.take(), child), [(0, 4)]);
    assert_eq!(stand.media.program.viewer_links().count(), 0);
    assert_eq!(stand.media.program.links().collect::<Vec<_>>(), [child]);
}

#[test]
fn a_child_continues_behind_its_position_in_the_same_stream() {
    let (mut stand, _, program) = fed();
    let at = |stream, video_packet, sound_packet| Some(Resume { stream, video_packet, sound_packet });
    let current = program.maker.id;
    let all = vec![(1, 1), (1, 2), (1, 3), (0, 1), (0, 2), (0, 3)];
    for (from, packets) in [
        (at(current, 2, 1), vec![(1, 2), (1, 3), (0, 3)]),
        (at(current, 3, 3), vec![]),
        (at(current, u64::MAX, u64::MAX), vec![]),
        (at(StreamId([7; 8]), 2, 1), all),
    ] {
        let child = stand.serve(BEN, from, true);
        assert_eq!(got(&stand.take(), child), packets, "{from:?}");
    }
}

#[test]
fn a_child_that_is_not_linked_is_not_fed() {
    let (mut stand, ada, mut program) = fed();
    stand.media.serve(CAT, None, true, stand.now_us, &mut stand.outs);
    assert_eq!((stand.take().sends.len(), stand.media.program.links().count()), (0, 0));
    let child = stand.serve(BEN, None, true);
    stand.take();
    stand.media.link_down(child, &mut stand.outs);
    stand.come(ada, 0, program.picture(false, BEGIN_US + 3 * FRAME_US));
    assert_eq!((sent(&stand.take()), stand.media.program.links().count()), (vec![], 0));
}

#[test]
fn a_promised_child_hears_of_the_program_with_its_first_keyframe() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    let child = stand.serve(BEN, None, true);
    stand.come(ada, 1, program.sound(BEGIN_US));
    assert_eq!(stand.take().sends.len(), 0);
    stand.come(ada, 0, program.picture(true, BEGIN_US));
    let outs = stand.take();
    assert_eq!(announced(&outs), [(child, 0, program.maker.id)]);
    assert_eq!(got(&outs, child), [(1, 1), (0, 1)]);
}

#[test]
fn a_packet_that_arrives_twice_is_forwarded_once() {
    let (mut stand, ada, mut program) = fed();
    let child = stand.serve(BEN, None, true);
    stand.take();
    let picture = program.picture(false, BEGIN_US + 3 * FRAME_US);
    stand.come(ada, 0, picture.clone());
    assert_eq!(got(&stand.take(), child), [(0, 4)]);
    stand.come(ada, 0, picture);
    assert_eq!(stand.take().sends.len(), 0);
}

#[test]
fn keyframe_requests_of_many_children_become_one_request_to_the_parent() {
    let (mut stand, ada, _) = fed();
    let children = [BEN, CAT].map(|child| stand.serve(child, None, true));
    stand.take();
    let mut asked = Vec::new();
    for ms in (0..700).step_by(50) {
        stand.now_us = BEGIN_US + ms * MS;
        for child in children {
            let wanted = stand.key_wanted(child, 0);
            assert!(wanted.iter().all(|wanted| *wanted == (ada, 0)));
            asked.extend(wanted.iter().map(|_| ms));
        }
    }
    assert_eq!(asked, [0, 300, 600]);
    assert_eq!(stand.key_wanted(children[0], 1), [], "sound has no keyframes");
    assert_eq!(stand.key_wanted(LinkId(99), 0), [], "there is no such link");
}

#[test]
fn a_thinned_child_gets_fillers_in_place_of_spare_pictures() {
    let (mut stand, ada, mut program) = fed();
    let [wide, thin] = [BEN, CAT].map(|child| stand.serve(child, None, true));
    stand.media.program.set_thin([thin].into());
    stand.take();
    let spare = program.spare_picture(BEGIN_US + 3 * FRAME_US);
    stand.come(ada, 0, spare.clone());
    stand.come(ada, 0, program.picture(false, BEGIN_US + 4 * FRAME_US));
    let outs = stand.take();
    let [whole, filled] = [wide, thin].map(|child| sent_on(&outs, child));
    assert_eq!(whole[0], (0, spare.1[0].clone()));
    let filler = MediaPacket { payload: Bytes::from_static(LEFT_OUT), ..spare.1[0].clone() };
    assert_eq!(filled[0], (0, filler.clone()));
    assert_eq!(filled[1], whole[1]);
    stand.serve(CAT, Some(Resume { sound_packet: 3, video_packet: 3, stream: program.maker.id }), true);
    assert_eq!(sent_on(&stand.take(), thin), filled);
    // a relay further down forwards the filler, and counts the picture as left out
    let (mut below, parent, mut same) = fed();
    let child = below.serve(BEN, None, true);
    below.take();
    below.come(parent, 0, (same.spare_picture(0).0, vec![filler.clone()]));
    assert_eq!(sent_on(&below.take(), child), [(0, filler)]);
    assert_eq!(below.media.reception(below.now_us).frames_left_out, 1);
}

#[test]
fn bytes_count_once_and_only_from_the_feeder() {
    let (mut stand, ada, mut program) = fed();
    let ben = stand.link(BEN, LinkKind::Peer);
    stand.follow(BEN, 0, &program);
    let bytes = |stand: &Stand| stand.media.reception(stand.now_us).program_bytes;
    let before = bytes(&stand);
    assert!(before > 0);
    let picture = program.picture(false, BEGIN_US + 3 * FRAME_US);
    let len = picture.1[0].payload.len() as u64;
    stand.come(ada, 0, picture.clone());
    // RTP header and its extensions' header: 16; identity and number: 18, padded to 20
    assert_eq!(bytes(&stand) - before, len + 16 + 20);
    let after = bytes(&stand);
    stand.come(ada, 0, picture);
    stand.come(ben, 0, program.picture(false, BEGIN_US + 4 * FRAME_US));
    assert_eq!(bytes(&stand), after, "a duplicate, and a packet of another peer");
    let sound = program.sound_of(BEGIN_US, &[ADA, CAT]);
    let len = sound.1[0].payload.len() as u64;
    stand.come(ada, 1, sound);
    // two contributors: 8; a level: 2, and levels of contributors: 3, with the others 23, padded to 24
    assert_eq!(bytes(&stand) - after, len + 16 + 8 + 24);
}

#[test]
fn the_first_packet_of_an_asked_peer_makes_it_the_feeder() {
    let (mut stand, ada, mut program) = fed();
    let ben = stand.link(BEN, LinkKind::Peer);
    stand.media.request_feed(BEN, stand.now_us, &mut stand.outs);
    let position = stand.media.program.have(stand.now_us).unwrap();
    assert_eq!((position.video_packet, position.sound_packet), (3, 3));
    let feed = Message::Tree(TreeMessage::Feed { from: Some(position) });
    assert_eq!(stand.take().sends[..], [Out::Control { link: ben, message: Box::new(feed) }]);
    stand.follow(BEN, 0, &program);
    stand.come(ada, 0, program.picture(false, BEGIN_US + 3 * FRAME_US));
    assert_eq!((stand.media.program.feeder(), stand.take().notices.len()), (Some(ada), 0));
    stand.come(ben, 0, program.picture(false, BEGIN_US + 4 * FRAME_US));
    assert_eq!(
        (stand.media.program.feeder(), &stand.take().notices[..]),
        (Some(ben), &[Notice::Fed(BEN)][..])
    );
    stand.come(ben, 0, program.picture(false, BEGIN_US + 5 * FRAME_US));
    assert_eq!(stand.take().notices.len(), 0);
}

#[test]
fn a_backup_that_was_asked_feeds_only_until_the_brain_has_decided() {
    let (mut stand, ada, mut program) = fed();
    let ben = stand.link(BEN, LinkKind::Peer);
    stand.follow(BEN, 0, &program);
    stand.media.request_feed(BEN, stand.now_us, &mut stand.outs);
    stand.media.watch(Some(ADA), Some(BEN), stand.now_us);
    stand.take();
    stand.come(ben, 0, program.picture(false, BEGIN_US + 3 * FRAME_US));
    assert_eq!((stand.media.program.feeder(), stand.take().notices.len()), (Some(ben), 1));
    stand.media.renew_feeder();
    stand.come(ben, 0, program.picture(false, BEGIN_US + 4 * FRAME_US));
    assert_eq!((stand.media.program.feeder(), stand.take().notices.len()), (Some(ada), 0));
    stand.media.request_feed(CAT, stand.now_us, &mut stand.outs);
    assert_eq!(stand.take().sends.len(), 0, "there is no link with cat");
}

#[test]
fn after_a_change_of_parents_keyframes_are_requested_of_the_new_one() {
    let (mut stand, ada, mut program) = fed();
    let ben = stand.link(BEN, LinkKind::Peer);
    let child = stand.serve(CAT, None, true);
    stand.follow(BEN, 0, &program);
    stand.take();
    assert_eq!(stand.key_wanted(child, 0), [(ada, 0)]);
    stand.media.watch(Some(BEN), None, stand.now_us);
    let _lost = program.picture(false, BEGIN_US + 3 * FRAME_US);
    stand.come(ben, 0, program.picture(false, BEGIN_US + 4 * FRAME_US));
    stand.take();
    assert_eq!(keys_wanted(&stand.pass(PROGRAM_HOLE_US - 25_000)), []);
    assert_eq!(keys_wanted(&stand.pass(100_000)), [(ben, 0)]);
    assert_eq!(stand.media.take_suffered(stand.now_us, None), 1);
    stand.media.watch(None, None, stand.now_us);
    assert_eq!(keys_wanted(&stand.pass(1_000_000)), [], "no peer feeds this one");
}
