//! The faults that plans can name: one kind, one file.
//!
//! A file has all of its kind: what a plan with it must have, how it is drawn, how it is injected, healed and
//! proven, what coverage asks for it, and its twin in the simulator, with how that is drawn there. [`table`]
//! lists them. What several of them do is beside this folder: processes, disks, links. `meddled` is what the
//! three faults of messages have in common.

pub(crate) mod bitflip;
pub mod clock;
mod corrupt;
pub(crate) mod delay;
pub(crate) mod diskfull;
mod duplicate;
pub(crate) mod eio;
pub(crate) mod join;
pub(crate) mod kill;
pub(crate) mod kind;
pub(crate) mod leave;
pub(crate) mod losehints;
pub(crate) mod loss;
mod meddled;
pub(crate) mod partition;
pub(crate) mod pause;
pub(crate) mod powercut;
mod rate;
mod reorder;
pub(crate) mod replace;
mod reset;
pub(crate) mod rollback;
pub(crate) mod slowdisk;
pub(crate) mod table;
mod truncate;
pub(crate) mod wipe;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dynamo_protocol::NodeId;
use serde_json::Value;

use self::kind::{Kind, Nature, Whom};
use super::draw::Draw;
use super::proof::{Site, Unproven};
use crate::cluster::Cluster;
use crate::plan::{FaultName, FaultPlan, Plan, Wrong};
use crate::simulated::twin::Twin;

/// The enum of all kinds, and for each verb of [`Kind`] the kind that does it.
macro_rules! kinds {
    ($($(#[$doc:meta])* $file:ident: $Kind:ident,)*) => {
        $(pub use $file::$Kind;)*

        /// A fault and whom it hits.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Fault {
            $($(#[$doc])* $Kind($Kind),)*
        }

        $(impl From<$Kind> for Fault {
            fn from(fault: $Kind) -> Self {
                Self::$Kind(fault)
            }
        })*

        impl FaultName {
            pub(crate) fn nature(self) -> Nature {
                match self { $(Self::$Kind => <$Kind as Kind>::NATURE,)* }
            }

            pub(crate) fn bounds(self, settings: &FaultPlan) -> Result<(), Wrong> {
                match self { $(Self::$Kind => $Kind::bounds(settings),)* }
            }

            pub(crate) fn check(self, plan: &Plan) -> Result<(), Wrong> {
                match self { $(Self::$Kind => $Kind::check(plan),)* }
            }

            pub(crate) fn draw(self, draw: &mut Draw<'_>, at: Duration) -> Option<Fault> {
                match self { $(Self::$Kind => $Kind::draw(draw, at).map(Fault::$Kind),)* }
            }
        }

        impl Fault {
            /// Its kind.
            #[must_use]
            pub fn name(&self) -> FaultName {
                match self { $(Self::$Kind(_) => FaultName::$Kind,)* }
            }

            pub(crate) fn aimed_at(&self, node: NodeId) -> Self {
                match self { $(Self::$Kind(fault) => Self::$Kind(fault.aimed_at(node)),)* }
            }

            pub(crate) fn whom(&self) -> Whom<'_> {
                match self { $(Self::$Kind(fault) => fault.whom(),)* }
            }

            /// The nodes whose processes are this fault's alone meanwhile.
            #[must_use]
            pub fn holds(&self) -> &[NodeId] {
                match self { $(Self::$Kind(fault) => fault.holds(),)* }
            }

            pub(crate) fn holds_to_the_end(&self) -> bool {
                match self { $(Self::$Kind(fault) => fault.holds_to_the_end(),)* }
            }

            pub(crate) fn needs(&self) -> &[NodeId] {
                match self { $(Self::$Kind(fault) => fault.needs(),)* }
            }

            pub(crate) async fn inject<C: Cluster>(
                &self,
                site: &Site<'_, C>,
            ) -> Result<Value, Unproven> {
                match self { $(Self::$Kind(fault) => fault.inject(site).await,)* }
            }

            pub(crate) async fn heal<C: Cluster>(
                &self,
                site: &Site<'_, C>,
            ) -> Result<Value, Unproven> {
                match self { $(Self::$Kind(fault) => fault.heal(site).await,)* }
            }

            pub(crate) fn twin(&self, nodes: &[NodeId]) -> Arc<dyn Twin> {
                match self { $(Self::$Kind(fault) => fault.twin(nodes),)* }
            }
        }
    };
}

table::catalogue!(kinds);

impl Fault {
    /// Whom it hits, as the history has it.
    #[must_use]
    pub fn told(&self) -> Value {
        self.whom().told()
    }

    /// The nodes that have to be members before it.
    #[must_use]
    pub fn of_members(&self) -> Vec<NodeId> {
        match self.whom() {
            Whom::Nodes(_) if matches!(self, Self::Join(_)) => Vec::new(),
            Whom::Nodes(nodes) => nodes.to_vec(),
            Whom::Links(_, cuts) => cuts.iter().flat_map(|cut| [cut.from, cut.to]).collect(),
        }
    }

    /// The nodes whose processes it stops.
    #[must_use]
    pub fn stops(&self) -> &[NodeId] {
        match self.whom() {
            Whom::Nodes(nodes) if self.name().nature().stops => nodes,
            _ => &[],
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name(), self.whom())
    }
}
