//! Fuzz target: clients of a TURN server, with credentials and without, and peers at its relays. Nothing may panic, a
//! stranger gets no relay, and no list grows without bound.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rtc_stun::attributes::*;
use rtc_stun::message::*;

use super::credentials::{Keys, REALM};
use super::message::frame_len;
use super::server::{ClientAddress, Output, Transport, TurnServer};
use super::{RelayAddress, TurnLimits};

const UNIX_S: u64 = 1_800_000_000;
const METHODS: [Method; 5] =
    [METHOD_ALLOCATE, METHOD_REFRESH, METHOD_CREATE_PERMISSION, METHOD_CHANNEL_BIND, METHOD_SEND];

/// What clients and peers send, in parts: what it is, length of one byte, content. Clients 0 and 1 come by UDP and by a
/// stream and have credentials, client 2 has none.
pub fn turn(bytes: &[u8]) {
    let Some(keys) = Keys::draw() else { return };
    let (begun, address) = (Instant::now(), IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)));
    let limits = TurnLimits { allocations_max: 2, ..TurnLimits::default() };
    let relays = vec![RelayAddress { bind: address, outer: address }];
    let mut server = TurnServer::new(limits, keys.clone(), relays, |_| false, (begun, UNIX_S));
    let (mut now, mut rest, mut port) = (begun, bytes, 40_000_u16);
    let client = |number: u8| ClientAddress {
        transport: if number == 1 { Transport::Stream } else { Transport::Udp },
        address: SocketAddr::from(([203, 0, 113, number], 7)),
    };
    while let Some((&[what, len], behind)) = rest.split_first_chunk() {
        let (part, behind) = behind.split_at(usize::from(len).min(behind.len()));
        rest = behind;
        let from = client(what & 3);
        match what >> 2 & 7 {
            0 => _ = server.handle(now, from, part),
            1 => _ = server.receive_from_peer(now, from, SocketAddr::from(([192, 0, 2, 77], 7000)), part),
            2 => now += Duration::from_secs(u64::from(len)),
            3 => server.expire(now),
            4 => server.asked(now, SocketAddr::new(address, u16::from(len))),
            5 => _ = frame_len(part),
            _ if what & 3 < 2 => {
                let Some((&method, attributes)) = part.split_first() else { continue };
                let method = METHODS[usize::from(method) % METHODS.len()];
                let Some(request) = signed(&keys, from, method, attributes) else { continue };
                if let Some(Output::Open(of, ..)) = server.handle(now, from, &request) {
                    port = port.wrapping_add(1);
                    server.opened(now, of, (what < 250).then_some((port, ())));
                }
            }
            _ => {}
        }
    }
    assert!(!server.knows(client(2)) && !server.knows(client(3)), "a stranger has a relay");
    assert!(server.count() <= 2);
}

/// Returns a request with these attributes, in parts: type of two bytes, length of one byte, content.
fn signed(keys: &Keys, client: ClientAddress, method: Method, mut attributes: &[u8]) -> Option<Vec<u8>> {
    let mut request = Message::new();
    request.typ = MessageType::new(method, CLASS_REQUEST);
    request.write_header();
    while let Some((&[high, low, len], behind)) = attributes.split_first_chunk() {
        let (value, behind) = behind.split_at(usize::from(len).min(behind.len()));
        request.add(AttrType(u16::from_be_bytes([high, low])), value);
        attributes = behind;
    }
    let (username, password) = keys.username("ada", UNIX_S + 3_600)?;
    request.add(ATTR_USERNAME, username.as_bytes());
    request.add(ATTR_REALM, REALM.as_bytes());
    request.add(ATTR_NONCE, keys.nonce(UNIX_S, client.address)?.as_bytes());
    let key = keys.key(username, REALM.to_owned(), password)?;
    keys.sign(&mut request, &key)?;
    Some(request.raw)
}

#[cfg(test)]
#[path = "../../../proto/fuzz/checks/kept.rs"]
mod kept;

#[cfg(test)]
mod tests {
    #[test]
    fn kept_messages_still_harm_no_turn_server() {
        super::kept::replay("turn", super::turn);
    }
}
