//! Bytes of what some nodes and their peers say to each other are others when they arrive.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::NodeId;
use dynamo_sim::network;
use futures::future::join_all;
use serde_json::{Value, json};

use super::kind::{Kind, Nature, Whom};
use crate::cluster::{Cluster, Status};
use crate::hosts::agent::Means;
use crate::hosts::proxy::{Pair, Shape};
use crate::nemesis::draw::Draw;
use crate::nemesis::links;
use crate::nemesis::proof::{Site, Unproven, until};
use crate::plan::{Plan, Wrong};
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
        let (changed, refused) = (changed(site.cluster).await, refused(site.cluster).await);
        let flows = links::of_nodes(site.cluster, &self.nodes).into_iter();
        let shape = Shape { corrupt: self.share, ..Shape::PASS };
        let shapes = flows.map(|(from, to)| (Pair::nodes(from, to), shape));
        site.cluster.shape(site.id, shapes.collect()).await?;
        Ok(until(async || {
            let bytes = self::changed(site.cluster).await - changed;
            let more = more(&refused, &self::refused(site.cluster).await);
            let [messages, connections] = more;
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

/// How many bytes were changed on all links so far.
async fn changed(cluster: &impl Cluster) -> u64 {
    let each = cluster.nodes().into_iter().map(async |node| cluster.changed(node).await);
    // Whoever cannot say has not said so far, either.
    join_all(each).await.into_iter().flatten().sum()
}

/// What the processes that answer have refused so far.
async fn refused(cluster: &impl Cluster) -> BTreeMap<(NodeId, u64), [u64; 2]> {
    let count = |status: &Status, name| status.counters.get(name).copied().unwrap_or_default();
    let each = cluster.nodes().into_iter().map(async |node| {
        let status = cluster.status(node).await.ok()?;
        Some(((node, status.incarnation), REFUSED.map(|name| count(&status, name))))
    });
    join_all(each).await.into_iter().flatten().collect()
}

/// What they have refused since.
fn more(
    before: &BTreeMap<(NodeId, u64), [u64; 2]>,
    now: &BTreeMap<(NodeId, u64), [u64; 2]>,
) -> [u64; 2] {
    let mut sum = [0; 2];
    for (process, counts) in now {
        let before = before.get(process).copied().unwrap_or_default();
        for (sum, (count, before)) in sum.iter_mut().zip(counts.iter().zip(before)) {
            *sum += count - before;
        }
    }
    sum
}
