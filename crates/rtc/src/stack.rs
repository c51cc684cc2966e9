//! Configuration of the WebRTC stack: codecs, header extensions, interceptors, timers, and the set-up of a
//! connection.
//!
//! The settings here avoid these traps of the stack (rtc 0.21):
//!
//! - mDNS is on by default; it costs a socket and fails without a multicast route.
//! - The first connectivity check waits for one interval, which is 200 ms by default.
//! - After 7 checks an end stops sending, and the NAT in front of it closes the mapping, although the answer
//!   may still be on its way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plenary_proto::identity::PACKET_EXTENSION_URI;
use plenary_proto::message::PayloadTypes;
use rtc::interceptor::{ReceiverReportBuilder, Registry, Slot, TwccReceiverBuilder};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::certificate::{CertificateParams, RTCCertificate};
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_H264, MIME_TYPE_OPUS, MediaEngine};
use rtc::peer_connection::configuration::setting_engine::{SettingEngine, SettingEngineBuilder};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use rtc::shared::error::{Error, Result};

use crate::legs::Legs;
use crate::shaper::Shaper;
use crate::tap::TrainTap;
use crate::template::{
    AUDIO_LEVEL_URI, CONTRIBUTORS_URI, FEEDBACK, H264_FORMAT, OPUS_FORMAT, Role, TWCC_URI, is_video,
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

fn other(error: &dyn std::fmt::Display) -> Error {
    Error::Other(error.to_string())
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
    pub(crate) wire: Arc<Wire>,
    pub(crate) shaper: Shaper,
    pub(crate) legs: Legs,
    pub(crate) tap: TrainTap,
}

/// Builds a connection of the stack, with its slots in a fixed order, so that both ends number them alike.
pub(crate) fn build(credentials: &Credentials, plan: Plan, now: Instant) -> Result<Box<RTCPeerConnection>> {
    let certificates = vec![credentials.certificate.clone()];
    let mut core = RTCPeerConnectionBuilder::new()
        .with_configuration(RTCConfigurationBuilder::new().with_certificates(certificates).build())
        .with_setting_engine(settings(&plan.ufrag, &plan.pwd))
        .with_media_engine(media_engine(plan.payload_types)?)
        .with_interceptor_registry(interceptors(plan.legs, plan.tap))
        .build(now)
        .map(Box::new)?;
    for (slot, &ssrc) in (0..).zip(plan.wire.local.slots()) {
        // nothing is written to the track: it only makes the stack declare the slot and its SSRC
        let track = track(slot, ssrc, &plan.ufrag);
        match plan.role {
            Role::Offer => {
                let direction = RTCRtpTransceiverDirection::Sendrecv;
                let init = RTCRtpTransceiverInit { direction, ..Default::default() };
                core.add_transceiver_from_track(track, Some(init))?;
            }
            // the stack matches tracks to the sections of the offer by kind, in order
            Role::Answer => _ = core.add_track(track)?,
        }
    }
    Ok(core)
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
