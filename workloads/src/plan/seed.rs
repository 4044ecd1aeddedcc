//! Every random choice of a run comes from the plan's seed, through streams that do not disturb
//! each other: a fault more or less must not change what the clients do.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// What a stream of random numbers is for.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// What the workload's worker of this number does.
    Worker(u32),
    /// When clients arrive in an open loop.
    Arrivals,
    /// Which faults happen, when and to whom.
    Nemesis,
    /// The jitter of the link with this number.
    Link(u32),
    /// What keys are called.
    Keys,
    /// How the ring is cut, and in which zones nodes stand.
    Ring,
    /// When disks sync.
    Disks,
}

/// The random numbers for one purpose.
#[must_use]
pub fn stream(seed: u64, purpose: Purpose) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (kind, index) = match purpose {
        Purpose::Worker(index) => (0, index),
        Purpose::Arrivals => (1, 0),
        Purpose::Nemesis => (2, 0),
        Purpose::Link(index) => (3, index),
        Purpose::Keys => (4, 0),
        Purpose::Ring => (5, 0),
        Purpose::Disks => (6, 0),
    };
    rng.set_stream(kind << 32 | u64::from(index));
    rng
}

/// A draw from the exponential distribution with mean 1: the time between independent arrivals.
pub fn exponential(rng: &mut ChaCha8Rng) -> f64 {
    // 1 - [0, 1) is never 0, so the logarithm is finite.
    -(1.0 - rng.random::<f64>()).ln()
}
