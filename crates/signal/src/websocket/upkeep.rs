//! The task that keeps a peer connected: what its [`Connection`] says, done over a websocket.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{SplitSink, SplitStream};
use futures::{FutureExt as _, SinkExt as _, StreamExt as _};
use plenary_proto::rendezvous::{Connection, Ended, Happening, Outage, Step};
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::dial::{Dial, outage};
use super::{EVENTS_MAX, Io};
use crate::signal::{SignalError, SignalEvent};
use crate::socket::{self, Heard, heard, trouble};

/// Timeout for sending the queued envelopes when the signal is closed.
const FLUSH_MAX: Duration = Duration::from_secs(1);
/// Timeout for closing: sending the queue, then the orderly close of the websocket.
pub(super) const CLOSING_MAX: Duration = Duration::from_secs(3);

type Websocket = WebSocketStream<Box<dyn Io>>;
/// Result of a writer: the websocket's sending half after the last frame.
type Written = Result<SplitSink<Websocket, Message>, Error>;

/// The connection, and what wakes its task and its writer.
#[derive(Debug)]
pub(super) struct Shared {
    connection: Mutex<Connection>,
    started: Instant,
    /// A frame may wait to be sent.
    writable: Notify,
    /// The connection is to be made anew at once.
    renewal: Notify,
}

impl Shared {
    pub(super) fn new(connection: Connection) -> Shared {
        Shared {
            connection: Mutex::new(connection),
            started: Instant::now(),
            writable: Notify::new(),
            renewal: Notify::new(),
        }
    }

    /// Calls the connection, and wakes the writer, since frames may wait now.
    pub(super) fn with<T>(&self, act: impl FnOnce(u64, &mut Connection) -> T) -> T {
        let done = act(self.now_us(), &mut self.connection());
        self.writable.notify_one();
        done
    }

    pub(super) fn renew(&self) {
        self.renewal.notify_one();
    }

    fn now_us(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the time until the connection's next timeout; `None` if it has ended.
    fn due_in(&self) -> Option<Duration> {
        let due_us = self.connection().next_timeout_us()?;
        Some(Duration::from_micros(due_us.saturating_sub(self.now_us())))
    }

    /// Sends what waits, until the websocket breaks, or until nothing waits any more once `last` is cancelled.
    async fn write(
        self: Arc<Shared>,
        mut sink: SplitSink<Websocket, Message>,
        last: CancellationToken,
    ) -> Written {
        loop {
            while let Some(frame) = self.next_frame() {
                sink.send(Message::Binary(frame)).await?;
            }
            if last.is_cancelled() {
                return Ok(sink);
            }
            tokio::select! {
                () = self.writable.notified() => {}
                () = last.cancelled() => {}
            }
        }
    }

    fn next_frame(&self) -> Option<Bytes> {
        self.connection().next_frame(self.now_us())
    }
}

/// The websocket of the connection.
enum Socket {
    None,
    Dialling(BoxFuture<'static, Result<Websocket, Outage>>),
    /// Both halves in one task, so that a blocked direction does not stop the other.
    Open {
        reader: SplitStream<Websocket>,
        writer: BoxFuture<'static, Written>,
        /// Tells the writer that no further frame comes. Only [`Socket::close`] does: a writer that ended before
        /// would take its half of the websocket along, and the websocket would be dropped with unread bytes.
        last: CancellationToken,
    },
}

/// What comes of a websocket.
enum Comes {
    Opened(Box<Websocket>),
    Heard(Heard),
    Failed(Outage),
}

impl Socket {
    /// Waits for what comes next: for ever without a websocket. Cancel safe.
    async fn next(&mut self, reads: bool) -> Comes {
        match self {
            Socket::None => std::future::pending().await,
            Socket::Dialling(open) => match open.await {
                Ok(websocket) => Comes::Opened(Box::new(websocket)),
                Err(why) => Comes::Failed(why),
            },
            Socket::Open { reader, writer, .. } => tokio::select! {
                item = reader.next(), if reads => Comes::Heard(heard(item)),
                written = writer => Comes::Failed(outage(match written {
                    Ok(_) => Heard::Gone("closed".to_owned()),
                    Err(error) => trouble(&error),
                })),
            },
        }
    }

    /// Sends what waits, and closes in order.
    async fn close(self) {
        let Socket::Open { reader, writer, last } = self else { return };
        last.cancel();
        if let Ok(Ok(sink)) = timeout(FLUSH_MAX, writer).await
            && let Ok(websocket) = reader.reunite(sink)
        {
            socket::part(websocket, None, CloseCode::Normal, "").await;
        }
    }
}

/// State of the task.
pub(super) struct Upkeep {
    pub(super) dial: Arc<Dial>,
    pub(super) shared: Arc<Shared>,
    pub(super) events: mpsc::Sender<SignalEvent>,
    pub(super) closing: CancellationToken,
}

impl Upkeep {
    /// Runs until the signal is closed or has finally failed.
    pub(super) async fn run(self) {
        let Upkeep { dial, shared, events, closing } = &self;
        let (mut socket, mut told) = (Socket::None, VecDeque::new());
        let mut steps = shared.with(|now_us, connection| connection.handle(now_us, Happening::Timeout));
        loop {
            for step in std::mem::take(&mut steps) {
                match step {
                    Step::Dial => socket = Socket::Dialling(dial.clone().open().boxed()),
                    Step::HangUp => socket = Socket::None,
                    // whatever its consumer does, envelopes find room
                    Step::Tunnel { .. } if events.capacity() <= EVENTS_MAX / 2 => {}
                    step => told.extend(self.event(step)),
                }
            }
            let due_in = shared.due_in();
            if due_in.is_none() && told.is_empty() {
                return;
            }
            // while the application fetches no events, the connection is not read
            let reads = told.is_empty();
            tokio::select! {
                biased;
                () = closing.cancelled() => return socket.close().await,
                permit = events.reserve(), if !told.is_empty() => {
                    let (Ok(permit), Some(event)) = (permit, told.pop_front()) else { return };
                    permit.send(event);
                }
                () = shared.renewal.notified() => {
                    steps = shared.with(|now_us, connection| connection.renew(now_us));
                }
                comes = socket.next(reads) => steps = self.came(comes, &mut socket),
                () = sleep(due_in.unwrap_or_default()), if due_in.is_some() => {
                    steps = shared.with(|now_us, connection| connection.handle(now_us, Happening::Timeout));
                }
            }
        }
    }

    fn handle(&self, happening: Happening<'_>) -> Vec<Step> {
        self.shared.with(|now_us, connection| connection.handle(now_us, happening))
    }

    fn came(&self, comes: Comes, socket: &mut Socket) -> Vec<Step> {
        match comes {
            Comes::Opened(websocket) => {
                let (sink, reader) = (*websocket).split();
                let last = CancellationToken::new();
                let writer = self.shared.clone().write(sink, last.clone()).boxed();
                *socket = Socket::Open { reader, writer, last };
                self.handle(Happening::Opened)
            }
            Comes::Heard(Heard::Frame(frame)) => self.handle(Happening::Frame(&frame)),
            Comes::Heard(Heard::Life) => self.handle(Happening::Alive),
            Comes::Heard(other) => self.handle(Happening::Closed(outage(other))),
            Comes::Failed(why) => self.handle(Happening::Closed(why)),
        }
    }

    /// Returns what a step tells the application.
    fn event(&self, step: Step) -> Option<SignalEvent> {
        let url = &self.dial.url;
        Some(match step {
            Step::Dial | Step::HangUp => return None,
            Step::Turn(access) => SignalEvent::Turn(access),
            Step::Clock { unix_s } => SignalEvent::Clock { unix_s },
            Step::Carries => SignalEvent::Carries,
            Step::Tunnel { from, batch } => SignalEvent::Tunnel { from, batch },
            Step::Opens => SignalEvent::Opens,
            Step::Up => SignalEvent::Up,
            Step::Down { why, retry_in } => {
                debug!(url, %why, "the rendezvous is not connected");
                SignalEvent::Down { why, retry_in }
            }
            Step::Envelope { from, bytes } => SignalEvent::Envelope { from, bytes },
            Step::Undeliverable(to) => SignalEvent::Undeliverable { to },
            Step::Ended(Ended::Refused(refusal)) => SignalEvent::Ended(SignalError::Refused(refusal)),
            Step::Ended(Ended::Unreachable { tries, last }) => {
                SignalEvent::Ended(SignalError::Unreachable { url: url.clone(), tries, last })
            }
        })
    }
}
