//! SDP written for standard stacks, read by the stack's parser.

use std::net::SocketAddr;

use plenary_proto::bounded::{List, Text};
use plenary_proto::link_layout::NO_H264;
use plenary_proto::message::{Candidate, Description, LinkKind, PayloadTypes, Setup};
use plenary_proto::sdp::sdp;
use proptest::prelude::*;
use rtc::peer_connection::sdp::RTCSessionDescription;

const KINDS: [LinkKind; 2] = [LinkKind::Peer, LinkKind::Trunk(9)];

fn any_candidate() -> impl Strategy<Value = Candidate> {
    (any::<std::net::IpAddr>(), any::<u16>(), 0_usize..3).prop_map(|(ip, port, kind)| {
        let address = SocketAddr::new(ip, port);
        [Candidate::Host, Candidate::Reflexive, Candidate::Relayed][kind](address)
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
        setup in prop_oneof![
            Just(Setup::ActPass),
            Just(Setup::Active),
            Just(Setup::Passive),
            Just(Setup::ActPassLite),
            Just(Setup::ActiveLite),
        ],
        types in proptest::option::of((any::<u8>(), any::<u8>())),
        candidates in proptest::collection::vec(any_candidate(), 0..5),
    ) {
        let description = Description {
            ufrag: Text::truncated(&ufrag),
            pwd: Text::truncated(&pwd),
            fingerprint,
            setup,
            payload_types: types.map(|(h264, opus)| PayloadTypes { h264, opus }),
            browser: None,
            candidates: List::truncated(candidates),
            sctp: None,
            hello: None,
        };
        for kind in KINDS {
            let Ok(made) = sdp(kind, &description, None) else { continue };
            let (ufrag, pwd) = (Text::truncated("ab+/"), Text::truncated("abcdefghijklmnopqrstuv"));
            // an offer names another codec, and an end without H.264 sends no pictures
            let without = description.payload_types.filter(|types| types.h264 == NO_H264);
            let payload_types = without.map(|types| PayloadTypes { opus: 111, ..types });
            let fingerprint = [0xab; 32];
            let alike = Description { ufrag, pwd, fingerprint, payload_types, ..description.clone() };
            prop_assert_eq!(made.lines().count(), sdp(kind, &alike, None).unwrap().lines().count());
            prop_assert!(RTCSessionDescription::offer(made).is_ok());
        }
    }
}
