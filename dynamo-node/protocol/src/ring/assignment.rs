//! Partitions to holders, as cheaply as the holders' bounds allow: a transportation problem, solved by the
//! cheapest chains (Ahuja, Magnanti, Orlin, "Network Flows", 1993, section 9.7, successive shortest paths).

/// How many partitions a holder takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// No fewer than this,
    pub(super) least: usize,
    /// and no more than this.
    pub(super) most: usize,
}

/// What a partition costs that a holder must not have.
pub(super) const NEVER: u64 = u64::MAX;

/// So many holders as each partition wants, different ones: the cheapest, but that none has more or fewer
/// partitions than its bounds are. `costs` has a row for each holder, with the cost of each partition.
///
/// # Panics
/// If the bounds cannot be kept.
pub(super) fn assign(costs: &[Vec<u64>], wanted: &[usize], bounds: &[Bounds]) -> Vec<Vec<usize>> {
    let mut assignment = Assignment::cheapest(costs, wanted);
    let is = |loads: &[usize], than: &dyn Fn(usize, &Bounds) -> bool| -> Vec<bool> {
        loads.iter().zip(bounds).map(|(load, bounds)| than(*load, bounds)).collect()
    };
    loop {
        let full = is(&assignment.loads, &|load, bounds| load > bounds.most);
        if !full.contains(&true) {
            break;
        }
        let room = is(&assignment.loads, &|load, bounds| load < bounds.most);
        assignment.shift(&full, &room);
    }
    loop {
        let short = is(&assignment.loads, &|load, bounds| load < bounds.least);
        if !short.contains(&true) {
            return assignment.holders;
        }
        let spare = is(&assignment.loads, &|load, bounds| load > bounds.least);
        assignment.shift(&spare, &short);
    }
}

/// The cheapest way to give one partition of a holder to another.
#[derive(Clone, Copy, Debug)]
struct Link {
    cost: i64,
    partition: usize,
}

struct Assignment<'a> {
    costs: &'a [Vec<u64>],
    /// Of each partition.
    holders: Vec<Vec<usize>>,
    /// How many partitions each holder has.
    loads: Vec<usize>,
    /// From each holder to each. Made when they are first needed.
    links: Vec<Vec<Option<Link>>>,
}

impl<'a> Assignment<'a> {
    /// Every partition has its cheapest holders, however many partitions these then have.
    fn cheapest(costs: &'a [Vec<u64>], wanted: &[usize]) -> Self {
        let mut loads = vec![0; costs.len()];
        let cheapest = |(partition, wanted): (usize, &usize)| {
            let allowed = |holder: &usize| costs[*holder][partition] != NEVER;
            let mut order: Vec<_> = (0..costs.len()).filter(allowed).collect();
            order.sort_unstable_by_key(|holder| (costs[*holder][partition], *holder));
            order.truncate(*wanted);
            assert_eq!(order.len(), *wanted, "there are holders enough");
            order.iter().for_each(|holder| loads[*holder] += 1);
            order
        };
        let holders = wanted.iter().enumerate().map(cheapest).collect();
        Self { costs, holders, loads, links: Vec::new() }
    }

    /// One of `from` has one partition less from then on, and one of `to` one more: along the chain of
    /// holders that costs least.
    fn shift(&mut self, from: &[bool], to: &[bool]) {
        if self.links.is_empty() {
            self.links = (0..self.costs.len()).map(|holder| self.links_of(holder)).collect();
        }
        let mut stale = vec![false; self.costs.len()];
        let chain = self.chain(from, to);
        for pair in chain.windows(2) {
            let [giver, taker] = *pair else { unreachable!("windows of two") };
            let link =
                self.links[giver][taker].unwrap_or_else(|| unreachable!("the chain is of links"));
            let holders = &mut self.holders[link.partition];
            let place = holders.iter().position(|holder| *holder == giver);
            holders.iter().for_each(|holder| stale[*holder] = true);
            assert!(!holders.contains(&taker), "a partition has different holders");
            holders[place.unwrap_or_else(|| unreachable!("it holds what it gives"))] = taker;
            stale[taker] = true;
            self.loads[giver] -= 1;
            self.loads[taker] += 1;
        }
        for holder in (0..stale.len()).filter(|holder| stale[*holder]) {
            self.links[holder] = self.links_of(holder);
        }
    }

    fn links_of(&self, holder: usize) -> Vec<Option<Link>> {
        let mut links: Vec<Option<Link>> = vec![None; self.costs.len()];
        let held = self.holders.iter().enumerate().filter(|(_, holders)| holders.contains(&holder));
        for (partition, holders) in held {
            let now = self.costs[holder][partition] as i64;
            for (other, link) in links.iter_mut().enumerate() {
                let then = self.costs[other][partition];
                if then == NEVER || holders.contains(&other) {
                    continue;
                }
                let cost = then as i64 - now;
                if link.is_none_or(|link| cost < link.cost) {
                    *link = Some(Link { cost, partition });
                }
            }
        }
        links
    }

    /// The cheapest way from one of `from` to one of `to` (Bellman, Ford). No way round is cheaper than
    /// none: what is held is the cheapest for these loads.
    fn chain(&self, from: &[bool], to: &[bool]) -> Vec<usize> {
        let all = 0..self.costs.len();
        let mut ways: Vec<Option<(i64, Option<usize>)>> =
            from.iter().map(|starts| starts.then_some((0, None))).collect();
        for _ in all.clone() {
            let mut found = false;
            for giver in all.clone() {
                let Some((so_far, _)) = ways[giver] else { continue };
                for taker in all.clone() {
                    let Some(link) = self.links[giver][taker] else { continue };
                    let cost = so_far + link.cost;
                    if ways[taker].is_none_or(|(known, _)| cost < known) {
                        ways[taker] = Some((cost, Some(giver)));
                        found = true;
                    }
                }
            }
            if !found {
                break;
            }
        }
        let ends =
            all.clone().filter_map(|holder| Some((ways[holder].filter(|_| to[holder])?.0, holder)));
        let mut next = ends.min().map(|(_, holder)| holder);
        assert!(next.is_some(), "the bounds can be kept");
        let mut chain = Vec::new();
        while let Some(holder) = next {
            assert!(chain.len() < all.len(), "a chain does not meet itself");
            chain.push(holder);
            next = ways[holder].and_then(|(_, giver)| giver);
        }
        chain.reverse();
        chain
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The least that can be paid, by trying all.
    fn brute_force(costs: &[Vec<u64>], wanted: &[usize], bounds: &[Bounds]) -> Option<u64> {
        fn go(
            at: usize,
            loads: &mut Vec<usize>,
            of: &(&[Vec<u64>], &[usize], &[Bounds]),
        ) -> Option<u64> {
            let (costs, wanted, bounds) = of;
            if at == wanted.len() {
                let kept =
                    |(load, bounds): (&usize, &Bounds)| (bounds.least..=bounds.most).contains(load);
                return loads.iter().zip(*bounds).all(kept).then_some(0);
            }
            let sets =
                (0_usize..1 << costs.len()).filter(|set| set.count_ones() as usize == wanted[at]);
            let mut best = None;
            for set in sets {
                let members: Vec<_> =
                    (0..costs.len()).filter(|holder| set >> holder & 1 == 1).collect();
                if members.iter().any(|holder| costs[*holder][at] == NEVER) {
                    continue;
                }
                members.iter().for_each(|holder| loads[*holder] += 1);
                let rest = go(at + 1, loads, of);
                members.iter().for_each(|holder| loads[*holder] -= 1);
                let here: u64 = members.iter().map(|holder| costs[*holder][at]).sum();
                best = best.into_iter().chain(rest.map(|rest| rest + here)).min();
            }
            best
        }
        go(0, &mut vec![0; costs.len()], &(costs, wanted, bounds))
    }

    fn cost() -> impl Strategy<Value = u64> {
        prop_oneof![8 => 0..60_u64, 1 => Just(NEVER)]
    }

    proptest! {
        #[test]
        fn what_is_assigned_is_within_the_bounds_and_costs_the_least(
            costs in prop::collection::vec(prop::collection::vec(cost(), 5), 4),
            wanted in prop::collection::vec(1..=2_usize, 5),
            bounds in prop::collection::vec((0..=1_usize, 1..=3_usize), 4),
        ) {
            let bounds: Vec<_> = bounds.into_iter().map(|(least, most)| Bounds { least, most }).collect();
            let best = brute_force(&costs, &wanted, &bounds);
            prop_assume!(best.is_some());
            let assigned = assign(&costs, &wanted, &bounds);
            let mut loads = vec![0; costs.len()];
            let mut paid = 0;
            for (partition, holders) in assigned.iter().enumerate() {
                prop_assert_eq!(holders.len(), wanted[partition]);
                for holder in holders {
                    loads[*holder] += 1;
                    paid += costs[*holder][partition];
                }
            }
            prop_assert!(loads.iter().zip(&bounds).all(|(load, of)| (of.least..=of.most).contains(load)));
            prop_assert_eq!(Some(paid), best);
        }
    }
}
