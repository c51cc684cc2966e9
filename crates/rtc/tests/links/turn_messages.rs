//! Messages of a TURN server (RFC 8656), for the servers of tests.

#![allow(dead_code, reason = "each of the crates that include this uses a part of it")]

use std::net::SocketAddr;

use rtc::stun::attributes::*;
use rtc::stun::message::*;
use rtc::stun::xoraddr::XorMappedAddress;

pub(crate) fn reply(request: &Message, class: MessageClass) -> Message {
    let mut answer = Message::new();
    answer.typ = MessageType::new(request.typ.method, class);
    answer.transaction_id = request.transaction_id;
    answer.write_header();
    answer
}

pub(crate) fn error(request: &Message, code: u16) -> Message {
    let mut answer = reply(request, CLASS_ERROR_RESPONSE);
    answer.add(ATTR_ERROR_CODE, &[0, 0, (code / 100) as u8, (code % 100) as u8]);
    answer
}

pub(crate) fn add(message: &mut Message, attribute: AttrType, address: SocketAddr) {
    XorMappedAddress { ip: address.ip(), port: address.port() }.add_to_as(message, attribute).unwrap();
}

pub(crate) fn peer(message: &Message) -> SocketAddr {
    let mut read = XorMappedAddress::default();
    read.get_from_as(message, ATTR_XOR_PEER_ADDRESS).unwrap();
    SocketAddr::new(read.ip, read.port)
}

pub(crate) fn indication(from: SocketAddr, data: &[u8]) -> Vec<u8> {
    let mut indication = Message::new();
    indication.typ = MessageType::new(METHOD_DATA, CLASS_INDICATION);
    indication.write_header();
    add(&mut indication, ATTR_XOR_PEER_ADDRESS, from);
    indication.add(ATTR_DATA, data);
    indication.raw
}
