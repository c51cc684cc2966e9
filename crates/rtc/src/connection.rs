//! The transport of a link with its sockets, driven by the link's task.
//!
//! [`Transport`] does no IO: it takes datagrams, messages and the time, and gives datagrams, messages and
//! events. [`Connection`] moves them between the transport, the sockets and the link, all on the link's task. The
//! `webrtc` crate, the stack's own driver, hands events and messages through channels between several tasks,
//! and arms a timer for each datagram. Measured (demo of 100 viewers, two cores, two runs each by turns):
//! 1.48 cores and 670 MiB with it, 1.16 cores and 422 MiB without.

use std::collections::{BTreeSet, VecDeque};
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt as _;
use plenary_proto::app::{Nat, Way};
use plenary_proto::bounded::List;
use plenary_proto::message::{
    CANDIDATES_MAX, Candidate, DTLS_HELLO_LEN_MAX, Description, IceRestart, SctpInit,
};
use plenary_proto::restart::Told;
use quinn_udp::Transmit;
use rtc::shared::TaggedBytesMut;
use rtc::shared::error::{Error, Result};
use tokio::time::Sleep;

use crate::checks::Checks;
use crate::credentials::Credentials;
use crate::legs::Legs;
use crate::mux::{Place, SharedSocket};
use crate::path::{self, TurnServer};
use crate::relays::Relays;
use crate::seam::Channel;
use crate::shaper::Shaper;
use crate::socket::{Class, LinkSocket};
use crate::trains::Trains;
use crate::transport::{Transport, TransportEvent};
use crate::tunnels::{self, Tunnel, is_tunnel};
use crate::wire::Wire;
use plenary_proto::link_layout::Role;

/// Maximum number of bytes that SCTP buffers for a channel before further messages wait.
pub(crate) const SEND_BUFFER_BYTES_MAX: usize = 1 << 20;
/// Maximum number of bytes in one send: the largest UDP payload. The kernel cuts a send into datagrams of one
/// length (GSO). Measured with frames of 6 and 25 packets to 32 children: 6.3 and 3.7 µs per packet, instead of
/// 8.0 and 5.2 with a send for each.
const SEGMENTS_BYTES_MAX: usize = 65_535;
/// Minimum interval between two calls for timeouts that have passed. The stack counts in milliseconds; a
/// timeout that it leaves in the past would keep the task busy.
const TIMEOUT_INTERVAL_MIN: Duration = Duration::from_millis(1);
/// Maximum number of turns before the task lets others run.
const TURNS_MAX: usize = 16;

/// Parameters of a connection.
pub(crate) struct Plan {
    pub(crate) role: Role,
    pub(crate) ufrag: String,
    pub(crate) pwd: String,
    pub(crate) sockets: Sockets,
    pub(crate) wire: Arc<Wire>,
    pub(crate) shaper: Shaper,
    pub(crate) legs: Legs,
    pub(crate) trains: Trains,
    pub(crate) checks: Checks,
    /// Whether this is an ICE-lite end.
    pub(crate) is_lite: bool,
    /// STUN servers to ask.
    pub(crate) stun: Vec<SocketAddr>,
    /// TURN servers at which the link may get a relay.
    pub(crate) turn: Arc<Mutex<Vec<TurnServer>>>,
    pub(crate) tunnel: Tunnel,
}

/// The sockets of a connection.
pub(crate) enum Sockets {
    /// Of its own, to be bound to these addresses.
    Own(Vec<SocketAddr>),
    /// Those of the port that all links share.
    Shared(Vec<Arc<SharedSocket>>),
}

/// A transport with its sockets.
pub(crate) struct Connection {
    transport: Box<Transport>,
    sockets: Vec<LinkSocket>,
    relays: Relays,
    tunnel: Tunnel,
    wire: Arc<Wire>,
    shaper: Shaper,
    /// The address of this end that the link goes by, unless it is a tunnel, and its way.
    goes_by: Option<(Option<IpAddr>, Way)>,
    /// Datagrams that the sockets have not taken yet.
    outgoing: VecDeque<TaggedBytesMut>,
    /// Datagrams of one send.
    segments: Vec<u8>,
    timer: Pin<Box<Sleep>>,
    /// Time that the timer is set to: the next timeout of the transport, or earlier.
    timer_at: Option<Instant>,
    /// Last call for a timeout.
    timeout_handled: Instant,
    /// The transport was given something since the last turn.
    is_changed: bool,
    /// Channels that wait for room in their buffers.
    full: BTreeSet<Channel>,
}

/// An event on a connection.
#[derive(Debug)]
pub(crate) enum Happening {
    /// The transport has opened or ended.
    Transport(TransportEvent),
    /// A message arrived.
    Message(Channel, Bytes),
    /// Messages wait to be sent, or a full channel takes messages again.
    MessagesWait,
}

/// Reason why a connection was not opened.
pub(crate) enum OpenError {
    /// No socket could be bound, for this reason at the last address.
    Unbound(io::Error),
    Stack(Error),
}

impl From<Error> for OpenError {
    fn from(error: Error) -> OpenError {
        OpenError::Stack(error)
    }
}

impl Connection {
    /// Binds the sockets. An address that cannot be bound is left out; at least one must be. Must be called within
    /// a tokio runtime.
    pub(crate) fn open(credentials: &Credentials, plan: Plan) -> std::result::Result<Connection, OpenError> {
        let mut why = io::ErrorKind::AddrNotAvailable.into();
        let bind = |&address| match LinkSocket::bind(address, plan.wire.clone(), plan.shaper.clone()) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::debug!(%address, %error, "an address cannot be bound");
                why = error;
                None
            }
        };
        let share = |socket| LinkSocket::share(socket, &plan.ufrag, plan.wire.clone(), plan.shaper.clone());
        let sockets: Vec<LinkSocket> = match &plan.sockets {
            Sockets::Own(addresses) => addresses.iter().filter_map(bind).collect(),
            Sockets::Shared(sockets) => sockets.iter().map(share).collect(),
        };
        if sockets.is_empty() {
            return Err(OpenError::Unbound(why));
        }
        plan.wire.set_bound(sockets.iter().map(|socket| socket.local().ip()));
        let binds = if plan.is_lite { Vec::new() } else { sockets.iter().map(LinkSocket::base).collect() };
        let sends_by = (plan.wire.clone(), plan.shaper.clone());
        let relays = Relays::new(plan.turn, credentials.provider.clone(), binds, sends_by);
        let now = Instant::now();
        let transport = Transport::new(
            now,
            (plan.role, plan.is_lite),
            credentials,
            (&plan.ufrag, &plan.pwd),
            (plan.legs, plan.trains),
            (sockets.iter().map(LinkSocket::local), &plan.stun),
            plan.checks,
        )?;
        Ok(Connection {
            transport: Box::new(transport),
            sockets,
            relays,
            tunnel: plan.tunnel,
            wire: plan.wire,
            shaper: plan.shaper,
            goes_by: None,
            outgoing: VecDeque::new(),
            segments: Vec::new(),
            timer: Box::pin(tokio::time::sleep_until(now.into())),
            timer_at: None,
            timeout_handled: now,
            is_changed: true,
            full: BTreeSet::new(),
        })
    }

    /// Candidates for the description.
    pub(crate) fn candidates(&self, outer: path::Outer) -> List<Candidate, CANDIDATES_MAX> {
        path::candidates(self.sockets.iter().map(LinkSocket::local), outer)
    }

    /// Returns the beginning of this end's SCTP association, for the description.
    pub(crate) fn sctp_init(&mut self) -> Result<SctpInit> {
        self.transport.sctp_init(Instant::now())
    }

    /// Begins the handshake of DTLS ahead of a path, and returns its first datagram, for an answer. `None` if this end
    /// isn't the client, or the other end is a browser.
    pub(crate) fn hello(&mut self) -> Result<Option<List<u8, DTLS_HELLO_LEN_MAX>>> {
        self.transport.hello(Instant::now())
    }

    /// Whether the other end's channels are open by the time at which anything that this end sends arrives.
    pub(crate) fn opens_together(&self) -> bool {
        self.transport.opens_together()
    }

    /// Begins to connect with the other end. The NAT in front of this end says when a relay is asked for.
    pub(crate) fn start(&mut self, other: &Description, nat: Nat) -> Result<()> {
        let now = Instant::now();
        self.is_changed = true;
        self.told(&other.candidates);
        self.relays.start(now, nat);
        self.transport.start(now, other)
    }

    /// Checks further candidates of the other end.
    pub(crate) fn add_paths(&mut self, ufrag: &str, candidates: &[Candidate]) -> Result<()> {
        self.is_changed = true;
        self.told(candidates);
        self.transport.add_paths(ufrag, candidates)
    }

    /// Notes at a shared port where the other end is.
    fn told(&self, candidates: &[Candidate]) {
        for place in self.sockets.iter().filter_map(LinkSocket::place) {
            place.told(candidates.iter().filter_map(Candidate::address));
        }
    }

    /// Sends a message. The caller checks [`Connection::outstanding_bytes`] first.
    pub(crate) fn send(&mut self, channel: Channel, message: &Bytes) -> Result<()> {
        self.is_changed = true;
        self.transport.send(Instant::now(), channel, message)
    }

    #[cfg(feature = "raw")]
    pub(crate) fn send_raw(&mut self, raw: crate::raw::Raw) {
        self.is_changed = true;
        self.transport.send_raw(Instant::now(), raw);
    }

    /// Bytes of messages that the other end has not acknowledged yet.
    pub(crate) fn outstanding_bytes(&mut self, channel: Channel) -> usize {
        self.transport.outstanding_bytes(channel)
    }

    /// Reports [`Happening::MessagesWait`] once the channel takes messages again.
    pub(crate) fn wait_for_room(&mut self, channel: Channel) {
        self.full.insert(channel);
    }

    /// Drives the connection until something happens. Messages are only reported if `reads_messages`; as long
    /// as they are not, flow control makes the other end wait. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The stack has failed, and the connection is of no use any more.
    pub(crate) async fn next(&mut self, reads_messages: bool) -> Result<Happening> {
        poll_fn(|cx| self.poll(cx, reads_messages)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>, reads_messages: bool) -> Poll<Result<Happening>> {
        self.wire.register(cx.waker());
        if self.wire.take_messages_wait() {
            return Poll::Ready(Ok(Happening::MessagesWait));
        }
        for _ in 0..TURNS_MAX {
            // frames of tunnels that this peer carries change nothing here
            let (any, is_changed) = self.receive(cx);
            let mut goes_on = is_changed | self.receive_by_tunnel()?;
            goes_on |= self.relays.settle(cx, &mut self.transport)?;
            goes_on |= self.expire(cx)?;
            self.note_path();
            self.is_changed |= goes_on;
            goes_on |= any;
            if let Some(happening) = self.happening(reads_messages) {
                return Poll::Ready(Ok(happening));
            }
            // while the socket takes nothing, the link's queue fills up, and drops packets by its own rules
            if self.poll_flush(cx).is_ready() {
                if self.wire.take_frames_wait() {
                    self.take_frames();
                    let _ = self.poll_flush(cx);
                }
                let takes_media = self.wire.take_nudge();
                if takes_media || self.is_changed {
                    self.is_changed = false;
                    self.transport.collect(Instant::now(), takes_media, &mut self.outgoing);
                    // datagrams sent may have moved the next timeout: one more turn sets the timer
                    goes_on |= !self.outgoing.is_empty();
                    let _ = self.poll_flush(cx);
                }
            }
            if !goes_on {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The next event or message of the transport.
    fn happening(&mut self, reads_messages: bool) -> Option<Happening> {
        if !self.full.is_empty() {
            let full = std::mem::take(&mut self.full);
            if full.iter().any(|&channel| self.outstanding_bytes(channel) < SEND_BUFFER_BYTES_MAX) {
                // the channels that are still full are told again by the next attempt to send
                return Some(Happening::MessagesWait);
            }
            self.full = full;
        }
        // messages first, since messages from before the close still count
        if let Some((channel, message)) = reads_messages.then(|| self.transport.read()).flatten() {
            self.is_changed = true;
            return Some(Happening::Message(channel, message));
        }
        let is_replaced = self.sockets.iter().filter_map(LinkSocket::place).any(Place::is_replaced);
        let event = if is_replaced { Some(TransportEvent::Lost) } else { self.transport.poll_event() };
        event.map(Happening::Transport)
    }

    /// Reads one batch of each socket. Returns whether anything arrived, and whether it was more than tunnel frames.
    fn receive(&mut self, cx: &mut Context<'_>) -> (bool, bool) {
        let (mut any, mut is_changed) = (false, false);
        for socket in self.sockets.iter_mut().chain(self.relays.sockets()) {
            let local = socket.local();
            let arrived = |datagram: &[u8], from, at| {
                if Class::of(datagram) == Class::Tunnel {
                    if self.transport.knows(from) {
                        self.tunnel.frame_arrived(datagram, at);
                    }
                    return;
                }
                is_changed = true;
                if let Err(error) = self.transport.receive(at, local, from, datagram) {
                    tracing::debug!(%error, "a datagram was dropped");
                }
            };
            any |= socket.poll_recv(cx, arrived).is_ready();
            let answered = self.transport.take_answered();
            if let Some(place) = socket.place() {
                answered.into_iter().for_each(|address| place.learned(address));
            }
        }
        (any, is_changed)
    }

    /// Reads what has come through tunnels. Returns whether anything has.
    fn receive_by_tunnel(&mut self) -> Result<bool> {
        if !self.wire.tunnel.is_open() {
            return Ok(false);
        }
        self.transport.open_tunnel()?;
        let now = Instant::now();
        let arrived = self.wire.tunnel.take(now);
        for datagram in &arrived {
            self.tunnel.time_check(&self.wire, datagram);
            if let Err(error) = self.transport.receive(now, tunnels::OWN, tunnels::OTHER, datagram) {
                tracing::debug!(%error, "a datagram from a tunnel was dropped");
            }
        }
        Ok(!arrived.is_empty())
    }

    /// Takes the frames of tunnels that this link carries. Without a path there is nowhere to send them.
    fn take_frames(&mut self) {
        let frames = self.wire.take_frames();
        let Some(transport) = self.transport.path_of_frames() else { return };
        let now = Instant::now();
        let framed = |frame: Bytes| TaggedBytesMut { now, transport, message: frame.into() };
        self.outgoing.extend(frames.into_iter().map(framed));
    }

    /// Begins an ICE restart on these sockets, and closes others. Returns `false` if none can be bound.
    pub(crate) fn begin_restart(
        &mut self,
        sockets: Sockets,
        (ufrag, pwd): (String, String),
        (outer, stun): (path::Outer, &[SocketAddr]),
        asks: bool,
    ) -> Result<bool> {
        self.rebind(sockets, &ufrag);
        if self.sockets.is_empty() {
            return Ok(false);
        }
        self.is_changed = true;
        let addresses: Vec<SocketAddr> = self.sockets.iter().map(LinkSocket::local).collect();
        let told = (path::candidates(addresses.iter().copied(), outer), asks);
        self.transport.begin_restart(Instant::now(), (ufrag, pwd), (&addresses, stun), told)?;
        Ok(true)
    }

    /// Binds the missing sockets, and closes sockets on vanished addresses.
    fn rebind(&mut self, sockets: Sockets, ufrag: &str) {
        let has = |known: &[LinkSocket], ip| known.iter().any(|socket| socket.base().ip() == ip);
        match sockets {
            Sockets::Own(addresses) => {
                self.sockets
                    .retain(|socket| addresses.iter().any(|address| address.ip() == socket.base().ip()));
                for address in addresses {
                    if !has(&self.sockets, address.ip()) {
                        match LinkSocket::bind(address, self.wire.clone(), self.shaper.clone()) {
                            Ok(socket) => self.sockets.push(socket),
                            Err(error) => tracing::debug!(%address, %error, "an address cannot be bound"),
                        }
                    }
                }
            }
            Sockets::Shared(all) => {
                self.sockets.retain(|socket| all.iter().any(|one| one.local == socket.base()));
                self.sockets.iter().filter_map(LinkSocket::place).for_each(|place| place.also(ufrag));
                for socket in all {
                    if !has(&self.sockets, socket.local.ip()) {
                        let (wire, shaper) = (self.wire.clone(), self.shaper.clone());
                        self.sockets.push(LinkSocket::share(&socket, ufrag, wire, shaper));
                    }
                }
            }
        }
    }

    /// Judges what the other end tells of an ICE restart.
    pub(crate) fn judge_restart(&mut self, told: &IceRestart) -> Told {
        self.transport.judge_restart(told)
    }

    /// Begins to check the other end's candidates of an ICE restart.
    pub(crate) fn start_restart(&mut self, other: &IceRestart) -> Result<()> {
        self.is_changed = true;
        self.told(&other.candidates);
        self.transport.start_restart(Instant::now(), other)
    }

    /// Returns this end's part of the ICE restart under way.
    pub(crate) fn restart_told(&self) -> Option<IceRestart> {
        self.transport.restart_told()
    }

    /// Whether the link goes by a path that no ICE agent keeps.
    pub(crate) fn has_migrated(&self) -> bool {
        self.transport.has_migrated()
    }

    /// Whether the other end was asked for its part of an ICE restart, and has not answered yet.
    pub(crate) fn asks_restart(&self) -> bool {
        self.transport.asks_restart()
    }

    pub(crate) fn is_restarting(&self) -> bool {
        self.transport.is_restarting()
    }

    /// Whether the link shares its port with others.
    pub(crate) fn is_shared(&self) -> bool {
        self.sockets.iter().any(|socket| socket.place().is_some())
    }

    /// Whether the machine, with these addresses, has lost those of all sockets.
    pub(crate) fn is_unbound(&self, addresses: &[IpAddr]) -> bool {
        !self.sockets.iter().any(|socket| addresses.contains(&socket.base().ip()))
    }

    /// Whether the link goes by a relay or a tunnel.
    pub(crate) fn takes_detour(&self) -> bool {
        self.goes_by.is_some_and(|(_, way)| way != Way::Direct)
    }

    /// Whether the link goes through a tunnel.
    pub(crate) fn is_carried(&self) -> bool {
        self.transport.goes_by().is_some_and(|(local, _)| is_tunnel(local))
    }

    /// Whether the link has a path.
    pub(crate) fn has_path(&self) -> bool {
        self.transport.goes_by().is_some()
    }

    /// Handles the timeout of the transport if it has passed, else sets the timer. Returns whether it has passed.
    fn expire(&mut self, cx: &mut Context<'_>) -> Result<bool> {
        loop {
            let due = [self.transport.poll_timeout(), self.relays.poll_timeout()].into_iter().flatten().min();
            let Some(mut due) = due else { return Ok(false) };
            // a timer that is set to an earlier time is left alone: the next timeout moves with each packet
            if self.timer_at.is_some_and(|at| at <= due) && self.timer.as_mut().poll(cx).is_pending() {
                return Ok(false);
            }
            let now = Instant::now();
            if due <= now {
                if now >= self.timeout_handled + TIMEOUT_INTERVAL_MIN {
                    self.timeout_handled = now;
                    self.transport.handle_timeout(now)?;
                    self.relays.handle_timeout(cx, now);
                    return Ok(true);
                }
                due = self.timeout_handled + TIMEOUT_INTERVAL_MIN;
            }
            self.timer_at = Some(due);
            self.timer.as_mut().reset(due.into());
            if self.timer.as_mut().poll(cx).is_pending() {
                return Ok(false);
            }
        }
    }

    /// Tells commands by which address and way the link goes.
    fn note_path(&mut self) {
        let goes_by = self.transport.goes_by();
        let goes_by = goes_by.map(|(local, way)| match is_tunnel(local) {
            true => (None, self.wire.tunnel.way()),
            false => (Some(self.relays.base_of(local).ip()), way),
        });
        if goes_by != self.goes_by {
            self.goes_by = goes_by;
            if let Some((address, way)) = goes_by {
                self.wire.set_path(address, way);
            }
        }
    }

    /// Sends the collected datagrams, as far as the sockets take them.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(first) = self.outgoing.front() else {
                self.tunnel.flush();
                return Poll::Ready(());
            };
            let transport = first.transport;
            if is_tunnel(transport.local_addr) {
                self.tunnel.send(&self.wire.tunnel, &first.message);
                self.outgoing.pop_front();
                continue;
            }
            let len = first.message.len();
            let mut sockets = self.sockets.iter_mut().chain(self.relays.sockets());
            let Some(socket) = sockets.find(|socket| socket.local() == transport.local_addr) else {
                self.outgoing.pop_front();
                continue;
            };
            let run = run_len(&self.outgoing, socket.segments_max());
            let contents = if run == 1 {
                &first.message
            } else {
                self.segments.clear();
                self.outgoing.iter().take(run).for_each(|segment| {
                    self.segments.extend_from_slice(&segment.message);
                });
                &self.segments[..]
            };
            let transmit = Transmit {
                destination: transport.peer_addr,
                ecn: None,
                contents,
                segment_size: (len < contents.len()).then_some(len),
                src_ip: None,
            };
            match socket.poll_send(cx, &transmit) {
                Poll::Pending => return Poll::Pending,
                // an unreachable address is one of several candidates
                Poll::Ready(Err(error)) => tracing::debug!(%error, "a datagram was not sent"),
                Poll::Ready(Ok(())) => {}
            }
            self.outgoing.drain(..run);
        }
    }

    /// Closes the connection and tells the other end, as far as the sockets take datagrams at once.
    pub(crate) fn close(mut self) {
        self.take_frames(); // the good-byes of links that go by this one
        if let Err(error) = self.transport.close(Instant::now(), &mut self.outgoing) {
            tracing::debug!(%error, "a connection did not close cleanly");
        }
        let _ = poll_fn(|cx| self.poll_flush(cx)).now_or_never();
        let end = |cx: &mut Context<'_>| {
            self.relays.end(cx, Instant::now());
            Poll::Ready(())
        };
        let _ = poll_fn(end).now_or_never();
    }
}

/// Number of datagrams at the front that one send may take, at least 1: of one class and one length, for one
/// address; the last may be shorter. Checks are sent one by one, since the socket times them.
fn run_len(outgoing: &VecDeque<TaggedBytesMut>, segments_max: usize) -> usize {
    let Some(first) = outgoing.front() else { return 0 };
    let (len, class) = (first.message.len(), Class::of(&first.message));
    let mut run = 1;
    let mut is_last = class == Class::Check;
    for datagram in outgoing.iter().take(segments_max).skip(1) {
        let message = &datagram.message;
        let is_alike = Class::of(message) == class && datagram.transport == first.transport;
        if is_last || !is_alike || message.len() > len || (run + 1) * len > SEGMENTS_BYTES_MAX {
            break;
        }
        is_last = message.len() < len;
        run += 1;
    }
    run
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use rtc::shared::TransportContext;

    use super::*;

    const CHECK: u8 = 0;
    const DTLS: u8 = 23;
    const MEDIA: u8 = 0x80;

    fn run(datagrams: &[(u8, usize)], segments_max: usize) -> usize {
        let now = Instant::now();
        let datagram = |&(first, len): &(u8, usize)| TaggedBytesMut {
            now,
            transport: TransportContext::default(),
            message: BytesMut::from(&vec![first; len][..]),
        };
        run_len(&datagrams.iter().map(datagram).collect(), segments_max)
    }

    #[test]
    fn one_send_takes_datagrams_of_one_length_and_a_shorter_last_one() {
        let media = [1_200, 1_200, 1_200, 700, 1_200].map(|len| (MEDIA, len));
        assert_eq!(run(&media, 64), 4);
        assert_eq!(run(&media, 2), 2, "the kernel takes no more");
        assert_eq!(run(&media, 1), 1, "the kernel cuts nothing");
        assert_eq!(run(&[(MEDIA, 700), (MEDIA, 1_200)], 64), 1);
        assert_eq!(run(&[(MEDIA, 1_200); 64], 64), 54, "65,535 bytes");
        assert_eq!(run(&[(MEDIA, 0), (MEDIA, 0)], 64), 1);
    }

    #[test]
    fn one_send_mixes_no_messages_with_media_and_takes_one_check() {
        assert_eq!(run(&[(MEDIA, 100), (DTLS, 90)], 64), 1);
        assert_eq!(run(&[(DTLS, 100), (DTLS, 100), (MEDIA, 90)], 64), 2);
        assert_eq!(run(&[(MEDIA, 100), (CHECK, 90)], 64), 1);
        assert_eq!(run(&[(CHECK, 100), (CHECK, 100)], 64), 1);
    }
}
