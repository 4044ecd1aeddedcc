//! Disks answer reads, writes or a sync with an error.

use std::sync::Arc;
use std::time::Duration;

use dynamo_node::Hooks;
use dynamo_protocol::NodeId;
use dynamo_sim::World;
use dynamo_sim::disk::DiskFault;
use rand::Rng;
use serde_json::Value;

use super::kind::{Kind, Nature, Whom};
use crate::cluster::Cluster;
use crate::nemesis::draw::Draw;
use crate::nemesis::hooks;
use crate::nemesis::proof::{Site, Unproven};
use crate::plan::{FaultName, Plan, Wrong};
use crate::simulated::twin::{Drawn, Each, Luck, Twin};

/// This disk fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eio {
    /// Whose it is.
    pub node: NodeId,
    /// At what.
    pub at: Fails,
}

/// What a disk fails at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fails {
    /// So many reads, or all of them ([`Hooks::FOR_GOOD`]).
    Reads(u32),
    /// A write, of which nothing is there afterwards.
    Write,
    /// A sync. All of it may be there afterwards, and the next sync may tell nothing of it.
    Sync,
}

impl Kind for Eio {
    const NATURE: Nature = Nature::of_broken_disks("the node's storage hook answers with an error");

    fn check(plan: &Plan) -> Result<(), Wrong> {
        plan.check_files(FaultName::Eio)
    }

    fn draw(draw: &mut Draw<'_>, at: Duration) -> Option<Self> {
        let node = draw.process(at)?;
        let at = match draw.rng.random_range(0..4) {
            0 => Fails::Reads(draw.rng.random_range(1..20)),
            1 => Fails::Reads(Hooks::FOR_GOOD),
            2 => Fails::Write,
            _ => Fails::Sync,
        };
        Some(Self { node, at })
    }

    fn aimed_at(&self, node: NodeId) -> Self {
        Self { node, ..self.clone() }
    }

    fn whom(&self) -> Whom<'_> {
        Whom::Nodes(std::slice::from_ref(&self.node))
    }

    /// In force when a read has failed, or when the process has ended and said why.
    async fn inject<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        let hooks = Hooks::default();
        match self.at {
            Fails::Reads(fail_reads) => {
                let hooks = |_| Hooks { fail_reads, ..hooks.clone() };
                let failed = ("a read failed", |hooked: &dynamo_node::Hooked| hooked.reads_failed);
                hooks::bite(site, &[self.node], hooks, failed).await
            }
            Fails::Write => hooks::broken(site, self.node, Hooks { fail_writes: 1, ..hooks }).await,
            Fails::Sync => hooks::broken(site, self.node, Hooks { fail_syncs: 1, ..hooks }).await,
        }
    }

    async fn heal<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        hooks::back(site, &[self.node]).await
    }

    fn twin(&self, _nodes: &[NodeId]) -> Arc<dyn Twin> {
        Arc::new(match self.at {
            Fails::Reads(times) => Each::disk(vec![self.node], DiskFault::ReadsFail(times)),
            Fails::Write => Each::disk(vec![self.node], DiskFault::WritesFail(1)),
            Fails::Sync => Each::new(vec![self.node], World::fail_sync, |_, _| {}),
        })
    }
}

/// As the simulator draws it.
pub(crate) const DRAWN: Drawn = Drawn::new("eio", |luck| {
    Some(Arc::new(match luck.rng.random_range(0..3) {
        0 => Each::disk(luck.some(), DiskFault::ReadsFail(times(luck))),
        1 => Each::disk(luck.some(), DiskFault::WritesFail(times(luck))),
        _ => Each::new(vec![luck.one], World::fail_sync, |_, _| {}),
    }))
})
.that_ends_processes();

/// The next so many writes of this disk fail.
pub(super) fn refusing(node: NodeId, times: u32) -> Arc<dyn Twin> {
    Arc::new(Each::disk(vec![node], DiskFault::WritesFail(times)))
}

/// How often a disk fails: a few times, or until it is mended.
fn times(luck: &mut Luck<'_>) -> u32 {
    if luck.rng.random_ratio(1, 4) { DiskFault::FOR_GOOD } else { luck.rng.random_range(1..20) }
}
