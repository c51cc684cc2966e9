//! The periodic work of the body.

use plenary_proto::bounded::{List, Text};
use plenary_proto::message::{Consent, Heartbeat, TreeMessage};
use plenary_proto::packet::LinkStats;
use plenary_proto::seal::Keypair;
use plenary_proto::{Event, Input, Mode, RoomConfig, RoomState, ShortId, Time, Verdict};

use super::*;
use crate::body::{Body, BodyConfig, In};
use crate::outs::{CaptureCommand, Notice};
use crate::traffic::Traffic;
use plenary_proto::app::Shedding;

pub(super) fn body() -> Body {
    let key = |seed| Keypair::from_seed(&[seed; 32]);
    let (me, root) = (key(9), key(1).id());
    let room = RoomId::of_root(&root);
    let config = RoomConfig {
        room,
        root,
        host: None,
        name: Text::truncated("me"),
        speaks: true,
        views: true,
        no_solo: false,
        consent: Consent::Always,
        relays: true,
        children_max: 8,
        uplink_bps_max: None,
        carries: true,
        sends_trains: true,
        key: None,
        unix_us_at_zero: 1_700_000_000_000_000,
    };
    let config_of_body = BodyConfig {
        me: me.id(),
        room,
        zero_us: 0,
        keeps_log: false,
        views: true,
        speaks: true,
        is_page: false,
        seed: 1,
        seals: false,
    };
    Body::new(RoomState::new(me, config, 7, Time(0)), config_of_body, BEGIN_US)
}

fn link(body: &mut Body, peer: PeerId, outs: &mut Outs) -> LinkId {
    let link = body.media.links.open(peer, LinkKind::Peer);
    body.media.link_up(link, outs);
    link
}

/// Ticks until a time. Returns the last settings of DTX, with the time of each change.
fn dtx_changes(body: &mut Body, now_us: &mut u64, until_us: u64) -> Vec<(u64, bool)> {
    let mut changes: Vec<(u64, bool)> = Vec::new();
    while *now_us <= until_us {
        let mut outs = Outs::default();
        body.tick(*now_us, |_| None, &mut outs);
        for command in outs.capture {
            if let CaptureCommand::Dtx(on) = command
                && changes.last().is_none_or(|(_, known)| *known != on)
            {
                changes.push((*now_us, on));
            }
        }
        *now_us += TICK_US;
    }
    changes
}

#[test]
fn a_silent_parent_causes_a_verdict_and_a_stall_of_this_machine_none() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    let verdicts = |stand: &mut Stand| {
        stand.media.lag.tick(stand.now_us);
        let (now, late_us) = (stand.media.watch_time(stand.now_us), stand.media.lag.late_us());
        stand.media.watches.verdicts(now, late_us)
    };
    for tick in 0..40 {
        stand.now_us += TICK_US;
        stand.come(ada, 0, program.picture(tick == 0, stand.now_us));
        assert_eq!(verdicts(&mut stand), []);
    }
    stand.now_us += 1_000_000;
    assert_eq!(verdicts(&mut stand), [], "this machine slept, not the parent");
    // for two seconds, as much more silence is allowed as this machine was late
    for _ in 0..5 {
        stand.now_us += TICK_US;
        assert_eq!(verdicts(&mut stand), []);
    }
    for tick in 0..120 {
        stand.now_us += TICK_US;
        stand.come(ada, 0, program.picture(false, stand.now_us));
        assert_eq!(verdicts(&mut stand), [], "tick {tick}");
    }
    let silent_ticks = (1..=20).find(|_| {
        stand.now_us += TICK_US;
        verdicts(&mut stand) == [(ADA, Verdict::Silent)]
    });
    assert_eq!(silent_ticks, Some(6), "after 150 ms");
}

#[test]
fn a_relay_sheds_more_load_the_later_it_is() {
    let (mut body, mut outs) = (body(), Outs::default());
    let child = link(&mut body, BEN, &mut outs);
    body.media.program.serve(BEN, (child, false), true, None, BEGIN_US, &mut outs);
    let mut now_us = BEGIN_US;
    let mut run = |body: &mut Body, late_us: u64, seconds: u64| {
        let (until_us, mut steps) = (now_us + seconds * 1_000_000, Vec::new());
        while now_us < until_us {
            let mut outs = Outs::default();
            body.tick(now_us, |_| Some(LinkStats::default()), &mut outs);
            steps.extend(outs.events.into_iter().filter_map(|event| match event {
                Event::Shedding { shedding } => Some(shedding),
                _ => None,
            }));
            now_us += TICK_US + late_us;
        }
        (steps, body.media.program.thin().contains(&child))
    };
    assert_eq!(run(&mut body, 0, 10), (vec![], false));
    assert_eq!(run(&mut body, 150_000, 10), (vec![Shedding::Children], false));
    assert_eq!(run(&mut body, 300_000, 10), (vec![Shedding::HalfThePictures], true));
    assert_eq!(run(&mut body, 500_000, 10), (vec![Shedding::Decoding], true));
    assert_eq!(run(&mut body, 0, 10), (vec![Shedding::Nothing], false));
}

#[test]
fn the_brain_hears_of_signs_of_life_once_a_second() {
    let (mut body, mut outs) = (body(), Outs::default());
    link(&mut body, ADA, &mut outs);
    link(&mut body, BEN, &mut outs);
    let mut told = Vec::new();
    for tick in 0..200 {
        let now_us = BEGIN_US + tick * TICK_US;
        if tick < 80 {
            body.media.arrived(ADA, now_us);
        }
        body.tick(now_us, |_| None, &mut outs);
        let told_us = body.told_heard_us[&ADA];
        if told.last() != Some(&told_us) {
            told.push(told_us);
        }
        assert_eq!(body.told_heard_us[&BEN], 0, "nothing ever arrived from ben");
    }
    // the last arrival is at 1975 ms, and counts for 1500 ms
    assert_eq!(told, [0, 1_000, 2_000, 3_000].map(|ms| BEGIN_US + ms * MS));
}

#[test]
fn dtx_is_on_from_two_seconds_after_mixing_began() {
    let (mut body, mut now_us) = (body(), BEGIN_US);
    body.handle(now_us, In::Publish { shares: false }, &mut Outs::default());
    (body.mode, body.mode_since_us) = (Mode::PassThrough, now_us);
    assert_eq!(dtx_changes(&mut body, &mut now_us, BEGIN_US + 3_000 * MS), [(BEGIN_US, false)]);
    (body.mode, body.mode_since_us) = (Mode::Mixer, BEGIN_US + 3_000 * MS);
    let changes = dtx_changes(&mut body, &mut now_us, BEGIN_US + 6_000 * MS);
    assert_eq!(changes, [(BEGIN_US + 4_000 * MS, false), (BEGIN_US + 5_000 * MS, true)]);
    (body.mode, body.mode_since_us) = (Mode::Mesh, BEGIN_US + 6_000 * MS);
    let changes = dtx_changes(&mut body, &mut now_us, BEGIN_US + 7_000 * MS);
    assert_eq!(changes, [(BEGIN_US + 7_000 * MS, false)]);
}

#[test]
fn traffic_to_viewers_is_counted_apart_up_to_the_count_after_they_leave() {
    let (mut body, mut outs) = (body(), Outs::default());
    let [ada, ben, cat] = [ADA, BEN, CAT].map(|peer| link(&mut body, peer, &mut outs));
    let count = |body: &mut Body, bytes: u64| {
        let stats = LinkStats { udp_bytes_sent: bytes, ..LinkStats::default() };
        body.count_traffic(|link| (link != cat).then_some(stats))
    };
    body.media.serve(ADA, None, true, BEGIN_US, &mut outs);
    body.media.serve(BEN, None, false, BEGIN_US, &mut outs);
    assert_eq!(count(&mut body, 100), Traffic { to_children_bytes: 100, bytes: 200, ..Traffic::default() });
    body.media.unserve(&ADA);
    assert_eq!(count(&mut body, 150), Traffic { to_children_bytes: 150, bytes: 300, ..Traffic::default() });
    assert_eq!(count(&mut body, 250), Traffic { to_children_bytes: 150, bytes: 500, ..Traffic::default() });
    body.handle(BEGIN_US, In::LinkDown(ben), &mut outs);
    assert_eq!(count(&mut body, 300), Traffic { to_children_bytes: 150, bytes: 550, ..Traffic::default() });
    assert_eq!(body.links().collect::<Vec<_>>(), [ada, cat]);
}

#[test]
fn a_notice_that_the_shell_has_no_room_for_is_given_again() {
    let (mut body, notice) = (body(), Notice::Fed(ADA));
    body.repeat(notice.clone());
    body.repeat(notice.clone());
    for expected in [&[notice][..], &[]] {
        let mut outs = Outs::default();
        body.tick(BEGIN_US, |_| None, &mut outs);
        assert_eq!(outs.notices.as_slice(), expected);
    }
}

/// Returns a body that the brain has linked with Ada, and the link.
fn linked_by_its_brain(outs: &mut Outs) -> (Body, LinkId) {
    let mut body = body();
    let ada = Keypair::from_seed(&[3; 32]).id();
    body.handle(BEGIN_US, In::Brain(Box::new(Input::Command(plenary_proto::Command::Measure(ada)))), outs);
    let link = body.media.links.open(ada, LinkKind::Peer);
    body.media.link_up(link, outs);
    (body, link)
}

#[test]
fn a_link_that_exceeds_its_budget_is_not_read_for_a_while_and_then_ended() {
    let mut outs = Outs::default();
    let (mut body, link) = linked_by_its_brain(&mut outs);
    let message = Message::Tree(TreeMessage::PathIs(List::truncated([ShortId([7; 8]); 16]))).to_bytes();
    let piece = [&[0][..], &message].concat();
    let (mut now_us, mut bytes, mut ended) = (BEGIN_US, 0, false);
    while !ended {
        let mut outs = Outs::default();
        body.received(now_us, link, Channel::Control, &piece, &mut outs);
        bytes += piece.len();
        for out in outs.sends {
            match out {
                Out::Pause { pause_us, .. } => now_us += pause_us,
                Out::Close { .. } => ended = true,
                _ => {}
            }
        }
        ended |= outs.events.iter().any(|event| matches!(event, Event::PeerMisbehaved { count: 4, .. }));
        assert!(bytes < 1 << 20, "nobody minds {bytes} bytes");
    }
    assert!((1_000_000..3_000_000).contains(&(now_us - BEGIN_US)), "{}", now_us - BEGIN_US);
}

#[test]
fn a_peer_that_cuts_its_messages_into_single_bytes_pays_for_each_piece() {
    let mut outs = Outs::default();
    let (mut body, link) = linked_by_its_brain(&mut outs);
    let paused = |outs: &Outs| outs.sends.iter().any(|out| matches!(out, Out::Pause { .. }));
    let free = (0..100_000).take_while(|_| {
        let mut outs = Outs::default();
        body.received(BEGIN_US, link, Channel::Control, &[1, 7], &mut outs);
        !paused(&outs)
    });
    assert_eq!(free.count(), 256 * 1024 / 64);
}

#[test]
fn heartbeats_beyond_their_budget_are_dropped() {
    let mut outs = Outs::default();
    let (mut body, link) = linked_by_its_brain(&mut outs);
    let ping = Heartbeat::Ping { sent_us: 1 }.to_bytes();
    let mut answers = |at_us, many| {
        let mut outs = Outs::default();
        for _ in 0..many {
            body.received(at_us, link, Channel::Heartbeat, &ping, &mut outs);
        }
        outs.sends.iter().filter(|out| matches!(out, Out::Heartbeat { .. })).count()
    };
    assert_eq!(answers(BEGIN_US, 1_000), 100);
    assert_eq!(answers(BEGIN_US + 1_000_000, 1), 1);
}
