//! ICE restarts of links that are up, while media flows.

use std::time::{Duration, Instant};

use plenary_proto::app::Way;
use plenary_proto::message::IceRestart;
use plenary_rtc::*;
use tokio::time::sleep;

use crate::relayed::{talk, way};
use crate::support::*;
use crate::tunnels::{CARRIED, Carrier, begin, carried, ends_with_firewalls};

const LINK: LinkId = LinkId(1);

fn restart_of(event: Event, of: LinkId) -> Option<Box<IceRestart>> {
    match event {
        Event::IceRestart { link, restart } if link == of => Some(restart),
        Event::Down { link, reason } if link == of => panic!("{link}: {reason}"),
        _ => None,
    }
}

/// Restarts ICE at the first peer, and takes what each end tells to the other.
async fn restart(a: &mut Peer, b: &mut Peer, link: LinkId) {
    a.links.restart(link);
    let asked = a.until(|event| restart_of(event, link)).await;
    b.links.submit(Command::IceRestart { link, restart: asked });
    let answer = b.until(|event| restart_of(event, link)).await;
    a.links.submit(Command::IceRestart { link, restart: answer });
}

async fn moved(peer: &mut Peer, link: LinkId) -> bool {
    peer.until(|event| match event {
        Event::Carried { link: of, is_carried } if of == link => Some(is_carried),
        _ => None,
    })
    .await
}

/// Sends packets for a time. Returns how many arrived, and the longest time without any.
async fn stream(a: &Peer, b: &mut Peer, link: LinkId, count: u64) -> (u64, Duration) {
    let (mut last, mut longest, mut arrived) = (Instant::now(), Duration::ZERO, 0);
    for number in 1..=count {
        a.forward(link, 0, MediaPacket { key_start: true, ..packet(number) });
        sleep(Duration::from_millis(5)).await;
        while let Ok(got) = b.arrived.try_recv() {
            if matches!(got, Arrived::Packet { .. }) {
                arrived += 1;
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
        }
    }
    (arrived, longest)
}

#[tokio::test]
async fn a_restart_costs_a_link_nothing() {
    let (mut a, mut b) = (Peer::new(), Peer::new());
    connect(&mut a, &mut b, LINK).await;
    talk(&mut a, &mut b, LINK).await;
    for _ in 0..3 {
        restart(&mut a, &mut b, LINK).await;
        let (arrived, longest) = stream(&a, &mut b, LINK, 100).await;
        println!("{arrived} of 100, longest gap {longest:?}");
        assert!(arrived >= 99 && longest < Duration::from_millis(500), "{arrived}, {longest:?}");
        assert_eq!([moved(&mut a, LINK).await, moved(&mut b, LINK).await], [false; 2]);
        std::mem::swap(&mut a, &mut b);
    }
    talk(&mut a, &mut b, LINK).await;
}

#[tokio::test]
async fn a_carried_link_goes_over_to_the_direct_way_without_a_gap() {
    let mut carrier = Carrier::new(1, on_loopback());
    let ([mut a, mut b], firewalls) = ends_with_firewalls(&mut [&mut carrier]).await;
    begin(&mut a, &mut b).await;
    carrier.carries([&a, &b]);
    carried(&mut a, &mut b).await;
    talk(&mut a, &mut b, CARRIED).await;
    // still there is no other way
    restart(&mut a, &mut b, CARRIED).await;
    let (arrived, longest) = stream(&a, &mut b, CARRIED, 100).await;
    assert!(arrived >= 99 && longest < Duration::from_millis(500), "{arrived}, {longest:?}");
    assert_eq!(way(&a, CARRIED), Way::Carried);
    sleep(Duration::from_secs(6)).await; // that restart is given up
    firewalls.iter().for_each(|firewall| firewall.reach_only(Vec::new()));
    restart(&mut a, &mut b, CARRIED).await;
    let (arrived, longest) = stream(&a, &mut b, CARRIED, 100).await;
    println!("{arrived} of 100, longest gap {longest:?}");
    assert!(arrived >= 99 && longest < Duration::from_millis(500), "{arrived}, {longest:?}");
    assert_eq!([moved(&mut a, CARRIED).await, moved(&mut b, CARRIED).await], [false; 2]);
    assert_eq!([way(&a, CARRIED), way(&b, CARRIED)], [Way::Direct; 2]);
    carrier.shaper.kill();
    talk(&mut a, &mut b, CARRIED).await;
}
