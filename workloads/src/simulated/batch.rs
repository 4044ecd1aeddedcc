//! Many seeds: in parallel, with progress, and what they found together.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use dynamo_sim::trace::Trace;
use dyno_command::output;
use serde::Serialize;

use super::cuts;
use super::happened::{ENOUGH, Happened};
use super::replay::judge;
use super::run::{Options, Outcome, Violation, run};
use super::scenario::Scenario;
use super::seeds;
use super::shrink::shrink;
use crate::interpreter::Counts;
use crate::plan::Plan;
use crate::run::page;

/// As many failing seeds are shrunk; the others are listed as they are.
const MOST_SHRUNK: usize = 5;
/// How many runs a failing seed may take to shrink.
const SHRINKING_RUNS: usize = 400;

/// Which runs.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The seeds.
    pub seeds: Range<u64>,
    /// The plan, checked as one of a simulated cluster; without one every seed draws its scenario.
    pub plan: Option<Plan>,
    /// Whether each seed is the number of a way of cutting links, in place of the plan's faults.
    pub cuts: bool,
    /// How many at a time.
    pub jobs: usize,
    /// Ends once all that can has happened, and every kind of fault was drawn for every kind of cluster.
    pub until_covered: bool,
}

/// A seed that failed a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The check.
    pub check: String,
    /// What it says.
    pub what: String,
    /// What shows it again.
    pub again: String,
}

/// What the nodes of all seeds counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Writes kept for a home that was out of reach.
    pub hints_stored: u64,
    /// Of those, the ones their home has got.
    pub hints_delivered: u64,
    /// Gets that brought replicas together.
    pub read_repairs: u64,
    /// Keys that anti-entropy brought up to date.
    pub keys_synced: u64,
    /// How often a node went on to another membership.
    pub epochs: u64,
    /// Records that went to new homes, and are gone where they were.
    pub strays_dropped: u64,
    /// Nodes that learned from their peers that their directory was rolled back.
    pub rolled_back: u64,
}

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
    /// Steps of nodes and links.
    pub events: u64,
    /// Clients' operations.
    pub ops: Counts,
    /// What the nodes did to keep what they were given.
    pub counters: Counters,
    /// Where seeds draw what they are: what happened, and what they were drawn for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub happened: Option<Happened>,
    /// Of enough such seeds, what never did.
    pub never: BTreeSet<&'static str>,
    /// Seeds run a second time whose events differed: none, or the simulator is broken.
    pub nondeterministic: Vec<u64>,
}

impl Batch {
    /// The scenario of a seed.
    #[must_use]
    pub fn scenario(&self, seed: u64) -> Scenario {
        let mut scenario = match &self.plan {
            Some(plan) => Scenario::of_plan(plan, seed),
            None => Scenario::drawn(seed),
        };
        if self.cuts {
            scenario.faults = cuts::faults(&scenario.nodes(), seed, scenario.time);
        }
        scenario
    }

    /// Runs them all, or until `stop` says so after one.
    pub fn run(&self, stop: impl Fn(u64, &Outcome) -> bool + Sync) -> (Findings, Vec<Failed>) {
        let (started, cpu) = (Instant::now(), cpu_seconds());
        // All runs of a plan are of one cluster, and its ring is costly.
        let plan = self.plan.as_ref().map(|plan| Scenario::of_plan(plan, 0).cluster);
        let view = plan.and_then(|cluster| cluster.view().ok()).map(Arc::new);
        let options = Options { view: view.as_ref(), ..Options::default() };
        let (mut findings, mut failed) = (Findings::default(), Vec::new());
        let is_drawn = self.plan.is_none() && !self.cuts;
        findings.happened = is_drawn.then(Happened::nothing);
        let mut covered = false;
        let once = |seed| {
            let scenario = self.scenario(seed);
            let outcome = run(&scenario, seed, options);
            let differs = self.again(seed, &outcome);
            (scenario, outcome, differs)
        };
        let take = |seed, (scenario, outcome, differs): (Scenario, Outcome, bool)| {
            findings.add(seed, &outcome, differs);
            if let Some(happened) = &mut findings.happened {
                happened.add(&scenario, &outcome);
                covered = self.until_covered && happened.is_covered();
            }
            let stops = stop(seed, &outcome) || covered;
            if !outcome.violations.is_empty() {
                failed.push(Failed { seed, violations: outcome.violations });
            }
            self.progress(&findings, failed.len(), started);
            stops
        };
        seeds::each(&self.seeds, self.jobs, once, take);
        findings.left_out =
            if covered { 0 } else { self.seeds.end - self.seeds.start - findings.seeds };
        if let Some(happened) = &findings.happened {
            // Who asks for all of it is not content with less, however few the seeds.
            if self.until_covered || findings.seeds >= ENOUGH {
                findings.never = happened.never();
            }
            if self.until_covered && !happened.is_drawn() {
                findings.never.insert("a fault of every kind on a cluster of every kind");
            }
        }
        findings.wall_seconds = started.elapsed().as_secs_f64();
        findings.cpu_seconds = cpu_seconds() - cpu;
        findings.unknown.sort_by_key(|failure| failure.seed);
        findings.nondeterministic.sort_unstable();
        failed.sort_by_key(|failed| failed.seed);
        (findings, failed)
    }

    /// One seed of a hundred runs twice: whether its events differed.
    fn again(&self, seed: u64, outcome: &Outcome) -> bool {
        let again = seed.is_multiple_of(100) && outcome.hash.is_some();
        again && run(&self.scenario(seed), seed, Options::default()).hash != outcome.hash
    }

    fn progress(&self, findings: &Findings, failed: usize, started: Instant) {
        let mut stderr = std::io::stderr().lock();
        if stderr.is_terminal() && findings.seeds.is_multiple_of(10) {
            let all = self.seeds.end - self.seeds.start;
            let (seeds, wall) = (findings.seeds, started.elapsed().as_secs_f64());
            let speed = findings.simulated_seconds / wall;
            let line = format!(
                "\r{seeds}/{all} seeds, {failed} failed, {:.0} s simulated, {speed:.0} s/s  ",
                findings.simulated_seconds
            );
            // Progress that cannot be shown is not worth failing for.
            let _ = stderr.write_all(line.as_bytes());
            if seeds == all {
                let _ = stderr.write_all(b"\n");
            }
        }
    }
}

/// A seed and what it violated.
#[derive(Clone, Debug)]
pub struct Failed {
    /// The seed.
    pub seed: u64,
    /// What, sorted by check.
    pub violations: Vec<Violation>,
}

impl Findings {
    fn add(&mut self, seed: u64, outcome: &Outcome, differs: bool) {
        self.seeds += 1;
        self.simulated_seconds += outcome.simulated.as_secs_f64();
        self.events += outcome.events;
        let counts = outcome.counts;
        self.ops.ok += counts.ok;
        self.ops.fail += counts.fail;
        self.ops.info += counts.info;
        let fired = &outcome.counters;
        self.counters.hints_stored += fired.hints_stored;
        self.counters.hints_delivered += fired.hints_delivered;
        self.counters.read_repairs += fired.read_repairs;
        self.counters.keys_synced += fired.keys_synced;
        self.counters.epochs += fired.epochs;
        self.counters.strays_dropped += fired.strays_dropped;
        self.counters.rolled_back += fired.rolled_back;
        if differs {
            self.nondeterministic.push(seed);
        }
        let doubts = outcome.doubts.iter().map(|doubt| Violation::new("harness", doubt.clone()));
        for Violation { check, what, .. } in outcome.unknown.iter().cloned().chain(doubts) {
            self.unknown.push(Failure { seed, check, what, again: String::new() });
        }
    }

    /// Simulated seconds per second of wall clock.
    #[must_use]
    pub fn speed(&self) -> f64 {
        self.simulated_seconds / self.wall_seconds.max(1e-9)
    }
}

/// What this process has used of all processors, in seconds, to a hundredth; 0 where the system has no
/// proc(5).
pub(super) fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may hold anything, come the state and then numbers: user and system time
    // are the 14th and 15th field of the line, in ticks of which a second has 100.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks =
        fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// Shrinks what failed and writes the traces; the failures, each with the command that shows it again.
/// `again` makes the command that runs a seed from the start.
pub fn report(
    batch: &Batch,
    failed: &[Failed],
    mutant: Option<&str>,
    folder: &Path,
    again: impl Fn(u64) -> String,
) -> Vec<Failure> {
    let mut failures = Vec::new();
    for (index, Failed { seed, violations }) in failed.iter().enumerate() {
        let Some(first) = violations.first() else { continue };
        let trace = if index < MOST_SHRUNK {
            shrunk_to(batch, *seed, &first.check, mutant, folder)
        } else {
            None
        };
        for violation in violations {
            let Violation { check, what, .. } = violation.clone();
            let again = match &trace {
                Some(path) if check == first.check => {
                    format!("dyno replay {} --on sim", path.display())
                }
                _ => again(*seed),
            };
            failures.push(Failure { seed: *seed, check, what, again });
        }
    }
    failures
}

fn shrunk_to(
    batch: &Batch,
    seed: u64,
    check: &str,
    mutant: Option<&str>,
    folder: &Path,
) -> Option<PathBuf> {
    let mut shrunk = shrink(&batch.scenario(seed), seed, check, SHRINKING_RUNS)?;
    shrunk.trace.mutant = mutant.map(str::to_owned);
    let path = folder.join(format!("seed-{seed}-{check}.json"));
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&path, shrunk.trace.to_json()));
    match written {
        Ok(()) => {
            page_of(&shrunk.trace, &path);
            Some(path)
        }
        Err(error) => {
            output::refuse(format_args!("{}: {error}", path.display()));
            None
        }
    }
}

/// The page of a trace, beside it.
fn page_of(trace: &Trace, path: &Path) {
    let Ok(judged) = judge(trace) else { return };
    let again = format!("dyno replay {} --on sim", path.display());
    page::of_simulated(&trace.name, &again, &judged, &path.with_extension("html"));
}
