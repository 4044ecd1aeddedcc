//! The node: all protocol state, and the one place inputs enter.

use std::sync::Arc;

use crate::config::Config;
use crate::io::{Input, Output};
use crate::storage::{Meta, Store};

/// A node's wall clock, in microseconds since the Unix epoch. Used for nothing but the stamps of
/// last-writer-wins: it may jump and differ between nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

/// What one or more steps want done, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Outbox {
    /// Oldest first.
    pub outputs: Vec<Output>,
}

/// One Dynamo node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    config: Arc<Config>,
    meta: Meta,
    incarnation: u64,
}

impl Node {
    /// A node that starts on the directory `meta`. `incarnation` must differ from that of every other start.
    #[must_use]
    pub fn new(config: Arc<Config>, meta: Meta, incarnation: u64) -> Self {
        Self { config, meta, incarnation }
    }

    /// Takes one step.
    pub fn handle<S: Store>(
        &mut self,
        _now: Time,
        _input: Input,
        _store: &mut S,
        _outbox: &mut Outbox,
    ) {
        let _ = (&self.config, &self.meta, self.incarnation);
    }

    /// How many requests and deliveries are open: 0 when the node is at rest.
    #[must_use]
    pub fn open_operations(&self) -> usize {
        0
    }
}
