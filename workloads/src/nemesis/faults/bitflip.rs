//! Bits of a disk are others than were written.

use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::NodeId;
use dynamo_sim::World;
use rand::Rng;
use serde_json::Value;

use super::kind::{Kind, Nature, Whom};
use super::partition::Partition;
use crate::cluster::Cluster;
use crate::hosts::disk::Damage;
use crate::nemesis::disks;
use crate::nemesis::draw::Draw;
use crate::nemesis::proof::{Site, Unproven};
use crate::plan::{Cut, FaultName, Plan, Wrong};
use crate::simulated::twin::{BRINK, Drawn, Fault, Luck, Twin};

/// Of this disk bits are flipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitflip {
    /// Whose it is.
    pub node: NodeId,
    /// How many bits.
    pub bits: u8,
    /// Which are drawn from it.
    pub seed: u64,
}

impl Kind for Bitflip {
    const NATURE: Nature = Nature::of_disks("bits of its files are flipped");

    fn check(plan: &Plan) -> Result<(), Wrong> {
        plan.check_files(FaultName::Bitflip)?;
        plan.check_disks(FaultName::Bitflip)
    }

    fn draw(draw: &mut Draw<'_>, at: Duration) -> Option<Self> {
        let node = draw.disk(at, Self::NATURE)?;
        let (bits, seed) = (draw.rng.random_range(1..4), draw.rng.random());
        Some(Self { node, bits, seed })
    }

    fn whom(&self) -> Whom<'_> {
        Whom::Nodes(std::slice::from_ref(&self.node))
    }

    /// In force when the process is gone and the damage is done.
    async fn inject<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        let flip = Damage::Flip { bits: self.bits, seed: self.seed };
        disks::damage(site.cluster, self.node, flip).await
    }

    /// Healed when the node has noticed, or when it has read all of its disk and no peer knows of anything
    /// that is missing.
    async fn heal<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        disks::damage_noticed(site, self.node).await
    }

    fn twin(&self, _nodes: &[NodeId]) -> Arc<dyn Twin> {
        Arc::new(Record(self.node))
    }
}

/// A record of a simulated disk, which has no files, is damaged where it lies.
#[derive(Debug)]
pub(super) struct Record(pub(super) NodeId);

impl Twin for Record {
    fn begin(&self, world: &mut World) -> bool {
        world.damage(self.0).is_some()
    }

    fn end(&self, _world: &mut World) {}

    fn losses(&self) -> usize {
        1
    }

    /// A peer has missed the latest, and tells what is old.
    fn eve(&self, at: u64, until: u64, luck: &mut Luck<'_>) -> Option<(Vec<Fault>, u64)> {
        let peer = luck.peer_of(self.0)?;
        let deaf = Partition::of(vec![Cut { from: self.0, to: peer }]);
        let deaf = Fault::new(at, until, Arc::new(deaf));
        Some((vec![deaf], at + luck.rng.random_range(0..BRINK)))
    }
}

/// As the simulator draws it.
pub(crate) const DRAWN: Drawn = Drawn::new("bitflip", |luck| Some(Arc::new(Record(luck.disk()?))));
