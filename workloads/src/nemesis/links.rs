//! Faults of links: partitions, delay, rate, reset. All are proven by pings through the links.

use std::time::Duration;

use dynamo_protocol::NodeId;
use futures::future::join_all;
use serde_json::{Value, json};

use super::{Slowness, Unproven, until};
use crate::cluster::{Cluster, Life};
use crate::plan::Cut;
use crate::proxy::{End, FaultId, Observed, Pair, Ping, Shape, least_sent};

/// How long a ping may take on a link where nothing is wrong: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long an answer is waited for where none is expected. The proof does not rest on it alone:
/// the link's own counts must show that the ping came in and was held.
const HELD_FOR: Duration = Duration::from_millis(100);

/// What a ping weighs that takes its time on a narrow link: no more than nodes take in for a request.
const HEAVY: usize = 12 << 10;
/// More than any other ping weighs, greetings and all.
const LIGHT: usize = 512;

/// Cuts links. In force when every link between nodes that run shows exactly what it should: the
/// cut ones hold, all others answer.
pub(super) async fn cut(
    cluster: &impl Cluster,
    fault: FaultId,
    cuts: &[Cut],
) -> Result<Value, Unproven> {
    let shapes = cuts.iter().map(|cut| (Pair::nodes(cut.from, cut.to), Shape::CUT)).collect();
    cluster.shape(fault, shapes).await.map_err(|error| error.to_string())?;
    Ok(until(async || {
        let seen = look(cluster, &all_links(cluster), 0).await;
        let of_this = seen.iter().filter(|link| link.is_held() && link.is_of(cuts)).count();
        (of_this > 0 && seen.iter().all(Seen::is_as_shaped)).then(|| summary(&seen))
    })
    .await)
}

/// Makes all links of some nodes slow. In force when pings over them take at least the delay, there
/// and back.
pub(super) async fn slow(
    cluster: &impl Cluster,
    fault: FaultId,
    nodes: &[NodeId],
    slowness: Slowness,
) -> Result<Value, Unproven> {
    let shape = Shape::slow(slowness.delay, slowness.jitter);
    hold_up(cluster, fault, nodes, shape, 0, slowness.delay * 2).await
}

/// Makes all links of some nodes narrow. In force when heavy pings over them take at least as long as
/// their bytes do at that rate.
pub(super) async fn narrow(
    cluster: &impl Cluster,
    fault: FaultId,
    nodes: &[NodeId],
    rate: u64,
) -> Result<Value, Unproven> {
    let shape = Shape::narrow(rate);
    hold_up(cluster, fault, nodes, shape, HEAVY, shape.holds_up(least_sent(HEAVY))).await
}

/// Shapes all links of some nodes. In force when every ping of that weight takes at least so long.
async fn hold_up(
    cluster: &impl Cluster,
    fault: FaultId,
    nodes: &[NodeId],
    shape: Shape,
    weight: usize,
    least: Duration,
) -> Result<Value, Unproven> {
    let mut flows = flows_of(cluster, nodes);
    let clients = nodes.iter().map(|node| Pair { from: End::Clients, to: End::Node(*node) });
    flows.extend(clients.flat_map(|pair| [pair, pair.back()]));
    let shapes = flows.into_iter().map(|flow| (flow, shape)).collect();
    cluster.shape(fault, shapes).await.map_err(|error| error.to_string())?;
    let links = of_nodes(cluster, nodes);
    Ok(until(async || {
        let seen = look(cluster, &links, weight).await;
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

/// Breaks all peer links of some nodes, and every new connection over them. In force when no ping
/// gets through them.
pub(super) async fn reset(
    cluster: &impl Cluster,
    fault: FaultId,
    nodes: &[NodeId],
) -> Result<Value, Unproven> {
    let flows = flows_of(cluster, nodes);
    let shapes = flows.into_iter().map(|flow| (flow, Shape::RESET)).collect();
    cluster.shape(fault, shapes).await.map_err(|error| error.to_string())?;
    Ok(until(async || {
        let seen = look(cluster, &all_links(cluster), 0).await;
        let broken = seen.iter().filter(|link| link.is_reset()).count();
        (broken > 0 && seen.iter().all(Seen::is_as_shaped))
            .then(|| json!(format!("{broken} of {} links break, the others answer", seen.len())))
    })
    .await)
}

/// Takes a fault off its links. Healed when every one of them between nodes that run answers,
/// unless another fault is on it.
pub(super) async fn join(
    cluster: &impl Cluster,
    fault: FaultId,
    links: &[(NodeId, NodeId)],
) -> Result<Value, Unproven> {
    cluster.unshape(fault).await.map_err(|error| error.to_string())?;
    Ok(until(async || {
        let seen = look(cluster, links, 0).await;
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
    let links = all_links(cluster).into_iter();
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
    let links = all_links(cluster).into_iter();
    links.filter(|(from, to)| nodes.contains(from) || nodes.contains(to)).collect()
}

fn flows_of(cluster: &impl Cluster, nodes: &[NodeId]) -> Vec<Pair> {
    of_nodes(cluster, nodes).into_iter().map(|(from, to)| Pair::nodes(from, to)).collect()
}

fn all_links(cluster: &impl Cluster) -> Vec<(NodeId, NodeId)> {
    let nodes = cluster.nodes();
    let pairs = nodes.iter().flat_map(|from| nodes.iter().map(move |to| (*from, *to)));
    pairs.filter(|(from, to)| from != to).collect()
}

/// A link that was pinged, and what is done to it.
struct Seen {
    from: NodeId,
    to: NodeId,
    there: Shape,
    back: Shape,
    observed: Observed,
}

impl Seen {
    fn is_held(&self) -> bool {
        self.there.cut || self.back.cut
    }

    fn is_reset(&self) -> bool {
        self.there.reset || self.back.reset
    }

    fn is_of(&self, cuts: &[Cut]) -> bool {
        let (from, to) = (self.from, self.to);
        cuts.contains(&Cut { from, to }) || cuts.contains(&Cut { from: to, to: from })
    }

    /// Does the ping show what all faults on the link together should do?
    fn is_as_shaped(&self) -> bool {
        if self.is_reset() {
            return self.observed.answered.is_none();
        }
        self.observed.shows(self.there.cut, self.back.cut)
    }
}

/// Pings the links whose far end can answer: a process that is stopped proves nothing of its link.
async fn look(cluster: &impl Cluster, links: &[(NodeId, NodeId)], weight: usize) -> Vec<Seen> {
    let runs = |node: NodeId| matches!(cluster.life(node), Life::Runs(_));
    let pings = links.iter().filter(|(_, to)| runs(*to)).map(async |&(from, to)| {
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
        same && runs(link.to)
    });
    seen
}

fn summary(seen: &[Seen]) -> Value {
    let held = seen.iter().filter(|link| link.is_held()).count();
    json!(format!("of {} links {held} hold a ping, {} answer", seen.len(), seen.len() - held))
}
