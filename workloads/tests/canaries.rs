//! Plans that once made a false accusation, and stores that have to be accused: under virtual time, where
//! the machine is never too slow.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use checker::verdict::Verdict;
use dynamo_protocol::{Quorum, ReadMode, Versioning};
use workloads::interrupt::Interrupt;
use workloads::plan::{ClusterKind, FaultName, Plan, Span};
use workloads::run::{Order, run};
use workloads::verdict::Document;

fn judged(change: impl FnOnce(&mut Plan)) -> Document {
    let mut plan = Plan { time: Span::secs(4), seed: Some(5), ..Plan::default() };
    plan.cluster.kind = ClusterKind::Sim;
    change(&mut plan);
    let out = tempfile::tempdir().unwrap();
    let (command, interrupt) = ("dyno test", Interrupt::never());
    let order = Order { plan: &plan, seed: 5, command, out: out.path(), interrupt };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(run(&order)).unwrap().document
}

fn slow(delay: Duration) -> Document {
    judged(|plan| {
        plan.faults = vec![FaultName::Delay];
        plan.fault.delay = Span(delay);
        plan.fault.jitter = Span::secs(0);
    })
}

#[test]
fn what_slow_links_took_on_is_waited_for_and_not_held_against_the_store() {
    let document = slow(Duration::from_secs(90));
    assert_eq!(document.property, Verdict::Valid, "{:?}", document.reasons);
    assert_eq!(document.harness, Verdict::Valid, "{:?}", document.reasons);
}

#[test]
fn what_is_under_way_for_hours_leaves_the_harness_in_doubt_and_nobody_accused() {
    let document = slow(Duration::from_secs(36_000));
    assert_eq!(document.property, Verdict::Unknown, "{:?}", document.reasons);
    assert_eq!(document.harness, Verdict::Unknown, "{:?}", document.reasons);
    assert!(
        document.reasons.harness[0].contains("what slow links took on"),
        "{:?}",
        document.reasons
    );
}

#[test]
fn nodes_with_the_least_patience_there_is_are_not_accused() {
    for read in [ReadMode::Plain, ReadMode::Atomic] {
        for quorum in [Quorum::Sloppy, Quorum::Strict] {
            let document = judged(|plan| {
                plan.cluster.patience = Span::millis(1);
                plan.cluster.ping = Span::millis(5);
                (plan.cluster.read, plan.cluster.quorum) = (read, quorum);
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
        plan.cluster.versioning = Versioning::Lww;
        plan.faults = vec![FaultName::Partition];
    });
    assert_eq!(document.property, Verdict::Invalid);
    assert!(document.checks["cart"].details["lost_count"].as_u64().unwrap() > 0);
}
