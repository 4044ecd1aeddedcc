//! What a node's host is told at its start.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::stepped::Nonces;
use dynamo_protocol::{NodeId, Settings, View};

/// Everything a node is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// This node.
    pub me: NodeId,
    /// The cluster's settings.
    pub settings: Settings,
    /// The membership of the cluster's genesis. A directory that knows of one already goes by that: then
    /// this one is only held against its genesis, and need not be given.
    pub view: Option<View>,
    /// The cluster's name: nodes of another one are refused.
    pub cluster: String,
    /// Where this node dials its peers. On a directory that knows of no membership every member but the node
    /// itself has to be here. It need not be where the peer listens: a test driver puts a proxy between.
    pub peers: BTreeMap<NodeId, String>,
    /// Where it keeps its records.
    pub storage: Storage,
    /// This start is part of the cluster's genesis: an empty directory is no reason to be amnesiac.
    pub genesis: bool,
    /// Where to record every step, for [`replay`](crate::record::replay).
    pub record: Option<PathBuf>,
    /// Take no step but those that are asked for by [`Admin::step`](crate::Admin::step), and draw nothing:
    /// for test drivers. Needs the feature `faults`. The address book is not used.
    pub stepped: Option<Nonces>,
    /// Obey the requests that falsify the node's world. Needs the feature `faults`.
    pub fault_hooks: bool,
}

/// Where records are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In memory: for tests and examples.
    Memory,
    /// In a data directory, by the default engine.
    Disk(PathBuf),
}

impl Options {
    /// A node of the cluster "dynamo" in memory, with all other options off.
    #[must_use]
    pub fn new(
        me: NodeId,
        settings: Settings,
        view: View,
        peers: BTreeMap<NodeId, String>,
    ) -> Self {
        Self {
            me,
            settings,
            view: Some(view),
            cluster: DEFAULT_CLUSTER.to_owned(),
            peers,
            storage: Storage::Memory,
            genesis: false,
            record: None,
            stepped: None,
            fault_hooks: false,
        }
    }
}

/// The name of a cluster that was given none.
pub const DEFAULT_CLUSTER: &str = "dynamo";
