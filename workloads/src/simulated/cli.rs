//! `dyno sim`.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use dynamo_protocol::Versioning;
use dyno_command::{Jobs, document, exit, output};
use model::interrupt;

use super::batch::{Batch, Counters, Failure, Findings, report};
use super::cuts;
use super::shell::cli::{crashes, shell};
use super::shell::crashes::Cut;
use crate::interpreter::Counts;
use crate::plan::{ClusterKind, Plan, PlanArg, PlanError, Source};
use crate::run::verdict::{BROKEN, INVALID, REFUSED, UNKNOWN, VALID};

/// Arguments of `dyno sim`. With a plan every seed is the run that `dyno test --cluster sim` does of it.
/// Without one every seed draws its cluster, links, clients and faults.
#[derive(Debug, Args)]
pub struct SimArgs {
    /// The seeds, as in 0..1000, of which 999 is the last.
    #[arg(long, value_name = "FROM..TO", default_value = "0..100")]
    pub seeds: Seeds,
    /// The plan, if there is one.
    #[command(flatten)]
    pub plan: PlanArg,
    /// In place of the plan's faults a seed is the number of a way of cutting links: of four nodes there are
    /// 4096.
    #[arg(long)]
    pub cuts: bool,
    /// Stops once all that can has happened, and every kind of fault was drawn for every quorum, versioning
    /// and read mode.
    #[arg(long, conflicts_with_all = ["positional", "plan_flag", "cuts", "shell"])]
    pub until_covered: bool,
    /// Whole nodes in the place of their core alone: storage, queues, links and clients as they are.
    #[arg(long, conflicts_with_all = ["positional", "plan_flag", "cuts"])]
    pub shell: bool,
    /// In place of what the seed draws, power goes at every point in the work of disks, one after the other,
    /// in short runs: of one machine, of all.
    #[arg(long, requires = "shell", conflicts_with = "versioning")]
    pub crashes: bool,
    /// With `--crashes`: at this point alone, as in 17/torn/all.
    #[arg(long, value_name = "POINT", requires = "crashes")]
    pub point: Option<Cut>,
    /// With `--shell`: how versions are told apart. They are held to all that dotted ones promise, which
    /// paper and lww do not keep: what finds nothing there finds nothing.
    #[arg(long, value_name = "MODE", requires = "shell", default_value = "dotted",
          value_parser = dyno_command::word::<Versioning>(Versioning::WORDS))]
    pub versioning: Versioning,
    /// A seeded bug, by name: only in a build with the feature `mutants`.
    #[arg(long, value_name = "NAME")]
    pub mutant: Option<String>,
    /// How many seeds are run at a time; 0 is one a core.
    #[arg(long, value_name = "COUNT", default_value = "2")]
    pub jobs: Jobs,
    /// Where the traces of failing seeds go.
    #[arg(long, short, value_name = "DIR", default_value = "results/sim")]
    pub out: PathBuf,
    /// Print what was found as one line of JSON, last.
    #[arg(long)]
    pub json: bool,
}

/// A range of seeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeds(pub Range<u64>);

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no range of seeds: write 0..1000, or one seed");
        let number = |text: &str| text.parse().map_err(|_| wrong());
        let range = match text.split_once("..") {
            Some((from, to)) => number(from)?..number(to)?,
            None => {
                let seed: u64 = number(text)?;
                seed..seed.checked_add(1).ok_or_else(wrong)?
            }
        };
        if range.is_empty() { Err(wrong()) } else { Ok(Self(range)) }
    }
}

/// Runs seeds; the status to exit with.
#[must_use]
pub fn sim(args: &SimArgs) -> u8 {
    let plan = match args.plan() {
        Ok(plan) => plan,
        Err(error) => return refuse(&error.to_string()),
    };
    if let Some(name) = &args.mutant
        && let Err(error) = enable(name)
    {
        return refuse(&error);
    }
    let seeds = args.seeds.0.clone();
    let (jobs, until_covered) = (args.jobs.threads(), args.until_covered);
    let batch = Batch { seeds, plan, cuts: args.cuts, jobs, until_covered };
    if let Err(error) = interrupt::listen("what the seeds so far have found") {
        return refuse(&format!("no signals: {error}"));
    }
    if args.crashes {
        return crashes(args);
    }
    if args.shell {
        return shell(args);
    }
    let (mut findings, failed) = quietly(|| batch.run(|_, _| interrupt::asked()));
    let again = |seed| again(args, seed);
    let mutant = args.mutant.as_deref();
    findings.violations = quietly(|| report(&batch, &failed, mutant, &args.out, again));
    output::text(summary(&findings));
    if args.json {
        let verdict = exit::verdict(status(&findings));
        output::say(document("sim", Some(verdict), &findings));
    }
    status(&findings)
}

impl SimArgs {
    /// The plan, if one was named.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn plan(&self) -> Result<Option<Plan>, PlanError> {
        let plan = self.plan.file().map(read_plan).transpose()?;
        if self.cuts {
            check_cuts(plan.as_ref(), &self.seeds)
                .map_err(|why| PlanError(format!("--cuts: {why}")))?;
        }
        Ok(plan)
    }
}

/// Refuses numbers of ways that a plan's nodes do not have.
pub(crate) fn check_cuts(plan: Option<&Plan>, Seeds(seeds): &Seeds) -> Result<(), String> {
    let Some(plan) = plan else {
        return Err("without a plan nobody says how many nodes there are".to_owned());
    };
    let nodes = plan.cluster.nodes;
    match cuts::ways(usize::from(nodes)) {
        Some(ways) if seeds.end <= ways => Ok(()),
        Some(ways) => Err(format!("of {nodes} nodes there are {ways} ways: seeds 0..{ways}")),
        None => Err(format!("of {nodes} nodes there are too many ways: use 8 nodes at most")),
    }
}

/// Turns a seeded bug on.
///
/// # Errors
/// If there is no such bug in this build.
#[cfg(feature = "mutants")]
pub(crate) fn enable(name: &str) -> Result<(), String> {
    crate::mutants::activate(Some(crate::mutants::named(name)?));
    Ok(())
}

/// Turns a seeded bug on.
///
/// # Errors
/// Always: this build has none.
#[cfg(not(feature = "mutants"))]
pub(crate) fn enable(name: &str) -> Result<(), String> {
    Err(format!(
        "--mutant {name}: this build has no seeded bugs; build with \
         `cargo build --release --features mutants --target-dir target-mutants`"
    ))
}

/// A run whose core panics is a finding, and told as one: the message is not printed beside it.
pub(crate) fn quietly<T>(work: impl FnOnce() -> T) -> T {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let done = work();
    std::panic::set_hook(hook);
    done
}

fn read_plan(path: &Path) -> Result<Plan, PlanError> {
    let (mut plan, mut source) = Source::read(path)?;
    // Wherever the plan has its cluster: here it is simulated, and what cannot be is refused.
    plan.cluster.kind = ClusterKind::Sim;
    source.overridden("cluster.kind", "dyno sim");
    source.check(&plan)?;
    Ok(plan)
}

fn again(args: &SimArgs, seed: u64) -> String {
    let mut command = format!("dyno sim --seeds {seed}");
    for (flag, value) in [
        ("--plan", args.plan.file().map(|path| path.display().to_string())),
        ("--mutant", args.mutant.clone()),
    ] {
        if let Some(value) = value {
            command += &format!(" {flag} {value}");
        }
    }
    if args.cuts {
        command += " --cuts";
    }
    command
}

fn summary(findings: &Findings) -> String {
    let Counts { ok, fail, info } = findings.ops;
    let Counters {
        hints_stored,
        hints_delivered,
        read_repairs,
        keys_synced,
        rolled_back,
        epochs,
        strays_dropped,
    } = findings.counters;
    let mut text = format!(
        "{} seeds, {:.0} s simulated in {:.1} s ({:.0} s/s; {:.0} s/s of a processor), {} events\n\
         operations: {ok} ok, {fail} failed, {info} unknown; \
         hints: {hints_stored} stored, {hints_delivered} delivered; read repairs: {read_repairs}; \
         keys synced: {keys_synced}; rollbacks noticed: {rolled_back}; memberships taken up: {epochs}, \
         records moved by them: {strays_dropped}\n",
        findings.seeds,
        findings.simulated_seconds,
        findings.wall_seconds,
        findings.speed(),
        findings.simulated_seconds / findings.cpu_seconds.max(0.01),
        findings.events,
    );
    if let Some(happened) = &findings.happened {
        text += &format!("{}\n", happened.cells_in_words());
    }
    for name in &findings.never {
        text += &format!("never happened: {name}\n");
    }
    text += &broken(findings.left_out, &findings.violations);
    for seed in &findings.nondeterministic {
        text += &format!("seed {seed} ran differently the second time: the simulator is broken\n");
    }
    text + &ending(&findings.unknown, status(findings))
}

/// What was left out, and what was broken.
pub(super) fn broken(left_out: u64, violations: &[Failure]) -> String {
    let mut text = String::new();
    if left_out > 0 {
        text += &format!("interrupted: {left_out} seeds were not run\n");
    }
    for Failure { seed, check, what, again } in violations {
        text += &format!("seed {seed}: {check}: {what}\n  see it: {again}\n");
    }
    text
}

/// What could not be told, and the verdict.
pub(super) fn ending(unknown: &[Failure], status: u8) -> String {
    let first = unknown.first().map(|Failure { seed, check, what, .. }| {
        let count = unknown.len();
        format!("{count} checks could not tell, the first of seed {seed}: {check}: {what}\n")
    });
    let verdict = match status {
        VALID => "valid\n",
        INVALID => "invalid\n",
        _ => "unknown\n",
    };
    first.unwrap_or_default() + verdict
}

fn status(findings: &Findings) -> u8 {
    if !findings.violations.is_empty() {
        INVALID
    } else if !findings.nondeterministic.is_empty() || findings.left_out > 0 {
        BROKEN
    } else if findings.unknown.len() as u64 * 10 > findings.seeds || !findings.never.is_empty() {
        // A seed in which nothing was acknowledged happens; many of them are no test. What never happened was
        // not tried.
        UNKNOWN
    } else {
        VALID
    }
}

pub(crate) fn refuse(error: &str) -> u8 {
    output::refuse(error);
    REFUSED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_range_or_one() {
        assert_eq!("3..7".parse(), Ok(Seeds(3..7)));
        assert_eq!("3".parse(), Ok(Seeds(3..4)));
        for text in ["7..3", "x", "1..", "3..3", ""] {
            assert!(text.parse::<Seeds>().is_err(), "{text}");
        }
    }
}
