//! Whole nodes under virtual time: driver, records, committer, queues, wire, links, services and clients as
//! they are, in one thread, over a network and disks in memory.
//!
//! ```text
//! seed -> World: virtual time (tokio's, which goes on when nobody has anything to do)
//!               network: every byte is due at some time; links are slow, cut, broken off in mid-frame
//!               disks: a crash takes what was not synced
//!               whatever a node would draw
//! ```
//!
//! The world of a thread is found by those who need it where a real node would ask the system: to listen and
//! to dial, to draw what must be its own, to read the clock, to open a disk, and where the committer runs.
//! All else of a node does not know. A seed makes the same things happen whenever it is run. `select!` in
//! crates of others takes turns by chance, and their headers tell the time: nothing is left to depend
//! on either, as far as is known, and whoever runs a seed twice sees if something does.

mod chance;
mod disk;
mod fuse;
mod network;
mod socket;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dynamo_protocol::NodeId;
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use self::fuse::Fuse;
use crate::config::Options;
use crate::server::{Running, StartError, start_on};
use crate::storage::{Engine, EngineError};

pub use chance::Chance;
pub use disk::{Disk, Sync};
pub use fuse::{Point, When, Work};
pub(crate) use network::Socket;
pub use network::{Carried, End, Network, Weather};

/// When worlds begin, since 1970: no clock of theirs reads the machine's.
const BEGINNING: Duration = Duration::from_secs(1_800_000_000);

thread_local! {
    static HERE: RefCell<Option<World>> = const { RefCell::new(None) };
}

/// A world: see the [module](self). Cheap to clone.
#[derive(Clone)]
pub struct World(Arc<Inside>);

struct Inside {
    begin: Instant,
    network: Network,
    drawn: Mutex<Chance>,
    /// By the folder in which a real engine would have its files.
    disks: Mutex<BTreeMap<PathBuf, Disk>>,
    fuse: Fuse,
    /// How long a disk takes for half of a commit, in microseconds.
    pace: Mutex<[u64; 2]>,
}

/// How a node stops without being asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Its process ends, and its machine says so to whoever is connected.
    Killed,
    /// Its machine ends: nobody is told, and what was not synced is gone.
    Power,
}

/// How long a committer's disk takes.
pub(crate) struct Pace {
    chance: Chance,
    micros: [u64; 2],
}

/// Runs `work` in a world of its own, under virtual time.
///
/// # Errors
/// If the system has no runtime.
pub fn run<T, F: Future<Output = T>>(seed: u64, work: impl FnOnce(World) -> F) -> io::Result<T> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let _here = Here;
    let done = runtime.block_on(async {
        let mut chance = Chance::new(seed);
        let (network, drawn) = (Network::new(chance.branch()), Mutex::new(chance.branch()));
        let (disks, pace) = (Mutex::default(), Mutex::new([0, 1]));
        let begin = Instant::now();
        let fuse = Fuse::default();
        let world = World(Arc::new(Inside { begin, network, drawn, disks, fuse, pace }));
        let carrier = tokio::spawn(world.network().clone().carry());
        HERE.set(Some(world.clone()));
        let done = work(world).await;
        carrier.abort();
        done
    });
    // What is left of nodes ends in their world.
    drop(runtime);
    Ok(done)
}

/// While there is one this thread may have a world.
struct Here;

impl Drop for Here {
    fn drop(&mut self) {
        HERE.set(None);
    }
}

impl World {
    /// Its network.
    #[must_use]
    pub fn network(&self) -> &Network {
        &self.0.network
    }

    /// Virtual time since it began.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.0.begin.elapsed()
    }

    /// From now on a disk takes from the first to the second, in microseconds, for half of a commit.
    pub fn set_disks(&self, micros: [u64; 2]) {
        *locked(&self.0.pace) = micros;
    }

    /// The disk of the node with this data directory: of its engine, that is.
    #[must_use]
    pub fn disk(&self, directory: &Path) -> Disk {
        let folder = directory.join(crate::storage::ENGINE);
        let mut chance = locked(&self.0.drawn);
        let made = || Disk::new(chance.branch(), self.0.fuse.clone());
        locked(&self.0.disks).entry(folder).or_insert_with(made).clone()
    }

    /// The machine whose disk does what `point` says loses power then: the disk is gone for whoever has it,
    /// and whoever has the machine crashes it, [`Crash::Power`].
    pub fn cut_power_at(&self, point: Point) {
        self.0.fuse.set(point);
    }

    /// Until that has happened. It is told once.
    pub async fn power_cut(&self) {
        self.0.fuse.blows().await;
    }

    /// What all disks did so far, in order.
    #[must_use]
    pub fn disk_work(&self) -> Vec<Work> {
        self.0.fuse.done()
    }

    /// Starts a node; its peers dial it by [`Network::address`].
    ///
    /// # Errors
    /// As [`crate::start`].
    pub async fn start(&self, options: Options) -> Result<Running, StartError> {
        let node = options.me;
        let accepted = UnboundedReceiverStream::new(self.network().listen(node)).map(Ok);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, node.0));
        let started = start_on(options, address, accepted).await;
        if started.is_err() {
            self.network().fall_silent(node, false);
        }
        started
    }

    /// Ends a node where it stands.
    pub fn crash(&self, node: NodeId, directory: &Path, running: Running, how: Crash) {
        self.network().fall_silent(node, how == Crash::Power);
        running.abort();
        self.disk(directory).crash(how == Crash::Power);
    }
}

fn locked<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

fn here() -> Option<World> {
    HERE.with_borrow(Clone::clone)
}

/// Whether this thread simulates a world.
pub(crate) fn is_here() -> bool {
    HERE.with_borrow(Option::is_some)
}

/// What is drawn in this thread's world, if it has one.
pub(crate) fn draw() -> Option<u64> {
    HERE.with_borrow(|world| world.as_ref().map(|world| locked(&world.0.drawn).draw()))
}

/// What its clocks read.
pub(crate) fn time() -> Option<Duration> {
    HERE.with_borrow(|world| world.as_ref().map(|world| BEGINNING + world.now()))
}

/// Whether it has a disk there.
pub(crate) fn has_disk(folder: &Path) -> bool {
    here().is_some_and(|world| locked(&world.0.disks).contains_key(folder))
}

/// Takes the disk there into use.
pub(crate) fn mount(folder: &Path) -> Result<Arc<dyn Engine>, EngineError> {
    let disk = here().and_then(|world| locked(&world.0.disks).get(folder).cloned());
    let none = || EngineError::Io("no disk is simulated here".to_owned());
    // The folder says that an engine was made in it.
    let made = std::fs::create_dir_all(folder);
    made.map_err(|error| EngineError::Io(error.to_string()))?;
    Ok(Arc::new(disk.ok_or_else(none)?.mount()?))
}

/// Connects to the node at `address`, within `patience`.
pub(crate) async fn connect(
    endpoint: Endpoint,
    address: &str,
    patience: Duration,
) -> Result<Channel, tonic::transport::Error> {
    let address = address.to_owned();
    let dial = move |_: Uri| {
        let address = address.clone();
        async move {
            let network = here().map(|world| world.network().clone());
            let network = network.ok_or_else(|| io::Error::other("the world is gone"))?;
            let dialled = tokio::time::timeout(patience, network.dial(&address)).await;
            let late = || io::Error::new(io::ErrorKind::TimedOut, "nobody answers the dial");
            dialled.map_err(|_| late())?.map(TokioIo::new)
        }
    };
    endpoint.connect_with_connector(service_fn(dial)).await
}

impl Pace {
    /// That of this thread's world.
    pub(crate) fn here() -> Option<Self> {
        let world = here()?;
        let chance = locked(&world.0.drawn).branch();
        let micros = *locked(&world.0.pace);
        Some(Self { chance, micros })
    }

    /// Half of a commit.
    pub(crate) async fn passes(&mut self) {
        let [least, most] = self.micros;
        let micros = self.chance.within(least, most);
        if micros > 0 {
            tokio::time::sleep(Duration::from_micros(micros)).await;
        }
    }
}
