//! A ring that changes with a rule left out: each is found, and in how many steps. Only a build with seeded
//! bugs has this test (docs/mutants.md).

#![cfg(feature = "mutants")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use dynamo_protocol::mutant::{Mutant, activate};
use model::Budget;
use model::mutants::{Searched, trials};

const STEPS: &[(&str, usize)] = &[
    ("hint-not-adopted", 2),
    ("stray-unconfirmed", 1),
    ("stray-to-one", 7),
    ("grown-stray-dropped", 11),
    ("compared-in-any-epoch", 14),
    ("offer-outlives-epoch", 9),
];

/// One test: a seeded bug is on for the whole process.
#[test]
fn every_rule_of_a_change_that_is_left_out_is_found() {
    let mut found = Vec::new();
    for trial in trials() {
        let Searched::Nodes(spec) = &trial.searched else { continue };
        if spec.shifts.is_empty() {
            continue;
        }
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
