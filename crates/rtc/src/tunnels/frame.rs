//! Frames of tunnels: three bytes before a datagram.
//!
//! The first byte is 80 towards the carrier and 81 from it: RFC 7983 leaves 80 to 127 unassigned. So a frame that comes
//! back to where it was made means nothing there. The number of the tunnel follows, big endian; the carrier draws it.

use bytes::Bytes;
use plenary_proto::rendezvous::TUNNEL_DATAGRAM_LEN_MAX;

/// First byte of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Towards {
    Carrier = 80,
    End = 81,
}

/// Returns the frame of a datagram; `None` if it is too long.
pub(crate) fn frame(towards: Towards, channel: u16, datagram: &[u8]) -> Option<Bytes> {
    let [high, low] = channel.to_be_bytes();
    let is_short = datagram.len() <= TUNNEL_DATAGRAM_LEN_MAX;
    is_short.then(|| [&[towards as u8, high, low], datagram].concat().into())
}

/// Reads a frame: its direction, the tunnel's number, and the datagram.
pub(crate) fn read(frame: &[u8]) -> Option<(Towards, u16, &[u8])> {
    let ([first, high, low], datagram) = frame.split_first_chunk()?;
    let towards = match first {
        80 => Towards::Carrier,
        81 => Towards::End,
        _ => return None,
    };
    Some((towards, u16::from_be_bytes([*high, *low]), datagram))
        .filter(|_| datagram.len() <= TUNNEL_DATAGRAM_LEN_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_frame_gives_back_what_was_put_into_it(
            to_carrier: bool, channel: u16, datagram in prop::collection::vec(any::<u8>(), 0..1_500)
        ) {
            let towards = if to_carrier { Towards::Carrier } else { Towards::End };
            let framed = frame(towards, channel, &datagram).unwrap();
            prop_assert_eq!(read(&framed), Some((towards, channel, &datagram[..])));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..2_000)) {
            if let Some((_, _, datagram)) = read(&bytes) {
                prop_assert_eq!(datagram.len() + 3, bytes.len());
            }
        }
    }

    #[test]
    fn a_datagram_longer_than_a_packet_is_in_no_frame() {
        assert!(frame(Towards::Carrier, 1, &[0; 1_500]).is_some());
        assert!(frame(Towards::Carrier, 1, &[0; 1_501]).is_none());
        assert!(read(&[80; 1_504]).is_none());
    }
}
