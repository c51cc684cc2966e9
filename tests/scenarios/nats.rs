//! Peers behind NATs.

use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::network::Network;
use crate::running::Running;

/// Flags of peers that leave links to relays.
const CARRIES_NOTHING: [&str; 2] = ["--carry", "never"];

/// A host in the open feeds a viewer behind each kind of NAT, directly.
pub(crate) fn viewers() -> Result<(), Failed> {
    let Some(network) = Network::of("nat-matrix")? else { return Ok(()) };
    let (_host, invite) = network.room("open1", &[])?;
    let at = ["open2", "full", "restricted", "port_restricted", "symmetric1", "family1"];
    are_fed(|at, words| network.peer(at, words), &invite, &at, "host in the open")
}

/// A host behind a one-to-one NAT, which knows its outer address by `--nat-1to1` alone, feeds viewers behind NATs.
pub(crate) fn cloud() -> Result<(), Failed> {
    let Some(network) = Network::of("hard-nets")? else { return Ok(()) };
    let outer = network.public_address("cloud")?;
    let (_host, invite) = network.room("cloud", &["--nat-1to1", &outer])?;
    if !invite.starts_with(&format!("http://{outer}:")) {
        return Err(format!("the invite leads elsewhere than to {outer}: {invite}").into());
    }
    are_fed(
        |at, words| network.peer(at, words),
        &invite,
        &["server", "home1", "symmetric1"],
        "host behind a one-to-one NAT",
    )
}

/// By two STUN servers `plenary probe` tells kinds of NATs apart; a silent third one holds nothing up.
pub(crate) fn kinds() -> Result<(), Failed> {
    let Some(network) = Network::of("nat-matrix")? else { return Ok(()) };
    let (_first, first) = network.rendezvous("open1")?;
    let (_second, second) = network.rendezvous("open2")?;
    let silent = format!("stun:{}:9", network.public_address("open2")?);
    for (at, nat) in [
        ("family2", "one-port"),
        ("full", "one-port"),
        ("port_restricted", "one-port"),
        ("symmetric1", "port-each"),
    ] {
        let probe = ["probe", "--stun", &silent, "--stun", &first, "--stun", &second, "--json", "-"];
        let (report, said) = report(at, network.peer(at, &probe))?;
        println!("| probe | two STUN servers | {at} | {} | {} |", report["nat"], report["outer_addresses"]);
        if report["nat"] != nat || report["outer_addresses"] != json!([network.public_address(at)?]) {
            return Err(format!("{at}: {report}, {said}").into());
        }
    }
    let (open, said) = report("open2", network.peer("open2", &["probe", "--stun", &first, "--json", "-"]))?;
    if open["nat"] == "open" { Ok(()) } else { Err(format!("in the open: {open}, {said}").into()) }
}

/// Viewers join at these places, and are fed by the host directly.
pub(crate) fn are_fed(
    start: impl Fn(&str, &[&str]) -> Running,
    invite: &str,
    at: &[&str],
    by: &str,
) -> Result<(), Failed> {
    let watch = ["join", invite, "--relay", "never", "--duration", "6s", "--json", "-"];
    let viewers: Vec<_> = at.iter().map(|at| (at, start(at, &watch))).collect();
    for (at, viewer) in viewers {
        let (report, said) = report(at, viewer)?;
        println!("| viewer | {by} | {at} | {} | {} ms |", report["way"], report["first_frame_ms"]);
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
    let at = ["full", "port_restricted", "family1"];
    for (gone, speaker) in speak(&network, "open1", &[], &[], &at, 5)?.into_iter().enumerate() {
        let Speaker { at, report, said } = &speaker;
        let direct = speaker.links("direct");
        println!("| speaker behind {at} | {direct} others, direct | {} |", report["nat"]);
        if direct < 3 - gone || report["nat"] != "one-port" {
            return Err(format!("{at}: {report}, {said}").into());
        }
    }
    Ok(())
}

/// Speakers behind NATs with a port for each destination are linked over the TURN server of a host in the open.
pub(crate) fn relayed() -> Result<(), Failed> {
    let Some(network) = Network::of("nat-matrix")? else { return Ok(()) };
    meet_over_relays(&network, "open1", &["--serve-turn"], &["symmetric1", "symmetric2", "port_restricted"])
}

/// The same at a host behind a one-to-one NAT.
pub(crate) fn relayed_by_cloud() -> Result<(), Failed> {
    let Some(network) = Network::of("hard-nets")? else { return Ok(()) };
    let outer = network.public_address("cloud")?;
    let serves = ["--nat-1to1", &outer, "--serve-turn"];
    meet_over_relays(&network, "cloud", &serves, &["symmetric1", "symmetric2", "phone"])
}

/// Speakers join at these places, of which no two reach each other; each is linked with the host directly, and with all
/// others over a relay.
fn meet_over_relays(network: &Network, host: &str, serves: &[&str], at: &[&str]) -> Result<(), Failed> {
    let (serves, never) = ([serves, &CARRIES_NOTHING].concat(), &CARRIES_NOTHING);
    for (gone, speaker) in speak(network, host, &serves, never, at, 9)?.into_iter().enumerate() {
        let Speaker { at: place, report, said } = &speaker;
        let (direct, relayed) = (speaker.links("direct"), speaker.links("relayed"));
        println!("| speaker behind {place} | {direct} direct, {relayed} relayed | {} |", report["nat"]);
        if direct != 1 || relayed + 1 + gone < at.len() {
            return Err(format!("{place}: {report}, {said}").into());
        }
    }
    Ok(())
}

/// A speaker after its stay.
pub(crate) struct Speaker {
    pub(crate) at: String,
    pub(crate) report: Value,
    said: String,
}

impl Speaker {
    /// What is wrong with it.
    pub(crate) fn wrong(&self) -> Failed {
        format!("{}: {}, {}", self.at, self.report, self.said).into()
    }

    /// Number of its links by this way.
    pub(crate) fn links(&self, way: &str) -> usize {
        let links = self.report["links"].as_array().map(Vec::as_slice).unwrap_or_default();
        links.iter().filter(|link| link["way"] == way).count()
    }
}

/// Has a speaker join from each place a room at `host`, with these further flags of host and guests. The first leaves
/// after `stay_s`, and each further one a second later: a report has the links with the speakers that are still there.
pub(crate) fn speak(
    network: &Network,
    host: &str,
    serves: &[&str],
    guests: &[&str],
    at: &[&str],
    stay_s: usize,
) -> Result<Vec<Speaker>, Failed> {
    let (_host, invite) = network.room(host, serves)?;
    let words = ["join", &invite, "--speak", "--mix", "never", "--speaker-size", "160x90@10", "--json", "-"];
    let start = |(place, at): (usize, &&str)| {
        let stay = format!("{}s", stay_s + place);
        (at.to_string(), network.peer(at, &[&words[..], guests, &["--duration", &stay]].concat()))
    };
    let peers: Vec<_> = at.iter().enumerate().map(start).collect();
    let ended = |(at, peer): (String, Running)| {
        let (report, said) = report(&at, peer)?;
        Ok(Speaker { at, report, said })
    };
    peers.into_iter().map(ended).collect()
}

/// Waits for a peer's end, and returns its report and what it has said.
pub(crate) fn report(at: &str, peer: Running) -> Result<(Value, String), Failed> {
    let ended = peer.ended();
    let report = serde_json::from_str(&ended.stdout).map_err(|_| format!("{at}: {ended:?}"))?;
    Ok((report, ended.stderr))
}
