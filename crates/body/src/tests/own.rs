//! This peer's own stream: targets, positions, announcements.

use plenary_media::Encoded;
use plenary_proto::message::Resume;

use super::*;
use crate::link_table::LinkTable;
use crate::own::{OWN_SLOTS, Own};

/// The own stream of [`ME`], and its links.
struct Desk {
    own: Own,
    /// Makes the same packets.
    twin: Maker,
    camera: Camera,
    links: LinkTable,
    outs: Outs,
}

impl Desk {
    fn new() -> Desk {
        Desk {
            own: Own::new(&ROOM, ME, StreamKind::Speaker, [0; 8], None),
            twin: Maker::new(&ROOM, ME, StreamKind::Speaker, Rank::default(), [0; 8]),
            camera: Camera::new(),
            links: LinkTable::default(),
            outs: Outs::default(),
        }
    }

    fn link(&mut self, peer: PeerId) -> LinkId {
        let link = self.links.open(peer, LinkKind::Peer);
        self.links.set_up(link);
        link
    }

    /// Sends a frame. Returns slot and number of each of its packets, and whether this peer itself gets them.
    fn publish(&mut self, encoded: &Encoded) -> (Vec<(u8, u64)>, bool) {
        let slot = if encoded.kind == MediaKind::Video { OWN_SLOTS[0] } else { OWN_SLOTS[1] };
        let (_, packets) = self.twin.make(encoded, &Contributors::new()).unwrap();
        let local = self.own.publish(encoded, BEGIN_US, &self.links, &mut self.outs);
        assert!(local.is_empty() || local == packets);
        (packets.iter().map(|packet| (slot, packet.identity.number)).collect(), !local.is_empty())
    }

    fn picture(&mut self, key: bool) -> Vec<(u8, u64)> {
        let picture = self.camera.picture(key, BEGIN_US);
        self.publish(&picture).0
    }

    fn sound(&mut self) -> Vec<(u8, u64)> {
        let sound = self.camera.sound(BEGIN_US);
        self.publish(&sound).0
    }

    /// Sets the targets. Returns whether a keyframe is needed.
    fn send_to(&mut self, targets: &[(PeerId, Option<Resume>)]) -> bool {
        self.own.send_to(targets.to_vec(), &self.links, &mut self.outs).0
    }

    fn take(&mut self) -> Outs {
        std::mem::take(&mut self.outs)
    }

    fn announcement(&self, link: LinkId) -> (LinkId, u8, StreamId) {
        (link, OWN_SLOTS[0], self.twin.id)
    }
}

#[test]
fn a_newcomer_gets_no_picture_from_before_a_mute_or_an_unpublished_camera() {
    let mut desk = Desk::new();
    let _ada = desk.link(ADA);
    desk.send_to(&[(ADA, None)]);
    desk.picture(true);
    desk.take();
    let before = desk.link(BEN);
    assert!(!desk.send_to(&[(ADA, None), (BEN, None)]), "the cached keyframe");
    assert!(sent(&desk.take()).iter().any(|(link, ..)| *link == before));
    desk.own.forget(MediaKind::Video);
    let _cat = desk.link(CAT);
    assert!(desk.send_to(&[(ADA, None), (BEN, None), (CAT, None)]), "it needs a keyframe");
    assert!(sent(&desk.take()).is_empty());
    let key = desk.picture(true);
    assert_eq!(sent(&desk.take()).len(), 3 * key.len());
}

#[test]
fn frames_are_sent_only_to_targets_that_know_the_stream() {
    let mut desk = Desk::new();
    let (ada, _cat) = (desk.link(ADA), desk.link(CAT));
    assert!(desk.send_to(&[(ADA, None), (BEN, None)]));
    assert_eq!(announced(&desk.take()), [desk.announcement(ada)]);
    let key = desk.picture(true);
    assert_eq!(sent(&desk.take()), on(ada, &key));
    // ben's link counts once the stream was announced on it
    let ben = desk.link(BEN);
    let sound = desk.sound();
    assert_eq!(sent(&desk.take()), on(ada, &sound));
    assert!(desk.own.link_changed(BEN, Some(ben), &mut desk.outs), "ben needs a keyframe");
    assert_eq!(announced(&desk.take()), [desk.announcement(ben)]);
    let sound = desk.sound();
    assert_eq!(sent(&desk.take()), [on(ada, &sound), on(ben, &sound)].concat());
}

#[test]
fn a_target_with_a_position_gets_what_it_lacks_and_needs_no_keyframe() {
    let mut desk = Desk::new();
    let ada = desk.link(ADA);
    let (key, heard) = (desk.picture(true), desk.sound());
    let (delta, sound) = (desk.picture(false), desk.sound());
    let position = |video: &[(u8, u64)], sound: &[(u8, u64)]| Resume {
        stream: StreamId([0; 8]),
        video_packet: video.last().unwrap().1,
        sound_packet: sound.last().unwrap().1,
    };
    let here = Resume { stream: desk.twin.id, ..position(&key, &heard) };
    assert!(!desk.send_to(&[(ADA, Some(here))]));
    let outs = desk.take();
    assert_eq!(announced(&outs), [desk.announcement(ada)]);
    assert_eq!(sent(&outs), on(ada, &[sound, delta].concat()));
    // a position in another stream is none: a new target begins with the keyframe
    desk.send_to(&[]);
    assert!(!desk.send_to(&[(ADA, Some(position(&key, &heard)))]));
    let all: Vec<_> = (1..=desk.picture(false)[0].1 - 1).map(|number| (OWN_SLOTS[0], number)).collect();
    assert_eq!(sent(&desk.take())[..all.len()], on(ada, &all));
}

#[test]
fn a_target_with_an_impossible_position_gets_only_what_comes() {
    let mut desk = Desk::new();
    let ada = desk.link(ADA);
    desk.picture(true);
    let at = Resume { stream: desk.twin.id, video_packet: u64::MAX, sound_packet: u64::MAX };
    assert!(!desk.send_to(&[(ADA, Some(at))]));
    assert_eq!(sent(&desk.take()), []);
    let delta = desk.picture(false);
    assert_eq!(sent(&desk.take()), on(ada, &delta));
}

#[test]
fn a_new_target_begins_at_the_cached_keyframe_or_wants_one() {
    let mut desk = Desk::new();
    let ada = desk.link(ADA);
    assert!(desk.send_to(&[(ADA, None)]), "nothing is cached");
    assert!(!desk.send_to(&[(ADA, None)]), "a known target has asked before");
    desk.take();
    let (key, delta) = (desk.picture(true), desk.picture(false));
    desk.sound();
    desk.take();
    let ben = desk.link(BEN);
    assert!(!desk.send_to(&[(ADA, None), (BEN, None)]));
    let outs = desk.take();
    assert_eq!(announced(&outs), [desk.announcement(ada), desk.announcement(ben)]);
    assert_eq!(sent(&outs), on(ben, &[key, delta].concat()), "pictures since the keyframe, and no old sound");
    assert_eq!(desk.own.targets_most, 2);
    desk.send_to(&[(BEN, None)]);
    assert_eq!(desk.own.targets_most, 2);
    desk.own.reset_targets_most();
    assert_eq!(desk.own.targets_most, 1);
}

#[test]
fn a_new_link_with_a_target_announces_the_stream_again() {
    let mut desk = Desk::new();
    let before = desk.link(ADA);
    desk.send_to(&[(ADA, None)]);
    desk.take();
    assert!(!desk.own.link_changed(ADA, None, &mut desk.outs));
    desk.links.remove(before);
    desk.picture(true);
    assert_eq!(desk.take().sends.len(), 0);
    let ada = desk.link(ADA);
    assert!(desk.own.link_changed(ADA, Some(ada), &mut desk.outs));
    assert!(!desk.own.link_changed(BEN, Some(ada), &mut desk.outs), "ben is no target");
    assert_eq!(announced(&desk.take()), [desk.announcement(ada)]);
    let sound = desk.sound();
    assert_eq!(sent(&desk.take()), on(ada, &sound));
}

#[test]
fn a_mixer_gets_its_own_stream_without_a_link() {
    let mut desk = Desk::new();
    let picture = desk.camera.picture(true, BEGIN_US);
    assert!(!desk.publish(&picture).1);
    let (key_wanted, packets) = desk.own.send_to(vec![(ME, None)], &desk.links, &mut desk.outs);
    assert!(!key_wanted && packets[0].1.identity.number == 1);
    let sound = desk.camera.sound(BEGIN_US);
    assert!(desk.publish(&sound).1);
    assert_eq!(desk.take().sends.len(), 0);
}
