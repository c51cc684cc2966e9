//! One client's relay: its lifetime, its permissions and channels, and its rate.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::credentials::Signer;
use super::message::{Code, Wish};
use crate::limits::{Bucket, Rate};

/// Maximum number of permissions, and of channels, of an allocation: one link of a peer has at most twenty addresses at
/// its other end. A guess.
const PEERS_MAX: usize = 32;
/// Lifetime of an allocation without a refresh, the default and the most (RFC 8656, section 7.2).
pub(super) const LIFETIME: Duration = Duration::from_secs(600);
/// Age at which an allocation ends although its client refreshes it: the user may have left the room long ago.
const AGE_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Lifetime of a permission (RFC 8656, section 9).
const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);
/// Lifetime of a channel (RFC 8656, section 12).
const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);
/// Requests of a client with an allocation. A browser makes one for each candidate of the other end, and refreshes them
/// every few minutes. A guess.
const REQUESTS: Rate = Rate { per_s: 20, burst: 100 };

/// Which peers are reached at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// All of them: the address is a public one, of another machine.
    All,
    /// Relays of this server, and sockets of this machine that have asked for their address by STUN.
    Own,
}

/// A client's relay. `R` is the caller's handle of the socket.
#[derive(Debug)]
pub(super) struct Allocation<R> {
    /// The relayed address as peers see it, and the socket; `None` until the caller has bound it.
    pub(super) relay: Option<(SocketAddr, R)>,
    pub(super) wish: Wish,
    /// Transaction of the request that made it: a retransmission gets the same answer.
    pub(super) made_by: [u8; 12],
    pub(super) signer: Signer,
    made: Instant,
    until: Instant,
    permissions: Vec<(IpAddr, Reach, Instant)>,
    channels: Vec<(u16, SocketAddr, Instant)>,
    requests: Bucket,
    to_peers: Bucket,
    to_client: Bucket,
}

impl<R> Allocation<R> {
    pub(super) fn new(
        now: Instant,
        wish: Wish,
        made_by: [u8; 12],
        signer: Signer,
        lifetime: Duration,
        rate: Rate,
    ) -> Self {
        Allocation {
            relay: None,
            wish,
            made_by,
            signer,
            made: now,
            until: now + lifetime,
            permissions: Vec::new(),
            channels: Vec::new(),
            requests: Bucket::new(REQUESTS, now),
            to_peers: Bucket::new(rate, now),
            to_client: Bucket::new(rate, now),
        }
    }

    pub(super) fn is_alive(&self, now: Instant) -> bool {
        self.until > now
    }

    /// Whether the allocation has expired, or reached its maximum age.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        !self.is_alive(now) || now.saturating_duration_since(self.made) >= AGE_MAX
    }

    /// Time that is left, in whole seconds.
    pub(super) fn left_s(&self, now: Instant) -> u32 {
        u32::try_from(self.until.saturating_duration_since(now).as_secs()).unwrap_or(u32::MAX)
    }

    pub(super) fn refresh(&mut self, now: Instant, lifetime: Duration) {
        self.until = now + lifetime;
    }

    /// Takes a request from the client's rate; returns whether to answer it.
    pub(super) fn take_request(&mut self, now: Instant) -> bool {
        self.requests.try_take(1, now)
    }

    /// Whether a datagram of that length may go to a peer, or come from one.
    pub(super) fn take(&mut self, now: Instant, len: u32, is_to_peer: bool) -> bool {
        (if is_to_peer { &mut self.to_peers } else { &mut self.to_client }).try_take(len, now)
    }

    /// Returns which peers are reached at an address; `None` without a permission for it.
    pub(super) fn reach(&self, now: Instant, ip: IpAddr) -> Option<Reach> {
        let valid = |(of, _, until): &&(IpAddr, Reach, Instant)| *of == ip && *until > now;
        self.permissions.iter().find(valid).map(|(_, reach, _)| *reach)
    }

    /// Adds permissions, or renews them: all or none.
    pub(super) fn permit(&mut self, now: Instant, peers: &[(IpAddr, Reach)]) -> Result<(), Code> {
        self.permissions.retain(|(.., until)| *until > now);
        let mut permissions = self.permissions.clone();
        for (ip, reach) in peers {
            permissions.retain(|(of, ..)| of != ip);
            permissions.push((*ip, *reach, now + PERMISSION_LIFETIME));
        }
        if permissions.len() > PEERS_MAX {
            return Err(Code::InsufficientCapacity);
        }
        self.permissions = permissions;
        Ok(())
    }

    /// Binds a channel to a peer, or renews it.
    pub(super) fn bind(&mut self, now: Instant, channel: u16, peer: SocketAddr) -> Result<(), Code> {
        self.channels.retain(|(.., until)| *until > now);
        let is_full = self.channels.len() >= PEERS_MAX;
        let until = now + CHANNEL_LIFETIME;
        match self.channels.iter_mut().find(|(of, to, _)| *of == channel || *to == peer) {
            Some(bound) if (bound.0, bound.1) == (channel, peer) => bound.2 = until,
            Some(_) => return Err(Code::BadRequest),
            None if is_full => return Err(Code::InsufficientCapacity),
            None => self.channels.push((channel, peer, until)),
        }
        Ok(())
    }

    pub(super) fn peer_of(&self, now: Instant, channel: u16) -> Option<SocketAddr> {
        let valid = |(of, _, until): &&(u16, SocketAddr, Instant)| *of == channel && *until > now;
        self.channels.iter().find(valid).map(|(_, peer, _)| *peer)
    }

    pub(super) fn channel_of(&self, now: Instant, peer: SocketAddr) -> Option<u16> {
        let valid = |(_, to, until): &&(u16, SocketAddr, Instant)| *to == peer && *until > now;
        self.channels.iter().find(valid).map(|(channel, ..)| *channel)
    }
}
