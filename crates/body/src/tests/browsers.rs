//! Browsers as children and as parents: whole frames one way, the originators' packets the other way.

use plenary_media::Encoded;
use plenary_media::payload::timestamp;
use plenary_proto::Verdict;
use plenary_proto::link_layout::NO_H264;
use plenary_proto::message::{BrowserMedia, Description, Head, Heartbeat, PayloadTypes};
use plenary_proto::packet::BrowserPacket;

use super::*;
use crate::Shown;
use crate::heartbeats::Heartbeats;
use crate::outs::Notice;
use crate::own::OWN_SLOTS;
use crate::rebuild::identified;

const VIDEO: MediaKind = MediaKind::Video;

/// Description of a browser's end of a link.
fn browser() -> Description {
    let media = BrowserMedia {
        ssrcs: [1, 2, 3, 4, 5, 6],
        transport_wide_id: 4,
        audio_level_id: 1,
        retransmission: None,
    };
    Description { browser: Some(media), ..world::description(0, LinkId(0)) }
}

/// Description of the end of a browser without H.264.
fn browser_without_pictures() -> Description {
    Description { payload_types: Some(PayloadTypes { h264: NO_H264, opus: 109 }), ..browser() }
}

/// Sends the packets as a browser does: with numbers and times of its own, and without the packets' identities.
struct Browser {
    next: u64,
    offset: u32,
}

impl Browser {
    fn new() -> Browser {
        Browser { next: (1 << 16) + 40_000, offset: 77_777 }
    }

    fn packets(&mut self, made: &[MediaPacket]) -> Vec<BrowserPacket> {
        let packets = made.iter().map(|packet| {
            self.next += 1;
            BrowserPacket {
                sequence_number: self.next,
                timestamp: packet.timestamp.wrapping_add(self.offset),
                marker: packet.marker,
                audio_level: packet.audio_level,
                payload: packet.payload.clone(),
            }
        });
        packets.collect()
    }
}

impl Stand {
    fn come_from_browser(&mut self, link: LinkId, slot: u8, packets: Vec<BrowserPacket>) {
        for packet in packets {
            self.media.browser_packet(link, slot, packet, self.now_us, &mut self.outs);
        }
    }

    /// The packets sent in a slot of a link since the last call.
    fn sent(&mut self, link: LinkId, slot: u8) -> Vec<MediaPacket> {
        let sends = std::mem::take(&mut self.outs.sends);
        let sent = sends.into_iter().filter_map(|out| match out {
            Out::Forward { to, packet } if to.contains(&(link, slot)) => Some(packet),
            _ => None,
        });
        sent.collect()
    }

    fn browser_link(&mut self, peer: PeerId) -> LinkId {
        let link = self.link(peer, LinkKind::Peer);
        self.media.links.described(link, &browser());
        link
    }
}

#[test]
fn below_a_browser_the_originators_packets_are_made_again() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    stand.media.links.described(ada, &browser());
    program.camera.len_min = 5_000;
    let ben = stand.link(BEN, LinkKind::Peer);
    stand.media.serve(BEN, None, true, BEGIN_US, &mut stand.outs);
    let (mut pictures, mut sounds) = (Browser::new(), Browser::new());
    for at in 0..40_u64 {
        let (_, made) = program.picture(at == 0, BEGIN_US + at * FRAME_US);
        assert!(made.len() > 4);
        // the last two packets change places on the way
        let mut packets = pictures.packets(&made);
        let last = packets.len() - 1;
        packets.swap(last - 1, last);
        stand.come_from_browser(ada, 0, packets);
        assert_eq!(stand.sent(ben, 0), made);
        let (_, made) = program.sound(BEGIN_US + at * SOUND_US);
        let packets = sounds.packets(&made);
        stand.come_from_browser(ada, 1, packets);
        assert_eq!(stand.sent(ben, 1), made);
    }
}

#[test]
fn what_a_browser_loses_is_a_hole_until_the_next_keyframe() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    stand.media.links.described(ada, &browser());
    program.camera.len_min = 5_000;
    let mut browser = Browser::new();
    let mut lost = browser.packets(&program.picture(true, BEGIN_US).1);
    stand.come_from_browser(ada, 0, lost.clone());
    lost = browser.packets(&program.picture(false, BEGIN_US + FRAME_US).1);
    lost.remove(2);
    stand.come_from_browser(ada, 0, lost);
    let after = browser.packets(&program.picture(false, BEGIN_US + 2 * FRAME_US).1);
    stand.come_from_browser(ada, 0, after);
    stand.now_us = BEGIN_US + 500 * MS;
    stand.media.on_time(stand.now_us, &mut stand.outs);
    let wishes = stand
        .outs
        .sends
        .iter()
        .filter(|out| matches!(out, Out::KeyframeWanted { link, slot: 0 } if *link == ada));
    assert!(wishes.count() >= 1);
    let ben = stand.link(BEN, LinkKind::Peer);
    stand.media.serve(BEN, None, true, stand.now_us, &mut stand.outs);
    stand.outs.sends.clear();
    let (_, key) = program.picture(true, BEGIN_US + 3 * FRAME_US);
    let packets = browser.packets(&key);
    stand.come_from_browser(ada, 0, packets);
    // Ben need not wait for what was lost
    let (fillers, sent): (Vec<_>, Vec<_>) = stand
        .sent(ben, 0)
        .into_iter()
        .partition(|packet| packet.payload == *plenary_media::payload::LEFT_OUT);
    assert_eq!(sent, key);
    assert!(fillers.iter().all(|packet| packet.identity.number < key[0].identity.number), "{fillers:?}");
}

#[test]
fn a_browser_gets_whole_frames_in_order_from_a_keyframe_on() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    program.camera.len_min = 5_000;
    let frames: Vec<_> = (0..3).map(|at| program.picture(at == 0, BEGIN_US + at * FRAME_US)).collect();
    stand.come(ada, 0, frames[0].clone());
    let ben = stand.browser_link(BEN);
    stand.media.serve(BEN, None, true, BEGIN_US, &mut stand.outs);
    assert_eq!(stand.sent(ben, 0), frames[0].1, "from the kept keyframe on");
    // of the second frame a packet is missing; the third one is whole, and waits
    let mut late = None;
    for (at, packet) in frames[1].1.iter().enumerate() {
        if at == 2 {
            late = Some(packet.clone());
        } else {
            stand.media.packet(ada, 0, packet.clone(), stand.now_us, &mut stand.outs);
        }
    }
    stand.come(ada, 0, frames[2].clone());
    assert_eq!(stand.sent(ben, 0), []);
    stand.media.packet(ada, 0, late.unwrap(), stand.now_us, &mut stand.outs);
    assert_eq!(stand.sent(ben, 0), [&frames[1].1[..], &frames[2].1].concat());
}

#[test]
fn a_browser_that_begins_within_a_group_gets_no_picture_twice() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    let ben = stand.browser_link(BEN);
    stand.media.serve(BEN, None, true, BEGIN_US, &mut stand.outs);
    let mut made = Vec::new();
    let mut sent = Vec::new();
    for at in 0..5 {
        let picture = program.picture(at == 0, BEGIN_US + at * FRAME_US);
        made.extend(picture.1.clone());
        stand.come(ada, 0, picture);
        sent.extend(stand.sent(ben, 0));
    }
    assert_eq!(sent, made, "the first keyframe makes the stream current, and is sent once");
}

#[test]
fn a_page_hands_whole_frames_on_in_order_from_a_keyframe() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    stand.media.program.is_page = true;
    let ben = stand.link(BEN, LinkKind::Peer);
    let frames: Vec<_> = (0..4).map(|at| program.picture(at == 0, BEGIN_US + at * FRAME_US)).collect();
    // the third one is whole before the second one
    for at in [0, 2, 1, 3] {
        let data = frames[at].0.data.clone();
        stand.media.frame((ada, 0), (data, None, &[]), stand.now_us, &mut stand.outs);
        if at == 0 {
            stand.media.serve(BEN, None, true, stand.now_us, &mut stand.outs);
        }
    }
    let sends = std::mem::take(&mut stand.outs.sends);
    let sent: Vec<_> = sends
        .into_iter()
        .filter_map(|out| match out {
            Out::Frame { link, slot: 0, frame, .. } if link == ben => Some(frame.identity.number),
            Out::Forward { .. } => panic!("a page sends no packets"),
            _ => None,
        })
        .collect();
    assert_eq!(sent, [1, 2, 3, 4]);
}

/// A picture with the header of a slice that follows so many others that pictures refer to since the keyframe.
fn numbered(
    program: &mut Source,
    references: u8,
    spare: bool,
    captured_us: u64,
) -> (Frame, Vec<MediaPacket>) {
    let key = references == 0;
    let sets: &[u8] = &[0, 0, 0, 1, 0x67, 66, 0xc0, 31, 0xda, 0x79, 0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80];
    let unit = match (key, spare) {
        (true, _) => 0x65,
        (false, false) => 0x61,
        (false, true) => 0x01,
    };
    let slice = [0, 0, 0, 1, unit, 0x88, 0x84 | references << 3];
    let data = [if key { sets } else { &[] }, &slice, &[b'.'; 100]].concat();
    let made =
        Encoded { kind: VIDEO, data: data.into(), captured_us, key, temporal: u8::from(spare), level: None };
    program.maker.make(&made, &Contributors::new()).unwrap()
}

#[test]
fn what_follows_pictures_that_were_left_out_on_purpose_is_handed_on() {
    for at_page in [true, false] {
        let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
        stand.media.program.is_page = at_page;
        stand.media.links.described(ada, &browser());
        let ben = stand.browser_link(BEN);
        // no other picture refers to each second one
        let frames = (0..9).map(|at: u8| {
            let captured_us = BEGIN_US + u64::from(at) * FRAME_US;
            numbered(&mut program, at.div_ceil(2), at % 2 == 1, captured_us)
        });
        let frames: Vec<_> = frames.collect();
        let mut browser = Browser::new();
        let mut sent = Vec::new();
        // pictures 2 and 6, that no other refers to, are left out, and 5, that others refer to, is lost
        for (nth, (frame, made)) in frames.iter().enumerate().filter(|(nth, _)| ![1, 4, 5].contains(nth)) {
            let packets = browser.packets(made);
            if at_page {
                let data = frame.data.clone();
                stand.media.frame((ada, 0), (data, None, &[]), stand.now_us, &mut stand.outs);
            } else {
                stand.come_from_browser(ada, 0, packets);
            }
            if nth == 0 {
                stand.media.serve(BEN, None, true, stand.now_us, &mut stand.outs);
            }
            sent.extend(std::mem::take(&mut stand.outs.sends).into_iter().filter_map(|out| match out {
                Out::Frame { link, slot: 0, frame, .. } if link == ben => {
                    Some(u64::from(frame.identity.number))
                }
                Out::Forward { to, packet } if to.contains(&(ben, 0)) && packet.marker => {
                    frames.iter().position(|(_, made)| made.contains(&packet)).map(|at| 1 + at as u64)
                }
                _ => None,
            }));
        }
        assert_eq!(sent, [1, 3, 4], "page: {at_page}");
    }
}

#[test]
fn a_browser_that_changes_its_feeder_gets_all_pictures_that_it_lacks() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    let ben = stand.browser_link(BEN);
    // no other picture refers to each second one
    let frames = (0..8).map(|at: u8| {
        let captured_us = BEGIN_US + u64::from(at) * FRAME_US;
        numbered(&mut program, at.div_ceil(2), at % 2 == 1, captured_us)
    });
    let frames: Vec<_> = frames.collect();
    frames.iter().for_each(|picture| stand.come(ada, 0, picture.clone()));
    let (frame, made) = &frames[4];
    let video_packet = frame.identity.first_packet + made.len() as u64 - 1;
    let from = Resume { stream: frame.identity.stream, video_packet, sound_packet: 0 };
    stand.media.serve(BEN, Some(from), true, stand.now_us, &mut stand.outs);
    let first = |(frame, _): &(Frame, Vec<MediaPacket>)| frame.identity.first_packet;
    let sent: Vec<u64> = stand.sent(ben, 0).iter().map(|packet| packet.identity.number).collect();
    let begun = frames.iter().map(first).filter(|first| sent.contains(first));
    let expected: Vec<u64> = [0, 2, 4, 5, 6, 7].map(|at: usize| first(&frames[at])).to_vec();
    assert_eq!(begun.collect::<Vec<_>>(), expected);
}

#[test]
fn a_page_waits_shortly_for_pictures_that_a_keyframe_has_overtaken() {
    for comes_late in [true, false] {
        let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
        stand.media.program.is_page = true;
        let ben = stand.link(BEN, LinkKind::Peer);
        let frames =
            (0..5).map(|at: u8| numbered(&mut program, at % 3, false, BEGIN_US + u64::from(at) * FRAME_US));
        let frames: Vec<_> = frames.collect();
        // the last picture in front of the second keyframe lacks a packet
        for at in [0, 1, 3, 4] {
            let data = frames[at].0.data.clone();
            stand.media.frame((ada, 0), (data, None, &[]), stand.now_us, &mut stand.outs);
            if at == 0 {
                stand.media.serve(BEN, None, true, stand.now_us, &mut stand.outs);
            }
        }
        let sent = |stand: &mut Stand| -> Vec<_> {
            let sends = std::mem::take(&mut stand.outs.sends).into_iter();
            let of_ben = sends.filter_map(|out| match out {
                Out::Frame { link, slot: 0, frame, .. } if link == ben => Some(frame.identity.number),
                _ => None,
            });
            of_ben.collect()
        };
        assert_eq!(sent(&mut stand), [1, 2]);
        if comes_late {
            let data = frames[2].0.data.clone();
            stand.media.frame((ada, 0), (data, None, &[]), stand.now_us, &mut stand.outs);
            assert_eq!(sent(&mut stand), [3, 4, 5]);
        }
        stand.now_us += 60_000;
        stand.media.on_time(stand.now_us, &mut stand.outs);
        assert_eq!(sent(&mut stand), if comes_late { &[][..] } else { &[4, 5] });
    }
}

#[test]
fn a_page_sends_each_target_its_own_stream_that_begins_with_a_keyframe() {
    let mut stand = Stand::new(true);
    stand.media.program.is_page = true;
    let [ada, ben] = [ADA, BEN].map(|peer| stand.link(peer, LinkKind::Peer));
    let mut camera = Camera::new();
    let [key, next] = [true, false].map(|key| camera.picture(key, BEGIN_US));
    let sound = camera.sound(BEGIN_US);
    let identities = |stand: &mut Stand, encoded: &Encoded| {
        [ada, ben].map(|link| {
            let data = stand.media.own_frame(link, encoded, stand.now_us)?;
            identified(encoded.kind, data, None).map(|frame| (frame.identity.stream, frame.identity.number))
        })
    };
    assert_eq!(identities(&mut stand, &key), [None, None], "nobody gets it, and there is no source");
    stand.media.set_own_sources(sources(true, true));
    stand.media.send_own(vec![(ADA, None), (BEN, None)], stand.now_us, &mut stand.outs);
    assert_eq!(stand.media.own_links(), [ada, ben]);
    let announced = stand.take().sends.into_iter().filter_map(|out| match out {
        Out::Control { link, message } => match *message {
            Message::Media(MediaMessage::Stream(stream)) => Some((link, stream.spec.id(&ROOM))),
            _ => None,
        },
        _ => None,
    });
    let announced: Vec<_> = announced.collect();
    let [(_, first), (_, second)] = announced[..] else { panic!("{announced:?}") };
    assert_ne!(first, second);
    assert_eq!(identities(&mut stand, &next), [None, None], "a picture before the keyframe");
    assert_eq!(identities(&mut stand, &key), [Some((first, 1)), Some((second, 1))]);
    assert_eq!(identities(&mut stand, &next), [Some((first, 2)), Some((second, 2))]);
    assert_eq!(identities(&mut stand, &sound), [Some((first, 1)), Some((second, 1))]);
    stand.media.mute(VIDEO, true);
    assert_eq!(identities(&mut stand, &key), [None, None]);
    stand.media.mute(VIDEO, false);
    assert_eq!(identities(&mut stand, &next), [None, None]);
    assert_eq!(identities(&mut stand, &key), [Some((first, 3)), Some((second, 3))]);
    // a target that comes back gets another stream
    stand.media.send_own(vec![(BEN, None)], stand.now_us, &mut stand.outs);
    assert_eq!(identities(&mut stand, &key), [None, Some((second, 4))]);
    stand.media.send_own(vec![(ADA, None)], stand.now_us, &mut stand.outs);
    let [third, gone] = identities(&mut stand, &key);
    assert!(gone.is_none() && third.is_some_and(|(stream, number)| stream != first && number == 1));
}

#[test]
fn a_page_shows_the_program_and_in_a_mesh_the_other_speakers() {
    let (mut stand, ada, _) = Stand::fed_by_ada(true);
    let shown = |stand: &Stand| stand.media.shown(&[ME, ADA, BEN]);
    assert_eq!(shown(&stand), [Shown { speaker: None, picture: (ada, 0), sound: (ada, 1) }]);
    // its mix-minus takes the place of the program's sound with its first frame
    let mut minus = Source::new(ADA, StreamKind::MixMinus);
    stand.media.watch(None, None, stand.now_us);
    stand.media.publish_anew(false);
    stand.media.send_own(vec![(ADA, None)], stand.now_us, &mut stand.outs);
    stand.follow(ADA, OWN_SLOTS[0], &minus);
    stand.come(ada, OWN_SLOTS[1], minus.sound(BEGIN_US));
    assert_eq!(shown(&stand), [Shown { speaker: None, picture: (ada, 0), sound: (ada, 3) }]);
    stand.media.set_mesh(true);
    let ben = stand.link(BEN, LinkKind::Peer);
    stand.follow(BEN, OWN_SLOTS[0], &Source::new(BEN, StreamKind::Speaker));
    assert_eq!(shown(&stand), [Shown { speaker: Some(BEN), picture: (ben, 2), sound: (ben, 3) }]);
}

#[test]
fn browsers_are_told_which_capture_times_the_timestamps_stand_for() {
    let mut stand = Stand::new(false);
    let (ada, _) = (stand.browser_link(ADA), stand.link(BEN, LinkKind::Peer));
    let mut told = Vec::new();
    for now_us in [BEGIN_US, BEGIN_US + 10_000_000] {
        stand.media.report_times(now_us, &mut stand.outs);
        for out in stand.take().sends {
            let Out::SenderReport { link, slot, ntp_time, rtp_time } = out else { panic!("{out:?}") };
            assert_eq!(link, ada, "natives have capture times in the frames");
            told.push((slot, ntp_time, rtp_time));
        }
    }
    assert_eq!(told.len(), 12);
    let (before, after) = told.split_at(6);
    for ((slot, ntp_before, rtp_before), (_, ntp_after, rtp_after)) in before.iter().zip(after) {
        let hz = if slot % 2 == 0 { 90_000 } else { 48_000 };
        assert_eq!(rtp_after.wrapping_sub(*rtp_before), 10 * hz);
        assert_eq!(ntp_after - ntp_before, 10 << 32);
        assert_eq!(ntp_before >> 32, BEGIN_US / 1_000_000 + 2_208_988_800);
    }
}

#[test]
fn a_browser_that_begins_to_be_fed_shows_the_newest_picture_at_once() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    for at in 0..60 {
        let captured_us = BEGIN_US + at * FRAME_US;
        stand.come(ada, 1, program.sound(captured_us));
        stand.come(ada, 0, program.picture(at == 0, captured_us));
    }
    let ben = stand.browser_link(BEN);
    stand.take();
    stand.media.serve(BEN, None, true, stand.now_us, &mut stand.outs);
    let outs = stand.take();
    let sent = |slot: u8| -> Vec<u32> {
        let packets = sent_on(&outs, ben).into_iter().filter(|(of, _)| *of == slot);
        packets.map(|(_, packet)| packet.timestamp).collect()
    };
    let newest_us = BEGIN_US + 59 * FRAME_US;
    let (pictures, sounds) = (sent(0), sent(1));
    assert_eq!(pictures.len(), 60);
    assert_eq!(pictures.last(), Some(&timestamp(VIDEO, newest_us)));
    assert!(pictures.windows(2).all(|two| two[1].wrapping_sub(two[0]) == 90), "1 ms apart: {pictures:?}");
    assert_eq!(sounds.last(), Some(&timestamp(MediaKind::Sound, newest_us)));
    assert!((2..=5).contains(&sounds.len()), "{} of 60", sounds.len());
}

#[test]
fn a_page_without_h264_takes_the_program_by_its_sound() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    stand.come(ada, 1, program.sound(BEGIN_US));
    assert_eq!(given(&stand.pass(100 * MS)), [], "elsewhere a program begins with a picture");
    stand.media.program.hears_only = true;
    stand.come(ada, 1, program.sound(stand.now_us));
    assert_eq!(stand.media.program.have(stand.now_us).map(|have| have.stream), Some(program.maker.id));
}

#[test]
fn heads_of_the_parent_feed_a_page_without_h264_while_there_is_no_sound() {
    for hears_only in [true, false] {
        let (mut stand, _, program) = Stand::fed_by_ada(false);
        stand.media.program.hears_only = hears_only;
        stand.media.request_feed(ADA, stand.now_us, &mut stand.outs);
        let mut head = Head { stream: program.maker.id, captured_us: BEGIN_US, ..Head::default() };
        let mut watched = |stand: &mut Stand, goes_on: bool| {
            let mut changes = Vec::new();
            for _ in 0..20 {
                stand.pass(100 * MS);
                head.captured_us += if goes_on { 100 * MS } else { 0 };
                stand.media.arrived(ADA, stand.now_us);
                stand.media.feeders_head(&ADA, &head, stand.now_us, &mut stand.outs);
                let fed = stand.outs.notices.iter().any(|notice| matches!(notice, Notice::Fed(ADA)));
                changes.extend(fed.then_some(None));
                let verdicts = stand.media.watches.verdicts(stand.media.watch_time(stand.now_us), 0);
                changes.extend(verdicts.into_iter().map(|(_, verdict)| Some(verdict)));
            }
            changes
        };
        assert_eq!(watched(&mut stand, true), if hears_only { vec![None] } else { vec![] });
        let stalled = if hears_only { vec![Some(Verdict::Stalled)] } else { vec![] };
        assert_eq!(watched(&mut stand, false), stalled, "the parent itself gets nothing new");
    }
}

#[test]
fn a_child_without_h264_gets_heads_while_pictures_flow() {
    let (mut stand, ada, mut program) = Stand::fed_by_ada(false);
    let children = [(BEN, browser()), (CAT, browser_without_pictures())].map(|(child, description)| {
        let link = stand.link(child, LinkKind::Peer);
        stand.media.links.described(link, &description);
        stand.media.serve(child, None, true, stand.now_us, &mut stand.outs);
        link
    });
    let mut heartbeats = Heartbeats::default();
    let mut heads = [0; 2];
    for at in 0..40 {
        stand.come(ada, 0, program.picture(at == 0, stand.now_us));
        let (media, now_us) = (&stand.media, stand.now_us);
        heartbeats.on_time(media, &Head::default, &|_| false, now_us, &mut stand.outs);
        for (heads, child) in heads.iter_mut().zip(children) {
            let is_head = |out: &&Out| matches!(out, Out::Heartbeat { link, heartbeat: Heartbeat::Head(_) } if *link == child);
            *heads += stand.outs.sends.iter().filter(is_head).count();
        }
        stand.pass(TICK_US);
    }
    assert_eq!(heads, [0, 10], "one each 100 ms, in a second");
}
