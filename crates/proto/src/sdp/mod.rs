//! SDP at the border to standard WebRTC stacks, such as a browser's: [`sdp`] writes one end of a link as they see it,
//! [`describe`] reads what a browser says of its own end.
//!
//! Peers exchange [`Description`]s, and links between native peers need no SDP. SDP never crosses the
//! wire, and no text of another peer can become a line of it.

use std::fmt::Write;

use crate::identity::PACKET_EXTENSION_URI;
use crate::message::{Candidate, Description, IceRestart, LinkKind, PayloadTypes, Retransmission, Setup};

pub use self::read::{OwnEnd, SdpError, candidate, describe};
use crate::link_layout::{
    AUDIO_LEVEL_EXTENSION_ID, CONTRIBUTORS_EXTENSION_ID, DescriptionError, NO_H264, OWN_SLOTS,
    PACKET_EXTENSION_ID, PAYLOAD_TYPES, Role, Ssrcs, TWCC_EXTENSION_ID, check, is_video, priority,
    slot_count,
};

mod read;

/// Transport-wide congestion control: draft-holmer-rmcat-transport-wide-cc-extensions-01.
pub const TWCC_URI: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
/// Audio level of the client: RFC 6464.
const AUDIO_LEVEL_URI: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
/// Audio levels of the contributors in mixed sound: RFC 6465.
const CONTRIBUTORS_URI: &str = "urn:ietf:params:rtp-hdrext:csrc-audio-level";
/// H.264 format (RFC 6184, 8.1): constrained baseline, level 3.1, FU-A allowed.
const H264_FORMAT: &str = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
/// Dynamic payload types (RFC 5761, section 4) among which that of VP8 is chosen in an offer.
const VP8_TYPES: std::ops::RangeInclusive<u8> = 96..=127;
/// Retransmissions (RFC 4588, 8.6).
const RTX: &str = "rtx/90000";
/// Opus format (RFC 7587, 6.1).
const OPUS_FORMAT: &str = "minptime=10;useinbandfec=1";
/// RTCP feedback of every slot (RFC 4585).
const FEEDBACK: [(&str, &str); 3] = [("nack", ""), ("nack", "pli"), ("transport-cc", "")];

/// Writes the SDP of one end of a link for the browser at the other end: an offer if its DTLS role is open, else an
/// answer. `offer` is the browser's own end that it answers; the numbers that the browser has chosen there stand in the
/// answer as well.
///
/// All sections use the transport of the first one, a picture's (BUNDLE, RFC 9143): it can't be left out. So it stays
/// even where one end has no H.264, and then carries nothing: an offer names VP8 too, which every browser has, and an
/// answer accepts what the browser has offered.
///
/// # Errors
/// The description is one that no link accepts.
pub fn sdp(
    kind: LinkKind,
    description: &Description,
    offer: Option<&OwnEnd>,
) -> Result<String, DescriptionError> {
    write(kind, (description, description), description.setup, offer)
}

/// Writes the SDP by which a browser restarts ICE on a link that is up: that of the other end as [`sdp`] has it, with
/// the credentials and candidates of its part of the restart, and its DTLS role, `setup`, which stays. `own` is the
/// browser's end as it now describes itself, if it asks for the restart, or as it offered the link; `None` if the other
/// end offered the link and asks.
///
/// # Errors
/// The part is one that no link accepts.
pub fn restart_sdp(
    kind: LinkKind,
    described: &Description,
    (restart, setup): (&IceRestart, Setup),
    own: Option<&OwnEnd>,
) -> Result<String, DescriptionError> {
    let mut part = described.clone();
    (part.ufrag, part.pwd, part.candidates) =
        (restart.ufrag.clone(), restart.pwd.clone(), restart.candidates.clone());
    write(kind, (described, &part), setup, own)
}

/// Writes one end of a link. Its `part` of the newest ICE negotiation is its description, but for a restart.
fn write(
    kind: LinkKind,
    (description, part): (&Description, &Description),
    setup: Setup,
    offer: Option<&OwnEnd>,
) -> Result<String, DescriptionError> {
    let role = if part.setup.is_offer() { Role::Offer } else { Role::Answer };
    let types = check(kind, part, role)?;
    let mut sdp = String::with_capacity(700 * usize::from(slot_count(kind)));
    let end = End {
        kind,
        description,
        part,
        setup,
        types,
        pictures: Pictures::of(description, role, offer),
        extensions: Extensions::of(description, offer.map(|own| &own.description)),
    };
    // writing to a String cannot fail
    let _ = end.write(&mut sdp);
    Ok(sdp)
}

/// Header extension ids of a link; 0 where an extension is not used.
struct Extensions {
    packet: u8,
    transport_wide: u8,
    audio_level: u8,
    contributors: u8,
}

impl Extensions {
    fn of(description: &Description, offer: Option<&Description>) -> Extensions {
        // the end that offers chooses
        let chosen = offer.unwrap_or(description).browser.as_ref();
        chosen.map_or(
            Extensions {
                packet: PACKET_EXTENSION_ID,
                transport_wide: TWCC_EXTENSION_ID,
                audio_level: AUDIO_LEVEL_EXTENSION_ID,
                contributors: CONTRIBUTORS_EXTENSION_ID,
            },
            |browser| Extensions {
                packet: 0,
                transport_wide: browser.transport_wide_id,
                audio_level: browser.audio_level_id,
                contributors: 0,
            },
        )
    }
}

/// Codecs of the sections of pictures.
struct Pictures {
    h264: Option<u8>,
    /// Named for a browser that has no H.264.
    vp8: Option<u8>,
    /// Whether pictures are sent: both ends have H.264, as far as is known.
    flow: bool,
    /// Streams in which the end sends pictures again, if both ends can: an offer says what its end can, and an answer
    /// has the payload type of the offer.
    again: Option<Retransmission>,
}

impl Pictures {
    fn of(description: &Description, role: Role, offer: Option<&OwnEnd>) -> Pictures {
        let types = description.payload_types.unwrap_or(PAYLOAD_TYPES);
        let has_h264 = types.h264 != NO_H264;
        let again = |end: &Description| end.browser.as_ref()?.retransmission.clone();
        let of_end = again(description).filter(|_| has_h264);
        if let Some(OwnEnd { description: own, vp8 }) = offer {
            let number = own.payload_types.unwrap_or(PAYLOAD_TYPES).h264;
            let h264 = (number != NO_H264).then_some(number);
            let again = again(own).zip(of_end);
            return Pictures {
                h264,
                vp8: vp8.filter(|_| h264.is_none()),
                flow: has_h264 && h264.is_some(),
                again: again.map(|(own, of_end)| Retransmission { payload_type: own.payload_type, ..of_end }),
            };
        }
        let number_again = of_end.as_ref().map_or(types.opus, |again| again.payload_type);
        let free =
            |taken: u8| VP8_TYPES.clone().find(|number| ![taken, types.opus, number_again].contains(number));
        let h264 = if has_h264 { Some(types.h264) } else { free(types.opus) };
        let vp8 = free(h264.unwrap_or_default()).filter(|_| role == Role::Offer);
        Pictures { h264, vp8, flow: has_h264, again: of_end }
    }
}

/// One end of a link, as it is written.
struct End<'a> {
    kind: LinkKind,
    /// Its streams go by this one.
    description: &'a Description,
    /// Its transport goes by this one.
    part: &'a Description,
    /// Its DTLS role.
    setup: Setup,
    types: PayloadTypes,
    pictures: Pictures,
    extensions: Extensions,
}

impl End<'_> {
    fn write(&self, sdp: &mut String) -> std::fmt::Result {
        let End { kind, description, part, .. } = *self;
        let ssrcs = Ssrcs::described(kind, description);
        let application = slot_count(kind);
        let lite = if description.setup.is_lite() { "a=ice-lite\r\n" } else { "" };
        write!(sdp, "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n{lite}a=fingerprint:sha-256 ")?;
        for (index, byte) in description.fingerprint.iter().enumerate() {
            write!(sdp, "{}{byte:02X}", if index == 0 { "" } else { ":" })?;
        }
        write!(sdp, "\r\na=group:BUNDLE")?;
        for mid in 0..=application {
            write!(sdp, " {mid}")?;
        }
        write!(sdp, "\r\na=extmap-allow-mixed\r\n")?;
        for (slot, ssrc) in (0..).zip(ssrcs.slots()) {
            self.write_media(sdp, slot)?;
            if is_video(slot) && !self.pictures.flow {
                write!(sdp, "a=inactive\r\n")?;
            } else {
                // a browser plays a peer's own picture and sound in step, by the times that sender reports name. Of all
                // else its page compares how long they wait, since a browser that relays names other times. Track ids
                // of the two ends differ, since some stacks route RTCP by them
                let is_own = OWN_SLOTS.contains(&slot);
                let (stream, ufrag) = (if is_own { slot & !1 } else { slot }, &*description.ufrag);
                write!(sdp, "a=msid:s{stream} {ufrag}{slot}\r\n")?;
                let again = self.pictures.again.as_ref().filter(|_| is_video(slot));
                let again = again.and_then(|again| again.ssrcs.get(usize::from(slot / 2)));
                if let Some(again) = again {
                    write!(sdp, "a=ssrc-group:FID {ssrc} {again}\r\n")?;
                }
                for ssrc in [ssrc].into_iter().chain(again) {
                    write!(sdp, "a=ssrc:{ssrc} cname:p\r\n")?;
                }
                write!(sdp, "a=sendrecv\r\n")?;
            }
            if slot == 0 {
                write_candidates(sdp, part)?;
            }
        }
        write!(sdp, "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n")?;
        write_transport(sdp, application, part, self.setup)?;
        write!(sdp, "a=sctp-port:5000\r\n")
    }

    /// Payload type, codec and parameters of each format of a slot.
    fn formats(&self, slot: u8) -> Vec<(u8, &'static str, String)> {
        if !is_video(slot) {
            return vec![(self.types.opus, "opus/48000/2", OPUS_FORMAT.to_owned())];
        }
        let Pictures { h264, vp8, again, .. } = &self.pictures;
        let of_h264 = h264.map(|number| (number, "H264/90000", H264_FORMAT.to_owned()));
        let of_again =
            again.as_ref().zip(*h264).map(|(again, of)| (again.payload_type, RTX, format!("apt={of}")));
        let of_vp8 = vp8.map(|number| (number, "VP8/90000", String::new()));
        of_h264.into_iter().chain(of_again).chain(of_vp8).collect()
    }

    fn write_media(&self, sdp: &mut String, slot: u8) -> std::fmt::Result {
        let formats = self.formats(slot);
        write!(sdp, "m={} 9 UDP/TLS/RTP/SAVPF", if is_video(slot) { "video" } else { "audio" })?;
        for (payload_type, ..) in &formats {
            write!(sdp, " {payload_type}")?;
        }
        write!(sdp, "\r\n")?;
        write_transport(sdp, slot, self.part, self.setup)?;
        write!(sdp, "a=rtcp-mux\r\na=rtcp-rsize\r\n")?;
        for (payload_type, codec, parameters) in formats {
            write!(sdp, "a=rtpmap:{payload_type} {codec}\r\n")?;
            if !parameters.is_empty() {
                write!(sdp, "a=fmtp:{payload_type} {parameters}\r\n")?;
            }
            for (feedback, parameter) in FEEDBACK.into_iter().filter(|_| codec != RTX) {
                let space = if parameter.is_empty() { "" } else { " " };
                write!(sdp, "a=rtcp-fb:{payload_type} {feedback}{space}{parameter}\r\n")?;
            }
        }
        let Extensions { packet, transport_wide, audio_level, contributors } = self.extensions;
        let of_all = [(packet, PACKET_EXTENSION_URI), (transport_wide, TWCC_URI)];
        let of_sound = [(audio_level, AUDIO_LEVEL_URI), (contributors, CONTRIBUTORS_URI)];
        let of_sound = of_sound.into_iter().filter(|_| !is_video(slot));
        for (id, uri) in of_all.into_iter().chain(of_sound).filter(|(id, _)| *id != 0) {
            write!(sdp, "a=extmap:{id} {uri}\r\n")?;
        }
        Ok(())
    }
}

fn write_transport(sdp: &mut String, mid: u8, description: &Description, setup: Setup) -> std::fmt::Result {
    let setup = match setup {
        Setup::ActPass | Setup::ActPassLite => "actpass",
        Setup::Active | Setup::ActiveLite => "active",
        Setup::Passive => "passive",
    };
    write!(
        sdp,
        "c=IN IP4 0.0.0.0\r\na=setup:{setup}\r\na=mid:{mid}\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\n",
        &*description.ufrag, &*description.pwd
    )
}

fn write_candidates(sdp: &mut String, description: &Description) -> std::fmt::Result {
    for (index, candidate) in (0_u32..).zip(&description.candidates) {
        write!(sdp, "a={}\r\n", candidate_line(candidate, index))?;
    }
    write!(sdp, "a=end-of-candidates\r\n")
}

/// Returns a candidate as a browser reads it (RFC 8839, 5.1), without the leading `a=`. `index`: its number at its
/// end.
pub fn candidate_line(candidate: &Candidate, index: u32) -> String {
    let kind = match candidate {
        Candidate::Host(_) | Candidate::Named(..) => "host",
        Candidate::Reflexive(_) => "srflx raddr 0.0.0.0 rport 0",
        Candidate::Relayed(_) => "relay raddr 0.0.0.0 rport 0",
    };
    let at = match candidate {
        Candidate::Named(name, port) => format!("{} {port}", &**name),
        Candidate::Host(address) | Candidate::Reflexive(address) | Candidate::Relayed(address) => {
            format!("{} {}", address.ip(), address.port())
        }
    };
    format!("candidate:{index} 1 udp {} {at} typ {kind}", priority(candidate, index))
}

#[cfg(test)]
mod tests {
    use crate::bounded::{List, Text};

    use super::*;

    const KINDS: [LinkKind; 2] = [LinkKind::Peer, LinkKind::Trunk(9)];

    fn description() -> Description {
        Description {
            ufrag: Text::truncated("ab+/"),
            pwd: Text::truncated("abcdefghijklmnopqrstuv"),
            fingerprint: [0xab; 32],
            setup: Setup::ActPass,
            payload_types: None,
            browser: None,
            candidates: List::truncated([
                Candidate::Host("192.0.2.7:50000".parse().unwrap()),
                Candidate::Reflexive("[2001:db8::1]:4000".parse().unwrap()),
                Candidate::Relayed("203.0.113.9:3478".parse().unwrap()),
            ]),
            sctp: None,
            hello: None,
        }
    }

    #[test]
    fn each_slot_has_its_section_and_candidates_are_ranked() {
        for (kind, slots) in KINDS.into_iter().zip([6, 16]) {
            let sdp = sdp(kind, &description(), None).unwrap();
            let count = |line: &str| sdp.lines().filter(|found| found.starts_with(line)).count();
            assert_eq!(count("m=video 9 UDP/TLS/RTP/SAVPF 102 96"), slots / 2);
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
    fn a_lite_end_says_so_once_and_keeps_its_role() {
        for (setup, role) in [(Setup::ActPassLite, "a=setup:actpass"), (Setup::ActiveLite, "a=setup:active")]
        {
            let described = Description { setup, ..description() };
            let sdp = sdp(LinkKind::Peer, &described, None).unwrap();
            let at = |line: &str| sdp.lines().position(|found| found == line);
            assert!(
                at("a=ice-lite") < at("a=group:BUNDLE 0 1 2 3 4 5 6") && at("a=ice-lite").is_some(),
                "{sdp}"
            );
            assert!(at(role).is_some() && setup.is_lite() && setup.is_offer() == (role == "a=setup:actpass"));
        }
        assert!(!sdp(LinkKind::Peer, &description(), None).unwrap().contains("ice-lite"));
    }
}
