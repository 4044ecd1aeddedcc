//! Who is in the cluster, as far as the driver brought it about, and how each is started again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use dynamo_protocol::NodeId;

/// How a node is one of the cluster's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From the genesis on.
    Founder,
    /// It joined.
    Joins,
    /// Its directory took the place of one that was lost.
    Replaces,
}

/// The nodes that are in, and all that may come to be.
#[derive(Debug)]
pub(super) struct Members {
    everybody: Vec<NodeId>,
    now: Mutex<BTreeMap<NodeId, Origin>>,
}

impl Members {
    /// So many `founders` are in, the first of `everybody`.
    pub(super) fn new(founders: usize, everybody: Vec<NodeId>) -> Self {
        let now = everybody.iter().take(founders).map(|node| (*node, Origin::Founder)).collect();
        Self { everybody, now: Mutex::new(now) }
    }

    /// All that are or may come to be members, in the order of their ids.
    pub(super) fn everybody(&self) -> &[NodeId] {
        &self.everybody
    }

    /// Those that are in, in the order of their ids.
    pub(super) fn now(&self) -> Vec<NodeId> {
        self.lock().keys().copied().collect()
    }

    /// How a node is started; a founder's way where it is not in.
    pub(super) fn way(&self, node: NodeId) -> Origin {
        self.lock().get(&node).copied().unwrap_or(Origin::Founder)
    }

    pub(super) fn enter(&self, node: NodeId, way: Origin) {
        self.lock().insert(node, way);
    }

    pub(super) fn leave(&self, node: NodeId) {
        self.lock().remove(&node);
    }

    /// The disk of a node is empty. A founder has it made its own; who came later has to ask others for it.
    pub(super) fn emptied(&self, node: NodeId) {
        if let Some(way) = self.lock().get_mut(&node).filter(|way| **way == Origin::Joins) {
            *way = Origin::Replaces;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Origin>> {
        self.now.lock().expect("no one panics with the lock held")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_came_later_and_lost_its_disk_comes_back_in_its_own_place() {
        let members = Members::new(2, [1, 2, 3].map(NodeId).to_vec());
        assert_eq!(members.now(), [1, 2].map(NodeId));
        members.enter(NodeId(3), Origin::Joins);
        members.emptied(NodeId(3));
        members.emptied(NodeId(1));
        assert_eq!([1, 3].map(|id| members.way(NodeId(id))), [Origin::Founder, Origin::Replaces]);
        members.leave(NodeId(1));
        assert_eq!(members.now(), [2, 3].map(NodeId));
        assert_eq!(members.everybody().len(), 3);
    }
}
