//! The power of hosts is cut, of some or of all at once: what was not synced is gone.
//!
//! Of real nodes nothing is synced any more from a moment on, until there is something to lose; then their
//! processes end. Whoever acknowledged any of it has acknowledged what no disk holds.

use std::sync::Arc;
use std::time::Duration;

use dynamo_node::Hooks;
use dynamo_protocol::NodeId;
use dynamo_sim::World;
use futures::future::{join_all, try_join_all};
use rand::Rng;
use serde_json::Value;

use super::kind::{Kind, Nature, Needs, Whom};
use crate::cluster::Cluster;
use crate::hosts::disk::Damage;
use crate::nemesis::draw::Draw;
use crate::nemesis::proof::{Site, Unproven, until};
use crate::nemesis::{disks, hooks, processes};
use crate::plan::{Durability, FaultName, Plan, Wrong, refuse_if};
use crate::simulated::twin::{Drawn, Each, Twin};

/// How long a node goes on at most with nothing synced, in milliseconds: less than a request's deadline, so
/// that a node that answers too early is heard.
const MOST_UNSYNCED: u64 = 300;
/// The power of all is cut once in so many times.
const ALL_ONE_IN: u32 = 3;

/// The power of these nodes' hosts is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Powercut {
    /// Whose.
    pub nodes: Vec<NodeId>,
    /// By what.
    pub by: By,
}

/// What cuts power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The node's storage hook, which syncs nothing, so long once there is something to lose.
    Hook(Duration),
    /// Their disks are their own, and lose what the system has not written down.
    Disk,
}

impl Kind for Powercut {
    const NATURE: Nature = Nature {
        misses: true,
        needs: Needs::Hooks("the node's storage hook holds syncs up, and then SIGKILL"),
        ..Nature::of_processes("")
    };

    fn check(plan: &Plan) -> Result<(), Wrong> {
        plan.check_files(FaultName::Powercut)?;
        let durability = plan.cluster.durability;
        refuse_if(&["cluster.durability", "faults"], durability != Durability::Sync, || {
            format!(
                "fault powercut with durability {durability}: it takes what was acknowledged, by its own \
                 word; `dyno bench loss` measures how much"
            )
        })?;
        plan.check_targets()
    }

    fn draw(draw: &mut Draw<'_>, at: Duration) -> Option<Self> {
        let all = draw.rng.random_ratio(1, ALL_ONE_IN).then(|| draw.everybody(at)).flatten();
        let nodes = all.or_else(|| draw.processes(at))?;
        let unsynced = Duration::from_millis(draw.rng.random_range(20..MOST_UNSYNCED));
        let by = if draw.plan.cluster.own_disks { By::Disk } else { By::Hook(unsynced) };
        Some(Self { nodes, by })
    }

    fn aimed_at(&self, node: NodeId) -> Self {
        Self { nodes: vec![node], ..self.clone() }
    }

    fn whom(&self) -> Whom<'_> {
        Whom::Nodes(&self.nodes)
    }

    /// In force when all processes are gone, and one of them at least had written what was not synced; or if
    /// each disk has lost what was not, beside what is the node's.
    async fn inject<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        let cluster = site.cluster;
        let unsynced = match self.by {
            By::Hook(unsynced) => unsynced,
            By::Disk => {
                let cut = self.nodes.iter().map(async |node| {
                    let gone = processes::kill(cluster, *node).await?;
                    let lost = cluster.damage(*node, Damage::LosePower).await?;
                    Ok::<_, Unproven>(format!("{gone}, {lost}"))
                });
                return Ok(try_join_all(cut).await?.into_iter().collect());
            }
        };
        hooks::on(site, &self.nodes, |_| Hooks { hold: true, ..Hooks::default() }).await?;
        let held = async || {
            let each = self.nodes.iter().map(|node| cluster.hooks(*node, site.id, None));
            let each = join_all(each).await.into_iter();
            each.map(|hooked| hooked.map_or(0, |hooked| hooked.held)).collect::<Vec<_>>()
        };
        until(async || held().await.iter().any(|held| *held > 0).then_some(())).await;
        tokio::time::sleep(unsynced).await;
        let lost = held().await;
        let gone = self.nodes.iter().map(|node| processes::kill(cluster, *node));
        let gone = try_join_all(gone).await?.into_iter().zip(lost);
        Ok(gone.map(|(gone, lost)| format!("{gone}, {lost} changes were not synced")).collect())
    }

    /// Healed when each answers as who it was: all that it had ever told was synced.
    async fn heal<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        if let By::Hook(_) = self.by {
            return hooks::back(site, &self.nodes).await;
        }
        let each = self.nodes.iter().map(|node| disks::kept_what_was_synced(site, *node));
        Ok(try_join_all(each).await?.into_iter().collect())
    }

    fn twin(&self, _nodes: &[NodeId]) -> Arc<dyn Twin> {
        twin(self.nodes.clone())
    }
}

/// As the simulator draws it.
pub(crate) const DRAWN: Drawn = Drawn::new("powercut", |luck| {
    let hosts = if luck.rng.random() { luck.nodes.to_vec() } else { luck.some() };
    Some(twin(hosts))
})
.that_ends_processes();

fn twin(nodes: Vec<NodeId>) -> Arc<dyn Twin> {
    Arc::new(Each::ended(nodes, World::power_cut))
}
