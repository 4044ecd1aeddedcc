//! The final phase: heal, wait until the nodes say they are at rest, and read what was kept.
//!
//! 1. Every home's own replica of every key, without a quorum: a quorum hides a lost copy.
//! 2. A settling get of every key: it repairs homes that hints did not reach.
//! 3. Every key through every node.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use dynamo_protocol::{Config, Key, NodeId};
use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use crate::client::Client;
use crate::cluster::{Cluster, Life};
use crate::generator::{Action, Read, Reads};
use crate::interpreter::Interpreter;

/// How long the cluster may take until it is at rest. A busy cluster of this size delivers its
/// hints in a second or two.
const REST_PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at the nodes' counters.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How long a node may take to say how it is.
const STATUS_PATIENCE: Duration = Duration::from_secs(5);

/// Reads everything there is to know about `keys` once the cluster is healed.
///
/// # Errors
/// If the cluster does not come to rest, or a read never succeeds: then what was kept is not known.
pub async fn finish<C: Cluster, K: Client>(
    cluster: &C,
    interpreter: &mut Interpreter<K>,
    config: &Config,
    keys: &BTreeSet<Arc<str>>,
) -> Result<()> {
    rest(cluster).await.context("before the final reads")?;
    read(interpreter, home_reads(config, keys)).await?;
    read(interpreter, settling_reads(cluster.nodes(), keys)).await?;
    rest(cluster).await.context("after the settling reads")?;
    read(interpreter, final_reads(cluster.nodes(), keys)).await
}

/// Every home's own replica of every key.
#[must_use]
pub fn home_reads(config: &Config, keys: &BTreeSet<Arc<str>>) -> Reads {
    let homes = |key: &str| config.preference_list(&Key::from(key)).0;
    let reads = keys.iter().flat_map(|key| homes(key).iter().map(|node| of(key, *node)));
    Reads::new(Action::Home, true, reads)
}

/// Every key once, each through another node.
#[must_use]
pub fn settling_reads(nodes: &[NodeId], keys: &BTreeSet<Arc<str>>) -> Reads {
    let reads = keys.iter().zip(nodes.iter().cycle()).map(|(key, node)| of(key, *node));
    Reads::new(Action::Get, false, reads)
}

/// Every key through every node.
#[must_use]
pub fn final_reads(nodes: &[NodeId], keys: &BTreeSet<Arc<str>>) -> Reads {
    let reads = keys.iter().flat_map(|key| nodes.iter().map(|node| of(key, *node)));
    Reads::new(Action::Get, true, reads)
}

fn of(key: &Arc<str>, node: NodeId) -> Read {
    Read { key: key.clone(), node }
}

async fn read<K: Client>(interpreter: &mut Interpreter<K>, mut reads: Reads) -> Result<()> {
    interpreter.run(&mut reads).await?;
    let given_up = reads.given_up();
    let first = given_up.first().map(|read| format!("{} from {}", read.key, read.node));
    ensure!(
        given_up.is_empty(),
        "{} final reads never succeeded, the first: {}",
        given_up.len(),
        first.unwrap_or_default()
    );
    Ok(())
}

/// Waits until every node says, twice in a row, that it holds no hint and does nothing.
///
/// Nobody starts a node in this phase: one that has ended is not waited for.
async fn rest(cluster: &impl Cluster) -> Result<()> {
    let deadline = Instant::now() + REST_PATIENCE;
    let mut calm = 0;
    while calm < 2 {
        let busy = busy(cluster).await;
        if let Some((node, _)) = busy.iter().find(|(node, _)| cluster.life(*node) == Life::Gone) {
            bail!("{node} is down");
        }
        calm = if busy.is_empty() { calm + 1 } else { 0 };
        if calm == 0 && Instant::now() >= deadline {
            let what: Vec<_> = busy.into_iter().map(|(_, what)| what).collect();
            bail!("the cluster is not at rest after {REST_PATIENCE:?}: {}", what.join(", "));
        }
        sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// What nodes still have to do.
async fn busy(cluster: &impl Cluster) -> Vec<(NodeId, String)> {
    let ask = cluster.nodes().iter().map(async |node| {
        let what = match timeout(STATUS_PATIENCE, cluster.status(*node)).await {
            Ok(Ok(status)) if status.hints_held == 0 && status.open_operations == 0 => return None,
            Ok(Ok(status)) => format!(
                "{node} holds {} hints and has {} operations open",
                status.hints_held, status.open_operations
            ),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("{node} does not say how it is"),
        };
        Some((*node, what))
    });
    join_all(ask).await.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::client::Completion;
    use crate::cluster::fake::FakeCluster;
    use crate::generator::{Call, Worker};
    use crate::interpreter::Tally;
    use crate::journal::Journal;
    use crate::plan::Plan;

    /// Answers nothing but "absent", and not even that for one kind of read.
    struct Broken(&'static str);

    impl Client for Broken {
        async fn call(&self, _: Worker, call: Call, _: Option<Bytes>) -> Completion {
            if call.action.f() == self.0 {
                return Completion::Info("no answer".to_owned());
            }
            Completion::Ok { values: vec![], context: Some(Bytes::new()) }
        }
    }

    async fn finished(broken: &'static str) -> Result<()> {
        let dir = tempfile::tempdir()?;
        let journal = Arc::new(Journal::create(&dir.path().join("history.jsonl"))?);
        let tally = Arc::new(Tally::default());
        let mut interpreter = Interpreter::new(Arc::new(Broken(broken)), journal, tally, 2);
        let config = Plan::default().config(NodeId(1))?;
        let keys = BTreeSet::from(["cart-1".into(), "cart-2".into()]);
        finish(&FakeCluster::new(5, false), &mut interpreter, &config, &keys).await
    }

    #[tokio::test]
    async fn reads_that_all_succeed_finish_a_run() {
        finished("none").await.unwrap();
    }

    #[tokio::test]
    async fn a_final_read_without_an_answer_is_an_error_and_no_empty_cart() {
        let error = finished("home").await.unwrap_err().to_string();
        assert!(error.contains("6 final reads never succeeded"), "{error}");
        assert!(finished("get").await.is_err());
    }

    #[tokio::test]
    async fn a_cluster_that_does_not_say_how_it_is_is_not_at_rest() {
        let cluster = FakeCluster::new(3, false);
        cluster.pause(NodeId(2)).await.unwrap();
        assert_eq!(busy(&cluster).await, [(NodeId(2), "n2: it does not answer".to_owned())]);
    }

    #[tokio::test]
    async fn a_node_that_has_ended_is_not_waited_for() {
        let cluster = FakeCluster::new(3, false);
        cluster.kill(NodeId(2)).await.unwrap();
        assert_eq!(rest(&cluster).await.unwrap_err().to_string(), "n2 is down");
    }
}
