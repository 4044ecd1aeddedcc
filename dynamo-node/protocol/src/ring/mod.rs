//! The consistent-hashing ring (paper, sections 4.2 and 4.3): who is home of a key, and who stands
//! in for a home that is out of reach.

mod assignment;
mod equal;
mod member;
mod partitioning;
mod share;
mod span;
mod spread;
mod token;
mod tokens;

pub use member::{Member, Zone};
pub use partitioning::{Partitioning, UnknownPartitioning};
pub use span::Span;
pub use token::Token;

use crate::id::{Key, NodeId};
use spread::Spread;

/// The ranges of the ring and the preference list of each: a pure function of the membership, so that all
/// nodes that agree on the members agree on every preference list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    /// Where each range ends, in ring order. Behind the last one comes the beginning of the first one's.
    ends: Vec<Token>,
    /// Their preference lists, one after the other: requests look theirs up several times, and there are few.
    lists: Vec<NodeId>,
    hosts: usize,
}

impl Ring {
    /// The ring of those `members` that have a share of it, cut by `partitioning`, in which a key has
    /// `homes` (N) homes.
    ///
    /// # Panics
    /// If nobody has a share, or the ring cannot be cut so.
    #[must_use]
    pub fn new(members: &[Member], partitioning: Partitioning, homes: usize) -> Self {
        let mut members: Vec<_> =
            members.iter().copied().filter(|member| member.tokens > 0).collect();
        members.sort_unstable();
        let hosts = members.len();
        assert!(hosts > 0, "a ring has an owner for every key");
        assert!(homes <= hosts, "N = {homes} homes are distinct members");
        assert!(partitioning.is_possible(), "{partitioning} cuts the ring at whole bits");
        let ranges = match partitioning {
            Partitioning::Tokens => tokens::by_token(&members),
            Partitioning::TokensOverEqual { partitions } => {
                tokens::over_equal(&members, partitions)
            }
            Partitioning::Equal { partitions } => equal::by_share(&members, partitions, homes),
        };
        let spread = Spread::new(&members, homes);
        let mut ring = Self { ends: Vec::new(), lists: Vec::new(), hosts };
        for (end, list) in ranges {
            ring.ends.push(end);
            ring.lists.extend(spread.ordered(list));
        }
        assert_eq!(ring.lists.len(), ring.ends.len() * hosts, "every range has a preference list");
        ring
    }

    /// All hosts in the order in which they are asked for `key`. The first N are the key's homes, in the
    /// order of their slots and in as many zones as there are; the rest are its fallbacks. Costs one MD5
    /// digest: look it up once a request.
    #[must_use]
    pub fn preference_list(&self, key: &Key) -> &[NodeId] {
        self.list_at(Token::of_key(key))
    }

    fn list_at(&self, token: Token) -> &[NodeId] {
        let range = self.ends.partition_point(|end| *end < token) % self.ends.len();
        &self.lists[range * self.hosts..][..self.hosts]
    }

    /// All preference lists, one a range.
    pub(crate) fn lists(&self) -> impl Iterator<Item = &[NodeId]> {
        self.lists.chunks(self.hosts)
    }

    /// The stretches of `within` whose keys have one preference list each, in ring order, with that list.
    pub(crate) fn ranges(&self, within: Span) -> impl Iterator<Item = (Span, &[NodeId])> {
        let range_of = |token| self.ends.partition_point(|end| *end < token);
        (range_of(within.first())..=range_of(within.last())).filter_map(move |range| {
            // A range begins behind the end of the one before; behind the last end comes the beginning of the
            // first range.
            let first = match range.checked_sub(1) {
                Some(before) => Token(self.ends[before].0.checked_add(1)?),
                None => Span::RING.first(),
            };
            let last = self.ends.get(range).map_or(Span::RING.last(), |end| *end);
            // Of two virtual nodes at one position the second has nothing.
            let span = Span::new(first, last)?.and(&within)?;
            let list = range % self.ends.len() * self.hosts;
            Some((span, &self.lists[list..][..self.hosts]))
        })
    }
}

/// The last position of one of `partitions` (a power of two) ranges of one size.
fn partition_end(partition: u32, partitions: u32) -> Token {
    let next = u128::from(partition + 1);
    let size = u128::MAX / u128::from(partitions) + u128::from(partitions > 1);
    // Behind the last one the ring ends.
    if partition + 1 == partitions { Span::RING.last() } else { Token(next * size - 1) }
}

#[cfg(test)]
mod tests;
