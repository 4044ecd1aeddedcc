//! Between protobuf and the protocol's own types: the only place that knows both.
//!
//! Nothing from outside is believed: what comes out of here is canonical and within the sizes that
//! storage can take.

mod agreement;
mod client;
mod context;
mod hooks;
mod membership;
mod merkle;
mod message;
mod replica;
mod ring;
mod status;
mod step;
mod summed;
#[cfg(test)]
mod tests;
mod version;

use bytes::Bytes;
use dynamo_protocol::mutant::{Mutant, mutated};
use dynamo_protocol::{Key, NodeId, StoreError};
use thiserror::Error;

use crate::proto;
use crate::storage::CACHED_BYTES;

/// A value that may be kept for long is copied out of the message that brought it: a piece of that keeps
/// all of it in memory.
fn unpinned(mut value: Bytes) -> Bytes {
    if mutated(Mutant::LongValueCut) {
        value.truncate(40_000);
    }
    if value.len() <= CACHED_BYTES { Bytes::copy_from_slice(&value) } else { value }
}

pub(crate) use agreement::{Agreement, settings_differ};
pub(crate) use client::{client_op, outcome, refused};
pub(crate) use context::{name_context, named_context};
pub(crate) use hooks::{
    hooked_from_proto, hooked_to_proto, hooks_from_proto, hooks_to_proto, skew_from_proto,
    skew_to_proto,
};
pub(crate) use membership::{edit_from_proto, edit_to_proto};
pub(crate) use message::{envelope_from_proto, envelope_to_proto, weight};
pub(crate) use replica::replica;
pub(crate) use ring::{
    addresses_from_proto, addresses_to_proto, proposed_from_proto, proposed_to_proto,
    ring_from_proto, ring_to_proto,
};
pub(crate) use status::status;
pub(crate) use step::{step, step_report, step_request, stepped};
pub(crate) use summed::{summed, unsummed};

/// Longest key that storage can hold. Far above the limit for puts, which the protocol checks: a get of
/// a key that nobody can have put is answered, but not one that no engine could look up.
pub(crate) const LONGEST_KEY: usize = 32 << 10;

/// Why something from outside was not understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Malformed {
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} is not a node's number")]
    NodeId(u32),
    #[error("the key has {0} bytes, more than storage can hold ({LONGEST_KEY})")]
    Key(usize),
    #[error("{0} is not in canonical order")]
    NotCanonical(&'static str),
    #[error("{0} has the unknown value {1}")]
    UnknownValue(&'static str, i32),
    #[error("{0} is not of this build")]
    Step(&'static str),
    #[error("the context is malformed")]
    Context,
    #[error(
        "the context was not made by this cluster, or with a key that is used no more: get the key again"
    )]
    Unsealed,
    #[error("a stretch of the ring or a fingerprint is malformed")]
    Span,
    #[error("the settings are malformed")]
    Settings,
    #[error("{0} virtual nodes are more than any node has")]
    Tokens(u32),
}

fn key(bytes: Bytes) -> Result<Key, Malformed> {
    if bytes.len() > LONGEST_KEY {
        return Err(Malformed::Key(bytes.len()));
    }
    Ok(Key(bytes))
}

pub(crate) fn node_id(number: u32) -> Result<NodeId, Malformed> {
    u16::try_from(number).map(NodeId).map_err(|_| Malformed::NodeId(number))
}

fn fault_to_proto(error: StoreError) -> proto::StoreFault {
    match error {
        StoreError::Corrupt => proto::StoreFault::Corrupt,
        StoreError::Unreadable => proto::StoreFault::Unreadable,
        StoreError::Unwritable => proto::StoreFault::Unwritable,
    }
}

fn fault_from_proto(fault: i32) -> Result<Option<StoreError>, Malformed> {
    let known = proto::StoreFault::try_from(fault)
        .map_err(|_| Malformed::UnknownValue("the store fault", fault))?;
    Ok(match known {
        proto::StoreFault::None => None,
        proto::StoreFault::Corrupt => Some(StoreError::Corrupt),
        proto::StoreFault::Unreadable => Some(StoreError::Unreadable),
        proto::StoreFault::Unwritable => Some(StoreError::Unwritable),
    })
}
