//! Peers behind NATs.

use libtest_mimic::Failed;
use serde_json::Value;

use crate::network::Network;

/// A host in the open feeds a viewer behind each kind of NAT, directly.
pub(crate) fn viewers() -> Result<(), Failed> {
    let Some(network) = Network::of("nat-matrix")? else { return Ok(()) };
    let (_host, invite) = network.room("open1")?;
    let at = ["open2", "full", "restricted", "port_restricted", "symmetric1", "family1"];
    let watch = ["join", &invite, "--relay", "never", "--duration", "6s", "--json", "-"];
    let viewers = at.map(|at| (at, network.peer(at, &watch)));
    for (at, viewer) in viewers {
        let ended = viewer.ended();
        let report: Value = serde_json::from_str(&ended.stdout).map_err(|_| format!("{at}: {ended:?}"))?;
        println!("| viewer | open | {at} | {} | {} ms |", report["way"], report["first_frame_ms"]);
        let (got, expected) = (report["frames_received"].as_u64(), report["frames_expected"].as_u64());
        let is_fed = got > Some(15) && got >= expected.map(|expected| expected * 9 / 10);
        if !is_fed || report["way"] != "direct" || report["depth"] != 1 {
            return Err(format!("{at}: {report}, {}", ended.stderr).into());
        }
    }
    Ok(())
}
