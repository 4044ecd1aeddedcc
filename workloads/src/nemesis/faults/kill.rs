//! Processes end at once, and are started again on their disks.

use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::NodeId;
use dynamo_sim::World;
use futures::future::try_join_all;
use serde_json::Value;

use super::kind::{Kind, Nature, Whom};
use crate::cluster::Cluster;
use crate::nemesis::draw::Draw;
use crate::nemesis::processes;
use crate::nemesis::proof::{Site, Unproven};
use crate::plan::{Engine, Plan, Wrong, refuse_if};
use crate::simulated::twin::{Drawn, Each, Twin};

/// These processes end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill(pub Vec<NodeId>);

impl Kind for Kill {
    const NATURE: Nature = Nature { misses: true, ..Nature::of_processes("SIGKILL") };

    fn check(plan: &Plan) -> Result<(), Wrong> {
        let forgets = plan.cluster.engine == Engine::Memory;
        refuse_if(&["cluster.engine", "faults"], forgets, || {
            "fault kill with engine memory loses what it holds: use engine fjall".to_owned()
        })?;
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

    /// In force when the processes that ran are gone.
    async fn inject<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        let each = self.0.iter().map(|node| processes::kill(site.cluster, *node));
        Ok(try_join_all(each).await?.into_iter().collect())
    }

    /// Healed when another process answers for each node, on the same disk.
    async fn heal<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        let each = self.0.iter().map(|node| processes::return_as_before(site, *node));
        Ok(try_join_all(each).await?.into_iter().collect())
    }

    fn twin(&self, _nodes: &[NodeId]) -> Arc<dyn Twin> {
        twin(self.0.clone())
    }
}

/// As the simulator draws it.
pub(crate) const DRAWN: Drawn =
    Drawn::new("kill", |luck| Some(twin(luck.some()))).that_ends_processes();

/// They are gone until the end of the fault.
pub(super) fn twin(nodes: Vec<NodeId>) -> Arc<dyn Twin> {
    Arc::new(Each::ended(nodes, World::kill))
}
