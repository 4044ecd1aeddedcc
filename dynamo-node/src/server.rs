//! A whole node: directory, driver, links and services, from start to end.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::mutant::{Mutant, mutated};
use dynamo_protocol::{Epoch, Identity, Meta, Node, NodeId, View, ViewError};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
#[cfg(feature = "simulation")]
use tokio::task::AbortHandle;
use tokio::task::JoinHandle;
use tokio_stream::Stream;
use tokio_stream::wrappers::TcpListenerStream;
use tonic_health::pb::health_server::HealthServer;

use crate::chance;
use crate::commit::Committer;
use crate::config::Options;
use crate::door::{Door, Unfinished};
use crate::driver::{ARRIVALS, ARRIVALS_KIB, About, Command, Driver, Fatal, Sources};
use crate::guests::{Accepted, Connection, Guests, Guise};
use crate::hooks::Hook;
use crate::http2;
use crate::join::{self, JoinError};
use crate::metrics::{self, Endpoint};
use crate::opening::{self, Opened};
use crate::proto::admin_server::AdminServer;
use crate::proto::kv_server::KvServer;
use crate::proto::peer_server::PeerServer;
use crate::record::Recorder;
use crate::rpc::{AdminService, HealthService, KvService, PeerService, Shared, reflection};
use crate::stepped::Hand;
use crate::storage::{Directory, DirectoryError, EngineError, Records};
use crate::telemetry::Telemetry;
use crate::tls::TlsError;
use crate::transport::{Book, GrpcTransport, Links, is_address, largest_message};
use crate::wire::Agreement;

/// Operators are few.
const COMMANDS: usize = 16;
/// Largest message of a client: many requests together, or one whose value the protocol has yet to
/// refuse as too long. Four of the largest values there can be.
pub(crate) const CLIENT_MESSAGE: usize = 4 << 20;
/// How long open connections get to end by themselves when the node has ended.
const LINGER: Duration = Duration::from_millis(500);

/// A node that runs. Dropping it does not stop it.
pub struct Running {
    address: SocketAddr,
    metrics: Option<SocketAddr>,
    identity: Identity,
    incarnation: u64,
    commands: mpsc::Sender<Command>,
    task: JoinHandle<Result<(), Ended>>,
    /// What ends at once when its process does.
    #[cfg(feature = "simulation")]
    parts: [AbortHandle; 2],
}

/// Why a node did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The membership it starts in.
    #[error(transparent)]
    View(#[from] ViewError),
    /// There is no membership, neither in the directory nor in the options.
    #[error(
        "no membership is known: give --member, for each member of the cluster's genesis, or --join"
    )]
    NoMembership,
    /// The directory is of a cluster that began otherwise.
    #[error(
        "the directory is of a cluster that began with {found}; --member says {told}: leave --member out, or \
         give this node a directory of its own"
    )]
    AnotherGenesis {
        /// The members at the genesis that the directory knows.
        found: String,
        /// Those that were given.
        told: String,
    },
    /// The directory was removed from the membership.
    #[error(
        "epoch {epoch} removed {node} with this directory for good: to have the node back, give it an empty \
         directory and --join"
    )]
    Removed {
        /// The last one the directory knows.
        epoch: Epoch,
        /// The node.
        node: NodeId,
    },
    /// A member that cannot be reached by any address.
    #[error("member {0} has no address: give --peer {0}=HOST:PORT")]
    NoAddress(u16),
    /// An address of nobody.
    #[error("--peer {0}: no such member, or this node itself")]
    NotAPeer(u16),
    /// It did not become a member.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// An address that is none.
    #[error("--advertise {0}: not HOST:PORT")]
    Advertise(String),
    /// Its certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The data directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The records in it.
    #[error(transparent)]
    Storage(#[from] EngineError),
    /// The system.
    #[error("cannot {what}: {error}")]
    System {
        /// What was being done.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

/// Why a node ended that was not asked to.
#[derive(Debug, Error)]
pub enum Ended {
    /// It could not go on.
    #[error(transparent)]
    Fatal(#[from] Fatal),
    /// It served in the place of a lost directory, and will not be named.
    #[error(transparent)]
    Unnamed(#[from] JoinError),
    /// An invariant was broken.
    #[error("the driver panicked: {0}")]
    Panicked(tokio::task::JoinError),
    /// The network.
    #[error("the server failed: {0}")]
    Server(#[from] tonic::transport::Error),
}

/// Starts a node that listens on `listener`.
///
/// # Errors
/// If its address book, its directory or its storage will not do.
pub async fn start(options: Options, listener: TcpListener) -> Result<Running, StartError> {
    let address = listener.local_addr().map_err(system("tell the address"))?;
    start_on(options, address, TcpListenerStream::new(listener)).await
}

/// Starts a node to which `accepted` connects others, at `address`.
pub(crate) async fn start_on<S: Accepted + 'static>(
    options: Options,
    address: SocketAddr,
    accepted: impl Stream<Item = io::Result<S>> + Send + 'static,
) -> Result<Running, StartError> {
    check(&options)?;
    let (me, settings) = (options.me, Arc::new(options.settings));
    let metrics = metrics_listener(&options).await?;
    let incarnation = incarnation(&options);
    let hook = Hook::of(&options);
    let opened = opening::open(&options, incarnation, hook.as_ref()).await?;
    let Opened { directory, view, addresses, start, store, recorder } = opened;
    let meta = directory.meta;
    let agreement = Arc::new(Agreement::new(&options.cluster, &settings, view.history()));

    let telemetry = Telemetry::default();
    let (arrive, arrivals) = mpsc::channel(ARRIVALS);
    let (ask, clients) = mpsc::channel(ARRIVALS);
    let (command, commands) = mpsc::channel(COMMANDS);
    let (close, closing) = watch::channel(false);
    let own = advertised(&options, address);
    let naming = naming(&options, &view, meta, &addresses, command.clone());
    let book = Arc::new(Book::new(me, own, options.peers.clone(), addresses));
    let shared = Shared {
        me,
        agreement: Arc::clone(&agreement),
        hook,
        stepped: options.stepped.is_some(),
        arrivals: arrive,
        room: Arc::new(Semaphore::new(ARRIVALS_KIB)),
        clients: ask,
        untaken: Arc::default(),
        commands: command.clone(),
        counters: Arc::clone(&telemetry.links),
        links: Arc::default(),
        tls: options.tls.clone(),
        seal: options.seal.clone(),
        closing,
    };
    // As many as now may join while it runs.
    let largest = largest_message(&settings.limits, 2 * view.everybody().count());
    let node = Node::new(me, settings, view, start);
    let sources = Sources { arrivals, clients, commands };
    let about = About { incarnation, agreement, book };
    let kept = (directory, store, recorder);
    let driving = drive(&options, (node, about), kept, (&shared, telemetry), sources)?;
    let measured = metrics.map(|listener| measured(listener, &shared)).transpose()?;
    let guests = Guests::new(options.tls.clone());
    let incoming = guests.incoming(accepted, Arc::clone(&shared.counters));
    let serving = tokio::spawn(serve(shared, incoming, largest));
    #[cfg(feature = "simulation")]
    let parts = [driving.abort_handle(), serving.abort_handle()];
    let (metrics, measuring) = measured.unzip();
    let task = tokio::spawn(oversee(driving, serving, measuring, naming, close));
    let identity = meta.identity;
    tracing::info!(
        node = %me, %address, %identity, incarnation,
        amnesiac = meta.amnesiac, "started"
    );
    Ok(Running {
        address,
        metrics,
        identity,
        incarnation,
        commands: command,
        task,
        #[cfg(feature = "simulation")]
        parts,
    })
}

/// Starts the task that owns the protocol's node.
fn drive(
    options: &Options,
    (node, about): (Node, About),
    (directory, store, recorder): (Arc<Directory>, Records, Option<Recorder>),
    (shared, telemetry): (&Shared, Telemetry),
    sources: Sources,
) -> Result<JoinHandle<Result<(), Fatal>>, StartError> {
    if let Some(nonces) = options.stepped {
        let hand = Hand::new(node, (directory, store), nonces.counts, recorder);
        return Ok(tokio::spawn(hand.run(sources)));
    }
    let committer = Committer::start(directory, options.durability);
    let committer = committer.map_err(system("start the committer"))?;
    let transport = GrpcTransport::start(&links(shared, &about.book, about.incarnation));
    let committer = (committer, options.durability);
    let driver = Driver::new(node, about, (store, recorder), committer, transport, telemetry);
    Ok(tokio::spawn(driver.run(sources)))
}

/// Where it tells others that it is reached; nowhere if it listens everywhere and was not told.
fn advertised(options: &Options, address: SocketAddr) -> Option<String> {
    let everywhere = address.ip().is_unspecified();
    options.advertise.clone().or_else(|| (!everywhere).then(|| address.to_string()))
}

fn system(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |error| StartError::System { what, error }
}

/// Refuses what can be told to be wrong without looking at the directory.
fn check(options: &Options) -> Result<(), StartError> {
    if let Some(address) = options.advertise.as_ref().filter(|address| !is_address(address)) {
        return Err(StartError::Advertise(address.clone()));
    }
    Ok(options.tls.as_ref().map_or(Ok(()), |tls| tls.check_is(options.me))?)
}

async fn metrics_listener(options: &Options) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = &options.metrics else { return Ok(None) };
    let bound = TcpListener::bind(address).await;
    bound.map(Some).map_err(system("listen for readers of metrics"))
}

/// Answers readers of metrics; where, and the task that does.
fn measured(
    listener: TcpListener,
    shared: &Shared,
) -> Result<(SocketAddr, JoinHandle<()>), StartError> {
    let address = listener.local_addr().map_err(system("tell the address"))?;
    let endpoint = Endpoint {
        commands: shared.commands.clone(),
        arrivals: shared.arrivals.clone(),
        clients: shared.clients.clone(),
        untaken: Arc::clone(&shared.untaken),
    };
    Ok((address, tokio::spawn(metrics::serve(listener, endpoint))))
}

/// Has it named, if another directory is in its place and it was told to take that. Ends if it never will be,
/// and has the driver end, too.
fn naming(
    options: &Options,
    view: &View,
    meta: Meta,
    addresses: &BTreeMap<NodeId, String>,
    commands: mpsc::Sender<Command>,
) -> impl Future<Output = JoinError> + Send + use<> {
    let seat = view.history().latest().seat(options.me);
    let is_named = seat.is_some_and(|seat| seat.directory == meta.directory(options.me));
    let join = options.join.clone().filter(|_| !is_named);
    let others = addresses.iter().filter(|(id, _)| **id != options.me);
    let others = others.map(|(_, address)| address.clone()).collect();
    let options = options.clone();
    async move {
        let Some(join) = join else { return std::future::pending().await };
        match join::have_named(options, join, meta, others).await {
            Ok(()) => std::future::pending().await,
            Err(error) => {
                // If nobody listens it has ended already.
                drop(commands.send(Command::Stop).await);
                error
            }
        }
    }
}

fn links(shared: &Shared, book: &Arc<Book>, incarnation: u64) -> Links {
    Links {
        me: shared.me,
        agreement: Arc::clone(&shared.agreement),
        book: Arc::clone(book),
        incarnation,
        arrivals: shared.arrivals.clone(),
        counters: Arc::clone(&shared.counters),
        hook: shared.hook.clone(),
        tls: shared.tls.clone(),
    }
}

/// No other start of any node may have it, so it is drawn; 53 bits, so that a reader of JSON that has
/// only floats keeps all of them.
fn incarnation(options: &Options) -> u64 {
    if mutated(Mutant::IncarnationReused) {
        return options.me.0.into();
    }
    options.stepped.map_or_else(|| chance::draw() >> 11, |nonces| nonces.incarnation)
}

async fn serve(
    shared: Shared,
    incoming: impl Stream<Item = io::Result<Connection>>,
    largest: usize,
) -> Result<(), tonic::transport::Error> {
    let closing = shared.clone();
    let closed = async move {
        closing.closed().await;
        // Streams end first: in one moment it would be chance what a connection says first.
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    let unfinished = Unfinished::new();
    let kv = KvServer::new(KvService(shared.clone()))
        .max_decoding_message_size(CLIENT_MESSAGE)
        .max_encoding_message_size(usize::MAX);
    let kv = Door::new(kv, Guise::Client, &unfinished, &shared.agreement);
    // A peer is admitted before any of its messages is read.
    let peer = PeerServer::new(PeerService(shared.clone())).max_decoding_message_size(largest);
    let admin =
        AdminServer::new(AdminService(shared.clone())).max_encoding_message_size(usize::MAX);
    let admin = Door::new(admin, Guise::Operator, &unfinished, &shared.agreement);
    let health = HealthServer::new(HealthService(shared.clone()));
    let health = Door::new(health, Guise::Client, &unfinished, &shared.agreement);
    let reflection =
        Door::new(reflection::service(), Guise::Operator, &unfinished, &shared.agreement);
    http2::server()
        .add_service(kv)
        .add_service(peer)
        .add_service(admin)
        .add_service(health)
        .add_service(reflection)
        .serve_with_incoming_shutdown(incoming, closed)
        .await
}

/// Ends the rest when the driver has ended, and the other way round.
async fn oversee(
    mut driving: JoinHandle<Result<(), Fatal>>,
    mut serving: JoinHandle<Result<(), tonic::transport::Error>>,
    measuring: Option<JoinHandle<()>>,
    naming: impl Future<Output = JoinError>,
    close: watch::Sender<bool>,
) -> Result<(), Ended> {
    let mut unnamed = Ok(());
    let ended = tokio::select! {
        biased;
        driven = async {
            tokio::select! {
                biased;
                driven = &mut driving => driven,
                refused = naming => {
                    unnamed = Err(refused.into());
                    (&mut driving).await
                }
            }
        } => {
            // Dropping the driver has closed the links; now the streams and the listener.
            close.send_replace(true);
            if tokio::time::timeout(LINGER, &mut serving).await.is_err() {
                serving.abort();
            }
            driven.map_err(Ended::Panicked).and_then(|driven| Ok(driven?)).and(unnamed)
        }
        served = &mut serving => {
            driving.abort();
            served.map_err(Ended::Panicked).and_then(|served| Ok(served?))
        }
    };
    if let Some(measuring) = measuring {
        measuring.abort();
    }
    ended
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where Prometheus reads its metrics, if it does.
    #[must_use]
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }

    /// Its data directory's identity.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The nonce of this start.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Begins the end: new requests are refused, open ones answered.
    pub async fn begin_stop(&self) {
        // If nobody listens it has ended already.
        drop(self.commands.send(Command::Stop).await);
    }

    /// Ends it where it stands, as a process that is killed.
    #[cfg(feature = "simulation")]
    pub(crate) fn abort(&self) {
        self.parts.iter().for_each(AbortHandle::abort);
        self.task.abort();
    }

    /// Whether it has ended, asked or not.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits until it has ended, asked or not.
    ///
    /// # Errors
    /// If it was not asked to.
    pub async fn ended(&mut self) -> Result<(), Ended> {
        match (&mut self.task).await {
            Ok(result) => result,
            Err(panic) => Err(Ended::Panicked(panic)),
        }
    }

    /// Stops it: answers or times out what is open, makes everything durable, closes the directory.
    ///
    /// # Errors
    /// If it ended otherwise.
    pub async fn stop(mut self) -> Result<(), Ended> {
        self.begin_stop().await;
        self.ended().await
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("address", &self.address)
            .field("identity", &self.identity)
            .field("incarnation", &self.incarnation)
            .finish_non_exhaustive()
    }
}
