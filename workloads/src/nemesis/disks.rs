//! What faults do to disks that leaves something on them.

use dynamo_protocol::NodeId;
use serde_json::{Value, json};

use super::processes::{kill, return_of};
use super::proof::{Site, Unproven, until};
use crate::cluster::{Cluster, ClusterError, Life, Status};
use crate::hosts::disk::Damage;

/// What a node says whose directory is damaged beyond what it can mend itself.
const MEND: &str = "wipe the directory";

/// Damages the disk of a node that runs. In force when the process is gone and the damage is done.
pub(super) async fn damage(
    cluster: &impl Cluster,
    node: NodeId,
    damage: Damage,
) -> Result<Value, Unproven> {
    let gone = kill(cluster, node).await?;
    let done = cluster.damage(node, damage).await?;
    Ok(json!([format!("{gone}; {done}")]))
}

/// A node whose disk was damaged, once that is known to it or it is sure that nothing is.
pub(super) struct Back {
    /// Who it was.
    pub(super) then: String,
    /// What it says now.
    now: Status,
    /// Why it did not start on the damaged disk, if it did not.
    refused: Option<String>,
}

/// Who noticed.
pub(super) enum By {
    Itself,
    Peers,
}

impl Back {
    pub(super) fn noticed_by(&self) -> Option<By> {
        let told = self.now.counters.get("rolled_back").is_some_and(|times| *times > 0);
        (self.now.identity != self.then).then_some(if told { By::Peers } else { By::Itself })
    }

    pub(super) fn shown(&self, node: NodeId) -> Value {
        let (then, now) = (&self.then, &self.now.identity);
        let refused = self.refused.as_ref().map_or_else(String::new, |reason| {
            format!("refused to start ({reason}), its directory is removed; ")
        });
        json!([match self.noticed_by() {
            Some(By::Itself) => format!("{node}: {refused}was {then}, answers as {now}"),
            Some(By::Peers) => format!("{node}: was {then}, answers as {now}: its peers told it"),
            None => format!(
                "{node}: answers as {now} still: it read its disk, and no peer knows of more"
            ),
        }])
    }
}

/// Starts a node whose disk was damaged. Healed when it has noticed, or when it has read all of its disk
/// and no peer knows of anything that is missing.
pub(super) async fn damage_noticed<C: Cluster>(
    site: &Site<'_, C>,
    node: NodeId,
) -> Result<Value, Unproven> {
    let back = came_back(site, node).await?;
    match back.noticed_by() {
        Some(By::Peers) => {
            let how = format!("{node} lost what its peers remember and did not miss it by itself");
            Err(Unproven::Refuted("DamageUnnoticed", how))
        }
        Some(By::Itself) | None => Ok(back.shown(node)),
    }
}

/// Starts a node whose disk lost what was not synced, and nothing else. Healed when it answers as who it was:
/// whoever waits for each sync has lost nothing that it ever told.
pub(super) async fn kept_what_was_synced<C: Cluster>(
    site: &Site<'_, C>,
    node: NodeId,
) -> Result<String, Unproven> {
    let (cluster, then) = (site.cluster, site.identity(node)?);
    let refuted = |how| Err(Unproven::Refuted("SyncedLost", format!("{node} {how}")));
    if cluster.life(node) == Life::Gone {
        match cluster.start(node).await {
            Err(ClusterError::Start { reason, .. }) if reason.contains(MEND) => {
                return refuted(format!("cannot start on what a power cut has left: {reason}"));
            }
            started => started?,
        }
    }
    let now = return_of(cluster, node).await?;
    if now.identity != then {
        let now = now.identity;
        return refuted(format!("was {then}, and misses what it had told: it answers as {now}"));
    }
    Ok(format!("{node}: answers as incarnation {}", now.incarnation))
}

/// Starts a node whose disk was damaged. One that refuses gets an empty disk: that is the mend it names.
/// Returns when it answers under another identity, or has heard from all its peers that it may keep its own.
pub(super) async fn came_back<C: Cluster>(
    site: &Site<'_, C>,
    node: NodeId,
) -> Result<Back, Unproven> {
    let (cluster, then) = (site.cluster, site.identity(node)?.to_owned());
    let mut refused = None;
    if cluster.life(node) == Life::Gone {
        match cluster.start(node).await {
            Err(ClusterError::Start { reason, .. }) if reason.contains(MEND) => {
                refused = Some(reason);
                cluster.wipe(node).await?;
            }
            started => started?,
        }
    }
    return_of(cluster, node).await?;
    let is_sure = |now: &Status| now.identity != then || now.proven;
    let now = until(async || cluster.status(node).await.ok().filter(is_sure)).await;
    Ok(Back { then, now, refused })
}
