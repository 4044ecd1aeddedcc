//! Inputs and outputs of the protocol in words, the same in logs and printed records: `key=K`, `op=O` and
//! `request=R` can be searched for.

use std::fmt::{self, Display, Formatter};

use dynamo_protocol::{
    ClientOp, Envelope, Event, Input, Key, Message, OpId, Output, Reply, RequestId, Timer,
};

/// Something of the protocol, in words.
pub(crate) struct Told<'a, T>(pub(crate) &'a T);

/// The names that something of the protocol goes by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) key: Option<Key>,
    pub(crate) op: Option<OpId>,
    pub(crate) request: Option<RequestId>,
}

impl Names {
    pub(crate) fn of_input(input: &Input) -> Self {
        match input {
            Input::Client { request, op } => {
                Self { key: Some(key_of(op).clone()), request: Some(*request), op: None }
            }
            Input::Peer(envelope) => Self::of_message(&envelope.message),
            Input::Timer(timer) => Self { op: op_of(timer), ..Self::default() },
            _ => Self::default(),
        }
    }

    pub(crate) fn of_output(output: &Output) -> Self {
        match output {
            Output::Send(envelope) => Self::of_message(&envelope.message),
            Output::Reply(request, _) => Self { request: Some(*request), ..Self::default() },
            Output::SetTimer(timer, _) | Output::CancelTimer(timer) => {
                Self { op: op_of(timer), ..Self::default() }
            }
            Output::Event(Event::Coordinating { op, request, .. }) => {
                Self { op: Some(*op), request: *request, key: None }
            }
            Output::Event(Event::Minted { op, .. } | Event::Acknowledged { op, .. }) => {
                Self { op: Some(*op), ..Self::default() }
            }
            Output::Event(_) => Self::default(),
        }
    }

    fn of_message(message: &Message) -> Self {
        let key = match message {
            Message::Store { key, .. } | Message::Fetch { key, .. } => Some(key.clone()),
            Message::Forward { request, .. } => Some(key_of(request).clone()),
            _ => None,
        };
        Self { key, op: message.op(), request: None }
    }
}

fn key_of(op: &ClientOp) -> &Key {
    match op {
        ClientOp::Get { key } | ClientOp::Put { key, .. } => key,
    }
}

fn op_of(timer: &Timer) -> Option<OpId> {
    match timer {
        Timer::Hedge(op) | Timer::Deadline(op) => Some(*op),
        _ => None,
    }
}

impl Display for Told<'_, Input> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Input::Client { request, op } => {
                write!(f, "client request={} {}", request.0, Told(op))
            }
            Input::Peer(Envelope { from, message, .. }) => {
                write!(f, "from {from}: {}", Told(message))
            }
            Input::Timer(timer) => write!(f, "timer {}", Told(timer)),
            Input::Unreachable(peer) => write!(f, "{peer} is out of reach"),
            Input::Propose { edit, expect: None } => write!(f, "propose to {edit}"),
            Input::Propose { edit, expect: Some(epoch) } => {
                write!(f, "propose to {edit}, at epoch {epoch} alone")
            }
            Input::ForceEpoch { edit, expect } => {
                write!(f, "without a vote, after epoch {expect}: {edit}")
            }
            other => write!(f, "{other:?}"),
        }
    }
}

impl Display for Told<'_, Output> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Output::Send(Envelope { to, message, .. }) => write!(f, "to {to}: {}", Told(message)),
            Output::Reply(request, reply) => {
                write!(f, "reply request={} {}", request.0, Told(reply))
            }
            Output::SetTimer(timer, after) => write!(f, "in {after:?}: timer {}", Told(timer)),
            Output::CancelTimer(timer) => write!(f, "cancel timer {}", Told(timer)),
            Output::Event(event) => Told(event).fmt(f),
        }
    }
}

impl Display for Told<'_, ClientOp> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            ClientOp::Get { key } => write!(f, "get key={key}"),
            ClientOp::Put { key, value: None, .. } => write!(f, "delete key={key}"),
            ClientOp::Put { key, value: Some(value), .. } => {
                write!(f, "put key={key} of {} bytes", value.len())
            }
        }
    }
}

impl Display for Told<'_, Message> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Message::Register(call) = self.0 {
            return call.fmt(f);
        }
        f.write_str(self.0.name())?;
        let Names { key, op, .. } = Names::of_message(self.0);
        if let Some(op) = op {
            write!(f, " op={op}")?;
        }
        if let Some(key) = key {
            write!(f, " key={key}")?;
        }
        match self.0 {
            Message::Forward { request, .. } => write!(f, " {}", Told(request)),
            Message::Forwarded { reply, .. } => write!(f, " {}", Told(reply)),
            Message::Store { role, .. } | Message::Fetch { role, .. } => write!(f, " {role:?}"),
            Message::Compare { asked, .. } => {
                asked.iter().try_for_each(|(span, mine)| write!(f, " {span} of {} keys", mine.keys))
            }
            Message::Compared { found, .. } => write!(f, " {} spans", found.len()),
            Message::Stored { result: Err(error), .. } => write!(f, ": {error}"),
            Message::Fetched { answer, .. } => write!(f, " {answer:?}"),
            _ => Ok(()),
        }
    }
}

impl Display for Told<'_, Reply> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Reply::Got { values, .. } => write!(f, "got {} values", values.len()),
            Reply::Done { .. } => f.write_str("done"),
            Reply::Refused(why) => write!(f, "refused: {why}"),
            Reply::TimedOut => f.write_str("timed out"),
        }
    }
}

impl Display for Told<'_, Timer> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Timer::Hedge(op) => write!(f, "hedge op={op}"),
            Timer::Deadline(op) => write!(f, "deadline op={op}"),
            Timer::Ping(peer) => write!(f, "ping {peer}"),
            Timer::Handoff(peer) => write!(f, "handoff {peer}"),
            Timer::Exchange => f.write_str("exchange"),
            Timer::Strays => f.write_str("strays"),
            Timer::Gossip => f.write_str("gossip"),
            Timer::Proposal => f.write_str("proposal"),
        }
    }
}

impl Display for Told<'_, Event> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Event::Coordinating { op, request: Some(request), role } => {
                write!(f, "coordinating op={op} request={} {role:?}", request.0)
            }
            Event::Coordinating { op, request: None, role } => {
                write!(f, "coordinating op={op} for a peer {role:?}")
            }
            Event::Minted { op, dot } => write!(f, "minted op={op} {dot:?}"),
            Event::Acknowledged { op, holders } => {
                write!(f, "acknowledged op={op} held by {holders:?}")
            }
            Event::Entered(epoch) => write!(f, "at epoch {epoch}"),
            Event::ChangeDecided { edit, epoch } => write!(f, "epoch {epoch} is decided: {edit}"),
            Event::EpochForced(epoch) => write!(f, "epoch {epoch} is made without a vote"),
            Event::ChangeRefused { edit, why } => write!(f, "refused to {edit}: {why}"),
            other => write!(f, "{other:?}"),
        }
    }
}
