//! Faults of processes: kill, pause, wipe.

use std::collections::BTreeMap;

use dynamo_protocol::NodeId;
use futures::future::try_join_all;
use serde_json::{Value, json};

use super::{Broken, Unproven, until};
use crate::cluster::{Cluster, ClusterError, Life, Status};

/// The process id of a node that runs.
pub(super) fn runs(cluster: &impl Cluster, node: NodeId) -> Result<u32, String> {
    match cluster.life(node) {
        Life::Runs(pid) => Ok(pid),
        Life::Stopped(pid) => Err(format!("{node} (process {pid}) stands still already")),
        Life::Gone => Err(format!("{node} is down already")),
    }
}

/// In force when the processes that ran are gone.
pub(super) async fn kill(cluster: &impl Cluster, nodes: &[NodeId]) -> Result<Value, Unproven> {
    let each = nodes.iter().map(|node| kill_one(cluster, *node));
    Ok(try_join_all(each).await?.into_iter().collect())
}

pub(super) async fn kill_one(cluster: &impl Cluster, node: NodeId) -> Result<String, Unproven> {
    let pid = runs(cluster, node)?;
    cluster.kill(node).await.map_err(in_words)?;
    until(async || (cluster.life(node) == Life::Gone).then_some(())).await;
    Ok(format!("{node}: process {pid} is gone"))
}

/// Healed when another process answers for each node, on the same disk.
pub(super) async fn restart(
    cluster: &impl Cluster,
    nodes: &[NodeId],
    before: &BTreeMap<NodeId, Status>,
) -> Result<Value, Unproven> {
    let each = nodes.iter().map(async |node| {
        let now = return_of(cluster, *node).await?;
        if let Some(then) = before.get(node)
            && then.identity != now.identity
        {
            let (now, then) = (now.identity, &then.identity);
            return Err(Unproven::from(format!("{node} came back as {now}, not {then}")));
        }
        Ok(format!("{node}: answers as incarnation {}", now.incarnation))
    });
    Ok(try_join_all(each).await?.into_iter().collect())
}

/// In force when every process is seen to stand still.
pub(super) async fn pause(cluster: &impl Cluster, nodes: &[NodeId]) -> Result<Value, Unproven> {
    for node in nodes {
        cluster.pause(*node).await.map_err(in_words)?;
    }
    let stopped = |node: NodeId| {
        until(async move || match cluster.life(node) {
            Life::Stopped(pid) => Some(format!("{node}: process {pid} is in state T")),
            Life::Runs(_) | Life::Gone => None,
        })
    };
    let each = nodes.iter().map(async |node| Ok::<_, Unproven>(stopped(*node).await));
    Ok(try_join_all(each).await?.into_iter().collect())
}

/// Healed when every process is seen to run and answers.
pub(super) async fn resume(cluster: &impl Cluster, nodes: &[NodeId]) -> Result<Value, Unproven> {
    for node in nodes {
        cluster.resume(*node).await.map_err(in_words)?;
    }
    let each = nodes.iter().map(async |node| {
        until(async || cluster.status(*node).await.ok()).await;
        let pid = runs(cluster, *node)?;
        Ok::<_, Unproven>(format!("{node}: process {pid} answers"))
    });
    Ok(try_join_all(each).await?.into_iter().collect())
}

/// In force when the process is gone and its disk is empty.
pub(super) async fn wipe(cluster: &impl Cluster, node: NodeId) -> Result<Value, Unproven> {
    let gone = kill_one(cluster, node).await?;
    cluster.wipe(node).await.map_err(in_words)?;
    Ok(json!([format!("{gone}, its directory is removed")]))
}

/// Healed when the node answers under an identity that its old disk did not have.
pub(super) async fn refresh(
    cluster: &impl Cluster,
    node: NodeId,
    before: &BTreeMap<NodeId, Status>,
) -> Result<Value, Unproven> {
    let now = return_of(cluster, node).await?;
    let then = before.get(&node).ok_or_else(|| format!("{node} did not say who it was before"))?;
    if then.identity == now.identity {
        let how = format!("{node} is still {} after its disk was emptied", now.identity);
        return Err(Unproven::Refuted(Broken::WipeUnnoticed, how));
    }
    Ok(json!([format!("{node}: was {}, answers as {}", then.identity, now.identity)]))
}

/// Starts a node and waits until it answers.
pub(super) async fn return_of(cluster: &impl Cluster, node: NodeId) -> Result<Status, Unproven> {
    if cluster.life(node) == Life::Gone {
        cluster.start(node).await.map_err(in_words)?;
    }
    Ok(until(async || cluster.status(node).await.ok()).await)
}

#[expect(clippy::needless_pass_by_value, reason = "as map_err wants it")]
pub(super) fn in_words(error: ClusterError) -> Unproven {
    error.to_string().into()
}
