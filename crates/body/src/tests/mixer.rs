//! A mixer among its links: the program's children, the speakers, and their keyframes.

use plenary_media::codec::EncodedPicture;
use plenary_media::compose::Layout;
use plenary_media::mixer::MixerOutput;
use plenary_proto::message::ProgramFormat;
use plenary_proto::{MixRole, StreamSpec};

use super::mix_roles::{id, tile};
use super::*;
use crate::mix::MixCommand;
use crate::outs::Notice;

const VIEWER: PeerId = PeerId([7; 32]);

/// A mixer with links to its speakers.
struct Studio {
    stand: Stand,
    speakers: Vec<(LinkId, Source)>,
    camera: Camera,
}

impl Studio {
    fn new(speakers: &[PeerId], pass_through: bool) -> Studio {
        let mut stand = Stand::new(false);
        stand.media.set_mesh(false);
        let format = ProgramFormat { width: 320, height: 180, fps: 30, bitrate_bps: 300_000 };
        let speakers = speakers.iter().map(|peer| {
            let link = stand.link(*peer, LinkKind::Peer);
            let source = Source::new(*peer, StreamKind::Speaker);
            stand.follow(*peer, 2, &source);
            (link, source)
        });
        let speakers: Vec<_> = speakers.collect();
        let peers: Vec<_> = speakers.iter().map(|(_, source)| source.maker.spec.maker).collect();
        let tiles = peers.iter().copied().map(tile).collect();
        stand.media.set_tiles(tiles, format, Layout::Grid, &mut stand.outs);
        stand.media.inflow.set_speakers(peers);
        let role = MixRole::Mix { rank: RANK, pass_through };
        stand.media.set_role(role, stand.now_us, &mut stand.outs);
        Studio { stand, speakers, camera: Camera::new() }
    }

    /// A speaker's picture arrives.
    fn picture(&mut self, speaker: usize, key: bool) {
        let (link, source) = &mut self.speakers[speaker];
        let picture = source.picture(key, self.stand.now_us);
        self.stand.come(*link, 2, picture);
    }

    /// The mixer puts out a picture of the program.
    fn composes(&mut self, key: bool) {
        let Encoded { data, key, temporal, captured_us, .. } = self.camera.picture(key, self.stand.now_us);
        let picture = EncodedPicture::new(data, key).in_layer(temporal);
        self.mixed(MixerOutput::Video { picture, captured_us });
    }

    fn mixed(&mut self, output: MixerOutput) {
        self.stand.media.mixed(output, self.stand.now_us, &mut self.stand.outs);
    }

    /// The mixer puts out sound without a speaker's own voice.
    fn minus(&mut self, speaker: PeerId, heard: PeerId) {
        let packet = self.camera.sound(self.stand.now_us).data;
        let (captured_us, contributors) = (self.stand.now_us, vec![(id(heard), LEVEL)]);
        self.mixed(MixerOutput::MixMinus {
            id: id(speaker),
            packet,
            captured_us,
            level: LEVEL,
            contributors,
        });
    }
}

#[test]
fn the_first_keyframe_starts_the_program() {
    let mut studio = Studio::new(&[ADA, BEN], false);
    let child = studio.stand.serve(VIEWER, None, true);
    studio.composes(true);
    let outs = studio.stand.take();
    let [Notice::Started(spec)] = &outs.notices[..] else { panic!("{:?}", outs.notices) };
    let StreamSpec { maker, kind, rank, .. } = *spec;
    assert_eq!((maker, kind, rank), (ME, StreamKind::Program, RANK));
    assert_eq!(announced(&outs), [(child, 0, spec.id(&ROOM))]);
    assert_eq!(sent(&outs), [(child, 0, 1)]);
    assert_eq!(given(&outs), [(Origin::Program, MediaKind::Video, BEGIN_US)]);
    studio.composes(false);
    let outs = studio.stand.take();
    assert_eq!((sent(&outs), outs.notices.len()), (vec![(child, 0, 2)], 0));
}

#[test]
fn a_newcomer_gets_nothing_of_a_program_that_has_ended() {
    let mut studio = Studio::new(&[ADA, BEN], false);
    studio.composes(true);
    studio.stand.media.set_role(MixRole::Rest, BEGIN_US, &mut studio.stand.outs);
    studio.stand.take();
    studio.stand.serve(VIEWER, None, true);
    assert_eq!(studio.stand.take().sends.len(), 0);
    assert_eq!(studio.stand.media.program.have(studio.stand.now_us), None);
}

#[test]
fn a_child_s_keyframe_request_makes_the_mixer_encode_one() {
    let mut studio = Studio::new(&[ADA, BEN], false);
    let child = studio.stand.serve(VIEWER, None, true);
    studio.composes(true);
    studio.stand.take();
    studio.stand.media.keyframe_wanted(child, 0, BEGIN_US, &mut studio.stand.outs);
    let outs = studio.stand.take();
    assert_eq!(keys_wanted(&outs), []);
    assert_eq!(outs.mix, [MixCommand::Key]);
}

#[test]
fn keyframe_requests_of_many_children_reach_a_speaker_once_in_300_ms() {
    let mut studio = Studio::new(&[ADA], true);
    let children = [VIEWER, BEN, CAT].map(|child| studio.stand.serve(child, None, true));
    studio.picture(0, true);
    studio.stand.take();
    let (ada, _) = studio.speakers[0];
    let mut asked = Vec::new();
    for tick in 0..28 {
        studio.stand.now_us = BEGIN_US + tick * TICK_US;
        for child in children {
            let wanted = studio.stand.key_wanted(child, 0);
            assert!(wanted.iter().all(|wanted| *wanted == (ada, 2)));
            asked.extend(wanted.iter().map(|_| tick * TICK_US));
        }
    }
    assert_eq!(asked, [0, 300_000, 600_000]);
}

#[test]
fn a_mixer_requests_a_keyframe_of_the_input_that_can_t_be_decoded() {
    let mut studio = Studio::new(&[ADA, BEN], false);
    studio.picture(0, true);
    studio.picture(1, true);
    studio.stand.take();
    studio.mixed(MixerOutput::KeyWanted { id: id(BEN) });
    assert_eq!(keys_wanted(&studio.stand.take()), [(studio.speakers[1].0, 2)]);
    studio.mixed(MixerOutput::KeyWanted { id: 12345 });
    assert_eq!(studio.stand.take().sends.len(), 0);
}

#[test]
fn a_mixer_that_speaks_itself_asks_its_own_encoder_for_a_keyframe() {
    let mut studio = Studio::new(&[ADA, ME], false);
    studio.stand.media.publish_anew(false);
    studio.mixed(MixerOutput::KeyWanted { id: id(ME) });
    assert!(studio.stand.own_key_wanted());
    assert!(!studio.stand.own_key_wanted(), "one request, one keyframe");
    assert_eq!(studio.stand.take().sends.len(), 0);
}

#[test]
fn a_lost_picture_of_a_speaker_is_requested_again_each_300_ms() {
    let mut studio = Studio::new(&[ADA, BEN], false);
    studio.picture(0, true);
    let (ada, source) = &mut studio.speakers[0];
    let (ada, _lost) = (*ada, source.picture(false, BEGIN_US));
    studio.picture(0, false);
    let mut asked = Vec::new();
    for tick in 1..=200 {
        let wanted = keys_wanted(&studio.stand.pass(TICK_US));
        assert!(wanted.iter().all(|wanted| *wanted == (ada, 2)));
        asked.extend(wanted.iter().map(|_| tick * TICK_US / 1_000));
    }
    assert_eq!(asked, [250, 550, 850, 1_150, 1_450, 1_750]);
    studio.picture(0, true);
    assert_eq!(studio.stand.pass(1_000_000).sends.len(), 0);
}

#[test]
fn a_mix_minus_is_announced_to_its_speaker_once_for_each_link() {
    let mut studio = Studio::new(&[ADA, BEN], false);
    let (ada, _) = studio.speakers[0];
    studio.minus(ADA, BEN);
    let outs = studio.stand.take();
    let [(link, slot, stream)] = announced(&outs)[..] else { panic!("{:?}", outs.sends) };
    assert_eq!((link, slot), (ada, 2));
    let packets = sent_on(&outs, ada);
    assert_eq!(numbered(3, &[packets[0].1.clone()]), [(packets[0].0, 1)]);
    assert_eq!(packets[0].1.identity.stream, stream);
    assert_eq!(packets[0].1.contributors.to_vec(), [Contributor { csrc: BEN.csrc(), level: LEVEL }]);
    studio.minus(ADA, BEN);
    let outs = studio.stand.take();
    assert_eq!((announced(&outs), sent(&outs)), (vec![], vec![(ada, 3, 2)]));
    studio.stand.media.link_down(ada, &mut studio.stand.outs);
    studio.minus(ADA, BEN);
    assert_eq!(studio.stand.take().sends.len(), 0, "there is no link");
    let again = studio.stand.link(ADA, LinkKind::Peer);
    studio.minus(ADA, BEN);
    let outs = studio.stand.take();
    assert_eq!((announced(&outs), sent(&outs)), (vec![(again, 2, stream)], vec![(again, 3, 4)]));
    let replaced = studio.stand.link(ADA, LinkKind::Peer);
    studio.minus(ADA, BEN);
    assert_eq!(announced(&studio.stand.take()), [(replaced, 2, stream)]);
}

#[test]
fn a_mix_minus_is_made_for_speakers_and_under_a_mandate_only() {
    let mut studio = Studio::new(&[ADA, BEN], false);
    studio.minus(CAT, BEN);
    assert_eq!(studio.stand.take().sends.len(), 0, "cat is no speaker");
    studio.stand.media.set_role(MixRole::Warm { pass_through: false }, BEGIN_US, &mut studio.stand.outs);
    studio.minus(ADA, BEN);
    assert_eq!(studio.stand.take().sends.len(), 0, "a standby has no mandate");
}

#[test]
fn a_mixer_that_speaks_hears_its_own_mix_minus_without_a_link() {
    let mut studio = Studio::new(&[ADA, ME], false);
    studio.stand.media.set_floor(true, true, studio.stand.now_us);
    studio.minus(ME, ADA);
    let outs = studio.stand.take();
    assert_eq!(given(&outs), [(Origin::MixMinus, MediaKind::Sound, BEGIN_US)]);
    assert_eq!(outs.sends.len(), 0);
    assert_eq!(studio.stand.media.levels(&[ADA], BEGIN_US), [(ADA, LEVEL)]);
}
