use std::collections::HashMap;

use serde_json::Value;

use crate::budget::Budget;
use crate::finding::{Findings, counted, shown};
use crate::history::{History, Outcome, Pair};
use crate::verdict::{CheckReport, Checker};

/// A queue: what is acknowledged is dequeued, nothing more often than it was enqueued.
///
/// That an element is *lost* can only be told from a queue that was seen empty after the element
/// was acknowledged: a `dequeue` that returned null or failed with an error naming it empty, or a
/// `drain`. Without one the verdict is unknown. A dequeue of unknown outcome may have taken any
/// one element.
#[derive(Clone, Copy, Debug, Default)]
pub struct TotalQueue;

#[derive(Default)]
struct Element {
    /// Enqueues that may have happened, and those acknowledged.
    attempts: u64,
    acknowledged: u64,
    failed: u64,
    dequeued: u64,
    /// When the last enqueue of it was acknowledged, and an op to name.
    sure_at: u64,
    enqueue: u64,
    /// The first enqueue's beginning: no dequeue can end before it.
    begun: Option<u64>,
}

impl Checker for TotalQueue {
    fn name(&self) -> &str {
        "total-queue"
    }

    fn check(&self, history: &History, budget: &Budget) -> CheckReport {
        let mut meter = budget.start();
        let mut elements: HashMap<&Value, Element> = HashMap::new();
        let mut taken: Vec<(&Value, Pair<'_>)> = Vec::new();
        let mut indeterminate = 0_usize;
        let mut empty_seen: Option<Pair<'_>> = None;
        for pair in history.pairs() {
            if let Err(exhausted) = meter.tick() {
                return CheckReport::unknown(exhausted.to_string());
            }
            match (pair.f(), pair.outcome()) {
                ("enqueue", outcome) => {
                    let value = pair.invoke.value.as_ref().unwrap_or(&Value::Null);
                    elements.entry(value).or_default().enqueued(&pair, outcome);
                }
                ("dequeue", Outcome::Info) | ("drain", Outcome::Info) => indeterminate += 1,
                ("dequeue", Outcome::Ok) if !is_null(pair.result()) => {
                    taken.extend(pair.result().map(|value| (value, pair)));
                }
                ("drain", Outcome::Ok) => {
                    let all = pair.result().and_then(Value::as_array);
                    taken.extend(all.into_iter().flatten().map(|value| (value, pair)));
                    empty_seen = later(empty_seen, pair);
                }
                ("dequeue", _) if says_empty(&pair) => empty_seen = later(empty_seen, pair),
                _ => {}
            }
        }
        let mut findings = Findings::default();
        for (value, pair) in &taken {
            dequeued(elements.entry(value).or_default(), value, pair, &mut findings);
        }
        let acknowledged: u64 = elements.values().map(|element| element.acknowledged).sum();
        let lost = lost(&elements, empty_seen);
        if lost.len() > indeterminate {
            let seen = empty_seen.map_or(0, |pair| pair.name());
            for (value, element) in &lost {
                let what = format!(
                    "{} of enqueue #{} was acknowledged and never dequeued, but the queue was \
                     empty at #{seen}",
                    shown(value),
                    element.enqueue,
                );
                findings.add("lost", "", vec![element.enqueue, seen], what);
            }
        }
        let report = if !findings.is_empty() {
            findings.report()
        } else if acknowledged == 0 {
            CheckReport::unknown("no enqueue was acknowledged")
        } else if elements.values().any(|e| e.acknowledged > e.dequeued && !e.is_before(empty_seen))
        {
            CheckReport::unknown("elements are left, and the queue was not seen empty after them")
        } else if !lost.is_empty() {
            let missing = counted(lost.len(), "element");
            CheckReport::unknown(format!("{missing} may have gone to dequeues of unknown outcome"))
        } else {
            CheckReport::valid()
        };
        report.with("acknowledged", acknowledged).with("dequeued", taken.len())
    }
}

impl Element {
    fn enqueued(&mut self, pair: &Pair<'_>, outcome: Outcome) {
        match outcome {
            Outcome::Fail => self.failed += 1,
            Outcome::Info => self.attempts += 1,
            Outcome::Ok => {
                self.attempts += 1;
                self.acknowledged += 1;
                self.sure_at = pair.acknowledged_at().unwrap_or(0);
                self.enqueue = pair.name();
            }
        }
        if outcome != Outcome::Fail {
            self.begun.get_or_insert(pair.invoke.time);
        }
    }

    /// Was it acknowledged before the queue was seen empty?
    fn is_before(&self, empty: Option<Pair<'_>>) -> bool {
        empty.is_some_and(|empty| self.sure_at < empty.invoke.time)
    }
}

fn dequeued(element: &mut Element, value: &Value, pair: &Pair<'_>, findings: &mut Findings) {
    element.dequeued += 1;
    let ended = pair.acknowledged_at().unwrap_or(u64::MAX);
    let what = if element.attempts == 0 && element.failed > 0 {
        ("failed", "whose enqueue had failed")
    } else if element.attempts == 0 {
        ("unexpected", "which nobody enqueued")
    } else if element.begun.is_some_and(|begun| ended < begun) {
        ("unexpected", "before its enqueue began")
    } else if element.dequeued > element.attempts {
        ("duplicated", "once more than it was enqueued")
    } else {
        return;
    };
    let said = format!("#{} dequeued {}, {}", pair.name(), shown(value), what.1);
    findings.add(what.0, "", vec![pair.name()], said);
}

/// Elements acknowledged before the queue was seen empty, and not dequeued as often.
fn lost<'a, 'h>(
    elements: &'a HashMap<&'h Value, Element>,
    empty: Option<Pair<'_>>,
) -> Vec<(&'h Value, &'a Element)> {
    let missing = elements
        .iter()
        .filter(|(_, element)| element.acknowledged > element.dequeued && element.is_before(empty));
    let mut missing: Vec<_> = missing.map(|(value, element)| (*value, element)).collect();
    missing.sort_by_key(|(_, element)| element.enqueue);
    missing
}

fn later<'a>(one: Option<Pair<'a>>, other: Pair<'a>) -> Option<Pair<'a>> {
    match one {
        Some(one) if one.invoke.time >= other.invoke.time => Some(one),
        _ => Some(other),
    }
}

fn is_null(value: Option<&Value>) -> bool {
    value.is_none_or(Value::is_null)
}

fn says_empty(pair: &Pair<'_>) -> bool {
    match pair.outcome() {
        Outcome::Ok => is_null(pair.result()),
        Outcome::Fail => {
            let error = pair.completion.and_then(|op| op.error.as_deref()).unwrap_or_default();
            error.contains("empty") || error.contains("exhausted")
        }
        Outcome::Info => false,
    }
}
