//! Links that others carry, where no path leads from one end to the other.

use libtest_mimic::Failed;

use crate::nats::{report, speak};
use crate::network::Network;

/// Speakers of which no two reach each other, behind NATs of their own, are linked through the host.
pub(crate) fn by_members() -> Result<(), Failed> {
    let Some(network) = Network::of("nat-matrix")? else { return Ok(()) };
    let at = ["symmetric1", "symmetric2", "port_restricted"];
    for (gone, speaker) in speak(&network, "open1", &[], &[], &at, 9)?.into_iter().enumerate() {
        let (direct, carried) = (speaker.links("direct"), speaker.links("carried"));
        println!("| speaker behind {} | {direct} direct, {carried} carried |", speaker.at);
        if direct != 1 || carried + gone < 2 {
            return Err(speaker.wrong());
        }
    }
    Ok(())
}

/// A viewer behind a firewall that lets no UDP through gets the program over the websocket of the rendezvous.
pub(crate) fn without_udp() -> Result<(), Failed> {
    let Some(network) = Network::of("hard-nets")? else { return Ok(()) };
    let (_host, invite) = network.room("server", &[])?;
    let viewer = network.peer("office", &["join", &invite, "--duration", "8s", "--json", "-"]);
    let (report, said) = report("office", viewer)?;
    println!("| viewer without UDP | {} | {} ms |", report["way"], report["first_frame_ms"]);
    let (got, expected) = (report["frames_received"].as_u64(), report["frames_expected"].as_u64());
    let is_fed = got > Some(45) && got >= expected.map(|expected| expected * 9 / 10);
    if is_fed && report["way"] == "websocket" { Ok(()) } else { Err(format!("{report}, {said}").into()) }
}

/// Where the rendezvous carries nothing, that viewer is told so, and the room goes on.
pub(crate) fn refused() -> Result<(), Failed> {
    let Some(network) = Network::of("hard-nets")? else { return Ok(()) };
    let (_host, invite) = network.room("server", &["--carry", "never"])?;
    let viewer = network.peer("office", &["join", &invite, "--duration", "8s", "--json", "-"]);
    let (report, said) = report("office", viewer)?;
    println!("| viewer without UDP or carrier | {} pictures |", report["frames_received"]);
    if report["frames_received"] == 0 { Ok(()) } else { Err(format!("{report}, {said}").into()) }
}
