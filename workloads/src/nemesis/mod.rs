//! The nemesis: does the faults of a schedule to a cluster, and proves each of them.
//!
//! A fault goes through five steps: *probe* (can it be done now?), *inject*, *verify* that it is in
//! force, *heal*, and *verify healed*. Proof is what the system and the network show, not that a
//! call returned. Every step is in the history. A fault is leased: whatever holds it up, it is
//! healed when its time is over, and dies with the driver.

mod disks;
pub(crate) mod links;
pub(crate) mod partition;
mod processes;
pub mod schedule;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use checker::history::op::{Kind, Op, Process};
use dynamo_protocol::NodeId;
use futures::future::try_join_all;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync;
use tokio::time::{sleep, sleep_until, timeout};

use crate::cluster::{Cluster, Life, Status};
use crate::journal::Journal;
use crate::proxy::FaultId;
use schedule::{Episode, Fault};

/// How long a fault may take until it is proven to be in force, or healed: past it the cluster does
/// not do what it is told, and the run says so.
const PROOF_PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks for a proof.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// What links are made slower by, from the plan.
#[derive(Clone, Copy, Debug)]
pub struct Slowness {
    /// Each way.
    pub delay: Duration,
    /// On top, at random.
    pub jitter: Duration,
    /// Where they are narrow: bytes a second.
    pub rate: u64,
}

/// The nemesis of one run.
pub struct Nemesis<C> {
    cluster: Arc<C>,
    journal: Arc<Journal>,
    slowness: Slowness,
    patience: Duration,
    /// A node's process is stopped by one fault at a time, however late that one is healed.
    turns: BTreeMap<NodeId, Arc<sync::Mutex<()>>>,
    in_force: Mutex<BTreeMap<FaultId, String>>,
}

/// Why a fault is not proven.
#[derive(Debug)]
enum Unproven {
    /// It was not seen.
    Unseen(String),
    /// The node's own word shows that it did not do what the fault calls for: by which name that goes, and
    /// how it shows.
    Refuted(Broken, String),
}

/// What a node gets wrong whose disk was lost, rolled back or damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Broken {
    /// It goes on as if its disk had not been emptied.
    WipeUnnoticed,
    /// It goes on as if its disk held all that it ever held, or had to be told by a peer what its own disk
    /// could have told it.
    RollbackUnnoticed,
    /// It lost something to flipped bits and had to be told so by a peer.
    DamageUnnoticed,
}

impl From<String> for Unproven {
    fn from(why: String) -> Self {
        Self::Unseen(why)
    }
}

impl Unproven {
    /// Of a fault that was not proven to be in force nothing is held against the node.
    fn unless_proven(self, is_proven: bool) -> Self {
        match self {
            Self::Refuted(_, why) if !is_proven => Self::Unseen(why),
            other => other,
        }
    }
}

impl<C: Cluster> Nemesis<C> {
    /// A nemesis of this cluster.
    pub fn new(cluster: Arc<C>, journal: Arc<Journal>, slowness: Slowness) -> Self {
        let turns = cluster.nodes().iter().map(|node| (*node, Arc::default())).collect();
        let patience = PROOF_PATIENCE;
        Self { cluster, journal, slowness, patience, turns, in_force: Mutex::default() }
    }

    /// What is in force now, for people.
    #[must_use]
    pub fn in_force(&self) -> Vec<String> {
        let in_force = self.in_force.lock().expect("no one panics with the lock held");
        in_force.values().cloned().collect()
    }

    /// Does all faults of a schedule, each in its time; returns when the last one is healed.
    ///
    /// # Errors
    /// If the history cannot be written.
    pub async fn run(&self, episodes: &[Episode]) -> Result<()> {
        try_join_all(episodes.iter().map(|episode| self.episode(episode))).await.map(drop)
    }

    async fn episode(&self, episode: &Episode) -> Result<()> {
        sleep_until(self.journal.instant(episode.at)).await;
        let turns = timeout(self.patience, self.take_turns(episode.fault.stops())).await;
        let skip = match turns {
            Ok(_) => self.probe(&episode.fault).err(),
            Err(_) => Some("an earlier fault of the same process is not healed".to_owned()),
        };
        if let Some(reason) = skip {
            return self.note(episode, Kind::Fail, "probe", Err(&reason));
        }
        self.note(episode, Kind::Invoke, "inject", Ok(Value::Null))?;
        let before = self.before(&episode.fault).await;
        let proof = self.lease(self.inject(episode)).await;
        let proven = proof.is_ok();
        self.note_outcome(episode, "inject", proof)?;
        if proven {
            self.hold(episode).await;
        }
        self.note(episode, Kind::Invoke, "heal", Ok(Value::Null))?;
        let healed = self.lease(self.heal(episode, &before)).await;
        self.note_outcome(episode, "heal", healed.map_err(|why| why.unless_proven(proven)))
    }

    async fn take_turns(&self, nodes: &[NodeId]) -> Vec<sync::OwnedMutexGuard<()>> {
        let mut turns = Vec::new();
        for (node, turn) in &self.turns {
            // In the order of ids everywhere, so that two faults never wait for each other.
            if nodes.contains(node) {
                turns.push(turn.clone().lock_owned().await);
            }
        }
        turns
    }

    async fn lease<T>(
        &self,
        step: impl Future<Output = Result<T, Unproven>>,
    ) -> Result<T, Unproven> {
        let late = || Unproven::from(format!("not proven within {:?}", self.patience));
        timeout(self.patience, step).await.unwrap_or_else(|_| Err(late()))
    }

    async fn hold(&self, episode: &Episode) {
        let lock = || self.in_force.lock().expect("no one panics with the lock held");
        lock().insert(episode.id, described(&episode.fault));
        sleep(episode.hold).await;
        lock().remove(&episode.id);
    }

    /// Can it be done now?
    fn probe(&self, fault: &Fault) -> Result<(), String> {
        self.cluster.able(fault.name())?;
        fault.stops().iter().try_for_each(|node| processes::runs(&*self.cluster, *node).map(drop))
    }

    /// What the proof of healing is compared with.
    async fn before(&self, fault: &Fault) -> BTreeMap<NodeId, Status> {
        let mut before = BTreeMap::new();
        for node in fault.stops() {
            if let Ok(status) = self.cluster.status(*node).await {
                before.insert(*node, status);
            }
        }
        before
    }

    /// Injects and verifies; what proves it.
    async fn inject(&self, episode: &Episode) -> Result<Value, Unproven> {
        let cluster = &*self.cluster;
        match &episode.fault {
            Fault::Kill(nodes) => processes::kill(cluster, nodes).await,
            Fault::Pause(nodes) => processes::pause(cluster, nodes).await,
            Fault::Wipe(node) => processes::wipe(cluster, *node).await,
            Fault::Rollback(node, how) => disks::roll_back(cluster, *node, *how).await,
            Fault::Bitflip(node, flip) => disks::flip(cluster, *node, *flip).await,
            Fault::Partition(_, cuts) => links::cut(cluster, episode.id, cuts).await,
            Fault::Delay(nodes) => links::slow(cluster, episode.id, nodes, self.slowness).await,
            Fault::Rate(nodes) => {
                links::narrow(cluster, episode.id, nodes, self.slowness.rate).await
            }
            Fault::Reset(nodes) => links::reset(cluster, episode.id, nodes).await,
        }
    }

    /// Heals and verifies; what proves it.
    async fn heal(
        &self,
        episode: &Episode,
        before: &BTreeMap<NodeId, Status>,
    ) -> Result<Value, Unproven> {
        let cluster = &*self.cluster;
        match &episode.fault {
            Fault::Kill(nodes) => processes::restart(cluster, nodes, before).await,
            Fault::Pause(nodes) => processes::resume(cluster, nodes).await,
            Fault::Wipe(node) => processes::refresh(cluster, *node, before).await,
            Fault::Rollback(node, how) => disks::notice(cluster, *node, *how, before).await,
            Fault::Bitflip(node, _) => disks::survive(cluster, *node, before).await,
            Fault::Partition(_, cuts) => {
                links::join(cluster, episode.id, &links::of_cuts(cuts)).await
            }
            Fault::Delay(nodes) | Fault::Rate(nodes) | Fault::Reset(nodes) => {
                links::join(cluster, episode.id, &links::of_nodes(cluster, nodes)).await
            }
        }
    }

    fn note_outcome(
        &self,
        episode: &Episode,
        step: &str,
        outcome: Result<Value, Unproven>,
    ) -> Result<()> {
        match outcome {
            Ok(proof) => self.note(episode, Kind::Ok, step, Ok(proof)),
            Err(Unproven::Unseen(reason)) => self.note(episode, Kind::Info, step, Err(&reason)),
            Err(Unproven::Refuted(broken, how)) => {
                let op = Self::told(episode, Kind::Info, step, json!({ "broken": broken }));
                self.journal.append(op.error(how.as_str()))?;
                Ok(())
            }
        }
    }

    fn note(
        &self,
        episode: &Episode,
        kind: Kind,
        step: &str,
        outcome: Result<Value, &str>,
    ) -> Result<()> {
        let op = match outcome {
            Ok(Value::Null) => Self::told(episode, kind, step, json!({})),
            Ok(proof) => Self::told(episode, kind, step, json!({ "proof": proof })),
            Err(reason) => Self::told(episode, kind, step, json!({})).error(reason),
        };
        self.journal.append(op)?;
        Ok(())
    }

    /// A line of the history, with what is `shown`, an object, beside the fault and its step.
    fn told(episode: &Episode, kind: Kind, step: &str, shown: Value) -> Op {
        let mut value = shown;
        value["fault"] = json!(episode.id);
        value["step"] = json!(step);
        match &episode.fault {
            Fault::Kill(nodes)
            | Fault::Pause(nodes)
            | Fault::Delay(nodes)
            | Fault::Rate(nodes)
            | Fault::Reset(nodes) => {
                value["nodes"] = nodes.iter().map(ToString::to_string).collect();
            }
            Fault::Wipe(node) | Fault::Rollback(node, _) | Fault::Bitflip(node, _) => {
                value["nodes"] = json!([node.to_string()]);
            }
            Fault::Partition(shape, cuts) => {
                value["shape"] = json!(shape);
                value["cuts"] = json!(cuts);
            }
        }
        Op::new(Process::Nemesis, kind, episode.fault.name().as_str()).value(value)
    }
}

/// Heals what may be left: shaped links, stopped and dead processes. Nothing, when all went well. What
/// cannot be healed is told, and the rest is healed all the same.
pub async fn heal_all<C: Cluster>(cluster: &C, faults: &[Episode]) -> Vec<String> {
    let mut failures = Vec::new();
    for episode in faults {
        failures.extend(cluster.unshape(episode.id).await.err());
    }
    for node in cluster.nodes().iter().filter(|node| !cluster.is_lost(**node)) {
        let healed = match cluster.life(*node) {
            Life::Runs(_) => Ok(()),
            Life::Stopped(_) => cluster.resume(*node).await,
            Life::Gone => cluster.start(*node).await,
        };
        failures.extend(healed.err());
    }
    let mut failures: Vec<_> = failures.iter().map(ToString::to_string).collect();
    failures.dedup();
    failures
}

fn described(fault: &Fault) -> String {
    let list =
        |nodes: &[NodeId]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    match fault {
        Fault::Kill(nodes)
        | Fault::Pause(nodes)
        | Fault::Delay(nodes)
        | Fault::Rate(nodes)
        | Fault::Reset(nodes) => {
            format!("{} {}", fault.name(), list(nodes))
        }
        Fault::Wipe(node) | Fault::Rollback(node, _) | Fault::Bitflip(node, _) => {
            format!("{} {node}", fault.name())
        }
        Fault::Partition(shape, cuts) => format!("partition {shape} ({} cuts)", cuts.len()),
    }
}

/// Looks until `proof` is there; what it showed. The lease of the step bounds it.
async fn until<T>(mut proof: impl AsyncFnMut() -> Option<T>) -> T {
    loop {
        if let Some(shown) = proof().await {
            return shown;
        }
        sleep(LOOK_AGAIN).await;
    }
}

#[cfg(test)]
mod tests;
