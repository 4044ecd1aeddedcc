//! `dyno mutants`: seeds the bugs of the table one by one, and sees whether the bench catches them, by
//! the checks that ought to.

mod report;
mod table;

use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use dynamo_protocol::mutant::Mutant;
use serde::Serialize;
use serde_json::json;

pub use dynamo_protocol::mutant::activate;

use crate::sim::batch::Batch;
use crate::sim::cli::quietly;
use crate::verdict::{BROKEN, INVALID, REFUSED, VALID};
use table::{ROWS, Row, What};

/// Arguments of `dyno mutants`.
#[derive(Debug, Args)]
pub struct MutantsArgs {
    /// What is to catch them.
    #[arg(long, value_enum, default_value_t = Layer::Sim)]
    layer: Layer,
    /// These mutants only.
    #[arg(long, value_name = "NAME", num_args = 1..)]
    only: Vec<String>,
    /// How many seeds each gets, and how many the unmutated build.
    #[arg(long, value_name = "COUNT", default_value_t = 2_000)]
    seeds: u64,
    /// How many seeds are run at a time.
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    jobs: usize,
    /// Where the matrix goes.
    #[arg(long, value_name = "FOLDER", default_value = "results/mutants")]
    out: PathBuf,
    /// Print the matrix as one line of JSON, last.
    #[arg(long)]
    json: bool,
}

/// What catches a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// Seeds of the simulator, white-box invariants and checkers.
    Sim,
}

/// What became of one row of the table.
#[derive(Clone, Debug, Serialize)]
struct Fate {
    number: &'static str,
    name: &'static str,
    layer: Layer,
    /// What the table says: `Y` it must be caught, `w` by white-box invariants, `p` it may be.
    expected: char,
    killed: bool,
    /// By which of the checks the table names for it.
    by: Option<String>,
    /// Every check that failed until then.
    failed: Vec<String>,
    /// The seed that killed it.
    seed: Option<u64>,
    seeds: u64,
    seconds: f64,
}

/// The matrix of one layer.
#[derive(Clone, Debug, Serialize)]
struct Matrix {
    schema: u32,
    layer: Layer,
    fates: Vec<Fate>,
    excluded: Vec<Excluded>,
    /// Of the unmutated build: seeds, and how many of them failed a check.
    unmutated_seeds: u64,
    false_positives: usize,
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
    let only: Result<Vec<_>, _> = args.only.iter().map(|name| named(name)).collect();
    let only = match only {
        Ok(only) => only,
        Err(error) => {
            eprintln!("error: --only {error}");
            return REFUSED;
        }
    };
    let matrix = matrix(args, &only);
    print!("{}", report::markdown(&matrix));
    if let Err(error) = report::write(&matrix, &args.out) {
        eprintln!("error: {}: {error}", args.out.display());
        return BROKEN;
    }
    if args.json {
        println!("{}", json!(matrix));
    }
    let survives = |fate: &Fate| fate.expected != 'p' && !fate.killed;
    if matrix.false_positives > 0 || matrix.fates.iter().any(survives) { INVALID } else { VALID }
}

fn matrix(args: &MutantsArgs, only: &[Mutant]) -> Matrix {
    let (mut fates, mut excluded) = (Vec::new(), Vec::new());
    for row in ROWS {
        match row.what {
            What::Excluded(why) => excluded.push(Excluded { number: row.number, why }),
            What::Seeded { mutant, expected, checks } => {
                if only.is_empty() || only.contains(&mutant) {
                    fates.push(fate(args, row, mutant, expected, checks));
                }
            }
        }
    }
    activate(None);
    let (found, failed) = quietly(|| batch(args).run(|_, _| false));
    Matrix {
        schema: 1,
        layer: args.layer,
        fates,
        excluded,
        unmutated_seeds: found.seeds,
        false_positives: failed.len(),
    }
}

fn batch(args: &MutantsArgs) -> Batch {
    Batch { seeds: 0..args.seeds, plan: None, jobs: args.jobs }
}

/// Seeds until one of the checks the table names fails, or the budget is spent.
fn fate(args: &MutantsArgs, row: &Row, mutant: Mutant, expected: char, checks: &[&str]) -> Fate {
    activate(Some(mutant));
    let started = Instant::now();
    let named = |check: &str| checks.contains(&check);
    let (found, failed) = quietly(|| {
        batch(args).run(|_, outcome| outcome.violations.iter().any(|v| named(&v.check)))
    });
    let mut all: Vec<_> = failed.iter().flat_map(|f| &f.violations).map(|v| &v.check).collect();
    all.sort_unstable();
    all.dedup();
    let killer = failed.iter().find_map(|failed| {
        let by = failed.violations.iter().find(|violation| named(&violation.check))?;
        Some((failed.seed, by.check.clone()))
    });
    let fate = Fate {
        number: row.number,
        name: mutant.name(),
        layer: args.layer,
        expected,
        killed: killer.is_some(),
        seed: killer.as_ref().map(|(seed, _)| *seed),
        by: killer.map(|(_, by)| by),
        failed: all.into_iter().cloned().collect(),
        seeds: found.seeds,
        seconds: started.elapsed().as_secs_f64(),
    };
    eprintln!("{}", report::line(&fate));
    fate
}
