//! Tombstones are collected once their keys are *settled*: nothing is left of what was deleted, on any disk,
//! in any memory, or under way.
//!
//! A tombstone that goes too early lets what it deleted come back: from a hint, from an operation that read
//! it before, or from a message that took long. So the first home of the key asks all members, three times:
//!
//! 1. *Watch*: does each home hold the tombstone and nothing else, has nobody else a record or a hint of the
//!    key, and does nobody coordinate or hand on anything of it? From now on each notes what it hears of it.
//! 2. *Fence*, in the next era, and 3. *Confirm*, in the one after: is it still so, and was nothing of the
//!    key heard or begun meanwhile?
//!
//! Between the last answer of the first round and the first of the second it was so everywhere at one time:
//! then there was nothing but the tombstone in any record, nor in any open operation. What was under way had
//! been sent before, so in the era of the first round or an earlier one, and each member takes nothing in
//! that was sent two eras ago. So by the third answer nothing of the key is left that anybody would take in,
//! but the tombstone: homes may drop it, each at its own time. One that does it late, or is never told, gives
//! it back to the others, and another round goes over it.
//!
//! Eras are the epochs of epoch-based reclamation (K. Fraser, Practical lock-freedom, 2004, section 5.2.3),
//! with members for threads: one is over when all have said that they are in it. They are counted for no
//! other purpose, so that without deletes nobody writes them. Two and not one, so that what is sent while
//! others go on to the next is not lost.
//!
//! By the same round a record forgets *idle actors*: those that its context names, and of which no version is
//! left. An entry of the context is what keeps a version that was overwritten from coming back; of a settled
//! key none is left that could. Without it a context grows with every directory and every birth there ever
//! was, until the key takes no put any more.
//!
//! The price: a member that is down, amnesiac, in doubt or being filled keeps every tombstone there is. And a
//! directory that is put back to what it was before a collection still has what was deleted: it comes back
//! under another identity (see [`crate::continuity`]), and brings it along.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::{Key, NodeId, OpId};
use crate::io::Event;
use crate::merkle::Leaf;
use crate::message::Message;
use crate::mutant::{Mutant, mutated};
use crate::node::Node;
use crate::operations::Operation;
use crate::ring::{Span, Token};
use crate::step::Step;
use crate::storage::{Change, Meta, Place, Record, Role, Store, StoreError};
use crate::version::Siblings;
use crate::view::Epoch;

/// How many keys a round is about: of the longest a message of 128 KiB.
const BATCH: usize = 128;
/// How many keys may wait for a round; of more, the records are looked through again. With keys of 40 bytes
/// that is 256 KiB.
const QUEUE: usize = 4096;
/// How many records are looked at in one beat: some milliseconds of reading.
const WALK: usize = 256;
/// What was sent so many eras ago is void.
const VOID: u64 = 2;

/// How far a round is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// It begins.
    Watch,
    /// All are asked to go on to the next era.
    Fence,
    /// And to the one after.
    Confirm,
    /// What is settled goes. Nobody answers.
    Drop,
}

/// What a node knows of tombstones, and of keys that are settled or may be. Volatile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Settling {
    /// Keys of which this node is the first home, and what may go of its record of each.
    queue: BTreeMap<Key, Due>,
    /// The last of them that a round was about.
    cursor: Option<Key>,
    /// Up to here the records have yet to be looked through for more; none if all were.
    walk: Option<Token>,
    round: Option<Round>,
    /// What each member that leads a round asked to be watched, this one included.
    watches: BTreeMap<NodeId, Watch>,
}

/// What of a record may go, once it is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Due {
    /// All of it: it is a tombstone.
    Tombstone,
    /// Actors that its context need not name.
    IdleActors,
}

/// A round that this node leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Round {
    seq: u64,
    epoch: Epoch,
    stage: Stage,
    keys: Vec<(Key, Leaf)>,
    /// Who has not answered in this stage.
    waits: BTreeSet<NodeId>,
    /// Somebody has since the last beat.
    goes_on: bool,
}

/// Keys of a round that were settled when it was asked, and of which nothing was heard since.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Watch {
    op: OpId,
    keys: BTreeSet<Key>,
}

impl Settling {
    /// Something of `key` is asked, brought or begun.
    pub(crate) fn touch(&mut self, key: &Key) {
        for watch in self.watches.values_mut() {
            watch.keys.remove(key);
        }
    }

    /// There is nothing to do, and was nothing.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.round.is_none() && self.watches.is_empty()
    }

    /// Looks through all records again.
    pub(crate) fn walk(&mut self) {
        self.walk = Some(Token(0));
    }

    /// Gives the round the sequence number that `place` says, and calls those of others what `others` says.
    pub(crate) fn rename(
        &mut self,
        place: impl Fn(u64) -> Option<u64>,
        others: impl Fn(OpId) -> OpId,
    ) {
        if let Some(round) = &mut self.round {
            round.seq = place(round.seq).unwrap_or(round.seq);
        }
        self.watches.values_mut().for_each(|watch| watch.op = others(watch.op));
    }

    /// The operations of others by which rounds are known here.
    pub(crate) fn watched(&self) -> impl Iterator<Item = OpId> + '_ {
        self.watches.values().map(|watch| watch.op)
    }
}

impl Node {
    /// How many tombstones this node, as their key's first home, would collect.
    #[must_use]
    pub fn tombstones(&self) -> usize {
        self.settling.queue.values().filter(|due| **due == Due::Tombstone).count()
    }

    /// Members that keep tombstones from being collected, as far as this node knows.
    pub fn keep_tombstones(&self) -> impl Iterator<Item = NodeId> + '_ {
        let silent = self.settling.round.iter().flat_map(|round| round.waits.iter().copied());
        let mine = (!self.can_settle()).then_some(self.me);
        self.suspected().filter(|peer| self.view.contains(*peer)).chain(silent).chain(mine)
    }

    /// Whether what this node says of its records can settle anything.
    fn can_settle(&self) -> bool {
        self.is_proven() && !self.meta.amnesiac && self.filling() == 0
    }

    /// What a place holds from now on.
    pub(crate) fn note_due(&mut self, place: &Place, record: &Record) {
        // Every put comes here: where its key lies on the ring is asked last.
        let may_go = self.settings.anti_entropy && place.role == Role::Home;
        let due = if may_go { self.due(record) } else { None };
        let Some(due) = due.filter(|_| self.is_first_home(&place.key)) else { return };
        if self.settling.queue.len() < QUEUE {
            self.settling.queue.insert(place.key.clone(), due);
        } else {
            self.settling.walk();
        }
    }

    /// What may go of a home record. Some idle actors it keeps, since homes that are alive mint again: a
    /// quarter of what a context may name.
    fn due(&self, record: &Record) -> Option<Due> {
        let Siblings::Dotted(set) = &record.set else {
            // Plain clocks have nothing that could go: who mints from a record that is new counts from what
            // its client read, and would write what an old tombstone covers; and each version has its own
            // clock, so that what one forgets another may then cover.
            return None;
        };
        if record.amnesiac {
            return None;
        }
        let most = (self.settings.limits.actors / 4).max(1);
        match set.versions() {
            [only] if only.value.is_none() => Some(Due::Tombstone),
            [] => None,
            _ if set.context().actors() <= most => None,
            _ => (set.idle(record.minter.map(|it| it.actor)) >= most).then_some(Due::IdleActors),
        }
    }

    fn is_first_home(&self, key: &Key) -> bool {
        self.view.homes(key).first() == Some(&self.me)
    }

    /// A beat: the next round, unless one goes on. One that does not is given up.
    pub(crate) fn settle_due<S: Store>(&mut self, step: &mut Step<'_, S>) {
        if !self.settings.anti_entropy {
            return;
        }
        if let Some(round) = &mut self.settling.round {
            if std::mem::take(&mut round.goes_on) {
                return;
            }
            self.end_round();
        }
        if let Err(error) = self.look_for_due(step) {
            step.event(Event::StoreFailed(Role::Home, error));
        }
        self.begin_round(step);
    }

    /// Looks at the next records.
    fn look_for_due<S: Store>(&mut self, step: &Step<'_, S>) -> Result<(), StoreError> {
        let Some(from) = self.settling.walk.filter(|_| self.settling.queue.len() < QUEUE) else {
            return Ok(());
        };
        let Some(span) = Span::new(from, Span::RING.last()) else {
            unreachable!("the ring has no end before {from:?}");
        };
        let leaves = step.store.leaves(span, WALK)?;
        let last =
            leaves.last().map(|(key, _)| Token::of_key(key).0).filter(|_| leaves.len() == WALK);
        self.settling.walk = last.and_then(|last| last.checked_add(1)).map(Token);
        for (key, _) in leaves {
            let place = Place::home(key);
            // What cannot be read now is looked at after the next start.
            if let Ok(Some(record)) = step.store.record(&place) {
                self.note_due(&place, &record);
            }
        }
        Ok(())
    }

    fn begin_round<S: Store>(&mut self, step: &mut Step<'_, S>) {
        assert!(self.settling.round.is_none(), "a node leads one round at a time");
        let others: BTreeSet<_> = self.view.everybody().filter(|id| *id != self.me).collect();
        if !self.can_settle() || !others.iter().all(|id| self.detector.is_alive(*id)) {
            return;
        }
        let keys = self.next_due(step);
        if keys.is_empty() {
            return;
        }
        let others = if mutated(Mutant::TombstoneUnasked) { BTreeSet::new() } else { others };
        let op = self.next_op();
        self.operations.insert(op.seq, Operation::Settling);
        let watched = keys.iter().map(|(key, _)| key.clone()).collect();
        self.settling.watches.insert(self.me, Watch { op, keys: watched });
        self.settling.round = Some(Round {
            seq: op.seq,
            epoch: self.view.epoch(),
            stage: Stage::Watch,
            keys,
            waits: others,
            goes_on: true,
        });
        self.ask_to_settle(step);
    }

    /// The next that wait, in the order of their keys, as far as they are settled here.
    fn next_due<S: Store>(&mut self, step: &Step<'_, S>) -> Vec<(Key, Leaf)> {
        let after = self.settling.cursor.take();
        let is_later = |key: &&Key| after.as_ref().is_none_or(|after| *key > after);
        let queue = &self.settling.queue;
        let later = queue.keys().filter(is_later);
        let all = later.chain(queue.keys().filter(|key| !is_later(key)));
        let next: Vec<_> = all.take(BATCH).cloned().collect();
        self.settling.cursor = next.last().cloned();
        let mut keys = Vec::new();
        for key in next {
            let record = step.store.record(&Place::home(key.clone()));
            let leaf = match record {
                Ok(Some(record)) if self.due(&record).is_some() && self.is_first_home(&key) => {
                    Leaf::of(&key, &record)
                }
                Ok(_) => None,
                // It may be read another time.
                Err(_) => continue,
            };
            match leaf {
                Some(leaf) if self.is_settled(step, &key, leaf) => keys.push((key, leaf)),
                Some(_) => {}
                None => drop(self.settling.queue.remove(&key)),
            }
        }
        keys
    }

    fn ask_to_settle<S: Store>(&mut self, step: &mut Step<'_, S>) {
        let Some(round) = &self.settling.round else { return };
        let (op, stage, era) = (self.op(round.seq), round.stage, self.meta.era);
        let (keys, waits) = (round.keys.clone(), round.waits.clone());
        for to in &waits {
            self.send(step, *to, Message::Settle { op, stage, era, keys: keys.clone() });
        }
        if waits.is_empty() {
            self.next_stage(step);
        }
    }

    /// A member has said which keys are settled with it.
    pub(crate) fn settled<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        from: NodeId,
        op: OpId,
        stage: Stage,
        keys: &[Key],
    ) {
        let is_mine = self.is_mine(op);
        let round = self.settling.round.as_mut();
        let Some(round) = round.filter(|r| is_mine && r.seq == op.seq && r.stage == stage) else {
            return;
        };
        if !round.waits.remove(&from) {
            return;
        }
        round.goes_on = true;
        round.keys.retain(|(key, _)| keys.contains(key));
        if round.waits.is_empty() || round.keys.is_empty() {
            self.next_stage(step);
        }
    }

    /// All have answered.
    fn next_stage<S: Store>(&mut self, step: &mut Step<'_, S>) {
        let Some(round) = &self.settling.round else { return };
        let (stage, epoch) = (round.stage, round.epoch);
        let keys: Vec<_> =
            round.keys.iter().filter(|(k, leaf)| self.stays(step, k, *leaf)).cloned().collect();
        if keys.is_empty() || epoch != self.view.epoch() || !self.can_settle() {
            return self.end_round();
        }
        let next = match stage {
            Stage::Watch => Stage::Fence,
            Stage::Fence => Stage::Confirm,
            Stage::Confirm | Stage::Drop => {
                self.drop_everywhere(step, &keys);
                self.end_round();
                return self.begin_round(step);
            }
        };
        let era = self.meta.era.checked_add(1);
        if !era.is_some_and(|era| self.go_on_to(step, era)) {
            return self.end_round();
        }
        let others = self.view.everybody().filter(|id| *id != self.me);
        let others = others.filter(|_| !mutated(Mutant::TombstoneUnasked)).collect();
        if let Some(round) = &mut self.settling.round {
            (round.stage, round.keys, round.waits) = (next, keys, others);
        }
        self.ask_to_settle(step);
    }

    /// Whether it was settled here all the while.
    fn stays<S: Store>(&self, step: &Step<'_, S>, key: &Key, leaf: Leaf) -> bool {
        let watch = self.settling.watches.get(&self.me);
        let is_untouched = watch.is_some_and(|watch| watch.keys.contains(key));
        (is_untouched || mutated(Mutant::SettledWhileOpen)) && self.is_settled(step, key, leaf)
    }

    fn end_round(&mut self) {
        let Some(round) = self.settling.round.take() else { return };
        self.settling.watches.remove(&self.me);
        let open = self.operations.remove(round.seq);
        assert!(open.is_some(), "a round that goes on is open");
    }

    /// A member asks which of `keys` are settled here.
    pub(crate) fn settle_asked<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        (from, epoch, op): (NodeId, Epoch, OpId),
        (stage, era): (Stage, u64),
        keys: Vec<(Key, Leaf)>,
    ) {
        if stage == Stage::Drop {
            self.settling.watches.remove(&from);
            return self.drop_due(step, &keys);
        }
        let can_tell = epoch == self.view.epoch() && self.can_settle() && self.meta.era >= era;
        let keys = if can_tell { keys } else { Vec::new() };
        let settled =
            keys.iter().take(BATCH).filter(|(key, leaf)| self.is_settled(step, key, *leaf));
        let mut settled: Vec<_> = settled.map(|(key, _)| key.clone()).collect();
        // A question that comes again does not undo what was noted since it came first.
        let is_known = self.settling.watches.get(&from).is_some_and(|watch| watch.op == op);
        if stage == Stage::Watch && !is_known {
            self.settling.watches.remove(&from);
            if !settled.is_empty() {
                let keys = settled.iter().cloned().collect();
                self.settling.watches.insert(from, Watch { op, keys });
            }
        } else {
            let watch = self.settling.watches.get(&from).filter(|watch| watch.op == op);
            let is_untouched = |key: &Key| watch.is_some_and(|watch| watch.keys.contains(key));
            settled.retain(|key| is_untouched(key) || mutated(Mutant::SettledWhileOpen));
        }
        self.send(step, from, Message::Settled { op, stage, keys: settled });
    }

    /// Whether nothing is left of `key` here, but what has this `leaf` if this is a home.
    fn is_settled<S: Store>(&self, step: &Step<'_, S>, key: &Key, leaf: Leaf) -> bool {
        let is_open = self.operations.iter().any(|(_, operation)| operation.key() == Some(key));
        let waits = self.ahead.keys().any(|other| other == key);
        if (is_open || waits) && !mutated(Mutant::SettledWhileOpen) {
            return false;
        }
        let is_home = self.view.homes(key).contains(&self.me);
        let is_as_it_should_be = match is_home {
            true => self.held(step, key, leaf).is_some(),
            false => matches!(step.store.record(&Place::home(key.clone())), Ok(None)),
        };
        let keeps_hint = |target| {
            let place = Place { role: Role::Hint(target), key: key.clone() };
            !matches!(step.store.record(&place), Ok(None))
        };
        let has_hints = || self.view.ever().into_iter().any(keeps_hint);
        (is_as_it_should_be || !is_home && mutated(Mutant::SettledAtHomes))
            && (mutated(Mutant::SettledAtHomes) || !has_hints())
    }

    /// The home record of `key`, if what is live in it has this leaf.
    fn held<S: Store>(&self, step: &Step<'_, S>, key: &Key, leaf: Leaf) -> Option<Record> {
        let record = step.store.record(&Place::home(key.clone())).ok().flatten();
        record.filter(|record| !record.amnesiac && Leaf::of(key, record) == Some(leaf))
    }

    /// Nothing is left of these keys but what is live: the homes drop what may go.
    fn drop_everywhere<S: Store>(&mut self, step: &mut Step<'_, S>, keys: &[(Key, Leaf)]) {
        let Some(round) = &self.settling.round else { return };
        let (op, stage, era) = (self.op(round.seq), Stage::Drop, self.meta.era);
        let view = std::sync::Arc::clone(&self.view);
        for to in view.everybody().filter(|id| *id != self.me) {
            let held = keys.iter().filter(|(key, _)| view.homes(key).contains(&to));
            let keys: Vec<_> = held.cloned().collect();
            if !keys.is_empty() {
                self.send(step, to, Message::Settle { op, stage, era, keys });
            }
        }
        self.drop_due(step, keys);
    }

    /// Drops what may go of those that are held exactly as they are named, wherever the word comes from and
    /// however late: what they deleted or overwrote is nowhere.
    fn drop_due<S: Store>(&mut self, step: &mut Step<'_, S>, keys: &[(Key, Leaf)]) {
        let (mut changes, mut dropped) = (Vec::new(), Vec::new());
        for (key, leaf) in keys {
            if !self.view.homes(key).contains(&self.me) {
                continue;
            }
            let Some(mut record) = self.held(step, key, *leaf) else { continue };
            let place = Place::home(key.clone());
            if record.is_tombstone() {
                changes.push(Change::Remove(place));
                dropped.push((key.clone(), Event::TombstoneDropped));
                continue;
            }
            let entries = record.prune();
            if entries > 0 {
                changes.push(Change::Put(place, record));
                dropped.push((key.clone(), Event::IdleForgotten(entries)));
            }
        }
        if changes.is_empty() {
            return;
        }
        match self.write(step, changes) {
            Ok(()) => {
                for (key, event) in dropped {
                    self.settling.queue.remove(&key);
                    step.event(event);
                }
            }
            Err(error) => step.event(Event::StoreFailed(Role::Home, error)),
        }
    }

    /// A member goes by `era`.
    pub(crate) fn heard_era<S: Store>(&mut self, step: &mut Step<'_, S>, era: u64) {
        if era > self.meta.era {
            self.go_on_to(step, era);
        }
    }

    /// From now on this node speaks by `era`, also after it has started again; false if its disk refuses.
    fn go_on_to<S: Store>(&mut self, step: &mut Step<'_, S>, era: u64) -> bool {
        assert!(era > self.meta.era, "eras are counted, never back");
        match self.write(step, vec![Change::Meta(Meta { era, ..self.meta })]) {
            Ok(()) => true,
            Err(error) => {
                step.event(Event::StoreFailed(Role::Home, error));
                false
            }
        }
    }

    /// Whether `message`, sent in `era`, may bring what was deleted since.
    pub(crate) fn is_void(&self, era: u64, message: &Message) -> bool {
        matches!(message, Message::Store { .. })
            && era.checked_add(VOID).is_some_and(|since| since <= self.meta.era)
            && !mutated(Mutant::OldEraStored)
    }
}

impl Record {
    /// Whether all that is live is one tombstone: a home drops it once its key is settled.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        match &self.set {
            Siblings::Dotted(set) => matches!(set.versions(), [only] if only.value.is_none()),
            Siblings::Plain(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        Envelope, Identity, Input, Member, MemoryStore, Outbox, Output, Settings, Start, Time, View,
    };

    const ME: NodeId = NodeId(1);
    const LEADER: NodeId = NodeId(2);
    const OP: OpId = OpId { incarnation: 2, seq: 0 };

    /// A member of two that has no record of the key.
    struct Asked(Node, MemoryStore);

    impl Asked {
        fn new() -> Self {
            let settings = Arc::new(Settings::new([1, 1, 1]));
            let members = [ME, LEADER].map(|id| Member::new(id, 8)).to_vec();
            let view = View::genesis(&settings, members).unwrap();
            let meta = Meta::genesis(Identity(1));
            let node = Node::new(ME, settings, Arc::new(view), Start::proven(meta, 1));
            let mut asked = Self(node, MemoryStore::new(meta));
            asked.handle(Input::Started);
            asked
        }

        /// A key of which the leader is the home.
        fn key(&self) -> Key {
            let keys = (0..).map(|number| Key::from(format!("k{number}").as_str()));
            keys.into_iter().find(|key| self.0.view.homes(key) == [LEADER]).unwrap()
        }

        fn handle(&mut self, input: Input) -> Vec<Output> {
            let mut outbox = Outbox::default();
            self.0.handle(Time(0), input, &mut self.1, &mut outbox);
            outbox.outputs
        }

        fn hear(&mut self, era: u64, message: Message) -> Vec<Output> {
            let (from, identity, epoch) = (LEADER, Identity(2), Epoch::GENESIS);
            let envelope =
                Envelope { from, identity, position: 0, epoch, era, to: ME, heard: None, message };
            self.handle(Input::Peer(envelope))
        }

        /// How many keys it says are settled.
        fn ask(&mut self, stage: Stage, era: u64) -> usize {
            let keys = vec![(self.key(), Leaf(7))];
            let outputs = self.hear(era, Message::Settle { op: OP, stage, era, keys });
            let settled = outputs.into_iter().find_map(|output| match output {
                Output::Send(Envelope { message: Message::Settled { keys, .. }, .. }) => {
                    Some(keys.len())
                }
                _ => None,
            });
            settled.unwrap()
        }
    }

    #[test]
    fn a_question_that_comes_again_does_not_undo_what_was_noted_since() {
        let mut asked = Asked::new();
        assert_eq!(asked.ask(Stage::Watch, 0), 1);
        let (op, key) = (OpId { seq: 1, ..OP }, asked.key());
        asked.hear(0, Message::Fetch { op, role: Role::Hint(LEADER), key });
        assert_eq!(asked.ask(Stage::Watch, 0), 0, "the link gave it twice");
        assert_eq!(asked.ask(Stage::Fence, 1), 0);

        let mut undisturbed = Asked::new();
        assert_eq!(undisturbed.ask(Stage::Watch, 0), 1);
        assert_eq!(undisturbed.ask(Stage::Watch, 0), 1);
        assert_eq!(undisturbed.ask(Stage::Fence, 1), 1);
    }

    #[test]
    fn in_the_last_era_there_is_what_is_sent_in_it_is_not_void() {
        let mut asked = Asked::new();
        asked.hear(u64::MAX, Message::Ping { nonce: None });
        assert_eq!(asked.0.meta.era, u64::MAX);
        let (op, key) = (OP, asked.key());
        let set = Siblings::empty(asked.0.settings.versioning);
        let store = Message::Store { op, role: Role::Home, key, set, lasts: false };
        assert!(!asked.0.is_void(u64::MAX, &store) && asked.0.is_void(u64::MAX - 2, &store));
    }
}
