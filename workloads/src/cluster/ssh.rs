//! A cluster of hosts reached by SSH: a node and an agent on each.
//!
//! The links between nodes are the hosts' own, broken by their agents; the clients' links end at the
//! driver and go through its proxy, as in a local cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dynamo_node::{Hooked, Hooks, Proposed, RingReport};
use dynamo_protocol::membership::Edit;
use dynamo_protocol::{Epoch, NodeId, Skew};
use futures::future::{join_all, select_all, try_join_all};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::arguments::{Arguments, Beginning};
use super::members::Members;
use super::{Cluster, ClusterError, Deployed, Life, Mishap, Origin, Status, clients};
use crate::hosts::agent::{
    Answer, Fact, Gate, Handle, Hello, Means, NodeLife, NodeSpec, PIECE, Peer, Probe, Probed,
    Request, Terms, Welcome, Whose,
};
use crate::hosts::disk::Damage;
use crate::hosts::proxy::{End, FaultId, Net, Observed, Pair, Ping, Shape, Way};
use crate::hosts::remote::{Binary, Host, Inventory, RemoteError, Secret, Ssh, unique};
use crate::plan::{ClusterPlan, FaultName, Plan};
use dyno_command::one_line;

/// How long a node may take until it serves. Long: it syncs its disk, and the host may be busy.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long a host may take to be reached.
const REACH: Duration = Duration::from_secs(10);
/// How often nodes are looked after and their logs fetched.
const EVERY: Duration = Duration::from_millis(500);
/// How long a node may take at a time until it is decided that it is one.
const TRY: Duration = Duration::from_secs(2);
/// Between two looks at a node that is about to end.
const LOOK: Duration = Duration::from_millis(50);

/// Nodes on hosts reached by SSH.
pub struct SshCluster {
    members: Members,
    founders: Vec<NodeId>,
    homes: BTreeMap<NodeId, Home>,
    plan: ClusterPlan,
    /// Nodes are started with their fault hooks on.
    hooks: bool,
    net: Arc<Net>,
    /// Faults that some host cannot do, and why.
    unable: BTreeMap<FaultName, String>,
    mishaps: Mutex<Vec<Mishap>>,
    watcher: Mutex<Option<JoinHandle<()>>>,
}

/// What a node is started for.
#[derive(Clone, Copy)]
enum Start {
    Genesis,
    As(Origin),
}

struct Home {
    host: Host,
    agent: Handle,
    /// Where the node's disk is, there.
    data: PathBuf,
    peer: Peer,
    /// The copies of its log and of the agent's, here.
    log: PathBuf,
    logs: [tokio::sync::Mutex<Copied>; 2],
    /// Its end, if it ends, is the driver's doing.
    may_end: AtomicBool,
}

/// A log that is copied as it grows.
struct Copied {
    whose: Whose,
    path: PathBuf,
    /// The next piece begins here.
    from: u64,
}

/// Connects to hosts and greets their agents, all at a time.
///
/// # Errors
/// What stood in the way at each host where something did.
pub async fn connect(
    inventory: &Inventory,
    plan: &ClusterPlan,
) -> Result<Vec<(Handle, Welcome)>, ClusterError> {
    let binary = match &plan.binary {
        Some(path) => Binary::read(path),
        None => Binary::own(),
    };
    let binary = binary.map_err(|error| ClusterError::Io(error.to_string()))?;
    let mut inventory = inventory.clone();
    inventory.unlock().map_err(|error| ClusterError::Io(error.to_string()))?;
    let (gate, run) = (Gate::new(inventory.parallel), unique());
    let connections = inventory.hosts.iter().zip(1..).map(async |(host, id)| {
        let hello = Hello {
            run,
            resume: false,
            lease: plan.lease.0,
            node: NodeId(id),
            data: host.data,
            dir: host.dir.clone(),
            own_disk: plan.own_disks,
            log: crate::log::asked().map(str::to_owned),
        };
        let remote = Box::new(Ssh {
            host: host.clone(),
            known_hosts: inventory.known_hosts.clone(),
            accept_new: plan.accept_new,
            binary: binary.clone(),
        });
        let terms = Terms { hello, patience: REACH, gate: gate.clone() };
        Handle::connect(&host.name, remote, terms).await
    });
    let (mut greeted, mut errors) = (Vec::new(), Vec::new());
    for connection in join_all(connections).await {
        match connection {
            Ok(both) => greeted.push(both),
            Err(error) => errors.push(error.to_string()),
        }
    }
    if errors.is_empty() { Ok(greeted) } else { Err(ClusterError::Io(errors.join("; "))) }
}

impl SshCluster {
    /// Starts all nodes of a plan on the hosts its inventory names; copies of their logs under `logs`.
    ///
    /// # Errors
    /// If a host cannot be reached or a node does not start; those that did are ended.
    pub async fn start(plan: &Plan, logs: &Path) -> Result<Arc<Self>, ClusterError> {
        let cluster = Arc::new(Self::prepare(plan, logs).await?);
        let started = match cluster.introduce(plan).await {
            Ok(()) => {
                let each = cluster.founders.iter();
                let start = |node: &NodeId| cluster.launch(*node, Start::Genesis, START_PATIENCE);
                try_join_all(each.map(start)).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = started {
            cluster.logs().await;
            cluster.end().await;
            return Err(error);
        }
        let watcher = tokio::spawn(watch(Arc::downgrade(&cluster)));
        *cluster.watcher.lock().expect("no one panics with the lock held") = Some(watcher);
        Ok(cluster)
    }

    async fn prepare(plan: &Plan, logs: &Path) -> Result<Self, ClusterError> {
        let hosts = plan.cluster.hosts.as_deref().unwrap_or_default();
        let (founders, everybody) = (plan.nodes(), plan.everybody());
        let inventory = Inventory::read(hosts);
        let inventory = inventory.and_then(|inventory| inventory.take(everybody.len()));
        let inventory = inventory.map_err(|error| ClusterError::Io(error.to_string()))?;
        fs::create_dir_all(logs).map_err(|error| io(logs, &error))?;
        let net = Net::for_clients(&everybody, plan.seed.unwrap_or_default());
        let net = net.await.map_err(|error| io(Path::new("the clients' ports"), &error))?;
        let greeted = connect(&inventory, &plan.cluster).await?;
        let unable = unable(plan, &greeted).await?;
        let homes =
            everybody.iter().zip(inventory.hosts).zip(greeted).map(|((id, host), greeted)| {
                let (agent, welcome) = greeted;
                let log = |whose| match whose {
                    Whose::Node => logs.join(format!("{id}.log")),
                    Whose::Agent => logs.join(format!("agent-{id}.log")),
                };
                for leftover in &welcome.leftovers {
                    tracing::warn!(host = %host.name, leftover, "an earlier run ended badly");
                }
                let peer =
                    Peer { node: *id, data: host.data, port: host.node_port, probe: welcome.probe };
                let home = Home {
                    agent,
                    data: welcome.data_dir,
                    peer,
                    logs: [(Whose::Node, 0), (Whose::Agent, welcome.log_from)]
                        .map(|(whose, from)| Copied { whose, path: log(whose), from }.into()),
                    log: log(Whose::Node),
                    may_end: AtomicBool::new(true),
                    host,
                };
                (*id, home)
            });
        Ok(Self {
            homes: homes.collect(),
            members: Members::new(founders.len(), everybody),
            founders,
            plan: plan.cluster.clone(),
            hooks: plan.needs_hooks(),
            net: Arc::new(net),
            unable,
            mishaps: Mutex::default(),
            watcher: Mutex::default(),
        })
    }

    /// Tells every host who the others are, and has it prepare what cannot be prepared later.
    async fn introduce(&self, plan: &Plan) -> Result<(), ClusterError> {
        let peers: Vec<_> = self.homes.values().map(|home| home.peer.clone()).collect();
        let faults = plan.faults.iter().filter(|fault| !self.unable.contains_key(fault));
        let means: BTreeSet<_> = faults.filter_map(|fault| fault.nature().needs.means()).collect();
        let each = self.homes.keys().map(async |id| {
            self.order(*id, Request::Peers(peers.clone())).await?;
            if means.iter().any(|means| *means != Means::Rules) {
                self.order(*id, Request::PrepareLinks(means.clone())).await?;
            }
            Ok(())
        });
        try_join_all(each).await.map(drop)
    }

    async fn launch(
        &self,
        id: NodeId,
        start: Start,
        patience: Duration,
    ) -> Result<(), ClusterError> {
        let home = &self.homes[&id];
        let address = home.address();
        let peers = self.homes.iter().filter(|(peer, _)| **peer != id);
        let beginning = match start {
            Start::Genesis => Beginning::Genesis,
            Start::As(way) => {
                let others = self.members.now().into_iter().filter(|peer| *peer != id);
                Beginning::again(way, others.map(|peer| self.home(peer).address()).collect())
            }
        };
        let arguments = Arguments {
            id,
            founders: &self.founders,
            listen: address,
            data: &home.data,
            peers: peers.map(|(peer, home)| (*peer, home.address())).collect(),
            beginning,
            hooks: self.hooks,
            tls: None,
            record: None,
        };
        let words = arguments.of(&self.plan).into_iter();
        let words: Result<Vec<_>, _> = words.map(std::ffi::OsString::into_string).collect();
        let args = words.map_err(|_| failed(id, &"its folder is not UTF-8"))?;
        let env: Vec<(String, Secret)> = home.host.env.clone().into_iter().collect();
        let spec = NodeSpec { args, env, patience };
        home.agent.tell(Request::Start(spec)).await.map_err(|error| ClusterError::Start {
            node: id,
            reason: error.to_string(),
            log: home.log.clone(),
        })?;
        home.may_end.store(false, Ordering::SeqCst);
        self.net.set_upstream(id, Some(address));
        Ok(())
    }

    fn home(&self, node: NodeId) -> &Home {
        &self.homes[&node]
    }

    async fn fetch_logs(&self) {
        join_all(self.homes.values().map(Home::fetch_logs)).await;
    }

    /// Notes what ended without the driver's doing.
    async fn look_after(&self) {
        for (node, home) in &self.homes {
            if home.agent.life() == NodeLife::Gone && !home.may_end.swap(true, Ordering::SeqCst) {
                self.net.set_upstream(*node, None);
                // A host that is lost tells its own story.
                if let Ok(Answer::Why(why)) = home.agent.ask(Request::Why).await {
                    self.note_end(*node, home.agent.name(), &why);
                }
            }
        }
    }

    /// Notes that a node's process has ended as `why` says.
    fn note_end(&self, node: NodeId, host: &str, why: &str) {
        // As the standard library prints what no program does to itself by mistake.
        let signals = ["signal: 9 ", "signal: 15 ", "signal: 2 ", "signal: 1 "];
        let killed = signals.iter().any(|signal| why.contains(signal));
        let who = if killed { "by somebody else" } else { "by itself" };
        self.note_as(node, format!("on {host}: {why}, {who}"), killed);
    }

    /// Notes a mishap, once.
    fn note(&self, node: NodeId, what: String) {
        self.note_as(node, what, false);
    }

    fn note_as(&self, node: NodeId, what: String, from_outside: bool) {
        let mut mishaps = self.mishaps.lock().expect("no one panics with the lock held");
        let what = one_line(&what);
        if !mishaps.iter().any(|known| known.node == node && known.what == what) {
            mishaps.push(Mishap { node, what, at: Some(Instant::now()), from_outside });
        }
    }

    /// Has a host do something to its node or links. One that cannot do what it could when it was asked
    /// at first is out of order, whatever becomes of the fault.
    async fn order(&self, node: NodeId, request: Request) -> Result<(), ClusterError> {
        let what = request.verb();
        self.home(node).agent.tell(request).await.map_err(|error| {
            if !error.is_final || self.home(node).agent.trouble().is_none() {
                self.note(node, format!("could not {what}: {error}"));
            }
            failed(node, &error)
        })
    }

    /// The hosts at one end of some flows.
    fn touched(&self, flows: &[(Pair, Shape)]) -> Vec<NodeId> {
        let at = |node: NodeId| {
            flows
                .iter()
                .any(|(pair, _)| [pair.from, pair.to].contains(&End::Node(node)) && is_peer(pair))
        };
        self.homes.keys().copied().filter(|node| at(*node)).collect()
    }

    async fn probe(&self, from: NodeId, probe: Probe) -> Result<Probed, RemoteError> {
        let agent = &self.home(from).agent;
        match agent.ask(Request::Probe(vec![probe])).await? {
            Answer::Probed(probed) if probed.len() == 1 => Ok(probed[0]),
            other => Err(agent.strange(&other)),
        }
    }

    async fn heard(&self, at: NodeId, nonce: u64) -> Result<bool, RemoteError> {
        let agent = &self.home(at).agent;
        match agent.ask(Request::Heard(nonce)).await? {
            Answer::Heard(heard) => Ok(heard),
            other => Err(agent.strange(&other)),
        }
    }

    async fn observe(&self, from: NodeId, ping: Ping) -> Result<Observed, RemoteError> {
        let nonce = unique();
        let probe = Probe { to: ping.to, patience: ping.patience, weight: ping.weight, nonce };
        let Probed { answered, echoed } = self.probe(from, probe).await?;
        let (there, back) = if echoed || answered.is_some() {
            (Way::Passed, Way::Passed)
        } else if self.heard(ping.to, nonce).await? {
            // The other agent heard us and answers everybody: its answer was held.
            (Way::Passed, Way::Held)
        } else {
            (Way::Held, Way::Silent)
        };
        Ok(Observed { answered, there, back })
    }
}

impl Home {
    /// Where its node listens.
    fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host.data, self.host.node_port)
    }

    /// Copies what is new in its logs.
    async fn fetch_logs(&self) {
        for copied in &self.logs {
            // One at a time.
            let mut log = copied.lock().await;
            while self.fetch_some(&mut log).await {}
        }
    }

    /// Copies a piece; whether there may be more.
    async fn fetch_some(&self, log: &mut Copied) -> bool {
        let piece = self.agent.ask(Request::Log(log.whose, log.from)).await;
        let Ok(Answer::Log(piece)) = piece else { return false };
        log.from += piece.len() as u64;
        // Short of a whole piece it is read again at the next look, not now: an agent that logs every
        // request would never be done.
        append(&log.path, &piece).is_ok() && piece.len() as u64 == PIECE
    }
}

fn append(log: &Path, piece: &[u8]) -> std::io::Result<()> {
    let mut file: File = OpenOptions::new().create(true).append(true).open(log)?;
    file.write_all(piece)
}

/// Which of the plan's faults some host cannot do.
async fn unable(
    plan: &Plan,
    greeted: &[(Handle, Welcome)],
) -> Result<BTreeMap<FaultName, String>, ClusterError> {
    if plan.faults.iter().all(|fault| fault.nature().needs.means().is_none()) {
        return Ok(BTreeMap::new());
    }
    let facts = try_join_all(greeted.iter().map(|(agent, _)| facts(agent))).await?;
    let mut unable = BTreeMap::new();
    for ((agent, _), facts) in greeted.iter().zip(facts) {
        for fact in facts.iter().filter(|fact| !fact.can) {
            if let Some(fault) = plan.faults.iter().find(|fault| fault.as_str() == fact.name) {
                unable.insert(*fault, format!("{} cannot: {}", agent.name(), fact.how));
            }
        }
    }
    Ok(unable)
}

/// What can be done on a host.
///
/// # Errors
/// If it cannot be asked.
pub async fn facts(agent: &Handle) -> Result<Vec<Fact>, ClusterError> {
    match agent.ask(Request::Facts).await {
        Ok(Answer::Facts(facts)) => Ok(facts),
        Ok(other) => Err(ClusterError::Io(agent.strange(&other).to_string())),
        Err(error) => Err(ClusterError::Io(error.to_string())),
    }
}

/// Looks after the nodes for as long as there is a cluster.
async fn watch(cluster: std::sync::Weak<SshCluster>) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(cluster) = cluster.upgrade() else { return };
        cluster.look_after().await;
        cluster.fetch_logs().await;
    }
}

fn is_peer(pair: &Pair) -> bool {
    matches!((pair.from, pair.to), (End::Node(_), End::Node(_)))
}

fn failed(node: NodeId, error: &dyn std::fmt::Display) -> ClusterError {
    ClusterError::Node { node, reason: error.to_string() }
}

fn io(what: &Path, error: &std::io::Error) -> ClusterError {
    ClusterError::Io(format!("{}: {error}", what.display()))
}

impl Cluster for SshCluster {
    fn nodes(&self) -> Vec<NodeId> {
        self.members.now()
    }

    fn everybody(&self) -> Vec<NodeId> {
        self.members.everybody().to_vec()
    }

    fn able(&self, fault: FaultName) -> Result<(), String> {
        self.unable.get(&fault).map_or(Ok(()), |reason| Err(reason.clone()))
    }

    fn life(&self, node: NodeId) -> Life {
        match self.home(node).agent.life() {
            NodeLife::Runs(pid) => Life::Runs(pid),
            NodeLife::Stopped(pid) => Life::Stopped(pid),
            NodeLife::Gone => Life::Gone,
        }
    }

    fn is_lost(&self, node: NodeId) -> bool {
        self.home(node).agent.is_lost()
    }

    async fn start(&self, node: NodeId) -> Result<(), ClusterError> {
        self.launch(node, Start::As(self.members.way(node)), START_PATIENCE).await
    }

    async fn enter(&self, node: NodeId, way: Origin) -> Result<(), ClusterError> {
        let end = Instant::now() + START_PATIENCE;
        // It goes on where it was interrupted. Until it serves the agent does nothing else, and it may wait
        // for a majority that is cut off: for links that this very agent is to heal.
        while let Err(error) = self.launch(node, Start::As(way), TRY).await {
            if Instant::now() >= end {
                return Err(error);
            }
            tokio::time::sleep(LOOK).await;
        }
        self.members.enter(node, way);
        Ok(())
    }

    fn let_end(&self, node: NodeId) {
        self.home(node).may_end.store(true, Ordering::SeqCst);
    }

    async fn depart(&self, node: NodeId) -> Result<String, ClusterError> {
        let why = self.ended(node).await?;
        self.members.leave(node);
        if !why.starts_with("ended with exit status: 0") {
            return Err(failed(node, &format!("it left, and its process {}", one_line(&why))));
        }
        self.order(node, Request::Wipe).await?;
        Ok("its process ended by itself with exit status: 0".to_owned())
    }

    async fn ended(&self, node: NodeId) -> Result<String, ClusterError> {
        let home = self.home(node);
        while home.agent.life() != NodeLife::Gone {
            // What is asked of the agent tells how the node is.
            home.agent.ask(Request::Beat).await.map_err(|error| failed(node, &error))?;
            tokio::time::sleep(LOOK).await;
        }
        self.net.set_upstream(node, None);
        match home.agent.ask(Request::Why).await {
            Ok(Answer::Why(why)) => Ok(why),
            Ok(other) => Err(failed(node, &home.agent.strange(&other))),
            Err(error) => Err(failed(node, &error)),
        }
    }

    async fn hooks(
        &self,
        node: NodeId,
        fault: FaultId,
        hooks: Option<Hooks>,
    ) -> Result<Hooked, ClusterError> {
        let address = self.home(node).address();
        let hooked = clients::hooks(address, fault, hooks).await;
        hooked.map_err(|reason| failed(node, &reason))
    }

    async fn clock(&self, node: NodeId, skew: Option<Skew>) -> Result<u64, ClusterError> {
        let address = self.home(node).address();
        clients::clock(address, skew).await.map_err(|reason| failed(node, &reason))
    }

    async fn ring(&self, node: NodeId) -> Result<RingReport, ClusterError> {
        clients::ring(self.home(node).address()).await.map_err(|error| failed(node, &error))
    }

    async fn propose(
        &self,
        node: NodeId,
        edit: Edit,
        expect: Option<Epoch>,
    ) -> Result<Proposed, ClusterError> {
        let proposed = clients::propose(self.home(node).address(), edit, expect).await;
        proposed.map_err(|error| failed(node, &error))
    }

    async fn kill(&self, node: NodeId) -> Result<(), ClusterError> {
        let home = self.home(node);
        if home.agent.life() == NodeLife::Gone {
            return Err(failed(node, &"it is down already"));
        }
        home.may_end.store(true, Ordering::SeqCst);
        self.net.set_upstream(node, None);
        self.order(node, Request::Kill).await
    }

    async fn pause(&self, node: NodeId) -> Result<(), ClusterError> {
        self.order(node, Request::Pause).await
    }

    async fn resume(&self, node: NodeId) -> Result<(), ClusterError> {
        self.order(node, Request::Resume).await
    }

    async fn wipe(&self, node: NodeId) -> Result<(), ClusterError> {
        self.order(node, Request::Wipe).await?;
        self.members.emptied(node);
        Ok(())
    }

    async fn damage(&self, node: NodeId, damage: Damage) -> Result<String, ClusterError> {
        let agent = &self.home(node).agent;
        match agent.ask(Request::Damage(damage)).await {
            Ok(Answer::Damaged(what)) => Ok(what),
            Ok(other) => Err(failed(node, &agent.strange(&other))),
            Err(error) => Err(failed(node, &error)),
        }
    }

    async fn shape(&self, fault: FaultId, shapes: Vec<(Pair, Shape)>) -> Result<(), ClusterError> {
        let peers: Vec<_> = shapes.iter().copied().filter(|(pair, _)| is_peer(pair)).collect();
        let touched = self.touched(&peers);
        // Ours first: it is also where `shaped` looks, and what it says must be healed is healed.
        self.net.install(fault, shapes);
        let each =
            touched.iter().map(|node| self.order(*node, Request::Shape(fault, peers.clone())));
        join_all(each).await.into_iter().collect()
    }

    async fn unshape(&self, fault: FaultId) -> Result<(), ClusterError> {
        let all = self.homes.keys().map(|node| self.order(*node, Request::Unshape(fault)));
        let done = join_all(all).await.into_iter().collect();
        self.net.heal(fault);
        done
    }

    fn shaped(&self, flow: Pair) -> Shape {
        self.net.shape(flow)
    }

    async fn changed(&self, node: NodeId) -> Result<u64, ClusterError> {
        let agent = &self.home(node).agent;
        match agent.ask(Request::Changed).await {
            Ok(Answer::Changed(bytes)) => Ok(bytes),
            Ok(other) => Err(failed(node, &agent.strange(&other))),
            Err(error) => Err(failed(node, &error)),
        }
    }

    async fn ping(&self, ping: Ping) -> Observed {
        match ping.from {
            End::Clients => self.net.ping(ping).await,
            End::Node(from) => self.observe(from, ping).await.unwrap_or(Observed::NOTHING),
        }
    }

    async fn status(&self, node: NodeId) -> Result<Status, ClusterError> {
        clients::status(self.home(node).address()).await.map_err(|error| failed(node, &error))
    }
}

impl Deployed for SshCluster {
    fn net(&self) -> &Arc<Net> {
        &self.net
    }

    async fn mishaps(&self) -> Vec<Mishap> {
        self.look_after().await;
        let mut mishaps = self.mishaps.lock().expect("no one panics with the lock held").clone();
        for (node, home) in &self.homes {
            if let Some(trouble) = home.agent.trouble() {
                let what = format!("on {}: {trouble}", home.agent.name());
                // A host out of reach is nobody's fault that is judged here.
                mishaps.push(Mishap { node: *node, what, at: None, from_outside: true });
            }
        }
        mishaps
    }

    /// When a host is lost: without it nothing comes to rest any more.
    async fn lost(&self) {
        let each = self.homes.values().map(|home| Box::pin(home.agent.lost()));
        select_all(each).await;
    }

    async fn logs(&self) -> Vec<(NodeId, PathBuf)> {
        self.fetch_logs().await;
        let logs = self.homes.iter().map(|(id, home)| (*id, home.log.clone()));
        logs.filter(|(_, log)| log.exists()).collect()
    }

    async fn end(&self) {
        if let Some(watcher) = self.watcher.lock().expect("as everywhere").take() {
            watcher.abort();
        }
        for (node, home) in &self.homes {
            home.may_end.store(true, Ordering::SeqCst);
            self.net.set_upstream(*node, None);
        }
        // One that does not hear it ends with its lease.
        join_all(self.homes.values().map(|home| home.agent.tell(Request::Bye))).await;
    }
}
