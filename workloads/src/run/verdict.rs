//! The verdict of a run: `verdict.json`, and the status `dyno` exits with.

use std::collections::BTreeMap;

use checker::verdict::{CheckReport, Verdict};
use dynamo_protocol::membership::Membership;
use serde::Serialize;

use crate::interpreter::{Counts, Tally};
use crate::plan::FaultName;
use crate::run::claims::NotEntitled;
use crate::run::coverage::FaultCoverage;
use crate::run::judged::Judged;
use crate::run::setup::Setup;

pub use dyno_command::exit::{BROKEN, INVALID, REFUSED, UNKNOWN, VALID};

/// Everything a run found. The three verdicts are never merged but in `verdict`.
#[derive(Clone, Debug, Serialize)]
pub struct Document {
    /// Of this document's form.
    pub schema: u32,
    /// `test`: which of the commands it is of.
    pub command: &'static str,
    /// The summary.
    pub verdict: Verdict,
    /// What the checkers say.
    pub property: Verdict,
    /// Was it tried?
    pub coverage: Verdict,
    /// Did the run itself work?
    pub harness: Verdict,
    /// Why any of the three is not valid.
    pub reasons: Reasons,
    /// The plan's name.
    pub plan: String,
    /// Where every random choice came from.
    pub seed: u64,
    /// The command line that does it again.
    pub again: String,
    /// Of what, by what and where.
    pub setup: Setup,
    /// What it was judged on; nothing if there was no history to judge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judged: Option<Judged>,
    /// From the first operation to the last.
    pub seconds: f64,
    /// Clients' operations.
    pub ops: Counts,
    /// Of operations that were ok, in milliseconds.
    pub latency_ms: Latency,
    /// By checker.
    pub checks: BTreeMap<String, CheckReport>,
    /// What the workload could be held to and the plan is not entitled to: no part of the verdict.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub not_entitled: BTreeMap<String, NotEntitled>,
    /// How the store served, in all and while each fault was in force: measured, and no part of the verdict.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub availability: BTreeMap<String, serde_json::Value>,
    /// By fault.
    pub faults: BTreeMap<FaultName, FaultCoverage>,
    /// What the nodes counted, over all their processes; at least that much.
    pub counters: BTreeMap<String, u64>,
    /// The memberships there were, if the run was to change them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub memberships: Vec<Membership>,
}

/// Why a verdict is not valid, in sentences.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reasons {
    /// Of the property.
    pub property: Vec<String>,
    /// Of the coverage.
    pub coverage: Vec<String>,
    /// Of the harness.
    pub harness: Vec<String>,
}

/// Quantiles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Half of all took no longer.
    pub p50: f64,
    /// All but one in a hundred.
    pub p99: f64,
    /// All but one in a thousand.
    pub p999: f64,
}

impl Latency {
    /// Of what was ok, in milliseconds.
    #[must_use]
    pub fn of(tally: &Tally) -> Self {
        let millis = |share| tally.quantile(share).as_secs_f64() * 1e3;
        Self { p50: millis(0.5), p99: millis(0.99), p999: millis(0.999) }
    }
}

/// The summary of three verdicts, and its exit status: what the checkers refute is refuted whatever
/// else went wrong; after that, a run that did not work says nothing; and a pass without coverage
/// is none.
#[must_use]
pub fn summary(property: Verdict, coverage: Verdict, harness: Verdict) -> (Verdict, u8) {
    match (property, harness, coverage) {
        (Verdict::Invalid, _, _) => (Verdict::Invalid, INVALID),
        (_, Verdict::Invalid | Verdict::Unknown, _) => (Verdict::Unknown, BROKEN),
        (Verdict::Unknown, _, _) | (_, _, Verdict::Invalid | Verdict::Unknown) => {
            (Verdict::Unknown, UNKNOWN)
        }
        (Verdict::Valid, Verdict::Valid, Verdict::Valid) => (Verdict::Valid, VALID),
    }
}

impl Document {
    /// The status to exit with.
    #[must_use]
    pub fn exit(&self) -> u8 {
        summary(self.property, self.coverage, self.harness).1
    }

    /// As one line of JSON.
    ///
    /// # Panics
    /// Never: a document is plain data.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a document is plain data")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_verdicts_meet_only_in_the_summary() {
        use Verdict::{Invalid, Unknown, Valid};
        let table = [
            ([Valid, Valid, Valid], (Valid, 0)),
            ([Invalid, Valid, Valid], (Invalid, 1)),
            ([Invalid, Unknown, Invalid], (Invalid, 1)),
            ([Valid, Unknown, Valid], (Unknown, 2)),
            ([Unknown, Valid, Valid], (Unknown, 2)),
            ([Valid, Valid, Invalid], (Unknown, 255)),
            ([Valid, Valid, Unknown], (Unknown, 255)),
            ([Unknown, Unknown, Invalid], (Unknown, 255)),
        ];
        for ([property, coverage, harness], expected) in table {
            assert_eq!(summary(property, coverage, harness), expected);
        }
    }
}
