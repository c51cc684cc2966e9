//! The UDP port of a rendezvous without a TURN server there: STUN requests.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::sleep;
use tracing::debug;

use super::Lobby;
use crate::stun::{self, Answers};

/// Maximum length of a request: browsers send 20 to 100 bytes. Longer datagrams are cut, and are then no requests.
const REQUEST_LEN_MAX: usize = 512;
/// Pause after an error of the socket, which may last. Requests wait in the socket's buffer meanwhile. A guess.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Answers STUN requests until the lobby closes.
pub(super) async fn serve(socket: UdpSocket, lobby: Lobby) {
    let answering = async {
        let mut answers = Answers::new(Instant::now());
        let mut buffer = [0; REQUEST_LEN_MAX];
        loop {
            let (length, from) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                // mostly an ICMP error for an earlier answer
                Err(error) => {
                    debug!(%error, "no STUN request was received");
                    sleep(ERROR_PAUSE).await;
                    continue;
                }
            };
            // before parsing, so that a flood costs little
            if !answers.allow(from.ip(), Instant::now()) {
                continue;
            }
            let answer = stun::answer(&buffer[..length], from);
            if answer.is_some() || stun::is_indication(&buffer[..length]) {
                answers.count(from.ip());
                if let Some(turn) = &lobby.turn {
                    turn.asked(from);
                }
            }
            let sent = answer.map_or(Ok(0), |answer| socket.try_send_to(&answer, from));
            if let Err(error) = sent {
                debug!(%error, "a STUN request was not answered");
            }
        }
    };
    lobby.switchboard.closing().run_until_cancelled(answering).await;
}

/// Binds the UDP port of that address.
pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?; // as the TCP port of the same number
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}
