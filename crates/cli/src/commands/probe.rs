//! `plenary probe`: measures this machine's codecs, the NAT in front of it, and how well a room's candidates reach it.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use plenary::media::codec::{Codecs as _, VideoFormat};
use plenary::media::compose::{Composer, Tile, grid};
use plenary::media::source::{Source as _, TestSource};
use plenary::media::{BuiltinCodecs, codec_bench};
use plenary::{
    CodecClaim, Invite, MediaSeen, Nat, Options, Password, PeerId, Room, RoomEvent, StunServer, ask_stun,
};
use serde::Serialize;
use statrs::distribution::{ContinuousCDF as _, StudentsT};

use super::runtime;
use crate::args::ProbeArgs;
use crate::figure_sources::{Ages, Origins, codec_word};
use crate::json::{self, round};
use crate::{Failure, demo::figures::short, secrets, serving};

/// Number of pictures composed to measure the compositor.
const COMPOSED: u32 = 120;
/// Timeout for the measurement of one candidate.
const MEASURE_MAX: Duration = Duration::from_secs(10);

#[derive(Serialize)]
struct Probed {
    encode_us: u32,
    decode_us: u32,
    /// Time to compose four tiles of 640x360 onto 1280x720.
    composite_us: f64,
    /// Whether a peer with `--mix auto` would count as real-time capable by these figures.
    would_mix: bool,
    /// Kind of the NAT in front of this machine, by STUN servers; with an invite, by rendezvous and peers too.
    nat: Nat,
    /// Addresses of this machine as STUN servers see it.
    outer_addresses: Vec<IpAddr>,
    candidates: Vec<Candidate>,
}

#[derive(Serialize)]
struct Candidate {
    peer: String,
    name: String,
    bandwidth_bps: Option<u64>,
    /// Half-width of the 95 % confidence interval of the mean; null with fewer than two trains.
    bandwidth_bps_interval: Option<u64>,
    trains: usize,
    rtt_ms: Option<f64>,
    /// Bitrate of the media that arrived here from the candidate over the last 20 s; null without such media.
    bitrate_bps: Option<u64>,
    /// Time that the candidate claims to need to encode and to decode a 1280x720 picture.
    encode_us: Option<u32>,
    decode_us: Option<u32>,
    source: Origins,
    age_ms: Ages,
}

/// Result of a measurement.
#[derive(Default)]
struct Found {
    samples_bps: Vec<u64>,
    rtt_us: u32,
    media: Option<MediaSeen>,
    codec: Option<CodecClaim>,
}

pub(crate) fn run(args: ProbeArgs) -> Result<(), Failure> {
    let invite = secrets::maybe_invite(args.invite.as_deref())?;
    let needed = invite.as_ref().is_some_and(|invite| invite.flags().password);
    let password = secrets::password(args.password.as_deref(), needed)?;
    let tls_roots = serving::roots(&args.tls_trust)?;
    let bench = codec_bench(&BuiltinCodecs::default(), Duration::from_millis(300))?;
    let composite_us = composite_us()?;
    let of_invite =
        invite.as_ref().and_then(Invite::rendezvous).and_then(|url| StunServer::of_rendezvous(&url));
    let stun: Vec<StunServer> = args.stun.into_iter().chain(of_invite).collect();
    let runtime = runtime()?;
    let seen = runtime.block_on(ask_stun(&stun, &[])).context("the STUN servers weren't asked")?;
    let (candidates, nat_of_links) = match &invite {
        Some(invite) => runtime.block_on(measure(invite, password, tls_roots, stun))?,
        None => (Vec::new(), Nat::Unknown),
    };
    // a slower peer is elected only if there is no real-time capable candidate
    let would_mix = bench.encode_us + bench.decode_us <= 16_667;
    let probed = Probed {
        encode_us: bench.encode_us,
        decode_us: bench.decode_us,
        composite_us,
        would_mix,
        // the peers of a room show more than a single server
        nat: if nat_of_links == Nat::Unknown { seen.nat } else { nat_of_links },
        outer_addresses: seen.addresses,
        candidates,
    };
    match &args.json {
        Some(to) => Ok(json::write(to, &probed)?),
        None => Ok(json::say(&summary(&probed))?),
    }
}

fn summary(probed: &Probed) -> String {
    let mut text =
        format!("encode     1280x720   {:6.2} ms a picture\n", f64::from(probed.encode_us) / 1000.0);
    text += &format!("decode     1280x720   {:6.2} ms a picture\n", f64::from(probed.decode_us) / 1000.0);
    text += &format!("composite  4 x 640x360{:6.2} ms a picture\n", probed.composite_us / 1000.0);
    let word = if probed.would_mix {
        "yes"
    } else {
        "only without a faster candidate: half a frame time is 16.7 ms"
    };
    text += &format!("would mix  {word}\n");
    if !probed.outer_addresses.is_empty() {
        let seen: Vec<String> = probed.outer_addresses.iter().map(ToString::to_string).collect();
        text += &format!("nat        {}; seen as {}\n", nat_words(probed.nat), seen.join(", "));
    }
    for candidate in &probed.candidates {
        let bandwidth = match (candidate.bandwidth_bps, candidate.bandwidth_bps_interval) {
            (Some(bps), Some(half)) => format!("{:.1} ± {:.1} Mbit/s", bps as f64 / 1e6, half as f64 / 1e6),
            (Some(bps), None) => format!("{:.1} Mbit/s", bps as f64 / 1e6),
            _ => "not measured".to_owned(),
        };
        let rtt = candidate.rtt_ms.map_or("-".to_owned(), |ms| format!("{ms:.1} ms"));
        text += &format!("from {} {:16} {bandwidth}, round trip {rtt}", candidate.peer, candidate.name);
        if let (Some(us), Some(source), Some(age_ms)) =
            (candidate.encode_us, candidate.source.encode, candidate.age_ms.encode)
        {
            let (ms, age_s) = (f64::from(us) / 1000.0, age_ms / 1000);
            text += &format!(", encodes in {ms:.2} ms (by {source}, {age_s} s ago)");
        }
        if let Some(bps) = candidate.bitrate_bps {
            text += &format!(", sends {:.1} Mbit/s here", bps as f64 / 1e6);
        }
        text += "\n";
    }
    if probed.candidates.iter().any(|candidate| candidate.bandwidth_bps.is_some()) {
        text +=
            "once a mixer is elected, packet trains are limited in rate: bandwidths may be lower bounds\n";
    }
    text
}

fn nat_words(nat: Nat) -> &'static str {
    match nat {
        Nat::Open => "none: others see this machine's own address",
        Nat::OnePort => "one port for all others: peers behind such NATs reach each other",
        Nat::PortEach => "a port for each other end: peers behind most NATs don't reach this machine",
        _ => "of a kind that one answer alone doesn't tell",
    }
}

/// Returns the thread's processor time to compose one picture of four moving tiles.
fn composite_us() -> anyhow::Result<f64> {
    let mut composer = Composer::new(1280, 720);
    let tile = |id| Tile { id, name: format!("speaker {id}"), ..Tile::default() };
    composer.set_grid((0..4).map(tile).collect());
    anyhow::ensure!(grid(4, 1280, 720).len() == 4, "four tiles");
    // a check of the codecs, so that a machine without them fails at once
    let format = VideoFormat { width: 640, height: 360, fps: 30, bitrate_bps: 600_000 };
    drop(BuiltinCodecs::default().video_encoder(&format)?);
    let mut source = TestSource::new(0, 640, 360, 30);
    let mut spent_us = 0;
    for _ in 0..COMPOSED {
        source.next_picture()?;
        let picture = source.picture();
        let begun = thread_us();
        (0..4).for_each(|id| composer.draw(id, &picture));
        spent_us += thread_us() - begun;
    }
    Ok(spent_us as f64 / f64::from(COMPOSED))
}

/// Returns the processor time of this thread, microseconds.
fn thread_us() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock exists on every supported system, and `time` is a local variable
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_nsec.unsigned_abs() / 1000
}

/// Joins the room, measures every candidate in turn, and leaves. Also returns the kind of NAT that its links have seen.
async fn measure(
    invite: &Invite,
    password: Option<Password>,
    tls_roots: Vec<Bytes>,
    stun: Vec<StunServer>,
) -> Result<(Vec<Candidate>, Nat), Failure> {
    let mut options = Options::viewer("probe").tls_roots(tls_roots).stun(stun);
    (options.views, options.password) = (false, password);
    let room = Room::join(invite, options).await?;
    // the roster may arrive after the admission
    let mut snapshots = room.watch();
    let seen = tokio::time::timeout(MEASURE_MAX, snapshots.wait_for(|snapshot| snapshot.epoch > 0)).await;
    let stage = seen.context("the host sent no roster")?.context("the room is closed")?.stage.clone();
    let mut measured = Vec::new();
    for member in stage.iter().filter(|member| member.mixes && !member.away) {
        let mut events = room.events();
        room.measure(member.peer).await?;
        let found = tokio::time::timeout(MEASURE_MAX, async {
            while let Some(event) = events.next().await {
                if let RoomEvent::Measured { peer, samples_bps, rtt_us, media, codec } = event
                    && peer == member.peer
                {
                    return Some(Found { samples_bps, rtt_us, media, codec });
                }
            }
            None
        });
        let found = found.await.ok().flatten().unwrap_or_default();
        measured.push(candidate(member.peer, &member.name, &found));
    }
    let nat = room.snapshot().nat;
    room.leave().await;
    room.close().await;
    Ok((measured, nat))
}

fn candidate(peer: PeerId, name: &str, found: &Found) -> Candidate {
    let Found { samples_bps: samples, rtt_us, media, codec } = found;
    let mean = samples.iter().sum::<u64>().checked_div(samples.len() as u64);
    Candidate {
        peer: short(&peer),
        name: name.to_owned(),
        bandwidth_bps: mean,
        bandwidth_bps_interval: interval(samples),
        trains: samples.len(),
        rtt_ms: (*rtt_us > 0).then(|| round(f64::from(*rtt_us) / 1000.0)),
        bitrate_bps: media.map(|media| media.bitrate_bps),
        encode_us: codec.map(|codec| codec.encode_us),
        decode_us: codec.map(|codec| codec.decode_us),
        source: Origins {
            bandwidth: mean.map(|_| "train"),
            bitrate: media.map(|_| "media"),
            encode: codec.map(|codec| codec_word(codec.source)),
        },
        age_ms: Ages {
            bandwidth: mean.map(|_| 0),
            bitrate: media.map(|_| 0),
            encode: codec.map(|codec| 1000 * u64::from(codec.age_s)),
        },
    }
}

/// Returns the half-width of the 95 % confidence interval of the mean, by Student's t.
fn interval(samples: &[u64]) -> Option<u64> {
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<u64>() as f64 / n;
    let variance = samples.iter().map(|sample| (*sample as f64 - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let t = StudentsT::new(0.0, 1.0, n - 1.0).ok()?.inverse_cdf(0.975);
    Some((t * (variance / n).sqrt()) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_student_s() {
        // mean 100, s = 10, n = 4: t = 3.182, half = 3.182 * 10 / 2
        assert_eq!(interval(&[90, 95, 105, 110]), Some(14));
        assert_eq!(interval(&[100]), None);
        assert_eq!(interval(&[]), None);
    }
}
