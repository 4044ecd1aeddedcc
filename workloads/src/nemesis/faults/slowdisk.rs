//! Syncs of a disk take many times as long. The simulator's alone, so far.

use std::sync::Arc;

use dynamo_sim::World;
use rand::Rng;

use crate::simulated::twin::{Drawn, Each};

/// As the simulator draws it.
pub(crate) const DRAWN: Drawn = Drawn::new("slowdisk", |luck| {
    let times = luck.rng.random_range(10..1_000);
    let slow = move |world: &mut World, node| world.slow_disk(node, times);
    Some(Arc::new(Each::new(vec![luck.one], slow, |world, node| world.slow_disk(node, 1))))
});
