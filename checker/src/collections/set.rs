use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::history::{History, Outcome, Pair};
use crate::judge::budget::{Budget, Exhausted, Meter};
use crate::judge::finding::{Findings, counted, shown};
use crate::judge::stats::distribution;
use crate::judge::verdict::{CheckReport, Checker};

/// A set that is added to (`add`, `remove`, `read`), after Jepsen's set-full.
///
/// An element is *known* when its add was acknowledged, or the first read that shows it ended. It
/// is *lost* if the last-begun read began after that and lacks it, and no remove of it that may
/// have happened had begun when that read ended; *stable* if the last-begun read shows it. Also
/// invalid: an element nobody added, one of a failed add, one twice in a read. With
/// `linearizable`, so is a stale read: one that begins after an element was known and lacks it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SetFull {
    /// No read may be stale.
    pub linearizable: bool,
}

#[derive(Default)]
struct Element {
    /// The first acknowledged add: when and which.
    added: Option<(u64, u64)>,
    /// When the first add that may have happened began.
    begun: Option<u64>,
    failed_only: bool,
    /// When the first remove that may have happened began.
    removed: Option<u64>,
    /// In how many of the last-begun reads it stands, without a gap.
    run: usize,
    first_shown: Option<u64>,
    last_shown: Option<u64>,
}

impl Checker for SetFull {
    fn name(&self) -> &str {
        "set-full"
    }

    fn operations(&self) -> Option<&'static [&'static str]> {
        Some(&["add", "remove"])
    }

    fn check(&self, history: &History, budget: &Budget) -> CheckReport {
        let mut meter = budget.start();
        let mut keys: BTreeMap<&str, Vec<Pair<'_>>> = BTreeMap::new();
        for pair in history.pairs() {
            keys.entry(pair.key().unwrap_or("")).or_default().push(pair);
        }
        let mut tally = Tally::default();
        for (key, pairs) in &keys {
            if let Err(exhausted) = self.judge(key, pairs, &mut tally, &mut meter) {
                return CheckReport::unknown(exhausted.to_string());
            }
        }
        tally.report()
    }
}

#[derive(Default)]
struct Tally {
    findings: Findings,
    acknowledged: usize,
    stable: usize,
    lost: usize,
    stale: usize,
    never_read: usize,
    stable_ms: Vec<f64>,
}

impl Tally {
    fn report(mut self) -> CheckReport {
        let nothing = match self.acknowledged {
            0 => "no add was acknowledged".to_owned(),
            n => format!("{}, and no element was read at the end", counted(n, "acknowledged add")),
        };
        self.findings
            .report(self.stable + self.lost, &nothing)
            .with("acknowledged", self.acknowledged)
            .with("stable", self.stable)
            .with("stale", self.stale)
            .with("never_read", self.never_read)
            .with("stable_ms", distribution(&mut self.stable_ms))
    }
}

impl SetFull {
    fn judge(
        &self,
        key: &str,
        pairs: &[Pair<'_>],
        tally: &mut Tally,
        meter: &mut Meter,
    ) -> Result<(), Exhausted> {
        let mut elements: HashMap<&Value, Element> = HashMap::new();
        let mut reads = Vec::new();
        for pair in pairs {
            let value = pair.invoke.value.as_ref().unwrap_or(&Value::Null);
            match (pair.f(), pair.outcome()) {
                ("add", outcome) => elements.entry(value).or_default().add(pair, outcome),
                ("remove", outcome) if outcome != Outcome::Fail => {
                    let removed = &mut elements.entry(value).or_default().removed;
                    removed.get_or_insert(pair.invoke.time);
                }
                ("read" | "get", Outcome::Ok) => reads.push(*pair),
                _ => {}
            }
        }
        for (newer, read) in reads.iter().rev().enumerate() {
            meter.tick()?;
            let shown = read.result().and_then(Value::as_array);
            for value in shown.into_iter().flatten() {
                elements.entry(value).or_default().shown(key, value, read, newer, tally);
            }
        }
        let mut elements: Vec<(&Value, Element)> = elements.into_iter().collect();
        elements.sort_by_key(|(_, element)| element.added);
        for (value, element) in &elements {
            meter.tick()?;
            self.account(key, value, element, &reads, tally);
        }
        Ok(())
    }

    fn account(
        &self,
        key: &str,
        value: &Value,
        element: &Element,
        reads: &[Pair<'_>],
        tally: &mut Tally,
    ) {
        let Some((acknowledged, add)) = element.added else { return };
        tally.acknowledged += 1;
        let known = element.first_shown.map_or(acknowledged, |shown| shown.min(acknowledged));
        // The last-begun read that lacks it, if it could have known of it.
        let last_without = reads.len().checked_sub(element.run + 1).map(|at| &reads[at]);
        let stale = last_without.filter(|read| read.invoke.time > known).filter(|read| {
            let ended = read.acknowledged_at().unwrap_or(u64::MAX);
            element.removed.is_none_or(|removed| removed > ended)
        });
        if element.run == 0 {
            let Some(read) = stale else {
                tally.never_read += usize::from(element.first_shown.is_none());
                return;
            };
            let what = format!(
                "{} of add #{add} was known, but the last read #{} lacks it",
                shown(value),
                read.name()
            );
            tally.lost += 1;
            tally.findings.add("lost", key, vec![add, read.name()], what);
            return;
        }
        tally.stable += 1;
        let latency = stale.map_or(0, |read| read.invoke.time - known);
        tally.stable_ms.push(latency as f64 / 1e6);
        let Some(read) = stale else { return };
        tally.stale += 1;
        if self.linearizable {
            let what = format!(
                "{} of add #{add} was known when read #{} began, which lacks it",
                shown(value),
                read.name()
            );
            tally.findings.add("stale", key, vec![add, read.name()], what);
        }
    }
}

impl Element {
    fn add(&mut self, pair: &Pair<'_>, outcome: Outcome) {
        if outcome == Outcome::Fail {
            self.failed_only = self.begun.is_none();
            return;
        }
        self.failed_only = false;
        self.begun.get_or_insert(pair.invoke.time);
        if let Some(at) = pair.acknowledged_at()
            && self.added.is_none_or(|(first, _)| at < first)
        {
            self.added = Some((at, pair.name()));
        }
    }

    /// A read, the `newer`th from the last, shows it.
    fn shown(
        &mut self,
        key: &str,
        value: &Value,
        read: &Pair<'_>,
        newer: usize,
        tally: &mut Tally,
    ) {
        let name = read.name();
        let ended = read.acknowledged_at().unwrap_or(u64::MAX);
        if self.last_shown == Some(name) {
            let what = format!("read #{name} shows {} twice", shown(value));
            tally.findings.add("duplicate", key, vec![name], what);
            return;
        }
        self.last_shown = Some(name);
        let wrong = match self.begun {
            None if self.failed_only => Some(("failed", "whose add had failed")),
            None => Some(("unexpected", "which nobody added")),
            Some(begun) if begun > ended => Some(("unexpected", "before its add began")),
            Some(_) => None,
        };
        if let Some((rule, why)) = wrong {
            let what = format!("read #{name} shows {}, {why}", shown(value));
            tally.findings.add(rule, key, vec![name], what);
        }
        if self.run == newer {
            self.run += 1;
        }
        self.first_shown = Some(self.first_shown.map_or(ended, |first| first.min(ended)));
    }
}
