//! What both ends of a websocket have in common: its bounds, what its errors mean, and parting from it.

use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

use crate::wire::FRAME_LEN_MAX;

/// What is read at once. The default of 128 KiB would be allocated, and cleared at each read, for each of
/// thousands of connections that carry a few hundred bytes at a time.
const READ_LEN: usize = 4096;
/// How much is written together.
const WRITE_LEN: usize = 16 * 1024;
/// How long parting may take: one round trip on a bad line, twice.
const PARTING_MAX: Duration = Duration::from_secs(1);
/// How much of what the other side was still sending is read and thrown away while parting.
const UNREAD_LEN_MAX: u64 = 16 << 20;

/// No message and no frame is longer than ours are, so nothing longer is ever kept.
pub(crate) fn bounds() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_LEN)
        .write_buffer_size(WRITE_LEN)
        .max_message_size(Some(FRAME_LEN_MAX))
        .max_frame_size(Some(FRAME_LEN_MAX))
}

/// What came out of a websocket.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A binary message.
    Frame(Bytes),
    /// Only a sign of life.
    Life,
    /// The other side closed, or the connection broke.
    Gone(String),
    /// A message was too long.
    TooLong,
    /// Not what a websocket, or this protocol, says.
    Malformed(String),
}

/// Sorts what a websocket's stream yields.
pub(crate) fn heard(item: Option<Result<Message, Error>>) -> Heard {
    match item {
        Some(Ok(Message::Binary(frame))) => Heard::Frame(frame),
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Heard::Life,
        Some(Ok(Message::Text(_))) => Heard::Malformed("a text message".to_owned()),
        Some(Ok(Message::Close(Some(close)))) => {
            Heard::Gone(format!("{} {}", u16::from(close.code), close.reason))
        }
        Some(Ok(Message::Close(None))) | None => Heard::Gone("closed".to_owned()),
        Some(Err(error)) => trouble(&error),
    }
}

/// Sorts a websocket's errors.
pub(crate) fn trouble(error: &Error) -> Heard {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => Heard::TooLong,
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Heard::Gone("closed".to_owned()),
        Error::Protocol(_) | Error::Utf8(_) | Error::Capacity(_) => Heard::Malformed(error.to_string()),
        other => Heard::Gone(other.to_string()),
    }
}

/// Says a last message, closes with `code`, and reads on for a moment so that the other side gets to read it:
/// a TCP connection that is dropped with bytes unread resets, which can take with it what was just sent.
pub(crate) async fn part<S>(
    mut socket: WebSocketStream<S>,
    farewell: Option<Message>,
    code: CloseCode,
    reason: &str,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let parting = async {
        // errors make no difference any more; most often the other side closed first, and what the flush
        // sends is the answer to its close
        if let Some(farewell) = farewell {
            let _ = socket.feed(farewell).await;
        }
        let _ = socket.close(Some(CloseFrame { code, reason: Utf8Bytes::from(reason) })).await;
        let _ = socket.flush().await;
        let stream = socket.get_mut();
        let _ = stream.shutdown().await;
        let _ = tokio::io::copy(&mut stream.take(UNREAD_LEN_MAX), &mut tokio::io::sink()).await;
    };
    let _ = timeout(PARTING_MAX, parting).await;
}
