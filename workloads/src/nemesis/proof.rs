//! Where a fault is done, what proves it, and how each of its steps is told in the history.

use std::collections::BTreeMap;
use std::time::Duration;

use checker::history::op::{Kind, Op, Process};
use dynamo_protocol::NodeId;
use serde_json::Value;
use tokio::time::sleep;

use crate::cluster::{ClusterError, Status};
use crate::hosts::proxy::FaultId;
use crate::run::counters::NodeCounters;

/// Between two looks for a proof.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A cluster, for one fault.
pub(crate) struct Site<'a, C> {
    pub(crate) cluster: &'a C,
    /// The fault's name in the history, and among the faults on a link.
    pub(crate) id: FaultId,
    /// What the nodes that it holds said of themselves before.
    pub(crate) before: BTreeMap<NodeId, Status>,
    /// What all processes have counted.
    pub(crate) counters: &'a NodeCounters,
    /// How many keys were moved before.
    pub(crate) moved: u64,
}

/// Why a fault is not proven.
#[derive(Debug)]
pub(crate) enum Unproven {
    /// It was not seen.
    Unseen(String),
    /// The node's own word shows that it did not do what the fault calls for: by which name that goes among
    /// the rules that runs break, and how it shows.
    Refuted(&'static str, String),
}

/// A fault as the history has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its number.
    pub id: FaultId,
    /// The name of its kind.
    pub name: &'static str,
    /// Whom it hits.
    pub whom: Value,
}

impl<C> Site<'_, C> {
    /// The directory that a node had before.
    pub(crate) fn identity(&self, node: NodeId) -> Result<&str, String> {
        let before = self.before.get(&node).map(|status| status.identity.as_str());
        before.ok_or_else(|| format!("{node} did not say who it was before"))
    }
}

impl From<String> for Unproven {
    fn from(why: String) -> Self {
        Self::Unseen(why)
    }
}

impl From<ClusterError> for Unproven {
    fn from(error: ClusterError) -> Self {
        Self::Unseen(error.to_string())
    }
}

impl Unproven {
    /// Of a fault that was not proven to be in force nothing is held against the node.
    pub(crate) fn unless_proven(self, is_proven: bool) -> Self {
        match self {
            Self::Refuted(_, why) if !is_proven => Self::Unseen(why),
            other => other,
        }
    }
}

impl Told {
    /// What a line of this kind calls what it shows: why somebody was chosen, or what proves the step.
    #[must_use]
    pub fn shown(kind: Kind) -> &'static str {
        if kind == Kind::Invoke { "chosen" } else { "proof" }
    }

    /// The line of a step.
    #[must_use]
    pub fn line(&self, kind: Kind, step: &str) -> Op {
        let mut value = self.whom.clone();
        value["fault"] = self.id.into();
        value["step"] = step.into();
        Op::new(Process::Nemesis, kind, self.name).value(value)
    }
}

/// Looks until `proof` is there; what it showed. The lease of the step bounds it.
pub(crate) async fn until<T>(mut proof: impl AsyncFnMut() -> Option<T>) -> T {
    loop {
        if let Some(shown) = proof().await {
            return shown;
        }
        sleep(LOOK_AGAIN).await;
    }
}
