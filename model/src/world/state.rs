//! A state of the model: hosts, messages in flight, clients, the network, and what was spent.

use smallvec::SmallVec;

use crate::world::history::History;
use crate::world::spec::{Faults, MAX_NODES};

/// One state. Hosts, messages and contexts are numbers in the model's tables.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub(crate) hosts: SmallVec<[u32; MAX_NODES]>,
    /// A set, in the order of the messages' hashes: two equal messages under way are one.
    pub(crate) flight: SmallVec<[u32; 12]>,
    pub(crate) clients: SmallVec<[Client; 2]>,
    /// The nodes on the other side of the cut; 0 when the network is whole.
    pub(crate) cut: u8,
    /// How much of each budget is used up. Less is more: with less of it spent, all that could happen
    /// still can.
    pub(crate) spent: Faults,
    /// Nodes that something has happened to which did not happen to all alike.
    pub(crate) touched: u8,
    pub(crate) history: History,
}

/// A scripted client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Client {
    /// Its next step, or the one it waits for.
    pub(crate) step: u8,
    /// One more than the node it waits at; 0 when it waits for nothing.
    pub(crate) waits_at: u8,
    /// The context of its last get.
    pub(crate) context: u32,
    /// What that get showed, and what it overwrote.
    pub(crate) read: u8,
    /// Everything a get has shown it so far.
    pub(crate) seen: u8,
    /// Puts acknowledged before the open get began.
    pub(crate) must: u8,
    /// What gets that ended before the open one began have shown to anybody.
    pub(crate) floor: u8,
}

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// A client asks a node for its next step.
    Invoke {
        /// Which client.
        client: u8,
        /// Which node.
        node: u8,
    },
    /// A message arrives.
    Deliver(u32),
    /// A message is lost.
    Lose(u32),
    /// A timer runs out.
    Fire {
        /// Whose.
        node: u8,
        /// The input it becomes.
        input: u32,
        /// Out of the budget of hedges.
        hedge: bool,
    },
    /// A host finds that it cannot reach a peer it has sent something to.
    Unreachable {
        /// Who finds it.
        node: u8,
        /// Whom it cannot reach.
        peer: u8,
    },
    /// A process ends.
    Crash(u8),
    /// A process starts on its disk.
    Restart(u8),
    /// A process ends and its directory is emptied.
    Wipe(u8),
    /// A home record is gone without a trace.
    Forget(u8),
    /// A process ends with everything it had not synced.
    PowerCut(u8),
    /// A host syncs.
    Sync(u8),
    /// A host learns of the next membership.
    Learn(u8),
    /// A backup of a directory is taken.
    BackUp(u8),
    /// A process ends and its directory is what it was when it was backed up; what it had said and
    /// nobody has heard is lost.
    Restore(u8),
    /// The network is cut: these nodes on one side.
    Cut(u8),
    /// The network is whole again.
    Heal,
    /// Stores that nobody waits for arrive where they are about to be read.
    After {
        /// Which of those that may: bits, in the order in which they are under way.
        late: u32,
        /// What reads them.
        then: Reading,
    },
}

/// A step that reads what a node holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reading {
    /// A client asks it.
    Invoke {
        /// Which client.
        client: u8,
        /// Which node.
        node: u8,
    },
    /// A fetch or a forwarded request arrives.
    Deliver(u32),
}

impl World {
    pub(crate) fn connected(&self, a: u8, b: u8) -> bool {
        (self.cut >> a & 1) == (self.cut >> b & 1)
    }

    pub(crate) fn take(&mut self, message: u32) {
        self.flight.retain(|other| *other != message);
    }

    pub(crate) fn touch(&mut self, node: u8) {
        self.touched |= 1 << node;
    }

    /// Appends the state to `words`.
    pub(crate) fn pack(&self, words: &mut Vec<u32>) {
        let flight = u32::try_from(self.flight.len()).expect("few messages are in flight");
        assert!(flight < 1 << 8, "few messages are in flight");
        let [head @ .., rollbacks, exchanges] = self.spent.counts();
        assert!(rollbacks.max(exchanges) < 1 << 4, "so few of both share a byte");
        let [cut, touched] = [self.cut, self.touched].map(u32::from);
        let [rollbacks, exchanges] = [rollbacks, exchanges].map(u32::from);
        words.push((exchanges << 4 | rollbacks) << 24 | flight << 16 | cut << 8 | touched);
        words.extend_from_slice(&self.hosts);
        words.extend_from_slice(&self.flight);
        for client in &self.clients {
            words.push(client.context);
            words.push(u32::from_le_bytes([
                client.step,
                client.waits_at,
                client.read,
                client.seen,
            ]));
            words.push(u32::from_le_bytes([client.must, client.floor, 0, 0]));
        }
        words.extend(head.as_chunks().0.iter().map(|four| u32::from_le_bytes(*four)));
        self.history.pack(words);
    }

    /// The state that [`World::pack`] wrote, of a model with so many nodes, clients and puts.
    pub(crate) fn unpack(words: &[u32], nodes: usize, clients: usize, puts: usize) -> Self {
        let mut words = words.iter().copied();
        let mut next = || words.next().expect("a packed world is whole");
        let head = next();
        let hosts = (0..nodes).map(|_| next()).collect();
        let [touched, cut, in_flight, both] = head.to_le_bytes();
        let flight = (0..in_flight).map(|_| next()).collect();
        let clients = (0..clients).map(|_| {
            let context = next();
            let [step, waits_at, read, seen] = next().to_le_bytes();
            let [must, floor, _, _] = next().to_le_bytes();
            Client { step, waits_at, context, read, seen, must, floor }
        });
        let clients = clients.collect();
        let [a, b, c, d] = next().to_le_bytes();
        let [e, f, g, h] = next().to_le_bytes();
        let spent = Faults::of([a, b, c, d, e, f, g, h, both & 0xf, both >> 4]);
        let history = History::unpack(&mut next, puts);
        Self { hosts, flight, clients, cut, spent, touched, history }
    }
}
