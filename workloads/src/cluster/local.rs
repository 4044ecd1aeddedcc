//! A cluster of real processes on this machine. Every node has its own data directory and log, and
//! every link goes through a proxy of the driver.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use dynamo_node::{DEFAULT_CLUSTER, Hooked, Hooks, Proposed, RingReport, Role, Tls};
use dynamo_protocol::membership::Edit;
use dynamo_protocol::{Epoch, NodeId, Skew};
use futures::future::join_all;

use super::arguments::{Arguments, Beginning};
use super::clients::Way;
use super::members::Members;
use super::{Cluster, ClusterError, Deployed, Life, Mishap, Origin, Status, clients};
use crate::hosts::certificates::Certificates;
use crate::hosts::disk::{self, Damage};
use crate::hosts::process::Process;
use crate::hosts::proxy::{End, FaultId, Net, Observed, Pair, Ping, Shape};
use crate::plan::{ClusterPlan, Plan};
use crate::replay::records;

/// How long a node may take until it serves. Long: it syncs its disk, and the machine may be busy.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long a node may take to end when it is asked to.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// Node processes on loopback.
pub struct LocalCluster {
    members: Members,
    founders: Vec<NodeId>,
    homes: BTreeMap<NodeId, Node>,
    plan: ClusterPlan,
    program: PathBuf,
    records: Option<PathBuf>,
    /// Nodes are started with their fault hooks on.
    hooks: bool,
    /// Who signs for nodes, and as whom the driver asks them; none where they speak plain text.
    tls: Option<(Certificates, Arc<Tls>)>,
    net: Arc<Net>,
    mishaps: Arc<Mutex<Vec<Mishap>>>,
}

struct Node {
    data: PathBuf,
    log: PathBuf,
    running: Mutex<Option<Running>>,
}

/// What a node is started for.
#[derive(Clone, Copy)]
enum Start {
    Genesis,
    As(Origin),
}

struct Running {
    process: Process,
    address: SocketAddr,
    /// Set before the driver ends the process: any other end is a mishap.
    may_end: Arc<AtomicBool>,
}

impl LocalCluster {
    /// Starts all nodes of a plan: in `folder`, their data under `data`, a log each under `logs`, and
    /// what they record under `records`.
    ///
    /// # Errors
    /// If one does not start; those that did are ended.
    pub async fn start(plan: &Plan, folder: &Path) -> Result<Arc<Self>, ClusterError> {
        let cluster = Arc::new(Self::prepare(plan, folder).await?);
        let starts = cluster.founders.iter().map(|node| cluster.launch(*node, Start::Genesis));
        let started: Result<Vec<()>, _> = join_all(starts).await.into_iter().collect();
        if let Err(error) = started {
            cluster.end().await;
            return Err(error);
        }
        Ok(cluster)
    }

    async fn prepare(plan: &Plan, folder: &Path) -> Result<Self, ClusterError> {
        let (founders, everybody) = (plan.nodes(), plan.everybody());
        let (data, logs) = (folder.join("data"), folder.join("logs"));
        let program = match &plan.cluster.binary {
            Some(binary) => binary.clone(),
            None => {
                std::env::current_exe().map_err(|error| io("this program's own file", &error))?
            }
        };
        for folder in [&data, &logs] {
            fs::create_dir_all(folder).map_err(|error| io(&folder.display(), &error))?;
        }
        let net = Net::open(&everybody, plan.seed.unwrap_or_default())
            .await
            .map_err(|error| io("the links' ports", &error))?;
        let tls = plan.cluster.tls.then(|| certificates(folder, &everybody)).transpose()?;
        let homes = everybody.iter().map(|node| {
            let name = node.to_string();
            let log = logs.join(format!("{name}.log"));
            (*node, Node { data: data.join(name), log, running: Mutex::new(None) })
        });
        Ok(Self {
            homes: homes.collect(),
            members: Members::new(founders.len(), everybody),
            founders,
            plan: plan.cluster.clone(),
            program,
            records: plan.cluster.record.then(|| folder.join(records::FOLDER)),
            hooks: plan.needs_hooks(),
            tls,
            net: Arc::new(net),
            mishaps: Arc::default(),
        })
    }

    async fn end_node(&self, id: NodeId) {
        self.net.set_upstream(id, None);
        let running = self.homes[&id].running().take();
        let Some(Running { process, address, may_end }) = running else { return };
        may_end.store(true, Ordering::SeqCst);
        // One that stands still, or has hung, cannot end by itself: hence the kill after it.
        if process.proceed().is_ok() && clients::stop(self.way(address)).await.is_ok() {
            let _ = tokio::time::timeout(STOP_PATIENCE, process.ended()).await;
        }
        process.kill().await;
    }

    async fn launch(&self, id: NodeId, start: Start) -> Result<(), ClusterError> {
        let node = &self.homes[&id];
        // One that somebody else has ended is started again like any other.
        let lives = |running: &Running| running.process.life() != Life::Gone;
        if node.running().as_ref().is_some_and(lives) {
            return Err(ClusterError::Node { node: id, reason: "it runs already".to_owned() });
        }
        let log = File::options().create(true).append(true).open(&node.log);
        let log = log.map_err(|error| io(&node.log.display(), &error))?;
        let command = self.command(id, node, start);
        let (process, ready) =
            Process::start(command, log, START_PATIENCE).await.map_err(|reason| {
                ClusterError::Start { node: id, reason: node.why(&reason), log: node.log.clone() }
            })?;
        let may_end = Arc::new(AtomicBool::new(false));
        self.watch(id, &process, may_end.clone());
        *node.running() = Some(Running { process, address: ready.address, may_end });
        self.net.set_upstream(id, Some(ready.address));
        Ok(())
    }

    /// Notes it when the process ends without the driver's doing.
    fn watch(&self, node: NodeId, process: &Process, may_end: Arc<AtomicBool>) {
        let (mut ended, mishaps, net) = (process.watch(), self.mishaps.clone(), self.net.clone());
        tokio::spawn(async move {
            let status = ended.wait_for(Option::is_some).await.ok().and_then(|status| *status);
            if let Some(status) = status
                && !may_end.load(Ordering::SeqCst)
            {
                net.set_upstream(node, None);
                let mut mishaps = mishaps.lock().expect("no one panics with the lock held");
                mishaps.push(Mishap::ended(node, &status));
            }
        });
    }

    fn command(&self, id: NodeId, node: &Node, start: Start) -> Command {
        let way_to = |peer| self.net.address(End::Node(id), peer);
        let others =
            |nodes: &[NodeId]| nodes.iter().copied().filter(|peer| *peer != id).collect::<Vec<_>>();
        let peers = others(self.members.everybody()).into_iter();
        let beginning = match start {
            Start::Genesis => Beginning::Genesis,
            Start::As(way) => {
                let seeds = others(&self.members.now()).into_iter().map(way_to);
                Beginning::again(way, seeds.collect())
            }
        };
        let arguments = Arguments {
            id,
            founders: &self.founders,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            data: &node.data,
            peers: peers.map(|peer| (peer, way_to(peer))).collect(),
            beginning,
            hooks: self.hooks,
            tls: self.tls.as_ref().map(|(made, _)| made.files(Role::Peer(id))),
            record: self.records.as_deref(),
        };
        let mut command = Command::new(&self.program);
        command.args(arguments.of(&self.plan));
        command
    }

    /// Waits until a node's process has ended by itself; what it ended with, if anybody knows.
    async fn end_of(&self, node: NodeId) -> Result<Option<ExitStatus>, ClusterError> {
        let mut ended = self.with(node, |running| Ok(running.process.watch()))?;
        let status = ended.wait_for(Option::is_some).await.ok().and_then(|status| *status);
        self.net.set_upstream(node, None);
        drop(self.homes[&node].running().take());
        Ok(status)
    }

    /// The driver's way to a node.
    fn way(&self, address: SocketAddr) -> Way {
        Way::over(address, self.tls.as_ref().map(|(_, tls)| tls))
    }

    /// Does something with a node's process.
    fn with<T>(
        &self,
        id: NodeId,
        act: impl FnOnce(&Running) -> std::io::Result<T>,
    ) -> Result<T, ClusterError> {
        let node = |reason: String| ClusterError::Node { node: id, reason };
        let running = self.homes[&id].running();
        let running = running.as_ref().ok_or_else(|| node("it is down".to_owned()))?;
        act(running).map_err(|error| node(error.to_string()))
    }
}

impl Node {
    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().expect("no one panics with the lock held")
    }

    /// Why a start failed: what the process last said is usually the reason.
    fn why(&self, how: &str) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        match log.lines().rev().find(|line| !line.trim().is_empty()) {
            Some(last) => format!("{how}: {last}"),
            None => how.to_owned(),
        }
    }
}

impl Cluster for LocalCluster {
    fn nodes(&self) -> Vec<NodeId> {
        self.members.now()
    }

    fn everybody(&self) -> Vec<NodeId> {
        self.members.everybody().to_vec()
    }

    fn life(&self, node: NodeId) -> Life {
        self.homes[&node].running().as_ref().map_or(Life::Gone, |running| running.process.life())
    }

    async fn start(&self, node: NodeId) -> Result<(), ClusterError> {
        self.launch(node, Start::As(self.members.way(node))).await
    }

    async fn enter(&self, node: NodeId, way: Origin) -> Result<(), ClusterError> {
        self.launch(node, Start::As(way)).await?;
        self.members.enter(node, way);
        Ok(())
    }

    fn let_end(&self, node: NodeId) {
        if let Some(running) = self.homes[&node].running().as_ref() {
            running.may_end.store(true, Ordering::SeqCst);
        }
    }

    async fn depart(&self, node: NodeId) -> Result<String, ClusterError> {
        let failed = |reason: String| ClusterError::Node { node, reason };
        let status = self.end_of(node).await?;
        self.members.leave(node);
        match status {
            Some(status) if status.success() => {
                if self.homes[&node].data.exists() {
                    self.wipe(node).await?;
                }
                Ok(format!("its process ended by itself with {status}"))
            }
            Some(status) => Err(failed(format!("it left, and its process ended with {status}"))),
            None => Err(failed("nobody knows how its process ended".to_owned())),
        }
    }

    async fn ended(&self, node: NodeId) -> Result<String, ClusterError> {
        let how = match self.end_of(node).await? {
            Some(status) => format!("ended with {status}"),
            None => "ended".to_owned(),
        };
        Ok(self.homes[&node].why(&how))
    }

    async fn hooks(
        &self,
        node: NodeId,
        fault: FaultId,
        hooks: Option<Hooks>,
    ) -> Result<Hooked, ClusterError> {
        let address = self.with(node, |running| Ok(running.address))?;
        let hooked = clients::hooks(self.way(address), fault, hooks).await;
        hooked.map_err(|reason| ClusterError::Node { node, reason })
    }

    async fn clock(&self, node: NodeId, skew: Option<Skew>) -> Result<u64, ClusterError> {
        let address = self.with(node, |running| Ok(running.address))?;
        clients::clock(self.way(address), skew)
            .await
            .map_err(|reason| ClusterError::Node { node, reason })
    }

    async fn ring(&self, node: NodeId) -> Result<RingReport, ClusterError> {
        let address = self.with(node, |running| Ok(running.address))?;
        clients::ring(self.way(address)).await.map_err(|reason| ClusterError::Node { node, reason })
    }

    async fn propose(
        &self,
        node: NodeId,
        edit: Edit,
        expect: Option<Epoch>,
    ) -> Result<Proposed, ClusterError> {
        let address = self.with(node, |running| Ok(running.address))?;
        let proposed = clients::propose(self.way(address), edit, expect).await;
        proposed.map_err(|reason| ClusterError::Node { node, reason })
    }

    async fn kill(&self, node: NodeId) -> Result<(), ClusterError> {
        self.net.set_upstream(node, None);
        let running = self.homes[&node].running().take();
        let Some(running) = running else {
            return Err(ClusterError::Node { node, reason: "it is down already".to_owned() });
        };
        running.may_end.store(true, Ordering::SeqCst);
        running.process.kill().await;
        Ok(())
    }

    async fn pause(&self, node: NodeId) -> Result<(), ClusterError> {
        self.with(node, |running| running.process.stop())
    }

    async fn resume(&self, node: NodeId) -> Result<(), ClusterError> {
        self.with(node, |running| running.process.proceed())
    }

    async fn wipe(&self, node: NodeId) -> Result<(), ClusterError> {
        let home = &self.homes[&node];
        if home.running().is_some() {
            return Err(ClusterError::Node { node, reason: "its disk is in use".to_owned() });
        }
        fs::remove_dir_all(&home.data).map_err(|error| io(&home.data.display(), &error))?;
        self.members.emptied(node);
        Ok(())
    }

    async fn damage(&self, node: NodeId, damage: Damage) -> Result<String, ClusterError> {
        let home = &self.homes[&node];
        if home.running().is_some() {
            return Err(ClusterError::Node { node, reason: "its disk is in use".to_owned() });
        }
        disk::damage(&home.data, damage).map_err(ClusterError::Io)
    }

    async fn shape(&self, fault: FaultId, shapes: Vec<(Pair, Shape)>) -> Result<(), ClusterError> {
        self.net.install(fault, shapes);
        Ok(())
    }

    async fn unshape(&self, fault: FaultId) -> Result<(), ClusterError> {
        self.net.heal(fault);
        Ok(())
    }

    fn shaped(&self, flow: Pair) -> Shape {
        self.net.shape(flow)
    }

    async fn changed(&self, node: NodeId) -> Result<u64, ClusterError> {
        Ok(self.net.changed(node))
    }

    async fn ping(&self, ping: Ping) -> Observed {
        self.net.ping(ping).await
    }

    async fn status(&self, node: NodeId) -> Result<Status, ClusterError> {
        let address = self.with(node, |running| Ok(running.address))?;
        clients::status(self.way(address))
            .await
            .map_err(|reason| ClusterError::Node { node, reason })
    }
}

impl Deployed for LocalCluster {
    fn net(&self) -> &Arc<Net> {
        &self.net
    }

    fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.as_ref().map(|(_, tls)| Arc::clone(tls))
    }

    async fn mishaps(&self) -> Vec<Mishap> {
        self.mishaps.lock().expect("no one panics with the lock held").clone()
    }

    async fn logs(&self) -> Vec<(NodeId, PathBuf)> {
        let logs = self.homes.iter().map(|(id, node)| (*id, node.log.clone()));
        logs.filter(|(_, log)| log.exists()).collect()
    }

    /// Asks all nodes to end, and ends those that do not.
    async fn end(&self) {
        join_all(self.homes.keys().map(|node| self.end_node(*node))).await;
    }
}

/// An authority of the run's own: it signs for each node, and for the driver, who may do what operators and
/// clients may.
fn certificates(folder: &Path, nodes: &[NodeId]) -> Result<(Certificates, Arc<Tls>), ClusterError> {
    let made = Certificates::new(&folder.join("tls"), DEFAULT_CLUSTER).map_err(ClusterError::Io)?;
    for node in nodes {
        made.sign(Role::Peer(*node)).map_err(ClusterError::Io)?;
    }
    let driver = made.of(Role::Operator).map_err(ClusterError::Io)?;
    Ok((made, driver))
}

fn io(what: &(impl std::fmt::Display + ?Sized), error: &std::io::Error) -> ClusterError {
    ClusterError::Io(format!("{what}: {error}"))
}
