//! How a node is now.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dynamo_protocol::{Epoch, Identity, NodeId};

use crate::telemetry::Counters;

/// What a node says of itself when it is asked.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) id: NodeId,
    /// Of the data directory.
    pub(crate) identity: Identity,
    /// Of this process.
    pub(crate) incarnation: u64,
    /// Its answers do not count as votes until it is refilled.
    pub(crate) amnesiac: bool,
    /// Its directory is known to be all that it ever was.
    pub(crate) proven: bool,
    /// The membership it goes by.
    pub(crate) epoch: Epoch,
    /// In how many stretches of its ranges it does not count yet.
    pub(crate) filling: u64,
    /// It may hold keys of which it is no home.
    pub(crate) expects_strays: bool,
    pub(crate) uptime: Duration,
    pub(crate) hints_held: u64,
    /// By node, how many hints for it were stored since the process started.
    pub(crate) hinted: BTreeMap<NodeId, u64>,
    /// Requests and deliveries under way: 0 at rest.
    pub(crate) open_operations: usize,
    /// Client requests that are not answered.
    pub(crate) open_requests: usize,
    /// The peers it suspects.
    pub(crate) suspected: Vec<NodeId>,
    /// The settings every node of the cluster shares, as JSON.
    pub(crate) settings: String,
    /// By partner the number of the last exchange with it that this node led to its end, counted from 1
    /// over all that it led.
    pub(crate) exchanged: BTreeMap<NodeId, u64>,
    /// How often an operator accepted that what its directory lacked is lost.
    pub(crate) losses_accepted: u64,
    /// How often an operator had it make an epoch without a vote.
    pub(crate) epochs_forced: u64,
    /// How many tombstones it would collect.
    pub(crate) tombstones: usize,
    /// Members that keep it from that.
    pub(crate) tombstones_kept_by: BTreeSet<NodeId>,
    /// It was asked to stop.
    pub(crate) stopping: bool,
    pub(crate) counters: Counters,
}
