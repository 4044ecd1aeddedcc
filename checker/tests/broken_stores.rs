//! Stores with planted faults are found out, for the right reason; the same store unbroken is not.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use checker::budget::Budget;
use checker::siblings::Siblings;
use checker::siblings::cart::Cart;
use checker::verdict::{CheckReport, Checker, Verdict};
use common::store::{Bug, Setup, run};

const SEEDS: u64 = 60;

fn reports(checker: &dyn Checker, setup: Setup) -> Vec<CheckReport> {
    (0..SEEDS)
        .map(|seed| checker.check(&run(Setup { seed, ..setup }), &Budget::UNLIMITED))
        .collect()
}

fn all_valid(checker: &dyn Checker, setup: Setup) {
    for (seed, report) in reports(checker, setup).into_iter().enumerate() {
        assert_eq!(report.verdict(), Verdict::Valid, "seed {seed} of {setup:?}: {report:?}");
    }
}

/// The share of seeds in which one of `rules` was broken; no other verdict than valid otherwise.
fn caught(checker: &dyn Checker, setup: Setup, rules: &[&str]) -> f64 {
    let mut caught = 0;
    for report in reports(checker, setup) {
        if report.verdict() == Verdict::Invalid {
            let counts = &report.details["counts"];
            let named = rules.iter().any(|rule| counts.get(rule).is_some());
            assert!(named, "{setup:?} is caught for the wrong reason: {report:?}");
            assert!(!report.witness().is_empty());
            caught += 1;
        }
    }
    caught as f64 / SEEDS as f64
}

#[test]
fn a_store_without_faults_is_valid() {
    for converge in [false, true] {
        for deletes in [false, true] {
            let setup = Setup { converge, deletes, info: 20, ..Setup::default() };
            all_valid(&Siblings { converged: converge, ..Siblings::default() }, setup);
        }
        let carts = Setup { carts: true, converge, ..Setup::default() };
        all_valid(&Siblings { converged: converge, ..Siblings::default() }, carts);
        all_valid(&Cart { copies: Some(2), enforce_copies: true }, carts);
    }
}

#[test]
fn planted_faults_break_the_sibling_rules_they_should() {
    let check = |bug, rules: &[&str], at_least: f64| {
        let deletes = bug == Bug::ForgetTombstone;
        // Many keys, so that a value brought back is not overwritten before the end.
        let keys = if deletes { 12 } else { 2 };
        let setup = Setup { bug, deletes, keys, steps: 400, ..Setup::default() };
        let share = caught(&Siblings::default(), setup, rules);
        assert!(share >= at_least, "{bug:?} was caught in {share} of the seeds only");
    };
    check(Bug::DropSibling, &["V2"], 0.9);
    check(Bug::KeepDominated, &["V1"], 0.9);
    check(Bug::BlindOverwrite, &["V2"], 0.9);
    check(Bug::LoseHint, &["V2"], 0.9);
    check(Bug::ForgetTombstone, &["V5", "V1", "V2"], 0.1);
    check(Bug::FailedAppears, &["V0"], 0.5);
    check(Bug::Corrupt, &["V0"], 0.9);
}

#[test]
fn a_read_of_too_few_replicas_is_stale_in_strict_mode() {
    // Every put writes through a quorum before it is acknowledged, and reads ask a quorum.
    let setup = Setup { deletes: true, ..Setup::default() };
    all_valid(&Siblings { sessions: false, ..Siblings::strict() }, setup);
    let stale = Setup { bug: Bug::StaleRead, ..setup };
    assert!(caught(&Siblings::strict(), stale, &["V2", "V4", "V5"]) > 0.5);
    let sessions = Siblings { sessions: true, ..Siblings::default() };
    assert!(caught(&sessions, stale, &["V4"]) > 0.3);
}

#[test]
fn planted_faults_lose_cart_items() {
    for bug in [Bug::DropSibling, Bug::BlindOverwrite, Bug::LoseHint] {
        let setup = Setup { bug, carts: true, ..Setup::default() };
        let invalid = reports(&Cart::default(), setup).into_iter().filter(|report| {
            report.verdict() == Verdict::Invalid && report.details["lost_count"] != 0
        });
        let invalid = invalid.count();
        assert!(invalid as u64 > SEEDS / 2, "{bug:?} lost items in {invalid} seeds only");
    }
    let setup = Setup { bug: Bug::Corrupt, carts: true, ..Setup::default() };
    assert!(caught(&Cart::default(), setup, &["integrity"]) > 0.6);
}
