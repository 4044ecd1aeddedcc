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
        let (shared, from) = (self.0.clone(), hello.from);
        let link = async move {
            tokio::select! {
                () = receive(&shared, from, &mut deliveries) => {}
                () = shared.closed() => {}
            }
            drop(greetings);
        };
        let Some(link) = self.0.links.begin(from, hello.incarnation, link) else {
            let why = format!("a later process of node {from} has linked");
            tracing::info!(from, why, "link refused");
            return Err(Status::failed_precondition(why));
        };
        tokio::spawn(link);
        Ok(Response::new(Box::pin(ReceiverStream::new(greeted))))
    }
}

/// The links that peers have dialled: one each, and one after the other. A peer that dials again has given
/// the last one up: what is left of that must not hold memory until it is noticed.
///
/// Nothing of an earlier process of a peer arrives after the first message of a later one: that is what a
/// host owes the core (its contract, 6). So a link is read when the one before it has ended, and of a
/// process that another has followed no link is taken, however late its dial arrives. (Of one that never
/// linked here before its successor did, nobody can tell.)
#[derive(Debug, Default)]
pub(crate) struct Incoming(Mutex<BTreeMap<u32, Present>>);

/// The link of a peer that began last.
#[derive(Debug)]
struct Present {
    /// The nonce of the process that dialled it.
    process: u64,
    /// Processes before that, oldest first.
    earlier: Vec<u64>,
    /// Its end tells the link to end.
    replaced: oneshot::Sender<()>,
    /// Ends when the link has ended.
    ended: oneshot::Receiver<()>,
}

/// How many earlier processes of a peer are known: the dial of any older one has been given up.
const EARLIER: usize = 64;

impl Incoming {
    /// A link of `process` of `from` begins: the answer runs it when the one before has ended, and until
    /// the next one begins. None if the process is over.
    fn begin<L>(
        &self,
        from: u32,
        process: u64,
        link: L,
    ) -> Option<impl Future<Output = ()> + use<L>>
    where
        L: Future<Output = ()>,
    {
        let (present, replaced) = oneshot::channel();
        let (running, ended) = oneshot::channel::<()>();
        let mut present = Present { process, earlier: Vec::new(), replaced: present, ended };
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if links.get(&from).is_some_and(|last| last.earlier.contains(&process)) {
            return None;
        }
        let before = links.remove(&from).map(|last| {
            present.earlier = last.earlier;
            if last.process != process {
                let too_many = (present.earlier.len() + 1).saturating_sub(EARLIER);
                present.earlier.drain(..too_many);
                present.earlier.push(last.process);
            }
            drop(last.replaced);
            last.ended
        });
        links.insert(from, present);
        Some(async move {
            // Gone last, when nothing is left of the link.
            let _running = running;
            if let Some(ended) = before {
                drop(ended.await);
            }
            tokio::select! {
                biased;
                _ = replaced => {}
                () = link => {}
            }
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A process of the peer that talks as long as anybody listens, and has something under way at any time.
    async fn talk(process: u64, arrivals: mpsc::Sender<u64>) {
        while arrivals.send(process).await.is_ok() {}
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_of_a_process_arrives_after_the_first_message_of_the_next_one() {
        const PROCESSES: u64 = 20_000;
        let links = Incoming::default();
        let (arrive, mut arrivals) = mpsc::channel(2);
        let mut latest = 0;
        for process in 1..=PROCESSES {
            tokio::spawn(links.begin(7, process, talk(process, arrive.clone())).unwrap());
            while latest < process {
                let said = arrivals.recv().await.unwrap();
                assert!(said >= latest, "{said} is heard after {latest}");
                latest = said;
            }
        }
    }

    #[tokio::test]
    async fn a_process_that_another_has_followed_is_heard_no_more() {
        let links = Incoming::default();
        let (arrive, mut arrivals) = mpsc::channel(1);
        let dial = |peer, process| {
            let link = links.begin(peer, process, talk(process, arrive.clone()));
            link.map(tokio::spawn).is_some()
        };
        assert!(dial(1, 10) && dial(1, 10), "the same one may dial again");
        assert!(dial(2, 20) && dial(1, 11) && dial(1, 12));
        assert!(!dial(1, 10) && !dial(1, 11) && dial(1, 12) && dial(2, 20));
        let mut heard = std::collections::BTreeSet::new();
        while heard.len() < 2 {
            heard.insert(arrivals.recv().await.unwrap());
        }
        assert_eq!(heard, [12, 20].into());
    }
}
