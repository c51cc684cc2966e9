//! A room of separate processes on one machine, as users would start them. The test kills the rendezvous, a
//! relay, and the mixer, and checks the viewers' recordings.

use std::path::{Path, PathBuf};

use crate::running::{Running, alone, last_picture_s, time_rises, wait_until};
use plenary_testkit::judge::{self, Layout};
use serde_json::Value;

const SPEAKERS: usize = 3;
/// A mixer and its standby.
const MIXERS: usize = 2;
const VIEWERS: usize = 5;
/// Small pictures: two slow cores do the work of ten machines.
const SIZES: [&str; 4] = ["--speaker-size", "320x180@30", "--program", "640x360@30"];
/// Further seconds of pictures after which a recording counts as continuing.
const GOES_ON_S: f64 = 2.0;

/// Process of a peer in the room.
struct Peer {
    running: Running,
    /// Id of the peer as other peers' lines print it.
    id: String,
    recording: PathBuf,
}

impl Peer {
    fn of(running: Running, recording: PathBuf) -> Peer {
        let id = running.stderr.wait("id", |line| Some(line.strip_prefix("in the room as ")?.to_owned()));
        Peer { running, id, recording }
    }

    /// Returns the parent by the last line that names one.
    fn parent(&self) -> Option<String> {
        let lines = self.running.stderr.so_far();
        let last = lines.iter().rev().find_map(|line| Some(line.split_once("fed by ")?.1))?;
        (!last.starts_with("no peer")).then(|| last.to_owned())
    }
}

#[test]
fn a_room_of_processes_outlives_its_rendezvous_a_relay_and_its_mixer() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let rendezvous = Running::start(&["rendezvous", "--listen", "127.0.0.1:0"]);
    let url = rendezvous.stderr.wait("address", |line| Some(line.strip_prefix("listening on ")?.to_owned()));
    let open = ["host", "--speak", "--mix", "never", "--k1", "2", "--k", "2", "--rendezvous", &url];
    let host = Running::start(&[&open[..], &SIZES].concat());
    let invite = host.stdout.wait("invite", |line| line.contains('#').then(|| line.to_owned()));
    let host = Peer::of(host, PathBuf::new());
    let join = |args: &[&str], recording: PathBuf| Peer::of(Running::start(args), recording);
    let speak = ["join", &invite, "--speak", "--mix", "never"];
    // one after the other, since tiles are in the order of joining
    let mut stage: Vec<Peer> =
        (1..SPEAKERS).map(|_| join(&[&speak[..], &SIZES].concat(), PathBuf::new())).collect();
    stage.extend((0..MIXERS).map(|_| join(&["mixer", &invite], PathBuf::new())));
    let starting = (0..VIEWERS).map(|number| {
        let recording = folder.path().join(format!("viewer-{number}.mp4"));
        let file = recording.to_str().unwrap();
        let watch = ["join", &invite, "--view", "--record", file, "--json", "-"];
        (Running::start(&watch), recording)
    });
    let starting: Vec<_> = starting.collect();
    let mut viewers: Vec<Peer> =
        starting.into_iter().map(|(running, recording)| Peer::of(running, recording)).collect();
    // a busy machine elects one mixer first, and who is linked to it alone is lost with it and the rendezvous
    let has_standby = |line: &str| line.contains("; standbys [") && !line.contains("standbys []");
    host.running.stderr.wait("mixer and standby", |line| has_standby(line).then_some(()));
    go_on("before anything happens", &viewers);

    rendezvous.kill();
    go_on("without the rendezvous", &viewers);

    let feeds =
        |peer: &Peer| viewers.iter().filter(|child| child.parent().as_ref() == Some(&peer.id)).count();
    wait_until("relay", || viewers.iter().any(|peer| feeds(peer) > 0));
    let relay = (0..VIEWERS).max_by_key(|number| feeds(&viewers[*number])).unwrap();
    let relay = viewers.swap_remove(relay);
    relay.running.kill();
    go_on("without the relay", &viewers);

    let mixer = host.running.stderr.so_far().iter().rev().find_map(|line| mixer_in(line)).unwrap();
    let mixer = stage.iter().position(|peer| peer.id == mixer).expect("a mixer on stage");
    stage.remove(mixer).running.kill();
    host.running.stderr.wait("failover", |line| line.contains(" from now on, as ").then_some(()));
    go_on("without the mixer", &viewers);

    for (number, viewer) in viewers.iter().enumerate() {
        viewer.running.signal([libc::SIGTERM, libc::SIGINT][number % 2]);
    }
    let ends: Vec<_> = viewers.into_iter().map(|viewer| (viewer.running.ended(), viewer.recording)).collect();
    stage.push(host);
    stage.iter().for_each(|peer| peer.running.signal(libc::SIGTERM));
    for peer in stage {
        assert_eq!(peer.running.ended().code, Some(0));
    }
    for (ended, recording) in ends {
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let report: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert!(report["frames_received"].as_u64() > Some(0), "{report}");
        assert_eq!(report["end"].as_str(), Some("left"), "{report}");
        plays(&recording, &format!("{report:#}"));
    }
}

/// Returns the id of the first mixer in the line of an election.
fn mixer_in(line: &str) -> Option<String> {
    let (_, named) = line.split_once("mixed by ")?.1.split_once("\" (")?;
    Some(named.split_once(')')?.0.to_owned())
}

/// Waits until every recording has more pictures than now.
fn go_on(when: &str, viewers: &[Peer]) {
    let shown = |viewer: &Peer| last_picture_s(&viewer.recording).unwrap_or(0.0);
    for (viewer, before_s) in viewers.iter().map(|viewer| (viewer, shown(viewer))).collect::<Vec<_>>() {
        let what = format!("more pictures at {} {when}, than until {before_s} s", viewer.recording.display());
        wait_until(&what, || shown(viewer) >= before_s + GOES_ON_S);
    }
}

/// Checks a recording: no errors, all speakers seen and heard, and time advances up to its end.
fn plays(file: &Path, report: &str) {
    let recording = judge::recording(file, &Layout::grid(SPEAKERS)).unwrap();
    assert_eq!(recording.ffmpeg_errors, [""; 0], "{report}");
    // a busy mixer makes half of the 30 pictures a second
    assert!(recording.fps() >= 10.0, "{} fps, {report}", recording.fps());
    let end_s = recording.frames.last().unwrap().at_s;
    let sound = recording.sound.as_ref().expect("sound");
    for tile in 0..SPEAKERS {
        let numbers = recording.numbers(tile);
        assert!(time_rises(&numbers), "tile {tile}: {numbers:?}");
        let last = recording.frames.iter().filter(|frame| frame.at_s > end_s - 1.5);
        let last = last.filter_map(|frame| frame.codes[tile]).map(|code| code.number);
        let (min, max) = last.fold((u32::MAX, 0), |(min, max), number| (min.min(number), max.max(number)));
        assert!(max >= min.saturating_add(10), "tile {tile} stands still at the end: {numbers:?}");
        let tone_db = sound.tone_db(tile as u8, end_s - 1.5..end_s);
        assert!(tone_db > -40.0, "speaker {tile} is heard with {tone_db} dBFS at the end");
    }
}
