//! What a node's host is told at its start.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use dynamo_protocol::{NodeId, Settings, View};

use crate::join::Join;
use crate::seal::Seal;
use crate::stepped::Nonces;
use crate::tls::Tls;

/// Everything a node is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// This node.
    pub me: NodeId,
    /// The cluster's settings.
    pub settings: Settings,
    /// The membership of the cluster's genesis. A directory that knows of one already goes by that: then this
    /// one is only held against its genesis, and need not be given. Nor need it of a node that joins.
    pub view: Option<View>,
    /// The cluster's name: nodes of another one are refused.
    pub cluster: String,
    /// Where this node dials its peers. On a directory that knows of no membership every member but the node
    /// itself has to be here. It need not be where the peer listens: a test driver puts a proxy between.
    pub peers: BTreeMap<NodeId, String>,
    /// Where it keeps its records.
    pub storage: Storage,
    /// When a change counts as kept.
    pub durability: Durability,
    /// Where peers reach this node, HOST:PORT; none: where it listens, unless that is everywhere.
    pub advertise: Option<String>,
    /// Become a member of a cluster that runs, unless the directory is one already.
    pub join: Option<Join>,
    /// This start is part of the cluster's genesis: an empty directory is no reason to be amnesiac.
    pub genesis: bool,
    /// Who it is, and whom it believes; without, whoever connects is believed to be whoever it says.
    pub tls: Option<Arc<Tls>>,
    /// What clients' contexts are sealed with; without, a client can make one up.
    pub seal: Option<Arc<Seal>>,
    /// Where to answer Prometheus, HOST:PORT; port 0 takes a free one.
    pub metrics: Option<String>,
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
    /// In a data directory, by redb.
    Redb(PathBuf),
    /// In a data directory, but for the engine: that is a disk of the world which this thread simulates.
    #[cfg(feature = "simulation")]
    Simulated(PathBuf),
}

/// When what is acknowledged is safe from what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Durability {
    /// From a crash of every machine at once: nothing is acknowledged before it is synced.
    #[default]
    Sync,
    /// From a crash of every machine at once, if no disk is lost beside: the node that coordinates a put has
    /// synced it, the others have it, and sync it some 50 ms later at the latest. A machine that loses power
    /// counts as one that lost its disk, but for what it coordinated.
    One,
    /// From a crash of processes, and of fewer than W machines: it is synced some 50 ms later. A machine that
    /// loses power counts as one that lost its disk.
    Buffered,
}

impl Storage {
    /// The data directory, if there is one.
    pub(crate) fn directory(&self) -> Option<&PathBuf> {
        match self {
            Self::Memory => None,
            Self::Disk(path) | Self::Redb(path) => Some(path),
            #[cfg(feature = "simulation")]
            Self::Simulated(path) => Some(path),
        }
    }
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
        Self { view: Some(view), ..Self::without_view(me, settings, peers) }
    }

    /// The same of a node that is told no members: its directory knows them, or those that it joins do.
    #[must_use]
    pub fn without_view(me: NodeId, settings: Settings, peers: BTreeMap<NodeId, String>) -> Self {
        Self {
            me,
            settings,
            view: None,
            cluster: DEFAULT_CLUSTER.to_owned(),
            peers,
            storage: Storage::Memory,
            durability: Durability::Sync,
            advertise: None,
            join: None,
            genesis: false,
            tls: None,
            seal: None,
            metrics: None,
            record: None,
            stepped: None,
            fault_hooks: false,
        }
    }
}

/// The name of a cluster that was given none.
pub const DEFAULT_CLUSTER: &str = "dynamo";
