//! The power of one host or of all is cut: what was not synced is gone. The simulator's alone, so far.

use std::sync::Arc;

use dynamo_sim::World;
use rand::Rng;

use crate::simulated::twin::{Drawn, Each};

/// As the simulator draws it.
pub(crate) const DRAWN: Drawn = Drawn::new("powercut", |luck| {
    let hosts = if luck.rng.random() { luck.nodes.to_vec() } else { luck.some() };
    Some(Arc::new(Each::ended(hosts, World::power_cut)))
})
.that_ends_processes();
