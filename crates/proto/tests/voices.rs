//! Each speaker's sound apart: the mixers' side, the agents', and the host's.

use crate::samples::brain::{
    Brain, SECOND, candidate, consenting, events, hosting, program, said, says, speaker, times_said, viewing,
};
use crate::samples::key;
use crate::samples::viewer::Viewer;
use plenary_proto::bounded::List;
use plenary_proto::message::{
    AGENTS_MAX, Entry, Join, LinkKind, MediaMessage, MemberMessage, Message, Roster,
};
use plenary_proto::{Command, Event, Input, Output, PeerId, RoomConfig, Via, VoiceRoutes, VoicesState};

/// Marks these peers in a roster.
fn marks(agents: &'static [u8]) -> impl Fn(&mut Roster) {
    move |roster| roster.rules.access.agents = List::truncated(agents.iter().map(|agent| key(*agent).id()))
}

fn stage() -> [Entry; 3] {
    [speaker(2), speaker(7), candidate(3)]
}

/// Returns a mixer, key 3, that has begun its program and is linked with two viewers, keys 10 and 11.
fn mixer(agents: &'static [u8]) -> Brain {
    let mut mixer = Brain::new(3, consenting());
    mixer.adopts(&stage(), marks(agents));
    mixer.elects(1, &[3], &[]);
    mixer.give(Input::Started(program(3, 1, 0)));
    mixer.is_linked_by(10);
    mixer.is_linked_by(11);
    mixer
}

/// Returns where voices go, by the last of these outputs that says so.
fn routes(outputs: &[Output]) -> Option<VoiceRoutes> {
    let routes =
        |output: &Output| if let Output::Voices(routes) = output { Some(routes.clone()) } else { None };
    outputs.iter().filter_map(routes).next_back()
}

fn ids(peers: &[u8]) -> Vec<PeerId> {
    peers.iter().map(|peer| key(*peer).id()).collect()
}

fn states(outputs: &[Output]) -> Vec<VoicesState> {
    let state = |event: &&Event| if let Event::Voices { state } = event { Some(*state) } else { None };
    events(outputs).iter().filter_map(state).collect()
}

fn wants(peer: u8, outputs: &[Output]) -> bool {
    says(outputs, peer, |message| *message == Message::Media(MediaMessage::VoicesWanted(true)))
}

#[test]
fn a_mixer_forwards_voices_only_to_peers_while_they_are_marked() {
    let mut mixer = mixer(&[10]);
    let wanted = Message::Media(MediaMessage::VoicesWanted(true));
    let [ten, eleven] = [10, 11].map(|peer| mixer.room.may_say(&key(peer).id(), &Via::Link, &wanted));
    assert!(ten && !eleven, "others' requests are dropped unread");
    assert!(!mixer.room.may_say(&key(10).id(), &Via::Signal, &wanted));
    let outputs = mixer.hears(10, wanted.clone());
    assert_eq!(said(&outputs, 10), [&Message::Media(MediaMessage::Voices(true))]);
    let given = VoiceRoutes { of: ids(&[2, 7]), to: ids(&[10]), here: false };
    assert_eq!(routes(&outputs), Some(given.clone()));
    assert!(mixer.hears(11, wanted.clone()).is_empty());

    let refusing = Entry { no_solo: true, ..speaker(7) };
    let outputs = mixer.adopts(&[speaker(2), refusing, candidate(3)], marks(&[10]));
    assert_eq!(routes(&outputs), Some(VoiceRoutes { of: ids(&[2]), ..given.clone() }), "it allows no solo");
    let outputs = mixer.adopts(&stage(), marks(&[10]));
    assert_eq!(routes(&outputs), Some(given.clone()));

    let outputs = mixer.adopts(&stage(), marks(&[11]));
    assert!(said(&outputs, 10).contains(&&Message::Media(MediaMessage::Voices(false))));
    assert_eq!(routes(&outputs), Some(VoiceRoutes::default()), "at once");
    mixer.hears(11, wanted);
    let outputs = mixer.hears(11, Message::Media(MediaMessage::VoicesWanted(false)));
    assert_eq!(routes(&outputs), Some(VoiceRoutes::default()), "an agent wants no more");
}

#[test]
fn a_link_that_ends_and_a_mixer_that_mixes_no_more_end_the_forwarding() {
    let mut mixer = mixer(&[10, 11]);
    for peer in [10, 11] {
        mixer.hears(peer, Message::Media(MediaMessage::VoicesWanted(true)));
    }
    let outputs = mixer.give(Input::LinkDown(key(10).id(), LinkKind::Peer));
    assert_eq!(routes(&outputs).map(|routes| routes.to), Some(ids(&[11])));
    let mut idle = Brain::new(3, consenting());
    idle.adopts(&stage(), marks(&[10]));
    idle.is_linked_by(10);
    idle.elects(1, &[2], &[]);
    assert_eq!(
        said(&idle.hears(10, Message::Media(MediaMessage::VoicesWanted(true))), 10),
        [&Message::Media(MediaMessage::Voices(false))]
    );
}

#[test]
fn an_agent_asks_the_mixer_and_after_a_failover_the_next_one() {
    let mut agent = Viewer::new();
    let stage = [speaker(2), speaker(7), candidate(3), candidate(4)];
    agent.adopts(&stage, |_| {});
    let outputs = agent.give(Input::Command(Command::Voices(true)));
    assert_eq!(states(&outputs), [VoicesState::NotAgent], "it is told that it isn't marked");
    let timed = agent.runs_for(40 * SECOND);
    assert!(
        times_said(&timed, 3, |message| *message == Message::Media(MediaMessage::VoicesWanted(true)))
            .is_empty()
    );

    let outputs = agent.adopts(&stage, marks(&[5]));
    assert!(wants(3, &outputs), "{outputs:?}");
    assert_eq!(routes(&outputs), Some(VoiceRoutes { of: ids(&[2, 7]), to: Vec::new(), here: true }));
    assert!(agent.room.may_say(&key(3).id(), &Via::Link, &Message::Media(MediaMessage::Voices(true))));
    assert!(
        !agent.room.may_say(&key(4).id(), &Via::Link, &Message::Media(MediaMessage::Voices(true))),
        "it wasn't asked"
    );
    assert_eq!(states(&agent.hears(3, Message::Media(MediaMessage::Voices(true)))), [VoicesState::Coming]);

    let outputs = agent.elects(4, &[4], &[]);
    assert!(
        !says(&outputs, 3, |message| *message == Message::Media(MediaMessage::VoicesWanted(false))),
        "not before the other agrees"
    );
    agent.is_linked_by(4);
    let timed = agent.runs_for(2 * SECOND);
    let asked = wants(4, &outputs)
        || !times_said(&timed, 4, |message| *message == Message::Media(MediaMessage::VoicesWanted(true)))
            .is_empty();
    assert!(asked, "{timed:?}");
    let outputs = agent.hears(4, Message::Media(MediaMessage::Voices(true)));
    assert!(
        says(&outputs, 3, |message| *message == Message::Media(MediaMessage::VoicesWanted(false))),
        "{outputs:?}"
    );

    let outputs = agent.adopts(&stage, |_| {});
    assert_eq!(states(&outputs), [VoicesState::NotAgent]);
    assert_eq!(routes(&outputs), Some(VoiceRoutes::default()));
    assert!(says(&outputs, 4, |message| *message == Message::Media(MediaMessage::VoicesWanted(false))));
}

#[test]
fn an_agent_in_a_mesh_and_one_that_mixes_ask_nobody() {
    let mut ben = Brain::new(7, RoomConfig { speaks: true, ..viewing() });
    ben.adopts(&[speaker(2), speaker(7)], marks(&[7]));
    let outputs = ben.give(Input::Command(Command::Voices(true)));
    assert_eq!(states(&outputs), [VoicesState::Coming]);
    assert_eq!(routes(&outputs).map(|routes| (routes.of, routes.here)), Some((ids(&[2, 7]), true)));

    let mut mixer = mixer(&[3]);
    let outputs = mixer.give(Input::Command(Command::Voices(true)));
    assert_eq!(states(&outputs), [VoicesState::Coming]);
    assert!(outputs.iter().all(|output| !matches!(output, Output::Control(..))), "{outputs:?}");
}

#[test]
fn a_host_marks_up_to_eight_peers_and_a_removed_one_is_marked_no_more() {
    let config = RoomConfig { host: Some(hosting()), speaks: true, views: false, ..viewing() };
    let mut host = Brain::new(2, config);
    let agents = |host: &Brain| host.room.roster().unwrap().rules.access.agents.to_vec();
    for agent in 10..10 + AGENTS_MAX as u8 + 2 {
        host.hears(agent, Message::Member(MemberMessage::Join(Join::viewer("bot"))));
        host.give(Input::Command(Command::SetAgent(key(agent).id(), true)));
    }
    host.runs_for(SECOND);
    assert_eq!(agents(&host), ids(&[10, 11, 12, 13, 14, 15, 16, 17]), "the others found no place");
    host.give(Input::Command(Command::SetAgent(key(11).id(), false)));
    host.give(Input::Command(Command::Remove(key(12).id())));
    host.runs_for(SECOND);
    assert_eq!(agents(&host), ids(&[10, 13, 14, 15, 16, 17]));
    host.give(Input::Command(Command::SetAgent(key(12).id(), true)));
    host.runs_for(SECOND);
    assert!(!agents(&host).contains(&key(12).id()), "it was removed for good");
}
