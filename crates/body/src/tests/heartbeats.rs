//! Heads and pings on the heartbeat channel.

use plenary_proto::message::{Head, Heartbeat};

use super::*;
use crate::heartbeats::Heartbeats;

impl Stand {
    /// Runs the heartbeats at a time in milliseconds after the begin. Returns the links with heads, and those with
    /// pings.
    fn beat(&mut self, heartbeats: &mut Heartbeats, at_ms: u64) -> [Vec<LinkId>; 2] {
        let now_us = BEGIN_US + at_ms * MS;
        let head = || self.media.program.head();
        let mut outs = Outs::default();
        heartbeats.on_time(&self.media, &head, &|peer| *peer == ADA, now_us, &mut outs);
        let [mut heads, mut pings] = [Vec::new(), Vec::new()];
        for out in outs.sends {
            match out {
                Out::Heartbeat { link, heartbeat: Heartbeat::Head(head) } => {
                    assert_eq!(head, self.media.program.head());
                    heads.push(link);
                }
                Out::Heartbeat { link, heartbeat } => {
                    assert_eq!(heartbeat, Heartbeat::Ping { sent_us: now_us });
                    pings.push(link);
                }
                other => panic!("{other:?}"),
            }
        }
        [heads, pings]
    }

    /// Runs the heartbeats each 25 ms. Returns the times of the heads on a link, in milliseconds after the begin.
    fn head_times(&mut self, heartbeats: &mut Heartbeats, until_ms: u64, link: LinkId) -> Vec<u64> {
        let times = (0..until_ms).step_by(25);
        times.filter(|at_ms| self.beat(heartbeats, *at_ms)[0].contains(&link)).collect()
    }
}

#[test]
fn children_get_heads_only_after_100_ms_without_media() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    let ben = stand.link(BEN, LinkKind::Peer);
    stand.media.serve(BEN, None, true, BEGIN_US, &mut stand.outs);
    stand.come(ada, 0, program.picture(true, BEGIN_US));
    assert!(stand.media.program.head() != Head::default());
    let mut heartbeats = Heartbeats::default();
    assert_eq!(stand.beat(&mut heartbeats, 99)[0], []);
    assert_eq!(stand.beat(&mut heartbeats, 100)[0], [ben]);
    assert_eq!(stand.beat(&mut heartbeats, 199)[0], []);
    assert_eq!(stand.beat(&mut heartbeats, 200)[0], [ben]);
    stand.now_us = BEGIN_US + 290 * MS;
    stand.come(ada, 0, program.picture(false, BEGIN_US + 33 * MS));
    assert_eq!(stand.beat(&mut heartbeats, 389)[0], []);
    assert_eq!(stand.beat(&mut heartbeats, 390)[0], [ben]);
}

#[test]
fn a_promised_backup_gets_a_head_each_500_ms_until_the_promise_ends() {
    let mut stand = Stand::new(false);
    let ben = stand.link(BEN, LinkKind::Peer);
    let mut heartbeats = Heartbeats::default();
    heartbeats.promise(BEN);
    assert_eq!(stand.head_times(&mut heartbeats, 1_100, ben), [0, 500, 1_000]);
    heartbeats.unpromise(&BEN);
    assert_eq!(stand.beat(&mut heartbeats, 1_500)[0], []);
    heartbeats.promise(CAT);
    assert_eq!(stand.beat(&mut heartbeats, 2_000)[0], [], "there is no link with cat yet");
    let cat = stand.link(CAT, LinkKind::Peer);
    assert_eq!(stand.beat(&mut heartbeats, 2_025)[0], [cat]);
}

#[test]
fn a_standby_gets_a_head_each_100_ms() {
    let mut stand = Stand::new(false);
    let ben = stand.link(BEN, LinkKind::Peer);
    stand.media.inflow.set_forwarding_to(&[BEN, CAT]);
    let times = stand.head_times(&mut Heartbeats::default(), 350, ben);
    assert_eq!(times, [0, 100, 200, 300]);
    stand.media.inflow.set_forwarding_to(&[]);
    assert_eq!(stand.head_times(&mut Heartbeats::default(), 350, ben), [0; 0]);
}

#[test]
fn a_new_peer_is_pinged_at_once_and_all_peers_in_one_round_each_500_ms() {
    let mut stand = Stand::new(false);
    let mut heartbeats = Heartbeats::default();
    let mut pings = |stand: &mut Stand, at_ms| stand.beat(&mut heartbeats, at_ms)[1].clone();
    let ada = stand.link(ADA, LinkKind::Peer);
    assert_eq!(pings(&mut stand, 0), [ada]);
    assert_eq!(pings(&mut stand, 25), []);
    let ben = stand.link(BEN, LinkKind::Peer);
    stand.link(CAT, LinkKind::Trunk(0));
    assert_eq!(pings(&mut stand, 50), [ben], "trunks carry no pings");
    assert_eq!(pings(&mut stand, 499), []);
    assert_eq!(pings(&mut stand, 500), [ada, ben]);
    assert_eq!(pings(&mut stand, 975), []);
    assert_eq!(pings(&mut stand, 1_000), [ada, ben]);
    heartbeats.forget(&ADA);
    assert_eq!(stand.beat(&mut heartbeats, 1_025)[1], [ada], "as a new peer");
}

#[test]
fn children_and_backups_off_stage_are_pinged_in_each_fourth_round() {
    let mut stand = Stand::new(false);
    let mut heartbeats = Heartbeats::default();
    let [ada, ben, cat] = [ADA, BEN, CAT].map(|peer| stand.link(peer, LinkKind::Peer));
    stand.media.serve(ADA, None, true, BEGIN_US, &mut stand.outs);
    stand.media.serve(BEN, None, true, BEGIN_US, &mut stand.outs);
    heartbeats.promise(CAT);
    let mut pings = |at_ms| stand.beat(&mut heartbeats, at_ms)[1].clone();
    assert_eq!(pings(0), [ada, ben, cat], "new peers, in the first round");
    let rounds = [1, 2, 3, 4].map(|round| pings(round * 500));
    assert_eq!(rounds, [vec![ada], vec![ada], vec![ada, ben, cat], vec![ada]]);
}
