//! Messages: each channel keeps its delivery guarantee and its queue limit.

use std::mem::swap;
use std::time::Duration;

use bytes::Bytes;
use plenary_rtc::*;
use tokio::time::sleep;

use crate::support::*;

const LINK: LinkId = LinkId(1);

#[tokio::test]
async fn all_channels_carry_their_longest_message_both_ways() {
    let (mut a, mut b) = (Peer::new(), Peer::new());
    connect(&mut a, &mut b, LINK).await;
    for channel in Channel::ALL {
        for len in [1, channel.message_len_max()] {
            let message = Bytes::from(vec![len as u8; len]);
            for _ in ["there", "back"] {
                a.send(LINK, channel, message.clone());
                assert_eq!(b.received().await, (LINK, channel, message.clone()));
                swap(&mut a, &mut b);
            }
        }
    }
}

#[tokio::test]
async fn a_message_that_is_too_long_ends_the_link_unless_it_is_a_heartbeat() {
    let (mut a, mut b) = (Peer::new(), Peer::new());
    for (link, channel) in (1..).map(LinkId).zip(Channel::ALL) {
        connect(&mut a, &mut b, link).await;
        a.send(link, channel, vec![0; channel.message_len_max() + 1]);
        if channel == Channel::Heartbeat {
            a.send(link, channel, "next");
            assert_eq!(b.received().await, (link, channel, Bytes::from_static(b"next")));
        } else {
            assert_eq!(a.down(link).await, DownReason::MessageTooLong(channel));
            b.down(link).await;
        }
    }
}

#[tokio::test]
async fn messages_wait_for_the_link_and_arrive_in_order() {
    let (mut a, mut b) = (Peer::new(), Peer::new());
    let kind = plenary_proto::message::LinkKind::Peer;
    a.links.submit(Command::Offer { link: LINK, kind, is_stranger: false });
    for number in 0..50_u8 {
        a.send(LINK, Channel::Control, vec![number; 1 + usize::from(number) * 300]);
    }
    let offer = a.described(LINK).await;
    b.links.submit(Command::Answer { link: LINK, kind, offer, is_stranger: false });
    let answer = b.described(LINK).await;
    a.links.submit(Command::Accept { link: LINK, answer });
    for number in 0..50_u8 {
        let (_, channel, bytes) = b.received().await;
        assert_eq!(
            (channel, bytes.len(), bytes[0]),
            (Channel::Control, 1 + usize::from(number) * 300, number)
        );
    }
}

#[tokio::test]
async fn what_was_said_before_closing_arrives() {
    let shaper = Shaper::new(1);
    shaper.set(Shape { delay_us: 20_000, loss_ppm: 0, rate_bps: 0 });
    let (mut a, mut b) = (Peer::shaped(&shaper), Peer::new());
    connect(&mut a, &mut b, LINK).await;
    for number in 0..20_u8 {
        a.send(LINK, Channel::Control, vec![number; 16_000]);
    }
    a.links.submit(Command::Close { link: LINK });
    a.send(LINK, Channel::Control, "too late");
    for number in 0..20_u8 {
        assert_eq!(b.received().await.2[0], number);
    }
    assert_eq!(b.down(LINK).await, DownReason::ClosedByPeer);
}

#[tokio::test]
async fn a_link_that_is_closed_while_we_send_says_who_closed_it() {
    let (mut a, mut b) = (Peer::new(), Peer::new());
    for link in (1..=10).map(LinkId) {
        connect(&mut a, &mut b, link).await;
        for _ in 0..30 {
            a.send(link, Channel::Control, vec![0; 16_000]);
            a.send(link, Channel::Heartbeat, vec![0; 100]);
            tokio::task::yield_now().await;
        }
        b.links.submit(Command::Close { link });
        for _ in 0..30 {
            a.send(link, Channel::Control, vec![0; 16_000]);
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(a.down(link).await, DownReason::ClosedByPeer);
        assert_eq!(b.down(link).await, DownReason::Closed);
    }
}

#[tokio::test]
async fn control_that_the_other_end_does_not_take_ends_the_link() {
    let shaper = Shaper::new(1);
    let (mut a, mut b) = (Peer::new(), Peer::shaped(&shaper));
    connect(&mut a, &mut b, LINK).await;
    shaper.kill();
    // fills the stack's buffer, then the queue of this crate: about 2 MiB
    for _ in 0..400 {
        a.send(LINK, Channel::Control, vec![0; 16_000]);
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(a.down(LINK).await, DownReason::Overflow(Channel::Control));
}

#[tokio::test]
async fn heartbeats_that_find_no_room_are_dropped_and_the_link_lives_on() {
    let (mut a, mut b) = (Peer::new(), Peer::new());
    connect(&mut a, &mut b, LINK).await;
    for number in 0..2_000_u16 {
        a.send(LINK, Channel::Heartbeat, number.to_be_bytes().to_vec());
    }
    a.send(LINK, Channel::Control, "done");
    let mut heartbeats = 0;
    while b.received().await.1 == Channel::Heartbeat {
        heartbeats += 1;
    }
    assert!(heartbeats < 2_000, "without a pause in between, the queue of 16 KiB must have run over");
}

/// Sends 20 MB, paced only by `bulk_room`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_flows_as_fast_as_the_other_end_takes_it() {
    const MESSAGES: u32 = 400;
    let (mut a, mut b) = (Peer::new(), Peer::new());
    connect(&mut a, &mut b, LINK).await;
    let sender = tokio::spawn(async move {
        let mut drained = 0;
        for number in 0..MESSAGES {
            let mut message = vec![number as u8; 50_000];
            message[..4].copy_from_slice(&number.to_be_bytes());
            while a.links.bulk_room(LINK) < message.len() {
                a.until(|event| matches!(event, Event::BulkDrained { link: LINK }).then_some(())).await;
                drained += 1;
            }
            a.send(LINK, Channel::Bulk, message);
        }
        (a, drained)
    });
    for number in 0..MESSAGES {
        let (_, channel, bytes) = b.received().await;
        assert_eq!((channel, bytes.len()), (Channel::Bulk, 50_000));
        assert_eq!(bytes[..4], number.to_be_bytes());
        assert!(bytes[4..].iter().all(|&byte| byte == number as u8));
    }
    let (_a, drained) = sender.await.unwrap();
    assert!(drained > 0, "20 MB do not fit a queue of 1 MiB");
}
