//! Sets of positions on the ring.

use super::{Span, Token};

/// A set of positions: spans in ring order that neither overlap nor touch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Spans(Vec<Span>);

impl Spans {
    /// All of the ring.
    pub(crate) fn ring() -> Self {
        Self(vec![Span::RING])
    }

    /// What is in any of `spans`, which are in ring order and do not overlap.
    pub(crate) fn of(spans: impl IntoIterator<Item = Span>) -> Self {
        let mut all: Vec<Span> = Vec::new();
        for span in spans {
            match all.last_mut().and_then(|last| last.joined(&span).map(|joined| (last, joined))) {
                Some((last, joined)) => *last = joined,
                None => all.push(span),
            }
        }
        Self(all)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Span> + '_ {
        self.0.iter().copied()
    }

    /// Whether all of `span` is in it.
    pub(crate) fn covers(&self, span: Span) -> bool {
        let at = self.0.partition_point(|one| one.last() < span.first());
        self.0.get(at).is_some_and(|one| one.and(&span) == Some(span))
    }

    /// Takes `span` out of it.
    pub(crate) fn remove(&mut self, span: Span) {
        let mut left = Vec::with_capacity(self.0.len() + 1);
        for one in &self.0 {
            if one.and(&span).is_none() {
                left.push(*one);
                continue;
            }
            let before = span.first().0.checked_sub(1).map(Token);
            left.extend(before.and_then(|before| Span::new(one.first(), before)));
            let behind = span.last().0.checked_add(1).map(Token);
            left.extend(behind.and_then(|behind| Span::new(behind, one.last())));
        }
        self.0 = left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(first: u128, last: u128) -> Span {
        Span::new(Token(first), Token(last)).unwrap()
    }

    #[test]
    fn what_is_taken_out_is_covered_no_more_and_all_else_is() {
        let mut spans = Spans::ring();
        for taken in [span(5, 9), span(0, 1), span(8, 20), span(u128::MAX, u128::MAX)] {
            spans.remove(taken);
            assert!(!spans.covers(taken));
        }
        assert_eq!(spans.0, [span(2, 4), span(21, u128::MAX - 1)]);
        assert!(spans.covers(span(2, 4)) && spans.covers(span(3, 3)));
        assert!(!spans.covers(span(2, 5)) && !spans.covers(span(0, 4)));
        spans.remove(Span::RING);
        assert_eq!(spans.0, []);
    }

    #[test]
    fn spans_that_follow_each_other_are_one() {
        assert_eq!(Spans::of([span(1, 2), span(3, 5), span(7, 7)]).0, [span(1, 5), span(7, 7)]);
    }
}
