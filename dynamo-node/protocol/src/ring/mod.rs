//! The consistent-hashing ring (paper, sections 4.2 and 4.3): who is home of a key, and who stands
//! in for a home that is out of reach.

mod span;
mod token;

use serde::{Deserialize, Serialize};

pub use span::Span;
pub use token::Token;

use crate::id::{Key, NodeId};
use crate::mutant::{Mutant, mutated};

/// A member and its share of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The node.
    pub id: NodeId,
    /// Its virtual nodes: the load it takes is proportional to them.
    pub tokens: u16,
}

impl Member {
    /// More virtual nodes spread no better, and every node keeps those of all.
    pub const MOST_TOKENS: u16 = 1024;

    /// So many virtual nodes of `id`.
    #[must_use]
    pub const fn new(id: NodeId, tokens: u16) -> Self {
        Self { id, tokens }
    }
}

/// Every member's tokens, sorted: a pure function of the membership, so that all nodes that agree
/// on the members agree on every preference list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    tokens: Vec<(Token, NodeId)>,
    /// The preference list of the range that ends at each token, one after the other: requests look
    /// theirs up several times, and there are few of them.
    lists: Vec<NodeId>,
    hosts: usize,
}

impl Ring {
    /// Places the virtual nodes of `members`.
    #[must_use]
    pub fn new(members: &[Member]) -> Self {
        let mut tokens: Vec<_> = members
            .iter()
            .flat_map(|m| (0..m.tokens).map(|index| (Token::of_virtual_node(m.id, index), m.id)))
            .collect();
        tokens.sort_unstable();
        let hosts = members.iter().filter(|member| member.tokens > 0).count();
        assert!(hosts > 0, "a ring has an owner for every key");
        let lists: Vec<_> =
            (0..tokens.len()).flat_map(|start| walk(&tokens, start, hosts)).collect();
        assert_eq!(lists.len(), tokens.len() * hosts, "every range has a preference list");
        Self { tokens, lists, hosts }
    }

    /// All hosts in the order in which they are asked for `key`: the owners of the tokens met
    /// clockwise from the key's, each host once. The first N are the key's homes, in the order of
    /// their slots; the rest are its fallbacks. Costs one MD5 digest: look it up once a request.
    #[must_use]
    pub fn preference_list(&self, key: &Key) -> &[NodeId] {
        let token = Token::of_key(key);
        let range = self.tokens.partition_point(|entry| entry.0 < token) % self.tokens.len();
        &self.lists[range * self.hosts..][..self.hosts]
    }

    /// All preference lists, one a range.
    pub(crate) fn lists(&self) -> impl Iterator<Item = &[NodeId]> {
        self.lists.chunks(self.hosts)
    }

    /// The stretches of `within` whose keys have one preference list each, in ring order, with that list.
    pub(crate) fn ranges(&self, within: Span) -> impl Iterator<Item = (Span, &[NodeId])> {
        let range_of = |token| self.tokens.partition_point(|entry| entry.0 < token);
        (range_of(within.first())..=range_of(within.last())).filter_map(move |range| {
            // A range ends at its token and begins behind the one before; behind the last token comes
            // the beginning of the first one's.
            let first = match range.checked_sub(1) {
                Some(before) => Token(self.tokens[before].0.0.checked_add(1)?),
                None => Span::RING.first(),
            };
            let last = self.tokens.get(range).map_or(Span::RING.last(), |entry| entry.0);
            // Of two virtual nodes at one position the second has nothing.
            let span = Span::new(first, last)?.and(&within)?;
            let list = range % self.tokens.len() * self.hosts;
            Some((span, &self.lists[list..][..self.hosts]))
        })
    }

    /// The tokens and their owners, in ring order.
    #[must_use]
    pub fn tokens(&self) -> &[(Token, NodeId)] {
        &self.tokens
    }
}

/// The distinct owners met clockwise from the token at `start`, once round the ring.
fn walk(tokens: &[(Token, NodeId)], start: usize, hosts: usize) -> Vec<NodeId> {
    let (before, from) = tokens.split_at(start);
    let mut list = Vec::with_capacity(hosts);
    for (_, host) in from.iter().chain(before) {
        if !list.contains(host) || mutated(Mutant::HostTwice) {
            list.push(*host);
            if list.len() == hosts {
                break;
            }
        }
    }
    assert_eq!(list.len(), hosts, "every host is met once round the ring");
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(nodes: u16, tokens: u16) -> Ring {
        let members: Vec<_> = (1..=nodes).map(|id| Member::new(NodeId(id), tokens)).collect();
        Ring::new(&members)
    }

    #[test]
    fn every_host_is_listed_once() {
        let ring = ring(7, 16);
        for index in 0..200 {
            let key = Key::from(format!("key-{index}").as_str());
            let mut list = ring.preference_list(&key).to_vec();
            list.sort();
            assert_eq!(list, (1..=7).map(NodeId).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_owner_is_the_first_token_at_or_after_the_key_and_the_ring_wraps() {
        let ring = ring(3, 4);
        for index in 0..500 {
            let key = Key::from(format!("{index}").as_str());
            let token = Token::of_key(&key);
            let clockwise = ring.tokens().iter().find(|entry| entry.0 >= token);
            let owner = clockwise.unwrap_or(&ring.tokens()[0]).1;
            assert_eq!(ring.preference_list(&key)[0], owner);
        }
        let last = ring.tokens().last().unwrap().0;
        assert!((0..500).any(|i| Token::of_key(&Key::from(format!("{i}").as_str())) > last));
    }

    #[test]
    fn the_ranges_within_a_span_are_all_of_it_once_with_the_lists_of_their_keys() {
        let ring = ring(4, 8);
        let of = |span: Span| ring.ranges(span).collect::<Vec<_>>();
        let part = Span::RING.parts()[7];
        for span in [Span::RING, part, part.parts()[0], Span::RING.parts()[15]] {
            let ranges = of(span);
            assert_eq!(ranges[0].0.first(), span.first());
            assert_eq!(ranges.last().unwrap().0.last(), span.last());
            assert!(ranges.windows(2).all(|pair| pair[0].0.last().0 + 1 == pair[1].0.first().0));
        }
        for index in 0..500 {
            let key = Key::from(format!("{index}").as_str());
            let at = Token::of_key(&key);
            let ranges = of(Span::RING);
            let range = ranges.iter().find(|(span, _)| span.contains(at)).unwrap();
            assert_eq!(range.1, ring.preference_list(&key));
            assert_eq!(of(Span::new(at, at).unwrap()), [(Span::new(at, at).unwrap(), range.1)]);
        }
    }

    #[test]
    fn a_join_moves_keys_to_the_newcomer_alone() {
        let (before, after) = (ring(4, 64), ring(5, 64));
        let mut moved = 0;
        for index in 0..2000 {
            let key = Key::from(format!("{index}").as_str());
            let (old, new) = (before.preference_list(&key)[0], after.preference_list(&key)[0]);
            if old != new {
                assert_eq!(new, NodeId(5));
                moved += 1;
            }
        }
        assert!((200..=640).contains(&moved), "a fifth of 2000 keys should move, {moved} did");
    }
}
