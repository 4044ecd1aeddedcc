//! Node processes on loopback that speak to each other directly, and clients of them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, ValueEnum};
use dynamo_node::cli::SettingFlags;
use dynamo_node::{Client, ClientError, ClusterClient, Got};
use dynamo_protocol::Settings;
use dyno_command::within;
use serde::Serialize;
use tempfile::TempDir;

use super::load::{Ending, Store};
use super::ports::Port;
use super::{Failure, broken};
use crate::hosts::process::{Life, Process};

/// How long a node may take until it serves.
const START: Duration = Duration::from_secs(30);
/// A put overwrites what was last read of its key. After so many puts that nobody read, the key is read
/// before the next one: a client that only ever writes leaves siblings, until puts are refused for them.
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
    /// Threads of each node that serve; by default as many as there are cores.
    #[arg(long, value_name = "COUNT", value_parser = within(1_u16, 256))]
    pub(super) threads: Option<u16>,
    /// Where data directories are made, and removed again; by default where the system has temporary files.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
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

/// Nodes that run, until this is dropped.
pub(super) struct Nodes {
    processes: Vec<Process>,
    addresses: Vec<SocketAddr>,
    _ports: Vec<Port>,
    _folder: TempDir,
}

impl Nodes {
    /// Starts a new cluster.
    pub(super) async fn start(
        args: &NodesArgs,
        kept: (Engine, Durability),
    ) -> Result<Self, Failure> {
        let settings = args.settings().map_err(Failure::Refused)?;
        let folder = folder(args.dir.as_deref())?;
        let ports =
            Port::several(args.nodes.into()).map_err(|error| broken("find ports", &error))?;
        let addresses: Vec<_> = ports.iter().map(Port::address).collect();
        let starts = (1..=args.nodes).map(|id| {
            let command = command(args, kept, &settings, id, &addresses, folder.path());
            let log = folder.path().join(format!("{id}.log"));
            async move {
                let file = File::create(&log).map_err(|error| broken("write a log", &error))?;
                let started = Process::start(command?, file, START).await;
                started.map(|(process, _)| process).map_err(|why| {
                    let said = std::fs::read_to_string(&log).unwrap_or_default();
                    let last = said.lines().next_back().unwrap_or_default();
                    Failure::Broken(format!("node {id} did not start: {why}: {last}"))
                })
            }
        });
        let started = futures::future::join_all(starts).await;
        let processes = started.into_iter().collect::<Result<_, _>>()?;
        Ok(Self { processes, addresses, _ports: ports, _folder: folder })
    }

    /// Their processes.
    pub(super) fn pids(&self) -> Result<Vec<u32>, Failure> {
        let pid = |process: &Process| match process.life() {
            Life::Runs(pid) => Ok(pid),
            _ => Err(Failure::Broken("a node has ended".to_owned())),
        };
        self.processes.iter().map(pid).collect()
    }

    /// A client for each of `callers`: those of one node, or of the cluster, share a session.
    pub(super) fn clients(&self, callers: usize, by: Coordination) -> Vec<Caller> {
        let addresses = || self.addresses.iter().map(ToString::to_string);
        let clients: Vec<_> = match by {
            Coordination::Server => addresses().map(|at| Asks::Node(Client::new(at))).collect(),
            Coordination::Driven => vec![Asks::Homes(ClusterClient::new(addresses()))],
        };
        let read = Rc::<RefCell<HashMap<String, Read>>>::default();
        let caller = |client: &Asks| Caller { client: client.clone(), read: Rc::clone(&read) };
        clients.iter().cycle().take(callers).map(caller).collect()
    }
}

fn command(
    args: &NodesArgs,
    (engine, durability): (Engine, Durability),
    settings: &Settings,
    id: u16,
    addresses: &[SocketAddr],
    folder: &Path,
) -> Result<Command, Failure> {
    let own = std::env::current_exe().map_err(|error| broken("find this program", &error))?;
    let mut command = Command::new(own);
    command.args(["node", "serve", "--genesis", "--exit-with-stdin", "--log", "warn"]);
    let members: Vec<_> = (1..=args.nodes).map(|id| id.to_string()).collect();
    let mut set = |flag: &str, value: String| {
        command.args([flag, &value]);
    };
    set("--members", members.join(","));
    set("--id", id.to_string());
    set("--listen", addresses[usize::from(id) - 1].to_string());
    set("--tokens", TOKENS.to_string());
    set("--settings", serde_json::to_string(settings).map_err(|error| broken("say", &error))?);
    for (peer, address) in (1..).zip(addresses).filter(|(peer, _)| *peer != id) {
        set("--peer", format!("{peer}={address}"));
    }
    if let Some(threads) = args.threads {
        set("--threads", threads.to_string());
    }
    let engine = match engine {
        Engine::Memory => "memory",
        Engine::Fjall => "fjall",
        Engine::Redb => "redb",
    };
    set("--engine", engine.to_owned());
    let durability = match durability {
        Durability::Sync => "sync",
        Durability::One => "one",
        Durability::Buffered => "buffered",
    };
    set("--durability", durability.to_owned());
    command.arg("--data").arg(folder.join(id.to_string()));
    Ok(command)
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

    async fn put(&self, key: String, context: Bytes, value: Bytes) -> Result<(), ClientError> {
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
        ending(&self.client.put(key.to_owned(), context, value).await)
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
