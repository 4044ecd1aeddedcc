//! Strays: home records of keys of which this node is no home.
//!
//! Each goes, its whole set, to every home of its key, and is dropped once all of them said that they hold
//! exactly what is still held here. Who holds it already, digest against digest, is not sent it. An offer is
//! of one epoch at both ends: nobody compares under another, and with an epoch end the offers made in it.
//!
//! Why that is enough, for any number of changes: suppose all holders of a put had dropped it, and let v be
//! the highest epoch in which one of them did. Each home of v had confirmed it, in v or later, since epochs
//! never fall, and dropped it afterwards, so in v, since v is the highest. But in v it is a home, and a home
//! drops nothing. (An answer to an offer may come from a later epoch than the offer: that is no harm.)

use std::collections::BTreeSet;

use crate::id::{Key, NodeId, OpId};
use crate::io::{Event, Timer};
use crate::merkle::{Compared, Fingerprint, Leaf};
use crate::message::Message;
use crate::mutant::{Mutant, mutated};
use crate::node::Node;
use crate::operations::Operation;
use crate::ring::{Span, Token};
use crate::step::Step;
use crate::storage::{Change, Place, Role, Store, StoreError};
use crate::version::Summary;
use crate::view::{Between, Epoch};

/// How many strays are offered at a time.
const BATCH: usize = 32;

/// The pass over the strays of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Strays {
    /// There may be some: [`Timer::Strays`] runs.
    expected: bool,
    /// The operations that are open.
    open: BTreeSet<u64>,
    /// The position of the last one offered in this pass.
    cursor: Option<Token>,
}

/// A stray that is offered to the homes of its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stray {
    key: Key,
    /// What was offered. If it grows, that is another offer.
    offered: Summary,
    /// Homes that have not confirmed.
    waits: BTreeSet<NodeId>,
}

impl Stray {
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }
}

impl Strays {
    /// The sequence numbers of what is offered.
    pub(crate) fn offered(&self) -> impl Iterator<Item = u64> + '_ {
        self.open.iter().copied()
    }

    /// Gives what is open the sequence numbers that `place` says; what is closed is gone.
    pub(crate) fn rename(&mut self, place: impl Fn(u64) -> Option<u64>) {
        let open = std::mem::take(&mut self.open);
        self.open = open.into_iter().filter_map(&place).collect();
    }
}

impl Node {
    /// Whether there may be records here of which this node is no home.
    #[must_use]
    pub fn has_strays(&self) -> bool {
        self.strays.expected
    }

    /// There may be strays from now on.
    pub(crate) fn expect_strays<S>(&mut self, step: &mut Step<'_, S>) {
        if self.view.epoch() > Epoch::GENESIS && !self.strays.expected {
            self.strays.expected = true;
            step.set_timer(Timer::Strays, self.settings.timing.handoff);
        }
    }

    /// A new pass. What was not confirmed in the last one is given up and offered again.
    pub(crate) fn strays_due<S: Store>(&mut self, step: &mut Step<'_, S>) {
        if !self.strays.expected {
            return;
        }
        self.strays_given_up();
        self.strays.cursor = None;
        match self.next_stray(step, None) {
            Ok(None) => self.strays.expected = false,
            Ok(Some(_)) => {
                step.set_timer(Timer::Strays, self.settings.timing.handoff);
                self.offer_strays(step);
            }
            Err(error) => {
                step.event(Event::StoreFailed(Role::Home, error));
                step.set_timer(Timer::Strays, self.settings.timing.handoff);
            }
        }
    }

    /// Offers that are open count no more: the homes are others.
    pub(crate) fn strays_given_up(&mut self) {
        for seq in std::mem::take(&mut self.strays.open) {
            let open = self.operations.remove(seq);
            assert!(open.is_some(), "a stray that is said to be offered is");
        }
    }

    /// The first stray behind `after`.
    fn next_stray<S: Store>(
        &self,
        step: &Step<'_, S>,
        after: Option<Token>,
    ) -> Result<Option<(Key, Leaf)>, StoreError> {
        let from = match after {
            None => Some(Span::RING),
            Some(Token(after)) => {
                after.checked_add(1).and_then(|next| Span::new(Token(next), Span::RING.last()))
            }
        };
        let Some(within) = from else { return Ok(None) };
        for span in self.view.foreign(self.me, within).iter() {
            if let Some(stray) = step.store.leaves(span, 1)?.pop() {
                return Ok(Some(stray));
            }
        }
        Ok(None)
    }

    /// Offers the next strays, as many as may be under way, of which every home is believed alive.
    fn offer_strays<S: Store>(&mut self, step: &mut Step<'_, S>) {
        while self.strays.open.len() < BATCH {
            let (key, leaf) = match self.next_stray(step, self.strays.cursor) {
                Ok(Some(stray)) => stray,
                Ok(None) => return,
                Err(error) => return step.event(Event::StoreFailed(Role::Home, error)),
            };
            self.strays.cursor = Some(Token::of_key(&key));
            let mut homes = self.view.homes(&key).to_vec();
            if mutated(Mutant::StrayToOne) {
                homes.truncate(1);
            }
            if homes.iter().all(|home| self.detector.is_alive(*home)) {
                self.offer(step, key, leaf, &homes);
            }
        }
    }

    fn offer<S: Store>(&mut self, step: &mut Step<'_, S>, key: Key, leaf: Leaf, homes: &[NodeId]) {
        let offered = match step.store.record(&Place::home(key.clone())) {
            Ok(Some(record)) => record.set.summary(),
            Ok(None) => return,
            Err(error) => return step.event(Event::StoreFailed(Role::Home, error)),
        };
        let op = self.next_op();
        let waits = homes.iter().copied().collect();
        self.operations
            .insert(op.seq, Operation::Stray(Stray { key: key.clone(), offered, waits }));
        self.strays.open.insert(op.seq);
        let span = Span::at(Token::of_key(&key));
        let fingerprint = Fingerprint::from_iter([leaf]);
        for home in homes {
            self.send(
                step,
                *home,
                Message::Compare {
                    op,
                    epoch: self.view.epoch(),
                    between: Between::StrayAndHome,
                    asked: vec![(span, fingerprint)],
                },
            );
        }
        if mutated(Mutant::StrayUnconfirmed) {
            self.stray_confirmed(step, op, None);
        }
    }

    /// A home has compared the stray with what it holds.
    pub(crate) fn stray_compared<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        from: NodeId,
        op: OpId,
        found: &[Compared],
    ) {
        match found {
            [Compared::Equal] => self.stray_confirmed(step, op, Some(from)),
            // It goes by another epoch, or cannot say.
            [] => self.close_stray(step, op),
            _ => {
                let Some(Operation::Stray(stray)) = self.operations.get(op.seq) else { return };
                let (key, offered) = (stray.key.clone(), stray.offered.clone());
                match step.store.record(&Place::home(key.clone())) {
                    Ok(Some(record)) if record.set.summary() == offered => {
                        let (role, set) = (Role::Home, record.set);
                        self.send(step, from, Message::Store { op, role, key, set, lasts: false });
                    }
                    // It has grown, or cannot be read now: the next pass offers what there is.
                    Ok(_) | Err(_) => self.close_stray(step, op),
                }
            }
        }
    }

    /// A home has taken the stray in, or could not.
    pub(crate) fn stray_stored<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        from: NodeId,
        op: OpId,
        result: Result<(), StoreError>,
    ) {
        match result {
            Ok(()) => self.stray_confirmed(step, op, Some(from)),
            Err(_) => self.close_stray(step, op),
        }
    }

    fn stray_confirmed<S: Store>(&mut self, step: &mut Step<'_, S>, op: OpId, by: Option<NodeId>) {
        let Some(Operation::Stray(mut stray)) = self.operations.remove(op.seq) else {
            unreachable!("{op} was found to be a stray that is offered");
        };
        match by {
            Some(home) => drop(stray.waits.remove(&home)),
            None => stray.waits.clear(),
        }
        if !stray.waits.is_empty() {
            self.operations.insert(op.seq, Operation::Stray(stray));
            return;
        }
        self.strays.open.remove(&op.seq);
        self.drop_stray(step, stray);
        self.offer_strays(step);
    }

    fn drop_stray<S: Store>(&mut self, step: &mut Step<'_, S>, Stray { key, offered, .. }: Stray) {
        assert!(!self.view.homes(&key).contains(&self.me), "a home drops nothing");
        let place = Place::home(key);
        let held = step.store.record(&place);
        let exact = held.is_ok_and(|held| {
            held.is_some_and(|record| {
                record.set.summary() == offered || mutated(Mutant::GrownStrayDropped)
            })
        });
        // Births die with the record: a home that is one again begins anew.
        if exact && self.write(step, vec![Change::Remove(place)]).is_ok() {
            step.event(Event::StrayDropped);
        }
    }

    fn close_stray<S: Store>(&mut self, step: &mut Step<'_, S>, op: OpId) {
        let open = self.operations.remove(op.seq);
        let was_open = self.strays.open.remove(&op.seq);
        assert!(open.is_some() && was_open, "{op} is closed once");
        self.offer_strays(step);
    }

    /// A home speaks under another identity: what the lost directory confirmed is confirmed no more.
    pub(crate) fn stray_home_renewed<S: Store>(&mut self, step: &mut Step<'_, S>, home: NodeId) {
        for seq in self.strays.open.clone() {
            if let Some(Operation::Stray(stray)) = self.operations.get(seq)
                && self.view.homes(&stray.key).contains(&home)
            {
                self.close_stray(step, self.op(seq));
            }
        }
    }

    /// A home is out of reach: what was offered to it is offered again in a later pass.
    pub(crate) fn stray_home_lost<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        op: OpId,
        home: NodeId,
    ) {
        if let Some(Operation::Stray(stray)) = self.operations.get(op.seq)
            && stray.waits.contains(&home)
        {
            self.close_stray(step, op);
        }
    }
}
