//! Each speaker's sound apart, at an agent.

use plenary_proto::VoiceRoutes;
use plenary_proto::bounded::List;
use plenary_proto::message::VoiceClock;

use super::*;
use crate::apart::VoiceFrame;

/// Slot of all speakers' sound, and its number in announcements.
const SLOT: u8 = 5;
const CODE: u8 = 4;

/// An agent that gets these speakers from two mixers.
struct Agent {
    stand: Stand,
    mixers: [LinkId; 2],
    speakers: Vec<Source>,
}

impl Agent {
    fn new(speakers: u8) -> Agent {
        let mut stand = Stand::new(false);
        stand.media.set_mesh(false);
        let mixers = [ADA, BEN].map(|mixer| stand.link(mixer, LinkKind::Peer));
        let peers: Vec<_> = (0..speakers).map(|at| PeerId([20 + at; 32])).collect();
        let speakers: Vec<_> = peers.iter().map(|peer| Source::new(*peer, StreamKind::Speaker)).collect();
        for (mixer, source) in
            [ADA, BEN].into_iter().flat_map(|mixer| speakers.iter().map(move |one| (mixer, one)))
        {
            stand.follow(mixer, CODE, source);
        }
        let mut agent = Agent { stand, mixers, speakers };
        agent.routes(true);
        agent
    }

    fn peer(&self, speaker: usize) -> PeerId {
        self.speakers[speaker].maker.spec.maker
    }

    fn routes(&mut self, here: bool) {
        let of = (0..self.speakers.len()).map(|speaker| self.peer(speaker)).collect();
        self.stand.media.inflow.apart.set_routes(VoiceRoutes { of, to: Vec::new(), here });
    }

    /// A speaker's sound, captured at that time of its clock, arrives from these mixers. Returns what is handed over.
    fn sound(&mut self, speaker: usize, captured_us: u64, from: &[usize]) -> Vec<VoiceFrame> {
        let (frame, packets) = self.speakers[speaker].sound(captured_us);
        for mixer in from {
            self.stand.come(self.mixers[*mixer], SLOT, (frame.clone(), packets.clone()));
        }
        self.stand.take().voices
    }
}

#[test]
fn voices_of_a_full_stage_that_share_a_slot_are_told_apart() {
    let mut agent = Agent::new(64);
    for round in 0..3 {
        for speaker in 0..64 {
            let given = agent.sound(speaker, BEGIN_US + round * SOUND_US, &[0]);
            assert_eq!(given.len(), 1, "{speaker}");
            assert_eq!(given[0].speaker, agent.peer(speaker));
        }
    }
    agent.routes(false);
    assert!(agent.sound(0, BEGIN_US + 3 * SOUND_US, &[0]).is_empty(), "nobody listens");
    assert!(agent.stand.media.bounds().iter().all(|bound| bound.len <= bound.max));
}

#[test]
fn while_two_mixers_send_each_frame_counts_once_and_none_is_missing() {
    let mut agent = Agent::new(2);
    let ways: [&[usize]; 6] = [&[0], &[0, 1], &[1, 0], &[0, 1], &[1], &[1]];
    for (round, from) in (0..).zip(ways) {
        for speaker in [0, 1] {
            let given = agent.sound(speaker, BEGIN_US + round * SOUND_US, from);
            let numbers: Vec<_> = given.iter().map(|voice| voice.frame.identity.number).collect();
            assert_eq!(numbers, [round as u32 + 1], "{from:?}");
        }
    }
}

#[test]
fn capture_times_are_by_the_agent_s_clock_whichever_speaker_and_mixer() {
    let mut agent = Agent::new(2);
    let [one, two] = [0, 1].map(|speaker| agent.peer(speaker));
    let clock = |speaker: PeerId, offset_us| VoiceClock { speaker: speaker.short(), offset_us };
    let now_us = agent.stand.now_us;
    let times = |agent: &mut Agent, speaker: usize, captured_us: u64| -> Vec<u64> {
        agent.sound(speaker, captured_us, &[0]).iter().map(|voice| voice.captured_us).collect()
    };
    assert_eq!(times(&mut agent, 0, 77), [now_us], "of an unknown clock the time of arrival");
    let apart = &mut agent.stand.media.inflow.apart;
    apart.set_clock(ADA, -3_000_000);
    apart.clocks_told(ADA, &List::truncated([clock(one, 1_000), clock(two, -2_000)]));
    assert_eq!(times(&mut agent, 0, 5_000_000), [2_001_000]);
    assert_eq!(times(&mut agent, 1, 5_000_000), [1_998_000]);
    agent.stand.media.inflow.apart.set_clock(two, 40);
    assert_eq!(times(&mut agent, 1, 6_000_000), [6_000_040], "as measured here, where it is linked");
    let apart = &mut agent.stand.media.inflow.apart;
    apart.clocks_told(ADA, &List::truncated([clock(one, i64::MAX), clock(two, i64::MIN)]));
    assert_eq!(times(&mut agent, 0, 7_000_000), [7_000_000_u64.saturating_add_signed(i64::MAX - 3_000_000)]);
}

#[test]
fn a_mixer_tells_its_agents_the_clocks_at_once_and_each_second() {
    let mut apart = crate::apart::Apart::default();
    assert_eq!(apart.take_clocks(ME, BEGIN_US), None, "nobody is to be told");
    let to = |to: &[PeerId]| VoiceRoutes { of: vec![ADA, BEN, ME], to: to.to_vec(), here: false };
    apart.set_clock(ADA, 5);
    apart.set_routes(to(&[CAT]));
    let (agents, clocks) = apart.take_clocks(ME, BEGIN_US).unwrap();
    let told: Vec<_> = clocks.iter().map(|clock| (clock.speaker, clock.offset_us)).collect();
    assert_eq!((agents, told), (vec![CAT], vec![(ADA.short(), 5), (ME.short(), 0)]));
    assert_eq!(apart.take_clocks(ME, BEGIN_US + 999_999), None);
    assert!(apart.take_clocks(ME, BEGIN_US + 1_000_000).is_some());
    apart.set_routes(to(&[CAT, PeerId([9; 32])]));
    assert!(apart.take_clocks(ME, BEGIN_US + 1_000_001).is_some(), "there is a new one");
}

#[test]
fn a_forged_voice_is_not_handed_over_and_honest_ones_go_on() {
    let keys = Keypair::from_seed(&[7; 32]);
    let mut agent = Agent::new(0);
    agent.stand = Stand::of(false, false, Some(Keypair::from_seed(&[1; 32])));
    agent.stand.media.set_mesh(false);
    let ada = agent.stand.link(ADA, LinkKind::Peer);
    let mut count = |is_sealed: bool| {
        let maker = Maker::new(&ROOM, keys.id(), StreamKind::Speaker, RANK, [u8::from(is_sealed); 8]);
        let mut source = Source { camera: Camera::new(), maker: maker.sealed_by(is_sealed.then_some(&keys)) };
        agent.stand.follow(ADA, CODE, &source);
        let routes = VoiceRoutes { of: vec![keys.id()], to: Vec::new(), here: true };
        agent.stand.media.inflow.apart.set_routes(routes);
        let mut given = 0;
        for _ in 0..50 {
            agent.stand.now_us += SOUND_US;
            let sound = source.sound(agent.stand.now_us);
            agent.stand.come(ada, SLOT, sound);
            given += agent.stand.take().voices.len();
        }
        given
    };
    assert_eq!(count(true), 50);
    // packets with seals may have been lost, so a few without are taken
    let forged = count(false);
    assert!(forged <= 24, "{forged}"); // `UNPROVEN_MAX`
}
