//! Speakers' streams at a mixer: on to other mixers, to the standby, and to peers that request one speaker.

use super::*;
use crate::inflow::slot_code;
use plenary_proto::VoiceRoutes;

/// Another mixer or the standby, and a peer that requests one speaker.
const STANDBY: PeerId = PeerId([5; 32]);
const FAN: PeerId = PeerId([6; 32]);
const TRUNK: LinkKind = LinkKind::Trunk(0);

/// A mixer, linked with its speakers and the standby.
struct Home {
    stand: Stand,
    speakers: Vec<(LinkId, Source)>,
    trunk: LinkId,
    control: LinkId,
}

impl Home {
    fn new(speakers: &[PeerId]) -> Home {
        let mut stand = Stand::new(false);
        stand.media.set_mesh(false);
        let linked = speakers.iter().map(|peer| {
            let (link, source) = (stand.link(*peer, LinkKind::Peer), Source::new(*peer, StreamKind::Speaker));
            stand.follow(*peer, 2, &source);
            (link, source)
        });
        let linked = linked.collect();
        stand.media.inflow.set_speakers(speakers.to_vec());
        stand.media.inflow.set_forwarding_to(&[STANDBY]);
        let control = stand.link(STANDBY, LinkKind::Peer);
        let trunk = stand.link(STANDBY, TRUNK);
        stand.take();
        Home { stand, speakers: linked, trunk, control }
    }

    fn picture(&mut self, speaker: usize, key: bool) -> Outs {
        let (link, source) = &mut self.speakers[speaker];
        let picture = source.picture(key, self.stand.now_us);
        self.stand.come(*link, 2, picture);
        self.stand.take()
    }

    fn sound(&mut self, speaker: usize) -> Outs {
        let (link, source) = &mut self.speakers[speaker];
        let sound = source.sound(self.stand.now_us);
        self.stand.come(*link, 3, sound);
        self.stand.take()
    }

    fn id(&self, speaker: usize) -> StreamId {
        self.speakers[speaker].1.maker.id
    }
}

#[test]
fn each_speaker_has_its_pair_of_slots_on_the_trunk() {
    let mut home = Home::new(&[ADA, BEN]);
    let (trunk, control) = (home.trunk, home.control);
    let outs = home.picture(1, true);
    assert_eq!(announced(&outs), [(control, slot_code(TRUNK, 2), home.id(1))]);
    assert_eq!(sent(&outs), [(trunk, 2, 1)]);
    let outs = home.sound(1);
    assert_eq!((announced(&outs), sent(&outs)), (vec![], vec![(trunk, 3, 1)]));
    let outs = home.picture(0, true);
    assert_eq!(announced(&outs), [(control, slot_code(TRUNK, 0), home.id(0))]);
    assert_eq!(sent(&outs), [(trunk, 0, 1)]);
}

#[test]
fn the_ninth_speaker_needs_the_second_trunk() {
    let speakers: Vec<_> = (20..29).map(|peer| PeerId([peer; 32])).collect();
    let mut home = Home::new(&speakers);
    assert_eq!(sent(&home.picture(7, true)), [(home.trunk, 14, 1)]);
    assert_eq!(home.picture(8, true).sends.len(), 0, "there is one trunk");
    let second = home.stand.link(STANDBY, LinkKind::Trunk(1));
    home.stand.take();
    let outs = home.picture(8, false);
    assert_eq!(announced(&outs), [(home.control, slot_code(LinkKind::Trunk(1), 0), home.id(8))]);
    assert_eq!(sent(&outs), [(second, 0, 1), (second, 0, 2)], "from the cached keyframe on");
}

#[test]
fn a_standby_linked_in_mid_stream_gets_the_group_of_pictures() {
    let mut home = Home::new(&[ADA]);
    home.stand.media.link_down(home.trunk, &mut home.stand.outs);
    home.sound(0);
    home.stand.now_us += SOUND_US;
    home.picture(0, true);
    home.picture(0, false);
    home.sound(0);
    let trunk = home.stand.link(STANDBY, TRUNK);
    let outs = home.picture(0, false);
    assert_eq!(announced(&outs).len(), 1);
    assert_eq!(sent(&outs), on(trunk, &[(1, 2), (0, 1), (0, 2), (0, 3)]));
}

#[test]
fn a_stream_without_a_cached_keyframe_begins_with_the_packet_at_hand() {
    for sound in [false, true] {
        let mut home = Home::new(&[ADA]);
        let (trunk, _lost) = (home.trunk, home.speakers[0].1.picture(true, BEGIN_US));
        let outs = if sound { home.sound(0) } else { home.picture(0, false) };
        assert_eq!(announced(&outs).len(), 1);
        assert_eq!(sent(&outs), [if sound { (trunk, 1, 1) } else { (trunk, 0, 2) }]);
        let outs = home.picture(0, true);
        assert_eq!((announced(&outs).len(), sent(&outs).len()), (0, 1));
    }
}

#[test]
fn nothing_is_forwarded_before_the_standby_can_be_told_of_it() {
    let mut home = Home::new(&[ADA]);
    home.stand.media.link_down(home.control, &mut home.stand.outs);
    assert_eq!(home.picture(0, true).sends.len(), 0);
    let control = home.stand.link(STANDBY, LinkKind::Peer);
    home.stand.take();
    let outs = home.picture(0, false);
    assert_eq!(announced(&outs), [(control, slot_code(TRUNK, 0), home.id(0))]);
    assert_eq!(sent(&outs), on(home.trunk, &[(0, 1), (0, 2)]));
}

#[test]
fn packets_from_a_trunk_are_not_forwarded_on_a_trunk() {
    let mut home = Home::new(&[ADA]);
    let co_mixer = home.stand.link(CAT, TRUNK);
    home.stand.media.inflow.set_speakers(vec![ADA, BEN]);
    let mut ben = Source::new(BEN, StreamKind::Speaker);
    home.stand.follow(CAT, slot_code(TRUNK, 2), &ben);
    home.stand.media.inflow.set_solos(&[(FAN, BEN)]);
    let fan = home.stand.link(FAN, LinkKind::Peer);
    home.stand.come(co_mixer, 2, ben.picture(true, BEGIN_US));
    let outs = home.stand.take();
    assert_eq!(announced(&outs), [(fan, 4, ben.maker.id)]);
    assert_eq!(sent(&outs), [(fan, 4, 1)]);
}

#[test]
fn another_order_of_speakers_announces_the_streams_again() {
    let mut home = Home::new(&[ADA, BEN]);
    home.picture(0, true);
    home.stand.media.inflow.set_speakers(vec![ADA, BEN]);
    assert_eq!(announced(&home.picture(0, false)), [], "the order is the same");
    home.stand.media.inflow.set_speakers(vec![BEN, ADA]);
    let outs = home.picture(0, false);
    assert_eq!(announced(&outs), [(home.control, slot_code(TRUNK, 2), home.id(0))]);
    home.stand.media.inflow.set_speakers(vec![ADA, BEN]);
    assert_eq!(announced(&home.picture(0, false)), [(home.control, slot_code(TRUNK, 0), home.id(0))]);
    home.stand.media.inflow.set_forwarding_to(&[]);
    assert_eq!(home.picture(0, false).sends.len(), 0);
}

#[test]
fn a_source_that_restarts_is_announced_anew_and_begins_with_its_keyframe() {
    let mut home = Home::new(&[ADA]);
    home.picture(0, true);
    home.speakers[0].1.restart();
    home.stand.now_us += FRAME_US;
    let (link, source) = (home.speakers[0].0, home.id(0));
    home.stand.follow(ADA, 2, &home.speakers[0].1);
    let outs = home.picture(0, true);
    assert_eq!(announced(&outs), [(home.control, slot_code(TRUNK, 0), source)]);
    assert_eq!(sent(&outs), [(home.trunk, 0, 1)]);
    assert_eq!(home.stand.media.inflow.have(&ADA).unwrap().stream, source);
    assert_eq!(home.stand.media.inflow.source_of(&ADA), Some((link, 2)));
}

#[test]
fn a_peer_gets_only_the_one_speaker_that_it_requested() {
    let mut home = Home::new(&[ADA, BEN]);
    home.stand.media.inflow.set_forwarding_to(&[]);
    let fan = home.stand.link(FAN, LinkKind::Peer);
    home.picture(0, true);
    home.picture(1, true);
    home.stand.media.inflow.set_solos(&[(FAN, BEN)]);
    assert_eq!(home.picture(0, false).sends.len(), 0);
    let outs = home.picture(1, false);
    assert_eq!((announced(&outs), sent(&outs)), (vec![(fan, 4, home.id(1))], on(fan, &[(4, 1), (4, 2)])));
    assert_eq!(sent(&home.sound(1)), [(fan, 5, 1)]);
    home.stand.media.inflow.set_solos(&[(FAN, BEN)]);
    assert_eq!(announced(&home.picture(1, false)), [], "the request is the same");
    // a peer that alternates between speakers
    let past = (0..20).map(|at| {
        let speaker = at % 2;
        home.stand.media.inflow.set_solos(&[(FAN, [ADA, BEN][speaker])]);
        let outs = home.picture(speaker, false);
        assert_eq!(announced(&outs).len(), 1);
        usize::from(sent(&outs).len() > 1)
    });
    assert_eq!(past.sum::<usize>(), 3, "four within 4 s, with the first");
}

#[test]
fn agents_get_the_sound_of_all_speakers_in_one_slot_and_no_picture() {
    let mut home = Home::new(&[ADA, BEN]);
    home.stand.media.inflow.set_forwarding_to(&[]);
    let fan = home.stand.link(FAN, LinkKind::Peer);
    let routes = |of: &[PeerId], to: &[PeerId]| VoiceRoutes { of: of.to_vec(), to: to.to_vec(), here: false };
    home.stand.media.inflow.apart.set_routes(routes(&[ADA, BEN], &[FAN, ADA]));
    assert_eq!(home.picture(0, true).sends.len(), 0);
    for speaker in [0, 1] {
        let outs = home.sound(speaker);
        assert!(announced(&outs).contains(&(fan, 4, home.id(speaker))));
        assert!(sent(&outs).contains(&(fan, 5, 1)));
    }
    let ada = home.speakers[0].0;
    assert_eq!(sent(&home.sound(0)), [(fan, 5, 2)], "no speaker gets its own");
    let outs = home.sound(1);
    assert_eq!((announced(&outs), sent(&outs)), (vec![], vec![(ada, 5, 2), (fan, 5, 2)]));

    home.stand.media.inflow.set_solos(&[(FAN, BEN)]);
    assert_eq!(sent(&home.sound(1)).iter().filter(|(link, ..)| *link == fan).count(), 1, "once");
    home.stand.media.inflow.set_solos(&[]);
    assert!(sent(&home.sound(1)).contains(&(fan, 5, 4)), "the solo has ended");
    home.stand.media.inflow.apart.set_routes(routes(&[BEN], &[FAN]));
    assert_eq!(home.sound(0).sends.len(), 0, "Ada refuses");
    let link = home.stand.link(FAN, LinkKind::Peer);
    home.stand.take();
    assert_eq!(announced(&home.sound(1)), [(link, 4, home.id(1))], "anew on a new link");
    home.stand.media.inflow.apart.set_routes(VoiceRoutes::default());
    assert_eq!(home.sound(1).sends.len(), 0, "the mark is gone");
}

#[test]
fn keyframe_requests_go_on_to_the_speaker_of_their_slot_and_merge() {
    let mut home = Home::new(&[ADA, BEN]);
    home.picture(0, true);
    home.picture(1, true);
    let fan = home.stand.link(FAN, LinkKind::Peer);
    home.stand.media.inflow.set_solos(&[(FAN, BEN)]);
    let [ada, ben] = [home.speakers[0].0, home.speakers[1].0];
    assert_eq!(home.stand.key_wanted(home.trunk, 0), [(ada, 2)]);
    assert_eq!(home.stand.key_wanted(fan, 4), [(ben, 2)]);
    assert_eq!(home.stand.key_wanted(home.trunk, 2), [], "ben was asked a moment ago");
    home.stand.now_us += 299_999;
    assert_eq!(home.stand.key_wanted(home.trunk, 2), []);
    home.stand.now_us += 1;
    assert_eq!(home.stand.key_wanted(home.trunk, 2), [(ben, 2)]);
    assert_eq!(home.stand.key_wanted(home.trunk, 4), [], "there are two speakers");
    home.stand.media.inflow.set_solos(&[]);
    home.stand.now_us += 1_000_000;
    assert_eq!(home.stand.key_wanted(fan, 4), [], "nothing is sent there any more");
}

#[test]
fn a_gap_in_a_speaker_s_sound_is_waited_for_30_ms() {
    let mut home = Home::new(&[ADA]);
    let (ada, source) = &mut home.speakers[0];
    home.stand.media.set_mesh(true);
    let sounds: Vec<_> = (0..3).map(|at| source.sound(BEGIN_US + at * SOUND_US)).collect();
    home.stand.come(*ada, 3, sounds[0].clone());
    home.stand.come(*ada, 3, sounds[2].clone());
    assert_eq!(given(&home.stand.take()).len(), 1);
    assert_eq!(given(&home.stand.pass(25_000)), []);
    let late = (Origin::Speaker(ADA), MediaKind::Sound, BEGIN_US + 2 * SOUND_US);
    assert_eq!(given(&home.stand.pass(25_000)), [late]);
    home.stand.come(*ada, 3, sounds[1].clone());
    assert_eq!(given(&home.stand.take()), [], "it is too late");
}

#[test]
fn a_screen_beside_a_camera_goes_to_other_mixers_alone() {
    let mut home = Home::new(&[ADA, BEN]);
    let (trunk, control, ben) = (home.trunk, home.control, home.speakers[1].0);
    let fan = home.stand.link(FAN, LinkKind::Peer);
    home.stand.media.inflow.set_solos(&[(FAN, BEN)]);
    let mut screen = Source::new(BEN, StreamKind::Beside);
    home.stand.follow(BEN, 4, &screen);
    home.picture(1, true);
    let mut show = |home: &mut Home, key: bool| {
        let picture = screen.picture(key, home.stand.now_us);
        home.stand.come(ben, 4, picture);
        home.stand.take()
    };
    let outs = show(&mut home, true);
    let code = slot_code(TRUNK, 2);
    assert_eq!(
        announced(&outs).iter().map(|(link, slot, _)| (*link, *slot)).collect::<Vec<_>>(),
        [(control, code)]
    );
    assert_eq!(sent(&outs), [(trunk, 2, 1)]);
    // by turns: neither is announced again
    let outs = home.picture(1, false);
    assert_eq!((announced(&outs), sent(&outs)), (vec![], vec![(trunk, 2, 2), (fan, 4, 2)]));
    let outs = show(&mut home, false);
    assert_eq!((announced(&outs), sent(&outs)), (vec![], vec![(trunk, 2, 2)]));
    // what is lost in that slot may be of either
    home.stand.media.keyframe_wanted(trunk, 2, home.stand.now_us, &mut home.stand.outs);
    assert_eq!(keys_wanted(&home.stand.take()), [(ben, 2), (ben, 4)]);
    home.stand.media.keyframe_wanted(fan, 4, home.stand.now_us + 400_000, &mut home.stand.outs);
    assert_eq!(keys_wanted(&home.stand.take()), [(ben, 2)]);
}
