//! Changes of the membership: what the simulator draws beside faults where a cluster has hosts to spare.

use std::sync::Arc;

use dynamo_sim::World;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::twin::{Fault, Twin};

/// What changes of the membership are called among faults.
pub(super) const NAME: &str = "churn";

/// A change is asked for once in so many microseconds, about.
const GAP: u64 = 900_000;

/// Some change that the membership allows when its time comes.
#[derive(Debug)]
struct Churn {
    /// As of [`World::churn`].
    draws: [u32; 4],
}

/// The changes of a run of `time` microseconds.
pub(super) fn drawn(time: u64, rng: &mut ChaCha8Rng) -> Vec<Fault> {
    let mut changes = Vec::new();
    let mut at = rng.random_range(0..GAP);
    while at < time {
        changes.push(Fault::new(at, at, Arc::new(Churn { draws: rng.random() })));
        at += rng.random_range(GAP / 10..=2 * GAP);
    }
    changes
}

impl Twin for Churn {
    fn begin(&self, world: &mut World) -> bool {
        world.churn(self.draws)
    }

    fn end(&self, _world: &mut World) {}
}
