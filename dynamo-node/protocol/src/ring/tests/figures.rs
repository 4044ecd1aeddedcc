//! The figures of `docs/partitions.md`:
//! `cargo test -p dynamo-protocol --lib figures -- --ignored --nocapture`.

use std::collections::BTreeMap;

use crate::id::NodeId;
use crate::ring::{Member, Partitioning, Ring, Span};

const HOMES: usize = 3;

/// Members under numbers that have no order, each time others.
fn members(count: u16, round: u16, tokens: u16) -> Vec<Member> {
    let id = |index: u16| NodeId(index.wrapping_mul(577).wrapping_add(round.wrapping_mul(7919)));
    (1..=count).map(|index| Member::new(id(index), tokens)).collect()
}

/// What part of the ring each member is home of, by strategy: the sizes of ranges differ.
fn loads(ring: &Ring) -> BTreeMap<NodeId, f64> {
    let mut loads = BTreeMap::new();
    for (span, list) in ring.ranges(Span::RING) {
        for node in &list[..HOMES] {
            *loads.entry(*node).or_insert(0.0) += size(&span);
        }
    }
    loads
}

fn size(span: &Span) -> f64 {
    ((span.last().0 - span.first().0) as f64 + 1.0) / (u128::MAX as f64)
}

/// The largest load over what the member's share is.
fn peak(ring: &Ring, members: &[Member]) -> f64 {
    let weights: f64 = members.iter().map(|member| f64::from(member.tokens)).sum();
    let loads = loads(ring);
    let of = |member: &Member| {
        let share = HOMES as f64 * f64::from(member.tokens) / weights;
        loads.get(&member.id).unwrap_or(&0.0) / share.min(1.0)
    };
    members.iter().map(of).fold(0.0, f64::max)
}

/// What part of the ring got a home that it did not have: a home of a whole ring is 1.
fn moved(before: &Ring, after: &Ring) -> f64 {
    let mut moved = 0.0;
    for (span, old) in before.ranges(Span::RING) {
        for (part, new) in after.ranges(span) {
            let news = new[..HOMES].iter().filter(|node| !old[..HOMES].contains(node));
            moved += news.count() as f64 * size(&part);
        }
    }
    moved
}

/// The peak, and what moves at a join and a change of weight, over what must.
fn row(count: u16, partitioning: Partitioning, rounds: u16) -> [f64; 3] {
    let mut sums = [0.0; 3];
    let ring = |members: &[Member]| Ring::new(members, partitioning, HOMES);
    for round in 0..rounds {
        let all = members(count + 1, round, 64);
        let (before, after) = (&all[..usize::from(count)], &all[..]);
        let (small, large) = (ring(before), ring(after));
        let joined = HOMES as f64 / f64::from(count + 1);
        let mut weighed = before.to_vec();
        weighed[0].tokens *= 2;
        let share = |of: u16| (HOMES as f64 * f64::from(of) / f64::from(count + of - 1)).min(1.0);
        let more = share(2) - share(1);
        let figures = [
            peak(&small, before),
            moved(&small, &large) / joined,
            moved(&small, &ring(&weighed)) / more,
        ];
        sums.iter_mut().zip(figures).for_each(|(sum, figure)| *sum += figure);
    }
    sums.map(|sum| sum / f64::from(rounds))
}

#[test]
#[ignore = "takes minutes, and prints"]
fn balance_and_movement() {
    println!("| members | strategy | max/mean | join | weigh |\n|---|---|---|---|---|");
    for (count, rounds) in [(5, 20), (6, 20), (16, 20), (100, 2)] {
        let mut strategies = vec![Partitioning::Tokens];
        for partitions in [64, 256, 1024, 4096] {
            strategies.push(Partitioning::TokensOverEqual { partitions });
            strategies.push(Partitioning::Equal { partitions });
        }
        for strategy in strategies {
            let [peak, join, weigh] = row(count, strategy, rounds);
            println!("| {count} | {strategy} | {peak:.3} | {join:.2} | {weigh:.2} |");
        }
    }
}

/// Mean over maximum against the bytes of what a node keeps: 18 of each token, 16 of each range and 2 of each
/// place in a preference list. Thirty members, mean of 1,000 rings.
#[test]
#[ignore = "takes minutes, and prints"]
fn efficiency_against_metadata() {
    println!("| strategy | tokens | mean/max | bytes |\n|---|---|---|---|");
    let mut settings = Vec::new();
    for tokens in [4, 16, 64] {
        settings.push((Partitioning::Tokens, tokens));
        settings.push((Partitioning::TokensOverEqual { partitions: 1024 }, tokens));
    }
    for partitions in [128, 512, 1024] {
        settings.push((Partitioning::Equal { partitions }, 1));
    }
    for (strategy, tokens) in settings {
        let (mut sum, mut bytes) = (0.0, 0);
        for round in 0..1000 {
            let members = members(30, round, tokens);
            let ring = Ring::new(&members, strategy, HOMES);
            sum += 1.0 / peak(&ring, &members);
            let kept = match strategy {
                Partitioning::TokensOverEqual { .. } => 18 * 30 * usize::from(tokens),
                Partitioning::Tokens | Partitioning::Equal { .. } => 0,
            };
            bytes = kept + 16 * ring.ends.len() + 2 * ring.lists.len();
        }
        println!("| {strategy} | {tokens} | {:.3} | {bytes} |", sum / 1000.0);
    }
}
