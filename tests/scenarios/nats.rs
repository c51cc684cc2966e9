//! Peers behind NATs.

use libtest_mimic::Failed;
use serde_json::Value;

use crate::network::Network;
use crate::running::Running;

/// A host in the open feeds a viewer behind each kind of NAT, directly.
pub(crate) fn viewers() -> Result<(), Failed> {
    let Some(network) = Network::of("nat-matrix")? else { return Ok(()) };
    let (_host, invite) = network.room("open1")?;
    let at = ["open2", "full", "restricted", "port_restricted", "symmetric1", "family1"];
    let watch = ["join", &invite, "--relay", "never", "--duration", "6s", "--json", "-"];
    let viewers = at.map(|at| (at, network.peer(at, &watch)));
    for (at, viewer) in viewers {
        let (report, said) = report(at, viewer)?;
        println!("| viewer | open | {at} | {} | {} ms |", report["way"], report["first_frame_ms"]);
        let (got, expected) = (report["frames_received"].as_u64(), report["frames_expected"].as_u64());
        let is_fed = got > Some(15) && got >= expected.map(|expected| expected * 9 / 10);
        if !is_fed || report["way"] != "direct" || report["depth"] != 1 {
            return Err(format!("{at}: {report}, {said}").into());
        }
    }
    Ok(())
}

/// Speakers behind NATs of their own, one of which lets only known ports in, are linked with each other directly.
pub(crate) fn homes() -> Result<(), Failed> {
    let Some(network) = Network::of("nat-matrix")? else { return Ok(()) };
    let (_host, invite) = network.room("open1")?;
    // four on stage, of which each is linked with the three others
    let at = ["full", "port_restricted", "family1"];
    let speaker =
        ["join", &invite, "--speak", "--mix", "never", "--speaker-size", "160x90@10", "--json", "-"];
    // each leaves before the next one, so that its report has the links with all that come after it
    let stays = ["5s", "6s", "7s"];
    let speak = |at: &str, stays: &str| network.peer(at, &[&speaker[..], &["--duration", stays]].concat());
    let speakers: Vec<_> = at.iter().zip(stays).map(|(at, stays)| (at, speak(at, stays))).collect();
    for (gone, (at, speaker)) in speakers.into_iter().enumerate() {
        let (report, said) = report(at, speaker)?;
        let links = report["links"].as_array().map(Vec::as_slice).unwrap_or_default();
        let direct = links.iter().filter(|link| link["way"] == "direct").count();
        println!("| speaker behind {at} | {direct} others, direct | {} |", report["nat"]);
        if direct < stays.len() - gone || report["nat"] != "one-port" {
            return Err(format!("{at}: {report}, {said}").into());
        }
    }
    Ok(())
}

/// Waits for a peer's end, and returns its report and what it has said.
fn report(at: &str, peer: Running) -> Result<(Value, String), Failed> {
    let ended = peer.ended();
    let report = serde_json::from_str(&ended.stdout).map_err(|_| format!("{at}: {ended:?}"))?;
    Ok((report, ended.stderr))
}
