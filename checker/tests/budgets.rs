//! The search keeps its budgets: out of one is `unknown`, with how far it got.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::{Duration, Instant};

use checker::budget::{Budget, peak_bytes, resident_bytes};
use checker::causal::{Causal, Strength};
use checker::history::History;
use checker::history::op::{Kind, Op};
use checker::linearizable::{Linearizable, named};
use checker::sequential::Sequential;
use checker::sessions::Sessions;
use checker::spec::Counter;
use checker::verdict::{CheckReport, Checker, Verdict};

/// Adds of different powers of two, all open at once, and a read of a sum that needs the last of
/// them to be guessed: every subset is a state.
fn hard(adds: u64) -> History {
    let mut ops = vec![];
    let add = |at: u64| Op::invoke(at, "add").value(1_i64 << at);
    ops.extend((0..adds).map(add));
    let read = Op::invoke(adds, "read");
    ops.extend([read.clone(), read.completed(Kind::Ok).value(-1)]);
    ops.extend((0..adds).map(|at| add(at).completed(Kind::Ok)));
    History::numbered(ops).unwrap()
}

fn unknown(report: &CheckReport, why: &str) {
    assert_eq!(report.verdict(), Verdict::Unknown, "{report:?}");
    let reason = report.reason.as_deref().unwrap();
    assert!(reason.contains(why), "{reason}");
}

// One test, because memory is that of the whole process; and memory first, because its peak is
// that of the whole life of the process.
#[test]
fn time_and_memory_are_kept() {
    let history = hard(40);
    let checkers: [Box<dyn Checker>; 2] =
        [named("counter").unwrap(), Box::new(Sequential::new(Counter::default()))];
    let mut bound = 0;
    for checker in &checkers {
        bound = bound.max(resident_bytes().unwrap() + (96 << 20));
        let report = checker.check(&history, &Budget { time: None, memory: Some(bound) });
        unknown(&report, "out of memory");
        let peak = peak_bytes().unwrap();
        assert!(peak <= bound + (bound / 10), "{}: {peak} of {bound} bytes", checker.name());
    }
    for checker in &checkers {
        let budget = Budget { time: Some(Duration::from_millis(1500)), memory: None };
        let start = Instant::now();
        let report = checker.check(&history, &budget);
        let took = start.elapsed();
        unknown(&report, "out of time");
        // Ten in a hundred, and what a loaded machine takes away from a thread.
        assert!(took < Duration::from_millis(1650 + 1000), "{took:?}");
    }
    let report = Linearizable::new(Counter::default())
        .check(&hard(40), &Budget { time: Some(Duration::from_millis(50)), memory: None });
    unknown(&report, "events were explained");
    let report = named("counter").unwrap().check(&hard(10), &Budget::UNLIMITED);
    assert_eq!(report.verdict(), Verdict::Invalid, "{report:?}");
    too_many_open_calls_are_unknown_and_not_a_crash();
    too_many_sessions_are_unknown_and_not_a_crash();
}

/// A clock for each session has a place for each: of these they would take 6 GB.
fn too_many_sessions_are_unknown_and_not_a_crash() {
    let line = |process: u64| {
        let write = Op::invoke(process, "write").key("k").value(process);
        [write.clone(), write.completed(Kind::Ok)]
    };
    let read = Op::invoke(40_000, "read").key("k");
    let read = [read.clone(), read.completed(Kind::Ok).value(39_999)];
    let history = History::numbered((0..40_000).flat_map(line).chain(read).collect()).unwrap();
    let memory = resident_bytes().unwrap() + (256 << 20);
    let before = peak_bytes().unwrap();
    let checkers: [Box<dyn Checker>; 2] =
        [Box::new(Sessions), Box::new(Causal { strength: Strength::Memory })];
    for checker in checkers {
        let report = checker.check(&history, &Budget { time: None, memory: Some(memory) });
        unknown(&report, "out of memory");
        assert!(peak_bytes().unwrap() <= memory.max(before), "{}", checker.name());
    }
}

fn too_many_open_calls_are_unknown_and_not_a_crash() {
    let adds = (0..5000).map(|at| Op::invoke(at, "add").value(1));
    let read = Op::invoke(9999, "read");
    let ops = adds.chain([read.clone(), read.completed(Kind::Ok).value(7)]);
    let history = History::numbered(ops.collect()).unwrap();
    let report = named("counter").unwrap().check(&history, &Budget::UNLIMITED);
    unknown(&report, "open at once");
}
