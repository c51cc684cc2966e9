//! The task that keeps a peer connected: connect, carry envelopes, wait, reconnect.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Io;
use super::backoff::Backoff;

use super::dial::{Claim, Dial, Joined, outage};
use super::send_queue::SendQueue;
use crate::signal::{Outage, SignalError, SignalEvent};
use crate::socket::{self, Heard, heard, trouble};
use plenary_proto::rendezvous::{Address, FrameError, FromPeer, FromRendezvous, Refusal};

/// Timeout of one attempt, from name resolution to the welcome.
const TRY_MAX: Duration = Duration::from_secs(5);
/// Minimum timeout of one attempt, whatever is left of the patience: a shorter one would say nothing. A guess.
const TRY_MIN: Duration = Duration::from_millis(500);
/// Duration after which a connection counts as stable and resets the backoff.
const STEADY: Duration = Duration::from_secs(10);
/// Timeout for sending the queued envelopes when the signal is closed.
const FLUSH_MAX: Duration = Duration::from_secs(1);
/// Timeout for closing: sending the queue, then the orderly close of the websocket.
pub(super) const CLOSING_MAX: Duration = Duration::from_secs(3);

/// State of the task that keeps the connection up.
pub(super) struct Upkeep {
    pub(super) dial: Dial,
    pub(super) claim: watch::Sender<Claim>,
    pub(super) send_queue: Arc<SendQueue>,
    pub(super) events: mpsc::Sender<SignalEvent>,
    pub(super) closing: CancellationToken,
    /// Notified when the connection is to be made anew at once.
    pub(super) renewal: Arc<Notify>,
    /// Timeout for the first connection.
    pub(super) patience: Duration,
    /// Whether the peer is on stage, and therefore tries more often. A host always does.
    pub(super) is_on_stage: Arc<AtomicBool>,
}

/// The signal was closed or dropped.
struct Closed;

impl Upkeep {
    /// Runs until the signal is closed or has finally failed.
    pub(super) async fn run(self) {
        let Err(Closed) = self.keep_up().await;
        self.send_queue.end();
    }

    async fn keep_up(&self) -> Result<Infallible, Closed> {
        let started = Instant::now();
        let mut backoff = Backoff::default();
        let mut been_up = false;
        let mut tries = 0_u32;
        let mut last = None;
        loop {
            tries = tries.saturating_add(1);
            let left = self.patience.saturating_sub(started.elapsed());
            let try_max = if been_up { TRY_MAX } else { TRY_MAX.min(left.max(TRY_MIN)) };
            // an attempt that is cut short says nothing
            let before = last.take().filter(|_| try_max < TRY_MAX);
            let silent = || before.unwrap_or(Outage::Silent(try_max));
            let joined = async { timeout(try_max, self.dial.join()).await.unwrap_or_else(|_| Err(silent())) };
            let why = match self.unless_renewed(joined).await?.unwrap_or(Err(Outage::Renewed)) {
                Ok(joined) => {
                    been_up = true;
                    if let Some(unix_s) = joined.unix_s {
                        self.tell(SignalEvent::Clock { unix_s }).await?;
                    }
                    self.tell(SignalEvent::Up).await?;
                    let up = Instant::now();
                    // a conversation that is closed still sends what waits
                    let why = tokio::select! {
                        biased;
                        () = self.renewal.notified() => Outage::Renewed,
                        why = self.converse(joined) => why?,
                    };
                    if up.elapsed() >= STEADY {
                        backoff.reset();
                    }
                    why
                }
                Err(why) => why,
            };
            debug!(url = self.dial.url, %why, tries, "the rendezvous is not connected");
            let is_unknown = matches!(why, Outage::Refused(Refusal::UnknownRoom | Refusal::NotYet));
            let opens = |claim: &mut Claim| !std::mem::replace(&mut claim.is_host, true);
            if is_unknown && self.dial.root.is_some() && self.claim.send_if_modified(opens) {
                continue; // no member has stayed there: the host opens the room
            }
            if let Outage::Refused(refusal) = why
                && refusal.is_final(been_up, tries)
            {
                return self.end(SignalError::Refused(refusal)).await;
            }
            let is_urgent = self.dial.root.is_some() || self.is_on_stage.load(Ordering::Relaxed);
            let retry_in = match why {
                Outage::Renewed => Duration::ZERO,
                _ => backoff.wait(random(), is_urgent),
            };
            // a certificate stays what it is
            let is_final =
                matches!(why, Outage::Untrusted(_)) || started.elapsed() + retry_in >= self.patience;
            if !been_up && is_final {
                let url = self.dial.url.clone();
                return self
                    .end(match why {
                        Outage::Refused(refusal) => SignalError::Refused(refusal),
                        last => SignalError::Unreachable { url, tries, last },
                    })
                    .await;
            }
            last = Some(why.clone());
            self.tell(SignalEvent::Down { why, retry_in }).await?;
            if retry_in.is_zero() || self.unless_renewed(sleep(retry_in)).await?.is_none() {
                backoff.reset();
            }
        }
    }

    /// Returns what the future does, or `None` if a renewal is asked for before.
    async fn unless_renewed<T>(&self, future: impl Future<Output = T>) -> Result<Option<T>, Closed> {
        let either = async {
            tokio::select! {
                biased;
                () = self.renewal.notified() => None,
                done = future => Some(done),
            }
        };
        self.unless_closed(either).await
    }

    async fn unless_closed<T>(&self, future: impl Future<Output = T>) -> Result<T, Closed> {
        self.closing.run_until_cancelled(future).await.ok_or(Closed)
    }

    async fn tell(&self, event: SignalEvent) -> Result<(), Closed> {
        self.unless_closed(self.events.send(event)).await?.map_err(|_| Closed)
    }

    async fn end<T>(&self, error: SignalError) -> Result<T, Closed> {
        self.send_queue.end();
        self.tell(SignalEvent::Ended(error)).await?;
        Err(Closed)
    }

    /// Carries envelopes in both directions until the connection breaks. When the signal is closed, queued
    /// envelopes are still sent.
    async fn converse(&self, joined: Joined) -> Result<Outage, Closed> {
        let Joined { mut socket, silence_max, nonce, .. } = joined;
        let pinged = Notify::new();
        let (sink, stream) = (&mut socket).split();
        let conversation = async {
            // two halves in one task, so that a blocked direction does not stop the other
            tokio::select! {
                outage = self.read(stream, &pinged, silence_max) => outage,
                outage = self.write(sink, &pinged, &nonce) => outage,
            }
        };
        let ended = self.unless_closed(conversation).await.and_then(|ended| ended);
        if ended.is_err() {
            let flushing = async {
                while let Some((to, envelope)) = self.send_queue.pop(Instant::now()) {
                    socket.feed(carry(to, &envelope)).await?;
                }
                socket.flush().await
            };
            let _ = timeout(FLUSH_MAX, flushing).await;
            socket::part(socket, None, CloseCode::Normal, "").await;
        }
        ended
    }

    async fn read(
        &self,
        mut stream: SplitStream<&mut WebSocketStream<Box<dyn Io>>>,
        pinged: &Notify,
        silence_max: Duration,
    ) -> Result<Outage, Closed> {
        loop {
            let Ok(item) = timeout(silence_max, stream.next()).await else {
                return Ok(Outage::Silent(silence_max));
            };
            let frame = match heard(item) {
                Heard::Frame(frame) => frame,
                Heard::Life => continue,
                other => return Ok(outage(other)),
            };
            match FromRendezvous::from_bytes(&frame) {
                Ok(FromRendezvous::Deliver { from, envelope }) => {
                    let bytes = Bytes::copy_from_slice(envelope);
                    self.tell(SignalEvent::Envelope { from, bytes }).await?;
                }
                Ok(FromRendezvous::Undeliverable { to }) => {
                    self.tell(SignalEvent::Undeliverable { to }).await?;
                }
                Ok(FromRendezvous::Clock { unix_s }) => self.tell(SignalEvent::Clock { unix_s }).await?,
                Ok(FromRendezvous::Ping) => pinged.notify_one(),
                Ok(FromRendezvous::Refused(refusal)) => return Ok(Outage::Refused(refusal)),
                Ok(FromRendezvous::Challenge { .. } | FromRendezvous::Welcome { .. }) => {
                    return Ok(Outage::Protocol("a frame out of turn".to_owned()));
                }
                Err(FrameError::Unknown(_)) => {}
                Err(error) => return Ok(Outage::Protocol(error.to_string())),
            }
        }
    }

    async fn write(
        &self,
        mut sink: SplitSink<&mut WebSocketStream<Box<dyn Io>>, Message>,
        pinged: &Notify,
        nonce: &[u8; 32],
    ) -> Result<Outage, Closed> {
        // what changes while the peer connects is told twice
        let mut claim = self.dial.claim.clone();
        claim.mark_unchanged();
        loop {
            let message = match self.send_queue.pop(Instant::now()) {
                Some((to, envelope)) => carry(to, &envelope),
                None => tokio::select! {
                    () = self.send_queue.filled() => continue,
                    () = pinged.notified() => Message::Binary(FromPeer::Pong.to_bytes()),
                    Ok(()) = claim.changed() => {
                        claim.mark_unchanged();
                        let Some(proof) = self.dial.host_proof(nonce) else { continue };
                        Message::Binary(FromPeer::Claim(Box::new(proof)).to_bytes())
                    }
                },
            };
            if let Err(error) = sink.send(message).await {
                return Ok(outage(trouble(&error)));
            }
        }
    }
}

fn carry(to: Address, envelope: &[u8]) -> Message {
    Message::Binary(FromPeer::Send { to, envelope }.to_bytes())
}

/// Random number for jitter only; without a source of randomness the jitter is lost.
fn random() -> u32 {
    getrandom::u32().unwrap_or(u32::MAX)
}
