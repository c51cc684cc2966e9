//! Handover of the program between mixers, and the homes of speakers.

use crate::samples::brain::{
    Brain, MS, SECOND, away, candidate, consenting, program, receivers, says, speaker, times_said, viewing,
};
use crate::samples::key;
use plenary_proto::message::{
    Aggregate, Attach, Entry, LinkKind, LinkMessage, MediaMessage, MemberMessage, Message, PictureWanted,
    Resume, Sharing, TreeMessage, VideoRequest,
};
use plenary_proto::{Command, Event, Input, MixRole, Mode, Output, PeerId, Rank, RoomConfig, StreamId};

fn stage() -> Vec<Entry> {
    vec![speaker(2), candidate(3), candidate(4), candidate(6), speaker(7), speaker(8)]
}

fn ids(seeds: &[u8]) -> Vec<PeerId> {
    seeds.iter().map(|seed| key(*seed).id()).collect()
}

fn on_stage(seed: u8) -> Brain {
    let mut brain = Brain::new(seed, consenting());
    brain.adopts(&stage(), |_| ());
    brain
}

/// Creates the mixer of term 1, key 3, which has begun its program.
fn mixer() -> Brain {
    let mut mixer = on_stage(3);
    mixer.elects(1, &[3], &[6]);
    mixer.give(Input::Started(program(3, 1, 0)));
    assert!(mixer.room.snapshot().mixing);
    mixer
}

fn role(outputs: &[Output]) -> Option<MixRole> {
    outputs.iter().rev().find_map(|output| match output {
        Output::Role(role) => Some(*role),
        _ => None,
    })
}

fn mixes(outputs: &[Output], term: u32) -> bool {
    role(outputs) == Some(MixRole::Mix { rank: Rank { term, failover_count: 0 }, pass_through: false })
}

/// Returns the milliseconds until the brain begins to mix.
fn begins(brain: &mut Brain, outputs: &[Output]) -> Option<u64> {
    let start = brain.now;
    if mixes(outputs, 2) {
        return Some(0);
    }
    let timed = brain.runs_for(20 * SECOND);
    let begun = timed.iter().find(|(_, output)| mixes(std::slice::from_ref(output), 2));
    begun.map(|(at, _)| (at - start).div_ceil(10 * MS) * 10)
}

/// Returns the milliseconds until the brain stops mixing.
fn retires(brain: &mut Brain) -> Option<u64> {
    let start = brain.now;
    while brain.now < start + 20 * SECOND {
        if !brain.room.snapshot().mixing {
            return Some((brain.now - start) / MS);
        }
        brain.runs_for(10 * MS);
    }
    None
}

#[test]
fn an_elected_mixer_warms_up_behind_a_mixer_that_has_begun() {
    for (begun, linked, warm, standby, expected) in [
        (true, true, true, false, 500),
        (true, true, false, false, 1_500),
        (true, false, false, false, 0),
        (false, true, false, false, 0),
        (true, true, false, true, 0),
    ] {
        let mut elected = on_stage(4);
        elected.elects(1, &[3], if standby { &[4] } else { &[6] });
        if begun {
            elected.hears(3, Message::Media(MediaMessage::Started(program(3, 1, 0))));
        }
        if !linked {
            elected.unlinked.insert(key(3).id());
            elected.loses_link(3);
        }
        let mut outputs = elected.elects(2, &[4], &[3]);
        if warm {
            outputs.extend(elected.give(Input::Warm));
        }
        let row = format!("begun: {begun}, linked: {linked}, warm: {warm}, standby: {standby}");
        assert_eq!(begins(&mut elected, &outputs), Some(expected), "{row}");
    }
}

#[test]
fn a_mixer_goes_on_as_long_as_the_elected_one_does_not_begin() {
    let mut mixer = mixer();
    mixer.elects(2, &[4], &[6]);
    assert_eq!(retires(&mut mixer), None);
    for (from, spec) in [(4, program(4, 9, 0)), (6, program(6, 2, 0)), (9, program(4, 2, 0))] {
        mixer.hears(from, Message::Media(MediaMessage::Started(spec)));
    }
    assert_eq!(retires(&mut mixer), None, "none of these is the elected mixer's program");
    mixer.hears(4, Message::Media(MediaMessage::Started(program(4, 2, 0))));
    assert_eq!(retires(&mut mixer), Some(500));
}

#[test]
fn a_mixer_retires_when_its_children_have_gone_or_after_4_s() {
    for (goes_after_ms, expected) in [(1_000, 1_000), (9_000, 4_000)] {
        let mut mixer = mixer();
        mixer.is_joined_by(20, Attach::newcomer());
        mixer.elects(2, &[4], &[6]);
        mixer.hears(4, Message::Media(MediaMessage::Started(program(4, 2, 0))));
        let start = mixer.now;
        let timed = mixer.runs_for(goes_after_ms * MS);
        let shed = |message: &Message| matches!(message, Message::Tree(TreeMessage::Shed { .. }));
        let shed = times_said(&timed, 20, shed).first().map(|at| (at - start) / MS);
        mixer.hears(20, Message::Tree(TreeMessage::Detach));
        retires(&mut mixer).unwrap();
        let over = shed.unwrap_or((mixer.now - start) / MS);
        assert!((expected..=expected + 20).contains(&over), "{over}");
    }
}

#[test]
fn a_busy_mixer_takes_newcomers_while_nobody_below_it_has_room() {
    let mut mixer = mixer();
    mixer.give(Input::Busy(true));
    let accepts = |mixer: &mut Brain, peer| {
        let (told, _) = mixer.is_joined_by(peer, Attach::newcomer());
        says(&told, peer, |message| matches!(message, Message::Tree(TreeMessage::Accept { .. })))
    };
    assert!(accepts(&mut mixer, 20), "there is no other way in");
    let room =
        Aggregate { viewers: 1, free: [4, 0, 0, 0, 0, 0, 0, 0], room: 4, deepest: 1, ..Aggregate::default() };
    mixer.hears(20, Message::Tree(TreeMessage::Aggregate(room)));
    assert!(!accepts(&mut mixer, 21));
    mixer.hears(20, Message::Tree(TreeMessage::Aggregate(Aggregate { free: [0; 8], ..room })));
    assert!(accepts(&mut mixer, 22));
}

#[test]
fn an_announcement_that_comes_before_the_outcome_is_kept_for_it() {
    let mut mixer = mixer();
    mixer.hears(4, Message::Media(MediaMessage::Started(program(4, 2, 0))));
    assert_eq!(retires(&mut mixer), None);
    mixer.elects(2, &[4], &[6]);
    assert_eq!(retires(&mut mixer), Some(500));
}

#[test]
fn announcements_without_proof_displace_none_of_a_higher_rank() {
    let mut mixer = mixer();
    mixer.hears(4, Message::Media(MediaMessage::Started(program(4, 5, 0))));
    for number in 0..20 {
        mixer.hears(6, Message::Media(MediaMessage::Started(program(6, 4, number))));
        mixer.hears(30, Message::Media(MediaMessage::Started(program(30, 6, number))));
    }
    let kept =
        mixer.room.bounds().find(|bound| bound.of == "programs that began before their proof").unwrap();
    assert_eq!((kept.len, kept.max), (2, 8), "one of each peer on stage, and none of strangers");
    mixer.elects(5, &[4], &[6]);
    assert_eq!(retires(&mut mixer), Some(500));
}

#[test]
fn a_mixer_that_is_elected_again_while_it_retires_goes_on() {
    let mut mixer = mixer();
    mixer.is_joined_by(20, Attach::newcomer());
    mixer.elects(2, &[4], &[6]);
    mixer.hears(4, Message::Media(MediaMessage::Started(program(4, 2, 0))));
    mixer.runs_for(SECOND);
    let outputs = mixer.elects(3, &[3], &[6]);
    assert!(mixes(&outputs, 3), "{outputs:?}");
    let anew = |message: &Message| *message == Message::Media(MediaMessage::Started(program(3, 1, 0)));
    assert!(says(&outputs, 4, anew), "{outputs:?}");
    assert_eq!(retires(&mut mixer), None);
}

#[test]
fn a_peer_on_stage_that_links_with_a_mixer_hears_that_it_has_begun() {
    let mut mixer = mixer();
    mixer.loses_link(4);
    for (peer, told) in [(4, true), (20, false)] {
        let outputs = mixer.is_linked_by(peer);
        assert_eq!(
            says(&outputs, peer, |message| matches!(message, Message::Media(MediaMessage::Started(_)))),
            told,
            "{peer}"
        );
    }
}

fn calls(outputs: &[Output]) -> Vec<PeerId> {
    let called = |output: &Output| match output {
        Output::CallHome { speaker, .. } => Some(*speaker),
        _ => None,
    };
    outputs.iter().filter_map(called).collect()
}

#[test]
fn a_mixer_calls_each_linked_speaker_home_once_for_each_rank() {
    let mut mixer = on_stage(3);
    let mut called = calls(&mixer.elects(1, &[3], &[6]));
    called.sort_unstable();
    let mut all = ids(&[2, 7, 8]);
    all.sort_unstable();
    assert_eq!(called, all);
    mixer.runs_for(5 * SECOND);
    mixer.adopts(&stage(), |roster| roster.rules.k = 5);
    assert_eq!(calls(&mixer.adopts(&stage(), |roster| roster.rules.k = 6)), []);
    mixer.unlinked.insert(key(7).id());
    assert_eq!(calls(&mixer.loses_link(7)), []);
    assert_eq!(calls(&mixer.is_linked_by(7)), ids(&[7]));
    let mut anew = calls(&mixer.elects(2, &[3], &[6]));
    anew.sort_unstable();
    assert_eq!(anew, all, "under the new rank");
}

#[test]
fn two_mixers_share_the_speakers_when_both_have_begun() {
    let homes = |outputs: &[Output]| {
        outputs.iter().rev().find_map(|output| match output {
            Output::Homes(homes) => Some(homes.len()),
            _ => None,
        })
    };
    let mut mixer = on_stage(3);
    let outputs = mixer.elects(1, &[3, 4], &[6]);
    assert_eq!(homes(&outputs), Some(3), "the other has not begun");
    let outputs = mixer.hears(4, Message::Media(MediaMessage::Started(program(4, 1, 0))));
    assert!(matches!(homes(&outputs), Some(1 | 2)), "{outputs:?}");
    let outputs = mixer.elects(2, &[3], &[6]);
    assert_eq!(homes(&outputs), Some(3));
}

#[test]
fn a_mixer_forwards_speakers_to_the_standby_and_the_other_mixers() {
    let forwards = |outputs: &[Output]| {
        outputs.iter().rev().find_map(|output| match output {
            Output::Forward(to) => Some(to.clone()),
            _ => None,
        })
    };
    let mut mixer = on_stage(3);
    let outputs = mixer.elects(1, &[3, 4], &[6]);
    assert_eq!(forwards(&outputs), Some(ids(&[4, 6])));
    let gone: Vec<_> = stage()
        .into_iter()
        .map(|entry| if entry.peer == key(6).id() { away(entry) } else { entry })
        .collect();
    assert_eq!(forwards(&mixer.adopts(&gone, |_| ())), Some(ids(&[4])));
    mixer.adopts(&stage(), |_| ());
    mixer.hears(4, Message::Media(MediaMessage::Started(program(4, 1, 0))));
    let outputs = mixer.elects(2, &[4, 6], &[]);
    assert_eq!(forwards(&outputs), Some(ids(&[6])), "key 4 has begun");
}

/// Creates the speaker with key 2 in a room where key 3 mixes in term 1.
fn speaking() -> Brain {
    let mut speaker = Brain::new(2, RoomConfig { speaks: true, ..viewing() });
    speaker.adopts(&stage(), |_| ());
    speaker.elects(1, &[3], &[6]);
    speaker
}

fn call(term: u32, resume: Option<Resume>) -> Message {
    let video = VideoRequest { width: 640, height: 360, fps: 30, bitrate_bps: 600_000 };
    Message::Media(MediaMessage::Home { rank: Rank { term, failover_count: 0 }, video, resume, beside: None })
}

fn sends(outputs: &[Output]) -> Option<Vec<(PeerId, Option<Resume>)>> {
    outputs.iter().rev().find_map(|output| match output {
        Output::SendOwn(to) => Some(to.clone()),
        _ => None,
    })
}

#[test]
fn a_speaker_follows_the_call_of_a_mixer_in_force_and_of_no_other_peer() {
    let resume = Some(Resume { stream: StreamId([9; 8]), video_packet: 5, sound_packet: 6 });
    for (from, term, followed) in [(3, 1, true), (3, 0, false), (6, 1, false), (4, 2, false), (9, 1, false)] {
        let mut speaker = speaking();
        let outputs = speaker.hears(from, call(term, resume));
        let expected = followed.then(|| vec![(key(3).id(), resume)]);
        assert_eq!(sends(&outputs), expected, "{from} in term {term}");
    }
}

#[test]
fn a_speaker_keeps_a_call_without_proof_until_a_later_rank_is_in_force() {
    let mut speaker = speaking();
    speaker.hears(3, call(1, None));
    assert_eq!(sends(&speaker.hears(4, call(2, None))), None);
    let outputs = speaker.elects(2, &[4], &[3]);
    assert_eq!(sends(&outputs), Some(vec![(key(4).id(), None)]), "{outputs:?}");
    let mut speaker = speaking();
    speaker.hears(3, call(1, None));
    speaker.hears(4, call(2, None));
    let outputs = speaker.elects(3, &[4], &[3]);
    assert_eq!(sends(&outputs), None, "{outputs:?}");
}

#[test]
fn calls_of_peers_that_can_be_no_mixers_are_not_kept() {
    let mut speaker = speaking();
    for peer in 10..200 {
        speaker.hears(peer, call(9, None));
    }
    let calls = speaker.room.bounds().find(|bound| bound.of == "calls home").unwrap();
    assert_eq!(calls.len, 0);
}

fn serves(outputs: &[Output], peer: u8) -> bool {
    outputs.contains(&Output::Serve { peer: key(peer).id(), from: None, sound: false })
}

#[test]
fn a_viewing_speaker_that_leaves_the_stage_gets_the_picture_for_2_s_more() {
    let viewing: Vec<_> =
        stage().into_iter().map(|entry| Entry { views: entry.peer == key(7).id(), ..entry }).collect();
    let mut mixer = mixer();
    let outputs = mixer.adopts(&viewing, |_| ());
    assert!(serves(&outputs, 7) && !serves(&outputs, 8), "{outputs:?}");
    let left: Vec<_> = viewing.iter().filter(|entry| entry.peer != key(7).id()).cloned().collect();
    let start = mixer.now;
    let outputs = mixer.adopts(&left, |_| ());
    let unserved = |output: &Output| *output == Output::Unserve(key(7).id());
    assert!(!outputs.iter().any(unserved));
    let timed = mixer.runs_for(3 * SECOND);
    let times: Vec<_> =
        timed.iter().filter(|(_, output)| unserved(output)).map(|(at, _)| at - start).collect();
    assert!(matches!(times[..], [us] if us.abs_diff(2 * SECOND) < MS), "{times:?}");
}

#[test]
fn a_mixer_that_loses_its_link_with_a_viewing_speaker_stops_its_picture() {
    let viewing: Vec<_> = stage().into_iter().map(|entry| Entry { views: entry.speaks, ..entry }).collect();
    let mut mixer = mixer();
    mixer.adopts(&viewing, |_| ());
    mixer.unlinked.insert(key(7).id());
    let outputs = mixer.loses_link(7);
    assert!(outputs.contains(&Output::Unserve(key(7).id())), "{outputs:?}");
    assert!(serves(&mixer.is_linked_by(7), 7));
}

#[test]
fn a_room_that_becomes_a_mesh_has_no_mixer() {
    let pair = [speaker(2), candidate(3), candidate(4), candidate(6)];
    let mut mixer = mixer();
    let outputs = mixer.adopts(&pair, |roster| roster.audience = false);
    assert_eq!(role(&outputs), Some(MixRole::Rest), "{outputs:?}");
    assert!(!mixer.room.snapshot().mixing);
    let one = mixer.adopts(&pair, |_| ());
    assert!(matches!(role(&one), Some(MixRole::Mix { pass_through: true, .. })), "{one:?}");
}

#[test]
fn where_nobody_mixes_four_speakers_send_to_each_other() {
    let missing = |outputs: &[Output]| outputs.contains(&Output::Event(Event::NoMixer));
    let speakers: Vec<_> =
        [2, 5, 7, 8, 9].into_iter().zip(0..).map(|(seed, index)| Entry { index, ..speaker(seed) }).collect();
    for (seed, is_in) in [(2, true), (9, false)] {
        let mut brain = Brain::new(seed, RoomConfig { speaks: true, ..viewing() });
        let mut adopts =
            |entries: &[Entry], audience| brain.adopts(entries, |roster| roster.audience = audience);
        let mesh = adopts(&speakers[..4], false);
        assert!(!missing(&mesh), "{mesh:?}");
        assert!(missing(&adopts(&speakers, false)), "the fifth waits");
        assert!(!missing(&adopts(&speakers[..4], false)));
        assert!(missing(&adopts(&speakers[..4], true)), "the audience waits");
        adopts(&speakers, false);
        let sends = mesh.iter().rev().find_map(|output| match output {
            Output::SendOwn(targets) => Some(targets.len()),
            _ => None,
        });
        assert_eq!((sends, brain.room.meshed()), if is_in { (Some(3), 3) } else { (None, 0) });
        assert_eq!(brain.room.snapshot().mode, Mode::Mesh);
        let mixed = [&speakers[..], &[candidate(3)]].concat();
        brain.adopts(&mixed, |roster| roster.audience = false);
        assert_eq!((brain.room.snapshot().mode, brain.room.meshed()), (Mode::Mixer, 0));
    }
}

#[test]
fn a_host_that_wants_a_mixer_gets_one_if_a_peer_consents() {
    for (speakers, wanted) in
        [(&[speaker(2)][..], Mode::PassThrough), (&[speaker(2), speaker(5)], Mode::Mixer)]
    {
        let mut mixer = mixer();
        let stage = [speakers, &[candidate(3), candidate(4), candidate(6)]].concat();
        let without: Vec<_> = stage.iter().map(|entry| Entry { mixes: false, ..entry.clone() }).collect();
        let mut mode = |stage: &[Entry], mixers| {
            mixer.adopts(stage, |roster| (roster.audience, roster.rules.mixers) = (false, mixers));
            let snapshot = mixer.room.snapshot();
            (snapshot.mode, snapshot.mixing)
        };
        assert_eq!(mode(&stage, 0), (Mode::Mesh, false));
        assert_eq!(mode(&stage, 1), (wanted, true));
        assert_eq!(mode(&without, 1), (Mode::Mesh, false));
    }
}

#[test]
fn an_idle_peer_leaves_at_once_and_trunks_go_with_the_mandate() {
    let mut mixer = mixer();
    let trunk = |output: &Output| {
        matches!(output, Output::Offer { peer, kind: LinkKind::Trunk(0), .. } if *peer == key(4).id())
            || says(std::slice::from_ref(output), 4, |message| {
                matches!(message, Message::Link(LinkMessage::LinkWanted { kind: LinkKind::Trunk(0), .. }))
            })
    };
    assert!(!mixer.runs_for(SECOND).iter().any(|(_, output)| trunk(output)));
    let outputs = mixer.elects(2, &[3, 4], &[6]);
    assert!(outputs.iter().any(trunk), "{outputs:?}");
    let mut idle = on_stage(6);
    let outputs = idle.give(Input::Command(Command::Leave));
    assert_eq!(receivers(&outputs, |message| *message == Message::Member(MemberMessage::Leave)), [2]);
}

#[test]
fn a_home_alone_gets_the_picture_beside_a_speaker_s_own() {
    let to = |outputs: &[Output]| {
        outputs.iter().rev().find_map(|output| match output {
            Output::SendBeside(to) => Some(*to),
            _ => None,
        })
    };
    let video = VideoRequest { width: 1280, height: 720, fps: 15, bitrate_bps: 900_000 };
    let resume = Some(Resume { stream: StreamId([9; 8]), video_packet: 5, sound_packet: 0 });
    let mut two = call(1, None);
    if let Message::Media(MediaMessage::Home { beside, .. }) = &mut two {
        *beside = Some(PictureWanted { video, resume });
    }
    let mut brain = speaking();
    let outputs = brain.hears(3, two);
    assert_eq!(to(&outputs), Some(Some((key(3).id(), resume))));
    assert!(outputs.contains(&Output::EncodeBesideAs(video)), "{outputs:?}");
    // until another mixer calls, the picture goes on
    assert_eq!(to(&brain.elects(2, &[4], &[3])), None);
    let outputs = brain.hears(4, call(2, None));
    assert_eq!(to(&outputs), Some(Some((key(4).id(), None))));
    assert!(!outputs.iter().any(|output| matches!(output, Output::EncodeBesideAs(_))), "{outputs:?}");
    let outputs = brain.adopts(&[speaker(2), speaker(5)], |roster| roster.audience = false);
    assert_eq!(to(&outputs), Some(None), "in a mesh each speaker sends one picture");
}

#[test]
fn a_single_speaker_with_two_pictures_is_mixed() {
    let mut mixer = mixer();
    let rows = [
        (Sharing::No, Mode::PassThrough),
        (Sharing::Beside, Mode::Mixer),
        (Sharing::Alone, Mode::PassThrough),
    ];
    for (shares, expected) in rows {
        let stage = [Entry { shares, ..speaker(2) }, candidate(3), candidate(4), candidate(6)];
        mixer.adopts(&stage, |_| ());
        assert_eq!(mixer.room.snapshot().mode, expected, "{shares:?}");
    }
}
