//! The whole surface of the core on one page: what goes in, what comes out.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::continuity::Heard;
use crate::id::{Key, NodeId, OpId, RequestId};
use crate::message::Envelope;
use crate::storage::{Role, StoreError};
use crate::version::{Context, Dot};

/// Everything that can happen to a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Input {
    /// The process has started on its store. The first input, once.
    Started,
    /// A client asks.
    Client {
        /// The host's name for the request.
        request: RequestId,
        /// What it asks.
        op: ClientOp,
    },
    /// A peer's message has arrived.
    Peer(Envelope),
    /// A timer set earlier has run out.
    Timer(Timer),
    /// The link to a peer broke or cannot be made: a hint, it may be wrong or late.
    Unreachable(NodeId),
    /// An operator asks that what a key's context does not need be forgotten here: told of by
    /// [`Event::Pruned`], or by [`Event::StoreFailed`] if nothing was.
    Prune(Key),
}

/// A client's request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ClientOp {
    /// All versions of a key and their context.
    Get {
        /// The key.
        key: Key,
    },
    /// A new version that overwrites what `context` was read with.
    Put {
        /// The key.
        key: Key,
        /// From the get this put rests on; empty for a blind put.
        context: Context,
        /// `None` deletes: a tombstone is written.
        value: Option<Bytes>,
    },
}

/// The answer to a client's request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Reply {
    /// To a get.
    Got {
        /// Every version that no other one overwrote; none if the key is absent.
        values: Vec<Bytes>,
        /// To be handed back with the put that overwrites them.
        context: Context,
    },
    /// To a put: W distinct hosts hold it durably, for W distinct slots. It carries no context: one that
    /// covers the new version would claim versions the client never read.
    Done,
    /// Surely not applied, now or later.
    Refused(Refusal),
    /// No answer in time. A put may have been applied, or may yet be.
    TimedOut,
}

/// Why a request was refused, with nothing applied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Error)]
pub enum Refusal {
    /// Too few hosts are held up.
    #[error("{needed} hosts are needed and {reachable} are reachable")]
    Unavailable {
        /// R or W.
        needed: usize,
        /// How many there are.
        reachable: usize,
    },
    /// Key too long.
    #[error("the key has {bytes} bytes; the limit is {limit}")]
    KeyTooLong {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
    /// Value too long.
    #[error("the value has {bytes} bytes; the limit is {limit}")]
    ValueTooLong {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
    /// Too many live versions: read, reconcile, and put with the context of that get.
    #[error(
        "the key has {siblings} siblings; the limit is {limit}: get it and put with the get's context"
    )]
    TooManySiblings {
        /// How many there are.
        siblings: usize,
        /// How many there may be, the new one included.
        limit: usize,
    },
    /// The live values would be too long together: read, reconcile, and put with the context of that get.
    #[error(
        "the key's values would have {bytes} bytes together; the limit is {limit}: get it and put with \
         the get's context"
    )]
    TooManyBytes {
        /// How many they would have, the new one included.
        bytes: usize,
        /// How many they may have.
        limit: usize,
    },
    /// Too many actors in the key's context.
    #[error("the key's context names {actors} actors; the limit is {limit}")]
    TooManyActors {
        /// How many there are.
        actors: usize,
        /// How many there may be, the new one included.
        limit: usize,
    },
    /// A context that no get of this cluster answered.
    #[error("the context is malformed")]
    BadContext,
    /// A request that was forwarded to a node which is no home of its key.
    #[error("{0} is no home of the key: the membership differs between nodes")]
    NotHome(NodeId),
    /// The coordinator's own disk.
    #[error("the coordinator's storage failed: {0}")]
    Storage(StoreError),
}

/// What a node wants done, in this order, once everything it applied to its store is durable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Output {
    /// Send this; it may be lost.
    Send(Envelope),
    /// Answer a client. Each request is answered once at most; a crash leaves it unanswered.
    Reply(RequestId, Reply),
    /// Hand in [`Input::Timer`] after a while. Setting a timer that runs starts it anew.
    SetTimer(Timer, Duration),
    /// Not any more.
    CancelTimer(Timer),
    /// For counters, logs and white-box checks; nothing depends on it.
    Event(Event),
}

/// Timers, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Timer {
    /// Ask fallbacks in place of those that have not answered this operation.
    Patience(OpId),
    /// Give this operation up.
    Deadline(OpId),
    /// Ask a peer that is held down whether it is back, or one that has not told what it remembers.
    Ping(NodeId),
    /// Look for hints for this target.
    Handoff(NodeId),
}

/// What happened inside, told as it happens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Event {
    /// A request was coordinated here.
    Coordinating {
        /// The operation it became.
        op: OpId,
        /// The request, if a client of this node made it.
        request: Option<RequestId>,
        /// As home, or as hint for a home.
        role: Role,
    },
    /// A put got its dot (none under plain clocks).
    Minted {
        /// The coordinating operation.
        op: OpId,
        /// The dot.
        dot: Option<Dot>,
    },
    /// A request went to a home.
    ForwardedTo(NodeId),
    /// Slot by slot, who holds the put when it is acknowledged.
    Acknowledged {
        /// The coordinating operation.
        op: OpId,
        /// The hosts that hold it durably, one for each acknowledged slot.
        holders: Vec<NodeId>,
    },
    /// A hint became durable here.
    HintStored(NodeId),
    /// A hint's target has it; the hint is gone.
    HintDelivered(NodeId),
    /// A get found a stale home and wrote the merged set back to it.
    ReadRepair(NodeId),
    /// A peer is held down.
    Down(NodeId),
    /// A peer is held up again.
    Up(NodeId),
    /// A message was thrown away, and why.
    Discarded(NodeId, Discard),
    /// A record could not be used.
    StoreFailed(Role, StoreError),
    /// So many entries of a key's contexts were forgotten.
    Pruned(usize),
    /// All other members have told what they remember: the directory is all that it ever was.
    Proven,
    /// The directory is not all that it was: it goes on under another identity, amnesiac.
    RolledBack {
        /// Who remembers more.
        told_by: NodeId,
        /// What.
        remembered: Heard,
        /// What it holds.
        position: u64,
    },
}

/// Why a peer's message was thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Discard {
    /// Its sender's directory has been replaced: what was delivered to the earlier one is void.
    DeadIdentity,
    /// A forwarded put that was taken over before, or may have been.
    Repeated,
    /// Its versions are malformed, or of another versioning.
    BadVersions,
    /// It is not addressed to this node, or not by a member.
    Misaddressed,
}
