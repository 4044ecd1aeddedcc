//! Hinted handoff (paper, section 4.6): a hint is kept until its target has acknowledged, durably,
//! exactly the set the hint holds.
//!
//! A hint that cannot be read is told of at every pass, kept, and tried again: what a disk reads wrong
//! today it may read right tomorrow, and nothing that was acknowledged is dropped unseen. It is no copy
//! meanwhile. It ends when a put or a handoff writes its place anew, or an operator removes it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use crate::id::{Key, NodeId, OpId};
use crate::io::{Discard, Event, Output, Timer};
use crate::message::Message;
use crate::mutant::{Mutant, mutated};
use crate::node::Node;
use crate::operations::Operation;
use crate::step::Step;
use crate::storage::{Change, Place, Role, Store, StoreError};
use crate::version::Summary;
use crate::view::Epoch;

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
    /// After a change of the membership: the last key that was looked at, whether its homes are others now.
    /// None once all were.
    looked_over: Option<Option<Key>>,
}

/// One hint under way to its target.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Delivery {
    target: NodeId,
    key: Key,
    /// What was sent: a hint that has grown since is not covered by the acknowledgement.
    sent: Summary,
}

impl Delivery {
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }
}

impl Handoff {
    /// Gives the open deliveries the sequence numbers that `place` says; closed ones are gone.
    pub(crate) fn rename(&mut self, place: impl Fn(u64) -> Option<u64>) {
        for deliveries in self.0.values_mut() {
            let open = std::mem::take(&mut deliveries.open);
            deliveries.open = open.into_iter().filter_map(&place).collect();
        }
    }

    /// All hints for `target` are to be looked at.
    pub(crate) fn look_over(&mut self, target: NodeId) {
        if let Some(deliveries) = self.0.get_mut(&target) {
            deliveries.looked_over = Some(None);
        }
    }

    /// The last that was looked at, if not all were.
    pub(crate) fn looked_over(&self, target: NodeId) -> Option<Option<Key>> {
        self.0.get(&target)?.looked_over.clone()
    }

    /// Those up to `last` were looked at; all if that is none.
    pub(crate) fn looked_at(&mut self, target: NodeId, last: Option<Key>) {
        if let Some(deliveries) = self.0.get_mut(&target) {
            deliveries.looked_over = last.map(Some);
        }
    }
}

impl Node {
    /// After a start: hints in the store are for targets that may be up already.
    pub(crate) fn resume_handoff<S: Store>(&mut self, step: &mut Step<'_, S>) {
        if mutated(Mutant::HandoffNotResumed) {
            return;
        }
        self.look_for_hints(step);
    }

    /// Expects hints for all that the store has any for. After a change of the membership they may be for
    /// nodes that are no homes of their keys.
    pub(crate) fn look_for_hints<S: Store>(&mut self, step: &mut Step<'_, S>) {
        for target in self.view.ever() {
            // A store that cannot tell is asked again when the timer runs out.
            if target == self.me
                || step.store.hints(target, None, 1).is_ok_and(|keys| keys.is_empty())
            {
                continue;
            }
            self.expect_hints(step, target);
            if self.view.epoch() > Epoch::GENESIS {
                self.handoff.look_over(target);
                self.adopt_hints(step, target);
            }
        }
    }

    /// There may be hints for `target` from now on.
    pub(crate) fn expect_hints<S>(&mut self, step: &mut Step<'_, S>, target: NodeId) {
        assert_ne!(target, self.me, "a node keeps no hint for itself");
        if let Entry::Vacant(none) = self.handoff.0.entry(target) {
            none.insert(Deliveries::default());
            step.set_timer(Timer::Handoff(target), self.settings.timing.handoff);
        }
    }

    /// A new pass: what is still unanswered from the last one is given up and sent again.
    pub(crate) fn handoff_due<S: Store>(&mut self, step: &mut Step<'_, S>, target: NodeId) {
        if let Some(deliveries) = self.handoff.0.get_mut(&target) {
            deliveries.cursor = None;
            for seq in std::mem::take(&mut deliveries.open) {
                self.operations.remove(seq);
            }
            step.set_timer(Timer::Handoff(target), self.settings.timing.handoff);
            self.adopt_hints(step, target);
            self.deliver_hints(step, target);
            if mutated(Mutant::HintsExpire) && !self.detector.is_alive(target) {
                self.lose_hints(step, target);
            }
        }
    }

    /// Once the hints for a node that is no member any more are adopted, none is expected.
    pub(crate) fn end_handoff<S: Store>(&mut self, step: &mut Step<'_, S>, target: NodeId) {
        if self.view.contains(target) {
            return;
        }
        if let Some(deliveries) = self.handoff.0.get_mut(&target) {
            for seq in std::mem::take(&mut deliveries.open) {
                self.operations.remove(seq);
            }
            self.end_pass(step, target);
        }
    }

    /// Sends the next hints to `target` if it is believed alive and none are under way.
    pub(crate) fn deliver_hints<S: Store>(&mut self, step: &mut Step<'_, S>, target: NodeId) {
        // A batch of which none could be read does not keep the next one waiting.
        while let Some(deliveries) = self.handoff.0.get(&target)
            && deliveries.open.is_empty()
            && self.detector.is_alive(target)
            && self.view.contains(target)
        {
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
    }

    fn move_cursor(&mut self, target: NodeId, cursor: Option<Key>) {
        let Some(deliveries) = self.handoff.0.get_mut(&target) else {
            unreachable!("a pass over the hints for {target}, and none is expected");
        };
        let goes_on = cursor.is_none() || cursor > deliveries.cursor;
        assert!(goes_on, "a pass goes over the hints in the order of their keys");
        deliveries.cursor = cursor;
    }

    /// Every hint was tried. Those still there were not acknowledged: the timer tries them again.
    fn end_pass<S: Store>(&mut self, step: &mut Step<'_, S>, target: NodeId) {
        if step.store.hints(target, None, 1).is_ok_and(|keys| keys.is_empty()) {
            let ended = self.handoff.0.remove(&target);
            assert!(ended.is_some_and(|ended| ended.open.is_empty()), "a hint is under way still");
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
        if !self.view.homes(&place.key).contains(&target) {
            // It is adopted when its turn comes.
            return;
        }
        let op = self.next_op();
        let delivery = Delivery { target, key: place.key.clone(), sent: record.set.summary() };
        self.operations.insert(op.seq, Operation::Delivery(delivery));
        let Some(deliveries) = self.handoff.0.get_mut(&target) else {
            unreachable!("a hint for {target} goes out, and none is expected");
        };
        deliveries.open.insert(op.seq);
        assert!(deliveries.open.len() <= BATCH, "no more hints are under way than fill a link");
        if mutated(Mutant::HintGoneAtSend) {
            let _ = self.write(step, vec![Change::Remove(place.clone())]);
        }
        let (role, key, set) = (Role::Home, place.key, record.set);
        self.send(step, target, Message::Store { op, role, key, set, lasts: false });
    }

    /// `target` speaks under another identity than before: one of its two directories is gone. What is
    /// under way may be acknowledged by that one, so it counts no more and is sent again.
    ///
    /// This is all it takes for an acknowledgement of a dead identity never to remove a hint, however
    /// many come and however late: the dead one can only answer what was sent before its successor
    /// spoke here, and every such delivery is given up at that moment or before.
    pub(crate) fn void_deliveries<S>(&mut self, step: &mut Step<'_, S>, target: NodeId) {
        if mutated(Mutant::DeadIdentityAcks) {
            return;
        }
        let Some(deliveries) = self.handoff.0.get_mut(&target) else { return };
        deliveries.cursor = None;
        let open = std::mem::take(&mut deliveries.open);
        if !open.is_empty() {
            step.event(Event::Discarded(target, Discard::DeadIdentity));
        }
        for seq in open {
            self.operations.remove(seq);
        }
    }

    /// The target has answered a delivery.
    pub(crate) fn delivered<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        op: OpId,
        result: Result<(), StoreError>,
    ) {
        let Some(Operation::Delivery(delivery)) = self.operations.remove(op.seq) else {
            unreachable!("{op} was found to be an open delivery");
        };
        let target = delivery.target;
        let deliveries = self.handoff.0.get_mut(&target);
        let was_open = deliveries.is_some_and(|deliveries| deliveries.open.remove(&op.seq));
        assert!(was_open, "delivery {op} is open, and {target} is not told of it");
        match result {
            Ok(()) => self.drop_hint(step, delivery),
            // It takes in nothing now: the rest of the pass would fare no better.
            Err(StoreError::Unwritable) => return,
            Err(StoreError::Corrupt | StoreError::Unreadable) => {}
        }
        self.deliver_hints(step, target);
    }

    fn drop_hint<S: Store>(&mut self, step: &mut Step<'_, S>, delivery: Delivery) {
        let Delivery { target, key, sent } = delivery;
        let place = Place { role: Role::Hint(target), key };
        // One that cannot be read, has grown, or cannot be removed stays for a later pass.
        let exact = step
            .store
            .record(&place)
            .is_ok_and(|held| held.is_some_and(|record| record.set.summary() == sent));
        if exact && self.write(step, vec![Change::Remove(place)]).is_ok() {
            step.event(Event::HintDelivered(target));
        }
        if mutated(Mutant::HintsGoTogether) {
            self.lose_hints(step, target);
        }
    }

    /// What seeded bugs do: removes hints that nobody has acknowledged.
    fn lose_hints<S: Store>(&mut self, step: &mut Step<'_, S>, target: NodeId) {
        for key in step.store.hints(target, None, BATCH).unwrap_or_default() {
            let place = Place { role: Role::Hint(target), key };
            let _ = self.write(step, vec![Change::Remove(place)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::version::{Actor, VersionVector};
    use crate::{
        Dot, DottedSet, Fingerprint, Identity, Input, Leaf, Member, MemoryStore, Meta, Outbox,
        Record, Settings, Siblings, Span, Start, Time, Version, View,
    };

    const TARGET: NodeId = NodeId(2);

    /// A store of which some hints cannot be read.
    struct Damaged(MemoryStore, BTreeSet<Key>);

    impl Store for Damaged {
        fn record(&self, place: &Place) -> Result<Option<Record>, StoreError> {
            if self.1.contains(&place.key) {
                Err(StoreError::Corrupt)
            } else {
                self.0.record(place)
            }
        }

        fn hints(
            &self,
            of: NodeId,
            after: Option<&Key>,
            most: usize,
        ) -> Result<Vec<Key>, StoreError> {
            self.0.hints(of, after, most)
        }

        fn fingerprint(&self, span: Span) -> Result<Fingerprint, StoreError> {
            self.0.fingerprint(span)
        }

        fn leaves(&self, span: Span, most: usize) -> Result<Vec<(Key, Leaf)>, StoreError> {
            self.0.leaves(span, most)
        }

        fn apply(&mut self, changes: Vec<Change>) -> Result<(), StoreError> {
            self.0.apply(changes)
        }

        fn position(&self) -> u64 {
            self.0.position()
        }
    }

    fn hint() -> Record {
        let actor = Actor { identity: Identity(1), birth: 0 };
        let dot = Dot { actor, counter: 1 };
        let version = Version { dot, timestamp: 0, value: None };
        let set = DottedSet::from_parts(VersionVector::from_iter([(actor, 1)]), vec![version]);
        let set = Siblings::Dotted(set.unwrap());
        Record { set, minter: None, amnesiac: false }
    }

    #[test]
    fn hints_that_cannot_be_read_do_not_keep_the_others_waiting() {
        let members: Vec<_> = (1..=2).map(|id| Member::new(NodeId(id), 8)).collect();
        let settings = Arc::new(Settings::new([2, 1, 1]));
        let view = Arc::new(View::genesis(&settings, members).unwrap());
        let meta = Meta::genesis(Identity(1));
        let mut store = Damaged(MemoryStore::new(meta), BTreeSet::new());
        let key = |at: usize| Key::from(&*format!("k{at:03}"));
        for at in 0..=3 * BATCH {
            let place = Place { role: Role::Hint(TARGET), key: key(at) };
            store.0.records.insert(place, hint());
        }
        store.1 = (0..3 * BATCH).map(key).collect();
        let mut node = Node::new(NodeId(1), settings, view, Start::proven(meta, 1));
        let mut outbox = Outbox::default();
        for input in [Input::Started, Input::Timer(Timer::Handoff(TARGET))] {
            node.handle(Time(0), input, &mut store, &mut outbox);
        }
        let sent = outbox.outputs.iter().filter_map(|output| match output {
            Output::Send(envelope) => Some(envelope),
            _ => None,
        });
        let sent: Vec<_> = sent.collect();
        assert_eq!(sent.len(), 1);
        let Message::Store { key: of, lasts, .. } = &sent[0].message else { panic!("{sent:?}") };
        assert_eq!(*of, key(3 * BATCH));
        assert!(!lasts, "it goes once it was delivered, durably");
        let told = outbox
            .outputs
            .iter()
            .filter(|output| matches!(output, Output::Event(Event::StoreFailed(..))));
        assert_eq!(told.count(), 3 * BATCH, "each is told of");
        assert_eq!(store.0.records.len(), 3 * BATCH + 1, "and kept");
    }
}
