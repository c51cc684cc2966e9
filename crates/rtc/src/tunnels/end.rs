//! One link's end of its tunnels: what waits for its task, and how it sends.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use plenary_proto::PeerId;
use plenary_proto::app::Way;
use plenary_proto::packet::LinkId;

use super::By;
use super::frame::{Towards, frame};
use super::ways::Ways;
use crate::shared::Shared;
use crate::socket::{Check, TransactionId, time_check};
use crate::sync::lock;
use crate::wire::Wire;

/// Maximum number of datagrams that wait for a link's task: as many as a batch of a socket, and those of 4 Mbit/s that
/// arrive within 100 ms several times over. A guess.
const ARRIVED_MAX: usize = 256;

/// The part of a link's tunnels that other tasks reach.
#[derive(Debug, Default)]
pub(crate) struct End {
    state: Mutex<State>,
    is_open: AtomicBool,
    has_arrived: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    ways: Ways,
    arrived: VecDeque<(By, Bytes)>,
}

impl End {
    /// Opens a way. Returns whether it is the first.
    pub(crate) fn open(&self, by: By) -> bool {
        let is_first = lock(&self.state).ways.open(by);
        self.is_open.store(true, Ordering::Release);
        is_first
    }

    pub(crate) fn shut(&self, link: LinkId) {
        lock(&self.state).ways.shut(link);
    }

    /// Whether a tunnel was ever opened.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// Queues a datagram for the link's task. Returns `false` at a full queue.
    pub(crate) fn push(&self, by: By, datagram: &[u8]) -> bool {
        let mut state = lock(&self.state);
        if state.arrived.len() >= ARRIVED_MAX {
            return false;
        }
        state.arrived.push_back((by, Bytes::copy_from_slice(datagram)));
        self.has_arrived.store(true, Ordering::Release);
        true
    }

    /// Returns what has arrived by ways of the link.
    pub(crate) fn take(&self, now: Instant) -> Vec<Bytes> {
        if !self.has_arrived.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        let State { ways, arrived } = &mut *lock(&self.state);
        let of_link = arrived.drain(..).filter(|(by, _)| ways.heard(*by, now));
        of_link.map(|(_, datagram)| datagram).collect()
    }

    fn choose(&self, now: Instant) -> Option<By> {
        lock(&self.state).ways.choose(now)
    }

    /// Returns the way in use.
    pub(crate) fn way(&self) -> Way {
        match lock(&self.state).ways.current() {
            Some(By::Rendezvous(_)) => Way::Websocket,
            _ => Way::Carried,
        }
    }
}

/// How a link's task sends and receives through its tunnels.
pub(crate) struct Tunnel {
    shared: Arc<Shared>,
    link: LinkId,
    check_sent: Option<(TransactionId, Instant)>,
    /// Datagrams that go by the rendezvous, to this peer.
    by_rendezvous: Option<(PeerId, Vec<Bytes>)>,
}

impl Tunnel {
    pub(crate) fn new(shared: Arc<Shared>, link: LinkId) -> Tunnel {
        Tunnel { shared, link, check_sent: None, by_rendezvous: None }
    }

    /// Takes a frame that has arrived on this link.
    pub(crate) fn frame_arrived(&self, framed: &[u8], now: Instant) {
        super::Tunnels::arrived(&self.shared, self.link, framed, now);
    }

    /// Measures the round trip of a check that this datagram answers.
    pub(crate) fn time_check(&mut self, wire: &Wire, datagram: &[u8]) {
        time_check(&mut self.check_sent, wire, datagram, None);
    }

    /// Sends a datagram of this link.
    pub(crate) fn send(&mut self, end: &End, datagram: &[u8]) {
        let now = Instant::now();
        if let Some((Check::Request, id)) = Check::of(datagram) {
            self.check_sent = Some((id, now));
        }
        match end.choose(now) {
            Some(By::Link(carrier, channel)) => {
                let framed = frame(Towards::Carrier, channel, datagram);
                if let Some((carrier, framed)) = self.shared.handle(carrier).zip(framed) {
                    carrier.wire.send_frame(framed);
                }
            }
            Some(By::Rendezvous(peer)) => {
                if self.by_rendezvous.as_ref().is_some_and(|(to, _)| *to != peer) {
                    self.flush();
                }
                let (_, waiting) = self.by_rendezvous.get_or_insert((peer, Vec::new()));
                waiting.push(Bytes::copy_from_slice(datagram));
            }
            None => {}
        }
    }

    /// Hands the datagrams to the rendezvous that are to go by it.
    pub(crate) fn flush(&mut self) {
        if let Some((to, datagrams)) = self.by_rendezvous.take()
            && let Some(courier) = self.shared.tunnels.courier()
        {
            courier.carry(to, datagrams);
        }
    }
}
