//! `dyno sim --shell`.

use dynamo_protocol::Versioning;
use dyno_command::{document, exit, output};
use model::interrupt;

use super::batch::{Findings, batch};
use super::crashes::{Swept, Which, sweep};
use crate::interpreter::Counts;
use crate::run::verdict::{BROKEN, INVALID, UNKNOWN, VALID};
use crate::simulated::batch::Failure;
use crate::simulated::cli::{SimArgs, broken, ending, quietly};

/// Runs seeds; the status to exit with.
pub(crate) fn shell(args: &SimArgs) -> u8 {
    let (seeds, jobs) = (args.seeds.0.clone(), args.jobs.threads());
    let (mut findings, failed) =
        quietly(|| batch((seeds, args.versioning), jobs, |_, _| interrupt::asked()));
    let mut flags =
        args.mutant.as_ref().map(|name| format!(" --mutant {name}")).unwrap_or_default();
    if args.versioning != Versioning::Dotted {
        flags += &format!(" --versioning {}", args.versioning);
    }
    findings.violations = failed
        .into_iter()
        .flat_map(|failed| failed.violations.into_iter().map(move |it| (failed.seed, it)))
        .map(|(seed, violation)| Failure {
            seed,
            check: violation.check,
            what: violation.what,
            again: format!("dyno sim --shell --seeds {seed}{flags}"),
        })
        .collect();
    output::text(summary(&findings));
    if args.json {
        let verdict = exit::verdict(status(&findings));
        output::say(document("sim", Some(verdict), &findings));
    }
    status(&findings)
}

/// Runs every point of seeds at which power can go; the status to exit with.
pub(crate) fn crashes(args: &SimArgs) -> u8 {
    let (seeds, jobs) = (args.seeds.0.clone(), args.jobs.threads());
    let which = args.point.map_or(Which::Every(1), Which::Only);
    let mut swept = quietly(|| {
        sweep(seeds, which, jobs, interrupt::asked, |seed, swept| {
            output::note(format_args!("seed {seed}: {} points", swept.points));
        })
    });
    if let Some(name) = &args.mutant {
        let failures = swept.violations.iter_mut().chain(&mut swept.unknown);
        failures.for_each(|failure| failure.again += &format!(" --mutant {name}"));
    }
    output::text(told(&swept));
    if args.json {
        output::say(document("sim", Some(exit::verdict(status_of(&swept))), &swept));
    }
    status_of(&swept)
}

fn told(swept: &Swept) -> String {
    let mut text = format!(
        "{} points at which power went, in {} seeds, {:.0} s simulated in {:.1} s \
         ({:.0} s/s of a processor)\n\
         writes acknowledged in these runs: {}\n",
        swept.points,
        swept.seeds,
        swept.simulated_seconds,
        swept.wall_seconds,
        swept.simulated_seconds / swept.cpu_seconds.max(0.01),
        swept.acknowledged,
    );
    for (row, count) in &swept.rows {
        text += &format!("  {row}: {count}\n");
    }
    for row in &swept.never {
        text += &format!("never happened: {row}\n");
    }
    text += &broken(swept.left_out, &swept.violations);
    text + &ending(&swept.unknown, status_of(swept))
}

fn status_of(swept: &Swept) -> u8 {
    if !swept.violations.is_empty() {
        INVALID
    } else if swept.left_out > 0 {
        BROKEN
    } else if swept.unreached > 0
        || swept.unknown.len() as u64 * 10 > swept.points
        || !swept.never.is_empty()
    {
        UNKNOWN
    } else {
        VALID
    }
}

fn summary(findings: &Findings) -> String {
    let Counts { ok, fail, info } = findings.ops;
    let mut text = format!(
        "{} seeds of whole nodes, {:.0} s simulated in {:.1} s ({:.0} s/s of a processor)\n\
         operations: {ok} ok, {fail} failed, {info} unknown\n",
        findings.seeds,
        findings.simulated_seconds,
        findings.wall_seconds,
        findings.simulated_seconds / findings.cpu_seconds.max(0.01),
    );
    let rows = findings.coverage.rows();
    let rows: Vec<_> = rows.iter().map(|(name, count)| format!("{name} {count}")).collect();
    text += &format!("happened: {}\n", rows.join(", ").replace('_', " "));
    for name in &findings.never {
        text += &format!("never happened: {}\n", name.replace('_', " "));
    }
    text += &broken(findings.left_out, &findings.violations);
    for Failure { seed, what, .. } in &findings.nondeterministic {
        text += &format!(
            "seed {seed} ran differently the second time: the simulation is broken: {what}\n"
        );
    }
    text + &ending(&findings.unknown, status(findings))
}

fn status(findings: &Findings) -> u8 {
    if !findings.violations.is_empty() {
        INVALID
    } else if !findings.nondeterministic.is_empty() || findings.left_out > 0 {
        BROKEN
    } else if findings.unknown.len() as u64 * 10 > findings.seeds || !findings.never.is_empty() {
        // What never happened was not tried.
        UNKNOWN
    } else {
        VALID
    }
}
