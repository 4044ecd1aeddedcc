//! A member gives up its share of the ring, hands on what it holds, and is gone; its process ends by itself.

use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::NodeId;
use dynamo_protocol::membership::{Edit, Seat, Standing};
use dynamo_sim::World;
use serde_json::{Value, json};

use super::kind::{Kind, Nature, Whom};
use crate::cluster::Cluster;
use crate::nemesis::draw::Draw;
use crate::nemesis::proof::{Site, Unproven};
use crate::nemesis::ring;
use crate::plan::{FaultName, Plan, Wrong};
use crate::simulated::twin::Twin;

/// This member leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leave(pub NodeId);

impl Kind for Leave {
    const NATURE: Nature = Nature::of_the_ring("a member leaves in order");

    fn check(plan: &Plan) -> Result<(), Wrong> {
        plan.check_ring(FaultName::Leave)?;
        plan.check_leave()
    }

    fn draw(draw: &mut Draw<'_>, at: Duration) -> Option<Self> {
        draw.leaver(at).map(Self)
    }

    fn whom(&self) -> Whom<'_> {
        Whom::Nodes(std::slice::from_ref(&self.0))
    }

    fn holds(&self) -> &[NodeId] {
        std::slice::from_ref(&self.0)
    }

    /// In force when every member that runs goes by a membership in which it has no share.
    async fn inject<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        Ok(ring::leave(site.cluster, self.0).await)
    }

    /// Healed when it was drained and removed, its process has ended in order, and the change is finished.
    async fn heal<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        let ended = ring::part_with(site, self.0).await?;
        let node = self.0;
        let mut proof = ring::finished(site, "nobody holds what is another's").await;
        proof["ended"] = json!(format!("{node}: {ended}"));
        Ok(proof)
    }

    fn twin(&self, _nodes: &[NodeId]) -> Arc<dyn Twin> {
        Arc::new(self.clone())
    }
}

impl Leave {
    fn seat(&self, world: &World) -> Option<Seat> {
        world.membership().seat(self.0).copied()
    }
}

impl Twin for Leave {
    fn begin(&self, _world: &mut World) -> bool {
        true
    }

    fn pursue(&self, world: &mut World, ends: bool) {
        let node = self.0;
        match self.seat(world) {
            Some(Seat { standing: Standing::In, .. }) => world.ask_for(Edit::Leave { node }),
            Some(Seat { directory, .. }) if ends && world.is_drained(node) => {
                world.ask_for(Edit::Gone { node, directory, forced: false });
            }
            _ => {}
        }
    }

    fn end(&self, _world: &mut World) {}

    fn is_in_force(&self, world: &World) -> Option<bool> {
        Some(world.is_known(|membership| {
            membership.seat(self.0).is_none_or(|seat| seat.standing == Standing::Leaving)
        }))
    }

    fn is_over(&self, world: &World) -> Option<bool> {
        let is_out = self.seat(world).is_none() && !world.runs(self.0);
        Some(is_out && world.is_finished())
    }
}
