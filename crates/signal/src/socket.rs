//! Websocket helpers for both ends: size limits, classification of messages and errors, and orderly closing.

use std::io::ErrorKind;
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

use plenary_proto::bounded::plain;

use plenary_proto::rendezvous::FRAME_LEN_MAX;

/// Read buffer size. The default of 128 KiB would be allocated, and cleared at each read, for each of
/// thousands of connections that carry a few hundred bytes at a time.
const READ_LEN: usize = 4096;
/// Write buffer size.
const WRITE_LEN: usize = 16 * 1024;
/// Timeout for an orderly close: one round trip on a bad line, twice.
const PARTING_MAX: Duration = Duration::from_secs(1);
/// Maximum number of bytes that are read and discarded while closing.
const UNREAD_LEN_MAX: u64 = 16 << 20;

/// Limits messages and frames to the length of this protocol's frames, so that longer ones are never
/// buffered.
pub(crate) fn bounds() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_LEN)
        .write_buffer_size(WRITE_LEN)
        .max_message_size(Some(FRAME_LEN_MAX))
        .max_frame_size(Some(FRAME_LEN_MAX))
}

/// A classified websocket message or error.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A binary message.
    Frame(Bytes),
    /// A websocket ping or pong, which only shows that the other side is alive.
    Life,
    /// The other side closed, or the connection broke.
    Gone(String),
    /// A message exceeded the length limit.
    TooLong,
    /// A violation of the websocket protocol or of this protocol.
    Malformed(String),
}

/// Classifies an item of a websocket's stream.
pub(crate) fn heard(item: Option<Result<Message, Error>>) -> Heard {
    match item {
        Some(Ok(Message::Binary(frame))) => Heard::Frame(frame),
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Heard::Life,
        Some(Ok(Message::Text(_))) => Heard::Malformed("a text message".to_owned()),
        Some(Ok(Message::Close(Some(close)))) => {
            Heard::Gone(format!("{} {}", u16::from(close.code), plain(&close.reason)))
        }
        Some(Ok(Message::Close(None))) | None => Heard::Gone("closed".to_owned()),
        Some(Err(error)) => trouble(&error),
    }
}

/// Classifies a websocket error.
pub(crate) fn trouble(error: &Error) -> Heard {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => Heard::TooLong,
        Error::Io(error) if error.kind() == ErrorKind::FileTooLarge => Heard::TooLong,
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Heard::Gone("closed".to_owned()),
        Error::Protocol(_) | Error::Utf8(_) | Error::Capacity(_) => Heard::Malformed(error.to_string()),
        other => Heard::Gone(other.to_string()),
    }
}

/// Closes a websocket in order: sends a last message, closes with `code`, and reads on for a moment so that
/// the other side can read the message. A TCP connection that is dropped with unread bytes sends a reset, and
/// the reset may discard data that was just sent.
pub(crate) async fn part<S>(
    mut socket: WebSocketStream<S>,
    farewell: Option<Message>,
    code: CloseCode,
    reason: &str,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let parting = async {
        // errors are irrelevant now; most often the other side closed first, and the flush sends the answer
        // to its close
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_close_steers_no_terminal() {
        let reason = Utf8Bytes::from("\u{1b}[2J\u{1b}]0;mine\u{7}away\u{202e}\r\n\u{9b}31m");
        let close = CloseFrame { code: CloseCode::Away, reason };
        let Heard::Gone(why) = heard(Some(Ok(Message::Close(Some(close))))) else { panic!("it goes on") };
        assert_eq!(why, "1001 [2J]0;mineaway31m");
    }
}
