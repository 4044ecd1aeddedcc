//! Strategy 3: partitions of one size, and every member is home of as many as its share is.
//!
//! As there is no master who hands tokens on, and every node is to compute the same from the membership alone
//! and not from the way that led there, this is rendezvous hashing (Thaler and Ravishankar, "Using
//! Name-Based Mappings to Increase Hit Rates", 1998): each member ranks all partitions in an order of its
//! own, and a partition's homes are the N members that rank it highest, in proportion to their weights. Who
//! would get more than a twentieth, or than chance, beside its share hands on or takes what costs least. So a
//! newcomer takes partitions from the others, and little changes between these. `docs/partitions.md` has
//! the figures.

use std::collections::BTreeMap;

use super::assignment::{Bounds, NEVER, assign};
use super::share::{Claim, Share, shares};
use super::spread::Spread;
use super::{Member, Token, Zone, partition_end};
use crate::id::NodeId;

/// All partitions by their ends, with all members: its homes, then the others in the order in which they
/// rank it.
pub(super) fn by_share(
    members: &[Member],
    partitions: u32,
    homes: usize,
) -> Vec<(Token, Vec<NodeId>)> {
    let costs: Vec<_> = members.iter().map(|member| costs(member, partitions)).collect();
    let held = homes_of_all(members, &costs, homes);
    let firsts = firsts(&costs, &held);
    let range = |partition: u32| {
        let at = partition as usize;
        let place = |member: &usize| {
            let (is_first, is_home) = (firsts[at] == *member, held[at].contains(member));
            (!is_first, !is_home, costs[*member][at], *member)
        };
        let mut order: Vec<_> = (0..members.len()).collect();
        order.sort_unstable_by_key(place);
        let list = order.into_iter().map(|member| members[member].id).collect();
        (partition_end(partition, partitions), list)
    };
    (0..partitions).map(range).collect()
}

/// What each partition costs a member: its rank, from none to all of them, over the member's weight. Ranks
/// and not digests: so each member likes as many partitions much and little as any other does, and chance
/// leaves half as much to mend. Of equal ranks the digest decides.
fn costs(member: &Member, partitions: u32) -> Vec<u64> {
    let digest = |partition| (Token::of_partition(member.id, partition), partition);
    let mut ranked: Vec<_> = (0..partitions).map(digest).collect();
    ranked.sort_unstable();
    let mut costs = vec![0; ranked.len()];
    for (rank, (digest, partition)) in (0_u64..).zip(ranked) {
        let cost = rank << 16 | u64::from(digest.0 as u16);
        costs[partition as usize] = (cost << 10) / u64::from(member.tokens);
    }
    costs
}

/// The homes of each partition, as places in `members`.
fn homes_of_all(members: &[Member], costs: &[Vec<u64>], homes: usize) -> Vec<Vec<usize>> {
    let partitions = costs[0].len();
    let spread = Spread::new(members, homes);
    let mut zones: BTreeMap<Option<Zone>, Vec<usize>> = BTreeMap::new();
    for (place, member) in members.iter().enumerate() {
        zones.entry(member.zone).or_default().push(place);
    }
    let zones: Vec<_> = zones.into_values().collect();
    let extras = extras(members, costs, &zones, &spread);
    let mut held = vec![Vec::new(); partitions];
    for (zone, places) in zones.iter().enumerate() {
        let level = spread.level().min(places.len());
        let wanted: Vec<_> =
            extras.iter().map(|extras| level + usize::from(extras.contains(&zone))).collect();
        let total = wanted.iter().sum::<usize>();
        let most = wanted.iter().filter(|wanted| **wanted > 0).count();
        let claim = |place: &usize| {
            let weight = u64::from(members[*place].tokens);
            Claim { weight, least: 0, most: most as u64 }
        };
        let claims: Vec<_> = places.iter().map(claim).collect();
        let bound = |share: Share| Bounds { least: share.least(), most: share.most().min(most) };
        let bounds: Vec<_> = shares(total as u64, &claims).into_iter().map(bound).collect();
        let costs: Vec<_> = places.iter().map(|place| costs[*place].clone()).collect();
        for (partition, chosen) in assign(&costs, &wanted, &bounds).into_iter().enumerate() {
            held[partition].extend(chosen.into_iter().map(|chosen| places[chosen]));
        }
    }
    held
}

/// Of each partition, the zones that have one home more than the level, by their places in `zones`: so
/// that, as far as that goes, a zone is home in proportion to the weight of its members.
fn extras(
    members: &[Member],
    costs: &[Vec<u64>],
    zones: &[Vec<usize>],
    spread: &Spread,
) -> Vec<Vec<usize>> {
    let partitions = costs[0].len();
    if spread.extras() == 0 {
        return vec![Vec::new(); partitions];
    }
    let claim = |places: &Vec<usize>| {
        let level = spread.level().min(places.len());
        let most = (spread.level() + 1).min(places.len());
        let weight = places.iter().map(|place| u64::from(members[*place].tokens)).sum();
        Claim { weight, least: (level * partitions) as u64, most: (most * partitions) as u64 }
    };
    let claims: Vec<_> = zones.iter().map(claim).collect();
    let level: u64 = claims.iter().map(|claim| claim.least).sum();
    let total = level + (spread.extras() * partitions) as u64;
    let bound = |(share, claim): (Share, &Claim)| {
        let level = claim.least as usize;
        let most = share.most().min(claim.most as usize);
        Bounds { least: share.least().saturating_sub(level), most: most - level }
    };
    let bounds: Vec<_> = shares(total, &claims).into_iter().zip(&claims).map(bound).collect();
    // A zone costs what its next member does.
    let cost = |places: &Vec<usize>, partition: usize| {
        let mut costs: Vec<_> = places.iter().map(|place| costs[*place][partition]).collect();
        costs.sort_unstable();
        costs.get(spread.level()).copied().unwrap_or(NEVER)
    };
    let row = |places| (0..partitions).map(|partition| cost(places, partition)).collect();
    let costs: Vec<_> = zones.iter().map(row).collect();
    assign(&costs, &vec![spread.extras(); partitions], &bounds)
}

/// The first home of each partition: every home is that of an equal part of its partitions. Who is first
/// among the homes moves no data.
fn firsts(costs: &[Vec<u64>], held: &[Vec<usize>]) -> Vec<usize> {
    let homes = held.first().map_or(1, Vec::len);
    let mut among: Vec<_> = costs.iter().map(|row| vec![NEVER; row.len()]).collect();
    let mut loads = vec![0_usize; costs.len()];
    for (partition, members) in held.iter().enumerate() {
        for member in members {
            among[*member][partition] = costs[*member][partition];
            loads[*member] += 1;
        }
    }
    let bound = |load: &usize| Bounds { least: load / homes, most: load.div_ceil(homes) };
    let bounds: Vec<_> = loads.iter().map(bound).collect();
    assign(&among, &vec![1; held.len()], &bounds).into_iter().map(|first| first[0]).collect()
}
