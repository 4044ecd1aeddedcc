//! What a checker found wrong: which rule, which ops, and a sentence; collected into a report.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;

use crate::judge::verdict::CheckReport;

/// As many findings are listed; all are counted. A store that loses everything would otherwise
/// make a report larger than its history.
const MOST_LISTED: usize = 100;

/// One violation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule broken, by its short name.
    pub rule: &'static str,
    /// The key it was broken on; empty where none is concerned.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// The operations that show it.
    pub ops: Vec<u64>,
    /// It in words.
    pub what: String,
}

/// The violations of one check.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    listed: Vec<Finding>,
    counts: BTreeMap<&'static str, u64>,
}

impl Findings {
    pub(crate) fn add(&mut self, rule: &'static str, key: &str, ops: Vec<u64>, what: String) {
        *self.counts.entry(rule).or_default() += 1;
        if self.listed.len() < MOST_LISTED {
            self.listed.push(Finding { rule, key: key.to_owned(), ops, what });
        }
    }

    /// Takes in those that were found after these.
    pub(crate) fn extend(&mut self, other: Self) {
        let room = MOST_LISTED.saturating_sub(self.listed.len());
        self.listed.extend(other.listed.into_iter().take(room));
        for (rule, count) in other.counts {
            *self.counts.entry(rule).or_default() += count;
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// How many break `rule`.
    pub(crate) fn of(&self, rule: &str) -> u64 {
        self.counts.get(rule).copied().unwrap_or_default()
    }

    pub(crate) fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Invalid with the findings, or, without, valid if something was judged
    /// ([`CheckReport::valid_if_judged`]).
    pub(crate) fn report(&self, judged: usize, nothing: &str) -> CheckReport {
        let Some(first) = self.listed.first() else {
            return CheckReport::valid_if_judged(judged, nothing);
        };
        let mut reason = first.what.clone();
        if self.total() > 1 {
            let _ = write!(reason, " (and {} more)", self.total() - 1);
        }
        CheckReport::invalid(reason)
            .judging(judged)
            .with("witness", &first.ops)
            .with("violations", &self.listed)
            .with("counts", &self.counts)
    }
}

/// A value for a sentence: JSON, shortened.
pub(crate) fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    // Of a cart the id says which it is.
    let value = value.get("id").unwrap_or(value);
    let mut text = value.to_string();
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
    text
}

/// Values for a sentence.
pub(crate) fn shown_all<'a>(values: impl IntoIterator<Item = &'a Value>) -> String {
    let mut text = String::from("[");
    for (at, value) in values.into_iter().enumerate() {
        if at == 8 {
            text.push_str(", ...");
            break;
        }
        let comma = if at > 0 { ", " } else { "" };
        let _ = write!(text, "{comma}{}", shown(value));
    }
    text.push(']');
    text
}

/// A time for a sentence: to the nanosecond, in the unit in which it is short.
pub(crate) fn time(nanos: u64) -> String {
    let (unit, digits) = match nanos {
        0..1_000 => return format!("{nanos} ns"),
        1_000..1_000_000 => ("us", 3),
        1_000_000..1_000_000_000 => ("ms", 6),
        _ => ("s", 9),
    };
    let one = 10_u64.pow(digits);
    let fraction = format!("{:0width$}", nanos % one, width = digits as usize);
    match fraction.trim_end_matches('0') {
        "" => format!("{} {unit}", nanos / one),
        fraction => format!("{}.{fraction} {unit}", nanos / one),
    }
}

/// The time between two, for a sentence.
pub(crate) fn span(from: u64, to: u64) -> String {
    time(to.saturating_sub(from))
}

/// A count with its noun: `1 put`, `2 puts`.
pub(crate) fn counted(n: usize, noun: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {noun}{s}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_counted_and_a_hundred_listed() {
        let mut findings = Findings::default();
        for op in 0..250 {
            findings.add("V1", "k", vec![op], format!("get #{op} is wrong"));
        }
        let report = findings.report(300, "nothing was there");
        assert_eq!(report.judged(), 300);
        assert_eq!(report.reason.as_deref(), Some("get #0 is wrong (and 249 more)"));
        assert_eq!(report.details["counts"]["V1"], 250);
        assert_eq!(report.details["violations"].as_array().unwrap().len(), 100);
        assert_eq!(report.witness(), [0]);
    }

    #[test]
    fn a_time_is_told_in_a_unit_that_shows_it() {
        let told = [0, 80, 1_000, 50_080, 3_100_000, 1_000_000_000, 12_000_000_080].map(time);
        let expected = ["0 ns", "80 ns", "1 us", "50.08 us", "3.1 ms", "1 s", "12.00000008 s"];
        assert_eq!(told, expected);
        assert_eq!(span(12_000_000_000, 12_000_000_080), "80 ns");
    }

    #[test]
    fn a_long_value_is_shortened_at_a_character() {
        let value = Value::from("\u{e9}".repeat(100));
        let text = shown(&value);
        assert!(text.ends_with("...") && text.len() <= 63, "{text}");
    }
}
