//! One host: the core's node, its disk, and what the host owes both.

use std::collections::VecDeque;

use dynamo_protocol::{Node, NodeId, Output, Skew, Store as _, Timer};

use crate::disk::Disk;

/// A host of the cluster.
#[derive(Clone, Debug)]
pub struct Host {
    pub(crate) node: Option<Node>,
    pub(crate) disk: Disk,
    /// Outputs, and the batch each rests on.
    pub(crate) held: VecDeque<(u64, Output)>,
    pub(crate) backup: Option<Box<Disk>>,
    /// Running timers, each with the number of its setting: few, since an operation ends with its own.
    pub(crate) timers: Vec<(Timer, u64)>,
    pub(crate) settings: u64,
    /// How its wall clock is off, and since when.
    pub(crate) skew: (Skew, u64),
    pub(crate) paused: bool,
    pub(crate) starts: u64,
}

impl Host {
    /// How its wall clock is off.
    #[must_use]
    pub fn skew(&self) -> Skew {
        self.skew.0
    }

    /// The node, if its process runs.
    #[must_use]
    pub fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }

    /// Its disk.
    #[must_use]
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// What its node has said that the disk holds back until it has synced, in order.
    pub fn held(&self) -> impl Iterator<Item = &Output> {
        self.held.iter().map(|(_, output)| output)
    }

    /// Whether its process stands still.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// How far its disk was when it was backed up; none if it was not.
    #[must_use]
    pub fn backup(&self) -> Option<u64> {
        self.backup.as_ref().map(|backup| backup.position())
    }

    /// How often it was started.
    #[must_use]
    pub fn starts(&self) -> u64 {
        self.starts
    }

    /// Whether the timer runs, and was not set again since setting `setting`.
    #[must_use]
    pub fn timer_is(&self, timer: &Timer, setting: u64) -> bool {
        self.timers.contains(&(*timer, setting))
    }

    pub(crate) fn take_timer(&mut self, timer: &Timer) -> Option<u64> {
        let at = self.timers.iter().position(|(running, _)| running == timer)?;
        Some(self.timers.swap_remove(at).1)
    }

    /// The running timers, in order.
    #[must_use]
    pub fn timers(&self) -> Vec<Timer> {
        let mut timers: Vec<_> = self.timers.iter().map(|(timer, _)| *timer).collect();
        timers.sort_unstable();
        timers
    }
}

/// Where a node's host stands in a list of all of them.
pub(crate) fn index(node: NodeId) -> usize {
    usize::from(node.0) - 1
}
