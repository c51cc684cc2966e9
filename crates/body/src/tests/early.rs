//! Packets that overtake the announcement of their stream.

use super::*;
use crate::EARLY_US;

/// A viewer with a link to [`ADA`], a mixer in force with a program that was not announced yet.
fn before_the_announcement() -> (Stand, LinkId, Source) {
    let mut stand = Stand::new(false);
    let link = stand.link(ADA, LinkKind::Peer);
    stand.media.set_mesh(false);
    stand.media.program.set_in_force(InForce { rank: RANK, mixers: vec![ADA] });
    stand.media.watch(Some(ADA), None, stand.now_us);
    (stand, link, Source::new(ADA, StreamKind::Program))
}

fn pictures(outs: &Outs) -> Vec<u64> {
    given(outs).into_iter().filter(|(_, kind, _)| *kind == MediaKind::Video).map(|given| given.2).collect()
}

#[test]
fn early_packets_are_handled_in_order_once_the_announcement_arrives() {
    let (mut stand, ada, mut program) = before_the_announcement();
    stand.come(ada, 0, program.picture(true, BEGIN_US));
    stand.come(ada, 1, program.sound(BEGIN_US));
    stand.come(ada, 0, program.picture(false, BEGIN_US + FRAME_US));
    assert_eq!(given(&stand.take()), []);
    stand.follow(ADA, 0, &program);
    let video = |at| (Origin::Program, MediaKind::Video, BEGIN_US + at * FRAME_US);
    assert_eq!(given(&stand.take()), [video(0), (Origin::Program, MediaKind::Sound, BEGIN_US), video(1)]);
    stand.follow(ADA, 0, &program);
    assert_eq!(given(&stand.take()), [], "early packets are handled once");
}

#[test]
fn an_announcement_releases_only_packets_of_its_peer_slot_and_stream() {
    let (mut stand, ada, mut program) = before_the_announcement();
    let ben = stand.link(BEN, LinkKind::Peer);
    let (mut other, mut twin) =
        (Source::new(ADA, StreamKind::Program), Source::new(ADA, StreamKind::Program));
    other.restart();
    stand.come(ada, 0, other.picture(true, BEGIN_US));
    stand.come(ada, 2, twin.picture(true, BEGIN_US));
    stand.come(ben, 0, twin.picture(true, BEGIN_US));
    stand.follow(ADA, 0, &program);
    assert_eq!(given(&stand.take()), []);
    stand.come(ada, 0, program.picture(true, BEGIN_US + FRAME_US));
    assert_eq!(pictures(&stand.take()), [BEGIN_US + FRAME_US]);
}

#[test]
fn early_packets_are_kept_for_a_second() {
    for (wait_us, shown) in [(EARLY_US, 1), (EARLY_US + TICK_US, 0)] {
        let (mut stand, ada, mut program) = before_the_announcement();
        stand.come(ada, 0, program.picture(true, BEGIN_US));
        stand.pass(wait_us);
        stand.follow(ADA, 0, &program);
        assert_eq!(pictures(&stand.take()).len(), shown, "after {wait_us} µs");
    }
}

#[test]
fn of_too_many_early_packets_the_newest_1024_are_kept() {
    let (mut stand, ada, mut program) = before_the_announcement();
    for at in 0..2_000 {
        stand.come(ada, 0, program.picture(true, BEGIN_US + at));
    }
    stand.follow(ADA, 0, &program);
    let shown = pictures(&stand.take());
    assert_eq!((shown.len(), shown[0], shown[1_023]), (1_024, BEGIN_US + 976, BEGIN_US + 1_999));
}

#[test]
fn early_packets_of_a_link_that_was_replaced_are_dropped() {
    let (mut stand, ada, mut program) = before_the_announcement();
    stand.come(ada, 0, program.picture(true, BEGIN_US));
    let again = stand.link(ADA, LinkKind::Peer);
    stand.follow(ADA, 0, &program);
    assert_eq!(pictures(&stand.take()).len(), 0);
    stand.come(ada, 0, program.picture(true, BEGIN_US + FRAME_US));
    assert_eq!(pictures(&stand.take()).len(), 0, "the older link counts no more");
    stand.come(again, 0, program.picture(true, BEGIN_US + 2 * FRAME_US));
    assert_eq!(pictures(&stand.take()), [BEGIN_US + 2 * FRAME_US]);
}

#[test]
fn a_link_that_is_lost_takes_its_announcements_with_it() {
    let (mut stand, ada, mut program) = before_the_announcement();
    stand.follow(ADA, 0, &program);
    stand.media.link_down(ada, &mut stand.outs);
    let again = stand.link(ADA, LinkKind::Peer);
    stand.come(again, 0, program.picture(true, BEGIN_US));
    assert_eq!(pictures(&stand.take()).len(), 0);
    stand.follow(ADA, 0, &program);
    assert_eq!(pictures(&stand.take()), [BEGIN_US]);
}

#[test]
fn the_last_three_streams_of_a_slot_are_accepted() {
    let mut stand = Stand::new(true);
    let ada = stand.link(ADA, LinkKind::Peer);
    let mut sources: Vec<Source> = (0..4)
        .map(|restarts| {
            let mut source = Source::new(ADA, StreamKind::Speaker);
            (0..restarts).for_each(|_| source.restart());
            source
        })
        .collect();
    sources.iter().for_each(|source| stand.follow(ADA, 2, source));
    let shown = sources.iter_mut().map(|source| {
        stand.come(ada, 2, source.picture(true, BEGIN_US));
        pictures(&stand.take()).len()
    });
    assert_eq!(shown.collect::<Vec<_>>(), [0, 1, 1, 1]);
}
