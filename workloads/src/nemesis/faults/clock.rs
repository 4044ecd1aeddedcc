//! The wall clock of a host is off. The simulator's alone, so far.

use std::sync::Arc;

use dynamo_protocol::NodeId;
use dynamo_sim::World;
use rand::Rng;

use crate::simulated::twin::{Drawn, Each, Twin};

/// As the simulator draws it.
pub(crate) const DRAWN: Drawn = Drawn::new("clock", |luck| {
    Some(off_by(luck.one, luck.rng.random_range(-2_000_000..2_000_000)))
});

/// The clock of this node's host is off by so many microseconds.
#[must_use]
pub fn off_by(node: NodeId, micros: i64) -> Arc<dyn Twin> {
    let skew = move |world: &mut World, node| world.clock(node, micros);
    Arc::new(Each::new(vec![node], skew, |world, node| world.clock(node, 0)))
}
