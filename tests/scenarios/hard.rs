//! A room across a server, a cloud, two homes, a phone and an office without UDP.

use std::time::Duration;

use libtest_mimic::Failed;

use crate::nats::report;
use crate::network::{Network, SMALL, wait};
use crate::running::{Running, invite_of};

/// Time in the room of all, and from its beginning until the rendezvous and then a mixer die.
const STAY: &str = "34s";
const RENDEZVOUS_DIES_AFTER: Duration = Duration::from_secs(12);
const MIXER_DIES_AFTER: Duration = Duration::from_secs(10);

/// The rendezvous and one mixer are at the server, another mixer in the cloud; speakers at two homes and a phone;
/// viewers behind symmetric NATs, and in an office without UDP. The rendezvous dies, then a mixer: all but the office,
/// which has the rendezvous alone, go on.
pub(crate) fn room() -> Result<(), Failed> {
    let Some(network) = Network::of("hard-nets")? else { return Ok(()) };
    let (rendezvous, stun) = network.rendezvous("server")?;
    let url = stun.replace("stun:", "http://");
    let host = network
        .peer("home1", &[&["host", "--speak", "--mix", "never", "--rendezvous", &url][..], &SMALL].concat());
    let invite = invite_of(&host);
    let outer = network.public_address("cloud")?;
    let cloud = network.peer("cloud", &["mixer", &invite, "--nat-1to1", &outer]);
    let _server = network.peer("server", &["mixer", &invite]);
    let speak =
        ["join", &invite, "--speak", "--mix", "never", "--speaker-size", "160x90@10", "--relay", "never"];
    let _speakers: Vec<Running> = ["home2", "phone"].iter().map(|at| network.peer(at, &speak)).collect();
    wait(Duration::from_secs(4));
    let watch = ["join", &invite, "--relay", "never", "--duration", STAY, "--json", "-"];
    let at = ["symmetric1", "symmetric2", "office"];
    let viewers: Vec<_> = at.iter().map(|at| (*at, network.peer(at, &watch))).collect();
    wait(RENDEZVOUS_DIES_AFTER);
    rendezvous.kill();
    wait(MIXER_DIES_AFTER);
    cloud.kill();
    let mut wrong = Vec::new();
    for (at, viewer) in viewers {
        let (report, said) = report(at, viewer)?;
        let [first, gap, way] = ["first_frame_ms", "longest_video_gap_ms", "way"].map(|of| &report[of]);
        println!(
            "| viewer in a hard network | {at} | {way} | first picture {first} ms | longest gap {gap} ms |"
        );
        let (got, expected) = (report["frames_received"].as_f64(), report["frames_expected"].as_f64());
        let is_fed = if at == "office" {
            // until the rendezvous died
            got > Some(15.0 * (RENDEZVOUS_DIES_AFTER.as_secs_f64() - 4.0) * 0.8)
        } else {
            got > Some(15.0 * 24.0) && got >= expected.map(|expected| expected * 0.8)
        };
        if !is_fed {
            wrong.push(format!("{at}: {report}, {said}"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}
