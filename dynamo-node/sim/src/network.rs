//! Links: when what is sent arrives, and whether.

use dynamo_protocol::NodeId;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::host::index;

/// How all links behave, unless a fault makes one worse. Times are microseconds, shares are of a
/// million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The least time a message takes.
    pub latency: u64,
    /// What chance adds to it at most.
    pub jitter: u64,
    /// Messages that never arrive.
    pub loss: u32,
    /// Messages that arrive twice.
    pub duplicate: u32,
    /// Messages that others may overtake, by as much as [`Network::late`].
    pub reorder: u32,
    /// What chance adds to a message that others may overtake.
    pub late: u64,
    /// A cut link holds what is sent, as a stream does, and does not lose it.
    pub cut_holds: bool,
    /// Peers of a process that ends are told that its links broke.
    pub tells: bool,
}

/// The most that what an ended connection still carries waits for its next try, in microseconds: the first
/// retransmission timeout of TCP on Linux.
const RESENT: u64 = 200_000;

/// What a fault adds to one directed link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Microseconds, always.
    pub delay: u64,
    /// Microseconds, at most.
    pub jitter: u64,
    /// Of a million messages so many are lost.
    pub loss: u32,
    /// So many arrive twice.
    pub duplicate: u32,
    /// So many may be overtaken by others, by as much as [`LATE`] at least.
    pub reorder: u32,
}

/// What chance adds to a message that a fault lets others overtake or that arrives again, in microseconds,
/// where the network has nothing of the kind.
pub const LATE: u64 = 20_000;

impl Shape {
    /// What both add together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            delay: self.delay + other.delay,
            jitter: self.jitter + other.jitter,
            loss: self.loss + other.loss,
            duplicate: self.duplicate + other.duplicate,
            reorder: self.reorder + other.reorder,
        }
    }

    /// Whether it adds at least as much as `other`, which adds something.
    #[must_use]
    pub fn includes(self, other: Self) -> bool {
        self != Self::default()
            && self.delay >= other.delay
            && self.jitter >= other.jitter
            && self.loss >= other.loss
            && self.duplicate >= other.duplicate
            && self.reorder >= other.reorder
    }
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Lost,
    Arrives(u64),
    Twice(u64, u64),
}

#[derive(Clone, Debug)]
struct Link {
    shape: Shape,
    /// When the last message that keeps the order arrives.
    last: u64,
    /// Messages held by a cut.
    held: Vec<u64>,
    /// How many of them, the first ones, were sent over connections that have ended since.
    abandoned: usize,
}

/// Every directed link.
#[derive(Clone, Debug)]
pub(crate) struct Links {
    pub(crate) network: Network,
    nodes: usize,
    links: Vec<Link>,
}

impl Network {
    /// A quiet local network of streams: ordered, nothing lost.
    #[must_use]
    pub fn quiet() -> Self {
        Self {
            latency: 80,
            jitter: 120,
            loss: 0,
            duplicate: 0,
            reorder: 0,
            late: 0,
            cut_holds: true,
            tells: true,
        }
    }
}

impl Links {
    pub(crate) fn new(network: Network, nodes: u16) -> Self {
        let nodes = usize::from(nodes);
        let link = Link { shape: Shape::default(), last: 0, held: Vec::new(), abandoned: 0 };
        Self { network, nodes, links: vec![link; nodes * nodes] }
    }

    fn link(&mut self, from: NodeId, to: NodeId) -> &mut Link {
        &mut self.links[index(from) * self.nodes + index(to)]
    }

    pub(crate) fn shape(&mut self, from: NodeId, to: NodeId, shape: Shape) {
        self.link(from, to).shape = shape;
    }

    pub(crate) fn shape_of(&self, from: NodeId, to: NodeId) -> Shape {
        self.links[index(from) * self.nodes + index(to)].shape
    }

    /// The process of `node` has ended: what it says next, and what is said to it, goes over connections
    /// made anew, which keep no order with what the old ones still carry.
    pub(crate) fn renew(&mut self, node: NodeId) {
        let (nodes, node) = (self.nodes, index(node));
        for peer in 0..nodes {
            for link in [node * nodes + peer, peer * nodes + node] {
                let link = &mut self.links[link];
                link.last = 0;
                link.abandoned = link.held.len();
            }
        }
    }

    pub(crate) fn hold(&mut self, from: NodeId, to: NodeId, message: u64) {
        self.link(from, to).held.push(message);
    }

    /// What the link held, and how much later than the link is whole each message sets out: those of ended
    /// connections when their timers run out, which may be after what is said over the next ones.
    pub(crate) fn let_go(
        &mut self,
        from: NodeId,
        to: NodeId,
        rng: &mut ChaCha8Rng,
    ) -> Vec<(u64, u64)> {
        let link = self.link(from, to);
        let (held, abandoned) =
            (std::mem::take(&mut link.held), std::mem::take(&mut link.abandoned));
        let lag = |at| if at < abandoned { rng.random_range(0..=RESENT) } else { 0 };
        let lags: Vec<_> = (0..held.len()).map(lag).collect();
        held.into_iter().zip(lags).collect()
    }

    pub(crate) fn fate(
        &mut self,
        now: u64,
        from: NodeId,
        to: NodeId,
        rng: &mut ChaCha8Rng,
    ) -> Fate {
        let network = self.network;
        let link = self.link(from, to);
        let lost = network.loss + link.shape.loss;
        if chance(rng, lost) {
            return Fate::Lost;
        }
        let least = network.latency + link.shape.delay;
        let most = network.jitter + link.shape.jitter;
        let mut at = now + least + rng.random_range(0..=most);
        let Shape { duplicate, reorder, .. } = link.shape;
        let late = if duplicate + reorder > 0 { network.late.max(LATE) } else { network.late };
        if chance(rng, network.reorder + reorder) {
            at += rng.random_range(0..=late);
        } else {
            at = at.max(link.last);
            link.last = at;
        }
        if chance(rng, network.duplicate + duplicate) {
            return Fate::Twice(at, at + rng.random_range(0..=late.max(network.jitter)));
        }
        Fate::Arrives(at)
    }
}

fn chance(rng: &mut ChaCha8Rng, of_a_million: u32) -> bool {
    // No number is drawn where none is needed: it costs, and this is asked for every message.
    of_a_million > 0 && rng.random_range(0..1_000_000) < of_a_million
}
