//! What a step works with besides the node, and what it leaves for the host to do.

use std::time::Duration;

use crate::io::{Event, Output, Timer};

/// A node's wall clock, in microseconds since the Unix epoch. Used for nothing but the timestamps of
/// last-writer-wins: it may jump and differ between nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

/// What one or more steps want done, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Outbox {
    /// Oldest first.
    pub outputs: Vec<Output>,
}

/// What a step works with besides the node.
pub(crate) struct Step<'a, S> {
    pub(crate) now: Time,
    pub(crate) store: &'a mut S,
    pub(crate) outbox: &'a mut Outbox,
}

impl<S> Step<'_, S> {
    pub(crate) fn output(&mut self, output: Output) {
        self.outbox.outputs.push(output);
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.output(Output::Event(event));
    }

    pub(crate) fn set_timer(&mut self, timer: Timer, after: Duration) {
        self.output(Output::SetTimer(timer, after));
    }
}
