//! A room of twenty real peers with an attacker of each kind in it, for ten minutes (docs/SECURITY.md).

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use plenary::testing::Testing;
use plenary::{
    Consent, HostOptions, Identity, MixPolicy, Options, ProgramFormat, ReceptionStats, Room, RoomEvent,
};
use plenary_media::source::TestSource;
use plenary_proto::seal::{Invite, Keypair};
use plenary_proto::{PeerId, Time};
use plenary_rtc::Raw;
use plenary_rtc::raw::{chain, chunk};
use plenary_sim::attackers::flooders::{Flood, Flooder};
use plenary_sim::attackers::loopers::Looper;
use plenary_sim::attackers::replayers::Replayer;
use plenary_sim::attackers::squatters::Squatter;
use plenary_sim::attackers::talkers::Talker;
use plenary_sim::attackers::{Boaster, Climber};
use plenary_sim::deviation::Deviation;
use plenary_testkit::hostile::{forgeries, keyframe};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};

use crate::hostile_peer::{HostilePeer, random, unix_s};

/// How long the attacks last; `PLENARY_SIEGE_S` says otherwise.
const SIEGE_S: u64 = 600;
/// Relays below the mixer that forge what they forward.
const FORGERS: usize = 2;
const PICTURE: ProgramFormat = ProgramFormat { width: 320, height: 180, fps: 15, bitrate_bps: 300_000 };
/// The host, two mixers, two further speakers, and viewers.
const PEERS: usize = 20;
const VIEWERS_FROM: usize = 5;
/// Time for which one attacker of a kind goes on before the next one comes.
const TURN: Duration = Duration::from_secs(20);
/// Wait between two attackers of a kind.
const PAUSE: Duration = Duration::from_secs(3);
/// Limit on hanging.
const PATIENCE: Duration = Duration::from_secs(90);
/// Least share of the pictures that reach those who don't attack.
const SHARE_MIN: f64 = 0.995;

/// What attackers know.
struct Target {
    invite: Invite,
    everyone: Vec<PeerId>,
    turn: AtomicUsize,
}

impl Target {
    /// The rendezvous' address.
    fn rendezvous(&self) -> SocketAddr {
        self.invite.rendezvous().unwrap().strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// Returns the next of some ways to attack.
    fn next<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[self.turn.fetch_add(1, Ordering::Relaxed) % of.len()]
    }

    /// Lets a peer deviate for a turn; returns whether it had a link.
    async fn deviate(&self, consent: Consent, deviation: impl FnOnce(Keypair) -> Box<dyn Deviation>) -> bool {
        let keys = Keypair::from_seed(&random());
        let deviation = deviation(keys.clone());
        let mut peer = HostilePeer::deviating(&self.invite, keys, consent, deviation);
        peer.run_for(TURN).await;
        peer.links_made() > 0
    }

    async fn join(&self, options: Options) -> Room {
        join(&self.invite, options).await
    }
}

/// One attack; returns whether it got as far as it may.
type Attack = fn(Arc<Target>) -> BoxFuture<'static, bool>;

/// All attacks, by name.
const ATTACKS: [(&str, Attack); 16] = [
    ("garbage on the control channel", |target| {
        Box::pin(async move {
            let mut peer = HostilePeer::join(&target.invite).await;
            let link = peer.link();
            for _ in 0..8 {
                peer.write_all(link, &[random::<200>().to_vec()]).await;
            }
            peer.until_dropped(link).await;
            true
        })
    }),
    ("no proof of its id", |target| {
        Box::pin(async move {
            HostilePeer::first_message(&target.invite, 4).await;
            true
        })
    }),
    ("chunks that no honest end sends", |target| {
        Box::pin(async move {
            let leap = |tsn: u32| chunk(192, 0, &tsn.wrapping_add(0x7fff_fff0).to_be_bytes());
            let makes: [fn(u32) -> Vec<u8>; 3] =
                [leap, |_| chunk(6, 0, &[0, 1, 0xff, 0xff]), |_| vec![0, 3, 1, 0]];
            let mut peer = HostilePeer::join(&target.invite).await;
            peer.send_raw(peer.link(), Raw::Chunks(Box::new(*target.next(&makes))));
            peer.until_dropped(peer.link()).await;
            true
        })
    }),
    ("plain handshake records", |target| {
        Box::pin(async move {
            let mut peer = HostilePeer::join(&target.invite).await;
            for datagram in (5..9).flat_map(chain) {
                peer.send_raw(peer.link(), Raw::Datagram(datagram.into()));
                tokio::task::yield_now().await;
            }
            peer.run_for(Duration::from_secs(2)).await;
            true
        })
    }),
    ("floods of what any peer may send", |target| {
        Box::pin(async move {
            let flood = *target.next(&[Flood::Requests, Flood::Outcomes, Flood::Beats]);
            let room = target.invite.room();
            target.deviate(Consent::Never, |keys| Box::new(Flooder::new(keys, room, flood, Time(0)))).await
        })
    }),
    ("data of candidates beyond their shares", |target| {
        Box::pin(async move {
            let room = target.invite.room();
            target.deviate(Consent::Always, |keys| Box::new(Talker::new(keys, room, Time(0), unix_s()))).await
        })
    }),
    ("statements sent again", |target| {
        Box::pin(async move {
            let everyone = target.everyone.clone();
            target.deviate(Consent::Never, |_| Box::new(Replayer::new(everyone, Time(0)))).await
        })
    }),
    ("envelopes that go round", |target| {
        Box::pin(async move {
            let to = target.everyone[0];
            target.deviate(Consent::Never, |keys| Box::new(Looper::new(keys.id(), to, Time(0)))).await
        })
    }),
    ("a place high in the tree, and nothing forwarded", |target| {
        Box::pin(async move { target.deviate(Consent::Never, |_| Box::new(Climber)).await })
    }),
    ("claims of a faster machine", |target| {
        Box::pin(async move { target.deviate(Consent::Always, |_| Box::new(Boaster)).await })
    }),
    ("a relay that forges", |target| {
        Box::pin(async move {
            let begins = Arc::new(AtomicBool::default());
            let mut forgeries = forgeries(&begins);
            let at = target.turn.fetch_add(1, Ordering::Relaxed) % forgeries.len();
            let mut options = Options::viewer("Mallory");
            options.testing.forge = Some(forgeries.swap_remove(at).1);
            let room = target.join(options).await;
            let placed = timeout(TURN, room.watch().wait_for(|relay| relay.parent.is_some())).await.is_ok();
            begins.store(true, Ordering::Relaxed);
            sleep(TURN).await;
            room.close().await;
            placed
        })
    }),
    ("a speaker of huge pictures", |target| {
        Box::pin(async move {
            let room = target.join(Options::speaker("Mallory").mix(Consent::Never)).await;
            let Ok(Ok(track)) = timeout(TURN, room.publish_encoded()).await else { return false };
            for at in 0..TURN.as_millis() as u64 / 100 {
                let pushed = track.push_picture(keyframe((256, 144), 5_000), true, room.clock().now_us());
                if pushed.is_err() {
                    break; // the room is closed
                }
                if at % 10 == 0 {
                    // also wishes to speak, again and again
                    let _ = timeout(Duration::from_secs(1), room.speak(at % 20 == 0)).await;
                }
                sleep(Duration::from_millis(100)).await;
            }
            room.close().await;
            true
        })
    }),
    ("guests that look like the host", |target| {
        Box::pin(async move {
            let name = *target.next(&["Ada", "Аda", "Ada (host)", "ada"]);
            let room = target.join(Options::viewer(name)).await;
            for at in 0..20 {
                let _ = timeout(Duration::from_secs(1), room.speak(at % 2 == 0)).await;
            }
            room.close().await;
            true
        })
    }),
    ("made-up ids that join", |target| {
        Box::pin(async move {
            let until = Instant::now() + TURN;
            while Instant::now() < until {
                let mut peer = HostilePeer::deviating(
                    &target.invite,
                    Keypair::from_seed(&random()),
                    Consent::Always,
                    Box::new(Boaster),
                );
                peer.run_for(Duration::from_millis(300)).await;
            }
            true
        })
    }),
    ("strangers at the rendezvous", |target| {
        Box::pin(async move {
            let mut held = Vec::new();
            for at in 0..100 {
                let Ok(mut tcp) = TcpStream::connect(target.rendezvous()).await else { continue };
                let begun = ["GET / HTTP/1.1\r\nHost: a\r\nX-Endless: ", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"];
                let _ = tcp.write_all(begun[at % 2].as_bytes()).await;
                let _ = tcp.write_all(&[b'x'; 4096]).await;
                held.push(tcp);
                sleep(Duration::from_millis(100)).await;
            }
            !held.is_empty()
        })
    }),
    ("requests to STUN without end", |target| {
        Box::pin(async move {
            let socket = UdpSocket::bind("127.0.0.99:0").unwrap();
            let request = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &random::<12>()].concat();
            for _ in 0..TURN.as_millis() / 20 {
                for _ in 0..20 {
                    let _ = socket.send_to(&request, target.rendezvous());
                }
                sleep(Duration::from_millis(20)).await;
            }
            true
        })
    }),
];

/// What an honest peer has noticed.
#[derive(Default)]
struct Noticed {
    parents: Vec<(Duration, Option<PeerId>)>,
    faults: Vec<PeerId>,
    /// Whatever must not happen.
    losses: Vec<String>,
}

async fn join(invite: &Invite, options: Options) -> Room {
    timeout(PATIENCE, Room::join(invite, local(options))).await.unwrap().unwrap()
}

fn local(options: Options) -> Options {
    let testing = Testing { bench: Some((4_000, 1_000)), ..options.testing.clone() };
    options.bind(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]).picture_max(Some(PICTURE)).testing(testing)
}

/// Collects what a peer notices until the room is closed.
fn notice(room: &Room, honest: &Arc<BTreeSet<PeerId>>) -> Arc<Mutex<Noticed>> {
    let (noticed, honest, mut events) = (Arc::<Mutex<Noticed>>::default(), honest.clone(), room.events());
    let (into, begun) = (noticed.clone(), Instant::now());
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            let mut into = into.lock().unwrap();
            match event {
                RoomEvent::Parent { peer: parent } => into.parents.push((begun.elapsed(), parent)),
                RoomEvent::PeerMisbehaved { peer, .. } => into.faults.push(peer),
                RoomEvent::Left { peer, .. } if honest.contains(&peer) => {
                    into.losses.push(format!("{peer:?} left"))
                }
                RoomEvent::Elected { .. }
                | RoomEvent::Failover { .. }
                | RoomEvent::NoMixer
                | RoomEvent::Closed { .. } => into.losses.push(format!("{event:?}")),
                _ => {}
            }
        }
    });
    noticed
}

/// Opens the room: the host, squatters that come right after it, the stage, relays that forge once `begins` is set, and
/// viewers. Returns the room's peers, the forgers, and what attackers know.
async fn open(attackers: &Runtime, begins: &Arc<AtomicBool>) -> (Vec<Room>, Vec<Room>, Arc<Target>) {
    let identities: Vec<_> = (0..PEERS).map(|_| Identity::generate()).collect();
    let everyone: Vec<_> = identities.iter().map(Identity::peer).collect();
    let (mut rooms, mut forgers): (Vec<Room>, Vec<Room>) = (Vec::new(), Vec::new());
    let mut target = None;
    for (at, identity) in identities.into_iter().enumerate() {
        let options = match at {
            0 => Options::speaker("Ada").mix(Consent::Never),
            1 | 2 => Options::mixer(&format!("Mixer {at}")),
            3 | 4 => Options::speaker(&format!("Speaker {at}")).mix(Consent::Never),
            _ => Options::viewer(&format!("Viewer {at}")),
        };
        let options = options.identity(Some(identity));
        let room = match rooms.first() {
            None => {
                let listen = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
                let host = HostOptions::default().listen(listen).program(PICTURE).k1(4).k(4);
                // whoever may come to an open stage measures there, and so brings about elections
                let host = host.mixing(Some(MixPolicy::Named)).members(everyone[1..VIEWERS_FROM].to_vec());
                Room::host(local(options), host).await.unwrap()
            }
            Some(host) => join(&host.invite().unwrap(), options).await,
        };
        if [0, 3, 4].contains(&at) {
            let source = TestSource::new(at as u8, PICTURE.width, PICTURE.height, PICTURE.fps);
            room.publish(Box::new(source)).await.unwrap().detach();
        }
        if at == 0 {
            let of = Target {
                invite: room.invite().unwrap(),
                everyone: everyone.clone(),
                turn: AtomicUsize::new(0),
            };
            target = Some(Arc::new(of));
            squat(attackers, &room.invite().unwrap(), &everyone);
            sleep(Duration::from_secs(1)).await;
        }
        if at + 1 == VIEWERS_FROM {
            for (_, forge) in forgeries(begins).into_iter().take(FORGERS) {
                let mut options = Options::viewer("Mallory");
                options.testing.forge = Some(forge);
                let forger = join(&rooms[0].invite().unwrap(), options).await;
                let placed = forger.watch().wait_for(|relay| relay.depth == Some(1)).await.is_ok();
                assert!(placed, "a forger's place below the mixer");
                forgers.push(forger);
            }
        }
        rooms.push(room);
    }
    (rooms, forgers, target.unwrap())
}

/// Two ids of one owner come to the stage, wait there, and say every five seconds that they have decided.
fn squat(attackers: &Runtime, invite: &Invite, everyone: &[PeerId]) {
    let keys = [random(), random()].map(|seed| Keypair::from_seed(&seed));
    let squatter = Squatter::of(invite.room(), keys.to_vec(), everyone.to_vec(), Time(0));
    for keys in keys {
        let (squatter, invite) = (squatter.clone(), invite.clone());
        attackers.spawn(async move {
            loop {
                let deviation = Box::new(squatter.clone());
                let mut peer = HostilePeer::deviating(&invite, keys.clone(), Consent::Always, deviation);
                peer.run_for(Duration::from_secs(3_600)).await;
                sleep(PAUSE).await;
            }
        });
    }
}

/// Pictures that viewers got, and those expected.
fn counted(rooms: &[Room]) -> (u64, u64) {
    let sum = |of: fn(&ReceptionStats) -> u64| rooms.iter().map(|room| of(&room.reception())).sum();
    (sum(|stats| stats.frames_received), sum(|stats| stats.frames_expected))
}

#[test]
#[ignore = "ten minutes; nightly"]
fn a_room_of_twenty_goes_on_among_an_attacker_of_each_kind() {
    let siege_s = std::env::var("PLENARY_SIEGE_S").map_or(SIEGE_S, |text| text.parse().unwrap());
    let attackers = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let defenders = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    defenders.block_on(async {
        let begins = Arc::new(AtomicBool::default());
        let (rooms, forgers, target) = open(&attackers, &begins).await;
        let viewers = &rooms[VIEWERS_FROM..];
        for room in viewers {
            timeout(PATIENCE, room.watch().wait_for(|viewer| viewer.parent.is_some()))
                .await
                .unwrap()
                .unwrap();
        }
        let stage = rooms[0].watch();
        let is_calm = |host: &plenary::RoomSnapshot| !host.standbys.is_empty();
        timeout(PATIENCE, stage.clone().wait_for(is_calm)).await.unwrap().unwrap();
        sleep(Duration::from_secs(5)).await;
        let below = forgers.iter().map(|forger| forger.snapshot().children.len()).sum::<usize>();
        assert!(below > 0, "nobody is below a forger");
        let honest: Arc<BTreeSet<_>> = Arc::new(target.everyone.iter().copied().collect());
        let ranks =
            || rooms.iter().map(|room| (room.snapshot().rank, room.snapshot().mixers)).collect::<Vec<_>>();
        let (noticed, before, rank) =
            (rooms.iter().map(|room| notice(room, &honest)).collect::<Vec<_>>(), counted(viewers), ranks());
        let first: Vec<_> = viewers.iter().map(|viewer| viewer.snapshot().parent).collect();
        let got_in: Arc<Vec<AtomicUsize>> = Arc::new(ATTACKS.iter().map(|_| AtomicUsize::new(0)).collect());
        for (at, (name, attack)) in ATTACKS.iter().enumerate() {
            let (target, got_in) = (target.clone(), got_in.clone());
            attackers.spawn(async move {
                sleep(Duration::from_millis(500 * at as u64)).await; // not all at the same instant
                loop {
                    // a room that keeps an attacker out makes it panic
                    match tokio::spawn(attack(target.clone())).await {
                        Ok(true) => drop(got_in[at].fetch_add(1, Ordering::Relaxed)),
                        Ok(false) => {}
                        Err(why) => println!("{name}: {why}"),
                    }
                    sleep(PAUSE).await;
                }
            });
        }
        begins.store(true, Ordering::Relaxed);
        sleep(Duration::from_secs(siege_s)).await;

        let (after, mut changes, mut lost) = (counted(viewers), 0, 0);
        let (received, expected) = (after.0 - before.0, after.1 - before.1);
        let by_rate = siege_s * u64::from(PICTURE.fps) * viewers.len() as u64;
        for ((name, _), got_in) in ATTACKS.iter().zip(got_in.iter()) {
            println!("{:4} times {name}", got_in.load(Ordering::Relaxed));
        }
        for (noticed, first) in noticed[VIEWERS_FROM..].iter().zip(first) {
            let mut parent = first;
            for (_, next) in &noticed.lock().unwrap().parents {
                let was_honest = parent.is_some_and(|parent| honest.contains(&parent));
                changes += usize::from(was_honest);
                lost += usize::from(was_honest && next.is_none());
                parent = *next;
            }
        }
        let share = received as f64 / expected as f64;
        println!(
            "{received} of {expected} pictures ({share:.5}), {by_rate} by the room's rate; {changes} times \
             another parent than an honest one, {below} were below forgers"
        );
        for (at, noticed) in noticed.iter().enumerate() {
            let noticed = noticed.lock().unwrap();
            assert_eq!(noticed.losses, Vec::<String>::new(), "peer {at}");
            let blamed = noticed.faults.iter().filter(|peer| honest.contains(peer));
            assert_eq!(blamed.collect::<Vec<_>>(), Vec::<&PeerId>::new(), "peer {at} finds fault with them");
        }
        assert_eq!(ranks(), rank, "no election");
        assert!(share >= SHARE_MIN, "{share}");
        assert!(expected as f64 >= 0.9 * by_rate as f64, "the mixer makes {expected} of {by_rate} pictures");
        assert_eq!(lost, 0, "links between honest peers are lost");
        for ((name, _), got_in) in ATTACKS.iter().zip(got_in.iter()) {
            assert!(got_in.load(Ordering::Relaxed) > 0, "{name}: no attacker got in");
        }
        attackers.shutdown_background();
        for room in rooms.into_iter().chain(forgers) {
            room.close().await;
        }
    });
}
