//! One host: the core's node, its disk, and what the host owes both. No protocol rule is here.

use std::collections::BTreeSet;
use std::sync::Arc;

use dynamo_protocol::mutant::{Mutant, mutated};
use dynamo_protocol::{
    ClientOp, Enrolment, Input, MemoryStore, Message, Meta, Node, Outbox, Output, Place, Role,
    Start, Time, Timer,
};

use crate::world::spec::{Durability, Setup};

/// Everything of one host that may differ between two states.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Host {
    pub(crate) me: u8,
    /// None while the process is down.
    pub(crate) node: Option<Node>,
    /// The store as the node reads it.
    pub(crate) store: MemoryStore,
    /// What a power cut leaves, if that is less than `store`.
    pub(crate) durable: Option<Box<MemoryStore>>,
    /// Outputs that wait for the sync.
    pub(crate) held: Vec<Output>,
    /// Timers that are set.
    pub(crate) timers: BTreeSet<Timer>,
    pub(crate) starts: u8,
    pub(crate) wipes: u8,
    /// What its directory may be put back to.
    pub(crate) backup: Option<Box<MemoryStore>>,
}

/// Everything that can happen to a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum HostInput {
    /// An input of the core.
    Handle(Input),
    /// The process starts on its disk.
    Start,
    /// The process ends.
    Crash,
    /// The process ends and the directory is emptied.
    Wipe,
    /// The home record is gone; the node notices nothing.
    Forget,
    /// The process ends and what was not synced is gone.
    PowerCut,
    /// What was applied is durable from now on.
    Sync,
    /// The directory as it is now is kept.
    BackUp,
    /// The process ends and the directory is what was kept.
    Restore,
}

/// A host after an input, and the outputs it let go.
pub(crate) struct Stepped {
    pub(crate) host: Host,
    pub(crate) outputs: Vec<Output>,
    /// The core's assertion that failed.
    pub(crate) panic: Option<String>,
}

impl Host {
    /// A host whose directory was made at the cluster's genesis, its process not started.
    pub(crate) fn genesis(setup: &Setup, me: u8) -> Self {
        let identity = Setup::identity(me, 0);
        let id = setup.ids[usize::from(me)];
        let is_founder = setup.views[0].contains(id);
        let meta = if is_founder { Meta::genesis(identity) } else { Meta::renewed(identity) };
        let mut store =
            if setup.counts { MemoryStore::counting(meta) } else { MemoryStore::new(meta) };
        // It was told with its join.
        let known = setup.views.iter().find(|view| view.contains(id)).filter(|_| !is_founder);
        if let Some(view) = known {
            let epochs = view.history().epochs().to_vec();
            (store.meta, store.enrolment) = Enrolment::told(id, meta, epochs);
        }
        Self {
            me,
            node: None,
            store,
            durable: None,
            held: Vec::new(),
            timers: BTreeSet::new(),
            starts: 0,
            wipes: 0,
            backup: None,
        }
    }

    /// What is on its disk for sure.
    pub(crate) fn disk(&self) -> &MemoryStore {
        self.durable.as_deref().unwrap_or(&self.store)
    }

    /// The state after `input`.
    pub(crate) fn step(&self, setup: &Setup, input: &HostInput) -> Stepped {
        let mut host = self.clone();
        let mut outputs = Vec::new();
        let mut panic = None;
        match input {
            HostInput::Handle(input) => (outputs, panic) = host.handle(setup, input),
            HostInput::Start => (outputs, panic) = host.start(setup),
            HostInput::Crash => host.end(),
            HostInput::Wipe => host.wipe(setup),
            HostInput::Forget => {
                host.store.records.remove(&Place::home(setup.key.clone()));
            }
            HostInput::PowerCut => host.lose_power(),
            HostInput::Sync => outputs = host.sync(),
            HostInput::BackUp => host.backup = Some(Box::new(host.disk().clone())),
            HostInput::Restore => {
                host.end();
                host.store = *host.backup.take().expect("only what was kept is put back");
            }
        }
        Stepped { host, outputs, panic }
    }

    fn start(&mut self, setup: &Setup) -> (Vec<Output>, Option<String>) {
        self.starts += 1;
        let me = setup.ids[usize::from(self.me)];
        let Enrolment { epochs, ballots, counted } = self.store.enrolment.clone();
        let view = &setup.views[epochs.len().saturating_sub(1)];
        let (settings, view) = (Arc::clone(&setup.settings), Arc::clone(view));
        let incarnation = Setup::incarnation(self.me, self.starts);
        let (meta, heard) = (self.store.meta, self.store.heard.clone());
        // The first start makes the directory.
        let is_doubtful = setup.counts && setup.renew && self.starts > 1;
        let spare = is_doubtful.then(|| Setup::spare(self.me, self.starts));
        let start = Start { meta, heard, incarnation, spare, ballots, counted };
        self.node = Some(Node::new(me, settings, view, start));
        self.handle(setup, &Input::Started)
    }

    fn handle(&mut self, setup: &Setup, input: &Input) -> (Vec<Output>, Option<String>) {
        let Some(node) = &mut self.node else { return (Vec::new(), None) };
        if let Input::Timer(timer) = input {
            self.timers.remove(timer);
        }
        let mut outbox = Outbox::default();
        let before = (setup.durability != Durability::Step).then(|| self.store.clone());
        let (now, early) = (clock(setup, input), input.early());
        let lax = setup.durability == Durability::One;
        let panic = crate::search::panics::catch(|| {
            node.handle(now, input.clone(), &mut self.store, &mut outbox);
        });
        if panic.is_some() {
            self.end();
            return (Vec::new(), panic);
        }
        // Where nothing goes early it is no difference between messages.
        outbox.outputs.iter_mut().filter(|_| !lax).for_each(forget_what_lasts);
        if let Some(before) = before
            && self.durable.is_none()
            && before != self.store
        {
            self.durable = Some(Box::new(before));
        }
        if setup.changes()
            && let Some(node) = &mut self.node
        {
            node.forget_gossip();
        }
        let waits = matches!(setup.durability, Durability::Group | Durability::One);
        if waits && self.durable.is_some() && !goes_unsynced(&outbox.outputs) {
            let early = early.filter(|_| lax);
            let identity = self.disk().meta.identity;
            let may_go = |output: &mut Output| early.is_some_and(|it| it.is(output, identity));
            let gone = outbox.outputs.extract_if(.., may_go).collect();
            self.held.extend(outbox.outputs);
            return (self.release(gone), None);
        }
        (self.release(outbox.outputs), None)
    }

    /// Sets and cancels timers; the rest is for others.
    fn release(&mut self, outputs: Vec<Output>) -> Vec<Output> {
        let mut others = Vec::new();
        for output in outputs {
            match output {
                // Hosts learn of epochs at any time, whether they are told or not.
                Output::SetTimer(Timer::Gossip | Timer::Proposal, _) => {}
                Output::Send(envelope) if matches!(envelope.message, Message::Register(_)) => {}
                Output::SetTimer(timer, _) => drop(self.timers.insert(timer)),
                Output::CancelTimer(timer) => drop(self.timers.remove(&timer)),
                Output::Send(_) | Output::Reply(..) | Output::Event(_) => others.push(output),
            }
        }
        others
    }

    fn sync(&mut self) -> Vec<Output> {
        self.durable = None;
        let held = std::mem::take(&mut self.held);
        self.release(held)
    }

    /// The process is gone; the operating system still writes what the store was given.
    fn end(&mut self) {
        self.node = None;
        self.durable = None;
        self.held.clear();
        self.timers.clear();
        if mutated(Mutant::HintsVolatile) {
            self.store.records.retain(|place, _| place.role == Role::Home);
        }
    }

    fn wipe(&mut self, setup: &Setup) {
        self.end();
        let meta = if setup.renew {
            self.wipes += 1;
            Meta::renewed(Setup::identity(self.me, self.wipes))
        } else {
            Meta::genesis(self.store.meta.identity)
        };
        let mut store = MemoryStore::new(meta);
        let view = setup.views.iter().find(|view| view.contains(setup.ids[usize::from(self.me)]));
        if let Some(view) = view.filter(|view| view.epoch() > setup.views[0].epoch()) {
            let epochs = view.history().epochs().to_vec();
            let id = setup.ids[usize::from(self.me)];
            (store.meta, store.enrolment) = Enrolment::told(id, meta, epochs);
        }
        self.store = store;
    }

    fn lose_power(&mut self) {
        if let Some(durable) = self.durable.take() {
            self.store = *durable;
        }
        self.end();
    }
}

fn forget_what_lasts(output: &mut Output) {
    if let Output::Send(envelope) = output
        && let Message::Store { lasts, .. } = &mut envelope.message
    {
        *lasts = false;
    }
}

/// Whether a host with a seeded bug lets these go before what they rest on is durable.
fn goes_unsynced(outputs: &[Output]) -> bool {
    let is_vote = |output: &Output| match output {
        Output::Send(envelope) => matches!(envelope.message, Message::Stored { .. }),
        _ => false,
    };
    mutated(Mutant::AckUnsynced)
        || mutated(Mutant::CoordinatorUnsynced) && !outputs.iter().any(is_vote)
}

/// The wall clock at an input: the number of the put it carries, so that stamps are a function of
/// the script and not of the order in which puts happen. Clocks are that wrong.
pub(crate) fn clock(setup: &Setup, input: &Input) -> Time {
    let op = match input {
        Input::Client { op, .. } => Some(op),
        Input::Peer(envelope) => match &envelope.message {
            Message::Forward { request, .. } => Some(request),
            _ => None,
        },
        Input::Started
        | Input::Timer(_)
        | Input::Unreachable(_)
        | Input::Prune(_)
        | Input::AcceptLoss
        | Input::Propose { .. }
        | Input::ForceEpoch { .. } => None,
    };
    match op {
        Some(ClientOp::Put { value: Some(value), .. }) => {
            Time(setup.script.writer(value).map_or(0, |number| u64::from(number) + 1))
        }
        Some(ClientOp::Put { .. } | ClientOp::Get { .. }) | None => Time(0),
    }
}
