//! Peers: the receiving end of the links they dial.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Mutex, PoisonError};

use prost::Message as _;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::{Answering, Shared, gone};
use crate::driver::Arrival;
use crate::guests::{Guest, Guise};
use crate::proto;
use crate::proto::peer_server;
use crate::telemetry::add;
use crate::transport::HELLO;
use crate::wire;

/// See the [module](self).
pub(crate) struct PeerService(pub(crate) Shared);

#[tonic::async_trait]
impl peer_server::Peer for PeerService {
    type LinkStream = Answering<proto::Greeting>;

    async fn link(
        &self,
        request: Request<Streaming<proto::Delivery>>,
    ) -> Result<Response<Self::LinkStream>, Status> {
        // Nothing of the body is read before this: whoever is no peer sends for nothing.
        let hello = hello(request.metadata())?;
        self.admit(&hello)?;
        if let Some(guest) = request.extensions().get::<Guest>() {
            guest.shows(Guise::Peer)?;
        }
        let mut deliveries = request.into_inner();
        // One greeting, then nothing until the end.
        let (greetings, greeted) = mpsc::channel(1);
        greetings.try_send(Ok(proto::Greeting {})).map_err(|_| gone())?;
        let shared = self.0.clone();
        let replaced = shared.links.begin(hello.from);
        tokio::spawn(async move {
            tokio::select! {
                () = receive(&shared, hello.from, &mut deliveries) => {}
                () = replaced => {}
                () = shared.closed() => {}
            }
            drop(greetings);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(greeted))))
    }
}

/// The links that peers have dialled: one each. A peer that dials again has given the last one up, and
/// what is left of that must not hold memory until it is noticed.
#[derive(Debug, Default)]
pub(crate) struct Incoming(Mutex<BTreeMap<u32, oneshot::Sender<()>>>);

impl Incoming {
    /// A link of `from` begins; the answer ends when the next one does.
    fn begin(&self, from: u32) -> impl Future<Output = ()> + use<> {
        let (present, replaced) = oneshot::channel();
        // The one before is dropped, which tells its task.
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(from, present));
        async move { drop(replaced.await) }
    }
}

fn hello(metadata: &MetadataMap) -> Result<proto::Hello, Status> {
    let hello = metadata.get_bin(HELLO).and_then(|hello| hello.to_bytes().ok());
    let hello = hello.and_then(|hello| proto::Hello::decode(hello).ok());
    hello.ok_or_else(|| Status::invalid_argument("the hello is missing"))
}

impl PeerService {
    /// Nodes that disagree about the cluster must not exchange a single message.
    fn admit(&self, hello: &proto::Hello) -> Result<(), Status> {
        let Shared { me, members, agreement, .. } = &self.0;
        let refuse = |why: String| {
            tracing::warn!(from = hello.from, why, "link refused");
            Err(Status::failed_precondition(why))
        };
        if hello.to != u32::from(me.0) {
            return refuse(format!(
                "this is node {}, not {}: the address book of node {} is wrong",
                me.0, hello.to, hello.from
            ));
        }
        if let Some(why) = agreement.refuses(hello) {
            return refuse(why);
        }
        let from = wire::node_id(hello.from).ok();
        if !from.is_some_and(|from| from != *me && members.contains(&from)) {
            return refuse(format!("node {} is no peer of node {}", hello.from, me.0));
        }
        Ok(())
    }
}

async fn receive(shared: &Shared, from: u32, deliveries: &mut Streaming<proto::Delivery>) {
    loop {
        let delivery = match deliveries.message().await {
            Ok(Some(delivery)) => delivery,
            Ok(None) => return,
            Err(status) => return tracing::debug!(from, %status, "link broke"),
        };
        add(&shared.counters.received, delivery.envelopes.len());
        let envelopes = delivery.envelopes.into_iter();
        let envelopes: Vec<_> = envelopes.filter_map(|e| checked(shared, from, e)).collect();
        if shared.arrivals.send(Arrival::Peer(envelopes)).await.is_err() {
            return;
        }
    }
}

/// A message that makes no sense is dropped, as if it were lost.
fn checked(
    shared: &Shared,
    from: u32,
    envelope: proto::Envelope,
) -> Option<dynamo_protocol::Envelope> {
    let why = match wire::envelope_from_proto(envelope) {
        Ok(envelope) if u32::from(envelope.from.0) == from => return Some(envelope),
        Ok(envelope) => format!("it claims to be from node {}", envelope.from.0),
        Err(why) => why.to_string(),
    };
    add(&shared.counters.malformed, 1);
    tracing::warn!(from, why, "message malformed");
    None
}
