//! Node processes on loopback that speak to each other directly, and clients of them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use dynamo_node::cli::SettingFlags;
use dynamo_node::{
    Admin, Client, ClientError, ClusterClient, DEFAULT_CLUSTER, Got, Role, Tls, TlsFiles, Written,
};
use dynamo_protocol::{NodeId, Settings};
use dyno_command::within;
use serde::Serialize;
use tempfile::TempDir;

use super::load::{Ending, Store};
use super::ports::Port;
use super::{Failure, broken};
use crate::hosts::certificates::Certificates;
use crate::hosts::process::{Life, Process};

/// How long a node may take until it serves.
const START: Duration = Duration::from_secs(30);
/// A put overwrites what was last read of its key, or written if it stood alone then. Puts of one key that
/// are under way at once leave siblings: after so many of which nobody read the key is read before the next
/// one, or puts would be refused for them.
const UNREAD: u32 = 8;
/// Virtual nodes of each.
const TOKENS: u16 = 64;

/// What keeps the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Engine {
    /// Nothing survives a process.
    Memory,
    /// A log-structured merge tree on disk.
    Fjall,
    /// A B-tree on disk.
    Redb,
}

/// When a put counts as kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Durability {
    /// When W nodes have synced it.
    Sync,
    /// When one has, and W hold it.
    One,
    /// When W hold it; it is synced a little later.
    Buffered,
}

/// Who coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Coordination {
    /// Any node: it forwards what is not its own.
    Server,
    /// The client asks a home of the key.
    Driven,
}

/// The cluster that is measured.
#[derive(Clone, Debug, Args)]
pub(super) struct NodesArgs {
    /// How many nodes.
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = within(1_u16, 100))]
    pub(super) nodes: u16,
    #[command(flatten)]
    pub(super) settings: SettingFlags,
    /// Threads of each node that serve; by default the cores are shared out among the nodes, which have one
    /// at least.
    #[arg(long, value_name = "COUNT", value_parser = within(1_u16, 256))]
    pub(super) threads: Option<u16>,
    /// Where data directories are made, and removed again; by default where the system has temporary files.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
    /// Whose nodes are measured: the `dyno` or the `dynamo-node` of another build, to be compared with this
    /// one's.
    #[arg(long, value_name = "FILE")]
    pub(super) program: Option<PathBuf>,
}

impl NodesArgs {
    pub(super) fn settings(&self) -> Result<Settings, String> {
        let mut settings = Settings::default();
        self.settings.apply(&mut settings);
        settings.check().map_err(|error| error.to_string())?;
        if settings.n > usize::from(self.nodes) {
            let (n, nodes) = (settings.n, self.nodes);
            return Err(format!(
                "--nodes {nodes}: a key has -n {n} homes: give as many nodes at least"
            ));
        }
        Ok(settings)
    }
}

/// A folder that goes when this is dropped.
pub(super) fn folder(dir: Option<&Path>) -> Result<TempDir, Failure> {
    let made = match dir {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    };
    made.map_err(|error| match dir {
        Some(dir) => Failure::Refused(format!("--dir {}: {error}", dir.display())),
        None => broken("make a folder", &error),
    })
}

/// How nodes are started, beside what is measured of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deploy {
    /// With fault hooks, and asked to be ready for a power cut.
    pub(super) hooks: bool,
    /// All of them on this core alone.
    pub(super) core: Option<usize>,
    /// Every connection over TLS, both ends with certificates.
    pub(super) tls: bool,
    /// They tell what they measure of themselves.
    pub(super) metrics: bool,
}

/// A cluster: nodes that run, until this is dropped.
pub(super) struct Nodes {
    starts: Starts,
    processes: Vec<Process>,
    _ports: Vec<Port>,
}

/// What starts a node, now and again.
struct Starts {
    args: NodesArgs,
    kept: (Engine, Durability),
    deploy: Deploy,
    settings: Settings,
    addresses: Vec<SocketAddr>,
    /// Where they tell what they measure, if they do.
    metrics: Vec<SocketAddr>,
    certificates: Option<Certificates>,
    folder: TempDir,
}

impl Nodes {
    /// Starts a new cluster.
    pub(super) async fn start(
        args: &NodesArgs,
        kept: (Engine, Durability),
        deploy: Deploy,
    ) -> Result<Self, Failure> {
        let settings = args.settings().map_err(Failure::Refused)?;
        let folder = folder(args.dir.as_deref())?;
        let count = usize::from(args.nodes);
        let ports = if deploy.metrics { 2 * count } else { count };
        let ports = Port::several(ports).map_err(|error| broken("find ports", &error))?;
        let mut addresses: Vec<_> = ports.iter().map(Port::address).collect();
        let metrics = addresses.split_off(count);
        let certificates =
            deploy.tls.then(|| certificates(folder.path(), args.nodes)).transpose()?;
        let args = args.clone();
        let starts =
            Starts { args, kept, deploy, settings, addresses, metrics, certificates, folder };
        let started = (1..=starts.args.nodes).map(|id| starts.start(id, true));
        let started = futures::future::join_all(started).await;
        let processes = started.into_iter().collect::<Result<_, _>>()?;
        Ok(Self { starts, processes, _ports: ports })
    }

    /// Their processes.
    pub(super) fn pids(&self) -> Result<Vec<u32>, Failure> {
        (1..=self.starts.args.nodes).map(|id| self.pid(id)).collect()
    }

    /// The process of one.
    pub(super) fn pid(&self, id: u16) -> Result<u32, Failure> {
        match self.processes[usize::from(id) - 1].life() {
            Life::Runs(pid) => Ok(pid),
            _ => Err(Failure::Broken(format!("node {id} has ended"))),
        }
    }

    /// Where a node is reached.
    pub(super) fn address(&self, id: u16) -> SocketAddr {
        self.starts.addresses[usize::from(id) - 1]
    }

    /// Where they tell what they measure of themselves, if they do.
    pub(super) fn metrics(&self) -> &[SocketAddr] {
        &self.starts.metrics
    }

    /// All their numbers.
    pub(super) fn ids(&self) -> impl Iterator<Item = u16> + use<> {
        1..=self.starts.args.nodes
    }

    /// Ends these at once, all at the same time; what they had not synced is another question.
    pub(super) async fn kill(&self, ids: &[u16]) {
        let process = |id: &u16| &self.processes[usize::from(*id) - 1];
        futures::future::join_all(ids.iter().map(|id| process(id).kill())).await;
    }

    /// Starts one again that has ended, on the disk that it had.
    pub(super) async fn restart(&mut self, id: u16) -> Result<(), Failure> {
        self.processes[usize::from(id) - 1] = self.starts.start(id, false).await?;
        Ok(())
    }

    /// The disk of one that has ended is lost.
    pub(super) fn wipe(&self, id: u16) -> Result<(), Failure> {
        let wiped = std::fs::remove_dir_all(self.starts.data(id));
        wiped.map_err(|error| broken("empty a directory", &error))
    }

    /// An operator's way to a node.
    pub(super) fn admin(&self, id: u16) -> Result<Admin, Failure> {
        Ok(Admin::new(self.address(id).to_string()).over(self.starts.tls(Role::Operator)?))
    }

    /// A client for each of `callers`: those of one node, or of the cluster, share a session.
    pub(super) fn clients(&self, callers: usize, by: Coordination) -> Result<Vec<Caller>, Failure> {
        let tls = self.starts.tls(Role::Client)?;
        let addresses = || self.starts.addresses.iter().map(ToString::to_string);
        let clients: Vec<_> = match (by, tls) {
            (Coordination::Server, None) => {
                addresses().map(|at| Asks::Node(Client::new(at))).collect()
            }
            (Coordination::Server, Some(tls)) => {
                addresses().map(|at| Asks::Node(Client::over_tls(at, Arc::clone(&tls)))).collect()
            }
            (Coordination::Driven, None) => vec![Asks::Homes(ClusterClient::new(addresses()))],
            (Coordination::Driven, Some(tls)) => {
                vec![Asks::Homes(ClusterClient::over_tls(addresses(), tls))]
            }
        };
        let read = Rc::<RefCell<HashMap<String, Read>>>::default();
        let caller = |client: &Asks| Caller { client: client.clone(), read: Rc::clone(&read) };
        Ok(clients.iter().cycle().take(callers).map(caller).collect())
    }
}

/// An authority, and what it signed for so many nodes.
fn certificates(folder: &Path, nodes: u16) -> Result<Certificates, Failure> {
    let made = Certificates::new(&folder.join("tls"), DEFAULT_CLUSTER).map_err(Failure::Broken)?;
    for id in (1..=nodes).map(NodeId) {
        made.sign(Role::Peer(id)).map_err(Failure::Broken)?;
    }
    Ok(made)
}

impl Starts {
    fn data(&self, id: u16) -> PathBuf {
        self.folder.path().join(id.to_string())
    }

    /// As whom a caller connects, if it has to say.
    fn tls(&self, role: Role) -> Result<Option<Arc<Tls>>, Failure> {
        let tls = self.certificates.as_ref().map(|made| made.of(role)).transpose();
        tls.map_err(Failure::Broken)
    }

    async fn start(&self, id: u16, genesis: bool) -> Result<Process, Failure> {
        let log = self.folder.path().join(format!("{id}.log"));
        let file = File::options().create(true).append(true).open(&log);
        let file = file.map_err(|error| broken("write a log", &error))?;
        let started = Process::start(self.command(id, genesis)?, file, START).await;
        started.map(|(process, _)| process).map_err(|why| {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let last = said.lines().next_back().unwrap_or_default();
            Failure::Broken(format!("node {id} did not start: {why}: {last}"))
        })
    }

    fn command(&self, id: u16, genesis: bool) -> Result<Command, Failure> {
        let program = match &self.args.program {
            Some(program) => program.clone(),
            None => std::env::current_exe().map_err(|error| broken("find this program", &error))?,
        };
        let is_node_alone = program.file_stem().is_some_and(|name| name == "dynamo-node");
        let mut command = match self.deploy.core {
            None => Command::new(program),
            Some(core) => {
                let mut command = Command::new("taskset");
                command.args(["--cpu-list", &core.to_string()]).arg(program);
                command
            }
        };
        command.args(Some("node").filter(|_| !is_node_alone));
        command.args(["serve", "--exit-with-stdin", "--log", "warn"]);
        let members: Vec<_> = (1..=self.args.nodes).map(|id| id.to_string()).collect();
        let mut set = |flag: &str, value: String| {
            command.args([flag, &value]);
        };
        let settings =
            serde_json::to_string(&self.settings).map_err(|error| broken("say", &error))?;
        set("--members", members.join(","));
        set("--id", id.to_string());
        set("--listen", self.addresses[usize::from(id) - 1].to_string());
        set("--tokens", TOKENS.to_string());
        set("--settings", settings);
        if let Some(metrics) = self.metrics.get(usize::from(id) - 1) {
            set("--metrics", metrics.to_string());
        }
        for (peer, address) in (1..).zip(&self.addresses).filter(|(peer, _)| *peer != id) {
            set("--peer", format!("{peer}={address}"));
        }
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let share = || (cores() / usize::from(self.args.nodes)).max(1);
        set("--threads", self.args.threads.map_or_else(share, usize::from).to_string());
        let (engine, durability) = self.kept;
        set("--engine", engine.word().to_owned());
        set("--durability", durability.word().to_owned());
        set("--data", self.data(id).display().to_string());
        if let Some(made) = &self.certificates {
            let TlsFiles { certificate, key, authority } = made.files(Role::Peer(NodeId(id)));
            for (flag, file) in
                [("--tls-certificate", certificate), ("--tls-key", key), ("--tls-ca", authority)]
            {
                set(flag, file.display().to_string());
            }
        }
        command.args(genesis.then_some("--genesis"));
        command.args(self.deploy.hooks.then_some("--fault-hooks"));
        Ok(command)
    }
}

impl Engine {
    fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Fjall => "fjall",
            Self::Redb => "redb",
        }
    }
}

impl Durability {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::One => "one",
            Self::Buffered => "buffered",
        }
    }
}

/// What was last read of a key.
#[derive(Debug, Default)]
struct Read {
    context: Bytes,
    /// Puts since then.
    unread: u32,
}

/// Whom a caller asks.
#[derive(Clone)]
enum Asks {
    /// One node, whatever the key.
    Node(Client),
    /// A home of the key.
    Homes(ClusterClient),
}

impl Asks {
    async fn get(&self, key: String) -> Result<Got, ClientError> {
        match self {
            Self::Node(client) => client.get(key).await,
            Self::Homes(client) => client.get(key).await,
        }
    }

    async fn put(&self, key: String, context: Bytes, value: Bytes) -> Result<Written, ClientError> {
        match self {
            Self::Node(client) => client.put(key, context, value).await,
            Self::Homes(client) => client.put(key, context, value).await,
        }
    }
}

/// A caller of a node.
pub(super) struct Caller {
    client: Asks,
    /// Of all callers.
    read: Rc<RefCell<HashMap<String, Read>>>,
}

impl Caller {
    async fn read(&self, key: &str) -> Result<(), ClientError> {
        let got = self.client.get(key.to_owned()).await?;
        let read = Read { context: got.context, unread: 0 };
        self.read.borrow_mut().insert(key.to_owned(), read);
        Ok(())
    }

    /// What a put of `key` overwrites; none if the key has to be read first.
    fn context(&self, key: &str) -> Option<Bytes> {
        let mut all = self.read.borrow_mut();
        let read = match all.get_mut(key) {
            Some(read) => read,
            None => all.entry(key.to_owned()).or_default(),
        };
        read.unread += 1;
        (read.unread <= UNREAD).then(|| read.context.clone())
    }
}

impl Store for Caller {
    async fn put(&self, key: &str, value: Bytes) -> Ending {
        let context = match self.context(key) {
            Some(context) => context,
            None => match self.read(key).await {
                Ok(()) => self.context(key).unwrap_or_default(),
                Err(error) => return ending(&Err(error)),
            },
        };
        let put = self.client.put(key.to_owned(), context, value).await;
        if let Ok(Written { context: Some(context) }) = &put {
            let read = Read { context: context.clone(), unread: 0 };
            self.read.borrow_mut().insert(key.to_owned(), read);
        }
        ending(&put.map(drop))
    }

    async fn get(&self, key: &str) -> Ending {
        ending(&self.read(key).await)
    }
}

fn ending(ended: &Result<(), ClientError>) -> Ending {
    match ended {
        Ok(()) => Ending::Done,
        Err(ClientError::Refused(_) | ClientError::Overloaded { .. }) => Ending::Refused,
        Err(ClientError::Indeterminate(_)) => Ending::Unanswered,
    }
}
