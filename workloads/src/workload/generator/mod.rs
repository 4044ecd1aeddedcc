//! Pure generators: what each client does next, as a function of what has happened.
//!
//! A generator does no I/O and reads no clock. Whoever runs it (wall clock or virtual clock) asks
//! [`Generator::op`] what to do now, does it, and tells [`Generator::update`] what became of it.
//! All its randomness comes from the plan's seed, so the same answers give the same questions.
//!
//! ```text
//! loop: op(ctx) -> Op(invocation)  journal it, hand it to its worker
//!                | Wait(until)     ask again when an operation completes, or at `until`
//!                | Done            nothing more will come
//!       update(event)              once for each completion
//! ```

mod combinators;
mod reads;

use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::NodeId;
use serde_json::Value;

pub use combinators::TimeLimit;
pub use reads::{GivenUp, Read, Reads};

/// One of the run's threads of work: has one operation open at most. The history's process ids are
/// drawn from it: after an operation nobody knows the end of, a worker goes on as another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Worker(pub usize);

/// What a generator is told when it is asked.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Time since the start of the run.
    pub now: Duration,
    /// The workers without an open operation, in order.
    pub free: &'a [Worker],
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// All versions of the key.
    Get,
    /// A new version.
    Put {
        /// What to write.
        value: Value,
        /// The get whose context goes with it, by the index of its `ok` line in the history.
        context: Option<u64>,
    },
    /// No version any more.
    Delete {
        /// As of a put.
        context: u64,
    },
    /// What one home's own replica holds, without any quorum.
    Home,
}

/// An operation for a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// On which key.
    pub key: Arc<str>,
    /// Who is asked.
    pub node: NodeId,
    /// What is done.
    pub action: Action,
    /// Part of the quiescent final reads.
    pub is_final: bool,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// This worker, which is free, does this. Once answered it counts as begun.
    Op(Worker, Call),
    /// Nothing until an operation completes, or until then if a time is given.
    Wait(Option<Duration>),
    /// Nothing more, whatever happens.
    Done,
}

/// What became of an operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome<'a> {
    /// It happened; a read shows these values. `index` names the operation in the history.
    Ok {
        /// Of its completion line.
        index: u64,
        /// What a read showed.
        values: Vec<&'a Value>,
    },
    /// A final read was answered, but not so that it shows what the store keeps.
    Uncounted,
    /// It surely did not happen.
    Fail,
    /// Nobody knows.
    Info,
}

/// A completion.
#[derive(Clone, Debug, PartialEq)]
pub struct Event<'a> {
    /// Time since the start of the run.
    pub now: Duration,
    /// Whose operation it was.
    pub worker: Worker,
    /// What became of it.
    pub outcome: Outcome<'a>,
    /// Why it was not ok; empty if it was, or nobody said.
    pub why: &'a str,
}

/// A source of operations.
pub trait Generator: Send {
    /// What to do now.
    fn op(&mut self, context: &Context<'_>) -> Next;

    /// An operation of this generator has completed.
    fn update(&mut self, event: &Event<'_>);
}

impl Action {
    /// The get whose context goes with it.
    #[must_use]
    pub fn context(&self) -> Option<u64> {
        match self {
            Self::Put { context, .. } => *context,
            Self::Delete { context } => Some(*context),
            Self::Get | Self::Home => None,
        }
    }

    /// Its name in histories.
    #[must_use]
    pub fn f(&self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Put { .. } => "put",
            Self::Delete { .. } => "delete",
            Self::Home => "home",
        }
    }
}
