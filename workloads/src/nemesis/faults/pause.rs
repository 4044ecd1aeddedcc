//! Processes stand still, and go on later.

use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::NodeId;
use dynamo_sim::World;
use futures::future::{join_all, try_join_all};
use serde_json::Value;

use super::kind::{Kind, Nature, Whom};
use crate::cluster::{Cluster, Life};
use crate::nemesis::draw::Draw;
use crate::nemesis::processes;
use crate::nemesis::proof::{Site, Unproven, until};
use crate::plan::{Plan, Wrong};
use crate::simulated::twin::{Drawn, Each, Twin};

/// These processes stand still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause(pub Vec<NodeId>);

impl Kind for Pause {
    const NATURE: Nature = Nature::of_processes("SIGSTOP");

    fn check(plan: &Plan) -> Result<(), Wrong> {
        plan.check_targets()
    }

    fn draw(draw: &mut Draw<'_>, at: Duration) -> Option<Self> {
        draw.processes(at).map(Self)
    }

    fn aimed_at(&self, node: NodeId) -> Self {
        Self(vec![node])
    }

    fn whom(&self) -> Whom<'_> {
        Whom::Nodes(&self.0)
    }

    /// In force when every process is seen to stand still.
    async fn inject<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        for node in &self.0 {
            site.cluster.pause(*node).await?;
        }
        let stopped = |node: NodeId| {
            until(async move || match site.cluster.life(node) {
                Life::Stopped(pid) => Some(format!("{node}: process {pid} is in state T")),
                Life::Runs(_) | Life::Gone => None,
            })
        };
        Ok(join_all(self.0.iter().map(|node| stopped(*node))).await.into_iter().collect())
    }

    /// Healed when every process is seen to run and answers.
    async fn heal<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        for node in &self.0 {
            site.cluster.resume(*node).await?;
        }
        let each = self.0.iter().map(async |node| {
            until(async || site.cluster.status(*node).await.ok()).await;
            let pid = processes::runs(site.cluster, *node)?;
            Ok::<_, Unproven>(format!("{node}: process {pid} answers"))
        });
        Ok(try_join_all(each).await?.into_iter().collect())
    }

    fn twin(&self, _nodes: &[NodeId]) -> Arc<dyn Twin> {
        twin(self.0.clone())
    }
}

/// As the simulator draws it.
pub(crate) const DRAWN: Drawn = Drawn::new("pause", |luck| Some(twin(luck.some())));

fn twin(nodes: Vec<NodeId>) -> Arc<dyn Twin> {
    let stands_still = |world: &World, node| world.bench().host(node).is_paused();
    Arc::new(Each::new(nodes, World::pause, World::resume).seen(stands_still))
}
