//! `dyno claims why`: one cell taken apart.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use dyno_claims::observed::{PUTS, WAITS};
use dyno_claims::{Cell, Column, Property, Table, text};
use dyno_command::{document, output};
use serde_json::json;

use super::{Asked, broken, loudly, observed, refuse};
use crate::plan::{PlanArg, PlanError};
use crate::replay::{On, ReplayArgs, replay};
use crate::run::verdict::{UNKNOWN, VALID};

/// Arguments of `dyno claims why`.
#[derive(Debug, Args)]
pub(super) struct WhyArgs {
    /// The cell: its row and its column, as in fresh/crash.
    #[arg(value_name = "ROW/COLUMN")]
    cell: String,
    /// The plan whose cluster is asked about, if there is one.
    #[arg(long, value_name = "PLAN")]
    plan: Option<PathBuf>,
    #[command(flatten)]
    asked: Asked,
    /// Replay the trace of a refuted cell: core, sim or local (real processes).
    #[arg(long, value_enum, value_name = "ON")]
    replay: Option<On>,
    /// Write the trace of a refuted cell here, for `dyno replay`.
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Take in the runs in this folder, or below it. May be given several times.
    #[arg(long, value_name = "DIR")]
    runs: Vec<PathBuf>,
    /// Print the cell as one line of JSON.
    #[arg(long)]
    json: bool,
}

impl WhyArgs {
    pub(super) fn check(&self) -> Result<(), PlanError> {
        self.named()?;
        self.asked.setting(&PlanArg::of(self.plan.clone())).map(drop)
    }

    fn named(&self) -> Result<(Property, Column), PlanError> {
        let Some((row, column)) = self.cell.split_once('/') else {
            let why = "a cell is a row and a column, as in fresh/crash";
            return Err(PlanError(format!("`{}`: {why}", self.cell)));
        };
        let row = row.parse::<Property>().map_err(|error| PlanError(error.to_string()))?;
        Ok((row, column.parse().map_err(PlanError)?))
    }
}

pub(super) fn run(args: &WhyArgs) -> u8 {
    let plan = PlanArg::of(args.plan.clone());
    let (cell, setting) = match (args.named(), args.asked.setting(&plan)) {
        (Ok(cell), Ok(setting)) => (cell, setting),
        (Err(error), _) | (_, Err(error)) => return refuse(&error),
    };
    let (row, column) = cell;
    let runs = match observed(&args.runs, &WAITS, &PUTS) {
        Ok(runs) => runs,
        Err(error) => return refuse(&error),
    };
    // A cell may be filled from one with less.
    let columns: Vec<_> = column.includes().iter().copied().chain([column]).collect();
    let gathered = match args.asked.searched.gather(&[setting], &columns) {
        Ok(gathered) => gathered,
        Err(error) => return broken(&error),
    };
    let mut table = Table::of(&setting, &gathered);
    loudly(&table.observe(&runs));
    let cell = table.cell(row, column);
    if args.json {
        output::say(document("claims why", None, json!({ "setting": setting, "cell": cell })));
    } else {
        output::say(format_args!("{setting}"));
        output::text(text::why(cell));
    }
    match carry_on(args, cell, &setting.slug()) {
        Ok(status) => status,
        Err(error) => broken(&error),
    }
}

/// Writes the trace, and replays it.
fn carry_on(args: &WhyArgs, cell: &Cell, setting: &str) -> anyhow::Result<u8> {
    if args.out.is_none() && args.replay.is_none() {
        return Ok(VALID);
    }
    let refutation = cell.known.refutation();
    let Some(trace) = refutation.and_then(|it| it.trace.as_deref()) else {
        let why = refutation.and_then(|it| it.untraceable.clone());
        let why = why.unwrap_or_else(|| "nothing is refuted here".to_owned());
        output::refuse(format_args!("{}: no trace: {why}", cell.name()));
        return Ok(UNKNOWN);
    };
    let scratch = tempfile::tempdir().context("no folder for the trace")?;
    let name = format!("c-{setting}-{}.json", cell.name().replace(['/', '<', '='], "-"));
    let path = args.out.clone().unwrap_or_else(|| scratch.path().join(name));
    std::fs::write(&path, trace.to_json()).with_context(|| path.display().to_string())?;
    Ok(args.replay.map_or(VALID, |on| again(&path, on)))
}

fn again(trace: &Path, on: On) -> u8 {
    replay(&ReplayArgs {
        trace: Some(trace.to_owned()),
        on,
        binary: None,
        record: None,
        report: None,
        json: false,
    })
}
