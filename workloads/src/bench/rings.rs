//! What a way of cutting the ring comes to: how even loads are, what a node keeps of it, what moves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use dynamo_protocol::{Key, Member, NodeId, Partitioning, Ring, Span};
use dyno_command::Jobs;

/// N: homes of a key.
pub(super) const HOMES: usize = 3;

/// Members under numbers that have no order, each round others.
pub(super) fn members(count: u16, round: u64, tokens: u16) -> Vec<Member> {
    let shift = (round.wrapping_mul(7919) & 0xffff) as u16;
    let id = |index: u16| NodeId(index.wrapping_mul(577).wrapping_add(shift));
    (1..=count).map(|index| Member::new(id(index), tokens)).collect()
}

/// What part of all positions lies in `span`.
fn size(span: &Span) -> f64 {
    ((span.last().0 - span.first().0) as f64 + 1.0) / (u128::MAX as f64)
}

/// The mean load over the largest: 1 if all are alike. All members weigh the same.
pub(super) fn efficiency(ring: &Ring, members: usize) -> f64 {
    let mut loads: BTreeMap<NodeId, f64> = BTreeMap::new();
    for (span, list) in ring.ranges(Span::RING) {
        for node in &list[..HOMES] {
            *loads.entry(*node).or_default() += size(&span);
        }
    }
    let most = loads.values().copied().fold(0.0, f64::max);
    HOMES as f64 / members as f64 / most
}

/// What a node keeps of the ring, in bytes: 16 of where each range ends and 2 of each place in its preference
/// list. Where ranges are of one size and tokens say who holds them, 18 of each token beside.
pub(super) fn metadata(ring: &Ring, members: usize, tokens: u16, by: Partitioning) -> usize {
    let ranges = by.partitions().map_or_else(
        || {
            let (mut ranges, mut last) = (0, Span::RING.first());
            for (span, _) in ring.ranges(Span::RING) {
                (ranges, last) = (ranges + 1, span.first());
            }
            // Behind the last token comes the beginning of the first one's range.
            let wraps =
                ring.ranges(Span::new(last, Span::RING.last()).unwrap_or(Span::RING)).count();
            ranges - wraps.min(1)
        },
        |partitions| partitions as usize,
    );
    let tokens = match by {
        Partitioning::TokensOverEqual { .. } => members * usize::from(tokens),
        Partitioning::Tokens | Partitioning::Equal { .. } => 0,
    };
    16 * ranges + 2 * ranges * members + 18 * tokens
}

/// How many copies of so many keys get a home that they did not have.
pub(super) fn moved(before: &Ring, after: &Ring, keys: usize) -> usize {
    let news = |number: usize| {
        let key = Key::from(format!("key-{number}").as_str());
        let [old, new] = [before, after].map(|ring| &ring.preference_list(&key)[..HOMES]);
        new.iter().filter(|node| !old.contains(node)).count()
    };
    (0..keys).map(news).sum()
}

/// The sums of what `of` says in each of so many rounds.
pub(super) fn summed<const K: usize>(
    rounds: u64,
    jobs: Jobs,
    of: impl Fn(u64) -> [f64; K] + Sync,
) -> [f64; K] {
    let next = AtomicU64::new(0);
    let work = || {
        let mut mine = Vec::new();
        loop {
            let round = next.fetch_add(1, Ordering::Relaxed);
            if round >= rounds {
                return mine;
            }
            mine.push((round, of(round)));
        }
    };
    let mut all: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs.threads()).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
        joined
            .flat_map(|mine| mine.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    // Sums of floats depend on their order, and what is printed must not on threads.
    all.sort_unstable_by_key(|(round, _)| *round);
    let mut sums = [0.0; K];
    for (_, figures) in all {
        sums.iter_mut().zip(figures).for_each(|(sum, figure)| *sum += figure);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_ring_is_counted() {
        let kept = |by| {
            let members = members(5, 3, 8);
            metadata(&Ring::new(&members, by, HOMES), 5, 8, by)
        };
        assert_eq!(kept(Partitioning::Tokens), 40 * 16 + 40 * 5 * 2);
        assert_eq!(kept(Partitioning::Equal { partitions: 64 }), 64 * 16 + 64 * 5 * 2);
        let over = Partitioning::TokensOverEqual { partitions: 64 };
        assert_eq!(kept(over), 64 * 16 + 64 * 5 * 2 + 40 * 18);
    }

    #[test]
    fn nothing_moves_between_equal_rings_and_loads_are_even_where_all_are_homes_of_all() {
        let members = members(HOMES as u16, 1, 8);
        let ring = Ring::new(&members, Partitioning::Tokens, HOMES);
        assert_eq!(moved(&ring, &ring, 100), 0);
        assert!((efficiency(&ring, HOMES) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn sums_are_the_same_however_many_threads_make_them() {
        let of = |round: u64| [1.0 / (round as f64 + 1.0), 1.0];
        let [one, many] = ["1", "7"].map(|jobs| summed(1000, jobs.parse().unwrap(), of));
        assert_eq!(one, many);
        assert_eq!(one[1], 1000.0);
    }
}
