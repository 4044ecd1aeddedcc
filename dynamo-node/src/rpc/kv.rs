//! Clients.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::{Semaphore, oneshot};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::{Answering, Shared, gone};
use crate::driver::{Arrival, Asked};
use crate::proto;
use crate::proto::request::Op;
use crate::proto::{RefusalKind, kv_server};
use crate::queue::Reader;
use crate::replies::{Answer, Answers, ReplyTo};
use crate::wire;

/// How many requests of one session may be open, or answered and not taken. No more are read from a
/// client that does not read its answers.
const SESSION_OPEN: usize = 4096;
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
        let answers = Arc::new(Answers::new(usize::MAX));
        let permits = Arc::new(Semaphore::new(SESSION_OPEN));
        let session = Session {
            shared: self.0.clone(),
            answers: Arc::clone(&answers),
            permits: Arc::clone(&permits),
        };
        tokio::spawn(session.run(request.into_inner()));
        let outcomes = Outcomes { waiting: answers.reader(), answers, permits };
        Ok(Response::new(Box::pin(outcomes)))
    }
}

impl KvService {
    async fn call(&self, op: Op) -> Result<Response<proto::Outcome>, Status> {
        let op = match wire::client_op(Some(op)) {
            Ok(op) => op,
            Err(why) => return Ok(Response::new(outcome(0, Answer::Malformed(why.to_string())))),
        };
        let (caller, answer) = oneshot::channel();
        let asked = Asked { op, reply_to: ReplyTo::Call(caller) };
        self.0.arrivals.send(Arrival::Client(vec![asked])).await.map_err(|_| gone())?;
        // Whether it was applied is not known then: this status is no refusal.
        let answer = answer.await.map_err(|_| gone())?;
        Ok(Response::new(outcome(0, answer)))
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
        drop(self.permits.acquire_many(SESSION_OPEN as u32).await);
    }

    /// Hands requests to the driver, as many at a time as may be open; `None` if nobody listens.
    async fn take(&self, requests: Vec<proto::Request>) -> Option<()> {
        let mut requests = requests.into_iter();
        while requests.len() > 0 {
            let some = requests.len().min(SESSION_OPEN / 4);
            self.permits.acquire_many(some as u32).await.ok()?.forget();
            let asked = requests.by_ref().take(some).filter_map(|request| self.asked(request));
            let asked: Vec<_> = asked.collect();
            self.shared.arrivals.send(Arrival::Client(asked)).await.ok()?;
        }
        Some(())
    }

    fn asked(&self, request: proto::Request) -> Option<Asked> {
        let reply_to = ReplyTo::Session(request.id, Arc::clone(&self.answers));
        match wire::client_op(request.op) {
            Ok(op) => Some(Asked { op, reply_to }),
            Err(why) => {
                reply_to.answer(Answer::Malformed(why.to_string()));
                None
            }
        }
    }
}

/// The writing half of a session: whatever is answered, whenever the client can take it.
struct Outcomes {
    waiting: Reader<(u64, Answer)>,
    answers: Arc<Answers>,
    permits: Arc<Semaphore>,
}

impl Stream for Outcomes {
    type Item = Result<proto::Outcomes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.waiting.poll_take(context, OUTCOMES_BYTES).map(|answers| {
            let answers = answers?;
            self.permits.add_permits(answers.len());
            let outcomes = answers.into_iter().map(|(id, answer)| outcome(id, answer)).collect();
            Some(Ok(proto::Outcomes { outcomes }))
        })
    }
}

impl Drop for Outcomes {
    /// The client is gone: the reading half need not wait for it to take its answers.
    fn drop(&mut self) {
        self.answers.close();
        self.permits.close();
    }
}

fn outcome(id: u64, answer: Answer) -> proto::Outcome {
    match answer {
        Answer::Reply(reply) => wire::outcome(id, reply),
        Answer::Overloaded => {
            let reason = "the node has too many open requests: ask again later".to_owned();
            wire::refused(id, RefusalKind::Overloaded, reason)
        }
        Answer::Stopping => {
            wire::refused(id, RefusalKind::Stopping, "the node is stopping".to_owned())
        }
        Answer::Malformed(why) => wire::refused(id, RefusalKind::Malformed, why),
    }
}
