//! A queue: first in, first out.

use serde_json::Value;

use super::{Spec, Tie, Values, argument, unknown_f};
use crate::history::{Outcome, Pair};

/// An operation on a queue, its elements by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueOp {
    /// It appends this.
    Enqueue(u32),
    /// It took this from the front.
    Dequeue(u32),
    /// It found nothing.
    Empty,
    /// It was never answered: it may have taken whatever was in front.
    DequeueAny,
}

/// `enqueue` and `dequeue`; a dequeue that finds nothing returns `null`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Queue;

impl Spec for Queue {
    type Op = QueueOp;
    type State = Vec<u32>;

    fn name(&self) -> &str {
        "queue"
    }

    fn read(&self, pair: &Pair<'_>, values: &mut Values) -> Result<Option<QueueOp>, String> {
        match (pair.f(), pair.outcome()) {
            ("enqueue", _) => Ok(Some(QueueOp::Enqueue(values.intern(argument(pair)?)))),
            ("dequeue", Outcome::Ok) => Ok(Some(match pair.result() {
                None | Some(Value::Null) => QueueOp::Empty,
                Some(element) => QueueOp::Dequeue(values.intern(element)),
            })),
            ("dequeue", Outcome::Info) => Ok(Some(QueueOp::DequeueAny)),
            ("dequeue", Outcome::Fail) => Ok(None),
            _ => Err(unknown_f("queue", pair, "enqueue and dequeue")),
        }
    }

    fn init(&self) -> Vec<u32> {
        Vec::new()
    }

    fn step(&self, state: &Vec<u32>, op: &QueueOp) -> Option<Vec<u32>> {
        match *op {
            QueueOp::Enqueue(element) => {
                let mut next = Vec::with_capacity(state.len() + 1);
                next.extend_from_slice(state);
                next.push(element);
                Some(next)
            }
            QueueOp::Dequeue(_) | QueueOp::DequeueAny => {
                self.allows(state, op).then(|| state[1..].to_vec())
            }
            QueueOp::Empty => state.is_empty().then(Vec::new),
        }
    }

    fn can_be_wrong(&self, op: &QueueOp) -> bool {
        matches!(op, QueueOp::Dequeue(_) | QueueOp::Empty)
    }

    fn tells(&self) -> &'static str {
        "dequeue"
    }

    fn allows(&self, state: &Vec<u32>, op: &QueueOp) -> bool {
        match *op {
            QueueOp::Enqueue(_) => true,
            QueueOp::Dequeue(element) => state.first() == Some(&element),
            QueueOp::Empty => state.is_empty(),
            QueueOp::DequeueAny => !state.is_empty(),
        }
    }

    fn is_observer(&self, op: &QueueOp) -> bool {
        matches!(op, QueueOp::Empty)
    }

    /// An element's enqueue and dequeue go together. A dequeue that may have taken anything
    /// stays: it may have been what emptied the queue.
    fn ties(&self, ops: &[&QueueOp]) -> Vec<Tie> {
        let tie = |op: &&QueueOp| match **op {
            QueueOp::Enqueue(element) => Tie::makes(element),
            QueueOp::Dequeue(element) => Tie { uses: vec![element], ..Tie::makes(element) },
            QueueOp::Empty => Tie::default(),
            QueueOp::DequeueAny => Tie::stays(),
        };
        ops.iter().map(tie).collect()
    }

    fn object(&self) -> &'static str {
        "the queue"
    }

    fn show(&self, state: &Vec<u32>, values: &Values) -> Option<String> {
        Some(crate::judge::finding::shown_all(state.iter().map(|element| values.get(*element))))
    }

    fn describe(&self, op: &QueueOp, values: &Values) -> String {
        match *op {
            QueueOp::Enqueue(element) => format!("enqueue {}", values.shown(element)),
            QueueOp::Dequeue(element) => format!("dequeue {}", values.shown(element)),
            QueueOp::Empty => "dequeue from the empty queue".to_owned(),
            QueueOp::DequeueAny => "dequeue, unanswered".to_owned(),
        }
    }
}
