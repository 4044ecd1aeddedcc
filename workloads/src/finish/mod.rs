//! The final phase: wait until the nodes say they are at rest, and read what was kept.
//!
//! 1. Every home's own replica of every key, without a quorum: a quorum hides a lost copy.
//! 2. A settling get of every key: it repairs homes that hints did not reach. Then every home again, until
//!    all homes of a key hold the same.
//! 3. Every key through every node, by gets that [count](counted).
//!
//! Nothing here has more patience than the cluster deserves, and none of it is held against the store:
//! what cannot be read in time is not known, and the run says so. The store is blamed for standing
//! still only when every node was shown to answer and every link to carry.

pub mod counted;
mod rest;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use checker::verdict::CheckReport;
use dynamo_protocol::{Key, NodeId, View};
use serde_json::Value;
use tokio::time::sleep;

use crate::client::{Client, Completion};
use crate::cluster::{Cluster, Life};
use crate::generator::{Action, Call, GivenUp, Read, Reads, Worker};
use crate::interpreter::Interpreter;
use counted::Counted;
use rest::{Terms, Unrest, is_up, rest};

/// How long nothing may change in a cluster that is not at rest.
const STILL: Duration = Duration::from_secs(30);
/// How long a cluster that goes on working is waited for.
const MOST: Duration = Duration::from_secs(600);
/// How often homes that differ are brought to agree.
pub(crate) const SETTLING: usize = 5;
/// Between two tries.
const SETTLE_AGAIN: Duration = Duration::from_millis(300);

/// Of so many keys a node that is no home of theirs is asked, too.
const STRANGERS: usize = 8;

/// The check that the store comes to rest once it is healed.
pub(crate) const AT_REST: &str = "at-rest";
/// The check that a store at rest answers.
pub(crate) const FINAL_READS: &str = "final-reads";

/// What the final phase itself found; what it read is in the history.
#[derive(Debug, Default)]
pub struct Closing {
    /// What the store did not do, by check.
    pub checks: BTreeMap<String, CheckReport>,
    /// What is not known, and why: the harness's own shortfalls.
    pub doubts: Vec<String>,
    /// Why faults of one node may have been none.
    pub untried: Vec<String>,
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
        let nodes = self.cluster.nodes().iter().copied();
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
        self.cluster.nodes().iter().copied().filter(gone).collect()
    }

    fn terms(&self, gone: &BTreeSet<NodeId>) -> Terms {
        let here = self.cluster.nodes().iter().copied().filter(|node| !gone.contains(node));
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
        self.read_strangers(interpreter.client(), &terms.here, closing).await;
        let unread = self.read_homes(interpreter, gone, closing).await?;
        let mut whole = self.keys - &unread;
        let Some(differ) = self.settle(interpreter, &whole, terms, closing).await? else {
            return Ok(());
        };
        if !differ.is_empty()
            && let Err(why) = is_up(self.cluster, terms).await
        {
            closing
                .doubts
                .push(format!("the homes of {} keys do not agree, but {why}", differ.len()));
            whole = &whole - &differ;
        }
        let mut reads = final_reads(&terms.here, &whole);
        interpreter.run(&mut reads).await?;
        self.unread(reads.given_up(), terms, closing).await;
        Ok(())
    }

    /// A node that is no home of a key holds no replica of it as one. If it does, nodes share what they keep,
    /// and what befell one of them cost nobody anything.
    async fn read_strangers(&self, client: &impl Client, here: &[NodeId], closing: &mut Closing) {
        for key in self.keys.iter().take(STRANGERS) {
            let is_stranger = |node: &&NodeId| homes(self.view, key).all(|home| home != **node);
            let Some(node) = here.iter().copied().find(|node| is_stranger(&node)) else { continue };
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

    /// Every home that is here; those that are gone are asked once, so that it is known who is missing. The
    /// keys of which a home was not read.
    async fn read_homes<K: Client>(
        &self,
        interpreter: &mut Interpreter<Counted<K, C>>,
        gone: &BTreeSet<NodeId>,
        closing: &mut Closing,
    ) -> Result<BTreeSet<Arc<str>>> {
        let (gone, here): (Vec<_>, Vec<_>) =
            of_homes(self.view, self.keys).partition(|read| gone.contains(&read.node));
        let mut reads = Reads::new(Action::Home, true, here);
        interpreter.run(&mut reads).await?;
        let mut unread = closing.unread_homes(&reads);
        unread.extend(gone.iter().map(|read| read.key.clone()));
        interpreter.run(&mut Reads::new(Action::Home, true, gone).once()).await?;
        Ok(unread)
    }

    /// Brings homes to agree by gets; the keys whose homes do not. None if the cluster does not rest.
    async fn settle<K: Client>(
        &self,
        interpreter: &mut Interpreter<Counted<K, C>>,
        keys: &BTreeSet<Arc<str>>,
        terms: &Terms,
        closing: &mut Closing,
    ) -> Result<Option<BTreeSet<Arc<str>>>> {
        let mut differ = keys.clone();
        for round in 0..SETTLING {
            if round > 0 {
                sleep(SETTLE_AGAIN).await;
            }
            // One that fails has repaired nothing: that shows in the homes.
            interpreter.run(&mut settling_reads(&terms.here, &differ, round)).await?;
            if !closing.rests(self.cluster, terms, "after the settling reads").await {
                return Ok(None);
            }
            let mut reads = Reads::new(Action::Home, false, of_homes(self.view, &differ));
            interpreter.run(&mut reads).await?;
            differ = differing(self.view, &differ, reads.answers());
            if differ.is_empty() || !closing.unread_homes(&reads).is_empty() {
                break;
            }
        }
        Ok(Some(differ))
    }

    /// Final gets that were given up: the store's doing only if it was not pressed for time.
    async fn unread(&self, given_up: &[GivenUp], terms: &Terms, closing: &mut Closing) {
        let (uncounted, failed): (Vec<_>, Vec<_>) =
            given_up.iter().partition(|given_up| given_up.answered);
        let told = |all: &[&GivenUp], what: &str| {
            let GivenUp { read: Read { key, node }, why, .. } = all.first()?;
            let count = all.len();
            Some(format!("{count} final reads never {what}, the first: {key} from {node}: {why}"))
        };
        if let Some(what) = told(&uncounted, "counted") {
            closing.doubts.push(format!(
                "{what} (nodes wait {:?} for each other: too short on this machine?)",
                self.patience
            ));
        }
        let Some(what) = told(&failed, "succeeded") else { return };
        match is_up(self.cluster, terms).await {
            Ok(()) => closing.blame(FINAL_READS, what),
            Err(why) => closing.doubts.push(format!("{what}; but {why}")),
        }
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

    fn blame(&mut self, check: &str, what: String) {
        self.checks.insert(check.to_owned(), CheckReport::invalid(what));
    }
}

fn homes(view: &View, key: &str) -> impl Iterator<Item = NodeId> {
    view.homes(&Key::from(key)).to_vec().into_iter()
}

/// Every home of every key.
pub fn of_homes(view: &View, keys: &BTreeSet<Arc<str>>) -> impl Iterator<Item = Read> {
    keys.iter().flat_map(|key| homes(view, key).map(|node| of(key, node)))
}

/// Every key once, each through another node; in each round through yet another.
#[must_use]
pub fn settling_reads(nodes: &[NodeId], keys: &BTreeSet<Arc<str>>, round: usize) -> Reads {
    let reads = keys.iter().zip(nodes.iter().cycle().skip(round)).map(|(key, node)| of(key, *node));
    Reads::new(Action::Get, false, reads)
}

/// Every key through every node.
#[must_use]
pub fn final_reads(nodes: &[NodeId], keys: &BTreeSet<Arc<str>>) -> Reads {
    let reads = keys.iter().flat_map(|key| nodes.iter().map(|node| of(key, *node)));
    Reads::new(Action::Get, true, reads)
}

/// The keys whose homes did not all show the same, in whatever order.
pub fn differing(
    view: &View,
    keys: &BTreeSet<Arc<str>>,
    answers: &BTreeMap<Read, Vec<Value>>,
) -> BTreeSet<Arc<str>> {
    let held = |key: &Arc<str>, node| {
        let values = answers.get(&of(key, node))?;
        Some(values.iter().map(ToString::to_string).collect::<BTreeSet<_>>())
    };
    let agree = |key: &&Arc<str>| {
        let mut all = homes(view, key).map(|node| held(key, node));
        let first = all.next().flatten();
        first.is_some() && all.all(|other| other == first)
    };
    keys.iter().filter(|key| !agree(key)).cloned().collect()
}

fn of(key: &Arc<str>, node: NodeId) -> Read {
    Read { key: key.clone(), node }
}

#[cfg(test)]
mod tests;
