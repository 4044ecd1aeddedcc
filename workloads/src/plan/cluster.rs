//! The cluster of a plan, as people write it: its settings stand beside the rest, lengths of time as "1s".

use std::path::PathBuf;

use dynamo_protocol::{Partitioning, Quorum, ReadMode, Settings, Timing, Versioning};
use serde::{Deserialize, Serialize};

use super::{ClusterKind, Durability, Engine, Span};

/// The cluster and its nodes' settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Table", into = "Table")]
pub struct ClusterPlan {
    /// Where it runs.
    pub kind: ClusterKind,
    /// How many nodes.
    pub nodes: u16,
    /// What they are told for life.
    pub settings: Settings,
    /// Virtual nodes a node.
    pub tokens: u16,
    /// In how many zones they stand in turn.
    pub zones: u16,
    /// The storage engine.
    pub engine: Engine,
    /// When a put counts as kept.
    pub durability: Durability,
    /// Every connection over TLS, both ends with certificates that are made for the run.
    pub tls: bool,
    /// Each node has a disk of its own, an image that its host mounts: then power cuts are real ones.
    pub own_disks: bool,
    /// Nodes run from this build of `dyno` instead of the driver's own.
    pub binary: Option<PathBuf>,
    /// The hosts of `ssh`: an inventory file, or hosts separated by commas.
    pub hosts: Option<String>,
    /// Whether a host of which nothing is known is believed, and remembered.
    pub accept_new: bool,
    /// Hosts heal and stop by themselves when the driver has been silent for this long.
    pub lease: Span,
    /// Nodes record every step, and after the run all of them are replayed through the core.
    pub record: bool,
}

impl Default for ClusterPlan {
    fn default() -> Self {
        Self {
            kind: ClusterKind::Local,
            nodes: 5,
            settings: Settings::default(),
            tokens: 64,
            zones: 1,
            engine: Engine::Fjall,
            durability: Durability::Sync,
            tls: false,
            own_disks: false,
            binary: None,
            hosts: None,
            accept_new: false,
            lease: Span::secs(10),
            record: false,
        }
    }
}

/// The table `[cluster]` of a plan, key by key. Limits have none: runs keep to the default.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Table {
    kind: ClusterKind,
    nodes: u16,
    n: usize,
    r: usize,
    w: usize,
    quorum: Quorum,
    versioning: Versioning,
    read: ReadMode,
    anti_entropy: bool,
    partitioning: Partitioning,
    tokens: u16,
    zones: u16,
    engine: Engine,
    #[serde(skip_serializing_if = "is_sync")]
    durability: Durability,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    tls: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    own_disks: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    binary: Option<PathBuf>,
    hedge: Span,
    deadline: Span,
    ping: Span,
    handoff: Span,
    exchange: Span,
    #[serde(skip_serializing_if = "Option::is_none")]
    hosts: Option<String>,
    accept_new: bool,
    lease: Span,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    record: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde asks it")]
fn is_sync(durability: &Durability) -> bool {
    *durability == Durability::Sync
}

impl Default for Table {
    fn default() -> Self {
        ClusterPlan::default().into()
    }
}

impl From<ClusterPlan> for Table {
    fn from(plan: ClusterPlan) -> Self {
        let ClusterPlan { kind, nodes, settings, tokens, zones, engine, binary, .. } = plan;
        let ClusterPlan { durability, tls, own_disks, hosts, accept_new, lease, record, .. } = plan;
        let Settings {
            n,
            r,
            w,
            quorum,
            versioning,
            read,
            anti_entropy,
            partitioning,
            limits: _,
            timing,
        } = settings;
        Self {
            kind,
            nodes,
            n,
            r,
            w,
            quorum,
            versioning,
            read,
            partitioning,
            tokens,
            zones,
            engine,
            durability,
            tls,
            own_disks,
            binary,
            hedge: Span(timing.hedge),
            deadline: Span(timing.deadline),
            ping: Span(timing.ping),
            handoff: Span(timing.handoff),
            anti_entropy,
            exchange: Span(timing.exchange),
            hosts,
            accept_new,
            lease,
            record,
        }
    }
}

impl From<Table> for ClusterPlan {
    fn from(table: Table) -> Self {
        let Table { n, r, w, quorum, versioning, read, anti_entropy, partitioning, .. } = table;
        let timing = Timing {
            hedge: table.hedge.0,
            deadline: table.deadline.0,
            ping: table.ping.0,
            handoff: table.handoff.0,
            exchange: table.exchange.0,
        };
        let settings = Settings {
            quorum,
            versioning,
            read,
            anti_entropy,
            partitioning,
            timing,
            ..Settings::new([n, r, w])
        };
        Self {
            kind: table.kind,
            nodes: table.nodes,
            settings,
            tokens: table.tokens,
            zones: table.zones,
            engine: table.engine,
            durability: table.durability,
            tls: table.tls,
            own_disks: table.own_disks,
            binary: table.binary,
            hosts: table.hosts,
            accept_new: table.accept_new,
            lease: table.lease,
            record: table.record,
        }
    }
}
