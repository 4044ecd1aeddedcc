//! Many seeds, and what they found together.

use std::ops::Range;
use std::time::Instant;

use dynamo_protocol::Versioning;
use serde::Serialize;

use super::coverage::Coverage;
use super::run::{Outcome, run};
use super::setup::Setup;
use crate::interpreter::Counts;
use crate::simulated::batch::{Failed, Failure, cpu_seconds};
use crate::simulated::run::Violation;
use crate::simulated::seeds::each;

/// One seed of so many runs twice.
const AGAIN: u64 = 100;

/// What the seeds found together.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    /// How many seeds were run.
    pub seeds: u64,
    /// How many were not, since the run was stopped.
    pub left_out: u64,
    /// In the order of their seeds.
    pub violations: Vec<Failure>,
    /// Seeds of which a check could not tell, and why.
    pub unknown: Vec<Failure>,
    /// Virtual time.
    pub simulated_seconds: f64,
    /// Time it took.
    pub wall_seconds: f64,
    /// Time it took of all processors; 0 where the system does not tell.
    pub cpu_seconds: f64,
    /// Clients' operations.
    pub ops: Counts,
    /// What happened, and how often.
    pub coverage: Coverage,
    /// What never did.
    pub never: Vec<String>,
    /// Seeds run a second time that went another way: none, or the simulation is broken.
    pub nondeterministic: Vec<Failure>,
}

/// Runs them, so many at a time, or until `stop` says so after one.
pub fn batch(
    (seeds, versioning): (Range<u64>, Versioning),
    jobs: usize,
    stop: impl Fn(u64, &Outcome) -> bool + Sync,
) -> (Findings, Vec<Failed>) {
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let (mut findings, mut failed) = (Findings::default(), Vec::new());
    let once = |seed: u64| {
        let setup = Setup::drawn(seed).with(versioning);
        let outcome = run(&setup, seed);
        let again = seed.is_multiple_of(AGAIN).then(|| run(&setup, seed));
        let differs = again.and_then(|again| difference(&outcome, &again));
        (outcome, differs)
    };
    let take = |seed, (outcome, differs): (Outcome, Option<String>)| {
        findings.add(seed, &outcome, differs);
        let stops = stop(seed, &outcome);
        if !outcome.violations.is_empty() {
            failed.push(Failed { seed, violations: outcome.violations });
        }
        stops
    };
    each(&seeds, jobs, once, take);
    findings.left_out = seeds.end - seeds.start - findings.seeds;
    findings.wall_seconds = started.elapsed().as_secs_f64();
    findings.cpu_seconds = cpu_seconds() - cpu;
    findings.never = findings.coverage.never();
    findings.unknown.sort_by_key(|failure| failure.seed);
    failed.sort_by_key(|failed| failed.seed);
    (findings, failed)
}

/// In what two runs of a seed differ, as far as clients and the network saw.
#[must_use]
pub fn difference(one: &Outcome, other: &Outcome) -> Option<String> {
    let lines = |outcome: &Outcome| serde_json::to_value(outcome.history.ops()).unwrap_or_default();
    let (ours, theirs) = (lines(one), lines(other));
    if ours != theirs {
        let at = (0..).find(|at| ours.get(at) != theirs.get(at)).unwrap_or(0);
        let line =
            |all: &serde_json::Value| all.get(at).map_or("the end".to_owned(), ToString::to_string);
        return Some(format!("line {at} is {} and then {}", line(&ours), line(&theirs)));
    }
    let differs = one.digest != other.digest;
    differs.then(|| "clients saw the same, and the network did not".to_owned())
}

impl Findings {
    fn add(&mut self, seed: u64, outcome: &Outcome, differs: Option<String>) {
        self.seeds += 1;
        self.simulated_seconds += outcome.simulated.as_secs_f64();
        self.ops.ok += outcome.counts.ok;
        self.ops.fail += outcome.counts.fail;
        self.ops.info += outcome.counts.info;
        self.coverage.add(&outcome.coverage);
        self.nondeterministic.extend(differs.map(|what| {
            let (check, again) =
                ("deterministic".to_owned(), format!("dyno sim --shell --seeds {seed}"));
            Failure { seed, check, what, again }
        }));
        for Violation { check, what, .. } in outcome.unknown.iter().cloned() {
            self.unknown.push(Failure { seed, check, what, again: String::new() });
        }
    }
}
