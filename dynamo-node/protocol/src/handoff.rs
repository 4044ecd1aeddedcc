//! Hinted handoff (paper, section 4.6): a hint is kept until its target has acknowledged, durably,
//! exactly the set the hint holds.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use crate::coordinator::Operation;
use crate::id::{Key, NodeId, OpId};
use crate::io::{Discard, Event, Output, Timer};
use crate::message::Message;
use crate::mutant::{Mutant, mutated};
use crate::node::{Node, Step};
use crate::storage::{Change, Place, Role, Store, StoreError};
use crate::version::Summary;

/// How many hints are under way to one target at a time: enough to fill a link, few enough that a
/// returning target is not flooded.
const BATCH: usize = 32;

/// The targets this node may hold hints for, and what is under way to each.
///
/// A target with hints in the store always has an entry here, and so a running [`Timer::Handoff`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Handoff(BTreeMap<NodeId, Deliveries>);

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Deliveries {
    /// Sequence numbers of the [`Delivery`] operations that are open.
    open: BTreeSet<u64>,
    /// The last key sent in this pass over the hints.
    cursor: Option<Key>,
}

/// One hint under way to its target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Delivery {
    target: NodeId,
    key: Key,
    /// What was sent: a hint that has grown since is not covered by the acknowledgement.
    sent: Summary,
}

impl Handoff {
    /// Gives the open deliveries the sequence numbers that `place` says; closed ones are gone.
    pub(crate) fn rename(&mut self, place: impl Fn(u64) -> Option<u64>) {
        for deliveries in self.0.values_mut() {
            let open = std::mem::take(&mut deliveries.open);
            deliveries.open = open.into_iter().filter_map(&place).collect();
        }
    }
}

impl Node {
    /// After a start: hints in the store are for targets that may be up already.
    pub(crate) fn resume_handoff<S: Store>(&mut self, step: &mut Step<'_, S>) {
        if mutated(Mutant::HandoffNotResumed) {
            return;
        }
        for target in self.config.clone().members().iter().map(|member| member.id) {
            // A store that cannot tell is asked again when the timer runs out.
            if target != self.config.me
                && step.store.hints(target, None, 1).map_or(true, |keys| !keys.is_empty())
            {
                self.expect_hints(step, target);
            }
        }
    }

    /// There may be hints for `target` from now on.
    pub(crate) fn expect_hints<S>(&mut self, step: &mut Step<'_, S>, target: NodeId) {
        if let Entry::Vacant(none) = self.handoff.0.entry(target) {
            none.insert(Deliveries::default());
            step.set_timer(Timer::Handoff(target), self.config.timing.handoff);
        }
    }

    /// A new pass: what is still unanswered from the last one is given up and sent again.
    pub(crate) fn handoff_due<S: Store>(&mut self, step: &mut Step<'_, S>, target: NodeId) {
        if let Some(deliveries) = self.handoff.0.get_mut(&target) {
            for seq in std::mem::take(deliveries).open {
                self.operations.remove(&seq);
            }
            step.set_timer(Timer::Handoff(target), self.config.timing.handoff);
            self.deliver_hints(step, target);
            if mutated(Mutant::HintsExpire) && !self.detector.is_up(target) {
                for key in step.store.hints(target, None, BATCH).unwrap_or_default() {
                    let place = Place { role: Role::Hint(target), key };
                    let _ = step.store.apply(vec![Change::Remove(place)]);
                }
            }
        }
    }

    /// Sends the next hints to `target` if it is held up and none are under way.
    pub(crate) fn deliver_hints<S: Store>(&mut self, step: &mut Step<'_, S>, target: NodeId) {
        let Some(deliveries) = self.handoff.0.get(&target) else { return };
        if !deliveries.open.is_empty() || !self.detector.is_up(target) {
            return;
        }
        let cursor = deliveries.cursor.clone();
        let keys = match step.store.hints(target, cursor.as_ref(), BATCH) {
            Ok(keys) => keys,
            Err(error) => return step.event(Event::StoreFailed(Role::Hint(target), error)),
        };
        self.move_cursor(target, keys.last().cloned());
        if keys.is_empty() {
            return self.end_pass(step, target);
        }
        for key in keys {
            self.deliver(step, target, key);
        }
    }

    fn move_cursor(&mut self, target: NodeId, cursor: Option<Key>) {
        if let Some(deliveries) = self.handoff.0.get_mut(&target) {
            deliveries.cursor = cursor;
        }
    }

    /// Every hint was tried. Those still there were not acknowledged: the timer tries them again.
    fn end_pass<S: Store>(&mut self, step: &mut Step<'_, S>, target: NodeId) {
        if step.store.hints(target, None, 1).is_ok_and(|keys| keys.is_empty()) {
            self.handoff.0.remove(&target);
            step.output(Output::CancelTimer(Timer::Handoff(target)));
        }
    }

    fn deliver<S: Store>(&mut self, step: &mut Step<'_, S>, target: NodeId, key: Key) {
        let place = Place { role: Role::Hint(target), key };
        let record = match step.store.record(&place) {
            Ok(Some(record)) => record,
            Ok(None) => return,
            Err(error) => return step.event(Event::StoreFailed(place.role, error)),
        };
        let op = self.next_op();
        let delivery = Delivery { target, key: place.key.clone(), sent: record.set.summary() };
        self.operations.insert(op.seq, Operation::Delivery(delivery));
        if let Some(deliveries) = self.handoff.0.get_mut(&target) {
            deliveries.open.insert(op.seq);
        }
        if mutated(Mutant::HintGoneAtSend) {
            let _ = step.store.apply(vec![Change::Remove(place.clone())]);
        }
        let (role, key, set) = (Role::Home, place.key, record.set);
        self.send(step, target, Message::Store { op, role, key, set });
    }

    /// The target has answered a delivery. `current` is false when it answered under an identity
    /// other than the one it last spoke under: one of the two directories is gone, and the hint is
    /// kept for whichever is left.
    pub(crate) fn delivered<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        current: bool,
        op: OpId,
        result: Result<(), StoreError>,
    ) {
        let Some(Operation::Delivery(delivery)) = self.operations.remove(&op.seq) else { return };
        let target = delivery.target;
        if let Some(deliveries) = self.handoff.0.get_mut(&target) {
            deliveries.open.remove(&op.seq);
        }
        match result {
            Ok(()) if current || mutated(Mutant::DeadIdentityAcks) => {
                self.drop_hint(step, delivery);
                self.deliver_hints(step, target);
            }
            Ok(()) => step.event(Event::Discarded(target, Discard::DeadIdentity)),
            Err(_) => {}
        }
    }

    fn drop_hint<S: Store>(&mut self, step: &mut Step<'_, S>, delivery: Delivery) {
        let Delivery { target, key, sent } = delivery;
        let place = Place { role: Role::Hint(target), key };
        // One that cannot be read, has grown, or cannot be removed stays for a later pass.
        let exact = step
            .store
            .record(&place)
            .is_ok_and(|held| held.is_some_and(|record| record.set.summary() == sent));
        if exact && step.store.apply(vec![Change::Remove(place)]).is_ok() {
            step.event(Event::HintDelivered(target));
        }
    }
}
