//! Peers that send what no honest peer sends: what they cause stays bounded.

use super::*;
use crate::inflow::slot_code;

/// Largest packet number of 48 bits.
const NUMBER_MAX: u64 = (1 << 48) - 1;

fn renumbered((frame, packets): (Frame, Vec<MediaPacket>), number: u64) -> (Frame, Vec<MediaPacket>) {
    let packets = packets.into_iter().zip(number..).map(|(mut packet, number)| {
        packet.identity.number = number;
        packet
    });
    (frame, packets.collect())
}

#[test]
fn packet_numbers_that_leap_end_no_stream() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    let child = stand.serve(BEN, None, true);
    let mut shown = Vec::new();
    for number in [1, 1 << 20, NUMBER_MAX, 1, NUMBER_MAX - 1, 0, 1 << 30, NUMBER_MAX] {
        stand.come(ada, 0, renumbered(program.picture(true, BEGIN_US), number));
        let outs = stand.take();
        assert!(sent_on(&outs, child).len() <= 1, "no leap sends the past");
        shown.push(outs.frames.len());
    }
    assert_eq!(shown, [1, 0, 0, 0, 0, 0, 0, 0], "leaps aren't taken, nor are duplicates");
    // a newcomer asks for any position
    let got = [0, 1 << 30, NUMBER_MAX, u64::MAX].map(|video_packet| {
        let from = Resume { stream: program.maker.id, video_packet, sound_packet: u64::MAX };
        let newcomer = stand.serve(CAT, Some(from), true);
        sent_on(&stand.take(), newcomer).len()
    });
    assert_eq!(got, [1, 0, 0, 0]);
}

#[test]
fn a_thousand_streams_take_the_room_of_a_few() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    stand.come(ada, 0, program.picture(true, BEGIN_US));
    let ben = stand.link(BEN, LinkKind::Peer);
    let mut flood = Source::new(BEN, StreamKind::Program);
    let mut speech = Source::new(BEN, StreamKind::Speaker);
    for number in 0..1_000u64 {
        for (source, slot) in [(&mut flood, 0), (&mut speech, 2)] {
            let kind = source.maker.spec.kind;
            source.maker = Maker::new(&ROOM, BEN, kind, Rank::default(), number.to_be_bytes());
            stand.follow(BEN, slot, source);
            stand.come(ben, slot, source.picture(true, BEGIN_US));
        }
    }
    assert_eq!(stand.media.program.streams.len(), 4);
    assert_eq!(stand.media.inflow.streams.len(), 4);
    // the program that is shown goes on
    stand.take();
    stand.come(ada, 0, program.picture(false, BEGIN_US + FRAME_US));
    assert_eq!(given(&stand.take()), [(Origin::Program, MediaKind::Video, BEGIN_US + FRAME_US)]);
}

#[test]
fn packets_of_streams_never_announced_are_dropped_after_a_second() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    let child = stand.serve(CAT, None, true);
    let ben = stand.link(BEN, LinkKind::Peer);
    let mut flood = Source::new(BEN, StreamKind::Program);
    for slot in 0..=255 {
        stand.come(ben, slot, flood.picture(true, BEGIN_US));
        stand.come(ada, slot, flood.picture(true, BEGIN_US));
    }
    assert!(!stand.media.early.is_empty());
    assert_eq!(given(&stand.take()), []);
    let outs = stand.pass(1_025_000);
    assert_eq!((sent_on(&outs, child).len(), stand.media.early.len()), (0, 0));
    stand.come(ada, 0, program.picture(true, BEGIN_US));
    assert_eq!(stand.take().frames.len(), 1);
}

#[test]
fn slots_that_do_not_exist_carry_nothing_further() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    let child = stand.serve(BEN, None, true);
    for slot in [2, 4, 6, 16, 254] {
        stand.come(ada, slot, program.picture(true, BEGIN_US));
    }
    assert_eq!(stand.take().sends.len(), 0);
    for slot in (0..=255).filter(|slot| ![0, 2].contains(slot)) {
        assert_eq!(stand.key_wanted(child, slot), [], "slot {slot}");
    }
    stand.media.publish_anew(false);
    assert!(!stand.own_key_wanted());
    assert_eq!(stand.key_wanted(child, 2), [], "this peer's own stream");
    assert!(stand.own_key_wanted());
}

#[test]
fn a_stream_announced_in_all_slots_is_followed_in_those_of_its_kind_only() {
    let mut stand = Stand::new(true);
    stand.link(BEN, LinkKind::Peer);
    for (kind, slots) in [(StreamKind::Program, 1), (StreamKind::Speaker, 1 + 2 + 64)] {
        let source = Source::new(BEN, kind);
        (0..=255).for_each(|slot| stand.follow(BEN, slot, &source));
        assert_eq!(stand.media.followed_slots(), slots, "{kind:?}");
    }
}

#[test]
fn slot_codes_of_links_that_do_not_exist_stay_in_range() {
    assert_eq!((slot_code(LinkKind::Peer, 5), slot_code(LinkKind::Trunk(0), 6)), (5, 22));
    assert_eq!((slot_code(LinkKind::Trunk(255), 0), slot_code(LinkKind::Trunk(14), 255)), (255, 255));
}

#[test]
fn sound_and_pictures_in_each_other_s_slots_give_no_frames() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    stand.come(ada, 0, program.sound(BEGIN_US));
    stand.come(ada, 1, program.picture(true, BEGIN_US));
    assert_eq!(given(&stand.take()), []);
    assert_eq!(stand.media.program.have(stand.now_us), None);
}

#[test]
fn capture_times_at_the_ends_of_all_clocks_are_counted_and_handed_over() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    let times = [0, 1 << 63, u64::MAX, (1 << 63) - 1, BEGIN_US];
    for captured_us in times {
        stand.come(ada, 0, program.picture(true, captured_us));
        stand.come(ada, 1, program.sound(captured_us));
    }
    let outs = stand.take();
    assert_eq!(outs.frames.len(), 2 * times.len());
    let stats = stand.media.reception(stand.now_us);
    assert_eq!((stats.frames_received, stats.frames_expected), (5, 5));
    assert!(stats.latency.is_some() && stats.av_skew.is_some());
    assert_eq!(stand.media.next_due_us(), None);
}

#[test]
fn payloads_that_are_no_pictures_are_forwarded_but_give_no_frames() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    stand.come(ada, 0, program.picture(true, BEGIN_US));
    let child = stand.serve(BEN, None, true);
    stand.take();
    for payload in [&b""[..], &[0xff; 40], &[0x7c, 0xc5], &[24, 0, 200, 1]] {
        let (frame, mut packets) = program.picture(false, BEGIN_US);
        packets[0].payload = Bytes::copy_from_slice(payload);
        stand.come(ada, 0, (frame, packets));
        let outs = stand.take();
        assert_eq!((outs.frames.len(), sent_on(&outs, child).len()), (0, 1), "{payload:?}");
    }
}

#[test]
fn a_speaker_s_streams_take_a_bounded_part_of_a_mixer_s_memory() {
    let mut stand = Stand::new(true);
    stand.media.set_mesh(false);
    let ben = stand.link(BEN, LinkKind::Peer);
    let mut bytes = 0;
    for number in 0..20u64 {
        let mut speech = Source::new(BEN, StreamKind::Speaker);
        speech.maker = Maker::new(&ROOM, BEN, StreamKind::Speaker, Rank::default(), number.to_be_bytes());
        speech.camera.len_min = 500_000;
        stand.follow(BEN, 2, &speech);
        for at in 0..20 {
            let picture = speech.picture(at == 0, BEGIN_US + at * FRAME_US);
            bytes += picture.1.iter().map(|packet| packet.payload.len()).sum::<usize>();
            stand.come(ben, 2, picture);
            stand.take();
        }
    }
    let cached = stand.media.inflow.streams.values().map(|stream| stream.cached_bytes()).sum::<usize>();
    assert!(bytes > 190 << 20 && cached <= 4 * (2 << 20), "{cached} bytes of {bytes}");
    // what is old goes without any further packet, the newest group of pictures last
    stand.pass(11_000 * MS);
    let cached = stand.media.inflow.streams.values().map(|stream| stream.cached_bytes()).sum::<usize>();
    assert_eq!(cached, 0);
}

#[test]
fn one_peer_s_early_packets_displace_no_other_s() {
    let (mut stand, _, _) = Stand::fed_by_ada(false);
    let [ben, cat] = [BEN, CAT].map(|peer| stand.link(peer, LinkKind::Peer));
    let mut program = Source::new(BEN, StreamKind::Program);
    let mut flood = Source::new(CAT, StreamKind::Program);
    stand.come(ben, 0, program.picture(true, BEGIN_US));
    for at in 0..5_000 {
        stand.come(cat, 0, flood.picture(true, BEGIN_US + at));
    }
    assert_eq!(stand.media.early.len(), 1_024);
    stand.take();
    stand.follow(BEN, 0, &program);
    assert!(stand.media.program.streams[&program.maker.id].position().video_packet > 0);
}

#[test]
fn of_a_peer_whose_links_are_gone_nothing_is_followed() {
    let mut stand = Stand::new(true);
    for round in 0..50u8 {
        let peer = PeerId([100 + round; 32]);
        let link = stand.link(peer, LinkKind::Peer);
        let trunk = stand.link(peer, LinkKind::Trunk(0));
        let mut speech = Source::new(BEN, StreamKind::Speaker);
        for (slot, link) in [(2, link), (16, trunk), (34, trunk)] {
            stand.follow(peer, slot, &speech);
            stand.come(link, slot & 15, speech.picture(true, BEGIN_US));
        }
        stand.media.link_down(link, &mut stand.outs);
        stand.media.link_down(trunk, &mut stand.outs);
    }
    assert_eq!((stand.media.followed_slots(), stand.media.early.len()), (0, 0));
}

#[test]
fn a_peer_whose_links_are_replaced_is_forgotten_with_the_last_one() {
    let mut stand = Stand::new(false);
    stand.link(BEN, LinkKind::Peer);
    stand.media.arrived(BEN, BEGIN_US);
    let again = stand.media.links.open(BEN, LinkKind::Peer);
    let trunk = stand.media.links.open(BEN, LinkKind::Trunk(1));
    stand.media.link_down(again, &mut stand.outs);
    assert!(stand.media.last_arrival(&BEN).is_some(), "the trunk is left");
    stand.media.link_closed(BEN, LinkKind::Trunk(1), &mut stand.outs);
    stand.media.link_down(trunk, &mut stand.outs);
    assert_eq!(stand.media.last_arrival(&BEN), None);
    assert!(stand.media.bounds().iter().all(|bound| bound.len <= bound.max));
}
