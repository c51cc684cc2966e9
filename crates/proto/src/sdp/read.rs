//! Reads the SDP of this end's own browser.

use crate::bounded::{List, Text};
use crate::message::{
    BrowserMedia, CANDIDATES_MAX, Candidate, Description, LinkKind, PEER_SLOTS, PayloadTypes, Retransmission,
    Setup,
};

use super::{AUDIO_LEVEL_URI, RTX, TWCC_URI};
use crate::link_layout::{EXTENSION_ID_MAX, NO_H264, Ssrcs, is_local_name, is_video};

/// Reason why the SDP of a browser describes no end of a link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// A line that every end has is missing or malformed.
    #[error("there is no usable line {0}")]
    Line(&'static str),
    /// The sections are not three pairs of video and sound, and the channels.
    #[error("the sections are not those of a link")]
    Sections,
    /// The browser has no Opus.
    #[error("there is no Opus")]
    NoOpus,
    /// The browser has neither H.264 nor VP8.
    #[error("there is neither H.264 nor VP8")]
    NoPictures,
}

/// This end of a link, as its browser describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnEnd {
    /// What the other end gets to know of it.
    pub description: Description,
    /// Payload type of VP8, if the browser has it; it keeps the sections of pictures alive where there is no H.264.
    pub vp8: Option<u8>,
}

impl OwnEnd {
    /// Whether the browser has no H.264.
    pub fn has_no_h264(&self) -> bool {
        self.description.payload_types.is_some_and(|types| types.h264 == NO_H264)
    }
}

/// Describes a browser's end of an ordinary link by its local SDP, complete with candidates. The transceivers are those
/// of the slots, in order.
///
/// # Errors
/// [`SdpError`].
pub fn describe(sdp: &str) -> Result<OwnEnd, SdpError> {
    let mut parts = sdp.split("\r\nm=");
    let session = parts.next().unwrap_or_default();
    let sections: Vec<Section<'_>> = parts.map(Section).collect();
    let (channels, media) = sections.split_last().ok_or(SdpError::Sections)?;
    let is_media = |(slot, section): (u8, &Section<'_>)| {
        section.0.starts_with(if is_video(slot) { "video " } else { "audio " })
    };
    if media.len() != PEER_SLOTS || !channels.0.starts_with("application ") || !(0..).zip(media).all(is_media)
    {
        return Err(SdpError::Sections);
    }
    let sound = media.get(1).copied().unwrap_or(Section(""));
    let picture = media.first().copied().unwrap_or(Section(""));
    let (h264, vp8) = (picture.h264(), picture.payload_type("VP8/90000").next());
    if h264.or(vp8).is_none() {
        return Err(SdpError::NoPictures);
    }
    // The sections are bundled: the transport of the first one becomes that of all. In an offer each has a transport of
    // its own, in an answer some stacks state it once, or for the session.
    let everywhere = || sections.iter().copied().chain([Section(session)]);
    let line = |name| everywhere().find_map(|section| section.lines(name).next()).ok_or(SdpError::Line(name));
    let ufrag = line("a=ice-ufrag:")?;
    let setup = match line("a=setup:")? {
        "actpass" => Setup::ActPass,
        "active" => Setup::Active,
        "passive" => Setup::Passive,
        _ => return Err(SdpError::Line("a=setup:")),
    };
    let fingerprint = line("a=fingerprint:sha-256 ")?;
    let derived = Ssrcs::of(LinkKind::Peer, ufrag);
    let mut ssrcs = [0; PEER_SLOTS];
    for ((ssrc, section), derived) in ssrcs.iter_mut().zip(media).zip(derived.slots()) {
        // a browser without H.264 states no SSRC for video; the derived one is never used
        *ssrc = section.ssrc().unwrap_or(*derived);
    }
    let in_media = |uri| media.iter().find_map(|section| section.extension(uri)).unwrap_or(0);
    let candidates: Vec<Candidate> = picture.lines("a=candidate:").filter_map(candidate).collect();
    let description = Description {
        ufrag: Text::truncated(ufrag),
        pwd: Text::truncated(line("a=ice-pwd:")?),
        fingerprint: hash(fingerprint).ok_or(SdpError::Line("a=fingerprint:sha-256 "))?,
        setup,
        payload_types: Some(PayloadTypes {
            h264: h264.unwrap_or(NO_H264),
            opus: sound.payload_type("opus/48000/2").next().ok_or(SdpError::NoOpus)?,
        }),
        browser: Some(BrowserMedia {
            ssrcs,
            transport_wide_id: in_media(TWCC_URI),
            audio_level_id: in_media(AUDIO_LEVEL_URI),
            retransmission: h264.and_then(|h264| retransmission(media, h264)),
        }),
        candidates: List::truncated(candidates.into_iter().take(CANDIDATES_MAX)),
        sctp: None,
        hello: None,
    };
    Ok(OwnEnd { description, vp8 })
}

/// Returns the streams for retransmissions, if all sections of pictures have one.
fn retransmission(media: &[Section<'_>], h264: u8) -> Option<Retransmission> {
    let pictures: Vec<Section<'_>> = media.iter().copied().step_by(2).collect();
    let ssrcs: Option<Vec<u32>> = pictures.iter().map(|section| section.retransmission_ssrc()).collect();
    let payload_type = pictures.first()?.retransmission_type(h264)?;
    Some(Retransmission { payload_type, ssrcs: ssrcs?.try_into().ok()? })
}

/// A media section without its `m=`, or the part of the session in front of them.
#[derive(Clone, Copy)]
struct Section<'a>(&'a str);

impl<'a> Section<'a> {
    /// What follows `name` in the lines that begin with it.
    fn lines(self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.lines().filter_map(move |line| line.strip_prefix(name))
    }

    /// The payload types of a codec, in the order of preference.
    fn payload_type(self, codec: &str) -> impl Iterator<Item = u8> {
        let is_of = move |payload_type: &u8| {
            let mut maps = self.lines("a=rtpmap:").filter_map(|map| map.split_once(' '));
            maps.any(|(number, of)| number.parse() == Ok(*payload_type) && of.eq_ignore_ascii_case(codec))
        };
        let line = self.0.lines().next().unwrap_or_default();
        line.split(' ').skip(3).filter_map(|number| number.parse().ok()).filter(is_of)
    }

    /// The payload type of H.264 in packetization-mode 1, constrained baseline.
    fn h264(self) -> Option<u8> {
        let mut types = self.payload_type("H264/90000");
        types.find(|payload_type| {
            let mut formats = self.lines("a=fmtp:").filter_map(|format| format.split_once(' '));
            formats.any(|(number, format)| {
                let has = |parameter: &str| format.split(';').any(|found| found.trim() == parameter);
                number.parse() == Ok(*payload_type)
                    && has("packetization-mode=1")
                    && format.to_ascii_lowercase().contains("profile-level-id=42e0")
            })
        })
    }

    /// The section's SSRC; with several, the one that is listed first: the others are for retransmissions.
    fn ssrc(self) -> Option<u32> {
        self.lines("a=ssrc:").next()?.split(' ').next()?.parse().ok().filter(|ssrc| *ssrc != 0)
    }

    /// The payload type in which packets of another one are sent again (RFC 4588, 8.6).
    fn retransmission_type(self, of: u8) -> Option<u8> {
        let associated = format!("apt={of}");
        self.payload_type(RTX).find(|payload_type| {
            let mut formats = self.lines("a=fmtp:").filter_map(|format| format.split_once(' '));
            formats.any(|(number, format)| {
                number.parse() == Ok(*payload_type)
                    && format.split(';').any(|found| found.trim() == associated)
            })
        })
    }

    /// The SSRC for retransmissions of the section's one (RFC 5576, 4.2).
    fn retransmission_ssrc(self) -> Option<u32> {
        let of = self.ssrc()?;
        let group = self.lines("a=ssrc-group:FID ").find_map(|group| group.split_once(' '));
        let (first, second) = group?;
        (first.parse() == Ok(of)).then(|| second.trim_end().parse().ok().filter(|ssrc| *ssrc != 0))?
    }

    fn extension(self, uri: &str) -> Option<u8> {
        let mut found = self.lines("a=extmap:").filter_map(|extension| extension.split_once(' '));
        let (id, _) = found.find(|(_, of)| of.split(' ').next() == Some(uri))?;
        id.split('/').next()?.parse().ok().filter(|id| (1..=EXTENSION_ID_MAX).contains(id))
    }
}

/// Parses the value of a candidate line (RFC 8839, 5.1). `None` for another transport or component, or an address of no
/// kind.
pub fn candidate(line: &str) -> Option<Candidate> {
    let fields: Vec<&str> = line.split(' ').collect();
    let [_, "1", transport, _, address, port, "typ", kind, ..] = fields[..] else { return None };
    let port = port.parse().ok().filter(|port| *port != 0)?;
    if !transport.eq_ignore_ascii_case("udp") {
        return None;
    }
    let Ok(ip) = address.parse() else {
        let name = Text::truncated(address);
        let is_named = kind == "host" && *name == *address && is_local_name(address);
        return is_named.then_some(Candidate::Named(name, port));
    };
    let address = std::net::SocketAddr::new(ip, port);
    match kind {
        "host" => Some(Candidate::Host(address)),
        "srflx" => Some(Candidate::Reflexive(address)),
        "relay" => Some(Candidate::Relayed(address)),
        _ => None,
    }
}

/// Parses a SHA-256 hash, as bytes of two hexadecimal digits with colons between them.
fn hash(text: &str) -> Option<[u8; 32]> {
    let bytes: Option<Vec<u8>> =
        text.trim_end().split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    bytes?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::sdp;

    /// Offers as the browsers make them, with unbundled addresses.
    const CHROMIUM: &str = include_str!("../../tests/golden/chromium-156-offer.sdp");
    const FIREFOX: &str = include_str!("../../tests/golden/firefox-153-offer.sdp");

    #[test]
    fn the_offers_of_real_browsers_are_read() {
        let chromium = describe(CHROMIUM).unwrap().description;
        assert_eq!(chromium.payload_types, Some(PayloadTypes { h264: 108, opus: 111 }));
        let browser = chromium.browser.clone().unwrap();
        assert_eq!(browser.ssrcs[..2], [1_685_252_457, 2_689_087_225]);
        assert_eq!((browser.transport_wide_id, browser.audio_level_id), (4, 14));
        let ports = |description: &Description| -> Vec<u16> {
            let port = |candidate: &Candidate| match candidate {
                Candidate::Named(_, port) => *port,
                other => other.address().unwrap().port(),
            };
            description.candidates.iter().map(port).collect()
        };
        assert_eq!(ports(&chromium), [52_063, 52_656]);
        assert!(CHROMIUM.find(&format!("a=ice-ufrag:{}", &*chromium.ufrag)) < CHROMIUM.find("m=audio"));
        // without its plugin Firefox has no H.264
        let OwnEnd { description: firefox, vp8 } = describe(FIREFOX).unwrap();
        assert_eq!(firefox.payload_types, Some(PayloadTypes { h264: NO_H264, opus: 109 }));
        assert_eq!((ports(&firefox), vp8), (vec![40_955, 33_331], Some(120)));
    }

    /// An offer of Chromium, shortened to what is read, with two of its H.264 formats.
    fn offer() -> String {
        let transport = "c=IN IP4 0.0.0.0\r\na=ice-ufrag:Ab3+\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n\
                         a=ice-options:trickle\r\n";
        let fingerprint: Vec<String> = (0..32).map(|byte: u8| format!("{byte:02X}")).collect();
        let fingerprint = format!("a=fingerprint:sha-256 {}\r\na=setup:actpass\r\n", fingerprint.join(":"));
        let mut sdp = "v=0\r\no=- 46117 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
                       a=group:BUNDLE 0 1 2 3 4 5 6\r\na=extmap-allow-mixed\r\n"
            .to_owned();
        for slot in 0..6 {
            let (kind, types) = if is_video(slot) { ("video", "103 108") } else { ("audio", "111") };
            sdp += &format!(
                "m={kind} 50000 UDP/TLS/RTP/SAVPF {types}\r\n{transport}{fingerprint}a=mid:{slot}\r\n"
            );
            if slot < 2 {
                sdp += "a=candidate:1 1 udp 2122260223 192.0.2.7 50000 typ host generation 0\r\n\
                        a=candidate:2 1 udp 2122194687 5c8d1ae0-25a7.local 50001 typ host\r\n\
                        a=candidate:3 1 tcp 1518280447 192.0.2.7 9 typ host tcptype active\r\n\
                        a=candidate:4 1 udp 1686052607 203.0.113.4 6000 typ srflx raddr 0.0.0.0 rport 0\r\n";
            }
            sdp += "a=extmap:4/sendrecv http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n";
            if is_video(slot) {
                sdp += "a=rtpmap:103 H264/90000\r\na=fmtp:103 packetization-mode=0;profile-level-id=42e01f\r\n\
                        a=rtpmap:108 H264/90000\r\n\
                        a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n";
            } else {
                sdp +=
                    "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=rtpmap:111 opus/48000/2\r\n";
            }
            sdp += &format!("a=ssrc:{} cname:x\r\n", 70 + u32::from(slot));
        }
        sdp + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"
            + transport
            + "a=mid:6\r\na=sctp-port:5000\r\n"
    }

    #[test]
    fn the_offer_of_a_browser_says_its_numbers_and_addresses() {
        let described = describe(&offer()).unwrap().description;
        assert_eq!((&*described.ufrag, described.setup), ("Ab3+", Setup::ActPass));
        assert_eq!(described.fingerprint[..3], [0, 1, 2]);
        assert_eq!(described.payload_types, Some(PayloadTypes { h264: 108, opus: 111 }));
        let browser = described.browser.unwrap();
        assert_eq!(browser.ssrcs, [70, 71, 72, 73, 74, 75]);
        assert_eq!((browser.transport_wide_id, browser.audio_level_id), (4, 1));
        let candidates = [
            Candidate::Host("192.0.2.7:50000".parse().unwrap()),
            Candidate::Named(Text::truncated("5c8d1ae0-25a7.local"), 50001),
            Candidate::Reflexive("203.0.113.4:6000".parse().unwrap()),
        ];
        assert_eq!(described.candidates[..], candidates);
    }

    /// The offer with streams for retransmissions.
    fn offer_with_retransmission() -> String {
        let mut offer = offer().replace("SAVPF 103 108\r\n", "SAVPF 103 108 120\r\n").replace(
            "m=video 50000 UDP/TLS/RTP/SAVPF 103 108 120\r\n",
            "m=video 50000 UDP/TLS/RTP/SAVPF 103 108 120\r\na=rtpmap:120 rtx/90000\r\na=fmtp:120 apt=108\r\n",
        );
        for slot in [70, 72, 74] {
            let ssrc = format!("a=ssrc:{slot} cname:x\r\n");
            let group = format!("a=ssrc-group:FID {slot} {0}\r\n{ssrc}a=ssrc:{0} cname:x\r\n", slot + 100);
            offer = offer.replace(&ssrc, &group);
        }
        offer
    }

    #[test]
    fn two_browsers_send_pictures_again_in_streams_of_their_own() {
        let own = describe(&offer_with_retransmission()).unwrap();
        let again = own.description.browser.clone().unwrap().retransmission.unwrap();
        assert_eq!((again.payload_type, again.ssrcs), (120, [170, 172, 174]));
        let offered = sdp(LinkKind::Peer, &own.description, None).unwrap();
        assert_eq!(offered.matches("a=fmtp:120 apt=108\r\n").count(), 3);
        assert_eq!(
            offered.matches("a=ssrc-group:FID 72 172\r\na=ssrc:72 cname:p\r\na=ssrc:172 cname:p\r\n").count(),
            1
        );
        assert_eq!(describe(&offered).unwrap().description, own.description);

        let mut other = own.description.clone();
        other.setup = Setup::Active;
        let ssrcs = [1, 2, 3];
        other.browser.as_mut().unwrap().retransmission = Some(Retransmission { payload_type: 99, ssrcs });
        let answer = sdp(LinkKind::Peer, &other, Some(&own)).unwrap();
        assert_eq!(answer.matches("a=rtpmap:120 rtx/90000\r\n").count(), 3, "the offer's number");
        assert!(answer.contains("a=ssrc-group:FID 74 3\r\n"));
        assert!(!answer_to(&own).contains("rtx"));
        let without = describe(&offer()).unwrap();
        assert!(!sdp(LinkKind::Peer, &other, Some(&without)).unwrap().contains("rtx"));
    }

    #[test]
    fn streams_for_retransmissions_with_numbers_that_clash_are_refused() {
        let own = describe(&offer_with_retransmission()).unwrap().description;
        for (payload_type, ssrcs) in [
            (108, [7, 8, 9]),
            (111, [7, 8, 9]),
            (200, [7, 8, 9]),
            (99, [7, 7, 9]),
            (99, [0, 8, 9]),
            (99, [70, 8, 9]),
        ] {
            let mut other = own.clone();
            other.browser.as_mut().unwrap().retransmission = Some(Retransmission { payload_type, ssrcs });
            assert!(sdp(LinkKind::Peer, &other, None).is_err(), "{payload_type} {ssrcs:?}");
        }
    }

    #[test]
    fn the_answer_to_a_browser_has_its_numbers() {
        let offer = describe(&offer()).unwrap();
        let answer = Description {
            ufrag: Text::truncated("abcd"),
            setup: Setup::Active,
            browser: None,
            candidates: List::truncated([Candidate::Host("192.0.2.8:7".parse().unwrap())]),
            ..offer.description.clone()
        };
        let answer = sdp(LinkKind::Peer, &answer, Some(&offer)).unwrap();
        let count = |line: &str| answer.lines().filter(|found| found.starts_with(line)).count();
        assert_eq!(count("m=video 9 UDP/TLS/RTP/SAVPF 108"), 3);
        assert_eq!((count("a=extmap:4 http"), count("a=extmap:1 urn:ietf"), count("a=extmap:")), (6, 3, 9));
        assert_eq!(count("a=setup:active"), 7);
    }

    /// The SDP of a native's end for a browser whose own end this is.
    fn answer_to(own: &OwnEnd) -> String {
        let native = Description {
            ufrag: Text::truncated("abcd"),
            setup: Setup::Active,
            browser: None,
            ..own.description.clone()
        };
        sdp(LinkKind::Peer, &native, Some(own)).unwrap()
    }

    #[test]
    fn a_browser_without_h264_gets_sections_that_carry_nothing() {
        let own = describe(&offer().replace("H264", "VP8")).unwrap();
        assert_eq!(own.description.payload_types, Some(PayloadTypes { h264: NO_H264, opus: 111 }));
        assert_eq!(own.vp8, Some(103));
        let answer = answer_to(&own);
        assert_eq!(answer.matches("m=video 9 UDP/TLS/RTP/SAVPF 103\r\n").count(), 3);
        assert_eq!(answer.matches("a=rtpmap:103 VP8/90000\r\n").count(), 3);
        assert_eq!((answer.matches("a=inactive").count(), answer.matches("a=sendrecv").count()), (3, 3));
        assert!(answer.contains("a=group:BUNDLE 0 1 2 3 4 5 6\r\n"));
        assert!(answer.find("a=candidate:") < answer.find("m=audio"), "the first section has the transport");
    }

    #[test]
    fn a_browser_gets_an_end_without_h264_in_sections_that_carry_nothing() {
        let (with, without) =
            (describe(&offer()).unwrap(), describe(&offer().replace("H264", "VP8")).unwrap());
        let offered = sdp(LinkKind::Peer, &without.description, None).unwrap();
        assert_eq!(offered.matches("m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n").count(), 3);
        assert_eq!((offered.matches(" H264/").count(), offered.matches(" VP8/").count()), (3, 3));
        let answer = Description { setup: Setup::Active, ..without.description };
        let answered = sdp(LinkKind::Peer, &answer, Some(&with)).unwrap();
        assert_eq!(answered.matches("m=video 9 UDP/TLS/RTP/SAVPF 108\r\n").count(), 3);
        for sdp in [offered, answered] {
            assert_eq!((sdp.matches("a=inactive").count(), sdp.matches("a=sendrecv").count()), (3, 3));
        }
    }

    #[test]
    fn what_is_written_of_a_browser_reads_as_it_was() {
        let described = describe(&offer()).unwrap();
        let written = sdp(LinkKind::Peer, &described.description, None).unwrap();
        assert_eq!(describe(&written), Ok(OwnEnd { vp8: Some(96), ..described }));
    }

    #[test]
    fn sdp_of_something_else_is_refused() {
        assert_eq!(describe(""), Err(SdpError::Sections));
        assert_eq!(describe(&offer().replace("m=application", "m=audio")), Err(SdpError::Sections));
        assert_eq!(describe(&offer().replace("opus/48000", "PCMU/8000")), Err(SdpError::NoOpus));
        assert_eq!(describe(&offer().replace("H264", "H265")), Err(SdpError::NoPictures));
        assert_eq!(describe(&offer().replace("a=setup", "a=x")), Err(SdpError::Line("a=setup:")));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(lines in proptest::collection::vec("(m=(video|audio|application) |a=(ssrc|candidate|extmap|fmtp|rtpmap):|a=setup:|a=ice-ufrag:)?[ -~]{0,40}", 0..40)) {
            let _ = describe(&lines.join("\r\n"));
            for at in 0..offer().len() {
                if offer().is_char_boundary(at) && at % 97 == 0 {
                    let _ = describe(&offer()[..at]);
                }
            }
        }
    }
}
