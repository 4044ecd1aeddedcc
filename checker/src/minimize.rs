//! Shrinks a failing history to operations none of which can go.
//!
//! Delta debugging (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input",
//! 2002) over operations, not lines. What is taken away takes with it what makes no sense without
//! it, so that the smaller history is one that could have been recorded: a write goes with the
//! reads that returned its value, and a get with the puts that were made with its context.

use std::collections::HashMap;

use serde_json::Value;

use crate::budget::{Budget, Meter};
use crate::compose::check_safe;
use crate::history::{History, Outcome, Pair};
use crate::op::Op;
use crate::verdict::{Checker, Verdict};
use crate::versions::context;

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
    let mut shrink = Shrink { history, pairs: history.pairs().collect(), checker, meter };
    let all: Vec<usize> = (0..shrink.pairs.len()).collect();
    if !shrink.fails(&all) {
        return None;
    }
    let needs = shrink.needs();
    let mut kept = shrink.one_key(&all).unwrap_or(all);
    let is_minimal = shrink.delta_debug(&mut kept, &needs);
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
    fn fails(&self, kept: &[usize]) -> bool {
        let (part, _) = self.part(kept);
        check_safe(self.checker, &part, &self.meter.left()).verdict == Verdict::Invalid
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
        let renumbered: HashMap<u64, u64> = original.iter().copied().zip(0..).collect();
        let ops: Vec<Op> = original
            .iter()
            .filter_map(|index| self.history.get(*index))
            .map(|op| {
                let context = op.context.and_then(|get| renumbered.get(&get).copied());
                Op { context, ..op.clone() }
            })
            .collect();
        let part = History::numbered(ops).expect("a part of a sound history is sound");
        (part, original)
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
        let there: std::collections::HashSet<usize> = kept.iter().copied().collect();
        kept.retain(|&at| needs[at].iter().all(|any| any.iter().any(|need| there.contains(need))));
        if kept.len() == before {
            return kept;
        }
    }
}

fn is_read(pair: &Pair<'_>) -> bool {
    matches!(pair.f(), "get" | "read" | "home" | "dequeue")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Kind;
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
    fn a_valid_history_has_nothing_to_shrink() {
        let history = History::default();
        assert!(minimize(&history, &Siblings::default(), &Budget::UNLIMITED).is_none());
    }
}
