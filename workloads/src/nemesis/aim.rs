//! Whom a fault hits that is aimed at what the cluster does: he is chosen as it begins, and told with it.
//!
//! The schedule draws such a fault as it draws any, with somebody who stands in if nobody is there to be hit.
//! Both clocks keep to what is written here: who comes first, how long a fault waits, and how that is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use checker::history::op::{Kind, Op};
use dynamo_protocol::NodeId;
use futures::future::select_all;
use serde_json::{Value, json};
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use super::Nemesis;
use super::faults::Fault;
use super::proof::until;
use super::schedule::Episode;
use crate::cluster::{Cluster, Status};
use crate::interpreter::book::reads;
use crate::plan::{Role, Target, parse_node};

/// The leave to hit somebody.
pub(super) type Turns = Vec<OwnedMutexGuard<()>>;

/// By what a fault chooses whom it hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// Whoever answered the newest acknowledged put.
    Acknowledged,
    /// Whomever a hint is for, the moment it is stored.
    Hinted,
}

/// Who answered acknowledged puts and deletes: once each, the newest last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Acknowledged(Vec<Arc<str>>);

impl Aim {
    /// That of a target, if it is one of those.
    pub(crate) fn of(target: Target) -> Option<Self> {
        match target {
            Target::Role(Role::Acknowledged) => Some(Self::Acknowledged),
            Target::Role(Role::Hinted) => Some(Self::Hinted),
            Target::Role(_) | Target::Home(_) | Target::Node(_) => None,
        }
    }

    fn role(self) -> Role {
        match self {
            Self::Acknowledged => Role::Acknowledged,
            Self::Hinted => Role::Hinted,
        }
    }

    /// How long a fault waits for somebody, of the time that it is to be held. It is held for the rest.
    pub(crate) fn patience(self, hold: Duration) -> Duration {
        match self {
            Self::Acknowledged => Duration::ZERO,
            Self::Hinted => hold / 2,
        }
    }

    /// How it is told that somebody was chosen; `by` is who stored a hint for him.
    pub(crate) fn met(self, by: Option<NodeId>) -> Value {
        let why = match by {
            Some(by) => format!("{by} stored a hint for it"),
            None => "it answered the newest acknowledged put".to_owned(),
        };
        json!({ "by": self.role(), "why": why })
    }

    /// The same if nobody was, for a fault that is to be held so long.
    pub(crate) fn missed(self, hold: Duration) -> Value {
        let why = match self {
            Self::Acknowledged => {
                "nobody who may be hit has answered an acknowledged put".to_owned()
            }
            Self::Hinted => {
                let millis = self.patience(hold).as_millis();
                format!("no hint was stored within {millis} ms for anybody who may be hit")
            }
        };
        json!({ "by": self.role(), "stands_in": why })
    }
}

impl Acknowledged {
    /// Takes notice of a line of the history.
    pub(crate) fn note(&mut self, line: &Op) {
        let Some(node) = line.node.as_ref().filter(|_| line.kind == Kind::Ok && !reads(line))
        else {
            return;
        };
        if self.0.last() != Some(node) {
            self.0.retain(|other| other != node);
            self.0.push(node.clone());
        }
    }

    /// The last of them of whom there `is` something.
    pub(crate) fn newest<T>(&self, is: impl Fn(NodeId) -> Option<T>) -> Option<T> {
        self.0.iter().rev().find_map(|node| is(parse_node(node).ok()?))
    }
}

impl<C: Cluster> Nemesis<C> {
    /// An episode once it is known whom it hits, why him, and the turns that it needs.
    pub(super) async fn aimed(&self, episode: &Episode) -> (Episode, Value, Turns) {
        let Some(aim) = episode.aim else {
            let turns = self.take_turns(episode.fault.holds()).await;
            return (episode.clone(), Value::Null, turns);
        };
        let (fault, began) = (&episode.fault, self.journal.now());
        let chosen = match aim {
            Aim::Acknowledged => {
                let newest = self.journal.acknowledged().newest(|node| self.leave(fault, node));
                newest.map(|leave| (leave, None))
            }
            Aim::Hinted => {
                let patience = aim.patience(episode.hold);
                let hinted = timeout(patience, self.hinted(fault)).await.ok();
                hinted.map(|(leave, by)| (leave, Some(by)))
            }
        };
        let (fault, turns, told) = match chosen {
            Some(((fault, turns), by)) => (fault, turns, aim.met(by)),
            None => (fault.clone(), self.take_turns(fault.holds()).await, aim.missed(episode.hold)),
        };
        let hold = episode.hold.saturating_sub(self.journal.now().saturating_sub(began));
        (Episode { fault, hold, aim: None, ..*episode }, told, turns)
    }

    /// A fault as it hits this node, if it can be hit now, and no other fault holds it.
    fn leave(&self, fault: &Fault, node: NodeId) -> Option<(Fault, Turns)> {
        let fault = fault.aimed_at(node);
        let may_be = self.cluster.nodes().contains(&node) && self.probe(&fault).is_ok();
        let holds = fault.holds().iter().filter(|_| may_be);
        let turns = holds.map(|held| self.turns.get(held)?.clone().try_lock_owned().ok());
        let turns = turns.collect::<Option<_>>().filter(|_| may_be)?;
        Some((fault, turns))
    }

    /// Waits until a hint is stored for somebody who can be hit; who stored it.
    async fn hinted(&self, fault: &Fault) -> ((Fault, Turns), NodeId) {
        let holders = self.cluster.nodes().into_iter();
        let each = holders.map(|holder| Box::pin(self.hinted_by(holder, fault)));
        select_all(each).await.0
    }

    async fn hinted_by(&self, holder: NodeId, fault: &Fault) -> ((Fault, Turns), NodeId) {
        let mut before = None;
        until(async || {
            let now = self.cluster.status(holder).await.ok()?;
            let targets = before.as_ref().map(|before| newly_hinted(before, &now));
            before = Some(now);
            targets?.into_iter().find_map(|target| Some((self.leave(fault, target)?, holder)))
        })
        .await
    }
}

/// For whom a node has stored hints between two of its reports.
fn newly_hinted(before: &Status, now: &Status) -> Vec<NodeId> {
    let none = BTreeMap::new();
    let is_same = before.incarnation == now.incarnation;
    let then = if is_same { &before.hinted } else { &none };
    let more = now.hinted.iter().filter(|(target, count)| then.get(target) < Some(count));
    more.map(|(target, _)| *target).collect()
}

#[cfg(test)]
mod tests {
    use checker::history::op::Process;

    use super::*;
    use crate::cluster::fake::FakeCluster;
    use crate::plan::FaultName;

    #[test]
    fn who_answered_last_is_asked_first_and_only_of_what_was_acknowledged() {
        let mut acknowledged = Acknowledged::default();
        let line = |node: &str, kind, f| Op::new(Process::Client(1), kind, f).node(node);
        for (node, kind, f) in [
            ("n1", Kind::Ok, "put"),
            ("n2", Kind::Ok, "delete"),
            ("n3", Kind::Ok, "get"),
            ("n4", Kind::Info, "put"),
            ("n5", Kind::Invoke, "put"),
            ("n1", Kind::Ok, "put"),
        ] {
            acknowledged.note(&line(node, kind, f));
        }
        let newest = |not: u16| acknowledged.newest(|node| (node != NodeId(not)).then_some(node));
        assert_eq!(newest(9), Some(NodeId(1)));
        assert_eq!(newest(1), Some(NodeId(2)));
        assert_eq!(acknowledged.newest(|_| None::<()>), None);
    }

    #[tokio::test]
    async fn hints_count_anew_with_each_process() {
        let cluster = FakeCluster::new(3, false);
        let status = async |hints, incarnation| {
            cluster.set(NodeId(1), |node| node.hints = hints);
            let status = cluster.status(NodeId(1)).await.unwrap();
            Status { incarnation, ..status }
        };
        let (two, three) = (status(2, 1).await, status(3, 1).await);
        let others = [2, 3].map(NodeId);
        assert_eq!(newly_hinted(&two, &three), others);
        assert_eq!(newly_hinted(&three, &three), []);
        assert_eq!(newly_hinted(&three, &status(1, 2).await), others);
    }

    #[test]
    fn a_fault_that_targets_are_dealt_for_can_be_aimed_at_anybody() {
        use crate::nemesis::schedule::schedule;
        let mut aimed = Vec::new();
        for kind in FaultName::ALL {
            let mut plan = crate::plan::Plan { faults: vec![*kind], ..Default::default() };
            plan.cluster.nodes = 6;
            plan.fault.targets = vec![Target::Role(Role::Acknowledged)];
            let episodes = schedule(&plan, 1, &plan.view().unwrap());
            let late: Vec<_> = episodes.iter().filter(|it| it.aim.is_some()).collect();
            for episode in &late {
                for node in plan.nodes() {
                    assert_eq!(episode.fault.aimed_at(node).of_members(), [node], "{kind}");
                }
            }
            // Some deal a target only now and then.
            aimed.extend((!late.is_empty()).then_some(kind.as_str()));
        }
        let expected = [
            "kill",
            "pause",
            "delay",
            "rate",
            "reset",
            "powercut",
            "diskfull",
            "eio",
            "slowdisk",
            "clock",
            "loss",
            "duplicate",
            "reorder",
            "corrupt",
        ];
        assert_eq!(aimed, expected);
    }
}
