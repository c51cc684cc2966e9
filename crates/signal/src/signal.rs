//! The signalling interface: envelopes in, events out, and the errors that all implementations share.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use plenary_proto::PeerId;
use plenary_proto::app::Reason;
use plenary_proto::seal::ENVELOPE_LEN_MAX;

use plenary_proto::rendezvous::{Address, Outage, Refusal, TurnAccess};

/// Carries sealed envelopes to and from the other peers of one room.
#[async_trait]
pub trait Signal: Send + Sync {
    /// Queues an envelope of at most [`ENVELOPE_LEN_MAX`] bytes; never waits.
    ///
    /// A queued envelope may still be lost: the caller retries.
    ///
    /// # Errors
    /// [`SignalError::TooLong`]; [`SignalError::QueueFull`], which a later retry may avoid;
    /// [`SignalError::Ended`].
    fn send(&self, to: Address, envelope: Bytes) -> Result<(), SignalError>;

    /// Queues a [batch](plenary_proto::rendezvous::Batch) of datagrams for a member of the room to which no path leads,
    /// behind all envelopes; never waits. Returns whether the batch was queued. A malformed batch is refused, as is any
    /// batch at a full queue (64 batches, 256 KiB) or without a rendezvous that [carries](SignalEvent::Carries)
    /// tunnels.
    ///
    /// Datagrams may be lost on the way, without notice, and arrive in order. The datagrams are sealed by their link.
    fn tunnel(&self, _to: PeerId, _batch: Bytes) -> bool {
        false
    }

    /// Waits for the next event. Returns `None` after [`SignalEvent::Ended`] or [`close`](Signal::close).
    /// Cancel safe.
    ///
    /// Events wait in a bounded queue. A peer that does not fetch them loses envelopes, and finally the
    /// connection.
    async fn next(&self) -> Option<SignalEvent>;

    /// Proves to the rendezvous that this peer is the room's host, now and after each reconnection, if it entered as a
    /// member although it has the root key. Without effect at other peers.
    fn claim(&self) {}

    /// Sets whether this peer is on stage: it then reconnects sooner.
    fn set_on_stage(&self, _is_on_stage: bool) {}

    /// Connects anew at once, without waiting for the next attempt: this machine has stood still, or its network has
    /// changed, so that the connection is no longer what it seems. No effect within the rendezvous's own process.
    fn renew(&self) {}

    /// Sends the queued envelopes, for at most a second, and leaves the room. A second call is allowed.
    async fn close(&self);
}

/// Events of a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignalEvent {
    /// The wall clock of the rendezvous: a first time ahead of [`Opens`](SignalEvent::Opens), later with each ping.
    Clock {
        /// Seconds since 1970.
        unix_s: u64,
    },
    /// A TURN server that this peer may use: a first time ahead of [`Up`](SignalEvent::Up), later with newer
    /// credentials.
    Turn(TurnAccess),
    /// The rendezvous carries datagrams ([`Signal::tunnel`]), from [`Up`](SignalEvent::Up), which follows, until
    /// [`Down`](SignalEvent::Down). Comes anew with each connection.
    Carries,
    /// One envelope for the host may go ahead of [`Up`](SignalEvent::Up).
    Opens,
    /// The connection is up: envelopes are carried from now on.
    Up,
    /// The connection broke or could not be established; the signal retries by itself.
    Down {
        /// Reason for the failure.
        why: Outage,
        /// Time until the next try.
        retry_in: Duration,
    },
    /// An envelope arrived.
    Envelope {
        /// The sender, as authenticated by the carrier.
        from: PeerId,
        /// The sealed envelope, not validated.
        bytes: Bytes,
    },
    /// An envelope could not be delivered: the recipient is absent, or its queue is full. The sender retries
    /// later.
    Undeliverable {
        /// The address of the envelope.
        to: Address,
    },
    /// Datagrams arrived over a tunnel. While many events wait, they are dropped.
    Tunnel {
        /// The sender, as authenticated by the carrier.
        from: PeerId,
        /// A well-formed [batch](plenary_proto::rendezvous::Batch). What its
        /// [datagrams](plenary_proto::rendezvous::datagrams) contain is not validated.
        batch: Bytes,
    },
    /// The signal has ended: no further event follows, and no envelope can be sent.
    Ended(SignalError),
}

/// Reason that an envelope is rejected or a signal has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignalError {
    /// The address of the rendezvous is unusable.
    #[error("{url} is not the address of a rendezvous: {why}")]
    BadUrl {
        /// The address as given.
        url: String,
        /// Reason that it is unusable.
        why: &'static str,
    },
    /// The first connection was not established within the allowed time.
    #[error("{url} could not be reached, tried {tries} times: {last}")]
    Unreachable {
        /// The address of the rendezvous.
        url: String,
        /// Number of tries.
        tries: u32,
        /// Outcome of the last try.
        last: Outage,
    },
    /// The rendezvous refused the peer for a reason that retrying does not change.
    #[error("the rendezvous refused: {0}")]
    Refused(Refusal),
    /// The maximum number of envelopes is queued already; this one was rejected.
    #[error("too many envelopes are waiting to be sent")]
    QueueFull,
    /// The envelope is longer than [`ENVELOPE_LEN_MAX`].
    #[error("an envelope of {len} bytes is too long: at most {ENVELOPE_LEN_MAX} are carried")]
    TooLong {
        /// Length of the envelope, in bytes.
        len: usize,
    },
    /// The signal was closed, or has emitted [`SignalEvent::Ended`].
    #[error("signalling has ended")]
    Ended,
}

impl SignalError {
    /// Returns the reason as others name it; `None` for a wrong call.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            SignalError::Refused(refusal) => Some(refusal.reason()),
            SignalError::Unreachable { last, .. } => Some(last.final_reason()),
            _ => None,
        }
    }
}

/// Checks the length of an envelope.
pub(crate) fn check_len(envelope: &Bytes) -> Result<(), SignalError> {
    match envelope.len() {
        len if len > ENVELOPE_LEN_MAX => Err(SignalError::TooLong { len }),
        _ => Ok(()),
    }
}
