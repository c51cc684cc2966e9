//! A TURN client over UDP (RFC 8656) for one relayed address, without IO.
//!
//! The stack's client (`rtc-turn` 0.21) isn't used. It takes an answer from any sender, and unsigned, so that a relay
//! can be forged on the way; it allocates no address of IPv6; it gives up an allocation, a permission or a channel with
//! a stale nonce, although a request with the new one would do; it refreshes a channel only when something is sent; and
//! it copies each datagram three times.

mod message;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use plenary_proto::network::{Network, is_public};
use rtc::crypto::RTCCryptoProvider;
use rtc::stun::attributes::{ATTR_XOR_RELAYED_ADDRESS, ATTR_XORMAPPED_ADDRESS};
use rtc::stun::message::Message;

use crate::transport::draw;
use message::{Ask, Login};

/// Time until a request is repeated; it doubles with each repetition (RFC 8489, 6.2.1).
const RTO: Duration = Duration::from_millis(500);
/// Maximum number of times that a request is sent. The last answer is awaited until 7.5 s after the first one was: a
/// link without a path is given up after 5 s.
const TRIES_MAX: u32 = 4;
/// Maximum number of times that a request is signed anew because the server wants another nonce. A guess: one, and one
/// more if the first answer was late.
const STALE_MAX: u8 = 2;
/// Maximum number of addresses with permissions: as many as an end is heard from (`screen/paths.rs`).
const PERMITS_MAX: usize = 12;
/// Maximum number of channels. A link goes by one pair of addresses; a guess for those of others that send, too.
const CHANNELS_MAX: usize = 4;
/// Number of the first channel (RFC 8656, section 12).
const CHANNEL_FIRST: u16 = 0x4000;
/// Interval between two requests for the same permission or channel. A permission lasts for 300 s, a channel for 600 s
/// (RFC 8656, sections 9 and 12): what is left suffices for two more attempts.
const RENEW: Duration = Duration::from_secs(200);
/// Time after which a renewal without an answer is attempted again: longer than all tries of one request. A guess.
const RENEW_AGAIN: Duration = Duration::from_secs(30);
/// Bounds of an allocation's lifetime, half of which passes until a refresh. Servers give 600 s, coturn 3,600 s at
/// most. Guesses for a server that says less or more.
const LIFETIME_S: std::ops::RangeInclusive<u32> = 10..=3_600;

/// A TURN server (RFC 8656) that is reached by UDP, and this peer's long-term credentials there.
#[derive(Clone, PartialEq, Eq)]
pub struct TurnServer {
    /// Address of the server.
    pub address: SocketAddr,
    /// Username.
    pub username: String,
    /// Password; it isn't shown by `Debug`.
    pub password: String,
}

impl fmt::Debug for TurnServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TurnServer").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What a server has allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Relay {
    /// The address at which peers reach this end.
    pub(crate) relayed: SocketAddr,
    /// This end's address as the server sees it, if others may reach it there.
    pub(crate) seen: Option<SocketAddr>,
}

/// The allocation of one socket at one server.
pub(crate) struct Turn {
    server: TurnServer,
    provider: Arc<dyn RTCCryptoProvider>,
    /// What requests are signed with; `None` until the server has said how.
    login: Option<Login>,
    requests: Vec<Request>,
    phase: Phase,
    permits: Vec<Grant>,
    channels: Vec<Grant>,
}

enum Phase {
    Asking,
    Allocated {
        relay: Relay,
        /// The relay was not returned by [`Turn::take_relay`] yet.
        is_new: bool,
        refresh_at: Instant,
        until: Instant,
    },
    Ending,
    Over,
}

/// A request without an answer yet.
struct Request {
    ask: Ask,
    transaction: [u8; 12],
    bytes: Vec<u8>,
    sent: u32,
    due: Instant,
    /// Number of times that it was signed anew.
    stale: u8,
}

/// A permission, or a channel: the request for it says which.
struct Grant {
    ask: Ask,
    peer: SocketAddr,
    status: Status,
    renew_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Asked,
    Granted,
    Refused,
}

impl Turn {
    /// Prepares an allocation of the server's own family.
    pub(crate) fn new(now: Instant, server: TurnServer, provider: Arc<dyn RTCCryptoProvider>) -> Turn {
        let ask = Ask::Allocate { is_v6: server.address.is_ipv6() };
        let mut turn = Turn {
            server,
            provider,
            login: None,
            requests: Vec::new(),
            phase: Phase::Asking,
            permits: Vec::new(),
            channels: Vec::new(),
        };
        turn.ask(now, ask, 0);
        turn
    }

    pub(crate) fn server(&self) -> SocketAddr {
        self.server.address
    }

    /// Whether the server has answered.
    pub(crate) fn is_heard(&self) -> bool {
        self.login.is_some()
    }

    /// Whether the allocation has ended, or was refused.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// The address at which peers reach this end.
    pub(crate) fn relayed(&self) -> Option<SocketAddr> {
        match &self.phase {
            Phase::Allocated { relay, .. } => Some(relay.relayed),
            _ => None,
        }
    }

    /// Returns the relay once, when it has been allocated.
    pub(crate) fn take_relay(&mut self) -> Option<Relay> {
        match &mut self.phase {
            Phase::Allocated { relay, is_new, .. } => std::mem::take(is_new).then_some(*relay),
            _ => None,
        }
    }

    /// Takes a datagram of the server. Returns what a peer has sent, and the peer.
    pub(crate) fn receive<'a>(&mut self, now: Instant, datagram: &'a [u8]) -> Option<(SocketAddr, &'a [u8])> {
        if let Some((number, data)) = message::channel_data(datagram) {
            let is_it = |channel: &&Grant| channel.ask == Ask::Bind(number, channel.peer);
            return self.channels.iter().find(is_it).map(|channel| (channel.peer, data));
        }
        if let Some((peer, data)) = message::indicated(datagram) {
            return (self.permitted(peer) == Some(Status::Granted)).then_some((peer, data));
        }
        if let Some((answer, result)) = message::answer(datagram) {
            self.answered(now, answer, result);
        }
        None
    }

    /// Wraps a datagram for a peer. Returns `false` if it can't be sent: there is no permission, or not yet. The first
    /// datagram for an address asks for one, and the first one for a peer that `wants_channel` asks for a channel.
    pub(crate) fn wrap(
        &mut self,
        now: Instant,
        peer: SocketAddr,
        data: &[u8],
        wants_channel: bool,
        wrapped: &mut Vec<u8>,
    ) -> bool {
        let Some(relayed) = self.relayed() else { return false };
        match self.permitted(peer) {
            Some(Status::Granted) => {}
            None if self.permits.len() < PERMITS_MAX && reaches(relayed, peer) => {
                let permit = self.want(now, Ask::Permit(peer), peer);
                self.permits.push(permit);
                return false;
            }
            _ => return false,
        }
        match self.channels.iter().find(|channel| channel.peer == peer) {
            Some(Grant { ask: Ask::Bind(number, _), status: Status::Granted, .. }) => {
                message::write_channel(*number, data, wrapped);
                return true;
            }
            None if wants_channel && self.channels.len() < CHANNELS_MAX => {
                let number = CHANNEL_FIRST + self.channels.len() as u16;
                let channel = self.want(now, Ask::Bind(number, peer), peer);
                self.channels.push(channel);
            }
            _ => {}
        }
        message::write_indication(draw(), peer, data, wrapped);
        true
    }

    /// Ends the allocation. The caller sends what [`Turn::take_due`] returns then.
    pub(crate) fn end(&mut self, now: Instant) {
        self.requests.clear();
        // a signed request may have made an allocation already
        self.phase = if self.is_heard() {
            self.ask(now, Ask::End, 0);
            Phase::Ending
        } else {
            Phase::Over
        };
    }

    /// Returns the requests that are due, and gives up those that were sent often enough.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<Vec<u8>> {
        if let Phase::Allocated { refresh_at, until, .. } = &mut self.phase {
            let is_due = *refresh_at <= now;
            if *until <= now {
                self.over("a relay has expired");
            } else if is_due {
                *refresh_at = now + RENEW_AGAIN;
                self.ask(now, Ask::Refresh, 0);
            }
        }
        let mut renewals = Vec::new();
        for grant in self.permits.iter_mut().chain(&mut self.channels).filter(|grant| grant.is_due(now)) {
            grant.renew_at = now + RENEW_AGAIN;
            renewals.push(grant.ask);
        }
        renewals.into_iter().for_each(|ask| self.ask(now, ask, 0));
        let is_lost = |request: &mut Request| request.due <= now && request.sent >= TRIES_MAX;
        let lost: Vec<Request> = self.requests.extract_if(.., is_lost).collect();
        lost.into_iter().for_each(|request| self.refused(request.ask, None));
        let mut due = Vec::new();
        for request in self.requests.iter_mut().filter(|request| request.due <= now) {
            request.due = now + RTO * 2_u32.pow(request.sent);
            request.sent += 1;
            due.push(request.bytes.clone());
        }
        due
    }

    /// Time of the next call of [`Turn::take_due`].
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let requests = self.requests.iter().map(|request| request.due);
        let Phase::Allocated { refresh_at, until, .. } = self.phase else { return requests.min() };
        let grants = self.permits.iter().chain(&self.channels);
        let renewals = grants.filter(|grant| grant.status == Status::Granted).map(|grant| grant.renew_at);
        requests.chain(renewals).chain([refresh_at, until]).min()
    }

    /// Asks for a permission or a channel.
    fn want(&mut self, now: Instant, ask: Ask, peer: SocketAddr) -> Grant {
        self.ask(now, ask, 0);
        Grant { ask, peer, status: Status::Asked, renew_at: now + RENEW_AGAIN }
    }

    fn ask(&mut self, now: Instant, ask: Ask, stale: u8) {
        let transaction = draw();
        let bytes = ask.request(transaction, self.login.as_ref());
        self.requests.push(Request { ask, transaction, bytes, sent: 0, due: now, stale });
    }

    /// What has become of the permission for a peer's address.
    fn permitted(&self, peer: SocketAddr) -> Option<Status> {
        self.permits.iter().find(|permit| permit.peer.ip() == peer.ip()).map(|permit| permit.status)
    }

    fn answered(&mut self, now: Instant, mut answer: Message, result: Result<(), u16>) {
        let answers = |request: &Request| {
            request.transaction == answer.transaction_id.0 && request.ask.method() == answer.typ.method
        };
        let Some(place) = self.requests.iter().position(answers) else { return };
        let is_signed = self.login.as_ref().is_some_and(|login| login.has_signed(&mut answer));
        // an answer to a request that wasn't signed isn't either; nor are those that ask for another signature, and
        // some of "bad request" (RFC 8489, 9.2.5)
        let counts = match result {
            Ok(()) => is_signed,
            Err(code) => is_signed || self.login.is_none() || matches!(code, 400 | 401 | 438),
        };
        if !counts {
            return;
        }
        let Request { ask, stale, .. } = self.requests.swap_remove(place);
        match result {
            Ok(()) => self.succeeded(now, ask, &answer),
            Err(401) if self.login.is_none() => self.sign_in(now, ask, 0, &answer),
            Err(438) if stale < STALE_MAX => self.sign_in(now, ask, stale + 1, &answer),
            Err(code) => self.refused(ask, Some(code)),
        }
    }

    /// Signs a request as the server wants it.
    fn sign_in(&mut self, now: Instant, ask: Ask, stale: u8, challenge: &Message) {
        match Login::new(&self.server, &self.provider, challenge) {
            Some(login) => {
                self.login = Some(login);
                self.ask(now, ask, stale);
            }
            None => self.refused(ask, None),
        }
    }

    fn succeeded(&mut self, now: Instant, asked: Ask, answer: &Message) {
        let lifetime_s = message::lifetime_s(answer).unwrap_or(0);
        let lifetime = Duration::from_secs(lifetime_s.clamp(*LIFETIME_S.start(), *LIFETIME_S.end()).into());
        match asked {
            Ask::Allocate { .. } => {
                let relayed = message::address(answer, ATTR_XOR_RELAYED_ADDRESS);
                let Some(relayed) = relayed.filter(|relayed| self.is_usable(*relayed)) else {
                    tracing::debug!(?relayed, server = %self.server.address, "nobody reaches this relay");
                    self.ask(now, Ask::End, 0);
                    self.phase = Phase::Ending;
                    return;
                };
                let seen = message::address(answer, ATTR_XORMAPPED_ADDRESS)
                    .filter(|seen| is_public(seen.ip()) && seen.port() != 0);
                let (refresh_at, until) = (now + lifetime / 2, now + lifetime);
                let relay = Relay { relayed, seen };
                self.phase = Phase::Allocated { relay, is_new: true, refresh_at, until };
            }
            Ask::Refresh => {
                if let Phase::Allocated { refresh_at, until, .. } = &mut self.phase {
                    (*refresh_at, *until) = (now + lifetime / 2, now + lifetime);
                }
            }
            Ask::End => self.over("a relay has ended"),
            Ask::Permit(_) | Ask::Bind(..) => {
                if let Some(grant) = self.grant(asked) {
                    (grant.status, grant.renew_at) = (Status::Granted, now + RENEW);
                }
            }
        }
    }

    /// Handles an error with this code, or the silence of the server.
    fn refused(&mut self, asked: Ask, code: Option<u16>) {
        /// Allocation Mismatch: the server doesn't know the allocation.
        const UNKNOWN: Option<u16> = Some(437);
        tracing::debug!(?asked, ?code, server = %self.server.address, "a TURN server has refused");
        match asked {
            Ask::Allocate { .. } => self.over("no relay"),
            Ask::End => self.over("a relay has ended"),
            _ if code == UNKNOWN => self.over("a relay is gone"),
            // asked for again until it expires
            Ask::Refresh => {}
            Ask::Permit(_) | Ask::Bind(..) => {
                if let Some(grant) = self.grant(asked)
                    && (code.is_some() || grant.status == Status::Asked)
                {
                    grant.status = Status::Refused;
                }
            }
        }
    }

    fn grant(&mut self, asked: Ask) -> Option<&mut Grant> {
        self.permits.iter_mut().chain(&mut self.channels).find(|grant| grant.ask == asked)
    }

    fn over(&mut self, why: &str) {
        tracing::debug!(server = %self.server.address, "{why}");
        self.requests.clear();
        self.phase = Phase::Over;
    }

    /// Whether others may reach a relay at this address: a server outside gives none of a private network.
    fn is_usable(&self, relayed: SocketAddr) -> bool {
        let server = self.server.address;
        let of_server = Network::of(server.ip());
        let is_near = of_server != Network::Nobody && Network::of(relayed.ip()) == of_server;
        relayed.port() != 0 && relayed.is_ipv4() == server.is_ipv4() && (is_public(relayed.ip()) || is_near)
    }
}

impl Grant {
    fn is_due(&self, now: Instant) -> bool {
        self.status == Status::Granted && self.renew_at <= now
    }
}

/// Whether a relay may reach a peer: a public one, or one of its own network. Servers refuse the others.
fn reaches(relayed: SocketAddr, peer: SocketAddr) -> bool {
    let is_near = Network::of(peer.ip()) == Network::of(relayed.ip());
    peer.is_ipv4() == relayed.is_ipv4() && (is_public(peer.ip()) || is_near)
}
