//! The final phase: wait until the nodes say they are at rest, and read what was kept.
//!
//! 1. Every home's own replica of every key, without a quorum: a quorum hides a lost copy.
//! 2. Where there is anti-entropy: every home again, until all homes of a key hold the same, which they have
//!    to come to by themselves. Elsewhere a settling get of every key first: it repairs homes that hints did
//!    not reach.
//! 3. Every key through every node, by gets that [count](counted).
//!
//! Nothing here has more patience than the cluster deserves, and none of it is held against the store:
//! what cannot be read in time is not known, and the run says so. The store is blamed for standing
//! still only when every node was shown to answer and every link to carry.

pub mod counted;
mod rest;
pub(crate) mod script;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use checker::verdict::CheckReport;
use dynamo_protocol::membership::Membership;
use dynamo_protocol::{NodeId, View};
use tokio::time::sleep;

use crate::cluster::{Cluster, Life};
use crate::interpreter::Interpreter;
use crate::workload::client::{Client, Completion};
use crate::workload::generator::{Action, Call, GivenUp, Read, Reads, Worker};
use counted::Counted;
use rest::{Terms, Unrest, is_up, rest};
use script::{Script, Stage};

/// How long nothing may change in a cluster that is not at rest.
const STILL: Duration = Duration::from_secs(30);
/// How long a cluster that goes on working is waited for.
const MOST: Duration = Duration::from_secs(600);
/// Between two tries.
const SETTLE_AGAIN: Duration = Duration::from_millis(300);

/// Of so many keys a node that is no home of theirs is asked, too.
const STRANGERS: usize = 8;

/// The check that the store comes to rest once it is healed.
pub(crate) const AT_REST: &str = "at-rest";
/// The check that homes come to hold the same.
pub(crate) const CONVERGENCE: &str = "convergence";
/// The check that a store at rest answers.
const FINAL_READS: &str = "final-reads";

/// What the final phase itself found; what it read is in the history.
#[derive(Debug, Default)]
pub struct Closing {
    /// What the store did not do, by check.
    pub checks: BTreeMap<String, CheckReport>,
    /// What is not known, and why: the harness's own shortfalls.
    pub doubts: Vec<String>,
    /// Why faults of one node may have been none.
    pub untried: Vec<String>,
    /// The memberships there were, if they changed.
    pub epochs: Vec<Membership>,
}

/// What the final phase works on.
pub struct Phase<'a, C> {
    /// The cluster, healed.
    pub cluster: &'a C,
    /// Tells the homes of a key.
    pub view: &'a View,
    /// Every key there is.
    pub keys: &'a BTreeSet<Arc<str>>,
    /// How long nodes wait for each other at least.
    pub patience: Duration,
    /// Between two exchanges of a node, if homes come to agree by themselves.
    pub exchange: Option<Duration>,
}

/// Reads everything there is to know about the keys.
///
/// # Errors
/// If the history cannot be written.
pub async fn finish<C: Cluster, K: Client>(
    phase: &Phase<'_, C>,
    interpreter: &mut Interpreter<Counted<K, C>>,
) -> Result<Closing> {
    let gone = phase.gone();
    interpreter.client().part_with(&gone).await;
    let terms = phase.terms(&gone);
    // Why they are gone is told by whoever knows; checkers say what is not known without them.
    let mut closing = Closing::default();
    phase.read_all(interpreter, &gone, &terms, &mut closing).await?;
    Ok(closing)
}

impl<C: Cluster> Phase<'_, C> {
    /// The nodes whose hosts are lost now.
    #[must_use]
    pub fn lost(&self) -> BTreeSet<NodeId> {
        let nodes = self.cluster.nodes().into_iter();
        nodes.filter(|node| self.cluster.is_lost(*node)).collect()
    }

    /// Returns when another than `lost` is.
    pub async fn lost_another(&self, lost: &BTreeSet<NodeId>) {
        while self.lost().is_subset(lost) {
            sleep(SETTLE_AGAIN).await;
        }
    }

    /// The nodes nobody can bring back.
    fn gone(&self) -> BTreeSet<NodeId> {
        let gone =
            |node: &NodeId| self.cluster.is_lost(*node) || self.cluster.life(*node) == Life::Gone;
        self.cluster.nodes().into_iter().filter(gone).collect()
    }

    fn terms(&self, gone: &BTreeSet<NodeId>) -> Terms {
        let here = self.cluster.nodes().into_iter().filter(|node| !gone.contains(node));
        Terms { here: here.collect(), still: STILL, most: MOST, patience: self.patience }
    }

    async fn read_all<K: Client>(
        &self,
        interpreter: &mut Interpreter<Counted<K, C>>,
        gone: &BTreeSet<NodeId>,
        terms: &Terms,
        closing: &mut Closing,
    ) -> Result<()> {
        if !closing.rests(self.cluster, terms, "before the final reads").await {
            return Ok(());
        }
        let &Self { cluster, view, keys, patience, exchange } = self;
        let script = Script { view, keys, here: &terms.here, gone, patience, exchange };
        self.read_strangers(interpreter.client(), &script, closing).await;
        let mut stage = RealNodes { cluster, terms, interpreter };
        match script.settle(&mut stage, closing).await? {
            Some(whole) => script.read_finals(&whole, &mut stage, closing).await,
            None => Ok(()),
        }
    }

    /// A node that is no home of a key holds no replica of it as one. If it does, nodes share what they keep,
    /// and what befell one of them cost nobody anything.
    async fn read_strangers(
        &self,
        client: &impl Client,
        script: &Script<'_>,
        closing: &mut Closing,
    ) {
        for key in self.keys.iter().take(STRANGERS) {
            let is_stranger = |node: &&NodeId| script.homes(key).all(|home| home != **node);
            let Some(node) = script.here.iter().find(is_stranger).copied() else { continue };
            let call = Call { key: key.clone(), node, action: Action::Home, is_final: false };
            if let Completion::Ok { values, .. } = client.call(Worker(0), call, None).await
                && !values.is_empty()
            {
                return closing.untried.push(format!(
                    "{node} is no home of {key} and holds it as one: nodes share what they keep, and what \
                     befell one of them cost nothing"
                ));
            }
        }
    }
}

/// Real nodes: what is not seen of them in time is not known.
struct RealNodes<'a, K, C> {
    cluster: &'a C,
    terms: &'a Terms,
    interpreter: &'a mut Interpreter<Counted<K, C>>,
}

impl<K: Client, C: Cluster> Stage for RealNodes<'_, K, C> {
    async fn read(&mut self, reads: &mut Reads) -> Result<()> {
        self.interpreter.run(reads).await
    }

    async fn rests(&mut self, closing: &mut Closing) -> bool {
        closing.rests(self.cluster, self.terms, "after the settling reads").await
    }

    async fn pause(&mut self, time: Duration) {
        sleep(time).await;
    }

    async fn is_up(&mut self) -> Result<(), String> {
        is_up(self.cluster, self.terms).await
    }
}

impl Closing {
    /// Waits for rest; whether it came.
    async fn rests(&mut self, cluster: &impl Cluster, terms: &Terms, when: &str) -> bool {
        match rest(cluster, terms).await {
            Ok(()) => return true,
            Err(Unrest::Store(what)) => self.blame(AT_REST, format!("{when}: {what}")),
            Err(Unrest::Unknown(what)) => self.doubts.push(format!("{when}: {what}")),
        }
        false
    }

    /// The keys of homes that could not be read: the driver's own question went unanswered, and that is
    /// nobody's fault that is known.
    fn unread_homes(&mut self, reads: &Reads) -> BTreeSet<Arc<str>> {
        if let Some(GivenUp { read: Read { key, node }, why, .. }) = reads.given_up().first() {
            let count = reads.given_up().len();
            self.doubts.push(format!(
                "{count} homes could not be read, the first: {key} on {node}: {why}"
            ));
        }
        reads.given_up().iter().map(|given_up| given_up.read.key.clone()).collect()
    }

    pub(crate) fn blame(&mut self, check: &str, what: String) {
        self.checks.entry(check.to_owned()).or_insert_with(|| CheckReport::invalid(what));
    }
}

#[cfg(test)]
mod tests;
