//! HTTP requests that carry a peer's frames, for browsers that refuse a websocket to a self-signed certificate.
//!
//! A websocket over a pipe in memory serves such a connection, so all limits, refusals and silences are the same. The
//! gate counts the pipe as one TCP connection, in addition to those of the requests. A key of 128 random bits
//! authorises each request.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, MutexGuard, PoisonError};
use std::time::Instant;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Extension, Router};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use plenary_proto::rendezvous::{FRAME_LEN_MAX, FromRendezvous};
use tokio::io::{DuplexStream, duplex};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;

use super::Lobby;
use super::connection::{self, Carrier, HELLO_LEN_MAX};
use crate::gate::{Gate, Turned};
use crate::socket::{self, Heard, heard};

/// Path that opens a connection. Later requests append the key.
const FETCH_PATH: &str = "/signal/fetch";
/// Length of the prefix of each frame in a body: the frame's length, big endian.
const PREFIX_LEN: usize = 4;
/// Maximum length of a request's body: the longest frame.
const BODY_LEN_MAX: usize = FRAME_LEN_MAX + PREFIX_LEN;
/// Length of an answer at which no further frame is added. A guess.
const ANSWER_LEN: usize = 64 * 1024;
/// Capacity of a pipe in each direction, in place of the kernel's buffers of a TCP connection. A guess.
const PIPE_LEN: usize = 64 * 1024;
/// Maximum wait of a request for frames, in ping intervals. Each ping is a frame.
const WAIT_PINGS: u32 = 2;

type Pipe = WebSocketStream<DuplexStream>;

/// Connections by their keys.
#[derive(Debug, Default)]
pub(super) struct Fetched(SyncMutex<HashMap<u128, Arc<Ends>>>);

/// The peer's ends of one pipe. One request at a time uses each end.
#[derive(Debug)]
struct Ends {
    to: Mutex<SplitSink<Pipe, Message>>,
    from: Mutex<SplitStream<Pipe>>,
    /// Whether the peer was let into its room, as it has fetched.
    has_entered: AtomicBool,
    /// Cancelled when the last frames were fetched, or the peer has closed the connection.
    over: CancellationToken,
}

impl Fetched {
    fn table(&self) -> MutexGuard<'_, HashMap<u128, Arc<Ends>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: &str) -> Option<(u128, Arc<Ends>)> {
        let key = u128::from_str_radix(key, 16).ok()?;
        Some((key, self.table().get(&key)?.clone()))
    }

    fn remove(&self, key: u128) -> bool {
        self.table().remove(&key).inspect(|ends| ends.over.cancel()).is_some()
    }
}

/// Returns the routes that open, carry and end connections.
pub(super) fn routes() -> Router<Lobby> {
    let one = format!("{FETCH_PATH}/{{key}}");
    Router::new().route(FETCH_PATH, post(open)).route(&one, post(send).get(receive).delete(end))
}

/// Opens a connection and answers with its key.
async fn open(
    State(lobby): State<Lobby>,
    address: Option<Extension<ConnectInfo<SocketAddr>>>,
) -> Result<Response, StatusCode> {
    let address = address.map(|Extension(ConnectInfo(address))| address);
    let pass = address.map(|address| Gate::pass(&lobby.gate, address.ip(), Instant::now()));
    let pass = pass.transpose().map_err(|turned| match turned {
        Turned::Full => StatusCode::SERVICE_UNAVAILABLE,
        Turned::TooFast => StatusCode::TOO_MANY_REQUESTS,
    })?;
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    let key = u128::from_be_bytes(key);
    let (near, far) = duplex(PIPE_LEN);
    let far = WebSocketStream::from_raw_socket(far, Role::Client, Some(socket::bounds())).await;
    let (to, from) = far.split();
    let over = CancellationToken::new();
    let (to, from) = (Mutex::new(to), Mutex::new(from));
    let ends = Ends { to, from, has_entered: AtomicBool::new(false), over: over.clone() };
    {
        // the only bound below another web server that passes no addresses
        let mut table = lobby.fetched.table();
        if table.len() >= lobby.switchboard.limits().connections_max {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        table.insert(key, Arc::new(ends));
    }
    lobby.tasks.clone().spawn(async move {
        connection::serve(near, &lobby, address, Carrier::Requests).await;
        // the peer may still fetch the last frames, which contain the refusal
        let fetching = over.run_until_cancelled(sleep(lobby.switchboard.limits().hello_timeout));
        lobby.switchboard.closing().run_until_cancelled(fetching).await;
        lobby.fetched.remove(key);
        drop(pass);
    });
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], format!("{key:032x}")).into_response())
}

/// Takes frames from the peer. The answer waits until the rate limits have let all frames through. The body of a
/// request with an unknown key is not read, and before the welcome at most the length of a hello.
async fn send(State(lobby): State<Lobby>, Path(key): Path<String>, body: Body) -> StatusCode {
    let Some((_, ends)) = lobby.fetched.get(&key) else { return StatusCode::NOT_FOUND };
    let Ok(mut to) = ends.to.try_lock() else { return StatusCode::CONFLICT };
    let len_max = match ends.has_entered.load(Ordering::Relaxed) {
        true => BODY_LEN_MAX,
        false => HELLO_LEN_MAX,
    };
    let whole = ends.over.run_until_cancelled(to_bytes(body, len_max));
    let Ok(Some(body)) = timeout(lobby.switchboard.limits().silence_max(), whole).await else {
        return StatusCode::REQUEST_TIMEOUT;
    };
    let Ok(body) = body else { return StatusCode::PAYLOAD_TOO_LARGE };
    let Some(frames) = frames(body) else { return StatusCode::BAD_REQUEST };
    for frame in frames {
        if to.send(Message::Binary(frame)).await.is_err() {
            return StatusCode::NOT_FOUND;
        }
    }
    StatusCode::NO_CONTENT
}

/// Waits for frames to the peer and answers with them.
async fn receive(State(lobby): State<Lobby>, Path(key): Path<String>) -> Response {
    let Some((key, ends)) = lobby.fetched.get(&key) else { return StatusCode::NOT_FOUND.into_response() };
    let Ok(mut from) = ends.from.try_lock() else { return StatusCode::CONFLICT.into_response() };
    let wait = WAIT_PINGS * lobby.switchboard.limits().ping_interval;
    let Ok(first) = timeout(wait, frame(&mut from)).await else {
        return StatusCode::NO_CONTENT.into_response();
    };
    let mut answer = BytesMut::new();
    let mut next = Some(first);
    while let Some(Some(frame)) = next {
        if matches!(FromRendezvous::from_bytes(&frame), Ok(FromRendezvous::Welcome { .. })) {
            ends.has_entered.store(true, Ordering::Relaxed);
        }
        // no frame is as long as 4 GiB
        answer.put_u32(frame.len() as u32);
        answer.put(frame);
        next = if answer.len() < ANSWER_LEN { frame_now(&mut from) } else { None };
    }
    if let Some(None) = next {
        lobby.fetched.remove(key);
    }
    if answer.is_empty() {
        return StatusCode::NOT_FOUND.into_response();
    }
    let headers = [(header::CACHE_CONTROL, "no-store"), (header::CONTENT_TYPE, "application/octet-stream")];
    (headers, answer.freeze()).into_response()
}

/// Ends a connection.
async fn end(State(lobby): State<Lobby>, Path(key): Path<String>) -> StatusCode {
    match lobby.fetched.get(&key) {
        Some((key, _)) if lobby.fetched.remove(key) => StatusCode::NO_CONTENT,
        _ => StatusCode::NOT_FOUND,
    }
}

/// Waits for the next frame; `None` at the end of the connection. Cancel safe.
async fn frame(from: &mut SplitStream<Pipe>) -> Option<Bytes> {
    loop {
        match heard(from.next().await) {
            Heard::Frame(frame) => return Some(frame),
            Heard::Life => {}
            Heard::Gone(_) | Heard::Malformed(_) | Heard::TooLong => return None,
        }
    }
}

/// Returns the next frame, or the end, if it is there already.
fn frame_now(from: &mut SplitStream<Pipe>) -> Option<Option<Bytes>> {
    frame(from).now_or_never()
}

/// Cuts a body into its frames; `None` if a length is wrong.
fn frames(mut body: Bytes) -> Option<Vec<Bytes>> {
    let mut frames = Vec::new();
    while body.has_remaining() {
        let len = usize::try_from(body.try_get_u32().ok()?).ok()?;
        if len > body.remaining() {
            return None;
        }
        frames.push(body.split_to(len));
    }
    Some(frames)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_cut_where_its_lengths_say() {
        let cut = |bytes: &'static [u8]| frames(Bytes::from_static(bytes));
        assert_eq!(cut(b""), Some(vec![]));
        assert_eq!(cut(b"\0\0\0\x02ab\0\0\0\0\0\0\0\x01c"), Some(vec!["ab".into(), "".into(), "c".into()]));
        for torn in [&b"\0"[..], b"\0\0\0\x02a", b"\0\0\0\x01ab", b"\xff\xff\xff\xffab"] {
            assert_eq!(cut(torn), None, "{torn:?}");
        }
    }
}
