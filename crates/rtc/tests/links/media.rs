//! Packets in slots: they arrive unchanged, and a relay changes only the fields that belong to a leg.

use std::mem::swap;

use bytes::Bytes;
use plenary_proto::message::LinkKind;
use plenary_rtc::*;

use crate::support::*;

const LINK: LinkId = LinkId(1);

#[tokio::test]
async fn every_slot_carries_packets_both_ways_unchanged() {
    for (kind, slots) in [(LinkKind::Peer, 6), (LinkKind::Trunk(3), 16)] {
        let (mut a, mut b) = (Peer::new(), Peer::new());
        connect_kind(&mut a, &mut b, LINK, kind).await;
        for slot in 0..slots {
            let sound = slot % 2 == 1;
            let sent = MediaPacket {
                audio_level: sound.then_some(127 - slot),
                // no contributor, some, and the maximum
                contributors: (0..slot.min(15))
                    .filter(|_| sound)
                    .map(|voice| Contributor { csrc: 0xfeed_0000 + u32::from(voice), level: voice * 9 })
                    .collect(),
                key_start: !sound,
                payload: Bytes::from(vec![if sound { 0xfc } else { 0x67 }; 1 + 80 * usize::from(slot)]),
                ..packet(u64::from(slot) + (1 << 47))
            };
            for _ in ["there", "back"] {
                a.forward(LINK, slot, sent.clone());
                assert_eq!(b.packet().await, (slot, sent.clone()), "{kind:?}");
                swap(&mut a, &mut b);
            }
        }
    }
}

#[tokio::test]
async fn key_frames_are_known_by_their_parameter_sets() {
    let (mut a, mut b) = (Peer::new(), Peer::new());
    connect(&mut a, &mut b, LINK).await;
    let rows: [(&str, &[u8], bool); 7] = [
        ("parameter sets alone", &[0x67, 1, 2], true),
        ("aggregated behind a delimiter", &[0x78, 0, 2, 0x09, 0x10, 0, 2, 0x67, 1], true),
        ("aggregated without", &[0x78, 0, 2, 0x06, 5, 0, 2, 0x41, 1], false),
        ("an aggregate cut short", &[0x78, 0, 9, 0x06], false),
        ("a slice", &[0x41, 1, 2], false),
        ("a fragment of a key slice", &[0x7c, 0x85, 1], false),
        ("a picture parameter set", &[0x68, 1], false),
    ];
    for (number, (name, payload, key_start)) in (1..).zip(rows) {
        a.forward(LINK, 0, MediaPacket { payload: Bytes::from_static(payload), ..packet(number) });
        let (_, got) = b.packet().await;
        assert_eq!((got.identity.number, got.key_start), (number, key_start), "{name}");
        a.forward(LINK, 1, MediaPacket { payload: Bytes::from_static(payload), ..packet(number) });
        assert!(!b.packet().await.1.key_start, "sound has no key frames");
    }
}

/// A relay leaves out a packet: its legs must show no gap, or the children would request packets that no peer
/// has.
#[tokio::test]
async fn what_a_relay_leaves_out_is_no_loss_below_it() {
    let (mut source, mut relay) = (Peer::new(), Peer::new());
    let (mut first, mut second) = (Peer::new(), Peer::new());
    let (up, down) = (LinkId(1), [LinkId(2), LinkId(3)]);
    connect(&mut source, &mut relay, up).await;
    connect(&mut relay, &mut first, down[0]).await;
    connect(&mut relay, &mut second, down[1]).await;
    for number in 1..=50 {
        source.forward(up, 0, packet(number));
    }
    for _ in 1..=50 {
        let (_, packet) = relay.packet().await;
        if packet.identity.number % 10 != 0 {
            // the second child receives the packet in another slot
            let to = Destinations::from_iter([(down[0], 0), (down[1], 4)]);
            relay.links.submit(Command::Forward { to, packet });
        }
    }
    let kept: Vec<u64> = (1..=50).filter(|number| number % 10 != 0).collect();
    for (child, slot) in [(&mut first, 0), (&mut second, 4)] {
        for &number in &kept {
            assert_eq!(child.packet().await, (slot, packet(number)));
        }
    }
    for (child, link) in [(&mut first, down[0]), (&mut second, down[1])] {
        assert_eq!(relay.links.stats(link).unwrap().packets_sent, kept.len() as u64);
        assert_eq!(child.links.stats(link).unwrap().repairs_requested, 0);
        assert!(child.arrived.try_recv().is_err(), "nothing came twice");
    }
}

#[tokio::test]
async fn numbers_of_a_leg_wrap_without_anyone_noticing() {
    let (mut a, mut b) = (Peer::new(), Peer::new());
    connect(&mut a, &mut b, LINK).await;
    let mut expected = 1..;
    for number in 1..=66_000_u64 {
        a.forward(LINK, 1, MediaPacket { payload: Bytes::from_static(&[0xfc, 1]), ..packet(number) });
        if number % 250 == 0 {
            for expected in expected.by_ref().take(250) {
                assert_eq!(b.packet().await.1.identity.number, expected);
            }
        }
    }
    assert_eq!(a.links.stats(LINK).unwrap().packets_dropped, 0);
}

#[tokio::test]
async fn either_end_can_ask_for_a_key_frame_before_any_packet_came() {
    let (mut a, mut b) = (Peer::new(), Peer::new());
    connect(&mut a, &mut b, LINK).await;
    for slot in [0, 2, 4] {
        for _ in ["there", "back"] {
            a.links.submit(Command::KeyframeWanted { link: LINK, slot });
            assert_eq!(b.next_arrived().await, Arrived::KeyframeWanted { link: LINK, slot });
            swap(&mut a, &mut b);
        }
    }
}

#[tokio::test]
async fn sender_reports_pass_unchanged() {
    let (mut a, mut b) = (Peer::new(), Peer::new());
    connect(&mut a, &mut b, LINK).await;
    for slot in 0..6 {
        let report = SenderReport { ntp_time: 0x0123_4567_89ab_cdef, rtp_time: 90_000 + u32::from(slot) };
        a.links.submit(Command::SenderReport { to: Destinations::from_iter([(LINK, slot)]), report });
        assert_eq!(b.next_arrived().await, Arrived::Report { link: LINK, slot, report });
    }
}

#[tokio::test]
async fn arrivals_are_counted_from_the_epoch() {
    let (mut a, mut b) = (Peer::new(), Peer::new());
    connect(&mut a, &mut b, LINK).await;
    let mut before = 0;
    for number in 1..=3 {
        a.forward(LINK, 0, packet(number));
        let Arrived::Packet { arrived_us, .. } = b.next_arrived().await else { panic!() };
        assert!(arrived_us > before && arrived_us < PATIENCE.as_micros() as u64, "{arrived_us}");
        before = arrived_us;
    }
}
