//! Whose turn it is under virtual time: a process is one fault's of a plan at a time, as on real nodes.

use dynamo_protocol::NodeId;
use serde_json::Value;

use crate::simulated::twin::Fault;

/// See the [module](self).
#[derive(Default)]
pub(super) struct Turns<'a> {
    /// Those that hold processes.
    holders: Vec<&'a Fault>,
    /// Those that wait until theirs are free, in the order in which they came.
    queue: Vec<Queued<'a>>,
}

/// A fault that waits for its turn.
pub(super) struct Queued<'a> {
    pub(super) fault: &'a Fault,
    /// How long it holds its processes from then on.
    pub(super) hold: u64,
    /// Why it hits whom it hits, if that was chosen.
    pub(super) why: Option<Value>,
}

impl<'a> Turns<'a> {
    /// Whether this node's process is no fault's.
    pub(super) fn is_free(&self, node: NodeId) -> bool {
        !self.holders.iter().any(|other| other.holds.contains(&node))
    }

    /// Whether all processes are free that the fault is to hold.
    pub(super) fn is_due(&self, fault: &Fault) -> bool {
        fault.holds.iter().all(|node| self.is_free(*node))
    }

    /// Any process is some fault's.
    pub(super) fn are_taken(&self) -> bool {
        !self.holders.is_empty()
    }

    /// It waits from now on.
    pub(super) fn wait(&mut self, queued: Queued<'a>) {
        self.queue.push(queued);
    }

    /// The next whose turn it is: nobody holds what it is to hold, and nobody who came earlier waits for it.
    pub(super) fn next(&mut self) -> Option<Queued<'a>> {
        let is_next = |at: usize| {
            let (earlier, Queued { fault, .. }) = (&self.queue[..at], &self.queue[at]);
            let mut wanted = earlier.iter().flat_map(|other| &other.fault.holds);
            self.is_due(fault) && !wanted.any(|node| fault.holds.contains(node))
        };
        let at = (0..self.queue.len()).find(|at| is_next(*at))?;
        Some(self.queue.remove(at))
    }

    /// It holds its processes.
    pub(super) fn take(&mut self, fault: &'a Fault) {
        if !fault.holds.is_empty() {
            self.holders.push(fault);
        }
    }

    /// It holds them no more.
    pub(super) fn give_back(&mut self, fault: &Fault) {
        self.holders.retain(|other| !std::ptr::eq(*other, fault));
    }

    /// Nobody's turn comes any more.
    pub(super) fn close(&mut self) {
        self.queue.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::nemesis::faults::wipe::Wipe;

    #[test]
    fn a_fault_waits_for_who_holds_its_process_and_for_who_came_before_it() {
        let fault = |holds: &[u16]| {
            let holds = holds.iter().copied().map(NodeId).collect();
            Fault { holds, ..Fault::new(0, 1, Arc::new(Wipe(NodeId(1)))) }
        };
        let (first, both, second) = (fault(&[1]), fault(&[1, 2]), fault(&[2]));
        let mut turns = Turns::default();
        turns.take(&first);
        for fault in [&both, &second] {
            turns.wait(Queued { fault, hold: 1, why: None });
        }
        // The second could go, but for who came before.
        assert!(turns.next().is_none() && turns.is_free(NodeId(2)));
        turns.give_back(&first);
        let next = |turns: &mut Turns<'_>, is: &Fault| {
            turns.next().is_some_and(|next| std::ptr::eq(next.fault, is))
        };
        assert!(next(&mut turns, &both));
        turns.take(&both);
        assert!(turns.next().is_none());
        turns.give_back(&both);
        assert!(next(&mut turns, &second) && !turns.are_taken());
    }
}
