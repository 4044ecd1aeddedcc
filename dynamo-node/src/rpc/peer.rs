//! Peers: the receiving end of the links they dial.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Answering, Shared, gone};
use crate::driver::Arrival;
use crate::proto;
use crate::proto::peer_server;
use crate::telemetry::add;
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
        let mut deliveries = request.into_inner();
        let first = deliveries.message().await?;
        let hello = first.and_then(|delivery| delivery.hello);
        let hello = hello.ok_or_else(|| Status::invalid_argument("the hello is missing"))?;
        self.admit(&hello)?;
        // One greeting, then nothing until the end.
        let (greetings, greeted) = mpsc::channel(1);
        let greeting = proto::Greeting { settings: self.0.settings.to_string() };
        greetings.try_send(Ok(greeting)).map_err(|_| gone())?;
        let shared = self.0.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = receive(&shared, hello.from, &mut deliveries) => {}
                () = shared.closed() => {}
            }
            drop(greetings);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(greeted))))
    }
}

impl PeerService {
    /// Nodes that disagree about the cluster must not exchange a single message.
    fn admit(&self, hello: &proto::Hello) -> Result<(), Status> {
        let Shared { me, members, settings, .. } = &self.0;
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
        if hello.settings != **settings {
            return refuse(format!(
                "the settings differ: node {} has [{}], node {} has [{settings}]",
                hello.from, hello.settings, me.0
            ));
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
