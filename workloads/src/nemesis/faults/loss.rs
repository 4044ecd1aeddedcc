//! Links of nodes lose some of what goes over them.

use std::sync::Arc;
use std::time::Duration;

use dynamo_node::Hooks;
use dynamo_protocol::NodeId;
use dynamo_sim::network::Shape;
use rand::Rng;
use serde_json::Value;

use super::kind::{Kind, Nature, Whom};
use crate::cluster::Cluster;
use crate::nemesis::draw::Draw;
use crate::nemesis::hooks;
use crate::nemesis::proof::{Site, Unproven};
use crate::plan::{FaultPlan, Plan, Wrong, within};
use crate::simulated::twin::{Drawn, Shaped, Twin};

/// Links of these nodes lose messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The nodes.
    pub nodes: Vec<NodeId>,
    /// Of a million messages so many.
    pub share: u32,
}

impl Kind for Loss {
    const NATURE: Nature = Nature::of_hooks("nodes' link hooks do not send");

    fn bounds(settings: &FaultPlan) -> Result<(), Wrong> {
        within(&["fault.share"], settings.share, 0.001, 0.9)
    }

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
        let hooks = Hooks { lose: self.share, ..Hooks::default() };
        hooks::meddle(site, &self.nodes, &hooks, ("a message was lost", |hooked| hooked.lost)).await
    }

    async fn heal<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        hooks::off(site, &site.cluster.nodes()).await
    }

    fn twin(&self, nodes: &[NodeId]) -> Arc<dyn Twin> {
        let shape = Shape { loss: self.share, ..Shape::default() };
        Shaped::links_of(&self.nodes, nodes, shape)
    }
}

/// As the simulator draws it.
pub(crate) const DRAWN: Drawn = Drawn::new("loss", |luck| {
    let loss = luck.rng.random_range(10_000..600_000);
    Some(Shaped::links_of(&[luck.one], luck.nodes, Shape { loss, ..Shape::default() }))
});
