//! The redirecting proxy: delays, narrows and changes what flows over the node's links, where the node knows
//! nothing of it.
//!
//! The kernel leads each connection that the node dials to a peer to our listener instead, which asks where
//! it was meant to go, dials there under a mark that the kernel lets pass, and shapes each direction
//! by itself. A flow A->B is thus shaped at A on connections that A dialled and at B on those that B dialled.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dynamo_protocol::NodeId;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::nft::{self, MARK};
use super::proto::Peer;
use crate::hosts::proxy::{Connection, Shape};

/// A peer that does not answer the dial for so long is given up, as a kernel would in the end.
const DIAL: Duration = Duration::from_secs(20);

/// The proxy of one host.
pub(super) struct Redirect {
    flows: Arc<BTreeMap<NodeId, Flows>>,
    /// How many bytes were changed.
    changed: Arc<AtomicU64>,
    /// Dropped with the proxy, and every connection with it.
    _acceptor: JoinSet<()>,
}

/// The two directions between this host's node and a peer.
struct Flows {
    at: SocketAddr,
    there: watch::Sender<Shape>,
    back: watch::Sender<Shape>,
}

impl Redirect {
    /// Leads the node's links to `peers` through a proxy, which lets everything pass at first.
    pub(super) async fn open(peers: &[Peer]) -> Result<Self, String> {
        let flows = peers.iter().map(|peer| {
            let pass = || watch::Sender::new(Shape::PASS);
            let at = SocketAddr::new(peer.data, peer.port);
            (peer.node, Flows { at, there: pass(), back: pass() })
        });
        let flows: Arc<BTreeMap<_, _>> = Arc::new(flows.collect());
        if let Some(six) = flows.values().find(|flows| flows.at.is_ipv6()) {
            return Err(format!("{}: links over IPv6 cannot be led aside yet", six.at));
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.map_err(|error| format!("proxy: {error}"))?;
        let port = listener.local_addr().map_err(|error| format!("proxy: {error}"))?.port();
        let mut acceptor = JoinSet::new();
        let changed = Arc::default();
        acceptor.spawn(accept(listener, flows.clone(), Arc::clone(&changed)));
        let places: Vec<_> = peers.iter().map(|peer| (peer.data, peer.port)).collect();
        nft::run(&nft::lead_aside(&places, port)).await?;
        Ok(Self { flows, changed, _acceptor: acceptor })
    }

    /// From now on, this is done to what flows to and from a peer.
    pub(super) fn shape(&self, peer: NodeId, there: Shape, back: Shape) {
        let Some(flows) = self.flows.get(&peer) else { return };
        for (flow, shape) in [(&flows.there, there), (&flows.back, back)] {
            flow.send_if_modified(|now| std::mem::replace(now, shape) != shape);
        }
    }

    /// How many bytes were changed so far.
    pub(super) fn changed(&self) -> u64 {
        self.changed.load(Ordering::Relaxed)
    }

    /// Lets the node's next connections go straight again.
    pub(super) async fn close(self) -> Result<(), String> {
        nft::run(&nft::replace(nft::LINKS)).await
    }
}

async fn accept(
    listener: TcpListener,
    flows: Arc<BTreeMap<NodeId, Flows>>,
    changed: Arc<AtomicU64>,
) {
    let mut connections = JoinSet::new();
    let mut count = 0_u32;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Out of descriptors, or the dialler is gone again: the next one may do better.
                let Ok((dialled, _)) = accepted else { tokio::task::yield_now().await; continue };
                // Each connection has jitter of its own, one stream each way.
                count = count.wrapping_add(2);
                connections.spawn(serve(dialled, flows.clone(), count, changed.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(
    dialled: TcpStream,
    flows: Arc<BTreeMap<NodeId, Flows>>,
    stream: u32,
    changed: Arc<AtomicU64>,
) {
    let Some(meant) = original(&dialled) else { return };
    let Some(flows) = flows.values().find(|flows| flows.at == meant) else { return };
    let (there, back) = (flows.there.subscribe(), flows.back.subscribe());
    let connection = Connection::of(there, back, stream, changed);
    connection.carry(dialled, async { timeout(DIAL, dial(meant)).await? }).await;
}

/// Where the node meant its connection to go.
fn original(dialled: &TcpStream) -> Option<SocketAddr> {
    SockRef::from(dialled).original_dst_v4().ok()?.as_socket()
}

async fn dial(to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_mark(MARK)?;
    socket.set_nonblocking(true)?;
    TcpSocket::from_std_stream(socket.into()).connect(to).await
}

/// Whether the kernel leads connections aside: tried, on loopback and for one port nobody has.
pub(super) async fn can_redirect() -> Result<(), String> {
    let failed = |error: io::Error| error.to_string();
    let target = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
    let proxy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(failed)?;
    let meant = target.local_addr().map_err(failed)?;
    let port = proxy.local_addr().map_err(failed)?.port();
    nft::run(&nft::lead_aside(&[(meant.ip(), meant.port())], port)).await?;
    let tried = async {
        let dialled = timeout(DIAL, TcpStream::connect(meant));
        let (dialled, accepted) = tokio::join!(dialled, timeout(DIAL, proxy.accept()));
        dialled.map_err(io::Error::from)??;
        let (accepted, _) = accepted.map_err(io::Error::from)??;
        if original(&accepted) != Some(meant) {
            return Err(io::Error::other("the kernel does not tell where a connection was to go"));
        }
        let marked = timeout(DIAL, dial(meant));
        let (marked, _) = tokio::join!(marked, timeout(DIAL, target.accept()));
        marked.map_err(io::Error::from)?.map(drop)
    };
    let tried = tried.await.map_err(failed);
    nft::run(&nft::replace(nft::LINKS)).await?;
    tried
}
