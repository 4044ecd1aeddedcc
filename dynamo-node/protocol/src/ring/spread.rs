//! Homes of a key in as many zones as there are.

use std::collections::BTreeMap;

use super::{Member, Zone};
use crate::id::NodeId;

/// How the N homes of a key are spread over the zones: each has as many as any other, as far as it has
/// members, and what is left over goes to different ones.
#[derive(Clone, Debug)]
pub(super) struct Spread {
    zones: BTreeMap<NodeId, Option<Zone>>,
    /// So many homes every zone has that has so many members.
    level: usize,
    /// So many of the zones with more members have one more.
    extras: usize,
    /// Whether there is but one zone.
    plain: bool,
}

impl Spread {
    pub(super) fn new(members: &[Member], homes: usize) -> Self {
        let zones: BTreeMap<_, _> = members.iter().map(|member| (member.id, member.zone)).collect();
        let mut sizes = BTreeMap::new();
        zones.values().for_each(|zone| *sizes.entry(*zone).or_insert(0) += 1);
        let at = |level: usize| sizes.values().map(|size| level.min(*size)).sum::<usize>();
        let level = (0..=homes).rev().find(|level| at(*level) <= homes).unwrap_or(0);
        Self { level, extras: homes.saturating_sub(at(level)), plain: sizes.len() == 1, zones }
    }

    /// See the fields.
    pub(super) fn level(&self) -> usize {
        self.level
    }

    /// See the fields.
    pub(super) fn extras(&self) -> usize {
        self.extras
    }

    /// The hosts of `list` in the same order, but homes first: it goes on past a host whose zone has enough.
    pub(super) fn ordered(&self, list: Vec<NodeId>) -> Vec<NodeId> {
        if self.plain {
            return list;
        }
        let mut extras = self.extras;
        let mut taken = BTreeMap::new();
        let (mut homes, others): (Vec<_>, Vec<_>) = list.into_iter().partition(|host| {
            let taken = taken.entry(self.zones.get(host)).or_insert(0);
            *taken += 1;
            let is_extra = *taken == self.level + 1 && extras > 0;
            extras -= usize::from(is_extra);
            *taken <= self.level || is_extra
        });
        homes.extend(others);
        homes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Members of zones of these sizes, in turn.
    fn members(sizes: &[u16]) -> Vec<Member> {
        let zones = sizes.iter().enumerate().flat_map(|(zone, size)| (0..*size).map(move |_| zone));
        let member = |(id, zone)| Member::new(NodeId(id), 1).in_zone(Some(Zone(zone as u16)));
        (1..).zip(zones).map(member).collect()
    }

    fn homes(sizes: &[u16], homes: usize) -> Vec<u16> {
        let members = members(sizes);
        let list = members.iter().map(|member| member.id).collect();
        let ordered = Spread::new(&members, homes).ordered(list);
        ordered[..homes].iter().map(|node| node.0).collect()
    }

    #[test]
    fn every_zone_has_as_many_homes_as_any_other_as_far_as_it_has_members() {
        assert_eq!(homes(&[3, 3, 3], 3), [1, 4, 7]);
        assert_eq!(homes(&[3, 3], 3), [1, 2, 4], "the first met has one more");
        assert_eq!(homes(&[4, 4, 4], 4), [1, 2, 5, 9], "and no zone has none");
        assert_eq!(homes(&[1, 5], 3), [1, 2, 3], "one has no more");
        assert_eq!(homes(&[1, 2, 9], 7), [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(homes(&[5], 3), [1, 2, 3]);
        assert_eq!(homes(&[2, 1], 3), [1, 2, 3]);
    }

    #[test]
    fn the_rest_of_the_list_is_as_it_was_met() {
        let members = members(&[2, 2, 1]);
        let list = members.iter().map(|member| member.id).collect();
        let ordered = Spread::new(&members, 3).ordered(list);
        assert_eq!(ordered, [1, 3, 5, 2, 4].map(NodeId));
    }
}
