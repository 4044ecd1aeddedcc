//! What stores that lose concurrent writes by design are held to.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::time::Duration;

use checker::budget::Budget;
use checker::history::op::Kind;
use checker::siblings::weaker::{Newest, Unrivalled};
use checker::verdict::{CheckReport, Checker, Verdict};
use common::Script;
use serde_json::{Value, json};

/// Clocks differ by one line and a half.
const SKEW: Duration = Duration::from_micros(1_500);

fn newest(script: Script) -> (Verdict, Vec<String>) {
    told(&Newest { skew: SKEW, strict: false }.check(&script.history(), &Budget::UNLIMITED))
}

fn unrivalled(script: Script) -> (Verdict, Vec<String>) {
    told(&Unrivalled.check(&script.history(), &Budget::UNLIMITED))
}

fn told(report: &CheckReport) -> (Verdict, Vec<String>) {
    let rules = report.details.get("counts").and_then(Value::as_object);
    (report.verdict(), rules.into_iter().flatten().map(|(rule, _)| rule.clone()).collect())
}

fn valid() -> (Verdict, Vec<String>) {
    (Verdict::Valid, vec![])
}

fn invalid(rule: &str) -> (Verdict, Vec<String>) {
    (Verdict::Invalid, vec![rule.to_owned()])
}

/// A put of 1 that ended so, and one of 2, which began long after, or too soon to tell.
fn two_puts(first: Kind, is_long: bool) -> Script {
    let mut script = Script::new();
    script.put(0, "k", 1, None, first);
    if is_long {
        script.get(9, "another", &[]);
    }
    script.put(1, "k", 2, None, Kind::Ok);
    script
}

fn read(mut script: Script, returned: &[Value]) -> Script {
    script.final_get(2, "k", "n1", returned);
    script
}

#[test]
fn of_two_writes_that_are_further_apart_than_clocks_the_later_is_the_newest() {
    let both = [json!(1), json!(2)];
    let cases = [
        (Kind::Ok, true, &both[1..], valid()),
        (Kind::Ok, true, &both[..1], invalid("newest")),
        (Kind::Ok, true, &both[..0], invalid("newest")),
        (Kind::Ok, true, &both[..], invalid("one")),
        // Their stamps may be in any order.
        (Kind::Ok, false, &both[..1], valid()),
        (Kind::Ok, false, &both[1..], valid()),
        (Kind::Ok, false, &both[..0], invalid("newest")),
        // It may have been written at any time.
        (Kind::Info, true, &both[..1], valid()),
        (Kind::Fail, true, &both[..1], invalid("integrity")),
    ];
    for (first, is_long, returned, expected) in cases {
        let script = read(two_puts(first, is_long), returned);
        assert_eq!(newest(script), expected, "{first:?} {is_long} {returned:?}");
    }
}

#[test]
fn a_delete_is_a_write_whose_value_is_nothing() {
    let deleted = || {
        let mut script = Script::new();
        script.put(0, "k", 1, None, Kind::Ok);
        let get = script.get(0, "k", &[json!(1)]);
        script.delete(0, "k", get, Kind::Ok);
        script
    };
    assert_eq!(newest(read(deleted(), &[])), valid());
    assert_eq!(newest(read(deleted(), &[json!(1)])), invalid("newest"));
    let mut script = deleted();
    script.get(9, "another", &[]);
    script.put(0, "k", 2, None, Kind::Ok);
    assert_eq!(newest(read(script, &[])), invalid("newest"));
}

#[test]
fn early_gets_are_judged_where_every_get_has_to_know_and_without_gets_nothing_is() {
    let early = || {
        let mut script = two_puts(Kind::Ok, true);
        script.get(2, "k", &[json!(1)]);
        script
    };
    let (verdict, _) = newest(early());
    assert_eq!(verdict, Verdict::Unknown);
    let all = Newest { skew: SKEW, strict: true }.check(&early().history(), &Budget::UNLIMITED);
    assert_eq!(told(&all), invalid("newest"));
    let (verdict, _) = newest(read(Script::new(), &[]));
    assert_eq!(verdict, Verdict::Unknown, "nothing was written");
}

/// 1 is written and read, and then written over, or twice by clients that do not know of each other.
fn overwritten(rivals: u64) -> Script {
    let mut script = Script::new();
    script.put(0, "k", 1, None, Kind::Ok);
    let get = script.get(0, "k", &[json!(1)]);
    for rival in 0..rivals {
        script.put(rival, "k", 2 + rival, Some(get), Kind::Ok);
    }
    script
}

#[test]
fn a_write_without_a_rival_is_kept_or_overwritten_by_what_read_it() {
    assert_eq!(unrivalled(read(overwritten(1), &[json!(2)])), valid());
    assert_eq!(unrivalled(read(overwritten(1), &[json!(1)])), invalid("lost"));
    assert_eq!(unrivalled(read(overwritten(1), &[])), invalid("lost"));
    let both = [json!(1), json!(2)];
    assert_eq!(unrivalled(read(overwritten(1), &both)), invalid("dominated"));
    // Of the rivals either may be lost, and what both read is not.
    for kept in [json!(2), json!(3)] {
        assert_eq!(unrivalled(read(overwritten(2), &[kept])), valid());
    }
    assert_eq!(unrivalled(read(overwritten(2), &[])), invalid("lost"));
}

#[test]
fn what_was_deleted_is_not_lost_and_of_rivals_alone_nothing_is_said() {
    let mut script = Script::new();
    script.put(0, "k", 1, None, Kind::Ok);
    let get = script.get(0, "k", &[json!(1)]);
    script.delete(0, "k", get, Kind::Info);
    assert_eq!(unrivalled(read(script, &[])), valid());
    let (verdict, _) = unrivalled(read(two_puts(Kind::Ok, true), &[json!(2)]));
    assert_eq!(verdict, Verdict::Unknown);
    let (verdict, _) = unrivalled(overwritten(1));
    assert_eq!(verdict, Verdict::Unknown, "no final get was answered");
}
