//! `dyno suite`, `dyno suite list` and `dyno suite merge`.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::{Args, Subcommand, ValueEnum};
use dyno_command::{Jobs, Span, document, output};
use serde_json::json;

use super::attempt::Bounds;
use super::clock::{self, TimeOfDay};
use super::expand::{Expanded, expand};
use super::file::SuiteFile;
use super::folder::{Folder, Own};
use super::night::{Head, Night};
use super::shard::{Shard, Told};
use super::share::{Rest, Share};
use super::summary::Summary;
use super::unit::{Build, Unit, Work};
use super::{github, junit, merge, page};
use crate::interrupt::Interrupt;
use crate::plan::PlanError;
use crate::run::verdict::{BROKEN, INVALID, REFUSED, VALID};

/// Arguments of `dyno suite`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct SuiteArgs {
    #[command(subcommand)]
    command: Option<SuiteCommand>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum SuiteCommand {
    /// Print the units of a suite, and which shard runs them.
    List(ListArgs),
    /// Join what the shards of a suite have found, and say what comes of all of it.
    Merge(MergeArgs),
}

/// Which suite.
#[derive(Debug, Args)]
struct Which {
    /// The suite, a TOML file.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Added to every seed: with another one a night has other seeds.
    #[arg(long, value_name = "SEEDS", default_value = "0")]
    shift: u64,
}

#[derive(Debug, Args)]
struct RunArgs {
    #[command(flatten)]
    which: Which,
    /// Run this share, as in 1/4, the first of four; also DYNO_SHARD, or what the scheduler says.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// How many shards there are, where the scheduler says only which one this is; also DYNO_SHARDS.
    #[arg(long, value_name = "N")]
    shards: Option<u32>,
    /// End when the clock of this machine shows this time.
    #[arg(long, value_name = "06:00")]
    until: Option<TimeOfDay>,
    /// End after this long.
    #[arg(long, value_name = "8h")]
    budget: Option<Span>,
    /// How many seeds of `dyno sim`, and how many simulated units of `dyno test`, are run at a time; 0 is
    /// one a core.
    #[arg(long, value_name = "COUNT", default_value = "0")]
    jobs: Jobs,
    /// Where results go; what is sealed there is not run again. Otherwise results/suite/NAME-DIGEST-PROGRAM.
    #[arg(long, short, value_name = "DIR")]
    out: Option<PathBuf>,
    /// What the exit status tells: the verdict, or whether the shard is done, whatever it found.
    #[arg(long, value_enum, default_value = "verdict", value_name = "WHAT")]
    exit: Exit,
    /// Print the summary as one line of JSON, last.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Exit {
    /// 0 valid, 1 invalid, 2 unknown, 255 interrupted.
    Verdict,
    /// 0 if all that the shard has to run is sealed, 255 if not: a scheduler retries no finding.
    Shard,
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    which: Which,
    /// How many shards there are.
    #[arg(long, value_name = "N", default_value = "1")]
    shards: u32,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct MergeArgs {
    /// The folders of the shards, or the one that they share.
    #[arg(value_name = "DIR", required = true)]
    folders: Vec<PathBuf>,
    /// Write night.json, night.txt and night.xml (JUnit) here.
    #[arg(long, short, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the summary as one line of JSON, last.
    #[arg(long)]
    json: bool,
}

/// Checks what can be checked before anything is started.
///
/// # Errors
/// Why it would be refused.
pub(crate) fn check(args: &SuiteArgs) -> Result<(), PlanError> {
    match &args.command {
        Some(SuiteCommand::List(args)) => args.which.suite().map(drop),
        Some(SuiteCommand::Merge(_)) => Ok(()),
        None => args.run.which.suite().map(drop),
    }
}

/// Does what they say; the status to exit with.
#[must_use]
pub fn run(args: &SuiteArgs) -> u8 {
    let done = match &args.command {
        Some(SuiteCommand::List(args)) => list(args),
        Some(SuiteCommand::Merge(args)) => merged(args),
        None => night(&args.run),
    };
    done.unwrap_or_else(|error| {
        output::refuse(error);
        REFUSED
    })
}

impl Which {
    /// The suite's file as it is, and all its units.
    fn suite(&self) -> Result<(SuiteFile, Expanded), PlanError> {
        let none =
            || PlanError("no suite is named: dyno suite FILE.toml, or list, or merge".to_owned());
        let path = self.file.as_deref().ok_or_else(none)?;
        let file = SuiteFile::read(path)?;
        let build = Build::own().map_err(|error| PlanError(format!("this program: {error}")))?;
        let expanded = expand(&file, path, &build, self.shift)?;
        Ok((file, expanded))
    }
}

fn list(args: &ListArgs) -> Result<u8, PlanError> {
    let (_, suite) = args.which.suite()?;
    Shard::new(1, args.shards).map_err(|error| PlanError(format!("--shards: {error}")))?;
    let head = Head::of(&suite, args.shards);
    if args.json {
        let Head { name, digest, build, shards, units, .. } = &head;
        let listed = json!({
            "name": name, "digest": digest, "build": build, "shards": shards, "units": units,
        });
        output::say(document("suite list", None, listed));
        return Ok(VALID);
    }
    for (shard, unit) in &head.units {
        let Unit { id, name, optional, .. } = unit;
        let optional = if *optional { " (if there is time)" } else { "" };
        output::say(format_args!("{shard}  {id}  {name}{optional}"));
    }
    Ok(VALID)
}

fn merged(args: &MergeArgs) -> Result<u8, PlanError> {
    let night = merge::merge(&args.folders)?;
    let summary = Summary::of(&night);
    if let Some(out) = &args.out {
        let written = std::fs::create_dir_all(out)
            .and_then(|()| write(&Folder::at(out), "night", &night, &summary, "suite merge"));
        written.map_err(|error| PlanError(format!("{}: {error}", out.display())))?;
    }
    Ok(said(&summary, "suite merge", args.json))
}

/// Runs a shard, or all of a suite.
fn night(args: &RunArgs) -> Result<u8, PlanError> {
    let began = SystemTime::now();
    let (file, suite) = args.which.suite()?;
    let environment = |name: &str| std::env::var(name).ok();
    let Told { shard, by } = Told::find(args.shard, args.shards, &environment)?;
    let head = Head::of(&suite, shard.total());
    let out = args.out.clone().unwrap_or_else(|| usual_out(&head));
    let folder = Folder::at(&out);
    let own = folder.take(&head, shard)?;
    let units = suite.shards(shard.total()).swap_remove(shard.index() as usize - 1);
    let ends = clock::end(began, args.until, args.budget.or(file.budget));
    let until = ends.map(|ends| format!(", until {}", clock::shown(ends))).unwrap_or_default();
    output::note(format_args!(
        "{}: shard {shard} ({by}), {} units, into {}{until}",
        head.name,
        units.len(),
        out.display()
    ));
    let mut night = merge::read(&folder)?;
    night.only = Some(shard);
    let way = Way { args, head: &head, own: &own, units: &units, ends, limit: file.limit };
    let rest = way.go(&mut night);
    own.leave();
    let summary = Summary::of(&night);
    let written = write(&folder, &folder.named(shard), &night, &summary, "suite");
    let status = said(&summary, "suite", args.json);
    let rest = match rest.and_then(|rest| written.map(|()| rest)) {
        Ok(rest) => rest,
        Err(error) => {
            output::refuse(format_args!("{}: {error}", out.display()));
            return Ok(if status == INVALID { INVALID } else { BROKEN });
        }
    };
    match rest {
        Rest::Done => {}
        Rest::TimeUp => output::note("the time was up; the same command goes on with what is left"),
        Rest::Asked => output::note("asked to end; the same command goes on with what is left"),
    }
    Ok(match (args.exit, rest) {
        (Exit::Shard, _) => {
            if night.is_whole() {
                VALID
            } else {
                BROKEN
            }
        }
        (Exit::Verdict, Rest::Asked) if status != INVALID => BROKEN,
        (Exit::Verdict, _) => status,
    })
}

/// How a shard is run.
struct Way<'a> {
    args: &'a RunArgs,
    head: &'a Head,
    own: &'a Own,
    units: &'a [(Unit, Work)],
    ends: Option<SystemTime>,
    limit: Span,
}

impl Way<'_> {
    fn go(&self, night: &mut Night) -> std::io::Result<Rest> {
        // One thread: the commands end with it.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let interrupt = Interrupt::listen(
                "asked to end: ending what is under way, which is done anew the next time; once more to end \
                 at once",
            )?;
            let bounds = Bounds { interrupt, ends: self.ends, limit: self.limit.0 };
            let Self { head, own, units, .. } = *self;
            Share { head, own, units, bounds: &bounds, jobs: self.args.jobs }.work(night).await
        })
    }
}

fn usual_out(head: &Head) -> PathBuf {
    let (digest, program) = (&head.digest[..8], &head.build.program[..8]);
    PathBuf::from(format!("results/suite/{}-{digest}-{program}", head.name))
}

/// The files that tell of it, for people, programs and schedulers.
fn write(
    folder: &Folder,
    name: &str,
    night: &Night,
    summary: &Summary,
    command: &str,
) -> std::io::Result<()> {
    folder.write(&format!("{name}.json"), &(summary.to_json(command) + "\n"))?;
    folder.write(&format!("{name}.txt"), &page::text(summary))?;
    folder.write(&format!("{name}.xml"), &junit::report(night, summary))
}

/// Says what comes of it; the status that is its verdict.
fn said(summary: &Summary, command: &str, json: bool) -> u8 {
    output::text(page::text(summary));
    github::tell(summary);
    if json {
        output::say(summary.to_json(command));
    }
    summary.status()
}
