//! Did the replicas come to agree? All final reads of a key, homes and quorums, return one set.
//!
//! This is stronger than the sibling rules ask of final reads ([`crate::siblings`], V3): it also
//! wants what indeterminate writes left to be everywhere or nowhere. It is what anti-entropy
//! promises once it has run to its end. Reads that fail leave a key undecided.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::budget::Budget;
use crate::finding::{Findings, counted, shown, shown_all};
use crate::history::{History, Outcome, Pair};
use crate::verdict::{CheckReport, Checker};

/// The checker.
#[derive(Clone, Copy, Debug, Default)]
pub struct Convergence;

impl Checker for Convergence {
    fn name(&self) -> &str {
        "convergence"
    }

    fn check(&self, history: &History, budget: &Budget) -> CheckReport {
        let mut meter = budget.start();
        let mut keys: BTreeMap<&str, Vec<Pair<'_>>> = BTreeMap::new();
        let reads = history.pairs().filter(|pair| matches!(pair.f(), "get" | "home" | "read"));
        for pair in reads.filter(Pair::is_final) {
            keys.entry(pair.key().unwrap_or("")).or_default().push(pair);
        }
        let mut findings = Findings::default();
        let mut undecided = 0;
        for (key, reads) in &keys {
            if let Err(exhausted) = meter.tick() {
                return CheckReport::unknown(exhausted.to_string());
            }
            // The last answer of each place counts: earlier ones may have been before repair.
            let mut last: BTreeMap<(&str, Option<&str>), Option<Pair<'_>>> = BTreeMap::new();
            for read in reads {
                let answer = (read.outcome() == Outcome::Ok).then_some(*read);
                let place = last.entry((read.f(), read.node())).or_default();
                *place = answer.or(*place);
            }
            undecided += usize::from(last.values().any(Option::is_none));
            let answers: Vec<Pair<'_>> = last.into_values().flatten().collect();
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
        let report = if !findings.is_empty() {
            findings.report()
        } else if keys.is_empty() {
            CheckReport::unknown("there are no final reads")
        } else if undecided > 0 {
            let keys = counted(undecided, "key");
            CheckReport::unknown(format!("{keys} with a place that never answered"))
        } else {
            CheckReport::valid()
        };
        report.with("keys", keys.len()).with("undecided", undecided)
    }
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
    use crate::op::{Kind, Op};
    use crate::verdict::Verdict;
    use serde_json::json;

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
            check(&[("a", Some(json!([1, 2]))), ("b", Some(json!([2, 1])))]).verdict,
            Verdict::Valid
        );
        let report = check(&[("a", Some(json!([1, 2]))), ("b", Some(json!([1])))]);
        assert_eq!(report.verdict, Verdict::Invalid);
        assert_eq!(report.witness(), [1, 3]);
    }

    #[test]
    fn a_silent_place_leaves_it_open_and_the_last_answer_counts() {
        assert_eq!(check(&[("a", Some(json!([1]))), ("b", None)]).verdict, Verdict::Unknown);
        let repaired =
            check(&[("a", Some(json!([]))), ("a", Some(json!([1]))), ("b", Some(json!([1])))]);
        assert_eq!(repaired.verdict, Verdict::Valid);
    }
}
