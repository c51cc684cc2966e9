//! TCP connection to the first address of a host that answers (RFC 8305, "Happy Eyeballs"). A host with an
//! unreachable IPv6 address is still reached over IPv4.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::sleep;

/// Delay before the next address is tried: the Connection Attempt Delay of RFC 8305.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Maximum number of addresses that are tried. A guess.
const ADDRESSES_MAX: usize = 8;

/// Tries the addresses in order; starts the next one when the last has failed or takes longer than
/// `ATTEMPT_DELAY`.
///
/// # Errors
/// The error of the address that failed last, or `NotFound` without addresses.
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
        // bound but not listening: refuses connections as long as the socket exists
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

    /// An address with a full connection queue, so that Linux ignores further connections; and the
    /// connections that fill the queue.
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
