mod figures;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn strategies(partitions: u32) -> [Partitioning; 3] {
    [
        Partitioning::Tokens,
        Partitioning::TokensOverEqual { partitions },
        Partitioning::Equal { partitions },
    ]
}

fn members(nodes: u16, tokens: u16) -> Vec<Member> {
    (1..=nodes).map(|id| Member::new(NodeId(id), tokens)).collect()
}

/// Distinct members of one to three zones, or of none, with N and log2 Q.
fn clusters() -> impl Strategy<Value = (Vec<Member>, usize, u32)> {
    let member = (1..=9_u16, prop::option::of(1..=3_u16));
    let members = prop::collection::btree_map(1..60_u16, member, 1..9);
    (members, 0..8_u32, any::<prop::sample::Index>()).prop_map(|(members, bits, homes)| {
        let member =
            |(id, (tokens, zone))| Member { id: NodeId(id), tokens, zone: Option::map(zone, Zone) };
        let members: Vec<_> = members.into_iter().map(member).collect();
        let homes = homes.index(members.len()) + 1;
        (members, homes, bits)
    })
}

/// How many of `hosts` each zone has, and how many it could have.
fn zones(members: &[Member], hosts: &[NodeId]) -> BTreeMap<Option<Zone>, (usize, usize)> {
    let mut zones = BTreeMap::new();
    for member in members {
        let (has, could) = zones.entry(member.zone).or_insert((0, 0));
        *has += usize::from(hosts.contains(&member.id));
        *could += 1;
    }
    zones
}

/// The distinct owners of tokens, by how far clockwise from `start` their nearest is.
fn met_from(start: Token, members: &[Member]) -> Vec<NodeId> {
    let nearest = |member: &Member| {
        let tokens = (0..member.tokens).map(|index| Token::of_virtual_node(member.id, index));
        (tokens.map(|token| token.0.wrapping_sub(start.0)).min().unwrap(), member.id)
    };
    let mut met: Vec<_> = members.iter().map(nearest).collect();
    met.sort();
    met.into_iter().map(|(_, node)| node).collect()
}

/// `homes` of `list` by rounds: in each of them a zone gets its next member. The others follow.
fn in_rounds(list: &[NodeId], members: &[Member], homes: usize) -> Vec<NodeId> {
    let zone = |node: &NodeId| members.iter().find(|member| member.id == *node).unwrap().zone;
    let round = |place: usize| {
        list[..place].iter().filter(|other| zone(other) == zone(&list[place])).count()
    };
    let mut places: Vec<_> = (0..list.len()).collect();
    places.sort_by_key(|place| round(*place));
    places[..homes].sort();
    places[homes..].sort();
    places.into_iter().map(|place| list[place]).collect()
}

proptest! {
    #[test]
    fn the_ranges_within_a_span_are_all_of_it_once_with_the_lists_of_their_keys(
        (members, homes, bits) in clusters(),
        within in any::<(u128, u128)>(),
        keys in prop::collection::vec(any::<u128>(), 8),
    ) {
        let within = Span::new(Token(within.0.min(within.1)), Token(within.0.max(within.1))).unwrap();
        for strategy in strategies(1 << bits) {
            let ring = Ring::new(&members, strategy, homes);
            for span in [Span::RING, within, Span::new(within.first(), within.first()).unwrap()] {
                let ranges: Vec<_> = ring.ranges(span).collect();
                prop_assert_eq!(ranges[0].0.first(), span.first());
                prop_assert_eq!(ranges.last().unwrap().0.last(), span.last());
                let follows = |pair: &[(Span, _)]| pair[0].0.last().0 + 1 == pair[1].0.first().0;
                prop_assert!(ranges.windows(2).all(follows));
                let ends = ranges.iter().flat_map(|(span, _)| [span.first(), span.last()]);
                for token in ends.chain(keys.iter().copied().map(Token)) {
                    let of = ranges.iter().find(|(range, _)| range.contains(token));
                    prop_assert_eq!(of.is_some(), span.contains(token));
                    prop_assert!(of.is_none_or(|(_, list)| *list == ring.list_at(token)));
                }
            }
        }
    }

    #[test]
    fn every_list_is_what_is_met_from_the_key_or_from_the_end_of_its_partition(
        (members, homes, bits) in clusters(),
        keys in prop::collection::vec(any::<u128>(), 32),
    ) {
        let partitions = 1 << bits;
        let [by_token, over_equal, equal] =
            strategies(partitions).map(|strategy| Ring::new(&members, strategy, homes));
        let size = if bits == 0 { 0 } else { 1_u128 << (128 - bits) };
        for key in keys {
            let met = in_rounds(&met_from(Token(key), &members), &members, homes);
            prop_assert_eq!(by_token.list_at(Token(key)), met);
            let number = if bits == 0 { 0 } else { key >> (128 - bits) };
            let end = Token((number * size).wrapping_add(size).wrapping_sub(1));
            let met = in_rounds(&met_from(end, &members), &members, homes);
            prop_assert_eq!(over_equal.list_at(Token(key)), met);
            prop_assert_eq!(equal.list_at(Token(key)), equal.list_at(end));
        }
    }

    #[test]
    fn every_member_is_listed_once_and_homes_are_in_as_many_zones_as_there_are(
        (members, homes, bits) in clusters(),
    ) {
        for strategy in strategies(1 << bits) {
            for list in Ring::new(&members, strategy, homes).lists() {
                let mut all = list.to_vec();
                all.sort();
                prop_assert!(all.into_iter().eq(members.iter().map(|member| member.id)));
                let zones = zones(&members, &list[..homes]);
                let most = zones.values().map(|(has, _)| *has).max().unwrap();
                // One that has two less than another has no more members.
                prop_assert!(zones.values().all(|(has, could)| has + 1 >= most || has == could));
            }
        }
    }

    #[test]
    fn the_order_in_which_members_are_told_makes_no_difference(
        (mut members, homes, bits) in clusters(),
    ) {
        for strategy in strategies(1 << bits) {
            let ring = Ring::new(&members, strategy, homes);
            members.reverse();
            prop_assert_eq!(&ring, &Ring::new(&members, strategy, homes));
            members.rotate_left(1);
            prop_assert_eq!(&ring, &Ring::new(&members, strategy, homes));
        }
    }

    /// What its share is without bounds: N Q w / W, but at most Q, which leaves more to the others.
    #[test]
    fn under_strategy_3_a_member_is_home_in_proportion_to_its_weight_within_bounds(
        (mut members, homes, bits) in clusters(),
    ) {
        members.iter_mut().for_each(|member| member.zone = None);
        let partitions = 1 << bits;
        let ring = Ring::new(&members, Partitioning::Equal { partitions }, homes);
        let (mut shares, mut left) = (BTreeMap::new(), homes as f64 * f64::from(partitions));
        let mut by_weight = members.clone();
        by_weight.sort_by_key(|member| std::cmp::Reverse(member.tokens));
        for (place, member) in by_weight.iter().enumerate() {
            let weights: u16 = by_weight[place..].iter().map(|member| member.tokens).sum();
            let share = left * f64::from(member.tokens) / f64::from(weights);
            let share = share.min(f64::from(partitions));
            left -= share;
            shares.insert(member.id, share);
        }
        for (node, share) in shares {
            let lists = || ring.lists();
            let is_home = |list: &&[NodeId]| list[..homes].contains(&node);
            let held = lists().filter(is_home).count() as f64;
            let slack = (share / 20.0).max(share.sqrt());
            prop_assert!(held <= (share + slack).ceil(), "{node}: {held} of {share}");
            prop_assert!(held >= (share - slack - 0.01).floor(), "{node}: {held} of {share}");
            let first = lists().filter(|list| list[0] == node).count() as f64;
            prop_assert!((first - held / homes as f64).abs() < 1.0, "{node}: {first} of {held}");
        }
    }
}

#[test]
fn under_strategy_3_all_that_a_join_and_a_leave_must_move_moves_and_little_else() {
    let partitioning = Partitioning::Equal { partitions: Partitioning::USUAL };
    let ring = |members: &[Member]| Ring::new(members, partitioning, 3);
    let moved = |before: &Ring, after: &Ring| {
        let news = |(old, new): (&[NodeId], &[NodeId])| {
            new[..3].iter().filter(|node| !old[..3].contains(node)).count()
        };
        before.lists().zip(after.lists()).map(news).sum::<usize>() as f64
    };
    let six = members(6, 64);
    for leaver in 0..6 {
        let mut five = six.clone();
        five.remove(leaver);
        // The share of one of six: also what the five take over.
        let share = f64::from(Partitioning::USUAL) * 3.0 / 6.0;
        let (joined, left) =
            (moved(&ring(&five), &ring(&six)) / share, moved(&ring(&six), &ring(&five)) / share);
        assert!((0.95..=1.05).contains(&joined), "{joined} of the newcomer's share moves");
        assert!((0.95..=1.05).contains(&left), "{left} of the leaver's share moves");
    }
}

#[test]
fn a_join_moves_keys_to_the_newcomer_alone() {
    let ring = |nodes| Ring::new(&members(nodes, 64), Partitioning::Tokens, 3);
    let (before, after) = (ring(4), ring(5));
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

#[test]
fn a_weighty_zone_is_home_more_often_than_another_as_far_as_the_spread_allows() {
    let zone = |id: u16| Zone(if id <= 6 { 1 } else { 2 });
    let member = |id: u16| Member::new(NodeId(id), 64).in_zone(Some(zone(id)));
    let all: Vec<_> = (1..=9).map(member).collect();
    let ring = Ring::new(&all, Partitioning::Equal { partitions: 256 }, 3);
    let mut homes = BTreeMap::new();
    for list in ring.lists() {
        list[..3].iter().for_each(|node| *homes.entry(zone(node.0)).or_insert(0) += 1);
    }
    // Six of nine members are two of three homes of every partition, so zone 1 has the second one always.
    assert!((0.95..=1.05).contains(&(f64::from(homes[&Zone(1)]) / 512.0)), "{homes:?}");
}
