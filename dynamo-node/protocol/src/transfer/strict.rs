//! What a strict cluster adds: nothing counts for an operation whose key has had other homes since.
//!
//! An operation is of one *tenure*, the epoch that gave its key the homes that it has. It counts homes that
//! answered in that tenure, and no others:
//!
//! - Who goes by a later tenure takes nothing in and says nothing: it tells the epochs instead. So enough
//!   homes that have gone on are the end of all that was begun before, and who was filled from them may
//!   count.
//! - Who goes by an earlier epoch keeps what it was asked until it has learned of the later one.
//! - A coordinator that goes on counts anew what it has open, among the homes of the key now: a put under the
//!   dot that it has, since nothing is minted twice. If it is no home itself any more, it ends the put, which
//!   may have been applied: that a lost disk is refilled from *all* homes rests on the coordinator, who
//!   stored the put first, being one of them (`merkle/refill.rs`).
//! - A home that is being filled takes part, and what it answers counts nowhere.
//!
//! A sloppy cluster promises nothing about what a get meets, nor does a strict one with R+W <= N: they refuse
//! nothing for its epoch.

use std::collections::VecDeque;

use crate::coordinator::Request;
use crate::id::{Key, NodeId, OpId};
use crate::io::{Discard, Event};
use crate::message::Message;
use crate::mutant::{Mutant, mutated};
use crate::node::Node;
use crate::operations::Operation;
use crate::ring::Token;
use crate::step::Step;
use crate::storage::Store;
use crate::version::VersionVector;
use crate::view::Epoch;

/// How many messages a node keeps until it has learned of their epoch. Learning takes a round trip: that is
/// more than what may be under way to it meanwhile but for a flood, and what is not answered is given up at
/// its deadline.
const KEPT: usize = 256;
/// How many bytes of values they may have together.
const KEPT_BYTES: usize = 4 << 20;

/// What was asked of this node under epochs that it does not know yet, oldest first. Volatile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ahead(VecDeque<(NodeId, Epoch, Message)>);

impl Ahead {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn keep(&mut self, from: NodeId, epoch: Epoch, message: Message) {
        self.0.push_back((from, epoch, message));
        let bytes = |message: &Message| {
            message.set().map_or(0, |set| set.bytes_without(&VersionVector::default()))
        };
        let mut all = self.0.iter().map(|(_, _, message)| bytes(message)).sum::<usize>();
        while self.0.len() > KEPT || (all > KEPT_BYTES && self.0.len() > 1) {
            let oldest = self.0.pop_front();
            all -= oldest.map_or(0, |(_, _, message)| bytes(&message));
        }
    }

    /// The operations of others that it belongs to.
    pub(crate) fn operations(&self) -> impl Iterator<Item = OpId> + '_ {
        self.0.iter().filter_map(|(_, _, message)| message.op())
    }

    /// The keys that it is about.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.0.iter().filter_map(|(_, _, message)| message.key())
    }

    /// Calls those what `others` says.
    pub(crate) fn rename(&mut self, others: impl Fn(OpId) -> OpId) {
        for (_, _, message) in &mut self.0 {
            if let Some(op) = message.op() {
                *message = message.renamed(others(op));
            }
        }
    }

    /// What a directory asked that is gone, nobody waits for.
    pub(crate) fn forget(&mut self, peer: NodeId) {
        self.0.retain(|(from, _, _)| *from != peer);
    }
}

impl Node {
    /// Whether what counts is told apart by epochs: where a get is to meet what was acknowledged before it.
    pub(crate) fn counts_epochs(&self) -> bool {
        self.settings.quorums_meet()
    }

    /// The tenure that an operation on `key` is of.
    pub(crate) fn tenure_of(&self, key: &Key) -> Epoch {
        let has_changed = self.view.epoch() > Epoch::GENESIS;
        if self.counts_epochs() && has_changed {
            self.view.tenure(Token::of_key(key)).since
        } else {
            Epoch::GENESIS
        }
    }

    /// Whether a put may count that this node, a home of `key`, has stored it.
    pub(crate) fn acknowledges(&self, key: &Key) -> bool {
        !self.counts_epochs() || self.has_counted(key) || mutated(Mutant::NewcomerAcks)
    }

    /// Whether `message`, sent under `epoch`, is of another tenure than this node goes by: then that is all.
    pub(crate) fn holds_back<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        from: NodeId,
        epoch: Epoch,
        message: &Message,
    ) -> bool {
        if !self.counts_epochs() || self.view.epoch().max(epoch) == Epoch::GENESIS {
            return false;
        }
        match message {
            Message::Store { .. } | Message::Fetch { .. } if epoch > self.view.epoch() => {
                self.ahead.keep(from, epoch, message.clone());
                self.say_epoch(step, from);
                return true;
            }
            Message::Store { key, .. } | Message::Fetch { key, .. } => {
                if epoch >= self.tenure_of(key) || mutated(Mutant::OldEpochServed) {
                    return false;
                }
            }
            Message::Stored { op, .. } | Message::Fetched { op, .. } => {
                let request = self.operations.request(op.seq).filter(|_| self.is_mine(*op));
                let tenure = request.map_or(Epoch::GENESIS, Request::tenure);
                if epoch >= tenure {
                    return false;
                }
            }
            Message::Forward { .. }
            | Message::Forwarded { .. }
            | Message::Compare { .. }
            | Message::Compared { .. }
            | Message::Settle { .. }
            | Message::Settled { .. }
            | Message::Register(_)
            | Message::Ping { .. }
            | Message::Pong { .. } => return false,
        }
        step.event(Event::Discarded(from, Discard::OldEpoch));
        true
    }

    /// Under the epoch that is known now.
    pub(crate) fn answer_ahead<S: Store>(&mut self, step: &mut Step<'_, S>) {
        for (from, epoch, message) in std::mem::take(&mut self.ahead).0 {
            if self.view.contains(from) {
                self.handle_message(step, from, epoch, message);
            }
        }
    }

    /// Has every open request whose key has other homes by now count them, and from the beginning.
    pub(crate) fn count_anew<S: Store>(&mut self, step: &mut Step<'_, S>) {
        let is_outdated = |request: &Request| {
            request.key().is_some_and(|key| self.tenure_of(key) > request.tenure())
        };
        let outdated = |(seq, operation): (u64, &Operation)| match operation {
            Operation::Request(request) if is_outdated(request) => Some(self.op(seq)),
            _ => None,
        };
        let outdated: Vec<OpId> = self.operations.iter().filter_map(outdated).collect();
        for op in outdated {
            self.request_outdated(step, op);
        }
    }
}
