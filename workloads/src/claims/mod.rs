//! `dyno claims`: what a setting promises, cell by cell, and what each cell rests on.

mod again;
mod all;
mod check;
mod legs;
mod predict;
mod runs;
mod seeds;
mod why;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use dynamo_node::cli::SettingFlags;
use dynamo_protocol::Settings;
use dyno_claims::observed::{Observed, PUTS, WAITS};
use dyno_claims::{
    Cache, Column, Contradiction, Gathered, Setting, Table, Work, hopeless, sources, specs, text,
};
use dyno_command::{Jobs, Size, Span, document, output};
use model::{Budget, interrupt};
use serde_json::json;

use crate::plan::{Plan, PlanArg, PlanError, Source};
use crate::run::verdict::{BROKEN, INVALID, REFUSED, UNKNOWN, VALID};

/// Arguments of `dyno claims`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ClaimsArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    table: TableArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take a cell apart: its searches, or its trace, told and replayed.
    Why(why::WhyArgs),
    /// The tables of all settings up to an N, held against each other.
    All(all::AllArgs),
    /// Every path that is kept and refutes something, run again: on the core, in the simulator, on real
    /// nodes.
    Replay(again::AgainArgs),
    /// Claims that people make, from a file: as expected (0), contradicted (1), or undecided (2).
    Check(check::CheckArgs),
    /// How stale gets are likely to be: PBS, a prediction and no promise.
    Predict(predict::PredictArgs),
}

#[derive(Debug, Args)]
struct TableArgs {
    /// The plan whose cluster is asked about, if there is one.
    #[command(flatten)]
    plan: PlanArg,
    #[command(flatten)]
    asked: Asked,
    /// Take in the runs in this folder, or below it, that are of the same settings: what they measured, and
    /// what they contradict. May be given several times.
    #[arg(long, value_name = "DIR")]
    runs: Vec<PathBuf>,
    /// Where the search has no room for a ring that changes, simulate so many runs in which it does.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    seeds: u64,
    /// Print the table as one line of JSON.
    #[arg(long)]
    json: bool,
}

/// What is asked about, and how far evidence is looked for.
#[derive(Debug, Args)]
struct Asked {
    #[command(flatten)]
    settings: SettingFlags,
    #[command(flatten)]
    searched: Searched,
}

/// How far evidence is looked for, and where it is kept.
#[derive(Clone, Debug, Args)]
struct Searched {
    /// Give up a search after this many states: what did not end proves nothing. 160000 if not given, of
    /// `all` 40000.
    #[arg(long, value_name = "COUNT")]
    states: Option<usize>,
    /// Give up a search after this long, too.
    #[arg(long, value_name = "TIME")]
    budget: Option<Span>,
    /// Give up searches when the process takes this much memory.
    #[arg(long, value_name = "SIZE", default_value = "4GiB")]
    memory: Size,
    /// How many searches go on at a time; 0 is one a core.
    #[arg(long, value_name = "COUNT", default_value = "2")]
    jobs: Jobs,
    /// Where evidence is kept; the user's own cache if not given.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Keep nothing, and use nothing that was kept.
    #[arg(long, conflicts_with = "cache")]
    no_cache: bool,
    /// Search nothing: show what is kept, also of other cores.
    #[arg(long, conflicts_with = "no_cache")]
    kept: bool,
}

/// States of a search, if nobody says.
const STATES: usize = 160_000;

/// Shows the table, or does what the subcommand says; the status to exit with.
#[must_use]
pub fn run(args: &ClaimsArgs) -> u8 {
    match &args.command {
        None => table(&args.table),
        Some(Command::Why(args)) => why::run(args),
        Some(Command::All(args)) => all::run(args),
        Some(Command::Replay(args)) => again::run(args),
        Some(Command::Check(args)) => check::run(args),
        Some(Command::Predict(args)) => predict::run(args),
    }
}

impl ClaimsArgs {
    /// Refuses what cannot be asked, before anything is searched.
    ///
    /// # Errors
    /// What is wrong, in a line.
    pub fn check(&self) -> Result<(), PlanError> {
        match &self.command {
            None => self.table.asked.setting(&self.table.plan).map(drop),
            Some(Command::Why(args)) => args.check(),
            Some(Command::All(_) | Command::Replay(_)) => Ok(()),
            Some(Command::Check(args)) => args.check(),
            Some(Command::Predict(args)) => args.check(),
        }
    }
}

impl Asked {
    /// The plan's settings, and over them what flags say.
    fn setting(&self, plan: &PlanArg) -> Result<Setting, PlanError> {
        let plan = match plan.file() {
            Some(path) => Source::read(path)?.0,
            None => Plan::default(),
        };
        let mut settings: Settings = plan.cluster.settings;
        self.settings.apply(&mut settings);
        settings.check().map_err(|error| PlanError(error.to_string()))?;
        let setting = Setting::of(&settings);
        for spec in specs(&setting, &[Column::None]) {
            spec.check().map_err(|error| PlanError(format!("{setting}: {error}")))?;
        }
        Ok(setting)
    }
}

impl Searched {
    fn cache(&self) -> Option<Cache> {
        let given = || self.cache.clone().map(Cache::new).or_else(Cache::of_user);
        if self.no_cache { None } else { given() }
    }

    /// The evidence of these settings in these columns.
    fn gather(&self, settings: &[Setting], columns: &[Column]) -> anyhow::Result<Gathered> {
        interrupt::listen("what was searched")?;
        let budget = Budget {
            time: self.budget.map_or(Duration::MAX, |budget| budget.0),
            states: self.states.unwrap_or(STATES),
            memory: usize::try_from(self.memory.0).unwrap_or(usize::MAX),
            until: 0,
            stop: interrupt::asked,
            hopeless,
        };
        let (cache, kept_only) = (self.cache(), self.kept);
        let tell = |line: &str| output::note(line);
        let (cache, jobs) = (cache.as_ref(), self.jobs.threads());
        let work = Work { cache, budget, jobs, kept_only, tell: &tell };
        work.gather(settings.iter().flat_map(|setting| specs(setting, columns)))
    }
}

fn table(args: &TableArgs) -> u8 {
    let setting = match args.asked.setting(&args.plan) {
        Ok(setting) => setting,
        Err(error) => return refuse(&error),
    };
    let runs = match observed(&args.runs, &WAITS, &PUTS) {
        Ok(runs) => runs,
        Err(error) => return refuse(&error),
    };
    let gathered = match args.asked.searched.gather(&[setting], Column::ALL) {
        Ok(gathered) => gathered,
        Err(error) => return broken(&error),
    };
    let mut table = Table::of(&setting, &gathered);
    let mut against = table.observe(&runs);
    if args.seeds > 0 {
        match seeds::changing(&setting, args.seeds, args.asked.searched.jobs.threads()) {
            Ok(seeded) => against.extend(table.seeded(Column::Membership, &seeded)),
            Err(error) => return refuse(&error),
        }
    }
    let contradictions = table.contradictions();
    if args.json {
        let said = |all: &[Contradiction]| all.iter().map(|it| it.0.clone()).collect::<Vec<_>>();
        let body = json!({
            "core": sources::core(), "table": table,
            "contradictions": said(&contradictions), "contradicted_by_runs": said(&against),
        });
        output::say(document("claims", None, body));
    } else {
        output::text(text::table(&table, width()));
    }
    for contradiction in &contradictions {
        output::refuse(format_args!("THE TABLE CONTRADICTS ITSELF: {}", contradiction.0));
    }
    loudly(&against);
    match (contradictions.is_empty(), against.is_empty()) {
        (false, _) => BROKEN,
        (true, false) => INVALID,
        (true, true) if interrupt::asked() => UNKNOWN,
        (true, true) => VALID,
    }
}

/// What the runs in these folders tell: read before anything is searched, for a search takes long.
fn observed(folders: &[PathBuf], waits: &[f64], puts: &[u32]) -> Result<Vec<Observed>, PlanError> {
    let runs = runs::read(folders, waits, puts)?;
    Ok(runs.into_iter().map(|run| run.observed).collect())
}

/// Nothing else that a run tells is worse: either what runs is not what was searched, or the search is wrong.
fn loudly(against: &[Contradiction]) {
    if against.is_empty() {
        return;
    }
    let bar = "!".repeat(72);
    output::refuse(&bar);
    output::refuse(
        "WHAT IS PROVEN WAS SEEN TO BE BROKEN. Either what ran is not the core that was searched, or the",
    );
    output::refuse(
        "search is wrong, or more went wrong than the proof allows for: look at the run, and at the bounds.",
    );
    for contradiction in against {
        output::refuse(&contradiction.0);
    }
    output::refuse(&bar);
}

/// Columns of the terminal; where there is none, what most have.
fn width() -> usize {
    let term = console::Term::stdout();
    term.size_checked().map_or(132, |(_, columns)| usize::from(columns))
}

fn refuse(error: &PlanError) -> u8 {
    output::refuse(error);
    REFUSED
}

fn broken(error: &anyhow::Error) -> u8 {
    output::refuse(format_args!("{error:#}"));
    BROKEN
}
