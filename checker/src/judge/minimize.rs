//! Shrinks a failing history to operations none of which can go.
//!
//! Delta debugging (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input",
//! 2002) over operations, not lines. What remains is a counterexample only if nothing that was left
//! out can explain it. So it has to be wrong twice: by itself, and with every other operation that
//! may change something made *indeterminate*, which may have happened or not. And what is taken away
//! takes with it what makes no sense without it, so that the smaller history is one that could have
//! been recorded: a write goes with the reads that returned its value, and a get with the puts that
//! were made with its context.
//!
//! A checker that made its witness small itself (the detail `minimal`) is taken at its word.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use crate::history::op::{Op, Process};
use crate::history::{History, Outcome, Pair};
use crate::judge::budget::{Budget, Meter};
use crate::judge::compose::check_safe;
use crate::judge::verdict::{CheckReport, Checker, Verdict};
use crate::siblings::versions::context;

/// A failing history made small.
#[derive(Clone, Debug)]
pub struct Minimal {
    /// The small history, renumbered.
    pub history: History,
    /// Of each of its lines the index it has in the whole history.
    pub original: Vec<u64>,
    /// Can truly no operation go? Not known where the budget ran out first.
    pub is_minimal: bool,
}

/// Shrinks a history that `checker` calls invalid; none if it does not.
pub fn minimize(history: &History, checker: &dyn Checker, budget: &Budget) -> Option<Minimal> {
    let meter = budget.start();
    let report = check_safe(checker, history, budget);
    minimize_found(history, checker, &report, &meter.left())
}

/// The same where the checker has said what it has to say.
pub fn minimize_found(
    history: &History,
    checker: &dyn Checker,
    report: &CheckReport,
    budget: &Budget,
) -> Option<Minimal> {
    if report.verdict() != Verdict::Invalid {
        return None;
    }
    let meter = budget.start();
    let mut shrink = Shrink { history, pairs: history.pairs().collect(), checker, meter };
    let witness = shrink.positions(&report.witness());
    if let Some(is_minimal) = report.details.get("minimal").and_then(Value::as_bool) {
        let (part, original) = shrink.part(&witness);
        let history = part.part_of(history, &original);
        return Some(Minimal { history, original, is_minimal });
    }
    let all: Vec<usize> = (0..shrink.pairs.len()).collect();
    let needs = shrink.needs();
    let mut kept = shrink.start(all, &witness, &needs);
    let is_minimal = shrink.by_process(&mut kept, &needs) && shrink.delta_debug(&mut kept, &needs);
    let (part, original) = shrink.part(&kept);
    let history = part.part_of(history, &original);
    Some(Minimal { history, original, is_minimal })
}

struct Shrink<'a> {
    history: &'a History,
    pairs: Vec<Pair<'a>>,
    checker: &'a dyn Checker,
    meter: Meter,
}

/// What an operation needs to make sense: of each group at least one.
type Needs = Vec<Vec<Vec<usize>>>;

impl Shrink<'_> {
    /// Are these wrong by themselves, and still so whatever the others did?
    fn fails(&self, kept: &[usize]) -> bool {
        let is_wrong = |part: &History| {
            let report = check_safe(self.checker, part, &self.meter.left());
            report.verdict() == Verdict::Invalid
        };
        is_wrong(&self.part(kept).0)
            && (kept.len() == self.pairs.len() || is_wrong(&self.with_others(kept)))
    }

    /// The operations of these names.
    fn positions(&self, names: &[u64]) -> Vec<usize> {
        let names: HashSet<u64> = names.iter().copied().collect();
        let pairs = self.pairs.iter().enumerate();
        pairs.filter(|(_, pair)| names.contains(&pair.name())).map(|(at, _)| at).collect()
    }

    /// The history of these operations and, without their ends, of all others that may have changed
    /// something. Reads are left out, unless one of those was made with the context of it.
    fn with_others(&self, kept: &[usize]) -> History {
        let kept: HashSet<usize> = kept.iter().copied().collect();
        let contexts: HashSet<u64> = self.pairs.iter().filter_map(context).collect();
        let mut lines: Vec<u64> = Vec::new();
        let mut strangers: HashSet<u64> = HashSet::new();
        for (at, pair) in self.pairs.iter().enumerate() {
            let whole = kept.contains(&at) || contexts.contains(&pair.name());
            let ended = pair.completion.filter(|_| whole).map(|op| op.index);
            if whole || !only_reads(pair) && pair.outcome() != Outcome::Fail {
                lines.push(pair.invoke.index);
                lines.extend(ended);
            }
            if !whole {
                strangers.insert(pair.invoke.index);
            }
        }
        self.lines(lines, |op| {
            // Whoever never learns what became of it does nothing more.
            if strangers.contains(&op.index) {
                op.process = Process::Client(u64::MAX - op.index);
            }
        })
    }

    /// The history of these operations alone.
    fn part(&self, kept: &[usize]) -> (History, Vec<u64>) {
        let mut original: Vec<u64> = kept
            .iter()
            .flat_map(|&at| {
                let pair = &self.pairs[at];
                [Some(pair.invoke.index), pair.completion.map(|op| op.index)]
            })
            .flatten()
            .collect();
        original.sort_unstable();
        (self.lines(original.clone(), |_| {}), original)
    }

    /// The history of these lines, changed.
    fn lines(&self, mut lines: Vec<u64>, change: impl Fn(&mut Op)) -> History {
        lines.sort_unstable();
        let renumbered: HashMap<u64, u64> = lines.iter().copied().zip(0..).collect();
        let ops: Vec<Op> = lines
            .iter()
            .filter_map(|index| self.history.get(*index))
            .map(|op| {
                let context = op.context.and_then(|get| renumbered.get(&get).copied());
                let mut op = Op { context, ..op.clone() };
                change(&mut op);
                op
            })
            .collect();
        History::numbered(ops).expect("a part of a sound history is sound")
    }

    /// Where to begin: with the witness and what it needs, or what came until its end, or one key,
    /// whichever is wrong by itself already.
    fn start(&self, all: Vec<usize>, witness: &[usize], needs: &Needs) -> Vec<usize> {
        let mut core = witness.to_vec();
        let mut next = 0;
        while let Some(at) = core.get(next).copied() {
            next += 1;
            for any in &needs[at] {
                if !any.iter().any(|need| core.contains(need)) {
                    core.extend(any.first());
                }
            }
        }
        core.sort_unstable();
        if !core.is_empty() && self.fails(&core) {
            return core;
        }
        let ended = |at: &usize| self.pairs[*at].completion.map_or(u64::MAX, |op| op.index);
        let end = witness.iter().map(ended).max().unwrap_or(u64::MAX);
        let until = all.iter().copied().filter(|at| self.pairs[*at].invoke.index < end);
        let until = closed(until.collect(), needs);
        let all = if until.len() < all.len() && self.fails(&until) { until } else { all };
        self.one_key(&all).unwrap_or(all)
    }

    /// Takes away whole processes. True when each was tried.
    fn by_process(&self, kept: &mut Vec<usize>, needs: &Needs) -> bool {
        let mut processes: Vec<Process> =
            kept.iter().map(|at| self.pairs[*at].invoke.process).collect();
        processes.sort_unstable();
        processes.dedup();
        for process in processes {
            if self.meter.look().is_err() {
                return false;
            }
            let others = kept.iter().copied();
            let others = others.filter(|at| self.pairs[*at].invoke.process != process);
            let rest = closed(others.collect(), needs);
            if !rest.is_empty() && self.fails(&rest) {
                *kept = rest;
            }
        }
        true
    }

    fn needs(&self) -> Needs {
        let mut writers: HashMap<(Option<&str>, &Value), Vec<usize>> = HashMap::new();
        let mut by_name = HashMap::new();
        for (at, pair) in self.pairs.iter().enumerate() {
            by_name.insert(pair.name(), at);
            if let (false, Some(value)) = (is_read(pair), &pair.invoke.value) {
                writers.entry((pair.key(), value)).or_default().push(at);
            }
        }
        let needs = self.pairs.iter().map(|pair| {
            let mut needs = Vec::new();
            if let (true, Outcome::Ok, Some(value)) = (is_read(pair), pair.outcome(), pair.result())
            {
                // A value as it is, or each of the siblings.
                let siblings = value.as_array().map_or(&[][..], Vec::as_slice);
                let read = std::iter::once(value).chain(siblings);
                needs.extend(read.filter_map(|v| writers.get(&(pair.key(), v)).cloned()));
            }
            let get = context(pair).and_then(|get| by_name.get(&get));
            needs.extend(get.map(|&get| vec![get]));
            needs
        });
        needs.collect()
    }

    /// One key on which it fails already, if keys fail by themselves.
    fn one_key(&self, all: &[usize]) -> Option<Vec<usize>> {
        /// Beyond so many keys trying each takes longer than it saves.
        const MOST_KEYS: usize = 10_000;
        let mut keys: HashMap<Option<&str>, Vec<usize>> = HashMap::new();
        for &at in all {
            keys.entry(self.pairs[at].key()).or_default().push(at);
        }
        if keys.len() > MOST_KEYS {
            return None;
        }
        let mut keys: Vec<Vec<usize>> = keys.into_values().collect();
        keys.sort_by_key(|ops| (ops.len(), ops[0]));
        keys.into_iter().find(|ops| self.meter.look().is_ok() && self.fails(ops))
    }

    /// Takes away ever smaller chunks until no single operation can go. True when it got there.
    fn delta_debug(&mut self, kept: &mut Vec<usize>, needs: &Needs) -> bool {
        let mut chunk = kept.len().div_ceil(2).max(1);
        loop {
            let mut smaller = false;
            let mut at = 0;
            while at < kept.len() {
                if self.meter.look().is_err() {
                    return false;
                }
                let end = (at + chunk).min(kept.len());
                let rest = kept[..at].iter().chain(&kept[end..]).copied().collect();
                let rest = closed(rest, needs);
                if !rest.is_empty() && self.fails(&rest) {
                    // What stood before may have gone with it: go on from the same place.
                    at = at.min(rest.len());
                    *kept = rest;
                    smaller = true;
                } else {
                    at = end;
                }
            }
            if chunk == 1 && !smaller {
                return true;
            }
            chunk = if smaller { chunk.min(kept.len()).max(1) } else { chunk.div_ceil(2) };
            if smaller && chunk > 1 {
                chunk = chunk.div_ceil(2);
            }
        }
    }
}

/// Those of `kept` that have what they need.
fn closed(mut kept: Vec<usize>, needs: &Needs) -> Vec<usize> {
    loop {
        let before = kept.len();
        let there: HashSet<usize> = kept.iter().copied().collect();
        kept.retain(|&at| needs[at].iter().all(|any| any.iter().any(|need| there.contains(need))));
        if kept.len() == before {
            return kept;
        }
    }
}

fn is_read(pair: &Pair<'_>) -> bool {
    matches!(pair.f(), "get" | "read" | "home" | "dequeue")
}

/// Does it change nothing?
fn only_reads(pair: &Pair<'_>) -> bool {
    matches!(pair.f(), "get" | "read" | "home")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::op::Kind;
    use crate::siblings::Siblings;

    fn done(invoke: Op, kind: Kind) -> [Op; 2] {
        let completion = invoke.completed(kind);
        [invoke, completion]
    }

    #[test]
    fn a_lost_update_shrinks_to_the_put_the_get_and_what_it_returned() {
        let mut lines = Vec::new();
        for value in 0..40 {
            let key = format!("k{}", value % 4);
            lines
                .extend(done(Op::invoke(value % 3, "put").key(key.clone()).value(value), Kind::Ok));
            let [get, got] = done(Op::invoke(5, "get").key(key).finally(), Kind::Ok);
            // Value 13 is never returned.
            let seen = (0..=value).filter(|v| v % 4 == value % 4 && *v != 13).map(Value::from);
            lines.extend([get, got.value(seen.collect::<Vec<_>>())]);
        }
        for (at, op) in (0..).zip(&mut lines) {
            op.time = at;
        }
        let history = History::numbered(lines).unwrap();
        let minimal =
            minimize(&history, &Siblings::default(), &Budget::UNLIMITED).expect("13 is lost");
        assert!(minimal.is_minimal);
        let values: Vec<_> =
            minimal.history.pairs().map(|pair| pair.invoke.value.clone()).collect();
        // The put, the first get that lacks it, and the puts whose values that get returned.
        let expected = [Some(1.into()), Some(5.into()), Some(9.into()), Some(13.into()), None];
        assert_eq!(values, expected);
        assert_eq!(minimal.original[6], 13 * 4);
    }

    #[test]
    fn what_explains_the_rest_is_not_left_out() {
        let add = |amount: i64| done(Op::invoke(0, "add").value(amount), Kind::Ok);
        let [read, done_reading] = done(Op::invoke(1, "read"), Kind::Ok);
        let reads = |value: i64| [read.clone(), done_reading.clone().value(value)];
        // 3 is more than there can be, and what the first read returned is right.
        let lines = [add(1), add(1), reads(2), reads(3)].concat();
        let mut lines: Vec<Op> = lines;
        for (at, op) in (0..).zip(&mut lines) {
            op.time = at;
        }
        let history = History::numbered(lines).unwrap();
        let checker = crate::collections::CounterBounds;
        let minimal = minimize(&history, &checker, &Budget::UNLIMITED).expect("3 is too much");
        assert!(minimal.is_minimal);
        // The read alone is wrong too, but not if the adds may have happened: two of them make 2.
        assert_eq!(minimal.original, [6, 7], "no two adds make it 3, whether they happened or not");
        // One that adds enough has to stay: without it, it would be the cause.
        let lines = [add(1), add(5), reads(2)].concat();
        let history =
            History::numbered(lines.into_iter().zip(0..).map(|(op, at)| op.at(at)).collect());
        let minimal =
            minimize(&history.unwrap(), &checker, &Budget::UNLIMITED).expect("6 or nothing");
        assert_eq!(minimal.original, [2, 3, 4, 5]);
    }

    #[test]
    fn a_valid_history_has_nothing_to_shrink() {
        let history = History::default();
        assert!(minimize(&history, &Siblings::default(), &Budget::UNLIMITED).is_none());
    }
}
