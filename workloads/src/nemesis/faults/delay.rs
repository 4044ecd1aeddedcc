//! All links of some nodes are slow and jittery.

use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::NodeId;
use dynamo_sim::network;
use rand::Rng;
use serde_json::Value;

use super::kind::{Kind, Nature, Whom};
use crate::cluster::Cluster;
use crate::hosts::agent::Means;
use crate::hosts::proxy::Shape;
use crate::nemesis::draw::Draw;
use crate::nemesis::links;
use crate::nemesis::proof::{Site, Unproven};
use crate::plan::{FaultPlan, Plan, Span, Wrong, within};
use crate::simulated::twin::{Drawn, Shaped, Twin, micros};

/// Longer than a request's deadline by far, and still at an end before a run gives up its final phase.
const LONGEST: Span = Span::secs(10);

/// All links of these nodes are slow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delay {
    /// The nodes.
    pub nodes: Vec<NodeId>,
    /// By how much, each way.
    pub delay: Duration,
    /// On top, at random.
    pub jitter: Duration,
}

impl Kind for Delay {
    const NATURE: Nature = Nature { silences: false, ..Nature::of_links(Means::Queues) };

    fn bounds(settings: &FaultPlan) -> Result<(), Wrong> {
        within(&["fault.delay"], settings.delay, Span::default(), LONGEST)?;
        within(&["fault.jitter"], settings.jitter, Span::default(), LONGEST)
    }

    fn check(plan: &Plan) -> Result<(), Wrong> {
        plan.check_targets()
    }

    fn draw(draw: &mut Draw<'_>, at: Duration) -> Option<Self> {
        let nodes = draw.target(at)?;
        let settings = &draw.plan.fault;
        Some(Self { nodes, delay: settings.delay.0, jitter: settings.jitter.0 })
    }

    fn aimed_at(&self, node: NodeId) -> Self {
        Self { nodes: vec![node], ..self.clone() }
    }

    fn whom(&self) -> Whom<'_> {
        Whom::Nodes(&self.nodes)
    }

    /// In force when pings over the links take at least the delay, there and back.
    async fn inject<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        let shape = Shape::slow(self.delay, self.jitter);
        links::hold_up(site, &self.nodes, shape, 0, self.delay * 2).await
    }

    async fn heal<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        links::heal(site, &links::of_nodes(site.cluster, &self.nodes)).await
    }

    fn twin(&self, nodes: &[NodeId]) -> Arc<dyn Twin> {
        let (delay, jitter) = (micros(self.delay), micros(self.jitter));
        Shaped::links_of(
            &self.nodes,
            nodes,
            network::Shape { delay, jitter, ..network::Shape::default() },
        )
    }
}

/// As the simulator draws it.
pub(crate) const DRAWN: Drawn = Drawn::new("delay", |luck| {
    let (delay, jitter) =
        (luck.rng.random_range(1_000..300_000), luck.rng.random_range(0..100_000));
    let shape = network::Shape { delay, jitter, ..network::Shape::default() };
    Some(Shaped::links_of(&[luck.one], luck.nodes, shape))
});
