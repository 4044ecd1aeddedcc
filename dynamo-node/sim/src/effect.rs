//! What a step leads to, beside the state after it.

use dynamo_protocol::{Event, NodeId, Reply, RequestId, Timer};

/// What left a host, or happened in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A message is under way, with this number.
    Sent(u64),
    /// A client is answered.
    Replied(RequestId, Reply),
    /// A timer runs; the number is that of its setting.
    TimerSet(NodeId, Timer, u64, std::time::Duration),
    /// Told by a node once what it rests on is durable.
    Told(NodeId, Event),
    /// A white-box invariant is broken.
    Breached(Breach),
}

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Which: a name of the table in [`invariants`](crate::invariants).
    pub check: &'static str,
    /// Where.
    pub node: NodeId,
    /// How, in a sentence.
    pub what: String,
}
