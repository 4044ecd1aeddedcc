//! `serve`: a node as a process.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use dynamo_protocol::{Member, NodeId, Settings, View, ViewError, Zone};
use dyno_command::{document, within};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::settings::{self, SettingFlags, TimingFlags, by_flag};
use super::{Failure, parent};
use crate::config::{DEFAULT_CLUSTER, Options, Storage};
use crate::server::{Running, start};
use crate::storage::EngineKind;

/// How much longer than a request's deadline a node that was told to stop may take.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Arguments of `serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// This node's number.
    #[arg(long)]
    id: u16,
    /// The data directory; made if it is not there.
    #[arg(long, required_if_eq("engine", "fjall"))]
    data: Option<PathBuf>,
    /// Where to listen, HOST:PORT; port 0 takes a free one, which the ready line names.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// All members' numbers, this node's too: repeated, or separated by commas. ID@ZONE is a member in that
    /// zone (a number): the homes of a key are in as many zones as there are.
    #[arg(
        long = "member",
        alias = "members",
        value_delimiter = ',',
        required = true,
        value_name = "ID[@ZONE]",
        value_parser = member
    )]
    members: Vec<(NodeId, Option<Zone>)>,
    /// Virtual nodes of each member.
    #[arg(long, default_value_t = 64, value_parser = within(1, Member::MOST_TOKENS))]
    tokens: u16,
    /// Where to dial a peer, ID=HOST:PORT; once for each other member.
    #[arg(long = "peer", value_parser = peer)]
    peers: Vec<(NodeId, String)>,
    /// The cluster's name: nodes of another one are refused.
    #[arg(long, default_value = DEFAULT_CLUSTER)]
    cluster: String,
    /// All settings of the cluster at once, as JSON: for programs. Other flags override it.
    #[arg(long, value_name = "JSON", value_parser = settings::json)]
    settings: Option<Settings>,
    #[command(flatten)]
    flags: SettingFlags,
    #[command(flatten)]
    timing: TimingFlags,
    /// First start of a new cluster: an empty directory has forgotten nothing. Without it, a node on an
    /// empty directory is amnesiac: it takes puts, but its answers to gets do not count.
    #[arg(long)]
    genesis: bool,
    /// What keeps the records.
    #[arg(long, value_enum, default_value = "fjall")]
    engine: EngineKind,
    /// Record every step of the protocol in this folder, to be replayed.
    #[arg(long)]
    record: Option<PathBuf>,
    /// What to log, as in `info` or `dynamo_node=debug`.
    #[arg(long, default_value = "info,fjall=warn,lsm_tree=warn")]
    log: String,
    /// Threads that serve; by default as many as there are cores.
    #[arg(long, value_parser = within(0, MOST_THREADS))]
    threads: Option<usize>,
    /// End when standard input closes, or the parent process dies.
    #[arg(long)]
    exit_with_stdin: bool,
    /// Act on this seeded bug.
    #[cfg(feature = "mutants")]
    #[arg(long, value_name = "NAME", hide = true)]
    mutant: Option<String>,
    /// Obey requests that falsify the node's world: for test drivers only.
    #[cfg(feature = "faults")]
    #[arg(long)]
    fault_hooks: bool,
    /// Take no step but those a test driver asks for, under this nonce.
    #[cfg(feature = "faults")]
    #[arg(long, value_name = "INCARNATION", requires = "fault_hooks")]
    stepped: Option<u64>,
    /// The identity of a new directory, for a node that is stepped.
    #[cfg(feature = "faults")]
    #[arg(long, requires = "stepped")]
    identity: Option<u64>,
    /// The identity under which a directory that was rolled back goes on, for a node that is stepped.
    #[cfg(feature = "faults")]
    #[arg(long, requires = "stepped")]
    spare: Option<u64>,
    /// Tell peers how far the directory has come, for a node that is stepped.
    #[cfg(feature = "faults")]
    #[arg(long, requires = "stepped")]
    counts: bool,
}

/// More threads only wait for each other.
const MOST_THREADS: usize = 256;

fn member(text: &str) -> Result<(NodeId, Option<Zone>), String> {
    let (id, zone) = text.split_once('@').map_or((text, None), |(id, zone)| (id, Some(zone)));
    let id = id.parse().map_err(|_| format!("{id:?} is not a node's number"))?;
    let zone = zone
        .map(|zone| zone.parse().map(Zone).map_err(|_| format!("{zone:?} is not a zone's number")));
    Ok((NodeId(id), zone.transpose()?))
}

fn peer(text: &str) -> Result<(NodeId, String), String> {
    let (id, address) = text.split_once('=').ok_or("give ID=HOST:PORT")?;
    let id = id.parse().map_err(|_| format!("{id:?} is not a node's number"))?;
    let port = address.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(_)) => Ok((NodeId(id), address.to_owned())),
        _ => Err(format!("{address:?} is not HOST:PORT")),
    }
}

impl ServeArgs {
    pub(super) fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.filter(|threads| *threads > 0).unwrap_or_else(cores)
    }

    pub(super) fn check(&self) -> Result<(), Failure> {
        self.log_filter()?;
        self.options().map(drop)
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        #[cfg(feature = "mutants")]
        self.seed_bug()?;
        let options = self.options()?;
        self.start_log()?;
        if self.exit_with_stdin {
            parent::die_with_parent().map_err(Failure::failed)?;
        }
        let patience = options.settings.timing.deadline + STOP_GRACE;
        let listener = TcpListener::bind(&self.listen).await;
        let listener = listener.map_err(|error| {
            Failure::failed(format!("cannot listen on {}: {error}", self.listen))
        })?;
        let mut running = start(options, listener).await.map_err(|error| match error {
            crate::StartError::View(_)
            | crate::StartError::NoAddress(_)
            | crate::StartError::NotAPeer(_) => Failure::refused(error),
            _ => Failure::failed(error),
        })?;
        // Before anybody is told that it is ready: who reads that may ask it to stop at once.
        let mut stop = Stop::listen().map_err(Failure::failed)?;
        say_ready(&running)?;
        tokio::select! {
            ended = running.ended() => return ended.map_err(Failure::failed),
            () = stop.asked(self.exit_with_stdin) => {}
        }
        tracing::info!("stopping");
        running.begin_stop().await;
        match tokio::time::timeout(patience, running.ended()).await {
            Ok(ended) => ended.map_err(Failure::failed),
            Err(_) => Err(Failure::failed(format!("did not end within {patience:?}"))),
        }
    }

    fn options(&self) -> Result<Options, Failure> {
        let settings = self.settings();
        let member = |&(id, zone): &_| Member::new(id, self.tokens).in_zone(zone);
        let members = self.members.iter().map(member).collect();
        let view = View::genesis(&settings, members).map_err(|error| match error {
            ViewError::Settings(error) => Failure::refused(by_flag(&error)),
            ViewError::TooFew { n, members } => {
                Failure::refused(format!("-n {n}: from 1 to {members}, the number of nodes"))
            }
            error => Failure::refused(error),
        })?;
        if !view.contains(NodeId(self.id)) {
            return Err(Failure::refused(ViewError::NotAMember(NodeId(self.id))));
        }
        let mut peers = BTreeMap::new();
        for (id, address) in &self.peers {
            if peers.insert(*id, address.clone()).is_some() {
                return Err(Failure::refused(format!("--peer {}: given twice", id.0)));
            }
        }
        let mut options = Options::new(NodeId(self.id), settings, view, peers);
        options.cluster.clone_from(&self.cluster);
        options.genesis = self.genesis;
        options.record.clone_from(&self.record);
        options.storage = match (self.engine, &self.data) {
            (EngineKind::Memory, _) => Storage::Memory,
            (EngineKind::Fjall, Some(path)) => Storage::Disk(path.clone()),
            (EngineKind::Fjall, None) => return Err(Failure::refused("--data is missing")),
        };
        #[cfg(feature = "faults")]
        {
            options.fault_hooks = self.fault_hooks;
            let identity = self.identity.map(dynamo_protocol::Identity);
            let spare = self.spare.map(dynamo_protocol::Identity);
            let nonces = |incarnation| crate::stepped::Nonces {
                identity,
                incarnation,
                spare,
                counts: self.counts,
            };
            options.stepped = self.stepped.map(nonces);
        }
        Ok(options)
    }

    #[cfg(feature = "mutants")]
    fn seed_bug(&self) -> Result<(), Failure> {
        use dynamo_protocol::mutant::{Mutant, activate};
        let Some(name) = &self.mutant else { return Ok(()) };
        let found = Mutant::ALL.iter().copied().find(|mutant| mutant.name() == name);
        let unknown = || Failure::refused(format!("--mutant {name}: there is no such mutant"));
        activate(Some(found.ok_or_else(unknown)?));
        Ok(())
    }

    fn settings(&self) -> Settings {
        let mut settings = self.settings.unwrap_or_default();
        self.flags.apply(&mut settings);
        self.timing.apply(&mut settings.timing);
        settings
    }

    fn log_filter(&self) -> Result<Targets, Failure> {
        self.log.parse().map_err(|error| Failure::refused(format!("--log: {error}")))
    }

    fn start_log(&self) -> Result<(), Failure> {
        let filter = self.log_filter()?;
        let written = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal());
        // A host that has a log already keeps it.
        let _ = tracing_subscriber::registry().with(filter).with(written).try_init();
        Ok(())
    }
}

/// The one line on standard output: whoever started the node waits for it.
fn say_ready(running: &Running) -> Result<(), Failure> {
    let ready = document(
        "node serve",
        None,
        json!({ "ready": {
            "address": running.address().to_string(),
            "identity": running.identity().to_string(),
            "incarnation": running.incarnation(),
            "pid": std::process::id(),
        }}),
    );
    let mut output = std::io::stdout().lock();
    let written = writeln!(output, "{ready}").and_then(|()| output.flush());
    written.map_err(|error| Failure::failed(format!("cannot say that it is ready: {error}")))
}

/// The ways in which a node is asked to stop.
struct Stop {
    terminated: Signal,
    interrupted: Signal,
}

impl Stop {
    /// From now on a signal ends the node in order and no longer the process at once.
    fn listen() -> std::io::Result<Self> {
        let terminated = signal(SignalKind::terminate())?;
        Ok(Self { terminated, interrupted: signal(SignalKind::interrupt())? })
    }

    async fn asked(&mut self, with_stdin: bool) {
        tokio::select! {
            _ = self.terminated.recv() => {}
            _ = self.interrupted.recv() => {}
            () = parent::stdin_closed(), if with_stdin => {}
        }
    }
}
