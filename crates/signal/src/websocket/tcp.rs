//! TCP to whichever address of a host answers first (RFC 8305, "Happy Eyeballs"), so that a host with an IPv6
//! address that leads nowhere is still reached over IPv4.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::sleep;

/// How long an address may keep the next one waiting: RFC 8305's Connection Attempt Delay.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// More addresses than this are not tried. Guess.
const ADDRESSES_MAX: usize = 8;

/// Tries the addresses in their order, the next one when the last has failed or takes long.
///
/// # Errors
/// That of the address that failed last, or `NotFound` when there are none.
pub(super) async fn connect_first(addresses: impl IntoIterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut addresses = addresses.into_iter().take(ADDRESSES_MAX).peekable();
    let mut attempts = FuturesUnordered::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    loop {
        attempts.extend(addresses.next().map(TcpStream::connect));
        tokio::select! {
            attempt = attempts.next() => match attempt {
                Some(Ok(tcp)) => return Ok(tcp),
                Some(Err(error)) => failure = error,
                None => return Err(failure),
            },
            () = sleep(ATTEMPT_DELAY), if addresses.peek().is_some() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    #[tokio::test]
    async fn addresses_that_refuse_or_say_nothing_are_passed_over() {
        let listener = TcpListener::bind(ANY_PORT).await.unwrap();
        let answering = listener.local_addr().unwrap();
        // bound, but not listening: refuses for as long as the socket lives
        let bound = TcpSocket::new_v4().unwrap();
        bound.bind(ANY_PORT).unwrap();
        let refusing = bound.local_addr().unwrap();
        let (mute, _kept) = mute().await;
        for addresses in [vec![answering], vec![refusing, answering], vec![mute, refusing, mute, answering]] {
            let tcp = connect_first(addresses).await.unwrap();
            assert_eq!(tcp.peer_addr().unwrap(), answering);
        }
        let refused = connect_first([refusing, refusing]).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(connect_first([]).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    /// An address whose queue of connections is full, so that Linux ignores further ones; and what fills it.
    async fn mute() -> (SocketAddr, (TcpListener, Vec<TcpStream>)) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(ANY_PORT).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut filling = Vec::new();
        while let Ok(Ok(tcp)) = tokio::time::timeout(ATTEMPT_DELAY, TcpStream::connect(address)).await {
            filling.push(tcp);
        }
        (address, (listener, filling))
    }
}
