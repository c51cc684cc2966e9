//! Seals: what a receiver does when its feeder has changed what it forwards.

use super::*;
use crate::outs::Notice;
use crate::stream::{HOLE_US_MIN, Polled, Stream};

/// Time within which a peer may recall what it sent.
const RECALL_US: u64 = 150 * MS;

/// A viewer in a sealed room, fed by [`BEN`] and then by [`CAT`], relays of a mixer's program.
struct Below {
    stand: Stand,
    program: Source,
    links: [LinkId; 2],
    child: LinkId,
    /// Capture time of the next picture.
    at_us: u64,
}

impl Below {
    fn new(is_page: bool) -> Below {
        let mixer = Keypair::from_seed(&[1; 32]);
        let mut stand = Stand::of(false, is_page, Some(Keypair::from_seed(&[2; 32])));
        stand.media.set_mesh(false);
        stand.media.program.set_in_force(InForce { rank: RANK, mixers: vec![mixer.id()] });
        let mut program = Source::new(mixer.id(), StreamKind::Program);
        program.maker = program.maker.sealed_by(Some(&mixer));
        let links = [BEN, CAT].map(|relay| stand.link(relay, LinkKind::Peer));
        stand.media.watch(Some(BEN), Some(CAT), stand.now_us);
        [BEN, CAT].into_iter().for_each(|relay| stand.follow(relay, 0, &program));
        let child = stand.serve(ADA, None, true);
        let mut below = Below { stand, program, links, child, at_us: BEGIN_US };
        let key = below.next(true);
        below.come(0, key);
        assert_eq!(below.shown(), [BEGIN_US]);
        below
    }

    /// Makes the next picture; every second one is spare.
    fn next(&mut self, key: bool) -> (Frame, Vec<MediaPacket>) {
        let at_us = self.at_us;
        self.at_us += FRAME_US;
        let is_spare = !key && ((at_us - BEGIN_US) / FRAME_US) % 2 == 1;
        if is_spare { self.program.spare_picture(at_us) } else { self.program.picture(key, at_us) }
    }

    /// A picture comes from the first or the second relay.
    fn come(&mut self, relay: usize, picture: (Frame, Vec<MediaPacket>)) {
        self.stand.come(self.links[relay], 0, picture);
    }

    /// Returns the capture times of the pictures for the application.
    fn shown(&mut self) -> Vec<u64> {
        let outs = self.stand.pass(100 * MS);
        given(&outs).into_iter().map(|(_, _, captured_us)| captured_us).collect()
    }
}

/// Changes the last byte of a picture's slice.
fn changed((frame, mut packets): (Frame, Vec<MediaPacket>)) -> (Frame, Vec<MediaPacket>) {
    let original = packets[0].payload.to_vec();
    let tag = original.windows(4).position(|bytes| bytes == b"plen");
    // the identity stands behind the slice, in the same payload: header, length of two bytes, NAL header
    let end = tag.map_or(original.len(), |tag| tag - 3);
    let mut payload = original;
    payload[end - 1] ^= 1;
    packets[0].payload = payload.into();
    (frame, packets)
}

/// Returns the links that are told to forget what they got, and the peers at fault.
fn told(outs: &Outs) -> (Vec<LinkId>, Vec<PeerId>) {
    let recalled = outs.sends.iter().filter_map(|out| match out {
        Out::Control { link, message } => {
            matches!(**message, Message::Media(MediaMessage::Recalled(_))).then_some(*link)
        }
        _ => None,
    });
    let at_fault = outs.notices.iter().filter_map(|notice| match notice {
        Notice::Forged(peer) => Some(*peer),
        _ => None,
    });
    (recalled.collect(), at_fault.collect())
}

#[test]
fn the_maker_s_program_is_shown_whole_behind_a_relay() {
    let mut below = Below::new(false);
    for _ in 0..20 {
        let (at_us, picture) = (below.at_us, below.next(false));
        below.come(0, picture);
        assert_eq!(told(&below.stand.outs), (vec![], vec![]));
        assert_eq!(below.shown(), [at_us]);
    }
}

#[test]
fn a_forged_base_picture_is_not_shown_and_its_sender_has_to_recall_it() {
    for recalls in [false, true] {
        let mut below = Below::new(false);
        let [spare, base] = [below.next(false), below.next(false)];
        below.come(0, spare.clone());
        below.stand.take();
        below.come(0, changed(base.clone()));
        assert_eq!(told(&below.stand.outs), (vec![below.child], vec![]), "children forget it at once");
        let after = below.next(false);
        below.come(0, after.clone());
        if recalls {
            let stream = below.program.maker.id;
            below.stand.media.recalled(BEN, stream, below.stand.now_us, &mut below.stand.outs);
        }
        let outs = below.stand.pass(RECALL_US);
        assert_eq!(told(&outs).1, if recalls { vec![] } else { vec![BEN] });
        assert_eq!(given(&outs).len(), 0);
        // the true pictures come from the one that recalled, or from the backup
        below.stand.media.watch(Some(if recalls { BEN } else { CAT }), None, below.stand.now_us);
        for picture in [spare, base, after] {
            below.come(usize::from(!recalls), picture);
        }
        let outs = below.stand.pass(100 * MS);
        assert_eq!(given(&outs).len(), 3, "recalls: {recalls}");
        assert_eq!(sent_on(&outs, below.child).len(), 3, "the child forgot them, too");
    }
}

#[test]
fn a_forged_spare_picture_is_noticed_at_the_next_base_picture() {
    let mut below = Below::new(false);
    let [spare, base] = [below.next(false), below.next(false)];
    below.come(0, changed(spare.clone()));
    assert_eq!(told(&below.stand.outs), (vec![], vec![]));
    below.come(0, base.clone());
    assert_eq!(told(&below.stand.outs).0, [below.child]);
    assert_eq!(told(&below.stand.pass(RECALL_US)).1, [BEN]);
    below.stand.take();
    below.come(1, spare);
    below.come(1, base);
    assert_eq!(below.shown().len(), 2);
}

#[test]
fn a_cut_picture_is_forged_and_the_true_one_needs_no_keyframe() {
    let mut below = Below::new(false);
    let [spare, base, after] = [(); 3].map(|()| below.next(false));
    below.come(0, spare.clone());
    let (frame, mut cut) = base.clone();
    cut.iter_mut().for_each(|packet| packet.payload.truncate(packet.payload.len() / 2));
    below.come(0, (frame, cut));
    assert_eq!(told(&below.stand.outs).0, [below.child]);
    let outs = below.stand.pass(RECALL_US);
    assert_eq!((told(&outs).1, keys_wanted(&outs)), (vec![BEN], vec![]));
    below.stand.media.watch(Some(CAT), None, below.stand.now_us);
    [spare, base, after].into_iter().for_each(|picture| below.come(1, picture));
    let outs = below.stand.pass(100 * MS);
    assert_eq!((given(&outs).len(), keys_wanted(&outs)), (3, vec![]));
}

#[test]
fn the_next_feeder_is_not_blamed_for_pictures_of_a_forger_of_sound() {
    let mut below = Below::new(false);
    let [spare, base] = [below.next(false), below.next(false)];
    below.come(0, changed(spare.clone()));
    for _ in 0..8 {
        let data = Bytes::from([&[0xf8][..], &[7; 40]].concat());
        let kind = MediaKind::Sound;
        let made = Encoded { kind, data, captured_us: below.at_us, key: false, temporal: 0, level: None };
        let (frame, mut sound) = below.program.maker.make(&made, &Contributors::new()).unwrap();
        let mut payload = sound[0].payload.to_vec();
        payload[10] ^= 1;
        sound[0].payload = payload.into();
        below.stand.come(below.links[0], 1, (frame, sound));
    }
    assert_eq!(told(&below.stand.outs), (vec![below.child], vec![]), "the sound's seal doesn't fit");
    assert_eq!(told(&below.stand.pass(RECALL_US)).1, [BEN]);
    below.stand.media.watch(Some(CAT), None, below.stand.now_us);
    below.come(1, spare);
    below.come(1, base);
    assert_eq!(told(&below.stand.outs), (vec![], vec![]));
    let outs = below.stand.pass(RECALL_US);
    assert_eq!((given(&outs).len(), sent_on(&outs, below.child).len(), told(&outs).1), (2, 2, vec![]));
}

#[test]
fn packets_of_a_relay_are_checked_also_when_their_stream_is_taken_over() {
    let mut below = Below::new(false);
    let key = below.next(true);
    let forged = changed(key);
    let new = || {
        let Maker { id, spec, .. } = below.program.maker;
        Stream::new(id, spec, [HOLE_US_MIN; 2], BEGIN_US).checked(Some(ROOM))
    };
    let (mut known, mut taken) = (new(), new());
    for packet in &forged.1 {
        known.push(MediaKind::Video, packet, (LinkId(1), false), BEGIN_US);
    }
    taken.take_since(&known, 0, BEGIN_US);
    assert_eq!(taken.poll(MediaKind::Video, BEGIN_US), Some(Polled::Forged));
}

#[test]
fn nothing_more_is_taken_or_forwarded_of_what_a_forger_sends() {
    let mut below = Below::new(false);
    let forged = below.next(false);
    let forged = [forged, below.next(false)].map(changed);
    forged.into_iter().for_each(|picture| below.come(0, picture));
    below.stand.take();
    for _ in 0..30 {
        let picture = below.next(false);
        below.come(0, picture);
        let outs = below.stand.pass(FRAME_US);
        assert_eq!((sent_on(&outs, below.child).len(), given(&outs).len()), (0, 0));
    }
}

#[test]
fn a_page_s_browser_decodes_no_base_picture_that_the_maker_has_not_made() {
    let mut below = Below::new(true);
    let frame = |below: &mut Below, data: Bytes| {
        let (link, now_us) = (below.links[0], below.stand.now_us);
        below.stand.media.frame((link, 0), (data, None, &[]), now_us, &mut below.stand.outs)
    };
    let [(spare, _), (base, _)] = [below.next(false), below.next(false)];
    assert!(frame(&mut below, spare.data) && frame(&mut below, base.data));
    let [(spare, _), (base, _)] = [below.next(false), below.next(false)];
    assert!(frame(&mut below, spare.data));
    let mut data = base.data.to_vec();
    data[START_CODE_LEN + 2] ^= 1;
    assert!(!frame(&mut below, data.into()));
    assert!(!frame(&mut below, base.data), "nor what comes from the same peer next");
    assert_eq!(told(&below.stand.pass(RECALL_US)).1, [BEN]);
}

#[test]
fn a_page_s_browser_decodes_no_frame_twice_by_one_link_whatever_it_shows() {
    let mut below = Below::new(true);
    let frame = |below: &mut Below, relay: usize, data: &Bytes| {
        let (link, now_us) = (below.links[relay], below.stand.now_us);
        below.stand.media.frame((link, 0), (data.clone(), None, &[]), now_us, &mut below.stand.outs)
    };
    let [(spare, _), (base, _)] = [below.next(false), below.next(false)];
    assert!(frame(&mut below, 0, &spare.data) && frame(&mut below, 0, &base.data));
    let mut other = spare.data.to_vec();
    other[START_CODE_LEN + 2] ^= 1;
    for repeated in [&spare.data, &base.data, &other.into()] {
        assert!(!frame(&mut below, 0, repeated));
    }
    let later: Vec<_> = (0..80).map(|_| below.next(false).0).collect();
    let (missing, others) = later.split_first().unwrap();
    assert!(others.iter().all(|picture| frame(&mut below, 0, &picture.data)));
    assert!(!frame(&mut below, 0, &missing.data), "an old one, though it comes for the first time");
}
