//! Everything that was found, a row each: for the table in which nothing is left out.

use std::collections::BTreeMap;

use checker::history::History;
use checker::verdict::{CheckReport, Verdict};
use serde::Serialize;
use serde_json::Value;

use crate::words::{cut, thing};

/// What was found wrong.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    /// The check.
    check: String,
    /// What is wrong.
    what: String,
    /// Where.
    key: String,
    /// When the first of its operations began, in nanoseconds.
    at: u64,
    /// The operations.
    ops: Vec<u64>,
}

/// Every finding that reports list, and how many more they only count.
pub(crate) fn rows(
    checks: &BTreeMap<String, CheckReport>,
    history: &History,
) -> (Vec<Row>, BTreeMap<String, u64>) {
    let mut rows = Vec::new();
    let mut unlisted = BTreeMap::new();
    for (check, report) in checks.iter().filter(|(_, r)| r.verdict() == Verdict::Invalid) {
        let before = rows.len() as u64;
        for (list, what) in [("lost", "lost"), ("unreadable", "cannot be read")] {
            rows.extend(list_of(report, list).iter().map(|lost| item(check, what, lost, history)));
        }
        for few in list_of(report, "under_replicated") {
            // What is on no home at all is told as lost.
            if few["homes"].as_u64() != Some(0) {
                rows.push(item(check, "on fewer homes than promised", few, history));
            }
        }
        rows.extend(list_of(report, "violations").iter().map(|found| {
            let rule = found["rule"].as_str().unwrap_or_default();
            let what = found["what"].as_str().unwrap_or_default();
            let ops = found["ops"].as_array().into_iter().flatten().filter_map(Value::as_u64);
            let key = found["key"].as_str().unwrap_or_default();
            row(check, format!("{}: {what}", rule.replace('_', " ")), key, ops.collect(), history)
        }));
        let listed = rows.len() as u64 - before;
        let counted = counted(report);
        if counted > listed {
            unlisted.insert(check.clone(), counted - listed);
        }
    }
    (rows, unlisted)
}

fn counted(report: &CheckReport) -> u64 {
    let number = |name: &str| report.details.get(name).and_then(Value::as_u64).unwrap_or(0);
    let by_rule = report.details.get("counts").and_then(Value::as_object);
    let by_rule: u64 =
        by_rule.into_iter().flat_map(|rules| rules.values()).filter_map(Value::as_u64).sum();
    number("lost_count") + number("unreadable_count") + by_rule
}

fn list_of<'a>(report: &'a CheckReport, name: &str) -> &'a [Value] {
    report.details.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn item(check: &str, what: &str, lost: &Value, history: &History) -> Row {
    let key = lost["key"].as_str().unwrap_or_default();
    let named = ["add", "overwritten_by", "first_lacking"].iter();
    let mut ops: Vec<u64> = named.filter_map(|name| lost[*name].as_u64()).collect();
    ops.extend(lost["reads"].as_array().and_then(|reads| reads.first()?.as_u64()));
    ops.dedup();
    row(check, format!("{} {what}", thing(&lost["item"])), key, ops, history)
}

fn row(check: &str, what: String, key: &str, ops: Vec<u64>, history: &History) -> Row {
    let begun = ops.iter().filter_map(|op| Some(history.pair(*op)?.invoke.time));
    let at = begun.min().unwrap_or(0);
    Row { check: check.to_owned(), what, key: cut(key.to_owned(), 80), at, ops }
}
