//! A disk loses the hints on it: what a node held for another that was out of reach.

use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::NodeId;
use dynamo_sim::World;
use serde_json::Value;

use super::kind::{Kind, Nature, Whom};
use crate::cluster::Cluster;
use crate::hosts::disk::Damage;
use crate::nemesis::draw::Draw;
use crate::nemesis::proof::{Site, Unproven, until};
use crate::nemesis::{disks, processes};
use crate::plan::{FaultName, Plan, Wrong};
use crate::simulated::twin::Twin;

/// A node loses the hints it holds. There are none while all is well: another stands still until there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Losehints {
    /// The node that loses them, and the one that they are for.
    pub nodes: [NodeId; 2],
}

impl Losehints {
    fn loser(&self) -> NodeId {
        self.nodes[0]
    }

    fn target(&self) -> NodeId {
        self.nodes[1]
    }
}

impl Kind for Losehints {
    const NATURE: Nature = Nature {
        is_refilled: true,
        is_noticed: false,
        ..Nature::of_disks("the hints on its disk are removed")
    };

    fn check(plan: &Plan) -> Result<(), Wrong> {
        plan.check_hints(FaultName::Losehints)?;
        plan.check_files(FaultName::Losehints)?;
        plan.check_disks(FaultName::Losehints)
    }

    fn draw(draw: &mut Draw<'_>, at: Duration) -> Option<Self> {
        draw.stand_in(at, Self::NATURE).map(|nodes| Self { nodes })
    }

    fn whom(&self) -> Whom<'_> {
        Whom::Nodes(&self.nodes)
    }

    /// In force when the process is gone and so are its hints, of which there was one at least.
    async fn inject<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        let (cluster, loser) = (site.cluster, self.loser());
        cluster.pause(self.target()).await?;
        let holds = async || {
            let status = cluster.status(loser).await.ok()?;
            (status.hints_held > 0).then_some(())
        };
        until(holds).await;
        let lost = disks::damage(cluster, loser, Damage::LoseHints).await;
        cluster.resume(self.target()).await?;
        lost
    }

    /// Healed when both answer, on the directories they had.
    async fn heal<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        // It may stand still yet, if nobody held a hint for it.
        site.cluster.resume(self.target()).await?;
        let mut proof = Vec::new();
        for node in self.nodes {
            let now = processes::return_of(site.cluster, node).await?;
            if site.identity(node).is_ok_and(|then| then != now.identity) {
                let now = now.identity;
                return Err(Unproven::from(format!("{node} came back as {now}")));
            }
            proof.push(format!("{node}: answers as incarnation {}", now.incarnation));
        }
        Ok(proof.into())
    }

    fn twin(&self, _nodes: &[NodeId]) -> Arc<dyn Twin> {
        Arc::new(self.clone())
    }
}

impl Twin for Losehints {
    fn begin(&self, world: &mut World) -> bool {
        world.pause(self.target());
        true
    }

    fn pursue(&self, world: &mut World, ends: bool) {
        let loser = self.loser();
        let holds = world.runs(loser) && world.bench().host(loser).disk().hints_left() > 0;
        if !ends && holds {
            world.kill(loser);
            world.lose_hints(loser);
            world.resume(self.target());
        }
    }

    fn end(&self, world: &mut World) {
        world.resume(self.target());
        world.start(self.loser());
    }

    fn is_in_force(&self, world: &World) -> Option<bool> {
        Some(!world.runs(self.loser()))
    }

    fn losses(&self) -> usize {
        1
    }
}
