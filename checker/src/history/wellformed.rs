//! Is the record itself sound? A bad history proves nothing about a store.
//!
//! Numbering, time, pairing and the life of processes are checked by [`History`] itself, which
//! cannot be made otherwise. Here stands what depends on the workload: written values are unique,
//! and a context names an earlier get of the same key.

use hashbrown::HashMap;

use crate::history::op::{Kind, Op};
use crate::history::{History, Pair};
use crate::judge::budget::Budget;
use crate::judge::finding::{Findings, shown};
use crate::judge::verdict::{CheckReport, Checker};
use crate::siblings::versions::{ByValue, context};

/// The checker. The default asks for all of it, as the histories of get and put must have it.
#[derive(Clone, Copy, Debug)]
pub struct WellFormed {
    /// No two puts of a key write the same value: else nobody can tell whose a read returned.
    pub unique_values: bool,
    /// Every context names an earlier ok get of the same key.
    pub contexts: bool,
    /// The history ends whole. A torn last line is what a killed harness leaves: to be read, but
    /// not to be trusted as a finished run.
    pub whole: bool,
}

impl Default for WellFormed {
    fn default() -> Self {
        Self { unique_values: true, contexts: true, whole: true }
    }
}

impl Checker for WellFormed {
    fn name(&self) -> &str {
        "well_formed"
    }

    fn check(&self, history: &History, budget: &Budget) -> CheckReport {
        let mut meter = budget.start();
        let mut findings = Findings::default();
        let mut written: HashMap<Option<&str>, ByValue<'_, u64>> = HashMap::new();
        for pair in history.pairs() {
            if let Err(exhausted) = meter.tick() {
                return CheckReport::unknown(exhausted.to_string());
            }
            if self.unique_values && pair.f() == "put" {
                repeated_value(&pair, &mut written, &mut findings);
            }
            if let (true, Some(get)) = (self.contexts, context(&pair)) {
                bad_context(history, &pair, get, &mut findings);
            }
        }
        if let (true, Some(torn)) = (self.whole, history.torn()) {
            let what = format!("line {} was cut short: the recorder was killed", torn.line);
            findings.add("torn", "", Vec::new(), what);
        }
        findings.report(history.len(), "the history has no line").with("ops", history.len())
    }
}

fn repeated_value<'a>(
    put: &Pair<'a>,
    written: &mut HashMap<Option<&'a str>, ByValue<'a, u64>>,
    findings: &mut Findings,
) {
    let key = put.key();
    let Some(value) = &put.invoke.value else {
        let what = format!("put #{} carries no value", put.name());
        findings.add("no_value", key.unwrap_or(""), vec![put.name()], what);
        return;
    };
    if let Some(first) = written.entry(key).or_default().insert(value, put.name()) {
        let what = format!("put #{} writes {}, as put #{first} did", put.name(), shown(value));
        findings.add("repeated_value", key.unwrap_or(""), vec![first, put.name()], what);
    }
}

fn bad_context(history: &History, pair: &Pair<'_>, get: u64, findings: &mut Findings) {
    let wrong = match history.get(get) {
        None => "which is not in the history",
        Some(_) if get >= pair.invoke.index => "which does not come before it",
        Some(op) if !is_ok_get(op) => "which is no ok get",
        Some(op) if op.key != pair.invoke.key => "which read another key",
        Some(_) => return,
    };
    let what = format!("{} #{} has the context of op {get}, {wrong}", pair.f(), pair.name());
    findings.add("bad_context", pair.key().unwrap_or(""), vec![get, pair.name()], what);
}

fn is_ok_get(op: &Op) -> bool {
    op.kind == Kind::Ok && op.is_client() && matches!(&*op.f, "get" | "home")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::verdict::Verdict;

    fn check(ops: Vec<Op>) -> CheckReport {
        let history = History::numbered(ops).unwrap();
        WellFormed::default().check(&history, &Budget::UNLIMITED)
    }

    fn get(key: &str) -> Op {
        Op::invoke(0, "get").key(key)
    }

    fn put(key: &str, value: i64) -> Op {
        Op::invoke(0, "put").key(key).value(value)
    }

    #[test]
    fn a_sound_history_is_valid() {
        let put = put("k", 1).context(1);
        let report = check(vec![
            get("k"),
            get("k").completed(Kind::Ok),
            put.clone(),
            put.completed(Kind::Ok),
        ]);
        assert_eq!(report.verdict(), Verdict::Valid, "{report:?}");
    }

    #[test]
    fn a_value_written_twice_is_found() {
        let one = put("k", 1);
        let report = check(vec![one.clone(), one.completed(Kind::Ok), one]);
        assert_eq!(report.details["counts"]["repeated_value"], 1);
        assert_eq!(report.witness(), [1, 2]);
    }

    #[test]
    fn one_value_on_two_keys_is_fine() {
        let report = check(vec![put("k", 1), put("k", 1).completed(Kind::Ok), put("l", 1)]);
        assert_eq!(report.verdict(), Verdict::Valid, "{report:?}");
    }

    #[test]
    fn a_context_from_nowhere_is_found() {
        let got = get("k").completed(Kind::Ok);
        for (context, why) in [
            (9, "not in the history"),
            (3, "does not come before"),
            (0, "no ok get"),
            (1, "read another key"),
        ] {
            let put = put("l", 1).context(context);
            let report = check(vec![get("k"), got.clone(), put.clone(), put.completed(Kind::Ok)]);
            assert!(report.reason.unwrap().contains(why));
        }
    }
}
