//! Where answers to clients go.

use std::sync::Arc;

use dynamo_protocol::Reply;
use tokio::sync::oneshot;

use crate::queue::Queue;

/// What a client is answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// By the protocol.
    Reply(Reply),
    /// By the host, which has too many open requests: surely not applied.
    Overloaded,
    /// By the host, which is ending: surely not applied.
    Stopping,
    /// By the host, which did not understand: surely not applied.
    Malformed(String),
}

/// Answers on their way to one session, each with the client's name for the request.
pub(crate) type Answers = Queue<(u64, Answer)>;

/// Where one request's answer goes.
#[derive(Debug)]
pub(crate) enum ReplyTo {
    /// To a session's stream.
    Session(u64, Arc<Answers>),
    /// To a call that waits.
    Call(oneshot::Sender<Answer>),
}

impl ReplyTo {
    /// Answers. Nobody need listen any more.
    pub(crate) fn answer(self, answer: Answer) {
        match self {
            Self::Session(id, answers) => {
                let weight = answer.weight();
                answers.push((id, answer), weight);
            }
            Self::Call(caller) => drop(caller.send(answer)),
        }
    }
}

impl Answer {
    /// About how many bytes it takes.
    fn weight(&self) -> usize {
        const FIXED: usize = 32;
        match self {
            Self::Reply(Reply::Got { values, context }) => {
                let values = values.iter().map(|value| value.len() + 8).sum::<usize>();
                FIXED + values + context.0.actors() * 24
            }
            Self::Reply(_) | Self::Overloaded | Self::Stopping => FIXED,
            Self::Malformed(why) => FIXED + why.len(),
        }
    }
}
