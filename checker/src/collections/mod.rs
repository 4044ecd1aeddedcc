//! Sets, counters, queues and ids: checks that need no search, in near-linear time.
//!
//! They ask less than linearizability (see `linearizable` for that) and say more: what was lost,
//! doubled or invented, and how long it took to be seen.

mod counter;
mod queue;
mod set;

pub use counter::CounterBounds;
pub use queue::TotalQueue;
pub use set::SetFull;

use std::collections::HashMap;

use serde_json::Value;

use crate::history::{History, Outcome};
use crate::judge::budget::Budget;
use crate::judge::finding::{Findings, shown};
use crate::judge::verdict::{CheckReport, Checker};

/// `generate` never returns one value twice.
#[derive(Clone, Copy, Debug, Default)]
pub struct UniqueIds;

impl Checker for UniqueIds {
    fn name(&self) -> &str {
        "unique-ids"
    }

    fn operations(&self) -> Option<&'static [&'static str]> {
        Some(&["generate"])
    }

    fn check(&self, history: &History, budget: &Budget) -> CheckReport {
        let mut meter = budget.start();
        let mut given: HashMap<&Value, u64> = HashMap::new();
        let mut findings = Findings::default();
        let ok = history.pairs().filter(|pair| pair.outcome() == Outcome::Ok);
        for pair in ok.filter(|pair| pair.f() == "generate") {
            if let Err(exhausted) = meter.tick() {
                return CheckReport::unknown(format!("{exhausted}: {} ids were seen", given.len()));
            }
            let Some(id) = pair.result() else { continue };
            if let Some(first) = given.insert(id, pair.name()) {
                let what =
                    format!("#{} was given {}, as #{first} had been", pair.name(), shown(id));
                findings.add("repeated_id", "", vec![first, pair.name()], what);
            }
        }
        // One alone differs from no other.
        let judged = if given.len() > 1 { given.len() } else { 0 };
        findings.report(judged, "no two ids were given").with("given", given.len())
    }
}
