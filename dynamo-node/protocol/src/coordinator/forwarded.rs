//! Which puts peers have forwarded here: a link may deliver a message twice, and a put is minted once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::id::{NodeId, OpId};
use crate::mutant::{Mutant, mutated};

/// How many forwarded puts of one process are told apart. What is older than all of them is taken for
/// a copy and thrown away: so forgetting never mints twice, it only leaves a put unanswered that more
/// than so many later ones of its forwarder overtook, and whose client has long been told "timed out".
const WINDOW: usize = 1024;
/// How many processes of one peer are told apart: the running one, and earlier ones of which a message
/// may still be under way. A link is made anew for each, and what is left of the old one soon ends.
const LIVES: usize = 4;

/// The puts forwarded by each peer, as far back as a copy of one can turn up.
///
/// Lost with the process, and that is enough: a link carries what it was given to one process of its
/// receiver, and no copy of it to the next (`Transport` in dynamo-node, `World` in dynamo-sim).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Forwarded(BTreeMap<NodeId, VecDeque<Life>>);

/// One process of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Life {
    incarnation: u64,
    /// Everything below has been seen, or counts as seen.
    floor: u64,
    seen: BTreeSet<u64>,
}

impl Forwarded {
    /// Notes a put of `from`; false if it was noted before, or may have been.
    pub(crate) fn is_first(&mut self, from: NodeId, op: OpId) -> bool {
        let lives = self.0.entry(from).or_default();
        if mutated(Mutant::LowerIncarnationIgnored)
            && lives.iter().any(|life| op.incarnation < life.incarnation)
        {
            return false;
        }
        let at = lives.iter().position(|life| life.incarnation == op.incarnation);
        let at = at.unwrap_or_else(|| {
            if lives.len() == LIVES {
                lives.pop_front();
            }
            let incarnation = op.incarnation;
            lives.push_back(Life { incarnation, floor: 0, seen: BTreeSet::new() });
            lives.len() - 1
        });
        assert!(lives.len() <= LIVES, "{from} has more processes than are told apart");
        lives[at].is_first(op.seq)
    }
}

impl Life {
    fn is_first(&mut self, seq: u64) -> bool {
        if seq < self.floor || !self.seen.insert(seq) {
            return false;
        }
        if self.seen.len() > WINDOW
            && let Some(oldest) = self.seen.pop_first()
        {
            // It may be this very put: it is still the first of its kind.
            self.floor = oldest + 1;
        }
        assert!(self.seen.len() <= WINDOW, "what is remembered of a process has a bound");
        assert!(
            self.seen.first().is_none_or(|oldest| *oldest >= self.floor),
            "what is below the floor is not kept one by one"
        );
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: NodeId = NodeId(4);

    fn op(incarnation: u64, seq: u64) -> OpId {
        OpId { incarnation, seq }
    }

    #[test]
    fn a_copy_is_told_from_every_put_of_any_process() {
        let mut forwarded = Forwarded::default();
        for (peer, op) in [(PEER, op(1, 7)), (PEER, op(2, 7)), (NodeId(5), op(1, 7))] {
            assert!(forwarded.is_first(peer, op));
            assert!(!forwarded.is_first(peer, op));
        }
        assert!(forwarded.is_first(PEER, op(1, 3)), "overtaken is not repeated");
    }

    #[test]
    fn what_is_forgotten_is_never_taken_for_new() {
        let mut forwarded = Forwarded::default();
        let last = 3 * WINDOW as u64;
        for seq in (0..last).step_by(2) {
            assert!(forwarded.is_first(PEER, op(1, seq)));
        }
        for seq in (0..last).step_by(2) {
            assert!(!forwarded.is_first(PEER, op(1, seq)), "{seq}");
        }
        let held: usize = forwarded.0[&PEER].iter().map(|life| life.seen.len()).sum();
        assert_eq!(held, WINDOW);
        assert!(forwarded.is_first(PEER, op(1, last + 1)));
    }

    #[test]
    fn it_holds_so_many_processes_of_a_peer_and_no_more() {
        let mut forwarded = Forwarded::default();
        for incarnation in 0..100 {
            assert!(forwarded.is_first(PEER, op(incarnation, 0)));
        }
        assert_eq!(forwarded.0[&PEER].len(), LIVES);
    }
}
