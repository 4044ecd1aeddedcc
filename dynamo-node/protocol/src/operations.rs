//! What is open at a node, by age: requests that it coordinates, and what it sends on its own account.
//!
//! Each kind of operation lives in a room of its own and knows nothing of the others; here is who is told
//! what.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::coordinator::{Origin, Request};
use crate::handoff::Delivery;
use crate::id::{Key, NodeId, OpId};
use crate::merkle::{Comparison, Sync};
use crate::message::Answer;
use crate::node::Node;
use crate::step::Step;
use crate::storage::{Store, StoreError};
use crate::transfer::Stray;

/// Something open at this node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    /// Somebody asked for it, and may still wait.
    Request(Request),
    /// A hint under way to its target.
    Delivery(Delivery),
    /// Another home was asked to compare what both hold.
    Comparison(Comparison),
    /// A key that they hold differently.
    Sync(Sync),
    /// A record on its way to the homes of its key, of which this node is none.
    Stray(Stray),
    /// All members are asked whether anything is left of what was deleted.
    Settling,
}

/// Open operations by [`OpId::seq`](crate::OpId::seq): oldest first.
///
/// A copy of a node shares its operations with it until one of them changes: who keeps very many
/// states of nodes keeps each operation once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Operations(BTreeMap<u64, Arc<Operation>>);

impl Operation {
    /// Who waits for it, if anybody still does.
    pub(crate) fn origin(&self) -> Option<Origin> {
        match self {
            Self::Request(request) => request.origin(),
            Self::Delivery(_)
            | Self::Comparison(_)
            | Self::Sync(_)
            | Self::Stray(_)
            | Self::Settling => None,
        }
    }

    pub(crate) fn origin_mut(&mut self) -> Option<&mut Origin> {
        match self {
            Self::Request(request) => request.origin_mut(),
            Self::Delivery(_)
            | Self::Comparison(_)
            | Self::Sync(_)
            | Self::Stray(_)
            | Self::Settling => None,
        }
    }

    /// The key that it is about, if it is about one.
    pub(crate) fn key(&self) -> Option<&Key> {
        match self {
            Self::Request(request) => request.key(),
            Self::Delivery(delivery) => Some(delivery.key()),
            Self::Sync(sync) => Some(sync.key()),
            Self::Stray(stray) => Some(stray.key()),
            Self::Comparison(_) | Self::Settling => None,
        }
    }
}

impl Operations {
    pub(crate) fn get(&self, seq: u64) -> Option<&Operation> {
        self.0.get(&seq).map(Arc::as_ref)
    }

    /// The request of this number, if it is open and one.
    pub(crate) fn request(&self, seq: u64) -> Option<&Request> {
        match self.get(seq) {
            Some(Operation::Request(request)) => Some(request),
            Some(_) | None => None,
        }
    }

    /// The same, to change it.
    pub(crate) fn request_mut(&mut self, seq: u64) -> Option<&mut Request> {
        self.request(seq)?;
        match self.0.get_mut(&seq).map(Arc::make_mut) {
            Some(Operation::Request(request)) => Some(request),
            Some(_) | None => None,
        }
    }

    pub(crate) fn insert(&mut self, seq: u64, operation: Operation) {
        let before = self.0.insert(seq, Arc::new(operation));
        assert!(before.is_none(), "operation {seq} is opened a second time");
    }

    pub(crate) fn remove(&mut self, seq: u64) -> Option<Operation> {
        self.0.remove(&seq).map(Arc::unwrap_or_clone)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn seqs(&self) -> impl DoubleEndedIterator<Item = u64> + '_ {
        self.0.keys().copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Operation)> {
        self.0.iter().map(|(seq, operation)| (*seq, operation.as_ref()))
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(u64) -> bool) {
        self.0.retain(|seq, _| keep(*seq));
    }

    /// Hands all of them to `change`.
    pub(crate) fn change_all(&mut self, mut change: impl FnMut(&mut Operation)) {
        self.0.values_mut().for_each(|operation| change(Arc::make_mut(operation)));
    }

    /// Numbers them from 0, in the order of their age, and hands `change` those that `is_meant`.
    pub(crate) fn renumber(
        &mut self,
        is_meant: impl Fn(&Operation) -> bool,
        mut change: impl FnMut(&mut Operation),
    ) {
        let operations = std::mem::take(&mut self.0).into_values();
        self.0 = (0..).zip(operations).collect();
        let last = self.0.keys().next_back();
        assert!(last.is_none_or(|last| *last + 1 == self.len() as u64), "numbered without gaps");
        for operation in self.0.values_mut().filter(|operation| is_meant(operation)) {
            change(Arc::make_mut(operation));
        }
    }
}

impl Node {
    /// A host has taken in what an operation sent it, or could not. An answer to an earlier life, or to what
    /// is closed, finds nobody.
    pub(crate) fn store_answered<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        from: NodeId,
        op: OpId,
        (result, counts): (Result<(), StoreError>, bool),
    ) {
        if !self.is_mine(op) {
            return;
        }
        match self.operations.get(op.seq) {
            Some(Operation::Request(_)) => {
                self.request_stored(step, from, op, result.is_ok() && counts);
            }
            Some(Operation::Delivery(_)) => self.delivered(step, op, result),
            Some(Operation::Sync(_)) => self.sync_stored(step, from, op),
            Some(Operation::Stray(_)) => self.stray_stored(step, from, op, result),
            // It sent nothing to be stored: whoever says so is wrong.
            Some(Operation::Comparison(_) | Operation::Settling) | None => {}
        }
    }

    /// A host says what it holds.
    pub(crate) fn fetch_answered<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        from: NodeId,
        op: OpId,
        answer: Answer,
    ) {
        if !self.is_mine(op) {
            return;
        }
        match self.operations.get(op.seq) {
            Some(Operation::Request(_)) => self.request_fetched(step, from, op, answer),
            Some(Operation::Sync(_)) => self.sync_fetched(step, from, op, answer),
            Some(
                Operation::Delivery(_)
                | Operation::Comparison(_)
                | Operation::Stray(_)
                | Operation::Settling,
            )
            | None => {}
        }
    }
}
