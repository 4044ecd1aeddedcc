//! Faults of disks that leave something on them: rollback and bitflip.

use std::collections::BTreeMap;
use std::time::Duration;

use dynamo_protocol::NodeId;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::processes::{in_words, kill_one, return_of};
use super::schedule::Rollback;
use super::{Unproven, until};
use crate::cluster::{Cluster, ClusterError, Life, Status};
use crate::disk::Damage;

/// How long a node goes on after a copy of its disk was kept: what it does then is to be lost.
const GOES_ON: Duration = Duration::from_secs(1);
/// What a node says whose directory is damaged beyond what it can mend itself.
const MEND: &str = "wipe the directory";

/// In force when the process is gone and its disk holds less than it did.
pub(super) async fn roll_back(
    cluster: &impl Cluster,
    node: NodeId,
    how: Rollback,
) -> Result<Value, Unproven> {
    let damage = match how {
        Rollback::Cut(hundredths) => Damage::Cut(hundredths),
        Rollback::PutBack => {
            kill_one(cluster, node).await?;
            cluster.damage(node, Damage::Keep).await.map_err(in_words)?;
            return_of(cluster, node).await?;
            sleep(GOES_ON).await;
            Damage::PutBack
        }
    };
    flip(cluster, node, damage).await
}

/// In force when the process is gone and the damage is done.
pub(super) async fn flip(
    cluster: &impl Cluster,
    node: NodeId,
    damage: Damage,
) -> Result<Value, Unproven> {
    let gone = kill_one(cluster, node).await?;
    let done = cluster.damage(node, damage).await.map_err(in_words)?;
    Ok(json!([format!("{gone}; {done}")]))
}

/// Healed when the node has noticed: it answers under another identity, by itself or after it refused
/// to start and its disk was emptied.
pub(super) async fn notice(
    cluster: &impl Cluster,
    node: NodeId,
    before: &BTreeMap<NodeId, Status>,
) -> Result<Value, Unproven> {
    let (then, refused) = came_back(cluster, node, before).await?;
    let other = async || {
        let now = cluster.status(node).await.ok()?;
        (now.identity != then).then_some(now.identity)
    };
    let now = until(other).await;
    Ok(json!([format!("{node}: {refused}was {then}, answers as {now}")]))
}

/// Healed when the node has noticed, or has read all of its disk and found nothing missing.
pub(super) async fn survive(
    cluster: &impl Cluster,
    node: NodeId,
    before: &BTreeMap<NodeId, Status>,
) -> Result<Value, Unproven> {
    let (then, refused) = came_back(cluster, node, before).await?;
    let now = return_of(cluster, node).await?.identity;
    let shown = if now == then {
        format!("{node}: answers as {now} still: it read its disk and found all it had kept")
    } else {
        format!("{node}: {refused}was {then}, answers as {now}")
    };
    Ok(json!([shown]))
}

/// Starts a node whose disk was damaged. One that refuses gets an empty disk: that is the mend it names.
async fn came_back(
    cluster: &impl Cluster,
    node: NodeId,
    before: &BTreeMap<NodeId, Status>,
) -> Result<(String, String), Unproven> {
    let then = before.get(&node).ok_or_else(|| format!("{node} did not say who it was before"))?;
    let mut refused = String::new();
    if cluster.life(node) == Life::Gone {
        match cluster.start(node).await {
            Err(ClusterError::Start { reason, .. }) if reason.contains(MEND) => {
                refused = format!("refused to start ({reason}), its directory is removed; ");
                cluster.wipe(node).await.map_err(in_words)?;
            }
            started => started.map_err(in_words)?,
        }
    }
    return_of(cluster, node).await?;
    Ok((then.identity.clone(), refused))
}
