//! What faults do to links. All of it is proven by pings through them.

use std::time::Duration;

use dynamo_protocol::NodeId;
use futures::future::join_all;
use serde_json::{Value, json};

use super::proof::{Site, Unproven, until};
use crate::cluster::{Cluster, Life};
use crate::hosts::proxy::{End, Observed, Pair, Ping, Shape};
use crate::plan::Cut;

/// How long a ping may take on a link where nothing is wrong: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long an answer is waited for where none is expected. The proof does not rest on it alone:
/// the link's own counts must show that the ping came in and was held.
const HELD_FOR: Duration = Duration::from_millis(100);
/// More than any ping weighs that carries nothing, greetings and all.
const LIGHT: usize = 512;

/// Shapes all links of some nodes. In force when every ping of that weight takes at least so long.
pub(super) async fn hold_up<C: Cluster>(
    site: &Site<'_, C>,
    nodes: &[NodeId],
    shape: Shape,
    weight: usize,
    least: Duration,
) -> Result<Value, Unproven> {
    let links = of_nodes(site.cluster, nodes);
    let peers = links.iter().map(|(from, to)| Pair::nodes(*from, *to));
    let clients = nodes.iter().map(|node| Pair { from: End::Clients, to: End::Node(*node) });
    let flows = peers.chain(clients.flat_map(|pair| [pair, pair.back()]));
    site.cluster.shape(site.id, flows.map(|flow| (flow, shape)).collect()).await?;
    Ok(until(async || {
        let seen = look(site.cluster, &links, weight).await;
        let trips: Option<Vec<_>> = seen
            .iter()
            .filter(|link| !link.there.cut && !link.back.cut)
            .map(|link| link.observed.answered)
            .collect();
        let fastest = trips?.into_iter().min()?;
        (fastest >= least).then(|| json!(format!("fastest of {} pings: {fastest:?}", seen.len())))
    })
    .await)
}

/// Takes a fault off its links. Healed when every one of them between nodes that run answers,
/// unless another fault is on it.
pub(super) async fn heal<C: Cluster>(
    site: &Site<'_, C>,
    links: &[(NodeId, NodeId)],
) -> Result<Value, Unproven> {
    site.cluster.unshape(site.id).await?;
    Ok(until(async || {
        let seen = look(site.cluster, links, 0).await;
        seen.iter().all(Seen::is_as_shaped).then(|| summary(&seen))
    })
    .await)
}

/// Pings every link between `nodes`, which are healed; how long the slowest answer took.
///
/// # Errors
/// The first link that does not answer.
pub(crate) async fn all_answer(
    cluster: &impl Cluster,
    nodes: &[NodeId],
) -> Result<Duration, String> {
    let links = all(cluster).into_iter();
    let among = links.filter(|(from, to)| nodes.contains(from) && nodes.contains(to));
    let pings = among.map(async |(from, to)| {
        let ping = Ping { from: End::Node(from), to, patience: PATIENCE, weight: 0 };
        let answered = cluster.ping(ping).await.answered;
        answered.ok_or_else(|| format!("the link from {from} to {to} does not answer"))
    });
    let took = join_all(pings).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(took.into_iter().max().unwrap_or_default())
}

/// The links, both ways, that some cuts are on.
pub(super) fn of_cuts(cuts: &[Cut]) -> Vec<(NodeId, NodeId)> {
    let mut links: Vec<_> =
        cuts.iter().flat_map(|cut| [(cut.from, cut.to), (cut.to, cut.from)]).collect();
    links.sort_unstable();
    links.dedup();
    links
}

/// The peer links from and to some nodes.
pub(super) fn of_nodes(cluster: &impl Cluster, nodes: &[NodeId]) -> Vec<(NodeId, NodeId)> {
    let links = all(cluster).into_iter();
    links.filter(|(from, to)| nodes.contains(from) || nodes.contains(to)).collect()
}

/// The links between nodes.
pub(super) fn all(cluster: &impl Cluster) -> Vec<(NodeId, NodeId)> {
    let nodes = cluster.nodes();
    let pairs = nodes.iter().flat_map(|from| nodes.iter().map(|to| (*from, *to)));
    pairs.filter(|(from, to)| from != to).collect()
}

/// A link that was pinged, and what is done to it.
pub(super) struct Seen {
    from: NodeId,
    to: NodeId,
    there: Shape,
    back: Shape,
    observed: Observed,
}

impl Seen {
    pub(super) fn is_held(&self) -> bool {
        self.there.cut || self.back.cut
    }

    pub(super) fn is_reset(&self) -> bool {
        self.there.reset || self.back.reset
    }

    pub(super) fn is_of(&self, cuts: &[Cut]) -> bool {
        let (from, to) = (self.from, self.to);
        cuts.contains(&Cut { from, to }) || cuts.contains(&Cut { from: to, to: from })
    }

    /// Does the ping show what all faults on the link together should do?
    pub(super) fn is_as_shaped(&self) -> bool {
        if self.is_reset() {
            return self.observed.answered.is_none();
        }
        self.observed.shows(self.there.cut, self.back.cut)
    }
}

/// Pings the links whose far end can answer: a process that is stopped proves nothing of its link.
pub(super) async fn look(
    cluster: &impl Cluster,
    links: &[(NodeId, NodeId)],
    weight: usize,
) -> Vec<Seen> {
    // Nor does one of which the node is no member any more.
    let members = cluster.nodes();
    let links: Vec<_> =
        links.iter().filter(|(from, to)| members.contains(from) && members.contains(to)).collect();
    let runs = |node: NodeId| matches!(cluster.life(node), Life::Runs(_));
    let pings = links.iter().filter(|(_, to)| runs(*to)).map(async |&&(from, to)| {
        let flow = Pair::nodes(from, to);
        let (there, back) = (cluster.shaped(flow), cluster.shaped(flow.back()));
        let held = there.cut || back.cut;
        let on_the_way = there.holds_up(LIGHT + weight) + back.holds_up(LIGHT);
        let patience = if held { HELD_FOR } else { PATIENCE } + on_the_way * 2;
        let observed = cluster.ping(Ping { from: End::Node(from), to, patience, weight }).await;
        Seen { from, to, there, back, observed }
    });
    let mut seen = join_all(pings).await;
    // What changed or died while its ping was under way proves nothing either.
    seen.retain(|link| {
        let flow = Pair::nodes(link.from, link.to);
        let same = cluster.shaped(flow) == link.there && cluster.shaped(flow.back()) == link.back;
        let now = cluster.nodes();
        same && runs(link.to) && now.contains(&link.from) && now.contains(&link.to)
    });
    seen
}

pub(super) fn summary(seen: &[Seen]) -> Value {
    let held = seen.iter().filter(|link| link.is_held()).count();
    json!(format!("of {} links {held} hold a ping, {} answer", seen.len(), seen.len() - held))
}
