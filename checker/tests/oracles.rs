//! Every checker agrees with an oracle that tries everything.
//!
//! `FUZZ_HISTORIES=10000000 cargo test --release -p checker --test oracles` is the long mode.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use checker::availability::Availability;
use checker::budget::Budget;
use checker::causal::{Causal, Strength};
use checker::collections::{CounterBounds, SetFull, TotalQueue, UniqueIds};
use checker::convergence::Convergence;
use checker::siblings::Siblings;
use checker::siblings::cart::Cart;
use checker::staleness::Staleness;
use checker::verdict::{Checker, Verdict};
use common::fuzz::{agree, histories};
use common::register_oracle::{self, Only};
use common::{cart_oracle, more_oracles, sibling_oracle, simple_oracle};
use rand::prelude::*;

#[test]
fn siblings_final() {
    let checker = |rng: &mut StdRng| Siblings { converged: rng.random(), ..Siblings::default() };
    agree("siblings, final", checker, sibling_oracle::generate, sibling_oracle::holds);
}

#[test]
fn siblings_strict_with_sessions() {
    let checker = |rng: &mut StdRng| Siblings {
        converged: false,
        strict: rng.random(),
        sessions: rng.random(),
    };
    agree("siblings, full", checker, sibling_oracle::generate, sibling_oracle::holds);
}

#[test]
fn carts() {
    agree("cart", |_| Cart::default(), cart_oracle::generate, cart_oracle::holds);
}

#[test]
fn session_guarantees() {
    for (name, ops) in [
        ("read_your_writes", 8),
        ("monotonic_reads", 10),
        ("monotonic_writes", 13),
        ("writes_follow_reads", 15),
        ("together", 7),
    ] {
        let generate = |rng: &mut StdRng| register_oracle::generate_wild(rng, ops);
        agree(name, |_| Only(name), generate, register_oracle::guarantees_hold);
    }
}

#[test]
fn causal_consistency() {
    for strength in [Strength::Causal, Strength::Convergent, Strength::Memory] {
        let name = format!("{strength:?}");
        let oracle = register_oracle::causal_holds;
        agree(&name, |_| Causal { strength }, register_oracle::generate, oracle);
    }
}

#[test]
fn sets() {
    let checker = |rng: &mut StdRng| SetFull { linearizable: rng.random() };
    agree("set-full", checker, simple_oracle::sets, simple_oracle::set_holds);
}

#[test]
fn counters() {
    agree(
        "counter-bounds",
        |_| CounterBounds,
        simple_oracle::counters,
        simple_oracle::counter_holds,
    );
}

#[test]
fn queues() {
    agree("total-queue", |_| TotalQueue, more_oracles::queues, more_oracles::queue_holds);
}

#[test]
fn ids() {
    agree("unique-ids", |_| UniqueIds, more_oracles::ids, more_oracles::ids_differ);
}

#[test]
fn convergence() {
    agree("convergence", |_| Convergence, more_oracles::final_reads, more_oracles::all_agree);
}

#[test]
fn version_lag() {
    let checker = |rng: &mut StdRng| {
        let most_lag = Some(u64::from(rng.random_bool(0.3)));
        Staleness { most_lag, ..Staleness::default() }
    };
    agree("version lag", checker, more_oracles::lagging, more_oracles::lag_holds);
}

#[test]
fn staleness_in_time_is_as_defined() {
    let (mut fresh, mut stale) = (0, 0);
    for seed in 0..histories() / 4 {
        let history = simple_oracle::registers(&mut StdRng::seed_from_u64(seed));
        let report = Staleness::default().check(&history, &Budget::UNLIMITED);
        let expected = more_oracles::lag_and_staleness(&history);
        let found = report.details.get("t_staleness_ms").and_then(|ms| ms["max"].as_f64());
        assert_eq!(found.is_some(), expected.is_some(), "seed {seed}: {report:?}");
        let (Some(found), Some((_, expected))) = (found, expected) else { continue };
        assert_eq!((found * 1e6).round() as u64, expected, "seed {seed}: {report:?}");
        if expected == 0 { fresh += 1 } else { stale += 1 }
    }
    println!("t-staleness: {fresh} times zero, {stale} times more, 0 disagreements");
    assert!(fresh * 10 >= stale * 3 && stale * 10 >= fresh * 3, "one answer is too rare");
}

#[test]
fn availability() {
    let checker = |rng: &mut StdRng| Availability {
        least_ok: rng.random_bool(0.7).then(|| rng.random_range(0.2..0.8)),
        p999_ms: rng.random_bool(0.7).then(|| rng.random_range(3..10) as f64 / 1e6),
    };
    agree("availability", checker, more_oracles::under_faults, more_oracles::available);
}

#[test]
fn delta_is_the_least_shift_that_makes_a_history_linearizable() {
    let (mut zero, mut more, mut never) = (0, 0, 0);
    let base: u64 = std::env::var("FUZZ_SEED").map_or(0, |seed| seed.parse().unwrap());
    for seed in base..base + histories() / 4 {
        let history = simple_oracle::registers(&mut StdRng::seed_from_u64(seed));
        let report = Staleness::default().check(&history, &Budget::UNLIMITED);
        if report.verdict() == Verdict::Unknown {
            continue;
        }
        let Some(delta) = report.details["delta_ns"].as_u64() else {
            never += 1;
            assert!(!simple_oracle::linearizable(&history, u64::MAX), "seed {seed}");
            continue;
        };
        assert!(simple_oracle::linearizable(&history, delta), "seed {seed}: {delta} is too little");
        if delta > 0 {
            more += 1;
            assert!(!simple_oracle::linearizable(&history, delta - 1), "seed {seed}: {delta}");
        } else {
            zero += 1;
        }
    }
    println!("delta: {zero} times zero, {more} times more, {never} times never");
    assert!(zero * 10 >= more * 3 && more * 10 >= zero * 3, "one answer is too rare");
}
