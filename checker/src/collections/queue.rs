use std::collections::HashMap;

use serde_json::Value;

use crate::history::{History, Outcome, Pair};
use crate::judge::budget::Budget;
use crate::judge::finding::{Findings, counted, shown};
use crate::judge::verdict::{CheckReport, Checker, Verdict};

/// A queue: what is acknowledged is dequeued, nothing more often than it was enqueued.
///
/// That an element is *lost* can only be told from a queue that was seen empty after the element
/// was acknowledged: a `dequeue` that returned null or failed with an error naming it empty, or a
/// `drain`. Without one the verdict is unknown. A dequeue of unknown outcome may have taken any
/// one element, a drain of unknown outcome any number.
///
/// Of equal elements any may have been dequeued: the history is valid iff dequeues can be matched
/// to enqueues that began before they ended so that all dequeues are matched, and all enqueues
/// acknowledged before the queue was seen empty but as many as dequeues of unknown outcome may
/// have taken. That they can be matched each by itself suffices (Mendelsohn and Dulmage, 1958).
#[derive(Clone, Copy, Debug, Default)]
pub struct TotalQueue;

#[derive(Default)]
struct Element {
    /// When the enqueues that may have happened began, in order.
    begun: Vec<u64>,
    /// The acknowledged ones: when they were, when they began, and their names.
    acknowledged: Vec<(u64, u64, u64)>,
    failed: bool,
    /// When the dequeues ended, and their names.
    dequeued: Vec<(u64, u64)>,
}

impl Checker for TotalQueue {
    fn name(&self) -> &str {
        "total-queue"
    }

    fn operations(&self) -> Option<&'static [&'static str]> {
        Some(&["enqueue", "dequeue", "drain"])
    }

    fn check(&self, history: &History, budget: &Budget) -> CheckReport {
        let mut meter = budget.start();
        let mut elements: HashMap<&Value, Element> = HashMap::new();
        let mut taken: Vec<(&Value, Pair<'_>)> = Vec::new();
        let mut indeterminate = Some(0_usize);
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
                ("dequeue", Outcome::Info) => indeterminate = indeterminate.map(|some| some + 1),
                // It may have taken them all.
                ("drain", Outcome::Info) => indeterminate = None,
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
        for (value, pair) in &taken {
            let ended = pair.acknowledged_at().unwrap_or(u64::MAX);
            elements.entry(value).or_default().dequeued.push((ended, pair.name()));
        }
        let mut findings = Findings::default();
        let mut lost = Vec::new();
        let mut open = 0;
        for (value, element) in &mut elements {
            element.unexplained(value, &mut findings);
            let missing = element.missing(empty_seen.map(|pair| pair.invoke.time));
            lost.extend(missing.iter().map(|enqueue| (*value, *enqueue)));
            open += element.acknowledged.len().saturating_sub(element.dequeued.len());
        }
        lost.sort_by_key(|(_, enqueue)| *enqueue);
        if indeterminate.is_some_and(|taken| lost.len() > taken) {
            let seen = empty_seen.map_or(0, |pair| pair.name());
            for (value, enqueue) in &lost {
                let what = format!(
                    "{} of enqueue #{enqueue} was acknowledged and never dequeued, but the queue \
                     was empty at #{seen}",
                    shown(value),
                );
                findings.add("lost", "", vec![*enqueue, seen], what);
            }
        }
        let acknowledged: usize = elements.values().map(|e| e.acknowledged.len()).sum();
        let mut report = findings.report(acknowledged, "no enqueue was acknowledged");
        if report.verdict() == Verdict::Valid && open > lost.len() {
            let why = "elements are left, and the queue was not seen empty after them";
            report = report.doubted(why);
        } else if report.verdict() == Verdict::Valid && !lost.is_empty() {
            let missing = counted(lost.len(), "element");
            let why = format!("{missing} may have gone to dequeues of unknown outcome");
            report = report.doubted(why);
        }
        report.with("acknowledged", acknowledged).with("dequeued", taken.len())
    }
}

impl Element {
    fn enqueued(&mut self, pair: &Pair<'_>, outcome: Outcome) {
        match outcome {
            Outcome::Fail => self.failed = true,
            Outcome::Info => self.begun.push(pair.invoke.time),
            Outcome::Ok => {
                let ended = pair.acknowledged_at().unwrap_or(u64::MAX);
                self.begun.push(pair.invoke.time);
                self.acknowledged.push((ended, pair.invoke.time, pair.name()));
            }
        }
    }

    /// Dequeues that no enqueue explains: in order of their ends, each needs one more that had
    /// begun.
    fn unexplained(&mut self, value: &Value, findings: &mut Findings) {
        self.dequeued.sort_unstable();
        let mut used = 0;
        for &(ended, name) in &self.dequeued {
            if self.begun.get(used).is_some_and(|begun| *begun <= ended) {
                used += 1;
                continue;
            }
            let (rule, why) = match (self.begun.first(), self.failed) {
                (None, true) => ("failed", "whose enqueue had failed"),
                (None, false) => ("unexpected", "which nobody enqueued"),
                (Some(begun), _) if *begun > ended => ("unexpected", "before its enqueue began"),
                (Some(_), _) => ("duplicated", "once more than it was enqueued"),
            };
            let what = format!("#{name} dequeued {}, {why}", shown(value));
            findings.add(rule, "", vec![name], what);
        }
    }

    /// The enqueues acknowledged before the queue was seen empty that no dequeue accounts for.
    fn missing(&self, empty: Option<u64>) -> Vec<u64> {
        let Some(empty) = empty else { return Vec::new() };
        let due = self.acknowledged.iter().filter(|(ended, ..)| *ended < empty);
        let mut due: Vec<(u64, u64)> = due.map(|(_, begun, name)| (*begun, *name)).collect();
        due.sort_unstable();
        // Dequeues in order of their ends: each accounts for the earliest, if that had begun.
        let mut accounted = 0;
        for (ended, _) in &self.dequeued {
            accounted += usize::from(due.get(accounted).is_some_and(|(begun, _)| begun <= ended));
        }
        due.split_off(accounted).into_iter().map(|(_, name)| name).collect()
    }
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
