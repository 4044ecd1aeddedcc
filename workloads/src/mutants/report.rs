//! The matrix as Markdown and JSON.

use std::fmt::Write;
use std::io;
use std::path::Path;

use serde_json::json;

use super::{Column, Fate, Layer, Matrix, Score};

/// One row.
pub(super) fn line(fate: &Fate) -> String {
    let by = match (&fate.by, &fate.at) {
        (Some(by), Some(at)) => format!("{by}, {at}"),
        _ if fate.failed.is_empty() => "no check failed".to_owned(),
        _ => format!("only {}", fate.failed.join(", ")),
    };
    format!(
        "| {} | {} | {} | {} | {} | {by} | {} | {:.1} |",
        fate.number,
        fate.name,
        fate.expected,
        fate.checkers,
        if fate.killed { "killed" } else { "**survives**" },
        fate.effort,
        fate.seconds
    )
}

pub(super) fn markdown(matrix: &Matrix) -> String {
    let mut text = format!(
        "# The mutant matrix\n\n\
         {} rows: those of the table, and what is left out of it with the reason. Killed is what a \
         checker killed that the table names for the bug; what else failed is no kill.\n\n\
         Expected: `Y` it must be caught, `w` by white-box invariants, `p` it may be, `-` it cannot.\n",
        matrix.rows
    );
    for column in &matrix.columns {
        text += &section(column);
    }
    text += "\n## Left out\n\n| # | why |\n|---|---|\n";
    for excluded in &matrix.excluded {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {} | {} |", excluded.number, excluded.why);
    }
    text
}

fn section(column: &Column) -> String {
    let Score { killed, of } = column.must;
    let mut text = format!("\n## {}\n\n", title(column.layer));
    let _ = write!(
        text,
        "{killed} of {of} that it must kill; {} of {} with those it may. The unmutated build: {} false \
         positives in {} {} ({:.0} s).\n\n",
        column.all.killed,
        column.all.of,
        column.unmutated.false_positives.len(),
        column.unmutated.effort,
        column.unit,
        column.unmutated.seconds
    );
    for wrong in &column.unmutated.false_positives {
        let _ = writeln!(text, "- false positive: {wrong}");
    }
    let _ = writeln!(
        text,
        "| # | mutant | expected | checkers | fate | by | {} | seconds |\n|---|---|---|---|---|---|---|---|",
        column.unit
    );
    for fate in &column.fates {
        text += &line(fate);
        text.push('\n');
    }
    let survivors: Vec<_> = column.fates.iter().filter(|fate| !fate.killed).collect();
    if !survivors.is_empty() {
        text += "\nSurvivors:\n\n";
    }
    for fate in survivors {
        let why = fate.why.unwrap_or("not explained yet");
        let _ = writeln!(text, "- {} `{}` ({}): {why}", fate.number, fate.name, fate.expected);
    }
    text
}

pub(super) fn write(matrix: &Matrix, out: &Path) -> io::Result<()> {
    write_as(out, "matrix", &markdown(matrix), matrix)
}

/// The same of anything: `name`.md and `name`.json.
pub(super) fn write_as(
    out: &Path,
    name: &str,
    text: &str,
    data: &impl serde::Serialize,
) -> io::Result<()> {
    std::fs::create_dir_all(out)?;
    std::fs::write(out.join(format!("{name}.md")), text)?;
    std::fs::write(out.join(format!("{name}.json")), format!("{}\n", json!(data)))
}

fn title(layer: Layer) -> &'static str {
    match layer {
        Layer::Model => "Model",
        Layer::Sim => "Simulator",
        Layer::Shell => "Whole nodes under virtual time",
        Layer::Local => "Real nodes",
    }
}
