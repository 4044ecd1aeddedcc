//! Envelopes.

use dynamo_protocol::{
    Answer, ClientOp, Context, Envelope, Epoch, Heard, Identity, Message, OpId, Role, Siblings,
    Stage,
};

use super::membership::{call_from_proto, call_to_proto, call_weight};
use super::merkle::{
    ASKED_WEIGHT, asked_from_proto, asked_to_proto, between_from_proto, between_to_proto,
    found_from_proto, found_to_proto, found_weight, named_from_proto, named_to_proto,
    span_from_proto, span_to_proto,
};
use super::version::{siblings_from_proto, siblings_to_proto, vector_from_proto, vector_to_proto};
use super::{Malformed, client, fault_from_proto, fault_to_proto, key, node_id};
use crate::proto;
use crate::proto::envelope::Message as Wire;
use crate::proto::forward::Request;

/// An envelope that leaves.
pub(crate) fn envelope_to_proto(envelope: Envelope) -> proto::Envelope {
    let (op, message) = message_to_proto(envelope.message);
    proto::Envelope {
        from: envelope.from.0.into(),
        identity: envelope.identity.0,
        to: envelope.to.0.into(),
        op: op.map(|op| proto::OpId { incarnation: op.incarnation, seq: op.seq }),
        message: Some(message),
        position: envelope.position,
        heard: envelope
            .heard
            .map(|heard| proto::Heard { identity: heard.identity.0, position: heard.position }),
        epoch: envelope.epoch.0,
        era: envelope.era,
    }
}

fn message_to_proto(message: Message) -> (Option<OpId>, Wire) {
    match message {
        Message::Forward { op, request } => (Some(op), Wire::Forward(forward_to_proto(request))),
        Message::Forwarded { op, reply } => {
            (Some(op), Wire::Forwarded(client::outcome(0, reply, None)))
        }
        Message::Store { op, role, key, set, lasts } => {
            let hint_for = role_to_proto(role);
            let set = Some(siblings_to_proto(set));
            (Some(op), Wire::Store(proto::Store { hint_for, key: key.0, set, lasts }))
        }
        Message::Stored { op, result, counts } => {
            let fault = result.err().map_or(proto::StoreFault::None, fault_to_proto);
            (Some(op), Wire::Stored(proto::Stored { fault: fault.into(), fills: !counts }))
        }
        Message::Fetch { op, role, key } => {
            let fetch = proto::Fetch { key: key.0, hint_for: role_to_proto(role) };
            (Some(op), Wire::Fetch(fetch))
        }
        Message::Fetched { op, answer } => (Some(op), Wire::Fetched(answer_to_proto(answer))),
        Message::Compare { op, epoch, between, asked } => {
            let asked = asked.into_iter().map(asked_to_proto).collect();
            let between = between_to_proto(between).into();
            (Some(op), Wire::Compare(proto::Compare { epoch: epoch.0, asked, between }))
        }
        Message::Compared { op, found, counts } => {
            let found = found.into_iter().map(found_to_proto).collect();
            let counts = counts.into_iter().map(span_to_proto).collect();
            (Some(op), Wire::Compared(proto::Compared { found, counts }))
        }
        Message::Settle { op, stage, era, keys } => {
            let keys = keys.into_iter().map(named_to_proto).collect();
            (
                Some(op),
                Wire::Settle(proto::Settle { stage: stage_to_proto(stage).into(), era, keys }),
            )
        }
        Message::Settled { op, stage, keys } => {
            let keys = keys.into_iter().map(|key| key.0).collect();
            (Some(op), Wire::Settled(proto::Settled { stage: stage_to_proto(stage).into(), keys }))
        }
        Message::Register(call) => (None, Wire::Register(call_to_proto(call))),
        Message::Ping { nonce } => (None, Wire::Ping(proto::Ping { nonce })),
        Message::Pong { nonce } => (None, Wire::Pong(proto::Pong { nonce })),
    }
}

fn stage_to_proto(stage: Stage) -> proto::Stage {
    match stage {
        Stage::Watch => proto::Stage::Watch,
        Stage::Fence => proto::Stage::Fence,
        Stage::Confirm => proto::Stage::Confirm,
        Stage::Drop => proto::Stage::Drop,
    }
}

fn stage_from_proto(stage: i32) -> Result<Stage, Malformed> {
    let unknown = |_| Malformed::UnknownValue("how far a round is", stage);
    Ok(match proto::Stage::try_from(stage).map_err(unknown)? {
        proto::Stage::Watch => Stage::Watch,
        proto::Stage::Fence => Stage::Fence,
        proto::Stage::Confirm => Stage::Confirm,
        proto::Stage::Drop => Stage::Drop,
    })
}

fn role_to_proto(role: Role) -> Option<u32> {
    match role {
        Role::Home => None,
        Role::Hint(target) => Some(target.0.into()),
    }
}

fn role_from_proto(hint_for: Option<u32>) -> Result<Role, Malformed> {
    hint_for.map_or(Ok(Role::Home), |target| node_id(target).map(Role::Hint))
}

fn forward_to_proto(request: ClientOp) -> proto::Forward {
    match request {
        ClientOp::Get { key } => {
            proto::Forward { key: key.0, request: Some(Request::Get(proto::ForwardedGet {})) }
        }
        ClientOp::Put { key, context, value } => {
            let put = proto::ForwardedPut { context: vector_to_proto(&context.0), value };
            proto::Forward { key: key.0, request: Some(Request::Put(put)) }
        }
    }
}

fn answer_to_proto(answer: Answer) -> proto::Fetched {
    match answer {
        Answer::Known { set, votes } => proto::Fetched {
            fault: proto::StoreFault::None.into(),
            set: Some(siblings_to_proto(set)),
            votes,
        },
        Answer::Failed(error) => {
            proto::Fetched { fault: fault_to_proto(error).into(), set: None, votes: false }
        }
    }
}

/// An envelope that has arrived.
pub(crate) fn envelope_from_proto(envelope: proto::Envelope) -> Result<Envelope, Malformed> {
    let op = envelope.op.map(|op| OpId { incarnation: op.incarnation, seq: op.seq });
    let message = envelope.message.ok_or(Malformed::Missing("the message"))?;
    Ok(Envelope {
        from: node_id(envelope.from)?,
        identity: Identity(envelope.identity),
        position: envelope.position,
        epoch: Epoch(envelope.epoch),
        era: envelope.era,
        to: node_id(envelope.to)?,
        heard: envelope
            .heard
            .map(|heard| Heard { identity: Identity(heard.identity), position: heard.position }),
        message: message_from_proto(op, message)?,
    })
}

fn message_from_proto(op: Option<OpId>, message: Wire) -> Result<Message, Malformed> {
    let op = || op.ok_or(Malformed::Missing("the operation"));
    Ok(match message {
        Wire::Forward(forward) => {
            Message::Forward { op: op()?, request: forward_from_proto(forward)? }
        }
        Wire::Forwarded(outcome) => {
            Message::Forwarded { op: op()?, reply: client::reply(outcome)? }
        }
        Wire::Store(store) => {
            let role = role_from_proto(store.hint_for)?;
            let set = siblings_from_proto(store.set)?;
            Message::Store { op: op()?, role, key: key(store.key)?, set, lasts: store.lasts }
        }
        Wire::Stored(stored) => {
            let result = fault_from_proto(stored.fault)?.map_or(Ok(()), Err);
            Message::Stored { op: op()?, result, counts: !stored.fills }
        }
        Wire::Fetch(fetch) => {
            let role = role_from_proto(fetch.hint_for)?;
            Message::Fetch { op: op()?, role, key: key(fetch.key)? }
        }
        Wire::Fetched(fetched) => {
            Message::Fetched { op: op()?, answer: answer_from_proto(fetched)? }
        }
        Wire::Compare(proto::Compare { epoch, asked, between }) => {
            let asked = asked.into_iter().map(asked_from_proto).collect::<Result<_, _>>()?;
            let between = between_from_proto(between)?;
            Message::Compare { op: op()?, epoch: Epoch(epoch), between, asked }
        }
        Wire::Settle(proto::Settle { stage, era, keys }) => {
            let keys = keys.into_iter().map(named_from_proto).collect::<Result<_, _>>()?;
            Message::Settle { op: op()?, stage: stage_from_proto(stage)?, era, keys }
        }
        Wire::Settled(proto::Settled { stage, keys }) => {
            let keys = keys.into_iter().map(key).collect::<Result<_, _>>()?;
            Message::Settled { op: op()?, stage: stage_from_proto(stage)?, keys }
        }
        Wire::Register(register) => Message::Register(call_from_proto(register)?),
        Wire::Compared(proto::Compared { found, counts }) => {
            let found = found.into_iter().map(found_from_proto).collect::<Result<_, _>>()?;
            let counts = counts.into_iter().map(span_from_proto).collect::<Result<_, _>>()?;
            Message::Compared { op: op()?, found, counts }
        }
        Wire::Ping(proto::Ping { nonce }) => Message::Ping { nonce },
        Wire::Pong(proto::Pong { nonce }) => Message::Pong { nonce },
    })
}

fn forward_from_proto(forward: proto::Forward) -> Result<ClientOp, Malformed> {
    let key = key(forward.key)?;
    Ok(match forward.request.ok_or(Malformed::Missing("the forwarded request"))? {
        Request::Get(proto::ForwardedGet {}) => ClientOp::Get { key },
        Request::Put(put) => {
            let context = Context(vector_from_proto(put.context)?);
            ClientOp::Put { key, context, value: put.value }
        }
    })
}

fn answer_from_proto(fetched: proto::Fetched) -> Result<Answer, Malformed> {
    Ok(match fault_from_proto(fetched.fault)? {
        Some(error) => Answer::Failed(error),
        None => {
            let set = siblings_from_proto(fetched.set)?;
            Answer::Known { set, votes: fetched.votes }
        }
    })
}

/// About how many bytes an envelope takes in a queue and on the wire.
pub(crate) fn weight(envelope: &Envelope) -> usize {
    const FIXED: usize = 128;
    FIXED
        + match &envelope.message {
            Message::Forward { request, .. } => op_weight(request),
            Message::Forwarded { reply, .. } => match reply {
                dynamo_protocol::Reply::Got { values, context } => {
                    values.iter().map(|value| value.len() + 8).sum::<usize>()
                        + context.0.actors() * 24
                }
                dynamo_protocol::Reply::Refused(refusal) => refusal.to_string().len(),
                dynamo_protocol::Reply::Done { context } => {
                    context.as_ref().map_or(0, |context| context.0.actors() * 24)
                }
                dynamo_protocol::Reply::TimedOut => 0,
            },
            Message::Store { key, set, .. } => key.as_bytes().len() + set_weight(set),
            Message::Fetched { answer: Answer::Known { set, .. }, .. } => set_weight(set),
            Message::Fetch { key, .. } => key.as_bytes().len(),
            Message::Compare { asked, .. } => asked.len() * ASKED_WEIGHT,
            Message::Compared { found, counts, .. } => {
                found_weight(found) + counts.len() * ASKED_WEIGHT
            }
            Message::Settle { keys, .. } => {
                keys.iter().map(|(key, _)| key.as_bytes().len() + NAMED_WEIGHT).sum()
            }
            Message::Settled { keys, .. } => {
                keys.iter().map(|key| key.as_bytes().len() + NAMED_WEIGHT).sum()
            }
            Message::Register(call) => call_weight(call),
            Message::Fetched { .. }
            | Message::Stored { .. }
            | Message::Ping { .. }
            | Message::Pong { .. } => 0,
        }
}

/// What a named key takes beside the key.
const NAMED_WEIGHT: usize = 24;

fn op_weight(request: &ClientOp) -> usize {
    match request {
        ClientOp::Get { key } => key.as_bytes().len(),
        ClientOp::Put { key, context, value } => {
            let value = value.as_ref().map_or(0, bytes::Bytes::len);
            key.as_bytes().len() + context.0.actors() * 24 + value
        }
    }
}

fn set_weight(set: &Siblings) -> usize {
    const VERSION: usize = 48;
    let values = |value: &Option<bytes::Bytes>| VERSION + value.as_ref().map_or(0, |v| v.len());
    match set {
        Siblings::Dotted(set) => {
            set.context().actors() * 24
                + set.versions().iter().map(|version| values(&version.value)).sum::<usize>()
        }
        Siblings::Plain(set) => set
            .versions()
            .iter()
            .map(|version| version.clock.actors() * 24 + values(&version.value))
            .sum(),
    }
}
