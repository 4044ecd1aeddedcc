//! The final phase: heal, wait until the nodes say they are at rest, and read what was kept.
//!
//! 1. Every home's own replica of every key, without a quorum: a quorum hides a lost copy.
//! 2. A settling get of every key: it repairs homes that hints did not reach.
//! 3. Every key through every node.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dynamo_protocol::{Config, Key, NodeId};
use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};

use crate::client::Client;
use crate::cluster::Cluster;
use crate::generator::{Action, Read, Reads};
use crate::interpreter::Interpreter;

/// How long the cluster may take until it is at rest. A busy cluster of this size delivers its hints in
/// a second or two.
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
    let homes = keys
        .iter()
        .flat_map(|key| homes(config, key).into_iter().map(|node| Read { key: key.clone(), node }));
    read(interpreter, Reads::new(Action::Home, true, homes)).await?;
    let nodes = cluster.nodes();
    let settling = keys.iter().zip(nodes.iter().cycle());
    let settling = settling.map(|(key, node)| Read { key: key.clone(), node: *node });
    read(interpreter, Reads::new(Action::Get, false, settling)).await?;
    rest(cluster).await.context("after the settling reads")?;
    let finals =
        keys.iter().flat_map(|key| nodes.iter().map(|node| Read { key: key.clone(), node: *node }));
    read(interpreter, Reads::new(Action::Get, true, finals)).await
}

fn homes(config: &Config, key: &str) -> Vec<NodeId> {
    config.preference_list(&Key::from(key)).0
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
async fn rest(cluster: &impl Cluster) -> Result<()> {
    let deadline = Instant::now() + REST_PATIENCE;
    let mut calm = 0;
    while calm < 2 {
        let busy = busy(cluster).await;
        calm = if busy.is_empty() { calm + 1 } else { 0 };
        ensure!(
            calm > 0 || Instant::now() < deadline,
            "the cluster is not at rest after {REST_PATIENCE:?}: {}",
            busy.join(", ")
        );
        sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

/// What nodes still have to do.
async fn busy(cluster: &impl Cluster) -> Vec<String> {
    let ask = cluster.nodes().iter().map(async |node| {
        match timeout(STATUS_PATIENCE, cluster.status(*node)).await {
            Ok(Ok(status)) if status.hints_held == 0 && status.open_operations == 0 => None,
            Ok(Ok(status)) => Some(format!(
                "{node} holds {} hints and has {} operations open",
                status.hints_held, status.open_operations
            )),
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("{node} does not say how it is")),
        }
    });
    join_all(ask).await.into_iter().flatten().collect()
}
