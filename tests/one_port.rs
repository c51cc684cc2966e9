//! A room whose peers have one UDP port each for all their media.

use std::net::UdpSocket;

use serde_json::Value;

use crate::running::{Running, alone, invite_of};

const SMALL: [&str; 6] = ["--program", "320x180@15", "--speaker-size", "160x90@15", "--bitrate", "300kbit"];

/// Starts a peer with a free UDP port for all its media.
fn start(args: &[&str]) -> Running {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    Running::start(&[args, &["--bind", "127.0.0.1", "--udp-port", &port]].concat())
}

#[test]
fn two_mixers_feed_viewers_by_one_port_each() {
    let _alone = alone();
    let host = ["host", "--speak", "--mix", "never", "--mixers", "2", "--listen", "127.0.0.1:0"];
    let host = start(&[&host[..], &SMALL].concat());
    let invite = invite_of(&host);
    let _mixers = [(); 2].map(|()| start(&["mixer", &invite]));
    let speaker =
        ["join", &invite, "--speak", "--mix", "never", "--speaker-size", "160x90@15", "--json", "-"];
    let speaker = start(&[&speaker[..], &["--duration", "9s"]].concat());
    let watch = ["join", &invite, "--relay", "never", "--mix", "never", "--duration", "8s", "--json", "-"];
    let viewers = [(); 2].map(|()| start(&watch));
    let report = |peer: Running| {
        let ended = peer.ended();
        (serde_json::from_str::<Value>(&ended.stdout).unwrap(), ended.stderr)
    };
    for (report, said) in viewers.into_iter().map(report) {
        let [received, expected] =
            ["frames_received", "frames_expected"].map(|frames| report[frames].as_u64().unwrap());
        assert!(received > 60 && received * 10 >= expected * 9, "{report}, {said}");
    }
    // with host and mixers
    let (report, said) = report(speaker);
    assert_eq!(report["links"].as_array().map(Vec::len), Some(3), "{report}, {said}");
}
