//! Disks answer reads, writes or a sync with an error. The simulator's alone, so far.

use std::sync::Arc;

use dynamo_sim::World;
use dynamo_sim::disk::DiskFault;
use rand::Rng;

use crate::sim::twin::{Drawn, Each, Luck};

/// As the simulator draws it.
pub(crate) const DRAWN: Drawn = Drawn::new("eio", |luck| {
    Some(Arc::new(match luck.rng.random_range(0..3) {
        0 => Each::disk(luck.some(), DiskFault::ReadsFail(times(luck))),
        1 => Each::disk(luck.some(), DiskFault::WritesFail(times(luck))),
        _ => Each::new(vec![luck.one], World::fail_sync, |_, _| {}),
    }))
})
.that_ends_processes();

/// How often a disk fails: a few times, or until it is mended.
fn times(luck: &mut Luck<'_>) -> u32 {
    if luck.rng.random_ratio(1, 4) { DiskFault::FOR_GOOD } else { luck.rng.random_range(1..20) }
}
