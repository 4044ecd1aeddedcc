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
use crate::ring::{Span, Spans, Token};
use crate::step::Step;
use crate::storage::{Change, Place, Record, Role, Store, StoreError};
use crate::version::Siblings;
use crate::view::{Between, Epoch};

use super::refill::Refill;
use super::{Compared, Fingerprint};

/// How many keys a home names rather than going on: as many bytes, about, as the fingerprints of the parts.
const NAMED: usize = 32;
/// How many spans are compared in one message: 16 of 32 keys of the longest are 0.5 MiB.
const ASKED: usize = 16;
/// How many keys are under way at a time: enough to fill a link, few enough that foreground requests do not
/// wait behind them.
const UNDER_WAY: usize = 64;

/// Which keys are meant: what the asker is to them, and the other one.
type Parties = (Between, NodeId, NodeId);

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
    /// With another home both take in what the other has. From a node that is no home any more this one takes
    /// in, and gives it nothing: it would be the longer in handing on what it has.
    between: Between,
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
    /// Where all the partner holds, of what was looked at so far, is held here.
    contained: Spans,
    /// Where the partner counts: what it lacks there proves something.
    counts: Spans,
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
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    pub(super) fn is_of(&self, key: &Key) -> bool {
        self.key == *key
    }

    /// The record was lost after the other was asked.
    pub(super) fn refills_no_more(&mut self) {
        self.refills = false;
    }
}

impl Exchange {
    fn new(with: NodeId, between: Between, todo: Vec<Span>) -> Self {
        Self {
            with,
            between,
            todo,
            asked: None,
            keys: VecDeque::new(),
            open: BTreeSet::new(),
            differed: 0,
            contained: Spans::ring(),
            counts: Spans::ring(),
            goes_on: false,
        }
    }
}

impl Node {
    /// After a start, and when there is something to be filled: an exchange is due a beat later.
    pub(crate) fn begin_anti_entropy<S>(&mut self, step: &mut Step<'_, S>) {
        let wanted = self.settings.anti_entropy || self.filling() > 0;
        if wanted && self.view.everybody().count() > 1 {
            step.set_timer(Timer::Exchange, self.settings.timing.exchange);
        }
    }

    /// A beat: the next partner's turn, unless an exchange goes on. One that does not is given up.
    pub(crate) fn exchange_due<S: Store>(&mut self, step: &mut Step<'_, S>) {
        // The disk may have refused it before.
        self.count_where_filled(step);
        self.begin_anti_entropy(step);
        self.settle_due(step);
        if let Some(exchange) = &mut self.anti_entropy.exchange
            && std::mem::take(&mut exchange.goes_on)
        {
            return;
        }
        self.end_exchange();
        let Some(with) = self.next_partner() else { return };
        self.anti_entropy.last = Some(with);
        let fills = self.settings.anti_entropy || self.fills_from(with);
        if self.shares_with(with) && fills {
            self.begin_exchange(step, Exchange::new(with, Between::Homes, vec![Span::RING]));
        } else {
            self.take_from_stray(step, with);
        }
    }

    fn begin_exchange<S: Store>(&mut self, step: &mut Step<'_, S>, exchange: Exchange) {
        self.anti_entropy.exchange = Some(exchange);
        self.go_on(step);
    }

    /// Takes from `other` what this node is to be filled with, and `other` is no home of any more.
    fn take_from_stray<S: Store>(&mut self, step: &mut Step<'_, S>, other: NodeId) {
        let todo: Vec<_> = self.fills_from_stray(other).iter().collect();
        if !todo.is_empty() {
            self.begin_exchange(step, Exchange::new(other, Between::HomeAndStray, todo));
        }
    }

    /// The next, in the order of their names, of those that are believed alive and share a range, or have
    /// what this node is to be filled with.
    fn next_partner(&self) -> Option<NodeId> {
        let last = self.anti_entropy.last.unwrap_or(self.me);
        let (before, after): (Vec<_>, Vec<_>) = self.view.everybody().partition(|id| *id <= last);
        let mut others = after.into_iter().chain(before).filter(|id| *id != self.me);
        let is_partner = |id: NodeId| {
            let shares =
                self.shares_with(id) && (self.settings.anti_entropy || self.fills_from(id));
            shares || self.fills_from_stray(id).iter().next().is_some()
        };
        others.find(|id| self.detector.is_alive(*id) && is_partner(*id))
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
            let (with, between, keys) = (exchange.with, exchange.between, exchange.differed);
            let (contained, counts) = (exchange.contained.clone(), exchange.counts.clone());
            self.end_exchange();
            step.event(Event::Exchanged { with, keys });
            if between == Between::Homes {
                let shared = self.view.between(between, (self.me, with), Span::RING);
                if shared.iter().all(|span| contained.covers(span) && counts.covers(span)) {
                    self.contains_all_of(step, with);
                }
            }
            self.filled_by(step, with, between, (&contained, &counts));
            if between == Between::Homes {
                self.take_from_stray(step, with);
            }
        }
    }

    fn compare<S: Store>(&mut self, step: &mut Step<'_, S>, spans: Vec<Span>) {
        let Some(exchange) = &self.anti_entropy.exchange else { return };
        let (with, between) = (exchange.with, exchange.between);
        let mut asked = Vec::with_capacity(spans.len());
        for span in &spans {
            match self.fingerprint(step, (between, self.me, with), *span) {
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
        self.send(step, with, Message::Compare { op, epoch, between, asked });
    }

    /// Its own store does not say what it holds.
    fn cannot_exchange<S>(&mut self, step: &mut Step<'_, S>, error: StoreError) {
        step.event(Event::StoreFailed(Role::Home, error));
        self.end_exchange();
    }

    /// The fingerprint of what this node holds in `span` of the keys that are meant.
    fn fingerprint<S: Store>(
        &self,
        step: &Step<'_, S>,
        (between, asker, other): Parties,
        span: Span,
    ) -> Result<Fingerprint, StoreError> {
        let mut all = Fingerprint::default();
        for meant in self.view.between(between, (asker, other), span).iter() {
            all.join(step.store.fingerprint(meant)?);
        }
        Ok(all)
    }

    /// A peer asks where it holds the same. Another view is another tree: of that nothing can be said. Nobody
    /// asks for more at a time than an exchange does: it would keep this node from everything else.
    pub(crate) fn answer_compare<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        from: NodeId,
        (epoch, between): (Epoch, Between),
        asked: &[(Span, Fingerprint)],
    ) -> Vec<Compared> {
        let same = epoch == self.view.epoch() || mutated(Mutant::ComparedInAnyEpoch);
        if !same || asked.len() > ASKED {
            return Vec::new();
        }
        let parties = (between, from, self.me);
        let found =
            asked.iter().map(|(span, theirs)| self.compare_span(step, parties, *span, *theirs));
        found.collect::<Result<_, _>>().unwrap_or_else(|error| {
            step.event(Event::StoreFailed(Role::Home, error));
            Vec::new()
        })
    }

    fn compare_span<S: Store>(
        &self,
        step: &Step<'_, S>,
        parties: Parties,
        span: Span,
        theirs: Fingerprint,
    ) -> Result<Compared, StoreError> {
        let mine = self.fingerprint(step, parties, span)?;
        if mine == theirs || mutated(Mutant::FalseMatch) && mine.keys == theirs.keys {
            return Ok(Compared::Equal);
        }
        if mine.keys <= NAMED as u64 {
            return self.leaves(step, parties, span, NAMED).map(Compared::Keys);
        }
        let parts = span.parts().into_iter().map(|part| self.fingerprint(step, parties, part));
        parts.collect::<Result<_, _>>().map(Compared::Parts)
    }

    /// The stretches of `asked` in which this node counts.
    pub(crate) fn counts_in(&self, asked: &[(Span, Fingerprint)]) -> Vec<Span> {
        let asked = asked.iter().take(ASKED);
        asked.flat_map(|(span, _)| self.counted_within(*span).iter().collect::<Vec<_>>()).collect()
    }

    /// Up to `most` of the keys that are meant and this node holds in `span`.
    fn leaves<S: Store>(
        &self,
        step: &Step<'_, S>,
        (between, asker, other): Parties,
        span: Span,
        most: usize,
    ) -> Result<Vec<(Key, super::Leaf)>, StoreError> {
        let mut leaves = Vec::new();
        for meant in self.view.between(between, (asker, other), span).iter() {
            leaves.extend(step.store.leaves(meant, most - leaves.len())?);
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
        counts: &[Span],
    ) {
        if !self.is_mine(op) {
            return;
        }
        match self.operations.get(op.seq) {
            Some(Operation::Comparison(comparison)) if comparison.with == from => {}
            Some(Operation::Stray(_)) => return self.stray_compared(step, from, op, &found),
            Some(_) | None => return,
        }
        let Some(Operation::Comparison(comparison)) = self.operations.remove(op.seq) else {
            unreachable!("{op} was found to be an open comparison");
        };
        let Some(exchange) = &mut self.anti_entropy.exchange else {
            unreachable!("{op} is open, and no exchange is");
        };
        assert_eq!(exchange.asked.take(), Some(op.seq), "one comparison is open at a time");
        exchange.goes_on = true;
        for span in &comparison.spans {
            let mut lacking = Spans::of([*span]);
            counts.iter().for_each(|counts| lacking.remove(*counts));
            lacking.iter().for_each(|lacking| exchange.counts.remove(lacking));
        }
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
        let Some(between) = self.anti_entropy.exchange.as_ref().map(|it| it.between) else {
            unreachable!("something was found, and no exchange is open");
        };
        let parties = (between, self.me, with);
        let takes_only = between == Between::HomeAndStray;
        let mut todo = Vec::new();
        let mut keys = BTreeSet::new();
        match found {
            Compared::Equal => {}
            Compared::Parts(theirs) => {
                let parts = span.parts();
                if parts.len() != theirs.len() || parts.len() == 1 {
                    // Those are no parts of the span, or it has none: what differs there is not found.
                    self.is_not_contained(span);
                    return Ok(());
                }
                for (part, theirs) in parts.into_iter().zip(theirs) {
                    let differs = self.fingerprint(step, parties, part)? != theirs;
                    if differs && (theirs.keys > 0 || !takes_only) {
                        todo.push(part);
                    }
                }
            }
            Compared::Keys(theirs) => {
                let mine = self.leaves(step, parties, span, NAMED + 1)?;
                if mine.len() > NAMED {
                    for part in span.parts() {
                        let named = |(key, _): &(Key, _)| part.contains(Token::of_key(key));
                        let held = self.fingerprint(step, parties, part)?.keys > 0;
                        if theirs.iter().any(named) || held && !takes_only {
                            todo.push(part);
                        }
                    }
                } else {
                    let mine: BTreeSet<_> = mine.into_iter().collect();
                    let theirs =
                        theirs.into_iter().filter(|(key, _)| self.is_meant(parties, span, key));
                    let theirs: BTreeSet<_> = theirs.collect();
                    let news = theirs.difference(&mine).map(|(key, _)| key.clone());
                    keys = news.collect();
                    if !takes_only {
                        keys.extend(mine.difference(&theirs).map(|(key, _)| key.clone()));
                    }
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

    /// Whether `key`, which the other one named, is in `span` and one of those that are meant.
    fn is_meant(&self, (between, asker, other): Parties, span: Span, key: &Key) -> bool {
        let at = Token::of_key(key);
        let meant = Some(Span::at(at)).filter(|_| span.contains(at));
        meant.is_some_and(|at| self.view.between(between, (asker, other), at).covers(at))
    }

    fn sync<S: Store>(&mut self, step: &mut Step<'_, S>, key: Key) {
        let op = self.next_op();
        self.settling.touch(&key);
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
        if !matches!(answer, Answer::Known { votes: true, .. })
            && let Some(exchange) = &mut self.anti_entropy.exchange
        {
            exchange.counts.remove(Span::at(Token::of_key(&key)));
        }
        let gives = self
            .anti_entropy
            .exchange
            .as_ref()
            .is_some_and(|exchange| exchange.between == Between::Homes);
        let theirs = match answer {
            Answer::Known { set, .. } => set,
            // It is as good as lost, and is mended by what it is sent.
            Answer::Failed(StoreError::Corrupt) => Siblings::empty(self.settings.versioning),
            Answer::Failed(StoreError::Unreadable | StoreError::Unwritable) => {
                self.is_not_contained_at(&key);
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
            Ok(Some(mine)) if gives && !theirs.covers(&mine.set) => {
                self.refill_record(step, op, &mine);
                let (role, set) = (Role::Home, mine.set);
                self.send(step, from, Message::Store { op, role, key, set, lasts: false });
            }
            Ok(mine) => {
                mine.into_iter().for_each(|mine| self.refill_record(step, op, &mine));
                self.synced(step, op);
            }
            Err(error) => {
                step.event(Event::StoreFailed(Role::Home, error));
                self.is_not_contained_at(&key);
                self.synced(step, op);
            }
        }
    }

    /// Something of what the partner holds is not held here, or proves nothing.
    fn is_not_contained(&mut self, span: Span) {
        if let Some(exchange) = &mut self.anti_entropy.exchange {
            exchange.contained.remove(span);
        }
    }

    fn is_not_contained_at(&mut self, key: &Key) {
        self.is_not_contained(Span::at(Token::of_key(key)));
    }

    /// Of the key of sync `op` all is in `mine` that the partner, if it counts, had.
    fn refill_record<S: Store>(&mut self, step: &mut Step<'_, S>, op: OpId, mine: &Record) {
        if let Some(Operation::Sync(Sync { with, key, refills: true })) =
            self.operations.get(op.seq)
            && mine.amnesiac
            && let Some(exchange) = &self.anti_entropy.exchange
            && let at = Span::at(Token::of_key(key))
            && exchange.contained.covers(at)
            && exchange.counts.covers(at)
        {
            let (with, key) = (*with, key.clone());
            self.contains_record_of(step, with, &key, mine);
        }
    }

    /// The partner has what it lacked of a key, or cannot take it in now.
    pub(crate) fn sync_stored<S: Store>(&mut self, step: &mut Step<'_, S>, from: NodeId, op: OpId) {
        let is_asked = |operation: &Operation| match operation {
            Operation::Sync(sync) => sync.with == from,
            Operation::Request(_)
            | Operation::Delivery(_)
            | Operation::Comparison(_)
            | Operation::Stray(_)
            | Operation::Settling => false,
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
