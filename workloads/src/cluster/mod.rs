//! Where the store runs: what the driver can do to it, wherever that is.

mod arguments;
pub(crate) mod clients;
#[cfg(test)]
pub(crate) mod fake;
mod local;
mod members;
mod ssh;

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Instant;

use dynamo_node::{Hooked, Hooks, Proposed, RingReport, Tls};
use dynamo_protocol::membership::Edit;
use dynamo_protocol::{Epoch, NodeId, Skew};
use thiserror::Error;

pub(crate) use arguments::{json, member, seeded_bug};
pub use clients::NodeClients;
pub use local::LocalCluster;
pub use members::Origin;
pub use ssh::{SshCluster, connect, facts};

use crate::hosts::disk::Damage;
pub use crate::hosts::process::Life;
use crate::hosts::proxy::{FaultId, Net, Observed, Pair, Ping, Shape};
use crate::plan::FaultName;

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Of its data directory.
    pub identity: String,
    /// Of its process.
    pub incarnation: u64,
    /// All other members have told that they remember no more of the directory than it holds.
    pub proven: bool,
    /// It lost its directory, and is being refilled.
    pub amnesiac: bool,
    /// In how many stretches of its ranges it does not count yet.
    pub filling: u64,
    /// It may hold keys of which it is no home.
    pub expects_strays: bool,
    /// By partner the number of the last exchange with it that the node led to its end.
    pub exchanged: BTreeMap<NodeId, u64>,
    /// Hints on its disk.
    pub hints_held: u64,
    /// By node, how many hints for it were stored since the process started.
    pub hinted: BTreeMap<NodeId, u64>,
    /// Requests and deliveries under way.
    pub open_operations: u64,
    /// The peers it suspects.
    pub suspected: Vec<NodeId>,
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

/// Something that befell a node without the driver's doing.
#[derive(Clone, Debug)]
pub struct Mishap {
    /// Which node.
    pub node: NodeId,
    /// What it did, or what was done to it.
    pub what: String,
    /// When it was noticed, if that was at once.
    pub at: Option<Instant>,
    /// It was somebody else's doing, not the node's.
    pub from_outside: bool,
}

impl Mishap {
    /// A node's process has ended, with this status, and the driver did not end it.
    pub(crate) fn ended(node: NodeId, status: &ExitStatus) -> Self {
        /// SIGHUP, SIGINT, SIGKILL, SIGTERM: nothing a program does to itself by mistake.
        const FROM_OUTSIDE: [i32; 4] = [1, 2, 9, 15];
        let signal = status.signal().filter(|signal| FROM_OUTSIDE.contains(signal));
        let what = match signal {
            Some(signal) => format!("was ended by somebody else (signal {signal})"),
            // A node that is asked to end by a signal it can hear does so in good order.
            None if status.success() => "was ended by somebody else".to_owned(),
            None => format!("ended by itself with {status}"),
        };
        let from_outside = signal.is_some() || status.success();
        Self { node, what, at: Some(Instant::now()), from_outside }
    }
}

/// A cluster of real processes, wherever they run: what a run needs of it beside its faults.
pub trait Deployed: Cluster {
    /// The clients' links to the nodes.
    fn net(&self) -> &Arc<Net>;

    /// As whom the driver asks nodes over TLS, if it does.
    fn tls(&self) -> Option<Arc<Tls>> {
        None
    }

    /// What went wrong that no fault of the plan explains, so far.
    fn mishaps(&self) -> impl Future<Output = Vec<Mishap>> + Send;

    /// Returns when the run cannot go on: then [`Self::mishaps`] says why. Never, as long as it can.
    fn lost(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// The nodes' logs, as files here.
    fn logs(&self) -> impl Future<Output = Vec<(NodeId, PathBuf)>> + Send;

    /// Ends all nodes.
    fn end(&self) -> impl Future<Output = ()> + Send;
}

/// What the driver can do to the store.
pub trait Cluster: Send + Sync + 'static {
    /// The nodes that are in, as far as the driver brought it about, in the order of their ids.
    fn nodes(&self) -> Vec<NodeId>;

    /// All that are or may come to be, in the order of their ids.
    fn everybody(&self) -> Vec<NodeId> {
        self.nodes()
    }

    /// Can this fault be done here at all? What cannot is skipped, and the run says so.
    ///
    /// # Errors
    /// Why not.
    fn able(&self, _fault: FaultName) -> Result<(), String> {
        Ok(())
    }

    /// What the system says of a node's process.
    fn life(&self, node: NodeId) -> Life;

    /// Is the node's host out of reach for good? Then nothing more can be done to it or known of it.
    fn is_lost(&self, _node: NodeId) -> bool {
        false
    }

    /// Starts a node on its disk; returns when it serves.
    fn start(&self, node: NodeId) -> impl Future<Output = Result<(), ClusterError>> + Send;

    /// Starts a node on an empty disk that becomes one of the cluster's in this way; returns when that is
    /// decided and it serves.
    fn enter(
        &self,
        node: NodeId,
        way: Origin,
    ) -> impl Future<Output = Result<(), ClusterError>> + Send;

    /// From now on the end of a node's process is no mishap: it is about to leave.
    fn let_end(&self, node: NodeId);

    /// Waits until the process of a node that left has ended by itself, and empties its disk; what it ended
    /// with. An error if it did not end in order.
    fn depart(&self, node: NodeId) -> impl Future<Output = Result<String, ClusterError>> + Send;

    /// How a node sees the membership, and how far it is with its part in a change of it; past all faults of
    /// the network.
    fn ring(&self, node: NodeId) -> impl Future<Output = Result<RingReport, ClusterError>> + Send;

    /// Has a node propose a change of the membership, for the epoch `expect` alone if that is given.
    fn propose(
        &self,
        node: NodeId,
        edit: Edit,
        expect: Option<Epoch>,
    ) -> impl Future<Output = Result<Proposed, ClusterError>> + Send;

    /// Ends a node's process at once; returns when it is gone.
    fn kill(&self, node: NodeId) -> impl Future<Output = Result<(), ClusterError>> + Send;

    /// Makes a node's process stand still.
    fn pause(&self, node: NodeId) -> impl Future<Output = Result<(), ClusterError>> + Send;

    /// Lets it go on.
    fn resume(&self, node: NodeId) -> impl Future<Output = Result<(), ClusterError>> + Send;

    /// Empties the disk of a node that is down.
    fn wipe(&self, node: NodeId) -> impl Future<Output = Result<(), ClusterError>> + Send;

    /// Does damage to the disk of a node that is down; what was done, human-readable.
    fn damage(
        &self,
        node: NodeId,
        damage: Damage,
    ) -> impl Future<Output = Result<String, ClusterError>> + Send;

    /// Waits until the process of a node has ended by itself; how it ended, and what it said last.
    fn ended(&self, node: NodeId) -> impl Future<Output = Result<String, ClusterError>> + Send;

    /// Falsifies a node's disk and its links under the name of a fault, if there is how; what the node's
    /// hooks did so far, by its own count. The default of [`Hooks`] ends it.
    fn hooks(
        &self,
        node: NodeId,
        fault: FaultId,
        hooks: Option<Hooks>,
    ) -> impl Future<Output = Result<Hooked, ClusterError>> + Send;

    /// Sets a node's wall clock wrong, if there is how; what it reads then, in microseconds since 1970.
    fn clock(
        &self,
        node: NodeId,
        skew: Option<Skew>,
    ) -> impl Future<Output = Result<u64, ClusterError>> + Send;

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

    /// How many bytes faults have changed so far on connections that this node dialled.
    fn changed(&self, node: NodeId) -> impl Future<Output = Result<u64, ClusterError>> + Send;

    /// Pings a node through a link.
    fn ping(&self, ping: Ping) -> impl Future<Output = Observed> + Send;

    /// Asks a node, past all faults of the network.
    fn status(&self, node: NodeId) -> impl Future<Output = Result<Status, ClusterError>> + Send;
}
