//! Strategies 1 and 2: members have random tokens, and who holds a range is met clockwise from its end.

use super::{Member, Token, partition_end};
use crate::id::NodeId;
use crate::mutant::{Mutant, mutated};

/// Strategy 1: the ranges that end at a token each, with all members in the order in which they are met.
pub(super) fn by_token(members: &[Member]) -> Vec<(Token, Vec<NodeId>)> {
    let tokens = virtual_nodes(members);
    let starts: Vec<_> = (0..tokens.len()).collect();
    let lists = walks(&tokens, &starts, members.len());
    tokens.iter().map(|(token, _)| *token).zip(lists).collect()
}

/// Strategy 2: so many ranges of one size.
pub(super) fn over_equal(members: &[Member], partitions: u32) -> Vec<(Token, Vec<NodeId>)> {
    let tokens = virtual_nodes(members);
    let ends = (0..partitions).map(|partition| partition_end(partition, partitions));
    let ends: Vec<_> = ends.collect();
    let start = |end: &Token| tokens.partition_point(|(token, _)| token < end);
    let starts: Vec<_> = ends.iter().map(start).collect();
    ends.into_iter().zip(walks(&tokens, &starts, members.len())).collect()
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

/// The distinct owners met clockwise from each of `starts`, which do not fall: see [`walk`]. The token before
/// a start has its owner met first, and all others in the same order as from there: so one list becomes the
/// next, from the end of the ring to its beginning, and a ring costs no more than its lists are long.
fn walks(tokens: &[(Token, NodeId)], starts: &[usize], hosts: usize) -> Vec<Vec<NodeId>> {
    if mutated(Mutant::HostTwice) {
        return starts.iter().map(|start| walk(tokens, start % tokens.len(), hosts)).collect();
    }
    assert!(starts.is_sorted(), "the ring is walked from its end to its beginning");
    let (mut at, mut list) = (tokens.len(), walk(tokens, 0, hosts));
    let back_to = |start: &usize| {
        while at > *start {
            at -= 1;
            let owner = tokens[at].1;
            let place = list.iter().position(|host| *host == owner);
            let place = place.unwrap_or_else(|| unreachable!("every host is in the list"));
            list[..=place].rotate_right(1);
        }
        list.clone()
    };
    let mut lists: Vec<_> = starts.iter().rev().map(back_to).collect();
    lists.reverse();
    lists
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
    use proptest::strategy::Strategy;

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

    /// The ranges of both strategies by their definition: a walk for each.
    fn by_definition(members: &[Member], partitions: Option<u32>) -> Vec<(Token, Vec<NodeId>)> {
        let tokens = virtual_nodes(members);
        let ends: Vec<_> = match partitions {
            None => tokens.iter().map(|(token, _)| *token).collect(),
            Some(count) => (0..count).map(|partition| partition_end(partition, count)).collect(),
        };
        let first = |end: &Token| tokens.iter().position(|(token, _)| token >= end).unwrap_or(0);
        ends.iter().map(|end| (*end, walk(&tokens, first(end), members.len()))).collect()
    }

    proptest::proptest! {
        #[test]
        fn a_ring_is_what_a_walk_from_each_of_its_ranges_comes_to(
            shares in proptest::collection::vec(1_u16..12, 1..24),
            partitions in (0_u32..9).prop_map(|bits| 1 << bits),
        ) {
            let member = |(id, share): (u16, &u16)| Member::new(NodeId(id), *share);
            let members: Vec<_> = (1..).zip(&shares).map(member).collect();
            proptest::prop_assert_eq!(by_token(&members), by_definition(&members, None));
            let cut = over_equal(&members, partitions);
            proptest::prop_assert_eq!(cut, by_definition(&members, Some(partitions)));
        }
    }

    #[test]
    fn every_virtual_node_has_its_place_on_the_ring() {
        let tokens = virtual_nodes(&members());
        for Member { id, tokens: share, zone: _ } in members() {
            assert_eq!(tokens.iter().filter(|entry| entry.1 == id).count(), usize::from(share));
        }
    }
}
