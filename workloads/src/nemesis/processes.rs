//! What faults do to processes.

use dynamo_protocol::NodeId;

use super::proof::{Site, Unproven, until};
use crate::cluster::{Cluster, Life, Status};

/// The process id of a node that runs.
pub(super) fn runs(cluster: &impl Cluster, node: NodeId) -> Result<u32, String> {
    match cluster.life(node) {
        Life::Runs(pid) => Ok(pid),
        Life::Stopped(pid) => Err(format!("{node} (process {pid}) stands still already")),
        Life::Gone => Err(format!("{node} is down already")),
    }
}

/// Ends a process that runs; says so when it is gone.
pub(super) async fn kill(cluster: &impl Cluster, node: NodeId) -> Result<String, Unproven> {
    let pid = runs(cluster, node)?;
    cluster.kill(node).await?;
    until(async || (cluster.life(node) == Life::Gone).then_some(())).await;
    Ok(format!("{node}: process {pid} is gone"))
}

/// Starts a node and waits until it answers.
pub(super) async fn return_of(cluster: &impl Cluster, node: NodeId) -> Result<Status, Unproven> {
    if cluster.life(node) == Life::Gone {
        cluster.start(node).await?;
    }
    Ok(until(async || cluster.status(node).await.ok()).await)
}

/// The same; it has to be on the directory that it was on before.
pub(super) async fn return_as_before<C: Cluster>(
    site: &Site<'_, C>,
    node: NodeId,
) -> Result<String, Unproven> {
    let now = return_of(site.cluster, node).await?;
    if let Ok(then) = site.identity(node)
        && then != now.identity
    {
        let now = now.identity;
        return Err(Unproven::from(format!("{node} came back as {now}, not {then}")));
    }
    Ok(format!("{node}: answers as incarnation {}", now.incarnation))
}
