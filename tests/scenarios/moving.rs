//! Peers whose network changes in mid-room: another address, behind another NAT.

use std::time::Duration;

use libtest_mimic::Failed;
use serde_json::Value;

use crate::matrix::{HOST, PLACES};
use crate::nats::report;
use crate::network::{Network, wait};

/// Moves hosts of the lab behind another NAT each, once what they take part in has begun.
fn moves(network: &Network, hosts: &[&str], nat: &str) -> Result<(), Failed> {
    wait(Duration::from_secs(5));
    hosts.iter().try_for_each(|host| network.moves(host, nat))
}

fn row(part: &str, report: &Value) {
    let [picture, sound] = ["longest_video_gap_ms", "longest_audio_gap_ms"].map(|of| &report[of]);
    println!("| {part} | {picture} ms without pictures, {sound} ms without sound |");
}

/// Whether nearly all pictures came: a link that is lost and made anew costs five seconds of them.
fn is_fed(report: &Value) -> bool {
    let (got, expected) = (report["frames_received"].as_u64(), report["frames_expected"].as_u64());
    got > Some(90) && got >= expected.map(|expected| expected * 8 / 10)
}

/// A viewer goes from one NAT to another, and its link goes on.
pub(crate) fn viewer() -> Result<(), Failed> {
    let Some(network) = Network::of("nat-matrix")? else { return Ok(()) };
    let (_host, invite) = network.room("open1", &[])?;
    let watch = ["join", &invite, "--relay", "never", "--duration", "14s", "--json", "-"];
    let viewer = network.peer("full", &watch);
    moves(&network, &["full"], "port-restricted")?;
    let (report, said) = report("full", viewer)?;
    row("viewer", &report);
    if is_fed(&report) { Ok(()) } else { Err(format!("{report}, {said}").into()) }
}

/// Viewers at eight places go to other networks at once: how long each is without pictures.
pub(crate) fn viewers() -> Result<(), Failed> {
    let Some(network) = Network::of("nat-matrix")? else { return Ok(()) };
    let (_host, invite) = network.room(HOST, &[])?;
    let watch = ["join", &invite, "--relay", "never", "--duration", "16s", "--json", "-"];
    let viewers: Vec<_> = PLACES.iter().map(|at| (at, network.peer(at, &watch))).collect();
    moves(&network, &PLACES, "port-restricted")?;
    let (mut gaps_ms, mut wrong) = (Vec::new(), Vec::new());
    for (at, viewer) in viewers {
        let (report, said) = report(at, viewer)?;
        row(at, &report);
        gaps_ms.extend(report["longest_video_gap_ms"].as_f64());
        if !is_fed(&report) {
            wrong.push(format!("{at}: {report}, {said}"));
        }
    }
    gaps_ms.sort_by(f64::total_cmp);
    println!("| eight viewers that move | p50 {:?} ms, longest {:?} ms |", gaps_ms.get(3), gaps_ms.last());
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// A speaker goes from one NAT to another: those who watch miss it for a moment.
pub(crate) fn speaker() -> Result<(), Failed> {
    let Some(network) = Network::of("nat-matrix")? else { return Ok(()) };
    let (_host, invite) = network.room("open1", &["--mix", "always"])?;
    let speak = ["join", &invite, "--speak", "--mix", "never", "--speaker-size", "160x90@10"];
    let speaker = network.peer("full", &[&speak[..], &["--duration", "15s", "--json", "-"]].concat());
    let watch = ["join", &invite, "--relay", "never", "--duration", "13s", "--json", "-"];
    let viewer = network.peer("open2", &watch);
    moves(&network, &["full"], "port-restricted")?;
    let (of_viewer, said) = report("open2", viewer)?;
    let (of_speaker, speaker_said) = report("full", speaker)?;
    row("viewer of a speaker that moves", &of_viewer);
    row("that speaker", &of_speaker);
    // it sends pictures, and takes the sound of the others alone
    let goes_on = of_speaker["links"].as_array().is_some_and(|links| links.len() == 1);
    if is_fed(&of_viewer) && goes_on && of_speaker["longest_audio_gap_ms"].is_number() {
        return Ok(());
    }
    Err(format!("{of_viewer}, {said}, {of_speaker}, {speaker_said}").into())
}
