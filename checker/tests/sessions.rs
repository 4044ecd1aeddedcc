//! A session guarantee is valid where some read had to see something by it, and unknown elsewhere.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use checker::budget::Budget;
use checker::history::History;
use checker::history::op::{Kind, Op};
use checker::sessions::Sessions;
use checker::verdict::{CheckReport, Checker, Verdict};
use serde_json::json;

/// Sessions, one operation after the other: `(session, "w" or "r", key, value)`.
fn check(ops: &[(u64, &str, &str, u64)]) -> CheckReport {
    let lines = ops.iter().flat_map(|&(session, f, key, value)| {
        let (f, argument) = if f == "w" { ("write", json!(value)) } else { ("read", json!(null)) };
        let op = Op::invoke(session, f).key(key).value(argument);
        [op.clone(), op.completed(Kind::Ok).value(value)]
    });
    let history = History::numbered(lines.collect()).unwrap();
    Sessions.check(&history, &Budget::UNLIMITED)
}

fn judged(report: &CheckReport) -> [(Option<&str>, u64); 4] {
    let names = ["read_your_writes", "monotonic_reads", "monotonic_writes", "writes_follow_reads"];
    names.map(|name| {
        let (verdicts, judged) =
            (&report.details["guarantees"], &report.details["judged_by_guarantee"]);
        (verdicts[name].as_str(), judged[name].as_u64().unwrap())
    })
}

#[test]
fn a_guarantee_by_which_nothing_had_to_be_seen_is_unknown() {
    let (valid, unknown) = (Some("valid"), (Some("unknown"), 0));
    let report = check(&[(0, "w", "k", 1), (0, "r", "k", 1)]);
    assert_eq!(judged(&report), [(valid, 1), unknown, unknown, unknown]);
    assert_eq!(report.verdict(), Verdict::Unknown);
    let reason = "monotonic reads: nothing was judged: no read had to see anything by it";
    assert_eq!(report.reason.as_deref(), Some(reason));
    // Another reads it twice.
    let report = check(&[(0, "w", "k", 1), (1, "r", "k", 1), (1, "r", "k", 1)]);
    assert_eq!(judged(&report), [unknown, (valid, 1), unknown, unknown]);
    // What one wrote to two keys, seen by another in that order.
    let writes = [(0, "w", "k", 1), (0, "w", "l", 2)];
    let report = check(&[&writes[..], &[(1, "r", "l", 2), (1, "r", "k", 1)]].concat());
    assert_eq!(judged(&report), [unknown, unknown, (valid, 1), unknown]);
    let follows = [(0, "w", "k", 1), (1, "r", "k", 1), (1, "w", "l", 2)];
    let report = check(&[&follows[..], &[(2, "r", "l", 2), (2, "r", "k", 1)]].concat());
    assert_eq!(judged(&report), [unknown, unknown, unknown, (valid, 1)]);
}

#[test]
fn all_four_are_valid_where_each_was_judged() {
    let report = check(&[
        (0, "w", "k", 1),
        (0, "w", "k", 2),
        (0, "r", "k", 2),
        (1, "r", "k", 2),
        (1, "w", "l", 3),
        (2, "r", "l", 3),
        (2, "r", "k", 2),
        (2, "r", "k", 2),
    ]);
    assert_eq!(report.verdict(), Verdict::Valid, "{report:?}");
    assert!(judged(&report).iter().all(|(_, count)| *count > 0), "{report:?}");
}
