//! Where the store runs: what the driver can do to it, wherever that is.

mod clients;
#[cfg(test)]
pub(crate) mod fake;
mod local;
mod process;

use std::collections::BTreeMap;
use std::path::PathBuf;

use dynamo_protocol::NodeId;
use thiserror::Error;

pub use clients::NodeClients;
pub use local::{LocalCluster, Mishap};

use crate::proxy::{FaultId, Observed, Pair, Ping, Shape};

/// What the system says of a node's process: not what the node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    /// It runs, under this process id.
    Runs(u32),
    /// It is there and stands still.
    Stopped(u32),
    /// There is no process.
    Gone,
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Of its data directory.
    pub identity: String,
    /// Of its process.
    pub incarnation: u64,
    /// Hints on its disk.
    pub hints_held: u64,
    /// Requests and deliveries under way.
    pub open_operations: u64,
    /// Events since its process started, by name.
    pub counters: BTreeMap<String, u64>,
}

/// Why the cluster did not do what it was told.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// A node does not start.
    #[error("{node} did not start: {reason} (its log: {})", log.display())]
    Start {
        /// The node.
        node: NodeId,
        /// What it said, or what the system did.
        reason: String,
        /// Where its log is.
        log: PathBuf,
    },
    /// A node's process is not as it must be for this.
    #[error("{node}: {reason}")]
    Node {
        /// The node.
        node: NodeId,
        /// What is in the way.
        reason: String,
    },
    /// Nothing about a node: files, ports.
    #[error("{0}")]
    Io(String),
}

/// What the driver can do to the store.
pub trait Cluster: Send + Sync + 'static {
    /// The nodes, in the order of their ids.
    fn nodes(&self) -> &[NodeId];

    /// What the system says of a node's process.
    fn life(&self, node: NodeId) -> Life;

    /// Starts a node on its disk; returns when it serves.
    fn start(&self, node: NodeId) -> impl Future<Output = Result<(), ClusterError>> + Send;

    /// Ends a node's process at once; returns when it is gone.
    fn kill(&self, node: NodeId) -> impl Future<Output = Result<(), ClusterError>> + Send;

    /// Makes a node's process stand still.
    fn pause(&self, node: NodeId) -> impl Future<Output = Result<(), ClusterError>> + Send;

    /// Lets it go on.
    fn resume(&self, node: NodeId) -> impl Future<Output = Result<(), ClusterError>> + Send;

    /// Empties the disk of a node that is down.
    fn wipe(&self, node: NodeId) -> impl Future<Output = Result<(), ClusterError>> + Send;

    /// Shapes flows, under the name of a fault.
    fn shape(
        &self,
        fault: FaultId,
        shapes: Vec<(Pair, Shape)>,
    ) -> impl Future<Output = Result<(), ClusterError>> + Send;

    /// Takes away what a fault does to flows.
    fn unshape(&self, fault: FaultId) -> impl Future<Output = Result<(), ClusterError>> + Send;

    /// What is done to a flow now, by all faults together.
    fn shaped(&self, flow: Pair) -> Shape;

    /// Pings a node through a link.
    fn ping(&self, ping: Ping) -> impl Future<Output = Observed> + Send;

    /// Asks a node, past all faults of the network.
    fn status(&self, node: NodeId) -> impl Future<Output = Result<Status, ClusterError>> + Send;
}
