//! Whole nodes under virtual time: `dyno sim --shell`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::atomic::{AtomicU64, Ordering};

use dyno::simulated::shell::batch::difference;
use dyno::simulated::shell::crashes::{Which, sweep};
use dyno::simulated::shell::{Coverage, Setup, run};

/// A few of the seeds of a night: they keep what they acknowledge, and answer.
#[test]
fn whole_nodes_keep_what_they_acknowledge_and_answer() {
    let mut coverage = Coverage::default();
    for seed in 0..6 {
        let outcome = run(&Setup::drawn(seed), seed);
        assert_eq!(outcome.violations, [], "seed {seed}");
        assert_eq!(outcome.unknown, [], "seed {seed}");
        coverage.add(&outcome.coverage);
    }
    // Of so few seeds the common things can be asked for.
    let common = [coverage.gets, coverage.puts, coverage.blind_puts, coverage.deletes];
    assert!(common.iter().all(|count| *count > 0), "{coverage:?}");
    let trouble = [coverage.restarts, coverage.cuts, coverage.restarts_judged];
    assert!(trouble.iter().all(|count| *count > 0), "{coverage:?}");
}

/// A get is open at a node that is told to stop, its home falls silent, and another one is asked: with a
/// deadline of its own.
#[test]
fn a_get_that_has_to_begin_anew_is_answered_at_a_stop() {
    let outcome = run(&Setup::drawn(344), 344);
    assert!(outcome.coverage.open_at_stop > 0, "{:?}", outcome.coverage);
    assert_eq!(outcome.violations, []);
}

#[test]
fn a_seed_of_whole_nodes_runs_the_same_way_twice() {
    for seed in 6..9 {
        let setup = Setup::drawn(seed);
        let [one, other] = [(); 2].map(|()| run(&setup, seed));
        assert!(one.counts.ok > 0);
        assert_eq!(difference(&one, &other), None, "seed {seed}");
    }
}

#[test]
fn what_never_happened_is_said() {
    let coverage = Coverage { gets: 3, ..Coverage::default() };
    let never = coverage.never();
    assert!(!never.contains(&"gets".to_owned()) && never.contains(&"power_cuts".to_owned()));
    let mut sum = coverage;
    sum.add(&Coverage { gets: 2, stops: 1, ..Coverage::default() });
    assert_eq!((sum.gets, sum.stops, sum.kills), (5, 1, 0));
}

/// Some of the points of two seeds, one of which syncs after it has committed: a night has them all.
#[test]
fn nothing_acknowledged_is_lost_wherever_power_goes() {
    for (seed, works) in [(0, &["commit"][..]), (5, &["buffered-commit", "commit", "sync"])] {
        let swept = sweep(seed..seed + 1, Which::Every(23), 2, || false, |_, _| {});
        assert!(swept.violations.is_empty(), "{:?}", swept.violations);
        assert!(swept.unknown.is_empty(), "{:?}", swept.unknown);
        assert!(swept.points >= 48 && swept.acknowledged > 500, "{swept:?}");
        for work in works {
            assert_eq!(
                swept.rows.keys().filter(|row| row.starts_with(work)).count(),
                8,
                "{swept:?}"
            );
        }
    }
}

#[test]
fn a_point_that_no_disk_comes_to_is_no_pass() {
    let cut = "1000000/torn/all".parse().unwrap();
    let swept = sweep(0..1, Which::Only(cut), 1, || false, |_, _| {});
    assert_eq!((swept.points, swept.unreached, swept.violations.len()), (0, 1, 0));
    assert!(swept.unknown[0].what.contains("no such operation"), "{:?}", swept.unknown);
}

#[test]
fn a_sweep_that_is_stopped_leaves_out_the_seed_it_was_in() {
    let runs = AtomicU64::new(0);
    let stop = || runs.fetch_add(1, Ordering::Relaxed) >= 3;
    let swept = sweep(0..2, Which::Every(1), 1, stop, |_, _| {});
    assert_eq!((swept.points, swept.seeds, swept.left_out), (3, 0, 2));
}
