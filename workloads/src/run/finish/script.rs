//! What the final phase reads of a cluster at rest, and what it makes of it: the same by the wall clock and
//! under virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use dynamo_protocol::{Key, NodeId, View};
use serde_json::Value;

use super::{CONVERGENCE, Closing, FINAL_READS};
use crate::workload::generator::{Action, GivenUp, Read, Reads};

/// How often homes that differ are brought to agree.
const SETTLING: usize = 5;
/// Between two tries.
const SETTLE_AGAIN: Duration = Duration::from_millis(300);
/// How many exchanges every node has with every other before homes have to agree. One is enough but for what
/// it cannot know: that its partner was asked by somebody else meanwhile, or that a message was lost.
const TURNS: usize = 3;

/// Who makes the reads happen, and knows how the cluster is.
pub(crate) trait Stage {
    /// Makes reads.
    async fn read(&mut self, reads: &mut Reads) -> Result<()>;

    /// Waits until the cluster is at rest again; whether it came. If not, `closing` is told.
    async fn rests(&mut self, closing: &mut Closing) -> bool;

    /// Lets the cluster be for so long.
    async fn pause(&mut self, time: Duration);

    /// Shows that every node and every link is up, and soon enough: else nothing is the store's fault.
    ///
    /// # Errors
    /// What was not shown.
    async fn is_up(&mut self) -> Result<(), String>;
}

/// What there is to read.
pub(crate) struct Script<'a> {
    /// Tells the homes of a key.
    pub(crate) view: &'a View,
    /// Every key there is.
    pub(crate) keys: &'a BTreeSet<Arc<str>>,
    /// The nodes that are there.
    pub(crate) here: &'a [NodeId],
    /// Those that nobody can bring back.
    pub(crate) gone: &'a BTreeSet<NodeId>,
    /// How long nodes wait for each other at least.
    pub(crate) patience: Duration,
    /// Between two exchanges of a node, if homes come to agree by themselves.
    pub(crate) exchange: Option<Duration>,
}

impl Script<'_> {
    /// Reads every home and brings homes to agree; the keys of which every home was read and that agree or
    /// should. None if the cluster does not rest.
    pub(crate) async fn settle(
        &self,
        stage: &mut impl Stage,
        closing: &mut Closing,
    ) -> Result<Option<BTreeSet<Arc<str>>>> {
        let unread = self.read_homes(stage, closing).await?;
        let whole = self.keys - &unread;
        let Some(differ) = self.bring_to_agree(&whole, stage, closing).await? else {
            return Ok(None);
        };
        let Some(first) = differ.first() else { return Ok(Some(whole)) };
        let count = differ.len();
        match (stage.is_up().await, self.exchange) {
            (Err(why), _) => {
                closing.doubts.push(format!("the homes of {count} keys do not agree, but {why}"));
                return Ok(Some(&whole - &differ));
            }
            (Ok(()), Some(exchange)) => closing.blame(
                CONVERGENCE,
                format!(
                    "the homes of {count} keys do not agree, the first: {first}, although each node began an \
                     exchange with another every {exchange:?}, {TURNS} with each"
                ),
            ),
            // Whatever is missing, gets show it.
            (Ok(()), None) => {}
        }
        Ok(Some(whole))
    }

    /// Gets every one of `keys` through every node.
    pub(crate) async fn read_finals(
        &self,
        keys: &BTreeSet<Arc<str>>,
        stage: &mut impl Stage,
        closing: &mut Closing,
    ) -> Result<()> {
        let all = keys.iter().flat_map(|key| self.here.iter().map(|node| of(key, *node)));
        let mut reads = Reads::new(Action::Get, true, all);
        stage.read(&mut reads).await?;
        self.unread(reads.given_up(), stage, closing).await;
        Ok(())
    }

    /// Every home that is here; those that are gone are asked once, so that it is known who is missing. The
    /// keys of which a home was not read.
    async fn read_homes(
        &self,
        stage: &mut impl Stage,
        closing: &mut Closing,
    ) -> Result<BTreeSet<Arc<str>>> {
        let (gone, here): (Vec<_>, Vec<_>) =
            self.of_homes(self.keys).partition(|read| self.gone.contains(&read.node));
        let mut reads = Reads::new(Action::Home, true, here);
        stage.read(&mut reads).await?;
        let mut unread = closing.unread_homes(&reads);
        unread.extend(gone.iter().map(|read| read.key.clone()));
        stage.read(&mut Reads::new(Action::Home, true, gone).once()).await?;
        Ok(unread)
    }

    /// Brings homes to agree by gets, or lets them come to agree: as long as it takes every node to begin so
    /// many exchanges with every other. The keys whose homes do not; none if the cluster does not rest.
    async fn bring_to_agree(
        &self,
        keys: &BTreeSet<Arc<str>>,
        stage: &mut impl Stage,
        closing: &mut Closing,
    ) -> Result<Option<BTreeSet<Arc<str>>>> {
        let (rounds, pause) = match self.exchange {
            None => (SETTLING, SETTLE_AGAIN),
            Some(exchange) => (1 + TURNS * self.here.len(), exchange),
        };
        let mut differ = keys.clone();
        for round in 0..rounds {
            if round > 0 {
                stage.pause(pause).await;
            }
            if self.exchange.is_none() {
                // One that fails has repaired nothing: that shows in the homes.
                stage.read(&mut self.settling_reads(&differ, round)).await?;
            }
            if !stage.rests(closing).await {
                return Ok(None);
            }
            let mut reads = Reads::new(Action::Home, false, self.of_homes(&differ));
            stage.read(&mut reads).await?;
            differ = self.differing(&differ, reads.answers());
            if differ.is_empty() || !closing.unread_homes(&reads).is_empty() {
                break;
            }
        }
        Ok(Some(differ))
    }

    /// Final gets that were given up: the store's doing only if it was not pressed for time.
    async fn unread(&self, given_up: &[GivenUp], stage: &mut impl Stage, closing: &mut Closing) {
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
        match stage.is_up().await {
            Ok(()) => closing.blame(FINAL_READS, what),
            Err(why) => closing.doubts.push(format!("{what}; but {why}")),
        }
    }

    /// The homes of a key.
    pub(super) fn homes(&self, key: &str) -> impl Iterator<Item = NodeId> + use<> {
        self.view.homes(&Key::from(key)).to_vec().into_iter()
    }

    /// Every home of every key.
    fn of_homes(&self, keys: &BTreeSet<Arc<str>>) -> impl Iterator<Item = Read> {
        keys.iter().flat_map(|key| self.homes(key).map(|node| of(key, node)))
    }

    /// Every key once, each through another node; in each round through yet another.
    fn settling_reads(&self, keys: &BTreeSet<Arc<str>>, round: usize) -> Reads {
        let nodes = self.here.iter().cycle().skip(round);
        Reads::new(Action::Get, false, keys.iter().zip(nodes).map(|(key, node)| of(key, *node)))
    }

    /// The keys whose homes did not all show the same, in whatever order.
    fn differing(
        &self,
        keys: &BTreeSet<Arc<str>>,
        answers: &BTreeMap<Read, Vec<Value>>,
    ) -> BTreeSet<Arc<str>> {
        let held = |key: &Arc<str>, node| {
            let values = answers.get(&of(key, node))?;
            Some(values.iter().map(ToString::to_string).collect::<BTreeSet<_>>())
        };
        let agree = |key: &&Arc<str>| {
            let mut all = self.homes(key).map(|node| held(key, node));
            let first = all.next().flatten();
            first.is_some() && all.all(|other| other == first)
        };
        keys.iter().filter(|key| !agree(key)).cloned().collect()
    }
}

fn of(key: &Arc<str>, node: NodeId) -> Read {
    Read { key: key.clone(), node }
}
