//! Connections from their acceptance to their end: how many there may be, and how soon each has to say
//! what it is.
//!
//! A connection begins as a newcomer. Its first request makes it a client's or an operator's, its first
//! hello that is accepted makes it a peer's; one that says nothing is closed.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use dynamo_protocol::NodeId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tokio_stream::{Stream, StreamExt};
use tonic::Status;
use tonic::transport::server::Connected;

use crate::telemetry::{LinkCounters, add};
use crate::tls::{Role, Stream as Wire, Tls, Who};

/// How many connections may be newcomers at a time. Each holds a window and a frame (`http2`), 128 KiB at
/// most: 16 MiB together.
const NEWCOMERS: usize = 128;
/// How many may be clients'. With the newcomers, the operators and a hundred peers below 1,024, the open
/// files a process has unless its host says otherwise; one session carries any number of requests.
const CLIENTS: usize = 512;
/// How many may be operators': few ask, and clients must not keep them out.
const OPERATORS: usize = 32;
/// How long a newcomer has for its first request. A dial and a hello over the slowest link that a cluster
/// can work on take a second or two.
const NEWCOMER_TIME: Duration = Duration::from_secs(10);

/// What a connection turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guise {
    Client,
    Operator,
    Peer,
}

/// Who is connected.
#[derive(Debug)]
pub(crate) struct Guests {
    newcomers: Arc<Semaphore>,
    clients: Arc<Semaphore>,
    operators: Arc<Semaphore>,
    newcomer_time: Duration,
    /// Without, whoever connects is believed to be whoever it says.
    tls: Option<Arc<Tls>>,
}

/// One connection's place among them. Every request of the connection carries it.
#[derive(Clone, Debug)]
pub(crate) struct Guest(Arc<Place>);

#[derive(Debug)]
struct Place {
    guests: Arc<Guests>,
    guise: OnceLock<Guise>,
    /// Over TLS, whom its certificate names: nobody until that has shown.
    who: OnceLock<Who>,
    /// What it counts against; nothing if it is a peer's.
    permit: Mutex<Option<OwnedSemaphorePermit>>,
}

/// A connection that reads nothing more when it has been a newcomer for too long.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Wire,
    guest: Guest,
    /// While it is a newcomer.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Guests {
    pub(crate) fn new(tls: Option<Arc<Tls>>) -> Arc<Self> {
        Self::with([NEWCOMERS, CLIENTS, OPERATORS], NEWCOMER_TIME, tls)
    }

    fn with(
        [newcomers, clients, operators]: [usize; 3],
        newcomer_time: Duration,
        tls: Option<Arc<Tls>>,
    ) -> Arc<Self> {
        let seats = |count| Arc::new(Semaphore::new(count));
        Arc::new(Self {
            newcomers: seats(newcomers),
            clients: seats(clients),
            operators: seats(operators),
            newcomer_time,
            tls,
        })
    }

    /// The connections that a listener accepts and that there is room for. Others are closed at once.
    pub(crate) fn incoming<S: Accepted>(
        self: Arc<Self>,
        accepted: impl Stream<Item = io::Result<S>>,
        counters: Arc<LinkCounters>,
    ) -> impl Stream<Item = io::Result<Connection>> {
        accepted.filter_map(move |accepted| {
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) => return Some(Err(error)),
            };
            let Some(connection) = self.receive(stream) else {
                add(&counters.turned_away, 1);
                return None;
            };
            Some(Ok(connection))
        })
    }

    fn receive(self: &Arc<Self>, stream: impl Accepted) -> Option<Connection> {
        let permit = Arc::clone(&self.newcomers).try_acquire_owned().ok()?;
        let wire = stream.begin(self.tls.as_deref());
        let stream = wire.map_err(|error| tracing::error!(%error, "connection refused")).ok()?;
        let place = Place {
            guests: Arc::clone(self),
            guise: OnceLock::new(),
            who: OnceLock::new(),
            permit: Mutex::new(Some(permit)),
        };
        let alarm = Some(Box::pin(tokio::time::sleep(self.newcomer_time)));
        Some(Connection { stream, guest: Guest(Arc::new(place)), alarm })
    }
}

/// What a listener accepts.
pub(crate) trait Accepted {
    /// Makes a connection of it.
    fn begin(self, tls: Option<&Tls>) -> io::Result<Wire>;
}

impl Accepted for TcpStream {
    fn begin(self, tls: Option<&Tls>) -> io::Result<Wire> {
        // What is sent is small and waited for; a connection that takes no such wish is none.
        self.set_nodelay(true)?;
        Wire::accepted(self, tls)
    }
}

#[cfg(feature = "simulation")]
impl Accepted for crate::simulation::Socket {
    fn begin(self, _: Option<&Tls>) -> io::Result<Wire> {
        Ok(Wire::Simulated(self))
    }
}

impl Guest {
    /// A request shows what the connection is. What it was first, it stays.
    ///
    /// # Errors
    /// If there are too many of its kind.
    pub(crate) fn shows(&self, guise: Guise) -> Result<(), Status> {
        let place = &*self.0;
        let mut permit = place.permit.lock().unwrap_or_else(PoisonError::into_inner);
        if place.guise.get().is_some() {
            return Ok(());
        }
        let (seats, what) = match guise {
            Guise::Client => (&place.guests.clients, "clients"),
            Guise::Operator => (&place.guests.operators, "operators"),
            Guise::Peer => {
                *permit = None;
                let _ = place.guise.set(guise);
                return Ok(());
            }
        };
        let Ok(seat) = Arc::clone(seats).try_acquire_owned() else {
            let why = format!("too many connections of {what}: close some, or ask another node");
            return Err(Status::resource_exhausted(why));
        };
        *permit = Some(seat);
        let _ = place.guise.set(guise);
        Ok(())
    }

    /// Whether its certificate lets it do this.
    ///
    /// # Errors
    /// If it does not.
    pub(crate) fn may(&self, role: Role) -> Result<(), Status> {
        let place = &*self.0;
        let Some(tls) = &place.guests.tls else { return Ok(()) };
        let who = place.who.get().ok_or_else(|| Status::unauthenticated("no certificate"))?;
        let is_so = match role {
            Role::Client => who.is_client(),
            Role::Operator => who.is_operator(),
            Role::Peer(node) => who.is_peer(node),
        };
        let wanted = role.uri(tls.cluster());
        let why = || format!("this is asked by {who}; it takes a certificate that names {wanted}");
        is_so.then_some(()).ok_or_else(|| Status::permission_denied(why()))
    }

    /// Which nodes its certificate names; none without TLS, where it says so itself.
    pub(crate) fn peers(&self) -> Vec<NodeId> {
        self.0.who.get().map(|who| who.peers().collect()).unwrap_or_default()
    }

    fn is_newcomer(&self) -> bool {
        self.0.guise.get().is_none()
    }
}

impl Connection {
    /// Goes on with the handshake, if there is one, and notes who is at the other end when it is done.
    fn poll_shaken(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(leaf) = ready!(self.stream.poll_shaken(context))? else {
            return Poll::Ready(Ok(()));
        };
        let place = &*self.guest.0;
        if let Some(tls) = &place.guests.tls {
            let who = Who::of(&leaf, tls.cluster()).map_err(io::Error::other)?;
            let _ = place.who.set(who);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.guest.is_newcomer() {
            self.alarm = None;
        }
        if let Some(alarm) = &mut self.alarm
            && alarm.as_mut().poll(context).is_ready()
        {
            let why = "no request within the time a newcomer has";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)));
        }
        if let Err(error) = ready!(self.poll_shaken(context)) {
            tracing::warn!(%error, "connection refused");
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_shaken(context))?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_shaken(context))?;
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_shaken(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Connected for Connection {
    type ConnectInfo = Guest;

    fn connect_info(&self) -> Guest {
        self.guest.clone()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn connected(guests: &Arc<Guests>) -> (TcpStream, Option<Connection>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        (dialled, guests.receive(accepted))
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_connection_that_says_nothing_is_closed() {
        let guests = Guests::with([1, 1, 1], Duration::from_millis(1), None);
        let (_dialled, accepted) = connected(&guests).await;
        let error = accepted.unwrap().read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn one_that_has_said_what_it_is_may_be_silent_as_long_as_it_likes() {
        let guests = Guests::with([1, 1, 1], Duration::from_millis(1), None);
        let (dialled, accepted) = connected(&guests).await;
        let mut accepted = accepted.unwrap();
        accepted.guest.shows(Guise::Client).unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        drop(dialled);
        let error = accepted.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "the dialler closed it");
    }

    #[tokio::test]
    async fn newcomers_are_turned_away_when_there_are_too_many() {
        let guests = Guests::with([2, 1, 1], LONG, None);
        let first = connected(&guests).await;
        let (_second, kept) = connected(&guests).await;
        assert!(first.1.is_some() && kept.is_some());
        let (mut dialled, turned_away) = connected(&guests).await;
        assert!(turned_away.is_none());
        assert!(dialled.read_u8().await.is_err(), "it is closed");
        drop(first);
        assert!(connected(&guests).await.1.is_some());
    }

    #[tokio::test]
    async fn clients_crowd_out_neither_peers_nor_operators_nor_newcomers() {
        let guests = Guests::with([1, 1, 1], LONG, None);
        let mut there = Vec::new();
        for guise in [Guise::Client, Guise::Operator, Guise::Peer, Guise::Peer] {
            let accepted = connected(&guests).await.1.unwrap();
            accepted.guest.shows(guise).unwrap();
            // Whatever it asks next, it has its place.
            accepted.guest.shows(Guise::Client).unwrap();
            there.push(accepted);
        }
        let late = connected(&guests).await.1.unwrap();
        assert_eq!(
            late.guest.shows(Guise::Client).unwrap_err().code(),
            tonic::Code::ResourceExhausted
        );
        there.remove(0);
        late.guest.shows(Guise::Client).unwrap();
    }
}
