//! One long-lived stream for each peer, dialled by this node and carrying what this node says.
//!
//! What the peer says comes on the stream it dials itself. So the two directions share no connection, and
//! a test driver that cuts one of them leaves the other whole.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use dynamo_protocol::{Envelope, NodeId};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_stream::Stream;
use tonic::Request;
use tonic::metadata::MetadataValue;
use tonic::transport::Endpoint;

use super::link::{Ended, LOOK, Link, Watch, Way};
use super::{HELLO, Transport, describe};
use crate::driver::Arrival;
use crate::http2;
use crate::proto::peer_client::PeerClient;
use crate::proto::{Delivery, Hello};
use crate::queue::Reader;
use crate::telemetry::{LinkCounters, add};
use crate::wire::{self, Agreement};

/// How many bytes may wait for one peer. While it is silent its operations are hedged and
/// given up, so what waits longest is worth least and goes first. Large enough for a burst of the
/// largest values, small enough that what a peer gets when it comes back is sent in a blink.
const QUEUE_BYTES: usize = 16 << 20;
/// How many bytes one delivery takes, or one envelope however large: what comes later in it waits for
/// all of it to arrive.
const DELIVERY_BYTES: usize = 256 << 10;
/// Until a peer's host has to answer the dial.
const DIAL: Duration = Duration::from_secs(1);

/// See the [module](self).
pub(crate) struct GrpcTransport {
    links: BTreeMap<NodeId, Arc<Link<Envelope>>>,
    counters: Arc<LinkCounters>,
}

/// What the links of one node have in common.
#[derive(Clone)]
pub(crate) struct Links {
    pub(crate) me: NodeId,
    pub(crate) agreement: Arc<Agreement>,
    /// The nonce of this start.
    pub(crate) incarnation: u64,
    pub(crate) arrivals: mpsc::Sender<Arrival>,
    pub(crate) counters: Arc<LinkCounters>,
}

impl GrpcTransport {
    /// Starts a task for each peer of the address book. They end when the transport is dropped.
    pub(crate) fn start(peers: &BTreeMap<NodeId, String>, links: &Links) -> Self {
        let start = |(&peer, address): (&NodeId, &String)| {
            let link = Arc::new(Link::new(QUEUE_BYTES));
            let way = Grpc { peer, address: address.clone(), links: links.clone() };
            let running = Arc::clone(&link);
            tokio::spawn(async move { running.run(&way).await });
            (peer, link)
        };
        let counters = Arc::clone(&links.counters);
        let links: BTreeMap<_, _> = peers.iter().map(start).collect();
        tokio::spawn(watch(links.clone(), Arc::clone(&counters)));
        Self { links, counters }
    }
}

/// Tells of links that are dead, until the transport is dropped.
async fn watch(links: BTreeMap<NodeId, Arc<Link<Envelope>>>, counters: Arc<LinkCounters>) {
    let mut watches: BTreeMap<_, _> = links.keys().map(|peer| (*peer, Watch::default())).collect();
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !links.values().all(|link| link.queue.is_closed()) {
        looks.tick().await;
        for (peer, watch) in &mut watches {
            if let Some(why) = watch.look(&links[peer]) {
                add(&counters.dead, 1);
                tracing::error!(%peer, why, "link dead: this is a bug; only a restart mends it");
            }
        }
    }
}

impl Transport for GrpcTransport {
    fn send(&mut self, envelope: Envelope) {
        let Some(link) = self.links.get(&envelope.to) else {
            return add(&self.counters.unreachable, 1);
        };
        let weight = wire::weight(&envelope);
        match link.queue.push(envelope, weight) {
            0 => {}
            dropped => add(&self.counters.overflow, dropped),
        }
    }
}

impl Drop for GrpcTransport {
    fn drop(&mut self) {
        self.links.values().for_each(|link| link.queue.close());
    }
}

/// The way to one peer.
struct Grpc {
    peer: NodeId,
    address: String,
    links: Links,
}

impl Way<Envelope> for Grpc {
    async fn converse(&self, waiting: Reader<Envelope>) -> Ended {
        let mut greeted = false;
        let why = match self.connection(waiting, &mut greeted).await {
            Ok(()) => "closed by the peer".to_owned(),
            Err(error) => error,
        };
        Ended { greeted, why }
    }

    async fn broken(&self, ended: &Ended, lost: usize) -> bool {
        add(&self.links.counters.unreachable, lost);
        tracing::info!(peer = %self.peer, address = %self.address, why = ended.why, "link down");
        self.links.arrivals.send(Arrival::Unreachable(self.peer)).await.is_ok()
    }

    async fn rest(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

impl Grpc {
    async fn connection(
        &self,
        waiting: Reader<Envelope>,
        greeted: &mut bool,
    ) -> Result<(), String> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address));
        let endpoint = endpoint.map_err(|error| describe(&error))?;
        let channel = http2::tune(endpoint).connect_timeout(DIAL).connect().await;
        let channel = channel.map_err(|error| describe(&error))?;
        let mut client = PeerClient::new(channel).max_encoding_message_size(usize::MAX);
        // Envelopes follow the hello without waiting for the greeting: while the way back is cut the
        // way there still works.
        let counters = Arc::clone(&self.links.counters);
        let mut request = Request::new(Deliveries { waiting, counters });
        let hello = MetadataValue::from_bytes(&self.hello().encode_to_vec());
        request.metadata_mut().insert_bin(HELLO, hello);
        let greetings = client.link(request).await.map_err(|status| said(&status))?;
        let mut greetings = greetings.into_inner();
        while let Some(_greeting) = greetings.message().await.map_err(|status| said(&status))? {
            *greeted = true;
            tracing::info!(peer = %self.peer, address = %self.address, "link up");
        }
        Ok(())
    }

    fn hello(&self) -> Hello {
        let hello = self.links.agreement.hello(self.links.me.0.into(), self.peer.0.into());
        Hello { incarnation: self.links.incarnation, ..hello }
    }
}

/// What goes out on one connection: whatever waits, whenever the connection can take it.
struct Deliveries {
    waiting: Reader<Envelope>,
    counters: Arc<LinkCounters>,
}

impl Stream for Deliveries {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let Self { waiting, counters, .. } = &mut *self;
        waiting.poll_take(context, DELIVERY_BYTES).map(|taken| {
            let taken = taken?;
            add(&counters.sent, taken.len());
            let envelopes = taken.into_iter().map(wire::envelope_to_proto).collect();
            Some(Delivery { envelopes })
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
