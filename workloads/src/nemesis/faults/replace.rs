//! A member is lost with its disk, and an empty directory takes its place, as an operator has it do.

use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::NodeId;
use dynamo_protocol::membership::Edit;
use dynamo_sim::World;
use serde_json::{Value, json};

use super::kind::{Kind, Nature, Whom};
use crate::cluster::{Cluster, Origin};
use crate::nemesis::draw::Draw;
use crate::nemesis::proof::{Site, Unproven};
use crate::nemesis::{processes, ring};
use crate::plan::{FaultName, Plan, Wrong};
use crate::simulated::twin::Twin;

/// This member is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replace(pub NodeId);

impl Kind for Replace {
    const NATURE: Nature = Nature {
        changes_the_ring: true,
        is_refilled: true,
        ..Nature::of_disks("its disk is emptied, and it is replaced")
    };

    fn check(plan: &Plan) -> Result<(), Wrong> {
        plan.check_ring(FaultName::Replace)?;
        plan.check_disks(FaultName::Replace)
    }

    fn draw(draw: &mut Draw<'_>, at: Duration) -> Option<Self> {
        draw.disk(at, Self::NATURE).map(Self)
    }

    fn whom(&self) -> Whom<'_> {
        Whom::Nodes(std::slice::from_ref(&self.0))
    }

    /// In force when its process and its directory are gone, and every member that runs names another
    /// directory in the place of that.
    async fn inject<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        let (node, cluster) = (self.0, site.cluster);
        let then = cluster.ring(node).await?.directory;
        let gone = processes::kill(cluster, node).await?;
        cluster.wipe(node).await?;
        cluster.enter(node, Origin::Replaces).await?;
        let mut proof = ring::known(cluster, |membership| {
            let seat = membership.seat(node);
            seat.is_some_and(|seat| seat.directory != then) && membership.gone().contains(&then)
        })
        .await;
        proof["lost"] = json!(format!("{gone}, its directory is removed"));
        Ok(proof)
    }

    /// Healed when the change is finished.
    async fn heal<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        // It may not have come back.
        let now = processes::return_of(site.cluster, self.0).await?.identity;
        let then = site.identity(self.0)?;
        if then == now {
            let how = format!("{} is still {now} after its disk was emptied", self.0);
            return Err(Unproven::Refuted("WipeUnnoticed", how));
        }
        Ok(ring::finished(site, "every home counts, and nobody holds what is another's").await)
    }

    fn twin(&self, _nodes: &[NodeId]) -> Arc<dyn Twin> {
        Arc::new(self.clone())
    }
}

impl Twin for Replace {
    fn begin(&self, world: &mut World) -> bool {
        world.wipe(self.0);
        true
    }

    fn pursue(&self, world: &mut World, _ends: bool) {
        let node = self.0;
        // It runs before it is named, as a real one does: who came back and is in doubt, and so votes on
        // nothing, waits for its word too.
        world.start(node);
        let to = world.directory(node);
        let seat = world.membership().seat(node).copied();
        if let Some(seat) = seat.filter(|seat| seat.directory != to) {
            world.ask_for(Edit::Replace { node, from: seat.directory, to });
        }
    }

    fn end(&self, _world: &mut World) {}

    fn is_in_force(&self, world: &World) -> Option<bool> {
        let to = world.directory(self.0);
        let names = world.is_known(|membership| {
            membership.seat(self.0).is_some_and(|seat| seat.directory == to)
        });
        Some(names && world.runs(self.0))
    }

    fn is_over(&self, world: &World) -> Option<bool> {
        Some(world.is_finished())
    }

    fn losses(&self) -> usize {
        1
    }
}

#[cfg(test)]
mod tests {
    use dynamo_sim::network::Network;
    use dynamo_sim::trace::Cluster;
    use dynamo_sim::world::Conditions;

    use super::*;

    /// In doubt a member votes on nothing until it has heard every other: also who is to be replaced, by the
    /// directory that comes in place of the lost one.
    #[test]
    fn a_lost_member_is_replaced_though_most_of_the_others_have_just_come_back() {
        let cluster = Cluster::new(4, [3, 2, 2]);
        let view = Arc::new(cluster.view().expect("a cluster of four"));
        let conditions = Conditions { cluster, network: Network::quiet(), sync: 130 };
        let mut world = World::new(conditions, view, 1);
        let pass = |world: &mut World| {
            let until = world.now() + 20_000;
            while world.next(until).is_some() {}
        };
        pass(&mut world);
        let lost = Replace(NodeId(1));
        lost.begin(&mut world);
        for node in [2, 3].map(NodeId) {
            world.kill(node);
            world.start(node);
        }
        while lost.is_in_force(&world) != Some(true) {
            assert!(world.now() < 10_000_000, "it is replaced in time");
            lost.pursue(&mut world, false);
            pass(&mut world);
        }
        assert_eq!(world.membership().epoch().0, 2);
    }
}
