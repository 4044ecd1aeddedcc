//! The Dynamo protocol as one deterministic state machine without I/O.
//!
//! [`Node::handle`] takes one [`Input`] and leaves [`Output`]s in an [`Outbox`]; the host does the rest:
//!
//! ```text
//! input (client request, peer message, timer, link down)
//!   -> Node::handle(now, input, store, outbox)
//!   -> outputs (peer messages, replies, timers), released once what was applied to the store is durable
//! ```
//!
//! The core reads no clock, no randomness and no environment, and iterates nothing unordered: the
//! same inputs on the same store give the same outputs. Four hosts run it unchanged: the node, the
//! model, the simulator, and the replay of records.
//!
//! What a host owes the core:
//! 1. `handle` is called by one task at a time, [`Input::Started`] first.
//! 2. Outputs are carried out in order, and none before everything applied to the store up to then
//!    is durable, not even what a node tells itself.
//! 3. If a change could not be made durable, no later output is released: the process ends and starts
//!    again on what its disk holds.
//! 4. Each start hands in an incarnation that no earlier one of the cluster had.
//! 5. A data directory that is new or wiped gets a new [`Identity`]. Every later start on it hands in a
//!    spare one, for a directory that was rolled back meanwhile ([`Start`]); who restores or clones one
//!    knowingly gives it a new identity at once.
//! 6. What a process said arrives before anything of its successor on the same directory, or never: links
//!    end with the process at either end. (What it *acknowledged* may come late.)

mod continuity;
mod coordinator;
mod detector;
mod digest;
mod handoff;
mod id;
mod io;
pub mod membership;
mod merkle;
mod message;
mod mode;
pub mod mutant;
mod names;
mod node;
mod operations;
mod prune;
mod replica;
mod request;
mod ring;
mod settings;
mod settle;
mod skew;
mod step;
mod storage;
#[cfg(test)]
mod testing;
mod transfer;
mod version;
mod view;

pub use continuity::{Heard, Remembered, Start};
pub use digest::Digest;
pub use id::{Identity, Key, NodeId, OpId, RequestId};
pub use io::{Discard, Early, Event, Input, Output, Timer};
pub use merkle::{Compared, Fingerprint, Leaf};
pub use message::{Answer, Envelope, Message};
pub use mode::{Quorum, ReadMode, UnknownMode, Versioning};
pub use node::Node;
pub use request::{ClientOp, Refusal, Reply};
pub use ring::{Member, Partitioning, Ring, Span, Token, UnknownPartitioning, Zone};
pub use settings::{Limits, Settings, SettingsError, Timing};
pub use settle::Stage;
pub use skew::Skew;
pub use step::{Outbox, Time};
pub use storage::{
    Change, Enrolment, MemoryStore, Meta, Minter, Place, Record, Role, Store, StoreError,
};
pub use transfer::Counted;
pub use version::{
    Actor, COUNTER_LIMIT, ClockSet, ClockedVersion, Context, Dot, DottedSet, Siblings, Summary,
    Version, VersionVector,
};
pub use view::{Between, Epoch, View, ViewError};
