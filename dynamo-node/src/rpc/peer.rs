//! Peers: the receiving end of the links they dial.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prost::Message as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status, Streaming};

use super::{Answering, Shared, gone};
use crate::chance;
use crate::driver::{ARRIVALS_KIB, Arrival};
use crate::guests::{Guest, Guise};
use crate::proto;
use crate::proto::peer_server;
use crate::telemetry::add;
use crate::tls::Role;
use crate::transport::HELLO;
use crate::wire;

/// How often the other end of a link is told how much was taken in, if it was more: often enough for its
/// patience (`transport::link`), seldom enough to cost nothing.
const TELL_AFTER: Duration = Duration::from_secs(1);

/// See the [module](self).
pub(crate) struct PeerService(pub(crate) Shared);

#[tonic::async_trait]
impl peer_server::Peer for PeerService {
    type LinkStream = Answering<proto::Summed>;

    async fn issue_ticket(
        &self,
        request: Request<Streaming<proto::TicketRequest>>,
    ) -> Result<Response<proto::Summed>, Status> {
        let hello = self.admit(&request)?;
        let ticket = proto::Ticket { number: self.0.links.ticket(hello.from) };
        Ok(Response::new(wire::summed(&ticket)))
    }

    async fn link(
        &self,
        request: Request<Streaming<proto::Summed>>,
    ) -> Result<Response<Self::LinkStream>, Status> {
        // Nothing of the body is read before this: whoever is no peer sends for nothing.
        let hello = self.admit(&request)?;
        let mut deliveries = request.into_inner();
        let (greetings, greeted) = mpsc::channel(1);
        greetings.try_send(Ok(greeting(0))).map_err(|_| gone())?;
        let (shared, from) = (self.0.clone(), hello.from);
        let advertised = proto::Address { node: from, address: hello.advertised };
        let link = async move {
            let taken = AtomicU64::new(0);
            if !said(&shared, from, vec![advertised]).await {
                return;
            }
            tokio::select! {
                biased;
                () = receive(&shared, from, &mut deliveries, &taken) => {}
                () = tell(&taken, &greetings) => {}
                () = shared.closed() => {}
            }
            drop(greetings);
        };
        let Some(link) = self.0.links.begin(from, hello.incarnation, hello.ticket, link) else {
            let why = format!("another process of node {from} has linked since");
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
/// host owes the core (its contract, 6). So a link is read when the one before it has ended, and a process
/// that is not the one that linked last has to show that it is later, however its dial was held up: by a
/// ticket that was issued since that one began to link. A process that is dead by then never had it; of two,
/// the one that had it was alive later. Who is refused and lives asks for another ticket.
#[derive(Debug, Default)]
pub(crate) struct Incoming(Mutex<BTreeMap<u32, Present>>);

/// The link of a peer that began last.
#[derive(Debug)]
struct Present {
    /// The nonce of the process that dialled it.
    process: u64,
    /// What the next one has to show.
    ticket: u64,
    /// Its end tells the link to end.
    replaced: oneshot::Sender<()>,
    /// Ends when the link has ended.
    ended: oneshot::Receiver<()>,
}

impl Incoming {
    /// What a process of `from` that has not linked yet has to show: anything, if none has.
    fn ticket(&self, from: u32) -> u64 {
        self.present().get(&from).map_or(0, |last| last.ticket)
    }

    /// A link of `process` of `from` begins: the answer runs it when the one before has ended, and until
    /// the next one begins. None if the process does not show that it is later than the one that has linked.
    fn begin<L>(
        &self,
        from: u32,
        process: u64,
        ticket: u64,
        link: L,
    ) -> Option<impl Future<Output = ()> + use<L>>
    where
        L: Future<Output = ()>,
    {
        let (replace, replaced) = oneshot::channel();
        let (running, ended) = oneshot::channel::<()>();
        let mut links = self.present();
        let last = links.get(&from).map(|last| (last.process, last.ticket));
        let next = match last {
            Some((last, ticket)) if last == process => ticket,
            Some((_, shown)) if shown != ticket => return None,
            _ => chance::draw(),
        };
        let present = Present { process, ticket: next, replaced: replace, ended };
        let before = links.insert(from, present).map(|last| {
            drop(last.replaced);
            last.ended
        });
        drop(links);
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

    fn present(&self) -> MutexGuard<'_, BTreeMap<u32, Present>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the certificate of a former member gets.
pub(crate) fn removed_status(node: u32, epoch: u64) -> Status {
    Status::permission_denied(format!(
        "node {node} was removed from the membership, which is at epoch {epoch}: its certificate counts no \
         more. Join under another number, or have an operator propose it"
    ))
}

fn hello(metadata: &MetadataMap) -> Result<proto::Hello, Status> {
    let hello = metadata.get_bin(HELLO).and_then(|hello| hello.to_bytes().ok());
    let hello = hello.and_then(|hello| proto::Summed::decode(hello).ok());
    let hello = hello.ok_or_else(|| Status::invalid_argument("the hello is missing"))?;
    wire::unsummed(hello).map_err(|why| Status::data_loss(format!("the hello: {why}")))
}

fn greeting(deliveries: u64) -> proto::Summed {
    wire::summed(&proto::Greeting { deliveries })
}

impl PeerService {
    /// Over TLS a peer is the node that its certificate names, as long as that is no former member: the
    /// certificate of one that was removed opens nothing any more. Without TLS the protocol tells a former
    /// member that it is one.
    fn check_certificate(&self, guest: &Guest, from: u32) -> Result<(), Status> {
        let node = wire::node_id(from).map_err(|why| Status::invalid_argument(why.to_string()))?;
        let shown = guest.may(Role::Peer(node));
        let removed = self.0.agreement.has_removed(from).filter(|_| !guest.peers().is_empty());
        let refused = match (shown, removed) {
            (Err(status), _) => status,
            (Ok(()), Some(epoch)) => removed_status(from, epoch),
            (Ok(()), None) => return Ok(()),
        };
        tracing::warn!(from, why = refused.message(), "link refused");
        Err(refused)
    }

    /// Nodes that disagree about the cluster must not exchange a single message.
    fn admit<T>(&self, request: &Request<T>) -> Result<proto::Hello, Status> {
        let hello = hello(request.metadata()).inspect_err(|why| {
            add(&self.0.counters.corrupt, usize::from(why.code() == Code::DataLoss));
        })?;
        // Who it is comes first: to a stranger nothing is told of the cluster.
        let guest = request.extensions().get::<Guest>();
        guest.map_or(Ok(()), |guest| self.check_certificate(guest, hello.from))?;
        let Shared { me, agreement, .. } = &self.0;
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
        if let Some(why) = agreement.refuses(&hello) {
            return refuse(why);
        }
        // One that is no member may be one already, or have been one: the protocol tells it so.
        if !wire::node_id(hello.from).is_ok_and(|from| from != *me) {
            return refuse(format!("node {} is no peer of node {}", hello.from, me.0));
        }
        if let Some(guest) = guest {
            guest.shows(Guise::Peer)?;
        }
        Ok(hello)
    }
}

/// Tells the other end how many deliveries were taken in, until it is gone.
async fn tell(taken: &AtomicU64, greetings: &mpsc::Sender<Result<proto::Summed, Status>>) {
    let mut told = 0;
    let mut ticks = tokio::time::interval(TELL_AFTER);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !greetings.is_closed() {
        ticks.tick().await;
        let deliveries = taken.load(Ordering::Relaxed);
        // If there is no room for it, there is at a later tick.
        if deliveries > told && greetings.try_send(Ok(greeting(deliveries))).is_ok() {
            told = deliveries;
        }
    }
}

async fn receive(
    shared: &Shared,
    from: u32,
    deliveries: &mut Streaming<proto::Summed>,
    taken: &AtomicU64,
) {
    loop {
        let summed = match deliveries.message().await {
            Ok(Some(summed)) => summed,
            Ok(None) => return,
            Err(status) => {
                add(&shared.counters.broken, 1);
                return tracing::debug!(from, %status, "link broke");
            }
        };
        let kib = (summed.body.len() >> 10).clamp(1, ARRIVALS_KIB);
        let delivery: proto::Delivery = match wire::unsummed(summed) {
            Ok(delivery) => delivery,
            // Where the next one begins is anybody's guess: the peer dials again.
            Err(why) => {
                add(&shared.counters.corrupt, 1);
                return tracing::warn!(from, %why, "link given up: a delivery is not what was sent");
            }
        };
        if !said(shared, from, delivery.book).await {
            return;
        }
        add(&shared.counters.received, delivery.envelopes.len());
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        // Until there is room nothing more of this stream is read: the sender waits, too.
        let Ok(room) = Arc::clone(&shared.room).acquire_many_owned(kib).await else { return };
        let envelopes = delivery.envelopes.into_iter();
        let envelopes: Vec<_> = envelopes.filter_map(|e| checked(shared, from, e)).collect();
        if shared.arrivals.send(Arrival::Peer(envelopes, room)).await.is_err() {
            return;
        }
        taken.fetch_add(1, Ordering::Relaxed);
    }
}

/// Hands on where members are reached, as `from` says; false if nobody is there to hear it.
async fn said(shared: &Shared, from: u32, book: Vec<proto::Address>) -> bool {
    let told = wire::addresses_from_proto(book);
    let Some(from) = wire::node_id(from).ok().filter(|_| !told.is_empty()) else { return true };
    shared.arrivals.send(Arrival::Addresses { from, told }).await.is_ok()
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
            let ticket = links.ticket(7);
            let link = links.begin(7, process, ticket, talk(process, arrive.clone()));
            tokio::spawn(link.unwrap());
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
        let dial = |peer, process, ticket| {
            let link = links.begin(peer, process, ticket, talk(process, arrive.clone()));
            link.map(tokio::spawn).is_some()
        };
        let first = links.ticket(1);
        assert!(dial(1, 10, first) && dial(1, 10, first), "the same one may dial again");
        let [second, other] = [1, 2].map(|peer| links.ticket(peer));
        assert!(dial(2, 20, other) && dial(1, 11, second));
        let third = links.ticket(1);
        assert!(dial(1, 12, third) && dial(1, 12, third));
        assert!([first, second, third].iter().all(|ticket| !dial(1, 11, *ticket)));
        assert!(!dial(1, 10, first) && dial(2, 20, other));
        let mut heard = std::collections::BTreeSet::new();
        while heard.len() < 2 {
            heard.insert(arrivals.recv().await.unwrap());
        }
        assert_eq!(heard, [12, 20].into());
    }

    /// A node that starts is dialled by a process and by its successor, and hears of the first one last.
    #[test]
    fn a_dial_that_was_held_up_shuts_nobody_out() {
        let links = Incoming::default();
        let dial = |process, ticket| links.begin(1, process, ticket, async {}).is_some();
        let dead = links.ticket(1);
        assert!(dial(11, links.ticket(1)));
        assert!(!dial(10, dead), "nothing shows that it is not over");
        assert!(dial(11, 0));
        // The other way round the living one is refused once.
        let links = Incoming::default();
        let dial = |process, ticket| links.begin(1, process, ticket, async {}).is_some();
        let [dead, living] = [(); 2].map(|()| links.ticket(1));
        assert!(dial(10, dead) && !dial(11, living));
        assert!(dial(11, links.ticket(1)) && !dial(10, dead));
    }
}
