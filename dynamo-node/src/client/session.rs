//! One session: a task that keeps it, and the requests on their way through it.
//!
//! The question that decides everything here is whether a request can have been applied. It cannot
//! until it was handed to a connection on which the node has answered: so a session opens with a wait
//! for the node's response headers, and requests are claimed one by one as they are handed over.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use dynamo_protocol::mutant::{Mutant, mutated};
use tokio::sync::oneshot;
use tokio_stream::Stream;
use tonic::transport::Endpoint;

use super::ClientError;
use crate::http2;
use crate::proto;
use crate::proto::kv_client::KvClient;
use crate::proto::outcome::Outcome;
use crate::proto::request::Op;
use crate::queue::{Queue, Reader};
use crate::server::CLIENT_MESSAGE;
use crate::tls::{self, Tls};
use crate::transport::describe;

/// How many bytes of requests go in one message, or one request however large.
const BATCH_BYTES: usize = 256 << 10;
/// How many bytes may wait to be sent. Callers wait for their answers, so this is what many of them
/// have handed over at once; beyond it the oldest are refused, not sent.
const QUEUE_BYTES: usize = 64 << 20;
/// Until a node has to answer a dial, and then to open the session. A node that is alive does both in
/// milliseconds, and callers with a longer deadline rather hear that it is not.
const DIAL: Duration = Duration::from_secs(1);

/// The caller's end of a session.
#[derive(Debug)]
pub(super) struct Session {
    queue: Arc<Queue<Waiting>>,
    next_id: AtomicU64,
    /// Ends when the queue is closed.
    task: std::sync::Once,
    address: String,
    tls: Option<Arc<Tls>>,
    epoch: Arc<AtomicU64>,
}

/// What became of a request.
#[derive(Debug)]
pub(super) enum Answered {
    /// The node's answer.
    Outcome(Outcome),
    /// It never left this process.
    NotSent(String),
    /// It left, and no answer can come any more.
    Broken(String),
}

/// A request that was not handed over yet.
#[derive(Debug)]
struct Waiting {
    id: u64,
    op: Op,
    claim: Arc<AtomicBool>,
    answer: oneshot::Sender<Answered>,
}

/// A caller's hold on its request.
pub(super) struct Asked {
    /// Set by whoever is first: the stream that sends it, or the caller that gives it up.
    claim: Arc<AtomicBool>,
    answer: oneshot::Receiver<Answered>,
}

impl Session {
    pub(super) fn start(address: String, tls: Option<Arc<Tls>>) -> Self {
        Self {
            queue: Arc::new(Queue::new(QUEUE_BYTES)),
            next_id: AtomicU64::new(1),
            task: std::sync::Once::new(),
            address,
            tls,
            epoch: Arc::default(),
        }
    }

    /// The highest epoch under which the node has answered.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Puts a request on its way.
    pub(super) fn ask(&self, op: Op) -> Result<Asked, ClientError> {
        let weight = weight(&op);
        if weight > CLIENT_MESSAGE / 2 {
            let most = CLIENT_MESSAGE / 2;
            let why = format!("the request has {weight} bytes; no node takes more than {most}");
            return Err(ClientError::Refused(why));
        }
        // Started by the first request, so that a client can be made outside of a runtime.
        self.task.call_once(|| {
            let to = (self.address.clone(), self.tls.clone());
            tokio::spawn(keep(to, Arc::clone(&self.queue), Arc::clone(&self.epoch)));
        });
        let claim = Arc::new(AtomicBool::new(false));
        let (caller, answer) = oneshot::channel();
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting { id, op, claim: Arc::clone(&claim), answer: caller };
        self.queue.push(waiting, weight);
        Ok(Asked { claim, answer })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Asked {
    /// Waits for the answer.
    pub(super) async fn answered(&mut self) -> Answered {
        match (&mut self.answer).await {
            Ok(answered) => answered,
            // It was dropped from a full queue, or with its session.
            Err(_) if self.give_up() => Answered::NotSent("too many requests wait".to_owned()),
            Err(_) => Answered::Broken("the session is gone".to_owned()),
        }
    }

    /// Whether the request had not been sent, and now never will be.
    pub(super) fn give_up(&self) -> bool {
        !self.claim.swap(true, Ordering::AcqRel)
    }
}

/// Opens sessions, one after the other, whenever there is something to ask.
async fn keep(
    (address, tls): (String, Option<Arc<Tls>>),
    queue: Arc<Queue<Waiting>>,
    epoch: Arc<AtomicU64>,
) {
    let mut waiting = queue.reader();
    while waiting.wait().await {
        let sent = Arc::new(Sent::default());
        let why = match converse((&address, tls.as_ref()), &queue, &sent, &epoch).await {
            Ok(()) => format!("{address} ended the session"),
            Err(error) => format!("{address}: {error}"),
        };
        // First no more are taken from the queue, then those that were taken are answered.
        waiting = queue.reader();
        for (id, caller) in sent.end() {
            match sent.again(id) {
                Some(op) => ask_again(&queue, (id, op), caller),
                None => drop(caller.send(Answered::Broken(why.clone()))),
            }
        }
        if !sent.opened.load(Ordering::Acquire) {
            // Nothing was sent: what waits is told now, and need not wait for its deadline.
            for unsent in waiting.take_all() {
                if !unsent.claim.swap(true, Ordering::AcqRel) {
                    drop(unsent.answer.send(Answered::NotSent(why.clone())));
                }
            }
        }
    }
}

/// A seeded bug: what may have been applied is asked for once more.
fn ask_again(queue: &Queue<Waiting>, (id, op): (u64, Op), answer: oneshot::Sender<Answered>) {
    let (claim, weight) = (Arc::default(), weight(&op));
    queue.push(Waiting { id, op, claim, answer }, weight);
}

async fn converse(
    (address, tls): (&str, Option<&Arc<Tls>>),
    queue: &Arc<Queue<Waiting>>,
    sent: &Arc<Sent>,
    epoch: &AtomicU64,
) -> Result<(), String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"));
    let endpoint = endpoint.map_err(|error| format!("not an address: {}", describe(&error)))?;
    let channel = tls::connect(http2::tune(endpoint), (address, None), tls, DIAL).await;
    let channel = channel.map_err(|error| describe(&error))?;
    let mut client = KvClient::new(channel).max_decoding_message_size(usize::MAX);
    let (open, opened) = oneshot::channel();
    let requests =
        Requests { opened: Some(opened), waiting: queue.reader(), sent: Arc::clone(sent) };
    let session = tokio::time::timeout(DIAL, client.session(requests)).await;
    let session = session.map_err(|_| format!("no session within {DIAL:?}"))?;
    let mut outcomes = session.map_err(|status| describe(&status))?.into_inner();
    sent.opened.store(true, Ordering::Release);
    let _ = open.send(());
    while let Some(batch) = outcomes.message().await.map_err(|status| describe(&status))? {
        epoch.fetch_max(batch.epoch, Ordering::Relaxed);
        sent.answer(batch.outcomes);
    }
    Ok(())
}

/// The requests a session has sent and that are not answered.
#[derive(Debug, Default)]
struct Sent {
    opened: AtomicBool,
    /// `None` when the session has ended.
    callers: Mutex<Callers>,
}

#[derive(Debug, Default)]
struct Callers {
    ended: bool,
    by_id: BTreeMap<u64, oneshot::Sender<Answered>>,
    /// What was asked for, kept where a seeded bug asks again.
    asked: BTreeMap<u64, Op>,
}

impl Sent {
    fn answer(&self, outcomes: Vec<proto::Outcome>) {
        let mut callers = self.callers();
        for outcome in outcomes {
            let caller = callers.by_id.remove(&outcome.id);
            if let (Some(caller), Some(outcome)) = (caller, outcome.outcome) {
                drop(caller.send(Answered::Outcome(outcome)));
            }
        }
    }

    fn end(&self) -> BTreeMap<u64, oneshot::Sender<Answered>> {
        let mut callers = self.callers();
        callers.ended = true;
        std::mem::take(&mut callers.by_id)
    }

    /// What is asked for once more, of what was not answered.
    fn again(&self, id: u64) -> Option<Op> {
        self.callers().asked.remove(&id)
    }

    fn callers(&self) -> MutexGuard<'_, Callers> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What goes out: nothing before the node has opened the session, then whatever waits.
struct Requests {
    opened: Option<oneshot::Receiver<()>>,
    waiting: Reader<Waiting>,
    sent: Arc<Sent>,
}

impl Stream for Requests {
    type Item = proto::Requests;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(opened) = &mut self.opened {
            match Pin::new(opened).poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(None),
                Poll::Ready(Ok(())) => self.opened = None,
            }
        }
        // Held while the queue is read: what is taken has its caller noted before the session ends.
        let Self { waiting, sent, .. } = &mut *self;
        let mut callers = sent.callers();
        if callers.ended {
            return Poll::Ready(None);
        }
        waiting.poll_take(context, BATCH_BYTES).map(|waiting| {
            let requests = waiting?.into_iter().filter_map(|waiting| claim(waiting, &mut callers));
            Some(proto::Requests { requests: requests.collect() })
        })
    }
}

/// The request, unless its caller has given it up.
fn claim(waiting: Waiting, callers: &mut Callers) -> Option<proto::Request> {
    let Waiting { id, op, claim, answer } = waiting;
    if claim.swap(true, Ordering::AcqRel) {
        return None;
    }
    callers.by_id.insert(id, answer);
    if mutated(Mutant::SessionAsksAgain) {
        callers.asked.insert(id, op.clone());
    }
    Some(proto::Request { id, op: Some(op) })
}

fn weight(op: &Op) -> usize {
    const FIXED: usize = 32;
    FIXED
        + match op {
            Op::Get(get) => get.key.len(),
            Op::Put(put) => put.key.len() + put.context.len() + put.value.len(),
            Op::Delete(delete) => delete.key.len() + delete.context.len(),
        }
}
