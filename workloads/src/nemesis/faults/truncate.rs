//! A file of a disk has lost its end.

use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::NodeId;
use rand::Rng;
use serde_json::Value;

use super::bitflip::Record;
use super::kind::{Kind, Nature, Whom};
use crate::cluster::Cluster;
use crate::hosts::disk::Damage;
use crate::nemesis::disks;
use crate::nemesis::draw::Draw;
use crate::nemesis::proof::{Site, Unproven};
use crate::plan::{FaultName, Plan, Wrong};
use crate::simulated::twin::Twin;

/// Of this disk a file is shorter than it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truncate {
    /// Whose it is.
    pub node: NodeId,
    /// By so many hundredths of what was written to the file.
    pub hundredths: u8,
    /// By which the file is drawn.
    pub seed: u64,
}

impl Kind for Truncate {
    const NATURE: Nature = Nature::of_disks("the end of one of its files is cut off");

    fn check(plan: &Plan) -> Result<(), Wrong> {
        plan.check_files(FaultName::Truncate)?;
        plan.check_disks(FaultName::Truncate)
    }

    fn draw(draw: &mut Draw<'_>, at: Duration) -> Option<Self> {
        let node = draw.disk(at, Self::NATURE)?;
        let (hundredths, seed) = (draw.rng.random_range(1..=100), draw.rng.random());
        Some(Self { node, hundredths, seed })
    }

    fn whom(&self) -> Whom<'_> {
        Whom::Nodes(std::slice::from_ref(&self.node))
    }

    /// In force when the process is gone and the file is shorter.
    async fn inject<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        let shorten = Damage::Truncate { hundredths: self.hundredths, seed: self.seed };
        disks::damage(site.cluster, self.node, shorten).await
    }

    /// Healed as damage of any other kind is.
    async fn heal<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        disks::damage_noticed(site, self.node).await
    }

    /// Of disks without files: a record that is not whole is one that cannot be read.
    fn twin(&self, _nodes: &[NodeId]) -> Arc<dyn Twin> {
        Arc::new(Record(self.node))
    }
}
