//! Bytes of what some nodes and their peers say to each other are others when they arrive.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::NodeId;
use dynamo_sim::network;
use futures::future::join_all;
use serde_json::{Value, json};

use super::kind::{Kind, Nature, Whom};
use crate::cluster::Cluster;
use crate::hosts::agent::Means;
use crate::hosts::proxy::{Pair, Shape};
use crate::nemesis::draw::Draw;
use crate::nemesis::links;
use crate::nemesis::proof::{Site, Unproven, until};
use crate::plan::{FaultPlan, Plan, Wrong};
use crate::simulated::twin::{Shaped, Twin};

/// What a node that was sent something else than its peer has said counts: a message, where its own sum
/// shows it; a connection, where what carries messages does.
const REFUSED: [&str; 2] = ["messages_corrupt", "links_broken"];

/// All peer links of these nodes change what they carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corrupt {
    /// The nodes.
    pub nodes: Vec<NodeId>,
    /// Of a million pieces of what is said so many are hit, in one byte.
    pub share: u32,
}

impl Kind for Corrupt {
    const NATURE: Nature = Nature { silences: false, ..Nature::of_links(Means::Proxy) };

    fn bounds(settings: &FaultPlan) -> Result<(), Wrong> {
        settings.check_share()
    }

    fn check(plan: &Plan) -> Result<(), Wrong> {
        plan.check_targets()
    }

    fn draw(draw: &mut Draw<'_>, at: Duration) -> Option<Self> {
        Some(Self { nodes: draw.target(at)?, share: draw.plan.fault.of_a_million() })
    }

    fn aimed_at(&self, node: NodeId) -> Self {
        Self { nodes: vec![node], ..self.clone() }
    }

    fn whom(&self) -> Whom<'_> {
        Whom::Nodes(&self.nodes)
    }

    /// In force when the links have changed some bytes, and nodes have refused something since.
    async fn inject<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        let mut first = BTreeMap::new();
        changed_since(site.cluster, &mut first).await;
        let [messages, connections] = refused(site).await;
        let flows = links::of_nodes(site.cluster, &self.nodes).into_iter();
        let shape = Shape { corrupt: self.share, ..Shape::PASS };
        let shapes = flows.map(|(from, to)| (Pair::nodes(from, to), shape));
        site.cluster.shape(site.id, shapes.collect()).await?;
        Ok(until(async || {
            let bytes = changed_since(site.cluster, &mut first).await;
            let now = refused(site).await;
            let (messages, connections) = (now[0] - messages, now[1] - connections);
            (bytes > 0 && messages + connections > 0).then(|| {
                json!(format!(
                    "{bytes} bytes were changed; nodes refused {messages} messages and {connections} \
                     connections broke"
                ))
            })
        })
        .await)
    }

    async fn heal<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        links::heal(site, &links::of_nodes(site.cluster, &self.nodes)).await
    }

    /// What is not what was sent is refused, and that is all that a node sees of it.
    fn twin(&self, nodes: &[NodeId]) -> Arc<dyn Twin> {
        let refused = network::Shape { loss: self.share, ..network::Shape::default() };
        Shaped::links_of(&self.nodes, nodes, refused)
    }
}

/// How many bytes were changed on all links since each node `first` said how many. Who cannot say has none,
/// and an agent that begins anew counts anew: less is never taken for more.
async fn changed_since(cluster: &impl Cluster, first: &mut BTreeMap<NodeId, u64>) -> u64 {
    let each = cluster.nodes().into_iter().map(async |node| (node, cluster.changed(node).await));
    let said = join_all(each).await.into_iter();
    let said = said.filter_map(|(node, bytes)| Some((node, bytes.ok()?)));
    said.map(|(node, bytes)| bytes.saturating_sub(*first.entry(node).or_insert(bytes))).sum()
}

/// What all processes that there ever were have refused so far, as far as they have said: it only grows.
async fn refused<C: Cluster>(site: &Site<'_, C>) -> [u64; 2] {
    site.counters.ask(site.cluster).await;
    let totals = site.counters.totals();
    REFUSED.map(|name| totals.get(name).copied().unwrap_or_default())
}
