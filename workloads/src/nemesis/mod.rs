//! The nemesis: does the faults of a schedule to a cluster, and proves each of them.
//!
//! A fault goes through five steps: *probe* (can it be done now?), *inject*, *verify* that it is in
//! force, *heal*, and *verify healed*. Proof is what the system and the network show, not that a
//! call returned. Every step is in the history. A fault is leased: whatever holds it up, it is
//! healed when its time is over, and dies with the driver.

mod disks;
pub(crate) mod draw;
pub mod faults;
pub(crate) mod links;
mod processes;
pub mod proof;
pub mod schedule;
mod shapes;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use checker::history::op::Kind;
use dynamo_protocol::NodeId;
use futures::future::try_join_all;
use serde_json::Value;
use tokio::sync;
use tokio::time::{sleep, sleep_until, timeout};

use self::faults::Fault;
use self::proof::{Site, Unproven};
use self::schedule::Episode;
use crate::cluster::{Cluster, Life, Status};
use crate::hosts::proxy::FaultId;
use crate::run::journal::Journal;

/// How long a fault may take until it is proven to be in force, or healed: past it the cluster does
/// not do what it is told, and the run says so.
const PROOF_PATIENCE: Duration = Duration::from_secs(10);

/// The nemesis of one run.
pub struct Nemesis<C> {
    cluster: Arc<C>,
    journal: Arc<Journal>,
    patience: Duration,
    /// A node's process is stopped by one fault at a time, however late that one is healed.
    turns: BTreeMap<NodeId, Arc<sync::Mutex<()>>>,
    in_force: Mutex<BTreeMap<FaultId, String>>,
}

impl<C: Cluster> Nemesis<C> {
    /// A nemesis of this cluster.
    pub fn new(cluster: Arc<C>, journal: Arc<Journal>) -> Self {
        let turns = cluster.nodes().iter().map(|node| (*node, Arc::default())).collect();
        let patience = PROOF_PATIENCE;
        Self { cluster, journal, patience, turns, in_force: Mutex::default() }
    }

    /// What is in force now, human-readable.
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
            return self.note(episode, Kind::Fail, "probe", Err(reason.into()));
        }
        self.note(episode, Kind::Invoke, "inject", Ok(Value::Null))?;
        let before = self.before(&episode.fault).await;
        let site = Site { cluster: &*self.cluster, id: episode.id, before };
        let proof = self.lease(episode.fault.inject(&site)).await;
        let proven = proof.is_ok();
        self.note_outcome(episode, "inject", proof)?;
        if proven {
            self.hold(episode).await;
        }
        self.note(episode, Kind::Invoke, "heal", Ok(Value::Null))?;
        let healed = self.lease(episode.fault.heal(&site)).await;
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
        lock().insert(episode.id, episode.fault.to_string());
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

    fn note_outcome(
        &self,
        episode: &Episode,
        step: &str,
        outcome: Result<Value, Unproven>,
    ) -> Result<()> {
        let kind = if outcome.is_ok() { Kind::Ok } else { Kind::Info };
        self.note(episode, kind, step, outcome)
    }

    fn note(
        &self,
        episode: &Episode,
        kind: Kind,
        step: &str,
        outcome: Result<Value, Unproven>,
    ) -> Result<()> {
        let line = |field, shown: Value| {
            let mut line = episode.told().line(kind, step);
            if let (Some(value), false) = (&mut line.value, shown.is_null()) {
                value[field] = shown;
            }
            line
        };
        let line = match outcome {
            Ok(proof) => line("proof", proof),
            Err(Unproven::Unseen(why)) => line("broken", Value::Null).error(why),
            Err(Unproven::Refuted(rule, how)) => line("broken", rule.into()).error(how),
        };
        self.journal.append(line)?;
        Ok(())
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

#[cfg(test)]
mod tests;
