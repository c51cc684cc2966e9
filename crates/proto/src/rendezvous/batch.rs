//! Batches of datagrams, which tunnels over a rendezvous carry: each datagram behind its length (2 bytes, big endian).

use bytes::Bytes;

/// Maximum length of a batch, in bytes. A guess: eleven full datagrams, and 33 ms of 4 Mbit/s.
pub const TUNNEL_BATCH_LEN_MAX: usize = 16 * 1024;
/// Maximum length of a datagram in a batch, in bytes: a packet of Ethernet (RFC 894).
pub const TUNNEL_DATAGRAM_LEN_MAX: usize = 1500;
/// Length of the prefix of each datagram: the datagram's length, big endian.
const PREFIX_LEN: usize = 2;

/// A batch that is being filled: at most [`TUNNEL_BATCH_LEN_MAX`] bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch(Vec<u8>);

/// Reason that a batch rejects a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotBatched {
    /// The datagram doesn't fit any more; it fits an empty batch.
    #[error("the batch is full")]
    Full,
    /// The datagram is empty, or longer than [`TUNNEL_DATAGRAM_LEN_MAX`]; no batch takes it.
    #[error("a batch carries no datagram of {0} bytes")]
    Len(usize),
}

/// The bytes are no batch: a length is zero, too large, or leads past the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the batch of datagrams cannot be read")]
pub struct MalformedBatch;

impl Batch {
    /// Creates an empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Appends a datagram of 1 to [`TUNNEL_DATAGRAM_LEN_MAX`] bytes.
    ///
    /// # Errors
    /// [`NotBatched`]; the batch is unchanged then.
    pub fn push(&mut self, datagram: &[u8]) -> Result<(), NotBatched> {
        let len = datagram.len();
        let prefix = u16::try_from(len).ok().filter(|_| (1..=TUNNEL_DATAGRAM_LEN_MAX).contains(&len));
        let prefix = prefix.ok_or(NotBatched::Len(len))?;
        if self.0.len() + PREFIX_LEN + len > TUNNEL_BATCH_LEN_MAX {
            return Err(NotBatched::Full);
        }
        self.0.extend_from_slice(&prefix.to_be_bytes());
        self.0.extend_from_slice(datagram);
        Ok(())
    }

    /// Returns the length of the batch so far, in bytes, with the prefixes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the batch has no datagram yet. An empty one is not sent.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the batch as it is carried, and begins an empty one.
    pub fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.0).into()
    }
}

/// Reads the datagrams of a batch in order; behind an error nothing follows.
#[derive(Clone, Debug)]
pub struct Datagrams<'a>(&'a [u8]);

/// Returns the datagrams of a batch that has arrived, without copying them.
pub fn datagrams(batch: &[u8]) -> Datagrams<'_> {
    Datagrams(batch)
}

impl<'a> Iterator for Datagrams<'a> {
    type Item = Result<&'a [u8], MalformedBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let first = first(self.0);
        self.0 = first.map_or(&[], |(_, rest)| rest);
        Some(first.map(|(datagram, _)| datagram).ok_or(MalformedBatch))
    }
}

/// Cuts the first datagram off.
fn first(batch: &[u8]) -> Option<(&[u8], &[u8])> {
    let (prefix, rest) = batch.split_first_chunk::<PREFIX_LEN>()?;
    let len = usize::from(u16::from_be_bytes(*prefix));
    if !(1..=TUNNEL_DATAGRAM_LEN_MAX).contains(&len) {
        return None;
    }
    rest.split_at_checked(len)
}

/// Whether the bytes are a batch: at least one datagram, all of them whole, and at most [`TUNNEL_BATCH_LEN_MAX`] bytes.
pub fn is_batch(bytes: &[u8]) -> bool {
    (1..=TUNNEL_BATCH_LEN_MAX).contains(&bytes.len()) && datagrams(bytes).all(|datagram| datagram.is_ok())
}
