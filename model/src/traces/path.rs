//! Paths become traces: what the model found, in the project's one trace format.
//!
//! A path is walked twice more, side by side: as it was found, and in a world whose operations keep
//! the names a real node gives them. A step of the second is the one that leads to the same state
//! but for names. What the hosts are handed on the way is what the trace says.

use std::collections::BTreeMap;

use dynamo_protocol::{
    ClientOp, Digest, Input, Message, NodeId, Place, RequestId, Role, Skew, Timer, Versioning,
};
use dynamo_sim::Recorder;
use dynamo_sim::bench::{CLOCK_START, StepError};
use dynamo_sim::disk::DiskFault;
use dynamo_sim::trace::{Cluster, Op, Step as Taken, Sync, Trace};
use thiserror::Error;

use crate::world::host::HostInput;
use crate::world::model::DynamoModel;
use crate::world::script::requested;
use crate::world::spec::{Durability, Setup, Spec, TOKENS};
use crate::world::state::{Action, World};
use crate::world::step::{Ran, Step};
use crate::world::tables::Tables;

/// A path that has no trace.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// The simulator has no such cluster.
    #[error("no cluster for the trace: {0}")]
    Cluster(#[from] dynamo_protocol::ViewError),
    /// The simulator refuses a step.
    #[error("step {at} of the path cannot be taken by the simulator: {why}")]
    Refused {
        /// The step, from 1.
        at: usize,
        /// Why.
        why: StepError,
    },
    /// A message of the model is not under way in the simulator.
    #[error("step {0} of the path: what arrives was not sent in the simulator")]
    NotSent(usize),
    /// No step under real names leads to the same state.
    #[error("step {0} of the path has no counterpart under the nodes' own names")]
    Strayed(usize),
    /// A disk came out another.
    #[error("{0} holds something else in the simulator than in the model")]
    Differs(NodeId),
    /// The trace format has no word for it.
    #[error("the trace format has no word for {0}")]
    NoWord(&'static str),
}

/// A path on its way to a trace.
struct Walk<'a> {
    model: &'a DynamoModel,
    tables: &'a mut Tables,
    /// The model, but with the names that nodes give.
    named: Spec,
    world: World,
    recorder: Recorder,
    /// The get that each client's context comes from.
    reads: BTreeMap<usize, RequestId>,
    at: usize,
}

impl DynamoModel {
    /// The path of `actions` from the first state as a trace, every step with the digest of the host
    /// it happens to.
    ///
    /// # Errors
    /// If the trace format cannot say it, or if the simulator does not do what the model did: a bug.
    pub fn to_trace(&self, actions: &[Action], name: &str) -> Result<Trace, PathError> {
        let tables = &mut *self.lock();
        let mut world = self.first(tables);
        let mut walk = Walk::new(self, tables)?;
        for (index, action) in actions.iter().enumerate() {
            walk.at = index + 1;
            self.take_one(walk.tables, &mut world, *action);
            walk.follow(*action, &world)?;
        }
        walk.compare()?;
        let mut trace = walk.recorder.finish(name);
        trace.mutant.clone_from(&self.spec.mutant);
        Ok(trace)
    }
}

impl<'a> Walk<'a> {
    fn new(model: &'a DynamoModel, tables: &'a mut Tables) -> Result<Self, PathError> {
        let spec = &model.spec;
        if matches!(spec.durability, Durability::Buffered | Durability::One) {
            return Err(PathError::NoWord("writes that are acknowledged before they are durable"));
        }
        if !spec.shifts.is_empty() {
            return Err(PathError::NoWord("a node that learns of a membership by itself"));
        }
        let mut named = spec.clone();
        let reductions = &mut named.reductions;
        (reductions.renaming, reductions.lazy, reductions.ample, reductions.direct) =
            (false, false, false, false);
        (reductions.finished, reductions.unread) = (false, false);
        let nodes = u16::try_from(spec.nodes).expect("there are few nodes");
        let cluster = Cluster {
            tokens: TOKENS,
            zones: 1,
            settings: spec.settings,
            sync: match spec.durability {
                Durability::Group => Sync::Explicit,
                Durability::Step | Durability::One | Durability::Buffered => Sync::EachStep,
            },
            counts: spec.faults.rollbacks > 0,
            identities: 0,
            nodes,
            spares: 0,
        };
        let recorder = Recorder::new(cluster)?;
        let world = model.first_of(&named, tables);
        let mut walk =
            Self { model, tables, named, world, recorder, reads: BTreeMap::new(), at: 0 };
        walk.begin()?;
        Ok(walk)
    }

    /// Starts every node and, where it makes a difference, has each hear from every other.
    fn begin(&mut self) -> Result<(), PathError> {
        let ids = self.model.setup.ids.clone();
        for (me, node) in (0..).zip(ids.iter().copied()) {
            let incarnation = Setup::incarnation(me, 1);
            self.take(Taken::Start { node, incarnation, spare: None })?;
        }
        if !self.named.reductions.warm || self.named.faults.wipes == 0 {
            return Ok(());
        }
        for (index, &node) in ids.iter().enumerate() {
            for &peer in &ids[index + 1..] {
                self.take(Taken::Unreachable { node, peer })?;
                self.take(Taken::Timer { node, timer: Timer::Ping(peer) })?;
                for _ in ["ping", "pong"] {
                    let under_way = self.recorder.bench().flight().next();
                    let message = under_way.ok_or(PathError::NotSent(0))?.0;
                    self.take(Taken::Deliver { message, again: false })?;
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, step: Taken) -> Result<(), PathError> {
        let at = self.at;
        self.recorder.take(step).map_err(|why| PathError::Refused { at, why })
    }

    /// Takes the step that `action` is under the names of this world, which leads to `wanted`.
    fn follow(&mut self, action: Action, wanted: &World) -> Result<(), PathError> {
        let mut open = Vec::new();
        self.step(&mut self.world.clone()).enabled(&mut open);
        let alike = |other: &Action| {
            std::mem::discriminant(other) == std::mem::discriminant(&action)
                && (matches!(action, Action::Deliver(_) | Action::Lose(_) | Action::Fire { .. })
                    || *other == action)
        };
        // Whether a forwarded request arrived within its step depends on reductions that are off here.
        let others: Vec<_> = open.into_iter().filter(alike).collect();
        let ways = [None, Some(false), Some(true)];
        let all = ways.into_iter().flat_map(|way| others.iter().map(move |other| (*other, way)));
        for (other, forwards) in all {
            let mut next = self.world.clone();
            let mut step = self.step(&mut next);
            (step.log, step.forwards) = (Some(Vec::new()), forwards);
            step.world.history.flags = 0;
            step.apply(other);
            step.tidy();
            step.forget_fetches_of_nobody();
            let ran = step.log.take().unwrap_or_default();
            if self.is_like(&mut next, wanted) {
                self.before(other)?;
                for ran in ran {
                    self.retell(ran)?;
                }
                self.world = next;
                return Ok(());
            }
        }
        Err(PathError::Strayed(self.at))
    }

    fn step<'s>(&'s mut self, world: &'s mut World) -> Step<'s> {
        let (spec, setup) = (&self.named, &self.model.setup);
        Step { spec, setup, tables: self.tables, world, changed: 0, log: None, forwards: None }
    }

    /// Whether `world` is `wanted` but for names. What is under way twice under two names that came
    /// to be one, and arrived once, is under way no more.
    fn is_like(&mut self, world: &mut World, wanted: &World) -> bool {
        let flight = std::mem::take(&mut world.flight);
        let mut kept = flight.clone();
        kept.retain(|message| {
            world.flight = std::iter::once(*message).collect();
            wanted.flight.contains(&self.renamed(world).flight[0])
        });
        world.flight = kept;
        self.renamed(world) == *wanted
    }

    fn renamed(&mut self, world: &World) -> World {
        let mut world = world.clone();
        let (spec, setup) = (&self.model.spec, &self.model.setup);
        let tables = &mut *self.tables;
        let mut step =
            Step { spec, setup, tables, world: &mut world, changed: 0, log: None, forwards: None };
        step.rename();
        world
    }

    /// What an action does to the network, before any host is handed something.
    fn before(&mut self, action: Action) -> Result<(), PathError> {
        match action {
            Action::Lose(message) => {
                let message = self.number(message)?;
                self.take(Taken::Lose { message })
            }
            Action::Cut(side) => self.links(side, |from, to| Taken::Cut { from, to }),
            Action::Heal => self.links(self.world.cut, |from, to| Taken::Heal { from, to }),
            _ => Ok(()),
        }
    }

    fn links(&mut self, side: u8, step: impl Fn(NodeId, NodeId) -> Taken) -> Result<(), PathError> {
        let ids = self.model.setup.ids.clone();
        for (a, from) in ids.iter().enumerate() {
            for (b, to) in ids.iter().enumerate() {
                if (side >> a & 1) != (side >> b & 1) {
                    self.take(step(*from, *to))?;
                }
            }
        }
        Ok(())
    }

    fn number(&self, message: u32) -> Result<u64, PathError> {
        let HostInput::Handle(Input::Peer(envelope)) = self.tables.inputs.get(message) else {
            return Err(PathError::NotSent(self.at));
        };
        // Which stores last is forgotten in the model where nothing goes early (`world/host.rs`); the
        // simulator knows it.
        let mut lasting = envelope.clone();
        if let Message::Store { lasts, .. } = &mut lasting.message {
            *lasts = true;
        }
        let bench = self.recorder.bench();
        let found = bench.find(envelope).or_else(|| bench.find(&lasting));
        found.ok_or(PathError::NotSent(self.at))
    }

    /// What a host was handed, as a step of the trace.
    fn retell(&mut self, ran: Ran) -> Result<(), PathError> {
        let node = self.model.setup.ids[usize::from(ran.node)];
        match self.tables.inputs.get(ran.input).clone() {
            HostInput::Handle(input) => self.retell_input(node, ran.input, input)?,
            HostInput::Start => {
                let starts = self.tables.hosts.get(ran.host).starts;
                let incarnation = Setup::incarnation(ran.node, starts);
                let setup = &self.model.setup;
                let is_doubtful = setup.counts && setup.renew && starts > 1;
                let spare = is_doubtful.then(|| Setup::spare(ran.node, starts));
                self.take(Taken::Start { node, incarnation, spare })?;
            }
            // The operating system still writes what the process had given it.
            HostInput::Crash => self.take(Taken::Crash { node, keep: u64::from(u32::MAX) })?,
            HostInput::PowerCut => self.take(Taken::Crash { node, keep: 0 })?,
            HostInput::Wipe => self.wipe(node, ran)?,
            HostInput::Forget => {
                let fault = DiskFault::Forget(Role::Home, self.model.setup.key.clone());
                self.take(Taken::Disk { node, fault })?;
            }
            HostInput::BackUp => self.take(Taken::BackUp { node })?,
            HostInput::Restore => {
                if self.recorder.bench().host(node).node().is_some() {
                    self.take(Taken::Crash { node, keep: 0 })?;
                }
                self.take(Taken::Restore { node })?;
            }
            HostInput::Sync => {
                let disk = self.recorder.bench().host(node).disk();
                let changes = disk.applied() - disk.synced();
                self.take(Taken::Synced { node, changes })?;
            }
        }
        if let Some(request) = ran.read {
            self.reads.insert(requested(request).0, request);
        }
        Ok(())
    }

    fn wipe(&mut self, node: NodeId, ran: Ran) -> Result<(), PathError> {
        if self.recorder.bench().host(node).node().is_some() {
            self.take(Taken::Crash { node, keep: 0 })?;
        }
        if self.named.renew {
            let identity = self.tables.hosts.get(ran.host).store.meta.identity;
            self.take(Taken::Wipe { node, identity })
        } else {
            self.take(Taken::Disk { node, fault: DiskFault::Empty })
        }
    }

    fn retell_input(&mut self, node: NodeId, number: u32, input: Input) -> Result<(), PathError> {
        self.set_clock(node, &input)?;
        let step = match input {
            Input::Client { request, op } => {
                let client = requested(request).0;
                let op = match op {
                    ClientOp::Get { key } => Op::Get { key: key.0 },
                    ClientOp::Put { key, value, .. } => {
                        let read = self.reads.get(&client).copied();
                        Op::Put { key: key.0, value, read, made_up: None }
                    }
                };
                Taken::Client { node, request, op }
            }
            Input::Peer(_) => Taken::Deliver { message: self.number(number)?, again: false },
            Input::Timer(timer) => Taken::Timer { node, timer },
            Input::Unreachable(peer) => Taken::Unreachable { node, peer },
            Input::Started => return Err(PathError::NoWord("a start without a process")),
            Input::Prune(_)
            | Input::AcceptLoss
            | Input::Propose { .. }
            | Input::ForceEpoch { .. } => {
                return Err(PathError::NoWord("an operator"));
            }
        };
        self.take(step)
    }

    /// Under last-writer-wins clocks show what they show in the model.
    fn set_clock(&mut self, node: NodeId, input: &Input) -> Result<(), PathError> {
        let shows = crate::world::host::clock(&self.model.setup, input).0;
        if self.named.settings.versioning != Versioning::Lww || shows == 0 {
            return Ok(());
        }
        let offset = i64::try_from(shows).expect("scripts are short") - CLOCK_START;
        self.take(Taken::Clock { node, skew: Skew::by(offset) })
    }

    /// Every disk of the simulator holds what it holds in the model.
    fn compare(&self) -> Result<(), PathError> {
        for (number, node) in self.world.hosts.iter().zip(&self.model.setup.ids) {
            let store = &self.tables.hosts.get(*number).store;
            let records: Vec<(&Place, _)> = store.records.iter().collect();
            let wanted = Digest::of_host(None, &store.meta, records);
            if self.recorder.bench().host(*node).disk().digest(None) != wanted {
                return Err(PathError::Differs(*node));
            }
        }
        Ok(())
    }
}
