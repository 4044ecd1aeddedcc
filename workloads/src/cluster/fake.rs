//! A cluster of nothing, for tests: it does what it is told, or only says so.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dynamo_protocol::NodeId;

use super::{Cluster, ClusterError, Life, Status};
use crate::hosts::disk::Damage;
use crate::hosts::proxy::{End, FaultId, Observed, Pair, Ping, Shape, Way};

/// See the module.
pub(crate) struct FakeCluster {
    nodes: Vec<NodeId>,
    /// Every order is answered with "done", and nothing is.
    deaf: bool,
    state: Mutex<BTreeMap<NodeId, FakeNode>>,
    shapes: Mutex<BTreeMap<FaultId, Vec<(Pair, Shape)>>>,
    /// What is done to a disk goes unnoticed.
    blind: bool,
    /// How often nodes were asked for their status.
    asked: AtomicU64,
}

#[derive(Clone, Debug)]
pub(crate) struct FakeNode {
    life: Life,
    identity: u64,
    incarnation: u64,
    /// Whom it suspects, and how often it has begun to.
    pub(crate) suspected: Vec<NodeId>,
    pub(crate) suspicions: u64,
    pub(crate) hints: u64,
    /// How often peers told it that its disk was rolled back.
    pub(crate) rolled_back: u64,
    /// Nobody ever reaches it again.
    pub(crate) lost: bool,
}

impl FakeCluster {
    /// So many nodes that run.
    pub(crate) fn new(nodes: u16, deaf: bool) -> Self {
        let nodes: Vec<_> = (1..=nodes).map(NodeId).collect();
        let fresh = |id: NodeId| {
            let pid = u32::from(id.0);
            let node = FakeNode {
                life: Life::Runs(pid),
                identity: 1,
                incarnation: 1,
                suspected: Vec::new(),
                suspicions: 0,
                hints: 0,
                rolled_back: 0,
                lost: false,
            };
            (id, node)
        };
        let state = nodes.iter().copied().map(fresh).collect();
        let (shapes, asked) = (Mutex::default(), AtomicU64::default());
        Self { nodes, deaf, state: Mutex::new(state), shapes, blind: false, asked }
    }

    /// The same, of nodes that do not notice what is done to their disks.
    pub(crate) fn blind(nodes: u16) -> Self {
        Self { blind: true, ..Self::new(nodes, false) }
    }

    fn order(&self, node: NodeId, change: impl FnOnce(&mut FakeNode)) -> Result<(), ClusterError> {
        if !self.deaf {
            change(self.state.lock().unwrap().get_mut(&node).unwrap());
        }
        Ok(())
    }

    /// Changes what a node says of itself.
    pub(crate) fn set(&self, node: NodeId, change: impl FnOnce(&mut FakeNode)) {
        change(self.state.lock().unwrap().get_mut(&node).unwrap());
    }

    fn node(&self, node: NodeId) -> FakeNode {
        self.state.lock().unwrap()[&node].clone()
    }
}

impl Cluster for FakeCluster {
    fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    fn life(&self, node: NodeId) -> Life {
        self.node(node).life
    }

    fn is_lost(&self, node: NodeId) -> bool {
        self.node(node).lost
    }

    async fn start(&self, node: NodeId) -> Result<(), ClusterError> {
        self.order(node, |state| {
            state.life = Life::Runs(u32::from(node.0) + 100);
            state.incarnation += 1;
        })
    }

    async fn kill(&self, node: NodeId) -> Result<(), ClusterError> {
        self.order(node, |state| state.life = Life::Gone)
    }

    async fn pause(&self, node: NodeId) -> Result<(), ClusterError> {
        self.order(node, |state| state.life = Life::Stopped(u32::from(node.0)))
    }

    async fn resume(&self, node: NodeId) -> Result<(), ClusterError> {
        self.order(node, |state| state.life = Life::Runs(u32::from(node.0)))
    }

    async fn wipe(&self, node: NodeId) -> Result<(), ClusterError> {
        self.order(node, |state| state.identity += u64::from(!self.blind))
    }

    async fn damage(&self, node: NodeId, damage: Damage) -> Result<String, ClusterError> {
        let is_noticed = !self.blind && damage != Damage::Keep;
        self.order(node, |state| state.identity += u64::from(is_noticed))?;
        Ok(format!("{damage:?}"))
    }

    async fn shape(&self, fault: FaultId, shapes: Vec<(Pair, Shape)>) -> Result<(), ClusterError> {
        self.shapes.lock().unwrap().insert(fault, shapes);
        Ok(())
    }

    async fn unshape(&self, fault: FaultId) -> Result<(), ClusterError> {
        self.shapes.lock().unwrap().remove(&fault);
        Ok(())
    }

    fn shaped(&self, flow: Pair) -> Shape {
        let shapes = self.shapes.lock().unwrap();
        let on_it = shapes.values().flatten().filter(|(pair, _)| *pair == flow);
        on_it.fold(Shape::PASS, |sum, (_, shape)| sum.and(*shape))
    }

    async fn ping(&self, ping: Ping) -> Observed {
        let there = Pair { from: ping.from, to: End::Node(ping.to) };
        let effect = |flow| if self.deaf { Shape::PASS } else { self.shaped(flow) };
        let (there, back) = (effect(there), effect(there.back()));
        let broken = there.cut || back.cut || there.reset || back.reset;
        let way = |held| if held { Way::Held } else { Way::Passed };
        let took = there.holds_up(ping.weight) + back.delay + Duration::from_millis(1);
        Observed { answered: (!broken).then_some(took), there: way(there.cut), back: way(back.cut) }
    }

    async fn status(&self, node: NodeId) -> Result<Status, ClusterError> {
        let state = self.node(node);
        match state.life {
            Life::Runs(_) => Ok(Status {
                identity: state.identity.to_string(),
                incarnation: state.incarnation,
                proven: true,
                hints_held: state.hints,
                open_operations: 0,
                suspected: state.suspected,
                counters: BTreeMap::from([
                    ("suspicions".to_owned(), state.suspicions),
                    ("rolled_back".to_owned(), state.rolled_back),
                    // There is always work for it.
                    ("acknowledged".to_owned(), self.asked.fetch_add(50, Ordering::Relaxed)),
                ]),
            }),
            Life::Stopped(_) | Life::Gone => {
                Err(ClusterError::Node { node, reason: "it does not answer".to_owned() })
            }
        }
    }
}
