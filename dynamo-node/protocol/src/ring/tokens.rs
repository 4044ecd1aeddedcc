//! Strategies 1 and 2: members have random tokens, and who holds a range is met clockwise from its end.

use super::{Member, Token, partition_end};
use crate::id::NodeId;
use crate::mutant::{Mutant, mutated};

/// Strategy 1: the ranges that end at a token each, with all members in the order in which they are met.
pub(super) fn by_token(members: &[Member]) -> Vec<(Token, Vec<NodeId>)> {
    let tokens = virtual_nodes(members);
    let lists = (0..tokens.len()).map(|start| walk(&tokens, start, members.len()));
    tokens.iter().map(|(token, _)| *token).zip(lists).collect()
}

/// Strategy 2: so many ranges of one size.
pub(super) fn over_equal(members: &[Member], partitions: u32) -> Vec<(Token, Vec<NodeId>)> {
    let tokens = virtual_nodes(members);
    let range = |partition| {
        let end = partition_end(partition, partitions);
        let start = tokens.partition_point(|(token, _)| *token < end);
        (end, walk(&tokens, start % tokens.len(), members.len()))
    };
    (0..partitions).map(range).collect()
}

/// All virtual nodes, in ring order.
fn virtual_nodes(members: &[Member]) -> Vec<(Token, NodeId)> {
    let of = |member: &Member| {
        let Member { id, tokens, zone: _ } = *member;
        (0..tokens).map(move |index| (Token::of_virtual_node(id, index), id))
    };
    let mut tokens: Vec<_> = members.iter().flat_map(of).collect();
    tokens.sort_unstable();
    tokens
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

    fn members() -> Vec<Member> {
        (1..=5).map(|id| Member::new(NodeId(id), 4 * id)).collect()
    }

    /// Whose token is the next at or after `token`, by looking at all of them.
    fn next_owner(token: Token) -> NodeId {
        let tokens = virtual_nodes(&members());
        tokens.iter().find(|entry| entry.0 >= token).unwrap_or(&tokens[0]).1
    }

    #[test]
    fn the_owner_is_the_first_token_at_or_after_the_end_and_the_ring_wraps() {
        for ranges in [by_token(&members()), over_equal(&members(), 64)] {
            assert!(ranges.is_sorted());
            for (end, list) in ranges {
                assert_eq!(list[0], next_owner(end));
            }
        }
        let last = virtual_nodes(&members()).last().unwrap().0;
        assert!(last < partition_end(63, 64), "the last partition looks round the ring");
    }

    #[test]
    fn every_virtual_node_has_its_place_on_the_ring() {
        let tokens = virtual_nodes(&members());
        for Member { id, tokens: share, zone: _ } in members() {
            assert_eq!(tokens.iter().filter(|entry| entry.1 == id).count(), usize::from(share));
        }
    }
}
