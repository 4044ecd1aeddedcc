//! A night as people read it.

use std::fmt::Write;
use std::time::Duration;

use super::outcome::Proven;
use super::summary::{Cell, Counts, Finding, Summary};

/// As many units of a kind are listed.
const MOST_LISTED: usize = 50;

/// A night in lines of text: what matters first.
#[must_use]
pub(super) fn text(summary: &Summary) -> String {
    let mut text = head(summary);
    let list = |text: &mut String, title: &str, findings: &[Finding]| {
        if !findings.is_empty() {
            *text += &format!("\n{title}\n");
        }
        findings.iter().take(MOST_LISTED).for_each(|finding| *text += &told(finding));
        if findings.len() > MOST_LISTED {
            *text += &format!("  and {} more\n", findings.len() - MOST_LISTED);
        }
    };
    list(&mut text, "found", &summary.findings);
    list(&mut text, "not known", &summary.doubts);
    let caught = summary.canaries.iter().filter(|canary| canary.caught).count();
    text += &format!("\ncanaries: {caught} of {} caught\n", summary.canaries.len());
    for canary in summary.canaries.iter().filter(|canary| !canary.caught) {
        text += &format!("  {}: {}\n", canary.name, canary.found);
    }
    text += &faults(summary);
    text += &cells(&summary.cells);
    listed(
        &mut text,
        "skipped",
        summary.skipped.iter().map(|skipped| {
            let must = if skipped.allowed { "" } else { " (it had to be run)" };
            format!("{}{must}: {}", skipped.name, skipped.lacks)
        }),
    );
    listed(&mut text, "missing", summary.missing.iter().cloned());
    text
}

fn head(summary: &Summary) -> String {
    let Summary { suite, digest, build, shards, .. } = summary;
    let of = match summary.shard {
        Some(shard) => format!("shard {shard}"),
        None if *shards == 1 => "one shard".to_owned(),
        None => format!("{shards} shards"),
    };
    let Counts { total, valid, invalid, unknown, broken, skipped, doubled, missing, left_out } =
        summary.units;
    let mut text = format!("{suite}: {}\n", summary.verdict());
    for reason in &summary.reasons {
        let _ = writeln!(text, "  {reason}");
    }
    let took = humantime::format_duration(Duration::from_secs(summary.ms / 1000));
    let _ = write!(text, "\n{total} units: {valid} valid, {invalid} invalid, {unknown} unknown");
    for (count, name) in [
        (broken, "broken"),
        (doubled, "doubled"),
        (skipped, "skipped"),
        (missing, "missing"),
        (left_out, "left out for want of time"),
    ] {
        if count > 0 {
            let _ = write!(text, ", {count} {name}");
        }
    }
    let ops = summary.ops;
    let _ = writeln!(
        text,
        "\n{} seeds, operations: {} ok, {} failed, {} unknown; {took} of work\n\
         of {of} of {suite} {digest} by dyno {} {}",
        summary.seeds, ops.ok, ops.fail, ops.info, build.dyno, build.program
    );
    text
}

/// A unit, why, and how to see it again.
fn told(finding: &Finding) -> String {
    let Finding { name, found, why, times, runs, control, again, .. } = finding;
    let mut text = format!("  {}: {name}\n", found.as_str());
    for why in why {
        let _ = writeln!(text, "    {why}");
    }
    let _ = write!(text, "    in {times} of {runs} runs of its seed");
    if let Some(control) = control {
        let _ = write!(text, "; without faults: {control}");
    }
    let _ = writeln!(text, "\n    see it again: {again}");
    text
}

fn faults(summary: &Summary) -> String {
    if summary.faults.is_empty() {
        return String::new();
    }
    let header = ["fault", "units", "run", "proven", "healed", "not done", "gets", "puts"];
    let row = |(name, fault): (&String, &super::summary::Fault)| {
        let Proven { proven, healed, skipped, ok_gets_during, ok_puts_during, .. } = fault.proven;
        let numbers =
            [fault.units, fault.run, proven, healed, skipped, ok_gets_during, ok_puts_during];
        let mut row = vec![name.clone()];
        row.extend(numbers.iter().map(ToString::to_string));
        row
    };
    format!("\n{}", table(&header, summary.faults.iter().map(row).collect()))
}

fn cells(cells: &[Cell]) -> String {
    if cells.is_empty() {
        return String::new();
    }
    let header = [
        "cluster", "quorum", "versions", "read", "fault", "units", "valid", "invalid", "proven",
        "ok ops",
    ];
    let row = |cell: &Cell| {
        let mode = &cell.mode;
        let mut row = vec![
            mode.cluster.clone(),
            mode.quorum.clone(),
            mode.versioning.clone(),
            mode.read.clone(),
            cell.fault.clone(),
        ];
        let numbers = [cell.units, cell.valid, cell.invalid, cell.proven, cell.ok_ops];
        row.extend(numbers.iter().map(ToString::to_string));
        row
    };
    format!("\n{}", table(&header, cells.iter().map(row).collect()))
}

/// Columns as wide as what is in them; numbers stand to the right.
fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let header: Vec<_> = header.iter().map(|name| (*name).to_owned()).collect();
    let is_number =
        |at: usize| rows.iter().all(|row| row[at].bytes().all(|byte| byte.is_ascii_digit()));
    let width = |at: usize| {
        let lengths = rows.iter().chain([&header]).map(|row| row[at].len());
        lengths.max().unwrap_or_default()
    };
    let mut text = String::new();
    for row in [&header].into_iter().chain(&rows) {
        let cells = row.iter().enumerate().map(|(at, cell)| match is_number(at) {
            true => format!("{cell:>0$}", width(at)),
            false => format!("{cell:<0$}", width(at)),
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn listed(text: &mut String, title: &str, lines: impl ExactSizeIterator<Item = String>) {
    let more = lines.len().saturating_sub(MOST_LISTED);
    if lines.len() > 0 {
        *text += &format!("\n{title}\n");
    }
    for line in lines.take(MOST_LISTED) {
        let _ = writeln!(text, "  {line}");
    }
    if more > 0 {
        let _ = writeln!(text, "  and {more} more");
    }
}
