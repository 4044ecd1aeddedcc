//! Disks answer reads, writes or a sync with an error. The simulator's alone, so far.

use std::sync::Arc;

use dynamo_protocol::NodeId;
use dynamo_sim::World;
use dynamo_sim::disk::DiskFault;
use rand::Rng;

use crate::simulated::twin::{Drawn, Each, Luck, Twin};

/// As the simulator draws it.
pub(crate) const DRAWN: Drawn = Drawn::new("eio", |luck| {
    Some(Arc::new(match luck.rng.random_range(0..3) {
        0 => Each::disk(luck.some(), DiskFault::ReadsFail(times(luck))),
        1 => Each::disk(luck.some(), DiskFault::WritesFail(times(luck))),
        _ => Each::new(vec![luck.one], World::fail_sync, |_, _| {}),
    }))
})
.that_ends_processes();

/// The next so many writes of this disk fail.
pub(super) fn refusing(node: NodeId, times: u32) -> Arc<dyn Twin> {
    Arc::new(Each::disk(vec![node], DiskFault::WritesFail(times)))
}

/// How often a disk fails: a few times, or until it is mended.
fn times(luck: &mut Luck<'_>) -> u32 {
    if luck.rng.random_ratio(1, 4) { DiskFault::FOR_GOOD } else { luck.rng.random_range(1..20) }
}
