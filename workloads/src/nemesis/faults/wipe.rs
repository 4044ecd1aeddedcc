//! A disk is emptied while its node is down; the node returns with a new identity.

use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::NodeId;
use dynamo_sim::World;
use dynamo_sim::network::Shape;
use rand::Rng;
use serde_json::{Value, json};

use super::kill;
use super::kind::{Kind, Nature, Whom};
use crate::cluster::Cluster;
use crate::nemesis::draw::Draw;
use crate::nemesis::processes;
use crate::nemesis::proof::{Site, Unproven};
use crate::plan::{FaultName, Plan, Wrong};
use crate::simulated::twin::{Drawn, Fault, Luck, Shaped, Twin, links_among};

/// How slow the answers of a simulated node may be that is about to lose its disk, in microseconds.
const SLOW: u64 = 100_000;

/// This disk is emptied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wipe(pub NodeId);

impl Kind for Wipe {
    const NATURE: Nature = Nature { is_refilled: true, ..Nature::of_disks("its disk is emptied") };

    fn check(plan: &Plan) -> Result<(), Wrong> {
        plan.check_disks(FaultName::Wipe)
    }

    fn draw(draw: &mut Draw<'_>, at: Duration) -> Option<Self> {
        draw.disk(at, Self::NATURE).map(Self)
    }

    fn whom(&self) -> Whom<'_> {
        Whom::Nodes(std::slice::from_ref(&self.0))
    }

    /// In force when the process is gone and its disk is empty.
    async fn inject<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        let gone = processes::kill(site.cluster, self.0).await?;
        site.cluster.wipe(self.0).await?;
        Ok(json!([format!("{gone}, its directory is removed")]))
    }

    /// Healed when the node answers under an identity that its old disk did not have.
    async fn heal<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        let node = self.0;
        let now = processes::return_of(site.cluster, node).await?.identity;
        let then = site.identity(node)?;
        if then == now {
            let how = format!("{node} is still {now} after its disk was emptied");
            return Err(Unproven::Refuted("WipeUnnoticed", how));
        }
        Ok(json!([format!("{node}: was {then}, answers as {now}")]))
    }

    fn twin(&self, _nodes: &[NodeId]) -> Arc<dyn Twin> {
        Arc::new(self.clone())
    }
}

impl Twin for Wipe {
    fn begin(&self, world: &mut World) -> bool {
        world.wipe(self.0);
        true
    }

    fn end(&self, world: &mut World) {
        world.start(self.0);
    }

    fn is_in_force(&self, world: &World) -> Option<bool> {
        Some(!world.runs(self.0))
    }

    fn losses(&self) -> usize {
        1
    }

    /// It has just come back and is being told of all that it missed; what it answers is slow to arrive.
    fn eve(&self, at: u64, until: u64, luck: &mut Luck<'_>) -> Option<(Vec<Fault>, u64)> {
        // It asks them all as it starts, and each tells at once: the answers are under way for as long as
        // they are slow.
        let begins = until + luck.rng.random_range(0..SLOW);
        let slow = Shape { delay: 0, jitter: luck.rng.random_range(0..SLOW), ..Shape::default() };
        let answers = links_among(luck.nodes).into_iter().filter(|(from, _)| *from == self.0);
        let answers = Shaped { links: answers.collect(), shape: slow };
        let away = Fault::new(at, until, kill::twin(vec![self.0]));
        Some((vec![away, Fault::new(until, begins + SLOW, Arc::new(answers))], begins))
    }

    /// It meets then what its predecessor said and nobody has heard yet.
    fn may_return_at_once(&self) -> bool {
        true
    }
}

/// As the simulator draws it.
pub(crate) const DRAWN: Drawn =
    Drawn::new("wipe", |luck| Some(Arc::new(Wipe(luck.disk()?)))).that_ends_processes();
