//! When what a lost disk held is again on as many disks as before.
//!
//! A put may have been acknowledged with the copy that was lost and with one that somebody held for
//! another: then a home that was refilled by all other homes lacks it still, and so does everybody when the
//! second disk is lost. So in this order: the puts that were open then have ended; every member was seen
//! to hold no hint and nothing that is another's, and to count; since then every two members that are homes
//! of a key together had an exchange.
//!
//! What members say at one look is all that goes in: the same by the wall clock and under virtual time.

use std::collections::{BTreeMap, BTreeSet};

use dynamo_protocol::NodeId;

/// What a member says of itself at one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// Of its process.
    pub(crate) life: u64,
    /// It holds no hint and nothing that is another's, and counts wherever it is a home.
    pub(crate) is_clear: bool,
    /// By partner the number of the last exchange with it that its process led to its end.
    pub(crate) exchanged: BTreeMap<NodeId, u64>,
}

/// How far it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Restoring {
    clear: BTreeSet<NodeId>,
    /// Once all were clear, by node: its process then, and how many exchanges it had led.
    since: Option<BTreeMap<NodeId, (u64, u64)>>,
    met: BTreeSet<(NodeId, NodeId)>,
}

impl Restoring {
    /// One look at all members, each with what it says if it answers; `share` tells whether two are homes of
    /// a key together. Whether it is done. To be called once the puts that were open have ended, and while
    /// the ring does not change.
    pub(crate) fn look(
        &mut self,
        members: &BTreeMap<NodeId, Option<Said>>,
        share: impl Fn(NodeId, NodeId) -> bool,
    ) -> bool {
        let clear = |said: &Option<Said>| said.as_ref().is_some_and(|said| said.is_clear);
        self.clear.extend(members.iter().filter(|(_, said)| clear(said)).map(|(node, _)| *node));
        if !members.keys().all(|node| self.clear.contains(node)) {
            return false;
        }
        let led = |said: &Said| said.exchanged.values().max().copied().unwrap_or_default();
        let since = self.since.get_or_insert_with(|| {
            let said = members.iter().filter_map(|(node, said)| Some((*node, said.as_ref()?)));
            said.map(|(node, said)| (node, (said.life, led(said)))).collect()
        });
        for (node, said) in members.iter().filter_map(|(node, said)| Some((*node, said.as_ref()?)))
        {
            let (life, had) = *since.entry(node).or_insert((said.life, led(said)));
            // The one under way then may have begun before. A later process began all of its own since.
            let first = if said.life == life { had + 2 } else { 1 };
            let met = said.exchanged.iter().filter(|(_, last)| **last >= first);
            self.met.extend(met.map(|(with, _)| (node.min(*with), node.max(*with))));
        }
        let nodes: Vec<_> = members.keys().copied().collect();
        let pairs = nodes.iter().flat_map(|one| nodes.iter().map(move |other| (*one, *other)));
        let is_missing = |pair: &(NodeId, NodeId)| {
            pair.0 < pair.1 && !self.met.contains(pair) && share(pair.0, pair.1)
        };
        !pairs.into_iter().any(|pair| is_missing(&pair))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];

    fn said(exchanged: &[(u16, u64)]) -> Option<Said> {
        let exchanged = exchanged.iter().map(|(with, last)| (NodeId(*with), *last)).collect();
        Some(Said { life: 1, is_clear: true, exchanged })
    }

    fn members(said: [Option<Said>; 3]) -> BTreeMap<NodeId, Option<Said>> {
        NODES.into_iter().zip(said).collect()
    }

    fn all(_: NodeId, _: NodeId) -> bool {
        true
    }

    #[test]
    fn exchanges_count_that_began_after_everybody_was_clear() {
        let mut restoring = Restoring::default();
        let before = [said(&[(2, 7), (3, 8)]), said(&[]), said(&[])];
        let mut busy = before.clone();
        busy[1].as_mut().unwrap().is_clear = false;
        assert!(!restoring.look(&members(busy), all));
        assert!(!restoring.look(&members(before), all), "clear at last");
        // The ninth may have been under way.
        let now = [said(&[(2, 10), (3, 9)]), said(&[]), said(&[(2, 2)])];
        assert!(!restoring.look(&members(now.clone()), all), "n1 and n3 have not met");
        let apart = |one: NodeId, other: NodeId| (one, other) != (NODES[0], NODES[2]);
        assert!(restoring.clone().look(&members(now), apart), "they share nothing");
        let now = [said(&[(2, 10), (3, 11)]), said(&[]), said(&[])];
        assert!(restoring.look(&members(now), all));
    }

    #[test]
    fn who_does_not_answer_is_not_clear_and_a_process_that_started_since_began_all_its_own() {
        let mut restoring = Restoring::default();
        assert!(!restoring.look(&members([said(&[]), None, said(&[])]), all));
        assert!(!restoring.look(&members([said(&[(2, 5)]), said(&[]), said(&[])]), all));
        let anew = Some(Said { life: 2, ..said(&[(2, 1), (3, 2)]).unwrap() });
        assert!(!restoring.look(&members([anew.clone(), said(&[]), said(&[(2, 1)])]), all));
        assert!(restoring.look(&members([anew, said(&[]), said(&[(2, 2)])]), all));
    }
}
