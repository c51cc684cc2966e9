//! Application data: what all sources may say together, who may say anything, and what a request for missing pieces
//! brings.

use plenary_proto::app::Reason;
use plenary_proto::message::*;
use plenary_proto::seal::Signed;
use plenary_proto::{Event, Output, Time, Via};

use crate::samples::brain::{
    Brain, MS, SECOND, candidate, consenting, events, receivers, said, speaker, viewing,
};
use crate::samples::viewer::Viewer;
use crate::samples::{NOW, key, list, room};

const ALL_PER_S: u64 = 96 * 1024;

fn unnamed(entry: Entry) -> Entry {
    Entry { votes: Vote::No, ..entry }
}

fn piece(brain: &Brain, source: u8, number: u64, len: usize) -> Message {
    let bytes = list(vec![source; len]);
    let data = Data { run: NOW, number, delivery: Delivery::Reliable, bytes };
    let expires = NOW + brain.now / SECOND + 500;
    Message::Data(DataMessage::Data(Signed::new(&key(source), &room(), brain.epoch(), number, expires, data)))
}

/// Lengths of the pieces among these outputs that were told to the application, by source.
fn told(outputs: &[Output], source: u8) -> Vec<usize> {
    let of = |event: &&Event| match event {
        Event::Data { from, bytes, .. } if *from == key(source).id() => Some(bytes.len()),
        _ => None,
    };
    events(outputs).iter().filter_map(of).collect()
}

fn answer_len(outputs: &[Output], to: u8) -> usize {
    let data = said(outputs, to)
        .into_iter()
        .filter(|message| matches!(message, Message::Data(DataMessage::Data(_))));
    data.map(|message| message.to_bytes().len()).sum()
}

/// What one source said and what arrived, and of the others together.
#[derive(Debug, Default)]
struct Heard {
    modest: (u64, u64),
    bytes: usize,
    delivered: Vec<usize>,
}

/// `talkers` say 64 kB a second each for some seconds, in so many pieces each, which `by` hands over, and key 2 says
/// 100 bytes each second. A source says a piece that was dropped once more: as far as it is heard.
fn crowd(
    brain: &mut Brain,
    talkers: std::ops::Range<u8>,
    by: Option<u8>,
    (seconds, each): (u64, u64),
) -> Heard {
    let mut heard = Heard { delivered: vec![0; 256], ..Heard::default() };
    let mut next = [1u64; 256];
    for at in 1..=seconds * each {
        brain.now += SECOND / each;
        for source in talkers.clone() {
            let place = usize::from(source);
            let outputs =
                brain.hears(by.unwrap_or(source), piece(brain, source, next[place], 64_000 / each as usize));
            let came = told(&outputs, source);
            next[place] += came.len() as u64;
            heard.delivered[place] += came.iter().sum::<usize>();
            heard.bytes += came.iter().map(|len| len + 256).sum::<usize>();
        }
        if at % each == 0 {
            heard.modest.0 += 1;
            let outputs = brain.hears(by.unwrap_or(2), piece(brain, 2, heard.modest.0, 100));
            heard.modest.1 += told(&outputs, 2).len() as u64;
        }
    }
    heard
}

#[test]
fn all_sources_together_get_one_rate_in_fair_shares() {
    for talkers in [1, 4, 14] {
        let entries: Vec<_> =
            [speaker(2), candidate(3)].into_iter().chain((100..100 + talkers).map(speaker)).collect();
        // at a viewer, by its parent; and at the first mixer, by the sources themselves
        for is_mixer in [false, true] {
            let mut viewer = Viewer::among(&entries, &[3], &[], viewing());
            let mut mixer = Brain::new(3, consenting());
            let (brain, by) = if is_mixer {
                mixer.adopts(&entries, |_| ());
                mixer.elects(1, &[3], &[]);
                (&mut mixer, None)
            } else {
                viewer.is_fed_by(3, &[3]);
                (&mut *viewer, Some(3))
            };
            let seconds = 30;
            let heard = crowd(brain, 100..100 + talkers, by, (seconds, 40));
            let wanted = u64::from(talkers) * 64_000 * seconds;
            let at_once = 96 * 1024 + if is_mixer { 0 } else { 512 * 1024 };
            let most = (ALL_PER_S * seconds + at_once) as usize;
            assert!(heard.bytes <= most, "{talkers}, mixer: {is_mixer}: {} of {most}", heard.bytes);
            let least = wanted.min(ALL_PER_S * seconds) * 9 / 10;
            assert!(heard.bytes as u64 >= least, "{talkers}, mixer: {is_mixer}: {} of {least}", heard.bytes);
            assert_eq!(heard.modest, (seconds, seconds), "{talkers}, mixer: {is_mixer}");
            let shares = &heard.delivered[100..usize::from(100 + talkers)];
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            assert!(*most <= least * 11 / 10 + 3_200, "{talkers}: {shares:?}");
        }
    }
}

#[test]
fn sixty_two_talkers_on_a_full_stage_let_a_line_of_chat_through() {
    let talkers: Vec<_> = (100..162).map(speaker).collect();
    let entries = [vec![speaker(2), candidate(3)], talkers].concat();
    let mut viewer = Viewer::among(&entries, &[3], &[], viewing());
    viewer.is_fed_by(3, &[3]);
    let heard = crowd(&mut viewer, 100..162, Some(3), (20, 10));
    let most = ALL_PER_S as usize / 4 * 20 + (24 + 512) * 1024;
    assert!(heard.bytes <= most, "{} of {most}", heard.bytes);
    assert_eq!(heard.modest, (20, 20));
}

#[test]
fn the_first_mixer_sends_a_full_stage_no_more_than_sixteen_times_the_rate() {
    let talkers: Vec<_> = (100..162).map(speaker).collect();
    let entries = [vec![speaker(2), candidate(3)], talkers].concat();
    let mut mixer = Brain::new(3, consenting());
    mixer.adopts(&entries, |_| ());
    mixer.elects(1, &[3], &[]);
    let (mut sent, seconds) = (0, 10);
    let mut next = [1u64; 256];
    for _ in 0..seconds * 10 {
        mixer.now += 100 * MS;
        for source in 100..162u8 {
            let said = piece(&mixer, source, next[usize::from(source)], 6_400);
            let outputs = mixer.hears(source, said);
            let copies =
                receivers(&outputs, |message| matches!(message, Message::Data(DataMessage::Data(_)))).len();
            sent += copies * 6_656;
            next[usize::from(source)] += u64::from(copies > 0);
        }
    }
    let most = 16 * (ALL_PER_S as usize * seconds + 96 * 1024);
    assert!(sent <= most, "{} kB in {seconds} s, {} allowed", sent / 1_000, most / 1_000);
}

#[test]
fn a_peer_that_only_mixes_says_4_kib_a_second_unless_it_was_named() {
    let entries = [speaker(2), candidate(3), candidate(60), unnamed(candidate(50)), unnamed(speaker(51))];
    for (open, source, expected) in [
        (true, 50, 4 * 1024 * 30 + 32 * 1024),
        (false, 50, 0),
        (true, 60, 64_000 * 30),
        (false, 60, 64_000 * 30),
        (false, 51, 64_000 * 30),
    ] {
        let mut viewer = Viewer::among(&entries, &[3], &[], viewing());
        viewer.adopts(&entries, |roster| roster.rules.stage_open = open);
        viewer.is_fed_by(3, &[3]);
        let heard = crowd(&mut viewer, source..source + 1, Some(3), (30, 10));
        let (least, most) = (expected * 9 / 10, expected * 12 / 10);
        assert!((least..=most).contains(&heard.bytes), "{source}, open: {open}: {heard:?}");
        let may_say = viewer.room.may_say(&key(3).id(), &Via::Link, &piece(&viewer, source, 9_999, 10));
        assert_eq!(may_say, expected > 0, "or its signature would be verified in vain");
    }
    let mut guest = Brain::new(50, consenting());
    guest.adopts(&entries, |roster| roster.rules.stage_open = false);
    let may = |guest: &Brain, len| guest.room.may_publish(Time(guest.now), Delivery::Reliable, len);
    assert_eq!(may(&guest, 1), Err(Reason::NotNamed));
    guest.adopts(&entries, |roster| roster.rules.stage_open = true);
    assert_eq!(may(&guest, 1), Ok(()));
}

#[test]
fn an_honest_source_is_refused_before_others_would_drop_what_it_says() {
    let entries: Vec<_> = [speaker(2), candidate(3)].into_iter().chain((100..104).map(speaker)).collect();
    let mut source = Brain::new(100, viewing());
    source.adopts(&entries, |_| ());
    source.elects(1, &[3], &[]);
    let mut mixer = Brain::new(3, consenting());
    mixer.adopts(&entries, |_| ());
    mixer.elects(1, &[3], &[]);
    // both hear three others that say as much as they are let
    let mut next = [1u64; 256];
    let (mut said, mut dropped, mut refused) = (0, 0, 0);
    for at in 0..40 * 20 {
        (source.now, mixer.now) = (source.now + 25 * MS, mixer.now + 25 * MS);
        for other in 101..104u8 {
            let number = next[usize::from(other)];
            let came = mixer.hears(other, piece(&mixer, other, number, 1_600));
            if !told(&came, other).is_empty() {
                source.hears(3, piece(&source, other, number, 1_600));
                next[usize::from(other)] += 1;
            }
        }
        if at % 2 != 0 {
            continue;
        }
        match source.room.may_publish(Time(source.now), Delivery::Reliable, 1_000) {
            Ok(()) => {
                said += 1;
                let bytes = vec![1; 1_000];
                let publish = plenary_proto::Command::Tell(Delivery::Reliable, bytes);
                source.give(plenary_proto::Input::Command(publish));
                dropped +=
                    usize::from(told(&mixer.hears(100, piece(&mixer, 100, said, 1_000)), 100).is_empty());
            }
            Err(why) => {
                assert_eq!(why, Reason::TooFast);
                refused += 1;
            }
        }
    }
    assert_eq!(dropped, 0, "of {said}, {refused} refused");
    assert!(said >= 300, "{said} pieces of 1256 bytes in 20 s are less than a quarter of the rate");
}

/// A mixer of two guests, of whom the second has said this many pieces of 7000 bytes within some seconds.
fn mixer_with_data(pieces: u64) -> Brain {
    let entries = [speaker(2), candidate(3), candidate(100), candidate(101)];
    let mut mixer = Brain::new(3, consenting());
    mixer.adopts(&entries, |_| ());
    mixer.elects(1, &[3], &[]);
    mixer.is_linked_by(100);
    for number in 1..=pieces {
        mixer.now += 110 * MS;
        let outputs = mixer.hears(101, piece(&mixer, 101, number, 7_000));
        assert_eq!(told(&outputs, 101).len(), 1);
    }
    mixer
}

fn asks_from(next: u64) -> Message {
    Message::Data(DataMessage::DataHeld(list(vec![DataHeld { source: key(101).id(), run: NOW, next }])))
}

#[test]
fn a_peer_that_asks_20_times_a_second_is_sent_each_piece_once() {
    for asks in [Message::Data(DataMessage::DataHeld(list(vec![]))), asks_from(0)] {
        let mut mixer = mixer_with_data(40);
        let (mut asked, mut answered) = (0, 0);
        for _ in 0..20 {
            mixer.now += 50 * MS;
            asked += asks.to_bytes().len();
            answered += answer_len(&mixer.hears(100, asks.clone()), 100);
        }
        assert!((200_000..300_000).contains(&answered), "{asked} bytes are answered by {answered}");
    }
}

#[test]
fn a_peer_that_goes_on_asking_is_sent_no_more_than_all_sources_say() {
    let mut mixer = mixer_with_data(70);
    let (mut answered, seconds) = (0, 60);
    for at in 0..seconds * 20 {
        mixer.now += 50 * MS;
        if at % 20 == 0 {
            // pieces in flight on the former link may be lost
            mixer.loses_link(100);
            mixer.rests_for(SECOND);
            mixer.unlinked.insert(key(100).id());
            mixer.give(plenary_proto::Input::LinkUp(key(100).id(), LinkKind::Peer));
        }
        answered += answer_len(&mixer.hears(100, asks_from(0)), 100);
    }
    let most = 2 * 512 * 1024 + 2 * seconds * ALL_PER_S as usize;
    assert!(answered <= most, "{answered} in two minutes, {most} allowed");
}

#[test]
fn a_peer_that_is_neither_on_stage_nor_a_child_is_sent_no_data() {
    let mut mixer = mixer_with_data(3);
    mixer.is_linked_by(50);
    assert_eq!(answer_len(&mixer.hears(50, asks_from(0)), 50), 0);
    assert!(answer_len(&mixer.hears(100, asks_from(0)), 100) > 3 * 7_000, "it is on stage");
}

#[test]
fn a_peer_with_a_new_link_is_sent_pieces_again_at_once() {
    let mut mixer = mixer_with_data(10);
    let answer = |mixer: &mut Brain| answer_len(&mixer.hears(100, asks_from(5)), 100);
    let whole = answer(&mut mixer);
    assert!((6 * 7_000..6 * 7_300).contains(&whole), "{whole}");
    mixer.now += 60 * MS;
    assert_eq!(answer(&mut mixer), 0);
    mixer.loses_link(100);
    mixer.is_linked_by(100);
    mixer.now += 60 * MS;
    assert_eq!(answer(&mut mixer), whole, "over a new link");
    mixer.now += 1_900 * MS;
    assert_eq!(answer(&mut mixer), 0);
    mixer.now += 200 * MS;
    assert_eq!(answer(&mut mixer), whole);
}
