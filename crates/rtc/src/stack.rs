//! Configuration of the WebRTC stack: codecs, header extensions, interceptors, timers, and the set-up of a
//! connection.
//!
//! The settings here avoid these traps of the stack (webrtc 0.21):
//!
//! - mDNS is on by default; it costs a socket and fails without a multicast route.
//! - The first connectivity check waits for one interval, which is 200 ms by default.
//! - After 7 checks an end stops sending, and the NAT in front of it closes the mapping, although the answer
//!   may still be on its way.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use plenary_proto::bounded::List;
use plenary_proto::identity::PACKET_EXTENSION_URI;
use plenary_proto::message::{CANDIDATES_MAX, Candidate, PayloadTypes};
use rtc::interceptor::{ReceiverReportBuilder, Registry, Slot, TwccReceiverBuilder};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::certificate::{CertificateParams, RTCCertificate};
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_H264, MIME_TYPE_OPUS, MediaEngine};
use rtc::peer_connection::configuration::setting_engine::{SettingEngine, SettingEngineBuilder};
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use tokio::sync::{Notify, watch};
use webrtc::data_channel::{DataChannel, RTCDataChannelInit};
use webrtc::error::Result;
use webrtc::media_stream::track_local::static_rtp::TrackLocalStaticRTP;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceCandidateType,
    RTCIceGatheringState, RTCPeerConnectionIceEvent, RTCPeerConnectionState,
};

use crate::legs::Legs;
use crate::seam::Channel;
use crate::socket::LinkRuntime;
use crate::sync::lock;
use crate::tap::TrainTap;
use crate::template::{
    AUDIO_LEVEL_URI, CONTRIBUTORS_URI, FEEDBACK, H264_FORMAT, OPUS_FORMAT, Role, Ssrcs, TWCC_URI, is_video,
};
use crate::wire::Wire;

/// Interval between connectivity checks. The first check is sent after one interval (200 ms by default), so a
/// link on loopback is up a little later than that.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// Maximum number of unanswered checks of a pair of addresses: as many as fit into `SILENCE_MAX`.
const CHECKS_MAX: u16 = (SILENCE_MAX.as_millis() / CHECK_INTERVAL.as_millis()) as u16;
/// Silence after which the other end is given up. After half of this time the stack reports the connection as
/// disconnected, from which it can recover; after the full time it reports the connection as failed.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// Interval between checks of an established link (RFC 7675 requires less than 5 s). The checks also measure
/// the round trip.
const CONSENT_INTERVAL: Duration = Duration::from_secs(1);
/// Size of the SRTP and SRTCP replay windows, in packets: 6 s of 1.5 Mbit/s (RFC 3711 requires at least 64).
const REPLAY_WINDOW: usize = 1_024;
/// Maximum number of bytes that the stack buffers for a data channel before the sender has to wait.
const SEND_BUFFER_BYTES_MAX: usize = 1 << 20;
/// Positions in the interceptor chain, as distances from the wire: the stack's own interceptors lie in
/// between (1000 to 13000).
const NEAREST_THE_WIRE: usize = 500;
const NEAREST_THE_APPLICATION: usize = 14_000;

/// The DTLS credentials of a peer, used on all its links.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    certificate: RTCCertificate,
    /// SHA-256 fingerprint of the certificate.
    pub(crate) fingerprint: [u8; 32],
}

impl Credentials {
    pub(crate) fn generate() -> Result<Credentials> {
        let provider = rtc::crypto::default_provider().map_err(|error| other(&error))?;
        let scheme = rtc::crypto::SignatureScheme::EcdsaP256Sha256;
        let certificate = RTCCertificate::generate(provider.crypto(), scheme, CertificateParams::default())?;
        let printed = certificate.get_fingerprints(provider.crypto())?;
        let hex = printed.first().map(|fingerprint| fingerprint.value.as_str()).unwrap_or_default();
        let bytes: Option<Vec<u8>> = hex.split(':').map(|pair| u8::from_str_radix(pair, 16).ok()).collect();
        let fingerprint = bytes.and_then(|bytes| bytes.try_into().ok());
        let fingerprint = fingerprint.ok_or_else(|| other(&"the certificate has no SHA-256 fingerprint"))?;
        Ok(Credentials { certificate, fingerprint })
    }
}

fn other(error: &dyn std::fmt::Display) -> webrtc::error::Error {
    webrtc::error::Error::Other(error.to_string())
}

/// Generates the ICE user fragment and password of one link: 48 and 144 random bits (RFC 8445, 5.3 requires
/// 24 and 128).
pub(crate) fn ice_credentials() -> std::result::Result<(String, String), getrandom::Error> {
    const ICE_CHARACTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut random = [0; 32];
    getrandom::fill(&mut random)?;
    let mut text =
        random.iter().filter_map(|byte| ICE_CHARACTERS.get(usize::from(byte & 63))).map(|&c| char::from(c));
    Ok((text.by_ref().take(8).collect(), text.collect()))
}

/// Parameters of a connection of the stack.
pub(crate) struct Plan {
    pub(crate) role: Role,
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
    pub(crate) payload_types: PayloadTypes,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) runtime: LinkRuntime,
    pub(crate) legs: Legs,
    pub(crate) tap: TrainTap,
}

/// A connection of the stack, with the events of its driver task.
pub(crate) struct Connection {
    pub(crate) peer: Arc<dyn PeerConnection>,
    /// In the order of [`Channel::ALL`].
    pub(crate) channels: Vec<(Channel, Arc<dyn DataChannel>)>,
    pub(crate) state: watch::Receiver<RTCPeerConnectionState>,
    observer: Arc<Observer>,
}

impl Connection {
    pub(crate) async fn open(credentials: &Credentials, plan: Plan) -> Result<Connection> {
        let wire = plan.runtime.wire.clone();
        let (state, seen) = watch::channel(RTCPeerConnectionState::New);
        let observer = Arc::new(Observer {
            wire: wire.clone(),
            state,
            gathered: Notify::new(),
            found: Mutex::default(),
        });
        let certificates = vec![credentials.certificate.clone()];
        let builder = PeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().with_certificates(certificates).build())
            .with_setting_engine(settings(&plan.ufrag, &plan.pwd))
            .with_media_engine(media_engine(plan.payload_types)?)
            .with_interceptor_registry(interceptors(plan.legs, plan.tap))
            .with_handler(observer.clone())
            .with_runtime(Arc::new(plan.runtime))
            .with_udp_addrs(plan.addresses)
            .with_data_channel_send_buffer_limit(SEND_BUFFER_BYTES_MAX);
        // boxed: the link's task would hold these 20 kB of future for its whole life
        let peer = Box::pin(builder.build()).await?;
        let mut connection = Connection { peer: Arc::new(peer), channels: Vec::new(), state: seen, observer };
        if let Err(error) = connection.furnish(&wire.local, plan.role, &plan.ufrag).await {
            connection.close().await;
            return Err(error);
        }
        Ok(connection)
    }

    /// Adds channels and slots in a fixed order, so that both ends number them alike.
    async fn furnish(&mut self, ssrcs: &Ssrcs, role: Role, ufrag: &str) -> Result<()> {
        for (id, channel) in (0_u16..).zip(Channel::ALL) {
            let init = RTCDataChannelInit {
                ordered: channel != Channel::Heartbeat,
                max_retransmits: (channel == Channel::Heartbeat).then_some(0),
                negotiated: Some(id),
                ..Default::default()
            };
            let label = format!("{channel:?}").to_lowercase();
            self.channels.push((channel, self.peer.create_data_channel(&label, Some(init)).await?));
        }
        for (slot, &ssrc) in (0..).zip(ssrcs.slots()) {
            // nothing is written to the track: it only makes the stack declare the slot and its SSRC
            let track = Arc::new(TrackLocalStaticRTP::new(track(slot, ssrc, ufrag)));
            match role {
                Role::Offer => {
                    let direction = RTCRtpTransceiverDirection::Sendrecv;
                    let init = RTCRtpTransceiverInit { direction, ..Default::default() };
                    self.peer.add_transceiver_from_track(track, Some(init)).await?;
                }
                // the stack matches tracks to the sections of the offer by kind, in order
                Role::Answer => _ = self.peer.add_track(track).await?,
            }
        }
        Ok(())
    }

    /// Waits until the stack has gathered all addresses of this end, and returns them.
    pub(crate) async fn candidates(&self) -> List<Candidate, CANDIDATES_MAX> {
        self.observer.gathered.notified().await;
        std::mem::take(&mut *lock(&self.observer.found))
    }

    pub(crate) async fn close(&self) {
        if let Err(error) = self.peer.close().await {
            tracing::debug!(%error, "a connection did not close cleanly");
        }
    }
}

/// Receives the events of the connection's driver task.
struct Observer {
    wire: Arc<Wire>,
    state: watch::Sender<RTCPeerConnectionState>,
    gathered: Notify,
    found: Mutex<List<Candidate, CANDIDATES_MAX>>,
}

#[async_trait]
impl PeerConnectionEventHandler for Observer {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        let candidate = event.candidate;
        let Ok(ip) = candidate.address.parse() else { return };
        let address = SocketAddr::new(ip, candidate.port);
        let candidate = match candidate.typ {
            RTCIceCandidateType::Host => Candidate::Host(address),
            RTCIceCandidateType::Srflx => Candidate::Reflexive(address),
            RTCIceCandidateType::Relay => Candidate::Relayed(address),
            _ => return,
        };
        let mut found = lock(&self.found);
        if !found.contains(&candidate) {
            // candidates beyond the maximum are left out: the first ones are the best
            let _ = found.push(candidate);
        }
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.gathered.notify_one();
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if state == RTCPeerConnectionState::Connected {
            // SCTP's first packet is ready now, but would wait up to 200 ms for the driver's next timer
            self.wire.nudge();
        }
        self.state.send_replace(state);
    }
}

fn settings(ufrag: &str, pwd: &str) -> SettingEngine {
    SettingEngineBuilder::new()
        .with_ice_credentials(ufrag.to_owned(), pwd.to_owned())
        .with_ice_connection_attempts(Some(CHECK_INTERVAL), Some(CHECKS_MAX))
        .with_ice_timeouts(Some(SILENCE_MAX / 2), Some(SILENCE_MAX / 2), Some(CONSENT_INTERVAL))
        .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
        .with_srtp_replay_protection_window(REPLAY_WINDOW)
        .with_srtcp_replay_protection_window(REPLAY_WINDOW)
        .build()
}

fn codec(slot: u8) -> RTCRtpCodec {
    let (mime_type, clock_rate, channels, format) = if is_video(slot) {
        (MIME_TYPE_H264, 90_000, 0, H264_FORMAT)
    } else {
        (MIME_TYPE_OPUS, 48_000, 2, OPUS_FORMAT)
    };
    RTCRtpCodec {
        mime_type: mime_type.to_owned(),
        clock_rate,
        channels,
        sdp_fmtp_line: format.to_owned(),
        rtcp_feedback: Vec::new(),
    }
}

fn kind(slot: u8) -> RtpCodecKind {
    if is_video(slot) { RtpCodecKind::Video } else { RtpCodecKind::Audio }
}

fn track(slot: u8, ssrc: u32, ufrag: &str) -> MediaStreamTrack {
    let coding = RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() };
    let encoding =
        RTCRtpEncodingParameters { rtp_coding_parameters: coding, codec: codec(slot), ..Default::default() };
    // track ids of the two ends must differ: the stack routes RTCP by them
    let (stream, id, label) = (format!("s{slot}"), format!("{ufrag}{slot}"), format!("l{slot}"));
    MediaStreamTrack::new(stream, id, label, kind(slot), vec![encoding])
}

fn media_engine(types: PayloadTypes) -> Result<MediaEngine> {
    let mut engine = MediaEngine::default();
    for (slot, payload_type) in [(0, types.h264), (1, types.opus)] {
        let parameters = RTCRtpCodecParameters { rtp_codec: codec(slot), payload_type };
        engine.register_codec(parameters, kind(slot))?;
        for (typ, parameter) in FEEDBACK {
            let feedback = RTCPFeedback { typ: typ.to_owned(), parameter: parameter.to_owned() };
            engine.register_feedback(feedback, kind(slot));
        }
    }
    // the order of registration determines the extension ids
    let uris: [(_, &[_]); 4] = [
        (PACKET_EXTENSION_URI, &[0, 1]),
        (TWCC_URI, &[0, 1]),
        (AUDIO_LEVEL_URI, &[1]),
        (CONTRIBUTORS_URI, &[1]),
    ];
    for (uri, slots) in uris {
        for &slot in slots {
            let extension = RTCRtpHeaderExtensionCapability { uri: uri.to_owned() };
            engine.register_header_extension(extension, kind(slot), None)?;
        }
    }
    Ok(engine)
}

/// Builds the interceptor chain. There is no pacer, since it would delay packet trains, and [`Legs`] repairs
/// losses in place of the stack. Arrivals are reported to senders that stamp packets with transport-wide
/// sequence numbers. This crate doesn't stamp packets as long as no bandwidth estimator uses the reports
/// (measured cost: 0.3 to 0.6 µs per forwarded packet).
fn interceptors(legs: Legs, tap: TrainTap) -> Registry {
    Registry::new()
        .with(Slot::from(NEAREST_THE_WIRE), tap)
        .with(Slot::TwccReceiver, TwccReceiverBuilder::new().build())
        .with(Slot::ReceiverReport, ReceiverReportBuilder::new().build())
        .with(Slot::from(NEAREST_THE_APPLICATION), legs)
}
