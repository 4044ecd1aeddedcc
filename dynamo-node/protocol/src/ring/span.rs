//! Stretches of the ring.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Token;

/// The positions from one token to another, both included; it does not wrap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "(Token, Token)", try_from = "(Token, Token)")]
pub struct Span {
    first: Token,
    last: Token,
}

impl Span {
    /// The whole ring, from position 0 to the last.
    pub const RING: Self = Self { first: Token(0), last: Token(u128::MAX) };
    /// Into how many parts a span is [split](Self::parts).
    pub const PARTS: usize = 16;

    /// From `first` to `last`; none if that is no way clockwise.
    #[must_use]
    pub fn new(first: Token, last: Token) -> Option<Self> {
        (first <= last).then_some(Self { first, last })
    }

    /// One position.
    #[must_use]
    pub fn at(token: Token) -> Self {
        Self { first: token, last: token }
    }

    /// Its first position.
    #[must_use]
    pub fn first(&self) -> Token {
        self.first
    }

    /// Its last.
    #[must_use]
    pub fn last(&self) -> Token {
        self.last
    }

    /// Whether `token` lies in it.
    #[must_use]
    pub fn contains(&self, token: Token) -> bool {
        (self.first..=self.last).contains(&token)
    }

    /// What lies in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last))
    }

    /// This and the one that follows it, if `next` does.
    #[must_use]
    pub fn joined(&self, next: &Self) -> Option<Self> {
        let follows = self.last.0.checked_add(1) == Some(next.first.0);
        follows.then_some(Self { first: self.first, last: next.last })
    }

    /// Its parts of equal size, in order: [`Span::PARTS`] of them, fewer if it has not so many positions.
    /// Those of the whole ring begin with one hexadecimal digit each, theirs with two, and so on.
    #[must_use]
    pub fn parts(&self) -> Vec<Self> {
        let (Token(first), Token(last)) = (self.first, self.last);
        // One less than the size of a part. The size of the whole ring is no u128.
        let step = (last - first) / Self::PARTS as u128;
        let mut parts = Vec::with_capacity(Self::PARTS);
        let mut from = first;
        loop {
            let to = match from.checked_add(step) {
                Some(to) if parts.len() + 1 < Self::PARTS && to < last => to,
                Some(_) | None => last,
            };
            parts.push(Self { first: Token(from), last: Token(to) });
            if to == last {
                return parts;
            }
            from = to + 1;
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Span {
    /// By what its positions begin with: `ring`, `a3..`, or from where to where.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::RING {
            return f.write_str("ring");
        }
        let (first, last) = (format!("{:?}", self.first), format!("{:?}", self.last));
        let common = first.bytes().zip(last.bytes()).take_while(|(a, b)| a == b).count();
        let aligned = first[common..].bytes().all(|digit| digit == b'0')
            && last[common..].bytes().all(|digit| digit == b'f');
        if aligned { write!(f, "{}..", &first[..common]) } else { write!(f, "{first} to {last}") }
    }
}

impl From<Span> for (Token, Token) {
    fn from(span: Span) -> Self {
        (span.first, span.last)
    }
}

impl TryFrom<(Token, Token)> for Span {
    type Error = String;

    fn try_from((first, last): (Token, Token)) -> Result<Self, String> {
        Self::new(first, last)
            .ok_or_else(|| format!("no span goes from {first:?} back to {last:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(first: u128, last: u128) -> Span {
        Span::new(Token(first), Token(last)).unwrap()
    }

    #[test]
    fn the_parts_of_a_span_are_all_of_it_once() {
        let whole = Span::RING;
        for span in [whole, whole.parts()[15], whole.parts()[3].parts()[9], span(5, 5), span(7, 11)]
        {
            let parts = span.parts();
            assert_eq!((parts[0].first, parts.last().unwrap().last), (span.first, span.last));
            for pair in parts.windows(2) {
                assert_eq!(pair[0].last.0 + 1, pair[1].first.0, "{span}");
            }
            assert!(parts.len() <= Span::PARTS);
        }
        assert_eq!(whole.parts().len(), Span::PARTS);
        assert_eq!(span(7, 11).parts().len(), 5);
    }

    #[test]
    fn a_span_is_called_by_what_its_positions_begin_with() {
        assert_eq!(Span::RING.to_string(), "ring");
        assert_eq!(Span::RING.parts()[10].parts()[3].to_string(), "a3..");
        assert!(span(1, 2).to_string().ends_with("1 to 00000000000000000000000000000002"));
    }

    #[test]
    fn what_two_spans_have_in_common_is_in_both() {
        assert_eq!(span(3, 9).and(&span(5, 20)), Some(span(5, 9)));
        assert_eq!(span(3, 4).and(&span(5, 20)), None);
    }
}
