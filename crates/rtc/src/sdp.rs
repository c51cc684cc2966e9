//! The SDP by which a standard WebRTC stack, such as a browser's, sees one end of a link.
//!
//! Peers exchange [`Description`]s, and [`Transport`](crate::transport::Transport) needs no SDP. An end of another
//! stack takes this SDP as its remote description. No text of another peer can become a line of it.

use std::fmt::Write;

use plenary_proto::identity::PACKET_EXTENSION_URI;
use plenary_proto::message::{Candidate, Description, LinkKind, PayloadTypes, Setup};

use crate::layout::{
    AUDIO_LEVEL_EXTENSION_ID, CONTRIBUTORS_EXTENSION_ID, DescriptionError, PACKET_EXTENSION_ID, Role, Ssrcs,
    TWCC_EXTENSION_ID, address, check, is_video, priority, slot_count,
};

/// Transport-wide congestion control: draft-holmer-rmcat-transport-wide-cc-extensions-01.
const TWCC_URI: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
/// Audio level of the client: RFC 6464.
const AUDIO_LEVEL_URI: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
/// Audio levels of the contributors in mixed sound: RFC 6465.
const CONTRIBUTORS_URI: &str = "urn:ietf:params:rtp-hdrext:csrc-audio-level";
/// H.264 format (RFC 6184, 8.1): constrained baseline, level 3.1, FU-A allowed.
const H264_FORMAT: &str = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
/// Opus format (RFC 7587, 6.1).
const OPUS_FORMAT: &str = "minptime=10;useinbandfec=1";
/// RTCP feedback of every slot (RFC 4585).
const FEEDBACK: [(&str, &str); 3] = [("nack", ""), ("nack", "pli"), ("transport-cc", "")];

/// Writes the SDP of one end of a link: an offer if its DTLS role is open, else an answer.
///
/// # Errors
/// The description is one that no link accepts.
pub fn sdp(kind: LinkKind, description: &Description) -> Result<String, DescriptionError> {
    let role = if description.setup == Setup::ActPass { Role::Offer } else { Role::Answer };
    let types = check(description, role)?;
    let mut sdp = String::with_capacity(700 * usize::from(slot_count(kind)));
    // writing to a String cannot fail
    let _ = write_sdp(&mut sdp, kind, description, types);
    Ok(sdp)
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
        // track ids of the two ends differ, since some stacks route RTCP by them
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

fn write_candidates(sdp: &mut String, description: &Description) -> std::fmt::Result {
    for (index, candidate) in (0_u32..).zip(&description.candidates) {
        let kind = match candidate {
            Candidate::Host(_) => "host",
            Candidate::Reflexive(_) => "srflx raddr 0.0.0.0 rport 0",
            Candidate::Relayed(_) => "relay raddr 0.0.0.0 rport 0",
        };
        let priority = priority(candidate, index);
        let address = address(candidate);
        let (ip, port) = (address.ip(), address.port());
        write!(sdp, "a=candidate:{index} 1 udp {priority} {ip} {port} typ {kind}\r\n")?;
    }
    write!(sdp, "a=end-of-candidates\r\n")
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use plenary_proto::bounded::{List, Text};
    use proptest::prelude::*;
    use rtc::peer_connection::sdp::RTCSessionDescription;

    use super::*;

    const KINDS: [LinkKind; 2] = [LinkKind::Peer, LinkKind::Trunk(9)];

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
    fn each_slot_has_its_section_and_candidates_are_ranked() {
        for (kind, slots) in KINDS.into_iter().zip([6, 16]) {
            let sdp = sdp(kind, &description()).unwrap();
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
            for kind in KINDS {
                let Ok(made) = sdp(kind, &description) else { continue };
                let candidates = description.candidates.clone();
                let plain = Description { candidates, ..tests::description() };
                prop_assert_eq!(made.lines().count(), sdp(kind, &plain).unwrap().lines().count());
                prop_assert!(RTCSessionDescription::offer(made).is_ok());
            }
        }
    }
}
