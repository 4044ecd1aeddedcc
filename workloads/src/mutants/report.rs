//! The matrix as Markdown and JSON.

use std::fmt::Write;
use std::io;
use std::path::Path;

use serde_json::json;

use super::{Fate, Layer, Matrix};

/// One row.
pub(super) fn line(fate: &Fate) -> String {
    let by = match &fate.by {
        Some(by) => format!("{by} (seed {})", fate.seed.unwrap_or_default()),
        None if fate.failed.is_empty() => "no check failed".to_owned(),
        None => format!("only {}", fate.failed.join(", ")),
    };
    format!(
        "| {} | {} | {} | {} | {by} | {} | {:.1} |",
        fate.number,
        fate.name,
        fate.expected,
        if fate.killed { "killed" } else { "**survives**" },
        fate.seeds,
        fate.seconds
    )
}

pub(super) fn markdown(matrix: &Matrix) -> String {
    let mut text = format!("# Mutants: {}\n\n", layer(matrix.layer));
    text +=
        "| # | mutant | expected | fate | by | seeds | seconds |\n|---|---|---|---|---|---|---|\n";
    for fate in &matrix.fates {
        text += &line(fate);
        text.push('\n');
    }
    let killed = matrix.fates.iter().filter(|fate| fate.killed).count();
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "\n{killed} of {} killed. The unmutated build failed {} of {} seeds.\n\n\
         Left out, of the whole table:\n\n| # | why |\n|---|---|\n",
        matrix.fates.len(),
        matrix.false_positives,
        matrix.unmutated_seeds
    );
    for excluded in &matrix.excluded {
        let _ = writeln!(text, "| {} | {} |", excluded.number, excluded.why);
    }
    text
}

pub(super) fn write(matrix: &Matrix, out: &Path) -> io::Result<()> {
    std::fs::create_dir_all(out)?;
    let name = layer(matrix.layer);
    std::fs::write(out.join(format!("{name}.md")), markdown(matrix))?;
    std::fs::write(out.join(format!("{name}.json")), format!("{}\n", json!(matrix)))
}

fn layer(layer: Layer) -> &'static str {
    match layer {
        Layer::Sim => "sim",
    }
}
