//! Whether the cluster is at rest: no node holds a hint, has anything open, or suspects another.
//!
//! One that does not come to rest has either a fault of its own, or a machine that is too slow for it, or
//! links that are not healed. Only the first is the store's: it is blamed when nothing has changed for as
//! long as two looks are apart, and both showed that every node answers and every link carries, faster
//! than nodes lose their patience.

use std::collections::BTreeSet;
use std::time::Duration;

use dynamo_protocol::NodeId;
use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use crate::cluster::{Cluster, Life, Status};
use crate::nemesis::links;

/// Between two looks at the nodes' counters.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long a node may take to say how it is.
const STATUS_PATIENCE: Duration = Duration::from_secs(5);
/// What nodes ask of each other is more work than a ping: so many times as much is allowed for.
const MARGIN: u32 = 4;

/// How long is waited, and for whom.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// The nodes that are there.
    pub(super) here: Vec<NodeId>,
    /// How long nothing may change. Hints are tried again every few hundred milliseconds, and a busy
    /// cluster delivers its own in a second or two.
    pub(super) still: Duration,
    /// How long a cluster that goes on working is waited for.
    pub(super) most: Duration,
    /// How long nodes wait for each other: links must be shown to be a good deal faster.
    pub(super) patience: Duration,
}

/// Why there is no rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unrest {
    /// The store's own doing.
    Store(String),
    /// It cannot be told whose.
    Unknown(String),
}

/// What the nodes said at one look.
#[derive(Debug, Default, PartialEq, Eq)]
struct Look {
    /// What is in the way of rest.
    busy: Vec<String>,
    /// Nodes that did not say.
    silent: Vec<NodeId>,
    hints: u64,
    open: u64,
}

impl Look {
    fn take(&mut self, node: NodeId, status: Option<&Status>, terms: &Terms) {
        let Some(status) = status else {
            self.silent.push(node);
            return self.busy.push(format!("{node} does not say how it is"));
        };
        self.hints += status.hints_held;
        self.open += status.open_operations;
        if status.hints_held > 0 || status.open_operations > 0 {
            let (hints, open) = (status.hints_held, status.open_operations);
            self.busy.push(format!("{node} holds {hints} hints and has {open} operations open"));
        }
        // One that is gone is suspected for good reason.
        if let Some(peer) = status.suspected.iter().find(|peer| terms.here.contains(peer)) {
            self.busy.push(format!("{node} suspects {peer}"));
        }
    }

    /// Whether nothing is left but hints: for nodes that are gone, they never go.
    fn is_only_hints(&self) -> bool {
        self.silent.is_empty() && self.open == 0 && self.hints > 0
    }
}

async fn look(cluster: &impl Cluster, terms: &Terms) -> Look {
    let ask = terms.here.iter().map(async |node| {
        (*node, timeout(STATUS_PATIENCE, cluster.status(*node)).await.ok().and_then(Result::ok))
    });
    let mut look = Look::default();
    for (node, status) in join_all(ask).await {
        look.take(node, status.as_ref(), terms);
    }
    look
}

/// Waits until every node that is here says, twice in a row, that it is at rest.
///
/// Nobody starts a node in this phase: one that has ended is not waited for.
pub(super) async fn rest(cluster: &impl Cluster, terms: &Terms) -> Result<(), Unrest> {
    let began = Instant::now();
    let (mut calm, mut shown, mut since, mut last) = (0, false, began, Look::default());
    while calm < 2 {
        let now = look(cluster, terms).await;
        if let Some(node) = now.silent.iter().find(|node| cluster.life(**node) == Life::Gone) {
            return Err(Unrest::Unknown(format!("{node} is down")));
        }
        calm = if now.busy.is_empty() { calm + 1 } else { 0 };
        if now != last {
            // Something goes on.
            (since, shown, last) = (Instant::now(), false, now);
        }
        if calm == 0 && since.elapsed() >= terms.still {
            let what = format!("the cluster is not at rest: {}", last.busy.join(", "));
            let may_stay = last.is_only_hints() && terms.here.len() < cluster.nodes().len();
            match is_up(cluster, terms).await {
                Ok(()) if may_stay => return Ok(()),
                Err(why) => return Err(Unrest::Unknown(format!("{what}; but {why}"))),
                Ok(()) if shown => {
                    let still = terms.still * 2;
                    return Err(Unrest::Store(format!(
                        "{what}; nothing has changed for {still:?}, while every node answers and every \
                         link carries"
                    )));
                }
                Ok(()) => (since, shown) = (Instant::now(), true),
            }
        }
        if calm == 0 && began.elapsed() >= terms.most {
            let what = last.busy.join(", ");
            let most = terms.most;
            return Err(Unrest::Unknown(format!(
                "the cluster still works after {most:?}, for whatever reason: {what}"
            )));
        }
        sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// Shows that every node answers and every link between them carries, soon enough.
///
/// # Errors
/// What was not shown.
pub(super) async fn is_up(cluster: &impl Cluster, terms: &Terms) -> Result<(), String> {
    let not_running = |node: &&NodeId| !matches!(cluster.life(**node), Life::Runs(_));
    if let Some(node) = terms.here.iter().find(not_running) {
        return Err(format!("{node} does not run"));
    }
    let look = look(cluster, terms).await;
    if let Some(node) = look.silent.first() {
        return Err(format!("{node} does not say how it is"));
    }
    let slowest = links::all_answer(cluster, &terms.here).await?;
    if slowest * MARGIN >= terms.patience {
        return Err(format!(
            "a link takes {slowest:?} to answer, and nodes wait for each other for {:?}: this machine is \
             too busy for cluster.hedge or cluster.deadline",
            terms.patience
        ));
    }
    Ok(())
}

/// What has to stay the same while a final get counts: every node's process, and how often it has begun
/// to suspect another.
pub(super) type Calm = Vec<(NodeId, u64, u64)>;

/// The state of a cluster in which nobody that is here suspects another.
///
/// # Errors
/// Who does, or does not say.
pub(super) async fn calm(cluster: &impl Cluster, gone: &BTreeSet<NodeId>) -> Result<Calm, String> {
    let here = cluster.nodes().into_iter().filter(|node| !gone.contains(node));
    let ask = here.map(async |node| {
        let status = timeout(STATUS_PATIENCE, cluster.status(node)).await;
        let silent = || format!("{node} does not say how it is");
        let status = status.ok().and_then(Result::ok).ok_or_else(silent)?;
        if let Some(peer) = status.suspected.iter().find(|peer| !gone.contains(peer)) {
            return Err(format!("{node} suspected {peer}"));
        }
        let suspicions = status.counters.get("suspicions").copied().unwrap_or_default();
        Ok((node, status.incarnation, suspicions))
    });
    join_all(ask).await.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::fake::FakeCluster;
    use crate::hosts::proxy::{Pair, Shape};

    fn terms(nodes: u16) -> Terms {
        Terms {
            here: (1..=nodes).map(NodeId).collect(),
            still: Duration::from_millis(150),
            most: Duration::from_secs(5),
            patience: Duration::from_millis(100),
        }
    }

    async fn unrest(cluster: &FakeCluster, terms: &Terms) -> Unrest {
        rest(cluster, terms).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_cluster_that_does_not_say_how_it_is_is_not_blamed() {
        let cluster = FakeCluster::new(3, false);
        cluster.pause(NodeId(2)).await.unwrap();
        let Unrest::Unknown(why) = unrest(&cluster, &terms(3)).await else { panic!("blamed") };
        assert!(why.contains("n2 does not say how it is"), "{why}");
    }

    #[tokio::test]
    async fn a_node_that_has_ended_is_not_waited_for() {
        let cluster = FakeCluster::new(3, false);
        cluster.kill(NodeId(2)).await.unwrap();
        let why = unrest(&cluster, &terms(3)).await;
        assert_eq!(why, Unrest::Unknown("n2 is down".to_owned()));
    }

    #[tokio::test]
    async fn hints_that_never_go_are_the_stores_doing_once_all_is_shown_to_be_up() {
        let cluster = FakeCluster::new(3, false);
        cluster.set(NodeId(1), |node| node.hints = 2);
        let Unrest::Store(why) = unrest(&cluster, &terms(3)).await else { panic!("excused") };
        assert!(why.contains("n1 holds 2 hints"), "{why}");
        cluster.set(NodeId(1), |node| (node.hints, node.suspected) = (0, vec![NodeId(3)]));
        let Unrest::Store(why) = unrest(&cluster, &terms(3)).await else { panic!("excused") };
        assert!(why.contains("n1 suspects n3"), "{why}");
    }

    #[tokio::test]
    async fn hints_are_not_held_against_a_store_whose_links_are_cut_or_slow() {
        for (shape, says) in [
            (Shape::CUT, "does not answer"),
            (Shape::slow(Duration::from_millis(200), Duration::ZERO), "too busy"),
        ] {
            let cluster = FakeCluster::new(3, false);
            cluster.set(NodeId(1), |node| node.hints = 2);
            let link = Pair::nodes(NodeId(1), NodeId(3));
            cluster.shape(7, vec![(link, shape)]).await.unwrap();
            let Unrest::Unknown(why) = unrest(&cluster, &terms(3)).await else { panic!("blamed") };
            assert!(why.contains("n1 holds 2 hints") && why.contains(says), "{why}");
        }
    }

    #[tokio::test]
    async fn hints_for_a_host_that_is_lost_keep_nobody_from_resting() {
        let cluster = FakeCluster::new(3, false);
        cluster.set(NodeId(1), |node| (node.hints, node.suspected) = (2, vec![NodeId(3)]));
        assert_eq!(rest(&cluster, &terms(2)).await, Ok(()));
    }
}
