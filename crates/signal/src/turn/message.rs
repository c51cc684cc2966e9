//! Messages of TURN (RFC 8656) in the codec of STUN messages, and their frames in a stream.

use std::net::SocketAddr;

use rtc_stun::attributes::*;
use rtc_stun::message::*;
use rtc_stun::xoraddr::XorMappedAddress;

/// Maximum length of a datagram or a frame in bytes. Media packets have at most 1,500; a guess for the rest.
pub(super) const FRAME_LEN_MAX: usize = 4_096;
/// Length of a message's header.
const HEADER_LEN: usize = 20;
/// Length of a channel message's header: the number, and the length of the data.
const CHANNEL_HEADER_LEN: usize = 4;
/// Transport of relays: UDP's protocol number (RFC 8656, 18.8).
const UDP: u8 = 17;
/// Families of relays (RFC 8656, 18.9).
const FAMILIES: [u8; 2] = [1, 2];

/// Code of an error response (RFC 8656, section 19).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    BadRequest = 400,
    Unauthenticated = 401,
    Forbidden = 403,
    UnknownAttribute = 420,
    AllocationMismatch = 437,
    StaleNonce = 438,
    AddressFamilyNotSupported = 440,
    WrongCredentials = 441,
    UnsupportedTransport = 442,
    PeerAddressFamilyMismatch = 443,
    AllocationQuotaReached = 486,
    InsufficientCapacity = 508,
}

/// Returns a message without attributes.
pub(super) fn message(class: MessageClass, of: &Message) -> Message {
    let mut message = Message::new();
    message.typ = MessageType::new(of.typ.method, class);
    message.transaction_id = of.transaction_id;
    message.write_header();
    message
}

/// Returns an error response, without a phrase: an answer to a stranger is short.
pub(super) fn refusal(to: &Message, code: Code) -> Message {
    let number = code as u16;
    let mut answer = message(CLASS_ERROR_RESPONSE, to);
    answer.add(ATTR_ERROR_CODE, &[0, 0, (number / 100) as u8, (number % 100) as u8]);
    if code == Code::UnknownAttribute {
        let list: Vec<u8> = not_understood(to).flat_map(u16::to_be_bytes).collect();
        answer.add(ATTR_UNKNOWN_ATTRIBUTES, &list);
    }
    answer
}

/// Adds an address in the obfuscated form. At a socket of both families, one of IPv4 comes inside an IPv6 address.
pub(super) fn add_address(message: &mut Message, attribute: AttrType, address: SocketAddr) {
    let value = XorMappedAddress { ip: address.ip().to_canonical(), port: address.port() };
    // fails for an address of neither family only
    let _ = value.add_to_as(message, attribute);
}

/// Returns the peers that a message names.
pub(super) fn peers(message: &Message) -> impl Iterator<Item = SocketAddr> + '_ {
    let of_peers = message.attributes.0.iter().filter(|attribute| attribute.typ == ATTR_XOR_PEER_ADDRESS);
    of_peers.filter_map(|attribute| {
        let mut one = Message { transaction_id: message.transaction_id, ..Message::default() };
        one.attributes.0.push(attribute.clone());
        let mut read = XorMappedAddress::default();
        read.get_from_as(&one, ATTR_XOR_PEER_ADDRESS).ok()?;
        Some(SocketAddr::new(read.ip.to_canonical(), read.port))
    })
}

/// Returns the attributes that a request requires to be understood, and that aren't, 16 at most.
pub(super) fn not_understood(message: &Message) -> impl Iterator<Item = u16> + '_ {
    const UNDERSTOOD: [AttrType; 10] = [
        ATTR_USERNAME,
        ATTR_REALM,
        ATTR_NONCE,
        ATTR_MESSAGE_INTEGRITY,
        ATTR_LIFETIME,
        ATTR_XOR_PEER_ADDRESS,
        ATTR_CHANNEL_NUMBER,
        ATTR_REQUESTED_TRANSPORT,
        ATTR_REQUESTED_ADDRESS_FAMILY,
        ATTR_EVEN_PORT,
    ];
    let types = message.attributes.0.iter().map(|attribute| attribute.typ);
    types.filter(|typ| typ.required() && !UNDERSTOOD.contains(typ)).map(|typ| typ.value()).take(16)
}

/// Lifetime that a request asks for, in seconds; `None` if it asks for none.
pub(super) fn lifetime_s(message: &Message) -> Result<Option<u32>, Code> {
    match message.get(ATTR_LIFETIME) {
        Ok(value) => Ok(Some(u32::from_be_bytes(value.try_into().map_err(|_| Code::BadRequest)?))),
        Err(_) => Ok(None),
    }
}

/// Returns the number of the channel that a request names.
pub(super) fn channel_number(message: &Message) -> Option<u16> {
    let value = message.get(ATTR_CHANNEL_NUMBER).ok()?;
    Some(u16::from_be_bytes(*value.first_chunk()?)).filter(|number| is_channel((number >> 8) as u8))
}

/// What a relayed address has to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Of IPv6.
    pub(crate) is_v6: bool,
    /// With an even port. A relay with an odd port is no answer to it.
    pub(crate) even_port: bool,
}

/// Returns the relay that an Allocate request asks for. Reserved ports aren't offered.
pub(super) fn wish(message: &Message) -> Result<Wish, Code> {
    let first = |attribute| message.get(attribute).ok().map(|value| value.first().copied());
    match first(ATTR_REQUESTED_TRANSPORT) {
        Some(Some(UDP)) => {}
        Some(Some(_)) => return Err(Code::UnsupportedTransport),
        Some(None) | None => return Err(Code::BadRequest),
    }
    let is_v6 = match first(ATTR_REQUESTED_ADDRESS_FAMILY) {
        None => false,
        Some(Some(family)) if FAMILIES.contains(&family) => family == FAMILIES[1],
        Some(_) => return Err(Code::AddressFamilyNotSupported),
    };
    let even_port = match first(ATTR_EVEN_PORT) {
        None => false,
        Some(Some(reserves)) if reserves & 0x80 == 0 => true,
        Some(_) => return Err(Code::InsufficientCapacity),
    };
    Ok(Wish { is_v6, even_port })
}

/// Returns the value of an attribute where it stands in the bytes of a message: the codec copies it.
pub(super) fn value(bytes: &[u8], wanted: AttrType) -> Option<&[u8]> {
    let mut rest = bytes.get(HEADER_LEN..)?;
    loop {
        let (typ, length) = (number(rest, 0)?, usize::from(number(rest, 2)?));
        let value = rest.get(4..4 + length)?;
        if typ == wanted.value() {
            return Some(value);
        }
        rest = rest.get(4 + length.next_multiple_of(4)..)?;
    }
}

/// Returns the number and the data of a channel message (RFC 8656, 12.4).
pub(super) fn channel_data(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let length = usize::from(number(bytes, 2)?);
    Some((number(bytes, 0)?, bytes.get(CHANNEL_HEADER_LEN..CHANNEL_HEADER_LEN + length)?))
}

/// Returns a channel message; in a stream it ends at a multiple of four bytes.
pub(super) fn to_channel(channel: u16, data: &[u8], is_stream: bool) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(CHANNEL_HEADER_LEN + data.len().next_multiple_of(4));
    bytes.extend_from_slice(&channel.to_be_bytes());
    bytes.extend_from_slice(&u16::try_from(data.len()).ok()?.to_be_bytes());
    bytes.extend_from_slice(data);
    if is_stream {
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    Some(bytes)
}

/// Whether bytes that begin so are a channel message: the higher byte of channel numbers. RFC 8656, section 12 has
/// those below 0x5000 only; coturn's client still uses those of RFC 5766.
pub(super) fn is_channel(first: u8) -> bool {
    (0x40..=0x7f).contains(&first)
}

/// Whether a client's stream that begins so is one of TURN: by a message, whose first two bits are zero.
pub(crate) fn is_message(first: u8) -> bool {
    first <= 3
}

/// No frame begins here, or a too long one: the stream can't be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoFrame;

/// Returns the length of the frame that bytes of a stream begin with, once it is whole.
///
/// # Errors
/// [`NoFrame`].
pub(crate) fn frame_len(bytes: &[u8]) -> Result<Option<usize>, NoFrame> {
    let (Some(&first), Some(length)) = (bytes.first(), number(bytes, 2)) else { return Ok(None) };
    let length = usize::from(length);
    let whole = match first {
        _ if is_message(first) && length.is_multiple_of(4) => HEADER_LEN + length,
        _ if is_channel(first) => (CHANNEL_HEADER_LEN + length).next_multiple_of(4),
        _ => return Err(NoFrame),
    };
    if whole > FRAME_LEN_MAX {
        return Err(NoFrame);
    }
    Ok((bytes.len() >= whole).then_some(whole))
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}
