//! `dyno show`: what was found in a stored run, told in a terminal with the words of its page.

use std::path::PathBuf;

use checker::history::History;
use checker::verdict::Verdict;
use clap::Args;
use dyno_command::{document, one_line, output};
use dyno_page::{Asked, Subject, Told, told};
use serde_json::Value;

use super::page::{THREE, hint, part};
use super::report::said;
use super::store::Store;
use super::stored::{Stored, cut_short};
use super::verdict::{REFUSED, VALID};
use crate::plan::{PlanError, Source};

/// Arguments of `dyno show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The folder of a run.
    pub run: PathBuf,
    /// Tell of this operation: N, or any of its lines of the history, counted from 0.
    #[arg(long, value_name = "N", conflicts_with_all = ["key", "lost"])]
    pub op: Option<u64>,
    /// List everything that was done to this key.
    #[arg(long, value_name = "KEY", conflicts_with = "lost")]
    pub key: Option<String>,
    /// Tell of this finding, as what is lost: counted from 1.
    #[arg(long, value_name = "N")]
    pub lost: Option<usize>,
    /// Print one line of JSON.
    #[arg(long)]
    pub json: bool,
}

/// Tells of a run; the status to exit with.
#[must_use]
pub fn run(args: &ShowArgs) -> u8 {
    match tell(args) {
        Ok((verdict, told)) => {
            say(args, verdict, told);
            VALID
        }
        Err(error) => {
            output::refuse(error);
            REFUSED
        }
    }
}

fn tell(args: &ShowArgs) -> Result<(Option<Verdict>, Told), PlanError> {
    let store = Store::open(&args.run)?;
    let stored = Stored::of(&store)?;
    let dir = args.run.display();
    if !stored.is_there() {
        let mend =
            format!("{dir}: it has no verdict.json: `dyno analyze {dir}` judges what there is");
        return Err(PlanError(mend));
    }
    let history = store.path("history.jsonl");
    let history = History::read(&history).map_err(|error| PlanError(error.to_string()))?;
    let subject = subject(&store, &stored);
    let asked = match (args.op, &args.key, args.lost) {
        (Some(op), _, _) => Asked::Op(op),
        (_, Some(key), _) => Asked::Key(key.clone()),
        (_, _, Some(number)) => Asked::Finding(number),
        (None, None, None) => Asked::Whole,
    };
    let mut told =
        told(&subject, &history, &asked).map_err(|why| PlanError(format!("{dir}: {why}")))?;
    if let Some(torn) = history.torn() {
        told.lines.extend([String::new(), cut_short(torn)]);
        told.document["torn"] = super::stored::torn(torn);
    }
    Ok((subject.verdict, told))
}

/// What the run said of itself.
fn subject(store: &Store, stored: &Stored) -> Subject {
    let verdict = stored.verdict("verdict");
    let verdicts = THREE.iter().filter_map(|(name, _)| {
        Some(part(name, stored.verdict(name)?, stored.texts(&format!("/reasons/{name}"))))
    });
    // A plan of another version explains nothing, and changes nothing.
    let plan = Source::read(&store.path("plan.toml")).ok();
    Subject {
        verdict,
        headline: verdict.map_or("", said).to_owned(),
        verdicts: verdicts.collect(),
        hint: plan.and_then(|(plan, _)| hint(&plan.cluster.settings)),
        again: stored.text("again").map(str::to_owned),
        checks: stored.checks(),
        ..Subject::default()
    }
}

fn say(args: &ShowArgs, verdict: Option<Verdict>, told: Told) {
    if args.json {
        let mut body = told.document;
        if let Value::Object(fields) = &mut body {
            fields.insert("run".to_owned(), args.run.display().to_string().into());
            fields.insert("said".to_owned(), verdict.map(Verdict::as_str).into());
        }
        output::say(document("show", None, body));
        return;
    }
    for line in told.lines {
        output::say(one_line(&line));
        if !output::is_heard() {
            return;
        }
    }
}
