//! Fragmentation of control messages, on a channel that keeps order.
//!
//! A piece is one byte (1 when more follow, 0 for the last) and at most 16 KiB less one byte of the message.
//! The pieces of a message are sent without other pieces in between, so they need no number.

use super::MESSAGE_LEN_MAX;

/// Maximum bytes of a piece, its first byte included: the recommended limit without message interleaving (RFC
/// 8831, 6.6), which browsers transfer in one go.
pub const PIECE_LEN_MAX: usize = 16 * 1024;
const LAST: u8 = 0;
const MORE: u8 = 1;

/// Iterator that cuts a message into pieces.
#[derive(Debug)]
pub struct Pieces<'a>(Option<&'a [u8]>);

impl<'a> Pieces<'a> {
    /// Returns the pieces of `message`, in order.
    pub fn of(message: &'a [u8]) -> Pieces<'a> {
        Pieces(Some(message))
    }
}

impl Iterator for Pieces<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let message = self.0?;
        let (now, later) = message.split_at(message.len().min(PIECE_LEN_MAX - 1));
        self.0 = (!later.is_empty()).then_some(later);
        let mut piece = Vec::with_capacity(1 + now.len());
        piece.push(if self.0.is_some() { MORE } else { LAST });
        piece.extend_from_slice(now);
        Some(piece)
    }
}

/// Reassembly error: the joined message would exceed [`MESSAGE_LEN_MAX`], or a piece is empty, too long or of
/// an unknown kind. It is the sender's violation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a control message is damaged or too long")]
pub struct TooLong;

/// Reassembly buffer of one channel.
#[derive(Debug, Default)]
pub struct Reassembly(Vec<u8>);

impl Reassembly {
    /// Adds a piece; returns the message when the piece was the last one.
    ///
    /// # Errors
    /// [`TooLong`]; the buffer is dropped.
    pub fn push(&mut self, piece: &[u8]) -> Result<Option<Vec<u8>>, TooLong> {
        let fits = piece.len() <= PIECE_LEN_MAX && self.0.len() + piece.len() <= MESSAGE_LEN_MAX + 1;
        match piece.split_first() {
            Some((&MORE, bytes)) if fits && !bytes.is_empty() => {
                self.0.extend_from_slice(bytes);
                Ok(None)
            }
            Some((&LAST, bytes)) if fits && !bytes.is_empty() => {
                self.0.extend_from_slice(bytes);
                Ok(Some(std::mem::take(&mut self.0)))
            }
            _ => {
                self.0 = Vec::new();
                Err(TooLong)
            }
        }
    }
}
