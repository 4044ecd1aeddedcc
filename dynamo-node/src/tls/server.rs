//! A connection as a node accepts it: plain, or TLS from its handshake on.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::Accept;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::server::TlsStream;

use super::Tls;

/// What an accepted connection is made of. A handshake goes on as it is read or written: nobody waits for
/// it who accepts the next one.
pub(crate) enum Stream {
    Plain(TcpStream),
    #[cfg(feature = "simulation")]
    Simulated(crate::simulation::Socket),
    Shaking(Box<Accept<TcpStream>>),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Begins the handshake, if there is to be one.
    pub(crate) fn accepted(stream: TcpStream, tls: Option<&Tls>) -> io::Result<Self> {
        let Some(tls) = tls else { return Ok(Self::Plain(stream)) };
        let acceptor = tls.acceptor().map_err(io::Error::other)?;
        Ok(Self::Shaking(Box::new(acceptor.accept(stream))))
    }

    /// Goes on with the handshake; ready with the certificate of the other end in the moment in which it is
    /// done, and with none before or after that, or without TLS.
    pub(crate) fn poll_shaken(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Option<CertificateDer<'static>>>> {
        let Self::Shaking(accept) = self else { return Poll::Ready(Ok(None)) };
        let stream = ready!(Pin::new(accept.as_mut()).poll(context))?;
        let certificates = stream.get_ref().1.peer_certificates();
        let leaf = certificates.and_then(|all| all.first()).map(|leaf| leaf.clone().into_owned());
        let nobody = || io::Error::new(io::ErrorKind::InvalidData, "no certificate was presented");
        let leaf = leaf.ok_or_else(nobody)?;
        *self = Self::Tls(Box::new(stream));
        Poll::Ready(Ok(Some(leaf)))
    }
}

/// Behind the handshake; before it is done there is nothing to read and nobody to write to.
macro_rules! behind {
    ($self:ident, $stream:ident => $then:expr) => {
        match $self.get_mut() {
            Self::Plain($stream) => $then,
            #[cfg(feature = "simulation")]
            Self::Simulated($stream) => $then,
            Self::Tls($stream) => {
                let $stream = $stream.as_mut();
                $then
            }
            Self::Shaking(_) => Poll::Ready(Err(io::Error::other("the handshake is not done"))),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        behind!(self, stream => Pin::new(stream).poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        behind!(self, stream => Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        behind!(self, stream => Pin::new(stream).poll_write_vectored(context, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            #[cfg(feature = "simulation")]
            Self::Simulated(_) => false,
            Self::Tls(stream) => stream.is_write_vectored(),
            // What is not known yet is asked again by nobody: TLS takes both.
            Self::Shaking(_) => true,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        behind!(self, stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            #[cfg(feature = "simulation")]
            Self::Simulated(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
            // Nothing was said: it is closed when this is dropped.
            Self::Shaking(_) => Poll::Ready(Ok(())),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "Plain",
            #[cfg(feature = "simulation")]
            Self::Simulated(_) => "Simulated",
            Self::Shaking(_) => "Shaking",
            Self::Tls(_) => "Tls",
        })
    }
}
