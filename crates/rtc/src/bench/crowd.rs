//! The links of a room's viewers on the bare stack: for each viewer a connection that carries packets and an idle one,
//! both ends in this process. A room in one process needs at least these.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rtc::rtp;
use webrtc::media_stream::track_local::TrackLocal as _;

use super::bare::{Child, Peer, answer, offer};
use super::host::Host;
use super::{Arrivals, Failed, in_time, process_cpu_us, resident_kib};

/// Worker threads of the stack.
const WORKERS: usize = 2;
/// Traffic of a program: pictures of two packets, 30 a second, and sound of one packet, 50 a second, 120 bytes long.
const PICTURES_PER_S: u32 = 30;
const PACKETS_PER_PICTURE: u32 = 2;
const SOUNDS_PER_S: u32 = 50;
const SOUND_LEN: usize = 120;
/// Maximum bit rate of the pictures: their packets are 1,200 bytes long.
pub const RATE_BPS_MAX: u32 = PICTURES_PER_S * PACKETS_PER_PICTURE * 1_200 * 8;

/// Work of the benchmark.
#[derive(Clone, Copy, Debug)]
pub struct CrowdWork {
    /// Number of viewers.
    pub viewers: usize,
    /// Bit rate of the pictures, at most [`RATE_BPS_MAX`].
    pub rate_bps: u32,
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
    let tracks: Arc<[Child]> = tracks.into();
    let picture_len = work.rate_bps / 8 / PICTURES_PER_S / PACKETS_PER_PICTURE;
    host.runtime.spawn(send(tracks.clone(), PICTURES_PER_S, PACKETS_PER_PICTURE, picture_len as usize));
    host.runtime.spawn(send(tracks, SOUNDS_PER_S, 1, SOUND_LEN));
    tokio::time::sleep(super::WARM_UP).await;
    let reading = || {
        let packets = arrived.packets.load(Ordering::Relaxed);
        (Instant::now(), process_cpu_us(std::process::id()), packets)
    };
    let before = reading();
    tokio::time::sleep(work.measured).await;
    let after = reading();
    let seconds = (after.0 - before.0).as_secs_f64();
    let packets_per_s = PICTURES_PER_S * PACKETS_PER_PICTURE + SOUNDS_PER_S;
    let due = work.viewers as f64 * f64::from(packets_per_s) * seconds;
    let rss_mib = resident_kib(std::process::id()) / 1_024.0;
    drop(connections);
    let (cores, delivered) = ((after.1 - before.1) / 1e6 / seconds, (after.2 - before.2) as f64 / due);
    Ok(CrowdFigures { cores, rss_mib, delivered })
}

/// Sends bursts of packets to all tracks.
async fn send(tracks: Arc<[Child]>, bursts_per_s: u32, packets: u32, payload_len: usize) {
    static SEQUENCE_NUMBER: AtomicU16 = AtomicU16::new(0);
    let payload = bytes::Bytes::from(vec![0x41; payload_len]);
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / bursts_per_s);
    loop {
        ticks.tick().await;
        for _ in 0..packets {
            let sequence_number = SEQUENCE_NUMBER.fetch_add(1, Ordering::Relaxed);
            for (ssrc, track) in &*tracks {
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
    }
}
