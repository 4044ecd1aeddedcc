//! What faults do by way of nodes' own hooks. Proof is the hooks' own count.

use std::time::Duration;

use dynamo_node::{Hooked, Hooks};
use dynamo_protocol::{NodeId, Skew};
use futures::future::{join_all, try_join_all};
use serde_json::Value;

use super::faults::kind::Needs;
use super::processes;
use super::proof::{Site, Unproven, until};
use super::schedule::Episode;
use crate::cluster::{Cluster, Life};

/// How long a node may take to end once it was told that a write failed.
const ENDS_WITHIN: Duration = Duration::from_secs(3);

/// Has each node do `hooks`; what its hooks had done before.
pub(super) async fn on<C: Cluster>(
    site: &Site<'_, C>,
    nodes: &[NodeId],
    hooks: impl Fn(NodeId) -> Hooks,
) -> Result<Vec<Hooked>, Unproven> {
    let each = nodes.iter().map(async |node| {
        let before = site.cluster.hooks(*node, site.id, None).await?;
        site.cluster.hooks(*node, site.id, Some(hooks(*node))).await?;
        Ok::<_, Unproven>(before)
    });
    try_join_all(each).await
}

/// The same, until all of them have done it: `done` tells how often, by what has been counted.
pub(super) async fn bite<C: Cluster>(
    site: &Site<'_, C>,
    nodes: &[NodeId],
    hooks: impl Fn(NodeId) -> Hooks,
    (what, done): (&str, impl Fn(&Hooked) -> u64),
) -> Result<Value, Unproven> {
    let before = on(site, nodes, hooks).await?;
    let each = nodes.iter().zip(before).map(async |(node, before)| {
        until(async || {
            let now = site.cluster.hooks(*node, site.id, None).await.ok()?;
            let times = done(&now).saturating_sub(done(&before));
            (times > 0).then(|| format!("{node}: {what} {times} times"))
        })
        .await
    });
    Ok(join_all(each).await.into_iter().collect())
}

/// Has the messages from and to these nodes meddled with, at both ends. In force when each of them has done
/// it.
pub(super) async fn meddle<C: Cluster>(
    site: &Site<'_, C>,
    nodes: &[NodeId],
    hooks: &Hooks,
    proof: (&str, impl Fn(&Hooked) -> u64),
) -> Result<Value, Unproven> {
    let runs = |node: &NodeId| matches!(site.cluster.life(*node), Life::Runs(_));
    let others =
        site.cluster.nodes().into_iter().filter(|node| !nodes.contains(node) && runs(node));
    let others: Vec<_> = others.collect();
    on(site, &others, |_| Hooks { peers: nodes.to_vec(), ..hooks.clone() }).await?;
    bite(site, nodes, |_| hooks.clone(), proof).await
}

/// Has nodes that run do it no more. Over when they answer, and were told so.
pub(super) async fn off<C: Cluster>(
    site: &Site<'_, C>,
    nodes: &[NodeId],
) -> Result<Value, Unproven> {
    let each = nodes.iter().map(async |node| {
        until(async || match site.cluster.life(*node) {
            Life::Runs(_) => {
                let off = site.cluster.hooks(*node, site.id, Some(Hooks::default())).await;
                off.ok().map(|_| format!("{node}: is itself again"))
            }
            // Another fault has it. Who starts again has no hooks on.
            Life::Gone => Some(format!("{node}: is down, and forgets it")),
            Life::Stopped(_) => None,
        })
        .await
    });
    Ok(join_all(each).await.into_iter().collect())
}

/// Takes off what a fault may have left on nodes that run.
pub(super) async fn forget(cluster: &impl Cluster, episode: &Episode) {
    if !matches!(episode.fault.name().nature().needs, Needs::Hooks(_)) {
        return;
    }
    for node in cluster.nodes() {
        if matches!(cluster.life(node), Life::Runs(_)) {
            // One that does not hear it is told of by whoever asks it next.
            let _ = cluster.hooks(node, episode.id, Some(Hooks::default())).await;
            let _ = cluster.clock(node, Some(Skew::NONE)).await;
        }
    }
}

/// Has a node's next write fail as `hooks` say, and waits for its end, which it owes: what the disk holds
/// then it does not know. In force when it has ended by itself and said why.
pub(super) async fn broken<C: Cluster>(
    site: &Site<'_, C>,
    node: NodeId,
    hooks: Hooks,
) -> Result<Value, Unproven> {
    let cluster = site.cluster;
    let failed = |hooked: &Hooked| hooked.writes_failed + hooked.syncs_failed + hooked.no_room;
    cluster.let_end(node);
    let before = cluster.hooks(node, site.id, None).await?;
    cluster.hooks(node, site.id, Some(hooks)).await?;
    let goes_on = async {
        // A node that has ended answers nothing more.
        until(async || {
            let now = cluster.hooks(node, site.id, None).await.ok()?;
            (failed(&now) > failed(&before)).then_some(())
        })
        .await;
        tokio::time::sleep(ENDS_WITHIN).await;
    };
    tokio::select! {
        ended = cluster.ended(node) => {
            let ended = ended?;
            if ended.contains("exit status: 0") || !ended.contains("the storage failed") {
                let how = format!("{node} {ended}: it does not say that its disk failed");
                return Err(Unproven::Refuted("FailureUntold", how));
            }
            Ok(vec![format!("{node}: {ended}")].into())
        }
        () = goes_on => {
            let how = format!("{node} was told that a write failed, and goes on after {ENDS_WITHIN:?}");
            Err(Unproven::Refuted("FailureIgnored", how))
        }
    }
}

/// Starts nodes that ended on the disks they had. Over when each answers as who it was.
pub(super) async fn back<C: Cluster>(
    site: &Site<'_, C>,
    nodes: &[NodeId],
) -> Result<Value, Unproven> {
    let each = nodes.iter().map(async |node| {
        if site.cluster.life(*node) != Life::Gone {
            // It was never seen to end: whatever its hooks may still do, they do no more.
            site.cluster.hooks(*node, site.id, Some(Hooks::default())).await?;
        }
        processes::return_as_before(site, *node).await
    });
    Ok(try_join_all(each).await?.into_iter().collect())
}
