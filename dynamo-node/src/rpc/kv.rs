//! Clients.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use dynamo_protocol::mutant::{Mutant, mutated};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, oneshot};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::{Answering, Shared, gone};
use crate::driver::Asked;
use crate::proto;
use crate::proto::request::Op;
use crate::proto::{RefusalKind, kv_server};
use crate::replies::{Answer, Answers, Excess, Overload, ReplyTo, Taker};
use crate::seal::Seal;
use crate::telemetry::add;
use crate::wire::{self, Agreement};

/// How many requests of one session may be open: what a node can answer within its deadline. More are refused
/// at once, and not left waiting where nobody can tell how long they did.
const SESSION_OPEN: usize = 4096;
/// How many may be open, or answered and not taken. No more are read from a client that does not read its
/// answers.
const SESSION_HELD: usize = 4 * SESSION_OPEN;
/// When a request that found no room is worth trying again: what waits before it is done by then.
const SOON: Duration = Duration::from_millis(50);
/// How many bytes of outcomes go in one message, or one outcome however large.
const OUTCOMES_BYTES: usize = 256 << 10;

/// See the [module](self).
pub(crate) struct KvService(pub(crate) Shared);

#[tonic::async_trait]
impl kv_server::Kv for KvService {
    async fn get(
        &self,
        request: Request<proto::GetRequest>,
    ) -> Result<Response<proto::Outcome>, Status> {
        self.call(Op::Get(request.into_inner())).await
    }

    async fn put(
        &self,
        request: Request<proto::PutRequest>,
    ) -> Result<Response<proto::Outcome>, Status> {
        self.call(Op::Put(request.into_inner())).await
    }

    async fn delete(
        &self,
        request: Request<proto::DeleteRequest>,
    ) -> Result<Response<proto::Outcome>, Status> {
        self.call(Op::Delete(request.into_inner())).await
    }

    type SessionStream = Answering<proto::Outcomes>;

    async fn session(
        &self,
        request: Request<Streaming<proto::Requests>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let answers = Arc::new(Answers::new(&self.0.untaken));
        let permits = Arc::new(Semaphore::new(SESSION_HELD));
        let session = Session {
            shared: self.0.clone(),
            answers: Arc::clone(&answers),
            permits: Arc::clone(&permits),
        };
        tokio::spawn(session.run(request.into_inner()));
        let seal = self.0.seal.clone();
        let agreement = Arc::clone(&self.0.agreement);
        let waiting = answers.taker();
        let outcomes = Outcomes { waiting, answers, permits, seal, agreement };
        Ok(Response::new(Box::pin(outcomes)))
    }
}

impl KvService {
    async fn call(&self, op: Op) -> Result<Response<proto::Outcome>, Status> {
        let seal = self.0.seal.as_deref();
        let op = match wire::client_op(Some(op), seal) {
            Ok(op) => op,
            Err(why) => {
                let answer = Answer::Malformed(why.to_string());
                return Ok(Response::new(outcome(0, answer, seal)));
            }
        };
        let (caller, answer) = oneshot::channel();
        let asked = Asked::now(op, ReplyTo::Call(caller));
        hand_over(&self.0, vec![asked]).ok_or_else(gone)?;
        // Whether it was applied is not known then: this status is no refusal.
        let answer = answer.await.map_err(|_| gone())?;
        Ok(Response::new(outcome(0, answer, seal)))
    }
}

/// The reading half of a session.
struct Session {
    shared: Shared,
    answers: Arc<Answers>,
    permits: Arc<Semaphore>,
}

impl Session {
    async fn run(self, mut requests: Streaming<proto::Requests>) {
        tokio::select! {
            biased;
            () = self.read(&mut requests) => {}
            () = self.shared.closed() => {}
        }
        // The stream of answers ends when it has drained.
        self.answers.close();
    }

    async fn read(&self, requests: &mut Streaming<proto::Requests>) {
        loop {
            match requests.message().await {
                Ok(Some(batch)) => {
                    if self.take(batch.requests).await.is_none() {
                        return;
                    }
                }
                Ok(None) => break,
                Err(status) => return tracing::debug!(%status, "session broke"),
            }
        }
        // The client asks no more: what it asked is still answered.
        self.answers.all_answered().await;
    }

    /// Hands requests to the driver; `None` if nobody listens.
    async fn take(&self, requests: Vec<proto::Request>) -> Option<()> {
        let mut requests = requests.into_iter();
        while requests.len() > 0 {
            let some = requests.len().min(SESSION_OPEN / 4);
            self.permits.acquire_many(some as u32).await.ok()?.forget();
            let asked = requests.by_ref().take(some).filter_map(|request| self.asked(request));
            hand_over(&self.shared, asked.collect())?;
        }
        Some(())
    }

    fn asked(&self, request: proto::Request) -> Option<Asked> {
        let op = match wire::client_op(request.op, self.shared.seal.as_deref()) {
            Ok(op) => op,
            Err(why) => {
                self.answers.refuse(request.id, Answer::Malformed(why.to_string()));
                return None;
            }
        };
        if !self.answers.open(SESSION_OPEN) {
            add(&self.shared.counters.shed, 1);
            let overload = Overload { what: Excess::Session, after: SOON };
            self.answers.refuse(request.id, Answer::Overloaded(overload));
            return None;
        }
        Some(Asked::now(op, ReplyTo::Session(request.id, Arc::clone(&self.answers))))
    }
}

/// Hands requests to the driver, or refuses them: where so many wait for it that there is no room for more,
/// they would wait for longer than anybody waits for them. `None` if nobody listens.
fn hand_over(shared: &Shared, asked: Vec<Asked>) -> Option<()> {
    if asked.is_empty() {
        return Some(());
    }
    match shared.clients.try_send(asked) {
        Ok(()) => Some(()),
        Err(TrySendError::Closed(_)) => None,
        Err(TrySendError::Full(asked)) => {
            add(&shared.counters.shed, asked.len());
            let overload = Overload { what: Excess::Waiting, after: SOON };
            asked.into_iter().for_each(|one| one.reply_to.answer(Answer::Overloaded(overload)));
            Some(())
        }
    }
}

/// The writing half of a session: whatever is answered, whenever the client can take it.
struct Outcomes {
    waiting: Taker,
    answers: Arc<Answers>,
    permits: Arc<Semaphore>,
    seal: Option<Arc<Seal>>,
    agreement: Arc<Agreement>,
}

impl Stream for Outcomes {
    type Item = Result<proto::Outcomes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.waiting.poll_take(context, OUTCOMES_BYTES).map(|answers| {
            let mut answers = answers?;
            if mutated(Mutant::AnswersSwapped) {
                swap(&mut answers);
            }
            self.permits.add_permits(answers.len());
            let seal = self.seal.as_deref();
            let outcomes = answers.into_iter().map(|(id, answer)| outcome(id, answer, seal));
            let outcomes = outcomes.collect();
            Some(Ok(proto::Outcomes { outcomes, epoch: self.agreement.epoch() }))
        })
    }
}

/// A seeded bug: each goes to the request of the one that is as far from the other end.
fn swap(answers: &mut [(u64, Answer)]) {
    let ids: Vec<_> = answers.iter().rev().map(|(id, _)| *id).collect();
    answers.iter_mut().zip(ids).for_each(|(answer, id)| answer.0 = id);
}

impl Drop for Outcomes {
    /// The client is gone: the reading half need not wait for it to take its answers.
    fn drop(&mut self) {
        self.answers.close();
        self.permits.close();
    }
}

fn outcome(id: u64, answer: Answer, seal: Option<&Seal>) -> proto::Outcome {
    match answer {
        Answer::Reply(reply) => wire::outcome(id, reply, seal),
        Answer::Overloaded(Overload { what, after }) => {
            let why = match what {
                Excess::Session => "this session has too many open requests".to_owned(),
                Excess::Waiting => "too many requests wait for the node".to_owned(),
                Excess::Open => "the node has too many open requests".to_owned(),
                Excess::Bytes => "the node has too many bytes of open requests".to_owned(),
                Excess::Age(age) => format!("it waited {age:?} for the node, and was not begun"),
                Excess::Untaken => "too many answers were not read".to_owned(),
            };
            let reason = format!("{why}: ask again after {after:?}");
            wire::refused(id, RefusalKind::Overloaded, reason, after)
        }
        Answer::Stopping => {
            let why = "the node is stopping".to_owned();
            wire::refused(id, RefusalKind::Stopping, why, Duration::ZERO)
        }
        Answer::Malformed(why) => wire::refused(id, RefusalKind::Malformed, why, Duration::ZERO),
    }
}
