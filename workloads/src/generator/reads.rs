//! A list of reads, shared out among the workers, each tried until it succeeds or is given up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::NodeId;

use super::{Action, Call, Context, Event, Generator, Next, Outcome, Worker};

/// How often a read is tried. The cluster is healed and quiet when these run: a read that fails
/// this often is a finding, not bad luck.
const ATTEMPTS: u32 = 5;

/// How long a read waits that has failed once, twice as long each time after: a node that was slow is
/// held down for a while, and refuses as fast as it is asked.
const PAUSE: Duration = Duration::from_millis(250);

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
    waiting: VecDeque<Read>,
    /// Those that failed, by when they are due, and how often they failed.
    failed: BTreeMap<(Duration, Read), u32>,
    open: BTreeMap<Worker, (Read, u32)>,
    given_up: Vec<Read>,
}

impl Reads {
    /// Reads `reads` by gets or, without a quorum, from homes.
    #[must_use]
    pub fn new(action: Action, is_final: bool, reads: impl IntoIterator<Item = Read>) -> Self {
        Self {
            action,
            is_final,
            waiting: reads.into_iter().collect(),
            failed: BTreeMap::new(),
            open: BTreeMap::new(),
            given_up: Vec::new(),
        }
    }

    /// The reads that never succeeded: none, if all went well.
    #[must_use]
    pub fn given_up(&self) -> &[Read] {
        &self.given_up
    }
}

impl Generator for Reads {
    fn op(&mut self, context: &Context<'_>) -> Next {
        let due = self.failed.first_key_value().map(|((due, _), _)| *due);
        if self.waiting.is_empty() && due.is_none() && self.open.is_empty() {
            return Next::Done;
        }
        let Some(worker) = context.free.first() else { return Next::Wait(None) };
        let (read, failures) = match self.waiting.pop_front() {
            Some(read) => (read, 0),
            None if due.is_some_and(|due| due > context.now) => return Next::Wait(due),
            None => match self.failed.pop_first() {
                Some(((_, read), failures)) => (read, failures),
                None => return Next::Wait(None),
            },
        };
        self.open.insert(*worker, (read.clone(), failures));
        let Read { key, node } = read;
        Next::Op(*worker, Call { key, node, action: self.action.clone(), is_final: self.is_final })
    }

    fn update(&mut self, event: &Event<'_>) {
        let Some((read, failures)) = self.open.remove(&event.worker) else { return };
        match event.outcome {
            Outcome::Ok { .. } => {}
            Outcome::Fail | Outcome::Info if failures + 1 < ATTEMPTS => {
                self.failed.insert((event.now + PAUSE * 2_u32.pow(failures), read), failures + 1);
            }
            Outcome::Fail | Outcome::Info => self.given_up.push(read),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks one worker until all is done; gives the times of the reads it made.
    fn drive(reads: &mut Reads, outcome: impl Fn(&Call) -> Outcome<'static>) -> Vec<Duration> {
        let (free, mut now, mut made) = ([Worker(0)], Duration::ZERO, Vec::new());
        loop {
            match reads.op(&Context { now, free: &free }) {
                Next::Op(worker, call) => {
                    made.push(now);
                    reads.update(&Event { now, worker, outcome: outcome(&call) });
                }
                Next::Wait(until) => {
                    let until = until.unwrap();
                    assert!(until > now);
                    now = until;
                }
                Next::Done => return made,
            }
        }
    }

    fn two() -> Reads {
        let reads = [1, 2].map(|node| Read { key: "k".into(), node: NodeId(node) });
        Reads::new(Action::Get, true, reads)
    }

    #[test]
    fn every_read_is_made_once_when_all_succeed() {
        let mut reads = two();
        let made = drive(&mut reads, |_| Outcome::Ok { index: 0, values: vec![] });
        assert_eq!(made, [Duration::ZERO; 2]);
        assert!(reads.given_up().is_empty());
    }

    #[test]
    fn a_read_that_never_succeeds_is_tried_ever_later_then_given_up_and_named() {
        let mut reads = two();
        let made = drive(&mut reads, |call| match call.node {
            NodeId(1) => Outcome::Fail,
            _ => Outcome::Ok { index: 0, values: vec![] },
        });
        let at = [0, 0, 250, 750, 1_750, 3_750].map(Duration::from_millis);
        assert_eq!(made, at);
        assert_eq!(reads.given_up(), [Read { key: "k".into(), node: NodeId(1) }]);
    }
}
