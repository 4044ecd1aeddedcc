//! `dyno analyze`: judges a stored run again, also one whose driver was killed, and makes its page anew.

use std::path::{Path, PathBuf};

use checker::budget::Budget;
use checker::cli::Spec;
use checker::compose::check_safe;
use checker::history::{History, Outcome};
use clap::Args;
use dyno_command::output;
use serde_json::Value;

use super::finish::Closing;
use super::setup::{self, Setup};
use super::store::Store;
use super::stored::{Stored, cut_short};
use super::verdict::{Document, REFUSED};
use super::{claims, judge, page, report, write};
use crate::interpreter::Counts;
use crate::plan::{Plan, PlanError, Source};
use crate::simulated::single::latency;

/// The checks that are made again, of the history and the records.
const JUDGED_AGAIN: [&str; 4] = ["cart", "siblings", "well_formed", super::noticed::CHECK];

/// Arguments of `dyno analyze`.
#[derive(Debug, Args)]
pub struct AnalyzeArgs {
    /// The folder of a run.
    pub run: PathBuf,
    /// Judge by this as well, as `dyno check --spec` does.
    #[arg(long, value_name = "SPEC", value_parser = spec)]
    pub spec: Option<Spec>,
    /// Leave out report.html.
    #[arg(long)]
    pub no_report: bool,
    /// Print the verdict as the last line.
    #[arg(long)]
    pub json: bool,
}

fn spec(name: &str) -> Result<Spec, String> {
    Spec::named(name).ok_or_else(|| {
        let names: Vec<&str> = Spec::all().iter().map(|spec| spec.name()).collect();
        format!("the specs are {}", names.join(", "))
    })
}

/// Judges a run again; the status to exit with. `verdict.json` is written if there is none, and never
/// replaced.
#[must_use]
pub fn run(args: &AnalyzeArgs) -> u8 {
    match analyze(args) {
        Ok(document) => {
            output::text(report::summary(&document, &args.run));
            if args.json {
                output::say(document.to_json());
            }
            document.exit()
        }
        Err(error) => {
            output::refuse(error);
            REFUSED
        }
    }
}

fn analyze(args: &AnalyzeArgs) -> Result<Document, PlanError> {
    let store = Store::open(&args.run)?;
    let (plan, _) = Source::read(&store.path("plan.toml"))?;
    let view = plan.view()?;
    let stored = Stored::of(&store)?;
    let mut document = stored.document(&plan, &args.run);
    let history = judge(&plan, &view, &store, &mut document, stored.closing());
    if let Some(history) = &history {
        stored.counted(&mut document, history);
        if let Some(spec) = args.spec {
            judge_by(spec, history, &mut document);
        }
    }
    document.conclude(stored.complaints(&document));
    let mut notes = vec![format!("Judged again by dyno {}.", setup::VERSION)];
    match stored.text("verdict") {
        None => write(&store, &document),
        Some(before) if before != document.verdict.as_str() => {
            notes.push(format!("verdict.json, which stays as it was, says {before}."));
        }
        Some(_) => {}
    }
    if stored.is_of_another(&document) {
        let note = "history.jsonl is not what verdict.json was given on: it has changed since.";
        output::note(note);
        notes.push(note.to_owned());
    }
    if let Some(torn) = history.as_ref().and_then(History::torn) {
        output::note(cut_short(torn));
        notes.push(format!("{}.", cut_short(torn)));
    }
    if !args.no_report {
        page::write(&document, &history.unwrap_or_default(), store.dir(), notes);
    }
    Ok(document)
}

/// One more check, which counts for the property.
fn judge_by(spec: Spec, history: &History, document: &mut Document) {
    let budget = Budget { time: Some(judge::TIME), memory: Some(judge::MEMORY) };
    let report = check_safe(&*spec.checker(), history, &budget);
    document.checks.insert(spec.name().to_owned(), report);
    (document.property, document.reasons.property) = judge::property(&document.checks);
}

impl Stored {
    /// What is known before the history is judged.
    fn document(&self, plan: &Plan, dir: &Path) -> Document {
        let mut setup = Setup::of(plan);
        let said = |name: &str| self.get(&format!("/setup/{name}"));
        let text = |name: &str| said(name).and_then(Value::as_str).map(str::to_owned);
        for (name, place) in [
            ("dyno", &mut setup.dyno),
            ("host", &mut setup.host),
            ("os", &mut setup.os),
            ("began", &mut setup.began),
        ] {
            *place = text(name).unwrap_or_else(|| "not known".to_owned());
        }
        setup.commit = text("commit");
        setup.changed = said("changed").and_then(Value::as_bool).unwrap_or(false);
        let cpus = said("cpus").and_then(Value::as_u64);
        setup.cpus = cpus.and_then(|cpus| usize::try_from(cpus).ok()).unwrap_or(0);
        setup.zero_us = said("zero_us").and_then(Value::as_u64);
        let counters = self.get("/counters").and_then(Value::as_object);
        let counters = counters.into_iter().flatten();
        let again = || format!("dyno test {}", dir.join("plan.toml").display());
        Document {
            command: "analyze",
            again: self.text("again").map_or_else(again, str::to_owned),
            setup,
            counters: counters
                .filter_map(|(name, count)| Some((name.clone(), count.as_u64()?)))
                .collect(),
            ..Document::of(plan, plan.seed.unwrap_or_default())
        }
    }

    /// Was another history judged than the one that there is now?
    fn is_of_another(&self, document: &Document) -> bool {
        let before = self.get("/judged/sha256").and_then(Value::as_str);
        let now = document.judged.as_ref().map(|judged| judged.sha256.as_str());
        before.is_some() && before != now
    }

    /// What the history does not tell: checks that only the run itself could make, and doubts.
    fn closing(&self) -> Closing {
        let mut checks = self.checks();
        let again = |name: &str| JUDGED_AGAIN.contains(&name) || claims::NAMES.contains(&name);
        checks.retain(|name, _| !again(name));
        let untried = self.texts("/reasons/coverage");
        let untried =
            untried.into_iter().filter(|reason| reason.contains("is no home of")).collect();
        let doubts = match self.text("harness") {
            _ if !self.is_there() => vec!["the driver ended before it had a verdict".to_owned()],
            Some("unknown") => self.texts("/reasons/harness"),
            _ => Vec::new(),
        };
        let epochs = self.get("/memberships").cloned().map(serde_json::from_value);
        let epochs = epochs.and_then(Result::ok).unwrap_or_default();
        Closing { checks, doubts, untried, epochs }
    }

    /// What did not work in the run itself, as far as it is not found anew.
    fn complaints(&self, document: &Document) -> Vec<String> {
        if self.text("harness") != Some("invalid") {
            return Vec::new();
        }
        let mut complaints = self.texts("/reasons/harness");
        complaints.retain(|reason| !document.reasons.harness.contains(reason));
        complaints
    }

    /// Numbers of the run: its own, or what the history shows.
    fn counted(&self, document: &mut Document, history: &History) {
        let number = |pointer: &str| self.get(pointer).and_then(Value::as_f64);
        let last = history.ops().last().map_or(0, |op| op.time);
        document.seconds = number("/seconds").unwrap_or(last as f64 / 1e9);
        document.latency_ms = latency(history);
        let mut counts = Counts::default();
        for pair in history.pairs() {
            match pair.outcome() {
                Outcome::Ok => counts.ok += 1,
                Outcome::Fail => counts.fail += 1,
                Outcome::Info => counts.info += 1,
            }
        }
        document.ops = counts;
    }
}
