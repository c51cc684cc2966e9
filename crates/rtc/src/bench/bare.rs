//! Links of the bare stack, with its default interceptors: source, leaves, and a relay as in its broadcast example.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rtc::interceptor::Registry;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::interceptor_registry::register_default_interceptors;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_H264, MediaEngine};
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::rtp;
use rtc::rtp_transceiver::rtp_sender::{
    RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters, RtpCodecKind,
};
use tokio::sync::Notify;
use webrtc::media_stream::track_local::TrackLocal;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::media_stream::track_remote::{TrackRemote, TrackRemoteEvent};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceGatheringState,
    RTCPeerConnectionState,
};

use super::host::Host;
use super::{
    Arrivals, FRAME_INTERVAL, Failed, RelayEnd, Running, Source, Work, in_time, resident_kib, stamped,
};

static NEXT_SSRC: AtomicU32 = AtomicU32::new(1_000);

pub(crate) type Child = (u32, Arc<TrackLocalStaticRTP>);

#[derive(Default)]
pub(crate) struct Peer {
    pub(crate) children: Mutex<Vec<Child>>,
    /// At the leaves: the packets that arrived.
    pub(crate) arrived: Option<Arc<Arrivals>>,
}

struct Observer {
    peer: Arc<Peer>,
    gathered: Arc<Notify>,
    connected: Arc<Notify>,
}

#[async_trait]
impl PeerConnectionEventHandler for Observer {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.notify_one();
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if state == RTCPeerConnectionState::Connected {
            self.connected.notify_one();
        }
    }

    async fn on_track(&self, track: Arc<dyn TrackRemote>) {
        let peer = self.peer.clone();
        tokio::spawn(async move {
            while let Some(event) = track.poll().await {
                if let TrackRemoteEvent::OnRtpPacket(packet) = event {
                    match &peer.arrived {
                        Some(arrived) => arrived.arrived(packet.header.marker, &packet.payload),
                        None => forward(&peer, &packet).await,
                    }
                }
            }
        });
    }
}

async fn forward(peer: &Peer, packet: &rtp::Packet) {
    let children = peer.children.lock().unwrap().clone();
    for (ssrc, track) in children {
        let mut packet = packet.clone();
        packet.header.ssrc = ssrc;
        packet.header.extensions.clear();
        packet.header.extension = false;
        track.write_rtp(packet).await.unwrap();
    }
}

fn codec() -> RTCRtpCodec {
    RTCRtpCodec {
        mime_type: MIME_TYPE_H264.to_owned(),
        clock_rate: 90_000,
        channels: 0,
        sdp_fmtp_line: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f".to_owned(),
        rtcp_feedback: vec![],
    }
}

pub(crate) struct Connection {
    peer: Arc<dyn PeerConnection>,
    gathered: Arc<Notify>,
    pub(crate) connected: Arc<Notify>,
}

async fn build(address: IpAddr, peer: Arc<Peer>) -> Connection {
    let mut engine = MediaEngine::default();
    let parameters = RTCRtpCodecParameters { rtp_codec: codec(), payload_type: 102 };
    engine.register_codec(parameters, RtpCodecKind::Video).unwrap();
    let interceptors = register_default_interceptors(Registry::new(), &mut engine).unwrap();
    let (gathered, connected) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let settings = SettingEngineBuilder::new()
        .with_ice_connection_attempts(Some(Duration::from_millis(20)), None)
        .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
        .build();
    let builder = PeerConnectionBuilder::new()
        .with_configuration(RTCConfigurationBuilder::new().build())
        .with_setting_engine(settings)
        .with_media_engine(engine)
        .with_interceptor_registry(interceptors)
        .with_handler(Arc::new(Observer { peer, gathered: gathered.clone(), connected: connected.clone() }))
        .with_udp_addrs(vec![SocketAddr::new(address, 0).to_string()]);
    let connection = Box::pin(builder.build()).await.unwrap();
    Connection { peer: Arc::new(connection), gathered, connected }
}

/// Makes an offer to send a track.
pub(crate) async fn offer(host: &Host, address: IpAddr, peer: Arc<Peer>) -> (Child, Connection, String) {
    let ssrc = NEXT_SSRC.fetch_add(1, Ordering::Relaxed);
    let coding = RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() };
    let encoding =
        RTCRtpEncodingParameters { rtp_coding_parameters: coding, codec: codec(), ..Default::default() };
    let (stream, id, label) = (format!("s{ssrc}"), format!("t{ssrc}"), format!("l{ssrc}"));
    let track = MediaStreamTrack::new(stream, id, label, RtpCodecKind::Video, vec![encoding]);
    let track = Arc::new(TrackLocalStaticRTP::new(track));
    let sent = track.clone();
    let (connection, offer) = host
        .run(async move {
            let connection = build(address, peer).await;
            connection.peer.add_track(sent).await.unwrap();
            let offer = connection.peer.create_offer(None).await.unwrap();
            connection.peer.set_local_description(offer).await.unwrap();
            connection.gathered.notified().await;
            let sdp = connection.peer.local_description().await.unwrap().sdp;
            (connection, sdp)
        })
        .await;
    ((ssrc, track), connection, offer)
}

/// Answers an offer to send a track.
pub(crate) async fn answer(
    host: &Host,
    address: IpAddr,
    peer: Arc<Peer>,
    offer: String,
) -> (Connection, String) {
    host.run(async move {
        let connection = build(address, peer).await;
        let offer = RTCSessionDescription::offer(offer).unwrap();
        connection.peer.set_remote_description(offer).await.unwrap();
        let answer = connection.peer.create_answer(None).await.unwrap();
        connection.peer.set_local_description(answer).await.unwrap();
        connection.gathered.notified().await;
        let sdp = connection.peer.local_description().await.unwrap().sdp;
        (connection, sdp)
    })
    .await
}

impl Connection {
    pub(crate) async fn accept(&self, answer: String) -> Result<(), Failed> {
        self.peer.set_remote_description(RTCSessionDescription::answer(answer)?).await?;
        self.connected.notified().await;
        Ok(())
    }
}

/// The relay over the bare stack, in this process.
pub struct BareRelay {
    host: Host,
    address: IpAddr,
    peer: Arc<Peer>,
    /// Child that has been offered a link.
    offered: Option<(Child, Connection)>,
    connections: Vec<Connection>,
}

impl BareRelay {
    /// Returns a relay with that many worker threads, at that address.
    pub fn new(workers: usize, address: IpAddr) -> BareRelay {
        let (host, peer) = (Host::new("relay", workers), Arc::default());
        BareRelay { host, address, peer, offered: None, connections: Vec::new() }
    }
}

#[async_trait]
impl RelayEnd<String> for BareRelay {
    async fn publish(&mut self, offer: String) -> Result<String, Failed> {
        let (connection, answer) = answer(&self.host, self.address, self.peer.clone(), offer).await;
        self.connections.push(connection);
        Ok(answer)
    }

    async fn subscribe(&mut self) -> Result<String, Failed> {
        let (child, connection, offer) = offer(&self.host, self.address, self.peer.clone()).await;
        self.offered = Some((child, connection));
        Ok(offer)
    }

    async fn accept(&mut self, answer: String) -> Result<(), Failed> {
        let (child, connection) = self.offered.take().ok_or("nothing was offered")?;
        connection.accept(answer).await?;
        self.peer.children.lock().unwrap().push(child);
        self.connections.push(connection);
        Ok(())
    }

    fn cpu_us(&self) -> f64 {
        self.host.cpu_us()
    }
}

pub(crate) async fn start(
    work: Work,
    relay: &mut dyn RelayEnd<String>,
    mut frames: Source,
) -> Result<Running, Failed> {
    let start = Instant::now();
    let (source, leaves) = (Host::new("source", 1), Host::new("leaves", 1));
    let (arrived, sent) = (Arc::new(Arrivals::new(start)), Arc::new(AtomicU64::new(0)));
    let at_leaves = Arc::new(Peer { arrived: Some(arrived.clone()), ..Peer::default() });
    let ((ssrc, track), upstream, offer) = offer(&source, work.address, Arc::default()).await;
    let published = in_time("an answer to the source", relay.publish(offer)).await?;
    in_time("the source's connection", upstream.accept(published)).await?;
    let mut keep = vec![upstream];
    let before_kib = resident_kib(relay.process());
    for _ in 0..work.children {
        let offer = in_time("an offer to a child", relay.subscribe()).await?;
        let (connection, answer) = answer(&leaves, work.address, at_leaves.clone(), offer).await;
        let connected = async {
            connection.connected.notified().await;
            Ok(())
        };
        let both = async { tokio::try_join!(relay.accept(answer), connected) };
        in_time("a child's connection", both).await?;
        keep.push(connection);
    }
    let counter = sent.clone();
    source.runtime.spawn(async move {
        let mut ticks = tokio::time::interval(FRAME_INTERVAL);
        let mut sequence_number = 0_u16;
        loop {
            ticks.tick().await;
            for packet in frames() {
                let packet = stamped(packet, start);
                sequence_number = sequence_number.wrapping_add(1);
                let header = rtp::header::Header {
                    version: 2,
                    payload_type: 102,
                    marker: packet.marker,
                    sequence_number,
                    timestamp: packet.timestamp,
                    ssrc,
                    ..Default::default()
                };
                counter.fetch_add(1, Ordering::Relaxed);
                track.write_rtp(rtp::Packet { header, payload: packet.payload }).await.unwrap();
            }
        }
    });
    Ok(Running { leaves, _source: source, sent, arrived, before_kib, _links: Box::new(keep) })
}
