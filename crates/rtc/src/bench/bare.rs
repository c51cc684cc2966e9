//! The relay over the bare stack, as in the stack's broadcast example, with its default interceptors.

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
use super::{Arrivals, FRAME_INTERVAL, Running, Source, Work, stamped};

static NEXT_SSRC: AtomicU32 = AtomicU32::new(1_000);

type Child = (u32, Arc<TrackLocalStaticRTP>);

#[derive(Default)]
struct Peer {
    children: Mutex<Vec<Child>>,
    /// At the leaves: the packets that arrived.
    arrived: Option<Arc<Arrivals>>,
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

struct Connection {
    peer: Arc<dyn PeerConnection>,
    gathered: Arc<Notify>,
    connected: Arc<Notify>,
}

async fn build(peer: Arc<Peer>) -> Connection {
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
        .with_udp_addrs(vec!["127.0.0.1:0"]);
    let connection = Box::pin(builder.build()).await.unwrap();
    Connection { peer: Arc::new(connection), gathered, connected }
}

/// Connects a sending peer to a receiving peer. Returns the track between them, and both connections.
async fn connect(from: (&Host, Arc<Peer>), to: (&Host, Arc<Peer>)) -> (Child, [Arc<dyn PeerConnection>; 2]) {
    let ssrc = NEXT_SSRC.fetch_add(1, Ordering::Relaxed);
    let coding = RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() };
    let encoding =
        RTCRtpEncodingParameters { rtp_coding_parameters: coding, codec: codec(), ..Default::default() };
    let (stream, id, label) = (format!("s{ssrc}"), format!("t{ssrc}"), format!("l{ssrc}"));
    let track = MediaStreamTrack::new(stream, id, label, RtpCodecKind::Video, vec![encoding]);
    let track = Arc::new(TrackLocalStaticRTP::new(track));
    let (offering, sent) = (from.1, track.clone());
    let (sender, offer) = from
        .0
        .run(async move {
            let connection = build(offering).await;
            connection.peer.add_track(sent).await.unwrap();
            let offer = connection.peer.create_offer(None).await.unwrap();
            connection.peer.set_local_description(offer).await.unwrap();
            connection.gathered.notified().await;
            let sdp = connection.peer.local_description().await.unwrap().sdp;
            (connection, sdp)
        })
        .await;
    let answering = to.1;
    let (receiver, answer) =
        to.0.run(async move {
            let connection = build(answering).await;
            let offer = RTCSessionDescription::offer(offer).unwrap();
            connection.peer.set_remote_description(offer).await.unwrap();
            let answer = connection.peer.create_answer(None).await.unwrap();
            connection.peer.set_local_description(answer).await.unwrap();
            connection.gathered.notified().await;
            let sdp = connection.peer.local_description().await.unwrap().sdp;
            (connection, sdp)
        })
        .await;
    sender.peer.set_remote_description(RTCSessionDescription::answer(answer).unwrap()).await.unwrap();
    tokio::join!(sender.connected.notified(), receiver.connected.notified());
    ((ssrc, track), [sender.peer, receiver.peer])
}

pub(crate) async fn start(work: Work, mut frames: Source) -> Running {
    let start = Instant::now();
    let (source, relay, leaves) =
        (Host::new("source", 1), Host::new("relay", work.workers), Host::new("leaves", 1));
    let (arrived, sent) = (Arc::new(Arrivals::new(start)), Arc::new(AtomicU64::new(0)));
    let (at_source, at_relay) = (Arc::<Peer>::default(), Arc::<Peer>::default());
    let at_leaves = Arc::new(Peer { arrived: Some(arrived.clone()), ..Peer::default() });
    let mut keep = Vec::new();
    let (upstream, ends) = connect((&source, at_source), (&relay, at_relay.clone())).await;
    keep.extend(ends);
    for _ in 0..work.children {
        let (child, ends) = connect((&relay, at_relay.clone()), (&leaves, at_leaves.clone())).await;
        at_relay.children.lock().unwrap().push(child);
        keep.extend(ends);
    }
    let ((ssrc, track), counter) = (upstream, sent.clone());
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
    Running { relay, leaves, _source: source, sent, arrived, _links: Box::new(keep) }
}
