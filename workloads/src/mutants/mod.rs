//! `dyno mutants`: seeds the bugs of the table one by one, and sees whether the bench catches them, by
//! the checks that ought to.
//!
//! A layer is a [`Hunter`]: it looks for the bug that is on, and for one where none is. A layer more
//! is a module beside `seeds` and `model`, a variant of [`Layer`], and its checks in the table.

mod auto;
mod local;
mod model;
mod report;
mod seeds;
mod table;

use std::io;
use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use dynamo_protocol::mutant::Mutant;
use dyno_command::{Jobs, document, exit, output};
use serde::Serialize;

pub use dynamo_protocol::mutant::activate;

use crate::plan::Span;
use crate::run::verdict::{BROKEN, INVALID, REFUSED, VALID};
use seeds::Of;
use table::{ROWS, Row, Seeded, What, explanation};

/// How many seeds each bug of the table gets, if nobody says so.
const SEEDS: u64 = 5_000;

/// Arguments of `dyno mutants`.
#[derive(Debug, Args)]
pub struct MutantsArgs {
    /// What is to catch them; the model and both simulators if not given.
    #[arg(long, value_enum, num_args = 1..)]
    layer: Vec<Layer>,
    /// These mutants only.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    only: Vec<String>,
    /// How many seeds of the simulator each gets, and how many the unmutated build: 5000 if not given, for
    /// the rarest shows about once in two thousand; with `--auto` 300.
    #[arg(long, value_name = "COUNT")]
    seeds: Option<u64>,
    /// How many seeds are run at a time; 0 is one a core.
    #[arg(long, value_name = "COUNT", default_value = "2")]
    jobs: Jobs,
    /// How long the model may search for each, and how long in the unmutated build.
    #[arg(long, value_name = "TIME", default_value = "60s")]
    budget: Span,
    /// How many runs on real processes each gets.
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    runs: u64,
    /// Where the matrix goes.
    #[arg(long, short, value_name = "DIR", default_value = "results/mutants")]
    out: PathBuf,
    /// Print the matrix as one line of JSON, last.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    auto: auto::AutoArgs,
}

/// What catches a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// Every interleaving of a short script.
    Model,
    /// Seeds of the simulator, white-box invariants and checkers.
    Sim,
    /// Seeds of whole nodes under virtual time.
    Shell,
    /// Runs on real processes.
    Local,
}

/// A layer of the bench, with its budget.
trait Hunter {
    fn layer(&self) -> Layer;

    /// Looks for the bug, which is on, until one of `checks` says so or the budget is spent.
    fn hunt(&self, seeded: &Seeded, checks: &[&'static str]) -> Hunt;

    /// Spends the same on the unmutated build.
    fn control(&self, rows: &[(&'static str, Seeded)]) -> Control;
}

/// What a hunt found.
#[derive(Clone, Debug, Default, PartialEq)]
struct Hunt {
    /// By which of the checks the table names for it, and where: a seed or a number of steps.
    killed: Option<(String, String)>,
    /// Every check that failed until then.
    failed: Vec<String>,
    /// What it took: seeds or states.
    effort: u64,
}

/// What the unmutated build did over the same budget.
#[derive(Clone, Debug, Serialize)]
struct Control {
    /// What was spent: seeds or states.
    effort: u64,
    seconds: f64,
    /// What failed all the same.
    false_positives: Vec<String>,
}

/// What became of one row of the table in one layer.
#[derive(Clone, Debug, Serialize)]
struct Fate {
    number: &'static str,
    name: &'static str,
    /// What the table says: `Y` it must be caught, `w` by white-box invariants, `p` it may be, `-` it
    /// cannot.
    expected: char,
    checkers: String,
    killed: bool,
    /// By which of the checks the table names for it.
    by: Option<String>,
    /// After which seed, or how many steps.
    at: Option<String>,
    /// Every check that failed until then.
    failed: Vec<String>,
    /// Seeds or states.
    effort: u64,
    seconds: f64,
    /// Of one that survives.
    why: Option<&'static str>,
}

/// What one layer made of the table.
#[derive(Clone, Debug, Serialize)]
struct Column {
    layer: Layer,
    /// What `effort` counts.
    unit: &'static str,
    fates: Vec<Fate>,
    /// Of those the table says the layer must kill.
    must: Score,
    /// Of all that are seeded.
    all: Score,
    unmutated: Control,
}

/// So many of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Score {
    killed: usize,
    of: usize,
}

/// The matrix.
#[derive(Clone, Debug, Serialize)]
struct Matrix {
    /// Rows of the whole table, seeded or not.
    rows: usize,
    columns: Vec<Column>,
    excluded: Vec<Excluded>,
}

#[derive(Clone, Debug, Serialize)]
struct Excluded {
    number: &'static str,
    why: &'static str,
}

/// The mutant of this name.
///
/// # Errors
/// Names those there are.
pub fn named(name: &str) -> Result<Mutant, String> {
    let found = Mutant::ALL.iter().copied().find(|mutant| mutant.name() == name);
    found.ok_or_else(|| {
        let known: Vec<_> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
        format!("`{name}` is no mutant; there are {}", known.join(", "))
    })
}

/// Runs the table; the status to exit with.
#[must_use]
pub fn run(args: &MutantsArgs) -> u8 {
    if args.auto.auto {
        return auto::run(&args.auto, args.seeds, &args.out, args.json);
    }
    let only: Result<Vec<_>, _> = args.only.iter().map(|name| named(name)).collect();
    let only = match only {
        Ok(only) => only,
        Err(error) => {
            output::refuse(format_args!("--only {error}"));
            return REFUSED;
        }
    };
    let layers = if args.layer.is_empty() {
        vec![Layer::Model, Layer::Sim, Layer::Shell]
    } else {
        args.layer.clone()
    };
    let hunters: Vec<_> = layers.iter().map(|layer| hunter(*layer, args)).collect();
    // Each layer takes long: what one has found is not lost with the next.
    let matrix = matrix(&hunters, &only, |so_far| report::write(so_far, &args.out));
    let matrix = match matrix {
        Ok(matrix) => matrix,
        Err(error) => {
            output::refuse(format_args!("{}: {error}", args.out.display()));
            return BROKEN;
        }
    };
    output::text(report::markdown(&matrix));
    let is_good = |column: &Column| {
        column.unmutated.false_positives.is_empty() && column.must.killed == column.must.of
    };
    let status = if matrix.columns.iter().all(is_good) { VALID } else { INVALID };
    if args.json {
        output::say(document("mutants", Some(exit::verdict(status)), &matrix));
    }
    status
}

fn hunter(layer: Layer, args: &MutantsArgs) -> Box<dyn Hunter> {
    let seeds = args.seeds.unwrap_or(SEEDS);
    let of_seeds = |of| seeds::Seeds { of, seeds, jobs: args.jobs.threads() };
    match layer {
        Layer::Model => Box::new(model::Model::new(args.budget.0)),
        Layer::Sim => Box::new(of_seeds(Of::Cores)),
        Layer::Shell => Box::new(of_seeds(Of::WholeNodes)),
        Layer::Local => Box::new(local::Local { runs: args.runs }),
    }
}

fn matrix(
    hunters: &[Box<dyn Hunter>],
    only: &[Mutant],
    mut keep: impl FnMut(&Matrix) -> io::Result<()>,
) -> io::Result<Matrix> {
    let is_wanted = |mutant: Mutant| only.is_empty() || only.contains(&mutant);
    let rows: Vec<_> = ROWS
        .iter()
        .filter_map(|row| match row.what {
            What::Seeded(seeded) if is_wanted(seeded.mutant) => Some((row.number, seeded)),
            What::Seeded(_) | What::Excluded(_) => None,
        })
        .collect();
    let excluded = |row: &Row| match row.what {
        What::Excluded(why) => Some(Excluded { number: row.number, why }),
        What::Seeded(_) => None,
    };
    let excluded = ROWS.iter().filter_map(excluded).collect();
    let mut matrix = Matrix { rows: ROWS.len(), columns: Vec::new(), excluded };
    for hunter in hunters {
        matrix.columns.push(column(&**hunter, &rows));
        keep(&matrix)?;
    }
    Ok(matrix)
}

fn column(hunter: &dyn Hunter, rows: &[(&'static str, Seeded)]) -> Column {
    let layer = hunter.layer();
    let fates: Vec<_> = rows.iter().map(|(number, row)| fate(hunter, number, row)).collect();
    activate(None);
    let unmutated = hunter.control(rows);
    let score = |counts: &dyn Fn(&&Fate) -> bool| Score {
        killed: fates.iter().filter(counts).filter(|fate| fate.killed).count(),
        of: fates.iter().filter(counts).count(),
    };
    let must = score(&|fate| matches!(fate.expected, 'Y' | 'w'));
    let all = score(&|fate| fate.expected != '-');
    let unit = match layer {
        Layer::Model => "states",
        Layer::Sim | Layer::Shell => "seeds",
        Layer::Local => "runs",
    };
    Column { layer, unit, must, all, fates, unmutated }
}

fn fate(hunter: &dyn Hunter, number: &'static str, seeded: &Seeded) -> Fate {
    let layer = hunter.layer();
    activate(Some(seeded.mutant));
    let started = Instant::now();
    let hunt = hunter.hunt(seeded, &seeded.checks(layer));
    activate(None);
    let checkers: Vec<_> = seeded.checkers.iter().map(|checker| format!("{checker:?}")).collect();
    let why = explanation(layer, number).filter(|_| hunt.killed.is_none());
    let (by, at) = hunt.killed.unzip();
    let fate = Fate {
        number,
        name: seeded.mutant.name(),
        expected: seeded.expected(layer),
        checkers: checkers.join(", "),
        killed: by.is_some(),
        by,
        at,
        failed: hunt.failed,
        effort: hunt.effort,
        seconds: started.elapsed().as_secs_f64(),
        why,
    };
    output::note(report::line(&fate));
    fate
}
