//! SDP from a template: the stack needs SDP, while peers exchange [`Description`]s.
//!
//! All links of a kind are negotiated alike: a fixed number of slots, then the application section for the
//! channels; fixed payload types and extension ids. The remote SDP is therefore written here from a
//! description, and no SDP of another peer is ever parsed. The stack writes its own local SDP; [`agrees`]
//! checks it against the template, so that an update of the stack that numbers anything differently fails at
//! once and with a clear error.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use plenary_proto::identity::PACKET_EXTENSION_URI;
use plenary_proto::message::{Candidate, Description, LinkKind, PayloadTypes, Setup};

/// Maximum number of slots of a link.
pub(crate) const SLOTS_MAX: usize = 16;
/// Slot number from which the SSRC of packet trains is derived. Trains have no negotiated slot: only the
/// interceptor nearest the wire sees them.
const TRAIN_SLOT: u8 = 255;
/// Header extension ids (RFC 8285): the stack numbers them from 1, in the order of registration.
pub(crate) const PACKET_EXTENSION_ID: u8 = 1;
pub(crate) const TWCC_EXTENSION_ID: u8 = 2;
pub(crate) const AUDIO_LEVEL_EXTENSION_ID: u8 = 3;
pub(crate) const CONTRIBUTORS_EXTENSION_ID: u8 = 4;
/// Transport-wide congestion control: draft-holmer-rmcat-transport-wide-cc-extensions-01.
pub(crate) const TWCC_URI: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
/// Audio level of the client: RFC 6464.
pub(crate) const AUDIO_LEVEL_URI: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
/// Audio levels of the contributors in mixed sound: RFC 6465.
pub(crate) const CONTRIBUTORS_URI: &str = "urn:ietf:params:rtp-hdrext:csrc-audio-level";
/// H.264 format (RFC 6184, 8.1): constrained baseline, level 3.1, FU-A allowed.
pub(crate) const H264_FORMAT: &str = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
/// Opus format (RFC 7587, 6.1).
pub(crate) const OPUS_FORMAT: &str = "minptime=10;useinbandfec=1";
/// RTCP feedback of every slot (RFC 4585).
pub(crate) const FEEDBACK: [(&str, &str); 3] = [("nack", ""), ("nack", "pli"), ("transport-cc", "")];
/// Default payload types, for descriptions that name none.
pub(crate) const PAYLOAD_TYPES: PayloadTypes = PayloadTypes { h264: 102, opus: 111 };

/// Reason that a description is unusable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DescriptionError {
    /// The user fragment is not 4 to 32 ICE characters (RFC 8839).
    #[error("the user fragment is malformed")]
    Ufrag,
    /// The password is not 22 to 64 ICE characters (RFC 8839).
    #[error("the password is malformed")]
    Pwd,
    /// The DTLS role does not fit: an offer must leave it open, an answer must choose one.
    #[error("the DTLS role {0:?} does not fit")]
    Setup(Setup),
    /// The payload types are equal, outside the dynamic ranges of RFC 5761, or differ from those of the
    /// offer.
    #[error("the payload types {0:?} cannot be used")]
    PayloadTypes(PayloadTypes),
    /// The description lists no candidate address.
    #[error("there are no candidates")]
    NoCandidates,
    /// A candidate address is unreachable: port 0, unspecified or multicast.
    #[error("{0} is no address of a peer")]
    Candidate(SocketAddr),
    /// Two slots have the same SSRC, so another user fragment is needed. Probability: one link in 30 million
    /// (16 slots at each end).
    #[error("two slots share an SSRC")]
    SsrcClash,
    /// The stack at this end negotiates a layout that differs from the template.
    #[error("this stack's own description differs at {0:?}")]
    Layout(String),
}

/// Role of a description in the negotiation: offer or answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Offer,
    Answer,
}

/// Number of slots of a link of that kind: even slots for video, odd slots for sound.
pub(crate) const fn slot_count(kind: LinkKind) -> u8 {
    match kind {
        LinkKind::Peer => 6,
        LinkKind::Trunk(_) => SLOTS_MAX as u8,
    }
}

/// Whether a slot carries video: even slots do.
pub(crate) const fn is_video(slot: u8) -> bool {
    slot.is_multiple_of(2)
}

/// SSRCs of one end of a link: of its slots, in order, and of its packet trains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ssrcs {
    slots: [u32; SLOTS_MAX],
    slot_count: u8,
    /// SSRC of packet trains.
    pub(crate) train: u32,
}

impl Ssrcs {
    pub(crate) fn of(kind: LinkKind, ufrag: &str) -> Ssrcs {
        Ssrcs {
            slots: std::array::from_fn(|slot| ssrc(ufrag, slot as u8)),
            slot_count: slot_count(kind),
            train: ssrc(ufrag, TRAIN_SLOT),
        }
    }

    pub(crate) fn slots(&self) -> &[u32] {
        self.slots.get(..usize::from(self.slot_count)).unwrap_or_default()
    }

    pub(crate) fn of_slot(&self, slot: u8) -> Option<u32> {
        self.slots().get(usize::from(slot)).copied()
    }

    pub(crate) fn slot_of(&self, ssrc: u32) -> Option<u8> {
        self.slots().iter().position(|&of_slot| of_slot == ssrc).map(|slot| slot as u8)
    }

    /// Whether any two SSRCs of both ends together are equal.
    pub(crate) fn clash(&self, other: &Ssrcs) -> bool {
        has_twins([self.slots(), other.slots(), &[self.train, other.train]].concat())
    }

    /// Whether any two SSRCs of this end are equal.
    pub(crate) fn clash_among_themselves(&self) -> bool {
        has_twins([self.slots(), &[self.train]].concat())
    }
}

fn has_twins(mut ssrcs: Vec<u32>) -> bool {
    ssrcs.sort_unstable();
    ssrcs.windows(2).any(|pair| pair.first() == pair.last())
}

/// SSRC of a slot (docs/PROTOCOL.md, section 4): FNV-1a over fragment and slot, folded to 32 bits, lowest bit
/// set.
fn ssrc(ufrag: &str, slot: u8) -> u32 {
    let hash = ufrag.bytes().chain([slot]).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    ((hash >> 32) ^ hash) as u32 | 1
}

/// Checks every field of a description that could confuse the stack, and returns its payload types.
pub(crate) fn check(description: &Description, role: Role) -> Result<PayloadTypes, DescriptionError> {
    if !is_ice_text(&description.ufrag, 4..=32) {
        return Err(DescriptionError::Ufrag);
    }
    if !is_ice_text(&description.pwd, 22..=64) {
        return Err(DescriptionError::Pwd);
    }
    if (description.setup == Setup::ActPass) != (role == Role::Offer) {
        return Err(DescriptionError::Setup(description.setup));
    }
    if description.candidates.is_empty() {
        return Err(DescriptionError::NoCandidates);
    }
    for candidate in &description.candidates {
        let address = address(candidate);
        if address.port() == 0 || address.ip().is_unspecified() || address.ip().is_multicast() {
            return Err(DescriptionError::Candidate(address));
        }
    }
    let types = description.payload_types.unwrap_or(PAYLOAD_TYPES);
    if types.h264 == types.opus || !is_dynamic(types.h264) || !is_dynamic(types.opus) {
        return Err(DescriptionError::PayloadTypes(types));
    }
    Ok(types)
}

/// ALPHA / DIGIT / "+" / "/" (RFC 8839, 5.4): no character that could end a line of SDP.
fn is_ice_text(text: &str, lengths: std::ops::RangeInclusive<usize>) -> bool {
    lengths.contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
}

/// Whether RTCP leaves the payload type free when RTP and RTCP share a port (RFC 5761, section 4).
fn is_dynamic(payload_type: u8) -> bool {
    (96..=127).contains(&payload_type) || (35..=63).contains(&payload_type)
}

fn address(candidate: &Candidate) -> SocketAddr {
    match *candidate {
        Candidate::Host(address) | Candidate::Reflexive(address) | Candidate::Relayed(address) => address,
    }
}

/// Writes the SDP of one end of a link. The description must have passed [`check`].
pub(crate) fn sdp(kind: LinkKind, description: &Description, types: PayloadTypes) -> String {
    let slots = slot_count(kind);
    let mut sdp = String::with_capacity(700 * usize::from(slots));
    // writing to a String cannot fail
    let _ = write_sdp(&mut sdp, kind, description, types);
    sdp
}

fn write_sdp(
    sdp: &mut String,
    kind: LinkKind,
    description: &Description,
    types: PayloadTypes,
) -> std::fmt::Result {
    let ssrcs = Ssrcs::of(kind, &description.ufrag);
    let application = slot_count(kind);
    write!(sdp, "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=fingerprint:sha-256 ")?;
    for (index, byte) in description.fingerprint.iter().enumerate() {
        write!(sdp, "{}{byte:02X}", if index == 0 { "" } else { ":" })?;
    }
    write!(sdp, "\r\na=group:BUNDLE")?;
    for mid in 0..=application {
        write!(sdp, " {mid}")?;
    }
    write!(sdp, "\r\na=extmap-allow-mixed\r\n")?;
    for (slot, ssrc) in (0..).zip(ssrcs.slots()) {
        let (media, payload_type) =
            if is_video(slot) { ("video", types.h264) } else { ("audio", types.opus) };
        write!(sdp, "m={media} 9 UDP/TLS/RTP/SAVPF {payload_type}\r\n")?;
        write_transport(sdp, slot, description)?;
        write_media(sdp, slot, payload_type)?;
        // track ids of the two ends must differ: the stack routes RTCP by them
        write!(
            sdp,
            "a=msid:s{slot} {}{slot}\r\na=ssrc:{ssrc} cname:p\r\na=sendrecv\r\n",
            &*description.ufrag
        )?;
        if slot == 0 {
            write_candidates(sdp, description)?;
        }
    }
    write!(sdp, "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n")?;
    write_transport(sdp, application, description)?;
    write!(sdp, "a=sctp-port:5000\r\n")
}

fn write_transport(sdp: &mut String, mid: u8, description: &Description) -> std::fmt::Result {
    let setup = match description.setup {
        Setup::ActPass => "actpass",
        Setup::Active => "active",
        Setup::Passive => "passive",
    };
    write!(
        sdp,
        "c=IN IP4 0.0.0.0\r\na=setup:{setup}\r\na=mid:{mid}\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\n",
        &*description.ufrag, &*description.pwd
    )
}

fn write_media(sdp: &mut String, slot: u8, payload_type: u8) -> std::fmt::Result {
    let (codec, format) =
        if is_video(slot) { ("H264/90000", H264_FORMAT) } else { ("opus/48000/2", OPUS_FORMAT) };
    write!(sdp, "a=rtcp-mux\r\na=rtcp-rsize\r\na=rtpmap:{payload_type} {codec}\r\n")?;
    write!(sdp, "a=fmtp:{payload_type} {format}\r\n")?;
    for (feedback, parameter) in FEEDBACK {
        let space = if parameter.is_empty() { "" } else { " " };
        write!(sdp, "a=rtcp-fb:{payload_type} {feedback}{space}{parameter}\r\n")?;
    }
    write!(sdp, "a=extmap:{PACKET_EXTENSION_ID} {PACKET_EXTENSION_URI}\r\n")?;
    write!(sdp, "a=extmap:{TWCC_EXTENSION_ID} {TWCC_URI}\r\n")?;
    if !is_video(slot) {
        write!(sdp, "a=extmap:{AUDIO_LEVEL_EXTENSION_ID} {AUDIO_LEVEL_URI}\r\n")?;
        write!(sdp, "a=extmap:{CONTRIBUTORS_EXTENSION_ID} {CONTRIBUTORS_URI}\r\n")?;
    }
    Ok(())
}

/// Writes candidates with the priorities of RFC 8445, 5.1.2: host before reflexive before relayed, then in
/// listed order.
fn write_candidates(sdp: &mut String, description: &Description) -> std::fmt::Result {
    for (index, candidate) in (0_u32..).zip(&description.candidates) {
        let (preference, kind) = match candidate {
            Candidate::Host(_) => (126_u32, "host"),
            Candidate::Reflexive(_) => (100, "srflx raddr 0.0.0.0 rport 0"),
            Candidate::Relayed(_) => (0, "relay raddr 0.0.0.0 rport 0"),
        };
        let priority = (preference << 24) | ((65_535 - index) << 8) | 255;
        let address = address(candidate);
        let (ip, port) = (address.ip(), address.port());
        write!(sdp, "a=candidate:{index} 1 udp {priority} {ip} {port} typ {kind}\r\n")?;
    }
    write!(sdp, "a=end-of-candidates\r\n")
}

/// Checks that the SDP which the stack wrote for this end has the layout of the template: sections, payload
/// types, extensions, SSRCs and credentials.
pub(crate) fn agrees(stack: &str, template: &str) -> Result<(), DescriptionError> {
    let (stack, template) = (layout(stack), layout(template));
    match stack.iter().zip(&template).find(|(stack, template)| stack != template) {
        Some((stack, _)) => Err(DescriptionError::Layout((*stack).to_owned())),
        None if stack.len() != template.len() => {
            let odd = stack.len().max(template.len()) - 1;
            let line = stack.get(odd).or(template.get(odd)).copied().unwrap_or_default();
            Err(DescriptionError::Layout(line.to_owned()))
        }
        None => Ok(()),
    }
}

/// Lines of an SDP that both ends must interpret alike, sorted within their section.
fn layout(sdp: &str) -> Vec<&str> {
    const FIXED: [&str; 7] =
        ["a=mid:", "a=extmap:", "a=rtpmap:", "a=ice-ufrag:", "a=ice-pwd:", "a=rtcp-fb:", "a=sctp-port:"];
    let mut sections = vec![Vec::new()];
    for line in sdp.lines() {
        if line.starts_with("m=") {
            sections.push(vec![line]);
        } else if FIXED.iter().any(|prefix| line.starts_with(prefix)) {
            sections.last_mut().into_iter().for_each(|section| section.push(line));
        } else if let Some(end) = line.strip_prefix("a=ssrc:").and_then(|ssrc| ssrc.find(' ')) {
            // only the number: the stack adds attributes of its own, one line each
            let ssrc = &line[..end + "a=ssrc:".len()];
            sections.last_mut().into_iter().for_each(|section| section.push(ssrc));
        }
    }
    for section in &mut sections {
        section.sort_unstable();
        section.dedup();
    }
    sections.concat()
}

/// Whether an address is worth offering to other peers; the caller decides about loopback.
pub(crate) fn is_offerable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            !ip.is_unspecified() && !ip.is_link_local() && !ip.is_multicast() && !ip.is_broadcast()
        }
        // an fe80:: address is useless without its scope, which candidates don't carry
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_unicast_link_local() && !ip.is_multicast(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plenary_proto::bounded::{List, Text};
    use proptest::prelude::*;
    use rtc::peer_connection::sdp::RTCSessionDescription;

    const KINDS: [LinkKind; 2] = [LinkKind::Peer, LinkKind::Trunk(9)];
    const GOLDEN_SSRCS: [u32; 6] =
        [0xc09d_1893, 0xc09d_1b41, 0xc09d_1e0d, 0xc09d_1efb, 0xc09d_0ddf, 0xc09d_0e8d];

    fn description() -> Description {
        Description {
            ufrag: Text::truncated("ab+/"),
            pwd: Text::truncated("abcdefghijklmnopqrstuv"),
            fingerprint: [0xab; 32],
            setup: Setup::ActPass,
            payload_types: None,
            candidates: List::truncated([
                Candidate::Host("192.0.2.7:50000".parse().unwrap()),
                Candidate::Reflexive("[2001:db8::1]:4000".parse().unwrap()),
                Candidate::Relayed("203.0.113.9:3478".parse().unwrap()),
            ]),
        }
    }

    #[test]
    fn ssrcs_are_derived_as_the_protocol_says() {
        // expected: FNV-1a over "ab+/" and the slot, computed independently of this code
        let ssrcs = Ssrcs::of(LinkKind::Peer, "ab+/");
        assert_eq!(ssrcs.slots(), GOLDEN_SSRCS);
        assert_eq!(ssrcs.of_slot(6), None);
        for (slot, ssrc) in (0..).zip(GOLDEN_SSRCS) {
            assert_eq!((ssrcs.of_slot(slot), ssrcs.slot_of(ssrc)), (Some(ssrc), Some(slot)));
        }
        assert_eq!(ssrcs.slot_of(ssrcs.train), None, "trains are in no slot");
        assert!(ssrcs.clash(&ssrcs) && !ssrcs.clash_among_themselves());
        assert!(!ssrcs.clash(&Ssrcs::of(LinkKind::Peer, "abcd")));
    }

    #[test]
    fn each_slot_has_its_section_and_candidates_are_ranked() {
        for (kind, slots) in KINDS.into_iter().zip([6, 16]) {
            let sdp = sdp(kind, &description(), PAYLOAD_TYPES);
            let count = |line: &str| sdp.lines().filter(|found| found.starts_with(line)).count();
            assert_eq!(count("m=video 9 UDP/TLS/RTP/SAVPF 102"), slots / 2);
            assert_eq!(count("m=audio 9 UDP/TLS/RTP/SAVPF 111"), slots / 2);
            assert_eq!(
                (count("m="), count("a=mid:"), count("a=setup:actpass")),
                (slots + 1, slots + 1, slots + 1)
            );
            assert_eq!(
                (count("a=ssrc:"), count("a=extmap:1 "), count("a=extmap:3 ")),
                (slots, slots, slots / 2)
            );
            let candidates: Vec<_> = sdp.lines().filter(|line| line.starts_with("a=candidate:")).collect();
            assert_eq!(
                candidates,
                [
                    "a=candidate:0 1 udp 2130706431 192.0.2.7 50000 typ host",
                    "a=candidate:1 1 udp 1694498559 2001:db8::1 4000 typ srflx raddr 0.0.0.0 rport 0",
                    "a=candidate:2 1 udp 16776703 203.0.113.9 3478 typ relay raddr 0.0.0.0 rport 0",
                ]
            );
        }
    }

    #[test]
    fn a_stack_that_lays_out_anything_else_is_found_out() {
        let template = sdp(LinkKind::Peer, &description(), PAYLOAD_TYPES);
        assert_eq!(agrees(&template, &template), Ok(()));
        let extra = format!("{template}a=sendrecv\r\na=max-message-size:262144\r\n");
        assert_eq!(agrees(&extra, &template), Ok(()), "what the template leaves open");
        let rows = [
            ("a=mid:3", "a=mid:4"),
            ("a=extmap:1 urn:plenary:packet", "a=extmap:4 urn:plenary:packet"),
            ("SAVPF 102", "SAVPF 102 103"),
            ("a=rtpmap:111 opus/48000/2", "a=rtpmap:111 opus/48000"),
            ("a=rtcp-fb:102 nack pli\r\n", ""),
            ("a=ssrc:", "a=ssrc:1"),
            ("a=sctp-port:5000\r\n", ""),
        ];
        for (ours, theirs) in rows {
            let stack = template.replacen(ours, theirs, 1);
            assert!(matches!(agrees(&stack, &template), Err(DescriptionError::Layout(_))), "{ours}");
        }
        assert!(agrees("", &template).is_err() && agrees(&template, "").is_err());
    }

    fn any_candidate() -> impl Strategy<Value = Candidate> {
        (any::<std::net::IpAddr>(), any::<u16>(), 0_usize..3).prop_map(|(ip, port, kind)| {
            let address = SocketAddr::new(ip, port);
            [Candidate::Host(address), Candidate::Reflexive(address), Candidate::Relayed(address)][kind]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// A description that passes the check yields SDP with the expected number of lines, which the stack
        /// can parse. Nothing panics.
        #[test]
        fn no_text_of_a_peer_gets_into_the_sdp_as_a_line(
            ufrag in prop_oneof!["[a-zA-Z0-9+/]{4,32}", ".{0,32}", "[a-z]{4}\r\na=x"],
            pwd in prop_oneof!["[a-zA-Z0-9+/]{22,64}", "\\PC{0,64}"],
            fingerprint in any::<[u8; 32]>(),
            setup in prop_oneof![Just(Setup::ActPass), Just(Setup::Active), Just(Setup::Passive)],
            types in proptest::option::of((any::<u8>(), any::<u8>())),
            candidates in proptest::collection::vec(any_candidate(), 0..5),
        ) {
            let description = Description {
                ufrag: Text::truncated(&ufrag),
                pwd: Text::truncated(&pwd),
                fingerprint,
                setup,
                payload_types: types.map(|(h264, opus)| PayloadTypes { h264, opus }),
                candidates: List::truncated(candidates),
            };
            let role = if setup == Setup::ActPass { Role::Offer } else { Role::Answer };
            for kind in KINDS {
                let Ok(types) = check(&description, role) else { continue };
                let candidates = description.candidates.clone();
                let plain = Description { candidates, ..tests::description() };
                let made = sdp(kind, &description, types);
                prop_assert_eq!(made.lines().count(), sdp(kind, &plain, PAYLOAD_TYPES).lines().count());
                prop_assert!(RTCSessionDescription::offer(made).is_ok());
            }
        }
    }
}
