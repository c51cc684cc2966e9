//! Succession: when a standby declares a failover, which answers hold it back, and what a mixer denies.

use crate::samples::brain::{
    Brain, MS, SECOND, candidate, consenting, program, receivers, said, says, speaker, times_of, times_said,
    untimed, viewing,
};
use crate::samples::{NEVER, key, room, wish};
use plenary_proto::bounded::List;
use plenary_proto::message::{
    Alive, Attach, Entry, Failover, FailoverMessage, MediaMessage, Message, Roster, TreeMessage, Vote,
};
use plenary_proto::seal::Signed;
use plenary_proto::{Command, Event, Input, MixRole, Output, Rank, RoomConfig, Verdict};

fn rank(failover_count: u16) -> Rank {
    Rank { term: 3, failover_count }
}

/// Creates a candidate in a room where these peers mix and key 4 stands by.
fn on_stage(seed: u8, mixers: &[u8]) -> Brain {
    let mut brain = Brain::new(seed, consenting());
    brain.adopts(&[speaker(2), candidate(3), candidate(4), candidate(6), speaker(7)], |_| ());
    brain.elects(3, mixers, &[4]);
    brain.runs_for(SECOND);
    brain
}

fn standby() -> Brain {
    on_stage(4, &[3])
}

fn verdict(brain: &mut Brain, verdict: Verdict) -> Vec<Output> {
    brain.give(Input::Verdict { peer: key(3).id(), verdict })
}

fn is_failover(message: &Message) -> bool {
    matches!(message, Message::Failover(FailoverMessage::Failover(_)))
}

fn asks(message: &Message) -> bool {
    *message == Message::Failover(FailoverMessage::HearWanted { mixer: key(3).id() })
}

fn heard(silent_us: Option<u32>) -> Message {
    Message::Failover(FailoverMessage::Heard { mixer: key(3).id(), silent_us })
}

/// Returns when the brain declares a failover within a second, in milliseconds from now.
fn declares(brain: &mut Brain) -> Option<u64> {
    let start = brain.now;
    times_said(&brain.runs_for(SECOND), 3, is_failover).first().map(|at| (at - start).div_ceil(MS))
}

fn over_3(by: u8, failover_count: u16, polite: bool) -> Message {
    let wish = polite.then(|| wish(3, rank(0), by).into());
    let body = Failover { rank: rank(failover_count), after: rank(0), over: key(3).id(), wish };
    Message::Failover(FailoverMessage::Failover(Signed::new(&key(by), &room(), 7, 9, NEVER, body)))
}

/// The mixer's denial of a failover by the standby.
fn denial() -> Message {
    let body = Alive { rank: rank(0), denied: rank(1), successor: key(4).id() };
    Message::Failover(FailoverMessage::Alive(Signed::new(&key(3), &room(), 7, 12, NEVER, body)))
}

fn watched(outputs: &[Output]) -> Option<Vec<u8>> {
    let seeds = |peers: &Vec<_>| (1..=9).filter(|seed| peers.contains(&key(*seed).id())).collect();
    outputs.iter().rev().find_map(|output| match output {
        Output::WatchMixers(peers) => Some(seeds(peers)),
        _ => None,
    })
}

#[test]
fn the_standby_declares_a_silent_mixer_gone_after_asking_the_stage() {
    let mut standby = standby();
    let outputs = verdict(&mut standby, Verdict::Silent);
    let mut asked = receivers(&outputs, asks);
    asked.sort_unstable();
    assert_eq!(asked, [2, 6, 7], "all linked peers on stage but the mixer");
    assert!(receivers(&outputs, is_failover).is_empty());
    let start = standby.now;
    let timed = standby.runs_for(300 * MS);
    let [at] = times_said(&timed, 3, is_failover)[..] else { panic!("{timed:?}") };
    assert_eq!((at - start).div_ceil(MS), 150);
    let outputs = untimed(timed);
    let mut told = receivers(&outputs, is_failover);
    told.sort_unstable();
    assert_eq!(told, [2, 3, 6, 7]);
    assert!(outputs.contains(&Output::Role(MixRole::Mix { rank: rank(1), pass_through: false })));
}

#[test]
fn the_standby_asks_early_and_declares_only_after_the_whole_silence() {
    let mut standby = standby();
    verdict(&mut standby, Verdict::Behind);
    let start = standby.now;
    let timed = standby.runs_for(SECOND);
    let times: Vec<_> = times_said(&timed, 2, asks).iter().map(|at| (at - start) / MS).collect();
    assert_eq!(times, [100, 200, 300, 400, 500, 600, 700, 800, 900, 1_000]);
    assert!(times_said(&timed, 2, is_failover).is_empty());
    let outputs = verdict(&mut standby, Verdict::Silent);
    assert!(says(&outputs, 2, is_failover), "it has waited for answers already: {outputs:?}");
}

#[test]
fn a_sign_of_life_ends_the_suspicion() {
    let mut standby = standby();
    verdict(&mut standby, Verdict::Silent);
    standby.runs_for(140 * MS);
    verdict(&mut standby, Verdict::Ok);
    assert_eq!(declares(&mut standby), None);
    verdict(&mut standby, Verdict::Silent);
    assert_eq!(declares(&mut standby), Some(150), "the wait begins anew");
}

#[test]
fn an_answer_that_the_mixer_was_heard_holds_the_failover_back() {
    for (from, message, waits) in [
        (6, heard(Some(20_000)), 330),
        (6, heard(Some(0)), 350),
        (6, heard(Some(900_000)), 150),
        (6, heard(None), 150),
        (9, heard(Some(0)), 150),
        (6, Message::Failover(FailoverMessage::Heard { mixer: key(6).id(), silent_us: Some(0) }), 150),
        (6, heard(Some(u32::MAX)), 150),
    ] {
        let mut standby = standby();
        verdict(&mut standby, Verdict::Silent);
        standby.hears(from, message.clone());
        assert_eq!(declares(&mut standby), Some(waits), "{message:?} from {from}");
    }
}

#[test]
fn a_mixer_is_heard_if_half_of_those_that_answer_say_so_voters_first() {
    let guest = |seed| Entry { votes: Vote::No, ..candidate(seed) };
    let stage = [speaker(2), candidate(3), candidate(4), candidate(6), speaker(7), guest(8), guest(9)];
    for (hear, do_not, waits) in [
        (&[7][..], &[2, 6][..], 150),
        (&[6, 7], &[2], 350),
        (&[7], &[2], 350),
        (&[8], &[9], 350),
        (&[8, 9], &[2], 150),
        (&[6], &[8, 9], 350),
    ] {
        let mut standby = standby();
        standby.adopts(&stage, |_| ());
        verdict(&mut standby, Verdict::Silent);
        hear.iter().for_each(|from| _ = standby.hears(*from, heard(Some(0))));
        do_not.iter().for_each(|from| _ = standby.hears(*from, heard(None)));
        assert_eq!(declares(&mut standby), Some(waits), "{hear:?} hear it, {do_not:?} do not");
    }
}

#[test]
fn no_failover_is_declared_while_the_stage_hears_the_mixer() {
    let mut standby = standby();
    verdict(&mut standby, Verdict::Silent);
    for _ in 0..20 {
        standby.hears(6, heard(Some(50_000)));
        let timed = standby.runs_for(290 * MS);
        assert!(times_said(&timed, 2, is_failover).is_empty());
    }
    assert!(declares(&mut standby).is_some(), "nobody hears it any more");
}

#[test]
fn an_answer_that_comes_before_the_question_does_not_count() {
    let mut standby = standby();
    standby.hears(6, heard(Some(0)));
    verdict(&mut standby, Verdict::Silent);
    assert_eq!(declares(&mut standby), Some(150));
}

#[test]
fn a_standby_that_stalled_itself_asks_again_and_waits_for_new_answers() {
    for (late_ms, waits) in [(40, None), (60, Some(150))] {
        let mut standby = standby();
        verdict(&mut standby, Verdict::Behind);
        standby.rests_for((100 + late_ms) * MS);
        standby.now += 20 * MS;
        let outputs = verdict(&mut standby, Verdict::Silent);
        let at_once = says(&outputs, 2, is_failover);
        assert_eq!(at_once, waits.is_none(), "{late_ms} ms late: {outputs:?}");
        if !at_once {
            assert!(declares(&mut standby).is_some_and(|ms| ms <= 130), "{late_ms} ms late");
        }
    }
}

#[test]
fn only_the_successor_watches_a_mixer_and_nobody_does_in_a_mesh() {
    for (seed, mixers, expected) in
        [(4, &[3][..], &[3][..]), (6, &[3], &[]), (4, &[3, 6], &[3, 6]), (6, &[3, 6], &[])]
    {
        let mut brain = Brain::new(seed, consenting());
        brain.adopts(&[speaker(2), candidate(3), candidate(4), candidate(6), speaker(7)], |_| ());
        let outputs = brain.elects(3, mixers, &[4]);
        assert_eq!(watched(&outputs).unwrap_or_default(), expected, "key {seed} beside {mixers:?}");
        brain.give(Input::Verdict { peer: key(3).id(), verdict: Verdict::Silent });
        assert_eq!(declares(&mut brain).is_some(), !expected.is_empty());
    }
    let mut standby = standby();
    let stage = [speaker(2), candidate(3), candidate(4), candidate(6), speaker(7)];
    let outputs = standby.adopts(&stage, |roster| roster.audience = false);
    assert_eq!(watched(&outputs), Some(vec![]), "{outputs:?}");
    verdict(&mut standby, Verdict::Silent);
    assert_eq!(declares(&mut standby), None);
}

#[test]
fn the_standby_succeeds_a_mixer_that_leaves_under_the_rank_in_force() {
    for (from, under, leaves, taken) in [
        (3, rank(0), false, true),
        (3, rank(1), false, false),
        (6, rank(0), false, false),
        (9, rank(0), false, false),
        (3, rank(0), true, false),
    ] {
        let mut standby = standby();
        if leaves {
            standby.give(Input::Command(Command::Leave));
        }
        let outputs = standby.hears(
            from,
            Message::Failover(FailoverMessage::FailoverWanted { rank: under, wish: wish(from, under, 4) }),
        );
        let polite = |message: &Message| {
            matches!(message, Message::Failover(FailoverMessage::Failover(signed))
                if signed.body.is_polite())
        };
        assert_eq!(says(&outputs, 2, polite), taken, "{from} {under:?}");
        assert_eq!(standby.room.rank().failover_count, u16::from(taken));
    }
    // a false wish would make the standby declare what all others count as its violation
    let mut standby = standby();
    let outputs = standby.hears(
        3,
        Message::Failover(FailoverMessage::FailoverWanted { rank: rank(0), wish: wish(6, rank(0), 4) }),
    );
    assert!(receivers(&outputs, is_failover).is_empty(), "{outputs:?}");
    // two mixers, each other's successor, leave at once
    let mut mixer = Brain::new(3, consenting());
    mixer.adopts(&[speaker(2), candidate(3), candidate(6), speaker(7)], |_| ());
    mixer.elects(3, &[3, 6], &[]);
    let outputs = mixer.give(Input::Command(Command::Leave));
    assert_eq!(
        said(&outputs, 6),
        [&Message::Failover(FailoverMessage::FailoverWanted { rank: rank(0), wish: wish(3, rank(0), 6) })]
    );
    let outputs = mixer.hears(
        6,
        Message::Failover(FailoverMessage::FailoverWanted { rank: rank(0), wish: wish(6, rank(0), 3) }),
    );
    assert!(receivers(&outputs, is_failover).is_empty(), "{outputs:?}");
}

#[test]
fn a_mixer_that_cannot_mix_asks_its_standby_at_once_and_denies_nothing() {
    let asks_for_it =
        |message: &Message| matches!(message, Message::Failover(FailoverMessage::FailoverWanted { .. }));
    let mut mixer = on_stage(3, &[3]);
    let outputs = mixer.give(Input::CannotMix);
    assert_eq!(
        said(&outputs, 4),
        [&Message::Failover(FailoverMessage::FailoverWanted { rank: rank(0), wish: wish(3, rank(0), 4) })]
    );
    // once, and it denies nothing any more
    assert!(receivers(&mixer.give(Input::CannotMix), asks_for_it).is_empty());
    let outputs = mixer.hears(4, over_3(4, 1, false));
    assert!(
        !says(&outputs, 2, |message| matches!(message, Message::Failover(FailoverMessage::Alive(_)))),
        "{outputs:?}"
    );
    assert_eq!(mixer.room.rank(), rank(1));

    // a standby that can't mix succeeds nobody, and one that is elected nevertheless asks its own standby
    let mut standby = standby();
    standby.give(Input::CannotMix);
    let outputs = standby.hears(
        3,
        Message::Failover(FailoverMessage::FailoverWanted { rank: rank(0), wish: wish(3, rank(0), 4) }),
    );
    assert!(receivers(&outputs, is_failover).is_empty(), "{outputs:?}");
    let mut elected = on_stage(6, &[3]);
    elected.give(Input::CannotMix);
    let outputs = elected.elects(4, &[6], &[4]);
    assert!(says(&outputs, 4, asks_for_it), "{outputs:?}");
}

#[test]
fn a_mixer_that_has_restarted_is_succeeded_at_once() {
    let mut standby = standby();
    let outputs = standby.give(Input::Restarted(key(7).id()));
    assert!(!says(&outputs, 2, is_failover), "no mixer");
    let outputs = standby.give(Input::Restarted(key(3).id()));
    assert!(says(&outputs, 2, is_failover), "{outputs:?}");
    assert_eq!(standby.room.rank(), rank(1));
    for has_begun in [false, true] {
        let mut mixer = on_stage(3, &[3]);
        if has_begun {
            mixer.give(Input::Started(program(3, 3, 0)));
        }
        let outputs = mixer.hears(4, over_3(4, 1, false));
        assert_eq!(
            says(&outputs, 2, |message| matches!(message, Message::Failover(FailoverMessage::Alive(_)))),
            has_begun
        );
    }
}

#[test]
fn a_living_mixer_denies_a_failover_that_it_did_not_wish() {
    for (by, count, polite, leaves, denied) in [
        (4, 1, false, false, true),
        (4, 1, true, false, false),
        (4, 1, false, true, false),
        (4, 2, false, false, false), // another peer's count
        (6, 1, false, false, false), // neither standby nor mixer
    ] {
        let mut mixer = on_stage(3, &[3]);
        mixer.give(Input::Started(program(3, 3, 0)));
        if leaves {
            mixer.give(Input::Command(Command::Leave));
        }
        let outputs = mixer.hears(by, over_3(by, count, polite));
        let alive = |message: &Message| match message {
            Message::Failover(FailoverMessage::Alive(alive)) => {
                alive.body == Alive { rank: rank(0), denied: rank(1), successor: key(4).id() }
            }
            _ => false,
        };
        assert_eq!(says(&outputs, 2, alive), denied, "by {by}, {count}, polite: {polite}");
        let followed = by == 4 && count == 1 && !denied;
        assert_eq!(mixer.room.rank().failover_count, u16::from(followed), "by {by}, {count}");
        if denied {
            let again = mixer.hears(6, over_3(4, 3, false));
            assert!(
                says(&again, 6, |message| matches!(message, Message::Failover(FailoverMessage::Alive(_)))),
                "{again:?}"
            );
        }
    }
}

#[test]
fn a_denied_standby_withdraws_and_the_next_in_line_watches_the_mixer() {
    let mut standby = standby();
    verdict(&mut standby, Verdict::Silent);
    assert!(declares(&mut standby).is_some());
    assert!(standby.room.snapshot().mixing);
    standby.hears(3, denial());
    assert_eq!((standby.room.rank(), standby.room.mixers()), (rank(0), &[key(3).id()][..]));
    let timed = standby.runs_for(5 * SECOND);
    assert!(!standby.room.snapshot().mixing, "it retires: {timed:?}");
    verdict(&mut standby, Verdict::Silent);
    assert_eq!(declares(&mut standby), None, "it watches the mixer no more");

    let mut other = on_stage(6, &[3, 6]);
    assert_eq!(watched(&other.hears(3, denial())), Some(vec![3]));
    verdict(&mut other, Verdict::Silent);
    assert_eq!(declares(&mut other), Some(150));
    assert_eq!(other.room.mixers(), [key(6).id()], "one mixer fewer");
}

#[test]
fn a_removed_mixer_is_succeeded_at_once_and_denies_it_in_vain() {
    let mut standby = standby();
    let remove = |roster: &mut Roster| roster.rules.access.removed = List::truncated([key(3).id()]);
    let outputs = standby.adopts(&[speaker(2), candidate(4), candidate(6), speaker(7)], remove);
    assert!(says(&outputs, 2, is_failover), "{outputs:?}");
    for by in [3, 6] {
        standby.hears(by, denial());
        assert_eq!(standby.room.mixers(), [key(4).id()], "by {by}");
    }
}

#[test]
fn a_mixer_that_leaves_goes_on_until_its_successor_has_begun() {
    for (begins, goes, left_ms) in [(true, true, 600), (false, false, 3_000)] {
        let mut mixer = on_stage(3, &[3]);
        mixer.is_joined_by(20, Attach::newcomer());
        let start = mixer.now;
        let outputs = mixer.give(Input::Command(Command::Leave));
        assert_eq!(
            said(&outputs, 4),
            [&Message::Failover(FailoverMessage::FailoverWanted {
                rank: rank(0),
                wish: wish(3, rank(0), 4)
            })]
        );
        assert!(mixer.room.snapshot().mixing);
        let mut timed = Vec::new();
        if begins {
            mixer.hears(4, over_3(4, 1, true));
            mixer.hears(4, Message::Media(MediaMessage::Started(program(4, 3, 1))));
        }
        if goes {
            mixer.hears(20, Message::Tree(TreeMessage::Detach));
        }
        timed.extend(mixer.runs_for(4 * SECOND));
        let left = times_of(&timed, |output| *output == Output::Event(Event::HandedOver));
        let [at] = left[..] else { panic!("begins: {begins}: {timed:?}") };
        assert!((at - start) / MS <= left_ms + 60 && (at - start) / MS + 120 >= left_ms, "{}", at - start);
    }
    let mut mixer = Brain::new(3, RoomConfig { views: true, ..viewing() });
    mixer.adopts(&[speaker(2), candidate(3)], |_| ());
    let outputs = mixer.give(Input::Command(Command::Leave));
    assert!(outputs.contains(&Output::Event(Event::HandedOver)), "nobody is fed: {outputs:?}");
}

#[test]
fn a_mixer_that_leaves_without_a_standby_waits_5_s_for_one() {
    for (elected, left_ms) in [(true, 2_600), (false, 6_000)] {
        let mut mixer = Brain::new(3, consenting());
        mixer.adopts(&[speaker(2), candidate(3), candidate(6), speaker(7)], |_| ());
        mixer.elects(3, &[3], &[]);
        mixer.is_joined_by(20, Attach::newcomer());
        let start = mixer.now;
        mixer.give(Input::Command(Command::Leave));
        let mut timed = mixer.runs_for(2 * SECOND);
        assert!(mixer.room.snapshot().mixing, "{timed:?}");
        if elected {
            let outputs = mixer.elects(4, &[3], &[6]);
            let asks_for_it = |message: &Message| {
                matches!(message, Message::Failover(FailoverMessage::FailoverWanted { .. }))
            };
            assert!(says(&outputs, 6, asks_for_it), "{outputs:?}");
            let follows = Rank { term: 4, failover_count: 0 };
            let (rank, wish) = (Rank { failover_count: 1, ..follows }, wish(3, follows, 6));
            let over = Failover { rank, after: follows, over: key(3).id(), wish: Some(Box::new(wish)) };
            mixer.hears(
                6,
                Message::Failover(FailoverMessage::Failover(Signed::new(
                    &key(6),
                    &room(),
                    7,
                    9,
                    NEVER,
                    over,
                ))),
            );
            mixer.hears(6, Message::Media(MediaMessage::Started(program(6, 4, 1))));
            mixer.hears(20, Message::Tree(TreeMessage::Detach));
        }
        timed.extend(mixer.runs_for(8 * SECOND));
        let left = times_of(&timed, |output| *output == Output::Event(Event::HandedOver));
        let [at] = left[..] else { panic!("elected: {elected}: {timed:?}") };
        assert!((at - start) / MS <= left_ms + 60 && (at - start) / MS + 120 >= left_ms, "{}", at - start);
    }
}

#[test]
fn a_standby_is_not_polite_on_its_own_and_a_wish_brings_one_failover() {
    let polite = |count, wish| {
        let body =
            Failover { rank: rank(count), after: rank(0), over: key(3).id(), wish: Some(Box::new(wish)) };
        Message::Failover(FailoverMessage::Failover(Signed::new(&key(4), &room(), 7, 9, NEVER, body)))
    };
    let holds = |message: Message| message.verify(&room(), &key(1).id(), crate::samples::NOW).is_ok();
    // by the standby itself, in favour of another, and for another rank
    for forged in [wish(4, rank(0), 4), wish(3, rank(0), 6), wish(3, rank(1), 4)] {
        assert!(!holds(polite(1, forged)));
    }
    let given = wish(3, rank(0), 4);
    assert!(holds(polite(1, given)));
    let mut viewer = on_stage(6, &[3]);
    viewer.hears(4, polite(1, given));
    assert_eq!(viewer.room.rank().failover_count, 1);
    viewer.hears(4, polite(3, given));
    assert_eq!(viewer.room.rank().failover_count, 1, "the wish is used up");
    // whatever came first
    let mut late = on_stage(6, &[3]);
    late.hears(4, polite(3, given));
    late.hears(4, polite(1, given));
    assert_eq!(late.room.rank().failover_count, 1);
}
