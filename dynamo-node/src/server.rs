//! A whole node: directory, driver, links and services, from start to end.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::membership::{HistoryError, Membership};
use dynamo_protocol::mutant::{Mutant, mutated};
use dynamo_protocol::{
    Change, Enrolment, Epoch, Identity, Node, NodeId, Start, Store, View, ViewError,
};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle};

use crate::commit::Committer;
use crate::config::{Options, Storage};
use crate::door::{Door, Unfinished};
use crate::driver::{ARRIVALS, About, Command, Driver, Fatal, Sources};
use crate::guests::{Guests, Guise};
use crate::http2;
use crate::proto::admin_server::AdminServer;
use crate::proto::kv_server::KvServer;
use crate::proto::peer_server::PeerServer;
use crate::record::Recorder;
use crate::rpc::{AdminService, KvService, PeerService, Shared};
use crate::stepped::Hand;
use crate::storage::{
    Directory, DirectoryError, EngineError, Origin, Owner, Records, Space, peers, place_of,
};
use crate::telemetry::Telemetry;
use crate::transport::{GrpcTransport, Links, largest_message};
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
    identity: Identity,
    incarnation: u64,
    commands: mpsc::Sender<Command>,
    task: JoinHandle<Result<(), Ended>>,
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
        error: std::io::Error,
    },
}

/// Why a node ended that was not asked to.
#[derive(Debug, Error)]
pub enum Ended {
    /// It could not go on.
    #[error(transparent)]
    Fatal(#[from] Fatal),
    /// An invariant was broken.
    #[error("the driver panicked: {0}")]
    Panicked(JoinError),
    /// The network.
    #[error("the server failed: {0}")]
    Server(#[from] tonic::transport::Error),
}

/// Starts a node that listens on `listener`.
///
/// # Errors
/// If its address book, its directory or its storage will not do.
pub async fn start(options: Options, listener: TcpListener) -> Result<Running, StartError> {
    let system = |what| move |error| StartError::System { what, error };
    let address = listener.local_addr().map_err(system("tell the address"))?;
    let (me, settings) = (options.me, Arc::new(options.settings));
    // Opening reads files, for as long as it takes: not on a thread that serves.
    let incarnation = options.stepped.map_or_else(nonce, |nonces| nonces.incarnation);
    let opening = tokio::task::spawn_blocking({
        let options = options.clone();
        move || open(&options, incarnation)
    });
    let opened = opening.await.map_err(std::io::Error::other).map_err(system("open"))??;
    let Opened { directory, view, start, store, recorder } = opened;
    let meta = directory.meta;
    let agreement = Arc::new(Agreement::new(&options.cluster, &settings, view.history()));

    let telemetry = Telemetry::default();
    let (arrive, arrivals) = mpsc::channel(ARRIVALS);
    let (command, commands) = mpsc::channel(COMMANDS);
    let (close, closing) = watch::channel(false);
    let links = Links {
        me,
        agreement: Arc::clone(&agreement),
        incarnation,
        arrivals: arrive.clone(),
        counters: Arc::clone(&telemetry.links),
    };
    let shared = Shared {
        me,
        agreement: Arc::clone(&agreement),
        fault_hooks: options.fault_hooks && cfg!(feature = "faults"),
        stepped: options.stepped.is_some(),
        arrivals: arrive,
        commands: command.clone(),
        counters: Arc::clone(&telemetry.links),
        links: Arc::default(),
        closing,
    };
    let largest = largest_message(&settings.limits, view.members().len());
    let node = Node::new(me, settings, view, start);
    let sources = Sources { arrivals, commands };
    let driving = if let Some(nonces) = options.stepped {
        let hand = Hand::new(node, (directory, store), nonces.counts, recorder);
        tokio::spawn(hand.run(sources))
    } else {
        let committer = Committer::start(directory);
        let committer = committer.map_err(system("start the committer"))?;
        let transport = GrpcTransport::start(&options.peers, &links);
        let about = About { incarnation, agreement };
        let driver = Driver::new(node, about, (store, recorder), committer, transport, telemetry);
        tokio::spawn(driver.run(sources))
    };
    let serving = tokio::spawn(serve(shared, listener, largest));
    let task = tokio::spawn(oversee(driving, serving, close));
    let identity = meta.identity;
    tracing::info!(
        node = %me, %address, %identity, incarnation,
        amnesiac = meta.amnesiac, "started"
    );
    Ok(Running { address, identity, incarnation, commands: command, task })
}

/// Of a cluster that begins, all addresses are told.
fn check_addresses(options: &Options, view: &View) -> Result<(), StartError> {
    let peers: Vec<_> = view.ids().filter(|member| *member != options.me).collect();
    if let Some(peer) = peers.iter().find(|peer| !options.peers.contains_key(peer)) {
        return Err(StartError::NoAddress(peer.0));
    }
    if let Some(other) = options.peers.keys().find(|id| !peers.contains(id)) {
        return Err(StartError::NotAPeer(other.0));
    }
    Ok(())
}

struct Opened {
    directory: Arc<Directory>,
    view: Arc<View>,
    start: Start,
    store: Records,
    recorder: Option<Recorder>,
}

fn open(options: &Options, incarnation: u64) -> Result<Opened, StartError> {
    // What was told is looked at before a directory is made.
    let told = options.view.as_ref();
    if let Some(view) = told
        && !view.contains(options.me)
        && !view.ever().contains(&options.me)
    {
        return Err(ViewError::NotAMember(options.me).into());
    }
    let versioning = options.settings.versioning;
    let identity = options.stepped.and_then(|nonces| nonces.identity);
    let origin = Origin { genesis: options.genesis, identity };
    let mut directory = match &options.storage {
        Storage::Memory => Directory::in_memory(origin),
        Storage::Disk(path) => {
            let owner = Owner { node: options.me, cluster: options.cluster.clone(), versioning };
            Directory::open(path, &owner, origin)?
        }
    };
    let view = membership(options, &mut directory)?;
    let mut store = Records::open(&directory, versioning)?;
    if mutated(Mutant::HintsVolatile) {
        forget_hints(&directory, &mut store)?;
    }
    let heard = peers::read(&*directory.engine)?;
    let spare = match options.stepped {
        Some(nonces) => nonces.spare,
        // A directory made just now cannot have been rolled back.
        None => (!directory.is_new).then(|| Identity(rand::random())),
    };
    let Enrolment { ballots, counted, .. } = directory.enrolment.clone();
    let start = Start { meta: directory.meta, heard, incarnation, spare, ballots, counted };
    let mut recorder = None;
    if let Some(folder) = &options.record {
        let system = |error| StartError::System { what: "begin the record", error };
        let cluster = (options.me, &options.settings, &view);
        let recording = Recorder::create(folder, cluster, start.clone());
        let recording = recorder.insert(recording.map_err(system)?);
        store.visit(|place, record| recording.stored(place, record))?;
    }
    Ok(Opened { directory: Arc::new(directory), view: Arc::new(view), start, store, recorder })
}

/// The membership that the node starts in: the one its directory knows, or else, and from then on, the one
/// that it is told.
fn membership(options: &Options, directory: &mut Directory) -> Result<View, StartError> {
    let epochs = &directory.enrolment.epochs;
    if epochs.is_empty() {
        let view = options.view.clone().ok_or(StartError::NoMembership)?;
        if options.stepped.is_none() {
            check_addresses(options, &view)?;
        }
        let epochs = view.history().epochs().to_vec();
        directory.enrol(Enrolment { epochs, ..Enrolment::default() })?;
        return Ok(view);
    }
    let view = View::of(&options.settings, epochs.clone())?;
    let genesis = |view: &View| view.history().epochs()[0].clone();
    if let Some(told) = options.view.as_ref().map(genesis).filter(|told| *told != genesis(&view)) {
        let (found, told) = (members(&genesis(&view)), members(&told));
        return Err(StartError::AnotherGenesis { found, told });
    }
    let latest = view.history().latest();
    let gone = latest.gone().contains(&directory.meta.directory(options.me));
    if gone || !view.contains(options.me) {
        let (epoch, node) = (latest.epoch(), options.me);
        return Err(StartError::Removed { epoch, node });
    }
    let (voted, have) = (directory.enrolment.ballots, latest.epoch());
    match voted.map(|ballots| ballots.epoch).filter(|voted| *voted > view.history().next()) {
        Some(voted) => Err(ViewError::from(HistoryError::Lost { have, voted }).into()),
        None => Ok(view),
    }
}

/// In words.
fn members(membership: &Membership) -> String {
    let seats = membership.seats().iter();
    let seats: Vec<_> =
        seats.map(|seat| format!("{} ({} tokens)", seat.node, seat.tokens)).collect();
    seats.join(", ")
}

/// A seeded bug: hints do not outlive the process.
fn forget_hints(directory: &Directory, store: &mut Records) -> Result<(), EngineError> {
    let mut hints = Vec::new();
    directory.engine.scan(Space::Hints, &[], &mut |key, _| {
        hints.extend(place_of(Space::Hints, key).map(Change::Remove));
        true
    })?;
    // Nothing of it can fail: it lies in memory.
    let _ = store.apply(hints);
    if let Some(batch) = store.take_batch() {
        let number = batch.number;
        directory.commit(batch)?;
        store.committed(number);
    }
    Ok(())
}

/// No other start of any node may have it, so it is drawn; 53 bits, so that a reader of JSON that has
/// only floats keeps all of them.
fn nonce() -> u64 {
    rand::random::<u64>() >> 11
}

async fn serve(
    shared: Shared,
    listener: TcpListener,
    largest: usize,
) -> Result<(), tonic::transport::Error> {
    let unfinished = Unfinished::new();
    let kv = KvServer::new(KvService(shared.clone()))
        .max_decoding_message_size(CLIENT_MESSAGE)
        .max_encoding_message_size(usize::MAX);
    let kv = Door::new(kv, Guise::Client, &unfinished);
    // A peer is admitted before any of its messages is read.
    let peer = PeerServer::new(PeerService(shared.clone())).max_decoding_message_size(largest);
    let admin =
        AdminServer::new(AdminService(shared.clone())).max_encoding_message_size(usize::MAX);
    let admin = Door::new(admin, Guise::Operator, &unfinished);
    let incoming = Guests::new().incoming(listener, Arc::clone(&shared.counters));
    http2::server()
        .add_service(kv)
        .add_service(peer)
        .add_service(admin)
        .serve_with_incoming_shutdown(incoming, shared.closed())
        .await
}

/// Ends the rest when the driver has ended, and the other way round.
async fn oversee(
    mut driving: JoinHandle<Result<(), Fatal>>,
    mut serving: JoinHandle<Result<(), tonic::transport::Error>>,
    close: watch::Sender<bool>,
) -> Result<(), Ended> {
    tokio::select! {
        driven = &mut driving => {
            // Dropping the driver has closed the links; now the streams and the listener.
            close.send_replace(true);
            if tokio::time::timeout(LINGER, &mut serving).await.is_err() {
                serving.abort();
            }
            Ok(driven.map_err(Ended::Panicked)??)
        }
        served = &mut serving => {
            driving.abort();
            Ok(served.map_err(Ended::Panicked)??)
        }
    }
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
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
