//! All connections of some nodes are narrow: few bytes a second.

use std::ops::RangeInclusive;
use std::time::Duration;

use dynamo_protocol::NodeId;
use serde_json::Value;

use super::kind::{Kind, Nature, Whom};
use crate::cluster::Cluster;
use crate::hosts::agent::Means;
use crate::hosts::proxy::{Shape, least_sent};
use crate::nemesis::draw::Draw;
use crate::nemesis::links;
use crate::nemesis::proof::{Site, Unproven};
use crate::plan::{FaultPlan, Plan, Wrong, within};

/// Wider than this, and a narrow link cannot be told from any other.
const RATES: RangeInclusive<u64> = 1 << 10..=256 << 10;
/// What a ping weighs that takes its time on a narrow link: no more than nodes take in for a request.
const HEAVY: usize = 12 << 10;

/// All links of these nodes are narrow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The nodes.
    pub nodes: Vec<NodeId>,
    /// What passes on each connection, each way: bytes a second.
    pub rate: u64,
}

impl Kind for Rate {
    const NATURE: Nature = Nature {
        silences: false,
        unsimulated: Some("the simulator's links have no width"),
        ..Nature::of_links(Means::Proxy)
    };

    fn bounds(settings: &FaultPlan) -> Result<(), Wrong> {
        within(&["fault.rate"], settings.rate, *RATES.start(), *RATES.end())
    }

    fn check(plan: &Plan) -> Result<(), Wrong> {
        plan.check_targets()
    }

    fn draw(draw: &mut Draw<'_>, at: Duration) -> Option<Self> {
        Some(Self { nodes: draw.target(at)?, rate: draw.plan.fault.rate })
    }

    fn aimed_at(&self, node: NodeId) -> Self {
        Self { nodes: vec![node], ..self.clone() }
    }

    fn whom(&self) -> Whom<'_> {
        Whom::Nodes(&self.nodes)
    }

    /// In force when heavy pings over the links take at least as long as their bytes do at that rate.
    async fn inject<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        let shape = Shape::narrow(self.rate);
        let least = shape.holds_up(least_sent(HEAVY));
        links::hold_up(site, &self.nodes, shape, HEAVY, least).await
    }

    async fn heal<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        links::heal(site, &links::of_nodes(site.cluster, &self.nodes)).await
    }
}
