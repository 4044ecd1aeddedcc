//! Syncs of a disk take long.

use std::sync::Arc;
use std::time::Duration;

use dynamo_node::{Hooked, Hooks};
use dynamo_protocol::NodeId;
use dynamo_sim::World;
use rand::Rng;
use serde_json::{Value, json};

use super::kind::{Kind, Nature, Whom};
use crate::cluster::Cluster;
use crate::nemesis::draw::Draw;
use crate::nemesis::hooks;
use crate::nemesis::proof::{Site, Unproven, until};
use crate::plan::{FaultName, FaultPlan, Plan, Span, Wrong, within};
use crate::simulated::twin::{Drawn, Each, Twin};

/// Longer than a request's deadline by far, and still at an end before a run gives up its final phase.
const LONGEST: Span = Span::secs(10);
/// What a sync of the simulator takes when all is well, in microseconds.
const SYNC: u128 = 100;

/// The disks of these nodes are slow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slowdisk {
    /// Whose they are.
    pub nodes: Vec<NodeId>,
    /// How much longer every sync takes.
    pub slow: Duration,
}

impl Kind for Slowdisk {
    const NATURE: Nature = Nature::of_hooks("the node's storage hook waits after every sync");

    fn bounds(settings: &FaultPlan) -> Result<(), Wrong> {
        within(&["fault.slow"], settings.slow, Span::millis(1), LONGEST)
    }

    fn check(plan: &Plan) -> Result<(), Wrong> {
        plan.check_files(FaultName::Slowdisk)?;
        plan.check_targets()
    }

    fn draw(draw: &mut Draw<'_>, at: Duration) -> Option<Self> {
        let nodes = draw.running(at)?;
        Some(Self { nodes, slow: draw.plan.fault.slow.0 })
    }

    fn aimed_at(&self, node: NodeId) -> Self {
        Self { nodes: vec![node], ..self.clone() }
    }

    fn whom(&self) -> Whom<'_> {
        Whom::Nodes(&self.nodes)
    }

    /// Who ends forgets what it was told to do.
    fn holds(&self) -> &[NodeId] {
        &self.nodes
    }

    /// In force when syncs of each disk have taken as long as they are to, by its node's own clock.
    async fn inject<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        let hooks = |_| Hooks { slow: self.slow, ..Hooks::default() };
        let before = hooks::on(site, &self.nodes, hooks).await?;
        let each = self.nodes.iter().zip(before).map(async |(node, before)| {
            until(async || {
                let now = site.cluster.hooks(*node, site.id, None).await.ok()?;
                mean(&before, &now).filter(|mean| *mean >= self.slow)
            })
            .await
        });
        let means = futures::future::join_all(each).await;
        let shown = self.nodes.iter().zip(means);
        Ok(shown.map(|(node, mean)| json!(format!("{node}: a sync takes {mean:?}"))).collect())
    }

    async fn heal<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        hooks::off(site, &self.nodes).await
    }

    fn twin(&self, _nodes: &[NodeId]) -> Arc<dyn Twin> {
        twin(self.nodes.clone(), u64::try_from(self.slow.as_micros() / SYNC).unwrap_or(u64::MAX))
    }
}

/// How long a slow sync took since then; nothing, if there was none.
fn mean(before: &Hooked, now: &Hooked) -> Option<Duration> {
    let times = now.slowed.checked_sub(before.slowed).filter(|times| *times > 0)?;
    Some(Duration::from_micros((now.slowed_us - before.slowed_us) / times))
}

/// As the simulator draws it.
pub(crate) const DRAWN: Drawn = Drawn::new("slowdisk", |luck| {
    let times = luck.rng.random_range(10..1_000);
    Some(twin(vec![luck.one], times))
});

fn twin(nodes: Vec<NodeId>, times: u64) -> Arc<dyn Twin> {
    let slow = move |world: &mut World, node| world.slow_disk(node, times);
    let is_slow = |world: &World, node| world.slowness(node) > 1;
    let each = Each::new(nodes, slow, |world, node| world.slow_disk(node, 1));
    Arc::new(each.seen(is_slow))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_was_slow_before_is_not_taken_for_one_that_is() {
        let then = Hooked { slowed: 5, slowed_us: 900_000, ..Hooked::default() };
        assert_eq!(mean(&then, &then), None);
        let now = Hooked { slowed: 7, slowed_us: 960_000, ..Hooked::default() };
        assert_eq!(mean(&then, &now), Some(Duration::from_millis(30)));
    }
}
