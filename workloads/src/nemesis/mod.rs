//! The nemesis: does the faults of a schedule to a cluster, and proves each of them.
//!
//! A fault goes through five steps: *probe* (can it be done now?), *inject*, *verify* that it is in
//! force, *heal*, and *verify healed*. Proof is what the system and the network show, not that a
//! call returned. Every step is in the history. A fault is leased: whatever holds it up, it is
//! healed when its time is over, and dies with the driver.

pub(crate) mod aim;
pub(crate) mod claims;
mod disks;
pub(crate) mod draw;
pub mod faults;
mod hooks;
pub(crate) mod links;
mod processes;
pub mod proof;
pub(crate) mod restoring;
pub(crate) mod ring;
pub mod schedule;
mod shapes;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::Result;
use checker::history::op::Kind;
use dynamo_protocol::NodeId;
use futures::future::{join_all, try_join_all};
use serde_json::Value;
use tokio::sync;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use self::claims::Claims;
use self::faults::Fault;
use self::faults::kind::Nature;
use self::proof::{Site, Told, Unproven};
use self::schedule::Episode;
use crate::cluster::{Cluster, Life, Status};
use crate::hosts::proxy::FaultId;
use crate::plan::Plan;
use crate::run::counters::NodeCounters;
use crate::run::journal::Journal;

/// How long a fault may take until it is proven to be in force, or healed: past it the cluster does
/// not do what it is told, and the run says so.
const PROOF_PATIENCE: Duration = Duration::from_secs(10);
/// The same of one that changes the ring, also until its turn comes: every member has a part in it, and
/// other faults befall them meanwhile.
pub(crate) const CHANGE_PATIENCE: Duration = Duration::from_secs(60);

/// The nemesis of one run.
pub struct Nemesis<C> {
    cluster: Arc<C>,
    journal: Arc<Journal>,
    patience: Duration,
    plan: Terms,
    /// Clients work for so long: no fault that had to wait begins when it could not be held any more.
    time: Duration,
    claims: Arc<(Mutex<Claims>, sync::Notify)>,
    counters: NodeCounters,
    /// Disks whose loss is not over.
    refilling: Mutex<JoinSet<()>>,
    /// A node's process is stopped by one fault at a time, however late that one is healed.
    turns: BTreeMap<NodeId, Arc<sync::Mutex<()>>>,
    in_force: Mutex<BTreeMap<FaultId, String>>,
}

/// What a nemesis, and its twin under virtual time, has to know of the plan.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How many disks may be lost at a time.
    pub most_lost: usize,
    /// Whether lost disks are refilled.
    pub refills: bool,
    /// Whether the ring is to change: then it names the directories that members come to have.
    pub changes: bool,
    /// After this a put that was open has ended.
    pub deadline: Duration,
}

impl Terms {
    /// Those of a plan.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        let settings = &plan.cluster.settings;
        Self {
            most_lost: plan.most_lost(),
            refills: settings.anti_entropy,
            changes: plan.changes_the_ring(),
            deadline: settings.timing.deadline,
        }
    }
}

impl<C: Cluster> Nemesis<C> {
    /// A nemesis of this cluster.
    pub fn new(cluster: Arc<C>, journal: Arc<Journal>, plan: Terms, time: Duration) -> Self {
        let turns = cluster.everybody().iter().map(|node| (*node, Arc::default())).collect();
        let claims = Claims::new(plan.most_lost, plan.refills);
        Self {
            cluster,
            journal,
            patience: PROOF_PATIENCE,
            plan,
            time,
            claims: Arc::new((Mutex::new(claims), sync::Notify::new())),
            counters: NodeCounters::default(),
            refilling: Mutex::default(),
            turns,
            in_force: Mutex::default(),
        }
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
        let nature = episode.fault.name().nature();
        if !self.claim(nature, episode.hold).await {
            // Its turn did not come before the end of the run: whether it ever did is a matter of coverage.
            return Ok(());
        }
        let done = self.claimed(episode, self.patience_with(nature)).await;
        if nature.changes_the_ring {
            self.release(Claims::changed);
        }
        if self.claims().is_refilled(nature) {
            self.refill();
        }
        done
    }

    async fn claimed(&self, episode: &Episode, patience: Duration) -> Result<()> {
        // An earlier fault of the same process has its own patience, and says if that was not enough.
        let waits = episode.aim.map_or(Duration::ZERO, |aim| aim.patience(episode.hold));
        let end = self.end(episode.hold - waits);
        let Ok((episode, why, turns)) = timeout_at(end, self.aimed(episode)).await else {
            return Ok(());
        };
        let (episode, fault) = (&episode, &episode.fault);
        let nature = fault.name().nature();
        let members = self.cluster.nodes();
        if fault.of_members().iter().any(|node| !members.contains(node)) {
            // It has not joined yet, other than was to be expected.
            return Ok(());
        }
        if let Err(reason) = self.probe(fault) {
            return self.note(episode, Kind::Fail, "probe", Err(reason.into()));
        }
        self.note(episode, Kind::Invoke, "inject", Ok(why))?;
        let (before, moved) = (self.before(fault).await, self.moved(fault).await);
        let (cluster, counters) = (&*self.cluster, &self.counters);
        let site = Site { cluster, id: episode.id, before, counters, moved };
        let proof = self.lease(fault.inject(&site), patience).await;
        let proven = proof.is_ok();
        self.note_outcome(episode, "inject", proof)?;
        let turns = fault.holds_to_the_end().then_some(turns);
        if proven {
            self.hold(episode).await;
        }
        self.note(episode, Kind::Invoke, "heal", Ok(Value::Null))?;
        let healing = async {
            let proof = fault.heal(&site).await?;
            if self.plan.changes && nature.loses_a_disk {
                join_all(fault.holds().iter().map(|node| ring::name(cluster, *node))).await;
            }
            Ok(proof)
        };
        let healed = self.lease(healing, patience).await;
        drop(turns);
        self.note_outcome(episode, "heal", healed.map_err(|why| why.unless_proven(proven)))
    }

    fn patience_with(&self, nature: Nature) -> Duration {
        let slow = CHANGE_PATIENCE.as_secs_f64() / PROOF_PATIENCE.as_secs_f64();
        let is_slow = nature.changes_the_ring || self.plan.changes && nature.loses_a_disk;
        if is_slow { self.patience.mul_f64(slow) } else { self.patience }
    }

    /// Until when a fault has to begin that is held so long.
    fn end(&self, hold: Duration) -> Instant {
        self.journal.instant(self.time.saturating_sub(hold))
    }

    /// Waits for what a fault of this nature needs; whether it came while there is time to hold it.
    async fn claim(&self, nature: Nature, hold: Duration) -> bool {
        let end = self.end(hold);
        loop {
            let freed = self.claims.1.notified();
            if self.claims().take(nature) {
                return true;
            }
            if timeout_at(end, freed).await.is_err() {
                return false;
            }
        }
    }

    fn claims(&self) -> MutexGuard<'_, Claims> {
        self.claims.0.lock().expect("no one panics with the lock held")
    }

    fn release(&self, what: impl FnOnce(&mut Claims)) {
        what(&mut self.claims());
        self.claims.1.notify_waiters();
    }

    /// Gives a disk back once what was on it is restored, however long that takes.
    fn refill(&self) {
        let (cluster, claims, deadline) =
            (self.cluster.clone(), self.claims.clone(), self.plan.deadline);
        let lock = |claims: &Mutex<Claims>| {
            claims.lock().expect("no one panics with the lock held").is_changing()
        };
        let mut refilling = self.refilling.lock().expect("no one panics with the lock held");
        refilling.spawn(async move {
            sleep(deadline).await;
            ring::restored(&*cluster, || lock(&claims.0)).await;
            tracing::info!("what the lost disk held is restored");
            claims.0.lock().expect("no one panics with the lock held").refilled();
            claims.1.notify_waiters();
        });
    }

    /// How many keys were moved so far, before a fault that has to move some.
    async fn moved(&self, fault: &Fault) -> u64 {
        if !fault.name().nature().changes_the_ring {
            return 0;
        }
        self.counters.ask(&*self.cluster).await;
        ring::moved(&self.counters.totals())
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
        patience: Duration,
    ) -> Result<T, Unproven> {
        let late = || Unproven::from(format!("not proven within {patience:?}"));
        timeout(patience, step).await.unwrap_or_else(|_| Err(late()))
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
        fault.needs().iter().try_for_each(|node| processes::runs(&*self.cluster, *node).map(drop))
    }

    /// What the proof of healing is compared with.
    async fn before(&self, fault: &Fault) -> BTreeMap<NodeId, Status> {
        let mut before = BTreeMap::new();
        for node in fault.needs() {
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
            Ok(shown) => line(Told::shown(kind), shown),
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
        hooks::forget(cluster, episode).await;
    }
    for node in cluster.nodes().into_iter().filter(|node| !cluster.is_lost(*node)) {
        let healed = match cluster.life(node) {
            Life::Runs(_) => Ok(()),
            Life::Stopped(_) => cluster.resume(node).await,
            Life::Gone => cluster.start(node).await,
        };
        failures.extend(healed.err());
    }
    let mut failures: Vec<_> = failures.iter().map(ToString::to_string).collect();
    failures.dedup();
    failures
}

#[cfg(test)]
mod tests;
