//! Links to a standard WebRTC stack that knows peers by their SDP only: the peer connection of `rtc`,
//! with its own SDP, tracks, data channels and DTLS.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use plenary_proto::bounded::{List, Text};
use plenary_proto::identity::PACKET_EXTENSION_URI;
use plenary_proto::link_layout::Ssrcs;
use plenary_proto::message::{Candidate, Description, LinkKind, Setup};
use plenary_proto::sdp::sdp;
use plenary_rtc::*;
use rtc::data_channel::{RTCDataChannelId, RTCDataChannelInit};
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::configuration::media_engine::{MIME_TYPE_H264, MIME_TYPE_OPUS, MediaEngine};
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtp;
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RTCRtpHeaderExtensionCapability, RtpCodecKind,
};
use rtc::rtp_transceiver::{RTCRtpTransceiverDirection, RTCRtpTransceiverInit};
use rtc::sansio::Protocol as _;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use tokio::net::UdpSocket;

use crate::support::*;

const LINK: LinkId = LinkId(1);
const UFRAG: &str = "standard";
const PWD: &str = "abcdefghijklmnopqrstuvwx";
const SLOTS: u8 = 6;
const HEARTBEAT: usize = 1;
/// Header extension of the packet's identity, the first that both ends number.
const IDENTITY: u8 = 1;

/// The standard end.
struct Standard {
    core: Box<RTCPeerConnection>,
    socket: UdpSocket,
    channels: Vec<RTCDataChannelId>,
    channels_open: usize,
    /// Messages and packets that arrived.
    messages: Vec<(usize, Bytes)>,
    packets: Vec<rtp::Packet>,
}

fn codec(slot: u8) -> RTCRtpCodec {
    let (mime_type, clock_rate, channels, format) = if slot.is_multiple_of(2) {
        (MIME_TYPE_H264, 90_000, 0, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f")
    } else {
        (MIME_TYPE_OPUS, 48_000, 2, "minptime=10;useinbandfec=1")
    };
    let (mime_type, sdp_fmtp_line) = (mime_type.to_owned(), format.to_owned());
    RTCRtpCodec { mime_type, clock_rate, channels, sdp_fmtp_line, rtcp_feedback: Vec::new() }
}

fn kind(slot: u8) -> RtpCodecKind {
    if slot.is_multiple_of(2) { RtpCodecKind::Video } else { RtpCodecKind::Audio }
}

fn media_engine() -> MediaEngine {
    let mut engine = MediaEngine::default();
    for (slot, payload_type) in [(0, 102), (1, 111)] {
        let parameters = RTCRtpCodecParameters { rtp_codec: codec(slot), payload_type };
        engine.register_codec(parameters, kind(slot)).unwrap();
        for (typ, parameter) in [("nack", ""), ("nack", "pli")] {
            let feedback = RTCPFeedback { typ: typ.to_owned(), parameter: parameter.to_owned() };
            engine.register_feedback(feedback, kind(slot));
        }
        let identity = RTCRtpHeaderExtensionCapability { uri: PACKET_EXTENSION_URI.to_owned() };
        engine.register_header_extension(identity, kind(slot), None).unwrap();
    }
    engine
}

/// SSRCs of this end's slots, as another peer derives them from the user fragment.
fn ssrcs() -> Vec<u32> {
    Ssrcs::of(LinkKind::Peer, UFRAG).slots().to_vec()
}

/// The description that says the same as an SDP of the standard stack.
fn description(sdp: &str, setup: Setup, address: SocketAddr) -> Description {
    let line = |prefix: &str| sdp.lines().find_map(|line| line.strip_prefix(prefix)).unwrap();
    let fingerprint: Vec<u8> =
        line("a=fingerprint:sha-256 ").split(':').map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
    Description {
        ufrag: Text::truncated(line("a=ice-ufrag:")),
        pwd: Text::truncated(line("a=ice-pwd:")),
        fingerprint: fingerprint.try_into().unwrap(),
        setup,
        payload_types: None,
        browser: None,
        candidates: List::truncated([Candidate::Host(address)]),
        sctp: None,
        hello: None,
    }
}

impl Standard {
    async fn new(offers: bool) -> Standard {
        let settings = SettingEngineBuilder::new()
            .with_ice_credentials(UFRAG.to_owned(), PWD.to_owned())
            .with_ice_connection_attempts(Some(Duration::from_millis(20)), Some(100))
            .with_multicast_dns_mode(rtc::ice::mdns::MulticastDnsMode::Disabled)
            .build();
        let mut core = RTCPeerConnectionBuilder::new()
            .with_setting_engine(settings)
            .with_media_engine(media_engine())
            .build(Instant::now())
            .map(Box::new)
            .unwrap();
        for (slot, ssrc) in (0..).zip(ssrcs()) {
            let coding = RTCRtpCodingParameters { ssrc: Some(ssrc), ..Default::default() };
            let encoding = RTCRtpEncodingParameters {
                rtp_coding_parameters: coding,
                codec: codec(slot),
                ..Default::default()
            };
            let names = [format!("s{slot}"), format!("t{slot}"), format!("l{slot}")];
            let [stream, id, label] = names;
            let track = MediaStreamTrack::new(stream, id, label, kind(slot), vec![encoding]);
            if offers {
                let direction = RTCRtpTransceiverDirection::Sendrecv;
                let init = RTCRtpTransceiverInit { direction, ..Default::default() };
                core.add_transceiver_from_track(track, Some(init)).unwrap();
            } else {
                core.add_track(track).unwrap();
            }
        }
        let channels = ["control", "heartbeat", "bulk"].into_iter().zip(0..).map(|(label, id)| {
            let is_heartbeat = label == "heartbeat";
            let init = RTCDataChannelInit {
                ordered: !is_heartbeat,
                max_retransmits: is_heartbeat.then_some(0),
                negotiated: Some(id),
                ..Default::default()
            };
            core.create_data_channel(label, Some(init)).unwrap().id()
        });
        let channels = channels.collect();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        Standard { core, socket, channels, channels_open: 0, messages: Vec::new(), packets: Vec::new() }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    fn set_local(&mut self, description: RTCSessionDescription) -> String {
        self.core.set_local_description(Instant::now(), description).unwrap();
        let address = self.address();
        let candidate = format!("candidate:1 1 udp 2130706431 {} {} typ host", address.ip(), address.port());
        let init = RTCIceCandidateInit { candidate, sdp_mid: Some("0".to_owned()), ..Default::default() };
        self.core.add_local_candidate(init).unwrap();
        self.core.local_description().unwrap().sdp
    }

    /// Runs until `done`, and sends an empty heartbeat each 20 ms, as the answering end does.
    async fn run(&mut self, mut done: impl FnMut(&mut Standard) -> bool) {
        let begun = Instant::now();
        let mut buffer = vec![0; 2_000];
        let mut greeted = begun;
        while !done(self) {
            assert!(begun.elapsed() < PATIENCE, "the standard end waits in vain");
            while let Some(datagram) = self.core.poll_write() {
                self.socket.send_to(&datagram.message, datagram.transport.peer_addr).await.unwrap();
            }
            while let Some(event) = self.core.poll_event() {
                if let RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnOpen(_)) = event {
                    self.channels_open += 1;
                }
            }
            while let Some(read) = self.core.poll_media_read() {
                if let RTCMessage::RtpPacket(_, packet) = read.message {
                    self.packets.push(packet);
                }
            }
            while let Some(read) = self.core.poll_data_read() {
                if let RTCMessage::DataChannelMessage(id, message) = read.message {
                    let channel = self.channels.iter().position(|own| *own == id).unwrap();
                    self.messages.push((channel, message.data.freeze()));
                }
            }
            if self.channels_open == 3 && greeted.elapsed() > Duration::from_millis(20) {
                greeted = Instant::now();
                self.send(HEARTBEAT, b"");
            }
            let read = self.socket.recv_from(&mut buffer);
            let arrived = tokio::time::timeout(Duration::from_millis(5), read).await;
            let now = Instant::now();
            if let Ok(arrived) = arrived {
                let (len, peer_addr) = arrived.unwrap();
                let transport = TransportContext {
                    local_addr: self.address(),
                    peer_addr,
                    ecn: None,
                    transport_protocol: TransportProtocol::UDP,
                };
                let message = BytesMut::from(&buffer[..len]);
                let _ = self.core.handle_read(TaggedBytesMut { now, transport, message });
            }
            self.core.handle_timeout(now).unwrap();
        }
    }

    /// Sends what waits.
    async fn turn(&mut self) {
        let mut turns = 0..1;
        self.run(|_| turns.next().is_none()).await;
    }

    fn send(&mut self, channel: usize, message: &[u8]) {
        let mut channel = self.core.data_channel(self.channels[channel]).unwrap();
        channel.send(Instant::now(), BytesMut::from(message)).unwrap();
    }

    fn send_packet(&mut self, slot: u8, packet: &MediaPacket) {
        let header = rtp::header::Header {
            version: 2,
            payload_type: if slot.is_multiple_of(2) { 102 } else { 111 },
            sequence_number: 7,
            timestamp: packet.timestamp,
            marker: packet.marker,
            ssrc: ssrcs()[usize::from(slot)],
            ..Default::default()
        };
        let mut packet = rtp::Packet { header, payload: packet.payload.clone() };
        let identity = self::packet(3).identity.to_bytes();
        packet.header.set_extension(IDENTITY, Bytes::copy_from_slice(&identity)).unwrap();
        let sender = self.core.get_senders().nth(usize::from(slot)).unwrap();
        self.core.rtp_sender(sender).unwrap().write_rtp(Instant::now(), packet).unwrap();
    }
}

/// Messages, packets and feedback go both ways.
async fn exchange(peer: &mut Peer, standard: &mut Standard) {
    peer.send(LINK, Channel::Control, &b"from the peer"[..]);
    standard.send(0, b"from the standard end");
    standard.run(|standard| standard.messages.contains(&(0, Bytes::from_static(b"from the peer")))).await;
    assert_eq!(peer.received().await, (LINK, Channel::Control, Bytes::from_static(b"from the standard end")));

    for slot in 0..SLOTS {
        let sent = packet(3);
        peer.forward(LINK, slot, sent.clone());
        standard.run(|standard| standard.packets.len() > usize::from(slot)).await;
        let arrived = standard.packets.last().unwrap();
        assert_eq!((&arrived.payload, arrived.header.timestamp), (&sent.payload, sent.timestamp));
        let identity = arrived.header.get_extension(IDENTITY).unwrap();
        assert_eq!(identity, Bytes::copy_from_slice(&sent.identity.to_bytes()));

        standard.send_packet(slot, &sent);
        standard.turn().await;
        let contributors = Contributors::new();
        assert_eq!(peer.packet().await, (slot, MediaPacket { contributors, ..sent }));
    }
    let media_ssrc = standard.packets[0].header.ssrc;
    let pli = PictureLossIndication { sender_ssrc: ssrcs()[0], media_ssrc };
    let receiver = standard.core.get_receivers().next().unwrap();
    let mut receiver = standard.core.rtp_receiver(receiver).unwrap();
    receiver.write_rtcp(Instant::now(), vec![Box::new(pli)]).unwrap();
    standard.turn().await;
    assert_eq!(peer.next_arrived().await, Arrived::KeyframeWanted { link: LINK, slot: 0 });
}

#[tokio::test]
async fn a_standard_stack_answers_a_link_and_carries_messages_and_media() {
    let (mut peer, mut standard) = (Peer::new(), Standard::new(false).await);
    peer.links.submit(Command::Offer { link: LINK, kind: LinkKind::Peer, is_stranger: false });
    let offer = sdp(LinkKind::Peer, &peer.described(LINK).await, None).unwrap();
    let offer = RTCSessionDescription::offer(offer).unwrap();
    standard.core.set_remote_description(Instant::now(), offer).unwrap();
    let answer = standard.core.create_answer(None).unwrap();
    let answer = standard.set_local(answer);
    let answer = description(&answer, Setup::Active, standard.address());
    peer.links.submit(Command::Accept { link: LINK, answer });
    // the peer's greeting answers one of the standard end, so both are connected
    standard.run(|standard| standard.messages.iter().any(|(channel, _)| *channel == HEARTBEAT)).await;
    peer.connected(LINK).await;
    exchange(&mut peer, &mut standard).await;
    peer.links.submit(Command::Close { link: LINK });
    peer.down(LINK).await;
}

#[tokio::test]
async fn a_standard_stack_offers_a_link_and_carries_messages_and_media() {
    let (mut peer, mut standard) = (Peer::new(), Standard::new(true).await);
    let offer = standard.core.create_offer(None).unwrap();
    let offer = standard.set_local(offer);
    let offer = description(&offer, Setup::ActPass, standard.address());
    peer.links.submit(Command::Answer { link: LINK, kind: LinkKind::Peer, offer, is_stranger: false });
    let answer = sdp(LinkKind::Peer, &peer.described(LINK).await, None).unwrap();
    let answer = RTCSessionDescription::answer(answer).unwrap();
    standard.core.set_remote_description(Instant::now(), answer).unwrap();
    standard.run(|standard| standard.messages.iter().any(|(channel, _)| *channel == HEARTBEAT)).await;
    // the offering end answers a greeting
    standard.send(HEARTBEAT, b"");
    standard.turn().await;
    peer.connected(LINK).await;
    exchange(&mut peer, &mut standard).await;
    // the standard end hangs up
    standard.core.close().unwrap();
    standard.turn().await;
    assert_eq!(peer.down(LINK).await, DownReason::ClosedByPeer);
}
