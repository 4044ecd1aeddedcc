//! Real node processes that are stepped by hand, and what lies between them: held messages, disks at
//! rest. What happens, and when, is said from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use dynamo_node::stepped::{AtRest, DiskFault, Step, Stepped};
use dynamo_node::storage::Owner;
use dynamo_node::{Admin, DEFAULT_CLUSTER};
use dynamo_protocol::{Digest, Envelope, Identity, Input, Meta, NodeId, Output, Time, Timer};
use dynamo_sim::trace::{Cluster, Sync};

use crate::cluster::{json, member, seeded_bug};
use crate::hosts::disk;
use crate::hosts::process::Process;

/// How long a node may take until it serves, or to take a step: it syncs its disk, and the machine
/// may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// The nodes of a trace's cluster as processes.
pub(super) struct Stage {
    cluster: Cluster,
    program: PathBuf,
    hosts: BTreeMap<NodeId, Host>,
    flight: BTreeMap<u64, Envelope>,
    sent: u64,
}

/// A host of the cluster.
struct Host {
    data: PathBuf,
    log: PathBuf,
    /// What its directory is called, or will be.
    identity: Identity,
    genesis: bool,
    running: Option<Running>,
    timers: BTreeSet<Timer>,
    /// What the directory was called when it was backed up, and whether the genesis made it.
    backup: Option<(Identity, bool)>,
}

struct Running {
    process: Process,
    admin: Admin,
    paused: bool,
}

/// Why a process did not do what it was told.
pub(super) type Broken = String;

impl Stage {
    /// A cluster in `folder`, none of whose nodes runs yet.
    pub(super) fn new(cluster: Cluster, program: PathBuf, folder: &Path) -> Self {
        let host = |id: NodeId| Host {
            data: folder.join(id.to_string()),
            log: folder.join(format!("{id}.log")),
            identity: cluster.identity(id),
            genesis: true,
            running: None,
            timers: BTreeSet::new(),
            backup: None,
        };
        let hosts = cluster.ids().map(|id| (id, host(id))).collect();
        Self { cluster, program, hosts, flight: BTreeMap::new(), sent: 0 }
    }

    /// The process starts on its disk, of which so many reads and writes will fail.
    pub(super) async fn start(
        &mut self,
        id: NodeId,
        (incarnation, spare): (u64, Option<Identity>),
        now: Time,
        (reads, writes): (u32, u32),
    ) -> Result<Stepped, Broken> {
        let command = self.command(id, incarnation, spare);
        let host = self.host(id);
        let log = File::options().create(true).append(true).open(&host.log);
        let log = log.map_err(|error| format!("{}: {error}", host.log.display()))?;
        let started = Process::start(command, log, PATIENCE).await;
        let (process, ready) = started.map_err(|why| host.why(id, &why))?;
        let admin = Admin::new(ready.address.to_string()).with_deadline(PATIENCE);
        host.running = Some(Running { process, admin, paused: false });
        if reads > 0 {
            self.step(id, Step::Disk(DiskFault::ReadsFail(reads))).await?;
        }
        if writes > 0 {
            self.step(id, Step::Disk(DiskFault::WritesFail(writes))).await?;
        }
        self.take(id, now, Input::Started).await
    }

    /// Something happens to a node.
    pub(super) async fn take(
        &mut self,
        id: NodeId,
        now: Time,
        input: Input,
    ) -> Result<Stepped, Broken> {
        if let Input::Timer(timer) = &input {
            self.host(id).timers.remove(timer);
        }
        let hold = self.cluster.sync == Sync::Explicit;
        self.step(id, Step::Take { now: now.0, input, hold }).await
    }

    /// Has a node do what it is told, and keeps what it sends and the timers it sets.
    pub(super) async fn step(&mut self, id: NodeId, step: Step) -> Result<Stepped, Broken> {
        let host = self.host(id);
        let running = host.running.as_ref().ok_or_else(|| format!("{id} does not run"))?;
        let signal = |done: std::io::Result<()>| done.map_err(|error| format!("{id}: {error}"));
        // One that stands still answers nobody. It does nothing by itself, so nobody sees it move.
        if running.paused {
            signal(running.process.proceed())?;
        }
        let stepped = running.admin.step(&step).await;
        let stepped = stepped.map_err(|why| host.why(id, &why.to_string()))?;
        if running.paused {
            signal(running.process.stop())?;
        }
        for output in &stepped.outputs {
            match output {
                Output::SetTimer(timer, _) => drop(host.timers.insert(*timer)),
                Output::CancelTimer(timer) => drop(host.timers.remove(timer)),
                Output::Send(_) | Output::Reply(..) | Output::Event(_) => {}
            }
        }
        for output in &stepped.outputs {
            if let Output::Send(envelope) = output {
                self.flight.insert(self.sent, envelope.clone());
                self.sent += 1;
            }
        }
        Ok(stepped)
    }

    /// Kills a node. So many of its changes that are not durable yet become so before.
    pub(super) async fn crash(&mut self, id: NodeId, keep: u64) -> Result<(), Broken> {
        if keep > 0 {
            // What would be let out now is lost with the process.
            let sent = self.sent;
            self.step(id, Step::Sync { changes: keep }).await?;
            self.flight.retain(|number, _| *number < sent);
            self.sent = sent;
        }
        let host = self.host(id);
        if let Some(running) = host.running.take() {
            running.process.kill().await;
        }
        host.timers.clear();
        Ok(())
    }

    /// Stops or continues a node's process.
    pub(super) fn pause(&mut self, id: NodeId, paused: bool) -> Result<(), Broken> {
        let Some(running) = &mut self.host(id).running else { return Ok(()) };
        let signalled = if paused { running.process.stop() } else { running.process.proceed() };
        running.paused = paused;
        signalled.map_err(|error| format!("{id}: {error}"))
    }

    /// Empties the disk of a stopped node: what comes next is called `identity`.
    pub(super) fn wipe(&mut self, id: NodeId, identity: Identity) -> Result<(), Broken> {
        self.empty(id)?;
        let host = self.host(id);
        (host.identity, host.genesis) = (identity, false);
        Ok(())
    }

    /// Empties the disk of a stopped node, which comes back as if it had always been empty.
    pub(super) fn empty(&mut self, id: NodeId) -> Result<(), Broken> {
        let host = self.host(id);
        if host.running.is_some() {
            return Err(format!("{id}: only the directory of a stopped node can be emptied"));
        }
        host.genesis = true;
        disk::remove(&host.data).map_err(|error| format!("{}: {error}", host.data.display()))
    }

    /// Copies a disk as it is. What is not durable is in the process alone.
    pub(super) fn back_up(&mut self, id: NodeId) -> Result<(), Broken> {
        let host = self.host(id);
        host.backup = Some((host.identity, host.genesis));
        host.copy(&host.data, &host.copied())
    }

    /// The disk of a stopped node is what it was when it was backed up; what the node had sent is lost.
    pub(super) fn restore(&mut self, id: NodeId) -> Result<(), Broken> {
        self.flight.retain(|_, sent| sent.from != id);
        let host = self.host(id);
        if let Some((identity, genesis)) = host.backup {
            (host.identity, host.genesis) = (identity, genesis);
        }
        host.copy(&host.copied(), &host.data)
    }

    /// The disk of a node misbehaves, whether the node runs or not.
    pub(super) async fn disk(&mut self, id: NodeId, fault: DiskFault) -> Result<(), Broken> {
        if self.host(id).running.is_some() {
            return self.step(id, Step::Disk(fault)).await.map(drop);
        }
        match self.at_rest(id)? {
            Some(mut disk) => disk.misbehave(&fault).map_err(|error| format!("{id}: {error}")),
            None => Ok(()),
        }
    }

    /// Of a node and its disk.
    pub(super) async fn digest(&mut self, id: NodeId) -> Result<Digest, Broken> {
        if self.host(id).running.is_some() {
            return Ok(self.step(id, Step::Sync { changes: 0 }).await?.digest);
        }
        match self.at_rest(id)? {
            Some(disk) => disk.digest().map_err(|error| format!("{id}: {error}")),
            None => Ok(Digest::of_host(None, &self.host(id).meta(), [])),
        }
    }

    /// The running timers of a node, in order.
    pub(super) fn timers(&self, id: NodeId) -> Vec<Timer> {
        self.hosts[&id].timers.iter().copied().collect()
    }

    /// A message that a process sent; it stays under way if it is to arrive again.
    pub(super) fn message(&mut self, number: u64, again: bool) -> Option<Envelope> {
        if again { self.flight.get(&number).cloned() } else { self.flight.remove(&number) }
    }

    fn at_rest(&mut self, id: NodeId) -> Result<Option<AtRest>, Broken> {
        let versioning = self.cluster.settings.versioning;
        let host = self.host(id);
        if !host.data.exists() {
            return Ok(None);
        }
        let owner = Owner { node: id, cluster: DEFAULT_CLUSTER.to_owned(), versioning };
        AtRest::open(&host.data, &owner).map(Some).map_err(|error| error.to_string())
    }

    fn host(&mut self, id: NodeId) -> &mut Host {
        self.hosts.get_mut(&id).expect("the core has checked that the node is one of the cluster")
    }

    fn command(&self, id: NodeId, incarnation: u64, spare: Option<Identity>) -> Command {
        let (host, cluster) = (&self.hosts[&id], &self.cluster);
        let members: Vec<_> = cluster.members().map(|of| member(of.id, of.zone)).collect();
        let mut command = Command::new(&self.program);
        command.args(["node", "serve", "--exit-with-stdin", "--fault-hooks", "--threads", "1"]);
        command.arg("--data").arg(&host.data);
        let mut set = |flag: &str, value: String| {
            command.arg(flag).arg(value);
        };
        set("--id", id.0.to_string());
        set("--members", members.join(","));
        set("--tokens", cluster.tokens.to_string());
        set("--settings", json(&cluster.settings));
        set("--stepped", incarnation.to_string());
        set("--identity", host.identity.0.to_string());
        if let Some(spare) = spare {
            set("--spare", spare.0.to_string());
        }
        if cluster.counts {
            command.arg("--counts");
        }
        command.args(seeded_bug());
        if host.genesis && !host.data.exists() {
            command.arg("--genesis");
        }
        command
    }
}

impl Host {
    /// Where its backup is.
    fn copied(&self) -> PathBuf {
        self.data.with_extension("backup")
    }

    /// A directory that nobody has made yet leaves none.
    fn copy(&self, from: &Path, to: &Path) -> Result<(), Broken> {
        let copied = if from.exists() { disk::copy_folder(from, to) } else { disk::remove(to) };
        copied.map_err(|error| format!("{}: {error}", from.display()))
    }

    /// Of the directory, as long as nobody has made it.
    fn meta(&self) -> Meta {
        if self.genesis { Meta::genesis(self.identity) } else { Meta::renewed(self.identity) }
    }

    /// What the process last said is usually the reason.
    fn why(&self, id: NodeId, how: &str) -> Broken {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        match log.lines().rev().find(|line| !line.trim().is_empty()) {
            Some(last) => format!("{id}: {how}; it last said: {last}"),
            None => format!("{id}: {how}"),
        }
    }
}
