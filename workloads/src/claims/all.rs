//! `dyno claims all`: the tables of many settings, held against each other.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use dynamo_protocol::{Quorum, ReadMode, Versioning};
use dyno_claims::{Column, Setting, Table, page, sources};
use dyno_command::{document, output, within};
use model::interrupt;
use serde_json::json;

use super::{Searched, broken};
use crate::run::verdict::{BROKEN, UNKNOWN, VALID};

/// Arguments of `dyno claims all`.
#[derive(Debug, Args)]
pub(super) struct AllArgs {
    /// All N up to this one, with every R and W.
    #[arg(short, value_name = "COUNT", default_value_t = 3, value_parser = within(1_usize, 5))]
    n: usize,
    /// How versions are told apart; all ways if not given.
    #[arg(long, value_name = "MODE", value_parser = dyno_command::word::<Versioning>(Versioning::WORDS))]
    versioning: Option<Versioning>,
    #[command(flatten)]
    searched: Searched,
    /// Write the tables into this folder: a page, and a trace for every refuted cell.
    #[arg(long, short, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the tables as JSON, a line each.
    #[arg(long)]
    json: bool,
}

impl AllArgs {
    fn settings(&self) -> Vec<Setting> {
        let ways = self.versioning.map_or(Versioning::ALL.to_vec(), |way| vec![way]);
        let mut settings = Vec::new();
        for n in 1..=self.n {
            for (r, w) in (1..=n).flat_map(|r| (1..=n).map(move |w| (r, w))) {
                for &quorum in Quorum::ALL {
                    for &versioning in &ways {
                        for &read in ReadMode::ALL {
                            settings.push(Setting { n, r, w, quorum, versioning, read });
                        }
                    }
                }
            }
        }
        settings
    }
}

pub(super) fn run(args: &AllArgs) -> u8 {
    let settings = args.settings();
    let mut tables = Vec::new();
    for (at, setting) in (1..).zip(&settings) {
        if interrupt::asked() {
            break;
        }
        output::note(format_args!("{at} of {}: {setting}", settings.len()));
        match args.searched.gather(&[*setting], Column::ALL) {
            Ok(gathered) => tables.push(Table::of(setting, &gathered)),
            Err(error) => return broken(&error),
        }
    }
    for table in &tables {
        if args.json {
            let body = json!({ "core": sources::core(), "table": table });
            output::say(document("claims all", None, body));
        } else {
            output::say(line(table));
        }
    }
    let mut contradictions: Vec<_> = tables.iter().flat_map(Table::contradictions).collect();
    for table in &tables {
        contradictions.extend(tables.iter().flat_map(|other| table.against(other)));
    }
    for contradiction in &contradictions {
        output::refuse(format_args!("THE TABLES CONTRADICT EACH OTHER: {}", contradiction.0));
    }
    if let Some(folder) = &args.out
        && let Err(error) =
            page::write(&tables, folder).with_context(|| folder.display().to_string())
    {
        return broken(&error);
    }
    match (contradictions.is_empty(), tables.len() == settings.len()) {
        (false, _) => BROKEN,
        (true, false) => UNKNOWN,
        (true, true) => VALID,
    }
}

/// How many cells of each kind.
fn line(table: &Table) -> String {
    let mut counts = std::collections::BTreeMap::new();
    for cell in &table.cells {
        let kind = if cell.stale.is_some() { "stale" } else { cell.known.kind() };
        *counts.entry(kind).or_insert(0) += 1;
    }
    let counts: Vec<_> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    format!("{:30} margin {:2}: {}", table.setting.label(), table.margin, counts.join(", "))
}
