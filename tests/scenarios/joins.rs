//! How long joins take at 100 ms of round trip.

use libtest_mimic::Failed;

use crate::nats::report;
use crate::network::{Network, SMALL, wait};
use crate::running::invite_of;

/// Round trip between two places of `far.toml`, in milliseconds.
const ROUND_TRIP_MS: f64 = 100.0;
/// Joins of each kind of room, one at a time.
const JOINS: usize = 20;
/// Maximum time from the start of a process to its first picture, the second longest of twenty, in milliseconds.
const LATE_MS_MAX: f64 = 1_400.0;

/// Viewers join a room whose host is rendezvous, speaker and mixer.
pub(crate) fn one_place() -> Result<(), Failed> {
    let Some(network) = Network::of("far")? else { return Ok(()) };
    let (_host, invite) = network.room("server", &[])?;
    wait(std::time::Duration::from_secs(3));
    join(&network, &invite, "one place", 900.0)
}

/// Viewers join a room whose rendezvous, host and mixer are at three places.
pub(crate) fn three_places() -> Result<(), Failed> {
    let Some(network) = Network::of("far")? else { return Ok(()) };
    let (_rendezvous, stun) = network.rendezvous("server")?;
    let url = stun.replace("stun:", "http://");
    let speak = ["host", "--speak", "--mix", "never", "--rendezvous", &url];
    let host = network.peer("speaker", &[&speak[..], &SMALL].concat());
    let invite = invite_of(&host);
    let _mixer = network.peer("mixer", &["mixer", &invite]);
    wait(std::time::Duration::from_secs(6));
    join(&network, &invite, "three places", 1_000.0)
}

/// Viewers join one by one. `median_ms_max`: maximum of the median time to the first picture, in milliseconds.
fn join(network: &Network, invite: &str, room: &str, median_ms_max: f64) -> Result<(), Failed> {
    let watch = ["join", invite, "--relay", "never", "--duration", "3s", "--json", "-"];
    for at in ["viewer", "home"] {
        let mut took = Vec::new();
        for _ in 0..JOINS {
            let (report, said) = report(at, network.peer(at, &watch))?;
            let first = report["first_frame_ms"].as_f64().map(f64::round);
            took.push(first.ok_or_else(|| format!("no picture: {report}, {said}"))?);
        }
        took.sort_unstable_by(f64::total_cmp);
        let [median, late] = [took[JOINS / 2], took[JOINS - 2]];
        let round_trips = median / ROUND_TRIP_MS;
        println!("| join | {room} | {at} | p50 {median} ms, p95 {late} ms | {round_trips:.1} round trips |");
        if median > median_ms_max || late > LATE_MS_MAX {
            return Err(format!("{at}: {took:?}").into());
        }
    }
    Ok(())
}
