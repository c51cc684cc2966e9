//! The links of a room's viewers on the bare stack: for each viewer a connection that carries packets and an idle one, both
//! ends in this process. A room in one process needs at least these.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rtc::rtp;
use webrtc::media_stream::track_local::TrackLocal as _;

use super::bare::{Peer, answer, offer};
use super::host::Host;
use super::{Arrivals, Failed, in_time, process_cpu_us, resident_kib};

/// Worker threads of the stack.
const WORKERS: usize = 2;
/// Bursts in which the packets of a second are sent: those of pictures at 30 a second.
const BURSTS_PER_S: u32 = 30;

/// Work of the benchmark.
#[derive(Clone, Copy, Debug)]
pub struct CrowdWork {
    /// Number of viewers.
    pub viewers: usize,
    /// Packets for each viewer in a second.
    pub packets_per_s: u32,
    /// Length of their payload, in bytes.
    pub payload_len: usize,
    /// Address of all ends.
    pub address: IpAddr,
    /// Time that is measured.
    pub measured: Duration,
}

/// Figures of the benchmark.
#[derive(Clone, Copy, Debug)]
pub struct CrowdFigures {
    /// Processor time of this process while it was measured, in cores.
    pub cores: f64,
    /// Resident memory of this process, in MiB.
    pub rss_mib: f64,
    /// Share of the packets that arrived.
    pub delivered: f64,
}

/// Runs the benchmark.
///
/// # Errors
/// A connection could not be set up.
pub async fn crowd(work: CrowdWork) -> Result<CrowdFigures, Failed> {
    let host = Host::new("crowd", WORKERS);
    let arrived = Arc::new(Arrivals::new(Instant::now()));
    let viewer = Arc::new(Peer { arrived: Some(arrived.clone()), ..Peer::default() });
    let (mut tracks, mut connections) = (Vec::new(), Vec::new());
    for number in 0..2 * work.viewers {
        let (track, from, offer) = offer(&host, work.address, Arc::default()).await;
        let (to, answer) = answer(&host, work.address, viewer.clone(), offer).await;
        let connected = async {
            from.accept(answer).await?;
            to.connected.notified().await;
            Ok(())
        };
        in_time("a connection", connected).await?;
        if number % 2 == 0 {
            tracks.push(track);
        }
        connections.push((from, to));
    }
    let payload = bytes::Bytes::from(vec![0x41; work.payload_len]);
    host.runtime.spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / BURSTS_PER_S);
        let (mut sequence_number, mut owed) = (0_u16, 0);
        loop {
            ticks.tick().await;
            owed += work.packets_per_s;
            for _ in 0..owed / BURSTS_PER_S {
                sequence_number = sequence_number.wrapping_add(1);
                for (ssrc, track) in &tracks {
                    let header = rtp::header::Header {
                        version: 2,
                        payload_type: 102,
                        sequence_number,
                        ssrc: *ssrc,
                        ..Default::default()
                    };
                    track.write_rtp(rtp::Packet { header, payload: payload.clone() }).await.unwrap();
                }
            }
            owed %= BURSTS_PER_S;
        }
    });
    tokio::time::sleep(super::WARM_UP).await;
    let reading = || {
        let packets = arrived.packets.load(Ordering::Relaxed);
        (Instant::now(), process_cpu_us(std::process::id()), packets)
    };
    let before = reading();
    tokio::time::sleep(work.measured).await;
    let after = reading();
    let seconds = (after.0 - before.0).as_secs_f64();
    let due = work.viewers as f64 * f64::from(work.packets_per_s) * seconds;
    let rss_mib = resident_kib(std::process::id()) / 1_024.0;
    drop(connections);
    let (cores, delivered) = ((after.1 - before.1) / 1e6 / seconds, (after.2 - before.2) as f64 / due);
    Ok(CrowdFigures { cores, rss_mib, delivered })
}
