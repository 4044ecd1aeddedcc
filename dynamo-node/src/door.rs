//! What every request passes before its service sees it: its connection says what it is, and what it
//! sends is counted until a message is whole.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use dynamo_protocol::NodeId;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;

use crate::guests::{Guest, Guise};
use crate::rpc::removed_status;
use crate::tls::Role;
use crate::wire::Agreement;

/// How many bytes of messages that are not whole may be held for all clients and operators together.
/// Whoever sends at all sends a message in milliseconds, so this is what is on its way at one moment: four
/// of the largest messages, or a hundred usual ones.
const UNFINISHED_BYTES: usize = 16 << 20;
/// How long a message may take from its first byte to its last: the largest one at 400 KiB a second.
const MESSAGE_TIME: Duration = Duration::from_secs(10);
/// Compressed or not, and how many bytes follow.
const HEAD: usize = 5;

/// A service behind the door.
#[derive(Clone, Debug)]
pub(crate) struct Door<S> {
    inner: S,
    guise: Guise,
    unfinished: Arc<Unfinished>,
    agreement: Arc<Agreement>,
}

/// What peers ask as operators do, over TLS too: a node that joins, and one that looks whether others count.
const OF_PEERS: [&str; 3] =
    ["/dynamo.v1.Admin/Ring", "/dynamo.v1.Admin/Propose", "/dynamo.v1.Admin/ForceEpoch"];

/// How many bytes of messages that are not whole are held.
#[derive(Debug)]
pub(crate) struct Unfinished {
    bytes: AtomicUsize,
    most: usize,
    time: Duration,
}

impl Unfinished {
    pub(crate) fn new() -> Arc<Self> {
        Self::with(UNFINISHED_BYTES, MESSAGE_TIME)
    }

    fn with(most: usize, time: Duration) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicUsize::new(0), most, time })
    }

    fn add(&self, bytes: usize) -> bool {
        let held = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if held > self.most {
            self.remove(bytes);
        }
        held <= self.most
    }

    fn remove(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl<S> Door<S> {
    pub(crate) fn new(
        inner: S,
        guise: Guise,
        unfinished: &Arc<Unfinished>,
        agreement: &Arc<Agreement>,
    ) -> Self {
        let (unfinished, agreement) = (Arc::clone(unfinished), Arc::clone(agreement));
        Self { inner, guise, unfinished, agreement }
    }

    /// Whether the guest may ask for what is at `path`.
    fn check(&self, guest: &Guest, path: &str) -> Result<(), Status> {
        let allowed = match self.guise {
            Guise::Client => guest.may(Role::Client),
            Guise::Operator => guest.may(Role::Operator),
            Guise::Peer => Ok(()),
        };
        // Clients that choose the home themselves have to know the ring.
        if path == OF_PEERS[0] && guest.may(Role::Client).is_ok() {
            return Ok(());
        }
        let peers = guest.peers();
        if allowed.is_err() && OF_PEERS.contains(&path) && !peers.is_empty() {
            let removed = |node: &NodeId| {
                let node = u32::from(node.0);
                self.agreement.has_removed(node).map(|epoch| removed_status(node, epoch))
            };
            return peers.iter().find_map(removed).map_or(Ok(()), Err);
        }
        allowed
    }
}

impl<S: NamedService> NamedService for Door<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Door<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if let Some(guest) = request.extensions().get::<Guest>()
            && let Err(refused) =
                self.check(guest, request.uri().path()).and_then(|()| guest.shows(self.guise))
        {
            return Box::pin(std::future::ready(Ok(refused.into_http())));
        }
        let unfinished = &self.unfinished;
        let request = request.map(|body| Body::new(Counted::new(body, Arc::clone(unfinished))));
        Box::pin(self.inner.call(request))
    }
}

/// A request's body.
struct Counted {
    body: Body,
    unfinished: Arc<Unfinished>,
    message: Message,
    /// What it adds to the count.
    held: usize,
    /// While a message is not whole.
    alarm: Option<Pin<Box<Sleep>>>,
}

/// How far the message under way has come.
#[derive(Default)]
struct Message {
    head: [u8; HEAD],
    /// How much of the head is there.
    known: usize,
    /// How much of the rest is not.
    missing: usize,
}

impl Message {
    /// Reads on; returns how many bytes of the last message, if it is not whole, have come with `bytes`,
    /// and whether one before it has become whole.
    fn read(&mut self, mut bytes: &[u8]) -> (usize, bool) {
        let (mut came, mut is_another) = (0, false);
        while !bytes.is_empty() {
            let here = if self.known < HEAD {
                let here = bytes.len().min(HEAD - self.known);
                self.head[self.known..self.known + here].copy_from_slice(&bytes[..here]);
                self.known += here;
                if self.known == HEAD {
                    let [_, length @ ..] = self.head;
                    self.missing = u32::from_be_bytes(length) as usize;
                }
                here
            } else {
                let here = bytes.len().min(self.missing);
                self.missing -= here;
                here
            };
            came += here;
            bytes = &bytes[here..];
            if self.known == HEAD && self.missing == 0 {
                (came, is_another) = (0, true);
                self.known = 0;
            }
        }
        (came, is_another)
    }

    fn is_under_way(&self) -> bool {
        self.known > 0
    }
}

impl Counted {
    fn new(body: Body, unfinished: Arc<Unfinished>) -> Self {
        Self { body, unfinished, message: Message::default(), held: 0, alarm: None }
    }

    fn count(&mut self, bytes: &[u8]) -> Result<(), Status> {
        let (came, is_another) = self.message.read(bytes);
        if is_another {
            self.unfinished.remove(std::mem::take(&mut self.held));
            self.alarm = None;
        }
        if !self.unfinished.add(came) {
            let why = "too many bytes of unfinished messages are held: send it again later";
            return Err(Status::resource_exhausted(why));
        }
        self.held += came;
        if self.message.is_under_way() && self.alarm.is_none() {
            self.alarm = Some(Box::pin(tokio::time::sleep(self.unfinished.time)));
        }
        Ok(())
    }
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(alarm) = &mut self.alarm
            && alarm.as_mut().poll(context).is_ready()
        {
            let why = format!("a message was not whole within {:?}", self.unfinished.time);
            return Poll::Ready(Some(Err(Status::deadline_exceeded(why))));
        }
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)) else {
            return Poll::Ready(None);
        };
        let frame = frame?;
        if let Some(bytes) = frame.data_ref() {
            self.count(bytes)?;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.unfinished.remove(self.held);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn encoded(lengths: &[usize]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for length in lengths {
            bytes.push(0);
            bytes.extend(u32::try_from(*length).unwrap().to_be_bytes());
            bytes.resize(bytes.len() + length, 7);
        }
        bytes
    }

    fn counted(most: usize) -> Counted {
        Counted::new(Body::empty(), Unfinished::with(most, Duration::from_millis(1)))
    }

    proptest! {
        #[test]
        fn what_is_held_is_what_came_of_the_message_that_is_not_whole(
            lengths in vec(0..40_usize, 1..6), pieces in vec(1..30_usize, 1..60),
        ) {
            let bytes = encoded(&lengths);
            let ends: Vec<_> = lengths.iter().scan(0, |end, length| {
                *end += HEAD + length;
                Some(*end)
            }).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let runtime = runtime.unwrap();
            let _inside = runtime.enter();
            let mut body = counted(usize::MAX);
            let mut at = 0;
            for piece in pieces {
                let next = bytes.len().min(at + piece);
                body.count(&bytes[at..next]).unwrap();
                at = next;
                let whole = ends.iter().rev().find(|end| **end <= at).copied().unwrap_or(0);
                prop_assert_eq!(body.held, at - whole);
                prop_assert_eq!(body.unfinished.bytes.load(Ordering::Relaxed), at - whole);
                prop_assert_eq!(body.alarm.is_some(), at > whole);
            }
            let unfinished = Arc::clone(&body.unfinished);
            drop(body);
            prop_assert_eq!(unfinished.bytes.load(Ordering::Relaxed), 0);
        }
    }

    #[tokio::test]
    async fn all_bodies_together_hold_no_more_than_there_is_room_for() {
        let mut first = counted(100);
        let mut second = Counted::new(Body::empty(), Arc::clone(&first.unfinished));
        first.count(&encoded(&[80])[..60]).unwrap();
        second.count(&encoded(&[80])[..30]).unwrap();
        let refused = second.count(&[7; 30]).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        first.count(&[7; 25]).unwrap();
        second.count(&[7; 30]).unwrap();
    }

    #[tokio::test]
    async fn a_message_that_stands_still_ends_its_stream() {
        let mut body = counted(100);
        body.count(&[0; 3]).unwrap();
        // The body under it would end, with no error.
        let alarm = body.alarm.as_mut().unwrap();
        alarm.as_mut().await;
        let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
        let error = frame.unwrap().unwrap_err();
        assert_eq!(error.code(), tonic::Code::DeadlineExceeded);
    }
}
