//! A question about the NAT in front of this machine, from sockets of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt as _;
use futures::future::{join_all, select_all};
use plenary_proto::app::Nat;
use tokio::net::UdpSocket;

use super::behaviour;
use super::reflex::{ANSWERED_MAX, Reflex};
use crate::ports::Ports;
use crate::transport::draw;

/// Maximum length of an answer that is read: two addresses, and what some servers add.
const ANSWER_LEN_MAX: usize = 512;

/// Asks up to three STUN servers of each family from a socket on each of this machine's addresses, or on those of
/// `bind`. Returns the kind of the NAT, and the addresses that the servers have seen. Takes 0.75 s if a server is
/// silent; must be called within a tokio runtime.
///
/// # Errors
/// The network interfaces can't be listed, or no socket was bound.
pub async fn ask_stun(bind: &[IpAddr], servers: &[SocketAddr]) -> io::Result<(Nat, Vec<IpAddr>)> {
    let port = Arc::new(Ports::new(bind, None)?).claim(0).ok_or(io::ErrorKind::AddrInUse)?;
    let (mut sockets, mut failed) = (Vec::new(), io::ErrorKind::AddrNotAvailable.into());
    for bound in join_all(port.addresses().into_iter().map(UdpSocket::bind)).await {
        match bound {
            Ok(socket) => sockets.push((socket.local_addr()?, socket)),
            Err(error) => failed = error,
        }
    }
    if sockets.is_empty() {
        return Err(failed);
    }
    let begun = Instant::now();
    let mut reflex = Reflex::new(begun, sockets.iter().map(|(local, _)| *local), servers, draw);
    let (mut kinds, mut addresses) = (BTreeMap::new(), BTreeSet::new());
    let until = begun + ANSWERED_MAX;
    while reflex.is_open() && Instant::now() < until {
        for (local, server, request) in reflex.take_due(Instant::now()) {
            let socket = sockets.iter().find(|(own, _)| *own == local);
            // a server without a route is one that doesn't answer
            let _ = socket.map(|(_, socket)| socket.try_send_to(&request, server));
        }
        let heard = select_all(sockets.iter().map(|(_, socket)| socket.readable().boxed()));
        let due = reflex.poll_timeout().unwrap_or(until);
        let _ = tokio::time::timeout_at(due.into(), heard).await;
        let mut answer = [0; ANSWER_LEN_MAX];
        for (local, socket) in &sockets {
            while let Ok((length, from)) = socket.try_recv_from(&mut answer) {
                if let Some(seen) = reflex.receive(*local, from, &answer[..length]) {
                    kinds.insert(*local, behaviour(*local, &seen.by).nat);
                    addresses.extend(seen.by.iter().map(SocketAddr::ip));
                }
            }
        }
    }
    // a NAT in front of one network interface counts more than a second interface without NAT
    let weight = |nat: &Nat| match nat {
        Nat::Unknown => 0,
        Nat::Open => 1,
        _ => 2,
    };
    Ok((kinds.into_values().max_by_key(weight).unwrap_or_default(), addresses.into_iter().collect()))
}
