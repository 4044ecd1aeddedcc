//! What a node's host is told at its start.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::stepped::Nonces;
use dynamo_protocol::{Config, NodeId, Quorum, ReadMode, Versioning};

/// Everything a node is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// The protocol's settings.
    pub config: Config,
    /// The cluster's name: nodes of another one are refused.
    pub cluster: String,
    /// Where this node dials its peers. Every member but the node itself has to be here. It need not be
    /// where the peer listens: a test driver puts a proxy between.
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
    pub fn new(config: Config, peers: BTreeMap<NodeId, String>) -> Self {
        Self {
            config,
            cluster: DEFAULT_CLUSTER.to_owned(),
            peers,
            storage: Storage::Memory,
            genesis: false,
            record: None,
            stepped: None,
            fault_hooks: false,
        }
    }

    /// All that the nodes of one cluster have to agree on, as one line: it is compared when a peer links
    /// up, and shown when it differs.
    #[must_use]
    pub fn settings(&self) -> String {
        let Config { n, r, w, quorum, versioning, read, limits, .. } = &self.config;
        let quorum = match quorum {
            Quorum::Sloppy => "sloppy",
            Quorum::Strict => "strict",
        };
        let versioning = match versioning {
            Versioning::Dotted => "dotted",
            Versioning::Paper => "paper",
            Versioning::Lww => "lww",
        };
        let read = match read {
            ReadMode::Plain => "plain",
            ReadMode::Atomic => "atomic",
        };
        let members = self.config.members().iter();
        let members: Vec<_> = members.map(|m| format!("{}x{}", m.id.0, m.tokens)).collect();
        format!(
            "cluster={} n={n} r={r} w={w} quorum={quorum} versioning={versioning} read={read} \
             limits={}/{}/{}/{}/{} members={}",
            self.cluster,
            limits.key_bytes,
            limits.value_bytes,
            limits.siblings,
            limits.actors,
            limits.set_bytes,
            members.join(",")
        )
    }
}

/// The name of a cluster that was given none.
pub const DEFAULT_CLUSTER: &str = "dynamo";
