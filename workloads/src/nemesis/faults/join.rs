//! A node that was no member becomes one, on an empty disk.

use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::membership::{Edit, Standing};
use dynamo_protocol::{NodeId, Zone};
use dynamo_sim::World;
use serde_json::Value;

use super::kind::{Kind, Nature, Whom};
use crate::cluster::{Cluster, Origin};
use crate::nemesis::draw::Draw;
use crate::nemesis::proof::{Site, Unproven};
use crate::nemesis::ring;
use crate::plan::{FaultName, Plan, Wrong};
use crate::simulated::twin::Twin;

/// This node joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    /// Which.
    pub node: NodeId,
    /// Its share of the ring: virtual nodes.
    pub tokens: u16,
    /// Where it stands.
    pub zone: Option<Zone>,
}

impl Kind for Join {
    const NATURE: Nature = Nature::of_the_ring("a new node joins");

    fn check(plan: &Plan) -> Result<(), Wrong> {
        plan.check_ring(FaultName::Join)
    }

    fn draw(draw: &mut Draw<'_>, at: Duration) -> Option<Self> {
        let of = &draw.plan.cluster;
        let (tokens, zones) = (of.tokens, of.zones);
        let zone = |node| Zone::in_turn(node, zones);
        draw.newcomer(at).map(|node| Self { node, tokens, zone: zone(node) })
    }

    fn whom(&self) -> Whom<'_> {
        Whom::Nodes(std::slice::from_ref(&self.node))
    }

    fn holds(&self) -> &[NodeId] {
        std::slice::from_ref(&self.node)
    }

    /// While it is filled it may be hit by others.
    fn holds_to_the_end(&self) -> bool {
        false
    }

    fn needs(&self) -> &[NodeId] {
        &[]
    }

    /// In force when every member that runs names it.
    async fn inject<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        site.cluster.enter(self.node, Origin::Joins).await?;
        Ok(ring::known(site.cluster, |membership| membership.seat(self.node).is_some()).await)
    }

    /// Healed when the change is finished.
    async fn heal<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        if !site.cluster.nodes().contains(&self.node) {
            return Err(Unproven::from(format!("{} did not join", self.node)));
        }
        Ok(ring::finished(site, "every home counts, and nobody holds what is another's").await)
    }

    fn twin(&self, _nodes: &[NodeId]) -> Arc<dyn Twin> {
        Arc::new(self.clone())
    }
}

impl Twin for Join {
    fn begin(&self, world: &mut World) -> bool {
        if world.is_gone(self.node) {
            // It was a member, and comes back with an empty disk.
            world.wipe(self.node);
        }
        true
    }

    fn pursue(&self, world: &mut World, ends: bool) {
        let Self { node, tokens, zone } = *self;
        match world.membership().seat(node) {
            None if !ends => {
                let directory = world.directory(node);
                world.ask_for(Edit::Join { node, directory, tokens, zone });
            }
            // Once it was seen to run, whoever ends it has it run again.
            Some(_) if !ends && !world.runs(node) => world.admit(node),
            _ => {}
        }
    }

    fn end(&self, _world: &mut World) {}

    fn is_in_force(&self, world: &World) -> Option<bool> {
        let is_in = |standing| standing == Some(Standing::In);
        let names = world
            .is_known(|membership| is_in(membership.seat(self.node).map(|seat| seat.standing)));
        Some(names && world.runs(self.node))
    }

    fn is_over(&self, world: &World) -> Option<bool> {
        Some(world.is_finished())
    }
}
