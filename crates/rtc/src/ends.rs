//! Two ends of a link in virtual time, without sockets: for unit tests and fuzz targets.
#![allow(clippy::unwrap_used, reason = "tests fail by it")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use plenary_proto::bounded::{List, Text};
use plenary_proto::link_layout::{PAYLOAD_TYPES, Role, Ssrcs};
use plenary_proto::message::{Candidate, Description, LinkKind, Setup};
use plenary_proto::packet::{LinkId, MediaPacket};
use rtc::shared::TaggedBytesMut;
use rtc::shared::error::Result;
use tokio::sync::mpsc;

use crate::checks::{CheckBudget, Checks};
use crate::credentials::Credentials;
use crate::legs::Legs;
use crate::seam::{PacketSink, SenderReport};
use crate::trains::Trains;
use crate::transport::{Transport, TransportEvent};
use crate::wire::Wire;

struct Nowhere;

impl PacketSink for Nowhere {
    fn packet(&self, _: LinkId, _: u8, _: MediaPacket, _: u64) {}
    fn keyframe_wanted(&self, _: LinkId, _: u8) {}
    fn sender_report(&self, _: LinkId, _: u8, _: SenderReport) {}
}

/// One end of a link, and its description. Time is virtual.
pub(crate) struct End {
    pub(crate) transport: Transport,
    pub(crate) description: Description,
    pub(crate) address: SocketAddr,
    pub(crate) outgoing: VecDeque<TaggedBytesMut>,
    pub(crate) events: Vec<TransportEvent>,
}

impl End {
    pub(crate) fn new(now: Instant, role: Role, ufrag: &str, other: &str, port: u16) -> End {
        End::of((role, false), now, ufrag, other, port)
    }

    /// An end that is perhaps ICE-lite.
    pub(crate) fn of(
        (role, is_lite): (Role, bool),
        now: Instant,
        ufrag: &str,
        other: &str,
        port: u16,
    ) -> End {
        let credentials = Credentials::generate().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let wire = Arc::new(Wire::new(Ssrcs::of(LinkKind::Peer, ufrag), 64));
        wire.remote.set(Ssrcs::of(LinkKind::Peer, other)).unwrap();
        let legs = Legs::new(LinkId(1), wire.clone(), Arc::new(Nowhere), PAYLOAD_TYPES, now);
        let trains = Trains::new(wire, PAYLOAD_TYPES, now, mpsc::channel(1).0);
        let pwd = "abcdefghijklmnopqrstuv";
        let addresses = [address].into_iter();
        let checks = Checks::new(Arc::new(CheckBudget::new()), false);
        let credentials_of = (ufrag, pwd);
        let mut transport = Transport::new(
            now,
            (role, is_lite),
            &credentials,
            credentials_of,
            (legs, trains),
            (addresses, &[]),
            checks,
        )
        .unwrap();
        let description = Description {
            ufrag: Text::truncated(ufrag),
            pwd: Text::truncated(pwd),
            fingerprint: credentials.fingerprint,
            setup: Setup::of(role == Role::Offer, is_lite),
            payload_types: None,
            browser: None,
            candidates: List::truncated([Candidate::Host(address)]),
            sctp: Some(transport.sctp_init(now).unwrap()),
            hello: None,
        };
        End { transport, description, address, outgoing: VecDeque::new(), events: Vec::new() }
    }

    /// Takes a datagram, and notes what follows.
    pub(crate) fn take(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Result<()> {
        let taken = self.transport.receive(now, self.address, from, datagram);
        while let Some(event) = self.transport.poll_event() {
            self.events.push(event);
        }
        taken
    }
}

/// Two ends that begin to connect.
pub(crate) fn pair(now: Instant) -> (End, End) {
    let mut a = End::new(now, Role::Offer, "aaaa", "bbbb", 5_001);
    let mut b = End::new(now, Role::Answer, "bbbb", "aaaa", 5_002);
    a.transport.start(now, &b.description).unwrap();
    b.transport.start(now, &a.description).unwrap();
    (a, b)
}

/// Carries datagrams for a time, and advances the clock by steps of 5 ms. `falsify` may change a datagram.
pub(crate) fn run(
    a: &mut End,
    b: &mut End,
    now: &mut Instant,
    ms: u64,
    mut falsify: impl FnMut(&mut BytesMut),
) {
    for _ in 0..ms / 5 {
        for _ in 0..4 {
            for _ in ["there", "back"] {
                a.transport.collect(*now, true, &mut a.outgoing);
                while let Some(mut datagram) = a.outgoing.pop_front() {
                    falsify(&mut datagram.message);
                    let _ = b.take(*now, a.address, &datagram.message);
                }
                std::mem::swap(a, b);
            }
        }
        *now += Duration::from_millis(5);
        for end in [&mut *a, &mut *b] {
            let _ = end.transport.handle_timeout(*now);
            while let Some(event) = end.transport.poll_event() {
                end.events.push(event);
            }
        }
    }
}
