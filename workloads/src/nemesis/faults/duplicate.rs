//! Links of nodes carry some of what goes over them twice.

use std::sync::Arc;
use std::time::Duration;

use dynamo_node::Hooks;
use dynamo_protocol::NodeId;
use dynamo_sim::network::Shape;
use serde_json::Value;

use super::kind::{Kind, Nature, Whom};
use crate::cluster::Cluster;
use crate::nemesis::draw::Draw;
use crate::nemesis::hooks;
use crate::nemesis::proof::{Site, Unproven};
use crate::plan::{Plan, Wrong};
use crate::simulated::twin::{Shaped, Twin};

/// Links of these nodes carry messages twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// The nodes.
    pub nodes: Vec<NodeId>,
    /// Of a million messages so many.
    pub share: u32,
}

impl Kind for Duplicate {
    const NATURE: Nature = Nature::of_hooks("nodes' link hooks send again");

    fn check(plan: &Plan) -> Result<(), Wrong> {
        plan.check_targets()
    }

    fn draw(draw: &mut Draw<'_>, at: Duration) -> Option<Self> {
        let nodes = draw.running(at)?;
        Some(Self { nodes, share: draw.plan.fault.of_a_million() })
    }

    fn whom(&self) -> Whom<'_> {
        Whom::Nodes(&self.nodes)
    }

    /// Who ends forgets what it was told to do.
    fn holds(&self) -> &[NodeId] {
        &self.nodes
    }

    /// In force when each of the nodes has counted one at least.
    async fn inject<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        let hooks = Hooks { duplicate: self.share, ..Hooks::default() };
        hooks::meddle(
            site,
            &self.nodes,
            &hooks,
            ("a message was sent twice", |hooked| hooked.duplicated),
        )
        .await
    }

    async fn heal<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        hooks::off(site, &site.cluster.nodes()).await
    }

    fn twin(&self, nodes: &[NodeId]) -> Arc<dyn Twin> {
        let shape = Shape { duplicate: self.share, ..Shape::default() };
        Shaped::links_of(&self.nodes, nodes, shape)
    }
}
