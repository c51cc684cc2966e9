//! The relay over the bare stack, as in the stack's broadcast example, with its default interceptors.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
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

use crate::host::Host;
use crate::{Counts, FRAME_INTERVAL, PAYLOAD_LEN, Running};

static NEXT_SSRC: AtomicU32 = AtomicU32::new(1_000);

type Child = (u32, Arc<TrackLocalStaticRTP>);

#[derive(Default)]
struct Peer {
    children: Mutex<Vec<Child>>,
    packets: AtomicU64,
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
                    peer.packets.fetch_add(1, Ordering::Relaxed);
                    forward(&peer, &packet).await;
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

pub(crate) async fn start(children: usize, packets_per_frame: usize) -> Running {
    let (source, relay, leaves) = (Host::new("source"), Host::new("relay"), Host::new("leaves"));
    let (at_source, at_relay, at_leaves) = (Arc::default(), Arc::<Peer>::default(), Arc::<Peer>::default());
    let mut keep = Vec::new();
    let (upstream, ends) = connect((&source, at_source), (&relay, at_relay.clone())).await;
    keep.extend(ends);
    for _ in 0..children {
        let (child, ends) = connect((&relay, at_relay.clone()), (&leaves, at_leaves.clone())).await;
        at_relay.children.lock().unwrap().push(child);
        keep.extend(ends);
    }
    let (ssrc, track) = upstream;
    source.runtime.spawn(async move {
        let mut frames = tokio::time::interval(FRAME_INTERVAL);
        let payload = Bytes::from(vec![0x41; PAYLOAD_LEN]);
        let mut sequence_number = 0_u16;
        for frame in 0_u32.. {
            frames.tick().await;
            for index in 1..=packets_per_frame {
                sequence_number = sequence_number.wrapping_add(1);
                let header = rtp::header::Header {
                    version: 2,
                    payload_type: 102,
                    marker: index == packets_per_frame,
                    sequence_number,
                    timestamp: frame.wrapping_mul(3_600),
                    ssrc,
                    ..Default::default()
                };
                track.write_rtp(rtp::Packet { header, payload: payload.clone() }).await.unwrap();
            }
        }
    });
    let counts = move || {
        let _ = &keep;
        Counts {
            from_source: at_relay.packets.load(Ordering::Relaxed),
            to_leaves: at_leaves.packets.load(Ordering::Relaxed),
        }
    };
    Running { relay, leaves, _source: source, counts: Box::new(counts) }
}
