//! Plans that once made a false accusation, and stores that have to be accused: under virtual time, where
//! the machine is never too slow.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use checker::verdict::Verdict;
use dynamo_protocol::{NodeId, Quorum, ReadMode, Versioning};
use dynamo_sim::network::Shape;
use dyno::interrupt::Interrupt;
use dyno::plan::{ClusterKind, FaultName, Plan, Span};
use dyno::run::verdict::Document;
use dyno::run::{Order, run};
use dyno::simulated::run::Options;
use dyno::simulated::twin::{Fault, Shaped};
use dyno::simulated::{Outcome, Scenario, run as run_simulated};

fn judged(change: impl FnOnce(&mut Plan)) -> Document {
    let mut plan = Plan { time: Span::secs(4), seed: Some(5), ..Plan::default() };
    plan.cluster.kind = ClusterKind::Sim;
    change(&mut plan);
    let out = tempfile::tempdir().unwrap();
    let (command, interrupt) = ("dyno test", Interrupt::never());
    let order = Order { plan: &plan, seed: 5, command, out: out.path(), page: true, interrupt };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(run(&order)).unwrap().document
}

/// A run in which the links of n1 are slow for a second: slower than a plan may ask for.
fn slow(delay: Duration) -> Outcome {
    let mut plan = Plan { time: Span::secs(4), faults: vec![], ..Plan::default() };
    plan.cluster.kind = ClusterKind::Sim;
    let mut scenario = Scenario::of_plan(&plan, 5);
    let delay = u64::try_from(delay.as_micros()).unwrap();
    let shape = Shape { delay, ..Shape::default() };
    let what = Shaped::links_of(&[NodeId(1)], &scenario.nodes(), shape);
    scenario.faults = vec![Fault::new(1_000_000, 2_000_000, what)];
    run_simulated(&scenario, 5, Options::default())
}

fn final_reads(outcome: &Outcome) -> usize {
    outcome.history.pairs().filter(|pair| pair.f() == "get" && pair.is_final()).count()
}

#[test]
fn what_slow_links_took_on_is_waited_for_and_not_held_against_the_store() {
    let outcome = slow(Duration::from_secs(90));
    assert_eq!(outcome.violations, []);
    assert!(outcome.doubts.is_empty(), "{:?}", outcome.doubts);
    assert!(outcome.simulated > Duration::from_secs(90) && final_reads(&outcome) > 0);
}

#[test]
fn what_is_under_way_for_hours_leaves_the_harness_in_doubt_and_nobody_accused() {
    let outcome = slow(Duration::from_secs(36_000));
    assert_eq!(outcome.violations, []);
    assert!(outcome.doubts[0].contains("what slow links took on"), "{:?}", outcome.doubts);
    assert_eq!(final_reads(&outcome), 0);
}

#[test]
fn nodes_with_the_least_patience_there_is_are_not_accused() {
    for read in [ReadMode::Plain, ReadMode::Atomic] {
        for quorum in [Quorum::Sloppy, Quorum::Strict] {
            let document = judged(|plan| {
                plan.cluster.settings.timing.hedge = Duration::from_millis(1);
                plan.cluster.settings.timing.ping = Duration::from_millis(5);
                (plan.cluster.settings.read, plan.cluster.settings.quorum) = (read, quorum);
                plan.workload.concurrency = 40;
                plan.workload.think = Span::millis(1);
            });
            assert_ne!(document.property, Verdict::Invalid, "{:?}", document.reasons);
        }
    }
}

#[test]
fn a_store_that_loses_is_accused_and_what_it_lost_is_named() {
    let document = judged(|plan| {
        plan.cluster.settings.versioning = Versioning::Lww;
        plan.faults = vec![FaultName::Partition];
    });
    assert_eq!(document.property, Verdict::Invalid);
    assert!(document.checks["cart"].details["lost_count"].as_u64().unwrap() > 0);
}
