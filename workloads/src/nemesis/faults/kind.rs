//! What a kind of fault says of itself, all of it in one file.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::NodeId;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::hosts::agent::Means;
use crate::nemesis::draw::Draw;
use crate::nemesis::proof::{Site, Unproven};
use crate::plan::{Cut, FaultPlan, Plan, Shape, Wrong};
use crate::simulated::twin::Twin;

/// A kind of fault; a value of the type is one fault of it and whom it hits.
///
/// Proof is what the system and the network show, not that a call returned. [`crate::nemesis::proof::until`]
/// looks again until it is there; the nemesis bounds how long that may take.
pub(crate) trait Kind: Clone {
    /// What others have to know of it.
    const NATURE: Nature;

    /// The bounds of its own settings, which every plan has to keep to.
    fn bounds(_settings: &FaultPlan) -> Result<(), Wrong> {
        Ok(())
    }

    /// What a plan with it must have, beside what [`Self::NATURE`] calls for, each with its mend.
    fn check(plan: &Plan) -> Result<(), Wrong>;

    /// One that begins then, drawn from the plan and its seed; none, if there is nobody left to hit.
    fn draw(draw: &mut Draw<'_>, at: Duration) -> Option<Self>;

    /// The same fault of this node instead, if its kind is dealt targets ([`Draw::target`]).
    fn aimed_at(&self, _node: NodeId) -> Self {
        self.clone()
    }

    /// Whom it hits.
    fn whom(&self) -> Whom<'_>;

    /// The nodes whose processes are this fault's alone meanwhile: by default those that it stops.
    fn holds(&self) -> &[NodeId] {
        match self.whom() {
            Whom::Nodes(nodes) if Self::NATURE.stops => nodes,
            _ => &[],
        }
    }

    /// Brings it about; what proves that it is in force.
    async fn inject<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven>;

    /// Whether it holds them until it is healed, and not only until it is in force.
    fn holds_to_the_end(&self) -> bool {
        true
    }

    /// The nodes that have to run before it.
    fn needs(&self) -> &[NodeId] {
        self.holds()
    }

    /// Ends it; what proves that it is over. Also of one that was never proven to be in force.
    async fn heal<C: Cluster>(&self, site: &Site<'_, C>) -> Result<Value, Unproven>;

    /// What it is in a simulated cluster of these nodes.
    fn twin(&self, _nodes: &[NodeId]) -> Arc<dyn Twin> {
        unreachable!("Plan::check refuses what is not simulated: {:?}", Self::NATURE.unsimulated)
    }
}

/// What others have to know of a kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nature {
    /// The processes of the nodes it hits end or stand still.
    pub(crate) stops: bool,
    /// The disk counts as lost: the node that notices has no vote any more.
    pub(crate) loses_a_disk: bool,
    /// What it held is known to be on as many disks as before after a while, where homes compare what they
    /// hold.
    pub(crate) is_refilled: bool,
    /// The node has to notice that it lost something.
    pub(crate) is_noticed: bool,
    /// Members come, go or go on with another directory, one change at a time. It is healed when that is
    /// finished, however long it takes, and moves keys.
    pub(crate) changes_the_ring: bool,
    /// The nodes it hits are out of reach meanwhile: coverage asks for hints and repairs.
    pub(crate) silences: bool,
    /// The nodes it hits cannot have what is put meanwhile, and have the rest: coverage asks that it is
    /// brought to them.
    pub(crate) misses: bool,
    /// A write of the nodes it hits fails: they have to end, or to refuse.
    pub(crate) fails_writes: bool,
    /// What a host must have for it.
    pub(crate) needs: Needs,
    /// Why simulated clusters have no such fault, if they have none.
    pub(crate) unsimulated: Option<&'static str>,
}

/// What a host must have for a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// No more than a node: how it is done, human-readable.
    Node(&'static str),
    /// A node that was started with its fault hooks on: how it is done by them.
    Hooks(&'static str),
    /// A way to do something to links.
    Links(Means),
}

impl Needs {
    /// The means, if it is a fault of links.
    pub(crate) fn means(self) -> Option<Means> {
        match self {
            Self::Node(_) | Self::Hooks(_) => None,
            Self::Links(means) => Some(means),
        }
    }
}

impl Nature {
    /// Of one that stops processes, by this means.
    pub(crate) const fn of_processes(how: &'static str) -> Self {
        Self {
            stops: true,
            loses_a_disk: false,
            is_refilled: false,
            is_noticed: false,
            changes_the_ring: false,
            silences: true,
            misses: false,
            fails_writes: false,
            needs: Needs::Node(how),
            unsimulated: None,
        }
    }

    /// Of one after which a node has lost something of its disk, by this means.
    pub(crate) const fn of_disks(how: &'static str) -> Self {
        Self { loses_a_disk: true, is_noticed: true, ..Self::of_processes(how) }
    }

    /// Of one that changes the ring, by this means, and keeps everybody within reach.
    pub(crate) const fn of_the_ring(how: &'static str) -> Self {
        Self { stops: false, changes_the_ring: true, silences: false, ..Self::of_processes(how) }
    }

    /// Of one that nodes do to themselves when they are told to, and go on.
    pub(crate) const fn of_hooks(how: &'static str) -> Self {
        Self { stops: false, silences: false, needs: Needs::Hooks(how), ..Self::of_processes("") }
    }

    /// Of one that nodes do to themselves, and of which their processes end.
    pub(crate) const fn of_broken_disks(how: &'static str) -> Self {
        Self {
            fails_writes: true,
            misses: true,
            needs: Needs::Hooks(how),
            ..Self::of_processes("")
        }
    }

    /// Of one of the links, for which hosts need these means.
    pub(crate) const fn of_links(means: Means) -> Self {
        Self { stops: false, needs: Needs::Links(means), ..Self::of_processes("") }
    }
}

/// Whom a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom<'a> {
    /// Nodes.
    Nodes(&'a [NodeId]),
    /// Directed links, in a shape.
    Links(Shape, &'a [Cut]),
}

impl Whom<'_> {
    /// In the history.
    pub(crate) fn told(self) -> Value {
        match self {
            Self::Nodes(nodes) => {
                json!({ "nodes": nodes.iter().map(ToString::to_string).collect::<Vec<_>>() })
            }
            Self::Links(shape, cuts) => json!({ "shape": shape, "cuts": cuts }),
        }
    }
}

impl fmt::Display for Whom<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes(nodes) => {
                let nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
                f.write_str(&nodes.join(","))
            }
            Self::Links(shape, cuts) => write!(f, "{shape} ({} cuts)", cuts.len()),
        }
    }
}
