//! STUN binding requests (RFC 8489), answered on the rendezvous' UDP port: a page learns the address at which others see it.
//!
//! Answers hold no state. One is 32 or 44 bytes long for a request of at least 20, and [`ANSWERS_PER_SECOND_MAX`] limits
//! what a sender of forged addresses can have sent to others.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtc_stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, is_stun_message};
use rtc_stun::xoraddr::XorMappedAddress;
use tokio::net::UdpSocket;
use tokio::time::sleep;
use tracing::debug;

use super::Lobby;

/// Maximum length of a request: browsers send 20 to 100 bytes. Longer datagrams are cut, and are then no requests.
const REQUEST_LEN_MAX: usize = 512;
/// Answers within a second: some 300 KiB. A guess; a room of 10,000 pages that opens at once asks for less each second.
const ANSWERS_PER_SECOND_MAX: u32 = 5_000;
/// Pause after an error of the socket, which may last. Requests wait in the socket's buffer meanwhile. A guess.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Answers requests until the lobby closes.
pub(super) async fn serve(socket: UdpSocket, lobby: Lobby) {
    let answering = async {
        let (mut since, mut answers) = (Instant::now(), 0);
        let mut buffer = [0; REQUEST_LEN_MAX];
        loop {
            let (length, from) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                // mostly of one datagram: an answer before it could not be delivered
                Err(error) => {
                    debug!(%error, "no STUN request was received");
                    sleep(ERROR_PAUSE).await;
                    continue;
                }
            };
            if since.elapsed() >= Duration::from_secs(1) {
                (since, answers) = (Instant::now(), 0);
            }
            if answers >= ANSWERS_PER_SECOND_MAX {
                continue;
            }
            if let Some(answer) = answer(&buffer[..length], from) {
                answers += 1;
                if let Err(error) = socket.try_send_to(&answer, from) {
                    debug!(%error, "a STUN request was not answered");
                }
            }
        }
    };
    lobby.switchboard.closing().run_until_cancelled(answering).await;
}

/// Binds the UDP port of that address.
pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Returns the answer to a datagram; `None` if it is no binding request.
fn answer(request: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
    let mut asked = Message::new();
    asked.unmarshal_binary(request).ok().filter(|()| is_stun_message(request))?;
    if asked.typ != BINDING_REQUEST {
        return None;
    }
    let seen = XorMappedAddress { ip: from.ip().to_canonical(), port: from.port() };
    let mut answer = Message::new();
    answer.build(&[Box::new(BINDING_SUCCESS), Box::new(asked.transaction_id), Box::new(seen)]).ok()?;
    Some(answer.raw)
}

#[cfg(test)]
mod tests {
    use rtc_stun::message::Getter as _;

    use super::*;

    const TRANSACTION: [u8; 12] = [7; 12];

    fn request(kind: u16) -> Vec<u8> {
        let cookie = [0x21, 0x12, 0xa4, 0x42];
        [&kind.to_be_bytes()[..], &[0, 0], &cookie, &TRANSACTION].concat()
    }

    #[test]
    fn a_binding_request_is_answered_with_the_address_it_came_from() {
        for (from, expected) in [
            ("192.0.2.1:32853", "192.0.2.1:32853"),
            ("[2001:db8::7]:9", "[2001:db8::7]:9"),
            ("[::ffff:192.0.2.1]:9", "192.0.2.1:9"),
        ] {
            let answered = answer(&request(0x0001), from.parse().unwrap()).unwrap();
            let mut read = Message::new();
            read.unmarshal_binary(&answered).unwrap();
            let mut seen = XorMappedAddress::default();
            seen.get_from(&read).unwrap();
            assert_eq!(read.transaction_id.0, TRANSACTION);
            assert_eq!(SocketAddr::new(seen.ip, seen.port), expected.parse().unwrap());
            assert!(answered.len() <= 44);
        }
    }

    #[test]
    fn nothing_else_is_answered() {
        let from = "192.0.2.1:9".parse().unwrap();
        let whole = request(0x0001);
        let mut without_cookie = whole.clone();
        without_cookie[4] = 0;
        // a success, an indication, an allocation, and what is no STUN
        let others =
            [request(0x0101), request(0x0011), request(0x0003), without_cookie, vec![], vec![0xff; 100]];
        assert!(others.iter().all(|other| answer(other, from).is_none()));
        assert!((0..whole.len()).all(|length| answer(&whole[..length], from).is_none()));
    }

    proptest::proptest! {
        #[test]
        fn no_datagram_makes_it_panic(bytes in proptest::collection::vec(0_u8.., 0..200)) {
            let _ = answer(&bytes, "192.0.2.1:9".parse().unwrap());
        }
    }
}
