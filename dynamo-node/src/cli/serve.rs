//! `serve`: a node as a process.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use dynamo_protocol::{Member, NodeId, Settings, View, ViewError, Zone};
use dyno_command::{Span, document, output, span_within, within};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::security::SecurityArgs;
use super::settings::{self, SettingFlags, TimingFlags, by_flag};
use super::{Failure, parent};
use crate::config::{DEFAULT_CLUSTER, Durability, Options, Storage};
use crate::driver::Fatal;
use crate::join::{Join, JoinError, free_id};
use crate::server::{Ended, Running, StartError, start};
use crate::storage::{Directory, EngineKind};
use crate::transport::is_address;

/// How much longer than a request's deadline a node that was told to stop may take.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// Arguments of `serve`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "A cluster begins with its genesis: each of its members is started once with --genesis, \
    --members and a --peer for each other one. From then on a directory knows the membership, and where its \
    members are reached: `serve --data DIR` is enough. A node that comes later needs one member's address: \
    --join."
)]
pub struct ServeArgs {
    /// The members of the cluster's genesis, this node too: repeated, or separated by commas. A directory
    /// that knows the membership needs no such list. ID@ZONE is a member in that zone (a number): the homes
    /// of a key are in as many zones as there are.
    #[arg(
        long = "member",
        alias = "members",
        value_delimiter = ',',
        value_name = "ID[@ZONE]",
        value_parser = member
    )]
    members: Vec<(NodeId, Option<Zone>)>,
    /// First start of a new cluster: an empty directory has forgotten nothing. Without it, a node on an
    /// empty directory is amnesiac: it takes puts, but its answers to gets do not count.
    #[arg(long)]
    genesis: bool,
    /// Become a member of a cluster that runs, through a member at this address, HOST:PORT; several,
    /// separated by commas, are asked in turn. Of a node that is a member already it means nothing.
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',', conflicts_with_all = ["members", "genesis"])]
    join: Vec<String>,
    /// With --join: a member lost its directory, and goes on with this one in its place.
    #[arg(long, requires = "join")]
    replace: bool,
    /// With --join: the zone (a number) that it stands in, as in ID@ZONE.
    #[arg(long, requires = "join", conflicts_with = "replace")]
    zone: Option<u16>,
    /// With --replace: if no majority of the members is left to decide on it, the member that is asked does,
    /// by itself.
    #[arg(long, requires = "replace")]
    force_epoch: bool,
    #[command(flatten)]
    node: NodeArgs,
}

/// Arguments of `check-config`: those of `serve`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Looks at flags, at the environment and at the file, and at the files that these name. No \
    directory is opened, and nothing listens."
)]
pub struct CheckConfigArgs {
    #[command(flatten)]
    serve: ServeArgs,
    /// Print it as one line of JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `join`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Runs the node, as `serve --join` does. What is interrupted goes on with the next start on \
    the same directory. The settings have to be those of the cluster. Nobody else is started anew."
)]
pub struct JoinArgs {
    /// A member's address, HOST:PORT; several, separated by commas, are asked in turn.
    #[arg(long = "seed", value_name = "ADDRESS", value_delimiter = ',', required = true)]
    seeds: Vec<String>,
    /// The zone (a number) that it stands in: the homes of a key are in as many zones as there are.
    #[arg(long)]
    zone: Option<u16>,
    #[command(flatten)]
    node: NodeArgs,
}

/// Arguments of `replace`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Runs the node, as `serve --join --replace` does: on an empty directory, in the place of \
    the one that is lost, which never counts again. The node keeps its number and its share of the ring."
)]
pub struct ReplaceArgs {
    /// Another member's address, HOST:PORT; several, separated by commas, are asked in turn.
    #[arg(long = "seed", value_name = "ADDRESS", value_delimiter = ',', required = true)]
    seeds: Vec<String>,
    /// If no majority of the members is left to decide on it, the member that is asked does, by itself. Only
    /// if the directories of the others are lost for good: one that comes back makes a second cluster of it.
    #[arg(long)]
    force_epoch: bool,
    #[command(flatten)]
    node: NodeArgs,
}

/// What every node is told that runs.
#[derive(Clone, Debug, Args)]
pub struct NodeArgs {
    /// A file that has what flags leave out: TOML, by their names. The environment comes before it, as in
    /// DYNAMO_CLUSTER, and flags before that.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// This node's number; by default that of the directory, or the lowest one that no member has.
    #[arg(long)]
    id: Option<u16>,
    /// The data directory; made if it is not there.
    #[arg(long, required_if_eq_any([("engine", "fjall"), ("engine", "redb")]))]
    data: Option<PathBuf>,
    /// Where to listen, HOST:PORT; port 0 takes a free one, which the ready line names.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// Where other members reach this node, HOST:PORT; by default where it listens.
    #[arg(long, value_name = "ADDRESS")]
    advertise: Option<String>,
    /// Virtual nodes: of each member at a genesis, of this one when it joins.
    #[arg(long, default_value_t = 64, value_parser = within(1, Member::MOST_TOKENS))]
    tokens: u16,
    /// Where to dial a peer, ID=HOST:PORT, whatever is heard of it; at a genesis once for each other member.
    #[arg(long = "peer", value_parser = peer)]
    peers: Vec<(NodeId, String)>,
    /// The cluster's name: nodes of another one are refused.
    #[arg(long, default_value = DEFAULT_CLUSTER)]
    cluster: String,
    #[command(flatten)]
    security: SecurityArgs,
    /// All settings of the cluster at once, as JSON: for programs. Other flags override it.
    #[arg(long, value_name = "JSON", value_parser = settings::json)]
    settings: Option<Settings>,
    #[command(flatten)]
    flags: SettingFlags,
    #[command(flatten)]
    timing: TimingFlags,
    /// How long a node that joins tries until it is decided, and one that takes the place of a lost directory
    /// until a member answers: that one serves while it waits to be named.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = patience())]
    join_within: Span,
    /// What keeps the records.
    #[arg(long, value_enum, default_value = "fjall")]
    engine: EngineKind,
    /// When a put counts as kept: synced by W nodes; by the one that coordinates it, while the others
    /// have it and sync it some 50 ms later; or held by W nodes that all sync it then.
    #[arg(long, value_enum, default_value = "sync")]
    durability: Durability,
    /// Answer Prometheus here, HOST:PORT, in plain HTTP; port 0 takes a free one, which the ready line names.
    #[arg(long, value_name = "ADDRESS")]
    metrics: Option<String>,
    /// Record every step of the protocol in this folder, to be replayed.
    #[arg(long)]
    record: Option<PathBuf>,
    /// What to log, as in `info` or `dynamo_node=debug`.
    #[arg(long, default_value = "info,fjall=warn,lsm_tree=warn")]
    log: String,
    /// How logs are written: lines for people, or JSON, an object a line.
    #[arg(long, value_enum, default_value = "text")]
    log_format: LogFormat,
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

/// See `--log-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    Text,
    Json,
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

fn patience() -> impl Fn(&str) -> Result<Span, String> + Clone + Send + Sync {
    span_within(Span::millis(1), Span::secs(3600))
}

/// How a node comes to be one of a cluster's.
enum Beginning {
    /// With the members of the genesis; there are none where the directory knows them.
    Members { ids: Vec<(NodeId, Option<Zone>)>, genesis: bool },
    /// Through a member of a cluster that runs.
    Join { seeds: Vec<String>, as_what: AsWhat },
}

/// As what a node comes to a cluster that runs.
#[derive(Clone, Copy)]
enum AsWhat {
    Newcomer {
        zone: Option<Zone>,
    },
    /// In the place of a lost directory, if need be without a vote.
    Replacement {
        forced: bool,
    },
}

/// A node that is to run.
pub(super) struct Serving {
    node: NodeArgs,
    beginning: Beginning,
}

impl From<ServeArgs> for Serving {
    fn from(args: ServeArgs) -> Self {
        let ServeArgs { members: ids, genesis, join: seeds, replace, zone, force_epoch, node } =
            args;
        let as_what = match replace {
            true => AsWhat::Replacement { forced: force_epoch },
            false => AsWhat::Newcomer { zone: zone.map(Zone) },
        };
        let beginning = match seeds.is_empty() {
            true => Beginning::Members { ids, genesis },
            false => Beginning::Join { seeds, as_what },
        };
        Self { node, beginning }
    }
}

impl From<JoinArgs> for Serving {
    fn from(JoinArgs { seeds, zone, node }: JoinArgs) -> Self {
        let as_what = AsWhat::Newcomer { zone: zone.map(Zone) };
        Self { node, beginning: Beginning::Join { seeds, as_what } }
    }
}

impl From<ReplaceArgs> for Serving {
    fn from(ReplaceArgs { seeds, force_epoch, node }: ReplaceArgs) -> Self {
        let as_what = AsWhat::Replacement { forced: force_epoch };
        Self { node, beginning: Beginning::Join { seeds, as_what } }
    }
}

impl NodeArgs {
    fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.filter(|threads| *threads > 0).unwrap_or_else(cores)
    }

    /// The number that the directory belongs to, if there is one.
    fn id_of_the_directory(&self) -> Result<Option<NodeId>, Failure> {
        let path = self.data.as_ref().filter(|_| self.engine != EngineKind::Memory);
        let path = path.filter(|path| path.exists());
        path.map_or(Ok(None), |path| Directory::node(path).map_err(Failure::failed))
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
        let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let written = match self.log_format {
            LogFormat::Text => layer.with_ansi(std::io::stderr().is_terminal()).boxed(),
            LogFormat::Json => layer.json().flatten_event(true).boxed(),
        };
        // A host that has a log already keeps it.
        let _ = tracing_subscriber::registry().with(filter).with(written).try_init();
        Ok(())
    }
}

impl CheckConfigArgs {
    pub(super) fn check(&self) -> Result<(), Failure> {
        Serving::from(self.serve.clone()).check()
    }

    pub(super) fn run(self) -> Result<(), Failure> {
        Serving::from(self.serve).tell(self.json)
    }
}

impl ServeArgs {
    pub(super) fn threads(&self) -> usize {
        self.node.threads()
    }
}

impl JoinArgs {
    pub(super) fn threads(&self) -> usize {
        self.node.threads()
    }
}

impl ReplaceArgs {
    pub(super) fn threads(&self) -> usize {
        self.node.threads()
    }
}

impl Serving {
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.node.log_filter()?;
        // Whose directory it is, and which number is free, is looked at when it starts.
        let any = match &self.beginning {
            Beginning::Members { ids, .. } => ids.first().map(|(id, _)| id.0),
            Beginning::Join { .. } => None,
        };
        self.options(NodeId(self.node.id.or(any).unwrap_or_default())).map(drop)
    }

    /// Says what a node would be started with, once all of it was found to do.
    fn tell(&self, json: bool) -> Result<(), Failure> {
        self.check()?;
        let node = &self.node;
        let options = self.options(NodeId(node.id.unwrap_or_default()))?;
        let data = options.storage.directory().map(|path| path.display().to_string());
        let told = json!({
            "id": node.id,
            "cluster": options.cluster,
            "listen": node.listen,
            "advertise": options.advertise,
            "metrics": options.metrics,
            "data": data,
            "durability": format!("{:?}", options.durability).to_lowercase(),
            "certificates": options.tls.is_some(),
            "context_key": options.seal.is_some(),
            "config": node.config.as_ref().map(|file| file.display().to_string()),
            "settings": options.settings,
        });
        if json {
            output::say(document("node check-config", None, told));
        } else {
            let lines = super::client::lines(&told);
            output::say(lines.join("\n"));
        }
        Ok(())
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        #[cfg(feature = "mutants")]
        self.node.seed_bug()?;
        self.check()?;
        self.node.start_log()?;
        if self.node.exit_with_stdin {
            parent::die_with_parent().map_err(Failure::failed)?;
        }
        let options = self.options(self.id().await?)?;
        let patience = options.settings.timing.deadline + STOP_GRACE;
        let listen = &self.node.listen;
        let listener = TcpListener::bind(listen).await;
        let listener = listener
            .map_err(|error| Failure::failed(format!("cannot listen on {listen}: {error}")))?;
        self.node.security.check_listens(listener.local_addr().map_err(Failure::failed)?)?;
        let mut running = start(options, listener).await.map_err(|error| match error {
            StartError::View(_)
            | StartError::NoAddress(_)
            | StartError::NotAPeer(_)
            | StartError::NoMembership
            | StartError::AnotherGenesis { .. }
            | StartError::Removed { .. }
            | StartError::Tls(_)
            | StartError::Advertise(_) => Failure::refused(error),
            StartError::Join(ref why) if !matches!(why, JoinError::TooLong { .. }) => {
                Failure::refused(error)
            }
            _ => Failure::failed(error),
        })?;
        // Before anybody is told that it is ready: who reads that may ask it to stop at once.
        let mut stop = Stop::listen().map_err(Failure::failed)?;
        say_ready(&running)?;
        tokio::select! {
            ended = running.ended() => return ended_by_itself(ended),
            () = stop.asked(self.node.exit_with_stdin) => {}
        }
        tracing::info!("stopping");
        running.begin_stop().await;
        match tokio::time::timeout(patience, running.ended()).await {
            Ok(ended) => ended.map_err(Failure::failed),
            Err(_) => Err(Failure::failed(format!("did not end within {patience:?}"))),
        }
    }

    async fn id(&self) -> Result<NodeId, Failure> {
        if let Some(id) = self.node.id {
            return Ok(NodeId(id));
        }
        if let Some(id) = self.node.id_of_the_directory()? {
            return Ok(id);
        }
        let tls = self.node.security.tls(&self.node.cluster)?;
        if let Some(node) = tls.as_ref().and_then(|tls| tls.node()) {
            return Ok(node);
        }
        match &self.beginning {
            Beginning::Members { .. } => {
                Err(Failure::refused("--id is missing: which of the members is this?"))
            }
            Beginning::Join { as_what: AsWhat::Replacement { .. }, .. } => {
                Err(Failure::refused("--id is missing: which member is replaced?"))
            }
            Beginning::Join { seeds, .. } => {
                free_id(seeds, self.node.join_within.0, tls).await.map_err(Failure::failed)
            }
        }
    }

    fn options(&self, me: NodeId) -> Result<Options, Failure> {
        let node = &self.node;
        let settings = node.settings();
        let view = self.genesis(&settings)?;
        let mut peers = BTreeMap::new();
        for (id, address) in &node.peers {
            if peers.insert(*id, address.clone()).is_some() {
                return Err(Failure::refused(format!("--peer {}: given twice", id.0)));
            }
        }
        if node.advertise.as_ref().is_some_and(|address| !is_address(address)) {
            return Err(Failure::refused("--advertise: not HOST:PORT"));
        }
        let mut options = Options { view, ..Options::without_view(me, settings, peers) };
        options.cluster.clone_from(&node.cluster);
        options.tls = node.security.tls(&node.cluster)?;
        options.seal = node.security.seal()?;
        options.metrics.clone_from(&node.metrics);
        options.durability = node.durability;
        options.advertise.clone_from(&node.advertise);
        options.record.clone_from(&node.record);
        match &self.beginning {
            Beginning::Members { genesis, .. } => options.genesis = *genesis,
            Beginning::Join { seeds, as_what } => {
                let (seeds, patience) = (seeds.clone(), node.join_within.0);
                let (zone, replace, forced) = match *as_what {
                    AsWhat::Newcomer { zone } => (zone, false, false),
                    AsWhat::Replacement { forced } => (None, true, forced),
                };
                let tokens = node.tokens;
                options.join = Some(Join { seeds, tokens, zone, replace, forced, patience });
            }
        }
        options.storage = match (node.engine, &node.data) {
            (EngineKind::Memory, _) => Storage::Memory,
            (EngineKind::Fjall, Some(path)) => Storage::Disk(path.clone()),
            (EngineKind::Redb, Some(path)) => Storage::Redb(path.clone()),
            #[cfg(feature = "simulation")]
            (EngineKind::Simulated, Some(path)) => Storage::Simulated(path.clone()),
            (_, None) => {
                return Err(Failure::refused("--data is missing"));
            }
        };
        #[cfg(feature = "faults")]
        {
            options.fault_hooks = node.fault_hooks;
            let identity = node.identity.map(dynamo_protocol::Identity);
            let spare = node.spare.map(dynamo_protocol::Identity);
            let nonces = |incarnation| crate::stepped::Nonces {
                identity,
                incarnation,
                spare,
                counts: node.counts,
            };
            options.stepped = node.stepped.map(nonces);
        }
        Ok(options)
    }

    fn check_seeds(&self) -> Result<(), Failure> {
        let Beginning::Join { seeds, .. } = &self.beginning else { return Ok(()) };
        match seeds.iter().find(|seed| !is_address(seed)) {
            Some(seed) => Err(Failure::refused(format!("{seed}: a member's address is HOST:PORT"))),
            None => Ok(()),
        }
    }

    /// The members it is told; none if its directory is to know them.
    fn genesis(&self, settings: &Settings) -> Result<Option<View>, Failure> {
        let by_its_flag = |error| match error {
            ViewError::Settings(error) => Failure::refused(by_flag(&error)),
            ViewError::TooFew { n, members } => {
                Failure::refused(format!("-n {n}: from 1 to {members}, the number of nodes"))
            }
            error => Failure::refused(error),
        };
        let Beginning::Members { ids, .. } = &self.beginning else {
            self.check_seeds()?;
            settings.check().map_err(|error| by_its_flag(error.into()))?;
            return Ok(None);
        };
        if ids.is_empty() {
            settings.check().map_err(|error| by_its_flag(error.into()))?;
            return match self.node.data.as_ref().is_some_and(|path| path.exists()) {
                true => Ok(None),
                false => Err(Failure::refused(StartError::NoMembership)),
            };
        }
        let member = |&(id, zone): &_| Member::new(id, self.node.tokens).in_zone(zone);
        let view = View::genesis(settings, ids.iter().map(member).collect());
        let view = view.map_err(by_its_flag)?;
        match self.node.id.map(NodeId).filter(|id| !view.contains(*id)) {
            Some(id) => Err(Failure::refused(ViewError::NotAMember(id))),
            None => Ok(Some(view)),
        }
    }
}

/// A node whose directory was removed from the membership has nothing left to do: it ends in order.
fn ended_by_itself(ended: Result<(), Ended>) -> Result<(), Failure> {
    match ended {
        Err(Ended::Fatal(removed @ Fatal::Removed { .. })) => {
            output::note(removed);
            Ok(())
        }
        Err(unnamed @ Ended::Unnamed(_)) => Err(Failure::refused(unnamed)),
        ended => ended.map_err(Failure::failed),
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
            "metrics": running.metrics().map(|address| address.to_string()),
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
