//! A list of reads, shared out among the workers, each tried until it succeeds or is given up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use dynamo_protocol::NodeId;

use super::{Action, Call, Context, Event, Generator, Next, Outcome, Worker};

/// How often a read is tried. The cluster is healed and quiet when these run: a read that fails
/// this often is a finding, not bad luck.
const ATTEMPTS: u32 = 5;

/// One read to make.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Read {
    /// Of this key.
    pub key: Arc<str>,
    /// From this node.
    pub node: NodeId,
}

/// Makes every read of a list.
#[derive(Clone, Debug)]
pub struct Reads {
    action: Action,
    is_final: bool,
    waiting: VecDeque<(Read, u32)>,
    open: BTreeMap<Worker, (Read, u32)>,
    given_up: Vec<Read>,
}

impl Reads {
    /// Reads `reads` by gets or, without a quorum, from homes.
    #[must_use]
    pub fn new(action: Action, is_final: bool, reads: impl IntoIterator<Item = Read>) -> Self {
        let waiting = reads.into_iter().map(|read| (read, ATTEMPTS)).collect();
        Self { action, is_final, waiting, open: BTreeMap::new(), given_up: Vec::new() }
    }

    /// The reads that never succeeded: none, if all went well.
    #[must_use]
    pub fn given_up(&self) -> &[Read] {
        &self.given_up
    }
}

impl Generator for Reads {
    fn op(&mut self, context: &Context<'_>) -> Next {
        if self.waiting.is_empty() {
            return if self.open.is_empty() { Next::Done } else { Next::Wait(None) };
        }
        let Some(worker) = context.free.first() else { return Next::Wait(None) };
        let Some((read, attempts)) = self.waiting.pop_front() else { return Next::Done };
        self.open.insert(*worker, (read.clone(), attempts));
        let Read { key, node } = read;
        Next::Op(*worker, Call { key, node, action: self.action.clone(), is_final: self.is_final })
    }

    fn update(&mut self, event: &Event<'_>) {
        let Some((read, attempts)) = self.open.remove(&event.worker) else { return };
        match event.outcome {
            Outcome::Ok { .. } => {}
            Outcome::Fail | Outcome::Info if attempts > 1 => {
                self.waiting.push_back((read, attempts - 1));
            }
            Outcome::Fail | Outcome::Info => self.given_up.push(read),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn drive(reads: &mut Reads, outcome: impl Fn(&Call) -> Outcome<'static>) -> usize {
        let free = [Worker(0)];
        let context = Context { now: Duration::ZERO, free: &free };
        let mut made = 0;
        while let Next::Op(worker, call) = reads.op(&context) {
            made += 1;
            reads.update(&Event { now: Duration::ZERO, worker, outcome: outcome(&call) });
        }
        made
    }

    fn two() -> Reads {
        let reads = [1, 2].map(|node| Read { key: "k".into(), node: NodeId(node) });
        Reads::new(Action::Get, true, reads)
    }

    #[test]
    fn every_read_is_made_once_when_all_succeed() {
        let mut reads = two();
        assert_eq!(drive(&mut reads, |_| Outcome::Ok { index: 0, values: vec![] }), 2);
        assert!(reads.given_up().is_empty());
    }

    #[test]
    fn a_read_that_never_succeeds_is_given_up_and_named() {
        let mut reads = two();
        let made = drive(&mut reads, |call| match call.node {
            NodeId(1) => Outcome::Fail,
            _ => Outcome::Ok { index: 0, values: vec![] },
        });
        assert_eq!(made, 1 + ATTEMPTS as usize);
        assert_eq!(reads.given_up(), [Read { key: "k".into(), node: NodeId(1) }]);
    }
}
