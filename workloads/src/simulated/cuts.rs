//! Every way of cutting directed links between the nodes of a cluster, one after the other instead of drawn.
//! Of n nodes there are 2^(n(n-1)), and a bit of a way's number is a link that is cut.

use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::NodeId;

use super::twin::{Fault, micros};
use crate::nemesis::faults::partition::Partition;
use crate::plan::Cut;

/// How many ways there are of cutting the links between so many nodes; none if a seed cannot number them.
#[must_use]
pub fn ways(nodes: usize) -> Option<u64> {
    let links = u32::try_from(nodes * nodes.saturating_sub(1)).ok()?;
    1_u64.checked_shl(links).filter(|_| links < 63)
}

/// The links that are cut in the way of this number.
#[must_use]
pub fn way(nodes: &[NodeId], number: u64) -> Vec<Cut> {
    let pairs = nodes.iter().flat_map(|from| nodes.iter().map(move |to| (*from, *to)));
    let links = pairs.filter(|(from, to)| from != to).zip(0_u32..);
    let is_cut = |bit: u32| number.checked_shr(bit).is_some_and(|rest| rest & 1 == 1);
    links.filter(|(_, bit)| is_cut(*bit)).map(|((from, to), _)| Cut { from, to }).collect()
}

/// The faults of a run of `time` in which these links are cut for half of it, while clients work.
pub(super) fn faults(nodes: &[NodeId], number: u64, time: Duration) -> Vec<Fault> {
    let time = micros(time);
    let cut = Arc::new(Partition::of(way(nodes, number)));
    vec![Fault::new(time / 8, time / 8 * 5, cut)]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_way_of_cutting_the_links_of_four_nodes_is_there_once() {
        let nodes: Vec<_> = (1..=4).map(NodeId).collect();
        assert_eq!(ways(4), Some(4096));
        let all: BTreeSet<_> = (0..4096).map(|number| way(&nodes, number)).collect();
        assert_eq!(all.len(), 4096);
        assert_eq!((way(&nodes, 0).len(), way(&nodes, 4095).len()), (0, 12));
        assert_eq!(way(&nodes, 1), ["n1->n2".parse().unwrap()]);
        assert_eq!((ways(5), ways(8), ways(9)), (Some(1_048_576), Some(1 << 56), None));
    }
}
