//! What clients ask, and what they are answered.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{Key, NodeId};
use crate::storage::StoreError;
use crate::version::Context;

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
    /// To a put: W distinct hosts hold it durably, for W distinct slots.
    Done {
        /// To be handed back with the put that overwrites it, as if a get had shown it: if no version stands
        /// beside it where it was minted. Else it would claim some that the client never read.
        context: Option<Context>,
    },
    /// Surely not applied, now or later.
    Refused(Refusal),
    /// No answer in time. A put may have been applied, or may yet be.
    TimedOut,
}

/// Why a request was refused, with nothing applied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Error)]
pub enum Refusal {
    /// Too few hosts are believed alive.
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

impl ClientOp {
    /// The key it is about.
    pub(crate) fn key(&self) -> &Key {
        match self {
            Self::Get { key } | Self::Put { key, .. } => key,
        }
    }
}
