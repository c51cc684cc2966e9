//! A TURN server on loopback, as small as the tests of links allow, with faults.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use plenary_rtc::TurnServer;
use rtc::crypto::{RTCCryptoProvider, default_provider};
use rtc::stun::attributes::*;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::*;
use tokio::net::UdpSocket;
use tokio::task::AbortHandle;

use crate::support::LOOPBACK;
use crate::turn_messages::*;

const REALM: &str = "example.org";

/// Faults of a server, and what it has done.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) is_silent: bool,
    pub(crate) signs_nothing: bool,
    /// Tells this address in place of the relay's.
    pub(crate) lies: Option<SocketAddr>,
    /// Requests so far, and those with a stale nonce.
    pub(crate) asked: usize,
    pub(crate) stale: usize,
    allocations: BTreeMap<SocketAddr, Allocation>,
}

#[derive(Debug)]
struct Allocation {
    socket: Arc<UdpSocket>,
    reads: AbortHandle,
    until: Instant,
    permits: BTreeSet<IpAddr>,
    channels: BTreeMap<u16, SocketAddr>,
}

impl Drop for Allocation {
    fn drop(&mut self) {
        self.reads.abort();
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) state: Arc<Mutex<State>>,
    task: AbortHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Worker {
    socket: Arc<UdpSocket>,
    state: Arc<Mutex<State>>,
    provider: Arc<dyn RTCCryptoProvider>,
    lifetime: Duration,
    begun: Instant,
}

impl Server {
    /// Starts a server whose allocations last so long, and nonces half as long.
    pub(crate) async fn start(lifetime: Duration) -> Server {
        let socket = Arc::new(UdpSocket::bind((LOOPBACK, 0)).await.unwrap());
        let (address, state) = (socket.local_addr().unwrap(), Arc::<Mutex<State>>::default());
        let provider = default_provider().unwrap();
        let worker = Worker { socket, state: state.clone(), provider, lifetime, begun: Instant::now() };
        let task = tokio::spawn(async move {
            let mut buffer = [0; 2_048];
            while let Ok((length, from)) = worker.socket.recv_from(&mut buffer).await {
                worker.handle(&buffer[..length], from).await;
            }
        });
        Server { address, state, task: task.abort_handle() }
    }

    pub(crate) fn login(&self) -> TurnServer {
        TurnServer { address: self.address, username: "ada".to_owned(), password: "secret".to_owned() }
    }

    pub(crate) fn allocated(&self) -> usize {
        self.state.lock().unwrap().allocations.len()
    }

    pub(crate) fn forget(&self) {
        self.state.lock().unwrap().allocations.clear();
    }
}

impl Worker {
    async fn handle(&self, datagram: &[u8], from: SocketAddr) {
        if self.state.lock().unwrap().is_silent {
            return;
        }
        if datagram[0] & 0xf0 == 0x40 {
            let number = u16::from_be_bytes([datagram[0], datagram[1]]);
            return self.relay(from, |allocation| allocation.channels.get(&number).copied(), &datagram[4..]);
        }
        let mut message = Message::new();
        message.unmarshal_binary(datagram).unwrap();
        if message.typ == MessageType::new(METHOD_SEND, CLASS_INDICATION) {
            let data = message.get(ATTR_DATA).unwrap();
            return self.relay(from, |_| Some(peer(&message)), &data);
        }
        let answer = self.answer(&mut message, from).await;
        self.socket.send_to(&answer, from).await.unwrap();
    }

    fn relay(&self, from: SocketAddr, to: impl FnOnce(&Allocation) -> Option<SocketAddr>, data: &[u8]) {
        let state = self.state.lock().unwrap();
        let allocation = state.allocations.get(&from).filter(|held| held.until > Instant::now());
        if let Some(allocation) = allocation
            && let Some(to) = to(allocation)
            && allocation.permits.contains(&to.ip())
        {
            let _ = allocation.socket.try_send_to(data, to);
        }
    }

    async fn answer(&self, request: &mut Message, from: SocketAddr) -> Vec<u8> {
        let text = |text: &str| text.to_owned();
        let crypto = self.provider.crypto();
        let key = MessageIntegrity::long_term_integrity_key(text("ada"), text(REALM), text("secret"), crypto)
            .unwrap();
        let nonce = (self.begun.elapsed().as_millis() / (self.lifetime / 2).as_millis()).to_be_bytes();
        let is_signed = MessageIntegrity::check(request, &key, crypto).is_ok();
        let is_stale = request.get(ATTR_NONCE).is_ok_and(|of| of != nonce);
        let signs_nothing = {
            let mut state = self.state.lock().unwrap();
            state.asked += 1;
            state.stale += usize::from(is_stale);
            state.signs_nothing
        };
        if !is_signed || is_stale {
            let mut answer = error(request, if is_stale { 438 } else { 401 });
            answer.add(ATTR_REALM, REALM.as_bytes());
            answer.add(ATTR_NONCE, &nonce);
            return answer.raw;
        }
        let mut answer = match request.typ.method {
            METHOD_ALLOCATE => self.allocate(request, from).await,
            _ => self.obey(request, from),
        };
        if !signs_nothing {
            MessageIntegrity::new_raw_integrity_with_provider(&key[..], crypto).add_to(&mut answer).unwrap();
        }
        answer.raw
    }

    async fn allocate(&self, request: &Message, from: SocketAddr) -> Message {
        let relay = Arc::new(UdpSocket::bind((LOOPBACK, 0)).await.unwrap());
        let (socket, reader, state) = (self.socket.clone(), relay.clone(), self.state.clone());
        let reads = tokio::spawn(async move {
            let mut buffer = [0; 2_048];
            while let Ok((length, peer)) = reader.recv_from(&mut buffer).await {
                let wrapped = state.lock().unwrap().allocations.get(&from).and_then(|held| {
                    let is_alive = held.until > Instant::now() && held.permits.contains(&peer.ip());
                    is_alive.then(|| held.wrap(peer, &buffer[..length]))
                });
                if let Some(wrapped) = wrapped {
                    let _ = socket.send_to(&wrapped, from).await;
                }
            }
        });
        let mut state = self.state.lock().unwrap();
        let mut answer = reply(request, CLASS_SUCCESS_RESPONSE);
        add(&mut answer, ATTR_XOR_RELAYED_ADDRESS, state.lies.unwrap_or(relay.local_addr().unwrap()));
        add(&mut answer, ATTR_XORMAPPED_ADDRESS, from);
        answer.add(ATTR_LIFETIME, &(self.lifetime.as_secs() as u32).to_be_bytes());
        let (permits, channels, until) = (BTreeSet::new(), BTreeMap::new(), Instant::now() + self.lifetime);
        let allocation = Allocation { socket: relay, reads: reads.abort_handle(), until, permits, channels };
        state.allocations.insert(from, allocation);
        answer
    }

    fn obey(&self, request: &Message, from: SocketAddr) -> Message {
        let mut state = self.state.lock().unwrap();
        let Some(held) = state.allocations.get_mut(&from).filter(|held| held.until > Instant::now()) else {
            return error(request, 437);
        };
        let mut answer = reply(request, CLASS_SUCCESS_RESPONSE);
        match request.typ.method {
            METHOD_REFRESH if request.get(ATTR_LIFETIME).is_ok_and(|lifetime| lifetime == [0; 4]) => {
                state.allocations.remove(&from);
            }
            METHOD_REFRESH => {
                held.until = Instant::now() + self.lifetime;
                answer.add(ATTR_LIFETIME, &(self.lifetime.as_secs() as u32).to_be_bytes());
            }
            METHOD_CREATE_PERMISSION => _ = held.permits.insert(peer(request).ip()),
            METHOD_CHANNEL_BIND => {
                let number = request.get(ATTR_CHANNEL_NUMBER).unwrap();
                held.channels.insert(u16::from_be_bytes([number[0], number[1]]), peer(request));
            }
            _ => return error(request, 400),
        }
        answer
    }
}

impl Allocation {
    fn wrap(&self, from: SocketAddr, data: &[u8]) -> Vec<u8> {
        if let Some((number, _)) = self.channels.iter().find(|(_, peer)| **peer == from) {
            let length = (data.len() as u16).to_be_bytes();
            return [&number.to_be_bytes()[..], &length, data].concat();
        }
        indication(from, data)
    }
}
