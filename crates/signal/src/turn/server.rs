//! The server's state: clients with their relays, permissions and channels.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use plenary_proto::network::is_public;
use rtc_stun::attributes::*;
use rtc_stun::message::*;

use super::allocation::{Allocation, LIFETIME, Reach};
use super::credentials::{Keys, REALM, Signer};
use super::message::{
    Code, FRAME_LEN_MAX, Wish, add_address, channel_data, channel_number, is_channel, lifetime_s, message,
    not_understood, peers, refusal, to_channel, value, wish,
};
use super::{RelayAddress, TurnLimits};
use crate::limits::Bucket;
use crate::owner::owner;

/// Time for which a socket of this machine counts as one that wants to be reached, after its last request or datagram.
/// A guess: a client looks for a way to it within seconds.
const LOCAL_TIME: Duration = Duration::from_secs(600);
/// Maximum number of such sockets.
const LOCALS_MAX: usize = 4_096;
/// How a client has reached the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Transport {
    /// By datagrams.
    Udp,
    /// By a stream, over TCP or TLS.
    Stream,
}

/// A client: its address as the server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClientAddress {
    pub(crate) transport: Transport,
    pub(crate) address: SocketAddr,
}

/// Work for the caller.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output<'a, R> {
    /// Send this to a client: a datagram, or a frame of its stream.
    ToClient(ClientAddress, Vec<u8>),
    /// Send this to a peer, from the socket of a relay.
    ToPeer(R, SocketAddr, &'a [u8]),
    /// Bind a socket at this address for a client, and call [`TurnServer::opened`].
    Open(ClientAddress, RelayAddress, Wish),
}

/// A TURN server without IO. `R` is the caller's handle of a relay's socket, which closes with the last clone of the
/// handle.
#[derive(Debug)]
pub(crate) struct TurnServer<R> {
    limits: TurnLimits,
    keys: Keys,
    /// Addresses of relays, at most one of each family.
    addresses: Vec<RelayAddress>,
    /// Tells addresses of this machine from others.
    is_own: fn(IpAddr) -> bool,
    /// Time of the start, and its seconds since 1970: clocks that are set later change nothing.
    start: (Instant, u64),
    allocations: BTreeMap<ClientAddress, Allocation<R>>,
    relays: HashMap<SocketAddr, ClientAddress>,
    /// Sockets of this machine that want to be reached, each until that time.
    locals: HashMap<SocketAddr, Instant>,
    total: Bucket,
}

impl<R: Clone> TurnServer<R> {
    pub(crate) fn new(
        limits: TurnLimits,
        keys: Keys,
        addresses: Vec<RelayAddress>,
        is_own: fn(IpAddr) -> bool,
        start: (Instant, u64),
    ) -> TurnServer<R> {
        TurnServer {
            total: Bucket::new(limits.bytes, start.0),
            limits,
            keys,
            addresses,
            is_own,
            start,
            allocations: BTreeMap::new(),
            relays: HashMap::new(),
            locals: HashMap::new(),
        }
    }

    /// Whether a client has a relay. What others send costs an answer, which the caller counts.
    pub(crate) fn knows(&self, client: ClientAddress) -> bool {
        self.allocations.contains_key(&client)
    }

    /// Addresses of this machine at which relays are bound.
    pub(crate) fn binds(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().map(|relay| relay.bind)
    }

    /// Number of allocations.
    pub(crate) fn count(&self) -> usize {
        self.allocations.len()
    }

    /// Notes that a socket has asked for its address by STUN. Relays reach a socket of this machine from then on.
    pub(crate) fn asked(&mut self, now: Instant, from: SocketAddr) {
        let from = self.inner(SocketAddr::new(from.ip().to_canonical(), from.port()));
        if !self.addresses.iter().any(|relay| relay.bind == from.ip()) && !(self.is_own)(from.ip()) {
            return;
        }
        if self.locals.len() >= LOCALS_MAX {
            self.locals.retain(|_, until| *until > now);
        }
        if self.locals.len() < LOCALS_MAX {
            self.locals.insert(from, now + LOCAL_TIME);
        }
    }

    /// Handles a datagram of a client, or one frame of its stream.
    pub(crate) fn handle<'a>(
        &mut self,
        now: Instant,
        client: ClientAddress,
        bytes: &'a [u8],
    ) -> Option<Output<'a, R>> {
        let first = *bytes.first()?;
        if is_channel(first) {
            let (channel, data) = channel_data(bytes)?;
            let allocation = self.allocations.get(&client)?;
            let peer = allocation.peer_of(now, channel)?;
            return self.send_to_peer(now, client, peer, data);
        }
        if bytes.len() > FRAME_LEN_MAX {
            return None;
        }
        let mut message = Message::new();
        message.unmarshal_binary(bytes).ok()?;
        if message.typ == MessageType::new(METHOD_SEND, CLASS_INDICATION) {
            let peer = peers(&message).next()?;
            return self.send_to_peer(now, client, peer, value(bytes, ATTR_DATA)?);
        }
        if message.typ.class != CLASS_REQUEST {
            return None;
        }
        if let Some(allocation) = self.allocations.get_mut(&client)
            && !allocation.take_request(now)
        {
            return None;
        }
        self.request(now, client, message)
    }

    /// Handles a datagram of a peer to the relay of a client. Returns what the client gets.
    pub(crate) fn receive_from_peer(
        &mut self,
        now: Instant,
        client: ClientAddress,
        peer: SocketAddr,
        data: &[u8],
    ) -> Option<Vec<u8>> {
        let allocation = self.allocations.get_mut(&client)?;
        let local = self.locals.get_mut(&peer);
        // behind a NAT, a peer on this machine is known to the client by its outer address
        let outer = self.addresses.iter().find(|relay| relay.bind == peer.ip()).map(|relay| relay.outer);
        let peer = SocketAddr::new(outer.unwrap_or(peer.ip()), peer.port());
        allocation.reach(now, peer.ip()).filter(|_| allocation.is_alive(now))?;
        let len = u32::try_from(data.len()).ok().filter(|_| data.len() <= FRAME_LEN_MAX)?;
        if !allocation.take(now, len, false) || !self.total.try_take(len, now) {
            return None;
        }
        if let Some(until) = local {
            *until = now + LOCAL_TIME;
        }
        if let Some(channel) = allocation.channel_of(now, peer) {
            return to_channel(channel, data, client.transport == Transport::Stream);
        }
        let mut indication = Message::new();
        indication.typ = MessageType::new(METHOD_DATA, CLASS_INDICATION);
        indication.transaction_id = TransactionId::new();
        indication.write_header();
        add_address(&mut indication, ATTR_XOR_PEER_ADDRESS, peer);
        indication.add(ATTR_DATA, data);
        Some(indication.raw)
    }

    /// A socket is bound for a client, and has this port; or it could not be bound.
    pub(crate) fn opened(
        &mut self,
        now: Instant,
        client: ClientAddress,
        bound: Option<(u16, R)>,
    ) -> Option<Output<'static, R>> {
        let allocation = self.allocations.get_mut(&client)?;
        let is_v6 = allocation.wish.is_v6;
        let address = self.addresses.iter().find(|relay| relay.outer.is_ipv6() == is_v6);
        let mut request = Message::new();
        request.typ = MessageType::new(METHOD_ALLOCATE, CLASS_REQUEST);
        request.transaction_id = TransactionId(allocation.made_by);
        let Some((outer, (port, socket))) = address.map(|relay| relay.outer).zip(bound) else {
            let key = self.allocations.remove(&client).map(|refused| refused.signer.key);
            return self.refuse(now, client, &request, Code::InsufficientCapacity, key.as_deref());
        };
        let relayed = SocketAddr::new(outer, port);
        allocation.relay = Some((relayed, socket));
        self.relays.insert(relayed, client);
        self.allocated(now, client, &request)
    }

    /// The stream of a client has ended.
    pub(crate) fn gone(&mut self, client: ClientAddress) {
        let gone = self.allocations.remove(&client);
        if let Some((relayed, _)) = gone.and_then(|allocation| allocation.relay) {
            self.relays.remove(&relayed);
        }
    }

    /// Ends what has expired; to be called each second.
    pub(crate) fn expire(&mut self, now: Instant) {
        let over = self.allocations.iter().filter(|(_, held)| held.is_over(now)).map(|(client, _)| *client);
        for client in over.collect::<Vec<_>>() {
            self.gone(client);
        }
        self.locals.retain(|_, until| *until > now);
    }

    fn send_to_peer<'a>(
        &mut self,
        now: Instant,
        client: ClientAddress,
        peer: SocketAddr,
        data: &'a [u8],
    ) -> Option<Output<'a, R>> {
        let allocation = self.allocations.get_mut(&client)?;
        let (relayed, socket) = allocation.relay.clone()?;
        let reach = allocation.reach(now, peer.ip()).filter(|_| allocation.is_alive(now))?;
        let len = u32::try_from(data.len()).ok()?;
        if !allocation.take(now, len, true) || !self.total.try_take(len, now) {
            return None;
        }
        if reach == Reach::All {
            return Some(Output::ToPeer(socket, peer, data));
        }
        // two clients of this server meet inside it
        if let Some(&other) = self.relays.get(&peer) {
            let bytes = self.receive_from_peer(now, other, relayed, data)?;
            return Some(Output::ToClient(other, bytes));
        }
        let local = self.inner(peer);
        let wants = self.locals.get(&local).is_some_and(|until| *until > now);
        wants.then_some(Output::ToPeer(socket, local, data))
    }

    /// Returns the address inside of a one-to-one NAT.
    fn inner(&self, address: SocketAddr) -> SocketAddr {
        let relay = self.addresses.iter().find(|relay| relay.outer == address.ip());
        SocketAddr::new(relay.map_or(address.ip(), |relay| relay.bind), address.port())
    }

    fn request(
        &mut self,
        now: Instant,
        client: ClientAddress,
        mut message: Message,
    ) -> Option<Output<'static, R>> {
        let signer = match self.keys.check(self.unix_s(now), client.address, &mut message) {
            Ok(signer) => signer,
            Err(code) => return self.refuse(now, client, &message, code, None),
        };
        let key = signer.key.clone();
        match self.obey(now, client, &message, signer) {
            Ok(Done::Answered(answer)) => self.signed(client, answer, &key),
            Ok(Done::Allocates(relay, wish)) => Some(Output::Open(client, relay, wish)),
            Ok(Done::Allocated) => self.allocated(now, client, &message),
            Err(code) => self.refuse(now, client, &message, code, Some(&key)),
        }
    }

    /// Executes a signed request.
    fn obey(
        &mut self,
        now: Instant,
        client: ClientAddress,
        asked: &Message,
        signer: Signer,
    ) -> Result<Done, Code> {
        if not_understood(asked).next().is_some() {
            return Err(Code::UnknownAttribute);
        }
        if self.allocations.get(&client).is_some_and(|held| held.signer.user() != signer.user()) {
            return Err(Code::WrongCredentials);
        }
        let mut answer = message(CLASS_SUCCESS_RESPONSE, asked);
        match asked.typ.method {
            METHOD_ALLOCATE => return self.allocate(now, client, asked, signer),
            METHOD_REFRESH => {
                let asked_s = lifetime_s(asked)?;
                let held = self.held(now, client)?;
                let lifetime = lifetime(asked_s);
                held.refresh(now, lifetime);
                if lifetime.is_zero() {
                    self.gone(client);
                }
                answer.add(ATTR_LIFETIME, &(lifetime.as_secs() as u32).to_be_bytes());
            }
            METHOD_CREATE_PERMISSION => {
                let peers: Vec<SocketAddr> = peers(asked).collect();
                self.permit(now, client, &peers)?;
            }
            METHOD_CHANNEL_BIND => {
                let channel = channel_number(asked).ok_or(Code::BadRequest)?;
                let peer = peers(asked).next().ok_or(Code::BadRequest)?;
                self.permit(now, client, &[peer])?;
                self.held(now, client)?.bind(now, channel, peer)?;
            }
            _ => return Err(Code::BadRequest),
        }
        Ok(Done::Answered(answer))
    }

    fn allocate(
        &mut self,
        now: Instant,
        client: ClientAddress,
        asked: &Message,
        signer: Signer,
    ) -> Result<Done, Code> {
        if let Some(held) = self.allocations.get(&client) {
            let is_repeated = held.made_by == asked.transaction_id.0 && held.relay.is_some();
            return if is_repeated { Ok(Done::Allocated) } else { Err(Code::AllocationMismatch) };
        }
        if signer.expiry_unix_s <= self.unix_s(now) {
            return Err(Code::Unauthenticated);
        }
        let wish = wish(asked)?;
        let address = self.addresses.iter().copied().find(|relay| relay.outer.is_ipv6() == wish.is_v6);
        let relay = address.ok_or(Code::AddressFamilyNotSupported)?;
        let home = owner(client.address.ip());
        let held = |is_of: &dyn Fn(&ClientAddress, &Allocation<R>) -> bool| {
            self.allocations.iter().filter(|(of, held)| is_of(of, held)).count()
        };
        if held(&|_, held| held.signer.user() == signer.user()) >= self.limits.per_user_max
            || held(&|of, _| owner(of.address.ip()) == home) >= self.limits.per_address_max
        {
            return Err(Code::AllocationQuotaReached);
        }
        if self.allocations.len() >= self.limits.allocations_max {
            return Err(Code::InsufficientCapacity);
        }
        let lifetime =
            Some(lifetime(lifetime_s(asked)?)).filter(|asked| !asked.is_zero()).unwrap_or(LIFETIME);
        let rate = self.limits.bytes_of_one;
        let allocation = Allocation::new(now, wish, asked.transaction_id.0, signer, lifetime, rate);
        self.allocations.insert(client, allocation);
        Ok(Done::Allocates(relay, wish))
    }

    fn allocated(&self, now: Instant, client: ClientAddress, asked: &Message) -> Option<Output<'static, R>> {
        let held = self.allocations.get(&client)?;
        let (relayed, _) = held.relay.as_ref()?;
        let mut answer = message(CLASS_SUCCESS_RESPONSE, asked);
        add_address(&mut answer, ATTR_XOR_RELAYED_ADDRESS, *relayed);
        add_address(&mut answer, ATTR_XORMAPPED_ADDRESS, client.address);
        answer.add(ATTR_LIFETIME, &held.left_s(now).to_be_bytes());
        self.signed(client, answer, &held.signer.key)
    }

    fn permit(&mut self, now: Instant, client: ClientAddress, peers: &[SocketAddr]) -> Result<(), Code> {
        if peers.is_empty() {
            return Err(Code::BadRequest);
        }
        let is_v6 = self.held(now, client)?.wish.is_v6;
        if peers.iter().any(|peer| peer.is_ipv6() != is_v6) {
            return Err(Code::PeerAddressFamilyMismatch);
        }
        let reached: Result<Vec<_>, Code> =
            peers.iter().map(|peer| Ok((peer.ip(), self.reach(peer.ip())?))).collect();
        self.held(now, client)?.permit(now, &reached?)
    }

    /// Returns which peers relays reach at an address.
    fn reach(&self, ip: IpAddr) -> Result<Reach, Code> {
        match self.addresses.iter().find(|relay| [relay.bind, relay.outer].contains(&ip)) {
            Some(relay) if relay.outer == ip => Ok(Reach::Own),
            Some(_) => Err(Code::Forbidden), // it is known by its outer address
            None if (self.is_own)(ip) => Ok(Reach::Own),
            None if is_public(ip) => Ok(Reach::All),
            None => Err(Code::Forbidden),
        }
    }

    fn held(&mut self, now: Instant, client: ClientAddress) -> Result<&mut Allocation<R>, Code> {
        let held = self.allocations.get_mut(&client);
        held.filter(|held| held.relay.is_some() && held.is_alive(now)).ok_or(Code::AllocationMismatch)
    }

    /// Refuses a request. A client that did not sign it learns how to.
    fn refuse(
        &self,
        now: Instant,
        client: ClientAddress,
        asked: &Message,
        code: Code,
        key: Option<&[u8]>,
    ) -> Option<Output<'static, R>> {
        let mut answer = refusal(asked, code);
        if matches!(code, Code::Unauthenticated | Code::StaleNonce) {
            let nonce = self.keys.nonce(self.unix_s(now), client.address)?;
            answer.add(ATTR_REALM, REALM.as_bytes());
            answer.add(ATTR_NONCE, nonce.as_bytes());
        }
        match key {
            Some(key) => self.signed(client, answer, key),
            None => Some(Output::ToClient(client, answer.raw)),
        }
    }

    fn signed(&self, client: ClientAddress, mut answer: Message, key: &[u8]) -> Option<Output<'static, R>> {
        self.keys.sign(&mut answer, key)?;
        Some(Output::ToClient(client, answer.raw))
    }

    fn unix_s(&self, now: Instant) -> u64 {
        let (at, unix_s) = self.start;
        unix_s + now.saturating_duration_since(at).as_secs()
    }
}

/// What follows from a signed request.
enum Done {
    Answered(Message),
    Allocates(RelayAddress, Wish),
    /// The request was executed before, and its answer was lost.
    Allocated,
}

/// Returns the lifetime that an allocation gets.
fn lifetime(asked_s: Option<u32>) -> Duration {
    asked_s.map_or(LIFETIME, |asked_s| LIFETIME.min(Duration::from_secs(asked_s.into())))
}
