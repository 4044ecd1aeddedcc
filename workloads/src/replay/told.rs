//! `dyno records`: what nodes were given and did, step by step, in words.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Args;
use dynamo_node::record::{self, ToldStep};
use dyno_command::{document, output};
use serde::Serialize;

use super::records::folder_of;
use crate::run::verdict::{REFUSED, VALID};

/// The end of the year 9999, in microseconds since 1970.
const LAST_DATE: u64 = 253_402_300_800_000_000;

/// Arguments of `dyno records`.
#[derive(Debug, Args)]
pub struct RecordsArgs {
    /// The folder of a run of `dyno test --record`, or that of its records.
    pub run: PathBuf,
    /// Only steps about this key: also those that name one of its operations and not the key.
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Only steps about this operation, as logs and records name it: 5c01f3.17.
    #[arg(long, value_name = "OP")]
    pub op: Option<String>,
    /// Only steps of this node, as n3.
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,
    /// Print one line of JSON a step.
    #[arg(long)]
    pub json: bool,
}

/// A step, and where it is recorded.
#[derive(Serialize)]
struct Place<'a> {
    node: &'a str,
    record: &'a str,
    #[serde(flatten)]
    step: &'a ToldStep,
}

impl RecordsArgs {
    fn is_wanted(&self, step: &ToldStep) -> bool {
        let key = self.key.as_ref().is_none_or(|key| step.keys.contains(key));
        key && self.op.as_ref().is_none_or(|op| step.ops.contains(op))
    }
}

/// Prints the steps; the status to exit with.
#[must_use]
pub fn run(args: &RecordsArgs) -> u8 {
    let files = match record::files(&folder_of(&args.run)) {
        Ok(files) => files,
        Err(error) => {
            output::refuse(error);
            return REFUSED;
        }
    };
    let mut shown = 0;
    for file in &files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let node = name.split('-').next().unwrap_or_default();
        if args.node.as_ref().is_some_and(|wanted| wanted != node) {
            continue;
        }
        if let Err(error) = print(args, file, node, &name, &mut shown) {
            output::refuse(error);
            return REFUSED;
        }
    }
    if shown == 0 {
        output::note("no step is about that: `dyno records RUN` shows all there are");
    }
    VALID
}

fn print(
    args: &RecordsArgs,
    file: &Path,
    node: &str,
    name: &str,
    shown: &mut u64,
) -> Result<(), record::ReplayError> {
    record::steps(file, |step| {
        if args.is_wanted(&step) {
            *shown += 1;
            if args.json {
                let place = Place { node, record: name, step: &step };
                output::say(document("records", None, place));
            } else {
                output::text(words(node, &step));
            }
        }
        output::is_heard()
    })
}

fn words(node: &str, step: &ToldStep) -> String {
    // A clock that a fault has set may be anywhere, also past what has a date.
    let is_dated = step.at_us < LAST_DATE;
    let at = is_dated.then(|| SystemTime::UNIX_EPOCH + Duration::from_micros(step.at_us));
    let at =
        at.map_or_else(|| "?".to_owned(), |at| humantime::format_rfc3339_micros(at).to_string());
    let mut text = format!("{at} {node} #{}  {}\n", step.step, step.input);
    for error in &step.errors {
        text += &format!("    storage {error}\n");
    }
    for output in &step.outputs {
        text += &format!("    {output}\n");
    }
    text
}
