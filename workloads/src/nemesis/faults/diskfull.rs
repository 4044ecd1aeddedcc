//! A disk takes a little more, and then says that it is full. A node that cannot write has to end, and say
//! why.

use std::sync::Arc;
use std::time::Duration;

use dynamo_node::Hooks;
use dynamo_protocol::NodeId;
use dynamo_sim::disk::DiskFault;
use rand::Rng;
use serde_json::Value;

use super::kind::{Kind, Nature, Whom};
use crate::cluster::Cluster;
use crate::nemesis::draw::Draw;
use crate::nemesis::hooks;
use crate::nemesis::proof::{Site, Unproven};
use crate::plan::{FaultName, Plan, Wrong};
use crate::simulated::twin::{Drawn, Each, Twin};

/// The most that a disk takes before it is full, in bytes: what some puts take.
const MOST: u64 = 16 << 10;

/// This disk has so little room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diskfull {
    /// Whose it is.
    pub node: NodeId,
    /// What it still takes, in bytes.
    pub room: u64,
}

impl Kind for Diskfull {
    const NATURE: Nature =
        Nature::of_broken_disks("the node's storage hook refuses what is too much");

    fn check(plan: &Plan) -> Result<(), Wrong> {
        plan.check_files(FaultName::Diskfull)
    }

    fn draw(draw: &mut Draw<'_>, at: Duration) -> Option<Self> {
        let node = draw.process(at)?;
        Some(Self { node, room: draw.rng.random_range(0..MOST) })
    }

    fn aimed_at(&self, node: NodeId) -> Self {
        Self { node, ..self.clone() }
    }

    fn whom(&self) -> Whom<'_> {
        Whom::Nodes(std::slice::from_ref(&self.node))
    }

    async fn inject<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        hooks::broken(site, self.node, Hooks { room: Some(self.room), ..Hooks::default() }).await
    }

    async fn heal<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        hooks::back(site, &[self.node]).await
    }

    fn twin(&self, _nodes: &[NodeId]) -> Arc<dyn Twin> {
        twin(self.node)
    }
}

/// As the simulator draws it.
pub(crate) const DRAWN: Drawn = Drawn::new("diskfull", |luck| Some(twin(luck.one)));

fn twin(node: NodeId) -> Arc<dyn Twin> {
    Arc::new(Each::disk(vec![node], DiskFault::WritesFail(DiskFault::FOR_GOOD)))
}
