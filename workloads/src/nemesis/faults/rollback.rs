//! A disk holds what it held earlier: its journal has lost its end, or an older copy of it was put back.

use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::NodeId;
use dynamo_sim::World;
use rand::Rng;
use serde_json::Value;

use super::kind::{Kind, Nature, Whom};
use super::partition::Partition;
use super::{eio, kill};
use crate::cluster::{Cluster, Status};
use crate::hosts::disk::Damage;
use crate::nemesis::disks::{self, By};
use crate::nemesis::draw::Draw;
use crate::nemesis::processes;
use crate::nemesis::proof::{Site, Unproven, until};
use crate::plan::{ClusterKind, Cut, FaultName, Plan, Wrong, refuse_if};
use crate::simulated::twin::{BRINK, Drawn, Each, Fault, Luck, RETURN, Twin};

/// How many puts that began after a copy of its disk was kept a node acknowledges: what it is to lose.
const GOES_ON: u64 = 8;

/// This disk holds what it held earlier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollback {
    /// Whose it is.
    pub node: NodeId,
    /// What takes it back.
    pub how: How,
}

/// What takes a disk back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// So many hundredths of its journal are cut off.
    Cut(u8),
    /// A copy of it that is older than what was written since is put back, as from a backup. Only peers
    /// can notice that.
    PutBack,
}

impl Kind for Rollback {
    const NATURE: Nature = Nature::of_disks("the end of its journal is cut off");

    fn check(plan: &Plan) -> Result<(), Wrong> {
        plan.check_files(FaultName::Rollback)?;
        plan.check_disks(FaultName::Rollback)?;
        // There a whole disk goes back, which no directory can tell by itself.
        let unheard = plan.cluster.kind == ClusterKind::Sim && plan.cluster.settings.r < 2;
        refuse_if(&["cluster.r", "faults"], unheard, || {
            "fault rollback on cluster sim is noticed by peers: with R = 1 they need not know what \
             was read; use -r 2"
                .to_owned()
        })
    }

    fn draw(draw: &mut Draw<'_>, at: Duration) -> Option<Self> {
        let node = draw.disk(at, Self::NATURE)?;
        // What was acknowledged and what was read has to be in another member's hands.
        let settings = &draw.plan.cluster.settings;
        let is_remembered = settings.w >= 2 && settings.r >= 2;
        let how = if is_remembered && draw.rng.random() {
            How::PutBack
        } else {
            How::Cut(draw.rng.random_range(20..80))
        };
        Some(Self { node, how })
    }

    fn whom(&self) -> Whom<'_> {
        Whom::Nodes(std::slice::from_ref(&self.node))
    }

    /// In force when the process is gone and its disk holds less than it did.
    async fn inject<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        let (node, cluster) = (self.node, site.cluster);
        let damage = match self.how {
            How::Cut(hundredths) => Damage::Cut(hundredths),
            How::PutBack => {
                processes::kill(cluster, node).await?;
                cluster.damage(node, Damage::Keep).await?;
                processes::return_of(cluster, node).await?;
                goes_on(cluster, node).await;
                Damage::PutBack
            }
        };
        disks::damage(cluster, node, damage).await
    }

    /// Healed when the node has noticed: it answers under another identity, by itself or after it refused
    /// to start and its disk was emptied. What was cut off its own disk it has to miss by itself; that all of
    /// the disk is an older copy only its peers can tell.
    async fn heal<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven> {
        let node = self.node;
        let back = disks::came_back(site, node).await?;
        let refuted = |how| Unproven::Refuted("RollbackUnnoticed", format!("{node} {how}"));
        match (back.noticed_by(), self.how) {
            (None, _) => Err(refuted(format!("goes on as {}: its disk went back", back.then))),
            (Some(By::Peers), How::Cut(_)) => {
                let how = "lost the end of its journal and did not miss it: its peers had to tell";
                Err(refuted(how.to_owned()))
            }
            (Some(By::Itself), _) | (Some(By::Peers), How::PutBack) => Ok(back.shown(node)),
        }
    }

    /// Of disks without files: whatever takes one back puts back all of it.
    fn twin(&self, _nodes: &[NodeId]) -> Arc<dyn Twin> {
        Arc::new(GoesBack(self.node))
    }
}

/// Returns when peers remember something of the node that the copy lacks: what it acknowledges after all of
/// them have told that its disk is whole. Of what it acknowledges in doubt they remember nothing.
async fn goes_on(cluster: &impl Cluster, node: NodeId) {
    let acknowledged = |status: &Status| status.counters.get("acknowledged").copied().unwrap_or(0);
    let proven = async || cluster.status(node).await.ok().filter(|status| status.proven);
    let proven = until(proven).await;
    // What was under way then was perhaps begun in doubt.
    let enough = acknowledged(&proven) + proven.open_operations + GOES_ON;
    let is_enough = |now: &Status| acknowledged(now) >= enough;
    until(async || cluster.status(node).await.ok().filter(is_enough)).await;
}

/// A disk is as it was when it was backed up, its process ended; it starts at the end of the fault.
#[derive(Debug)]
struct GoesBack(NodeId);

impl Twin for GoesBack {
    fn begin(&self, world: &mut World) -> bool {
        world.roll_back(self.0);
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

    /// A backup is taken.
    fn preparation(&self) -> Option<Arc<dyn Twin>> {
        Some(Arc::new(Each::new(vec![self.0], World::back_up, |_, _| {})))
    }

    /// A peer that remembers is out of reach when it comes back, or has just forgotten all that it had not
    /// written.
    fn eve(&self, at: u64, until: u64, luck: &mut Luck<'_>) -> Option<(Vec<Fault>, u64)> {
        let (node, peer) = (self.0, luck.peer_of(self.0)?);
        let begins = at + luck.rng.random_range(0..BRINK);
        let away = vec![Cut { from: node, to: peer }, Cut { from: peer, to: node }];
        let until = until + luck.rng.random_range(0..RETURN);
        Some((vec![Fault::new(at, until, Arc::new(Partition::of(away)))], begins))
    }

    fn may_return_at_once(&self) -> bool {
        true
    }

    /// While it is down all others end too and come back: who remembers anything of it afterwards has it from
    /// a disk. Or it ends once more soon after it is back, perhaps in doubt still; or its disk refuses what
    /// it is told then.
    fn meanwhile(&self, at: u64, held: u64, luck: &mut Luck<'_>) -> Option<Fault> {
        let back = at + held;
        let (at, what, holds): (_, Arc<dyn Twin>, _) = match luck.rng.random_range(0..4) {
            0 if luck.kinds.contains(&kill::DRAWN) => {
                let others = luck.nodes.iter().copied().filter(|other| *other != self.0).collect();
                (at + luck.rng.random_range(0..=held), kill::twin(others), BRINK)
            }
            1 if luck.kinds.contains(&kill::DRAWN) => {
                let soon = back + luck.rng.random_range(0..RETURN);
                (soon, kill::twin(vec![self.0]), BRINK)
            }
            2 if luck.kinds.contains(&eio::DRAWN) => {
                (back, eio::refusing(self.0, luck.rng.random_range(1..4)), RETURN)
            }
            _ => return None,
        };
        Some(Fault::new(at, at + luck.rng.random_range(0..holds), what))
    }
}

/// As the simulator draws it.
pub(crate) const DRAWN: Drawn =
    Drawn::new("rollback", |luck| Some(Arc::new(GoesBack(luck.disk()?))));
