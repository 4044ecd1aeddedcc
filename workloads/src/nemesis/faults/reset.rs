//! Connections between some nodes and their peers break, and new ones too.

use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::NodeId;
use dynamo_sim::network;
use serde_json::{Value, json};

use super::kind::{Kind, Nature, Whom};
use crate::cluster::Cluster;
use crate::hosts::agent::Means;
use crate::hosts::proxy::{Pair, Shape};
use crate::nemesis::draw::Draw;
use crate::nemesis::links::{self, Seen};
use crate::nemesis::proof::{Site, Unproven, until};
use crate::plan::{Plan, Wrong};
use crate::simulated::twin::{Shaped, Twin};

/// All peer links of these nodes break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reset(pub Vec<NodeId>);

impl Kind for Reset {
    const NATURE: Nature = Nature::of_links(Means::Proxy);

    fn check(plan: &Plan) -> Result<(), Wrong> {
        plan.check_targets()
    }

    fn draw(draw: &mut Draw<'_>, at: Duration) -> Option<Self> {
        draw.target(at).map(Self)
    }

    fn aimed_at(&self, node: NodeId) -> Self {
        Self(vec![node])
    }

    fn whom(&self) -> Whom<'_> {
        Whom::Nodes(&self.0)
    }

    /// In force when no ping gets through the links, and through all others one does.
    async fn inject<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        let flows = links::of_nodes(site.cluster, &self.0).into_iter();
        let broken = flows.map(|(from, to)| (Pair::nodes(from, to), Shape::RESET));
        site.cluster.shape(site.id, broken.collect()).await?;
        let links = links::all(site.cluster);
        Ok(until(async || {
            let seen = links::look(site.cluster, &links, 0).await;
            let broken = seen.iter().filter(|link| link.is_reset()).count();
            let shows = broken > 0 && seen.iter().all(Seen::is_as_shaped);
            let of = seen.len();
            shows.then(|| json!(format!("{broken} of {of} links break, the others answer")))
        })
        .await)
    }

    async fn heal<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        links::heal(site, &links::of_nodes(site.cluster, &self.0)).await
    }

    /// What is sent over a connection that breaks at once never arrives.
    fn twin(&self, nodes: &[NodeId]) -> Arc<dyn Twin> {
        let lost = network::Shape { loss: 1_000_000, ..network::Shape::default() };
        Shaped::links_of(&self.0, nodes, lost)
    }
}
