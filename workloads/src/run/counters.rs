//! What the nodes say they did: hints, repairs, requests. Their counters begin anew with each
//! process, so they are asked all the time and the last word of every process is kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dynamo_protocol::NodeId;
use futures::future::join_all;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::cluster::{Cluster, Life, Status};

/// How often nodes are asked. What a killed process did since is not counted: sums are at least.
const EVERY: Duration = Duration::from_millis(200);
/// How long one may take: a stopped process does not answer at all.
const PATIENCE: Duration = Duration::from_millis(500);

/// The last word of every process there was.
#[derive(Debug, Default)]
pub struct NodeCounters {
    said: Mutex<BTreeMap<(NodeId, u64), Status>>,
    now: Mutex<Now>,
}

/// How the cluster is, for the panel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Nodes that are in.
    pub members: usize,
    /// Those whose process runs.
    pub up: usize,
    /// Hints held by those that answer.
    pub hints_held: u64,
}

impl NodeCounters {
    /// Asks all nodes, over and over.
    pub async fn follow<C: Cluster>(self: Arc<Self>, cluster: Arc<C>) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.ask(&*cluster).await;
        }
    }

    /// Asks all nodes once.
    pub async fn ask(&self, cluster: &impl Cluster) {
        let ask = cluster.nodes().into_iter().map(async |node| {
            let runs = matches!(cluster.life(node), Life::Runs(_));
            let status = timeout(PATIENCE, cluster.status(node)).await.ok().and_then(Result::ok);
            (node, runs, status)
        });
        let mut now = Now::default();
        for (node, runs, status) in join_all(ask).await {
            now.members += 1;
            now.up += usize::from(runs);
            if let Some(status) = status {
                now.hints_held += status.hints_held;
                self.note(node, status);
            }
        }
        *self.now.lock().expect("no one panics with the lock held") = now;
    }

    fn note(&self, node: NodeId, status: Status) {
        let mut said = self.said.lock().expect("no one panics with the lock held");
        said.insert((node, status.incarnation), status);
    }

    /// How the cluster was when it was last asked.
    #[must_use]
    pub fn now(&self) -> Now {
        *self.now.lock().expect("no one panics with the lock held")
    }

    /// All counters, over all processes.
    #[must_use]
    pub fn totals(&self) -> BTreeMap<String, u64> {
        let said = self.said.lock().expect("no one panics with the lock held");
        let mut totals = BTreeMap::new();
        for (name, count) in said.values().flat_map(|status| &status.counters) {
            *totals.entry(name.clone()).or_default() += count;
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_over_processes_and_only_the_last_word_of_each_counts() {
        let counters = NodeCounters::default();
        let status = |incarnation, hints| Status {
            proven: true,
            amnesiac: false,
            filling: 0,
            expects_strays: false,
            exchanged: BTreeMap::new(),
            identity: String::new(),
            incarnation,
            hints_held: 0,
            hinted: BTreeMap::new(),
            open_operations: 0,
            suspected: Vec::new(),
            counters: BTreeMap::from([("hints_stored".to_owned(), hints)]),
        };
        counters.note(NodeId(1), status(7, 2));
        counters.note(NodeId(1), status(7, 5));
        counters.note(NodeId(1), status(8, 1));
        counters.note(NodeId(2), status(9, 10));
        assert_eq!(counters.totals()["hints_stored"], 16);
    }
}
