//! Did the replicas come to agree? All final reads of a key, homes and quorums, return one set.
//!
//! This is stronger than the sibling rules ask of final reads ([`crate::siblings`], V3): it also
//! wants what indeterminate writes left to be everywhere or nowhere. It is what anti-entropy
//! promises once it has run to its end. Reads that fail leave a key undecided.
//!
//! Gets repair what they find stale. So where a key was finally got, reads of its homes that began
//! before the last of these gets had ended are from before that, and left out.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::consistency::left_out::is_home;
use crate::history::{History, Outcome, Pair};
use crate::judge::budget::Budget;
use crate::judge::finding::{Findings, counted, shown, shown_all};
use crate::judge::verdict::{CheckReport, Checker, Verdict};

/// The checker.
#[derive(Clone, Copy, Debug, Default)]
pub struct Convergence;

impl Checker for Convergence {
    fn name(&self) -> &str {
        "convergence"
    }

    fn operations(&self) -> Option<&'static [&'static str]> {
        Some(&["get", "home", "read"])
    }

    fn check(&self, history: &History, budget: &Budget) -> CheckReport {
        let mut meter = budget.start();
        let mut keys: BTreeMap<&str, Vec<Pair<'_>>> = BTreeMap::new();
        let reads = history.pairs().filter(|pair| matches!(pair.f(), "get" | "home" | "read"));
        for pair in reads.filter(Pair::is_final) {
            keys.entry(pair.key().unwrap_or("")).or_default().push(pair);
        }
        let mut findings = Findings::default();
        let (mut compared, mut undecided) = (0, 0);
        let mut left_out = 0;
        for (key, reads) in &mut keys {
            left_out += leave_out_homes_before_gets(reads);
            if let Err(exhausted) = meter.tick() {
                return CheckReport::unknown(exhausted.to_string());
            }
            // The last answer of each place counts: earlier ones may have been before repair.
            let mut last: BTreeMap<(&str, Option<&str>), Option<Pair<'_>>> = BTreeMap::new();
            for read in &*reads {
                let answer = (read.outcome() == Outcome::Ok).then_some(*read);
                let place = last.entry((read.f(), read.node())).or_default();
                *place = answer.or(*place);
            }
            undecided += usize::from(last.values().any(Option::is_none));
            let answers: Vec<Pair<'_>> = last.into_values().flatten().collect();
            // A single answer agrees with itself, which says nothing.
            compared += if answers.len() > 1 { answers.len() } else { 0 };
            let differs = answers.iter().find(|read| set(read) != set(&answers[0]));
            if let Some(other) = differs {
                let said = |read: &Pair<'_>| {
                    let place = read.node().map_or_else(String::new, |node| format!(" of {node}"));
                    let value = match read.result() {
                        Some(Value::Array(all)) => shown_all(all),
                        Some(value) => shown(value),
                        None => "nothing".to_owned(),
                    };
                    format!("{} #{}{place} returned {value}", read.f(), read.name())
                };
                let what =
                    format!("{key:?} did not converge: {}, {}", said(&answers[0]), said(other));
                findings.add("diverged", key, vec![answers[0].name(), other.name()], what);
            }
        }
        let mut report = findings.report(compared, "no key was finally read in two places");
        if report.verdict() == Verdict::Valid && undecided > 0 {
            let keys = counted(undecided, "key");
            report = report.doubted(format!("{keys} with a place that never answered"));
        }
        if left_out > 0 {
            report = report.with("left_out", json!({"home_reads": left_out}));
        }
        report.with("keys", keys.len()).with("undecided", undecided)
    }
}

/// Leaves out the reads of homes from before final gets had ended; says how many.
fn leave_out_homes_before_gets(reads: &mut Vec<Pair<'_>>) -> usize {
    let before = reads.len();
    let is_ok_get = |read: &&Pair<'_>| !is_home(read) && read.outcome() == Outcome::Ok;
    if let Some(repaired) = reads.iter().filter(is_ok_get).map(Pair::name).max() {
        reads.retain(|read| !is_home(read) || read.invoke.index > repaired);
    }
    before - reads.len()
}

/// What was returned, in an order of its own.
fn set(read: &Pair<'_>) -> Vec<String> {
    match read.result() {
        Some(Value::Array(all)) => {
            let mut all: Vec<String> = all.iter().map(Value::to_string).collect();
            all.sort_unstable();
            all
        }
        Some(Value::Null) | None => Vec::new(),
        Some(value) => vec![value.to_string()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::op::{Kind, Op};

    fn check(reads: &[(&'static str, Option<Value>)]) -> CheckReport {
        let lines = reads.iter().zip(0..).flat_map(|((node, value), process)| {
            let read = Op::invoke(process, "home").key("k").node(*node).finally();
            let kind = if value.is_some() { Kind::Ok } else { Kind::Info };
            let mut done = read.completed(kind);
            done.value.clone_from(value);
            [read, done]
        });
        let history = History::numbered(lines.collect()).unwrap();
        Convergence.check(&history, &Budget::UNLIMITED)
    }

    #[test]
    fn order_is_no_difference_and_a_missing_sibling_is() {
        assert_eq!(
            check(&[("a", Some(json!([1, 2]))), ("b", Some(json!([2, 1])))]).verdict(),
            Verdict::Valid
        );
        let report = check(&[("a", Some(json!([1, 2]))), ("b", Some(json!([1])))]);
        assert_eq!(report.verdict(), Verdict::Invalid);
        assert_eq!(report.witness(), [1, 3]);
    }

    #[test]
    fn a_silent_place_leaves_it_open_and_the_last_answer_counts() {
        assert_eq!(check(&[("a", Some(json!([1]))), ("b", None)]).verdict(), Verdict::Unknown);
        let repaired =
            check(&[("a", Some(json!([]))), ("a", Some(json!([1]))), ("b", Some(json!([1])))]);
        assert_eq!(repaired.verdict(), Verdict::Valid);
    }

    #[test]
    fn homes_from_before_the_gets_that_repaired_them_are_left_out() {
        let read = |process: u64, f: &'static str, node: &'static str, value: Value| {
            let read = Op::invoke(process, f).key("k").node(node).finally();
            [read.clone(), read.completed(Kind::Ok).value(value)]
        };
        let check = |late: Value| {
            let lines = [
                read(0, "home", "a", json!([1])),
                read(1, "home", "b", json!([])),
                read(2, "get", "a", json!([1])),
                read(3, "get", "b", json!([1])),
                read(4, "home", "b", late),
            ];
            let history = History::numbered(lines.concat()).unwrap();
            Convergence.check(&history, &Budget::UNLIMITED)
        };
        let report = check(json!([1]));
        assert_eq!((report.verdict(), report.judged()), (Verdict::Valid, 3), "{report:?}");
        assert_eq!(report.details["left_out"]["home_reads"], 2);
        assert_eq!(check(json!([])).verdict(), Verdict::Invalid, "it should have been repaired");
    }
}
