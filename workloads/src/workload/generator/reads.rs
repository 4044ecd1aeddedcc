//! A list of reads, shared out among the workers, each tried until it succeeds or is given up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::NodeId;
use serde_json::Value;

use super::{Action, Call, Context, Event, Generator, Next, Outcome, Worker};

/// How often a read is tried. The cluster is healed and quiet when these run: that a read fails this
/// often has a reason that can be found.
const ATTEMPTS: u32 = 5;

/// How many reads in a row may not count: then no other will. On a busy machine it takes a calm moment,
/// and there are many.
const CALM_ATTEMPTS: u32 = 100;

/// How long a read waits that has failed once, twice as long each time after: a node that was slow is
/// suspected for a while, and refuses as fast as it is asked.
const PAUSE: Duration = Duration::from_millis(250);

/// How long all wait once one did not count: what disturbed it disturbs the others, too.
const CALM: Duration = Duration::from_millis(20);

/// One read to make.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Read {
    /// Of this key.
    pub key: Arc<str>,
    /// From this node.
    pub node: NodeId,
}

/// A read that never succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// Which.
    pub read: Read,
    /// What was said to it at last.
    pub why: String,
    /// It was answered, but not so that it counts.
    pub answered: bool,
}

/// Makes every read of a list.
#[derive(Clone, Debug)]
pub struct Reads {
    action: Action,
    is_final: bool,
    attempts: u32,
    waiting: VecDeque<Read>,
    /// Those that failed, by when they are due, and how often they failed.
    failed: BTreeMap<(Duration, Read), u32>,
    open: BTreeMap<Worker, (Read, u32)>,
    /// How many did not count since the last that did.
    uncounted: u32,
    /// None begins before.
    not_before: Duration,
    /// As many are open at most: fewer after one that did not count, for they disturb each other.
    width: usize,
    given_up: Vec<GivenUp>,
    /// What homes hold.
    answers: BTreeMap<Read, Vec<Value>>,
}

impl Reads {
    /// Reads `reads` by gets or, without a quorum, from homes.
    #[must_use]
    pub fn new(action: Action, is_final: bool, reads: impl IntoIterator<Item = Read>) -> Self {
        Self {
            action,
            is_final,
            attempts: ATTEMPTS,
            waiting: reads.into_iter().collect(),
            failed: BTreeMap::new(),
            open: BTreeMap::new(),
            uncounted: 0,
            not_before: Duration::ZERO,
            width: usize::MAX,
            given_up: Vec::new(),
            answers: BTreeMap::new(),
        }
    }

    /// Tries each once only: of nodes that are gone nothing is expected.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.attempts = 1;
        self
    }

    /// The reads that never succeeded: none, if all went well.
    #[must_use]
    pub fn given_up(&self) -> &[GivenUp] {
        &self.given_up
    }

    /// What reads of homes showed.
    #[must_use]
    pub fn answers(&self) -> &BTreeMap<Read, Vec<Value>> {
        &self.answers
    }

    fn give_up(&mut self, read: Read, why: &str, answered: bool) {
        self.given_up.push(GivenUp { read, why: why.to_owned(), answered });
    }
}

impl Generator for Reads {
    fn op(&mut self, context: &Context<'_>) -> Next {
        let due = self.failed.first_key_value().map(|((due, _), _)| *due);
        if self.waiting.is_empty() && due.is_none() && self.open.is_empty() {
            return Next::Done;
        }
        if context.now < self.not_before {
            return Next::Wait(Some(self.not_before));
        }
        let Some(worker) = context.free.first().filter(|_| self.open.len() < self.width) else {
            return Next::Wait(None);
        };
        let (read, failures) = match self.failed.first_entry() {
            Some(first) if first.key().0 <= context.now => {
                let ((_, read), failures) = first.remove_entry();
                (read, failures)
            }
            _ => match (self.waiting.pop_front(), due) {
                (Some(read), _) => (read, 0),
                (None, Some(due)) => return Next::Wait(Some(due)),
                (None, None) => return Next::Wait(None),
            },
        };
        self.open.insert(*worker, (read.clone(), failures));
        let Read { key, node } = read;
        Next::Op(*worker, Call { key, node, action: self.action.clone(), is_final: self.is_final })
    }

    fn update(&mut self, event: &Event<'_>) {
        let at_once = self.open.len();
        let Some((read, failures)) = self.open.remove(&event.worker) else { return };
        match &event.outcome {
            Outcome::Ok { values, .. } => {
                self.uncounted = 0;
                self.width = self.width.saturating_add(1);
                if self.action == Action::Home {
                    let values = values.iter().map(|value| (*value).clone()).collect();
                    self.answers.insert(read, values);
                }
            }
            Outcome::Uncounted => {
                self.uncounted += 1;
                self.width = (at_once / 2).max(1);
                self.not_before = event.now + CALM;
                if self.uncounted < CALM_ATTEMPTS {
                    self.failed.insert((self.not_before, read), failures);
                } else {
                    self.give_up(read, event.why, true);
                }
            }
            Outcome::Fail | Outcome::Info if failures + 1 < self.attempts => {
                self.failed.insert((event.now + PAUSE * 2_u32.pow(failures), read), failures + 1);
            }
            Outcome::Fail | Outcome::Info => self.give_up(read, event.why, false),
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
                    let outcome = outcome(&call);
                    reads.update(&Event { now, worker, outcome, why: "because" });
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

    fn ok() -> Outcome<'static> {
        Outcome::Ok { index: 0, values: vec![] }
    }

    #[test]
    fn every_read_is_made_once_when_all_succeed() {
        let mut reads = two();
        let made = drive(&mut reads, |_| ok());
        assert_eq!(made, [Duration::ZERO; 2]);
        assert!(reads.given_up().is_empty());
    }

    #[test]
    fn a_read_that_never_succeeds_is_tried_ever_later_then_given_up_and_named() {
        let mut reads = two();
        let made = drive(&mut reads, |call| match call.node {
            NodeId(1) => Outcome::Fail,
            _ => ok(),
        });
        let at = [0, 0, 250, 750, 1_750, 3_750].map(Duration::from_millis);
        assert_eq!(made, at);
        let read = Read { key: "k".into(), node: NodeId(1) };
        let why = "because".to_owned();
        assert_eq!(reads.given_up(), [GivenUp { read, why, answered: false }]);
    }

    #[test]
    fn a_read_that_does_not_count_is_made_again_until_it_does() {
        let mut reads = two();
        let left = std::cell::Cell::new(40);
        let made = drive(&mut reads, |_| {
            left.set(left.get() - 1);
            if left.get() > 0 { Outcome::Uncounted } else { ok() }
        });
        assert_eq!(made.len(), 41);
        assert!(reads.given_up().is_empty());
    }

    #[test]
    fn reads_that_can_never_count_are_given_up_and_said_to_be_answered() {
        let many = (0..50).map(|key| Read { key: key.to_string().into(), node: NodeId(1) });
        let mut reads = Reads::new(Action::Get, true, many);
        let made = drive(&mut reads, |_| Outcome::Uncounted);
        assert!(made.len() < 400, "{} reads for nothing", made.len());
        assert_eq!(reads.given_up().len(), 50);
        assert!(reads.given_up().iter().all(|given_up| given_up.answered));
    }

    #[test]
    fn reads_that_disturb_each_other_are_made_one_at_a_time() {
        let reads = (0..8).map(|key| Read { key: key.to_string().into(), node: NodeId(1) });
        let mut reads = Reads::new(Action::Get, true, reads);
        let free = [0, 1, 2, 3].map(Worker);
        let now = Duration::ZERO;
        for at in 0..4 {
            assert!(matches!(reads.op(&Context { now, free: &free[at..] }), Next::Op(..)));
        }
        for worker in free {
            let outcome = Outcome::Uncounted;
            reads.update(&Event { now, worker, outcome, why: "" });
        }
        let later = now + CALM;
        assert_eq!(reads.op(&Context { now, free: &free }), Next::Wait(Some(later)));
        let now = later;
        assert!(matches!(reads.op(&Context { now, free: &free }), Next::Op(..)));
        assert_eq!(reads.op(&Context { now, free: &free[1..] }), Next::Wait(None));
        reads.update(&Event { now, worker: free[0], outcome: ok(), why: "" });
        assert!(matches!(reads.op(&Context { now, free: &free }), Next::Op(..)));
        assert!(matches!(reads.op(&Context { now, free: &free[1..] }), Next::Op(..)));
    }
}
