//! Guests that send notices of other versions, and envelopes of other versions and clocks, without end.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use plenary::{Error, Identity, Invite, Options, Room, RoomEvent};
use plenary_proto::PeerId;
use plenary_proto::seal::{Keypair, RoomSecret, Sealer, counter_at};
use plenary_signal::{
    Address, Doors, Rendezvous, RendezvousConfig, Signal as _, WebsocketConfig, WebsocketSignal,
};
use tokio::task::JoinHandle;

use crate::support::*;

/// A notice of version 77, and a message of version 9.
const NOTICE: [u8; 2] = [0, 77];
const MESSAGE: [u8; 2] = [9, 9];

fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A guest that sends these bytes to a peer, or to the host, each some milliseconds, by a clock that is late.
struct Pest {
    to: Option<PeerId>,
    bytes: [u8; 2],
    each_ms: u64,
    late_s: u64,
}

impl Pest {
    fn starts(self, invite: &Invite) -> JoinHandle<()> {
        let (me, key) = (Keypair::from_seed(&Identity::generate().seed()), invite.key(None).unwrap());
        let url = invite.rendezvous().unwrap();
        let config = WebsocketConfig::new(url, invite.room(), me.clone(), key.door());
        let signal = Arc::new(WebsocketSignal::connect(config).unwrap());
        let mut sealer = Sealer::new(me, key, counter_at(unix_s() * 1_000_000));
        let Pest { to, bytes, each_ms, late_s } = self;
        tokio::spawn(async move {
            let reads = signal.clone();
            let reading = async move { while reads.next().await.is_some() {} };
            let sending = async move {
                let mut nonce = [0; 24];
                for number in 0u64.. {
                    nonce[..8].copy_from_slice(&number.to_be_bytes());
                    let sealed = sealer.seal(to, &bytes, unix_s() - late_s, nonce).unwrap();
                    // what the rendezvous does not take is sent again
                    let _ = signal.send(to.map_or(Address::Host, Address::Peer), sealed.into());
                    tokio::time::sleep(Duration::from_millis(each_ms)).await;
                }
            };
            tokio::join!(reading, sending);
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_s_notices_keep_nobody_out() {
    let ada = host(quick(Options::speaker("Ada"))).await;
    let ben = Identity::generate();
    let pest =
        Pest { to: Some(ben.peer()), bytes: NOTICE, each_ms: 5, late_s: 0 }.starts(&ada.invite().unwrap());
    tokio::time::sleep(Duration::from_secs(1)).await;
    for _ in 0..4 {
        join(&ada, quick(Options::viewer("Ben")).identity(Some(ben.clone()))).await.close().await;
    }
    pest.abort();
    ada.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_is_the_reason_if_the_host_answers_nothing() {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let rendezvous = Rendezvous::bind(address, RendezvousConfig::default()).unwrap();
    let url = format!("http://{}", rendezvous.local_addr());
    let (root, host) = (Keypair::from_seed(&[1; 32]), Identity::generate());
    let secret = (0, RoomSecret([8; 16]));
    let invite = Invite::create(&root, secret, None, true, Some(url), &[], u64::MAX);
    let doors = Doors::truncated([invite.key(None).unwrap().door().id()]);
    let _silent = rendezvous.attach_host(invite.room(), host.peer(), doors).unwrap();
    let zoe = Identity::generate();
    let options = || quick(Options::viewer("Zoe")).patience(Duration::from_secs(2));
    let told = options().identity(Some(zoe.clone()));
    let pest = Pest { to: Some(zoe.peer()), bytes: NOTICE, each_ms: 50, late_s: 0 }.starts(&invite);
    let (told, untold) = tokio::join!(Room::join(&invite, told), Room::join(&invite, options()));
    assert!(matches!(told, Err(Error::OtherVersion(77))), "{told:?}");
    assert!(matches!(untold, Err(Error::NoAnswer { .. })), "{untold:?}");
    pest.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_other_versions_and_clocks_is_told_once_a_second() {
    let ada = host(quick(Options::speaker("Ada"))).await;
    let mut events = ada.events();
    let pests = [(MESSAGE, 0), (MESSAGE, 0), (NOTICE, 0), (NOTICE, 4000), (NOTICE, 4000)];
    let pests = pests.map(|(bytes, late_s)| Pest { to: None, bytes, each_ms: 5, late_s });
    let pests = pests.map(|pest| pest.starts(&ada.invite().unwrap()));
    let (mut versions, mut clocks) = (0, 0);
    let _ = tokio::time::timeout(Duration::from_secs(5), async {
        while let Some(event) = events.next().await {
            versions += u32::from(matches!(event, RoomEvent::OtherVersion { .. }));
            clocks += u32::from(matches!(event, RoomEvent::OtherClock));
        }
    })
    .await;
    pests.iter().for_each(JoinHandle::abort);
    println!("in 5 s: {versions} of other versions, {clocks} of other clocks");
    // one when they start, and one a second: of messages, and of notices
    assert!((1..=12).contains(&versions) && (1..=6).contains(&clocks));
    ada.close().await;
}
