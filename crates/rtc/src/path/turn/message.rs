//! Messages of TURN (RFC 8656) in the codec of STUN messages, as a client sends and reads them.

use std::net::SocketAddr;
use std::sync::Arc;

use rtc::crypto::RTCCryptoProvider;
use rtc::stun::attributes::*;
use rtc::stun::error_code::ErrorCodeAttribute;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::*;
use rtc::stun::xoraddr::XorMappedAddress;

use super::TurnServer;

/// Lengths of the headers of STUN messages (RFC 8489, section 5) and of channel messages (RFC 8656, 12.4).
const HEADER_LEN: usize = 20;
const CHANNEL_HEADER_LEN: usize = 4;
/// Maximum length of a realm or a nonce in bytes (RFC 8489, 14.9 and 14.10).
const TEXT_LEN_MAX: usize = 763;
/// Transport of relays: UDP's protocol number (RFC 8656, 18.8).
const UDP: [u8; 4] = [17, 0, 0, 0];
/// IPv6 as the family of a relay (RFC 8656, 18.9).
const IPV6: [u8; 4] = [2, 0, 0, 0];

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Allocate {
        is_v6: bool,
    },
    Refresh,
    /// The allocation ends.
    End,
    /// The relay carries datagrams from and to the address, whatever the port.
    Permit(SocketAddr),
    /// A channel number stands for the peer.
    Bind(u16, SocketAddr),
}

impl Ask {
    pub(super) fn method(self) -> Method {
        match self {
            Ask::Allocate { .. } => METHOD_ALLOCATE,
            Ask::Refresh | Ask::End => METHOD_REFRESH,
            Ask::Permit(_) => METHOD_CREATE_PERMISSION,
            Ask::Bind(..) => METHOD_CHANNEL_BIND,
        }
    }

    /// Returns the request, signed once the server has said how.
    pub(super) fn request(self, transaction: [u8; 12], login: Option<&Login>) -> Vec<u8> {
        let mut request = message(self.method(), CLASS_REQUEST, transaction);
        match self {
            Ask::Allocate { is_v6 } => {
                request.add(ATTR_REQUESTED_TRANSPORT, &UDP);
                if is_v6 {
                    request.add(ATTR_REQUESTED_ADDRESS_FAMILY, &IPV6);
                }
            }
            Ask::Refresh => {}
            Ask::End => request.add(ATTR_LIFETIME, &[0; 4]),
            Ask::Permit(peer) => add_peer(&mut request, peer),
            Ask::Bind(number, peer) => {
                let [high, low] = number.to_be_bytes();
                request.add(ATTR_CHANNEL_NUMBER, &[high, low, 0, 0]);
                add_peer(&mut request, peer);
            }
        }
        if let Some(login) = login {
            login.sign(&mut request);
        }
        request.raw
    }
}

/// What requests are signed with (RFC 8489, 9.2).
pub(super) struct Login {
    provider: Arc<dyn RTCCryptoProvider>,
    username: String,
    realm: String,
    nonce: Vec<u8>,
    key: Vec<u8>,
}

impl Login {
    /// Returns what a server's challenge asks for; `None` if it lacks a part.
    pub(super) fn new(
        server: &TurnServer,
        provider: &Arc<dyn RTCCryptoProvider>,
        challenge: &Message,
    ) -> Option<Login> {
        let text = |of| challenge.get(of).ok().filter(|text| text.len() <= TEXT_LEN_MAX);
        let (realm, nonce) = (String::from_utf8(text(ATTR_REALM)?).ok()?, text(ATTR_NONCE)?);
        let (username, password) = (server.username.clone(), server.password.clone());
        let crypto = provider.crypto();
        let key =
            MessageIntegrity::long_term_integrity_key(username.clone(), realm.clone(), password, crypto);
        Some(Login { provider: provider.clone(), username, realm, nonce, key: key.ok()? })
    }

    fn sign(&self, request: &mut Message) {
        request.add(ATTR_USERNAME, self.username.as_bytes());
        request.add(ATTR_REALM, self.realm.as_bytes());
        request.add(ATTR_NONCE, &self.nonce);
        let crypto = self.provider.crypto();
        let signature = MessageIntegrity::new_raw_integrity_with_provider(&self.key[..], crypto);
        if let Err(error) = signature.add_to(request) {
            tracing::debug!(%error, "a request to a TURN server was not signed");
        }
    }

    /// Whether the server has signed an answer. Removes the attributes that the signature doesn't cover.
    pub(super) fn has_signed(&self, answer: &mut Message) -> bool {
        let is_signature = |attribute: &RawAttribute| attribute.typ == ATTR_MESSAGE_INTEGRITY;
        let Some(signature) = answer.attributes.0.iter().position(is_signature) else { return false };
        let is_genuine = MessageIntegrity::check(answer, &self.key, self.provider.crypto()).is_ok();
        answer.attributes.0.truncate(signature);
        is_genuine
    }
}

fn message(method: Method, class: MessageClass, transaction: [u8; 12]) -> Message {
    let mut message = Message::new();
    message.typ = MessageType::new(method, class);
    message.transaction_id = TransactionId(transaction);
    message.write_header();
    message
}

fn add_peer(message: &mut Message, peer: SocketAddr) {
    let value = XorMappedAddress { ip: peer.ip(), port: peer.port() };
    // fails for an address of neither family only
    let _ = value.add_to_as(message, ATTR_XOR_PEER_ADDRESS);
}

/// Reads an answer: a success, or an error with its code.
pub(super) fn answer(datagram: &[u8]) -> Option<(Message, Result<(), u16>)> {
    let mut message = Message::new();
    message.unmarshal_binary(datagram).ok()?;
    let result = match message.typ.class {
        CLASS_SUCCESS_RESPONSE => Ok(()),
        CLASS_ERROR_RESPONSE => {
            let mut code = ErrorCodeAttribute::default();
            code.get_from(&message).ok()?;
            Err(code.code.0)
        }
        _ => return None,
    };
    Some((message, result))
}

/// Returns an address out of an answer, in the form that shows an embedded IPv4 address as such.
pub(super) fn address(answer: &Message, of: AttrType) -> Option<SocketAddr> {
    let mut read = XorMappedAddress::default();
    read.get_from_as(answer, of).ok()?;
    Some(SocketAddr::new(read.ip.to_canonical(), read.port))
}

/// Returns the lifetime of an allocation in seconds.
pub(super) fn lifetime_s(answer: &Message) -> Option<u32> {
    Some(u32::from_be_bytes(answer.get(ATTR_LIFETIME).ok()?.try_into().ok()?))
}

/// Returns the number and the data of a channel message.
pub(super) fn channel_data(datagram: &[u8]) -> Option<(u16, &[u8])> {
    let ([high @ 0x40..=0x4f, low, length @ ..], data) =
        datagram.split_first_chunk::<CHANNEL_HEADER_LEN>()?
    else {
        return None;
    };
    Some((u16::from_be_bytes([*high, *low]), data.get(..usize::from(u16::from_be_bytes(*length)))?))
}

/// Returns the peer and the data of a data indication.
pub(super) fn indicated(datagram: &[u8]) -> Option<(SocketAddr, &[u8])> {
    // most datagrams are channel messages: the bytes are looked at before the codec copies them
    if datagram.first_chunk() != Some(&[0x00, 0x17]) {
        return None;
    }
    let mut message = Message::new();
    message.unmarshal_binary(datagram).ok()?;
    Some((address(&message, ATTR_XOR_PEER_ADDRESS)?, value(datagram, ATTR_DATA)?))
}

/// Returns the value of an attribute where it stands in a message.
fn value(message: &[u8], wanted: AttrType) -> Option<&[u8]> {
    let mut rest = message.get(HEADER_LEN..)?;
    loop {
        let ([t0, t1, l0, l1], values) = rest.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        if u16::from_be_bytes([*t0, *t1]) == wanted.value() {
            return values.get(..length);
        }
        rest = values.get(length.next_multiple_of(4)..)?;
    }
}

/// Writes a channel message.
pub(super) fn write_channel(number: u16, data: &[u8], wrapped: &mut Vec<u8>) {
    // a datagram is shorter than 64 KiB
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    wrapped.extend_from_slice(&number.to_be_bytes());
    wrapped.extend_from_slice(&length.to_be_bytes());
    wrapped.extend_from_slice(data);
}

/// Writes a send indication.
pub(super) fn write_indication(transaction: [u8; 12], peer: SocketAddr, data: &[u8], wrapped: &mut Vec<u8>) {
    let mut indication = message(METHOD_SEND, CLASS_INDICATION, transaction);
    add_peer(&mut indication, peer);
    indication.add(ATTR_DATA, data);
    *wrapped = indication.raw;
}
