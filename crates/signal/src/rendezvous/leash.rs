//! A limit on the bytes read from a connection before its hello, so that strangers occupy little memory.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Limits the bytes that are read from a stream; past the limit, reads fail with [`io::ErrorKind::FileTooLarge`].
/// Writes pass.
#[derive(Debug)]
pub(super) struct Leash<S> {
    stream: S,
    /// Bytes that may still be read; `None` for any number.
    left: Option<usize>,
}

impl<S> Leash<S> {
    pub(super) fn new(stream: S, len_max: usize) -> Leash<S> {
        Leash { stream, left: Some(len_max) }
    }

    /// Allows that many bytes from now on; `None` for any number.
    pub(super) fn allow(&mut self, len_max: Option<usize>) {
        self.left = len_max;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Leash<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(left) = self.left else { return Pin::new(&mut self.stream).poll_read(context, buffer) };
        if left == 0 {
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(left.min(buffer.remaining())));
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut part))?;
        let read = part.filled().len();
        buffer.advance(read);
        self.left = Some(left - read);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Leash<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn no_more_is_read_than_allowed_until_the_stream_is_let_go() {
        let (mut near, far) = duplex(64);
        let mut leashed = Leash::new(far, 5);
        near.write_all(b"0123456789").await.unwrap();
        let mut read = [0; 10];
        assert_eq!(leashed.read(&mut read).await.unwrap(), 5);
        assert_eq!(leashed.read(&mut read).await.unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        leashed.write_all(b"no").await.unwrap();
        near.read_exact(&mut read[..2]).await.unwrap();
        leashed.allow(Some(2));
        assert_eq!((leashed.read(&mut read).await.unwrap(), read[0]), (2, b'5'));
        leashed.allow(None);
        assert_eq!((leashed.read(&mut read).await.unwrap(), read[0]), (3, b'7'));
    }
}
