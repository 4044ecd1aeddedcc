//! What the invariants see of tombstones that go too early: with a clause left out, a world breaks one. Only
//! a build with seeded bugs has this test (docs/mutants.md).

#![cfg(feature = "mutants")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[allow(dead_code, reason = "not all of it is needed here")]
mod clients;

use clients::{rest, run};
use dynamo_protocol::Settings;
use dynamo_protocol::mutant::{Mutant, activate};
use dynamo_sim::trace::Cluster;

/// One test: a seeded bug is on for the whole process.
#[test]
fn tombstones_that_go_too_early_are_seen() {
    let settings = Settings::new([3, 2, 2]);
    let cluster = Cluster { settings, ..Cluster::new(5, [3, 2, 2]) };
    for mutant in Mutant::OF_TOMBSTONES {
        activate(Some(*mutant));
        let is_seen = |seed: &u64| {
            let (mut world, _) = run(cluster, *seed, 1, false);
            rest(&mut world);
            world.breaches().iter().any(|(_, breach)| breach.check == "collected-stays-gone")
        };
        let seen = (0..1000).find(is_seen);
        activate(None);
        println!("{}: seed {seen:?}", mutant.name());
        assert!(seen.is_some(), "{} lives", mutant.name());
    }
}
