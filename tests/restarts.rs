//! Services that are restarted: each process of a room of twelve, fifty times at random moments (nightly).

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use plenary::{MediaKind, Options, Room};
use tokio::time::{sleep, timeout};

use crate::running::Running;

/// Small pictures: two slow cores do the work of five machines.
const SIZES: [&str; 4] = ["--speaker-size", "160x90@15", "--program", "320x180@15"];
const VIEWERS: usize = 7;
/// Restarts of each part; `PLENARY_RESTARTS` says otherwise. `PLENARY_PART=Mixer` restarts mixers alone.
const RESTARTS: usize = 50;
/// Longest time without a picture.
const GAP_MAX: Duration = Duration::from_secs(1);
/// The same after the death of a mixer without a standby, common within seconds of another restart: a vote opens once
/// the mixer has been silent for 5 s.
const UNGUARDED_MAX: Duration = Duration::from_secs(10);
/// Longest time until a newcomer is fed; in the case of the rendezvous, to which the host comes back within 2 s.
const FED_MAX: Duration = Duration::from_secs(3);
const FED_BY_RENDEZVOUS_MAX: Duration = Duration::from_secs(5);
/// Limit on hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// Parts that are restarted: two mixers, and two speakers besides the host, which speaks as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Rendezvous,
    Host,
    Mixer(usize),
    Speaker(usize),
}

const PARTS: [Part; 6] =
    [Part::Rendezvous, Part::Host, Part::Mixer(0), Part::Mixer(1), Part::Speaker(0), Part::Speaker(1)];

/// A room of processes that any of them may leave and come back to, by files of their own.
struct Services {
    folder: tempfile::TempDir,
    address: String,
    invite: String,
    running: Vec<Option<Running>>,
}

impl Services {
    fn start() -> Services {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let folder = tempfile::tempdir().unwrap();
        let running = PARTS.map(|_| None).into();
        let mut services = Services { folder, address, invite: String::new(), running };
        services.put(Part::Rendezvous);
        services.put(Part::Host);
        let host = services.running[1].as_ref().unwrap();
        services.invite = host.stdout.wait("invite", |line| line.contains('#').then(|| line.to_owned()));
        PARTS[2..].iter().for_each(|part| services.put(*part));
        services
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Starts a part, and waits until it is in the room, or listens.
    fn put(&mut self, part: Part) {
        let (url, invite) = (format!("http://{}", self.address), self.invite.clone());
        let keys = self.path("keys");
        let identity = |name: &str, at: usize| self.path(&format!("{name}-{at}"));
        let args: Vec<String> = match part {
            Part::Rendezvous => vec!["rendezvous".into(), "--listen".into(), self.address.clone()],
            Part::Host => ["host", "--speak", "--mix", "never", "--rendezvous", &url, "--room-keys", &keys]
                .iter()
                .chain(&SIZES)
                .map(|arg| (*arg).to_owned())
                .collect(),
            Part::Mixer(at) => {
                vec!["mixer".into(), invite, "--identity".into(), identity("mixer", at)]
            }
            Part::Speaker(at) => ["join", &invite, "--speak", "--mix", "never", "--identity"]
                .iter()
                .map(|arg| (*arg).to_owned())
                .chain([identity("speaker", at)])
                .chain(SIZES[..2].iter().map(|arg| (*arg).to_owned()))
                .collect(),
        };
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let running = Running::start(&args);
        let is_in =
            |line: &str| (line.contains("in the room as ") || line.contains("listening on ")).then_some(());
        running.stderr.wait("its coming in", is_in);
        let at = PARTS.iter().position(|known| *known == part).unwrap();
        self.running[at] = Some(running);
    }

    /// Stops a part: politely, or like a crash.
    fn stop(&mut self, part: Part, politely: bool) {
        let at = PARTS.iter().position(|known| *known == part).unwrap();
        let running = self.running[at].take().unwrap();
        if politely {
            running.signal(libc::SIGTERM);
            let ended = running.ended();
            assert_eq!(ended.code, Some(0), "{part:?}: {}", ended.stderr);
        } else {
            running.kill();
        }
    }
}

/// A viewer, and how long it has been without a picture.
struct Viewer {
    room: Room,
    /// When the last picture came, and the longest wait since the last [`longest`](Viewer::longest).
    seen: Arc<Mutex<(Instant, Duration)>>,
}

impl Viewer {
    async fn join(invite: &str) -> Viewer {
        let options = Options::viewer("Vera").bind(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]);
        let room = Room::join(invite.parse::<plenary::Invite>().unwrap(), options).await.unwrap();
        let seen = Arc::new(Mutex::new((Instant::now(), Duration::ZERO)));
        let (mut frames, told) = (room.frames(), seen.clone());
        tokio::spawn(async move {
            while let Some(frame) = frames.next().await {
                if frame.frame.kind == MediaKind::Video {
                    let mut told = told.lock().unwrap();
                    told.1 = told.1.max(told.0.elapsed());
                    told.0 = Instant::now();
                }
            }
        });
        Viewer { room, seen }
    }

    /// Returns the longest wait for a picture since the last call, the one that lasts included.
    fn longest(&self) -> Duration {
        let mut seen = self.seen.lock().unwrap();
        let longest = seen.1.max(seen.0.elapsed());
        seen.1 = Duration::ZERO;
        longest
    }

    async fn sees(&self) {
        let began = Instant::now();
        let sees = async {
            while self.seen.lock().unwrap().0 < began {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, sees).await.expect("a picture");
    }
}

fn random_below(bound: u32) -> u32 {
    u32::from_be_bytes(crate::hostile_peer::random()) % bound
}

/// Returns how long a part is away: mostly for less than three seconds; a host now and then for so long that an heir
/// has reigned for seconds, or for a minute.
fn away(part: Part, round: usize) -> Duration {
    match (part, round % 10) {
        (Part::Host, 1) => Duration::from_secs(11),
        (Part::Host, 6) => Duration::from_secs(60),
        _ => Duration::from_millis(random_below(3_000).into()),
    }
}

/// Restarts parts of a room by turns, and returns what was too long or never came back.
async fn restarts(rounds: usize) -> Vec<String> {
    let only = std::env::var("PLENARY_PART").unwrap_or_default();
    let mut services = Services::start();
    let mut viewers = Vec::new();
    for _ in 0..VIEWERS {
        viewers.push(Viewer::join(&services.invite).await);
    }
    for viewer in &viewers {
        viewer.sees().await;
    }
    sleep(Duration::from_secs(10)).await; // a standby is elected
    viewers.iter().for_each(|viewer| _ = viewer.longest());
    let mut wrong = Vec::new();
    for round in 0..rounds {
        for part in PARTS.into_iter().filter(|part| only.is_empty() || format!("{part:?}").starts_with(&only))
        {
            let politely = random_below(2) == 0;
            let before = viewers[0].room.snapshot();
            services.stop(part, politely);
            let away = away(part, round);
            sleep(away).await;
            services.put(part);
            let returned = Instant::now();
            let newcomer = Viewer::join(&services.invite).await;
            newcomer.sees().await;
            let fed = returned.elapsed();
            sleep(Duration::from_millis(u64::from(random_below(2_000)) + 3_000)).await;
            let longest = viewers.iter().map(Viewer::longest).max().unwrap();
            let what = format!(
                "round {round}: {part:?}, {}, of {} mixers and {} standbys, away for {} ms: longest wait {} ms, \
                 a newcomer fed after {} ms",
                if politely { "TERM" } else { "KILL" },
                before.mixers.len(),
                before.standbys.len(),
                away.as_millis(),
                longest.as_millis(),
                fed.as_millis()
            );
            println!("{what}");
            let is_unguarded = before.standbys.is_empty() && matches!(part, Part::Mixer(_));
            let gap_max = if is_unguarded { UNGUARDED_MAX } else { GAP_MAX };
            let fed_max = if part == Part::Rendezvous { FED_BY_RENDEZVOUS_MAX } else { FED_MAX };
            if longest > gap_max || fed > fed_max {
                wrong.push(what);
            }
            newcomer.room.close().await;
            for viewer in viewers.iter().filter(|_| is_unguarded) {
                viewer.sees().await; // the next figures are of the next part
                viewer.longest();
            }
        }
    }
    let hosts: Vec<_> = viewers.iter().map(|viewer| viewer.room.snapshot().host).collect();
    if hosts.iter().any(|host| host.is_none() || *host != hosts[0]) {
        wrong.push(format!("not one room: {hosts:?}"));
    }
    for viewer in viewers {
        viewer.room.close().await;
    }
    wrong
}

#[test]
#[ignore = "half an hour: ./run nightly services"]
fn a_room_of_twelve_outlives_fifty_restarts_of_each_of_its_parts() {
    let rounds = std::env::var("PLENARY_RESTARTS").map_or(RESTARTS, |rounds| rounds.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let wrong = runtime.block_on(restarts(rounds));
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), rounds * PARTS.len());
}
