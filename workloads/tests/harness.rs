//! The bugs a harness itself can have, H1 to H10 of the table of seedable bugs (docs/mutants.md), each
//! done to a real history of the simulator, and caught. Those that need a nemesis have their tests
//! beside it; docs/mutants.md names them all.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use checker::budget::Budget;
use checker::history::History;
use checker::history::op::{Kind, Op, Process};
use checker::history::wellformed::WellFormed;
use checker::siblings::Siblings;
use checker::siblings::cart::Cart;
use checker::verdict::{Checker, Verdict};
use dynamo_protocol::{NodeId, Skew};
use dyno::nemesis::faults::clock::skewed;
use dyno::simulated::happened::Happened;
use dyno::simulated::run::Options;
use dyno::simulated::twin::Fault;
use dyno::simulated::{Outcome, Scenario, run};

fn outcome(seed: u64) -> Outcome {
    let outcome = run(&Scenario::drawn(seed), seed, Options::default());
    assert_eq!(outcome.violations, [], "seed {seed} is sound before anything is done to it");
    Outcome { history: outcome.history.resolved(), ..outcome }
}

fn verdict(checker: &dyn Checker, ops: Vec<Op>) -> Verdict {
    let history = History::from_ops(ops).unwrap();
    checker.check(&history, &Budget::default()).verdict()
}

fn text(history: &History) -> Vec<String> {
    history.ops().iter().map(|op| serde_json::to_string(op).unwrap() + "\n").collect()
}

fn read(lines: &[String]) -> Result<History, String> {
    History::from_reader(lines.concat().as_bytes()).map_err(|error| error.to_string())
}

/// H1.
#[test]
fn a_timeout_that_is_logged_as_a_definite_failure_is_caught() {
    let caught = (0..40).any(|seed| {
        let mut ops = outcome(seed).history.ops().to_vec();
        for op in ops.iter_mut().filter(|op| op.f == "put" && op.kind == Kind::Info) {
            op.kind = Kind::Fail;
        }
        verdict(&Siblings::default(), ops) == Verdict::Invalid
    });
    assert!(caught);
}

/// H2.
#[test]
fn a_line_that_is_lost_repeated_or_moved_is_caught() {
    let lines = text(&outcome(1).history);
    assert!(read(&lines).is_ok());
    // The last line can be missing: that is what a killed run looks like, and it is told of.
    for at in (0..lines.len() - 1).step_by(lines.len() / 50) {
        let mut lost = lines.clone();
        lost.remove(at);
        assert!(read(&lost).is_err(), "line {at} is lost");
        let mut twice = lines.clone();
        twice.insert(at, lines[at].clone());
        assert!(read(&twice).is_err(), "line {at} is there twice");
        let mut moved = lines.clone();
        moved.swap(at, at + 1);
        assert!(read(&moved).is_err(), "line {at} changed its place");
    }
}

/// H3.
#[test]
fn final_reads_that_fail_are_no_empty_carts_and_no_pass() {
    let mut ops = outcome(1).history.ops().to_vec();
    for op in ops.iter_mut().filter(|op| op.is_final && op.kind == Kind::Ok) {
        op.kind = Kind::Fail;
        op.value = None;
    }
    assert_eq!(verdict(&Cart::default(), ops.clone()), Verdict::Unknown);
    assert_eq!(verdict(&Siblings::default(), ops), Verdict::Unknown);
}

/// H5.
#[test]
fn a_value_that_is_written_twice_is_caught() {
    let mut ops = outcome(1).history.ops().to_vec();
    let is_put = |op: &&mut Op| op.f == "put" && op.kind == Kind::Invoke;
    let first = ops.iter().find(|op| op.f == "put").unwrap().clone();
    let is_other = |op: &&mut Op| is_put(op) && op.key == first.key && op.index != first.index;
    let other = ops.iter_mut().find(is_other).unwrap();
    other.value = first.value.clone();
    let (process, index) = (other.process, other.index);
    let done = ops.iter_mut().find(|op| op.process == process && op.index > index).unwrap();
    done.value = first.value;
    assert_eq!(verdict(&WellFormed::default(), ops), Verdict::Invalid);
}

/// H7.
#[test]
fn a_process_that_goes_on_after_an_indeterminate_operation_is_caught() {
    let reused = (0..40).find_map(|seed| {
        let mut ops = outcome(seed).history.ops().to_vec();
        let info = ops.iter().find(|op| op.is_client() && op.kind == Kind::Info)?;
        let (index, process) = (info.index, info.process);
        let Process::Client(number) = process else { return None };
        // Its worker goes on as process `number` + so many workers: that one takes the old name.
        let next = ops.iter().filter(|op| op.index > index).find_map(|op| match op.process {
            Process::Client(next) if next > number && op.kind == Kind::Invoke => Some(op.process),
            _ => None,
        })?;
        for op in ops.iter_mut().filter(|op| op.process == next) {
            op.process = process;
        }
        Some(ops)
    });
    let error = History::from_ops(reused.expect("some seed has an unknown outcome")).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("retired") || error.contains("while its op"), "{error}");
}

/// H8.
#[test]
fn clocks_that_are_off_change_no_time_and_no_order_of_a_history() {
    let scenario = |faults| Scenario { faults, ..Scenario::drawn(3) };
    let off = |node, skew| Fault::new(1, u64::MAX, skewed(NodeId(node), skew));
    let steady = run(&scenario(vec![]), 3, Options::default()).history.resolved();
    let fast = Skew { offset_us: 3_600_000_000, rate_ppm: 3_000_000, ..Skew::NONE };
    let strobes = Skew { offset_us: -3_600_000_000, strobe_us: 50_000, ..Skew::NONE };
    let faults = vec![off(1, fast), off(2, strobes)];
    let jumping = run(&scenario(faults), 3, Options::default()).history.resolved();
    assert!(steady.len() > 100);
    assert_eq!(text(&steady), text(&jumping));
    let mut ops = steady.ops().to_vec();
    let begin_apart =
        |pair: &[Op]| pair[0].time < pair[1].time && pair.iter().all(|op| op.kind == Kind::Invoke);
    let at = ops.windows(2).position(begin_apart).unwrap();
    ops.swap(at, at + 1);
    assert!(History::numbered(ops).unwrap_err().to_string().contains("time goes back"));
}

/// H9.
#[test]
fn a_checker_without_time_does_not_say_valid() {
    // A short one is judged before the first look at the clock, and rightly.
    let histories = (0..8).map(|seed| outcome(seed).history);
    let history = histories.max_by_key(History::len).unwrap();
    let budget = Budget { time: Some(std::time::Duration::ZERO), memory: None };
    for checker in [&Cart::default() as &dyn Checker, &Siblings::default()] {
        assert_eq!(checker.check(&history, &budget).verdict(), Verdict::Unknown);
    }
}

/// H10: every hundredth seed of a batch runs twice; here it is done for each.
#[test]
fn a_seed_runs_the_same_way_twice() {
    for seed in 0..6 {
        let (first, second) = (outcome(seed), outcome(seed));
        assert!(first.hash.is_some());
        assert_eq!((first.hash, first.events), (second.hash, second.events), "seed {seed}");
        assert_eq!(text(&first.history), text(&second.history), "seed {seed}");
    }
}

/// Keys too: whatever a store may be asked for, its history has to say.
#[test]
fn a_history_with_every_key_there_is_reads_as_it_was_written() {
    let mut keys = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let history = outcome(seed).history;
        let lines = text(&history);
        assert_eq!(text(&read(&lines).unwrap()), lines, "seed {seed}");
        let mut packed = checker::formats::compact::Writer::new(Vec::new()).unwrap();
        history.iter().for_each(|op| packed.append(op).unwrap());
        let packed = packed.finish().unwrap();
        let mut ops = checker::formats::compact::Reader::new(packed.as_slice()).unwrap();
        for op in &history {
            assert_eq!(ops.next_op().unwrap().as_ref(), Some(op), "seed {seed}");
        }
        keys.extend(history.iter().filter_map(|op| op.key.clone()));
    }
    let has = |is: fn(&str) -> bool| keys.iter().any(|key| is(key));
    assert!(has(str::is_empty) && has(|key| key.len() > 1000) && has(|key| !key.is_ascii()));
    assert!(has(|key| key.contains('\0')) && has(|key| key.contains('\n')));
}

/// H11 and H12.
#[test]
fn seeds_without_crashes_or_rivals_say_what_never_happened() {
    let never = |change: fn(&mut Scenario)| {
        let mut happened = Happened::nothing();
        for seed in 0..40 {
            let mut scenario = Scenario::drawn(seed);
            change(&mut scenario);
            happened.add(&scenario, &run(&scenario, seed, Options::default()));
        }
        happened.never()
    };
    let (lost, rivals) = ("changes lost by crashes", "writes beside another of their key");
    let as_drawn = never(|_| ());
    assert!(!as_drawn.contains(lost) && !as_drawn.contains(rivals), "{as_drawn:?}");
    assert!(never(|scenario| scenario.faults.clear()).contains(lost));
    assert!(never(|scenario| scenario.workload.concurrency = 1).contains(rivals));
}
