//! One end of a connection in a simulated world.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Buf;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::network::{Ended, Network};

/// See the [module](self). Dropped, it is closed.
pub(crate) struct Socket {
    network: Network,
    /// What is written here.
    out: u64,
    /// What is read here.
    into: u64,
}

impl Socket {
    pub(super) fn new(network: Network, out: u64, into: u64) -> Self {
        Self { network, out, into }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.network.lane(self.into, |lane| {
            let mut taken = 0;
            while buffer.remaining() > 0
                && let Some(piece) = lane.arrived.front_mut()
            {
                let some = piece.len().min(buffer.remaining());
                buffer.put_slice(&piece[..some]);
                piece.advance(some);
                taken += some;
                if piece.is_empty() {
                    lane.arrived.pop_front();
                }
            }
            if taken > 0 {
                lane.took(taken);
                return Poll::Ready(Ok(()));
            }
            match lane.ended {
                Some(Ended::Closed) => Poll::Ready(Ok(())),
                Some(Ended::Reset) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                None => {
                    lane.reader = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        });
        read.unwrap_or_else(|| Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.network.write(self.out, bytes, context.waker()) {
            Ok(Some(taken)) => Poll::Ready(Ok(taken)),
            Ok(None) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.network.close(self.out);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.network.close(self.out);
        self.network.part(self.into);
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("out", &self.out).field("into", &self.into).finish()
    }
}
