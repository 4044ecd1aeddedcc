//! One long-lived stream for each peer, dialled by this node and carrying what this node says.
//!
//! What the peer says comes on the stream it dials itself. So the two directions share no connection, and
//! a test driver that cuts one of them leaves the other whole.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use dynamo_protocol::{Envelope, NodeId};
use prost::Message as _;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_stream::Stream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::link::{Ended, LOOK, Link, Silence, Watch, Way};
use super::{Book, HELLO, Transport, describe};
use crate::driver::Arrival;
use crate::hooks::Hook;
use crate::http2;
use crate::proto::peer_client::PeerClient;
use crate::proto::{Address, Delivery, Greeting, Hello, Summed, Ticket, TicketRequest};
use crate::queue::Reader;
use crate::telemetry::{LinkCounters, add};
use crate::tls::{self, Tls};
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
    common: Links,
    /// The watch of them ends when the other end is dropped.
    links: watch::Sender<BTreeMap<NodeId, Arc<Link<Envelope>>>>,
}

/// What the links of one node have in common.
#[derive(Clone)]
pub(crate) struct Links {
    pub(crate) me: NodeId,
    pub(crate) agreement: Arc<Agreement>,
    /// Where peers are dialled.
    pub(crate) book: Arc<Book>,
    /// The nonce of this start.
    pub(crate) incarnation: u64,
    pub(crate) arrivals: mpsc::Sender<Arrival>,
    pub(crate) counters: Arc<LinkCounters>,
    /// Of a node that was started for it: what a test driver does to messages.
    pub(crate) hook: Option<Arc<Hook>>,
    pub(crate) tls: Option<Arc<Tls>>,
}

impl GrpcTransport {
    /// Starts a task for each peer of the address book. They end when the transport is dropped.
    pub(crate) fn start(common: &Links) -> Self {
        let links = watch::Sender::new(BTreeMap::new());
        tokio::spawn(look_after(links.subscribe(), Arc::clone(&common.counters)));
        let mut transport = Self { common: common.clone(), links };
        common.book.peers().into_iter().for_each(|peer| transport.meet(peer));
        transport
    }
}

/// Tells of links that are dead, until the transport is dropped.
async fn look_after(
    links: watch::Receiver<BTreeMap<NodeId, Arc<Link<Envelope>>>>,
    counters: Arc<LinkCounters>,
) {
    let mut watches: BTreeMap<NodeId, Watch> = BTreeMap::new();
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // An error means that the transport is gone.
    while links.has_changed().is_ok() {
        looks.tick().await;
        for (peer, link) in &*links.borrow() {
            if let Some(why) = watches.entry(*peer).or_default().look(link) {
                add(&counters.dead, 1);
                tracing::error!(%peer, why, "link dead: this is a bug; only a restart mends it");
            }
        }
    }
}

impl GrpcTransport {
    fn push(&self, envelope: Envelope) {
        let links = self.links.borrow();
        let Some(link) = links.get(&envelope.to) else {
            return add(&self.common.counters.unreachable, 1);
        };
        let weight = wire::weight(&envelope);
        match link.queue.push(envelope, weight) {
            0 => {}
            dropped => add(&self.common.counters.overflow, dropped),
        }
    }
}

impl Transport for GrpcTransport {
    fn send(&mut self, envelope: Envelope) {
        match self.common.hook.as_ref().filter(|hook| hook.meddles()) {
            Some(hook) => hook.pass(envelope).into_iter().for_each(|passed| self.push(passed)),
            None => self.push(envelope),
        }
    }

    fn waiting(&self) -> Vec<(NodeId, usize)> {
        let links = self.links.borrow();
        links.iter().map(|(peer, link)| (*peer, link.queue.weight())).collect()
    }

    /// A link that is there dials the other address when its connection ends.
    fn meet(&mut self, peer: NodeId) {
        if peer == self.common.me || self.links.borrow().contains_key(&peer) {
            return;
        }
        let link = Arc::new(Link::new(QUEUE_BYTES));
        let way = Grpc { peer, links: self.common.clone(), ticket: Mutex::default() };
        let running = Arc::clone(&link);
        tokio::spawn(async move { running.run(&way).await });
        self.links.send_modify(|links| drop(links.insert(peer, link)));
    }
}

impl Drop for GrpcTransport {
    fn drop(&mut self) {
        self.links.borrow().values().for_each(|link| link.queue.close());
    }
}

/// The way to one peer.
struct Grpc {
    peer: NodeId,
    links: Links,
    /// What this process shows with its links, once the peer has issued it.
    ticket: Mutex<Option<u64>>,
}

/// What was said on one connection, the dial itself included, and how much of it the peer took in.
#[derive(Default)]
struct Progress {
    said: AtomicU64,
    taken: AtomicU64,
    /// Whether the connection has asked for what is to be sent.
    left: AtomicBool,
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
        tracing::info!(peer = %self.peer, address = self.address(), why = ended.why, "link down");
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
        let address = self.address();
        let endpoint = Endpoint::from_shared(format!("http://{address}"));
        let endpoint = http2::tune(endpoint.map_err(|error| describe(&error))?);
        let to = (address.as_str(), Some(self.peer));
        let channel = tls::connect(endpoint, to, self.links.tls.as_ref(), DIAL).await;
        let channel = channel.map_err(|error| describe(&error))?;
        let client = PeerClient::new(channel).max_encoding_message_size(usize::MAX);
        let progress = Arc::default();
        let talk = self.talk(client, waiting, &progress, greeted);
        tokio::select! {
            biased;
            ended = talk => ended.map_err(|status| self.refused(&status)),
            why = silence(&progress) => {
                tracing::warn!(peer = %self.peer, address = self.address(), why, "link given up");
                Err(why.to_owned())
            }
        }
    }

    async fn talk(
        &self,
        mut client: PeerClient<Channel>,
        waiting: Reader<Envelope>,
        progress: &Arc<Progress>,
        greeted: &mut bool,
    ) -> Result<(), Status> {
        progress.said.store(1, Ordering::Relaxed);
        let ticket = match self.ticket() {
            Some(ticket) => ticket,
            None => {
                let request = self.with_hello(tokio_stream::empty::<TicketRequest>(), 0);
                let ticket =
                    self.unsummed::<Ticket>(client.issue_ticket(request).await?.into_inner());
                let issued = ticket?.number;
                self.set_ticket(Some(issued));
                issued
            }
        };
        // Envelopes follow the hello without waiting for the greeting: while the way back is cut the
        // way there still works.
        let (counters, progress) = (Arc::clone(&self.links.counters), Arc::clone(progress));
        let book = wire::addresses_to_proto(self.links.book.told());
        let progress_of = Arc::clone(&progress);
        let deliveries = Deliveries { book, waiting, counters, progress: progress_of };
        let mut greetings = client.link(self.with_hello(deliveries, ticket)).await?.into_inner();
        while let Some(greeting) = greetings.message().await? {
            let greeting = self.unsummed::<Greeting>(greeting)?;
            progress.taken.store(1 + greeting.deliveries, Ordering::Relaxed);
            if !std::mem::replace(greeted, true) {
                tracing::info!(peer = %self.peer, address = self.address(), "link up");
            }
        }
        Ok(())
    }

    fn with_hello<T>(&self, message: T, ticket: u64) -> Request<T> {
        let hello = self.links.agreement.hello(self.links.me.0.into(), self.peer.0.into());
        let (incarnation, advertised) = (self.links.incarnation, self.links.book.own());
        let hello = Hello { incarnation, ticket, advertised, ..hello };
        let mut request = Request::new(message);
        let hello = MetadataValue::from_bytes(&wire::summed(&hello).encode_to_vec());
        request.metadata_mut().insert_bin(HELLO, hello);
        request
    }

    /// What the peer says, if that is what comes here.
    fn unsummed<M: prost::Message + Default>(&self, said: Summed) -> Result<M, Status> {
        wire::unsummed(said).map_err(|why| {
            add(&self.links.counters.corrupt, 1);
            Status::data_loss(format!("what node {} says: {why}", self.peer.0))
        })
    }

    /// Where the peer is dialled now.
    fn address(&self) -> String {
        self.links.book.dialled(self.peer).unwrap_or_default()
    }

    fn ticket(&self) -> Option<u64> {
        *self.ticket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_ticket(&self, ticket: Option<u64>) {
        *self.ticket.lock().unwrap_or_else(PoisonError::into_inner) = ticket;
    }

    /// What the peer, or the connection, says. A refusal may be for the ticket: the next dial asks for one.
    fn refused(&self, status: &Status) -> String {
        match status.code() {
            tonic::Code::FailedPrecondition | tonic::Code::InvalidArgument => {
                self.set_ticket(None);
                format!("refused: {}", status.message())
            }
            _ => describe(status),
        }
    }
}

/// Returns when what was said has not left, or was not taken in, for too long, for whatever reason, and says
/// so. A connection can be open and carry nothing, at this end or at the other.
async fn silence(progress: &Progress) -> &'static str {
    let mut silence = Silence::default();
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let [said, taken] = [&progress.said, &progress.taken].map(|at| at.load(Ordering::Relaxed));
        if let Some(why) = silence.look(said, taken, progress.left.load(Ordering::Relaxed)) {
            return why;
        }
    }
}

/// What goes out on one connection: whatever waits, whenever the connection can take it.
struct Deliveries {
    /// Where members are reached: said once, in the first one.
    book: Vec<Address>,
    waiting: Reader<Envelope>,
    counters: Arc<LinkCounters>,
    progress: Arc<Progress>,
}

impl Stream for Deliveries {
    type Item = Summed;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Summed>> {
        let Self { book, waiting, counters, progress } = &mut *self;
        progress.left.store(true, Ordering::Relaxed);
        if !book.is_empty() {
            progress.said.fetch_add(1, Ordering::Relaxed);
            let (book, envelopes) = (std::mem::take(book), Vec::new());
            return Poll::Ready(Some(wire::summed(&Delivery { envelopes, book })));
        }
        waiting.poll_take(context, DELIVERY_BYTES).map(|taken| {
            let taken = taken?;
            add(&counters.sent, taken.len());
            progress.said.fetch_add(1, Ordering::Relaxed);
            let envelopes = taken.into_iter().map(wire::envelope_to_proto).collect();
            Some(wire::summed(&Delivery { envelopes, book: Vec::new() }))
        })
    }
}
