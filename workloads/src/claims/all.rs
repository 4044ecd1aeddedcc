//! `dyno claims all`: the tables of many settings, held against each other.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use dynamo_protocol::{Quorum, ReadMode, Versioning};
use dyno_claims::{Column, Setting, Table, fill_across, page, sources};
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
    /// Sloppy or strict; both if not given.
    #[arg(long, value_name = "MODE", value_parser = dyno_command::word::<Quorum>(Quorum::WORDS))]
    quorum: Option<Quorum>,
    /// How gets repair; both ways if not given.
    #[arg(long, value_name = "MODE", value_parser = dyno_command::word::<ReadMode>(ReadMode::WORDS))]
    read: Option<ReadMode>,
    #[command(flatten)]
    searched: Searched,
    /// Write the tables into this folder: a page, and a trace for every refuted cell.
    #[arg(long, short, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the tables as JSON, a line each.
    #[arg(long)]
    json: bool,
}

/// States of a search, if nobody says: there are thousands of them.
const STATES: usize = 40_000;

impl AllArgs {
    /// Those of one N.
    fn settings(&self, n: usize) -> Vec<Setting> {
        let one_or_all = |one: Option<Quorum>| one.map_or(Quorum::ALL.to_vec(), |one| vec![one]);
        let ways = self.versioning.map_or(Versioning::ALL.to_vec(), |way| vec![way]);
        let reads = self.read.map_or(ReadMode::ALL.to_vec(), |read| vec![read]);
        let mut settings = Vec::new();
        for (r, w) in (1..=n).flat_map(|r| (1..=n).map(move |w| (r, w))) {
            for quorum in one_or_all(self.quorum) {
                for &versioning in &ways {
                    for &read in &reads {
                        settings.push(Setting { n, r, w, quorum, versioning, read });
                    }
                }
            }
        }
        settings
    }
}

pub(super) fn run(args: &AllArgs) -> u8 {
    let states = Some(args.searched.states.unwrap_or(STATES));
    let searched = Searched { states, ..args.searched.clone() };
    let mut tables = Vec::new();
    let mut is_whole = true;
    for n in 1..=args.n {
        let settings = args.settings(n);
        output::note(format_args!("N = {n}: {} settings", settings.len()));
        // All searches of an N at once, so that no thread waits for another at the end of a setting.
        let gathered = match searched.gather(&settings, Column::ALL) {
            Ok(gathered) => gathered,
            Err(error) => return broken(&error),
        };
        tables.extend(settings.iter().map(|setting| Table::of(setting, &gathered)));
        if interrupt::asked() {
            is_whole = false;
            break;
        }
    }
    let mut contradictions: Vec<_> = tables.iter().flat_map(Table::contradictions).collect();
    for table in &tables {
        contradictions.extend(tables.iter().flat_map(|other| table.against(other)));
    }
    fill_across(&mut tables);
    for table in &tables {
        if args.json {
            let body = json!({ "core": sources::core(), "table": table });
            output::say(document("claims all", None, body));
        } else {
            output::say(line(table));
        }
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
    match (contradictions.is_empty(), is_whole) {
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
