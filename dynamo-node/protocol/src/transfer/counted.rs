//! Where a directory counts as a home, and where it did last. Durable.

use serde::{Deserialize, Serialize};

use crate::id::NodeId;
use crate::ring::{Span, Token};
use crate::view::{Epoch, View};

/// For each key, by its position, the last epoch in which this directory counted as its home: in which what
/// it lacked nobody had acknowledged with its word.
///
/// A home that counts in one epoch, and is a home of the key in the next, counts in that too. Others have to
/// be filled first (`transfer/fill.rs`). One that is a home no more remembers when it was: who takes its
/// place asks for that.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Counted(
    /// In ring order. Where nothing is, it never counted.
    Vec<(Span, Epoch)>,
);

impl Counted {
    /// Everywhere: of a directory that the genesis made, in that epoch. Where it is no home, it lacks nothing
    /// that was acknowledged with its word, and the next epoch forgets it.
    #[must_use]
    pub fn everywhere(epoch: Epoch) -> Self {
        Self(vec![(Span::RING, epoch)])
    }

    /// In all of which `node` is a home now.
    #[must_use]
    pub(crate) fn as_home(node: NodeId, view: &View) -> Self {
        let ranges = view.ring().ranges(Span::RING);
        let own = ranges.filter(|(_, list)| list[..view.homes_of_a_key()].contains(&node));
        Self::of(own.map(|(span, _)| (span, view.epoch())))
    }

    /// Nowhere: of a directory that was made later.
    #[must_use]
    pub fn nowhere() -> Self {
        Self(Vec::new())
    }

    /// The last epoch in which it counted at `token`; 0, which is none, if it never did.
    #[must_use]
    pub fn at(&self, token: Token) -> Epoch {
        let at = self.0.partition_point(|(span, _)| span.last() < token);
        let counted = self.0.get(at).filter(|(span, _)| span.contains(token));
        counted.map_or(Epoch(0), |(_, epoch)| *epoch)
    }

    /// The stretches of `within` and the last epoch in which it counted there, all of it, in ring order.
    pub(crate) fn within(&self, within: Span) -> Vec<(Span, Epoch)> {
        let mut all = Vec::new();
        let mut next = Some(within.first());
        for (span, epoch) in &self.0 {
            let Some(span) = span.and(&within) else { continue };
            let gap = next.zip(span.first().0.checked_sub(1));
            let gap = gap.and_then(|(first, last)| Span::new(first, Token(last)));
            all.extend(gap.map(|gap| (gap, Epoch(0))));
            all.push((span, *epoch));
            next = span.last().0.checked_add(1).map(Token);
        }
        let rest = next.and_then(|first| Span::new(first, within.last()));
        all.extend(rest.map(|rest| (rest, Epoch(0))));
        all
    }

    /// From now on it counts in `span`.
    #[must_use]
    pub(crate) fn and_in(&self, span: Span, epoch: Epoch) -> Self {
        Self::of(self.within(Span::RING).into_iter().flat_map(|(one, before)| {
            let Some(both) = one.and(&span) else { return vec![(one, before)] };
            let left = both.first().0.checked_sub(1).and_then(|l| Span::new(one.first(), Token(l)));
            let right = both.last().0.checked_add(1).and_then(|r| Span::new(Token(r), one.last()));
            let left = left.map(|left| (left, before));
            let right = right.map(|right| (right, before));
            left.into_iter().chain([(both, epoch)]).chain(right).collect()
        }))
    }

    /// The same in the epoch after `view`, in which `next` is the view: of `node`.
    #[must_use]
    pub(crate) fn after(&self, node: NodeId, view: &View, next: &View) -> Self {
        let homes = view.homes_of_a_key();
        let ranges = view.ring().ranges(Span::RING).flat_map(|(span, before)| {
            let after = next.ring().ranges(span);
            after.flat_map(move |(part, after)| {
                let parts = self.within(part).into_iter();
                parts.map(move |(part, epoch)| {
                    let (was, is) =
                        (before[..homes].contains(&node), after[..homes].contains(&node));
                    let epoch = match epoch == view.epoch() {
                        true if was && is => next.epoch(),
                        // Nothing was acknowledged with the word of one that was no home.
                        true if !was => Epoch(0),
                        _ => epoch,
                    };
                    (part, epoch)
                })
            })
        });
        Self::of(ranges)
    }

    /// Joins what follows each other and is equal, and leaves out what is nothing.
    fn of(all: impl IntoIterator<Item = (Span, Epoch)>) -> Self {
        let mut counted: Vec<(Span, Epoch)> = Vec::new();
        for (span, epoch) in all {
            if epoch == Epoch(0) {
                continue;
            }
            match counted.last_mut() {
                Some((last, same)) if *same == epoch && last.joined(&span).is_some() => {
                    *last = last.joined(&span).unwrap_or(*last);
                }
                _ => counted.push((span, epoch)),
            }
        }
        Self(counted)
    }
}
