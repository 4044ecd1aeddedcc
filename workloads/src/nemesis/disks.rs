//! Faults of disks that leave something on them: rollback and bitflip.

use std::collections::BTreeMap;

use dynamo_protocol::NodeId;
use serde_json::{Value, json};

use super::processes::{in_words, kill_one, return_of};
use super::schedule::Rollback;
use super::{Broken, Unproven, until};
use crate::cluster::{Cluster, ClusterError, Life, Status};
use crate::disk::Damage;

/// How many puts that began after a copy of its disk was kept a node acknowledges: what it is to lose.
const GOES_ON: u64 = 8;
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
            goes_on(cluster, node).await;
            Damage::PutBack
        }
    };
    flip(cluster, node, damage).await
}

/// Returns when peers remember something of the node that the copy lacks: what it acknowledges after all of
/// them have told that its disk is whole. Of what it acknowledges in doubt they remember nothing.
async fn goes_on(cluster: &impl Cluster, node: NodeId) {
    let acknowledged = |status: &Status| status.counters.get("acknowledged").copied().unwrap_or(0);
    let proven = async || cluster.status(node).await.ok().filter(|status| status.proven);
    let proven = until(proven).await;
    // What was under way then was perhaps begun in doubt.
    let enough = acknowledged(&proven) + proven.open_operations + GOES_ON;
    let is_enough = |now: &Status| acknowledged(now) >= enough;
    until(async || cluster.status(node).await.ok().filter(is_enough)).await;
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
/// to start and its disk was emptied. What was cut off its own disk it has to miss by itself; that all of
/// the disk is an older copy only its peers can tell.
pub(super) async fn notice(
    cluster: &impl Cluster,
    node: NodeId,
    how: Rollback,
    before: &BTreeMap<NodeId, Status>,
) -> Result<Value, Unproven> {
    let back = came_back(cluster, node, before).await?;
    let refuted = |how| Unproven::Refuted(Broken::RollbackUnnoticed, format!("{node} {how}"));
    match (back.noticed_by(), how) {
        (None, _) => Err(refuted(format!("goes on as {}: its disk went back", back.then))),
        (Some(By::Peers), Rollback::Cut(_)) => {
            let how = "lost the end of its journal and did not miss it: its peers had to tell";
            Err(refuted(how.to_owned()))
        }
        (Some(By::Itself), _) | (Some(By::Peers), Rollback::PutBack) => Ok(back.shown(node)),
    }
}

/// Healed when the node has noticed, or when it has read all of its disk and no peer knows of anything that
/// is missing.
pub(super) async fn survive(
    cluster: &impl Cluster,
    node: NodeId,
    before: &BTreeMap<NodeId, Status>,
) -> Result<Value, Unproven> {
    let back = came_back(cluster, node, before).await?;
    match back.noticed_by() {
        Some(By::Peers) => {
            let how = format!("{node} lost what its peers remember and did not miss it by itself");
            Err(Unproven::Refuted(Broken::DamageUnnoticed, how))
        }
        Some(By::Itself) | None => Ok(back.shown(node)),
    }
}

/// A node whose disk was damaged, once that is known to it or it is sure that nothing is.
struct Back {
    /// Who it was.
    then: String,
    /// What it says now.
    now: Status,
    /// Why it did not start on the damaged disk, if it did not.
    refused: Option<String>,
}

/// Who noticed.
enum By {
    Itself,
    Peers,
}

impl Back {
    fn noticed_by(&self) -> Option<By> {
        let told = self.now.counters.get("rolled_back").is_some_and(|times| *times > 0);
        (self.now.identity != self.then).then_some(if told { By::Peers } else { By::Itself })
    }

    fn shown(&self, node: NodeId) -> Value {
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

/// Starts a node whose disk was damaged. One that refuses gets an empty disk: that is the mend it names.
/// Returns when it answers under another identity, or has heard from all its peers that it may keep its own.
async fn came_back(
    cluster: &impl Cluster,
    node: NodeId,
    before: &BTreeMap<NodeId, Status>,
) -> Result<Back, Unproven> {
    let then = before.get(&node).ok_or_else(|| format!("{node} did not say who it was before"))?;
    let then = then.identity.clone();
    let mut refused = None;
    if cluster.life(node) == Life::Gone {
        match cluster.start(node).await {
            Err(ClusterError::Start { reason, .. }) if reason.contains(MEND) => {
                refused = Some(reason);
                cluster.wipe(node).await.map_err(in_words)?;
            }
            started => started.map_err(in_words)?,
        }
    }
    return_of(cluster, node).await?;
    let is_sure = |now: &Status| now.identity != then || now.proven;
    let now = until(async || cluster.status(node).await.ok().filter(is_sure)).await;
    Ok(Back { then, now, refused })
}
