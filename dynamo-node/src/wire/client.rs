//! What clients ask, and what they are answered.

use std::time::Duration;

use bytes::Bytes;
use dynamo_protocol::{ClientOp, NodeId, Refusal, Reply, StoreError};

use super::context::{context_from_bytes, context_to_bytes};
use super::{Malformed, key, node_id, unpinned};
use crate::proto;
use crate::proto::RefusalKind;
use crate::proto::outcome::Outcome;
use crate::proto::request::Op;
use crate::seal::Seal;

/// What a request asks for.
pub(crate) fn client_op(op: Option<Op>, seal: Option<&Seal>) -> Result<ClientOp, Malformed> {
    let put = |name: Bytes, context: &[u8], value| {
        Ok(ClientOp::Put { key: key(name)?, context: context_from_bytes(context, seal)?, value })
    };
    match op.ok_or(Malformed::Missing("the operation"))? {
        Op::Get(get) => Ok(ClientOp::Get { key: key(get.key)? }),
        Op::Put(asked) => put(asked.key, &asked.context, Some(unpinned(asked.value))),
        Op::Delete(asked) => put(asked.key, &asked.context, None),
    }
}

/// The answer to the client's request `id`.
pub(crate) fn outcome(id: u64, reply: Reply, seal: Option<&Seal>) -> proto::Outcome {
    let outcome = match reply {
        Reply::Got { values, context } => {
            Outcome::Got(proto::Got { values, context: context_to_bytes(&context, seal) })
        }
        Reply::Done { context } => {
            let context = context.map(|context| context_to_bytes(&context, seal));
            Outcome::Done(proto::Done { context: context.unwrap_or_default() })
        }
        Reply::Refused(refusal) => Outcome::Refused(refusal_to_proto(&refusal)),
        Reply::TimedOut => Outcome::TimedOut(proto::TimedOut {}),
    };
    proto::Outcome { id, outcome: Some(outcome) }
}

/// A refusal of the host itself: the request never reached the protocol.
pub(crate) fn refused(
    id: u64,
    kind: RefusalKind,
    reason: String,
    after: Duration,
) -> proto::Outcome {
    let retry_after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    let refused = proto::Refused { kind: kind.into(), reason, asked: 0, limit: 0, retry_after_ms };
    proto::Outcome { id, outcome: Some(Outcome::Refused(refused)) }
}

/// The answer to a request this node forwarded.
pub(super) fn reply(outcome: proto::Outcome) -> Result<Reply, Malformed> {
    Ok(match outcome.outcome.ok_or(Malformed::Missing("the outcome"))? {
        Outcome::Got(got) => {
            Reply::Got { values: got.values, context: context_from_bytes(&got.context, None)? }
        }
        Outcome::Done(done) => {
            let context =
                (!done.context.is_empty()).then(|| context_from_bytes(&done.context, None));
            Reply::Done { context: context.transpose()? }
        }
        Outcome::Refused(refused) => Reply::Refused(refusal_from_proto(&refused)?),
        Outcome::TimedOut(proto::TimedOut {}) => Reply::TimedOut,
    })
}

fn refusal_to_proto(refusal: &Refusal) -> proto::Refused {
    let number = |count: usize| count as u64;
    let (kind, asked, limit) = match *refusal {
        Refusal::Unavailable { needed, reachable } => {
            (RefusalKind::Unavailable, number(needed), number(reachable))
        }
        Refusal::KeyTooLong { bytes, limit } => {
            (RefusalKind::KeyTooLong, number(bytes), number(limit))
        }
        Refusal::ValueTooLong { bytes, limit } => {
            (RefusalKind::ValueTooLong, number(bytes), number(limit))
        }
        Refusal::TooManySiblings { siblings, limit } => {
            (RefusalKind::TooManySiblings, number(siblings), number(limit))
        }
        Refusal::TooManyBytes { bytes, limit } => {
            (RefusalKind::TooManyBytes, number(bytes), number(limit))
        }
        Refusal::TooManyActors { actors, limit } => {
            (RefusalKind::TooManyActors, number(actors), number(limit))
        }
        Refusal::BadContext => (RefusalKind::BadContext, 0, 0),
        Refusal::NotHome(NodeId(node)) => (RefusalKind::NotHome, u64::from(node), 0),
        Refusal::Storage(StoreError::Corrupt) => (RefusalKind::StorageCorrupt, 0, 0),
        Refusal::Storage(StoreError::Unreadable) => (RefusalKind::StorageUnreadable, 0, 0),
        Refusal::Storage(StoreError::Unwritable) => (RefusalKind::StorageUnwritable, 0, 0),
    };
    let reason = refusal.to_string();
    proto::Refused { kind: kind.into(), reason, asked, limit, retry_after_ms: 0 }
}

fn refusal_from_proto(refused: &proto::Refused) -> Result<Refusal, Malformed> {
    let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let (asked, limit) = (number(refused.asked), number(refused.limit));
    let unknown = || Malformed::UnknownValue("the kind of refusal", refused.kind);
    Ok(match RefusalKind::try_from(refused.kind).map_err(|_| unknown())? {
        RefusalKind::Unavailable => Refusal::Unavailable { needed: asked, reachable: limit },
        RefusalKind::KeyTooLong => Refusal::KeyTooLong { bytes: asked, limit },
        RefusalKind::ValueTooLong => Refusal::ValueTooLong { bytes: asked, limit },
        RefusalKind::TooManySiblings => Refusal::TooManySiblings { siblings: asked, limit },
        RefusalKind::TooManyBytes => Refusal::TooManyBytes { bytes: asked, limit },
        RefusalKind::TooManyActors => Refusal::TooManyActors { actors: asked, limit },
        RefusalKind::BadContext => Refusal::BadContext,
        RefusalKind::NotHome => {
            Refusal::NotHome(node_id(u32::try_from(refused.asked).unwrap_or(u32::MAX))?)
        }
        RefusalKind::StorageCorrupt => Refusal::Storage(StoreError::Corrupt),
        RefusalKind::StorageUnreadable => Refusal::Storage(StoreError::Unreadable),
        RefusalKind::StorageUnwritable => Refusal::Storage(StoreError::Unwritable),
        // A host's own refusals: they are told to its clients and to no peer.
        RefusalKind::RefusalUnspecified
        | RefusalKind::Overloaded
        | RefusalKind::Stopping
        | RefusalKind::Malformed => return Err(unknown()),
    })
}
