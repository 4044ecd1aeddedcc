//! Operations under other names, for hosts that compare states.
//!
//! Nothing a node does depends on what an operation is called: only on which names are equal and,
//! among its own, which is the older. A search that gives the same names to the same states meets
//! them once ("scalarsets": Ip and Dill, Better verification through symmetry, 1996).

use crate::coordinator::{Forwarded, Origin};
use crate::id::OpId;
use crate::message::Message;
use crate::node::Node;
use crate::operations::Operation;
use crate::transfer::Gossip;

impl Message {
    /// The operation it belongs to, if it belongs to one.
    #[must_use]
    pub fn op(&self) -> Option<OpId> {
        match self {
            Self::Forward { op, .. }
            | Self::Forwarded { op, .. }
            | Self::Store { op, .. }
            | Self::Stored { op, .. }
            | Self::Fetch { op, .. }
            | Self::Fetched { op, .. }
            | Self::Compare { op, .. }
            | Self::Compared { op, .. }
            | Self::Settle { op, .. }
            | Self::Settled { op, .. } => Some(*op),
            Self::Register(_) | Self::Ping { .. } | Self::Pong { .. } => None,
        }
    }

    /// The same message about the operation `name`.
    #[must_use]
    pub fn renamed(&self, name: OpId) -> Self {
        let mut message = self.clone();
        match &mut message {
            Self::Forward { op, .. }
            | Self::Forwarded { op, .. }
            | Self::Store { op, .. }
            | Self::Stored { op, .. }
            | Self::Fetch { op, .. }
            | Self::Fetched { op, .. }
            | Self::Compare { op, .. }
            | Self::Compared { op, .. }
            | Self::Settle { op, .. }
            | Self::Settled { op, .. } => *op = name,
            Self::Register(_) | Self::Ping { .. } | Self::Pong { .. } => {}
        }
        message
    }
}

impl Node {
    /// The names of its open operations, oldest first.
    pub fn operations(&self) -> impl Iterator<Item = OpId> + '_ {
        self.operations.seqs().map(|seq| self.op(seq))
    }

    /// Its open operations that somebody waits for, and the operation of another node that does; a
    /// client of its own if there is none.
    pub fn awaited(&self) -> impl Iterator<Item = (OpId, Option<OpId>)> + '_ {
        self.operations.iter().filter_map(|(seq, operation)| {
            let by = match operation.origin()? {
                Origin::Peer(_, op) => Some(op),
                Origin::Client(_) => None,
            };
            Some((self.op(seq), by))
        })
    }

    /// Its open operations that have answered and will send nothing any more, whatever they are
    /// answered: they wait to be told what nobody asks. If `hosts_fail`, one that would then ask another
    /// host still counts as open.
    pub fn finished(&self, hosts_fail: bool) -> impl Iterator<Item = OpId> + '_ {
        let finished = move |operation: &Operation| match operation {
            Operation::Request(request) => request.is_finished(hosts_fail),
            Operation::Delivery(_)
            | Operation::Comparison(_)
            | Operation::Sync(_)
            | Operation::Stray(_)
            | Operation::Settling => false,
        };
        let operations = self.operations.iter();
        operations.filter(move |(_, operation)| finished(operation)).map(|(seq, _)| self.op(seq))
    }

    /// The operations of other nodes that it is to answer once it has learned of their epoch, and those for
    /// which it watches keys.
    pub fn kept(&self) -> impl Iterator<Item = OpId> + '_ {
        self.ahead.operations().chain(self.settling.watched())
    }

    /// Its open offers of strays.
    pub fn offers(&self) -> impl Iterator<Item = OpId> + '_ {
        self.strays.offered().map(|seq| self.op(seq))
    }

    /// Forgets how far others are: that decides whom it tells of epochs, and nothing else.
    pub fn forget_gossip(&mut self) {
        self.gossip = Gossip::default();
    }

    /// The same node without the operations `ops`: if they are [finished](Node::finished) it does
    /// all that it would have done, but for the timers it would cancel.
    #[must_use]
    pub fn without(&self, ops: &[OpId]) -> Self {
        let mut node = self.clone();
        node.operations.retain(|seq| !ops.contains(&self.op(seq)));
        node
    }

    /// Whether its operations have the names that [`Node::renamed`] gives them.
    #[must_use]
    pub fn is_renamed(&self, incarnation: u64) -> bool {
        let open = self.operations.len() as u64;
        self.incarnation() == incarnation
            && self.next_seq() == open
            && self.operations.seqs().next_back().is_none_or(|seq| seq + 1 == open)
            && self.forwarded == Forwarded::default()
    }

    /// The same node, as if `incarnation` were its own, its open operations numbered from 0 in
    /// the order of their age, and those of others called what `others` says.
    ///
    /// It is the same node only if no message under way names an operation that it has closed, and
    /// none is a copy of one that has arrived: which puts were forwarded to it, it forgets.
    #[must_use]
    pub fn renamed(&self, incarnation: u64, others: impl Fn(OpId) -> OpId) -> Self {
        let mut node = self.clone();
        let seqs: Vec<_> = self.operations.seqs().collect();
        let place = |seq: u64| seqs.iter().position(|open| *open == seq).map(|at| at as u64);
        node.handoff.rename(place);
        node.anti_entropy.rename(place);
        node.strays.rename(place);
        node.ahead.rename(&others);
        node.settling.rename(place, &others);
        node.forwarded = Forwarded::default();
        node.set_names(incarnation, seqs.len() as u64);
        let is_for_a_peer =
            |operation: &Operation| matches!(operation.origin(), Some(Origin::Peer(..)));
        node.operations.renumber(is_for_a_peer, |operation| {
            if let Some(Origin::Peer(_, op)) = operation.origin_mut() {
                *op = others(*op);
            }
        });
        assert!(node.is_renamed(incarnation), "a renamed node has the names it is to have");
        node
    }
}
