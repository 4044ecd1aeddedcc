//! The same names for the same states: what operations are called and how often a process was
//! started tells states apart that behave alike.
//!
//! An operation that is open is named by its node and its place among that node's open ones, oldest
//! first; one that is closed, or was open in a process that has ended, has the name of nobody. That is
//! a renaming of open operations one to one, and closed ones are never found by whatever name.

use dynamo_protocol::{Input, OpId, Timer};
use smallvec::SmallVec;

use crate::world::host::{Host, HostInput};
use crate::world::spec::{Durability, MAX_NODES, Setup};
use crate::world::step::Step;
use crate::world::tables::{Open, Operations};

/// What every operation that is not open any more is called.
pub(crate) const NOBODY: OpId = OpId { incarnation: 0, seq: 0 };

impl Host {
    /// The names of its open operations, by what counts as that.
    pub(crate) fn operations(&self) -> Operations {
        [Open::All, Open::Unfinished, Open::UnfinishedInCalm].map(|open| {
            let finished = self.finished(open);
            let all = self.node.iter().flat_map(|node| node.operations());
            all.filter(|op| !finished.contains(op)).collect()
        })
    }

    fn finished(&self, open: Open) -> Vec<OpId> {
        let Some(node) = &self.node else { return Vec::new() };
        match open {
            Open::All => Vec::new(),
            Open::Unfinished => node.finished(true).collect(),
            Open::UnfinishedInCalm => node.finished(false).collect(),
        }
    }

    /// Whether its own names are those that [`Host::renamed`] gives.
    pub(crate) fn is_renamed(&self) -> bool {
        match &self.node {
            None => self.starts == 0,
            Some(node) => self.starts == 1 && node.is_renamed(Setup::incarnation(self.me, 1)),
        }
    }

    /// The same host, those of its operations that are `open` numbered anew, the others closed, those
    /// of other hosts called what `others` says.
    pub(crate) fn renamed(&self, open: Open, others: impl Fn(OpId) -> OpId) -> Self {
        let mut host = self.clone();
        host.starts = u8::from(host.node.is_some());
        let incarnation = Setup::incarnation(self.me, 1);
        let finished = self.finished(open);
        let ops = &self.operations()[open as usize];
        let timers = std::mem::take(&mut host.timers).into_iter();
        let rename = |timer| rename_timer(timer, |op| place(ops, op, incarnation));
        let is_theirs = |timer: &Timer| match timer {
            Timer::Hedge(op) | Timer::Deadline(op) => finished.contains(op),
            Timer::Ping(_)
            | Timer::Handoff(_)
            | Timer::Exchange
            | Timer::Strays
            | Timer::Gossip
            | Timer::Proposal => false,
        };
        host.timers = timers.filter(|timer| !is_theirs(timer)).map(rename).collect();
        host.node = host.node.map(|node| node.without(&finished).renamed(incarnation, others));
        host
    }
}

fn place(open: &[OpId], op: OpId, incarnation: u64) -> OpId {
    let place = open.iter().position(|open| *open == op);
    place.map_or(NOBODY, |seq| OpId { incarnation, seq: seq as u64 })
}

fn rename_timer(timer: Timer, name: impl Fn(OpId) -> OpId) -> Timer {
    use Timer::{Deadline, Exchange, Gossip, Handoff, Hedge, Ping, Proposal, Strays};
    match timer {
        Hedge(op) => Hedge(name(op)),
        Deadline(op) => Deadline(name(op)),
        Ping(_) | Handoff(_) | Exchange | Strays | Gossip | Proposal => timer,
    }
}

impl Step<'_> {
    /// Gives the same names to the same states. Held outputs and deletes that were forwarded name
    /// operations in places this does not look at: with them names stay as they are.
    pub(crate) fn rename(&mut self) {
        let step = self.spec.durability == Durability::Step;
        if !(self.spec.reductions.renaming && step && self.world.history.forwarded.is_empty()) {
            return;
        }
        let open = self.open();
        let flight = self.world.flight.clone();
        let mut changed = false;
        let renamed = flight.iter().map(|message| {
            let renamed = self.rename_message(open, *message);
            changed |= renamed != *message;
            renamed
        });
        let renamed: SmallVec<[u32; 12]> = renamed.collect();
        // Names of others' operations are written to hosts that are given something to do by
        // them, and end with them: looking at every host costs little.
        let hosts: SmallVec<[u32; MAX_NODES]> =
            (0..self.nodes()).map(|node| self.rename_host(open, self.host(node))).collect();
        self.world.hosts = hosts;
        if changed {
            self.world.flight.clear();
            for message in renamed {
                self.send(message);
            }
        }
    }

    /// What counts as open in this state. A hedge would suspect a host that a finished operation
    /// still waits for: where it may run out nothing is finished.
    pub(crate) fn open(&self) -> Open {
        let faults = &self.spec.faults;
        if !self.spec.reductions.finished || faults.losses > 0 || faults.hedges > 0 {
            Open::All
        } else if self.is_calm() {
            Open::UnfinishedInCalm
        } else {
            Open::Unfinished
        }
    }

    pub(crate) fn name_of(&self, open: Open, op: OpId) -> OpId {
        if op == NOBODY {
            return op;
        }
        let owner = Setup::owner(op);
        let facts = self.tables.facts(self.host(owner));
        place(&facts.operations[open as usize], op, Setup::incarnation(owner, 1))
    }

    fn rename_message(&mut self, open: Open, message: u32) -> u32 {
        let Some(op) = self.tables.wire(message).op else { return message };
        let name = self.name_of(open, op);
        if name == op {
            return message;
        }
        if let Some(renamed) = self.tables.renamed_messages.get(&(message, name)) {
            return *renamed;
        }
        let HostInput::Handle(Input::Peer(envelope)) = self.tables.inputs.get(message) else {
            return message;
        };
        let mut envelope = envelope.clone();
        envelope.message = envelope.message.renamed(name);
        let renamed = self.tables.input(self.setup, HostInput::Handle(Input::Peer(envelope)));
        self.tables.renamed_messages.insert((message, name), renamed);
        renamed
    }

    fn rename_host(&mut self, open: Open, host: u32) -> u32 {
        let facts = self.tables.facts(host);
        let names: SmallVec<[OpId; 2]> =
            facts.awaited_by.iter().map(|op| self.name_of(open, *op)).collect();
        let [all, ..] = &facts.operations;
        let finished = all.len() > facts.operations[open as usize].len();
        if facts.renamed && !finished && names == facts.awaited_by {
            return host;
        }
        let before = facts.awaited_by.clone();
        let key = (host, open, names);
        if let Some(renamed) = self.tables.renamed_hosts.get(&key) {
            return *renamed;
        }
        let (_, _, names) = &key;
        let others = |op: OpId| {
            let at = before.iter().position(|awaited| *awaited == op);
            at.map_or(op, |at| names[at])
        };
        let renamed = self.tables.hosts.get(host).renamed(open, others);
        let renamed = self.tables.host(self.setup, renamed);
        self.tables.renamed_hosts.insert(key, renamed);
        renamed
    }
}
