//! A single speaker's own stream, for peers that request it.

use std::collections::BTreeSet;

use crate::support::{calm, plan, run, run_on, seeds, under};
use plenary_proto::app::Solo;
use plenary_proto::message::{MediaMessage, Message};
use plenary_proto::time::SECOND;
use plenary_proto::{Address, Command, Event, Output, PeerId, Time};
use plenary_sim::World;
use plenary_sim::deviation::Deviation;

const SEEDS: std::ops::Range<u64> = 0..5;
/// Maximum number of viewers to which a mixer forwards single speakers.
const VIEWERS_MAX: usize = 4;

fn wish(world: &mut World, peer: PeerId, speaker: Option<PeerId>) {
    world.command(peer, Command::Solo(speaker.map(|speaker| Solo { speaker, instead: false })));
}

/// Peers that forward this speaker to this peer.
fn givers(world: &World, peer: PeerId, speaker: PeerId) -> Vec<PeerId> {
    let gives = |by: &PeerId| world.solos(*by).contains(&(peer, speaker));
    world.living().filter(gives).collect()
}

fn told(world: &World, peer: PeerId) -> Vec<(PeerId, bool)> {
    let solo = |event: &Event| match event {
        Event::Solo { speaker, comes } => Some((*speaker, *comes)),
        _ => None,
    };
    world.events(peer).iter().filter_map(|(_, event)| solo(event)).collect()
}

#[test]
fn a_viewer_gets_the_speaker_it_wishes_for_and_then_another_and_then_none() {
    for seed in seeds(SEEDS) {
        let mut world = run(plan(3, 3, 12), seed, 12);
        let (ada, ben) = (world.planned(0), world.planned(1));
        let viewer =
            *world.viewers().iter().max_by_key(|viewer| world.snapshot(**viewer).path.len()).unwrap();
        let mixer = world.mixers()[0];
        for speaker in [ada, ben] {
            wish(&mut world, viewer, Some(speaker));
            run_on(&mut world, 2);
            assert_eq!(world.solos(mixer), [(viewer, speaker)], "seed {seed}");
        }
        wish(&mut world, viewer, None);
        run_on(&mut world, 4);
        assert!(world.solos(mixer).is_empty(), "seed {seed}");
        assert_eq!(told(&world, viewer), [(ada, true), (ben, true)], "seed {seed}");
        calm(&world);
    }
}

#[test]
fn only_an_agent_gets_voices_and_the_next_mixer_goes_on_with_them() {
    for (seed, polite) in seeds(SEEDS).flat_map(|seed| [(seed, false), (seed, true)]) {
        let mut world = run(plan(3, 3, 8), seed, 12);
        let (host, agent, other) = (world.planned(0), world.viewers()[0], world.viewers()[1]);
        world.command(host, Command::SetAgent(agent, true));
        [agent, other].into_iter().for_each(|viewer| world.command(viewer, Command::Voices(true)));
        run_on(&mut world, 3);
        let mixer = world.mixers()[0];
        assert_eq!(world.voices(mixer).to, [agent], "seed {seed}");
        assert!(world.voices(agent).here && !world.voices(other).here, "seed {seed}");
        assert!(world.voices(mixer).of.contains(&world.planned(1)), "seed {seed}");
        if polite {
            world.leave(mixer)
        } else {
            world.kill(mixer)
        }
        let gives = |world: &World, by: &PeerId| *by != mixer && world.voices(*by).to == [agent];
        let mut silent_us = 0;
        while !world.living().any(|by| gives(&world, &by)) {
            world.run_for(SECOND / 20);
            silent_us += SECOND / 20;
            assert!(silent_us < 4 * SECOND, "seed {seed}, polite: {polite}");
        }
        run_on(&mut world, 8);
        let givers: Vec<_> = world.living().filter(|by| !world.voices(*by).to.is_empty()).collect();
        assert_eq!(givers, [world.mixers()[0]], "seed {seed}, polite: {polite}");
        if world.living().any(|peer| peer == host) {
            world.command(host, Command::SetAgent(agent, false));
            run_on(&mut world, 2);
            assert!(world.living().all(|by| world.voices(by).to.is_empty()), "seed {seed}");
        }
        calm(&world);
    }
}

#[test]
fn the_next_mixer_goes_on_with_it_when_one_dies_or_leaves() {
    for (seed, polite) in seeds(SEEDS).flat_map(|seed| [(seed, false), (seed, true)]) {
        let mut world = run(plan(3, 3, 8), seed, 12);
        let (ben, viewer, mixer) = (world.planned(1), world.viewers()[0], world.mixers()[0]);
        wish(&mut world, viewer, Some(ben));
        run_on(&mut world, 2);
        assert_eq!(givers(&world, viewer, ben), [mixer], "seed {seed}");
        if polite {
            world.leave(mixer)
        } else {
            world.kill(mixer)
        }
        let mut silent_us = 0;
        while givers(&world, viewer, ben).iter().all(|giver| *giver == mixer) {
            world.run_for(SECOND / 20);
            silent_us += SECOND / 20;
            assert!(silent_us < 4 * SECOND, "seed {seed}, polite: {polite}");
        }
        run_on(&mut world, 8);
        assert_eq!(givers(&world, viewer, ben), [world.mixers()[0]], "seed {seed}, polite: {polite}");
        calm(&world);
    }
}

#[test]
fn a_mixer_forwards_to_no_more_peers_than_it_has_room_for() {
    let mut world = run(plan(3, 2, 12), 1, 12);
    let (ben, mixer) = (world.planned(1), world.mixers()[0]);
    let viewers = world.viewers();
    for viewer in &viewers {
        wish(&mut world, *viewer, Some(ben));
    }
    run_on(&mut world, 4);
    assert_eq!(world.solos(mixer).len(), VIEWERS_MAX);
    let gets = |world: &World, viewer: &PeerId| !givers(world, *viewer, ben).is_empty();
    let refused: Vec<_> = viewers.iter().copied().filter(|viewer| !gets(&world, viewer)).collect();
    assert!(refused.iter().all(|viewer| told(&world, *viewer) == [(ben, false)]));
    for viewer in viewers.iter().filter(|viewer| !refused.contains(viewer)) {
        wish(&mut world, *viewer, None);
    }
    run_on(&mut world, 35);
    let served = refused.iter().filter(|viewer| gets(&world, viewer)).count();
    assert_eq!(served, VIEWERS_MAX.min(refused.len()));
    calm(&world);
}

#[test]
fn viewers_that_hold_all_slots_take_none_from_the_stage() {
    let mut world = run(plan(4, 3, 12), 1, 12);
    let (ada, ben, cat, mixer) = (world.planned(0), world.planned(1), world.planned(2), world.mixers()[0]);
    let viewers = world.viewers();
    let (greedy, others) = viewers.split_at(VIEWERS_MAX);
    greedy.iter().for_each(|viewer| wish(&mut world, *viewer, Some(ada)));
    run_on(&mut world, 3);
    assert_eq!(world.solos(mixer).len(), VIEWERS_MAX);
    // peers on stage still get what they wish for
    let stage: Vec<_> = [ben, cat].into_iter().filter(|peer| *peer != mixer).collect();
    stage.iter().for_each(|peer| wish(&mut world, *peer, Some(ada)));
    run_on(&mut world, 3);
    assert!(stage.iter().all(|peer| givers(&world, *peer, ada) == [mixer]));
    // and another viewer has its turn after a minute
    wish(&mut world, others[0], Some(ada));
    run_on(&mut world, 40);
    assert!(givers(&world, others[0], ada).is_empty());
    run_on(&mut world, 60);
    assert_eq!(told(&world, others[0]).last(), Some(&(ada, true)));
    assert_eq!(world.solos(mixer).len(), VIEWERS_MAX + stage.len());
}

#[test]
fn who_is_wished_for_may_leave_the_stage_and_come_back() {
    let mut world = run(plan(3, 2, 6), 3, 12);
    let (ben, viewer) = (world.planned(1), world.viewers()[0]);
    wish(&mut world, viewer, Some(ben));
    run_on(&mut world, 2);
    world.command(ben, Command::Speak(false));
    run_on(&mut world, 4);
    assert!(givers(&world, viewer, ben).is_empty());
    world.command(ben, Command::Speak(true));
    run_on(&mut world, 4);
    assert_eq!(givers(&world, viewer, ben), world.mixers());
    assert_eq!(told(&world, viewer), [(ben, true), (ben, false), (ben, true)]);
}

#[test]
fn whoever_is_refused_by_one_mixer_gets_its_speaker_from_another() {
    let mut planned = plan(4, 3, 30);
    planned.room.mixers = 2;
    let mut world = run(planned, 1, 15);
    let ben = world.planned(1);
    let [full, other] = world.mixers()[..] else { panic!("{:?}", world.mixers()) };
    let wishing = under(&world, full);
    assert!(wishing.len() > VIEWERS_MAX, "{} viewers", wishing.len());
    for viewer in &wishing {
        wish(&mut world, *viewer, Some(ben));
    }
    run_on(&mut world, 8);
    assert_eq!(world.solos(full).len(), VIEWERS_MAX);
    assert_eq!(world.solos(other).len(), (wishing.len() - VIEWERS_MAX).min(VIEWERS_MAX));
}

#[test]
fn a_wish_is_answered_at_once_where_all_speakers_come_anyway() {
    let mut world = run(plan(3, 2, 4), 1, 12);
    let (ben, viewer, mixer) = (world.planned(1), world.viewers()[0], world.mixers()[0]);
    wish(&mut world, mixer, Some(ben));
    wish(&mut world, viewer, Some(mixer));
    run_on(&mut world, 2);
    assert!(givers(&world, mixer, ben).is_empty());
    assert_eq!(told(&world, mixer), [(ben, true)]);
    assert_eq!(told(&world, viewer), [(mixer, false)]);
}

#[test]
fn when_its_mixer_leaves_and_another_is_full_the_new_one_goes_on_with_it() {
    for seed in seeds(SEEDS) {
        let mut planned = plan(4, 4, 40);
        planned.room.mixers = 2;
        let mut world = run(planned, seed, 15);
        let ben = world.planned(1);
        let [full, leaving] = world.mixers()[..] else { panic!("{:?}", world.mixers()) };
        let (greedy, late) = (under(&world, full), under(&world, leaving)[0]);
        for viewer in &greedy[..VIEWERS_MAX] {
            wish(&mut world, *viewer, Some(ben));
        }
        wish(&mut world, late, Some(ben));
        run_on(&mut world, 3);
        assert_eq!(
            (world.solos(full).len(), givers(&world, late, ben)),
            (VIEWERS_MAX, vec![leaving]),
            "seed {seed}"
        );
        world.leave(leaving);
        run_on(&mut world, 15);
        let next = world.mixers().into_iter().find(|mixer| *mixer != full).unwrap();
        assert_eq!(givers(&world, late, ben), [next], "seed {seed}");
        assert_eq!(told(&world, late).last(), Some(&(ben, true)), "seed {seed}");
    }
}

/// A viewer that asks a mixer for another speaker than its application says, and that speaker itself.
#[derive(Debug)]
struct Intruder {
    of: PeerId,
}

impl Deviation for Intruder {
    fn output(&mut self, _: Time, output: Output, instead: &mut Vec<Output>) {
        let wanted = Message::Media(MediaMessage::SoloWanted { speaker: Some(self.of) });
        if let Output::Control(mixer, Message::Media(MediaMessage::SoloWanted { speaker: Some(_) })) = output
        {
            instead.push(Output::Control(mixer, wanted.clone()));
            instead.push(Output::Signal(Address::Peer(self.of), wanted));
        } else {
            instead.push(output);
        }
    }
}

#[test]
fn a_speaker_that_refuses_to_be_shown_alone_is_forwarded_to_nobody() {
    for seed in seeds(SEEDS) {
        let mut world = run(plan(4, 3, 12), seed, 12);
        let (ben, mixer) = (world.planned(1), world.mixers()[0]);
        let (ada, viewers) = (world.planned(0), world.viewers());
        let (intruder, viewer, other) = (viewers[0], viewers[1], viewers[2]);
        world.deviate(intruder, Box::new(Intruder { of: ben }));
        wish(&mut world, intruder, Some(ada));
        wish(&mut world, viewer, Some(ben));
        wish(&mut world, other, Some(ada));
        run_on(&mut world, 3);
        let given = |world: &World| -> BTreeSet<_> { world.solos(mixer).iter().copied().collect() };
        assert_eq!(given(&world), [(intruder, ben), (viewer, ben), (other, ada)].into(), "seed {seed}");
        world.command(ben, Command::AllowSolo(false));
        run_on(&mut world, 1);
        assert_eq!(given(&world), [(other, ada)].into(), "seed {seed}: within a second");
        for _ in 0..20 {
            run_on(&mut world, 1);
            let gets = |peer| !givers(&world, peer, ben).is_empty();
            assert!(!gets(intruder) && !gets(viewer), "seed {seed} at {}", world.now());
        }
        let refused = Event::SoloRefused { speaker: ben };
        let is_told = world.events(viewer).iter().filter(|(_, event)| *event == refused).count();
        assert_eq!(is_told, 1, "seed {seed}");
        world.command(ben, Command::AllowSolo(true));
        run_on(&mut world, 35);
        assert_eq!(told(&world, viewer).last(), Some(&(ben, true)), "seed {seed}");
        calm(&world);
    }
}
