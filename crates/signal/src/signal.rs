//! What every way of signalling has in common: envelopes in, events out, an end.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use plenary_proto::PeerId;
use plenary_proto::seal::ENVELOPE_LEN_MAX;

use crate::wire::{Address, Refusal};

/// Carries sealed envelopes to and from the other peers of one room.
#[async_trait]
pub trait Signal: Send + Sync {
    /// Queues an envelope of at most [`ENVELOPE_LEN_MAX`] bytes; never waits.
    ///
    /// That it was queued does not mean that it arrives: the caller retries what matters.
    ///
    /// # Errors
    /// [`SignalError::TooLong`]; [`SignalError::QueueFull`], try again later; [`SignalError::Ended`].
    fn send(&self, to: Address, envelope: Bytes) -> Result<(), SignalError>;

    /// Waits for the next event; `None` after [`SignalEvent::Ended`] or [`close`](Signal::close). Cancel
    /// safe.
    ///
    /// Events wait in a bounded queue: who doesn't fetch them loses envelopes, and in the end the connection.
    async fn next(&self) -> Option<SignalEvent>;

    /// Sends what is queued, for at most a second, and leaves. Closing twice is fine.
    async fn close(&self);
}

/// What happens on a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignalEvent {
    /// Envelopes flow from now on.
    Up,
    /// They don't, or not yet; it is tried again by itself.
    Down {
        /// What went wrong.
        why: Outage,
        /// How long until the next try.
        retry_in: Duration,
    },
    /// Somebody sent this.
    Envelope {
        /// The sender, as it proved to whoever carried the envelope.
        from: PeerId,
        /// The envelope; whether it is any good, its seal will tell.
        bytes: Bytes,
    },
    /// An envelope could not be delivered: nobody is there, or their queue is full. Retry later.
    Undeliverable {
        /// As it was addressed.
        to: Address,
    },
    /// Nothing more will come, and nothing more can be sent.
    Ended(SignalError),
}

/// Why an envelope is not taken, or a signal has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignalError {
    /// The rendezvous' address can't be used.
    #[error("{url} is not the address of a rendezvous: {why}")]
    BadUrl {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The first connection did not come about in the time that was allowed.
    #[error("{url} could not be reached, tried {tries} times: {last}")]
    Unreachable {
        /// Of the rendezvous.
        url: String,
        /// How often it was tried.
        tries: u32,
        /// What the last try ended with.
        last: Outage,
    },
    /// Refused in a way that trying again won't change.
    #[error("the rendezvous refused: {0}")]
    Refused(Refusal),
    /// So many envelopes wait already that this one was not taken.
    #[error("too many envelopes are waiting to be sent")]
    QueueFull,
    /// The envelope is longer than [`ENVELOPE_LEN_MAX`].
    #[error("an envelope of {len} bytes is too long: at most {ENVELOPE_LEN_MAX} are carried")]
    TooLong {
        /// Its length.
        len: usize,
    },
    /// The signal was closed, or has said [`SignalEvent::Ended`].
    #[error("signalling has ended")]
    Ended,
}

/// What interrupted a connection, or kept it from coming about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Outage {
    /// The name can't be resolved, or TCP or TLS failed; as the system says it.
    #[error("{0}")]
    Connect(String),
    /// There is a web server, but it did not open a websocket.
    #[error("the server answered with HTTP status {0}")]
    Http(u16),
    /// The rendezvous turned this peer away.
    #[error("the rendezvous refused: {0}")]
    Refused(Refusal),
    /// Nothing came, or nothing was taken, for so long.
    #[error("no answer for {0:?}")]
    Silent(Duration),
    /// The connection ended.
    #[error("the connection ended: {0}")]
    Closed(String),
    /// What came is not what a rendezvous says.
    #[error("the server does not speak the rendezvous protocol: {0}")]
    Protocol(String),
}

/// Checks an envelope's length.
pub(crate) fn check_len(envelope: &Bytes) -> Result<(), SignalError> {
    match envelope.len() {
        len if len > ENVELOPE_LEN_MAX => Err(SignalError::TooLong { len }),
        _ => Ok(()),
    }
}
