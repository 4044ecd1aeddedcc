//! `dyno claims check`: a file of claims, held against the table.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use dyno_claims::claimed::{self, Claim, Held, Outcome};
use dyno_claims::observed::{PUTS, WAITS};
use dyno_claims::{Column, Gathered, Setting, Table};
use dyno_command::{document, exit, output};
use serde_json::json;

use super::{Searched, broken, loudly, observed, refuse};
use crate::plan::PlanError;
use crate::run::verdict::{INVALID, UNKNOWN, VALID};

/// Arguments of `dyno claims check`.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The claims, a TOML file: see docs/claims.md.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    searched: Searched,
    /// Take in the runs in this folder, or below it: how often gets were stale they alone can tell. May be
    /// given several times.
    #[arg(long, value_name = "DIR")]
    runs: Vec<PathBuf>,
    /// Print what came of them as one line of JSON.
    #[arg(long)]
    json: bool,
}

impl CheckArgs {
    pub(super) fn check(&self) -> Result<(), PlanError> {
        self.claims().map(drop)
    }

    fn claims(&self) -> Result<Vec<Claim>, PlanError> {
        let what = "claims are a TOML file: see docs/claims.md";
        let text = dyno_command::read_text(&self.file, what).map_err(PlanError)?;
        claimed::read(&text, &self.file.display().to_string()).map_err(PlanError)
    }
}

pub(super) fn run(args: &CheckArgs) -> u8 {
    let claims = match args.claims() {
        Ok(claims) => claims,
        Err(error) => return refuse(&error),
    };
    let mut waits: Vec<f64> = claims.iter().filter_map(Claim::wait).chain(WAITS).collect();
    waits.sort_by(f64::total_cmp);
    waits.dedup();
    let mut puts: Vec<u32> = claims.iter().filter_map(Claim::puts).chain(PUTS).collect();
    puts.sort_unstable();
    puts.dedup();
    let runs = match observed(&args.runs, &waits, &puts) {
        Ok(runs) => runs,
        Err(error) => return refuse(&error),
    };
    let mut columns: BTreeMap<Setting, BTreeSet<Column>> = BTreeMap::new();
    for claim in &claims {
        columns.entry(claim.setting).or_default().extend(claim.columns());
    }
    let mut gathered = Gathered::new();
    for (setting, columns) in &columns {
        let columns: Vec<_> = columns.iter().copied().collect();
        match args.searched.gather(&[*setting], &columns) {
            Ok(more) => gathered.extend(more),
            Err(error) => return broken(&error),
        }
    }
    let mut against = Vec::new();
    let held = claims.iter().map(|claim| {
        let table = Table::of(&claim.setting, &gathered);
        for contradiction in table.clone().observe(&runs) {
            if !against.contains(&contradiction) {
                against.push(contradiction);
            }
        }
        (claim, claim.held(&table, &runs))
    });
    let held: Vec<_> = held.collect();
    let has = |outcome: Outcome| held.iter().any(|(_, held)| held.outcome == outcome);
    let is_contradicted = has(Outcome::Contradicted) || !against.is_empty();
    let status = match (is_contradicted, has(Outcome::Undecided)) {
        (true, _) => INVALID,
        (false, true) => UNKNOWN,
        (false, false) => VALID,
    };
    if args.json {
        let claims: Vec<_> = held.iter().map(as_json).collect();
        output::say(document(
            "claims check",
            Some(exit::verdict(status)),
            json!({ "claims": claims }),
        ));
    } else {
        held.iter().for_each(|(claim, held)| tell(claim, held));
    }
    loudly(&against);
    status
}

fn as_json((claim, held): &(&Claim, Held)) -> serde_json::Value {
    json!({
        "says": claim.says, "source": claim.source, "setting": claim.setting,
        "property": claim.property.word(), "expect": claim.expect,
        "outcome": held.outcome, "because": held.because,
    })
}

fn tell(claim: &Claim, held: &Held) {
    let word = match held.outcome {
        Outcome::AsExpected => "as expected",
        Outcome::Contradicted => "CONTRADICTED",
        Outcome::Undecided => "undecided",
    };
    output::say(format_args!(
        "{word:12} {:?}: {} of {}",
        claim.says, claim.property, claim.setting
    ));
    if !claim.source.is_empty() {
        output::say(format_args!("             said by {}", claim.source));
    }
    output::say(format_args!("             {}", held.because));
}
