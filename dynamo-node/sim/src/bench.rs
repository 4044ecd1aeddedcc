//! The bare core of a whole cluster, one step at a time: nodes, disks, messages under way, timers set.
//!
//! It decides nothing: what happens next is a [`Step`] from outside, and what cannot happen now is
//! refused. It keeps the host's side of the core's contract: outputs wait for what they rest on.

use std::collections::VecDeque;
use std::sync::Arc;

use dynamo_protocol::membership::Membership;
use dynamo_protocol::mutant::{Mutant, mutated};
use dynamo_protocol::{
    ClientOp, Context, Digest, Enrolment, Envelope, Epoch, Identity, Input, Key, Message, Meta,
    Node, NodeId, Outbox, Output, Reply, RequestId, Settings, Skew, Start, Time, Timer, View,
    ViewError,
};
use rustc_hash::FxHashMap;
use thiserror::Error;

use crate::disk::Disk;
use crate::effect::{Breach, Effect};
use crate::flight::Flight;
use crate::host::{Host, index};
use crate::invariants::Monitor;
use crate::trace::{Cluster, Op, Step, Sync};

/// What a node's wall clock shows at the start, in microseconds since the Unix epoch: far enough
/// from zero for clocks that run behind.
pub const CLOCK_START: i64 = 1_700_000_000_000_000;

/// A cluster that takes steps.
#[derive(Clone, Debug)]
pub struct Bench {
    cluster: Cluster,
    settings: Arc<Settings>,
    view: Arc<View>,
    /// Those of later epochs that nodes started in: a ring is costly.
    views: Vec<Arc<View>>,
    hosts: Vec<Host>,
    flight: Flight,
    now: u64,
    cut: Vec<(NodeId, NodeId)>,
    contexts: FxHashMap<RequestId, Context>,
    monitor: Option<Box<Monitor>>,
    effects: Vec<Effect>,
    /// Kept from step to step for its room.
    outbox: Outbox,
}

/// A step that cannot happen now.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StepError {
    /// No such node.
    #[error("{0} is no node of this cluster")]
    NoNode(NodeId),
    /// Not running.
    #[error("{0} does not run")]
    Stopped(NodeId),
    /// It has not joined.
    #[error("{0} is no member: it has to join first")]
    NoMember(NodeId),
    /// Running.
    #[error("{0} runs: crash it first")]
    Running(NodeId),
    /// Without a backup.
    #[error("{0} has no backup to be restored")]
    NoBackup(NodeId),
    /// Paused.
    #[error("{0} is paused")]
    Paused(NodeId),
    /// No such message.
    #[error("message {0} is not under way")]
    NoMessage(u64),
    /// A cut link.
    #[error("message {message} cannot arrive: the link {from}->{to} is cut")]
    Cut {
        /// Which.
        message: u64,
        /// Its sender.
        from: NodeId,
        /// Its receiver.
        to: NodeId,
    },
    /// No such timer.
    #[error("{0} has set no timer {1:?}")]
    NoTimer(NodeId, Timer),
    /// Time goes on.
    #[error("time cannot go back from {now} us to {at} us")]
    Past {
        /// It is now.
        now: u64,
        /// It was to be.
        at: u64,
    },
}

impl Bench {
    /// A new cluster, none of whose nodes runs yet.
    ///
    /// # Errors
    /// If there is no such cluster.
    pub fn new(cluster: Cluster) -> Result<Self, ViewError> {
        Ok(Self::with_view(cluster, Arc::new(cluster.view()?)))
    }

    /// The same, with a view made earlier for this very cluster: a ring is costly.
    #[must_use]
    pub fn with_view(cluster: Cluster, view: Arc<View>) -> Self {
        let meta = |id: NodeId| {
            let identity = cluster.identity(id);
            let is_founder = id.0 <= cluster.nodes;
            if is_founder { Meta::genesis(identity) } else { Meta::renewed(identity) }
        };
        let host = |id: NodeId| Host {
            node: None,
            disk: Disk::new(meta(id)).counting(cluster.counts),
            held: VecDeque::new(),
            backup: None,
            timers: Vec::new(),
            settings: 0,
            skew: (Skew::NONE, 0),
            paused: false,
            starts: 0,
        };
        Self {
            cluster,
            settings: Arc::new(cluster.settings),
            view,
            views: Vec::new(),
            hosts: cluster.ids().map(host).collect(),
            flight: Flight::default(),
            now: 0,
            cut: Vec::new(),
            contexts: FxHashMap::default(),
            monitor: None,
            effects: Vec::new(),
            outbox: Outbox::default(),
        }
    }

    /// Checks the white-box invariants after every step from now on.
    pub fn watch(&mut self) {
        self.monitor = Some(Box::new(Monitor::new(&self.cluster)));
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The view of the highest epoch that a running node goes by; that of the genesis if none runs.
    #[must_use]
    pub fn view(&self) -> &Arc<View> {
        let views = self.hosts.iter().filter_map(|host| host.node.as_ref()).map(Node::view);
        views.max_by_key(|view| view.epoch()).unwrap_or(&self.view)
    }

    /// The view that the node would start in now; none if it is no member of that.
    #[must_use]
    pub fn view_at_start(&self, node: NodeId) -> Option<Arc<View>> {
        let epochs = &self.host(node).disk.enrolment().epochs;
        let last = epochs.last().map_or(Epoch::GENESIS, Membership::epoch);
        let running = self.hosts.iter().filter_map(|host| host.node.as_ref()).map(Node::view);
        let known = running.chain(&self.views).chain([&self.view]);
        let known = known.into_iter().find(|view| view.epoch() == last).map(Arc::clone);
        let view = known.unwrap_or_else(|| {
            let view = View::of(&self.settings, epochs.clone());
            Arc::new(view.unwrap_or_else(|why| panic!("a disk of a run keeps a history: {why}")))
        });
        view.contains(node).then_some(view)
    }

    /// The time of the last step.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }

    /// What the wall clock of `node` reads now: what it is handed with its next input.
    ///
    /// # Panics
    /// If the cluster has no such node.
    #[must_use]
    pub fn wall(&self, node: NodeId) -> Time {
        let (skew, since) = self.host(node).skew;
        let truth = i128::from(CLOCK_START) + i128::from(self.now);
        Time(skew.apply(truth, i128::from(self.now.saturating_sub(since))))
    }

    /// What is handed to a client's request in the place of `op`: the context of the get it names.
    #[must_use]
    pub fn client_op(&self, op: &Op) -> ClientOp {
        let key = op.key();
        match op {
            Op::Get { .. } => ClientOp::Get { key },
            Op::Put { value, read, made_up, .. } => {
                let context = read.and_then(|read| self.contexts.get(&read));
                let mut context = context.cloned().unwrap_or_default();
                if let Some(made_up) = made_up {
                    context.0.join(&made_up.0);
                }
                ClientOp::Put { key, context, value: value.clone() }
            }
        }
    }

    /// A host.
    ///
    /// # Panics
    /// If the cluster has no such node.
    #[must_use]
    pub fn host(&self, node: NodeId) -> &Host {
        &self.hosts[index(node)]
    }

    /// The messages under way and their numbers, in the order of sending.
    pub fn flight(&self) -> impl Iterator<Item = (u64, &Envelope)> {
        self.flight.iter()
    }

    /// How many messages were sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.flight.sent()
    }

    /// The message of this number, if it is under way.
    #[must_use]
    pub fn message(&self, number: u64) -> Option<&Envelope> {
        self.flight.get(number)
    }

    /// The number of a message that is under way; of equal ones that of the first.
    #[must_use]
    pub fn find(&self, envelope: &Envelope) -> Option<u64> {
        self.flight().find(|(_, sent)| *sent == envelope).map(|(number, _)| number)
    }

    /// Whether the directed link is cut.
    #[must_use]
    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cut.contains(&(from, to))
    }

    /// The digest of a host.
    ///
    /// # Panics
    /// If the cluster has no such node.
    #[must_use]
    pub fn digest(&self, node: NodeId) -> Digest {
        let host = self.host(node);
        host.disk.digest(host.node.as_ref())
    }

    /// The host that `step` will touch, if it touches one.
    #[must_use]
    pub fn touched(&self, step: &Step) -> Option<NodeId> {
        match step {
            Step::Deliver { message, .. } => self.flight.get(*message).map(|sent| sent.to),
            _ => step.node(),
        }
    }

    /// What happened since this was last asked, in order.
    pub fn effects(&mut self) -> std::vec::Drain<'_, Effect> {
        self.effects.drain(..)
    }

    /// The same, for room that is used again and again: what `effects` held is dropped.
    pub(crate) fn swap_effects(&mut self, effects: &mut Vec<Effect>) {
        effects.clear();
        std::mem::swap(&mut self.effects, effects);
    }

    /// Takes one step at time `at`.
    ///
    /// # Errors
    /// If it cannot happen now; nothing has changed then.
    pub fn take(&mut self, at: u64, step: &Step) -> Result<(), StepError> {
        if at < self.now {
            return Err(StepError::Past { now: self.now, at });
        }
        if let Some(node) = step.node() {
            self.check_node(node)?;
        }
        self.carry_out(at, step)
    }

    fn carry_out(&mut self, at: u64, step: &Step) -> Result<(), StepError> {
        match step {
            Step::Start { node, incarnation, spare } => {
                self.start(at, *node, *incarnation, *spare)?;
            }
            Step::Client { node, request, op } => {
                self.check_runs(*node)?;
                let op = self.client_op(op);
                self.now = at;
                self.handle(*node, Input::Client { request: *request, op });
            }
            Step::Deliver { message, again } => self.deliver(at, *message, *again)?,
            Step::Lose { message } => {
                self.flight.take(*message).ok_or(StepError::NoMessage(*message))?;
            }
            Step::Timer { node, timer } => {
                self.check_runs(*node)?;
                let set = self.hosts[index(*node)].take_timer(timer);
                set.ok_or(StepError::NoTimer(*node, *timer))?;
                self.now = at;
                self.handle(*node, Input::Timer(*timer));
            }
            Step::Unreachable { node, peer } => {
                self.check_runs(*node)?;
                self.now = at;
                self.handle(*node, Input::Unreachable(*peer));
            }
            Step::Prune { node, key } => {
                self.check_runs(*node)?;
                self.now = at;
                self.handle(*node, Input::Prune(Key(key.clone())));
            }
            Step::Propose { node, edit } => {
                self.check_runs(*node)?;
                self.now = at;
                self.handle(*node, Input::Propose { edit: *edit, expect: None });
            }
            Step::Enrol { node, by } => self.enrol(*node, *by)?,
            Step::Synced { node, changes } => {
                self.now = at;
                let batch = self.host(*node).disk.synced() + changes;
                self.sync(*node, batch);
                self.release(*node);
            }
            Step::Crash { node, keep } => self.crash(*node, *keep)?,
            Step::Wipe { node, identity } => self.wipe(*node, *identity)?,
            Step::BackUp { node } => {
                let host = &mut self.hosts[index(*node)];
                host.backup = Some(Box::new(host.disk.backed_up()));
            }
            Step::Restore { node } => self.restore(*node)?,
            Step::Disk { node, fault } => {
                if let Some(monitor) = &mut self.monitor {
                    monitor.before_disk_fault(&self.hosts, *node, fault);
                }
                self.hosts[index(*node)].disk.misbehave(fault);
            }
            Step::Clock { node, skew } => self.hosts[index(*node)].skew = (*skew, at),
            Step::Cut { from, to } => {
                if !self.is_cut(*from, *to) {
                    self.cut.push((*from, *to));
                }
            }
            Step::Heal { from, to } => self.cut.retain(|link| *link != (*from, *to)),
            Step::Pause { node } => self.hosts[index(*node)].paused = true,
            Step::Resume { node } => self.hosts[index(*node)].paused = false,
        }
        self.now = at;
        Ok(())
    }

    fn enrol(&mut self, node: NodeId, by: NodeId) -> Result<(), StepError> {
        self.check_node(by)?;
        if self.host(node).node.is_some() {
            return Err(StepError::Running(node));
        }
        let of = self.host(by).node.as_ref().ok_or(StepError::Stopped(by))?;
        let epochs = of.view().history().epochs().to_vec();
        self.hosts[index(node)].disk.enrol(node, epochs);
        Ok(())
    }

    fn check_node(&self, node: NodeId) -> Result<(), StepError> {
        let known = (1..=self.cluster.nodes + self.cluster.spares).contains(&node.0);
        if known { Ok(()) } else { Err(StepError::NoNode(node)) }
    }

    fn check_runs(&self, node: NodeId) -> Result<(), StepError> {
        self.check_node(node)?;
        let host = self.host(node);
        match &host.node {
            None => Err(StepError::Stopped(node)),
            Some(_) if host.paused => Err(StepError::Paused(node)),
            Some(_) => Ok(()),
        }
    }

    fn start(
        &mut self,
        at: u64,
        node: NodeId,
        incarnation: u64,
        spare: Option<Identity>,
    ) -> Result<(), StepError> {
        if self.host(node).node.is_some() {
            return Err(StepError::Running(node));
        }
        let settings = Arc::clone(&self.settings);
        let view = self.view_at_start(node).ok_or(StepError::NoMember(node))?;
        if self.views.iter().all(|known| known.epoch() != view.epoch()) {
            self.views.push(Arc::clone(&view));
        }
        let host = &mut self.hosts[index(node)];
        let (meta, heard) = (*host.disk.meta(), host.disk.heard().clone());
        let Enrolment { ballots, counted, .. } = host.disk.enrolment().clone();
        let start = Start { meta, heard, incarnation, spare, ballots, counted };
        host.node = Some(Node::new(node, settings, view, start));
        host.starts += 1;
        self.now = at;
        self.handle(node, Input::Started);
        Ok(())
    }

    fn deliver(&mut self, at: u64, message: u64, again: bool) -> Result<(), StepError> {
        let sent = self.flight.get(message).ok_or(StepError::NoMessage(message))?;
        let (from, to) = (sent.from, sent.to);
        self.check_runs(to)?;
        if self.is_cut(from, to) {
            return Err(StepError::Cut { message, from, to });
        }
        let sent =
            if again { self.flight.get(message).cloned() } else { self.flight.take(message) };
        let sent = sent.ok_or(StepError::NoMessage(message))?;
        self.now = at;
        if let Some(monitor) = &mut self.monitor {
            monitor.delivered(&sent);
        }
        self.handle(to, Input::Peer(sent));
        Ok(())
    }

    fn crash(&mut self, node: NodeId, keep: u64) -> Result<(), StepError> {
        let host = &mut self.hosts[index(node)];
        if host.node.take().is_none() {
            return Err(StepError::Stopped(node));
        }
        let before = self.monitor.is_some().then(|| host.disk.clone());
        host.disk.crash(keep);
        host.held.clear();
        host.timers.clear();
        host.paused = false;
        let Some(before) = before else { return Ok(()) };
        if !host.disk.has_recovered(&before, keep) {
            let check = "recovery-oracle";
            let what =
                "after a crash the disk holds what no run of whole batches leaves, or lacks \
                        what was reported durable"
                    .to_owned();
            self.effects.push(Effect::Breached(Breach { check, node, what }));
        }
        if let Some(monitor) = &self.monitor {
            monitor.crashed(&self.hosts, node, &before, &mut self.effects);
        }
        Ok(())
    }

    /// Looks for acknowledged puts that too few disks hold, and says it of `node`.
    pub fn sweep(&mut self, node: NodeId) {
        if let Some(monitor) = &self.monitor {
            monitor.sweep(&self.hosts, node, &mut self.effects);
        }
    }

    fn wipe(&mut self, node: NodeId, identity: Identity) -> Result<(), StepError> {
        if self.host(node).node.is_some() {
            return Err(StepError::Running(node));
        }
        if let Some(monitor) = &mut self.monitor {
            monitor.before_wipe(&self.hosts, node);
        }
        self.hosts[index(node)].disk.wipe(identity);
        Ok(())
    }

    fn restore(&mut self, node: NodeId) -> Result<(), StepError> {
        let host = &mut self.hosts[index(node)];
        if host.node.is_some() {
            return Err(StepError::Running(node));
        }
        let backup = host.backup.clone().ok_or(StepError::NoBackup(node))?;
        if let Some(monitor) = &mut self.monitor {
            monitor.before_restore(&self.hosts, node, &backup);
        }
        self.hosts[index(node)].disk.put_back(&backup);
        self.flight.drop_from(node);
        Ok(())
    }

    /// Hands the node an input and holds back what it wants done.
    fn handle(&mut self, id: NodeId, input: Input) {
        let wall = self.wall(id);
        let host = &mut self.hosts[index(id)];
        let Some(node) = &mut host.node else { return };
        let before = host.disk.applied();
        let told = self.monitor.as_deref_mut().and_then(|monitor| monitor.note(&input));
        self.outbox.outputs.clear();
        node.handle(wall, input, &mut host.disk, &mut self.outbox);
        if let Some(monitor) = &mut self.monitor {
            let breaches = &mut self.effects;
            monitor.handled(&self.hosts, id, told, before, &self.outbox.outputs, breaches);
        }
        let host = &mut self.hosts[index(id)];
        let mut rests_on = host.disk.applied();
        if mutated(Mutant::AckUnsynced)
            || mutated(Mutant::CoordinatorUnsynced) && self.outbox.outputs.iter().all(is_no_vote)
        {
            rests_on = 0;
        }
        if host.held.is_empty() && host.disk.synced() >= rests_on {
            // Nothing waits, and this has to wait for nothing.
            let mut outputs = std::mem::take(&mut self.outbox.outputs);
            outputs.drain(..).for_each(|output| self.let_out(id, output));
            self.outbox.outputs = outputs;
            return;
        }
        host.held.extend(self.outbox.outputs.drain(..).map(|output| (rests_on, output)));
        if self.cluster.sync == Sync::EachStep {
            self.sync(id, rests_on);
        }
        self.release(id);
    }

    /// The batches up to `batch` become durable.
    fn sync(&mut self, id: NodeId, batch: u64) {
        let forgotten = match &self.monitor {
            Some(_) => self.host(id).disk.forgotten_by(batch),
            None => Vec::new(),
        };
        self.hosts[index(id)].disk.sync_to(batch);
        if let Some(monitor) = &self.monitor {
            monitor.forgot(&self.hosts, id, &forgotten, &mut self.effects);
        }
    }

    /// Lets out what rests on nothing that is not durable.
    fn release(&mut self, id: NodeId) {
        loop {
            let host = &mut self.hosts[index(id)];
            let durable = host.disk.synced();
            if host.held.front().is_none_or(|(batch, _)| *batch > durable) {
                return;
            }
            let Some((_, output)) = host.held.pop_front() else { return };
            self.let_out(id, output);
        }
    }

    fn let_out(&mut self, id: NodeId, output: Output) {
        let host = &mut self.hosts[index(id)];
        match output {
            Output::Send(envelope) => {
                if let Some(monitor) = &mut self.monitor {
                    monitor.sent(&envelope);
                }
                self.effects.push(Effect::Sent(self.flight.send(envelope)));
            }
            Output::Reply(request, reply) => {
                if let Reply::Got { context, .. } | Reply::Done { context: Some(context) } = &reply
                {
                    self.contexts.insert(request, context.clone());
                }
                self.effects.push(Effect::Replied(request, reply));
            }
            Output::SetTimer(timer, after) => {
                host.settings += 1;
                host.take_timer(&timer);
                host.timers.push((timer, host.settings));
                self.effects.push(Effect::TimerSet(id, timer, host.settings, after));
            }
            Output::CancelTimer(timer) => {
                host.take_timer(&timer);
            }
            Output::Event(event) => {
                if let Some(monitor) = &mut self.monitor {
                    monitor.told(&self.hosts, id, &event, &mut self.effects);
                }
                self.effects.push(Effect::Told(id, event));
            }
        }
    }
}

/// Whether it is no replica's word to another node.
fn is_no_vote(output: &Output) -> bool {
    let Output::Send(envelope) = output else { return true };
    !matches!(envelope.message, Message::Stored { .. })
}
