//! Final gets, and which of them count.
//!
//! A sloppy quorum may be made of fallbacks, who know nothing of a key that is whole on all its homes: a
//! home that is slow for a moment is replaced. So a final get counts only if nobody suspected anybody
//! from before it began until after it was answered; then its coordinator and all it asked are homes.
//! Nodes count how often they begin to suspect a peer: that, before and after, is what is compared.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dynamo_protocol::NodeId;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::rest::{Calm, calm};
use crate::cluster::Cluster;
use crate::workload::client::{Client, Completion};
use crate::workload::generator::{Action, Call, Worker};

/// How long a calm moment is waited for.
const CALM_PATIENCE: Duration = Duration::from_secs(1);
/// Why a final get does not count that was answered.
pub(crate) const SUSPECTED: &str = "a node suspected another meanwhile";
/// Between two looks for one.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A client whose final gets are ok only if they count.
pub struct Counted<K, C> {
    client: K,
    cluster: Arc<C>,
    /// Nodes that are gone for good, and the last look at the others: one look serves all gets that
    /// were answered before it began.
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    gone: BTreeSet<NodeId>,
    seen: Option<(Instant, Result<Calm, String>)>,
}

impl<K: Client, C: Cluster> Counted<K, C> {
    /// Of this client, asking the nodes of this cluster.
    pub fn new(client: K, cluster: Arc<C>) -> Self {
        Self { client, cluster, last: Mutex::default() }
    }

    /// Nothing is expected of these nodes any more.
    pub async fn part_with(&self, gone: &BTreeSet<NodeId>) {
        *self.last.lock().await = Last { gone: gone.clone(), seen: None };
    }

    /// How the nodes are, or were a moment ago, once nobody suspects another.
    async fn before(&self) -> Result<Calm, String> {
        let deadline = Instant::now() + CALM_PATIENCE;
        if let Some((_, Ok(calm))) = &self.last.lock().await.seen {
            return Ok(calm.clone());
        }
        loop {
            let now = self.seen_since(Instant::now()).await;
            if now.is_ok() || Instant::now() >= deadline {
                return now;
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// How they were at some time after `at`.
    async fn seen_since(&self, at: Instant) -> Result<Calm, String> {
        let mut last = self.last.lock().await;
        if let Some((began, seen)) = &last.seen
            && *began > at
        {
            return seen.clone();
        }
        let began = Instant::now();
        let seen = calm(&*self.cluster, &last.gone).await;
        last.seen = Some((began, seen.clone()));
        seen
    }
}

impl<K: Client, C: Cluster> Client for Counted<K, C> {
    async fn call(&self, worker: Worker, call: Call, context: Option<Bytes>) -> Completion {
        if !(call.is_final && call.action == Action::Get) {
            return self.client.call(worker, call, context).await;
        }
        let before = match self.before().await {
            Ok(before) => before,
            Err(why) => {
                return Completion::Uncounted { values: None, why: format!("not asked: {why}") };
            }
        };
        let completion = self.client.call(worker, call, context).await;
        let why = match self.seen_since(Instant::now()).await {
            // Also one that failed: then it was not for want of homes.
            Ok(after) if after == before => return completion,
            Ok(_) => SUSPECTED.to_owned(),
            Err(why) => format!("meanwhile {why}"),
        };
        completion.uncounted(&why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::fake::FakeCluster;

    /// Suspects somebody while it answers, for so many times.
    struct Impatient(Arc<FakeCluster>, std::sync::atomic::AtomicU64);

    impl Client for Impatient {
        async fn call(&self, _: Worker, _: Call, _: Option<Bytes>) -> Completion {
            let left = self.1.load(std::sync::atomic::Ordering::SeqCst);
            if left > 0 {
                self.1.store(left - 1, std::sync::atomic::Ordering::SeqCst);
                self.0.set(NodeId(2), |node| node.suspicions += 1);
            }
            Completion::Ok { values: vec![], context: None }
        }
    }

    fn get(is_final: bool) -> Call {
        Call { key: "k".into(), node: NodeId(1), action: Action::Get, is_final }
    }

    #[tokio::test]
    async fn a_final_get_counts_only_if_nobody_was_suspected_meanwhile() {
        let cluster = Arc::new(FakeCluster::new(3, false));
        let client = Counted::new(Impatient(cluster.clone(), 2.into()), cluster);
        for counts in [false, false, true, true] {
            let completion = client.call(Worker(0), get(true), None).await;
            assert_eq!(matches!(completion, Completion::Ok { .. }), counts, "{completion:?}");
        }
    }

    #[tokio::test]
    async fn other_gets_are_answered_as_they_are() {
        let cluster = Arc::new(FakeCluster::new(3, false));
        let client = Counted::new(Impatient(cluster.clone(), 9.into()), cluster);
        let completion = client.call(Worker(0), get(false), None).await;
        assert!(matches!(completion, Completion::Ok { .. }), "{completion:?}");
    }

    #[tokio::test]
    async fn a_get_is_not_made_while_somebody_holds_another_down_but_those_that_are_gone_are() {
        let cluster = Arc::new(FakeCluster::new(3, false));
        cluster.set(NodeId(1), |node| node.suspected = vec![NodeId(3)]);
        let client = Counted::new(Impatient(cluster.clone(), 0.into()), cluster);
        client.part_with(&BTreeSet::from([NodeId(3)])).await;
        let completion = client.call(Worker(0), get(true), None).await;
        assert!(matches!(completion, Completion::Ok { .. }), "{completion:?}");
        client.part_with(&BTreeSet::new()).await;
        let completion = client.call(Worker(0), get(true), None).await;
        let why = "not asked: n1 suspected n3".to_owned();
        assert_eq!(completion, Completion::Uncounted { values: None, why });
    }
}
