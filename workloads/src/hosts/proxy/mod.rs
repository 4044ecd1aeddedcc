//! The driver's links: one TCP proxy for each directed link of the cluster, so that faults of the
//! network need no privilege.
//!
//! A *link* is who dials whom; a *flow* is who is heard by whom. TCP carries bytes both ways, so a
//! flow A->B is the forward half of the link A->B and the backward half of the link B->A: a cut
//! A->B holds the bytes that flow from A to B on connections dialled by either. What is cut is held
//! and flows on after the heal, as a network that comes back does; when the driver dies, its links
//! do too.

mod connection;
mod ping;
mod shape;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use dynamo_protocol::NodeId;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use ping::{Observed, Ping, Way};
pub use shape::Shape;

pub(crate) use connection::Connection;
pub(crate) use ping::{least_sent, round_trip};

use connection::Traffic;

/// An end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum End {
    /// The clients, all together.
    Clients,
    /// A node.
    Node(NodeId),
}

/// From one end to another: of a link, who dials and who listens; of a flow, who is heard by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pair {
    /// Who dials or speaks.
    pub from: End,
    /// Who listens.
    pub to: End,
}

/// Names one fault among those in force.
pub type FaultId = u64;

/// All links of a cluster.
#[derive(Debug)]
pub struct Net {
    links: BTreeMap<Pair, Link>,
    flows: BTreeMap<Pair, watch::Sender<Shape>>,
    upstream: BTreeMap<NodeId, watch::Sender<Option<SocketAddr>>>,
    faults: Mutex<BTreeMap<FaultId, Vec<(Pair, Shape)>>>,
    /// Dropped with the net, and every link with it.
    _acceptors: JoinSet<()>,
}

#[derive(Debug)]
struct Link {
    address: SocketAddr,
    traffic: Arc<Connections>,
    /// How many bytes were changed on it.
    changed: Arc<AtomicU64>,
}

/// The open connections of a link, by the dialler's address.
type Connections = Mutex<HashMap<SocketAddr, Arc<Traffic>>>;

impl Pair {
    /// From one node to another.
    #[must_use]
    pub fn nodes(from: NodeId, to: NodeId) -> Self {
        Self { from: End::Node(from), to: End::Node(to) }
    }

    /// The other way round.
    #[must_use]
    pub fn back(self) -> Self {
        Self { from: self.to, to: self.from }
    }
}

impl Net {
    /// Listens for every directed link among `nodes` and from the clients to each.
    ///
    /// # Errors
    /// If a port cannot be had.
    pub async fn open(nodes: &[NodeId], seed: u64) -> io::Result<Self> {
        let mut net = Self::closed(nodes);
        let ends = || nodes.iter().map(|node| End::Node(*node));
        for node in nodes {
            for from in ends().chain([End::Clients]).filter(|from| *from != End::Node(*node)) {
                net.listen(from, *node, seed).await?;
            }
        }
        Ok(net)
    }

    /// Listens for the clients alone, where the links among `nodes` are not the driver's. Faults of
    /// those are kept, so that [`Self::shape`] tells of them too, and are for others to carry out.
    ///
    /// # Errors
    /// If a port cannot be had.
    pub async fn for_clients(nodes: &[NodeId], seed: u64) -> io::Result<Self> {
        let mut net = Self::closed(nodes);
        for node in nodes {
            net.listen(End::Clients, *node, seed).await?;
        }
        Ok(net)
    }

    fn closed(nodes: &[NodeId]) -> Self {
        let mut net = Self {
            links: BTreeMap::new(),
            flows: BTreeMap::new(),
            upstream: nodes.iter().map(|node| (*node, watch::Sender::new(None))).collect(),
            faults: Mutex::default(),
            _acceptors: JoinSet::new(),
        };
        let ends = || nodes.iter().map(|node| End::Node(*node));
        for (to, from) in ends().flat_map(|to| ends().chain([End::Clients]).map(move |f| (to, f))) {
            if from != to {
                for pair in [Pair { from, to }, Pair { from: to, to: from }] {
                    net.flows.entry(pair).or_insert_with(|| watch::Sender::new(Shape::default()));
                }
            }
        }
        net
    }

    async fn listen(&mut self, from: End, to: NodeId, seed: u64) -> io::Result<()> {
        let pair = Pair { from, to: End::Node(to) };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (traffic, changed) = (Arc::default(), Arc::default());
        let link = Link { address: listener.local_addr()?, traffic, changed };
        let acceptor = Acceptor {
            listener,
            upstream: self.upstream[&to].subscribe(),
            forward: self.flows[&pair].subscribe(),
            backward: self.flows[&pair.back()].subscribe(),
            traffic: link.traffic.clone(),
            changed: link.changed.clone(),
            seed,
            // Two streams of jitter a link, one each way.
            stream: 2 * u32::try_from(self.links.len()).unwrap_or(0),
        };
        self._acceptors.spawn(acceptor.run());
        self.links.insert(pair, link);
        Ok(())
    }

    /// Where `from` dials to reach `to`.
    ///
    /// # Panics
    /// If there is no such link.
    #[must_use]
    pub fn address(&self, from: End, to: NodeId) -> SocketAddr {
        self.links[&Pair { from, to: End::Node(to) }].address
    }

    /// Where `node` really listens; nowhere, while it is down.
    pub fn set_upstream(&self, node: NodeId, address: Option<SocketAddr>) {
        if let Some(upstream) = self.upstream.get(&node) {
            upstream.send_replace(address);
        }
    }

    /// Puts a fault in force: each flow is shaped by all faults on it together.
    pub fn install(&self, fault: FaultId, shapes: Vec<(Pair, Shape)>) {
        let mut faults = self.faults();
        faults.insert(fault, shapes);
        self.apply(&faults);
    }

    /// Takes a fault away. Nothing happens if it is not in force.
    pub fn heal(&self, fault: FaultId) {
        let mut faults = self.faults();
        faults.remove(&fault);
        self.apply(&faults);
    }

    /// Takes all faults away.
    pub fn heal_all(&self) {
        let mut faults = self.faults();
        faults.clear();
        self.apply(&faults);
    }

    /// What is done to a flow now.
    #[must_use]
    pub fn shape(&self, flow: Pair) -> Shape {
        self.flows.get(&flow).map(|shape| *shape.borrow()).unwrap_or_default()
    }

    /// How many bytes were changed so far on connections that this node dialled.
    #[must_use]
    pub fn changed(&self, node: NodeId) -> u64 {
        let dialled = self.links.iter().filter(|(pair, _)| pair.from == End::Node(node));
        dialled.map(|(_, link)| link.changed.load(Ordering::Relaxed)).sum()
    }

    /// The links between nodes.
    pub fn peer_links(&self) -> impl Iterator<Item = (NodeId, NodeId)> + '_ {
        self.links.keys().filter_map(|pair| match (pair.from, pair.to) {
            (End::Node(from), End::Node(to)) => Some((from, to)),
            _ => None,
        })
    }

    fn faults(&self) -> MutexGuard<'_, BTreeMap<FaultId, Vec<(Pair, Shape)>>> {
        self.faults.lock().expect("no one panics with the lock held")
    }

    fn apply(&self, faults: &BTreeMap<FaultId, Vec<(Pair, Shape)>>) {
        for (flow, sender) in &self.flows {
            let on_it = faults.values().flatten().filter(|(pair, _)| pair == flow);
            let shape = on_it.fold(Shape::default(), |sum, (_, shape)| sum.and(*shape));
            sender.send_if_modified(|now| std::mem::replace(now, shape) != shape);
        }
    }
}

/// Takes the connections of one link.
struct Acceptor {
    listener: TcpListener,
    upstream: watch::Receiver<Option<SocketAddr>>,
    forward: watch::Receiver<Shape>,
    backward: watch::Receiver<Shape>,
    traffic: Arc<Connections>,
    changed: Arc<AtomicU64>,
    seed: u64,
    stream: u32,
}

impl Acceptor {
    async fn run(self) {
        // Dropped with the acceptor: no connection outlives its link.
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => {
                    // Out of descriptors, or the dialler is gone again: the next one may do better.
                    if let Ok((dialled, peer)) = accepted {
                        connections.spawn(self.serve(dialled, peer));
                    } else {
                        tokio::task::yield_now().await;
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }

    fn serve(&self, dialled: TcpStream, peer: SocketAddr) -> impl Future<Output = ()> + use<> {
        let traffic = Arc::new(Traffic::default());
        let connection = Connection {
            forward: self.forward.clone(),
            backward: self.backward.clone(),
            traffic: traffic.clone(),
            changed: self.changed.clone(),
            seed: self.seed,
            stream: self.stream,
        };
        let (upstream, open) = (*self.upstream.borrow(), self.traffic.clone());
        async move {
            lock(&open).insert(peer, traffic);
            connection.run(dialled, upstream).await;
            lock(&open).remove(&peer);
        }
    }
}

fn lock(connections: &Connections) -> MutexGuard<'_, HashMap<SocketAddr, Arc<Traffic>>> {
    connections.lock().expect("no one panics with the lock held")
}

#[cfg(test)]
mod tests;
