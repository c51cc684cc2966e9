//! Peers that nobody asked for the program, and parents that claim false positions in it.

use super::*;
use crate::lead::LEAD_US;

/// Largest packet number of 48 bits.
const NUMBER_MAX: u64 = (1 << 48) - 1;

/// Only [`ADA`], the mixer, was asked for the program; [`BEN`] is a child, and [`CAT`] is linked.
fn asks_ada_alone() -> Senders {
    Senders { makes_program: false, program: vec![ADA], mixers: vec![ADA], speakers: vec![] }
}

/// Only [`CAT`] was asked.
fn asks_cat_alone() -> Senders {
    Senders { program: vec![CAT], ..asks_ada_alone() }
}

fn pictures(outs: &Outs) -> Vec<u64> {
    given(outs).into_iter().filter(|(_, kind, _)| *kind == MediaKind::Video).map(|given| given.2).collect()
}

/// The n-th picture's capture time.
fn at(number: u64) -> u64 {
    BEGIN_US + number * FRAME_US
}

/// Changes numbers of the packets to one that leaps.
fn leap(packets: &[MediaPacket], ahead: u64) -> Vec<MediaPacket> {
    let leap = |packet: &MediaPacket| {
        let mut packet = packet.clone();
        packet.identity.number = (packet.identity.number + ahead).min(NUMBER_MAX);
        packet
    };
    packets.iter().map(leap).collect()
}

#[test]
fn a_child_or_a_peer_beside_that_sends_packets_first_is_not_believed() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    stand.media.set_sources(asks_ada_alone());
    let child = stand.serve(BEN, None, true);
    let beside = stand.link(CAT, LinkKind::Peer);
    stand.come(ada, 0, program.picture(true, at(0)));
    stand.take();
    for (peer, link) in [(BEN, child), (CAT, beside)] {
        // they announce the stream that is shown, and send its next packet before the parent does
        stand.follow(peer, 0, &program);
        let (frame, honest) = program.picture(false, at(1));
        let mut forged = honest.clone();
        forged[0].payload = Bytes::from_static(&[0x61, 0x88, 0xaa]);
        stand.come(link, 0, (frame.clone(), forged));
        assert_eq!(stand.take().sends.len(), 0, "nothing is forwarded");
        stand.come(ada, 0, (frame, honest));
        assert_eq!(pictures(&stand.take()), [at(1)]);
    }
}

#[test]
fn a_mixer_takes_nobody_s_program_for_its_own() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    stand.media.set_sources(Senders { makes_program: true, ..asks_ada_alone() });
    stand.come(ada, 0, program.picture(true, at(0)));
    assert_eq!(pictures(&stand.take()).len(), 0);
}

#[test]
fn a_mixer_that_was_replaced_forwards_no_speaker_any_more() {
    let mut stand = Stand::new(true);
    let ben = stand.link(BEN, LinkKind::Peer);
    let mut speech = Source::new(ADA, StreamKind::Speaker);
    stand.follow(BEN, 4, &speech);
    stand.come(ben, 4, speech.picture(true, at(0)));
    assert_eq!(pictures(&stand.take()).len(), 1);
    stand.media.set_sources(asks_ada_alone());
    stand.come(ben, 4, speech.picture(false, at(1)));
    assert_eq!(pictures(&stand.take()).len(), 0);
}

#[test]
fn one_packet_with_the_highest_number_ends_nothing() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    let child = stand.serve(BEN, None, true);
    stand.come(ada, 0, program.picture(true, at(0)));
    stand.take();
    for number in 1..60 {
        let (frame, packets) = program.picture(false, at(number));
        for ahead in [NUMBER_MAX, 1 << 20, 3_000] {
            stand.come(ada, 0, (frame.clone(), leap(&packets, ahead)));
        }
        assert_eq!(sent_on(&stand.take(), child), [], "leaps aren't forwarded");
        stand.come(ada, 0, (frame, packets));
        assert_eq!(pictures(&stand.take()), [at(number)]);
        stand.pass(TICK_US);
    }
    let have = stand.media.program.have(stand.now_us).unwrap();
    assert!(have.video_packet < 1_000, "{have:?}");
}

#[test]
fn a_child_that_leaves_a_parent_that_leapt_plays_on_without_a_gap() {
    for ahead in [50, 400, 2_000] {
        let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
        let child = stand.serve(BEN, None, true);
        let cat = stand.link(CAT, LinkKind::Peer);
        for number in 0..30 {
            stand.come(ada, 0, program.picture(number == 0, at(number)));
            stand.pass(TICK_US);
        }
        // one false packet, and silence
        let (frame, leapt) = program.picture(false, at(30));
        stand.come(ada, 0, (frame, leap(&leapt, ahead)));
        let (mut program, mut missed) = (program, vec![leapt]);
        while stand.now_us < at(30) + LEAD_US + 200 * MS {
            missed.push(program.picture(false, at(30 + missed.len() as u64)).1);
            stand.pass(TICK_US);
        }
        // the request names a position that the backup has passed, so the backup sends the packets since
        stand.take();
        stand.media.request_feed(CAT, stand.now_us, &mut stand.outs);
        let from = stand.media.program.have(stand.now_us).unwrap().video_packet;
        stand.media.set_sources(Senders { program: vec![CAT], ..asks_ada_alone() });
        stand.take();
        stand.follow(CAT, 0, &program);
        for packet in missed.concat().into_iter().filter(|packet| packet.identity.number > from) {
            stand.media.packet(cat, 0, packet, stand.now_us, &mut stand.outs);
        }
        stand.media.watch(Some(CAT), None, stand.now_us);
        let outs = stand.take();
        let forwarded = sent_on(&outs, child).len();
        let shown = pictures(&outs);
        assert!(shown.len() >= 20 && forwarded >= 20, "{ahead} ahead: {} shown, {forwarded}", shown.len());
        assert!(shown.is_sorted() && shown[0] <= at(32), "{ahead} ahead: {shown:?}");
        assert_eq!(
            announced(&outs).iter().filter(|told| told.0 == child).count(),
            1,
            "children go back, too"
        );
        // and goes on
        let next = program.picture(false, at(90));
        stand.come(cat, 0, next);
        assert_eq!(pictures(&stand.take()), [at(90)]);
    }
}

#[test]
fn a_parent_that_leaps_and_sends_on_costs_no_picture() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    let child = stand.serve(BEN, None, true);
    stand.come(ada, 0, program.picture(true, at(0)));
    let mut shown = pictures(&stand.take());
    let mut forwarded = 0;
    for number in 1..90 {
        let (frame, packets) = program.picture(false, at(number));
        if [1, 45].contains(&number) {
            stand.come(ada, 0, (frame.clone(), leap(&packets, 1_500)));
        }
        stand.come(ada, 0, (frame, packets));
        let outs = stand.pass(TICK_US);
        shown.extend(pictures(&outs));
        forwarded += sent_on(&outs, child).len();
    }
    assert_eq!(shown, (0..90).map(at).collect::<Vec<_>>());
    assert_eq!(forwarded, 89 + 2);
}

#[test]
fn children_of_a_parent_that_went_back_go_back_with_it() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    stand.come(ada, 0, program.picture(true, at(0)));
    let (frame, packets) = program.picture(false, at(1));
    stand.come(ada, 0, (frame.clone(), leap(&packets, 1_000)));
    stand.take();
    stand.pass(LEAD_US + 700 * MS);
    stand.come(ada, 0, (frame, packets));
    assert_eq!(pictures(&stand.take()).len(), 0, "the hole was given up");
    stand.follow(ADA, 0, &program);
    stand.come(ada, 0, program.picture(false, at(2)));
    assert_eq!(pictures(&stand.take()), [at(1), at(2)]);
}

#[test]
fn false_capture_times_are_forgotten_with_the_parent_that_brought_them() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    let cat = stand.link(CAT, LinkKind::Peer);
    stand.come(ada, 0, program.picture(true, at(0)));
    let false_us = at(0) + 3_600_000_000;
    stand.come(ada, 0, program.picture(false, false_us));
    assert_eq!(stand.media.program.head().captured_us, false_us);
    stand.media.set_sources(asks_cat_alone());
    stand.media.request_feed(CAT, stand.now_us, &mut stand.outs);
    stand.follow(CAT, 0, &program);
    stand.come(cat, 0, program.picture(false, at(2)));
    assert_eq!(stand.media.program.head().captured_us, at(2));
    // a time that goes back by more than any repair takes is believed, too
    stand.come(cat, 0, program.picture(false, u64::MAX));
    stand.come(cat, 0, program.picture(false, at(4)));
    assert_eq!(stand.media.program.head().captured_us, at(4));
}
