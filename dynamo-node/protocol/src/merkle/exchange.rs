//! Anti-entropy: at every beat of a timer a node compares what it holds with another home, and both take in
//! what the other has (paper, section 4.7).
//!
//! The node that begins asks; the other answers from what it holds and keeps nothing of it. Spans that
//! differ are compared part by part, until few enough keys are left to name them all. Then, key by
//! key: fetch the other's whole set, take it in, and store what that one lacks. So either may end at any
//! point, and the next exchange begins anew.
//!
//! Partners take turns, since the core has no randomness: after as many beats as there are partners
//! everybody was asked.

use std::collections::{BTreeSet, VecDeque};

use crate::id::{Key, NodeId, OpId};
use crate::io::{Event, Timer};
use crate::message::{Answer, Message};
use crate::mutant::{Mutant, mutated};
use crate::node::Node;
use crate::operations::Operation;
use crate::ring::{Span, Token};
use crate::step::Step;
use crate::storage::{Change, Place, Record, Role, Store, StoreError};
use crate::version::Siblings;
use crate::view::Epoch;

use super::refill::Refill;
use super::{Compared, Fingerprint};

/// How many keys a home names rather than going on: as many bytes, about, as the fingerprints of the parts.
const NAMED: usize = 32;
/// How many spans are compared in one message: 16 of 32 keys of the longest are 0.5 MiB.
const ASKED: usize = 16;
/// How many keys are under way at a time: enough to fill a link, few enough that foreground requests do not
/// wait behind them.
const UNDER_WAY: usize = 64;

/// The exchange that this node leads, and whose turn it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct AntiEntropy {
    last: Option<NodeId>,
    exchange: Option<Exchange>,
    pub(super) refill: Refill,
}

/// An exchange under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Exchange {
    with: NodeId,
    /// What is to be compared yet; the next last, so that this never grows by more than the depth.
    todo: Vec<Span>,
    /// The comparison that is open, by its sequence number.
    asked: Option<u64>,
    /// Keys that differ and wait for their turn.
    keys: VecDeque<Key>,
    /// The syncs that are open.
    open: BTreeSet<u64>,
    /// How many keys differed so far.
    differed: u64,
    /// The partner counts, and all it holds of what was looked at so far is held here.
    contained: bool,
    /// The partner has answered since the timer ran out last.
    goes_on: bool,
}

/// Spans that the partner was asked to compare.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Comparison {
    with: NodeId,
    spans: Vec<Span>,
}

/// A key that is brought up to date at both.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Sync {
    with: NodeId,
    key: Key,
    /// The record here was amnesiac when the other was asked.
    refills: bool,
}

impl AntiEntropy {
    /// Gives what is open the sequence numbers that `place` says; what is closed is gone.
    pub(crate) fn rename(&mut self, place: impl Fn(u64) -> Option<u64>) {
        if let Some(exchange) = &mut self.exchange {
            exchange.asked = exchange.asked.and_then(&place);
            let open = std::mem::take(&mut exchange.open);
            exchange.open = open.into_iter().filter_map(&place).collect();
        }
    }
}

impl Sync {
    pub(super) fn is_of(&self, key: &Key) -> bool {
        self.key == *key
    }

    /// The record was lost after the other was asked.
    pub(super) fn refills_no_more(&mut self) {
        self.refills = false;
    }
}

impl Exchange {
    fn new(with: NodeId) -> Self {
        Self {
            with,
            todo: vec![Span::RING],
            asked: None,
            keys: VecDeque::new(),
            open: BTreeSet::new(),
            differed: 0,
            contained: true,
            goes_on: false,
        }
    }
}

impl Node {
    /// After a start: the first exchange is due a beat later.
    pub(crate) fn begin_anti_entropy<S>(&mut self, step: &mut Step<'_, S>) {
        if self.settings.anti_entropy && self.view.members().len() > 1 {
            step.set_timer(Timer::Exchange, self.settings.timing.exchange);
        }
    }

    /// A beat: the next partner's turn, unless an exchange goes on. One that does not is given up.
    pub(crate) fn exchange_due<S: Store>(&mut self, step: &mut Step<'_, S>) {
        step.set_timer(Timer::Exchange, self.settings.timing.exchange);
        if let Some(exchange) = &mut self.anti_entropy.exchange
            && std::mem::take(&mut exchange.goes_on)
        {
            return;
        }
        self.end_exchange();
        let Some(with) = self.next_partner() else { return };
        self.anti_entropy.last = Some(with);
        self.anti_entropy.exchange = Some(Exchange::new(with));
        self.go_on(step);
    }

    /// The next, in the order of their names, of those that are believed alive and share a range.
    fn next_partner(&self) -> Option<NodeId> {
        let last = self.anti_entropy.last.unwrap_or(self.me);
        let (before, after): (Vec<_>, Vec<_>) = self.view.ids().partition(|id| *id <= last);
        let mut others = after.into_iter().chain(before).filter(|id| *id != self.me);
        others.find(|id| self.detector.is_alive(*id) && self.shares_with(*id))
    }

    /// Whether there are keys of which both are homes.
    pub(super) fn shares_with(&self, other: NodeId) -> bool {
        !self.view.shared(self.me, other, Span::RING).is_empty()
    }

    /// `peer` is out of reach, or another than it was.
    pub(crate) fn exchange_lost(&mut self, peer: NodeId) {
        if self.anti_entropy.exchange.as_ref().is_some_and(|exchange| exchange.with == peer) {
            self.end_exchange();
        }
    }

    pub(super) fn end_exchange(&mut self) {
        let Some(exchange) = self.anti_entropy.exchange.take() else { return };
        for seq in exchange.open.iter().chain(&exchange.asked) {
            let open = self.operations.remove(*seq);
            assert!(open.is_some(), "what an exchange says is open is open");
        }
    }

    /// Takes the next steps of the exchange, as far as nobody has to be waited for.
    fn go_on<S: Store>(&mut self, step: &mut Step<'_, S>) {
        while let Some(exchange) = &mut self.anti_entropy.exchange
            && exchange.open.len() < UNDER_WAY
            && let Some(key) = exchange.keys.pop_front()
        {
            self.sync(step, key);
        }
        let Some(exchange) = &mut self.anti_entropy.exchange else { return };
        if exchange.asked.is_some() || !exchange.keys.is_empty() {
            return;
        }
        if !exchange.todo.is_empty() {
            let from = exchange.todo.len().saturating_sub(ASKED);
            let spans = exchange.todo.split_off(from);
            return self.compare(step, spans);
        }
        if exchange.open.is_empty() {
            let (with, keys, contained) = (exchange.with, exchange.differed, exchange.contained);
            self.end_exchange();
            step.event(Event::Exchanged { with, keys });
            if contained {
                self.contains_all_of(step, with);
            }
        }
    }

    fn compare<S: Store>(&mut self, step: &mut Step<'_, S>, spans: Vec<Span>) {
        let Some(exchange) = &self.anti_entropy.exchange else { return };
        let with = exchange.with;
        let mut asked = Vec::with_capacity(spans.len());
        for span in &spans {
            match self.fingerprint(step, with, *span) {
                Ok(fingerprint) => asked.push((*span, fingerprint)),
                Err(error) => return self.cannot_exchange(step, error),
            }
        }
        let op = self.next_op();
        self.operations.insert(op.seq, Operation::Comparison(Comparison { with, spans }));
        if let Some(exchange) = &mut self.anti_entropy.exchange {
            exchange.asked = Some(op.seq);
        }
        let epoch = self.view.epoch();
        self.send(step, with, Message::Compare { op, epoch, asked });
    }

    /// Its own store does not say what it holds.
    fn cannot_exchange<S>(&mut self, step: &mut Step<'_, S>, error: StoreError) {
        step.event(Event::StoreFailed(Role::Home, error));
        self.end_exchange();
    }

    /// The fingerprint of what this node holds in `span` and `other` is a home of, too.
    fn fingerprint<S: Store>(
        &self,
        step: &Step<'_, S>,
        other: NodeId,
        span: Span,
    ) -> Result<Fingerprint, StoreError> {
        let mut all = Fingerprint::default();
        for shared in self.view.shared(self.me, other, span) {
            all.join(step.store.fingerprint(shared)?);
        }
        Ok(all)
    }

    /// A peer asks where it holds the same. Another view is another tree: of that nothing can be said. Nobody
    /// asks for more at a time than an exchange does: it would keep this node from everything else.
    pub(crate) fn answer_compare<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        from: NodeId,
        epoch: Epoch,
        asked: &[(Span, Fingerprint)],
    ) -> Vec<Compared> {
        if epoch != self.view.epoch() || asked.len() > ASKED {
            return Vec::new();
        }
        let found =
            asked.iter().map(|(span, theirs)| self.compare_span(step, from, *span, *theirs));
        found.collect::<Result<_, _>>().unwrap_or_else(|error| {
            step.event(Event::StoreFailed(Role::Home, error));
            Vec::new()
        })
    }

    fn compare_span<S: Store>(
        &self,
        step: &Step<'_, S>,
        other: NodeId,
        span: Span,
        theirs: Fingerprint,
    ) -> Result<Compared, StoreError> {
        let mine = self.fingerprint(step, other, span)?;
        if mine == theirs || mutated(Mutant::FalseMatch) && mine.keys == theirs.keys {
            return Ok(Compared::Equal);
        }
        if mine.keys <= NAMED as u64 {
            return self.leaves(step, other, span, NAMED).map(Compared::Keys);
        }
        let parts = span.parts().into_iter().map(|part| self.fingerprint(step, other, part));
        parts.collect::<Result<_, _>>().map(Compared::Parts)
    }

    /// Up to `most` of the keys that this node holds in `span` and `other` is a home of, too.
    fn leaves<S: Store>(
        &self,
        step: &Step<'_, S>,
        other: NodeId,
        span: Span,
        most: usize,
    ) -> Result<Vec<(Key, super::Leaf)>, StoreError> {
        let mut leaves = Vec::new();
        for shared in self.view.shared(self.me, other, span) {
            leaves.extend(step.store.leaves(shared, most - leaves.len())?);
        }
        Ok(leaves)
    }

    /// The partner has compared.
    pub(crate) fn compared<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        from: NodeId,
        op: OpId,
        found: Vec<Compared>,
        counts: bool,
    ) {
        let is_asked = |operation: &Operation| match operation {
            Operation::Comparison(comparison) => comparison.with == from,
            Operation::Request(_) | Operation::Delivery(_) | Operation::Sync(_) => false,
        };
        if !self.is_mine(op) || !self.operations.get(op.seq).is_some_and(is_asked) {
            return;
        }
        let Some(Operation::Comparison(comparison)) = self.operations.remove(op.seq) else {
            unreachable!("{op} was found to be an open comparison");
        };
        let Some(exchange) = &mut self.anti_entropy.exchange else {
            unreachable!("{op} is open, and no exchange is");
        };
        assert_eq!(exchange.asked.take(), Some(op.seq), "one comparison is open at a time");
        exchange.goes_on = true;
        exchange.contained &= counts;
        if found.len() != comparison.spans.len() {
            // It goes by another view, or cannot read what it holds.
            self.end_exchange();
            return;
        }
        for (span, found) in comparison.spans.into_iter().zip(found) {
            if let Err(error) = self.found(step, from, span, found) {
                return self.cannot_exchange(step, error);
            }
        }
        self.go_on(step);
    }

    /// What is to be done about `span`, of which the partner found this.
    fn found<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        with: NodeId,
        span: Span,
        found: Compared,
    ) -> Result<(), StoreError> {
        let mut todo = Vec::new();
        let mut keys = BTreeSet::new();
        match found {
            Compared::Equal => {}
            Compared::Parts(theirs) => {
                let parts = span.parts();
                if parts.len() != theirs.len() || parts.len() == 1 {
                    // Those are no parts of the span, or it has none: what differs there is not found.
                    self.is_not_contained();
                    return Ok(());
                }
                for (part, theirs) in parts.into_iter().zip(theirs) {
                    if self.fingerprint(step, with, part)? != theirs {
                        todo.push(part);
                    }
                }
            }
            Compared::Keys(theirs) => {
                let mine = self.leaves(step, with, span, NAMED + 1)?;
                if mine.len() > NAMED {
                    for part in span.parts() {
                        let named = |(key, _): &(Key, _)| part.contains(Token::of_key(key));
                        if theirs.iter().any(named) || self.fingerprint(step, with, part)?.keys > 0
                        {
                            todo.push(part);
                        }
                    }
                } else {
                    let mine: BTreeSet<_> = mine.into_iter().collect();
                    let theirs = theirs.into_iter().filter(|(key, _)| self.share(with, span, key));
                    let theirs: BTreeSet<_> = theirs.collect();
                    let differing = mine.symmetric_difference(&theirs).map(|(key, _)| key.clone());
                    keys = differing.collect();
                }
            }
        }
        if let Some(exchange) = &mut self.anti_entropy.exchange {
            exchange.todo.extend(todo);
            exchange.differed += keys.len() as u64;
            exchange.keys.extend(keys);
        }
        Ok(())
    }

    /// Whether `key`, which `other` named, is in `span` and both are its homes.
    fn share(&self, other: NodeId, span: Span, key: &Key) -> bool {
        let homes = self.view.homes(key);
        span.contains(Token::of_key(key)) && homes.contains(&self.me) && homes.contains(&other)
    }

    fn sync<S: Store>(&mut self, step: &mut Step<'_, S>, key: Key) {
        let op = self.next_op();
        let Some(exchange) = &mut self.anti_entropy.exchange else {
            unreachable!("a key is synced, and no exchange is open");
        };
        let with = exchange.with;
        exchange.open.insert(op.seq);
        let held = step.store.record(&Place::home(key.clone()));
        let refills = held.is_ok_and(|held| held.is_some_and(|record| record.amnesiac));
        let sync = Sync { with, key: key.clone(), refills };
        self.operations.insert(op.seq, Operation::Sync(sync));
        self.send(step, with, Message::Fetch { op, role: Role::Home, key });
    }

    /// The partner says what it holds of a key.
    pub(crate) fn sync_fetched<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        from: NodeId,
        op: OpId,
        answer: Answer,
    ) {
        let Some(Operation::Sync(Sync { with, key, .. })) = self.operations.get(op.seq) else {
            unreachable!("{op} was found to be an open sync");
        };
        if *with != from {
            return;
        }
        let key = key.clone();
        if !matches!(answer, Answer::Known { votes: true, .. }) {
            self.is_not_contained();
        }
        let theirs = match answer {
            Answer::Known { set, .. } => set,
            // It is as good as lost, and is mended by what it is sent.
            Answer::Failed(StoreError::Corrupt) => Siblings::empty(self.settings.versioning),
            Answer::Failed(StoreError::Unreadable | StoreError::Unwritable) => {
                return self.synced(step, op);
            }
        };
        if mutated(Mutant::SyncCopies) && !theirs.is_empty() {
            let _ = self.write(step, vec![Change::Remove(Place::home(key.clone()))]);
        }
        let taken = if theirs.is_empty() {
            Ok(())
        } else {
            self.take_in(step, Some(from), Role::Home, key.clone(), &theirs)
        };
        let held = taken.and_then(|()| step.store.record(&Place::home(key.clone())));
        match held {
            Ok(Some(mine)) if !theirs.covers(&mine.set) => {
                self.refill_record(step, op, &mine);
                let (role, set) = (Role::Home, mine.set);
                self.send(step, from, Message::Store { op, role, key, set });
            }
            Ok(mine) => {
                mine.into_iter().for_each(|mine| self.refill_record(step, op, &mine));
                self.synced(step, op);
            }
            Err(error) => {
                step.event(Event::StoreFailed(Role::Home, error));
                self.is_not_contained();
                self.synced(step, op);
            }
        }
    }

    /// Something of what the partner holds is not held here, or proves nothing.
    fn is_not_contained(&mut self) {
        if let Some(exchange) = &mut self.anti_entropy.exchange {
            exchange.contained = false;
        }
    }

    /// Of the key of sync `op` all is in `mine` that the partner, if it counts, had.
    fn refill_record<S: Store>(&mut self, step: &mut Step<'_, S>, op: OpId, mine: &Record) {
        let contained = self.anti_entropy.exchange.as_ref().is_some_and(|it| it.contained);
        if let Some(Operation::Sync(Sync { with, key, refills: true })) =
            self.operations.get(op.seq)
            && mine.amnesiac
            && contained
        {
            let (with, key) = (*with, key.clone());
            self.contains_record_of(step, with, &key, mine);
        }
    }

    /// The partner has what it lacked of a key, or cannot take it in now.
    pub(crate) fn sync_stored<S: Store>(&mut self, step: &mut Step<'_, S>, from: NodeId, op: OpId) {
        let is_asked = |operation: &Operation| match operation {
            Operation::Sync(sync) => sync.with == from,
            Operation::Request(_) | Operation::Delivery(_) | Operation::Comparison(_) => false,
        };
        if self.operations.get(op.seq).is_some_and(is_asked) {
            self.synced(step, op);
        }
    }

    /// A key is as far as it comes in this exchange.
    fn synced<S: Store>(&mut self, step: &mut Step<'_, S>, op: OpId) {
        let synced = self.operations.remove(op.seq);
        let Some(exchange) = &mut self.anti_entropy.exchange else {
            unreachable!("{op} is open, and no exchange is");
        };
        let was_open = exchange.open.remove(&op.seq);
        assert!(synced.is_some() && was_open, "{op} is closed once");
        exchange.goes_on = true;
        step.event(Event::Synced(exchange.with));
        self.go_on(step);
    }
}
