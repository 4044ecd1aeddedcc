//! The agreement on memberships, rings that change and tombstones that go, with a rule left out: each is
//! found, and in how many steps. Only a build with seeded bugs has this test (docs/mutants.md).

#![cfg(feature = "mutants")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use dynamo_protocol::mutant::{Mutant, activate};
use model::Budget;
use model::mutants::{Searched, trials};

const STEPS: &[(&str, usize)] = &[
    // Rings that change.
    ("hint-not-adopted", 2),
    ("stray-unconfirmed", 1),
    ("stray-to-one", 7),
    ("grown-stray-dropped", 11),
    ("compared-in-any-epoch", 14),
    ("offer-outlives-epoch", 9),
    // The same in strict clusters.
    ("old-epoch-served", 10),
    ("newcomer-votes", 3),
    ("newcomer-acks", 4),
    ("filled-by-fewer", 7),
    ("filled-by-uncounted", 5),
    // Tombstones.
    ("tombstone-unasked", 8),
    ("settled-at-homes", 14),
    ("settled-while-open", 11),
    ("old-era-stored", 12),
    // The register.
    ("promise-unsaved", 11),
    ("vote-unsaved", 11),
    ("wiped-votes", 11),
    ("highest-vote-ignored", 10),
    ("majority-less-one", 2),
    ("epoch-unsaved", 6),
    ("votes-once", 3),
    ("ballot-reused", 13),
    ("gone-joins", 11),
    ("forced-over-vote", 7),
];

fn is_of_membership(searched: &Searched) -> bool {
    match searched {
        Searched::Nodes(spec) => !spec.shifts.is_empty() || spec.faults.exchanges > 0,
        Searched::Registers(_) => true,
    }
}

/// One test: a seeded bug is on for the whole process.
#[test]
fn every_rule_that_is_left_out_is_found() {
    let mut found = Vec::new();
    for trial in trials().into_iter().filter(|trial| is_of_membership(&trial.searched)) {
        let mutant = Mutant::ALL.iter().find(|mutant| mutant.name() == trial.mutant).copied();
        activate(mutant);
        let trialled = trial.run(&Budget::NONE).unwrap();
        activate(None);
        assert!(mutant.is_some() && trialled.killed_by.is_some(), "{} lives", trial.mutant);
        for (at, step) in trialled.trace.iter().enumerate() {
            println!("{}: {}. {step}", trial.mutant, at + 1);
        }
        found.push((trial.mutant, trialled.steps));
    }
    assert_eq!(found, STEPS);
}
