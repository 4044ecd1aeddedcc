//! Members, and what of each of them decides who is home of what.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::NodeId;

/// What fails together: a data centre, a room, a rack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Zone(pub u16);

/// A member, its share of the ring, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The node.
    pub id: NodeId,
    /// Its virtual nodes: the load it takes is proportional to them.
    pub tokens: u16,
    /// Its zone. Those that have none are in one zone together.
    pub zone: Option<Zone>,
}

impl Member {
    /// More virtual nodes spread no better, and every node keeps those of all.
    pub const MOST_TOKENS: u16 = 1024;

    /// A member without a zone.
    #[must_use]
    pub const fn new(id: NodeId, tokens: u16) -> Self {
        Self { id, tokens, zone: None }
    }

    /// The same in `zone`, if it stands in one.
    #[must_use]
    pub const fn in_zone(self, zone: Option<Zone>) -> Self {
        Self { zone, ..self }
    }
}

impl Zone {
    /// The zone of `node`, of nodes that stand in `zones` of them in turn: n1 in z1, n2 in z2, and so on.
    /// Where there is but one, nobody has any.
    #[must_use]
    pub const fn in_turn(node: NodeId, zones: u16) -> Option<Self> {
        if zones > 1 { Some(Self(node.0.saturating_sub(1) % zones + 1)) } else { None }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "z{}", self.0)
    }
}
