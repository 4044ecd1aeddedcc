//! One long-lived stream for each peer, dialled by this node and carrying what this node says.
//!
//! What the peer says comes on the stream it dials itself. So the two directions share no connection, and
//! a test driver that cuts one of them leaves the other whole.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use dynamo_protocol::{Envelope, NodeId};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::transport::Endpoint;

use super::{Transport, describe};
use crate::driver::Arrival;
use crate::http2;
use crate::proto::peer_client::PeerClient;
use crate::proto::{Delivery, Hello};
use crate::queue::Queue;
use crate::telemetry::{LinkCounters, add};
use crate::wire;

/// How many bytes may wait for one peer. While it is silent its operations run out of patience and are
/// given up, so what waits longest is worth least and goes first. Large enough for a burst of the
/// largest values, small enough that what a peer gets when it comes back is sent in a blink.
const QUEUE_BYTES: usize = 16 << 20;
/// How many bytes one delivery takes, or one envelope however large: what comes later in it waits for
/// all of it to arrive.
const DELIVERY_BYTES: usize = 256 << 10;
/// Until a peer's host has to answer the dial.
const DIAL: Duration = Duration::from_secs(1);
/// Between two dials, doubling. The protocol asks a peer that is down every `ping`, which must not
/// find the link waiting for long.
const BACKOFF: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(160)];

/// See the [module](self).
pub(crate) struct GrpcTransport {
    links: BTreeMap<NodeId, Arc<Queue<Envelope>>>,
    counters: Arc<LinkCounters>,
}

/// What the links of one node have in common.
#[derive(Clone)]
pub(crate) struct Links {
    pub(crate) me: NodeId,
    pub(crate) settings: Arc<str>,
    pub(crate) arrivals: mpsc::Sender<Arrival>,
    pub(crate) counters: Arc<LinkCounters>,
}

impl GrpcTransport {
    /// Starts a task for each peer of the address book. They end when the transport is dropped.
    pub(crate) fn start(peers: &BTreeMap<NodeId, String>, links: &Links) -> Self {
        let start = |(&peer, address): (&NodeId, &String)| {
            let queue = Arc::new(Queue::new(QUEUE_BYTES));
            let link = Link {
                peer,
                address: address.clone(),
                queue: Arc::clone(&queue),
                links: links.clone(),
            };
            tokio::spawn(link.run());
            (peer, queue)
        };
        let counters = Arc::clone(&links.counters);
        Self { links: peers.iter().map(start).collect(), counters }
    }
}

impl Transport for GrpcTransport {
    fn send(&mut self, envelope: Envelope) {
        let Some(link) = self.links.get(&envelope.to) else {
            return add(&self.counters.unreachable, 1);
        };
        let weight = wire::weight(&envelope);
        match link.push(envelope, weight) {
            0 => {}
            dropped => add(&self.counters.overflow, dropped),
        }
    }
}

impl Drop for GrpcTransport {
    fn drop(&mut self) {
        self.links.values().for_each(|link| link.close());
    }
}

struct Link {
    peer: NodeId,
    address: String,
    queue: Arc<Queue<Envelope>>,
    links: Links,
}

impl Link {
    /// Dials when there is something to say, and again when the link breaks.
    async fn run(self) {
        let [first, longest] = BACKOFF;
        let mut backoff = first;
        while self.queue.wait().await {
            let (greeted, why) = self.connection().await;
            if self.queue.is_closed() {
                return;
            }
            // What has waited for a link that could not be made is as good as lost on it.
            add(&self.links.counters.unreachable, self.queue.take_all().len());
            tracing::info!(peer = %self.peer, address = %self.address, why, "link down");
            if self.links.arrivals.send(Arrival::Unreachable(self.peer)).await.is_err() {
                return;
            }
            backoff = if greeted { first } else { (backoff * 2).min(longest) };
            tokio::time::sleep(backoff).await;
        }
    }

    /// One connection from dial to end: whether the peer took it, and why it ended.
    async fn connection(&self) -> (bool, String) {
        let mut greeted = false;
        let why = match self.converse(&mut greeted).await {
            Ok(()) => "closed by the peer".to_owned(),
            Err(error) => error,
        };
        (greeted, why)
    }

    async fn converse(&self, greeted: &mut bool) -> Result<(), String> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address));
        let endpoint = endpoint.map_err(|error| describe(&error))?;
        let channel = http2::tune(endpoint).connect_timeout(DIAL).connect().await;
        let channel = channel.map_err(|error| describe(&error))?;
        let mut client = PeerClient::new(channel).max_encoding_message_size(usize::MAX);
        let current = Current::default();
        // Envelopes follow the hello without waiting for the greeting: while the way back is cut the
        // way there still works.
        let deliveries = Deliveries {
            hello: Some(self.hello()),
            queue: Arc::clone(&self.queue),
            counters: Arc::clone(&self.links.counters),
            current: Arc::clone(&current.0),
        };
        let greetings = client.link(deliveries).await.map_err(|status| said(&status))?;
        let mut greetings = greetings.into_inner();
        while let Some(_greeting) = greetings.message().await.map_err(|status| said(&status))? {
            *greeted = true;
            tracing::info!(peer = %self.peer, address = %self.address, "link up");
        }
        Ok(())
    }

    fn hello(&self) -> Hello {
        Hello {
            from: self.links.me.0.into(),
            to: self.peer.0.into(),
            settings: self.links.settings.to_string(),
        }
    }
}

/// True while a connection is the link's own. When it is given up, whatever is left of it must not
/// take messages from the queue any more.
struct Current(Arc<AtomicBool>);

impl Default for Current {
    fn default() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// What goes out on one connection: whatever waits, whenever the connection can take it.
struct Deliveries {
    hello: Option<Hello>,
    queue: Arc<Queue<Envelope>>,
    counters: Arc<LinkCounters>,
    current: Arc<AtomicBool>,
}

impl Stream for Deliveries {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Delivery>> {
        if !self.current.load(Ordering::Acquire) {
            return Poll::Ready(None);
        }
        if let Some(hello) = self.hello.take() {
            return Poll::Ready(Some(Delivery { hello: Some(hello), envelopes: Vec::new() }));
        }
        self.queue.poll_take(context, DELIVERY_BYTES).map(|waiting| {
            waiting.map(|waiting| {
                add(&self.counters.sent, waiting.len());
                let envelopes = waiting.into_iter().map(wire::envelope_to_proto).collect();
                Delivery { hello: None, envelopes }
            })
        })
    }
}

fn said(status: &tonic::Status) -> String {
    match status.code() {
        tonic::Code::FailedPrecondition | tonic::Code::InvalidArgument => {
            format!("refused: {}", status.message())
        }
        _ => describe(status),
    }
}
