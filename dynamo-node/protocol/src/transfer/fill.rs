//! Newcomers: a home that was none counts once enough of those that were are contained in it.
//!
//! Enough are N-W+1 homes of the epoch before, so that one of them has what W acknowledged, and N-R+1, so
//! that what it acknowledges from then on meets every get; each of them counted in that epoch, and was asked
//! after it had left it. A sloppy cluster promises nothing about what a get meets, nor does one with R+W <=
//! N: there it does not matter whether they counted, and nobody waits for more than there are members left to
//! ask.

use std::collections::BTreeSet;

use crate::id::{Key, NodeId};
use crate::io::Event;
use crate::mutant::{Mutant, mutated};
use crate::node::Node;
use crate::ring::{Span, Spans, Token};
use crate::step::Step;
use crate::storage::{Change, Role, Store};
use crate::transfer::Counted;
use crate::view::{Between, Epoch, Tenure};

/// The stretches in which this node does not count yet. Volatile: a start begins anew.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Filling(Vec<Fill>);

/// A stretch whose keys have the same homes, and had them in the epoch before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Fill {
    span: Span,
    /// Of whom all is held that they held.
    sources: BTreeSet<NodeId>,
}

impl Node {
    /// Whether what this directory lacks of `key` nobody acknowledged with its word: as one of the homes, or
    /// as one that was a home in the epoch before. As long as there was no change only an amnesiac lacks
    /// more.
    pub(crate) fn has_counted(&self, key: &Key) -> bool {
        self.view.epoch() == Epoch::GENESIS || {
            let token = Token::of_key(key);
            counted_before(self.counted.at(token), self.view.tenure(token))
        }
    }

    /// The stretches of `within` where that is so.
    pub(crate) fn counted_within(&self, within: Span) -> Spans {
        if !self.counts() {
            return Spans::of([]);
        }
        let stretches = self.counted.within(within).into_iter().flat_map(|(span, epoch)| {
            let tenures = self.view.tenures(span);
            tenures.filter_map(move |(part, tenure)| counted_before(epoch, tenure).then_some(part))
        });
        Spans::of(stretches)
    }

    /// How many ranges of this node do not count yet.
    #[must_use]
    pub fn filling(&self) -> usize {
        self.filling.0.len()
    }

    /// What each of them waits for: of whom it takes what they hold, and how many it takes.
    #[must_use]
    pub fn waits_for(&self) -> Vec<(Span, Vec<NodeId>, usize)> {
        let missing = |fill: &Fill| {
            let (sources, needed) = self.needs(fill.span);
            let missing = sources.into_iter().filter(|source| !fill.sources.contains(source));
            (fill.span, missing.collect(), needed.saturating_sub(fill.sources.len()))
        };
        self.filling.0.iter().map(missing).collect()
    }

    /// The stretches in which this node is a home and does not count, under the view as it is now.
    pub(crate) fn fill_anew<S: Store>(&mut self, step: &mut Step<'_, S>) {
        let mut fills = Vec::new();
        if !self.meta.amnesiac {
            let homes = self.view.homes_of_a_key();
            let ranges = self.view.ring().ranges(Span::RING);
            for (range, _) in ranges.filter(|(_, list)| list[..homes].contains(&self.me)) {
                for (part, _) in self.view.tenures(range) {
                    let parts = self.counted.within(part).into_iter();
                    let newly = parts.filter(|(_, epoch)| *epoch < self.view.epoch());
                    fills.extend(newly.map(|(span, _)| Fill { span, sources: BTreeSet::new() }));
                }
            }
        }
        self.filling = Filling(fills);
        self.count_where_filled(step);
    }

    /// Of `with`, all is held that it held in `contained`, of what was compared.
    pub(crate) fn filled_by<S: Store>(
        &mut self,
        step: &mut Step<'_, S>,
        with: NodeId,
        between: Between,
        (contained, counts): (&Spans, &Spans),
    ) {
        for index in 0..self.filling.0.len() {
            let span = self.filling.0[index].span;
            let was_home = self.view.tenure(span.first()).before.contains(&with);
            let is_home = self.homes_at(span).contains(&with);
            let is_meant = is_home == (between == Between::Homes);
            let proves =
                counts.covers(span) || !self.counts_epochs() || mutated(Mutant::FilledByUncounted);
            if was_home && is_meant && proves && contained.covers(span) {
                self.filling.0[index].sources.insert(with);
            }
        }
        self.count_where_filled(step);
    }

    fn homes_at(&self, span: Span) -> &[NodeId] {
        let list = self.view.ring().ranges(Span::at(span.first())).next().map(|(_, list)| list);
        &list.unwrap_or(&[])[..self.view.homes_of_a_key()]
    }

    /// Those it may be filled from, and how many it takes.
    fn needs(&self, span: Span) -> (Vec<NodeId>, usize) {
        let n = self.settings.n;
        let all = (n - self.settings.w + 1).max(n - self.settings.r + 1);
        let needed = all - usize::from(mutated(Mutant::FilledByFewer));
        let before = self.view.tenure(span.first()).before.iter().copied();
        let sources: Vec<_> =
            before.filter(|home| *home != self.me && self.view.contains(*home)).collect();
        let needed = if self.counts_epochs() { needed } else { needed.min(sources.len()) };
        (sources, needed)
    }

    /// Whether `other`, a home now and before, has not filled all that it can.
    pub(crate) fn fills_from(&self, other: NodeId) -> bool {
        self.filling.0.iter().any(|fill| {
            let was_home = self.view.tenure(fill.span.first()).before.contains(&other);
            was_home && !fill.sources.contains(&other)
        })
    }

    /// The stretches that have to be filled from `other`, which is no home of them any more: where those that
    /// still are would not do, or may not, since one of them lost what it had.
    pub(crate) fn fills_from_stray(&self, other: NodeId) -> Spans {
        let is_meant = |fill: &&Fill| {
            let (sources, needed) = self.needs(fill.span);
            let homes = self.homes_at(fill.span);
            let retained = sources.iter().filter(|source| homes.contains(source)).count();
            let missing = !homes.contains(&other) && !fill.sources.contains(&other);
            let may_lack = self.counts_epochs() || retained < needed;
            missing && sources.contains(&other) && may_lack
        };
        Spans::of(self.filling.0.iter().filter(is_meant).map(|fill| fill.span))
    }

    pub(crate) fn count_where_filled<S: Store>(&mut self, step: &mut Step<'_, S>) {
        let is_filled = |fill: &Fill| {
            let (_, needed) = self.needs(fill.span);
            fill.sources.len() >= needed
        };
        let (filled, rest): (Vec<_>, Vec<_>) =
            self.filling.0.iter().cloned().partition(|fill| is_filled(fill));
        if filled.is_empty() {
            return;
        }
        let counted = filled.iter().fold(self.counted.clone(), |counted, fill| {
            counted.and_in(fill.span, self.view.epoch())
        });
        let change = self.counted_change(&counted);
        match self.write(step, change.into_iter().collect()) {
            Ok(()) => {
                self.filling = Filling(rest);
                self.counted = counted;
                step.event(Event::Filled { left: self.filling.0.len() as u64 });
            }
            // The next beat tries again.
            Err(error) => step.event(Event::StoreFailed(Role::Home, error)),
        }
    }

    /// In how many ranges this node is a home.
    pub(crate) fn home_ranges(&self) -> usize {
        let homes = self.view.homes_of_a_key();
        let ranges = self.view.ring().ranges(Span::RING);
        ranges.filter(|(_, list)| list[..homes].contains(&self.me)).count()
    }

    /// Nothing is waited for any more.
    pub(crate) fn filled_by_word(&mut self) {
        self.filling = Filling::default();
    }

    /// The directory counts nowhere any more.
    pub(crate) fn counts_nowhere(&mut self) -> Option<Change> {
        self.filling = Filling::default();
        self.counted = Counted::nowhere();
        self.counted_change(&self.counted)
    }
}

/// Whether a directory that counted last in `counted` counts in a tenure, or did before it.
fn counted_before(counted: Epoch, tenure: &Tenure) -> bool {
    counted > Epoch(0) && counted.0 + 1 >= tenure.since.0
}
