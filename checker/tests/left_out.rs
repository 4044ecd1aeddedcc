//! What a store with siblings answers beside reads of registers is left out by those who judge registers:
//! it is counted, it excuses nothing else, and with deletes it is a reason to refuse.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use checker::budget::Budget;
use checker::cli::Spec;
use checker::history::History;
use checker::history::op::{Kind, Op};
use checker::verdict::{CheckReport, Verdict};
use serde_json::{Value, json};

const OF_REGISTERS: [&str; 10] = [
    "register",
    "cas-register",
    "kv",
    "sequential-register",
    "sequential-kv",
    "causal",
    "causal-convergent",
    "causal-memory",
    "sessions",
    "staleness",
];

/// What a process does: `f`, key, and the value put or returned.
type Does = (u64, &'static str, &'static str, Value);

fn history(does: &[Does]) -> History {
    let lines = does.iter().zip(1..).flat_map(|((process, f, key, value), at)| {
        let op = Op::invoke(*process, *f).key(*key).at(10 * at);
        let op = if *f == "put" { op.value(value.clone()) } else { op };
        let mut done = op.completed(Kind::Ok).at(10 * at + 5);
        done.value = Some(value.clone());
        [op, done]
    });
    History::numbered(lines.collect()).unwrap()
}

/// Each session guarantee has something to see here.
fn registers() -> Vec<Does> {
    vec![
        (0, "put", "k", json!("a")),
        (0, "get", "k", json!(["a"])),
        (0, "put", "l", json!("x")),
        (1, "get", "l", json!(["x"])),
        (1, "get", "k", json!(["a"])),
        (1, "get", "k", json!(["a"])),
        (1, "put", "m", json!("y")),
        (2, "get", "m", json!(["y"])),
        (2, "get", "l", json!(["x"])),
    ]
}

/// And two values side by side, and homes that are behind.
fn with_siblings() -> Vec<Does> {
    let mut does = registers();
    does.extend([
        (3, "home", "k", json!([])),
        (3, "put", "k", json!("b")),
        (3, "get", "k", json!(["a", "b"])),
        (3, "home", "k", json!(["a"])),
        (3, "put", "k", json!("c")),
        (3, "get", "k", json!(["c"])),
        (1, "home", "l", json!([])),
    ]);
    does
}

fn check(spec: &str, does: &[Does]) -> CheckReport {
    Spec::named(spec).unwrap().checker().check(&history(does), &Budget::UNLIMITED)
}

#[test]
fn what_is_no_read_of_a_register_is_left_out_and_counted() {
    for spec in OF_REGISTERS {
        let plain = check(spec, &registers());
        assert_eq!(plain.verdict(), Verdict::Valid, "{spec}: {plain:?}");
        assert!(plain.details.get("left_out").is_none(), "{spec}");
        let report = check(spec, &with_siblings());
        assert_eq!(report.verdict(), Verdict::Valid, "{spec}: {report:?}");
        let left_out = json!({"home_reads": 3, "gets_of_several_siblings": 1});
        assert_eq!(report.details.get("left_out"), Some(&left_out), "{spec}");
        assert_eq!(report.judged(), plain.judged() + 1, "{spec}: the last get alone");
    }
}

#[test]
fn what_is_left_out_excuses_nothing_else() {
    let mut does = with_siblings();
    // Its session has read what was put after it, and read that before.
    does.push((1, "get", "k", json!(["c"])));
    does.push((1, "get", "k", json!(["a"])));
    // CC lets a session take turns between values neither of which was put by who had read the other.
    for spec in OF_REGISTERS.iter().filter(|spec| !matches!(**spec, "staleness" | "causal")) {
        let report = check(spec, &does);
        assert_eq!(report.verdict(), Verdict::Invalid, "{spec}: {report:?}");
        assert!(report.details.contains_key("left_out"), "{spec}: {report:?}");
    }
}

#[test]
fn siblings_with_deletes_are_refused_as_registers() {
    let mut does = with_siblings();
    does.push((4, "delete", "k", Value::Null));
    for spec in OF_REGISTERS {
        let report = check(spec, &does);
        assert!(report.is_refused(), "{spec}: {report:?}");
        assert_eq!((report.verdict(), report.judged()), (Verdict::Unknown, 0), "{spec}");
    }
    // Without siblings a delete writes nothing, to those who know it.
    let mut does = registers();
    does.extend([(4, "delete", "k", Value::Null), (4, "get", "k", json!([]))]);
    for spec in ["register", "cas-register", "kv"] {
        let report = check(spec, &does);
        assert_eq!(report.verdict(), Verdict::Valid, "{spec}: {report:?}");
    }
}
