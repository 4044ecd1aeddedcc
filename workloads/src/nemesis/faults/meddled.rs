//! What faults of messages have in common: the hooks of nodes do something to some of what goes over their
//! links.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use dynamo_node::{Hooked, Hooks};
use dynamo_protocol::NodeId;
use dynamo_sim::network::Shape;
use serde_json::Value;

use super::kind::{Kind, Nature, Whom};
use crate::cluster::Cluster;
use crate::nemesis::draw::Draw;
use crate::nemesis::hooks;
use crate::nemesis::proof::{Site, Unproven};
use crate::plan::{FaultPlan, Plan, Wrong};
use crate::simulated::twin::{Shaped, Twin};

/// What becomes of a message. Shares are of a million messages.
pub(crate) trait Meddling: Clone + fmt::Debug + PartialEq + Eq {
    /// How it is done, human-readable.
    const HOW: &'static str;
    /// What is counted then.
    const WHAT: &'static str;

    /// By hooks of real nodes.
    fn hooks(share: u32) -> Hooks;

    /// How often they have done it.
    fn done(hooked: &Hooked) -> u64;

    /// By simulated links.
    fn shape(share: u32) -> Shape;
}

/// Messages from and to these nodes are meddled with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meddled<M> {
    /// The nodes.
    pub nodes: Vec<NodeId>,
    /// Of a million messages so many.
    pub share: u32,
    what: PhantomData<M>,
}

impl<M: Meddling> Kind for Meddled<M> {
    const NATURE: Nature = Nature::of_hooks(M::HOW);

    fn bounds(settings: &FaultPlan) -> Result<(), Wrong> {
        settings.check_share()
    }

    fn check(plan: &Plan) -> Result<(), Wrong> {
        plan.check_targets()
    }

    fn draw(draw: &mut Draw<'_>, at: Duration) -> Option<Self> {
        let (nodes, share) = (draw.running(at)?, draw.plan.fault.of_a_million());
        Some(Self { nodes, share, what: PhantomData })
    }

    fn aimed_at(&self, node: NodeId) -> Self {
        Self { nodes: vec![node], ..self.clone() }
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
        hooks::meddle(site, &self.nodes, &M::hooks(self.share), (M::WHAT, M::done)).await
    }

    async fn heal<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        hooks::off(site, &site.cluster.nodes()).await
    }

    fn twin(&self, nodes: &[NodeId]) -> Arc<dyn Twin> {
        Shaped::links_of(&self.nodes, nodes, M::shape(self.share))
    }
}
