//! `plenary demo`, judged from outside: by the files it writes, and by ffmpeg.
//!
//! The machine that runs this test may be small and busy. So pictures are small, and the checks hold under
//! any load: which peer did what, in which order, and that the program continues.

use std::collections::BTreeSet;
use std::path::Path;

use crate::running::{Running, alone, time_rises, wait_until};
use plenary_testkit::judge::{self, Layout, Recording};
use serde_json::Value;
use tempfile::TempDir;

const SMALL: [&str; 6] = ["--speaker-size", "320x180@30", "--program", "640x360@30", "--bitrate", "800kbit"];

/// A finished demo with its output.
struct Demo {
    folder: TempDir,
    report: Value,
    /// Its lines on stderr.
    said: String,
}

impl Demo {
    fn play(args: &[&str]) -> Demo {
        Demo::play_until(args, &[])
    }

    /// Runs a demo. If `until` isn't empty, interrupts it once lines that begin with these texts have
    /// appeared in order.
    fn play_until(args: &[&str], until: &[&str]) -> Demo {
        let _alone = alone();
        let folder = tempfile::tempdir().unwrap();
        // in a directory that doesn't exist yet
        let out = folder.path().join("out");
        let json = out.join("asked-for.json");
        let files = ["demo", "--out", out.to_str().unwrap(), "--json", json.to_str().unwrap()];
        let running = Running::start(&[&files, &SMALL[..], args].concat());
        for line in until {
            running.stderr.wait(line, |said| said.starts_with(line).then_some(()));
        }
        if !until.is_empty() {
            running.signal(libc::SIGINT);
        }
        let ended = running.ended();
        assert_eq!((ended.code, &*ended.stdout), (Some(0), ""), "{}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
        let report = std::fs::read(out.join("report.json")).unwrap();
        assert_eq!(report, std::fs::read(json).unwrap());
        Demo { folder, report: serde_json::from_slice(&report).unwrap(), said: ended.stderr }
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("out").join(name)
    }

    /// Returns the number of viewers' recordings.
    fn recordings(&self) -> usize {
        let files = std::fs::read_dir(self.file("")).unwrap().flatten();
        files.filter(|file| file.path().extension().is_some_and(|extension| extension == "mp4")).count()
    }

    fn rows(&self, name: &str) -> &[Value] {
        self.report[name].as_array().unwrap_or_else(|| panic!("no list of {name} in {}", self.report))
    }

    /// Returns the modes in order.
    fn modes(&self) -> Vec<&str> {
        self.rows("modes").iter().map(|mode| mode["mode"].as_str().unwrap()).collect()
    }

    /// Returns the first event of that kind.
    fn event(&self, what: &str) -> &Value {
        self.rows("events").iter().find(|event| event["what"] == what).expect(what)
    }

    /// Returns the mixer at the root of a viewer's branch.
    fn root_of<'a>(&'a self, viewer: &'a Value) -> &'a str {
        let mut parent = text(&viewer["parent"]);
        while let Some(relay) = self.rows("viewers").iter().find(|viewer| viewer["peer"] == parent) {
            parent = text(&relay["parent"]);
        }
        parent
    }

    /// Reads a viewer's recording, and checks that it has no errors, has sound, and has pictures up to its
    /// end.
    fn recording(&self, name: &str, layout: &Layout) -> Recording {
        let recording = judge::recording(&self.file(name), layout).unwrap();
        assert_eq!(recording.ffmpeg_errors, [""; 0], "{name}");
        assert!(recording.sound.is_some(), "{name} has no sound");
        let last_s = recording.frames.last().expect("pictures").at_s;
        assert!(last_s > recording.duration_s - 1.0, "{name}: pictures end at {last_s}");
        recording
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Checks that the picture numbers of these tiles rise over the whole recording.
fn time_goes_on(recording: &Recording, tiles: impl Iterator<Item = usize>) {
    for tile in tiles {
        let numbers = recording.numbers(tile);
        assert!(numbers.len() >= 20 && time_rises(&numbers), "tile {tile}: {numbers:?}");
    }
}

#[test]
fn a_room_elects_a_mixer_and_everyone_sees_and_hears_the_program() {
    let demo = Demo::play(&[
        "--speakers",
        "3",
        "--viewers",
        "6",
        "--candidates",
        "2",
        "--k1",
        "2",
        "--k",
        "2",
        "--duration",
        "12s",
        "--record-all",
        "--seed",
        "7",
    ]);
    fields_are_there(&demo.report);
    opening_is_binding(&demo);
    let stage = demo.rows("speakers");
    assert_eq!(stage.len(), 3);
    let mixers: BTreeSet<&str> = demo.rows("mixers").iter().map(|mixer| text(&mixer["peer"])).collect();
    for speaker in stage {
        assert_eq!(speaker["video_streams_sent"], 1, "{speaker}");
        assert!(mixers.contains(text(&speaker["home_mixer"])), "{speaker}");
        assert!(number(&speaker["heard_self_db"]) <= -20.0, "{speaker}");
    }
    let encoded: Vec<u64> =
        demo.rows("candidates").iter().map(|one| count(&one["encoded_frames_after_term1"])).collect();
    assert!(encoded.contains(&0) && encoded.iter().any(|frames| *frames > 60), "{encoded:?}");

    assert!((2..=3).contains(&count(&demo.report["tree"]["depth"])), "{}", demo.report["tree"]);
    assert_eq!(count(&demo.report["tree"]["children_max"]), 2);
    let viewers = demo.rows("viewers");
    assert_eq!(viewers.len(), 6);
    for (index, viewer) in viewers.iter().enumerate() {
        let (expected, received) = (count(&viewer["frames_expected"]), count(&viewer["frames_received"]));
        assert!(expected > 60 && received * 100 >= expected * 99, "{viewer}");
        let recording = demo.recording(&format!("viewer-{index}.mp4"), &Layout::grid(3));
        time_goes_on(&recording, 0..3);
        all_are_heard_alike(&recording);
    }
    the_picture_shows(&demo.file("program.png"), 3);
    for own in 0..3 {
        others_are_heard(&demo.file(&format!("speaker-{own}-heard.wav")), own, 3);
    }
    let svg = std::fs::read_to_string(demo.file("tree.svg")).unwrap();
    assert_eq!(tags(&svg).filter(|tag| tag.starts_with("text")).count(), 7, "six viewers and a mixer: {svg}");
    assert!(std::fs::metadata(demo.file("log.txt")).unwrap().len() > 0);
    assert!(demo.said.contains("term 1 (opening)") && demo.said.contains("viewers fed 6/6"), "{}", demo.said);
}

#[test]
fn a_killed_mixer_is_followed_by_its_standby_before_anyone_has_voted() {
    let demo = Demo::play(&[
        "--speakers",
        "2",
        "--viewers",
        "3",
        "--candidates",
        "2",
        "--k1",
        "1",
        "--k",
        "2",
        "--duration",
        "16s",
        "--record-all",
        "--at",
        "6s:kill=mixer",
        "--at",
        "11s:kill=relay",
    ]);
    let failover = demo.rows("failovers").iter().find(|one| one["withdrawn"] == false).expect("a failover");
    let killed = text(&demo.event("kill=mixer")["peer"]);
    assert_eq!((count(&failover["term"]), count(&failover["failover"])), (1, 1), "{failover}");
    let opening = &demo.rows("elections")[0];
    assert_eq!((&opening["mixers"][0], &opening["standbys"][0]), (&Value::from(killed), &failover["peer"]));
    for next in &demo.rows("elections")[1..] {
        assert_eq!(next["reason"], "mixer-gone", "{next}");
        assert!(number(&next["decided_ms"]) > number(&failover["at_ms"]), "{next}");
        assert_ne!(next["mixers"][0], killed, "{next}");
    }
    assert_eq!(count(&demo.event("kill=mixer")["viewers_affected"]), 3);
    let relay = demo.event("kill=relay");
    assert!(count(&relay["viewers_affected"]) >= 1, "{relay}");
    // a killed peer no longer counts as a viewer, and its recording ends at the kill
    assert_eq!(demo.rows("viewers").len(), 2);
    assert!(demo.rows("viewers").iter().all(|viewer| viewer["peer"] != relay["peer"]), "{}", demo.report);
    let mut shown_s: Vec<f64> = Vec::new();
    for index in 0..3 {
        let recording =
            judge::recording(&demo.file(&format!("viewer-{index}.mp4")), &Layout::grid(2)).unwrap();
        assert_eq!(recording.ffmpeg_errors, [""; 0], "viewer {index}");
        time_goes_on(&recording, 0..2);
        shown_s.push(recording.duration_s);
    }
    shown_s.sort_by(f64::total_cmp);
    assert!(shown_s[0] < shown_s[1] - 2.0, "the relay's ends before the others': {shown_s:?}");
}

#[test]
fn two_mixers_share_speakers_and_audience_also_after_one_has_died() {
    let demo = Demo::play(&[
        "--speakers",
        "4",
        "--viewers",
        "8",
        "--candidates",
        "4",
        "--mixers",
        "2",
        "--k1",
        "6",
        "--duration",
        "46s",
        "--record-all",
        "--at",
        "8s:kill=mixer",
        "--at",
        "18s:kill=mixer",
    ]);
    let elections = demo.rows("elections");
    let mixers_of = |election: &Value| -> BTreeSet<String> {
        election["mixers"].as_array().unwrap().iter().map(|mixer| text(mixer).to_owned()).collect()
    };
    let (first, last) = (mixers_of(&elections[0]), mixers_of(elections.last().unwrap()));
    assert_eq!((first.len(), last.len()), (2, 2), "{elections:?}");
    assert!(first.contains(text(&demo.event("kill=mixer")["peer"])), "{elections:?}");
    assert_eq!(demo.rows("events").len(), 2);
    for killed in demo.rows("events") {
        assert!(!last.contains(text(&killed["peer"])), "{elections:?}");
        assert_eq!(count(&killed["viewers_not_resumed"]), 0, "{killed}");
    }
    for speaker in demo.rows("speakers") {
        // a speaker that lost the program for good would have a longer gap
        let gap_ms = number(&speaker["received"]["longest_video_gap_ms"]);
        assert!(gap_ms < 8_000.0, "{speaker}");
    }
    for mixer in &last {
        let homes = demo.rows("speakers").iter().filter(|speaker| speaker["home_mixer"] == mixer.as_str());
        assert_eq!(homes.count(), 2, "speakers at home at {mixer}: {}", demo.report["speakers"]);
        let fed = demo.rows("viewers").iter().filter(|viewer| demo.root_of(viewer) == mixer);
        let fed = fed.count();
        assert!((3..=5).contains(&fed), "{mixer} feeds {fed} of 8: {}", demo.report["viewers"]);
    }
    for index in 0..8 {
        let recording = demo.recording(&format!("viewer-{index}.mp4"), &Layout::grid(4));
        time_goes_on(&recording, 0..4);
        let (sound, end_s) = (recording.sound.as_ref().unwrap(), recording.duration_s);
        for tone in 0..4 {
            let level_db = sound.tone_db(tone, end_s - 4.0..end_s);
            assert!(level_db > -30.0, "viewer {index} hears speaker {tone} at {level_db} dB");
        }
    }
}

#[test]
fn two_alone_need_no_mixer_until_somebody_watches() {
    let mesh = Demo::play(&[
        "--speakers",
        "2",
        "--viewers",
        "0",
        "--candidates",
        "1",
        "--duration",
        "4s",
        "--at",
        "3s:kill=mixer",
    ]);
    assert_eq!(mesh.modes(), ["mesh"]);
    // in a mesh no peer mixes, so there is no mixer to kill
    assert!(mesh.event("kill=mixer")["peer"].is_null(), "{}", mesh.report);
    assert!(mesh.said.contains("s kill=mixer: there was no such peer"), "{}", mesh.said);
    assert!(mesh.rows("mixers").is_empty() && mesh.rows("viewers").is_empty(), "{}", mesh.report);
    for speaker in mesh.rows("speakers") {
        assert!(
            speaker["home_mixer"].is_null() && count(&speaker["received"]["frames_received"]) > 0,
            "{speaker}"
        );
        assert!(number(&speaker["heard_self_db"]) <= -20.0, "{speaker}");
    }

    let watched = Demo::play(&[
        "--speakers",
        "2",
        "--viewers",
        "0",
        "--candidates",
        "1",
        "--duration",
        "8s",
        "--at",
        "3s:add=viewer",
    ]);
    assert_eq!(watched.modes(), ["mesh", "mixer"]);
    let mixer = watched.rows("mixers").last().expect("a mixer");
    assert!(count(&mixer["decoded_frames"]) > 0 && count(&mixer["encoded_frames"]) > 0, "{mixer}");
    let came = format!("s add=viewer: {} joined", text(&watched.event("add=viewer")["peer"]));
    assert!(watched.said.contains(&came), "{}", watched.said);
    time_goes_on(&watched.recording("viewer-0.mp4", &Layout::grid(2)), 0..2);
}

#[test]
fn one_alone_is_passed_through_and_not_decoded_until_a_signal_ends_it() {
    let args = "--speakers 1 --viewers 3 --candidates 1 --duration 1m --record-all";
    let demo = Demo::play_until(&args.split(' ').collect::<Vec<_>>(), &["  6 s"]);
    assert!((6.0..50.0).contains(&number(&demo.report["duration_s"])), "{}", demo.report);
    assert!(demo.file("program.png").exists() && demo.file("tree.svg").exists());
    // a seed that can be typed again
    assert!(demo.said.contains(&format!("seed {}", count(&demo.report["seed"]))), "{}", demo.said);
    assert_eq!(demo.modes().last(), Some(&"pass-through"), "{:?}", demo.modes());
    assert!(!demo.rows("mixers").is_empty());
    for mixer in demo.rows("mixers") {
        assert_eq!(
            (&mixer["mode"], count(&mixer["decoded_frames"])),
            (&Value::from("pass-through"), 0),
            "{mixer}"
        );
        assert_eq!(
            (count(&mixer["encoded_frames"]), &mixer["compose_encode_ms"]),
            (0, &Value::Null),
            "{mixer}"
        );
    }
    for index in 0..3 {
        let recording = demo.recording(&format!("viewer-{index}.mp4"), &Layout::Single);
        time_goes_on(&recording, 0..1);
    }
}

#[test]
fn a_mixer_leaves_a_speaker_comes_and_one_is_killed() {
    let demo = Demo::play(&[
        "--speakers",
        "3",
        "--viewers",
        "2",
        "--candidates",
        "2",
        "--duration",
        "16s",
        "--record-all",
        "--at",
        "5s:leave=mixer",
        "--at",
        "7s:kill=speaker",
        "--at",
        "10s:add=speaker",
        "--at",
        "10s:add=viewer",
    ]);
    let left = &demo.event("leave=mixer")["peer"];
    let successor = demo.rows("mixers").last().expect("a mixer");
    assert_ne!(&successor["peer"], left, "{successor}");
    assert!(count(&successor["encoded_frames"]) > 60, "{successor}");
    assert_eq!(count(&demo.event("kill=speaker")["viewers_affected"]), 0);
    // the killed speaker was the third, the added one is the fourth
    let stage: Vec<u64> = demo.rows("speakers").iter().map(|speaker| count(&speaker["index"])).collect();
    assert!(stage.starts_with(&[0, 1]) && stage.ends_with(&[3]), "{stage:?}");
    assert_eq!(demo.rows("viewers").len(), 3);
    for index in 0..3 {
        demo.recording(&format!("viewer-{index}.mp4"), &Layout::Single);
    }
    let recording = demo.recording("viewer-2.mp4", &Layout::grid(3));
    let seen = recording.frames.iter().flat_map(|frame| frame.codes.iter().flatten());
    let seen: BTreeSet<u8> = seen.map(|code| code.index).collect();
    assert!(seen.is_superset(&[0, 1, 3].into()), "the newcomer has a tile: {seen:?}");
    let sound = recording.sound.as_ref().unwrap();
    let end_s = recording.duration_s;
    assert!(sound.tone_db(3, end_s - 2.0..end_s) > -30.0, "the newcomer is heard");
    assert!(sound.tone_db(2, end_s - 2.0..end_s) < -40.0, "the one that was killed is not");
}

#[test]
fn a_viewer_comes_on_stage_and_goes_back_to_watch() {
    let demo = Demo::play(&[
        "--speakers",
        "3",
        "--viewers",
        "4",
        "--candidates",
        "2",
        "--k1",
        "2",
        "--duration",
        "16s",
        "--record-all",
        "--at",
        "6s:promote=viewer",
        "--at",
        "11s:demote=viewer",
    ]);
    let promoted = demo.event("promote=viewer");
    for noticed in ["seen_ms", "heard_ms"] {
        // time until all other peers noticed: required by the project
        assert!(number(&promoted[noticed]) <= 2_000.0, "{promoted}");
    }
    // while it was on stage, the mixer sent it the picture directly, which doesn't count as tree traffic
    let bytes = |of| count(&demo.report["tree"][of]);
    assert!(bytes("bytes_sent") >= bytes("bytes_ideal"), "{}", demo.report["tree"]);
    let demoted = demo.event("demote=viewer");
    assert_eq!(demoted["peer"], promoted["peer"]);
    assert_eq!(count(&demoted["viewers_not_resumed"]), 0, "{demoted}");
    for (index, viewer) in demo.rows("viewers").iter().enumerate() {
        assert!(!viewer["parent"].is_null(), "who went back is fed like the others: {viewer}");
        let recording = demo.recording(&format!("viewer-{index}.mp4"), &Layout::grid(4));
        let end_s = recording.duration_s;
        let shows_it = |from_s: f64, to_s: f64| {
            let frames = recording.frames.iter().filter(|frame| (from_s..to_s).contains(&frame.at_s));
            frames.flat_map(|frame| frame.codes.iter().flatten()).any(|code| code.index == 3)
        };
        assert!(shows_it(0.0, end_s) && !shows_it(end_s - 1.5, end_s), "viewer {index}");
        time_goes_on(&recording, 0..3);
        let sound = recording.sound.as_ref().unwrap();
        let own = viewer["peer"] == promoted["peer"];
        let loudest = (1..end_s as u32)
            .map(|second| sound.tone_db(3, f64::from(second) - 1.0..f64::from(second)))
            .fold(f64::NEG_INFINITY, f64::max);
        assert_eq!(loudest > -30.0, !own, "viewer {index} hears it with {loudest} dBFS at most");
        let in_the_end_db = sound.tone_db(3, end_s - 2.0..end_s);
        assert!(in_the_end_db < -40.0, "viewer {index} still hears it with {in_the_end_db} dBFS");
        let others_db = sound.tone_db(0, end_s - 2.0..end_s);
        assert!(others_db > -40.0, "viewer {index} hears the first with {others_db} dBFS");
    }
}

#[test]
#[ignore = "many peers in real time: ./run nightly rooms"]
fn viewers_that_depart_are_replaced_and_the_others_go_on() {
    let args =
        "--speakers 2 --viewers 8 --candidates 1 --k1 3 --k 2 --joining 4 --duration 18s --churn 300%/min";
    let demo = Demo::play(&args.split(' ').collect::<Vec<_>>());
    let churn = &demo.report["churn"];
    let [left, killed, joined] = ["left", "killed", "joined"].map(|of| count(&churn[of]));
    // one in each 2.5 s, from the time at which all had joined; the last interval is cut by the end
    assert!((2..=8).contains(&(left + killed)) && left.abs_diff(killed) <= 1, "{churn}");
    assert!(joined + 1 >= left + killed, "the last one may be on its way: {churn}");
    assert_eq!(demo.rows("viewers").len() as u64, 8 + joined - left - killed, "{churn}");
    assert!(
        count(&churn["viewers_not_resumed"]) <= 2,
        "below one that was killed just before the end: {churn}"
    );
    for viewer in demo.rows("viewers") {
        let (expected, received) = (count(&viewer["frames_expected"]), count(&viewer["frames_received"]));
        assert!(received <= expected && expected < 18 * 30, "{viewer}");
        assert!(viewer["first_frame_ms"].is_null() || expected > 0 || received == 0, "{viewer}");
    }
    assert!(demo.said.contains(&format!("churn 300 %/min: {left} left, {killed} killed")), "{}", demo.said);
    assert_eq!(demo.recordings(), 3);
}

#[test]
#[ignore = "many peers in real time: ./run nightly rooms"]
fn peers_in_processes_of_their_own_are_reported_like_those_in_one() {
    let args = "--processes --speakers 2 --viewers 4 --candidates 2 --k1 2 --duration 16s --record-all";
    let events = "--at 8s:kill=mixer --at 8s:add=viewer";
    let demo = Demo::play(&[args, events].join(" ").split(' ').collect::<Vec<_>>());
    fields_are_there(&demo.report);
    let killed = demo.event("kill=mixer");
    assert_eq!(count(&killed["viewers_not_resumed"]), 0, "{killed}");
    assert!(killed["resumed_ms"].is_object() && count(&killed["viewers_affected"]) >= 4, "{killed}");
    let mixers: BTreeSet<&str> = demo.rows("mixers").iter().map(|mixer| text(&mixer["peer"])).collect();
    assert!(mixers.contains(text(&killed["peer"])) && mixers.len() == 2, "{}", demo.report["mixers"]);
    assert_eq!((demo.rows("viewers").len(), demo.recordings()), (5, 5));
    for viewer in demo.rows("viewers") {
        assert!(count(&viewer["frames_received"]) > 60, "{viewer}");
    }
    // the host is in the demo's own process
    assert_eq!(demo.rows("processes").len(), 8, "{}", demo.report["processes"]);
    for process in demo.rows("processes") {
        assert!(number(&process["rss_mib"]) > 1.0 && count(&process["links"]) > 0, "{process}");
    }
    the_picture_shows(&demo.file("program.png"), 2);
    others_are_heard(&demo.file("speaker-1-heard.wav"), 1, 2);
    assert_eq!(running_peers(demo.folder.path()), [""; 0], "orphans");
}

#[test]
fn no_process_outlives_its_demo_however_that_ends() {
    for signal in [libc::SIGINT, libc::SIGKILL] {
        let _alone = alone();
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let args = "--processes --speakers 2 --viewers 2 --candidates 1 --duration 1m";
        let demo = ["demo", "--out", out.to_str().unwrap()].into_iter().chain(SMALL).chain(args.split(' '));
        let demo = Running::start(&demo.collect::<Vec<_>>());
        demo.stderr.wait("all peers", |line| line.contains("viewers fed 2/2").then_some(()));
        assert_eq!(running_peers(folder.path()).len(), 4);
        if signal == libc::SIGKILL {
            demo.kill();
        } else {
            demo.signal(signal);
            let ended = demo.ended();
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
            assert!(out.join("report.json").exists());
            assert_eq!(running_peers(folder.path()), [""; 0], "orphans");
        }
        wait_until("end of all processes", || running_peers(folder.path()).is_empty());
    }
}

/// Returns the command lines of the running processes of a demo's peers that write into this folder.
fn running_peers(folder: &Path) -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    // a process may end between the two calls; a zombie has no command line
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(" demo-peer ") && line.contains(folder.to_str().unwrap())).collect()
}

#[test]
#[ignore = "140 s of real time: ./run nightly rooms"]
fn a_mixer_whose_links_carry_half_is_voted_out() {
    // a mixer is in force for 100 s before a vote, and degraded viewers report every 5 s
    let args = "--speakers 3 --viewers 3 --candidates 2 --duration 3m --at 6s:halve=mixer";
    let demo = Demo::play_until(&args.split(' ').collect::<Vec<_>>(), &[" 50 s", "100 s", "140 s"]);
    let halved = demo.event("halve=mixer");
    let elections = demo.rows("elections");
    assert_eq!(elections[0]["mixers"][0], halved["peer"], "{elections:?}");
    let vote = elections.get(1).expect("a second vote");
    assert!(["trouble", "audience"].contains(&text(&vote["reason"])), "{vote}");
    assert!(number(&vote["opened_ms"]) > number(&halved["at_ms"]), "{vote}");
    assert_ne!(vote["mixers"][0], halved["peer"], "{vote}");
    assert!(demo.said.contains(" s halve=mixer: pictures "), "{}", demo.said);
}

/// Checks that the report has every field of the manual, with a value of its kind, or `null` if allowed.
fn fields_are_there(report: &Value) {
    // kinds: n number, c count, t text, [ list, { object; a question mark allows null
    let rows: &[(&str, &[(&str, &str)])] = &[
        (
            "",
            &[
                ("version", "t"),
                ("seed", "c"),
                ("duration_s", "n"),
                ("modes", "["),
                ("elections", "["),
                ("failovers", "["),
                ("mixers", "["),
                ("candidates", "["),
                ("speakers", "["),
                ("viewers", "["),
                ("tree", "{"),
                ("events", "["),
                ("process", "{"),
            ],
        ),
        ("/modes/0", &[("at_ms", "n"), ("mode", "t")]),
        (
            "/elections/0",
            &[
                ("term", "c"),
                ("reason", "t"),
                ("opened_ms", "n"),
                ("decided_ms", "n"),
                ("signatures", "c"),
                ("roster", "c"),
                ("mixers", "["),
                ("standbys", "["),
                ("scores", "{"),
            ],
        ),
        (
            "/mixers/0",
            &[
                ("peer", "t"),
                ("term", "c"),
                ("failover", "c"),
                ("mode", "t"),
                ("decoded_frames", "c"),
                ("encoded_frames", "c"),
                ("fps", "n"),
                ("compose_encode_ms", "{?"),
                ("added_latency_ms", "{?"),
                ("cpu_cores", "n"),
            ],
        ),
        ("/candidates/0", &[("peer", "t"), ("encoded_frames_after_term1", "c")]),
        (
            "/speakers/0",
            &[
                ("peer", "t"),
                ("index", "c"),
                ("home_mixer", "t"),
                ("sent_frames", "c"),
                ("video_streams_sent", "c"),
                ("heard_self_db", "n"),
                ("received", "{"),
            ],
        ),
        ("/viewers/0", VIEWER),
        ("/speakers/0/received", &[("peer", "t"), ("frames_received", "c"), ("latency_ms", "{")]),
        ("/viewers/0/latency_ms", &[("p50", "n"), ("p95", "n")]),
        (
            "/tree",
            &[
                ("depth", "c"),
                ("children_max", "c"),
                ("bytes_sent", "c"),
                ("bytes_ideal", "c"),
                ("links_per_viewer", "n"),
            ],
        ),
        (
            "/process",
            &[("cpu_s", "n"), ("rss_mib", "n"), ("links", "c"), ("descriptors", "c"), ("threads", "c")],
        ),
    ];
    for (pointer, fields) in rows {
        let object = report.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {report:#}"));
        for (field, kind) in *fields {
            let value = object.get(field).unwrap_or_else(|| panic!("no {field} in {pointer}: {object:#}"));
            let fits = match kind.as_bytes()[0] {
                b'n' => value.is_number(),
                b'c' => value.is_u64(),
                b't' => value.is_string(),
                b'[' => value.is_array(),
                _ => value.is_object(),
            };
            assert!(fits || kind.ends_with('?') && value.is_null(), "{pointer}/{field}: {value}");
        }
    }
}

const VIEWER: &[(&str, &str)] = &[
    ("peer", "t"),
    ("depth", "c"),
    ("parent", "t"),
    ("backup", "t?"),
    ("first_frame_ms", "n"),
    ("frames_expected", "c"),
    ("frames_received", "c"),
    ("frames_left_out", "c"),
    ("frames_late", "c"),
    ("longest_video_gap_ms", "n"),
    ("longest_audio_gap_ms", "n"),
    ("latency_ms", "{"),
    ("av_skew_ms", "{"),
    ("reparented", "c"),
];

/// Checks the first election: a majority signed, every candidate was measured, one mixes, and another is
/// standby.
fn opening_is_binding(demo: &Demo) {
    let opening = &demo.rows("elections")[0];
    assert_eq!((count(&opening["term"]), &opening["reason"]), (1, &Value::from("opening")));
    assert!(2 * count(&opening["signatures"]) > count(&opening["roster"]), "{opening}");
    assert_eq!(count(&opening["roster"]), 5, "three speakers and two candidates");
    assert!(number(&opening["decided_ms"]) > number(&opening["opened_ms"]), "{opening}");
    let one = |list: &str| match opening[list].as_array().unwrap().as_slice() {
        [one] => text(one).to_owned(),
        others => panic!("{list}: {others:?}"),
    };
    let elected = BTreeSet::from([one("mixers"), one("standbys")]);
    let candidates: BTreeSet<String> =
        demo.rows("candidates").iter().map(|one| text(&one["peer"]).to_owned()).collect();
    assert_eq!(elected, candidates);
    let scores = opening["scores"].as_object().unwrap();
    assert_eq!(scores.keys().cloned().collect::<BTreeSet<_>>(), candidates);
    for score in scores.values() {
        assert!(count(&score["points"]) > 0 && count(&score["bandwidth_bps"]) > 0, "{score}");
        assert!(count(&score["encode_us"]) > 0 && count(&score["measurers"]) >= 1, "{score}");
        assert!(score["bitrate_bps"].is_null(), "nothing was sent before the opening: {score}");
    }
}

/// Checks that all speakers' tones in the last seconds are within 6 dB of each other.
fn all_are_heard_alike(recording: &Recording) {
    let sound = recording.sound.as_ref().unwrap();
    let range = recording.duration_s - 4.0..recording.duration_s - 1.0;
    let mut tones: Vec<f64> = (0..3).map(|index| sound.tone_db(index, range.clone())).collect();
    tones.sort_by(f64::total_cmp);
    assert!(tones[0] > -40.0 && tones[2] - tones[0] <= 6.0, "{tones:?} dBFS");
}

/// Checks what a speaker hears: the other speakers, and itself at least 20 dB below them.
fn others_are_heard(wav: &Path, own: u8, speakers: u8) {
    let sound = judge::wav(wav).unwrap();
    let range = sound.duration_s() - 4.0..sound.duration_s() - 1.0;
    let own_db = sound.tone_db(own, range.clone());
    for other in (0..speakers).filter(|other| *other != own) {
        let other_db = sound.tone_db(other, range.clone());
        assert!(other_db > -40.0, "speaker {own} hears {other} with {other_db} dBFS");
        assert!(
            own_db <= other_db - 20.0,
            "speaker {own} hears itself with {own_db}, {other} with {other_db} dBFS"
        );
    }
}

/// Checks that each tile of the picture has its speaker's time code.
fn the_picture_shows(png: &Path, speakers: u8) {
    let picture = judge::recording(png, &Layout::grid(usize::from(speakers))).unwrap();
    assert_eq!((picture.width, picture.height, picture.frames.len()), (640, 360, 1));
    let shown: Vec<u8> = picture.frames[0].codes.iter().flatten().map(|code| code.index).collect();
    assert_eq!(shown, (0..speakers).collect::<Vec<_>>());
}

/// Returns the tags of an XML document, and checks that each is closed by the right name: a rough check of
/// well-formedness.
fn tags(xml: &str) -> impl Iterator<Item = &str> {
    let mut open: Vec<&str> = Vec::new();
    let tags: Vec<&str> =
        xml.split('<').skip(1).map(|rest| rest.split_once('>').expect("an end of the tag").0).collect();
    for tag in &tags {
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
        match (tag.starts_with('/'), tag.ends_with('/')) {
            (true, _) => assert_eq!(open.pop(), Some(name), "{xml}"),
            (false, false) => open.push(name),
            (false, true) => {}
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
    }
    assert!(open.is_empty(), "{open:?} in {xml}");
    tags.into_iter()
}
